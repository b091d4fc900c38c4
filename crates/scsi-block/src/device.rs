//! The target device: its logical units, and the nexuses to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::LogicalUnitNumber;
use crate::access::{AccessState, ChangedBy};
use crate::clock::Clock;
use crate::config::{ConfigError, LogicalUnitConfig};
use crate::designator::Designator;
use crate::io::{BlockIo, Geometry, IoDone, Space};
use crate::lock::Lock;
use crate::mode::ModeSettings;
use crate::nexus::Nexus;
use crate::ports::{CurrentPorts, TargetPortGroup, TargetPorts};
use crate::reservations::NexusName;
use crate::rights::{DeviceView, Rights};
use crate::roster::Roster;
use crate::sense::AdditionalSense;
use crate::unit::{LogicalUnit, NexusId};
use crate::upkeep::Upkeep;

/// A SCSI target device (SAM-5 4.6): logical units by number.
///
/// All cores share one. What a core does to a unit through a [`Nexus`] of its own is seen by the nexuses of the others at
/// their next call; nothing is sent between cores. Units may come, go, grow and shrink at any time.
#[derive(Debug)]
pub struct TargetDevice {
    ports: Arc<CurrentPorts>,
    roster: Lock<Arc<Roster>>,
    /// The version of the roster, for those who have one already.
    version: AtomicU64,
    next_nexus: AtomicU64,
    clock: Lock<Option<Clock>>,
    upkeep: Arc<Upkeep>,
}

/// No unit has that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no logical unit {0}")]
pub struct NoSuchLogicalUnit(pub LogicalUnitNumber);

/// No target port group has that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no target port group {0}")]
pub struct NoSuchTargetPortGroup(pub u16);

/// One unit, for management.
#[derive(Clone, Debug)]
pub struct LogicalUnitInfo {
    /// Its place in the order in which the units came; see [`Task::unit`](crate::Task::unit). No other unit of the device ever has it.
    pub index: usize,
    /// Its number.
    pub number: LogicalUnitNumber,
    /// What it was built from, with the number of blocks that it has now.
    pub config: LogicalUnitConfig,
    /// The mode parameters in force.
    pub settings: ModeSettings,
    /// The mode parameters that were saved, which a reset brings back.
    pub saved_settings: ModeSettings,
    /// Whether a RESERVE reservation is held.
    pub reserved: bool,
    /// Whether START STOP UNIT has stopped it.
    pub stopped: bool,
    /// Whether the medium was taken out.
    pub ejected: bool,
    /// How it can be reached through each target port group, by the group's number.
    pub access: Vec<(u16, AccessState)>,
}

