//! REPORT TARGET PORT GROUPS and SET TARGET PORT GROUPS, changes by the owner, and what is kept of them.

use scsi_block::access::{GroupReport, SetAccessList};
use scsi_block::opcodes::Field;
use scsi_block::sense::{AdditionalSense, FieldPointer, Sense, SenseKey};

use super::*;

const CHANGED: AdditionalSense = AdditionalSense::ASYMMETRIC_ACCESS_STATE_CHANGED;

fn set(nexus: &mut Nexus, changes: &[(u16, AccessState)]) {
    let list = SetAccessList(changes.to_vec()).encode();
    good(nexus, &Cdb::set_target_port_groups(list.len() as u32), &list);
}

fn refused(nexus: &mut Nexus, list: &[u8]) -> Sense {
    sense(nexus, &Cdb::set_target_port_groups(list.len() as u32), list)
}

fn no_attention(nexus: &mut Nexus) {
    good(nexus, &Cdb::test_unit_ready(), &[]);
}

#[test]
fn groups_are_told_as_they_are() {
    let mut nexus = settled_through(&device_of([config("a")]), 1, "iqn.a:h");
    let group = |group, preferred, ports: &[u16]| GroupReport {
        group,
        preferred,
        state: 0,
        supported: 0x8f,
        status: 0,
        ports: ports.to_vec(),
    };
    assert_eq!(report(&mut nexus).groups, [group(10, true, &[1, 2]), group(20, false, &[3])]);
    let extended = good(&mut nexus, &Cdb::report_target_port_groups(true, 4096), &[]);
    assert_eq!(extended[..8], [0, 0, 0, 32, 0x10, 0, 0, 0]);
    assert_eq!(AccessReport::decode(&extended).unwrap(), report(&mut nexus));
    assert_eq!(good(&mut nexus, &Cdb::report_target_port_groups(true, 11), &[]).len(), 11);
    let other = Cdb::report_target_port_groups(false, 4096).try_with(Field::ParameterDataFormat, 2).unwrap();
    assert_eq!(sense(&mut nexus, &other, &[]).field, Some(FieldPointer { in_cdb: true, byte: 1, bit: Some(7) }));
}

#[test]
fn who_sets_a_state_is_not_told_and_all_others_are() {
    let device = device_of([config("a"), config("b")]);
    let mut nexuses = [1, 1, 2, 3].map(|port| settled_through(&device, port, &format!("iqn.a:{port}")));
    set(&mut nexuses[0], &[(20, AccessState::Standby), (10, AccessState::ActiveNonOptimized)]);
    let [own, others @ ..] = &mut nexuses;
    assert_eq!(states(own), [1, 2]);
    assert_eq!(report(own).groups.iter().map(|group| group.status).collect::<Vec<_>>(), [1, 1]);
    for other in others.iter_mut() {
        let sense = sense(other, &Cdb::report_target_port_groups(false, 64), &[]);
        assert_eq!((sense.key, sense.additional), (SenseKey::UnitAttention, CHANGED));
        assert_eq!(states(other), [1, 2]);
    }
    set(own, &[(20, AccessState::Standby)]);
    no_attention(&mut others[0]);
    // The other unit is as it was.
    let outcome = run(own, &Command::new(lun(1), Cdb::report_target_port_groups(false, 64).as_bytes()), &[]);
    assert!(AccessReport::decode(&outcome.data_in).unwrap().groups.iter().all(|group| group.state == 0));
}

#[test]
fn a_list_that_is_wrong_anywhere_changes_nothing() {
    let device = device_of([config("a")]);
    let (mut own, mut other) = (settled_through(&device, 1, "iqn.a:h"), settled_through(&device, 3, "iqn.a:h"));
    let at = |byte, bit| Some(FieldPointer { in_cdb: false, byte, bit });
    let standby = [2, 0, 0, 10];
    for (second, field) in [
        ([2, 0, 0, 11], at(10, None)),
        ([1, 0, 0, 10], at(10, None)),
        ([4, 0, 0, 20], at(8, Some(3))),
        ([0xe, 0, 0, 3], at(8, Some(3))),
        ([0xf, 0, 0, 20], at(8, Some(3))),
    ] {
        let sense = refused(&mut own, &[[0; 4], standby, second].concat());
        assert_eq!((sense.additional, sense.field), (AdditionalSense::INVALID_FIELD_IN_PARAMETER_LIST, field));
    }
    let length_error = Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
    assert_eq!(refused(&mut own, &[0; 3]), length_error);
    assert_eq!(refused(&mut own, &[&[0; 4], &standby[..], &[0]].concat()), length_error);
    assert_eq!(refused(&mut own, &vec![0; 4 + 4 * 257]), length_error);
    // Less than the CDB announces.
    assert_eq!(sense(&mut own, &Cdb::set_target_port_groups(8), &[0; 4]), length_error);
    good(&mut own, &Cdb::set_target_port_groups(0), &[]);
    set(&mut own, &[]);
    assert_eq!(states(&mut own), [0, 0]);
    no_attention(&mut other);
}

