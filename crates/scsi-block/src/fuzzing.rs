//! A body for fuzzers and property tests: any bytes become commands of two nexuses to a small device.
//!
//! What must hold is asserted here: no panic, every step bounded, every request inside the medium and exact in
//! length, every outcome's data within what was announced.

use std::sync::Arc;

use bytes::Bytes;

use crate::access::SetAccessList;
use crate::cdb::Cdb;
use crate::config::Kept;
use crate::copy::{
    CopyList, Cscd, PopulateTokenList, RodToken, RodTokenInformation, Segment, TokenSecret, WriteUsingTokenList,
};
use crate::designator::Designator;
use crate::io::{BlockIo, Extent, Geometry, IoDone, IoError, IoOutput, LbaStatus, Segments};
use crate::mode::{self, ModeSettings, PageValues};
use crate::opcodes::VARIABLE_LENGTH;
use crate::parameters::{OverwriteList, UnmapList};
use crate::protection::ProtectionType;
use crate::reservations::{NexusName, OutList, Path, in_place_of_damaged};
use crate::{
    AccessState, Begin, Limits, LogicalUnitConfig, LogicalUnitNumber, Nexus, Outcome, Status, Step, TargetDevice,
    TargetPort, TargetPortGroup, Task, segments,
};

const SMALL: Geometry = Geometry { block_size: 512, blocks: 2048 };
const HUGE: Geometry = Geometry { block_size: 4096, blocks: 1 << 40 };
const TRANSFER_BYTES_MAX: u32 = 64 << 10;
const STEPS_MAX: usize = 64;
/// One of each configuration: plain, thin and huge, removable, write-protected, the types of protection information, two of them thin, and one
/// whose reservations were lost.
const UNITS: usize = 8;
const LOST: usize = 7;

fn device() -> TargetDevice {
    let unit = |index: usize| {
        let limits = Limits {
            transfer_bytes_max: TRANSFER_BYTES_MAX,
            transfer_bytes_optimal: TRANSFER_BYTES_MAX,
            ..Limits::default()
        };
        let plain = LogicalUnitConfig {
            limits,
            token_secret: Some(TokenSecret::new([index as u8; 32])),
            ..LogicalUnitConfig::new(if index == 1 { HUGE } else { SMALL }, format!("fuzz-{index}"))
        };
        let config = match index {
            0 => plain,
            1 => LogicalUnitConfig {
                thin: true,
                kept: Some(Kept::new()),
                limits: Limits { atomic_bytes_max: 4096, ..limits },
                ..plain
            },
            2 => LogicalUnitConfig { removable: true, thin: true, ..plain },
            3 => LogicalUnitConfig { read_only: true, ..plain },
            LOST => {
                let record = in_place_of_damaged("reservations").map(|record| ("reservations".to_owned(), record));
                LogicalUnitConfig { kept: Some(record.into_iter().collect()), ..plain }
            }
            kind => LogicalUnitConfig {
                protection: ProtectionType::from_number(kind as u8 - 3),
                thin: kind != 6,
                limits: Limits { atomic_bytes_max: 4096, ..limits },
                ..plain
            },
        };
        (LogicalUnitNumber::from(index as u16), config)
    };
    TargetDevice::with_ports(groups(), (0..UNITS).map(unit)).expect("the fuzzing device's configuration is right")
}

/// The ports 1 and 2, each in a group of its own.
fn groups() -> [TargetPortGroup; 2] {
    [1, 2].map(|number| TargetPortGroup::new(number, vec![TargetPort { identifier: number, name: None }]))
}

/// An initiator through the port of this number.
fn through(port: u16) -> NexusName {
    let name = NexusName::from("fuzz");
    NexusName { path: Path { target_port: port, ..name.path }, ..name }
}

/// Bytes taken from the front; zeros when there are none left.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }
}

