//! Frozen parts of the memory, as slices: the one place where words become bytes in place.

#![allow(unsafe_code, reason = "memory made of atomic words is lent as bytes while nobody writes it")]

use super::{DmaMemory, Words};
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// What is frozen together, in bytes: half a kilobyte, as segments of PDUs are cut at multiples of it.
pub const GRANULE_BYTES: usize = 512;

/// A part of the memory that nobody writes while this lives.
struct Frozen {
    memory: Arc<DmaMemory>,
    at: usize,
    length: usize,
}

impl AsRef<[u8]> for Frozen {
    fn as_ref(&self) -> &[u8] {
        let words = &*self.memory.words;
        assert!(self.at + self.length <= size_of_val(words), "what is frozen is inside");
        // SAFETY: the range is inside `words`, which lives as long as `self.memory`. Bytes have no alignment, and any are valid.
        // Nobody writes them while `self` lives: every write to the buffers goes through `while_writing`, which is refused for
        // granules that are frozen; these are, from `freeze` until `drop`, and were not being written when they became so.
        // Memory that a device reaches has no granules, so that nothing of it is ever frozen.
        // The `SeqCst` accesses of the leases order all earlier writes before this. Others may read the same words meanwhile.
        unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<u8>().add(self.at), self.length) }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let granules = self.memory.granules(self.at, self.length).expect("what is frozen is a buffer");
        self.memory.leases.thaw(granules);
    }
}

impl DmaMemory {
    /// Lends a part of the buffers as bytes that nobody writes until they are dropped; the whole granules that it touches are
    /// frozen. `None` if it is empty, outside, no buffer, frozen already, or just being written: then it is to be copied.
    #[must_use]
    pub fn freeze(self: &Arc<Self>, address: u64, length: usize) -> Option<Bytes> {
        let at = self.offset(address, length).ok().filter(|&at| length > 0 && at >= self.buffers_at)?;
        if !self.leases.freeze(self.granules(at, length)?) {
            return None;
        }
        Some(Bytes::from_owner(Frozen { memory: Arc::clone(self), at, length }))
    }

    /// Whether some of it is frozen, so that what was made of it is still in use.
    #[must_use]
    pub fn is_frozen(&self, address: u64, length: usize) -> bool {
        let granules = self.offset(address, length).ok().and_then(|at| self.granules(at, length));
        granules.is_some_and(|granules| self.leases.is_frozen(granules))
    }

    /// Where those bytes are on the bus, if they are all in this memory: the adapter can read them in place.
    #[must_use]
    pub fn locate(&self, bytes: &[u8]) -> Option<u64> {
        let at = bytes.as_ptr().addr().checked_sub(self.words.as_ptr().addr())?;
        (at + bytes.len() <= size_of_val(&*self.words)).then(|| self.base + at as u64)
    }

    /// The granules that a part of the buffers touches; `None` if it lies among the rings alone, or nothing can be frozen.
    pub(super) fn granules(&self, at: usize, length: usize) -> Option<Range<usize>> {
        if !matches!(self.words, Words::Heap(_)) {
            return None;
        }
        let end = (at + length).checked_sub(self.buffers_at).filter(|&end| end > 0)?;
        Some(at.saturating_sub(self.buffers_at) / GRANULE_BYTES..end.div_ceil(GRANULE_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dma::DmaFault;
    use std::thread;

    const BASE: u64 = 0x7000_0000;

    fn memory() -> Arc<DmaMemory> {
        Arc::new(DmaMemory::new(BASE, 4096, 8192))
    }

    #[test]
    fn what_is_frozen_is_not_written() {
        let memory = memory();
        let at = memory.buffers() + 512;
        memory.write(at, &[7; 1000]).unwrap();
        let bytes = memory.freeze(at, 1000).unwrap();
        assert_eq!(bytes, [7; 1000][..]);
        for touched in [at - 1, at + 999, at + 1023] {
            assert_eq!(memory.write(touched, &[9; 2]), Err(DmaFault::Frozen { address: touched, length: 2 }));
        }
        assert_eq!(memory.store(at + 8, [9; 8]), Err(DmaFault::Frozen { address: at + 8, length: 8 }));
        memory.write(at - 2, &[9; 2]).unwrap();
        memory.write(at + 1024, &[9; 2]).unwrap();
        assert_eq!(bytes, [7; 1000][..]);
        let part = bytes.slice(10..20);
        drop(bytes);
        assert!(memory.is_frozen(at, 1));
        drop(part);
        assert!(!memory.is_frozen(at - 512, 2000));
        memory.write(at, &[9; 1000]).unwrap();
    }

    #[test]
    fn rings_overlaps_and_nothing_are_not_frozen() {
        let memory = memory();
        assert!(memory.freeze(BASE, 64).is_none(), "a ring");
        assert!(memory.freeze(memory.buffers() - 8, 64).is_none(), "half a ring");
        assert!(memory.freeze(memory.buffers(), 0).is_none(), "nothing");
        assert!(memory.freeze(memory.end() - 8, 9).is_none(), "outside");
        let whole = memory.freeze(memory.buffers(), 8192).unwrap();
        assert!(memory.freeze(memory.buffers() + 100, 1).is_none(), "frozen already");
        let mut read = [1; 64];
        memory.read(memory.buffers(), &mut read).unwrap();
        assert_eq!(read, whole[..64]);
    }

    #[test]
    fn bytes_of_the_memory_are_located() {
        let memory = memory();
        let at = memory.buffers() + 1024;
        let bytes = memory.freeze(at, 512).unwrap();
        assert_eq!(memory.locate(&bytes), Some(at));
        assert_eq!(memory.locate(&bytes[100..200]), Some(at + 100));
        assert_eq!(memory.locate(&[0; 64]), None);
    }

    #[test]
    fn a_reader_of_frozen_bytes_never_sees_them_change() {
        let rounds = if cfg!(miri) { 30 } else { 3000 };
        let memory = memory();
        let at = memory.buffers();
        thread::scope(|scope| {
            for byte in [1u8, 2] {
                let memory = &memory;
                scope.spawn(move || (0..rounds).for_each(|_| _ = memory.write(at, &[byte; 1024])));
            }
            for _ in 0..rounds {
                let Some(bytes) = memory.freeze(at, 1024) else { continue };
                let first = bytes[0];
                assert!(bytes.iter().all(|&byte| byte == first), "a write was half done");
            }
        });
    }
}
