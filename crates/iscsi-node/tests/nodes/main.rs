//! A target node and initiator nodes: what commands, functions, logins and sessions come to.

mod answered;
mod bench;
#[path = "../support/disk.rs"]
mod disk;
mod judged_again;
#[path = "../support/portal.rs"]
mod portal;
mod violations;

use bench::{Bench, pattern};
use disk::BLOCK;
use iscsi_node::initiator::{self, Outcome, Request};
use iscsi_node::target::{self, AccessList, AccessRule, IoRequest, Portal, PortalAddress};
use iscsi_pdu::{LoginStatus, Residual, TaskAttribute, TaskManagementFunction, TaskManagementResponseCode, Tsih};
use iscsi_session::SendTargetsScope;
use iscsi_session::initiator::Transfer;
use iscsi_transport::LoopbackPort;
use portal::TARGET;
use scsi_block::LogicalUnitNumber;
use scsi_block::cdb::Cdb;
use scsi_block::io::BlockIo;
use std::time::Duration;

#[test]
fn what_is_written_is_read_back_whatever_its_size() {
    let mut bench = Bench::new();
    let initiator = bench.ready(1);
    // Within the first burst, beyond it, and beyond several bursts.
    for blocks in [1_u32, 8, 512, 513, 4096, 8192] {
        let data = pattern(blocks as usize * BLOCK);
        bench.command(initiator, 1, &Cdb::write_16(3, blocks), Transfer::Write(data.clone()));
        bench.run();
        assert!(matches!(bench.only_outcome(initiator), Outcome::Command(done) if done.status == 0), "{blocks} blocks");
        bench.command(initiator, 2, &Cdb::read_16(3, blocks), Transfer::Read(data.len() as u32));
        bench.run();
        let Outcome::Command(done) = bench.only_outcome(initiator) else { panic!("the read has ended") };
        assert_eq!(done.status, 0);
        assert_eq!(done.data.concat(), data, "{blocks} blocks");
    }
}

// RFC 7143 11.13.5-4: the target closes the connection of a login that it refused.
#[test]
fn a_target_that_is_not_there_is_not_found() {
    let mut bench = Bench::new();
    let initiator = bench.connect(1, Some("iqn.2026-01.test:other"));
    let failed = bench.events[initiator].iter().any(|event| match event {
        initiator::Event::LoginFailed(failure) => failure.status() == Some(LoginStatus::NotFound),
        _ => false,
    });
    assert!(failed, "{:?}", bench.events[initiator]);
    assert_eq!(bench.target.connections(), 0);
}

#[test]
fn an_initiator_that_is_not_named_is_not_let_in_and_learns_of_no_target() {
    let mut bench = Bench::with_portal(|portal| {
        portal.targets[0].access = AccessList::of([AccessRule::of_initiator("iqn.2026-01.test:friend")])
    });
    let initiator = bench.connect(1, Some(TARGET));
    let failed = bench.events[initiator].iter().any(|event| match event {
        initiator::Event::LoginFailed(failure) => failure.status() == Some(LoginStatus::AuthorizationFailure),
        _ => false,
    });
    assert!(failed, "{:?}", bench.events[initiator]);

    let discovery = bench.connect(2, None);
    bench.initiators[discovery].send_targets(bench.now, 1, SendTargetsScope::All);
    bench.run();
    assert!(matches!(bench.only_outcome(discovery), Outcome::Targets(targets) if targets.is_empty()));
}

// RFC 7143 11.4.5.3-1, 11.4.5.3-2, 11.4.5.3-3: what SCSI has cut is not counted.
#[test]
fn a_truncation_of_scsi_is_no_overflow() {
    let mut bench = Bench::new();
    let initiator = bench.ready(1);
    let mut residual = |allocation_length, expected| {
        bench.command(initiator, 1, &Cdb::inquiry(allocation_length), Transfer::Read(expected));
        bench.run();
        let Outcome::Command(done) = bench.only_outcome(initiator) else { panic!("the command has ended") };
        assert_eq!(done.status, 0);
        (done.data.concat().len(), done.residual)
    };
    assert_eq!(residual(8, 8), (8, Residual::None));
    assert_eq!(residual(8, 36), (8, Residual::Underflow(28)));
    let (length, short) = residual(4096, 4096);
    assert_eq!(short, Residual::Underflow(4096 - length as u32));
}

