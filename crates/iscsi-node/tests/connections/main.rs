//! Sessions of several connections: how they join and leave, and what is true of their data.

mod bench;
#[path = "../support/disk.rs"]
mod disk;
mod management;
#[path = "../support/portal.rs"]
mod portal;
mod recovery;

use bench::{Bench, Peer, TSIH};
use bytes::Bytes;
use disk::BLOCK;
use iscsi_node::target::{DATA_IN_BYTES_MAX, Event};
use iscsi_pdu::{Cid, InitiatorTaskTag, LoginStatus, LogoutReason, LogoutRequest, LogoutResponseCode, Pdu, Tsih};
use iscsi_session::CloseReason;
use scsi_block::cdb::Cdb;
use scsi_block::reservations::{FullStatus, OutAction, OutList, TransportId};
use std::time::Duration;

fn pattern(length: usize, seed: u8) -> Bytes {
    (0..length).map(|place| (place * 7 + place / 251) as u8 ^ seed).collect::<Vec<_>>().into()
}

/// The data of Data-In PDUs that end with status GOOD.
fn data_of(pdus: &[Pdu]) -> Vec<u8> {
    let piece = |pdu: &Pdu| match pdu {
        Pdu::DataIn(data) => data.data.to_vec(),
        other => panic!("{other:?}"),
    };
    pdus.iter().flat_map(piece).collect()
}

/// The one status among PDUs, with the additional sense code of a CHECK CONDITION.
fn status_of(pdus: &[Pdu]) -> (u8, Option<[u8; 2]>) {
    let responses: Vec<_> = pdus.iter().filter(|pdu| matches!(pdu, Pdu::ScsiResponse(_))).collect();
    match responses[..] {
        [Pdu::ScsiResponse(response)] => {
            // Fixed format behind SenseLength: bytes 12 and 13 (SPC-5 clause 4.4.3).
            (response.status, response.data.get(14..16).map(|code| [code[0], code[1]]))
        }
        _ => panic!("{pdus:?}"),
    }
}

fn log_out(bench: &mut Bench, peer: &mut Peer, reason: LogoutReason, cid: u16) -> LogoutResponseCode {
    let request = LogoutRequest {
        immediate: true,
        reason,
        cid: Cid(cid),
        initiator_task_tag: InitiatorTaskTag(7),
        cmd_sn: bench.cmd_sn,
        exp_stat_sn: peer.exp_stat_sn(),
    };
    peer.send(request);
    let answers = bench.answers(peer);
    match answers.iter().find(|pdu| matches!(pdu, Pdu::LogoutResponse(_))) {
        Some(Pdu::LogoutResponse(response)) => response.response,
        _ => panic!("{answers:?}"),
    }
}

#[test]
fn what_is_written_on_one_connection_is_read_on_another() {
    let mut bench = Bench::new(4);
    let mut peers = bench.session([1, 2, 3, 9]);
    assert_eq!((bench.target.connections(), bench.target.sessions()), (4, 1));
    for (lba, peer) in peers.iter_mut().enumerate() {
        let data = pattern(16 * BLOCK, lba as u8);
        bench.command(peer, &Cdb::write_10(lba as u32 * 16, 16), data.len(), data);
        assert_eq!(status_of(&bench.answers(peer)).0, 0);
    }
    for (place, peer) in peers.iter_mut().enumerate() {
        let lba = (place + 1) % 4;
        bench.command(peer, &Cdb::read_10(lba as u32 * 16, 16), 16 * BLOCK, Bytes::new());
        assert_eq!(data_of(&bench.answers(peer)), pattern(16 * BLOCK, lba as u8));
    }
}

#[test]
fn commands_are_carried_out_in_their_order_whichever_connection_brings_them() {
    let mut bench = Bench::new(2);
    let [mut first, mut second] = bench.session([1, 2]);
    let cmd_sn = bench.cmd_sn;
    let (old, new) = (pattern(BLOCK, 1), pattern(BLOCK, 2));
    bench.command_with(&mut second, cmd_sn.next(), &Cdb::write_10(0, 1), BLOCK, new.clone());
    assert!(bench.answers(&mut second).is_empty(), "the command before it has not come");
    bench.command_with(&mut first, cmd_sn, &Cdb::write_10(0, 1), BLOCK, old);
    assert_eq!(status_of(&bench.answers(&mut first)).0, 0);
    // Nothing has come on the second connection meanwhile.
    assert_eq!(status_of(&second.receive()).0, 0);
    assert_eq!(bench.disk[..BLOCK], new[..]);
}

