//! Task management functions of RFC 7144, which are about the nexus.

use super::status_of;
use crate::bench::{Bench, Peer};
use bytes::Bytes;
use iscsi_pdu::{
    CmdSn, InitiatorTaskTag, LunField, Pdu, TaskManagementFunction as Function, TaskManagementRequest,
    TaskManagementResponseCode as Response,
};
use iscsi_session::Limits;
use scsi_block::cdb::Cdb;

fn manage(bench: &mut Bench, peer: &mut Peer, function: Function, lun: u8) -> Response {
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
    assert_eq!(manage(&mut bench, &mut peer, query, 0), Response::FunctionSucceeded);
    bench.command(&mut peer, &Cdb::test_unit_ready(), 0, Bytes::new());
    assert_eq!(status_of(&bench.answers(&mut peer)), (2, Some([0x29, 0x07])));
    assert_eq!(manage(&mut bench, &mut peer, query, 0), Response::FunctionComplete);
}

#[test]
fn functions_of_another_level_are_not_supported() {
    let mut bench = Bench::new(1);
    let [mut peer] = bench.session([1]);
    for function in [Function::ItNexusReset, Function::QueryAsynchronousEvent] {
        assert_eq!(manage(&mut bench, &mut peer, function, 0), Response::FunctionNotSupported);
    }
}
