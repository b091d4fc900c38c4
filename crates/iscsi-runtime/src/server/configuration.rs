//! What a server is asked to be, as one value: to be compared, changed and started.

use super::StartError;
use super::portal_groups::{self, PortalGroup};
use super::target::{self, Target};
use iscsi_node::target::{AccessOrder, Portal, PortalAddress};
use iscsi_session::{Authentication, Limits};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What a server is asked to be. A [`ServerBuilder`](super::ServerBuilder) fills one in, [`Server::reload`](super::Server::reload) makes a running
/// server like another.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    pub(super) targets: Vec<Target>,
    /// Addresses to listen on, each with its portal group tag, in the order in which they were asked for.
    pub(super) portals: Vec<(SocketAddr, u16)>,
    pub(super) portal_groups: Vec<PortalGroup>,
    pub(super) advertised: Vec<PortalAddress>,
    pub(super) discovery_authentication: Authentication,
    pub(super) access_order: AccessOrder,
    pub(super) limits: Limits,
    pub(super) login_timeout: Duration,
    pub(super) cores: Option<usize>,
    pub(super) connections_max: Option<usize>,
    pub(super) busy_poll: Option<Duration>,
    pub(super) capture: Option<PathBuf>,
    pub(super) state: Option<PathBuf>,
}

impl Default for Configuration {
    fn default() -> Self {
        let Portal { discovery_authentication, access_order, limits, login_timeout, .. } = Portal::new();
        Self {
            targets: Vec::new(),
            portals: Vec::new(),
            portal_groups: Vec::new(),
            advertised: Vec::new(),
            discovery_authentication,
            access_order,
            limits,
            login_timeout,
            cores: None,
            connections_max: None,
            busy_poll: None,
            capture: None,
            state: None,
        }
    }
}

impl Configuration {
    /// The same with what cannot change while a process runs as another has it: cores, busy polling, the number of connections, the capture and
    /// the folder of records.
    #[must_use]
    pub fn with_process_settings_of(self, other: &Self) -> Self {
        let Self { cores, connections_max, busy_poll, capture, state, .. } = other.clone();
        Self { cores, connections_max, busy_poll, capture, state, ..self }
    }

    /// The same with each target stopped that another has stopped, which runs.
    #[must_use]
    pub fn with_targets_stopped_of(mut self, other: &Self) -> Self {
        for target in &mut self.targets {
            // A name that is none is refused when the configuration is put to use.
            let name = target::normalise(&target.name).unwrap_or_default();
            if let Some(found) = other.target(&name) {
                target.availability = found.availability;
            }
        }
        self
    }

    /// The same with names as they are compared.
    ///
    /// # Errors
    /// It makes no sense as a whole.
    pub(super) fn checked(mut self) -> Result<Self, StartError> {
        if self.portals.is_empty() {
            return Err(StartError::Configuration("no address to listen on was given".into()));
        }
        self.groups()?;
        self.targets = self.targets.into_iter().map(Target::checked).collect::<Result<_, _>>()?;
        self.targets.iter().try_for_each(|target| target.check_portals(&self.portals))?;
        let mut names: Vec<&str> = self.targets.iter().map(|target| target.name.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(StartError::Configuration(format!("target {} is given twice", pair[0]))),
            None => Ok(self),
        }
    }

    /// The portal groups of its addresses.
    ///
    /// # Errors
    /// A tag is zero, or something is said of a group that no address is in.
    pub(super) fn groups(&self) -> Result<Vec<PortalGroup>, StartError> {
        portal_groups::groups(&self.portals, &self.portal_groups, &self.advertised)
    }

    pub(super) fn target(&self, name: &str) -> Option<&Target> {
        self.targets.iter().find(|target| target.name == name)
    }

    pub(super) fn target_mut(&mut self, name: &str) -> Option<&mut Target> {
        self.targets.iter_mut().find(|target| target.name == name)
    }
}

impl Target {
    /// # Errors
    /// An address of its own is not listened on, or given twice, or of no portal group.
    fn check_portals(&self, listened: &[(SocketAddr, u16)]) -> Result<(), StartError> {
        let own = self.portals.as_deref().unwrap_or_default();
        for (index, (address, tag)) in own.iter().enumerate() {
            let wrong = |what: &str| Err(StartError::Configuration(format!("{}: {address}: {what}", self.name)));
            if !listened.iter().any(|(other, _)| other == address) {
                return wrong("expected an address that is listened on");
            }
            if own[..index].iter().any(|(other, _)| other == address) {
                return wrong("expected each address once");
            }
            if *tag == 0 {
                return wrong("portal groups have the tags 1 to 65535");
            }
        }
        Ok(())
    }

    /// The same with names as they are compared.
    ///
    /// # Errors
    /// A name is none, an address is none to go to, or a number is that of two units.
    pub(super) fn checked(mut self) -> Result<Self, StartError> {
        self.name = target::normalise(&self.name)?;
        for name in self.access.iter_mut().flatten().flat_map(|rule| &mut rule.initiators) {
            *name = target::normalise(name)?;
        }
        self.moved = self.moved.map(target::check_moved).transpose()?;
        for rule in self.access.iter_mut().flatten() {
            let addresses = rule.sources.iter_mut().chain(&mut rule.destinations);
            addresses.for_each(|address| *address = address.to_canonical());
        }
        self.disks.sort_by_key(|(number, _)| *number);
        if let Some(pair) = self.disks.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(StartError::Configuration(format!("{}: LUN {} is given twice", self.name, pair[0].0)));
        }
        Ok(self)
    }
}
