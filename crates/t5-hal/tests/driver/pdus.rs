//! PDUs that go out and come in, and what is placed.

use super::*;

#[test]
fn pdus_go_out_within_credits() {
    let mut driver = connected();
    driver.send(TID, ping(8));
    driver.send(TID, ping(5001));
    assert_eq!(driver.flush(TID), Ok(Flush::Done));
    let requests = driver.bus().take_requests();
    // 16 of header, 48 and 8. FORCE, as no digest is inserted; SHOVE with the last.
    assert_eq!((requests[0][0], requests[0][3], requests[0].len()), (0x0b, 56, 80));
    let flags = |request: &[u8]| u32::from_be_bytes(request[12..16].try_into().unwrap());
    let force = TxDataFlags::new().with_bit(TxDataFlags::FORCE, true);
    assert_eq!(flags(&requests[0]), force.value());
    assert_eq!(flags(&requests[1]), force.with_bit(TxDataFlags::WR_SHOVE, true).value());
    assert_eq!(requests[0][16..72], [&ping(8).header.0[..], &[0x5a; 8]].concat());
    let pieces = UlpList::decode(&requests[1][16..]).unwrap();
    let read = |piece: &Piece| {
        let mut bytes = vec![0; piece.length as usize];
        driver.bus().memory().read(piece.address, &mut bytes).unwrap();
        bytes
    };
    let sent: Vec<u8> = pieces.iter().flat_map(read).collect();
    assert!(sent == [&ping(5001).header.0[..], &[0x5a; 5001], &[0; 3]].concat(), "header, data and padding");

    // FLOWC has taken 5 of 62, and these 5 and 4, those to come 3 each; room for the largest immediate one and a close stays.
    for _ in 0..30 {
        driver.send(TID, ping(5000));
    }
    assert_eq!(driver.flush(TID), Ok(Flush::Pending));
    assert_eq!(driver.bus().take_requests().len(), 11);
    driver.bus().say(Fw4Ack { opcode_tid: ReplyOpcode::Fw4Ack.of(TID), credits: 12, ..Fw4Ack::default() });
    assert_eq!(driver.flush(TID), Ok(Flush::Pending));
    assert_eq!(driver.bus().take_requests().len(), 3);

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

    let mut driver = connected();
    driver.set_digests(TID, Digests { header: true, data: true });
    driver.bus().say(SetTcbRpl { opcode_tid: ReplyOpcode::SetTcbRpl.of(TID), status: 1, ..SetTcbRpl::default() });
    assert_eq!(driver.receive(TID).unwrap_err().kind(), PortErrorKind::Io, "the adapter says no");
}

/// Messages of a PDU that contradict each other: no payload is told of, and no place is lost.
#[test]
fn what_does_not_add_up_ends_the_connection() {
    let mut driver = connected();
    let tag = driver.reserve(TID, 8192).unwrap();
    let data_in = DataIn { initiator_task_tag: InitiatorTaskTag(tag), data: vec![1; 512].into(), ..DataIn::default() };
    let (frame, placed) = (Pdu::from(data_in).encode(), DdpVerdict::new().with_bit(DdpVerdict::PLACED, true));
    let header = |length: u16| IscsiHdr {
        opcode_tid: ReplyOpcode::IscsiHdr.of(TID),
        pdu_length: IscsiHdrLength::new().with(IscsiHdrLength::LEN, length),
        length: 48.into(),
        sequence: 0x2000.into(),
        ..IscsiHdr::default()
    };
    let data = |length: usize| {
        let opcode_tid = ReplyOpcode::IscsiData.of(TID);
        (IscsiData { opcode_tid, length: (length as u16).into(), ..IscsiData::default() }, vec![1; length])
    };
    let end = |length: u16, verdict| {
        let opcode_tid = ReplyOpcode::RxIscsiDdp.of(TID);
        RxIscsiDdp { opcode_tid, length: length.into(), sequence: 0x2000.into(), verdict, ..RxIscsiDdp::default() }
    };
    let nothing = DdpVerdict::new();
    let cases = [
        ("a length that the header does not say", 48 + 511, Some(512), Some((560, nothing))),
        ("more data than the header says", 48 + 512, Some(513), None),
        ("an end that is another", 48 + 512, Some(512), Some((564 + 4, nothing))),
        ("some of the data, and all of it placed", 48 + 512, Some(100), Some((560, placed))),
        ("some of the data alone", 48 + 512, Some(100), Some((560, nothing))),
    ];
    for (name, said, delivered, ended) in cases {
        let mut driver = connected();
        establish(&mut driver, TID + 1, OffloadMode::Ulp);
        assert_eq!(driver.reserve(TID, 8192), Some(tag), "{name}");
        driver.bus().say_with(header(said), &frame.header.0);
        if let Some((message, bytes)) = delivered.map(data) {
            driver.bus().say_with(message, &bytes);
        }
        if let Some((length, verdict)) = ended {
            driver.bus().say(end(length, verdict));
        }
        assert_eq!(driver.receive(TID).unwrap_err().kind(), PortErrorKind::Io, "{name}");
        assert_eq!(driver.receive(TID + 1), Ok(None), "{name}: the other connection goes on");
        driver.close(TID);
        assert_eq!(driver.places_in_use(), 0, "{name}");
    }
}

/// FLOWC has taken 5 of 62 credits, and each write of a pod takes 7: once half of all are out, they are asked for.
#[test]
fn credits_of_pods_are_asked_for_once_half_are_out() {
    let mut driver = connected();
    (0..8).for_each(|_| _ = driver.reserve(TID, 4096));
    driver.flush(TID).unwrap();
    let requests = driver.bus().take_requests();
    let asks = requests.iter().map(|request| request[1] & 0x20 != 0);
    assert_eq!(asks.collect::<Vec<_>>(), [false, false, false, true]);
    assert_eq!(driver.places_in_use(), 4, "credits for the longest pods and a close stay");
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
        driver.reserve(TID, 4096).unwrap();
        say_pdu(&driver, 0x2000, &frame, data, DdpVerdict::new().with_bit(bit, true));
        let result = driver.receive(TID);
        assert_eq!(driver.receive(TID + 1), Ok(None), "the other connection goes on");
        driver.close(TID);
        assert_eq!(driver.places_in_use(), 0, "no place is lost");
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
