//! What the target sends: each PDU to the request that it belongs to.

use super::outbox::Answer;
use super::task::{Concluded, Entry, Request, Requests, Task};
use super::{Event, Session, TaskResult};
use crate::{CloseReason, Violation};
use bytes::Bytes;
use iscsi_pdu::{
    DataIn, InitiatorTaskTag, LogoutResponse, LogoutResponseCode, NopIn, Pdu, R2t, Residual, ScsiResponse,
    ScsiResponseCode,
};

/// SAM-5 clause 5.3.1.
const CHECK_CONDITION: u8 = 0x02;

impl Session {
    pub(super) fn dispatch(&mut self, pdu: Pdu) -> Result<(), Violation> {
        match pdu {
            Pdu::DataIn(pdu) => self.handle_data_in(pdu),
            Pdu::ScsiResponse(pdu) => self.handle_scsi_response(pdu),
            Pdu::R2t(pdu) => self.handle_r2t(&pdu),
            Pdu::NopIn(pdu) => self.handle_nop_in(pdu),
            Pdu::TaskManagementResponse(pdu) => self.handle_task_management_response(pdu),
            Pdu::TextResponse(pdu) => self.handle_text_response(pdu),
            Pdu::LogoutResponse(pdu) => self.handle_logout_response(pdu),
            Pdu::AsyncMessage(pdu) => self.handle_async_message(pdu),
            Pdu::Reject(pdu) => self.handle_reject(pdu),
            _ => Err(Violation::UnexpectedPdu),
        }?;
        self.go_on_with_text();
        Ok(())
    }

    fn handle_data_in(&mut self, pdu: DataIn) -> Result<(), Violation> {
        self.numbering.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        if let Some(status) = &pdu.status {
            self.numbering.count_status(status.stat_sn)?;
        }
        let tag = pdu.initiator_task_tag;
        let Some(task) = command(&mut self.requests, &self.concluded, tag)? else { return Ok(()) };
        if !task.data.handle_data_in(&pdu, &self.parameters)? {
            return Ok(());
        }
        let DataIn { status, buffer_offset: offset, data, .. } = pdu;
        if !data.is_empty() {
            self.events.push_back(Event::Data { tag, offset, data });
        }
        let Some(status) = status else { return Ok(()) };
        // RFC 7143 11.7.3: the status of a bidirectional command, or one with sense, comes in a response.
        if task.data.write.is_some() || status.status == CHECK_CONDITION {
            return Err(Violation::StatusInData);
        }
        let (residual, bidirectional_read_residual) = task.data.checked_residuals(status.residual, Residual::None);
        let result = TaskResult {
            response: ScsiResponseCode::CompletedAtTarget,
            status: status.status,
            sense: Bytes::new(),
            residual,
            bidirectional_read_residual,
        };
        self.complete(tag, result);
        Ok(())
    }

    fn handle_scsi_response(&mut self, pdu: ScsiResponse) -> Result<(), Violation> {
        self.numbering.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        self.numbering.count_status(pdu.stat_sn)?;
        let tag = pdu.initiator_task_tag;
        let Some(task) = command(&mut self.requests, &self.concluded, tag)? else { return Ok(()) };
        let result = task_result(task, &pdu)?;
        self.complete(tag, result);
        Ok(())
    }

    fn complete(&mut self, tag: InitiatorTaskTag, result: TaskResult) {
        self.remove(tag);
        self.events.push_back(Event::TaskComplete { tag, result });
    }

    fn handle_r2t(&mut self, pdu: &R2t) -> Result<(), Violation> {
        self.numbering.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        let tag = pdu.initiator_task_tag;
        let Some(task) = command(&mut self.requests, &self.concluded, tag)? else { return Ok(()) };
        // RFC 7143 4.2.5.3: what belongs to a task says the same as the command.
        if pdu.lun != task.lun {
            return Err(Violation::InconsistentLun);
        }
        if task.data.handle_r2t(pdu, &self.parameters)? {
            self.outbox.push_solicited(tag);
        }
        Ok(())
    }

