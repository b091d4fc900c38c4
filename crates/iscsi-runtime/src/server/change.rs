//! One change of a configuration, and when it holds.

use super::configuration::Configuration;
use super::disk::DiskSource;
use super::portal_groups::PortalGroup;
use super::target::Target;
use iscsi_node::target::{
    AccessList, AccessOrder, AccessRule, Availability, Moved, Portal, PortalAddress, Redirect, TargetConfig,
};
use iscsi_session::{Authentication, Limits};
use scsi_block::vpd::ManagementAddress;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// When a change holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// At once, for sessions too.
    AtOnce,
    /// For logins from then on.
    NewLogins,
    /// When the server is started anew: a running one refuses it.
    Restart,
}

/// One change of a configuration. Targets are named by their normalised names.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A logical unit goes.
    RemoveLun {
        /// Its target.
        target: String,
        /// Its number.
        number: u16,
    },
    /// A logical unit comes.
    AddLun {
        /// Its target.
        target: String,
        /// Its number.
        number: u16,
        /// What it is.
        disk: DiskSource,
    },
    /// A logical unit whose description tells its size has another.
    ResizeLun {
        /// Its target.
        target: String,
        /// Its number.
        number: u16,
        /// The size.
        bytes: u64,
    },
    /// A target goes: its initiators are asked to log out.
    RemoveTarget(
        /// Its name.
        String,
    ),
    /// A target comes.
    AddTarget(Box<Target>),
    /// An address is listened on no more. Sessions that have come by it stay, unless no other is of their portal group: then the initiators are
    /// asked to log out.
    RemovePortal(
        /// The address as it was asked for.
        SocketAddr,
        /// Portal group tag.
        u16,
    ),
    /// An address is listened on too.
    AddPortal(
        /// The address.
        SocketAddr,
        /// Portal group tag.
        u16,
    ),
    /// An address that is listened on is of another portal group. Sessions that have come by it are of the old one as long as that is there.
    MovePortal {
        /// The address.
        address: SocketAddr,
        /// Its portal group tag so far.
        from: u16,
        /// Its portal group tag from now on.
        to: u16,
    },
    /// Something else about a target.
    SetTarget(
        /// Its name.
        String,
        /// What.
        TargetSetting,
    ),
    /// Something else about the server.
    Set(ServerSetting),
}

/// What can be said of a target.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetSetting {
    /// TargetAlias.
    Alias(Option<String>),
    /// What an initiator has to prove.
    Authentication(Authentication),
    /// Who may log in and what they may do; `None` lets all do everything.
    Access(Option<Vec<AccessRule>>),
    /// Whether an initiator may reset the target for all others.
    Resettable(bool),
    /// Where initiators are sent that log in.
    Moved(Option<Moved>),
    /// Portal groups that send initiators to others.
    Redirects(Vec<Redirect>),
    /// What is negotiated at most.
    Limits(Option<Limits>),
    /// Commands that a session may have open.
    Window(Option<u32>),
    /// Whether logins are let in. Where they are no more, the initiators that are there are asked to log out.
    Availability(Availability),
    /// The portal groups through which it is reached. Initiators that have come through one that goes are asked to log out.
    PortalGroups(Option<Vec<u16>>),
    /// The addresses at which it is reached, with the tags of its portal groups.
    Portals(Option<Vec<(SocketAddr, u16)>>),
    /// Where it is managed.
    ManagementAddresses(Vec<ManagementAddress>),
}

/// What can be said of a server as a whole.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerSetting {
    /// What an initiator has to prove in a discovery session.
    DiscoveryAuthentication(Authentication),
    /// When access lists are looked at.
    AccessOrder(AccessOrder),
    /// What is negotiated at most.
    Limits(Limits),
    /// Time that a login may take.
    LoginTimeout(Duration),
    /// Addresses that discovery tells instead of those that are listened on.
    Advertised(Vec<PortalAddress>),
    /// How disks are reached through portal groups.
    PortalGroups(Vec<PortalGroup>),
    /// Number of loops.
    Cores(Option<usize>),
    /// Connections that are served at most.
    ConnectionsMax(Option<usize>),
    /// How long a busy core looks for more.
    BusyPoll(Option<Duration>),
    /// The file that all is written to that is sent and received.
    Capture(Option<PathBuf>),
    /// The folder of records.
    State(Option<PathBuf>),
}

