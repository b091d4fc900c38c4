//! A driver that means harm, beside two that do not: the adapter neither falls nor lets it out of what it was given.

mod fairness;
mod guest;
mod virtual_functions;

use guest::{
    BASE, DESCRIPTORS, HOSTILE, Hostile, VICTIM, VICTIM_BASE, VIRTUAL, adapter, command, refusal, snapshot, victim,
};
use proptest::prelude::*;
use std::time::{Duration, Instant};
use t5_hal::Bus;
use t5_hal::driver::{DriverEvent, OffloadMode};
use t5_hal::registers::*;
use t5_hal::wire::*;
use t5_model::adapter::Fault;
use t5_model::switch::{InterfaceNumber, MacAddress, PortNumber};
use t5_model::tcp::{Connection, ConnectionConfig, LinkHeader, Tuple, checksum};
use zerocopy::IntoBytes;

/// Where something stands that could stand there, or at the end of all addresses, or anywhere.
fn anywhere(usual: u64) -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(usual), 1 => (0..128u64).prop_map(|at| u64::MAX - at), 1 => any::<u64>()]
}

/// The target's function, or a virtual one.
fn functions() -> impl Strategy<Value = FunctionId> {
    prop_oneof![Just(HOSTILE), Just(VIRTUAL)]
}

