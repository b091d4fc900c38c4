//! The target's side of a world: turns of its node, block I/O, and what an owner decides.

use super::bugs::{Bug, SHOWS_ONE_IN};
use super::calendar::Due;
use super::registry::Claim;
use super::session::Session;
use super::world::World;
use iscsi_node::target::{ConnectionId, Event, IoRequest};
use iscsi_pdu::{LoginStatus, Tsih};
use iscsi_session::target::{LoginIdentity, Refusal};
use iscsi_session::{CloseReason, LoginOutcome};
use std::time::Duration;

/// Task management functions of a session that may wait for the block I/O of the tasks that they have ended, each for a whole window.
const MANAGEMENT_MAX: usize = 17;

/// Longest request to a store that is slow, in microseconds.
const SLOW_DELAY_MAX: u64 = 30_000_000;

impl World {
    /// The port of a connection may have become ready.
    pub(crate) fn turn_connection(&mut self, link: usize) {
        let misses = self.bug == Some(Bug::WakeUpMissed) && self.random.one_in(SHOWS_ONE_IN);
        if !misses && !self.links[link].has_ended {
            self.target.drive(self.instant(), self.links[link].connection);
        }
        self.turn_target();
    }

    /// A turn of the node's owner, in the order of its documentation.
    pub(crate) fn turn_target(&mut self) {
        let now = self.instant();
        self.target.drive_more(now);
        if self.bug != Some(Bug::TimeoutForgotten) {
            self.target.handle_timeout(now);
        }
        self.take_io();
        self.target.flush(now);
        // What comes of a flush is heard of at its time.
        while self.take_target_events() {
            self.target.flush(now);
        }
        if self.target.has_more() {
            self.enter_target(Duration::from_micros(1));
        } else if let Some(at) = self.target.poll_timeout().filter(|_| self.bug != Some(Bug::TimeoutForgotten)) {
            self.enter_target(self.until(at));
        }
        for place in 0..self.live.len() {
            self.look(self.live[place]);
        }
    }

    /// The node is to have a turn after `delay`, if it has none before.
    pub(crate) fn enter_target(&mut self, delay: Duration) {
        let at = self.now + delay;
        if self.target_due.is_none_or(|due| at < due) {
            self.target_due = Some(at);
            self.calendar.enter(at, Due::Target);
        }
    }

    /// Carries block I/O to the store.
    fn take_io(&mut self) {
        while let Some(IoRequest { id, store, io, .. }) = self.target.poll_io() {
            let unit = self.first_units[store.target] + store.unit;
            let job = self.store.take(id, unit, io, &mut self.oracle);
            let most = self.plan.window as usize * self.target.sessions() * (1 + MANAGEMENT_MAX);
            self.verdict.check(self.store.pending() <= most, || "more block I/O is in flight than tasks".into());
            match (self.is_store_slow, self.plan.store_delay_max) {
                (false, 0) => self.answer_io(job),
                (is_slow, delay_max) => {
                    let delay = self.delay(if is_slow { SLOW_DELAY_MAX } else { delay_max });
                    self.enter(delay, Due::Store(job));
                }
            }
        }
    }

    /// The store ends a job.
    pub(crate) fn end_io(&mut self, job: usize) {
        self.answer_io(job);
        self.turn_target();
    }

    fn answer_io(&mut self, job: usize) {
        let end = self.store.end(job, &mut self.oracle);
        for _ in 0..end.answers {
            self.target.handle_io_done(self.instant(), end.request, end.done.clone());
        }
        if end.is_late {
            let delay = self.delay(2000);
            self.enter(delay, Due::LateWrite(job));
        }
    }

    /// Returns whether there were any.
    fn take_target_events(&mut self) -> bool {
        let mut has_any = false;
        while let Some(event) = self.target.poll_event() {
            has_any = true;
            match event {
                Event::Admit { connection, identity, .. } => self.claim(connection, &identity),
                Event::SessionOpened { connection, outcome } => self.open_session(connection, &outcome),
                Event::ConnectionJoined { connection, .. } => {
                    self.of_connection(connection, |world, link| world.begin_connection(link));
                }
                Event::ConnectionClosed { connection, reason } => {
                    self.of_connection(connection, |world, link| {
                        world.check_end_of_connection(link, reason);
                        world.extend_trouble(link);
                        world.leave_session(link);
                        if reason != CloseReason::LoggedOut {
                            world.links[link].initiator.wire.expect_late_answers();
                        }
                    });
                }
                Event::SessionClosed { tsih, reason } => {
                    if let Some(session) = self.session_of(tsih) {
                        self.sessions[session].is_closed = true;
                        self.check_termination(session, reason);
                        self.check_end_of_session(session, reason);
                    }
                }
                Event::LoginFailed { connection, failure } => {
                    self.of_connection(connection, |world, link| world.check_login_failure(link, &failure));
                }
                Event::ConnectionLost { connection, error } => {
                    self.of_connection(connection, |world, link| {
                        world.check_port_error(link, &error);
                        world.extend_trouble(link);
                    });
                }
                Event::TargetColdReset { target } => {
                    let alive = (0..self.sessions.len()).filter(|session| !self.sessions[*session].has_ended);
                    alive.collect::<Vec<_>>().into_iter().for_each(|session| self.doom(session));
                    self.target.end_sessions_of(self.instant(), target);
                }
                Event::Ended { connection } => self.end_connection(connection),
                Event::SessionEnded { tsih } => self.end_at_target(tsih),
            }
        }
        has_any
    }

