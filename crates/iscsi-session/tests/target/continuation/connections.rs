//! Connections that fail, are removed, logged out or reinstated, and sessions that wait for one.

use super::*;

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
