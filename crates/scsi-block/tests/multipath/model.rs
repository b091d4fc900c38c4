//! Random changes of states by initiators and the owner, resets and power cuts, against a few lines that say what must come of them.

use proptest::prelude::*;
use scsi_block::access::SetAccessList;
use scsi_block::sense::{AdditionalSense, Sense, SenseKey};

use super::*;

/// The port of each nexus, and the place of its group.
const WAYS: [(u16, usize); 4] = [(1, 0), (2, 0), (3, 1), (3, 1)];
const GROUPS: [u16; 2] = [10, 20];
const STATES: [AccessState; 4] =
    [AccessState::ActiveOptimized, AccessState::ActiveNonOptimized, AccessState::Standby, AccessState::Unavailable];

#[derive(Clone, Debug)]
enum Step {
    Set { who: usize, changes: Vec<(usize, usize)> },
    Owner { group: usize, state: usize },
    Read { who: usize },
    Report { who: usize },
    PowerCut,
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..WAYS.len();
    let change = (0..GROUPS.len() + 1, 0..STATES.len());
    prop_oneof![
        3 => (who(), prop::collection::vec(change, 0..3)).prop_map(|(who, changes)| Step::Set { who, changes }),
        2 => (0..GROUPS.len(), 0..STATES.len() + 1).prop_map(|(group, state)| Step::Owner { group, state }),
        4 => who().prop_map(|who| Step::Read { who }),
        2 => who().prop_map(|who| Step::Report { who }),
        1 => Just(Step::PowerCut),
    ]
}

/// What a command comes to.
#[derive(Debug, PartialEq)]
enum Answer {
    Good,
    Attention(u16),
    NotReady(u16),
    Refused,
}

struct World {
    device: Arc<TargetDevice>,
    nexuses: Vec<Nexus>,
    kept: Kept,
}

fn world(kept: Kept) -> World {
    let device = device_of([LogicalUnitConfig { kept: Some(kept.clone()), ..config("a") }]);
    let nexuses =
        WAYS.iter().zip(0..).map(|((port, _), host)| settled_through(&device, *port, &format!("iqn.a:{host}")));
    World { nexuses: nexuses.collect(), kept, device }
}

impl World {
    fn run(&mut self, who: usize, cdb: &Cdb, list: &[u8]) -> (Answer, Outcome) {
        let kept = std::cell::RefCell::new(&mut self.kept);
        let outcome = run_with(&mut self.nexuses[who], &Command::new(lun(0), cdb.as_bytes()), list, |_, request| {
            Ok(match request {
                BlockIo::Keep(Record { name, content, .. }) => {
                    kept.borrow_mut().insert((*name).to_owned(), content.clone());
                    IoOutput::Done
                }
                _ => IoOutput::Data(vec![0; 512].into()),
            })
        });
        let answer = match Sense::decode(&outcome.sense) {
            Err(_) => Answer::Good,
            Ok(Sense { key: SenseKey::UnitAttention, additional, .. }) => Answer::Attention(additional.code()),
            Ok(Sense { key: SenseKey::NotReady, additional, .. }) => Answer::NotReady(additional.code()),
            Ok(_) => Answer::Refused,
        };
        (answer, outcome)
    }
}

/// The states of both groups, and who is to be told of a change.
#[derive(Default)]
struct Model {
    states: [u8; 2],
    /// Those in transition come back as they were configured.
    kept: [u8; 2],
    told: [bool; WAYS.len()],
}

impl Model {
    fn change(&mut self, changes: &[(usize, u8)], by: Option<usize>) {
        let before = self.states;
        changes.iter().for_each(|(group, state)| self.states[*group] = *state);
        self.kept = self.states.map(|state| if state == 0xf { 0 } else { state });
        if self.states != before {
            (0..WAYS.len()).filter(|who| Some(*who) != by).for_each(|who| self.told[who] = true);
        }
    }

    /// What a command comes to that works in these states.
    fn answer(&mut self, who: usize, works_in: &[u8]) -> Answer {
        let state = self.states[WAYS[who].1];
        match std::mem::take(&mut self.told[who]) {
            true => Answer::Attention(AdditionalSense::ASYMMETRIC_ACCESS_STATE_CHANGED.code()),
            false if works_in.contains(&state) => Answer::Good,
            false => Answer::NotReady(match state {
                2 => 0x040b,
                3 => 0x040c,
                _ => 0x040a,
            }),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn states_are_what_was_asked_for_last(steps in prop::collection::vec(step(), 1..40)) {
        let (mut world, mut model) = (world(Kept::new()), Model::default());
        for step in steps {
            match step {
                Step::Set { who, changes } => {
                    // One group more than there are.
                    let number = |group: usize| GROUPS.get(group).copied().unwrap_or(30);
                    let list: Vec<_> = changes.iter().map(|(group, state)| (number(*group), STATES[*state])).collect();
                    let list = SetAccessList(list).encode();
                    let mut expected = model.answer(who, &[0, 1, 2, 3]);
                    let mut groups: Vec<usize> = changes.iter().map(|(group, _)| *group).collect();
                    groups.sort_unstable();
                    if expected == Answer::Good {
                        let is_right = groups.windows(2).all(|pair| pair[0] != pair[1]) && !groups.contains(&2);
                        let changes: Vec<_> = changes.iter().map(|(group, state)| (*group, *state as u8)).collect();
                        match is_right {
                            true => model.change(&changes, Some(who)),
                            false => expected = Answer::Refused,
                        }
                    }
                    let cdb = Cdb::set_target_port_groups(list.len() as u32);
                    prop_assert_eq!(world.run(who, &cdb, &list).0, expected);
                }
                Step::Owner { group, state } => {
                    let state = STATES.get(state).copied().unwrap_or(AccessState::Transitioning);
                    model.change(&[(group, state.code())], None);
                    let request = world.device.set_access(0, GROUPS[group], state);
                    let Ok(Some(BlockIo::Keep(record))) = request else { panic!("{request:?}") };
                    world.kept.insert(record.name.to_owned(), record.content);
                }
                Step::Read { who } => {
                    let expected = model.answer(who, &[0, 1]);
                    prop_assert_eq!(world.run(who, &Cdb::read_10(0, 1), &[]).0, expected);
                }
                Step::Report { who } => {
                    let expected = model.answer(who, &[0, 1, 2, 3, 0xf]);
                    let (answer, outcome) = world.run(who, &Cdb::report_target_port_groups(false, 4096), &[]);
                    prop_assert_eq!(&answer, &expected);
                    if answer == Answer::Good {
                        let report = AccessReport::decode(&outcome.data_in).unwrap();
                        let states: Vec<u8> = report.groups.iter().map(|group| group.state).collect();
                        prop_assert_eq!(states, model.states);
                    }
                }
                Step::PowerCut => {
                    world = self::world(std::mem::take(&mut world.kept));
                    model = Model { states: model.kept, kept: model.kept, ..Model::default() };
                }
            }
        }
    }
}
