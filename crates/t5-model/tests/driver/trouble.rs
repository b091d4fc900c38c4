//! What goes wrong between a driver and the adapter: the connection that it befalls ends or takes another way, no payload is told of that is not
//! there, no place is lost, and everybody else goes on.

use super::world::{TARGET, World, data_out, next, place};
use bytes::Bytes;
use iscsi_pdu::digest;
use iscsi_pdu::{Frame, padding};
use iscsi_transport::{ByteStream, Digests, Flush, PduPort, PortError, PortErrorKind, Received, conformance};
use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;
use t5_hal::dma::DmaMemory;
use t5_hal::driver::{DriverEvent, OffloadMode};
use t5_hal::wire::{POD_BYTES, PodTag, Tag, TagFormat};
use t5_hal::{Bus, Connection, T5Port, T5Stream};
use t5_model::adapter::{Fault, FunctionBus};

type Port = T5Port<FunctionBus>;

const BOTH: Digests = Digests { header: true, data: true };
/// A place that has several page pods.
const LONG_PLACE: u32 = 1 << 20;

/// A target's port, and an initiator that sends whatever bytes it likes.
fn raw(world: &World) -> (T5Stream<FunctionBus>, Port) {
    let open = world.open(world.listen(OffloadMode::Ulp), OffloadMode::Toe);
    let here = world.wait(&world.initiator, |event| match event {
        DriverEvent::Connected { open: which, connection } if which == open => Some(connection),
        _ => None,
    });
    (T5Stream::new(Connection::new(Rc::clone(&world.initiator), here)), T5Port::new(world.accept()))
}

/// A PDU as it goes over the wire with both digests.
fn wire(frame: &Frame, pad: u8) -> Vec<u8> {
    let data = [&frame.data[..], &[pad; 3][..padding(frame.data.len())]].concat();
    [&frame.header.0[..], &frame.ahs, &digest::header(&frame.header, &frame.ahs), &data, &digest::of(&data)].concat()
}

fn memory(world: &World) -> Arc<DmaMemory> {
    Arc::clone(world.target.borrow().bus().memory())
}

/// Whether those bytes stand anywhere in the target's memory.
fn is_in(memory: &DmaMemory, bytes: &[u8]) -> bool {
    let mut all = vec![0; (memory.end() - memory.base()) as usize];
    memory.read(memory.base(), &mut all).unwrap();
    // Messages and pages begin at multiples of 16.
    all.chunks(16).enumerate().any(|(at, _)| all[at * 16..].starts_with(bytes))
}

fn end(world: &World, port: &mut Port) -> PortError {
    let mut receive = || {
        world.initiator.borrow_mut().poll(world.start);
        port.receive().err()
    };
    (0..10_000).find_map(|_| receive()).expect("the connection ends")
}

/// Both drivers go on until nothing happens any more.
fn settle(world: &World) {
    for _ in 0..1000 {
        world.target.borrow_mut().poll(world.start);
        world.initiator.borrow_mut().poll(world.start);
    }
}

/// Data of a PDU that no other has.
fn pattern(seed: u32) -> Vec<u8> {
    (0..512u32).map(|at| (at.wrapping_mul(seed | 1) >> 3) as u8 ^ seed as u8).collect()
}

