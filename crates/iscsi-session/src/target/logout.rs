//! How a session ends by agreement: the initiator logs out, on its own or because it was asked to (RFC 7143 sections 11.9.1, 11.14
//! and 11.15).

use super::session::{Request, Session};
use super::state::{State, Transition};
use super::task::Stage;
use super::transmit::Transmission;
use crate::{CloseReason, SessionType, Violation};
use iscsi_pdu::{AsyncEvent, LogoutReason, LogoutRequest, LogoutResponseCode};
use std::time::Instant;

impl Session {
    /// Asks the initiator to log out, by an asynchronous message; after the grace period the connection is dropped. A discovery
    /// session is dropped at once.
    pub fn request_logout(&mut self, now: Instant) {
        if self.closed.is_some() {
            return;
        }
        // RFC 7143 7.4.3: in a discovery session the connection is dropped instead.
        if self.session_type == SessionType::Discovery {
            return self.close(CloseReason::Terminated);
        }
        if self.state == State::LogoutRequested {
            return;
        }
        self.pass(Transition::LogoutWanted);
        self.timers.expect_logout(now + self.config.logout_grace);
        let seconds = u16::try_from(self.config.logout_grace.as_secs()).unwrap_or(u16::MAX);
        self.transmit.push(Transmission::Async { event: AsyncEvent::LogoutRequest, parameters: [0, 0, seconds] });
    }

    /// Ends the session: another one takes its place, or the target goes away. The initiator is told by an asynchronous message.
    pub fn terminate(&mut self) {
        if self.closed.is_none() && self.session_type == SessionType::Normal {
            let parameters = [0, self.parameters.time_2_wait, 0];
            self.transmit.push(Transmission::Async { event: AsyncEvent::SessionDrop, parameters });
        }
        self.close(CloseReason::Terminated);
    }

    pub(super) fn handle_logout(&mut self, pdu: LogoutRequest) {
        self.statuses.acknowledge(pdu.exp_stat_sn);
        match self.admit_logout(&pdu) {
            Err(violation) => self.violate(violation, pdu.into()),
            Ok(true) => {
                self.count(pdu.immediate);
                self.log_out(&pdu);
            }
            Ok(false) => self.window.hold(pdu.cmd_sn, Request::Logout(pdu)),
        }
    }

    fn admit_logout(&self, pdu: &LogoutRequest) -> Result<bool, Violation> {
        // RFC 7143 4.3: a discovery session is closed as a whole.
        if self.session_type == SessionType::Discovery && pdu.reason != LogoutReason::CloseSession {
            return Err(Violation::NotInDiscovery);
        }
        let turn = self.admit(pdu.immediate, pdu.cmd_sn)?;
        if self.has_request(pdu.initiator_task_tag) { Err(Violation::TagInUse) } else { Ok(turn) }
    }

    pub(super) fn log_out(&mut self, pdu: &LogoutRequest) {
        let (response, reason) = if pdu.reason != LogoutReason::CloseSession && pdu.cid != self.cid {
            (LogoutResponseCode::CidNotFound, None)
        } else if pdu.reason == LogoutReason::RemoveForRecovery {
            (LogoutResponseCode::RecoveryNotSupported, Some(CloseReason::LogoutFailed))
        } else {
            (LogoutResponseCode::Closed, Some(CloseReason::LoggedOut))
        };
        if reason.is_some() {
            self.pass(Transition::LogoutReceived);
            // RFC 7143 11.14: commands that are pending end; what has ended before still goes out.
            self.abort_all(|stage| !matches!(stage, Stage::Sending(_)));
        }
        let (tag, immediate) = (pdu.initiator_task_tag, pdu.immediate);
        self.transmit.push(Transmission::Logout { tag, response, immediate });
        if let Some(reason) = reason {
            self.end(reason);
        }
    }
}
