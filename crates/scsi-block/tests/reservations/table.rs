//! What goes on under which reservation, against a table written out by hand, and how reservations change.

use crate::*;
use bytes::Bytes;
use scsi_block::cdb::Cdb;
use scsi_block::opcodes::{Field, Operation};
use scsi_block::reservations::*;
use scsi_block::sense::{AdditionalSense, Sense};
use scsi_block::*;

use ReservationType::*;

/// SPC-5 table 68 and SBC-4 table 13, by hand. For each command: whether it is carried out under a reservation of another nexus of
/// type 1h, 3h; of the other types from a registered nexus; and of types 5h or 7h, 6h or 8h from one that is not.
#[test]
fn commands_meet_the_table_of_the_standard() {
    let starts = Cdb::start_stop_unit(true);
    let prevents = Cdb::new(Operation::PreventAllowMediumRemoval);
    let (y, n) = (true, false);
    let table: &[(Cdb, [bool; 5])] = &[
        (Cdb::inquiry(96), [y, y, y, y, y]),
        (Cdb::report_luns(0, 16), [y, y, y, y, y]),
        (Cdb::request_sense(false, 18), [y, y, y, y, y]),
        (Cdb::test_unit_ready(), [y, y, y, y, y]),
        (Cdb::persist_read_keys(8), [y, y, y, y, y]),
        (Cdb::persist_read_reservation(8), [y, y, y, y, y]),
        (Cdb::read_capacity_10(), [y, y, y, y, y]),
        (Cdb::read_capacity_16(32), [y, y, y, y, y]),
        (starts, [y, y, y, y, y]),
        (Cdb::start_stop_unit(false), [n, n, y, n, n]),
        (prevents, [y, y, y, y, y]),
        (prevents.try_with(Field::Prevent, 1).unwrap(), [n, n, y, n, n]),
        (Cdb::mode_sense_6(0, 0x3f, 0, 255), [y, n, y, y, n]),
        (Cdb::mode_sense_10(0, 0x3f, 0, 255), [y, n, y, y, n]),
        (Cdb::mode_select_6(false, 0), [n, n, y, n, n]),
        (Cdb::report_supported_operation_codes(false, 64), [y, n, y, y, n]),
        (Cdb::read_10(0, 1), [y, n, y, y, n]),
        (Cdb::read_16(0, 1), [y, n, y, y, n]),
        (Cdb::verify_16(0, 1, false), [y, n, y, y, n]),
        (Cdb::pre_fetch_16(0, 1, false), [y, n, y, y, n]),
        (Cdb::get_lba_status_16(0, 24), [y, n, y, y, n]),
        (Cdb::write_10(0, 1), [n, n, y, n, n]),
        (Cdb::write_16(0, 1), [n, n, y, n, n]),
        (Cdb::write_zeroes_16(0, 1, true), [n, n, y, n, n]),
        (Cdb::compare_and_write(0, 1), [n, n, y, n, n]),
        (Cdb::or_write_16(0, 1), [n, n, y, n, n]),
        (Cdb::unmap(0), [n, n, y, n, n]),
        (Cdb::synchronize_cache_16(0, 0), [n, n, y, n, n]),
        (Cdb::format_unit(None), [n, n, y, n, n]),
        (Cdb::sanitize_block_erase(true), [n, n, y, n, n]),
    ];
    for (cdb, expected) in table {
        for kind in ReservationType::ALL {
            for registered in [false, true] {
                let device = device();
                let (mut holder, mut other) = (Host::new(&device, "holder"), Host::new(&device, "other"));
                holder.register(1);
                holder.good(OutAction::Reserve, Some(kind), 1, 0);
                if registered {
                    other.register(2);
                }
                let column = match (kind, registered) {
                    (WriteExclusive, _) => 0,
                    (ExclusiveAccess, _) => 1,
                    (_, true) => 2,
                    (WriteExclusiveRegistrantsOnly | WriteExclusiveAllRegistrants, false) => 3,
                    (ExclusiveAccessRegistrantsOnly | ExclusiveAccessAllRegistrants, false) => 4,
                };
                let status = |host: &mut Host| host.run(cdb, &[0; 1024]).status != Status::ReservationConflict;
                assert_eq!(status(&mut other), expected[column], "{cdb:?} under {kind:?}, registered: {registered}");
                assert!(status(&mut holder), "{cdb:?} of the holder of {kind:?}");
            }
        }
    }
}

