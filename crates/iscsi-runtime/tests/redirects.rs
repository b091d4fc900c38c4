//! A target that has moved (RFC 7143 section 11.13.5, status class 1), as a client meets it.

use iscsi_runtime::{Client, ClientConfig, ClientError, Disk, Server, StartError, Target};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

const NAME: &str = "iqn.2026-01.io.example:disk";
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A portal that sends so many initiators elsewhere, and counts them.
fn moved(listener: TcpListener, times: usize, elsewhere: String) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let mut count = 0;
        for stream in listener.incoming().take(times) {
            let mut stream = stream.unwrap();
            let mut header = [0; 48];
            stream.read_exact(&mut header).unwrap();
            let length = u32::from_be_bytes([0, header[5], header[6], header[7]]).next_multiple_of(4);
            stream.read_exact(&mut vec![0; length as usize]).unwrap();
            stream.write_all(&redirection(&header, &elsewhere)).unwrap();
            count += 1;
        }
        count
    })
}

/// The Login Response "target moved temporarily" to a request.
fn redirection(request: &[u8; 48], elsewhere: &str) -> Vec<u8> {
    let text = format!("TargetAddress={elsewhere}\0");
    let mut response = vec![0; 48];
    response[0] = 0x23;
    response[1] = request[1] & 0x0c; // the current stage
    response[5..8].copy_from_slice(&(text.len() as u32).to_be_bytes()[1..]);
    response[8..20].copy_from_slice(&request[8..20]); // ISID, TSIH, tag
    response[24..28].copy_from_slice(&request[28..32]); // StatSN as it is expected
    response[28..32].copy_from_slice(&request[24..28]); // ExpCmdSN
    response[32..36].copy_from_slice(&request[24..28]); // MaxCmdSN
    response[36..38].copy_from_slice(&[0x01, 0x01]);
    response.extend(text.as_bytes());
    response.resize(response.len().next_multiple_of(4), 0);
    response
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind(LOOPBACK).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn a_target_that_has_moved_is_followed() {
    let target = Target::new(NAME).lun(0, Disk::memory(1 << 20));
    let server = Server::builder().listen(LOOPBACK).target(target).start().unwrap();
    let ((first, address), (second, between)) = (listen(), listen());
    let portals = [moved(first, 1, between + ",1"), moved(second, 1, server.addresses()[0].to_string())];
    let client = Client::connect(ClientConfig::new(address, NAME)).wait().unwrap();
    assert_eq!(client.disk(0).wait().unwrap().blocks(), 2048);
    for portal in portals {
        assert_eq!(portal.join().unwrap(), 1);
    }
}

#[test]
fn a_target_that_moves_without_end_is_given_up() {
    let (listener, address) = listen();
    let portal = moved(listener, 6, address.clone());
    let failure = Client::connect(ClientConfig::new(address.clone(), NAME)).wait().unwrap_err();
    assert!(matches!(failure, ClientError::Redirects(first) if first == address));
    assert_eq!(portal.join().unwrap(), 6, "the first address, and five more");
}

fn serve(target: Target) -> Server {
    Server::builder().listen(LOOPBACK).target(target).start().unwrap()
}

fn address(server: &Server) -> String {
    server.addresses()[0].to_string()
}

// RFC 7143 11.13.5-1, 11.13.5-2: by both of our ends.
#[test]
fn a_target_of_ours_sends_its_initiators_elsewhere() {
    let there = serve(Target::new(NAME).lun(0, Disk::memory(1 << 20)));
    for permanent in [false, true] {
        let here = serve(Target::new(NAME).redirect(address(&there), permanent));
        let client = Client::connect(ClientConfig::new(address(&here), NAME)).wait().unwrap();
        assert_eq!(client.disk(0).wait().unwrap().blocks(), 2048);
        client.logout().wait().unwrap();
    }
}

#[test]
fn who_may_not_log_in_is_not_told_where_a_target_is() {
    let here = serve(Target::new(NAME).redirect("127.0.0.1:1", false).allow_initiator("iqn.2026-01.test:friend"));
    let failure = Client::connect(ClientConfig::new(address(&here), NAME)).wait().unwrap_err();
    assert!(matches!(failure, ClientError::Login { .. }), "{failure}");
}

#[test]
fn addresses_that_lead_nowhere_are_told() {
    // Nobody listens on a port that was just given back.
    let closed = listen().1;
    let (listener, address) = listen();
    let nowhere = [&closed, "nowhere.invalid", ":", "[", "127.0.0.1:0", "127.0.0.1:99999", "a b", ",1"];
    let nowhere = nowhere.map(String::from);
    let told = nowhere.clone();
    let portal = thread::spawn(move || {
        for elsewhere in told {
            moved(listener.try_clone().unwrap(), 1, elsewhere).join().unwrap();
        }
    });
    for elsewhere in nowhere {
        let failure = Client::connect(ClientConfig::new(address.clone(), NAME)).wait().unwrap_err();
        assert!(matches!(failure, ClientError::Connect { .. } | ClientError::Login { .. }), "{elsewhere}: {failure}");
    }
    portal.join().unwrap();
}

#[test]
fn a_target_cannot_send_its_initiators_to_what_is_no_address() {
    for wrong in ["", "a b", "host:port", "host:1/target", "me@host"] {
        let target = Target::new(NAME).redirect(wrong, false);
        let end = Server::builder().listen(LOOPBACK).target(target).start().map(drop);
        assert!(matches!(end, Err(StartError::Configuration(_))), "{wrong}: {end:?}");
    }
}
