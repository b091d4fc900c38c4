//! An initiator's node with several connections: how they come, are used, are lost, and what becomes of commands then.

mod bench;
#[path = "../support/disk.rs"]
mod disk;
#[path = "../support/portal.rs"]
mod portal;
mod random;

use bench::{Bench, Store, limits, pattern};
use disk::BLOCK;
use iscsi_node::initiator::{Event, Outcome};
use iscsi_node::target;
use iscsi_pdu::{Cid, TaskManagementFunction};
use iscsi_session::initiator::Transfer;
use iscsi_session::{CloseReason, Limits};
use scsi_block::LogicalUnitNumber;
use scsi_block::cdb::Cdb;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn joined(bench: &Bench) -> Vec<u16> {
    let joined = |event: &target::Event| match event {
        target::Event::ConnectionJoined { outcome, .. } => Some(outcome.cid.0),
        _ => None,
    };
    bench.target_events.iter().filter_map(joined).collect()
}

fn is_over(event: &Event) -> bool {
    matches!(event, Event::Closed(_) | Event::ConnectionLost(_) | Event::Unresponsive | Event::LoginFailed(_))
}

#[test]
fn a_session_has_as_many_connections_as_both_ends_want() {
    for (wanted, most, expected) in [(1, 8, 1), (2, 8, 2), (4, 8, 4), (4, 2, 2)] {
        let bench = Bench::new(wanted, Limits { max_connections: most, ..limits(0, 2) }, 1);
        assert_eq!((bench.initiator.connections(), bench.target.connections()), (expected, expected));
        assert_eq!((bench.target.sessions(), joined(&bench).len()), (1, expected - 1));
    }
}

#[test]
fn commands_spread_over_the_connections() {
    let mut bench = Bench::new(4, limits(0, 2), 1);
    bench.store = Store::Never;
    (0..8).for_each(|token| bench.read(token, token, 1));
    bench.run();
    // The one of the four that breaks has two of the eight.
    bench.cut(2);
    bench.store = Store::AtOnce;
    bench.pass(3 * SECOND);
    let (lost, answered): (Vec<_>, Vec<_>) =
        bench.outcomes().into_iter().partition(|(_, outcome)| matches!(outcome, Outcome::Lost));
    assert_eq!((lost.len(), answered.len()), (2, 6));
}

#[test]
fn a_command_is_lost_only_once_the_target_has_let_go_of_it() {
    for level in [0, 1] {
        let mut bench = Bench::new(2, limits(level, 2), 1);
        bench.store = Store::Never;
        bench.write(1, 0, pattern(1, 1));
        bench.write(2, 1, pattern(1, 2));
        bench.run();
        // The answer to a ping tells that both have come.
        bench.pass(6 * SECOND);
        bench.cut(0);
        bench.pass(SECOND);
        assert!(bench.outcomes().is_empty(), "the target may not know yet");
        assert_eq!(bench.initiator.connections(), 1);
        // Time2Wait is over: it was told over the other connection.
        bench.pass(2 * SECOND);
        assert!(matches!(bench.outcomes()[..], [(1, Outcome::Lost)]));
        assert_eq!(bench.initiator.connections(), 2, "another has come in its place");
        // What the old one has in the store does not overtake what comes after it.
        bench.write(3, 0, pattern(1, 3));
        bench.run();
        bench.store = Store::AtOnce;
        bench.run();
        // The unit tells the first command after it that commands were cleared.
        let outcomes = bench.outcomes();
        assert!(matches!(outcomes[..], [(3, Outcome::Command(_)), (2, Outcome::Command(_))]), "{outcomes:?}");
        bench.write(4, 0, pattern(1, 4));
        bench.run();
        assert_eq!(bench.good(), [4]);
        assert_eq!(bench.disk[..BLOCK], pattern(1, 4)[..]);
        assert!(!bench.events.iter().any(is_over));
    }
}

