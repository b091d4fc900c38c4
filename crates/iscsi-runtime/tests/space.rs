//! A thin disk whose store fills up, as an initiator meets it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use iscsi_runtime::{Client, ClientConfig, Disk, Request, Server, Target, Transfer};
use scsi_block::cdb::Cdb;
use scsi_block::log::{LogPage, ResourceCount, page};
use scsi_block::sense::{AdditionalSense, Sense};
use scsi_block::{LogicalUnitNumber, Status};

const TARGET: &str = "iqn.2026-01.test:target";

#[test]
fn initiators_are_told_when_little_is_left() {
    let disk = Disk::open(&"memory:64M,limit=4M".parse().unwrap()).unwrap();
    let target = Target::new(TARGET).lun(0, disk);
    let server = Server::builder().listen("127.0.0.1:0".parse().unwrap()).cores(1).target(target).start().unwrap();
    let client = Client::connect(ClientConfig::new(server.addresses()[0].to_string(), TARGET)).wait().unwrap();
    let disk = client.disk(0).wait().unwrap();
    let run =
        |cdb: Cdb| client.execute(Request::new(LogicalUnitNumber::from(0), &cdb, Transfer::Read(255))).wait().unwrap();
    // A MiB is a threshold set.
    let counts = || {
        let done = run(Cdb::log_sense(page::LOGICAL_BLOCK_PROVISIONING, 0, 255));
        assert_eq!(done.status, Status::Good.code());
        let page = LogPage::decode(&done.data.concat()).unwrap();
        let count = |code| page.parameters.iter().find(|parameter| parameter.code == code);
        let count = |code| ResourceCount::decode(&count(code).unwrap().value).unwrap().threshold_sets;
        (count(ResourceCount::AVAILABLE), count(ResourceCount::USED))
    };
    assert_eq!(counts(), (4, 0));
    disk.write(0, Bytes::from(vec![1; 7 << 19])).wait().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let told = loop {
        let done = run(Cdb::test_unit_ready());
        if done.status != Status::Good.code() {
            break Sense::decode(&done.sense).unwrap().additional;
        }
        assert!(Instant::now() < until, "nobody is told");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(told, AdditionalSense::THIN_PROVISIONING_SOFT_THRESHOLD_REACHED);
    assert_eq!(counts(), (0, 4));
    client.logout().wait().unwrap();
    server.shutdown(Duration::from_secs(5)).unwrap();
}
