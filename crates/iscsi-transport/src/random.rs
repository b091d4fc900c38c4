//! Numbers that look random and come again from the same seed.

/// A generator for faults and simulations (SplitMix64, Steele, Lea and Flood 2014): a seed gives the same numbers
/// everywhere. Not for secrets.
///
/// ```
/// use iscsi_transport::Random;
///
/// let (mut here, mut there) = (Random::new(7), Random::new(7));
/// assert_eq!(here.next(), there.next());
/// assert!((1..=6).contains(&here.between(1, 6)));
/// ```
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of a seed; any will do.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is at least 1.
    pub const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number from `first` to `last`, both included.
    pub const fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// True once in `times` on average; never if that is 0.
    pub const fn one_in(&mut self, times: u32) -> bool {
        times > 0 && self.below(times as u64) == 0
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A generator of its own, so that what one part of a world draws does not change what another does.
    #[must_use]
    pub const fn fork(&mut self) -> Self {
        Self::new(self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_numbers_that_it_gives_everywhere() {
        let mut random = Random::new(1_234_567);
        // From the reference implementation, https://prng.di.unimi.it/splitmix64.c.
        assert_eq!([random.next(), random.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn bounds_are_kept_and_reached() {
        let mut random = Random::new(1);
        let drawn: Vec<u64> = (0..200).map(|_| random.between(3, 5)).collect();
        assert!((3..=5).all(|number| drawn.contains(&number)) && drawn.iter().all(|number| (3..=5).contains(number)));
        assert!((0..1000).all(|_| !random.one_in(0)));
        assert!((0..1000).all(|_| random.one_in(1)));
    }
}
