//! An iSCSI target for people who embed one: [`Server`].

mod busy_poll;
mod change;
mod changes;
mod config;
mod configuration;
mod core;
mod difference;
mod disk;
mod judgement;
mod listeners;
mod making;
mod policy;
mod portal_groups;
mod registry;
mod reload;
mod sessions;
mod shared;
mod space;
mod state;
mod target;
mod unit;

pub use change::{Change, Effect, ServerSetting, TargetSetting};
pub use changes::ChangeError;
pub use config::ServerBuilder;
pub use configuration::Configuration;
pub use disk::{DescribedDisk, Disk, DiskSource};
pub use judgement::ReloadError;
pub use portal_groups::PortalGroup;
pub use reload::Report;
pub use sessions::{Dropped, SessionSelector};
pub use state::{ConnectionState, LunState, PortalGroupState, ServerState, SessionState, TargetState};
pub use target::Target;

use self::core::Core;
use self::listeners::{Listener, Listeners};
use self::shared::{Mailbox, Message, Shared};
use self::space::SpaceWatch;
use crate::network::Network;
use block_store::{BlockStore, IoId};
use rustix::thread::{CpuSet, sched_setaffinity};
use scsi_block::io::BlockIo;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The system refuses a thread, a descriptor or a file.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    /// A disk cannot be opened.
    #[error("{target}: LUN {number}: {error}")]
    Open {
        /// The target's name.
        target: String,
        /// The number of the logical unit.
        number: u16,
        /// What is wrong.
        error: block_store::OpenError,
    },
    /// The configuration makes no sense.
    #[error("{0}")]
    Configuration(String),
    /// What was kept cannot be read.
    #[error("{0}")]
    Records(#[from] block_store::RecordsError),
    /// What was kept is of no use to its unit.
    #[error("{0}")]
    Kept(scsi_block::ConfigError),
}

/// Why a shutdown was not clean.
#[derive(Debug, thiserror::Error)]
pub enum ShutdownError {
    /// A store could not be flushed: acknowledged writes that were not flushed by their initiator may be lost.
    #[error("cannot flush logical unit {unit} of {target}: {error}")]
    Flush {
        /// The target's name.
        target: String,
        /// Place of the logical unit.
        unit: usize,
        /// What the store says.
        error: scsi_block::io::IoError,
    },
    /// A core's loop has failed.
    #[error("a core has failed: {0}")]
    Core(String),
}

/// A running iSCSI target: one loop a core, until it is shut down or dropped.
///
/// ```
/// use iscsi_runtime::{Client, ClientConfig, Disk, Server, Target};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::builder()
///     .listen("127.0.0.1:0".parse()?)
///     .target(Target::new("iqn.2026-01.io.example:disk").lun(0, Disk::memory(1 << 20)))
///     .start()?;
///
/// let address = server.addresses()[0].to_string();
/// let client = Client::connect(ClientConfig::new(address, "iqn.2026-01.io.example:disk")).wait()?;
/// assert_eq!(client.disk(0).wait()?.blocks(), 2048);
/// client.logout().wait()?;
/// server.shutdown(std::time::Duration::from_secs(5))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    /// What is asked of the server. Whoever changes the server has it locked meanwhile.
    configuration: parking_lot::Mutex<Configuration>,
    threads: Vec<JoinHandle<io::Result<()>>>,
    _space: SpaceWatch,
}

