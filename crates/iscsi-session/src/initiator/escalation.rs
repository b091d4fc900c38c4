//! Commands that take too long, and what is to be done about them, step by step (RFC 7143 section 7.11).
//!
//! Steps that need a tag are the owner's to take. Sending a command again is none of them: from error recovery level 1 that happens
//! by itself, when the target has lost it.

use super::task::{Request, Requests};
use super::{Event, Session};
use iscsi_pdu::{CmdSn, InitiatorTaskTag};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is to be done about a command that takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EscalationStep {
    /// ABORT TASK.
    AbortTask,
    /// LOGICAL UNIT RESET: aborting did not help.
    LogicalUnitReset,
    /// The session is to be ended, and logged in to again: nothing has helped.
    Session,
}

impl EscalationStep {
    const fn next(self) -> Option<Self> {
        match self {
            Self::AbortTask => Some(Self::LogicalUnitReset),
            Self::LogicalUnitReset => Some(Self::Session),
            Self::Session => None,
        }
    }
}

/// The time at which a step is due, if the command has not ended.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Instant,
    tag: InitiatorTaskTag,
    cmd_sn: CmdSn,
    step: EscalationStep,
}

/// Deadlines in the order of their times: all steps take the same time, so the order is that in which they began.
#[derive(Debug, Default)]
pub(super) struct Deadlines(VecDeque<Deadline>);

impl Deadline {
    fn is_outstanding(&self, requests: &Requests) -> bool {
        let entry = requests.get(self.tag).filter(|entry| entry.cmd_sn == self.cmd_sn);
        entry.is_some_and(|entry| matches!(entry.request, Request::Command(_)))
    }
}

impl Deadlines {
    /// A command begins. Deadlines of commands that have ended are dropped before they are more than the others.
    pub(super) fn begin(&mut self, at: Option<Instant>, tag: InitiatorTaskTag, cmd_sn: CmdSn, requests: &Requests) {
        const SPARE: usize = 64;
        if self.0.len() > 2 * requests.len() + SPARE {
            self.0.retain(|deadline| deadline.is_outstanding(requests));
        }
        self.0.extend(at.map(|at| Deadline { at, tag, cmd_sn, step: EscalationStep::AbortTask }));
    }

    pub(super) fn poll_timeout(&self, requests: &Requests) -> Option<Instant> {
        self.0.iter().find(|deadline| deadline.is_outstanding(requests)).map(|deadline| deadline.at)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Session {
    /// Tells which commands take too long now.
    pub(super) fn escalate(&mut self, now: Instant, after: Duration) {
        while let Some(deadline) = self.deadlines.0.pop_front_if(|deadline| deadline.at <= now) {
            if !deadline.is_outstanding(&self.requests) {
                continue;
            }
            let Deadline { tag, step, .. } = deadline;
            self.events.push_back(Event::EscalationDue { tag, step });
            let next = step.next().zip(now.checked_add(after));
            self.deadlines.0.extend(next.map(|(step, at)| Deadline { at, step, ..deadline }));
        }
    }
}
