//! A target with two portal groups over real sockets: each is a way of its own, with its own port, group and state.

use std::net::SocketAddr;
use std::time::Duration;

use iscsi_runtime::{
    AccessState, ChangeError, Client, ClientConfig, Disk, Isid, PortalGroup, Request, Server, StartError, Target,
    Transfer, discover,
};
use scsi_block::access::{AccessReport, SetAccessList};
use scsi_block::cdb::Cdb;
use scsi_block::designator::{Association, Designator};
use scsi_block::reservations::{FullStatus, OutAction, OutList};
use scsi_block::sense::Sense;
use scsi_block::vpd::{DeviceIdentification, ManagementAddresses, ScsiPorts};
use scsi_block::{LogicalUnitNumber, Status};

const TARGET: &str = "iqn.2026-01.test:target";
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
const MIB: u64 = 1 << 20;
const ISID: Isid = Isid([0x80, 0, 0, 0, 0, 7]);

/// Portals of the groups 1 and 7.
fn builder() -> iscsi_runtime::ServerBuilder {
    let target = Target::new(TARGET).management_address("https://192.0.2.1/").lun(0, Disk::memory(MIB));
    let builder = Server::builder().cores(2).target(target);
    builder.listen(LOOPBACK).listen_in_group(LOOPBACK, 7)
}

/// The same initiator port through each of the portals.
fn connect(server: &Server) -> [Client; 2] {
    [0, 1].map(|portal| {
        let config = ClientConfig::new(server.addresses()[portal].to_string(), TARGET).isid(ISID);
        Client::connect(config).wait().unwrap()
    })
}

/// The data of a command, or its sense.
fn run(client: &Client, cdb: &Cdb, transfer: Transfer) -> Result<Vec<u8>, Sense> {
    let done = client.execute(Request::new(LogicalUnitNumber::from(0), cdb, transfer)).wait().unwrap();
    match done.status == Status::Good.code() {
        true => Ok(done.data.concat()),
        false => Err(Sense::decode(&done.sense).unwrap()),
    }
}

fn read(client: &Client, cdb: &Cdb) -> Result<Vec<u8>, Sense> {
    run(client, cdb, Transfer::Read(4096))
}

/// The code of the unit attention that is told next.
fn attention(client: &Client) -> u16 {
    read(client, &Cdb::test_unit_ready()).unwrap_err().additional.code()
}

fn settle(clients: &[Client]) {
    clients.iter().for_each(|client| assert_eq!(attention(client), 0x2900));
}

fn states(client: &Client) -> Vec<(u16, u8)> {
    let report = AccessReport::decode(&read(client, &Cdb::report_target_port_groups(true, 4096)).unwrap()).unwrap();
    report.groups.iter().map(|group| (group.group, group.state)).collect()
}

fn set(client: &Client, changes: &[(u16, AccessState)]) -> Result<Vec<u8>, Sense> {
    let list = SetAccessList(changes.to_vec()).encode();
    run(client, &Cdb::set_target_port_groups(list.len() as u32), Transfer::Write(list.into()))
}

fn end(server: Server, clients: [Client; 2]) {
    clients.into_iter().for_each(|client| client.logout().wait().unwrap());
    server.shutdown(Duration::from_secs(5)).unwrap();
}

#[test]
fn each_portal_sees_its_own_port_group_and_state() {
    let server = builder().start().unwrap();
    let clients = connect(&server);
    for (client, tag) in clients.iter().zip([1u16, 7]) {
        let page = DeviceIdentification::decode(&read(client, &Cdb::inquiry_page(0x83, 4096)).unwrap()).unwrap();
        let of_port = page.0.iter().filter(|name| name.association == Association::TargetPort);
        let told: Vec<_> = of_port.map(|name| (name.kind, name.protocol, name.to_string())).collect();
        let expected = [
            (Designator::RELATIVE_TARGET_PORT, Some(5), tag.to_string()),
            (Designator::TARGET_PORT_GROUP, Some(5), tag.to_string()),
            (Designator::SCSI_NAME, Some(5), format!("{TARGET},t,0x{tag:04x}")),
        ];
        assert_eq!(told, expected);
        let ports = ScsiPorts::decode(&read(client, &Cdb::inquiry_page(0x88, 4096)).unwrap()).unwrap().0;
        assert_eq!(ports.iter().map(|port| port.identifier).collect::<Vec<_>>(), [1, 7]);
        let management = ManagementAddresses::decode(&read(client, &Cdb::inquiry_page(0x85, 4096)).unwrap()).unwrap();
        assert_eq!(management.0[0].address, "https://192.0.2.1/");
    }
    settle(&clients);
    let [near, far] = &clients;
    assert_eq!(states(far), [(1, 0), (7, 0)]);
    set(near, &[(7, AccessState::Standby)]).unwrap();
    assert_eq!((attention(far), states(far)), (0x2a06, vec![(1, 0), (7, 2)]));
    assert_eq!(read(far, &Cdb::read_10(0, 1)).unwrap_err().additional.code(), 0x040b);
    read(near, &Cdb::read_10(0, 1)).unwrap();
    server.set_access(TARGET, 0, 7, AccessState::ActiveNonOptimized).unwrap();
    assert_eq!([near, far].map(attention), [0x2a06; 2]);
    read(far, &Cdb::read_10(0, 1)).unwrap();
    assert!(matches!(server.set_access(TARGET, 0, 2, AccessState::Standby), Err(ChangeError::Group(_))));
    assert!(matches!(server.set_access(TARGET, 3, 7, AccessState::Standby), Err(ChangeError::NoSuchUnit(3))));
    end(server, clients);
}

