//! Commands that read, write and check blocks at a unit that keeps protection information (SBC-4 4.21).
//!
//! The store's blocks have a tuple behind the data. What RDPROTECT, WRPROTECT or VRPROTECT ask for stands in
//! [`protection::CHECKS`](crate::protection::CHECKS); this file moves tuples between the wire and the store.

mod exchange;

pub(crate) use exchange::Exchange;

use bytes::{Bytes, BytesMut};

use super::medium::{self, DATA_MISSING};
use super::{Context, Plan, Started, Transfer, Work};
use crate::cdb::Cdb;
use crate::config::LogicalUnitConfig;
use crate::io::{BlockIo, Extent, Segments};
use crate::opcodes::Field;
use crate::protection::{CHECKS, Checks, PROTECTION_BYTES, ProtectionType, Tags, invert, split};
use crate::segments;
use crate::sense::{AdditionalSense, Sense, SenseKey};
use crate::sequence::Sequence;
use crate::task::{Rare, Then};
use crate::unit::LogicalUnit;

/// A command on blocks with protection information.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protected {
    pub(crate) extent: Extent,
    pub(crate) checks: Checks,
    pub(crate) tags: Tags,
    pub(crate) block_size: usize,
}

/// What a command does with the blocks once it has them.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// Gives them to the initiator.
    Read,
    /// Looks whether they are in order, and whether they are these: all, or one that each is like.
    Verify(Option<Bytes>),
}

/// What a command does with the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Read,
    Write { forced: bool },
    WriteAndVerify,
    Verify,
    Compare,
    CompareAndWrite { forced: bool },
    OrWrite { forced: bool },
    WriteAtomic { forced: bool },
    WriteSame { unmap: bool },
    WriteZeros { unmap: bool },
}

/// A command that waits for its data, in few bytes: what the unit's configuration says again is left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProtectedWork {
    lba: u64,
    blocks: u32,
    reference_tag: u32,
    application_tag: u16,
    application_mask: u16,
    /// The value of RDPROTECT, WRPROTECT or VRPROTECT; the place of a row in the table of checks.
    field: u8,
    knows_reference: bool,
    action: Action,
}

impl Protected {
    /// What the CDB says.
    ///
    /// # Errors
    /// The field has no meaning; in type 2 only the commands of 32 bytes have one that is not zero.
    fn decode(unit: &LogicalUnit, kind: ProtectionType, cdb: &Cdb, extent: Extent) -> Result<Self, Sense> {
        let value = cdb.get(Field::Protect) as usize;
        let names_tags = cdb.descriptor().find(Field::ExpectedReferenceTag).is_some();
        if kind == ProtectionType::Two && !names_tags && value != 0 {
            return Err(Sense::illegal(AdditionalSense::INVALID_COMMAND_OPERATION_CODE));
        }
        let checks = CHECKS[value].ok_or(cdb.refuse(Field::Protect))?;
        let tags = match names_tags {
            true => Tags {
                kind,
                reference: Some(cdb.get(Field::ExpectedReferenceTag) as u32),
                application: cdb.get(Field::ExpectedApplicationTag) as u16,
                application_mask: cdb.get(Field::ApplicationTagMask) as u16,
            },
            // What type 2 has for a reference tag is known to the commands of 32 bytes alone.
            false => Tags {
                kind,
                reference: (kind == ProtectionType::One).then_some(extent.lba as u32),
                application: 0,
                application_mask: 0,
            },
        };
        Ok(Self { extent, checks, tags, block_size: unit.config.geometry.block_size as usize })
    }

    /// Bytes of a block as it travels.
    fn wire_bytes(&self) -> usize {
        self.block_size + if self.checks.travels { PROTECTION_BYTES as usize } else { 0 }
    }

    /// Bytes of a block as the store keeps it.
    fn stored_bytes(&self) -> usize {
        self.block_size + PROTECTION_BYTES as usize
    }

    /// The tags for a tuple that is made; a block that type 2 wrote by a short command has its address.
    fn tags_to_make(&self) -> Tags {
        match self.tags.kind {
            ProtectionType::Two if self.tags.reference.is_none() => {
                Tags { reference: Some(self.extent.lba as u32), ..self.tags }
            }
            _ => self.tags,
        }
    }

