//! Error recovery level 2: a connection is lost, and its tasks go on on another.

use super::connections::announce_with;
use super::rejects::reject;
use super::*;
use crate::initiator::TaskManagement;
use iscsi_pdu::TaskManagementResponseCode as Code;

const OTHER: Cid = Cid(2);
const WAIT: Duration = Duration::from_secs(2);
const RETAIN: Duration = Duration::from_secs(20);
const FUNCTION: u32 = 90;
const LOGOUT: u32 = 91;

fn at_level(error_recovery_level: u8) -> Parameters {
    Parameters { error_recovery_level, immediate_data: false, max_connections: 2, ..Parameters::default() }
}

fn one() -> Bench {
    Bench::new(at_level(2))
}

fn two() -> Bench {
    let mut bench = one();
    bench.join(OTHER).on(CID);
    bench
}

fn lose(bench: &mut Bench, cid: Cid) -> Vec<Event> {
    bench.session.handle_connection_lost(bench.now, cid);
    bench.events()
}

fn closed(cid: Cid) -> Event {
    Event::ConnectionClosed { cid, reason: CloseReason::ConnectionLost }
}

fn due(number: u32) -> Event {
    Event::ReassignmentDue { tag: tag(number) }
}

fn lost(number: u32) -> Event {
    Event::TaskLost { tag: tag(number) }
}

fn pass(bench: &mut Bench, time: Duration) -> Vec<Event> {
    bench.now += time;
    bench.session.handle_timeout(bench.now);
    bench.events()
}

fn log_out(bench: &mut Bench, over: Cid, logout: Logout) {
    bench.session.logout(bench.now, over, tag(LOGOUT), logout);
    let sent = bench.on(over).sent();
    assert!(matches!(sent.last(), Some(Pdu::LogoutRequest(_))), "{sent:?}");
}

/// The answer to the logout, with Time2Wait and Time2Retain in seconds.
fn answer_logout(bench: &mut Bench, time_2_wait: u16, time_2_retain: u16) -> Vec<Event> {
    let stat_sn = bench.status();
    bench.take(LogoutResponse {
        response: LogoutResponseCode::Closed,
        initiator_task_tag: tag(LOGOUT),
        stat_sn,
        exp_cmd_sn: bench.exp_cmd_sn,
        max_cmd_sn: bench.max_cmd_sn,
        time_2_wait,
        time_2_retain,
    });
    let mut events = bench.events();
    assert!(matches!(events.remove(0), Event::LogoutComplete { .. }));
    events
}

fn manage(bench: &mut Bench, function: TaskManagementFunction, number: u32) -> Option<TaskManagementRequest> {
    let asked = TaskManagement { function, lun: LUN, referenced: Some(tag(number)) };
    bench.session.manage_task(bench.now, bench.cid, tag(FUNCTION), asked);
    match bench.sent().pop() {
        Some(Pdu::TaskManagementRequest(request)) => Some(request),
        None => None,
        other => panic!("{other:?}"),
    }
}

fn reassign(bench: &mut Bench, number: u32) -> Option<TaskManagementRequest> {
    manage(bench, TaskManagementFunction::TaskReassign, number)
}

/// The target's answer; the events before that of the function itself.
fn answer(bench: &mut Bench, response: Code) -> Vec<Event> {
    let stat_sn = bench.status();
    bench.take(TaskManagementResponse {
        additional_information: [0; 3],
        response,
        initiator_task_tag: tag(FUNCTION),
        stat_sn,
        exp_cmd_sn: bench.exp_cmd_sn,
        max_cmd_sn: bench.max_cmd_sn,
    });
    let mut events = bench.events();
    assert_eq!(
        events.pop(),
        Some(Event::TaskManagementComplete { tag: tag(FUNCTION), response, additional_information: [0; 3] })
    );
    events
}

fn acknowledge(bench: &mut Bench, commands: u32) {
    bench.exp_cmd_sn = FIRST_CMD_SN.advanced_by(commands);
    let pdu = bench.nop_in(None, None);
    bench.take(pdu);
}

