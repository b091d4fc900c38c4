//! A running server is made another: what changes, what stays, and what is refused.

use bytes::Bytes;
use iscsi_runtime::{
    AccessRule, Authentication, Availability, Change, Client, ClientConfig, ClientError, Credential, Dropped, Limits,
    ReloadError, RemoteDisk, Secret, Server, ServerBuilder, ServerSetting, StoreKind, StoreSpec, Target, TargetSetting,
};
use iscsi_session::ChapAlgorithm;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

const ONE: &str = "iqn.2026-01.test:one";
const TWO: &str = "iqn.2026-01.test:two";
const MIB: u64 = 1 << 20;

fn memory(bytes: u64) -> StoreSpec {
    StoreSpec::new(StoreKind::Memory { size_bytes: bytes })
}

fn file(path: &str) -> StoreSpec {
    StoreSpec::new(StoreKind::File { path: path.into(), size_bytes: None, direct: false })
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn one() -> Target {
    Target::new(ONE).lun(0, memory(MIB))
}

fn builder() -> ServerBuilder {
    Server::builder().listen(any_port()).cores(2).target(one())
}

fn connect_as(server: &Server, target: &str, initiator: &str) -> Result<Client, ClientError> {
    let config = ClientConfig::new(server.addresses()[0].to_string(), target);
    Client::connect(config.initiator_name(format!("iqn.2026-01.test:{initiator}"))).wait()
}

fn connect(server: &Server, target: &str) -> Client {
    connect_as(server, target, "initiator").unwrap()
}

/// Why there is no session.
fn refusal(server: &Server, target: &str) -> String {
    connect_as(server, target, "initiator").unwrap_err().to_string()
}

/// A session that must never be lost, with something on its disk.
struct Witness {
    client: Client,
    disk: RemoteDisk,
}

impl Witness {
    fn new(server: &Server) -> Self {
        let client = connect(server, ONE);
        let disk = client.disk(0).wait().unwrap();
        disk.write(0, Bytes::from(vec![42; 512])).wait().unwrap();
        Self { client, disk }
    }

    fn testify(self) {
        assert_eq!(self.disk.read(0, 1).wait().unwrap(), vec![42; 512]);
        self.client.logout().wait().unwrap();
    }
}

fn set(setting: TargetSetting) -> Change {
    Change::SetTarget(ONE.into(), setting)
}

#[test]
fn the_same_again_changes_nothing() {
    let server = builder().start().unwrap();
    let witness = Witness::new(&server);
    let report = server.reload(builder().configuration()).unwrap();
    assert_eq!((report.to_string(), report.changes), ("nothing has changed".to_owned(), vec![]));
    witness.testify();
}

#[test]
fn targets_come_and_go() {
    let server = builder().start().unwrap();
    let witness = Witness::new(&server);
    let both = || builder().target(Target::new(TWO).lun(7, memory(2 * MIB))).configuration();
    for _ in 0..3 {
        assert!(refusal(&server, TWO).contains("(0x0203)"), "{}", refusal(&server, TWO));
        server.reload(both()).unwrap();
        let client = connect(&server, TWO);
        let disk = client.disk(7).wait().unwrap();
        assert_eq!(disk.blocks(), 4096);
        disk.write(9, Bytes::from(vec![1; 512])).wait().unwrap();
        let names: Vec<_> = server.state().targets.iter().map(|target| target.name.clone()).collect();
        assert_eq!(names, [ONE, TWO]);
        let report = server.reload(builder().configuration()).unwrap();
        assert_eq!(report.sessions, Dropped { asked: 1, ..Dropped::default() });
        assert_eq!(report.changes, [Change::RemoveTarget(TWO.into())]);
        assert_eq!(server.state().targets.len(), 1);
        drop(client);
    }
    witness.testify();
    server.shutdown(Duration::from_secs(5)).unwrap();
}

#[test]
fn a_target_that_is_stopped_lets_nobody_in_until_it_is_started() {
    let server = builder().target(Target::new(TWO).lun(0, memory(MIB))).start().unwrap();
    let witness = Witness::new(&server);
    let client = connect(&server, TWO);
    let report = server.stop_target(TWO).unwrap();
    assert_eq!(report.sessions, Dropped { asked: 1, ..Dropped::default() });
    assert!(client.disk(0).wait().is_err());
    assert!(refusal(&server, TWO).contains("(0x0301)"), "{}", refusal(&server, TWO));
    assert_eq!(server.state().targets.iter().map(|target| target.offered).collect::<Vec<_>>(), [true, false]);
    let address = server.addresses()[0].to_string();
    let told = iscsi_runtime::discover(ClientConfig::discovery(address)).wait().unwrap();
    assert_eq!(told.iter().map(|record| record.name.as_str()).collect::<Vec<_>>(), [ONE]);
    server.start_target(TWO).unwrap();
    connect(&server, TWO).logout().wait().unwrap();
    assert!(matches!(server.start_target("iqn.2026-01.test:none"), Err(ReloadError::NoSuchTarget(_))));
    witness.testify();
}

#[test]
fn portals_come_and_go() {
    let server = builder().start().unwrap();
    let witness = Witness::new(&server);
    server.change([Change::AddPortal(any_port(), 1)]).unwrap();
    let addresses = server.addresses();
    assert_eq!((addresses.len(), server.state().targets[0].portal_groups[0].addresses.len()), (2, 2));
    let by_second = || Client::connect(ClientConfig::new(addresses[1].to_string(), ONE)).wait();
    let client = by_second().unwrap();
    let disk = client.disk(0).wait().unwrap();
    // Both read alike, since the system chose their ports: the first goes.
    server.change([Change::RemovePortal(any_port(), 1)]).unwrap();
    assert_eq!(server.addresses(), addresses[1..]);
    disk.read(0, 1).wait().unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(5);
    while std::net::TcpStream::connect(addresses[0]).is_ok() {
        assert!(std::time::Instant::now() < until, "a portal that is gone takes connections");
    }
    by_second().unwrap().logout().wait().unwrap();
    let unknown = server.change([Change::RemovePortal(addresses[0], 1)]);
    assert!(matches!(unknown, Err(ReloadError::NoSuchPortal(..))));
    witness.testify();
}

#[test]
fn what_logins_are_judged_by_changes_for_those_that_come() {
    let server = builder().start().unwrap();
    let witness = Witness::new(&server);
    let only = TargetSetting::Access(Some(vec![AccessRule::of_initiator("iqn.2026-01.test:friend")]));
    server.change([set(only)]).unwrap();
    assert!(refusal(&server, ONE).contains("(0x0202)"), "{}", refusal(&server, ONE));
    connect_as(&server, ONE, "friend").unwrap().logout().wait().unwrap();
    server.change([set(TargetSetting::Access(None))]).unwrap();
    let limits = Limits { max_connections: 1, burst_bytes_max: 65536, ..Limits::default() };
    server.change([set(TargetSetting::Limits(Some(limits))), set(TargetSetting::Window(Some(3)))]).unwrap();
    let client = connect(&server, ONE);
    let parameters = server
        .state()
        .sessions
        .iter()
        .map(|session| session.connections[0].parameters.burst_bytes_max)
        .collect::<Vec<_>>();
    assert!(parameters.contains(&65536) && parameters.iter().any(|bytes| *bytes > 65536), "{parameters:?}");
    client.logout().wait().unwrap();
    let user = Credential { name: "user".into(), secret: Secret::new([7; 16]).unwrap() };
    let chap = Authentication::chap(vec![user], None, ChapAlgorithm::ALL.to_vec()).unwrap();
    server.change([set(TargetSetting::Authentication(chap))]).unwrap();
    assert!(connect_as(&server, ONE, "initiator").is_err());
    witness.testify();
}

#[test]
fn units_change_with_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    std::fs::write(&path, vec![5; MIB as usize]).unwrap();
    let server = builder().start().unwrap();
    let witness = Witness::new(&server);
    let with_file = Target::new(ONE).lun(0, memory(2 * MIB)).lun(3, file(path.to_str().unwrap()));
    let wanted = Server::builder().listen(any_port()).cores(2).target(with_file).configuration();
    let report = server.reload(wanted.clone()).unwrap();
    assert_eq!(report.changes.len(), 2, "{report}");
    let luns: Vec<_> = server.state().targets[0].luns.iter().map(|lun| (lun.number, lun.bytes)).collect();
    assert_eq!(luns, [(0, 2 * MIB), (3, MIB)]);
    assert_eq!(server.configuration(), wanted);
    let client = connect(&server, ONE);
    assert_eq!(client.disk(3).wait().unwrap().read(0, 1).wait().unwrap(), vec![5; 512]);
    server.reload(builder().configuration()).unwrap();
    // The disk has kept what was written to it before it grew and shrank again; the witness is told of both.
    let told = witness.disk.read(0, 1).wait().unwrap_err().to_string();
    assert!(told.contains("CHANGED"), "{told}");
    let Witness { client, disk } = witness;
    while disk.read(0, 1).wait().is_err_and(|error| error.to_string().contains("CHANGED")) {}
    Witness { client, disk }.testify();
}