#[test]
fn a_state_can_be_set_through_a_port_that_is_unavailable_but_not_in_transition() {
    let device = device_of([config("a")]);
    let mut nexus = settled_through(&device, 1, "iqn.a:h");
    set(&mut nexus, &[(10, AccessState::Unavailable)]);
    set(&mut nexus, &[(10, AccessState::ActiveOptimized)]);
    assert_eq!(device.set_access(0, 10, AccessState::Transitioning), Ok(None));
    assert_eq!(attention(&mut nexus), CHANGED);
    let list = SetAccessList(vec![(10, AccessState::ActiveOptimized)]).encode();
    let told = refused(&mut nexus, &list);
    let expected = Sense::new(SenseKey::NotReady, AdditionalSense::ASYMMETRIC_ACCESS_STATE_TRANSITION);
    assert_eq!(told, expected);
    let asked = good(&mut nexus, &Cdb::request_sense(true, 252), &[]);
    assert_eq!(Sense::decode(&asked), Ok(expected));
    assert_eq!(states(&mut nexus), [0xf, 0]);
}

#[test]
fn the_owner_changes_states_and_everybody_is_told() {
    let device = device_of([config("a")]);
    let mut nexuses = [1, 3].map(|port| settled_through(&device, port, "iqn.a:h"));
    assert_eq!(device.set_access(0, 20, AccessState::ActiveNonOptimized), Ok(None));
    for nexus in &mut nexuses {
        assert_eq!(attention(nexus), CHANGED);
        assert_eq!(states(nexus), [0, 1]);
    }
    assert_eq!(report(&mut nexuses[0]).groups[1].status, 2);
    assert_eq!(device.set_access(0, 20, AccessState::ActiveNonOptimized), Ok(None));
    nexuses.iter_mut().for_each(no_attention);
    assert_eq!(device.set_access(0, 3, AccessState::Standby), Err(NoSuchTargetPortGroup(3)));
    assert_eq!(device.set_access(9, 20, AccessState::Standby), Ok(None), "there is no such unit");
    let info = device.logical_units().next().unwrap();
    assert_eq!(info.access, [(10, AccessState::ActiveOptimized), (20, AccessState::ActiveNonOptimized)]);
}

fn kept_config(kept: Kept) -> LogicalUnitConfig {
    LogicalUnitConfig { kept: Some(kept), ..config("a") }
}

/// Sets a state, and gives what the store was asked to keep.
fn record_of(nexus: &mut Nexus, changes: &[(u16, AccessState)], done: IoDone) -> (Outcome, Record) {
    let list = SetAccessList(changes.to_vec()).encode();
    let record = std::cell::RefCell::new(None);
    let cdb = Cdb::set_target_port_groups(list.len() as u32);
    let outcome = run_with(nexus, &Command::new(lun(0), cdb.as_bytes()), &list, |_, request| {
        let BlockIo::Keep(kept) = request else { panic!("{request:?}") };
        *record.borrow_mut() = Some(kept.clone());
        done.clone()
    });
    (outcome, record.into_inner().unwrap())
}

fn kept(record: Record) -> Kept {
    [(record.name.to_owned(), record.content)].into_iter().collect()
}

#[test]
fn states_outlive_a_loss_of_power_where_records_are_kept() {
    let device = device_of([kept_config(Kept::new())]);
    let mut nexus = settled_through(&device, 1, "iqn.a:h");
    let (outcome, first) = record_of(&mut nexus, &[(20, AccessState::Standby)], Ok(IoOutput::Done));
    assert_eq!((outcome.status, first.name), (Status::Good, "access"));
    // The same again is kept again, as a later one.
    let (_, second) = record_of(&mut nexus, &[(20, AccessState::Standby)], Ok(IoOutput::Done));
    assert!(second.version > first.version && second.content == first.content);
    let Ok(Some(BlockIo::Keep(third))) = device.set_access(0, 10, AccessState::ActiveNonOptimized) else { panic!() };
    assert!(third.version > second.version);
    let device = device_of([kept_config(kept(third))]);
    assert_eq!(states(&mut settled_through(&device, 2, "iqn.a:h")), [1, 2]);
}

#[test]
fn a_state_that_cannot_be_kept_is_told_and_holds() {
    let device = device_of([kept_config(Kept::new())]);
    let mut nexus = settled_through(&device, 1, "iqn.a:h");
    let (outcome, _) = record_of(&mut nexus, &[(20, AccessState::Standby)], Err(IoError::NoSpace));
    let sense = Sense::decode(&outcome.sense).unwrap();
    let failed = AdditionalSense::SET_TARGET_PORT_GROUPS_COMMAND_FAILED;
    assert_eq!((sense.key, sense.additional), (SenseKey::HardwareError, failed));
    assert_eq!(states(&mut nexus), [0, 2]);
}

#[test]
fn a_record_of_no_known_form_makes_no_device() {
    let kept = [("access".to_owned(), vec![9].into())].into_iter().collect();
    let error = TargetDevice::with_ports(groups(), [(lun(0), kept_config(kept))]).unwrap_err();
    assert!(matches!(&error, ConfigError::Kept { serial, .. } if serial == "a"), "{error}");
    assert!(error.to_string().contains("access"), "{error}");
}
