//! What a connection must look like at its initiator's end, kept in books that share nothing with the sessions but the decoder.
//!
//! In: PDUs both ways, in their order. Out: a verdict. RFC 7143 sections 4.2.2 (numbering), 4.2.5 (data), 11.3, 11.7, 11.8 (grants),
//! 13 (what was negotiated).

use super::verdict::Verdict;
use iscsi_pdu::{DataIn, DataOut, Frame, Header, Opcode, Pdu, R2t, ScsiCommand};
use iscsi_session::Parameters;
use std::collections::HashMap;

/// One command between its PDU and its tag's release.
#[derive(Debug, Default)]
struct Task {
    expected_bytes: u32,
    /// Bytes of data that came without a grant.
    unsolicited_bytes: u32,
    grants: Vec<Grant>,
    next_r2t_sn: u32,
    /// Where the data ends that was asked for.
    asked_end: u32,
    received_bytes: u32,
    /// Bytes of data-in since the last F bit.
    sequence_bytes: u32,
    next_data_sn: u32,
    is_answered: bool,
}

#[derive(Debug)]
struct Grant {
    tag: u32,
    offset: u32,
    length: u32,
    sent_bytes: u32,
    next_data_sn: u32,
}

/// The books of one connection.
#[derive(Debug)]
pub(crate) struct Books {
    name: String,
    verdict: Verdict,
    /// Commands that a session may have open.
    window: u32,
    parameters: Parameters,
    tasks: HashMap<u32, Task>,
    exp_stat_sn: Option<u32>,
    next_cmd_sn: Option<u32>,
    max_cmd_sn: Option<u32>,
    /// CmdSNs of commands that were rejected, which others are to take.
    rejected: Vec<u32>,
    /// At error recovery level 1, once PDUs may be lost: what comes out of order then, or twice, may.
    may_recover: bool,
}

impl Books {
    pub(crate) fn new(name: &str, verdict: Verdict, window: u32) -> Self {
        Self {
            name: name.into(),
            verdict,
            window,
            parameters: Parameters::default(),
            tasks: HashMap::new(),
            exp_stat_sn: None,
            next_cmd_sn: None,
            max_cmd_sn: None,
            rejected: Vec::new(),
            may_recover: false,
        }
    }

    /// The login has ended with this.
    pub(crate) fn set_parameters(&mut self, parameters: &Parameters) {
        self.parameters = parameters.clone();
    }

    /// PDUs may be lost from now on.
    pub(crate) fn expect_recovery(&mut self) {
        self.may_recover = self.parameters.error_recovery_level > 0;
    }

    /// The tag is the port's again.
    pub(crate) fn forget(&mut self, tag: u32) {
        self.tasks.remove(&tag);
    }

    fn check(&self, holds: bool, what: &str) {
        self.verdict.check(holds, || format!("{}: {what}", self.name));
    }

    fn check_number(&self, what: &str, number: u32, due: u32) {
        self.verdict.check(number == due, || format!("{}: {what} {number} comes where {due} is due", self.name));
    }

    /// A PDU goes to the target.
    pub(crate) fn handle_request(&mut self, frame: &Frame) {
        let pdu = match Pdu::decode(frame.clone()) {
            Ok(Pdu::LoginRequest(_)) => return,
            Ok(pdu) => pdu,
            Err(error) => return self.verdict.fail(format!("{}: sends what is no PDU: {error}", self.name)),
        };
        let segment_bytes_max = self.parameters.send_segment_bytes_max as usize;
        self.check(frame.data.len() <= segment_bytes_max, "a segment is longer than the target has declared");
        if self.may_recover {
            return;
        }
        match pdu {
            Pdu::DataOut(data) => return self.handle_data_out(&data),
            // RFC 7143 11.16: it has no CmdSN.
            Pdu::Snack(_) => return,
            Pdu::ScsiCommand(command) => self.handle_command(&command),
            _ => {}
        }
        if !frame.header.is_immediate() {
            self.handle_cmd_sn(word(&frame.header, 24));
        }
    }

