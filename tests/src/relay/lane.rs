//! One way of a connection: which faults come where. Nothing here waits or sends.

use iscsi_transport::Random;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes between two faults of a kind: from the first to the second, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap(u64, u64);

impl Gap {
    /// Always so many; at least one.
    #[must_use]
    pub fn exactly(bytes: u64) -> Self {
        Self(bytes.max(1), bytes.max(1))
    }
}

impl FromStr for Gap {
    type Err = String;

    /// `BYTES`, or `BYTES-BYTES` for any number between.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected a number of bytes, or two with - between, such as 1000-2000".to_owned();
        let number = |text: &str| text.parse::<u64>().map_err(|_| expected());
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        let (least, most) = (number(least)?, number(most)?);
        if (1..=most).contains(&least) { Ok(Self(least, most)) } else { Err(expected()) }
    }
}

/// Which faults there are, each way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The connection ends after so many bytes.
    pub cut: Option<Gap>,
    /// A bit changes after so many bytes, again and again.
    pub flip: Option<Gap>,
    /// Nothing goes on for a time after so many bytes, again and again.
    pub stall: Option<Gap>,
    /// How long that is.
    pub stall_time: Duration,
    /// What goes out at once has at most so many bytes.
    pub split_max: Option<u64>,
    /// So many bytes at the front have no bit changed: a login has no digests.
    pub spared_bytes: u64,
}

/// What is to be done with bytes that have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// These go on.
    Pass(Range<usize>),
    /// A bit was changed in what follows.
    Flipped,
    /// Nothing goes on for so long.
    Stall(Duration),
    /// Nothing goes on any more.
    Cut,
}

/// The faults of one way of one connection.
#[derive(Debug)]
pub struct Lane {
    faults: Faults,
    random: Random,
    /// Bytes until the next fault of each kind.
    cut_in: u64,
    flip_in: u64,
    stall_in: u64,
}

impl Lane {
    /// The seed makes the places.
    #[must_use]
    pub fn new(faults: &Faults, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let [cut_in, flip_in, stall_in] = [faults.cut, faults.flip, faults.stall].map(|gap| draw(&mut random, gap));
        let flip_in = flip_in.saturating_add(faults.spared_bytes);
        Self { faults: *faults, random, cut_in, flip_in, stall_in }
    }

    /// What becomes of the next bytes; bits of them may be changed.
    pub fn take(&mut self, bytes: &mut [u8]) -> Vec<Step> {
        let (mut steps, mut place) = (Vec::new(), 0);
        while place < bytes.len() {
            if self.cut_in == 0 {
                steps.push(Step::Cut);
                return steps;
            }
            if self.flip_in == 0 {
                bytes[place] ^= 1 << self.random.below(8);
                self.flip_in = draw(&mut self.random, self.faults.flip);
                steps.push(Step::Flipped);
            }
            if self.stall_in == 0 {
                self.stall_in = draw(&mut self.random, self.faults.stall);
                steps.push(Step::Stall(self.faults.stall_time));
            }
            let piece = self.faults.split_max.map_or(u64::MAX, |most| 1 + self.random.below(most.max(1)));
            let count = [self.cut_in, self.flip_in, self.stall_in, piece, (bytes.len() - place) as u64];
            let count = count.into_iter().min().expect("an array of five");
            for countdown in [&mut self.cut_in, &mut self.flip_in, &mut self.stall_in] {
                *countdown -= count;
            }
            steps.push(Step::Pass(place..place + count as usize));
            place += count as usize;
        }
        steps
    }
}

/// Bytes until the next fault; one that never comes is as far away as can be.
fn draw(random: &mut Random, gap: Option<Gap>) -> u64 {
    gap.map_or(u64::MAX, |Gap(least, most)| random.between(least, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of a lane that so many zeros go into, and the steps that are no bytes.
    fn send(faults: Faults, seed: u64, count: usize) -> (Vec<u8>, Vec<Step>) {
        let mut lane = Lane::new(&faults, seed);
        let (mut passed, mut others) = (Vec::new(), Vec::new());
        for _ in 0..count / 100 {
            let mut bytes = [0; 100];
            for step in lane.take(&mut bytes) {
                match step {
                    Step::Pass(range) => passed.extend_from_slice(&bytes[range]),
                    other => others.push(other),
                }
            }
        }
        (passed, others)
    }

    #[test]
    fn a_cut_comes_where_it_is_wanted() {
        let faults = Faults { cut: Some(Gap::exactly(250)), split_max: Some(7), ..Faults::default() };
        let (passed, others) = send(faults, 1, 300);
        assert_eq!((passed.len(), others), (250, vec![Step::Cut]));
    }

    #[test]
    fn each_flip_changes_one_bit_behind_what_is_spared() {
        let faults = Faults { flip: Some(Gap(50, 150)), spared_bytes: 500, ..Faults::default() };
        let (passed, others) = send(faults, 1, 10_000);
        let bits: u32 = passed.iter().map(|byte| byte.count_ones()).sum();
        assert_eq!((passed.len(), bits as usize), (10_000, others.len()));
        assert!((60..200).contains(&others.len()), "{}", others.len());
        assert!(passed[..500].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn stalls_come_again_and_again() {
        let stall_time = Duration::from_millis(5);
        let faults = Faults { stall: Some(Gap::exactly(300)), stall_time, ..Faults::default() };
        let (passed, others) = send(faults, 1, 1000);
        assert_eq!((passed.len(), others), (1000, vec![Step::Stall(stall_time); 3]));
    }

    #[test]
    fn the_same_seed_has_the_same_faults() {
        let faults = Faults { cut: Some(Gap(1, 5000)), flip: Some(Gap(1, 100)), ..Faults::default() };
        assert_eq!(send(faults, 1, 5000), send(faults, 1, 5000));
        assert_ne!(send(faults, 1, 5000), send(faults, 2, 5000));
    }

    #[test]
    fn gaps_have_bounds() {
        assert_eq!("1000".parse(), Ok(Gap(1000, 1000)));
        assert_eq!("1000-2000".parse(), Ok(Gap(1000, 2000)));
        for wrong in ["", "0", "0-5", "5-4", "-5", "5-", "a", "1-2-3", "18446744073709551616"] {
            assert!(wrong.parse::<Gap>().is_err(), "{wrong}");
        }
    }
}
