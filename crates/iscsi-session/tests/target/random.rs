//! Anything at all: initiators that keep the rules in any order, and ones that keep none.

mod hostile;
mod owner;

pub(crate) use hostile::hostile;
pub(crate) use owner::Owner;

use super::ladder::*;
use iscsi_pdu::*;
use iscsi_session::target::{Event, RequestId, Session, SessionConfig, TaskId, TaskOutcome};
use iscsi_session::{BadPdu, LoginOutcome, Parameters};
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};

/// A step of an initiator that keeps the rules, or of the owner.
#[derive(Clone, Debug)]
enum Step {
    Read(u32),
    Write { length: u32, immediate: u32, unsolicited: bool },
    Immediate,
    Ping,
    AnswerR2ts,
    Abort(u8),
    AbortSet(u8),
    Transmit(u8),
    Complete(u8, bool),
    Discard(u8),
    AnswerFunctions,
    Want(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5000u32).prop_map(Step::Read),
        6 => (0..9000u32, 0..3000u32, any::<bool>())
            .prop_map(|(length, immediate, unsolicited)| Step::Write { length, immediate, unsolicited }),
        1 => Just(Step::Immediate),
        1 => Just(Step::Ping),
        6 => Just(Step::AnswerR2ts),
        1 => any::<u8>().prop_map(Step::Abort),
        1 => any::<u8>().prop_map(Step::AbortSet),
        6 => any::<u8>().prop_map(Step::Transmit),
        6 => (any::<u8>(), any::<bool>()).prop_map(|(which, good)| Step::Complete(which, good)),
        1 => any::<u8>().prop_map(Step::Discard),
        2 => Just(Step::AnswerFunctions),
        3 => any::<u8>().prop_map(Step::Want),
    ]
}

/// The initiator's side of [`Step`]s.
struct World {
    ladder: Ladder,
    owner: Owner,
    lazy: bool,
    next_tag: u32,
    sent_commands: Vec<(u32, CmdSn)>,
    r2ts: Vec<R2t>,
    answered: HashSet<u32>,
}

impl World {
    fn new(lazy: bool, start: u32) -> Self {
        let parameters = Parameters {
            initial_r2t: false,
            first_burst_bytes_max: 2048,
            burst_bytes_max: 3000,
            outstanding_r2t_max: 3,
            send_segment_bytes_max: 1024,
            ..Parameters::default()
        };
        let login = LoginOutcome {
            cmd_sn: CmdSn(start),
            max_cmd_sn: CmdSn(start.wrapping_add(7)),
            stat_sn: StatSn(start),
            ..outcome(parameters)
        };
        Self {
            ladder: Ladder::start(login, config()),
            owner: Owner::default(),
            lazy,
            next_tag: 1,
            sent_commands: Vec::new(),
            r2ts: Vec::new(),
            answered: HashSet::new(),
        }
    }

    fn tag(&mut self) -> u32 {
        self.next_tag += 1;
        self.next_tag
    }

