//! Reads that go on with segments of another length: what is missing of them is cut anew.

use super::reassignment::{OTHER, answer, answer_logout, at_level, due, log_out, lose, reassign};
use super::rejects::reject;
use super::*;
use iscsi_pdu::TaskManagementResponseCode as Code;

const LENGTH: usize = 3000;
/// MaxRecvDataSegmentLength of the second connection.
const SEGMENT: usize = 512;
/// What came on the first.
const BEFORE: usize = 1000;

/// A read (tag 1) of which one Data-In has come, on a connection with shorter segments.
fn moved() -> Bench {
    moved_to(SEGMENT)
}

fn moved_to(segment: usize) -> Bench {
    let mut bench = Bench::new(at_level(2));
    bench.join_with(OTHER, Parameters { receive_segment_bytes_max: segment as u32, ..at_level(2) }).on(CID);
    bench.submit(1, read(LENGTH as u32));
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    bench.take(bench.data_in(1, 0, 0, pattern(BEFORE)));
    bench.events();
    lose(&mut bench, CID);
    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
    assert_eq!(reassign(&mut bench, 1).map(|request| request.exp_data_sn), Some(1));
    assert_eq!(answer(&mut bench, Code::FunctionComplete), []);
    bench
}

/// The segment with this number, where they begin at `begin` with the number `first`.
fn segment(bench: &Bench, (first, begin): (u32, usize), data_sn: u32) -> DataIn {
    let offset = begin + (data_sn - first) as usize * SEGMENT;
    bench.data_in(1, data_sn, offset as u32, pattern(LENGTH).slice(offset..LENGTH.min(offset + SEGMENT)))
}

/// What is behind ExpDataSN.
fn rest(bench: &Bench, data_sn: u32) -> DataIn {
    segment(bench, (1, BEFORE), data_sn)
}

/// The data that was handed out, from its offset.
fn data(bench: &mut Bench) -> (Option<u32>, Vec<u8>) {
    let (mut first, mut bytes) = (None, Vec::new());
    for event in bench.events() {
        let Event::Data { offset, data, .. } = event else { panic!("{event:?}") };
        first = first.or(Some(offset));
        bytes.extend_from_slice(&data);
    }
    (first, bytes)
}

fn r_data(snack_tag: u32, exp_stat_sn: StatSn) -> Pdu {
    Snack { exp_stat_sn, ..Snack::r_data(tag(1), snack_tag) }.into()
}

fn ends(bench: &mut Bench) -> bool {
    matches!(&bench.events()[..], [Event::TaskComplete { tag: of, result }] if *of == tag(1) && result.status == 0)
}

// RFC 7143 11.16.3-1, 11.16.4-2, 11.16.5-1, 11.16.6-1, 11.16.7-1: not as it was.
#[test]
fn what_is_missing_after_segments_have_changed_is_cut_anew() {
    let mut bench = moved();
    let stat_sn = bench.stat_sn;
    bench.take(rest(&bench, 2));
    assert_eq!(bench.sent(), [r_data(1, stat_sn)]);
    // What was on its way means nothing, and neither does its status (RFC 7143 11.4.4).
    [3, 4].into_iter().for_each(|number| bench.take(rest(&bench, number)));
    let status = ScsiResponse { exp_data_sn: 5, ..bench.response(1) };
    bench.take(status.clone());
    [1, 2, 3, 4].into_iter().for_each(|number| bench.take(rest(&bench, number)));
    assert_eq!(data(&mut bench), (Some(BEFORE as u32), pattern(LENGTH)[BEFORE..].to_vec()));
    bench.take(status.clone());
    assert_eq!((bench.events(), bench.sent()), (vec![], vec![]));
    bench.take(ScsiResponse { snack_tag: 1, ..status });
    assert!(ends(&mut bench));
}

/// The status that shows that data is missing is of before, too.
#[test]
fn a_status_that_waits_gives_way_to_the_one_that_names_the_snack() {
    let mut bench = moved();
    let stat_sn = bench.stat_sn;
    [1, 2, 3].into_iter().for_each(|number| bench.take(rest(&bench, number)));
    let status = DataInStatus { status: 0, stat_sn: bench.status(), residual: Residual::None };
    let response = ScsiResponse { stat_sn: status.stat_sn, exp_data_sn: 5, snack_tag: 1, ..bench.response(1) };
    let header = Pdu::from(DataIn { is_final: true, status: Some(status), ..rest(&bench, 4) }).encode().header;
    bench.session.handle_bad_pdu(bench.now, OTHER, header, crate::BadPdu::DataDigest);
    assert_eq!(bench.sent(), [r_data(1, stat_sn)]);
    [1, 2, 3].into_iter().for_each(|number| bench.take(rest(&bench, number)));
    bench.take(ScsiResponse { snack_tag: 0, ..response.clone() });
    bench.take(rest(&bench, 4));
    data(&mut bench);
    bench.take(response);
    assert!(ends(&mut bench));
}

