//! SendTargets, and negotiation on the target's wish.

use super::*;
use crate::TargetRecord;

fn request(bench: &mut Bench) -> TextRequest {
    let mut sent = bench.sent();
    let (Some(Pdu::TextRequest(request)), true) = (sent.pop(), sent.is_empty()) else { panic!("one text request") };
    assert!(request.is_final && !request.continues && !request.immediate);
    request
}

pub(super) fn text_response(bench: &mut Bench, number: u32, text: &'static [u8], more: Option<u32>) -> TextResponse {
    TextResponse {
        is_final: more.is_none(),
        continues: false,
        lun: if more.is_some() { LUN } else { LunField::default() },
        initiator_task_tag: tag(number),
        target_transfer_tag: more.map(TargetTransferTag),
        stat_sn: bench.status(),
        exp_cmd_sn: bench.exp_cmd_sn,
        max_cmd_sn: bench.max_cmd_sn,
        data: Bytes::from_static(text),
    }
}

pub(super) fn answer(bench: &mut Bench, number: u32, text: &'static [u8], more: Option<u32>) {
    let response = text_response(bench, number, text, more);
    bench.take(response);
}

pub(super) fn discovery() -> Bench {
    let outcome = LoginOutcome { session_type: SessionType::Discovery, ..outcome(Parameters::default()) };
    Bench::with(outcome)
}

#[test]
fn each_scope_has_its_value() {
    for (scope, text) in [
        (SendTargetsScope::All, &b"SendTargets=All\0"[..]),
        (SendTargetsScope::Named("iqn.2026-01.a:b".into()), b"SendTargets=iqn.2026-01.a:b\0"),
        (SendTargetsScope::ThisTarget, b"SendTargets=\0"),
    ] {
        let mut bench = discovery();
        bench.session.send_targets(bench.now, CID, tag(1), scope);
        let request = request(&mut bench);
        assert_eq!((&request.data[..], request.target_transfer_tag), (text, None));
    }
}

// RFC 7143 6.4-1, 6.4-2, 11.10.3-1, 11.10.3-2, 11.11.4-3.
#[test]
fn a_long_answer_is_asked_for_piece_by_piece() {
    let mut bench = discovery();
    bench.session.send_targets(bench.now, CID, tag(1), SendTargetsScope::All);
    assert_eq!(request(&mut bench).cmd_sn, FIRST_CMD_SN);
    // RFC 7143 11.10.5: a pair may go over the edge of a PDU.
    answer(&mut bench, 1, b"TargetName=iqn.2026-01.a:one\0TargetAddress=10.0.0.1:3260,1\0Target", Some(7));
    let next = request(&mut bench);
    assert_eq!(next.initiator_task_tag, tag(1));
    assert_eq!(
        (next.target_transfer_tag, next.lun, next.cmd_sn),
        (Some(TargetTransferTag(7)), LUN, FIRST_CMD_SN.next())
    );
    assert!(next.data.is_empty());
    answer(&mut bench, 1, b"Address=[fe80::1]:3260,2\0TargetName=iqn.2026-01.a:two\0", None);
    let targets = vec![
        TargetRecord {
            name: "iqn.2026-01.a:one".into(),
            addresses: vec!["10.0.0.1:3260,1".into(), "[fe80::1]:3260,2".into()],
        },
        TargetRecord { name: "iqn.2026-01.a:two".into(), addresses: vec![] },
    ];
    assert_eq!(bench.events(), [Event::Targets { tag: tag(1), targets }]);
}

// RFC 7143 11.10.4-2.
#[test]
fn no_targets_is_an_answer() {
    let mut bench = discovery();
    bench.session.send_targets(bench.now, CID, tag(1), SendTargetsScope::All);
    request(&mut bench);
    // A tag beside F means nothing.
    let response = text_response(&mut bench, 1, b"", Some(7));
    bench.take(TextResponse { is_final: true, ..response });
    assert_eq!((bench.events(), bench.sent()), (vec![Event::Targets { tag: tag(1), targets: vec![] }], vec![]));
}

