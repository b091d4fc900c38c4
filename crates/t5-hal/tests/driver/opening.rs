//! Bring-up, and connections that begin.

use super::*;

#[test]
fn bring_up_makes_an_interface_and_queues() {
    let driver = bring_up(Fake::default()).unwrap();
    let adapter = driver.adapter();
    assert_eq!((adapter.function.pf(), adapter.vi.value(), adapter.mac, adapter.tids), (PF, VI, MAC, TIDS));
    assert_eq!(
        (adapter.rss_queues.clone(), adapter.pods.clone()),
        (vec![RSS_QUEUE], POD_BASE..POD_BASE + PODS * POD_BYTES)
    );
    let opcodes: Vec<u8> = driver.bus().commands().iter().map(|command| command.as_bytes()[0]).collect();
    // HELLO, RESET, CAPS_CONFIG twice, INITIALIZE, PARAMS twice, VI, IQ, EQ_CTRL, EQ_OFLD, RSS, MAC, RXMODE, PORT, ENABLE.
    assert_eq!(opcodes, [4, 3, 7, 7, 6, 8, 8, 0x14, 0x10, 0x13, 0x21, 0x20, 0x20, 0x23, 0x15, 0x16, 0x1b, 0x17]);
    let requests = driver.bus().take_requests();
    let Request::SmtWriteReq(smt) = decode(&requests[0]) else { panic!("the source address, not {requests:?}") };
    assert_eq!((smt.source_mac0, smt.params.get(SmtParams::IDX)), (MAC, 5));
}

#[test]
fn trouble_in_the_mailbox_is_told() {
    let fake = Fake::default();
    fake.set_mailbox_control(1);
    assert_eq!(bring_up(fake).unwrap_err(), DriverError::MailboxOwner(Some(MailboxOwner::Firmware)));

    let fake = Fake::default();
    fake.refuse(CommandOpcode::Vi, ReturnCode::NoSpace);
    let error = bring_up(fake).unwrap_err();
    let (command, code) = (CommandOpcode::Vi, ReturnCode::NoSpace);
    assert_eq!(error, DriverError::Refused { command, code: Some(code), number: 0x1c });

    let fake = Fake::default();
    fake.fall_silent();
    assert_eq!(bring_up(fake).unwrap_err(), DriverError::Silence { command: CommandOpcode::Hello, seconds: 10 });

    let fake = Fake::default();
    fake.answer_another();
    let error = bring_up(fake).unwrap_err();
    assert!(matches!(error, DriverError::Answer { command: CommandOpcode::Hello, .. }), "{error}");

    let fake = Fake::default();
    let state = FirmwareState::new().with_bit(FirmwareState::ERR, true);
    fake.set_firmware_state(state);
    assert_eq!(bring_up(fake).unwrap_err(), DriverError::Firmware(state.value()));
}

#[test]
fn what_messages_cannot_name_is_told() {
    let function = |which| ParameterName::function(which);
    for (name, value, what) in [
        (function(FunctionParameter::ServerEnd), 1 << 24, "SERVER_END"),
        (function(FunctionParameter::L2tEnd), 1 << 12, "L2T_END"),
        (function(FunctionParameter::IscsiStart), POD_BASE + 32, "ISCSI_START"),
        (ParameterName::device(DeviceParameter::TidCount), 1 << 20, "NTID"),
    ] {
        let fake = Fake::default();
        fake.set_parameter(name, value);
        let error = bring_up(fake).unwrap_err();
        assert!(matches!(error, DriverError::Adapter { what: told, value: said, .. } if (told, said) == (what, value)));
    }
    for (iq, physical_iq, what) in [(1 << 12, RSS_QUEUE, "iqid"), (IQ, 1 << 10, "physiqid")] {
        let fake = Fake::default();
        fake.set_ingress_ids(iq, physical_iq);
        assert!(matches!(bring_up(fake).unwrap_err(), DriverError::Adapter { what: told, .. } if told == what));
    }
}

