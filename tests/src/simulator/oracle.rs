//! What may stand in a block: the oracle, which knows what was asked and answered, and nothing of how.
//!
//! Time is counted in questions and answers. A write *begins* when it is asked for. It *ends* when it is acknowledged, or
//! when nothing of it can land any more. A value is *superseded* when a write that began after the value's end is acknowledged: a
//! read that begins later must not give it.

use super::pattern::{BLOCK_BYTES, Unit, ZEROS};
use std::collections::BTreeSet;

/// Blocks that a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) unit: Unit,
    pub(crate) lba: u64,
    pub(crate) blocks: u64,
}

impl Range {
    pub(crate) fn bytes(&self) -> u32 {
        self.blocks as u32 * BLOCK_BYTES as u32
    }
}

/// A write, which puts one stamp into all its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) range: Range,
    pub(crate) stamp: u64,
    pub(crate) began: u64,
}

#[derive(Clone, Copy, Debug)]
struct Value {
    stamp: u64,
    began: u64,
    /// It has reached the store.
    landed: bool,
    ended: Option<u64>,
    superseded: Option<u64>,
}

/// All blocks of all units.
#[derive(Debug)]
pub(crate) struct Oracle {
    clock: u64,
    units: Vec<Vec<Vec<Value>>>,
    /// When the commands began whose end is not known.
    open: BTreeSet<u64>,
}

impl Oracle {
    pub(crate) fn new(blocks_of_units: &[u64]) -> Self {
        let zeros = Value { stamp: ZEROS, began: 0, landed: true, ended: Some(0), superseded: None };
        let units = blocks_of_units.iter().map(|blocks| vec![vec![zeros]; *blocks as usize]).collect();
        Self { clock: 0, units, open: BTreeSet::new() }
    }

    /// A command is asked for: when it began.
    pub(crate) fn begin(&mut self) -> u64 {
        self.clock += 1;
        self.open.insert(self.clock);
        self.clock
    }

    /// A command that began then was answered, well or not.
    pub(crate) fn end(&mut self, began: u64) {
        self.open.remove(&began);
    }

    /// A write may land from now on.
    pub(crate) fn write_begins(&mut self, range: Range, stamp: u64, began: u64) -> Write {
        let value = Value { stamp, began, landed: false, ended: None, superseded: None };
        self.values(range).for_each(|values| values.push(value));
        Write { range, stamp, began }
    }

    /// A write was acknowledged: it lands no more. Whether it had landed.
    pub(crate) fn write_done(&mut self, write: &Write) -> bool {
        self.clock += 1;
        let now = self.clock;
        let oldest = self.open.first().copied().unwrap_or(now);
        let mut has_landed = true;
        for values in self.values(write.range) {
            has_landed &= end(values, write, now);
            for value in values.iter_mut().filter(|value| value.superseded.is_none()) {
                if value.ended.is_some_and(|ended| ended < write.began) {
                    value.superseded = Some(now);
                }
            }
            values.retain(|value| value.superseded.is_none_or(|at| at >= oldest));
        }
        has_landed
    }

    /// A write has not been carried out at all.
    pub(crate) fn write_void(&mut self, write: &Write) {
        self.values(write.range).for_each(|values| values.retain(|value| value.began != write.began));
    }

    /// A write has landed or not, but lands no more.
    pub(crate) fn write_over(&mut self, write: &Write) {
        self.clock += 1;
        let now = self.clock;
        for values in self.values(write.range) {
            end(values, write, now);
        }
    }

    /// A write with this stamp reaches the store. Whether it may: each may once, until it has ended. Of zeros one write is like another.
    pub(crate) fn lands(&mut self, unit: Unit, lba: u64, stamp: u64) -> bool {
        let is_new = |value: &Value| !value.landed || stamp == ZEROS;
        let may = |value: &&mut Value| value.stamp == stamp && value.ended.is_none() && is_new(value);
        let found = self.units[unit][lba as usize].iter_mut().find(may);
        found.map(|value| value.landed = true).is_some()
    }

