//! Bytes of any number between a slice and words that others may use meanwhile, by instructions of our own.
//!
//! A loop of atomic accesses moves one word after the other, as no compiler joins them, and takes what is less than a word apart. Where memory is far away
//! that is slower than it could be, since fewer lines of the cache are asked for at the same time; and most of what is moved is a header, for which it takes
//! more instructions than the bytes themselves. So on x86-64 what is moved goes through registers of 16 bytes, which every such processor has, and the rest by 8, 4, 2 and 1.

#![allow(unsafe_code, reason = "bytes are moved by instructions that are wider and narrower than an atomic of Rust")]

use bytes::BytesMut;
use std::sync::atomic::AtomicU64;

/// Whether there are such instructions: else, and under Miri, atomic accesses do it.
pub(super) const ARE_THERE: bool = cfg!(all(target_arch = "x86_64", target_feature = "sse2", not(miri)));

/// Puts bytes into words, from that byte of them on.
///
/// # Panics
/// If some of it is behind the words, or the instructions are not there: bugs of the caller.
pub(super) fn store(words: &[AtomicU64], at: usize, bytes: &[u8]) {
    check(words, at, bytes.len());
    // SAFETY: both places have that many bytes. The slice is borrowed, so that nobody writes it meanwhile; the words are atomics, which may be
    // written through a shared reference, and which others use as such.
    unsafe { move_bytes(bytes.as_ptr(), words.as_ptr().cast_mut().cast::<u8>().add(at), bytes.len()) };
}

/// Reads bytes of words, from that byte of them on.
///
/// # Panics
/// If some of it is behind the words, or the instructions are not there: bugs of the caller.
pub(super) fn load(words: &[AtomicU64], at: usize, out: &mut [u8]) {
    check(words, at, out.len());
    // SAFETY: both places have that many bytes. The slice is borrowed, so that nobody else uses it meanwhile; the words are atomics, which others
    // use as such.
    unsafe { move_bytes(words.as_ptr().cast::<u8>().add(at), out.as_mut_ptr(), out.len()) };
}

/// Reads that many bytes of words, from that byte of them on, behind what is in `out` already.
///
/// # Panics
/// If some of it is behind the words, or the instructions are not there: bugs of the caller.
pub(super) fn append(words: &[AtomicU64], at: usize, length: usize, out: &mut BytesMut) {
    check(words, at, length);
    out.reserve(length);
    let room = out.spare_capacity_mut()[..length].as_mut_ptr().cast();
    // SAFETY: both places have that many bytes. The room is borrowed, so that nobody else uses it meanwhile; the words are atomics, which others use as
    // such. All of the room has been written when the bytes count as there.
    unsafe {
        move_bytes(words.as_ptr().cast::<u8>().add(at), room, length);
        out.set_len(out.len() + length);
    }
}

fn check(words: &[AtomicU64], at: usize, length: usize) {
    let bytes = size_of_val(words);
    assert!(ARE_THERE && at <= bytes && length <= bytes - at, "what is moved is inside");
}

