//! Error recovery level 2: tasks and sessions outlive their connections (RFC 7143 sections 6.3.6, 7.1.4.3, 7.2.2, 7.5, 11.5.6, 11.14
//! and 11.15).

use super::ladder::*;
use iscsi_pdu::TaskManagementFunction as Function;
use iscsi_pdu::*;
use iscsi_session::target::SessionConfig;
use iscsi_session::{LoginOutcome, Parameters};

const A: Cid = CID;
const B: Cid = Cid(8);

fn parameters() -> Parameters {
    Parameters {
        error_recovery_level: 2,
        max_connections: 2,
        time_2_wait: 2,
        time_2_retain: 20,
        burst_bytes_max: 4096,
        send_segment_bytes_max: 1024,
        ..Parameters::default()
    }
}

fn one() -> Ladder {
    let mut ladder = Ladder::start(outcome(parameters()), SessionConfig { immediate_max: 16, ..config() });
    ladder.acknowledges = false;
    ladder
}

fn two() -> Ladder {
    let mut ladder = one();
    ladder.add(B);
    ladder
}

fn reassign(tag: u32, task: u32, exp_data_sn: u32) -> TaskManagementRequest {
    TaskManagementRequest { referenced_task_tag: Some(itt(task)), exp_data_sn, ..manage(tag, Function::TaskReassign) }
}

fn remove(tag: u32, cid: Cid) -> LogoutRequest {
    LogoutRequest { immediate: true, cid, ..logout(tag, LogoutReason::RemoveForRecovery) }
}

/// B breaks, and A removes it.
fn lose_b(ladder: &mut Ladder) {
    ladder.lose(B);
    ladder.tells(&["ConnectionClosed 8: the connection was lost"]);
    ladder.on(A).i(remove(90, B));
    let sent = ladder.sent();
    assert!(sent[0].ends_with("Connection drop notification 8 2 20"), "{sent:?}");
    assert!(sent[1].ends_with("Connection or session closed successfully"), "{sent:?}");
}

// RFC 7143 7.2.2-2, 7.2.2-3, 7.2.2-8, 11.5.1-16, 11.5.6-2, 11.6-1, 11.7.2-1: the response comes first.
#[test]
fn a_read_goes_on_from_what_was_received() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 5000));
    ladder.events();
    ladder.complete(1, good_read(5000));
    for _ in 0..3 {
        assert!(ladder.session.poll_transmit(B).is_some());
    }
    lose_b(&mut ladder);
    assert_eq!((ladder.session.data_in_bytes(A), ladder.session.tasks()), (0, 1));
    // The initiator has received two of the three.
    ladder.on(A).i(reassign(100, 1, 2));
    assert_eq!(ladder.session.data_in_bytes(A), 2952);
    ladder.sends(&[
        "TaskManagement 100 StatSN 3: Function complete",
        "Data-In 1 DataSN 2 2048+1024",
        "Data-In 1 DataSN 3 3072+1024 F A",
        "Data-In 1 DataSN 4 4096+904 F S status 00 StatSN 4",
    ]);
    assert_eq!((ladder.session.data_in_bytes(A), ladder.session.tasks()), (0, 0));
    assert_eq!(ladder.window, (CmdSn(2), CmdSn(9)));
}

// RFC 7143 11.5.6-4: neither zero nor a number that was sent.
#[test]
fn a_number_that_means_nothing_is_ignored() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 1500));
    ladder.events();
    ladder.complete(1, good_read(1500));
    assert!(ladder.session.poll_transmit(B).is_some());
    lose_b(&mut ladder);
    ladder.on(A).i(reassign(100, 1, 9));
    ladder.sends(&[
        "TaskManagement 100 StatSN 3: Function complete",
        "Data-In 1 DataSN 0 0+1024",
        "Data-In 1 DataSN 1 1024+476 F S status 00 StatSN 4",
    ]);
}

