//! What hostile or mistaken initiators send, for every command of the table: fields that are illegal, allocation lengths of every size, and
//! parameter lists that lie about their length.

use std::sync::Arc;

use bytes::Bytes;
use scsi_block::access::{AccessState, SetAccessList};
use scsi_block::cdb::Cdb;
use scsi_block::copy::{CopyList, Cscd, PopulateTokenList, RodToken, Segment, TokenSecret, WriteUsingTokenList};
use scsi_block::designator::Designator;
use scsi_block::mode::ModeData;
use scsi_block::opcodes::{Amount, COMMANDS, CommandDescriptor, Data, Field, Operation, rows_of};
use scsi_block::parameters::{OverwriteList, Timestamp, UnmapList, format_list};
use scsi_block::protection::ProtectionType;
use scsi_block::reservations::{MoveList, OutList, TransportId};
use scsi_block::sense::{AdditionalSense, FieldPointer, Sense, SenseKey};
use scsi_block::*;

const BLOCKS: u64 = 1 << 20;
const PROTECTED: u16 = 1;

/// Unit 0 knows every command but those that are for protection information of type 2, which unit 1 keeps.
fn nexus() -> Nexus {
    let config = |number: u16| {
        let geometry = Geometry { block_size: 512, blocks: BLOCKS };
        LogicalUnitConfig {
            thin: true,
            removable: true,
            protection: (number == PROTECTED).then_some(ProtectionType::Two),
            token_secret: Some(TokenSecret::new([7; 32])),
            limits: Limits { atomic_bytes_max: 8 << 10, ..Limits::default() },
            ..LogicalUnitConfig::new(geometry, format!("unit {number}"))
        }
    };
    let units = [0, PROTECTED].map(|number| (LogicalUnitNumber::from(number), config(number)));
    let mut nexus = Arc::new(TargetDevice::new(units).unwrap()).connect("initiator");
    for number in [0, PROTECTED] {
        nexus.begin(LogicalUnitNumber::from(number), Cdb::test_unit_ready().as_bytes());
    }
    nexus
}

/// The unit that knows a command.
fn unit_of(row: &CommandDescriptor) -> LogicalUnitNumber {
    let is_of_type_2 = row.find(Field::ExpectedReferenceTag).is_some();
    LogicalUnitNumber::from(if is_of_type_2 { PROTECTED } else { 0 })
}

/// A parameter list that is right.
fn list(operation: Operation) -> Vec<u8> {
    use Operation as Op;
    let cscd = Cscd { designator: Designator::naa_local(b"unit 0"), block_size: 512 };
    let segment =
        Segment { source: 0, destination: 0, counts_destination: false, blocks: 1, source_lba: 0, destination_lba: 8 };
    let copy = CopyList { identifier: Some(9), immediate: false, cscds: vec![cscd], segments: vec![segment] };
    let ranges = vec![Extent { lba: 0, blocks: 1 }];
    let page = mode_pages().into_iter().find(|page| page.code == mode::CONTROL && page.subpage == 0);
    let mut page = page.expect("there is a control mode page");
    page.body[0] ^= 0x04; // D_SENSE
    match operation {
        Op::ModeSelect6 => ModeData::select_list_6(&[page]),
        Op::ModeSelect10 => ModeData::select_list_10(&[page]),
        Op::Unmap => UnmapList([Extent { lba: 0, blocks: 1 }].into_iter().collect()).encode(),
        Op::SanitizeOverwrite => OverwriteList { invert: false, passes: 1, pattern: vec![1, 2, 3] }.encode(),
        Op::FormatUnit => format_list(None, false).to_vec(),
        Op::PersistRegisterAndMove => MoveList {
            key: 1,
            action_key: 2,
            unregister: false,
            persist: false,
            target_port: 1,
            initiator_port: TransportId::iscsi_device("iqn.2026-01.io.ferriscsi:other"),
        }
        .encode(),
        Op::ExtendedCopyLid1 => copy.encode_lid1(),
        Op::ExtendedCopyLid4 => copy.encode_lid4(),
        Op::PopulateToken => PopulateTokenList { inactivity_seconds: 0, ranges }.encode(),
        Op::WriteUsingToken => {
            let token = RodToken::zeros();
            WriteUsingTokenList { token, offset_blocks: 0, immediate: false, delete: false, ranges }.encode()
        }
        Op::SetTargetPortGroups => SetAccessList(vec![(1, AccessState::Standby)]).encode(),
        Op::SetTimestamp => Timestamp::list(5).to_vec(),
        operation if operation.descriptor().opcode == Op::PersistRegister.descriptor().opcode => {
            OutList { key: 0, action_key: 1, ..OutList::default() }.encode()
        }
        _ => Vec::new(),
    }
}

