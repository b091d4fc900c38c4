//! What the adapter makes of each work request and command of a driver, and what it answers.

#[path = "hostile/guest.rs"]
mod guest;

use bytes::Bytes;
use guest::{BASE, DESCRIPTORS, HOSTILE, Hostile, VICTIM, adapter, command, refusal, victim};
use iscsi_pdu::{DataIn, Pdu};
use iscsi_transport::{Digests, PortErrorKind, Received};
use std::sync::Arc;
use std::time::Instant;
use t5_hal::Bus;
use t5_hal::dma::DmaMemory;
use t5_hal::driver::{Driver, DriverEvent, OffloadMode, OpenTarget};
use t5_hal::wire::*;
use t5_model::adapter::{Adapter, Fault, FunctionBus};
use t5_model::switch::{InterfaceNumber, PortNumber, VlanList};
use zerocopy::{FromBytes, IntoBytes};

const NOBODY: [u8; 6] = [2, 0, 0, 0, 0, 9];
const GROUP: [u8; 6] = [1, 0, 0x5e, 1, 2, 3];

/// Gives the buffers of the free list.
fn give_buffers(guest: &Hostile) {
    let memory = guest.bus.memory();
    for at in 0..16 {
        let buffer = memory.buffers() + (64 << 10) + at * 4096;
        memory.store(BASE + 8192 + at * 8, buffer.to_be_bytes()).unwrap();
    }
    guest.ring(guest.free_list, 2);
}

/// All that stands in the first ingress queue, which has gone round less than once: each message with what is behind it.
fn messages(guest: &Hostile) -> Vec<(Reply, Vec<u8>)> {
    messages_at(guest, 0)
}

/// The same of a queue at that address of the rings; one of them has the free list.
fn messages_at(guest: &Hostile, ring: u64) -> Vec<(Reply, Vec<u8>)> {
    let (memory, mut filled, mut next_buffer) = (guest.bus.memory(), 0, 0);
    let mut found = Vec::new();
    for at in 0..64 {
        let mut bytes = [0; INGRESS_ENTRY_BYTES];
        memory.read(BASE + ring + at * INGRESS_ENTRY_BYTES as u64, &mut bytes).unwrap();
        let entry = IngressEntry::read_from_bytes(&bytes).unwrap();
        if !entry.kind.is_set(EntryType::GEN) {
            break;
        }
        let mut message = entry.message.to_vec();
        if entry.kind.get(EntryType::TYPE) == EntryKind::FreeListBuffer.to_wire() {
            if entry.length.is_set(FreeListLength::NEWBUF) {
                (filled, next_buffer) = (0, next_buffer + 1);
            }
            let mut body = vec![0; entry.length.get(FreeListLength::LEN) as usize];
            let buffer = memory.buffers() + (64 << 10) + (next_buffer - 1) * 4096;
            memory.read(buffer + filled, &mut body).unwrap();
            filled += (body.len() as u64).next_multiple_of(64);
            // Of a frame the message stands in the entry.
            message = if message[0] == ReplyOpcode::RxPkt.to_wire() {
                [&message[..size_of::<RxPkt>()], &body[2..]].concat()
            } else {
                body
            };
        }
        let (reply, rest) = Reply::decode(&message).unwrap();
        found.push((reply, rest.to_vec()));
    }
    found
}

fn last(guest: &Hostile) -> Reply {
    messages(guest).last().expect("something was told").0
}

fn frames_of(guest: &Hostile) -> Vec<(u32, Vec<u8>)> {
    let all = messages(guest).into_iter();
    let frames = all.filter_map(|(reply, frame)| match reply {
        Reply::RxPkt(message) => Some((message.l2info.get(), frame)),
        _ => None,
    });
    frames.collect()
}

fn on_wire(adapter: &Adapter) -> Vec<Vec<u8>> {
    while adapter.poll() {}
    std::iter::from_fn(|| adapter.poll_wire(PortNumber::of(0))).collect()
}

fn frame(to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    [&to[..], &from, &[0x88, 0xb5], &[7; 46]].concat()
}

/// Sends a frame in the queue itself: by the plain request or by the one that has the switch look at it, with the bit that loops it back or without.
fn send(guest: &Hostile, frame: &[u8], switched: bool, loopback: bool) {
    let control0 = TxPktControl0::new().with_bit(TxPktControl0::LOOPBACK, loopback);
    let core = TxPktCore { control0, length: (frame.len() as u16).into(), ..TxPktCore::default() };
    let immediate = (size_of::<TxPktCore>() + frame.len()) as u32;
    let of = |opcode, header: usize| {
        (WorkRequestOp::of(opcode, immediate), WorkRequestFlow::of(0, header + immediate as usize))
    };
    let header = if switched {
        let (op, flow) = of(WorkRequestOpcode::EthTxPktVm, size_of::<EthTxPktVm>());
        EthTxPktVm { op, flow, ..EthTxPktVm::default() }.as_bytes().to_vec()
    } else {
        let (op, flow) = of(WorkRequestOpcode::EthTxPkt, size_of::<EthTxPkt>());
        EthTxPkt { op, flow, ..EthTxPkt::default() }.as_bytes().to_vec()
    };
    let request = [&header[..], core.as_bytes(), frame].concat();
    guest.send_next(2, &request);
    assert_eq!(guest.fault(), None);
}

