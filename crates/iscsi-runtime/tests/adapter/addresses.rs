//! Addresses that come and go on a running server whose connections no kernel carries.

use crate::world::*;
use iscsi_runtime::{
    ClientConfig, ClientError, LoopbackFunction, Server, ServerBuilder, SessionLoop, StoreKind, StoreSpec, Target,
};
use std::net::SocketAddr;
use std::time::Duration;
use t5_hal::wire::FunctionId;
use t5_model::runner::Runner;

const SECOND: SocketAddr = SocketAddr::new(TARGET, 3261);
const THIRD: SocketAddr = SocketAddr::new(TARGET, 3262);

/// A server that listens there, with that many disks.
fn asked(portals: &[SocketAddr], disks: u16) -> ServerBuilder {
    let disk = || StoreSpec::new(StoreKind::Memory { size_bytes: 8 << 20 });
    let target = (0..disks).fold(Target::new(NAME), |target, number| target.lun(number, disk()));
    portals.iter().fold(Server::builder().target(target), |builder, portal| builder.listen_in_group(*portal, 1))
}

fn log_in(sessions: &mut SessionLoop, portal: SocketAddr) -> Result<(), ClientError> {
    let config = ClientConfig::new(portal.to_string(), NAME);
    sessions.run(&config, vec![WriteAndRead::new(0, 2)]).pop().unwrap().map(|end| assert_eq!(end.ended, 4))
}

/// Whether nobody listens there, as soon as the loop has heard of it.
fn is_refused(sessions: &mut SessionLoop, portal: SocketAddr) -> bool {
    let mut ends = std::iter::repeat_with(|| log_in(sessions, portal)).take(100);
    // Who is heard while an address is about to go is let in no more.
    let end = ends.find(|end| !matches!(end, Err(ClientError::Lost(_))));
    matches!(end, Some(Err(ClientError::Connect { error, .. })) if error.contains("refused"))
}

/// Addresses come, go, change their groups, and are let go of where the rest cannot be made.
fn addresses_come_and_go(server: &Server, sessions: &mut SessionLoop) {
    log_in(sessions, PORTAL).unwrap();
    assert!(is_refused(sessions, SECOND));

    let report = server.reload(asked(&[PORTAL, SECOND], 1).configuration()).unwrap();
    assert_eq!(report.changes.len(), 1, "{report}");
    assert_eq!(server.addresses(), [PORTAL, SECOND]);
    log_in(sessions, SECOND).unwrap();
    log_in(sessions, PORTAL).unwrap();

    // The first goes, and another takes its place.
    server.reload(asked(&[SECOND, THIRD], 1).configuration()).unwrap();
    assert!(is_refused(sessions, PORTAL));
    log_in(sessions, SECOND).unwrap();
    log_in(sessions, THIRD).unwrap();

    let missing = StoreSpec::new(StoreKind::File { path: "/nowhere/disk".into(), size_bytes: None, direct: false });
    let broken = Target::new(NAME).lun(0, StoreSpec::new(StoreKind::Memory { size_bytes: 8 << 20 })).lun(1, missing);
    let broken = [SECOND, THIRD, PORTAL]
        .iter()
        .fold(Server::builder().target(broken), |builder, portal| builder.listen_in_group(*portal, 1));
    let error = server.reload(broken.configuration()).unwrap_err();
    assert!(error.to_string().contains("/nowhere/disk"), "{error}");
    assert!(is_refused(sessions, PORTAL), "what was listened on to judge it is let go of");
    let any_port = server.reload(asked(&[SECOND, THIRD, SocketAddr::new(TARGET, 0)], 1).configuration()).unwrap_err();
    assert!(any_port.to_string().contains("name one"), "{any_port}");
    log_in(sessions, THIRD).unwrap();

    server.reload(asked(&[SECOND, THIRD, PORTAL], 2).configuration()).unwrap();
    log_in(sessions, PORTAL).unwrap();
}

#[test]
fn addresses_of_an_adapters_function_come_and_go() {
    let runner = Runner::start(1, 7).unwrap();
    let target = function(&runner, FunctionId::physical(4), TARGET);
    let initiator = function(&runner, FunctionId::physical(5), INITIATOR).neighbour(TARGET, target.mac());
    let server = asked(&[PORTAL], 1).function(target).start().unwrap();
    let mut sessions = SessionLoop::adapter(initiator).unwrap();
    addresses_come_and_go(&server, &mut sessions);
    server.shutdown(Duration::from_secs(5)).unwrap();
}

#[test]
fn addresses_within_a_process_come_and_go() {
    let (target, initiator) = LoopbackFunction::pair();
    let server = asked(&[PORTAL], 1).loopback(target).start().unwrap();
    let mut sessions = SessionLoop::loopback(initiator).unwrap();
    addresses_come_and_go(&server, &mut sessions);
    server.shutdown(Duration::from_secs(5)).unwrap();
}
