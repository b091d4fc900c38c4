//! What a connection sends: a queue of things to say, made into PDUs one by one as the connection takes them.
//!
//! In: what is to be said. Out: PDUs with the numbers of the moment they leave.
//!
//! Invariants: a status gets its StatSN when it leaves, so they leave in order; the data of a read is cut when it leaves, from
//! the bytes that the owner gave, without a copy. A task's answer frees its place in the window with its last PDU. The queue
//! holds at most one answer a request and one R2T entry a burst, and a bounded number of Rejects.

use super::event::RequestId;
use super::fence::AtFence;
use super::resumption::Cut;
use super::retention::Retained;
use super::session::Session;
use super::snack::Run;
use super::task::{Stage, Task, TaskId};
use super::task_management::task_management_response;
use crate::SessionType;
use bytes::Bytes;
use iscsi_pdu::{
    AsyncEvent, AsyncMessage, Cid, CmdSn, DataIn, DataInStatus, Header, InitiatorTaskTag, LogoutResponse,
    LogoutResponseCode, LunField, NopIn, Pdu, R2t, Reject, RejectReason, StatSn, TargetTransferTag,
    TaskManagementResponseCode, TextResponse,
};
use std::collections::VecDeque;

/// Rejects and repetitions that may wait to be sent. Who causes more, and reads none, ends the session.
const ANSWERS_MAX: usize = 64;

/// Something to say.
#[derive(Debug)]
pub(super) enum Transmission {
    /// What is left of a task's data, and its status.
    Completion(TaskId),
    /// As many R2Ts as the task may have.
    R2t(TaskId),
    /// Data-In PDUs and R2Ts of a task again.
    Data(TaskId, Run),
    /// Statuses again.
    Statuses(Run),
    /// A ping of ours.
    Ping,
    /// The answer to a ping.
    Echo { tag: InitiatorTaskTag, data: Bytes, immediate: bool },
    /// A text response, but for its numbers.
    Text { response: Box<TextResponse>, immediate: bool },
    /// The end of a task management function.
    TaskManagement {
        tag: InitiatorTaskTag,
        response: TaskManagementResponseCode,
        additional_information: [u8; 3],
        immediate: bool,
    },
    /// The end of a task management function that all connections wait for.
    Fence(RequestId),
    /// The end of a logout.
    Logout { tag: InitiatorTaskTag, response: LogoutResponseCode, immediate: bool },
    /// A PDU was not accepted.
    Reject { reason: RejectReason, header: Box<Header> },
    /// Tasks of a logical unit have ended.
    TaskTermination { lun: LunField, numbers: Numbers },
    /// An asynchronous message with its three parameters.
    Async { event: AsyncEvent, parameters: [u16; 3] },
}

/// What waits to be said.
#[derive(Debug)]
pub(super) struct TransmitQueue {
    /// What is said again goes first: what stands in the queue may wait for it.
    again: VecDeque<Transmission>,
    pub(super) queue: VecDeque<Transmission>,
    /// Rejects and repetitions among them.
    answers: usize,
    /// Data-In bytes that wait.
    pub(super) data_in_bytes: usize,
}

impl TransmitQueue {
    pub(super) fn new() -> Self {
        Self { again: VecDeque::new(), queue: VecDeque::new(), answers: 0, data_in_bytes: 0 }
    }

    fn pop(&mut self) -> Option<Transmission> {
        if self.again.is_empty() { self.queue.pop_front() } else { self.again.pop_front() }
    }

    pub(super) fn push(&mut self, transmission: Transmission) {
        self.queue.push_back(transmission);
    }

    /// A ping does not wait behind data: its answer is waited for.
    pub(super) fn push_ping(&mut self) {
        self.queue.push_front(Transmission::Ping);
    }

    /// Returns whether there was room.
    pub(super) fn push_reject(&mut self, reason: RejectReason, header: Header) -> bool {
        let has_room = self.take_answer();
        if has_room {
            self.push(Transmission::Reject { reason, header: Box::new(header) });
        }
        has_room
    }

