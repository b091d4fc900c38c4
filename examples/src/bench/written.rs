//! Which pieces of the medium hold the pattern.

/// A set of numbers below a limit, one bit each.
#[derive(Clone, Debug, Default)]
pub struct Written {
    bits: Vec<u64>,
}

impl Written {
    /// The empty set of numbers below `limit`.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { bits: vec![0; limit.div_ceil(64) as usize] }
    }

    /// Puts `number` in.
    pub fn insert(&mut self, number: u64) {
        self.bits[(number / 64) as usize] |= 1 << (number % 64);
    }

    /// Whether `number` is in.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        self.bits[(number / 64) as usize] >> (number % 64) & 1 != 0
    }

    /// The first number in the set that is not below `from`.
    #[must_use]
    pub fn next(&self, from: u64) -> Option<u64> {
        let first = (from / 64) as usize;
        let masked = |(index, bits): (usize, &u64)| {
            let bits = if index == first { bits & u64::MAX << (from % 64) } else { *bits };
            (bits != 0).then(|| index as u64 * 64 + u64::from(bits.trailing_zeros()))
        };
        self.bits.iter().enumerate().skip(first).find_map(masked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn is_a_set(numbers in prop::collection::btree_set(0u64..300, 0..20), from in 0u64..310) {
            let mut written = Written::new(300);
            numbers.iter().for_each(|number| written.insert(*number));
            prop_assert_eq!(written.next(from), numbers.range(from..).next().copied());
            let found: BTreeSet<u64> = (0..300).filter(|number| written.contains(*number)).collect();
            prop_assert_eq!(found, numbers);
        }
    }
}
