//! The initiator's end: a login, then a session, whose owner asks for what the target's PDUs answer.

use crate::input::{check_sent, frames};
use bytes::Bytes;
use iscsi_pdu::{Cid, Frame, Header, InitiatorTaskTag, Isid, LunField, Opcode, Pdu, TaskManagementFunction, Tsih};
use iscsi_session::initiator::{
    Command, Event, Login, LoginConfig, LoginEvent, Logout, Session, SessionConfig, TaskManagement, Transfer,
};
use iscsi_session::{Authentication, BadPdu, Limits, SendTargetsScope, SessionType};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const CID: Cid = Cid(0);
const TRANSFER_BYTES: u32 = 65536;
static DATA_OUT: [u8; TRANSFER_BYTES as usize] = [0x5a; TRANSFER_BYTES as usize];
/// PDUs or events that one PDU may cause, and more.
const CONSEQUENCES_MAX: usize = 10_000;

/// What a target sends. A request goes out before its answer is read, under the tag that the answer has.
pub fn initiator(input: &[u8]) {
    let mut initiator: Option<Initiator> = None;
    for mut frame in frames(input) {
        let initiator = initiator.get_or_insert_with(|| Initiator::new(&frame.header));
        initiator.renumber(&mut frame.header);
        initiator.now += Duration::from_millis(if frame.header.0[0] & 0x80 == 0 { 1 } else { 6000 });
        initiator.ask(&frame.header);
        initiator.poll();
        initiator.handle(frame);
        initiator.poll();
    }
}

struct Initiator {
    end: End,
    now: Instant,
    /// Requests that have not ended, with the bytes that each may read.
    requests: HashMap<InitiatorTaskTag, u32>,
    /// Difference between our command numbers and those of the input.
    cmd_sn_offset: u32,
    closed: bool,
}

enum End {
    Login(Box<Login>),
    Session(Box<Session>),
}

const EXP_CMD_SN: usize = 28;

fn word(header: &Header, at: usize) -> u32 {
    u32::from_be_bytes(header.0[at..at + 4].try_into().expect("four bytes"))
}

fn tag_of(header: &Header) -> InitiatorTaskTag {
    InitiatorTaskTag(header.initiator_task_tag().min(u32::MAX - 1))
}

impl Initiator {
    /// An initiator whose login the first PDU answers.
    fn new(first: &Header) -> Self {
        let now = Instant::now();
        let isid = first.0[8..14].try_into().expect("six bytes");
        let config = LoginConfig {
            initiator_name: "iqn.2026-01.org.example:host".into(),
            initiator_alias: None,
            target_name: Some("iqn.2026-01.org.example:disk".into()),
            session_type: SessionType::Normal,
            isid: Isid(isid),
            tsih: Tsih(0),
            cid: CID,
            limits: Limits::default(),
            authentication: Authentication::None,
            timeout: Duration::from_secs(60),
        };
        let mut login = Login::new(config, tag_of(first), [7; 32], now);
        let Some(Pdu::LoginRequest(request)) = login.poll_transmit() else { panic!("a login begins with a request") };
        let cmd_sn_offset = request.cmd_sn.0.wrapping_sub(word(first, EXP_CMD_SN));
        Self { end: End::Login(Box::new(login)), now, requests: HashMap::new(), cmd_sn_offset, closed: false }
    }

    /// Makes ExpCmdSN and MaxCmdSN, which stand at the same place in every PDU of a target, speak of our numbers.
    fn renumber(&self, header: &mut Header) {
        for at in [EXP_CMD_SN, EXP_CMD_SN + 4] {
            let number = word(header, at).wrapping_add(self.cmd_sn_offset);
            header.0[at..at + 4].copy_from_slice(&number.to_be_bytes());
        }
    }

