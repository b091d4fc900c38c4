//! Both ends of a session over wires that lose PDUs, spoil data and break, at each error recovery level: whatever happens within
//! what a level recovers from, every command ends once, and the data that is read is the data that was written.

mod support;

use bytes::Bytes;
use iscsi_pdu::*;
use iscsi_session::initiator::{Event, Logout, TaskManagement};
use iscsi_session::{BadPdu, CloseReason, LoginOutcome, Parameters, SessionType, initiator, target};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};
use support::{Dice, carried};

/// Commands at once; each has a part of the disk, and a tag, of its own.
const SLOTS: u32 = 8;
const PART_BYTES: usize = 12 * 1024;
const COMMANDS: u32 = 120;
const FIRST_CMD_SN: CmdSn = CmdSn(u32::MAX - 40);

/// What is on its way over one connection.
#[derive(Default)]
struct Wire {
    to_target: VecDeque<Pdu>,
    to_initiator: VecDeque<Pdu>,
}

/// What a slot of the initiator is doing.
#[derive(Clone, Debug)]
enum Slot {
    Idle,
    Reading { offset: usize, length: usize, data: Vec<u8> },
    Writing { offset: usize, data: Bytes },
}

struct Work {
    task: target::TaskId,
    write: bool,
    offset: usize,
    length: usize,
    data: Vec<u8>,
}

struct World {
    level: u8,
    parameters: Parameters,
    initiator: initiator::Session,
    target: target::Session,
    wires: BTreeMap<Cid, Wire>,
    disk: Vec<u8>,
    receiving: HashMap<target::TaskId, Work>,
    ready: Vec<Work>,
    slots: Vec<Slot>,
    /// The slot of each command that has not ended. Tags are not used again: a target may keep a task until its status is acknowledged.
    commands: HashMap<InitiatorTaskTag, usize>,
    /// What each part of the disk holds; none after a write that may or may not have been done.
    parts: Vec<Option<Vec<u8>>>,
    /// Requests other than commands that have not ended, and the connection that each is about.
    requests: HashMap<InitiatorTaskTag, Request>,
    /// Connections that are to be logged in again.
    to_reinstate: Vec<Cid>,
    /// Tasks that are to be reassigned.
    to_reassign: Vec<InitiatorTaskTag>,
    commands_left: u32,
    faults_left: u32,
    lost: u32,
    next_tag: u32,
    closed: Option<CloseReason>,
    now: Instant,
    dice: Dice,
}

#[derive(Clone, Copy, Debug)]
enum Request {
    Ping,
    Cleanup,
    Reassign(InitiatorTaskTag),
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
        max_cmd_sn: cmd_sn.advanced_by(SLOTS - 1),
        authenticated_as: None,
    }
}

fn turned(parameters: &Parameters) -> Parameters {
    Parameters {
        receive_segment_bytes_max: parameters.send_segment_bytes_max,
        send_segment_bytes_max: parameters.receive_segment_bytes_max,
        ..parameters.clone()
    }
}

impl World {
    fn new(parameters: Parameters, connections: u16, seed: u64) -> Self {
        let now = Instant::now();
        let first = outcome(&parameters, Cid(1), FIRST_CMD_SN);
        let config = initiator::SessionConfig {
            ping_interval: Some(Duration::from_secs(3)),
            ping_timeout: Duration::from_secs(2),
        };
        let initiator = initiator::Session::new(&first, config, now);
        let config = target::SessionConfig {
            window: SLOTS,
            ping_interval: Some(Duration::from_secs(4)),
            ping_timeout: Duration::from_secs(60),
            ..target::SessionConfig::default()
        };
        let theirs = outcome(&turned(&parameters), Cid(1), FIRST_CMD_SN);
        let target = target::Session::new(&theirs, config, TargetTransferTag(u32::MAX - 1), now);
        let mut world = Self {
            level: parameters.error_recovery_level,
            parameters,
            initiator,
            target,
            wires: BTreeMap::from([(Cid(1), Wire::default())]),
            disk: vec![0; SLOTS as usize * PART_BYTES],
            receiving: HashMap::new(),
            ready: Vec::new(),
            slots: vec![Slot::Idle; SLOTS as usize],
            commands: HashMap::new(),
            parts: vec![Some(vec![0; PART_BYTES]); SLOTS as usize],
            requests: HashMap::new(),
            to_reinstate: Vec::new(),
            to_reassign: Vec::new(),
            commands_left: COMMANDS,
            faults_left: 30,
            lost: 0,
            next_tag: 1000,
            closed: None,
            now,
            dice: Dice(seed | 1),
        };
        for cid in 2..=connections {
            world.log_in(Cid(cid));
        }
        world
    }

