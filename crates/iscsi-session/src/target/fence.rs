//! Response fences: the response of a task management function that is about many tasks, and a status that its owner wants fenced,
//! comes after every response before it and before every response after it, on whatever connection they are (RFC 7143 sections
//! 4.2.2.3, 4.2.3.3 d and 11.6.1).
//!
//! ```text
//!  connection of the request   … statuses ┃ fence: the response ┃ statuses …
//!  every other connection      … statuses ┃ fence               ┃ statuses …
//! ```
//!
//! In: responses, in the order in which the owner gives them. Out: when their turn to be sent has come.
//!
//! Invariants: all queues have their fences in the same order, so the first one can always be passed; what stands behind a fence is
//! not sent before the initiator has acknowledged all that stands before it, and on the other connections the response too. A connection
//! that has been logged out acknowledges nothing any more: what it had to say has come, or will not, once it is gone.

use super::event::RequestId;
use super::session::Session;
use super::task::TaskId;
use super::task_management::task_management_response;
use super::transmit::{Transmission, TransmitQueue};
use crate::CloseReason;
use iscsi_pdu::{Cid, InitiatorTaskTag, Pdu, StatSn, TaskManagementResponseCode};
use std::collections::VecDeque;

/// A response that waits for its turn, or to be acknowledged.
#[derive(Debug)]
pub(super) struct Fence {
    id: RequestId,
    /// The connection that the request came on.
    cid: Cid,
    response: Response,
    /// StatSN of the response, when it has left.
    answered: Option<StatSn>,
}

/// What is fenced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Response {
    /// The end of a task management function, and with it that of the session.
    TaskManagement { tag: InitiatorTaskTag, response: TaskManagementResponseCode, immediate: bool, ends_session: bool },
    /// The end of a command.
    Task(TaskId),
}

impl Response {
    /// Whether a place in the window is free when it has left; those of tasks are counted with the tasks.
    fn holds_number(self) -> bool {
        matches!(self, Self::TaskManagement { immediate: false, .. })
    }
}

/// What a connection does that has come to a fence.
pub(super) enum AtFence {
    Waits,
    Answers(Pdu),
    Passes,
}

impl Session {
    /// Sets up a fence on all connections. The response is for the connection `cid`.
    pub(super) fn fence(&mut self, cid: Cid, response: Response) {
        let id = self.next_request_id();
        self.fences.push(Fence { id, cid, response, answered: None });
        for connection in self.connections.iter_mut().filter(|connection| connection.is_open()) {
            connection.transmit.push(Transmission::Fence(id));
        }
    }

    // RFC 7143 4.2.2.3.2-1, 4.2.2.3.2-2, 4.2.2.3.3-1, 4.2.2.3.3-2, 4.2.3.4-15, 4.2.3.4-18, 13.23-3, 13.23-5, 4.2.3.3-11, 4.2.3.3-13: behind every status before it, which is acknowledged.
    /// The connection `at` has sent all that stood before a fence.
    #[cold]
    pub(super) fn come_to_fence(&mut self, at: usize, id: RequestId) -> AtFence {
        self.lift_fences();
        let Some(place) = self.fences.iter().position(|fence| fence.id == id) else {
            return AtFence::Passes;
        };
        let Fence { cid, response, answered, .. } = self.fences[place];
        if self.connections[at].cid != cid {
            return AtFence::Waits;
        }
        if answered.is_some() {
            return AtFence::Passes;
        }
        if !self.is_fence_reached(at, id) {
            return AtFence::Waits;
        }
        self.fences[place].answered = Some(self.connections[at].statuses.next());
        let ends_session = matches!(response, Response::TaskManagement { ends_session: true, .. });
        if self.cids().nth(1).is_none() {
            self.fences.remove(place);
        } else if !ends_session && self.connections[at].timers.ping() {
            // The others go on when the response was acknowledged.
            self.connections[at].transmit.push_ping();
        }
        match response {
            Response::TaskManagement { tag, response, immediate, ends_session } => {
                self.release_function(at, immediate);
                let pdu = task_management_response(self, at, tag, response, [0; 3]);
                self.retain_pdu(at, &pdu);
                if ends_session {
                    self.close(CloseReason::TargetReset);
                }
                AtFence::Answers(pdu)
            }
            // Its data goes first, and nothing with a StatSN comes between.
            Response::Task(id) => {
                self.connections[at].transmit.push_first(id);
                AtFence::Passes
            }
        }
    }

