//! The connections of a session: what belongs to one alone, how they come and how they go (RFC 7143 sections 4.2.5.1, 6.3.4, 7.14
//! and 8.1).
//!
//! In: logins that join, and the ends of connections. Out: the tasks that end with them, and who is told.
//!
//! Invariants: no two connections have the same CID; a connection that has ended takes nothing more, and is there only until what
//! it had to send has left; the session ends with the last one that is open.

use super::continuation::Allegiance;
use super::event::Event;
use super::numbering::StatusNumbering;
use super::retention::Retention;
use super::session::{Immediates, Session, SessionConfig};
use super::session_state::SessionTransition;
use super::state::{State, Transition};
use super::stragglers::Stragglers;
use super::task::{Task, TaskId};
use super::text::Exchange;
use super::timers::Timers;
use super::transmit::{Transmission, TransmitQueue};
use crate::{CloseReason, LoginOutcome, SessionType};
use iscsi_pdu::{AsyncEvent, Cid, LoginStatus, TargetTransferTag};
use std::time::Instant;

/// What belongs to one connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) cid: Cid,
    pub(super) state: State,
    /// MaxRecvDataSegmentLength of the target, in bytes.
    pub(super) receive_segment_bytes_max: u32,
    /// MaxRecvDataSegmentLength of the initiator, in bytes.
    pub(super) send_segment_bytes_max: u32,
    /// A tag that the port has reserved for what places no data: pings and long texts.
    pub(super) tag: TargetTransferTag,
    pub(super) statuses: StatusNumbering,
    pub(super) retention: Retention,
    pub(super) immediates: Immediates,
    pub(super) timers: Timers,
    pub(super) transmit: TransmitQueue,
    pub(super) stragglers: Stragglers,
    pub(super) text: Option<Exchange>,
    /// When a connection that has failed is given up.
    pub(super) cleanup_until: Option<Instant>,
}

impl Connection {
    pub(super) fn new(
        outcome: &LoginOutcome,
        session_type: SessionType,
        config: &SessionConfig,
        tag: TargetTransferTag,
        now: Instant,
    ) -> Self {
        Self {
            cid: outcome.cid,
            state: State::LoggedIn,
            receive_segment_bytes_max: outcome.parameters.receive_segment_bytes_max,
            send_segment_bytes_max: outcome.parameters.send_segment_bytes_max,
            tag,
            statuses: StatusNumbering::new(outcome.stat_sn),
            retention: Retention::default(),
            immediates: Immediates::default(),
            timers: Timers::new(session_type, config, now),
            transmit: TransmitQueue::new(),
            stragglers: Stragglers::default(),
            text: None,
            cleanup_until: None,
        }
    }

    /// Whether it is in the full feature phase.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::LoggedIn | State::InLogout | State::LogoutRequested)
    }

    /// Whether it is no part of the session any more, and is there until its last PDUs have left.
    pub(super) fn is_leaving(&self) -> bool {
        self.state == State::Free
    }

    // RFC 7143 11.7.7-2.
    /// Length of the segments that reads are cut into, in bytes. RFC 7143 11.7.7: pieces but the last of a sequence are whole
    /// words.
    pub(super) fn segment_bytes(&self) -> u32 {
        self.send_segment_bytes_max & !3
    }

    /// Goes a way of the connection's chart.
    pub(super) fn pass(&mut self, transition: Transition) {
        if let Some(state) = self.state.after(transition) {
            self.state = state;
        }
    }
}

impl Session {
    /// The connections that are open, the leading one first while it is.
    pub fn cids(&self) -> impl Iterator<Item = Cid> {
        self.connections.iter().filter(|connection| connection.is_open()).map(|connection| connection.cid)
    }

    // RFC 7143 4.2.1-2, 6.3.4-2, 6.3.4-3: one that takes the place of another does not count.
    /// Whether a login may join this session as the connection `cid`: success, or the status to refuse it with.
    #[must_use]
    pub fn admission(&self, cid: Cid) -> LoginStatus {
        if self.is_closed() {
            return LoginStatus::SessionDoesNotExist;
        }
        // RFC 7143 13.21: a discovery session has one connection. 13.2: no session has more than MaxConnections; those that wait for
        // their cleanup count.
        let unfinished = self.connections.iter().filter(|connection| connection.state != State::Free);
        let others = unfinished.filter(|connection| connection.cid != cid).count();
        if self.session_type == SessionType::Discovery || others >= usize::from(self.parameters.max_connections) {
            return LoginStatus::TooManyConnections;
        }
        LoginStatus::Success
    }

