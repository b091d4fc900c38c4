//! How a node moves PDUs: from a port to the login or the session that they are for, and back.
//!
//! In: connections that are ready. Out: PDUs through their ports, and consequences in the node's lists.

use super::connection::{Allegiance, Phase};
use super::event::{ConnectionId, Event};
use super::flow::Flow;
use super::node::TargetNode;
use super::session::{Context, Session};
use super::sessions::SessionId;
use super::timers::Sleeper;
use iscsi_pdu::{Cid, Pdu};
use iscsi_session::LoginOutcome;
use iscsi_session::target::{Identification, LoginEvent};
use iscsi_transport::{Flush, PduPort, PortError, Received};
use std::time::Instant;

/// PDUs that one connection may have handled before another gets its turn.
const PDUS_PER_TURN: usize = 256;

impl<P: PduPort> TargetNode<P> {
    /// Receives what has come on a connection and answers it. Returns whether there may be more to receive at once.
    pub(super) fn pump(&mut self, now: Instant, id: ConnectionId) -> bool {
        for _ in 0..PDUS_PER_TURN {
            let Some(connection) = self.connections.get_mut(id) else { return false };
            match connection.receive() {
                Ok(None) => return false,
                Ok(Some(received)) => self.handle_received(now, id, received),
                Err(error) => {
                    self.lose(id, error);
                    return false;
                }
            }
        }
        true
    }

    /// Hands queued PDUs of a connection to the world. Returns whether receiving, which had stopped for want of room, can go on.
    pub(super) fn flush_connection(&mut self, now: Instant, id: ConnectionId) -> bool {
        loop {
            let more = self.transmit(now, id);
            let Some(connection) = self.connections.get_mut(id).filter(|connection| !connection.is_dead()) else {
                return false;
            };
            match connection.port.flush() {
                Ok(Flush::Done) if more => {}
                Ok(Flush::Done) => {
                    connection.handle_flushed();
                    return connection.stalled;
                }
                Ok(Flush::Pending) => return connection.stalled && connection.port.can_send(),
                Err(error) => {
                    self.lose(id, error);
                    return false;
                }
            }
        }
    }

    /// Queues PDUs as long as the port takes them. Returns whether there may be more when it is flushed.
    fn transmit(&mut self, now: Instant, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.get_mut(id).filter(|connection| !connection.is_dead()) else {
            return false;
        };
        match connection.session() {
            None => connection.transmit_login(),
            Some((session, cid)) => {
                let more = self.with_session(now, session, |session, context| session.transmit((id, cid), context));
                more.unwrap_or_default()
            }
        }
    }

