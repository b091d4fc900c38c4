//! EXTENDED COPY and the commands that ask about copies.

use proptest::prelude::*;
use scsi_block::cdb::Cdb;
use scsi_block::copy::{COPIES_MAX, CopyList, CopyState, CopyStatus, FailureDetails, OperatingParameters, Segment};
use scsi_block::inquiry::StandardInquiry;
use scsi_block::sense::{AdditionalSense, SenseKey, ThirdParty};
use scsi_block::*;

use super::*;

/// Blocks of a step.
const STEP: u16 = 128;

#[test]
fn blocks_go_from_unit_to_unit_and_within_one() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let list = bench.list(&mut nexus, &[segment((0, 3), (1, 5), STEP + 1), segment((1, 6), (1, 1000), 1)]);
    let before = bench.stores.clone();
    for bytes in [list.encode_lid1(), list.encode_lid4()] {
        bench.stores.clone_from(&before);
        let cdb = match bytes[0] {
            1 => Cdb::extended_copy_lid4(bytes.len() as u32),
            _ => Cdb::extended_copy_lid1(bytes.len() as u32),
        };
        bench.good(&mut nexus, 5, &cdb, &bytes);
        assert_eq!(bench.blocks(1, 5, u64::from(STEP) + 1), &before[0][3 * 512..(4 + usize::from(STEP)) * 512]);
        assert_eq!(bench.blocks(1, 1000, 1), &before[0][4 * 512..5 * 512], "the second sees what the first has done");
        assert_eq!(bench.blocks(1, 0, 5), &before[1][..5 * 512]);
        assert_eq!(bench.stores[0], before[0]);
    }
}

#[test]
fn the_unit_that_is_asked_has_a_name_of_its_own() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let own =
        Segment { source: Segment::COPY_MANAGER, destination: Segment::COPY_MANAGER, ..segment((0, 0), (0, 64), 8) };
    let list = CopyList { identifier: None, immediate: false, cscds: Vec::new(), segments: vec![own] };
    let (cdb, bytes) = extended_copy(&list);
    bench.good(&mut nexus, 1, &cdb, &bytes);
    assert_eq!(bench.blocks(1, 64, 8), bench.blocks(1, 0, 8));
}

#[test]
fn blocks_of_other_sizes_are_counted_as_the_list_says() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let small = segment((0, 8), (LARGE, 3), 16);
    let large = Segment { counts_destination: true, blocks: 2, ..segment((0, 8), (LARGE, 5), 2) };
    let list = bench.list(&mut nexus, &[small, large]);
    let (cdb, bytes) = extended_copy(&list);
    bench.good(&mut nexus, 0, &cdb, &bytes);
    assert_eq!(bench.blocks(LARGE, 3, 2), bench.blocks(0, 8, 16));
    assert_eq!(bench.blocks(LARGE, 5, 2), bench.blocks(0, 8, 16));
    let list = bench.list(&mut nexus, &[small, segment((0, 8), (LARGE, 3), 15)]);
    let (cdb, bytes) = extended_copy(&list);
    let sense = bench.sense(&mut nexus, 0, &cdb, &bytes);
    assert!(is_copy_aborted(&sense, 1));
    assert_eq!(sense.additional, AdditionalSense::UNEXPECTED_INEXACT_SEGMENT);
}

