//! Reservations that outlive a loss of power: kept, damaged, lost and replaced.

use std::sync::Arc;

use crate::*;
use bytes::Bytes;
use scsi_block::cdb::Cdb;
use scsi_block::opcodes::{COMMANDS, Operation};
use scsi_block::reservations::*;
use scsi_block::sense::{AdditionalSense, Sense, SenseKey};
use scsi_block::*;

use ReservationType::*;

#[test]
fn what_outlives_a_loss_of_power_is_kept_before_the_answer() {
    let device = device_that_keeps(Some(Kept::new()));
    let [mut one, mut two] = ["one", "two"].map(|name| Host::new(&device, name));
    two.register(2);
    assert!(two.kept.is_empty(), "nobody has asked for it");
    assert!(one.capabilities().can_persist && !one.capabilities().persists);
    let persist = OutList { persist: true, ..keys(0, 1) };
    assert_eq!(one.out(OutAction::Register, None, &persist).status, Status::Good);
    assert!(one.capabilities().persists);
    for kind in ReservationType::ALL {
        one.good(OutAction::Reserve, Some(kind), 1, 0);
        let last = one.kept.last().unwrap();
        assert_eq!((last.name, last.version), ("reservations", one.kept.len() as u64));
        let again = device_that_keeps(Some([(last.name.to_owned(), last.content.clone())].into_iter().collect()));
        let mut after = Host::new(&again, "two");
        assert_eq!(after.current(), one.current());
        assert_eq!(after.keys(), Keys { generation: 0, ..one.keys() });
        assert!(after.capabilities().persists);
        one.good(OutAction::Release, Some(kind), 1, 0);
    }
    one.good(OutAction::Register, None, 1, 1);
    let last = one.kept.last().unwrap().content.clone();
    let again = device_that_keeps(Some([("reservations".to_owned(), last)].into_iter().collect()));
    assert_eq!(Host::new(&again, "one").keys().keys, [], "who turns it off leaves nothing");
    let count = one.kept.len();
    one.good(OutAction::Clear, None, 1, 0);
    assert_eq!(one.kept.len(), count);
}

#[test]
fn what_was_kept_and_is_damaged_makes_no_device() {
    let config = LogicalUnitConfig::new(Geometry { block_size: 512, blocks: 8 }, "serial");
    for damaged in [&b"\x02"[..], b"\x01\x01", b"\x01\x01\0\0", b"\x01\x09\0\0", b"\x01\0\0\0\0\0\0\0"] {
        let kept = [("reservations".to_owned(), Bytes::copy_from_slice(damaged))].into_iter().collect();
        let config = LogicalUnitConfig { kept: Some(kept), ..config.clone() };
        let error = TargetDevice::new([(LUN, config)]).unwrap_err();
        assert!(matches!(error, ConfigError::Kept { .. }), "{damaged:?}: {error}");
    }
}

/// A device that finds the record of its reservations damaged.
fn device_that_has_lost() -> Arc<TargetDevice> {
    let record = in_place_of_damaged("reservations").expect("reservations can be replaced");
    device_that_keeps(Some([("reservations".to_owned(), record)].into()))
}

const LOST: AdditionalSense = AdditionalSense::PERSISTENT_RESERVATION_INFORMATION_LOST;

/// SPC-4 5.13.5.2 and 5.13.5.3.2, by hand: what is carried out while it is not known who has reserved the unit.
#[test]
fn nearly_nothing_is_carried_out_while_reservations_are_lost() {
    let device = device_that_has_lost();
    let mut nexus = device.connect("one");
    let begin = |nexus: &mut Nexus, cdb: &Cdb| match nexus.begin(LUN, cdb.as_bytes()) {
        Begin::Done(outcome) => Sense::decode(&outcome.sense).ok(),
        Begin::Task(task) => {
            nexus.forget(task);
            None
        }
    };
    let first = begin(&mut nexus, &Cdb::test_unit_ready()).unwrap();
    assert_eq!(first.additional, AdditionalSense::POWER_ON_OR_RESET);
    use Operation as Op;
    for row in COMMANDS {
        let allowed = [
            Op::Inquiry,
            Op::LogSense,
            Op::ReportLuns,
            Op::ReportTargetPortGroups,
            Op::RequestSense,
            Op::PersistReplaceLostReservation,
        ];
        let sense = begin(&mut nexus, &Cdb::new(row.operation));
        let is_refused = sense.is_some_and(|sense| sense == Sense::new(SenseKey::DataProtect, LOST));
        assert_eq!(is_refused, !allowed.contains(&row.operation), "{}", row.name);
    }
    assert_eq!(begin(&mut nexus, &Cdb::start_stop_unit(true)), None);
    assert_eq!(begin(&mut nexus, &Cdb::start_stop_unit(false)).unwrap().additional, LOST);
    let _ = nexus.logical_unit_reset(LUN).unwrap();
    drop(nexus);
    let mut again = Host::new(&device, "one");
    assert_eq!(refusal(&again.run(&Cdb::read_10(0, 1), &[])).additional, LOST, "no reset ends it");
    assert_eq!(again.kept.len(), 0, "the damaged record stays");
}

