//! The target device: its logical units, and the nexuses to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::LogicalUnitNumber;
use crate::clock::Clock;
use crate::config::{ConfigError, LogicalUnitConfig};
use crate::io::{BlockIo, IoDone};
use crate::mode::ModeSettings;
use crate::nexus::Nexus;
use crate::reservations::NexusName;
use crate::sense::AdditionalSense;
use crate::unit::{LogicalUnit, NexusId};

/// A SCSI target device (SAM-5 4.6): logical units by number.
///
/// All cores share one. What a core does to a unit through a [`Nexus`] of its own is seen by the nexuses of the others at
/// their next call; nothing is sent between cores.
#[derive(Debug)]
pub struct TargetDevice {
    units: Box<[LogicalUnit]>,
    /// The number of each unit and its index, sorted.
    numbers: Box<[(u16, u32)]>,
    next_nexus: AtomicU64,
    clock: Mutex<Option<Clock>>,
}

/// No unit has that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no logical unit {0}")]
pub struct NoSuchLogicalUnit(pub LogicalUnitNumber);

/// One unit, for management.
#[derive(Clone, Copy, Debug)]
pub struct LogicalUnitInfo<'a> {
    /// Its place in the order in which the units were given; see [`Task::unit`](crate::Task::unit).
    pub index: usize,
    /// Its number.
    pub number: LogicalUnitNumber,
    /// What it was built from.
    pub config: &'a LogicalUnitConfig,
    /// The mode parameters in force.
    pub settings: ModeSettings,
    /// The mode parameters that were saved: keep them, and give them back in [`LogicalUnitConfig::saved_settings`].
    pub saved_settings: ModeSettings,
    /// Whether a RESERVE reservation is held.
    pub reserved: bool,
    /// Whether START STOP UNIT has stopped it.
    pub stopped: bool,
    /// Whether the medium was taken out.
    pub ejected: bool,
}

impl TargetDevice {
    /// Builds a device. Units keep the order in which they come.
    ///
    /// # Errors
    /// A number or a serial number is given twice, a number is none that a unit can have, or a configuration is wrong.
    pub fn new(
        logical_units: impl IntoIterator<Item = (LogicalUnitNumber, LogicalUnitConfig)>,
    ) -> Result<Self, ConfigError> {
        let mut units: Vec<LogicalUnit> = Vec::new();
        let mut numbers: Vec<(u16, u32)> = Vec::new();
        for (number, config) in logical_units {
            config.check()?;
            let short = number.as_u16().ok_or(ConfigError::Number(number))?;
            if numbers.iter().any(|(other, _)| *other == short) {
                return Err(ConfigError::Duplicate(number));
            }
            if units.iter().any(|other| other.config.identity.serial == config.identity.serial) {
                return Err(ConfigError::DuplicateSerial(config.identity.serial));
            }
            numbers.push((short, units.len() as u32));
            units.push(LogicalUnit::new(LogicalUnitNumber::from(short), config)?);
        }
        numbers.sort_unstable();
        Ok(Self {
            units: units.into(),
            numbers: numbers.into(),
            next_nexus: AtomicU64::new(0),
            clock: Mutex::default(),
        })
    }

    /// Makes an I_T nexus of this name. Persistent reservations are of the name, and survive the nexus.
    ///
    /// The first command to each unit, but for INQUIRY, REPORT LUNS and REQUEST SENSE, is told POWER ON, RESET, OR BUS
    /// DEVICE RESET OCCURRED.
    pub fn connect(self: &Arc<Self>, name: impl Into<NexusName>) -> Nexus {
        let id = NexusId(self.next_nexus.fetch_add(1, Ordering::Relaxed));
        let name = name.into();
        let ends = self.units.iter().map(|unit| unit.connect(id, name.clone()));
        Nexus::new(Arc::clone(self), id, ends)
    }

    /// Sets the clock of the device, of which REPORT TIMESTAMP tells until SET TIMESTAMP says otherwise: at `now` it is `milliseconds` since
    /// 1970-01-01 00:00 UTC. Later times come with the commands: see [`Command::now`](crate::Command::now).
    pub fn set_clock(&self, now: Instant, milliseconds: u64) {
        *self.clock.lock() = Some(Clock::new(now, milliseconds));
    }

    pub(crate) fn clock(&self) -> Option<Clock> {
        *self.clock.lock()
    }

    /// The units, in the order in which they were given.
    pub fn logical_units(&self) -> impl ExactSizeIterator<Item = LogicalUnitInfo<'_>> {
        self.units.iter().enumerate().map(|(index, unit)| {
            unit.look(|state| LogicalUnitInfo {
                index,
                number: unit.number,
                config: &unit.config,
                settings: state.settings,
                saved_settings: state.saved,
                reserved: state.reserved_by.is_some(),
                stopped: state.medium.stopped,
                ejected: state.medium.ejected,
            })
        })
    }

    /// A request of work that goes on without a task: a FORMAT UNIT or SANITIZE that was answered before it was done, or whose task is
    /// gone. To be asked after each turn of a loop for each unit, by the index of [`LogicalUnitInfo::index`]; one request of a unit is out
    /// at a time, and its end goes to [`handle_upkeep_done`](Self::handle_upkeep_done), after which there may be another.
    ///
    /// It costs one look at an atomic where there is nothing to do.
    ///
    /// # Panics
    /// There is no such unit.
    pub fn poll_upkeep(&self, unit: usize) -> Option<BlockIo> {
        self.units[unit].poll_wipe()
    }

    /// The store has ended the request that [`poll_upkeep`](Self::poll_upkeep) gave.
    ///
    /// # Panics
    /// There is no such unit.
    pub fn handle_upkeep_done(&self, unit: usize, done: IoDone) {
        self.units[unit].wiped(done.map(drop), |_| true);
    }

    /// Tells the time, which ends tokens that nobody has used for long. To be told after each turn of a loop, and before one that follows a
    /// sleep; it costs one look at an atomic of each unit where there are no tokens.
    pub fn handle_timeout(&self, now: Instant) {
        self.units.iter().for_each(|unit| unit.handle_timeout(now));
    }

    /// The operator has put a medium into the drive, or the same again: initiators are told.
    ///
    /// # Panics
    /// There is no such unit.
    pub fn load(&self, unit: usize) {
        self.units[unit].load(None).expect("nobody prevents the operator");
    }

    /// A threshold of the space that thin provisioning shares was crossed: every nexus is told THIN PROVISIONING SOFT THRESHOLD REACHED.
    ///
    /// # Panics
    /// There is no such unit.
    pub fn soft_threshold_reached(&self, unit: usize) {
        self.units[unit].change(|state| state.post(AdditionalSense::THIN_PROVISIONING_SOFT_THRESHOLD_REACHED, None));
    }

    /// The relative identifiers of the target ports: there is one.
    pub(crate) fn target_ports(&self) -> &[u16] {
        &[1]
    }

    pub(crate) fn units(&self) -> &[LogicalUnit] {
        &self.units
    }

    /// The index of the unit that a LUN field names.
    #[inline]
    pub(crate) fn find(&self, lun: LogicalUnitNumber) -> Option<usize> {
        let number = lun.as_u16()?;
        let at = self.numbers.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(self.numbers[at].1 as usize)
    }

    /// The numbers in ascending order, as REPORT LUNS gives them.
    pub(crate) fn numbers(&self) -> Vec<LogicalUnitNumber> {
        self.numbers.iter().map(|(number, _)| LogicalUnitNumber::from(*number)).collect()
    }
}
