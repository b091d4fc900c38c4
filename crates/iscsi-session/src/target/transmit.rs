//! What a session sends: a queue of things to say, made into PDUs one by one as the connection takes them.
//!
//! In: what is to be said. Out: PDUs with the numbers of the moment they leave.
//!
//! Invariants: a status gets its StatSN when it leaves, so they leave in order; the data of a read is cut when it leaves, from
//! the bytes that the owner gave, without a copy. A task's answer frees its place in the window with its last PDU. The queue
//! holds at most one answer a request and one R2T entry a burst, and a bounded number of Rejects.

use super::session::Session;
use super::task::{Stage, Task, TaskId};
use crate::SessionType;
use bytes::Bytes;
use iscsi_pdu::{
    AsyncEvent, AsyncMessage, Cid, CmdSn, DataIn, DataInStatus, Header, InitiatorTaskTag, LogoutResponse,
    LogoutResponseCode, LunField, NopIn, Pdu, R2t, Reject, RejectReason, ScsiResponse, ScsiResponseCode, StatSn,
    TargetTransferTag, TaskManagementResponse, TaskManagementResponseCode, TextResponse,
};
use std::collections::VecDeque;

/// Rejects that may wait to be sent. Who causes more, and reads none, ends the session.
const REJECTS_MAX: usize = 64;

/// Something to say.
#[derive(Debug)]
pub(super) enum Transmission {
    /// What is left of a task's data, and its status.
    Completion(TaskId),
    /// As many R2Ts as the task may have.
    R2t(TaskId),
    /// A ping of ours.
    Ping,
    /// The answer to a ping.
    Echo { tag: InitiatorTaskTag, data: Bytes, immediate: bool },
    /// A text response, but for its numbers.
    Text { response: Box<TextResponse>, immediate: bool },
    /// The end of a task management function. If it is fenced, all statuses before it are acknowledged first.
    TaskManagement { tag: InitiatorTaskTag, response: TaskManagementResponseCode, fenced: bool, immediate: bool },
    /// The end of a logout.
    Logout { tag: InitiatorTaskTag, response: LogoutResponseCode, immediate: bool },
    /// A PDU was not accepted.
    Reject { reason: RejectReason, header: Box<Header> },
    /// An asynchronous message with its three parameters.
    Async { event: AsyncEvent, parameters: [u16; 3] },
}

/// What waits to be said.
#[derive(Debug)]
pub(super) struct TransmitQueue {
    queue: VecDeque<Transmission>,
    rejects: usize,
    /// Data-In bytes that wait.
    pub(super) data_in_bytes: usize,
    /// MaxCmdSN as the initiator knows it.
    announced: CmdSn,
}

impl TransmitQueue {
    pub(super) fn new(announced: CmdSn) -> Self {
        Self { queue: VecDeque::new(), rejects: 0, data_in_bytes: 0, announced }
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
        if self.rejects == REJECTS_MAX {
            return false;
        }
        self.rejects += 1;
        self.push(Transmission::Reject { reason, header: Box::new(header) });
        true
    }

    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.rejects = 0;
    }
}

/// The numbers that every PDU from a target carries.
struct Numbers {
    exp_cmd_sn: CmdSn,
    max_cmd_sn: CmdSn,
}

impl Session {
    /// The next PDU to be sent on the connection `cid`.
    pub fn poll_transmit(&mut self, cid: Cid) -> Option<Pdu> {
        if cid != self.cid {
            return None;
        }
        while let Some(transmission) = self.transmit.queue.pop_front() {
            let sent = match transmission {
                Transmission::Completion(id) => self.send_completion(id),
                Transmission::R2t(id) => self.send_r2t(id),
                Transmission::TaskManagement { fenced: true, .. } if !self.statuses.all_acknowledged() => {
                    if let Some(ping) = self.hold_fence(transmission) {
                        return ping;
                    }
                    continue;
                }
                other => self.send(other),
            };
            if sent.is_some() {
                return sent;
            }
        }
        self.send_window()
    }

