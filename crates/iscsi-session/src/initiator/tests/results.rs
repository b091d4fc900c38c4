//! How commands end: status, sense, residuals, failures, and the end of everything.

use super::*;
use crate::initiator::{TaskResult, split_sense};

/// The result of a read of 1000 bytes of which `received` came.
fn read_result(received: usize, respond: impl FnOnce(ScsiResponse) -> ScsiResponse) -> TaskResult {
    let mut bench = Bench::new(Parameters::default());
    bench.submit(1, read(1000));
    bench.sent();
    bench.take(bench.data_in(1, 0, 0, pattern(received)));
    let response = bench.response(1);
    bench.take(respond(response));
    let Some(Event::TaskComplete { result, .. }) = bench.events().pop() else { panic!("the task ends") };
    result
}

#[test]
fn a_residual_never_claims_more_than_came() {
    let residual = |received, residual| read_result(received, |pdu| ScsiResponse { residual, ..pdu }).residual;
    assert_eq!(residual(1000, Residual::None), Residual::None);
    assert_eq!(residual(1000, Residual::Overflow(24)), Residual::Overflow(24));
    assert_eq!(residual(600, Residual::Underflow(400)), Residual::Underflow(400));
    assert_eq!(residual(600, Residual::None), Residual::Underflow(400));
    assert_eq!(residual(600, Residual::Overflow(24)), Residual::Underflow(400));
    assert_eq!(residual(600, Residual::Underflow(3)), Residual::Underflow(400));
    assert_eq!(residual(1000, Residual::Underflow(3)), Residual::Underflow(3));
    assert_eq!(residual(1000, Residual::Underflow(u32::MAX)), Residual::Underflow(1000));
    assert_eq!(residual(1000, Residual::Underflow(0)), Residual::None);
}

#[test]
fn the_residual_of_a_write_is_the_target_s_within_reason() {
    for (told, expected) in [(24, 24), (u32::MAX, 512)] {
        let mut bench = Bench::new(Parameters::default());
        bench.submit(1, write(512));
        bench.sent();
        let response = bench.response(1);
        bench.take(ScsiResponse { residual: Residual::Underflow(told), ..response });
        let Some(Event::TaskComplete { result, .. }) = bench.events().pop() else { panic!("the task ends") };
        assert_eq!(result.residual, Residual::Underflow(expected));
        assert_eq!(TaskResult::transferred_bytes(512, result.residual), 512 - expected);
    }
}

#[test]
fn bidirectional_residuals_come_apart() {
    let mut bench = Bench::new(Parameters::default());
    let data = Transfer::Bidirectional { write: pattern(512), read: 1000 };
    bench.submit(1, Command { data, ..Command::default() });
    bench.sent();
    bench.take(bench.data_in(1, 0, 0, pattern(900)));
    let response = bench.response(1);
    bench.take(ScsiResponse {
        residual: Residual::Underflow(12),
        bidirectional_read_residual: Residual::Underflow(100),
        ..response
    });
    let Some(Event::TaskComplete { result, .. }) = bench.events().pop() else { panic!("the task ends") };
    assert_eq!(result.residual, Residual::Underflow(12));
    assert_eq!(result.bidirectional_read_residual, Residual::Underflow(100));
}

#[test]
fn sense_data_comes_without_its_length() {
    let data = Bytes::from_static(b"\0\x04\x70\0\x05\0more");
    let result = read_result(0, |pdu| ScsiResponse { status: 2, data: data.clone(), ..pdu });
    assert_eq!((result.status, &result.sense[..]), (2, &b"\x70\0\x05\0"[..]));
    assert_eq!(split_sense(&data).unwrap().1, &b"more"[..]);
    assert_eq!(split_sense(&Bytes::new()), Some((Bytes::new(), Bytes::new())));
}

// RFC 7143 11.4.3-1: whatever stands there.
#[test]
fn of_a_target_failure_nothing_else_is_read() {
    let result = read_result(0, |pdu| ScsiResponse {
        response: ScsiResponseCode::TargetFailure,
        status: 2,
        exp_data_sn: 77,
        residual: Residual::Overflow(9),
        data: Bytes::from_static(b"\xff\xff"),
        ..pdu
    });
    let expected = TaskResult {
        status_qualifier: 0,
        response: ScsiResponseCode::TargetFailure,
        status: 0,
        sense: Bytes::new(),
        residual: Residual::None,
        bidirectional_read_residual: Residual::None,
    };
    assert_eq!(result, expected);
}

