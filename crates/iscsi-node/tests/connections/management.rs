//! Task management functions: those of RFC 7144, which are about the nexus, and those that end tasks of other sessions.

use super::status_of;
use crate::bench::{Bench, Peer};
use crate::disk::BLOCK;
use bytes::Bytes;
use iscsi_node::target::Event;
use iscsi_pdu::{
    AsyncEvent, CmdSn, DataOut, InitiatorTaskTag, LunField, NopOut, Pdu, TaskManagementFunction as Function,
    TaskManagementRequest, TaskManagementResponseCode as Response,
};
use iscsi_session::{Limits, TaskReporting};
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

// RFC 7143 10.2-2: a command that asks for it makes an auto contingent allegiance when it fails.
#[test]
fn an_allegiance_keeps_tasks_back_until_it_is_cleared() {
    let mut bench = Bench::new(1);
    let [mut peer] = bench.session([1]);
    let data = Bytes::from(vec![7; BLOCK]);
    let write = bench.write_command(&mut peer, &Cdb::write_10(0, 1), BLOCK);
    let answers = bench.answers(&mut peer);
    let [Pdu::R2t(r2t)] = &answers[..] else { panic!("{answers:?}") };
    bench.command(&mut peer, &Cdb::read_10(u32::MAX, 1).with_allegiance(), BLOCK, Bytes::new());
    assert_eq!(status_of(&bench.answers(&mut peer)).0, 0x02);
    bench.command(&mut peer, &Cdb::test_unit_ready(), 0, Bytes::new());
    assert_eq!(status_of(&bench.answers(&mut peer)).0, 0x30, "ACA ACTIVE");
    peer.send(DataOut {
        is_final: true,
        initiator_task_tag: write,
        target_transfer_tag: Some(r2t.target_transfer_tag),
        exp_stat_sn: peer.exp_stat_sn(),
        data: data.clone(),
        ..DataOut::default()
    });
    assert_eq!(bench.answers(&mut peer), [], "the write waits");
    ask(&bench, &mut peer, Function::ClearAca, 0);
    let answers = bench.answers(&mut peer);
    let is_function = |pdu: &Pdu| matches!(pdu, Pdu::TaskManagementResponse(_));
    let (function, written): (Vec<_>, Vec<_>) = answers.into_iter().partition(is_function);
    let [Pdu::TaskManagementResponse(response)] = &function[..] else { panic!("{function:?}") };
    assert_eq!(response.response, Response::FunctionComplete);
    assert_eq!(status_of(&written).0, 0);
    assert_eq!(bench.disk[..BLOCK], data[..]);
    assert_eq!(manage(&mut bench, &mut peer, Function::ClearAca, 9), Response::LunDoesNotExist);
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
    let mut bench = Bench::with_limits(Limits { task_reporting: TaskReporting::Rfc3720, ..Limits::default() });
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

// RFC 7143 11.6.1-1.
/// The response waits for the acknowledgement of a status on another connection, which breaks. Then nothing else happens.
#[test]
fn a_cold_reset_ends_the_session_when_the_connection_is_lost_that_its_response_has_waited_for() {
    let mut bench = Bench::new(2);
    let [mut one, mut two] = bench.session([1, 2]);
    bench.command(&mut one, &Cdb::test_unit_ready(), 0, Bytes::new());
    assert_eq!(status_of(&bench.answers(&mut one)).0, 0);
    ask(&bench, &mut two, Function::TargetColdReset, 0);
    assert!(!bench.answers(&mut two).iter().any(|pdu| matches!(pdu, Pdu::TaskManagementResponse(_))));
    let lost = one.id;
    drop(one);
    bench.turn(lost);
    assert!(two.receive().iter().any(|pdu| matches!(pdu, Pdu::TaskManagementResponse(_))));
    assert!(bench.events.iter().any(|event| matches!(event, Event::TargetColdReset { target: 0 })));
    assert!(two.is_closed());
}

// RFC 7143 4.2.2.3.4-2, 4.2.3.3-12, 4.2.3.4-16, 4.2.3.6-1.
/// RFC 7143 sections 4.2.2.3.4 a and 4.2.3.3 e.
#[test]
fn a_unit_attention_about_a_reset_does_not_overtake_statuses_of_other_connections() {
    for task_reporting in [TaskReporting::ResponseFence, TaskReporting::Rfc3720] {
        let mut bench = Bench::with_limits(Limits { max_connections: 2, task_reporting, ..Limits::default() });
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

// RFC 7143 4.2.3.4-9, 4.2.3.5-1, 4.2.3.5-2, 4.2.3.5-3
/// Tasks that a reset of another session has ended are told of where FastAbort was agreed upon, and the unit attention comes after.
#[test]
fn tasks_of_other_sessions_are_told_to_have_ended() {
    for task_reporting in [TaskReporting::FastAbort, TaskReporting::ResponseFence] {
        let mut bench = Bench::with_limits(Limits { task_reporting, ..Limits::default() });
        let mut other = bench.another_core();
        let ([mut peer], [mut reader]) = (bench.session([1]), other.session([1]));
        other.held = Some(Vec::new());
        for lba in 0..2 {
            other.command(&mut reader, &Cdb::read_10(lba, 1), BLOCK, Bytes::new());
        }
        other.turn(reader.id);
        ask(&bench, &mut peer, Function::LogicalUnitReset, 0);
        bench.answers(&mut peer);
        // The first of them comes back from the store.
        other.release();
        let told = other.answers(&mut reader);
        let messages: Vec<_> = told.iter().filter(|pdu| matches!(pdu, Pdu::AsyncMessage(_))).collect();
        assert_eq!(messages.len(), usize::from(task_reporting == TaskReporting::FastAbort), "{told:?}");
        if let [Pdu::AsyncMessage(message)] = messages[..] {
            assert_eq!((message.event, message.lun), (AsyncEvent::TaskTermination, LunField([0; 8])));
            reader.send(NopOut { immediate: true, exp_stat_sn: reader.exp_stat_sn(), ..NopOut::default() });
        }
        assert!(told.iter().all(|pdu| !matches!(pdu, Pdu::DataIn(_) | Pdu::ScsiResponse(_))), "{told:?}");
        other.command(&mut reader, &Cdb::test_unit_ready(), 0, Bytes::new());
        assert_eq!(status_of(&other.answers(&mut reader)), (2, Some([0x29, 0x03])));
    }
}
