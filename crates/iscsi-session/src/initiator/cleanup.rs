//! How connections end, and what becomes of their requests (RFC 7143 sections 4.2.2.1, 7.14 and 8.2).
//!
//! ```text
//!  a connection is lost ──> requests of its own end ──> Time2Wait ──> CleanupDue ──> logout elsewhere, or a new login
//!                           numbers the target misses       └── Time2Retain ──> the target has forgotten it
//!                           wait to be plugged ──────────────────────────────────> plugged, or sent again
//! ```

use super::connection::{Connection, joined};
use super::state::{ConnectionTransition, SessionState, SessionTransition};
use super::task::{Plugged, Request};
use super::timers::Retention;
use super::{Event, Session};
use crate::{CloseReason, LoginOutcome};
use iscsi_pdu::{Cid, InitiatorTaskTag};
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
        let connection = Connection::new(outcome, parameters, self.config, now);
        self.numbering.update_window(outcome.cmd_sn, outcome.max_cmd_sn);
        self.state = self.state.after(SessionTransition::Login);
        let cid = outcome.cid;
        if self.connections.get(cid).is_none() {
            return self.connections.push(connection);
        }
        self.fail_logouts_over(now, cid);
        self.end_requests(cid);
        let old = self.connections.known(cid);
        *old = Connection { requests: old.requests, ..connection };
        self.adopt(cid, cid);
    }

    /// How long the target remembers a connection that broke (RFC 7143 section 7.5.1).
    pub(super) fn default_retention(&self) -> Retention {
        let parameters = self.connections.session_parameters();
        parameters.map_or(Retention::from_seconds(0, 0), |parameters| {
            Retention::from_seconds(parameters.time_2_wait, parameters.time_2_retain)
        })
    }

    /// A connection is gone without a logout. Requests that it alone can answer are lost.
    pub(super) fn lose(&mut self, now: Instant, cid: Cid, reason: CloseReason, retention: Retention) {
        if !self.cids().any(|other| other == cid) {
            return;
        }
        // The other connections of a session that logs out have nothing left to do.
        if self.is_logging_out(cid) {
            return self.close(reason);
        }
        let connection = self.connections.known(cid);
        connection.make(ConnectionTransition::Failure);
        connection.outbox.shut();
        connection.recovery = None;
        connection.timers.begin_cleanup(now, retention);
        self.fail_logouts_over(now, cid);
        self.end_requests(cid);
        if !self.has_connection() {
            return self.close(reason);
        }
        self.events.push_back(Event::ConnectionClosed { cid, reason });
        if let Some(over) = self.carrier() {
            self.adopt_unsent(cid, over);
        }
    }

    /// A connection was logged out.
    pub(super) fn end_connection(&mut self, now: Instant, cid: Cid, reason: CloseReason) {
        self.connections.known(cid).make(ConnectionTransition::End);
        self.fail_logouts_over(now, cid);
        self.end_requests(cid);
        if !self.has_connection() {
            return self.close(reason);
        }
        self.events.push_back(Event::ConnectionClosed { cid, reason });
        self.end_cleanup(cid, self.carrier());
    }

    /// The target knows that a connection is gone, or has forgotten it: what it misses is sent on another.
    pub(super) fn end_cleanup(&mut self, cid: Cid, over: Option<Cid>) {
        let Some(connection) = self.connections.get_mut(cid) else { return };
        connection.make(ConnectionTransition::End);
        match over {
            Some(over) => self.adopt(cid, over),
            None => self.requests_of(cid).into_iter().for_each(|tag| self.give_up(tag)),
        }
        self.connections.remove(cid);
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

    /// Whether there is a connection on which the session goes on.
    fn has_connection(&self) -> bool {
        self.connections.iter().any(|connection| connection.state.is_full_feature())
    }

    /// The requests of a connection, in the order of their numbers.
    fn requests_of(&self, cid: Cid) -> Vec<InitiatorTaskTag> {
        self.requests.ordered(self.numbering.cmd_sn(), |_, entry| entry.cid == cid)
    }

    /// Ends the requests of a connection that is gone, but for those whose number the target may miss: without it no later
    /// command would be executed (RFC 7143 section 4.2.2.1). They wait for a NOP-Out to take the number.
    fn end_requests(&mut self, cid: Cid) {
        self.connections.known(cid).texts.clear();
        for tag in self.requests_of(cid) {
            let entry = self.requests.get_mut(tag).expect("a request that was found");
            if !entry.request.has_number() || self.numbering.is_acknowledged(entry.cmd_sn) {
                self.give_up(tag);
            } else if !matches!(entry.request, Request::Plug(_)) {
                entry.request = Request::Plug(Plugged::Lost);
            }
        }
    }

    /// Sends what never went out on a connection that is gone.
    fn adopt_unsent(&mut self, cid: Cid, over: Cid) {
        for tag in self.requests_of(cid) {
            if self.requests.get(tag).is_some_and(|entry| !entry.is_sent) {
                self.adopt_request(tag, over);
            }
        }
    }

    /// Sends what the target misses of a connection that it knows to be gone. Before that, a second NOP-Out of the same number
    /// might meet the first command still on its way (RFC 7143 section 7.2.1).
    fn adopt(&mut self, cid: Cid, over: Cid) {
        for tag in self.requests_of(cid) {
            let entry = self.requests.get(tag).expect("a request that was found");
            if self.numbering.is_acknowledged(entry.cmd_sn) {
                self.give_up(tag);
            } else {
                self.adopt_request(tag, over);
            }
        }
    }

    fn adopt_request(&mut self, tag: InitiatorTaskTag, over: Cid) {
        let entry = self.requests.get_mut(tag).expect("a request that was found");
        self.connections.known(entry.cid).requests -= 1;
        (entry.cid, entry.is_sent) = (over, false);
        let connection = self.connections.known(over);
        connection.requests += 1;
        connection.outbox.push_request(tag);
    }

    /// Ends a request to which no answer will come.
    pub(super) fn give_up(&mut self, tag: InitiatorTaskTag) {
        let entry = self.remove(tag).expect("a request that was found");
        let event = match entry.request {
            Request::Plug(plugged) => plugged.event(tag),
            _ => Event::TaskLost { tag },
        };
        self.concluded.push(tag);
        self.events.push_back(event);
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
        self.unacknowledged_since = None;
        self.events.extend(self.requests.drain().map(|tag| Event::TaskLost { tag }));
        self.events.push_back(Event::Closed(reason));
    }
}