/// RFC 7143 section 4.4.3, the ISID rule, and 4.4.3.2.
#[test]
fn one_initiator_port_has_a_nexus_through_each_and_reservations_tell_them_apart() {
    let server = builder().start().unwrap();
    let clients = connect(&server);
    settle(&clients);
    let [near, far] = &clients;
    let list = OutList { action_key: 5, all_target_ports: true, ..OutList::default() }.encode();
    let register = Cdb::persist_out(OutAction::Register, None, list.len() as u32);
    run(near, &register, Transfer::Write(list.into())).unwrap();
    let status = FullStatus::decode(&read(far, &Cdb::persist_read_full_status(4096)).unwrap()).unwrap();
    let told: Vec<_> =
        status.registrations.iter().map(|who| (who.initiator_port.to_string(), who.target_port)).collect();
    let name = &told[0].0;
    assert!(name.ends_with(",i,0x800000000007"), "{name}");
    assert_eq!(told, [(name.clone(), 1), (name.clone(), 7)]);
    end(server, clients);
}

#[test]
fn discovery_tells_each_address_with_its_tag() {
    let server = builder().start().unwrap();
    let [first, second] = [0, 1].map(|portal| server.addresses()[portal].to_string());
    let told = |portal: &str| discover(ClientConfig::discovery(portal)).wait().unwrap().remove(0).addresses;
    assert_eq!(told(&first), [format!("{first},1"), format!("{second},7")]);
    assert_eq!(told(&second), [format!("{second},7"), format!("{first},1")]);
    let behind_nat = builder().advertise_in_group("storage.example:3260", 7).start().unwrap();
    assert_eq!(told(&behind_nat.addresses()[0].to_string()), ["storage.example:3260,7"]);
}

#[test]
fn states_begin_as_configured_and_outlive_the_target_where_they_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let far = PortalGroup { access: AccessState::Standby, preferred: true, ..PortalGroup::new(7) };
        builder().portal_group(far).state(folder.path().join("state")).start().unwrap()
    };
    let server = start();
    let clients = connect(&server);
    settle(&clients);
    assert_eq!(states(&clients[0]), [(1, 0), (7, 2)]);
    set(&clients[0], &[(7, AccessState::ActiveOptimized), (1, AccessState::ActiveNonOptimized)]).unwrap();
    end(server, clients);
    let server = start();
    let clients = connect(&server);
    settle(&clients);
    assert_eq!(states(&clients[1]), [(1, 1), (7, 0)]);
    server.set_access(TARGET, 0, 1, AccessState::Unavailable).unwrap();
    drop(clients);
    server.shutdown(Duration::from_secs(5)).unwrap();
    let server = start();
    let clients = connect(&server);
    settle(&clients[1..]);
    assert_eq!(states(&clients[1]), [(1, 3), (7, 0)]);
    end(server, clients);
}

#[test]
fn groups_that_nobody_reaches_are_a_mistake() {
    let wrong = builder().portal_group(PortalGroup::new(2)).start();
    assert!(matches!(wrong, Err(StartError::Configuration(text)) if text.contains("portal group 2")));
}

#[test]
fn a_medium_that_was_ejected_is_put_back() {
    let spec = "memory:1M,removable".parse().unwrap();
    let target = Target::new(TARGET).lun(0, Disk::open(&spec).unwrap());
    let server = Server::builder().listen(LOOPBACK).cores(1).target(target).start().unwrap();
    let client = &Client::connect(ClientConfig::new(server.addresses()[0].to_string(), TARGET)).wait().unwrap();
    settle(std::slice::from_ref(client));
    read(client, &Cdb::load_eject(false)).unwrap();
    assert_eq!(attention(client), 0x3a00);
    server.load(TARGET, 0).unwrap();
    assert_eq!(attention(client), 0x2800);
    read(client, &Cdb::test_unit_ready()).unwrap();
    assert!(matches!(server.load(TARGET, 1), Err(ChangeError::NoSuchUnit(1))));
    client.logout().wait().unwrap();
    server.shutdown(Duration::from_secs(5)).unwrap();
}
