//! Protection information over a store of a few lines: what RDPROTECT, WRPROTECT and VRPROTECT ask for, type by type.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use scsi_block::cdb::Cdb;
use scsi_block::inquiry::StandardInquiry;
use scsi_block::opcodes::{Field, Operation};
use scsi_block::parameters::{Capacity16, UnmapList};
use scsi_block::protection::{ProtectionTuple, ProtectionType};
use scsi_block::sense::{AdditionalSense, FieldPointer, Sense, SenseKey};
use scsi_block::*;

const BLOCK: usize = 512;
const WHOLE: usize = BLOCK + 8;
const BLOCKS: u64 = 64;

const GUARD: AdditionalSense = AdditionalSense::LOGICAL_BLOCK_GUARD_CHECK_FAILED;
const APPLICATION: AdditionalSense = AdditionalSense::LOGICAL_BLOCK_APPLICATION_TAG_CHECK_FAILED;
const REFERENCE: AdditionalSense = AdditionalSense::LOGICAL_BLOCK_REFERENCE_TAG_CHECK_FAILED;

/// A disk, and the nexus to it.
struct Bench {
    nexus: Nexus,
    stored: Vec<u8>,
    /// How often somebody else changes block 0 before it is exchanged.
    disturbed: usize,
}

impl Bench {
    fn new(kind: ProtectionType) -> Self {
        let geometry = Geometry { block_size: BLOCK as u32, blocks: BLOCKS };
        let config = LogicalUnitConfig {
            protection: Some(kind),
            thin: true,
            limits: Limits { atomic_bytes_max: 4096, ..Limits::default() },
            ..LogicalUnitConfig::new(geometry, "protected")
        };
        let device = Arc::new(TargetDevice::new([(LogicalUnitNumber::from(0), config)]).unwrap());
        let mut nexus = device.connect("initiator");
        nexus.begin(LogicalUnitNumber::from(0), Cdb::test_unit_ready().as_bytes());
        Self { nexus, stored: vec![0; WHOLE * BLOCKS as usize], disturbed: 0 }
    }

    fn range(&mut self, lba: u64, bytes: usize) -> &mut [u8] {
        &mut self.stored[lba as usize * WHOLE..][..bytes]
    }

    fn submit(&mut self, request: BlockIo) -> IoDone {
        match request {
            BlockIo::Read(extent) => {
                let bytes = extent.blocks as usize * WHOLE;
                return Ok(IoOutput::Data(Bytes::copy_from_slice(self.range(extent.lba, bytes))));
            }
            BlockIo::Write { lba, data, .. } => {
                let data = data.concat();
                self.range(lba, data.len()).copy_from_slice(&data);
            }
            BlockIo::Compare { lba, data } => {
                let data = data.concat();
                if *self.range(lba, data.len()) != data {
                    return Err(IoError::Miscompare { offset: 0 });
                }
            }
            BlockIo::CompareAndWrite { lba, data, .. } => {
                if self.disturbed > 0 {
                    self.disturbed -= 1;
                    self.stored[0] ^= 1;
                }
                let data = data.concat();
                let (expected, new) = data.split_at(data.len() / 2);
                if *self.range(lba, new.len()) != *expected {
                    return Err(IoError::Miscompare { offset: 0 });
                }
                self.range(lba, new.len()).copy_from_slice(new);
            }
            BlockIo::Unmap(extents) => {
                extents.iter().for_each(|extent| self.range(extent.lba, extent.blocks as usize * WHOLE).fill(0));
            }
            BlockIo::WriteSame { extent, block: None, unmap: true, .. } => {
                self.range(extent.lba, extent.blocks as usize * WHOLE).fill(0);
            }
            BlockIo::Wipe { extent, block } => {
                let block = block.unwrap_or(Bytes::from_static(&[0; WHOLE]));
                let blocks = extent.blocks as usize * WHOLE;
                self.range(extent.lba, blocks).chunks_mut(WHOLE).for_each(|chunk| chunk.copy_from_slice(&block));
            }
            BlockIo::Keep(_) => panic!("nothing is kept"),
            BlockIo::Flush => {}
            other => panic!("{other:?}"),
        }
        Ok(IoOutput::Done)
    }

