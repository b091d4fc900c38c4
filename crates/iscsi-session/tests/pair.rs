//! Both ends of a session against each other, from the first login request to the last logout response, over a wire that
//! splits its PDUs into bursts at random: whatever was negotiated, the data that is read is the data that was written, and
//! everything ends.

mod support;

use bytes::Bytes;
use iscsi_pdu::*;
use iscsi_session::{
    Authentication, CloseReason, Limits, LoginOutcome, SendTargetsScope, SessionType, TargetRecord, initiator, target,
};
use proptest::prelude::*;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};
use support::{Dice, carried};

const CID: Cid = Cid(1);
const NAME: &str = "iqn.2026-01.org.example:disk";
/// Commands at once; each has a part of the disk, and a tag, of its own.
const SLOTS: u32 = 8;
const PART_BYTES: usize = 24 * 1024;
const PING: InitiatorTaskTag = InitiatorTaskTag(900);
const FUNCTION: InitiatorTaskTag = InitiatorTaskTag(901);
const TARGETS: InitiatorTaskTag = InitiatorTaskTag(902);
const LOGOUT: InitiatorTaskTag = InitiatorTaskTag(903);

fn log_in(ours: Limits, theirs: Limits, session_type: SessionType, now: Instant) -> [LoginOutcome; 2] {
    let config = initiator::LoginConfig {
        initiator_name: "iqn.2026-01.org.example:host".into(),
        initiator_alias: None,
        target_name: (session_type == SessionType::Normal).then(|| NAME.into()),
        session_type,
        isid: Isid([0x80, 0, 0, 0, 0, 1]),
        tsih: Tsih(0),
        cid: CID,
        limits: ours,
        authentication: Authentication::None,
        timeout: Duration::from_secs(5),
    };
    let mut ours = initiator::Login::new(config, InitiatorTaskTag(0), [1; 32], now);
    let config = target::LoginConfig { limits: theirs, timeout: Duration::from_secs(5), window: SLOTS };
    let mut theirs = target::Login::new(config, [2; 32], now);
    let mut outcomes = [None, None];
    for _ in 0..100 {
        while let Some(pdu) = ours.poll_transmit() {
            theirs.handle_pdu(now, carried(&pdu));
        }
        while let Some(event) = theirs.poll_event() {
            match event {
                target::LoginEvent::Identify(_) => {
                    theirs.identify(target::Identification::Proceed(target::LoginPolicy {
                        authentication: Authentication::None,
                        target_alias: None,
                        portal_group_tag: 1,
                        limits: None,
                        window: None,
                    }));
                }
                target::LoginEvent::Admit(_) => theirs.admit(Tsih(7)),
                target::LoginEvent::Complete(outcome) => outcomes[1] = Some(*outcome),
                target::LoginEvent::Closed(failure) => panic!("{failure}"),
            }
        }
        while let Some(pdu) = theirs.poll_transmit() {
            ours.handle_pdu(now, carried(&pdu));
        }
        while let Some(event) = ours.poll_event() {
            let initiator::LoginEvent::Complete(outcome) = event else { panic!("{event:?}") };
            outcomes[0] = Some(*outcome);
        }
        if let [Some(ours), Some(theirs)] = &outcomes {
            return [ours.clone(), theirs.clone()];
        }
    }
    panic!("the login does not end");
}

/// What a CDB of this test asks for.
struct Work {
    task: target::TaskId,
    command: target::Command,
    offset: usize,
    length: usize,
    /// Data of a write as it comes.
    data: Vec<u8>,
}

/// The target and a disk behind it that executes commands in any order.
struct Target {
    session: target::Session,
    disk: Vec<u8>,
    /// Writes whose data is on its way.
    receiving: HashMap<target::TaskId, Work>,
    /// Commands that can be executed.
    ready: Vec<Work>,
    next_tag: u32,
    closed: Option<CloseReason>,
}

