//! Byte ranges of a medium, and their pieces in chunks of 64 KiB.

use crate::segments;
use bytes::Bytes;
use scsi_block::io::{Extent, Geometry};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes in one chunk: what one lock guards, and what the memory store allocates at a time.
pub(crate) const CHUNK_BYTES: usize = 64 << 10;

/// The size of a medium, which may grow while requests are under way.
#[derive(Debug)]
pub(crate) struct Size {
    block_size: u32,
    blocks: AtomicU64,
}

impl Size {
    /// Panics if `geometry` is none that [`Geometry`] allows, or has 8 EiB or more.
    pub(crate) fn new(geometry: Geometry) -> Self {
        check_geometry(geometry);
        Self { block_size: geometry.block_size, blocks: AtomicU64::new(geometry.blocks) }
    }

    #[inline]
    pub(crate) fn geometry(&self) -> Geometry {
        Geometry { block_size: self.block_size, blocks: self.blocks.load(Ordering::Acquire) }
    }

    /// There are `blocks` from now on, once `extend` has made a medium of so many bytes; no fewer than before.
    pub(crate) fn grow(&self, blocks: u64, extend: impl FnOnce(u64) -> io::Result<()>) -> io::Result<()> {
        let wrong = |error: &str| io::Error::new(io::ErrorKind::InvalidInput, error.to_owned());
        let bytes = blocks.checked_mul(self.block_size.into()).ok_or_else(|| wrong("the size is less than 8 EiB"))?;
        geometry(self.block_size, bytes).map_err(wrong)?;
        if blocks < self.geometry().blocks {
            return Err(wrong("a medium does not become smaller"));
        }
        extend(bytes)?;
        self.blocks.fetch_max(blocks, Ordering::AcqRel);
        Ok(())
    }
}

/// A run of bytes that lies inside the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteRange {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// The part of a range that lies in one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) chunk: u64,
    /// First byte, from the start of the chunk.
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

impl ByteRange {
    pub(crate) fn of_extent(geometry: Geometry, extent: Extent) -> Self {
        let end = extent.lba.checked_add(extent.blocks);
        let end = end.expect("an extent ends inside the medium");
        assert!(end <= geometry.blocks, "an extent lies inside the medium");
        let block_size = u64::from(geometry.block_size);
        Self { start: extent.lba * block_size, end: end * block_size }
    }

    pub(crate) fn of_data(geometry: Geometry, lba: u64, data: &[Bytes]) -> Self {
        Self::of_length(geometry, lba, segments::length(data))
    }

    /// The range of the blocks that COMPARE AND WRITE compares, and then writes, given both halves of its data.
    pub(crate) fn of_halves(geometry: Geometry, lba: u64, data: &[Bytes]) -> Self {
        let length = segments::length(data);
        assert!(length.is_multiple_of(2), "COMPARE AND WRITE has two halves of data");
        Self::of_length(geometry, lba, length / 2)
    }

    fn of_length(geometry: Geometry, lba: u64, length: usize) -> Self {
        let (length, block_size) = (length as u64, u64::from(geometry.block_size));
        assert!(length.is_multiple_of(block_size), "data is a whole number of blocks");
        Self::of_extent(geometry, Extent { lba, blocks: length / block_size })
    }

    /// Bytes in the range.
    ///
    /// Panics if that is more than an address space holds.
    pub(crate) fn length(&self) -> usize {
        usize::try_from(self.end - self.start).expect("data lies in memory, so its length does")
    }

    /// The chunks that the range touches.
    pub(crate) fn chunks(&self) -> std::ops::Range<u64> {
        let chunk_bytes = CHUNK_BYTES as u64;
        if self.start == self.end {
            return 0..0;
        }
        self.start / chunk_bytes..self.end.div_ceil(chunk_bytes)
    }

    /// The part of the range in `chunk`, if there is one.
    pub(crate) fn piece(&self, chunk: u64) -> Option<Piece> {
        if !self.chunks().contains(&chunk) {
            return None;
        }
        let origin = chunk * CHUNK_BYTES as u64;
        let offset = self.start.saturating_sub(origin) as usize;
        let end = (self.end - origin).min(CHUNK_BYTES as u64) as usize;
        Some(Piece { chunk, offset, length: end - offset })
    }

    pub(crate) fn pieces(&self) -> impl Iterator<Item = Piece> + use<> {
        let range = *self;
        self.chunks().filter_map(move |chunk| range.piece(chunk))
    }
}

impl Piece {
    pub(crate) fn bytes(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.length
    }
}

/// The geometry of a medium of `size_bytes`; the error says what is wrong with it. Blocks with protection information have eight bytes more.
pub(crate) fn geometry(block_size: u32, size_bytes: u64) -> Result<Geometry, &'static str> {
    if !matches!(block_size, 512 | 520 | 4096 | 4104) {
        return Err("a block has 512 or 4096 bytes, and 8 more with protection information");
    }
    if size_bytes == 0 || !size_bytes.is_multiple_of(block_size.into()) {
        return Err("the size is a multiple of the block size, and not 0");
    }
    if size_bytes > i64::MAX as u64 {
        return Err("the size is less than 8 EiB");
    }
    Ok(Geometry { block_size, blocks: size_bytes / u64::from(block_size) })
}

/// Panics unless `geometry` is one that [`Geometry`] allows, of less than 8 EiB.
pub(crate) fn check_geometry(given: Geometry) {
    let size_bytes = given.blocks.checked_mul(given.block_size.into());
    let checked = geometry(given.block_size, size_bytes.unwrap_or(u64::MAX));
    assert_eq!(
        checked,
        Ok(given),
        "a medium has blocks of 512 or 4096 bytes (8 more with protection information), and less than 8 EiB"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_join_to_the_range(start in 0u64..1 << 40, length in 0u64..1 << 20) {
            let range = ByteRange { start, end: start + length };
            let mut at = start;
            for piece in range.pieces() {
                prop_assert_eq!(piece.chunk * CHUNK_BYTES as u64 + piece.offset as u64, at);
                prop_assert!(piece.length > 0 && piece.bytes().end <= CHUNK_BYTES);
                at += piece.length as u64;
            }
            prop_assert_eq!(at, range.end);
        }
    }

    #[test]
    #[should_panic(expected = "inside the medium")]
    fn a_range_past_the_end_is_a_bug() {
        let geometry = Geometry { block_size: 512, blocks: 8 };
        ByteRange::of_extent(geometry, Extent { lba: 7, blocks: 2 });
    }
}