/// A tag of each kind that the adapter places nothing for; the payload comes all the same, and nothing else is told or written.
#[test]
fn payload_that_cannot_be_placed_comes_another_way_and_leaves_places_alone() {
    let world = World::new();
    let (mut initiator, mut target) = world.ports();
    let (_initiator, mut other) = world.ports();
    let (memory, format) = (memory(&world), world.target.borrow().tag_format());
    let tag = place(&mut target, LONG_PLACE);
    let Tag::Placed(pod) = format.decode(tag) else { panic!("there are places") };
    let theirs = place(&mut other, 4096);
    let send = |initiator: &mut Port, target: &mut Port, tag, offset, data: &[u8]| -> Bytes {
        initiator.send(data_out(tag, offset, data.to_vec()));
        initiator.flush().unwrap();
        match next(target, &world) {
            Received::Frame(frame) => frame.data,
            other => panic!("a good PDU comes, not {other:?}"),
        }
    };
    let placed = send(&mut initiator, &mut target, tag, 0, &pattern(1));
    let at = memory.locate(&placed).expect("it is placed");
    drop(placed);

    let pods = world.target.borrow().adapter().pods.len() as u32 / POD_BYTES;
    let named = |other: PodTag| format.placed(other);
    let cases = [
        ("COLOR_ERR", named(PodTag { color: pod.color ^ 1, ..pod }), 0),
        ("PPOD_MISMATCH", named(PodTag { pod: pod.pod + 1, ..pod }), 0),
        ("INVALID_PPOD", named(PodTag { pod: pods - 1, ..pod }), 0),
        ("ULIMIT_ERR", named(PodTag { pod: pods, ..pod }), 0),
        ("TID_MISMATCH", theirs, 0),
        ("OFFSET_ERR", tag, LONG_PLACE - 511),
        ("a tag of the software", target.reserve(0), 0),
    ];
    for (seed, (name, tag, offset)) in cases.into_iter().enumerate() {
        let data = pattern(seed as u32 + 2);
        let came = send(&mut initiator, &mut target, tag, offset, &data);
        assert_eq!(came, data, "{name}");
        assert_eq!(memory.locate(&came), None, "{name}: it was delivered, not placed");
        let mut kept = vec![0; 512];
        memory.read(at, &mut kept).unwrap();
        assert!(kept == pattern(1), "{name}: the place of another tag was written");
    }
    let placed = send(&mut initiator, &mut target, tag, 0, &pattern(99));
    assert_eq!(memory.locate(&placed), Some(at), "what is right is placed as before");
    assert_eq!(world.target.borrow().places_in_use(), 2);
    drop((placed, target, other));
    assert_eq!(world.target.borrow().places_in_use(), 0);
    world.is_well();
}

/// What a peer spoils: the verdicts of digests and padding, and a PDU that is too long. Another connection goes on after each.
#[test]
fn what_a_peer_spoils_is_told_and_befalls_nobody_else() {
    let world = World::new();
    let (mut here, mut there) = world.ports();
    let memory = memory(&world);
    let mut goes_on = || {
        conformance::exchange(&mut here, &mut there, &[conformance::frame_with_data(1000)]);
        conformance::exchange(&mut there, &mut here, &[conformance::frame_with_data(1000)]);
    };
    // What comes of those bytes for a place, and whether the connection goes on.
    let mut come = |seed: u32, spoil: &dyn Fn(Frame) -> Vec<u8>| {
        let (mut raw, mut target) = raw(&world);
        target.set_digests(BOTH);
        let tag = place(&mut target, 4096);
        let bytes = spoil(data_out(tag, 0, pattern(seed)));
        assert_eq!(raw.send(&[IoSlice::new(&bytes)]).unwrap(), bytes.len());
        let came = (0..10_000).find_map(|_| {
            world.initiator.borrow_mut().poll(world.start);
            target.receive().transpose()
        });
        let came = came.expect("something comes of it");
        if came.is_ok() {
            let good = wire(&data_out(tag, 0, pattern(77)), 0);
            raw.send(&[IoSlice::new(&good)]).unwrap();
            let Received::Frame(frame) = next(&mut target, &world) else { panic!("a good PDU comes") };
            assert_eq!(frame.data, pattern(77), "the next is well");
        }
        drop((raw, target));
        settle(&world);
        assert_eq!(world.target.borrow().places_in_use(), 0);
        goes_on();
        came
    };
    let flipped = |mut bytes: Vec<u8>, at: usize| {
        bytes[at] ^= 1;
        bytes
    };
    assert!(matches!(come(3, &|frame| wire(&frame, 0)), Ok(Received::Frame(frame)) if frame.data == pattern(3)));
    let header = come(5, &|frame| flipped(wire(&frame, 0), 33));
    assert!(matches!(header, Ok(Received::BadHeaderDigest(_))), "{header:?}");
    assert!(!is_in(&memory, &pattern(5)), "nothing of its data has come");
    let data = come(7, &|frame| flipped(wire(&frame, 0), 60));
    assert!(matches!(data, Ok(Received::BadDataDigest(_))), "{data:?}");
    let padding = come(9, &|frame| wire(&data_out(frame_tag(&frame), 0, pattern(9)[..509].to_vec()), 1));
    assert_eq!(padding.unwrap_err().kind(), PortErrorKind::Io);
    // Longer than the adapter takes: it cannot be told where the next PDU begins.
    let long = come(11, &|frame| {
        let mut bytes = wire(&frame, 0);
        bytes[5..8].copy_from_slice(&[0, 0x40, 0]);
        let fixed = digest::of(&bytes[..48]);
        bytes[48..52].copy_from_slice(&fixed);
        bytes
    });
    assert!(long.is_err(), "{long:?}");
    world.is_well();
}

