//! What a connection leaves when it ends: numbers that are filled, logouts over another, and a new one in its place.

use super::connections::{OTHER, RETAIN, WAIT, announce_with, answer_logout, closed, lose, lost, plugs, two};
use super::*;

#[test]
fn numbers_that_never_went_out_are_filled_at_once() {
    let mut bench = two();
    bench.submit(1, write(512));
    bench.submit(2, read(8));
    bench.on(OTHER).submit(3, read(8));
    bench.sent();
    assert_eq!(lose(&mut bench, CID), [closed(CID, CloseReason::ConnectionLost)]);
    let sent = bench.sent();
    assert_eq!(plugs(&sent), [(tag(1), FIRST_CMD_SN), (tag(2), FIRST_CMD_SN.next())]);
    for number in [1, 2] {
        let pdu = bench.nop_in(Some(number), None);
        bench.take(pdu);
        assert_eq!(bench.events(), [lost(number)]);
    }
}

/// RFC 7143 7.2.1: what went out may still arrive, until the target knows that its connection is gone.
#[test]
fn numbers_that_went_out_are_filled_when_the_target_knows_of_the_loss() {
    let mut bench = two();
    bench.session.handle_timeout(bench.now);
    bench.submit(1, read(8));
    bench.submit(2, read(8));
    bench.sent();
    bench.on(OTHER).submit(3, read(8));
    bench.sent();
    assert_eq!(lose(&mut bench, CID), [closed(CID, CloseReason::ConnectionLost)]);
    assert_eq!(bench.sent(), []);
    assert_eq!(bench.session.poll_timeout(), Some(bench.now + WAIT));
    bench.now += WAIT;
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [Event::CleanupDue { cid: CID }]);

    bench.session.logout(bench.now, OTHER, tag(9), Logout::Connection(CID));
    let sent = bench.sent();
    let [Pdu::LogoutRequest(request)] = &sent[..] else { panic!("{sent:?}") };
    // RFC 7143 11.14.4.
    assert_eq!((request.reason, request.cid), (LogoutReason::CloseConnection, CID));
    assert_eq!(request.exp_stat_sn, FIRST_STAT_SN);
    // The first command has arrived, the second has not.
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    assert_eq!(answer_logout(&mut bench, 9, LogoutResponseCode::Closed), [lost(1)]);
    assert_eq!(plugs(&bench.sent()), [(tag(2), FIRST_CMD_SN.next())]);
    bench.exp_cmd_sn = FIRST_CMD_SN.advanced_by(3);
    let pdu = bench.nop_in(Some(2), None);
    bench.take(pdu);
    let response = bench.response(3);
    bench.take(response);
    assert!(matches!(&bench.events()[..], [event, Event::TaskComplete { .. }] if *event == lost(2)));
    assert_eq!(bench.session.parameters(CID), None);
}

#[test]
fn the_target_forgets_a_connection_by_itself() {
    let mut bench = two();
    bench.submit(1, read(8));
    bench.sent();
    lose(&mut bench, CID);
    bench.now += WAIT + RETAIN;
    bench.on(OTHER);
    let pdu = bench.nop_in(None, None);
    bench.take(pdu);
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [Event::CleanupDue { cid: CID }]);
    assert_eq!(plugs(&bench.sent()), [(tag(1), FIRST_CMD_SN)]);
}