/// RFC 7143 11.16.3: where no acknowledgement has come, all data does, with the numbers from 0 on.
#[test]
fn what_is_cut_anew_may_begin_before_what_has_come() {
    let mut bench = moved();
    bench.take(rest(&bench, 2));
    assert_eq!(bench.sent().len(), 1);
    for number in 0..LENGTH.div_ceil(SEGMENT) as u32 {
        bench.take(segment(&bench, (0, 0), number));
    }
    assert_eq!(data(&mut bench), (Some(BEFORE as u32), pattern(LENGTH)[BEFORE..].to_vec()));
    let response = bench.response(1);
    bench.take(ScsiResponse { snack_tag: 1, exp_data_sn: 6, ..response });
    assert!(ends(&mut bench));
}

/// What was on its way before does not hide where it begins.
#[test]
fn longer_segments_may_begin_before_what_has_come() {
    let mut bench = moved_to(2000);
    let data_in = |bench: &Bench, data_sn, range: std::ops::Range<usize>| {
        bench.data_in(1, data_sn, range.start as u32, pattern(LENGTH).slice(range))
    };
    let header = Pdu::from(data_in(&bench, 1, 1000..2000)).encode().header;
    bench.session.handle_bad_pdu(bench.now, OTHER, header, crate::BadPdu::DataDigest);
    assert_eq!(bench.sent().len(), 1);
    bench.take(data_in(&bench, 2, 2000..LENGTH));
    bench.take(data_in(&bench, 0, 0..2000));
    bench.take(data_in(&bench, 1, 2000..LENGTH));
    assert_eq!(data(&mut bench), (Some(BEFORE as u32), pattern(LENGTH)[BEFORE..].to_vec()));
    let response = bench.response(1);
    bench.take(ScsiResponse { snack_tag: 1, exp_data_sn: 2, ..response });
    assert!(ends(&mut bench));
}

/// The last status counts, also where both wait for that of another command.
#[test]
fn of_two_statuses_that_wait_the_last_counts() {
    let mut bench = moved();
    bench.submit(2, read(8));
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.advanced_by(2);
    let first = bench.response(2);
    bench.take(rest(&bench, 2));
    let response = ScsiResponse { exp_data_sn: 5, ..bench.response(1) };
    bench.take(response.clone());
    assert_eq!(bench.sent().len(), 2, "an R-Data SNACK and a Status SNACK");
    [1, 2, 3, 4].into_iter().for_each(|number| bench.take(rest(&bench, number)));
    data(&mut bench);
    bench.take(ScsiResponse { snack_tag: 1, ..response });
    assert_eq!(bench.events(), []);
    bench.take(first);
    assert_eq!(bench.events().len(), 2);
    assert_eq!(bench.sent(), []);
}

/// Several answers under way at once: what has come once is not missing again, whichever of them is spoilt (RFC 7143 section 11.16.3).
#[test]
fn what_has_come_is_not_missed_where_it_comes_again() {
    let mut bench = moved();
    bench.take(rest(&bench, 2));
    bench.sent();
    bench.now += config().ping_timeout;
    bench.session.handle_timeout(bench.now);
    bench.events();
    assert_eq!(bench.sent(), [r_data(2, bench.stat_sn)]);
    [1, 2, 3, 4].into_iter().for_each(|number| bench.take(rest(&bench, number)));
    assert_eq!(data(&mut bench), (Some(BEFORE as u32), pattern(LENGTH)[BEFORE..].to_vec()));
    let response = ScsiResponse { exp_data_sn: 5, snack_tag: 1, ..bench.response(1) };
    bench.take(response.clone());
    assert_eq!(bench.sent(), [], "the status is on its way");
    // Of the second answer one is lost. What is acknowledged is what has come.
    let target_transfer_tag = Some(TargetTransferTag(7));
    bench.take(DataIn { acknowledge: true, target_transfer_tag, is_final: true, ..rest(&bench, 1) });
    let sent = bench.sent();
    assert!(matches!(&sent[..], [Pdu::Snack(ack)] if (ack.kind, ack.begin_run) == (SnackType::DataAck, 5)), "{sent:?}");
    [3, 4].into_iter().for_each(|number| bench.take(rest(&bench, number)));
    bench.take(ScsiResponse { snack_tag: 2, ..response });
    assert!(ends(&mut bench));
    assert_eq!(bench.sent(), []);
}

/// A status that counts fewer bytes ends a read that is short.
#[test]
fn a_short_read_ends_with_the_bytes_that_its_status_counts() {
    let mut bench = moved();
    bench.take(rest(&bench, 1));
    data(&mut bench);
    let missing = (LENGTH - BEFORE - SEGMENT) as u32;
    let response = ScsiResponse { exp_data_sn: 2, ..bench.response(1) };
    bench.take(ScsiResponse { residual: Residual::Underflow(missing - 1), ..response.clone() });
    assert_eq!((bench.events(), bench.sent().len()), (vec![], 1));
    bench.take(ScsiResponse { residual: Residual::Underflow(missing), snack_tag: 1, ..response });
    assert!(ends(&mut bench));
}

