//! Changes of a running server, judged before any is made.
//!
//! In: the configuration that runs, and changes. Out: all that they need and that may be refused - open stores, listening sockets, devices -
//! or why they cannot be made. Nothing that initiators see has changed by then.

use super::change::{Change, Effect};
use super::configuration::Configuration;
use super::disk::DiskSource;
use super::listeners::Listener;
use super::shared::{Medium, Shared};
use super::{StartError, set_clock};
use crate::network;
use iscsi_node::target::{StoreId, TargetConfig};
use mio::net::TcpListener;
use scsi_block::{ConfigError, Geometry, LogicalUnitConfig, LogicalUnitInfo, LogicalUnitNumber, TargetDevice};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

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
    /// A target would be reached through a portal group that it was not made with.
    #[error(
        "{target}: portal group {tag} is new to the target, whose target ports cannot change while it runs: stop the process and start it anew, or \
         take one of its groups"
    )]
    PortalGroup {
        /// The target.
        target: String,
        /// Portal group tag.
        tag: u16,
    },
    /// A logical unit would make no sense beside the others, or not at all.
    #[error("{target}: LUN {number}: {error}")]
    Unit {
        /// The target.
        target: String,
        /// The number.
        number: u16,
        /// What is wrong.
        error: ConfigError,
    },
    /// A store cannot be made larger.
    #[error("{target}: LUN {number}: the store cannot grow: {error}")]
    Grow {
        /// The target.
        target: String,
        /// The number.
        number: u16,
        /// What the system says.
        error: std::io::Error,
    },
    /// There is no target of that name.
    #[error("there is no target {0}")]
    NoSuchTarget(String),
    /// There is no such logical unit.
    #[error("{0}: there is no LUN {1}")]
    NoSuchUnit(String, u16),
    /// The address is not listened on.
    #[error("{0} of portal group {1} is not listened on")]
    NoSuchPortal(SocketAddr, u16),
    /// Where an adapter or this process carries connections, addresses are those that the server was started with.
    #[error(
        "portal {0}: addresses of an adapter's function cannot change while the target runs: stop the process and start it anew"
    )]
    Function(SocketAddr),
}

fn restart(changes: &[Change]) -> String {
    let changes: Vec<String> = changes.iter().map(Change::to_string).collect();
    format!("{}: cannot change while the target runs: stop the process and start it anew", changes.join("; "))
}

/// What changes need, ready to be put to use.
#[derive(Default)]
pub(super) struct Prepared {
    /// Units that come, by target and number.
    pub(super) units: HashMap<(String, u16), (LogicalUnitConfig, Medium)>,
    /// Targets that come.
    pub(super) targets: Vec<(TargetConfig, Vec<Medium>)>,
    /// Addresses that are listened on from now on.
    pub(super) listeners: Vec<(Listener, TcpListener)>,
}

impl Shared {
    /// Judges changes that make `wanted` of `running`.
    pub(super) fn judge(&self, wanted: &Configuration, changes: &[Change]) -> Result<Prepared, ReloadError> {
        let restart: Vec<Change> =
            changes.iter().filter(|change| change.effect() == Effect::Restart).cloned().collect();
        if !restart.is_empty() {
            return Err(ReloadError::Restart(restart));
        }
        self.judge_portal_groups(wanted, changes)?;
        let mut prepared = Prepared::default();
        self.judge_units(changes, &mut prepared)?;
        let groups = wanted.groups()?;
        for change in changes {
            match change {
                Change::AddTarget(target) => {
                    let target = target.as_ref().clone().into_config(&groups, self.records.as_ref())?;
                    set_clock(&target.0);
                    prepared.targets.push(target);
                }
                Change::AddPortal(address, tag) => self.listen(*address, *tag, &mut prepared)?,
                Change::RemovePortal(address, _) | Change::MovePortal { address, .. } if self.has_function => {
                    return Err(ReloadError::Function(*address));
                }
                _ => {}
            }
        }
        Ok(prepared)
    }

    /// Targets that stay are reached through the groups that they have.
    fn judge_portal_groups(&self, wanted: &Configuration, changes: &[Change]) -> Result<(), ReloadError> {
        let come = changes.iter().filter_map(|change| match change {
            Change::AddPortal(_, tag) | Change::MovePortal { to: tag, .. } => Some(*tag),
            _ => None,
        });
        for tag in come {
            for target in &wanted.targets {
                let Some((_, config)) = self.find_target(&target.name) else { continue };
                let is_meant = target.portal_groups.as_ref().is_none_or(|tags| tags.contains(&tag));
                let has = config.device.target_port_groups().iter().any(|group| group.number == tag);
                if is_meant && !has {
                    return Err(ReloadError::PortalGroup { target: target.name.clone(), tag });
                }
            }
        }
        Ok(())
    }