    /// The owner ends no session without a reason; RFC 7143 7.4.3: a discovery session is ended where others are asked to log out.
    fn check_termination(&self, session: usize, reason: CloseReason) {
        let found = &self.sessions[session];
        let is_discovery = self.hosts[found.host].plan.target.is_none();
        let may = reason != CloseReason::Terminated || found.is_doomed || is_discovery;
        self.verdict.check(may, || format!("session {session} is ended by nobody"));
    }

    fn link_of(&self, connection: ConnectionId) -> Option<usize> {
        self.live.iter().copied().find(|link| self.links[*link].connection == connection)
    }

    fn of_connection(&mut self, connection: ConnectionId, what: impl FnOnce(&mut Self, usize)) {
        match self.link_of(connection) {
            Some(link) => what(self, link),
            None => self.verdict.fail("the target speaks of a connection that has ended"),
        }
    }

    fn session_of(&self, tsih: Tsih) -> Option<usize> {
        let found = self.sessions.iter().rposition(|session| session.tsih == Some(tsih) && !session.has_ended);
        self.verdict.check(found.is_some(), || format!("the target speaks of {tsih:?}, which has ended"));
        found
    }

    fn claim(&mut self, connection: ConnectionId, identity: &LoginIdentity) {
        match self.registry.claim(connection, identity) {
            Claim::Admit(tsih) => self.admit(connection, tsih),
            Claim::Join => self.target.join(self.instant(), connection, identity),
            Claim::End(old) => self.replace_session(connection, old),
            Claim::Refuse => {
                let status = if identity.tsih == Tsih(0) {
                    LoginStatus::OutOfResources
                } else {
                    LoginStatus::SessionDoesNotExist
                };
                let refusal = Refusal { status, target_address: None };
                self.target.refuse(self.instant(), connection, refusal);
            }
        }
    }

    /// A login takes the place of a session: because that is lost, or one of the two hosts has a rival, or it was late on its way.
    fn replace_session(&mut self, connection: ConnectionId, old: Tsih) {
        if let (Some(new), Some(session)) = (self.link_of(connection), self.session_of(old)) {
            let found = &self.sessions[session];
            let may = found.has_left || self.is_troubled(session) || self.is_troubled(self.links[new].session);
            self.verdict.check(may, || "a session is replaced for no reason".into());
            self.doom(session);
        }
        self.target.end_session(self.instant(), old);
    }

    fn admit(&mut self, connection: ConnectionId, tsih: Tsih) {
        if let Some(link) = self.link_of(connection) {
            self.sessions[self.links[link].session].tsih = Some(tsih);
        }
        self.target.admit(self.instant(), connection, tsih);
    }

    /// RFC 7143 6.3.5: a session of a name begins after the one before it has ended.
    fn open_session(&mut self, connection: ConnectionId, outcome: &LoginOutcome) {
        let Some(link) = self.link_of(connection) else { return };
        self.totals.sessions[usize::from(outcome.parameters.error_recovery_level)] += 1;
        let opened = self.links[link].session;
        let parameters = &outcome.parameters;
        self.sessions[opened].level = parameters.error_recovery_level;
        self.sessions[opened].retention = match parameters.error_recovery_level {
            2 => Duration::from_secs(u64::from(parameters.time_2_wait) + u64::from(parameters.time_2_retain)),
            _ => Duration::ZERO,
        };
        self.begin_connection(link);
        let identity = |session: &Session| {
            let host = &self.hosts[session.host];
            (host.plan.identity, host.plan.target)
        };
        let is_alive = |session: &Session| session.tsih.is_some() && !session.has_ended;
        let is_rival = |(place, other): (usize, &Session)| {
            place != opened && is_alive(other) && identity(other) == identity(&self.sessions[opened])
        };
        let is_alone = outcome.target_name.is_none() || !self.sessions.iter().enumerate().any(is_rival);
        self.verdict.check(is_alone, || "a session begins before the one of its name has ended".into());
    }

    fn begin_connection(&mut self, link: usize) {
        self.links[link].is_in_session = true;
        self.sessions[self.links[link].session].alone_since = None;
    }

    fn end_connection(&mut self, connection: ConnectionId) {
        let Some(link) = self.link_of(connection) else {
            return self.verdict.fail("a connection ends twice");
        };
        self.links[link].has_ended = true;
        self.live.retain(|other| *other != link);
        self.look(link);
        self.registry.withdraw(connection);
        let session = self.links[link].session;
        self.settle(session);
        self.leave_session(link);
    }

    /// A session has ended, and its block I/O has come back.
    fn end_at_target(&mut self, tsih: Tsih) {
        let Some(session) = self.session_of(tsih) else { return };
        self.sessions[session].has_ended = true;
        self.settle(session);
        let host = self.sessions[session].host;
        if self.hosts[host].session == Some(session) {
            // Their answers may be on the way, but nothing of them lands any more.
            for write in self.hosts[host].open.values().filter_map(|open| open.kind.write()) {
                self.oracle.write_over(write);
            }
        }
        if self.bug == Some(Bug::EndedForgotten) {
            return;
        }
        if let Some((next, tsih)) = self.registry.ended(tsih) {
            self.admit(next, tsih);
        }
    }
}
