//! Sessions of several connections, which the server accepts on different cores.

mod peer;

use bytes::Bytes;
use iscsi_pdu::{CmdSn, LoginStatus, Tsih};
use iscsi_runtime::{Disk, Limits, Server, Target};
use iscsi_session::LoginFailure;
use peer::{BLOCK, Peer, TARGET};
use std::net::SocketAddr;
use std::thread;

/// A server of two cores: of two connections one after the other, each goes to a core of its own.
fn serve(max_connections: u16) -> (Server, SocketAddr) {
    serve_with(Limits { max_connections, ..Limits::default() })
}

fn serve_with(limits: Limits) -> (Server, SocketAddr) {
    let server = Server::builder()
        .listen("127.0.0.1:0".parse().expect("an address"))
        .cores(2)
        .limits(limits)
        .target(Target::new(TARGET).lun(0, Disk::memory(1 << 20)))
        .start()
        .expect("the server starts");
    let address = server.addresses()[0];
    (server, address)
}

fn refusal(result: Result<Peer, LoginFailure>) -> Option<LoginStatus> {
    result.err().and_then(|failure| failure.status())
}

#[test]
fn a_session_has_no_more_connections_than_were_agreed_upon() {
    let (_server, address) = serve(1);
    let leading = Peer::log_in(address, 1, Tsih(0), 1).expect("a session");
    for cid in 2..6 {
        let joining = Peer::log_in(address, 1, leading.outcome.tsih, cid);
        assert_eq!(refusal(joining), Some(LoginStatus::TooManyConnections));
    }
}

#[test]
fn no_connection_joins_a_session_that_is_not_there() {
    let (_server, address) = serve(4);
    let leading = Peer::log_in(address, 1, Tsih(0), 1).expect("a session");
    let unknown = Tsih(leading.outcome.tsih.0 + 1);
    for cid in 1..4 {
        let joining = Peer::log_in(address, 1, unknown, cid);
        assert_eq!(refusal(joining), Some(LoginStatus::SessionDoesNotExist));
    }
}

/// Connections of one session, the unit attention of the new nexus taken; and the CmdSN that comes next.
fn session(address: SocketAddr, isid: u8, connections: u16) -> (Vec<Peer>, CmdSn) {
    let mut leading = Peer::log_in(address, isid, Tsih(0), 0).expect("a session");
    let tsih = leading.outcome.tsih;
    let cmd_sn = leading.outcome.cmd_sn;
    leading.take_attention(cmd_sn);
    let join = |cid| Peer::log_in(address, isid, tsih, cid).expect("another connection");
    (std::iter::once(leading).chain((1..connections).map(join)).collect(), cmd_sn.next())
}

/// Writes on each connection and reads it back on the next, `rounds` times, in its own place of the disk.
fn move_data(peers: &mut [Peer], mut cmd_sn: CmdSn, place: u32, rounds: u8) {
    for round in 0..rounds {
        for at in 0..peers.len() {
            let data = Bytes::from(vec![round ^ at as u8 ^ place as u8; 8 * BLOCK]);
            assert_eq!(peers[at].write(cmd_sn, place, data.clone()), 0);
            let next = (at + 1) % peers.len();
            assert_eq!(peers[next].read(cmd_sn.next(), place, 8), data);
            cmd_sn = cmd_sn.next().next();
        }
    }
}

#[test]
fn four_connections_from_both_cores_are_one_session() {
    let (server, address) = serve(4);
    let (mut peers, cmd_sn) = session(address, 1, 4);
    move_data(&mut peers, cmd_sn, 0, 20);
    drop(peers);
    server.shutdown(std::time::Duration::from_secs(5)).expect("a clean end");
}

#[test]
fn many_sessions_grow_at_the_same_time() {
    let (_server, address) = serve(4);
    thread::scope(|scope| {
        for isid in 1..=8 {
            scope.spawn(move || {
                let (mut peers, cmd_sn) = session(address, isid, 4);
                move_data(&mut peers, cmd_sn, u32::from(isid) * 8, 5);
            });
        }
    });
}

#[test]
fn a_connection_is_reinstated_from_another_core() {
    let (_server, address) = serve(2);
    let (mut peers, mut cmd_sn) = session(address, 1, 2);
    let tsih = peers[0].outcome.tsih;
    for turn in 0..6 {
        let mut old = peers.remove(0);
        peers.push(Peer::log_in(address, 1, tsih, turn % 2).expect("it takes the place of the other"));
        assert!(old.is_closed());
        for (lba, peer) in peers.iter_mut().enumerate() {
            assert_eq!(peer.write(cmd_sn, lba as u32, Bytes::from(vec![turn as u8; BLOCK])), 0);
            cmd_sn = cmd_sn.next();
        }
    }
}

#[test]
fn a_session_with_several_connections_is_reinstated_as_a_whole() {
    let (_server, address) = serve(4);
    let (mut old, _) = session(address, 1, 4);
    let (mut new, cmd_sn) = session(address, 1, 4);
    assert!(old.iter_mut().all(Peer::is_closed));
    move_data(&mut new, cmd_sn, 0, 2);
}

#[test]
fn a_session_that_has_lost_all_its_connections_is_found_by_another() {
    let (server, address) =
        serve_with(Limits { max_connections: 2, error_recovery_level: 2, time_2_retain: 20, ..Limits::default() });
    let (mut peers, mut cmd_sn) = session(address, 1, 2);
    for turn in 0..4 {
        let tsih = peers[0].outcome.tsih;
        assert_eq!(peers[0].write(cmd_sn, turn, Bytes::from(vec![turn as u8; BLOCK])), 0);
        drop(peers);
        peers = (0..2).map(|cid| Peer::log_in(address, 1, tsih, cid).expect("the session is there")).collect();
        assert_eq!(peers[1].read(cmd_sn.next(), turn, 1), vec![turn as u8; BLOCK]);
        cmd_sn = cmd_sn.next().next();
    }
    drop(peers);
    server.shutdown(std::time::Duration::from_millis(100)).expect("it does not wait for who may never come");
}
