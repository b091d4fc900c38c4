//! A target to be served.

use super::StartError;
use super::disk::DiskSource;
use super::portal_groups::PortalGroup;
use super::unit::{Leaving, NewUnit, NumberedUnit};
use crate::url::Url;
use block_store::Records;
use iscsi_node::target::{AccessList, AccessRule, Availability, Moved, Redirect, TargetConfig};
use iscsi_session::{Authentication, Limits};
use scsi_block::vpd::ManagementAddress;
use scsi_block::{ConfigError, TargetDevice, TargetPortGroup};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// An iSCSI target to be served.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub(super) name: String,
    pub(super) alias: Option<String>,
    pub(super) disks: Vec<(u16, DiskSource)>,
    pub(super) authentication: Authentication,
    pub(super) access: Option<Vec<AccessRule>>,
    pub(super) resettable: bool,
    pub(super) moved: Option<Moved>,
    pub(super) redirects: Vec<Redirect>,
    pub(super) limits: Option<Limits>,
    pub(super) window: Option<u32>,
    pub(super) availability: Availability,
    pub(super) portal_groups: Option<Vec<u16>>,
    pub(super) portals: Option<Vec<(SocketAddr, u16)>>,
    pub(super) management_addresses: Vec<ManagementAddress>,
}

impl Target {
    /// A target without logical units that lets every initiator in. The name is in `iqn.`, `eui.` or `naa.` form.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            alias: None,
            disks: Vec::new(),
            authentication: Authentication::None,
            access: None,
            resettable: false,
            moved: None,
            redirects: Vec::new(),
            limits: None,
            window: None,
            availability: Availability::Open,
            portal_groups: None,
            portals: None,
            management_addresses: Vec::new(),
        }
    }

    /// A text for people.
    #[must_use]
    pub fn alias(mut self, alias: impl Into<String>) -> Self {
        self.alias = Some(alias.into());
        self
    }

    /// Adds a logical unit.
    #[must_use]
    pub fn lun(mut self, number: u16, disk: impl Into<DiskSource>) -> Self {
        self.disks.push((number, disk.into()));
        self
    }

    /// What an initiator has to prove.
    #[must_use]
    pub fn authentication(mut self, authentication: Authentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// Lets this initiator in, and no other that is not named as well.
    #[must_use]
    pub fn allow_initiator(self, name: impl Into<String>) -> Self {
        self.allow(AccessRule::of_initiator(name))
    }

    /// Lets those in that the rule is about, with the rights that it gives, and nobody else that no other rule is about. Of rules that name the
    /// same unit the first holds.
    #[must_use]
    pub fn allow(mut self, rule: AccessRule) -> Self {
        self.access.get_or_insert_default().push(rule);
        self
    }

    /// Whether an initiator may reset the target for all others; it may not unless this is said.
    #[must_use]
    pub fn resettable(mut self, resettable: bool) -> Self {
        self.resettable = resettable;
        self
    }

    /// Sends initiators that log in to `address`, `host[:port]`, for good or for a time; nobody is let in here.
    #[must_use]
    pub fn redirect(mut self, address: impl Into<String>, permanent: bool) -> Self {
        self.moved = Some(Moved { address: address.into(), permanent });
        self
    }

    /// Sends initiators that come through the portal group with this tag to `addresses` in turn, for a time; through others they are let in.
    ///
    /// # Panics
    /// There is no address.
    #[must_use]
    pub fn redirect_group(mut self, tag: u16, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.redirects.push(Redirect::new(tag, addresses.into_iter().map(|address| address.to_string()).collect()));
        self
    }

    /// Tells initiators a URL at which the target is managed, in VPD page 85h.
    #[must_use]
    pub fn management_address(mut self, url: impl Into<String>) -> Self {
        self.management_addresses.push(ManagementAddress::new(url));
        self
    }

    /// What is negotiated with this target at most, instead of what the server's [`limits`](super::ServerBuilder::limits) say; segments are not longer
    /// than those have them.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Commands that one session may have open, at least 1; 256 unless this is said.
    #[must_use]
    pub fn window(mut self, commands: u32) -> Self {
        self.window = Some(commands.max(1));
        self
    }

    /// Lets nobody in as long as that is not changed; its disks are open all the same.
    #[must_use]
    pub fn stopped(mut self) -> Self {
        self.availability = Availability::Stopped;
        self
    }

    /// Is reached through the portal groups with these tags alone; through all unless this is said.
    #[must_use]
    pub fn portal_groups(mut self, tags: impl IntoIterator<Item = u16>) -> Self {
        self.portal_groups = Some(tags.into_iter().collect());
        self
    }

    /// Is reached at these addresses alone, each of which the server listens on, through portal groups of its own with these tags: in another
    /// target of the server the same tag may stand for other addresses. Disks are reached through them in the best way, whatever the server says of a
    /// group of that tag. It takes the place of [`portal_groups`](Self::portal_groups).
    #[must_use]
    pub fn portals(mut self, portals: impl IntoIterator<Item = (SocketAddr, u16)>) -> Self {
        self.portals = Some(portals.into_iter().collect());
        self
    }

    /// Opens all of its disks. The target was checked.
    ///
    /// # Errors
    /// As [`open_unit`](Self::open_unit).
    pub(super) fn open_units(
        &self,
        records: Option<&Arc<Records>>,
        leaving: &mut Leaving,
    ) -> Result<Vec<NewUnit>, StartError> {
        self.disks.iter().map(|(number, disk)| self.open_unit(*number, disk, records, leaving)).collect()
    }

    /// The target port groups of its device, where there are these portal groups.
    pub(super) fn ports(&self, groups: &[PortalGroup]) -> Vec<TargetPortGroup> {
        if let Some(portals) = &self.portals {
            let mut tags: Vec<u16> = portals.iter().map(|(_, tag)| *tag).collect();
            tags.sort_unstable();
            tags.dedup();
            return tags.into_iter().map(|tag| PortalGroup::new(tag).of_target(&self.name)).collect();
        }
        let own = |group: &&PortalGroup| self.portal_groups.as_ref().is_none_or(|tags| tags.contains(&group.tag));
        groups.iter().filter(own).map(|group| group.of_target(&self.name)).collect()
    }

    /// What it is to the node, with units that were made of its disks.
    ///
    /// # Errors
    /// The units make no sense, or not beside each other.
    pub(super) fn config(
        &self,
        groups: &[PortalGroup],
        units: impl IntoIterator<Item = NumberedUnit>,
    ) -> Result<TargetConfig, StartError> {
        let device = TargetDevice::with_ports(self.ports(groups), units).map_err(|error| match error {
            ConfigError::Kept { .. } => StartError::Kept(error),
            error => StartError::Configuration(error.to_string()),
        })?;
        set_clock(&device);
        let target = self.clone();
        Ok(TargetConfig {
            name: target.name,
            alias: target.alias,
            device: Arc::new(device),
            authentication: target.authentication,
            portals: target.portals,
            access: target.access.map(AccessList::of).unwrap_or_default(),
            resettable: target.resettable,
            moved: target.moved,
            redirects: target.redirects,
            limits: target.limits,
            window: target.window,
            availability: target.availability,
        })
    }
}

/// REPORT TIMESTAMP tells the time of this host.
fn set_clock(device: &TargetDevice) {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    device.set_clock(Instant::now(), u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX));
}

/// What an initiator cannot go to is not told to it.
pub(super) fn check_moved(moved: Moved) -> Result<Moved, StartError> {
    let wrong = || StartError::Configuration(format!("{:?} is no host[:port] to send initiators to", moved.address));
    let is_portal =
        !moved.address.contains(['/', '?', '@']) && format!("iscsi://{}", moved.address).parse::<Url>().is_ok();
    if is_portal { Ok(moved) } else { Err(wrong()) }
}

pub(super) fn normalise(name: &str) -> Result<String, StartError> {
    iscsi_session::normalise_name(name).map_err(|error| StartError::Configuration(error.to_string()))
}