impl Change {
    /// When it holds.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self {
            Self::SetTarget(_, TargetSetting::Availability(_)) => Effect::AtOnce,
            Self::SetTarget(_, TargetSetting::PortalGroups(_) | TargetSetting::Portals(_)) => Effect::AtOnce,
            Self::SetTarget(_, TargetSetting::ManagementAddresses(_)) => Effect::Restart,
            Self::SetTarget(..) => Effect::NewLogins,
            Self::Set(
                ServerSetting::DiscoveryAuthentication(_)
                | ServerSetting::AccessOrder(_)
                | ServerSetting::Limits(_)
                | ServerSetting::LoginTimeout(_),
            ) => Effect::NewLogins,
            Self::Set(ServerSetting::Advertised(_) | ServerSetting::PortalGroups(_)) => Effect::AtOnce,
            Self::Set(_) => Effect::Restart,
            _ => Effect::AtOnce,
        }
    }

    /// Makes the change in a configuration; one that names what is not there changes nothing.
    pub fn apply(self, configuration: &mut Configuration) {
        let portals = &mut configuration.portals;
        let place = |portals: &[(SocketAddr, u16)], portal| portals.iter().position(|other| *other == portal);
        match self {
            Self::RemoveTarget(name) => configuration.targets.retain(|target| target.name != name),
            Self::AddTarget(target) => configuration.targets.push(*target),
            Self::RemovePortal(address, tag) => drop(place(portals, (address, tag)).map(|at| portals.remove(at))),
            Self::AddPortal(address, tag) => portals.push((address, tag)),
            Self::MovePortal { address, from, to } => {
                if let Some(at) = place(portals, (address, from)) {
                    portals[at].1 = to;
                }
            }
            Self::Set(setting) => setting.apply(configuration),
            Self::RemoveLun { ref target, .. }
            | Self::AddLun { ref target, .. }
            | Self::ResizeLun { ref target, .. }
            | Self::SetTarget(ref target, _) => {
                if let Some(target) = configuration.target_mut(&target.clone()) {
                    self.apply_to(target);
                }
            }
        }
    }

    fn apply_to(self, target: &mut Target) {
        let place = target.disks.partition_point(|(other, _)| match self {
            Self::AddLun { number, .. } | Self::ResizeLun { number, .. } => *other < number,
            _ => true,
        });
        match self {
            Self::RemoveLun { number, .. } => target.disks.retain(|(other, _)| *other != number),
            Self::AddLun { number, disk, .. } => target.disks.insert(place, (number, disk)),
            Self::ResizeLun { number, bytes, .. } => {
                if let Some((other, DiskSource::Described(disk))) = target.disks.get_mut(place)
                    && *other == number
                    && let Some(size) = disk.size_bytes()
                {
                    *size = bytes;
                }
            }
            Self::SetTarget(_, setting) => setting.apply(target),
            _ => {}
        }
    }
}

impl TargetSetting {
    /// Makes it what logins are judged by.
    pub(super) fn offer(&self, target: &mut TargetConfig) {
        match self.clone() {
            Self::Alias(alias) => target.alias = alias,
            Self::Authentication(authentication) => target.authentication = authentication,
            Self::Access(access) => target.access = access.map(AccessList::of).unwrap_or_default(),
            Self::Resettable(resettable) => target.resettable = resettable,
            Self::Moved(moved) => target.moved = moved,
            Self::Redirects(redirects) => target.redirects = redirects,
            Self::Limits(limits) => target.limits = limits,
            Self::Window(window) => target.window = window,
            Self::Availability(availability) => target.availability = availability,
            Self::Portals(portals) => target.portals = portals,
            Self::PortalGroups(_) | Self::ManagementAddresses(_) => {}
        }
    }

    fn apply(self, target: &mut Target) {
        match self {
            Self::Alias(alias) => target.alias = alias,
            Self::Authentication(authentication) => target.authentication = authentication,
            Self::Access(access) => target.access = access,
            Self::Resettable(resettable) => target.resettable = resettable,
            Self::Moved(moved) => target.moved = moved,
            Self::Redirects(redirects) => target.redirects = redirects,
            Self::Limits(limits) => target.limits = limits,
            Self::Window(window) => target.window = window,
            Self::Availability(availability) => target.availability = availability,
            Self::PortalGroups(tags) => target.portal_groups = tags,
            Self::Portals(portals) => target.portals = portals,
            Self::ManagementAddresses(addresses) => target.management_addresses = addresses,
        }
    }
}