/// A work request of each kind, with fields that look right and others that do not.
fn work_request() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        8 => (0..WorkRequestOpcode::ALL.len()).prop_map(|at| WorkRequestOpcode::ALL[at].to_wire()),
        1 => any::<u8>(),
    ];
    let message = prop_oneof![
        8 => (0..RequestOpcode::ALL.len()).prop_map(|at| RequestOpcode::ALL[at].to_wire()),
        1 => any::<u8>(),
    ];
    let len16 = prop_oneof![8 => 1..33u8, 1 => any::<u8>()];
    let place = prop_oneof![Just(BASE), Just(VICTIM_BASE), Just(0), Just(u64::MAX - 63), any::<u64>()];
    (opcode, message, len16, 0..4u32, any::<u8>(), place, prop::collection::vec(any::<u8>(), 480)).prop_map(
        |(opcode, message, len16, tid, immediate, place, rest)| {
            let mut bytes = vec![opcode, 0x20, 0, immediate, 0, (tid >> 8) as u8, tid as u8, len16];
            bytes.extend_from_slice(&rest);
            // Where a message has its opcode and tid, and a list its place.
            bytes[16..20].copy_from_slice(&[message, 0, 0, tid as u8]);
            if message & 1 == 1 {
                bytes[16..24].copy_from_slice(&[0x82, 0, 0, 1, 0, 0, 1, 0]);
                bytes[24..32].copy_from_slice(&place.to_be_bytes());
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn whatever_is_asked_stays_inside(function in functions(), requests in prop::collection::vec((0..3usize, work_request(), 0..80u32), 1..30)) {
        let adapter = adapter();
        let victim = victim(&adapter);
        let hostile = Hostile::of(&adapter, function);
        let before = snapshot(victim.bus().memory());
        for (queue, bytes, descriptors) in &requests {
            hostile.send(*queue, bytes, *descriptors);
        }
        for _ in 0..10 {
            adapter.poll();
        }
        prop_assert!(snapshot(victim.bus().memory()) == before, "another's memory was written");
        prop_assert_eq!(adapter.take_fault(VICTIM), None);
        prop_assert!(adapter.connections() <= 2048);
    }

    #[test]
    fn whatever_is_written_to_registers_is_taken(function in functions(), writes in prop::collection::vec((any::<u32>(), any::<u32>(), 0..4u8), 0..60)) {
        let adapter = adapter();
        let hostile = Hostile::of(&adapter, function);
        for (offset, value, kind) in writes {
            match kind {
                0 => hostile.bus.write_register(offset, value),
                1 => hostile.bus.write_register(hostile.registers() + offset % 0x400, value),
                2 => hostile.bus.write_doorbell(offset % 0x4000, value),
                _ => _ = hostile.bus.read_register(offset),
            }
            hostile.bus.poll();
        }
    }

    #[test]
    fn rings_that_stand_anywhere_are_taken(
        function in functions(),
        entries in anywhere(BASE), list in anywhere(BASE + 8192), offload in anywhere(BASE + 12288),
        control in anywhere(BASE + 20480), buffers in anywhere(BASE + (64 << 10)),
    ) {
        let adapter = adapter();
        let hostile = Hostile::with_rings(&adapter, function, [entries, list, offload, control, BASE + 28672]);
        for at in 0..16 {
            let _ = hostile.bus.memory().store(list.wrapping_add(8 * at), buffers.to_be_bytes());
        }
        hostile.ring(hostile.free_list, 1);
        // Frames to itself fill a buffer, and then the next; what is none is told.
        for length in [100, 1000, 3000, 3000] {
            hostile.send_frame(hostile.mac, length);
        }
        for (id, _) in hostile.egress {
            (0..DESCRIPTORS - 2).for_each(|_| hostile.ring(id, 1));
            hostile.bus.poll();
        }
    }

    #[test]
    fn whatever_stands_in_the_mailbox_is_answered(function in functions(), mut message in prop::collection::vec(any::<u8>(), 64), opcode in 0..CommandOpcode::ALL.len(), len16 in 0..6u8) {
        let adapter = adapter();
        let hostile = Hostile::of(&adapter, function);
        (message[0], message[7]) = (CommandOpcode::ALL[opcode].to_wire(), len16);
        let mailbox = MailboxRegisters::of(function.is_virtual());
        let message: [u8; 64] = message.try_into().unwrap();
        for index in 0..16 {
            hostile.bus.write_register(mailbox.data + 4 * index, mailbox_register(&message, index as usize));
        }
        hostile.bus.write_register(mailbox.control, 8 | u32::from(MailboxOwner::Firmware.to_wire()));
        hostile.bus.poll();
        let owner = hostile.bus.read_register(mailbox.control) & 3;
        prop_assert_eq!(owner, u32::from(MailboxOwner::Driver.to_wire()));
    }
}

#[test]
fn a_frame_that_no_buffer_holds_does_not_stop_its_receiver() {
    let adapter = adapter();
    let mut victim = victim(&adapter);
    let hostile = Hostile::new(&adapter);
    hostile.send_frame(victim.adapter().mac, u16::MAX);
    assert_eq!((hostile.fault(), adapter.take_fault(VICTIM)), (None, None));
    let vin = InterfaceNumber::new(victim.adapter().vi.get(ViId::VIN) as u8).unwrap();
    adapter.with_switch(|switch| assert_eq!(switch.interface(vin).unwrap().counters().received.unicast.frames, 1));
    let listener = victim.listen("10.0.0.1:3260".parse().unwrap(), OffloadMode::Ulp).unwrap();
    let start = Instant::now();
    let told = (0..1000).find_map(|_| {
        victim.poll(start);
        victim.poll_event()
    });
    assert!(matches!(told, Some(DriverEvent::Listening { listener: which, result: Ok(()) }) if which == listener));
}

#[test]
fn whoever_sends_much_waits_for_its_turn() {
    let adapter = adapter();
    let hostile = Hostile::new(&adapter);
    let mut ask = ViCommand::request(Access::EXEC_WRITE, HOSTILE.to_wire());
    ask.length = ask.length.with_bit(AllocLength::ALLOC, true);
    for _ in 0..27 {
        command(&hostile.bus, &ask).unwrap();
    }
    adapter.with_switch(|switch| {
        for (_, interface) in switch.interfaces_mut() {
            (interface.receives, interface.mode.broadcast) = (true, true);
        }
    });
    // Each is copied to the wire and to every interface but the sender's.
    let request = hostile.frame_request([0xff; 6], 60_000);
    assert_eq!(request.len(), 64, "one descriptor");
    let (id, address) = hostile.egress[2];
    for at in 0..60 {
        hostile.bus.memory().write(address + at * 64, &request).unwrap();
    }
    hostile.ring(id, 60);
    let sent = || adapter.with_switch(|switch| switch.wire_counters(PortNumber::of(0)).transmitted.total().frames);
    assert!(adapter.poll(), "there is more to do");
    let first = sent();
    assert!((1..=10).contains(&first), "{first} frames of 28 copies of 60 kB in one turn");
    while adapter.poll() {}
    assert_eq!(sent(), 60);
}

#[test]
fn a_frame_in_the_queue_itself_is_sent_whatever_its_address() {
    let adapter = adapter();
    let hostile = Hostile::new(&adapter);
    let op = WorkRequestOp::of(WorkRequestOpcode::EthTxPkt, size_of::<TxPktCore>() as u32 + 20);
    let request = EthTxPkt { op, flow: WorkRequestFlow::of(0, 52), ..EthTxPkt::default() };
    let core = TxPktCore { length: 20.into(), ..TxPktCore::default() };
    // The first byte is that of a list.
    let frame = [&[UlpPart::DataList.to_wire(), 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x88, 0xb5][..], b"abcdef"].concat();
    hostile.send(2, &[request.as_bytes(), core.as_bytes(), &frame].concat(), 1);
    assert_eq!(hostile.fault(), None);
    assert_eq!(adapter.poll_wire(PortNumber::of(0)), Some(frame));
}

#[test]
fn an_interface_that_was_given_back_takes_all_that_went_by_it() {
    let adapter = adapter();
    let hostile = Hostile::new(&adapter);
    hostile.open();
    let mut free = ViCommand::request(Access::EXEC_WRITE, HOSTILE.to_wire());
    free.length = free.length.with_bit(AllocLength::FREE, true);
    free.kind = ViType::new().with(ViType::VIID, hostile.vi);
    command(&hostile.bus, &free).unwrap();
    assert_eq!(adapter.connections(), 0);
    let queue = hostile.egress[2].0;
    hostile.ring(queue, 1);
    assert_eq!(hostile.fault(), Some(Fault::NoQueue { queue }), "its queue of frames is gone");
    hostile.request(ActOpenReq { opt0: hostile.options(), ..hostile.open_request() });
    assert_eq!(adapter.connections(), 0, "its source address is gone");
}

#[test]
fn an_abort_without_a_reset_ends_a_connection_in_silence() {
    let adapter = adapter();
    let hostile = Hostile::new(&adapter);
    hostile.open();
    hostile.request(AbortReq { command: AbortCommand::NoRst.to_wire(), ..AbortReq::new(0, 0) });
    adapter.poll();
    assert_eq!((hostile.fault(), adapter.connections()), (None, 0));
    let sent = std::iter::from_fn(|| adapter.poll_wire(PortNumber::of(0))).count();
    assert_eq!(sent, 1, "a SYN and nothing else");
}

#[test]
fn answers_to_a_flood_of_syns_are_bounded() {
    let adapter = adapter();
    let mut victim = victim(&adapter);
    victim.poll(Instant::now());
    let (destination, source) = (MacAddress(victim.adapter().mac), MacAddress([2, 0, 0, 0, 0, 9]));
    let config = ConnectionConfig {
        link: LinkHeader { destination, source, vlan_tag: None, ipv6: false },
        mtu_bytes: 1500,
        receive_bytes: 0,
        send_bytes: 0,
        nagle: false,
        keep_alive: false,
        seed: 1,
    };
    let tuple = Tuple { local: "10.0.0.9:1".parse().unwrap(), peer: "10.0.0.1:3260".parse().unwrap() };
    let mut syn = Connection::connect(config, tuple, Duration::ZERO).unwrap().poll_transmit(Duration::ZERO).unwrap();
    checksum::fill(&mut syn[14..]);
    let port = PortNumber::of(0);
    (0..5000).for_each(|_| adapter.handle_wire(port, syn.clone()));
    let mut answers = 0;
    for _ in 0..100 {
        adapter.poll();
        answers += std::iter::from_fn(|| adapter.poll_wire(port)).count();
    }
    assert_eq!(answers, 4096);
}

#[test]
fn a_request_that_is_none_is_a_fault_and_is_told() {
    let adapter = adapter();
    let hostile = Hostile::new(&adapter);
    hostile.send(1, &[0xff, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], 1);
    let queue = hostile.egress[1].0;
    assert_eq!(hostile.fault(), Some(Fault::WorkRequest { queue, word: 0xff00_0000 }));
    let mut entry = [0; 64];
    hostile.bus.memory().read(BASE, &mut entry).unwrap();
    assert_eq!((entry[8], entry[9]), (ReplyOpcode::Fw6Msg.to_wire(), FirmwareMessage::CommandReply.to_wire()));
    assert_eq!(entry[16], CommandOpcode::Error.to_wire());
}

#[test]
fn a_queue_that_is_rung_for_too_much_is_a_fault() {
    let adapter = adapter();
    let hostile = Hostile::new(&adapter);
    let queue = hostile.egress[0].0;
    hostile.send(0, &[0; 64], DESCRIPTORS.into());
    assert_eq!(hostile.fault(), Some(Fault::EgressOverflow { queue }));
    hostile.bus.write_register(MY_PF + KDOORBELL, QueueDoorbell::new().with(QueueDoorbell::QID, 0x1ffff).value());
    assert_eq!(hostile.fault(), Some(Fault::NoQueue { queue: 0x1ffff }));
}

#[test]
fn page_pods_of_another_are_not_written() {
    let adapter = adapter();
    let victim = victim(&adapter);
    let hostile = Hostile::new(&adapter);
    let address = victim.adapter().pods.start;
    let write = UlpMemoryWrite::immediate(0, address, 64);
    let request = [write.as_bytes(), &[0xff; 72]].concat();
    hostile.send(0, &request, 2);
    assert_eq!(hostile.fault(), Some(Fault::AdapterMemory { address }));
}

#[test]
fn an_ingress_queue_that_nobody_reads_loses_messages_and_nothing_else() {
    let adapter = adapter();
    let hostile = Hostile::new(&adapter);
    let queue = hostile.iq;
    let overflow = (0..200).any(|_| {
        hostile.send(1, &[0xff, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], 60);
        std::iter::from_fn(|| hostile.fault()).any(|fault| fault == Fault::IngressOverflow { queue })
    });
    assert!(overflow, "a backlog is bounded");
}

#[test]
fn what_is_anothers_is_refused_by_the_firmware() {
    let adapter = adapter();
    let victim = victim(&adapter);
    let hostile = Hostile::new(&adapter);
    let theirs = u32::from(victim.adapter().vi.value());
    let denied = Some(ReturnCode::NotPermitted);
    assert_eq!(refusal(&hostile.bus, &ViEnableCommand::request(Access::EXEC_WRITE, theirs)), denied);
    assert_eq!(refusal(&hostile.bus, &ViRxModeCommand::request(Access::WRITE, theirs)), denied);
    assert_eq!(refusal(&hostile.bus, &ViStatsCommand::request(Access::READ, theirs)), denied);
    assert_eq!(refusal(&hostile.bus, &AclMacCommand::request(Access::WRITE, VICTIM.to_wire())), denied);
    for other in [VICTIM, FunctionId::physical(0)].map(FunctionId::to_wire) {
        assert_eq!(refusal(&hostile.bus, &PfVfCommand::request(Access::READ, other)), denied);
        assert_eq!(refusal(&hostile.bus, &ParamsCommand::request(Access::READ, other)), denied);
        assert_eq!(refusal(&hostile.bus, &IqCommand::request(Access::EXEC_WRITE, other)), denied);
        assert_eq!(refusal(&hostile.bus, &EqEthCommand::request(Access::EXEC_WRITE, other)), denied);
        assert_eq!(refusal(&hostile.bus, &EqCtrlCommand::request(Access::EXEC_WRITE, other)), denied);
        assert_eq!(refusal(&hostile.bus, &EqOffloadCommand::request(Access::EXEC_WRITE, other)), denied);
        assert_eq!(refusal(&hostile.bus, &ViCommand::request(Access::EXEC_WRITE, other)), denied);
        assert_eq!(refusal(&hostile.bus, &AclVlanCommand::request(Access::WRITE, other)), denied);
    }
    let mut free = ViCommand::request(Access::EXEC_WRITE, HOSTILE.to_wire());
    free.length = free.length.with_bit(AllocLength::FREE, true);
    free.kind = ViType::new().with(ViType::VIID, theirs as u16);
    assert_eq!(refusal(&hostile.bus, &free), denied);
    assert_eq!(refusal(&hostile.bus, &LdstCommand::request(Access::READ, 0)), Some(ReturnCode::NotImplemented));

    // An address of another is not given away.
    let mut take = ViMacCommand::request(Access::WRITE, hostile.vi.into());
    take.entries[0].index = ViMacIndex::new().with_bit(ViMacIndex::VALID, true).with(ViMacIndex::IDX, MAC_ADD);
    take.entries[0].address = victim.adapter().mac;
    let answer = command(&hostile.bus, &take).unwrap();
    let result = answer.entries[0].index.get(ViMacIndex::SMAC_RESULT) as u8;
    assert_eq!(ViMacResult::from_wire(result), Some(ViMacResult::AccessList));
}

#[test]
fn a_mailbox_of_the_firmware_is_not_written() {
    let adapter = adapter();
    let hostile = Hostile::new(&adapter);
    hostile.bus.write_register(MY_PF + MAILBOX_CONTROL, 8 | u32::from(MailboxOwner::Firmware.to_wire()));
    let before = hostile.bus.read_register(MY_PF + MAILBOX_DATA);
    hostile.bus.write_register(MY_PF + MAILBOX_DATA, !before);
    hostile.bus.write_register(MY_PF + MAILBOX_CONTROL, 0);
    assert_eq!(hostile.bus.read_register(MY_PF + MAILBOX_DATA), before);
    assert_eq!(hostile.bus.read_register(MY_PF + MAILBOX_CONTROL) & 3, 1);
}
