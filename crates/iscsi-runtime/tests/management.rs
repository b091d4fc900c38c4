//! Task management by a client: queries, aborts and resets of RFC 7143 and RFC 7144, over real sockets.

use iscsi_pdu::TaskManagementResponseCode as Response;
use iscsi_runtime::{Client, ClientConfig, ClientError, Disk, Limits, Request, Server, Target, Transfer};
use scsi_block::cdb::Cdb;
use scsi_block::sense::{AdditionalSense, SenseKey};
use scsi_block::{AsynchronousEvent, EventDepth, LogicalUnitNumber};
use std::net::SocketAddr;

const NAME: &str = "iqn.2026-01.io.example:disk";

fn server() -> Server {
    let target = Target::new(NAME).lun(0, Disk::memory(1 << 20));
    Server::builder().listen(SocketAddr::from(([127, 0, 0, 1], 0))).target(target).start().unwrap()
}

fn client(server: &Server, limits: Limits) -> Client {
    let config = ClientConfig::new(server.addresses()[0].to_string(), NAME).limits(limits);
    Client::connect(config).wait().unwrap()
}

fn test_unit_ready() -> Request {
    Request::new(LogicalUnitNumber::from(0), &Cdb::test_unit_ready(), Transfer::None)
}

#[test]
fn both_ends_agree_on_what_rfc_7144_adds() {
    let server = server();
    let client = client(&server, Limits::default());
    assert_eq!(client.parameters().protocol_level, 2);
    // What the login leaves is told first.
    client.disk(0).wait().unwrap();
    assert_eq!(client.query_asynchronous_event(0).wait().unwrap(), None);
    client.reset_nexus().wait().unwrap();
    let event = AsynchronousEvent {
        depth: EventDepth::One,
        key: SenseKey::UnitAttention,
        additional: AdditionalSense::I_T_NEXUS_LOSS,
    };
    assert_eq!(client.query_asynchronous_event(0).wait().unwrap(), Some(event));
    assert!(!client.query_unit(0).wait().unwrap());
    assert_eq!(client.execute(test_unit_ready().with_priority(1)).wait().unwrap().status, 2);
    assert_eq!(client.execute(test_unit_ready()).wait().unwrap().status, 0);
    client.logout().wait().unwrap();
}

#[test]
fn a_command_that_has_ended_is_neither_found_nor_aborted() {
    let server = server();
    let client = client(&server, Limits::default());
    let (handle, end) = client.begin(test_unit_ready());
    end.wait().unwrap();
    assert!(!client.query(handle).wait().unwrap());
    let aborted = client.abort(handle).wait();
    assert!(matches!(aborted, Err(ClientError::TaskManagement(Response::TaskDoesNotExist))), "{aborted:?}");
    client.logout().wait().unwrap();
}

#[test]
fn at_protocol_level_1_there_are_no_queries() {
    let server = server();
    let client = client(&server, Limits { protocol_level_max: 1, ..Limits::default() });
    assert_eq!(client.parameters().protocol_level, 1);
    let (_, end) = client.begin(test_unit_ready());
    end.wait().unwrap();
    for refused in [client.query_unit(0).wait().map(drop), client.reset_nexus().wait()] {
        assert!(matches!(refused, Err(ClientError::TaskManagement(Response::FunctionNotSupported))), "{refused:?}");
    }
    client.logout().wait().unwrap();
}