#[test]
fn a_plain_frame_goes_to_the_wire_and_one_for_the_switch_to_whose_it_is() {
    let adapter = adapter();
    let (from, to) = (Hostile::new(&adapter), Hostile::of(&adapter, VICTIM));
    give_buffers(&to);
    let sent = frame(to.mac, from.mac);
    send(&from, &sent, false, false);
    assert_eq!(on_wire(&adapter), std::slice::from_ref(&sent), "without tx_vm");
    assert_eq!(frames_of(&to), []);
    send(&from, &sent, true, false);
    assert_eq!(on_wire(&adapter), [[0; 0]; 0]);
    assert_eq!(frames_of(&to), [(0, sent)], "an exact match");
    let unknown = frame(NOBODY, from.mac);
    send(&from, &unknown, true, false);
    assert_eq!(on_wire(&adapter), [unknown]);
}

/// What the firmware tells of a frame that may not be sent: the kind, whether it is the VLAN, and the value.
#[test]
fn what_an_access_list_forbids_is_told_as_such() {
    let adapter = adapter();
    let (guest, other) = (Hostile::new(&adapter), Hostile::of(&adapter, VICTIM));
    let forbidden = |frame: &[u8]| {
        let core = TxPktCore { length: (frame.len() as u16).into(), ..TxPktCore::default() };
        let immediate = (size_of::<TxPktCore>() + frame.len()) as u32;
        let op = WorkRequestOp::of(WorkRequestOpcode::EthTxPkt, immediate);
        let flow = WorkRequestFlow::of(0, size_of::<EthTxPkt>() + immediate as usize);
        let header = EthTxPkt { op, flow, ..EthTxPkt::default() };
        guest.send_next(2, &[header.as_bytes(), core.as_bytes(), frame].concat());
        assert!(matches!(guest.fault(), Some(Fault::Frame(_))));
        let Reply::Fw6Msg(message) = last(&guest) else { panic!("the firmware tells") };
        assert_eq!(FirmwareMessage::from_wire(message.kind), Some(FirmwareMessage::CommandReply));
        let command = ErrorCommand::read_from_bytes(&message.data).unwrap();
        assert_eq!(command.op.get(CommandOp::OPCODE), u32::from(CommandOpcode::Error.to_wire()));
        assert_eq!(command.op.get(CommandOp::TARGET) & 0xf, u32::from(ErrorKind::AccessList.to_wire()));
        let error = AccessError::read_from_bytes(&command.data).unwrap();
        assert_eq!((error.pfn_vfn.get(), error.egress_queue.get()), (HOSTILE.to_wire() as u16, guest.egress[2].0));
        (error.kind.get(), error.value)
    };
    assert_eq!(forbidden(&frame(NOBODY, other.mac)), (0, other.mac), "the address of another");
    let vin = ViId::from_value(guest.vi).get(ViId::VIN) as u8;
    adapter.with_switch(|switch| {
        let list = VlanList { vlans: [7].into_iter().collect(), drop_untagged: true, drop_unlisted: true };
        switch.interface_mut(InterfaceNumber::new(vin).unwrap()).unwrap().vlan_list = Some(list);
    });
    let tagged = |vlan: u8| [&NOBODY[..], &guest.mac, &[0x81, 0, 0, vlan, 0x88, 0xb5], &[7; 42]].concat();
    assert_eq!(forbidden(&tagged(5)), (1, [0, 5, 0, 0, 0, 0]));
    assert_eq!(forbidden(&frame(NOBODY, guest.mac)), (1, [0; 6]), "without a VLAN");
    assert_eq!(on_wire(&adapter), [[0; 0]; 0]);
    send(&guest, &tagged(7), false, false);
    assert_eq!(on_wire(&adapter), [tagged(7)]);
}

#[test]
fn a_frame_that_is_looped_back_never_reaches_the_wire() {
    let adapter = adapter();
    let (from, to) = (Hostile::new(&adapter), Hostile::of(&adapter, VICTIM));
    give_buffers(&to);
    for (switched, destination) in [(false, to.mac), (true, to.mac), (false, NOBODY), (true, NOBODY)] {
        send(&from, &frame(destination, from.mac), switched, true);
    }
    assert_eq!(on_wire(&adapter), [[0; 0]; 0]);
    assert_eq!(frames_of(&to).len(), 2);
    adapter.with_switch(|switch| {
        let loopback = switch.loopback_counters(PortNumber::of(0));
        assert_eq!((loopback.received.unicast.frames, loopback.received_by_none), (4, 2));
    });
}