fn frame_tag(frame: &Frame) -> u32 {
    u32::from_be_bytes(frame.header.0[20..24].try_into().unwrap())
}

#[test]
fn what_is_no_pdu_ends_its_connection_at_both_ends() {
    let world = World::new();
    let (mut initiator, mut target) = world.ports();
    let (mut here, mut there) = world.ports();
    initiator.set_digests(BOTH);
    target.set_digests(BOTH);
    let mut frame = conformance::frame_with_data(512);
    // Digests cannot be put into what has another length than its header says.
    frame.header.0[7] = 4;
    initiator.send(frame);
    let _ = initiator.flush();
    let (ours, theirs) = (end(&world, &mut initiator), end(&world, &mut target));
    assert_eq!((ours.kind(), theirs.kind()), (PortErrorKind::Reset, PortErrorKind::Reset));
    let faults = world.faults();
    assert!(matches!(faults[..], [Fault::Pdu(_)]), "{faults:?}");
    drop((initiator, target));
    settle(&world);
    assert_eq!(world.adapters[0].connections(), 2);
    conformance::exchange(&mut here, &mut there, &[conformance::frame_with_data(1000)]);
}

/// Both ends find something wrong before either has heard of the other's abort.
#[test]
fn aborts_that_cross_leave_no_connection() {
    let world = World::new();
    let (mut here, mut there) = world.ports();
    for _ in 0..20 {
        let (mut initiator, mut target) = world.ports();
        let stale = [&mut initiator, &mut target].map(|port| {
            let tag = place(port, 4096);
            port.release(tag);
            tag
        });
        initiator.send(data_out(stale[1], 0, vec![1; 4096]));
        target.send(data_out(stale[0], 0, vec![1; 4096]));
        initiator.flush().unwrap();
        target.flush().unwrap();
        assert_eq!(end(&world, &mut initiator).kind(), PortErrorKind::Io);
        assert!((0..10_000).any(|_| target.receive().is_err()));
        drop((initiator, target));
        settle(&world);
        let drivers = [&world.target, &world.initiator];
        assert_eq!(drivers.map(|driver| driver.borrow().connection_count()), [1, 1], "only the others are left");
        assert_eq!(drivers.map(|driver| driver.borrow().places_in_use()), [0, 0]);
        assert_eq!(world.adapters[0].connections(), 2);
        conformance::exchange(&mut here, &mut there, &[conformance::frame_with_data(1000)]);
    }
    world.is_well();
}

/// A driver that has not read that a connection was reset goes on sending, and is not blamed.
#[test]
fn what_is_sent_on_a_connection_that_was_reset_is_dropped() {
    let world = World::new();
    let (initiator, mut target) = world.ports();
    let frame = || conformance::frame_with_data(8000);
    target.send(frame());
    target.flush().unwrap();
    let tid = initiator.connection().tid();
    world.initiator.borrow_mut().give_up(tid, &PortError::new(PortErrorKind::Io, "enough"));
    drop(initiator);
    (0..100).for_each(|_| world.initiator.borrow_mut().poll(world.start));
    (0..3).for_each(|_| target.send(frame()));
    target.flush().unwrap();
    let tag = place(&mut target, 4096);
    assert_eq!(end(&world, &mut target).kind(), PortErrorKind::Reset);
    target.release(tag);
    drop(target);
    settle(&world);
    assert_eq!(world.adapters[0].connections(), 0);
    world.is_well();
}

/// The number of a connection is not another's before its driver knows that it has ended.
#[test]
fn a_connection_that_was_reset_stays_until_its_driver_has_read_so() {
    let world = World::new();
    let (initiator, mut target) = world.ports();
    let tid = initiator.connection().tid();
    world.initiator.borrow_mut().give_up(tid, &PortError::new(PortErrorKind::Io, "enough"));
    drop(initiator);
    (0..1000).for_each(|_| world.initiator.borrow_mut().poll(world.start));
    assert_eq!(world.adapters[0].connections(), 1, "the target's end");
    assert_eq!(end(&world, &mut target).kind(), PortErrorKind::Reset);
    settle(&world);
    assert_eq!(world.adapters[0].connections(), 0);
    world.is_well();
}