    /// A connection joins or is reinstated; the login does not say what the target has received.
    fn log_in(&mut self, cid: Cid) {
        let mut parameters = self.parameters.clone();
        // RFC 7143 7.2.2: a task may go on with segments of another length.
        parameters.receive_segment_bytes_max = 512 + 4 * self.dice.below(300) as u32;
        let outcome_of = |parameters: &Parameters| outcome(parameters, cid, CmdSn(FIRST_CMD_SN.0 - 1000));
        self.target.add_connection(&outcome_of(&turned(&parameters)), TargetTransferTag(u32::MAX - 1), self.now);
        self.handle_target_events();
        self.wires.insert(cid, Wire::default());
        self.initiator.add_connection(&outcome_of(&parameters), self.now);
    }

    fn tag(&mut self) -> InitiatorTaskTag {
        self.next_tag += 1;
        InitiatorTaskTag(self.next_tag)
    }

    fn is_idle(&self) -> bool {
        self.closed.is_some() || self.commands_left == 0 && self.slots.iter().all(|slot| matches!(slot, Slot::Idle))
    }

    fn submit(&mut self) {
        let number = self.dice.below(self.slots.len());
        let Some(cid) = self.pick() else { return };
        if self.commands_left == 0 || self.initiator.window(cid) == 0 || !matches!(self.slots[number], Slot::Idle) {
            return;
        }
        let (slot, transfer) = match &self.parts[number] {
            Some(_) if self.dice.one_in(2) => {
                let length = self.dice.below(PART_BYTES);
                let offset = self.dice.below(PART_BYTES - length + 1);
                let slot = Slot::Reading { offset, length, data: Vec::new() };
                (slot, initiator::Transfer::Read(length as u32))
            }
            part => {
                let length = if part.is_none() { PART_BYTES } else { self.dice.below(PART_BYTES) };
                let offset = self.dice.below(PART_BYTES - length + 1);
                let data = self.dice.bytes(length);
                (Slot::Writing { offset, data: data.clone() }, initiator::Transfer::Write(data))
            }
        };
        let (offset, length) = match &slot {
            Slot::Reading { offset, length, .. } => (*offset, *length),
            Slot::Writing { offset, data } => (*offset, data.len()),
            Slot::Idle => unreachable!("a slot that begins something"),
        };
        let mut cdb = [0; 16];
        cdb[2..6].copy_from_slice(&((number * PART_BYTES + offset) as u32).to_be_bytes());
        cdb[6..10].copy_from_slice(&(length as u32).to_be_bytes());
        let command = initiator::Command { cdb, data: transfer, ..initiator::Command::default() };
        let tag = self.tag();
        self.commands.insert(tag, number);
        self.initiator.submit(self.now, cid, tag, command).expect("the window has room");
        self.slots[number] = slot;
        self.commands_left -= 1;
    }

    fn pick(&mut self) -> Option<Cid> {
        let cids: Vec<_> = self.initiator.cids().collect();
        if cids.is_empty() { None } else { Some(cids[self.dice.below(cids.len())]) }
    }

