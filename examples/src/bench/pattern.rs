//! What verified blocks hold: bytes that follow from a seed and the block's address, so that a block that is lost, old or
//! in the wrong place is seen.

/// SplitMix64: a small generator of numbers that look random, not a secret one.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

/// The golden ratio's fraction, which SplitMix64 steps by.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The same seed gives the same numbers.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// The next number below `limit`, which is at least 1.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(limit)) >> 64) as u64
    }
}

/// Lets each bit reach all the others.
pub(super) const fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// A byte that is not what was written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {lba} differs from what was written, first at its byte {byte}")]
pub struct Mismatch {
    /// Logical block address.
    pub lba: u64,
    /// Offset in that block.
    pub byte: usize,
}

/// The content of blocks of one size under one seed.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    seed: u64,
    block_size: usize,
}

const WORD_BYTES: usize = size_of::<u64>();

impl Pattern {
    /// Blocks of `block_size` bytes, a multiple of eight.
    #[must_use]
    pub const fn new(seed: u64, block_size: u32) -> Self {
        Self { seed, block_size: block_size as usize }
    }

    /// Where the words of block `lba` begin.
    const fn start(&self, lba: u64) -> u64 {
        mix(self.seed ^ mix(lba))
    }

    /// Fills whole blocks, the first of which is `lba`.
    pub fn fill(&self, lba: u64, bytes: &mut [u8]) {
        for (lba, block) in (lba..).zip(bytes.chunks_mut(self.block_size)) {
            let mut words = Random::new(self.start(lba));
            block.as_chunks_mut::<WORD_BYTES>().0.iter_mut().for_each(|word| *word = words.number().to_le_bytes());
        }
    }

    /// Checks whole blocks, the first of which is `lba`, that came in `pieces`.
    ///
    /// # Errors
    /// The first byte that differs.
    pub fn check<'a>(&self, lba: u64, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(), Mismatch> {
        let mut offset = 0;
        for mut piece in pieces {
            while !piece.is_empty() {
                let (lba, byte) = (lba + (offset / self.block_size) as u64, offset % self.block_size);
                let (now, later) = piece.split_at(piece.len().min(self.block_size - byte));
                self.check_part(lba, byte, now)?;
                offset += now.len();
                piece = later;
            }
        }
        Ok(())
    }

    /// Checks the part of block `lba` that begins at `byte`.
    fn check_part(&self, lba: u64, byte: usize, part: &[u8]) -> Result<(), Mismatch> {
        let (head, rest) = part.split_at(part.len().min(byte.next_multiple_of(WORD_BYTES) - byte));
        let (words, tail) = rest.as_chunks::<WORD_BYTES>();
        let mut expected = Random::new(self.start(lba).wrapping_add(STEP.wrapping_mul((byte / WORD_BYTES) as u64)));
        let differs = |at: usize, found: &[u8], expected: &[u8]| {
            let first = found.iter().zip(expected).position(|(found, expected)| found != expected);
            first.map_or(Ok(()), |first| Err(Mismatch { lba, byte: at + first }))
        };
        if !head.is_empty() {
            differs(byte, head, &expected.number().to_le_bytes()[byte % WORD_BYTES..])?;
        }
        for (index, word) in words.iter().enumerate() {
            let expected = expected.number().to_le_bytes();
            if *word != expected {
                differs(byte + head.len() + index * WORD_BYTES, word, &expected)?;
            }
        }
        differs(byte + part.len() - tail.len(), tail, &expected.number().to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_filled_checks_in_any_pieces(seed: u64, lba: u32, cuts in prop::collection::vec(0usize..1537, 0..6)) {
            let pattern = Pattern::new(seed, 512);
            let mut blocks = [0; 1536];
            pattern.fill(lba.into(), &mut blocks);
            prop_assert_eq!(pattern.check(lba.into(), in_pieces(&blocks, &cuts)), Ok(()));
        }

        #[test]
        fn a_wrong_byte_is_found_where_it_is(seed: u64, at in 0usize..1536, cuts in prop::collection::vec(0usize..1537, 0..6)) {
            let pattern = Pattern::new(seed, 512);
            let mut blocks = [0; 1536];
            pattern.fill(7, &mut blocks);
            blocks[at] ^= 1;
            let expected = Mismatch { lba: 7 + at as u64 / 512, byte: at % 512 };
            prop_assert_eq!(pattern.check(7, in_pieces(&blocks, &cuts)), Err(expected));
        }

        #[test]
        fn numbers_stay_below_their_limit(seed: u64, limit in 1u64..) {
            prop_assert!(Random::new(seed).below(limit) < limit);
        }
    }

    fn in_pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
        let mut cuts = cuts.to_vec();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
    }

    #[test]
    fn a_block_in_another_place_or_of_another_run_differs() {
        let mut block = [0; 512];
        Pattern::new(1, 512).fill(5, &mut block);
        assert!(Pattern::new(1, 512).check(6, [&block[..]]).is_err());
        assert!(Pattern::new(2, 512).check(5, [&block[..]]).is_err());
    }
}
