//! Connections and drivers that end, room that is waited for, and long runs.

use super::*;

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
        let sent = [&frame.header.0[..], &frame.data].concat();
        driver.send(TID, frame);
        assert_eq!(driver.flush(TID), Ok(Flush::Done), "round {round}");
        let requests = driver.bus().take_requests();
        let mut pdus = requests.iter().filter(|request| request[0] == 0x0b);
        let pdu = pdus.next().expect("a PDU was sent");
        // In the queue itself, where that may go round its end, or in pieces.
        match usize::from(pdu[3]) {
            0 => {
                let pieces = UlpList::decode(&pdu[16..]).unwrap();
                let length: u32 = pieces.iter().map(|piece| piece.length).sum();
                assert_eq!(length as usize, sent.len().next_multiple_of(4), "round {round}");
            }
            _ => assert!(pdu[16..].starts_with(&sent), "round {round}"),
        }
        let credits = pdu[7];
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
