//! Commands that tell what is there: capacity, logical units, supported commands and functions.

use bytes::Bytes;

use super::allocated;
use crate::LogicalUnitNumber;
use crate::cdb::Cdb;
use crate::opcodes::{COMMANDS, CommandDescriptor, Field, Rules, rows_of};
use crate::parameters::{
    Capacity10, Capacity16, SupportedCommand, TIMEOUTS_DESCRIPTOR, TaskManagementFunctions, UnitList,
};
use crate::protection::ProtectionType;
use crate::rights::DeviceView;
use crate::sense::{AdditionalSense, Sense};
use crate::unit::{LogicalUnit, NexusId};

/// READ CAPACITY (10).
pub(super) fn read_capacity_10(unit: &LogicalUnit) -> Bytes {
    Capacity10::of(unit.geometry()).encode().into()
}

/// READ CAPACITY (16).
pub(super) fn read_capacity_16(unit: &LogicalUnit, cdb: &Cdb) -> Bytes {
    let config = &unit.config;
    let capacity = Capacity16 {
        last_lba: unit.blocks() - 1,
        block_size: config.geometry.block_size,
        physical_block_exponent: config.physical_block_exponent,
        protection_type: config.protection.map(ProtectionType::number),
        provisioning: config.thin,
        reads_zero: config.thin,
        ..Capacity16::default()
    };
    allocated(cdb, capacity.encode())
}

/// REPORT LUNS (SPC-5 table 305). No unit is an administrative one, and so none has subsidiary ones that could be asked for (12h).
///
/// Who has read the list need not be told that it has changed.
pub(crate) fn report_luns(device: &DeviceView, nexus: NexusId, cdb: &Cdb) -> Result<Bytes, Sense> {
    let (numbered, well_known) = match cdb.get(Field::SelectReport) {
        0x00 | 0x11 => (true, false),
        0x01 => (false, true),
        0x02 => (true, true),
        0x10 => (false, false),
        _ => return Err(cdb.refuse(Field::SelectReport)),
    };
    // Before the list is read: a change that is not in it yet is told.
    for (_, unit) in device.roster().units() {
        unit.clear_attention(nexus, AdditionalSense::REPORTED_LUNS_DATA_HAS_CHANGED);
    }
    let mut units = if numbered { device.roster().numbers() } else { Vec::new() };
    units.extend(well_known.then_some(LogicalUnitNumber::WELL_KNOWN_REPORT_LUNS));
    Ok(allocated(cdb, UnitList(units).encode()))
}

/// Whether this unit carries the command out.
fn is_supported(unit: &LogicalUnit, row: &CommandDescriptor) -> bool {
    !row.rules.contains(Rules::OPTIONAL) || unit.config.supports(row.operation)
}

/// REPORT SUPPORTED OPERATION CODES (SPC-5 6.34).
pub(super) fn operation_codes(unit: &LogicalUnit, cdb: &Cdb) -> Result<Bytes, Sense> {
    let timeouts = cdb.has(Field::ReturnTimeouts);
    let opcode = cdb.get(Field::RequestedOperationCode) as u8;
    let service_action = cdb.get(Field::RequestedServiceAction);
    let has_actions = rows_of(opcode).any(|row| row.service_action.is_some());
    let row = rows_of(opcode).find(|row| u64::from(row.service_action.unwrap_or(0)) == service_action);
    let data = match cdb.get(Field::ReportingOptions) {
        0 => all_commands(unit, timeouts),
        1 if has_actions => return Err(cdb.refuse(Field::RequestedOperationCode)),
        1 => one_command(unit, rows_of(opcode).next(), timeouts),
        2 if !has_actions && row.is_some() => return Err(cdb.refuse(Field::RequestedServiceAction)),
        2 | 3 => one_command(unit, row, timeouts),
        _ => return Err(cdb.refuse(Field::ReportingOptions)),
    };
    Ok(allocated(cdb, data))
}

fn all_commands(unit: &LogicalUnit, timeouts: bool) -> Vec<u8> {
    let mut list = Vec::new();
    for row in COMMANDS.iter().filter(|row| is_supported(unit, row)) {
        let command = SupportedCommand {
            opcode: row.opcode,
            service_action: row.service_action.map(u16::from),
            length: row.length.into(),
        };
        command.encode(timeouts, &mut list);
    }
    [&(list.len() as u32).to_be_bytes()[..], &list].concat()
}

fn one_command(unit: &LogicalUnit, row: Option<&CommandDescriptor>, timeouts: bool) -> Vec<u8> {
    const NOT_SUPPORTED: u8 = 1;
    const SUPPORTED: u8 = 3;
    let Some(row) = row.filter(|row| is_supported(unit, row)) else { return vec![0, NOT_SUPPORTED, 0, 0] };
    let mut data = vec![0, u8::from(timeouts) << 7 | SUPPORTED, 0, row.length];
    data.extend(row.usage_at(unit.config.protection.is_some()));
    if timeouts {
        data.extend(TIMEOUTS_DESCRIPTOR);
    }
    data
}

/// REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-5 6.35). That a transport may ask for a reset of the whole target is not told here: it is
/// a right, and the bit is obsolete.
pub(super) fn task_management_functions(cdb: &Cdb) -> Bytes {
    let functions = TaskManagementFunctions {
        abort_task: true,
        abort_task_set: true,
        clear_aca: true,
        clear_task_set: true,
        logical_unit_reset: true,
        query_asynchronous_event: true,
        i_t_nexus_reset: true,
        ..TaskManagementFunctions::default()
    };
    allocated(cdb, functions.encode(cdb.has(Field::ReturnExtended)))
}