#[test]
fn an_active_open_writes_its_next_hop_and_then_its_flow() {
    let mut driver = driver();
    let target = OpenTarget { local: local(), peer: peer(), peer_mac: PEER_MAC, mode: OffloadMode::Ulp };
    let open = driver.connect(target).unwrap();
    let requests = driver.bus().take_requests();
    let Request::L2tWriteReq(hop) = decode(&requests[0]) else { panic!("a next hop, not {requests:?}") };
    assert_eq!((hop.destination_mac, hop.index.get(), hop.vlan.get()), (PEER_MAC, 8, 0xfff));
    let Request::ActOpenReq(request) = decode(&requests[1]) else { panic!("an open, not {requests:?}") };
    assert_eq!(request.opcode_tid.get(OpcodeTid::TID), u32::from(RSS_QUEUE) << 14 | open);
    assert_eq!((request.local_ip, request.peer_port.get()), ([10, 0, 0, 1], 3260));
    assert_eq!(request.opt0.get(Opt0::ULP_MODE), 2);
    assert_eq!((request.opt0.get(Opt0::SMAC_SEL), request.opt0.get(Opt0::MSS_IDX)), (10, 8));
    assert_eq!(request.initial_send_sequence.get() & 7, 7);

    // A connection of the same addresses: once more after half a second, then it has failed.
    let refuse = |driver: &mut Driver<Fake>, now| {
        let status = AtidStatus::new().with(AtidStatus::ATID, open);
        let atid_status = status.with(AtidStatus::STATUS, CplStatus::ConnExist.to_wire().into());
        driver.bus().say(ActOpenRpl { opcode_tid: ReplyOpcode::ActOpenRpl.of(open), atid_status });
        driver.poll(now);
    };
    let start = Instant::now();
    refuse(&mut driver, start);
    driver.poll(start + Duration::from_millis(499));
    assert_eq!((driver.poll_event(), driver.bus().take_requests()), (None, vec![]));
    driver.poll(start + Duration::from_millis(500));
    assert!(matches!(decode(&driver.bus().take_requests()[0]), Request::ActOpenReq(_)));
    refuse(&mut driver, start);
    assert_eq!(driver.poll_event(), Some(DriverEvent::OpenFailed { open, status: 22 }));

    let mut driver = self::driver();
    driver.connect(target).unwrap();
    driver.bus().take_requests();
    driver.bus().say(ActEstablish {
        opcode_tid: ReplyOpcode::ActEstablish.of(TID),
        tos_atid: TosId::new().with(TosId::ID, 0),
        tcp_options: EstablishOptions::new().with(EstablishOptions::MSS_IDX, 8),
        snd_isn: 0x1000.into(),
        rcv_isn: 0x2000.into(),
        ..ActEstablish::default()
    });
    driver.poll(start);
    let requests = driver.bus().take_requests();
    assert_eq!(requests[0][0], WorkRequestOpcode::FlowC.to_wire());
    let values: Vec<u32> =
        requests[0][8..].chunks(8).map(|pair| u32::from_be_bytes(pair[4..].try_into().unwrap())).collect();
    assert_eq!(values, [0x400, 0, 0, RSS_QUEUE.into(), 0x1000, 0x2000, 512 << 10, 1460, 16384]);
}

#[test]
fn what_a_rule_says_is_in_the_messages() {
    let mut driver = bring_up_with(Fake::default(), DriverConfig { ingress_queues: 2, ..small() }).unwrap();
    assert_eq!(driver.adapter().rss_queues, [RSS_QUEUE, RSS_QUEUE + 1]);
    let policy = "any => offload bind 1 nagle !coalesce cong highspeed class 3 mss 1\n";
    let program = Policy::parse(policy).unwrap().compile().unwrap();
    driver.set_policy(Some(Arc::new(program))).unwrap();
    driver.bus().take_requests();
    let listener = driver.listen("0.0.0.0:3260".parse().unwrap(), OffloadMode::Ulp).unwrap();
    let Request::PassOpenReq(request) = decode(&driver.bus().take_requests()[0]) else { panic!("a listener") };
    assert_eq!(request.opt1.get(Opt1::SYN_RSS_QUEUE), u64::from(RSS_QUEUE) + 1);
    driver.unlisten(listener);
    driver.bus().take_requests();

    let target = OpenTarget { local: local(), peer: peer(), peer_mac: PEER_MAC, mode: OffloadMode::Ulp };
    let open = driver.connect(target).unwrap();
    let requests = driver.bus().take_requests();
    let Request::ActOpenReq(request) = decode(&requests[1]) else { panic!("an open") };
    assert_eq!(request.opcode_tid.get(OpcodeTid::TID), u32::from(RSS_QUEUE + 1) << 14 | open);
    // 1024 bytes and headers go into 1024 + 60, and the table has 1024 below that.
    assert_eq!((request.opt0.is_set(Opt0::NAGLE), request.opt0.get(Opt0::MSS_IDX)), (true, 5));
    let opt2 = request.opt2;
    assert_eq!((opt2.get(Opt2::RSS_QUEUE), opt2.get(Opt2::CONG_CNTRL)), (u32::from(RSS_QUEUE) + 1, 3));
    assert_eq!((opt2.is_set(Opt2::RX_COALESCE_VALID), opt2.get(Opt2::RX_COALESCE)), (true, 0));

    driver.bus().say(ActEstablish {
        opcode_tid: ReplyOpcode::ActEstablish.of(TID),
        tos_atid: TosId::new().with(TosId::ID, open),
        ..ActEstablish::default()
    });
    driver.poll(Instant::now());
    let requests = driver.bus().take_requests();
    assert_eq!(requests[0].len(), 96, "ten parameters");
    assert_eq!(requests[0][32..40], [3, 0, 0, 0, 0, 0, 0, RSS_QUEUE as u8 + 1]);
    assert_eq!(requests[0][80..88], [11, 0, 0, 0, 0, 0, 0, 3]);
    let offload = driver.offload(TID).unwrap();
    assert_eq!((offload.queue, offload.rule, offload.mode), (1, Some(1), OffloadMode::Ulp));
    driver.set_digests(TID, Digests { header: true, data: true });
    let Request::SetTcbField(change) = decode(&driver.bus().take_requests()[0]) else { panic!("a change") };
    assert_eq!(change.reply_control.get(ReplyControl::QUEUENO), RSS_QUEUE + 1);
}