    /// The initiator has not acknowledged all statuses before a fenced response: it is asked for that by a ping (RFC 7143
    /// section 4.2.2.3.3), and nothing else is sent. Returns nothing if no acknowledgement can come any more.
    fn hold_fence(&mut self, transmission: Transmission) -> Option<Option<Pdu>> {
        if self.closed.is_some() {
            return None;
        }
        self.transmit.queue.push_front(transmission);
        let due = self.timers.ping();
        Some(due.then(|| self.ping()))
    }

    /// RFC 7143 11.4.11: a MaxCmdSN that has changed is announced by a NOP-In if no other PDU does it.
    fn send_window(&mut self) -> Option<Pdu> {
        if self.transmit.announced == self.window.max()
            || self.closed.is_some()
            || !self.management.is_empty()
            || self.session_type == SessionType::Discovery
        {
            return None;
        }
        Some(self.nop_in(None))
    }

    fn numbers(&mut self) -> Numbers {
        self.transmit.announced = self.window.max();
        Numbers { exp_cmd_sn: self.window.expected(), max_cmd_sn: self.window.max() }
    }

    fn send_r2t(&mut self, id: TaskId) -> Option<Pdu> {
        let task = self.tasks.get_mut(id)?;
        let (target_transfer_tag, buffer_offset, desired_data_transfer_length) =
            task.receive.next_r2t(&self.parameters)?;
        let mut r2t = R2t {
            lun: task.lun,
            initiator_task_tag: task.initiator_task_tag,
            target_transfer_tag,
            stat_sn: self.statuses.next(),
            r2t_sn: task.input_sn(),
            buffer_offset,
            desired_data_transfer_length,
            ..R2t::default()
        };
        task.r2t_count += 1;
        if task.receive.may_ask(&self.parameters) {
            self.transmit.queue.push_front(Transmission::R2t(id));
        }
        let numbers = self.numbers();
        (r2t.exp_cmd_sn, r2t.max_cmd_sn) = (numbers.exp_cmd_sn, numbers.max_cmd_sn);
        Some(r2t.into())
    }

    fn send_completion(&mut self, id: TaskId) -> Option<Pdu> {
        let task = self.tasks.get_mut(id)?;
        let Stage::Sending(outcome) = &mut task.stage else {
            return None;
        };
        if outcome.data_in.is_empty() {
            return self.send_status(id);
        }
        let mut data_in = next_data_in(task, &self.parameters)?;
        self.transmit.data_in_bytes -= data_in.data.len();
        if let Some((status, residual)) = task.collapsed_status() {
            data_in.status = Some(DataInStatus { status, stat_sn: self.statuses.take(), residual });
            self.end_task(id);
        } else {
            self.transmit.queue.push_front(Transmission::Completion(id));
        }
        let numbers = self.numbers();
        (data_in.exp_cmd_sn, data_in.max_cmd_sn) = (numbers.exp_cmd_sn, numbers.max_cmd_sn);
        Some(data_in.into())
    }

    fn send_status(&mut self, id: TaskId) -> Option<Pdu> {
        let task = self.tasks.get(id)?;
        let Stage::Sending(outcome) = &task.stage else {
            return None;
        };
        let (residual, bidirectional_read_residual) = task.residuals(outcome);
        let mut response = ScsiResponse {
            response: ScsiResponseCode::CompletedAtTarget,
            status: outcome.status,
            initiator_task_tag: task.initiator_task_tag,
            snack_tag: 0,
            stat_sn: self.statuses.take(),
            exp_cmd_sn: CmdSn(0),
            max_cmd_sn: CmdSn(0),
            // RFC 7143 11.4.8: how many Data-In PDUs were sent.
            exp_data_sn: task.data_in_count,
            bidirectional_read_residual,
            residual,
            data: outcome.response_data(),
        };
        self.end_task(id);
        let numbers = self.numbers();
        (response.exp_cmd_sn, response.max_cmd_sn) = (numbers.exp_cmd_sn, numbers.max_cmd_sn);
        Some(response.into())
    }

    /// The last PDU of a task leaves.
    fn end_task(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.remove(id) {
            self.release(task.immediate);
        }
    }

