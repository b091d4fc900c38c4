//! Pings, logouts, and the ends of a session (RFC 7143 sections 7.14, 8, 11.9, 11.14, 11.18).

use super::ladder::*;
use iscsi_pdu::{Cid, LogoutReason, LogoutRequest, NopOut, Pdu};
use iscsi_session::Parameters;
use std::time::Duration;

fn ladder() -> Ladder {
    Ladder::new(Parameters::default())
}

fn pong() -> NopOut {
    NopOut { immediate: true, target_transfer_tag: Some(PING_TAG), ..NopOut::default() }
}

#[test]
fn a_ping_is_echoed_as_far_as_the_initiator_receives() {
    let mut ladder = Ladder::new(Parameters { send_segment_bytes_max: 512, ..Parameters::default() });
    ladder.i(nop_out(1, "are you there"));
    ladder.i(NopOut { immediate: true, data: pattern(0, 1000), ..nop_out(2, "") });
    assert_eq!(ladder.sent()[0], "NOP-In 1 StatSN 1 are you there");
    let Pdu::NopIn(echo) = &ladder.last[1] else { panic!("a NOP-In") };
    assert_eq!(echo.data, pattern(0, 512));
    // One that wants no answer gets none.
    ladder.i(NopOut { immediate: true, ..NopOut::default() });
    ladder.sends(&[]);
}

#[test]
fn silence_is_answered_by_a_ping_and_a_ping_by_life() {
    let mut ladder = ladder();
    assert_eq!(ladder.session.poll_timeout(), Some(ladder.now + Duration::from_secs(30)));
    ladder.pass(29);
    ladder.sends(&[]);
    ladder.pass(1);
    ladder.sends(&["NOP-In ping feed"]);
    ladder.pass(9);
    ladder.i(pong());
    assert_eq!(ladder.session.poll_timeout(), Some(ladder.now + Duration::from_secs(30)));
    ladder.pass(30);
    ladder.sends(&["NOP-In ping feed"]);
    ladder.pass(9);
    // Anything else is a sign of life too, but the ping stays open.
    ladder.i(nop_out(1, ""));
    ladder.pass(9);
    ladder.tells(&[]);
    ladder.pass(1);
    ladder.tells(&["Closed the peer has gone silent"]);
    assert_eq!(ladder.session.poll_timeout(), None);
}

/// A ping does not wait behind data that the connection takes slowly.
#[test]
fn a_ping_goes_first() {
    let mut ladder = ladder();
    ladder.i(read(1, 20_000));
    ladder.events();
    ladder.complete(1, good_read(20_000));
    ladder.pass(30);
    assert_eq!(ladder.sent()[0], "NOP-In ping feed");
}

#[test]
fn an_answer_to_a_ping_may_be_a_ping_itself() {
    let mut ladder = ladder();
    ladder.pass(30);
    ladder.sent();
    ladder.i(NopOut { data: "and you".into(), initiator_task_tag: Some(itt(1)), ..pong() });
    ladder.sends(&["NOP-In 1 StatSN 1 and you"]);
    ladder.pass(29);
    ladder.tells(&[]);
}

#[test]
fn without_an_interval_nothing_is_waited_for() {
    let config = iscsi_session::target::SessionConfig { ping_interval: None, ..config() };
    let ladder = Ladder::start(outcome(Parameters::default()), config);
    assert_eq!(ladder.session.poll_timeout(), None);
}

#[test]
fn a_silent_discovery_session_ends_without_a_ping() {
    let mut ladder = Ladder::discovery();
    ladder.pass(39);
    ladder.sends(&[]);
    ladder.tells(&[]);
    ladder.pass(1);
    ladder.sends(&[]);
    ladder.tells(&["Closed the peer has gone silent"]);
}

#[test]
fn a_logout_of_the_session_or_its_connection_ends_all_tasks() {
    for reason in [LogoutReason::CloseSession, LogoutReason::CloseConnection] {
        let mut ladder = ladder();
        ladder.i(read(1, 4));
        ladder.i(read(2, 4));
        ladder.events();
        ladder.complete(1, good_read(4)); // has ended: still goes out
        ladder.i(logout(3, reason));
        ladder.tells(&["Aborted 2", "Closed logged out"]);
        ladder.i(read(4, 4)); // nothing is taken any more
        ladder.complete(2, good_read(4));
        ladder.tells(&[]);
        ladder.sends(&[
            "Data-In 1 DataSN 0 0+4 F S status 00 StatSN 1",
            "Logout 3 StatSN 2: Connection or session closed successfully",
        ]);
        assert!(ladder.session.is_closed());
        assert_eq!(ladder.session.tasks(), 0);
    }
}

