//! A reference disk of a few lines and the device over a store of a few lines: the same random commands, the same
//! answers and the same blocks.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use scsi_block::cdb::Cdb;
use scsi_block::opcodes::{Field, Operation};
use scsi_block::parameters::UnmapList;
use scsi_block::sense::{AdditionalSense, Sense, SenseKey};
use scsi_block::*;

const BLOCK: usize = 512;
const BLOCKS: u64 = 40;

/// The store: obeys block I/O to the letter.
struct Store(Vec<u8>);

impl Store {
    fn range(&mut self, lba: u64, bytes: usize) -> &mut [u8] {
        &mut self.0[lba as usize * BLOCK..][..bytes]
    }

    fn compare(&mut self, lba: u64, data: &[u8]) -> IoDone {
        match self.range(lba, data.len()).iter().zip(data).position(|(ours, theirs)| ours != theirs) {
            Some(offset) => Err(IoError::Miscompare { offset: offset as u64 }),
            None => Ok(IoOutput::Done),
        }
    }

    fn submit(&mut self, request: BlockIo) -> IoDone {
        match request {
            BlockIo::Read(extent) => {
                let bytes = extent.blocks as usize * BLOCK;
                return Ok(IoOutput::Data(Bytes::copy_from_slice(self.range(extent.lba, bytes))));
            }
            BlockIo::Write { lba, data, .. } => {
                let data = data.concat();
                self.range(lba, data.len()).copy_from_slice(&data);
            }
            BlockIo::Compare { lba, data } => return self.compare(lba, &data.concat()),
            BlockIo::CompareAndWrite { lba, data, .. } => {
                let data = data.concat();
                let (compare, write) = data.split_at(data.len() / 2);
                self.compare(lba, compare)?;
                self.range(lba, write.len()).copy_from_slice(write);
            }
            BlockIo::WriteSame { extent, block, .. } | BlockIo::Wipe { extent, block } => {
                let block = block.unwrap_or(Bytes::from_static(&[0; BLOCK]));
                self.range(extent.lba, extent.blocks as usize * BLOCK)
                    .chunks_mut(BLOCK)
                    .for_each(|chunk| chunk.copy_from_slice(&block));
            }
            BlockIo::OrWrite { lba, data, .. } => {
                let data = data.concat();
                self.range(lba, data.len()).iter_mut().zip(data).for_each(|(ours, theirs)| *ours |= theirs);
            }
            BlockIo::Prefetch(_) => {}
            BlockIo::LbaStatus { extent, .. } => return Ok(IoOutput::Status(vec![LbaStatus { extent, mapped: true }])),
            BlockIo::Unmap(extents) => {
                extents.iter().for_each(|extent| self.range(extent.lba, extent.blocks as usize * BLOCK).fill(0));
            }
            BlockIo::Keep(_) => panic!("nothing is kept"),
            BlockIo::Flush => {}
        }
        Ok(IoOutput::Done)
    }
}

fn run(nexus: &mut Nexus, store: &mut Store, cdb: &Cdb, data_out: &[u8]) -> Outcome {
    let mut task = match nexus.begin(LogicalUnitNumber::from(0), cdb.as_bytes()) {
        Begin::Done(outcome) => return outcome,
        Begin::Task(task) => task,
    };
    let pieces = data_out.chunks(700).map(Bytes::copy_from_slice).collect();
    let mut step = nexus.start(&mut task, pieces);
    loop {
        step = match step {
            Step::Io(request) => nexus.resume(&mut task, store.submit(request)),
            Step::Done(outcome) => return outcome,
            Step::Aborted | Step::Wait => panic!("nothing resets the unit"),
        };
    }
}

/// What a test asks for: which command, where, how many blocks, what bytes.
#[derive(Clone, Copy, Debug)]
struct Request {
    kind: u8,
    lba: u64,
    blocks: u8,
    fill: u8,
    other: u8,
}

/// The reference: every block is one byte repeated.
struct Reference([u8; BLOCKS as usize]);