// RFC 7143 7.2.2-9.
#[test]
fn a_snack_tag_does_not_outlive_its_connection() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 8));
    ladder.events();
    ladder.complete(1, good_read(8));
    ladder.on(B).sent();
    let kind = SnackType::RData;
    ladder.i(Snack { kind, initiator_task_tag: Some(itt(1)), transfer_or_snack_tag: 77, ..Snack::default() });
    assert!(ladder.sent()[1].ends_with("SNACK Tag 77"));
    lose_b(&mut ladder);
    ladder.on(A).i(reassign(100, 1, 0));
    assert_eq!(ladder.sent()[1], "Data-In 1 DataSN 0 0+8 F S status 00 StatSN 4");
}

#[test]
fn a_read_goes_on_in_other_segments() {
    let mut ladder = one();
    ladder.i(read(1, 5000));
    ladder.events();
    ladder.complete(1, good_read(5000));
    for _ in 0..3 {
        assert!(ladder.session.poll_transmit(A).is_some());
    }
    ladder.lose(A);
    let parameters = Parameters { send_segment_bytes_max: 512, ..parameters() };
    ladder.join(LoginOutcome { cid: B, ..outcome(parameters) });
    ladder.on(B).i(remove(90, A));
    ladder.i(reassign(100, 1, 2));
    assert_eq!(
        ladder.sent()[2..],
        [
            "Data-In 1 DataSN 2 2048+512",
            "Data-In 1 DataSN 3 2560+512",
            "Data-In 1 DataSN 4 3072+512",
            "Data-In 1 DataSN 5 3584+512 F A",
            "Data-In 1 DataSN 6 4096+512",
            "Data-In 1 DataSN 7 4608+392 F S status 00 StatSN 3",
        ]
    );
}

// RFC 7143 7.2.2-5.
/// A status that was sent and not acknowledged comes again, with the numbers of its new connection.
#[test]
fn a_status_is_sent_anew() {
    let mut ladder = two();
    for (tag, length) in [(1, 0), (2, 1500), (3, 0), (4, 1500)] {
        ladder.on(B).i(read(tag, length));
        ladder.events();
        ladder.complete(tag, if length == 0 { check_condition() } else { good_read(1500) });
    }
    ladder.sent();
    ladder.on(B).exp_stat_sn = StatSn(2);
    ladder.acknowledge();
    lose_b(&mut ladder);
    // The first was acknowledged, and is gone.
    ladder.on(A).i(reassign(100, 1, 0));
    ladder.i(reassign(101, 2, 1));
    ladder.i(reassign(102, 3, 0));
    // All its data has come, the status alone is missing.
    ladder.i(reassign(103, 4, 2));
    ladder.sends(&[
        "TaskManagement 100 StatSN 3: Task does not exist",
        "TaskManagement 101 StatSN 4: Function complete",
        "Data-In 2 DataSN 1 1024+476 F S status 00 StatSN 5",
        "TaskManagement 102 StatSN 6: Function complete",
        "Response 3 status 02 StatSN 7 ExpDataSN 0 sense [115, 101, 110, 115, 101]",
        "TaskManagement 103 StatSN 8: Function complete",
        "Response 4 status 00 StatSN 9 ExpDataSN 2",
    ]);
    assert_eq!(ladder.window, (CmdSn(5), CmdSn(12)), "their places were free before");
    // It is kept here as it was there.
    ladder.i(Snack { kind: SnackType::Status, begin_run: 7, run_length: 1, ..Snack::default() });
    ladder.sends(&["Response 3 status 02 StatSN 7 ExpDataSN 0 sense [115, 101, 110, 115, 101]"]);
    ladder.on(A).exp_stat_sn = StatSn(10);
    ladder.i(reassign(104, 3, 0));
    ladder.sends(&["TaskManagement 104 StatSN 10: Task does not exist"]);
}

