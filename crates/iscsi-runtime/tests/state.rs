//! What a server keeps of its units in a folder.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use block_store::{MemoryStore, RecordsError};
use iscsi_runtime::{ChangeError, Client, ClientConfig, Disk, Request, Server, StartError, Target, Transfer};
use scsi_block::cdb::Cdb;
use scsi_block::mode::{CACHING, ModeData, ModeField};
use scsi_block::reservations::{Keys, OutAction, OutList};
use scsi_block::{Geometry, LogicalUnitConfig, LogicalUnitNumber, Status};

const TARGET: &str = "iqn.2026-01.test:target";
const MIB: u64 = 1 << 20;

fn serve(folder: &Path, targets: impl IntoIterator<Item = Target>) -> Result<Server, StartError> {
    let builder = Server::builder().listen("127.0.0.1:0".parse().unwrap()).cores(2).state(folder.join("state"));
    targets.into_iter().fold(builder, |builder, target| builder.target(target)).start()
}

/// The data of a command that goes well once all unit attentions are told.
fn good(client: &Client, lun: u16, cdb: &Cdb, transfer: &Transfer) -> Vec<u8> {
    let run = || client.execute(Request::new(LogicalUnitNumber::from(lun), cdb, transfer.clone())).wait().unwrap();
    let done = std::iter::repeat_with(run).take(4).find(|completion| completion.status == Status::Good.code());
    done.expect("it goes well").data.concat()
}

#[test]
fn a_unit_that_comes_again_has_its_reservations() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), [Target::new(TARGET).lun(0, Disk::memory(MIB))]).unwrap();
    let client = Client::connect(ClientConfig::new(server.addresses()[0].to_string(), TARGET)).wait().unwrap();
    server.add_lun(TARGET, 5, Disk::memory(MIB)).unwrap();
    for key in 1..=3 {
        let list = OutList { action_key: key, persist: true, ..OutList::default() }.encode();
        let register = Cdb::persist_out(OutAction::RegisterAndIgnoreExistingKey, None, list.len() as u32);
        good(&client, 5, &register, &Transfer::Write(list.into()));
    }
    for key in 3..=4 {
        server.remove_lun(TARGET, 5).unwrap();
        // The records are free when the last core has let go of the store.
        let until = Instant::now() + Duration::from_secs(20);
        while let Err(error) = server.add_lun(TARGET, 5, Disk::memory(MIB)) {
            assert!(matches!(error, ChangeError::Records(RecordsError::UnitInUse(_))), "{error}");
            assert!(Instant::now() < until, "{error}");
            std::thread::sleep(Duration::from_millis(1));
        }
        let keys = good(&client, 5, &Cdb::persist_read_keys(64), &Transfer::Read(64));
        assert_eq!(Keys::decode(&keys).unwrap().keys, [key]);
        let list = OutList { key, action_key: key + 1, persist: true, ..OutList::default() }.encode();
        let register = Cdb::persist_out(OutAction::Register, None, list.len() as u32);
        good(&client, 5, &register, &Transfer::Write(list.into()));
    }
    server.resize(TARGET, 5, 2 * MIB).unwrap();
    client.logout().wait().unwrap();
    server.shutdown(Duration::from_secs(5)).unwrap();
}

#[test]
fn saved_mode_pages_and_a_sanitize_that_goes_on_come_back_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let start = || serve(folder.path(), [Target::new(TARGET).lun(0, Disk::memory(32 * MIB))]).unwrap();
    let connect =
        |server: &Server| Client::connect(ClientConfig::new(server.addresses()[0].to_string(), TARGET)).wait().unwrap();
    let caching = |client: &Client, control| {
        let data = good(client, 0, &Cdb::mode_sense_10(control, CACHING, 0, 255), &Transfer::Read(255));
        ModeData::decode_10(&data).unwrap().pages.remove(0)
    };
    let write_cache = ModeField::find("WCE").unwrap();
    let record = |name: &str| {
        let files = std::fs::read_dir(folder.path().join("state")).unwrap().map(|file| file.unwrap().path());
        files
            .filter(|file| file.extension().is_some_and(|end| end == name))
            .map(|file| std::fs::read(file).unwrap())
            .next()
    };

    let server = start();
    let client = connect(&server);
    let mut page = caching(&client, 0);
    assert!(page.savable && write_cache.set(&mut page, 0));
    let list = ModeData::select_list_10(&[page]);
    good(&client, 0, &Cdb::mode_select_10(true, list.len() as u16), &Transfer::Write(list.into()));
    // 31 passes of 32 steps, a millisecond apart.
    let overwrite = [31, 0, 0, 1, 7];
    let cdb = Cdb::sanitize_overwrite(true, overwrite.len() as u16);
    good(&client, 0, &cdb, &Transfer::Write(overwrite.to_vec().into()));
    client.logout().wait().unwrap();
    server.shutdown(Duration::from_secs(5)).unwrap();
    let interrupted = record("sanitize").expect("it was kept before the answer");

    // Nobody connects, and it goes on to its end all the same, which is kept.
    let server = start();
    let until = Instant::now() + Duration::from_secs(60);
    while record("sanitize").is_some_and(|now| now == interrupted) {
        assert!(Instant::now() < until, "it does not go on");
        std::thread::sleep(Duration::from_millis(5));
    }
    let client = connect(&server);
    // The record is there a moment before the unit knows that it is.
    let ready = Request::new(LogicalUnitNumber::from(0), &Cdb::test_unit_ready(), Transfer::None);
    while client.execute(ready.clone()).wait().unwrap().status != Status::Good.code() {
        assert!(Instant::now() < until, "it does not become ready");
        std::thread::sleep(Duration::from_millis(1));
    }
    for control in [0, 3] {
        assert_eq!(write_cache.get(&caching(&client, control)), 0, "current and saved");
    }
    let block = good(&client, 0, &Cdb::read_10(65535, 1), &Transfer::Read(512));
    assert_eq!(block, [7; 512]);
    client.logout().wait().unwrap();
    server.shutdown(Duration::from_secs(5)).unwrap();
}

#[test]
fn units_of_two_targets_do_not_share_records() {
    let folder = tempfile::tempdir().unwrap();
    let target = |name: &str| {
        let store = Arc::new(MemoryStore::new(Geometry { block_size: 512, blocks: 8 }));
        let unit = LogicalUnitConfig::new(Geometry { block_size: 512, blocks: 8 }, "same");
        Target::new(format!("{TARGET}-{name}")).lun(0, Disk::new(store, unit))
    };
    let error = serve(folder.path(), ["one", "two"].map(target)).unwrap_err();
    assert!(matches!(&error, StartError::Records(RecordsError::UnitInUse(unit)) if unit == "same"), "{error}");
}
