//! Tags of writes that were ended while their data was under way: none is free before its data has come or the initiator knows.

use super::ladder::*;
use iscsi_pdu::{
    NopOut, TaskManagementFunction as Function, TaskManagementRequest, TaskManagementResponseCode as Response,
};
use iscsi_session::{CloseReason, Parameters, Violation};

fn parameters() -> Parameters {
    Parameters { burst_bytes_max: 4096, ..Parameters::default() }
}

/// RFC 7143 11.5.1: data of an aborted task may come until the initiator knows, which its answer to a ping shows.
#[test]
fn the_tag_of_an_aborted_task_is_free_when_the_initiator_knows() {
    let mut ladder = Ladder::new(parameters());
    ladder.i(write(1, 8192));
    ladder.events();
    let _ = ladder.receive(1, 8192);
    ladder.sent();
    ladder.i(TaskManagementRequest { referenced_task_tag: Some(itt(1)), ..manage(100, Function::AbortTask) });
    ladder.tells(&["Aborted 1", "TaskManagement ABORT TASK"]);
    ladder.answer(Response::FunctionComplete);
    ladder.sends(&["TaskManagement 100 StatSN 1: Function complete", "NOP-In ping feed"]);
    ladder.i(data_out(1, true, 0, 0, 2048, false));
    ladder.tells(&[]);
    assert_eq!(ladder.freed(), []);
    ladder.i(NopOut { immediate: true, target_transfer_tag: Some(PING_TAG), ..NopOut::default() });
    ladder.tells(&[]);
    assert_eq!(ladder.freed(), [1]);
}

/// Writes of which data was asked for and that another session has ended, one after the other.
pub(super) fn abandon(ladder: &mut Ladder, tags: std::ops::RangeInclusive<u32>) {
    for tag in tags {
        ladder.i(write(tag, 8192));
        ladder.events();
        let _ = ladder.receive(tag, 8192);
        ladder.sent();
        ladder.session.discard(ladder.tasks[&tag]);
    }
}

/// RFC 7143 4.2.3.3: whoever does not know of the end sends what was asked for.
#[test]
fn the_tag_of_a_task_that_was_ended_is_free_when_its_data_has_come() {
    for level in [0, 1] {
        let mut ladder =
            Ladder::new(Parameters { outstanding_r2t_max: 2, error_recovery_level: level, ..parameters() });
        abandon(&mut ladder, 1..=200);
        ladder.tells(&[]);
        assert_eq!(ladder.freed(), []);
        for (offset, length, is_final, freed) in
            [(0, 4096, true, &[][..]), (4096, 2048, false, &[]), (6144, 2048, true, &[1])]
        {
            ladder.i(data_out(1, true, offset / 2048 % 2, offset, length, is_final));
            ladder.tells(&[]);
            assert_eq!(ladder.freed(), freed);
        }
    }
}

#[test]
fn no_tag_is_free_early_and_no_command_begins_where_too_much_data_does_not_come() {
    let mut ladder = Ladder::new(parameters());
    abandon(&mut ladder, 1..=1025);
    ladder.tells(&[]);
    assert_eq!(ladder.freed(), []);
    ladder.i(read(2000, 0));
    let closed = format!("Closed {}", CloseReason::Violation(Violation::DataWithheld));
    ladder.tells(&[&closed]);
    assert_eq!(ladder.freed().len(), 1025);
}

#[test]
fn the_tag_of_a_write_that_has_failed_is_free_when_all_that_was_asked_for_has_come() {
    let mut ladder = Ladder::new(Parameters { outstanding_r2t_max: 2, ..parameters() });
    ladder.i(write(1, 8192));
    ladder.events();
    let _ = ladder.receive(1, 8192);
    assert_eq!(ladder.sent().len(), 2);
    // A DataSN that is not the next.
    ladder.i(data_out(1, true, 3, 0, 4096, true));
    ladder.tells(&["Aborted 1"]);
    ladder.sends(&[]);
    ladder.i(data_out(1, true, 0, 4096, 4096, true));
    ladder.tells(&[]);
    assert_eq!(ladder.freed(), [1]);
    ladder.sends(&["Response 1 status 02 StatSN 1 ExpDataSN 0 underflow 8192 sense b/47/05"]);
    // One that has not been asked for is free at once.
    ladder.i(write(2, 8192));
    ladder.events();
    let _ = ladder.receive(2, 8192);
    ladder.complete(2, good());
    ladder.tells(&[]);
    assert_eq!(ladder.freed(), [2]);
}

#[test]
fn commands_begin_again_when_the_data_has_come_after_all() {
    let mut ladder = Ladder::new(parameters());
    abandon(&mut ladder, 1..=1025);
    for tag in 1..=1025 {
        ladder.i(data_out(tag, true, 0, 0, 4096, true));
    }
    ladder.tells(&[]);
    assert_eq!(ladder.freed().len(), 1025);
    ladder.i(read(2000, 0));
    ladder.tells(&["Command 2000 R 0"]);
}

/// RFC 7143 11.6.1: whoever is told that a task does not exist sends nothing more for it.
#[test]
fn the_tag_of_a_task_that_another_session_has_ended_is_free_when_it_was_aborted_in_vain() {
    let mut ladder = Ladder::new(parameters());
    abandon(&mut ladder, 1..=1);
    ladder.i(TaskManagementRequest { referenced_task_tag: Some(itt(1)), ..manage(100, Function::AbortTask) });
    ladder.sends(&["TaskManagement 100 StatSN 1: Task does not exist", "NOP-In ping feed"]);
    ladder.tells(&[]);
    assert_eq!(ladder.freed(), []);
    ladder.i(NopOut { immediate: true, target_transfer_tag: Some(PING_TAG), ..NopOut::default() });
    ladder.tells(&[]);
    assert_eq!(ladder.freed(), [1]);
}
