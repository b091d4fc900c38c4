//! Anything at all on several connections: an initiator that keeps the rules while its connections come, stall and break, and one
//! that keeps none.

use super::ladder::*;
use super::random::{Owner, hostile};
use iscsi_pdu::*;
use iscsi_session::target::{Session, SessionConfig};
use iscsi_session::{Parameters, TaskReporting};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::time::Instant;

const CONNECTIONS: u16 = 3;

/// A connection as the initiator has it: what is on its way to the target, and the next StatSN.
struct Wire {
    cid: Cid,
    pdus: VecDeque<Pdu>,
    exp_stat_sn: StatSn,
}

/// A step of the initiator, of its connections, or of the owner.
#[derive(Clone, Debug)]
enum Step {
    Read(u8, u32),
    Write(u8, u32),
    Ping(u8),
    Reset(u8),
    Deliver(u8, u8),
    Transmit,
    Complete(u8),
    AnswerFunctions,
    Lose(u8),
    Join(u8),
    LogOut(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<u8>(), 0..5000u32).prop_map(|(on, length)| Step::Read(on, length)),
        4 => (any::<u8>(), 0..9000u32).prop_map(|(on, length)| Step::Write(on, length)),
        2 => any::<u8>().prop_map(Step::Ping),
        1 => any::<u8>().prop_map(Step::Reset),
        8 => (any::<u8>(), 1..5u8).prop_map(|(on, count)| Step::Deliver(on, count)),
        4 => Just(Step::Transmit),
        6 => any::<u8>().prop_map(Step::Complete),
        2 => Just(Step::AnswerFunctions),
        1 => any::<u8>().prop_map(Step::Lose),
        2 => any::<u8>().prop_map(Step::Join),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(on, closing)| Step::LogOut(on, closing)),
    ]
}

struct World {
    session: Session,
    now: Instant,
    owner: Owner,
    wires: Vec<Wire>,
    next_tag: u32,
    cmd_sn: CmdSn,
    /// ExpCmdSN and MaxCmdSN as the initiator knows them.
    window: (CmdSn, CmdSn),
    /// Numbered requests that may have to be sent again.
    unacknowledged: Vec<(CmdSn, Cid, Pdu)>,
}

fn parameters() -> Parameters {
    Parameters {
        max_connections: CONNECTIONS,
        burst_bytes_max: 3000,
        outstanding_r2t_max: 3,
        send_segment_bytes_max: 1024,
        ..Parameters::default()
    }
}

impl World {
    fn new() -> Self {
        let (login, now) = (outcome(parameters()), Instant::now());
        Self {
            session: Session::new(&login, config(), PING_TAG, now),
            now,
            owner: Owner::default(),
            wires: vec![Wire { cid: login.cid, pdus: VecDeque::new(), exp_stat_sn: login.stat_sn }],
            next_tag: 0,
            cmd_sn: login.cmd_sn,
            window: (login.cmd_sn, login.max_cmd_sn),
            unacknowledged: Vec::new(),
        }
    }

    fn tag(&mut self) -> u32 {
        self.next_tag += 1;
        self.next_tag
    }

    fn pick(&self, on: u8) -> usize {
        usize::from(on) % self.wires.len()
    }

