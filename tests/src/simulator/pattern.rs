//! What stands in a block: a stamp that says which write it is of, spread over all its bytes together with its place.

/// Bytes in a block of every unit.
pub(crate) const BLOCK_BYTES: usize = 512;

/// A block that was never written, or was given back.
pub(crate) const ZEROS: u64 = 0;

/// One logical unit of the world.
pub(crate) type Unit = usize;

/// Appends the block that the write with this stamp puts at a place.
pub(crate) fn push_block(bytes: &mut Vec<u8>, unit: Unit, lba: u64, stamp: u64) {
    if stamp == ZEROS {
        bytes.resize(bytes.len() + BLOCK_BYTES, 0);
        return;
    }
    let mut block = [0; BLOCK_BYTES];
    for (bytes, word) in block.chunks_exact_mut(8).zip(words(unit, lba, stamp)) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(&block);
}

/// The stamp of a block, if every byte of it is what that write has put at this place.
pub(crate) fn stamp_of(block: &[u8], unit: Unit, lba: u64) -> Option<u64> {
    let stamp = u64::from_le_bytes(block.get(..8)?.try_into().ok()?);
    let intact = if stamp == ZEROS {
        block.iter().all(|byte| *byte == 0)
    } else {
        block.chunks_exact(8).zip(words(unit, lba, stamp)).all(|(bytes, word)| bytes == word.to_le_bytes())
    };
    (intact && block.len() == BLOCK_BYTES).then_some(stamp)
}

/// The stamps of blocks that follow each other.
pub(crate) fn stamps_of(bytes: &[u8], unit: Unit, lba: u64) -> Option<Vec<u64>> {
    let blocks = bytes.chunks(BLOCK_BYTES).zip(lba..);
    blocks.map(|(block, lba)| stamp_of(block, unit, lba)).collect()
}

fn words(unit: Unit, lba: u64, stamp: u64) -> impl Iterator<Item = u64> {
    let place = ((unit as u64) << 32 | lba).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let key = place ^ stamp.rotate_left(17);
    (0..(BLOCK_BYTES / 8) as u64).map(move |index| if index == 0 { stamp } else { key.wrapping_mul(index * 2 + 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_tells_its_write_and_its_place() {
        let mut bytes = Vec::new();
        push_block(&mut bytes, 1, 7, 42);
        push_block(&mut bytes, 1, 8, ZEROS);
        assert_eq!(stamps_of(&bytes, 1, 7), Some(vec![42, ZEROS]));
        assert_eq!(stamps_of(&bytes, 1, 6), None);
        assert_eq!(stamp_of(&bytes[..BLOCK_BYTES], 0, 7), None);
        for byte in 0..BLOCK_BYTES {
            let mut other = bytes[..BLOCK_BYTES].to_vec();
            other[byte] ^= 0x10;
            assert_eq!(stamp_of(&other, 1, 7), None, "byte {byte}");
        }
    }
}