#[track_caller]
fn assert_ends(bench: &mut Bench, number: u32) {
    let response = bench.response(number);
    bench.take(response);
    let events = bench.events();
    assert!(
        matches!(&events[..], [Event::TaskComplete { tag: of, result }] if *of == tag(number) && result.status == 0),
        "{events:?}"
    );
}

// RFC 7143 7.1.4.3-2, 7.2.1-3, 7.2.2-1, 7.5-1, 11.5.1-15, 11.5.1-19, 11.5.6-3.
#[test]
fn a_read_goes_on_where_it_was() {
    let mut bench = two();
    bench.submit(1, read(3000));
    bench.submit(2, read(8));
    bench.sent();
    bench.session.ping(bench.now, CID, tag(3), Bytes::new());
    acknowledge(&mut bench, 1);
    bench.take(bench.data_in(1, 0, 0, pattern(1000)));
    bench.events();
    // What is immediate is lost with its connection (RFC 7143 7.14).
    assert_eq!(lose(&mut bench, CID), [lost(3), closed(CID)]);
    bench.now += WAIT;
    bench.session.handle_timeout(bench.now);
    assert!(bench.events().contains(&Event::CleanupDue { cid: CID }));

    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 3, 30), []);
    // RFC 7143 7.2.1: what the target has not acknowledged is sent again, with its number.
    let sent = bench.sent();
    let [Pdu::ScsiCommand(again)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((again.initiator_task_tag, again.cmd_sn), (tag(2), FIRST_CMD_SN.next()));
    // RFC 7143 11.15.3: not before Time2Wait.
    bench.session.handle_timeout(bench.now + Duration::from_millis(2999));
    assert!(!bench.events().contains(&due(1)));
    bench.now += Duration::from_secs(3);
    bench.session.handle_timeout(bench.now);
    assert!(bench.events().contains(&due(1)));

    let request = reassign(&mut bench, 1).unwrap();
    assert!(request.immediate);
    assert_eq!((request.referenced_task_tag, request.exp_data_sn, request.ref_cmd_sn), (Some(tag(1)), 1, CmdSn(0)));
    assert_eq!(answer(&mut bench, Code::FunctionComplete), []);
    bench.take(bench.data_in(1, 1, 1000, pattern(3000).slice(1000..)));
    assert!(matches!(&bench.events()[..], [Event::Data { offset: 1000, .. }]));
    assert_ends(&mut bench, 1);
    bench.exp_cmd_sn = FIRST_CMD_SN.advanced_by(2);
    assert_ends(&mut bench, 2);
    assert_eq!(bench.session.parameters(CID), None);
}

#[test]
fn a_message_of_ended_tasks_means_none_that_is_being_reassigned() {
    let mut bench = two();
    bench.submit(1, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    lose(&mut bench, CID);
    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    answer_logout(&mut bench, 0, 30);
    assert!(reassign(&mut bench, 1).is_some_and(|request| request.referenced_task_tag == Some(tag(1))));
    announce_with(&mut bench, AsyncEvent::TaskTermination, CID, 0);
    assert_eq!(bench.events(), []);
    assert_eq!(answer(&mut bench, Code::FunctionComplete), []);
    // It belongs to the connection now.
    announce_with(&mut bench, AsyncEvent::TaskTermination, CID, 0);
    assert_eq!(bench.events(), [Event::TaskAborted { tag: tag(1) }]);
}

// RFC 7143 6.3.4-4.
#[test]
fn the_only_connection_is_reinstated_and_a_write_goes_on() {
    let mut bench = one();
    bench.submit(1, write(4096));
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    bench.take(bench.r2t(1, 0, 0, 2048));
    assert_eq!(bench.sent().len(), 1);
    bench.take(bench.r2t(1, 1, 2048, 2048));
    assert_eq!(lose(&mut bench, CID), [closed(CID)]);
    // RFC 7143 6.3.6: the session has failed, but is not over.
    assert_eq!((bench.session.is_closed(), bench.session.cids().count(), bench.sent()), (false, 0, vec![]));
    assert_eq!(bench.session.submit(bench.now, CID, tag(2), read(8)), Err(read(8)));
    assert_eq!(bench.session.poll_timeout(), Some(bench.now + WAIT));
    bench.now += WAIT;
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [Event::CleanupDue { cid: CID }]);
    bench.join(CID);
    bench.now += WAIT;
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [due(1)]);
    // RFC 7143 11.5.6: a number of Data-In PDUs is for those that read.
    assert_eq!(reassign(&mut bench, 1).unwrap().exp_data_sn, 0);
    assert_eq!(answer(&mut bench, Code::FunctionComplete), []);
    // What was asked for on the old connection is not sent; the target asks again, under a number of its choice.
    assert_eq!(bench.sent(), []);
    bench.take(bench.r2t(1, 1, 0, 4096));
    let sent = bench.sent();
    assert!(matches!(&sent[..], [Pdu::DataOut(pdu)] if pdu.data == pattern(4096) && pdu.is_final), "{sent:?}");
    assert_ends(&mut bench, 1);
}