#[test]
fn registrations_and_reservations_outlive_nexuses_and_resets() {
    let device = device();
    let mut other = Host::new(&device, "other");
    let mut holder = Host::new(&device, "holder");
    holder.register(7);
    holder.good(OutAction::Reserve, Some(WriteExclusive), 7, 0);
    assert!(holder.nexus.reset().is_over());
    drop(holder);
    drop(other.nexus.target_reset());
    assert_eq!(other.attention(), Some(AdditionalSense::SCSI_BUS_RESET));
    assert_eq!(other.run(&Cdb::write_10(0, 1), &[0; 512]).status, Status::ReservationConflict);
    let mut again = Host::new(&device, "holder");
    assert_eq!(again.run(&Cdb::write_10(0, 1), &[0; 512]).status, Status::Good);
    again.good(OutAction::Release, Some(WriteExclusive), 7, 0);
    assert_eq!(other.run(&Cdb::write_10(0, 1), &[0; 512]).status, Status::Good);
}

#[test]
fn a_preemption_moves_the_reservation_and_tells_who_has_lost() {
    let device = device();
    let [mut one, mut two, mut three] = ["one", "two", "three"].map(|name| Host::new(&device, name));
    one.register(1);
    two.register(2);
    three.register(2);
    two.good(OutAction::Reserve, Some(WriteExclusiveRegistrantsOnly), 2, 0);
    let generation = one.keys().generation;
    one.good(OutAction::Preempt, Some(ExclusiveAccess), 1, 2);
    assert_eq!(one.keys(), Keys { generation: generation + 1, keys: vec![1] });
    assert_eq!(one.current(), Some((1, ExclusiveAccess)));
    assert_eq!(one.attention(), None);
    for host in [&mut two, &mut three] {
        assert_eq!(host.attention(), Some(AdditionalSense::REGISTRATIONS_PREEMPTED));
        assert_eq!(host.run(&Cdb::read_10(0, 1), &[]).status, Status::ReservationConflict);
    }
}

#[test]
fn who_stays_registered_is_told_of_a_release_and_of_another_type() {
    let device = device();
    let [mut one, mut two, mut three] = ["one", "two", "three"].map(|name| Host::new(&device, name));
    one.register(1);
    two.register(2);
    one.good(OutAction::Reserve, Some(WriteExclusiveRegistrantsOnly), 1, 0);
    one.good(OutAction::Release, Some(WriteExclusiveRegistrantsOnly), 1, 0);
    assert_eq!(two.attention(), Some(AdditionalSense::RESERVATIONS_RELEASED));
    assert_eq!((one.attention(), three.attention()), (None, None));
    one.good(OutAction::Reserve, Some(ExclusiveAccess), 1, 0);
    one.good(OutAction::Release, Some(ExclusiveAccess), 1, 0);
    assert_eq!(two.attention(), None, "nobody else was let in by it");
    one.good(OutAction::Reserve, Some(WriteExclusiveRegistrantsOnly), 1, 0);
    one.good(OutAction::Register, None, 1, 0);
    assert_eq!(two.attention(), Some(AdditionalSense::RESERVATIONS_RELEASED), "its holder is gone");
    three.register(3);
    two.good(OutAction::Reserve, Some(WriteExclusive), 2, 0);
    one.register(1);
    one.good(OutAction::Preempt, Some(ExclusiveAccess), 1, 2);
    assert_eq!(two.attention(), Some(AdditionalSense::REGISTRATIONS_PREEMPTED));
    assert_eq!(three.attention(), Some(AdditionalSense::RESERVATIONS_RELEASED));
    one.good(OutAction::Clear, None, 1, 0);
    assert_eq!(three.attention(), Some(AdditionalSense::RESERVATIONS_PREEMPTED));
    assert_eq!((one.keys().keys, one.current()), (vec![], None));
}