// RFC 7143 6.2-5, 11.10-1.
#[test]
fn exchanges_take_turns() {
    let mut bench = discovery();
    bench.session.send_targets(bench.now, CID, tag(1), SendTargetsScope::All);
    bench.session.send_targets(bench.now, CID, tag(2), SendTargetsScope::All);
    // RFC 7143 11.10: one at a time.
    assert_eq!(request(&mut bench).initiator_task_tag, tag(1));
    answer(&mut bench, 1, b"", None);
    assert_eq!(request(&mut bench).initiator_task_tag, tag(2));
    answer(&mut bench, 2, b"", None);
    assert_eq!(bench.events().len(), 2);
}

#[test]
fn an_exchange_waits_for_the_window() {
    let outcome = LoginOutcome { max_cmd_sn: FIRST_CMD_SN, ..outcome(Parameters::default()) };
    let mut bench = Bench::with(outcome);
    bench.submit(1, read(8));
    bench.session.send_targets(bench.now, CID, tag(2), SendTargetsScope::ThisTarget);
    assert!(matches!(bench.sent()[..], [Pdu::ScsiCommand(_)]));
    bench.max_cmd_sn = FIRST_CMD_SN.next();
    let pdu = bench.nop_in(None, None);
    bench.take(pdu);
    assert_eq!(request(&mut bench).cmd_sn, FIRST_CMD_SN.next());
    assert_eq!(bench.session.window(CID), 0);
}

#[test]
fn discovery_sessions_take_no_commands() {
    let mut bench = discovery();
    assert_eq!(bench.session.window(CID), 0);
    assert_eq!(bench.session.submit(bench.now, CID, tag(1), read(8)), Err(read(8)));
}

#[test]
fn discovery_sessions_have_texts_and_a_logout_alone() {
    let mut bench = discovery();
    assert_eq!(bench.session.poll_timeout(), None);
    bench.session.ping(bench.now, CID, tag(1), Bytes::new());
    let reason = RejectReason::CommandNotSupported;
    assert_eq!(bench.events(), [Event::TaskRejected { tag: tag(1), reason }]);
    bench.session.logout(bench.now, CID, tag(2), Logout::Connection(CID));
    let sent = bench.sent();
    assert!(matches!(&sent[..], [Pdu::LogoutRequest(request)] if request.reason == LogoutReason::CloseSession));
}

#[test]
fn a_question_without_an_answer_ends_a_discovery_session() {
    let mut bench = discovery();
    bench.session.send_targets(bench.now, CID, tag(1), SendTargetsScope::All);
    request(&mut bench);
    let due = bench.now + Duration::from_secs(3);
    assert_eq!(bench.session.poll_timeout(), Some(due));
    bench.session.handle_timeout(due);
    assert_eq!(bench.events(), [Event::TaskLost { tag: tag(1) }, Event::Closed(CloseReason::PeerSilent)]);
}

#[test]
fn hostile_answers() {
    let long: &'static [u8] = [&b"TargetName=iqn."[..], &[b'a'; 600], b"\0"].concat().leak();
    for (text, violation) in [
        (&b"TargetAddress=10.0.0.1,1\0"[..], Violation::TargetRecordMalformed),
        (b"TargetName=\0", Violation::TargetRecordMalformed),
        (b"TargetName=iqn.a\x1b[31m\0", Violation::TargetRecordMalformed),
        (b"TargetName=iqn.a\xc2\x85\0", Violation::TargetRecordMalformed),
        (b"InitiatorName=iqn.a\0", Violation::TargetRecordMalformed),
        (long, Violation::TargetRecordMalformed),
        (b"TargetName=iqn.a", Violation::TextMalformed),
        (b"TargetName\0", Violation::TextMalformed),
        (b"TargetName=\xff\0", Violation::TextMalformed),
    ] {
        let mut bench = discovery();
        bench.session.send_targets(bench.now, CID, tag(1), SendTargetsScope::All);
        request(&mut bench);
        answer(&mut bench, 1, text, None);
        bench.assert_violation(violation, &[1]);
    }
}

