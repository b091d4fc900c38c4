//! Which bytes of a task have moved, where they may move in any order (RFC 7143 sections 13.18 and 13.19).
//!
//! Invariant: the ranges are apart, in order, and not empty. A byte is covered once.

use crate::Violation;

/// Most ranges with gaps between them: a target that leaves more has no plan.
const RANGES_MAX: usize = 1024;

/// Why a range is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A part of it is covered already.
    Overlap,
    /// There are too many gaps.
    TooManyRanges,
}

impl Refusal {
    /// The rule that is broken: this one, if the bytes have moved before.
    pub(super) const fn violation(self, overlap: Violation) -> Violation {
        match self {
            Self::Overlap => overlap,
            Self::TooManyRanges => Violation::TooManyGaps,
        }
    }
}

/// Ranges of bytes, each from its first byte to after its last.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage(Vec<(u32, u32)>);

impl Coverage {
    /// All bytes before this one.
    pub(super) fn up_to(end: u32) -> Self {
        Self(if end > 0 { vec![(0, end)] } else { Vec::new() })
    }

    /// Covers a range of bytes none of which is covered.
    pub(super) fn insert(&mut self, begin: u32, end: u32) -> Result<(), Refusal> {
        if begin >= end {
            return Ok(());
        }
        // The first range that ends after the beginning.
        let at = self.0.partition_point(|(_, other)| *other <= begin);
        let next = self.0.get(at).copied();
        if next.is_some_and(|(other, _)| other < end) {
            return Err(Refusal::Overlap);
        }
        let before = at.checked_sub(1).filter(|before| self.0[*before].1 == begin);
        let meets_next = next.is_some_and(|(other, _)| other == end);
        match (before, meets_next) {
            (Some(before), true) => {
                self.0[before].1 = self.0[at].1;
                self.0.remove(at);
            }
            (Some(before), false) => self.0[before].1 = end,
            (None, true) => self.0[at].0 = begin,
            (None, false) if self.0.len() == RANGES_MAX => return Err(Refusal::TooManyRanges),
            (None, false) => self.0.insert(at, (begin, end)),
        }
        Ok(())
    }

    /// What is left of a range without what is covered at its beginning and at its end.
    pub(super) fn trimmed(&self, mut begin: u32, mut end: u32) -> (u32, u32) {
        let at = self.0.partition_point(|(_, other)| *other <= begin);
        if let Some((first, last)) = self.0.get(at)
            && *first <= begin
        {
            begin = (*last).min(end);
        }
        let at = self.0.partition_point(|(other, _)| *other < end);
        if let Some((first, last)) = at.checked_sub(1).map(|at| self.0[at])
            && last >= end
            && begin < end
        {
            end = first.max(begin);
        }
        (begin, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gaps_are_bounded() {
        let mut coverage = Coverage::default();
        for index in 0..RANGES_MAX as u32 {
            assert_eq!(coverage.insert(index * 2, index * 2 + 1), Ok(()));
        }
        assert_eq!(coverage.insert(100_000, 100_001), Err(Refusal::TooManyRanges));
        // What closes a gap is taken.
        assert_eq!(coverage.insert(1, 2), Ok(()));
        assert_eq!(coverage.insert(100_000, 100_001), Ok(()));
    }

    proptest! {
        /// The same as a list of bytes says.
        #[test]
        fn a_byte_is_covered_once(
            up_to in 0_u32..8,
            ranges in proptest::collection::vec((0_u32..60, 0_u32..12), 0..40),
        ) {
            let mut coverage = Coverage::up_to(up_to);
            let mut bytes = [false; 80];
            bytes[..up_to as usize].fill(true);
            for (begin, length) in ranges {
                let range = begin as usize..(begin + length) as usize;
                let (from, to) = coverage.trimmed(begin, begin + length);
                prop_assert!(begin <= from && from <= to && to <= begin + length);
                let left: Vec<_> = range.clone().filter(|at| !bytes[*at]).collect();
                if from < to {
                    prop_assert_eq!((left.first(), left.last()), (Some(&(from as usize)), Some(&(to as usize - 1))));
                } else {
                    prop_assert!(left.is_empty());
                }
                let overlaps = bytes[range.clone()].contains(&true);
                prop_assert_eq!(coverage.insert(begin, begin + length), if overlaps { Err(Refusal::Overlap) } else { Ok(()) });
                if !overlaps {
                    bytes[range].fill(true);
                }
                for (index, covered) in bytes.iter().enumerate() {
                    let is_covered = coverage.0.iter().any(|(begin, end)| (*begin..*end).contains(&(index as u32)));
                    prop_assert_eq!(*covered, is_covered);
                }
                prop_assert!(coverage.0.windows(2).all(|pair| pair[0].1 < pair[1].0));
            }
        }
    }
}
