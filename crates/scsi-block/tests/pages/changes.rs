//! Units that come, go, grow and shrink while nexuses use the device.

use std::sync::Arc;

use bytes::Bytes;
use scsi_block::cdb::Cdb;
use scsi_block::parameters::{Capacity16, UnitList};
use scsi_block::sense::{AdditionalSense, Sense, SenseKey};
use scsi_block::*;

use crate::harness::*;

fn on(nexus: &mut Nexus, number: u16, cdb: &Cdb) -> Outcome {
    run(nexus, &Command::new(lun(number), cdb.as_bytes()), &[])
}

fn told(nexus: &mut Nexus, number: u16) -> AdditionalSense {
    let sense = Sense::decode(&on(nexus, number, &Cdb::test_unit_ready()).sense).unwrap();
    assert_eq!(sense.key, SenseKey::UnitAttention);
    sense.additional
}

#[test]
fn a_unit_that_comes_is_found_and_told_of() {
    let device = device([config("a")]);
    let (mut one, mut two) = (settled(&device, "one"), settled(&device, "two"));
    assert_eq!(device.add(lun(7), config("b")), Ok(1));
    assert_eq!(told(&mut one, 0), AdditionalSense::REPORTED_LUNS_DATA_HAS_CHANGED);
    assert_eq!(told(&mut one, 7), AdditionalSense::POWER_ON_OR_RESET);
    assert_eq!(on(&mut one, 7, &Cdb::read_10(0, 1)).status, Status::Good);
    // Who reads the list knows it.
    let units = UnitList::decode(&good(&mut two, &Cdb::report_luns(0, 64), &[])).unwrap().0;
    assert_eq!(units, [lun(0), lun(7)]);
    good(&mut two, &Cdb::test_unit_ready(), &[]);
    assert_eq!(device.add(lun(7), config("c")), Err(ConfigError::Duplicate(lun(7))));
    assert_eq!(device.add(lun(8), config("b")), Err(ConfigError::DuplicateSerial("b".into())));
    assert!(device.add(LogicalUnitNumber::WELL_KNOWN_REPORT_LUNS, config("c")).is_err());
}

#[test]
fn a_unit_that_goes_ends_what_is_in_its_store_and_takes_no_more() {
    let device = device([config("a"), config("b")]);
    let mut nexus = settled(&device, "one");
    let read = Cdb::read_10(0, 1);
    let Begin::Task(mut running) = nexus.begin(lun(1), read.as_bytes()) else { panic!() };
    assert!(matches!(nexus.start(&mut running, Segments::new()), Step::Io(_)));
    assert_eq!(device.remove(lun(1)), Ok(1));
    assert_eq!(device.remove(lun(1)), Err(NoSuchLogicalUnit(lun(1))));
    assert_eq!(device.resize(1, 8), Ok(()), "nothing happens");
    let refused = Sense::decode(&on(&mut nexus, 1, &read).sense).unwrap();
    assert_eq!(refused, Sense::illegal(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED));
    assert_eq!(told(&mut nexus, 0), AdditionalSense::REPORTED_LUNS_DATA_HAS_CHANGED);
    let read = Ok(IoOutput::Data(Bytes::from(vec![0; 512])));
    let Step::Done(outcome) = nexus.resume(&mut running, read) else { panic!() };
    assert_eq!(outcome.status, Status::Good);
    assert_eq!(device.logical_units().map(|unit| unit.index).collect::<Vec<_>>(), [0]);
    // Its number is free, its place is not.
    assert_eq!(device.add(lun(1), config("b")), Ok(2));
    assert_eq!(told(&mut nexus, 1), AdditionalSense::POWER_ON_OR_RESET);
    assert_eq!(device.find(lun(1)), Some(2));
}

#[test]
fn a_unit_that_goes_while_it_is_wiped_is_wiped_no_more() {
    let device = device([config("a"), config("b")]);
    let mut nexus = settled(&device, "one");
    assert_eq!(device.poll_upkeep(), None);
    assert_eq!(on(&mut nexus, 1, &Cdb::sanitize_block_erase(true)).status, Status::Good);
    let (unit, _) = device.poll_upkeep().unwrap();
    assert_eq!((unit, device.poll_upkeep()), (1, None));
    device.remove(lun(1)).unwrap();
    device.handle_upkeep_done(1, Ok(IoOutput::Done));
    assert_eq!(device.poll_upkeep(), None);
}

#[test]
fn a_unit_grows_and_shrinks_and_everybody_is_told() {
    let device = device([config("a")]);
    let (mut one, mut two) = (settled(&device, "one"), settled(&device, "two"));
    let end = 1u64 << 20;
    let capacity =
        |nexus: &mut Nexus| Capacity16::decode(&good(nexus, &Cdb::read_capacity_16(32), &[])).unwrap().last_lba + 1;
    assert_eq!(on(&mut one, 0, &Cdb::read_16(end, 1)).status, Status::CheckCondition);
    for blocks in [2 * end, end / 2] {
        device.resize(0, blocks).unwrap();
        for nexus in [&mut one, &mut two] {
            assert_eq!(told(nexus, 0), AdditionalSense::CAPACITY_DATA_HAS_CHANGED);
            assert_eq!(capacity(nexus), blocks);
        }
        good(&mut one, &Cdb::read_16(blocks - 1, 1), &[]);
        let refused = sense(&mut one, &Cdb::read_16(blocks, 1), &[]);
        assert_eq!(refused.additional, AdditionalSense::LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
    }
    assert_eq!(device.resize(0, 0), Err(ConfigError::Blocks(0)));
    assert_eq!(device.logical_units().next().unwrap().config.geometry.blocks, end / 2);
}

#[test]
fn units_come_and_go_while_cores_use_them() {
    let device = device([config("a")]);
    let work = |device: &Arc<TargetDevice>| {
        let mut nexus = device.connect("core");
        let mut done = 0;
        while done < 2000 {
            for number in [0, 1] {
                let outcome = on(&mut nexus, number, &Cdb::read_10(0, 1));
                done += u32::from(number == 0 && outcome.status == Status::Good);
                if let Ok(sense) = Sense::decode(&outcome.sense) {
                    assert!(matches!(sense.key, SenseKey::UnitAttention | SenseKey::IllegalRequest), "{sense}");
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3).map(|_| scope.spawn(|| work(&device))).collect();
        while !workers.iter().all(|worker| worker.is_finished()) {
            device.add(lun(1), config("b")).unwrap();
            device.resize(0, 1 << 21).unwrap();
            device.remove(lun(1)).unwrap();
            std::thread::yield_now();
        }
    });
}
