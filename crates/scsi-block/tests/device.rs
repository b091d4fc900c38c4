//! The device as initiators see it: unit attentions, reservations, resets, mode parameters, identification, refusals.

use std::sync::Arc;

use bytes::Bytes;
use scsi_block::cdb::Cdb;
use scsi_block::designator::{Association, Designator};
use scsi_block::inquiry::StandardInquiry;
use scsi_block::mode::{self, ModeData, ModeSettings};
use scsi_block::opcodes::{COMMANDS, CommandDescriptor, Field, Operation, Rules};
use scsi_block::parameters::{Capacity10, Capacity16, SupportedCommand, UnitList};
use scsi_block::sense::{AdditionalSense, FieldPointer, Sense, SenseKey};
use scsi_block::vpd::{
    BlockDeviceCharacteristics, BlockLimits, DeviceIdentification, LogicalBlockProvisioning, SupportedPages,
    UnitSerialNumber,
};
use scsi_block::*;

fn lun(number: u16) -> LogicalUnitNumber {
    LogicalUnitNumber::from(number)
}

fn config(serial: &str) -> LogicalUnitConfig {
    let geometry = Geometry { block_size: 512, blocks: 1 << 33 };
    LogicalUnitConfig { thin: true, ..LogicalUnitConfig::new(geometry, serial) }
}

fn device() -> Arc<TargetDevice> {
    Arc::new(TargetDevice::new([(lun(0), config("zero")), (lun(300), config("three hundred"))]).unwrap())
}

#[test]
fn units_that_could_be_taken_for_one_another_are_refused() {
    let two =
        |first: u16, second: u16, serial| TargetDevice::new([(lun(first), config("a")), (lun(second), config(serial))]);
    assert_eq!(two(0, 0, "b").unwrap_err(), ConfigError::Duplicate(lun(0)));
    assert_eq!(two(0, 1, "a").unwrap_err(), ConfigError::DuplicateSerial("a".into()));
    assert!(two(0, 1, "b").is_ok());
}

/// A nexus that has taken its first unit attentions.
fn settled(device: &Arc<TargetDevice>, name: &str) -> Nexus {
    let mut nexus = device.connect(name);
    for unit in device.logical_units() {
        assert_eq!(attention(&mut nexus, unit.number), AdditionalSense::POWER_ON_OR_RESET);
    }
    nexus
}

/// Runs a command whose requests all go well, with reads of zeros.
fn run(nexus: &mut Nexus, number: LogicalUnitNumber, cdb: &Cdb, data_out: &[u8]) -> Outcome {
    let mut task = match nexus.begin(number, cdb.as_bytes()) {
        Begin::Done(outcome) => return outcome,
        Begin::Task(task) => task,
    };
    let mut step = nexus.start(&mut task, [Bytes::copy_from_slice(data_out)].into_iter().collect());
    loop {
        let output = match step {
            Step::Done(outcome) => return outcome,
            Step::Aborted | Step::Answered(..) | Step::Wait => panic!("nothing resets the unit"),
            Step::Io(BlockIo::Read(_)) => IoOutput::Data(Bytes::from(vec![0; task.data_in_length() as usize])),
            Step::Io(_) => IoOutput::Done,
        };
        step = nexus.resume(&mut task, Ok(output));
    }
}

fn good(nexus: &mut Nexus, cdb: &Cdb, data_out: &[u8]) -> Bytes {
    let outcome = run(nexus, lun(0), cdb, data_out);
    assert_eq!(outcome.status, Status::Good, "{cdb:?}: {:?}", Sense::decode(&outcome.sense));
    outcome.data_in
}

fn sense(nexus: &mut Nexus, cdb: &Cdb, data_out: &[u8]) -> Sense {
    let outcome = run(nexus, lun(0), cdb, data_out);
    assert_eq!(outcome.status, Status::CheckCondition, "{cdb:?}");
    Sense::decode(&outcome.sense).unwrap()
}

