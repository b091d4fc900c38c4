//! Statuses that are lost, or wait for what was lost before them.

use super::*;

// RFC 7143 7.9-4, 11.7.2-6, 11.16.1-1: and is acknowledged then.
/// RFC 7143 7.9: a status is not acknowledged before the data of its task has come.
#[test]
fn a_status_waits_for_its_data() {
    let mut bench = reading();
    bench.submit(2, read(8));
    bench.sent();
    take_pieces(&mut bench, [0, 1, 2]);
    bench.events();
    let response = bench.response(1);
    bench.take(ScsiResponse { exp_data_sn: 4, ..response });
    let response = bench.response(2);
    bench.take(response);
    assert_eq!((bench.events(), bench.sent()), (vec![], vec![data_snack(1, 3)]));
    bench.session.ping(bench.now, CID, tag(9), Bytes::new());
    assert!(matches!(&bench.sent()[..], [Pdu::NopOut(ping)] if ping.exp_stat_sn == FIRST_STAT_SN));
    take_pieces(&mut bench, [3]);
    assert_eq!(completed(&bench.events()), [tag(1), tag(2)]);
    bench.submit(3, read(8));
    assert!(matches!(&bench.sent()[..], [Pdu::ScsiCommand(pdu)] if pdu.exp_stat_sn == FIRST_STAT_SN.advanced_by(2)));
}

#[test]
fn a_status_with_data_waits_for_the_data_before_it() {
    let mut bench = reading();
    take_pieces(&mut bench, [0, 1]);
    let status = Some(DataInStatus { status: 0, stat_sn: bench.status(), residual: Residual::None });
    let last = DataIn { is_final: true, status, ..piece(&bench, 3) };
    bench.take(last.clone());
    assert_eq!(offsets(&bench.events()), [0, 1000]);
    assert_eq!(bench.sent(), [data_snack(1, 2)]);
    take_pieces(&mut bench, [2]);
    let events = bench.events();
    assert_eq!((offsets(&events[..2]), completed(&events)), (vec![2000, 3000], vec![tag(1)]));
    // The target sends all from the missing one on.
    bench.take(last);
    assert_eq!(bench.events(), []);
}

// RFC 7143 7.9-3.
#[test]
fn lost_statuses_are_asked_for_and_taken_in_order() {
    let mut bench = bench();
    (1..=4).for_each(|number| bench.submit(number, read(0)));
    bench.sent();
    let responses: Vec<_> = (1..=4).map(|number| bench.response(number)).collect();
    bench.take(responses[2].clone());
    assert_eq!((bench.events(), bench.sent()), (vec![], vec![status_snack(FIRST_STAT_SN, 2)]));
    bench.take(responses[3].clone());
    assert_eq!(bench.sent(), []);
    bench.take(responses[1].clone());
    bench.take(responses[0].clone());
    assert_eq!(completed(&bench.events()), [tag(1), tag(2), tag(3), tag(4)]);
    bench.take(responses[1].clone());
    assert_eq!((bench.events(), bench.sent(), bench.session.is_closed()), (vec![], vec![], false));
}

/// RFC 7143 7.1.4.2 and 11.8.3: a NOP-In or an R2T tells which StatSN is next.
#[test]
fn a_status_that_is_the_last_is_missed_too() {
    for by_r2t in [false, true] {
        let mut bench = bench();
        bench.submit(1, read(0));
        bench.submit(2, write(512));
        bench.sent();
        let lost = bench.response(1);
        let pdu: Pdu = if by_r2t { bench.r2t(2, 0, 0, 512).into() } else { bench.nop_in(None, None).into() };
        bench.take(pdu);
        assert_eq!(bench.sent()[0], status_snack(FIRST_STAT_SN, 1));
        bench.take(lost);
        assert_eq!(completed(&bench.events()), [tag(1)]);
    }
}

