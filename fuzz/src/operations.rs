//! Both ends of a session with several connections, whose owners do what owners may in any order, over wires that lose, repeat,
//! reorder and spoil PDUs.
//!
//! In: a byte that says the error recovery level and what else is agreed upon, and pairs of bytes: an operation and its argument. What
//! must hold: no panic, every request of the initiator ends once, a tag that is lent to the target comes back once, consequences and
//! tasks are bounded, and once all connections are gone both ends close.

use crate::input::{check_sent, take_byte};
use bytes::Bytes;
use iscsi_pdu::{
    Cid, CmdSn, InitiatorTaskTag, Isid, LoginStatus, LunField, Pdu, StatSn, TargetTransferTag, TaskManagementFunction,
    TaskManagementResponseCode, Tsih,
};
use iscsi_session::initiator::{self, Command, Logout, TaskManagement, Transfer};
use iscsi_session::target::{self, DataProgress, TaskId, TaskOutcome};
use iscsi_session::{BadPdu, LoginOutcome, Parameters, SendTargetsScope, SessionType, TaskReporting};
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

const WINDOW: u32 = 8;
const CONNECTIONS: u16 = 4;
const FIRST_CMD_SN: CmdSn = CmdSn(u32::MAX - 4);
const PING_TAG: TargetTransferTag = TargetTransferTag(u32::MAX - 1);
/// Bytes that a command moves at most.
const TRANSFER_BYTES: u32 = 4096;
static DATA: [u8; TRANSFER_BYTES as usize] = [0x5a; TRANSFER_BYTES as usize];
/// PDUs of one connection and way that wait; the oldest is lost beyond that.
const WIRE_PDUS_MAX: usize = 32;
/// PDUs or events that one operation may cause, and more.
const CONSEQUENCES_MAX: usize = 10_000;
/// Tasks of the target: a window of them, and one more that have ended and whose status may be asked for again.
const TASKS_MAX: usize = 2 * WINDOW as usize;

/// A list of operations on both ends.
pub fn operations(mut input: &[u8]) {
    let agreed = take_byte(&mut input);
    let mut pair = Pair::new(agreed % 3, agreed / 3);
    while !(input.is_empty() || pair.initiator.is_closed() && pair.target.is_closed()) {
        let operation = take_byte(&mut input);
        pair.operate(operation, take_byte(&mut input));
        pair.poll();
    }
    pair.end();
}

struct Pair {
    parameters: Parameters,
    initiator: initiator::Session,
    target: target::Session,
    now: Instant,
    /// PDUs that wait to be delivered, to the target and to the initiator.
    wires: HashMap<(Cid, bool), VecDeque<Pdu>>,
    /// Requests of the initiator that have not ended.
    requests: HashSet<InitiatorTaskTag>,
    commands: Vec<InitiatorTaskTag>,
    /// Commands that have lost their connection.
    orphans: Vec<InitiatorTaskTag>,
    /// Commands of the target that wait for data, with how many bytes are wanted and the tag that was lent.
    receiving: HashMap<TaskId, (u32, TargetTransferTag)>,
    /// Tags that were lent and have not come back.
    lent: HashSet<TargetTransferTag>,
    ready: Vec<TaskId>,
    functions: Vec<target::RequestId>,
    next_tag: u32,
}

impl Pair {
    fn new(level: u8, agreed: u8) -> Self {
        let now = Instant::now();
        let in_order = agreed & 2 == 0;
        let parameters = Parameters {
            max_connections: CONNECTIONS,
            initial_r2t: level == 1,
            receive_segment_bytes_max: 1024,
            send_segment_bytes_max: 512,
            burst_bytes_max: 2048,
            first_burst_bytes_max: 1024,
            outstanding_r2t_max: 2,
            error_recovery_level: level,
            task_reporting: if agreed & 1 == 0 { TaskReporting::ResponseFence } else { TaskReporting::FastAbort },
            data_pdu_in_order: in_order,
            data_sequence_in_order: in_order,
            protocol_level: if agreed & 4 == 0 { 1 } else { 2 },
            ..Parameters::default()
        };
        let first = outcome(&parameters, Cid(0), FIRST_CMD_SN);
        let initiator = initiator::Session::new(&first, initiator::SessionConfig::default(), now);
        let config = target::SessionConfig { window: WINDOW, resettable: true, ..target::SessionConfig::default() };
        let target = target::Session::new(&turned(&first), config, PING_TAG, now);
        Self {
            parameters,
            initiator,
            target,
            now,
            wires: HashMap::new(),
            requests: HashSet::new(),
            commands: Vec::new(),
            orphans: Vec::new(),
            receiving: HashMap::new(),
            lent: HashSet::new(),
            ready: Vec::new(),
            functions: Vec::new(),
            next_tag: 0,
        }
    }

