//! The driver against a bus that says what the test wants.

mod fake;

use fake::*;
use iscsi_pdu::{DataIn, Frame, InitiatorTaskTag, NopOut, Pdu};
use iscsi_transport::{Digests, Flush, PortErrorKind, Received};
use proptest::prelude::*;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use t5_hal::Bus;
use t5_hal::driver::*;
use t5_hal::wire::*;
use t5_policy::Policy;

const TID: u32 = 0x2a;
const PEER_MAC: [u8; 6] = [0, 7, 0x43, 9, 9, 9];

fn local() -> SocketAddr {
    "10.0.0.1:20001".parse().unwrap()
}

fn peer() -> SocketAddr {
    "10.0.0.2:3260".parse().unwrap()
}

fn driver() -> Driver<Fake> {
    let driver = bring_up(Fake::default()).unwrap();
    driver.bus().take_requests();
    driver
}

fn establish(driver: &mut Driver<Fake>, tid: u32, mode: OffloadMode) {
    let open = driver.connect(OpenTarget { local: local(), peer: peer(), peer_mac: PEER_MAC, mode }).unwrap();
    driver.bus().say(ActEstablish {
        opcode_tid: ReplyOpcode::ActEstablish.of(tid),
        tos_atid: TosId::new().with(TosId::ID, open),
        tcp_options: EstablishOptions::new().with(EstablishOptions::MSS_IDX, 8),
        snd_isn: 0x1000.into(),
        rcv_isn: 0x2000.into(),
        ..ActEstablish::default()
    });
    driver.poll(Instant::now());
    assert_eq!(driver.poll_event(), Some(DriverEvent::Connected { open, connection: tid }));
    while driver.poll_event().is_some() {}
    driver.bus().take_requests();
}

/// A driver with a connection of PDUs.
fn connected() -> Driver<Fake> {
    let mut driver = driver();
    establish(&mut driver, TID, OffloadMode::Ulp);
    driver
}

fn decode(request: &[u8]) -> Request {
    Request::decode(request).unwrap()
}

fn ping(length: usize) -> Frame {
    Pdu::from(NopOut { data: vec![0x5a; length].into(), ..NopOut::default() }).encode()
}

/// Says a PDU: its header, its data unless that is placed, and the verdict.
fn say_pdu(driver: &Driver<Fake>, sequence: u32, frame: &Frame, data: Option<&[u8]>, verdict: DdpVerdict) {
    let header = frame.header.0;
    driver.bus().say_with(
        IscsiHdr {
            opcode_tid: ReplyOpcode::IscsiHdr.of(TID),
            pdu_length: IscsiHdrLength::new().with(IscsiHdrLength::LEN, (48 + frame.data.len()) as u16),
            length: 48.into(),
            sequence: sequence.into(),
            ..IscsiHdr::default()
        },
        &header,
    );
    if let Some(data) = data {
        let opcode_tid = ReplyOpcode::IscsiData.of(TID);
        driver
            .bus()
            .say_with(IscsiData { opcode_tid, length: (data.len() as u16).into(), ..IscsiData::default() }, data);
    }
    driver.bus().say(RxIscsiDdp {
        opcode_tid: ReplyOpcode::RxIscsiDdp.of(TID),
        length: (48 + frame.data.len().next_multiple_of(4) as u16).into(),
        sequence: sequence.into(),
        verdict,
        ..RxIscsiDdp::default()
    });
}

