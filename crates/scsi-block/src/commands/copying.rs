//! EXTENDED COPY and the commands that ask about copies (SPC-5 6.3, 6.6, 6.7, 6.24 to 6.31). What a copy does goes on in
//! [`copy`](crate::copy).

use bytes::Bytes;

use super::{Context, Plan, Started, Work, allocated, medium};
use crate::cdb::Cdb;
use crate::copy::{
    CopyJob, CopyList, CopyState, CopyStatus, Cscd, FailureDetails, OperatingParameters, Origin, Piece, Segment, Side,
};
use crate::designator::Designator;
use crate::io::Segments;
use crate::opcodes::{self, Field};
use crate::roster::Roster;
use crate::sense::{AdditionalSense, Sense, SenseKey};
use crate::unit::LogicalUnit;

const LENGTH_ERROR: Sense = Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
const NOT_REACHABLE: Sense = Sense::new(SenseKey::CopyAborted, AdditionalSense::COPY_TARGET_DEVICE_NOT_REACHABLE);

/// EXTENDED COPY: the CDB. Without a parameter list there is nothing to copy.
pub(super) fn copy(cdb: &Cdb, lid4: bool) -> Result<Plan, Sense> {
    let data_out_length = cdb.get(Field::ParameterListLength);
    match data_out_length {
        0 => Ok(Plan::DONE),
        _ if data_out_length > CopyList::BYTES_MAX as u64 => Err(LENGTH_ERROR),
        _ => Ok(Plan::taking(Work::Copy { lid4 }, data_out_length as u32)),
    }
}

/// EXTENDED COPY: the parameter list.
pub(super) fn start(context: &Context<'_>, data: Segments, wanted: u32, lid4: bool) -> Result<Started, Sense> {
    let bytes = medium::exactly(data, wanted).map_err(|_| LENGTH_ERROR)?;
    let (list, operation) = match lid4 {
        true => (CopyList::decode_lid4(&bytes)?, opcodes::Operation::ExtendedCopyLid4),
        false => (CopyList::decode_lid1(&bytes)?, opcodes::Operation::ExtendedCopyLid1),
    };
    let roster = context.device.roster();
    let units: Vec<_> = list.cscds.iter().map(|cscd| find(&roster, cscd)).collect();
    let pieces = list.segments.iter().map(|segment| piece(context, &units, segment)).collect();
    let origin = origin(context, operation, list.identifier);
    let operation = context.unit.note(|state| state.copies.begin(origin))?;
    Ok(Started::Copy(Box::new(CopyJob::new(pieces, operation).answered_at_once(list.immediate))))
}

/// Who asks for a copy, and how.
pub(super) fn origin(context: &Context<'_>, operation: opcodes::Operation, list_identifier: Option<u32>) -> Origin {
    let service_action = operation.descriptor().service_action.expect("commands that copy have service actions");
    Origin { nexus: context.nexus, list_identifier, service_action }
}

/// The unit of a name, if there is one that takes part in copies.
pub(super) fn find_named<'a>(roster: &'a Roster, wanted: &Designator) -> Option<(usize, &'a LogicalUnit)> {
    let is_named = |unit: &LogicalUnit| unit.config.identity.names().any(|name| name == *wanted);
    let found = roster.units().find(|(_, unit)| unit.config.copies() && is_named(unit));
    found.map(|(index, unit)| (index, &**unit))
}

/// The unit that a CSCD descriptor names.
fn find<'a>(roster: &'a Roster, cscd: &Cscd) -> Result<(usize, &'a LogicalUnit), Sense> {
    let (index, unit) = find_named(roster, &cscd.designator).ok_or(NOT_REACHABLE)?;
    match cscd.block_size {
        size if size == 0 || size == unit.config.geometry.block_size => Ok((index, unit)),
        _ => Err(Sense::new(SenseKey::CopyAborted, AdditionalSense::INCORRECT_COPY_TARGET_DEVICE_TYPE)),
    }
}

