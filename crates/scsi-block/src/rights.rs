//! What an initiator may see of a device, and what it may do there: a rule of the device's owner, beside what SCSI itself knows of.
//!
//! A unit that a nexus has no right to is not there for it: not in REPORT LUNS, not for commands, task management or copies. One that it may
//! only read is write protected for it. To reset a unit it has the right all the same, as a reset is how an initiator recovers.

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::clock::Clock;
use crate::device::TargetDevice;
use crate::roster::Roster;

/// What an initiator may do with some logical units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitRight {
    /// Their numbers.
    pub units: RangeInclusive<u16>,
    /// Whether it may change what is on them and how they are set, reservations among that, as well as read.
    pub write: bool,
}

/// What an initiator may do with the units of a device. The default is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights(Option<Arc<[UnitRight]>>);

impl Rights {
    /// What these say: the first that names a unit holds, and one that none names is not there for the initiator.
    #[must_use]
    pub fn of(rights: impl IntoIterator<Item = UnitRight>) -> Self {
        Self(Some(rights.into_iter().collect()))
    }

    /// Whether the unit may be written, if the initiator may know of it.
    pub(crate) fn write(&self, number: u16) -> Option<bool> {
        let Some(rights) = &self.0 else { return Some(true) };
        rights.iter().find(|right| right.units.contains(&number)).map(|right| right.write)
    }
}

/// A device as an initiator sees it.
#[derive(Debug)]
pub(crate) struct DeviceView {
    device: Arc<TargetDevice>,
    pub(crate) rights: Rights,
}

impl DeviceView {
    pub(crate) fn new(device: Arc<TargetDevice>, rights: Rights) -> Self {
        Self { device, rights }
    }

    pub(crate) fn device(&self) -> &Arc<TargetDevice> {
        &self.device
    }

    /// The clock of the device.
    pub(crate) fn clock(&self) -> Option<Clock> {
        self.device.clock()
    }

    /// Which roster is the newest.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.device.version()
    }

    /// The units that there are now for the initiator.
    pub(crate) fn roster(&self) -> Arc<Roster> {
        let roster = self.device.roster();
        match self.rights.0 {
            None => roster,
            Some(_) => Arc::new(roster.filtered(|number| self.rights.write(number).is_some())),
        }
    }
}
