//! The node: all connections and sessions of one core.

use super::access::Entrance;
use super::connection::{Connection, Phase};
use super::connections::Connections;
use super::detached::Detached;
use super::event::{ConnectionId, Event, IoRequest, Outbox};
use super::portal::Portal;
use super::session::Session;
use super::sessions::{SessionId, Sessions};
use super::timers::{Sleeper, Timers};
use iscsi_pdu::{LoginStatus, Tsih};
use iscsi_session::LoginOutcome;
use iscsi_session::target::{Identification, Login, LoginConfig, LoginIdentity, Refusal};
use iscsi_transport::PduPort;
use scsi_block::io::IoDone;
use std::sync::Arc;
use std::time::Instant;

/// All connections of one core, and their sessions.
///
/// The owner's turn: `accept` new ports; `drive` connections whose port became ready; `handle_timeout` when `poll_timeout` has
/// passed; carry `poll_io` to the stores and their ends to `handle_io_done`; `flush`; `poll_event`; and again, `drive_more` first, while
/// `has_more`.
///
/// The owner knows a session by its handle (TSIH), which it chooses: no other session of the node has the same at the same time.
pub struct TargetNode<P> {
    pub(super) portal: Arc<Portal>,
    pub(super) connections: Connections<P>,
    pub(super) sessions: Sessions,
    pub(super) timers: Timers,
    pub(super) outbox: Outbox,
}

impl<P: PduPort> TargetNode<P> {
    /// A node without connections.
    #[must_use]
    pub fn new(portal: Arc<Portal>) -> Self {
        Self {
            portal,
            connections: Connections::new(),
            sessions: Sessions::default(),
            timers: Timers::default(),
            outbox: Outbox::default(),
        }
    }

    /// What its portals offer.
    pub fn portal(&self) -> &Arc<Portal> {
        &self.portal
    }

    /// Another offer, for logins from now on, those among them that are under way; sessions stay as they are. Targets keep their places.
    pub fn set_portal(&mut self, portal: Arc<Portal>) {
        self.portal = portal;
    }

    /// The name that the next connection will have.
    #[must_use]
    pub fn next_connection(&self) -> ConnectionId {
        self.connections.next_id()
    }

    /// Takes a new connection. `entrance` is where it comes in; `random` is unpredictable and used once.
    pub fn accept(&mut self, now: Instant, port: P, entrance: impl Into<Entrance>, random: [u8; 32]) -> ConnectionId {
        let mut limits = self.portal.limits.clone();
        limits.receive_segment_bytes_max =
            limits.receive_segment_bytes_max.min(port.capabilities().receive_segment_bytes_max);
        let config = LoginConfig { limits, timeout: self.portal.login_timeout, window: self.portal.window };
        let login = Box::new(Login::new(config, random, now));
        let id = self.connections.insert(|id| Connection::new(id, port, login, entrance.into()));
        self.settle(now, id);
        id
    }

    /// Takes a connection in login out of the node, to be attached to the one that has the session which it joins. Nothing more is
    /// said of it here. None if it is there no more, or not in login.
    pub fn detach(&mut self, id: ConnectionId) -> Option<Detached<P>> {
        self.login(id)?;
        let connection = self.connections.remove(id)?;
        self.timers.remove(Sleeper::Connection(id), connection.timer);
        connection.detach()
    }

    /// Takes a connection of another node, which waits for [`Self::join`] or [`Self::refuse`].
    pub fn attach(&mut self, now: Instant, connection: Detached<P>) -> ConnectionId {
        let Detached { port, login, entrance, proof } = connection;
        let id = self.connections.insert(|id| Connection::new(id, port, login, entrance));
        if let Some(connection) = self.connections.get_mut(id) {
            connection.proof = proof;
        }
        // What has come is not told again.
        self.connections.drive_later(id);
        self.settle(now, id);
        id
    }

    /// The port of a connection may have become readable or writable.
    pub fn drive(&mut self, now: Instant, id: ConnectionId) {
        if self.pump(now, id) {
            self.connections.drive_later(id);
        }
        self.settle(now, id);
    }

    /// The port of the connection with this index, if there is one, for what does not carry PDUs.
    pub fn port_mut(&mut self, index: usize) -> Option<&mut P> {
        self.connections.at_mut(index).map(|connection| &mut connection.port)
    }

