//! How a session ends by agreement: the initiator logs out, on its own or because it was asked to (RFC 7143 sections 11.9.1, 11.14
//! and 11.15).

use super::continuation::Allegiance;
use super::event::Event;
use super::session::{Request, Session};
use super::state::{State, Transition};
use super::transmit::Transmission;
use crate::{CloseReason, SessionType, Violation};
use iscsi_pdu::{AsyncEvent, LogoutReason, LogoutRequest, LogoutResponseCode};
use std::time::Instant;

impl Session {
    // RFC 7143 7.4.3-1, 11.9.1-1: on the connection that is to go, and none in a discovery session.
    /// Asks the initiator to log out, by an asynchronous message on every connection; after the grace period the connections are
    /// dropped. A discovery session is dropped at once.
    pub fn request_logout(&mut self, now: Instant) {
        if self.is_closed() {
            return;
        }
        // RFC 7143 7.4.3: in a discovery session the connection is dropped instead.
        if self.session_type == SessionType::Discovery {
            return self.close(CloseReason::Terminated);
        }
        let grace = self.config.logout_grace;
        let seconds = u16::try_from(grace.as_secs()).unwrap_or(u16::MAX);
        for connection in self.connections.iter_mut().filter(|connection| connection.state == State::LoggedIn) {
            connection.pass(Transition::LogoutWanted);
            connection.timers.expect_logout(now + grace);
            // RFC 7143 11.9.1: it is sent on the connection that is to be logged out.
            connection
                .transmit
                .push(Transmission::Async { event: AsyncEvent::LogoutRequest, parameters: [0, 0, seconds] });
        }
    }

    // RFC 7143 4.2.6-2: so the initiator is told.
    /// Ends the session: another one takes its place, or the target goes away. The initiator is told by an asynchronous message.
    pub fn terminate(&mut self) {
        if self.session_type == SessionType::Normal {
            let parameters = [0, self.parameters.time_2_wait, 0];
            for connection in self.connections.iter_mut().filter(|connection| connection.is_open()) {
                connection.transmit.push(Transmission::Async { event: AsyncEvent::SessionDrop, parameters });
            }
        }
        self.close(CloseReason::Terminated);
    }

    pub(super) fn handle_logout(&mut self, at: usize, pdu: LogoutRequest) {
        self.acknowledge_by_logout(at, &pdu);
        match self.admit_logout(at, &pdu) {
            Err(violation) => self.violate(at, violation, pdu.into()),
            Ok(true) => {
                self.count(at, pdu.immediate);
                self.log_out(at, &pdu);
            }
            Ok(false) => self.hold(at, pdu.cmd_sn, Request::Logout(pdu)),
        }
    }

    /// RFC 7143 11.14.4: ExpStatSN is that of the connection that is to be closed.
    fn acknowledge_by_logout(&mut self, at: usize, pdu: &LogoutRequest) {
        let closing = if pdu.reason == LogoutReason::CloseSession { Some(at) } else { self.find_unfinished(pdu.cid) };
        if let Some(closing) = closing {
            self.acknowledge(closing, pdu.exp_stat_sn);
        }
    }

    fn admit_logout(&self, at: usize, pdu: &LogoutRequest) -> Result<bool, Violation> {
        // RFC 7143 4.3: a discovery session is closed as a whole.
        if self.session_type == SessionType::Discovery && pdu.reason != LogoutReason::CloseSession {
            return Err(Violation::NotInDiscovery);
        }
        let turn = self.admit(at, pdu.immediate, pdu.cmd_sn)?;
        if self.has_request(pdu.initiator_task_tag) { Err(Violation::TagInUse) } else { Ok(turn) }
    }