#[test]
fn all_registrants_hold_until_the_last_has_gone() {
    let device = device();
    let [mut one, mut two] = ["one", "two"].map(|name| Host::new(&device, name));
    one.register(1);
    two.register(2);
    one.good(OutAction::Reserve, Some(ExclusiveAccessAllRegistrants), 1, 0);
    assert_eq!(two.current(), Some((0, ExclusiveAccessAllRegistrants)));
    two.good(OutAction::Reserve, Some(ExclusiveAccessAllRegistrants), 2, 0);
    one.good(OutAction::Register, None, 1, 0);
    assert_eq!(two.current(), Some((0, ExclusiveAccessAllRegistrants)));
    one.register(1);
    one.good(OutAction::Preempt, Some(WriteExclusive), 1, 0);
    assert_eq!((one.current(), one.keys().keys), (Some((1, WriteExclusive)), vec![1]));
    assert_eq!(two.attention(), Some(AdditionalSense::REGISTRATIONS_PREEMPTED));
    one.good(OutAction::Register, None, 1, 0);
    assert_eq!(one.current(), None);
}

#[test]
fn what_is_wrong_is_refused_and_changes_nothing() {
    let device = device();
    let [mut one, mut two] = ["one", "two"].map(|name| Host::new(&device, name));
    let conflict = |host: &mut Host, action, kind, key, action_key| {
        assert_eq!(host.out(action, kind, &keys(key, action_key)).status, Status::ReservationConflict, "{action:?}");
    };
    conflict(&mut one, OutAction::Register, None, 5, 1);
    one.good(OutAction::Register, None, 0, 1);
    conflict(&mut one, OutAction::Register, None, 0, 2);
    for action in [OutAction::Reserve, OutAction::Release, OutAction::Clear, OutAction::Preempt] {
        conflict(&mut two, action, Some(WriteExclusive), 0, 1);
        conflict(&mut one, action, Some(WriteExclusive), 2, 1);
    }
    conflict(&mut one, OutAction::Preempt, Some(WriteExclusive), 1, 9);
    let zero = one.out(OutAction::Preempt, Some(WriteExclusive), &keys(1, 0));
    assert_eq!(refusal(&zero), Sense::invalid_parameter(8, None));
    one.good(OutAction::Reserve, Some(WriteExclusive), 1, 0);
    let wrong_type = one.out(OutAction::Release, Some(ExclusiveAccess), &keys(1, 0));
    assert_eq!(refusal(&wrong_type).additional, AdditionalSense::INVALID_RELEASE_OF_PERSISTENT_RESERVATION);
    conflict(&mut one, OutAction::Reserve, Some(ExclusiveAccess), 1, 0);
    let persist = OutList { persist: true, ..keys(1, 1) };
    assert_eq!(refusal(&one.out(OutAction::Register, None, &persist)), Sense::invalid_parameter(20, Some(0)));
    let named = OutList { initiator_ports: Some(vec![TransportId::iscsi_device("two")]), ..keys(1, 1) };
    for action in [OutAction::Register, OutAction::RegisterAndIgnoreExistingKey, OutAction::Clear] {
        assert_eq!(refusal(&one.out(action, None, &named)), Sense::invalid_parameter(20, Some(3)), "{action:?}");
    }
    let list = keys(1, 0).encode();
    let reserve = Cdb::persist_out(OutAction::Reserve, None, 24);
    assert_eq!(refusal(&one.run(&reserve, &list)), Sense::invalid_cdb_field(2, 3));
    let scope = Cdb::persist_out(OutAction::Reserve, Some(WriteExclusive), 24).as_bytes().to_vec();
    let scope = Cdb::decode(&[&scope[..2], &[0x21], &scope[3..]].concat()).unwrap();
    assert_eq!(refusal(&one.run(&scope, &list)), Sense::invalid_cdb_field(2, 7));
    let lengths = [(0, 24), (23, 24), (25, 25), (24, 20), (u32::MAX, 24)];
    for (announced, sent) in lengths {
        let outcome = one.run(&Cdb::persist_out(OutAction::Clear, None, announced), &vec![0; sent]);
        assert_eq!(refusal(&outcome).additional, AdditionalSense::PARAMETER_LIST_LENGTH_ERROR, "{announced}");
    }
    assert_eq!((one.keys().keys, one.current()), (vec![1], Some((1, WriteExclusive))));
}