#[test]
fn a_write_asks_for_what_is_missing() {
    let mut ladder = two();
    ladder.on(B).i(write_immediate(1, 9000, 500));
    ladder.events();
    ladder.receive(1, 9000);
    ladder.on(B).sends(&["R2T 1 R2TSN 0 500+4096"]);
    ladder.i(data_out(1, true, 0, 500, 1000, false));
    ladder.tells(&["Data 1 500+1000"]);
    lose_b(&mut ladder);
    ladder.on(A).i(reassign(100, 1, 1));
    ladder.tells(&["Reassigned 1 7"]);
    ladder.sends(&["TaskManagement 100 StatSN 3: Function complete"]);
    ladder.receive(1, 9000);
    ladder.sends(&["R2T 1 R2TSN 1 1500+4096"]);
    ladder.i(data_out(1, true, 0, 1500, 4096, true));
    ladder.sends(&["R2T 1 R2TSN 2 5596+3404"]);
    ladder.i(data_out(1, true, 0, 5596, 3404, true));
    ladder.tells(&["Data 1 1500+4096", "Data 1 5596+3404", "DataComplete 1"]);
    assert_eq!(ladder.written[&1], pattern(0, 9000));
    ladder.complete(1, good_write(9000));
    ladder.sends(&["Response 1 status 00 StatSN 4 ExpDataSN 0"]);
}

/// RFC 7143 11.5.6: an R2T that the initiator has not received has its number again.
#[test]
fn an_r2t_that_was_lost_has_its_number_again() {
    let mut ladder = two();
    ladder.on(B).i(write(1, 4096));
    ladder.events();
    ladder.receive(1, 4096);
    ladder.on(B).sends(&["R2T 1 R2TSN 0 0+4096"]);
    lose_b(&mut ladder);
    ladder.on(A).i(reassign(100, 1, 0));
    ladder.events();
    ladder.receive(1, 4096);
    assert_eq!(ladder.sent()[1], "R2T 1 R2TSN 0 0+4096");
}

#[test]
fn a_task_ends_while_it_has_no_connection() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 1000));
    ladder.on(B).i(write(2, 4096));
    ladder.on(B).i(command(3));
    ladder.events();
    ladder.receive(2, 4096);
    ladder.on(B).sends(&["R2T 2 R2TSN 0 0+4096"]);
    ladder.lose(B);
    ladder.complete(1, good_read(1000));
    ladder.complete(2, check_condition());
    ladder.complete(3, good());
    lose_nothing(&mut ladder);
    ladder.on(A).i(remove(90, B));
    for (tag, task) in [(100, 1), (101, 2), (102, 3)] {
        ladder.i(reassign(tag, task, 0));
    }
    ladder.tells(&[]);
    ladder.sends(&[
        "Logout 90 StatSN 2: Connection or session closed successfully",
        "TaskManagement 100 StatSN 3: Function complete",
        "Data-In 1 DataSN 0 0+1000 F S status 00 StatSN 4",
        "TaskManagement 101 StatSN 5: Function complete",
        "Response 2 status 02 StatSN 6 ExpDataSN 0 underflow 4096 sense [115, 101, 110, 115, 101]",
        "TaskManagement 102 StatSN 7: Function complete",
        "Response 3 status 00 StatSN 8 ExpDataSN 0",
    ]);
}

/// What waits for its connection is sent on no other.
fn lose_nothing(ladder: &mut Ladder) {
    ladder.tells(&["ConnectionClosed 8: the connection was lost"]);
    ladder.on(A).sends(&["Async StatSN 1: Connection drop notification 8 2 20"]);
    ladder.on(B).sends(&[]);
}

// RFC 7143 7.2.2-7, 11.5.1-17, 11.5.1-18.
/// RFC 7143 7.2.2: not before the logout, not twice, not what is no SCSI command.
#[test]
fn reassignments_that_are_refused() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 8));
    ladder.on(B).i(read(2, 8));
    ladder.on(A).i(TextRequest { immediate: true, is_final: false, ..text(3, "X-a=1\0") });
    ladder.on(A).i(manage(4, Function::ClearAca));
    ladder.events();
    ladder.on(A).sent();
    ladder.i(reassign(100, 1, 0));
    ladder.lose(B);
    ladder.i(reassign(101, 1, 0));
    ladder.i(reassign(102, 99, 0));
    ladder.i(reassign(103, 3, 0));
    ladder.i(reassign(104, 4, 0));
    ladder.i(remove(90, B));
    ladder.i(TaskManagementRequest { immediate: false, ..reassign(105, 1, 0) });
    ladder.i(reassign(106, 1, 0));
    ladder.i(reassign(107, 1, 0));
    ladder.i(manage(108, Function::TaskReassign));
    let answers: Vec<String> =
        ladder.sent().into_iter().filter_map(|line| Some(line.split_once(": ")?.1.to_owned())).collect();
    assert_eq!(
        answers,
        [
            "Task still allegiant",
            "Connection drop notification 8 2 20",
            "Task still allegiant",
            "Task does not exist",
            "Function rejected",
            "Function rejected",
            "Connection or session closed successfully",
            "Function rejected",
            "Function complete",
            "Task still allegiant",
            "Task does not exist",
        ]
    );
}