// RFC 7143 13.8-2: with the tag.
#[test]
fn discovery_tells_the_targets_and_their_address() {
    let mut bench = Bench::new();
    let initiator = bench.connect(1, None);
    bench.initiators[initiator].send_targets(bench.now, 1, SendTargetsScope::All);
    bench.run();
    let Outcome::Targets(targets) = bench.only_outcome(initiator) else { panic!("targets were asked for") };
    assert_eq!(targets.len(), 1);
    assert_eq!(targets[0].name, TARGET);
    assert_eq!(targets[0].addresses, ["127.0.0.1:3260,1"]);
    bench.initiators[initiator].logout(bench.now, 2);
    bench.run();
    assert!(matches!(bench.only_outcome(initiator), Outcome::Logout(_)));
    assert_eq!(bench.target.connections(), 0);
}

/// RFC 7143 appendix C: all ways to a target are told, and only those that lead to it.
#[test]
fn discovery_tells_all_ways_to_a_target() {
    let at = |address: &str, tag| PortalAddress::new(address, tag);
    let told = |change: &dyn Fn(&mut Portal)| {
        let mut bench = Bench::with_portal(change);
        let initiator = bench.connect(1, None);
        bench.initiators[initiator].send_targets(bench.now, 1, SendTargetsScope::All);
        bench.run();
        let Outcome::Targets(targets) = bench.only_outcome(initiator) else { panic!("targets were asked for") };
        targets.into_iter().map(|target| target.addresses).collect::<Vec<_>>()
    };
    let known = [at("192.0.2.1:3260", 2), at("127.0.0.1:3260", 1), at("192.0.2.2:3260", 3)];
    assert_eq!(told(&|portal| portal.addresses = known.to_vec()), [["127.0.0.1:3260,1", "192.0.2.1:3260,2"]]);
    assert_eq!(told(&|portal| portal.advertised_addresses = known[..1].to_vec()), [["192.0.2.1:3260,2"]]);
    assert!(told(&|portal| portal.advertised_addresses = known[2..].to_vec()).is_empty());
}

// RFC 7143 11.5.1-12.
#[test]
fn a_reset_is_answered_after_the_writes_that_it_ends_have_come_back() {
    let mut bench = Bench::new();
    let initiator = bench.ready(1);
    bench.held = Some(Vec::new());
    bench.command(initiator, 1, &Cdb::write_16(0, 1), Transfer::Write(pattern(BLOCK)));
    bench.run();
    bench.initiators[initiator].manage(
        bench.now,
        2,
        TaskManagementFunction::LogicalUnitReset,
        LogicalUnitNumber::from(0),
    );
    bench.run();
    assert!(bench.outcomes(initiator).is_empty(), "the write is still in the store");
    bench.release();
    bench.run();
    let outcomes = bench.outcomes(initiator);
    let code = |token| outcomes.iter().find(|(found, _)| *found == token).map(|(_, outcome)| outcome);
    assert!(matches!(code(1), Some(Outcome::Aborted)), "{outcomes:?}");
    let complete = TaskManagementResponseCode::FunctionComplete;
    assert!(matches!(code(2), Some(Outcome::TaskManagement(response)) if *response == complete), "{outcomes:?}");
}

#[test]
fn ordered_and_head_of_queue_tasks_begin_in_their_turn() {
    let mut bench = Bench::new();
    let initiator = bench.ready(1);
    let submit = |bench: &mut Bench, token: u64, attribute| {
        let transfer = Transfer::Write(pattern(BLOCK));
        let request = Request::new(LogicalUnitNumber::from(0), &Cdb::write_16(token, 1), transfer);
        let request = request.with_attribute(attribute);
        bench.initiators[initiator].submit(bench.now, token, request).expect("the window has room");
        bench.run();
    };
    let in_store = |bench: &Bench| {
        let lba = |request: &IoRequest| match &request.io {
            BlockIo::Write { lba, .. } => *lba,
            other => panic!("{other:?}"),
        };
        bench.held.iter().flatten().map(lba).collect::<Vec<u64>>()
    };
    // What is in the store ends, and the next waits there.
    let step = |bench: &mut Bench| {
        for request in bench.held.replace(Vec::new()).unwrap_or_default() {
            bench.answer(request);
        }
        bench.run();
    };
    bench.held = Some(Vec::new());
    submit(&mut bench, 1, TaskAttribute::Simple);
    submit(&mut bench, 2, TaskAttribute::Ordered);
    submit(&mut bench, 3, TaskAttribute::Simple);
    submit(&mut bench, 4, TaskAttribute::Untagged);
    submit(&mut bench, 5, TaskAttribute::Ordered);
    submit(&mut bench, 6, TaskAttribute::HeadOfQueue);
    assert_eq!(in_store(&bench), [1, 6]);
    step(&mut bench);
    assert_eq!(in_store(&bench), [2]);
    step(&mut bench);
    assert_eq!(in_store(&bench), [3, 4]);
    step(&mut bench);
    assert_eq!(in_store(&bench), [5]);
    bench.release();
    bench.run();
    assert_eq!(bench.outcomes(initiator).len(), 6);
}

