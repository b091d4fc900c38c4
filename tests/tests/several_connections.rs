//! Our two ends over real sockets, with one connection or several at each error recovery level, while connections are cut and bits flip:
//! what is read is what was written.

use bytes::Bytes;
use ferriscsi_tests::relay::{Faults, Gap, Relay};
use iscsi_runtime::{Client, ClientConfig, Completion, Disk, Limits, Reconnection, Request, Server, Target, Transfer};
use iscsi_transport::Random;
use scsi_block::LogicalUnitNumber;
use scsi_block::cdb::Cdb;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

const TARGET: &str = "iqn.2026-01.test:several";
const BLOCK: usize = 512;
/// Parts of the disk, each used by a thread of its own.
const PARTS: u64 = 8;
const PART_BLOCKS: u32 = 128;
const ROUNDS: u32 = 25;

/// Faults that all relays of this process have made.
static FAULTS: AtomicU32 = AtomicU32::new(0);

fn limits(error_recovery_level: u8, max_connections: u16) -> Limits {
    Limits { error_recovery_level, max_connections, time_2_wait: 0, time_2_retain: 20, ..Limits::default() }
}

fn serve(level: u8) -> (Server, SocketAddr) {
    let server = Server::builder()
        .listen("127.0.0.1:0".parse().expect("an address"))
        .cores(2)
        .limits(limits(level, 8))
        .target(Target::new(TARGET).lun(0, Disk::memory(1 << 20)))
        .start()
        .expect("the server starts");
    let address = server.addresses()[0];
    (server, address)
}

/// A relay to a target that has faults of its own.
fn behind(target: SocketAddr, faults: Faults, seed: u64) -> SocketAddr {
    let relay = Relay::new(target, faults, seed).expect("a port");
    let address = relay.address().expect("an address");
    thread::spawn(move || {
        relay.run(|_| {
            FAULTS.fetch_add(1, Ordering::Relaxed);
        })
    });
    address
}

fn execute(client: &Client, cdb: &Cdb, transfer: Transfer) -> Completion {
    let request = Request::new(LogicalUnitNumber::from(0), cdb, transfer);
    let completion = client.execute(request).wait().expect("no command is lost");
    assert_eq!(completion.status, 0, "{:02x?}", completion.sense);
    completion
}

/// Writes a part of the disk and reads it, again and again.
fn use_part(client: &Client, part: u64, seed: u64) {
    let mut random = Random::new(seed ^ part << 32);
    let lba = part * u64::from(PART_BLOCKS);
    for _ in 0..ROUNDS {
        let key = random.next().to_le_bytes();
        let bytes = (0..PART_BLOCKS as usize * BLOCK).map(|place| key[place % 8] ^ (place / BLOCK) as u8);
        let data: Bytes = bytes.collect::<Vec<_>>().into();
        execute(client, &Cdb::write_16(lba, PART_BLOCKS), Transfer::Write(data.clone()));
        let read = execute(client, &Cdb::read_16(lba, PART_BLOCKS), Transfer::Read(data.len() as u32));
        assert!(read.data.concat() == data, "what is read is what was written last");
    }
}

fn run(level: u8, connections: u16, faults: Faults) {
    let seed = u64::from(level) << 8 | u64::from(connections);
    let (server, target) = serve(level);
    let address = behind(target, faults, seed);
    // At level 2 nothing is lost with a connection; below, commands are given again.
    let reconnection = Reconnection { delay_min: Duration::from_millis(10), ..Reconnection::default() };
    let digests = Limits { header_digest: vec![true], data_digest: vec![true], ..limits(level, 1) };
    let config = ClientConfig::new(address.to_string(), TARGET)
        .limits(digests)
        .connections(connections)
        .error_recovery_level(level)
        .reconnection((level < 2).then_some(reconnection));
    let client = Client::connect(config).wait().expect("a session");
    assert_eq!(client.parameters().max_connections, connections);
    client.disk(0).wait().expect("a disk");
    let before = FAULTS.load(Ordering::Relaxed);
    thread::scope(|scope| {
        for part in 0..PARTS {
            let client = &client;
            scope.spawn(move || use_part(client, part, seed));
        }
    });
    assert!(FAULTS.load(Ordering::Relaxed) > before + 2, "there were faults");
    drop(client.logout().wait());
    drop(server);
}

fn gap(text: &str) -> Option<Gap> {
    Some(text.parse().expect("a gap"))
}

fn run_cut(level: u8) {
    for connections in [1, 2, 4] {
        run(level, connections, Faults { cut: gap("300000-3000000"), ..Faults::default() });
    }
}

#[test]
fn connections_that_are_cut_cost_nothing_at_level_0() {
    run_cut(0);
}

#[test]
fn connections_that_are_cut_cost_nothing_at_level_1() {
    run_cut(1);
}

#[test]
fn connections_that_are_cut_cost_nothing_at_level_2() {
    run_cut(2);
}

#[test]
fn bits_that_flip_cost_nothing_at_any_level() {
    for (level, connections) in [(0, 2), (1, 1), (1, 2), (2, 1), (2, 4)] {
        run(level, connections, Faults { flip: gap("500000-3000000"), spared_bytes: 4096, ..Faults::default() });
    }
}

#[test]
fn bits_that_flip_and_connections_that_are_cut_at_level_2() {
    let faults =
        Faults { flip: gap("500000-3000000"), cut: gap("1000000-6000000"), spared_bytes: 4096, ..Faults::default() };
    for connections in [2, 4] {
        run(2, connections, faults);
    }
}