    /// Blocks as they came, which are checked, as the store keeps them.
    fn to_stored(self, data: &[u8]) -> Result<Bytes, Sense> {
        let (wire, tags) = (self.wire_bytes(), self.tags_to_make());
        if self.checks.travels {
            self.tags.check_all(data, self.block_size, self.extent.lba, self.checks, false)?;
        }
        let count = data.len() / wire;
        let mut stored = BytesMut::with_capacity(count * self.stored_bytes());
        for (index, whole) in (0..).zip(data.chunks_exact(wire)) {
            let (block, tuple) = match self.checks.travels {
                true => split(whole, self.block_size, false),
                false => (whole, tags.make(whole, index)),
            };
            stored.extend_from_slice(block);
            stored.extend_from_slice(&invert(tuple.encode()));
        }
        Ok(stored.freeze())
    }

    /// Blocks of the store, which are checked, as they travel.
    fn to_wire(self, stored: &[u8]) -> Bytes {
        let whole = self.stored_bytes();
        let mut wire = BytesMut::with_capacity(stored.len() / whole * self.wire_bytes());
        for whole in stored.chunks_exact(whole) {
            let (block, tuple) = split(whole, self.block_size, true);
            wire.extend_from_slice(block);
            if self.checks.travels {
                wire.extend_from_slice(&tuple.encode());
            }
        }
        wire.freeze()
    }

    /// The store has read the blocks: what the initiator gets.
    pub(super) fn finish(self, purpose: Purpose, stored: &[u8]) -> Result<Bytes, Sense> {
        self.tags.check_all(stored, self.block_size, self.extent.lba, self.checks, true)?;
        match purpose {
            Purpose::Read => Ok(self.to_wire(stored)),
            Purpose::Verify(None) => Ok(Bytes::new()),
            Purpose::Verify(Some(expected)) => self.compare(stored, &expected).map(|()| Bytes::new()),
        }
    }

    /// Compares the blocks of the store with those that came. One that came is compared with each, and its reference tag counts up as that of a
    /// WRITE SAME does (SBC-3 5.29, 5.43).
    fn compare(self, stored: &[u8], expected: &[u8]) -> Result<(), Sense> {
        let (whole, wire, sent) = (self.stored_bytes(), self.wire_bytes(), expected.len());
        let repeats = sent == wire && self.tags.kind != ProtectionType::Three;
        for (index, (stored, expected)) in
            stored.chunks_exact(whole).zip(expected.chunks_exact(wire).cycle()).enumerate()
        {
            let added = if repeats { index as u32 } else { 0 };
            if let Some((at, code)) = self.first_difference(stored, expected, added) {
                let offset = ((index * wire) % sent + at) as u64;
                return Err(Sense::new(SenseKey::Miscompare, code).with_information(offset));
            }
        }
        Ok(())
    }

    /// Where a block differs, and what that is called. Data is compared always, of the tuple what is checked; all of it where nothing is
    /// (SBC-4 table 134). `added` is what the reference tag of the expected block has too little.
    fn first_difference(self, stored: &[u8], expected: &[u8], added: u32) -> Option<(usize, AdditionalSense)> {
        let (ours, theirs) = (&stored[..self.block_size], &expected[..self.block_size]);
        if let Some(at) = ours.iter().zip(theirs).position(|(ours, theirs)| ours != theirs) {
            return Some((at, AdditionalSense::MISCOMPARE_DURING_VERIFY));
        }
        if !self.checks.travels {
            return None;
        }
        let (ours, theirs) = (split(stored, self.block_size, true).1, split(expected, self.block_size, false).1);
        let Checks { guard, application, reference, .. } = self.checks;
        let all = !guard && !application && !reference;
        let compared = [
            (guard || all, ours.guard != theirs.guard, AdditionalSense::LOGICAL_BLOCK_GUARD_CHECK_FAILED),
            (
                application || all,
                ours.application_tag != theirs.application_tag,
                AdditionalSense::LOGICAL_BLOCK_APPLICATION_TAG_CHECK_FAILED,
            ),
            (
                reference || all,
                ours.reference_tag != theirs.reference_tag.wrapping_add(added),
                AdditionalSense::LOGICAL_BLOCK_REFERENCE_TAG_CHECK_FAILED,
            ),
        ];
        let (at, (.., code)) =
            [0, 2, 4].into_iter().zip(compared).find(|(_, (counts, differs, _))| *counts && *differs)?;
        Some((self.block_size + at, code))
    }
}