/// The flow is told how much data a segment carries: what headers of IPv6 and time stamps take is no data.
#[test]
fn the_segment_size_is_without_headers_and_time_stamps() {
    let ethernet = |kind: [u8; 2]| [&MAC[..], &PEER_MAC, &kind].concat();
    let four = [&[0x45; 1][..], &[0; 11], &[10, 0, 0, 2], &[10, 0, 0, 1]].concat();
    let six = [&[0x60; 1][..], &[0; 7], &[0xfd; 16], &[0xfe; 16]].concat();
    let tcp = [&40000u16.to_be_bytes()[..], &3260u16.to_be_bytes(), &[0; 16]].concat();
    let mss = |ip: &[u8], kind, timestamps| {
        let mut driver = driver();
        let listener = driver.listen("0.0.0.0:3260".parse().unwrap(), OffloadMode::Ulp).unwrap();
        let tos_stid = TosId::new().with(TosId::ID, listener);
        let header_lengths = SynHeaderLengths::new()
            .with(SynHeaderLengths::ETH_HDR_LEN, 14)
            .with(SynHeaderLengths::IP_HDR_LEN, ip.len() as u32)
            .with(SynHeaderLengths::TCP_HDR_LEN, 20);
        let opcode_tid = ReplyOpcode::PassAcceptReq.of(TID);
        let syn = PassAcceptReq { opcode_tid, header_lengths, tos_stid, ..PassAcceptReq::default() };
        driver.bus().say_with(syn, &[&ethernet(kind)[..], ip, &tcp].concat());
        let tcp_options = EstablishOptions::new().with(EstablishOptions::MSS_IDX, 8);
        let tcp_options = tcp_options.with_bit(EstablishOptions::TSTAMP, timestamps);
        let opcode_tid = ReplyOpcode::PassEstablish.of(TID);
        driver.bus().say(PassEstablish { opcode_tid, tos_stid, tcp_options, ..PassEstablish::default() });
        driver.poll(Instant::now());
        let requests = driver.bus().take_requests();
        let flow = requests.iter().find(|request| request[0] == WorkRequestOpcode::FlowC.to_wire()).expect("a flow");
        let pairs: Vec<_> = flow[8..].chunks(8).map(|pair| (pair[0], pair[4..].to_vec())).collect();
        let at = pairs.iter().position(|(name, _)| *name == FlowParameterName::Mss.to_wire()).unwrap();
        u32::from_be_bytes(pairs[at].1[..].try_into().unwrap())
    };
    let (ipv4, ipv6) = ([8, 0], [0x86, 0xdd]);
    assert_eq!((mss(&four, ipv4, false), mss(&four, ipv4, true)), (1460, 1448));
    assert_eq!((mss(&six, ipv6, false), mss(&six, ipv6, true)), (1440, 1428));
}

