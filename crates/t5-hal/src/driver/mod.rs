//! The driver: connections on an adapter, as messages to it and from it.
//!
//! ```text
//!   connect, listen ──┐                 ┌─ control queue: opens, tables, TCB, window ──> adapter
//!   send, flush ──────┼── Driver<Bus> ──┼─ data queue: page pods, PDUs, closes ────────>
//!   reserve, release ─┘        │        └─ ingress queue and free list <───────────────
//!                              └── poll_event, receive
//! ```
//!
//! A driver belongs to one thread and one function of an adapter. It never blocks but for bring-up, which asks a clock of the
//! caller's; [`poll`](Driver::poll) is told the time. Trouble with one connection ends that connection.

mod bring_up;
mod config;
mod connection;
mod error;
mod filter;
mod host;
mod identify;
mod incoming;
pub mod initiator;
mod mailbox;
mod open;
mod placement;
mod policy;
mod queues;
mod receive;
mod share;
mod transmit;

pub use bring_up::Adapter;
pub use config::DriverConfig;
pub use connection::OffloadMode;
pub use error::DriverError;
pub use filter::{FilterError, FilterRule, FilterVerdict};
pub use host::HOST_ADDRESSES_MAX;
pub use identify::{FirmwareVersion, Identification, identify};
pub use mailbox::execute;
pub use open::{MTU_TABLE, OpenTarget};
pub use placement::{PLACE_BYTES_MAX, PODS_OF_PLACE_MAX, Placed, Placements};
pub use policy::Offload;
pub use transmit::SEND_QUEUE_BYTES_MAX;

use crate::bus::Bus;
use crate::dma::Heap;
use crate::queue::EgressQueue;
use crate::wire::*;
use bring_up::bring_up;
use connection::{Connection, State};
use host::HostStack;
use incoming::Incoming;
use iscsi_transport::{PortError, PortErrorKind, Received};
use open::{Listener, NextHops, Opening};
use slab::Slab;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use t5_policy::Program;

/// Longest data segment of a PDU, in bytes: what is left of the adapter's 16224 without headers and digests, in whole sectors.
pub const SEGMENT_BYTES_MAX: u32 = 15872;
/// Most bytes of additional header segments of a PDU.
pub const AHS_BYTES_MAX: u32 = 256;

/// How long a peer may take to close its direction once ours is closed.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// Most messages that wait for room in one queue: more than all connections of an adapter have to say at once.
const WAITING_MAX: usize = 1 << 16;

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverEvent {
    /// A listener listens, or was refused with that status.
    Listening {
        /// Which.
        listener: u32,
        /// The status of its refusal.
        result: Result<(), u8>,
    },
    /// A listener has ended.
    ListenerClosed {
        /// Which.
        listener: u32,
    },
    /// A peer has connected.
    Accepted {
        /// By which listener.
        listener: u32,
        /// The connection.
        connection: u32,
    },
    /// An active open has become a connection.
    Connected {
        /// Which open.
        open: u32,
        /// The connection.
        connection: u32,
    },
    /// An active open has failed with that status.
    OpenFailed {
        /// Which open.
        open: u32,
        /// A [`CplStatus`].
        status: u8,
    },
    /// What became of a filter that was asked for, or for the end of one.
    Filter {
        /// Its index.
        index: u32,
        /// What became of it; none if the adapter says what is nothing.
        result: Option<FilterResult>,
    },
    /// What a filter has counted since it was set.
    FilterHits {
        /// Its index.
        index: u32,
        /// Frames, modulo 2^32.
        frames: u32,
        /// Their bytes.
        bytes: u64,
    },
    /// A connection has something to receive, or room to send, or has ended: receive until there is nothing, and flush.
    Ready {
        /// The connection.
        connection: u32,
    },
}

#[derive(Debug)]
struct Queues {
    control: EgressQueue,
    data: EgressQueue,
    /// For frames, where the driver answers for addresses.
    frames: Option<EgressQueue>,
    incoming: Vec<Incoming>,
}

/// The driver of one function of an adapter.
#[derive(Debug)]
pub struct Driver<B> {
    bus: B,
    config: DriverConfig,
    adapter: Adapter,
    queues: Queues,
    policy: Option<Arc<Program>>,
    /// Blocks that are only read and written, for payload on its way out.
    send_heap: Heap,
    /// When more was left in the ingress queues than is handled at once.
    unread_since: Option<Instant>,
    /// Blocks that can be frozen, for places.
    place_heap: Heap,
    placements: Placements,
    next_hops: NextHops,
    host: Option<HostStack>,
    listeners: Slab<Listener>,
    openings: Slab<Opening>,
    /// By tid.
    connections: Vec<Option<Box<Connection>>>,
    /// Those that nobody owns any more.
    leaving: Vec<u32>,
    /// Those that wait for what others hold: room in the data queue, or memory.
    starved: Vec<u32>,
    /// Messages that wait for room in the control queue.
    backlog: VecDeque<Request>,
    /// Work requests that wait for room in the data queue.
    waiting: VecDeque<Box<[u8]>>,
    events: VecDeque<DriverEvent>,
    failure: Option<DriverError>,
    random: u64,
}