/// Runs `input` as a list of commands and resets. Each takes a byte that says who, where and what kind, a CDB of 16
/// bytes, then its data-out.
///
/// # Panics
/// Something that must hold does not.
pub fn command_list(input: &[u8]) {
    let device = Arc::new(device());
    let mut nexuses = [device.connect(through(1)), device.connect(through(2))];
    let mut input = Input(input);
    while !input.0.is_empty() {
        let choice = input.byte();
        let nexus = &mut nexuses[usize::from(choice & 1)];
        let lun = LogicalUnitNumber::from(u16::from(choice >> 1 & 7));
        match choice >> 5 {
            0 => drop(nexus.logical_unit_reset(lun)),
            1 => {
                let _ = nexus.abort_task_set(lun);
                owner_sets(&device, lun, &mut input);
            }
            2 => nexuses[0] = device.connect(through(1)),
            _ => command(nexus, lun, &mut input),
        }
        upkeep(&device);
    }
}

/// The owner changes the state of a group, which may be none that there is.
fn owner_sets(device: &TargetDevice, lun: LogicalUnitNumber, input: &mut Input<'_>) {
    let group = u16::from(input.byte() % 3);
    let state = AccessState::ALL[usize::from(input.byte()) % AccessState::ALL.len()];
    if let Some(unit) = device.find(lun)
        && let Ok(Some(request)) = device.set_access(unit, group, state)
    {
        let info = device.logical_units().find(|info| info.index == unit).expect("the unit is there");
        let _ = answer(&request, &info.config, 0);
    }
}

fn command(nexus: &mut Nexus, lun: LogicalUnitNumber, input: &mut Input<'_>) {
    let mut cdb = input.bytes(16);
    if cdb[0] == VARIABLE_LENGTH {
        cdb.extend(input.bytes(16));
    }
    let list = parameter_list(&mut cdb, nexus, input);
    match nexus.begin(lun, &cdb) {
        Begin::Done(outcome) => check_outcome(&outcome),
        Begin::Task(task) => run(nexus, task, list, input),
    }
}

/// For commands whose data no chance would find: a list that is right but for one byte, with its length in the CDB.
fn parameter_list(cdb: &mut [u8], nexus: &mut Nexus, input: &mut Input<'_>) -> Option<Vec<u8>> {
    let (&[opcode, service_action, ..], true) = (&*cdb, input.byte() & 3 != 0) else { return None };
    let mut list = match (opcode, service_action & 0x1f) {
        (0x83, 0) => copy_list(nexus.device(), input).encode_lid1(),
        (0x83, 1) => CopyList { immediate: input.byte() & 1 != 0, ..copy_list(nexus.device(), input) }.encode_lid4(),
        (0x83, 0x10) => PopulateTokenList { inactivity_seconds: 0, ranges: ranges(input) }.encode(),
        (0x83, 0x11) => write_list(nexus, input).encode(),
        (0xa4, 0x0a) => access_list(input).encode(),
        (0x5f, _) => out_list(input).encode(),
        (0x55, _) => mode_list(),
        (0x42, _) => UnmapList(ranges(input).into()).encode(),
        (0x48, 0x01) => {
            OverwriteList { invert: input.byte() & 1 != 0, passes: 1 + input.byte() % 31, pattern: vec![1] }.encode()
        }
        _ => return None,
    };
    let (place, change) = (usize::from(input.byte()), input.byte());
    if let Some(byte) = list.get_mut(place) {
        *byte ^= change;
    }
    if cdb[1] & 0x1f >= 0x10 {
        cdb[6..10].copy_from_slice(&[0; 4]);
    }
    let length = (list.len() as u32).to_be_bytes();
    match cdb[0] {
        0xa4 => cdb[6..10].copy_from_slice(&length),
        0x5f => cdb[5..9].copy_from_slice(&length),
        0x83 => cdb[10..14].copy_from_slice(&length),
        _ => cdb[7..9].copy_from_slice(&length[2..]),
    }
    Some(list)
}

/// Few keys, so that some are those that are registered.
fn out_list(input: &mut Input<'_>) -> OutList {
    let flags = input.byte();
    OutList {
        key: u64::from(input.byte() & 3),
        action_key: u64::from(input.byte() & 3),
        initiator_ports: (flags & 7 == 7).then(Vec::new),
        all_target_ports: flags & 8 != 0,
        persist: flags & 16 != 0,
    }
}

/// The list of a MODE SELECT (10) with all pages as they are by default.
fn mode_list() -> Vec<u8> {
    let values = PageValues::Settings(ModeSettings::new(true));
    let pages = mode::encode_pages(mode::ALL_PAGES, 0, values, false).expect("there are pages");
    [&[0; 8], &pages[..]].concat()
}

