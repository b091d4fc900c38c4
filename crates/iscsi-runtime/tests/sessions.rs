//! What a server tells of its sessions, and how they are dropped.

use bytes::Bytes;
use iscsi_pdu::Isid;
use iscsi_runtime::{
    Client, ClientConfig, Disk, Dropped, NetworkState, Server, SessionSelector, SessionType, Target, Traffic, Tsih,
};
use std::time::{Duration, Instant};

const TARGET: &str = "iqn.2026-01.test:target";
const OTHER: &str = "iqn.2026-01.test:other";
const MIB: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

fn server() -> Server {
    let target = Target::new(TARGET).alias("for people").lun(3, Disk::memory(2 * MIB)).lun(0, Disk::memory(MIB));
    let other = Target::new(OTHER).lun(0, Disk::memory(MIB));
    let address = "127.0.0.1:0".parse().unwrap();
    Server::builder().listen(address).listen_in_group(address, 2).cores(2).target(target).target(other).start().unwrap()
}

fn connect(server: &Server, target: &str, initiator: &str) -> Client {
    let config = ClientConfig::new(server.addresses()[0].to_string(), target);
    let config = config.initiator_name(format!("iqn.2026-01.test:{initiator}")).isid(Isid([0x80, 0, 0, 0, 0, 7]));
    Client::connect(config).wait().unwrap()
}

#[test]
fn a_server_tells_what_it_offers() {
    let server = server();
    let state = server.state();
    assert_eq!((state.silent_cores, state.sessions.len(), state.targets.len()), (0, 0, 2));
    let target = &state.targets[0];
    assert_eq!((target.name.as_str(), target.alias.as_deref()), (TARGET, Some("for people")));
    let luns: Vec<_> = target.luns.iter().map(|lun| (lun.number, lun.bytes, lun.store.as_str())).collect();
    assert_eq!(luns, [(0, MIB, "memory"), (3, 2 * MIB, "memory")]);
    let groups: Vec<_> = target.portal_groups.iter().map(|group| (group.tag, group.addresses.clone())).collect();
    assert_eq!(groups, [(1, vec![server.addresses()[0]]), (2, vec![server.addresses()[1]])]);
}

#[test]
fn a_server_tells_who_is_there_and_what_they_have_moved() {
    let server = server();
    let client = connect(&server, TARGET, "one");
    let disk = client.disk(0).wait().unwrap();
    let before = server.state().sessions.remove(0);
    disk.write(0, Bytes::from(vec![1; 4096])).wait().unwrap();
    disk.read(0, 2).wait().unwrap();
    let state = server.state();
    let [session] = &state.sessions[..] else { panic!("{state:?}") };
    assert_eq!(session.initiator_name, "iqn.2026-01.test:one");
    assert_eq!((session.target_name.as_deref(), session.portal_group_tag), (Some(TARGET), 1));
    assert_eq!((session.session_type, session.isid.0[5]), (SessionType::Normal, 7));
    let moved = Traffic {
        commands: before.traffic.commands + 2,
        read_bytes: before.traffic.read_bytes + 1024,
        written_bytes: before.traffic.written_bytes + 4096,
    };
    assert_eq!((session.traffic, session.open_commands), (moved, 0));
    let [connection] = &session.connections[..] else { panic!("{session:?}") };
    assert_eq!((connection.network, connection.local), (NetworkState::Kernel, server.addresses()[0]));
    assert!(connection.peer.ip().is_loopback() && connection.peer.port() != 0);
    assert!(connection.parameters.burst_bytes_max > 0);
    client.logout().wait().unwrap();
    let until = Instant::now() + PATIENCE;
    while !server.state().sessions.is_empty() {
        assert!(Instant::now() < until, "a session that was logged out is told of");
    }
}

#[test]
fn sessions_that_are_picked_go_and_others_stay() {
    let server = server();
    let one = connect(&server, TARGET, "one");
    let two = connect(&server, TARGET, "two");
    let other = connect(&server, OTHER, "one");
    let disk = two.disk(0).wait().unwrap();
    let drop = |which: SessionSelector| server.drop_sessions(&which, PATIENCE);
    let gone = Dropped { asked: 1, ..Dropped::default() };
    assert_eq!(drop(SessionSelector::Initiator("iqn.2026-01.test:nobody".into())), Dropped::default());
    assert_eq!(drop(SessionSelector::Target(OTHER.into())), gone);
    let handle = |initiator: &str| -> Tsih {
        let sessions = server.state().sessions;
        sessions.iter().find(|session| session.initiator_name.ends_with(initiator)).unwrap().tsih
    };
    assert_eq!(drop(SessionSelector::Tsih(handle("one"))), gone);
    disk.read(0, 1).wait().unwrap();
    assert_eq!(server.state().sessions.len(), 1);
    assert_eq!(drop(SessionSelector::All), gone);
    assert!(server.state().sessions.is_empty());
    [one, two, other].into_iter().for_each(drop_client);
}

/// Its session is gone: it says so in one way or the other.
fn drop_client(client: Client) {
    client.logout().wait().unwrap_or_default();
}