#[test]
fn initiator_ports_are_registered_by_name_whether_they_are_there_or_not() {
    let device = device();
    let [mut one, mut two, _three] = ["one", "two", "three"].map(|name| Host::new(&device, name));
    let absent = TransportId::iscsi_port("absent", [1; 6]);
    let ports = vec![TransportId::iscsi_device("two"), absent.clone()];
    let list = OutList { initiator_ports: Some(ports), all_target_ports: true, ..keys(0, 4) };
    assert_eq!(one.out(OutAction::Register, None, &list).status, Status::Good);
    assert_eq!(one.keys().keys, [4, 4, 4]);
    two.good(OutAction::Reserve, Some(WriteExclusive), 4, 0);
    let status = FullStatus::decode(&one.run(&Cdb::persist_read_full_status(4096), &[]).data_in).unwrap();
    let holders: Vec<_> = status.registrations.iter().filter(|registration| registration.holds.is_some()).collect();
    assert_eq!(holders.len(), 1);
    assert_eq!(holders[0].initiator_port, TransportId::iscsi_port("two", [0; 6]));
    assert!(status.registrations.iter().any(|registration| registration.initiator_port == absent));
    let unknown = OutList { initiator_ports: Some(vec![TransportId::iscsi_device("nobody")]), ..keys(0, 4) };
    let mut fresh = Host::new(&device, "fresh");
    assert_eq!(refusal(&fresh.out(OutAction::Register, None, &unknown)), Sense::invalid_parameter(20, Some(3)));
    assert_eq!(one.keys().keys.len(), 3);
}

#[test]
fn a_reservation_moves_to_another_port() {
    let device = device();
    let [mut one, mut two] = ["one", "two"].map(|name| Host::new(&device, name));
    one.register(1);
    let to = MoveList {
        key: 1,
        action_key: 2,
        unregister: true,
        persist: false,
        target_port: 1,
        initiator_port: TransportId::iscsi_device("two"),
    };
    let send = |host: &mut Host, list: &MoveList| {
        let list = list.encode();
        host.run(&Cdb::persist_out(OutAction::RegisterAndMove, None, list.len() as u32), &list)
    };
    assert_eq!(send(&mut one, &to).status, Status::ReservationConflict, "there is nothing to move");
    one.good(OutAction::Reserve, Some(ExclusiveAccess), 1, 0);
    let wrong: [(MoveList, u16); 4] = [
        (MoveList { action_key: 0, ..to.clone() }, 8),
        (MoveList { target_port: 9, ..to.clone() }, 18),
        (MoveList { initiator_port: TransportId::iscsi_device("nobody"), ..to.clone() }, 24),
        (MoveList { initiator_port: TransportId::iscsi_device("one"), ..to.clone() }, 24),
    ];
    for (list, at) in wrong {
        assert_eq!(refusal(&send(&mut one, &list)), Sense::invalid_parameter(at, None));
    }
    assert_eq!(send(&mut two, &to).status, Status::ReservationConflict);
    assert_eq!(send(&mut one, &to).status, Status::Good);
    assert_eq!((two.current(), two.keys().keys), (Some((2, ExclusiveAccess)), vec![2]));
    assert_eq!(one.run(&Cdb::read_10(0, 1), &[]).status, Status::ReservationConflict);
}

#[test]
fn registrations_are_bounded() {
    let device = device();
    let mut one = Host::new(&device, "one");
    let ports = |count: u16, from: u8| {
        let port = |n: u16| TransportId::iscsi_port("a", [from, 0, 0, 0, (n >> 8) as u8, n as u8]);
        OutList { initiator_ports: Some((0..count).map(port).collect()), ..keys(0, 1) }
    };
    assert_eq!(one.out(OutAction::Register, None, &ports(1023, 0)).status, Status::Good);
    let mut two = Host::new(&device, "two");
    let full = two.out(OutAction::Register, None, &keys(0, 2));
    assert_eq!(refusal(&full).additional, AdditionalSense::INSUFFICIENT_REGISTRATION_RESOURCES);
    assert_eq!(one.keys().keys.len(), 1024);
}