#[test]
fn no_more_connections_join_than_were_agreed_upon_and_none_where_there_is_no_session() {
    let mut bench = Bench::new(2);
    let _peers = bench.session([1, 2]);
    assert_eq!(bench.log_in(TSIH, 3).err(), Some(LoginStatus::TooManyConnections));
    assert_eq!(bench.log_in(Tsih(2), 3).err(), Some(LoginStatus::SessionDoesNotExist));
}

/// RFC 7143 appendix C: a session does not span portal groups.
#[test]
fn a_connection_through_another_portal_group_joins_no_session() {
    let mut bench = Bench::new(4);
    let _first = bench.session([1]);
    let mut core = bench.another_core();
    core.entrance.portal_group_tag = 2;
    assert_eq!(core.log_in_by(TSIH, 2, Some(&mut bench)).err(), Some(LoginStatus::SessionDoesNotExist));
    bench.entrance.portal_group_tag = 2;
    assert_eq!(bench.log_in(TSIH, 2).err(), Some(LoginStatus::SessionDoesNotExist));
    bench.entrance.portal_group_tag = 1;
    bench.log_in(TSIH, 2).expect("the session is of this portal group");
}

#[test]
fn a_target_is_not_found_through_a_portal_group_that_is_no_port_of_it() {
    let mut bench = Bench::new(1);
    bench.entrance.portal_group_tag = 3;
    assert_eq!(bench.log_in(Tsih(0), 1).err(), Some(LoginStatus::NotFound));
}

#[test]
fn a_connection_logs_out_another_and_itself() {
    let mut bench = Bench::new(3);
    let [mut first, mut second, mut third] = bench.session([1, 2, 3]);
    assert_eq!(log_out(&mut bench, &mut first, LogoutReason::CloseConnection, 2), LogoutResponseCode::Closed);
    assert!(second.is_closed());
    assert_eq!(log_out(&mut bench, &mut first, LogoutReason::CloseConnection, 2), LogoutResponseCode::CidNotFound);
    assert_eq!(log_out(&mut bench, &mut first, LogoutReason::CloseConnection, 1), LogoutResponseCode::Closed);
    assert!(first.is_closed());
    // Each ends when its peer closes it too, or does not in time.
    assert_eq!((bench.target.connections(), bench.target.sessions()), (3, 1));
    let first_id = first.id;
    drop(first);
    bench.turn(first_id);
    assert_eq!((bench.target.connections(), bench.target.sessions()), (2, 1));
    bench.pass(Duration::from_secs(5));
    bench.turn(second.id);
    assert_eq!((bench.target.connections(), bench.target.sessions()), (1, 1));
    assert_eq!(log_out(&mut bench, &mut third, LogoutReason::CloseSession, 3), LogoutResponseCode::Closed);
    assert_eq!((bench.target.connections(), bench.target.sessions()), (0, 0));
}

#[test]
fn a_session_goes_on_without_the_connection_that_was_lost() {
    let mut bench = Bench::new(2);
    let [first, mut second] = bench.session([1, 2]);
    let lost = first.id;
    drop(first);
    bench.turn(lost);
    bench.command(&mut second, &Cdb::read_10(0, 1), BLOCK, Bytes::new());
    let answers = bench.answers(&mut second);
    assert!(matches!(answers[..], [Pdu::AsyncMessage(_), Pdu::DataIn(_)]), "{answers:?}");
    let second_id = second.id;
    drop(second);
    bench.turn(second_id);
    assert_eq!((bench.target.connections(), bench.target.sessions()), (0, 0));
    let ended = |event: &Event| matches!(event, Event::SessionEnded { tsih } if *tsih == TSIH);
    assert!(bench.events.iter().any(ended), "{:?}", bench.events);
}