impl Reference {
    /// Does what the request says; gives the data read, or the sense.
    fn obey(&mut self, request: Request) -> Result<Vec<u8>, Sense> {
        let Request { kind, lba, blocks, fill, other } = request;
        if lba + u64::from(blocks) > BLOCKS {
            return Err(Sense::illegal(AdditionalSense::LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE));
        }
        let range = &mut self.0[lba as usize..][..blocks.into()];
        let miscompare = |at| {
            let sense = Sense::new(SenseKey::Miscompare, AdditionalSense::MISCOMPARE_DURING_VERIFY);
            sense.with_information(at * BLOCK as u64)
        };
        let difference = range.iter().position(|block| *block != fill).map(|at| at as u64);
        match kind {
            0 => return Ok(range.iter().flat_map(|block| [*block; BLOCK]).collect()),
            1 | 2 => range.fill(fill),
            3 => difference.map_or(Ok(()), |at| Err(miscompare(at)))?,
            4 => difference.map_or(Ok(()), |_| Err(miscompare(0)))?,
            5 => {
                difference.map_or(Ok(()), |at| Err(miscompare(at)))?;
                range.fill(other);
            }
            6 if blocks == 0 => self.0[lba as usize..].fill(fill),
            6 => range.fill(fill),
            8 => range.iter_mut().for_each(|block| *block |= fill),
            9 => range.fill(fill),
            10 if blocks == 0 => self.0[lba as usize..].fill(0),
            11 => {}
            _ => range.fill(0),
        }
        Ok(Vec::new())
    }

    /// The same request as a CDB and its data.
    fn command(Request { kind, lba, blocks, fill, other }: Request) -> (Cdb, Vec<u8>) {
        let all = vec![fill; usize::from(blocks) * BLOCK];
        let (count, short) = (u32::from(blocks), lba as u32);
        match kind {
            0 => (Cdb::read_10(short, blocks.into()), Vec::new()),
            1 => (Cdb::write_16(lba, count), all),
            2 => (Cdb::write_and_verify_16(lba, count, true), all),
            3 => (Cdb::verify_16(lba, count, true), all),
            4 => {
                let cdb = Cdb::verify_16(lba, count, false).try_with(Field::ByteCheck, 3).unwrap();
                (cdb, vec![fill; BLOCK])
            }
            5 => (Cdb::compare_and_write(lba, blocks), [all.clone(), vec![other; all.len()]].concat()),
            6 => (Cdb::write_same_16(lba, count, false), vec![fill; BLOCK]),
            8 => (Cdb::or_write_16(lba, count), all),
            9 => (Cdb::write_atomic_16(lba, blocks.into()), all),
            10 => (Cdb::write_zeroes_16(lba, count, fill == 1), Vec::new()),
            11 => (Cdb::verify_16(lba, count, false), Vec::new()),
            _ => {
                let list = UnmapList([Extent { lba, blocks: blocks.into() }].into_iter().collect()).encode();
                (Cdb::unmap(list.len() as u16), list)
            }
        }
    }
}

fn nexus(config: LogicalUnitConfig) -> Nexus {
    let device = Arc::new(TargetDevice::new([(LogicalUnitNumber::from(0), config)]).unwrap());
    let mut nexus = device.connect("initiator");
    nexus.begin(LogicalUnitNumber::from(0), Cdb::test_unit_ready().as_bytes());
    nexus
}

fn config() -> LogicalUnitConfig {
    let geometry = Geometry { block_size: BLOCK as u32, blocks: BLOCKS };
    let limits = Limits { atomic_bytes_max: 8 << 10, ..Limits::default() };
    LogicalUnitConfig { thin: true, limits, ..LogicalUnitConfig::new(geometry, "model") }
}

fn request() -> impl Strategy<Value = Request> {
    (0u8..12, 0..BLOCKS + 2, 0u8..8, 0u8..3, 0u8..3).prop_map(|(kind, lba, blocks, fill, other)| Request {
        kind,
        lba,
        blocks,
        fill,
        other,
    })
}

proptest! {
    #[test]
    fn the_device_does_what_the_reference_does(requests in prop::collection::vec(request(), 1..60)) {
        let mut nexus = nexus(config());
        let mut store = Store(vec![0; BLOCK * BLOCKS as usize]);
        let mut reference = Reference([0; BLOCKS as usize]);
        for request in requests {
            let (cdb, data_out) = Reference::command(request);
            let outcome = run(&mut nexus, &mut store, &cdb, &data_out);
            match reference.obey(request) {
                Ok(data) => {
                    prop_assert_eq!(outcome.status, Status::Good, "{:?}", cdb);
                    prop_assert_eq!(&outcome.data_in[..], &data[..], "{:?}", cdb);
                }
                Err(sense) => prop_assert_eq!(Sense::decode(&outcome.sense), Ok(sense), "{:?}", cdb),
            }
        }
        let blocks: Vec<u8> = reference.0.iter().flat_map(|block| [*block; BLOCK]).collect();
        prop_assert_eq!(store.0, blocks);
    }
}