    fn tag(&mut self) -> InitiatorTaskTag {
        self.next_tag += 1;
        InitiatorTaskTag(self.next_tag)
    }

    /// A tag for a request on a connection; none where there is no such connection to send it on.
    fn request(&mut self, cid: Cid) -> Option<InitiatorTaskTag> {
        if !self.initiator.cids().any(|other| other == cid) {
            return None;
        }
        let tag = self.tag();
        self.requests.insert(tag);
        Some(tag)
    }

    fn operate(&mut self, operation: u8, argument: u8) {
        let (now, cid, other) = (self.now, Cid(u16::from(argument & 3)), Cid(u16::from(argument >> 2 & 3)));
        match operation % 16 {
            0 => self.submit(cid, argument),
            1 => self.log_in(cid, argument),
            2 if argument & 12 == 0 => self.lose(cid, argument),
            3 | 4 => self.carry(cid, argument, operation),
            5 => self.log_out(cid, other, argument),
            6 => self.manage(cid, argument),
            7 => {
                if let Some(tag) = self.request(cid) {
                    match argument >> 4 & 3 {
                        0 => self.initiator.ping(now, cid, tag, Bytes::from_static(b"ping")),
                        1 => self.initiator.negotiate(now, cid, tag),
                        _ => self.initiator.send_targets(now, cid, tag, SendTargetsScope::ThisTarget),
                    }
                }
            }
            8 => self.complete(argument),
            9 => self.pass(Duration::from_millis(u64::from(argument) * 100)),
            10 => self.answer(argument),
            11 if argument == 0xff => self.target.terminate(),
            11 if argument & 0xf0 == 0xf0 => self.target.request_logout(now),
            // A function of another session has ended all tasks; it is told to a command, or to none.
            12 if argument & 0xe0 == 0xe0 => {
                let told = self.ready.get(usize::from(argument & 0x1f)).copied();
                self.target.terminate_tasks(LunField::default(), told);
            }
            13 if argument & 0x80 != 0 => self.manage_rarely(cid, argument),
            14 => self.reassign(cid),
            // Several at once, in order, so that lists get somewhere.
            _ => {
                for connection in 0..CONNECTIONS {
                    for is_to_target in [true, false] {
                        for _ in 0..argument & 7 {
                            self.deliver(Cid(connection), is_to_target, 0, Damage::None);
                        }
                    }
                }
            }
        }
    }

    fn submit(&mut self, cid: Cid, argument: u8) {
        if self.initiator.window(cid) == 0 {
            return;
        }
        let length = TRANSFER_BYTES >> (argument >> 4 & 3);
        let data = match argument >> 6 {
            0 => Transfer::None,
            1 => Transfer::Read(length),
            2 => Transfer::Bidirectional { write: Bytes::from_static(&DATA[..length as usize]), read: length },
            _ => Transfer::Write(Bytes::from_static(&DATA[..length as usize])),
        };
        let tag = self.tag();
        let taken = self.initiator.submit(self.now, cid, tag, Command { data, ..Command::default() });
        assert!(taken.is_ok(), "a window that has room takes a command");
        self.requests.insert(tag);
        self.commands.push(tag);
    }

