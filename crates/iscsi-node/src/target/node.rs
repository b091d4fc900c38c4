//! The node: all connections of one core.

use super::connection::Connection;
use super::event::{ConnectionId, Event, IoRequest, Outbox};
use super::portal::Portal;
use iscsi_pdu::Tsih;
use iscsi_session::target::{Login, LoginConfig, Refusal};
use iscsi_transport::PduPort;
use scsi_block::io::IoDone;
use slab::Slab;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// All connections of one core.
///
/// The owner's turn: `accept` new ports; `drive` connections whose port became ready; `handle_timeout` when `poll_timeout` has
/// passed; carry `poll_io` to the stores and their ends to `handle_io_done`; `flush`; `poll_event`; and again, `drive_more` first, while
/// `has_more`.
pub struct TargetNode<P> {
    portal: Arc<Portal>,
    connections: Slab<Connection<P>>,
    generation: u32,
    outbox: Outbox,
    /// Connections with something to receive whose turn was over, each once.
    more: VecDeque<ConnectionId>,
    /// Connections that may have something to flush.
    to_flush: Vec<ConnectionId>,
    /// One entry a connection that has a time-out, no later than that.
    timers: BTreeSet<(Instant, ConnectionId)>,
}

impl<P: PduPort> TargetNode<P> {
    /// A node without connections.
    #[must_use]
    pub fn new(portal: Arc<Portal>) -> Self {
        Self {
            portal,
            connections: Slab::new(),
            generation: 0,
            outbox: Outbox::default(),
            more: VecDeque::new(),
            to_flush: Vec::new(),
            timers: BTreeSet::new(),
        }
    }

    /// The name that the next connection will have.
    #[must_use]
    pub fn next_connection(&self) -> ConnectionId {
        ConnectionId { index: self.connections.vacant_key() as u32, generation: self.generation.wrapping_add(1) }
    }

    /// Takes a new connection. `local_address` is what the initiator has connected to, `host:port`; `random` is unpredictable and
    /// used once.
    pub fn accept(&mut self, now: Instant, port: P, local_address: String, random: [u8; 32]) -> ConnectionId {
        let config = LoginConfig {
            limits: self.portal.limits.clone(),
            timeout: self.portal.login_timeout,
            window: self.portal.window,
        };
        let id = self.next_connection();
        self.generation = id.generation;
        self.connections.insert(Connection::new(id, port, Login::new(config, random, now), local_address));
        self.settle(id);
        id
    }

    /// The port of a connection may have become readable or writable.
    pub fn drive(&mut self, now: Instant, id: ConnectionId) {
        if let Some(connection) = find(&mut self.connections, id) {
            if connection.pump(now, &self.portal, &mut self.outbox) {
                self.drive_later(id);
            }
            self.settle(id);
        }
    }

    /// As `drive`, for the connection with this index, if there is one. `read_closed` says that its peer sends no more.
    pub fn drive_index(&mut self, now: Instant, index: usize, read_closed: bool) {
        if let Some(connection) = self.connections.get_mut(index) {
            connection.read_closed |= read_closed;
            let id = connection.id();
            self.drive(now, id);
        }
    }

    /// Whether there is something to do at once, without waiting for the world: in `drive_more`, `poll_io` or `poll_event`.
    #[must_use]
    pub fn has_more(&self) -> bool {
        !self.more.is_empty() || !self.outbox.requests.is_empty() || !self.outbox.events.is_empty()
    }

    /// Gives a turn to each connection that had more to receive than one turn allows.
    pub fn drive_more(&mut self, now: Instant) {
        for _ in 0..self.more.len() {
            if let Some(id) = self.more.pop_front() {
                if let Some(connection) = find(&mut self.connections, id) {
                    connection.has_more = false;
                }
                self.drive(now, id);
            }
        }
    }

