//! Every rule that a target can break after the login: each ends the session by its name, and every request is lost once.

use super::connections::{OTHER, two};
use super::recovery::{piece, reading};
use super::rejects::{REASON, reject};
use super::texts::{answer, discovery, negotiating, text_response};
use super::*;
use crate::{Answer, BadPdu};

/// A rule, what comes before with the requests that are open then, and how it is broken.
type Row = (Violation, fn() -> (Bench, &'static [u32]), fn(&mut Bench));

const STATUSES: &[Row] = &[
    (Violation::UnexpectedPdu, usual, |bench| bench.take(NopOut::default())),
    (Violation::UnexpectedPdu, usual, |bench| bench.take(ScsiCommand::default())),
    (Violation::UnexpectedPdu, usual, |bench| bench.take(DataOut::default())),
    (Violation::UnknownInitiatorTaskTag, usual, |bench| bench.take(bench.data_in(3, 0, 0, pattern(8)))),
    (Violation::UnknownInitiatorTaskTag, usual, |bench| bench.take(bench.r2t(3, 0, 0, 8))),
    (Violation::UnknownInitiatorTaskTag, usual, |bench| respond(bench, 3, |_| ())),
    (Violation::UnknownInitiatorTaskTag, not_sent, |bench| respond(bench, 1, |_| ())),
    (Violation::UnknownInitiatorTaskTag, after_an_answer, |bench| bench.take(bench.data_in(1, 0, 0, pattern(8)))),
    (Violation::UnknownInitiatorTaskTag, usual, |bench| {
        let pdu = bench.nop_in(Some(1), None);
        bench.take(pdu);
    }),
    (Violation::UnknownInitiatorTaskTag, usual, |bench| answer(bench, 1, b"", None)),
    (Violation::WrongConnection, with_another_connection, |bench| bench.take(bench.data_in(1, 0, 0, pattern(8)))),
    (Violation::StatSnOutOfOrder, usual, |bench| respond(bench, 1, |pdu| pdu.stat_sn = FIRST_STAT_SN.next())),
    (Violation::StatSnOutOfOrder, usual, |bench| respond(bench, 1, |pdu| pdu.stat_sn = FIRST_STAT_SN.previous())),
    (Violation::StatSnOutOfOrder, usual, |bench| {
        respond(bench, 1, |pdu| pdu.stat_sn = FIRST_STAT_SN.advanced_by(1 << 31));
    }),
    (Violation::MissingData, usual, |bench| respond(bench, 1, |pdu| pdu.exp_data_sn = 1)),
    (Violation::StatusInData, usual, |bench| take_with_status(bench, 2)),
    (Violation::SenseBeyondSegment, usual, |bench| {
        respond(bench, 1, |pdu| (pdu.status, pdu.data) = (2, Bytes::from_static(b"\0\x03\x70\0")));
    }),
    (Violation::SenseBeyondSegment, usual, |bench| respond(bench, 1, |pdu| pdu.data = Bytes::from_static(b"\xff"))),
    (Violation::CommandGap, with_a_gap, |bench| {
        let plug = bench.sent().remove(0);
        reject(bench, &plug, RejectReason::ProtocolError);
    }),
];

const DATA: &[Row] = &[
    (Violation::DataSnOutOfOrder, usual, |bench| bench.take(bench.data_in(1, 1, 0, pattern(8)))),
    (Violation::DataSnOutOfOrder, usual, |bench| bench.take(bench.r2t(2, 1, 0, 8))),
    (Violation::DataSnOutOfOrder, usual, |bench| {
        bench.take(bench.data_in(1, 0, 0, Bytes::new()));
        take_with_status(bench, 0);
    }),
    (Violation::DataBeyondExpected, usual, |bench| bench.take(bench.data_in(1, 0, 4090, pattern(8)))),
    (Violation::DataBeyondExpected, usual, |bench| bench.take(bench.data_in(1, 0, u32::MAX, pattern(8)))),
    (Violation::DataOutOfOrder, usual, |bench| bench.take(bench.data_in(1, 0, 8, pattern(8)))),
    (Violation::DataOutOfOrder, usual, |bench| {
        bench.take(bench.data_in(1, 0, 0, pattern(8)));
        bench.take(bench.data_in(1, 1, 0, pattern(8)));
    }),
    (Violation::DataWithoutRead, usual, |bench| bench.take(bench.data_in(2, 0, 0, pattern(8)))),
    (Violation::SegmentTooLong, usual, |bench| bench.take(bench.data_in(1, 0, 0, pattern(1025)))),
    (Violation::DataTwice, in_any_order, |bench| {
        bench.take(bench.data_in(1, 0, 24, pattern(8)));
        bench.take(bench.data_in(1, 1, 20, pattern(8)));
    }),
    (Violation::TooManyGaps, in_any_order, |bench| {
        (0..=1024).for_each(|data_sn| bench.take(bench.data_in(1, data_sn, data_sn * 2, pattern(1))));
    }),
    (Violation::AcknowledgeWithoutTag, with_recovery, |bench| {
        bench.take(DataIn { acknowledge: true, target_transfer_tag: None, ..piece(bench, 0) });
    }),
    (Violation::R2tWithoutWrite, usual, |bench| bench.take(bench.r2t(1, 0, 0, 8))),
    (Violation::R2tBeyondExpected, usual, |bench| bench.take(bench.r2t(2, 0, 4090, 8))),
    (Violation::R2tBeyondExpected, usual, |bench| bench.take(bench.r2t(2, 0, u32::MAX, u32::MAX))),
    (Violation::R2tTooLong, usual, |bench| bench.take(bench.r2t(2, 0, 0, 2049))),
    (Violation::R2tOutOfOrder, usual, |bench| {
        bench.take(bench.r2t(2, 0, 0, 16));
        bench.take(bench.r2t(2, 1, 8, 8));
    }),
    (Violation::TooManyR2ts, usual, |bench| {
        (0..3).for_each(|r2t_sn| bench.take(bench.r2t(2, r2t_sn, r2t_sn * 8, 8)));
    }),
    (Violation::InconsistentLun, usual, |bench| {
        bench.take(R2t { lun: LunField::default(), ..bench.r2t(2, 0, 0, 8) });
    }),
];

const PINGS_AND_TEXTS: &[Row] = &[
    (Violation::NopInWithBothTags, usual, |bench| {
        let pdu = bench.nop_in(Some(9), Some(9));
        bench.take(pdu);
    }),
    (Violation::UnsolicitedNopInData, usual, |bench| {
        let pdu = bench.nop_in(None, Some(9));
        bench.take(NopIn { data: pattern(1), ..pdu });
    }),
    (Violation::TooManyPings, after_64_pings, |bench| {
        let pdu = bench.nop_in(None, Some(64));
        bench.take(pdu);
    }),
    (Violation::TextResponseFlags, with_a_question, |bench| {
        let response = text_response(bench, 1, b"", None);
        bench.take(TextResponse { is_final: false, ..response });
    }),
    (Violation::TextResponseFlags, with_a_negotiation, |bench| answer(bench, 1, b"X-org.example.speed=9\0", None)),
    (Violation::TextTooLong, with_a_question, |bench| {
        for _ in 0..9 {
            bench.max_cmd_sn = bench.max_cmd_sn.next();
            answer(bench, 1, b"", Some(7));
            bench.sent();
        }
    }),
    (Violation::TextMalformed, with_a_question, |bench| answer(bench, 1, b"TargetName=iqn.a", None)),
    (Violation::TargetRecordMalformed, with_a_question, |bench| answer(bench, 1, b"TargetName=\0", None)),
    (Violation::KeyOutOfPlace, with_a_negotiation, |bench| answer(bench, 1, b"MaxBurstLength=512\0", None)),
];

fn rows() -> impl Iterator<Item = &'static Row> {
    [STATUSES, DATA, PINGS_AND_TEXTS].into_iter().flatten()
}

#[test]
fn every_rule_that_a_target_can_break_has_a_row() {
    let has_none = |rule: &&Violation| rows().all(|(violation, ..)| violation != *rule);
    let untested: Vec<_> = Violation::OF_TARGETS.iter().filter(has_none).collect();
    assert!(untested.is_empty(), "no row breaks {untested:?}");
}

// RFC 7143 7.9-1, 7.9-3.
#[test]
fn every_broken_rule_ends_the_session_by_its_name() {
    for (violation, before, breaks) in rows() {
        assert!(matches!(violation.answer(), Answer::Close | Answer::Refuse(_)), "{violation:?}");
        let (mut bench, open) = before();
        assert!(!bench.session.is_closed());
        breaks(&mut bench);
        bench.assert_violation(*violation, open);
    }
}

/// A response to a command, changed.
fn respond(bench: &mut Bench, number: u32, change: fn(&mut ScsiResponse)) {
    let mut pdu = bench.response(number);
    change(&mut pdu);
    bench.take(pdu);
}

/// A first Data-In that brings the status.
fn take_with_status(bench: &mut Bench, status: u8) {
    let status = Some(DataInStatus { status, stat_sn: bench.status(), residual: Residual::None });
    bench.take(DataIn { is_final: true, status, ..bench.data_in(1, 0, 0, Bytes::new()) });
}

/// A read (tag 1) and a write (tag 2) of 4096 bytes each, both sent; nothing unsolicited.
fn usual() -> (Bench, &'static [u32]) {
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
    (bench, &[1, 2])
}

fn not_sent() -> (Bench, &'static [u32]) {
    let mut bench = Bench::new(Parameters::default());
    bench.submit(1, read(512));
    (bench, &[1])
}

fn after_an_answer() -> (Bench, &'static [u32]) {
    let (mut bench, _) = usual();
    respond(&mut bench, 1, |_| ());
    assert_eq!(bench.events().len(), 1);
    (bench, &[2])
}

/// A read on one connection, and the other speaks.
fn with_another_connection() -> (Bench, &'static [u32]) {
    let mut bench = two();
    bench.submit(1, read(8));
    bench.sent();
    bench.on(OTHER);
    (bench, &[1])
}

/// A command was rejected that does not count as received.
fn with_a_gap() -> (Bench, &'static [u32]) {
    let mut bench = Bench::new(Parameters::default());
    bench.submit(1, read(8));
    let command = bench.sent().remove(0);
    reject(&mut bench, &command, REASON);
    (bench, &[])
}

fn in_any_order() -> (Bench, &'static [u32]) {
    let mut bench = Bench::new(Parameters { data_pdu_in_order: false, ..Parameters::default() });
    bench.submit(1, read(1 << 20));
    bench.sent();
    (bench, &[1])
}

fn with_recovery() -> (Bench, &'static [u32]) {
    (reading(), &[1])
}

/// Pings whose answers are not taken from us.
fn after_64_pings() -> (Bench, &'static [u32]) {
    let (mut bench, open) = usual();
    for number in 0..64 {
        let pdu = bench.nop_in(None, Some(number));
        bench.take(pdu);
    }
    (bench, open)
}

fn with_a_question() -> (Bench, &'static [u32]) {
    let mut bench = discovery();
    bench.session.send_targets(bench.now, CID, tag(1), SendTargetsScope::All);
    assert_eq!(bench.sent().len(), 1);
    (bench, &[1])
}

fn with_a_negotiation() -> (Bench, &'static [u32]) {
    (negotiating(), &[1])
}

/// RFC 7143 11.4.7 asks a target for sense data; istgt has none for some commands, and is told no more about it.
#[test]
fn a_check_condition_without_sense_data_ends_its_task() {
    let (mut bench, _) = usual();
    let pdu = bench.response(1);
    bench.take(ScsiResponse { status: 2, ..pdu });
    let Some(Event::TaskComplete { result, .. }) = bench.session.poll_event() else { panic!("the task has ended") };
    assert_eq!((result.status, result.sense.len()), (2, 0));
}

// RFC 7143 7.7-1, 7.7-2, 7.8-5, 7.8-11.
#[test]
fn bad_pdus() {
    let error = Pdu::decode(Frame::new(Header([0x3e; 48]), Box::default(), Bytes::new())).unwrap_err();
    let cases =
        [(BadPdu::Undecodable(error), CloseReason::Malformed(error)), (BadPdu::DataDigest, CloseReason::DataDigest)];
    for (what, reason) in cases {
        let (mut bench, _) = usual();
        bench.session.handle_bad_pdu(bench.now, CID, Header([0; 48]), what);
        let events = bench.events();
        assert_eq!((events.len(), events.last()), (3, Some(&Event::Closed(reason))));
    }
}
