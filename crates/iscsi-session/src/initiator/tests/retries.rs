//! Error recovery level 1: requests that were lost are sent again, and pings given up.

use super::recovery::{at_level_1, bench, completed};
use super::*;

// RFC 7143 7.2.1-2.
#[test]
fn a_command_whose_immediate_data_was_bad_is_sent_again() {
    let mut bench = Bench::new(Parameters { immediate_data: true, initial_r2t: false, ..at_level_1() });
    bench.submit(1, write(10_000));
    let sent = bench.sent();
    assert_eq!(sent.len(), 2);
    super::rejects::reject(&mut bench, &sent[0], RejectReason::DataDigestError);
    // RFC 7143 7.2.1 and 7.8: with its tag, its number and all its data.
    let again = bench.sent();
    let exp_stat_sn = FIRST_STAT_SN.next();
    let expected: Vec<_> = sent
        .into_iter()
        .map(|pdu| match pdu {
            Pdu::ScsiCommand(pdu) => ScsiCommand { exp_stat_sn, ..pdu }.into(),
            Pdu::DataOut(pdu) => Pdu::from(DataOut { exp_stat_sn, ..pdu }),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((again.clone(), bench.events()), (expected, vec![]));
    // Not for ever: then its number is plugged as at level 0.
    for _ in 1..8 {
        super::rejects::reject(&mut bench, &again[0], RejectReason::DataDigestError);
        assert_eq!(bench.sent().len(), 2);
    }
    super::rejects::reject(&mut bench, &again[0], RejectReason::DataDigestError);
    assert!(matches!(&bench.sent()[..], [Pdu::NopOut(plug)] if plug.cmd_sn == FIRST_CMD_SN));
}

/// RFC 7143 7.2.1: a command that is sent again is taken once.
#[test]
fn a_damaged_copy_of_a_command_that_the_target_has_taken_changes_nothing() {
    let mut bench = bench();
    bench.submit(1, write(512));
    let sent = bench.sent();
    super::rejects::reject(&mut bench, &sent[0], RejectReason::DataDigestError);
    let again = bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    super::rejects::reject(&mut bench, &again[0], RejectReason::DataDigestError);
    assert_eq!(bench.events(), [], "it is being carried out");
    let response = bench.response(1);
    bench.take(response);
    assert_eq!(completed(&bench.events()), [tag(1)]);
}

// RFC 7143 7.2.1-1, 7.2.1-2, 7.2.1-3.
/// RFC 7143 7.1.3 and 7.2.1: a ping shows which command was lost.
#[test]
fn a_command_that_the_target_has_not_got_is_sent_again() {
    let mut bench = bench();
    bench.submit(1, read(8));
    bench.submit(2, read(8));
    let commands = bench.sent();
    bench.now += Duration::from_millis(400);
    let pdu = bench.nop_in(None, None);
    bench.take(pdu);
    assert_eq!(bench.session.poll_timeout(), Some(bench.now + Duration::from_millis(600)));
    bench.now += Duration::from_millis(600);
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [Event::PingDue { cid: CID }]);
    bench.session.ping(bench.now, CID, tag(9), Bytes::new());
    bench.sent();
    // The first has arrived, the second has not.
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    let pdu = bench.nop_in(Some(9), None);
    bench.take(pdu);
    let again = bench.sent();
    let [Pdu::ScsiCommand(again)] = &again[..] else { panic!("{again:?}") };
    let Pdu::ScsiCommand(command) = &commands[1] else { panic!("{commands:?}") };
    assert_eq!(*again, ScsiCommand { exp_stat_sn: FIRST_STAT_SN.next(), ..command.clone() });
    // One that was sent after the ping may still be on its way.
    bench.exp_cmd_sn = FIRST_CMD_SN.advanced_by(2);
    bench.session.ping(bench.now, CID, tag(9), Bytes::new());
    bench.submit(3, read(8));
    bench.sent();
    let pdu = bench.nop_in(Some(9), None);
    bench.take(pdu);
    assert_eq!(bench.sent(), []);
}

#[test]
fn where_all_is_acknowledged_nothing_is_probed() {
    let mut bench = bench();
    bench.submit(1, read(8));
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    let pdu = bench.nop_in(None, None);
    bench.take(pdu);
    assert_eq!(bench.session.poll_timeout(), Some(bench.now + Duration::from_secs(5)));
}

/// RFC 7143 7.2.1: a Text Request has a number, and is sent again like a command.
#[test]
fn a_text_request_that_the_target_has_not_got_is_sent_again() {
    let mut bench = bench();
    bench.session.send_targets(bench.now, CID, tag(1), SendTargetsScope::All);
    let asked = bench.sent();
    ping(&mut bench, 9);
    let [Pdu::TextRequest(again)] = &bench.sent()[..] else { panic!("it is asked again") };
    assert_eq!(Pdu::from(TextRequest { exp_stat_sn: FIRST_STAT_SN, ..again.clone() }), asked[0]);
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    super::texts::answer(&mut bench, 1, b"TargetName=iqn.a\0", None);
    assert!(matches!(&bench.events()[..], [Event::Targets { targets, .. }] if targets.len() == 1));
}

#[test]
fn the_second_question_of_a_text_exchange_is_sent_again_too() {
    let mut bench = bench();
    bench.session.send_targets(bench.now, CID, tag(1), SendTargetsScope::All);
    bench.sent();
    ping(&mut bench, 9);
    // It was only late: what stands in the outbox is not said any more.
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    super::texts::answer(&mut bench, 1, b"TargetName=iqn.a\0", Some(7));
    let [Pdu::TextRequest(second)] = &bench.sent()[..] else { panic!("one question") };
    assert_eq!((second.target_transfer_tag, second.cmd_sn), (Some(TargetTransferTag(7)), FIRST_CMD_SN.next()));
    ping(&mut bench, 9);
    let [Pdu::TextRequest(again)] = &bench.sent()[..] else { panic!("one question") };
    assert_eq!((again.target_transfer_tag, again.cmd_sn), (Some(TargetTransferTag(7)), FIRST_CMD_SN.next()));
}

/// Pings, and is answered.
fn ping(bench: &mut Bench, number: u32) {
    bench.session.ping(bench.now, CID, tag(number), Bytes::new());
    bench.sent();
    let pdu = bench.nop_in(Some(number), None);
    bench.take(pdu);
    assert_eq!(bench.events(), [Event::PingComplete { tag: tag(number), data: Bytes::new() }]);
}

/// RFC 7143 7.1.4.2: that is nobody's fault.
#[test]
fn a_command_that_never_arrives_is_given_up_without_blame() {
    let mut bench = bench();
    bench.submit(1, read(8));
    bench.sent();
    for _ in 0..8 {
        ping(&mut bench, 9);
        assert!(matches!(&bench.sent()[..], [Pdu::ScsiCommand(_)]));
    }
    bench.session.ping(bench.now, CID, tag(9), Bytes::new());
    bench.sent();
    let pdu = bench.nop_in(Some(9), None);
    bench.take(pdu);
    assert_eq!(bench.events().last(), Some(&Event::Closed(CloseReason::NotRecovered)));
}

#[test]
fn pings_that_were_lost_come_back() {
    let mut bench = bench();
    (1..=3).for_each(|number| bench.session.ping(bench.now, CID, tag(number), Bytes::new()));
    bench.sent();
    let pdu = bench.nop_in(Some(2), None);
    bench.take(pdu);
    let answered = Event::PingComplete { tag: tag(2), data: Bytes::new() };
    assert_eq!(bench.events(), [answered, Event::TaskLost { tag: tag(1) }]);
    // However many get lost: an answer that comes late is ignored.
    for number in 4..=100 {
        bench.session.ping(bench.now, CID, tag(number), Bytes::new());
        bench.sent();
    }
    let lost: Vec<_> = [3].into_iter().chain(4..=96).map(|number| Event::TaskLost { tag: tag(number) }).collect();
    assert_eq!(bench.events(), lost);
    let pdu = bench.nop_in(Some(50), None);
    bench.take(pdu);
    assert_eq!(bench.events(), []);
}
