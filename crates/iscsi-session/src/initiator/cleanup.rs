//! How connections come, end, and are forgotten (RFC 7143 sections 6.3.4, 7.5, 7.14 and 8.2).
//!
//! ```text
//!  lost ──> Time2Wait ──> CleanupDue ──> logout elsewhere, or a new login ──> what it has left goes on
//!                └─────── Time2Retain ──> the target has forgotten it ──────> what it has left is lost, its numbers are filled
//! ```

use super::connection::{Connection, joined};
use super::state::{ConnectionState, ConnectionTransition, SessionState, SessionTransition};
use super::timers::Retention;
use super::{Event, Session};
use crate::{CloseReason, LoginOutcome};
use iscsi_pdu::Cid;
use std::time::Instant;

impl Session {
    /// Takes a connection that has just logged in: a further one, or one in the place of the connection with the same CID, which
    /// is logged out by it (RFC 7143 section 6.3.4). The owner has closed that one, and has reported its loss if it saw one.
    /// A session that has ended, or for which a logout was asked, takes none; the owner closes it again.
    pub fn add_connection(&mut self, outcome: &LoginOutcome, now: Instant) {
        if self.cids().any(|cid| self.is_logging_out(cid)) {
            return;
        }
        let Some(session) = self.connections.session_parameters() else { return };
        let parameters = joined(session, &outcome.parameters);
        let is_successor = self.connections.has_had(outcome.cid);
        let connection = Connection { is_successor, ..Connection::new(outcome, parameters, self.config, now) };
        // Not every target says in a login what it has received.
        let is_told = !outcome.cmd_sn.precedes(self.numbering.exp_cmd_sn());
        self.numbering.update_window(outcome.cmd_sn, outcome.max_cmd_sn);
        self.state = self.state.after(SessionTransition::Login);
        let cid = outcome.cid;
        if self.connections.get(cid).is_some() {
            self.reinstate(now, connection, is_told);
        } else {
            self.connections.push(connection);
        }
        self.adopt_logged_out(now, cid);
    }

    // RFC 7143 6.3.4-4, 11.14-6: a login does what a logout would, for one that the owner has closed.
    fn reinstate(&mut self, now: Instant, connection: Connection, is_told: bool) {
        let cid = connection.cid;
        let retention = self.default_retention();
        self.fail_logouts_over(now, cid);
        self.end_requests(cid, retention);
        let old = self.connections.known(cid);
        *old = Connection { requests: old.requests, adopts: !is_told, ..connection };
        if is_told {
            self.adopt(now, cid, cid, retention);
        } else {
            self.want_ping(cid);
        }
    }

    /// The first PDU on a connection has told what the target has received.
    pub(super) fn adopt_late(&mut self, now: Instant, cid: Cid) {
        if let Some(connection) = self.connections.get_mut(cid).filter(|connection| connection.state.is_full_feature())
        {
            connection.adopts = false;
            self.adopt(now, cid, cid, self.default_retention());
        }
    }

    /// A connection that was logged out for recovery when there was no other has left its tasks to the next.
    fn adopt_logged_out(&mut self, now: Instant, over: Cid) {
        let is_free = |connection: &&Connection| connection.state == ConnectionState::Free;
        let free: Vec<_> = self.connections.iter().filter(is_free).map(|connection| connection.cid).collect();
        for cid in free {
            let retention = Retention { wait: Default::default(), ..self.default_retention() };
            self.end_cleanup(now, cid, Some(over), retention);
        }
    }

    /// How long the target remembers a connection that broke (RFC 7143 section 7.5.1).
    pub(super) fn default_retention(&self) -> Retention {
        let parameters = self.connections.session_parameters();
        parameters.map_or(Retention::from_seconds(0, 0), |parameters| {
            Retention::from_seconds(parameters.time_2_wait, parameters.time_2_retain)
        })
    }

