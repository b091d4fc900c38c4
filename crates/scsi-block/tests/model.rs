//! A reference disk of a few lines and the device over a store of a few lines: the same random commands, the same
//! answers and the same blocks.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use scsi_block::cdb::Cdb;
use scsi_block::opcodes::{Field, Operation};
use scsi_block::parameters::UnmapList;
use scsi_block::protection::{ProtectionTuple, ProtectionType};
use scsi_block::sense::{AdditionalSense, Sense, SenseKey};
use scsi_block::*;

const BLOCK: usize = 512;
const BLOCKS: u64 = 40;
/// Initiators that take turns.
const NEXUSES: usize = 3;

/// The store: obeys block I/O to the letter.
struct Store {
    bytes: Vec<u8>,
    /// Bytes of a block, which has 8 more with protection information.
    block: usize,
}

impl Store {
    fn new(protection: Option<ProtectionType>) -> Self {
        let block = BLOCK + if protection.is_some() { 8 } else { 0 };
        Self { bytes: vec![0; block * BLOCKS as usize], block }
    }

    fn range(&mut self, lba: u64, bytes: usize) -> &mut [u8] {
        let start = lba as usize * self.block;
        &mut self.bytes[start..][..bytes]
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
                let bytes = extent.blocks as usize * self.block;
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
                let size = self.block;
                let block = block.unwrap_or(vec![0; size].into());
                self.range(extent.lba, extent.blocks as usize * size)
                    .chunks_mut(size)
                    .for_each(|chunk| chunk.copy_from_slice(&block));
            }
            BlockIo::OrWrite { lba, data, .. } => {
                let data = data.concat();
                self.range(lba, data.len()).iter_mut().zip(data).for_each(|(ours, theirs)| *ours |= theirs);
            }
            BlockIo::Prefetch(_) => {}
            BlockIo::LbaStatus { extent, .. } => return Ok(IoOutput::Status(vec![LbaStatus { extent, mapped: true }])),
            BlockIo::Unmap(extents) => {
                let size = self.block;
                extents.iter().for_each(|extent| self.range(extent.lba, extent.blocks as usize * size).fill(0));
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
            Step::Aborted | Step::Answered(..) | Step::Wait => panic!("nothing resets the unit"),
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
    /// Whether tuples travel with the blocks, at a unit that keeps any.
    protects: bool,
    /// In type 2, by how much reference tags differ from addresses; without it the command is one that knows none.
    shift: Option<u32>,
}

/// A block that was written: one byte repeated, and by how much its reference tag differs from its address.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Block {
    fill: u8,
    shift: u32,
}

/// The reference: what each block is, if it was ever written; its tuple follows from that.
struct Reference {
    blocks: [Option<Block>; BLOCKS as usize],
    protection: Option<ProtectionType>,
}

impl Reference {
    fn new(protection: Option<ProtectionType>) -> Self {
        Self { blocks: [None; BLOCKS as usize], protection }
    }

    fn tuple(&self, lba: u64, block: Option<Block>) -> [u8; 8] {
        let Some(Block { fill, shift }) = block else { return [0xff; 8] };
        let reference = match self.protection {
            Some(ProtectionType::Three) => u32::MAX,
            _ => lba as u32 + shift,
        };
        ProtectionTuple::of(&[fill; BLOCK], 0, reference).encode()
    }

    /// A block as it travels.
    fn wire(&self, lba: u64, block: Option<Block>, protects: bool) -> Vec<u8> {
        let data = [block.map_or(0, |block| block.fill); BLOCK];
        if protects { [&data[..], &self.tuple(lba, block)].concat() } else { data.to_vec() }
    }

    /// All blocks as a store keeps them.
    fn stored(&self) -> Vec<u8> {
        let kept = |(lba, block): (u64, &Option<Block>)| match self.protection {
            None => self.wire(lba, *block, false),
            Some(_) => [self.wire(lba, *block, false), self.tuple(lba, *block).map(|byte| !byte).to_vec()].concat(),
        };
        (0..).zip(&self.blocks).flat_map(kept).collect()
    }

    /// In type 2 a command of 32 bytes says which reference tags it expects; the blocks must have these.
    fn check(&self, lba: u64, blocks: u8, shift: Option<u32>) -> Result<(), Sense> {
        let range = (lba..).zip(&self.blocks[lba as usize..][..blocks.into()]);
        for (lba, block) in range {
            if shift.is_some_and(|shift| block.is_some_and(|block| block.shift != shift)) {
                let code = AdditionalSense::LOGICAL_BLOCK_REFERENCE_TAG_CHECK_FAILED;
                return Err(Sense::new(SenseKey::AbortedCommand, code).with_information(lba));
            }
        }
        Ok(())
    }

