//! To which connection requests belong, and what becomes of them when it ends (RFC 7143 sections 4.2.2.1, 4.2.5.1, 7.2 and 7.14).
//!
//! ```text
//!  of a connection that has ended        level 0             level 1              level 2
//!  immediate requests                    lost                lost                 lost
//!  commands that the target has          lost                lost                 reassigned
//!  commands that it may not have         plugged, lost       sent again           sent again
//! ```

use super::task::{Entry, Plugged, Request, Standing};
use super::timers::Retention;
use super::{Event, Session, TaskManagement};
use iscsi_pdu::TaskManagementResponseCode as Response;
use iscsi_pdu::{Cid, InitiatorTaskTag, RejectReason};
use std::time::{Duration, Instant};

/// After a TASK REASSIGN that was refused for the moment the task is offered again when this has passed.
const OFFER_INTERVAL: Duration = Duration::from_millis(100);

impl Session {
    /// Whether the target keeps the tasks of a connection that it remembers for so long.
    pub(super) fn keeps_tasks(&self, retention: Retention) -> bool {
        self.recovery_level >= 2 && !retention.retain.is_zero()
    }

    /// The requests of a connection, in the order of their numbers.
    fn requests_of(&self, cid: Cid) -> Vec<InitiatorTaskTag> {
        self.requests.ordered(self.numbering.cmd_sn(), |_, entry| entry.cid == cid)
    }

    /// Ends the requests of a connection that is gone, but for tasks that are kept, and for those whose number the target may miss:
    /// without it no later command would be executed (RFC 7143 section 4.2.2.1). Gives those that never went out.
    pub(super) fn end_requests(&mut self, cid: Cid, retention: Retention) -> Vec<InitiatorTaskTag> {
        let mut unsent = Vec::new();
        let connection = self.connections.known(cid);
        connection.texts.clear();
        let segment_bytes_max = connection.parameters.receive_segment_bytes_max;
        let (keeps_tasks, retries) = (self.keeps_tasks(retention), self.recovery_level > 0);
        for tag in self.requests_of(cid) {
            let entry = self.requests.get_mut(tag).expect("a request that was found");
            let is_acknowledged = !entry.request.has_number() || self.numbering.is_acknowledged(entry.cmd_sn);
            match &mut entry.request {
                Request::Command(task) if if is_acknowledged { keeps_tasks } else { retries } => {
                    task.data.leave(segment_bytes_max);
                }
                _ if is_acknowledged => {
                    self.give_up(tag);
                    continue;
                }
                Request::Plug(_) => {}
                request => {
                    *request = Request::Plug(Plugged::Lost);
                    self.plugs.push(tag);
                }
            }
            if entry.standing == Standing::Queued {
                unsent.push(tag);
            }
            entry.standing = Standing::Orphaned;
        }
        unsent
    }

    // RFC 7143 7.1.4.3-2, 7.2.1-3: what is missing is sent again, the rest reassigned.
    /// Goes on with the requests of a connection that the target knows to be gone: what it misses is sent, what it has is to be
    /// reassigned. Before that, a second command of the same number might meet the first still on its way (RFC 7143 7.2.1).
    pub(super) fn adopt(&mut self, now: Instant, cid: Cid, over: Cid, retention: Retention) {
        let keeps_tasks = self.keeps_tasks(retention);
        let mut is_kept = false;
        for tag in self.orphans(cid) {
            let entry = self.requests.get(tag).expect("a request that was found");
            if !self.numbering.is_acknowledged(entry.cmd_sn) {
                self.send_over(tag, over);
            } else if keeps_tasks && matches!(entry.request, Request::Command(_)) {
                self.move_to(tag, over);
                is_kept = true;
            } else {
                self.give_up(tag);
            }
        }
        if !is_kept {
            return;
        }
        self.connections.known(over).timers.keep_tasks(now, retention);
        if retention.wait.is_zero() {
            self.offer_tasks(over);
        }
    }

    fn move_to(&mut self, tag: InitiatorTaskTag, cid: Cid) -> &mut Entry {
        let entry = self.requests.get_mut(tag).expect("a request that was found");
        self.connections.known(entry.cid).requests -= 1;
        self.connections.known(cid).requests += 1;
        entry.cid = cid;
        entry
    }

    pub(super) fn send_over(&mut self, tag: InitiatorTaskTag, over: Cid) {
        let entry = self.move_to(tag, over);
        entry.standing = Standing::Queued;
        self.connections.known(over).outbox.push_request(tag);
    }

    /// The requests that a connection has left, or that are to be reassigned and wait with a connection.
    fn orphans(&self, cid: Cid) -> Vec<InitiatorTaskTag> {
        let is_orphan = |_, entry: &Entry| entry.cid == cid && entry.standing == Standing::Orphaned;
        self.requests.ordered(self.numbering.cmd_sn(), is_orphan)
    }

