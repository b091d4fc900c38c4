//! What an operation promises to those who do not wait for it.

use iscsi_runtime::{Client, ClientConfig, Disk, Server, Target};
use std::net::SocketAddr;

#[test]
fn a_command_goes_out_before_anybody_waits_for_it() {
    let name = "iqn.2026-01.io.example:disk";
    let target = Target::new(name).lun(0, Disk::memory(1 << 20));
    let server = Server::builder().listen(SocketAddr::from(([127, 0, 0, 1], 0))).target(target).start().unwrap();
    let client = Client::connect(ClientConfig::new(server.addresses()[0].to_string(), name)).wait().unwrap();
    let disk = client.disk(0).wait().unwrap();
    drop(disk.write(7, vec![0xab; 512].into()));
    client.ping(b"x"[..].into()).wait().unwrap();
    assert_eq!(disk.read(7, 1).wait().unwrap(), vec![0xab; 512]);
}
