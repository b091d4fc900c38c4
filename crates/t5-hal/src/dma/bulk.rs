//! Many whole words at once, between bytes and words that others may use meanwhile.
//!
//! A loop of atomic accesses moves one word after the other, as no compiler joins them. Where memory is far away that is slower than it could be: fewer lines
//! of the cache are asked for at the same time. So blocks of 64 bytes go through the registers of 16 bytes that every x86-64 processor has, by instructions
//! of our own. What is left, and everything elsewhere and under Miri, goes through the loop.

#![allow(unsafe_code, reason = "blocks are moved by instructions that are wider than an atomic of Rust")]

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Words of a block.
const BLOCK_WORDS: usize = 8;
/// Whether there are instructions for blocks.
const HAS_BLOCKS: bool = cfg!(all(target_arch = "x86_64", target_feature = "sse2", not(miri)));

/// Puts bytes into words.
///
/// # Panics
/// If there are not just as many: a bug of the caller.
pub(super) fn store(words: &[AtomicU64], bytes: &[u8]) {
    assert_eq!(size_of_val(words), bytes.len(), "there are as many bytes as the words have");
    let (blocks, words) = words.split_at(in_blocks(words));
    let (front, bytes) = bytes.split_at(size_of_val(blocks));
    // SAFETY: both have that many blocks. The bytes are borrowed, so that nobody writes them meanwhile; the words are atomics, which may be
    // written through a shared reference, and which others use as such.
    unsafe { move_blocks(front.as_ptr(), blocks.as_ptr().cast_mut().cast(), blocks.len() / BLOCK_WORDS) };
    for (eight, word) in bytes.chunks_exact(8).zip(words) {
        word.store(u64::from_ne_bytes(eight.try_into().expect("eight bytes")), Relaxed);
    }
}

/// Reads words as bytes.
///
/// # Panics
/// If there are not just as many: a bug of the caller.
pub(super) fn load(words: &[AtomicU64], out: &mut [u8]) {
    assert_eq!(size_of_val(words), out.len(), "there are as many bytes as the words have");
    let (blocks, words) = words.split_at(in_blocks(words));
    let (front, out) = out.split_at_mut(size_of_val(blocks));
    // SAFETY: both have that many blocks. The bytes are borrowed, so that nobody else uses them meanwhile; the words are atomics, which others use
    // as such.
    unsafe { move_blocks(blocks.as_ptr().cast(), front.as_mut_ptr(), blocks.len() / BLOCK_WORDS) };
    for (eight, word) in out.chunks_exact_mut(8).zip(words) {
        eight.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
    }
}

/// How many of the words are moved in blocks: those in front.
const fn in_blocks(words: &[AtomicU64]) -> usize {
    if HAS_BLOCKS { words.len() - words.len() % BLOCK_WORDS } else { 0 }
}

/// Moves that many blocks.
///
/// # Safety
/// `from` can be read and `to` written, for `count` blocks. What others may use meanwhile, at one or the other, is made of atomic words, and they use
/// it by atomic accesses.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
unsafe fn move_blocks(from: *const u8, to: *mut u8, count: usize) {
    if count == 0 {
        return;
    }
    // SAFETY: the instructions read and write `count` times 64 bytes, which both places have, and registers that are named here; the stack is left alone.
    // What they do to a word is what atomic accesses could do, whatever the processor makes of 16 bytes: it is read by one load, or by several whose
    // bytes are mixed; it is written by one store, or by several that change some of its bytes and leave the others, as `words::write_part` does.
    // The order is that of relaxed accesses or a stronger one: x86-64 reorders neither loads nor stores among themselves, and the compiler moves no
    // access to memory across instructions that may access any.
    unsafe {
        std::arch::asm!(
            "2:",
            "movups {a}, [{from}]",
            "movups {b}, [{from} + 16]",
            "movups {c}, [{from} + 32]",
            "movups {d}, [{from} + 48]",
            "movups [{to}], {a}",
            "movups [{to} + 16], {b}",
            "movups [{to} + 32], {c}",
            "movups [{to} + 48], {d}",
            "add {from}, 64",
            "add {to}, 64",
            "dec {count}",
            "jnz 2b",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            count = inout(reg) count => _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack),
        );
    }
}

/// There are no blocks to be moved.
///
/// # Safety
/// None.
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri))))]
unsafe fn move_blocks(_: *const u8, _: *mut u8, count: usize) {
    debug_assert_eq!(count, 0, "nothing is moved in blocks here");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    fn words(count: usize) -> Vec<AtomicU64> {
        (0..count).map(|_| AtomicU64::new(u64::MAX)).collect()
    }

    #[test]
    fn as_many_words_as_there_are_and_no_others_are_moved() {
        for count in 0..40 {
            let memory = words(count + 2);
            let bytes: Vec<u8> = (0..count * 8).map(|at| at as u8).collect();
            store(&memory[1..=count], &bytes);
            for (at, word) in memory.iter().enumerate() {
                let inside = at > 0 && at <= count;
                let expected = if inside { bytes[(at - 1) * 8..][..8].try_into().unwrap() } else { [0xff; 8] };
                assert_eq!(word.load(Relaxed).to_ne_bytes(), expected, "word {at} of {count}");
            }
            let mut out = vec![0xee; count * 8 + 2];
            load(&memory[1..=count], &mut out[1..=count * 8]);
            assert_eq!((out[0], &out[1..=count * 8], out[count * 8 + 1]), (0xee, &bytes[..], 0xee));
        }
    }

    #[test]
    fn what_two_write_at_the_same_time_is_of_one_or_the_other() {
        let (memory, is_over) = (words(32), AtomicBool::new(false));
        let rounds = if cfg!(miri) { 20 } else { 20_000 };
        thread::scope(|scope| {
            for byte in [0x11, 0x22] {
                let (memory, is_over) = (&memory, &is_over);
                scope.spawn(move || {
                    while !is_over.load(Relaxed) {
                        store(memory, &[byte; 256]);
                    }
                });
            }
            for _ in 0..rounds {
                let mut seen = [0; 256];
                load(&memory, &mut seen);
                assert!(seen.iter().all(|byte| [0x11, 0x22, 0xff].contains(byte)));
            }
            is_over.store(true, Relaxed);
        });
    }
}