    fn listen(&self, asked: SocketAddr, tag: u16, prepared: &mut Prepared) -> Result<(), ReloadError> {
        if self.has_function {
            return Err(ReloadError::Function(asked));
        }
        let wrong = |error| StartError::Listen { address: asked, error };
        let listener = network::listen(asked).map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        prepared.listeners.push((Listener { asked, address, tag, place: 0 }, listener));
        Ok(())
    }

    /// Opens the disks that come, and has each device that gets some judge them beside those that stay; and lets those grow that are to.
    fn judge_units(&self, changes: &[Change], prepared: &mut Prepared) -> Result<(), ReloadError> {
        let mut devices: HashMap<&str, Judged> = HashMap::new();
        for change in changes {
            let (Change::RemoveLun { target, number }
            | Change::AddLun { target, number, .. }
            | Change::ResizeLun { target, number, .. }) = change
            else {
                continue;
            };
            let wrong = |error| ReloadError::Unit { target: target.clone(), number: *number, error };
            let (_, config) = self.find_target(target).ok_or_else(|| ReloadError::NoSuchTarget(target.clone()))?;
            let judged = devices.entry(target).or_insert_with(|| Judged::new(&config));
            match change {
                Change::AddLun { disk, .. } => {
                    let (unit, medium) = self.open(target, *number, disk)?;
                    judged.units.push((LogicalUnitNumber::from(*number), unit.clone()));
                    judged.check().map_err(wrong)?;
                    prepared.units.insert((target.clone(), *number), (unit, medium));
                }
                Change::ResizeLun { bytes, .. } => self.judge_size(target, *number, *bytes)?,
                _ => judged.units.retain(|(other, _)| *other != LogicalUnitNumber::from(*number)),
            }
        }
        Ok(())
    }

    fn open(&self, target: &str, number: u16, disk: &DiskSource) -> Result<(LogicalUnitConfig, Medium), ReloadError> {
        let opened = disk.open();
        let disk = opened.map_err(|error| StartError::Open { target: target.into(), number, error })?;
        let mut unit = disk.unit_of(target, number).map_err(StartError::System)?;
        let medium = disk.into_medium(&mut unit, self.records.as_ref()).map_err(StartError::Records)?;
        Ok((unit, medium))
    }

    /// A store that grows has the blocks before its unit does.
    fn judge_size(&self, target: &str, number: u16, bytes: u64) -> Result<(), ReloadError> {
        let no_unit = || ReloadError::NoSuchUnit(target.into(), number);
        let (place, config) = self.find_target(target).ok_or_else(|| ReloadError::NoSuchTarget(target.into()))?;
        let info = unit_info(&config.device, number).ok_or_else(no_unit)?;
        let store = self.store(StoreId { target: place, unit: info.index }).ok_or_else(no_unit)?;
        let blocks = bytes / u64::from(info.config.geometry.block_size);
        let unit = LogicalUnitConfig { geometry: Geometry { blocks, ..info.config.geometry }, ..info.config };
        let resized = TargetDevice::new([(LogicalUnitNumber::from(number), unit)]);
        resized.map_err(|error| ReloadError::Unit { target: target.into(), number, error })?;
        if blocks > store.geometry().blocks {
            store.grow(blocks).map_err(|error| ReloadError::Grow { target: target.into(), number, error })?;
        }
        Ok(())
    }
}

/// A target's units as they are to be.
struct Judged {
    device: Arc<TargetDevice>,
    units: Vec<(LogicalUnitNumber, LogicalUnitConfig)>,
}

impl Judged {
    fn new(config: &TargetConfig) -> Self {
        let units = config.device.logical_units().map(|info| (info.number, info.config)).collect();
        Self { device: Arc::clone(&config.device), units }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let groups = self.device.target_port_groups().to_vec();
        TargetDevice::with_ports(groups, self.units.iter().cloned()).map(drop)
    }
}

fn unit_info(device: &TargetDevice, number: u16) -> Option<LogicalUnitInfo> {
    device.logical_units().find(|info| info.number == LogicalUnitNumber::from(number))
}
