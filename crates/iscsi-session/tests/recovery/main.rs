//! Both ends of a session over wires that lose PDUs, spoil data and break, at each error recovery level: whatever happens within
//! what a level recovers from, every command ends once, and the data that is read is the data that was written.

mod device;
mod host;
#[path = "../support/mod.rs"]
mod support;
mod wires;

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
    /// How many there were, by what they were about.
    faults: HashMap<wires::Subject, u32>,
    lost: u32,
    /// R-Data SNACKs that were sent.
    cut_anew: u32,
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
            faults: HashMap::new(),
            lost: 0,
            cut_anew: 0,
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

// RFC 7143 11.16.3-1
/// Tasks that go on on a connection with other segments are cut anew where something is missing, and read what was written.
#[test]
fn reads_are_cut_anew_where_segments_have_changed() {
    let worlds = (0..40).map(|seed| {
        let parameters = Parameters { max_connections: 4, error_recovery_level: 2, ..Parameters::default() };
        let mut world = World::new(parameters, 3, seed);
        world.run();
        assert_eq!((world.closed, world.lost), (None, 0));
        world.cut_anew
    });
    assert!(worlds.sum::<u32>() > 0);
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
