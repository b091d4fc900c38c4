//! Several connections in one session (RFC 7143 sections 4.2.2.1, 4.2.2.3, 4.2.5.1, 6.3.4, 7.14 and 11.14).

use super::ladder::*;
use iscsi_pdu::TaskManagementFunction as Function;
use iscsi_pdu::TaskManagementResponseCode as Response;
use iscsi_pdu::*;
use iscsi_session::target::SessionConfig;
use iscsi_session::{BadPdu, Parameters};

const A: Cid = CID;
const B: Cid = Cid(8);
const C: Cid = Cid(9);

fn parameters() -> Parameters {
    Parameters { max_connections: 3, initial_r2t: false, burst_bytes_max: 4096, ..Parameters::default() }
}

/// A session with the connections A and B.
fn two() -> Ladder {
    let mut ladder = Ladder::new(parameters());
    ladder.add(B);
    ladder
}

fn numbered(tag: u32, cmd_sn: u32) -> ScsiCommand {
    ScsiCommand { cmd_sn: CmdSn(cmd_sn), ..read(tag, 0) }
}

#[test]
fn no_more_join_than_were_agreed_upon() {
    let mut ladder = two();
    assert_eq!(ladder.session.admission(C), LoginStatus::Success);
    ladder.add(C);
    assert_eq!(ladder.session.cids().collect::<Vec<_>>(), [A, B, C]);
    assert_eq!(ladder.session.admission(Cid(10)), LoginStatus::TooManyConnections);
    assert_eq!(ladder.session.admission(B), LoginStatus::Success, "it takes the place of B");
    ladder.session.terminate();
    assert_eq!(ladder.session.admission(B), LoginStatus::SessionDoesNotExist);
    assert_eq!(Ladder::discovery().session.admission(B), LoginStatus::TooManyConnections);
}

#[test]
#[should_panic(expected = "a connection joins only where it may")]
fn a_connection_that_may_not_join_is_a_bug_of_the_owner() {
    Ladder::new(Parameters::default()).add(B);
}

/// What a login that joins tells of the window.
#[test]
fn the_window_is_told_to_a_connection_that_joins() {
    let mut ladder = two();
    assert_eq!(ladder.session.command_numbers(), (CmdSn(1), CmdSn(8)));
    ladder.on(B).i(nop_out(1, ""));
    ladder.sent();
    assert_eq!(ladder.session.command_numbers(), (CmdSn(2), CmdSn(9)));
}

/// RFC 7143 4.2.2.1: commands are delivered in the order of their numbers, whatever connection they come on.
#[test]
fn commands_come_in_order_across_connections() {
    let mut ladder = two();
    ladder.on(B).raw(numbered(2, 2));
    ladder.on(B).raw(numbered(4, 4));
    ladder.tells(&[]);
    ladder.on(A).raw(numbered(1, 1));
    ladder.tells(&["Command 1 R 0", "Command 2 R 0"]);
    ladder.on(A).raw(numbered(3, 3));
    ladder.tells(&["Command 3 R 0", "Command 4 R 0"]);
    for tag in 1..=4 {
        ladder.complete(tag, good());
    }
    ladder.on(A).sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0", "Response 3 status 00 StatSN 2 ExpDataSN 0"]);
    ladder.on(B).sends(&["Response 2 status 00 StatSN 1 ExpDataSN 0", "Response 4 status 00 StatSN 2 ExpDataSN 0"]);
    assert_eq!(ladder.window, (CmdSn(5), CmdSn(12)));
}

#[test]
fn a_command_says_where_its_data_moves() {
    let mut ladder = two();
    for cid in [A, B] {
        ladder.on(cid).i(read(1 + u32::from(cid.0), 0));
        let Some(iscsi_session::target::Event::Command(command)) = ladder.session.poll_event() else {
            panic!("a command")
        };
        assert_eq!(command.cid, cid);
    }
}

// RFC 7143 4.2.5.1-1, 4.2.5.1-2, 4.2.5.1-3, 4.2.5.1-4: and is refused elsewhere.
/// RFC 7143 4.2.5.1: R2Ts, data and status move on the connection of the command, and nowhere else.
#[test]
fn data_moves_on_the_connection_of_its_command() {
    let mut ladder = two();
    ladder.on(B).i(write(1, 4096));
    ladder.on(A).i(read(2, 8));
    ladder.tells(&["Command 1 W 4096", "Command 2 R 8"]);
    ladder.receive(1, 4096);
    ladder.complete(2, good_read(8));
    assert_eq!((ladder.session.data_in_bytes(A), ladder.session.data_in_bytes(B)), (8, 0));
    ladder.on(A).sends(&["Data-In 2 DataSN 0 0+8 F S status 00 StatSN 1"]);
    ladder.on(B).sends(&["R2T 1 R2TSN 0 0+4096"]);
    ladder.on(A).i(data_out(1, true, 0, 0, 4096, true));
    ladder.tells(&[]);
    ladder.sends(&["Reject StatSN 2: Protocol error, of SCSI Data-Out"]);
    ladder.on(B).i(data_out(1, true, 0, 0, 4096, true));
    ladder.tells(&["Data 1 0+4096", "DataComplete 1"]);
    ladder.complete(1, good_write(4096));
    ladder.on(B).sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0"]);
}