// RFC 7143 11.5.6-1.
#[test]
fn what_comes_again_is_handed_out_once_whatever_its_segments() {
    let mut bench = two();
    bench.submit(1, read(3000));
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    bench.take(bench.data_in(1, 0, 0, pattern(1000)));
    bench.take(bench.data_in(1, 1, 1000, pattern(3000).slice(1000..2000)));
    bench.events();
    lose(&mut bench, CID);
    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
    assert_eq!(reassign(&mut bench, 1).unwrap().exp_data_sn, 2);
    answer(&mut bench, Code::FunctionComplete);
    // RFC 7143 7.2.2: a target may send all of the data again.
    for (data_sn, offset) in (0..).zip((0..3000).step_by(600)) {
        let data = pattern(3000).slice(offset..offset + 600);
        bench.take(bench.data_in(1, data_sn, offset as u32, data));
    }
    let pieces: Vec<_> = bench.events();
    let data: Vec<u8> = pieces
        .iter()
        .flat_map(|event| if let Event::Data { data, .. } = event { data.to_vec() } else { panic!("{event:?}") })
        .collect();
    assert!(matches!(pieces[0], Event::Data { offset: 2000, .. }));
    assert_eq!(data, pattern(3000).slice(2000..));
    assert_ends(&mut bench, 1);
}

// RFC 7143 7.2.2-4: nothing before ExpDataSN.
#[test]
fn what_was_received_is_not_asked_for_again() {
    let mut bench = two();
    bench.submit(1, read(3000));
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    bench.take(bench.data_in(1, 0, 0, pattern(1000)));
    bench.events();
    lose(&mut bench, CID);
    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
    assert_eq!(reassign(&mut bench, 1).unwrap().exp_data_sn, 1);
    answer(&mut bench, Code::FunctionComplete);
    bench.take(bench.data_in(1, 2, 2000, pattern(3000).slice(2000..)));
    let sent = bench.sent();
    assert!(matches!(&sent[..], [Pdu::Snack(snack)] if (snack.begin_run, snack.run_length) == (1, 0)), "{sent:?}");
}

#[test]
fn in_any_order_too_what_comes_again_is_handed_out_once() {
    let mut bench = Bench::new(Parameters { data_pdu_in_order: false, ..at_level(2) });
    bench.submit(1, read(30));
    bench.sent();
    bench.exp_cmd_sn = FIRST_CMD_SN.next();
    bench.take(bench.data_in(1, 0, 20, pattern(30).slice(20..)));
    bench.events();
    lose(&mut bench, CID);
    bench.join(CID);
    bench.now += WAIT;
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [due(1)]);
    assert_eq!(reassign(&mut bench, 1).unwrap().exp_data_sn, 1);
    answer(&mut bench, Code::FunctionComplete);
    bench.take(bench.data_in(1, 0, 15, pattern(30).slice(15..)));
    bench.take(bench.data_in(1, 1, 0, pattern(15)));
    let piece =
        |begin: usize, end| Event::Data { tag: tag(1), offset: begin as u32, data: pattern(30).slice(begin..end) };
    assert_eq!(bench.events(), [piece(15, 20), piece(0, 15)]);
    assert_ends(&mut bench, 1);
}