#[test]
fn a_task_that_waits_for_its_turn_is_aborted_like_any_other() {
    let mut bench = Bench::new();
    let initiator = bench.ready(1);
    bench.held = Some(Vec::new());
    for (token, attribute) in [(1, TaskAttribute::Simple), (2, TaskAttribute::Ordered), (3, TaskAttribute::Simple)] {
        let request =
            Request::new(LogicalUnitNumber::from(0), &Cdb::write_16(token, 1), Transfer::Write(pattern(BLOCK)));
        bench.initiators[initiator].submit(bench.now, token, request.with_attribute(attribute)).expect("there is room");
    }
    bench.run();
    bench.initiators[initiator].manage(bench.now, 4, TaskManagementFunction::AbortTaskSet, LogicalUnitNumber::from(0));
    bench.run();
    bench.release();
    bench.run();
    let outcomes = bench.outcomes(initiator);
    assert_eq!(outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Aborted)).count(), 3, "{outcomes:?}");
    bench.command(initiator, 5, &Cdb::write_16(0, 1), Transfer::Write(pattern(BLOCK)));
    bench.run();
    assert!(matches!(bench.only_outcome(initiator), Outcome::Command(_)));
}

// RFC 7143 11.5.1-13: by the owner's word.
#[test]
fn a_target_reset_is_refused_without_the_right_to_it() {
    let mut bench = Bench::new();
    let initiator = bench.ready(1);
    let lun = LogicalUnitNumber::from(0);
    bench.initiators[initiator].manage(bench.now, 1, TaskManagementFunction::TargetWarmReset, lun);
    bench.run();
    let refused = TaskManagementResponseCode::FunctionAuthorizationFailed;
    assert!(matches!(bench.only_outcome(initiator), Outcome::TaskManagement(response) if response == refused));
}

#[test]
fn a_session_ends_only_after_its_writes_have_come_back() {
    let mut bench = Bench::new();
    let initiator = bench.ready(1);
    bench.held = Some(Vec::new());
    bench.command(initiator, 1, &Cdb::write_16(0, 1), Transfer::Write(pattern(BLOCK)));
    bench.run();
    bench.target.end_session(bench.now, Tsih(1));
    bench.run();
    let ended = |bench: &Bench| {
        bench.target_events.iter().any(|event| matches!(event, target::Event::SessionEnded { tsih: Tsih(1) }))
    };
    assert_eq!((bench.target.connections(), bench.target.sessions()), (0, 1));
    assert!(!ended(&bench), "the write is still in the store");
    bench.release();
    bench.run();
    assert!(ended(&bench));
    assert_eq!(bench.target.sessions(), 0);
}

#[test]
fn a_cold_reset_ends_the_session_when_its_writes_have_come_back() {
    let mut bench = Bench::with_portal(|portal| portal.targets[0].resettable = true);
    let initiator = bench.ready(1);
    bench.held = Some(Vec::new());
    bench.command(initiator, 1, &Cdb::write_16(0, 1), Transfer::Write(pattern(BLOCK)));
    bench.run();
    let lun = LogicalUnitNumber::from(0);
    bench.initiators[initiator].manage(bench.now, 2, TaskManagementFunction::TargetColdReset, lun);
    bench.run();
    assert_eq!(bench.target.sessions(), 1, "the write is still in the store");
    bench.release();
    bench.run();
    assert_eq!((bench.target.connections(), bench.target.sessions()), (0, 0));
    let outcomes = bench.outcomes(initiator);
    assert!(outcomes.iter().any(|(token, end)| (*token, matches!(end, Outcome::TaskManagement(_))) == (2, true)));
}

#[test]
fn a_handle_for_a_login_that_is_over_comes_back() {
    let mut bench = Bench::new();
    let (peer, port) = LoopbackPort::pair();
    let connection = bench.target.accept(bench.now, port, "127.0.0.1:3260", [1; 32]);
    drop(peer);
    bench.target.drive(bench.now, connection);
    bench.target.admit(bench.now, connection, Tsih(7));
    let events: Vec<_> = std::iter::from_fn(|| bench.target.poll_event()).collect();
    assert!(matches!(events.last(), Some(target::Event::SessionEnded { tsih: Tsih(7) })), "{events:?}");
}