#[test]
fn segments_pings_and_texts_are_a_connections_own() {
    let mut ladder = two();
    ladder.on(B).i(text(1, "MaxRecvDataSegmentLength=512\0"));
    ladder.on(A).i(TextRequest { is_final: false, ..text(2, "X-a=1\0") });
    ladder.on(B).sends(&["Text 1 StatSN 1 F "]);
    ladder.on(A).sends(&["Text 2 StatSN 1 X-a=NotUnderstood;"]);
    // The exchange of A is not continued on B.
    let go_on = TextRequest { target_transfer_tag: Some(PING_TAG), ..text(2, "") };
    ladder.on(B).i(TextRequest { immediate: true, ..go_on.clone() });
    ladder.sends(&["Reject StatSN 2: Invalid PDU field, of Text Request"]);
    ladder.on(A).i(go_on);
    ladder.sends(&["Text 2 StatSN 2 F "]);
    for (cid, tag) in [(A, 3), (B, 4)] {
        ladder.on(cid).i(read(tag, 1024));
        ladder.events();
        ladder.complete(tag, good_read(1024));
        assert_eq!(ladder.sent().len(), if cid == A { 1 } else { 2 });
    }
    ladder.pass(30);
    ladder.on(A).sends(&["NOP-In ping feed"]);
    ladder.on(B).sends(&["NOP-In ping fef5"]);
}

/// RFC 7143 4.2.2.1: an immediate command of each kind is taken on each connection.
#[test]
fn immediate_commands_are_counted_by_connection() {
    let mut ladder = Ladder::start(outcome(parameters()), SessionConfig { immediate_max: 1, ..config() });
    ladder.add(B);
    for (cid, tag) in [(A, 1), (B, 2)] {
        ladder.on(cid).i(ScsiCommand { immediate: true, ..read(tag, 0) });
        ladder.i(manage(tag + 100, Function::ClearAca));
        ladder.sends(&[]);
    }
    ladder.on(A).i(ScsiCommand { immediate: true, ..read(3, 0) });
    ladder.sends(&["Reject StatSN 1: Too many immediate commands, of SCSI Command"]);
}

// RFC 7143 7.1.4.3-4, 7.1.4.3-5: and the others hear of it.
/// RFC 7143 7.14 and 7.6 b: the tasks of a connection end with it, the others go on; the initiator is told on another connection.
#[test]
fn a_connection_that_breaks_takes_its_tasks_with_it() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 0));
    ladder.on(B).i(write(2, 4096));
    ladder.on(A).i(read(3, 4));
    ladder.on(B).i(read(4, 4000));
    ladder.events();
    ladder.complete(4, good_read(4000));
    ladder.complete(1, good());
    ladder.on(B).i(nop_out(5, "lost"));
    ladder.lose(B);
    ladder.tells(&["Aborted 2", "ConnectionClosed 8: the connection was lost"]);
    assert_eq!((ladder.session.tasks(), ladder.session.data_in_bytes(B)), (1, 0));
    ladder.on(B).sends(&[]);
    ladder.on(A).sends(&["Async StatSN 1: Connection drop notification 8 2 0"]);
    assert_eq!(ladder.window, (CmdSn(6), CmdSn(12)), "all their places are free");
    ladder.complete(3, good_read(4));
    ladder.sends(&["Data-In 3 DataSN 0 0+4 F S status 00 StatSN 2"]);
    // What is still said on it is not heard.
    ladder.on(B).i(read(6, 0));
    ladder.tells(&[]);
    ladder.lose(A);
    ladder.tells(&["Closed the connection was lost"]);
}

/// RFC 7143 11.14: what waits for its turn was not acknowledged, and is discarded; its number comes again.
#[test]
fn commands_that_wait_are_forgotten_with_their_connection() {
    let mut ladder = two();
    ladder.on(B).raw(numbered(2, 2));
    ladder.on(A).raw(numbered(3, 3));
    ladder.lose(B);
    ladder.tells(&["ConnectionClosed 8: the connection was lost"]);
    assert_eq!(ladder.session.tasks(), 1);
    ladder.on(A).raw(numbered(1, 1));
    ladder.tells(&["Command 1 R 0"]);
    ladder.sent();
    assert_eq!(ladder.window, (CmdSn(2), CmdSn(8)));
    ladder.on(A).raw(numbered(2, 2));
    ladder.tells(&["Command 2 R 0", "Command 3 R 0"]);
}

