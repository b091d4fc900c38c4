//! CDBs of 32 bytes from our initiator to our target, in an extended-CDB AHS, and protection information on the way; a SANITIZE beside other
//! commands.

use std::time::{Duration, Instant};

use bytes::Bytes;
use iscsi_node::initiator::{Completion, Request};
use iscsi_runtime::{Client, ClientConfig, Disk, Server, StoreSpec, Target};
use iscsi_session::initiator::Transfer;
use scsi_block::LogicalUnitNumber;
use scsi_block::cdb::Cdb;
use scsi_block::opcodes::{Field, Operation};
use scsi_block::parameters::OverwriteList;
use scsi_block::protection::ProtectionTuple;
use scsi_block::sense::{AdditionalSense, Sense};

const NAME: &str = "iqn.2026-01.io.ferriscsi:long";

fn serve(specs: &[&str]) -> (Server, Client) {
    let disks = specs.iter().map(|spec| Disk::open(&spec.parse::<StoreSpec>().unwrap()).unwrap());
    let target = (0..).zip(disks).fold(Target::new(NAME), |target, (number, disk)| target.lun(number, disk));
    let server = Server::builder().listen("127.0.0.1:0".parse().unwrap()).target(target).start().unwrap();
    let client = Client::connect(ClientConfig::new(server.addresses()[0].to_string(), NAME)).wait().unwrap();
    (server, client)
}

fn execute(client: &Client, lun: u16, cdb: &Cdb, transfer: Transfer) -> Completion {
    client.execute(Request::new(LogicalUnitNumber::from(lun), cdb, transfer)).wait().unwrap()
}

fn long(operation: Operation, reference: u64) -> Cdb {
    let fields = [(Field::LogicalBlockAddress, 5), (Field::Blocks, 2), (Field::Protect, 1)];
    let tags = [
        (Field::ExpectedReferenceTag, reference),
        (Field::ExpectedApplicationTag, 7),
        (Field::ApplicationTagMask, 0xff),
    ];
    fields.into_iter().chain(tags).fold(Cdb::new(operation), |cdb, (field, value)| cdb.try_with(field, value).unwrap())
}

#[test]
fn blocks_with_tuples_go_there_and_back_by_cdbs_of_32_bytes() {
    let (server, client) = serve(&["memory:1M,pi=2"]);
    client.disk(0).wait().unwrap();
    let block =
        |fill: u8, reference| [&[fill; 512][..], &ProtectionTuple::of(&[fill; 512], 7, reference).encode()].concat();
    let data = Bytes::from([block(1, 1000), block(2, 1001)].concat());
    let written = execute(&client, 0, &long(Operation::Write32, 1000), Transfer::Write(data.clone()));
    assert_eq!(written.status, 0, "{:?}", Sense::decode(&written.sense));
    let read = execute(&client, 0, &long(Operation::Read32, 1000), Transfer::Read(1040));
    assert_eq!((read.status, read.data.concat()), (0, data.to_vec()));
    let refused = execute(&client, 0, &long(Operation::Read32, 999), Transfer::Read(1040));
    let code = Sense::decode(&refused.sense).unwrap().additional;
    assert_eq!(code, AdditionalSense::LOGICAL_BLOCK_REFERENCE_TAG_CHECK_FAILED);
    client.logout().wait().unwrap();
    server.shutdown(Duration::from_secs(5)).unwrap();
}

/// An overwrite that is not waited for: it is told while it goes on, another disk is read meanwhile, and it ends although its session has.
#[test]
fn a_sanitize_goes_on_without_its_session_and_beside_others() {
    let (server, client) = serve(&["memory:64M", "memory:1M,serial=other"]);
    client.disk(0).wait().unwrap();
    let other = client.disk(1).wait().unwrap();
    let list = OverwriteList { invert: false, passes: 1, pattern: vec![0x5a] }.encode();
    let cdb = Cdb::sanitize_overwrite(true, list.len() as u16);
    assert_eq!(execute(&client, 0, &cdb, Transfer::Write(list.into())).status, 0);
    let refused = execute(&client, 0, &Cdb::read_16(0, 1), Transfer::Read(512));
    assert_eq!(Sense::decode(&refused.sense).unwrap().additional, AdditionalSense::SANITIZE_IN_PROGRESS);
    assert_eq!(other.read(0, 1).wait().unwrap(), vec![0; 512]);
    client.logout().wait().unwrap();

    let again = Client::connect(ClientConfig::new(server.addresses()[0].to_string(), NAME)).wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let disk = loop {
        match again.disk(0).wait() {
            Ok(disk) => break disk,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    for lba in [0, 1000, disk.blocks() - 1] {
        assert_eq!(disk.read(lba, 1).wait().unwrap(), vec![0x5a; 512]);
    }
    again.logout().wait().unwrap();
    server.shutdown(Duration::from_secs(5)).unwrap();
}
