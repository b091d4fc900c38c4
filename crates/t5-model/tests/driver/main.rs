//! The driver on the model: two functions of one adapter, a target's on PF4 and an initiator's on PF5, as on the real one.

mod conversations;
mod trouble;
mod virtual_functions;
mod world;

use iscsi_transport::{BufferPool, Digests, Flush, PduPort, PortErrorKind, Received, SoftwarePort, conformance};
use t5_hal::driver::{DriverError, DriverEvent, OffloadMode, OpenTarget, execute};
use t5_hal::wire::{Access, CplStatus, PF_COUNTERS, VF_COUNTERS, ViId, ViStatsCommand, ViStatsSelect};
use t5_hal::{Bus, T5Port, T5Stream};
use t5_model::adapter::FunctionBus;
use t5_model::switch::{MacAddress, PortNumber};
use world::{BAD_CABLE, INITIATOR, PHYSICAL, TARGET, VIRTUAL, World, data_out, next, place};

#[test]
fn two_functions_are_brought_up_on_one_adapter() {
    let world = World::new();
    let (target, initiator) = (world.target.borrow(), world.initiator.borrow());
    assert_eq!((target.adapter().function, initiator.adapter().function), (TARGET, INITIATOR));
    assert_ne!(target.adapter().mac, initiator.adapter().mac);
    assert!(target.adapter().pods.end <= initiator.adapter().pods.start, "each has page pods of its own");
    world.is_well();
}

#[test]
fn the_port_does_what_ports_do() {
    let world = World::new();
    conformance::run(|| world.ports());
    world.is_well();
}

#[test]
fn the_port_does_so_over_virtual_functions_too() {
    for functions in [VIRTUAL, [VIRTUAL[0], INITIATOR], [TARGET, VIRTUAL[0]]] {
        let world = World::between(functions);
        conformance::run(|| world.ports());
        world.is_well();
    }
}

#[test]
fn the_port_does_so_over_ipv6_too() {
    for functions in [PHYSICAL, VIRTUAL] {
        let world = World::of_ipv6(functions);
        conformance::run(|| world.ports());
        world.is_well();
    }
}

#[test]
fn an_address_of_ipv6_that_the_adapter_does_not_know_is_refused() {
    let world = World::of_ipv6(PHYSICAL);
    let (stranger, mode) = ("[fd00::7]:3260".parse().unwrap(), OffloadMode::Ulp);
    let refused = world.target.borrow_mut().listen(stranger, mode).unwrap_err();
    assert!(refused.to_string().starts_with("fd00::7 is no address of the function: "), "{refused}");
    let open = OpenTarget { local: stranger, peer: "[fd00::1]:3260".parse().unwrap(), peer_mac: [2; 6], mode };
    assert_eq!(world.initiator.borrow_mut().connect(open), Err(refused));
    world.target.borrow_mut().listen("[::]:3260".parse().unwrap(), mode).unwrap();
    world.is_well();
}

/// Each listener has two places of the adapter's, as one of IPv6 needs them.
#[test]
fn listeners_of_both_families_stand_side_by_side_until_there_are_no_more() {
    let world = World::of_ipv6(VIRTUAL);
    let mut target = world.target.borrow_mut();
    let places = target.adapter().servers.clone();
    let numbers: Vec<u32> = (0..places.len() as u16 / 2)
        .map(|at| {
            let host = if at % 2 == 0 { "[fd00::1]" } else { "10.0.0.1" };
            target.listen(format!("{host}:{}", 80 + at).parse().unwrap(), OffloadMode::Ulp).unwrap()
        })
        .collect();
    assert_eq!(numbers, places.step_by(2).collect::<Vec<_>>());
    let more = target.listen("10.0.0.1:9".parse().unwrap(), OffloadMode::Ulp);
    assert!(matches!(more, Err(DriverError::Exhausted(_))), "{more:?}");
    target.poll(world.start);
    let told = std::iter::from_fn(|| target.poll_event());
    let well = told.filter(|event| matches!(event, DriverEvent::Listening { result: Ok(()), .. })).count();
    assert_eq!(well, numbers.len());
    target.unlisten(numbers[3]);
    target.poll(world.start);
    let again = target.listen("[fd00::1]:9".parse().unwrap(), OffloadMode::Ulp);
    assert_eq!(again, Ok(numbers[3]), "its place is free");
}

#[test]
fn software_over_the_adapters_tcp_does_too() {
    let world = World::new();
    conformance::run(|| {
        let (here, there) = world.connect(OffloadMode::Toe);
        let port = |connection| SoftwarePort::new(T5Stream::new(connection), BufferPool::default());
        (port(here), port(there))
    });
    world.is_well();
}