    /// RFC 7143 4.2.2.1.
    fn handle_cmd_sn(&mut self, cmd_sn: u32) {
        if let Some(place) = self.rejected.iter().position(|rejected| *rejected == cmd_sn) {
            self.rejected.swap_remove(place);
            return;
        }
        self.check_number("CmdSN", cmd_sn, self.next_cmd_sn.unwrap_or(cmd_sn));
        self.next_cmd_sn = Some(cmd_sn.wrapping_add(1));
        self.check(self.max_cmd_sn.is_none_or(|max| !precedes(max, cmd_sn)), "a CmdSN is beyond MaxCmdSN");
    }

    fn handle_command(&mut self, command: &ScsiCommand) {
        let parameters = &self.parameters;
        let (immediate, expected_bytes) = (command.data.len() as u32, command.expected_data_transfer_length);
        self.check(immediate == 0 || parameters.immediate_data, "immediate data comes that was not agreed upon");
        self.check(immediate <= parameters.first_burst_bytes_max, "immediate data is longer than FirstBurstLength");
        self.check(command.is_final || !parameters.initial_r2t, "unsolicited data is announced against InitialR2T");
        let task = Task { expected_bytes, unsolicited_bytes: immediate, ..Task::default() };
        let before = self.tasks.insert(command.initiator_task_tag.0, task);
        self.check(before.is_none(), "a command has the tag of another");
    }

    fn handle_data_out(&mut self, data: &DataOut) {
        let length = data.data.len() as u32;
        let Some(task) = self.tasks.get_mut(&data.initiator_task_tag.0) else {
            return self.check(false, "data is sent for no command");
        };
        let Some(tag) = data.target_transfer_tag else {
            let in_order = data.buffer_offset == task.unsolicited_bytes;
            task.unsolicited_bytes += length;
            let within = task.unsolicited_bytes <= self.parameters.first_burst_bytes_max.min(task.expected_bytes);
            self.check(in_order, "unsolicited data is out of order");
            return self.check(within && !self.parameters.initial_r2t, "unsolicited data is beyond FirstBurstLength");
        };
        let Some(place) = task.grants.iter().position(|grant| grant.tag == tag.0) else {
            return self.check(false, "data is sent that no R2T has asked for");
        };
        let grant = &mut task.grants[place];
        let in_order = data.buffer_offset == grant.offset + grant.sent_bytes && data.data_sn == grant.next_data_sn;
        grant.sent_bytes += length;
        grant.next_data_sn += 1;
        let (within, done) = (grant.sent_bytes <= grant.length, grant.sent_bytes == grant.length);
        if data.is_final {
            task.grants.remove(place);
        }
        self.check(in_order, "data of a grant is out of order");
        self.check(within && data.is_final == done, "data does not end where its grant does");
    }

    /// A PDU comes from the target.
    pub(crate) fn handle_response(&mut self, frame: &Frame) {
        let pdu = match Pdu::decode(frame.clone()) {
            Ok(pdu) => pdu,
            Err(error) => return self.verdict.fail(format!("{}: receives what is no PDU: {error}", self.name)),
        };
        if self.may_recover {
            return;
        }
        self.handle_stat_sn(frame, &pdu);
        if !matches!(pdu, Pdu::LoginResponse(_)) {
            self.handle_window(word(&frame.header, 28), word(&frame.header, 32));
        }
        match &pdu {
            Pdu::R2t(r2t) => self.handle_r2t(r2t),
            Pdu::DataIn(data) => self.handle_data_in(data),
            Pdu::ScsiResponse(response) => self.handle_end(response.initiator_task_tag.0),
            Pdu::Reject(reject) => self.handle_reject(&reject.rejected),
            _ => {}
        }
    }

    /// RFC 7143 4.2.2.1: the window never shrinks, and is never larger than what the target was told to take.
    fn handle_window(&mut self, exp_cmd_sn: u32, max_cmd_sn: u32) {
        self.check(max_cmd_sn.wrapping_sub(exp_cmd_sn).wrapping_add(1) <= self.window, "the window is too large");
        if self.max_cmd_sn.is_none_or(|max| precedes(max, max_cmd_sn)) {
            self.max_cmd_sn = Some(max_cmd_sn);
        }
    }

