//! How connections come, and what is done when one is lost (RFC 7143 sections 6.3.4, 7.2.2, 7.5 and 7.14).
//!
//! ```text
//!            another connection is there                           none is
//!  lost ──> Time2Wait ──> logout over it, for recovery at level 2  ──> (level 2) a new login with the same CID
//!               tasks that go on: TASK REASSIGN to the least busy connection
//!               tasks that do not: Outcome::Lost, now that the target does nothing for them any more
//!           ──> a new connection in the place of the old one
//! ```

use super::connection::{Connection, ConnectionPlan, Link, State};
use super::event::{ConnectionEnd, Event};
use super::node::{InitiatorNode, Phase};
use super::tasks::Purpose;
use iscsi_pdu::{Cid, InitiatorTaskTag, LunField, TaskManagementFunction};
use iscsi_session::initiator::{Login, LoginConfig, Logout, TaskManagement};
use iscsi_session::{CloseReason, LoginOutcome, SessionType};
use iscsi_transport::{PduPort, PortError};
use std::time::Instant;

impl<P: PduPort> InitiatorNode<P> {
    /// Sets how many connections the session is to have, from its login on. Unless this is called it has one, and ends with it. With
    /// this, a connection that is lost is replaced as long as the session lasts.
    pub fn set_connections(&mut self, plan: ConnectionPlan) {
        self.plan = Some(plan);
    }

    /// Brings the port that [`Event::ConnectionWanted`] has asked for, just connected; `random` is unpredictable and used once. A port
    /// that is not wanted any more is dropped.
    pub fn connect(&mut self, now: Instant, cid: Cid, port: P, random: [u8; 32]) {
        let Phase::FullFeature(session) = &self.phase else { return };
        let Some(connection) = self.connections.get_mut(cid) else { return };
        if let State::Wanted = connection.state {
            let config = LoginConfig { cid, ..self.login.clone() };
            let begin = |tag| Login::joining(config, session.cmd_sn(), tag, random, now);
            self.links += 1;
            connection.state = State::Open(Link::new(self.links, port, begin));
            self.handle_events(now);
        }
    }

    /// There is no port for a connection that [`Event::ConnectionWanted`] has asked for. It will ask again.
    pub fn handle_connect_failure(&mut self, now: Instant, cid: Cid) {
        if let (Some(plan), Some(connection)) = (&self.plan, self.connections.get_mut(cid))
            && let State::Wanted = connection.state
        {
            connection.vacate(now, plan);
        }
    }

    /// The session has begun: makes the places for the connections that it is to have.
    pub(super) fn make_places(&mut self, now: Instant, outcome: &LoginOutcome) {
        let Some(plan) = self.plan.filter(|_| outcome.session_type == SessionType::Normal) else { return };
        self.login.tsih = outcome.tsih;
        for number in 1..plan.connections.min(outcome.parameters.max_connections) {
            let cid = Cid(outcome.cid.0.wrapping_add(number));
            self.connections.push(Connection::new(cid, State::Vacant(now)));
        }
    }

    /// A further connection has logged in, or one in the place of another.
    pub(super) fn join(&mut self, now: Instant, cid: Cid, mut outcome: Box<LoginOutcome>) {
        let (Phase::FullFeature(session), Some(connection)) = (&mut self.phase, self.connections.get_mut(cid)) else {
            return;
        };
        if let Some(link) = connection.link_mut() {
            link.bound(&mut outcome);
        }
        session.add_connection(&outcome, now);
        if session.cids().all(|other| other != cid) {
            return connection.state = State::Closed;
        }
        if let Some(link) = connection.link_mut() {
            link.end_login(&outcome);
        }
        self.events.push_back(Event::ConnectionJoined { cid });
    }

    /// The login of a further connection was sent elsewhere.
    pub(super) fn follow(&mut self, now: Instant, cid: Cid, address: String) {
        let Some(connection) = self.connections.get_mut(cid) else { return };
        if connection.follow() {
            self.events.push_back(Event::ConnectionWanted { cid, address: Some(address) });
        } else {
            self.fail_login(now, cid, ConnectionEnd::Redirects);
        }
    }

