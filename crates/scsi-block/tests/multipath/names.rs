//! What INQUIRY tells through each port.

use scsi_block::access::Referrals;
use scsi_block::inquiry::{Peripheral, StandardInquiry};
use scsi_block::sense::AdditionalSense;
use scsi_block::vpd::{
    DeviceIdentification, ExtendedInquiry, ManagementAddress, ManagementAddresses, ModePagePolicies, ModePagePolicy,
    ReferralsPage, ScsiPorts, SupportedPages,
};

use super::*;

/// Association, type and value of each designator.
fn designators(nexus: &mut Nexus) -> Vec<(Association, u8, String)> {
    let page = good(nexus, &Cdb::inquiry_page(0x83, 4096), &[]);
    let all = DeviceIdentification::decode(&page).unwrap().0;
    all.into_iter().map(|name| (name.association, name.kind, name.to_string())).collect()
}

#[test]
fn each_nexus_is_told_of_its_own_port() {
    let mut config = config("a");
    config.identity.designators = vec![Designator::scsi_name(Association::TargetDevice, ISCSI, "iqn.2026-01.org:d")];
    let device = device_of([config]);
    for (port, group, name) in [(1, "10", "0x0001"), (2, "10", "0x0002"), (3, "20", "0x0003")] {
        let mut nexus = settled_through(&device, port, "iqn.a:h");
        let told = designators(&mut nexus);
        let expected = [
            (Association::LogicalUnit, Designator::NAA, Designator::naa_local(b"a").to_string()),
            (Association::LogicalUnit, Designator::T10_VENDOR, "FERRISCSa".into()),
            (Association::TargetDevice, Designator::SCSI_NAME, "iqn.2026-01.org:d".into()),
            (Association::TargetPort, Designator::RELATIVE_TARGET_PORT, port.to_string()),
            (Association::TargetPort, Designator::TARGET_PORT_GROUP, group.into()),
            (Association::TargetPort, Designator::SCSI_NAME, format!("iqn.2026-01.org:d,t,{name}")),
        ];
        assert_eq!(told, expected);
    }
}

#[test]
fn the_page_of_ports_has_all_of_them() {
    let mut nexus = settled_through(&device_of([config("a")]), 3, "iqn.a:h");
    assert!(SupportedPages::decode(&good(&mut nexus, &Cdb::inquiry_page(0, 255), &[])).unwrap().0.contains(&0x88));
    let ports = ScsiPorts::decode(&good(&mut nexus, &Cdb::inquiry_page(0x88, 4096), &[])).unwrap().0;
    let told: Vec<_> = ports.iter().map(|port| (port.identifier, port.target_port[0].to_string())).collect();
    let expected = [1, 2, 3].map(|port| (port, format!("iqn.2026-01.org:d,t,0x{port:04x}")));
    assert_eq!(told, expected);
    assert!(ports.iter().all(|port| port.initiator_port.is_empty()));
}

#[test]
fn management_is_where_the_owner_says_and_mode_pages_are_shared() {
    let mut config = config("a");
    let addresses = vec![ManagementAddress::new("https://192.0.2.1/disk")];
    config.identity.management_addresses = addresses.clone();
    let mut nexus = settled(&device([config]), "one");
    let page = good(&mut nexus, &Cdb::inquiry_page(0x85, 4096), &[]);
    assert_eq!(ManagementAddresses::decode(&page).unwrap().0, addresses);
    let page = good(&mut nexus, &Cdb::inquiry_page(0x87, 4096), &[]);
    assert_eq!(ModePagePolicies::decode(&page).unwrap().0, [ModePagePolicy::ALL_SHARED]);
    // Nobody has said where management is.
    let mut nexus = settled(&device([harness::config("b")]), "one");
    assert_eq!(good(&mut nexus, &Cdb::inquiry_page(0x85, 4096), &[]), [0, 0x85, 0, 0][..]);
}