    // RFC 7143 7.1.4.3-1, 7.14-1, 7.14-2: its tasks wait or end.
    /// A connection is gone without a logout.
    pub(super) fn lose(&mut self, now: Instant, cid: Cid, reason: CloseReason, retention: Retention) {
        if !self.cids().any(|other| other == cid) {
            return;
        }
        // The other connections of a session that logs out have nothing left to do.
        if self.is_logging_out(cid) {
            return self.close(reason);
        }
        self.connections.known(cid).end(now, ConnectionTransition::Failure, reason, retention);
        self.fail_logouts_over(now, cid);
        let unsent = self.end_requests(cid, retention);
        self.leave(cid, reason, retention);
        if let Some(over) = self.carrier() {
            // No second command of the same number can meet these.
            unsent.into_iter().for_each(|tag| self.send_over(tag, over));
        }
    }

    /// A connection was logged out over itself, and if for recovery, its tasks are kept for so long.
    pub(super) fn end_connection(&mut self, now: Instant, cid: Cid, retention: Retention) {
        let reason = CloseReason::LoggedOut;
        self.connections.known(cid).end(now, ConnectionTransition::End, reason, retention);
        self.fail_logouts_over(now, cid);
        self.end_requests(cid, retention);
        self.leave(cid, reason, retention);
        if let Some(over) = self.carrier() {
            self.end_cleanup(now, cid, Some(over), retention);
        }
    }

    /// Tells that a connection has ended, or with it the session, unless its tasks wait for another connection.
    fn leave(&mut self, cid: Cid, reason: CloseReason, retention: Retention) {
        if self.cids().next().is_none() {
            if !self.keeps_tasks(retention) {
                return self.close(reason);
            }
            // RFC 7143 6.3.6: the session has failed, and may be continued.
            self.state = self.state.after(SessionTransition::Failure);
        }
        self.events.push_back(Event::ConnectionClosed { cid, reason });
    }

    /// The target knows that a connection is gone, or has forgotten it: what it has left goes on on another.
    pub(super) fn end_cleanup(&mut self, now: Instant, cid: Cid, over: Option<Cid>, retention: Retention) {
        // It may have been reinstated in the meantime.
        let Some(connection) = self.connections.get_mut(cid).filter(|connection| !connection.state.is_full_feature())
        else {
            return;
        };
        connection.make(ConnectionTransition::End);
        let reason = connection.reason;
        match over {
            Some(over) => self.adopt(now, cid, over, retention),
            None => self.give_up_all(cid),
        }
        self.connections.remove(cid);
        // RFC 7143 6.3.5: the session times out with the last state of a connection.
        if self.connections.iter().next().is_none() {
            self.close(reason.unwrap_or(CloseReason::ConnectionLost));
        }
    }

    /// The target has forgotten a connection, and with it the tasks.
    pub(super) fn handle_forgotten(&mut self, now: Instant, cid: Cid) {
        self.end_cleanup(now, cid, self.carrier(), Retention::from_seconds(0, 0));
    }

    /// A logout of a connection that is gone has failed.
    pub(super) fn fail_cleanup(&mut self, now: Instant, cid: Cid, retention: Retention) {
        if let Some(connection) = self.connections.get_mut(cid) {
            connection.make(ConnectionTransition::CleanupFailure);
            connection.timers.retry_cleanup(now, retention.wait);
        }
    }

    /// A connection for what another has left.
    pub(super) fn carrier(&self) -> Option<Cid> {
        let mut others = self.connections.iter().filter(|connection| connection.state.takes_requests());
        self.least_busy().or_else(|| others.next().map(|connection| connection.cid))
    }

    /// Ends the session, once: every request is lost.
    pub(super) fn close(&mut self, reason: CloseReason) {
        if self.is_closed() {
            return;
        }
        let ending =
            if reason == CloseReason::LoggedOut { SessionTransition::Closure } else { SessionTransition::Failure };
        self.state = self.state.after(ending).after(SessionTransition::TimeOut);
        debug_assert_eq!(self.state, SessionState::Free);
        self.connections.clear();
        self.probe = None;
        self.events.extend(self.requests.drain().map(|tag| Event::TaskLost { tag }));
        self.events.push_back(Event::Closed(reason));
    }
}
