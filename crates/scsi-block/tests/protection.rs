//! Protection information over a store of a few lines: what RDPROTECT, WRPROTECT and VRPROTECT ask for, type by type.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use scsi_block::cdb::Cdb;
use scsi_block::inquiry::StandardInquiry;
use scsi_block::opcodes::{Field, Operation};
use scsi_block::parameters::Capacity16;
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
}

impl Bench {
    fn new(kind: ProtectionType) -> Self {
        let geometry = Geometry { block_size: BLOCK as u32, blocks: BLOCKS };
        let config = LogicalUnitConfig { protection: Some(kind), ..LogicalUnitConfig::new(geometry, "protected") };
        let device = Arc::new(TargetDevice::new([(LogicalUnitNumber::from(0), config)]).unwrap());
        let mut nexus = device.connect("initiator");
        nexus.begin(LogicalUnitNumber::from(0), Cdb::test_unit_ready().as_bytes());
        Self { nexus, stored: vec![0; WHOLE * BLOCKS as usize] }
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
        let outcome = match self.nexus.begin(LogicalUnitNumber::from(0), cdb.as_bytes()) {
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
                        Step::Aborted | Step::Wait => panic!("nothing resets the unit"),
                    };
                }
            }
        };
        match outcome.status {
            Status::Good => Ok(outcome.data_in),
            _ => Err(Sense::decode(&outcome.sense).unwrap()),
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
    let refused = bench.run(&with(cdb(Operation::WriteSame16, 0, 1, 0), &[(Field::Unmap, 1)]), &[0; BLOCK]);
    assert_eq!(refused.unwrap_err().field, Some(FieldPointer { in_cdb: true, byte: 1, bit: Some(3) }));
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
    for operation in [Operation::CompareAndWrite, Operation::OrWrite16, Operation::Read32] {
        let refused = bench.run(&Cdb::new(operation), &[]).unwrap_err();
        assert_eq!(refused.additional, AdditionalSense::INVALID_COMMAND_OPERATION_CODE);
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
