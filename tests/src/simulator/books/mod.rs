//! What a connection must look like, kept in books that share nothing with the sessions: not even the decoder.
//!
//! In: PDUs both ways, in their order. Out: a verdict. RFC 7143 sections 4.2.2.2 (status numbers), 4.2.5 (allegiance, data), 11.3, 11.7,
//! 11.8 (grants), 13 (what was negotiated). What the connections of a session have in common is in [`SessionBooks`].

mod field;
mod numbers;
mod session;
mod status;
mod task;

pub(crate) use session::SessionBooks;

use super::verdict::Verdict;
use field::{
    BUFFER_OFFSET, CMD_SN, DATA_SN, DESIRED_LENGTH, EXP_CMD_SN, EXP_STAT_SN, MAX_CMD_SN, REFERENCED_TASK_TAG, TASK_TAG,
    TRANSFER_TAG, word,
};
use iscsi_pdu::{Frame, Header, Opcode};
use iscsi_session::Parameters;
use session::Inner;
use status::StatusNumbers;
use task::{Grant, Piece, Task};

/// A tag that is none.
const NO_TAG: u32 = u32::MAX;

/// The books of one connection, at its initiator's end.
#[derive(Debug)]
pub(crate) struct Books {
    name: String,
    verdict: Verdict,
    /// Tells the connections of a session apart.
    link: usize,
    parameters: Parameters,
    session: SessionBooks,
    statuses: StatusNumbers,
    /// The number of the last command that was sent for the first time.
    last_cmd_sn: Option<u32>,
}

impl Books {
    pub(crate) fn new(name: &str, link: usize, session: SessionBooks, verdict: Verdict) -> Self {
        Self {
            name: name.into(),
            verdict,
            link,
            parameters: Parameters::default(),
            session,
            statuses: StatusNumbers::default(),
            last_cmd_sn: None,
        }
    }

    /// The login has ended with this.
    pub(crate) fn set_parameters(&mut self, parameters: &Parameters) {
        self.parameters = parameters.clone();
    }

    fn check(&self, holds: bool, what: &str) {
        self.verdict.check(holds, || format!("{}: {what}", self.name));
    }

    /// A PDU goes to the target.
    pub(crate) fn handle_request(&mut self, frame: &Frame) {
        let header = &frame.header;
        let opcode = header.opcode();
        let segment_bytes_max = self.parameters.send_segment_bytes_max as usize;
        self.check(frame.data.len() <= segment_bytes_max, "a segment is longer than the target has declared");
        // RFC 7143 11.14.4: the number of a logout may be that of another connection.
        if opcode != Opcode::LogoutRequest {
            let known = self.statuses.has_received_before(word(header, EXP_STAT_SN));
            self.check(known, "a status is acknowledged that has not come");
        }
        let session = self.session.clone();
        let session = &mut session.borrow_mut();
        match opcode {
            Opcode::DataOut => return self.handle_data_out(session, frame),
            // RFC 7143 11.16: it has no CmdSN.
            Opcode::SnackRequest => return,
            Opcode::ScsiCommand => self.handle_command(session, frame),
            Opcode::TaskManagementRequest if field::is_task_reassign(header) => self.handle_reassign(session, header),
            _ => {}
        }
        if !header.is_immediate() {
            self.handle_cmd_sn(session, header);
        }
    }

    /// RFC 7143 4.2.2.1: on each connection they grow; a number is used again by the same command, or to fill a hole.
    fn handle_cmd_sn(&mut self, session: &mut Inner, header: &Header) {
        let cmd_sn = word(header, CMD_SN);
        let is_command = header.opcode() == Opcode::ScsiCommand;
        let tag = is_command.then(|| word(header, TASK_TAG));
        let is_new = match session.numbers.send(cmd_sn, tag, session.may_recover) {
            Ok(is_new) => is_new,
            Err(what) => return self.check(false, what),
        };
        if is_new {
            // What a connection that is gone has not sent fills holes elsewhere.
            let grows = session.may_recover || self.last_cmd_sn.is_none_or(|last| precedes(last, cmd_sn));
            self.check(grows, "CmdSN does not grow");
            self.last_cmd_sn = Some(cmd_sn);
        }
    }

    fn handle_command(&self, session: &mut Inner, frame: &Frame) {
        let parameters = &self.parameters;
        let (header, immediate) = (&frame.header, frame.data.len() as u32);
        self.check(immediate == 0 || parameters.immediate_data, "immediate data comes that was not agreed upon");
        self.check(immediate <= parameters.first_burst_bytes_max, "immediate data is longer than FirstBurstLength");
        let is_final = field::is_final(header);
        self.check(is_final || !parameters.initial_r2t, "unsolicited data is announced against InitialR2T");
        let task = Task::new(self.link, word(header, field::EXPECTED_LENGTH), immediate);
        let may_recover = session.may_recover;
        let Some(entry) = session.tags.get_mut(word(header, TASK_TAG)) else {
            return self.check(false, "a command has a tag that is not reserved");
        };
        // A command that is sent again is the one that it was.
        let is_same = entry.as_ref().is_none_or(|before| may_recover && before.expected_bytes == task.expected_bytes);
        self.check(is_same, "a command has the tag of another");
        *entry = Some(task);
    }

