//! LOG SENSE and LOG SELECT.

use std::time::{Duration, Instant};

use scsi_block::cdb::Cdb;
use scsi_block::log::{LogPage, LogParameter, ResourceCount, Statistics, SupportedLogPages, THRESHOLD_EXPONENT, page};
use scsi_block::opcodes::Field;
use scsi_block::sense::{AdditionalSense, FieldPointer};
use scsi_block::vpd::LogicalBlockProvisioning;
use scsi_block::*;

use crate::harness::*;

fn with(cdb: Cdb, field: Field, value: u64) -> Cdb {
    cdb.try_with(field, value).unwrap()
}

fn log(nexus: &mut Nexus, code: u8) -> Vec<LogParameter> {
    let page = LogPage::decode(&good(nexus, &Cdb::log_sense(code, 0, 4096), &[])).unwrap();
    assert_eq!((page.code, page.subpage), (code, 0));
    page.parameters
}

fn numbers(nexus: &mut Nexus, code: u8) -> Vec<u64> {
    log(nexus, code).iter().map(|parameter| parameter.number().unwrap()).collect()
}

/// Read and write commands, blocks received and blocks transmitted.
fn statistics(nexus: &mut Nexus) -> [u64; 4] {
    let parameters = log(nexus, page::GENERAL_STATISTICS);
    let counts = Statistics::decode(&parameters[0].value).unwrap();
    [counts.read_commands, counts.write_commands, counts.blocks_received, counts.blocks_transmitted]
}

#[test]
fn each_page_that_is_listed_is_there() {
    let mut nexus = settled(&device([config("a")]), "one");
    let listed = SupportedLogPages::decode(&good(&mut nexus, &Cdb::log_sense(0, 0, 4096), &[])).unwrap().0;
    assert_eq!(listed.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [0, 2, 3, 0x0d, 0x0e, 0x15, 0x19, 0x2f]);
    for (code, _) in &listed[1..] {
        assert!(!log(&mut nexus, *code).is_empty());
        let subpages = SupportedLogPages::decode(&good(&mut nexus, &Cdb::log_sense(*code, 0xff, 4096), &[])).unwrap();
        assert_eq!(subpages.0, [(*code, 0)]);
    }
    let all = SupportedLogPages::decode(&good(&mut nexus, &Cdb::log_sense(0, 0xff, 4096), &[])).unwrap().0;
    assert_eq!(all.iter().filter(|(_, subpage)| *subpage == 0).copied().collect::<Vec<_>>(), listed);
}

#[test]
fn reads_and_writes_of_all_nexuses_are_counted_those_of_lost_ones_too() {
    let device = device([config("a"), config("b")]);
    let (mut one, mut two) = (settled(&device, "one"), settled(&device, "two"));
    good(&mut one, &Cdb::read_10(0, 8), &[]);
    good(&mut two, &Cdb::read_16(0, 2), &[]);
    good(&mut two, &Cdb::write_10(0, 3), &[7; 1536]);
    run(&mut one, &Command::new(lun(1), Cdb::read_10(0, 1).as_bytes()), &[]);
    drop(two);
    assert_eq!(statistics(&mut one), [2, 1, 3, 10]);
    assert_eq!(numbers(&mut one, page::READ_ERRORS), [0, 10 * 512, 0]);
    assert_eq!(numbers(&mut one, page::WRITE_ERRORS), [0, 1536, 0]);
}

#[test]
fn failures_of_the_medium_are_counted() {
    let mut nexus = settled(&device([config("a")]), "one");
    for (cdb, error) in [(Cdb::read_10(0, 1), IoError::Read), (Cdb::write_10(0, 1), IoError::Write)] {
        run_with(&mut nexus, &Command::new(lun(0), cdb.as_bytes()), &[0; 512], |_, _| Err(error));
    }
    assert_eq!(numbers(&mut nexus, page::READ_ERRORS)[2], 1);
    assert_eq!(numbers(&mut nexus, page::WRITE_ERRORS)[2], 1);
}