#[test]
fn an_interface_receives_what_its_mode_and_its_hash_say() {
    let adapter = adapter();
    let (from, to) = (Hostile::new(&adapter), Hostile::of(&adapter, VICTIM));
    give_buffers(&to);
    let vi = u32::from(to.vi);
    let mode = |set: RxMode| {
        let mut ask = ViRxModeCommand::request(Access::WRITE, vi);
        ask.mode = set;
        command(&to.bus, &ask).unwrap();
    };
    // All ones leave a mode as it is.
    let same = RxMode::new().with(RxMode::PROMISCEN, 3).with(RxMode::ALLMULTIEN, 3).with(RxMode::BROADCASTEN, 3);
    let came = |destination| {
        let before = frames_of(&to).len();
        send(&from, &frame(destination, from.mac), true, false);
        frames_of(&to).get(before).map(|(matched, _)| *matched)
    };
    assert_eq!((came([0xff; 6]), came(GROUP)), (None, None));
    mode(same.with(RxMode::BROADCASTEN, 1));
    assert_eq!((came([0xff; 6]), came(GROUP)), (Some(6), None));
    mode(same.with(RxMode::ALLMULTIEN, 1));
    assert_eq!((came([0xff; 6]), came(GROUP)), (Some(6), Some(4)), "the other mode is as it was");
    mode(same.with(RxMode::ALLMULTIEN, 0).with(RxMode::BROADCASTEN, 0));
    assert_eq!((came([0xff; 6]), came(GROUP)), (None, None));
    let mut hash = ViMacCommand::request(Access::WRITE, vi);
    hash.length = hash.length.with(ViMacLength::ENTRY_TYPE, 1);
    let bit = 1u64 << t5_model::switch::MacAddress(GROUP).hash_bit();
    hash.entries[0] = ViMacExact::read_from_bytes(&bit.to_be_bytes()).unwrap();
    command(&to.bus, &hash).unwrap();
    assert_eq!((came([0xff; 6]), came(GROUP)), (None, Some(3)));

    // Its own address, until it is taken away.
    assert_eq!(came(to.mac), Some(0));
    let mut free = ViMacCommand::request(Access::WRITE, vi);
    free.entries[0].index = ViMacIndex::new().with_bit(ViMacIndex::VALID, true).with(ViMacIndex::IDX, MAC_FREE_ADDRESS);
    free.entries[0].address = to.mac;
    command(&to.bus, &free).unwrap();
    assert_eq!(came(to.mac), None);
    let mut enable = ViEnableCommand::request(Access::EXEC_WRITE, from.vi.into());
    enable.length = enable.length.with_bit(ViEnableLength::IEN, true);
    command(&from.bus, &enable).unwrap();
    on_wire(&adapter);
    from.send_next(2, &from.frame_request(to.mac, 60));
    assert!(matches!(from.fault(), Some(Fault::Frame(_))), "it may not send any more");
    assert_eq!(on_wire(&adapter), [[0; 0]; 0]);
}

#[test]
fn no_more_buffers_are_filled_than_the_list_has() {
    let adapter = adapter();
    let (from, to) = (Hostile::new(&adapter), Hostile::of(&adapter, VICTIM));
    give_buffers(&to);
    (0..100).for_each(|_| to.ring(to.free_list, 100));
    let large = [&frame(to.mac, from.mac)[..14], &[1; 3000]].concat();
    from.bus.memory().write(from.bus.memory().buffers(), &large).unwrap();
    for _ in 0..30 {
        let request = from.frame_request(to.mac, large.len() as u16);
        from.bus.memory().write(from.bus.memory().buffers(), &large).unwrap();
        from.send_next(2, &request);
    }
    let count = frames_of(&to).len();
    assert!((1..=16).contains(&count), "{count} frames in 16 buffers");
}

