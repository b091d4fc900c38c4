//! Task management functions, and what they end.

use super::*;
use crate::initiator::TaskManagement;
use iscsi_pdu::TaskManagementFunction as Function;
use iscsi_pdu::TaskManagementResponseCode as Code;

const NONE: [u32; 0] = [];
const OTHER_LUN: LunField = LunField([0, 4, 0, 0, 0, 0, 0, 0]);

fn manage(bench: &mut Bench, number: u32, function: Function, referenced: Option<u32>) {
    let asked = TaskManagement { function, lun: LUN, referenced: referenced.map(tag) };
    bench.session.manage_task(bench.now, CID, tag(number), asked);
}

fn answer(bench: &mut Bench, number: u32, response: Code) {
    let stat_sn = bench.status();
    bench.take(TaskManagementResponse {
        additional_information: [0; 3],
        response,
        initiator_task_tag: tag(number),
        stat_sn,
        exp_cmd_sn: bench.exp_cmd_sn,
        max_cmd_sn: bench.max_cmd_sn,
    });
}

/// Tags 1 and 2 to one logical unit, 3 to another, and 4 to the first after the function (tag 9) was sent.
fn around(function: Function, referenced: Option<u32>) -> (Bench, TaskManagementRequest) {
    let mut bench = Bench::new(Parameters { protocol_level: 2, ..Parameters::default() });
    bench.submit(1, read(8));
    bench.submit(2, read(8));
    bench.submit(3, Command { lun: OTHER_LUN, ..read(8) });
    bench.sent();
    manage(&mut bench, 9, function, referenced);
    let mut sent = bench.sent();
    let Some(Pdu::TaskManagementRequest(request)) = sent.pop() else { panic!("a request, not {sent:?}") };
    bench.submit(4, read(8));
    bench.sent();
    (bench, request)
}

/// The tags that the function ends, when it completes.
fn aborted(function: Function, referenced: Option<u32>, response: Code) -> Vec<u32> {
    let (mut bench, _) = around(function, referenced);
    answer(&mut bench, 9, response);
    let mut events = bench.events();
    assert_eq!(
        events.pop(),
        Some(Event::TaskManagementComplete { tag: tag(9), response, additional_information: [0; 3] })
    );
    events
        .into_iter()
        .map(|event| if let Event::TaskAborted { tag } = event { tag.0 } else { panic!("{event:?}") })
        .collect()
}

// RFC 7143 4.2.2.1-1, 4.2.2.1-2, 11.5.1-8, 11.5.1-19, 11.5.4-1, 11.5.5-2: the number of the next command.
#[test]
fn requests_carry_what_the_function_needs() {
    let (_, request) = around(Function::AbortTask, Some(2));
    assert!(request.immediate);
    assert_eq!(request.referenced_task_tag, Some(tag(2)));
    // RFC 7143 11.5.5.
    assert_eq!((request.ref_cmd_sn, request.cmd_sn), (FIRST_CMD_SN.next(), FIRST_CMD_SN.advanced_by(3)));
    for referenced in [None, Some(2)] {
        let (_, request) = around(Function::LogicalUnitReset, referenced);
        assert_eq!((request.referenced_task_tag, request.ref_cmd_sn, request.lun), (None, CmdSn(0), LUN));
    }
}

// RFC 7143 4.2.3.3-5.
#[test]
fn each_function_ends_the_commands_before_it_in_its_scope() {
    let done = Code::FunctionComplete;
    assert_eq!(aborted(Function::AbortTask, Some(2), done), [2]);
    assert_eq!(aborted(Function::AbortTaskSet, None, done), [1, 2]);
    assert_eq!(aborted(Function::ClearTaskSet, None, done), [1, 2]);
    assert_eq!(aborted(Function::LogicalUnitReset, None, done), [1, 2]);
    assert_eq!(aborted(Function::TargetWarmReset, None, done), [1, 2, 3]);
    assert_eq!(aborted(Function::TargetColdReset, None, done), [1, 2, 3]);
    assert_eq!(aborted(Function::ItNexusReset, None, done), [1, 2, 3]);
    assert_eq!(aborted(Function::ClearAca, None, done), NONE);
    assert_eq!(aborted(Function::QueryTask, Some(2), Code::FunctionSucceeded), NONE);
}

