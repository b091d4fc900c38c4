//! Tasks without a connection: reassigned, refused, aborted, given up, and bounded.

use super::*;

#[test]
fn a_task_ends_while_it_has_no_connection() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 1000));
    ladder.on(B).i(write(2, 4096));
    ladder.on(B).i(command(3));
    ladder.events();
    ladder.receive(2, 4096);
    ladder.on(B).sends(&["R2T 2 R2TSN 0 0+4096"]);
    ladder.lose(B);
    ladder.complete(1, good_read(1000));
    ladder.complete(2, check_condition());
    ladder.complete(3, good());
    lose_nothing(&mut ladder);
    ladder.on(A).i(remove(90, B));
    for (tag, task) in [(100, 1), (101, 2), (102, 3)] {
        ladder.i(reassign(tag, task, 0));
    }
    ladder.tells(&[]);
    ladder.sends(&[
        "Logout 90 StatSN 2: Connection or session closed successfully",
        "TaskManagement 100 StatSN 3: Function complete",
        "Data-In 1 DataSN 0 0+1000 F S status 00 StatSN 4",
        "TaskManagement 101 StatSN 5: Function complete",
        "Response 2 status 02 StatSN 6 ExpDataSN 0 underflow 4096 sense [115, 101, 110, 115, 101]",
        "TaskManagement 102 StatSN 7: Function complete",
        "Response 3 status 00 StatSN 8 ExpDataSN 0",
    ]);
}

/// What waits for its connection is sent on no other.
fn lose_nothing(ladder: &mut Ladder) {
    ladder.tells(&["ConnectionClosed 8: the connection was lost"]);
    ladder.on(A).sends(&["Async StatSN 1: Connection drop notification 8 2 20"]);
    ladder.on(B).sends(&[]);
}

// RFC 7143 7.2.2-7, 11.5.1-17, 11.5.1-18.
/// RFC 7143 7.2.2: not before the logout, not twice, not what is no SCSI command.
#[test]
fn reassignments_that_are_refused() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 8));
    ladder.on(B).i(read(2, 8));
    ladder.on(A).i(TextRequest { immediate: true, is_final: false, ..text(3, "X-a=1\0") });
    ladder.on(A).i(manage(4, Function::ClearAca));
    ladder.events();
    ladder.on(A).sent();
    ladder.i(reassign(100, 1, 0));
    ladder.lose(B);
    ladder.i(reassign(101, 1, 0));
    ladder.i(reassign(102, 99, 0));
    ladder.i(reassign(103, 3, 0));
    ladder.i(reassign(104, 4, 0));
    ladder.i(remove(90, B));
    ladder.i(TaskManagementRequest { immediate: false, ..reassign(105, 1, 0) });
    ladder.i(reassign(106, 1, 0));
    ladder.i(reassign(107, 1, 0));
    ladder.i(manage(108, Function::TaskReassign));
    let answers: Vec<String> =
        ladder.sent().into_iter().filter_map(|line| Some(line.split_once(": ")?.1.to_owned())).collect();
    assert_eq!(
        answers,
        [
            "Task still allegiant",
            "Connection drop notification 8 2 20",
            "Task still allegiant",
            "Task does not exist",
            "Function rejected",
            "Function rejected",
            "Connection or session closed successfully",
            "Function rejected",
            "Function complete",
            "Task still allegiant",
            "Task does not exist",
        ]
    );
}

// RFC 7143 7.14-3, 11.14-4.
/// RFC 7143 7.14 and 11.14: immediate commands end, and what waits for its turn is discarded.
#[test]
fn what_does_not_outlive_its_connection() {
    let mut ladder = two();
    ladder.on(B).i(ScsiCommand { immediate: true, ..read(1, 8) });
    ladder.on(B).raw(ScsiCommand { cmd_sn: CmdSn(2), ..read(2, 8) });
    ladder.on(B).raw(NopOut { cmd_sn: CmdSn(1), ..nop_out(3, "") });
    ladder.tells(&["Command 1 R 8", "Command 2 R 8"]);
    ladder.on(B).raw(ScsiCommand { cmd_sn: CmdSn(4), ..read(4, 8) });
    ladder.lose(B);
    ladder.tells(&["Aborted 1", "ConnectionClosed 8: the connection was lost"]);
    assert_eq!(ladder.session.tasks(), 1);
    ladder.on(A).raw(ScsiCommand { cmd_sn: CmdSn(3), ..read(5, 8) });
    ladder.raw(ScsiCommand { cmd_sn: CmdSn(4), ..read(4, 8) });
    ladder.tells(&["Command 5 R 8", "Command 4 R 8"]);
}

