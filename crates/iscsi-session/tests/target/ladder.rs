//! The bench: a session whose inputs are scripted and whose outputs are read as lines.
//!
//! An initiator that keeps the rules stands before the session: it counts its CmdSN, and acknowledges every status it has seen
//! unless told otherwise. Tasks are named by their Initiator Task Tag, which the bench hides in the CDB.

use bytes::Bytes;
use iscsi_pdu::*;
use iscsi_session::target::{DataProgress, Event, RequestId, Session, SessionConfig, TaskId, TaskOutcome};
use iscsi_session::{BadPdu, LoginOutcome, Parameters, SessionType, Violation};
use std::collections::HashMap;
use std::time::{Duration, Instant};

pub(crate) const CID: Cid = Cid(7);
pub(crate) const LUN: LunField = LunField([0, 3, 0, 0, 0, 0, 0, 0]);
pub(crate) const PING_TAG: TargetTransferTag = TargetTransferTag(0xfeed);
pub(crate) const OWN_NAME: &str = "iqn.2026-01.io.ferriscsi:disk";

pub(crate) struct Ladder {
    pub(crate) session: Session,
    pub(crate) now: Instant,
    /// The connection that everything is about.
    cid: Cid,
    pub(crate) cmd_sn: CmdSn,
    pub(crate) exp_stat_sn: StatSn,
    /// ExpStatSN of the other connections.
    exp_stat_sns: HashMap<Cid, StatSn>,
    /// Acknowledge every status that was seen.
    pub(crate) acknowledges: bool,
    /// ExpCmdSN and MaxCmdSN of the last PDU from the target.
    pub(crate) window: (CmdSn, CmdSn),
    /// The last PDUs from the target.
    pub(crate) last: Vec<Pdu>,
    pub(crate) tasks: HashMap<u32, TaskId>,
    names: HashMap<TaskId, u32>,
    pub(crate) requests: Vec<RequestId>,
    /// Tasks whose tags have come back before all their data.
    free: Vec<u32>,
    /// Rules that the session says were broken.
    violations: Vec<Violation>,
    /// Data of each task, put together from the immediate data and the events.
    pub(crate) written: HashMap<u32, Vec<u8>>,
}

pub(crate) fn outcome(parameters: Parameters) -> LoginOutcome {
    LoginOutcome {
        initiator_name: "iqn.2026-01.io.ferriscsi:host".into(),
        target_name: Some(OWN_NAME.into()),
        session_type: SessionType::Normal,
        isid: Isid([0x80, 0, 0, 0, 0, 1]),
        tsih: Tsih(1),
        cid: CID,
        parameters,
        cmd_sn: CmdSn(1),
        stat_sn: StatSn(1),
        max_cmd_sn: CmdSn(8),
        authenticated_as: None,
    }
}

pub(crate) fn config() -> SessionConfig {
    SessionConfig {
        window: 8,
        immediate_max: 2,
        resettable: true,
        ping_interval: Some(Duration::from_secs(30)),
        ping_timeout: Duration::from_secs(10),
        logout_grace: Duration::from_secs(5),
        ..SessionConfig::default()
    }
}

/// Parameters of the appendix: short segments, nothing unsolicited but immediate data.
pub(crate) fn parameters() -> Parameters {
    Parameters { burst_bytes_max: 16_384, first_burst_bytes_max: 8192, ..Parameters::default() }
}

impl Ladder {
    pub(crate) fn new(parameters: Parameters) -> Self {
        Self::start(outcome(parameters), config())
    }

    pub(crate) fn discovery() -> Self {
        let login =
            LoginOutcome { session_type: SessionType::Discovery, target_name: None, ..outcome(Parameters::default()) };
        Self::start(login, config())
    }

    pub(crate) fn start(outcome: LoginOutcome, config: SessionConfig) -> Self {
        let now = Instant::now();
        Self {
            session: Session::new(&outcome, config, PING_TAG, now),
            now,
            cid: outcome.cid,
            cmd_sn: outcome.cmd_sn,
            exp_stat_sn: outcome.stat_sn,
            exp_stat_sns: HashMap::new(),
            acknowledges: true,
            window: (outcome.cmd_sn, outcome.max_cmd_sn),
            last: Vec::new(),
            tasks: HashMap::new(),
            names: HashMap::new(),
            requests: Vec::new(),
            free: Vec::new(),
            violations: Vec::new(),
            written: HashMap::new(),
        }
    }

    /// A connection joins; its StatSN begins at 1.
    pub(crate) fn add(&mut self, cid: Cid) {
        let parameters = self.session.parameters().clone();
        self.join(LoginOutcome { cid, ..outcome(parameters) });
    }

