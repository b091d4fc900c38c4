//! REPORT TARGET PORT GROUPS and SET TARGET PORT GROUPS (SPC-4 6.37, 6.45), and REPORT REFERRALS (SBC-3 5.23).

use bytes::Bytes;

use super::{Context, Plan, Started, Work, allocated, medium};
use crate::access::{AccessState, ChangedBy, EXTENDED_HEADER, Referrals, SetAccessList, UserDataSegment};
use crate::cdb::Cdb;
use crate::io::{BlockIo, Extent, Segments};
use crate::opcodes::Field;
use crate::sense::{AdditionalSense, Sense};
use crate::task::Rare;

const LENGTH_ERROR: Sense = Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);

/// REPORT TARGET PORT GROUPS.
pub(super) fn report(context: &Context<'_>, cdb: &Cdb) -> Result<Bytes, Sense> {
    let extended = match cdb.get(Field::ParameterDataFormat) {
        0 => false,
        format if format == EXTENDED_HEADER.into() => true,
        _ => return Err(cdb.refuse(Field::ParameterDataFormat)),
    };
    let report = context.unit.look(|state| state.access.report(&context.unit.ports()));
    Ok(allocated(cdb, report.encode(extended)))
}

/// REPORT REFERRALS: one segment, whatever block it is asked from, since all blocks are reached alike.
pub(super) fn referrals(context: &Context<'_>, cdb: &Cdb) -> Result<Bytes, Sense> {
    let blocks = context.unit.blocks();
    if cdb.get(Field::LogicalBlockAddress) >= blocks {
        return Err(medium::OUT_OF_RANGE);
    }
    let report = context.unit.look(|state| state.access.report(&context.unit.ports()));
    let groups = report.groups.iter().map(|group| (group.group, group.state)).collect();
    let segment = UserDataSegment { blocks: Extent { lba: 0, blocks }, groups };
    Ok(allocated(cdb, Referrals(vec![segment]).encode()))
}

/// SET TARGET PORT GROUPS: a list that is not there changes nothing.
pub(super) fn set(cdb: &Cdb) -> Result<Plan, Sense> {
    match cdb.get(Field::ParameterListLength) {
        0 => Ok(Plan::DONE),
        length if length > SetAccessList::BYTES_MAX => Err(LENGTH_ERROR),
        length => Ok(Plan::taking(Work::SetAccess, length as u32)),
    }
}

/// SET TARGET PORT GROUPS: the parameter list. The states hold at once; the answer comes when they are kept, where somebody keeps them.
pub(super) fn start_set(context: &Context<'_>, data: Segments, wanted: u32) -> Result<Started, Sense> {
    let list = SetAccessList::decode(&medium::exactly(data, wanted).map_err(|_| LENGTH_ERROR)?)?;
    let changes = groups(context, &list)?;
    match context.unit.set_access(&changes, ChangedBy::Command, Some(context.nexus)) {
        Some(record) => {
            let otherwise = AdditionalSense::SET_TARGET_PORT_GROUPS_COMMAND_FAILED;
            Ok(Started::Io(BlockIo::Keep(record), Rare::Kept { otherwise }.into()))
        }
        None => Ok(Started::Done),
    }
}

/// The groups by their numbers, each of which may be there once.
fn groups(context: &Context<'_>, list: &SetAccessList) -> Result<Vec<(u16, AccessState)>, Sense> {
    let ports = context.unit.ports();
    let is_wrong = |(index, (group, _)): &(usize, &(u16, AccessState))| {
        !ports.has_group(*group) || list.0[..*index].iter().any(|(other, _)| other == group)
    };
    match list.0.iter().enumerate().find(is_wrong) {
        Some((index, _)) => Err(SetAccessList::refuse_group(index)),
        None => Ok(list.0.clone()),
    }
}
