//! What RFC 7144 adds: command priority, status qualifiers, and four task management functions.

use super::*;
use crate::initiator::TaskManagement;
use iscsi_pdu::TaskManagementFunction as Function;
use iscsi_pdu::TaskManagementResponseCode as Code;

const FUNCTIONS: [Function; 4] =
    [Function::QueryTask, Function::QueryTaskSet, Function::ItNexusReset, Function::QueryAsynchronousEvent];

fn bench(protocol_level: u8) -> Bench {
    Bench::new(Parameters { protocol_level, ..Parameters::default() })
}

fn ask(bench: &mut Bench, function: Function, referenced: Option<u32>) {
    let asked = TaskManagement { function, lun: LunField::default(), referenced: referenced.map(tag) };
    bench.session.manage_task(bench.now, CID, tag(9), asked);
}

#[test]
fn priorities_and_qualifiers_count_where_they_were_agreed_upon() {
    for (level, priority, expected, qualifier) in [(2, 3, 3, 0x4001), (2, 99, 15, 0x4001), (1, 3, 0, 0)] {
        let mut bench = bench(level);
        bench.submit(1, Command { priority, ..read(0) });
        let [Pdu::ScsiCommand(command)] = &bench.sent()[..] else { panic!("a command") };
        assert_eq!(command.priority, expected);
        let response = bench.response(1);
        bench.take(ScsiResponse { status: 8, status_qualifier: 0x4001, ..response });
        let [Event::TaskComplete { result, .. }] = &bench.events()[..] else { panic!("an end") };
        assert_eq!((result.status, result.status_qualifier), (8, qualifier));
    }
}

#[test]
fn functions_are_asked_for_where_they_were_agreed_upon() {
    for function in FUNCTIONS {
        let mut bench = bench(1);
        bench.submit(1, read(8));
        bench.sent();
        ask(&mut bench, function, Some(1));
        assert_eq!(bench.sent(), []);
        let (tag, response, additional_information) = (tag(9), Code::FunctionNotSupported, [0; 3]);
        assert_eq!(bench.events(), [Event::TaskManagementComplete { tag, response, additional_information }]);
    }
}

#[test]
fn an_event_comes_with_what_it_is() {
    let mut bench = bench(2);
    ask(&mut bench, Function::QueryAsynchronousEvent, None);
    assert_eq!(bench.sent().len(), 1);
    let (tag, response, additional_information) = (tag(9), Code::FunctionSucceeded, [0x16, 0x29, 0x07]);
    let stat_sn = bench.status();
    let (exp_cmd_sn, max_cmd_sn) = (bench.exp_cmd_sn, bench.max_cmd_sn);
    bench.take(TaskManagementResponse {
        response,
        additional_information,
        initiator_task_tag: tag,
        stat_sn,
        exp_cmd_sn,
        max_cmd_sn,
    });
    assert_eq!(bench.events(), [Event::TaskManagementComplete { tag, response, additional_information }]);
}

#[test]
fn a_task_is_asked_for_behind_its_command_and_by_its_unit() {
    let mut bench = Bench::new(Parameters { protocol_level: 2, max_connections: 2, ..Parameters::default() });
    bench.join(Cid(8)).on(CID);
    bench.session.submit(bench.now, Cid(8), tag(1), read(8)).unwrap();
    ask(&mut bench, Function::QueryTask, Some(1));
    assert_eq!(bench.sent(), [], "not on the connection that was named");
    let [Pdu::ScsiCommand(command), Pdu::TaskManagementRequest(query)] = &bench.on(Cid(8)).sent()[..] else {
        panic!("a command and a query")
    };
    assert_eq!((query.lun, query.referenced_task_tag, query.ref_cmd_sn), (LUN, Some(tag(1)), command.cmd_sn));
}

#[test]
fn a_task_that_has_ended_is_not_asked_for() {
    let mut bench = bench(2);
    ask(&mut bench, Function::QueryTask, Some(1));
    assert_eq!(bench.sent(), []);
    let (tag, response, additional_information) = (tag(9), Code::FunctionComplete, [0; 3]);
    assert_eq!(bench.events(), [Event::TaskManagementComplete { tag, response, additional_information }]);
}