#[test]
fn requests_that_cannot_be_done_are_answered_by_their_status() {
    let adapter = adapter();
    let guest = Hostile::new(&adapter);
    let (first, count) = (4 * 496, 496);
    let opt1 = Opt1::new().with(Opt1::SYN_RSS_QUEUE, guest.iq.into());
    let listen = |stid: u32, port: u16| {
        guest.request(PassOpenReq { local_port: port.into(), opt1, ..PassOpenReq::new(0, stid) });
        match last(&guest) {
            Reply::PassOpenRpl(reply) if reply.opcode_tid.get(OpcodeTid::TID) == stid => {
                CplStatus::from_wire(reply.status)
            }
            other => panic!("an answer to the listener {stid}, not {other:?}"),
        }
    };
    assert_eq!(listen(first, 80), Some(CplStatus::None));
    assert_eq!(listen(first, 81), Some(CplStatus::ConnExist), "the number is taken");
    assert_eq!(listen(first + 1, 80), Some(CplStatus::ConnExist), "the address is taken");
    assert_eq!(listen(first - 1, 82), Some(CplStatus::TcamFull), "the number is another's");
    assert_eq!(listen(first + count, 82), Some(CplStatus::TcamFull));
    assert_eq!(listen(first + count - 1, 82), Some(CplStatus::None));

    let hop = |index: u16| {
        guest.request(L2tWriteReq { index: index.into(), ..L2tWriteReq::new(0, 0) });
        match last(&guest) {
            Reply::L2tWriteRpl(reply) => CplStatus::from_wire(reply.status),
            other => panic!("an answer, not {other:?}"),
        }
    };
    assert_eq!((hop(511), hop(512)), (Some(CplStatus::None), Some(CplStatus::TcamFull)));

    let open = |opt0: Opt0| {
        guest.request(ActOpenReq { opt0, ..guest.open_request() });
        match last(&guest) {
            Reply::ActOpenRpl(reply) => CplStatus::from_wire(reply.atid_status.get(AtidStatus::STATUS) as u8),
            other => panic!("an answer, not {other:?}"),
        }
    };
    let row = u32::from(ViId::from_value(guest.vi).get(ViId::VIN));
    assert_eq!(open(guest.options()), Some(CplStatus::BadRoute), "its own address is not in the table");
    let params = SmtParams::new().with(SmtParams::IDX, row);
    guest.request(SmtWriteReq { params, source_mac0: guest.mac, ..SmtWriteReq::new(0, 0) });
    assert_eq!(open(guest.options().with(Opt0::L2T_IDX, 7)), Some(CplStatus::ArpMiss), "nor the next hop");
    let params = L2tParams::new().with_bit(L2tParams::NOREPLY, true);
    guest.request(L2tWriteReq { params, destination_mac: NOBODY, vlan: 0xfff.into(), ..L2tWriteReq::new(0, 0) });
    guest.request(ActOpenReq { opt0: guest.options(), ..guest.open_request() });
    assert_eq!(open(guest.options()), Some(CplStatus::ConnExist), "the same ends again");
    assert_eq!((guest.fault(), adapter.connections()), (None, 1));
}

#[test]
fn a_connection_of_ipv6_has_an_address_that_the_firmware_knows() {
    let adapter = adapter();
    let guest = Hostile::new(&adapter);
    let row = u32::from(ViId::from_value(guest.vi).get(ViId::VIN));
    let params = SmtParams::new().with(SmtParams::IDX, row);
    guest.request(SmtWriteReq { params, source_mac0: guest.mac, ..SmtWriteReq::new(0, 0) });
    let params = L2tParams::new().with_bit(L2tParams::NOREPLY, true);
    guest.request(L2tWriteReq { params, destination_mac: NOBODY, vlan: 0xfff.into(), ..L2tWriteReq::new(0, 0) });
    let address = |last: u8| {
        let mut ip = [0; 16];
        (ip[0], ip[15]) = (0xfd, last);
        ip
    };
    let open = || {
        let open =
            ActOpenReq6 { local_ip: address(1), peer_ip: address(2), ..ActOpenReq6::new(0, u32::from(guest.iq) << 14) };
        let open = ActOpenReq6 { local_port: 1.into(), peer_port: 2.into(), opt0: guest.options(), ..open };
        guest.send_next(1, open.as_bytes());
    };
    open();
    let Reply::ActOpenRpl(reply) = last(&guest) else { panic!("an answer, not {:?}", last(&guest)) };
    assert_eq!(reply.atid_status.get(AtidStatus::STATUS), u32::from(CplStatus::TcamMiss.to_wire()));
    let clip = |bit, last| {
        let ask = ClipCommand::request(Access::WRITE, 0);
        ClipCommand { length: ask.length.with_bit(bit, true), address: address(last), ..ask }
    };
    assert_eq!(refusal(&guest.bus, &clip(ClipLength::FREE, 1)), Some(ReturnCode::NoEntry));
    (1..=64).for_each(|last| _ = command(&guest.bus, &clip(ClipLength::ALLOC, last)).unwrap());
    command(&guest.bus, &clip(ClipLength::ALLOC, 64)).unwrap();
    assert_eq!(refusal(&guest.bus, &clip(ClipLength::ALLOC, 65)), Some(ReturnCode::NoMemory));
    open();
    assert_eq!((guest.fault(), adapter.connections(), messages(&guest).len()), (None, 1, 1));
    let syn = on_wire(&adapter);
    assert_eq!((syn.len(), &syn[0][12..14], &syn[0][22..38]), (1, &[0x86, 0xdd][..], &address(1)[..]));
}

