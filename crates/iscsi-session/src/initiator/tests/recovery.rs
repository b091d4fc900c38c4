//! Error recovery level 1: what is lost is found, asked for again, and taken once.

mod data;
mod statuses;

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
