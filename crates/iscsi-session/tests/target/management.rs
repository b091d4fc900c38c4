//! Task management (RFC 7143 sections 4.2.3, 11.5 and 11.6).

use super::ladder::*;
use iscsi_pdu::TaskManagementFunction as Function;
use iscsi_pdu::TaskManagementResponseCode as Response;
use iscsi_pdu::{CmdSn, LunField, NopOut, Pdu, ScsiCommand, TaskManagementRequest};
use iscsi_session::Parameters;
use iscsi_session::target::{DataProgress, Event, SessionConfig, TaskOutcome};

const OTHER_LUN: LunField = LunField([0, 9, 0, 0, 0, 0, 0, 0]);

fn open() -> Parameters {
    Parameters { initial_r2t: false, outstanding_r2t_max: 2, burst_bytes_max: 4096, ..Parameters::default() }
}

fn abort(tag: u32, referenced: u32, ref_cmd_sn: u32) -> TaskManagementRequest {
    TaskManagementRequest {
        referenced_task_tag: Some(itt(referenced)),
        ref_cmd_sn: CmdSn(ref_cmd_sn),
        ..manage(tag, Function::AbortTask)
    }
}

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

/// RFC 7143 4.2.2.1-4, 4.2.3.3-1, 4.2.3.3-10, 13.23-6: the owner answers, and what comes later goes on; without FastAbort.
#[test]
fn a_set_ends_the_tasks_of_its_logical_unit_that_came_before() {
    for function in [Function::AbortTaskSet, Function::ClearTaskSet, Function::LogicalUnitReset] {
        let mut ladder = Ladder::new(open());
        ladder.i(read(1, 0));
        ladder.i(ScsiCommand { lun: OTHER_LUN, ..read(2, 0) });
        ladder.i(ScsiCommand { immediate: true, ..read(3, 0) });
        ladder.events();
        ladder.i(manage(100, function));
        ladder.i(read(4, 0));
        ladder.tells(&["Aborted 1", "Aborted 3", &format!("TaskManagement {function}"), "Command 4 R 0"]);
        assert_eq!(ladder.session.tasks(), 2);
        ladder.answer(Response::FunctionComplete);
        ladder.sends(&["TaskManagement 100 StatSN 1: Function complete"]);
    }
}

#[test]
fn a_reset_of_the_target_ends_the_tasks_of_all_logical_units() {
    let mut ladder = Ladder::new(open());
    ladder.i(read(1, 0));
    ladder.i(ScsiCommand { lun: OTHER_LUN, ..read(2, 0) });
    ladder.events();
    ladder.i(manage(100, Function::TargetWarmReset));
    ladder.tells(&["Aborted 1", "Aborted 2", "TaskManagement TARGET WARM RESET"]);
    ladder.answer(Response::FunctionAuthorizationFailed);
    ladder.sends(&["TaskManagement 100 StatSN 1: Function authorization failed"]);
    assert!(!ladder.session.is_closed());
}

#[test]
fn a_cold_reset_ends_the_session() {
    let mut ladder = Ladder::new(open());
    ladder.i(manage(100, Function::TargetColdReset));
    ladder.i(read(1, 0));
    ladder.tells(&["TaskManagement TARGET COLD RESET", "Command 1 R 0"]);
    ladder.answer(Response::FunctionComplete);
    ladder.tells(&["Aborted 1", "Closed the target was reset"]);
    ladder.sends(&["TaskManagement 100 StatSN 1: Function complete"]);
    assert!(ladder.session.is_closed());
}

