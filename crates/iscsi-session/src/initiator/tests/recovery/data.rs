//! Data-In and R2Ts that are lost.

use super::*;

// RFC 7143 4.2.5.1-5, 7.9-1, 7.9-5, 11.16.2-3: nothing that had come.
#[test]
fn a_lost_data_in_is_asked_for_with_all_that_follows() {
    let mut bench = reading();
    take_pieces(&mut bench, [0, 2, 3]);
    assert_eq!(offsets(&bench.events()), [0]);
    // RFC 7143 11.16: asked for once, however much was on its way.
    assert_eq!(bench.sent(), [data_snack(1, 1)]);
    take_pieces(&mut bench, [1, 2]);
    assert_eq!(offsets(&bench.events()), [1000, 2000]);
    // What comes twice is discarded (7.9).
    take_pieces(&mut bench, [2, 3]);
    let response = bench.response(1);
    bench.take(ScsiResponse { exp_data_sn: 4, ..response });
    let events = bench.events();
    assert_eq!((offsets(&events[..1]), completed(&events)), (vec![3000], vec![tag(1)]));
    assert_eq!(bench.sent(), []);
}

/// A second SNACK that waits to be sent while what it is about comes would ask for what was never sent (RFC 7143 section 11.16).
#[test]
fn data_that_has_come_is_not_asked_for_once_more() {
    let mut bench = reading();
    take_pieces(&mut bench, [0, 2]);
    assert_eq!(bench.sent(), [data_snack(1, 1)]);
    bench.now += config().ping_timeout;
    bench.session.handle_timeout(bench.now);
    take_pieces(&mut bench, [1]);
    assert_eq!(bench.sent(), []);
}

// RFC 7143 7.8-5, 7.8-6.
#[test]
fn a_data_in_with_a_bad_digest_is_asked_for() {
    let mut bench = reading();
    take_pieces(&mut bench, [0]);
    let header = Pdu::from(piece(&bench, 1)).encode().header;
    bench.session.handle_bad_pdu(bench.now, CID, header, BadPdu::DataDigest);
    assert_eq!(bench.sent(), [data_snack(1, 1)]);
    // One that is lost again is found by the next.
    take_pieces(&mut bench, [1, 3]);
    assert_eq!(bench.sent(), [data_snack(1, 2)]);
    assert_eq!(offsets(&bench.events()), [0, 1000]);
}

#[test]
fn a_lost_r2t_is_asked_for() {
    let mut bench = Bench::new(Parameters { outstanding_r2t_max: 2, ..at_level_1() });
    bench.submit(1, write(2048));
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    bench.take(bench.r2t(1, 1, 1024, 1024));
    assert_eq!(bench.sent(), [data_snack(1, 0)]);
    bench.take(bench.r2t(1, 0, 0, 1024));
    bench.take(bench.r2t(1, 1, 1024, 1024));
    let sent = bench.sent();
    assert!(
        matches!(&sent[..], [Pdu::DataOut(one), Pdu::DataOut(two)] if (one.buffer_offset, two.buffer_offset) == (0, 1024))
    );
}

// RFC 7143 7.1.4.1-1: the target knows best that it waits.
#[test]
fn silence_alone_asks_for_no_r2t() {
    let mut bench = Bench::new(Parameters { immediate_data: false, ..at_level_1() });
    bench.submit(1, write(512));
    bench.sent();
    for _ in 0..50 {
        bench.now += Duration::from_millis(100);
        bench.session.handle_timeout(bench.now);
        let snacks = bench.sent().iter().filter(|pdu| matches!(pdu, Pdu::Snack(_))).count();
        assert_eq!(snacks, 0);
    }
}

/// RFC 7143 7.1.4.1: the target recovers R2Ts by itself too, and need not repeat one in whose place there is another.
#[test]
fn an_r2t_that_does_not_come_again_is_done_without() {
    let mut bench = bench();
    bench.submit(1, write(1024));
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    bench.take(bench.r2t(1, 1, 0, 1024));
    let sent = bench.sent();
    assert_eq!(sent, [data_snack(1, 0)]);
    super::rejects::reject(&mut bench, &sent[0], RejectReason::ProtocolError);
    bench.take(bench.r2t(1, 2, 0, 1024));
    assert!(matches!(&bench.sent()[..], [Pdu::DataOut(pdu)] if pdu.is_final));
    let response = bench.response(1);
    bench.take(response);
    assert_eq!(completed(&bench.events()), [tag(1)]);
}

