//! Responses in their order across connections (RFC 7143 sections 4.2.2.3, 4.2.3.3 and 11.6.1).

use super::ladder::*;
use iscsi_pdu::TaskManagementFunction as Function;
use iscsi_pdu::TaskManagementResponseCode as Response;
use iscsi_pdu::*;
use iscsi_session::{Parameters, TaskReporting};

const A: Cid = CID;
const B: Cid = Cid(8);

fn parameters() -> Parameters {
    Parameters { max_connections: 3, initial_r2t: false, burst_bytes_max: 4096, ..Parameters::default() }
}

/// A session with the connections A and B.
fn two() -> Ladder {
    let mut ladder = Ladder::new(parameters());
    ladder.add(B);
    ladder
}

// RFC 7143 4.2.2.3.2-1, 4.2.2.3.2-2, 4.2.2.3.2-3, 4.2.2.3.3-2, 4.2.2.3.3-3, 4.2.2.3.3-4, 11.6.1-2.
/// RFC 7143 4.2.3.3 d and 11.6.1: the response comes after every response before it, wherever that is, and before all after it.
#[test]
fn a_function_is_answered_behind_what_other_connections_send() {
    for function in [Function::AbortTaskSet, Function::LogicalUnitReset, Function::TargetWarmReset] {
        let mut ladder = two();
        ladder.acknowledges = false;
        ladder.on(B).i(read(1, 4));
        ladder.on(B).i(read(2, 4));
        ladder.on(A).i(read(3, 4));
        ladder.events();
        ladder.complete(1, good_read(4));
        ladder.on(A).i(manage(100, function));
        let mut aborted = ladder.events();
        aborted[..2].sort();
        assert_eq!(aborted, ["Aborted 2", "Aborted 3", &format!("TaskManagement {function}")]);
        ladder.answer(Response::FunctionComplete);
        ladder.on(A).sends(&[]);
        ladder.on(B).i(read(4, 4));
        ladder.events();
        ladder.complete(4, good_read(4));
        ladder.on(B).sends(&["Data-In 1 DataSN 0 0+4 F S status 00 StatSN 1", "NOP-In ping fef5"]);
        ladder.on(A).sends(&[]);
        // B acknowledges, A answers, B goes on when that was acknowledged.
        ladder.on(B).exp_stat_sn = StatSn(2);
        ladder.acknowledge();
        ladder.on(B).sends(&[]);
        ladder.on(A).sends(&["TaskManagement 100 StatSN 1: Function complete", "NOP-In ping feed"]);
        ladder.on(B).sends(&[]);
        ladder.on(A).exp_stat_sn = StatSn(2);
        ladder.acknowledge();
        ladder.on(B).sends(&["Data-In 4 DataSN 0 0+4 F S status 00 StatSN 2"]);
    }
}

