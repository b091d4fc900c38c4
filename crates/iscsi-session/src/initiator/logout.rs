//! Logout: of the session, of a connection over itself, and of one that is gone over another (RFC 7143 sections 11.14 and 11.15).

use super::state::ConnectionTransition;
use super::task::{Entry, Request};
use super::timers::Retention;
use super::{Event, Logout, Session};
use crate::{CloseReason, Violation};
use iscsi_pdu::{
    Cid, CmdSn, InitiatorTaskTag, LogoutReason, LogoutRequest, LogoutResponse, LogoutResponseCode, StatSn,
};
use std::time::{Duration, Instant};

/// A logout that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogoutTask {
    pub(super) logout: Logout,
    /// ExpStatSN of a connection that is gone.
    exp_stat_sn: Option<StatSn>,
}

impl LogoutTask {
    pub(super) fn request(&self, tag: InitiatorTaskTag, cmd_sn: CmdSn, exp_stat_sn: StatSn) -> LogoutRequest {
        let (reason, cid) = match self.logout {
            // RFC 7143 11.14.3: the CID means nothing when the whole session is to end.
            Logout::Session => (LogoutReason::CloseSession, Cid(0)),
            Logout::Connection(cid) => (LogoutReason::CloseConnection, cid),
            Logout::ForRecovery(cid) => (LogoutReason::RemoveForRecovery, cid),
        };
        // RFC 7143 11.14.4: the number is that of the connection that ends.
        let exp_stat_sn = self.exp_stat_sn.unwrap_or(exp_stat_sn);
        LogoutRequest { immediate: true, reason, initiator_task_tag: tag, cid, cmd_sn, exp_stat_sn }
    }

    /// Whether nothing follows it on the connection `over` which it goes.
    pub(super) fn is_last(&self, over: Cid) -> bool {
        self.logout.other_than(over).is_none()
    }
}

impl Logout {
    /// The connection that ends, if it is not the one over which the request goes, nor all.
    pub(super) fn other_than(self, over: Cid) -> Option<Cid> {
        match self {
            Self::Session => None,
            Self::Connection(cid) | Self::ForRecovery(cid) => Some(cid).filter(|cid| *cid != over),
        }
    }
}

impl Logout {
    /// How long the target keeps the tasks after it.
    fn retention(self, told: Retention) -> Retention {
        if matches!(self, Self::ForRecovery(_)) { told } else { Retention::from_seconds(0, 0) }
    }
}

impl Session {
    /// Ends the session or one of its connections; immediate. [`Event::LogoutComplete`] ends the request, and
    /// [`Event::ConnectionClosed`] or [`Event::Closed`] tells what has ended.
    ///
    /// What was asked for before on the connection `cid`, over which the request goes, is sent first, but nothing after if that
    /// connection is to end. Requests without an answer are lost, unless the logout is for recovery.
    ///
    /// A connection other than `cid` is ended at once, if it is still there, and the logout tells the target. One that the session
    /// does not have is answered here.
    ///
    /// # Panics
    /// If `tag` is in use: a bug of the caller.
    pub fn logout(&mut self, now: Instant, cid: Cid, tag: InitiatorTaskTag, logout: Logout) {
        // RFC 7143 4.3: a discovery session ends as a whole.
        let logout = if self.is_discovery() { Logout::Session } else { logout };
        let Some(other) = logout.other_than(cid) else { return self.log_out(now, cid, tag, logout) };
        if self.connections.get(other).is_none() {
            let response = LogoutResponseCode::CidNotFound;
            return self.events.push_back(Event::LogoutComplete { tag, response });
        }
        if !self.takes_requests(cid, tag) {
            return;
        }
        // RFC 7143 11.14: over another connection, when the connection that ends is closed already.
        if self.connections.known(other).state.is_full_feature() {
            let retention = self.default_retention();
            self.lose(now, other, CloseReason::Terminated, retention);
        }
        self.clean_up(now, cid, tag, logout, other);
    }

    /// Logs out what the request is sent on.
    fn log_out(&mut self, now: Instant, cid: Cid, tag: InitiatorTaskTag, logout: Logout) {
        if !self.request_immediately(cid, tag, Request::Logout(LogoutTask { logout, exp_stat_sn: None })) {
            return;
        }
        self.connections.known(cid).timers.expect_logout(now);
        for connection in self.connections.iter_mut() {
            if connection.cid == cid {
                connection.make(ConnectionTransition::Logout);
            } else if logout == Logout::Session {
                // RFC 7143 11.14: no request goes on any connection any more.
                connection.make(ConnectionTransition::Logout);
                connection.outbox.shut();
            }
        }
    }

