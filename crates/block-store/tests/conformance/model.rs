//! Random operation lists against a `Vec<u8>`.

use crate::harness::Driver;
use block_store::BlockStore;
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use scsi_block::io::{BlockIo, Extent, Geometry, IoDone, IoError, IoOutput, LbaStatus, Segments};
use std::sync::Arc;

/// Some chunks of 64 KiB, and an end that is none of their borders.
const DISK_BYTES: u64 = (5 << 16) + 4096;
const BLOCKS_MAX: u64 = 160;

/// A request in outline: a place and a length that are made to fit, and bytes to make data from.
#[derive(Clone, Debug)]
enum Operation {
    Read,
    Write { fill: u8, cuts: Vec<u16>, durable: bool },
    Compare { differ_at: Option<u32> },
    CompareAndWrite { fill: u8, differ_at: Option<u32> },
    WriteSame { fill: Option<u8>, unmap: bool },
    OrWrite { fill: u8, durable: bool },
    Unmap { second: Option<(u64, u64)> },
    Flush,
}

type Step = (u64, u64, Operation);

fn operation() -> impl Strategy<Value = Operation> {
    let fill = any::<u8>();
    let differ_at = || proptest::option::of(any::<u32>());
    prop_oneof![
        4 => Just(Operation::Read),
        4 => (fill, proptest::collection::vec(any::<u16>(), 0..4), any::<bool>())
            .prop_map(|(fill, cuts, durable)| Operation::Write { fill, cuts, durable }),
        1 => differ_at().prop_map(|differ_at| Operation::Compare { differ_at }),
        2 => (fill, differ_at())
            .prop_map(|(fill, differ_at)| Operation::CompareAndWrite { fill, differ_at }),
        1 => (proptest::option::of(fill), any::<bool>())
            .prop_map(|(fill, unmap)| Operation::WriteSame { fill, unmap }),
        1 => (fill, any::<bool>()).prop_map(|(fill, durable)| Operation::OrWrite { fill, durable }),
        2 => proptest::option::of(any::<(u64, u64)>())
            .prop_map(|second| Operation::Unmap { second }),
        1 => Just(Operation::Flush),
    ]
}

/// The medium as it should be.
struct Model {
    geometry: Geometry,
    bytes: Vec<u8>,
}

impl Model {
    fn extent(&self, place: u64, length: u64) -> Extent {
        let lba = place % self.geometry.blocks;
        let room = (self.geometry.blocks - lba).min(BLOCKS_MAX);
        Extent { lba, blocks: 1 + length % room }
    }

    fn at(&mut self, extent: Extent) -> &mut [u8] {
        let block_size = self.geometry.block_size as usize;
        let start = extent.lba as usize * block_size;
        &mut self.bytes[start..][..extent.blocks as usize * block_size]
    }

    /// The medium's bytes with perhaps one of them changed, and what a comparison with that is to say.
    fn probe(&mut self, extent: Extent, differ_at: Option<u32>) -> (Vec<u8>, IoDone) {
        let mut data = self.at(extent).to_vec();
        let Some(differ_at) = differ_at else { return (data, Ok(IoOutput::Done)) };
        let offset = differ_at as usize % data.len();
        data[offset] ^= 0x80;
        (data, Err(IoError::Miscompare { offset: offset as u64 }))
    }