fn mode_pages() -> Vec<mode::ModePage> {
    let outcome = run(&mut nexus(), LogicalUnitNumber::from(0), &Cdb::mode_sense_6(0, 0x3f, 0, 255), &[]);
    ModeData::decode_6(&outcome.data_in).unwrap().pages
}

fn with(cdb: Cdb, field: Field, value: u64) -> Cdb {
    cdb.try_with(field, value).unwrap()
}

/// A CDB of a command that is in order.
fn base(row: &CommandDescriptor) -> Cdb {
    let mut cdb = Cdb::new(row.operation);
    let values = [
        (Field::AllocationLength, 4096),
        (Field::ParameterListLength, list(row.operation).len() as u64),
        (Field::PageFormat, 1),
        (Field::ReservationType, 1),
        (Field::ListIdentifier, 9),
        (Field::Blocks, 1),
    ];
    for (field, value) in values {
        if let Some(place) = row.find(field).filter(|_| !row.fields.iter().any(|one| one.field == field && one.refused))
        {
            cdb = with(cdb, field, value.min(place.max()));
        }
    }
    match row.operation {
        Operation::ModeSense6 | Operation::ModeSense10 => with(cdb, Field::PageCode, 0x3f),
        Operation::LogSense | Operation::LogSelect => with(cdb, Field::PageControl, 1),
        Operation::FormatUnit => with(cdb, Field::FormatData, 1),
        _ => cdb,
    }
}

/// What comes of a CDB at once: an outcome, or how much data is to go each way.
fn begin(nexus: &mut Nexus, lun: LogicalUnitNumber, cdb: &[u8]) -> Result<(u32, u32), Outcome> {
    match nexus.begin(lun, cdb) {
        Begin::Done(outcome) => Err(outcome),
        Begin::Task(task) => {
            let lengths = (task.data_in_length(), task.data_out_length());
            nexus.forget(task);
            Ok(lengths)
        }
    }
}

/// The pointer of a CDB that is refused for a field of it.
fn pointer(begun: &Result<(u32, u32), Outcome>) -> Option<FieldPointer> {
    let sense = Sense::decode(&begun.as_ref().err()?.sense).ok()?;
    (sense.additional == AdditionalSense::INVALID_FIELD_IN_CDB).then(|| {
        assert_eq!(sense.key, SenseKey::IllegalRequest);
        sense.field.expect("whoever refuses a field points at it")
    })
}

/// Runs a command at stores that do what they are asked, with reads of zeros.
fn run(nexus: &mut Nexus, lun: LogicalUnitNumber, cdb: &Cdb, data_out: &[u8]) -> Outcome {
    let mut task = match nexus.begin(lun, cdb.as_bytes()) {
        Begin::Done(outcome) => return outcome,
        Begin::Task(task) => task,
    };
    let mut step = nexus.start(&mut task, [Bytes::copy_from_slice(data_out)].into_iter().collect());
    loop {
        let output = match step {
            Step::Done(outcome) => return outcome,
            Step::Aborted | Step::Answered(..) | Step::Wait => panic!("nothing resets the unit"),
            Step::Io(BlockIo::Read(extent)) => IoOutput::Data(vec![0; extent.blocks as usize * 512].into()),
            Step::Io(BlockIo::LbaStatus { extent, .. }) => IoOutput::Status(vec![LbaStatus { extent, mapped: true }]),
            Step::Io(_) => IoOutput::Done,
        };
        step = nexus.resume(&mut task, Ok(output));
    }
}