/// RFC 7143 4.2.3.3-8: a set waits for the commands before it; a reset of the target does not.
#[test]
fn a_set_waits_for_commands_that_have_not_come() {
    let mut ladder = Ladder::new(open());
    ladder.cmd_sn = CmdSn(2);
    ladder.i(read(2, 0));
    ladder.i(manage(100, Function::AbortTaskSet)); // CmdSN 3
    ladder.i(read(3, 0)); // after it
    ladder.tells(&[]);
    ladder.i(ScsiCommand { immediate: true, ..read(4, 0) }); // after it too
    ladder.tells(&[]);
    ladder.raw(ScsiCommand { cmd_sn: CmdSn(1), ..read(1, 0) });
    let mut events = ladder.events();
    events[2..4].sort();
    assert_eq!(
        events,
        [
            "Command 1 R 0",
            "Command 2 R 0",
            "Aborted 1",
            "Aborted 2",
            "TaskManagement ABORT TASK SET",
            "Command 3 R 0",
            "Command 4 R 0",
        ]
    );
}

#[test]
fn a_reset_of_the_target_plugs_the_holes_before_it() {
    let mut ladder = Ladder::new(open());
    ladder.cmd_sn = CmdSn(3);
    ladder.i(read(3, 0));
    ladder.i(manage(100, Function::TargetWarmReset));
    ladder.tells(&["Command 3 R 0", "Aborted 3", "TaskManagement TARGET WARM RESET"]);
    ladder.answer(Response::FunctionComplete);
    ladder.sends(&["TaskManagement 100 StatSN 1: Function complete"]);
    assert_eq!(ladder.window, (CmdSn(4), CmdSn(11)));
}

/// RFC 7143 4.2.3.3-7, 11.5.1-6: the data of R2Ts is waited for, and no more is asked for.
#[test]
fn a_set_waits_for_the_data_that_was_asked_for() {
    let mut ladder = Ladder::new(open());
    ladder.i(write(1, 20_000));
    ladder.events();
    ladder.receive(1, 20_000);
    ladder.sends(&["R2T 1 R2TSN 0 0+4096", "R2T 1 R2TSN 1 4096+4096"]);
    ladder.i(manage(100, Function::ClearTaskSet));
    ladder.i(read(2, 0)); // after it
    ladder.i(data_out(1, true, 0, 0, 4096, true));
    ladder.tells(&[]);
    ladder.sends(&[]);
    ladder.i(data_out(1, true, 0, 4096, 0, true)); // cut short
    ladder.tells(&["Aborted 1", "TaskManagement CLEAR TASK SET", "Command 2 R 0"]);
}

/// What the device asks for while its task is being ended never comes.
#[test]
fn a_task_that_is_being_ended_gets_no_data() {
    let mut ladder = Ladder::new(open());
    ladder.i(write(1, 4096));
    ladder.i(ScsiCommand { is_final: false, ..write_immediate(2, 2048, 1024) });
    ladder.i(data_out(2, false, 0, 1024, 1024, true));
    ladder.events();
    ladder.receive(1, 4096);
    ladder.sends(&["R2T 1 R2TSN 0 0+4096"]);
    ladder.i(manage(100, Function::LogicalUnitReset));
    assert_eq!(ladder.receive(2, 2048), DataProgress::Pending);
    ladder.tells(&[]);
    ladder.i(data_out(1, true, 0, 0, 4096, true));
    let mut events = ladder.events();
    events.sort();
    assert_eq!(events, ["Aborted 1", "Aborted 2", "TaskManagement LOGICAL UNIT RESET"]);
}

/// No command beyond the window can have been sent: an absurd CmdSN is not waited for.
#[test]
fn a_set_with_an_absurd_number_does_not_wait() {
    let mut ladder = Ladder::new(open());
    ladder.i(read(1, 0));
    ladder.raw(TaskManagementRequest { cmd_sn: CmdSn(1000), ..manage(100, Function::LogicalUnitReset) });
    ladder.i(read(2, 0));
    ladder.tells(&["Command 1 R 0", "Aborted 1", "TaskManagement LOGICAL UNIT RESET", "Command 2 R 0"]);
}