impl TargetDevice {
    /// Builds a device with one target port, which has the identifier 1 and is a group of its own, 1. Units keep the order in which they come.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn new(
        logical_units: impl IntoIterator<Item = (LogicalUnitNumber, LogicalUnitConfig)>,
    ) -> Result<Self, ConfigError> {
        Self::build(TargetPorts::one(), logical_units)
    }

    /// Builds a device with these target ports.
    ///
    /// # Errors
    /// The groups are none that a device can have, or as [`add`](Self::add).
    pub fn with_ports(
        groups: impl IntoIterator<Item = TargetPortGroup>,
        logical_units: impl IntoIterator<Item = (LogicalUnitNumber, LogicalUnitConfig)>,
    ) -> Result<Self, ConfigError> {
        Self::build(TargetPorts::new(groups)?, logical_units)
    }

    fn build(
        ports: TargetPorts,
        logical_units: impl IntoIterator<Item = (LogicalUnitNumber, LogicalUnitConfig)>,
    ) -> Result<Self, ConfigError> {
        let device = Self {
            ports: Arc::new(CurrentPorts::new(ports)),
            roster: Lock::default(),
            version: AtomicU64::new(0),
            next_nexus: AtomicU64::new(0),
            clock: Lock::default(),
            upkeep: Arc::default(),
        };
        for (number, config) in logical_units {
            device.add(number, config)?;
        }
        Ok(device)
    }

    /// Adds a unit, and gives back its index. Every nexus finds it at its next command, and is told REPORTED LUNS DATA HAS CHANGED by the
    /// units that were there before.
    ///
    /// # Errors
    /// The number, the serial number or a name is that of another unit, the number is none that a unit can have, or the configuration is wrong.
    pub fn add(&self, number: LogicalUnitNumber, config: LogicalUnitConfig) -> Result<usize, ConfigError> {
        config.check()?;
        let short = number.as_u16().ok_or(ConfigError::Number(number))?;
        let mut roster = self.roster.lock();
        if roster.find(number).is_some() {
            return Err(ConfigError::Duplicate(number));
        }
        if roster.units().any(|(_, other)| other.config.identity.serial == config.identity.serial) {
            return Err(ConfigError::DuplicateSerial(config.identity.serial));
        }
        let is_taken =
            |name: &Designator| roster.units().any(|(_, other)| other.config.identity.names().any(|its| its == *name));
        if let Some(name) = config.identity.names().find(is_taken) {
            return Err(ConfigError::DuplicateName(name));
        }
        let unit = LogicalUnit::new(
            LogicalUnitNumber::from(short),
            config,
            Arc::clone(&self.ports),
            Arc::clone(&self.upkeep),
        )?;
        let (next, index) = roster.with(short, unit);
        self.replace(&mut roster, next);
        Ok(index)
    }

    /// Takes a unit away, and gives back its index. Commands that come from now on find no unit of that number; block I/O of tasks under way
    /// ends as it ends. Every nexus is told REPORTED LUNS DATA HAS CHANGED by the units that are left.
    ///
    /// # Errors
    /// No unit has the number.
    pub fn remove(&self, number: LogicalUnitNumber) -> Result<usize, NoSuchLogicalUnit> {
        let mut roster = self.roster.lock();
        let index = roster.find(number).ok_or(NoSuchLogicalUnit(number))?;
        if let Some(unit) = roster.get(index) {
            unit.retire();
        }
        let next = roster.without(index);
        self.replace(&mut roster, next);
        Ok(index)
    }

    /// Publishes a new roster, whose lock is held, and tells the nexuses by its units. One that has just come has no nexus yet.
    fn replace(&self, roster: &mut Arc<Roster>, next: Roster) {
        self.version.store(next.version, Ordering::Release);
        *roster = Arc::new(next);
        for (_, unit) in roster.units() {
            unit.change(|state| state.post(AdditionalSense::REPORTED_LUNS_DATA_HAS_CHANGED, None));
        }
    }

    /// The unit has so many blocks from now on; every nexus is told CAPACITY DATA HAS CHANGED. The store has them already if they are more;
    /// it keeps its own if they are fewer, as block I/O that is under way may be about them. Nothing happens if the unit is gone.
    ///
    /// # Errors
    /// No medium can have so many.
    pub fn resize(&self, unit: usize, blocks: u64) -> Result<(), ConfigError> {
        let roster = self.roster();
        let Some(unit) = roster.get(unit) else { return Ok(()) };
        LogicalUnitConfig { geometry: Geometry { blocks, ..unit.geometry() }, ..unit.config.clone() }.check()?;
        unit.resize(blocks);
        Ok(())
    }

    /// Makes an I_T nexus of this name. Persistent reservations are of the name, and survive the nexus.
    ///
    /// The first command to each unit, but for INQUIRY, REPORT LUNS and REQUEST SENSE, is told POWER ON, RESET, OR BUS
    /// DEVICE RESET OCCURRED.
    ///
    /// Through a target port that the device has not, as one that has just gone, units are unavailable.
    pub fn connect(self: &Arc<Self>, name: impl Into<NexusName>) -> Nexus {
        self.connect_with(name, Rights::default())
    }

    /// The same for an initiator that has these rights.
    pub fn connect_with(self: &Arc<Self>, name: impl Into<NexusName>, rights: Rights) -> Nexus {
        let (id, name) = (NexusId(self.next_nexus.fetch_add(1, Ordering::Relaxed)), name.into());
        Nexus::new(DeviceView::new(Arc::clone(self), rights), id, name)
    }

    /// Sets the clock of the device, of which REPORT TIMESTAMP tells until SET TIMESTAMP says otherwise: at `now` it is `milliseconds`
    /// since 1970-01-01 00:00 UTC. Later times come with the commands: see [`Command::now`](crate::Command::now).
    pub fn set_clock(&self, now: Instant, milliseconds: u64) {
        *self.clock.lock() = Some(Clock::new(now, milliseconds));
    }

    pub(crate) fn clock(&self) -> Option<Clock> {
        *self.clock.lock()
    }

    /// The units that there are now, in the order in which they came.
    pub fn logical_units(&self) -> impl ExactSizeIterator<Item = LogicalUnitInfo> {
        let info = |(index, unit): (usize, &Arc<LogicalUnit>)| {
            unit.look(|state| LogicalUnitInfo {
                index,
                number: unit.number,
                config: LogicalUnitConfig { geometry: unit.geometry(), ..unit.config.clone() },
                settings: state.settings,
                saved_settings: state.saved,
                reserved: state.reserved_by.is_some(),
                stopped: state.medium.stopped,
                ejected: state.medium.ejected,
                access: state.access.states(),
            })
        };
        let units: Vec<LogicalUnitInfo> = self.roster().units().map(info).collect();
        units.into_iter()
    }

    /// The index of the unit that has a number.
    pub fn find(&self, number: LogicalUnitNumber) -> Option<usize> {
        self.roster().find(number)
    }

    /// A request of work that goes on without a task, and the index of its unit: a FORMAT UNIT or SANITIZE that was answered before it was
    /// done, or whose task is gone. To be asked after each turn of a loop, until there is none; one request of a unit is out
    /// at a time, and its end goes to [`handle_upkeep_done`](Self::handle_upkeep_done), after which there may be another.
    ///
    /// It costs one look at an atomic where no unit has anything to do.
    pub fn poll_upkeep(&self) -> Option<(usize, BlockIo)> {
        if !self.upkeep.is_wiping() {
            return None;
        }
        self.roster().units().find_map(|(index, unit)| Some((index, unit.poll_wipe()?)))
    }

    /// The store has ended the request that [`poll_upkeep`](Self::poll_upkeep) gave. Nothing happens if the unit is gone.
    pub fn handle_upkeep_done(&self, unit: usize, done: IoDone) {
        if let Some(unit) = self.roster().get(unit) {
            unit.wiped(done.map(drop), |_| true);
        }
    }

    /// Tells the time, which ends tokens that nobody has used for long. To be told after each turn of a loop, and before one that follows a
    /// sleep; it costs one look at an atomic where no unit has tokens.
    pub fn handle_timeout(&self, now: Instant) {
        if self.upkeep.has_tokens() {
            self.roster().units().for_each(|(_, unit)| unit.handle_timeout(now));
        }
    }

    /// The operator has put a medium into the drive, or the same again: initiators are told. Nothing happens if the unit is gone.
    pub fn load(&self, unit: usize) {
        if let Some(unit) = self.roster().get(unit) {
            unit.load(None).expect("nobody prevents the operator");
        }
    }

    /// The owner tells how full the store of a thin unit is, whenever it has looked: LOG SENSE tells it on, and every nexus is told THIN
    /// PROVISIONING SOFT THRESHOLD REACHED when it was fuller than [`Limits::soft_threshold_percent`](crate::Limits) says for the first time
    /// since it was not. Nothing happens if the unit is gone or not thin.
    pub fn set_space(&self, unit: usize, space: Space) {
        if let Some(unit) = self.roster().get(unit).filter(|unit| unit.config.thin) {
            unit.set_space(space);
        }
    }

    /// The groups of its target ports.
    pub fn target_port_groups(&self) -> Vec<TargetPortGroup> {
        self.ports.get().groups().to_vec()
    }

    /// Whether it has a target port with this relative identifier.
    pub fn has_target_port(&self, identifier: u16) -> bool {
        self.ports.get().find(identifier).is_some()
    }

    /// Its target ports are these from now on. Groups that stay and that somebody has changed are reached as before, and units are unavailable
    /// through ports that are gone.
    /// Every nexus is told INQUIRY DATA HAS CHANGED (pages 83h and 88h) and ASYMMETRIC ACCESS STATE CHANGED (REPORT TARGET PORT GROUPS).
    ///
    /// # Errors
    /// The groups are none that a device can have; then it has those from before.
    pub fn set_target_port_groups(&self, groups: impl IntoIterator<Item = TargetPortGroup>) -> Result<(), ConfigError> {
        let ports = TargetPorts::new(groups)?;
        // No unit comes meanwhile.
        let roster = self.roster.lock();
        self.ports.set(ports);
        roster.units().for_each(|(_, unit)| unit.follow_ports());
        Ok(())
    }

    /// The owner has found that a unit is reached otherwise through a target port group from now on (SPC-4 5.16: implicit asymmetric
    /// access): every nexus is told ASYMMETRIC ACCESS STATE CHANGED. What it gives back is to be done by the unit's store, so that the
    /// state outlives a loss of power; none is where nobody keeps records, or the unit is gone.
    ///
    /// # Errors
    /// No group has the number.
    pub fn set_access(
        &self,
        unit: usize,
        group: u16,
        state: AccessState,
    ) -> Result<Option<BlockIo>, NoSuchTargetPortGroup> {
        if !self.ports.get().has_group(group) {
            return Err(NoSuchTargetPortGroup(group));
        }
        let roster = self.roster();
        let record = roster.get(unit).and_then(|unit| unit.set_access(&[(group, state)], ChangedBy::Owner, None));
        Ok(record.map(BlockIo::Keep))
    }

    /// The units as they are now.
    pub(crate) fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.lock())
    }

    /// Which roster is the newest.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}
