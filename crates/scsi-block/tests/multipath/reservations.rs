//! Reservations are of an I_T nexus: of the initiator port and the target port that it comes through.

use scsi_block::reservations::{FullStatus, MoveList, OutAction, OutList, ReservationType};
use scsi_block::sense::AdditionalSense;

use super::*;

const KEY: u64 = 0xabcd;

fn out(nexus: &mut Nexus, action: OutAction, kind: Option<ReservationType>, list: &[u8]) -> Status {
    let cdb = Cdb::persist_out(action, kind, list.len() as u32);
    run(nexus, &Command::new(lun(0), cdb.as_bytes()), list).status
}

fn register(nexus: &mut Nexus, all_target_ports: bool) {
    let list = OutList { action_key: KEY, all_target_ports, ..OutList::default() };
    assert_eq!(out(nexus, OutAction::Register, None, &list.encode()), Status::Good);
}

fn reserve(nexus: &mut Nexus, kind: ReservationType) -> Status {
    let list = OutList { key: KEY, ..OutList::default() };
    out(nexus, OutAction::Reserve, Some(kind), &list.encode())
}

fn write(nexus: &mut Nexus) -> Status {
    run(nexus, &Command::new(lun(0), Cdb::write_10(0, 1).as_bytes()), &[0; 512]).status
}

/// The same initiator port, through each target port.
fn ways(device: &Arc<TargetDevice>) -> [Nexus; 3] {
    [1, 2, 3].map(|port| settled_through(device, port, "iqn.a:h"))
}

#[test]
fn a_reservation_through_one_port_keeps_the_same_initiator_out_through_another() {
    let [mut one, mut two, mut three] = ways(&device_of([config("a")]));
    register(&mut one, false);
    assert_eq!(reserve(&mut one, ReservationType::ExclusiveAccess), Status::Good);
    assert_eq!(
        [&mut one, &mut two, &mut three].map(write),
        [Status::Good, Status::ReservationConflict, Status::ReservationConflict]
    );
    assert_eq!(reserve(&mut two, ReservationType::ExclusiveAccess), Status::ReservationConflict);
    // Whoever is kept out may ask about ports all the same.
    assert_eq!(states(&mut two), [0, 0]);
    let list = scsi_block::access::SetAccessList(vec![(20, AccessState::Standby)]).encode();
    let cdb = Cdb::set_target_port_groups(list.len() as u32);
    let set = |nexus: &mut Nexus| run(nexus, &Command::new(lun(0), cdb.as_bytes()), &list).status;
    assert_eq!([set(&mut two), set(&mut one)], [Status::ReservationConflict, Status::Good]);
}

#[test]
fn a_registration_at_all_ports_is_one_at_each() {
    let [mut one, mut two, mut three] = ways(&device_of([config("a")]));
    register(&mut one, true);
    let status = FullStatus::decode(&good(&mut one, &Cdb::persist_read_full_status(4096), &[])).unwrap();
    let mut ports: Vec<u16> = status.registrations.iter().map(|registration| registration.target_port).collect();
    ports.sort_unstable();
    assert_eq!(ports, [1, 2, 3]);
    assert_eq!(reserve(&mut two, ReservationType::WriteExclusiveAllRegistrants), Status::Good);
    assert_eq!([&mut one, &mut two, &mut three].map(write), [Status::Good; 3]);
    // The one that lets go tells the others, each through its port.
    let list = OutList { key: KEY, ..OutList::default() };
    let kind = Some(ReservationType::WriteExclusiveAllRegistrants);
    assert_eq!(out(&mut three, OutAction::Release, kind, &list.encode()), Status::Good);
    assert_eq!([&mut one, &mut two].map(attention), [AdditionalSense::RESERVATIONS_RELEASED; 2]);
    good(&mut three, &Cdb::test_unit_ready(), &[]);
}

#[test]
fn a_reservation_moves_to_another_port() {
    let [mut one, mut two, mut three] = ways(&device_of([config("a")]));
    register(&mut one, false);
    assert_eq!(reserve(&mut one, ReservationType::ExclusiveAccess), Status::Good);
    let to = |target_port| MoveList {
        key: KEY,
        action_key: KEY,
        unregister: true,
        persist: false,
        target_port,
        initiator_port: TransportId::iscsi_port("iqn.a:h", [0; 6]),
    };
    assert_eq!(out(&mut one, OutAction::RegisterAndMove, None, &to(4).encode()), Status::CheckCondition);
    assert_eq!(out(&mut one, OutAction::RegisterAndMove, None, &to(3).encode()), Status::Good);
    assert_eq!(
        [&mut one, &mut two, &mut three].map(write),
        [Status::ReservationConflict, Status::ReservationConflict, Status::Good]
    );
}

#[test]
fn reserve_is_of_the_nexus_too() {
    let [mut one, mut two, _] = ways(&device_of([config("a")]));
    good(&mut one, &Cdb::reserve_6(), &[]);
    assert_eq!([&mut one, &mut two].map(write), [Status::Good, Status::ReservationConflict]);
    drop(one);
    assert_eq!(write(&mut two), Status::Good);
}

#[test]
fn a_reservation_conflict_is_told_before_the_state_of_the_port() {
    let device = device_of([config("a")]);
    let [mut one, _, mut three] = ways(&device);
    register(&mut one, false);
    assert_eq!(reserve(&mut one, ReservationType::ExclusiveAccess), Status::Good);
    device.set_access(0, 20, AccessState::Standby).unwrap();
    attention(&mut three);
    assert_eq!(write(&mut three), Status::ReservationConflict);
    good(&mut one, &Cdb::request_sense(true, 252), &[]);
    let list = OutList { key: KEY, ..OutList::default() };
    let kind = Some(ReservationType::ExclusiveAccess);
    assert_eq!(out(&mut one, OutAction::Release, kind, &list.encode()), Status::Good);
    assert_eq!(write(&mut three), Status::CheckCondition);
}
