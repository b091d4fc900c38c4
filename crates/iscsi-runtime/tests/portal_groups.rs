//! Portal groups that come and go while a target runs.

use std::net::SocketAddr;

use iscsi_runtime::{
    AccessState, Change, Client, ClientConfig, PortalGroup, Request, Server, ServerBuilder, ServerSetting, StoreKind,
    StoreSpec, Target, TargetSetting, Transfer, discover,
};
use scsi_block::access::AccessReport;
use scsi_block::cdb::Cdb;
use scsi_block::sense::Sense;
use scsi_block::{LogicalUnitNumber, Status};

const TARGET: &str = "iqn.2026-01.test:target";
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn builder() -> ServerBuilder {
    let disk = StoreSpec::new(StoreKind::Memory { size_bytes: 1 << 20 });
    Server::builder().cores(2).listen(LOOPBACK).target(Target::new(TARGET).lun(0, disk))
}

fn connect(server: &Server, portal: usize) -> Client {
    Client::connect(ClientConfig::new(server.addresses()[portal].to_string(), TARGET)).wait().unwrap()
}

/// The data of a command, or the code of its sense.
fn run(client: &Client, cdb: &Cdb) -> Result<Vec<u8>, u16> {
    let request = Request::new(LogicalUnitNumber::from(0), cdb, Transfer::Read(4096));
    let done = client.execute(request).wait().unwrap();
    match done.status == Status::Good.code() {
        true => Ok(done.data.concat()),
        false => Err(Sense::decode(&done.sense).unwrap().additional.code()),
    }
}

/// The codes of all unit attentions.
fn attentions(client: &Client) -> Vec<u16> {
    let mut told: Vec<u16> =
        std::iter::from_fn(|| run(client, &Cdb::test_unit_ready()).err().filter(|code| *code != 0x040b)).collect();
    told.sort_unstable();
    told
}

/// Each group with its state.
fn groups(client: &Client) -> Vec<(u16, u8)> {
    let report = AccessReport::decode(&run(client, &Cdb::report_target_port_groups(false, 4096)).unwrap()).unwrap();
    report.groups.iter().map(|group| (group.group, group.state)).collect()
}

#[test]
fn a_group_that_is_new_to_a_running_target_is_a_way_to_it() {
    let server = builder().start().unwrap();
    let near = connect(&server, 0);
    assert_eq!(attentions(&near), [0x2900]);
    let far = PortalGroup { access: AccessState::ActiveNonOptimized, ..PortalGroup::new(7) };
    let report = server.reload(builder().listen_in_group(LOOPBACK, 7).portal_group(far).configuration()).unwrap();
    assert_eq!((report.changes.len(), report.sessions.asked), (2, 0), "{report}");
    assert_eq!(attentions(&near), [0x2a06, 0x3f03]);
    let away = connect(&server, 1);
    assert_eq!(attentions(&away), [0x2900]);
    for client in [&near, &away] {
        assert_eq!(groups(client), [(1, 0), (7, 1)]);
    }
    let tags: Vec<u16> = server.state().sessions.iter().map(|session| session.portal_group_tag).collect();
    assert_eq!(tags, [1, 7]);
    let [first, second] = [0, 1].map(|portal| server.addresses()[portal].to_string());
    let told = discover(ClientConfig::discovery(&first)).wait().unwrap().remove(0).addresses;
    assert_eq!(told, [format!("{first},1"), format!("{second},7")]);
    // What is said of a group holds for those that nobody has changed.
    server.set_access(TARGET, 0, 1, AccessState::ActiveNonOptimized).unwrap();
    let better = [1, 7].map(|tag| PortalGroup { preferred: true, ..PortalGroup::new(tag) });
    server.change([Change::Set(ServerSetting::PortalGroups(better.to_vec()))]).unwrap();
    assert_eq!(attentions(&near), [0x2a06, 0x3f03]);
    assert_eq!(groups(&near), [(1, 1), (7, 0)]);
}

#[test]
fn sessions_end_whose_group_goes_and_others_go_on() {
    let server = builder().listen_in_group(LOOPBACK, 7).start().unwrap();
    let (near, away) = (connect(&server, 0), connect(&server, 1));
    assert_eq!((attentions(&near), attentions(&away)), (vec![0x2900], vec![0x2900]));
    let report = server.reload(builder().configuration()).unwrap();
    assert_eq!((report.sessions.asked, report.sessions.ended), (1, 0), "{report}");
    assert_eq!(server.state().sessions.len(), 1);
    assert_eq!(attentions(&near), [0x2a06, 0x3f03]);
    assert_eq!(groups(&near), [(1, 0)]);
    drop(away);
    // It comes again.
    server.reload(builder().listen_in_group(LOOPBACK, 7).configuration()).unwrap();
    let away = connect(&server, 1);
    assert_eq!(attentions(&away), [0x2900]);
    assert_eq!(groups(&away), [(1, 0), (7, 0)]);
}

