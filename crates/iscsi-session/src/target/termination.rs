//! Tasks that end while data for them may be on the way, where FastAbort was agreed upon (RFC 7143 sections 4.2.3.4, 4.2.3.5 and 11.9.1).
//!
//! ```text
//!  tasks of a logical unit end ──> Asynchronous Message 5, on each connection ──> NOP-Out with its LUN: no more data comes for them
//! ```
//!
//! In: that a function has ended tasks, of this session or of another. Out: messages, and the tags of these tasks once they are
//! acknowledged.
//!
//! Invariant: ExpCmdSN of a message is the number of the first command that is not among those that have ended, whenever it leaves, so
//! that the initiator can tell them apart.

use super::continuation::Allegiance;
use super::session::Session;
use super::task::{Stage, Task, TaskId};
use super::transmit::{Numbers, Transmission};
use crate::TaskReporting;
use iscsi_pdu::{AsyncEvent, AsyncMessage, Cid, CmdSn, LunField, StatSn};

/// A message that is not acknowledged.
#[derive(Debug)]
pub(super) struct Termination {
    cid: Cid,
    lun: LunField,
    /// StatSN of the last of its kind.
    stat_sn: StatSn,
}

impl Session {
    pub(super) fn aborts_fast(&self) -> bool {
        self.parameters.task_reporting == TaskReporting::FastAbort
    }

    // RFC 7143 4.2.3.4-9, 4.2.3.5-1, 4.2.3.5-3, 11.9.1-7: of the tasks that are there; sessions without FastAbort hear nothing.
    /// Another initiator has ended all tasks of a logical unit that the owner has begun for this session. Where FastAbort was agreed upon
    /// they end here, with [`Event::Aborted`](super::Event::Aborted), and the initiator is told. Elsewhere nothing is done: the owner
    /// [discards](Self::discard) each when it comes to it, and the initiator learns of it by unit attention.
    ///
    /// To be called before a later command to the unit is begun, or with the first one, `told`, whose status has the unit attention: it
    /// goes on, whatever data of its own is still to come.
    pub fn terminate_tasks(&mut self, lun: LunField, told: Option<TaskId>) {
        if !self.aborts_fast() {
            return;
        }
        let told = told.and_then(|id| self.tasks.get(id));
        let exp_cmd_sn = told.map_or(self.window.expected(), |told| told.cmd_sn);
        let is_before = |task: &Task| match told {
            Some(told) if task.immediate => (task.generation.wrapping_sub(told.generation) as i32) < 0,
            Some(told) => task.cmd_sn.precedes(told.cmd_sn),
            None => true,
        };
        let is_meant = |task: &Task| {
            task.lun == lun && matches!(task.stage, Stage::Active | Stage::Settling(_)) && is_before(task)
        };
        let ended: Vec<TaskId> = self.tasks.iter().filter(|(_, task)| is_meant(task)).map(|(id, _)| id).collect();
        self.end_and_tell(&ended, exp_cmd_sn, None);
    }

    // RFC 7143 4.2.3.4-11, 4.2.3.4-12, 4.2.3.4-13, 4.2.3.4-14, 4.2.3.5-2: once for each unit and connection.
    /// Ends tasks, and tells it on all connections that have some of them but the one that knows, `issuer`. Commands from `exp_cmd_sn` on
    /// are not among them.
    pub(super) fn end_and_tell(&mut self, ended: &[TaskId], exp_cmd_sn: CmdSn, issuer: Option<Cid>) {
        let mut places: Vec<(Cid, LunField)> = Vec::new();
        let numbers = Numbers { exp_cmd_sn, max_cmd_sn: self.window.max() };
        for id in ended {
            let task = self.tasks.get(*id);
            if let Some((Allegiance::To(cid), lun)) = task.map(|task| (task.allegiance, task.lun))
                && !places.contains(&(cid, lun))
            {
                places.push((cid, lun));
            }
            self.abort(*id);
        }
        for (cid, lun) in places {
            let Some(at) = self.find_open(cid) else { continue };
            if issuer == Some(cid) {
                // RFC 7143 4.2.3.4: the initiator has sent no data behind its request there.
                self.let_go(at, |straggler| straggler.lun == lun);
            } else {
                self.connections[at].transmit.push(Transmission::TaskTermination { lun, numbers });
            }
        }
    }

    /// A message leaves.
    pub(super) fn send_termination(&mut self, at: usize, lun: LunField, numbers: Numbers) -> AsyncMessage {
        let message = self.async_message(at, AsyncEvent::TaskTermination, lun, [0; 3]);
        let (cid, stat_sn) = (self.connections[at].cid, message.stat_sn);
        self.terminations.retain(|termination| (termination.cid, termination.lun) != (cid, lun));
        self.terminations.push(Termination { cid, lun, stat_sn });
        AsyncMessage { exp_cmd_sn: numbers.exp_cmd_sn, max_cmd_sn: numbers.max_cmd_sn, ..message }
    }

    // RFC 7143 4.2.3.4-17: the tags are free.
    /// A NOP-Out has come that answers no ping: it may answer a message.
    pub(super) fn hear_termination(&mut self, at: usize, lun: LunField) {
        let connection = &self.connections[at];
        let is_answered = |termination: &Termination| {
            (termination.cid, termination.lun) == (connection.cid, lun)
                && connection.statuses.has_acknowledged(termination.stat_sn)
        };
        let waiting = self.terminations.len();
        self.terminations.retain(|termination| !is_answered(termination));
        if self.terminations.len() < waiting {
            self.let_go(at, |straggler| straggler.lun == lun);
        }
    }

    /// A connection has ended: nothing is answered there any more.
    pub(super) fn forget_terminations_of(&mut self, cid: Cid) {
        self.terminations.retain(|termination| termination.cid != cid);
    }
}
