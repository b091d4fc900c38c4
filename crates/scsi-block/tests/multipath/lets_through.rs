//! Every command of the table in every state, against lists written out by hand (SPC-4 5.16.2).

use scsi_block::opcodes::COMMANDS;
use scsi_block::sense::{AdditionalSense, Sense, SenseKey};

use super::*;

/// Beginnings of the names of commands that each state lets through, those of the states below it among them.
const IN_TRANSITION: &[&str] = &["REQUEST SENSE", "INQUIRY", "REPORT LUNS", "REPORT TARGET PORT GROUPS"];
const UNAVAILABLE: &[&str] = &["SET TARGET PORT GROUPS"];
const STANDBY: &[&str] = &[
    "MODE SE",
    "LOG SE",
    "RESERVE (",
    "RELEASE (",
    "PERSISTENT RESERVE",
    "REPORT SUPPORTED",
    "REPORT TIMESTAMP",
    "SET TIMESTAMP",
];

#[test]
fn each_state_lets_through_what_it_should() {
    let of = |lists: &[&[&'static str]]| lists.concat();
    let states = [
        (AccessState::ActiveOptimized, None, of(&[&[""]])),
        (AccessState::ActiveNonOptimized, None, of(&[&[""]])),
        (
            AccessState::Standby,
            Some(AdditionalSense::TARGET_PORT_IN_STANDBY_STATE),
            of(&[IN_TRANSITION, UNAVAILABLE, STANDBY]),
        ),
        (
            AccessState::Unavailable,
            Some(AdditionalSense::TARGET_PORT_IN_UNAVAILABLE_STATE),
            of(&[IN_TRANSITION, UNAVAILABLE]),
        ),
        (AccessState::Transitioning, Some(AdditionalSense::ASYMMETRIC_ACCESS_STATE_TRANSITION), of(&[IN_TRANSITION])),
    ];
    let device = device_of([config("a")]);
    let (mut here, mut there) = (settled_through(&device, 1, "iqn.a:h"), settled_through(&device, 3, "iqn.a:h"));
    for (state, code, lets_through) in states {
        device.set_access(0, 10, state).unwrap();
        for nexus in [&mut here, &mut there] {
            good(nexus, &Cdb::request_sense(true, 252), &[]);
        }
        let refusal = code.map(|code| Sense::new(SenseKey::NotReady, code));
        for row in COMMANDS {
            let cdb = Cdb::new(row.operation);
            assert!(!is_refused(&mut there, &cdb), "{} through the other port", row.name);
            let expected = !lets_through.iter().any(|name| row.name.starts_with(name));
            assert_eq!(is_refused(&mut here, &cdb), expected, "{} in {state}", row.name);
            if expected {
                assert_eq!(refusal, Some(sense_of_begin(&mut here, &cdb).unwrap()), "{} in {state}", row.name);
            }
        }
    }
}

/// The sense that a command ends with before anything is done.
fn sense_of_begin(nexus: &mut Nexus, cdb: &Cdb) -> Option<Sense> {
    match nexus.begin(lun(0), cdb.as_bytes()) {
        Begin::Done(outcome) => Sense::decode(&outcome.sense).ok(),
        Begin::Task(task) => {
            nexus.forget(task);
            None
        }
    }
}

/// Whether it is the way that does not let the command through. START STOP UNIT stops the unit, which is another matter.
fn is_refused(nexus: &mut Nexus, cdb: &Cdb) -> bool {
    sense_of_begin(nexus, cdb).is_some_and(|sense| (0x040a..=0x040c).contains(&sense.additional.code()))
}

#[test]
fn a_task_that_has_begun_goes_on_when_the_state_changes() {
    let device = device_of([config("a")]);
    let mut nexus = settled_through(&device, 1, "iqn.a:h");
    let Begin::Task(mut task) = nexus.begin(lun(0), Cdb::write_10(0, 1).as_bytes()) else { panic!() };
    device.set_access(0, 10, AccessState::Standby).unwrap();
    let step = nexus.start(&mut task, [vec![7; 512].into()].into_iter().collect());
    assert!(matches!(step, Step::Io(BlockIo::Write { .. })));
    let Step::Done(outcome) = nexus.resume(&mut task, Ok(IoOutput::Done)) else { panic!() };
    assert_eq!(outcome.status, Status::Good);
}

#[test]
fn a_copy_moves_nothing_through_a_port_that_lets_nothing_through() {
    use scsi_block::copy::{CopyList, Cscd, Segment};
    let device = device_of([config("a"), config("b")]);
    let mut nexus = settled_through(&device, 1, "iqn.a:h");
    let cscd = |serial: &str| Cscd { designator: Designator::naa_local(serial.as_bytes()), block_size: 512 };
    let segment =
        Segment { source: 0, destination: 1, counts_destination: true, blocks: 1, source_lba: 0, destination_lba: 0 };
    let list =
        CopyList { identifier: Some(1), immediate: false, cscds: vec![cscd("a"), cscd("b")], segments: vec![segment] }
            .encode_lid1();
    let cdb = Cdb::extended_copy_lid1(list.len() as u32);
    let copy = |nexus: &mut Nexus| {
        run_with(nexus, &Command::new(lun(0), cdb.as_bytes()), &list, |_, request| {
            Ok(match request {
                BlockIo::Read(_) => IoOutput::Data(vec![0; 512].into()),
                _ => IoOutput::Done,
            })
        })
    };
    assert_eq!(copy(&mut nexus).status, Status::Good);
    device.set_access(1, 10, AccessState::Standby).unwrap();
    let sense = Sense::decode(&copy(&mut nexus).sense).unwrap();
    assert_eq!((sense.key, sense.additional), (SenseKey::CopyAborted, AdditionalSense::THIRD_PARTY_DEVICE_FAILURE));
    device.set_access(1, 10, AccessState::ActiveNonOptimized).unwrap();
    assert_eq!(copy(&mut nexus).status, Status::Good);
}