#[test]
fn a_passive_open_answers_the_syn() {
    let mut driver = driver();
    let listener = driver.listen("0.0.0.0:3260".parse().unwrap(), OffloadMode::Ulp).unwrap();
    let Request::PassOpenReq(request) = decode(&driver.bus().take_requests()[0]) else { panic!("a listener") };
    assert_eq!((request.opcode_tid.get(OpcodeTid::TID), request.opt1.get(Opt1::CONN_POLICY)), (1000, 1));
    driver.bus().say(PassOpenRpl { opcode_tid: ReplyOpcode::PassOpenRpl.of(listener), ..PassOpenRpl::default() });

    let ethernet = [&MAC[..], &PEER_MAC, &[8, 0]].concat();
    let ip = [&[0x45; 1][..], &[0; 11], &[10, 0, 0, 2], &[10, 0, 0, 1]].concat();
    let tcp = [&40000u16.to_be_bytes()[..], &3260u16.to_be_bytes(), &[0; 16]].concat();
    let syn = PassAcceptReq {
        opcode_tid: ReplyOpcode::PassAcceptReq.of(TID),
        header_lengths: SynHeaderLengths::new()
            .with(SynHeaderLengths::ETH_HDR_LEN, 14)
            .with(SynHeaderLengths::IP_HDR_LEN, 20)
            .with(SynHeaderLengths::TCP_HDR_LEN, 20),
        tos_stid: TosId::new().with(TosId::ID, listener).with(TosId::TOS, 0x2b),
        tcp_window_scale: 7,
        tcp_flags: TcpOptionFlags::new().with_bit(TcpOptionFlags::SACK, true),
        ..PassAcceptReq::default()
    };
    driver.bus().say_with(syn, &[&ethernet[..], &ip, &tcp].concat());
    driver.poll(Instant::now());
    assert_eq!(driver.poll_event(), Some(DriverEvent::Listening { listener, result: Ok(()) }));
    let requests = driver.bus().take_requests();
    assert!(matches!(decode(&requests[0]), Request::L2tWriteReq(hop) if hop.destination_mac == PEER_MAC));
    let Request::PassAcceptRpl(accept) = decode(&requests[1]) else { panic!("an answer, not {requests:?}") };
    assert!(accept.opt2.is_set(Opt2::SACK_EN) && !accept.opt2.is_set(Opt2::TSTAMPS_EN));
    assert!(accept.opt2.is_set(Opt2::WND_SCALE_EN) && accept.opt0.is_set(Opt0::TCAM_BYPASS));
    assert_eq!(accept.opt0.get(Opt0::DSCP), 0x2b >> 2);
    assert_eq!(driver.poll_event(), None, "it is not established");

    driver.bus().say(PassEstablish {
        opcode_tid: ReplyOpcode::PassEstablish.of(TID),
        tos_stid: TosId::new().with(TosId::ID, listener),
        tcp_options: EstablishOptions::new().with(EstablishOptions::MSS_IDX, 8),
        ..PassEstablish::default()
    });
    driver.poll(Instant::now());
    assert_eq!(driver.poll_event(), Some(DriverEvent::Accepted { listener, connection: TID }));
    assert_eq!(driver.addresses(TID), Some(("10.0.0.1:3260".parse().unwrap(), "10.0.0.2:40000".parse().unwrap())));

    // Another, with other options.
    let (opcode_tid, tcp_flags) = (ReplyOpcode::PassAcceptReq.of(TID + 1), TcpOptionFlags::new());
    let tcp_flags = tcp_flags.with_bit(TcpOptionFlags::TSTAMP, true);
    let other = PassAcceptReq { opcode_tid, tcp_flags, tcp_window_scale: 0, ..syn };
    driver.bus().say_with(other, &[&ethernet[..], &ip, &tcp].concat());
    driver.poll(Instant::now());
    let Request::PassAcceptRpl(accept) = decode(driver.bus().take_requests().last().unwrap()) else {
        panic!("an answer")
    };
    let options = [Opt2::TSTAMPS_EN, Opt2::SACK_EN, Opt2::WND_SCALE_EN].map(|bit| accept.opt2.is_set(bit));
    assert_eq!(options, [true, false, false]);

    // A SYN for nobody, and one without an end, are refused; one of a connection that cannot be is not answered.
    let nowhere = PassAcceptReq { opcode_tid: ReplyOpcode::PassAcceptReq.of(0xff_ffff), ..syn };
    driver.bus().say_with(nowhere, &[&ethernet[..], &ip, &tcp].concat());
    let stranger = PassAcceptReq { opcode_tid: ReplyOpcode::PassAcceptReq.of(7), tos_stid: TosId::new(), ..syn };
    driver.bus().say_with(stranger, &[&ethernet[..], &ip, &tcp].concat());
    driver.bus().say_with(PassAcceptReq { opcode_tid: ReplyOpcode::PassAcceptReq.of(8), ..syn }, &ethernet);
    driver.poll(Instant::now());
    let requests = driver.bus().take_requests();
    let released: Vec<u32> = requests
        .iter()
        .filter(|request| request[0] == 5)
        .map(|request| decode(request).opcode_tid().get(OpcodeTid::TID))
        .collect();
    assert_eq!(released, [7, 8]);
}
