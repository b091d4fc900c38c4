//! Each rule that a target can break ends the session by its name, and every request is lost once.

use super::*;
use crate::BadPdu;

/// A read (tag 1) and a write (tag 2) of 4096 bytes each, both sent; nothing unsolicited.
fn bench() -> Bench {
    let parameters = Parameters {
        immediate_data: false,
        burst_bytes_max: 2048,
        receive_segment_bytes_max: 1024,
        outstanding_r2t_max: 2,
        ..Parameters::default()
    };
    let mut bench = Bench::new(parameters);
    bench.submit(1, read(4096));
    bench.submit(2, write(4096));
    assert_eq!(bench.sent().len(), 2);
    bench
}

#[track_caller]
fn assert_breaks(violation: Violation, script: impl FnOnce(&mut Bench)) {
    let mut bench = bench();
    script(&mut bench);
    bench.assert_violation(violation, &[1, 2]);
}

fn with_status(bench: &mut Bench, pdu: DataIn, status: u8) -> DataIn {
    let stat_sn = bench.status();
    DataIn { is_final: true, status: Some(DataInStatus { status, stat_sn, residual: Residual::None }), ..pdu }
}

#[test]
fn pdus_that_targets_do_not_send() {
    assert_breaks(Violation::UnexpectedPdu, |bench| bench.take(NopOut::default()));
    assert_breaks(Violation::UnexpectedPdu, |bench| bench.take(ScsiCommand::default()));
    assert_breaks(Violation::UnexpectedPdu, |bench| bench.take(DataOut::default()));
}

#[test]
fn answers_to_what_was_not_asked() {
    assert_breaks(Violation::UnknownInitiatorTaskTag, |bench| bench.take(bench.data_in(3, 0, 0, pattern(8))));
    assert_breaks(Violation::UnknownInitiatorTaskTag, |bench| bench.take(bench.r2t(3, 0, 0, 8)));
    assert_breaks(Violation::UnknownInitiatorTaskTag, |bench| {
        let pdu = bench.response(3);
        bench.take(pdu);
    });
    assert_breaks(Violation::UnknownInitiatorTaskTag, |bench| {
        let pdu = bench.nop_in(Some(1), None);
        bench.take(pdu);
    });
    assert_breaks(Violation::UnknownInitiatorTaskTag, |bench| {
        let stat_sn = bench.status();
        bench.take(TextResponse { is_final: true, initiator_task_tag: tag(1), stat_sn, ..TextResponse::default() });
    });
}

#[test]
fn an_answer_before_its_request_was_sent() {
    let mut bench = Bench::new(Parameters::default());
    bench.submit(1, read(512));
    let pdu = bench.response(1);
    bench.take(pdu);
    bench.assert_violation(Violation::UnknownInitiatorTaskTag, &[1]);
}

#[test]
fn an_answer_after_the_task_has_ended() {
    let mut bench = bench();
    let pdu = bench.response(1);
    bench.take(pdu);
    assert_eq!(bench.events().len(), 1);
    bench.take(bench.data_in(1, 0, 0, pattern(8)));
    bench.assert_violation(Violation::UnknownInitiatorTaskTag, &[2]);
}

// RFC 7143 7.9-3.
#[test]
fn status_numbers() {
    for wrong in [FIRST_STAT_SN.next(), FIRST_STAT_SN.previous(), FIRST_STAT_SN.advanced_by(1 << 31)] {
        assert_breaks(Violation::StatSnOutOfOrder, |bench| {
            let pdu = bench.response(1);
            bench.take(ScsiResponse { stat_sn: wrong, ..pdu });
        });
    }
}

// RFC 7143 7.9-1.
#[test]
fn data_numbers() {
    assert_breaks(Violation::DataSnOutOfOrder, |bench| bench.take(bench.data_in(1, 1, 0, pattern(8))));
    assert_breaks(Violation::DataSnOutOfOrder, |bench| bench.take(bench.r2t(2, 1, 0, 8)));
    assert_breaks(Violation::DataSnOutOfOrder, |bench| {
        bench.take(bench.data_in(1, 0, 0, Bytes::new()));
        let again = bench.data_in(1, 0, 0, Bytes::new());
        let again = with_status(bench, again, 0);
        bench.take(again);
    });
    assert_breaks(Violation::MissingData, |bench| {
        let pdu = bench.response(1);
        bench.take(ScsiResponse { exp_data_sn: 1, ..pdu });
    });
}