    /// A login joins.
    pub(crate) fn join(&mut self, login: LoginOutcome) {
        let cid = login.cid;
        self.session.add_connection(&login, TargetTransferTag(PING_TAG.0 + u32::from(cid.0)), self.now);
        self.exp_stat_sns.insert(cid, login.stat_sn);
        if cid == self.cid {
            self.exp_stat_sn = login.stat_sn;
        }
    }

    /// What follows is about this connection.
    pub(crate) fn on(&mut self, cid: Cid) -> &mut Self {
        self.exp_stat_sns.insert(self.cid, self.exp_stat_sn);
        self.cid = cid;
        self.exp_stat_sn = self.exp_stat_sns[&cid];
        self
    }

    /// The connection breaks.
    pub(crate) fn lose(&mut self, cid: Cid) {
        self.session.handle_connection_lost(self.now, cid);
    }

    /// The initiator says that it has received all that it was sent.
    pub(crate) fn acknowledge(&mut self) {
        self.i(NopOut { immediate: true, ..NopOut::default() });
    }

    /// The initiator sends a PDU with its next numbers.
    pub(crate) fn i(&mut self, pdu: impl Into<Pdu>) {
        let mut pdu = pdu.into();
        let (cmd_sn, exp_stat_sn) = (self.cmd_sn, self.exp_stat_sn);
        if let Some((immediate, number)) = cmd_sn_of(&mut pdu) {
            *number = cmd_sn;
            if !immediate {
                self.cmd_sn = cmd_sn.next();
            }
        }
        if let Some(number) = exp_stat_sn_of(&mut pdu) {
            *number = exp_stat_sn;
        }
        self.raw(pdu);
    }

    /// The initiator sends a PDU as it is.
    pub(crate) fn raw(&mut self, pdu: impl Into<Pdu>) {
        self.session.handle_pdu(self.now, self.cid, pdu.into());
    }

    pub(crate) fn bad(&mut self, pdu: impl Into<Pdu>, what: BadPdu) {
        self.bad_header(pdu.into().encode().header, what);
    }

    pub(crate) fn bad_header(&mut self, header: Header, what: BadPdu) {
        self.session.handle_bad_pdu(self.now, self.cid, header, what);
    }