    fn has_room(&self) -> bool {
        !self.ladder.window.1.precedes(self.ladder.cmd_sn)
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Read(length) if self.has_room() => {
                let tag = self.tag();
                self.sent_commands.push((tag, self.ladder.cmd_sn));
                self.ladder.i(read(tag, length));
            }
            Step::Write { length, immediate, unsolicited } if self.has_room() => {
                self.write(length, immediate, unsolicited)
            }
            Step::Read(_) | Step::Write { .. } => {}
            Step::Immediate => {
                let tag = self.tag();
                self.ladder.i(ScsiCommand { immediate: true, ..read(tag, 0) });
            }
            Step::Ping => {
                let tag = self.tag();
                self.ladder.i(NopOut { immediate: true, ..nop_out(tag, "x") });
            }
            Step::AnswerR2ts => self.answer_r2ts(),
            Step::Abort(which) => {
                if let Some((tag, cmd_sn)) = self.pick(which) {
                    let request = TaskManagementRequest {
                        referenced_task_tag: Some(itt(tag)),
                        ref_cmd_sn: cmd_sn,
                        ..manage(self.tag(), TaskManagementFunction::AbortTask)
                    };
                    self.ladder.i(request);
                }
            }
            Step::AbortSet(which) => {
                let function = [
                    TaskManagementFunction::AbortTaskSet,
                    TaskManagementFunction::LogicalUnitReset,
                    TaskManagementFunction::TargetWarmReset,
                ][usize::from(which) % 3];
                let request = manage(self.tag(), function);
                self.ladder.i(request);
            }
            Step::Transmit(count) => self.transmit(count.into()),
            Step::Complete(which, true) => self.owner.complete(&mut self.ladder.session, which.into(), good_read(3000)),
            Step::Complete(which, false) => {
                self.owner.complete(&mut self.ladder.session, which.into(), check_condition())
            }
            Step::Discard(which) => {
                if let Some((task, ..)) = self.owner.open.get(usize::from(which)).copied() {
                    self.ladder.session.discard(task);
                    self.owner.end(task);
                }
            }
            Step::AnswerFunctions => {
                for id in std::mem::take(&mut self.owner.functions) {
                    self.ladder.session.answer_task_management(id, TaskManagementResponseCode::FunctionComplete);
                }
            }
            Step::Want(which) => {
                let wanting = self.owner.open.get(usize::from(which) % self.owner.open.len().max(1)).copied();
                if let Some((task, length, true)) = wanting
                    && self.lazy
                    && !self.owner.complete.contains(&task)
                    && self.answered.insert(task.index() as u32 | 1 << 31)
                {
                    self.owner.want(&mut self.ladder.session, task, length);
                }
            }
        }
        self.owner.take(&mut self.ladder.session, self.lazy);
        if !self.lazy {
            self.owner.check_written();
        }
    }

    fn write(&mut self, length: u32, immediate: u32, unsolicited: bool) {
        let tag = self.tag();
        self.sent_commands.push((tag, self.ladder.cmd_sn));
        let immediate = immediate.min(length).min(2048);
        let burst = length.min(2048);
        let more = unsolicited && immediate < burst;
        let pdu = write_immediate(tag, length, immediate as usize);
        self.ladder.i(ScsiCommand { is_final: !more, ..pdu });
        if more {
            let middle = immediate + (burst - immediate) / 2;
            self.ladder.i(data_out(tag, false, 0, immediate, (middle - immediate) as usize, false));
            self.ladder.i(data_out(tag, false, 1, middle, (burst - middle) as usize, true));
        }
    }

    fn answer_r2ts(&mut self) {
        for r2t in std::mem::take(&mut self.r2ts) {
            let half = r2t.desired_data_transfer_length / 2;
            let rest = r2t.desired_data_transfer_length - half;
            let tag = r2t.initiator_task_tag.0;
            for (sn, offset, length) in [(0, r2t.buffer_offset, half), (1, r2t.buffer_offset + half, rest)] {
                let pdu = data_out(tag, true, sn, offset, length as usize, sn == 1);
                self.ladder.i(DataOut { target_transfer_tag: Some(r2t.target_transfer_tag), ..pdu });
            }
        }
    }

    fn pick(&self, which: u8) -> Option<(u32, CmdSn)> {
        self.sent_commands.get(usize::from(which) % self.sent_commands.len().max(1)).copied()
    }

    fn transmit(&mut self, count: usize) {
        for _ in 0..count {
            let Some(pdu) = self.ladder.session.poll_transmit(CID) else { return };
            let (stat_sn, advances, exp_cmd_sn, max_cmd_sn) = numbers_of(&pdu);
            if let Some(stat_sn) = stat_sn {
                assert_eq!(stat_sn, self.ladder.exp_stat_sn, "statuses leave in order");
                self.ladder.exp_stat_sn = if advances { stat_sn.next() } else { stat_sn };
            }
            assert!(!exp_cmd_sn.precedes(self.ladder.window.0) && !max_cmd_sn.precedes(self.ladder.window.1));
            assert!(exp_cmd_sn.distance_to(max_cmd_sn) < 8, "the window is no wider than configured");
            self.ladder.window = (exp_cmd_sn, max_cmd_sn);
            match pdu {
                Pdu::R2t(r2t) => self.r2ts.push(r2t),
                Pdu::Reject(reject) => assert_eq!(reject.reason, RejectReason::TooManyImmediateCommands, "{reject:?}"),
                Pdu::NopIn(NopIn { target_transfer_tag: tag @ Some(_), .. }) => {
                    self.ladder.i(NopOut { immediate: true, target_transfer_tag: tag, ..NopOut::default() });
                }
                _ => {}
            }
        }
    }

    /// Everything that is open comes to its end.
    fn finish(&mut self) {
        for _ in 0..40 {
            self.step(&Step::AnswerFunctions);
            self.transmit(1000);
            self.step(&Step::AnswerR2ts);
            while !self.owner.open.is_empty() {
                self.step(&Step::Complete(0, true));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn an_initiator_that_keeps_the_rules_is_served(
        steps in prop::collection::vec(step(), 0..120),
        lazy: bool,
        start in prop_oneof![Just(1u32), (0..16u32).prop_map(|before| u32::MAX - before)],
    ) {
        let mut world = World::new(lazy, start);
        for step in &steps {
            world.step(step);
        }
        world.finish();
        prop_assert_eq!(world.owner.closed, 0, "the session lives");
        prop_assert_eq!(world.owner.begun, world.owner.ended);
        prop_assert_eq!(world.ladder.session.tasks(), 0);
        prop_assert_eq!(world.ladder.session.data_in_bytes(CID), 0);
        prop_assert_eq!(world.ladder.window, (world.ladder.cmd_sn, world.ladder.cmd_sn.advanced_by(7)), "the window is whole");
    }

    #[test]
    fn an_initiator_that_keeps_none_costs_no_more_than_its_bounds(
        moves in prop::collection::vec(hostile(), 0..300),
        immediate_max in 1..4u32,
        error_recovery_level in 0..3u8,
        data_pdu_in_order: bool,
        transmits: bool,
    ) {
        let parameters = Parameters { initial_r2t: false, burst_bytes_max: 1024, first_burst_bytes_max: 1024,
            outstanding_r2t_max: 2, send_segment_bytes_max: 512, error_recovery_level, data_pdu_in_order, protocol_level: 2,
            ..Parameters::default() };
        let mut ladder = Ladder::start(outcome(parameters), SessionConfig { immediate_max, ..config() });
        let mut owner = Owner::default();
        for (number, hostile) in moves.into_iter().enumerate() {
            hostile.happen(&mut ladder);
            owner.take(&mut ladder.session, false);
            prop_assert!(ladder.session.tasks() <= 8 + immediate_max as usize);
            prop_assert!(owner.functions.len() <= 8 + immediate_max as usize);
            if number % 3 == 0 {
                owner.complete(&mut ladder.session, number, good_read(2000));
            }
            if number % 5 == 0 {
                owner.answer_requests(&mut ladder.session);
            }
            owner.take(&mut ladder.session, false);
            if transmits {
                while let Some(pdu) = ladder.session.poll_transmit(CID) {
                    let frame = pdu.clone().encode();
                    prop_assert_eq!(Pdu::decode(frame.clone()), Ok(pdu), "all that is sent means something");
                }
            }
        }
        ladder.session.handle_connection_lost(ladder.now, CID);
        // At level 2 it waits for another connection.
        for _ in 0..23 {
            ladder.pass(1);
        }
        owner.take(&mut ladder.session, false);
        prop_assert_eq!(owner.closed, 1);
        prop_assert_eq!(owner.begun, owner.ended);
        prop_assert_eq!(ladder.session.tasks(), 0);
        prop_assert!(ladder.session.poll_transmit(CID).is_none());
        prop_assert!(ladder.session.poll_timeout().is_none());
    }
}
