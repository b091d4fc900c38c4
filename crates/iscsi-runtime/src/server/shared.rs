//! What the cores of a server share: the portal, the stores, the registry of sessions, and a mailbox for each core.

use super::listeners::{Listener, Listeners};
use super::registry::Registry;
use super::sessions::SessionSelector;
use super::state::SessionState;
use crate::network::{DetachedPort, PolicyError};
use block_store::{BlockStore, Records};
use iscsi_node::target::{ConnectionId, Detached, Portal, StoreId};
use iscsi_pdu::Tsih;
use iscsi_session::target::LoginIdentity;
use iscsi_transport::Capture;
use mio::net::{TcpListener, TcpStream};
use parking_lot::{Mutex, RwLock};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use t5_policy::Program;

/// What one core tells another.
#[derive(Debug)]
pub(super) enum Message {
    /// Serve this connection, which came by this listener.
    Connection(TcpStream, Listener),
    /// This connection asks to join a session of yours.
    Join(Box<Detached<DetachedPort>>, LoginIdentity),
    /// End this session: another takes its place.
    End(Tsih),
    /// The session that this one replaces has ended.
    Admit(ConnectionId, Tsih),
    /// End all sessions of a target.
    EndSessionsOf(usize),
    /// Tell of your sessions.
    Tell(mpsc::Sender<Vec<SessionState>>),
    /// Ask the initiators of these sessions to log out, and tell which sessions they are.
    RequestLogout(Vec<SessionSelector>, mpsc::Sender<Vec<Tsih>>),
    /// Have this policy decide on connections that begin, and tell whether it can.
    Policy(Arc<Program>, mpsc::Sender<Result<(), PolicyError>>),
    /// Judge logins by this offer from now on, and say when you do.
    Offer(Arc<Portal>, mpsc::Sender<()>),
    /// Listen at that place and address, but take no connection yet, and tell whether it can be done.
    Reserve(usize, SocketAddr, mpsc::Sender<io::Result<()>>),
    /// Take connections of this socket too; or of the listener's place, which was reserved.
    Listen(Listener, Option<TcpListener>),
    /// Listen at that place no more.
    Unlisten(usize),
    /// What is listened on at that place is of that portal group.
    Regroup(usize, u16),
    /// This unit is gone: let go of its store.
    Close(StoreId),
    /// Take no new connection, ask all initiators to log out, and end what is left then.
    Drain(Instant),
}

/// A core's inbox.
#[derive(Debug)]
pub(super) struct Mailbox {
    messages: Mutex<Vec<Message>>,
    pub(super) waker: Arc<mio::Waker>,
}

impl Mailbox {
    pub(super) fn new(waker: Arc<mio::Waker>) -> Self {
        Self { messages: Mutex::new(Vec::new()), waker }
    }

    /// Leaves a message and wakes the core. Bounded by the number of connections, since each has few messages at a time.
    pub(super) fn send(&self, message: Message) {
        self.messages.lock().push(message);
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "cannot wake a core");
        }
    }

    pub(super) fn take(&self) -> Vec<Message> {
        std::mem::take(&mut *self.messages.lock())
    }
}

/// The stores by target, then by logical unit; none of units that are gone.
pub(super) type Stores = Vec<Vec<Option<Medium>>>;

/// A store, and what it is called.
#[derive(Clone, Debug)]
pub(super) struct Medium {
    pub(super) store: Arc<dyn BlockStore>,
    pub(super) description: String,
}

/// What all cores of a server see.
#[derive(Debug)]
pub(super) struct Shared {
    /// What is offered. Each core has it too, so that it need not look here.
    pub(super) portal: RwLock<Arc<Portal>>,
    pub(super) listeners: Mutex<Listeners>,
    /// Whether connections are carried by something else than the kernel's TCP.
    pub(super) has_function: bool,
    /// A core looks here when it first needs a store.
    pub(super) stores: RwLock<Stores>,
    /// Where records of units are kept, if they are.
    pub(super) records: Option<Arc<Records>>,
    pub(super) registry: Mutex<Registry>,
    /// The server is about to be shut down: nobody waits for initiators on behalf of a change.
    pub(super) is_ending: AtomicBool,
    pub(super) mailboxes: Vec<Mailbox>,
    /// Connections of each core.
    pub(super) loads: Vec<AtomicUsize>,
    /// Connections that one core takes at most.
    pub(super) connections_max: usize,
    /// How long a busy core looks for more before it sleeps.
    pub(super) busy_poll: Duration,
    pub(super) capture: Option<Capture>,
}

impl Shared {
    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// What is offered.
    pub(super) fn portal(&self) -> Arc<Portal> {
        Arc::clone(&self.portal.read())
    }

    /// The store of a unit, unless that is gone.
    pub(super) fn store(&self, id: StoreId) -> Option<Arc<dyn BlockStore>> {
        Some(Arc::clone(&self.stores.read()[id.target].get(id.unit)?.as_ref()?.store))
    }

    /// What the store of a unit is called, unless that is gone.
    pub(super) fn describe(&self, id: StoreId) -> Option<String> {
        Some(self.stores.read()[id.target].get(id.unit)?.as_ref()?.description.clone())
    }

    /// The store is that of a unit that is gone: nobody finds it any more, and cores that have it let go of it.
    pub(super) fn close(&self, id: StoreId) -> Option<Arc<dyn BlockStore>> {
        let store = self.stores.write()[id.target].get_mut(id.unit)?.take();
        self.mailboxes.iter().for_each(|mailbox| mailbox.send(Message::Close(id)));
        Some(store?.store)
    }

    /// The core that a new connection goes to: the one with the fewest, `own` if that is no worse. Counts it there.
    pub(super) fn place(&self, own: usize) -> usize {
        let load = |core: usize| self.loads[core].load(Ordering::Relaxed);
        let least = (0..self.loads.len()).min_by_key(|core| (load(*core), *core != own)).unwrap_or(own);
        self.enter(least);
        least
    }

    /// A core has one more connection.
    pub(super) fn enter(&self, core: usize) {
        self.loads[core].fetch_add(1, Ordering::Relaxed);
    }

    /// A connection of a core has ended, or gone to another.
    pub(super) fn leave(&self, core: usize) {
        self.loads[core].fetch_sub(1, Ordering::Relaxed);
    }
}