// RFC 7143 4.2.2.3.3-1, 4.2.2.3.4-2, 4.2.3.3-12, 4.2.3.4-16, 4.2.3.6-1, 13.23-3.
/// RFC 7143 4.2.2.3.3: a status that has to be in its place among those of other connections, whatever was agreed upon.
#[test]
fn a_fenced_status_is_in_its_place_among_those_of_other_connections() {
    for task_reporting in [TaskReporting::ResponseFence, TaskReporting::Rfc3720] {
        let mut ladder = Ladder::new(Parameters { task_reporting, ..parameters() });
        ladder.add(B);
        ladder.acknowledges = false;
        for (cid, tag) in [(B, 1), (A, 2), (B, 3)] {
            ladder.on(cid).i(read(tag, 5000));
        }
        ladder.events();
        ladder.complete(1, good());
        let unit_attention = ladder.tasks[&2];
        ladder.session.complete_fenced(unit_attention, good_read(5000));
        ladder.complete(3, good());
        let first = "Response 1 status 00 StatSN 1 ExpDataSN 0 underflow 5000";
        let second = "Response 3 status 00 StatSN 2 ExpDataSN 0 underflow 5000";
        let data = ["Data-In 2 DataSN 0 0+4096 F", "Data-In 2 DataSN 1 4096+904 F S status 00 StatSN 1"];
        ladder.on(A).sends(&[]);
        ladder.on(B).sends(&[first, "NOP-In ping fef5"]);
        ladder.on(B).exp_stat_sn = StatSn(2);
        ladder.acknowledge();
        ladder.on(B).sends(&[]);
        ladder.on(A).sends(&[data[0], data[1], "NOP-In ping feed"]);
        ladder.on(B).sends(&[]);
        ladder.on(A).exp_stat_sn = StatSn(2);
        ladder.acknowledge();
        ladder.on(B).sends(&[second]);
    }
    // What is aborted holds nobody up.
    let mut ladder = Ladder::new(parameters());
    ladder.add(B);
    ladder.on(A).i(read(1, 5000));
    ladder.on(B).i(read(2, 0));
    ladder.events();
    let task = ladder.tasks[&1];
    ladder.session.complete_fenced(task, good_read(5000));
    ladder.complete(2, good());
    ladder.on(B).sends(&[]);
    assert!(ladder.session.poll_transmit(A).is_some());
    ladder.on(A).i(TaskManagementRequest { referenced_task_tag: Some(itt(1)), ..manage(100, Function::AbortTask) });
    ladder.on(B).sends(&["Response 2 status 00 StatSN 1 ExpDataSN 0"]);
    // One connection keeps the order by itself.
    let mut ladder = Ladder::new(parameters());
    ladder.i(read(1, 8));
    ladder.events();
    let task = ladder.tasks[&1];
    ladder.session.complete_fenced(task, good_read(8));
    ladder.sends(&["Data-In 1 DataSN 0 0+8 F S status 00 StatSN 1"]);
}

/// Nothing is left to wait for when what stands before the fence has been taken back.
#[test]
fn an_aborted_task_does_not_hold_a_fence_up() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 4));
    ladder.on(B).i(read(2, 4));
    ladder.events();
    ladder.complete(1, good_read(4));
    ladder.on(A).i(manage(100, Function::LogicalUnitReset));
    ladder.events();
    ladder.answer(Response::FunctionComplete);
    ladder.on(A).sends(&[]);
    let abort = TaskManagementRequest { referenced_task_tag: Some(itt(1)), ..manage(101, Function::AbortTask) };
    ladder.on(B).i(abort);
    ladder.on(A).sends(&["TaskManagement 100 StatSN 1: Function complete", "NOP-In ping feed"]);
    ladder.on(A).acknowledge();
    ladder.on(B).sends(&["TaskManagement 101 StatSN 1: Function complete"]);
}

#[test]
fn fences_of_two_connections_are_passed_one_after_the_other() {
    let mut ladder = two();
    ladder.on(A).i(manage(100, Function::LogicalUnitReset));
    ladder.on(B).i(manage(101, Function::TargetWarmReset));
    ladder.events();
    ladder.requests.reverse();
    ladder.answer(Response::FunctionComplete);
    ladder.answer(Response::FunctionComplete);
    ladder.on(B).sends(&[]);
    ladder.on(A).sends(&["TaskManagement 100 StatSN 1: Function complete", "NOP-In ping feed"]);
    ladder.on(B).sends(&[]);
    ladder.on(A).acknowledge();
    ladder.on(B).sends(&["TaskManagement 101 StatSN 1: Function complete", "NOP-In ping fef5"]);
}

