//! Commands about the medium as initiators see them: removal, wiping, provisioning status, set operations, and their refusals.

use std::sync::Arc;

use bytes::Bytes;
use scsi_block::cdb::Cdb;
use scsi_block::inquiry::StandardInquiry;
use scsi_block::opcodes::{Field, Operation};
use scsi_block::parameters::LbaStatusList;
use scsi_block::sense::{AdditionalSense, FieldPointer, Sense, SenseKey};
use scsi_block::vpd::BlockLimits;
use scsi_block::*;

const BLOCKS: u64 = 100;

fn lun() -> LogicalUnitNumber {
    LogicalUnitNumber::from(0)
}

fn config() -> LogicalUnitConfig {
    let geometry = Geometry { block_size: 512, blocks: BLOCKS };
    let limits = Limits { atomic_bytes_max: 8192, ..Limits::default() };
    LogicalUnitConfig { thin: true, removable: true, limits, ..LogicalUnitConfig::new(geometry, "medium") }
}

fn device(config: LogicalUnitConfig) -> Arc<TargetDevice> {
    Arc::new(TargetDevice::new([(lun(), config)]).unwrap())
}

/// A nexus that has taken its first unit attention.
fn settled(device: &Arc<TargetDevice>) -> Nexus {
    let mut nexus = device.connect("initiator");
    nexus.begin(lun(), Cdb::test_unit_ready().as_bytes());
    nexus
}

