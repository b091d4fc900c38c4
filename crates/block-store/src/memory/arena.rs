//! Buffers for reads, without an allocation a read.
//!
//! A read takes the next bytes of a block of 256 KiB; the block starts anew once everything that was taken from it
//! has been dropped. Blocks are tried in a fixed order, so that few of them stay warm in the cache when few would do.

use bytes::{Bytes, BytesMut};

const BLOCK_BYTES: usize = 256 << 10;
/// Larger reads are allocated on their own: a piece keeps its whole block.
const PIECE_BYTES_MAX: usize = BLOCK_BYTES / 4;
/// An arena keeps at most 4 MiB. What is taken beyond is freed with its last piece.
const BLOCKS_MAX: usize = 16;

/// The read buffers of one queue. Costs nothing before its first use.
#[derive(Default)]
pub(super) struct Arena {
    blocks: Vec<BytesMut>,
    /// The block that pieces are taken from.
    current: usize,
}

impl Arena {
    /// What `fill` appends to an empty buffer that has room for `length` bytes.
    pub(super) fn collect(&mut self, length: usize, fill: impl FnOnce(&mut BytesMut)) -> Bytes {
        if length > PIECE_BYTES_MAX {
            let mut buffer = BytesMut::with_capacity(length);
            fill(&mut buffer);
            return buffer.freeze();
        }
        let block = self.block(length);
        fill(block);
        block.split().freeze()
    }

    /// A block with room for `length` bytes.
    fn block(&mut self, length: usize) -> &mut BytesMut {
        let fits = match self.blocks.get_mut(self.current) {
            Some(block) => block.try_reclaim(BLOCK_BYTES) || block.try_reclaim(length),
            None => false,
        };
        if !fits {
            self.current = self.free_block();
        }
        &mut self.blocks[self.current]
    }

    /// The index of a block of which nothing is in use.
    fn free_block(&mut self) -> usize {
        if let Some(free) = self.blocks.iter_mut().position(|block| block.try_reclaim(BLOCK_BYTES)) {
            return free;
        }
        let fresh = BytesMut::with_capacity(BLOCK_BYTES);
        if self.blocks.len() < BLOCKS_MAX {
            self.blocks.push(fresh);
            return self.blocks.len() - 1;
        }
        let next = (self.current + 1) % BLOCKS_MAX;
        self.blocks[next] = fresh;
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(arena: &mut Arena, length: usize, byte: u8) -> Bytes {
        arena.collect(length, |buffer| buffer.resize(length, byte))
    }

    #[test]
    fn one_read_at_a_time_uses_the_same_bytes() {
        let mut arena = Arena::default();
        let first = take(&mut arena, 4096, 1).as_ptr();
        for _ in 0..1000 {
            assert_eq!(take(&mut arena, 4096, 2).as_ptr(), first);
        }
        assert_eq!(arena.blocks.len(), 1);
    }

    #[test]
    fn a_window_of_reads_keeps_to_few_blocks() {
        let mut arena = Arena::default();
        let mut window = std::collections::VecDeque::new();
        for n in 0..10_000u32 {
            window.push_back((n as u8, take(&mut arena, 4096, n as u8)));
            if window.len() > 128 {
                let (byte, data) = window.pop_front().unwrap();
                assert!(data.iter().all(|&b| b == byte), "a piece in use is not overwritten");
            }
        }
        assert!(arena.blocks.len() <= 4, "{}", arena.blocks.len());
    }

    #[test]
    fn pieces_that_are_kept_do_not_make_it_grow() {
        let mut arena = Arena::default();
        let kept: Vec<Bytes> = (0..2000u32).map(|n| take(&mut arena, 20_000, n as u8)).collect();
        assert_eq!(arena.blocks.len(), BLOCKS_MAX);
        for (n, data) in kept.iter().enumerate() {
            assert!(data.len() == 20_000 && data.iter().all(|&b| b == n as u8));
        }
    }
}