#[test]
fn a_peer_that_does_not_read_holds_bounded_read_data() {
    let mut bench = Bench::new();
    let initiator = bench.ready(1);
    bench.held = Some(Vec::new());
    let blocks = (8 << 20) / BLOCK as u32;
    for token in 0..32 {
        bench.command(initiator, token, &Cdb::read_16(0, blocks), Transfer::Read(8 << 20));
    }
    bench.run();
    let asked: usize = bench.held.as_ref().map_or(0, Vec::len);
    assert_eq!(asked, target::DATA_IN_BYTES_MAX / (8 << 20), "more reads wait for these");
    bench.release();
    bench.run();
    assert_eq!(bench.outcomes(initiator).len(), 32);
}

#[test]
fn a_login_that_never_ends_is_ended() {
    let mut bench = Bench::new();
    let (_silent, port) = LoopbackPort::pair();
    bench.target.accept(bench.now, port, "127.0.0.1:3260", [1; 32]);
    bench.now += Duration::from_secs(14);
    bench.target.handle_timeout(bench.now);
    bench.target.flush(bench.now);
    assert_eq!(bench.target.connections(), 1);
    bench.now += Duration::from_secs(2);
    bench.target.handle_timeout(bench.now);
    bench.target.flush(bench.now);
    assert_eq!(bench.target.connections(), 0);
}

#[test]
fn a_shutdown_asks_for_a_logout_and_drops_who_does_not_answer() {
    let mut bench = Bench::new();
    let initiator = bench.ready(1);
    bench.target.request_logout(bench.now);
    bench.run();
    let asked = |event: &initiator::Event| matches!(event, initiator::Event::LogoutRequested { .. });
    assert!(bench.events[initiator].iter().any(asked), "{:?}", bench.events[initiator]);
    bench.now += Duration::from_secs(30);
    bench.target.handle_timeout(bench.now);
    bench.target.flush(bench.now);
    bench.target.flush(bench.now);
    assert_eq!(bench.target.connections(), 0);
}

#[test]
fn a_peer_that_does_not_send_what_it_announced_holds_bounded_write_data() {
    let mut bench = Bench::new();
    let initiator = bench.ready(1);
    bench.held = Some(Vec::new());
    let data = pattern(8 << 20);
    let blocks = (8 << 20) / BLOCK as u32;
    for token in 0..12 {
        bench.command(initiator, token, &Cdb::write_16(0, blocks), Transfer::Write(data.clone()));
    }
    bench.run();
    let asked: usize = bench.held.as_ref().map_or(0, Vec::len);
    assert_eq!(asked, target::DATA_OUT_BYTES_MAX / (8 << 20), "no data of more writes was asked for");
    bench.release();
    bench.run();
    let outcomes = bench.outcomes(initiator);
    assert_eq!(outcomes.len(), 12);
    assert!(outcomes.iter().all(|(_, outcome)| matches!(outcome, Outcome::Command(done) if done.status == 0)));
}

#[test]
fn writes_that_wait_for_room_go_on_when_those_before_them_are_aborted() {
    let mut bench = Bench::new();
    let initiator = bench.ready(1);
    bench.held = Some(Vec::new());
    let data = pattern(8 << 20);
    let blocks = (8 << 20) / BLOCK as u32;
    for token in 0..6 {
        bench.command(initiator, token, &Cdb::write_16(0, blocks), Transfer::Write(data.clone()));
    }
    bench.run();
    bench.initiators[initiator].manage(bench.now, 6, TaskManagementFunction::AbortTaskSet, LogicalUnitNumber::from(0));
    bench.run();
    bench.command(initiator, 7, &Cdb::write_16(0, blocks), Transfer::Write(data));
    bench.release();
    bench.run();
    let outcomes = bench.outcomes(initiator);
    assert_eq!(outcomes.len(), 8, "{outcomes:?}");
    let last = outcomes.iter().find(|(token, _)| *token == 7).map(|(_, outcome)| outcome);
    assert!(matches!(last, Some(Outcome::Command(done)) if done.status == 0), "{outcomes:?}");
}

#[test]
fn what_a_flush_has_set_going_is_seen_before_the_owner_sleeps() {
    let mut bench = Bench::new();
    let initiator = bench.ready(1);
    bench.held = Some(Vec::new());
    let blocks = (8 << 20) / BLOCK as u32;
    for token in 0..5 {
        bench.command(initiator, token, &Cdb::read_16(0, blocks), Transfer::Read(8 << 20));
    }
    bench.run();
    bench.release();
    // One turn of the owner, in the order of its documentation.
    bench.target.flush(bench.now);
    bench.handle_target_events();
    bench.target.flush(bench.now);
    assert!(bench.target.has_more() || bench.target.poll_io().is_none(), "the fifth read waits for nobody");
    bench.run();
    assert_eq!(bench.outcomes(initiator).len(), 5);
}