fn attention(nexus: &mut Nexus, number: LogicalUnitNumber) -> AdditionalSense {
    let outcome = run(nexus, number, &Cdb::test_unit_ready(), &[]);
    let sense = Sense::decode(&outcome.sense).unwrap();
    assert_eq!(sense.key, SenseKey::UnitAttention);
    sense.additional
}

fn with(cdb: Cdb, field: Field, value: u64) -> Cdb {
    cdb.try_with(field, value).unwrap()
}

#[test]
fn the_first_unit_attention_is_told_once_and_not_by_quiet_commands() {
    let mut nexus = device().connect("a");
    good(&mut nexus, &Cdb::inquiry(96), &[]);
    good(&mut nexus, &Cdb::report_luns(0, 64), &[]);
    assert_eq!(sense(&mut nexus, &Cdb::read_10(0, 1), &[]).additional, AdditionalSense::POWER_ON_OR_RESET);
    good(&mut nexus, &Cdb::read_10(0, 1), &[]);
}

#[test]
fn request_sense_takes_the_unit_attention() {
    let mut nexus = device().connect("a");
    for (descriptor, expected) in [(false, AdditionalSense::POWER_ON_OR_RESET), (true, AdditionalSense::NONE)] {
        let data = good(&mut nexus, &Cdb::request_sense(descriptor, 252), &[]);
        assert_eq!(data[0], if descriptor { 0x72 } else { 0x70 });
        assert_eq!(Sense::decode(&data).unwrap().additional, expected);
    }
    good(&mut nexus, &Cdb::test_unit_ready(), &[]);
}

#[test]
fn a_reservation_keeps_others_out_until_released_lost_or_reset() {
    let device = device();
    let mut other = settled(&device, "other");
    let endings: [fn(&mut Nexus); 3] = [
        |holder| drop(good(holder, &Cdb::release_6(), &[])),
        |holder| drop(holder.logical_unit_reset(lun(0)).unwrap()),
        |_| {},
    ];
    for end in endings {
        let mut holder = settled(&device, "holder");
        good(&mut holder, &Cdb::reserve_6(), &[]);
        good(&mut holder, &Cdb::reserve_6(), &[]);
        for cdb in [Cdb::read_10(0, 1), Cdb::reserve_6(), Cdb::test_unit_ready()] {
            assert_eq!(run(&mut other, lun(0), &cdb, &[]).status, Status::ReservationConflict);
        }
        good(&mut other, &Cdb::release_6(), &[]); // not the holder: nothing happens
        good(&mut other, &Cdb::inquiry(96), &[]);
        assert!(device.logical_units().next().unwrap().reserved);
        good(&mut holder, &Cdb::read_10(0, 1), &[]);
        end(&mut holder);
        drop(holder);
        run(&mut other, lun(0), &Cdb::test_unit_ready(), &[]); // takes the reset's unit attention
        good(&mut other, &Cdb::read_10(0, 1), &[]);
    }
}

#[test]
fn a_conflict_is_told_before_a_unit_attention_and_leaves_it() {
    let device = device();
    let mut holder = settled(&device, "holder");
    good(&mut holder, &Cdb::reserve_6(), &[]);
    let mut fresh = device.connect("fresh");
    assert_eq!(run(&mut fresh, lun(0), &Cdb::read_10(0, 1), &[]).status, Status::ReservationConflict);
    // What does not conflict is told; forms of START STOP UNIT that stop nothing still do with RESERVE (SPC-2 table 9).
    good(&mut fresh, &Cdb::inquiry(96), &[]);
    assert_eq!(run(&mut fresh, lun(0), &Cdb::new(Operation::StartStopUnit), &[]).status, Status::ReservationConflict);
    good(&mut holder, &Cdb::release_6(), &[]);
    assert_eq!(attention(&mut fresh, lun(0)), AdditionalSense::POWER_ON_OR_RESET);
    good(&mut fresh, &Cdb::read_10(0, 1), &[]);
}

