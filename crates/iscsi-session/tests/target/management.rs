//! Task management (RFC 7143 sections 4.2.3, 11.5 and 11.6).

mod abort;
mod responses;
mod sets;

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