#[test]
fn data_places() {
    assert_breaks(Violation::DataBeyondExpected, |bench| bench.take(bench.data_in(1, 0, 4090, pattern(8))));
    assert_breaks(Violation::DataBeyondExpected, |bench| bench.take(bench.data_in(1, 0, u32::MAX, pattern(8))));
    assert_breaks(Violation::DataOutOfOrder, |bench| bench.take(bench.data_in(1, 0, 8, pattern(8))));
    assert_breaks(Violation::DataWithoutRead, |bench| bench.take(bench.data_in(2, 0, 0, pattern(8))));
    assert_breaks(Violation::SegmentTooLong, |bench| bench.take(bench.data_in(1, 0, 0, pattern(1025))));
}

#[test]
fn data_that_comes_twice_under_a_new_number() {
    let mut bench = bench();
    bench.take(bench.data_in(1, 0, 0, pattern(8)));
    assert_eq!(bench.events().len(), 1);
    bench.take(bench.data_in(1, 1, 0, pattern(8)));
    bench.assert_violation(Violation::DataOutOfOrder, &[1, 2]);
}

#[test]
fn statuses_in_the_wrong_place() {
    let mut bench = bench();
    let pdu = bench.data_in(1, 0, 0, pattern(8));
    let pdu = with_status(&mut bench, pdu, 2);
    bench.take(pdu);
    assert!(matches!(bench.session.poll_event(), Some(Event::Data { .. })));
    bench.assert_violation(Violation::StatusInData, &[1, 2]);
}

#[test]
fn sense_data() {
    for (status, data, violation) in
        [(2, &b"\0\x03\x70\0"[..], Violation::SenseBeyondSegment), (0, b"\xff", Violation::SenseBeyondSegment)]
    {
        assert_breaks(violation, |bench| {
            let pdu = bench.response(1);
            bench.take(ScsiResponse { status, data: Bytes::from_static(data), ..pdu });
        });
    }
}

/// RFC 7143 11.4.7 asks a target for sense data; istgt has none for some commands, and is told no more about it.
#[test]
fn a_check_condition_without_sense_data_ends_its_task() {
    let mut bench = bench();
    let pdu = bench.response(1);
    bench.take(ScsiResponse { status: 2, ..pdu });
    let Some(Event::TaskComplete { result, .. }) = bench.session.poll_event() else { panic!("the task has ended") };
    assert_eq!((result.status, result.sense.len()), (2, 0));
}

#[test]
fn r2ts() {
    assert_breaks(Violation::R2tWithoutWrite, |bench| bench.take(bench.r2t(1, 0, 0, 8)));
    assert_breaks(Violation::R2tBeyondExpected, |bench| bench.take(bench.r2t(2, 0, 4090, 8)));
    assert_breaks(Violation::R2tBeyondExpected, |bench| bench.take(bench.r2t(2, 0, u32::MAX, u32::MAX)));
    assert_breaks(Violation::R2tTooLong, |bench| bench.take(bench.r2t(2, 0, 0, 2049)));
    assert_breaks(Violation::R2tOutOfOrder, |bench| {
        bench.take(bench.r2t(2, 0, 0, 16));
        bench.take(bench.r2t(2, 1, 8, 8));
    });
    assert_breaks(Violation::TooManyR2ts, |bench| {
        (0..3).for_each(|r2t_sn| bench.take(bench.r2t(2, r2t_sn, r2t_sn * 8, 8)));
    });
    assert_breaks(Violation::InconsistentLun, |bench| {
        let lun = LunField::default();
        bench.take(R2t { lun, ..bench.r2t(2, 0, 0, 8) });
    });
}

#[test]
fn nop_ins() {
    assert_breaks(Violation::NopInWithBothTags, |bench| {
        let pdu = bench.nop_in(Some(9), Some(9));
        bench.take(pdu);
    });
    assert_breaks(Violation::UnsolicitedNopInData, |bench| {
        let pdu = bench.nop_in(None, Some(9));
        bench.take(NopIn { data: pattern(1), ..pdu });
    });
    // Pings whose answers are not taken from us: 64 are kept.
    let mut bench = bench();
    for number in 0..64 {
        let pdu = bench.nop_in(None, Some(number));
        bench.take(pdu);
    }
    assert!(!bench.session.is_closed());
    let pdu = bench.nop_in(None, Some(64));
    bench.take(pdu);
    bench.assert_violation(Violation::TooManyPings, &[1, 2]);
}

// RFC 7143 7.7-1, 7.7-2, 7.8-5, 7.8-11.
#[test]
fn bad_pdus() {
    let error = Pdu::decode(Frame::new(Header([0x3e; 48]), Box::default(), Bytes::new())).unwrap_err();
    let cases =
        [(BadPdu::Undecodable(error), CloseReason::Malformed(error)), (BadPdu::DataDigest, CloseReason::DataDigest)];
    for (what, reason) in cases {
        let mut bench = bench();
        bench.session.handle_bad_pdu(bench.now, CID, Header([0; 48]), what);
        let events = bench.events();
        assert_eq!((events.len(), events.last()), (3, Some(&Event::Closed(reason))));
    }
}
