//! Work requests of a driver that means harm, beside a session that does not.

use crate::world::*;
use proptest::prelude::*;
use std::time::Instant;
use t5_hal::Bus;
use t5_hal::driver::execute;
use t5_hal::driver::initiator::*;
use t5_hal::registers::{KDOORBELL, MY_PF};
use t5_hal::wire::*;
use zerocopy::{FromBytes, IntoBytes};

const DESCRIPTORS: u16 = 64;
/// Where the ring of the hostile queue is: at the end of the memory for rings, which nobody else has come to.
const RING_BYTES: u64 = 65 * 64;

/// A queue of its own, beside that of the driver.
struct Queue {
    id: u32,
    address: u64,
    at: u16,
}

impl Queue {
    fn new(world: &World) -> Self {
        let address = world.memory.buffers() - RING_BYTES;
        let bus = world.initiator.bus();
        let mut ask = EqOffloadCommand::request(Access::EXEC_WRITE, FunctionId::physical(5).to_wire());
        ask.length = ask.length.with_bit(AllocLength::ALLOC, true).with_bit(AllocLength::START, true);
        ask.fetch = EgressFetch::new().with(EgressFetch::IQID, world.initiator.adapter().rss_queues[0].into());
        ask.size = EgressSize::new().with(EgressSize::EQSIZE, u32::from(DESCRIPTORS) + 1);
        ask.address = address.into();
        let start = Instant::now();
        let id = execute(bus, &ask, &mut || start).unwrap().eq.get(EgressId::EQID);
        Self { id, address, at: 0 }
    }

    /// Sends a work request, whose length is put right.
    fn send(&mut self, world: &World, request: &[u8]) {
        let mut bytes = request.to_vec();
        bytes.resize(bytes.len().next_multiple_of(16).clamp(16, 512), 0);
        bytes[7] = (bytes.len() / 16) as u8;
        let count = bytes.len().div_ceil(64) as u16;
        for descriptor in bytes.chunks(64) {
            world.memory.write(self.address + u64::from(self.at) * 64, descriptor).unwrap();
            self.at = (self.at + 1) % DESCRIPTORS;
        }
        let word = QueueDoorbell::new().with(QueueDoorbell::QID, self.id).with(QueueDoorbell::PIDX, count.into());
        world.initiator.bus().write_register(MY_PF + KDOORBELL, word.value());
        world.initiator.bus().poll();
    }
}

/// An address that is right, at an end of something, or anywhere.
fn addresses() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0x5000_0000u64 + (16 << 20) + (4 << 20)),
        (0..64u64).prop_map(|at| 0x5000_0000 + (24 << 20) - at),
        (0..64u64).prop_map(|at| u64::MAX - at),
        0x4000_0000..0x4100_0000u64,
        any::<u64>(),
    ]
}

fn small_or_any() -> impl Strategy<Value = u32> {
    prop_oneof![0..4u32, Just(4096), any::<u32>()]
}

