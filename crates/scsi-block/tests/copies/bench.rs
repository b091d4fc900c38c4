//! A device of several units, each with a store in memory, and nexuses that drive commands to their end.

use std::sync::Arc;

use bytes::Bytes;
use scsi_block::cdb::Cdb;
use scsi_block::copy::{CopyList, Cscd, Segment, TokenSecret};
use scsi_block::designator::Designator;
use scsi_block::sense::{Sense, SenseKey};
use scsi_block::vpd::DeviceIdentification;
use scsi_block::*;

pub(crate) const BLOCKS: u64 = 2048;

/// Zero and one are plain, two has large blocks, three is write-protected, four has protection information, five is thin.
pub(crate) const LARGE: usize = 2;
pub(crate) const READ_ONLY: usize = 3;
pub(crate) const PROTECTED: usize = 4;
pub(crate) const THIN: usize = 5;
const UNITS: usize = 6;

fn config(index: usize) -> LogicalUnitConfig {
    let block_size = if index == LARGE { 4096 } else { 512 };
    let geometry = Geometry { block_size, blocks: BLOCKS * 512 / u64::from(block_size) };
    LogicalUnitConfig {
        read_only: index == READ_ONLY,
        protection: (index == PROTECTED).then_some(protection::ProtectionType::One),
        thin: index == THIN,
        removable: index == THIN,
        token_secret: Some(TokenSecret::new([index as u8; 32])),
        limits: Limits { atomic_bytes_max: 4096, ..Limits::default() },
        ..LogicalUnitConfig::new(geometry, format!("copies-{index}"))
    }
}

pub(crate) fn lun(unit: usize) -> LogicalUnitNumber {
    LogicalUnitNumber::from(unit as u16)
}

