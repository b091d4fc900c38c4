//! Removal, provisioning status, set operations, thresholds, and their refusals.

use crate::*;
use bytes::Bytes;
use scsi_block::cdb::Cdb;
use scsi_block::inquiry::StandardInquiry;
use scsi_block::opcodes::{Field, Operation};
use scsi_block::parameters::LbaStatusList;
use scsi_block::sense::{AdditionalSense, Sense, SenseKey};
use scsi_block::vpd::BlockLimits;
use scsi_block::*;

#[test]
fn wrong_fields_are_pointed_at() {
    use Field as F;
    use Operation as Op;
    let mut nexus = settled(&device(config()));
    let list = F::ParameterListLength;
    let wrong = [
        (cdb(Op::OrWrite16, &[(F::Protect, 1)]), 1, 7),
        (cdb(Op::WriteAtomic16, &[(F::Protect, 1)]), 1, 7),
        (cdb(Op::WriteAtomic16, &[(F::AtomicBoundary, 1)]), 10, 7),
        (cdb(Op::WriteAtomic16, &[(F::Blocks, 17)]), 12, 7),
        (cdb(Op::GetLbaStatus16, &[(F::ReportType, 1)]), 14, 7),
        (cdb(Op::GetLbaStatus32, &[(F::ReportType, 1)]), 10, 7),
        (cdb(Op::ReadDefectData10, &[(F::DefectListFormat, 7)]), 2, 2),
        (cdb(Op::ReadDefectData12, &[(F::DefectListFormat, 7)]), 1, 2),
        (cdb(Op::PreventAllowMediumRemoval, &[(F::Prevent, 2)]), 4, 1),
        (cdb(Op::StartStopUnit, &[(F::PowerCondition, 9)]), 4, 7),
        (cdb(Op::FormatUnit, &[(F::FormatProtection, 2)]), 1, 7),
        (cdb(Op::FormatUnit, &[(F::LongList, 1)]), 1, 5),
        (cdb(Op::FormatUnit, &[(F::CompleteList, 1)]), 1, 3),
        (cdb(Op::FormatUnit, &[(F::DefectListFormat, 1)]), 1, 2),
        (cdb(Op::FormatUnit, &[(F::FastFormat, 1)]), 4, 1),
        (cdb(Op::SanitizeBlockErase, &[(F::ZoneNoReset, 1)]), 1, 6),
        (cdb(Op::SanitizeBlockErase, &[(F::Reserved, 1 << 39)]), 2, 7),
        (cdb(Op::SanitizeOverwrite, &[(F::Reserved, 1)]), 2, 7),
        (cdb(Op::SanitizeBlockErase, &[(list, 5)]), 7, 7),
        (cdb(Op::SanitizeCryptographicErase, &[(list, 5)]), 7, 7),
        (cdb(Op::SanitizeExitFailureMode, &[(list, 5)]), 7, 7),
        (cdb(Op::SanitizeOverwrite, &[(list, 4)]), 7, 7),
        (cdb(Op::SanitizeOverwrite, &[(list, 517)]), 7, 7),
    ];
    for (cdb, byte, bit) in wrong {
        let sense = sense(&mut nexus, &cdb, &[0; 600]);
        assert_eq!(
            (sense.additional, sense.field),
            (AdditionalSense::INVALID_FIELD_IN_CDB, pointer(byte, bit)),
            "{cdb:?}"
        );
    }
    for operation in [Op::PreFetch10, Op::PreFetch16, Op::OrWrite16, Op::WriteAtomic16, Op::GetLbaStatus16] {
        let beyond = cdb(operation, &[(F::LogicalBlockAddress, BLOCKS + 1)]);
        let refused = sense(&mut nexus, &beyond, &[]);
        assert_eq!(refused.additional, AdditionalSense::LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE, "{beyond:?}");
    }
}