/// Moves that many bytes.
///
/// # Safety
/// `from` can be read and `to` written, for `count` bytes. What others may use meanwhile, at one or the other, is made of atomic words, and they use
/// it by atomic accesses.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(miri)))]
unsafe fn move_bytes(from: *const u8, to: *mut u8, count: usize) {
    // SAFETY: the instructions read and write `count` bytes, which both places have: blocks of 64 as long as there are any, and of what is left a part for
    // each bit that is set. They change registers that are named here; the stack is left alone.
    // What they do to a word is what atomic accesses could do, whatever the processor makes of 16 bytes: it is read by one load, or by several whose
    // bytes are mixed; it is written by one store, or by several that change some of its bytes and leave the others, as a compare-and-exchange does.
    // The order is that of relaxed accesses or a stronger one: x86-64 reorders neither loads nor stores among themselves, and the compiler moves no
    // access to memory across instructions that may access any.
    unsafe {
        std::arch::asm!(
            "cmp {count}, 64",
            "jb 3f",
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
            "sub {count}, 64",
            "cmp {count}, 64",
            "jae 2b",
            "3:",
            "test {count:e}, 32",
            "jz 4f",
            "movups {a}, [{from}]",
            "movups {b}, [{from} + 16]",
            "movups [{to}], {a}",
            "movups [{to} + 16], {b}",
            "add {from}, 32",
            "add {to}, 32",
            "4:",
            "test {count:e}, 16",
            "jz 5f",
            "movups {a}, [{from}]",
            "movups [{to}], {a}",
            "add {from}, 16",
            "add {to}, 16",
            "5:",
            "test {count:e}, 8",
            "jz 6f",
            "mov {word}, [{from}]",
            "mov [{to}], {word}",
            "add {from}, 8",
            "add {to}, 8",
            "6:",
            "test {count:e}, 4",
            "jz 7f",
            "mov {word:e}, [{from}]",
            "mov [{to}], {word:e}",
            "add {from}, 4",
            "add {to}, 4",
            "7:",
            "test {count:e}, 2",
            "jz 8f",
            "mov {word:x}, [{from}]",
            "mov [{to}], {word:x}",
            "add {from}, 2",
            "add {to}, 2",
            "8:",
            "test {count:e}, 1",
            "jz 9f",
            "mov {word:l}, [{from}]",
            "mov [{to}], {word:l}",
            "9:",
            from = inout(reg) from => _,
            to = inout(reg) to => _,
            count = inout(reg) count => _,
            word = out(reg) _,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            options(nostack),
        );
    }
}

/// There are no such instructions.
///
/// # Safety
/// None.
#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(miri))))]
unsafe fn move_bytes(_: *const u8, _: *mut u8, _: usize) {
    unreachable!("nobody moves bytes in this way here");
}

#[cfg(all(test, target_arch = "x86_64", not(miri)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;
    use std::thread;

    fn words(count: usize) -> Vec<AtomicU64> {
        (0..count).map(|_| AtomicU64::new(u64::MAX)).collect()
    }

    fn bytes_of(words: &[AtomicU64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes()).collect()
    }

    #[test]
    fn as_many_bytes_as_there_are_and_no_others_are_moved() {
        for (at, length) in (0..9).flat_map(|at| (0..300).map(move |length| (at, length))) {
            let memory = words(40);
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            store(&memory, at, &bytes);
            let mut expected = vec![0xff; 320];
            expected[at..at + length].copy_from_slice(&bytes);
            assert_eq!(bytes_of(&memory), expected, "{length} bytes at {at}");
            let mut out = vec![0xee; length + 2];
            load(&memory, at, &mut out[1..=length]);
            assert_eq!((out[0], &out[1..=length], out[length + 1]), (0xee, &bytes[..], 0xee));
            let mut behind = BytesMut::from(&[0xee][..]);
            append(&memory, at, length, &mut behind);
            assert_eq!(behind, out[..=length]);
        }
    }

    #[test]
    #[should_panic(expected = "inside")]
    fn what_is_behind_the_words_is_not_written() {
        store(&words(2), 9, &[0; 8]);
    }

    #[test]
    #[should_panic(expected = "inside")]
    fn what_is_behind_the_words_is_not_read() {
        load(&words(2), 17, &mut []);
    }

    #[test]
    fn what_two_write_at_the_same_time_is_of_one_or_the_other() {
        let (memory, is_over) = (words(32), AtomicBool::new(false));
        thread::scope(|scope| {
            for byte in [0x11, 0x22] {
                let (memory, is_over) = (&memory, &is_over);
                scope.spawn(move || {
                    while !is_over.load(Relaxed) {
                        store(memory, 0, &[byte; 255]);
                    }
                });
            }
            for _ in 0..20_000 {
                let mut seen = [0; 256];
                load(&memory, 0, &mut seen);
                assert!(seen.iter().all(|byte| [0x11, 0x22, 0xff].contains(byte)));
                assert_eq!(seen[255], 0xff, "nobody writes it");
            }
            is_over.store(true, Relaxed);
        });
    }
}