#[test]
fn counters_begin_again_page_by_page_and_others_are_told() {
    let device = device([config("a")]);
    let (mut one, mut two) = (settled(&device, "one"), settled(&device, "two"));
    good(&mut one, &Cdb::read_10(0, 8), &[]);
    good(&mut one, &Cdb::log_reset(page::READ_ERRORS), &[]);
    assert_eq!(attention(&mut two), AdditionalSense::LOG_PARAMETERS_CHANGED);
    assert_eq!(numbers(&mut two, page::READ_ERRORS), [0, 0, 0]);
    assert_eq!(statistics(&mut two), [1, 0, 0, 8]);
    good(&mut two, &Cdb::read_10(0, 1), &[]);
    assert_eq!(numbers(&mut two, page::READ_ERRORS), [0, 512, 0]);
    good(&mut two, &Cdb::log_reset(0), &[]);
    good(&mut two, &Cdb::log_sense(0x19, 0, 255), &[]);
    assert_eq!(statistics(&mut two), [0, 0, 0, 0]);
    let defaults = with(Cdb::log_sense(page::READ_ERRORS, 0, 255), Field::PageControl, 3);
    good(&mut two, &Cdb::read_10(0, 1), &[]);
    let page = LogPage::decode(&good(&mut two, &defaults, &[])).unwrap();
    assert!(page.parameters.iter().all(|parameter| parameter.number() == Some(0)));
}