#[test]
fn a_function_that_fails_ends_nothing() {
    for response in [Code::LunDoesNotExist, Code::FunctionNotSupported, Code::FunctionRejected, Code::Other(99)] {
        assert_eq!(aborted(Function::AbortTaskSet, None, response), NONE);
        assert_eq!(aborted(Function::AbortTask, Some(1), response), NONE);
    }
    assert_eq!(aborted(Function::AbortTaskSet, None, Code::TaskDoesNotExist), NONE);
}

#[test]
fn a_task_that_the_target_does_not_know_is_over() {
    assert_eq!(aborted(Function::AbortTask, Some(2), Code::TaskDoesNotExist), [2]);
}

// RFC 7143 4.2.3.3-3, 4.2.3.3-4.
#[test]
fn a_response_before_that_of_the_function_counts() {
    let (mut bench, _) = around(Function::AbortTask, Some(2));
    let response = bench.response(2);
    bench.take(response);
    answer(&mut bench, 9, Code::TaskDoesNotExist);
    let events = bench.events();
    let [Event::TaskComplete { tag: of, .. }, Event::TaskManagementComplete { .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(*of, tag(2));
}

// RFC 7143 4.2.3.3-6, 11.5.1-2: in silence.
#[test]
fn what_comes_late_for_an_aborted_task_is_discarded() {
    let (mut bench, _) = around(Function::AbortTaskSet, None);
    answer(&mut bench, 9, Code::FunctionComplete);
    assert_eq!(bench.events().len(), 3);
    bench.take(bench.data_in(1, 0, 0, pattern(8)));
    bench.take(bench.r2t(2, 0, 0, 8));
    let response = bench.response(1);
    bench.take(response);
    assert_eq!((bench.events(), bench.session.is_closed()), (vec![], false));
    // Its status was counted, and the session goes on.
    let response = bench.response(4);
    bench.take(response);
    assert!(matches!(bench.events()[..], [Event::TaskComplete { .. }]));
}

// RFC 7143 4.2.3.3-2, 11.5.1-4.
#[test]
fn r2ts_are_answered_until_the_function_completes() {
    let mut bench = Bench::new(Parameters { immediate_data: false, ..Parameters::default() });
    bench.submit(1, write(512));
    bench.sent();
    manage(&mut bench, 9, Function::AbortTaskSet, None);
    bench.sent();
    // RFC 7143 4.2.3.3.
    bench.take(bench.r2t(1, 0, 0, 512));
    assert!(matches!(&bench.sent()[..], [Pdu::DataOut(pdu)] if pdu.is_final));
}

#[test]
fn data_of_an_aborted_write_stops() {
    let mut bench = Bench::new(Parameters { immediate_data: false, ..Parameters::default() });
    bench.submit(1, write(65536));
    bench.sent();
    bench.take(bench.r2t(1, 0, 0, 65536));
    assert!(bench.session.poll_transmit(CID).is_some());
    manage(&mut bench, 9, Function::AbortTask, Some(1));
    assert!(matches!(bench.session.poll_transmit(CID), Some(Pdu::TaskManagementRequest(_))));
    answer(&mut bench, 9, Code::FunctionComplete);
    assert_eq!(bench.sent(), []);
}

#[test]
fn aborting_what_has_ended_is_answered_at_once() {
    let mut bench = Bench::new(Parameters::default());
    for referenced in [Some(7), None] {
        manage(&mut bench, 9, Function::AbortTask, referenced);
        let response = Code::TaskDoesNotExist;
        assert_eq!(
            bench.events(),
            [Event::TaskManagementComplete { tag: tag(9), response, additional_information: [0; 3] }]
        );
    }
    assert_eq!(bench.sent(), []);
}

// RFC 7143 4.2.2.1-7.
#[test]
fn a_function_follows_the_commands_that_wait_before_it() {
    let mut bench = Bench::new(Parameters::default());
    bench.submit(1, read(8));
    manage(&mut bench, 9, Function::AbortTask, Some(1));
    let sent = bench.sent();
    let [Pdu::ScsiCommand(command), Pdu::TaskManagementRequest(request)] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((request.ref_cmd_sn, request.cmd_sn), (command.cmd_sn, command.cmd_sn.next()));
}
