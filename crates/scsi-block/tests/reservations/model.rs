//! Random service actions of several nexuses, against rules written out by hand: the same statuses, registrations, reservation, unit
//! attentions, and the same answers to READ and WRITE.

use std::sync::Arc;

use crate::LUN;
use bytes::Bytes;
use proptest::prelude::*;
use scsi_block::cdb::Cdb;
use scsi_block::reservations::{CurrentReservation, Keys, OutAction, OutList, ReservationType};
use scsi_block::sense::Sense;
use scsi_block::*;

const HOSTS: usize = 4;

const PREEMPTED: u16 = 0x2a03;
const RELEASED: u16 = 0x2a04;
const UNREGISTERED: u16 = 0x2a05;

/// By type: what the holder may do, what others who are registered may, and what the rest may. SPC-5 table 68.
const TABLE: [(u8, [&str; 3]); 6] = [
    (1, ["rw", "r", "r"]),
    (3, ["rw", "", ""]),
    (5, ["rw", "rw", "r"]),
    (6, ["rw", "rw", ""]),
    (7, ["rw", "rw", "r"]),
    (8, ["rw", "rw", ""]),
];

#[derive(Clone, Debug)]
struct Step {
    host: usize,
    action: OutAction,
    key: u64,
    action_key: u64,
    kind: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Good,
    Conflict,
    Check,
}

#[derive(Default)]
struct Model {
    /// Zero is not registered.
    keys: [u64; HOSTS],
    /// The type, and the host that holds it unless all who are registered do.
    held: Option<(u8, usize)>,
    generation: u32,
    attentions: [Vec<u16>; HOSTS],
}

impl Model {
    fn holds(&self, host: usize) -> bool {
        match self.held {
            Some((7 | 8, _)) => self.keys[host] != 0,
            Some((_, holder)) => holder == host,
            None => false,
        }
    }

    fn tell(&mut self, who: impl Fn(usize) -> bool, code: u16) {
        for host in (0..HOSTS).filter(|host| who(*host)) {
            if !self.attentions[host].contains(&code) {
                self.attentions[host].push(code);
            }
        }
    }

    fn step(&mut self, step: &Step) -> Answer {
        let Step { host, action, key, action_key, kind } = *step;
        let kind = TABLE[kind].0;
        let own = self.keys[host];
        let answer = match action {
            OutAction::Register | OutAction::RegisterAndIgnoreExistingKey => {
                if action == OutAction::Register && key != own {
                    return Answer::Conflict;
                }
                if (own, action_key) == (0, 0) {
                    return Answer::Good;
                }
                self.keys[host] = action_key;
                if action_key == 0 {
                    self.leave(host);
                }
                Answer::Good
            }
            _ if own == 0 || key != own => return Answer::Conflict,
            OutAction::Reserve => {
                return match self.held {
                    None => {
                        self.held = Some((kind, host));
                        Answer::Good
                    }
                    Some((held, _)) if held == kind && self.holds(host) => Answer::Good,
                    Some(_) => Answer::Conflict,
                };
            }
            OutAction::Release => {
                if !self.holds(host) {
                    return Answer::Good;
                }
                let held = self.held.unwrap().0;
                if held != kind {
                    return Answer::Check;
                }
                self.held = None;
                if held > 3 {
                    let keys = self.keys;
                    self.tell(|other| other != host && keys[other] != 0, RELEASED);
                }
                return Answer::Good;
            }
            OutAction::Clear => {
                let keys = std::mem::take(&mut self.keys);
                self.held = None;
                self.tell(|other| other != host && keys[other] != 0, PREEMPTED);
                Answer::Good
            }
            _ => self.preempt(host, action_key, kind),
        };
        if answer == Answer::Good {
            self.generation += 1;
        }
        answer
    }

    /// A registration was taken back.
    fn leave(&mut self, host: usize) {
        let keys = self.keys;
        match self.held {
            Some((7 | 8, _)) if keys == [0; HOSTS] => self.held = None,
            Some((kind @ 1..=6, holder)) if holder == host => {
                self.held = None;
                if kind > 3 {
                    self.tell(|other| keys[other] != 0, RELEASED);
                }
            }
            _ => {}
        }
    }

    fn preempt(&mut self, host: usize, victim: u64, kind: u8) -> Answer {
        let keys = self.keys;
        let of_all = matches!(self.held, Some((7 | 8, _)));
        let takes = match self.held {
            Some((7 | 8, _)) => victim == 0,
            Some((_, holder)) => victim != 0 && keys[holder] == victim,
            None => false,
        };
        if victim == 0 && !takes {
            return Answer::Check;
        }
        let is_victim = |other: usize| keys[other] != 0 && (keys[other] == victim || takes && of_all);
        if !takes && !(0..HOSTS).any(is_victim) {
            return Answer::Conflict;
        }
        for other in (0..HOSTS).filter(|other| is_victim(*other) && !(takes && *other == host)) {
            self.keys[other] = 0;
        }
        self.tell(|other| other != host && is_victim(other), UNREGISTERED);
        if takes {
            let before = self.held.replace((kind, host)).unwrap().0;
            if before != kind {
                self.tell(|other| other != host && keys[other] != 0 && !is_victim(other), RELEASED);
            }
        } else if of_all && self.keys == [0; HOSTS] {
            self.held = None;
        }
        Answer::Good
    }

