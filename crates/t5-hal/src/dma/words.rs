//! Copies between bytes and words that others may write meanwhile. Offsets are in bytes, and were checked.

use super::bulk;
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
    bulk::load(&words[first_word..first_word + whole], middle);
    read_part(words, (first_word + whole) * 8, last);
}

pub(super) fn write(words: &[AtomicU64], at: usize, bytes: &[u8]) {
    let (head, whole) = parts(at, bytes.len());
    let (first, rest) = bytes.split_at(head);
    write_part(words, at, first);
    let first_word = (at + head) / 8;
    let (middle, last) = rest.split_at(whole * 8);
    bulk::store(&words[first_word..first_word + whole], middle);
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