// RFC 7143 7.14-3, 11.14-4.
/// RFC 7143 7.14 and 11.14: immediate commands end, and what waits for its turn is discarded.
#[test]
fn what_does_not_outlive_its_connection() {
    let mut ladder = two();
    ladder.on(B).i(ScsiCommand { immediate: true, ..read(1, 8) });
    ladder.on(B).raw(ScsiCommand { cmd_sn: CmdSn(2), ..read(2, 8) });
    ladder.on(B).raw(NopOut { cmd_sn: CmdSn(1), ..nop_out(3, "") });
    ladder.tells(&["Command 1 R 8", "Command 2 R 8"]);
    ladder.on(B).raw(ScsiCommand { cmd_sn: CmdSn(4), ..read(4, 8) });
    ladder.lose(B);
    ladder.tells(&["Aborted 1", "ConnectionClosed 8: the connection was lost"]);
    assert_eq!(ladder.session.tasks(), 1);
    ladder.on(A).raw(ScsiCommand { cmd_sn: CmdSn(3), ..read(5, 8) });
    ladder.raw(ScsiCommand { cmd_sn: CmdSn(4), ..read(4, 8) });
    ladder.tells(&["Command 5 R 8", "Command 4 R 8"]);
}

// RFC 7143 7.5-2.
/// RFC 7143 7.5: Time2Wait and Time2Retain, and not longer.
#[test]
fn a_failed_connection_is_given_up_in_time() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 8));
    ladder.on(A).i(read(2, 8));
    ladder.events();
    ladder.lose(B);
    ladder.events();
    ladder.pass(21);
    ladder.tells(&[]);
    ladder.pass(1);
    ladder.tells(&["Aborted 1"]);
    ladder.on(A).i(remove(90, B));
    assert_eq!(ladder.sent()[1], "Logout 90 StatSN 2: CID not found");
    assert_eq!(ladder.session.tasks(), 1);
}

#[test]
fn tasks_that_nobody_reassigns_are_given_up_in_time() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 8));
    ladder.on(B).i(read(2, 8));
    ladder.events();
    lose_b(&mut ladder);
    ladder.pass(10);
    ladder.on(A).i(reassign(100, 2, 0));
    ladder.tells(&["Reassigned 2 7"]);
    ladder.pass(12);
    ladder.tells(&["Aborted 1"]);
    ladder.i(reassign(101, 1, 0));
    assert_eq!(ladder.sent().last().unwrap(), "TaskManagement 101 StatSN 4: Task does not exist");
    assert_eq!(ladder.session.tasks(), 1);
}

/// RFC 7143 6.3.6: the session waits for a connection.
#[test]
fn a_session_goes_on_with_a_new_connection() {
    let mut ladder = one();
    ladder.i(read(1, 8));
    ladder.events();
    ladder.lose(A);
    ladder.tells(&["ConnectionClosed 7: the connection was lost"]);
    assert_eq!(ladder.session.cids().count(), 0);
    ladder.complete(1, good_read(8));
    ladder.pass(20);
    // RFC 7143 6.3.4: a login with the old CID removes the old connection.
    ladder.add(A);
    ladder.tells(&[]);
    ladder.on(A).i(reassign(100, 1, 0));
    ladder.sends(&["TaskManagement 100 StatSN 1: Function complete", "Data-In 1 DataSN 0 0+8 F S status 00 StatSN 2"]);
    ladder.pass(29);
    ladder.tells(&[]);
}

