//! Several connections a session: allegiance, numbers across them, and how they end one by one.

use super::*;
use crate::initiator::{Login, LoginConfig, LoginEvent, TaskManagement};
use crate::{Authentication, Limits};

const OTHER: Cid = Cid(2);
const WAIT: Duration = Duration::from_secs(2);
const RETAIN: Duration = Duration::from_secs(20);

/// Two connections; [`CID`] is spoken of.
fn two() -> Bench {
    let mut bench = Bench::new(Parameters::default());
    bench.join(OTHER).on(CID);
    assert_eq!(bench.session.cids().collect::<Vec<_>>(), [CID, OTHER]);
    bench
}

fn lost(number: u32) -> Event {
    Event::TaskLost { tag: tag(number) }
}

fn closed(cid: Cid, reason: CloseReason) -> Event {
    Event::ConnectionClosed { cid, reason }
}

fn lose(bench: &mut Bench, cid: Cid) -> Vec<Event> {
    bench.session.handle_connection_lost(bench.now, cid);
    bench.events()
}

fn answer_logout(bench: &mut Bench, number: u32, response: LogoutResponseCode) -> Vec<Event> {
    let stat_sn = bench.status();
    bench.take(LogoutResponse {
        response,
        initiator_task_tag: tag(number),
        stat_sn,
        exp_cmd_sn: bench.exp_cmd_sn,
        max_cmd_sn: bench.max_cmd_sn,
        time_2_wait: 1,
        time_2_retain: 9,
    });
    let mut events = bench.events();
    assert_eq!(events.remove(0), Event::LogoutComplete { tag: tag(number), response });
    events
}

/// The NOP-Outs that take the numbers of commands, by tag and number.
fn plugs(sent: &[Pdu]) -> Vec<(InitiatorTaskTag, CmdSn)> {
    let plug = |pdu: &Pdu| match pdu {
        Pdu::NopOut(plug) if !plug.immediate => (plug.initiator_task_tag.unwrap(), plug.cmd_sn),
        other => panic!("a NOP-Out, not {other:?}"),
    };
    sent.iter().map(plug).collect()
}

