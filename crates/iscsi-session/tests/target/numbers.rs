//! The command window, immediate commands, and statuses (RFC 7143 sections 4.2.2.1 and 4.2.2.2).

use super::ladder::*;
use iscsi_pdu::{CmdSn, NopOut, ScsiCommand, StatSn};
use iscsi_session::{LoginOutcome, Parameters};

fn at(cmd_sn: u32) -> Ladder {
    let outcome = LoginOutcome {
        cmd_sn: CmdSn(cmd_sn),
        max_cmd_sn: CmdSn(cmd_sn.wrapping_add(7)),
        stat_sn: StatSn(cmd_sn),
        ..outcome(Parameters::default())
    };
    Ladder::start(outcome, config())
}

fn numbered(tag: u32, cmd_sn: u32) -> ScsiCommand {
    ScsiCommand { cmd_sn: CmdSn(cmd_sn), ..read(tag, 0) }
}

/// RFC 7143 4.2.2.1-6, 4.2.2.1-12, 4.2.2.1-15, 4.2.2.2-3.
#[test]
fn commands_reach_the_owner_in_order_over_the_wrap() {
    let mut ladder = at(u32::MAX - 1);
    ladder.raw(numbered(3, 1));
    ladder.raw(numbered(1, u32::MAX));
    ladder.raw(numbered(2, 0));
    ladder.tells(&[]);
    ladder.raw(numbered(0, u32::MAX - 1));
    ladder.tells(&["Command 0 R 0", "Command 1 R 0", "Command 2 R 0", "Command 3 R 0"]);
    ladder.complete(0, good());
    ladder.complete(3, good());
    ladder.sends(&[
        "Response 0 status 00 StatSN 4294967294 ExpDataSN 0",
        "Response 3 status 00 StatSN 4294967295 ExpDataSN 0",
    ]);
    assert_eq!(ladder.window, (CmdSn(2), CmdSn(7)));
}

/// RFC 7143 4.2.2.1-11.
#[test]
fn what_is_outside_the_window_or_was_there_is_ignored() {
    let mut ladder = at(10);
    ladder.raw(numbered(1, 9));
    ladder.raw(numbered(2, 18));
    ladder.raw(numbered(3, 10 + (1 << 31)));
    ladder.raw(numbered(4, 12));
    ladder.raw(numbered(4, 12));
    ladder.raw(numbered(5, 12));
    ladder.tells(&[]);
    ladder.sends(&[]);
    assert_eq!(ladder.session.tasks(), 1);
    ladder.raw(numbered(6, 10));
    ladder.raw(numbered(7, 11));
    ladder.tells(&["Command 6 R 0", "Command 7 R 0", "Command 4 R 0"]);
    ladder.raw(numbered(6, 10));
    ladder.raw(numbered(8, 11));
    ladder.tells(&[]);
    ladder.sends(&[]);
}

/// RFC 7143 4.2.2.1-10: nor does it go back.
#[test]
fn the_window_closes_before_more_is_taken_and_opens_with_each_answer() {
    let mut ladder = at(1);
    for tag in 1..=8 {
        ladder.i(read(tag, 0));
    }
    assert_eq!(ladder.events().len(), 8);
    // Beyond the window: ignored.
    ladder.raw(numbered(9, 9));
    ladder.tells(&[]);
    ladder.complete(5, good());
    ladder.sends(&["Response 5 status 00 StatSN 1 ExpDataSN 0"]);
    assert_eq!(ladder.window, (CmdSn(9), CmdSn(9)));
    ladder.i(read(9, 0));
    ladder.tells(&["Command 9 R 0"]);
    // RFC 7143 4.2.2.1: a closed window is said by MaxCmdSN = ExpCmdSN - 1.
    ladder.i(NopOut { immediate: true, ..nop_out(77, "x") });
    ladder.sends(&["NOP-In 77 StatSN 2 x"]);
    assert_eq!(ladder.window, (CmdSn(10), CmdSn(9)));
}

// RFC 7143 11.4.11-1, 11.19-5, 11.19.1-1.
/// RFC 7143 11.4.11: a MaxCmdSN that no other PDU announces is announced by a NOP-In.
#[test]
fn room_that_comes_without_an_answer_is_announced() {
    let mut ladder = at(1);
    ladder.i(read(1, 0));
    ladder.events();
    let task = ladder.tasks[&1];
    ladder.session.discard(task);
    ladder.sends(&["NOP-In"]);
    assert_eq!(ladder.window, (CmdSn(2), CmdSn(9)));
    ladder.sends(&[]);
}

