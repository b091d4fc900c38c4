//! One core's loop: a network, stores and time around a [`TargetNode`].
//!
//! In: readiness from the network, messages from other cores, wake-ups from stores. Out: bytes, and messages to other cores.
//! Every turn handles all that is ready, then writes once to each connection that has something to say.

use super::busy_poll::BusyPoll;
use super::listeners::Listener;
use super::registry::{Claim, Owner};
use super::shared::{Mailbox, Message, Shared};
use crate::network::{DetachedPort, Endpoint, Happening, Network, Port, Stream};
use block_store::{BlockStore, IoId, StoreQueue};
use iscsi_node::target::{
    ConnectionId, Detached, Ends, Entrance, Event, IoRequest, PortalAddress, StoreId, TargetNode,
};
use iscsi_pdu::{LoginStatus, Tsih};
use iscsi_session::target::LoginIdentity;
use iscsi_transport::BufferPool;
use mio::net::TcpListener;
use scsi_block::IoError;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

/// Time without a new connection after the process has run out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a step of upkeep is called at its store; no request of the node has this number.
const UPKEEP: u64 = u64::MAX;

/// Block I/Os that are carried out before further connections are heard: what they read is sent while it is still in the cache, and
/// initiators have something to do meanwhile.
const IOS_AT_ONCE: usize = 64;

/// A store of the portal and this core's way to it.
struct Store {
    queue: Box<dyn StoreQueue>,
    in_flight: usize,
    /// Whether its unit is gone.
    is_gone: bool,
}

pub(super) struct Core {
    pub(super) index: usize,
    shared: Arc<Shared>,
    /// Connections have their index for a token.
    endpoint: Endpoint,
    pub(super) node: TargetNode<Port>,
    /// By target, then by logical unit; those that were needed yet.
    stores: Vec<Vec<Option<Store>>>,
    /// Stores with requests in flight or ends to fetch.
    busy_stores: Vec<StoreId>,
    /// What is listened on, by place; none where there is none any more.
    listeners: Vec<Option<Listener>>,
    accept_again: Option<Instant>,
    buffers: BufferPool,
    /// Steps of long commands, and of what units do without a task: each turn begins one, after all else.
    patient: VecDeque<IoRequest>,
    /// Whether the server shuts down.
    draining: bool,
    /// When the connections are ended that are left then, if that is to come yet.
    end_at: Option<Instant>,
}

impl Core {
    /// The core of the calling thread, whose network has these listeners at places from the first on.
    pub(super) fn new(
        index: usize,
        shared: Arc<Shared>,
        network: Network,
        listeners: Vec<Listener>,
    ) -> io::Result<Self> {
        let endpoint = network.open()?;
        let portal = shared.portal();
        let stores = portal.targets.iter().map(|_| Vec::new()).collect();
        Ok(Self {
            index,
            node: TargetNode::new(portal),
            shared,
            endpoint,
            stores,
            busy_stores: Vec::new(),
            listeners: listeners.into_iter().map(Some).collect(),
            accept_again: None,
            buffers: BufferPool::default(),
            patient: VecDeque::new(),
            draining: false,
            end_at: None,
        })
    }

