//! A unit with a medium, and nexuses that give it commands.

use std::sync::Arc;

use bytes::Bytes;
use scsi_block::cdb::Cdb;
use scsi_block::opcodes::{Field, Operation};
use scsi_block::sense::{FieldPointer, Sense};
use scsi_block::*;

pub(crate) const BLOCKS: u64 = 100;

pub(crate) fn lun() -> LogicalUnitNumber {
    LogicalUnitNumber::from(0)
}

pub(crate) fn config() -> LogicalUnitConfig {
    let geometry = Geometry { block_size: 512, blocks: BLOCKS };
    let limits = Limits { atomic_bytes_max: 8192, ..Limits::default() };
    LogicalUnitConfig { thin: true, removable: true, limits, ..LogicalUnitConfig::new(geometry, "medium") }
}

pub(crate) fn device(config: LogicalUnitConfig) -> Arc<TargetDevice> {
    Arc::new(TargetDevice::new([(lun(), config)]).unwrap())
}

/// A nexus that has taken its first unit attention.
pub(crate) fn settled(device: &Arc<TargetDevice>) -> Nexus {
    let mut nexus = device.connect("initiator");
    nexus.begin(lun(), Cdb::test_unit_ready().as_bytes());
    nexus
}

/// Runs a command; the store's requests are kept, and all go well.
pub(crate) fn run_seen(nexus: &mut Nexus, cdb: &Cdb, data_out: &[u8]) -> (Outcome, Vec<BlockIo>) {
    let mut seen = Vec::new();
    let mut task = match nexus.begin(lun(), cdb.as_bytes()) {
        Begin::Done(outcome) => return (outcome, seen),
        Begin::Task(task) => task,
    };
    let mut step = nexus.start(&mut task, [Bytes::copy_from_slice(data_out)].into_iter().collect());
    loop {
        let request = match step {
            Step::Done(outcome) => return (outcome, seen),
            Step::Aborted | Step::Answered(..) | Step::Wait => panic!("nothing resets the unit"),
            Step::Io(request) => request,
        };
        let output = match &request {
            BlockIo::Read(extent) => IoOutput::Data(vec![0; extent.blocks as usize * 512].into()),
            BlockIo::LbaStatus { extent, .. } => IoOutput::Status(vec![
                LbaStatus { extent: Extent { lba: extent.lba, blocks: 3 }, mapped: true },
                LbaStatus { extent: Extent { lba: extent.lba + 3, blocks: 1 }, mapped: false },
            ]),
            _ => IoOutput::Done,
        };
        seen.push(request);
        step = nexus.resume(&mut task, Ok(output));
    }
}

pub(crate) fn run(nexus: &mut Nexus, cdb: &Cdb, data_out: &[u8]) -> Outcome {
    run_seen(nexus, cdb, data_out).0
}

pub(crate) fn good(nexus: &mut Nexus, cdb: &Cdb, data_out: &[u8]) -> Bytes {
    let outcome = run(nexus, cdb, data_out);
    assert_eq!(outcome.status, Status::Good, "{cdb:?}: {:?}", Sense::decode(&outcome.sense));
    outcome.data_in
}

pub(crate) fn sense(nexus: &mut Nexus, cdb: &Cdb, data_out: &[u8]) -> Sense {
    let outcome = run(nexus, cdb, data_out);
    assert_eq!(outcome.status, Status::CheckCondition, "{cdb:?}");
    Sense::decode(&outcome.sense).unwrap()
}

pub(crate) fn cdb(operation: Operation, fields: &[(Field, u64)]) -> Cdb {
    fields.iter().fold(Cdb::new(operation), |cdb, (field, value)| cdb.try_with(*field, *value).unwrap())
}

pub(crate) fn pointer(byte: u16, bit: u8) -> Option<FieldPointer> {
    Some(FieldPointer { in_cdb: true, byte, bit: Some(bit) })
}
