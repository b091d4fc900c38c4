//! Task management functions (RFC 7143 sections 4.2.3, 11.5 and 11.6).
//!
//! ```text
//!  request ──> gathers: commands before it, data of R2Ts ──> device: Aborted …, TaskManagement ──> answer ──> fence ──> response
//! ```
//!
//! In: requests, and the owner's answers. Out: what ends in the session, and the response when nothing that it covers can
//! follow it.
//!
//! Invariants: no command that came after a function for many tasks reaches the owner before that function; statuses that
//! were on their way when it reached the owner leave before its response.

use super::continuation::Allegiance;
use super::event::{Event, RequestId};
use super::fence;
use super::session::{Request, Session};
use super::task::{Stage, Task, TaskId};
use super::transmit::Transmission;
use crate::{CloseReason, TaskReporting, Violation};
use iscsi_pdu::{
    Cid, CmdSn, InitiatorTaskTag, LunField, Pdu, TaskManagementFunction as Function, TaskManagementRequest,
    TaskManagementResponseCode as Response,
};
use std::time::{Duration, Instant};

/// How long data of R2Ts is waited for. Some initiators send none after they have asked for a reset, against RFC 7143 section
/// 4.2.3.3; what they send later is dropped.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// A function that was asked for and has not been answered.
#[derive(Debug)]
pub(super) struct Management {
    id: RequestId,
    /// The connection that waits for the response; none if it has ended.
    cid: Option<Cid>,
    pub(super) tag: InitiatorTaskTag,
    function: Function,
    lun: LunField,
    cmd_sn: CmdSn,
    immediate: bool,
    /// Immediate commands of this generation and later came after the request.
    generation: u32,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Waits for the commands before it, and for data that is on the way until a deadline, if that has not passed.
    Gathers(Option<Instant>),
    /// The owner carries it out.
    InDevice,
    /// It was carried out, and the session ends with its response, or with the connection that waits for that.
    EndsSession,
}

impl Management {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.progress {
            Progress::Gathers(deadline) => deadline,
            Progress::InDevice | Progress::EndsSession => None,
        }
    }

    fn gathers(&self) -> bool {
        matches!(self.progress, Progress::Gathers(_))
    }

    /// RFC 7143 4.2.3.2: the tasks that the function ends. Those whose status is on its way have ended; one without a connection has
    /// none on its way, and must not have one after the response (section 11.5.1).
    fn affects(&self, task: &Task) -> bool {
        let in_scope = is_for_target(self.function) || self.lun == task.lun;
        let before = if task.immediate {
            (task.generation.wrapping_sub(self.generation) as i32) < 0
        } else {
            task.cmd_sn.precedes(self.cmd_sn)
        };
        let is_on_its_way = task.has_ended() && matches!(task.allegiance, Allegiance::To(_));
        in_scope && before && !is_on_its_way
    }
}

/// Whether a function is about the tasks of all logical units.
fn is_for_target(function: Function) -> bool {
    matches!(function, Function::TargetWarmReset | Function::TargetColdReset | Function::ItNexusReset)
}

impl Session {
    pub(super) fn handle_task_management(&mut self, at: usize, pdu: TaskManagementRequest) {
        self.acknowledge(at, pdu.exp_stat_sn);
        match self.admit_task_management(at, &pdu) {
            Err(violation) => self.violate(at, violation, pdu.into()),
            Ok(true) => {
                if pdu.immediate {
                    self.connections[at].immediates.functions += 1;
                } else {
                    self.window.advance();
                }
                self.manage(at, &pdu);
            }
            Ok(false) => self.hold(at, pdu.cmd_sn, Request::TaskManagement(pdu)),
        }
    }

    // RFC 7143 4.2.2.1-5: one immediate function is always taken.
    fn admit_task_management(&self, at: usize, pdu: &TaskManagementRequest) -> Result<bool, Violation> {
        self.refuse_in_discovery()?;
        // RFC 7143 4.2.2.1: one immediate function is always taken, whatever else is.
        let turn = if pdu.immediate {
            if self.connections[at].immediates.functions >= self.config.immediate_max.max(1) {
                return Err(Violation::TooManyImmediate);
            }
            true
        } else {
            self.admit(at, false, pdu.cmd_sn)?
        };
        if self.has_request(pdu.initiator_task_tag) { Err(Violation::TagInUse) } else { Ok(turn) }
    }

    /// A response leaves.
    pub(super) fn release_function(&mut self, at: usize, immediate: bool) {
        if immediate {
            self.connections[at].immediates.functions -= 1;
        } else {
            self.window.release();
        }
    }