    /// A login has joined that [`admission`](Self::admission) had nothing against. A connection that has the same CID ends
    /// before (RFC 7143 section 6.3.4): [`Event::ConnectionClosed`] with [`CloseReason::Reinstated`] is then about the port that the
    /// owner had for this CID until now, and nothing is left to be sent on it.
    ///
    /// Of what was negotiated, only what belongs to a connection counts. `ping_tag` is a tag of the new port's that places nothing.
    ///
    /// # Panics
    /// If [`admission`](Self::admission) has something against it: a bug of the owner.
    pub fn add_connection(&mut self, outcome: &LoginOutcome, ping_tag: TargetTransferTag, now: Instant) {
        let admission = self.admission(outcome.cid);
        assert_eq!(admission, LoginStatus::Success, "a connection joins only where it may");
        self.now = now;
        let connection = Connection::new(outcome, self.session_type, &self.config, ping_tag, now);
        match self.find(outcome.cid) {
            Some(at) => {
                self.reinstate(at);
                self.connections[at] = connection;
            }
            None => self.connections.push(connection),
        }
        self.continue_until = None;
        self.pass(SessionTransition::ContinuationBegun);
        self.pass(SessionTransition::LoginDone);
        self.make_progress();
    }

    /// The connection `at` makes room for another of its CID.
    fn reinstate(&mut self, at: usize) {
        let was_open = self.connections[at].is_open();
        if self.retains() && self.connections[at].state != State::Free {
            // RFC 7143 11.14: with connection recovery it is a logout for recovery.
            self.free_tasks(at);
        } else {
            self.leave(at, Transition::EndsElsewhere);
            self.drop_transmissions(at);
        }
        if was_open {
            let cid = self.connections[at].cid;
            self.events.push_back(Event::ConnectionClosed { cid, reason: CloseReason::Reinstated });
        }
    }

    // RFC 7143 7.14-2: a session without connections that does not recover is over.
    /// A connection has ended. The session ends with its last.
    pub fn handle_connection_lost(&mut self, now: Instant, cid: Cid) {
        let Some(at) = self.find(cid) else { return };
        self.now = now;
        if self.connections[at].is_open() {
            self.fail_connection(at, CloseReason::ConnectionLost);
        }
        if self.connections[at].state == State::Free {
            self.drop_transmissions(at);
            self.connections.remove(at);
        }
        self.make_progress();
    }

    /// Where the connection `cid` is.
    #[inline]
    pub(super) fn find(&self, cid: Cid) -> Option<usize> {
        self.connections.iter().position(|connection| connection.cid == cid)
    }

    /// Where the connection `cid` is, if it is open.
    #[inline]
    pub(super) fn find_open(&self, cid: Cid) -> Option<usize> {
        self.find(cid).filter(|at| self.connections[*at].is_open())
    }

    /// Where the connection `cid` is, if it is open or waits for its cleanup.
    pub(super) fn find_unfinished(&self, cid: Cid) -> Option<usize> {
        self.find(cid).filter(|at| self.connections[*at].state != State::Free)
    }

    /// Where the connection is that a task is allegiant to.
    #[inline]
    pub(super) fn place_of(&self, task: &Task) -> Option<usize> {
        allegiant(&self.connections, task)
    }

    // RFC 7143 7.1.4.3-4, 7.1.4.3-5, 7.14-1: its tasks wait or end, and the initiator is told elsewhere.
    /// A connection that was open does not work any more: nothing that waits for it can be sent.
    pub(super) fn fail_connection(&mut self, at: usize, reason: CloseReason) {
        let cid = self.connections[at].cid;
        if self.retains() {
            self.suspend_failed(at);
            self.events.push_back(Event::ConnectionClosed { cid, reason });
            self.note_connections();
        } else {
            self.end_connection(at, reason);
            self.drop_transmissions(at);
        }
        // RFC 7143 7.1.4.3: the initiator is told on another connection.
        if let Some(other) = self.connections.iter_mut().find(|connection| connection.is_open()) {
            let retain = if self.parameters.error_recovery_level == 2 { self.parameters.time_2_retain } else { 0 };
            let parameters = [cid.0, self.parameters.time_2_wait, retain];
            other.transmit.push(Transmission::Async { event: AsyncEvent::ConnectionDrop, parameters });
        }
    }

