//! What a server is to offer: targets, disks, addresses.

use super::portal_groups::{self, FIRST_GROUP, ISCSI, PortalGroup};
use super::shared::{Medium, Stores};
use super::{Server, StartError};
use crate::capture;
use crate::hash::fnv_1a;
use crate::network::{AdapterFunction, Function, LoopbackFunction};
use crate::url::Url;
use block_store::{BlockStore, KeepingStore, MemoryStore, OpenError, Records, RecordsError, StoreKind, StoreSpec};
use iscsi_node::target::{AccessList, AccessRule, Moved, Portal, PortalAddress, Redirect, TargetConfig};
use iscsi_session::{Authentication, Limits};
use iscsi_transport::Capture;
use scsi_block::copy::TokenSecret;
use scsi_block::designator::{Association, Designator};
use scsi_block::protection::ProtectionType;
use scsi_block::vpd::ManagementAddress;
use scsi_block::{ConfigError, Geometry, LogicalUnitConfig, LogicalUnitNumber, TargetDevice};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Connections that a server takes at most, unless told otherwise.
const CONNECTIONS_MAX: usize = 16_384;

/// How long a busy core looks for more before it sleeps, unless told otherwise: as long as a busy initiator may take for a batch of answers.
const BUSY_POLL: Duration = Duration::from_micros(200);

/// Version descriptor of iSCSI, no version claimed (SPC-5 clause 6.6.2).
const ISCSI_VERSION: u16 = 0x0960;

/// Product identification of a disk that keeps no data.
const NULL_PRODUCT: &str = "NULL (no data)";

/// A logical unit and the store that holds its blocks.
#[derive(Clone, Debug)]
pub struct Disk {
    store: Arc<dyn BlockStore>,
    description: String,
    unit: LogicalUnitConfig,
}

impl Disk {
    /// A disk over any store.
    #[must_use]
    pub fn new(store: Arc<dyn BlockStore>, unit: LogicalUnitConfig) -> Self {
        Self { store, unit, description: "other".into() }
    }

    /// A disk in memory, `bytes` long, rounded down to blocks of 512 bytes; empty, and costing nothing until it is written to.
    #[must_use]
    pub fn memory(bytes: u64) -> Self {
        let store = Arc::new(MemoryStore::new(Geometry { block_size: 512, blocks: bytes / 512 }));
        let unit = LogicalUnitConfig { thin: true, ..LogicalUnitConfig::new(store.geometry(), "memory") };
        Self { description: "memory".into(), ..Self::new(store, unit) }
    }

    /// A disk as an operator describes it.
    ///
    /// # Errors
    /// If the store cannot be opened.
    pub fn open(spec: &StoreSpec) -> Result<Self, OpenError> {
        let store = spec.open()?;
        let serial = spec.serial.clone().unwrap_or_else(|| default_serial(&spec.kind));
        let mut unit = LogicalUnitConfig {
            read_only: spec.read_only,
            write_cache: spec.write_cache,
            thin: !matches!(spec.kind, StoreKind::Null { .. }),
            physical_block_exponent: spec.physical_block_exponent(),
            removable: spec.removable,
            protection: spec.protection.and_then(ProtectionType::from_number),
            ..LogicalUnitConfig::new(Geometry { block_size: spec.block_size, ..store.geometry() }, serial)
        };
        unit.limits.atomic_bytes_max = store.atomic_bytes_max().min(unit.limits.transfer_bytes_max);
        if matches!(spec.kind, StoreKind::Null { .. }) {
            unit.identity.product = NULL_PRODUCT.into();
        }
        Ok(Self { description: describe(&spec.kind), ..Self::new(store, unit) })
    }
}

impl Disk {
    /// What the disk says of itself.
    pub fn unit_mut(&mut self) -> &mut LogicalUnitConfig {
        &mut self.unit
    }

    /// Where its blocks are, for people.
    pub(super) fn description(&self) -> &str {
        &self.description
    }

    /// The logical unit that the disk is as part of a target.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(super) fn unit_of(&self, target: &str, number: u16) -> io::Result<LogicalUnitConfig> {
        let mut unit = self.unit.clone();
        if unit.token_secret.is_none() {
            unit.token_secret = Some(token_secret()?);
        }
        unit.identity.serial = distinct_serial(target, number, &unit.identity.serial);
        // RFC 7143 4.4.2-1: the device has the name of the node.
        unit.identity.designators.push(Designator::scsi_name(Association::TargetDevice, Some(ISCSI), target));
        unit.identity.transport_version = Some(ISCSI_VERSION);
        Ok(unit)
    }

    /// Where its blocks are, and the records of its unit if there is a folder for them. The unit gets those that there are.
    ///
    /// # Errors
    /// They cannot be read, or another unit has them.
    pub(super) fn into_store(
        self,
        unit: &mut LogicalUnitConfig,
        records: Option<&Arc<Records>>,
    ) -> Result<Arc<dyn BlockStore>, RecordsError> {
        let Some(records) = records else { return Ok(self.store) };
        let records = records.of_unit(&unit.identity.serial)?;
        unit.kept = Some(records.load()?);
        Ok(Arc::new(KeepingStore::new(self.store, records)?))
    }
}