    /// The request, and the end that it is to have. The model is changed as the medium should be.
    fn apply(&mut self, (place, length, operation): Step) -> (BlockIo, IoDone) {
        let extent = self.extent(place, length);
        let lba = extent.lba;
        let done = Ok(IoOutput::Done);
        match operation {
            Operation::Read => {
                let data = Bytes::copy_from_slice(self.at(extent));
                (BlockIo::Read(extent), Ok(IoOutput::Data(data)))
            }
            Operation::Write { fill, cuts, durable } => {
                let data = pattern(fill, self.at(extent).len());
                self.at(extent).copy_from_slice(&data);
                (BlockIo::Write { lba, data: cut(data, &cuts), durable }, done)
            }
            Operation::Compare { differ_at } => {
                let (data, expected) = self.probe(extent, differ_at);
                (BlockIo::Compare { lba, data: cut(data, &[1000, 7]) }, expected)
            }
            Operation::CompareAndWrite { fill, differ_at } => {
                let (mut data, expected) = self.probe(extent, differ_at);
                let new = pattern(fill, data.len());
                data.extend_from_slice(&new);
                if expected.is_ok() {
                    self.at(extent).copy_from_slice(&new);
                }
                let data = cut(data, &[513, 3000]);
                (BlockIo::CompareAndWrite { lba, data, durable: fill == 0 }, expected)
            }
            Operation::WriteSame { fill, unmap } => {
                let block_size = self.geometry.block_size as usize;
                let block = fill.map(|fill| pattern(fill, block_size));
                let content = block.clone().unwrap_or_else(|| vec![0; block_size]);
                for target in self.at(extent).chunks_mut(block_size) {
                    target.copy_from_slice(&content);
                }
                let block = block.map(Bytes::from);
                (BlockIo::WriteSame { extent, block, unmap, durable: false }, done)
            }
            Operation::OrWrite { fill, durable } => {
                let data = pattern(fill, self.at(extent).len());
                self.at(extent).iter_mut().zip(&data).for_each(|(ours, theirs)| *ours |= theirs);
                (BlockIo::OrWrite { lba, data: cut(data, &[700, 1]), durable }, done)
            }
            Operation::Unmap { second } => {
                let second = second.map(|(place, length)| self.extent(place, length));
                let extents = [Some(extent), second].into_iter().flatten();
                extents.clone().for_each(|extent| self.at(extent).fill(0));
                (BlockIo::Unmap(extents.collect()), done)
            }
            Operation::Flush => (BlockIo::Flush, done),
        }
    }
}

/// The status of all blocks of an extent, asked for in as many requests as it takes.
pub(crate) fn statuses(queue: &mut Driver, extent: Extent) -> Vec<LbaStatus> {
    let (mut next, end) = (extent.lba, extent.lba + extent.blocks);
    let mut all = Vec::new();
    while next < end {
        let rest = Extent { lba: next, blocks: end - next };
        let Ok(IoOutput::Status(runs)) = queue.run(BlockIo::LbaStatus { extent: rest, runs_max: 3 }) else {
            panic!("a status is asked for")
        };
        assert!((1..=3).contains(&runs.len()));
        for run in runs {
            assert_eq!(run.extent.lba, next, "runs follow each other");
            assert!(run.extent.blocks > 0 && run.extent.blocks <= end - next);
            next += run.extent.blocks;
            all.push(run);
        }
    }
    all
}

/// Bytes that tell from each other what is written where; zeros for 0.
fn pattern(fill: u8, length: usize) -> Vec<u8> {
    (0..length).map(|n| fill.wrapping_mul((n / 97) as u8 | 1)).collect()
}

/// `data` in pieces, some of which are empty.
fn cut(data: Vec<u8>, cuts: &[u16]) -> Segments {
    let mut rest = Bytes::from(data);
    let mut segments = Segments::new();
    for &cut in cuts {
        segments.push(rest.split_to(rest.len().min(cut.into())));
    }
    segments.push(rest);
    segments
}

/// The sizes of blocks without protection information.
pub(crate) const PLAIN: &[u32] = &[512, 4096];
/// Those with it as well, which lie across chunks.
pub(crate) const ALL: &[u32] = &[512, 520, 4096, 4104];

/// Runs random lists on fresh stores of these block sizes.
pub(crate) fn run_cases(open: impl Fn(Geometry) -> Arc<dyn BlockStore>, block_sizes: &'static [u32], cases: u32) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let step = (any::<u64>(), any::<u64>(), operation());
    let steps = (0..block_sizes.len(), proptest::collection::vec(step, 1..60));
    let outcome = TestRunner::new(config).run(&steps, |(index, steps)| {
        let block_size = block_sizes[index];
        let geometry = Geometry { block_size, blocks: DISK_BYTES / u64::from(block_size) };
        let store = open(geometry);
        prop_assert_eq!(store.geometry(), geometry);
        let mut model = Model { geometry, bytes: vec![0; (geometry.blocks * u64::from(block_size)) as usize] };
        let mut queue = Driver::new(&store);
        for step in steps {
            let (io, expected) = model.apply(step.clone());
            prop_assert!(queue.run(io) == expected, "{:?}", step);
        }
        let whole = Extent { lba: 0, blocks: geometry.blocks };
        for run in statuses(&mut queue, whole) {
            let zeros = model.at(run.extent).iter().all(|byte| *byte == 0);
            prop_assert!(run.mapped || zeros, "{:?} is said to be deallocated", run.extent);
        }
        let all = BlockIo::Read(Extent { lba: 0, blocks: geometry.blocks });
        prop_assert!(queue.run(all) == Ok(IoOutput::Data(model.bytes.into())), "the whole medium");
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