#[test]
fn a_segment_that_fails_ends_the_copy_there_and_is_told() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let before = bench.stores.clone();
    let said = |is_source, key, additional| {
        Some(ThirdParty { is_source, status: Status::CheckCondition.code(), key, additional })
    };
    let beyond =
        |is_source| said(is_source, SenseKey::IllegalRequest, AdditionalSense::LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
    let cases = [
        (
            segment((0, 0), (READ_ONLY, 0), 8),
            AdditionalSense::THIRD_PARTY_DEVICE_FAILURE,
            said(false, SenseKey::DataProtect, AdditionalSense::WRITE_PROTECTED),
        ),
        (segment((0, 0), (1, BLOCKS - u64::from(STEP)), STEP + 1), AdditionalSense::NONE, beyond(false)),
        (segment((0, u64::MAX), (1, 0), 8), AdditionalSense::NONE, beyond(true)),
        (
            Segment { destination: 77, ..segment((0, 0), (1, 0), 8) },
            AdditionalSense::COPY_TARGET_DEVICE_NOT_REACHABLE,
            None,
        ),
        (segment((PROTECTED, 0), (1, 0), 8), AdditionalSense::COPY_TARGET_DEVICE_NOT_REACHABLE, None),
    ];
    for (wrong, additional, third_party) in cases {
        bench.stores.clone_from(&before);
        let list = bench.list(&mut nexus, &[segment((0, 100), (1, 100), 8), wrong, segment((0, 0), (1, 200), 8)]);
        let (cdb, bytes) = extended_copy(&list);
        let sense = bench.sense(&mut nexus, 0, &cdb, &bytes);
        assert!(is_copy_aborted(&sense, 1), "{sense}");
        assert_eq!((sense.additional, sense.third_party), (additional, third_party));
        let mut expected = before.clone();
        let copied = before[0][100 * 512..108 * 512].to_vec();
        expected[1][100 * 512..108 * 512].copy_from_slice(&copied);
        assert!(bench.stores == expected, "the first segment is done, and nothing else");
        let details = bench.good(&mut nexus, 0, &Cdb::receive_copy_failure_details(9, 512), &[]);
        assert_eq!(FailureDetails::decode(&details), Ok(FailureDetails(Some(sense))));
        let status = bench.good(&mut nexus, 0, &Cdb::receive_copy_status_lid1(9, 512), &[]);
        let status = CopyStatus::decode_lid1(&status).unwrap();
        assert_eq!((status.state, status.segments, status.bytes), (CopyState::Failed, 1, 8 * 512));
    }
}

#[test]
fn a_store_that_fails_is_told_as_what_the_side_said() {
    for (unit, is_source, error, key) in
        [(0, true, IoError::Read, SenseKey::MediumError), (1, false, IoError::NoSpace, SenseKey::DataProtect)]
    {
        let mut bench = Bench::new();
        let mut nexus = bench.nexus("one");
        let list = bench.list(&mut nexus, &[segment((0, 0), (1, 0), 3 * STEP)]);
        bench.fails = Some((unit, 1, error));
        let (cdb, bytes) = extended_copy(&list);
        let sense = bench.sense(&mut nexus, 0, &cdb, &bytes);
        assert!(is_copy_aborted(&sense, 0));
        let said = sense.third_party.unwrap();
        assert_eq!((said.is_source, said.key), (is_source, key));
    }
}

#[test]
fn a_destination_that_another_has_reserved_is_not_written() {
    let mut bench = Bench::new();
    let (mut one, mut two) = (bench.nexus("one"), bench.nexus("two"));
    bench.good(&mut two, 1, &Cdb::reserve_6(), &[]);
    let list = bench.list(&mut one, &[segment((0, 0), (1, 0), 8)]);
    let before = bench.stores.clone();
    let (cdb, bytes) = extended_copy(&list);
    let sense = bench.sense(&mut one, 0, &cdb, &bytes);
    assert_eq!(sense.third_party.unwrap().status, Status::ReservationConflict.code());
    assert!(bench.stores == before);
    assert!(bench.run(&mut two, 0, &cdb, &bytes).status == Status::Good, "its holder may");
}

#[test]
fn a_unit_of_which_nobody_knows_who_has_reserved_it_takes_no_part() {
    let record = reservations::in_place_of_damaged("reservations").unwrap();
    let lost = || Some([("reservations".to_owned(), record.clone())].into());
    let mut bench =
        Bench::with(|index, config| LogicalUnitConfig { kept: if index == 1 { lost() } else { None }, ..config });
    let mut nexus = bench.nexus("one");
    let before = bench.stores.clone();
    for (from, to, unit) in [(0, 1, 1), (1, 0, 1)] {
        let list = bench.list(&mut nexus, &[segment((from, 0), (to, 0), 4)]);
        let (cdb, bytes) = extended_copy(&list);
        assert!(is_copy_aborted(&bench.sense(&mut nexus, 0, &cdb, &bytes), 0));
        let lost = AdditionalSense::PERSISTENT_RESERVATION_INFORMATION_LOST;
        assert_eq!(bench.sense(&mut nexus, unit, &cdb, &bytes).additional, lost);
    }
    assert!(bench.stores == before);
    assert_eq!(bench.requests[1], 0);
}