impl<B: Bus> Driver<B> {
    /// Brings up an adapter that is reached by `bus`. `clock` is asked while the firmware works.
    ///
    /// # Errors
    /// The adapter, its firmware, or the memory are not fit for it.
    pub fn bring_up(bus: B, config: DriverConfig, clock: &mut dyn FnMut() -> Instant) -> Result<Self, DriverError> {
        let memory = bus.memory();
        let (rings, buffers) = (memory.base()..memory.buffers(), memory.buffers()..memory.end());
        let mut send_heap = Heap::new(rings);
        let (adapter, queues) = bring_up(&bus, &mut send_heap, &config, ViFunction::Ethernet, clock)?;
        let pods = (adapter.pods.end - adapter.pods.start) / POD_BYTES;
        let mut driver = Self {
            placements: Placements::new(adapter.tag_format, pods),
            next_hops: NextHops::new(adapter.next_hops.clone()),
            host: (!config.addresses.is_empty())
                .then(|| HostStack::new(adapter.mac, &config.addresses, config.mtu, config.seed, clock())),
            listeners: Slab::new(),
            openings: Slab::new(),
            connections: (0..adapter.tids).map(|_| None).collect(),
            leaving: Vec::new(),
            starved: Vec::new(),
            backlog: VecDeque::new(),
            waiting: VecDeque::new(),
            events: VecDeque::new(),
            failure: None,
            random: config.seed,
            place_heap: Heap::new(buffers),
            bus,
            config,
            adapter,
            queues,
            policy: None,
            send_heap,
            unread_since: None,
        };
        driver.write_source_address();
        driver.ring();
        Ok(driver)
    }

    /// What the adapter has told.
    #[must_use]
    pub fn adapter(&self) -> &Adapter {
        &self.adapter
    }

    /// The bus.
    #[must_use]
    pub fn bus(&self) -> &B {
        &self.bus
    }

    /// Why the driver can go on no more, if it cannot.
    #[must_use]
    pub fn failure(&self) -> Option<&DriverError> {
        self.failure.as_ref()
    }

    /// Places in use: page pods that tags in use stand for.
    #[must_use]
    pub fn places_in_use(&self) -> usize {
        self.placements.in_use()
    }