    pub(crate) fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        while self.session.poll_timeout().is_some_and(|due| due <= self.now) {
            self.session.handle_timeout(self.now);
        }
    }

    /// All that the owner is told, as lines.
    pub(crate) fn events(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::TagFree { tag, .. } => self.free.push(tag.0 - ttt(0).0),
                Event::Violated { violation, .. } => self.violations.push(violation),
                other => lines.push(self.show_event(other)),
            }
        }
        lines
    }

    /// The rules that the session has said to be broken since this was asked; those of events that have not been read are none of them.
    pub(crate) fn violations(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.violations)
    }

    /// The tasks whose tags have come back since this was asked.
    pub(crate) fn freed(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.free)
    }

    /// All that the target sends, as lines.
    pub(crate) fn sent(&mut self) -> Vec<String> {
        self.last.clear();
        while let Some(pdu) = self.session.poll_transmit(self.cid) {
            self.note(&pdu);
            self.last.push(pdu);
        }
        self.last.iter().map(show).collect()
    }

    #[track_caller]
    pub(crate) fn tells(&mut self, expected: &[&str]) {
        assert_eq!(self.events(), expected);
    }

    #[track_caller]
    pub(crate) fn sends(&mut self, expected: &[&str]) {
        assert_eq!(self.sent(), expected);
    }

    /// The device takes a write's data.
    pub(crate) fn receive(&mut self, tag: u32, length: u32) -> DataProgress {
        self.session.receive_data(self.tasks[&tag], ttt(tag), length)
    }

    /// The device ends a command.
    pub(crate) fn complete(&mut self, tag: u32, outcome: TaskOutcome) {
        self.session.complete(self.tasks[&tag], outcome);
    }

    pub(crate) fn answer(&mut self, response: TaskManagementResponseCode) {
        let id = self.requests.pop().expect("a request was told of");
        self.session.answer_task_management(id, response);
    }

    /// The bytes of the last Data-In PDUs.
    pub(crate) fn read(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for pdu in &self.last {
            if let Pdu::DataIn(pdu) = pdu {
                assert_eq!(pdu.buffer_offset as usize, bytes.len());
                bytes.extend_from_slice(&pdu.data);
            }
        }
        bytes
    }

    fn note(&mut self, pdu: &Pdu) {
        let (stat_sn, advances, exp_cmd_sn, max_cmd_sn) = numbers_of(pdu);
        if let Some(stat_sn) = stat_sn
            && self.acknowledges
        {
            self.exp_stat_sn = if advances { stat_sn.next() } else { stat_sn };
        }
        assert!(!exp_cmd_sn.precedes(self.window.0), "ExpCmdSN goes back");
        assert!(!max_cmd_sn.precedes(self.window.1), "MaxCmdSN goes back");
        assert!(!max_cmd_sn.next().precedes(exp_cmd_sn), "MaxCmdSN is less than ExpCmdSN - 1");
        self.window = (exp_cmd_sn, max_cmd_sn);
    }

    fn show_event(&mut self, event: Event) -> String {
        match event {
            Event::Command(command) => {
                let tag = u32::from_be_bytes(command.cdb[12..].try_into().unwrap());
                self.tasks.insert(tag, command.task);
                self.names.insert(command.task, tag);
                let direction = ["", "W", "R", "RW"][usize::from(command.read) * 2 + usize::from(command.write)];
                let mut line =
                    format!("Command {tag} {direction} {}", command.expected_data_transfer_length).replace("  ", " ");
                if !command.data.is_empty() {
                    line += &format!(" immediate {}", command.data.len());
                }
                self.written.insert(tag, command.data.to_vec());
                line
            }
            Event::Data { task, offset, data } => {
                let tag = self.names[&task];
                let written = self.written.get_mut(&tag).expect("its command came before");
                assert_eq!(written.len(), offset as usize, "data in order");
                written.extend_from_slice(&data);
                format!("Data {tag} {offset}+{}", data.len())
            }
            Event::DataComplete { task } => format!("DataComplete {}", self.names[&task]),
            Event::TagFree { .. } | Event::Violated { .. } => unreachable!("it was put elsewhere"),
            Event::Reassigned { task, cid } => format!("Reassigned {} {}", self.names[&task], cid.0),
            Event::Aborted { task } => format!("Aborted {}", self.names[&task]),
            Event::TaskManagement { id, function, .. } => {
                self.requests.push(id);
                format!("TaskManagement {function}")
            }
            Event::SendTargets { id, scope } => {
                self.requests.push(id);
                format!("SendTargets {scope:?}")
            }
            Event::ConnectionClosed { cid, reason } => format!("ConnectionClosed {}: {reason}", cid.0),
            Event::Closed(reason) => format!("Closed {reason}"),
        }
    }
}

pub(crate) fn ttt(tag: u32) -> TargetTransferTag {
    TargetTransferTag(0x1000 + tag)
}

pub(crate) fn itt(tag: u32) -> InitiatorTaskTag {
    InitiatorTaskTag(tag)
}

pub(crate) fn pattern(from: usize, length: usize) -> Bytes {
    (from..from + length).map(|place| (place * 7 + place / 256) as u8).collect()
}

pub(crate) fn command(tag: u32) -> ScsiCommand {
    let mut cdb = [0; 16];
    cdb[12..].copy_from_slice(&tag.to_be_bytes());
    ScsiCommand { is_final: true, lun: LUN, initiator_task_tag: itt(tag), cdb, ..ScsiCommand::default() }
}

pub(crate) fn read(tag: u32, length: u32) -> ScsiCommand {
    ScsiCommand { read: true, expected_data_transfer_length: length, ..command(tag) }
}

pub(crate) fn write(tag: u32, length: u32) -> ScsiCommand {
    ScsiCommand { write: true, expected_data_transfer_length: length, ..command(tag) }
}

/// A write with immediate data.
pub(crate) fn write_immediate(tag: u32, length: u32, immediate: usize) -> ScsiCommand {
    ScsiCommand { data: pattern(0, immediate), ..write(tag, length) }
}

/// A Data-Out; solicited ones carry the task's transfer tag.
pub(crate) fn data_out(tag: u32, solicited: bool, data_sn: u32, offset: u32, length: usize, is_final: bool) -> DataOut {
    DataOut {
        is_final,
        lun: if solicited { LUN } else { LunField::default() },
        initiator_task_tag: itt(tag),
        target_transfer_tag: solicited.then(|| ttt(tag)),
        data_sn,
        buffer_offset: offset,
        data: pattern(offset as usize, length),
        ..DataOut::default()
    }
}

pub(crate) fn manage(tag: u32, function: TaskManagementFunction) -> TaskManagementRequest {
    TaskManagementRequest {
        immediate: true,
        function,
        lun: LUN,
        initiator_task_tag: itt(tag),
        referenced_task_tag: None,
        cmd_sn: CmdSn(0),
        exp_stat_sn: StatSn(0),
        ref_cmd_sn: CmdSn(0),
        exp_data_sn: 0,
    }
}

