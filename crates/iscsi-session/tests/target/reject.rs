//! Every reason of a Reject that error recovery level 0 has (RFC 7143 section 11.17.1), and what ends the session instead.

use super::ladder::*;
use iscsi_pdu::*;
use iscsi_session::{BadPdu, CloseReason, Parameters, Violation};

fn undecodable(header: Header) -> BadPdu {
    let frame = Frame { header, ahs: Box::default(), data: bytes::Bytes::new() };
    BadPdu::Undecodable(Pdu::decode(frame).unwrap_err())
}

/// A header that cannot be decoded comes in.
pub(super) fn take(ladder: &mut Ladder, header: Header) {
    ladder.session.handle_bad_pdu(ladder.now, CID, header, undecodable(header));
}

fn ladder() -> Ladder {
    Ladder::new(Parameters::default())
}

#[test]
fn the_rejected_header_comes_back_as_it_was() {
    let mut ladder = ladder();
    let mut header = Header([0xa5; 48]);
    header.0[0] = 0x1f;
    header.0[4] = 0;
    take(&mut ladder, header);
    ladder.sends(&["Reject StatSN 1: Command not supported, of value 0x1f, which RFC 7143 does not define"]);
    let Pdu::Reject(reject) = &ladder.last[0] else { panic!("a Reject") };
    assert_eq!(reject.rejected, header);
    assert!(!ladder.session.is_closed());
}

#[test]
fn a_rejected_request_comes_back_with_its_lengths() {
    let mut ladder = ladder();
    ladder.i(read(1, 0));
    ladder.events();
    let pdu = ScsiCommand { cmd_sn: CmdSn(2), ..write_immediate(1, 100, 100) };
    ladder.raw(pdu.clone());
    ladder.sends(&["Reject StatSN 1: Task in progress, of SCSI Command"]);
    let Pdu::Reject(reject) = &ladder.last[0] else { panic!("a Reject") };
    assert_eq!(reject.rejected, Pdu::from(pdu).encode().header);
    // The same for a Data-Out, whose data has been taken off.
    let pdu = data_out(9, false, 3, 5, 100, true);
    ladder.raw(pdu.clone());
    ladder.sent();
    let Pdu::Reject(reject) = &ladder.last[0] else { panic!("a Reject") };
    assert_eq!(reject.rejected, Pdu::from(pdu).encode().header);
}

/// RFC 7143 7.8-2.
#[test]
fn data_digest_error() {
    let mut ladder = ladder();
    ladder.bad(write_immediate(1, 512, 512), BadPdu::DataDigest);
    ladder.bad(text(2, "SendTargets=\0"), BadPdu::DataDigest);
    ladder.bad(nop_out(3, "x"), BadPdu::DataDigest);
    ladder.tells(&[]);
    ladder.sends(&[
        "Reject StatSN 1: Data digest error, of SCSI Command",
        "Reject StatSN 2: Data digest error, of Text Request",
        "Reject StatSN 3: Data digest error, of NOP-Out",
    ]);
    // RFC 7143 7.8: the retry of the command brings its data again.
    ladder.i(write_immediate(1, 512, 512));
    ladder.tells(&["Command 1 W 512 immediate 512"]);
}

/// RFC 7143 7.8-7: at recovery level 0.
#[test]
fn snack_reject() {
    let mut ladder = ladder();
    ladder.i(Snack { kind: SnackType::Status, ..Snack::default() });
    ladder.sends(&["Reject StatSN 1: SNACK reject, of SNACK Request"]);
}

/// RFC 7143 4.2.4-4: a second login, among others.
#[test]
fn protocol_error() {
    let mut ladder = ladder();
    ladder.i(LoginRequest::default());
    ladder.i(NopIn::default());
    ladder.i(R2t { desired_data_transfer_length: 1, ..R2t::default() });
    ladder.sends(&[
        "Reject StatSN 1: Protocol error, of Login Request",
        "Reject StatSN 2: Protocol error, of NOP-In",
        "Reject StatSN 3: Protocol error, of Ready To Transfer",
    ]);
    // The same if their fields mean nothing.
    let mut header = Header([0; 48]);
    header.0[0] = 0x31;
    take(&mut ladder, header);
    header.0[..2].copy_from_slice(&[0x03, 0xc0]);
    take(&mut ladder, header);
    ladder.sends(&[
        "Reject StatSN 4: Protocol error, of Ready To Transfer",
        "Reject StatSN 5: Protocol error, of Login Request",
    ]);
}

// RFC 7143 11.3.1-1, 11.3.1-2, 11.3.4-1, 11.18.1-4.
#[test]
fn invalid_pdu_field() {
    let mut ladder = ladder();
    let mut header = Header([0; 48]);
    header.0[..2].copy_from_slice(&[0x01, 0x87]); // ATTR 7
    take(&mut ladder, header);
    header.0[..2].copy_from_slice(&[0x06, 0x83]); // reason 3
    take(&mut ladder, header);
    ladder.i(ScsiCommand { is_final: false, ..read(1, 512) });
    ladder.cmd_sn = CmdSn(1);
    ladder.i(ScsiCommand { expected_data_transfer_length: 512, ..command(2) });
    ladder.cmd_sn = CmdSn(1);
    ladder.i(ScsiCommand { read: true, ..write(3, 512) });
    ladder.cmd_sn = CmdSn(1);
    ladder.i(NopOut { initiator_task_tag: None, ..NopOut::default() });
    ladder.i(NopOut { immediate: true, target_transfer_tag: Some(ttt(1)), ..NopOut::default() });
    ladder.tells(&[]);
    ladder.sends(&[
        "Reject StatSN 1: Invalid PDU field, of SCSI Command",
        "Reject StatSN 2: Invalid PDU field, of Logout Request",
        "Reject StatSN 3: Invalid PDU field, of SCSI Command",
        "Reject StatSN 4: Invalid PDU field, of SCSI Command",
        "Reject StatSN 5: Invalid PDU field, of SCSI Command",
        "Reject StatSN 6: Invalid PDU field, of NOP-Out",
        "Reject StatSN 7: Invalid PDU field, of NOP-Out",
    ]);
    ladder.cmd_sn = CmdSn(1);
    ladder.i(read(4, 0));
    ladder.tells(&["Command 4 R 0"]);
}