    fn run(&mut self, cdb: &Cdb, data_out: &[u8]) -> Result<Bytes, Sense> {
        let outcome = self.outcome(cdb, data_out);
        match outcome.status {
            Status::Good => Ok(outcome.data_in),
            _ => Err(Sense::decode(&outcome.sense).unwrap()),
        }
    }

    fn outcome(&mut self, cdb: &Cdb, data_out: &[u8]) -> Outcome {
        match self.nexus.begin(LogicalUnitNumber::from(0), cdb.as_bytes()) {
            Begin::Done(outcome) => outcome,
            Begin::Task(mut task) => {
                let pieces = data_out.chunks(300).map(Bytes::copy_from_slice).collect();
                let mut step = self.nexus.start(&mut task, pieces);
                loop {
                    step = match step {
                        Step::Io(request) => {
                            let done = self.submit(request);
                            self.nexus.resume(&mut task, done)
                        }
                        Step::Done(outcome) => break outcome,
                        Step::Aborted | Step::Answered(..) | Step::Wait => panic!("nothing resets the unit"),
                    };
                }
            }
        }
    }

    fn code(&mut self, cdb: &Cdb, data_out: &[u8]) -> Option<AdditionalSense> {
        self.run(cdb, data_out).err().map(|sense| sense.additional)
    }
}

fn cdb(operation: Operation, lba: u64, blocks: u64, protect: u64) -> Cdb {
    let fields = [(Field::LogicalBlockAddress, lba), (Field::Blocks, blocks), (Field::Protect, protect)];
    with(Cdb::new(operation), &fields)
}

fn with(cdb: Cdb, fields: &[(Field, u64)]) -> Cdb {
    fields.iter().fold(cdb, |cdb, (field, value)| cdb.try_with(*field, *value).unwrap())
}

fn tuple(fill: u8, application_tag: u16, reference_tag: u32) -> ProtectionTuple {
    ProtectionTuple::of(&[fill; BLOCK], application_tag, reference_tag)
}

/// A block with its tuple, as it travels.
fn whole(fill: u8, tuple: ProtectionTuple) -> Vec<u8> {
    [&[fill; BLOCK][..], &tuple.encode()].concat()
}

#[test]
fn a_unit_says_what_it_keeps() {
    for (kind, number) in [(ProtectionType::One, 1), (ProtectionType::Two, 2), (ProtectionType::Three, 3)] {
        let mut bench = Bench::new(kind);
        let capacity = Capacity16::decode(&bench.run(&Cdb::read_capacity_16(32), &[]).unwrap()).unwrap();
        assert_eq!((capacity.protection_type, capacity.block_size), (Some(number), 512));
        assert!(StandardInquiry::decode(&bench.run(&Cdb::inquiry(96), &[]).unwrap()).unwrap().protection);
    }
}

#[test]
fn what_was_never_written_reads_as_zeros_whose_tuples_turn_checks_off() {
    for kind in [ProtectionType::One, ProtectionType::Three] {
        let mut bench = Bench::new(kind);
        let read = bench.run(&cdb(Operation::Read10, 3, 1, 1), &[]).unwrap();
        assert_eq!(read, [&[0; BLOCK][..], &[0xff; 8]].concat());
    }
}

/// For each value of the field: whether tuples travel, and which faults are found in what travels or is stored.
const MATRIX: [(u64, bool, [bool; 2]); 6] = [
    (0, false, [true, true]),
    (1, true, [true, true]),
    (2, true, [false, true]),
    (3, true, [false, false]),
    (4, true, [true, false]),
    (5, true, [true, true]),
];

