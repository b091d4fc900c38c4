//! What a server keeps of its units in a folder.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use block_store::{MemoryStore, RecordsError};
use iscsi_runtime::{ChangeError, Client, ClientConfig, Disk, Request, Server, StartError, Target, Transfer};
use scsi_block::cdb::Cdb;
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