#[test]
fn commands_are_numbered_across_connections_and_statuses_on_each() {
    let mut bench = two();
    bench.submit(1, read(8));
    bench.on(OTHER).submit(2, read(8));
    bench.on(CID).submit(3, read(8));
    let numbers = |sent: Vec<Pdu>| sent.iter().map(super::numbers::cmd_sn).collect::<Vec<_>>();
    assert_eq!(numbers(bench.sent()), [FIRST_CMD_SN, FIRST_CMD_SN.advanced_by(2)]);
    let sent = bench.on(OTHER).sent();
    let [Pdu::ScsiCommand(command)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((command.cmd_sn, command.exp_stat_sn), (FIRST_CMD_SN.next(), StatSn(2000)));
    // The window is one, whichever connection tells of it.
    bench.max_cmd_sn = bench.max_cmd_sn.advanced_by(10);
    let response = bench.response(2);
    bench.take(response);
    assert!(matches!(bench.events()[..], [Event::TaskComplete { .. }]));
    assert_eq!((bench.session.window(CID), bench.session.window(OTHER)), (39, 39));
    bench.submit(2, read(8));
    assert!(matches!(&bench.sent()[..], [Pdu::ScsiCommand(command)] if command.exp_stat_sn == StatSn(2001)));
}

#[test]
fn digests_and_segments_are_each_connection_s_own_and_the_rest_is_the_session_s() {
    let session = Parameters { burst_bytes_max: 4096, error_recovery_level: 0, ..Parameters::default() };
    let mut bench = Bench::new(session);
    let parameters = Parameters {
        header_digest: true,
        data_digest: true,
        send_segment_bytes_max: 512,
        receive_segment_bytes_max: 1024,
        ..Parameters::default()
    };
    let outcome = LoginOutcome { cid: OTHER, ..outcome(parameters.clone()) };
    bench.session.add_connection(&outcome, bench.now);
    let expected = Parameters { burst_bytes_max: 4096, ..parameters };
    assert_eq!(bench.session.parameters(OTHER), Some(&expected));
    bench.session.submit(bench.now, OTHER, tag(1), write(2000)).unwrap();
    let sent = bench.session.poll_transmit(OTHER);
    assert!(matches!(sent, Some(Pdu::ScsiCommand(command)) if command.data.len() == 512));
}

// RFC 7143 4.2.5.1-1.
#[test]
fn an_answer_on_another_connection_breaks_the_allegiance() {
    let mut bench = two();
    bench.submit(1, read(8));
    bench.sent();
    bench.on(OTHER);
    bench.take(bench.data_in(1, 0, 0, pattern(8)));
    bench.assert_violation(Violation::WrongConnection, &[1]);
    // Nor does it matter what the answer is.
    let mut bench = two();
    bench.session.ping(bench.now, CID, tag(1), Bytes::new());
    bench.sent();
    let pdu = bench.on(OTHER).nop_in(Some(1), None);
    bench.take(pdu);
    bench.assert_violation(Violation::WrongConnection, &[1]);
}

#[test]
fn the_least_busy_connection_has_the_fewest_requests() {
    let mut bench = two();
    assert_eq!(bench.session.least_busy(), Some(CID));
    bench.submit(1, read(8));
    assert_eq!(bench.session.least_busy(), Some(OTHER));
    bench.sent();
    bench.on(OTHER).submit(2, read(8));
    bench.submit(3, read(8));
    assert_eq!(bench.session.least_busy(), Some(CID));
    let response = bench.on(CID).response(1);
    bench.take(response);
    bench.session.logout(bench.now, CID, tag(4), Logout::Connection(CID));
    assert_eq!(bench.session.least_busy(), Some(OTHER));
}

#[test]
fn a_ping_is_asked_for_on_each_silent_connection() {
    let mut bench = two();
    bench.now += Duration::from_secs(4);
    let pdu = bench.on(OTHER).nop_in(None, None);
    bench.take(pdu);
    bench.now += Duration::from_secs(1);
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [Event::PingDue { cid: CID }]);
    // Silence ends the connection, and not the other.
    bench.session.handle_timeout(bench.now + Duration::from_secs(3));
    assert_eq!(bench.events(), [closed(CID, CloseReason::PeerSilent)]);
    assert_eq!(bench.session.cids().collect::<Vec<_>>(), [OTHER]);
}

// RFC 7143 7.1.4.3-1, 7.14-1.
#[test]
fn a_connection_that_dies_takes_its_own_requests_along() {
    let mut bench = two();
    bench.submit(1, read(8));
    bench.on(OTHER).submit(2, read(8));
    bench.sent();
    bench.on(CID).sent();
    bench.session.ping(bench.now, CID, tag(3), Bytes::new());
    bench.exp_cmd_sn = FIRST_CMD_SN.advanced_by(2);
    let pdu = bench.nop_in(None, None);
    bench.take(pdu);
    let mut events = lose(&mut bench, CID);
    assert_eq!(events.pop(), Some(closed(CID, CloseReason::ConnectionLost)));
    assert!(events.len() == 2 && events.contains(&lost(1)) && events.contains(&lost(3)), "{events:?}");
    // It is deaf and dumb, and the other goes on.
    assert_eq!((bench.sent(), lose(&mut bench, CID)), (vec![], vec![]));
    assert_eq!(bench.session.submit(bench.now, CID, tag(4), read(8)), Err(read(8)));
    bench.session.ping(bench.now, CID, tag(4), Bytes::new());
    assert_eq!(bench.events(), [lost(4)]);
    let response = bench.response(2);
    bench.take(response);
    assert_eq!(bench.events(), []);
    let response = bench.on(OTHER).response(2);
    bench.take(response);
    assert!(matches!(bench.events()[..], [Event::TaskComplete { .. }]));
    // With the last one the session ends.
    assert_eq!(lose(&mut bench, OTHER), [Event::Closed(CloseReason::ConnectionLost)]);
}

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
fn with_the_connection_that_logs_another_out_the_attempt_has_failed() {
    let mut bench = two();
    bench.join(Cid(3));
    lose(&mut bench, CID);
    bench.session.logout(bench.now, OTHER, tag(9), Logout::Connection(CID));
    assert_eq!(lose(&mut bench, OTHER), [lost(9), closed(OTHER, CloseReason::ConnectionLost)]);
    bench.session.handle_timeout(bench.now + WAIT);
    assert_eq!(bench.events(), [Event::CleanupDue { cid: CID }, Event::CleanupDue { cid: OTHER }]);
}

