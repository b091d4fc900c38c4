//! Sessions and commands as their driver wants them.

use crate::world::*;
use bytes::Bytes;
use iscsi_session::{Authentication, ChapAlgorithm, Credential, Secret};
use proptest::prelude::*;
use std::time::Duration;
use t5_hal::driver::DriverError;
use t5_hal::driver::initiator::*;
use t5_hal::wire::*;

fn wanted(node: u16) -> SessionRequest {
    SessionRequest::new(node, TARGET, PORTAL)
}

fn with_digests(node: u16) -> SessionRequest {
    SessionRequest { header_digest: FoiscsiDigest::Crc32, data_digest: FoiscsiDigest::Crc32, ..wanted(node) }
}

/// All bytes of the initiator's memory that data may be placed in.
fn buffers(world: &World) -> Vec<u8> {
    let mut bytes = vec![0; (world.memory.end() - world.memory.buffers()) as usize];
    world.memory.read(world.memory.buffers(), &mut bytes).unwrap();
    bytes
}

#[test]
fn what_is_read_is_where_it_should_be_and_nowhere_else() {
    for digests in [false, true] {
        let mut world = World::new();
        let node = world.node();
        let session = world.session(&if digests { with_digests(node) } else { wanted(node) });
        for (lba, blocks) in [(0, 1), (3, 9), (100, 128), (77, 2048), (16383, 1)] {
            let before = buffers(&world);
            let id = world.initiator.read(session, &read(lba, blocks), (blocks * BLOCK) as u32).unwrap();
            let completion = world.completed(id);
            assert_eq!((completion.code, completion.underflow_bytes), (ReturnCode::Success, 0));
            assert_eq!(completion.data, world.disk[lba * BLOCK..(lba + blocks) * BLOCK]);
            // It is lent where the adapter has put it, and all else is as it was.
            let at = world.memory.locate(&completion.data).expect("no copy") - world.memory.buffers();
            let mut expected = before;
            expected[at as usize..][..completion.data.len()].copy_from_slice(&completion.data);
            assert!(buffers(&world) == expected, "{blocks} blocks at {lba}");
        }
        assert_eq!(
            (world.adapter.take_fault(FunctionId::physical(4)), world.adapter.take_fault(FunctionId::physical(5))),
            (None, None)
        );
        let counted = world.adapter.iscsi_counters();
        assert_eq!(
            (counted.digests_checked > 5, counted.digests_inserted > 5),
            (digests, digests),
            "as was agreed upon"
        );
    }
}

