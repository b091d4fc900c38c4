//! Connections, and the data that they send.

use super::*;

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

#[test]
fn a_connection_sends_in_the_vlan_of_its_next_hop() {
    for (vlan, tag) in [(0xfff, None), (5, Some([0, 5])), (0x6005, Some([0x60, 5]))] {
        let adapter = adapter();
        let guest = Hostile::new(&adapter);
        let row = u32::from(ViId::from_value(guest.vi).get(ViId::VIN));
        let params = SmtParams::new().with(SmtParams::IDX, row);
        guest.request(SmtWriteReq { params, source_mac0: guest.mac, ..SmtWriteReq::new(0, 0) });
        guest.request(L2tWriteReq { destination_mac: NOBODY, vlan: vlan.into(), ..L2tWriteReq::new(0, 0) });
        guest.request(ActOpenReq { opt0: guest.options(), ..guest.open_request() });
        let syn = on_wire(&adapter).pop().expect("a SYN");
        let seen = (syn[12..14] == [0x81, 0]).then(|| [syn[14], syn[15]]);
        assert_eq!((&syn[..6], &syn[6..12], seen), (&NOBODY[..], &guest.mac[..], tag));
    }
}

/// Whoever has a queue for frames speaks for its interface; without one the adapter answers.
#[test]
fn a_syn_that_nobody_listens_for_is_the_hosts_if_there_is_one() {
    let adapter = adapter();
    let guest = Hostile::new(&adapter);
    give_buffers(&guest);
    let mut peer = victim(&adapter);
    let (local, to) = ("10.0.0.9:2000".parse().unwrap(), "10.0.0.8:81".parse().unwrap());
    peer.connect(OpenTarget { local, peer: to, peer_mac: guest.mac, mode: OffloadMode::Ulp }).unwrap();
    go_on(&mut peer);
    assert_eq!(peer.poll_event(), None, "nobody has refused it");
    let frames = frames::frames_of(&guest);
    assert_eq!((frames.len(), &frames[0].1[34..38]), (1, &[2000u16.to_be_bytes(), 81u16.to_be_bytes()].concat()[..]));
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
    // One byte more than the list has.
    let mut longer = burst(&guest, tid, memory.buffers() + (256 << 10), 10_000, 4096);
    longer[28..32].copy_from_slice(&10_049u32.to_be_bytes());
    guest.send_next(0, &longer);
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