#[test]
fn a_control_block_is_changed_where_the_mask_says_and_read_as_it_is() {
    let adapter = adapter();
    let guest = Hostile::new(&adapter);
    give_buffers(&guest);
    guest.open();
    let reply_control = ReplyControl::new().with(ReplyControl::QUEUENO, guest.iq);
    let change = |mask: u64, value: u64| {
        let word_cookie = WordCookie::new().with(WordCookie::WORD, 5).with(WordCookie::COOKIE, 0);
        let (mask, value) = (mask.into(), value.into());
        guest.request(SetTcbField { reply_control, word_cookie, mask, value, ..SetTcbField::new(0, 0) });
        match last(&guest) {
            Reply::SetTcbRpl(reply) => (reply.status, reply.old_value.get()),
            other => panic!("an answer, not {other:?}"),
        }
    };
    assert_eq!(change(u64::MAX, 0x1122_3344_5566_7788), (0, 0));
    assert_eq!(change(0xff00_0000_0000, 0), (0, 0x1122_3344_5566_7788));
    assert_eq!(change(0, u64::MAX), (0, 0x1122_0044_5566_7788));
    guest.request(GetTcb { reply_control, cookie: 9.into(), ..GetTcb::new(0, 0) });
    let all = messages(&guest);
    let Some((Reply::GetTcbRpl(reply), block)) = all.last() else { panic!("a control block") };
    assert_eq!((reply.cookie, reply.status, reply.length.get(), block.len()), (9, 0, 128, 128));
    assert_eq!(
        block[20..28],
        [0x55, 0x66, 0x77, 0x88, 0x11, 0x22, 0x00, 0x44],
        "words 5 and 6, each from its highest byte"
    );
    assert_eq!(guest.fault(), None);
}

#[test]
fn data_needs_a_flow_and_credits() {
    let adapter = adapter();
    let guest = Hostile::new(&adapter);
    guest.open();
    let payload = [0; 464];
    let op = WorkRequestOp::of(WorkRequestOpcode::OffloadTxData, 464 & 0xff);
    assert!(payload.len() > 255, "so that it stands in pieces");
    let mut request = OffloadTxData {
        op: op.with(WorkRequestOp::IMMDLEN, 240),
        flow: WorkRequestFlow::of(0, 256),
        ..OffloadTxData::default()
    }
    .as_bytes()
    .to_vec();
    request.extend(&payload[..240]);
    guest.send_next(0, &request);
    assert_eq!(guest.fault(), Some(Fault::NoConnection { tid: 0 }), "nothing is known of the flow");
    let flow = FlowC { op: WorkRequestOp::of(WorkRequestOpcode::FlowC, 0), flow: WorkRequestFlow::of(0, 16) };
    guest.send_next(0, flow.as_bytes());
    assert_eq!(guest.fault(), None);
    // The connection does not stand, so that nothing is done and no credits come back: 1024, of which the flow has taken one.
    for at in 0..63 {
        guest.send_next(0, &request);
        assert_eq!(guest.fault(), None, "request {at}");
    }
    guest.send_next(0, &request);
    assert_eq!(guest.fault(), Some(Fault::Credits { tid: 0 }));
}

#[test]
fn how_far_a_queue_was_read_is_told_where_it_is_asked_for() {
    let adapter = adapter();
    let guest = Hostile::new(&adapter);
    let (queue, ring) = guest.egress[1];
    let status = || {
        let mut status = [0; 8];
        guest.bus.memory().read(ring + u64::from(DESCRIPTORS) * 64, &mut status).unwrap();
        status
    };
    let params = L2tParams::new().with_bit(L2tParams::NOREPLY, true);
    let quiet = L2tWriteReq { params, ..L2tWriteReq::new(0, 0) };
    guest.request(quiet);
    assert_eq!((status(), messages(&guest)), ([0; 8], vec![]));
    let mut page = quiet;
    page.header.flow = page.header.flow.with_bit(WorkRequestFlow::EQUEQ, true);
    guest.send_next(1, page.as_bytes());
    assert_eq!(status(), [&queue.to_be_bytes()[..], &[0, 2, 0, 2]].concat()[..]);
    let mut told = quiet;
    told.header.flow = told.header.flow.with_bit(WorkRequestFlow::EQUIQ, true);
    guest.send_next(1, told.as_bytes());
    let Reply::SgeEgrUpdate(update) = last(&guest) else { panic!("how far it was read") };
    assert_eq!((update.opcode_qid.get(OpcodeTid::TID), update.consumer.get(), update.producer.get()), (queue, 3, 3));
}