    // RFC 7143 11.5.1-1: every function has its response.
    /// Begins a function whose turn it is.
    pub(super) fn manage(&mut self, at: usize, pdu: &TaskManagementRequest) {
        let response = match pdu.function {
            Function::AbortTask => self.abort_task(at, pdu),
            // RFC 7143 11.5.1-12, 11.5.1-13: by right only.
            Function::TargetWarmReset | Function::TargetColdReset if !self.config.resettable => {
                Some(Response::FunctionAuthorizationFailed)
            }
            Function::AbortTaskSet
            | Function::ClearTaskSet
            | Function::LogicalUnitReset
            | Function::TargetWarmReset
            | Function::TargetColdReset => {
                self.gather(at, pdu);
                None
            }
            Function::ClearAca => {
                self.propagate(at, pdu);
                None
            }
            Function::TaskReassign => self.reassign(at, pdu),
            // RFC 7144: the last four, where that level of the protocol was agreed upon.
            _ if !self.parameters.has_scsi_features() => Some(Response::FunctionNotSupported),
            Function::QueryTask => Some(self.query_task(pdu)),
            Function::QueryTaskSet => Some(self.query_tasks(|task| task.lun == pdu.lun)),
            Function::ItNexusReset => {
                self.gather(at, pdu);
                None
            }
            Function::QueryAsynchronousEvent => {
                self.propagate(at, pdu);
                None
            }
            _ => Some(Response::FunctionNotSupported),
        };
        if let Some(response) = response {
            self.respond(at, pdu.initiator_task_tag, response, pdu.immediate);
        }
    }

    // RFC 7143 11.5.1-14, 11.6.1-1: the owner ends the other sessions.
    /// The answer to [`Event::TaskManagement`]: the device has done its half, and nothing of the tasks that it ended is in flight.
    pub fn answer_task_management(&mut self, id: RequestId, response: Response) {
        self.answer_query(id, response, [0; 3]);
    }

    /// As [`answer_task_management`](Self::answer_task_management), with the additional response information of a QUERY ASYNCHRONOUS
    /// EVENT that has succeeded (SAM-5 clause 7).
    pub fn answer_query(&mut self, id: RequestId, response: Response, additional_information: [u8; 3]) {
        let is_meant = |management: &Management| management.id == id && management.progress == Progress::InDevice;
        let Some(index) = self.management.iter().position(is_meant) else { return };
        let Management { cid, tag, function, immediate, .. } = self.management[index];
        let ends_session = function == Function::TargetColdReset && response == Response::FunctionComplete;
        let at = cid.and_then(|cid| self.find_open(cid));
        let is_fenced = at.is_some() && self.is_fenced(function);
        match at {
            // Nobody waits for the response any more.
            None if immediate => {}
            None => self.window.release(),
            Some(at) if is_fenced => {
                let response = fence::Response::TaskManagement { tag, response, immediate, ends_session };
                self.fence(self.connections[at].cid, response);
            }
            Some(at) => {
                let response = Transmission::TaskManagement { tag, response, additional_information, immediate };
                self.connections[at].transmit.push(response);
            }
        }
        match (ends_session, is_fenced) {
            (true, true) => self.management[index].progress = Progress::EndsSession,
            (true, false) => self.close(CloseReason::TargetReset),
            (false, _) => drop(self.management.swap_remove(index)),
        }
        self.make_progress();
    }

    /// Whether statuses may be on their way on several connections; one that was logged out has them until it is gone.
    fn has_several_queues(&self) -> bool {
        self.connections.iter().filter(|connection| connection.is_open() || connection.is_leaving()).nth(1).is_some()
    }

    // RFC 7143 11.6.1-2: these two wait for every status before them.
    /// Whether the response to a function waits until every status before it is acknowledged.
    fn is_fenced(&self, function: Function) -> bool {
        match function {
            // RFC 7143 11.6.1.
            Function::AbortTaskSet | Function::ClearTaskSet => true,
            // RFC 7143 4.2.3.3 d: one connection keeps the order by itself.
            Function::LogicalUnitReset
            | Function::TargetWarmReset
            | Function::TargetColdReset
            | Function::ItNexusReset => self.has_several_queues(),
            // RFC 7143 4.2.2.3.4 e.
            Function::ClearAca => {
                self.parameters.task_reporting >= TaskReporting::ResponseFence && self.has_several_queues()
            }
            _ => false,
        }
    }

    pub(super) fn respond(&mut self, at: usize, tag: InitiatorTaskTag, response: Response, immediate: bool) {
        let additional_information = [0; 3];
        let transmission = Transmission::TaskManagement { tag, response, additional_information, immediate };
        self.connections[at].transmit.push(transmission);
    }