/// RFC 7143 4.2.2.1: the target may have a number after all that is filled, and then answers no NOP-Out with it.
#[test]
fn a_number_that_the_target_had_is_not_filled_any_more() {
    for is_sent in [true, false] {
        let mut bench = two();
        bench.submit(1, read(8));
        bench.sent();
        lose(&mut bench, CID);
        bench.now += WAIT + RETAIN;
        let pdu = bench.on(OTHER).nop_in(None, None);
        bench.take(pdu);
        bench.session.handle_timeout(bench.now);
        assert_eq!(bench.events(), [Event::CleanupDue { cid: CID }]);
        if is_sent {
            assert_eq!(plugs(&bench.sent()), [(tag(1), FIRST_CMD_SN)]);
        }
        bench.exp_cmd_sn = FIRST_CMD_SN.next();
        let pdu = bench.nop_in(None, None);
        bench.take(pdu);
        assert_eq!(bench.events(), [lost(1)]);
        assert_eq!(bench.sent(), [], "what is not needed is not sent");
        // It may have been the NOP-Out that came first.
        if is_sent {
            let pdu = bench.nop_in(Some(1), None);
            bench.take(pdu);
            assert_eq!(bench.events(), []);
        }
        bench.submit(2, read(8));
        assert!(matches!(&bench.sent()[..], [Pdu::ScsiCommand(command)] if command.cmd_sn == FIRST_CMD_SN.next()));
    }
}

/// Two connections at level 0 that the target retains nothing of, with a command on the first.
fn two_without_retention() -> Bench {
    let mut bench = Bench::new(Parameters { time_2_retain: 0, ..Parameters::default() });
    bench.join(OTHER).on(CID).submit(1, read(8));
    bench.sent();
    bench
}

#[test]
fn a_target_that_retains_nothing_is_told_all_the_same_of_a_connection_that_broke() {
    let mut bench = two_without_retention();
    lose(&mut bench, CID);
    assert!(bench.session.is_in_cleanup(CID) && !bench.session.is_in_cleanup(OTHER));
    bench.now += WAIT;
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [Event::CleanupDue { cid: CID }]);
    assert_eq!(plugs(&bench.on(OTHER).sent()), []);
    // It cannot be told: in the end it has noticed.
    bench.now += SessionConfig::default().ping_timeout;
    let pdu = bench.nop_in(None, None);
    bench.take(pdu);
    bench.session.handle_timeout(bench.now);
    assert_eq!(plugs(&bench.sent()), [(tag(1), FIRST_CMD_SN)]);
    assert!(!bench.session.is_in_cleanup(CID));
}

#[test]
fn where_the_target_says_that_nothing_is_retained_nothing_is_to_be_told() {
    let mut bench = two_without_retention();
    announce_with(bench.on(OTHER), AsyncEvent::ConnectionDrop, CID, 0);
    bench.events();
    bench.session.handle_timeout(bench.now + Duration::from_secs(3));
    assert_eq!(bench.events(), []);
    assert_eq!(plugs(&bench.sent()), [(tag(1), FIRST_CMD_SN)]);
}

#[test]
fn a_logout_of_another_connection_that_fails_may_be_tried_again() {
    for response in [LogoutResponseCode::CleanupFailed, LogoutResponseCode::RecoveryNotSupported] {
        let mut bench = two();
        bench.submit(1, read(8));
        bench.sent();
        lose(&mut bench, CID);
        bench.session.logout(bench.now, OTHER, tag(9), Logout::Connection(CID));
        bench.on(OTHER).sent();
        assert_eq!(answer_logout(&mut bench, 9, response), []);
        bench.session.handle_timeout(bench.now + Duration::from_secs(1));
        assert_eq!(bench.events(), [Event::CleanupDue { cid: CID }]);
        bench.session.logout(bench.now, OTHER, tag(10), Logout::Connection(CID));
        bench.sent();
        assert_eq!(answer_logout(&mut bench, 10, LogoutResponseCode::CidNotFound), []);
        assert_eq!(plugs(&bench.sent()), [(tag(1), FIRST_CMD_SN)]);
    }
}