#[test]
fn reads_and_verifies_check_what_the_field_says() {
    for (protect, travels, [guard, reference]) in MATRIX {
        let faults = [
            (tuple(7, 0x1234, 9), None),
            (ProtectionTuple { guard: 1, ..tuple(7, 0, 9) }, guard.then_some(GUARD)),
            (tuple(7, 0, 10), reference.then_some(REFERENCE)),
            (ProtectionTuple { guard: 1, ..tuple(7, 0xffff, 0) }, None),
        ];
        for (stored, expected) in faults {
            let mut bench = Bench::new(ProtectionType::One);
            assert_eq!(bench.code(&cdb(Operation::Write16, 9, 1, 3), &whole(7, stored)), None);
            let read = bench.run(&cdb(Operation::Read16, 9, 1, protect), &[]);
            match (&read, expected) {
                (Ok(data), None) if travels => assert_eq!(data, &whole(7, stored)),
                (Ok(data), None) => assert_eq!(data[..], [7; BLOCK]),
                (Err(sense), Some(code)) => {
                    assert_eq!((sense.key, sense.additional), (SenseKey::AbortedCommand, code));
                    assert_eq!(sense.information, Some(9));
                }
                other => panic!("RDPROTECT {protect}, {stored:?}: {other:?}"),
            }
            assert_eq!(bench.code(&cdb(Operation::Verify16, 9, 1, protect), &[]), expected, "VRPROTECT {protect}");
        }
    }
}

#[test]
fn writes_check_what_the_field_says_and_store_nothing_that_fails() {
    for (protect, _, [guard, reference]) in MATRIX.into_iter().skip(1) {
        let faults = [
            (tuple(7, 0x1234, 9), None),
            (ProtectionTuple { guard: 1, ..tuple(7, 0, 9) }, guard.then_some(GUARD)),
            (tuple(7, 0, 10), reference.then_some(REFERENCE)),
        ];
        for (sent, expected) in faults {
            let mut bench = Bench::new(ProtectionType::One);
            let data = [whole(6, tuple(6, 0, 8)), whole(7, sent)].concat();
            assert_eq!(bench.code(&cdb(Operation::Write10, 8, 2, protect), &data), expected, "WRPROTECT {protect}");
            let untouched = bench.stored.iter().all(|byte| *byte == 0);
            assert_eq!(untouched, expected.is_some());
        }
    }
}

#[test]
fn tuples_are_made_for_blocks_that_come_without() {
    let expected = [(ProtectionType::One, 5), (ProtectionType::Two, 5), (ProtectionType::Three, u32::MAX)];
    for (kind, reference) in expected {
        let mut bench = Bench::new(kind);
        bench.run(&cdb(Operation::Write16, 5, 2, 0), &[3; 2 * BLOCK]).unwrap();
        let stored: Vec<u8> = bench.range(5, WHOLE)[BLOCK..].iter().map(|byte| !byte).collect();
        assert_eq!(stored, tuple(3, 0, reference).encode());
        assert_eq!(bench.run(&cdb(Operation::Read16, 5, 2, 0), &[]).unwrap()[..], [3; 2 * BLOCK]);
    }
}

