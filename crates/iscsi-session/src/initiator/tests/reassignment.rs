//! Error recovery level 2: a connection is lost, and its tasks go on on another.

mod connections;
mod data;
mod offers;

use super::connections::announce_with;
use super::rejects::reject;
use super::*;
use crate::initiator::TaskManagement;
use iscsi_pdu::TaskManagementResponseCode as Code;

pub(super) const OTHER: Cid = Cid(2);
const WAIT: Duration = Duration::from_secs(2);
const RETAIN: Duration = Duration::from_secs(20);
const FUNCTION: u32 = 90;
const LOGOUT: u32 = 91;

pub(super) fn at_level(error_recovery_level: u8) -> Parameters {
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

/// With a read of 8 bytes that the target has.
fn with_a_read(mut bench: Bench) -> Bench {
    bench.submit(1, read(8));
    bench.sent();
    acknowledge(&mut bench, 1);
    bench
}

pub(super) fn lose(bench: &mut Bench, cid: Cid) -> Vec<Event> {
    bench.session.handle_connection_lost(bench.now, cid);
    bench.events()
}

fn closed(cid: Cid) -> Event {
    Event::ConnectionClosed { cid, reason: CloseReason::ConnectionLost }
}

pub(super) fn due(number: u32) -> Event {
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

pub(super) fn log_out(bench: &mut Bench, over: Cid, logout: Logout) {
    bench.session.logout(bench.now, over, tag(LOGOUT), logout);
    let sent = bench.on(over).sent();
    assert!(matches!(sent.last(), Some(Pdu::LogoutRequest(_))), "{sent:?}");
}

/// The answer to the logout, with Time2Wait and Time2Retain in seconds.
pub(super) fn answer_logout(bench: &mut Bench, time_2_wait: u16, time_2_retain: u16) -> Vec<Event> {
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

pub(super) fn reassign(bench: &mut Bench, number: u32) -> Option<TaskManagementRequest> {
    manage(bench, TaskManagementFunction::TaskReassign, number)
}

/// The target's answer; the events before that of the function itself.
pub(super) fn answer(bench: &mut Bench, response: Code) -> Vec<Event> {
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