#[test]
fn a_cdb_of_variable_length_is_read_by_its_own_rules() {
    let mut nexus = settled(&device(config()));
    let right = cdb(Operation::GetLbaStatus32, &[(Field::LogicalBlockAddress, 7), (Field::AllocationLength, 24)]);
    assert_eq!(right.as_bytes()[..10], [0x7f, 0, 0, 0, 0, 0, 0, 0x18, 0, 0x12]);
    assert_eq!((right.as_bytes()[19], right.as_bytes()[31]), (7, 24));
    assert_eq!(LbaStatusList::decode(&good(&mut nexus, &right, &[])).unwrap().0[0].extent.lba, 7);
    let mut refused = |change: fn(&mut [u8]), keep: usize| {
        let mut bytes = right.as_bytes().to_vec();
        change(&mut bytes);
        let Begin::Done(outcome) = nexus.begin(lun(), &bytes[..keep]) else { panic!() };
        let sense = Sense::decode(&outcome.sense).unwrap();
        (sense.additional, sense.field)
    };
    let in_cdb = AdditionalSense::INVALID_FIELD_IN_CDB;
    assert_eq!(refused(|bytes| bytes[9] = 0x99, 32), (in_cdb, pointer(8, 7)));
    assert_eq!(refused(|bytes| bytes[7] = 0x10, 32), (in_cdb, pointer(7, 7)));
    assert_eq!(refused(|_| {}, 16).0, AdditionalSense::INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT);
}

#[test]
fn commands_that_a_configuration_lacks_are_unknown_to_it() {
    let plain = LogicalUnitConfig::new(Geometry { block_size: 512, blocks: BLOCKS }, "plain");
    let mut nexus = settled(&device(plain));
    use Operation as Op;
    for operation in [
        Op::PreventAllowMediumRemoval,
        Op::GetLbaStatus16,
        Op::GetLbaStatus32,
        Op::WriteAtomic16,
        Op::Read32,
        Op::Verify32,
        Op::Write32,
        Op::WriteAndVerify32,
        Op::WriteSame32,
    ] {
        let refused = sense(&mut nexus, &Cdb::new(operation), &[]);
        assert_eq!(refused.additional, AdditionalSense::INVALID_COMMAND_OPERATION_CODE, "{operation:?}");
    }
    let refused = sense(&mut nexus, &cdb(Op::StartStopUnit, &[(Field::LoadEject, 1)]), &[]);
    assert_eq!(refused.field, pointer(4, 1));
}

/// SBC-4 5.36 and 5.44: 10b is of no form, and 11b of WRITE AND VERIFY of none either.
#[test]
fn one_block_is_compared_with_all_by_each_form_of_verify() {
    use Operation as Op;
    let mut nexus = settled(&device(config()));
    let fields = |check| [(Field::LogicalBlockAddress, 5), (Field::Blocks, 3), (Field::ByteCheck, check)];
    let block = Bytes::from(vec![9; 512]);
    for operation in [Op::Verify10, Op::Verify12, Op::Verify16] {
        let (outcome, seen) = run_seen(&mut nexus, &cdb(operation, &fields(3)), &block);
        assert_eq!(outcome.status, Status::Good);
        let data = Segments::from_iter([block.clone(), block.clone(), block.clone()]);
        assert_eq!(seen, [BlockIo::Compare { lba: 5, data }], "{operation:?}");
        assert_eq!(sense(&mut nexus, &cdb(operation, &fields(2)), &block).field, pointer(1, 2));
        let short = sense(&mut nexus, &cdb(operation, &fields(3)), &block[1..]);
        assert_eq!(short.additional, AdditionalSense::INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT);
    }
    for operation in [Op::WriteAndVerify10, Op::WriteAndVerify12, Op::WriteAndVerify16] {
        for check in [2, 3] {
            assert_eq!(sense(&mut nexus, &cdb(operation, &fields(check)), &block).field, pointer(1, 2));
        }
    }
}

#[test]
fn prefetch_says_whether_blocks_are_at_hand() {
    let mut nexus = settled(&device(config()));
    for operation in [Operation::PreFetch10, Operation::PreFetch16] {
        let cdb = cdb(operation, &[(Field::LogicalBlockAddress, 9)]);
        let (outcome, seen) = run_seen(&mut nexus, &cdb, &[]);
        assert_eq!(outcome.status, Status::ConditionMet);
        assert_eq!(seen, [BlockIo::Prefetch(Extent { lba: 9, blocks: BLOCKS - 9 })], "no blocks are all to the end");
        let Begin::Task(mut task) = nexus.begin(lun(), cdb.as_bytes()) else { panic!() };
        assert!(matches!(nexus.start(&mut task, Segments::new()), Step::Io(_)));
        let Step::Done(outcome) = nexus.resume(&mut task, Ok(IoOutput::Uncached)) else { panic!() };
        assert_eq!(outcome.status, Status::Good);
    }
}

