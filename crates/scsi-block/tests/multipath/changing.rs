//! Target ports that come and go.

use scsi_block::sense::{AdditionalSense, Sense, SenseKey};
use scsi_block::vpd::{DeviceIdentification, ScsiPorts};

use super::*;

/// The group 30 with the port 7, which is in standby.
fn third() -> TargetPortGroup {
    let port = TargetPort { identifier: 7, name: None };
    TargetPortGroup { access: AccessState::Standby, ..TargetPortGroup::new(30, vec![port]) }
}

fn ready(nexus: &mut Nexus) -> Sense {
    sense(nexus, &Cdb::test_unit_ready(), &[])
}

/// What a nexus is told of ports that have changed, each once.
fn told(nexus: &mut Nexus) {
    let mut told = [ready(nexus), ready(nexus)].map(|sense| {
        assert_eq!(sense.key, SenseKey::UnitAttention);
        sense.additional.code()
    });
    told.sort_unstable();
    let expected = [AdditionalSense::ASYMMETRIC_ACCESS_STATE_CHANGED, AdditionalSense::INQUIRY_DATA_HAS_CHANGED];
    assert_eq!(told, expected.map(AdditionalSense::code));
}

fn numbers(nexus: &mut Nexus) -> (Vec<u16>, Vec<u16>) {
    let ports = ScsiPorts::decode(&good(nexus, &Cdb::inquiry_page(0x88, 4096), &[])).unwrap().0;
    let groups = report(nexus).groups;
    (ports.iter().map(|port| port.identifier).collect(), groups.iter().map(|group| group.group).collect())
}

#[test]
fn a_port_that_comes_is_told_and_leads_to_the_units() {
    let device = device_of([config("a")]);
    let mut old = settled_through(&device, 1, "iqn.a:h");
    assert!(!device.has_target_port(7));
    device.set_access(0, 10, AccessState::ActiveNonOptimized).unwrap();
    ready(&mut old);
    device.set_target_port_groups(groups().into_iter().chain([third()])).unwrap();
    told(&mut old);
    assert_eq!(numbers(&mut old), (vec![1, 2, 3, 7], vec![10, 20, 30]));
    assert_eq!(report(&mut old).groups.iter().map(|group| group.state).collect::<Vec<_>>(), [1, 0, 2]);
    let mut new = settled_through(&device, 7, "iqn.a:h");
    assert_eq!(ready(&mut new).additional, AdditionalSense::TARGET_PORT_IN_STANDBY_STATE);
    device.set_access(0, 30, AccessState::ActiveOptimized).unwrap();
    ready(&mut new);
    good(&mut new, &Cdb::test_unit_ready(), &[]);
}

#[test]
fn a_port_that_goes_leads_nowhere_and_others_are_as_before() {
    let device = device_of([config("a")]);
    let (mut stays, mut goes) = (settled_through(&device, 3, "iqn.a:h"), settled_through(&device, 1, "iqn.a:g"));
    device.set_access(0, 20, AccessState::ActiveNonOptimized).unwrap();
    ready(&mut stays);
    ready(&mut goes);
    let [_, second] = groups();
    device.set_target_port_groups([second]).unwrap();
    told(&mut stays);
    assert_eq!(numbers(&mut stays), (vec![3], vec![20]));
    assert_eq!(report(&mut stays).groups[0].state, 1);
    good(&mut stays, &Cdb::test_unit_ready(), &[]);
    for nexus in [&mut goes, &mut device.connect(through(1, "iqn.a:late"))] {
        while ready(nexus).key == SenseKey::UnitAttention {}
        assert_eq!(ready(nexus).additional, AdditionalSense::TARGET_PORT_IN_UNAVAILABLE_STATE);
        let names = DeviceIdentification::decode(&good(nexus, &Cdb::inquiry_page(0x83, 4096), &[])).unwrap().0;
        assert!(names.iter().all(|name| name.association != Association::TargetPort));
    }
}

#[test]
fn groups_that_no_device_has_change_nothing() {
    let device = device_of([config("a")]);
    let mut nexus = settled_through(&device, 1, "iqn.a:h");
    assert_eq!(device.set_target_port_groups([]), Err(ConfigError::TargetPortGroups(0)));
    assert_eq!(device.set_target_port_groups([third(), third()]), Err(ConfigError::TargetPortGroup(30)));
    good(&mut nexus, &Cdb::test_unit_ready(), &[]);
    assert_eq!(device.target_port_groups(), groups());
}