    /// What is to be sent again. Returns whether there was room.
    pub(super) fn push_again(&mut self, repetition: Transmission) -> bool {
        let has_room = self.take_answer();
        if has_room {
            self.again.push_back(repetition);
        }
        has_room
    }

    fn take_answer(&mut self) -> bool {
        let has_room = self.answers < ANSWERS_MAX;
        self.answers += usize::from(has_room);
        has_room
    }

    /// What is left of a repetition.
    pub(super) fn push_rest(&mut self, rest: Transmission) {
        self.again.push_front(rest);
    }

    /// A task that has its turn now.
    pub(super) fn push_first(&mut self, id: TaskId) {
        self.queue.push_front(Transmission::Completion(id));
    }

    /// A Reject or the last of a repetition leaves.
    pub(super) fn answer_left(&mut self) {
        self.answers -= 1;
    }

    /// Forgets what waits, and tells how many places in the window that frees.
    pub(super) fn clear(&mut self) -> usize {
        self.answers = 0;
        self.again.clear();
        self.queue.drain(..).filter(Transmission::holds_number).count()
    }
}

impl Transmission {
    /// Whether a place in the window is free when it has left. Those of tasks are counted with the tasks, those of fences with the
    /// fences.
    pub(super) fn holds_number(&self) -> bool {
        matches!(
            self,
            Self::Echo { immediate: false, .. }
                | Self::Text { immediate: false, .. }
                | Self::TaskManagement { immediate: false, .. }
                | Self::Logout { immediate: false, .. }
        )
    }
}

/// The numbers that every PDU from a target carries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    pub(super) exp_cmd_sn: CmdSn,
    pub(super) max_cmd_sn: CmdSn,
}

impl Session {
    /// The next PDU to be sent on the connection `cid`. What leaves on one connection may let another go on: the owner asks all
    /// that can send in turn, until none has anything.
    pub fn poll_transmit(&mut self, cid: Cid) -> Option<Pdu> {
        let at = self.find(cid)?;
        while let Some(transmission) = self.connections[at].transmit.pop() {
            let sent = match transmission {
                Transmission::Completion(id) => self.send_completion(at, id),
                Transmission::R2t(id) => self.send_r2t(at, id),
                Transmission::Data(id, run) => self.send_data_again(at, id, run),
                Transmission::Statuses(run) => self.send_statuses_again(at, run),
                Transmission::Fence(id) => match self.come_to_fence(at, id) {
                    AtFence::Passes => None,
                    AtFence::Answers(pdu) => Some(pdu),
                    AtFence::Waits => {
                        self.connections[at].transmit.queue.push_front(Transmission::Fence(id));
                        return self.ask_for_acknowledgement(at);
                    }
                },
                other => self.send_other(at, other),
            };
            if sent.is_some() {
                return sent;
            }
        }
        if self.connections[at].is_open() {
            return self.send_window(at);
        }
        if self.connections[at].is_leaving() {
            self.abort_tasks_of(at, |_| true);
        }
        None
    }

    /// If the initiator has not acknowledged all statuses it is asked for that by a ping (RFC 7143 section 4.2.2.3.3).
    fn ask_for_acknowledgement(&mut self, at: usize) -> Option<Pdu> {
        let connection = &mut self.connections[at];
        let next = connection.statuses.next();
        let due = !connection.statuses.all_acknowledged() && connection.timers.ask_to_acknowledge(next);
        due.then(|| self.ping(at))
    }

    // RFC 7143 11.4.11-1: nobody else says it.
    /// RFC 7143 11.4.11: a MaxCmdSN that has changed is announced by a NOP-In if no other PDU does it.
    fn send_window(&mut self, at: usize) -> Option<Pdu> {
        if self.announced == self.window.max()
            || !self.management.is_empty()
            || self.session_type == SessionType::Discovery
        {
            return None;
        }
        Some(self.nop_in(at, None))
    }

    // RFC 7143 4.2.2.1-15: what is answered was acknowledged before, by this or another PDU.
    pub(super) fn numbers(&mut self) -> Numbers {
        self.announced = self.window.max();
        Numbers { exp_cmd_sn: self.window.expected(), max_cmd_sn: self.window.max() }
    }