// RFC 7143 11.14.5-1: once, with the next command.
#[test]
fn a_connection_that_is_reinstated_is_not_overtaken_by_what_it_wrote_before() {
    let mut bench = Bench::new(2);
    let [mut old, mut other] = bench.session([1, 2]);
    bench.held = Some(Vec::new());
    bench.command(&mut old, &Cdb::write_10(0, 1), BLOCK, pattern(BLOCK, 1));
    bench.turn(old.id);
    let mut new = bench.log_in(TSIH, 1).expect("it takes the place of the other");
    assert!(old.is_closed());
    assert_eq!((bench.target.connections(), bench.target.sessions()), (2, 1));
    let reinstated = |event: &Event| match event {
        Event::ConnectionClosed { connection, reason } => (*connection, *reason) == (old.id, CloseReason::Reinstated),
        _ => false,
    };
    assert!(bench.events.iter().any(reinstated), "{:?}", bench.events);

    // The initiator is told once, and comes again.
    bench.command(&mut new, &Cdb::test_unit_ready(), 0, Bytes::new());
    assert_eq!(status_of(&bench.answers(&mut new)), (2, Some([0x47, 0x7f])));
    bench.command(&mut other, &Cdb::test_unit_ready(), 0, Bytes::new());
    assert_eq!(status_of(&bench.answers(&mut other)), (0, None));
    bench.command(&mut new, &Cdb::write_10(0, 1), BLOCK, pattern(BLOCK, 2));
    bench.turn(new.id);
    assert_eq!(bench.held.as_ref().map(Vec::len), Some(1), "the write of old is in the store");
    bench.release();
    assert_eq!(status_of(&bench.answers(&mut new)).0, 0);
    assert_eq!(bench.disk[..BLOCK], pattern(BLOCK, 2)[..]);
}

#[test]
fn a_connection_whose_peer_does_not_read_holds_up_no_other() {
    const BLOCKS: u16 = 16_384;
    const BYTES: usize = BLOCKS as usize * BLOCK;
    let mut bench = Bench::new(2);
    let [mut lazy, mut busy] = bench.session([1, 2]);
    let reads = 2 * DATA_IN_BYTES_MAX / BYTES;
    bench.held = Some(Vec::new());
    for _ in 0..reads {
        bench.command(&mut lazy, &Cdb::read_10(0, BLOCKS), BYTES, Bytes::new());
    }
    bench.turn(lazy.id);
    assert_eq!(bench.held.as_ref().map(Vec::len), Some(reads / 2), "more reads wait for these");
    bench.held = None;
    bench.command(&mut busy, &Cdb::read_10(5, 1), BLOCK, Bytes::new());
    assert_eq!(data_of(&bench.answers(&mut busy)).len(), BLOCK);
}

#[test]
fn a_connection_that_went_to_another_node_has_lost_nothing() {
    let (mut here, mut there) = (Bench::new(2), Bench::new(2));
    let [mut first] = there.session([1]);
    let joined = here.log_in_by(TSIH, 2, Some(&mut there));
    let mut second = joined.expect("it joins");
    assert_eq!((here.target.connections(), here.target.poll_timeout()), (0, None));
    there.command(&mut first, &Cdb::write_10(0, 1), BLOCK, pattern(BLOCK, 3));
    assert_eq!(status_of(&there.answers(&mut first)).0, 0);
    there.command(&mut second, &Cdb::read_10(0, 1), BLOCK, Bytes::new());
    assert_eq!(data_of(&there.answers(&mut second)), pattern(BLOCK, 3));
}

// RFC 7143 4.4.2-2.
#[test]
fn the_port_of_an_initiator_is_known_by_name_and_isid() {
    let mut bench = Bench::new(1);
    let [mut peer] = bench.session([1]);
    let register = OutList { action_key: 7, ..OutList::default() }.encode();
    let cdb = Cdb::persist_out(OutAction::Register, None, register.len() as u32);
    bench.command(&mut peer, &cdb, register.len(), register.into());
    assert_eq!(status_of(&bench.answers(&mut peer)).0, 0);
    bench.command(&mut peer, &Cdb::persist_read_full_status(512), 512, Bytes::new());
    let answers = bench.answers(&mut peer);
    let [Pdu::DataIn(status)] = &answers[..] else { panic!("{answers:?}") };
    let registrations = FullStatus::decode(&status.data).unwrap().registrations;
    let (name, isid) = (&peer.outcome.initiator_name, peer.outcome.isid);
    assert_eq!(registrations[0].initiator_port, TransportId::iscsi_port(name, isid.0));
}