#[test]
fn payload_of_a_tag_is_placed_and_lent() {
    let world = World::new();
    let (mut initiator, mut target) = world.ports();
    for digests in [Digests::default(), Digests { header: true, data: true }] {
        initiator.set_digests(digests);
        target.set_digests(digests);
        let tag = place(&mut target, 8192);
        let data: Vec<u8> = (0..8192u32).map(|at| (at / 3) as u8).collect();
        initiator.send(data_out(tag, 0, data[..4096].to_vec()));
        initiator.send(data_out(tag, 4096, data[4096..].to_vec()));
        while initiator.flush().unwrap() == Flush::Pending {}
        for half in data.chunks(4096) {
            let Received::Frame(frame) = next(&mut target, &world) else { panic!("a good PDU comes") };
            assert_eq!(frame.data, half);
            let driver = world.target.borrow();
            assert!(driver.bus().memory().locate(&frame.data).is_some(), "it is lent where it was placed");
        }
        target.release(tag);
    }
    assert_eq!(world.target.borrow().places_in_use(), 0);
    world.is_well();
}

#[test]
fn what_comes_with_the_end_of_the_handshake_is_taken_at_once() {
    let world = World::frozen();
    let mut initiator = T5Port::new(world.connect_initiator(OffloadMode::Ulp));
    // The acknowledgement of the handshake waits for something to go with it, and time stands still.
    initiator.send(conformance::frame_with_data(512));
    assert_eq!(initiator.flush(), Ok(Flush::Done));
    let mut target = T5Port::new(world.accept());
    assert_eq!(next(&mut target, &world), Received::Frame(conformance::frame_with_data(512)));
    world.is_well();
}

#[test]
fn pdus_between_connections_of_one_adapter_need_no_frames() {
    let world = World::new();
    let (mut initiator, mut target) = world.ports();
    let mut exchange = |length: usize| {
        conformance::exchange(&mut initiator, &mut target, &[conformance::frame_with_data(length)]);
        conformance::exchange(&mut target, &mut initiator, &[conformance::frame_with_data(length)]);
    };
    let passed = || world.adapters[0].iscsi_counters().passed_pdus;
    // The first may come with the handshake.
    exchange(512);
    let before = passed();
    (0..100).for_each(|at| exchange(at * 80));
    assert_eq!(passed() - before, 200);
    world.is_well();
}

#[test]
fn what_the_other_end_takes_not_yet_waits_for_it_and_needs_no_frames() {
    const PDUS: u64 = 100;
    let world = World::new();
    let (mut initiator, mut target) = world.ports();
    let frame = conformance::frame_with_data(8192);
    // The first may come with the handshake.
    conformance::exchange(&mut target, &mut initiator, std::slice::from_ref(&frame));
    let passed = || world.adapters[0].iscsi_counters().passed_pdus;
    let before = passed();
    (0..PDUS).for_each(|_| target.send(frame.clone()));
    target.flush().unwrap();
    assert!(passed() - before < PDUS, "the window is smaller than that");
    for _ in 0..PDUS {
        assert_eq!(next(&mut initiator, &world), Received::Frame(frame.clone()));
        target.flush().unwrap();
    }
    assert_eq!(passed() - before, PDUS);
    world.is_well();
}

#[test]
fn an_adapter_tells_what_waits_in_it() {
    let world = World::new();
    let (mut initiator, _target) = world.ports();
    (0..60).for_each(|_| initiator.send(conformance::frame_with_data(8192)));
    initiator.flush().unwrap();
    let dump = format!("{:#?}", world.adapters[0]);
    for wanted in ["owner: PF5", "is_rung: ", "requests: ", "window_bytes: ", "send_queue: "] {
        assert!(dump.contains(wanted), "{wanted}: {dump}");
    }
}

#[test]
fn what_waits_in_the_adapter_keeps_its_memory_while_pods_are_written_behind_it() {
    let world = World::new();
    let (mut initiator, mut target) = world.ports();
    // The window of the target is full long before the end, so that PDUs wait in the adapter, each with pods behind it.
    let lengths = || (0..300).map(|at| 4096 + 8 * at);
    let mut left = lengths();
    let mut flush = |initiator: &mut T5Port<FunctionBus>| {
        while initiator.flush().unwrap() == Flush::Done
            && let Some(length) = left.next()
        {
            initiator.send(conformance::frame_with_data(length));
            let tag = initiator.reserve(4096);
            initiator.release(tag);
        }
    };
    for length in lengths() {
        flush(&mut initiator);
        assert_eq!(next(&mut target, &world), Received::Frame(conformance::frame_with_data(length)));
    }
    world.is_well();
}

#[test]
fn two_adapters_speak_over_a_bad_cable() {
    let world = World::over(PHYSICAL, BAD_CABLE);
    let (mut initiator, mut target) = world.ports();
    let tag = place(&mut target, 64 << 10);
    let data: Vec<u8> = (0..64u32 << 10).map(|at| (at / 7) as u8).collect();
    for (at, piece) in data.chunks(8192).enumerate() {
        initiator.send(data_out(tag, at as u32 * 8192, piece.to_vec()));
        target.send(conformance::frame_with_data(at * 1000));
    }
    for (at, piece) in data.chunks(8192).enumerate() {
        // All of it fits the windows, so it is sent while both wait.
        initiator.flush().unwrap();
        target.flush().unwrap();
        let Received::Frame(frame) = next(&mut target, &world) else { panic!("a good PDU comes") };
        assert_eq!(frame.data, piece);
        assert!(world.target.borrow().bus().memory().locate(&frame.data).is_some(), "it was placed");
        assert_eq!(next(&mut initiator, &world), Received::Frame(conformance::frame_with_data(at * 1000)));
    }
    target.release(tag);
    assert_eq!(world.faults(), []);
}