#[test]
fn lba_status_is_cut_to_the_byte_and_tells_one_run_at_least() {
    let mut nexus = settled(&device(config()));
    let ask =
        |length| cdb(Operation::GetLbaStatus16, &[(Field::LogicalBlockAddress, 5), (Field::AllocationLength, length)]);
    let whole = good(&mut nexus, &ask(4096), &[]);
    assert_eq!(whole[..8], [0, 0, 0, 36, 0, 0, 0, 0]);
    assert_eq!(whole[8..24], [0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0, 0]);
    assert_eq!(whole[24..40], [0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1, 1, 0, 0, 0]);
    for length in [0, 1, 7, 8, 23, 24, 25, 39, 40] {
        assert_eq!(good(&mut nexus, &ask(length), &[]), whole[..length as usize]);
    }
    for (length, runs) in [(0, 1), (24, 1), (25, 2), (40, 2), (1 << 20, 256)] {
        let (_, seen) = run_seen(&mut nexus, &ask(length), &[]);
        let extent = Extent { lba: 5, blocks: BLOCKS - 5 };
        assert_eq!(seen, [BlockIo::LbaStatus { extent, runs_max: runs }]);
    }
    let last = cdb(Operation::GetLbaStatus16, &[(Field::LogicalBlockAddress, BLOCKS), (Field::AllocationLength, 24)]);
    let refused = sense(&mut nexus, &last, &[]);
    assert_eq!(refused.additional, AdditionalSense::LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
}

#[test]
fn there_are_no_defects() {
    let mut nexus = settled(&device(config()));
    let fields = |length| [(Field::DefectLists, 3), (Field::DefectListFormat, 5), (Field::AllocationLength, length)];
    for length in [0u64, 3, 4, 100] {
        let data = good(&mut nexus, &cdb(Operation::ReadDefectData10, &fields(length)), &[]);
        assert_eq!(data, [0, 0x1d, 0, 0][..length.min(4) as usize]);
        let data = good(&mut nexus, &cdb(Operation::ReadDefectData12, &fields(length)), &[]);
        assert_eq!(data, [0, 0x1d, 0, 0, 0, 0, 0, 0][..length.min(8) as usize]);
    }
}

#[test]
fn an_atomic_write_is_one_request_with_all_its_data_or_none() {
    let mut nexus = settled(&device(config()));
    let write = cdb(Operation::WriteAtomic16, &[(Field::LogicalBlockAddress, 3), (Field::Blocks, 16)]);
    let (outcome, seen) = run_seen(&mut nexus, &write, &[7; 8192]);
    assert_eq!(outcome.status, Status::Good);
    let data: Segments = [Bytes::from(vec![7; 8192])].into_iter().collect();
    assert_eq!(seen, [BlockIo::Write { lba: 3, data, durable: false }]);
    let (outcome, seen) = run_seen(&mut nexus, &write, &[7; 8191]);
    assert_eq!((outcome.status, seen.len()), (Status::CheckCondition, 0));
    let limits = BlockLimits::decode(&good(&mut nexus, &Cdb::inquiry_page(0xb0, 255), &[])).unwrap();
    assert_eq!(limits.atomic_transfer_max, 16);
}

#[test]
fn a_medium_goes_and_comes_and_others_are_told() {
    let device = device(config());
    let (mut one, mut two) = (settled(&device), settled(&device));
    assert!(StandardInquiry::decode(&good(&mut one, &Cdb::inquiry(96), &[])).unwrap().removable);
    let eject = cdb(Operation::StartStopUnit, &[(Field::LoadEject, 1)]);
    let load = cdb(Operation::StartStopUnit, &[(Field::LoadEject, 1), (Field::Start, 1)]);
    let prevent = |prevents| cdb(Operation::PreventAllowMediumRemoval, &[(Field::Prevent, prevents)]);

    good(&mut two, &prevent(1), &[]);
    let refused = sense(&mut one, &eject, &[]);
    assert_eq!(
        (refused.key, refused.additional),
        (SenseKey::IllegalRequest, AdditionalSense::MEDIUM_REMOVAL_PREVENTED)
    );
    good(&mut one, &prevent(0), &[]);
    assert_eq!(
        sense(&mut one, &eject, &[]).additional,
        AdditionalSense::MEDIUM_REMOVAL_PREVENTED,
        "two still prevents"
    );
    good(&mut two, &prevent(0), &[]);
    let (outcome, seen) = run_seen(&mut one, &eject, &[]);
    assert_eq!((outcome.status, seen), (Status::Good, vec![BlockIo::Flush]));
    assert!(device.logical_units().next().unwrap().ejected);

    let not_present = Sense::new(SenseKey::NotReady, AdditionalSense::MEDIUM_NOT_PRESENT);
    for cdb in [Cdb::test_unit_ready(), Cdb::read_10(0, 1), Cdb::read_capacity_16(32), Cdb::write_10(0, 1)] {
        assert_eq!(sense(&mut two, &cdb, &[]), not_present, "{cdb:?}");
    }
    assert_eq!(sense(&mut one, &Cdb::start_stop_unit(true), &[]), not_present);
    good(&mut one, &Cdb::inquiry(96), &[]);
    good(&mut one, &load, &[]);
    good(&mut one, &Cdb::test_unit_ready(), &[]);
    let told = sense(&mut two, &Cdb::test_unit_ready(), &[]);
    assert_eq!((told.key, told.additional), (SenseKey::UnitAttention, AdditionalSense::MEDIUM_MAY_HAVE_CHANGED));
    good(&mut two, &Cdb::test_unit_ready(), &[]);
}

#[test]
fn who_is_gone_or_reset_prevents_nothing() {
    let eject = cdb(Operation::StartStopUnit, &[(Field::LoadEject, 1)]);
    let endings: [fn(&mut Nexus); 4] = [
        |_| {},
        |nexus| drop(nexus.reset()),
        |nexus| drop(nexus.logical_unit_reset(lun()).unwrap()),
        |nexus| drop(nexus.target_reset()),
    ];
    for (index, end) in endings.into_iter().enumerate() {
        let device = device(config());
        let mut holder = settled(&device);
        let mut other = settled(&device);
        good(&mut holder, &cdb(Operation::PreventAllowMediumRemoval, &[(Field::Prevent, 1)]), &[]);
        end(&mut holder);
        let mut holder = Some(holder);
        if index == 0 {
            holder = None;
        }
        run(&mut other, &Cdb::test_unit_ready(), &[]);
        good(&mut other, &eject, &[]);
        drop(holder);
    }
}

#[test]
fn a_crossed_threshold_is_told_to_everybody() {
    let device = device(config());
    let mut nexuses = [settled(&device), settled(&device)];
    let mut fill = |used_bytes, is_told| {
        device.set_space(0, Space { used_bytes, available_bytes: Some(1000 - used_bytes), is_shared: false });
        for nexus in &mut nexuses {
            match is_told {
                true => {
                    let told = sense(nexus, &Cdb::test_unit_ready(), &[]);
                    assert_eq!(told.additional, AdditionalSense::THIN_PROVISIONING_SOFT_THRESHOLD_REACHED);
                }
                false => drop(good(nexus, &Cdb::test_unit_ready(), &[])),
            }
        }
    };
    for (used, is_told) in [(799, false), (800, true), (950, false), (799, false), (1000, true)] {
        fill(used, is_told);
    }
}

#[test]
fn a_threshold_is_of_thin_units_whose_space_has_a_bound() {
    let thick = device(LogicalUnitConfig { thin: false, ..config() });
    let thin = device(config());
    let full = Space { used_bytes: 1 << 40, available_bytes: Some(0), is_shared: false };
    thick.set_space(0, full);
    thin.set_space(7, full);
    thin.set_space(0, Space { available_bytes: None, ..full });
    for device in [thick, thin] {
        good(&mut settled(&device), &Cdb::test_unit_ready(), &[]);
    }
}
