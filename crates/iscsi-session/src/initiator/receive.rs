//! What the target sends: each PDU to the request that it belongs to.

use super::outbox::Answer;
use super::task::{Request, Task};
use super::transfer::Arrival;
use super::{Event, Session, TaskResult};
use crate::Violation;
use bytes::Bytes;
use iscsi_pdu::{
    Cid, DataIn, DataInStatus, InitiatorTaskTag, NopIn, Pdu, R2t, Residual, ScsiResponse, ScsiResponseCode,
};
use std::time::Instant;

/// SAM-5 clause 5.3.1.
const CHECK_CONDITION: u8 = 0x02;

impl Session {
    // Inlined for the way without recovery, so that the PDU stays where it is.
    #[inline(always)]
    pub(super) fn dispatch(&mut self, now: Instant, cid: Cid, pdu: Pdu) -> Result<(), Violation> {
        match pdu {
            Pdu::DataIn(pdu) => self.handle_data_in(now, cid, pdu),
            Pdu::ScsiResponse(pdu) => self.handle_scsi_response(cid, pdu),
            Pdu::R2t(pdu) => self.handle_r2t(now, cid, &pdu),
            Pdu::NopIn(pdu) => self.handle_nop_in(now, cid, pdu),
            Pdu::TaskManagementResponse(pdu) => self.handle_task_management_response(now, cid, pdu),
            Pdu::TextResponse(pdu) => self.handle_text_response(cid, pdu),
            Pdu::LogoutResponse(pdu) => self.handle_logout_response(now, cid, pdu),
            Pdu::AsyncMessage(pdu) => self.handle_async_message(now, cid, pdu),
            Pdu::Reject(pdu) => self.handle_reject(now, cid, pdu),
            _ => Err(Violation::UnexpectedPdu),
        }?;
        self.go_on_with_texts();
        Ok(())
    }

    // RFC 7143 7.9-1, 11.7-1: a status may come with the data.
    fn handle_data_in(&mut self, now: Instant, cid: Cid, mut pdu: DataIn) -> Result<(), Violation> {
        self.numbering.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        if let Some(status) = &pdu.status {
            self.connections.known(cid).count_status(status.stat_sn)?;
        }
        let tag = pdu.initiator_task_tag;
        if pdu.status.is_none() && self.is_stale(cid, tag, pdu.exp_cmd_sn) {
            return Ok(());
        }
        let Some(task) = self.requests.command(cid, tag) else { return self.check_concluded(cid, tag) };
        let arrival = task.data.handle_data_in(&mut pdu, &self.connections.known(cid).parameters)?;
        if arrival == Arrival::Early && !task.data.is_given_up() {
            return self.ask_for_data(now, cid, tag);
        }
        let end = pdu.status.map(|status| read_result(task, status));
        if arrival == Arrival::New {
            self.acknowledge_data(cid, &pdu)?;
            if !pdu.data.is_empty() {
                self.events.push_back(Event::Data { tag, offset: pdu.buffer_offset, data: pdu.data });
            }
        }
        if let Some(result) = end {
            self.complete(tag, result?);
        }
        Ok(())
    }

    fn handle_scsi_response(&mut self, cid: Cid, pdu: ScsiResponse) -> Result<(), Violation> {
        self.numbering.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        self.connections.known(cid).count_status(pdu.stat_sn)?;
        let tag = pdu.initiator_task_tag;
        let Some(task) = self.requests.command(cid, tag) else { return self.check_concluded(cid, tag) };
        let mut result = task_result(task, &pdu)?;
        if !self.connections.known(cid).parameters.has_scsi_features() {
            result.status_qualifier = 0; // reserved
        }
        self.complete(tag, result);
        Ok(())
    }

    fn complete(&mut self, tag: InitiatorTaskTag, result: TaskResult) {
        let entry = self.remove(tag).expect("a command that was found");
        // What was asked for twice, by two SNACKs, may come once more after the end.
        if self.connections.known(entry.cid).recovery.is_some() {
            self.concluded.push(tag);
        }
        self.events.push_back(Event::TaskComplete { tag, result });
    }

    fn handle_r2t(&mut self, now: Instant, cid: Cid, pdu: &R2t) -> Result<(), Violation> {
        self.numbering.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        let tag = pdu.initiator_task_tag;
        if self.is_stale(cid, tag, pdu.exp_cmd_sn) {
            return Ok(());
        }
        let Some(task) = self.requests.command(cid, tag) else { return self.check_concluded(cid, tag) };
        // RFC 7143 4.2.5.3: what belongs to a task says the same as the command.
        if pdu.lun != task.lun {
            return Err(Violation::InconsistentLun);
        }
        let connection = self.connections.known(cid);
        let was_idle = !task.data.has_data_to_send();
        match task.data.handle_r2t(pdu, &connection.parameters)? {
            Arrival::New if was_idle => connection.outbox.push_solicited(tag),
            Arrival::New | Arrival::Again => {}
            Arrival::Early => return self.ask_for_data(now, cid, tag),
        }
        Ok(())
    }

