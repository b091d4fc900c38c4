//! Connection recovery: tasks outlive their connection, and the session its last one, for a time (RFC 7143 sections 6.3.6, 7.1.4.3,
//! 7.2.2, 7.5 and 11.15).
//!
//! ```text
//!                fails                recovery logout, reinstatement              TASK REASSIGN
//!  To(cid) ──────────────> Failed(cid) ─────────────────────────────> Free(until) ─────────────> To(another cid)
//!     └───────────────────────┼──────────────────────────────────────────^  │
//!                             └── Time2Wait + Time2Retain ──> ended <───────┘
//! ```
//!
//! In: ends of connections at error recovery level 2, TASK REASSIGN, time. Out: tasks that go on elsewhere, or end.
//!
//! Invariants: a task without allegiance sends nothing and stands in no queue; immediate commands and what waits for its turn do not
//! outlive their connection; nothing is kept longer than Time2Wait and Time2Retain.

use super::event::Event;
use super::session::Session;
use super::session_state::SessionTransition;
use super::state::{State, Transition};
use super::task::{Stage, Task, TaskId, TaskOutcome};
use super::transmit::Transmission;
use crate::{CloseReason, IscsiCondition};
use iscsi_pdu::{Cid, TaskManagementRequest, TaskManagementResponseCode as Response};
use std::time::{Duration, Instant};

/// The connection that a task is allegiant to, or was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allegiance {
    To(Cid),
    /// It has failed, and nobody has cleaned up.
    Failed(Cid),
    /// It was removed; the task can be reassigned until then.
    Free(Instant),
}

impl Session {
    /// Whether tasks outlive their connection. RFC 7143 11.15.4: with Time2Retain 0 nothing is kept.
    pub(super) fn retains(&self) -> bool {
        self.parameters.error_recovery_level == 2 && self.parameters.time_2_retain > 0
    }

    /// When what is left without a connection now is given up.
    fn retained_until(&self) -> Instant {
        let seconds = u64::from(self.parameters.time_2_wait) + u64::from(self.parameters.time_2_retain);
        self.now + Duration::from_secs(seconds)
    }

    /// Goes a way of the session's chart.
    pub(super) fn pass(&mut self, transition: SessionTransition) {
        if let Some(state) = self.state.after(transition) {
            self.state = state;
        }
    }

    /// A connection does not work any more; its tasks wait.
    pub(super) fn suspend_failed(&mut self, at: usize) {
        let until = self.retained_until();
        let cid = self.connections[at].cid;
        self.suspend(at, Allegiance::Failed(cid));
        self.connections[at].pass(Transition::Failed);
        self.connections[at].cleanup_until = Some(until);
    }

    /// The tasks of a connection, open or failed, may be reassigned.
    pub(super) fn free_tasks(&mut self, at: usize) {
        let until = self.retained_until();
        let cid = self.connections[at].cid;
        if self.connections[at].is_open() {
            self.suspend(at, Allegiance::Free(until));
        }
        for (_, task) in self.tasks.iter_mut().filter(|(_, task)| task.allegiance == Allegiance::Failed(cid)) {
            task.allegiance = Allegiance::Free(until);
        }
        self.give_up_at(until);
    }

    /// Takes the tasks of a connection off it, and everything else that was to be sent on it.
    fn suspend(&mut self, at: usize, allegiance: Allegiance) {
        let cid = self.connections[at].cid;
        // RFC 7143 7.14: immediate commands are not recoverable.
        self.abort_tasks_of(at, |task| task.immediate || matches!(task.stage, Stage::Held));
        for (_, task) in self.tasks.iter_mut().filter(|(_, task)| task.allegiance == Allegiance::To(cid)) {
            task.allegiance = allegiance;
            if let Some(resumption) = &mut task.resumption {
                resumption.stat_sn = None;
            }
        }
        self.forget_oldest_statuses();
        let connection = &mut self.connections[at];
        connection.transmit.data_in_bytes = 0;
        connection.retention = Default::default();
        self.drop_transmissions(at);
        self.release_requests(at);
    }