    /// A connection joins or is reinstated, with segments of another length.
    fn log_in(&mut self, cid: Cid, argument: u8) {
        if self.initiator.is_closed() || self.target.is_closed() || self.target.admission(cid) != LoginStatus::Success {
            return;
        }
        let mut parameters = self.parameters.clone();
        parameters.receive_segment_bytes_max = 512 << (argument >> 4 & 3);
        let login = outcome(&parameters, cid, self.initiator.cmd_sn());
        self.target.add_connection(&turned(&login), PING_TAG, self.now);
        self.poll_target_events();
        self.initiator.handle_connection_lost(self.now, cid);
        self.poll_initiator_events();
        self.wires.retain(|(other, _), _| *other != cid);
        self.initiator.add_connection(&login, self.now);
    }

    fn lose(&mut self, cid: Cid, argument: u8) {
        if argument & 0x40 == 0 {
            self.initiator.handle_connection_lost(self.now, cid);
        }
        if argument & 0x80 == 0 {
            self.target.handle_connection_lost(self.now, cid);
        }
    }

    fn log_out(&mut self, cid: Cid, other: Cid, argument: u8) {
        let Some(tag) = self.request(cid) else { return };
        let logout = match argument >> 4 {
            0 if argument == 0 => Logout::Session,
            0..8 => Logout::Connection(other),
            _ if self.parameters.error_recovery_level == 2 => Logout::ForRecovery(other),
            _ => Logout::Connection(cid),
        };
        self.initiator.logout(self.now, cid, tag, logout);
    }

    fn manage(&mut self, cid: Cid, argument: u8) {
        use TaskManagementFunction::*;
        let referenced = self.commands.get(usize::from(argument >> 5) % self.commands.len().max(1)).copied();
        let function = match (argument >> 2 & 7, referenced) {
            (0..3, Some(_)) if self.parameters.error_recovery_level == 2 => TaskReassign,
            (0..5, Some(_)) => AbortTask,
            (5, _) => AbortTaskSet,
            (6, _) => ClearTaskSet,
            _ => LogicalUnitReset,
        };
        let referenced = referenced.filter(|_| matches!(function, TaskReassign | AbortTask));
        self.ask(cid, function, referenced);
    }

    /// The functions that initiators seldom ask for.
    fn manage_rarely(&mut self, cid: Cid, argument: u8) {
        use TaskManagementFunction::*;
        let function = match argument >> 4 & 7 {
            0 => ClearAca,
            1 => QueryTask,
            2 => QueryTaskSet,
            3 => QueryAsynchronousEvent,
            4 => ItNexusReset,
            5 => TargetWarmReset,
            // It ends the session.
            6 if argument & 12 == 12 => TargetColdReset,
            _ => LogicalUnitReset,
        };
        let referenced = self.commands.first().copied().filter(|_| function == QueryTask);
        self.ask(cid, function, referenced);
    }

    fn ask(&mut self, cid: Cid, function: TaskManagementFunction, referenced: Option<InitiatorTaskTag>) {
        let Some(tag) = self.request(cid) else { return };
        let asked = TaskManagement { function, lun: LunField::default(), referenced };
        self.initiator.manage_task(self.now, cid, tag, asked);
    }

    /// The device has carried out a function, or has not.
    fn answer(&mut self, argument: u8) {
        use TaskManagementResponseCode::{FunctionComplete, FunctionRejected, FunctionSucceeded, LunDoesNotExist};
        let Some(id) = self.functions.pop() else { return };
        match argument & 15 {
            0 => self.target.answer_task_management(id, FunctionRejected),
            1 => self.target.answer_task_management(id, LunDoesNotExist),
            2 => self.target.answer_query(id, FunctionSucceeded, [0x21, 0, 0]),
            _ => self.target.answer_task_management(id, FunctionComplete),
        }
    }

    /// Does what a command that has lost its connection waits for.
    fn reassign(&mut self, cid: Cid) {
        if let Some(task) = self.orphans.pop() {
            self.ask(cid, TaskManagementFunction::TaskReassign, Some(task));
        }
    }