#[test]
fn parameter_pointer_and_allocation_length_hold() {
    let mut nexus = settled(&device([config("a")]), "one");
    let whole = good(&mut nexus, &Cdb::log_sense(2, 0, 4096), &[]);
    for length in [0, 1, 4, 15, 40] {
        let cut = good(&mut nexus, &Cdb::log_sense(2, 0, length), &[]);
        assert_eq!(cut, whole[..whole.len().min(length.into())]);
    }
    for (pointer, expected) in [(0, &[3, 5, 6][..]), (4, &[5, 6]), (6, &[6])] {
        let cdb = with(Cdb::log_sense(2, 0, 4096), Field::ParameterPointer, pointer);
        let page = LogPage::decode(&good(&mut nexus, &cdb, &[])).unwrap();
        assert_eq!(page.parameters.iter().map(|parameter| parameter.code).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn wrong_fields_are_pointed_at() {
    let mut nexus = settled(&device([config("a")]), "one");
    let sense_of = |page, subpage| Cdb::log_sense(page, subpage, 255);
    let wrong = [
        (sense_of(0x10, 0), 2, 5),
        (sense_of(0x02, 1), 3, 7),
        (sense_of(0x00, 1), 3, 7),
        (with(sense_of(2, 0), Field::PageControl, 0), 2, 7),
        (with(sense_of(2, 0), Field::ParameterPointer, 7), 5, 7),
        (with(sense_of(0, 0), Field::ParameterPointer, 1), 5, 7),
        (with(sense_of(2, 0), Field::SavePages, 1), 1, 0),
        (Cdb::log_reset(0x10), 2, 5),
        (with(Cdb::log_reset(2), Field::ParameterListLength, 4), 7, 7),
        (with(Cdb::log_reset(2), Field::SubpageCode, 1), 3, 7),
        (with(Cdb::log_reset(2), Field::SavePages, 1), 1, 0),
    ];
    for (cdb, byte, bit) in wrong {
        let expected = Some(FieldPointer { in_cdb: true, byte, bit: Some(bit) });
        assert_eq!(sense(&mut nexus, &cdb, &[]).field, expected, "{cdb:?}");
    }
}

#[test]
fn starts_loads_and_minutes_are_told() {
    let removable = LogicalUnitConfig { removable: true, ..config("a") };
    let device = device([removable]);
    let mut nexus = settled(&device, "one");
    for cdb in [
        Cdb::start_stop_unit(false),
        Cdb::start_stop_unit(true),
        Cdb::start_stop_unit(true),
        Cdb::load_eject(false),
        Cdb::load_eject(true),
    ] {
        good(&mut nexus, &cdb, &[]);
    }
    let unspecified = u64::from(u32::MAX);
    assert_eq!(numbers(&mut nexus, page::START_STOP_CYCLES), [unspecified, 1, unspecified, 1]);
    let begin = Instant::now();
    device.set_clock(begin, 0);
    let cdb = Cdb::log_sense(page::BACKGROUND_SCAN, 0, 255);
    let command = Command { now: Some(begin + Duration::from_secs(125)), ..Command::new(lun(0), cdb.as_bytes()) };
    let parameters = LogPage::decode(&run(&mut nexus, &command, &[]).data_in).unwrap().parameters;
    assert_eq!(parameters[0].value, [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn space_is_told_in_threshold_sets_once_somebody_has_looked() {
    let device = device([config("a")]);
    let mut nexus = settled(&device, "one");
    let page_0c = Cdb::log_sense(page::LOGICAL_BLOCK_PROVISIONING, 0, 255);
    let listed = |nexus: &mut Nexus| good(nexus, &Cdb::log_sense(0, 0, 255), &[]).contains(&0x0c);
    assert!(!listed(&mut nexus));
    assert_eq!(sense(&mut nexus, &page_0c, &[]).field, Some(FieldPointer { in_cdb: true, byte: 2, bit: Some(5) }));
    let mut told = |space: Space| {
        device.set_space(0, space);
        let page = LogPage::decode(&good(&mut nexus, &page_0c, &[])).unwrap();
        let count = |parameter: &LogParameter| (parameter.code, ResourceCount::decode(&parameter.value).unwrap());
        page.parameters.iter().map(count).collect::<Vec<_>>()
    };
    let count = |threshold_sets, scope| ResourceCount { threshold_sets, scope };
    const SET: u64 = 512 << 11;
    let file = Space { used_bytes: 3 * SET + 1, available_bytes: Some(10 * SET - 1), is_shared: true };
    assert_eq!(told(file), [(1, count(9, 2)), (2, count(4, 1))]);
    let memory = Space { used_bytes: 0, available_bytes: None, is_shared: false };
    assert_eq!(told(memory), [(2, count(0, 1))]);
    let huge = Space { used_bytes: 0, available_bytes: Some(u64::MAX), is_shared: false };
    assert_eq!(told(huge), [(1, count(u32::MAX, 1)), (2, count(0, 1))]);
    assert!(listed(&mut nexus));
    let provisioning = good(&mut nexus, &Cdb::inquiry_page(0xb2, 255), &[]);
    assert_eq!(LogicalBlockProvisioning::decode(&provisioning).unwrap().threshold_exponent, THRESHOLD_EXPONENT);
}

#[test]
fn what_reads_to_exchange_or_to_compare_is_no_read() {
    let mut protected = config("a");
    protected.protection = Some(protection::ProtectionType::One);
    let mut nexus = settled(&device([protected]), "one");
    // Zeros with a tuple that nothing is checked of.
    let store = |_: &Task, request: &BlockIo| {
        Ok(match request {
            BlockIo::Read(extent) => IoOutput::Data(vec![0; extent.blocks as usize * 520].into()),
            _ => IoOutput::Done,
        })
    };
    let mut run = |cdb: Cdb, bytes: usize| {
        let outcome = run_with(&mut nexus, &Command::new(lun(0), cdb.as_bytes()), &vec![0; bytes], store);
        assert_eq!(outcome.status, Status::Good, "{cdb:?}");
    };
    run(Cdb::compare_and_write(0, 2), 2 * 2 * 512);
    run(Cdb::or_write_16(0, 3), 3 * 512);
    run(Cdb::verify_16(0, 8, true), 8 * 512);
    run(Cdb::verify_16(0, 8, false), 0);
    run(Cdb::write_16(0, 4), 4 * 512);
    run(Cdb::read_16(0, 5), 0);
    assert_eq!(statistics(&mut nexus), [1, 3, 2 + 3 + 4, 5]);
}