pub(crate) fn nop_out(tag: u32, data: &'static str) -> NopOut {
    NopOut { initiator_task_tag: Some(itt(tag)), data: data.into(), ..NopOut::default() }
}

pub(crate) fn logout(tag: u32, reason: LogoutReason) -> LogoutRequest {
    LogoutRequest { reason, initiator_task_tag: itt(tag), cid: CID, ..LogoutRequest::default() }
}

pub(crate) fn text(tag: u32, text: &str) -> TextRequest {
    TextRequest {
        is_final: true,
        initiator_task_tag: itt(tag),
        data: Bytes::copy_from_slice(text.as_bytes()),
        ..TextRequest::default()
    }
}

pub(crate) fn good() -> TaskOutcome {
    TaskOutcome::default()
}

/// GOOD with read data.
pub(crate) fn good_read(length: usize) -> TaskOutcome {
    TaskOutcome { data_in: pattern(0, length), data_in_length: length as u32, ..good() }
}

/// GOOD after a write.
pub(crate) fn good_write(length: u32) -> TaskOutcome {
    TaskOutcome { data_out_length: length, ..good() }
}

/// CHECK CONDITION with sense data.
pub(crate) fn check_condition() -> TaskOutcome {
    TaskOutcome { status: 2, sense: Bytes::from_static(b"sense"), ..good() }
}

/// The ways of a PDU from an initiator, as one line of its fields that tell something.
pub(crate) fn show(pdu: &Pdu) -> String {
    match pdu {
        Pdu::DataIn(pdu) => {
            let mut line = format!(
                "Data-In {} DataSN {} {}+{}",
                pdu.initiator_task_tag.0,
                pdu.data_sn,
                pdu.buffer_offset,
                pdu.data.len()
            );
            if pdu.is_final {
                line += " F";
            }
            assert_eq!(pdu.target_transfer_tag.is_some(), pdu.acknowledge);
            if pdu.acknowledge {
                assert_eq!(pdu.lun, LUN);
                line += " A";
            }
            if let Some(status) = &pdu.status {
                line += &format!(" S status {:02x} StatSN {}", status.status, status.stat_sn.0);
                line += &show_residual("", status.residual);
            }
            line
        }
        Pdu::R2t(pdu) => {
            assert_eq!((pdu.lun, pdu.target_transfer_tag), (LUN, ttt(pdu.initiator_task_tag.0)));
            format!(
                "R2T {} R2TSN {} {}+{}",
                pdu.initiator_task_tag.0, pdu.r2t_sn, pdu.buffer_offset, pdu.desired_data_transfer_length
            )
        }
        Pdu::ScsiResponse(pdu) => {
            let mut line = format!(
                "Response {} status {:02x} StatSN {} ExpDataSN {}",
                pdu.initiator_task_tag.0, pdu.status, pdu.stat_sn.0, pdu.exp_data_sn
            );
            if pdu.snack_tag != 0 {
                line += &format!(" SNACK Tag {}", pdu.snack_tag);
            }
            line += &show_residual("", pdu.residual);
            line += &show_residual(" read", pdu.bidirectional_read_residual);
            if let [high, low, sense @ ..] = &*pdu.data {
                assert_eq!(usize::from(u16::from_be_bytes([*high, *low])), sense.len());
                line += &match sense {
                    [0x70, 0, key, .., code, qualifier, 0, 0, 0, 0] => {
                        format!(" sense {key:x}/{code:02x}/{qualifier:02x}")
                    }
                    other => format!(" sense {other:?}"),
                };
            }
            line
        }
        Pdu::NopIn(pdu) => match (pdu.initiator_task_tag, pdu.target_transfer_tag) {
            (Some(tag), None) => {
                format!("NOP-In {} StatSN {} {}", tag.0, pdu.stat_sn.0, String::from_utf8_lossy(&pdu.data))
            }
            (None, Some(tag)) => format!("NOP-In ping {:x}", tag.0),
            (None, None) => "NOP-In".into(),
            both => panic!("{both:?}"),
        },
        Pdu::TaskManagementResponse(pdu) => {
            format!("TaskManagement {} StatSN {}: {}", pdu.initiator_task_tag.0, pdu.stat_sn.0, pdu.response)
        }
        Pdu::LogoutResponse(pdu) => {
            format!("Logout {} StatSN {}: {}", pdu.initiator_task_tag.0, pdu.stat_sn.0, pdu.response)
        }
        Pdu::TextResponse(pdu) => {
            assert_eq!(pdu.is_final, pdu.target_transfer_tag.is_none());
            let flags = match (pdu.is_final, pdu.continues) {
                (true, _) => " F",
                (false, true) => " C",
                (false, false) => "",
            };
            let said = String::from_utf8_lossy(&pdu.data).replace('\0', ";");
            format!("Text {} StatSN {}{flags} {said}", pdu.initiator_task_tag.0, pdu.stat_sn.0)
        }
        Pdu::Reject(pdu) => format!("Reject StatSN {}: {}, of {}", pdu.stat_sn.0, pdu.reason, pdu.rejected.opcode()),
        Pdu::AsyncMessage(pdu) => format!(
            "Async StatSN {}: {} {} {} {}",
            pdu.stat_sn.0, pdu.event, pdu.parameter_1, pdu.parameter_2, pdu.parameter_3
        ),
        other => panic!("no target sends {other:?}"),
    }
}

