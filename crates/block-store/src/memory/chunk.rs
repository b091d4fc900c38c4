//! 64 KiB of the medium, and which of its blocks are written.

use crate::range::{CHUNK_BYTES, Piece};
use crate::segments::Cursor;
use std::hash::{BuildHasher, Hasher, RandomState};

/// A chunk with at least one written block. The others read as zeros.
pub(super) struct Chunk {
    /// One bit for each block that has bytes here, of which there are at most 128.
    written: u128,
    /// `CHUNK_BYTES` long, but shorter while the write that makes the chunk, and fills all of it, goes on.
    data: Vec<u8>,
}

impl Chunk {
    /// A chunk that `piece` is about to be written to: zeros, unless `piece` is all of it.
    pub(super) fn for_write(piece: &Piece) -> Self {
        let data = match piece.length {
            CHUNK_BYTES => Vec::with_capacity(CHUNK_BYTES),
            _ => vec![0; CHUNK_BYTES],
        };
        Self { written: 0, data }
    }

    /// A chunk of zeros.
    pub(super) fn zeros() -> Self {
        Self { written: 0, data: vec![0; CHUNK_BYTES] }
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    pub(super) fn write(&mut self, piece: &Piece, block_size: u32, data: &mut Cursor<'_>) {
        if self.data.is_empty() {
            data.pieces(CHUNK_BYTES).for_each(|part| self.data.extend_from_slice(part));
        } else {
            data.copy_to(&mut self.data[piece.bytes()]);
        }
        self.written |= bits(piece, block_size);
    }

    /// Puts the ones of `data` into the piece.
    pub(super) fn or(&mut self, piece: &Piece, block_size: u32, data: &mut Cursor<'_>) {
        data.or_to(&mut self.data[piece.bytes()]);
        self.written |= bits(piece, block_size);
    }

    /// Whether a block is written that has bytes in this chunk, whose number is `chunk`.
    pub(super) fn is_written(&self, chunk: u64, lba: u64, block_size: u32) -> bool {
        self.written >> (lba - first_block(chunk, block_size)) & 1 != 0
    }

    /// Makes the blocks zeros. True if none is left that is written.
    pub(super) fn unmap(&mut self, piece: &Piece, block_size: u32) -> bool {
        self.written &= !bits(piece, block_size);
        let left = self.written != 0;
        if left {
            self.data[piece.bytes()].fill(0);
        }
        !left
    }
}

/// The first block that has bytes in a chunk: blocks with protection information may lie across two.
fn first_block(chunk: u64, block_size: u32) -> u64 {
    chunk * CHUNK_BYTES as u64 / u64::from(block_size)
}

/// The bits of the blocks of `piece`, which is all that they have in its chunk.
fn bits(piece: &Piece, block_size: u32) -> u128 {
    let origin = piece.chunk * CHUNK_BYTES as u64;
    let first = first_block(piece.chunk, block_size);
    let start = (origin + piece.offset as u64) / u64::from(block_size) - first;
    let end = (origin + (piece.offset + piece.length) as u64).div_ceil(block_size.into()) - first;
    match end - start {
        0 => 0,
        count => (u128::MAX >> (128 - count)) << start,
    }
}

/// Hashes chunk numbers with one multiplication by a random number, so that an initiator cannot choose addresses that
/// collide.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkHash {
    seed: u64,
}

impl ChunkHash {
    pub(super) fn random() -> Self {
        Self { seed: RandomState::new().hash_one(0) | 1 }
    }
}

impl BuildHasher for ChunkHash {
    type Hasher = ChunkHasher;

    fn build_hasher(&self) -> ChunkHasher {
        ChunkHasher { seed: self.seed, hash: 0 }
    }
}

/// The state of [`ChunkHash`].
pub(super) struct ChunkHasher {
    seed: u64,
    hash: u64,
}

impl Hasher for ChunkHasher {
    fn finish(&self) -> u64 {
        self.hash
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.hash ^ value) * u128::from(self.seed);
        self.hash = product as u64 ^ (product >> 64) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_blocks() {
        let piece = |chunk, offset, length| Piece { chunk, offset, length };
        assert_eq!(bits(&piece(7, 0, CHUNK_BYTES), 512), u128::MAX);
        assert_eq!(bits(&piece(7, 0, CHUNK_BYTES), 4096), 0xffff);
        assert_eq!(bits(&piece(0, 1024, 512), 512), 1 << 2);
        assert_eq!(bits(&piece(0, CHUNK_BYTES - 512, 512), 512), 1 << 127);
        assert_eq!(bits(&piece(3, 4096, 8192), 4096), 0b110);
        assert_eq!(bits(&piece(0, 520, 520), 520), 0b10);
        assert_eq!(bits(&piece(0, 126 * 520, CHUNK_BYTES - 126 * 520), 520), 1 << 126);
    }

    /// Block 126 of 520 bytes lies across the first two chunks: it has a bit in both.
    #[test]
    fn a_block_across_two_chunks_has_a_bit_in_each() {
        let start = 126 * 520;
        let range = crate::range::ByteRange { start, end: start + 520 };
        let pieces: Vec<Piece> = range.pieces().collect();
        assert_eq!(pieces.len(), 2);
        assert_eq!([bits(&pieces[0], 520), bits(&pieces[1], 520)], [1 << 126, 1]);
        assert_eq!([first_block(0, 520), first_block(1, 520)], [0, 126]);
    }

    /// However blocks lie, a chunk has no more of them than there are bits.
    #[test]
    fn there_are_bits_for_all_blocks() {
        for block_size in [512, 520, 4096, 4104] {
            for chunk in 0..2000u32 {
                let last = (u64::from(chunk + 1) * CHUNK_BYTES as u64).div_ceil(block_size) - 1;
                assert!(last - first_block(chunk.into(), block_size as u32) < 128);
            }
        }
    }

    /// The chunks of one stripe are 1024 apart: their hashes must still spread over a small table.
    #[test]
    fn neighbours_in_a_stripe_spread() {
        let hash = ChunkHash::random();
        let mut buckets = [0u32; 64];
        for n in 0..4096u64 {
            buckets[hash.hash_one(n * 1024 + 5) as usize % 64] += 1;
        }
        assert!(buckets.iter().all(|&count| count < 4 * 4096 / 64), "{buckets:?}");
    }
}