    fn may(&self, host: usize, what: char) -> bool {
        let Some((kind, _)) = self.held else { return true };
        let who = if self.holds(host) { 0 } else { 1 + usize::from(self.keys[host] == 0) };
        TABLE.iter().find(|(row, _)| *row == kind).unwrap().1[who].contains(what)
    }
}

fn run(nexus: &mut Nexus, cdb: &Cdb, data: Vec<u8>) -> Outcome {
    let mut task = match nexus.begin(LUN, cdb.as_bytes()) {
        Begin::Done(outcome) => return outcome,
        Begin::Task(task) => task,
    };
    let data = [Bytes::from(data)].into_iter().collect();
    let output = match nexus.start(&mut task, data) {
        scsi_block::Step::Done(outcome) => return outcome,
        scsi_block::Step::Io(BlockIo::Read(_)) => IoOutput::Data(Bytes::from_static(&[0; 512])),
        scsi_block::Step::Io(_) => IoOutput::Done,
        other => panic!("{other:?}"),
    };
    match nexus.resume(&mut task, Ok(output)) {
        scsi_block::Step::Done(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

fn attentions(nexus: &mut Nexus) -> Vec<u16> {
    let next = || {
        let outcome = run(nexus, &Cdb::test_unit_ready(), Vec::new());
        (outcome.status == Status::CheckCondition).then(|| Sense::decode(&outcome.sense).unwrap().additional.code())
    };
    std::iter::from_fn(next).collect()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use OutAction::*;
    let action = prop_oneof![
        4 => Just(RegisterAndIgnoreExistingKey),
        2 => Just(Register),
        4 => Just(Reserve),
        2 => Just(Release),
        1 => Just(Clear),
        3 => Just(Preempt),
        2 => Just(PreemptAndAbort),
    ];
    // Hosts mostly use the key that they have first, which is their own number and one more.
    let key = prop_oneof![3 => Just(None), 1 => (0u64..4).prop_map(Some)];
    let step = (0..HOSTS, action, key, 0u64..5, 0..TABLE.len()).prop_map(|(host, action, key, action_key, kind)| {
        Step { host, action, key: key.unwrap_or(u64::MAX), action_key, kind }
    });
    prop::collection::vec(step, 1..60)
}

proptest! {
    #[test]
    fn the_unit_does_what_the_rules_say(steps in steps()) {
        let config = LogicalUnitConfig::new(Geometry { block_size: 512, blocks: 64 }, "serial");
        let device = Arc::new(TargetDevice::new([(LUN, config)]).unwrap());
        let mut hosts: Vec<Nexus> = (0..HOSTS).map(|host| device.connect(format!("host-{host}").as_str())).collect();
        hosts.iter_mut().for_each(|host| drop(attentions(host)));
        let mut model = Model::default();
        for mut step in steps {
            // The greatest number stands for the key that the host has.
            if step.key == u64::MAX {
                step.key = model.keys[step.host];
            }
            let list = OutList { key: step.key, action_key: step.action_key, ..OutList::default() };
            let kind = ReservationType::from_code(TABLE[step.kind].0);
            let outcome = run(&mut hosts[step.host], &Cdb::persist_out(step.action, kind, 24), list.encode());
            let answer = match outcome.status {
                Status::Good => Answer::Good,
                Status::ReservationConflict => Answer::Conflict,
                _ => Answer::Check,
            };
            prop_assert_eq!(answer, model.step(&step), "{:?}", step);
            for (host, nexus) in hosts.iter_mut().enumerate() {
                prop_assert_eq!(attentions(nexus), std::mem::take(&mut model.attentions[host]), "{:?}: {}", step, host);
                let allowed = |outcome: Outcome| outcome.status == Status::Good;
                prop_assert_eq!(allowed(run(nexus, &Cdb::read_10(0, 1), Vec::new())), model.may(host, 'r'));
                prop_assert_eq!(allowed(run(nexus, &Cdb::write_10(0, 1), vec![0; 512])), model.may(host, 'w'));
            }
            let keys = Keys::decode(&run(&mut hosts[0], &Cdb::persist_read_keys(64), Vec::new()).data_in).unwrap();
            let registered: Vec<u64> = model.keys.into_iter().filter(|key| *key != 0).collect();
            prop_assert_eq!(keys, Keys { generation: model.generation, keys: registered });
            let current = run(&mut hosts[0], &Cdb::persist_read_reservation(64), Vec::new()).data_in;
            let current = CurrentReservation::decode(&current).unwrap().reservation;
            let expected = model.held.map(|(kind, holder)| (if kind > 6 { 0 } else { model.keys[holder] }, kind));
            prop_assert_eq!(current.map(|(key, kind)| (key, kind.code())), expected);
        }
    }
}