    // RFC 7143 11.14-6: over another connection.
    /// Logs out a connection that is gone (CSM-E of RFC 7143 section 8.2).
    fn clean_up(&mut self, now: Instant, cid: Cid, tag: InitiatorTaskTag, logout: Logout, other: Cid) {
        let task = LogoutTask { logout, exp_stat_sn: Some(self.connections.known(other).exp_stat_sn) };
        if self.request_immediately(cid, tag, Request::Logout(task)) {
            self.connections.known(cid).timers.expect_logout(now);
            let gone = self.connections.known(other);
            gone.make(ConnectionTransition::Cleanup);
            gone.timers.forget_cleanup_due();
        }
    }

    pub(super) fn handle_logout_response(
        &mut self,
        now: Instant,
        cid: Cid,
        pdu: LogoutResponse,
    ) -> Result<(), Violation> {
        self.numbering.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        self.connections.known(cid).count_status(pdu.stat_sn)?;
        let (tag, response) = (pdu.initiator_task_tag, pdu.response);
        let Some(&mut Entry { request: Request::Logout(task), .. }) = self.requests.sent(cid, tag) else {
            return self.check_concluded(cid, tag);
        };
        self.remove(tag);
        self.events.push_back(Event::LogoutComplete { tag, response });
        let is_done = response == LogoutResponseCode::Closed;
        let retention = Retention::from_seconds(pdu.time_2_wait, pdu.time_2_retain);
        match (task.logout.other_than(cid), task.logout) {
            (Some(other), logout) if is_done => {
                self.look_for_logouts(now, cid);
                self.end_cleanup(now, other, Some(cid), logout.retention(retention));
            }
            // An earlier logout may have arrived whose answer did not; then the target has the tasks still.
            (Some(other), logout) if response == LogoutResponseCode::CidNotFound => {
                self.look_for_logouts(now, cid);
                let retention = Retention { wait: Duration::ZERO, ..self.default_retention() };
                self.end_cleanup(now, other, Some(cid), logout.retention(retention));
            }
            // RFC 7143 8.1.2: T13, or else T17.
            (None, Logout::Session) if is_done => self.close(CloseReason::LoggedOut),
            (None, logout) if is_done => self.end_connection(now, cid, logout.retention(retention)),
            _ => self.fail_logout(now, cid, task, retention),
        }
        Ok(())
    }

    /// The target refuses a logout, or does not answer it.
    pub(super) fn fail_logout(&mut self, now: Instant, cid: Cid, task: LogoutTask, retention: Retention) {
        match (task.logout.other_than(cid), task.logout) {
            (None, Logout::Session) => self.close(CloseReason::LogoutFailed),
            (None, _) => self.lose(now, cid, CloseReason::LogoutFailed, retention),
            (Some(other), _) => {
                self.look_for_logouts(now, cid);
                self.fail_cleanup(now, other, retention);
            }
        }
    }

    /// A logout over a connection is not waited for any more; others may be.
    fn look_for_logouts(&mut self, now: Instant, cid: Cid) {
        let waits = !self.logouts_over(cid).is_empty();
        let timers = &mut self.connections.known(cid).timers;
        timers.forget_logout();
        if waits {
            timers.expect_logout(now);
        }
    }

    /// The target has not answered a logout in time.
    pub(super) fn handle_logout_overdue(&mut self, now: Instant, cid: Cid) {
        let retention = self.default_retention();
        self.connections.known(cid).timers.forget_logout();
        for (tag, task) in self.logouts_over(cid) {
            // The first may have ended the others, with the connection.
            if self.requests.get(tag).is_some() {
                self.give_up(tag);
                self.fail_logout(now, cid, task, retention);
            }
        }
    }

    /// A connection is gone, and with it the answers to logouts of others (M3 of RFC 7143 section 8.2.2).
    pub(super) fn fail_logouts_over(&mut self, now: Instant, cid: Cid) {
        let retention = self.default_retention();
        for (_, task) in self.logouts_over(cid) {
            if let Some(other) = task.logout.other_than(cid) {
                self.fail_cleanup(now, other, retention);
            }
        }
    }

    /// Whether the session is being logged out over this connection.
    pub(super) fn is_logging_out(&self, cid: Cid) -> bool {
        self.logouts_over(cid).iter().any(|(_, task)| task.logout == Logout::Session)
    }

    fn logouts_over(&self, cid: Cid) -> Vec<(InitiatorTaskTag, LogoutTask)> {
        let logouts = self.requests.iter().filter(|(_, entry)| entry.cid == cid);
        logouts
            .filter_map(|(tag, entry)| match entry.request {
                Request::Logout(task) => Some((tag, task)),
                _ => None,
            })
            .collect()
    }
}