impl ServerSetting {
    /// Makes it what logins are judged by.
    pub(super) fn offer(&self, portal: &mut Portal) {
        match self.clone() {
            Self::DiscoveryAuthentication(authentication) => portal.discovery_authentication = authentication,
            Self::AccessOrder(order) => portal.access_order = order,
            Self::Limits(limits) => portal.limits = limits,
            Self::LoginTimeout(timeout) => portal.login_timeout = timeout,
            Self::Advertised(addresses) => portal.advertised_addresses = addresses,
            Self::PortalGroups(_)
            | Self::Cores(_)
            | Self::ConnectionsMax(_)
            | Self::BusyPoll(_)
            | Self::Capture(_)
            | Self::State(_) => {}
        }
    }

    fn apply(self, configuration: &mut Configuration) {
        match self {
            Self::DiscoveryAuthentication(authentication) => configuration.discovery_authentication = authentication,
            Self::AccessOrder(order) => configuration.access_order = order,
            Self::Limits(limits) => configuration.limits = limits,
            Self::LoginTimeout(timeout) => configuration.login_timeout = timeout,
            Self::Advertised(addresses) => configuration.advertised = addresses,
            Self::PortalGroups(groups) => configuration.portal_groups = groups,
            Self::Cores(cores) => configuration.cores = cores,
            Self::ConnectionsMax(connections) => configuration.connections_max = connections,
            Self::BusyPoll(window) => configuration.busy_poll = window,
            Self::Capture(file) => configuration.capture = file,
            Self::State(folder) => configuration.state = folder,
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtOnce => "at once",
            Self::NewLogins => "for new logins",
            Self::Restart => "when the target is started anew",
        })
    }
}

impl fmt::Display for Change {
    /// What changes, without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RemoveLun { target, number } => write!(f, "{target}: LUN {number} goes"),
            Self::AddLun { target, number, disk } => {
                write!(f, "{target}: LUN {number} comes, {}", disk.description())
            }
            Self::ResizeLun { target, number, bytes } => write!(f, "{target}: LUN {number} has {bytes} bytes"),
            Self::RemoveTarget(name) => write!(f, "{name}: the target goes"),
            Self::AddTarget(target) => write!(f, "{}: the target comes", target.name),
            Self::RemovePortal(address, tag) => write!(f, "portal {address} of group {tag} goes"),
            Self::AddPortal(address, tag) => write!(f, "portal {address} of group {tag} comes"),
            Self::MovePortal { address, from, to } => {
                write!(f, "portal {address} goes from group {from} to group {to}")
            }
            Self::SetTarget(target, setting) => write!(f, "{target}: {setting}"),
            Self::Set(setting) => setting.fmt(f),
        }
    }
}

impl fmt::Display for TargetSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alias(_) => "the alias",
            Self::Authentication(_) => "authentication",
            Self::Access(_) => "who may log in and what they may do",
            Self::Resettable(_) => "whether initiators may reset the target",
            Self::Moved(_) => "where initiators are sent",
            Self::Redirects(_) => "portal groups that send initiators to others",
            Self::Limits(_) => "limits of what is negotiated",
            Self::Window(_) => "commands that a session may have open",
            Self::Availability(Availability::Open) => "logins are let in",
            Self::Availability(_) => "no login is let in",
            Self::PortalGroups(_) | Self::Portals(_) => "its portal groups",
            Self::ManagementAddresses(_) => "where it is managed",
        })
    }
}

impl fmt::Display for ServerSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DiscoveryAuthentication(_) => "authentication of discovery sessions",
            Self::AccessOrder(_) => "when access lists are looked at",
            Self::Limits(_) => "limits of what is negotiated with all targets",
            Self::LoginTimeout(_) => "the time that a login may take",
            Self::Advertised(_) => "the addresses that discovery tells",
            Self::PortalGroups(_) => "how disks are reached through portal groups",
            Self::Cores(_) => "the number of cores",
            Self::ConnectionsMax(_) => "the number of connections that are served at most",
            Self::BusyPoll(_) => "how long a busy core looks for more",
            Self::Capture(_) => "the file of the capture",
            Self::State(_) => "the folder of what is kept",
        })
    }
}