// RFC 7143 11.7-1: and counts.
#[test]
fn a_status_may_come_with_the_last_data() {
    let mut bench = Bench::new(Parameters::default());
    bench.submit(1, read(1000));
    bench.sent();
    let pdu = bench.data_in(1, 0, 0, pattern(600));
    let status = DataInStatus { status: 0, stat_sn: bench.status(), residual: Residual::Underflow(400) };
    bench.take(DataIn { is_final: true, status: Some(status), ..pdu });
    let events = bench.events();
    let [Event::Data { data, .. }, Event::TaskComplete { result, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((data, result.residual), (&pattern(600), Residual::Underflow(400)));
    // The status is acknowledged by the next request.
    bench.submit(1, read(1));
    let Some(Pdu::ScsiCommand(command)) = bench.sent().pop() else { panic!("a command") };
    assert_eq!(command.exp_stat_sn, FIRST_STAT_SN.next());
}

// RFC 7143 11.7.7-1: by the initiator.
#[test]
fn empty_data_ins_say_nothing() {
    let mut bench = Bench::new(Parameters::default());
    bench.submit(1, read(8));
    bench.sent();
    bench.take(bench.data_in(1, 0, 0, Bytes::new()));
    assert_eq!(bench.events(), []);
    bench.take(bench.data_in(1, 1, 0, pattern(8)));
    assert_eq!(bench.events().len(), 1);
    // The same PDU again is discarded (RFC 7143 7.9).
    bench.take(bench.data_in(1, 1, 0, pattern(8)));
    assert_eq!(bench.events(), []);
}

#[test]
fn data_in_any_order_where_that_was_agreed_upon() {
    let mut bench = Bench::new(Parameters { data_pdu_in_order: false, ..Parameters::default() });
    bench.submit(1, read(16));
    bench.sent();
    bench.take(bench.data_in(1, 0, 8, pattern(8)));
    bench.take(bench.data_in(1, 1, 0, pattern(8)));
    assert_eq!(bench.events().len(), 2);
    bench.take(bench.data_in(1, 2, 0, pattern(8)));
    bench.assert_violation(Violation::DataBeyondExpected, &[1]);
}

/// RFC 7143 11.7.6: in any order, but each byte once.
#[test]
fn data_in_any_order_comes_once() {
    for parameters in [
        Parameters { data_pdu_in_order: false, ..Parameters::default() },
        Parameters { data_sequence_in_order: false, ..Parameters::default() },
    ] {
        let mut bench = Bench::new(parameters);
        bench.submit(1, read(32));
        bench.sent();
        for (data_sn, offset) in [(0, 24), (1, 8), (2, 16)] {
            bench.take(bench.data_in(1, data_sn, offset, pattern(8)));
        }
        let offset = |event: Event| if let Event::Data { offset, .. } = event { offset } else { panic!("{event:?}") };
        assert_eq!(bench.events().into_iter().map(offset).collect::<Vec<_>>(), [24, 8, 16]);
        bench.take(bench.data_in(1, 3, 4, pattern(8)));
        bench.assert_violation(Violation::DataTwice, &[1]);
    }
}

#[test]
fn gaps_in_data_are_bounded() {
    let mut bench = Bench::new(Parameters { data_pdu_in_order: false, ..Parameters::default() });
    bench.submit(1, read(1 << 20));
    bench.sent();
    for data_sn in 0..1024 {
        bench.take(bench.data_in(1, data_sn, data_sn * 2, pattern(1)));
    }
    assert_eq!(bench.events().len(), 1024);
    bench.take(bench.data_in(1, 1024, 1 << 19, pattern(1)));
    bench.assert_violation(Violation::TooManyGaps, &[1]);
}

#[test]
fn with_the_connection_every_request_is_lost_once() {
    let mut bench = Bench::new(Parameters::default());
    bench.submit(1, read(8));
    bench.submit(2, write(8));
    bench.sent();
    bench.submit(3, read(8));
    bench.session.ping(bench.now, CID, tag(4), Bytes::new());
    bench.session.send_targets(bench.now, CID, tag(5), SendTargetsScope::ThisTarget);
    bench.session.handle_connection_lost(bench.now, CID);
    let events = bench.events();
    assert_eq!((events.len(), events.last()), (6, Some(&Event::Closed(CloseReason::ConnectionLost))));
    // Closed stays closed: nothing is heard or sent, and requests are answered at once.
    bench.session.handle_connection_lost(bench.now, CID);
    let response = bench.response(1);
    bench.take(response);
    bench.session.handle_timeout(bench.now + Duration::from_secs(1000));
    assert_eq!((bench.events(), bench.sent(), bench.session.poll_timeout()), (vec![], vec![], None));
    assert_eq!(bench.session.submit(bench.now, CID, tag(6), read(8)), Err(read(8)));
    bench.session.ping(bench.now, CID, tag(7), Bytes::new());
    bench.session.logout(bench.now, CID, tag(8), Logout::Session);
    assert_eq!(bench.events(), [Event::TaskLost { tag: tag(7) }, Event::TaskLost { tag: tag(8) }]);
}

#[test]
#[should_panic(expected = "a tag names one request at a time")]
fn a_tag_in_use_is_a_bug() {
    let mut bench = Bench::new(Parameters::default());
    bench.submit(1, read(8));
    bench.submit(1, read(8));
}
