//! Commands that read, write, check or unmap blocks (SBC-4 5).

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Context, Plan, Started, Transfer, Work, protected};
use crate::cdb::Cdb;
use crate::io::{BlockIo, Extent, Segments};
use crate::opcodes::{Field, Operation};
use crate::segments;
use crate::sense::{AdditionalSense, Sense};
use crate::sequence::Sequence;
use crate::task::{Rare, Then};
use crate::unit::{Conditions, LogicalUnit, Summary};

pub(super) const OUT_OF_RANGE: Sense = Sense::illegal(AdditionalSense::LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE);
/// Less data has come than the command needs to be safe.
pub(super) const DATA_MISSING: Sense = Sense::illegal(AdditionalSense::INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT);

/// Whether the extent lies on the medium; an empty one may stand at its end.
pub(super) fn check_range(unit: &LogicalUnit, extent: Extent) -> Result<(), Sense> {
    let end = extent.lba.checked_add(extent.blocks);
    match end {
        Some(end) if end <= unit.blocks() => Ok(()),
        _ => Err(OUT_OF_RANGE),
    }
}

/// The blocks that the CDB names, if they are on the medium and have no more than `bytes_max` bytes.
pub(super) fn extent(unit: &LogicalUnit, cdb: &Cdb, bytes_max: u64) -> Result<Extent, Sense> {
    let extent = Extent { lba: cdb.get(Field::LogicalBlockAddress), blocks: cdb.blocks() };
    check_range(unit, extent)?;
    if extent.blocks * u64::from(unit.config.geometry.block_size) > bytes_max {
        return Err(cdb.refuse(Field::Blocks));
    }
    Ok(extent)
}

/// The blocks of a command that reads or writes them all at once.
fn transfer(unit: &LogicalUnit, cdb: &Cdb) -> Result<Extent, Sense> {
    extent(unit, cdb, unit.config.limits.transfer_bytes_max.into())
}

/// A write is durable before GOOD if it says so, or if there is no write cache at its start: while its data was on the way, the cache
/// may have been turned off.
#[inline]
pub(crate) fn durable(summary: Summary, forced: bool) -> bool {
    forced || !summary.has(Conditions::WRITE_CACHE)
}

/// Work that takes the data-out that the CDB asks for; limits have made sure that 32 bits hold its length.
fn with_data_out(unit: &LogicalUnit, cdb: &Cdb, work: Work) -> Plan {
    let data_out_length = cdb.data_length(unit.config.geometry.block_size) as u32;
    Plan::taking(work, data_out_length)
}

/// A READ or WRITE as most are: of some blocks on the medium, within the limit, by a short CDB, without protection information. `None` of any other
/// command, of which [`plan`](super::plan) says what it comes to.
#[inline]
pub(crate) fn plan_transfer(unit: &LogicalUnit, cdb: &Cdb) -> Option<Transfer> {
    use Operation as Op;
    let config = &unit.config;
    let is_read = match cdb.operation() {
        Op::Read10 | Op::Read16 | Op::Read12 => true,
        Op::Write10 | Op::Write16 | Op::Write12 => false,
        _ => return None,
    };
    let extent = Extent { lba: cdb.get_short(Field::LogicalBlockAddress), blocks: cdb.get_short(Field::Blocks) };
    let end = extent.lba.checked_add(extent.blocks)?;
    let bytes = extent.blocks * u64::from(config.geometry.block_size);
    let is_usual = end <= unit.blocks()
        && (1..=u64::from(config.limits.transfer_bytes_max)).contains(&bytes)
        && config.protection.is_none();
    is_usual.then(|| match is_read {
        true => Transfer { work: Work::Read(extent), data_in_length: bytes as u32, data_out_length: 0 },
        false => {
            let work = Work::Write { extent, forced: cdb.get_short(Field::ForceUnitAccess) != 0 };
            Transfer { work, data_in_length: 0, data_out_length: bytes as u32 }
        }
    })
}

/// READ.
pub(super) fn read(unit: &LogicalUnit, cdb: &Cdb) -> Result<Plan, Sense> {
    if let Some(kind) = unit.config.protection {
        return protected::read(unit, kind, cdb);
    }
    let extent = transfer(unit, cdb)?;
    if extent.blocks == 0 {
        return Ok(Plan::DONE);
    }
    let data_in_length = cdb.data_length(unit.config.geometry.block_size) as u32;
    Ok(Plan::giving(Work::Read(extent), data_in_length))
}

/// WRITE.
pub(super) fn write(unit: &LogicalUnit, cdb: &Cdb) -> Result<Plan, Sense> {
    if let Some(kind) = unit.config.protection {
        return protected::write(unit, kind, cdb, false);
    }
    let extent = transfer(unit, cdb)?;
    if extent.blocks == 0 {
        return Ok(Plan::DONE);
    }
    Ok(with_data_out(unit, cdb, Work::Write { extent, forced: cdb.has(Field::ForceUnitAccess) }))
}