    /// RFC 7143 11.5.6: the task is allegiant to this connection from now on.
    fn handle_reassign(&self, session: &mut Inner, header: &Header) {
        let Some(entry) = session.tags.get_mut(word(header, REFERENCED_TASK_TAG)) else {
            return self.check(false, "a task is reassigned that there is not");
        };
        // What broke with its connection before it went out may count as sent for the initiator, where a reset has filled its number.
        let Some(task) = entry else {
            return self.check(session.may_recover, "a task is reassigned that was not sent");
        };
        let is_free = task.link != self.link || session.may_recover;
        // Its status may have come already, behind one that has not.
        (task.link, task.is_answered) = (self.link, false);
        self.check(is_free, "a task is reassigned to the connection that it has");
    }

    fn handle_data_out(&self, session: &mut Inner, frame: &Frame) {
        let (header, may_recover) = (&frame.header, session.may_recover);
        let Some(task) = self.task(session, word(header, TASK_TAG)) else {
            return self.check(false, "data is sent for no command of the connection");
        };
        let piece = Piece {
            offset: word(header, BUFFER_OFFSET),
            length: frame.data.len() as u32,
            number: word(header, DATA_SN),
            is_final: field::is_final(header),
        };
        let result = match word(header, TRANSFER_TAG) {
            NO_TAG => task.send_unsolicited(&piece, &self.parameters, may_recover),
            tag => task.send(tag, &piece, may_recover),
        };
        self.check_result(result);
    }

    /// A PDU comes from the target; `may_be_late` if the connection has failed for it, and nothing it has sent is acknowledged any more.
    pub(crate) fn handle_response(&mut self, frame: &Frame, may_be_late: bool) {
        let session = self.session.clone();
        let session = &mut session.borrow_mut();
        let (header, opcode) = (&frame.header, frame.header.opcode());
        match self.statuses.receive(header, session.may_recover) {
            Ok(is_new) => self.check_request(session, header, is_new, may_be_late),
            Err(what) => self.check(false, &what),
        }
        if opcode != Opcode::LoginResponse || field::ends_login(header) {
            let (exp_cmd_sn, max_cmd_sn) = (word(header, EXP_CMD_SN), word(header, MAX_CMD_SN));
            self.check_result(session.numbers.open_window(exp_cmd_sn, max_cmd_sn));
        }
        match opcode {
            Opcode::R2t => self.handle_r2t(session, header),
            Opcode::DataIn => self.handle_data_in(session, frame),
            // In the place of a command it has the tag of that.
            Opcode::NopIn => {
                if let Some(Some(task)) = session.tags.get_mut(word(header, TASK_TAG)) {
                    task.is_answered = true;
                }
            }
            Opcode::ScsiResponse => self.handle_end(session, word(header, TASK_TAG)),
            Opcode::Reject => session.numbers.reject(&frame.data),
            _ => {}
        }
    }

    /// A status with a number of its own is the only one of a request that has not ended, or that the initiator has ended by itself.
    fn check_request(&self, session: &mut Inner, header: &Header, is_new: bool, may_be_late: bool) {
        let tag = word(header, TASK_TAG);
        if is_new && tag != NO_TAG {
            let may = session.take_answer(tag, may_be_late);
            self.verdict.check(may, || format!("{}: a status comes for no request: {tag:#x}", self.name));
        }
    }

    fn handle_r2t(&self, session: &mut Inner, header: &Header) {
        let may_recover = session.may_recover;
        let Some(task) = self.task_of_response(session, word(header, TASK_TAG)) else { return };
        let (offset, length) = (word(header, BUFFER_OFFSET), word(header, DESIRED_LENGTH));
        let grant = Grant::new(self.link, word(header, TRANSFER_TAG), offset, length);
        self.check_result(task.grant(grant, word(header, DATA_SN), &self.parameters, may_recover));
    }

    fn handle_data_in(&self, session: &mut Inner, frame: &Frame) {
        let (header, may_recover) = (&frame.header, session.may_recover);
        let tag = word(header, TASK_TAG);
        let Some(task) = self.task_of_response(session, tag) else { return };
        let piece = Piece {
            offset: word(header, BUFFER_OFFSET),
            length: frame.data.len() as u32,
            number: word(header, DATA_SN),
            is_final: field::is_final(header),
        };
        self.check_result(task.receive(&piece, &self.parameters, may_recover));
        if field::has_status(header) {
            self.handle_end(session, tag);
        }
    }

    fn handle_end(&self, session: &mut Inner, tag: u32) {
        if let Some(task) = self.task_of_response(session, tag) {
            task.is_answered = true;
        }
    }

    /// The command that the target speaks of, which is one of this connection and has no answer. What is sent again may come too late.
    fn task_of_response<'a>(&self, session: &'a mut Inner, tag: u32) -> Option<&'a mut Task> {
        let may_recover = session.may_recover;
        let task = session.tags.get_mut(tag).and_then(Option::as_mut);
        let is_mine = task.as_ref().is_some_and(|task| task.link == self.link && (!task.is_answered || may_recover));
        self.check(is_mine || may_recover && task.is_none(), "a response comes for no command of the connection");
        task.filter(|_| is_mine)
    }

    /// RFC 7143 4.2.5.1: a task of this connection.
    fn task<'a>(&self, session: &'a mut Inner, tag: u32) -> Option<&'a mut Task> {
        session.tags.get_mut(tag)?.as_mut().filter(|task| task.link == self.link)
    }

    fn check_result(&self, result: Result<(), &str>) {
        if let Err(what) = result {
            self.check(false, what);
        }
    }
}

/// RFC 1982 arithmetic.
fn precedes(left: u32, right: u32) -> bool {
    (right.wrapping_sub(left) as i32) > 0
}
