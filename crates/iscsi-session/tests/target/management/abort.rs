//! ABORT TASK (RFC 7143 section 11.5.1).

use super::*;

#[test]
fn abort_task_ends_the_task_and_asks_the_owner() {
    let mut ladder = Ladder::new(open());
    ladder.i(read(1, 512));
    ladder.i(read(2, 512));
    ladder.i(abort(100, 1, 1));
    ladder.tells(&["Command 1 R 512", "Command 2 R 512", "Aborted 1", "TaskManagement ABORT TASK"]);
    // What the owner still says about it is ignored.
    ladder.complete(1, good_read(512));
    ladder.sends(&[]);
    ladder.answer(Response::FunctionComplete);
    ladder.sends(&["TaskManagement 100 StatSN 1: Function complete"]);
    assert_eq!(ladder.window, (CmdSn(3), CmdSn(9)), "the place of the aborted task is free");
    assert_eq!(ladder.session.tasks(), 1);
}

/// RFC 7143 7.11-3: the status was sent before.
#[test]
fn abort_task_for_a_task_that_has_ended() {
    let mut ladder = Ladder::new(open());
    ladder.i(read(1, 0));
    ladder.events();
    ladder.complete(1, good());
    ladder.sent();
    ladder.i(abort(100, 1, 1));
    ladder.sends(&["TaskManagement 100 StatSN 2: Task does not exist"]);
}

#[test]
fn abort_task_takes_back_a_status_that_has_not_left() {
    let mut ladder = Ladder::new(open());
    ladder.i(read(1, 4));
    ladder.events();
    ladder.complete(1, good_read(4));
    ladder.i(abort(100, 1, 1));
    ladder.tells(&[]);
    ladder.sends(&["TaskManagement 100 StatSN 1: Function complete"]);
    assert_eq!(ladder.session.data_in_bytes(CID), 0);
}

/// RFC 7143 7.11-2: a command that has not come counts as received, and the hole is plugged.
#[test]
fn abort_task_plugs_the_hole_of_a_command_that_has_not_come() {
    let mut ladder = Ladder::new(open());
    ladder.cmd_sn = CmdSn(2);
    ladder.i(read(2, 0));
    ladder.i(abort(100, 1, 1));
    ladder.tells(&["Command 2 R 0"]);
    ladder.sends(&["TaskManagement 100 StatSN 1: Function complete"]);
    assert_eq!(ladder.window, (CmdSn(3), CmdSn(9)));
    // When it comes after all it is outside the window, and its data is dropped.
    ladder.raw(ScsiCommand { is_final: false, cmd_sn: CmdSn(1), ..write(1, 512) });
    ladder.i(data_out(1, false, 0, 0, 512, true));
    ladder.tells(&[]);
    ladder.sends(&[]);
}

#[test]
fn abort_task_for_a_held_command() {
    let mut ladder = Ladder::new(open());
    ladder.cmd_sn = CmdSn(2);
    ladder.i(read(2, 0));
    ladder.i(abort(100, 2, 2));
    ladder.sends(&["TaskManagement 100 StatSN 1: Function complete"]);
    assert_eq!(ladder.session.tasks(), 0);
    ladder.raw(ScsiCommand { cmd_sn: CmdSn(1), ..read(1, 0) });
    ladder.tells(&["Command 1 R 0"]);
    ladder.sends(&["NOP-In"]);
    assert_eq!(ladder.window, (CmdSn(3), CmdSn(9)));
}

#[test]
fn abort_task_outside_the_window_or_for_no_task() {
    let mut ladder = Ladder::new(open());
    ladder.i(abort(100, 1, 900));
    // Its own number: a task of an immediate command, which is gone.
    ladder.i(abort(101, 1, 1));
    ladder.sends(&[
        "TaskManagement 100 StatSN 1: Task does not exist",
        "TaskManagement 101 StatSN 2: Task does not exist",
    ]);
    ladder.i(manage(102, Function::AbortTask));
    ladder.i(read(1, 0));
    ladder.i(TaskManagementRequest { lun: OTHER_LUN, ..abort(103, 1, 1) });
    ladder.sends(&[
        "TaskManagement 102 StatSN 3: Task does not exist",
        "TaskManagement 103 StatSN 4: Task does not exist",
    ]);
    ladder.tells(&["Command 1 R 0"]);
}

// RFC 7143 11.5.1-10, 11.5.1-11.
/// RFC 7143 11.5.1: a task management request cannot be aborted.
#[test]
fn abort_task_for_a_function_is_rejected() {
    let mut ladder = Ladder::new(open());
    ladder.i(manage(100, Function::LogicalUnitReset));
    ladder.tells(&["TaskManagement LOGICAL UNIT RESET"]);
    ladder.i(abort(101, 100, 1));
    ladder.sends(&["TaskManagement 101 StatSN 1: Function rejected"]);
}

#[test]
fn abort_task_ends_the_wait_for_data() {
    let mut ladder = Ladder::new(open());
    ladder.i(write(1, 4096));
    ladder.events();
    ladder.receive(1, 4096);
    ladder.sends(&["R2T 1 R2TSN 0 0+4096"]);
    ladder.complete(1, check_condition());
    ladder.sends(&[]);
    ladder.i(abort(100, 1, 1));
    ladder.tells(&[]);
    ladder.sends(&["TaskManagement 100 StatSN 1: Function complete", "NOP-In ping feed"]);
    ladder.i(data_out(1, true, 0, 0, 4096, true));
    ladder.sends(&[]);
}