    /// Runs until the server shuts down and the last connection has ended.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut happened = Vec::new();
        let mut busy_poll = BusyPoll::new(self.shared.busy_poll);
        // A restart may have interrupted something that goes on now.
        self.gather_upkeep();
        while !self.is_finished() {
            let now = Instant::now();
            let looks_again = busy_poll.looks_again(now);
            let timeout = if looks_again { Some(Duration::ZERO) } else { self.timeout(now) };
            self.endpoint.wait(&mut happened, timeout)?;
            if looks_again && happened.is_empty() && !self.node.has_more() && self.patient.is_empty() {
                continue;
            }
            let now = Instant::now();
            let ios = self.turn(&mut happened, now);
            busy_poll.handle_turn(now, ios);
        }
        Ok(())
    }

    fn is_finished(&self) -> bool {
        self.draining && self.node.connections() == 0 && self.node.sessions() == 0
    }

    fn timeout(&self, now: Instant) -> Option<Duration> {
        if self.node.has_more() || !self.patient.is_empty() {
            return Some(Duration::ZERO);
        }
        let due = [self.node.poll_timeout(), self.accept_again, self.end_at].into_iter().flatten().min()?;
        Some(due.saturating_duration_since(now))
    }

    /// Handles all that has come. Returns how many block I/Os began.
    fn turn(&mut self, happened: &mut Vec<Happening>, now: Instant) -> usize {
        self.tell_time(now);
        self.node.drive_more(now);
        let mut ios = 0;
        for happening in happened.drain(..) {
            match happening {
                Happening::Woken => self.handle_messages(now),
                Happening::Incoming(place) => self.accept(place, now),
                Happening::Ready(index, readiness) => {
                    if let Some(port) = self.node.port_mut(index) {
                        port.handle_readiness(readiness);
                    }
                    self.node.drive_index(now, index);
                    if self.node.waiting_ios() >= IOS_AT_ONCE {
                        ios += self.carry(now);
                        self.node.flush(now);
                    }
                }
                Happening::Connected(..) => unreachable!("a target begins no connection"),
            }
        }
        if self.accept_again.is_some_and(|at| at <= now) {
            self.accept_again = None;
            (0..self.listeners.len()).for_each(|place| self.accept(place, now));
        }
        self.node.handle_timeout(now);
        if self.end_at.take_if(|at| *at <= now).is_some() {
            self.node.end_all(now);
        }
        ios += self.carry(now);
        self.tell_time(now);
        self.answer(now);
        self.take_long_step(now);
        ios
    }

    fn answer(&mut self, now: Instant) {
        self.node.flush(now);
        self.handle_events(now);
        self.node.flush(now);
    }

    /// Begins one step of what takes long, now that all that was ready has been answered.
    fn take_long_step(&mut self, now: Instant) {
        self.gather_upkeep();
        let Some(request) = self.patient.pop_front() else { return };
        self.submit(request, now);
        self.carry(now);
        self.gather_upkeep();
        self.answer(now);
    }

    /// Tells the devices the time: before commands that a sleep was for, and after those that have made something that ends by it.
    fn tell_time(&self, now: Instant) {
        self.node.portal().targets.iter().for_each(|target| target.device.handle_timeout(now));
    }

    /// Carries block I/O to the stores and their ends back, until nothing moves. Returns how many there were.
    fn carry(&mut self, now: Instant) -> usize {
        let mut ios = 0;
        loop {
            while let Some(request) = self.node.poll_io() {
                ios += 1;
                match request.patient {
                    true => self.patient.push_back(request),
                    false => self.submit(request, now),
                }
            }
            let mut moved = false;
            self.busy_stores.retain(|store| {
                let slot = &mut self.stores[store.target][store.unit];
                let Some(found) = slot else { return false };
                while let Some((IoId(id), done)) = found.queue.poll() {
                    found.in_flight -= 1;
                    moved = true;
                    match id {
                        UPKEEP => self.node.portal().targets[store.target].device.handle_upkeep_done(store.unit, done),
                        _ => self.node.handle_io_done(now, id, done),
                    }
                }
                let is_busy = found.in_flight > 0;
                if found.is_gone && !is_busy {
                    *slot = None;
                }
                is_busy
            });
            if !moved {
                return ios;
            }
        }
    }

    /// Gives a request to its store. If the unit is gone meanwhile, it fails.
    fn submit(&mut self, IoRequest { id, store, io, .. }: IoRequest, now: Instant) {
        let Some(found) = self.store(store) else {
            if id != UPKEEP {
                self.node.handle_io_done(now, id, Err(IoError::NotReady));
            }
            return;
        };
        let is_idle = found.in_flight == 0;
        found.in_flight += 1;
        found.queue.submit(IoId(id), io);
        if is_idle {
            self.busy_stores.push(store);
        }
    }

    /// This core's way to a store, which is opened when it is first needed.
    fn store(&mut self, id: StoreId) -> Option<&mut Store> {
        let units = &mut self.stores[id.target];
        if units.len() <= id.unit {
            units.resize_with(id.unit + 1, || None);
        }
        let slot = &mut units[id.unit];
        if slot.is_none() {
            let waker = self.shared.mailboxes[self.index].waker();
            let open =
                |store: Arc<dyn BlockStore>| Store { queue: store.open_queue(waker), in_flight: 0, is_gone: false };
            *slot = self.shared.store(id).map(open);
        }
        slot.as_mut()
    }

    /// A unit is gone: its store is let go of when nothing is in flight.
    fn close(&mut self, id: StoreId) {
        let Some(slot) = self.stores[id.target].get_mut(id.unit) else { return };
        match slot {
            Some(store) if store.in_flight > 0 => store.is_gone = true,
            _ => *slot = None,
        }
    }

    /// Takes up what units do without a task, one step of each.
    fn gather_upkeep(&mut self) {
        for (target, served) in self.node.portal().targets.iter().enumerate() {
            while let Some((unit, io)) = served.device.poll_upkeep() {
                self.patient.push_back(IoRequest { id: UPKEEP, store: StoreId { target, unit }, io, patient: true });
            }
        }
    }

    fn handle_messages(&mut self, now: Instant) {
        for message in self.shared.mailboxes[self.index].take() {
            match message {
                Message::Connection(stream, listener) => self.adopt(Stream::Socket(stream), listener, now),
                Message::Join(connection, identity) => self.join(*connection, &identity, now),
                Message::End(tsih) => self.node.end_session(now, tsih),
                Message::Admit(connection, tsih) => self.node.admit(now, connection, tsih),
                Message::EndSessionsOf(target) => self.node.end_sessions_of(now, target),
                // Who has asked may have gone.
                Message::Tell(answer) => drop(answer.send(self.tell())),
                Message::RequestLogout(which, answer) => {
                    let picked = |session: &_, tag| which.iter().any(|some| some.picks(session, tag));
                    drop(answer.send(self.node.request_logout_of(now, picked)));
                }
                Message::Policy(program, answer) => drop(answer.send(self.endpoint.set_policy(program))),
                Message::Offer(portal, done) => {
                    self.stores.resize_with(portal.targets.len(), Vec::new);
                    self.node.set_portal(portal);
                    done.send(()).unwrap_or_default();
                }
                // Who has asked may have gone.
                Message::Reserve(place, address, answer) => {
                    drop(answer.send(self.endpoint.reserve(place, address)));
                }
                Message::Listen(listener, socket) => self.listen(listener, socket, now),
                // There is none if it could not be listened on.
                Message::Unlisten(place) => {
                    self.listeners.get_mut(place).and_then(Option::take);
                    self.endpoint.unlisten(place);
                }
                Message::Regroup(place, tag) => {
                    self.listeners.get_mut(place).into_iter().flatten().for_each(|listener| listener.tag = tag);
                }
                Message::Close(store) => self.close(store),
                Message::Drain(until) => {
                    self.endpoint.stop_listening();
                    (self.draining, self.end_at) = (true, Some(until));
                    self.node.request_logout(now);
                }
            }
        }
    }

    /// Takes connections there too, at a place that is free or was reserved.
    fn listen(&mut self, listener: Listener, socket: Option<TcpListener>, now: Instant) {
        let place = listener.place;
        if self.listeners.len() <= place {
            self.listeners.resize(place + 1, None);
        }
        if let Some(Err(error)) = socket.map(|socket| self.endpoint.listen(place, socket)) {
            return warn!(%error, "cannot listen");
        }
        self.listeners[place] = Some(listener);
        // Who has come before is not told of.
        self.accept(place, now);
    }

    fn accept(&mut self, place: usize, now: Instant) {
        while let Some(&Some(listener)) = self.listeners.get(place) {
            match self.endpoint.accept(place) {
                Ok(stream) => match (self.shared.place(self.index), stream) {
                    (core, Stream::Socket(stream)) if core != self.index => {
                        self.shared.mailboxes[core].send(Message::Connection(stream, listener));
                    }
                    (_, stream) => self.adopt(stream, listener, now),
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    warn!(%error, "cannot accept a connection; trying again soon");
                    self.accept_again = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn adopt(&mut self, stream: Stream, listener: Listener, now: Instant) {
        if let Err(error) = self.try_adopt(stream, listener, now) {
            self.shared.leave(self.index);
            warn!(%error, "cannot serve a connection");
        }
    }

    fn try_adopt(&mut self, stream: Stream, listener: Listener, now: Instant) -> io::Result<()> {
        if self.draining {
            return Err(io::Error::other("the target is shutting down"));
        }
        if self.is_full() {
            return Err(io::Error::other("there are as many connections as may be"));
        }
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let id = self.node.next_connection();
        let capture = self.shared.capture.as_ref();
        let (port, (local, peer)) = self.endpoint.open_port(id.index as usize, stream, &self.buffers, capture)?;
        let ends = Some(Ends { initiator: peer.ip(), target: local.ip() });
        let entrance = Entrance { portal: listener.portal(local), ends };
        self.node.accept(now, port, entrance, random);
        debug!(%peer, connection = id.index, core = self.index, "connected");
        Ok(())
    }

    /// Whether no more connections are taken. A session that has none for a while counts as one.
    fn is_full(&self) -> bool {
        self.node.connections().max(self.node.sessions()) >= self.shared.connections_max
    }

    /// A connection without this core's poll and memory.
    fn detach(&mut self, connection: ConnectionId) -> Option<Detached<DetachedPort>> {
        let mut detached = self.node.detach(connection)?;
        self.shared.leave(self.index);
        if let Err(error) = self.endpoint.release_port(detached.port_mut()) {
            warn!(%error, "cannot hand a connection over");
            return None;
        }
        Some(detached.map_port(Port::detach))
    }

    /// A connection of another core joins a session of this one.
    fn join(&mut self, connection: Detached<DetachedPort>, identity: &LoginIdentity, now: Instant) {
        let mut connection = connection.map_port(|port| port.attach(&self.buffers));
        let id = self.node.next_connection();
        if let Err(error) = self.endpoint.adopt_port(id.index as usize, connection.port_mut()) {
            self.shared.leave(self.index);
            return warn!(%error, "cannot take a connection over");
        }
        let full = self.is_full();
        self.node.attach(now, connection);
        debug!(connection = id.index, core = self.index, tsih = identity.tsih.0, "handed over");
        if self.draining {
            self.node.refuse(now, id, LoginStatus::ServiceUnavailable.into());
        } else if full {
            self.node.refuse(now, id, LoginStatus::OutOfResources.into());
        } else {
            self.node.join(now, id, identity);
        }
    }

    fn handle_events(&mut self, now: Instant) {
        while let Some(event) = self.node.poll_event() {
            match event {
                Event::Admit { connection, identity, portal } => self.claim(connection, &identity, portal, now),
                Event::SessionOpened { connection, outcome } => info!(
                    connection = connection.index,
                    initiator = outcome.initiator_name,
                    target = outcome.target_name.as_deref().unwrap_or("(discovery)"),
                    tsih = outcome.tsih.0,
                    "logged in"
                ),
                Event::ConnectionJoined { connection, outcome } => {
                    info!(connection = connection.index, tsih = outcome.tsih.0, cid = outcome.cid.0, "joined");
                }
                Event::ConnectionClosed { connection, reason } => {
                    info!(connection = connection.index, %reason, "left its session");
                }
                Event::SessionClosed { tsih, reason } => info!(tsih = tsih.0, %reason, "session closed"),
                Event::LoginFailed { connection, failure } => {
                    warn!(connection = connection.index, %failure, "login failed");
                }
                Event::ConnectionLost { connection, error } => {
                    debug!(connection = connection.index, %error, "connection lost");
                }
                Event::TargetColdReset { target } => {
                    self.shared.mailboxes.iter().for_each(|mailbox| mailbox.send(Message::EndSessionsOf(target)));
                }
                Event::Ended { connection } => {
                    self.shared.leave(self.index);
                    self.shared.registry.lock().withdraw(self.owner(connection));
                }
                Event::SessionEnded { tsih } => self.release(tsih),
            }
        }
    }

    /// Messages that follow from a claim or a release are left while the registry is locked, so that they come in its order: none ends
    /// a session that has yet to begin.
    fn claim(&mut self, connection: ConnectionId, identity: &LoginIdentity, portal: PortalAddress, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let mut registry = shared.registry.lock();
        match registry.claim(self.owner(connection), identity, portal) {
            Claim::Granted(tsih) => self.node.admit(now, connection, tsih),
            Claim::Joins(core) if core == self.index => self.node.join(now, connection, identity),
            Claim::Joins(core) => {
                if let Some(connection) = self.detach(connection) {
                    self.shared.enter(core);
                    self.shared.mailboxes[core].send(Message::Join(Box::new(connection), identity.clone()));
                }
            }
            Claim::Ends(core, tsih) => self.shared.mailboxes[core].send(Message::End(tsih)),
            Claim::Refused(status) => self.node.refuse(now, connection, status.into()),
        }
    }

    fn release(&self, tsih: Tsih) {
        let mut registry = self.shared.registry.lock();
        if let Some((owner, tsih)) = registry.release(tsih) {
            self.shared.mailboxes[owner.core].send(Message::Admit(owner.connection, tsih));
        }
    }

    fn owner(&self, connection: ConnectionId) -> Owner {
        Owner { core: self.index, connection }
    }
}

impl Mailbox {
    /// Wakes the core that owns the mailbox; for stores.
    fn waker(&self) -> std::task::Waker {
        std::task::Waker::from(Arc::new(StoreWaker(Arc::clone(&self.waker))))
    }
}

struct StoreWaker(Arc<mio::Waker>);

impl std::task::Wake for StoreWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Err(error) = self.0.wake() {
            warn!(%error, "cannot wake a core");
        }
    }
}