#[test]
fn a_login_that_announced_more_than_the_window_is_kept_to() {
    let outcome = LoginOutcome { max_cmd_sn: CmdSn(20), ..outcome(Parameters::default()) };
    let mut ladder = Ladder::start(outcome, config());
    ladder.i(nop_out(1, ""));
    ladder.sends(&["NOP-In 1 StatSN 1 "]);
    assert_eq!(ladder.window, (CmdSn(2), CmdSn(21)));
}

/// RFC 7143 4.2.2.1-5.
#[test]
fn immediate_commands_are_delivered_at_once_and_count_no_number() {
    let mut ladder = at(1);
    ladder.raw(numbered(2, 2));
    ladder.i(ScsiCommand { immediate: true, ..read(50, 0) });
    ladder.tells(&["Command 50 R 0"]);
    ladder.complete(50, good());
    ladder.sends(&["Response 50 status 00 StatSN 1 ExpDataSN 0"]);
    assert_eq!(ladder.window, (CmdSn(1), CmdSn(8)));
    // An immediate command may lie outside the window.
    ladder.raw(ScsiCommand { immediate: true, ..numbered(51, 500) });
    ladder.tells(&["Command 51 R 0"]);
}

#[test]
fn too_many_immediate_commands_are_rejected_until_an_answer_leaves() {
    let mut ladder = at(1);
    for tag in 1..=3 {
        ladder.i(ScsiCommand { immediate: true, ..read(tag, 0) });
    }
    ladder.tells(&["Command 1 R 0", "Command 2 R 0"]);
    ladder.sends(&["Reject StatSN 1: Too many immediate commands, of SCSI Command"]);
    ladder.complete(1, good());
    ladder.sends(&["Response 1 status 00 StatSN 2 ExpDataSN 0"]);
    ladder.i(ScsiCommand { immediate: true, ..read(3, 0) });
    ladder.tells(&["Command 3 R 0"]);
}

/// RFC 7143 4.2.2.1-8, 7.3-2: the number of a rejected command was not received; the initiator fills the gap.
// RFC 7143 4.2.2.1-13.
#[test]
fn a_rejected_command_leaves_a_gap() {
    let mut ladder = at(1);
    ladder.i(read(1, 0));
    ladder.raw(numbered(1, 2));
    ladder.sends(&["Reject StatSN 1: Task in progress, of SCSI Command"]);
    ladder.raw(numbered(3, 3));
    ladder.tells(&["Command 1 R 0"]);
    ladder.raw(numbered(2, 2));
    ladder.tells(&["Command 2 R 0", "Command 3 R 0"]);
}

/// RFC 7143 4.2.2.1-6: of all kinds.
#[test]
fn numbered_requests_of_all_kinds_wait_for_their_turn() {
    let mut ladder = at(1);
    ladder.cmd_sn = CmdSn(2);
    ladder.i(nop_out(1, "ping"));
    ladder.i(text(2, "X-key=1\0"));
    ladder.i(iscsi_pdu::TaskManagementRequest {
        immediate: false,
        ..manage(3, iscsi_pdu::TaskManagementFunction::TaskReassign)
    });
    ladder.i(logout(4, iscsi_pdu::LogoutReason::CloseSession));
    ladder.sends(&[]);
    ladder.raw(numbered(9, 1));
    ladder.tells(&["Command 9 R 0", "Aborted 9", "Closed logged out"]);
    ladder.sends(&[
        "NOP-In 1 StatSN 1 ping",
        "Text 2 StatSN 2 F X-key=NotUnderstood;",
        "TaskManagement 3 StatSN 3: Task allegiance reassignment not supported",
        "Logout 4 StatSN 4: Connection or session closed successfully",
    ]);
    assert_eq!(ladder.window.0, CmdSn(6));
}

/// Some initiators spin for ever if an immediate request moves ExpCmdSN.
#[test]
fn an_immediate_text_request_does_not_move_the_window() {
    let mut ladder = Ladder::discovery();
    ladder.i(iscsi_pdu::TextRequest { immediate: true, ..text(1, "SendTargets=All\0") });
    ladder.tells(&["SendTargets All"]);
    let id = ladder.requests[0];
    ladder.session.answer_send_targets(id, &[]);
    ladder.sends(&["Text 1 StatSN 1 F "]);
    assert_eq!(ladder.window, (CmdSn(1), CmdSn(8)));
}

/// A window that is wider than the login said is announced at once.
#[test]
fn a_wider_window_is_announced() {
    let outcome = LoginOutcome { max_cmd_sn: CmdSn(3), ..outcome(Parameters::default()) };
    let mut ladder = Ladder::start(outcome, config());
    ladder.sends(&["NOP-In"]);
    assert_eq!(ladder.window, (CmdSn(1), CmdSn(8)));
}