// RFC 7143 7.5-2, 7.14-1.
#[test]
fn a_session_that_nobody_continues_ends_in_time() {
    let mut ladder = one();
    ladder.i(read(1, 8));
    ladder.events();
    ladder.lose(A);
    ladder.pass(21);
    ladder.tells(&["ConnectionClosed 7: the connection was lost"]);
    ladder.pass(1);
    ladder.tells(&["Aborted 1", "Closed nobody has continued the session in time"]);
    assert_eq!(ladder.session.poll_timeout(), None);
}

/// RFC 7143 11.15.4: the last connection is removed for recovery.
#[test]
fn the_last_connection_is_removed_for_recovery() {
    let mut ladder = one();
    ladder.i(read(1, 8));
    ladder.i(read(2, 8));
    ladder.events();
    ladder.complete(1, good_read(8));
    ladder.i(remove(90, A));
    ladder.tells(&["ConnectionClosed 7: removed for recovery"]);
    ladder.sends(&["Logout 90 StatSN 1: Connection or session closed successfully"]);
    ladder.pass(5);
    ladder.add(B);
    ladder.on(B).i(reassign(100, 1, 0));
    ladder.i(reassign(101, 2, 0));
    ladder.tells(&["Reassigned 2 8"]);
    ladder.complete(2, good_read(8));
    ladder.sends(&[
        "TaskManagement 100 StatSN 1: Function complete",
        "Data-In 1 DataSN 0 0+8 F S status 00 StatSN 2",
        "TaskManagement 101 StatSN 3: Function complete",
        "Data-In 2 DataSN 0 0+8 F S status 00 StatSN 4",
    ]);
}

#[test]
fn a_live_connection_is_removed_on_another() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 8));
    ladder.events();
    ladder.complete(1, good_read(8));
    ladder.on(A).i(remove(90, B));
    ladder.tells(&["ConnectionClosed 8: removed for recovery"]);
    ladder.on(B).sends(&[]);
    ladder.on(A).i(reassign(100, 1, 0));
    ladder.sends(&[
        "Logout 90 StatSN 1: Connection or session closed successfully",
        "TaskManagement 100 StatSN 2: Function complete",
        "Data-In 1 DataSN 0 0+8 F S status 00 StatSN 3",
    ]);
    ladder.add(B);
    ladder.on(B).i(read(2, 8));
    ladder.tells(&["Command 2 R 8"]);
}

// RFC 7143 6.3.4-2.
/// A live connection is reinstated: the tasks of the old one do not go on with the new one by themselves.
#[test]
fn tasks_wait_when_their_connection_is_reinstated() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 8));
    ladder.events();
    ladder.add(B);
    ladder.tells(&["ConnectionClosed 8: another connection has taken its place"]);
    ladder.complete(1, good_read(8));
    ladder.on(B).sends(&[]);
    ladder.i(reassign(100, 1, 0));
    assert_eq!(ladder.sent().len(), 2);
}

/// RFC 7143 11.14.1, reason 1: the tasks of a failed connection end.
#[test]
fn a_failed_connection_is_logged_out() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 8));
    ladder.events();
    ladder.lose(B);
    ladder.on(A).i(LogoutRequest { immediate: true, cid: B, ..logout(90, LogoutReason::CloseConnection) });
    ladder.tells(&["ConnectionClosed 8: the connection was lost", "Aborted 1"]);
    assert_eq!(ladder.sent()[1], "Logout 90 StatSN 2: Connection or session closed successfully");
    ladder.i(logout(91, LogoutReason::CloseConnection));
    ladder.tells(&["Closed logged out"]);
}

/// RFC 7143 6.3.5: a logout of the last connection closes no session in which somebody may still recover.
#[test]
fn the_last_logout_leaves_a_session_that_waits() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 8));
    ladder.events();
    ladder.lose(B);
    ladder.on(A).i(logout(91, LogoutReason::CloseConnection));
    ladder.tells(&["ConnectionClosed 8: the connection was lost", "ConnectionClosed 7: logged out"]);
    ladder.on(A).sent();
    ladder.add(A);
    ladder.on(A).i(remove(92, B));
    ladder.i(reassign(100, 1, 0));
    ladder.tells(&["Reassigned 1 7"]);
}

