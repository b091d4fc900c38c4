//! What an initiator may see and do: units that are not there for it, and units that it may only read.

use std::sync::Arc;

use scsi_block::cdb::Cdb;
use scsi_block::opcodes::COMMANDS;
use scsi_block::parameters::UnitList;
use scsi_block::sense::{AdditionalSense, Sense, SenseKey};
use scsi_block::*;

fn lun(number: u16) -> LogicalUnitNumber {
    LogicalUnitNumber::from(number)
}

fn device() -> Arc<TargetDevice> {
    let config = |number: u16| {
        let geometry = Geometry { block_size: 512, blocks: 1 << 20 };
        let token_secret = Some(copy::TokenSecret::new([1; 32]));
        (lun(number), LogicalUnitConfig { token_secret, ..LogicalUnitConfig::new(geometry, format!("unit-{number}")) })
    };
    Arc::new(TargetDevice::new((0..3).map(config)).unwrap())
}

/// Unit 0 may be read, unit 1 be written, and unit 2 is not there.
fn rights() -> Rights {
    Rights::of([UnitRight { units: 0..=0, write: false }, UnitRight { units: 0..=1, write: true }])
}

/// A nexus with those rights that has taken its first unit attentions.
fn settled(device: &Arc<TargetDevice>) -> Nexus {
    let mut nexus = device.connect_with("iqn.a:limited", rights());
    for number in 0..3 {
        begin(&mut nexus, number, &Cdb::test_unit_ready());
    }
    nexus
}

/// The sense that a command ends with before anything is done; none if something is to be done, or it was GOOD.
fn begin(nexus: &mut Nexus, number: u16, cdb: &Cdb) -> Option<Sense> {
    match nexus.begin(lun(number), cdb.as_bytes()) {
        Begin::Done(outcome) => Sense::decode(&outcome.sense).ok(),
        Begin::Task(task) => {
            nexus.forget(task);
            None
        }
    }
}

fn data(nexus: &mut Nexus, number: u16, cdb: &Cdb) -> bytes::Bytes {
    match nexus.begin(lun(number), cdb.as_bytes()) {
        Begin::Done(outcome) if outcome.status == Status::Good => outcome.data_in,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_unit_without_right_is_not_there() {
    let device = device();
    let mut nexus = settled(&device);
    for asked in [0, 1, 2] {
        let list = UnitList::decode(&data(&mut nexus, asked, &Cdb::report_luns(0, 256))).unwrap();
        assert_eq!(list.0, [lun(0), lun(1)], "asked of {asked}");
    }
    let unsupported = Some(Sense::illegal(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED));
    for cdb in [Cdb::test_unit_ready(), Cdb::read_10(0, 1), Cdb::write_10(0, 1)] {
        assert_eq!(begin(&mut nexus, 2, &cdb), unsupported, "{cdb:?}");
    }
    assert_eq!(data(&mut nexus, 2, &Cdb::inquiry(36))[0], 0x7f);
    assert!(nexus.logical_unit_reset(lun(2)).is_err());
    assert!(nexus.abort_task_set(lun(2)).is_err());
    assert!(nexus.clear_allegiance(lun(2)).is_err());
    assert!(nexus.asynchronous_event(lun(2)).is_err());
    assert!(nexus.logical_unit_reset(lun(1)).is_ok());
}

#[test]
fn a_unit_that_comes_later_is_seen_by_those_with_a_right() {
    let device = device();
    let mut nexus = device.connect_with("iqn.a:limited", Rights::of([UnitRight { units: 3..=7, write: true }]));
    assert_eq!(data(&mut nexus, 0, &Cdb::report_luns(0, 256)).len(), 8);
    for number in [4, 9] {
        let geometry = Geometry { block_size: 512, blocks: 8 };
        device.add(lun(number), LogicalUnitConfig::new(geometry, format!("unit-{number}"))).unwrap();
    }
    let list = UnitList::decode(&data(&mut nexus, 0, &Cdb::report_luns(0, 256))).unwrap();
    assert_eq!(list.0, [lun(4)]);
    assert_eq!(begin(&mut nexus, 4, &Cdb::test_unit_ready()).unwrap().key, SenseKey::UnitAttention);
    assert_eq!(begin(&mut nexus, 4, &Cdb::write_10(0, 1)), None);
}

/// Beginnings of the names of commands that change the unit, or what others find there.
const CHANGES: &[&str] = &[
    "WRITE",
    "ORWRITE",
    "COMPARE AND WRITE",
    "UNMAP",
    "FORMAT UNIT",
    "SANITIZE",
    "START STOP UNIT",
    "MODE SELECT",
    "LOG SELECT",
    "RESERVE (",
    "RELEASE (",
    "PERSISTENT RESERVE OUT",
    "SET T",
];

#[test]
fn what_changes_a_unit_is_refused_to_those_who_may_read() {
    let device = device();
    let mut nexus = settled(&device);
    let protected = Some(Sense::new(SenseKey::DataProtect, AdditionalSense::WRITE_PROTECTED));
    for row in COMMANDS {
        let cdb = Cdb::new(row.operation);
        let is_refused = begin(&mut nexus, 0, &cdb) == protected;
        assert_eq!(is_refused, CHANGES.iter().any(|name| row.name.starts_with(name)), "{}", row.name);
        assert_ne!(begin(&mut nexus, 1, &cdb), protected, "{} where it may be written", row.name);
    }
    for cdb in [Cdb::start_stop_unit(true), Cdb::prevent_allow_medium_removal(true)] {
        assert_eq!(begin(&mut nexus, 0, &cdb), protected, "{cdb:?}");
    }
}

#[test]
fn the_right_to_read_is_told_as_write_protection_to_its_nexus_alone() {
    let device = device();
    let (mut limited, mut other) = (settled(&device), device.connect("iqn.a:other"));
    assert_eq!(begin(&mut other, 0, &Cdb::test_unit_ready()).unwrap().key, SenseKey::UnitAttention);
    let is_protected =
        |nexus: &mut Nexus, number| data(nexus, number, &Cdb::mode_sense_6(0, 0x3f, 0, 192))[2] & 0x80 != 0;
    assert!(is_protected(&mut limited, 0));
    assert!(!is_protected(&mut limited, 1));
    assert!(!is_protected(&mut other, 0));
    assert_eq!(begin(&mut limited, 0, &Cdb::read_10(0, 1)), None);
    assert_eq!(begin(&mut other, 0, &Cdb::write_10(0, 1)), None);
}
