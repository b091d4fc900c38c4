//! Disks that a reload replaces, resizes and makes: the same file again, the same records again, and files that a failing reload leaves alone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use block_store::{BlockStore, FileOptions, FileStore};
use bytes::Bytes;
use iscsi_runtime::{
    ChangeError, Client, ClientConfig, Configuration, Disk, ReloadError, Request, Server, ServerBuilder, StoreKind,
    StoreSpec, Target, Transfer,
};
use scsi_block::cdb::Cdb;
use scsi_block::reservations::{Keys, OutAction, OutList};
use scsi_block::vpd::page;
use scsi_block::{LogicalUnitConfig, LogicalUnitNumber, Status};

const ONE: &str = "iqn.2026-01.test:one";
const TWO: &str = "iqn.2026-01.test:two";
const MIB: u64 = 1 << 20;

fn file(path: &Path, size_bytes: u64) -> StoreSpec {
    StoreSpec::new(StoreKind::File { path: path.into(), size_bytes: Some(size_bytes), direct: false })
}

fn serving(targets: impl IntoIterator<Item = Target>) -> ServerBuilder {
    let builder = Server::builder().listen("127.0.0.1:0".parse().unwrap()).cores(2);
    targets.into_iter().fold(builder, ServerBuilder::target)
}

fn of(target: Target) -> Configuration {
    serving([target]).configuration()
}

fn connect(server: &Server, target: &str) -> Client {
    Client::connect(ClientConfig::new(server.addresses()[0].to_string(), target)).wait().unwrap()
}

/// The data of a command that goes well once all unit attentions are told.
fn good(client: &Client, lun: u16, cdb: &Cdb, transfer: &Transfer) -> Vec<u8> {
    let run = || client.execute(Request::new(LogicalUnitNumber::from(lun), cdb, transfer.clone())).wait().unwrap();
    let done = std::iter::repeat_with(run).take(4).find(|completion| completion.status == Status::Good.code());
    done.expect("it goes well").data.concat()
}

#[test]
fn a_file_is_replaced_by_itself_in_another_guise() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let server = serving([Target::new(ONE).lun(0, file(&path, MIB))]).start().unwrap();
    let client = connect(&server, ONE);
    client.disk(0).wait().unwrap().write(0, Bytes::from(vec![7; 512])).wait().unwrap();
    for read_only in [true, false] {
        let other = StoreSpec { read_only, ..file(&path, MIB) };
        let report = server.reload(of(Target::new(ONE).lun(0, other))).unwrap();
        assert_eq!((report.changes.len(), report.faults.len()), (2, 0), "{report}");
        let client = connect(&server, ONE);
        let disk = client.disk(0).wait().unwrap();
        assert_eq!(disk.read(0, 1).wait().unwrap(), vec![7; 512]);
        assert_eq!(disk.write(0, Bytes::from(vec![7; 512])).wait().is_err(), read_only);
    }
    // From one target to another, and under another number.
    server.reload(of(Target::new(TWO).lun(3, file(&path, MIB)))).unwrap();
    assert_eq!(connect(&server, TWO).disk(3).wait().unwrap().read(0, 1).wait().unwrap(), vec![7; 512]);
    // Not twice.
    let twice = serving([Target::new(ONE).lun(0, file(&path, MIB)), Target::new(TWO).lun(0, file(&path, MIB))]);
    let refused = server.reload(twice.configuration()).unwrap_err().to_string();
    assert!(refused.contains("in use"), "{refused}");
    assert_eq!(connect(&server, TWO).disk(3).wait().unwrap().read(0, 1).wait().unwrap(), vec![7; 512]);
}

#[test]
fn a_disk_does_not_come_while_another_is_at_work_on_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let options = FileOptions { size_bytes: Some(MIB), ..FileOptions::default() };
    // Who has the store may still write.
    let store: Arc<dyn BlockStore> = Arc::new(FileStore::open(&path, &options).unwrap());
    let unit = LogicalUnitConfig::new(store.geometry(), "slow");
    let server = serving([Target::new(ONE).lun(0, Disk::new(Arc::clone(&store), unit))]).start().unwrap();
    let next = || of(Target::new(ONE).lun(0, file(&path, MIB)));
    let report = server.reload(next()).unwrap();
    assert!(matches!(&report.faults[..], [fault] if fault.contains("has not come back")), "{report}");
    assert!(connect(&server, ONE).disk(0).wait().is_err());
    drop(store);
    let report = server.reload(next()).unwrap();
    assert!(report.faults.is_empty(), "{report}");
    connect(&server, ONE).disk(0).wait().unwrap().write(0, Bytes::from(vec![7; 512])).wait().unwrap();
}