    /// RFC 7143 4.2.2.2: status numbers have no gap.
    fn handle_stat_sn(&mut self, frame: &Frame, pdu: &Pdu) {
        let takes_one = match pdu {
            Pdu::DataIn(data) if data.status.is_none() => return,
            Pdu::R2t(_) => false,
            Pdu::NopIn(ping) => ping.initiator_task_tag.is_some(),
            _ => true,
        };
        let stat_sn = word(&frame.header, 24);
        let due = self.exp_stat_sn.unwrap_or(stat_sn);
        self.check_number("StatSN", stat_sn, due);
        self.exp_stat_sn = Some(due.wrapping_add(u32::from(takes_one)));
    }

    /// RFC 7143 11.8: in order and numbered, within the command, MaxBurstLength and MaxOutstandingR2T.
    fn handle_r2t(&mut self, r2t: &R2t) {
        let parameters = &self.parameters;
        let (tag, offset, length) = (r2t.target_transfer_tag.0, r2t.buffer_offset, r2t.desired_data_transfer_length);
        let Some(task) = self.tasks.get_mut(&r2t.initiator_task_tag.0).filter(|task| !task.is_answered) else {
            return self.check(false, "an R2T comes for no command");
        };
        let numbered = r2t.r2t_sn == task.next_r2t_sn;
        let ordered = if task.next_r2t_sn == 0 { offset >= task.unsolicited_bytes } else { offset == task.asked_end };
        task.next_r2t_sn += 1;
        task.asked_end = offset.wrapping_add(length);
        let end = u64::from(offset) + u64::from(length);
        let within = end <= u64::from(task.expected_bytes) && (1..=parameters.burst_bytes_max).contains(&length);
        task.grants.push(Grant { tag, offset, length, sent_bytes: 0, next_data_sn: 0 });
        let few = task.grants.len() <= usize::from(parameters.outstanding_r2t_max);
        self.check(numbered && ordered, "an R2T is out of order");
        self.check(within, "an R2T asks for more than there is or may be");
        self.check(few, "more R2Ts are outstanding than agreed upon");
    }

    /// RFC 7143 11.7: in order and numbered, within the command, MaxRecvDataSegmentLength and MaxBurstLength.
    fn handle_data_in(&mut self, data: &DataIn) {
        let (length, tag) = (data.data.len() as u32, data.initiator_task_tag.0);
        let Some(task) = self.tasks.get_mut(&tag).filter(|task| !task.is_answered) else {
            return self.check(false, "read data comes for no command");
        };
        let in_order = data.data_sn == task.next_data_sn && data.buffer_offset == task.received_bytes;
        task.next_data_sn += 1;
        task.received_bytes += length;
        task.sequence_bytes += length;
        let within = task.received_bytes <= task.expected_bytes && length <= self.parameters.receive_segment_bytes_max;
        let in_burst = task.sequence_bytes <= self.parameters.burst_bytes_max;
        if data.is_final {
            task.sequence_bytes = 0;
        }
        self.check(in_order, "read data is out of order");
        self.check(within, "more read data comes than was asked for");
        self.check(in_burst, "a sequence of read data is longer than MaxBurstLength");
        if data.status.is_some() {
            self.handle_end(tag);
        }
    }

    /// RFC 7143 7.3: the number of a command that was rejected has to be used again.
    fn handle_reject(&mut self, rejected: &Header) {
        if !rejected.is_immediate() && rejected.opcode() != Opcode::DataOut {
            self.rejected.push(word(rejected, 24));
        }
    }

    fn handle_end(&mut self, tag: u32) {
        let first = self.tasks.get_mut(&tag).is_some_and(|task| !std::mem::replace(&mut task.is_answered, true));
        self.check(first, "a response comes for no command");
    }
}

fn word(header: &Header, offset: usize) -> u32 {
    let bytes = &header.0[offset..offset + 4];
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// RFC 1982 arithmetic.
fn precedes(left: u32, right: u32) -> bool {
    (right.wrapping_sub(left) as i32) > 0
}