    /// Connections that the adapter or an owner still has.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.connections.iter().flatten().count()
    }

    /// Handles what the adapter has to say, and what is due at that time.
    pub fn poll(&mut self, now: Instant) {
        self.unread_since = self.handle_ingress().then_some(now);
        self.retry_opens(now);
        self.end_leaving(now);
        self.answer_frames(now);
        self.ring();
    }

    /// When [`poll`](Self::poll) has something to do though nothing comes: that may be past, as what it does is bounded.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let retries = self.openings.iter().filter_map(|(_, opening)| opening.retry_at());
        let leaving = self.leaving.iter().filter_map(|&tid| Some(self.connection(tid)?.left_at? + CLOSE_PATIENCE));
        retries.chain(leaving).chain(self.unread_since).min()
    }

    /// Asks for an interrupt once something comes; call [`poll`](Self::poll) once more before sleeping on it.
    pub fn arm(&mut self) {
        for incoming in &mut self.queues.incoming {
            incoming.queue.report(&self.bus, true);
        }
    }

    /// The next thing that has happened.
    pub fn poll_event(&mut self) -> Option<DriverEvent> {
        self.events.pop_front()
    }

    /// Both ends of a connection, ours first.
    #[must_use]
    pub fn addresses(&self, connection: u32) -> Option<(SocketAddr, SocketAddr)> {
        self.connection(connection).map(|connection| (connection.local, connection.peer))
    }

    fn connection(&self, tid: u32) -> Option<&Connection> {
        self.connections.get(tid as usize)?.as_deref()
    }

    fn connection_mut(&mut self, tid: u32) -> Option<&mut Connection> {
        self.connections.get_mut(tid as usize)?.as_deref_mut()
    }

    /// The connection of an owner, who has it until it is closed.
    fn owned(&mut self, tid: u32) -> &mut Connection {
        self.connection_mut(tid).expect("a connection lives until its owner closes it")
    }

    /// Tells the owner of a connection to look.
    fn announce(&mut self, tid: u32) {
        let Some(connection) = self.connection_mut(tid) else { return };
        if !connection.abandoned && connection.state != State::Accepting && !connection.announced {
            connection.announced = true;
            self.events.push_back(DriverEvent::Ready { connection: tid });
        }
    }

    /// Remembers that a connection waits for what others hold.
    fn starve(&mut self, tid: u32) {
        if !std::mem::replace(&mut self.owned(tid).starved, true) {
            self.starved.push(tid);
        }
    }

    /// Tells all who wait for what others held: some of it has come back.
    fn feed(&mut self) {
        for tid in std::mem::take(&mut self.starved) {
            if let Some(connection) = self.connection_mut(tid) {
                connection.starved = false;
                self.announce(tid);
            }
        }
    }

    /// Ends one connection: what it was doing wrong is told to its owner, and the peer gets a RST.
    fn fail_connection(&mut self, tid: u32, kind: PortErrorKind, text: impl Into<std::borrow::Cow<'static, str>>) {
        let Some(connection) = self.connection_mut(tid) else { return };
        connection.fail(kind, text);
        if matches!(connection.state, State::Established | State::Closing { .. } | State::Accepting) {
            self.abort(tid);
        }
        self.announce(tid);
    }

    /// Ends everything: the adapter cannot be trusted any more.
    fn fail_all(&mut self, error: DriverError) {
        let text = error.to_string();
        self.failure.get_or_insert(error);
        for tid in 0..self.connections.len() as u32 {
            if let Some(connection) = self.connection_mut(tid) {
                connection.fail(PortErrorKind::Io, text.clone());
                connection.state = State::Ended;
                self.announce(tid);
            }
        }
    }

    /// Sends a message to the adapter that is not about data.
    fn control(&mut self, message: impl Into<Request>) {
        if self.backlog.len() >= WAITING_MAX {
            return self.fail_unread(self.queues.control.id());
        }
        self.backlog.push_back(message.into());
        self.send_backlog();
    }

    /// Ends everything, as the adapter does not read what it has asked for.
    fn fail_unread(&mut self, queue: u32) {
        if self.failure.is_none() {
            let text = format!("{WAITING_MAX} messages wait for room, and the adapter does not read");
            self.fail_all(DriverError::Queue { queue, text });
        }
    }

    fn send_backlog(&mut self) {
        while let Some(message) = self.backlog.front() {
            if message.as_bytes().len() > self.queues.control.room_bytes() {
                return;
            }
            self.queues.control.push(&self.bus, &[message.as_bytes()]);
            self.backlog.pop_front();
        }
    }

    /// Tells the adapter of all that is new in the queues.
    fn ring(&mut self) {
        self.send_backlog();
        self.send_waiting();
        self.queues.control.ring(&self.bus);
        self.queues.data.ring(&self.bus);
        if let Some(frames) = &mut self.queues.frames {
            frames.ring(&self.bus);
        }
    }

    /// Reserves a tag that names a place for `bytes` bytes, unless there is none, or it is not worth it.
    pub fn reserve(&mut self, tid: u32, bytes: u32) -> Option<u32> {
        let connection = self.connections[tid as usize].as_deref()?;
        let worth = connection.offload.mode == OffloadMode::Ulp
            && connection.is_open()
            && bytes >= self.config.placed_bytes_min;
        if !worth || bytes > PLACE_BYTES_MAX || !self.has_room_for_pods(tid) {
            return None;
        }
        let tag = self.placements.reserve(self.bus.memory(), &mut self.place_heap, tid, bytes)?;
        self.write_pods(tid, tag);
        self.owned(tid).places += 1;
        Some(tag)
    }

    /// Gives a tag back. Whether the connection had a place of that tag.
    pub fn release(&mut self, tid: u32, tag: u32) -> bool {
        let released = self.placements.release(tid, tag);
        if released {
            self.owned(tid).places -= 1;
        }
        released
    }

    /// Gives all places of a connection back.
    fn release_all(&mut self, tid: u32) {
        if std::mem::take(&mut self.owned(tid).places) > 0 {
            self.placements.release_all(tid);
        }
    }

    /// How the tags are cut.
    #[must_use]
    pub fn tag_format(&self) -> TagFormat {
        self.adapter.tag_format
    }

    /// Why nothing more will come on a connection, if so.
    #[must_use]
    pub fn end_of(&self, tid: u32) -> Option<PortError> {
        self.connection(tid)?.end().err()
    }

    /// The owner of a connection does not go on with it: it is broken off when it is closed, unless the peer has closed it.
    pub fn give_up(&mut self, tid: u32, error: &PortError) {
        let connection = self.owned(tid);
        connection.failure.get_or_insert_with(|| error.clone());
        connection.drop_queue();
    }

    /// The next thing that has come on a connection; why there will be no more.
    ///
    /// # Errors
    /// The connection is over, and everything that came before was taken.
    pub fn receive(&mut self, tid: u32) -> Result<Option<Received>, PortError> {
        if self.owned(tid).arrived.is_empty() {
            self.owned(tid).announced = false;
            self.handle_ingress();
            self.ring();
        }
        let window_max = self.config.receive_window_bytes / 4;
        let connection = self.owned(tid);
        let Some(arrived) = connection.arrived.pop_front() else {
            return connection.end().map(|()| None).inspect_err(|error| {
                // The end stays: nothing is sent after it was told.
                connection.failure.get_or_insert_with(|| error.clone());
            });
        };
        connection.window_owed += arrived.window_bytes;
        if connection.window_owed >= window_max {
            self.return_window(tid);
            self.ring();
        }
        Ok(Some(arrived.what))
    }
}

impl Connection {
    /// Why nothing more will come, if so.
    fn end(&self) -> Result<(), PortError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if self.peer_closed {
            return Err(PortError::new(PortErrorKind::Closed, "the peer has closed the connection"));
        }
        Ok(())
    }
}