/// Some initiators send no more data after a reset: they are not waited for very long.
#[test]
fn data_that_never_comes_is_given_up() {
    let mut ladder = Ladder::new(open());
    ladder.i(write(1, 4096));
    ladder.events();
    ladder.receive(1, 4096);
    ladder.sent();
    ladder.i(manage(100, Function::LogicalUnitReset));
    ladder.tells(&[]);
    ladder.pass(1);
    ladder.tells(&["Aborted 1", "TaskManagement LOGICAL UNIT RESET"]);
    ladder.answer(Response::FunctionComplete);
    ladder.sends(&["TaskManagement 100 StatSN 1: Function complete", "NOP-In ping feed"]);
    ladder.i(data_out(1, true, 0, 0, 4096, true));
    ladder.sends(&[]);
}

/// RFC 7143 4.2.3.3-11, 4.2.3.3-13, 11.6.1-2: the response to these two waits until every status before it is acknowledged.
#[test]
fn the_response_of_a_set_waits_for_acknowledgement() {
    for function in [Function::AbortTaskSet, Function::ClearTaskSet] {
        let mut ladder = Ladder::new(open());
        ladder.acknowledges = false;
        ladder.i(read(1, 0));
        ladder.i(read(2, 0));
        ladder.events();
        ladder.complete(1, good());
        ladder.i(manage(100, function));
        ladder.tells(&["Aborted 2", &format!("TaskManagement {function}")]);
        ladder.answer(Response::FunctionComplete);
        ladder.sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0", "NOP-In ping feed"]);
        ladder.i(read(3, 0));
        ladder.events();
        ladder.complete(3, good());
        ladder.sends(&[]);
        // What was never sent cannot be acknowledged.
        ladder.exp_stat_sn = iscsi_pdu::StatSn(3);
        ladder.i(NopOut { immediate: true, ..NopOut::default() });
        ladder.sends(&[]);
        ladder.acknowledges = true;
        ladder.exp_stat_sn = iscsi_pdu::StatSn(2);
        ladder.i(NopOut { immediate: true, target_transfer_tag: Some(PING_TAG), ..NopOut::default() });
        ladder.sends(&["TaskManagement 100 StatSN 2: Function complete", "Response 3 status 00 StatSN 3 ExpDataSN 0"]);
    }
}

#[test]
fn an_initiator_that_never_acknowledges_is_given_up() {
    let mut ladder = Ladder::new(open());
    ladder.acknowledges = false;
    ladder.i(read(1, 0));
    ladder.events();
    ladder.complete(1, good());
    ladder.i(manage(100, Function::AbortTaskSet));
    ladder.pass(25); // long silence before the ping, which does not count against it
    ladder.events();
    ladder.answer(Response::FunctionComplete);
    ladder.sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0", "NOP-In ping feed"]);
    ladder.pass(0);
    ladder.pass(9);
    ladder.tells(&[]);
    ladder.pass(1);
    ladder.tells(&["Closed the peer has gone silent"]);
}

#[test]
fn a_logout_does_not_wait_for_acknowledgement() {
    let mut ladder = Ladder::new(open());
    ladder.acknowledges = false;
    ladder.i(read(1, 0));
    ladder.events();
    ladder.complete(1, good());
    ladder.i(manage(100, Function::AbortTaskSet));
    ladder.events();
    ladder.answer(Response::FunctionComplete);
    ladder.sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0", "NOP-In ping feed"]);
    ladder.i(logout(2, iscsi_pdu::LogoutReason::CloseSession));
    ladder.sends(&["Logout 2 StatSN 2: Connection or session closed successfully"]);
}

/// RFC 7143 4.2.2.1-4, 11.5.1-3: a status that is on its way leaves before the response.
#[test]
fn statuses_that_are_on_their_way_leave_before_the_response() {
    let mut ladder = Ladder::new(open());
    ladder.i(read(1, 10_000));
    ladder.i(read(2, 0));
    ladder.events();
    ladder.complete(1, good_read(10_000));
    ladder.i(manage(100, Function::LogicalUnitReset));
    ladder.tells(&["Aborted 2", "TaskManagement LOGICAL UNIT RESET"]);
    ladder.answer(Response::FunctionComplete);
    ladder.sends(&[
        "Data-In 1 DataSN 0 0+4096 F",
        "Data-In 1 DataSN 1 4096+4096 F",
        "Data-In 1 DataSN 2 8192+1808 F S status 00 StatSN 1",
        "TaskManagement 100 StatSN 2: Function complete",
    ]);
}

