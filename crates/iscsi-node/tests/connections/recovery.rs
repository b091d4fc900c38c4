//! What is not lost with a header, a connection, or the last connection of a session.

use super::{data_of, log_out, pattern, status_of};
use crate::bench::{Bench, Peer, TSIH};
use crate::disk::BLOCK;
use bytes::Bytes;
use iscsi_pdu::{
    CmdSn, DataOut, InitiatorTaskTag, LoginStatus, LogoutReason, LogoutResponseCode, LunField, Pdu,
    TaskManagementFunction, TaskManagementRequest, TaskManagementResponseCode,
};
use iscsi_session::Limits;
use scsi_block::cdb::Cdb;
use std::time::Duration;

/// A target and a session that protect headers, and a write whose header arrives damaged.
fn with_damaged_header(error_recovery_level: u8) -> (Bench, Peer) {
    let limits = Limits { header_digest: vec![true], error_recovery_level, ..Limits::default() };
    let mut bench = Bench::with_limits(limits);
    let [mut peer] = bench.session([1]);
    peer.control.change(|faults| faults.flipped_one_in = 1);
    bench.command(&mut peer, &Cdb::write_10(0, 1), BLOCK, pattern(BLOCK, 1));
    bench.turn(peer.id);
    peer.control.change(|faults| faults.flipped_one_in = 0);
    (bench, peer)
}

#[test]
fn a_header_that_cannot_be_trusted_ends_a_connection_that_does_not_recover() {
    let (bench, mut peer) = with_damaged_header(0);
    assert!(peer.is_closed());
    assert_eq!((bench.target.connections(), bench.target.sessions()), (0, 0));
}

#[test]
fn a_command_whose_header_was_damaged_is_sent_again() {
    let (mut bench, mut peer) = with_damaged_header(1);
    let missing = CmdSn(bench.cmd_sn.0.wrapping_sub(1));
    bench.command(&mut peer, &Cdb::read_10(0, 1), BLOCK, Bytes::new());
    assert!(bench.answers(&mut peer).is_empty(), "the command before it is missing");
    bench.command_with(&mut peer, missing, &Cdb::write_10(0, 1), BLOCK, pattern(BLOCK, 1));
    let answers = bench.answers(&mut peer);
    assert_eq!(status_of(&answers[..1]).0, 0);
    assert_eq!(data_of(&answers[1..]), pattern(BLOCK, 1));
}

/// Two connections of a session that outlives them.
fn with_recovery() -> (Bench, Peer, Peer) {
    let limits = Limits { max_connections: 2, error_recovery_level: 2, time_2_retain: 20, ..Limits::default() };
    let mut bench = Bench::with_limits(limits);
    let [first, second] = bench.session([1, 2]);
    (bench, first, second)
}

/// The first connection is lost; its task goes on with the second.
fn recover(bench: &mut Bench, first: Peer, second: &mut Peer, task: InitiatorTaskTag) -> Vec<Pdu> {
    let lost = first.id;
    drop(first);
    bench.turn(lost);
    assert_eq!((bench.target.connections(), bench.target.sessions()), (1, 1));
    assert_eq!(log_out(bench, second, LogoutReason::RemoveForRecovery, 1), LogoutResponseCode::Closed);
    let request = TaskManagementRequest {
        immediate: true,
        function: TaskManagementFunction::TaskReassign,
        initiator_task_tag: InitiatorTaskTag(8),
        referenced_task_tag: Some(task),
        cmd_sn: bench.cmd_sn,
        exp_stat_sn: second.exp_stat_sn(),
        lun: LunField::default(),
        ref_cmd_sn: CmdSn(0),
        exp_data_sn: 0,
    };
    second.send(request);
    let mut answers = bench.answers(second);
    let complete = TaskManagementResponseCode::FunctionComplete;
    let done = |pdu: &Pdu| matches!(pdu, Pdu::TaskManagementResponse(response) if response.response == complete);
    assert!(answers.first().is_some_and(done), "{answers:?}");
    answers.remove(0);
    answers
}

#[test]
fn a_read_that_is_in_the_store_goes_on_with_another_connection() {
    let (mut bench, mut first, mut second) = with_recovery();
    bench.held = Some(Vec::new());
    let task = bench.command(&mut first, &Cdb::read_10(0, 8), 8 * BLOCK, Bytes::new());
    bench.turn(first.id);
    assert!(recover(&mut bench, first, &mut second, task).is_empty());
    bench.release();
    assert_eq!(data_of(&bench.answers(&mut second)).len(), 8 * BLOCK);
}

#[test]
fn a_read_that_has_ended_meanwhile_is_sent_on_another_connection() {
    let (mut bench, mut first, mut second) = with_recovery();
    bench.held = Some(Vec::new());
    let task = bench.command(&mut first, &Cdb::read_10(0, 8), 8 * BLOCK, Bytes::new());
    bench.turn(first.id);
    bench.disk[..8 * BLOCK].copy_from_slice(&pattern(8 * BLOCK, 5));
    let lost = first.id;
    drop(first.port);
    bench.turn(lost);
    bench.release();
    let first = bench.log_in(TSIH, 1).expect("it takes the place of the other");
    assert_eq!(data_of(&recover(&mut bench, first, &mut second, task)), pattern(8 * BLOCK, 5));
}

#[test]
fn a_write_asks_for_its_data_on_the_connection_that_it_goes_on_with() {
    let (mut bench, mut first, mut second) = with_recovery();
    let data = pattern(8 * BLOCK, 6);
    let task = bench.write_command(&mut first, &Cdb::write_10(0, 8), 8 * BLOCK);
    let answers = bench.answers(&mut first);
    assert!(matches!(answers[..], [Pdu::R2t(_)]), "{answers:?}");
    let answers = recover(&mut bench, first, &mut second, task);
    let [Pdu::R2t(r2t)] = &answers[..] else { panic!("{answers:?}") };
    second.send(DataOut {
        is_final: true,
        initiator_task_tag: task,
        target_transfer_tag: Some(r2t.target_transfer_tag),
        exp_stat_sn: second.exp_stat_sn(),
        data: data.clone(),
        ..DataOut::default()
    });
    assert_eq!(status_of(&bench.answers(&mut second)).0, 0);
    assert_eq!(bench.disk[..8 * BLOCK], data[..]);
}

#[test]
fn a_session_without_connections_is_kept_for_a_while() {
    let (mut bench, first, second) = with_recovery();
    for peer in [first, second] {
        let lost = peer.id;
        drop(peer);
        bench.turn(lost);
    }
    assert_eq!((bench.target.connections(), bench.target.sessions()), (0, 1));
    let mut again = bench.log_in(TSIH, 1).expect("the session is there");
    bench.command(&mut again, &Cdb::test_unit_ready(), 0, Bytes::new());
    assert_eq!(status_of(&bench.answers(&mut again)).0, 0);
    let lost = again.id;
    drop(again);
    bench.turn(lost);
    bench.now = bench.target.poll_timeout().expect("it is not kept for ever");
    bench.target.handle_timeout(bench.now);
    bench.now += Duration::from_secs(60);
    bench.target.handle_timeout(bench.now);
    assert_eq!(bench.target.sessions(), 0);
    assert_eq!(bench.log_in(TSIH, 1).err(), Some(LoginStatus::SessionDoesNotExist));
}