    /// No more statuses are kept for connections to come than for one that is there.
    fn forget_oldest_statuses(&mut self) {
        let is_kept = |task: &Task| task.has_left() && !matches!(task.allegiance, Allegiance::To(_));
        let mut kept: Vec<TaskId> = self.tasks.iter().filter(|(_, task)| is_kept(task)).map(|(id, _)| id).collect();
        let next = self.tasks.next_generation();
        kept.sort_by_key(|id| id.age(next));
        for id in kept.into_iter().skip(self.config.retained_statuses_max) {
            self.remove_task(id);
        }
    }

    /// A connection that was removed for recovery.
    pub(super) fn remove_connection(&mut self, cid: Cid) {
        if let Some(at) = self.find(cid) {
            self.connections.remove(at);
        }
    }

    /// After the end of a connection: the session waits for another if that was its last.
    pub(super) fn note_connections(&mut self) {
        if self.cids().next().is_none() && !self.is_closed() {
            self.pass(SessionTransition::LastConnectionGone);
            self.continue_until = Some(self.retained_until());
        }
    }

    /// Whether the session waits for somebody to clean up or to reassign tasks.
    pub(super) fn waits_for_recovery(&self) -> bool {
        self.connections.iter().any(|connection| connection.state == State::CleanupWait)
            || self.tasks.iter().any(|(_, task)| !matches!(task.allegiance, Allegiance::To(_)))
    }

    fn give_up_at(&mut self, until: Instant) {
        self.give_up_at = Some(self.give_up_at.map_or(until, |at| at.min(until)));
    }

    /// When something is given up that nobody has recovered.
    pub(super) fn recovery_deadline(&self) -> Option<Instant> {
        let cleanups = self.connections.iter().filter_map(|connection| connection.cleanup_until);
        cleanups.chain(self.give_up_at).chain(self.continue_until).min()
    }

    /// Gives up what nobody has recovered in time.
    pub(super) fn give_up_recovery(&mut self, now: Instant) {
        let has_come = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        while let Some(at) = self.connections.iter().position(|connection| has_come(connection.cleanup_until)) {
            // RFC 7143 7.6 b and 8.2.2, M1.
            let cid = self.connections[at].cid;
            self.abort_all(|task| task.allegiance == Allegiance::Failed(cid));
            self.connections[at].pass(Transition::CleanupTimeout);
            self.connections.remove(at);
        }
        if has_come(self.give_up_at) {
            // RFC 7143 7.6 c.
            self.abort_all(|task| matches!(task.allegiance, Allegiance::Free(until) if until <= now));
            let untils = self.tasks.iter().filter_map(|(_, task)| match task.allegiance {
                Allegiance::Free(until) => Some(until),
                _ => None,
            });
            self.give_up_at = untils.min();
        }
        if has_come(self.continue_until) && !self.is_closed() {
            self.pass(SessionTransition::TimedOut);
            self.close(CloseReason::NotContinued);
        }
    }

    /// TASK REASSIGN on the connection `at` (RFC 7143 sections 7.2.2 and 11.5.1). The response, unless it has been queued.
    pub(super) fn reassign(&mut self, at: usize, pdu: &TaskManagementRequest) -> Option<Response> {
        if self.parameters.error_recovery_level < 2 {
            return Some(Response::TaskAllegianceReassignmentNotSupported);
        }
        let Some(tag) = pdu.referenced_task_tag else {
            return Some(Response::TaskDoesNotExist);
        };
        // RFC 7143 11.5.1: it is immediate, and about a SCSI command.
        if !pdu.immediate || self.is_other_request(tag) {
            return Some(Response::FunctionRejected);
        }
        let Some(id) = self.tasks.find(tag) else {
            return Some(Response::TaskDoesNotExist);
        };
        match self.tasks.get(id)?.allegiance {
            Allegiance::To(_) | Allegiance::Failed(_) => Some(Response::TaskStillAllegiant),
            Allegiance::Free(_) => {
                // RFC 7143 11.6: the response comes before the allegiance.
                self.respond(at, pdu.initiator_task_tag, Response::FunctionComplete, pdu.immediate);
                self.resume(at, id, pdu.exp_data_sn);
                None
            }
        }
    }

