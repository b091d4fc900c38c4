//! Sessions of several connections, which the server accepts on different cores.

mod peer;

use iscsi_pdu::{LoginStatus, Tsih};
use iscsi_runtime::{Disk, Limits, Server, Target};
use iscsi_session::LoginFailure;
use peer::{Peer, TARGET};
use std::net::SocketAddr;

/// A server of two cores: of two connections one after the other, each goes to a core of its own.
fn serve(max_connections: u16) -> (Server, SocketAddr) {
    let server = Server::builder()
        .listen("127.0.0.1:0".parse().expect("an address"))
        .cores(2)
        .limits(Limits { max_connections, ..Limits::default() })
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
    let leading = Peer::log_in(address, Limits::default(), Tsih(0), 1).expect("a session");
    for cid in 2..6 {
        let joining = Peer::log_in(address, Limits::default(), leading.outcome.tsih, cid);
        assert_eq!(refusal(joining), Some(LoginStatus::TooManyConnections));
    }
}

#[test]
fn no_connection_joins_a_session_that_is_not_there() {
    let (_server, address) = serve(4);
    let leading = Peer::log_in(address, Limits::default(), Tsih(0), 1).expect("a session");
    let unknown = Tsih(leading.outcome.tsih.0 + 1);
    for cid in 1..4 {
        let joining = Peer::log_in(address, Limits::default(), unknown, cid);
        assert_eq!(refusal(joining), Some(LoginStatus::SessionDoesNotExist));
    }
}