    // RFC 7143 4.2.2.4-1, 4.2.5.1-4, 4.2.5.3-2: on the connection of its command, with its LUN and the next number.
    fn send_r2t(&mut self, at: usize, id: TaskId) -> Option<Pdu> {
        let task = self.tasks.get_mut(id)?;
        let (target_transfer_tag, buffer_offset, desired_data_transfer_length) =
            task.receive.next_r2t(&self.parameters)?;
        let mut r2t = R2t {
            lun: task.lun,
            initiator_task_tag: task.initiator_task_tag,
            target_transfer_tag,
            stat_sn: self.connections[at].statuses.next(),
            r2t_sn: task.input_sn(),
            buffer_offset,
            desired_data_transfer_length,
            ..R2t::default()
        };
        task.r2t_count += 1;
        if task.receive.may_ask(&self.parameters) {
            self.connections[at].transmit.queue.push_front(Transmission::R2t(id));
        }
        self.watch_for_silence();
        let numbers = self.numbers();
        (r2t.exp_cmd_sn, r2t.max_cmd_sn) = (numbers.exp_cmd_sn, numbers.max_cmd_sn);
        Some(r2t.into())
    }

    // RFC 7143 4.2.5.1-1, 4.2.5.1-2, 4.2.5.1-4: where the task is.
    fn send_completion(&mut self, at: usize, id: TaskId) -> Option<Pdu> {
        let task = self.tasks.get_mut(id)?;
        let Stage::Sending(outcome) = &task.stage else {
            return None;
        };
        if outcome.data_in.is_empty() || task.resumption.is_some() && task.unsent() == 0 {
            return self.send_status(at, id);
        }
        let connection = &mut self.connections[at];
        let mut data_in = next_data_in(id, task, self.parameters.burst_bytes_max, connection.segment_bytes())?;
        connection.transmit.data_in_bytes -= data_in.data.len();
        if let Some((status, residual)) = task.collapsed_status() {
            let stat_sn = connection.statuses.take();
            data_in.status = Some(DataInStatus { status, stat_sn, residual });
            self.end_task(at, id, stat_sn, true);
        } else {
            connection.transmit.queue.push_front(Transmission::Completion(id));
        }
        let numbers = self.numbers();
        (data_in.exp_cmd_sn, data_in.max_cmd_sn) = (numbers.exp_cmd_sn, numbers.max_cmd_sn);
        Some(data_in.into())
    }

    // RFC 7143 11.4.9-1: a status that is sent again is the same.
    fn send_status(&mut self, at: usize, id: TaskId) -> Option<Pdu> {
        let task = self.tasks.get(id)?;
        // RFC 7143 11.16.3: a status that is sent again keeps its number.
        let stat_sn = task.stat_sn().unwrap_or_else(|| self.connections[at].statuses.take());
        let mut response = task.response(stat_sn)?;
        self.end_task(at, id, stat_sn, false);
        let numbers = self.numbers();
        (response.exp_cmd_sn, response.max_cmd_sn) = (numbers.exp_cmd_sn, numbers.max_cmd_sn);
        Some(response.into())
    }

    /// The last PDU of a task leaves.
    fn end_task(&mut self, at: usize, id: TaskId, stat_sn: StatSn, collapsed: bool) {
        if !self.recovers() {
            if let Some(task) = self.tasks.remove(id) {
                self.release(at, task.immediate);
            }
        } else {
            self.keep_task(at, id, stat_sn, collapsed);
        }
    }

    /// The last PDU of a task leaves that may have to be sent again.
    #[cold]
    fn keep_task(&mut self, at: usize, id: TaskId, stat_sn: StatSn, collapsed: bool) {
        if let Some(resumption) = self.tasks.get_mut(id).and_then(|task| task.resumption.as_mut()) {
            let is_first_here = resumption.stat_sn.replace(stat_sn).is_none();
            let is_first = !std::mem::replace(&mut resumption.has_left, true);
            resumption.collapsed = collapsed;
            if let Some(immediate) = self.tasks.get(id).filter(|_| is_first).map(|task| task.immediate) {
                self.release(at, immediate);
            }
            if is_first_here {
                self.retain(at, Retained::Task(id));
            }
            self.retain_task(at, id);
        }
    }