/// A connection that ends holds up nobody: neither one that was waited for, nor one that waits for its response.
#[test]
fn a_fence_does_not_wait_for_a_connection_that_has_ended() {
    let mut ladder = two();
    ladder.acknowledges = false;
    ladder.on(B).i(read(1, 0));
    ladder.events();
    ladder.complete(1, good());
    ladder.on(B).sent();
    ladder.on(A).i(manage(100, Function::AbortTaskSet));
    ladder.events();
    ladder.answer(Response::FunctionComplete);
    ladder.on(A).sends(&[]);
    ladder.lose(B);
    ladder.events();
    ladder.sends(&[
        "TaskManagement 100 StatSN 1: Function complete",
        "Async StatSN 2: Connection drop notification 8 2 0",
    ]);

    let mut ladder = two();
    ladder.on(B).i(read(1, 0));
    ladder.on(A).i(TaskManagementRequest { immediate: false, ..manage(100, Function::LogicalUnitReset) });
    ladder.on(B).i(read(2, 0));
    ladder.tells(&["Command 1 R 0", "Aborted 1", "TaskManagement LOGICAL UNIT RESET", "Command 2 R 0"]);
    ladder.answer(Response::FunctionComplete);
    ladder.complete(2, good());
    ladder.on(B).sends(&[]);
    ladder.lose(A);
    ladder.events();
    ladder
        .on(B)
        .sends(&["Response 2 status 00 StatSN 1 ExpDataSN 0", "Async StatSN 2: Connection drop notification 7 2 0"]);
    assert_eq!(ladder.window, (CmdSn(4), CmdSn(11)));
}

// RFC 7143 4.2.2.3.2-1: what it has said before comes before, or never.
/// A connection that was logged out acknowledges nothing: a fence waits until it is gone.
#[test]
fn a_function_is_answered_behind_the_last_statuses_of_a_connection_that_was_logged_out() {
    for (function, name) in
        [(Function::ClearTaskSet, "CLEAR TASK SET"), (Function::LogicalUnitReset, "LOGICAL UNIT RESET")]
    {
        let mut ladder = two();
        ladder.acknowledges = false;
        ladder.on(B).i(read(1, 4));
        ladder.events();
        ladder.complete(1, good_read(4));
        ladder.on(B).i(LogoutRequest { cid: B, ..logout(2, LogoutReason::CloseConnection) });
        ladder.tells(&["ConnectionClosed 8: logged out"]);
        ladder.on(B).sends(&[
            "Data-In 1 DataSN 0 0+4 F S status 00 StatSN 1",
            "Logout 2 StatSN 2: Connection or session closed successfully",
        ]);
        ladder.on(A).i(manage(100, function));
        ladder.tells(&[&format!("TaskManagement {name}")]);
        ladder.answer(Response::FunctionComplete);
        ladder.on(A).sends(&[]);
        ladder.lose(B);
        ladder.on(A).sends(&["TaskManagement 100 StatSN 1: Function complete"]);
    }
}

/// The same where the function came before the logout.
#[test]
fn a_function_that_waits_is_answered_behind_the_last_statuses_of_a_connection_that_is_logged_out() {
    let mut ladder = two();
    ladder.acknowledges = false;
    ladder.on(B).i(read(1, 4));
    ladder.events();
    ladder.complete(1, good_read(4));
    ladder.on(A).i(manage(100, Function::LogicalUnitReset));
    ladder.events();
    ladder.answer(Response::FunctionComplete);
    ladder.on(A).sends(&[]);
    ladder.on(B).i(LogoutRequest { cid: B, ..logout(2, LogoutReason::CloseConnection) });
    ladder.tells(&["ConnectionClosed 8: logged out"]);
    let sent = ladder.on(B).sent();
    assert!(sent.last().is_some_and(|pdu| pdu.starts_with("Logout 2")), "{sent:?}");
    ladder.on(A).sends(&[]);
    ladder.lose(B);
    let sent = ladder.on(A).sent();
    assert!(sent[0].starts_with("TaskManagement 100"), "{sent:?}");
}