    /// A block I/O has ended.
    pub fn handle_io_done(&mut self, id: u64, done: IoDone) {
        let (connection, task) = self.outbox.ios.remove(id as usize);
        if let Some(found) = find(&mut self.connections, connection) {
            found.handle_io_done(task, done, &self.portal, &mut self.outbox);
            self.settle(connection);
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, id)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            if let Some(connection) = find(&mut self.connections, id) {
                connection.timer_at = None;
                if connection.poll_timeout().is_some_and(|due| due <= now) {
                    connection.handle_timeout(now, &self.portal, &mut self.outbox);
                }
                self.settle(id);
            }
        }
    }

    /// When `handle_timeout` is to be called; it may find nothing to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Hands everything that was queued to the world: one gathered write a connection.
    pub fn flush(&mut self) {
        let mut list = std::mem::take(&mut self.to_flush);
        for id in list.drain(..) {
            if let Some(connection) = find(&mut self.connections, id) {
                connection.to_flush = false;
                if connection.flush(&self.portal, &mut self.outbox) {
                    self.drive_later(id);
                }
                self.settle_without_flush(id);
            }
        }
        list.append(&mut self.to_flush);
        self.to_flush = list;
    }

    /// The next block I/O for a store.
    pub fn poll_io(&mut self) -> Option<IoRequest> {
        self.outbox.requests.pop_front()
    }

    /// The next thing to know or to decide.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.outbox.events.pop_front()
    }

    /// Answers [`Event::Admit`]: the session may begin under this handle.
    pub fn admit(&mut self, now: Instant, id: ConnectionId, tsih: Tsih) {
        if let Some(connection) = find(&mut self.connections, id) {
            connection.admit(now, tsih, &self.portal, &mut self.outbox);
            self.settle(id);
        }
    }

    /// Answers [`Event::Admit`]: the session may not begin.
    pub fn refuse(&mut self, now: Instant, id: ConnectionId, refusal: Refusal) {
        if let Some(connection) = find(&mut self.connections, id) {
            connection.refuse(now, refusal, &self.portal, &mut self.outbox);
            self.settle(id);
        }
    }

    /// Ends a connection without a word, as session reinstatement does (RFC 7143 section 6.3.5).
    pub fn end(&mut self, id: ConnectionId) {
        if let Some(connection) = find(&mut self.connections, id) {
            connection.kill();
            self.settle(id);
        }
    }

    /// Ends all sessions of one target without a word (RFC 7143 section 11.5.1, TARGET COLD RESET).
    pub fn end_sessions_of(&mut self, target: usize) {
        for id in self.ids(|connection| connection.target() == Some(target)) {
            self.end(id);
        }
    }

    /// Ends all connections without a word.
    pub fn end_all(&mut self) {
        for id in self.ids(|_| true) {
            self.end(id);
        }
    }

    /// Asks every initiator to log out, and drops logins that are under way.
    pub fn request_logout(&mut self, now: Instant) {
        for id in self.ids(|_| true) {
            if let Some(connection) = find(&mut self.connections, id) {
                connection.request_logout(now, &self.portal, &mut self.outbox);
                self.settle(id);
            }
        }
    }

    /// Number of connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    fn ids(&self, wanted: impl Fn(&Connection<P>) -> bool) -> Vec<ConnectionId> {
        self.connections.iter().map(|(_, c)| c).filter(|c| wanted(c)).map(Connection::id).collect()
    }

    /// Gives a connection a turn of its own, one however often it is asked for: who is always ready is served like the others.
    fn drive_later(&mut self, id: ConnectionId) {
        if let Some(connection) = find(&mut self.connections, id)
            && !connection.has_more
        {
            connection.has_more = true;
            self.more.push_back(id);
        }
    }

    /// After anything was done to a connection: remembers that it may have something to flush, and when it wants to be woken.
    fn settle(&mut self, id: ConnectionId) {
        if let Some(connection) = find(&mut self.connections, id)
            && !connection.to_flush
        {
            connection.to_flush = true;
            self.to_flush.push(id);
        }
        self.settle_without_flush(id);
    }

    fn settle_without_flush(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        if connection.is_over() {
            if let Some(at) = connection.timer_at {
                self.timers.remove(&(at, id));
            }
            self.connections.remove(id.index as usize);
            self.outbox.events.push_back(Event::Ended { connection: id });
            return;
        }
        if let Some(due) = connection.poll_timeout()
            && connection.timer_at.is_none_or(|at| due < at)
        {
            if let Some(at) = connection.timer_at.replace(due) {
                self.timers.remove(&(at, id));
            }
            self.timers.insert((due, id));
        }
    }
}

impl<P> std::fmt::Debug for TargetNode<P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TargetNode").field("connections", &self.connections.len()).finish_non_exhaustive()
    }
}

fn find<P>(connections: &mut Slab<Connection<P>>, id: ConnectionId) -> Option<&mut Connection<P>>
where
    P: PduPort,
{
    connections.get_mut(id.index as usize).filter(|connection| connection.id() == id)
}