impl ProtectedWork {
    /// The command as it was planned.
    fn protected(self, config: &LogicalUnitConfig) -> Protected {
        let kind = config.protection.expect("the unit has protection information");
        let checks = CHECKS[usize::from(self.field)].expect("the field was looked at when the command came");
        let tags = Tags {
            kind,
            reference: self.knows_reference.then_some(self.reference_tag),
            application: self.application_tag,
            application_mask: self.application_mask,
        };
        let extent = Extent { lba: self.lba, blocks: self.blocks.into() };
        Protected { extent, checks, tags, block_size: config.geometry.block_size as usize }
    }
}

/// The command's blocks, if they are on the medium and not too many.
fn decode(unit: &LogicalUnit, kind: ProtectionType, cdb: &Cdb) -> Result<Protected, Sense> {
    let bytes_max = unit.config.limits.transfer_bytes_max.into();
    Protected::decode(unit, kind, cdb, medium::extent(unit, cdb, bytes_max)?)
}

fn plan(protected: Protected, cdb: &Cdb, bytes_in: u64, bytes_out: u64, action: Action) -> Plan {
    if protected.extent.blocks == 0 {
        return Plan::DONE;
    }
    let Protected { extent, tags, .. } = protected;
    let work = ProtectedWork {
        lba: extent.lba,
        blocks: extent.blocks as u32,
        reference_tag: tags.reference.unwrap_or(0),
        application_tag: tags.application,
        application_mask: tags.application_mask,
        field: cdb.get(Field::Protect) as u8,
        knows_reference: tags.reference.is_some(),
        action,
    };
    let work = Work::Protected(work);
    Plan::Work(Transfer { work, data_in_length: bytes_in as u32, data_out_length: bytes_out as u32 })
}

/// The data-out of a command has come.
#[cold]
pub(super) fn start(context: &Context<'_>, work: ProtectedWork, data: Segments, wanted: u32) -> Result<Started, Sense> {
    let config = &context.unit.config;
    let protected = work.protected(config);
    let durable = |forced| medium::durable(context.summary, forced);
    match work.action {
        Action::Read => Ok(start_read(protected)),
        Action::Write { forced } => start_write(protected, data, wanted, durable(forced), false),
        Action::WriteAndVerify => start_write(protected, data, wanted, true, true),
        Action::Verify => start_verify(protected, data, wanted, false),
        Action::Compare => start_verify(protected, data, wanted, true),
        Action::CompareAndWrite { forced } => {
            exchange::start_compare_and_write(protected, data, wanted, durable(forced))
        }
        Action::OrWrite { forced } => exchange::start_or_write(protected, data, wanted, durable(forced)),
        Action::WriteAtomic { forced } => start_write_atomic(protected, data, wanted, durable(forced)),
        Action::WriteSame { unmap } => start_write_same(protected, data, wanted, unmap, durable(false)),
        Action::WriteZeros { unmap } => Ok(start_write_zeros(protected, unmap, durable(false))),
    }
}

/// READ.
#[cold]
pub(super) fn read(unit: &LogicalUnit, kind: ProtectionType, cdb: &Cdb) -> Result<Plan, Sense> {
    let protected = decode(unit, kind, cdb)?;
    let bytes = protected.extent.blocks * protected.wire_bytes() as u64;
    Ok(plan(protected, cdb, bytes, 0, Action::Read))
}

