//! Logical units that come, go, grow and shrink while sessions use the target.

use bytes::Bytes;
use iscsi_runtime::{ChangeError, Client, ClientConfig, ClientError, Disk, Server, Target};
use scsi_block::{ConfigError, LogicalUnitNumber};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const TARGET: &str = "iqn.2026-01.test:target";
const MIB: u64 = 1 << 20;

fn server() -> Server {
    let target = Target::new(TARGET).lun(0, Disk::memory(MIB));
    Server::builder().listen("127.0.0.1:0".parse().unwrap()).cores(2).target(target).start().unwrap()
}

fn connect(server: &Server) -> Client {
    Client::connect(ClientConfig::new(server.addresses()[0].to_string(), TARGET)).wait().unwrap()
}

/// Does something again while a unit attention of that name is in its way, which it must be once.
fn through<T>(attention: &str, mut what: impl FnMut() -> Result<T, ClientError>) -> T {
    let told = what().err().map(|error| error.to_string()).unwrap_or_default();
    assert!(told.contains(attention), "{told}");
    what().unwrap()
}

#[test]
fn units_come_and_go_under_load() {
    let server = server();
    let (other, client) = (connect(&server), connect(&server));
    // Asked for before anything changes, so that no unit attention is in the way.
    let (other_disk, disk) = (other.disk(0).wait().unwrap(), client.disk(0).wait().unwrap());
    let stops = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut done = 0;
            while !stops.load(Ordering::Relaxed) || done == 0 {
                match other_disk.read(0, 8).wait() {
                    Ok(_) => done += 1,
                    Err(error) => assert!(error.to_string().contains("REPORTED LUNS DATA"), "{error}"),
                }
            }
        });
        for round in 0..20u8 {
            server.add_lun(TARGET, 5, Disk::memory(MIB)).unwrap();
            through("REPORTED LUNS DATA HAS CHANGED", || disk.read(0, 1).wait());
            let numbers = client.report_luns().wait().unwrap();
            assert_eq!(numbers, [LogicalUnitNumber::from(0), LogicalUnitNumber::from(5)]);
            let added = client.disk(5).wait().unwrap();
            added.write(7, Bytes::from(vec![round; 512])).wait().unwrap();
            assert_eq!(added.read(7, 1).wait().unwrap(), vec![round; 512]);
            // What is under way ends, one way or the other.
            let pending: Vec<_> = (0..32).map(|lba| added.read(lba, 1)).collect();
            server.remove_lun(TARGET, 5).unwrap();
            pending.into_iter().for_each(|read| drop(read.wait()));
            let refused = added.read(7, 1).wait().unwrap_err().to_string();
            assert!(refused.contains("LOGICAL UNIT NOT SUPPORTED"), "{refused}");
            through("REPORTED LUNS DATA HAS CHANGED", || disk.read(0, 1).wait());
        }
        stops.store(true, Ordering::Relaxed);
        load.join().unwrap();
    });
    client.logout().wait().unwrap();
    other.logout().wait().unwrap();
    server.shutdown(Duration::from_secs(5)).unwrap();
}

#[test]
fn a_disk_grows_and_shrinks_under_its_sessions() {
    let server = server();
    let client = connect(&server);
    let disk = client.disk(0).wait().unwrap();
    server.resize(TARGET, 0, 2 * MIB).unwrap();
    through("CAPACITY DATA HAS CHANGED", || disk.read(0, 1).wait());
    let grown = client.disk(0).wait().unwrap();
    assert_eq!(grown.blocks(), 4096);
    grown.write(4095, Bytes::from(vec![9; 512])).wait().unwrap();
    server.resize(TARGET, 0, MIB / 2).unwrap();
    through("CAPACITY DATA HAS CHANGED", || grown.read(0, 1).wait());
    assert!(grown.read(4095, 1).wait().unwrap_err().to_string().contains("OUT OF RANGE"));
    assert_eq!(client.disk(0).wait().unwrap().blocks(), 1024);
    client.logout().wait().unwrap();
    server.shutdown(Duration::from_secs(5)).unwrap();
}

#[test]
fn a_change_that_cannot_be_says_why() {
    let server = server();
    assert!(matches!(server.remove_lun("iqn.2026-01.test:none", 0), Err(ChangeError::NoSuchTarget(_))));
    assert!(matches!(server.remove_lun(TARGET, 1), Err(ChangeError::NoSuchUnit(1))));
    assert!(matches!(server.resize(TARGET, 1, MIB), Err(ChangeError::NoSuchUnit(1))));
    assert!(matches!(server.resize(TARGET, 0, 1000), Err(ChangeError::Size { bytes: 1000, block_size: 512 })));
    assert!(matches!(server.resize(TARGET, 0, 0), Err(ChangeError::Configuration(ConfigError::Blocks(0)))));
    let far = server.resize(TARGET, 0, u64::MAX - 511);
    assert!(matches!(far, Err(ChangeError::Configuration(ConfigError::Blocks(_)))));
    let twice = server.add_lun(TARGET, 0, Disk::memory(MIB));
    assert!(matches!(twice, Err(ChangeError::Configuration(ConfigError::Duplicate(_)))));
    server.shutdown(Duration::from_secs(5)).unwrap();
}