    /// Handles what has come, and queues what there is to say to it.
    fn handle_received(&mut self, now: Instant, id: ConnectionId, received: Received) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        match &mut connection.phase {
            Phase::Login(login) => {
                let Received::Frame(frame) = received else { unreachable!("no digest is checked during login") };
                let header = frame.header;
                match Pdu::decode(frame) {
                    Ok(pdu) => login.handle_pdu(now, pdu),
                    Err(error) => login.handle_undecodable(now, header, error),
                }
                self.handle_login_events(now, id);
                self.transmit(now, id);
            }
            Phase::FullFeature(allegiance) => {
                let (session, cid) = (allegiance.session, allegiance.cid);
                if let Received::BadHeaderDigest(header) = &received
                    && !self.sessions.get_mut(session).is_some_and(|session| session.recovers_lost_pdus())
                {
                    return self.lose(id, PortError::header_digest(header));
                }
                self.with_session(now, session, |session, context| {
                    session.handle_received(cid, received, context);
                    session.transmit((id, cid), context);
                });
            }
        }
    }

    pub(super) fn handle_login_events(&mut self, now: Instant, id: ConnectionId) {
        while let Some(connection) = self.connections.get_mut(id)
            && let Phase::Login(login) = &mut connection.phase
            && let Some(event) = login.poll_event()
        {
            let portal = &connection.entrance.portal;
            match event {
                LoginEvent::Identify(identity) => {
                    let identification = self.portal.identify(&identity, &connection.entrance);
                    if let Identification::Proceed(policy) = &identification {
                        connection.proof = Some(policy.authentication.clone());
                        // From now on it is of the target's portal group.
                        connection.entrance.portal.portal_group_tag = policy.portal_group_tag;
                    }
                    login.identify(identification);
                }
                LoginEvent::Admit(identity) => {
                    self.outbox.events.push_back(Event::Admit { connection: id, identity, portal: portal.clone() });
                }
                LoginEvent::Complete(outcome) => self.open(now, id, outcome),
                LoginEvent::Closed(failure) => {
                    self.outbox.events.push_back(Event::LoginFailed { connection: id, failure });
                    connection.close(now);
                    return;
                }
            }
        }
    }

    /// A login is done: its session begins, or has one more connection.
    fn open(&mut self, now: Instant, id: ConnectionId, mut outcome: Box<LoginOutcome>) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let ping_tag = connection.conclude_login(&mut outcome.parameters);
        let entrance = connection.entrance.clone();
        let (cid, parameters) = (outcome.cid, Box::new(outcome.parameters.clone()));
        let session = if let Some(session) = self.sessions.find(outcome.tsih) {
            let join = |session: &mut Session, context: &mut Context<'_, P>| {
                session.add_connection(id, &outcome, ping_tag, context);
            };
            self.with_session(now, session, join);
            self.outbox.events.push_back(Event::ConnectionJoined { connection: id, outcome });
            session
        } else {
            self.outbox.events.push_back(Event::SessionOpened { connection: id, outcome: outcome.clone() });
            let leading = (id, &entrance);
            self.sessions.insert(|session| Session::new(session, outcome, &self.portal, leading, ping_tag, now))
        };
        if let Some(connection) = self.connections.get_mut(id) {
            connection.phase = Phase::FullFeature(Allegiance { session, cid, flow: Flow::default(), parameters });
        }
    }

    fn lose(&mut self, id: ConnectionId, error: PortError) {
        self.outbox.events.push_back(Event::ConnectionLost { connection: id, error });
        if let Some(connection) = self.connections.get_mut(id) {
            connection.kill();
        }
    }

    /// Does something to a session, if there is one of this name.
    pub(super) fn with_session<T>(
        &mut self,
        now: Instant,
        id: SessionId,
        step: impl FnOnce(&mut Session, &mut Context<'_, P>) -> T,
    ) -> Option<T> {
        let session = self.sessions.get_mut(id)?;
        let (portal, connections, outbox) = (&*self.portal, &mut self.connections, &mut self.outbox);
        Some(step(session, &mut Context { now, portal, connections, outbox }))
    }

    /// After anything was done to a connection: remembers that it may have something to flush, and when it wants to be woken.
    pub(super) fn settle(&mut self, now: Instant, id: ConnectionId) {
        match self.settle_without_flush(now, id) {
            Some((session, _)) => self.settle_session(session),
            None => self.connections.flush_later(id),
        }
    }

    /// The same without its session, which is returned.
    pub(super) fn settle_without_flush(&mut self, now: Instant, id: ConnectionId) -> Option<(SessionId, Cid)> {
        let connection = self.connections.get_mut(id)?;
        if connection.is_dead() {
            self.bury(now, id);
            return None;
        }
        let due = connection.poll_timeout();
        self.timers.set(Sleeper::Connection(id), &mut connection.timer, due);
        connection.session()
    }

    /// After anything was done to a session: each of its connections may have something to flush, which is when the session says when it
    /// wants to be woken. One without connections says it now.
    pub(super) fn settle_session(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        if session.connections.is_empty() {
            self.settle_session_without_flush(id);
        } else {
            session.flush_later(&mut self.connections);
        }
    }

    pub(super) fn settle_session_without_flush(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        if session.is_over() {
            self.timers.remove(Sleeper::Session(id), session.timer);
            self.outbox.events.push_back(Event::SessionEnded { tsih: session.tsih() });
            self.sessions.remove(id);
            return;
        }
        let due = session.poll_timeout();
        self.timers.set(Sleeper::Session(id), &mut session.timer, due);
    }

    /// A connection is over: its session hears of it, and its port is dropped.
    fn bury(&mut self, now: Instant, id: ConnectionId) {
        let session = self.connections.get(id).and_then(|connection| connection.session());
        if let Some((session, cid)) = session {
            self.with_session(now, session, |session, context| session.handle_connection_lost((id, cid), context));
        }
        if let Some(connection) = self.connections.remove(id) {
            self.timers.remove(Sleeper::Connection(id), connection.timer);
            self.outbox.events.push_back(Event::Ended { connection: id });
        }
        if let Some((session, _)) = session {
            self.settle_session(session);
        }
    }
}