#[test]
fn a_recovery_r2t_asks_for_what_was_sent() {
    let mut bench = Bench::new(Parameters { send_segment_bytes_max: 1024, ..at_level_1() });
    bench.submit(1, write(2048));
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    bench.take(bench.r2t(1, 0, 0, 2048));
    assert!(bench.session.poll_transmit(CID).is_some());
    // RFC 7143 11.8: with the next R2TSN, and before the first was answered in full.
    bench.take(bench.r2t(1, 1, 0, 1024));
    let sent = bench.sent();
    let [Pdu::DataOut(rest), Pdu::DataOut(again)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((rest.buffer_offset, rest.is_final, again.buffer_offset, again.is_final), (1024, true, 0, true));
    assert_eq!((again.data_sn, again.target_transfer_tag), (0, Some(TargetTransferTag(0x7001))));
    assert_eq!(again.data, pattern(1024));
    // They are bounded as others are.
    bench.take(bench.r2t(1, 2, 0, 1024));
    bench.take(bench.r2t(1, 3, 0, 512));
    bench.take(bench.r2t(1, 4, 512, 512));
    bench.assert_violation(Violation::TooManyR2ts, &[1]);
}

/// RFC 7143 13.17: a target gives up an R2T that is not answered, and asks anew; where it was lost, a SNACK brings all of them.
#[test]
fn r2ts_that_got_lost_again_and_again_come_together() {
    for (count, is_taken) in [(4, true), (64, true), (65, false)] {
        let mut bench = bench();
        bench.submit(1, write(2048));
        bench.sent();
        bench.exp_cmd_sn = FIRST_CMD_SN.next();
        bench.take(bench.r2t(1, 3, 0, 2048));
        assert_eq!(bench.sent(), [data_snack(1, 0)]);
        (0..count).for_each(|r2t_sn| bench.take(bench.r2t(1, r2t_sn, 0, 2048)));
        assert_eq!(!bench.session.is_closed(), is_taken);
        assert_eq!(bench.sent().len(), if is_taken { count as usize } else { 0 });
    }
}

/// The data of the first was so late that the target has asked twice more; then it came, and the target went on.
#[test]
fn an_r2t_is_none_too_many_behind_those_that_were_given_up() {
    for sent_before in [0, 1] {
        let mut bench = Bench::new(Parameters { send_segment_bytes_max: 512, ..at_level_1() });
        bench.submit(1, write(2048));
        bench.sent();
        bench.exp_cmd_sn = FIRST_CMD_SN.next();
        bench.take(bench.r2t(1, 0, 0, 1024));
        bench.sent();
        bench.take(bench.r2t(1, 1, 0, 1024));
        (0..sent_before).for_each(|_| assert!(bench.session.poll_transmit(CID).is_some()));
        bench.take(bench.r2t(1, 2, 0, 1024));
        bench.take(bench.r2t(1, 3, 0, 1024));
        bench.take(bench.r2t(1, 4, 1024, 1024));
        assert_eq!(bench.sent().len(), 8 - sent_before);
        assert!(!bench.session.is_closed());
    }
}

/// RFC 7143 11.8: the target has the data of the first R2T before that of the recovery R2T has left.
#[test]
fn the_r2t_that_follows_a_recovery_r2t_is_none_too_many() {
    let mut bench = Bench::new(Parameters { send_segment_bytes_max: 1024, ..at_level_1() });
    bench.submit(1, write(2048));
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    bench.take(bench.r2t(1, 0, 0, 1024));
    bench.take(bench.r2t(1, 1, 0, 1024));
    assert!(bench.session.poll_transmit(CID).is_some());
    bench.take(bench.r2t(1, 2, 1024, 1024));
    let sent = bench.sent();
    let [Pdu::DataOut(again), Pdu::DataOut(next)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((again.buffer_offset, next.buffer_offset), (0, 1024));
}

// RFC 7143 11.7.2-3, 11.7.2-4, 11.7.2-5, 11.16.2-1, 11.16.2-2.
#[test]
fn the_acknowledge_bit_is_answered_once_all_has_come() {
    let mut bench = reading();
    let asking = |bench: &Bench, data_sn, transfer_tag| DataIn {
        acknowledge: true,
        lun: LUN,
        target_transfer_tag: Some(TargetTransferTag(transfer_tag)),
        ..piece(bench, data_sn)
    };
    take_pieces(&mut bench, [0]);
    bench.take(asking(&bench, 2, 78));
    assert_eq!(bench.sent(), [data_snack(1, 1)], "not while something is missing");
    take_pieces(&mut bench, [1]);
    bench.take(asking(&bench, 2, 78));
    let expected = Snack {
        kind: SnackType::DataAck,
        lun: LUN,
        transfer_or_snack_tag: 78,
        exp_stat_sn: FIRST_STAT_SN,
        begin_run: 3,
        ..Snack::default()
    };
    assert_eq!(bench.sent(), [expected.into()]);
    // RFC 7143 11.7.2: a status acknowledges the data too.
    let status = Some(DataInStatus { status: 0, stat_sn: bench.status(), residual: Residual::None });
    bench.take(DataIn { is_final: true, status, ..asking(&bench, 3, 79) });
    assert_eq!((completed(&bench.events()), bench.sent()), (vec![tag(1)], vec![]));

    let mut bench = reading();
    bench.take(DataIn { target_transfer_tag: None, ..asking(&bench, 0, 1) });
    bench.assert_violation(Violation::AcknowledgeWithoutTag, &[1]);
    // At level 0 the bit means nothing.
    let mut bench = Bench::new(Parameters::default());
    bench.submit(1, read(4000));
    bench.sent();
    bench.take(asking(&bench, 0, 1));
    assert_eq!(bench.sent(), []);
}

// RFC 7143 7.8-9.
/// RFC 7143 7.8: the data is lost, and with it the worth of the status.
#[test]
fn a_rejected_snack_fails_its_task() {
    for with_response in [true, false] {
        let mut bench = reading();
        take_pieces(&mut bench, [0, 2]);
        let sent = bench.sent();
        if with_response {
            // It waits for its data, and the Reject for it.
            let response = bench.response(1);
            bench.take(ScsiResponse { exp_data_sn: 4, ..response });
            super::rejects::reject(&mut bench, &sent[0], RejectReason::SnackReject);
        } else {
            super::rejects::reject(&mut bench, &sent[0], RejectReason::SnackReject);
            take_pieces(&mut bench, [2]);
            let status = Some(DataInStatus { status: 0, stat_sn: bench.status(), residual: Residual::None });
            bench.take(DataIn { is_final: true, status, ..piece(&bench, 3) });
        }
        let mut events = bench.events();
        events.retain(|event| !matches!(event, Event::PduRejected { .. }));
        let [Event::Data { offset: 0, .. }, Event::TaskComplete { result, .. }] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((result.status, result.residual), (2, Residual::Underflow(3000)));
        assert_eq!((result.sense[2], result.sense[12], result.sense[13]), (0x0b, 0x47, 0x05));
    }
}

// RFC 7143 7.8-5.
#[test]
fn data_that_comes_damaged_again_is_asked_for_at_once() {
    let mut bench = reading();
    take_pieces(&mut bench, [0, 2]);
    assert_eq!(bench.sent(), [data_snack(1, 1)]);
    let header = Pdu::from(piece(&bench, 1)).encode().header;
    for _ in 0..8 {
        bench.session.handle_bad_pdu(bench.now, CID, header, BadPdu::DataDigest);
        assert_eq!(bench.session.poll_timeout(), Some(bench.now));
        bench.session.handle_timeout(bench.now);
        assert_eq!(bench.sent(), [data_snack(1, 1)]);
    }
    bench.events();
    // Not for ever.
    bench.session.handle_bad_pdu(bench.now, CID, header, BadPdu::DataDigest);
    bench.session.handle_timeout(bench.now);
    bench.assert_closed(CloseReason::NotRecovered, &[1]);
}