#[test]
fn a_logout_of_another_connection_changes_nothing() {
    let mut ladder = ladder();
    for reason in [LogoutReason::CloseConnection, LogoutReason::RemoveForRecovery] {
        ladder.i(LogoutRequest { cid: Cid(99), ..logout(3, reason) });
    }
    ladder.sends(&["Logout 3 StatSN 1: CID not found", "Logout 3 StatSN 2: CID not found"]);
    ladder.tells(&[]);
    ladder.i(read(4, 0));
    ladder.tells(&["Command 4 R 0"]);
}

/// RFC 7143 8.1.2, T17: a logout that failed leads to the cleanup, which nobody else can do.
#[test]
fn a_logout_for_recovery_is_not_supported() {
    let mut ladder = ladder();
    ladder.i(read(1, 0));
    ladder.events();
    ladder.i(logout(3, LogoutReason::RemoveForRecovery));
    ladder.tells(&["Aborted 1", "Closed the logout failed"]);
    ladder.sends(&["Logout 3 StatSN 1: Connection recovery is not supported"]);
}

#[test]
fn an_initiator_that_is_asked_to_log_out_does() {
    let mut ladder = ladder();
    ladder.session.request_logout(ladder.now);
    ladder.session.request_logout(ladder.now);
    ladder.sends(&["Async StatSN 1: Logout request 0 0 5"]);
    ladder.i(read(1, 0)); // a cache is flushed, perhaps
    ladder.tells(&["Command 1 R 0"]);
    ladder.complete(1, good());
    ladder.i(logout(2, LogoutReason::CloseSession));
    ladder.tells(&["Closed logged out"]);
    ladder.sends(&[
        "Response 1 status 00 StatSN 2 ExpDataSN 0",
        "Logout 2 StatSN 3: Connection or session closed successfully",
    ]);
}

/// RFC 7143 4.2.6-2.
#[test]
fn an_initiator_that_does_not_log_out_is_dropped() {
    let mut ladder = ladder();
    ladder.i(read(1, 0));
    ladder.events();
    ladder.session.request_logout(ladder.now);
    ladder.sent();
    ladder.pass(4);
    ladder.tells(&[]);
    ladder.pass(1);
    ladder.tells(&["Aborted 1", "Closed the initiator did not log out in the time that it was given"]);
    ladder.sends(&["Async StatSN 2: Connection drop notification 7 2 0"]);
}

/// RFC 7143 7.4.3-1: nothing but text and logout responses goes to a discovery session.
#[test]
fn a_discovery_session_is_dropped_without_a_word() {
    let mut ladder = Ladder::discovery();
    ladder.session.request_logout(ladder.now);
    ladder.tells(&["Closed the session was ended by its owner"]);
    ladder.sends(&[]);
}

/// RFC 7143 4.2.6-2.
#[test]
fn the_owner_ends_a_session() {
    let mut ladder = ladder();
    ladder.i(read(1, 0));
    ladder.events();
    ladder.session.terminate();
    ladder.session.terminate();
    ladder.tells(&["Aborted 1", "Closed the session was ended by its owner"]);
    ladder.sends(&["Async StatSN 1: Session drop notification 0 2 0"]);
}

/// RFC 7143 7.1.4.3-4, 7.14-1, 7.14-3.
#[test]
fn a_lost_connection_ends_the_session_and_the_first_reason_stays() {
    let mut ladder = ladder();
    ladder.i(read(1, 0));
    ladder.i(read(2, 4));
    ladder.events();
    ladder.complete(2, good_read(4));
    ladder.session.handle_connection_lost(ladder.now, CID);
    ladder.session.handle_connection_lost(ladder.now, CID);
    ladder.session.terminate();
    ladder.session.request_logout(ladder.now);
    ladder.tells(&["Aborted 1", "Closed the connection was lost"]);
    ladder.sends(&[]);
    assert_eq!(ladder.session.tasks(), 0);
    assert_eq!(ladder.session.data_in_bytes(CID), 0);
}

#[test]
fn other_connections_are_not_ours() {
    let mut ladder = ladder();
    ladder.session.handle_pdu(ladder.now, Cid(8), nop_out(1, "").into());
    ladder.session.handle_connection_lost(ladder.now, Cid(8));
    ladder.tells(&[]);
    ladder.sends(&[]);
    ladder.i(nop_out(1, ""));
    assert!(ladder.session.poll_transmit(Cid(8)).is_none());
    ladder.sends(&["NOP-In 1 StatSN 1 "]);
}