    fn send(&mut self, transmission: Transmission) -> Option<Pdu> {
        Some(match transmission {
            Transmission::Completion(_) | Transmission::R2t(_) => return None,
            Transmission::Ping => self.ping(),
            Transmission::Echo { tag, data, immediate } => {
                self.release(immediate);
                let mut pdu = self.nop_in(None);
                if let Pdu::NopIn(nop_in) = &mut pdu {
                    self.statuses.take();
                    nop_in.initiator_task_tag = Some(tag);
                    nop_in.data = data;
                }
                pdu
            }
            Transmission::Text { response, immediate } => {
                self.release(immediate);
                let numbers = self.numbers();
                TextResponse {
                    stat_sn: self.statuses.take(),
                    exp_cmd_sn: numbers.exp_cmd_sn,
                    max_cmd_sn: numbers.max_cmd_sn,
                    ..*response
                }
                .into()
            }
            Transmission::TaskManagement { tag, response, immediate, .. } => {
                self.release_function(immediate);
                let numbers = self.numbers();
                TaskManagementResponse {
                    response,
                    initiator_task_tag: tag,
                    stat_sn: self.statuses.take(),
                    exp_cmd_sn: numbers.exp_cmd_sn,
                    max_cmd_sn: numbers.max_cmd_sn,
                }
                .into()
            }
            Transmission::Logout { tag, response, immediate } => {
                self.release(immediate);
                let numbers = self.numbers();
                LogoutResponse {
                    response,
                    initiator_task_tag: tag,
                    stat_sn: self.statuses.take(),
                    exp_cmd_sn: numbers.exp_cmd_sn,
                    max_cmd_sn: numbers.max_cmd_sn,
                    time_2_wait: self.parameters.time_2_wait,
                    time_2_retain: self.parameters.time_2_retain,
                }
                .into()
            }
            Transmission::Reject { reason, header } => {
                self.transmit.rejects -= 1;
                let numbers = self.numbers();
                Reject {
                    reason,
                    stat_sn: self.statuses.take(),
                    exp_cmd_sn: numbers.exp_cmd_sn,
                    max_cmd_sn: numbers.max_cmd_sn,
                    data_sn: 0,
                    rejected: *header,
                }
                .into()
            }
            Transmission::Async { event, parameters: [parameter_1, parameter_2, parameter_3] } => {
                let numbers = self.numbers();
                AsyncMessage {
                    event,
                    vendor_code: 0,
                    lun: LunField::default(),
                    stat_sn: self.statuses.take(),
                    exp_cmd_sn: numbers.exp_cmd_sn,
                    max_cmd_sn: numbers.max_cmd_sn,
                    parameter_1,
                    parameter_2,
                    parameter_3,
                    data: Bytes::new(),
                }
                .into()
            }
        })
    }

    fn ping(&mut self) -> Pdu {
        self.nop_in(Some(self.tag))
    }

    /// A NOP-In that answers nothing: it carries the next StatSN without using it (RFC 7143 section 11.19.2).
    fn nop_in(&mut self, target_transfer_tag: Option<TargetTransferTag>) -> Pdu {
        let stat_sn: StatSn = self.statuses.next();
        let Numbers { exp_cmd_sn, max_cmd_sn } = self.numbers();
        NopIn { target_transfer_tag, stat_sn, exp_cmd_sn, max_cmd_sn, ..NopIn::default() }.into()
    }
}

/// Cuts the next piece off a read: no longer than the initiator receives, no sequence longer than MaxBurstLength.
fn next_data_in(task: &mut Task, parameters: &crate::Parameters) -> Option<DataIn> {
    let (initiator_task_tag, data_sn, offset) = (task.initiator_task_tag, task.input_sn(), task.sent);
    let Stage::Sending(outcome) = &mut task.stage else {
        return None;
    };
    let burst = parameters.burst_bytes_max;
    let burst_left = (burst - offset % burst) as usize;
    // RFC 7143 11.7.7: pieces but the last of a sequence are whole words.
    let segment = (parameters.send_segment_bytes_max & !3) as usize;
    let length = outcome.data_in.len().min(burst_left).min(segment);
    let data = if length == outcome.data_in.len() {
        std::mem::take(&mut outcome.data_in)
    } else {
        outcome.data_in.split_to(length)
    };
    let is_final = outcome.data_in.is_empty() || length == burst_left;
    task.data_in_count = task.data_in_count.wrapping_add(1);
    task.sent += length as u32;
    Some(DataIn { is_final, initiator_task_tag, data_sn, buffer_offset: offset, data, ..DataIn::default() })
}