    fn handle_nop_in(&mut self, pdu: NopIn) -> Result<(), Violation> {
        self.numbering.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        match (pdu.initiator_task_tag, pdu.target_transfer_tag) {
            (Some(_), Some(_)) => Err(Violation::NopInWithBothTags),
            (Some(tag), None) => {
                self.numbering.count_status(pdu.stat_sn)?;
                self.end_nop_out(tag, pdu.data)
            }
            (None, _) if !pdu.data.is_empty() => Err(Violation::UnsolicitedNopInData),
            (None, Some(_)) => {
                let answer = Answer { lun: pdu.lun, target_transfer_tag: pdu.target_transfer_tag };
                if self.outbox.push_answer(answer) { Ok(()) } else { Err(Violation::TooManyPings) }
            }
            (None, None) => Ok(()),
        }
    }

    fn end_nop_out(&mut self, tag: InitiatorTaskTag, data: Bytes) -> Result<(), Violation> {
        let event = match self.requests.sent(tag).map(|entry| &entry.request) {
            Some(Request::Ping(_)) => Event::PingComplete { tag, data },
            Some(Request::Plug(reason)) => Event::TaskRejected { tag, reason: *reason },
            _ => return self.check_concluded(tag),
        };
        self.remove(tag);
        self.events.push_back(event);
        Ok(())
    }

    fn handle_logout_response(&mut self, pdu: LogoutResponse) -> Result<(), Violation> {
        self.numbering.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        self.numbering.count_status(pdu.stat_sn)?;
        let (tag, response) = (pdu.initiator_task_tag, pdu.response);
        let Some(Entry { request: Request::Logout(_), .. }) = self.requests.sent(tag) else {
            return Err(Violation::UnknownInitiatorTaskTag);
        };
        self.remove(tag);
        self.events.push_back(Event::LogoutComplete { tag, response });
        // RFC 7143 8.1.2: T13 or T17.
        let is_closed = response == LogoutResponseCode::Closed;
        self.close(if is_closed { CloseReason::LoggedOut } else { CloseReason::LogoutFailed });
        Ok(())
    }
}

/// The SCSI command that a PDU speaks of; none if it was ended without its response.
fn command<'a>(
    requests: &'a mut Requests,
    concluded: &Concluded,
    tag: InitiatorTaskTag,
) -> Result<Option<&'a mut Task>, Violation> {
    match requests.sent(tag) {
        Some(Entry { request: Request::Command(task), .. }) => Ok(Some(task)),
        _ if concluded.contains(tag) => Ok(None),
        _ => Err(Violation::UnknownInitiatorTaskTag),
    }
}

fn task_result(task: &Task, pdu: &ScsiResponse) -> Result<TaskResult, Violation> {
    let response = pdu.response;
    let mut result = TaskResult {
        response,
        status: 0,
        sense: Bytes::new(),
        residual: Residual::None,
        bidirectional_read_residual: Residual::None,
    };
    // RFC 7143 11.4.3: of a failure, nothing else is to be read.
    if response != ScsiResponseCode::CompletedAtTarget {
        return Ok(result);
    }
    task.data.check_exp_data_sn(pdu.exp_data_sn)?;
    result.status = pdu.status;
    result.sense = split_sense(&pdu.data).ok_or(Violation::SenseBeyondSegment)?.0;
    (result.residual, result.bidirectional_read_residual) =
        task.data.checked_residuals(pdu.residual, pdu.bidirectional_read_residual);
    Ok(result)
}

/// Parts the data segment of a SCSI Response or an Asynchronous Message into sense data and what follows it (RFC 7143 sections
/// 11.4.7 and 11.9.4). None if the sense data would reach beyond the segment.
#[must_use]
pub fn split_sense(segment: &Bytes) -> Option<(Bytes, Bytes)> {
    if segment.is_empty() {
        return Some((Bytes::new(), Bytes::new()));
    }
    let end = 2 + usize::from(u16::from_be_bytes(*segment.first_chunk()?));
    (end <= segment.len()).then(|| (segment.slice(2..end), segment.slice(end..)))
}