#[test]
fn bring_up_makes_an_interface_and_queues() {
    let driver = bring_up(Fake::default()).unwrap();
    let adapter = driver.adapter();
    assert_eq!((adapter.pf, adapter.vi.value(), adapter.mac, adapter.tids), (PF, VI, MAC, TIDS));
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
        tos_stid: TosId::new().with(TosId::ID, listener),
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

#[test]
fn pdus_go_out_within_credits() {
    let mut driver = connected();
    driver.send(TID, ping(8));
    driver.send(TID, ping(5001));
    assert_eq!(driver.flush(TID), Ok(Flush::Done));
    let requests = driver.bus().take_requests();
    // 16 of header, 48 and 8.
    assert_eq!((requests[0][0], requests[0][3], requests[0].len()), (0x0b, 56, 80));
    assert_eq!(requests[0][16..72], [&ping(8).header.0[..], &[0x5a; 8]].concat());
    let pieces = UlpList::decode(&requests[1][16..]).unwrap();
    let mut sent = vec![0; pieces[0].length as usize];
    driver.bus().memory().read(pieces[0].address, &mut sent).unwrap();
    assert_eq!(sent, [&ping(5001).header.0[..], &[0x5a; 5001], &[0; 3]].concat());

    // FLOWC has taken 5 of 62, and these 5 and 2; room for the largest immediate one and a close stays.
    for _ in 0..30 {
        driver.send(TID, ping(5000));
    }
    assert_eq!(driver.flush(TID), Ok(Flush::Pending));
    assert_eq!(driver.bus().take_requests().len(), 17);
    driver.bus().say(Fw4Ack { opcode_tid: ReplyOpcode::Fw4Ack.of(TID), credits: 12, ..Fw4Ack::default() });
    assert_eq!(driver.flush(TID), Ok(Flush::Pending));
    assert_eq!(driver.bus().take_requests().len(), 6);

    driver.bus().say(Fw4Ack { opcode_tid: ReplyOpcode::Fw4Ack.of(TID), credits: 200, ..Fw4Ack::default() });
    assert_eq!(driver.flush(TID).unwrap_err().kind(), PortErrorKind::Io, "more than were out");
}

#[test]
fn what_is_too_long_for_the_adapter_is_not_sent() {
    let mut driver = connected();
    driver.send(TID, ping(SEGMENT_BYTES_MAX as usize));
    assert_eq!(driver.flush(TID), Ok(Flush::Done));
    driver.send(TID, ping(SEGMENT_BYTES_MAX as usize + 1));
    assert_eq!(driver.flush(TID).unwrap_err().kind(), PortErrorKind::Io);
}

#[test]
fn who_waits_for_room_is_told_of_it() {
    let mut driver = connected();
    (0..30).for_each(|_| driver.send(TID, ping(5000)));
    assert_eq!(driver.flush(TID), Ok(Flush::Pending));
    for _ in 0..2 {
        driver.bus().say(Fw4Ack { opcode_tid: ReplyOpcode::Fw4Ack.of(TID), credits: 7, ..Fw4Ack::default() });
        driver.poll(Instant::now());
        assert_eq!(driver.poll_event(), Some(DriverEvent::Ready { connection: TID }));
        assert_eq!(driver.poll_event(), None);
        assert_eq!(driver.flush(TID), Ok(Flush::Pending));
    }
}

#[test]
fn digests_hold_what_is_sent_until_the_adapter_has_them() {
    let mut driver = connected();
    driver.send(TID, ping(0));
    driver.set_digests(TID, Digests { header: true, data: true });
    driver.send(TID, ping(0));
    driver.send(TID, ping(3));
    assert_eq!(driver.flush(TID), Ok(Flush::Pending));
    let requests = driver.bus().take_requests();
    assert_eq!(requests.len(), 1);
    let Request::SetTcbField(set) = decode(&requests[0]) else { panic!("a change, not {requests:?}") };
    assert_eq!((set.mask.get(), set.value.get(), set.word_cookie.get(WordCookie::WORD)), (0x30, 0x30, 0));
    driver.bus().say(SetTcbRpl { opcode_tid: ReplyOpcode::SetTcbRpl.of(TID), ..SetTcbRpl::default() });
    assert_eq!(driver.flush(TID), Ok(Flush::Done));
    let sequence_and_flags = |request: &Vec<u8>| {
        let word = |at: usize| u32::from_be_bytes(request[at..at + 4].try_into().unwrap());
        let flags = TxDataFlags::from_value(word(12));
        (word(8), flags.is_set(TxDataFlags::ULP_HCRC), flags.is_set(TxDataFlags::ULP_DCRC))
    };
    let sent: Vec<_> = driver.bus().take_requests().iter().map(sequence_and_flags).collect();
    assert_eq!(sent, [(48, false, false), (52, true, false), (60, true, true)], "each with the digests of its time");

    driver.bus().say(SetTcbRpl { opcode_tid: ReplyOpcode::SetTcbRpl.of(TID), ..SetTcbRpl::default() });
    assert_eq!(driver.receive(TID).unwrap_err().kind(), PortErrorKind::Io, "nobody has asked for that");
}

#[test]
fn placed_payload_is_lent_where_it_is() {
    let mut driver = connected();
    let tag = driver.reserve(TID, 8192).unwrap();
    driver.flush(TID).unwrap();
    let requests = driver.bus().take_requests();
    let write = UlpMemoryWrite::split_from(&requests[0]).unwrap().0;
    assert_eq!(write.address.get(UlpMemoryAddress::ADDRESS), POD_BASE / 32);
    let pod = PagePod::split_from(&requests[0][40..]).unwrap().0;
    assert_eq!((pod.header.get(PodHeader::TID), pod.length.get(PodLength::LEN)), (TID.into(), 8192));

    let data: Vec<u8> = (0..4096u32).map(|at| (at * 31) as u8).collect();
    let page = pod.pages[1].get();
    driver.bus().memory().write(page, &data).unwrap();
    let pdu = DataIn {
        initiator_task_tag: InitiatorTaskTag(tag),
        buffer_offset: 4096,
        data: data.clone().into(),
        ..DataIn::default()
    };
    let frame = Pdu::from(pdu).encode();
    say_pdu(&driver, 0x2000, &frame, None, DdpVerdict::new().with_bit(DdpVerdict::PLACED, true));
    let Some(Received::Frame(received)) = driver.receive(TID).unwrap() else { panic!("a PDU") };
    assert_eq!(received, frame);
    assert_eq!(driver.bus().memory().locate(&received.data), Some(page), "it was not copied");
    assert!(driver.bus().memory().write(page, &[0]).is_err(), "and nobody writes there");

    // What was lent can be sent without a copy as well.
    driver.send(TID, received.clone());
    driver.flush(TID).unwrap();
    let pieces = UlpList::decode(&driver.bus().take_requests()[0][16..]).unwrap();
    assert_eq!(pieces[1], Piece { address: page, length: 4096 });

    // A border inside of what is lent as one: a copy.
    let short =
        Pdu::from(DataIn { initiator_task_tag: InitiatorTaskTag(tag), data: vec![0; 100].into(), ..DataIn::default() })
            .encode();
    say_pdu(&driver, 0x2000 + 4144, &short, None, DdpVerdict::new().with_bit(DdpVerdict::PLACED, true));
    let Some(Received::Frame(copied)) = driver.receive(TID).unwrap() else { panic!("a PDU") };
    assert_eq!(driver.bus().memory().locate(&copied.data), None);

    assert_eq!(driver.places_in_use(), 1);
    assert!(driver.release(TID, tag));
    assert!(!driver.release(TID, tag), "it was given back");
    assert_eq!(driver.places_in_use(), 0);
}

/// Every bit of the verdict: what the driver makes of a PDU whose data was delivered all the same.
#[test]
fn verdicts_are_told_apart() {
    let frame = ping(512);
    let received = |bit, data: Option<&[u8]>| {
        let mut driver = connected();
        establish(&mut driver, TID + 1, OffloadMode::Ulp);
        say_pdu(&driver, 0x2000, &frame, data, DdpVerdict::new().with_bit(bit, true));
        let result = driver.receive(TID);
        assert_eq!(driver.receive(TID + 1), Ok(None), "the other connection goes on");
        result
    };
    let data = Some(&frame.data[..]);
    for (name, bit) in DdpVerdict::PLACEMENT_ERRORS {
        assert_eq!(received(bit, data), Ok(Some(Received::Frame(frame.clone()))), "{name}: the data has come");
        assert_eq!(received(bit, None).unwrap_err().kind(), PortErrorKind::Io, "{name}: the data is lost");
    }
    assert_eq!(received(DdpVerdict::HDRCRC_ERR, data), Ok(Some(Received::BadHeaderDigest(frame.header))));
    assert_eq!(received(DdpVerdict::DATACRC_ERR, data), Ok(Some(Received::BadDataDigest(frame.header))));
    assert_eq!(received(DdpVerdict::PADDING_ERR, data).unwrap_err().kind(), PortErrorKind::Io);
    assert_eq!(received(DdpVerdict::PLACED, None).unwrap_err().kind(), PortErrorKind::Io, "a ping has no place");
}

#[test]
fn a_stale_tag_completes_nothing() {
    let mut driver = connected();
    let tag = driver.reserve(TID, 4096).unwrap();
    assert!(driver.release(TID, tag));
    let again = driver.reserve(TID, 4096).unwrap();
    assert_ne!(again, tag);
    let pdu = DataIn { initiator_task_tag: InitiatorTaskTag(tag), data: vec![1; 4096].into(), ..DataIn::default() };
    say_pdu(&driver, 0x2000, &Pdu::from(pdu).encode(), None, DdpVerdict::new().with_bit(DdpVerdict::PLACED, true));
    assert_eq!(driver.receive(TID).unwrap_err().kind(), PortErrorKind::Io);
    driver.close(TID);
    assert_eq!(driver.places_in_use(), 0, "no place is lost with a connection");
}

#[test]
fn the_window_opens_as_pdus_are_taken() {
    let mut driver = connected();
    let frame = ping(15000);
    for round in 0..9 {
        say_pdu(&driver, 0x2000 + round * 15048, &frame, Some(&frame.data), DdpVerdict::new());
        assert!(matches!(driver.receive(TID), Ok(Some(_))));
    }
    let requests = driver.bus().take_requests();
    assert_eq!(requests.len(), 1);
    let Request::RxDataAck(ack) = decode(&requests[0]) else { panic!("credits, not {requests:?}") };
    assert_eq!(ack.credits.get(DataAck::CREDITS), 9 * 15048);
}

#[test]
fn what_comes_far_beyond_the_window_ends_the_connection() {
    let mut driver = connected();
    let frame = ping(15000);
    // 512 KiB twice, and an eighth of a MiB.
    for round in 0..79 {
        say_pdu(&driver, 0x2000 + round * 15048, &frame, Some(&frame.data), DdpVerdict::new());
        driver.poll(Instant::now());
        assert_eq!(driver.end_of(TID).map(|end| end.kind()), (round == 78).then_some(PortErrorKind::Io));
    }
}

#[test]
fn an_orderly_close_waits_for_both_ends() {
    let mut driver = connected();
    driver.close(TID);
    assert!(matches!(decode(&driver.bus().take_requests()[0]), Request::CloseConReq(_)));
    driver.bus().say(CloseConRpl { opcode_tid: ReplyOpcode::CloseConRpl.of(TID), ..CloseConRpl::default() });
    let now = Instant::now();
    driver.poll(now);
    assert_eq!(driver.connection_count(), 1);
    driver.bus().say(PeerClose { opcode_tid: ReplyOpcode::PeerClose.of(TID), ..PeerClose::default() });
    driver.poll(now);
    assert_eq!(driver.connection_count(), 0);

    // A peer that does not close is broken off.
    establish(&mut driver, TID, OffloadMode::Ulp);
    driver.close(TID);
    driver.poll(now);
    driver.bus().take_requests();
    driver.poll(now + Duration::from_secs(11));
    assert!(matches!(decode(&driver.bus().take_requests()[0]), Request::AbortReq(_)));
    driver.bus().say(AbortRplRss { opcode_tid: ReplyOpcode::AbortRplRss.of(TID), ..AbortRplRss::default() });
    driver.poll(now);
    assert_eq!(driver.connection_count(), 0);
}

#[test]
fn aborts_that_cross_end_once() {
    let mut driver = connected();
    establish(&mut driver, TID + 1, OffloadMode::Ulp);
    say_pdu(&driver, 7, &ping(0), None, DdpVerdict::new());
    assert_eq!(driver.receive(TID).unwrap_err().kind(), PortErrorKind::Io, "a wrong sequence number");
    let requests = driver.bus().take_requests();
    let Request::AbortReq(abort) = decode(&requests[0]) else { panic!("an abort, not {requests:?}") };
    assert_eq!((abort.no_data_sent, abort.snd_nxt.get()), (1, 0x1000));
    let opcode_tid = ReplyOpcode::AbortReqRss.of(TID);
    driver.bus().say(AbortReqRss { opcode_tid, status: CplStatus::ConnReset.to_wire(), ..AbortReqRss::default() });
    driver.poll(Instant::now());
    assert!(matches!(decode(&driver.bus().take_requests()[0]), Request::AbortRpl(reply) if reply.command == 1));
    driver.close(TID);
    assert_eq!(driver.connection_count(), 2, "the answer to ours is still to come");
    driver.bus().say(AbortRplRss { opcode_tid: ReplyOpcode::AbortRplRss.of(TID), ..AbortRplRss::default() });
    driver.poll(Instant::now());
    assert_eq!(driver.connection_count(), 1);

    // Advice is no abort, a reset is.
    let opcode_tid = ReplyOpcode::AbortReqRss.of(TID + 1);
    driver.bus().say(AbortReqRss { opcode_tid, status: CplStatus::RtxNegAdvice.to_wire(), ..AbortReqRss::default() });
    assert_eq!(driver.receive(TID + 1), Ok(None));
    driver.bus().say(AbortReqRss { opcode_tid, status: CplStatus::ConnReset.to_wire(), ..AbortReqRss::default() });
    assert_eq!(driver.receive(TID + 1).unwrap_err().kind(), PortErrorKind::Reset);
    driver.close(TID + 1);
    assert_eq!(driver.connection_count(), 0);
}

#[test]
fn a_free_list_that_lies_ends_the_driver() {
    for length in [FreeListLength::new(), FreeListLength::new().with(FreeListLength::LEN, 100)] {
        let mut driver = connected();
        driver.bus().say_length(length);
        assert_eq!(driver.receive(TID).unwrap_err().kind(), PortErrorKind::Io);
        assert!(matches!(driver.failure(), Some(DriverError::Queue { queue: FREE_LIST, .. })));
    }
    let mut driver = connected();
    driver.bus().say(SgeEgrUpdate {
        opcode_qid: ReplyOpcode::SgeEgrUpdate.of(DATA),
        consumer: 99.into(),
        ..SgeEgrUpdate::default()
    });
    driver.poll(Instant::now());
    assert!(matches!(driver.failure(), Some(DriverError::Queue { queue: DATA, .. })));
}

#[test]
fn an_adapter_that_asks_and_does_not_read_ends_the_driver() {
    let mut driver = driver();
    let stranger = PassAcceptReq { opcode_tid: ReplyOpcode::PassAcceptReq.of(7), ..PassAcceptReq::default() };
    // What waits at most, and the control queue's 15 descriptors, one of which holds the source address.
    for _ in 0..(1 << 16) + 14 {
        driver.bus().say(stranger);
        driver.poll(Instant::now());
        driver.bus().take_requests();
    }
    assert_eq!(driver.failure(), None);
    driver.bus().say(stranger);
    driver.poll(Instant::now());
    assert!(matches!(driver.failure(), Some(DriverError::Queue { queue: fake::CONTROL, .. })));
}

#[test]
fn nothing_overtakes_what_waits_for_room() {
    let mut driver = driver();
    // A flow takes two descriptors, of 127.
    for tid in 0..64 {
        establish(&mut driver, tid, OffloadMode::Ulp);
    }
    let make_room = |driver: &mut Driver<Fake>| {
        let (opcode_qid, consumer) = (ReplyOpcode::SgeEgrUpdate.of(DATA), driver.bus().consumer(DATA).into());
        driver.bus().say(SgeEgrUpdate { opcode_qid, consumer, ..SgeEgrUpdate::default() });
    };
    let opcodes =
        |driver: &Driver<Fake>| -> Vec<u8> { driver.bus().take_requests().iter().map(|request| request[0]).collect() };
    driver.close(62);
    driver.send(63, ping(0));
    assert_eq!(driver.flush(63), Ok(Flush::Pending));
    assert_eq!(opcodes(&driver), [0; 0], "there is no room for the last flow");
    make_room(&mut driver);
    assert_eq!(driver.flush(63), Ok(Flush::Done));
    // FLOWC of one, CLOSE_CON_REQ of another, and then the PDU.
    assert_eq!(opcodes(&driver), [0x0a, 0x05, 0x0b]);
}

#[test]
fn who_waits_for_room_that_others_have_is_told_of_it() {
    let mut driver = driver();
    // Of 127 descriptors, 120 hold flows: too few are left for any PDU.
    for tid in 0..60 {
        establish(&mut driver, tid, OffloadMode::Ulp);
    }
    driver.send(0, ping(0));
    assert_eq!(driver.flush(0), Ok(Flush::Pending));
    let (opcode_qid, consumer) = (ReplyOpcode::SgeEgrUpdate.of(DATA), driver.bus().consumer(DATA).into());
    driver.bus().say(SgeEgrUpdate { opcode_qid, consumer, ..SgeEgrUpdate::default() });
    driver.poll(Instant::now());
    assert_eq!(driver.poll_event(), Some(DriverEvent::Ready { connection: 0 }));
    assert_eq!(driver.flush(0), Ok(Flush::Done));
}

#[test]
fn queues_go_round_many_times() {
    let mut driver = connected();
    let mut sequence = 0x2000u32;
    for round in 0..1000 {
        let frame = ping(round % 700);
        say_pdu(&driver, sequence, &frame, (round % 700 > 0).then_some(&frame.data), DdpVerdict::new());
        sequence = sequence.wrapping_add(48 + frame.data.len().next_multiple_of(4) as u32);
        assert_eq!(driver.receive(TID), Ok(Some(Received::Frame(frame.clone()))), "round {round}");
        assert_eq!(driver.receive(TID), Ok(None));
        driver.send(TID, frame);
        assert_eq!(driver.flush(TID), Ok(Flush::Done), "round {round}");
        let credits = driver
            .bus()
            .take_requests()
            .iter()
            .filter(|request| request[0] == 0x0b)
            .map(|request| request[7])
            .sum::<u8>();
        let extra = if round == 0 { 5 } else { 0 };
        let opcode_tid = ReplyOpcode::Fw4Ack.of(TID);
        driver.bus().say(Fw4Ack { opcode_tid, credits: credits + extra, ..Fw4Ack::default() });
        for queue in [DATA, fake::CONTROL] {
            let (opcode_qid, consumer) = (ReplyOpcode::SgeEgrUpdate.of(queue), driver.bus().consumer(queue).into());
            driver.bus().say(SgeEgrUpdate { opcode_qid, consumer, ..SgeEgrUpdate::default() });
        }
    }
}

#[test]
fn streams_go_both_ways() {
    let mut driver = driver();
    establish(&mut driver, TID, OffloadMode::Toe);
    assert_eq!(driver.reserve(TID, 8192), None, "nothing is placed");
    let sent = vec![3; 40000];
    assert_eq!(driver.send_stream(TID, &[std::io::IoSlice::new(&sent)]), Ok(40000));
    let lengths: Vec<u32> =
        driver.bus().take_requests().iter().map(|request| UlpList::decode(&request[16..]).unwrap()[0].length).collect();
    assert_eq!(lengths, [16384, 16384, 7232]);
    // FLOWC has taken 5 of 62, and each piece takes 2; room for a close stays. What comes back is used at once.
    let more = vec![3; 16384 * 30];
    assert_eq!(driver.send_stream(TID, &[std::io::IoSlice::new(&more)]), Ok(16384 * 23));
    assert_eq!(driver.send_stream(TID, &[std::io::IoSlice::new(&more)]), Ok(0));
    driver.bus().say(Fw4Ack { opcode_tid: ReplyOpcode::Fw4Ack.of(TID), credits: 9, ..Fw4Ack::default() });
    assert_eq!(driver.send_stream(TID, &[std::io::IoSlice::new(&more)]), Ok(16384 * 5));
    let opcode_tid = ReplyOpcode::RxData.of(TID);
    let data = RxData { opcode_tid, length: 5.into(), sequence: 0x2000.into(), ..RxData::default() };
    driver.bus().say_with(data, b"hello");
    let mut buffer = bytes::BytesMut::with_capacity(64);
    assert_eq!(driver.receive_stream(TID, &mut buffer), 5);
    assert_eq!(buffer, "hello");
    driver.bus().say_with(data, b"hello");
    assert_eq!(driver.receive_stream(TID, &mut buffer), 0);
    assert_eq!(driver.end_of(TID).unwrap().kind(), PortErrorKind::Io, "it came twice");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the adapter says, the driver does not panic, and places do not leak.
    #[test]
    fn any_message_is_survived(messages in prop::collection::vec((0..ReplyOpcode::ALL.len(), prop::collection::vec(any::<u8>(), 39),
        prop::option::of(prop::collection::vec(any::<u8>(), 0..200)), prop_oneof![9 => TID..TID + 4, 1 => 0..1u32 << 24]), 0..60)) {
        let mut driver = connected();
        let _ = driver.reserve(TID, 4096);
        for (opcode, rest, data, tid) in messages {
            let mut bytes = vec![ReplyOpcode::ALL[opcode].to_wire()];
            bytes.extend(rest);
            bytes[1..4].copy_from_slice(&tid.to_be_bytes()[1..]);
            let (reply, _) = Reply::decode(&bytes).unwrap();
            match data {
                Some(data) => driver.bus().say_with(reply, &data),
                None => driver.bus().say(reply),
            }
            driver.poll(Instant::now());
            driver.send(TID, ping(100));
            let _ = (driver.receive(TID), driver.flush(TID));
            if driver.failure().is_some() {
                break;
            }
        }
        driver.close(TID);
        prop_assert_eq!(driver.places_in_use(), 0);
    }
}