#[test]
fn type_2_knows_tags_from_the_commands_of_32_bytes_alone() {
    let mut bench = Bench::new(ProtectionType::Two);
    let refused = bench.code(&cdb(Operation::Read16, 0, 1, 1), &[]);
    assert_eq!(refused, Some(AdditionalSense::INVALID_COMMAND_OPERATION_CODE));
    let tags = |reference, application, mask| {
        [
            (Field::ExpectedReferenceTag, reference),
            (Field::ExpectedApplicationTag, application),
            (Field::ApplicationTagMask, mask),
        ]
    };
    let data = [whole(1, tuple(1, 0xabcd, 100)), whole(2, tuple(2, 0xabff, 101))].concat();
    let write = with(cdb(Operation::Write32, 9, 2, 1), &tags(100, 0xab00, 0xff00));
    assert_eq!(bench.code(&write, &data), None);
    let read =
        |reference, application, mask| with(cdb(Operation::Read32, 9, 2, 1), &tags(reference, application, mask));
    assert_eq!(bench.run(&read(100, 0xab00, 0xff00), &[]).unwrap(), data);
    assert_eq!(bench.code(&read(99, 0xab00, 0xff00), &[]), Some(REFERENCE));
    assert_eq!(bench.code(&read(100, 0xac00, 0xff00), &[]), Some(APPLICATION));
    assert_eq!(bench.code(&read(100, 0xac00, 0), &[]), None);
    let verify = with(cdb(Operation::Verify32, 9, 2, 1), &tags(100, 0, 0));
    assert_eq!(bench.code(&verify, &[]), None);
    assert_eq!(bench.code(&with(verify, &[(Field::ByteCheck, 1)]), &data), None);
    let same = with(cdb(Operation::WriteSame32, 20, 3, 0), &tags(500, 0x77, 0xffff));
    assert_eq!(bench.code(&same, &[9; BLOCK]), None);
    let read = with(cdb(Operation::Read32, 20, 3, 1), &tags(500, 0x77, 0xffff));
    let expected: Vec<u8> = (500..503).flat_map(|reference| whole(9, tuple(9, 0x77, reference))).collect();
    assert_eq!(bench.run(&read, &[]).unwrap(), expected);
}

#[test]
fn verify_compares_data_and_what_is_checked_of_the_tuple() {
    let mut bench = Bench::new(ProtectionType::One);
    bench.run(&cdb(Operation::Write16, 4, 3, 0), &[5; 3 * BLOCK]).unwrap();
    let verify = |check, protect| with(cdb(Operation::Verify16, 4, 3, protect), &[(Field::ByteCheck, check)]);
    assert_eq!(bench.code(&verify(1, 0), &[5; 3 * BLOCK]), None);
    let mut wrong = vec![5; 3 * BLOCK];
    wrong[2 * BLOCK + 10] = 6;
    let sense = bench.run(&verify(1, 0), &wrong).unwrap_err();
    assert_eq!((sense.key, sense.information), (SenseKey::Miscompare, Some(2 * BLOCK as u64 + 10)));
    assert_eq!(bench.code(&verify(3, 0), &[5; BLOCK]), None);
    wrong.truncate(BLOCK);
    wrong[7] = 1;
    assert_eq!(bench.run(&verify(3, 0), &wrong).unwrap_err().information, Some(7));
    let all: Vec<u8> = (4..7).flat_map(|reference| whole(5, tuple(5, 0, reference))).collect();
    assert_eq!(bench.code(&verify(1, 1), &all), None);
    let other: Vec<u8> = (4..7).flat_map(|reference| whole(5, tuple(5, 1, reference))).collect();
    let sense = bench.run(&verify(1, 1), &other).unwrap_err();
    assert_eq!((sense.key, sense.information), (SenseKey::Miscompare, Some(BLOCK as u64 + 2)));
    assert_eq!(sense.additional, APPLICATION);
    assert_eq!(bench.code(&verify(3, 1), &all[..WHOLE]), None, "the reference tag of the one block counts up");
    assert_eq!(bench.code(&verify(1, 4), &other), None, "only the guard is compared");
}

#[test]
fn write_same_counts_reference_tags_over_every_step() {
    let mut bench = Bench::new(ProtectionType::One);
    bench.run(&cdb(Operation::WriteSame16, 0, 0, 0), &[4; BLOCK]).unwrap();
    for lba in [0, 1, BLOCKS - 1] {
        let read = bench.run(&cdb(Operation::Read16, lba, 1, 1), &[]).unwrap();
        assert_eq!(read, whole(4, tuple(4, 0, lba as u32)));
    }
}