/// Blocks of a unit from `lba` on, for a copy that begins now.
pub(super) fn side(context: &Context<'_>, index: usize, unit: &LogicalUnit, lba: u64) -> Side {
    let epoch = unit.look(|state| state.epoch(context.nexus));
    Side { unit: index, epoch, block_size: unit.config.geometry.block_size, lba }
}

/// What is to be done for a segment, or why it cannot be.
fn piece(
    context: &Context<'_>,
    units: &[Result<(usize, &LogicalUnit), Sense>],
    segment: &Segment,
) -> Result<Piece, Sense> {
    let side = |id: u16, lba| -> Result<Side, Sense> {
        let (index, unit) = match id {
            Segment::COPY_MANAGER => (context.index, context.unit),
            _ => (*units.get(usize::from(id)).unwrap_or(&Err(NOT_REACHABLE)))?,
        };
        Ok(side(context, index, unit, lba))
    };
    let source = side(segment.source, segment.source_lba)?;
    let destination = side(segment.destination, segment.destination_lba)?;
    let counted = if segment.counts_destination { destination } else { source };
    let bytes = u64::from(segment.blocks) * u64::from(counted.block_size);
    if !bytes.is_multiple_of(source.block_size.max(destination.block_size).into()) {
        return Err(Sense::new(SenseKey::CopyAborted, AdditionalSense::UNEXPECTED_INEXACT_SEGMENT));
    }
    Ok(Piece { source: Some(source), destination, bytes })
}

/// How it stands with the copy of the identifier that the CDB has.
pub(super) fn find_status(context: &Context<'_>, cdb: &Cdb) -> Result<CopyStatus, Sense> {
    let identifier = cdb.get(Field::ListIdentifier) as u32;
    let status = context.unit.note(|state| state.copies.status(context.nexus, identifier));
    status.ok_or(cdb.refuse(Field::ListIdentifier))
}

/// RECEIVE COPY STATUS. It may be asked again and again, as long as the identifier is not used again.
pub(super) fn status(context: &Context<'_>, cdb: &Cdb) -> Result<Bytes, Sense> {
    let status = find_status(context, cdb)?;
    let data = match cdb.operation() {
        opcodes::Operation::ReceiveCopyStatusLid1 => status.encode_lid1(),
        _ => status.encode_lid4(),
    };
    Ok(allocated(cdb, data))
}

/// RECEIVE COPY DATA: no segment holds data for the initiator.
pub(super) fn held_data(context: &Context<'_>, cdb: &Cdb) -> Result<Bytes, Sense> {
    match find_status(context, cdb)?.state {
        CopyState::InProgress => Err(cdb.refuse(Field::ListIdentifier)),
        _ => Ok(allocated(cdb, vec![0; 4])),
    }
}

/// RECEIVE COPY FAILURE DETAILS.
pub(super) fn failure_details(context: &Context<'_>, cdb: &Cdb) -> Result<Bytes, Sense> {
    let status = find_status(context, cdb)?;
    match status.state {
        CopyState::InProgress => Err(cdb.refuse(Field::ListIdentifier)),
        _ => Ok(allocated(cdb, FailureDetails(status.sense).encode(context.summary.sense_format()))),
    }
}

/// RECEIVE COPY OPERATING PARAMETERS.
pub(super) fn operating_parameters(unit: &LogicalUnit, cdb: &Cdb) -> Bytes {
    allocated(cdb, OperatingParameters::of(unit.config.geometry.block_size).encode())
}

/// COPY OPERATION ABORT: the copy ends before its next step.
pub(super) fn abort(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Sense> {
    let identifier = cdb.get(Field::ListIdentifier) as u32;
    match context.unit.note(|state| state.copies.abort(context.nexus, identifier)) {
        true => Ok(Plan::DONE),
        false => Err(cdb.refuse(Field::ListIdentifier)),
    }
}
