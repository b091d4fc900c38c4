//! PDUs that get lost or damaged, and connections that break, with an initiator that recovers: what is read and written is whole
//! in the end, every command ends once, and nothing is left behind.

use super::ladder::*;
use super::random::Owner;
use bytes::Bytes;
use iscsi_pdu::*;
use iscsi_session::target::{Session, SessionConfig};
use iscsi_session::{BadPdu, LoginOutcome, Parameters};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// A command as its initiator has it.
struct Work {
    cid: Cid,
    command: ScsiCommand,
    /// Data-In by DataSN: offset and length.
    pieces: BTreeMap<u32, (u32, Bytes)>,
    r2ts: BTreeSet<u32>,
    /// How many Data-In PDUs the status speaks of, once it was received.
    data_sns: Option<u32>,
}

impl Work {
    fn missing(&self) -> Vec<u32> {
        (0..self.data_sns.unwrap_or(0)).filter(|data_sn| !self.pieces.contains_key(data_sn)).collect()
    }

    fn is_whole(&self) -> bool {
        self.data_sns.is_some() && self.missing().is_empty()
    }

    /// The next number that it expects.
    fn exp_data_sn(&self) -> u32 {
        if self.command.write {
            (0..).find(|number| !self.r2ts.contains(number)).unwrap()
        } else {
            (0..).find(|number| !self.pieces.contains_key(number)).unwrap()
        }
    }
}

/// A connection as its initiator has it.
struct Wire {
    cid: Cid,
    pdus: VecDeque<Pdu>,
    exp_stat_sn: StatSn,
    /// Statuses that were received beyond that, and the commands that they end.
    statuses: BTreeMap<u32, Option<u32>>,
    /// The StatSN that comes next, as far as that is known.
    next_stat_sn: StatSn,
}

impl Wire {
    /// A PDU leaves, with what was received until now.
    fn push(&mut self, pdu: impl Into<Pdu>) {
        let mut pdu = pdu.into();
        if let Some(number) = exp_stat_sn_of(&mut pdu) {
            *number = self.exp_stat_sn;
        }
        self.pdus.push_back(pdu);
    }

    fn new(login: &LoginOutcome) -> Self {
        let (cid, stat_sn) = (login.cid, login.stat_sn);
        Self { cid, pdus: VecDeque::new(), exp_stat_sn: stat_sn, statuses: BTreeMap::new(), next_stat_sn: stat_sn }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Read(u8, u32),
    Write(u8, u32, bool),
    Deliver(u8, u8),
    Transmit,
    Complete(u8),
    Recover,
    Lose(u8),
    Join,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<u8>(), 0..9000u32).prop_map(|(on, length)| Step::Read(on, length)),
        4 => (any::<u8>(), 1..9000u32, any::<bool>()).prop_map(|(on, length, more)| Step::Write(on, length, more)),
        8 => (any::<u8>(), 1..5u8).prop_map(|(on, count)| Step::Deliver(on, count)),
        4 => Just(Step::Transmit),
        6 => any::<u8>().prop_map(Step::Complete),
        2 => Just(Step::Recover),
        1 => any::<u8>().prop_map(Step::Lose),
        1 => Just(Step::Join),
    ]
}

struct World {
    parameters: Parameters,
    session: Session,
    now: Instant,
    owner: Owner,
    wires: Vec<Wire>,
    works: BTreeMap<u32, Work>,
    next_tag: u32,
    cmd_sn: CmdSn,
    window: (CmdSn, CmdSn),
    random: u64,
    /// One PDU in so many gets lost; zero for none.
    faults: u64,
}

fn parameters(error_recovery_level: u8) -> Parameters {
    Parameters {
        error_recovery_level,
        max_connections: 2,
        initial_r2t: false,
        burst_bytes_max: 4096,
        first_burst_bytes_max: 2048,
        send_segment_bytes_max: 1024,
        ..Parameters::default()
    }
}