#[test]
fn a_late_word_of_a_lost_connection_does_not_end_the_one_in_its_place() {
    for level in [0, 1] {
        let mut bench = Bench::new(3, limits(level, 0), 1);
        bench.store = Store::Never;
        bench.write(1, 0, pattern(1, 1));
        bench.run();
        // The target tells of the loss on its first connection, the initiator on one that has less to do.
        bench.wire(0).ours.change(|faults| faults.stalled = true);
        bench.wire(1).ours.change(|faults| faults.cut_after_pdus = Some(0));
        bench.run();
        assert_eq!(bench.wanted, [Cid(1), Cid(2), Cid(1)], "the third takes the place of the first");
        assert_eq!(bench.initiator.connections(), 3);
        bench.events.clear();
        bench.wire(0).ours.change(|faults| faults.stalled = false);
        bench.store = Store::AtOnce;
        bench.run();
        assert_eq!(bench.good(), [1]);
        assert!(bench.events.is_empty(), "{:?}", bench.events);
        assert_eq!(bench.initiator.connections(), 3);
    }
}

// RFC 7143 11.2.1.8-1: the ports of two connections give the same tags.
#[test]
fn the_tag_of_a_lost_command_names_no_other_before_the_target_has_let_go_of_it() {
    for level in [0, 1] {
        let mut bench = Bench::new(2, limits(level, 2), 1);
        bench.store = Store::Never;
        bench.write(1, 0, pattern(1, 1));
        bench.run();
        bench.pass(6 * SECOND);
        bench.cut(0);
        bench.run();
        // Each of them gets the tag that the one before has given back, with the next count of its use.
        for token in 2..10 {
            bench.command(token, &Cdb::test_unit_ready(), Transfer::None);
            bench.run();
            assert_eq!(bench.good(), [token]);
        }
        bench.pass(3 * SECOND);
        assert!(matches!(bench.outcomes()[..], [(1, Outcome::Lost)]));
    }
}

#[test]
fn the_last_connection_takes_the_session_along_below_level_2() {
    for (level, connections) in [(0, 1), (1, 1), (0, 2), (1, 2)] {
        let mut bench = Bench::new(connections, limits(level, 2), 1);
        bench.store = Store::Never;
        bench.write(1, 0, pattern(1, 1));
        bench.run();
        bench.is_reachable = false;
        (0..connections).for_each(|cid| bench.cut(cid));
        bench.turn();
        assert!(matches!(bench.outcomes()[..], [(1, Outcome::Lost)]));
        assert!(bench.initiator.is_ended());
        assert!(matches!(bench.events.last(), Some(Event::ConnectionLost(_))), "{:?}", bench.events);
    }
}

// RFC 7143 7.1.4.3-2, 7.2.2-1
#[test]
fn at_level_2_commands_go_on_on_another_connection() {
    let mut bench = Bench::new(2, limits(2, 2), 1);
    let data = pattern(2000, 5);
    bench.write(1, 0, data.clone());
    bench.run();
    assert_eq!(bench.good(), [1]);
    bench.store = Store::Never;
    bench.read(2, 0, 2000);
    bench.write(3, 2000, data.clone());
    bench.run();
    bench.cut(0);
    bench.cut(1);
    bench.run();
    assert_eq!(bench.initiator.connections(), 0);
    assert_eq!(bench.initiator.window(), 0);
    bench.store = Store::AtOnce;
    bench.pass(6 * SECOND);
    assert_eq!(bench.good(), [2, 3]);
    assert_eq!(bench.disk[2000 * BLOCK..4000 * BLOCK], data[..]);
    assert_eq!((bench.initiator.connections(), bench.target.sessions()), (2, 1));
}

#[test]
fn at_level_2_one_of_two_connections_is_logged_out_for_recovery() {
    let mut bench = Bench::new(2, limits(2, 0), 1);
    bench.store = Store::Never;
    bench.write(1, 0, pattern(8, 1));
    bench.write(2, 8, pattern(8, 2));
    bench.run();
    bench.is_reachable = false;
    bench.cut(0);
    bench.store = Store::AtOnce;
    bench.run();
    assert_eq!(bench.good(), [1, 2]);
    assert_eq!(bench.disk[..16 * BLOCK], [pattern(8, 1), pattern(8, 2)].concat()[..]);
    assert_eq!(bench.initiator.connections(), 1);
    bench.is_reachable = true;
    bench.pass(11 * SECOND);
    assert_eq!(bench.initiator.connections(), 2);
}