impl Target {
    fn handle_events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                target::Event::Command(command) => self.begin(command),
                target::Event::Data { task, offset, data } => {
                    let work = self.receiving.get_mut(&task).expect("data for a command that asked for it");
                    assert_eq!(work.data.len(), offset as usize);
                    work.data.extend_from_slice(&data);
                }
                target::Event::DataComplete { task } => {
                    let work = self.receiving.remove(&task).expect("the end of data that was asked for");
                    assert_eq!(work.data.len(), work.length);
                    self.ready.push(work);
                }
                target::Event::Aborted { task } => {
                    self.receiving.remove(&task);
                    self.ready.retain(|work| work.task != task);
                }
                target::Event::TagFree { .. } => {}
                target::Event::TaskManagement { id, .. } => {
                    self.session.answer_task_management(id, TaskManagementResponseCode::FunctionComplete);
                }
                target::Event::SendTargets { id, .. } => self.session.answer_send_targets(id, &records()),
                target::Event::Violated { violation, .. } => panic!("our own initiator breaks a rule: {violation}"),
                target::Event::ConnectionClosed { .. } | target::Event::Reassigned { .. } => {
                    unreachable!("the session has one connection")
                }
                target::Event::Closed(reason) => self.closed = Some(reason),
            }
        }
    }

    fn begin(&mut self, command: target::Command) {
        let number = |at: usize| u32::from_be_bytes(*command.cdb[at..].first_chunk().unwrap()) as usize;
        let (offset, length) = (number(2), number(6));
        let data = command.data.to_vec();
        let work = Work { task: command.task, offset, length, data, command };
        if !work.command.write {
            return self.ready.push(work);
        }
        self.next_tag += 1;
        match self.session.receive_data(work.task, TargetTransferTag(self.next_tag), length as u32) {
            target::DataProgress::Complete => self.ready.push(work),
            target::DataProgress::Pending => {
                self.receiving.insert(work.task, work);
            }
        }
    }

    fn execute(&mut self, dice: &mut Dice) {
        if self.ready.is_empty() {
            return;
        }
        let work = self.ready.swap_remove(dice.below(self.ready.len()));
        let part = work.offset..work.offset + work.length;
        let mut outcome = target::TaskOutcome::default();
        if work.command.write {
            self.disk[part].copy_from_slice(&work.data[..work.length]);
            outcome.data_out_length = work.length as u32;
        } else {
            outcome.data_in = Bytes::copy_from_slice(&self.disk[part]);
            outcome.data_in_length = work.length as u32;
        }
        self.session.complete(work.task, outcome);
    }
}

fn records() -> Vec<TargetRecord> {
    (0..40)
        .map(|number| TargetRecord {
            name: format!("{NAME}{number}"),
            addresses: vec!["10.0.0.1:3260,1".into(), "[fe80::1]:3260,1".into()],
        })
        .collect()
}

/// What a slot of the initiator is doing.
#[derive(Clone, Debug)]
enum Slot {
    Idle,
    Reading { offset: usize, length: usize, expected: usize, data: Vec<u8> },
    Writing { offset: usize, data: Bytes },
}

/// The initiator, and what it knows of the disk.
struct Initiator {
    session: initiator::Session,
    slots: Vec<Slot>,
    /// What each part of the disk holds; none after a write that was aborted.
    parts: Vec<Option<Vec<u8>>>,
    commands_left: u32,
    functions: u32,
    is_managing: bool,
    is_asking: bool,
    is_pinging: bool,
    targets: Option<Vec<TargetRecord>>,
    closed: Option<CloseReason>,
}

impl Initiator {
    fn is_idle(&self) -> bool {
        self.commands_left == 0
            && !(self.is_managing || self.is_asking || self.is_pinging)
            && self.slots.iter().all(|slot| matches!(slot, Slot::Idle))
    }