#[test]
fn a_reset_ends_the_tasks_of_all_nexuses_and_tells_them() {
    let device = device();
    let (mut one, mut two) = (settled(&device, "one"), settled(&device, "two"));
    let read = Cdb::read_16(1, 1);
    let Begin::Task(mut waiting) = one.begin(lun(0), read.as_bytes()) else { panic!() };
    let Begin::Task(mut running) = one.begin(lun(0), read.as_bytes()) else { panic!() };
    let Begin::Task(mut elsewhere) = one.begin(lun(300), read.as_bytes()) else { panic!() };
    assert!(matches!(one.start(&mut running, Segments::new()), Step::Io(_)));
    drop(two.logical_unit_reset(lun(0)).unwrap());
    assert!(matches!(one.start(&mut waiting, Segments::new()), Step::Aborted));
    let read = Ok(IoOutput::Data(Bytes::from(vec![0; 512])));
    assert!(matches!(one.resume(&mut running, read), Step::Aborted));
    assert!(matches!(one.start(&mut elsewhere, Segments::new()), Step::Io(_)));
    assert_eq!(attention(&mut one, lun(0)), AdditionalSense::BUS_DEVICE_RESET);
    assert_eq!(attention(&mut two, lun(0)), AdditionalSense::BUS_DEVICE_RESET);
    good(&mut one, &Cdb::test_unit_ready(), &[]);
    assert_eq!(two.logical_unit_reset(lun(9)).unwrap_err(), NoSuchLogicalUnit(lun(9)));
}

#[test]
fn the_task_set_of_one_nexus_is_not_that_of_another() {
    let device = device();
    let (mut one, mut two) = (settled(&device, "one"), settled(&device, "two"));
    let Begin::Task(mut task) = one.begin(lun(0), Cdb::read_10(0, 1).as_bytes()) else { panic!() };
    two.abort_task_set(lun(0)).unwrap();
    assert!(matches!(one.start(&mut task, Segments::new()), Step::Io(_)));
    good(&mut one, &Cdb::test_unit_ready(), &[]);
}

/// MODE SENSE of the current values, changed, and MODE SELECT of them, as an initiator does it.
fn select(nexus: &mut Nexus, save: bool, code: u8, byte: usize, mask: u8) {
    let data = good(nexus, &Cdb::mode_sense_6(0, code, 0, 255), &[]);
    let mut pages = ModeData::decode_6(&data).unwrap().pages;
    pages[0].body[byte - 2] ^= mask;
    let list = ModeData::select_list_6(&pages);
    good(nexus, &Cdb::mode_select_6(save, list.len() as u8), &list);
}

/// A unit whose mode parameters somebody keeps.
fn saving(config: LogicalUnitConfig) -> LogicalUnitConfig {
    LogicalUnitConfig { kept: Some(Kept::new()), ..config }
}

#[test]
fn mode_parameters_that_nobody_keeps_are_not_said_to_be_saved() {
    let mut nexus = settled(&device(), "one");
    let data = good(&mut nexus, &Cdb::mode_sense_6(0, 0x3f, 0, 255), &[]);
    let pages = ModeData::decode_6(&data).unwrap().pages;
    assert!(pages.iter().all(|page| !page.savable));
    let refused = sense(&mut nexus, &Cdb::mode_sense_6(3, 0x3f, 0, 255), &[]);
    assert_eq!(refused.additional, AdditionalSense::SAVING_PARAMETERS_NOT_SUPPORTED);
    let list = ModeData::select_list_10(&pages);
    let refused = sense(&mut nexus, &Cdb::mode_select_10(true, list.len() as u16), &list);
    assert_eq!(refused.field, Some(FieldPointer { in_cdb: true, byte: 1, bit: Some(0) }));
    good(&mut nexus, &Cdb::mode_select_10(false, list.len() as u16), &list);
}