    /// Whether everything before a fence has been sent on every connection, and was acknowledged. The connection `at` has
    /// nothing left before it, and one that joined later does not know of it.
    fn is_fence_reached(&self, at: usize, id: RequestId) -> bool {
        self.connections.iter().enumerate().all(|(other, connection)| {
            let acknowledged = connection.statuses.all_acknowledged();
            match connection.transmit.before_fence(id) {
                _ if connection.is_leaving() => acknowledged,
                _ if !connection.is_open() => true,
                Some(mut before) => acknowledged && before.all(|transmission| !self.sends_status(transmission)),
                None => acknowledged || other != at,
            }
        })
    }

    /// The connection `at` is logged out over itself, and is not waited for: what stands behind a fence ends with it.
    pub(super) fn drop_behind_fence(&mut self, at: usize) {
        for transmission in self.connections[at].transmit.take_behind_fence() {
            match transmission {
                Transmission::Completion(id) => self.abort(id),
                other if other.holds_number() => self.window.release(),
                _ => {}
            }
        }
    }

    fn sends_status(&self, transmission: &Transmission) -> bool {
        match transmission {
            Transmission::R2t(_) | Transmission::Ping => false,
            Transmission::Completion(id) => self.tasks.get(*id).is_some_and(|task| task.is_sending()),
            Transmission::Fence(id) => self.fences.iter().any(|fence| fence.id == *id),
            _ => true,
        }
    }

    // RFC 7143 4.2.2.3.2-3, 4.2.2.3.3-3, 4.2.2.3.3-4: until then nothing passes.
    /// Forgets fences whose response was acknowledged.
    fn lift_fences(&mut self) {
        let connections = &self.connections;
        self.fences.retain(|fence| {
            let issuer = connections.iter().find(|connection| connection.cid == fence.cid);
            let acknowledged = |stat_sn| issuer.is_none_or(|issuer| issuer.statuses.has_acknowledged(stat_sn));
            !fence.answered.is_some_and(acknowledged)
        });
    }

    /// A task is gone: nobody waits for its status.
    #[cold]
    pub(super) fn forget_fence_of_task(&mut self, id: TaskId) {
        self.fences.retain(|fence| !matches!(fence.response, Response::Task(other) if other == id));
    }

    /// A connection has ended: what it waits for is not answered any more.
    pub(super) fn forget_fences_of(&mut self, cid: Cid) {
        let of = |fence: &Fence| fence.cid == cid;
        let numbered = |fence: &Fence| of(fence) && fence.response.holds_number() && fence.answered.is_none();
        for _ in 0..self.fences.iter().filter(|fence| numbered(fence)).count() {
            self.window.release();
        }
        self.fences.retain(|fence| !of(fence));
    }
}

impl TransmitQueue {
    /// What is no response of the device waits for no other connection.
    pub(super) fn push_before_fences(&mut self, transmission: Transmission) {
        self.queue.insert(self.first_fence(), transmission);
    }

    /// Takes out the first fence and what stands behind it.
    pub(super) fn take_behind_fence(&mut self) -> VecDeque<Transmission> {
        self.queue.split_off(self.first_fence())
    }

    /// Place of the first fence, or of what comes next.
    fn first_fence(&self) -> usize {
        let mut places = self.queue.iter();
        places.position(|other| matches!(other, Transmission::Fence(_))).unwrap_or(self.queue.len())
    }

    /// What stands before a fence; none if the fence is not here.
    pub(super) fn before_fence(&self, id: RequestId) -> Option<impl Iterator<Item = &Transmission>> {
        let is_it = |transmission: &Transmission| matches!(transmission, Transmission::Fence(other) if *other == id);
        let place = self.queue.iter().position(is_it)?;
        Some(self.queue.range(..place))
    }
}
