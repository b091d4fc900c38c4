//! Frames, and what becomes of them.

use super::*;

pub(super) fn frames_of(guest: &Hostile) -> Vec<(u32, Vec<u8>)> {
    let all = messages(guest).into_iter();
    let frames = all.filter_map(|(reply, frame)| match reply {
        Reply::RxPkt(message) => Some((message.l2info.get(), frame)),
        _ => None,
    });
    frames.collect()
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
    command(&to.bus, &ViMacCommand::of_groups(vi, 1 << address_hash_bit(GROUP))).unwrap();
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