impl Server {
    /// A configuration to fill in.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// Where the server listens, in the order in which that was asked for; with the ports that the system chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.shared.listeners.lock().addresses()
    }

    /// What says, from any thread, that the server is about to be shut down.
    #[must_use]
    pub fn shutdown_notice(&self) -> ShutdownNotice {
        ShutdownNotice(Arc::clone(&self.shared))
    }

    /// Ends the server: takes no new login, asks every initiator to log out, ends what is left after `patience`, and flushes
    /// every store, whatever becomes of the others.
    ///
    /// # Errors
    /// If a store could not be flushed, or a loop had failed; the first of them.
    pub fn shutdown(mut self, patience: Duration) -> Result<(), ShutdownError> {
        let mut end = self.drain(patience);
        for (target, units) in self.shared.portal().targets.iter().zip(self.shared.stores.read().iter()) {
            for (unit, medium) in units.iter().enumerate().filter_map(|(unit, medium)| Some((unit, medium.as_ref()?))) {
                let flushed = carry_out(&medium.store, BlockIo::Flush);
                let failed = |error| ShutdownError::Flush { target: target.name.clone(), unit, error };
                end = end.and(flushed.map_err(failed));
            }
        }
        end
    }

    fn start(builder: ServerBuilder) -> Result<Self, StartError> {
        let config::Parts {
            mut portal,
            stores,
            records,
            configuration,
            function,
            cores,
            processors,
            connections_max,
            busy_poll,
            capture,
        } = builder.into_parts()?;
        let has_function = function.is_some();
        let mut networks = match function {
            Some(function) => vec![Network::function(function)?],
            None => (0..cores).map(|_| Network::kernel()).collect::<io::Result<_>>()?,
        };
        // The first core accepts for all.
        let listen = |(place, &(asked, tag)): (usize, &(SocketAddr, u16))| {
            let wrong = |error| StartError::Listen { address: asked, error };
            Ok(Listener { address: networks[0].listen(asked).map_err(wrong)?, place, ..Listener::new(asked, tag) })
        };
        let listeners = configuration.portals.iter().enumerate().map(listen).collect::<Result<_, StartError>>();
        let listeners = Listeners(listeners?);
        portal.addresses = listeners.told();
        let all = listeners.0.clone();
        let mailboxes = networks.iter().map(|network| Mailbox::new(network.waker())).collect();
        let shared = Arc::new(Shared {
            portal: parking_lot::RwLock::new(Arc::new(portal)),
            listeners: parking_lot::Mutex::new(listeners),
            has_function,
            stores: parking_lot::RwLock::new(stores),
            records,
            registry: parking_lot::Mutex::default(),
            is_ending: AtomicBool::new(false),
            mailboxes,
            loads: (0..cores).map(|_| Default::default()).collect(),
            connections_max: connections_max.div_ceil(cores),
            busy_poll,
            capture,
        });
        let space = SpaceWatch::start(Arc::clone(&shared))?;
        let configuration = parking_lot::Mutex::new(configuration);
        let mut server = Self { shared, configuration, threads: Vec::new(), _space: space };
        for (index, network) in networks.into_iter().enumerate() {
            let shared = Arc::clone(&server.shared);
            let listeners = if index == 0 { all.clone() } else { Vec::new() };
            let processor = processors.get(index % processors.len().max(1)).copied();
            let run = move || {
                processor.into_iter().for_each(bind);
                Core::new(index, shared, network, listeners)?.run()
            };
            server.threads.push(std::thread::Builder::new().name(format!("iscsi-core-{index}")).spawn(run)?);
        }
        Ok(server)
    }

    fn drain(&mut self, patience: Duration) -> Result<(), ShutdownError> {
        let until = Instant::now() + patience;
        self.shared.mailboxes.iter().for_each(|mailbox| mailbox.send(Message::Drain(until)));
        let mut end = Ok(());
        for thread in self.threads.drain(..) {
            end = end.and(match thread.join() {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(ShutdownError::Core(error.to_string())),
                Err(_) => Err(ShutdownError::Core("its thread has panicked".into())),
            });
        }
        end
    }
}

/// Says that a server is about to be shut down, while it is being changed; see [`Server::shutdown_notice`].
#[derive(Clone, Debug)]
pub struct ShutdownNotice(Arc<Shared>);

impl ShutdownNotice {
    /// A reload that is under way waits for no initiator any more and leaves the rest undone, and others are refused.
    pub fn give(&self) {
        self.0.is_ending.store(true, Ordering::Relaxed);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.drain(Duration::ZERO) {
            tracing::error!(%error, "the server did not end well");
        }
    }
}

/// Has the calling thread run on one processor alone.
fn bind(processor: usize) {
    let mut set = CpuSet::new();
    if processor < CpuSet::MAX_CPU {
        set.set(processor);
    }
    if let Err(error) = sched_setaffinity(None, &set) {
        tracing::warn!(processor, %error, "a loop is not bound: this process may not use that processor");
    }
}

/// Has a store do something, and waits for that.
fn carry_out(store: &Arc<dyn BlockStore>, request: BlockIo) -> Result<(), scsi_block::io::IoError> {
    let (waker, woken) = crate::thread_waker::pair();
    let mut queue = Arc::clone(store).open_queue(waker);
    queue.submit(IoId(0), request);
    loop {
        if let Some((_, done)) = queue.poll() {
            return done.map(|_| ());
        }
        woken.wait();
    }
}