    /// Asks for what the PDU would answer.
    fn ask(&mut self, header: &Header) {
        let End::Session(session) = &mut self.end else { return };
        let (now, tag) = (self.now, tag_of(header));
        if self.requests.contains_key(&tag) {
            return;
        }
        let mut readable = 0;
        match header.opcode() {
            Opcode::DataIn | Opcode::ScsiResponse | Opcode::R2t => {
                let data = match (header.opcode(), header.0[8] & 1) {
                    (Opcode::R2t, 0) => Transfer::Write(Bytes::from_static(&DATA_OUT)),
                    (Opcode::R2t, _) => Transfer::Bidirectional { write: Bytes::from_static(&DATA_OUT), read: 512 },
                    _ => Transfer::Read(TRANSFER_BYTES),
                };
                readable = match &data {
                    Transfer::Read(length) | Transfer::Bidirectional { read: length, .. } => *length,
                    Transfer::None | Transfer::Write(_) => 0,
                };
                let lun = LunField(header.0[8..16].try_into().expect("eight bytes"));
                if session.submit(now, CID, tag, Command { lun, data, ..Command::default() }).is_err() {
                    return;
                }
            }
            Opcode::NopIn => session.ping(now, CID, tag, Bytes::from_static(b"ping")),
            Opcode::TaskManagementResponse => {
                let referenced = self.requests.keys().next().copied();
                let function = match referenced {
                    Some(_) if header.0[20] & 1 == 0 => TaskManagementFunction::AbortTask,
                    _ => TaskManagementFunction::LogicalUnitReset,
                };
                session.manage_task(now, CID, tag, TaskManagement { function, lun: LunField::default(), referenced });
            }
            Opcode::TextResponse => session.send_targets(now, CID, tag, SendTargetsScope::ThisTarget),
            Opcode::LogoutResponse => session.logout(now, CID, tag, Logout::Session),
            _ => return,
        }
        self.requests.insert(tag, readable);
    }

    fn handle(&mut self, frame: Frame) {
        let now = self.now;
        let header = frame.header;
        match (&mut self.end, Pdu::decode(frame)) {
            (End::Login(login), Ok(pdu)) => login.handle_pdu(now, pdu),
            (End::Login(login), Err(error)) => login.handle_undecodable(now, header, error),
            (End::Session(session), Ok(pdu)) => session.handle_pdu(now, CID, pdu),
            (End::Session(session), Err(error)) => {
                session.handle_bad_pdu(now, CID, header, BadPdu::Undecodable(error));
            }
        }
    }

    fn poll(&mut self) {
        for _ in 0..CONSEQUENCES_MAX {
            let is_done = match self.end {
                End::Login(_) => self.poll_login(),
                End::Session(_) => self.poll_session(),
            };
            if is_done {
                return;
            }
        }
        panic!("one PDU has consequences without end");
    }

    fn poll_login(&mut self) -> bool {
        let now = self.now;
        let End::Login(login) = &mut self.end else { return true };
        if login.poll_timeout().is_some_and(|at| at <= now) {
            login.handle_timeout(now);
        }
        if let Some(pdu) = login.poll_transmit() {
            check_sent(&pdu);
            return false;
        }
        match login.poll_event() {
            None => return true,
            Some(LoginEvent::Complete(outcome)) => {
                self.end = End::Session(Box::new(Session::new(&outcome, SessionConfig::default(), now)));
            }
            Some(LoginEvent::Redirected { .. } | LoginEvent::Failed(_)) => {
                assert!(!self.closed, "a login ends once");
                self.closed = true;
            }
        }
        false
    }

    fn poll_session(&mut self) -> bool {
        let now = self.now;
        let End::Session(session) = &mut self.end else { return true };
        if session.poll_timeout().is_some_and(|at| at <= now) {
            session.handle_timeout(now);
            assert!(session.poll_timeout().is_none_or(|at| at > now), "a time-out that was handled is over");
        }
        if let Some(pdu) = session.poll_transmit(CID) {
            check_sent(&pdu);
            return false;
        }
        let Some(event) = session.poll_event() else { return true };
        self.handle_event(event);
        false
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Data { tag, offset, data } => {
                let readable = self.requests[&tag];
                let end = offset.checked_add(data.len() as u32).expect("data ends within 4 GiB");
                assert!(!data.is_empty() && end <= readable, "data is what the command may read");
            }
            Event::TaskComplete { tag, .. }
            | Event::TaskAborted { tag }
            | Event::TaskRejected { tag, .. }
            | Event::TaskLost { tag }
            | Event::TaskManagementComplete { tag, .. }
            | Event::PingComplete { tag, .. }
            | Event::Targets { tag, .. }
            | Event::NegotiationComplete { tag }
            | Event::LogoutComplete { tag, .. } => {
                self.requests.remove(&tag).expect("a request ends once");
            }
            Event::Closed(_) => {
                assert!(!self.closed && self.requests.is_empty(), "every request ends before the session does");
                self.closed = true;
            }
            Event::PingDue { .. }
            | Event::NegotiationRequested { .. }
            | Event::ConnectionClosed { .. }
            | Event::CleanupDue { .. }
            | Event::ReassignmentDue { .. }
            | Event::LogoutRequested { .. }
            | Event::PduRejected { .. }
            | Event::Async(_) => assert!(!self.closed, "nothing comes after the end"),
        }
    }
}
