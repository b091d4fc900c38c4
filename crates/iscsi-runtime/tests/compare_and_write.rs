//! COMPARE AND WRITE from sessions on several cores at once, over sockets: no update is lost.

use std::sync::Barrier;
use std::thread;

use iscsi_node::initiator::{Completion, Request};
use iscsi_runtime::{Client, ClientConfig, Disk, Server, StoreSpec, Target};
use iscsi_session::initiator::Transfer;
use scsi_block::cdb::Cdb;
use scsi_block::sense::{Sense, SenseKey};
use scsi_block::{LogicalUnitNumber, Status};

const NAME: &str = "iqn.2026-01.io.ferriscsi:counter";
const BLOCK: usize = 512;
const SESSIONS: u64 = 6;
const CORES: usize = 3;
const ROUNDS: u64 = 40;
const LBA: u64 = 77;

fn execute(client: &Client, cdb: &Cdb, transfer: Transfer) -> Completion {
    client.execute(Request::new(LogicalUnitNumber::from(0), cdb, transfer)).wait().unwrap()
}

fn block(client: &Client) -> Vec<u8> {
    let read = execute(client, &Cdb::read_16(LBA, 1), Transfer::Read(BLOCK as u32));
    assert_eq!(read.status, Status::Good.code(), "{:?}", Sense::decode(&read.sense));
    read.data.concat()
}

fn count(block: &[u8]) -> u64 {
    u64::from_le_bytes(block[..8].try_into().unwrap())
}

/// Adds one to the number in a block, that many times. Returns how often somebody else came between.
fn count_up(client: &Client) -> u64 {
    let (mut counted, mut lost_races) = (0, 0);
    while counted < ROUNDS {
        let old = block(client);
        let mut new = old.clone();
        new[..8].copy_from_slice(&(count(&old) + 1).to_le_bytes());
        let data = [old, new].concat();
        let done = execute(client, &Cdb::compare_and_write(LBA, 1), Transfer::Write(data.into()));
        match Sense::decode(&done.sense) {
            _ if done.status == Status::Good.code() => counted += 1,
            Ok(sense) if sense.key == SenseKey::Miscompare => lost_races += 1,
            // An exchange of a unit with protection information gives way when others come between too often.
            _ if done.status == Status::Busy.code() => lost_races += 1,
            other => panic!("status {}: {other:?}", done.status),
        }
    }
    lost_races
}

fn no_update_is_lost(spec: &str) {
    let disk = Disk::open(&spec.parse::<StoreSpec>().unwrap()).unwrap();
    let target = Target::new(NAME).lun(0, disk);
    let server = Server::builder().listen("127.0.0.1:0".parse().unwrap()).cores(CORES).target(target).start().unwrap();
    let connect = || {
        let client = Client::connect(ClientConfig::new(server.addresses()[0].to_string(), NAME)).wait().unwrap();
        // The first command is told of the power on.
        execute(&client, &Cdb::test_unit_ready(), Transfer::None);
        client
    };
    let clients: Vec<_> = (0..SESSIONS).map(|_| connect()).collect();
    let together = Barrier::new(clients.len());
    let lost_races: u64 = thread::scope(|scope| {
        let counting: Vec<_> = clients
            .iter()
            .map(|client| {
                scope.spawn(|| {
                    together.wait();
                    count_up(client)
                })
            })
            .collect();
        counting.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(lost_races > 0, "nobody came between: the sessions did not meet");
    assert_eq!(count(&block(&clients[0])), SESSIONS * ROUNDS);
}

#[test]
fn sessions_of_several_cores_lose_no_update() {
    no_update_is_lost("memory:1M");
}

#[test]
fn nor_do_they_with_protection_information() {
    no_update_is_lost("memory:1M,pi=1");
}