#[test]
fn what_a_unit_becomes_meanwhile_counts_at_the_next_step() {
    type Change = fn(&mut Bench, &mut Nexus);
    let endings: [(Change, SenseKey); 3] = [
        (|_, other| drop(other.logical_unit_reset(lun(1)).unwrap()), SenseKey::UnitAttention),
        (|bench, other| drop(bench.good(other, 1, &Cdb::start_stop_unit(false), &[])), SenseKey::NotReady),
        (|bench, other| drop(bench.good(other, 1, &Cdb::reserve_6(), &[])), SenseKey::NoSense),
    ];
    for (change, key) in endings {
        let mut bench = Bench::new();
        let (mut nexus, mut other) = (bench.nexus("one"), bench.nexus("two"));
        let list = bench.list(&mut nexus, &[segment((0, 0), (1, 0), 3 * STEP)]);
        let (cdb, bytes) = extended_copy(&list);
        let (task, step) = bench.begin(&mut nexus, 0, &cdb, &bytes);
        let mut task = task.unwrap();
        let step = bench.go_on(&mut nexus, &mut task, step, 2);
        change(&mut bench, &mut other);
        let written = bench.requests[1];
        let Step::Done(outcome) = bench.go_on(&mut nexus, &mut task, step, 10) else { panic!() };
        let sense = sense::Sense::decode(&outcome.sense).unwrap();
        assert_eq!(sense.third_party.unwrap().key, key);
        assert_eq!(bench.requests[1], written, "nothing is written any more");
    }
}

#[test]
fn resets_end_a_copy_between_steps_and_it_is_forgotten() {
    let endings: [fn(&mut Nexus); 2] =
        [|nexus| drop(nexus.logical_unit_reset(lun(0)).unwrap()), |nexus| drop(nexus.target_reset())];
    for end in endings {
        let mut bench = Bench::new();
        let (mut nexus, mut other) = (bench.nexus("one"), bench.nexus("two"));
        let list = bench.list(&mut nexus, &[segment((0, 0), (1, 0), 3 * STEP)]);
        let (cdb, bytes) = extended_copy(&list);
        let (task, step) = bench.begin(&mut nexus, 0, &cdb, &bytes);
        let mut task = task.unwrap();
        let step = bench.go_on(&mut nexus, &mut task, step, 3);
        end(&mut other);
        assert!(matches!(bench.go_on(&mut nexus, &mut task, step, 1), Step::Aborted));
        drop(task);
        bench.run(&mut nexus, 0, &Cdb::test_unit_ready(), &[]);
        let sense = bench.sense(&mut nexus, 0, &Cdb::receive_copy_status_lid1(9, 512), &[]);
        assert_eq!(sense.additional, AdditionalSense::INVALID_FIELD_IN_CDB);
    }
}

#[test]
fn a_copy_under_way_can_be_asked_about_and_ended() {
    let mut bench = Bench::new();
    let (mut nexus, mut other) = (bench.nexus("one"), bench.nexus("two"));
    let list = bench.list(&mut nexus, &[segment((0, 0), (1, 0), 1), segment((0, 0), (1, 0), 3 * STEP)]);
    let (cdb, bytes) = extended_copy(&list);
    let (task, step) = bench.begin(&mut nexus, 0, &cdb, &bytes);
    let mut task = task.unwrap();
    let step = bench.go_on(&mut nexus, &mut task, step, 4);
    assert!(task.is_patient());

    let status = bench.good(&mut nexus, 0, &Cdb::receive_copy_status_lid4(9, 512), &[]);
    let status = CopyStatus::decode_lid4(&status).unwrap();
    assert_eq!((status.state, status.segments), (CopyState::InProgress, 1));
    assert_eq!(status.bytes, 512 * (1 + u64::from(STEP)));
    for cdb in [Cdb::receive_copy_data(9, 64), Cdb::receive_copy_failure_details(9, 64)] {
        assert_eq!(bench.sense(&mut nexus, 0, &cdb, &[]).field.unwrap().byte, 2);
    }
    let again = bench.sense(&mut nexus, 0, &cdb, &bytes);
    assert_eq!(again.additional, AdditionalSense::OPERATION_IN_PROGRESS);
    for cdb in [Cdb::copy_operation_abort(9), Cdb::receive_copy_status_lid1(9, 64)] {
        assert_eq!(bench.sense(&mut other, 0, &cdb, &[]).field.unwrap().byte, 2, "it is not another's");
    }

    bench.good(&mut nexus, 0, &Cdb::copy_operation_abort(9), &[]);
    let written = bench.requests[1];
    let Step::Done(outcome) = bench.go_on(&mut nexus, &mut task, step, 10) else { panic!() };
    assert!(is_copy_aborted(&sense::Sense::decode(&outcome.sense).unwrap(), 1));
    assert!(bench.requests[1] <= written + 1, "the step under way is the last");
    let status = bench.good(&mut nexus, 0, &Cdb::receive_copy_status_lid4(9, 512), &[]);
    assert_eq!(CopyStatus::decode_lid4(&status).unwrap().state, CopyState::Terminated);
    assert_eq!(bench.sense(&mut nexus, 0, &Cdb::copy_operation_abort(9), &[]).field.unwrap().byte, 2);
}