    /// Where the blocks from `lba` on first differ from those of one byte, and in what. One of them was sent if `same`.
    fn compare(&self, lba: u64, blocks: u8, fill: u8, protects: bool, same: bool) -> Result<(), Sense> {
        for (index, block) in (0..).zip(&self.blocks[lba as usize..][..blocks.into()]) {
            let (at, code) = match block {
                Some(block) if block.fill == fill => continue,
                None if fill == 0 && !protects => continue,
                None if fill == 0 => (BLOCK, AdditionalSense::LOGICAL_BLOCK_GUARD_CHECK_FAILED),
                _ => (0, AdditionalSense::MISCOMPARE_DURING_VERIFY),
            };
            let before = if same { 0 } else { index * self.wire(0, None, protects).len() };
            return Err(Sense::new(SenseKey::Miscompare, code).with_information((before + at) as u64));
        }
        Ok(())
    }

    /// Whether tuples travel.
    fn protects(&self, request: Request) -> bool {
        request.protects && self.protection.is_some()
    }

    /// By how much the reference tags that the command names differ from addresses, if it names any.
    fn shift(&self, request: Request) -> Option<u32> {
        let is_long = self.protection == Some(ProtectionType::Two) && matches!(request.kind, 0..=4 | 6 | 10 | 11);
        request.shift.filter(|_| is_long)
    }

    /// Does what the request says; gives the data read, or the sense.
    fn obey(&mut self, request: Request) -> Result<Vec<u8>, Sense> {
        let Request { kind, lba, blocks, fill, other, .. } = request;
        if lba + u64::from(blocks) > BLOCKS {
            return Err(Sense::illegal(AdditionalSense::LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE));
        }
        let (protects, shift) = (self.protects(request), self.shift(request));
        if protects && self.protection == Some(ProtectionType::Two) && shift.is_none() && kind != 7 {
            return Err(Sense::illegal(AdditionalSense::INVALID_COMMAND_OPERATION_CODE));
        }
        let to_end = matches!(kind, 6 | 10) && blocks == 0;
        let count = if to_end { (BLOCKS - lba) as usize } else { blocks.into() };
        if matches!(kind, 0 | 3..=5 | 11) {
            self.check(lba, blocks, shift)?;
        }
        if matches!(kind, 3..=5) {
            self.compare(lba, blocks, fill, protects, kind == 4)?;
        }
        if kind == 0 {
            let range = (lba..).zip(&self.blocks[lba as usize..][..count]);
            return Ok(range.flat_map(|(lba, block)| self.wire(lba, *block, protects)).collect());
        }
        let range = &mut self.blocks[lba as usize..][..count];
        let new = |fill| Some(Block { fill, shift: shift.unwrap_or(0) });
        match kind {
            1 | 2 | 6 | 9 => range.fill(new(fill)),
            3 | 4 | 11 => {}
            5 => range.fill(new(other)),
            8 => range.iter_mut().for_each(|block| *block = new(block.map_or(0, |block| block.fill) | fill)),
            _ => range.fill(None),
        }
        Ok(Vec::new())
    }

    /// The same request as a CDB and its data.
    fn command(&self, request: Request) -> (Cdb, Vec<u8>) {
        let Request { kind, lba, blocks, fill, other, .. } = request;
        let (protects, shift) = (self.protects(request), self.shift(request));
        let block = |lba, fill| self.wire(lba, Some(Block { fill, shift: shift.unwrap_or(0) }), protects);
        let run = |fill| -> Vec<u8> { (lba..lba + u64::from(blocks)).flat_map(|lba| block(lba, fill)).collect() };
        let (count, short) = (u32::from(blocks), lba as u32);
        let (cdb, data) = match kind {
            0 => (Cdb::read_10(short, blocks.into()), Vec::new()),
            1 => (Cdb::write_16(lba, count), run(fill)),
            2 => (Cdb::write_and_verify_16(lba, count, true), run(fill)),
            3 => (Cdb::verify_16(lba, count, true), run(fill)),
            4 => (Cdb::verify_16(lba, count, false).try_with(Field::ByteCheck, 3).unwrap(), block(lba, fill)),
            5 => (Cdb::compare_and_write(lba, blocks), [run(fill), run(other)].concat()),
            6 => (Cdb::write_same_16(lba, count, false), block(lba, fill)),
            8 => (Cdb::or_write_16(lba, count), run(fill)),
            9 => (Cdb::write_atomic_16(lba, blocks.into()), run(fill)),
            10 => (Cdb::write_zeroes_16(lba, count, fill == 1), Vec::new()),
            11 => (Cdb::verify_16(lba, count, false), Vec::new()),
            _ => {
                let list = UnmapList([Extent { lba, blocks: blocks.into() }].into_iter().collect()).encode();
                return (Cdb::unmap(list.len() as u16), list);
            }
        };
        let cdb = cdb.try_with(Field::Protect, protects.into()).unwrap();
        (shift.map_or(cdb, |shift| with_tags(&cdb, short + shift)), data)
    }
}