    /// A connection has ended: the functions that it asked for are carried out, but not answered.
    pub(super) fn orphan_functions(&mut self, cid: Cid) {
        for management in self.management.iter_mut().filter(|management| management.cid == Some(cid)) {
            management.cid = None;
        }
    }

    fn add(&mut self, at: usize, pdu: &TaskManagementRequest, progress: Progress) -> RequestId {
        let id = self.next_request_id();
        let management = Management {
            id,
            cid: Some(self.connections[at].cid),
            tag: pdu.initiator_task_tag,
            function: pdu.function,
            lun: pdu.lun,
            cmd_sn: pdu.cmd_sn,
            immediate: pdu.immediate,
            generation: self.tasks.next_generation(),
            progress,
        };
        self.management.push(management);
        id
    }

    /// Hands a function to the owner at once.
    fn propagate(&mut self, at: usize, pdu: &TaskManagementRequest) {
        let id = self.add(at, pdu, Progress::InDevice);
        self.events.push_back(Event::TaskManagement { id, function: pdu.function, lun: pdu.lun });
    }

    // RFC 7143 7.11-3, 11.5.1-10, 11.5.1-11: a function is not aborted, nor what is over.
    /// RFC 7143 11.5.1, 11.6.1 and 7.11. The response, unless the owner is asked.
    fn abort_task(&mut self, at: usize, pdu: &TaskManagementRequest) -> Option<Response> {
        let Some(tag) = pdu.referenced_task_tag else {
            return Some(Response::TaskDoesNotExist);
        };
        if self.management.iter().any(|management| management.tag == tag) {
            return Some(Response::FunctionRejected);
        }
        if self.abort_text(tag) {
            return Some(Response::FunctionComplete);
        }
        let Some(id) = self.tasks.find(tag) else {
            // One that somebody else has ended: with the response the initiator knows.
            self.connections[at].stragglers.end_with(tag, pdu.initiator_task_tag);
            return Some(self.abort_missing(pdu));
        };
        let task = self.tasks.get(id)?;
        // RFC 7143 7.11: its status was sent before. 11.5.1: one that was sent on a connection that is gone comes again.
        if matches!(task.stage, Stage::Sent(_)) {
            if !matches!(task.allegiance, Allegiance::To(_)) {
                self.resume(at, id, 0);
            }
            return Some(Response::TaskDoesNotExist);
        }
        if task.lun != pdu.lun {
            return Some(Response::TaskDoesNotExist);
        }
        // RFC 7143 11.5.1: it comes on the connection of the task, as long as there is one.
        if matches!(task.allegiance, Allegiance::To(cid) if cid != self.connections[at].cid) {
            return Some(Response::FunctionRejected);
        }
        let active = matches!(task.stage, Stage::Active);
        self.abort(id);
        self.connections[at].stragglers.end_with(tag, pdu.initiator_task_tag);
        if !active {
            return Some(Response::FunctionComplete);
        }
        self.propagate(at, pdu);
        None
    }

    /// SAM-5 clause 7.8: whether a task is there that has not ended.
    fn query_task(&self, pdu: &TaskManagementRequest) -> Response {
        self.query_tasks(|task| Some(task.initiator_task_tag) == pdu.referenced_task_tag && task.lun == pdu.lun)
    }

    fn query_tasks(&self, wanted: impl Fn(&Task) -> bool) -> Response {
        let is_there = self.tasks.iter().any(|(_, task)| wanted(task) && !task.has_ended());
        if is_there { Response::FunctionSucceeded } else { Response::FunctionComplete }
    }

    // RFC 7143 7.11-2: its number counts.
    /// A task that is not there: if its command may be on the way, it counts as received.
    fn abort_missing(&mut self, pdu: &TaskManagementRequest) -> Response {
        if pdu.ref_cmd_sn.precedes(pdu.cmd_sn) && self.window.plug(pdu.ref_cmd_sn) {
            Response::FunctionComplete
        } else {
            Response::TaskDoesNotExist
        }
    }

    /// Begins a function for many tasks.
    fn gather(&mut self, at: usize, pdu: &TaskManagementRequest) {
        let mut pdu = pdu.clone();
        // No command beyond the window can have been sent before it.
        if self.window.max().next().precedes(pdu.cmd_sn) {
            pdu.cmd_sn = self.window.expected();
        }
        if is_for_target(pdu.function) {
            // RFC 7143 4.2.3.3 b: a reset of the target does not wait for commands.
            self.window.plug_until(pdu.cmd_sn);
        }
        self.add(at, &pdu, Progress::Gathers(Some(self.now + DRAIN_TIME)));
    }

