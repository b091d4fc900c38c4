//! A device, nexuses to it that have taken their first unit attentions, and commands that run to their end.

use std::sync::Arc;

use bytes::Bytes;
use scsi_block::cdb::Cdb;
use scsi_block::sense::{AdditionalSense, Sense, SenseKey};
use scsi_block::*;

pub(crate) fn lun(number: u16) -> LogicalUnitNumber {
    LogicalUnitNumber::from(number)
}

pub(crate) fn config(serial: &str) -> LogicalUnitConfig {
    let geometry = Geometry { block_size: 512, blocks: 1 << 20 };
    LogicalUnitConfig { thin: true, ..LogicalUnitConfig::new(geometry, serial) }
}

pub(crate) fn device(configs: impl IntoIterator<Item = LogicalUnitConfig>) -> Arc<TargetDevice> {
    let units = configs.into_iter().enumerate().map(|(number, config)| (lun(number as u16), config));
    Arc::new(TargetDevice::new(units).unwrap())
}

/// A nexus that has taken its first unit attentions.
pub(crate) fn settled(device: &Arc<TargetDevice>, name: &str) -> Nexus {
    let mut nexus = device.connect(name);
    for unit in device.logical_units() {
        let outcome = run(&mut nexus, &Command::new(unit.number, Cdb::test_unit_ready().as_bytes()), &[]);
        assert_eq!(Sense::decode(&outcome.sense).unwrap().key, SenseKey::UnitAttention);
    }
    nexus
}

/// Runs a command whose requests all go well, with reads of zeros.
pub(crate) fn run(nexus: &mut Nexus, command: &Command<'_>, data_out: &[u8]) -> Outcome {
    run_with(nexus, command, data_out, |task, request| {
        Ok(match request {
            BlockIo::Read(_) => IoOutput::Data(Bytes::from(vec![0; task.data_in_length() as usize])),
            _ => IoOutput::Done,
        })
    })
}

/// Runs a command with a store of the caller's.
pub(crate) fn run_with(
    nexus: &mut Nexus,
    command: &Command<'_>,
    data_out: &[u8],
    store: impl Fn(&Task, &BlockIo) -> IoDone,
) -> Outcome {
    let mut task = match nexus.begin_command(command) {
        Begin::Done(outcome) => return outcome,
        Begin::Task(task) => task,
    };
    let mut step = nexus.start(&mut task, [Bytes::copy_from_slice(data_out)].into_iter().collect());
    loop {
        step = match step {
            Step::Done(outcome) => return outcome,
            Step::Aborted | Step::Answered(..) | Step::Wait => panic!("nothing resets the unit"),
            Step::Io(request) => {
                let done = store(&task, &request);
                nexus.resume(&mut task, done)
            }
        };
    }
}

/// The data of a command to LUN 0 that goes well.
pub(crate) fn good(nexus: &mut Nexus, cdb: &Cdb, data_out: &[u8]) -> Bytes {
    let outcome = run(nexus, &Command::new(lun(0), cdb.as_bytes()), data_out);
    assert_eq!(outcome.status, Status::Good, "{cdb:?}: {:?}", Sense::decode(&outcome.sense));
    outcome.data_in
}

/// The sense of one that does not.
pub(crate) fn sense(nexus: &mut Nexus, cdb: &Cdb, data_out: &[u8]) -> Sense {
    let outcome = run(nexus, &Command::new(lun(0), cdb.as_bytes()), data_out);
    assert_eq!(outcome.status, Status::CheckCondition, "{cdb:?}");
    Sense::decode(&outcome.sense).unwrap()
}

/// The unit attention that LUN 0 tells a nexus.
pub(crate) fn attention(nexus: &mut Nexus) -> AdditionalSense {
    let sense = sense(nexus, &Cdb::test_unit_ready(), &[]);
    assert_eq!(sense.key, SenseKey::UnitAttention);
    sense.additional
}
