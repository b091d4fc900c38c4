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

/// A part of the memory, cut into blocks as they are asked for. A block that was cut stays as it is until there is nothing else: then
/// larger ones are split, and free neighbours joined.
#[derive(Debug)]
pub struct Heap {
    /// What was not cut yet.
    rest: Range<u64>,
    free: [Vec<u64>; (LARGEST_BITS - SMALLEST_BITS + 1) as usize],
    /// Whether anything was freed since neighbours were joined.
    freed: bool,
}

impl Heap {
    /// All of that range is free.
    #[must_use]
    pub fn new(range: Range<u64>) -> Self {
        Self { rest: range, free: Default::default(), freed: false }
    }

    /// A block of at least that many bytes; `None` if there is none, or it would be larger than [`BLOCK_BYTES_MAX`].
    #[must_use]
    pub fn allocate(&mut self, bytes: usize) -> Option<Block> {
        if bytes > BLOCK_BYTES_MAX {
            return None;
        }
        let bits = bytes.next_power_of_two().ilog2().max(SMALLEST_BITS);
        let class = (bits - SMALLEST_BITS) as usize;
        let address =
            self.free[class].pop().or_else(|| self.cut(1 << bits)).or_else(|| self.split(class)).or_else(|| {
                self.join();
                self.split(class)
            })?;
        Some(Block { address, bits })
    }

    /// Takes a block back. Whoever was told its address has to be done with it.
    pub fn free(&mut self, block: Block) {
        self.free[(block.bits - SMALLEST_BITS) as usize].push(block.address);
        self.freed = true;
    }

    /// A block of that class out of the smallest free one that is large enough.
    fn split(&mut self, class: usize) -> Option<u64> {
        let larger = (class..self.free.len()).find(|&larger| !self.free[larger].is_empty())?;
        let address = self.free[larger].pop()?;
        for half in (class..larger).rev() {
            self.free[half].push(address + (1 << (SMALLEST_BITS as usize + half)));
        }
        Some(address)
    }

    /// Joins free blocks that are the halves of a larger one. It costs a look at all, and is not done twice for nothing.
    fn join(&mut self) {
        if !std::mem::take(&mut self.freed) {
            return;
        }
        for class in 0..self.free.len() - 1 {
            let bytes = 1u64 << (SMALLEST_BITS as usize + class);
            let mut blocks = std::mem::take(&mut self.free[class]);
            blocks.sort_unstable();
            let mut rest = blocks.into_iter().peekable();
            while let Some(block) = rest.next() {
                let is_first_half = block.is_multiple_of(2 * bytes);
                if is_first_half && rest.next_if_eq(&(block + bytes)).is_some() {
                    self.free[class + 1].push(block);
                } else {
                    self.free[class].push(block);
                }
            }
        }
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
    fn memory_that_was_cut_small_serves_large_blocks_again() {
        let mut heap = Heap::new(0x10_0000..0x20_0000);
        for bytes in [512, BLOCK_BYTES_MAX, 4096, 16384, 512, 65536] {
            let blocks: Vec<Block> = std::iter::from_fn(|| heap.allocate(bytes)).collect();
            assert_eq!(blocks.len(), BLOCK_BYTES_MAX / bytes, "all of it in blocks of {bytes}");
            blocks.into_iter().for_each(|block| heap.free(block));
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
        assert_eq!(heap.allocate(4096).map(|block| block.address()), Some(0x2000));
    }
}
