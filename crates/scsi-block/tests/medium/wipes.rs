//! SANITIZE and FORMAT UNIT: waited for or not, aborted, failed, and over a loss of power.

use crate::*;
use bytes::Bytes;
use scsi_block::cdb::Cdb;
use scsi_block::opcodes::{Field, Operation};
use scsi_block::sense::{AdditionalSense, Sense, SenseKey};
use scsi_block::*;

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
