//! Copies between bytes and words that others may write meanwhile. Offsets are in bytes, and were checked.

use super::moves;
use bytes::BytesMut;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

pub(super) fn read(words: &[AtomicU64], at: usize, out: &mut [u8]) {
    if moves::ARE_THERE { moves::load(words, at, out) } else { read_atomics(words, at, out) }
}

/// Reads that many bytes behind what is in `out` already.
pub(super) fn append(words: &[AtomicU64], at: usize, length: usize, out: &mut BytesMut) {
    if moves::ARE_THERE {
        moves::append(words, at, length, out);
    } else {
        let before = out.len();
        out.resize(before + length, 0);
        read_atomics(words, at, &mut out[before..]);
    }
}

pub(super) fn write(words: &[AtomicU64], at: usize, bytes: &[u8]) {
    if moves::ARE_THERE { moves::store(words, at, bytes) } else { write_atomics(words, at, bytes) }
}

/// Bytes in front of the first whole word, and the number of whole words.
fn parts(at: usize, length: usize) -> (usize, usize) {
    let head = (at.wrapping_neg() & 7).min(length);
    (head, (length - head) / 8)
}

fn read_atomics(words: &[AtomicU64], at: usize, out: &mut [u8]) {
    let (head, whole) = parts(at, out.len());
    let (first, rest) = out.split_at_mut(head);
    read_part(words, at, first);
    let first_word = (at + head) / 8;
    let (middle, last) = rest.split_at_mut(whole * 8);
    for (eight, word) in middle.chunks_exact_mut(8).zip(&words[first_word..]) {
        eight.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
    }
    read_part(words, (first_word + whole) * 8, last);
}

fn write_atomics(words: &[AtomicU64], at: usize, bytes: &[u8]) {
    let (head, whole) = parts(at, bytes.len());
    let (first, rest) = bytes.split_at(head);
    write_part(words, at, first);
    let first_word = (at + head) / 8;
    let (middle, last) = rest.split_at(whole * 8);
    for (eight, word) in middle.chunks_exact(8).zip(&words[first_word..]) {
        word.store(u64::from_ne_bytes(eight.try_into().expect("eight bytes")), Relaxed);
    }
    write_part(words, (first_word + whole) * 8, last);
}

/// Reads less than a word.
fn read_part(words: &[AtomicU64], at: usize, out: &mut [u8]) {
    if !out.is_empty() {
        let word = words[at / 8].load(Relaxed).to_ne_bytes();
        out.copy_from_slice(&word[at % 8..][..out.len()]);
    }
}

/// Writes less than a word; what others write to the rest of it meanwhile stays.
fn write_part(words: &[AtomicU64], at: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let merge = |word: u64| {
        let mut word = word.to_ne_bytes();
        word[at % 8..][..bytes.len()].copy_from_slice(bytes);
        u64::from_ne_bytes(word)
    };
    let word = &words[at / 8];
    let mut old = word.load(Relaxed);
    while let Err(newer) = word.compare_exchange_weak(old, merge(old), Relaxed, Relaxed) {
        old = newer;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_are_one() {
        let step = if cfg!(miri) { 13 } else { 1 };
        for (at, length) in (0..9).flat_map(|at| (0..100).step_by(step).map(move |length| (at, length))) {
            let [moved, atomics] = [(); 2].map(|()| (0..20).map(AtomicU64::new).collect::<Vec<_>>());
            let bytes: Vec<u8> = (100..).take(length).collect();
            write(&moved, at, &bytes);
            write_atomics(&atomics, at, &bytes);
            let mut all = [[0; 160]; 2];
            read(&moved, 0, &mut all[0]);
            read_atomics(&atomics, 0, &mut all[1]);
            assert_eq!(all[0], all[1], "{length} bytes at {at}");
            let mut out = vec![0; length];
            read_atomics(&moved, at, &mut out);
            assert_eq!(out, bytes);
        }
    }
}