    pub(super) fn log_out(&mut self, at: usize, pdu: &LogoutRequest) {
        // RFC 7143 11.15.4: with Time2Retain 0 there is nothing to recover.
        let nothing_to_recover = self.parameters.error_recovery_level == 2 && !self.retains();
        let reason = match pdu.reason {
            LogoutReason::RemoveForRecovery if nothing_to_recover => LogoutReason::CloseConnection,
            reason => reason,
        };
        match (reason, self.find_unfinished(pdu.cid)) {
            (LogoutReason::CloseSession, _) => self.log_out_session(at, pdu),
            (_, None) => self.answer_logout(at, pdu, LogoutResponseCode::CidNotFound),
            (LogoutReason::CloseConnection, Some(closing)) if closing == at => {
                self.log_out_own(at, pdu, LogoutResponseCode::Closed, CloseReason::LoggedOut);
            }
            (LogoutReason::CloseConnection, Some(closing)) => self.log_out_other(at, pdu, closing),
            (LogoutReason::RemoveForRecovery, Some(closing)) if self.retains() => {
                self.remove_for_recovery(at, pdu, closing);
            }
            (LogoutReason::RemoveForRecovery, Some(closing)) if closing == at => {
                self.log_out_own(at, pdu, LogoutResponseCode::RecoveryNotSupported, CloseReason::LogoutFailed);
            }
            (LogoutReason::RemoveForRecovery, Some(_)) => {
                self.answer_logout(at, pdu, LogoutResponseCode::RecoveryNotSupported);
            }
        }
    }

    fn answer_logout(&mut self, at: usize, pdu: &LogoutRequest, response: LogoutResponseCode) {
        let (tag, immediate) = (pdu.initiator_task_tag, pdu.immediate);
        self.connections[at].transmit.push(Transmission::Logout { tag, response, immediate });
    }

    // RFC 7143 11.14-3: of the whole session.
    fn log_out_session(&mut self, at: usize, pdu: &LogoutRequest) {
        self.connections[at].pass(Transition::LogoutReceived);
        let cid = self.connections[at].cid;
        // RFC 7143 11.14: commands that are pending end; what has ended before on this connection still goes out.
        self.abort_all(|task| task.allegiance != Allegiance::To(cid) || !task.has_ended());
        self.answer_logout(at, pdu, LogoutResponseCode::Closed);
        self.end(CloseReason::LoggedOut);
        for other in (0..self.connections.len()).filter(|other| *other != at) {
            self.connections[other].transmit.clear();
        }
    }

    // RFC 7143 11.14-3: of this connection.
    /// A logout of the connection that it comes on. What has ended before still goes out.
    fn log_out_own(&mut self, at: usize, pdu: &LogoutRequest, response: LogoutResponseCode, reason: CloseReason) {
        self.connections[at].pass(Transition::LogoutReceived);
        self.drop_behind_fence(at);
        self.abort_tasks_of(at, |task| !task.has_ended());
        self.answer_logout(at, pdu, response);
        self.close_connection(at, reason);
    }

    /// A logout of another connection, on which nothing more is sent.
    fn log_out_other(&mut self, at: usize, pdu: &LogoutRequest, closing: usize) {
        self.answer_logout(at, pdu, LogoutResponseCode::Closed);
        let (was_open, cid) = (self.connections[closing].is_open(), pdu.cid);
        self.connections[closing].pass(Transition::Failed);
        self.connections[closing].pass(Transition::LogoutReceived);
        self.abort_all(|task| task.allegiance == Allegiance::Failed(cid));
        self.abort_tasks_of(closing, |_| true);
        self.leave(closing, Transition::LogoutDone);
        self.drop_transmissions(closing);
        if was_open {
            self.connections[closing].statuses.give_up();
            self.events.push_back(Event::ConnectionClosed { cid, reason: CloseReason::LoggedOut });
        } else {
            self.remove_connection(cid);
        }
    }

    /// RFC 7143 11.14.1, reason 2: the tasks of a connection may be reassigned.
    fn remove_for_recovery(&mut self, at: usize, pdu: &LogoutRequest, closing: usize) {
        let (was_open, cid) = (self.connections[closing].is_open(), pdu.cid);
        self.free_tasks(closing);
        if closing != at {
            self.connections[closing].pass(Transition::Failed);
        }
        self.connections[closing].pass(Transition::LogoutReceived);
        self.answer_logout(at, pdu, LogoutResponseCode::Closed);
        self.connections[closing].pass(Transition::LogoutDone);
        if was_open {
            let reason = CloseReason::RemovedForRecovery;
            self.events.push_back(Event::ConnectionClosed { cid, reason });
        } else {
            self.remove_connection(cid);
        }
        self.note_connections();
    }
}