#[test]
fn a_management_address_that_cannot_be_told_is_refused() {
    let with = |addresses: Vec<&str>| {
        let mut config = config("a");
        config.identity.management_addresses = addresses.into_iter().map(ManagementAddress::new).collect();
        config.check()
    };
    assert_eq!(with(vec!["http://a"; 16]), Ok(()));
    assert!(with(vec!["http://a"; 17]).is_err());
    assert!(with(vec![""]).is_err() && with(vec!["http://\u{e9}"]).is_err() && with(vec![&"a".repeat(1025)]).is_err());
}

/// All blocks are one user data segment, which is reached as the groups' states say (SBC-4 4.26).
#[test]
fn referrals_are_one_segment_with_the_states_of_the_groups() {
    let mut nexus = settled(&device([config("a")]), "one");
    assert!(SupportedPages::decode(&good(&mut nexus, &Cdb::inquiry_page(0, 255), &[])).unwrap().0.contains(&0xb3));
    let extended = ExtendedInquiry::decode(&good(&mut nexus, &Cdb::inquiry_page(0x86, 255), &[])).unwrap();
    assert_eq!((extended.referrals, extended.sense_bytes_max), (true, 252));
    let page = good(&mut nexus, &Cdb::inquiry_page(0xb3, 255), &[]);
    assert_eq!(ReferralsPage::decode(&page), Ok(ReferralsPage::default()));
    let groups =
        AccessReport::decode(&good(&mut nexus, &Cdb::report_target_port_groups(false, 255), &[])).unwrap().groups;
    let told = Referrals::decode(&good(&mut nexus, &Cdb::report_referrals(5, 255), &[])).unwrap().0;
    assert_eq!(told.len(), 1);
    let blocks = config("a").geometry.blocks;
    assert_eq!(told[0].blocks, Extent { lba: 0, blocks });
    assert_eq!(told[0].groups, groups.iter().map(|group| (group.group, group.state)).collect::<Vec<_>>());
    let beyond = sense(&mut nexus, &Cdb::report_referrals(blocks, 255), &[]);
    assert_eq!(beyond.additional, AdditionalSense::LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
}

#[test]
fn a_device_without_a_word_on_ports_has_one() {
    let mut nexus = settled(&device([config("a")]), "one");
    let told: Vec<_> = designators(&mut nexus).into_iter().map(|(_, kind, value)| (kind, value)).collect();
    assert_eq!(
        told[2..],
        [(Designator::RELATIVE_TARGET_PORT, "1".into()), (Designator::TARGET_PORT_GROUP, "1".into())]
    );
    let ports = ScsiPorts::decode(&good(&mut nexus, &Cdb::inquiry_page(0x88, 4096), &[])).unwrap().0;
    assert_eq!((ports.len(), ports[0].identifier, ports[0].target_port.len()), (1, 1, 0));
}

#[test]
fn a_unit_that_is_unavailable_through_a_port_is_as_one_that_could_be_there() {
    let device = device_of([config("a")]);
    let (mut near, mut far) = (settled_through(&device, 1, "iqn.a:h"), settled_through(&device, 3, "iqn.a:h"));
    let standard = |nexus: &mut Nexus| StandardInquiry::decode(&good(nexus, &Cdb::inquiry(96), &[])).unwrap();
    assert_eq!((standard(&mut near).target_port_groups, standard(&mut near).peripheral.qualifier), (3, 0));
    assert!(standard(&mut near).multiple_ports);
    assert!(!standard(&mut harness::device([config("b")]).connect("one")).multiple_ports);
    assert_eq!(device.set_access(0, 10, AccessState::Unavailable), Ok(None));
    let absent = Peripheral { qualifier: 1, ..Peripheral::DIRECT_ACCESS };
    assert_eq!(standard(&mut near).peripheral, absent);
    assert_eq!(good(&mut near, &Cdb::inquiry_page(0x80, 255), &[])[0], 0x20);
    assert_eq!(standard(&mut far).peripheral, Peripheral::DIRECT_ACCESS);
}
