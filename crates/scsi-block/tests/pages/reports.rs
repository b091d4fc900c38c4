//! REPORT LUNS and the well-known unit, timestamps, task management functions, the extended INQUIRY data.

use std::time::{Duration, Instant};

use scsi_block::cdb::Cdb;
use scsi_block::designator::{Association, Designator};
use scsi_block::inquiry::{Peripheral, StandardInquiry};
use scsi_block::parameters::{TaskManagementFunctions, Timestamp, UnitList};
use scsi_block::protection::ProtectionType;
use scsi_block::sense::{AdditionalSense, FieldPointer, Sense};
use scsi_block::vpd::{DeviceIdentification, ExtendedInquiry, SupportedPages};
use scsi_block::*;

use crate::harness::*;

const WELL_KNOWN: LogicalUnitNumber = LogicalUnitNumber::WELL_KNOWN_REPORT_LUNS;

#[test]
fn each_select_report_has_its_units() {
    let mut nexus = settled(&device([config("a"), config("b")]), "one");
    let mut units = |select| UnitList::decode(&good(&mut nexus, &Cdb::report_luns(select, 4096), &[])).unwrap().0;
    assert_eq!(units(0x00), [lun(0), lun(1)]);
    assert_eq!(units(0x01), [WELL_KNOWN]);
    assert_eq!(units(0x02), [lun(0), lun(1), WELL_KNOWN]);
    assert_eq!(units(0x10), []);
    assert_eq!(units(0x11), [lun(0), lun(1)]);
    for select in [0x03, 0x12, 0xff] {
        let expected = Some(FieldPointer { in_cdb: true, byte: 2, bit: Some(7) });
        assert_eq!(sense(&mut nexus, &Cdb::report_luns(select, 4096), &[]).field, expected);
    }
}

#[test]
fn the_well_known_unit_tells_which_units_there_are_and_who_it_is() {
    let mut config = config("a");
    config.identity.designators = vec![
        Designator::scsi_name(Association::TargetDevice, Some(5), "iqn.2026-01.d"),
        Designator::relative_target_port(1, Some(5)),
    ];
    let mut nexus = device([config]).connect("one");
    let mut answer = |cdb: Cdb| run(&mut nexus, &Command::new(WELL_KNOWN, cdb.as_bytes()), &[]);
    let standard = StandardInquiry::decode(&answer(Cdb::inquiry(96)).data_in).unwrap();
    assert_eq!((standard.peripheral, &standard.vendor[..]), (Peripheral::WELL_KNOWN, "FERRISCS"));
    let page = answer(Cdb::inquiry_page(0, 255)).data_in;
    assert_eq!((page[0], SupportedPages::decode(&page).unwrap().0), (0x1e, vec![0x00, 0x83]));
    let names = DeviceIdentification::decode(&answer(Cdb::inquiry_page(0x83, 255)).data_in).unwrap().0;
    assert_eq!(names.iter().map(Designator::to_string).collect::<Vec<_>>(), ["iqn.2026-01.d"]);
    assert_eq!(answer(Cdb::test_unit_ready()).status, Status::Good);
    assert_eq!(Sense::decode(&answer(Cdb::request_sense(true, 252)).data_in), Ok(Sense::NONE));
    assert_eq!(UnitList::decode(&answer(Cdb::report_luns(0, 64)).data_in).unwrap().0, [lun(0)]);
    let refused = Sense::decode(&answer(Cdb::read_10(0, 1)).sense).unwrap();
    assert_eq!(refused, Sense::illegal(AdditionalSense::INVALID_COMMAND_OPERATION_CODE));
}

#[test]
fn a_timestamp_goes_on_from_what_was_set_and_others_are_told() {
    let device = device([config("a")]);
    let (mut one, mut two) = (settled(&device, "one"), settled(&device, "two"));
    let begin = Instant::now();
    let at = |nexus: &mut Nexus, cdb: &Cdb, seconds, list: &[u8]| {
        let now = Some(begin + Duration::from_secs(seconds));
        run(nexus, &Command { now, ..Command::new(lun(0), cdb.as_bytes()) }, list)
    };
    let read = |nexus: &mut Nexus, seconds| {
        let outcome = at(nexus, &Cdb::report_timestamp(12), seconds, &[]);
        let Timestamp { origin, milliseconds } = Timestamp::decode(&outcome.data_in).unwrap();
        (origin, milliseconds)
    };
    assert_eq!(read(&mut one, 1), (TimestampOrigin::Zero, 0));
    device.set_clock(begin, 1_000_000);
    assert_eq!(read(&mut one, 1), (TimestampOrigin::Other, 1_001_000));
    assert_eq!(at(&mut one, &Cdb::set_timestamp(), 10, &Timestamp::list(5000)).status, Status::Good);
    assert_eq!(attention(&mut two), AdditionalSense::TIMESTAMP_CHANGED);
    assert_eq!(read(&mut two, 12), (TimestampOrigin::Command, 7000));
    drop(one.logical_unit_reset(lun(0)).unwrap());
    attention(&mut two);
    assert_eq!(read(&mut two, 12), (TimestampOrigin::Command, 7000));
    drop(one.target_reset());
    attention(&mut two);
    assert_eq!(read(&mut two, 12), (TimestampOrigin::Other, 1_012_000));
}

#[test]
fn a_timestamp_list_that_is_cut_sets_nothing() {
    let mut nexus = settled(&device([config("a")]), "one");
    let length_error = Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
    assert_eq!(sense(&mut nexus, &Cdb::set_timestamp(), &[0; 11]), length_error);
    let of = |length| Cdb::set_timestamp().try_with(opcodes::Field::ParameterListLength, length).unwrap();
    assert_eq!(sense(&mut nexus, &of(11), &[0; 11]), length_error);
    assert_eq!(sense(&mut nexus, &of(13), &[0; 13]).field, Some(FieldPointer { in_cdb: true, byte: 6, bit: Some(7) }));
    good(&mut nexus, &of(0), &[]);
}

#[test]
fn task_management_functions_are_told_in_both_forms() {
    let mut nexus = settled(&device([config("a")]), "one");
    let short = Cdb::report_supported_task_management_functions(255);
    let long = short.try_with(opcodes::Field::ReturnExtended, 1).unwrap();
    let (short, long) = (good(&mut nexus, &short, &[]), good(&mut nexus, &long, &[]));
    assert_eq!((short.len(), long.len(), long[3]), (4, 16, 12));
    let functions = TaskManagementFunctions::decode(&short).unwrap();
    assert_eq!(TaskManagementFunctions::decode(&long), Ok(functions));
    assert!(functions.abort_task && functions.logical_unit_reset && functions.query_asynchronous_event);
    assert!(functions.clear_aca && !functions.query_task);
}

#[test]
fn the_extended_inquiry_data_says_what_is_checked() {
    let protected = LogicalUnitConfig { thin: false, protection: Some(ProtectionType::Three), ..config("b") };
    for (config, types, checks) in [(config("a"), 0, false), (protected, 4, true)] {
        let mut nexus = device([config]).connect("one");
        let page = ExtendedInquiry::decode(&good(&mut nexus, &Cdb::inquiry_page(0x86, 255), &[])).unwrap();
        assert_eq!((page.supported_protection_types, page.checks_guard), (types, checks));
        assert!(page.simple && page.ordered && page.head_of_queue && page.volatile_cache && page.referrals);
    }
}