    fn handle_events(&mut self) {
        while let Some(event) = self.initiator.poll_event() {
            match event {
                Event::Data { tag, offset, data } => {
                    let Slot::Reading { data: so_far, .. } = &mut self.slots[self.commands[&tag]] else {
                        panic!("data for a slot that does not read")
                    };
                    assert_eq!(so_far.len(), offset as usize);
                    so_far.extend_from_slice(&data);
                }
                Event::TaskComplete { tag, result } => {
                    let number = self.commands.remove(&tag).expect("a task ends once");
                    self.complete(number, &result);
                }
                Event::TaskLost { tag } => self.lose(tag),
                Event::PingComplete { tag, .. } | Event::TaskManagementComplete { tag, .. } => {
                    self.end_request(tag, &event)
                }
                Event::LogoutComplete { tag, response } => {
                    // It may have been reinstated, or forgotten, in the meantime.
                    let is_known = matches!(response, LogoutResponseCode::Closed | LogoutResponseCode::CidNotFound);
                    assert!(is_known, "{response:?}");
                    self.requests.remove(&tag).expect("a request ends once");
                }
                Event::PingDue { cid } => {
                    let tag = self.tag();
                    self.requests.insert(tag, Request::Ping);
                    self.initiator.ping(self.now, cid, tag, Bytes::new());
                }
                Event::ConnectionClosed { cid, .. } => {
                    self.wires.remove(&cid);
                    self.target.handle_connection_lost(self.now, cid);
                    self.handle_target_events();
                }
                Event::CleanupDue { cid } => self.to_reinstate.push(cid),
                Event::ReassignmentDue { tag } => self.to_reassign.push(tag),
                Event::PduRejected { .. } => {}
                Event::Closed(reason) => {
                    assert!(self.requests.is_empty());
                    self.closed = Some(reason);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn end_request(&mut self, tag: InitiatorTaskTag, event: &Event) {
        let request = self.requests.remove(&tag).expect("a request ends once");
        if let (Request::Reassign(task), Event::TaskManagementComplete { response, .. }) = (request, event) {
            use TaskManagementResponseCode::{FunctionComplete, TaskDoesNotExist, TaskStillAllegiant};
            match response {
                FunctionComplete | TaskDoesNotExist => {}
                TaskStillAllegiant => self.to_reassign.push(task),
                other => panic!("{other:?}"),
            }
        }
    }

    fn lose(&mut self, tag: InitiatorTaskTag) {
        if let Some(request) = self.requests.remove(&tag) {
            if let Request::Reassign(task) = request {
                self.to_reassign.push(task);
            }
            return;
        }
        self.lost += 1;
        let number = self.commands.remove(&tag).expect("a task ends once");
        if let Slot::Writing { .. } = std::mem::replace(&mut self.slots[number], Slot::Idle) {
            self.parts[number] = None;
        }
    }

    fn complete(&mut self, number: usize, result: &initiator::TaskResult) {
        let slot = std::mem::replace(&mut self.slots[number], Slot::Idle);
        assert_eq!((result.response, result.status), (ScsiResponseCode::CompletedAtTarget, 0), "{result:?} {slot:?}");
        match slot {
            Slot::Idle => panic!("a task ends once"),
            Slot::Reading { offset, length, data } => {
                let part = self.parts[number].as_ref().expect("a part that is known");
                assert!(data == part[offset..offset + length], "what is read is what was written last");
                assert_eq!(result.residual, Residual::None);
            }
            Slot::Writing { offset, data } => {
                assert_eq!(result.residual, Residual::None);
                let part = self.parts[number].get_or_insert_with(|| vec![0; PART_BYTES]);
                part[offset..offset + data.len()].copy_from_slice(&data);
            }
        }
    }

    /// What the owner does about connections and tasks that are lost.
    fn recover(&mut self) {
        if let Some(cid) = self.to_reinstate.pop() {
            if self.initiator.cids().any(|other| other == cid) {
                return;
            }
            match self.pick() {
                Some(over) if self.dice.one_in(2) => {
                    let tag = self.tag();
                    self.requests.insert(tag, Request::Cleanup);
                    let logout = if self.level == 2 { Logout::ForRecovery(cid) } else { Logout::Connection(cid) };
                    self.initiator.logout(self.now, over, tag, logout);
                }
                _ if self.target.admission(cid) == LoginStatus::Success => self.log_in(cid),
                _ => {}
            }
        }
        if !self.to_reassign.is_empty()
            && let Some(cid) = self.pick()
        {
            let task = self.to_reassign.swap_remove(self.dice.below(self.to_reassign.len()));
            let tag = self.tag();
            self.requests.insert(tag, Request::Reassign(task));
            let function = TaskManagementFunction::TaskReassign;
            let asked = TaskManagement { function, lun: LunField::default(), referenced: Some(task) };
            self.initiator.manage_task(self.now, cid, tag, asked);
        }
    }

    fn handle_target_events(&mut self) {
        while let Some(event) = self.target.poll_event() {
            match event {
                target::Event::Command(command) => self.begin(command),
                target::Event::Data { task, offset, data } => {
                    let work = self.receiving.get_mut(&task).expect("data for a command that asked for it");
                    assert_eq!(work.data.len(), offset as usize);
                    work.data.extend_from_slice(&data);
                }
                target::Event::DataComplete { task } => {
                    let work = self.receiving.remove(&task).expect("the end of data that was asked for");
                    self.ready.push(work);
                }
                target::Event::Aborted { task } => {
                    self.receiving.remove(&task);
                    self.ready.retain(|work| work.task != task);
                }
                target::Event::Reassigned { task, .. } => {
                    if let Some(work) = self.receiving.get(&task) {
                        self.next_tag += 1;
                        let progress =
                            self.target.receive_data(task, TargetTransferTag(self.next_tag), work.length as u32);
                        assert!(matches!(progress, target::DataProgress::Pending));
                    }
                }
                target::Event::TagFree { .. } | target::Event::Violated { .. } => {}
                target::Event::ConnectionClosed { .. } | target::Event::Closed(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn begin(&mut self, command: target::Command) {
        let number = |at: usize| u32::from_be_bytes(*command.cdb[at..].first_chunk().unwrap()) as usize;
        let (offset, length) = (number(2), number(6));
        let data = command.data.to_vec();
        let work = Work { task: command.task, write: command.write, offset, length, data };
        if !work.write {
            return self.ready.push(work);
        }
        self.next_tag += 1;
        match self.target.receive_data(work.task, TargetTransferTag(self.next_tag), length as u32) {
            target::DataProgress::Complete => self.ready.push(work),
            target::DataProgress::Pending => {
                self.receiving.insert(work.task, work);
            }
        }
    }

    fn execute(&mut self) {
        if self.ready.is_empty() {
            return;
        }
        let work = self.ready.swap_remove(self.dice.below(self.ready.len()));
        let part = work.offset..work.offset + work.length;
        let mut outcome = target::TaskOutcome::default();
        if work.write {
            self.disk[part].copy_from_slice(&work.data[..work.length]);
            outcome.data_out_length = work.length as u32;
        } else {
            outcome.data_in = Bytes::copy_from_slice(&self.disk[part]);
            outcome.data_in_length = work.length as u32;
        }
        self.target.complete(work.task, outcome);
    }

    /// Whether a PDU is lost or spoilt, among those that a level recovers from.
    fn fault(&mut self, pdu: &Pdu) -> Option<bool> {
        if self.level == 0 || self.faults_left == 0 || !self.dice.one_in(12) {
            return None;
        }
        let is_spoilt = match pdu {
            // Requests that are immediate are not sent again.
            Pdu::NopOut(_) | Pdu::NopIn(_) | Pdu::TaskManagementRequest(_) | Pdu::LogoutRequest(_) => return None,
            Pdu::ScsiCommand(pdu) => !pdu.data.is_empty(),
            Pdu::DataOut(pdu) => !pdu.data.is_empty(),
            Pdu::DataIn(pdu) => !pdu.data.is_empty(),
            _ => false,
        };
        self.faults_left -= 1;
        Some(is_spoilt && self.dice.one_in(2))
    }

    fn carry(&mut self, cid: Cid, is_to_target: bool, count: usize) {
        for _ in 0..count {
            let Some(wire) = self.wires.get_mut(&cid) else { return };
            let queue = if is_to_target { &mut wire.to_target } else { &mut wire.to_initiator };
            let Some(pdu) = queue.pop_front() else { return };
            let fault = self.fault(&pdu);
            match (fault, is_to_target) {
                (None, true) => self.target.handle_pdu(self.now, cid, carried(&pdu)),
                (None, false) => self.initiator.handle_pdu(self.now, cid, carried(&pdu)),
                (Some(true), true) => {
                    self.target.handle_bad_pdu(self.now, cid, pdu.encode().header, BadPdu::DataDigest)
                }
                (Some(true), false) => {
                    self.initiator.handle_bad_pdu(self.now, cid, pdu.encode().header, BadPdu::DataDigest);
                }
                (Some(false), _) => {}
            }
            self.handle_events();
            self.handle_target_events();
        }
    }

    /// A connection breaks; what was on its way is lost.
    fn cut(&mut self, cid: Cid) {
        self.wires.remove(&cid);
        self.faults_left -= 1;
        if self.dice.one_in(2) {
            self.target.handle_connection_lost(self.now, cid);
            self.initiator.handle_connection_lost(self.now, cid);
        } else {
            self.initiator.handle_connection_lost(self.now, cid);
            self.target.handle_connection_lost(self.now, cid);
        }
    }

    /// One thing happens, or a few of a kind.
    fn step(&mut self) {
        let count = 1 + self.dice.below(8);
        let cids: Vec<_> = self.wires.keys().copied().collect();
        let cid = if cids.is_empty() { Cid(1) } else { cids[self.dice.below(cids.len())] };
        match self.dice.below(9) {
            0 => self.submit(),
            1 => {
                if let Some(wire) = self.wires.get_mut(&cid) {
                    wire.to_target.extend((0..count).map_while(|_| self.initiator.poll_transmit(cid)));
                }
            }
            2 => {
                if let Some(wire) = self.wires.get_mut(&cid) {
                    wire.to_initiator.extend((0..count).map_while(|_| self.target.poll_transmit(cid)));
                }
            }
            3 => self.carry(cid, true, count),
            4 => self.carry(cid, false, count),
            5 => self.execute(),
            6 => self.recover(),
            7 if self.faults_left > 0 && self.wires.contains_key(&cid) && self.may_cut() => self.cut(cid),
            _ => {
                self.now += Duration::from_millis(self.dice.below(40) as u64);
                self.initiator.handle_timeout(self.now);
                self.target.handle_timeout(self.now);
            }
        }
        self.handle_events();
        self.handle_target_events();
    }

    /// Below level 2 the last connection takes the session along.
    fn may_cut(&mut self) -> bool {
        (self.level == 2 || self.initiator.cids().count() > 1) && self.dice.one_in(300)
    }

    fn run(&mut self) {
        for _ in 0..400_000 {
            if self.is_idle() {
                return;
            }
            self.step();
        }
        panic!("this does not end: {:#?} {:#?}", self.initiator, self.target);
    }
}

fn parameters(level: u8) -> impl Strategy<Value = Parameters> {
    let bytes = || 512_u32..4000;
    (any::<bool>(), any::<bool>(), bytes(), bytes(), bytes(), bytes(), 1_u16..5).prop_map(
        move |(initial_r2t, immediate_data, ours, theirs, burst, first_burst, outstanding)| Parameters {
            initial_r2t,
            immediate_data,
            receive_segment_bytes_max: ours,
            send_segment_bytes_max: theirs,
            burst_bytes_max: burst,
            first_burst_bytes_max: first_burst.min(burst),
            outstanding_r2t_max: outstanding,
            max_connections: 4,
            error_recovery_level: level,
            ..Parameters::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn connections_that_break_take_their_commands_along(parameters in parameters(0), connections in 1_u16..4, seed: u64) {
        let mut world = World::new(parameters, connections, seed);
        world.run();
        prop_assert_eq!(world.closed, None);
    }

    #[test]
    fn what_is_lost_within_a_connection_comes_again(parameters in parameters(1), seed: u64) {
        let mut world = World::new(parameters, 1, seed);
        world.run();
        prop_assert_eq!((world.closed, world.lost), (None, 0));
    }

    #[test]
    fn connections_that_break_at_level_1_leave_the_others_alone(parameters in parameters(1), connections in 2_u16..4, seed: u64) {
        let mut world = World::new(parameters, connections, seed);
        world.run();
        prop_assert_eq!(world.closed, None);
    }

    #[test]
    fn nothing_is_lost_with_a_connection_at_level_2(parameters in parameters(2), connections in 1_u16..4, seed: u64) {
        let mut world = World::new(parameters, connections, seed);
        world.run();
        prop_assert_eq!((world.closed, world.lost), (None, 0));
    }
}