    /// The port of a connection, for what does not carry PDUs.
    pub fn port(&self, id: ConnectionId) -> Option<&P> {
        self.connections.get(id).map(|connection| &connection.port)
    }

    /// As `drive`, for the connection with this index, if there is one.
    pub fn drive_index(&mut self, now: Instant, index: usize) {
        if let Some(connection) = self.connections.at_mut(index) {
            let id = connection.id();
            self.drive(now, id);
        }
    }

    /// Whether there is something to do at once, without waiting for the world: in `drive_more`, `poll_io` or `poll_event`.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.connections.to_drive() > 0 || !self.outbox.requests.is_empty() || !self.outbox.events.is_empty()
    }

    /// Gives a turn to each connection that had more to receive than one turn allows.
    pub fn drive_more(&mut self, now: Instant) {
        for _ in 0..self.connections.to_drive() {
            if let Some(id) = self.connections.next_to_drive() {
                self.drive(now, id);
            }
        }
    }

    /// A block I/O has ended.
    pub fn handle_io_done(&mut self, now: Instant, id: u64, done: IoDone) {
        let (session, owner) = self.outbox.ios.remove(id as usize);
        self.with_session(now, session, |session, context| session.handle_io_done(owner, done, context));
        self.settle_session(session);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(sleeper) = self.timers.pop(now) {
            match sleeper {
                Sleeper::Connection(id) => self.wake_connection(now, id),
                Sleeper::Session(id) => self.wake_session(now, id),
            }
        }
    }

    /// When `handle_timeout` is to be called; it may find nothing to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Hands everything that was queued to the world: one gathered write a connection.
    pub fn flush(&mut self, now: Instant) {
        while let Some(id) = self.connections.next_to_flush() {
            if self.flush_connection(now, id) {
                self.connections.drive_later(id);
            }
            if let Some((session, _)) = self.settle_without_flush(now, id) {
                self.settle_session_without_flush(session);
            }
        }
    }

    /// The next block I/O for a store.
    pub fn poll_io(&mut self) -> Option<IoRequest> {
        self.outbox.requests.pop_front()
    }

    /// How many block I/Os wait for [`Self::poll_io`].
    #[must_use]
    pub fn waiting_ios(&self) -> usize {
        self.outbox.requests.len()
    }

    /// The next thing to know or to decide.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.outbox.events.pop_front()
    }

    /// Answers [`Event::Admit`]: a session may begin under this handle, which comes back with [`Event::SessionEnded`]; at once if the
    /// login is over.
    pub fn admit(&mut self, now: Instant, id: ConnectionId, tsih: Tsih) {
        let refusal = self.reconsider(id);
        if let Some(login) = self.login(id) {
            match refusal {
                None => login.admit(tsih),
                Some(refusal) => login.refuse(refusal),
            }
            self.handle_login_events(now, id);
            self.settle(now, id);
        }
        if self.sessions.find(tsih).is_none() {
            self.outbox.events.push_back(Event::SessionEnded { tsih });
        }
    }

    /// Answers [`Event::Admit`] of a login that names a session of this node: the connection may join it. It takes the place of one with
    /// the same CID (RFC 7143 section 6.3.4), and is refused if the session is no more, or of another portal group, or has other
    /// rights, or as many connections as were agreed upon.
    pub fn join(&mut self, now: Instant, id: ConnectionId, identity: &LoginIdentity) {
        let entrance = self.connections.get_mut(id).map(|connection| connection.entrance.clone());
        let session = self.sessions.find(identity.tsih).and_then(|session| self.sessions.get_mut(session));
        let admission = match (session, entrance) {
            (Some(session), Some(entrance)) => session.admission(identity, &entrance, &self.portal),
            _ => Err(LoginStatus::SessionDoesNotExist),
        };
        let refusal = self.reconsider(id);
        let Some(login) = self.login(id) else { return };
        match refusal.map_or(admission.map_err(Refusal::from), Err) {
            Ok(command_numbers) => login.admit_joining(identity.tsih, command_numbers),
            Err(refusal) => login.refuse(refusal),
        }
        self.handle_login_events(now, id);
        self.settle(now, id);
    }

    /// Answers [`Event::Admit`]: the session may not begin.
    pub fn refuse(&mut self, now: Instant, id: ConnectionId, refusal: Refusal) {
        if let Some(login) = self.login(id) {
            login.refuse(refusal);
            self.handle_login_events(now, id);
            self.settle(now, id);
        }
    }

    /// Ends a session and its connections without a word, as session reinstatement does (RFC 7143 section 6.3.5).
    pub fn end_session(&mut self, now: Instant, tsih: Tsih) {
        if let Some(id) = self.sessions.find(tsih) {
            self.end(now, id);
        }
    }

    // RFC 7143 11.5.1-14, 11.6.1-1: of all initiators.
    /// Ends all sessions of one target without a word (RFC 7143 section 11.5.1, TARGET COLD RESET).
    pub fn end_sessions_of(&mut self, now: Instant, target: usize) {
        for id in self.session_ids(|session| session.target() == Some(target)) {
            self.end(now, id);
        }
    }

    /// Ends all sessions and all logins without a word.
    pub fn end_all(&mut self, now: Instant) {
        for id in self.session_ids(|_| true) {
            self.end(now, id);
        }
        self.end_logins(now);
    }

    /// Asks every initiator to log out, and drops logins that are under way.
    pub fn request_logout(&mut self, now: Instant) {
        self.request_logout_of(now, |_, _| true);
        self.end_logins(now);
    }

    /// Asks the initiators of the sessions that `wanted` picks, by what their logins have agreed upon and their portal group tag, to log out; a session that is still there
    /// after [`Portal::logout_grace`] is dropped, a discovery session at once. Gives the handles of the sessions.
    pub fn request_logout_of(&mut self, now: Instant, wanted: impl Fn(&LoginOutcome, u16) -> bool) -> Vec<Tsih> {
        let picked =
            |session: &Session| !session.machine.is_closed() && wanted(&session.outcome, session.portal_group_tag());
        let (ids, handles): (Vec<_>, Vec<_>) = self
            .sessions
            .iter()
            .filter(|session| picked(session))
            .map(|session| (session.id(), session.tsih()))
            .unzip();
        for id in ids {
            self.with_session(now, id, Session::request_logout);
            self.settle_session(id);
        }
        handles
    }

    /// Number of connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Number of sessions, those among them whose connections are over and whose block I/O has not come back.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    fn login(&mut self, id: ConnectionId) -> Option<&mut Login> {
        match &mut self.connections.get_mut(id)?.phase {
            Phase::Login(login) => Some(login),
            Phase::FullFeature(_) => None,
        }
    }

    /// What was offered when a login began may be offered no more when it ends.
    fn reconsider(&self, id: ConnectionId) -> Option<Refusal> {
        let connection = self.connections.get(id)?;
        let Phase::Login(login) = &connection.phase else { return None };
        match self.portal.reconsider(login.awaits_admission()?, &connection.entrance) {
            Identification::Refuse(refusal) => Some(refusal),
            // What it has proven is not what is asked for any more; it may begin anew.
            Identification::Proceed(policy) if connection.proof.as_ref() != Some(&policy.authentication) => {
                Some(LoginStatus::ServiceUnavailable.into())
            }
            Identification::Proceed(_) => None,
        }
    }

    fn session_ids(&self, wanted: impl Fn(&Session) -> bool) -> Vec<SessionId> {
        self.sessions.iter().filter(|session| wanted(session)).map(Session::id).collect()
    }

    fn end(&mut self, now: Instant, id: SessionId) {
        let connections = self.with_session(now, id, Session::end).unwrap_or_default();
        connections.into_iter().for_each(|connection| self.kill(now, connection));
        self.settle_session(id);
    }

    fn end_logins(&mut self, now: Instant) {
        let logins = self.connections.iter().filter(|connection| connection.session().is_none());
        let ids: Vec<_> = logins.map(Connection::id).collect();
        ids.into_iter().for_each(|id| self.kill(now, id));
    }

    fn kill(&mut self, now: Instant, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.kill();
            self.settle(now, id);
        }
    }

    fn wake_connection(&mut self, now: Instant, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        connection.timer = None;
        if connection.poll_timeout().is_some_and(|due| due <= now) {
            connection.handle_timeout(now);
            self.handle_login_events(now, id);
        }
        self.settle(now, id);
    }

    fn wake_session(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.timer = None;
        if session.poll_timeout().is_some_and(|due| due <= now) {
            self.with_session(now, id, Session::handle_timeout);
        }
        self.settle_session(id);
    }
}

impl<P> std::fmt::Debug for TargetNode<P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TargetNode")
            .field("connections", &self.connections.len())
            .field("sessions", &self.sessions.len())
            .finish_non_exhaustive()
    }
}