// RFC 7143 6.3.6
#[test]
fn a_session_at_level_2_outlives_its_last_connection_for_so_long() {
    let mut bench = Bench::new(1, limits(2, 2), 1);
    bench.store = Store::Never;
    bench.write(1, 0, pattern(1, 1));
    bench.run();
    bench.is_reachable = false;
    bench.cut(0);
    bench.pass(20 * SECOND);
    assert!(bench.outcomes().is_empty());
    assert!(!bench.events.iter().any(is_over));
    bench.pass(3 * SECOND);
    assert!(matches!(bench.outcomes()[..], [(1, Outcome::Lost)]));
    assert!(bench.initiator.is_ended());
    // It was tried again and again, and not without rest.
    assert!((5..20).contains(&bench.wanted.len()), "{:?}", bench.wanted);
}

#[test]
fn a_session_that_the_target_has_forgotten_is_not_continued() {
    let mut bench = Bench::new(1, limits(2, 2), 1);
    bench.is_reachable = false;
    bench.cut(0);
    bench.pass(SECOND);
    bench.target.end_all(bench.now);
    bench.run();
    bench.is_reachable = true;
    bench.pass(10 * SECOND);
    assert!(matches!(bench.events.last(), Some(Event::Closed(CloseReason::ConnectionLost))), "{:?}", bench.events);
    assert!(bench.wanted.len() < 8, "{:?}", bench.wanted);
}

#[test]
fn a_connection_that_cannot_come_back_is_tried_again_with_longer_and_longer_rests() {
    let mut bench = Bench::new(2, limits(0, 0), 1);
    bench.is_reachable = false;
    bench.cut(1);
    bench.pass(60 * SECOND);
    // 0, 0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 12.7, 22.7, 32.7, 42.7, 52.7 s
    assert_eq!(bench.wanted[1..], [Cid(1); 12]);
    bench.is_reachable = true;
    bench.pass(10 * SECOND);
    assert_eq!(bench.initiator.connections(), 2);
    assert!(!bench.events.iter().any(is_over));
}

#[test]
fn a_logout_ends_all_connections() {
    for level in 0..=2 {
        let mut bench = Bench::new(4, limits(level, 2), 1);
        bench.cut(3);
        bench.run();
        bench.initiator.logout(bench.now, 9);
        bench.run();
        assert!(matches!(bench.outcomes()[..], [(9, Outcome::Logout(_))]));
        assert!(matches!(bench.events.last(), Some(Event::Closed(CloseReason::LoggedOut))));
        let wanted = bench.wanted.len();
        bench.pass(6 * SECOND);
        assert_eq!(bench.wanted.len(), wanted);
        assert_eq!((bench.target.connections(), bench.target.sessions()), (0, 0));
    }
}

#[test]
fn a_logout_without_a_connection_ends_the_session_here() {
    let mut bench = Bench::new(1, limits(2, 2), 1);
    bench.cut(0);
    bench.run();
    bench.initiator.logout(bench.now, 9);
    bench.run();
    assert!(matches!(bench.outcomes()[..], [(9, Outcome::Lost)]));
    assert!(bench.initiator.is_ended());
}

// RFC 7143 11.9.1-3
#[test]
fn a_target_that_wants_to_be_left_gets_no_further_connection() {
    let mut bench = Bench::new(2, limits(0, 0), 1);
    bench.target.request_logout(bench.now);
    bench.run();
    assert!(bench.events.iter().any(|event| matches!(event, Event::LogoutRequested { .. })));
    bench.cut(1);
    bench.pass(SECOND);
    assert_eq!(bench.wanted, [Cid(1)]);
    bench.initiator.logout(bench.now, 9);
    bench.run();
    assert!(matches!(bench.events.last(), Some(Event::Closed(CloseReason::LoggedOut))));
}

#[test]
fn a_function_goes_while_a_connection_is_lost() {
    let mut bench = Bench::new(2, limits(0, 2), 1);
    bench.store = Store::Never;
    bench.write(1, 0, pattern(1, 1));
    bench.run();
    bench.cut(0);
    bench.run();
    bench.initiator.manage(bench.now, 5, TaskManagementFunction::LogicalUnitReset, LogicalUnitNumber::from(0));
    bench.run();
    bench.store = Store::AtOnce;
    bench.pass(3 * SECOND);
    let outcomes = bench.outcomes();
    assert!(outcomes.iter().any(|(token, outcome)| *token == 5 && matches!(outcome, Outcome::TaskManagement(_))));
    assert!(outcomes.iter().any(|(token, outcome)| *token == 1 && matches!(outcome, Outcome::Lost | Outcome::Aborted)));
}
