//! Which logical units a device has: a list that is never changed, only replaced.
//!
//! In: units that come and go. Out: a new [`Roster`]. Each nexus has the one that it has seen last, so that finding a unit takes no lock.

use std::sync::Arc;

use crate::LogicalUnitNumber;
use crate::unit::LogicalUnit;

/// The units of a device at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Roster {
    /// Differs from that of every other roster of the device.
    pub(crate) version: u64,
    /// By index, which no later unit has; none where one is gone.
    units: Vec<Option<Arc<LogicalUnit>>>,
    /// The number of each unit and its index, sorted.
    numbers: Vec<(u16, u32)>,
}

impl Roster {
    /// The index of the unit that a LUN field names.
    #[inline]
    pub(crate) fn find(&self, lun: LogicalUnitNumber) -> Option<usize> {
        let number = lun.as_u16()?;
        let at = self.numbers.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(self.numbers[at].1 as usize)
    }

    /// The unit with this index, if it is there.
    pub(crate) fn get(&self, index: usize) -> Option<&Arc<LogicalUnit>> {
        self.units.get(index)?.as_ref()
    }

    /// The places that there are, those of units that are gone among them.
    pub(crate) fn places(&self) -> impl Iterator<Item = Option<&Arc<LogicalUnit>>> {
        self.units.iter().map(Option::as_ref)
    }

    /// The units with their indices, in the order in which they came.
    pub(crate) fn units(&self) -> impl Iterator<Item = (usize, &Arc<LogicalUnit>)> {
        self.units.iter().enumerate().filter_map(|(index, unit)| Some((index, unit.as_ref()?)))
    }

    /// The numbers in ascending order, as REPORT LUNS gives them.
    pub(crate) fn numbers(&self) -> Vec<LogicalUnitNumber> {
        self.numbers.iter().map(|(number, _)| LogicalUnitNumber::from(*number)).collect()
    }

    /// The same with a unit more, whose number no other has; and its index.
    pub(crate) fn with(&self, number: u16, unit: LogicalUnit) -> (Self, usize) {
        let mut next = Self { version: self.version + 1, ..self.clone() };
        let index = next.units.len();
        next.units.push(Some(Arc::new(unit)));
        next.numbers.push((number, index as u32));
        next.numbers.sort_unstable();
        (next, index)
    }

    /// The same without the units whose number does not pass. Those that are left keep their indices.
    pub(crate) fn filtered(&self, passes: impl Fn(u16) -> bool) -> Self {
        let mut units = vec![None; self.units.len()];
        let numbers: Vec<_> = self.numbers.iter().copied().filter(|(number, _)| passes(*number)).collect();
        for (_, index) in &numbers {
            units[*index as usize] = self.units[*index as usize].clone();
        }
        Self { version: self.version, units, numbers }
    }

    /// The same without a unit.
    pub(crate) fn without(&self, index: usize) -> Self {
        let mut next = Self { version: self.version + 1, ..self.clone() };
        next.units[index] = None;
        next.numbers.retain(|(_, other)| *other as usize != index);
        next
    }
}
