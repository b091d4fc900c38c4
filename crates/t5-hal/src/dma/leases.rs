//! Who may touch which granule: many read; one writes; what is frozen, nobody writes.

use std::hint::spin_loop;
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Release, SeqCst};
use zerocopy::FromZeros;

/// Two bits a granule: is it frozen, is somebody writing.
///
/// Each side first raises its own bit and then looks at the other's, so of a writer and a freezer that meet at least one sees the
/// other and gives up. That wants one order of all these accesses: hence `SeqCst`.
#[derive(Debug)]
pub(super) struct Leases {
    frozen: Box<[AtomicU64]>,
    writing: Box<[AtomicU64]>,
}

impl Leases {
    pub(super) fn new(granules: usize) -> Self {
        let zeros = || {
            <[AtomicU64]>::new_box_zeroed_with_elems(granules.div_ceil(64)).expect("two bits for 512 bytes find room")
        };
        Self { frozen: zeros(), writing: zeros() }
    }

    /// Takes the right to write there, once others who write have ended. Not if some of it is frozen.
    pub(super) fn begin_write(&self, granules: Range<usize>) -> bool {
        let mut frozen = false;
        // In rising order, so that of two writers one gets on.
        for (word, mask) in masks(granules.clone()) {
            loop {
                let before = self.writing[word].fetch_or(mask, SeqCst) & mask;
                if before == 0 {
                    break;
                }
                self.writing[word].fetch_and(!(mask & !before), SeqCst);
                spin_loop();
            }
            frozen |= self.frozen[word].load(SeqCst) & mask != 0;
        }
        if frozen {
            self.end_write(granules);
        }
        !frozen
    }

    pub(super) fn end_write(&self, granules: Range<usize>) {
        for (word, mask) in masks(granules) {
            self.writing[word].fetch_and(!mask, SeqCst);
        }
    }

    /// Freezes all of it, unless some is frozen already or being written.
    pub(super) fn freeze(&self, granules: Range<usize>) -> bool {
        for (word, mask) in masks(granules.clone()) {
            let before = self.frozen[word].fetch_or(mask, SeqCst) & mask;
            if before != 0 || self.writing[word].load(SeqCst) & mask != 0 {
                self.frozen[word].fetch_and(!(mask & !before), SeqCst);
                self.thaw(granules.start..(word * 64).max(granules.start));
                return false;
            }
        }
        true
    }

    pub(super) fn thaw(&self, granules: Range<usize>) {
        for (word, mask) in masks(granules) {
            self.frozen[word].fetch_and(!mask, Release);
        }
    }

    pub(super) fn is_frozen(&self, granules: Range<usize>) -> bool {
        masks(granules).any(|(word, mask)| self.frozen[word].load(SeqCst) & mask != 0)
    }
}

/// The words that hold the bits of those granules, with the bits.
fn masks(granules: Range<usize>) -> impl Iterator<Item = (usize, u64)> {
    let words = granules.start / 64..granules.end.div_ceil(64);
    words.map(move |word| {
        let low = granules.start.saturating_sub(word * 64);
        let high = (granules.end - word * 64).min(64);
        (word, u64::MAX >> (64 - high) & u64::MAX << low)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_cover_each_granule_once() {
        assert!(masks(3..3).all(|(_, mask)| mask == 0));
        assert_eq!(masks(64..64).count(), 0);
        assert_eq!(masks(0..64).collect::<Vec<_>>(), [(0, u64::MAX)]);
        assert_eq!(masks(63..66).collect::<Vec<_>>(), [(0, 1 << 63), (1, 3)]);
        assert_eq!(masks(70..72).collect::<Vec<_>>(), [(1, 0xc0)]);
    }

    #[test]
    fn what_could_not_be_frozen_is_as_before() {
        let leases = Leases::new(300);
        assert!(leases.freeze(150..160));
        assert!(!leases.freeze(100..200), "some of it is frozen");
        assert!(!leases.is_frozen(0..150) && !leases.is_frozen(160..300));
        assert!(leases.is_frozen(159..300));
        assert!(leases.begin_write(200..300));
        assert!(!leases.freeze(180..220), "some of it is being written");
        assert!(!leases.is_frozen(160..300));
        leases.end_write(200..300);
        assert!(!leases.begin_write(0..151), "some of it is frozen");
        leases.thaw(150..160);
        assert!(leases.begin_write(0..300));
        leases.end_write(0..300);
        assert!(leases.freeze(0..300));
    }
}