#[test]
fn a_logout_of_another_connection_that_is_not_answered_or_rejected_ends_alone() {
    let mut bench = two();
    lose(&mut bench, CID);
    bench.session.logout(bench.now, OTHER, tag(9), Logout::Connection(CID));
    bench.on(OTHER).sent();
    bench.now += Duration::from_secs(3);
    let pdu = bench.nop_in(None, None);
    bench.take(pdu);
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [lost(9)]);
    bench.session.handle_timeout(bench.now + WAIT);
    assert_eq!(bench.events(), [Event::CleanupDue { cid: CID }]);
    // The answer may come late all the same.
    let stat_sn = bench.status();
    bench.take(LogoutResponse {
        response: LogoutResponseCode::Closed,
        initiator_task_tag: tag(9),
        stat_sn,
        exp_cmd_sn: bench.exp_cmd_sn,
        max_cmd_sn: bench.max_cmd_sn,
        time_2_wait: 0,
        time_2_retain: 0,
    });
    assert_eq!(bench.events(), []);

    bench.session.logout(bench.now, OTHER, tag(9), Logout::Connection(CID));
    let sent = bench.sent();
    super::rejects::reject(&mut bench, &sent[0], RejectReason::ProtocolError);
    assert_eq!(bench.events(), [Event::TaskRejected { tag: tag(9), reason: RejectReason::ProtocolError }]);
    assert!(!bench.session.is_closed());
}

#[test]
fn of_two_logouts_over_a_connection_each_is_waited_for() {
    let third = Cid(3);
    let mut bench = two();
    bench.join(third).on(OTHER);
    for (number, cid) in [(8, CID), (9, third)] {
        lose(&mut bench, cid);
        bench.session.logout(bench.now, OTHER, tag(number), Logout::Connection(cid));
    }
    bench.sent();
    bench.now += Duration::from_secs(2);
    assert_eq!(answer_logout(&mut bench, 8, LogoutResponseCode::Closed), []);
    bench.now += Duration::from_secs(3);
    let pdu = bench.nop_in(None, None);
    bench.take(pdu);
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [lost(9)]);
    bench.session.handle_timeout(bench.now + WAIT);
    assert_eq!(bench.events(), [Event::CleanupDue { cid: third }]);
}

#[test]
fn with_the_connection_that_logs_another_out_the_attempt_has_failed() {
    let mut bench = two();
    bench.join(Cid(3));
    lose(&mut bench, CID);
    bench.session.logout(bench.now, OTHER, tag(9), Logout::Connection(CID));
    assert_eq!(lose(&mut bench, OTHER), [lost(9), closed(OTHER, CloseReason::ConnectionLost)]);
    bench.session.handle_timeout(bench.now + WAIT);
    assert_eq!(bench.events(), [Event::CleanupDue { cid: CID }, Event::CleanupDue { cid: OTHER }]);
}

// RFC 7143 11.14-6: by a login.
#[test]
fn a_connection_is_reinstated_in_the_place_of_one_that_was_lost() {
    let mut bench = two();
    bench.submit(1, read(8));
    bench.submit(2, read(8));
    bench.sent();
    lose(&mut bench, CID);
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    bench.join(CID);
    // RFC 7143 6.3.4: the login has logged the old connection out.
    assert_eq!(bench.events(), [lost(1)]);
    assert_eq!(plugs(&bench.sent()), [(tag(2), FIRST_CMD_SN.next())]);
    let pdu = bench.nop_in(Some(2), None);
    bench.take(pdu);
    assert_eq!(bench.events(), [lost(2)]);
    bench.submit(3, read(8));
    assert!(matches!(&bench.sent()[..], [Pdu::ScsiCommand(command)] if command.exp_stat_sn == StatSn(1001)));
    assert_eq!(bench.session.poll_timeout(), Some(bench.now + Duration::from_secs(5)));
}

#[test]
fn the_only_connection_is_reinstated_before_its_loss_was_seen() {
    let mut bench = Bench::new(Parameters { immediate_data: false, ..Parameters::default() });
    bench.submit(1, write(512));
    bench.sent();
    bench.session.ping(bench.now, CID, tag(2), Bytes::new());
    bench.take(bench.r2t(1, 0, 0, 512));
    bench.join(CID);
    assert_eq!(bench.events(), [lost(2)]);
    assert_eq!(plugs(&bench.sent()), [(tag(1), FIRST_CMD_SN)]);
}
