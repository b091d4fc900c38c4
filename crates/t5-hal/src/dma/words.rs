//! Copies between bytes and words that others may write meanwhile. Offsets are in bytes, and were checked.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes in front of the first whole word, and the number of whole words.
fn parts(at: usize, length: usize) -> (usize, usize) {
    let head = (at.wrapping_neg() & 7).min(length);
    (head, (length - head) / 8)
}

pub(super) fn read(words: &[AtomicU64], at: usize, out: &mut [u8]) {
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

pub(super) fn write(words: &[AtomicU64], at: usize, bytes: &[u8]) {
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

pub(super) fn copy(from: &[AtomicU64], at: usize, to: &[AtomicU64], to_at: usize, length: usize) {
    if at.is_multiple_of(8) && to_at.is_multiple_of(8) {
        let whole = length / 8;
        for (from, to) in from[at / 8..][..whole].iter().zip(&to[to_at / 8..]) {
            to.store(from.load(Relaxed), Relaxed);
        }
        return copy_rest(from, at + whole * 8, to, to_at + whole * 8, length % 8);
    }
    copy_rest(from, at, to, to_at, length);
}

/// Copies by way of a buffer.
fn copy_rest(from: &[AtomicU64], at: usize, to: &[AtomicU64], to_at: usize, length: usize) {
    let mut buffer = [0; 512];
    for done in (0..length).step_by(buffer.len()) {
        let piece = &mut buffer[..(length - done).min(512)];
        read(from, at + done, piece);
        write(to, to_at + done, piece);
    }
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