    /// Whether a read that began then and is answered now may give this stamp.
    pub(crate) fn may_read(&self, unit: Unit, lba: u64, stamp: u64, began: u64) -> bool {
        let legal = |value: &Value| value.stamp == stamp && value.superseded.is_none_or(|at| at > began);
        self.units[unit][lba as usize].iter().any(legal)
    }

    /// A stamp that may stand in a block.
    pub(crate) fn likely(&self, unit: Unit, lba: u64) -> u64 {
        self.units[unit][lba as usize].last().map_or(ZEROS, |value| value.stamp)
    }

    fn values(&mut self, range: Range) -> impl Iterator<Item = &mut Vec<Value>> {
        let first = range.lba as usize;
        self.units[range.unit][first..first + range.blocks as usize].iter_mut()
    }
}

/// A write ends at one block, unless it has ended already. Whether it has landed there.
fn end(values: &mut [Value], write: &Write, now: u64) -> bool {
    let Some(value) = values.iter_mut().find(|value| value.began == write.began) else { return true };
    value.ended.get_or_insert(now);
    value.landed || value.stamp == ZEROS
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: Range = Range { unit: 0, lba: 0, blocks: 1 };

    fn write(oracle: &mut Oracle, stamp: u64) -> Write {
        let began = oracle.begin();
        oracle.write_begins(BLOCK, stamp, began)
    }

    fn reads(oracle: &mut Oracle, stamp: u64) -> bool {
        let began = oracle.begin();
        oracle.end(began);
        oracle.may_read(0, 0, stamp, began)
    }

    #[test]
    fn an_acknowledged_write_hides_what_was_there() {
        let mut oracle = Oracle::new(&[1]);
        let first = write(&mut oracle, 1);
        assert!(reads(&mut oracle, ZEROS) && reads(&mut oracle, 1), "it is under way");
        let early = oracle.begin();
        assert!(!oracle.write_done(&first), "it has not landed");
        assert!(reads(&mut oracle, 1) && !reads(&mut oracle, ZEROS));
        assert!(oracle.may_read(0, 0, ZEROS, early), "that read began before");
        assert!(!oracle.lands(0, 0, 1));
    }

    #[test]
    fn a_write_that_was_lost_may_land_until_it_is_over() {
        let mut oracle = Oracle::new(&[1]);
        let lost = write(&mut oracle, 1);
        let next = write(&mut oracle, 2);
        oracle.write_done(&next);
        assert!(reads(&mut oracle, 1) && oracle.lands(0, 0, 1));
        oracle.write_over(&lost);
        let last = write(&mut oracle, 3);
        oracle.write_done(&last);
        assert!(!reads(&mut oracle, 1) && !reads(&mut oracle, 2) && reads(&mut oracle, 3));
    }

    #[test]
    fn a_write_lands_once() {
        let mut oracle = Oracle::new(&[1]);
        write(&mut oracle, 1);
        assert!(oracle.lands(0, 0, 1) && !oracle.lands(0, 0, 1));
    }

    #[test]
    fn writes_of_zeros_are_alike() {
        let mut oracle = Oracle::new(&[1]);
        let (first, second) = (write(&mut oracle, ZEROS), write(&mut oracle, ZEROS));
        assert!(oracle.lands(0, 0, ZEROS) && oracle.write_done(&second));
        assert!(oracle.lands(0, 0, ZEROS) && oracle.write_done(&first));
        assert!(!oracle.lands(0, 0, ZEROS), "none is under way");
    }

    #[test]
    fn a_write_that_was_refused_is_never_seen() {
        let mut oracle = Oracle::new(&[1]);
        let refused = write(&mut oracle, 1);
        oracle.write_void(&refused);
        assert!(!reads(&mut oracle, 1) && !oracle.lands(0, 0, 1));
    }
}