fn show_residual(which: &str, residual: Residual) -> String {
    match residual {
        Residual::None => String::new(),
        Residual::Overflow(count) => format!("{which} overflow {count}"),
        Residual::Underflow(count) => format!("{which} underflow {count}"),
    }
}

fn cmd_sn_of(pdu: &mut Pdu) -> Option<(bool, &mut CmdSn)> {
    match pdu {
        Pdu::ScsiCommand(pdu) => Some((pdu.immediate, &mut pdu.cmd_sn)),
        Pdu::NopOut(pdu) => Some((pdu.immediate, &mut pdu.cmd_sn)),
        Pdu::TaskManagementRequest(pdu) => Some((pdu.immediate, &mut pdu.cmd_sn)),
        Pdu::TextRequest(pdu) => Some((pdu.immediate, &mut pdu.cmd_sn)),
        Pdu::LogoutRequest(pdu) => Some((pdu.immediate, &mut pdu.cmd_sn)),
        _ => None,
    }
}

pub(crate) fn exp_stat_sn_of(pdu: &mut Pdu) -> Option<&mut StatSn> {
    match pdu {
        Pdu::ScsiCommand(pdu) => Some(&mut pdu.exp_stat_sn),
        Pdu::NopOut(pdu) => Some(&mut pdu.exp_stat_sn),
        Pdu::DataOut(pdu) => Some(&mut pdu.exp_stat_sn),
        Pdu::TaskManagementRequest(pdu) => Some(&mut pdu.exp_stat_sn),
        Pdu::TextRequest(pdu) => Some(&mut pdu.exp_stat_sn),
        Pdu::LogoutRequest(pdu) => Some(&mut pdu.exp_stat_sn),
        Pdu::Snack(pdu) => Some(&mut pdu.exp_stat_sn),
        _ => None,
    }
}

/// StatSN if there is one, whether the PDU uses it, ExpCmdSN, MaxCmdSN.
pub(crate) fn numbers_of(pdu: &Pdu) -> (Option<StatSn>, bool, CmdSn, CmdSn) {
    match pdu {
        Pdu::DataIn(pdu) => (pdu.status.map(|status| status.stat_sn), true, pdu.exp_cmd_sn, pdu.max_cmd_sn),
        Pdu::R2t(pdu) => (Some(pdu.stat_sn), false, pdu.exp_cmd_sn, pdu.max_cmd_sn),
        Pdu::ScsiResponse(pdu) => (Some(pdu.stat_sn), true, pdu.exp_cmd_sn, pdu.max_cmd_sn),
        Pdu::NopIn(pdu) => (Some(pdu.stat_sn), pdu.initiator_task_tag.is_some(), pdu.exp_cmd_sn, pdu.max_cmd_sn),
        Pdu::TaskManagementResponse(pdu) => (Some(pdu.stat_sn), true, pdu.exp_cmd_sn, pdu.max_cmd_sn),
        Pdu::LogoutResponse(pdu) => (Some(pdu.stat_sn), true, pdu.exp_cmd_sn, pdu.max_cmd_sn),
        Pdu::TextResponse(pdu) => (Some(pdu.stat_sn), true, pdu.exp_cmd_sn, pdu.max_cmd_sn),
        Pdu::Reject(pdu) => (Some(pdu.stat_sn), true, pdu.exp_cmd_sn, pdu.max_cmd_sn),
        Pdu::AsyncMessage(pdu) => (Some(pdu.stat_sn), true, pdu.exp_cmd_sn, pdu.max_cmd_sn),
        other => panic!("no target sends {other:?}"),
    }
}