/// A work request of the initiator's, with fields that look right and others that do not.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop::sample::select(vec![
        WorkRequestOpcode::ChnetIfConf,
        WorkRequestOpcode::FoiscsiNode,
        WorkRequestOpcode::FoiscsiChap,
        WorkRequestOpcode::FoiscsiControl,
        WorkRequestOpcode::ScsiRead,
        WorkRequestOpcode::ScsiWrite,
        WorkRequestOpcode::ScsiCommand,
        WorkRequestOpcode::ScsiAbort,
    ]);
    let numbers = (small_or_any(), small_or_any(), prop::sample::select(vec![0u8, 31, 32, 33, 255]));
    let noise = prop::collection::vec(any::<u8>(), 0..490);
    (opcode, numbers, addresses(), addresses(), prop::collection::vec(addresses(), 1..6), noise, any::<bool>())
        .prop_map(|(opcode, (flow, length, immediate), response, cookie, pieces, noise, is_shaped)| {
            let op = WorkRequestOp::of(opcode, immediate.into());
            let mut bytes = op.as_bytes().to_vec();
            bytes.extend((flow << 8).to_be_bytes());
            if !is_shaped {
                bytes.extend(noise);
                return bytes;
            }
            bytes.extend(cookie.to_be_bytes());
            // Queue 0 of PF5, a time, a count, and room for a response.
            bytes.extend([1, 64, 1, 1, 0, 0, 0, 0]);
            bytes.extend([length.to_be_bytes(), 0u32.to_be_bytes()].concat());
            bytes.extend(response.to_be_bytes());
            bytes.extend([512u32.to_be_bytes(), [0; 4]].concat());
            bytes.extend(FcpCommand { cdb: read(1, 8).cdb, ..FcpCommand::default() }.as_bytes());
            let pieces: Vec<Piece> = pieces.into_iter().map(|address| Piece { address, length }).collect();
            UlpList::encode(&pieces, &mut bytes);
            bytes
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is asked, nothing falls, nothing outside of the function's memory is reached, and a session of another driver, here of
    /// the same function's first queue, goes on until somebody asks for its end.
    #[test]
    fn any_work_requests_harm_nobody_else(requests in prop::collection::vec(requests(), 1..24)) {
        let mut world = World::new();
        let node = world.node();
        let session = world.session(&SessionRequest::new(node, TARGET, PORTAL));
        let disk = world.disk.clone();
        let mut queue = Queue::new(&world);
        for request in &requests {
            queue.send(&world, request);
            world.turns(20);
        }
        while world.adapter.take_fault(FunctionId::physical(5)).is_some() {}
        prop_assert_eq!(world.adapter.take_fault(FunctionId::physical(4)), None);
        prop_assert!(world.initiator.failure().is_none());
        // READs are all that was asked of the disk.
        prop_assert!(world.disk == disk);
        world.turns(200);
        if let Ok(id) = world.initiator.read(session, &read(3, 4), 2048) {
            let completion = loop {
                match world.wait() {
                    InitiatorEvent::Completed { command, completion } if command == id => break completion,
                    _ => {}
                }
            };
            if completion.code == ReturnCode::Success {
                prop_assert_eq!(&completion.data[..], &world.disk[3 * BLOCK..7 * BLOCK]);
            }
        }
    }
}

/// A list that is partly outside: what is outside is not reached, the command fails, and the next is well.
#[test]
fn a_command_whose_data_is_outside_the_memory_fails_alone() {
    let mut world = World::new();
    let node = world.node();
    let session = world.session(&SessionRequest::new(node, TARGET, PORTAL));
    let mut queue = Queue::new(&world);
    let end = world.memory.end();
    for (opcode, address) in [
        (WorkRequestOpcode::ScsiRead, end - 2048),
        (WorkRequestOpcode::ScsiWrite, end - 2048),
        (WorkRequestOpcode::ScsiRead, u64::MAX - 100),
        (WorkRequestOpcode::ScsiRead, 0x4000_0000),
    ] {
        let header = ScsiTransfer {
            op: WorkRequestOp::of(opcode, size_of::<FcpCommand>() as u32),
            cookie: 77.into(),
            iq: world.initiator.adapter().rss_queues[0].into(),
            transfer_count: 4096.into(),
            ..ScsiTransfer::default()
        };
        let cdb = if opcode == WorkRequestOpcode::ScsiRead { read(0, 8).cdb } else { write(0, 8).cdb };
        let unit = FcpCommand { cdb, length: 4096.into(), ..FcpCommand::default() };
        let mut list = Vec::new();
        UlpList::encode(&[Piece { address, length: 4096 }], &mut list);
        queue.send(&world, &[header.as_bytes(), unit.as_bytes(), &list].concat());
        world.turns(200);
        assert!(
            matches!(world.adapter.take_fault(FunctionId::physical(5)), Some(t5_model::adapter::Fault::Memory(_))),
            "{address:#x}"
        );
        let id = world.initiator.read(session, &read(3, 4), 2048).unwrap();
        assert_eq!(world.completed(id).data, world.disk[3 * BLOCK..7 * BLOCK]);
    }
    assert_eq!(world.adapter.take_fault(FunctionId::physical(4)), None);
}

/// What the firmware has answered in a queue of its own: the name of each request, and the code.
struct Answers {
    iq: u16,
    address: u64,
}

impl Answers {
    fn new(world: &World) -> Self {
        let address = world.memory.buffers() - RING_BYTES - 64 * 64;
        let mut ask = IqCommand::request(Access::EXEC_WRITE, FunctionId::physical(5).to_wire());
        ask.length = ask.length.with_bit(AllocLength::ALLOC, true).with_bit(AllocLength::START, true);
        ask.flags = IqFlags::new().with(IqFlags::IQESIZE, 2);
        (ask.size, ask.address) = (64.into(), address.into());
        let start = Instant::now();
        Self { iq: execute(world.initiator.bus(), &ask, &mut || start).unwrap().iq.get(), address }
    }

    fn all(&self, world: &World) -> Vec<(u64, Option<ReturnCode>)> {
        let entries = (0..64u64).map(|at| {
            let mut bytes = [0; INGRESS_ENTRY_BYTES];
            world.memory.read(self.address + at * INGRESS_ENTRY_BYTES as u64, &mut bytes).unwrap();
            IngressEntry::read_from_bytes(&bytes).unwrap()
        });
        let told = entries.take_while(|entry| entry.kind.is_set(EntryType::GEN));
        told.map(|entry| match Reply::decode(&entry.message) {
            Ok((Reply::Fw6Msg(message), _)) => {
                let reply = WorkRequestReply::read_from_bytes(&message.data).unwrap();
                (reply.cookie.get(), reply.code())
            }
            other => panic!("an answer of the firmware, not {other:?}"),
        })
        .collect()
    }
}

#[test]
fn commands_with_less_room_or_more_data_than_they_may_have_are_refused() {
    let mut world = World::new();
    let node = world.node();
    let session = world.session(&SessionRequest::new(node, TARGET, PORTAL));
    let (mut queue, answers) = (Queue::new(&world), Answers::new(&world));
    let mut ask = |world: &mut World, cookie: u64, flow: u32, count: u32, list: u32| {
        let header = ScsiTransfer {
            op: WorkRequestOp::of(WorkRequestOpcode::ScsiRead, size_of::<FcpCommand>() as u32),
            flow: WorkRequestFlow::new().with(WorkRequestFlow::FLOWID, flow),
            cookie: cookie.into(),
            iq: answers.iq.into(),
            transfer_count: count.into(),
            ..ScsiTransfer::default()
        };
        let blocks = (count as usize / BLOCK).min(1 << 12);
        let unit = FcpCommand { cdb: read(0, blocks).cdb, length: count.into(), ..FcpCommand::default() };
        let mut pieces = Vec::new();
        UlpList::encode(&[Piece { address: world.memory.end() - (2 << 20), length: list }], &mut pieces);
        queue.send(world, &[header.as_bytes(), unit.as_bytes(), &pieces].concat());
        world.turns(400);
    };
    ask(&mut world, 1, 0, 4096, 4095);
    ask(&mut world, 2, 0, (1 << 20) + 512, 2 << 20);
    ask(&mut world, 3, 7, 4096, 4096);
    ask(&mut world, 4, 0, 4096, 4096);
    ask(&mut world, 5, 0, 1 << 20, 1 << 20);
    let (refused, well) = (Some(ReturnCode::Invalid), Some(ReturnCode::Success));
    let expected = [(1, refused), (2, refused), (3, Some(ReturnCode::NoDevice)), (4, well), (5, well)];
    assert_eq!(answers.all(&world), expected);
    let id = world.initiator.read(session, &read(3, 4), 2048).unwrap();
    assert_eq!(world.completed(id).data, world.disk[3 * BLOCK..7 * BLOCK]);
}

#[test]
fn an_abort_of_all_ends_every_command_of_its_session_and_none_of_another() {
    let mut world = World::new();
    let node = world.node();
    let sessions = [0; 2].map(|_| world.session(&SessionRequest::new(node, TARGET, PORTAL)));
    let (mut queue, answers) = (Queue::new(&world), Answers::new(&world));
    world.held = Some(Default::default());
    let [first, second] = [0, 8].map(|lba| world.initiator.read(sessions[0], &read(lba, 8), 4096).unwrap());
    let other = world.initiator.read(sessions[1], &read(16, 8), 4096).unwrap();
    world.turns(100);
    let abort = ScsiAbort {
        op: WorkRequestOp::of(WorkRequestOpcode::ScsiAbort, 0),
        cookie: 9.into(),
        iq: answers.iq.into(),
        flags: ScsiAbortFlags::new().with_bit(ScsiAbortFlags::CHK_ALL_IO, true),
        ..ScsiAbort::default()
    };
    queue.send(&world, abort.as_bytes());
    world.turns(200);
    world.release();
    let mut ends = std::collections::HashMap::new();
    while ends.len() < 3 {
        if let InitiatorEvent::Completed { command, completion } = world.wait() {
            ends.insert(command, completion.code);
        }
    }
    let aborted = ReturnCode::ScsiAborted;
    assert_eq!([first, second, other].map(|id| ends[&id]), [aborted, aborted, ReturnCode::Success]);
    assert_eq!(answers.all(&world), [(9, Some(ReturnCode::Success))]);
}

#[test]
fn nodes_and_sessions_are_few() {
    let mut world = World::new();
    let node = world.node();
    for number in 1..9 {
        let request = world.initiator.add_node(&format!("iqn.2026-01.test:{number}"), "", FoiscsiIsid::new()).unwrap();
        let result = world.done(request);
        assert_eq!(result.is_ok(), number < 8, "{number}: {result:?}");
    }
    let full = Err((FoiscsiState::Failed, ReturnCode::NoMemory));
    let wanted = SessionRequest::new(node, TARGET, PORTAL);
    (0..64).for_each(|_| _ = world.session(&wanted));
    assert_eq!(world.log_in(&wanted), full);
}
