//! Work requests of a driver that means harm, beside a session that does not.

use crate::world::*;
use proptest::prelude::*;
use std::time::Instant;
use t5_hal::Bus;
use t5_hal::driver::execute;
use t5_hal::driver::initiator::*;
use t5_hal::registers::{KDOORBELL, MY_PF};
use t5_hal::wire::*;
use zerocopy::IntoBytes;

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