/// A command that has failed may have no data, and count none.
#[test]
fn a_read_that_fails_needs_no_data() {
    let mut bench = moved();
    let response = ScsiResponse { status: 8, ..bench.response(1) };
    bench.take(response);
    assert!(matches!(&bench.events()[..], [Event::TaskComplete { result, .. }] if result.status == 8));
    assert_eq!(bench.sent(), []);
}

// RFC 7143 11.16.5-1: unique for the task.
/// If the first segments of it are lost, their place tells, since their numbers do not.
#[test]
fn what_is_cut_anew_and_lost_is_asked_for_under_another_tag() {
    let mut bench = moved();
    let stat_sn = bench.stat_sn;
    bench.take(rest(&bench, 2));
    assert_eq!(bench.sent(), [r_data(1, stat_sn)]);
    bench.take(DataIn { data_sn: 1, ..rest(&bench, 2) });
    let response = ScsiResponse { exp_data_sn: 2, snack_tag: 1, ..bench.response(1) };
    bench.take(response.clone());
    assert_eq!((bench.events(), bench.sent()), (vec![], vec![]));
    bench.now += config().ping_timeout;
    bench.session.handle_timeout(bench.now);
    bench.events();
    assert_eq!(bench.sent(), [r_data(2, stat_sn)]);
    [1, 2, 3, 4].into_iter().for_each(|number| bench.take(rest(&bench, number)));
    data(&mut bench);
    bench.take(ScsiResponse { exp_data_sn: 5, ..response.clone() });
    assert_eq!(bench.events(), []);
    bench.take(ScsiResponse { exp_data_sn: 5, snack_tag: 2, ..response });
    assert!(ends(&mut bench));
}

#[test]
fn a_status_that_names_the_snack_is_asked_for_if_it_is_lost() {
    let mut bench = moved();
    let stat_sn = bench.stat_sn;
    [1, 2, 3].into_iter().for_each(|number| bench.take(rest(&bench, number)));
    let response = ScsiResponse { exp_data_sn: 5, ..bench.response(1) };
    bench.take(response.clone());
    assert_eq!(bench.sent(), [r_data(1, stat_sn)]);
    [1, 2, 3, 4].into_iter().for_each(|number| bench.take(rest(&bench, number)));
    data(&mut bench);
    assert_eq!(bench.sent(), []);
    bench.now += config().ping_timeout;
    bench.session.handle_timeout(bench.now);
    bench.events();
    assert_eq!(bench.sent(), [r_data(2, stat_sn)]);
    bench.take(ScsiResponse { snack_tag: 2, ..response });
    assert!(ends(&mut bench));
}

// RFC 7143 7.8-9
#[test]
fn a_read_that_is_not_cut_anew_fails() {
    let mut bench = moved();
    [1, 2, 3].into_iter().for_each(|number| bench.take(rest(&bench, number)));
    let response = ScsiResponse { exp_data_sn: 5, ..bench.response(1) };
    bench.take(response);
    let sent = bench.sent();
    reject(&mut bench, &sent[0], RejectReason::SnackReject);
    let ended = |event: &Event| matches!(event, Event::TaskComplete { result, .. } if result.status == 2);
    assert!(bench.events().iter().any(ended));
}

/// RFC 7143 7.2.2: a SNACK Tag does not outlive its connection, and another is not the same.
#[test]
fn a_snack_tag_does_not_outlive_its_connection() {
    for is_lost_again in [false, true] {
        let mut bench = moved();
        bench.take(rest(&bench, 2));
        bench.sent();
        let third = Cid(3);
        bench.join_with(third, at_level(2)).on(OTHER);
        lose(&mut bench, OTHER);
        log_out(&mut bench, third, Logout::ForRecovery(OTHER));
        assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
        // Which numbers the target uses is not known: what it takes for acknowledged stays so (RFC 7143 section 11.5.6).
        assert_eq!(reassign(&mut bench, 1).map(|request| request.exp_data_sn), Some(0));
        assert_eq!(answer(&mut bench, Code::FunctionComplete), []);
        let stat_sn = bench.stat_sn;
        if is_lost_again {
            bench.take(rest(&bench, 2));
            assert_eq!(bench.sent(), [r_data(2, stat_sn)]);
        }
        [1, 2, 3, 4].into_iter().for_each(|number| bench.take(rest(&bench, number)));
        data(&mut bench);
        let response = bench.response(1);
        bench.take(ScsiResponse { exp_data_sn: 5, snack_tag: 2 * u32::from(is_lost_again), ..response });
        assert!(ends(&mut bench));
    }
}