#[test]
fn a_disk_that_is_replaced_has_what_was_kept_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let with = |target: Target| serving([target]).state(folder.path().join("state"));
    let server = with(Target::new(ONE).lun(0, file(&path, MIB))).start().unwrap();
    let client = connect(&server, ONE);
    let list = OutList { action_key: 5, persist: true, ..OutList::default() }.encode();
    let register = Cdb::persist_out(OutAction::RegisterAndIgnoreExistingKey, None, list.len() as u32);
    good(&client, 0, &register, &Transfer::Write(list.into()));
    let other = StoreSpec { write_cache: false, ..file(&path, MIB) };
    for (name, lun) in [(ONE, 0), (ONE, 9), (TWO, 0)] {
        let next = Target::new(name).lun(lun, other.clone());
        let report = server.reload(with(next).configuration()).unwrap();
        assert!(report.faults.is_empty(), "{report}");
        let keys = good(&connect(&server, name), lun, &Cdb::persist_read_keys(64), &Transfer::Read(64));
        assert_eq!(Keys::decode(&keys).unwrap().keys, [5]);
    }
    server.shutdown(Duration::from_secs(5)).unwrap();
}

#[test]
fn a_reload_that_fails_grows_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let server = serving([Target::new(ONE).lun(0, file(&path, MIB))]).start().unwrap();
    let length = || std::fs::metadata(&path).unwrap().len();
    let nowhere = StoreSpec::new(StoreKind::File { path: "/nowhere/disk".into(), size_bytes: None, direct: false });
    server.reload(of(Target::new(ONE).lun(0, file(&path, 2 * MIB)).lun(1, nowhere))).unwrap_err();
    assert_eq!(length(), MIB);
    let odd = server.reload(of(Target::new(ONE).lun(0, file(&path, MIB + 1)))).unwrap_err();
    assert!(matches!(odd, ReloadError::Unit { error: ChangeError::Size { .. }, .. }));
    assert!(odd.to_string().contains("expected a multiple of 512"), "{odd}");
    let read_only = |bytes| Target::new(ONE).lun(0, StoreSpec { read_only: true, ..file(&path, bytes) });
    server.reload(of(read_only(MIB))).unwrap();
    let fixed = server.reload(of(read_only(2 * MIB))).unwrap_err();
    assert!(matches!(fixed, ReloadError::Unit { error: ChangeError::Grow(_), .. }), "{fixed}");
    assert_eq!((length(), server.configuration()), (MIB, of(read_only(MIB))));
    server.reload(of(Target::new(ONE).lun(0, file(&path, MIB)))).unwrap();
    server.reload(of(Target::new(ONE).lun(0, file(&path, 2 * MIB)))).unwrap();
    assert_eq!(length(), 2 * MIB);
}

#[test]
fn a_file_that_has_shrunk_is_served_again_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk");
    let server = serving([Target::new(ONE).lun(0, file(&path, 2 * MIB))]).start().unwrap();
    let less = serving([Target::new(ONE).lun(0, file(&path, MIB))]);
    server.reload(less.configuration()).unwrap();
    let configuration = server.configuration();
    server.shutdown(Duration::from_secs(5)).unwrap();
    let server = ServerBuilder::from(configuration).start().unwrap();
    assert_eq!(connect(&server, ONE).disk(0).wait().unwrap().blocks(), MIB / 512);
}

#[test]
fn a_unit_that_comes_later_tells_where_its_target_is_managed() {
    let url = "https://target.example/";
    let memory = || StoreSpec::new(StoreKind::Memory { size_bytes: MIB });
    let target = || Target::new(ONE).management_address(url).lun(0, memory());
    let server = serving([target()]).start().unwrap();
    server.reload(of(target().lun(1, memory()))).unwrap();
    server.add_lun(ONE, 2, iscsi_runtime::Disk::memory(MIB)).unwrap();
    let client = connect(&server, ONE);
    for lun in 0..3 {
        let told = good(&client, lun, &Cdb::inquiry_page(page::MANAGEMENT_ADDRESSES, 255), &Transfer::Read(255));
        assert!(String::from_utf8_lossy(&told).contains(url), "LUN {lun}");
    }
}