/// What a store is called by people.
fn describe(kind: &StoreKind) -> String {
    match kind {
        StoreKind::Memory { .. } => "memory".into(),
        StoreKind::Null { .. } => "null".into(),
        StoreKind::File { path, .. } => path.display().to_string(),
    }
}

/// The same store has the same serial number whenever it is opened.
fn default_serial(kind: &StoreKind) -> String {
    match kind {
        StoreKind::Memory { .. } => "memory".into(),
        StoreKind::Null { .. } => "null".into(),
        StoreKind::File { path, .. } => {
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            format!("file-{:016x}", fnv_1a(path.as_os_str().as_encoded_bytes()))
        }
    }
}

/// An iSCSI target to be served.
#[derive(Debug)]
pub struct Target {
    name: String,
    alias: Option<String>,
    disks: Vec<(u16, Disk)>,
    authentication: Authentication,
    access: Option<Vec<AccessRule>>,
    resettable: bool,
    moved: Option<Moved>,
    redirects: Vec<Redirect>,
    limits: Option<Limits>,
    window: Option<u32>,
    portal_groups: Option<Vec<u16>>,
    management_addresses: Vec<ManagementAddress>,
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
            portal_groups: None,
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
    pub fn lun(mut self, number: u16, disk: Disk) -> Self {
        self.disks.push((number, disk));
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

    /// What is negotiated with this target at most, instead of what the server's [`limits`](ServerBuilder::limits) say; segments are not longer
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

    /// Is reached through the portal groups with these tags alone; through all unless this is said.
    #[must_use]
    pub fn portal_groups(mut self, tags: impl IntoIterator<Item = u16>) -> Self {
        self.portal_groups = Some(tags.into_iter().collect());
        self
    }

    /// The configuration of the target, and the stores of its units in the device's order.
    fn into_config(
        mut self,
        groups: &[PortalGroup],
        records: Option<&Arc<Records>>,
    ) -> Result<(TargetConfig, Vec<Medium>), StartError> {
        let name = normalise(&self.name)?;
        let mut access = self.access;
        for name in access.iter_mut().flatten().flat_map(|rule| &mut rule.initiators) {
            *name = normalise(name)?;
        }
        self.disks.sort_by_key(|(number, _)| *number);
        let (mut units, mut stores) = (Vec::new(), Vec::new());
        for (number, disk) in self.disks {
            let mut unit = disk.unit_of(&name, number).map_err(|error| StartError::Configuration(error.to_string()))?;
            unit.identity.management_addresses.extend(self.management_addresses.iter().cloned());
            let description = disk.description.clone();
            stores.push(Medium { store: disk.into_store(&mut unit, records)?, description });
            units.push((LogicalUnitNumber::from(number), unit));
        }
        let own = |group: &&PortalGroup| self.portal_groups.as_ref().is_none_or(|tags| tags.contains(&group.tag));
        let groups = groups.iter().filter(own).map(|group| group.of_target(&name));
        let device = TargetDevice::with_ports(groups, units).map_err(|error| match error {
            ConfigError::Kept { .. } => StartError::Kept(error),
            error => StartError::Configuration(error.to_string()),
        })?;
        let config = TargetConfig {
            name,
            alias: self.alias,
            device: Arc::new(device),
            authentication: self.authentication,
            access: access.map(AccessList::of).unwrap_or_default(),
            resettable: self.resettable,
            moved: self.moved.map(check_moved).transpose()?,
            redirects: self.redirects,
            limits: self.limits,
            window: self.window,
        };
        Ok((config, stores))
    }
}

/// What the tokens of a unit are made with, as long as it is there.
fn token_secret() -> io::Result<TokenSecret> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(TokenSecret::new(random))
}

/// Disks in memory have no name of their own: where they are makes one.
fn distinct_serial(target: &str, number: u16, serial: &str) -> String {
    if matches!(serial, "memory" | "null") {
        format!("{serial}-{:016x}-{number}", fnv_1a(target.as_bytes()))
    } else {
        serial.into()
    }
}

/// What an initiator cannot go to is not told to it.
fn check_moved(moved: Moved) -> Result<Moved, StartError> {
    let wrong = || StartError::Configuration(format!("{:?} is no host[:port] to send initiators to", moved.address));
    let is_portal =
        !moved.address.contains(['/', '?', '@']) && format!("iscsi://{}", moved.address).parse::<Url>().is_ok();
    if is_portal { Ok(moved) } else { Err(wrong()) }
}