/// RFC 7143 11.5.1: ABORT TASK for a task that has lost its connection comes on another.
#[test]
fn a_task_without_a_connection_is_aborted() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 8));
    ladder.on(B).i(read(2, 8));
    ladder.on(B).i(write(3, 8));
    ladder.events();
    ladder.complete(2, good_read(8));
    ladder.on(B).sent();
    ladder.receive(3, 8);
    ladder.on(B).sent();
    lose_b(&mut ladder);
    let abort = |tag, task| TaskManagementRequest {
        referenced_task_tag: Some(itt(task)),
        ref_cmd_sn: CmdSn(task),
        ..manage(tag, Function::AbortTask)
    };
    ladder.on(A).i(abort(100, 1));
    ladder.i(abort(101, 2));
    ladder.tells(&["Aborted 1", "TaskManagement ABORT TASK"]);
    ladder
        .sends(&["Data-In 2 DataSN 0 0+8 F S status 00 StatSN 3", "TaskManagement 101 StatSN 4: Task does not exist"]);
    // A reset does not wait for data that cannot come.
    ladder.i(manage(102, Function::LogicalUnitReset));
    ladder.tells(&["Aborted 3", "TaskManagement LOGICAL UNIT RESET"]);
}

/// RFC 7143 4.2.3.3: no status follows the response to a function for many tasks, by no reassignment either.
#[test]
fn a_status_that_waits_for_a_connection_ends_with_its_task_set() {
    let mut ladder = two();
    ladder.on(B).i(read(1, 8));
    ladder.events();
    ladder.complete(1, good_read(8));
    lose_b(&mut ladder);
    ladder.i(manage(100, Function::AbortTaskSet));
    ladder.tells(&["TaskManagement ABORT TASK SET"]);
    ladder.i(reassign(101, 1, 0));
    ladder.sends(&["TaskManagement 101 StatSN 3: Task does not exist"]);
}

/// RFC 7143 11.15.4: with Time2Retain 0 nothing is kept.
#[test]
fn nothing_is_kept_for_no_time() {
    let mut ladder = Ladder::new(Parameters { time_2_retain: 0, ..parameters() });
    ladder.add(B);
    ladder.on(B).i(read(1, 8));
    ladder.events();
    ladder.lose(B);
    ladder.tells(&["Aborted 1", "ConnectionClosed 8: the connection was lost"]);
    ladder.on(A).i(remove(90, A));
    ladder.tells(&["Closed logged out"]);
    ladder.sends(&[
        "Async StatSN 1: Connection drop notification 8 2 0",
        "Logout 90 StatSN 2: Connection or session closed successfully",
    ]);
}

/// Connections that fail one after the other do not add up.
#[test]
fn what_is_kept_without_a_connection_is_bounded() {
    let config = SessionConfig { immediate_max: 16, retained_statuses_max: 2, ..config() };
    let mut ladder = Ladder::start(outcome(parameters()), config);
    ladder.acknowledges = false;
    assert_eq!(ladder.session.admission(B), LoginStatus::Success);
    for tag in 1..=5 {
        ladder.i(command(tag));
        ladder.events();
        ladder.complete(tag, good());
        ladder.sent();
        ladder.lose(A);
        ladder.add(A);
    }
    for tag in 1..=5 {
        ladder.i(reassign(100 + tag, tag, 0));
    }
    let answers = ladder.sent();
    let found = answers.iter().filter(|line| line.starts_with("Response")).count();
    assert_eq!(found, 2, "{answers:?}");
    // Failed connections count among those that were agreed upon.
    ladder.lose(A);
    ladder.add(B);
    ladder.lose(B);
    assert_eq!(ladder.session.admission(Cid(9)), LoginStatus::TooManyConnections);
    assert_eq!(ladder.session.admission(B), LoginStatus::Success);
}