#[test]
fn unmapped_blocks_are_zeros_with_tuples_of_ones() {
    const UNMAPPED: [&[u8]; 2] = [&[0; BLOCK], &[0xff; 8]];
    for kind in [ProtectionType::One, ProtectionType::Three] {
        let mut bench = Bench::new(kind);
        let unmap = |bench: &mut Bench| {
            let list = UnmapList([Extent { lba: 3, blocks: 1 }].into_iter().collect()).encode();
            bench.run(&Cdb::unmap(list.len() as u16), &list)
        };
        let same = |protect, zeros: u64| {
            let fields = [(Field::Unmap, 1), (Field::NoDataOutBuffer, zeros)];
            with(cdb(Operation::WriteSame16, 3, 1, protect), &fields)
        };
        type Way<'a> = &'a dyn Fn(&mut Bench) -> Result<Bytes, Sense>;
        let ways: [Way<'_>; 4] = [
            &unmap,
            &|bench| bench.run(&same(0, 0), &[0; BLOCK]),
            &|bench| bench.run(&same(1, 0), &UNMAPPED.concat()),
            &|bench| bench.run(&same(0, 1), &[]),
        ];
        for way in ways {
            bench.run(&cdb(Operation::Write16, 2, 3, 0), &[9; 3 * BLOCK]).unwrap();
            way(&mut bench).unwrap();
            assert_eq!(bench.run(&cdb(Operation::Read16, 3, 1, 1), &[]).unwrap(), UNMAPPED.concat());
            assert_eq!(bench.run(&cdb(Operation::Read16, 2, 1, 0), &[]).unwrap()[..], [9; BLOCK]);
            assert_eq!(bench.run(&cdb(Operation::Read16, 4, 1, 0), &[]).unwrap()[..], [9; BLOCK]);
        }
        let tuple = tuple(0, 0, if kind == ProtectionType::One { 3 } else { u32::MAX });
        bench.run(&same(1, 0), &whole(0, tuple)).unwrap();
        let read = bench.run(&cdb(Operation::Read16, 3, 1, 1), &[]).unwrap();
        assert_eq!(read, whole(0, tuple), "zeros with a tuple of their own are written");
    }
}

#[test]
fn compare_and_write_compares_as_verify_and_writes_as_write() {
    let exchange = |protect| cdb(Operation::CompareAndWrite, 4, 2, protect);
    let blocks = |fill, guard: u16| -> Vec<u8> {
        let make =
            |lba| whole(fill, ProtectionTuple { guard: tuple(fill, 0, lba).guard ^ guard, ..tuple(fill, 0, lba) });
        (4..6).flat_map(make).collect()
    };
    for kind in [ProtectionType::One, ProtectionType::Two, ProtectionType::Three] {
        let mut bench = Bench::new(kind);
        let both = |first: u8, second: u8| [[first; 2 * BLOCK], [second; 2 * BLOCK]].concat();
        assert_eq!(bench.run(&exchange(0), &both(1, 2)).unwrap_err().key, SenseKey::Miscompare);
        assert_eq!(bench.code(&exchange(0), &both(0, 2)), None);
        let mut wrong = both(2, 3);
        wrong[BLOCK + 7] = 0;
        assert_eq!(bench.run(&exchange(0), &wrong).unwrap_err().information, Some(BLOCK as u64 + 7));
        assert_eq!(bench.code(&exchange(0), &both(2, 3)), None);
        assert_eq!(bench.run(&cdb(Operation::Read16, 4, 2, 0), &[]).unwrap()[..], [3; 2 * BLOCK]);
    }
    let mut bench = Bench::new(ProtectionType::One);
    bench.run(&cdb(Operation::Write16, 4, 2, 1), &blocks(1, 0)).unwrap();
    let code = bench.code(&exchange(1), &[blocks(1, 0), blocks(2, 9)].concat());
    assert_eq!(code, Some(GUARD), "what is to be written is checked");
    let code = bench.code(&exchange(1), &[blocks(1, 9), blocks(2, 0)].concat());
    assert_eq!(code, Some(GUARD), "and what is compared");
    let sense = bench.run(&exchange(3), &[blocks(1, 9), blocks(2, 0)].concat()).unwrap_err();
    assert_eq!((sense.key, sense.information), (SenseKey::Miscompare, Some(BLOCK as u64)));
    assert_eq!(bench.run(&cdb(Operation::Read16, 4, 2, 1), &[]).unwrap(), blocks(1, 0));
    assert_eq!(bench.code(&exchange(1), &[blocks(1, 0), blocks(2, 0)].concat()), None);
    assert_eq!(bench.run(&cdb(Operation::Read16, 4, 2, 1), &[]).unwrap(), blocks(2, 0));
    let short = bench.run(&exchange(1), &blocks(2, 0)).unwrap_err();
    assert_eq!(short.additional, AdditionalSense::INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT);
    bench.range(4, WHOLE)[0] = 7;
    assert_eq!(bench.code(&exchange(0), &[[2; 2 * BLOCK], [3; 2 * BLOCK]].concat()), Some(GUARD), "a spoilt block");
}

