//! Blocks of the memory, in sizes that are powers of two, each at a multiple of its size.

use std::ops::Range;

/// Logarithm of the smallest block.
const SMALLEST_BITS: u32 = 9;
/// Logarithm of the largest block.
const LARGEST_BITS: u32 = 20;

/// Largest block, in bytes.
pub const BLOCK_BYTES_MAX: usize = 1 << LARGEST_BITS;

/// A block that nobody else has, until it is [freed](Heap::free).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a block that is dropped never comes back"]
pub struct Block {
    address: u64,
    bits: u32,
}

impl Block {
    /// Where it begins on the bus: a multiple of its size.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        1 << self.bits
    }
}

/// A part of the memory, cut into blocks as they are asked for. A size that was cut stays that size.
#[derive(Debug)]
pub struct Heap {
    /// What was not cut yet.
    rest: Range<u64>,
    free: [Vec<u64>; (LARGEST_BITS - SMALLEST_BITS + 1) as usize],
}

impl Heap {
    /// All of that range is free.
    #[must_use]
    pub fn new(range: Range<u64>) -> Self {
        Self { rest: range, free: Default::default() }
    }

    /// A block of at least that many bytes; `None` if there is none, or it would be larger than [`BLOCK_BYTES_MAX`].
    #[must_use]
    pub fn allocate(&mut self, bytes: usize) -> Option<Block> {
        if bytes > BLOCK_BYTES_MAX {
            return None;
        }
        let bits = bytes.next_power_of_two().ilog2().max(SMALLEST_BITS);
        let address = self.free[(bits - SMALLEST_BITS) as usize].pop().or_else(|| self.cut(1 << bits))?;
        Some(Block { address, bits })
    }

    /// Takes a block back. Whoever was told its address has to be done with it.
    pub fn free(&mut self, block: Block) {
        self.free[(block.bits - SMALLEST_BITS) as usize].push(block.address);
    }

    fn cut(&mut self, bytes: u64) -> Option<u64> {
        let address = self.rest.start.checked_next_multiple_of(bytes)?;
        let end = address.checked_add(bytes).filter(|&end| end <= self.rest.end)?;
        self.rest.start = end;
        Some(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_are_aligned_inside_and_never_overlap(steps in prop::collection::vec((any::<bool>(), 1..300_000usize), 1..200)) {
            let range = 0x1234_5000..0x1264_5000;
            let mut heap = Heap::new(range.clone());
            let mut blocks: Vec<Block> = Vec::new();
            for (free, bytes) in steps {
                if free && !blocks.is_empty() {
                    heap.free(blocks.swap_remove(bytes % blocks.len()));
                } else if let Some(block) = heap.allocate(bytes) {
                    prop_assert!(block.bytes() >= bytes && block.address().is_multiple_of(block.bytes() as u64));
                    blocks.push(block);
                }
            }
            blocks.sort_by_key(Block::address);
            let mut end = range.start;
            for block in blocks {
                prop_assert!(block.address() >= end);
                end = block.address() + block.bytes() as u64;
            }
            prop_assert!(end <= range.end);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut heap = Heap::new(0x1000..0x3000);
        assert_eq!(heap.allocate(BLOCK_BYTES_MAX + 1), None);
        assert_eq!(heap.allocate(16384), None);
        let small = heap.allocate(1).unwrap();
        assert_eq!((small.address(), small.bytes()), (0x1000, 512));
        let block = heap.allocate(2049).unwrap();
        assert_eq!((block.address(), block.bytes()), (0x2000, 4096));
        assert_eq!(heap.allocate(4096), None, "what is between is lost");
        heap.free(block);
        assert!(heap.allocate(4096).is_some());
    }
}