    // RFC 7143 11.18-1, 11.18-3: only a ping is answered.
    fn handle_nop_in(&mut self, now: Instant, cid: Cid, pdu: NopIn) -> Result<(), Violation> {
        self.numbering.update_window(pdu.exp_cmd_sn, pdu.max_cmd_sn);
        match (pdu.initiator_task_tag, pdu.target_transfer_tag) {
            (Some(_), Some(_)) => Err(Violation::NopInWithBothTags),
            (Some(tag), None) => {
                self.connections.known(cid).count_status(pdu.stat_sn)?;
                self.end_nop_out(now, cid, tag, pdu.data)
            }
            (None, _) if !pdu.data.is_empty() => Err(Violation::UnsolicitedNopInData),
            (None, Some(_)) => {
                let answer = Answer { lun: pdu.lun, target_transfer_tag: pdu.target_transfer_tag };
                self.answer(cid, answer)
            }
            (None, None) => Ok(()),
        }
    }

    /// Answers with a NOP-Out; a bounded number may wait.
    pub(super) fn answer(&mut self, cid: Cid, answer: Answer) -> Result<(), Violation> {
        let has_room = self.connections.known(cid).outbox.push_answer(answer);
        if has_room { Ok(()) } else { Err(Violation::TooManyPings) }
    }

    fn end_nop_out(&mut self, now: Instant, cid: Cid, tag: InitiatorTaskTag, data: Bytes) -> Result<(), Violation> {
        let event = match self.requests.sent(cid, tag).map(|entry| &entry.request) {
            Some(Request::Ping(_)) => Event::PingComplete { tag, data },
            Some(Request::Plug(plugged)) => plugged.event(tag),
            _ => return self.check_concluded(cid, tag),
        };
        let entry = self.remove(tag).expect("a request that was found");
        if let Some(recovery) = &mut self.connections.known(cid).recovery {
            recovery.hear_ping(now, tag);
        }
        self.events.push_back(event);
        self.give_up_pings_before(cid, entry.sent_as);
        self.find_lost_command(now, cid, entry.sent_as);
        Ok(())
    }
}

/// What the last Data-In says of the end of its task.
fn read_result(task: &Task, status: DataInStatus) -> Result<TaskResult, Violation> {
    // RFC 7143 11.7.3: the status of a bidirectional command, or one with sense, comes in a response.
    if task.data.write.is_some() || status.status == CHECK_CONDITION {
        return Err(Violation::StatusInData);
    }
    let (residual, bidirectional_read_residual) = task.data.checked_residuals(status.residual, Residual::None);
    let mut result = TaskResult {
        response: ScsiResponseCode::CompletedAtTarget,
        status: status.status,
        status_qualifier: 0,
        sense: Bytes::new(),
        residual,
        bidirectional_read_residual,
    };
    if task.data.is_given_up() {
        fail(&mut result);
    }
    Ok(result)
}

// RFC 7143 11.4.3-1: of a failure nothing else is read.
fn task_result(task: &Task, pdu: &ScsiResponse) -> Result<TaskResult, Violation> {
    let response = pdu.response;
    let mut result = TaskResult {
        response,
        status: 0,
        status_qualifier: 0,
        sense: Bytes::new(),
        residual: Residual::None,
        bidirectional_read_residual: Residual::None,
    };
    // RFC 7143 11.4.3: of a failure, nothing else is to be read.
    if response != ScsiResponseCode::CompletedAtTarget {
        return Ok(result);
    }
    if !task.data.has_all_of(pdu) {
        if !task.data.is_given_up() {
            return Err(Violation::MissingData);
        }
        (result.residual, result.bidirectional_read_residual) =
            task.data.checked_residuals(pdu.residual, pdu.bidirectional_read_residual);
        fail(&mut result);
        return Ok(result);
    }
    (result.status, result.status_qualifier) = (pdu.status, pdu.status_qualifier);
    result.sense = split_sense(&pdu.data).ok_or(Violation::SenseBeyondSegment)?.0;
    (result.residual, result.bidirectional_read_residual) =
        task.data.checked_residuals(pdu.residual, pdu.bidirectional_read_residual);
    Ok(result)
}

// RFC 7143 7.8-9: whatever the status was.
/// RFC 7143 7.8: data that the target does not send again makes the status worthless. The command ends as if with the condition
/// Protocol Service CRC error of section 11.4.7.2, in sense data of fixed format (SPC-5 clause 4.4.3).
fn fail(result: &mut TaskResult) {
    const SENSE: [u8; 18] = [0x70, 0, 0x0b, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x47, 0x05, 0, 0, 0, 0];
    result.status = CHECK_CONDITION;
    result.sense = Bytes::from_static(&SENSE);
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