#[test]
fn a_silent_connection_is_given_up_alone() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 0));
    ladder.events();
    ladder.pass(30);
    ladder.on(B).sent();
    ladder.on(A).sent();
    ladder.i(NopOut { immediate: true, target_transfer_tag: Some(PING_TAG), ..NopOut::default() });
    ladder.pass(10);
    ladder.tells(&["Aborted 1", "ConnectionClosed 8: the peer has gone silent"]);
    ladder.sends(&["Async StatSN 1: Connection drop notification 8 2 0"]);
    assert!(!ladder.session.is_closed());
}

#[test]
fn a_logout_ends_its_connection_and_the_last_one_the_session() {
    let mut ladder = two();
    ladder.on(A).i(read(1, 0));
    ladder.on(B).i(read(2, 0));
    ladder.on(B).i(read(3, 4));
    ladder.events();
    ladder.complete(3, good_read(4));
    ladder.on(B).i(LogoutRequest { cid: B, ..logout(4, LogoutReason::CloseConnection) });
    ladder.tells(&["Aborted 2", "ConnectionClosed 8: logged out"]);
    assert_eq!(ladder.session.cids().collect::<Vec<_>>(), [A]);
    ladder.on(B).sends(&[
        "Data-In 3 DataSN 0 0+4 F S status 00 StatSN 1",
        "Logout 4 StatSN 2: Connection or session closed successfully",
    ]);
    ladder.on(A).complete(1, good());
    ladder.on(A).sends(&["Response 1 status 00 StatSN 1 ExpDataSN 0"]);
    ladder.i(logout(5, LogoutReason::CloseConnection));
    ladder.tells(&["Closed logged out"]);
    ladder.sends(&["Logout 5 StatSN 2: Connection or session closed successfully"]);
}

#[test]
fn a_connection_is_logged_out_on_another() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 0));
    ladder.on(B).i(read(2, 4));
    ladder.on(A).i(read(3, 0));
    ladder.events();
    ladder.complete(2, good_read(4));
    ladder.on(A).i(LogoutRequest { cid: B, ..logout(4, LogoutReason::CloseConnection) });
    ladder.tells(&["Aborted 1", "ConnectionClosed 8: logged out"]);
    ladder.on(B).sends(&[]);
    ladder.on(A).sends(&["Logout 4 StatSN 1: Connection or session closed successfully"]);
    ladder.i(LogoutRequest { cid: B, ..logout(5, LogoutReason::CloseConnection) });
    ladder.sends(&["Logout 5 StatSN 2: CID not found"]);
    assert_eq!(ladder.session.tasks(), 1);
}

// RFC 7143 11.14-3: and every task.
#[test]
fn a_logout_of_the_session_ends_every_connection() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 4));
    ladder.on(A).i(read(2, 4));
    ladder.events();
    ladder.complete(1, good_read(4));
    ladder.complete(2, good_read(4));
    ladder.on(A).i(logout(3, LogoutReason::CloseSession));
    ladder.tells(&["Closed logged out"]);
    ladder.on(B).sends(&[]);
    ladder.on(A).sends(&[
        "Data-In 2 DataSN 0 0+4 F S status 00 StatSN 1",
        "Logout 3 StatSN 2: Connection or session closed successfully",
    ]);
    assert_eq!((ladder.session.tasks(), ladder.session.cids().count()), (0, 0));
}

/// RFC 7143 8.1.2, T17: below error recovery level 2 the connection ends all the same if it is the one that the request came on.
#[test]
fn a_logout_for_recovery_is_not_supported_on_any_connection() {
    let mut ladder = two();
    ladder.on(A).i(LogoutRequest { cid: B, ..logout(1, LogoutReason::RemoveForRecovery) });
    ladder.tells(&[]);
    ladder.sends(&["Logout 1 StatSN 1: Connection recovery is not supported"]);
    ladder.on(B).i(LogoutRequest { cid: B, ..logout(2, LogoutReason::RemoveForRecovery) });
    ladder.tells(&["ConnectionClosed 8: the logout failed"]);
    ladder.sends(&["Logout 2 StatSN 1: Connection recovery is not supported"]);
}