    /// Sends what has a StatSN and belongs to no SCSI task.
    #[cold]
    fn send_other(&mut self, at: usize, transmission: Transmission) -> Option<Pdu> {
        let is_numbered = !matches!(transmission, Transmission::Ping);
        let pdu = self.send(at, transmission)?;
        if is_numbered {
            self.retain_pdu(at, &pdu);
        }
        Some(pdu)
    }

    // RFC 7143 11.16-3, 11.16-6: of this moment are the numbers of the window alone.
    /// Gives a PDU that is sent again the numbers of this moment.
    pub(super) fn renumber(&mut self, pdu: &mut Pdu) {
        let numbers = self.numbers();
        let (exp_cmd_sn, max_cmd_sn) = match pdu {
            Pdu::DataIn(pdu) => (&mut pdu.exp_cmd_sn, &mut pdu.max_cmd_sn),
            Pdu::R2t(pdu) => (&mut pdu.exp_cmd_sn, &mut pdu.max_cmd_sn),
            Pdu::ScsiResponse(pdu) => (&mut pdu.exp_cmd_sn, &mut pdu.max_cmd_sn),
            Pdu::NopIn(pdu) => (&mut pdu.exp_cmd_sn, &mut pdu.max_cmd_sn),
            Pdu::TextResponse(pdu) => (&mut pdu.exp_cmd_sn, &mut pdu.max_cmd_sn),
            Pdu::TaskManagementResponse(pdu) => (&mut pdu.exp_cmd_sn, &mut pdu.max_cmd_sn),
            Pdu::LogoutResponse(pdu) => (&mut pdu.exp_cmd_sn, &mut pdu.max_cmd_sn),
            Pdu::Reject(pdu) => (&mut pdu.exp_cmd_sn, &mut pdu.max_cmd_sn),
            // Those of this event say which tasks are meant.
            Pdu::AsyncMessage(pdu) if pdu.event == AsyncEvent::TaskTermination => return,
            Pdu::AsyncMessage(pdu) => (&mut pdu.exp_cmd_sn, &mut pdu.max_cmd_sn),
            _ => return,
        };
        (*exp_cmd_sn, *max_cmd_sn) = (numbers.exp_cmd_sn, numbers.max_cmd_sn);
    }

    fn send(&mut self, at: usize, transmission: Transmission) -> Option<Pdu> {
        Some(match transmission {
            Transmission::Completion(_)
            | Transmission::R2t(_)
            | Transmission::Data(..)
            | Transmission::Statuses(_)
            | Transmission::Fence(_) => return None,
            Transmission::Ping => self.ping(at),
            Transmission::Echo { tag, data, immediate } => {
                self.release(at, immediate);
                let mut pdu = self.nop_in(at, None);
                if let Pdu::NopIn(nop_in) = &mut pdu {
                    self.connections[at].statuses.take();
                    nop_in.initiator_task_tag = Some(tag);
                    nop_in.data = data;
                }
                pdu
            }
            Transmission::Text { response, immediate } => {
                self.release(at, immediate);
                let numbers = self.numbers();
                TextResponse {
                    stat_sn: self.connections[at].statuses.take(),
                    exp_cmd_sn: numbers.exp_cmd_sn,
                    max_cmd_sn: numbers.max_cmd_sn,
                    ..*response
                }
                .into()
            }
            Transmission::TaskManagement { tag, response, additional_information, immediate } => {
                self.release_function(at, immediate);
                task_management_response(self, at, tag, response, additional_information)
            }
            Transmission::Logout { tag, response, immediate } => {
                self.release(at, immediate);
                let numbers = self.numbers();
                LogoutResponse {
                    response,
                    initiator_task_tag: tag,
                    stat_sn: self.connections[at].statuses.take(),
                    exp_cmd_sn: numbers.exp_cmd_sn,
                    max_cmd_sn: numbers.max_cmd_sn,
                    time_2_wait: self.parameters.time_2_wait,
                    time_2_retain: self.parameters.time_2_retain,
                }
                .into()
            }
            Transmission::Reject { reason, header } => {
                self.connections[at].transmit.answer_left();
                let numbers = self.numbers();
                Reject {
                    reason,
                    stat_sn: self.connections[at].statuses.take(),
                    exp_cmd_sn: numbers.exp_cmd_sn,
                    max_cmd_sn: numbers.max_cmd_sn,
                    data_sn: 0,
                    rejected: *header,
                }
                .into()
            }
            Transmission::Async { event, parameters } => {
                self.async_message(at, event, LunField::default(), parameters).into()
            }
            Transmission::TaskTermination { lun, numbers } => self.send_termination(at, lun, numbers).into(),
        })
    }