#[test]
fn tasks_that_nobody_reassigns_are_given_up_in_time() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 8));
    ladder.on(B).i(read(2, 8));
    ladder.events();
    lose_b(&mut ladder);
    ladder.pass(10);
    ladder.on(A).i(reassign(100, 2, 0));
    ladder.tells(&["Reassigned 2 7"]);
    ladder.pass(12);
    ladder.tells(&["Aborted 1"]);
    ladder.i(reassign(101, 1, 0));
    assert_eq!(ladder.sent().last().unwrap(), "TaskManagement 101 StatSN 4: Task does not exist");
    assert_eq!(ladder.session.tasks(), 1);
}

/// RFC 7143 11.5.1: ABORT TASK for a task that has lost its connection comes on another.
#[test]
fn a_task_without_a_connection_is_aborted() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 8));
    ladder.on(B).i(read(2, 8));
    ladder.on(B).i(write(3, 8));
    ladder.events();
    ladder.complete(2, good_read(8));
    ladder.on(B).sent();
    ladder.receive(3, 8);
    ladder.on(B).sent();
    lose_b(&mut ladder);
    let abort = |tag, task| TaskManagementRequest {
        referenced_task_tag: Some(itt(task)),
        ref_cmd_sn: CmdSn(task),
        ..manage(tag, Function::AbortTask)
    };
    ladder.on(A).i(abort(100, 1));
    ladder.i(abort(101, 2));
    ladder.tells(&["Aborted 1", "TaskManagement ABORT TASK"]);
    ladder
        .sends(&["Data-In 2 DataSN 0 0+8 F S status 00 StatSN 3", "TaskManagement 101 StatSN 4: Task does not exist"]);
    // A reset does not wait for data that cannot come.
    ladder.i(manage(102, Function::LogicalUnitReset));
    ladder.tells(&["Aborted 3", "TaskManagement LOGICAL UNIT RESET"]);
}

/// RFC 7143 4.2.3.3: no status follows the response to a function for many tasks, by no reassignment either.
#[test]
fn a_status_that_waits_for_a_connection_ends_with_its_task_set() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 8));
    ladder.events();
    ladder.complete(1, good_read(8));
    lose_b(&mut ladder);
    ladder.i(manage(100, Function::AbortTaskSet));
    ladder.tells(&["TaskManagement ABORT TASK SET"]);
    ladder.i(reassign(101, 1, 0));
    ladder.sends(&["TaskManagement 101 StatSN 3: Task does not exist"]);
}

/// RFC 7143 11.15.4: with Time2Retain 0 nothing is kept.
#[test]
fn nothing_is_kept_for_no_time() {
    let mut ladder = Ladder::new(Parameters { time_2_retain: 0, ..parameters() });
    ladder.add(B);
    ladder.on(B).i(read(1, 8));
    ladder.events();
    ladder.lose(B);
    ladder.tells(&["Aborted 1", "ConnectionClosed 8: the connection was lost"]);
    ladder.on(A).i(remove(90, A));
    ladder.tells(&["Closed logged out"]);
    ladder.sends(&[
        "Async StatSN 1: Connection drop notification 8 2 0",
        "Logout 90 StatSN 2: Connection or session closed successfully",
    ]);
}

/// Connections that fail one after the other do not add up.
#[test]
fn what_is_kept_without_a_connection_is_bounded() {
    let config = SessionConfig { immediate_max: 16, retained_statuses_max: 2, ..config() };
    let mut ladder = Ladder::start(outcome(parameters()), config);
    ladder.acknowledges = false;
    assert_eq!(ladder.session.admission(B), LoginStatus::Success);
    for tag in 1..=5 {
        ladder.i(command(tag));
        ladder.events();
        ladder.complete(tag, good());
        ladder.sent();
        ladder.lose(A);
        ladder.add(A);
    }
    for tag in 1..=5 {
        ladder.i(reassign(100 + tag, tag, 0));
    }
    let answers = ladder.sent();
    let found = answers.iter().filter(|line| line.starts_with("Response")).count();
    assert_eq!(found, 2, "{answers:?}");
    // Failed connections count among those that were agreed upon.
    ladder.lose(A);
    ladder.add(B);
    ladder.lose(B);
    assert_eq!(ladder.session.admission(Cid(9)), LoginStatus::TooManyConnections);
    assert_eq!(ladder.session.admission(B), LoginStatus::Success);
}