#[test]
fn mode_parameters_are_applied_told_and_saved() {
    let device = Arc::new(TargetDevice::new([(lun(0), saving(config("zero")))]).unwrap());
    let (mut one, mut two) = (settled(&device, "one"), settled(&device, "two"));
    select(&mut one, false, mode::CONTROL, 4, 0x08); // SWP
    assert_eq!(attention(&mut two, lun(0)), AdditionalSense::MODE_PARAMETERS_CHANGED);
    let refused = sense(&mut two, &Cdb::write_10(0, 1), &[0; 512]);
    assert_eq!((refused.key, refused.additional), (SenseKey::DataProtect, AdditionalSense::SOFTWARE_WRITE_PROTECTED));
    assert!(ModeData::decode_6(&good(&mut one, &Cdb::mode_sense_6(0, 0x3f, 0, 255), &[])).unwrap().write_protected);
    good(&mut one, &Cdb::read_10(0, 1), &[]);

    select(&mut one, true, mode::CONTROL, 4, 0x08);
    select(&mut one, true, mode::CONTROL, 2, 0x04); // D_SENSE
    let outcome = run(&mut one, lun(0), &Cdb::inquiry_page(0xff, 255), &[]);
    assert_eq!(outcome.sense[0], 0x72);
    let saved = ModeSettings { descriptor_sense: true, ..ModeSettings::new(true) };
    assert_eq!(device.logical_units().next().unwrap().saved_settings, saved);

    select(&mut one, false, mode::CACHING, 2, 0x04); // WCE off
    let settings = |nexus: &mut Nexus, control| {
        let data = good(nexus, &Cdb::mode_sense_10(control, 0x3f, 0, 255), &[]);
        ModeSettings::default().updated_from(&ModeData::decode_10(&data).unwrap().pages)
    };
    assert!(!settings(&mut one, 0).write_cache);
    drop(one.logical_unit_reset(lun(0)).unwrap());
    assert_eq!(attention(&mut one, lun(0)), AdditionalSense::BUS_DEVICE_RESET);
    assert_eq!(settings(&mut one, 0), saved);
    assert_eq!(settings(&mut one, 2), ModeSettings::new(true));
}