#[test]
fn a_target_is_reached_through_other_groups_than_before() {
    let server = builder().listen_in_group(LOOPBACK, 7).start().unwrap();
    let (near, away) = (connect(&server, 0), connect(&server, 1));
    attentions(&away);
    let set = |tags: &[u16]| Change::SetTarget(TARGET.into(), TargetSetting::PortalGroups(Some(tags.to_vec())));
    let report = server.change([set(&[7])]).unwrap();
    assert_eq!(report.sessions.asked, 1, "{report}");
    let refused = Client::connect(ClientConfig::new(server.addresses()[0].to_string(), TARGET)).wait().unwrap_err();
    assert!(refused.to_string().contains("(0x0203)"), "{refused}");
    assert_eq!(attentions(&away), [0x2a06, 0x3f03]);
    assert_eq!(groups(&away), [(7, 0)]);
    drop(near);
    let address = server.addresses()[1].to_string();
    let told = discover(ClientConfig::discovery(&address)).wait().unwrap().remove(0).addresses;
    assert_eq!(told, [format!("{address},7")]);
}

const OTHER: &str = "iqn.2026-01.test:other";

/// The tag of the session, and that of each address that discovery tells of a target.
fn tags_of(server: &Server, portal: usize, target: &str) -> (u16, Vec<String>) {
    let address = server.addresses()[portal].to_string();
    let client = Client::connect(ClientConfig::new(&*address, target)).wait().unwrap();
    let own = |session: &&iscsi_runtime::SessionState| session.target_name.as_deref() == Some(target);
    let tag = server.state().sessions.iter().find(own).unwrap().portal_group_tag;
    client.logout().wait().unwrap();
    let told = discover(ClientConfig::discovery(address)).wait().unwrap();
    (tag, told.into_iter().find(|record| record.name == target).unwrap().addresses)
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind(LOOPBACK).unwrap().local_addr().unwrap()
}

#[test]
fn each_target_has_tags_of_its_own() {
    let [one, two] = [free_address(), free_address()];
    let disk = || StoreSpec::new(StoreKind::Memory { size_bytes: 1 << 20 });
    let with = |of_other: &[(SocketAddr, u16)]| {
        let first = Target::new(TARGET).portals([(one, 1)]).lun(0, disk());
        let second = Target::new(OTHER).portals(of_other.to_vec()).lun(0, disk());
        Server::builder().cores(2).listen(one).listen(two).target(first).target(second)
    };
    let server = with(&[(one, 7), (two, 1)]).start().unwrap();
    assert_eq!(tags_of(&server, 0, TARGET), (1, vec![format!("{one},1")]));
    assert_eq!(tags_of(&server, 0, OTHER), (7, vec![format!("{one},7"), format!("{two},1")]));
    assert_eq!(tags_of(&server, 1, OTHER), (1, vec![format!("{two},1"), format!("{one},7")]));
    let not_there = Client::connect(ClientConfig::new(two.to_string(), TARGET)).wait().unwrap_err();
    assert!(not_there.to_string().contains("(0x0203)"), "{not_there}");
    let state = server.state().targets;
    let groups: Vec<_> = state[1].portal_groups.iter().map(|group| (group.tag, group.addresses.clone())).collect();
    assert_eq!(groups, [(1, vec![two]), (7, vec![one])]);
    // Sessions by a tag that a target has no more end; the other target does not notice.
    let connect = |target: &str| Client::connect(ClientConfig::new(one.to_string(), target)).wait().unwrap();
    let (stays, _goes) = (connect(TARGET), connect(OTHER));
    assert_eq!(attentions(&stays), [0x2900]);
    let report = server.reload(with(&[(one, 1), (two, 1)]).configuration()).unwrap();
    assert_eq!(report.sessions.asked, 1, "{report}");
    assert!(attentions(&stays).is_empty());
    assert_eq!(tags_of(&server, 1, OTHER), (1, vec![format!("{two},1"), format!("{one},1")]));
    for (wrong, expected) in [
        ([(free_address(), 1), (one, 1)], "listened on"),
        ([(one, 1), (one, 2)], "once"),
        ([(one, 0), (two, 1)], "1 to 65535"),
    ] {
        let error = server.reload(with(&wrong).configuration()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
