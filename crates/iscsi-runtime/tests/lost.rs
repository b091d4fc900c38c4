//! What a client makes of a connection that ends without a word.

use iscsi_pdu::{Frame, HEADER_LENGTH, Header, LoginResponse, Pdu, Stage, Tsih, padding};
use iscsi_runtime::{Client, ClientConfig, ClientError};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

const TARGET: &str = "iqn.2026-01.test:target";

fn receive(stream: &mut TcpStream) -> Pdu {
    let mut header = [0; HEADER_LENGTH];
    stream.read_exact(&mut header).expect("a header");
    let header = Header(header);
    let mut data = vec![0; header.data_segment_length()];
    let length = data.len();
    stream.read_exact(&mut data).expect("a data segment");
    stream.read_exact(&mut vec![0; padding(length)]).expect("its padding");
    Pdu::decode(Frame { header, ahs: Box::default(), data: data.into() }).expect("a PDU")
}

/// A target that takes one connection and does this with it.
fn target(serve: impl FnOnce(TcpStream) + Send + 'static) -> (ClientConfig, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    let server = thread::spawn(move || serve(listener.accept().expect("a connection").0));
    (ClientConfig::new(address, TARGET), server)
}

/// RFC 7143 4.2.4-2, 4.2.4-3: nothing is waited for.
#[test]
fn a_login_is_the_first_that_a_target_hears() {
    let (config, server) = target(|mut stream| assert!(matches!(receive(&mut stream), Pdu::LoginRequest(_))));
    let end = Client::connect(config).wait().err();
    server.join().expect("the target has heard a Login Request");
    assert!(matches!(end, Some(ClientError::Lost(_))), "{end:?}");
}

/// RFC 7143 7.1.4.3-1, 7.14-1: the session ends with its connection, and what was asked is lost.
#[test]
fn a_session_ends_with_its_connection() {
    let (config, server) = target(|mut stream| {
        let Pdu::LoginRequest(request) = receive(&mut stream) else { panic!("a Login Request") };
        let response = LoginResponse {
            transit: Some(Stage::FullFeaturePhase),
            current_stage: request.current_stage,
            isid: request.isid,
            tsih: Tsih(1),
            initiator_task_tag: request.initiator_task_tag,
            exp_cmd_sn: request.cmd_sn,
            max_cmd_sn: request.cmd_sn.advanced_by(7),
            ..LoginResponse::default()
        };
        stream.write_all(&Pdu::from(response).encode().header.0).expect("a response without data is a header");
        assert!(matches!(receive(&mut stream), Pdu::ScsiCommand(_)));
    });
    let client = Client::connect(config).wait().expect("a session");
    let lost = client.disk(0).wait().err();
    server.join().expect("the target has heard a command");
    assert!(matches!(lost, Some(ClientError::Lost(_))), "{lost:?}");
    let later = client.ping(b"x"[..].into()).wait().err();
    assert!(matches!(later, Some(ClientError::Ended | ClientError::Lost(_))), "{later:?}");
}