#[test]
fn each_illegal_field_is_pointed_at() {
    for row in COMMANDS {
        let (lun, base) = (unit_of(row), base(row));
        // A list identifier of no copy is refused as it is, and so is the exit from a failure that is none.
        let anyway = pointer(&begin(&mut nexus(), lun, base.as_bytes()));
        let has_reason =
            row.find(Field::ListIdentifier).is_some() || row.operation == Operation::SanitizeExitFailureMode;
        assert!(anyway.is_none() || has_reason, "{}", row.name);
        for entry in row.fields {
            let own = FieldPointer { in_cdb: true, byte: entry.place.byte.into(), bit: Some(entry.place.bit) };
            let bits = (0..entry.place.bits).map(|bit| 1 << bit);
            for value in bits.chain([0, entry.place.max()]) {
                let cdb = with(base, entry.field, value);
                let found = pointer(&begin(&mut nexus(), lun, cdb.as_bytes()));
                // Which field is wrong depends on another there.
                let is_of_several = row.operation == Operation::ReportSupportedOperationCodes;
                assert!(
                    found.is_none() || found == Some(own) || found == anyway || is_of_several,
                    "{cdb:?}: {found:?}"
                );
                let is_refused = entry.refused && value != 0 && anyway.is_none();
                assert!(!is_refused || found == Some(own), "{cdb:?}: {found:?}");
            }
        }
    }
}

#[test]
fn each_service_action_that_is_none_is_pointed_at() {
    let opcodes = (0..=u8::MAX).filter(|opcode| rows_of(*opcode).any(|row| row.service_action.is_some()));
    for opcode in opcodes {
        let long = rows_of(opcode).any(|row| row.length == 32);
        for action in (0..32).filter(|action| !rows_of(opcode).any(|row| row.service_action == Some(*action))) {
            let mut cdb = [0; 32];
            (cdb[0], cdb[7]) = (opcode, if long { 24 } else { 0 });
            cdb[if long { 9 } else { 1 }] = action;
            let found = pointer(&begin(&mut nexus(), LogicalUnitNumber::from(0), &cdb)).unwrap();
            assert_eq!((found.byte, found.bit), if long { (8, Some(7)) } else { (1, Some(4)) }, "{opcode:#x} {action}");
        }
    }
}

#[test]
fn bits_of_no_field_change_nothing() {
    for row in COMMANDS {
        let (lun, base) = (unit_of(row), base(row));
        let usual = begin(&mut nexus(), lun, base.as_bytes());
        let mut known = row.usage();
        for byte in row.fields.iter().filter(|entry| entry.refused).flat_map(|entry| {
            let place = entry.place;
            (0..place.bits).map(move |bit| usize::from(place.byte) * 8 + usize::from(7 - place.bit + bit))
        }) {
            known[byte / 8] |= 0x80 >> (byte % 8);
        }
        let control = if row.length == 32 { 1 } else { usize::from(row.length) - 1 };
        known[control] |= 0x04; // NACA
        known[0] = 0xff;
        if row.length == 32 {
            known[7..10].fill(0xff);
        } else if row.service_action.is_some() {
            known[1] |= 0x1f;
        }
        for bit in (0..base.as_bytes().len() * 8).filter(|bit| known[bit / 8] & 0x80 >> (bit % 8) == 0) {
            let mut cdb = base.as_bytes().to_vec();
            cdb[bit / 8] ^= 0x80 >> (bit % 8);
            assert_eq!(begin(&mut nexus(), lun, &cdb), usual, "{}: bit {bit}", row.name);
        }
    }
}

/// A nexus that has copied and made a token, both of which can be asked about.
fn nexus_that_has_copied() -> Nexus {
    let (mut nexus, lun) = (nexus(), LogicalUnitNumber::from(0));
    for operation in [Operation::PopulateToken, Operation::ExtendedCopyLid1] {
        let outcome = run(&mut nexus, lun, &base(operation.descriptor()), &list(operation));
        assert_eq!(outcome.status, Status::Good, "{operation:?}: {:?}", Sense::decode(&outcome.sense));
    }
    nexus
}