fn normalise(name: &str) -> Result<String, StartError> {
    iscsi_session::normalise_name(name).map_err(|error| StartError::Configuration(error.to_string()))
}

/// A server to be; see [`Server::builder`].
#[derive(Debug, Default)]
pub struct ServerBuilder {
    listen: Vec<(SocketAddr, u16)>,
    groups: Vec<PortalGroup>,
    targets: Vec<Target>,
    portal: Portal,
    cores: Option<usize>,
    processors: Vec<usize>,
    connections_max: Option<usize>,
    busy_poll: Option<Duration>,
    capture: Option<PathBuf>,
    state: Option<PathBuf>,
    function: Option<Function>,
}

/// What a server is made of.
pub(super) struct Parts {
    pub(super) portal: Portal,
    pub(super) stores: Stores,
    pub(super) records: Option<Arc<Records>>,
    pub(super) listen: Vec<(SocketAddr, u16)>,
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
        self.listen.push((address, tag));
        self
    }

    /// How the disks of all targets are reached through a portal group until somebody changes that: in the best way unless this is said.
    #[must_use]
    pub fn portal_group(mut self, group: PortalGroup) -> Self {
        self.groups.push(group);
        self
    }

    /// Serves a target too.
    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    /// Number of loops, each on a thread of its own; one a processor unless this is said.
    #[must_use]
    pub fn cores(mut self, cores: usize) -> Self {
        self.cores = Some(cores);
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
        self.portal.advertised_addresses.push(PortalAddress { address: address.into(), portal_group_tag: tag });
        self
    }

    /// What is negotiated at most.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.portal.limits = limits;
        self
    }

    /// What an initiator has to prove before it may ask which targets there are; nothing unless this is said. With
    /// [`Authentication::or_none`] a proof is taken from those who offer it.
    #[must_use]
    pub fn discovery_authentication(mut self, authentication: Authentication) -> Self {
        self.portal.discovery_authentication = authentication;
        self
    }

    /// Connections that are served at most; 16384 unless this is said.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.connections_max = Some(connections);
        self
    }

    /// How long a core that has just served several commands looks for more before it sleeps; 200 us unless this is said, zero
    /// never does. Latency for processor time, and only as long as more does come.
    #[must_use]
    pub fn busy_poll(mut self, window: Duration) -> Self {
        self.busy_poll = Some(window);
        self
    }

    /// Time that a login may take; 15 s unless this is said.
    #[must_use]
    pub fn login_timeout(mut self, timeout: Duration) -> Self {
        self.portal.login_timeout = timeout;
        self
    }

    /// Writes all that is sent and received to a pcapng file, payload included.
    #[must_use]
    pub fn capture(mut self, file: impl Into<PathBuf>) -> Self {
        self.capture = Some(file.into());
        self
    }

    /// Keeps what disks have to know after a loss of power, such as persistent reservations, in this folder, which is made if need be. Without
    /// one, initiators are told that nothing of the kind is kept.
    #[must_use]
    pub fn state(mut self, folder: impl Into<PathBuf>) -> Self {
        self.state = Some(folder.into());
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

    pub(super) fn into_parts(self) -> Result<Parts, StartError> {
        let mut portal = self.portal;
        if self.listen.is_empty() {
            return Err(StartError::Configuration("no address to listen on was given".into()));
        }
        let groups = portal_groups::groups(&self.listen, &self.groups, &portal.advertised_addresses)?;
        let records = self.state.map(Records::open).transpose()?.map(Arc::new);
        let mut stores = Vec::new();
        for target in self.targets {
            let (config, units) = target.into_config(&groups, records.as_ref())?;
            if portal.targets.iter().any(|other| other.name == config.name) {
                return Err(StartError::Configuration(format!("target {} is given twice", config.name)));
            }
            portal.targets.push(config);
            stores.push(units.into_iter().map(Some).collect());
        }
        if self.function.is_some() && self.cores.is_some_and(|cores| cores > 1) {
            let text = "a function of an adapter, or an end within the process, belongs to one loop: take one core";
            return Err(StartError::Configuration(text.into()));
        }
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Parts {
            portal,
            stores,
            records,
            listen: self.listen,
            cores: if self.function.is_some() { 1 } else { self.cores.unwrap_or_else(processors).max(1) },
            function: self.function,
            processors: self.processors,
            connections_max: self.connections_max.unwrap_or(CONNECTIONS_MAX),
            busy_poll: self.busy_poll.unwrap_or(BUSY_POLL),
            capture: self.capture.map(|file| capture::create(&file)).transpose()?,
        })
    }
}