    fn carry(&mut self, cid: Cid, argument: u8, operation: u8) {
        let damage = match operation >> 4 {
            0..12 => Damage::None,
            12 => Damage::Lost,
            13 => Damage::Repeated,
            14 => Damage::Data,
            _ if argument & 3 == 0 => Damage::Byte(argument),
            _ => Damage::None,
        };
        self.deliver(
            cid,
            operation & 1 == 0,
            usize::from(if operation >> 4 == 11 { argument >> 2 & 7 } else { 0 }),
            damage,
        );
    }

    fn deliver(&mut self, cid: Cid, is_to_target: bool, place: usize, damage: Damage) {
        let Some(queue) = self.wires.get_mut(&(cid, is_to_target)).filter(|queue| !queue.is_empty()) else { return };
        let place = place % queue.len();
        let Some(pdu) = queue.remove(place) else { return };
        let frame = pdu.clone().encode();
        let what = match damage {
            Damage::None => Ok(pdu),
            Damage::Lost => return,
            Damage::Repeated => {
                queue.push_front(pdu.clone());
                Ok(pdu)
            }
            Damage::Data => Err(BadPdu::DataDigest),
            Damage::Byte(place) => {
                let mut frame = frame.clone();
                frame.header.0[usize::from(place) % frame.header.0.len()] ^= 1 << (place & 7);
                Pdu::decode(frame).map_err(BadPdu::Undecodable)
            }
        };
        match (is_to_target, what) {
            (true, Ok(pdu)) => self.target.handle_pdu(self.now, cid, pdu),
            (true, Err(bad)) => self.target.handle_bad_pdu(self.now, cid, frame.header, bad),
            (false, Ok(pdu)) => self.initiator.handle_pdu(self.now, cid, pdu),
            (false, Err(bad)) => self.initiator.handle_bad_pdu(self.now, cid, frame.header, bad),
        }
        self.poll();
    }

