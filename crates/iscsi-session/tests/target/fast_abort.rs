//! Functions for many tasks where FastAbort was agreed upon (RFC 7143 sections 4.2.3.4 and 4.2.3.5).

use super::ladder::*;
use iscsi_pdu::TaskManagementFunction as Function;
use iscsi_pdu::TaskManagementResponseCode as Response;
use iscsi_pdu::{AsyncEvent, Cid, LunField, NopOut, Pdu, ScsiCommand, Snack, TaskManagementRequest};
use iscsi_session::{Parameters, TaskReporting};

const A: Cid = CID;
const B: Cid = Cid(8);
const OTHER_LUN: LunField = LunField([0, 9, 0, 0, 0, 0, 0, 0]);

fn parameters() -> Parameters {
    let (burst_bytes_max, task_reporting) = (4096, TaskReporting::FastAbort);
    Parameters { max_connections: 3, burst_bytes_max, task_reporting, ..Parameters::default() }
}

/// A session with the connections A and B, of whose writes the first bursts are asked for: 1 on A, 2 and 3 on B, 3 of another unit.
fn writing(parameters: Parameters) -> Ladder {
    let mut ladder = Ladder::new(parameters);
    ladder.add(B);
    ladder.on(A).i(write(1, 8192));
    ladder.on(B).i(write(2, 8192));
    ladder.on(B).i(ScsiCommand { lun: OTHER_LUN, ..write(3, 8192) });
    ladder.events();
    for (tag, cid) in [(1, A), (2, B), (3, B)] {
        let _ = ladder.receive(tag, 8192);
        assert!(matches!(ladder.session.poll_transmit(cid), Some(Pdu::R2t(_))));
    }
    ladder
}

/// The initiator says that no more data follows for tasks of a logical unit.
fn answer(lun: LunField) -> NopOut {
    NopOut { immediate: true, lun, ..NopOut::default() }
}

// RFC 7143 4.2.3.4-1, 4.2.3.4-2, 4.2.3.4-10, 4.2.3.4-11, 4.2.3.4-12, 4.2.3.4-14, 4.2.3.4-15, 4.2.3.4-17, 4.2.3.4-18.
// RFC 7143 10.7-1, 11.9.1-7, 13.23-4, 13.23-5: no data is waited for, and the response comes after what went before elsewhere.
#[test]
fn tasks_end_before_their_data_has_come_and_their_tags_when_that_is_known() {
    let mut ladder = writing(parameters());
    ladder.on(A).i(manage(100, Function::LogicalUnitReset));
    ladder.tells(&["Aborted 1", "Aborted 2", "TaskManagement LOGICAL UNIT RESET"]);
    assert_eq!(ladder.freed(), [1]);
    // Data that was sent before the initiator has heard of it is valid, and of no use.
    ladder.on(B).i(data_out(2, true, 0, 0, 4096, true));
    ladder.answer(Response::FunctionComplete);
    ladder.on(A).sends(&[]);
    let message = ["Async StatSN 1: Task termination 0 0 0", "NOP-In ping fef5"];
    ladder.on(B).sends(&message);
    let [Pdu::AsyncMessage(message), _] = &ladder.last[..] else { panic!("a message and a ping") };
    assert_eq!((message.event, message.lun), (AsyncEvent::TaskTermination, LUN));
    ladder.on(B).i(answer(LUN));
    ladder.tells(&[]);
    assert_eq!(ladder.freed(), [2]);
    ladder.on(A).sends(&["TaskManagement 100 StatSN 1: Function complete", "NOP-In ping feed"]);
    // The write of another unit goes on.
    ladder.on(B).i(ScsiCommand { lun: OTHER_LUN, ..write(9, 0) });
    ladder.tells(&["Command 9 W 0"]);
}

// RFC 7143 4.2.3.4-8
#[test]
fn a_message_acknowledges_no_later_command_whenever_it_leaves() {
    let mut ladder = writing(Parameters { error_recovery_level: 1, ..parameters() });
    let later = ladder.cmd_sn;
    ladder.on(A).raw(TaskManagementRequest { cmd_sn: later.next(), ..manage(100, Function::LogicalUnitReset) });
    ladder.tells(&[]);
    ladder.on(B).i(read(4, 0));
    ladder.on(B).i(read(5, 0));
    ladder.tells(&[
        "Command 4 R 0",
        "Aborted 1",
        "Aborted 2",
        "Aborted 4",
        "TaskManagement LOGICAL UNIT RESET",
        "Command 5 R 0",
    ]);
    assert_eq!(ladder.freed(), [1]);
    let message = |pdu: Option<Pdu>| match pdu {
        Some(Pdu::AsyncMessage(message)) => message,
        other => panic!("{other:?}"),
    };
    let first = message(ladder.session.poll_transmit(B));
    assert_eq!(first.exp_cmd_sn, later.next(), "command 5 is not among them");
    // Nor if it has to be sent again.
    ladder.on(B).raw(Snack::status(first.stat_sn, 1));
    let again = std::iter::from_fn(|| ladder.session.poll_transmit(B));
    assert!(again.into_iter().any(|pdu| pdu == Pdu::AsyncMessage(first.clone())));
    ladder.on(B).i(answer(OTHER_LUN));
    ladder.tells(&[]);
    assert_eq!(ladder.freed(), []);
    ladder.on(B).exp_stat_sn = first.stat_sn.next();
    ladder.on(B).i(answer(LUN));
    ladder.tells(&[]);
    assert_eq!(ladder.freed(), [2]);
}