    /// Whether the answer to a TASK REASSIGN of a task is waited for.
    fn is_being_reassigned(&self, tag: InitiatorTaskTag) -> bool {
        self.requests.iter().any(|(_, entry)| match &entry.request {
            Request::TaskManagement(task) => task.reassigned() == Some(tag),
            _ => false,
        })
    }

    /// Time2Wait is over: tasks may be reassigned.
    pub(super) fn offer_tasks(&mut self, cid: Cid) {
        self.connections.known(cid).timers.forget_tasks_due();
        let mut orphans = self.orphans(cid);
        orphans.retain(|tag| !self.is_being_reassigned(*tag));
        self.events.extend(orphans.into_iter().map(|tag| Event::ReassignmentDue { tag }));
    }

    // RFC 7143 7.5-2: the target has forgotten them.
    /// Time2Retain is over: the target has ended the tasks that were not reassigned.
    pub(super) fn end_orphans(&mut self, cid: Cid) {
        self.connections.known(cid).timers.forget_tasks();
        self.orphans(cid).into_iter().for_each(|tag| self.give_up(tag));
    }

    pub(super) fn give_up_all(&mut self, cid: Cid) {
        self.requests_of(cid).into_iter().for_each(|tag| self.give_up(tag));
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

    /// Ends the NOP-Outs whose numbers the target has. It may have had one before, by the command itself or by a task management
    /// function, and ignores the second request with it (RFC 7143 section 4.2.2.1): no answer tells of that. An answer to the first
    /// comes late.
    pub(super) fn end_plugs(&mut self) {
        for tag in std::mem::take(&mut self.plugs) {
            match self.requests.get(tag) {
                Some(Entry { request: Request::Plug(_), cmd_sn, .. }) if self.numbering.is_acknowledged(*cmd_sn) => {
                    self.give_up(tag);
                }
                Some(Entry { request: Request::Plug(_), .. }) => self.plugs.push(tag),
                _ => {}
            }
        }
    }

    // RFC 7143 7.2.2-1, 11.5.1-15: not before the connection that it had was logged out.
    /// Takes a task that has no connection to the one on which a function about it goes, or gives the answer that the target would.
    pub(super) fn take_over(&mut self, cid: Cid, asked: TaskManagement, standing: Standing) -> Result<(), Response> {
        let tag = asked.referenced.ok_or(Response::TaskDoesNotExist)?;
        let entry = self.requests.get(tag).ok_or(Response::TaskDoesNotExist)?;
        let holder = self.connections.get(entry.cid).filter(|holder| holder.state.is_full_feature() && !holder.adopts);
        match holder.map(|holder| holder.timers) {
            Some(timers) if entry.standing == Standing::Orphaned && !self.is_being_reassigned(tag) => {
                self.connections.known(cid).timers.keep_tasks_as(timers);
                self.move_to(tag, cid).standing = standing;
                Ok(())
            }
            // RFC 7143 7.2.2: not before the connection that it had was logged out, nor to two at once.
            _ => Err(Response::TaskStillAllegiant),
        }
    }

    /// A task of a connection that is to be reassigned.
    fn orphan(&mut self, cid: Cid, tag: InitiatorTaskTag) -> Option<&mut Entry> {
        self.requests.get_mut(tag).filter(|entry| entry.cid == cid && entry.standing == Standing::Orphaned)
    }

    /// A task that was reassigned goes on, or is offered again, or has ended.
    pub(super) fn end_reassignment(&mut self, now: Instant, cid: Cid, tag: InitiatorTaskTag, response: Response) {
        let parameters = self.connections.known(cid).parameters.clone();
        let Some(entry) = self.orphan(cid, tag) else { return };
        match (response, &mut entry.request) {
            (Response::FunctionComplete, Request::Command(task)) => {
                task.data.resume(&parameters);
                entry.standing = Standing::Sent;
            }
            // RFC 7143 7.2.2: the target has not let go of it yet.
            (Response::TaskStillAllegiant, _) => self.offer_again(now, cid),
            _ => self.give_up(tag),
        }
    }

    /// A TASK REASSIGN was rejected. RFC 7143 11.17.1: what there were too many of, or what waits for a logout, may come again.
    pub(super) fn reject_reassignment(&mut self, now: Instant, cid: Cid, tag: InitiatorTaskTag, reason: RejectReason) {
        match reason {
            _ if self.orphan(cid, tag).is_none() => {}
            RejectReason::TooManyImmediateCommands | RejectReason::WaitingForLogout => self.offer_again(now, cid),
            _ => self.give_up(tag),
        }
    }

    /// The target keeps tasks until Time2Retain is over: they are offered again after a while, and are lost with it.
    fn offer_again(&mut self, now: Instant, cid: Cid) {
        self.connections.known(cid).timers.offer_tasks_at(now.checked_add(OFFER_INTERVAL));
    }
}