    pub(super) fn async_message(
        &mut self,
        at: usize,
        event: AsyncEvent,
        lun: LunField,
        parameters: [u16; 3],
    ) -> AsyncMessage {
        let numbers = self.numbers();
        let [parameter_1, parameter_2, parameter_3] = parameters;
        AsyncMessage {
            event,
            vendor_code: 0,
            lun,
            stat_sn: self.connections[at].statuses.take(),
            exp_cmd_sn: numbers.exp_cmd_sn,
            max_cmd_sn: numbers.max_cmd_sn,
            parameter_1,
            parameter_2,
            parameter_3,
            data: Bytes::new(),
        }
    }

    // RFC 7143 11.19.3-1: of LUN 0, which every target has.
    fn ping(&mut self, at: usize) -> Pdu {
        let tag = self.connections[at].tag;
        self.nop_in(at, Some(tag))
    }

    // RFC 7143 11.19-5, 11.19-6, 11.19-7, 11.19.1-1: nothing but numbers.
    /// A NOP-In that answers nothing: it carries the next StatSN without using it (RFC 7143 section 11.19.2).
    fn nop_in(&mut self, at: usize, target_transfer_tag: Option<TargetTransferTag>) -> Pdu {
        let stat_sn: StatSn = self.connections[at].statuses.next();
        let Numbers { exp_cmd_sn, max_cmd_sn } = self.numbers();
        NopIn { target_transfer_tag, stat_sn, exp_cmd_sn, max_cmd_sn, ..NopIn::default() }.into()
    }
}

// RFC 7143 11.7.1-1, 11.7.1-2, 11.7.2-2, 11.7.7-2, 13.19-1: in order and in whole words; no A bit at level 0.
/// Cuts the next piece off a read: no longer than the initiator receives, no sequence longer than MaxBurstLength.
fn next_data_in(id: TaskId, task: &mut Task, burst: u32, segment: u32) -> Option<DataIn> {
    let (initiator_task_tag, data_sn, offset) = (task.initiator_task_tag, task.input_sn(), task.sent);
    let burst_left = (burst - offset % burst) as usize;
    let Stage::Sending(outcome) = &mut task.stage else {
        return None;
    };
    let kept = if task.resumption.is_some() { offset as usize } else { 0 };
    let length = (outcome.data_in.len() - kept).min(burst_left).min(segment as usize);
    task.data_in_count = task.data_in_count.wrapping_add(1);
    task.sent += length as u32;
    if task.resumption.is_some() {
        return next_kept_data_in(id, task, length, burst, segment);
    }
    let data = if length == outcome.data_in.len() {
        std::mem::take(&mut outcome.data_in)
    } else {
        outcome.data_in.split_to(length)
    };
    let is_final = outcome.data_in.is_empty() || length == burst_left;
    Some(DataIn { is_final, initiator_task_tag, data_sn, buffer_offset: offset, data, ..DataIn::default() })
}

/// Cuts the next piece off a read that may have to be sent again. It counts as sent.
#[cold]
fn next_kept_data_in(id: TaskId, task: &mut Task, length: usize, burst: u32, segment: u32) -> Option<DataIn> {
    let (offset, data_sn) = (task.sent - length as u32, task.input_sn().wrapping_sub(1));
    if let Some(resumption) = &mut task.resumption
        && resumption.cut.segment_bytes != segment
    {
        resumption.cut = Cut { data_sn, offset, segment_bytes: segment };
    }
    let data = task.outcome()?.data_in.slice(offset as usize..offset as usize + length);
    Some(task.data_in(id, data_sn, offset, data, burst))
}