#[test]
fn the_first_who_says_hello_is_in_charge_until_it_says_bye() {
    let adapter = adapter();
    let bus = |function| -> FunctionBus { adapter.function(function, Arc::new(DmaMemory::new(0, 4096, 4096))) };
    let (first, second) = (bus(HOSTILE), bus(VICTIM));
    let master = |bus: &FunctionBus| {
        let answer = command(bus, &HelloCommand::request(Access::WRITE, 0)).unwrap();
        (answer.flags.get(HelloFlags::MBMASTER), answer.flags.is_set(HelloFlags::INIT))
    };
    assert_eq!((master(&first), master(&second)), ((4, false), (4, false)));
    command(&first, &InitializeCommand::request(Access::WRITE, 0)).unwrap();
    assert_eq!(master(&second), (4, true));
    command(&second, &ByeCommand::request(Access::WRITE, 0)).unwrap();
    assert_eq!(master(&second), (4, true), "the other is still there");
    command(&first, &ByeCommand::request(Access::WRITE, 0)).unwrap();
    assert_eq!(master(&second), (5, true));
    assert_eq!(refusal(&first, &LdstCommand::request(Access::READ, 0)), Some(ReturnCode::NotImplemented));
}

/// A connection to a listener of the guest's, which it is asked about: whose, and its number.
fn asked(adapter: &Arc<Adapter>, guest: &Hostile) -> (Driver<FunctionBus>, u32) {
    give_buffers(guest);
    let row = u32::from(ViId::from_value(guest.vi).get(ViId::VIN));
    let params = SmtParams::new().with(SmtParams::IDX, row);
    guest.request(SmtWriteReq { params, source_mac0: guest.mac, ..SmtWriteReq::new(0, 0) });
    let opt1 = Opt1::new().with(Opt1::SYN_RSS_QUEUE, guest.iq.into());
    guest.request(PassOpenReq { local_port: 80.into(), opt1, ..PassOpenReq::new(0, 4 * 496) });
    let mut peer = victim(adapter);
    let mac = L2tWriteReq { destination_mac: peer.adapter().mac, vlan: 0xfff.into(), ..L2tWriteReq::new(0, 0) };
    guest.request(mac);
    let (local, to) = ("10.0.0.9:2000".parse().unwrap(), "10.0.0.8:80".parse().unwrap());
    peer.connect(OpenTarget { local, peer: to, peer_mac: guest.mac, mode: OffloadMode::Ulp }).unwrap();
    go_on(&mut peer);
    let Reply::PassAcceptReq(request) = last(guest) else { panic!("it is asked, not {:?}", last(guest)) };
    assert_eq!(request.tos_stid.get(TosId::ID), 4 * 496);
    (peer, request.opcode_tid.get(OpcodeTid::TID))
}

fn go_on(driver: &mut Driver<FunctionBus>) {
    (0..100).for_each(|_| driver.poll(Instant::now()));
}

fn connected(driver: &mut Driver<FunctionBus>) -> bool {
    connection(driver).is_some()
}

fn connection(driver: &mut Driver<FunctionBus>) -> Option<u32> {
    go_on(driver);
    std::iter::from_fn(|| driver.poll_event()).find_map(|event| match event {
        DriverEvent::Connected { connection, .. } => Some(connection),
        _ => None,
    })
}

/// A burst with a Data-In as its pattern, whose data is in two pieces from that address on: how many bytes, and how many in a PDU.
fn burst(guest: &Hostile, tid: u32, at: u64, bytes: u32, pdu_bytes: u16) -> Vec<u8> {
    let pattern =
        Pdu::from(DataIn { data_sn: 5, buffer_offset: 4096, is_final: true, ..DataIn::default() }).encode().header;
    guest.bus.memory().write(guest.bus.memory().buffers(), &pattern.0).unwrap();
    let op = IsoOp::new().with_bit(IsoOp::FIRST, true).with_bit(IsoOp::LAST, true).with(IsoOp::SCSI, 2);
    let iso = TxDataIso {
        op: op.with_bit(IsoOp::HDRCRC, true).with_bit(IsoOp::PLDCRC, true),
        pdu_quarter: (pdu_bytes / 4).into(),
        burst_quarter: (bytes / 4).into(),
        length: (48 + bytes).into(),
        ..TxDataIso::default()
    };
    let mut list = Vec::new();
    let piece = |address, length| Piece { address, length };
    let pieces = [piece(guest.bus.memory().buffers(), 48), piece(at, 1000), piece(at + 1000, bytes - 1000)];
    UlpList::encode(&pieces, &mut list);
    let op = WorkRequestOp::of(WorkRequestOpcode::IscsiTxData, size_of::<TxDataIso>() as u32);
    let length = size_of::<OffloadTxData>() + size_of::<TxDataIso>() + list.len();
    let (op, flow) = (op.with_bit(WorkRequestOp::COMPL, true), WorkRequestFlow::of(tid, length));
    [OffloadTxData { op, flow, ..OffloadTxData::default() }.as_bytes(), iso.as_bytes(), &list].concat()
}