    /// A task without allegiance goes on with the connection `at`. The initiator has received all R2Ts and Data-In PDUs before
    /// `exp_data_sn`; zero says nothing.
    pub(super) fn resume(&mut self, at: usize, id: TaskId, exp_data_sn: u32) {
        let cid = self.connections[at].cid;
        let (burst_bytes, segment_bytes) = (self.parameters.burst_bytes_max, self.connections[at].segment_bytes());
        let Some(task) = self.tasks.get_mut(id) else { return };
        task.allegiance = Allegiance::To(cid);
        task.restart_receive(exp_data_sn);
        if matches!(task.stage, Stage::Active) {
            return self.events.push_back(Event::Reassigned { task: id, cid });
        }
        if let Stage::Sent(outcome) | Stage::Settling(outcome) = &mut task.stage {
            let was_sent = task.resumption.as_ref().is_some_and(|resumption| resumption.has_left);
            let outcome = std::mem::take(outcome);
            self.retained_bytes -= if was_sent { outcome.data_in.len() } else { 0 };
            task.stage = Stage::Sending(outcome);
        }
        task.restart_data_in(exp_data_sn, burst_bytes, segment_bytes);
        let transmit = &mut self.connections[at].transmit;
        transmit.data_in_bytes += task.unsent();
        transmit.push(Transmission::Completion(id));
    }
}

impl Task {
    /// What the initiator had been asked for is not waited for; R2Ts that it has not received are not counted.
    fn restart_receive(&mut self, exp_data_sn: u32) {
        if self.data_in_count == 0 && (1..=self.r2t_count).contains(&exp_data_sn) {
            self.r2t_count = exp_data_sn;
        } else if self.data_in_count == 0 && !self.has_ended() {
            // RFC 7143 11.5.6: nothing was acknowledged, so that the numbers begin anew.
            self.r2t_count = 0;
        }
        self.receive.restart(self.r2t_count);
    }

    /// RFC 7143 11.5.6: data is sent again from the first that was not acknowledged, in segments of the new connection. What is not
    /// kept any more cannot be sent again.
    fn restart_data_in(&mut self, exp_data_sn: u32, burst_bytes: u32, segment_bytes: u32) {
        let (next, sent, r2t_count) = (self.input_sn(), self.sent, self.r2t_count);
        let offset =
            if exp_data_sn == next { Some(sent) } else { self.piece(exp_data_sn, burst_bytes).map(|piece| piece.0) };
        let Some(resumption) = &mut self.resumption else { return };
        // Any other value is ignored.
        let is_news = (resumption.acknowledged.0 + 1..=next).contains(&exp_data_sn);
        if let (true, Some(offset)) = (is_news, offset) {
            resumption.acknowledged = (exp_data_sn, offset);
        } else if self.data_in_count == 0 {
            resumption.acknowledged.0 = r2t_count;
        }
        resumption.restart(segment_bytes);
        let (data_sn, offset) = resumption.acknowledged;
        self.data_in_count = data_sn - r2t_count;
        self.sent = offset;
        if let Stage::Sending(outcome) = &mut self.stage
            && (outcome.data_in.len() as u32) < sent
            && offset < sent
        {
            let data_in_length = outcome.data_in_length;
            *outcome = TaskOutcome { data_in_length, ..TaskOutcome::failed(IscsiCondition::SnackRejected) };
            self.sent = 0;
        }
    }
}
