//! Functions that end the tasks of a set, a logical unit, a nexus or a target: what they wait for and what they end.

use super::*;

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