#[test]
fn lost_reservations_are_replaced_by_one_and_keep_others_out() {
    let replace = OutAction::ReplaceLostReservation;
    for (kind, persist) in ReservationType::ALL.into_iter().zip([false, true].into_iter().cycle()) {
        let device = device_that_has_lost();
        let [mut one, mut two] = ["one", "two"].map(|name| {
            let mut nexus = device.connect(name);
            nexus.begin(LUN, Cdb::test_unit_ready().as_bytes());
            Host { nexus, kept: Vec::new() }
        });
        let list = OutList { action_key: 7, persist, ..OutList::default() };
        let wrong = [
            (OutList { key: 7, ..list.clone() }, Sense::invalid_parameter(0, None)),
            (OutList { action_key: 0, ..list.clone() }, Sense::invalid_parameter(8, None)),
            (OutList { all_target_ports: true, ..list.clone() }, Sense::invalid_parameter(20, Some(2))),
            (OutList { initiator_ports: Some(Vec::new()), ..list.clone() }, Sense::invalid_parameter(20, Some(3))),
        ];
        for (list, sense) in wrong {
            assert_eq!(refusal(&one.out(replace, Some(kind), &list)), sense);
        }
        assert_eq!(refusal(&one.out(replace, None, &list)).field.unwrap().byte, 2, "a type is needed");
        assert_eq!(refusal(&one.run(&Cdb::read_10(0, 1), &[])).additional, LOST);
        assert!(one.kept.is_empty());

        assert_eq!(one.out(replace, Some(kind), &list).status, Status::Good);
        assert_eq!(one.keys(), Keys { generation: 0, keys: vec![7] });
        let holder = if kind.is_of_all_registrants() { 0 } else { 7 };
        assert_eq!(one.current(), Some((holder, kind)));
        assert_eq!(one.run(&Cdb::write_10(0, 1), &[0; 512]).status, Status::Good);
        assert_eq!(two.run(&Cdb::write_10(0, 1), &[0; 512]).status, Status::ReservationConflict);
        let second = refusal(&two.out(replace, Some(kind), &list));
        assert_eq!(second, Sense::illegal(AdditionalSense::INVALID_RELEASE_OF_PERSISTENT_RESERVATION));

        let [record] = &one.kept[..] else { panic!("what was damaged is replaced where it is kept") };
        let after = device_that_keeps(Some([(record.name.to_owned(), record.content.clone())].into()));
        assert_eq!(Host::new(&after, "two").current(), persist.then_some((holder, kind)));
    }
}

#[test]
fn nothing_is_replaced_where_nothing_is_lost() {
    let device = device_that_keeps(Some(Kept::new()));
    let mut one = Host::new(&device, "one");
    assert!(one.capabilities().replaces_lost);
    let list = OutList { action_key: 7, ..OutList::default() };
    let sense = refusal(&one.out(OutAction::ReplaceLostReservation, Some(WriteExclusive), &list));
    assert_eq!(sense, Sense::illegal(AdditionalSense::INVALID_RELEASE_OF_PERSISTENT_RESERVATION));
    assert_eq!((one.keys().keys, one.kept.len()), (vec![], 0));
}

#[test]
fn a_record_that_cannot_be_kept_is_told() {
    let device = device_that_keeps(Some(Kept::new()));
    let mut one = Host::new(&device, "one");
    let list = OutList { persist: true, ..keys(0, 1) }.encode();
    let Begin::Task(mut task) = one.nexus.begin(LUN, Cdb::persist_out(OutAction::Register, None, 24).as_bytes()) else {
        panic!()
    };
    let Step::Io(BlockIo::Keep(_)) = one.nexus.start(&mut task, Segments::from_iter([Bytes::from(list)])) else {
        panic!()
    };
    let Step::Done(outcome) = one.nexus.resume(&mut task, Err(IoError::Write)) else { panic!() };
    assert_eq!(refusal(&outcome).additional, AdditionalSense::INTERNAL_TARGET_FAILURE);
}

/// Whoever asks again is not told GOOD by what holds already, as nobody knows that it is kept.
#[test]
fn what_is_asked_for_again_is_kept_again() {
    let device = device_that_keeps(Some(Kept::new()));
    let mut one = Host::new(&device, "one");
    one.out(OutAction::Register, None, &OutList { persist: true, ..keys(0, 1) });
    for action in [OutAction::Reserve, OutAction::Release] {
        one.good(action, Some(ReservationType::WriteExclusive), 1, 0);
        let first = one.kept.last().unwrap().clone();
        one.good(action, Some(ReservationType::WriteExclusive), 1, 0);
        let again = one.kept.last().unwrap();
        assert_eq!((again.version, &again.content), (first.version + 1, &first.content), "{action:?}");
    }
}
