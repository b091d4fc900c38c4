//! What a job is to do, and in which order: which piece of its part of a disk comes next.

use std::time::{Duration, Instant};

use super::pattern::Random;
use super::permutation::Permutation;
use super::written::Written;

/// The part of a disk that a job works on, in pieces as large as one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Number of the logical unit.
    pub lun: u16,
    /// Bytes in a logical block.
    pub block_size: u32,
    /// Blocks in a piece.
    pub piece_blocks: u32,
    /// First block.
    pub first_lba: u64,
    /// Number of pieces; at least 1.
    pub pieces: u64,
}

impl Region {
    /// Bytes in a piece.
    #[must_use]
    pub fn piece_bytes(&self) -> u32 {
        self.piece_blocks * self.block_size
    }

    pub(super) fn lba(&self, piece: u64) -> u64 {
        self.first_lba + piece * u64::from(self.piece_blocks)
    }
}

/// The order in which pieces are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// One after the other, and again from the first.
    Sequential,
    /// Any.
    Random,
    /// Each once, in an order that looks random, and then in another.
    Shuffled,
}

/// What a job is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Commands until the first of two ends; one of them at least is given.
    Load {
        /// After so long.
        runtime: Option<Duration>,
        /// After so many commands.
        pieces: Option<u64>,
        /// In which order.
        order: Order,
        /// How many of a hundred commands write.
        write_percent: u8,
    },
    /// Writes each piece once.
    Fill,
    /// Reads each piece once that was written.
    ReadBack,
}

/// A plan on its way.
#[derive(Debug)]
pub(super) struct Course {
    pieces: u64,
    plan: Plan,
    random: Random,
    /// The next place in an order in which each piece comes once.
    cursor: u64,
    /// That order, if it is not from front to back.
    shuffle: Permutation,
    /// When the first command was begun.
    begun: Option<Instant>,
    /// Commands of a load that were begun.
    begun_pieces: u64,
}

impl Course {
    /// Nothing is to be done yet with so many pieces, at least one.
    pub(super) fn new(pieces: u64, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let shuffle = Permutation::new(pieces, &mut random);
        Self { pieces, plan: Plan::ReadBack, random, cursor: 0, shuffle, begun: None, begun_pieces: 0 }
    }

    /// Another plan from its beginning.
    pub(super) fn with_plan(self, plan: Plan) -> Self {
        Self { plan, cursor: 0, begun: None, begun_pieces: 0, ..self }
    }

    /// When its first command was begun.
    pub(super) const fn begun(&self) -> Option<Instant> {
        self.begun
    }

    /// The next piece and whether it is to be written; `None` if the plan has ended. `written` is what there is to read back.
    pub(super) fn choose(&mut self, now: Instant, written: Option<&Written>) -> Option<(u64, bool)> {
        let begun = *self.begun.get_or_insert(now);
        match self.plan {
            Plan::Load { runtime: Some(runtime), .. } if now.saturating_duration_since(begun) >= runtime => None,
            Plan::Load { pieces: Some(pieces), .. } if self.begun_pieces >= pieces => None,
            Plan::Load { order, write_percent, .. } => {
                self.begun_pieces += 1;
                let piece = match order {
                    Order::Random => self.random.below(self.pieces),
                    Order::Sequential => self.step(),
                    Order::Shuffled => self.shuffled(),
                };
                // Nothing is drawn where there is nothing to choose, so that a job costs the same in both directions.
                let write = match write_percent {
                    0 => false,
                    100.. => true,
                    percent => self.random.below(100) < percent.into(),
                };
                Some((piece, write))
            }
            Plan::Fill if self.cursor == self.pieces => None,
            Plan::Fill => Some((self.step(), true)),
            Plan::ReadBack => {
                let piece = written?.next(self.cursor)?;
                self.cursor = piece + 1;
                Some((piece, false))
            }
        }
    }

    /// The cursor, which goes on; a load begins again after the last piece.
    fn step(&mut self) -> u64 {
        if self.cursor == self.pieces {
            self.cursor = 0;
        }
        self.cursor += 1;
        self.cursor - 1
    }

    /// The next piece of a random order, which is another after the last.
    fn shuffled(&mut self) -> u64 {
        if self.cursor == self.pieces {
            self.shuffle = Permutation::new(self.pieces, &mut self.random);
        }
        let place = self.step();
        self.shuffle.at(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffled_pieces_come_once_before_any_comes_again() {
        let mut course = Course::new(11, 7).with_plan(Plan::Load {
            runtime: None,
            pieces: Some(33),
            order: Order::Shuffled,
            write_percent: 50,
        });
        let passes: [Vec<u64>; 3] =
            std::array::from_fn(|_| (0..11).map(|_| course.choose(Instant::now(), None).unwrap().0).collect());
        for pass in &passes {
            let mut pieces = pass.clone();
            pieces.sort_unstable();
            assert!(pieces.into_iter().eq(0..11), "{pass:?}");
        }
        assert!(passes[0] != passes[1] && passes[1] != passes[2], "{passes:?}");
        assert_eq!(course.choose(Instant::now(), None), None);
    }
}
