//! What is to be sent, in which order.
//!
//! Requests and answers go in the order in which they were made, so that CmdSN only grows (RFC 7143 section 4.2.2.1).
//! Unsolicited data goes in the order of its commands (section 4.2.5.2). Solicited data takes turns among the tasks, one PDU
//! each. Between the requests and the data the connection is shared one to one.

use iscsi_pdu::{InitiatorTaskTag, LunField, TargetTransferTag};
use std::collections::VecDeque;

/// Most NOP-Outs that wait to be sent as answers. A target has one ping outstanding, or a few.
const ANSWERS_MAX: u32 = 64;

/// A NOP-Out that wants no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) lun: LunField,
    pub(super) target_transfer_tag: Option<TargetTransferTag>,
}

/// One PDU that is no data.
#[derive(Clone, Copy, Debug)]
pub(super) enum Queued {
    Request(InitiatorTaskTag),
    Answer(Answer),
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Queued>,
    answers: u32,
    /// Tasks with unsolicited data to be sent.
    unsolicited: VecDeque<InitiatorTaskTag>,
    /// Tasks with solicited data to be sent.
    solicited: VecDeque<InitiatorTaskTag>,
    is_turn_of_data: bool,
    is_shut: bool,
}

impl Outbox {
    // RFC 7143 4.2.2.1-7: they leave in the order in which they were numbered.
    pub(super) fn push_request(&mut self, tag: InitiatorTaskTag) {
        self.queue.push_back(Queued::Request(tag));
    }

    /// Whether there was room.
    #[must_use]
    pub(super) fn push_answer(&mut self, answer: Answer) -> bool {
        let has_room = self.answers < ANSWERS_MAX || self.is_shut;
        if has_room && !self.is_shut {
            self.answers += 1;
            self.queue.push_back(Queued::Answer(answer));
        }
        has_room
    }

    pub(super) fn push_unsolicited(&mut self, tag: InitiatorTaskTag) {
        self.unsolicited.push_back(tag);
    }

    pub(super) fn push_solicited(&mut self, tag: InitiatorTaskTag) {
        self.solicited.push_back(tag);
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        let queued = self.queue.pop_front()?;
        self.is_turn_of_data = true;
        if let Queued::Answer(_) = queued {
            self.answers -= 1;
        }
        Some(queued)
    }

    // RFC 7143 4.2.5.2-6, 4.2.5.2-7, 4.2.5.2-8: unsolicited data first, and of one command after the other.
    /// The task whose data is next, of those that `may_go`. It is to be pushed back if it has solicited data left, and
    /// [kept at the front](Self::keep_unsolicited) if its unsolicited data goes on.
    #[inline]
    pub(super) fn pop_data(&mut self, may_go: impl Fn(InitiatorTaskTag) -> bool) -> Option<InitiatorTaskTag> {
        self.is_turn_of_data = false;
        if self.unsolicited.is_empty() && self.solicited.is_empty() {
            return None;
        }
        let first = |queue: &mut VecDeque<_>| queue.remove(queue.iter().position(|tag| may_go(*tag))?);
        first(&mut self.unsolicited).or_else(|| first(&mut self.solicited))
    }

    pub(super) fn keep_unsolicited(&mut self, tag: InitiatorTaskTag) {
        self.unsolicited.push_front(tag);
    }

    /// Whether a request waits to be sent.
    pub(super) fn has_request(&self, tag: InitiatorTaskTag) -> bool {
        self.queue.iter().any(|queued| matches!(queued, Queued::Request(other) if *other == tag))
    }

    /// Forgets a request that has ended before it was sent.
    pub(super) fn remove_request(&mut self, tag: InitiatorTaskTag) {
        self.queue.retain(|queued| !matches!(queued, Queued::Request(other) if *other == tag));
    }

    /// Forgets the data of a task that has ended.
    pub(super) fn remove_data(&mut self, tag: InitiatorTaskTag) {
        self.unsolicited.retain(|other| *other != tag);
        self.solicited.retain(|other| *other != tag);
    }

    /// Whether data goes before requests now: what was sent last waits.
    pub(super) fn is_turn_of_data(&self) -> bool {
        self.is_turn_of_data
    }

    /// Sends nothing any more, whatever is pushed.
    pub(super) fn shut(&mut self) {
        *self = Self { is_shut: true, ..Self::default() };
    }

    pub(super) fn is_shut(&self) -> bool {
        self.is_shut
    }
}