#[test]
fn a_stronger_function_overtakes_one_that_waits() {
    let mut ladder = Ladder::new(open());
    ladder.i(write(1, 4096));
    ladder.events();
    ladder.receive(1, 4096);
    ladder.sent();
    ladder.i(manage(100, Function::AbortTaskSet));
    ladder.i(manage(101, Function::TargetWarmReset));
    ladder.tells(&[]);
    ladder.i(data_out(1, true, 0, 0, 4096, true));
    ladder.tells(&["Aborted 1", "TaskManagement ABORT TASK SET", "TaskManagement TARGET WARM RESET"]);
    ladder.answer(Response::FunctionComplete);
    ladder.answer(Response::FunctionComplete);
    ladder.sends(&["TaskManagement 101 StatSN 1: Function complete", "NOP-In ping feed"]);
    ladder.i(NopOut { immediate: true, target_transfer_tag: Some(PING_TAG), ..NopOut::default() });
    ladder.sends(&["TaskManagement 100 StatSN 2: Function complete"]);
}

/// RFC 7143 7.2.2-6, 11.5.1-1: TASK REASSIGN at recovery level 0; even these.
#[test]
fn functions_that_are_not_there() {
    let mut ladder = Ladder::new(open());
    ladder.i(manage(100, Function::TaskReassign));
    ladder.i(manage(101, Function::QueryTask));
    ladder.sends(&[
        "TaskManagement 100 StatSN 1: Task allegiance reassignment not supported",
        "TaskManagement 101 StatSN 2: Task management function not supported",
    ]);
    ladder.i(manage(102, Function::Other(99)));
    ladder.i(manage(103, Function::ClearAca));
    ladder.tells(&["TaskManagement CLEAR ACA"]);
    ladder.answer(Response::FunctionNotSupported);
    ladder.sends(&[
        "TaskManagement 102 StatSN 3: Task management function not supported",
        "TaskManagement 103 StatSN 4: Task management function not supported",
    ]);
}

/// RFC 7144: the functions of protocol level 2.
#[test]
fn tasks_are_asked_for() {
    let mut ladder = Ladder::new(Parameters { protocol_level: 2, ..open() });
    ladder.i(read(1, 0));
    ladder.i(ScsiCommand { lun: OTHER_LUN, ..read(2, 0) });
    ladder.i(read(3, 8));
    ladder.events();
    ladder.complete(3, good_read(8));
    let query =
        |tag, task| TaskManagementRequest { referenced_task_tag: Some(itt(task)), ..manage(tag, Function::QueryTask) };
    let mut asked = |pdu: TaskManagementRequest| {
        ladder.i(pdu);
        ladder.sent().pop().expect("a response").split_once(": ").expect("a result").1.to_owned()
    };
    assert_eq!(asked(query(100, 1)), "Function succeeded");
    assert_eq!(asked(TaskManagementRequest { lun: OTHER_LUN, ..query(101, 1) }), "Function complete");
    assert_eq!(asked(query(102, 3)), "Function complete");
    assert_eq!(asked(query(103, 9)), "Function complete");
    let set = manage(104, Function::QueryTaskSet);
    assert_eq!(asked(set.clone()), "Function succeeded");
    assert_eq!(asked(TaskManagementRequest { lun: LunField([0; 8]), ..set.clone() }), "Function complete");
    ladder.complete(1, good());
    ladder.sent();
    ladder.i(set);
    assert!(ladder.sent()[0].ends_with("Function complete"));
    // The device knows of unit attentions.
    ladder.i(manage(105, Function::QueryAsynchronousEvent));
    ladder.tells(&["TaskManagement QUERY ASYNCHRONOUS EVENT"]);
    ladder.answer(Response::FunctionSucceeded);
    assert!(ladder.sent()[0].ends_with("Function succeeded"));
}