#[test]
fn a_connection_logs_itself_out_and_the_session_goes_on() {
    let mut bench = two();
    bench.submit(1, read(8));
    bench.sent();
    bench.submit(2, read(8));
    bench.session.logout(bench.now, CID, tag(9), Logout::Connection(CID));
    let sent = bench.sent();
    assert!(matches!(&sent[..], [Pdu::ScsiCommand(_), Pdu::LogoutRequest(request)] if request.cid == CID));
    assert_eq!((bench.session.window(CID), bench.session.window(OTHER)), (0, 30));
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    let events = answer_logout(&mut bench, 9, LogoutResponseCode::Closed);
    assert_eq!(events, [lost(1), closed(CID, CloseReason::LoggedOut)]);
    // RFC 7143 11.14: the number of a command that was not acknowledged is a hole.
    assert_eq!(plugs(&bench.on(OTHER).sent()), [(tag(2), FIRST_CMD_SN.next())]);
    assert_eq!(bench.session.parameters(CID), None);
    // Logging out what there is not any more is answered here.
    bench.session.logout(bench.now, OTHER, tag(10), Logout::Connection(CID));
    let response = LogoutResponseCode::CidNotFound;
    assert_eq!(bench.events(), [Event::LogoutComplete { tag: tag(10), response }]);
}

#[test]
fn a_logout_of_itself_that_fails_loses_the_connection() {
    let mut bench = two();
    bench.session.logout(bench.now, CID, tag(9), Logout::ForRecovery(CID));
    assert!(
        matches!(&bench.sent()[..], [Pdu::LogoutRequest(request)] if request.reason == LogoutReason::RemoveForRecovery)
    );
    let events = answer_logout(&mut bench, 9, LogoutResponseCode::RecoveryNotSupported);
    assert_eq!(events, [closed(CID, CloseReason::LogoutFailed)]);
    bench.session.handle_timeout(bench.now + Duration::from_secs(1));
    assert_eq!(bench.events(), [Event::CleanupDue { cid: CID }]);
}

#[test]
fn a_logout_of_a_living_connection_over_another_closes_it_first() {
    let mut bench = two();
    bench.session.logout(bench.now, OTHER, tag(9), Logout::Connection(CID));
    assert_eq!(bench.events(), [closed(CID, CloseReason::Terminated)]);
    assert_eq!(bench.sent(), []);
    assert!(matches!(&bench.on(OTHER).sent()[..], [Pdu::LogoutRequest(request)] if request.cid == CID));
    assert_eq!(answer_logout(&mut bench, 9, LogoutResponseCode::Closed), []);
}