#[test]
fn ones_are_added_under_a_new_guard() {
    for kind in [ProtectionType::One, ProtectionType::Two, ProtectionType::Three] {
        let mut bench = Bench::new(kind);
        bench.run(&cdb(Operation::Write16, 4, 2, 0), &[0x11; 2 * BLOCK]).unwrap();
        bench.run(&cdb(Operation::OrWrite16, 4, 3, 0), &[0x42; 3 * BLOCK]).unwrap();
        let read = bench.run(&cdb(Operation::Read16, 4, 3, 0), &[]).unwrap();
        assert_eq!(read, [&[0x53; 2 * BLOCK][..], &[0x42; BLOCK]].concat());
        bench.run(&cdb(Operation::OrWrite16, 4, 3, 0), &[0x80; BLOCK + 9]).unwrap();
        assert_eq!(bench.run(&cdb(Operation::Read16, 4, 2, 0), &[]).unwrap()[BLOCK - 1..=BLOCK], [0xd3, 0x53]);
    }
    let mut bench = Bench::new(ProtectionType::One);
    bench.run(&cdb(Operation::Write16, 4, 1, 0), &[0x11; BLOCK]).unwrap();
    let or = cdb(Operation::OrWrite16, 4, 1, 1);
    assert_eq!(bench.code(&or, &whole(0x42, ProtectionTuple { guard: 0, ..tuple(0x42, 0, 4) })), Some(GUARD));
    assert_eq!(bench.code(&or, &whole(0x42, tuple(0x42, 0, 5))), Some(REFERENCE));
    assert_eq!(bench.code(&or, &whole(0x42, tuple(0x42, 0x77, 4))), None);
    assert_eq!(bench.run(&cdb(Operation::Read16, 4, 1, 1), &[]).unwrap(), whole(0x53, tuple(0x53, 0x77, 4)));
}

#[test]
fn an_exchange_begins_again_when_others_come_between_and_gives_way_in_the_end() {
    let mut bench = Bench::new(ProtectionType::Three);
    let or = cdb(Operation::OrWrite16, 0, 1, 3);
    let ones = whole(2, tuple(2, 0, 0));
    bench.disturbed = 5;
    assert_eq!(bench.outcome(&or, &ones).status, Status::Good);
    assert_eq!((bench.disturbed, bench.stored[0]), (0, 3), "what others have changed meanwhile is there");
    let before = bench.stored.clone();
    bench.disturbed = 1000;
    assert_eq!(bench.outcome(&or, &whole(4, tuple(4, 0, 0))).status, Status::Busy);
    assert_eq!(bench.stored[1..], before[1..]);
}

#[test]
fn an_atomic_write_is_checked_and_needs_all_its_data() {
    let mut bench = Bench::new(ProtectionType::One);
    let write = |protect| cdb(Operation::WriteAtomic16, 4, 2, protect);
    let blocks: Vec<u8> = (4..6).flat_map(|lba| whole(1, tuple(1, 0, lba))).collect();
    assert!(bench.code(&write(1), &blocks[1..]).is_some());
    assert_eq!(bench.code(&write(1), &[&blocks[..WHOLE], &blocks[..WHOLE]].concat()), Some(REFERENCE));
    assert!(bench.stored.iter().all(|byte| *byte == 0));
    assert_eq!(bench.code(&write(1), &blocks), None);
    assert_eq!(bench.run(&cdb(Operation::Read16, 4, 2, 1), &[]).unwrap(), blocks);
    assert_eq!(bench.code(&write(0), &[5; 2 * BLOCK]), None);
    assert_eq!(bench.run(&cdb(Operation::Read16, 4, 2, 0), &[]).unwrap()[..], [5; 2 * BLOCK]);
}