/// RFC 7144: what is reserved below level 2 is neither heard nor said there.
#[test]
fn priorities_and_qualifiers_count_where_they_were_agreed_upon() {
    for (protocol_level, priority, qualifier) in [(2, 5, 0x4001), (1, 0, 0)] {
        let mut ladder = Ladder::new(Parameters { protocol_level, ..open() });
        ladder.i(ScsiCommand { priority: 5, ..read(1, 8) });
        let Some(Event::Command(command)) = ladder.session.poll_event() else { panic!("a command") };
        assert_eq!(command.priority, priority);
        ladder.session.complete(command.task, TaskOutcome { status_qualifier: 0x4001, ..good_read(8) });
        let pdus: Vec<_> = std::iter::from_fn(|| ladder.session.poll_transmit(CID)).collect();
        match &pdus[..] {
            // What a Data-In has no room for comes in a response.
            [Pdu::DataIn(data), Pdu::ScsiResponse(response)] => {
                assert_eq!((data.status, response.status_qualifier), (None, qualifier));
            }
            [Pdu::DataIn(data)] => assert_eq!((data.status.is_some(), qualifier), (true, 0)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_reset_of_the_nexus_ends_all_its_tasks() {
    let mut ladder = Ladder::new(Parameters { protocol_level: 2, ..open() });
    ladder.i(read(1, 0));
    ladder.i(ScsiCommand { lun: OTHER_LUN, ..read(2, 0) });
    ladder.events();
    ladder.i(manage(100, Function::ItNexusReset));
    ladder.tells(&["Aborted 1", "Aborted 2", "TaskManagement I_T NEXUS RESET"]);
    ladder.answer(Response::FunctionComplete);
    ladder.sends(&["TaskManagement 100 StatSN 1: Function complete"]);
}

// RFC 7143 11.5.1-12, 11.5.1-13: by right only, and then nothing ends.
#[test]
fn a_target_is_reset_by_right_alone() {
    let mut ladder = Ladder::start(outcome(open()), SessionConfig::default());
    ladder.i(read(1, 0));
    ladder.events();
    for (tag, function) in [(100, Function::TargetWarmReset), (101, Function::TargetColdReset)] {
        ladder.i(manage(tag, function));
        ladder.tells(&[]);
        assert!(ladder.sent()[0].ends_with("Function authorization failed"));
    }
    ladder.complete(1, good());
    ladder.sends(&["Response 1 status 00 StatSN 3 ExpDataSN 0"]);
}

#[test]
fn a_numbered_function_comes_in_its_turn() {
    let mut ladder = Ladder::new(open());
    ladder.i(read(1, 0));
    ladder.i(TaskManagementRequest { immediate: false, ..manage(100, Function::LogicalUnitReset) });
    ladder.i(read(2, 0));
    ladder.tells(&["Command 1 R 0", "Aborted 1", "TaskManagement LOGICAL UNIT RESET", "Command 2 R 0"]);
    ladder.answer(Response::LunDoesNotExist);
    ladder.sends(&["TaskManagement 100 StatSN 1: LUN does not exist"]);
    assert_eq!(ladder.window, (CmdSn(4), CmdSn(10)));
}

/// RFC 7143 4.2.2.1-5: one immediate function is taken, however many other immediate commands there are.
#[test]
fn functions_are_counted_apart() {
    let mut ladder = Ladder::new(open());
    for tag in 1..=2 {
        ladder.i(ScsiCommand { immediate: true, ..read(tag, 0) });
    }
    for tag in 100..=102 {
        ladder.i(manage(tag, Function::ClearAca));
    }
    ladder.sends(&["Reject StatSN 1: Too many immediate commands, of Task Management Function Request"]);
}