#[test]
fn allocation_lengths_hold_to_the_byte() {
    for row in COMMANDS.iter().filter(|row| row.data == Data::In(Amount::Allocation)) {
        let (lun, mut nexus) = (unit_of(row), nexus_that_has_copied());
        let whole = run(&mut nexus, lun, &base(row), &[]);
        assert_eq!(whole.status, Status::Good, "{}: {:?}", row.name, Sense::decode(&whole.sense));
        assert!(!whole.data_in.is_empty(), "{}", row.name);
        let room = row.find(Field::AllocationLength).unwrap().max();
        for length in (0..=whole.data_in.len() + 2).filter(|length| *length as u64 <= room) {
            let cut = run(&mut nexus, lun, &with(base(row), Field::AllocationLength, length as u64), &[]);
            let expected = &whole.data_in[..length.min(whole.data_in.len())];
            assert_eq!((cut.status, &cut.data_in[..]), (Status::Good, expected), "{} of {length} bytes", row.name);
        }
    }
}

/// All that a parameter list could have changed, as initiators are told of it.
fn state(nexus: &mut Nexus) -> Vec<Bytes> {
    let asked = [
        Cdb::mode_sense_6(0, 0x3f, 0, 255),
        Cdb::persist_read_full_status(4096),
        Cdb::persist_read_reservation(4096),
        base(Operation::ReportTargetPortGroups.descriptor()),
        base(Operation::ReportTimestamp.descriptor()),
        base(Operation::ReportAllRodTokens.descriptor()),
        Cdb::test_unit_ready(),
    ];
    asked.map(|cdb| run(nexus, LogicalUnitNumber::from(0), &cdb, &[]).data_in).into()
}

/// Begins a command whose list is `there` and nothing more. Gives the sense if it is refused; then nothing was asked of a store, and nothing is
/// other than before.
fn refused(operation: Operation, cdb: &Cdb, there: &[u8]) -> Option<Sense> {
    let (mut nexus, lun) = (nexus(), LogicalUnitNumber::from(0));
    let register = OutList { action_key: 1, ..OutList::default() }.encode();
    run(&mut nexus, lun, &base(Operation::PersistRegister.descriptor()), &register);
    let before = state(&mut nexus);
    let outcome = match nexus.begin(lun, cdb.as_bytes()) {
        Begin::Done(outcome) => outcome,
        Begin::Task(mut task) => match nexus.start(&mut task, [Bytes::copy_from_slice(there)].into_iter().collect()) {
            Step::Done(outcome) => outcome,
            step => {
                assert!(!matches!(step, Step::Aborted), "{operation:?}");
                return None;
            }
        },
    };
    if outcome.status == Status::Good {
        return None;
    }
    assert_eq!(state(&mut nexus), before, "{operation:?} of {} bytes has changed something", there.len());
    Sense::decode(&outcome.sense).ok()
}

#[test]
fn a_list_that_is_shorter_than_the_cdb_says_changes_nothing() {
    for row in COMMANDS.iter().filter(|row| matches!(row.data, Data::Out(Amount::ParameterList | Amount::FormatList))) {
        let whole = list(row.operation);
        for length in 0..whole.len() {
            let sense = refused(row.operation, &base(row), &whole[..length]);
            let sense = sense.unwrap_or_else(|| panic!("{} takes {length} bytes of {}", row.name, whole.len()));
            assert_eq!(sense.key, SenseKey::IllegalRequest, "{}", row.name);
        }
    }
}

/// The CDB says as many bytes as there are, and lengths in the list say more.
#[test]
fn a_list_that_says_that_it_is_longer_than_it_is_changes_nothing() {
    for row in COMMANDS.iter().filter(|row| row.data == Data::Out(Amount::ParameterList)) {
        let whole = list(row.operation);
        for length in 1..whole.len() {
            // What is left says nothing wrong: a header without a page or group.
            let is_whole = match row.operation {
                Operation::ModeSelect6 | Operation::SetTargetPortGroups => length == 4,
                Operation::ModeSelect10 => length == 8,
                _ => false,
            };
            let cdb = with(base(row), Field::ParameterListLength, length as u64);
            let sense = refused(row.operation, &cdb, &whole[..length]);
            assert_eq!(sense.is_none(), is_whole, "{} of {length} bytes", row.name);
            assert!(sense.is_none_or(|sense| sense.key == SenseKey::IllegalRequest), "{}", row.name);
        }
    }
}