#[test]
fn a_copy_that_has_ended_well_says_so() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let list = bench.list(&mut nexus, &[segment((0, 0), (1, 0), 8), segment((0, 0), (1, 9), 0)]);
    let (cdb, bytes) = extended_copy(&list);
    bench.good(&mut nexus, 0, &cdb, &bytes);
    for _ in 0..2 {
        let status = bench.good(&mut nexus, 0, &Cdb::receive_copy_status_lid1(9, 512), &[]);
        let status = CopyStatus::decode_lid1(&status).unwrap();
        assert_eq!((status.state, status.segments, status.bytes), (CopyState::Completed, 2, 8 * 512));
    }
    assert_eq!(&bench.good(&mut nexus, 0, &Cdb::receive_copy_data(9, 512), &[])[..], [0; 4]);
    let details = bench.good(&mut nexus, 0, &Cdb::receive_copy_failure_details(9, 512), &[]);
    assert_eq!(FailureDetails::decode(&details), Ok(FailureDetails(None)));
    assert_eq!(bench.sense(&mut nexus, 1, &Cdb::receive_copy_status_lid1(9, 64), &[]).field.unwrap().byte, 2);
    assert_eq!(bench.sense(&mut nexus, 0, &Cdb::receive_copy_status_lid1(8, 64), &[]).field.unwrap().byte, 2);
}

#[test]
fn a_unit_manages_only_so_many_copies() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let list = CopyList { identifier: None, ..bench.list(&mut nexus, &[segment((0, 0), (1, 0), 8)]) };
    let (cdb, bytes) = extended_copy(&list);
    let held: Vec<_> = (0..COPIES_MAX).map(|_| bench.begin(&mut nexus, 0, &cdb, &bytes)).collect();
    assert!(held.iter().all(|(_, step)| matches!(step, Step::Io(_))));
    assert_eq!(bench.sense(&mut nexus, 0, &cdb, &bytes).additional, AdditionalSense::INSUFFICIENT_RESOURCES);
    drop(held);
    bench.good(&mut nexus, 0, &cdb, &bytes);
}

#[test]
fn a_list_that_is_wrong_changes_nothing() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let list = bench.list(&mut nexus, &[segment((0, 0), (1, 0), 8), segment((0, 0), (1, 8), 8)]);
    let before = bench.stores.clone();
    let (cdb, mut bytes) = extended_copy(&list);
    let last = bytes.len() - 28;
    bytes[last] = 0x05;
    let sense = bench.sense(&mut nexus, 0, &cdb, &bytes);
    assert_eq!(sense.field.unwrap().byte as usize, last);
    let short = bench.sense(&mut nexus, 0, &cdb, &bytes[..bytes.len() - 1]);
    assert_eq!(short.additional, AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
    let long = Cdb::extended_copy_lid1(CopyList::BYTES_MAX as u32 + 1);
    assert_eq!(bench.sense(&mut nexus, 0, &long, &[]).additional, AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
    assert!(bench.stores == before);
    bench.good(&mut nexus, 0, &Cdb::extended_copy_lid1(0), &[]);
}

#[test]
fn units_say_whether_they_copy() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let parameters = bench.good(&mut nexus, 0, &Cdb::receive_copy_operating_parameters(512), &[]);
    let parameters = OperatingParameters::decode(&parameters).unwrap();
    assert!(parameters.without_list_identifier);
    assert_eq!(parameters.segment_bytes_max, 65535 * 512);
    for (unit, copies) in [(0, true), (PROTECTED, false)] {
        let inquiry = bench.good(&mut nexus, unit, &Cdb::inquiry(96), &[]);
        assert_eq!(StandardInquiry::decode(&inquiry).unwrap().third_party_copy, copies);
    }
    let refused = bench.sense(&mut nexus, PROTECTED, &Cdb::receive_copy_operating_parameters(512), &[]);
    assert_eq!(refused.additional, AdditionalSense::INVALID_COMMAND_OPERATION_CODE);
}