#[test]
fn what_is_written_is_on_the_disk_and_nothing_else_changes() {
    for digests in [false, true] {
        let mut world = World::new();
        let node = world.node();
        let session = world.session(&if digests { with_digests(node) } else { wanted(node) });
        for (lba, blocks) in [(0, 1), (5, 7), (200, 300), (1000, 2048)] {
            let data: Vec<u8> = (0..blocks * BLOCK).map(|at| (at * 31 + lba) as u8).collect();
            let mut expected = world.disk.clone();
            expected[lba * BLOCK..(lba + blocks) * BLOCK].copy_from_slice(&data);
            let id = world.initiator.write(session, &write(lba, blocks), data.into()).unwrap();
            assert_eq!(world.completed(id).code, ReturnCode::Success);
            assert!(world.disk == expected, "{blocks} blocks at {lba}");
        }
        // What was read is written from where it is.
        let id = world.initiator.read(session, &read(1000, 64), 64 * 512).unwrap();
        let data = world.completed(id).data;
        let id = world.initiator.write(session, &write(4000, 64), data.clone()).unwrap();
        assert_eq!(world.completed(id).code, ReturnCode::Success);
        assert_eq!(world.disk[4000 * BLOCK..4064 * BLOCK], data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Many commands at once, in any order, of several sessions.
    #[test]
    fn random_commands_give_what_a_disk_gives(
        commands in prop::collection::vec((any::<bool>(), 0..200usize, 1..65usize, 0..2usize), 1..60),
        digests: bool,
        initial_r2t: bool,
        immediate_data: bool,
        first_burst in prop::sample::select(vec![512, 4096, 65536]),
    ) {
        let mut world = World::new();
        let node = world.node();
        let wanted = if digests { with_digests(node) } else { wanted(node) };
        let wanted = SessionRequest { initial_r2t, immediate_data, first_burst_bytes: first_burst, burst_bytes_max: 65536, ..wanted };
        let sessions = [world.session(&wanted), world.session(&wanted)];
        let mut expected = world.disk.clone();
        // Writes go to places of their own, so that their order does not matter; reads are of what nobody writes.
        let mut reads = Vec::new();
        for (number, (is_write, lba, blocks, session)) in commands.into_iter().enumerate() {
            if is_write {
                let lba = 1024 + number * 64;
                let data = vec![number as u8; blocks * BLOCK];
                expected[lba * BLOCK..(lba + blocks) * BLOCK].copy_from_slice(&data);
                world.initiator.write(sessions[session], &write(lba, blocks), data.into()).unwrap();
            } else {
                let bytes = (blocks * BLOCK) as u32;
                reads.push((world.initiator.read(sessions[session], &read(lba, blocks), bytes).unwrap(), lba, blocks));
            }
        }
        while world.initiator.pending_count() > 2 || world.has_event() {
            let InitiatorEvent::Completed { command, completion } = world.wait() else { panic!("another event") };
            prop_assert_eq!(completion.code, ReturnCode::Success);
            if let Some(&(_, lba, blocks)) = reads.iter().find(|(id, ..)| *id == command) {
                prop_assert_eq!(&completion.data[..], &expected[lba * BLOCK..(lba + blocks) * BLOCK]);
            }
        }
        prop_assert!(world.disk == expected);
    }
}

#[test]
fn a_session_ends_by_a_logout_and_another_begins() {
    let mut world = World::new();
    let node = world.node();
    for _ in 0..3 {
        let session = world.session(&wanted(node));
        world.initiator.log_out(session).unwrap();
        let ended = InitiatorEvent::Ended { session, state: FoiscsiState::Free, code: ReturnCode::Success };
        assert_eq!(world.wait(), ended);
        // TCP remembers a closed connection for a while.
        world.pass(Duration::from_secs(30));
        assert_eq!((world.initiator.pending_count(), world.adapter.connections()), (0, 0));
        assert!(matches!(world.initiator.command(session, &ScsiRequest::default()), Err(DriverError::Exhausted(_))));
    }
    let session = world.session(&wanted(node));
    let request = world.initiator.remove_node(node).unwrap();
    assert_eq!(world.done(request), Err(ReturnCode::Busy));
    world.initiator.log_out(session).unwrap();
    world.wait();
    world.turns(200);
    let request = world.initiator.remove_node(node).unwrap();
    assert_eq!(world.done(request), Ok(node));
    assert_eq!(world.log_in(&wanted(node)), Err((FoiscsiState::Failed, ReturnCode::NoEntry)));
}

// RFC 7143 10.1.1-1
#[test]
fn a_session_that_was_lost_comes_back_with_its_isid_and_no_two_share_one() {
    let isid = |number| [0x80, 0x12, 0x34, 0, 0, number];
    let mut world = World::new();
    let node = world.node();
    let sessions: Vec<RequestId> = (0..3).map(|_| world.session(&wanted(node))).collect();
    assert_eq!(world.isids(), [isid(0), isid(1), isid(2)]);
    // One in the middle is lost, and comes back as it was, whatever the target's name is spelled like.
    world.end_session(isid(1));
    assert!(matches!(world.wait(), InitiatorEvent::Ended { session, .. } if session == sessions[1]));
    world.session(&SessionRequest { target_name: TARGET.to_uppercase(), ..wanted(node) });
    assert_eq!(world.isids(), [isid(0), isid(2), isid(1)]);
    // A node of the same name has none that the first one's sessions have; one with another part in its ISIDs has its own.
    let (double, other) = (world.another_node(&NODE.to_uppercase(), 0x1234), world.another_node(NODE, 0x1235));
    world.session(&wanted(double));
    world.session(&wanted(other));
    assert_eq!(world.isids()[3..], [isid(3), [0x80, 0x12, 0x35, 0, 0, 0]]);
    // A session that its driver has ended leaves its place to the next.
    world.initiator.log_out(sessions[0]).unwrap();
    world.wait();
    world.session(&wanted(double));
    assert_eq!(world.isids()[4..], [isid(0)]);
}

fn credential(name: &str, secret: &str) -> Credential {
    Credential { name: name.into(), secret: Secret::new(secret).unwrap() }
}

#[test]
fn nodes_prove_who_they_are_and_have_targets_prove_it() {
    let (alice, disk) = (("alice", "open sesame 42"), ("disk", "I am the disk 7"));
    let proof = Authentication::chap(
        vec![credential(alice.0, alice.1)],
        Some(credential(disk.0, disk.1)),
        ChapAlgorithm::ALL.to_vec(),
    );
    let mut world = World::with(proof.unwrap());
    let node = world.node();
    let denied = Err((FoiscsiState::Failed, ReturnCode::NotPermitted));
    assert_eq!(world.log_in(&wanted(node)), denied, "no proof");
    let with = |authentication| SessionRequest { authentication, ..wanted(node) };
    assert_eq!(world.log_in(&with(AuthenticationWanted::OneWay)), denied, "no secret");

    let request = world.initiator.set_chap(node, false, alice.0, b"another secret").unwrap();
    world.done(request).unwrap();
    assert_eq!(world.log_in(&with(AuthenticationWanted::OneWay)), denied, "a wrong secret");
    let request = world.initiator.set_chap(node, false, alice.0, alice.1.as_bytes()).unwrap();
    world.done(request).unwrap();
    world.log_in(&with(AuthenticationWanted::OneWay)).unwrap();

    assert_eq!(world.log_in(&with(AuthenticationWanted::Mutual)), denied, "nothing is known of the target");
    let request = world.initiator.set_chap(node, true, disk.0, b"not its secret").unwrap();
    world.done(request).unwrap();
    assert_eq!(world.log_in(&with(AuthenticationWanted::Mutual)), denied, "the target has another secret");
    let request = world.initiator.set_chap(node, true, disk.0, disk.1.as_bytes()).unwrap();
    world.done(request).unwrap();
    let session = world.session(&with(AuthenticationWanted::Mutual));
    let id = world.initiator.read(session, &read(9, 2), 1024).unwrap();
    assert_eq!(world.completed(id).data, world.disk[9 * BLOCK..11 * BLOCK]);
}

#[test]
fn what_cannot_be_reached_is_told() {
    let mut world = World::new();
    assert_eq!(world.log_in(&wanted(3)), Err((FoiscsiState::Failed, ReturnCode::AddressNotAvailable)), "no address");
    let node = world.node();
    let failed = |code| Err((FoiscsiState::Failed, code));
    assert_eq!(world.log_in(&wanted(node + 1)), failed(ReturnCode::NoEntry), "no such node");
    let elsewhere = SessionRequest::new(node, TARGET, "10.0.0.1:3261".parse().unwrap());
    assert_eq!(world.log_in(&elsewhere), failed(ReturnCode::NetworkUnreachable), "nobody listens");
    let stranger = SessionRequest::new(node, "iqn.2026-01.io.ferriscsi:nobody", PORTAL);
    assert_eq!(world.log_in(&stranger), failed(ReturnCode::NoEntry), "no such target");
    let no_name = SessionRequest::new(node, "not a name", PORTAL);
    assert_eq!(world.log_in(&no_name), failed(ReturnCode::Invalid));
    assert!(world.initiator.add_node(&"x".repeat(225), "", FoiscsiIsid::new()).is_err(), "too long a name");
    world.pass(Duration::from_secs(30));
    assert_eq!((world.initiator.pending_count(), world.adapter.connections()), (0, 0));
    world.session(&wanted(node));
}

#[test]
fn what_a_command_ends_with_comes_back() {
    let mut world = World::new();
    let node = world.node();
    let session = world.session(&wanted(node));
    // Beyond the last block: ILLEGAL REQUEST, LOGICAL BLOCK ADDRESS OUT OF RANGE.
    let id = world.initiator.read(session, &read(16384, 1), 512).unwrap();
    let completion = world.completed(id);
    assert_eq!((completion.code, completion.status), (ReturnCode::ScsiResponseError, 2));
    assert_eq!((completion.sense[2] & 0xf, completion.sense[12]), (5, 0x21));
    assert_eq!((completion.underflow_bytes, completion.data.len()), (512, 0));
    // INQUIRY has less to say than there is room for.
    let mut cdb = [0; 16];
    (cdb[0], cdb[3], cdb[4]) = (0x12, 1, 0);
    let inquiry = ScsiRequest { cdb, ..ScsiRequest::default() };
    let id = world.initiator.read(session, &inquiry, 256).unwrap();
    let completion = world.completed(id);
    assert_eq!((completion.code, completion.status), (ReturnCode::ScsiResponseError, 0));
    assert_eq!(completion.data.len() as u32, 256 - completion.underflow_bytes);
    assert_eq!(&completion.data[8..16], b"FERRISCS");
    // More than a command may move is refused before it is sent.
    let long = world.initiator.read(session, &read(0, 2049), 2049 * 512);
    assert!(matches!(long, Err(DriverError::Exhausted(_))));
}

#[test]
fn commands_are_aborted_one_by_one_and_by_time() {
    let mut world = World::new();
    let node = world.node();
    let session = world.session(&wanted(node));
    world.held = Some(Default::default());
    let untouched = buffers(&world);
    let [first, second] = [0, 8].map(|lba| world.initiator.read(session, &read(lba, 8), 4096).unwrap());
    world.turns(100);
    world.initiator.abort(session, first).unwrap();
    world.turns(100);
    world.release();
    let (mut aborted, mut read_well) = (false, false);
    for _ in 0..3 {
        match world.wait() {
            InitiatorEvent::Completed { command, completion } if command == first => {
                assert_eq!((completion.code, completion.data.len()), (ReturnCode::ScsiAborted, 0));
            }
            InitiatorEvent::Completed { command, completion } => {
                assert_eq!((command, completion.code), (second, ReturnCode::Success));
                read_well = true;
            }
            InitiatorEvent::Aborted { command, result } => {
                assert_eq!((command, result), (first, Ok(())));
                aborted = true;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(aborted && read_well);
    let changed = buffers(&world).iter().zip(&untouched).filter(|(now, before)| now != before).count();
    assert!(changed <= 4096, "nothing of the aborted command was placed");

    world.initiator.abort(session, first).unwrap();
    assert_eq!(world.wait(), InitiatorEvent::Aborted { command: first, result: Err(ReturnCode::NoEntry) });

    world.held = Some(Default::default());
    let slow = world.initiator.read(session, &ScsiRequest { timeout_seconds: 2, ..read(0, 8) }, 4096).unwrap();
    world.turns(100);
    assert!(!world.has_event());
    world.pass(Duration::from_secs(2));
    world.turns(100);
    world.release();
    assert_eq!(world.completed(slow).code, ReturnCode::TimedOut);
    let id = world.initiator.read(session, &read(1, 1), 512).unwrap();
    assert_eq!(world.completed(id).code, ReturnCode::Success, "the session goes on");
}

#[test]
fn an_idle_session_is_kept_alive_and_a_silent_target_is_noticed() {
    let mut world = World::new();
    let node = world.node();
    let session = world.session(&wanted(node));
    for _ in 0..20 {
        world.pass(Duration::from_secs(6));
    }
    let id = world.initiator.read(session, &read(1, 1), 512).unwrap();
    assert_eq!(world.completed(id).code, ReturnCode::Success);
    world.stop_target();
    world.pass(Duration::from_secs(6));
    world.pass(Duration::from_secs(6));
    let ended = InitiatorEvent::Ended { session, state: FoiscsiState::Failed, code: ReturnCode::TimedOut };
    assert_eq!(world.wait(), ended);
}

#[test]
fn when_the_target_goes_away_commands_come_back_and_then_the_session_ends() {
    let mut world = World::new();
    let node = world.node();
    let session = world.session(&with_digests(node));
    world.held = Some(Default::default());
    let reading = world.initiator.read(session, &read(0, 8), 4096).unwrap();
    let writing = world.initiator.write(session, &write(0, 8), Bytes::from(vec![1; 4096])).unwrap();
    world.turns(100);
    world.lose_target();
    for command in [reading, writing] {
        let completion = world.completed(command);
        assert_eq!((completion.code, completion.data.len()), (ReturnCode::DeviceLost, 0));
    }
    let ended = InitiatorEvent::Ended { session, state: FoiscsiState::Failed, code: ReturnCode::DeviceLost };
    assert_eq!(world.wait(), ended);
    world.turns(200);
    assert_eq!((world.initiator.pending_count(), world.adapter.connections()), (0, 0));
}

/// All that happens to a world in which something of everything is done, with the times.
fn history() -> Vec<(u64, String)> {
    let mut world = World::new();
    let node = world.node();
    let session = world.session(&with_digests(node));
    let mut history = Vec::new();
    for number in 0..20 {
        world.initiator.read(session, &read(number * 3, 1 + number), ((1 + number) * BLOCK) as u32).unwrap();
        world.initiator.write(session, &write(500 + number, 1), vec![number as u8; BLOCK].into()).unwrap();
    }
    for _ in 0..40 {
        let event = world.wait();
        history.push((world.now(), format!("{event:?}")));
    }
    world.initiator.log_out(session).unwrap();
    let event = world.wait();
    history.push((world.now(), format!("{event:?}")));
    history
}

#[test]
fn the_same_happens_at_the_same_times_again() {
    assert_eq!(history(), history());
}
