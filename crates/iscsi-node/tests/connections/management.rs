//! Task management functions: those of RFC 7144, which are about the nexus, and those that end tasks of other sessions.

use super::status_of;
use crate::bench::{Bench, Peer};
use crate::disk::BLOCK;
use bytes::Bytes;
use iscsi_node::target::Event;
use iscsi_pdu::{
    CmdSn, InitiatorTaskTag, LunField, Pdu, TaskManagementFunction as Function, TaskManagementRequest,
    TaskManagementResponseCode as Response,
};
use iscsi_session::Limits;
use scsi_block::cdb::Cdb;
use std::time::Duration;

fn ask(bench: &Bench, peer: &mut Peer, function: Function, lun: u8) {
    let request = TaskManagementRequest {
        immediate: true,
        function,
        lun: LunField([0, lun, 0, 0, 0, 0, 0, 0]),
        initiator_task_tag: InitiatorTaskTag(8),
        referenced_task_tag: None,
        cmd_sn: bench.cmd_sn,
        exp_stat_sn: peer.exp_stat_sn(),
        ref_cmd_sn: CmdSn(0),
        exp_data_sn: 0,
    };
    peer.send(request);
}

fn manage(bench: &mut Bench, peer: &mut Peer, function: Function, lun: u8) -> Response {
    ask(bench, peer, function, lun);
    match &bench.answers(peer)[..] {
        [Pdu::TaskManagementResponse(response)] => response.response,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_nexus_that_was_reset_is_told_and_can_ask_for_that() {
    let mut bench = Bench::with_limits(Limits { protocol_level_max: 2, ..Limits::default() });
    let [mut peer] = bench.session([1]);
    let query = Function::QueryAsynchronousEvent;
    assert_eq!(manage(&mut bench, &mut peer, query, 0), Response::FunctionComplete);
    assert_eq!(manage(&mut bench, &mut peer, query, 9), Response::LunDoesNotExist);
    assert_eq!(manage(&mut bench, &mut peer, Function::ItNexusReset, 0), Response::FunctionComplete);
    ask(&bench, &mut peer, query, 0);
    let [Pdu::TaskManagementResponse(response)] = &bench.answers(&mut peer)[..] else { panic!("a response") };
    assert_eq!(response.response, Response::FunctionSucceeded);
    // SAM-5 7.9: one condition, of sense key 6h, 29h/07h.
    assert_eq!(response.additional_information, [0x16, 0x29, 0x07]);
    bench.command(&mut peer, &Cdb::test_unit_ready(), 0, Bytes::new());
    assert_eq!(status_of(&bench.answers(&mut peer)), (2, Some([0x29, 0x07])));
    assert_eq!(manage(&mut bench, &mut peer, query, 0), Response::FunctionComplete);
}

#[test]
fn functions_of_another_level_are_not_supported() {
    let mut bench = Bench::with_limits(Limits { protocol_level_max: 1, ..Limits::default() });
    let [mut peer] = bench.session([1]);
    for function in [Function::ItNexusReset, Function::QueryAsynchronousEvent] {
        assert_eq!(manage(&mut bench, &mut peer, function, 0), Response::FunctionNotSupported);
    }
}

// RFC 7143 4.2.3.3-9, 4.2.3.3-10, 4.2.3.3-13.
/// SAM-5 7.1: no write of another session may land after the answer, whatever core it is on.
#[test]
fn a_reset_waits_for_what_other_sessions_have_in_the_store() {
    let mut bench = Bench::new(1);
    let mut other = bench.another_core();
    let ([mut peer], [mut writer]) = (bench.session([1]), other.session([1]));
    other.held = Some(Vec::new());
    other.command(&mut writer, &Cdb::write_10(0, 1), BLOCK, Bytes::from(vec![7; BLOCK]));
    other.turn(writer.id);
    ask(&bench, &mut peer, Function::LogicalUnitReset, 0);
    assert_eq!(bench.answers(&mut peer), []);
    let look = bench.target.poll_timeout().expect("it is looked again");
    assert!(look <= bench.now + Duration::from_millis(1));
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.answers(&mut peer), []);
    // New commands of others are not waited for: the first of them is told, the second goes to the store.
    let written = other.held.replace(Vec::new()).expect("it holds");
    other.command(&mut writer, &Cdb::read_10(0, 1), BLOCK, Bytes::new());
    other.command(&mut writer, &Cdb::read_10(0, 1), BLOCK, Bytes::new());
    assert_eq!(other.answers(&mut writer).len(), 1);
    written.into_iter().for_each(|request| other.answer(request));
    bench.pass(Duration::from_millis(1));
    let answers = bench.answers(&mut peer);
    let [Pdu::TaskManagementResponse(response)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(response.response, Response::FunctionComplete);
    assert_eq!(other.held.as_ref().map(Vec::len), Some(1));
}

// RFC 7143 11.5.1-14, 11.6.1-1.
/// The sessions end when the reset was answered, and not while it waits for block I/O.
#[test]
fn a_cold_reset_ends_the_sessions_when_it_was_answered() {
    let mut bench = Bench::new(1);
    let mut other = bench.another_core();
    let ([mut peer], [mut writer]) = (bench.session([1]), other.session([1]));
    other.held = Some(Vec::new());
    other.command(&mut writer, &Cdb::write_10(0, 1), BLOCK, Bytes::from(vec![7; BLOCK]));
    other.turn(writer.id);
    ask(&bench, &mut peer, Function::TargetColdReset, 0);
    assert_eq!(bench.answers(&mut peer), []);
    let is_told =
        |bench: &Bench| bench.events.iter().any(|event| matches!(event, Event::TargetColdReset { target: 0 }));
    assert!(!is_told(&bench));
    other.release();
    bench.pass(Duration::from_millis(1));
    assert!(matches!(&bench.answers(&mut peer)[..], [Pdu::TaskManagementResponse(_)]));
    assert!(is_told(&bench));
}

// RFC 7143 4.2.3.3-12, 4.2.3.6-1.
/// RFC 7143 sections 4.2.2.3.4 a and 4.2.3.3 e.
#[test]
fn a_unit_attention_about_a_reset_does_not_overtake_statuses_of_other_connections() {
    for response_fence in [true, false] {
        let mut bench = Bench::with_limits(Limits { max_connections: 2, response_fence, ..Limits::default() });
        let mut other = bench.another_core();
        let ([mut one, mut two], [mut resetter]) = (bench.session([1, 2]), other.session([1]));
        assert_eq!(manage(&mut other, &mut resetter, Function::LogicalUnitReset, 0), Response::FunctionComplete);
        let statuses = |pdus: &[Pdu]| pdus.iter().filter(|pdu| matches!(pdu, Pdu::ScsiResponse(_))).count();
        bench.command(&mut one, &Cdb::test_unit_ready(), 0, Bytes::new());
        let told = bench.answers(&mut one);
        assert!(told.iter().any(|pdu| matches!(pdu, Pdu::ScsiResponse(response) if response.data[14] == 0x29)));
        bench.command(&mut two, &Cdb::test_unit_ready(), 0, Bytes::new());
        assert_eq!(statuses(&bench.answers(&mut two)), 0);
        // What comes next on its connection acknowledges it.
        bench.command(&mut one, &Cdb::test_unit_ready(), 0, Bytes::new());
        assert_eq!(statuses(&bench.answers(&mut one)), 1);
        assert_eq!(statuses(&bench.answers(&mut two)), 1);
    }
}