#[test]
fn writes_are_durable_where_there_is_no_write_cache() {
    for write_cache in [true, false] {
        let geometry = Geometry { block_size: 512, blocks: 64 };
        let config = LogicalUnitConfig { write_cache, ..LogicalUnitConfig::new(geometry, "cache") };
        let device = std::sync::Arc::new(TargetDevice::new([(lun(0), config)]).unwrap());
        let mut nexus = device.connect("one");
        nexus.begin(lun(0), Cdb::test_unit_ready().as_bytes());
        let own =
            Segment { source: Segment::COPY_MANAGER, destination: Segment::COPY_MANAGER, ..segment((0, 0), (0, 8), 1) };
        let (cdb, bytes) =
            extended_copy(&CopyList { identifier: None, immediate: false, cscds: Vec::new(), segments: vec![own] });
        let Begin::Task(mut task) = nexus.begin(lun(0), cdb.as_bytes()) else { panic!() };
        nexus.start(&mut task, [bytes.into()].into_iter().collect());
        let read = IoOutput::Data(vec![1; 512].into());
        let Step::Io(BlockIo::Write { durable, .. }) = nexus.resume(&mut task, Ok(read)) else { panic!() };
        assert_eq!(durable, !write_cache);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any segments among plain units leave what copying them one by one in memory leaves.
    #[test]
    fn copies_do_what_the_reference_does(
        segments in prop::collection::vec((0usize..2, 0..BLOCKS, 0usize..2, 0..BLOCKS, 0u16..1500), 1..6)
    ) {
        let mut bench = Bench::new();
        let mut nexus = bench.nexus("one");
        let mut expected = bench.stores.clone();
        let mut failed = None;
        for (index, (from, source, to, destination, blocks)) in segments.iter().copied().enumerate() {
            let blocks = u64::from(blocks);
            if blocks > 0 && source.max(destination) + blocks > BLOCKS {
                failed = Some(index as u16);
                break;
            }
            let range = |lba: u64| lba as usize * 512..(lba + blocks) as usize * 512;
            let data = expected[from][range(source)].to_vec();
            expected[to][range(destination)].copy_from_slice(&data);
        }
        let segments: Vec<_> = segments
            .iter()
            .map(|(from, source, to, destination, blocks)| segment((*from, *source), (*to, *destination), *blocks))
            .collect();
        let list = bench.list(&mut nexus, &segments);
        let (cdb, bytes) = extended_copy(&list);
        match failed {
            Some(index) => prop_assert!(is_copy_aborted(&bench.sense(&mut nexus, THIN, &cdb, &bytes), index)),
            None => drop(bench.good(&mut nexus, THIN, &cdb, &bytes)),
        }
        prop_assert!(bench.stores == expected);
    }
}

/// A unit that goes while the store has a request of a copy that is another unit's task.
#[test]
fn a_reset_waits_for_a_copy_at_a_unit_that_was_taken_away() {
    let mut bench = Bench::new();
    let (mut copier, mut other) = (bench.nexus("copier"), bench.nexus("other"));
    let list = bench.list(&mut copier, &[segment((0, 0), (1, 0), 8)]);
    let (cdb, data) = extended_copy(&list);
    let (task, step) = bench.begin(&mut copier, 0, &cdb, &data);
    let mut task = task.expect("the copy has begun");
    let step = bench.go_on(&mut copier, &mut task, step, 1);
    assert!(matches!(step, Step::Io(BlockIo::Write { .. })) && task.store() == 1);
    let reset = other.logical_unit_reset(lun(1)).unwrap();
    bench.device.remove(lun(1)).unwrap();
    copier.begin(lun(5), Cdb::test_unit_ready().as_bytes());
    assert!(!reset.is_over(), "the store has a write of the copy");
    bench.go_on(&mut copier, &mut task, step, usize::MAX);
    assert!(reset.is_over());
}

#[test]
fn with_immed_the_answer_comes_at_once_and_the_copy_goes_on() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let segments = [segment((0, 0), (1, 100), STEP + 1)];
    let list = CopyList { immediate: true, ..bench.list(&mut nexus, &segments) };
    let bytes = list.encode_lid4();
    let cdb = Cdb::extended_copy_lid4(bytes.len() as u32);
    let (task, step) = bench.begin(&mut nexus, 0, &cdb, &bytes);
    let mut task = task.unwrap();
    assert!(matches!(&step, Step::Answered(BlockIo::Read(_))));
    let status = |bench: &mut Bench, nexus: &mut Nexus| {
        CopyStatus::decode_lid4(&bench.good(nexus, 0, &Cdb::receive_copy_status_lid4(9, 64), &[])).unwrap()
    };
    let step = bench.go_on(&mut nexus, &mut task, step, 2);
    assert_eq!(status(&mut bench, &mut nexus).state, CopyState::InProgress);
    assert!(matches!(bench.go_on(&mut nexus, &mut task, step, usize::MAX), Step::Done(_)));
    let told = status(&mut bench, &mut nexus);
    assert_eq!((told.state, told.bytes), (CopyState::Completed, (u64::from(STEP) + 1) * 512));
    assert_eq!(bench.blocks(1, 100, STEP.into()), bench.blocks(0, 0, STEP.into()));
}