    fn complete(&mut self, argument: u8) {
        if self.ready.is_empty() {
            return;
        }
        let task = self.ready.swap_remove(usize::from(argument) % self.ready.len());
        let length = TRANSFER_BYTES >> (argument >> 6);
        let data_in = Bytes::from_static(&DATA[..length as usize]);
        let outcome =
            TaskOutcome { data_in, data_in_length: length, data_out_length: length, ..TaskOutcome::default() };
        match argument & 7 {
            0 => self.target.discard(task),
            1 => self.target.complete_fenced(task, outcome),
            _ => self.target.complete(task, outcome),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.initiator.handle_timeout(self.now);
        self.target.handle_timeout(self.now);
        self.poll();
    }

    fn poll(&mut self) {
        self.poll_target_events();
        self.poll_initiator_events();
        for connection in 0..CONNECTIONS {
            let cid = Cid(connection);
            let to_target = drain(|| self.initiator.poll_transmit(cid));
            push(self.wires.entry((cid, true)).or_default(), to_target);
            let to_initiator = drain(|| self.target.poll_transmit(cid));
            push(self.wires.entry((cid, false)).or_default(), to_initiator);
        }
        let tasks = self.target.tasks();
        assert!(tasks <= TASKS_MAX, "{tasks} tasks are more than the window allows");
    }

    fn poll_initiator_events(&mut self) {
        for event in drain(|| self.initiator.poll_event()) {
            use initiator::Event::*;
            match event {
                TaskComplete { tag, .. }
                | TaskAborted { tag }
                | TaskRejected { tag, .. }
                | TaskLost { tag }
                | TaskManagementComplete { tag, .. }
                | PingComplete { tag, .. }
                | Targets { tag, .. }
                | NegotiationComplete { tag }
                | LogoutComplete { tag, .. } => {
                    assert!(self.requests.remove(&tag), "a request ends once");
                    self.commands.retain(|other| *other != tag);
                }
                ReassignmentDue { tag } => self.orphans.push(tag),
                Closed(_) => assert!(self.requests.is_empty(), "every request ends before the session does"),
                Data { data, .. } => assert!(!data.is_empty()),
                _ => {}
            }
        }
    }

    fn poll_target_events(&mut self) {
        for _ in 0..CONSEQUENCES_MAX {
            let Some(event) = self.target.poll_event() else { return };
            match event {
                target::Event::Command(command) if command.write => {
                    self.receive(command.task, command.expected_data_transfer_length);
                }
                target::Event::Command(command) => self.ready.push(command.task),
                target::Event::Data { task, .. } => assert!(self.receiving.contains_key(&task), "data was asked for"),
                target::Event::DataComplete { task } => {
                    let (_, tag) = self.receiving.remove(&task).expect("data was asked for");
                    assert!(self.lent.remove(&tag), "a tag comes back once");
                    self.ready.push(task);
                }
                target::Event::Aborted { task } => {
                    self.receiving.remove(&task);
                    self.ready.retain(|other| *other != task);
                }
                target::Event::Reassigned { task, .. } => {
                    if let Some((length, _)) = self.receiving.remove(&task) {
                        self.receive(task, length);
                    }
                }
                target::Event::TaskManagement { id, .. } => self.functions.push(id),
                target::Event::SendTargets { id, .. } => self.target.answer_send_targets(id, &[]),
                target::Event::TagFree { tag, .. } => assert!(self.lent.remove(&tag), "a tag comes back once"),
                target::Event::Violated { .. } => {}
                target::Event::ConnectionClosed { .. } | target::Event::Closed(_) => {}
            }
        }
        panic!("one operation has consequences without end");
    }

    fn receive(&mut self, task: TaskId, length: u32) {
        self.next_tag += 1;
        let tag = TargetTransferTag(self.next_tag);
        match self.target.receive_data(task, tag, length) {
            DataProgress::Complete => self.ready.push(task),
            DataProgress::Pending => {
                self.lent.insert(tag);
                self.receiving.insert(task, (length, tag));
            }
        }
    }

    /// All connections go, and what is kept for others of them is kept no longer than was agreed.
    fn end(mut self) {
        for connection in 0..CONNECTIONS {
            self.lose(Cid(connection), 0);
        }
        let kept = u64::from(self.parameters.time_2_wait) + u64::from(self.parameters.time_2_retain);
        self.pass(Duration::from_secs(kept + 1));
        assert!(self.initiator.is_closed() && self.target.is_closed(), "a session without connections ends");
        assert!(self.requests.is_empty(), "every request ends");
    }
}

/// What becomes of a PDU on its way.
enum Damage {
    None,
    Lost,
    Repeated,
    /// Its data digest is wrong.
    Data,
    /// A bit of its header is another.
    Byte(u8),
}

fn drain<T>(mut next: impl FnMut() -> Option<T>) -> Vec<T> {
    let all: Vec<_> = std::iter::from_fn(&mut next).take(CONSEQUENCES_MAX).collect();
    assert!(all.len() < CONSEQUENCES_MAX, "one operation has consequences without end");
    all
}

fn push(queue: &mut VecDeque<Pdu>, pdus: Vec<Pdu>) {
    for pdu in pdus {
        check_sent(&pdu);
        queue.push_back(pdu);
    }
    queue.drain(..queue.len().saturating_sub(WIRE_PDUS_MAX));
}

fn outcome(parameters: &Parameters, cid: Cid, cmd_sn: CmdSn) -> LoginOutcome {
    LoginOutcome {
        initiator_name: "iqn.2026-01.org.example:host".into(),
        target_name: Some("iqn.2026-01.org.example:disk".into()),
        session_type: SessionType::Normal,
        isid: Isid([0x80, 0, 0, 0, 0, 1]),
        tsih: Tsih(1),
        cid,
        parameters: parameters.clone(),
        cmd_sn,
        stat_sn: StatSn(u32::MAX - 20 * u32::from(cid.0)),
        max_cmd_sn: cmd_sn.advanced_by(WINDOW - 1),
        authenticated_as: None,
    }
}

/// What the target's end has agreed upon.
fn turned(outcome: &LoginOutcome) -> LoginOutcome {
    let mut outcome = outcome.clone();
    let parameters = &mut outcome.parameters;
    std::mem::swap(&mut parameters.receive_segment_bytes_max, &mut parameters.send_segment_bytes_max);
    outcome
}