#[test]
fn a_tag_whose_message_is_not_answered_goes_back_with_its_connection() {
    let mut ladder = writing(parameters());
    ladder.on(A).i(manage(100, Function::LogicalUnitReset));
    ladder.events();
    ladder.on(B).sent();
    assert_eq!(ladder.freed(), [1]);
    ladder.lose(B);
    ladder.events();
    assert!(ladder.freed().contains(&2));
}

// RFC 7143 4.2.3.4-13
#[test]
fn each_unit_has_its_message() {
    let mut ladder = writing(parameters());
    ladder.on(A).i(manage(100, Function::TargetWarmReset));
    ladder.tells(&["Aborted 1", "Aborted 2", "Aborted 3", "TaskManagement TARGET WARM RESET"]);
    assert_eq!(ladder.freed(), [1]);
    ladder.on(B).sent();
    let luns: Vec<_> = ladder
        .last
        .iter()
        .filter_map(|pdu| match pdu {
            Pdu::AsyncMessage(message) => Some(message.lun),
            _ => None,
        })
        .collect();
    assert_eq!(luns, [LUN, OTHER_LUN]);
    ladder.on(B).i(answer(OTHER_LUN));
    ladder.tells(&[]);
    assert_eq!(ladder.freed(), [3]);
    ladder.on(B).i(answer(LUN));
    ladder.tells(&[]);
    assert_eq!(ladder.freed(), [2]);
}

// RFC 7143 4.2.3.4-9, 4.2.3.5-1, 4.2.3.5-2, 4.2.3.5-3, 11.9.1-7: where it was not agreed upon nothing is sent.
#[test]
fn tasks_that_another_session_has_ended_are_told_of_where_that_was_agreed_upon() {
    let mut ladder = writing(parameters());
    ladder.session.terminate_tasks(LUN, None);
    ladder.tells(&["Aborted 1", "Aborted 2"]);
    for (cid, tag) in [(A, 1), (B, 2)] {
        assert_eq!(ladder.on(cid).sent()[0], "Async StatSN 1: Task termination 0 0 0");
        ladder.on(cid).i(answer(LUN));
        ladder.tells(&[]);
        assert_eq!(ladder.freed(), [tag]);
    }
    let mut ladder = writing(Parameters { task_reporting: TaskReporting::ResponseFence, ..parameters() });
    ladder.session.terminate_tasks(LUN, None);
    ladder.tells(&[]);
    ladder.on(A).sends(&[]);
}

// RFC 7143 4.2.3.4-9, 4.2.3.5-3, 4.2.3.6-1
#[test]
fn the_command_that_is_told_of_a_reset_goes_on_with_its_data() {
    for immediate in [false, true] {
        let mut ladder = writing(Parameters { initial_r2t: false, ..parameters() });
        ladder.on(A).sent();
        ladder.on(B).sent();
        let told = ladder.cmd_sn;
        ladder.on(B).i(ScsiCommand { is_final: false, immediate, ..write_immediate(4, 8192, 1024) });
        ladder.tells(&["Command 4 W 8192 immediate 1024"]);
        ladder.session.complete_fenced(ladder.tasks[&4], check_condition());
        ladder.session.terminate_tasks(LUN, Some(ladder.tasks[&4]));
        ladder.tells(&["Aborted 1", "Aborted 2"]);
        for cid in [A, B] {
            let Some(Pdu::AsyncMessage(message)) = ladder.session.poll_transmit(cid) else { panic!("a message") };
            assert_eq!((message.event, message.exp_cmd_sn), (AsyncEvent::TaskTermination, told));
            ladder.on(cid).exp_stat_sn = message.stat_sn.next();
            ladder.i(answer(LUN));
        }
        assert!(!ladder.on(B).sent().iter().any(|line| line.starts_with("Response 4")), "its data has not come");
        ladder.i(data_out(4, false, 0, 1024, 7168, true));
        assert!(ladder.sent().iter().any(|line| line.starts_with("Response 4 status 02")), "{:?}", ladder.last);
    }
}