/// Runs a command; the store's requests are kept, and all go well.
fn run_seen(nexus: &mut Nexus, cdb: &Cdb, data_out: &[u8]) -> (Outcome, Vec<BlockIo>) {
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

fn run(nexus: &mut Nexus, cdb: &Cdb, data_out: &[u8]) -> Outcome {
    run_seen(nexus, cdb, data_out).0
}

fn good(nexus: &mut Nexus, cdb: &Cdb, data_out: &[u8]) -> Bytes {
    let outcome = run(nexus, cdb, data_out);
    assert_eq!(outcome.status, Status::Good, "{cdb:?}: {:?}", Sense::decode(&outcome.sense));
    outcome.data_in
}

fn sense(nexus: &mut Nexus, cdb: &Cdb, data_out: &[u8]) -> Sense {
    let outcome = run(nexus, cdb, data_out);
    assert_eq!(outcome.status, Status::CheckCondition, "{cdb:?}");
    Sense::decode(&outcome.sense).unwrap()
}

fn cdb(operation: Operation, fields: &[(Field, u64)]) -> Cdb {
    fields.iter().fold(Cdb::new(operation), |cdb, (field, value)| cdb.try_with(*field, *value).unwrap())
}

fn pointer(byte: u16, bit: u8) -> Option<FieldPointer> {
    Some(FieldPointer { in_cdb: true, byte, bit: Some(bit) })
}

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

/// Lets the owner of the device do what goes on without a task; how many requests there were.
fn upkeep(device: &TargetDevice, failing: bool) -> usize {
    let mut steps = 0;
    while device.poll_upkeep().is_some() {
        assert_eq!(device.poll_upkeep(), None, "one at a time");
        device.handle_upkeep_done(0, if failing { Err(IoError::Write) } else { Ok(IoOutput::Done) });
        steps += 1;
    }
    steps
}

const OVERWRITE: [u8; 8] = [0x02, 0, 0, 4, 0xde, 0xad, 0xbe, 0xef];

fn overwrite(immediate: u64) -> Cdb {
    cdb(Operation::SanitizeOverwrite, &[(Field::Immediate, immediate), (Field::ParameterListLength, 8)])
}

#[test]
fn a_sanitize_that_is_waited_for_writes_every_pass_and_then_ends() {
    let mut nexus = settled(&device(config()));
    let (outcome, seen) = run_seen(&mut nexus, &overwrite(0), &OVERWRITE);
    assert_eq!(outcome.status, Status::Good);
    let block = Some(Bytes::from(OVERWRITE[4..].repeat(128)));
    let pass = BlockIo::Wipe { extent: Extent { lba: 0, blocks: BLOCKS }, block };
    assert_eq!(seen, [pass.clone(), pass, BlockIo::Flush]);
    for operation in [Operation::SanitizeBlockErase, Operation::SanitizeCryptographicErase, Operation::FormatUnit] {
        let (outcome, seen) = run_seen(&mut nexus, &Cdb::new(operation), &[]);
        assert_eq!(outcome.status, Status::Good);
        let extent = Extent { lba: 0, blocks: BLOCKS };
        assert_eq!(seen, [BlockIo::Wipe { extent, block: None }, BlockIo::Flush], "{operation:?}");
    }
}

#[test]
fn a_sanitize_that_is_not_waited_for_goes_on_and_is_told() {
    let big = LogicalUnitConfig { geometry: Geometry { block_size: 512, blocks: 1 << 9 }, ..config() };
    let device = device(big);
    let (mut one, mut two) = (settled(&device), settled(&device));
    good(&mut one, &overwrite(1), &OVERWRITE);
    let refused = sense(&mut two, &Cdb::read_10(0, 1), &[]);
    assert_eq!((refused.key, refused.additional), (SenseKey::NotReady, AdditionalSense::SANITIZE_IN_PROGRESS));
    assert_eq!(refused.progress, Some(0));
    for cdb in [
        overwrite(1),
        Cdb::start_stop_unit(false),
        Cdb::new(Operation::FormatUnit),
        Cdb::new(Operation::SanitizeExitFailureMode),
    ] {
        let refused = sense(&mut two, &cdb, &OVERWRITE);
        assert_eq!(refused.additional, AdditionalSense::SANITIZE_IN_PROGRESS, "{cdb:?}");
    }
    let Some((0, BlockIo::Wipe { extent, .. })) = device.poll_upkeep() else { panic!("a step is due") };
    assert_eq!(extent, Extent { lba: 0, blocks: 128 });
    device.handle_upkeep_done(0, Ok(IoOutput::Done));
    drop(two.logical_unit_reset(lun()).unwrap());
    drop(one);
    let told = Sense::decode(&good(&mut two, &Cdb::request_sense(false, 252), &[])).unwrap();
    assert_eq!(told.additional, AdditionalSense::BUS_DEVICE_RESET);
    for descriptor in [false, true] {
        let told = Sense::decode(&good(&mut two, &Cdb::request_sense(descriptor, 252), &[])).unwrap();
        assert_eq!((told.additional, told.progress), (AdditionalSense::SANITIZE_IN_PROGRESS, Some(8192)));
    }
    assert_eq!(upkeep(&device, false), 8);
    good(&mut two, &Cdb::read_10(0, 1), &[]);
}

/// Both are looked at before either begins.
#[test]
fn of_two_that_sanitize_at_once_one_is_refused() {
    let device = device(config());
    let mut tasks = [settled(&device), settled(&device)].map(|mut nexus| {
        let Begin::Task(task) = nexus.begin(lun(), overwrite(0).as_bytes()) else { panic!() };
        (nexus, task)
    });
    let barrier = std::sync::Barrier::new(2);
    let steps: Vec<Step> = std::thread::scope(|scope| {
        let barrier = &barrier;
        let threads: Vec<_> = tasks
            .iter_mut()
            .map(|(nexus, task)| {
                scope.spawn(move || {
                    barrier.wait();
                    nexus.start(task, [Bytes::from_static(&OVERWRITE)].into_iter().collect())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let begun = steps.iter().filter(|step| matches!(step, Step::Io(_))).count();
    let refused = steps.iter().filter(|step| matches!(step, Step::Done(_))).count();
    assert_eq!((begun, refused), (1, 1));
}

#[test]
fn a_sanitize_whose_task_is_gone_is_carried_on() {
    let device = device(config());
    let mut nexus = settled(&device);
    let Begin::Task(mut task) = nexus.begin(lun(), overwrite(0).as_bytes()) else { panic!() };
    let data: Segments = [Bytes::from_static(&OVERWRITE)].into_iter().collect();
    assert!(matches!(nexus.start(&mut task, data), Step::Io(_)));
    assert_eq!(device.poll_upkeep(), None, "the task does it");
    drop((task, nexus));
    assert_eq!(upkeep(&device, false), 3);
    good(&mut settled(&device), &Cdb::read_10(0, 1), &[]);
}

#[test]
fn a_sanitize_is_kept_before_its_answer_and_taken_up_again_after_a_loss_of_power() {
    let kept = |requests: &[BlockIo]| {
        let records = requests.iter().filter_map(|request| match request {
            BlockIo::Keep(record) => Some((record.name.to_owned(), record.content.clone())),
            _ => None,
        });
        records.collect::<Kept>()
    };
    let keeping = |kept| device(LogicalUnitConfig { kept: Some(kept), ..config() });
    let before = keeping(Kept::new());
    let mut nexus = settled(&before);
    let (outcome, requests) = run_seen(&mut nexus, &overwrite(1), &[0x02, 0, 0, 4, 1, 2, 3, 4]);
    assert_eq!((outcome.status, requests.len()), (Status::Good, 1), "{requests:?}");
    let Some((0, BlockIo::Wipe { block: Some(block), .. })) = before.poll_upkeep() else { panic!("it goes on") };

    // The power is lost here.
    let after = keeping(kept(&requests));
    let mut nexus = settled(&after);
    let refused = sense(&mut nexus, &Cdb::read_10(0, 1), &[]);
    assert_eq!((refused.additional, refused.progress), (AdditionalSense::SANITIZE_IN_PROGRESS, Some(0)));
    let mut steps = Vec::new();
    while let Some((0, step)) = after.poll_upkeep() {
        steps.push(step);
        after.handle_upkeep_done(0, Ok(IoOutput::Done));
    }
    let all = Extent { lba: 0, blocks: BLOCKS };
    let pass = BlockIo::Wipe { extent: all, block: Some(block) };
    assert_eq!(steps[..3], [pass.clone(), pass, BlockIo::Flush]);
    good(&mut nexus, &Cdb::read_10(0, 1), &[]);

    // What has ended is not taken up again.
    let again = keeping(kept(&steps));
    assert_eq!(again.poll_upkeep(), None);
    good(&mut settled(&again), &Cdb::read_10(0, 1), &[]);
    // One that is waited for is kept too, and its end is.
    let (_, requests) = run_seen(&mut settled(&again), &Cdb::new(Operation::SanitizeBlockErase), &[]);
    assert!(matches!(requests[..], [BlockIo::Keep(_), BlockIo::Wipe { .. }, BlockIo::Flush, BlockIo::Keep(_)]));
    assert!(kept(&requests)["sanitize"].is_empty());
}

#[test]
fn the_exit_from_a_sanitize_that_has_failed_is_kept() {
    let device = device(LogicalUnitConfig { kept: Some(Kept::new()), ..config() });
    let mut nexus = settled(&device);
    let immediate = [(Field::Immediate, 1), (Field::UnrestrictedExit, 1)];
    let (_, requests) = run_seen(&mut nexus, &cdb(Operation::SanitizeBlockErase, &immediate), &[]);
    assert!(matches!(&requests[..], [BlockIo::Keep(record)] if !record.content.is_empty()));
    device.poll_upkeep().expect("it goes on");
    device.handle_upkeep_done(0, Err(IoError::Write));
    let (outcome, requests) = run_seen(&mut nexus, &Cdb::new(Operation::SanitizeExitFailureMode), &[]);
    assert_eq!(outcome.status, Status::Good);
    assert!(matches!(&requests[..], [BlockIo::Keep(record)] if record.content.is_empty()), "{requests:?}");
    good(&mut nexus, &Cdb::read_10(0, 1), &[]);
}

#[test]
fn a_sanitize_that_fails_stays_failed_until_another_or_an_exit_that_was_allowed() {
    for unrestricted in [0, 1] {
        let device = device(config());
        let mut nexus = settled(&device);
        let erase =
            cdb(Operation::SanitizeBlockErase, &[(Field::Immediate, 1), (Field::UnrestrictedExit, unrestricted)]);
        good(&mut nexus, &erase, &[]);
        assert_eq!(upkeep(&device, true), 1);
        let failed = Sense::new(SenseKey::MediumError, AdditionalSense::SANITIZE_COMMAND_FAILED);
        assert_eq!(sense(&mut nexus, &Cdb::read_10(0, 1), &[]), failed);
        assert_eq!(Sense::decode(&good(&mut nexus, &Cdb::request_sense(false, 252), &[])).unwrap(), failed);
        let exit = Cdb::new(Operation::SanitizeExitFailureMode);
        if unrestricted == 0 {
            assert_eq!(sense(&mut nexus, &exit, &[]).additional, AdditionalSense::INVALID_FIELD_IN_CDB);
            drop(nexus.logical_unit_reset(lun()).unwrap());
            run(&mut nexus, &Cdb::test_unit_ready(), &[]);
            assert_eq!(sense(&mut nexus, &Cdb::read_10(0, 1), &[]), failed, "a reset ends no failure");
            good(&mut nexus, &Cdb::new(Operation::SanitizeBlockErase), &[]);
        } else {
            good(&mut nexus, &exit, &[]);
        }
        good(&mut nexus, &Cdb::read_10(0, 1), &[]);
    }
}

#[test]
fn a_format_that_fails_says_so_and_the_unit_goes_on() {
    let mut nexus = settled(&device(config()));
    let Begin::Task(mut task) = nexus.begin(lun(), Cdb::new(Operation::FormatUnit).as_bytes()) else { panic!() };
    assert!(matches!(nexus.start(&mut task, Segments::new()), Step::Io(_)));
    let refused = sense(&mut nexus, &Cdb::test_unit_ready(), &[]);
    assert_eq!(refused.additional, AdditionalSense::FORMAT_IN_PROGRESS);
    let Step::Done(outcome) = nexus.resume(&mut task, Err(IoError::Write)) else { panic!() };
    let failed = Sense::decode(&outcome.sense).unwrap();
    assert_eq!((failed.key, failed.additional), (SenseKey::MediumError, AdditionalSense::FORMAT_COMMAND_FAILED));
    good(&mut nexus, &Cdb::test_unit_ready(), &[]);
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