impl World {
    fn new(error_recovery_level: u8, random: u64, faults: u64) -> Self {
        let parameters = parameters(error_recovery_level);
        let (login, now) = (outcome(parameters.clone()), Instant::now());
        let config = SessionConfig { immediate_max: 10_000, ping_interval: None, ..config() };
        Self {
            session: Session::new(&login, config, PING_TAG, now),
            parameters,
            now,
            owner: Owner::default(),
            wires: vec![Wire::new(&login)],
            works: BTreeMap::new(),
            next_tag: 0,
            cmd_sn: login.cmd_sn,
            window: (login.cmd_sn, login.max_cmd_sn),
            random: random | 1,
            faults,
        }
    }

    fn is_lost(&mut self) -> bool {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.faults > 0 && self.random.is_multiple_of(self.faults)
    }

    fn tag(&mut self) -> u32 {
        self.next_tag += 1;
        self.next_tag
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Read(on, length) => self.send(on, |tag| read(tag, length), false),
            Step::Write(on, length, more) => {
                self.send(on, |tag| write_immediate(tag, length, length.min(700) as usize), more && length > 700);
            }
            Step::Deliver(on, count) => self.deliver(usize::from(on) % self.wires.len(), count.into()),
            Step::Transmit => self.transmit(),
            Step::Complete(which) => self.complete(which.into()),
            Step::Recover => self.recover(),
            Step::Lose(on) if self.parameters.error_recovery_level == 2 => self.lose(usize::from(on)),
            Step::Join if self.wires.len() < 2 => {
                let cid = if self.wires[0].cid == CID { Cid(8) } else { CID };
                self.join(cid);
            }
            Step::Lose(_) | Step::Join => {}
        }
        self.owner.take(&mut self.session, false);
        self.owner.check_written();
    }

    fn send(&mut self, on: u8, command: impl FnOnce(u32) -> ScsiCommand, more: bool) {
        if self.window.1.precedes(self.cmd_sn) {
            return;
        }
        let (tag, cmd_sn) = (self.tag(), self.cmd_sn);
        self.cmd_sn = cmd_sn.next();
        let at = usize::from(on) % self.wires.len();
        let wire = &mut self.wires[at];
        let command = ScsiCommand { cmd_sn, is_final: !more, exp_stat_sn: wire.exp_stat_sn, ..command(tag) };
        wire.push(command.clone());
        if more {
            let (from, end) = (command.data.len(), command.expected_data_transfer_length.min(2048) as usize);
            let middle = from + (end - from) / 2;
            wire.push(data_out(tag, false, 0, from as u32, middle - from, false));
            wire.push(data_out(tag, false, 1, middle as u32, end - middle, true));
        }
        let (cid, pieces, r2ts) = (wire.cid, BTreeMap::new(), BTreeSet::new());
        self.works.insert(tag, Work { cid, command, pieces, r2ts, data_sns: None });
    }

    fn deliver(&mut self, at: usize, count: usize) {
        for _ in 0..count {
            let Some(pdu) = self.wires[at].pdus.pop_front() else { return };
            let (lost, damaged) = (self.is_lost(), self.is_lost());
            let cid = self.wires[at].cid;
            if damaged && matches!(pdu, Pdu::DataOut(_)) {
                self.session.handle_bad_pdu(self.now, cid, pdu.encode().header, BadPdu::DataDigest);
            } else if !lost {
                self.session.handle_pdu(self.now, cid, pdu);
            }
            self.owner.take(&mut self.session, false);
        }
    }

    /// The device ends a command: what it reads is the pattern, what it writes has to be there.
    fn complete(&mut self, which: usize) {
        let Some((task, length, write)) = self.owner.open.get(which % self.owner.open.len().max(1)).copied() else {
            return;
        };
        if write && !self.owner.is_complete(task) {
            return;
        }
        let outcome = if write { good_write(length) } else { good_read(length as usize) };
        self.session.complete(task, outcome);
        self.owner.end(task);
    }

    fn transmit(&mut self) {
        loop {
            let mut is_quiet = true;
            for at in 0..self.wires.len() {
                while let Some(pdu) = self.session.poll_transmit(self.wires[at].cid) {
                    is_quiet = false;
                    if !self.is_lost() {
                        self.receive(at, pdu);
                    }
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    fn receive(&mut self, at: usize, pdu: Pdu) {
        let (stat_sn, uses, exp_cmd_sn, max_cmd_sn) = numbers_of(&pdu);
        if self.window.0.precedes(exp_cmd_sn) {
            self.window.0 = exp_cmd_sn;
        }
        if self.window.1.precedes(max_cmd_sn) {
            self.window.1 = max_cmd_sn;
        }
        let mut ends = None;
        match pdu {
            Pdu::DataIn(pdu) => {
                let tag = pdu.initiator_task_tag.0;
                if let Some(work) = self.works.get_mut(&tag) {
                    if pdu.status.is_some() {
                        work.data_sns = Some(pdu.data_sn + 1);
                        ends = Some(tag);
                    }
                    let piece = (pdu.buffer_offset, pdu.data.clone());
                    assert_eq!(pdu.data, pattern(pdu.buffer_offset as usize, pdu.data.len()));
                    let before = work.pieces.insert(pdu.data_sn, piece.clone());
                    assert!(before.is_none_or(|before| before == piece), "the same number is the same piece");
                }
                if pdu.acknowledge {
                    self.acknowledge_data(at, &pdu);
                }
            }
            Pdu::ScsiResponse(pdu) => {
                assert_eq!(pdu.status, 0, "nothing was wrong with any command: {pdu:?}");
                if let Some(work) = self.works.get_mut(&pdu.initiator_task_tag.0) {
                    work.data_sns = Some(pdu.exp_data_sn);
                    ends = Some(pdu.initiator_task_tag.0);
                }
            }
            Pdu::R2t(pdu) => self.answer_r2t(at, &pdu),
            Pdu::Reject(pdu) => {
                // Unsolicited data of a command that was lost belongs to nothing.
                let is_stray = pdu.rejected.opcode() == Opcode::DataOut && pdu.reason == RejectReason::InvalidPduField;
                assert!(is_stray || pdu.reason == RejectReason::DataDigestError, "{pdu:?}");
            }
            _ => {}
        }
        if let Some(stat_sn) = stat_sn {
            self.note_status(at, stat_sn, uses, ends);
        }
    }

    fn note_status(&mut self, at: usize, stat_sn: StatSn, uses: bool, ends: Option<u32>) {
        let wire = &mut self.wires[at];
        let next = if uses { stat_sn.next() } else { stat_sn };
        if wire.next_stat_sn.precedes(next) {
            wire.next_stat_sn = next;
        }
        if uses && !stat_sn.precedes(wire.exp_stat_sn) {
            wire.statuses.insert(stat_sn.0, ends);
        }
        self.acknowledge_statuses(at);
    }

    /// A status is not acknowledged before all data of its command has come.
    fn acknowledge_statuses(&mut self, at: usize) {
        let wire = &mut self.wires[at];
        while let Some(ends) = wire.statuses.get(&wire.exp_stat_sn.0).copied() {
            if let Some(work) = ends.and_then(|tag| self.works.get(&tag)) {
                if !work.is_whole() {
                    return;
                }
                let length = if work.command.write { 0 } else { work.command.expected_data_transfer_length };
                let came: usize = work.pieces.values().map(|(_, data)| data.len()).sum();
                assert_eq!(came, length as usize, "what was read is whole");
            }
            if let Some(tag) = ends {
                self.works.remove(&tag);
            }
            wire.statuses.remove(&wire.exp_stat_sn.0);
            wire.exp_stat_sn = wire.exp_stat_sn.next();
        }
    }

    fn acknowledge_data(&mut self, at: usize, pdu: &DataIn) {
        let work = self.works.get(&pdu.initiator_task_tag.0);
        let begin_run = work.map_or(0, Work::exp_data_sn);
        if begin_run > pdu.data_sn && pdu.data_sn % 8 < 6 {
            let ack = Snack {
                kind: SnackType::DataAck,
                lun: pdu.lun,
                transfer_or_snack_tag: pdu.target_transfer_tag.unwrap().0,
                begin_run,
                ..Snack::default()
            };
            self.wires[at].push(ack);
        }
    }

    fn answer_r2t(&mut self, at: usize, r2t: &R2t) {
        let tag = r2t.initiator_task_tag.0;
        // RFC 7143 7.9: a duplicate is discarded.
        if self.works.get_mut(&tag).is_none_or(|work| !work.r2ts.insert(r2t.r2t_sn)) {
            return;
        }
        let (begin, length) = (r2t.buffer_offset, r2t.desired_data_transfer_length);
        let cuts = [0, length / 3, length / 2, length];
        for (data_sn, cut) in cuts.windows(2).enumerate() {
            let is_final = cut[1] == length;
            let pdu = data_out(tag, true, data_sn as u32, begin + cut[0], (cut[1] - cut[0]) as usize, is_final);
            let pdu = DataOut { target_transfer_tag: Some(r2t.target_transfer_tag), ..pdu };
            self.wires[at].push(pdu);
        }
    }

    /// Asks for what is missing, and sends again what was not acknowledged.
    fn recover(&mut self) {
        // Who asks for more than 64 PDUs and reads none ends the session.
        for at in 0..self.wires.len() {
            self.deliver(at, 10_000);
        }
        self.transmit();
        for at in 0..self.wires.len() {
            let cid = self.wires[at].cid;
            let tag = self.tag();
            self.wires[at].push(NopOut { immediate: true, ..nop_out(tag, "") });
            let wire = &self.wires[at];
            let open = wire.exp_stat_sn.distance_to(wire.next_stat_sn) as u32;
            let numbers = (0..open).map(|ahead| wire.exp_stat_sn.advanced_by(ahead).0);
            let missing: Vec<u32> = numbers.filter(|number| !wire.statuses.contains_key(number)).collect();
            let mut snacks: Vec<Snack> =
                missing.into_iter().map(|number| snack(SnackType::Status, None, number)).collect();
            for (tag, work) in self.works.iter().filter(|(_, work)| work.cid == cid) {
                snacks.extend(work.missing().into_iter().map(|number| snack(SnackType::DataR2t, Some(*tag), number)));
            }
            let expected = self.window.0;
            let works = self.works.values().filter(|work| work.cid == cid && !work.command.cmd_sn.precedes(expected));
            let mut commands: Vec<&ScsiCommand> = works.map(|work| &work.command).collect();
            commands.sort_by_key(|command| expected.distance_to(command.cmd_sn));
            // The unsolicited data is lost with the command that is there already.
            let commands: Vec<Pdu> = commands.into_iter().cloned().map(Pdu::from).collect();
            let snacks = snacks.into_iter().take(20).map(Pdu::from);
            commands.into_iter().chain(snacks).for_each(|pdu| self.wires[at].push(pdu));
        }
        self.now += Duration::from_secs(2);
        while self.session.poll_timeout().is_some_and(|due| due <= self.now) {
            self.session.handle_timeout(self.now);
        }
    }

    fn join(&mut self, cid: Cid) {
        assert_eq!(self.session.admission(cid), LoginStatus::Success);
        let login = LoginOutcome { cid, ..outcome(self.parameters.clone()) };
        self.session.add_connection(&login, PING_TAG, self.now);
        self.wires.push(Wire::new(&login));
    }

    /// A connection breaks, and its commands go on with another, or with one that takes its place.
    fn lose(&mut self, on: usize) {
        let lost = self.wires.remove(on % self.wires.len()).cid;
        self.session.handle_connection_lost(self.now, lost);
        self.owner.take(&mut self.session, false);
        if self.wires.is_empty() {
            self.join(lost);
        }
        self.deliver(0, 10_000);
        let (cid, tag) = (self.wires[0].cid, self.tag());
        if cid != lost {
            let request = logout(tag, LogoutReason::RemoveForRecovery);
            let exp_stat_sn = StatSn(0);
            let pdu = LogoutRequest { immediate: true, cid: lost, cmd_sn: self.cmd_sn, exp_stat_sn, ..request };
            self.session.handle_pdu(self.now, cid, pdu.into());
        }
        let mut lost: Vec<u32> = self.works.iter().filter(|(_, work)| work.cid == lost).map(|(tag, _)| *tag).collect();
        lost.sort_by_key(|tag| self.works[tag].command.cmd_sn.0);
        for tag in lost {
            self.reassign(tag, cid);
        }
    }

    fn reassign(&mut self, task: u32, cid: Cid) {
        let (tag, exp_stat_sn) = (self.tag(), self.wires[0].exp_stat_sn);
        let work = self.works.get_mut(&task).unwrap();
        work.cid = cid;
        let exp_data_sn = work.exp_data_sn();
        // What was not acknowledged is discarded, and so is the status.
        work.pieces.retain(|data_sn, _| *data_sn < exp_data_sn);
        work.r2ts.retain(|r2t_sn| *r2t_sn < exp_data_sn);
        work.data_sns = None;
        let command = ScsiCommand { exp_stat_sn, is_final: true, ..work.command.clone() };
        let cmd_sn = command.cmd_sn;
        if !cmd_sn.precedes(self.window.0) {
            self.session.handle_pdu(self.now, cid, command.into());
        }
        let request = TaskManagementRequest {
            referenced_task_tag: Some(itt(task)),
            exp_data_sn,
            cmd_sn: self.cmd_sn,
            exp_stat_sn,
            ..manage(tag, TaskManagementFunction::TaskReassign)
        };
        self.session.handle_pdu(self.now, cid, request.into());
        self.owner.take(&mut self.session, false);
    }

    /// The faults stop, and everything that is open comes to its end.
    fn finish(&mut self) {
        self.faults = 0;
        for _ in 0..40 {
            for at in 0..self.wires.len() {
                self.deliver(at, 10_000);
            }
            for _ in 0..self.owner.open.len() {
                for which in 0..self.owner.open.len() {
                    self.step(&Step::Complete(which as u8));
                }
            }
            self.step(&Step::Transmit);
            self.step(&Step::Recover);
        }
    }
}

fn snack(kind: SnackType, tag: Option<u32>, begin_run: u32) -> Snack {
    let initiator_task_tag = tag.map(itt);
    Snack { kind, initiator_task_tag, begin_run, run_length: 1, transfer_or_snack_tag: u32::MAX, ..Snack::default() }
}

fn run(error_recovery_level: u8, seed: u64, faults: u64, steps: &[Step]) {
    let mut world = World::new(error_recovery_level, seed, faults);
    for step in steps {
        world.step(step);
    }
    world.finish();
    assert_eq!(world.owner.closed, 0, "the session lives");
    assert!(world.works.is_empty(), "commands that have not ended: {:?}", world.works.keys().collect::<Vec<_>>());
    assert_eq!(world.owner.begun, world.owner.ended);
    assert_eq!(world.session.tasks(), 0);
    for wire in &world.wires {
        assert_eq!(world.session.data_in_bytes(wire.cid), 0);
    }
    assert_eq!(world.window, (world.cmd_sn, world.cmd_sn.advanced_by(7)), "the window is whole");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn what_gets_lost_is_recovered(steps in prop::collection::vec(step(), 0..150), seed: u64, faults in 2..20u64) {
        run(1, seed, faults, &steps);
    }

    #[test]
    fn what_loses_its_connection_goes_on(steps in prop::collection::vec(step(), 0..150), seed: u64, faults in 3..40u64) {
        run(2, seed, faults, &steps);
    }
}