    // RFC 7143 6.3.6: what the target has forgotten is not continued.
    /// The login of a further connection has failed. A target that means it is not asked again; if that leaves the session without
    /// a connection, it ends.
    pub(super) fn fail_login(&mut self, now: Instant, cid: Cid, reason: ConnectionEnd) {
        let (Some(plan), Some(connection)) = (&self.plan, self.connections.get_mut(cid)) else { return };
        match &reason {
            ConnectionEnd::Login(failure) if !failure.may_pass() => connection.state = State::Closed,
            _ => connection.vacate(now, plan),
        }
        self.events.push_back(Event::ConnectionClosed { cid, reason });
        if self.connections.iter().all(|connection| matches!(connection.state, State::Closed)) {
            self.lose_all();
            self.end(Event::Closed(CloseReason::ConnectionLost));
        }
    }

    // RFC 7143 7.1.4.3-1, 7.14-1: the port that has failed is dropped; at level 0 the session may go on with others.
    /// The port of a connection has failed.
    pub(super) fn lose(&mut self, now: Instant, cid: Cid, error: PortError) {
        let Some(link) = self.connections.link_mut(cid) else { return };
        match (&mut self.phase, &link.login) {
            (Phase::FullFeature(session), None) => {
                link.failure = Some(error);
                session.handle_connection_lost(now, cid);
            }
            (Phase::FullFeature(_), Some(_)) => self.fail_login(now, cid, ConnectionEnd::Port(error)),
            (Phase::Login, _) => self.end(Event::ConnectionLost(error)),
            // Whoever flushes what is left need not be told again.
            (Phase::Ended, _) => link.failure = Some(error),
        }
        self.handle_events(now);
    }

    /// The session has lost a connection, and goes on.
    pub(super) fn handle_connection_closed(&mut self, cid: Cid, reason: CloseReason) {
        if self.plan.is_none() {
            return self.handle_closed(reason);
        }
        let Some(connection) = self.connections.get_mut(cid) else { return };
        let failure = connection.link_mut().and_then(|link| link.failure.take());
        connection.state = if self.is_leaving { State::Closed } else { State::Cleanup };
        let reason = failure.map_or(ConnectionEnd::Session(reason), ConnectionEnd::Port);
        self.events.push_back(Event::ConnectionClosed { cid, reason });
    }

    /// The session has ended.
    pub(super) fn handle_closed(&mut self, reason: CloseReason) {
        self.lose_all();
        let mut links = self.connections.iter_mut().filter_map(Connection::link_mut);
        let failure = links.find_map(|link| link.failure.take());
        self.end(failure.map_or(Event::Closed(reason), Event::ConnectionLost));
    }

    // RFC 7143 7.2.2-1: for recovery, so that its tasks can be reassigned.
    /// The target may be told that a connection is gone: over another, or by a login in its place.
    pub(super) fn clean_up(&mut self, now: Instant, cid: Cid) {
        let (Some(plan), Phase::FullFeature(session)) = (&self.plan, &self.phase) else { return };
        let Some(over) = self.carrier() else {
            if let Some(connection) = self.connections.get_mut(cid)
                && let State::Cleanup = connection.state
            {
                connection.vacate(now, plan);
            }
            return;
        };
        let level = session.parameters(over).map_or(0, |parameters| parameters.error_recovery_level);
        let logout = if level >= 2 { Logout::ForRecovery(cid) } else { Logout::Connection(cid) };
        self.ask_on(over, Purpose::Other, None, |session, over, tag| session.logout(now, over, tag, logout));
    }

    /// A command that has lost its connection goes on on another.
    pub(super) fn reassign(&mut self, now: Instant, command: InitiatorTaskTag) {
        let function = TaskManagementFunction::TaskReassign;
        let asked = TaskManagement { function, lun: LunField::default(), referenced: Some(command) };
        self.ask(None, |session, cid, tag| session.manage_task(now, cid, tag, asked));
    }

    /// Goes on with what has waited: for the end of a connection, or for the time of the next.
    pub(super) fn settle(&mut self, now: Instant) {
        let Phase::FullFeature(session) = &self.phase else { return };
        let plan = self.plan.unwrap_or_default();
        for connection in self.connections.iter_mut() {
            match connection.state {
                State::Cleanup if !session.is_in_cleanup(connection.cid) => connection.vacate(now, &plan),
                _ => {}
            }
            if let State::Vacant(due) = connection.state
                && due <= now
            {
                connection.state = State::Wanted;
                self.events.push_back(Event::ConnectionWanted { cid: connection.cid, address: None });
            }
        }
        if !self.doubtful.is_empty() {
            self.end_doubtful();
        }
    }

    /// The session is to end: no connection is to come any more.
    pub(super) fn want_no_more(&mut self) {
        self.is_leaving = true;
        self.connections.iter_mut().for_each(Connection::give_up);
    }
}
