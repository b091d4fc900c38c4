//! Changes of a running server, judged before any is made.
//!
//! In: the configuration that runs, and changes. Out: all that they need and that may be refused - open stores, listening sockets, devices -
//! or why they cannot be made. Nothing that initiators see has changed by then.

use super::StartError;
use super::change::{Change, Effect};
use super::changes::{ChangeError, Resize};
use super::configuration::Configuration;
use super::listeners::Listener;
use super::portal_groups::PortalGroup;
use super::shared::{Message, Shared};
use super::unit::{Leaving, NewUnit, NumberedUnit};
use crate::network;
use iscsi_node::target::{StoreId, TargetConfig};
use mio::net::TcpListener;
use scsi_block::{ConfigError, LogicalUnitNumber, TargetDevice, TargetPortGroup};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// How long the loop that has a function may take to listen at an address: longer than its adapter may.
const RESERVE_PATIENCE: Duration = Duration::from_secs(10);

/// Why changes were not made. The server is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration makes no sense, a disk cannot be opened, or an address cannot be listened on.
    #[error("{0}")]
    Configuration(#[from] StartError),
    /// Some changes take a new start.
    #[error("{}", restart(.0))]
    Restart(
        /// Those changes.
        Vec<Change>,
    ),
    /// A logical unit would make no sense beside the others, or not at all; or its store cannot grow.
    #[error("{target}: LUN {number}: {error}")]
    Unit {
        /// The target.
        target: String,
        /// The number.
        number: u16,
        /// What is wrong.
        error: ChangeError,
    },
    /// The server is about to be shut down.
    #[error("the server is about to end")]
    Ending,
    /// There is no target of that name.
    #[error("there is no target {0}")]
    NoSuchTarget(String),
    /// There is no such logical unit.
    #[error("{0}: there is no LUN {1}")]
    NoSuchUnit(String, u16),
    /// The address is not listened on.
    #[error("{0} of portal group {1} is not listened on")]
    NoSuchPortal(SocketAddr, u16),
}

fn restart(changes: &[Change]) -> String {
    let changes: Vec<String> = changes.iter().map(Change::to_string).collect();
    format!("{}: cannot change while the target runs: stop the process and start it anew", changes.join("; "))
}

/// What changes need, ready to be put to use.
#[derive(Default)]
pub(super) struct Prepared {
    /// Target port groups that targets get, by target.
    pub(super) ports: Vec<(String, Vec<TargetPortGroup>)>,
    /// Sizes that units get, by target and number.
    pub(super) sizes: Vec<(String, u16, Resize)>,
    /// Units that come, by target and number.
    pub(super) units: HashMap<(String, u16), NewUnit>,
    /// Units of targets that come, by target, and the portal groups that there are then.
    pub(super) targets: HashMap<String, Vec<NewUnit>>,
    pub(super) groups: Vec<PortalGroup>,
    /// Addresses that are listened on from now on: with their sockets, or at places that were reserved.
    pub(super) listeners: Vec<(Listener, Option<TcpListener>)>,
}

impl Shared {
    /// Judges changes that make `wanted` of what runs. Files are opened last, since those that are missing are made, and those that are too small
    /// grow.
    pub(super) fn judge(&self, wanted: &Configuration, changes: &[Change]) -> Result<Prepared, ReloadError> {
        let mut prepared = Prepared::default();
        match self.judge_all(wanted, changes, &mut prepared) {
            Ok(()) => Ok(prepared),
            Err(error) => {
                self.give_up(prepared);
                Err(error)
            }
        }
    }

    /// Lets go of what was prepared and is not made.
    pub(super) fn give_up(&self, prepared: Prepared) {
        for (listener, _) in prepared.listeners.into_iter().filter(|(_, socket)| socket.is_none()) {
            self.mailboxes[0].send(Message::Unlisten(listener.place));
        }
    }

    fn judge_all(
        &self,
        wanted: &Configuration,
        changes: &[Change],
        prepared: &mut Prepared,
    ) -> Result<(), ReloadError> {
        let restart: Vec<Change> =
            changes.iter().filter(|change| change.effect() == Effect::Restart).cloned().collect();
        if !restart.is_empty() {
            return Err(ReloadError::Restart(restart));
        }
        prepared.groups = wanted.groups()?;
        prepared.ports = self.judge_ports(wanted, &prepared.groups)?;
        for change in changes {
            match change {
                Change::AddPortal(address, tag) => {
                    let listener = self.listen(*address, *tag, &prepared.listeners)?;
                    prepared.listeners.push(listener);
                }
                Change::ResizeLun { target, number, bytes } => {
                    let wrong = |error| ReloadError::Unit { target: target.clone(), number: *number, error };
                    let resize = self.judge_size(target, *number, *bytes).map_err(wrong)?;
                    prepared.sizes.push((target.clone(), *number, resize));
                }
                _ => {}
            }
        }
        let mut leaving = self.leaving(changes);
        self.judge_units(wanted, changes, &mut leaving, prepared)?;
        for change in changes {
            let Change::AddTarget(target) = change else { continue };
            let units = target.open_units(self.records.as_ref(), &mut leaving)?;
            target.config(&prepared.groups, units.iter().map(NewUnit::numbered))?;
            prepared.targets.insert(target.name.clone(), units);
        }
        Ok(())
    }