#[test]
fn answers_without_end() {
    for (text, rounds) in [(vec![b'a'; 8192], 129), (Vec::new(), 9)] {
        let text: &'static [u8] = text.leak();
        let mut bench = discovery();
        bench.session.send_targets(bench.now, CID, tag(1), SendTargetsScope::All);
        for _ in 1..rounds {
            request(&mut bench);
            bench.max_cmd_sn = bench.max_cmd_sn.next();
            answer(&mut bench, 1, text, Some(7));
        }
        request(&mut bench);
        answer(&mut bench, 1, text, Some(7));
        bench.assert_violation(Violation::TextTooLong, &[1]);
    }
}

#[test]
fn an_answer_that_goes_on_needs_a_tag() {
    let mut bench = discovery();
    bench.session.send_targets(bench.now, CID, tag(1), SendTargetsScope::All);
    request(&mut bench);
    let response = text_response(&mut bench, 1, b"", None);
    bench.take(TextResponse { is_final: false, ..response });
    bench.assert_violation(Violation::TextResponseFlags, &[1]);
}

#[test]
fn an_answer_to_a_question_that_was_not_sent() {
    let mut bench = discovery();
    bench.session.send_targets(bench.now, CID, tag(1), SendTargetsScope::All);
    request(&mut bench);
    answer(&mut bench, 1, b"TargetName=iqn.a\0", Some(7));
    answer(&mut bench, 1, b"TargetName=iqn.b\0", None);
    bench.assert_violation(Violation::UnknownInitiatorTaskTag, &[1]);
}

/// A bench whose target has asked for a negotiation that is under way.
pub(super) fn negotiating() -> Bench {
    let mut bench = Bench::new(Parameters::default());
    let stat_sn = bench.status();
    bench.take(AsyncMessage {
        event: AsyncEvent::NegotiationRequest,
        vendor_code: 0,
        lun: LunField::default(),
        stat_sn,
        exp_cmd_sn: bench.exp_cmd_sn,
        max_cmd_sn: bench.max_cmd_sn,
        parameter_1: 0,
        parameter_2: 0,
        parameter_3: 3,
        data: Bytes::new(),
    });
    assert_eq!(bench.events(), [Event::NegotiationRequested { cid: CID }]);
    bench.session.negotiate(bench.now, CID, tag(1));
    assert!(request(&mut bench).data.is_empty());
    bench
}

// RFC 7143 11.9.1-5, 11.10.5-1: answers of at most 512 bytes.
#[test]
fn a_negotiation_answers_what_the_target_offers() {
    let mut bench = negotiating();
    answer(&mut bench, 1, b"X-org.example.speed=9\0MaxRecvDataSegmentLength=1024\0TargetAlias=disk\0", Some(7));
    assert_eq!(request(&mut bench).data, &b"X-org.example.speed=NotUnderstood\0"[..]);
    assert_eq!(bench.session.parameters(CID).unwrap().send_segment_bytes_max, 8192, "not before the end");
    answer(&mut bench, 1, b"", None);
    assert_eq!(bench.events(), [Event::NegotiationComplete { tag: tag(1) }]);
    bench.submit(2, write(4096));
    assert!(matches!(&bench.sent()[..], [Pdu::ScsiCommand(command)] if command.data.len() == 1024));
}

// RFC 7143 6.4-7.
#[test]
fn a_negotiation_that_breaks_the_rules() {
    for (text, violation) in [
        (&b"MaxBurstLength=512\0"[..], Violation::KeyOutOfPlace),
        (b"MaxRecvDataSegmentLength=511\0", Violation::ValueNotAdmissible),
        (b"MaxRecvDataSegmentLength=16777216\0", Violation::ValueNotAdmissible),
        (b"MaxRecvDataSegmentLength=-1\0", Violation::ValueNotAdmissible),
        (b"X-org.example.speed=9\0", Violation::TextResponseFlags),
        (b"MaxRecvDataSegmentLength=1024\0MaxRecvDataSegmentLength=1024\0", Violation::KeyRepeated),
    ] {
        let mut bench = negotiating();
        answer(&mut bench, 1, text, None);
        bench.assert_violation(violation, &[1]);
    }
}