/// The whole blocks that came, of those wanted.
fn whole_blocks(unit: &LogicalUnit, mut data: Segments, wanted: u32) -> Segments {
    let there = segments::length(&data);
    if there != u64::from(wanted) {
        let block_size = u64::from(unit.config.geometry.block_size);
        segments::truncate(&mut data, there.min(wanted.into()) / block_size * block_size);
    }
    data
}

pub(super) fn start_write(unit: &LogicalUnit, extent: Extent, data: Segments, wanted: u32, durable: bool) -> Started {
    let data = whole_blocks(unit, data, wanted);
    match data.is_empty() {
        true => Started::Done,
        false => Started::Io(BlockIo::Write { lba: extent.lba, data, durable }, Then::End(extent)),
    }
}

/// WRITE AND VERIFY.
pub(super) fn write_and_verify(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Sense> {
    if let Some(kind) = context.unit.config.protection {
        return protected::write(context.unit, kind, cdb, true);
    }
    let extent = transfer(context.unit, cdb)?;
    // SBC-3 5.37: 11b is for VERIFY alone.
    let compare = match cdb.get(Field::ByteCheck) {
        0 => false,
        1 => true,
        _ => return Err(cdb.refuse(Field::ByteCheck)),
    };
    if extent.blocks == 0 {
        return Ok(Plan::DONE);
    }
    Ok(with_data_out(context.unit, cdb, Work::WriteAndVerify { extent, compare }))
}

pub(super) fn start_write_and_verify(
    unit: &LogicalUnit,
    extent: Extent,
    data: Segments,
    wanted: u32,
    compare: bool,
) -> Started {
    let data = whole_blocks(unit, data, wanted);
    if data.is_empty() {
        return Started::Done;
    }
    let blocks = segments::length(&data) / u64::from(unit.config.geometry.block_size);
    let check = match compare {
        true => BlockIo::Compare { lba: extent.lba, data: data.clone() },
        false => BlockIo::Read(Extent { blocks, ..extent }),
    };
    let write = BlockIo::Write { lba: extent.lba, data, durable: true };
    Started::Io(write, Rare::Continue(Sequence::Few([check].into()), extent).into())
}

/// VERIFY.
pub(super) fn verify(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Sense> {
    if let Some(kind) = context.unit.config.protection {
        return protected::verify(context.unit, kind, cdb);
    }
    let extent = transfer(context.unit, cdb)?;
    let work = match cdb.get(Field::ByteCheck) {
        0 => Work::ReadThrough(extent),
        1 => Work::Compare(extent),
        3 => Work::CompareSame(extent),
        _ => return Err(cdb.refuse(Field::ByteCheck)),
    };
    if extent.blocks == 0 {
        return Ok(Plan::DONE);
    }
    Ok(with_data_out(context.unit, cdb, work))
}

/// The data, cut to what is wanted and no less.
fn all_wanted(mut data: Segments, wanted: u32) -> Result<Segments, Sense> {
    if segments::length(&data) < wanted.into() {
        return Err(DATA_MISSING);
    }
    segments::truncate(&mut data, wanted.into());
    Ok(data)
}

/// The same in one piece.
pub(super) fn exactly(data: Segments, wanted: u32) -> Result<Bytes, Sense> {
    all_wanted(data, wanted).map(segments::join)
}

pub(super) fn start_compare(extent: Extent, data: Segments, wanted: u32) -> Result<Started, Sense> {
    let data = all_wanted(data, wanted)?;
    Ok(Started::Io(BlockIo::Compare { lba: extent.lba, data }, Then::End(Extent::NONE)))
}

pub(super) fn start_compare_same(extent: Extent, data: Segments, wanted: u32) -> Result<Started, Sense> {
    let block = exactly(data, wanted)?;
    Ok(start_sequence(Sequence::CompareSame { rest: extent, block }, Extent::NONE))
}

/// Begins a sequence, until whose end these blocks may change.
pub(super) fn start_sequence(mut sequence: Sequence, changes: Extent) -> Started {
    match sequence.next() {
        Some(request) => Started::Io(request, Rare::Continue(sequence, changes).into()),
        None => Started::Done,
    }
}

/// COMPARE AND WRITE.
pub(super) fn compare_and_write(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Sense> {
    let config = &context.unit.config;
    let blocks_max = u64::from(config.limits.compare_and_write_blocks_max);
    let extent = extent(context.unit, cdb, blocks_max * u64::from(config.geometry.block_size))?;
    if let Some(kind) = config.protection {
        return protected::compare_and_write(context.unit, kind, cdb, extent);
    }
    if extent.blocks == 0 {
        return Ok(Plan::DONE);
    }
    Ok(with_data_out(context.unit, cdb, Work::CompareAndWrite { extent, forced: cdb.has(Field::ForceUnitAccess) }))
}

pub(super) fn start_compare_and_write(
    extent: Extent,
    data: Segments,
    wanted: u32,
    durable: bool,
) -> Result<Started, Sense> {
    let data = all_wanted(data, wanted)?;
    Ok(Started::Io(BlockIo::CompareAndWrite { lba: extent.lba, data, durable }, Then::End(extent)))
}

/// SYNCHRONIZE CACHE. The whole cache is written, whatever blocks the command names.
pub(super) fn synchronize_cache(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Sense> {
    extent(context.unit, cdb, u64::MAX)?;
    Ok(Plan::work(Work::Flush { immediate: cdb.has(Field::Immediate) }))
}

/// With IMMED the answer comes at once. That the flush has failed is then told by the next one, and by durable writes: a store that could not make
/// something durable says so until it is opened anew.
pub(super) fn start_flush(immediate: bool) -> Started {
    match immediate {
        true => Started::Answered(BlockIo::Flush, Rare::Continue(Sequence::Few(VecDeque::new()), Extent::NONE).into()),
        false => Started::Io(BlockIo::Flush, Then::End(Extent::NONE)),
    }
}

/// WRITE SAME. Zero blocks is all to the end of the medium. UNMAP lets the store give space back only where the block is
/// what unmapped blocks read as; any other block is written (SBC-3 5.43).
pub(super) fn write_same(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Sense> {
    let config = &context.unit.config;
    let mut extent = extent(context.unit, cdb, config.limits.write_same_bytes_max)?;
    if extent.blocks == 0 {
        extent.blocks = context.unit.blocks().saturating_sub(extent.lba);
    }
    if extent.blocks * u64::from(config.geometry.block_size) > config.limits.write_same_bytes_max {
        return Err(cdb.refuse(Field::Blocks));
    }
    let unmap = cdb.has(Field::Unmap);
    if unmap && !config.thin {
        return Err(cdb.refuse(Field::Unmap));
    }
    if let Some(kind) = config.protection {
        return protected::write_same(context.unit, kind, cdb, extent);
    }
    let (forced, zeros) = (cdb.has(Field::ForceUnitAccess), cdb.has(Field::NoDataOutBuffer));
    Ok(with_data_out(context.unit, cdb, Work::WriteSame { extent, unmap, forced, zeros }))
}

pub(super) fn start_write_same(
    unit: &LogicalUnit,
    rest: Extent,
    block: Option<Bytes>,
    unmap: bool,
    durable: bool,
) -> Started {
    let block_size = unit.config.geometry.block_size;
    start_sequence(Sequence::WriteSame { rest, block, unmap, durable, block_size }, rest)
}

/// ORWRITE: the set operation, which is the only one that has a meaning without a bitmap buffer (SBC-4 4.28).
pub(super) fn or_write(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Sense> {
    if let Some(kind) = context.unit.config.protection {
        return protected::or_write(context.unit, kind, cdb);
    }
    let bytes_max = context.unit.config.limits.transfer_bytes_max.into();
    let extent = extent(context.unit, cdb, bytes_max)?;
    if extent.blocks == 0 {
        return Ok(Plan::DONE);
    }
    Ok(with_data_out(context.unit, cdb, Work::OrWrite { extent, forced: cdb.has(Field::ForceUnitAccess) }))
}

pub(super) fn start_or_write(
    unit: &LogicalUnit,
    extent: Extent,
    data: Segments,
    wanted: u32,
    durable: bool,
) -> Started {
    let data = whole_blocks(unit, data, wanted);
    match data.is_empty() {
        true => Started::Done,
        false => Started::Io(BlockIo::OrWrite { lba: extent.lba, data, durable }, Then::End(extent)),
    }
}

/// WRITE ATOMIC: a write of no more than the store does in one piece (SBC-4 4.29).
pub(super) fn write_atomic(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Sense> {
    let extent = extent(context.unit, cdb, context.unit.config.limits.atomic_bytes_max.into())?;
    let unit = context.unit.config.atomic_unit();
    if !extent.lba.is_multiple_of(unit) {
        return Err(cdb.refuse(Field::LogicalBlockAddress));
    }
    if !extent.blocks.is_multiple_of(unit) {
        return Err(cdb.refuse(Field::Blocks));
    }
    if let Some(kind) = context.unit.config.protection {
        return protected::write_atomic(context.unit, kind, cdb, extent);
    }
    if extent.blocks == 0 {
        return Ok(Plan::DONE);
    }
    Ok(with_data_out(context.unit, cdb, Work::WriteAtomic { extent, forced: cdb.has(Field::ForceUnitAccess) }))
}

/// Nothing is written unless all is there.
pub(super) fn start_write_atomic(extent: Extent, data: Segments, wanted: u32, durable: bool) -> Result<Started, Sense> {
    let data = all_wanted(data, wanted)?;
    Ok(Started::Io(BlockIo::Write { lba: extent.lba, data, durable }, Then::End(extent)))
}

/// PRE-FETCH. IMMED changes nothing, as no store waits for its medium here. Zero blocks is all to the end.
pub(super) fn prefetch(context: &Context<'_>, cdb: &Cdb) -> Result<Plan, Sense> {
    let mut extent = extent(context.unit, cdb, u64::MAX)?;
    if extent.blocks == 0 {
        extent.blocks = context.unit.blocks().saturating_sub(extent.lba);
    }
    match extent.blocks {
        0 => Ok(Plan::DONE),
        _ => Ok(Plan::work(Work::Prefetch(extent))),
    }
}