/// WRITE, and WRITE AND VERIFY if `verify`.
#[cold]
pub(super) fn write(unit: &LogicalUnit, kind: ProtectionType, cdb: &Cdb, verify: bool) -> Result<Plan, Sense> {
    let protected = decode(unit, kind, cdb)?;
    if cdb.get(Field::ByteCheck) > 1 {
        return Err(cdb.refuse(Field::ByteCheck));
    }
    let action = match verify {
        true => Action::WriteAndVerify,
        false => Action::Write { forced: cdb.has(Field::ForceUnitAccess) },
    };
    let bytes = protected.extent.blocks * protected.wire_bytes() as u64;
    Ok(plan(protected, cdb, 0, bytes, action))
}

/// VERIFY.
#[cold]
pub(super) fn verify(unit: &LogicalUnit, kind: ProtectionType, cdb: &Cdb) -> Result<Plan, Sense> {
    let protected = decode(unit, kind, cdb)?;
    let wire = protected.wire_bytes() as u64;
    let bytes = match cdb.get(Field::ByteCheck) {
        0 => 0,
        1 => protected.extent.blocks * wire,
        3 => wire,
        _ => return Err(cdb.refuse(Field::ByteCheck)),
    };
    let action = if bytes > 0 { Action::Compare } else { Action::Verify };
    Ok(plan(protected, cdb, 0, bytes, action))
}

/// COMPARE AND WRITE.
pub(super) fn compare_and_write(
    unit: &LogicalUnit,
    kind: ProtectionType,
    cdb: &Cdb,
    extent: Extent,
) -> Result<Plan, Sense> {
    let protected = Protected::decode(unit, kind, cdb, extent)?;
    let bytes = 2 * protected.extent.blocks * protected.wire_bytes() as u64;
    Ok(plan(protected, cdb, 0, bytes, Action::CompareAndWrite { forced: cdb.has(Field::ForceUnitAccess) }))
}

/// ORWRITE.
pub(super) fn or_write(unit: &LogicalUnit, kind: ProtectionType, cdb: &Cdb) -> Result<Plan, Sense> {
    let protected = decode(unit, kind, cdb)?;
    let bytes = protected.extent.blocks * protected.wire_bytes() as u64;
    Ok(plan(protected, cdb, 0, bytes, Action::OrWrite { forced: cdb.has(Field::ForceUnitAccess) }))
}

/// WRITE ATOMIC, of blocks that are of a right number and at a right place.
pub(super) fn write_atomic(unit: &LogicalUnit, kind: ProtectionType, cdb: &Cdb, extent: Extent) -> Result<Plan, Sense> {
    let protected = Protected::decode(unit, kind, cdb, extent)?;
    let bytes = protected.extent.blocks * protected.wire_bytes() as u64;
    Ok(plan(protected, cdb, 0, bytes, Action::WriteAtomic { forced: cdb.has(Field::ForceUnitAccess) }))
}

/// WRITE SAME. Reference tags differ from block to block, so the blocks are made step by step. A block of which no data comes is zeros with a
/// tuple of all ones (SBC-3 5.44), as is an unmapped one.
pub(super) fn write_same(unit: &LogicalUnit, kind: ProtectionType, cdb: &Cdb, extent: Extent) -> Result<Plan, Sense> {
    let protected = Protected::decode(unit, kind, cdb, extent)?;
    let unmap = cdb.has(Field::Unmap);
    if cdb.has(Field::NoDataOutBuffer) {
        return Ok(plan(protected, cdb, 0, 0, Action::WriteZeros { unmap }));
    }
    Ok(plan(protected, cdb, 0, protected.wire_bytes() as u64, Action::WriteSame { unmap }))
}

fn start_read(protected: Protected) -> Started {
    Started::Io(BlockIo::Read(protected.extent), Rare::Check(protected, Purpose::Read).into())
}