/// A connection that is closing is broken by what comes before the other end's FIN: the adapter is done with it by then.
#[test]
fn an_abort_that_crosses_the_end_of_a_close_leaves_no_connection() {
    let world = World::new();
    let (mut raw, target) = raw(&world);
    let mut bytes = conformance::frame_with_data(509).header.0.to_vec();
    bytes.extend([1; 512]);
    raw.send(&[IoSlice::new(&bytes)]).unwrap();
    drop((target, raw));
    // The target's driver reads nothing meanwhile.
    (0..1000).for_each(|_| world.initiator.borrow_mut().poll(world.start));
    settle(&world);
    assert_eq!(world.target.borrow().connection_count(), 0);
    world.is_well();
}

#[test]
fn without_places_payload_is_copied_and_places_come_back() {
    let world = World::new();
    let (mut initiator, mut target) = world.ports();
    let (mut here, mut there) = world.ports();
    let format = world.target.borrow().tag_format();
    let is_place = |format: TagFormat, tag| matches!(format.decode(tag), Tag::Placed(_));
    let mut held = Vec::new();
    let without = loop {
        let tag = target.reserve(4096);
        while target.flush().unwrap() == Flush::Pending {}
        // The credits of its pods come back.
        world.target.borrow_mut().poll(world.start);
        if !is_place(format, tag) {
            break tag;
        }
        held.push(tag);
    };
    assert!(held.len() > 1000, "{} places", held.len());
    assert_eq!(world.target.borrow().places_in_use(), held.len());
    for tag in [without, held[0], *held.last().unwrap()] {
        initiator.send(data_out(tag, 0, pattern(tag)));
        initiator.flush().unwrap();
        let Received::Frame(frame) = next(&mut target, &world) else { panic!("a good PDU comes") };
        assert_eq!(frame.data, pattern(tag));
        assert_eq!(memory(&world).locate(&frame.data).is_some(), is_place(format, tag));
    }
    // Who has no place at all is served as well.
    let tag = there.reserve(4096);
    assert!(!is_place(format, tag));
    conformance::exchange(&mut here, &mut there, &[conformance::frame_with_data(8000)]);
    held.iter().for_each(|&tag| target.release(tag));
    target.release(without);
    assert_eq!(world.target.borrow().places_in_use(), 0);
    let again = place(&mut there, 4096);
    assert!(is_place(format, again), "they are used again");
    drop(there);
    assert_eq!(world.target.borrow().places_in_use(), 0);
    world.is_well();
}

/// A driver that does not read: its ingress queue and free list are full, and so are the windows behind them.
#[test]
fn a_driver_that_reads_nothing_holds_up_nobody_else_and_loses_nothing() {
    const PDUS: usize = 1000;
    let world = World::new();
    let (mut initiator, mut target) = world.ports();
    let (mut here, mut there) = world.ports_to_another();
    let frame = |at: usize| conformance::frame_with_data(8000 + at % 97);
    let mut unsent = (0..PDUS).map(frame);
    for _ in 0..2000 {
        while initiator.can_send()
            && let Some(frame) = unsent.next()
        {
            initiator.send(frame);
        }
        let _ = initiator.flush().unwrap();
        world.initiator.borrow_mut().poll(world.start);
    }
    assert_eq!(initiator.flush(), Ok(Flush::Pending), "nothing more is taken");
    let delivered = world.adapters[0].iscsi_counters().delivered_bytes;
    assert!(delivered <= (512 << 10) + 8192, "{delivered} bytes, more than the window");
    for _ in 0..50 {
        conformance::exchange(&mut here, &mut there, &[conformance::frame_with_data(8000)]);
        conformance::exchange(&mut there, &mut here, &[conformance::frame_with_data(8000)]);
    }
    for at in 0..PDUS {
        while initiator.can_send()
            && let Some(frame) = unsent.next()
        {
            initiator.send(frame);
        }
        let _ = initiator.flush().unwrap();
        assert_eq!(next(&mut target, &world), Received::Frame(frame(at)));
        let _ = initiator.flush().unwrap();
    }
    assert_eq!(world.adapters[0].take_fault(TARGET), None);
    world.is_well();
}
