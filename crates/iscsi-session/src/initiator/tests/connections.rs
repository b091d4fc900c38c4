//! Several connections a session: allegiance, numbers across them, and how they end one by one.

use super::*;
use crate::initiator::{Login, LoginConfig, LoginEvent, TaskManagement};
use crate::{Authentication, Limits};

pub(super) const OTHER: Cid = Cid(2);
pub(super) const WAIT: Duration = Duration::from_secs(2);
pub(super) const RETAIN: Duration = Duration::from_secs(20);

/// Two connections; [`CID`] is spoken of.
pub(super) fn two() -> Bench {
    let mut bench = Bench::new(Parameters::default());
    bench.join(OTHER).on(CID);
    assert_eq!(bench.session.cids().collect::<Vec<_>>(), [CID, OTHER]);
    bench
}

pub(super) fn lost(number: u32) -> Event {
    Event::TaskLost { tag: tag(number) }
}

pub(super) fn closed(cid: Cid, reason: CloseReason) -> Event {
    Event::ConnectionClosed { cid, reason }
}

pub(super) fn lose(bench: &mut Bench, cid: Cid) -> Vec<Event> {
    bench.session.handle_connection_lost(bench.now, cid);
    bench.events()
}

pub(super) fn answer_logout(bench: &mut Bench, number: u32, response: LogoutResponseCode) -> Vec<Event> {
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
pub(super) fn plugs(sent: &[Pdu]) -> Vec<(InitiatorTaskTag, CmdSn)> {
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
        additional_information: [0; 3],
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

pub(super) fn announce_with(bench: &mut Bench, event: AsyncEvent, cid: Cid, parameter_3: u16) {
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
    assert_late_announcement_is_doubted(&mut bench);
}

#[test]
fn nor_does_it_end_one_that_came_after_the_first_was_logged_out() {
    let mut bench = two();
    lose(&mut bench, OTHER);
    bench.session.logout(bench.now, CID, tag(9), Logout::Connection(OTHER));
    bench.sent();
    assert_eq!(answer_logout(&mut bench, 9, LogoutResponseCode::CidNotFound), []);
    assert_eq!(bench.session.parameters(OTHER), None);
    bench.join(OTHER).on(CID);
    assert_late_announcement_is_doubted(&mut bench);
}

/// What [`CID`] says of the end of [`OTHER`] may be about the connection before it: a ping will tell.
fn assert_late_announcement_is_doubted(bench: &mut Bench) {
    announce(bench, AsyncEvent::ConnectionDrop, OTHER);
    assert_eq!(bench.events(), [Event::PingDue { cid: OTHER }]);
    // One ping is enough, however often it says so.
    bench.session.ping(bench.now, OTHER, tag(30), Bytes::new());
    bench.on(OTHER).sent();
    announce(bench.on(CID), AsyncEvent::ConnectionDrop, OTHER);
    assert_eq!(bench.events(), []);
    // What it says of itself is so.
    announce(bench.on(OTHER), AsyncEvent::ConnectionDrop, OTHER);
    let lost = Event::TaskLost { tag: tag(30) };
    assert_eq!(bench.events(), [lost, closed(OTHER, CloseReason::Dropped { time_2_wait: 3 })]);
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