fn access_list(input: &mut Input<'_>) -> SetAccessList {
    let change = |input: &mut Input<'_>| {
        let state = AccessState::ALL[usize::from(input.byte()) % AccessState::ALL.len()];
        (u16::from(input.byte() % 3), state)
    };
    SetAccessList((0..input.byte() % 4).map(|_| change(input)).collect())
}

fn ranges(input: &mut Input<'_>) -> Vec<Extent> {
    let range = |input: &mut Input<'_>| Extent { lba: u64::from(input.byte()) * 8, blocks: input.byte().into() };
    (0..1 + input.byte() % 3).map(|_| range(input)).collect()
}

/// A list with the token that the nexus has made last, if it has, or the one for zeros.
fn write_list(nexus: &mut Nexus, input: &mut Input<'_>) -> WriteUsingTokenList {
    let lun = LogicalUnitNumber::from(u16::from(input.byte() & 3));
    let asked = nexus.begin(lun, Cdb::receive_rod_token_information(0, 1024).as_bytes());
    let told = match &asked {
        Begin::Done(outcome) => RodTokenInformation::decode(&outcome.data_in).ok(),
        Begin::Task(_) => None,
    };
    let token = told.and_then(|told| told.token).unwrap_or_else(RodToken::zeros);
    WriteUsingTokenList {
        token,
        offset_blocks: (input.byte() & 3).into(),
        immediate: input.byte() & 1 != 0,
        delete: input.byte() & 1 != 0,
        ranges: ranges(input),
    }
}

fn copy_list(device: &TargetDevice, input: &mut Input<'_>) -> CopyList {
    let cscds = device.logical_units().map(|unit| Cscd {
        designator: Designator::naa_local(unit.config.identity.serial.as_bytes()),
        block_size: unit.config.geometry.block_size,
    });
    let segment = |input: &mut Input<'_>| Segment {
        source: u16::from(input.byte() % 8),
        destination: u16::from(input.byte() % 8),
        counts_destination: input.byte() & 1 != 0,
        blocks: u16::from(input.byte()) * 16,
        source_lba: u64::from(input.byte()) * 8,
        destination_lba: u64::from(input.byte()) * 8,
    };
    CopyList {
        identifier: Some(u32::from(input.byte() & 3)),
        immediate: false,
        cscds: cscds.collect(),
        segments: (0..input.byte() % 4).map(|_| segment(input)).collect(),
    }
}

/// A step of what goes on without a task at each unit.
fn upkeep(device: &TargetDevice) {
    let requests: Vec<_> = std::iter::from_fn(|| device.poll_upkeep()).collect();
    for (index, request) in requests {
        let unit = device.logical_units().find(|unit| unit.index == index).expect("the unit is there");
        device.handle_upkeep_done(index, answer(&request, &unit.config, 0));
    }
}

/// The blocks as the store has them.
fn stored(config: &LogicalUnitConfig) -> Geometry {
    Geometry { block_size: config.stored_block_bytes(), ..config.geometry }
}

fn run(nexus: &mut Nexus, mut task: Task, list: Option<Vec<u8>>, input: &mut Input<'_>) {
    assert!(task.data_out_length() <= 2 * 255 * 4096, "data-out is bounded");
    assert!(task.data_in_length() <= TRANSFER_BYTES_MAX / 512 * 520, "data-in is bounded");
    let pieces = usize::from(input.byte() % 4);
    let data = (0..pieces).map(|_| {
        let bytes = usize::from(input.byte()) * 64;
        Bytes::from(input.bytes(bytes))
    });
    let data = match list {
        Some(list) => [Bytes::from(list)].into_iter().collect(),
        None => data.collect::<Segments>(),
    };
    let mut step = nexus.start(&mut task, data);
    for _ in 0..STEPS_MAX {
        step = match step {
            Step::Done(outcome) => return check_outcome(&outcome),
            Step::Aborted => return,
            Step::Io(request) | Step::Answered(request) => {
                let device = Arc::clone(nexus.device());
                let unit = device.logical_units().nth(task.store()).expect("the step has a unit");
                nexus.resume(&mut task, answer(&request, &unit.config, input.byte()))
            }
            Step::Wait => panic!("no other task has a request out"),
        };
    }
    // A wipe of the huge unit and a copy have many steps; they end with the first that fails.
    if let Step::Io(_) | Step::Answered(..) = step {
        step = nexus.resume(&mut task, Err(IoError::Write));
    }
    assert!(!matches!(step, Step::Io(_)), "the task goes on for ever");
}