    /// A numbered request leaves, if the window is open.
    fn send(&mut self, on: u8, pdu: impl FnOnce(&mut Self, CmdSn, StatSn) -> Pdu) {
        if self.window.1.precedes(self.cmd_sn) {
            return;
        }
        let (at, cmd_sn) = (self.pick(on), self.cmd_sn);
        self.cmd_sn = cmd_sn.next();
        let (cid, exp_stat_sn) = (self.wires[at].cid, self.wires[at].exp_stat_sn);
        let pdu = pdu(self, cmd_sn, exp_stat_sn);
        self.unacknowledged.push((cmd_sn, cid, pdu.clone()));
        self.wires[at].pdus.push_back(pdu);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Read(on, length) => self.send(on, |world, cmd_sn, exp_stat_sn| {
                ScsiCommand { cmd_sn, exp_stat_sn, ..read(world.tag(), length) }.into()
            }),
            Step::Write(on, length) => self.send(on, |world, cmd_sn, exp_stat_sn| {
                ScsiCommand { cmd_sn, exp_stat_sn, ..write_immediate(world.tag(), length, length.min(500) as usize) }
                    .into()
            }),
            Step::Ping(on) => self.send(on, |world, cmd_sn, exp_stat_sn| {
                NopOut { cmd_sn, exp_stat_sn, ..nop_out(world.tag(), "x") }.into()
            }),
            Step::Reset(on) => {
                let (at, tag) = (self.pick(on), self.tag());
                let reset = manage(tag, TaskManagementFunction::LogicalUnitReset);
                let exp_stat_sn = self.wires[at].exp_stat_sn;
                let pdu = TaskManagementRequest { cmd_sn: self.cmd_sn, exp_stat_sn, ..reset };
                self.wires[at].pdus.push_back(pdu.into());
            }
            Step::Deliver(on, count) => self.deliver(on, count.into()),
            Step::Transmit => self.transmit(),
            Step::Complete(which) => self.owner.complete(&mut self.session, which.into(), good_read(3000)),
            Step::AnswerFunctions => {
                for id in std::mem::take(&mut self.owner.functions) {
                    self.session.answer_task_management(id, TaskManagementResponseCode::FunctionComplete);
                }
            }
            Step::Lose(on) if self.wires.len() > 1 => {
                let cid = self.wires[self.pick(on)].cid;
                self.session.handle_connection_lost(self.now, cid);
                self.forget(cid);
            }
            Step::Join(cid) => self.join(Cid(u16::from(cid) % (CONNECTIONS + 1))),
            Step::LogOut(on, closing) if self.wires.len() > 1 => self.log_out(on, closing),
            Step::Lose(_) | Step::LogOut(..) => {}
        }
        self.owner.take(&mut self.session, false);
        self.owner.check_written();
    }

    fn deliver(&mut self, on: u8, count: usize) {
        let at = self.pick(on);
        for _ in 0..count {
            let Some(pdu) = self.wires[at].pdus.pop_front() else { return };
            self.session.handle_pdu(self.now, self.wires[at].cid, pdu);
            self.owner.take(&mut self.session, false);
        }
    }

    /// A connection is new, or takes the place of another.
    fn join(&mut self, cid: Cid) {
        if self.session.admission(cid) != LoginStatus::Success {
            assert!(self.wires.len() == usize::from(CONNECTIONS), "there is room");
            return;
        }
        let login = iscsi_session::LoginOutcome { cid, ..outcome(parameters()) };
        self.session.add_connection(&login, PING_TAG, self.now);
        self.forget(cid);
        self.wires.push(Wire { cid, pdus: VecDeque::new(), exp_stat_sn: login.stat_sn });
        self.retry(cid);
    }

    fn log_out(&mut self, on: u8, closing: u8) {
        let (at, cid, tag) = (self.pick(on), self.wires[self.pick(closing)].cid, self.tag());
        if self.wires[at].cid == cid {
            return;
        }
        let request = logout(tag, LogoutReason::CloseConnection);
        let exp_stat_sn = self.wires[self.pick(closing)].exp_stat_sn;
        let pdu = LogoutRequest { immediate: true, cid, cmd_sn: self.cmd_sn, exp_stat_sn, ..request };
        self.session.handle_pdu(self.now, self.wires[at].cid, pdu.into());
        // It may be one immediate request too many.
        if self.session.cids().all(|open| open != cid) {
            self.forget(cid);
        }
    }

    /// What was on the way on a connection is lost, and sent again on another.
    fn forget(&mut self, cid: Cid) {
        self.wires.retain(|wire| wire.cid != cid);
        if let Some(other) = self.wires.first().map(|wire| wire.cid) {
            self.retry_of(cid, other);
        }
    }

    /// What was lost with the only connection is sent again on the one that has taken its place.
    fn retry(&mut self, cid: Cid) {
        if self.wires.len() == 1 {
            self.retry_of(cid, cid);
        }
    }

    fn retry_of(&mut self, lost: Cid, on: Cid) {
        let expected = self.window.0;
        self.unacknowledged.retain(|(cmd_sn, ..)| !cmd_sn.precedes(expected));
        let at = self.wires.iter().position(|wire| wire.cid == on).expect("it is open");
        for (_, cid, pdu) in self.unacknowledged.iter_mut().filter(|(_, cid, _)| *cid == lost) {
            *cid = on;
            self.wires[at].pdus.push_back(pdu.clone());
        }
    }

    /// Everything that can be sent is, and is answered.
    fn transmit(&mut self) {
        loop {
            let mut is_quiet = true;
            for at in 0..self.wires.len() {
                while let Some(pdu) = self.session.poll_transmit(self.wires[at].cid) {
                    is_quiet = false;
                    self.receive(at, pdu);
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    fn receive(&mut self, at: usize, pdu: Pdu) {
        let (stat_sn, advances, exp_cmd_sn, max_cmd_sn) = numbers_of(&pdu);
        let wire = &mut self.wires[at];
        if let Some(stat_sn) = stat_sn {
            assert_eq!(stat_sn, wire.exp_stat_sn, "statuses leave in order");
            wire.exp_stat_sn = if advances { stat_sn.next() } else { stat_sn };
        }
        assert!(!exp_cmd_sn.precedes(self.window.0) && !max_cmd_sn.precedes(self.window.1), "the window goes back");
        self.window = (exp_cmd_sn, max_cmd_sn);
        let exp_stat_sn = wire.exp_stat_sn;
        match pdu {
            Pdu::R2t(r2t) => {
                let (offset, length) = (r2t.buffer_offset, r2t.desired_data_transfer_length as usize);
                let pdu = data_out(r2t.initiator_task_tag.0, true, 0, offset, length, true);
                let target_transfer_tag = Some(r2t.target_transfer_tag);
                wire.pdus.push_back(DataOut { target_transfer_tag, exp_stat_sn, ..pdu }.into());
            }
            Pdu::Reject(reject) => {
                assert_eq!(reject.reason, RejectReason::TooManyImmediateCommands, "{reject:?}");
            }
            Pdu::NopIn(NopIn { target_transfer_tag: Some(tag), .. }) => {
                let answer =
                    NopOut { immediate: true, target_transfer_tag: Some(tag), exp_stat_sn, ..NopOut::default() };
                wire.pdus.push_back(answer.into());
            }
            _ => {}
        }
    }

    /// Everything that is open comes to its end.
    fn finish(&mut self) {
        for _ in 0..60 {
            for on in 0..self.wires.len() {
                self.step(&Step::Deliver(on as u8, 255));
            }
            self.step(&Step::AnswerFunctions);
            self.step(&Step::Transmit);
            for _ in 0..self.owner.open.len() {
                self.step(&Step::Complete(0));
            }
        }
        // The initiator says what it has received, so that nothing waits for that any more.
        for at in 0..self.wires.len() {
            let exp_stat_sn = self.wires[at].exp_stat_sn;
            self.session.handle_pdu(
                self.now,
                self.wires[at].cid,
                NopOut { immediate: true, exp_stat_sn, ..NopOut::default() }.into(),
            );
        }
        self.step(&Step::Transmit);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn an_initiator_that_loses_connections_is_served(steps in prop::collection::vec(step(), 0..150)) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.finish();
        prop_assert_eq!(world.owner.closed, 0, "the session lives");
        prop_assert_eq!(world.owner.begun, world.owner.ended);
        prop_assert_eq!(world.session.tasks(), 0);
        for wire in &world.wires {
            prop_assert_eq!(world.session.data_in_bytes(wire.cid), 0);
        }
        prop_assert_eq!(world.session.cids().count(), world.wires.len());
        prop_assert_eq!(world.window, (world.cmd_sn, world.cmd_sn.advanced_by(7)), "the window is whole");
    }

    #[test]
    fn an_initiator_that_keeps_no_rules_costs_no_more_than_its_bounds(
        moves in prop::collection::vec((0..CONNECTIONS, 0..40u8, hostile()), 0..300),
        immediate_max in 1..4u32,
        error_recovery_level in 0..3u8,
        task_reporting in prop::sample::select(vec![
            TaskReporting::Rfc3720, TaskReporting::ResponseFence, TaskReporting::FastAbort,
        ]),
    ) {
        let cids: Vec<Cid> = (0..CONNECTIONS).map(|number| Cid(CID.0 + number)).collect();
        let parameters = Parameters { error_recovery_level, task_reporting, ..parameters() };
        let mut ladder = Ladder::start(outcome(parameters), SessionConfig { immediate_max, ..config() });
        for cid in &cids[1..] {
            ladder.add(*cid);
        }
        let mut owner = Owner::default();
        for (number, (on, what, hostile)) in moves.into_iter().enumerate() {
            let cid = cids[usize::from(on)];
            match what {
                0 => ladder.lose(cid),
                1..3 if ladder.session.admission(cid) == LoginStatus::Success => ladder.add(cid),
                _ => hostile.happen(ladder.on(cid)),
            }
            owner.take(&mut ladder.session, false);
            let bound = 8 + usize::from(CONNECTIONS) * immediate_max as usize;
            prop_assert!(ladder.session.tasks() <= bound);
            prop_assert!(owner.functions.len() <= 2 * bound, "functions of connections that have ended among them");
            if number % 3 == 0 {
                owner.complete(&mut ladder.session, number, good_read(2000));
            }
            if number % 5 == 0 {
                owner.answer_requests(&mut ladder.session);
            }
            owner.take(&mut ladder.session, false);
            if number % 2 == 0 {
                while ladder.session.poll_transmit(cid).is_some() {}
            }
        }
        ladder.session.terminate();
        owner.take(&mut ladder.session, false);
        for cid in cids {
            ladder.lose(cid);
            prop_assert!(ladder.session.poll_transmit(cid).is_none());
            prop_assert_eq!(ladder.session.data_in_bytes(cid), 0);
        }
        prop_assert_eq!(owner.closed, 1);
        prop_assert_eq!(owner.begun, owner.ended);
        prop_assert_eq!(ladder.session.tasks(), 0);
        prop_assert!(ladder.session.poll_timeout().is_none());
    }
}