/// The same command in 32 bytes, with the reference tag of its first block.
fn with_tags(cdb: &Cdb, reference: u32) -> Cdb {
    let long = Cdb::new(match cdb.operation() {
        Operation::Read10 => Operation::Read32,
        Operation::Write16 => Operation::Write32,
        Operation::WriteAndVerify16 => Operation::WriteAndVerify32,
        Operation::Verify16 => Operation::Verify32,
        Operation::WriteSame16 => Operation::WriteSame32,
        short => panic!("{short:?} has no form of 32 bytes"),
    });
    let fields = cdb.descriptor().fields.iter().map(|entry| (entry.field, cdb.get(entry.field)));
    let tags = [(Field::ExpectedReferenceTag, reference.into()), (Field::ApplicationTagMask, 0xffff)];
    fields.chain(tags).fold(long, |cdb, (field, value)| cdb.try_with(field, value).unwrap())
}

/// Nexuses of a unit, which have heard its first unit attention.
fn nexuses<const COUNT: usize>(config: LogicalUnitConfig) -> [Nexus; COUNT] {
    let device = Arc::new(TargetDevice::new([(LogicalUnitNumber::from(0), config)]).unwrap());
    std::array::from_fn(|number| {
        let mut nexus = device.connect(&*format!("initiator {number}"));
        nexus.begin(LogicalUnitNumber::from(0), Cdb::test_unit_ready().as_bytes());
        nexus
    })
}

fn nexus(config: LogicalUnitConfig) -> Nexus {
    let [nexus] = nexuses(config);
    nexus
}

fn config() -> LogicalUnitConfig {
    let geometry = Geometry { block_size: BLOCK as u32, blocks: BLOCKS };
    let limits = Limits { atomic_bytes_max: 8 << 10, ..Limits::default() };
    LogicalUnitConfig { thin: true, limits, ..LogicalUnitConfig::new(geometry, "model") }
}

fn request() -> impl Strategy<Value = Request> {
    (0u8..12, 0..BLOCKS + 2, 0u8..8, 0u8..3, 0u8..3, any::<bool>(), prop::option::weighted(0.7, 0u32..2)).prop_map(
        |(kind, lba, blocks, fill, other, protects, shift)| Request { kind, lba, blocks, fill, other, protects, shift },
    )
}

/// A unit without protection information, or with that of one of the types.
fn protection() -> impl Strategy<Value = Option<ProtectionType>> {
    (0u8..4).prop_map(ProtectionType::from_number)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn the_device_does_what_the_reference_does(
        protection in protection(),
        requests in prop::collection::vec((0..NEXUSES, request()), 1..60),
    ) {
        let mut nexuses = nexuses::<NEXUSES>(LogicalUnitConfig { protection, ..config() });
        let mut store = Store::new(protection);
        let mut reference = Reference::new(protection);
        for (nexus, request) in requests {
            let (cdb, data_out) = reference.command(request);
            let outcome = run(&mut nexuses[nexus], &mut store, &cdb, &data_out);
            match reference.obey(request) {
                Ok(data) => {
                    prop_assert_eq!(outcome.status, Status::Good, "{:?}", cdb);
                    prop_assert_eq!(&outcome.data_in[..], &data[..], "{:?}", cdb);
                }
                Err(sense) => prop_assert_eq!(Sense::decode(&outcome.sense), Ok(sense), "{:?}", cdb),
            }
        }
        prop_assert_eq!(store.bytes, reference.stored());
    }
}

#[test]
fn a_write_with_less_data_than_asked_writes_the_whole_blocks_that_came() {
    let mut nexus = nexus(config());
    let mut store = Store::new(None);
    for cdb in [Cdb::write_10(0, 3), Cdb::write_and_verify_16(0, 3, true)] {
        let outcome = run(&mut nexus, &mut store, &cdb, &[7; BLOCK + 100]);
        assert_eq!(outcome.status, Status::Good);
        assert!(store.bytes[..BLOCK].iter().all(|byte| *byte == 7));
        assert!(store.bytes[BLOCK..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn commands_that_need_all_their_data_refuse_less_before_anything_changes() {
    let mut nexus = nexus(config());
    let mut store = Store::new(None);
    for cdb in [Cdb::compare_and_write(0, 2), Cdb::write_same_16(0, 2, false), Cdb::verify_16(0, 2, true)] {
        let outcome = run(&mut nexus, &mut store, &cdb, &[0; BLOCK - 1]);
        let sense = Sense::illegal(AdditionalSense::INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT);
        assert_eq!(Sense::decode(&outcome.sense), Ok(sense), "{cdb:?}");
    }
    assert!(store.bytes.iter().all(|byte| *byte == 0));
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