/// A connection that acknowledges nothing, since it is about to fail, does not make the others look dead.
#[test]
fn a_ping_is_answered_before_a_fence() {
    let mut ladder = two();
    ladder.acknowledges = false;
    ladder.on(B).i(read(1, 4));
    ladder.events();
    ladder.complete(1, good_read(4));
    ladder.on(B).sent();
    ladder.on(A).i(manage(100, Function::LogicalUnitReset));
    ladder.events();
    ladder.answer(Response::FunctionComplete);
    ladder.on(A).sends(&[]);
    ladder.on(A).i(nop_out(2, "there?"));
    ladder.on(A).sends(&["NOP-In 2 StatSN 1 there?", "NOP-In ping feed"]);
    ladder.on(B).exp_stat_sn = StatSn(2);
    ladder.acknowledge();
    ladder.on(A).exp_stat_sn = StatSn(2);
    ladder.acknowledge();
    ladder.on(A).sends(&["TaskManagement 100 StatSN 2: Function complete"]);
}

/// A fence does not hold up a logout: what stands behind it ends with the connection.
#[test]
fn a_logout_waits_for_no_fence() {
    let mut ladder = two();
    ladder.acknowledges = false;
    for tag in 1..=3 {
        ladder.on(B).i(read(tag, 4));
    }
    ladder.events();
    ladder.complete(1, good_read(4));
    ladder.on(A).i(manage(100, Function::LogicalUnitReset));
    assert_eq!(ladder.events().len(), 3);
    ladder.answer(Response::FunctionComplete);
    ladder.on(B).i(read(4, 4));
    ladder.on(B).i(text(5, ""));
    ladder.events();
    ladder.complete(4, good_read(4));
    ladder.on(B).i(LogoutRequest { cid: B, ..logout(6, LogoutReason::CloseConnection) });
    ladder.tells(&["ConnectionClosed 8: logged out"]);
    ladder.on(B).sends(&[
        "Data-In 1 DataSN 0 0+4 F S status 00 StatSN 1",
        "Logout 6 StatSN 2: Connection or session closed successfully",
    ]);
    ladder.on(A).sends(&[]);
    ladder.lose(B);
    ladder.on(A).sends(&["TaskManagement 100 StatSN 1: Function complete"]);
    let (expected, last) = ladder.session.command_numbers();
    assert_eq!((ladder.session.tasks(), expected.distance_to(last)), (0, 7), "nothing holds a place");
}

// RFC 7143 4.2.3.3-11, 11.5.1-14, 11.6.1-1: of the session.
/// RFC 7143 4.2.3.3 d holds for TARGET COLD RESET too: the session ends when its response leaves.
#[test]
fn a_cold_reset_ends_every_connection() {
    let mut ladder = two();
    ladder.acknowledges = false;
    ladder.on(B).i(read(1, 0));
    ladder.events();
    ladder.complete(1, good());
    ladder.on(A).i(manage(100, Function::TargetColdReset));
    ladder.events();
    ladder.answer(Response::FunctionComplete);
    ladder.on(A).sends(&[]);
    ladder.tells(&[]);
    ladder.on(B).sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0", "NOP-In ping fef5"]);
    ladder.on(B).i(read(2, 0));
    ladder.events();
    ladder.on(B).exp_stat_sn = StatSn(2);
    ladder.acknowledge();
    ladder.on(A).sends(&["TaskManagement 100 StatSN 1: Function complete"]);
    ladder.tells(&["Aborted 2", "Closed the target was reset"]);
    ladder.on(B).sends(&[]);
}

/// It ends them although nobody hears its response any more.
#[test]
fn a_cold_reset_outlives_its_connection() {
    let mut ladder = two();
    ladder.acknowledges = false;
    ladder.on(B).i(read(1, 0));
    ladder.events();
    ladder.complete(1, good());
    ladder.on(B).sent();
    ladder.on(A).i(manage(100, Function::TargetColdReset));
    ladder.events();
    ladder.answer(Response::FunctionComplete);
    ladder.on(A).sends(&[]);
    ladder.lose(A);
    ladder.tells(&["ConnectionClosed 7: the connection was lost", "Closed the target was reset"]);
}
