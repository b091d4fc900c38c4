//! All numbers below a limit in an order that looks random, without a list of them.

use super::pattern::{Random, mix};

const ROUNDS: usize = 4;

/// An order of the numbers below a limit, each of which comes once: a Feistel network over the next even number of bits, which is walked until it comes
/// to a number that is below the limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Permutation {
    limit: u64,
    half_bits: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// An order of the numbers below `limit`, at least 1 and at most 2^62, as `random` has it.
    pub(super) fn new(limit: u64, random: &mut Random) -> Self {
        let bits = (limit - 1).checked_ilog2().map_or(0, |highest| highest + 1);
        Self { limit, half_bits: bits.div_ceil(2).max(1), keys: std::array::from_fn(|_| random.number()) }
    }

    /// The number at a place below the limit.
    pub(super) fn at(&self, place: u64) -> u64 {
        // Fewer than four times as many numbers are walked over as are below the limit, so that a few steps do.
        let mut number = self.step(place);
        while number >= self.limit {
            number = self.step(number);
        }
        number
    }

    fn step(&self, number: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let halves = (number >> self.half_bits, number & mask);
        let (high, low) = self.keys.iter().fold(halves, |(high, low), key| (low, high ^ mix(low ^ key) & mask));
        high << self.half_bits | low
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_number_comes_once(limit in 1u64..3000, seed: u64) {
            let order = Permutation::new(limit, &mut Random::new(seed));
            let mut numbers: Vec<u64> = (0..limit).map(|place| order.at(place)).collect();
            numbers.sort_unstable();
            prop_assert!(numbers.into_iter().eq(0..limit));
        }

        #[test]
        fn numbers_of_any_size_stay_below_the_limit(limit in 1u64..=1 << 62, place: u64, seed: u64) {
            let order = Permutation::new(limit, &mut Random::new(seed));
            prop_assert!(order.at(place % limit) < limit);
        }
    }

    #[test]
    fn the_order_is_that_of_its_seed_and_of_no_other() {
        let order = |seed| -> Vec<u64> {
            let order = Permutation::new(1000, &mut Random::new(seed));
            (0..1000).map(|place| order.at(place)).collect()
        };
        assert_eq!(order(1), order(1));
        let same = order(1).iter().zip(order(2)).filter(|(one, other)| **one == *other).count();
        let in_order = order(1).windows(2).filter(|pair| pair[0] + 1 == pair[1]).count();
        assert!(same < 20 && in_order < 20, "{same} {in_order}");
    }
}
