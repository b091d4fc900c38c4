//! How a server is filled in, and what it is made of.

use super::configuration::Configuration;
use super::portal_groups::{FIRST_GROUP, PortalGroup};
use super::shared::Stores;
use super::target::Target;
use super::unit::{Leaving, NewUnit};
use super::{Server, StartError};
use crate::capture;
use crate::network::{AdapterFunction, Function, LoopbackFunction};
use block_store::Records;
use iscsi_node::target::{AccessOrder, Portal, PortalAddress};
use iscsi_session::{Authentication, Limits};
use iscsi_transport::Capture;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Connections that a server takes at most, unless told otherwise.
const CONNECTIONS_MAX: usize = 16_384;

/// How long a busy core looks for more before it sleeps, unless told otherwise: as long as a busy initiator may take for a batch of answers.
const BUSY_POLL: Duration = Duration::from_micros(200);

/// A server to be; see [`Server::builder`].
#[derive(Debug, Default)]
pub struct ServerBuilder {
    configuration: Configuration,
    /// Where the loops run, which is no part of what is served.
    processors: Vec<usize>,
    function: Option<Function>,
}

/// What a server is made of.
pub(super) struct Parts {
    pub(super) portal: Portal,
    pub(super) stores: Stores,
    pub(super) records: Option<Arc<Records>>,
    pub(super) configuration: Configuration,
    pub(super) function: Option<Function>,
    pub(super) cores: usize,
    pub(super) processors: Vec<usize>,
    pub(super) connections_max: usize,
    pub(super) busy_poll: Duration,
    pub(super) capture: Option<Capture>,
}

impl ServerBuilder {
    /// Listens on an address of portal group 1 too; port 0 lets the system choose.
    #[must_use]
    pub fn listen(self, address: SocketAddr) -> Self {
        self.listen_in_group(address, FIRST_GROUP)
    }

    /// Listens on an address of the portal group with this tag too. To initiators, each group is a way of its own to every disk: the connections
    /// of a session are all in one, and a multipath initiator has a session in each.
    #[must_use]
    pub fn listen_in_group(mut self, address: SocketAddr, tag: u16) -> Self {
        self.configuration.portals.push((address, tag));
        self
    }

    /// How the disks of all targets are reached through a portal group until somebody changes that: in the best way unless this is said.
    #[must_use]
    pub fn portal_group(mut self, group: PortalGroup) -> Self {
        self.configuration.portal_groups.push(group);
        self
    }