/// What a store would say, or an error if `choice` says so.
fn answer(request: &BlockIo, config: &LogicalUnitConfig, choice: u8) -> IoDone {
    let geometry = stored(config);
    let block_size = u64::from(geometry.block_size);
    let inside = |extent: &Extent| {
        assert!(extent.blocks > 0, "a request is about blocks");
        let end = extent.lba.checked_add(extent.blocks).expect("an extent's end is a number");
        assert!(end <= geometry.blocks, "a request stays inside the medium");
    };
    let whole = |lba: u64, data: &Segments, times: u64| {
        let bytes = segments::length(data);
        assert_eq!(bytes % (times * block_size), 0, "data is whole blocks");
        inside(&Extent { lba, blocks: bytes / block_size / times });
    };
    match request {
        BlockIo::Read(extent)
        | BlockIo::WriteSame { extent, block: None, .. }
        | BlockIo::Wipe { extent, block: None }
        | BlockIo::Prefetch(extent) => inside(extent),
        BlockIo::LbaStatus { extent, runs_max } => {
            assert!(*runs_max > 0, "some run is asked for");
            inside(extent);
        }
        BlockIo::Write { lba, data, .. } | BlockIo::OrWrite { lba, data, .. } | BlockIo::Compare { lba, data } => {
            whole(*lba, data, 1)
        }
        BlockIo::CompareAndWrite { lba, data, .. } => whole(*lba, data, 2),
        BlockIo::WriteSame { extent, block: Some(block), .. } | BlockIo::Wipe { extent, block: Some(block) } => {
            assert_eq!(block.len() as u64, block_size, "WRITE SAME is of one block");
            inside(extent);
        }
        BlockIo::Unmap(extents) => extents.iter().for_each(inside),
        BlockIo::Keep(record) => {
            assert!(config.kept.is_some(), "records are only given to who keeps them");
            let kept = [(record.name.to_owned(), record.content.clone())].into_iter().collect();
            let config = LogicalUnitConfig { kept: Some(kept), ..config.clone() };
            let again = TargetDevice::with_ports(groups(), [(LogicalUnitNumber::default(), config)]);
            assert!(again.is_ok(), "what is kept can be read");
        }
        BlockIo::Flush => {}
    }
    match (choice, request) {
        (1, _) => Err(IoError::Write),
        (2, _) => Err(IoError::Miscompare { offset: 700 }),
        (_, BlockIo::LbaStatus { extent, .. }) => {
            Ok(IoOutput::Status(vec![LbaStatus { extent: *extent, mapped: true }]))
        }
        (3, BlockIo::Prefetch(_)) => Ok(IoOutput::Uncached),
        (_, BlockIo::Read(extent)) => Ok(IoOutput::Data(Bytes::from(vec![0; (extent.blocks * block_size) as usize]))),
        _ => Ok(IoOutput::Done),
    }
}

fn check_outcome(outcome: &Outcome) {
    assert_eq!(outcome.status == Status::CheckCondition, !outcome.sense.is_empty());
    assert!(outcome.status == Status::Good || outcome.data_in.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opcodes::COMMANDS;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            command_list(&bytes);
        }

        /// Known operation codes, so that the commands behind them are reached.
        #[test]
        fn any_fields_are_answered(commands in prop::collection::vec((any::<[u8; 40]>(), 0..COMMANDS.len()), 1..24)) {
            let mut bytes: Vec<u8> = (0xe0..=0xef).flat_map(|choice| [[choice].as_slice(), &[0; 16]].concat()).collect();
            for (mut command, row) in commands {
                command[0] |= 0x60; // a command, no reset
                command[1] = COMMANDS[row].opcode;
                command[2] &= 0x1f;
                command[3..9].fill(0);
                COMMANDS[row].put_service_action(&mut command[1..]);
                if command[1] == VARIABLE_LENGTH {
                    command[13..19].fill(0);
                }
                bytes.extend(command);
            }
            command_list(&bytes);
        }
    }
}