#[test]
fn task_in_progress() {
    let mut ladder = ladder();
    ladder.i(read(1, 0));
    ladder.i(manage(2, TaskManagementFunction::ClearAca));
    for pdu in [Pdu::from(read(1, 0)), read(2, 0).into(), nop_out(1, "").into(), text(2, "").into()] {
        ladder.cmd_sn = CmdSn(2);
        ladder.i(pdu);
    }
    ladder.cmd_sn = CmdSn(2);
    ladder.i(manage(1, TaskManagementFunction::ClearAca));
    ladder.i(logout(2, LogoutReason::CloseSession));
    assert_eq!(ladder.sent().len(), 6);
    for pdu in &ladder.last {
        let Pdu::Reject(reject) = pdu else { panic!("a Reject") };
        assert_eq!(reject.reason, RejectReason::TaskInProgress);
    }
    assert_eq!(ladder.session.tasks(), 1);
}

/// A numbered command is taken while a logout is waited for: a gap would keep the logout from its turn.
#[test]
fn waiting_for_logout() {
    let mut ladder = ladder();
    ladder.session.request_logout(ladder.now);
    ladder.i(ScsiCommand { immediate: true, ..read(1, 0) });
    ladder.i(read(2, 0));
    ladder.tells(&["Command 2 R 0"]);
    ladder.sends(&["Async StatSN 1: Logout request 0 0 5", "Reject StatSN 2: Waiting for logout, of SCSI Command"]);
}

#[test]
fn a_segment_that_is_too_long_ends_the_session() {
    let mut ladder = ladder();
    ladder.i(write_immediate(1, 65_536, 8193));
    ladder.tells(&[&format!("Closed {}", CloseReason::Violation(Violation::SegmentTooLong))]);
}

#[test]
fn additional_header_segments_that_overrun_end_the_session() {
    let mut ladder = ladder();
    ladder.i(ScsiCommand { ahs: [0, 9, 1, 0].into(), ..read(1, 0) });
    let events = ladder.events();
    assert!(events[0].starts_with("Closed the peer sent a malformed PDU"), "{events:?}");
    ladder.sends(&[]);
}

#[test]
fn a_long_cdb_reaches_the_owner_whole() {
    let ahs = ahs::Ahs { extended_cdb: Some(pattern(16, 16).as_ref().into()), bidirectional_read_length: None };
    let cdb = <[u8; 16]>::try_from(&pattern(0, 16)[..]).unwrap();
    let mut ladder = ladder();
    ladder.i(ScsiCommand { cdb, ahs: ahs.encode(), ..read(1, 0) });
    let Some(iscsi_session::target::Event::Command(command)) = ladder.session.poll_event() else { panic!("a command") };
    assert_eq!(*command.extended_cdb, *pattern(0, 32));
}

/// Who sends garbage and reads no answers costs a bounded amount of memory.
#[test]
fn garbage_without_end_ends_the_session() {
    let mut ladder = ladder();
    for _ in 0..64 {
        ladder.i(NopIn::default());
    }
    ladder.tells(&[]);
    ladder.i(NopIn::default());
    ladder.tells(&[&format!("Closed {}", CloseReason::Violation(Violation::TooManyErrors))]);
    assert_eq!(ladder.sent().len(), 64);
}

#[test]
fn garbage_whose_answers_are_read_goes_on() {
    let mut ladder = ladder();
    for _ in 0..200 {
        ladder.i(NopIn::default());
        assert_eq!(ladder.sent().len(), 1);
    }
    assert!(!ladder.session.is_closed());
}

/// RFC 7143 4.3-1, 4.3-2.
#[test]
fn a_discovery_session_takes_nothing_but_send_targets_and_its_logout() {
    let mut ladder = Ladder::discovery();
    ladder.i(ScsiCommand { immediate: true, ..read(1, 0) });
    ladder.i(NopOut { immediate: true, ..nop_out(1, "") });
    ladder.i(manage(1, TaskManagementFunction::LogicalUnitReset));
    ladder.i(LogoutRequest { immediate: true, ..logout(1, LogoutReason::CloseConnection) });
    ladder.i(TextRequest { immediate: true, ..text(1, "MaxRecvDataSegmentLength=512\0") });
    ladder.i(TextRequest { immediate: true, ..text(1, "") });
    ladder.tells(&[]);
    assert_eq!(ladder.sent().len(), 6);
    for pdu in &ladder.last {
        let Pdu::Reject(reject) = pdu else { panic!("a Reject") };
        assert_eq!(reject.reason, RejectReason::ProtocolError);
    }
    ladder.i(logout(1, LogoutReason::CloseSession));
    ladder.tells(&["Closed logged out"]);
}