    /// Serves a target too.
    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.configuration.targets.push(target);
        self
    }

    /// Number of loops, each on a thread of its own; one a processor unless this is said.
    #[must_use]
    pub fn cores(mut self, cores: usize) -> Self {
        self.configuration.cores = Some(cores);
        self
    }

    /// Has each loop run on one processor alone: the first loop on the first of these, and so on, counted round. Without any, loops run where
    /// the system lets them. A processor that this process may not use is no reason to fail: the loop is not bound, and the log says so.
    #[must_use]
    pub fn processors(mut self, processors: impl Into<Vec<usize>>) -> Self {
        self.processors = processors.into();
        self
    }

    /// Tells initiators this address of portal group 1, `host:port`, instead of those that are listened on.
    #[must_use]
    pub fn advertise(self, address: impl Into<String>) -> Self {
        self.advertise_in_group(address, FIRST_GROUP)
    }

    /// Tells initiators this address of the portal group with this tag, `host:port`, instead of those that are listened on.
    #[must_use]
    pub fn advertise_in_group(mut self, address: impl Into<String>, tag: u16) -> Self {
        self.configuration.advertised.push(PortalAddress::new(address, tag));
        self
    }

    /// What is negotiated at most.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.configuration.limits = limits;
        self
    }

    /// What an initiator has to prove before it may ask which targets there are; nothing unless this is said. With
    /// [`Authentication::or_none`] a proof is taken from those who offer it.
    #[must_use]
    pub fn discovery_authentication(mut self, authentication: Authentication) -> Self {
        self.configuration.discovery_authentication = authentication;
        self
    }

    /// Connections that are served at most; 16384 unless this is said.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.configuration.connections_max = Some(connections);
        self
    }

    /// How long a core that has just served several commands looks for more before it sleeps; 200 us unless this is said, zero
    /// never does. Latency for processor time, and only as long as more does come.
    #[must_use]
    pub fn busy_poll(mut self, window: Duration) -> Self {
        self.configuration.busy_poll = Some(window);
        self
    }

    /// Time that a login may take; 15 s unless this is said.
    #[must_use]
    pub fn login_timeout(mut self, timeout: Duration) -> Self {
        self.configuration.login_timeout = timeout;
        self
    }

    /// When the access lists of the targets are looked at; before authentication unless this is said.
    #[must_use]
    pub fn access_order(mut self, order: AccessOrder) -> Self {
        self.configuration.access_order = order;
        self
    }

    /// Writes all that is sent and received to a pcapng file, payload included.
    #[must_use]
    pub fn capture(mut self, file: impl Into<PathBuf>) -> Self {
        self.configuration.capture = Some(file.into());
        self
    }

    /// Keeps what disks have to know after a loss of power, such as persistent reservations, in this folder, which is made if need be. Without
    /// one, initiators are told that nothing of the kind is kept.
    #[must_use]
    pub fn state(mut self, folder: impl Into<PathBuf>) -> Self {
        self.configuration.state = Some(folder.into());
        self
    }

    /// Listens on a function of an adapter, whose addresses those are that are listened on, instead of the kernel's TCP. A function has
    /// one driver, so there is one loop.
    #[must_use]
    pub fn function(mut self, function: AdapterFunction) -> Self {
        self.function = Some(Function::Adapter(Box::new(function)));
        self
    }

    /// Listens on one end of a network within this process instead of the kernel's TCP. There is one loop.
    #[must_use]
    pub fn loopback(mut self, function: LoopbackFunction) -> Self {
        self.function = Some(Function::Loopback(function));
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    /// If an address cannot be listened on, the configuration makes no sense, or the system refuses something.
    pub fn start(self) -> Result<Server, StartError> {
        Server::start(self)
    }

    /// What was asked for, without an adapter's function.
    #[must_use]
    pub fn configuration(self) -> Configuration {
        self.configuration
    }

    pub(super) fn into_parts(self) -> Result<Parts, StartError> {
        let Self { configuration, processors, function } = self;
        let configuration = configuration.checked()?;
        let groups = configuration.groups()?;
        let records = configuration.state.clone().map(Records::open).transpose()?.map(Arc::new);
        let mut portal = Portal {
            discovery_authentication: configuration.discovery_authentication.clone(),
            advertised_addresses: configuration.advertised.clone(),
            access_order: configuration.access_order,
            limits: configuration.limits.clone(),
            login_timeout: configuration.login_timeout,
            ..Portal::new()
        };
        let mut stores = Vec::new();
        for target in &configuration.targets {
            let units = target.open_units(records.as_ref(), &mut Leaving::default())?;
            let settled = units.into_iter().map(NewUnit::settle_at_once).collect::<Result<Vec<_>, _>>()?;
            let (units, media): (Vec<_>, _) = settled.into_iter().unzip();
            portal.targets.push(target.config(&groups, units)?);
            stores.push(media);
        }
        if function.is_some() && configuration.cores.is_some_and(|cores| cores > 1) {
            let text = "a function of an adapter, or an end within the process, belongs to one loop: take one core";
            return Err(StartError::Configuration(text.into()));
        }
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Parts {
            portal,
            stores,
            records,
            cores: if function.is_some() { 1 } else { configuration.cores.unwrap_or_else(available).max(1) },
            function,
            processors,
            connections_max: configuration.connections_max.unwrap_or(CONNECTIONS_MAX),
            busy_poll: configuration.busy_poll.unwrap_or(BUSY_POLL),
            capture: configuration.capture.as_deref().map(capture::create).transpose()?,
            configuration,
        })
    }
}

impl From<Configuration> for ServerBuilder {
    fn from(configuration: Configuration) -> Self {
        Self { configuration, processors: Vec::new(), function: None }
    }
}
