//! A store that fails: the initiator is told, once and in SCSI's words; nothing that was acknowledged is lost, and everybody else goes on.

use block_store::{BlockStore, Effect, Fault, FaultStore, MemoryStore, Operation};
use iscsi_runtime::{Client, ClientConfig, ClientError, Disk, RemoteDisk, Server, Target};
use scsi_block::{Geometry, IoError, LogicalUnitConfig};
use std::net::SocketAddr;
use std::sync::Arc;

const TARGET: &str = "iqn.2026-01.test:failing";
const BLOCK: usize = 512;

struct Bench {
    server: Server,
    disk: RemoteDisk,
}

/// A target whose disk fails as told, and a session with it.
fn bench(faults: impl IntoIterator<Item = Fault>) -> Bench {
    let memory: Arc<dyn BlockStore> = Arc::new(MemoryStore::new(Geometry { block_size: BLOCK as u32, blocks: 2048 }));
    let unit = LogicalUnitConfig { write_cache: true, ..LogicalUnitConfig::new(memory.geometry(), "failing") };
    let disk = Disk::new(Arc::new(FaultStore::new(memory, faults)), unit);
    let server = Server::builder()
        .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
        .target(Target::new(TARGET).lun(0, disk))
        .start()
        .expect("the server starts");
    let disk = open(&server);
    Bench { server, disk }
}

fn open(server: &Server) -> RemoteDisk {
    let config = ClientConfig::new(server.addresses()[0].to_string(), TARGET);
    let client = Client::connect(config).wait().expect("the login goes well");
    client.disk(0).wait().expect("the disk is there")
}

fn one(operation: Operation, error: IoError) -> [Fault; 1] {
    [Fault { operation, after: 1, count: 1, effect: Effect::Fail(error) }]
}

fn blocks(byte: u8, count: usize) -> bytes::Bytes {
    vec![byte; BLOCK * count].into()
}

fn refusal(result: Result<impl std::fmt::Debug, ClientError>) -> String {
    match result {
        Err(ClientError::Command(text)) => text,
        other => panic!("the logical unit was to refuse: {other:?}"),
    }
}

#[test]
fn a_full_disk_is_told_once_and_what_was_written_stays() {
    let Bench { server, disk } = bench(one(Operation::Write, IoError::NoSpace));
    disk.write(0, blocks(1, 8)).wait().expect("the first write is good");
    let text = refusal(disk.write(8, blocks(2, 8)).wait());
    assert!(text.contains("SPACE ALLOCATION FAILED WRITE PROTECT"), "{text}");
    disk.write(16, blocks(3, 8)).wait().expect("the failure is told once");
    assert_eq!(disk.read(0, 8).wait().expect("it was acknowledged"), blocks(1, 8));
    assert_eq!(disk.read(16, 8).wait().expect("it was acknowledged"), blocks(3, 8));
    assert_eq!(open(&server).read(0, 8).wait().expect("another session sees it"), blocks(1, 8));
}

#[test]
fn an_unreadable_medium_is_a_medium_error() {
    let Bench { server: _server, disk } = bench(one(Operation::Read, IoError::Read));
    disk.write(0, blocks(1, 1)).wait().expect("a write is good");
    disk.read(0, 1).wait().expect("the first read is good");
    let text = refusal(disk.read(0, 1).wait());
    assert!(text.contains("MEDIUM ERROR") && text.contains("UNRECOVERED READ ERROR"), "{text}");
    assert_eq!(disk.read(0, 1).wait().expect("the failure is told once"), blocks(1, 1));
}

#[test]
fn a_flush_that_fails_is_not_acknowledged() {
    let Bench { server: _server, disk } = bench(one(Operation::Flush, IoError::Write));
    disk.flush().wait().expect("the first flush is good");
    let text = refusal(disk.flush().wait());
    assert!(text.contains("MEDIUM ERROR") && text.contains("WRITE ERROR"), "{text}");
}

#[test]
fn a_failure_on_one_session_leaves_others_alone() {
    let Bench { server, disk } = bench(one(Operation::Write, IoError::Write));
    let other = open(&server);
    disk.write(0, blocks(1, 1)).wait().expect("the first write is good");
    let slow: Vec<_> = (0..64).map(|lba| other.read(lba, 1)).collect();
    refusal(disk.write(1, blocks(2, 1)).wait());
    for read in slow {
        read.wait().expect("the other session goes on");
    }
}

#[test]
fn a_slow_store_ends_all_that_it_was_asked_and_loses_nothing() {
    let slow = Fault { operation: Operation::Write, after: 1, count: 1, effect: Effect::Delay { polls: 200 } };
    let Bench { server, disk } = bench([slow]);
    let other = open(&server);
    disk.write(0, blocks(1, 8)).wait().expect("the first write is good");
    let late = disk.write(8, blocks(2, 8));
    for lba in 0..64 {
        other.read(lba, 1).wait().expect("the other session goes on");
    }
    disk.write(16, blocks(3, 8)).wait().expect("a later command is good");
    late.wait().expect("it is late, but good");
    for (lba, byte) in [(0, 1), (8, 2), (16, 3)] {
        assert_eq!(other.read(lba, 8).wait().expect("it was acknowledged"), blocks(byte, 8));
    }
}