    fn submit(&mut self, now: Instant, dice: &mut Dice) {
        let number = dice.below(self.slots.len());
        if self.commands_left == 0 || self.session.window(CID) == 0 || !matches!(self.slots[number], Slot::Idle) {
            return;
        }
        let (slot, data) = match &self.parts[number] {
            None => write(0, dice.bytes(PART_BYTES)),
            Some(_) => {
                let length = if dice.one_in(3) { dice.below(600) } else { dice.below(PART_BYTES) };
                let offset = dice.below(PART_BYTES - length + 1);
                if dice.one_in(2) { write(offset, dice.bytes(length)) } else { read(offset, length, dice) }
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
        let command = initiator::Command { cdb, data, ..initiator::Command::default() };
        self.session.submit(now, CID, InitiatorTaskTag(number as u32), command).expect("the window has room");
        self.slots[number] = slot;
        self.commands_left -= 1;
    }

    fn manage(&mut self, now: Instant, dice: &mut Dice) {
        if self.is_managing || self.functions == 0 {
            return;
        }
        self.functions -= 1;
        self.is_managing = true;
        let functions = [
            TaskManagementFunction::AbortTask,
            TaskManagementFunction::AbortTaskSet,
            TaskManagementFunction::LogicalUnitReset,
        ];
        let function = functions[dice.below(3)];
        let referenced = InitiatorTaskTag(dice.below(self.slots.len()) as u32);
        let referenced = (function == TaskManagementFunction::AbortTask).then_some(referenced);
        let lun = LunField::default();
        self.session.manage_task(now, CID, FUNCTION, initiator::TaskManagement { function, lun, referenced });
    }

    fn handle_events(&mut self, now: Instant) {
        while let Some(event) = self.session.poll_event() {
            match event {
                initiator::Event::Data { tag, offset, data } => {
                    let Slot::Reading { data: so_far, .. } = &mut self.slots[tag.0 as usize] else {
                        panic!("data for a slot that does not read")
                    };
                    assert_eq!(so_far.len(), offset as usize);
                    so_far.extend_from_slice(&data);
                }
                initiator::Event::TaskComplete { tag, result } => self.complete(tag.0 as usize, &result),
                initiator::Event::TaskAborted { tag } => {
                    let slot = std::mem::replace(&mut self.slots[tag.0 as usize], Slot::Idle);
                    assert!(!matches!(slot, Slot::Idle), "a task ends once");
                    if matches!(slot, Slot::Writing { .. }) {
                        self.parts[tag.0 as usize] = None;
                    }
                }
                initiator::Event::TaskManagementComplete { tag: FUNCTION, .. } => self.is_managing = false,
                initiator::Event::PingComplete { tag: PING, .. } => self.is_pinging = false,
                initiator::Event::PingDue { .. } => {
                    assert!(!std::mem::replace(&mut self.is_pinging, true));
                    self.session.ping(now, CID, PING, Bytes::from_static(b"still there?"));
                }
                initiator::Event::Targets { tag: TARGETS, targets } => {
                    self.targets = Some(targets);
                    self.is_asking = false;
                }
                initiator::Event::LogoutComplete { tag: LOGOUT, response } => {
                    assert_eq!(response, LogoutResponseCode::Closed);
                }
                initiator::Event::Closed(reason) => self.closed = Some(reason),
                other => panic!("{other:?}"),
            }
        }
    }

    fn complete(&mut self, number: usize, result: &initiator::TaskResult) {
        assert_eq!((result.response, result.status), (ScsiResponseCode::CompletedAtTarget, 0), "{result:?}");
        match std::mem::replace(&mut self.slots[number], Slot::Idle) {
            Slot::Idle => panic!("a task ends once"),
            Slot::Reading { offset, length, expected, data } => {
                let part = self.parts[number].as_ref().expect("a part that is known");
                let moved = length.min(expected);
                assert!(data == part[offset..offset + moved], "what is read is what was written last");
                let residual = match expected.cmp(&length) {
                    std::cmp::Ordering::Less => Residual::Overflow((length - expected) as u32),
                    std::cmp::Ordering::Equal => Residual::None,
                    std::cmp::Ordering::Greater => Residual::Underflow((expected - length) as u32),
                };
                assert_eq!(result.residual, residual);
            }
            Slot::Writing { offset, data } => {
                assert_eq!(result.residual, Residual::None);
                let part = self.parts[number].get_or_insert_with(|| vec![0; PART_BYTES]);
                part[offset..offset + data.len()].copy_from_slice(&data);
            }
        }
    }
}

fn read(offset: usize, length: usize, dice: &mut Dice) -> (Slot, initiator::Transfer) {
    let expected = match dice.below(4) {
        0 => length + dice.below(1000),
        1 => dice.below(length + 1),
        _ => length,
    };
    (Slot::Reading { offset, length, expected, data: Vec::new() }, initiator::Transfer::Read(expected as u32))
}

fn write(offset: usize, data: Bytes) -> (Slot, initiator::Transfer) {
    (Slot::Writing { offset, data: data.clone() }, initiator::Transfer::Write(data))
}

/// Both ends, and the PDUs between them.
struct Pair {
    initiator: Initiator,
    target: Target,
    to_target: VecDeque<Pdu>,
    to_initiator: VecDeque<Pdu>,
    now: Instant,
    dice: Dice,
}

impl Pair {
    fn new([ours, theirs]: [LoginOutcome; 2], commands: u32, functions: u32, seed: u64, now: Instant) -> Self {
        let config = initiator::SessionConfig {
            ping_interval: Some(Duration::from_secs(3)),
            ping_timeout: Duration::from_secs(60),
        };
        let initiator = Initiator {
            session: initiator::Session::new(&ours, config, now),
            slots: vec![Slot::Idle; SLOTS as usize],
            parts: vec![Some(vec![0; PART_BYTES]); SLOTS as usize],
            commands_left: commands,
            functions,
            is_managing: false,
            is_asking: false,
            is_pinging: false,
            targets: None,
            closed: None,
        };
        let config = target::SessionConfig {
            window: SLOTS,
            ping_interval: Some(Duration::from_secs(4)),
            ping_timeout: Duration::from_secs(60),
            ..target::SessionConfig::default()
        };
        let target = Target {
            session: target::Session::new(&theirs, config, TargetTransferTag(u32::MAX - 1), now),
            disk: vec![0; SLOTS as usize * PART_BYTES],
            receiving: HashMap::new(),
            ready: Vec::new(),
            next_tag: 0,
            closed: None,
        };
        let dice = Dice(seed | 1);
        Self { initiator, target, to_target: VecDeque::new(), to_initiator: VecDeque::new(), now, dice }
    }

    /// One thing happens, or a few of a kind.
    fn step(&mut self) {
        let count = 1 + self.dice.below(8);
        match self.dice.below(8) {
            0 => self.initiator.submit(self.now, &mut self.dice),
            1 => self.to_target.extend((0..count).map_while(|_| self.initiator.session.poll_transmit(CID))),
            2 => self.to_initiator.extend((0..count).map_while(|_| self.target.session.poll_transmit(CID))),
            3 => {
                for pdu in self.to_target.drain(..count.min(self.to_target.len())) {
                    self.target.session.handle_pdu(self.now, CID, carried(&pdu));
                }
            }
            4 => {
                for pdu in self.to_initiator.drain(..count.min(self.to_initiator.len())) {
                    self.initiator.session.handle_pdu(self.now, CID, carried(&pdu));
                }
            }
            5 => self.target.execute(&mut self.dice),
            6 if self.dice.one_in(4) => self.initiator.manage(self.now, &mut self.dice),
            _ => {
                self.now += Duration::from_millis(self.dice.below(100) as u64);
                self.initiator.session.handle_timeout(self.now);
                self.target.session.handle_timeout(self.now);
            }
        }
        self.initiator.handle_events(self.now);
        self.target.handle_events();
    }

    /// Steps until `is_done`: that it comes is part of the test.
    fn run_until(&mut self, is_done: impl Fn(&Self) -> bool) {
        for _ in 0..400_000 {
            if is_done(self) {
                return;
            }
            self.step();
        }
        panic!("this does not end: {:?} {:?}", self.initiator.session, self.target.session);
    }

    fn log_out(&mut self) {
        self.initiator.session.logout(self.now, CID, LOGOUT, initiator::Logout::Session);
        self.run_until(|pair| pair.initiator.closed.is_some() && pair.target.closed.is_some());
        assert_eq!(self.initiator.closed, Some(CloseReason::LoggedOut));
        assert_eq!(self.target.closed, Some(CloseReason::LoggedOut));
        assert_eq!(self.target.session.tasks(), 0);
    }
}

fn limits() -> impl Strategy<Value = Limits> {
    let bytes = || prop_oneof![512_u32..1024, 512_u32..40_000];
    (any::<bool>(), any::<bool>(), bytes(), bytes(), bytes(), 1_u16..5).prop_map(
        |(initial_r2t, immediate_data, segment, burst, first_burst, outstanding)| Limits {
            initial_r2t,
            immediate_data,
            receive_segment_bytes_max: segment,
            burst_bytes_max: burst,
            first_burst_bytes_max: first_burst.min(burst),
            outstanding_r2t_max: outstanding,
            ..Limits::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_read_is_what_was_written(ours in limits(), theirs in limits(), seed: u64) {
        let now = Instant::now();
        let outcomes = log_in(ours, theirs, SessionType::Normal, now);
        let mut pair = Pair::new(outcomes, 200, 0, seed, now);
        pair.run_until(|pair| pair.initiator.is_idle());
        for (number, part) in pair.initiator.parts.iter().enumerate() {
            let on_disk = &pair.target.disk[number * PART_BYTES..][..PART_BYTES];
            prop_assert!(part.as_deref() == Some(on_disk));
        }
        pair.log_out();
    }

    #[test]
    fn tasks_that_are_aborted_end_once(ours in limits(), theirs in limits(), seed: u64) {
        let now = Instant::now();
        let outcomes = log_in(ours, theirs, SessionType::Normal, now);
        let mut pair = Pair::new(outcomes, 200, 20, seed, now);
        pair.run_until(|pair| pair.initiator.is_idle());
        pair.log_out();
    }

    #[test]
    fn a_list_of_targets_comes_whole(ours in limits(), theirs in limits(), seed: u64) {
        let now = Instant::now();
        let outcomes = log_in(ours, theirs, SessionType::Discovery, now);
        let mut pair = Pair::new(outcomes, 0, 0, seed, now);
        pair.initiator.is_asking = true;
        pair.initiator.session.send_targets(now, CID, TARGETS, SendTargetsScope::All);
        pair.run_until(|pair| pair.initiator.is_idle());
        prop_assert_eq!(pair.initiator.targets.take(), Some(records()));
        pair.log_out();
    }
}