    /// Ends a connection and all its tasks, and the session with its last connection.
    pub(super) fn end_connection(&mut self, at: usize, reason: CloseReason) {
        self.abort_tasks_of(at, |_| true);
        self.close_connection(at, reason);
    }

    /// Ends a connection, and the session with its last; the caller has seen to its tasks.
    pub(super) fn close_connection(&mut self, at: usize, reason: CloseReason) {
        // RFC 7143 6.3.5: a session that waits for recovery goes on without connections.
        if self.cids().nth(1).is_none() && !self.waits_for_recovery() {
            return self.end(reason);
        }
        self.leave(at, way_out(reason));
        self.events.push_back(Event::ConnectionClosed { cid: self.connections[at].cid, reason });
        self.note_connections();
    }

    /// Takes a connection out of the session; what it has to send stays.
    pub(super) fn leave(&mut self, at: usize, way: Transition) {
        self.abort_tasks_of(at, |task| !task.has_ended());
        let connection = &mut self.connections[at];
        connection.pass(way);
        // Without connection recovery nothing waits for the cleanup.
        connection.pass(Transition::CleanupTimeout);
        self.release_requests(at);
    }

    /// What was asked for on a connection is not answered any more.
    pub(super) fn release_requests(&mut self, at: usize) {
        let connection = &mut self.connections[at];
        if let Some(text) = connection.text.take()
            && text.holds_number()
        {
            self.window.release();
        }
        let cid = connection.cid;
        self.forget_fences_of(cid);
        self.forget_terminations_of(cid);
        self.orphan_functions(cid);
        self.let_go(at, |_| true);
    }

    /// Ends the tasks of a connection that `ends` picks, and forgets what waits for its turn.
    pub(super) fn abort_tasks_of(&mut self, at: usize, ends: impl Fn(&Task) -> bool) {
        let cid = self.connections[at].cid;
        // RFC 7143 11.14: commands that were not acknowledged are discarded, and their numbers are missing again.
        self.window.forget_held(|held| held.cid == cid);
        self.abort_all(|task| task.allegiance == Allegiance::To(cid) && ends(task));
    }

    /// Aborts all tasks that `ends` picks.
    pub(super) fn abort_all(&mut self, ends: impl Fn(&Task) -> bool) {
        let ending: Vec<TaskId> = self.tasks.iter().filter(|(_, task)| ends(task)).map(|(id, _)| id).collect();
        for id in ending {
            self.abort(id);
        }
    }

    /// Nothing can be sent on a connection any more.
    pub(super) fn drop_transmissions(&mut self, at: usize) {
        self.abort_tasks_of(at, |_| true);
        for _ in 0..self.connections[at].transmit.clear() {
            self.window.release();
        }
    }

    /// Ends the session and all its tasks.
    pub(super) fn close(&mut self, reason: CloseReason) {
        if !self.is_closed() {
            self.abort_all(|_| true);
            self.end(reason);
        }
    }

    /// Ends the session; the caller has seen to its tasks.
    pub(super) fn end(&mut self, reason: CloseReason) {
        (0..self.connections.len()).for_each(|at| self.let_go(at, |_| true));
        for connection in &mut self.connections {
            connection.pass(way_out(reason));
            connection.pass(Transition::EndsElsewhere);
            connection.text = None;
        }
        self.pass(SessionTransition::Closed);
        self.management.clear();
        self.fences.clear();
        self.terminations.clear();
        self.deferred.clear();
        self.closed = Some(reason);
        self.events.push_back(Event::Closed(reason));
    }
}

/// Where the connection is that a task is allegiant to.
#[inline]
pub(super) fn allegiant(connections: &[Connection], task: &Task) -> Option<usize> {
    match task.allegiance {
        Allegiance::To(cid) => connections.iter().position(|connection| connection.cid == cid),
        Allegiance::Failed(_) | Allegiance::Free(_) => None,
    }
}

/// The way of the chart that a reason for an end takes.
fn way_out(reason: CloseReason) -> Transition {
    match reason {
        CloseReason::LoggedOut => Transition::LogoutDone,
        CloseReason::Terminated | CloseReason::TargetReset | CloseReason::Reinstated => Transition::EndsElsewhere,
        _ => Transition::Failed,
    }
}