#[test]
fn turning_the_write_cache_off_flushes_it() {
    let mut nexus = settled(&device(), "one");
    let list = [0, 0, 0, 0, 0x08, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let Begin::Task(mut task) = nexus.begin(lun(0), Cdb::mode_select_6(false, 24).as_bytes()) else { panic!() };
    let data = [Bytes::copy_from_slice(&list)].into_iter().collect();
    assert!(matches!(nexus.start(&mut task, data), Step::Io(BlockIo::Flush)));
}

#[test]
fn a_write_whose_data_comes_after_the_write_cache_was_turned_off_is_durable() {
    let mut nexus = settled(&device(), "one");
    let Begin::Task(mut write) = nexus.begin(lun(0), Cdb::write_16(0, 1).as_bytes()) else { panic!() };
    select(&mut nexus, false, 0x08, 2, 0x04);
    let data = [Bytes::from(vec![1; 512])].into_iter().collect();
    let Step::Io(BlockIo::Write { durable, .. }) = nexus.start(&mut write, data) else { panic!() };
    assert!(durable);
}

#[test]
fn a_stopped_unit_is_not_ready_until_started() {
    let mut nexus = settled(&device(), "one");
    let Begin::Task(mut task) = nexus.begin(lun(0), Cdb::start_stop_unit(false).as_bytes()) else { panic!() };
    assert!(matches!(nexus.start(&mut task, Segments::new()), Step::Io(BlockIo::Flush)));
    let refused = sense(&mut nexus, &Cdb::read_10(0, 1), &[]);
    assert_eq!(refused, Sense::new(SenseKey::NotReady, AdditionalSense::INITIALIZING_COMMAND_REQUIRED));
    good(&mut nexus, &Cdb::start_stop_unit(true), &[]);
    good(&mut nexus, &Cdb::read_10(0, 1), &[]);
}

#[test]
fn a_read_only_unit_refuses_every_write() {
    let config = LogicalUnitConfig { read_only: true, ..config("ro") };
    let device = Arc::new(TargetDevice::new([(lun(0), config)]).unwrap());
    let mut nexus = settled(&device, "one");
    for cdb in [Cdb::write_10(0, 1), Cdb::unmap(24), Cdb::write_zeroes_16(0, 1, true), Cdb::compare_and_write(0, 1)] {
        let refused = sense(&mut nexus, &cdb, &[]);
        assert_eq!(refused, Sense::new(SenseKey::DataProtect, AdditionalSense::WRITE_PROTECTED));
    }
}

#[test]
fn wrong_fields_are_pointed_at() {
    let mut nexus = settled(&device(), "one");
    let wrong = [
        (with(Cdb::read_10(0, 1), Field::Protect, 1), 1, 7),
        (with(Cdb::write_same_16(0, 1, true), Field::Anchor, 1), 1, 4),
        (with(Cdb::verify_16(0, 1, false), Field::ByteCheck, 2), 1, 2),
        (with(Cdb::write_and_verify_16(0, 1, false), Field::ByteCheck, 3), 1, 2),
        (Cdb::inquiry_page(0x42, 255), 2, 7),
        (with(Cdb::inquiry(255), Field::PageCode, 0x80), 2, 7),
        (Cdb::mode_sense_6(0, 0x15, 0, 255), 2, 5),
        (Cdb::mode_sense_6(0, 0x08, 7, 255), 3, 7),
        (Cdb::report_luns(0x55, 255), 2, 7),
        (with(Cdb::start_stop_unit(true), Field::LoadEject, 1), 4, 1),
        (Cdb::read_16(0, 1 << 20), 10, 7),
    ];
    for (cdb, byte, bit) in wrong {
        let expected = Some(FieldPointer { in_cdb: true, byte, bit: Some(bit) });
        let sense = sense(&mut nexus, &cdb, &[]);
        assert_eq!((sense.additional, sense.field), (AdditionalSense::INVALID_FIELD_IN_CDB, expected), "{cdb:?}");
    }
}

#[test]
fn bytes_that_are_no_command_are_refused() {
    let mut nexus = settled(&device(), "one");
    let mut additional = |cdb: &[u8]| {
        let Begin::Done(outcome) = nexus.begin(lun(0), cdb) else { panic!() };
        Sense::decode(&outcome.sense).unwrap().additional
    };
    assert_eq!(additional(&[0xff; 16]), AdditionalSense::INVALID_COMMAND_OPERATION_CODE);
    assert_eq!(additional(&[0x9e, 0x1f, 0, 0, 0, 0]), AdditionalSense::INVALID_FIELD_IN_CDB);
    assert_eq!(additional(&[0x28, 0, 0]), AdditionalSense::INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT);
}

#[test]
fn the_end_of_the_medium_is_the_end() {
    let mut nexus = settled(&device(), "one");
    let end = 1u64 << 33;
    good(&mut nexus, &Cdb::read_16(end - 1, 1), &[]);
    good(&mut nexus, &Cdb::read_16(end, 0), &[]);
    for (lba, blocks) in [(end, 1), (end + 1, 0), (end - 1, 2), (u64::MAX, 1), (u64::MAX, u32::MAX)] {
        let refused = sense(&mut nexus, &Cdb::read_16(lba, blocks), &[]);
        assert_eq!(refused.additional, AdditionalSense::LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
    }
}

#[test]
fn allocation_lengths_hold_to_the_byte() {
    let mut nexus = settled(&device(), "one");
    for length in [0u8, 1, 5, 36, 95, 96, 97, 255] {
        let whole = good(&mut nexus, &Cdb::inquiry(255), &[]);
        let cut = good(&mut nexus, &Cdb::inquiry(length.into()), &[]);
        assert_eq!(cut, whole[..whole.len().min(length.into())]);
        let whole = good(&mut nexus, &Cdb::mode_sense_6(0, 0x3f, 0, 255), &[]);
        let cut = good(&mut nexus, &Cdb::mode_sense_6(0, 0x3f, 0, length), &[]);
        assert_eq!(cut, whole[..whole.len().min(length.into())]);
    }
}

#[test]
fn a_unit_says_who_it_is() {
    let mut config = config("disk 7");
    config.identity.transport_version = Some(0x0960);
    config.identity.designators = vec![Designator::scsi_name(Association::TargetDevice, Some(5), "iqn.2026-01.d")];
    let device = Arc::new(TargetDevice::new([(lun(0), config)]).unwrap());
    let mut nexus = device.connect("one");
    let mut page = |code| good(&mut nexus, &Cdb::inquiry_page(code, 255), &[]);
    assert_eq!(
        SupportedPages::decode(&page(0)).unwrap().0,
        [0, 0x80, 0x83, 0x85, 0x86, 0x87, 0x88, 0x8f, 0xb0, 0xb1, 0xb2, 0xb3]
    );
    assert_eq!(UnitSerialNumber::decode(&page(0x80)).unwrap().0, "disk 7");
    let names = DeviceIdentification::decode(&page(0x83)).unwrap().0;
    let kinds: Vec<u8> = names.iter().map(|name| name.kind).collect();
    let of_port = [Designator::RELATIVE_TARGET_PORT, Designator::TARGET_PORT_GROUP];
    assert_eq!(kinds, [&[Designator::NAA, Designator::T10_VENDOR, Designator::SCSI_NAME][..], &of_port].concat());
    assert_eq!(names[2].to_string(), "iqn.2026-01.d");
    let limits = BlockLimits::decode(&page(0xb0)).unwrap();
    assert_eq!((limits.transfer_max, limits.unmap_descriptors_max), (16384, 256));
    assert_eq!(BlockDeviceCharacteristics::decode(&page(0xb1)).unwrap().rotation_rate, 1);
    assert!(LogicalBlockProvisioning::decode(&page(0xb2)).unwrap().unmap);
    let standard = StandardInquiry::decode(&good(&mut nexus, &Cdb::inquiry(96), &[])).unwrap();
    assert_eq!((&standard.vendor[..], standard.version), ("FERRISCS", 6));
    assert_eq!(standard.version_descriptors, [0x00a0, 0x0460, 0x04c0, 0x0960]);
}

#[test]
fn capacity_and_units_are_told() {
    let mut nexus = settled(&device(), "one");
    let capacity = Capacity10::decode(&good(&mut nexus, &Cdb::read_capacity_10(), &[])).unwrap();
    assert_eq!(capacity, Capacity10 { last_lba: u32::MAX, block_size: 512 });
    let capacity = Capacity16::decode(&good(&mut nexus, &Cdb::read_capacity_16(32), &[])).unwrap();
    assert_eq!((capacity.last_lba, capacity.provisioning), ((1 << 33) - 1, true));
    let units = UnitList::decode(&good(&mut nexus, &Cdb::report_luns(0, 4096), &[])).unwrap();
    assert_eq!(units.0, [lun(0), lun(300)]);
}

#[test]
fn a_lun_without_a_unit_says_so() {
    let mut nexus = settled(&device(), "one");
    let outcome = run(&mut nexus, lun(5), &Cdb::inquiry(96), &[]);
    assert_eq!(outcome.data_in[0], 0x7f);
    assert_eq!(run(&mut nexus, lun(5), &Cdb::report_luns(0, 96), &[]).data_in.len(), 24);
    let data = run(&mut nexus, lun(5), &Cdb::request_sense(false, 18), &[]).data_in;
    assert_eq!(Sense::decode(&data).unwrap().additional, AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED);
    let outcome = run(&mut nexus, lun(5), &Cdb::read_10(0, 1), &[]);
    assert_eq!(Sense::decode(&outcome.sense).unwrap(), Sense::illegal(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED));
}

#[test]
fn every_supported_command_is_reported_in_each_way() {
    let mut nexus = settled(&device(), "one");
    let all = good(&mut nexus, &Cdb::report_supported_operation_codes(true, 4096), &[]);
    let listed = SupportedCommand::decode_list(&all).unwrap();
    let key = |row: &CommandDescriptor| (row.opcode, row.service_action.map(u16::from));
    for row in COMMANDS.iter().filter(|row| !row.rules.contains(Rules::OPTIONAL)) {
        assert!(listed.iter().any(|command| (command.opcode, command.service_action) == key(row)), "{}", row.name);
    }
    for command in &listed {
        let row = COMMANDS.iter().find(|row| (command.opcode, command.service_action) == key(row)).unwrap();
        assert_eq!(command.length, row.length.into());
        let one = with(Cdb::report_supported_operation_codes(false, 255), Field::ReportingOptions, 3);
        let one = with(one, Field::RequestedOperationCode, command.opcode.into());
        let one = with(one, Field::RequestedServiceAction, command.service_action.unwrap_or(0).into());
        let data = good(&mut nexus, &one, &[]);
        assert_eq!(data[1..4], [3, 0, row.length]);
        assert_eq!(data[4..], row.usage());
        let right = if command.service_action.is_some() { 2 } else { 1 };
        good(&mut nexus, &with(one, Field::ReportingOptions, right), &[]);
        let wrong = with(one, Field::ReportingOptions, 3 - right);
        assert_eq!(sense(&mut nexus, &wrong, &[]).additional, AdditionalSense::INVALID_FIELD_IN_CDB);
    }
}

#[test]
fn a_fully_provisioned_unit_does_not_know_unmap() {
    let config = LogicalUnitConfig { thin: false, ..config("thick") };
    let device = Arc::new(TargetDevice::new([(lun(0), config)]).unwrap());
    let mut nexus = settled(&device, "one");
    let refused = sense(&mut nexus, &Cdb::unmap(24), &[]);
    assert_eq!(refused.additional, AdditionalSense::INVALID_COMMAND_OPERATION_CODE);
    assert_eq!(sense(&mut nexus, &Cdb::write_zeroes_16(0, 1, true), &[]).field.unwrap().bit, Some(3));
    let all = good(&mut nexus, &Cdb::report_supported_operation_codes(false, 4096), &[]);
    let listed = SupportedCommand::decode_list(&all).unwrap();
    assert!(!listed.iter().any(|command| command.opcode == Operation::Unmap.descriptor().opcode));
}

#[test]
fn what_the_transport_announces_must_fit_where_it_matters() {
    let mut nexus = settled(&device(), "one");
    for (cdb, right) in [(Cdb::compare_and_write(0, 1), 1024), (Cdb::write_same_16(0, 9, false), 512)] {
        for (announced, accepted) in
            [(None, true), (Some(right), true), (Some(right - 512), false), (Some(4096), false)]
        {
            let begun = nexus.begin_command(&Command { announced, ..Command::new(lun(0), cdb.as_bytes()) });
            assert_eq!(matches!(begun, Begin::Task(_)), accepted, "{cdb:?} {announced:?}");
        }
    }
}

#[test]
fn wrong_unmap_lists_change_nothing() {
    let mut nexus = settled(&device(), "one");
    let extent = |lba: u64, blocks: u32| [&lba.to_be_bytes()[..], &blocks.to_be_bytes(), &[0; 4]].concat();
    let list = |extents: &[Vec<u8>]| {
        let bytes = (extents.len() * 16) as u16;
        [&(bytes + 6).to_be_bytes()[..], &bytes.to_be_bytes(), &[0; 4], &extents.concat()].concat()
    };
    let mut additional = |list: &[u8]| sense(&mut nexus, &Cdb::unmap(list.len() as u16), list).additional;
    let out_of_range = list(&[extent(0, 1), extent(1 << 33, 1)]);
    assert_eq!(additional(&out_of_range), AdditionalSense::LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
    let too_many_blocks = list(&[extent(0, 1 << 20), extent(0, 1)]);
    assert_eq!(additional(&too_many_blocks), AdditionalSense::INVALID_FIELD_IN_PARAMETER_LIST);
    let too_many = list(&vec![extent(0, 0); 257]);
    assert_eq!(additional(&too_many), AdditionalSense::INVALID_FIELD_IN_PARAMETER_LIST);
    assert_eq!(additional(&list(&[extent(0, 1)])[..20]), AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
}