/// A connection of PDUs with digests from a guest to a driver: its number at both ends.
fn offloaded(adapter: &Arc<Adapter>, guest: &Hostile) -> (Driver<FunctionBus>, u32, u32) {
    let (mut peer, tid) = asked(adapter, guest);
    let opt0 = guest.options().with(Opt0::ULP_MODE, UlpMode::Iscsi.to_wire().into()).with(Opt0::RCV_BUFSIZ, 256);
    guest.request(PassAcceptRpl { opt0, ..PassAcceptRpl::new(tid, tid) });
    let theirs = connection(&mut peer).expect("it is accepted");
    peer.set_digests(theirs, Digests { header: true, data: true });
    go_on(&mut peer);
    let flow = FlowC { op: WorkRequestOp::of(WorkRequestOpcode::FlowC, 0), flow: WorkRequestFlow::of(tid, 16) };
    guest.send_next(0, flow.as_bytes());
    (peer, tid, theirs)
}

/// 10001 bytes in PDUs of 4 KiB.
#[test]
fn a_burst_is_cut_into_pdus_with_digests_and_its_credits_come_back_once() {
    let adapter = adapter();
    let guest = Hostile::new(&adapter);
    let (mut peer, tid, theirs) = offloaded(&adapter, &guest);
    let (at, bytes) = (guest.bus.memory().buffers() + (256 << 10), 10_001);
    let data: Vec<u8> = (0..bytes).map(|at| (at * 7 + at / 256) as u8).collect();
    guest.bus.memory().write(at, &data).unwrap();
    guest.send_next(0, &burst(&guest, tid, at, bytes, 4096));
    go_on(&mut peer);
    let mut came = Vec::new();
    while let Some(Received::Frame(frame)) = peer.receive(theirs).unwrap() {
        let Pdu::DataIn(pdu) = Pdu::decode(frame).unwrap() else { panic!("a Data-In") };
        came.push((pdu.data_sn, pdu.buffer_offset, pdu.is_final, pdu.data));
    }
    let expected: Vec<_> = [(5, 0..4096, false), (6, 4096..8192, false), (7, 8192..10_001, true)]
        .map(|(data_sn, part, is_final)| {
            (data_sn, 4096 + part.start as u32, is_final, Bytes::copy_from_slice(&data[part]))
        })
        .into();
    assert!(came == expected, "{came:?}");
    assert_eq!(adapter.iscsi_counters().digests_inserted, 6);
    let credits = messages(&guest).into_iter().filter_map(|(reply, _)| match reply {
        Reply::Fw4Ack(ack) => Some(u32::from(ack.credits)),
        _ => None,
    });
    let taken = u32::from(burst(&guest, tid, at, bytes, 4096)[7]);
    assert_eq!(credits.sum::<u32>(), 1 + taken, "those of the flow, and of the burst");
    assert_eq!(guest.fault(), None);
}

#[test]
fn a_burst_whose_data_is_not_there_ends_the_connection_and_one_that_is_none_does_not() {
    let adapter = adapter();
    let guest = Hostile::new(&adapter);
    let (mut peer, tid, theirs) = offloaded(&adapter, &guest);
    let (memory, queue) = (guest.bus.memory(), guest.egress[0].0);
    let none = burst(&guest, tid, memory.buffers() + (256 << 10), 10_000, 508);
    guest.send_next(0, &none);
    assert!(matches!(guest.fault(), Some(Fault::WorkRequest { queue: which, .. }) if which == queue));
    guest.send_next(0, &burst(&guest, tid, memory.end() - 5000, 10_000, 4096));
    go_on(&mut peer);
    assert!(matches!(guest.fault(), Some(Fault::Memory(_))));
    let Reply::AbortReqRss(lost) = last(&guest) else { panic!("it is told, not {:?}", last(&guest)) };
    assert_eq!(CplStatus::from_wire(lost.status), Some(CplStatus::BadLength));
    let end = (0..10).find_map(|_| peer.receive(theirs).err()).expect("the other end is told");
    assert_eq!(end.kind(), PortErrorKind::Reset);
    assert_eq!(adapter.take_fault(VICTIM), None);
}

#[test]
fn an_accepted_connection_is_told_of_in_the_queue_that_its_driver_names() {
    const SECOND: u64 = 36864;
    let adapter = adapter();
    let guest = Hostile::new(&adapter);
    let (mut peer, tid) = asked(&adapter, &guest);
    let queue = guest.ingress_queue(SECOND, 0, 0);
    let opt2 = Opt2::new().with(Opt2::RSS_QUEUE, queue.into()).with_bit(Opt2::RSS_QUEUE_VALID, true);
    guest.request(PassAcceptRpl { opt0: guest.options(), opt2, ..PassAcceptRpl::new(tid, tid) });
    assert!(connected(&mut peer));
    let told = messages_at(&guest, SECOND);
    assert!(matches!(told[..], [(Reply::PassEstablish(_), _)]), "{told:?}");
    assert_eq!(guest.fault(), None);
}