fn start_write(
    protected: Protected,
    mut data: Segments,
    wanted: u32,
    durable: bool,
    verify: bool,
) -> Result<Started, Sense> {
    let wire = protected.wire_bytes() as u64;
    let there = segments::length(&data).min(wanted.into());
    segments::truncate(&mut data, there / wire * wire);
    let stored = protected.to_stored(&segments::join(data))?;
    if stored.is_empty() {
        return Ok(Started::Done);
    }
    let (lba, data) = (protected.extent.lba, Segments::from_iter([stored]));
    let then = match verify {
        true => Rare::Continue(Sequence::Few([BlockIo::Compare { lba, data: data.clone() }].into()), protected.extent)
            .into(),
        false => Then::End(protected.extent),
    };
    Ok(Started::Io(BlockIo::Write { lba, data, durable }, then))
}

fn start_verify(protected: Protected, data: Segments, wanted: u32, compares: bool) -> Result<Started, Sense> {
    let expected = match compares {
        true => Some(medium::exactly(data, wanted)?),
        false => None,
    };
    if let Some(data) = expected.as_ref().filter(|_| protected.checks.travels) {
        protected.tags.check_all(data, protected.block_size, protected.extent.lba, protected.checks, false)?;
    }
    Ok(Started::Io(BlockIo::Read(protected.extent), Rare::Check(protected, Purpose::Verify(expected)).into()))
}

/// Nothing is written unless all is there.
fn start_write_atomic(protected: Protected, data: Segments, wanted: u32, durable: bool) -> Result<Started, Sense> {
    let data = medium::exactly(data, wanted)?;
    start_write(protected, Segments::from_iter([data]), wanted, durable, false)
}

/// Blocks that the store keeps as zeros.
fn start_write_zeros(protected: Protected, unmap: bool, durable: bool) -> Started {
    let block_size = protected.stored_bytes() as u32;
    let steps = Sequence::WriteSame { rest: protected.extent, block: None, unmap, durable, block_size };
    medium::start_sequence(steps, protected.extent)
}

/// With `unmap`, a block of zeros whose tuple, if it came, is all ones gives the space back; any other is written.
fn start_write_same(
    protected: Protected,
    data: Segments,
    wanted: u32,
    unmap: bool,
    durable: bool,
) -> Result<Started, Sense> {
    let data = medium::exactly(data, wanted)?;
    let first = protected.to_stored(&data)?;
    if first.len() != protected.stored_bytes() {
        return Err(DATA_MISSING);
    }
    let (block, tuple) = data.split_at(protected.block_size);
    if unmap && block.iter().all(|byte| *byte == 0) && tuple.iter().all(|byte| *byte == u8::MAX) {
        return Ok(start_write_zeros(protected, unmap, durable));
    }
    let steps = ProtectedSame { rest: protected.extent, first, block_size: protected.block_size, durable };
    Ok(medium::start_sequence(Sequence::ProtectedSame(steps, protected.tags.kind), protected.extent))
}

/// Blocks like one, with reference tags that count up.
#[derive(Debug)]
pub(crate) struct ProtectedSame {
    rest: Extent,
    /// The first block that is not written yet, as the store keeps it.
    first: Bytes,
    block_size: usize,
    durable: bool,
}

impl ProtectedSame {
    /// Bytes that one step writes, about.
    const STEP_BYTES: usize = 256 << 10;

    pub(crate) fn is_over(&self) -> bool {
        self.rest.blocks == 0
    }

    pub(crate) fn next(&mut self, kind: ProtectionType) -> Option<BlockIo> {
        let blocks = self.rest.blocks.min((Self::STEP_BYTES / self.block_size) as u64);
        if blocks == 0 {
            return None;
        }
        let (block, tuple) = split(&self.first, self.block_size, true);
        let add = |index: u64| match kind {
            ProtectionType::Three => tuple.reference_tag,
            _ => tuple.reference_tag.wrapping_add(index as u32),
        };
        let make = |index: u64| {
            let tuple = crate::protection::ProtectionTuple { reference_tag: add(index), ..tuple };
            [block, &invert(tuple.encode())].concat()
        };
        let data: Vec<u8> = (0..blocks).flat_map(make).collect();
        let write =
            BlockIo::Write { lba: self.rest.lba, data: Segments::from_iter([data.into()]), durable: self.durable };
        self.first = make(blocks).into();
        self.rest = Extent { lba: self.rest.lba + blocks, blocks: self.rest.blocks - blocks };
        Some(write)
    }
}