// RFC 7143 11.14-2.
#[test]
fn a_logout_of_the_session_ends_all_connections() {
    let mut bench = two();
    bench.on(OTHER).submit(1, read(8));
    bench.session.logout(bench.now, CID, tag(9), Logout::Session);
    // RFC 7143 11.14: nothing goes on any connection.
    assert_eq!((bench.sent(), bench.session.window(OTHER)), (vec![], 0));
    assert_eq!(bench.on(CID).sent().len(), 1);
    let events = answer_logout(&mut bench, 9, LogoutResponseCode::Closed);
    assert_eq!(events, [lost(1), Event::Closed(CloseReason::LoggedOut)]);
    bench.join(Cid(3));
    assert_eq!((bench.session.cids().count(), bench.session.is_closed()), (0, true));
    // So does the loss of the connection that was to bring the answer.
    let mut bench = two();
    bench.session.logout(bench.now, CID, tag(9), Logout::Session);
    assert_eq!(lose(&mut bench, CID), [lost(9), Event::Closed(CloseReason::ConnectionLost)]);
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

// RFC 7143 11.5.1-9.
#[test]
fn an_abort_goes_where_its_task_is_and_a_function_for_all_ends_tasks_everywhere() {
    let mut bench = two();
    bench.on(OTHER).submit(1, read(8));
    bench.sent();
    bench.on(CID).submit(2, read(8));
    bench.sent();
    let function = TaskManagementFunction::AbortTask;
    let asked = TaskManagement { function, lun: LUN, referenced: Some(tag(1)) };
    bench.session.manage_task(bench.now, CID, tag(9), asked);
    assert_eq!(bench.sent(), []);
    // RFC 7143 11.5.1.
    assert!(matches!(&bench.on(OTHER).sent()[..], [Pdu::TaskManagementRequest(_)]));

    let function = TaskManagementFunction::LogicalUnitReset;
    let asked = TaskManagement { function, lun: LUN, referenced: None };
    bench.on(CID);
    bench.session.manage_task(bench.now, CID, tag(8), asked);
    assert_eq!(bench.sent().len(), 1);
    let stat_sn = bench.status();
    bench.take(TaskManagementResponse {
        response: TaskManagementResponseCode::FunctionComplete,
        initiator_task_tag: tag(8),
        stat_sn,
        exp_cmd_sn: bench.exp_cmd_sn,
        max_cmd_sn: bench.max_cmd_sn,
    });
    let aborted = |number| Event::TaskAborted { tag: tag(number) };
    assert_eq!(bench.events()[..2], [aborted(1), aborted(2)]);
    // Late answers are discarded, on the connections on which they come.
    let response = bench.response(2);
    bench.take(response);
    let response = bench.on(OTHER).response(1);
    bench.take(response);
    assert_eq!(bench.events(), []);
}

fn announce(bench: &mut Bench, event: AsyncEvent, cid: Cid) {
    announce_with(bench, event, cid, 30);
}

fn announce_with(bench: &mut Bench, event: AsyncEvent, cid: Cid, parameter_3: u16) {
    let stat_sn = bench.status();
    bench.take(AsyncMessage {
        event,
        vendor_code: 0,
        lun: LUN,
        stat_sn,
        exp_cmd_sn: bench.exp_cmd_sn,
        max_cmd_sn: bench.max_cmd_sn,
        parameter_1: cid.0,
        parameter_2: 3,
        parameter_3,
        data: Bytes::new(),
    });
}

// RFC 7143 11.9.1: the order of two connections is none.
#[test]
fn an_announcement_that_is_late_does_not_end_the_connection_that_was_reinstated() {
    let mut bench = two();
    lose(&mut bench, OTHER);
    bench.join(OTHER).on(CID);
    bench.events();
    announce(&mut bench, AsyncEvent::ConnectionDrop, OTHER);
    assert_eq!(bench.events(), [Event::PingDue { cid: OTHER }]);
    // What it says of itself is so.
    announce(bench.on(OTHER), AsyncEvent::ConnectionDrop, OTHER);
    assert_eq!(bench.events(), [closed(OTHER, CloseReason::Dropped { time_2_wait: 3 })]);
}

#[test]
fn announcements_are_about_their_connection() {
    let mut bench = two();
    announce(&mut bench, AsyncEvent::ConnectionDrop, OTHER);
    assert_eq!(bench.events(), [closed(OTHER, CloseReason::Dropped { time_2_wait: 3 })]);
    bench.session.handle_timeout(bench.now + Duration::from_secs(3));
    assert_eq!(bench.events(), [Event::CleanupDue { cid: OTHER }]);

    let mut bench = two();
    announce(bench.on(OTHER), AsyncEvent::LogoutRequest, CID);
    assert_eq!(bench.events(), [Event::LogoutRequested { cid: OTHER, grace: Duration::from_secs(30) }]);
    assert_eq!((bench.session.window(OTHER), bench.session.window(CID)), (0, 32));

    // Only the tasks of the connection that tells of it are meant.
    let mut bench = two();
    bench.submit(1, read(8));
    bench.sent();
    bench.on(OTHER).submit(2, read(8));
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.advanced_by(2);
    announce(&mut bench, AsyncEvent::TaskTermination, CID);
    assert_eq!(bench.events(), [Event::TaskAborted { tag: tag(2) }]);

    let mut bench = two();
    announce(&mut bench, AsyncEvent::SessionDrop, CID);
    assert_eq!(bench.events(), [Event::Closed(CloseReason::Dropped { time_2_wait: 3 })]);
}

#[test]
fn a_broken_rule_ends_the_session_on_all_connections() {
    let mut bench = two();
    bench.submit(1, read(8));
    bench.on(OTHER).submit(2, read(8));
    bench.sent();
    let response = bench.response(7);
    bench.take(response);
    bench.assert_violation(Violation::UnknownInitiatorTaskTag, &[1, 2]);
}

#[test]
fn a_bad_digest_ends_its_connection() {
    let mut bench = two();
    bench.session.handle_bad_pdu(bench.now, CID, Header([0; 48]), crate::BadPdu::DataDigest);
    assert_eq!(bench.events(), [closed(CID, CloseReason::DataDigest)]);
    bench.session.handle_bad_pdu(bench.now, CID, Header([0; 48]), crate::BadPdu::DataDigest);
    assert_eq!(bench.events(), []);
}

// RFC 7143 11.10-1: on each.
#[test]
fn each_connection_has_one_text_exchange_at_a_time() {
    let mut bench = two();
    bench.session.send_targets(bench.now, CID, tag(1), SendTargetsScope::ThisTarget);
    bench.session.send_targets(bench.now, CID, tag(2), SendTargetsScope::ThisTarget);
    bench.session.send_targets(bench.now, OTHER, tag(3), SendTargetsScope::ThisTarget);
    assert_eq!(bench.sent().len(), 1);
    assert_eq!(bench.on(OTHER).sent().len(), 1);
    // One that was lost is plugged, and its tag comes back.
    lose(&mut bench, CID);
    bench.session.logout(bench.now, OTHER, tag(9), Logout::Connection(CID));
    bench.sent();
    answer_logout(&mut bench, 9, LogoutResponseCode::Closed);
    assert_eq!(plugs(&bench.sent())[0], (tag(1), FIRST_CMD_SN));
}

// RFC 7143 6.3.4-1.
/// RFC 7143 11.12.8: the login of a further connection carries the session's CmdSN, and speaks of the connection's keys alone.
#[test]
fn a_login_that_joins() {
    let now = Instant::now();
    let config = LoginConfig {
        initiator_name: "iqn.2026-01.org.example:initiator".into(),
        initiator_alias: None,
        target_name: Some("iqn.2026-01.org.example:target".into()),
        session_type: SessionType::Normal,
        isid: Isid::default(),
        tsih: Tsih(1),
        cid: OTHER,
        limits: Limits::default(),
        authentication: Authentication::None,
        timeout: WAIT,
    };
    let mut login = Login::joining(config, CmdSn(500), tag(1), [7; 32], now);
    let Some(Pdu::LoginRequest(request)) = login.poll_transmit() else { panic!("a request") };
    assert_eq!((request.tsih, request.cid, request.cmd_sn), (Tsih(1), OTHER, CmdSn(500)));
    let keys: Vec<_> = text::pairs(&request.data).map(|pair| pair.unwrap().0).collect();
    assert!(keys.contains(&"HeaderDigest") && !keys.contains(&"MaxConnections"), "{keys:?}");
    login.handle_pdu(
        now,
        LoginResponse {
            transit: Some(Stage::FullFeaturePhase),
            current_stage: request.current_stage,
            isid: request.isid,
            tsih: Tsih(1),
            initiator_task_tag: request.initiator_task_tag,
            stat_sn: StatSn(70),
            exp_cmd_sn: CmdSn(497),
            max_cmd_sn: CmdSn(520),
            data: Bytes::from_static(b"HeaderDigest=None\0DataDigest=CRC32C\0"),
            continues: false,
            version_max: 0,
            version_active: 0,
            status: LoginStatus::Success,
        }
        .into(),
    );
    let Some(LoginEvent::Complete(outcome)) = login.poll_event() else { panic!("a login that went well") };
    assert_eq!((outcome.cmd_sn, outcome.max_cmd_sn, outcome.stat_sn), (CmdSn(497), CmdSn(520), StatSn(71)));
    assert!(outcome.parameters.data_digest);
}