#[test]
fn reserved_values_and_commands_without_tuples_are_refused() {
    let mut bench = Bench::new(ProtectionType::One);
    let at = |byte, bit| Some(FieldPointer { in_cdb: true, byte, bit: Some(bit) });
    for operation in [Operation::Read10, Operation::Write16, Operation::Verify12, Operation::WriteSame10] {
        for protect in [6, 7] {
            let refused = bench.run(&cdb(operation, 0, 1, protect), &[]).unwrap_err();
            assert_eq!((refused.additional, refused.field), (AdditionalSense::INVALID_FIELD_IN_CDB, at(1, 7)));
        }
    }
    let refused = bench.run(&Cdb::new(Operation::Read32), &[]).unwrap_err();
    assert_eq!(refused.additional, AdditionalSense::INVALID_COMMAND_OPERATION_CODE);
    for operation in [Operation::CompareAndWrite, Operation::OrWrite16, Operation::WriteAtomic16] {
        assert_eq!(bench.run(&cdb(operation, 0, 1, 6), &[]).unwrap_err().field, at(1, 7));
        let code = Bench::new(ProtectionType::Two).code(&cdb(operation, 0, 1, 1), &[]);
        assert_eq!(code, Some(AdditionalSense::INVALID_COMMAND_OPERATION_CODE));
    }
    assert_eq!(bench.run(&Cdb::new(Operation::FormatUnit), &[]).unwrap_err().field, at(1, 7));
}

#[test]
fn format_makes_every_block_a_new_one() {
    for (kind, information, usage) in
        [(ProtectionType::One, 2, 0), (ProtectionType::Two, 3, 0), (ProtectionType::Three, 3, 1)]
    {
        let mut bench = Bench::new(kind);
        bench.run(&cdb(Operation::Write16, 0, 1, 0), &[1; BLOCK]).unwrap();
        let format =
            with(Cdb::new(Operation::FormatUnit), &[(Field::FormatProtection, information), (Field::FormatData, 1)]);
        assert_eq!(bench.run(&format, &[usage ^ 1, 0, 0, 0]).unwrap_err().field.unwrap().byte, 0);
        bench.run(&format, &[usage, 0, 0, 0]).unwrap();
        assert!(bench.stored.iter().all(|byte| *byte == 0));
    }
}

proptest! {
    /// Whatever is written with or without tuples is read back the same with or without them.
    #[test]
    fn blocks_come_back(writes in prop::collection::vec((0..BLOCKS - 4, 1u64..4, any::<u8>(), any::<bool>()), 1..20)) {
        let mut bench = Bench::new(ProtectionType::One);
        let mut model = vec![0u8; BLOCKS as usize];
        for (lba, blocks, fill, protects) in writes {
            let data: Vec<u8> = match protects {
                true => (lba..lba + blocks).flat_map(|lba| whole(fill, tuple(fill, 0, lba as u32))).collect(),
                false => vec![fill; blocks as usize * BLOCK],
            };
            prop_assert_eq!(bench.code(&cdb(Operation::Write16, lba, blocks, protects.into()), &data), None);
            model[lba as usize..][..blocks as usize].fill(fill);
        }
        let plain = bench.run(&cdb(Operation::Read16, 0, BLOCKS, 0), &[]).unwrap();
        let expected: Vec<u8> = model.iter().flat_map(|fill| [*fill; BLOCK]).collect();
        prop_assert_eq!(&plain[..], &expected[..]);
        let with_tuples = bench.run(&cdb(Operation::Read16, 0, BLOCKS, 1), &[]).unwrap();
        prop_assert_eq!(with_tuples.len(), BLOCKS as usize * WHOLE);
    }
}