#[test]
fn a_copy_that_goes_on_fails_in_what_is_told_of_it_and_ends_with_a_reset() {
    let mut bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let immediate = |bench: &mut Bench, nexus: &mut Nexus, to: usize| {
        let list = CopyList { immediate: true, ..bench.list(nexus, &[segment((0, 0), (to, 0), 8)]) };
        let bytes = list.encode_lid4();
        bench.begin(nexus, 0, &Cdb::extended_copy_lid4(bytes.len() as u32), &bytes)
    };
    let status = |bench: &mut Bench, nexus: &mut Nexus| {
        CopyStatus::decode_lid4(&bench.good(nexus, 0, &Cdb::receive_copy_status_lid4(9, 64), &[])).unwrap()
    };
    let (task, step) = immediate(&mut bench, &mut nexus, READ_ONLY);
    bench.go_on(&mut nexus, &mut task.unwrap(), step, usize::MAX);
    let told = status(&mut bench, &mut nexus);
    assert_eq!(told.state, CopyState::Failed);
    assert_eq!(told.sense.unwrap().key, SenseKey::CopyAborted);
    let (task, step) = immediate(&mut bench, &mut nexus, 1);
    let (mut task, mut other) = (task.unwrap(), bench.nexus("other"));
    let reset = other.logical_unit_reset(lun(0)).unwrap();
    assert!(!reset.is_over());
    assert!(matches!(bench.go_on(&mut nexus, &mut task, step, 1), Step::Aborted));
    assert!(reset.is_over());
}

#[test]
fn a_flush_with_immed_is_answered_at_once_and_only_so_many_are() {
    let bench = Bench::new();
    let mut nexus = bench.nexus("one");
    let flush = Cdb::synchronize_cache_10().try_with(scsi_block::opcodes::Field::Immediate, 1).unwrap();
    let mut tasks = Vec::new();
    let answered = loop {
        let (task, step) = bench.begin(&mut nexus, 0, &flush, &[]);
        tasks.push(task.unwrap());
        match step {
            Step::Answered(BlockIo::Flush) => {}
            Step::Io(BlockIo::Flush) => break tasks.len() - 1,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(answered, 32);
    for mut task in tasks {
        let end = nexus.resume(&mut task, Err(IoError::Write));
        assert!(matches!(end, Step::Done(_)), "{end:?}");
    }
    assert!(matches!(bench.begin(&mut nexus, 0, &flush, &[]).1, Step::Answered(..)));
}
