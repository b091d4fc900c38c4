//! UNMAP, GET LBA STATUS and READ DEFECT DATA (SBC-4 5.36, 5.7, 5.23): which blocks have space, and which are bad.

use bytes::Bytes;

use super::medium::{OUT_OF_RANGE, check_range};
use super::{Context, Plan, Started, Work, allocated, medium};
use crate::cdb::Cdb;
use crate::io::{BlockIo, Extent, LbaStatus, Segments};
use crate::opcodes::{Field, Operation};
use crate::parameters::{LbaStatusList, UnmapList};
use crate::sense::{AdditionalSense, Sense};
use crate::sequence::Sequence;
use crate::task::{Rare, Then};
use crate::unit::LogicalUnit;

const LENGTH_ERROR: Sense = Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);

/// Runs of blocks that one GET LBA STATUS tells of at most.
const STATUS_RUNS_MAX: u64 = 256;

/// UNMAP.
pub(super) fn unmap(cdb: &Cdb) -> Plan {
    let data_out_length = cdb.get(Field::ParameterListLength) as u32;
    Plan::taking(Work::Unmap, data_out_length)
}

/// Without a write cache nobody flushes later, so the blocks are durably zeros before GOOD.
pub(super) fn start_unmap(unit: &LogicalUnit, data: Segments, wanted: u32, durable: bool) -> Result<Started, Sense> {
    let list = medium::exactly(data, wanted).map_err(|_| LENGTH_ERROR)?;
    let limits = &unit.config.limits;
    let UnmapList(mut extents) = UnmapList::decode(&list, limits.unmap_descriptors_max)?;
    extents.iter().try_for_each(|extent| check_range(unit, *extent))?;
    let blocks: u64 = extents.iter().map(|extent| extent.blocks).sum();
    if blocks > unit.config.blocks_in(limits.unmap_bytes_max).into() {
        return Err(Sense::illegal(AdditionalSense::INVALID_FIELD_IN_PARAMETER_LIST));
    }
    extents.retain(|extent| extent.blocks > 0);
    if extents.is_empty() {
        return Ok(Started::Done);
    }
    let changes = extents.iter().copied().reduce(Extent::hull).unwrap_or(Extent::NONE);
    let then = match durable {
        true => Rare::Continue(Sequence::Few([BlockIo::Flush].into()), changes).into(),
        false => Then::End(changes),
    };
    Ok(Started::Io(BlockIo::Unmap(extents), then))
}

/// GET LBA STATUS: as many runs of blocks as the allocation length has room for, and one at least.
pub(super) fn lba_status(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Sense> {
    if cdb.has(Field::ReportType) {
        return Err(cdb.refuse(Field::ReportType));
    }
    let (lba, blocks) = (cdb.get(Field::LogicalBlockAddress), context.unit.blocks());
    if lba >= blocks {
        return Err(OUT_OF_RANGE);
    }
    let allocation_length = cdb.get(Field::AllocationLength) as u32;
    let room = u64::from(allocation_length).saturating_sub(LbaStatusList::HEADER_BYTES as u64);
    let runs = room.div_ceil(LbaStatusList::DESCRIPTOR_BYTES as u64).clamp(1, STATUS_RUNS_MAX);
    let data_in_length = (LbaStatusList::HEADER_BYTES as u64 + runs * LbaStatusList::DESCRIPTOR_BYTES as u64)
        .min(allocation_length.into()) as u32;
    let extent = Extent { lba, blocks: blocks - lba };
    let work = Work::LbaStatus { extent, runs_max: runs as u16 };
    Ok(Plan::giving(work, data_in_length))
}

/// The answer, cut to the room that the initiator has for it.
pub(super) fn encode_status(runs: Vec<LbaStatus>, data_in_length: u32) -> Bytes {
    let mut data: Bytes = LbaStatusList(runs).encode().into();
    data.truncate(data_in_length as usize);
    data
}

/// READ DEFECT DATA: a list of the format asked for, without a defect in it.
pub(super) fn defect_data(cdb: &Cdb) -> Result<Bytes, Sense> {
    let format = cdb.get(Field::DefectListFormat) as u8;
    if format == 7 {
        return Err(cdb.refuse(Field::DefectListFormat));
    }
    let lists = (cdb.get(Field::DefectLists) as u8) << 3 | format;
    let bytes: &[u8] = match cdb.operation() {
        Operation::ReadDefectData10 => &[0, lists, 0, 0],
        _ => &[0, lists, 0, 0, 0, 0, 0, 0],
    };
    Ok(allocated(cdb, bytes.to_vec()))
}
