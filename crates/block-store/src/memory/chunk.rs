//! 64 KiB of the medium, and which of its blocks are written.

use crate::range::{CHUNK_BYTES, Piece};
use crate::segments::Cursor;
use std::hash::{BuildHasher, Hasher, RandomState};

/// A chunk with at least one written block. The others read as zeros.
pub(super) struct Chunk {
    /// One bit a block, of which there are at most 128.
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
        self.written |= written(piece, block_size);
    }

    /// Puts the ones of `data` into the piece.
    pub(super) fn or(&mut self, piece: &Piece, block_size: u32, data: &mut Cursor<'_>) {
        data.or_to(&mut self.data[piece.bytes()]);
        self.written |= written(piece, block_size);
    }

    /// Whether the block at this byte of the chunk is written.
    pub(super) fn is_written(&self, offset: usize, block_size: u32) -> bool {
        self.written >> (offset / granule(block_size)) & 1 != 0
    }

    /// Makes the blocks zeros. True if none is left that is written.
    pub(super) fn unmap(&mut self, piece: &Piece, block_size: u32) -> bool {
        self.written &= !unmapped(piece, block_size);
        let left = self.written != 0;
        if left {
            self.data[piece.bytes()].fill(0);
        }
        !left
    }
}

/// Bytes that a bit stands for: a block, or about one where blocks with protection information lie across chunks.
fn granule(block_size: u32) -> usize {
    block_size as usize & !0x1ff
}

/// The bits that a write to `piece` sets: of all that it touches.
fn written(piece: &Piece, block_size: u32) -> u128 {
    let granule = granule(block_size);
    bits(piece.offset / granule, (piece.offset + piece.length).div_ceil(granule))
}

/// The bits that go when `piece` is unmapped: of what it covers.
fn unmapped(piece: &Piece, block_size: u32) -> u128 {
    let granule = granule(block_size);
    bits(piece.offset.div_ceil(granule), (piece.offset + piece.length) / granule)
}

fn bits(start: usize, end: usize) -> u128 {
    match end.saturating_sub(start) {
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
        let piece = |offset, length| Piece { chunk: 0, offset, length };
        assert_eq!(written(&piece(0, CHUNK_BYTES), 512), u128::MAX);
        assert_eq!(written(&piece(0, CHUNK_BYTES), 4096), 0xffff);
        assert_eq!(written(&piece(1024, 512), 512), 1 << 2);
        assert_eq!(written(&piece(CHUNK_BYTES - 512, 512), 512), 1 << 127);
        assert_eq!(written(&piece(4096, 8192), 4096), 0b110);
        for (offset, length) in [(0, CHUNK_BYTES), (1024, 512), (4096, 8192)] {
            assert_eq!(written(&piece(offset, length), 512), unmapped(&piece(offset, length), 512));
        }
        assert_eq!((written(&piece(520, 520), 520), unmapped(&piece(520, 520), 520)), (0b110, 0));
        assert_eq!(unmapped(&piece(520, 1040), 520), 0b100);
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