#[test]
fn a_reload_that_fails_changes_nothing() {
    let server = builder().start().unwrap();
    let witness = Witness::new(&server);
    let before = (server.configuration(), server.state().targets, server.addresses());
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let good = || builder().target(Target::new(TWO).lun(0, memory(MIB)));
    let more = |disk: StoreSpec| Server::builder().listen(any_port()).cores(2).target(one().lun(9, disk));
    let unreached = Server::builder().listen(any_port()).cores(2).target(one().portal_groups([5])).configuration();
    let cases = [
        (good().listen(taken), "cannot listen on"),
        (unreached.into(), "0 target port groups"),
        (more(file("/nowhere/disk")), "LUN 9: "),
        (good().target(Target::new("iqn.2026-01.test:three").lun(0, file("/nowhere/disk"))), "LUN 0: "),
        (good().cores(1), "the number of cores"),
        (good().target(one()), "given twice"),
        (more(StoreSpec { serial: Some("same".into()), ..memory(MIB) }).target(Target::new("no name")), "name"),
    ];
    for (new, expected) in cases {
        let error = server.reload(new.configuration()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        let after = (server.configuration(), server.state().targets, server.addresses());
        assert_eq!(before, after, "after: {error}");
    }
    drop(holder);
    let fixed = server
        .change([Change::Set(ServerSetting::Cores(Some(7))), set(TargetSetting::Availability(Availability::Stopped))]);
    assert!(matches!(fixed, Err(ReloadError::Restart(changes)) if changes.len() == 1));
    witness.testify();
    server.shutdown(Duration::from_secs(5)).unwrap();
}