    // RFC 7143 4.2.2.1-4, 4.2.3.3-8: what came later waits.
    /// The first CmdSN that no command may have to be delivered.
    pub(super) fn barrier(&self) -> Option<CmdSn> {
        let gathering = self.management.iter().filter(|management| management.gathers());
        gathering.map(|management| management.cmd_sn).reduce(|one, other| if other.precedes(one) { other } else { one })
    }

    // RFC 7143 4.2.3.3-10, 4.2.3.4-1, 4.2.3.4-2, 4.2.3.4-10, 10.7-1, 11.5.1-3, 13.23-4, 13.23-6: what it ends sends no status after the response; then it is the device's turn.
    /// Hands a function to the owner that has gathered all it waits for. Returns whether there was one.
    pub(super) fn advance_management(&mut self) -> bool {
        // Nobody waits for the response of a reset any more, and it ends the session all the same.
        let is_unheard =
            |management: &Management| management.progress == Progress::EndsSession && management.cid.is_none();
        if self.management.iter().any(is_unheard) {
            self.close(CloseReason::TargetReset);
            return false;
        }
        let Some(index) = (0..self.management.len()).find(|index| self.has_gathered(*index)) else {
            return false;
        };
        let management = &mut self.management[index];
        management.progress = Progress::InDevice;
        let event = Event::TaskManagement { id: management.id, function: management.function, lun: management.lun };
        let management = &self.management[index];
        let ended: Vec<TaskId> =
            self.tasks.iter().filter(|(_, task)| management.affects(task)).map(|(id, _)| id).collect();
        let (issuer, function) = (management.cid, management.tag);
        if self.parameters.task_reporting.makes_fast(management.function) {
            self.end_and_tell(&ended, self.window.expected(), issuer);
        } else {
            self.end_for(&ended, issuer, function);
        }
        self.events.push_back(event);
        true
    }

    /// Ends tasks for a function of the connection `issuer`.
    fn end_for(&mut self, ended: &[TaskId], issuer: Option<Cid>, function: InitiatorTaskTag) {
        for id in ended {
            let tag = self.tasks.get(*id).map(|task| task.initiator_task_tag);
            self.abort(*id);
            if let (Some(tag), Some(at)) = (tag, issuer.and_then(|cid| self.find(cid))) {
                self.connections[at].stragglers.end_with(tag, function);
            }
        }
    }

    // RFC 7143 4.2.3.3-7, 4.2.3.3-8, 4.2.3.4-8, 11.5.1-6: the data of R2Ts has come; the commands and the data before it, though not for ever.
    /// Whether a function has all it waits for. No more data is asked for meanwhile.
    fn has_gathered(&mut self, index: usize) -> bool {
        let management = &self.management[index];
        let Progress::Gathers(deadline) = management.progress else {
            return false;
        };
        let waits_for_data = !self.parameters.task_reporting.makes_fast(management.function);
        let mut drained = true;
        for (_, task) in self.tasks.iter_mut().filter(|(_, task)| management.affects(task)) {
            task.receive.discard();
            // Nothing comes for a task without a connection.
            drained &=
                !waits_for_data || !task.receive.has_outstanding_r2t() || !matches!(task.allegiance, Allegiance::To(_));
        }
        // Nobody has to send what is missing once the connection has ended.
        let all_commands = management.cid.is_none() || !self.window.expected().precedes(management.cmd_sn);
        all_commands && (drained || deadline.is_none())
    }

    /// Waits no longer for data whose time has passed.
    pub(super) fn give_up_draining(&mut self, now: Instant) {
        for management in &mut self.management {
            if management.deadline().is_some_and(|deadline| deadline <= now) {
                management.progress = Progress::Gathers(None);
            }
        }
    }
}

/// The end of a task management function, on the connection `at`.
pub(super) fn task_management_response(
    session: &mut Session,
    at: usize,
    tag: InitiatorTaskTag,
    response: Response,
    additional_information: [u8; 3],
) -> Pdu {
    let numbers = session.numbers();
    let connection = &mut session.connections[at];
    let stat_sn = connection.statuses.take();
    // The answer to a ping tells that no data comes any more for what the function has ended.
    if connection.stragglers.handle_response(tag, stat_sn) && connection.timers.ping() {
        connection.transmit.push_ping();
    }
    iscsi_pdu::TaskManagementResponse {
        response,
        additional_information,
        initiator_task_tag: tag,
        stat_sn,
        exp_cmd_sn: numbers.exp_cmd_sn,
        max_cmd_sn: numbers.max_cmd_sn,
    }
    .into()
}