// RFC 7143 7.5-2.
#[test]
fn the_target_forgets_tasks_that_are_not_reassigned() {
    let mut bench = two();
    bench.submit(1, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    lose(&mut bench, CID);
    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 0, 4), [due(1)]);
    bench.now += Duration::from_secs(4);
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [lost(1)]);
    assert!(reassign(&mut bench, 1).is_none());
    let response = Code::TaskDoesNotExist;
    assert_eq!(
        bench.events(),
        [Event::TaskManagementComplete { tag: tag(FUNCTION), response, additional_information: [0; 3] }]
    );

    // With nobody to continue it, the session ends for the reason for which its connection did.
    let mut bench = one();
    bench.submit(1, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    lose(&mut bench, CID);
    bench.session.handle_timeout(bench.now + WAIT + RETAIN);
    let events = bench.events();
    assert_eq!(events, [Event::CleanupDue { cid: CID }, lost(1), Event::Closed(CloseReason::ConnectionLost)]);
    assert_eq!(bench.session.poll_timeout(), None);
}

#[test]
fn where_nothing_is_retained_nothing_is_recovered() {
    let mut bench = Bench::new(Parameters { time_2_retain: 0, ..at_level(2) });
    bench.submit(1, read(8));
    bench.sent();
    assert_eq!(lose(&mut bench, CID), [lost(1), Event::Closed(CloseReason::ConnectionLost)]);
}

// RFC 7143 7.2.2-1, 11.5.1-15.
#[test]
fn a_reassignment_waits_for_the_logout_and_may_be_refused() {
    let mut bench = two();
    bench.submit(1, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    bench.on(OTHER);
    let told = |bench: &mut Bench, response| {
        assert_eq!(
            bench.events(),
            [Event::TaskManagementComplete { tag: tag(FUNCTION), response, additional_information: [0; 3] }]
        );
    };
    // RFC 7143 7.2.2, as the target would say it.
    assert!(reassign(&mut bench, 1).is_none());
    told(&mut bench, Code::TaskStillAllegiant);
    lose(&mut bench, CID);
    assert!(reassign(&mut bench, 1).is_none());
    told(&mut bench, Code::TaskStillAllegiant);
    assert!(manage(&mut bench, TaskManagementFunction::AbortTask, 1).is_none());
    told(&mut bench, Code::TaskStillAllegiant);
    assert!(reassign(&mut bench, 7).is_none());
    told(&mut bench, Code::TaskDoesNotExist);

    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
    reassign(&mut bench, 1).unwrap();
    assert_eq!(answer(&mut bench, Code::TaskStillAllegiant), []);
    reassign(&mut bench, 1).unwrap();
    assert_eq!(answer(&mut bench, Code::TaskAllegianceReassignmentNotSupported), [lost(1)]);
}

/// RFC 7143 7.2.2 and 11.17.1.
#[test]
fn a_task_is_offered_again_until_it_is_reassigned_or_forgotten() {
    use RejectReason::{InvalidPduField, TooManyImmediateCommands, WaitingForLogout};
    let rejected = |reason| Event::TaskRejected { tag: tag(FUNCTION), reason };
    let mut bench = two();
    for number in 1..=2 {
        bench.submit(number, read(8));
    }
    bench.sent();
    acknowledge(&mut bench, 2);
    lose(&mut bench, CID);
    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 0, 30), [due(1), due(2)]);
    for refusal in [None, Some(TooManyImmediateCommands), Some(WaitingForLogout)] {
        let request = reassign(&mut bench, 1).unwrap();
        match refusal {
            None => assert_eq!(answer(&mut bench, Code::TaskStillAllegiant), []),
            Some(reason) => {
                reject(&mut bench, &request.into(), reason);
                assert_eq!(bench.events(), [rejected(reason)]);
            }
        }
        assert_eq!(pass(&mut bench, Duration::from_millis(99)), []);
        assert_eq!(pass(&mut bench, Duration::from_millis(1)), [due(1), due(2)]);
        assert_eq!(pass(&mut bench, Duration::from_secs(1)), [], "once");
    }
    // What is wrong with the request stays wrong.
    let request = reassign(&mut bench, 1).unwrap();
    reject(&mut bench, &request.into(), InvalidPduField);
    assert_eq!(bench.events(), [rejected(InvalidPduField), lost(1)]);
    // Nothing is offered that the target has forgotten.
    pass(&mut bench, Duration::from_millis(26_650));
    reassign(&mut bench, 2).unwrap();
    assert_eq!(answer(&mut bench, Code::TaskStillAllegiant), []);
    assert_eq!(pass(&mut bench, Duration::from_millis(200)), [lost(2)]);
    assert_eq!(pass(&mut bench, Duration::from_secs(1)), []);
}

