//! Error recovery level 1: what is lost is found, asked for again, and taken once.

use super::*;
use crate::BadPdu;

pub(super) fn at_level_1() -> Parameters {
    Parameters { error_recovery_level: 1, immediate_data: false, ..Parameters::default() }
}

pub(super) fn bench() -> Bench {
    Bench::new(at_level_1())
}

/// A read (tag 1) of 4000 bytes that was sent.
pub(super) fn reading() -> Bench {
    let mut bench = bench();
    bench.submit(1, read(4000));
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    bench
}

/// The piece of a read with this DataSN, of 1000 bytes.
pub(super) fn piece(bench: &Bench, data_sn: u32) -> DataIn {
    let offset = data_sn * 1000;
    bench.data_in(1, data_sn, offset, pattern(4000).slice(offset as usize..offset as usize + 1000))
}

fn take_pieces(bench: &mut Bench, numbers: impl IntoIterator<Item = u32>) {
    numbers.into_iter().for_each(|number| bench.take(piece(bench, number)));
}

/// The offsets of the data that was handed out.
fn offsets(events: &[Event]) -> Vec<u32> {
    let offset = |event: &Event| if let Event::Data { offset, .. } = event { *offset } else { panic!("{event:?}") };
    events.iter().map(offset).collect()
}

pub(super) fn completed(events: &[Event]) -> Vec<InitiatorTaskTag> {
    events
        .iter()
        .filter_map(|event| if let Event::TaskComplete { tag, .. } = event { Some(*tag) } else { None })
        .collect()
}

fn data_snack(number: u32, begin_run: u32) -> Pdu {
    let exp_stat_sn = FIRST_STAT_SN;
    Snack {
        initiator_task_tag: Some(tag(number)),
        begin_run,
        transfer_or_snack_tag: u32::MAX,
        exp_stat_sn,
        ..Snack::default()
    }
    .into()
}

fn status_snack(begin: StatSn, run_length: u32) -> Pdu {
    Snack {
        kind: SnackType::Status,
        transfer_or_snack_tag: u32::MAX,
        exp_stat_sn: begin,
        begin_run: begin.0,
        run_length,
        ..Snack::default()
    }
    .into()
}

fn snack(pdu: Pdu) -> Snack {
    if let Pdu::Snack(snack) = pdu { snack } else { panic!("a SNACK, not {pdu:?}") }
}

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
    bench.take(bench.r2t(1, 3, 0, 1024));
    bench.take(bench.r2t(1, 4, 0, 1024));
    bench.assert_violation(Violation::TooManyR2ts, &[1]);
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

#[test]
fn what_does_not_come_is_asked_for_again_but_not_for_ever() {
    let mut bench = reading();
    bench.submit(2, read(8));
    bench.sent();
    take_pieces(&mut bench, [1]);
    bench.stat_sn = bench.stat_sn.next();
    let response = bench.response(2);
    bench.take(response);
    assert_eq!(bench.sent(), [data_snack(1, 0), status_snack(FIRST_STAT_SN, 1)]);
    // Nothing was measured: RFC 6298 begins with 1 s, doubles it, and a ping takes 3 s at most.
    for seconds in [1, 2, 3, 3, 3, 3, 3, 3] {
        let due = bench.now + Duration::from_secs(seconds);
        assert_eq!(bench.session.poll_timeout(), Some(due));
        bench.now = due;
        bench.session.handle_timeout(bench.now);
        assert_eq!(bench.sent(), [data_snack(1, 0), status_snack(FIRST_STAT_SN, 1)]);
        let pdu = bench.nop_in(None, None);
        bench.take(NopIn { stat_sn: FIRST_STAT_SN, ..pdu });
    }
    bench.events();
    bench.now += Duration::from_secs(3);
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events().pop(), Some(Event::Closed(CloseReason::NotRecovered)));
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

/// A status that was lost, and the question for it.
fn waiting_for_a_status() -> Bench {
    let mut bench = bench();
    (1..=2).for_each(|number| bench.submit(number, read(0)));
    bench.sent();
    bench.stat_sn = FIRST_STAT_SN.next();
    let response = bench.response(2);
    bench.take(response);
    assert_eq!(bench.sent(), [status_snack(FIRST_STAT_SN, 1)]);
    bench
}

/// RFC 6298: what is waited for longer than answers take is asked for again.
#[test]
fn the_time_out_of_a_snack_is_that_of_the_connection() {
    let mut bench = waiting_for_a_status();
    assert_eq!(bench.session.poll_timeout(), Some(bench.now + Duration::from_secs(1)), "nothing was measured");
    bench.now += Duration::from_millis(20);
    bench.stat_sn = FIRST_STAT_SN;
    let response = bench.response(1);
    bench.take(response);
    assert_eq!(completed(&bench.events()), [tag(1), tag(2)]);
    bench.submit(3, read(4000));
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.advanced_by(3);
    let offset = |number: u32| pattern(4000).slice(number as usize * 1000..number as usize * 1000 + 1000);
    let data_in = bench.data_in(3, 1, 1000, offset(1));
    bench.take(data_in);
    let due = bench.now + Duration::from_millis(200);
    assert_eq!(bench.session.poll_timeout(), Some(due));
    // Each time it is waited for twice as long.
    for millis in [400, 800, 1600] {
        bench.sent();
        bench.now = bench.session.poll_timeout().unwrap();
        bench.session.handle_timeout(bench.now);
        assert!(matches!(&bench.sent()[..], [Pdu::Snack(_)]));
        assert_eq!(bench.session.poll_timeout(), Some(bench.now + Duration::from_millis(millis)));
    }
    // RFC 6298: an answer to what was asked twice is not measured.
    let data_in = bench.data_in(3, 0, 0, offset(0));
    bench.take(data_in);
    let data_in = bench.data_in(3, 2, 2000, offset(2));
    bench.take(data_in);
    assert_eq!(bench.session.poll_timeout(), Some(bench.now + Duration::from_millis(200)));
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