#[test]
fn reserve_and_persistent_reservations_keep_out_of_each_other() {
    let device = device();
    let [mut one, mut two] = ["one", "two"].map(|name| Host::new(&device, name));
    let status = |host: &mut Host, cdb: Cdb| host.run(&cdb, &keys(0, 1).encode()).status;
    for (reserve, release) in [(Cdb::reserve_6(), Cdb::release_6()), (Cdb::reserve_10(), Cdb::release_10())] {
        assert_eq!(status(&mut one, reserve), Status::Good);
        for host in [&mut one, &mut two] {
            assert_eq!(status(host, Cdb::persist_read_keys(8)), Status::ReservationConflict);
            let register = Cdb::persist_out(OutAction::Register, None, 24);
            assert_eq!(status(host, register), Status::ReservationConflict);
        }
        assert_eq!(status(&mut two, reserve), Status::ReservationConflict);
        assert_eq!(status(&mut two, release), Status::Good);
        assert_eq!(
            status(&mut two, Cdb::read_10(0, 1)),
            Status::ReservationConflict,
            "it was not the other's to release"
        );
        assert_eq!(status(&mut one, release), Status::Good);
        one.register(1);
        assert_eq!(status(&mut one, reserve), Status::ReservationConflict);
        assert_eq!(status(&mut two, release), Status::ReservationConflict);
        one.good(OutAction::Reserve, Some(ExclusiveAccessRegistrantsOnly), 1, 0);
        assert_eq!(status(&mut one, reserve), Status::Good, "the holder has what it asks for");
        assert_eq!(status(&mut two, reserve), Status::ReservationConflict);
        two.register(2);
        assert_eq!(status(&mut two, reserve), Status::Good, "so has who is registered");
        assert_eq!(status(&mut one, Cdb::read_10(0, 1)), Status::Good, "and nobody is kept out by it");
        assert_eq!(status(&mut two, release), Status::Good);
        one.good(OutAction::Clear, None, 1, 0);
        assert_eq!(two.attention(), Some(AdditionalSense::RESERVATIONS_PREEMPTED));
    }
}

#[test]
fn preempt_and_abort_ends_the_victims_tasks_and_waits_for_their_requests() {
    let device = device();
    let [mut one, mut two, mut three] = ["one", "two", "three"].map(|name| Host::new(&device, name));
    one.register(1);
    two.register(2);
    three.register(3);
    let begin = |host: &mut Host, cdb: Cdb| match host.nexus.begin(LUN, cdb.as_bytes()) {
        Begin::Task(task) => task,
        Begin::Done(outcome) => panic!("{outcome:?}"),
    };
    let data = || Segments::from_iter([Bytes::from(vec![1; 512])]);
    let (mut out, mut forgotten) = (begin(&mut two, Cdb::write_10(0, 1)), begin(&mut two, Cdb::write_10(1, 1)));
    let mut waiting = begin(&mut two, Cdb::write_10(2, 1));
    let mut bystander = begin(&mut three, Cdb::write_10(3, 1));
    assert!([&mut out, &mut forgotten].into_iter().all(|task| matches!(two.nexus.start(task, data()), Step::Io(_))));
    assert!(matches!(three.nexus.start(&mut bystander, data()), Step::Io(_)));
    let list = keys(1, 2).encode();
    let mut preempt = begin(&mut one, Cdb::persist_out(OutAction::PreemptAndAbort, Some(WriteExclusive), 24));
    let Step::Wait = one.nexus.start(&mut preempt, Segments::from_iter([Bytes::from(list)])) else { panic!() };
    assert!(matches!(two.nexus.start(&mut waiting, data()), Step::Aborted));
    assert!(matches!(two.nexus.resume(&mut out, Ok(IoOutput::Done)), Step::Aborted));
    assert!(matches!(one.nexus.wake(&mut preempt), Step::Wait));
    two.nexus.forget(forgotten);
    let Step::Done(outcome) = one.nexus.wake(&mut preempt) else { panic!() };
    assert_eq!(outcome.status, Status::Good);
    let Step::Done(outcome) = three.nexus.resume(&mut bystander, Ok(IoOutput::Done)) else { panic!() };
    assert_eq!(outcome.status, Status::Good, "who was not preempted goes on");
    assert_eq!(two.attention(), Some(AdditionalSense::REGISTRATIONS_PREEMPTED));
}

#[test]
fn a_reset_is_over_when_the_requests_of_all_have_come_back() {
    let device = device();
    let [mut one, mut two] = ["one", "two"].map(|name| Host::new(&device, name));
    let Begin::Task(mut task) = two.nexus.begin(LUN, Cdb::read_10(0, 1).as_bytes()) else { panic!() };
    let Step::Io(_) = two.nexus.start(&mut task, Segments::new()) else { panic!() };
    let settling = one.nexus.logical_unit_reset(LUN).unwrap();
    assert!(!settling.is_over());
    two.nexus.forget(task);
    assert!(settling.is_over());
}