#[test]
fn a_connection_is_not_accepted_from_another_interface_than_it_came_to() {
    let adapter = adapter();
    let guest = Hostile::new(&adapter);
    let (mut peer, tid) = asked(&adapter, &guest);
    let mut ask = ViCommand::request(Access::EXEC_WRITE, HOSTILE.to_wire());
    ask.length = ask.length.with_bit(AllocLength::ALLOC, true);
    let made = command(&guest.bus, &ask).unwrap();
    let row = ViId::from_value(made.kind.get(ViType::VIID)).get(ViId::VIN);
    let params = SmtParams::new().with(SmtParams::IDX, row.into());
    guest.request(SmtWriteReq { params, source_mac0: made.mac, ..SmtWriteReq::new(0, 0) });
    let opt0 = Opt0::new().with(Opt0::SMAC_SEL, u64::from(row) << 1);
    guest.request(PassAcceptRpl { opt0, ..PassAcceptRpl::new(tid, tid) });
    assert!(!connected(&mut peer));
    let Reply::AbortReqRss(lost) = last(&guest) else { panic!("it is told, not {:?}", last(&guest)) };
    assert_eq!(
        (lost.opcode_tid.get(OpcodeTid::TID), CplStatus::from_wire(lost.status)),
        (tid, Some(CplStatus::BadRoute))
    );
}

#[test]
fn filters_that_the_adapter_does_not_have_are_refused() {
    let adapter = adapter();
    let guest = Hostile::new(&adapter);
    let base = Filter {
        op: WorkRequestOp::of(WorkRequestOpcode::Filter, 0),
        flow: WorkRequestFlow::of(0, size_of::<Filter>()),
        tid: FilterTid::new().with(FilterTid::TID, 8192 + 7).with(FilterTid::IQ, u32::from(guest.iq)),
        reply: FilterReply::new().with(FilterReply::RX_RPL_IQ, guest.iq),
        ..Filter::default()
    };
    let ask = |filter: Filter| {
        guest.send_next(1, filter.as_bytes());
        match last(&guest) {
            Reply::SetTcbRpl(reply) => FilterResult::from_wire(reply.cookie),
            other => panic!("an answer, not {other:?}"),
        }
    };
    let action = |bit| Filter { action: FilterAction::new().with_bit(bit, true), ..base };
    use FilterAction as A;
    for bit in [A::DMAC, A::SMAC, A::INSVLAN, A::RMVLAN, A::MASKHASH, A::DIRSTEERHASH] {
        assert_eq!(ask(action(bit)), Some(FilterResult::Invalid), "frames are not rewritten");
    }
    let elsewhere = base.tid.with(FilterTid::IQ, u32::from(guest.iq) + 1);
    let steer = action(A::DIRSTEER);
    assert_eq!(ask(Filter { tid: elsewhere, ..steer }), Some(FilterResult::Invalid), "no queue of the guest's");
    assert_eq!(ask(steer), Some(FilterResult::Added));
    let both = FilterAction::new().with_bit(A::DROP, true).with_bit(A::LPBK, true);
    assert_eq!(ask(Filter { action: both, ..base }), Some(FilterResult::Invalid));
    let matching =
        |set: &dyn Fn(FilterMatch) -> FilterMatch| Filter { matching: set(FilterMatch::new()), ..action(A::DROP) };
    for (filter, what) in [
        (Filter { tos_mask: 1, ..action(A::DROP) }, "type of service"),
        (Filter { ethertype_mask: 1.into(), ..action(A::DROP) }, "ethertype"),
        (Filter { outer_vlan_mask: 1.into(), ..action(A::DROP) }, "outer VLAN"),
        (matching(&|word| word.with(FilterMatch::MACIM, 1)), "index of an address"),
        (matching(&|word| word.with(FilterMatch::PORTM, 3)), "a part of a port"),
        (matching(&|word| word.with(FilterMatch::PORTM, 7).with(FilterMatch::PORT, 4)), "no port"),
        (matching(&|word| word.with(FilterMatch::MATCHTYPEM, 1)), "a part of a kind"),
    ] {
        assert_eq!(ask(filter), Some(FilterResult::Invalid), "{what}");
    }
    assert_eq!(ask(action(A::DEL_FILTER)), Some(FilterResult::Deleted));
    adapter.with_switch(|switch| assert!(switch.filter(7).is_none()));
}