#[test]
fn a_write_with_less_data_than_asked_writes_the_whole_blocks_that_came() {
    let mut nexus = nexus(config());
    let mut store = Store(vec![0; BLOCK * BLOCKS as usize]);
    for cdb in [Cdb::write_10(0, 3), Cdb::write_and_verify_16(0, 3, true)] {
        let outcome = run(&mut nexus, &mut store, &cdb, &[7; BLOCK + 100]);
        assert_eq!(outcome.status, Status::Good);
        assert!(store.0[..BLOCK].iter().all(|byte| *byte == 7));
        assert!(store.0[BLOCK..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn commands_that_need_all_their_data_refuse_less_before_anything_changes() {
    let mut nexus = nexus(config());
    let mut store = Store(vec![0; BLOCK * BLOCKS as usize]);
    for cdb in [Cdb::compare_and_write(0, 2), Cdb::write_same_16(0, 2, false), Cdb::verify_16(0, 2, true)] {
        let outcome = run(&mut nexus, &mut store, &cdb, &[0; BLOCK - 1]);
        let sense = Sense::illegal(AdditionalSense::INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT);
        assert_eq!(Sense::decode(&outcome.sense), Ok(sense), "{cdb:?}");
    }
    assert!(store.0.iter().all(|byte| *byte == 0));
}

#[test]
fn writes_are_durable_when_asked_or_without_a_write_cache() {
    for (write_cache, fua, expected) in [(true, false, false), (true, true, true), (false, false, true)] {
        let mut nexus = nexus(LogicalUnitConfig { write_cache, ..config() });
        let cdb = Cdb::write_10(0, 1).try_with(Field::ForceUnitAccess, fua.into()).unwrap();
        let Begin::Task(mut task) = nexus.begin(LogicalUnitNumber::from(0), cdb.as_bytes()) else { panic!() };
        assert_eq!(task.data_out_length(), BLOCK as u32);
        let data: Segments = [Bytes::from(vec![0; BLOCK])].into_iter().collect();
        let Step::Io(BlockIo::Write { durable, .. }) = nexus.start(&mut task, data) else { panic!() };
        assert_eq!(durable, expected);
    }
}

#[test]
fn unmapped_blocks_are_durably_zeros_without_a_write_cache() {
    let list = UnmapList([Extent { lba: 2, blocks: 3 }].into_iter().collect());
    for write_cache in [true, false] {
        let mut nexus = nexus(LogicalUnitConfig { write_cache, ..config() });
        let cdb = Cdb::unmap(list.encode().len() as u16);
        let Begin::Task(mut task) = nexus.begin(LogicalUnitNumber::from(0), cdb.as_bytes()) else { panic!() };
        let data = [Bytes::from(list.encode())].into_iter().collect();
        let Step::Io(BlockIo::Unmap(extents)) = nexus.start(&mut task, data) else { panic!() };
        assert_eq!(extents, list.0);
        let mut step = nexus.resume(&mut task, Ok(IoOutput::Done));
        if !write_cache {
            assert!(matches!(step, Step::Io(BlockIo::Flush)));
            step = nexus.resume(&mut task, Ok(IoOutput::Done));
        }
        assert!(matches!(step, Step::Done(outcome) if outcome.status == Status::Good));
    }
}

#[test]
fn the_same_command_in_each_length_asks_for_the_same() {
    let mut nexus = nexus(config());
    for operation in [Operation::Read6, Operation::Read10, Operation::Read12, Operation::Read16] {
        let cdb = Cdb::new(operation).try_with(Field::LogicalBlockAddress, 5).unwrap();
        let cdb = cdb.try_with(Field::Blocks, 2).unwrap();
        let Begin::Task(mut task) = nexus.begin(LogicalUnitNumber::from(0), cdb.as_bytes()) else { panic!() };
        let Step::Io(request) = nexus.start(&mut task, Segments::new()) else { panic!() };
        assert_eq!(request, BlockIo::Read(Extent { lba: 5, blocks: 2 }));
    }
}

#[test]
fn a_verified_write_is_durable_and_then_checked_as_asked() {
    let mut nexus = nexus(config());
    let data = Bytes::from(vec![7; BLOCK]);
    let pieces: Segments = [data].into_iter().collect();
    for compare in [false, true] {
        let cdb = Cdb::write_and_verify_16(3, 1, compare);
        let Begin::Task(mut task) = nexus.begin(LogicalUnitNumber::from(0), cdb.as_bytes()) else { panic!() };
        let Step::Io(write) = nexus.start(&mut task, pieces.clone()) else { panic!() };
        assert_eq!(write, BlockIo::Write { lba: 3, data: pieces.clone(), durable: true });
        let Step::Io(check) = nexus.resume(&mut task, Ok(IoOutput::Done)) else { panic!() };
        let expected = match compare {
            true => BlockIo::Compare { lba: 3, data: pieces.clone() },
            false => BlockIo::Read(Extent { lba: 3, blocks: 1 }),
        };
        assert_eq!(check, expected);
        assert!(
            matches!(nexus.resume(&mut task, Ok(IoOutput::Done)), Step::Done(outcome) if outcome.status == Status::Good)
        );
    }
}