/// RFC 7143 6.3.4 and 11.14: a login with the CID of a connection logs that out.
#[test]
fn a_connection_is_reinstated() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 4));
    ladder.on(B).i(read(2, 4));
    ladder.on(A).i(read(3, 0));
    ladder.on(B).raw(numbered(9, 5));
    ladder.events();
    ladder.complete(1, good_read(4));
    ladder.add(B);
    ladder.tells(&["Aborted 2", "ConnectionClosed 8: another connection has taken its place"]);
    assert_eq!((ladder.session.tasks(), ladder.session.cids().count()), (1, 2));
    ladder.on(B).i(read(4, 0));
    ladder.tells(&["Command 4 R 0"]);
    ladder.complete(4, good());
    ladder.sends(&["Response 4 status 00 StatSN 1 ExpDataSN 0"]);
}

// RFC 7143 4.2.1-2, 6.3.4-3.
#[test]
fn the_only_connection_is_reinstated() {
    let mut ladder = Ladder::new(Parameters::default());
    ladder.i(read(1, 4));
    ladder.events();
    ladder.add(A);
    ladder.tells(&["Aborted 1", "ConnectionClosed 7: another connection has taken its place"]);
    ladder.i(read(2, 0));
    ladder.tells(&["Command 2 R 0"]);
}

// RFC 7143 11.9.1-1: each on its own.
#[test]
fn all_connections_are_asked_to_log_out() {
    let mut ladder = two();
    ladder.session.request_logout(ladder.now);
    ladder.on(A).sends(&["Async StatSN 1: Logout request 0 0 5"]);
    ladder.on(B).sends(&["Async StatSN 1: Logout request 0 0 5"]);
    ladder.i(LogoutRequest { cid: B, ..logout(1, LogoutReason::CloseConnection) });
    ladder.tells(&["ConnectionClosed 8: logged out"]);
    ladder.pass(5);
    ladder.tells(&["Closed the initiator did not log out in the time that it was given"]);
    ladder.on(A).sends(&["Async StatSN 2: Connection drop notification 7 2 0"]);
}

/// RFC 7143 7.7: what cannot be understood ends the session, with all its connections.
#[test]
fn a_broken_rule_on_one_connection_ends_the_session() {
    let mut ladder = two();
    ladder.on(B).i(write_immediate(1, 65_536, 8193));
    ladder.tells(&["Closed the peer broke a rule: a data segment longer than MaxRecvDataSegmentLength"]);
    ladder.on(A).i(read(2, 0));
    ladder.tells(&[]);
    // A lesser one is answered where it came.
    let mut ladder = two();
    ladder.on(B).bad(nop_out(3, "x"), BadPdu::DataDigest);
    ladder.on(A).sends(&[]);
    ladder.on(B).sends(&["Reject StatSN 1: Data digest error, of NOP-Out"]);
}

/// RFC 7143 11.5.1: a task is aborted on its own connection.
#[test]
fn a_task_is_not_aborted_on_another_connection() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 0));
    ladder.events();
    let abort = TaskManagementRequest {
        referenced_task_tag: Some(itt(1)),
        ref_cmd_sn: CmdSn(1),
        ..manage(100, Function::AbortTask)
    };
    ladder.on(A).i(abort.clone());
    ladder.sends(&["TaskManagement 100 StatSN 1: Function rejected"]);
    ladder.on(B).i(abort);
    ladder.tells(&["Aborted 1", "TaskManagement ABORT TASK"]);
}

/// A function goes on without the connection that asked for it: what it has begun to end would hang.
#[test]
fn a_function_outlives_its_connection() {
    let mut ladder = two();
    ladder.on(B).i(write(1, 4096));
    ladder.events();
    ladder.receive(1, 4096);
    ladder.sent();
    ladder.on(A).i(manage(100, Function::LogicalUnitReset));
    ladder.lose(A);
    ladder.tells(&["ConnectionClosed 7: the connection was lost"]);
    ladder.on(B).i(data_out(1, true, 0, 0, 4096, true));
    ladder.tells(&["Aborted 1", "TaskManagement LOGICAL UNIT RESET"]);
    ladder.add(A);
    ladder.answer(Response::FunctionComplete);
    ladder.on(A).sends(&["NOP-In"]);
}

/// Who asks for a function and goes away does not keep others waiting for commands that may never come.
#[test]
fn a_function_without_its_connection_waits_for_no_commands() {
    let mut ladder = two();
    ladder.on(A).raw(TaskManagementRequest { cmd_sn: CmdSn(3), ..manage(100, Function::AbortTaskSet) });
    ladder.on(B).raw(numbered(2, 2));
    ladder.lose(A);
    ladder.tells(&["ConnectionClosed 7: the connection was lost", "TaskManagement ABORT TASK SET"]);
    assert_eq!(ladder.session.tasks(), 0);
}

#[test]
fn the_owner_ends_every_connection() {
    let mut ladder = two();
    ladder.session.terminate();
    ladder.tells(&["Closed the session was ended by its owner"]);
    for cid in [A, B] {
        ladder.on(cid).sends(&["Async StatSN 1: Session drop notification 0 2 0"]);
    }
}