// RFC 7143 7.8-10, 7.8-11, 7.8-12.
#[test]
fn a_status_with_a_bad_digest_is_lost() {
    let mut bench = bench();
    (1..=3).for_each(|number| bench.submit(number, read(0)));
    bench.sent();
    let responses: Vec<_> = (1..=3).map(|number| bench.response(number)).collect();
    let header = Pdu::from(responses[0].clone()).encode().header;
    bench.session.handle_bad_pdu(bench.now, CID, header, BadPdu::DataDigest);
    assert_eq!(bench.sent(), [status_snack(FIRST_STAT_SN, 1)]);
    bench.take(responses[1].clone());
    let header = Pdu::from(responses[2].clone()).encode().header;
    bench.session.handle_bad_pdu(bench.now, CID, header, BadPdu::DataDigest);
    // It may be the one that was asked for, which has come damaged again; that is found later.
    assert_eq!(bench.sent(), []);
    bench.take(responses[0].clone());
    assert_eq!(completed(&bench.events()), [tag(1), tag(2)]);
    let pdu = bench.nop_in(None, None);
    bench.take(pdu);
    let third =
        Snack { exp_stat_sn: FIRST_STAT_SN.advanced_by(2), ..snack(status_snack(FIRST_STAT_SN.advanced_by(2), 1)) };
    assert_eq!(bench.sent(), [third.into()]);
    // What carries no number is no status, and an R2T has no data.
    for pdu in [Pdu::from(bench.nop_in(None, Some(7))), bench.r2t(1, 0, 0, 8).into()] {
        bench.session.handle_bad_pdu(bench.now, CID, pdu.encode().header, BadPdu::DataDigest);
        assert_eq!((bench.sent(), bench.session.is_closed()), (vec![], false));
    }
}

#[test]
fn a_status_that_cannot_be_had_again_costs_the_connection() {
    let mut bench = bench();
    bench.submit(1, read(0));
    bench.submit(2, read(0));
    bench.sent();
    bench.stat_sn = FIRST_STAT_SN.next();
    let response = bench.response(2);
    bench.take(response);
    let sent = bench.sent();
    // The Reject is a status itself, and stands behind the gap.
    super::rejects::reject(&mut bench, &sent[0], RejectReason::SnackReject);
    bench.assert_closed(CloseReason::NotRecovered, &[1, 2]);
}

// RFC 7143 4.2.2.2-1, 4.2.2.2-2.
#[test]
fn what_waits_is_bounded() {
    let mut bench = bench();
    bench.submit(1, read(0));
    bench.sent();
    for number in 1..=1000 {
        let pdu = bench.response(1);
        bench.take(ScsiResponse { stat_sn: FIRST_STAT_SN.advanced_by(number), ..pdu });
    }
    assert_eq!(bench.sent(), [status_snack(FIRST_STAT_SN, 1)], "for more there is no room");
    // RFC 7143 4.2.2.2: a number that is too far ahead is no loss of single PDUs.
    let pdu = bench.response(1);
    bench.take(ScsiResponse { stat_sn: FIRST_STAT_SN.advanced_by(1 << 17), ..pdu });
    bench.assert_violation(Violation::StatSnOutOfOrder, &[1]);
}

// RFC 7143 4.2.2.2-1, 4.2.2.2-2.
/// RFC 7143 11.16: what there was no room for is asked for in one run.
#[test]
fn statuses_without_room_are_asked_for_in_one_run() {
    let mut bench = waiting_for_a_status();
    bench.stat_sn = FIRST_STAT_SN.advanced_by(2);
    for _ in 2..600 {
        let pdu = bench.nop_in(Some(700), None);
        bench.take(pdu);
    }
    assert_eq!(bench.sent(), [], "while none can be taken, none is asked for");
    bench.stat_sn = FIRST_STAT_SN;
    let response = bench.response(1);
    bench.session.concluded.push(tag(700));
    bench.take(response);
    assert_eq!(bench.sent(), [status_snack(FIRST_STAT_SN.advanced_by(257), 600 - 257)]);
}