#[test]
fn a_task_is_reassigned_to_one_connection_at_a_time() {
    let mut bench = two();
    bench.join(Cid(3)).on(CID).submit(1, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    lose(&mut bench, CID);
    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
    reassign(&mut bench, 1).unwrap();
    let function = TaskManagementFunction::TaskReassign;
    let asked = TaskManagement { function, lun: LUN, referenced: Some(tag(1)) };
    bench.session.manage_task(bench.now, Cid(3), tag(92), asked);
    let response = Code::TaskStillAllegiant;
    assert_eq!(
        bench.events(),
        [Event::TaskManagementComplete { tag: tag(92), response, additional_information: [0; 3] }]
    );
    assert_eq!(answer(&mut bench, Code::FunctionComplete), []);
    bench.take(bench.data_in(1, 0, 0, pattern(8)));
    bench.events();
    assert_ends(&mut bench, 1);
}

/// RFC 7143 11.5.1: the function takes the task over and ends it; a status that was sent comes before.
#[test]
fn a_task_without_a_connection_is_aborted_on_another() {
    for with_status in [false, true] {
        let mut bench = two();
        bench.submit(1, read(0));
        bench.sent();
        acknowledge(&mut bench, 1);
        lose(&mut bench, CID);
        log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
        assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
        let request = manage(&mut bench, TaskManagementFunction::AbortTask, 1).unwrap();
        assert_eq!((request.ref_cmd_sn, request.exp_data_sn), (FIRST_CMD_SN, 0));
        if with_status {
            assert_ends(&mut bench, 1);
            assert_eq!(answer(&mut bench, Code::TaskDoesNotExist), []);
        } else {
            assert_eq!(answer(&mut bench, Code::FunctionComplete), [Event::TaskAborted { tag: tag(1) }]);
        }
    }
}

#[test]
fn a_reset_ends_tasks_without_a_connection_too() {
    let mut bench = two();
    bench.submit(1, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    lose(&mut bench, CID);
    bench.on(OTHER);
    let asked = TaskManagement { function: TaskManagementFunction::LogicalUnitReset, lun: LUN, referenced: None };
    bench.session.manage_task(bench.now, OTHER, tag(FUNCTION), asked);
    bench.sent();
    assert_eq!(answer(&mut bench, Code::FunctionComplete), [Event::TaskAborted { tag: tag(1) }]);
}

#[test]
fn a_connection_that_is_lost_in_the_middle_of_recovery_is_recovered_in_its_turn() {
    let mut bench = two();
    bench.join(Cid(3)).on(CID).submit(1, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    lose(&mut bench, CID);
    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
    reassign(&mut bench, 1).unwrap();
    assert_eq!(lose(&mut bench, OTHER), [lost(FUNCTION), closed(OTHER)]);
    log_out(&mut bench, Cid(3), Logout::ForRecovery(OTHER));
    assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
    reassign(&mut bench, 1).unwrap();
    assert_eq!(answer(&mut bench, Code::FunctionComplete), []);
    bench.take(bench.data_in(1, 0, 0, pattern(8)));
    bench.events();
    assert_ends(&mut bench, 1);
}

#[test]
fn a_task_is_offered_again_if_its_connection_breaks_before_the_function_has_left() {
    // The one that had the task, or a third.
    for (over, rest) in [(OTHER, Cid(3)), (Cid(3), OTHER)] {
        let mut bench = two();
        bench.join(Cid(3)).on(CID).submit(1, read(8));
        bench.sent();
        acknowledge(&mut bench, 1);
        lose(&mut bench, CID);
        log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
        assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
        let asked =
            TaskManagement { function: TaskManagementFunction::TaskReassign, lun: LUN, referenced: Some(tag(1)) };
        bench.session.manage_task(bench.now, over, tag(FUNCTION), asked);
        assert_eq!(lose(&mut bench, over), [lost(FUNCTION), closed(over)]);
        log_out(&mut bench, rest, Logout::ForRecovery(over));
        assert_eq!(answer_logout(&mut bench, 0, 30), [due(1)]);
        reassign(&mut bench, 1).unwrap();
        assert_eq!(answer(&mut bench, Code::FunctionComplete), []);
        bench.take(bench.data_in(1, 0, 0, pattern(8)));
        bench.events();
        assert_ends(&mut bench, 1);
    }
    // One that is reinstated.
    let mut bench = one();
    bench.submit(1, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    lose(&mut bench, CID);
    for _ in 0..2 {
        bench.now += WAIT;
        bench.session.handle_timeout(bench.now);
        bench.events();
        bench.join(CID);
        bench.now += WAIT;
        bench.session.handle_timeout(bench.now);
        assert!(bench.events().contains(&due(1)));
        let asked =
            TaskManagement { function: TaskManagementFunction::TaskReassign, lun: LUN, referenced: Some(tag(1)) };
        bench.session.manage_task(bench.now, CID, tag(FUNCTION), asked);
        assert_eq!(lose(&mut bench, CID), [lost(FUNCTION), closed(CID)]);
    }
}

#[test]
fn a_connection_is_logged_out_for_recovery_over_itself() {
    // To another that there is, with the times that the target tells.
    let mut bench = two();
    bench.submit(1, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    log_out(&mut bench, CID, Logout::ForRecovery(CID));
    let logged_out = Event::ConnectionClosed { cid: CID, reason: CloseReason::LoggedOut };
    assert_eq!(answer_logout(&mut bench, 0, 30), [logged_out.clone(), due(1)]);
    bench.on(OTHER);
    reassign(&mut bench, 1).unwrap();

    // To one that comes, with a CID of its own.
    let mut bench = one();
    bench.submit(1, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    log_out(&mut bench, CID, Logout::ForRecovery(CID));
    assert_eq!(answer_logout(&mut bench, 1, 30), [logged_out]);
    assert!(!bench.session.is_closed());
    bench.join(OTHER);
    assert_eq!(bench.events(), [due(1)]);
    reassign(&mut bench, 1).unwrap();
    assert_eq!(answer(&mut bench, Code::FunctionComplete), []);

    // One that is only closed takes its tasks along.
    let mut bench = two();
    bench.submit(1, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    log_out(&mut bench, CID, Logout::Connection(CID));
    assert_eq!(answer_logout(&mut bench, 0, 30)[0], lost(1));
}

/// The answer to a logout may be lost with its connection, and the target not know the other connection any more when it is asked again.
#[test]
fn a_connection_that_the_target_does_not_know_may_have_left_tasks() {
    let mut bench = two();
    bench.submit(1, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    lose(&mut bench, CID);
    log_out(&mut bench, OTHER, Logout::ForRecovery(CID));
    let stat_sn = bench.status();
    bench.take(LogoutResponse {
        response: LogoutResponseCode::CidNotFound,
        initiator_task_tag: tag(LOGOUT),
        stat_sn,
        exp_cmd_sn: bench.exp_cmd_sn,
        max_cmd_sn: bench.max_cmd_sn,
        time_2_wait: 0,
        time_2_retain: 0,
    });
    assert_eq!(bench.events()[1..], [due(1)]);
    reassign(&mut bench, 1).unwrap();
    assert_eq!(answer(&mut bench, Code::TaskDoesNotExist), [lost(1)]);
}

/// Not every target says in the login what it has received.
#[test]
fn the_first_pdu_may_tell_what_the_target_has_received() {
    let mut bench = one();
    bench.submit(1, read(0));
    bench.submit(2, read(8));
    bench.submit(3, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    lose(&mut bench, CID);
    bench.exp_cmd_sn = CmdSn(FIRST_CMD_SN.0 - 50);
    bench.join(CID);
    assert_eq!((bench.events(), bench.sent()), (vec![Event::PingDue { cid: CID }], vec![]));
    assert!(reassign(&mut bench, 1).is_none());
    bench.events();
    acknowledge(&mut bench, 2);
    let sent = bench.sent();
    assert!(matches!(&sent[..], [Pdu::ScsiCommand(pdu)] if pdu.initiator_task_tag == tag(3)), "{sent:?}");
    bench.now += WAIT;
    bench.session.handle_timeout(bench.now);
    // The third has not been acknowledged yet.
    assert_eq!(bench.events(), [due(1), due(2), Event::PingDue { cid: CID }]);
}

#[test]
fn what_never_went_out_goes_out_on_another_connection_at_once() {
    for level in [1, 2] {
        let mut bench = Bench::new(at_level(level));
        bench.join(OTHER).on(CID).submit(1, write(512));
        assert_eq!(lose(&mut bench, CID), [closed(CID)]);
        let sent = bench.on(OTHER).sent();
        assert!(matches!(&sent[..], [Pdu::ScsiCommand(pdu)] if pdu.cmd_sn == FIRST_CMD_SN), "{sent:?}");
        bench.exp_cmd_sn = FIRST_CMD_SN.next();
        bench.take(bench.r2t(1, 0, 0, 512));
        assert!(matches!(&bench.sent()[..], [Pdu::DataOut(pdu)] if pdu.is_final));
        assert_ends(&mut bench, 1);
    }
}

#[test]
fn at_level_1_what_the_target_has_is_lost_and_what_it_misses_is_sent_again() {
    let mut bench = Bench::new(at_level(1));
    bench.join(OTHER).on(CID).submit(1, read(8));
    bench.submit(2, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    assert_eq!(lose(&mut bench, CID), [lost(1), closed(CID)]);
    log_out(&mut bench, OTHER, Logout::Connection(CID));
    assert_eq!(answer_logout(&mut bench, 0, 0), []);
    let sent = bench.sent();
    assert!(matches!(&sent[..], [Pdu::ScsiCommand(pdu)] if pdu.cmd_sn == FIRST_CMD_SN.next()), "{sent:?}");
}

#[test]
fn an_announced_drop_of_the_session_is_recovered_from() {
    let mut bench = two();
    bench.submit(1, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    let stat_sn = bench.status();
    bench.take(AsyncMessage {
        event: AsyncEvent::SessionDrop,
        vendor_code: 0,
        lun: LUN,
        stat_sn,
        exp_cmd_sn: bench.exp_cmd_sn,
        max_cmd_sn: bench.max_cmd_sn,
        parameter_1: 0,
        parameter_2: 3,
        parameter_3: 30,
        data: Bytes::new(),
    });
    let reason = CloseReason::Dropped { time_2_wait: 3 };
    let closed = |cid| Event::ConnectionClosed { cid, reason };
    assert_eq!(bench.events(), [closed(CID), closed(OTHER)]);
    assert_eq!(bench.session.poll_timeout(), Some(bench.now + Duration::from_secs(3)));
    bench.join(CID).join(OTHER);
    bench.on(CID).now += WAIT;
    bench.session.handle_timeout(bench.now);
    assert_eq!(bench.events(), [due(1)]);
}