#[test]
fn payload_of_a_tag_that_was_given_back_ends_the_connection() {
    let world = World::new();
    let (mut initiator, mut target) = world.ports();
    let stale = place(&mut target, 4096);
    target.release(stale);
    initiator.send(data_out(stale, 0, vec![1; 4096]));
    initiator.flush().unwrap();
    // Its pod is valid until it is used again, so the adapter has placed it: nobody is told of data there.
    let end = (0..10_000).find_map(|_| target.receive().err()).expect("the connection ends");
    assert_eq!(end.kind(), PortErrorKind::Io, "{end}");
    assert_eq!(world.target.borrow().places_in_use(), 0);
}

#[test]
fn nobody_listens() {
    let world = World::new();
    let open = world.open("10.0.0.1:3260".parse().unwrap(), OffloadMode::Ulp);
    let status = world.wait(&world.initiator, |event| match event {
        DriverEvent::OpenFailed { open: which, status } if which == open => Some(status),
        _ => None,
    });
    assert_eq!(CplStatus::from_wire(status), Some(CplStatus::ConnReset));
    world.is_well();
}

#[test]
fn an_orderly_end_leaves_no_connection() {
    let world = World::new();
    let (initiator, mut target) = world.ports();
    drop(initiator);
    let end = (0..10_000).find_map(|_| target.receive().err()).expect("the end is told");
    assert_eq!(end.kind(), PortErrorKind::Closed);
    drop(target);
    for _ in 0..1000 {
        world.target.borrow_mut().poll(world.start);
        world.initiator.borrow_mut().poll(world.start);
    }
    assert_eq!(world.target.borrow().connection_count() + world.initiator.borrow().connection_count(), 0);
    world.is_well();
}

/// What the firmware tells of an interface's offloaded connections, by the names of the public structures.
#[test]
fn what_connections_send_is_told_by_the_firmware() {
    for functions in [PHYSICAL, VIRTUAL] {
        let world = World::between(functions);
        let (mut initiator, mut target) = world.ports();
        conformance::exchange(&mut initiator, &mut target, &[conformance::frame_with_data(4096)]);
        let driver = world.initiator.borrow();
        let names: &[&str] = if driver.bus().is_virtual() { &VF_COUNTERS } else { &PF_COUNTERS };
        let told = |name: &str| {
            let at = names.iter().position(|known| *known == name).unwrap() as u16;
            let ask = ViStatsCommand::request(Access::READ, driver.adapter().vi.value().into());
            let select = ViStatsSelect::new().with(ViStatsSelect::NSTATS, 1).with(ViStatsSelect::IX, at);
            let told = execute(driver.bus(), &ViStatsCommand { select, ..ask }, &mut || world.start).unwrap();
            told.counters[0].get()
        };
        let vin = driver.adapter().vi.get(ViId::VIN) as u8;
        let counters = world.adapters[0].with_switch(|switch| {
            *switch.interface(t5_model::switch::InterfaceNumber::new(vin).unwrap()).unwrap().counters()
        });
        assert!(counters.offloaded.bytes > 4096);
        let expected = (counters.offloaded.frames, counters.offloaded.bytes, counters.received.unicast.frames);
        assert_eq!((told("tx_offload_frames"), told("tx_offload_bytes"), told("rx_ucast_frames")), expected);
    }
}

#[test]
fn what_is_sent_is_counted() {
    let world = World::new();
    let (mut initiator, mut target) = world.ports();
    conformance::exchange(&mut initiator, &mut target, &[conformance::frame_with_data(4096)]);
    let macs = [world.initiator.borrow().adapter().mac, world.target.borrow().adapter().mac].map(MacAddress);
    world.adapters[0].with_switch(|switch| {
        let counters =
            |vin: u8| *switch.interface(t5_model::switch::InterfaceNumber::new(vin).unwrap()).unwrap().counters();
        let [first, second] = [0, 1].map(counters);
        assert_eq!(macs.map(|mac| mac.0[5]), [1, 0], "the initiator's interface came second");
        assert!(second.offloaded.bytes > 4096 && first.received.unicast == second.offloaded);
        assert_eq!(second.received.unicast, first.offloaded);
        let port = PortNumber::of(0);
        assert_eq!(switch.wire_counters(port).transmitted.total().frames, 0);
        assert_eq!(
            switch.loopback_counters(port).received.total().frames,
            first.offloaded.frames + second.offloaded.frames
        );
    });
}