pub(crate) struct Bench {
    pub(crate) device: Arc<TargetDevice>,
    pub(crate) stores: Vec<Vec<u8>>,
    /// What the store of a unit says instead of doing what it is asked, once so many requests have gone to it.
    pub(crate) fails: Option<(usize, usize, IoError)>,
    /// Requests that each store has had.
    pub(crate) requests: Vec<usize>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|_, config| config)
    }

    /// The same, of units that are a little different.
    pub(crate) fn with(change: impl Fn(usize, LogicalUnitConfig) -> LogicalUnitConfig) -> Self {
        let device = TargetDevice::new((0..UNITS).map(|index| (lun(index), change(index, config(index))))).unwrap();
        let bytes = (BLOCKS * 512) as usize;
        let fill = |unit: usize| (0..bytes).map(|byte| (byte / 512 * 7 + byte + unit * 31) as u8).collect();
        Self { device: Arc::new(device), stores: (0..UNITS).map(fill).collect(), fails: None, requests: vec![0; UNITS] }
    }

    /// A nexus that has taken its first unit attentions.
    pub(crate) fn nexus(&self, name: &str) -> Nexus {
        let mut nexus = self.device.connect(name);
        for unit in 0..UNITS {
            nexus.begin(lun(unit), Cdb::test_unit_ready().as_bytes());
        }
        nexus
    }

    /// Does what a request asks of the store of `unit`.
    pub(crate) fn submit(&mut self, unit: usize, request: BlockIo) -> IoDone {
        self.requests[unit] += 1;
        if let Some((failing, after, error)) = self.fails
            && failing == unit
            && self.requests[unit] > after
        {
            return Err(error);
        }
        let block = if unit == LARGE { 4096 } else { 512 };
        let store = &mut self.stores[unit];
        let range = |lba: u64, bytes: usize| lba as usize * block..lba as usize * block + bytes;
        let extent = |extent: &Extent| range(extent.lba, extent.blocks as usize * block);
        match request {
            BlockIo::Read(blocks) => return Ok(IoOutput::Data(Bytes::copy_from_slice(&store[extent(&blocks)]))),
            BlockIo::Write { lba, data, .. } => {
                let data = data.concat();
                store[range(lba, data.len())].copy_from_slice(&data);
            }
            BlockIo::CompareAndWrite { lba, data, .. } => {
                let data = data.concat();
                let (_, write) = data.split_at(data.len() / 2);
                store[range(lba, write.len())].copy_from_slice(write);
            }
            BlockIo::OrWrite { lba, data, .. } => {
                let data = data.concat();
                store[range(lba, data.len())].iter_mut().zip(data).for_each(|(ours, theirs)| *ours |= theirs);
            }
            BlockIo::WriteSame { extent: blocks, block, .. } | BlockIo::Wipe { extent: blocks, block } => {
                let fill = block.unwrap_or_else(|| Bytes::from(vec![0; 4096]));
                store[extent(&blocks)]
                    .chunks_mut(block_of(unit))
                    .for_each(|one| one.copy_from_slice(&fill[..one.len()]));
            }
            BlockIo::Unmap(extents) => extents.iter().for_each(|blocks| store[extent(blocks)].fill(0)),
            BlockIo::Keep(_) => panic!("nothing is kept"),
            BlockIo::Flush | BlockIo::Compare { .. } | BlockIo::Prefetch(_) => {}
            BlockIo::LbaStatus { extent, .. } => return Ok(IoOutput::Status(vec![LbaStatus { extent, mapped: true }])),
        }
        Ok(IoOutput::Done)
    }

    /// Begins a command, and gives its first step.
    pub(crate) fn begin(&self, nexus: &mut Nexus, unit: usize, cdb: &Cdb, data_out: &[u8]) -> (Option<Task>, Step) {
        match nexus.begin(lun(unit), cdb.as_bytes()) {
            Begin::Done(outcome) => (None, Step::Done(outcome)),
            Begin::Task(mut task) => {
                let step = nexus.start(&mut task, data_out.chunks(700).map(Bytes::copy_from_slice).collect());
                (Some(task), step)
            }
        }
    }

    /// Carries a task on from a step of it, answered or not; at most `steps` of them.
    pub(crate) fn go_on(&mut self, nexus: &mut Nexus, task: &mut Task, mut step: Step, steps: usize) -> Step {
        for _ in 0..steps {
            let (Step::Io(request) | Step::Answered(request)) = step else { return step };
            let done = self.submit(task.store(), request);
            step = nexus.resume(task, done);
        }
        step
    }

    pub(crate) fn run(&mut self, nexus: &mut Nexus, unit: usize, cdb: &Cdb, data_out: &[u8]) -> Outcome {
        let (task, mut step) = self.begin(nexus, unit, cdb, data_out);
        if let Some(mut task) = task {
            step = self.go_on(nexus, &mut task, step, usize::MAX);
        }
        match step {
            Step::Done(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn good(&mut self, nexus: &mut Nexus, unit: usize, cdb: &Cdb, data_out: &[u8]) -> Bytes {
        let outcome = self.run(nexus, unit, cdb, data_out);
        assert_eq!(outcome.status, Status::Good, "{cdb:?}: {:?}", Sense::decode(&outcome.sense));
        outcome.data_in
    }

    pub(crate) fn sense(&mut self, nexus: &mut Nexus, unit: usize, cdb: &Cdb, data_out: &[u8]) -> Sense {
        let outcome = self.run(nexus, unit, cdb, data_out);
        assert_eq!(outcome.status, Status::CheckCondition, "{cdb:?}");
        Sense::decode(&outcome.sense).unwrap()
    }

    /// The name of a unit, as an initiator finds it.
    pub(crate) fn name(&mut self, nexus: &mut Nexus, unit: usize) -> Designator {
        let page = self.good(nexus, unit, &Cdb::inquiry_page(0x83, 1024), &[]);
        let names = DeviceIdentification::decode(&page).unwrap().0;
        names.into_iter().find(|name| name.kind == Designator::NAA).expect("a unit has a name")
    }

    /// A list of segments among the units, each its CSCD.
    pub(crate) fn list(&mut self, nexus: &mut Nexus, segments: &[Segment]) -> CopyList {
        let cscds = (0..UNITS).map(|unit| Cscd { designator: self.name(nexus, unit), block_size: 0 }).collect();
        CopyList { identifier: Some(9), immediate: false, cscds, segments: segments.to_vec() }
    }

    pub(crate) fn blocks(&self, unit: usize, lba: u64, blocks: u64) -> &[u8] {
        &self.stores[unit][lba as usize * block_of(unit)..(lba + blocks) as usize * block_of(unit)]
    }
}

fn block_of(unit: usize) -> usize {
    if unit == LARGE { 4096 } else { 512 }
}

/// Blocks of `from.0` at `from.1` to `to.0` at `to.1`.
pub(crate) fn segment(from: (usize, u64), to: (usize, u64), blocks: u16) -> Segment {
    Segment {
        source: from.0 as u16,
        destination: to.0 as u16,
        counts_destination: false,
        blocks,
        source_lba: from.1,
        destination_lba: to.1,
    }
}

/// The command and its list.
pub(crate) fn extended_copy(list: &CopyList) -> (Cdb, Vec<u8>) {
    let bytes = list.encode_lid1();
    (Cdb::extended_copy_lid1(bytes.len() as u32), bytes)
}

pub(crate) fn is_copy_aborted(sense: &Sense, segment: u16) -> bool {
    sense.key == SenseKey::CopyAborted && sense.segment == Some(segment)
}