    /// What those units have that changes take away.
    fn leaving(&self, changes: &[Change]) -> Leaving {
        let mut leaving = Leaving::default();
        for change in changes {
            let (target, number) = match change {
                Change::RemoveLun { target, number } => (target, Some(LogicalUnitNumber::from(*number))),
                Change::RemoveTarget(target) => (target, None),
                _ => continue,
            };
            let Some((place, config)) = self.find_target(target) else { continue };
            for info in config.device.logical_units().filter(|info| number.is_none_or(|number| info.number == number)) {
                let store = self.store(StoreId { target: place, unit: info.index });
                leaving.locks.extend(store.and_then(|store| store.lock()));
                leaving.serials.insert(info.config.identity.serial);
            }
        }
        leaving
    }

    /// The target port groups that targets are to have that stay, where they are others.
    fn judge_ports(
        &self,
        wanted: &Configuration,
        groups: &[PortalGroup],
    ) -> Result<Vec<(String, Vec<TargetPortGroup>)>, ReloadError> {
        let mut others = Vec::new();
        for target in &wanted.targets {
            let Some((_, config)) = self.find_target(&target.name) else { continue };
            let ports = target.ports(groups);
            if ports != config.device.target_port_groups() {
                let wrong = |error| StartError::Configuration(format!("{}: {error}", target.name));
                TargetDevice::with_ports(ports.clone(), []).map_err(wrong)?;
                others.push((target.name.clone(), ports));
            }
        }
        Ok(others)
    }

    /// Listens at an address, at a place that neither those have that are listened on nor `others`; nobody takes connections there yet.
    fn listen(
        &self,
        asked: SocketAddr,
        tag: u16,
        others: &[(Listener, Option<TcpListener>)],
    ) -> Result<(Listener, Option<TcpListener>), StartError> {
        let wrong = |error| StartError::Listen { address: asked, error };
        let place = self.listeners.lock().free_place_beside(others.iter().map(|(other, _)| other.place));
        let listener = Listener { place, ..Listener::new(asked, tag) };
        if self.has_function {
            self.reserve(place, asked).map_err(wrong)?;
            return Ok((listener, None));
        }
        let socket = network::listen(asked).map_err(wrong)?;
        let address = socket.local_addr().map_err(wrong)?;
        Ok((Listener { address, ..listener }, Some(socket)))
    }

    /// Has the loop that has the function listen there.
    fn reserve(&self, place: usize, address: SocketAddr) -> io::Result<()> {
        let (answer, answered) = mpsc::channel();
        self.mailboxes[0].send(Message::Reserve(place, address, answer));
        answered.recv_timeout(RESERVE_PATIENCE).unwrap_or_else(|_| {
            // It may still come to it.
            self.mailboxes[0].send(Message::Unlisten(place));
            Err(io::Error::new(io::ErrorKind::TimedOut, "the loop of the adapter does not answer"))
        })
    }

    /// Opens the disks that come, and has each device that gets some judge them beside those that stay.
    fn judge_units(
        &self,
        wanted: &Configuration,
        changes: &[Change],
        leaving: &mut Leaving,
        prepared: &mut Prepared,
    ) -> Result<(), ReloadError> {
        let mut devices: HashMap<&str, Judged> = HashMap::new();
        for change in changes {
            let (Change::RemoveLun { target: name, number } | Change::AddLun { target: name, number, .. }) = change
            else {
                continue;
            };
            let no_target = || ReloadError::NoSuchTarget(name.clone());
            let (_, config) = self.find_target(name).ok_or_else(no_target)?;
            let judged = devices.entry(name).or_insert_with(|| Judged::new(&config));
            match change {
                Change::AddLun { disk, .. } => {
                    let target = wanted.target(name).ok_or_else(no_target)?;
                    let unit = target.open_unit(*number, disk, self.records.as_ref(), leaving)?;
                    judged.units.push(unit.numbered());
                    let wrong = |error| ReloadError::Unit { target: name.clone(), number: *number, error };
                    judged.check().map_err(|error| wrong(ChangeError::Configuration(error)))?;
                    prepared.units.insert((name.clone(), *number), unit);
                }
                _ => judged.units.retain(|(other, _)| *other != LogicalUnitNumber::from(*number)),
            }
        }
        Ok(())
    }
}

/// A target's units as they are to be.
struct Judged {
    device: Arc<TargetDevice>,
    units: Vec<NumberedUnit>,
}

impl Judged {
    fn new(config: &TargetConfig) -> Self {
        let units = config.device.logical_units().map(|info| (info.number, info.config)).collect();
        Self { device: Arc::clone(&config.device), units }
    }

    fn check(&self) -> Result<(), ConfigError> {
        TargetDevice::with_ports(self.device.target_port_groups(), self.units.iter().cloned()).map(drop)
    }
}
