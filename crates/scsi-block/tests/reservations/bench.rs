//! An initiator, and devices to reserve.

use std::sync::Arc;

use bytes::Bytes;
use scsi_block::cdb::Cdb;
use scsi_block::reservations::*;
use scsi_block::sense::{AdditionalSense, Sense};
use scsi_block::*;

pub(crate) const LUN: LogicalUnitNumber = LogicalUnitNumber::from_wire([0; 8]);

pub(crate) fn device_that_keeps(kept: Option<Kept>) -> Arc<TargetDevice> {
    let config = LogicalUnitConfig::new(Geometry { block_size: 512, blocks: 1 << 20 }, "serial");
    let config = LogicalUnitConfig { thin: true, kept, removable: true, ..config };
    Arc::new(TargetDevice::new([(LUN, config)]).unwrap())
}

pub(crate) fn device() -> Arc<TargetDevice> {
    device_that_keeps(None)
}

/// An initiator, with what it has given to be kept.
pub(crate) struct Host {
    pub(crate) nexus: Nexus,
    pub(crate) kept: Vec<Record>,
}

impl Host {
    /// One that has taken its first unit attention.
    pub(crate) fn new(device: &Arc<TargetDevice>, name: &str) -> Self {
        let mut host = Self { nexus: device.connect(name), kept: Vec::new() };
        assert_eq!(host.attention(), Some(AdditionalSense::POWER_ON_OR_RESET));
        host
    }

    pub(crate) fn run(&mut self, cdb: &Cdb, data_out: &[u8]) -> Outcome {
        let mut task = match self.nexus.begin(LUN, cdb.as_bytes()) {
            Begin::Done(outcome) => return outcome,
            Begin::Task(task) => task,
        };
        let mut step = self.nexus.start(&mut task, [Bytes::copy_from_slice(data_out)].into_iter().collect());
        loop {
            let output = match step {
                Step::Done(outcome) => return outcome,
                Step::Aborted | Step::Answered(..) | Step::Wait => panic!("nothing else goes on"),
                Step::Io(BlockIo::Read(_)) => IoOutput::Data(Bytes::from(vec![0; task.data_in_length() as usize])),
                Step::Io(BlockIo::Keep(record)) => {
                    self.kept.push(record);
                    IoOutput::Done
                }
                Step::Io(_) => IoOutput::Done,
            };
            step = self.nexus.resume(&mut task, Ok(output));
        }
    }

    pub(crate) fn attention(&mut self) -> Option<AdditionalSense> {
        let outcome = self.run(&Cdb::test_unit_ready(), &[]);
        (outcome.status == Status::CheckCondition).then(|| Sense::decode(&outcome.sense).unwrap().additional)
    }

    pub(crate) fn out(&mut self, action: OutAction, kind: Option<ReservationType>, list: &OutList) -> Outcome {
        let list = list.encode();
        self.run(&Cdb::persist_out(action, kind, list.len() as u32), &list)
    }

    #[track_caller]
    pub(crate) fn good(&mut self, action: OutAction, kind: Option<ReservationType>, key: u64, action_key: u64) {
        let outcome = self.out(action, kind, &keys(key, action_key));
        assert_eq!(outcome.status, Status::Good, "{action:?}: {:?}", Sense::decode(&outcome.sense));
    }

    pub(crate) fn register(&mut self, key: u64) {
        self.good(OutAction::RegisterAndIgnoreExistingKey, None, 0, key);
    }

    pub(crate) fn current(&mut self) -> Option<(u64, ReservationType)> {
        let outcome = self.run(&Cdb::persist_read_reservation(64), &[]);
        CurrentReservation::decode(&outcome.data_in).unwrap().reservation
    }

    pub(crate) fn keys(&mut self) -> Keys {
        Keys::decode(&self.run(&Cdb::persist_read_keys(16384), &[]).data_in).unwrap()
    }

    pub(crate) fn capabilities(&mut self) -> Capabilities {
        Capabilities::decode(&self.run(&Cdb::persist_report_capabilities(8), &[]).data_in).unwrap()
    }
}

pub(crate) fn keys(key: u64, action_key: u64) -> OutList {
    OutList { key, action_key, ..OutList::default() }
}

pub(crate) fn refusal(outcome: &Outcome) -> Sense {
    assert_eq!(outcome.status, Status::CheckCondition);
    Sense::decode(&outcome.sense).unwrap()
}
