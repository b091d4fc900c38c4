//! COMPARE AND WRITE and ORWRITE at a unit with protection information (SBC-3 5.2, 5.5).
//!
//! What is compared and what is written is less than what the store keeps, which knows no tuples. So the blocks are read and looked at, and then
//! exchanged for the new ones, if they still are what was read; if not, all begins again. Whoever comes between has got on, so some always do; one
//! that never does ends with BUSY and has changed nothing.

use bytes::{Bytes, BytesMut};

use super::super::{Started, medium};
use super::Protected;
use crate::io::{BlockIo, Extent, IoDone, IoError, IoOutput, Segments};
use crate::protection::{ProtectionTuple, guard, invert, split};
use crate::segments;
use crate::sense::{self, AdditionalSense, Sense, SenseKey};
use crate::task::Rare;

/// How often the blocks may have changed between being read and being exchanged.
const ATTEMPTS: u16 = 256;

/// Blocks that are exchanged for others that depend on them.
#[derive(Debug)]
pub(crate) struct Exchange {
    protected: Protected,
    change: Change,
    durable: bool,
    attempts_left: u16,
}

/// What the blocks are to become.
#[derive(Debug)]
enum Change {
    /// These, as the store keeps them, if the blocks are as those, which are as they came.
    CompareAndWrite { expected: Bytes, new: Bytes },
    /// Themselves with the ones of these, which are as the store keeps them.
    OrWrite(Bytes),
}

/// The first half of the data is compared as VERIFY does with BYTCHK 01b, the second is written as WRITE does.
pub(super) fn start_compare_and_write(
    protected: Protected,
    data: Segments,
    wanted: u32,
    durable: bool,
) -> Result<Started, Sense> {
    let mut expected = medium::exactly(data, wanted)?;
    let new = protected.to_stored(&expected.split_off(expected.len() / 2))?;
    if protected.checks.travels {
        protected.tags.check_all(&expected, protected.block_size, protected.extent.lba, protected.checks, false)?;
    }
    Ok(Exchange::start(protected, Change::CompareAndWrite { expected, new }, durable))
}

/// Less data than was asked for is a shorter ORWRITE, as it is at other units.
pub(super) fn start_or_write(
    mut protected: Protected,
    mut data: Segments,
    wanted: u32,
    durable: bool,
) -> Result<Started, Sense> {
    let blocks = segments::length(&data).min(wanted.into()) / protected.wire_bytes() as u64;
    segments::truncate(&mut data, blocks * protected.wire_bytes() as u64);
    let ones = protected.to_stored(&segments::join(data))?;
    if ones.is_empty() {
        return Ok(Started::Done);
    }
    protected.extent.blocks = blocks;
    Ok(Exchange::start(protected, Change::OrWrite(ones), durable))
}

impl Exchange {
    fn start(protected: Protected, change: Change, durable: bool) -> Started {
        Self { protected, change, durable, attempts_left: ATTEMPTS }.read()
    }

    /// The blocks.
    pub(crate) fn extent(&self) -> Extent {
        self.protected.extent
    }

    fn read(self) -> Started {
        Started::Io(BlockIo::Read(self.protected.extent), Rare::Exchange(self).into())
    }

    /// The store has ended a request.
    pub(crate) fn proceed(mut self, done: IoDone) -> Result<Started, Sense> {
        match done {
            Ok(IoOutput::Data(stored)) => {
                let new = self.changed(&stored)?;
                let (lba, data, durable) =
                    (self.protected.extent.lba, Segments::from_iter([stored, new]), self.durable);
                Ok(Started::Io(BlockIo::CompareAndWrite { lba, data, durable }, Rare::Exchange(self).into()))
            }
            Ok(IoOutput::Done) => Ok(Started::Done),
            Err(IoError::Miscompare { .. }) if self.attempts_left == 0 => Ok(Started::Busy),
            Err(IoError::Miscompare { .. }) => {
                self.attempts_left -= 1;
                Ok(self.read())
            }
            Err(error) => Err(sense::from_io_error(error)),
            Ok(_) => Err(Sense::new(SenseKey::HardwareError, AdditionalSense::INTERNAL_TARGET_FAILURE)),
        }
    }

    /// What is to be in the place of the blocks that were read, which are checked as those of a READ.
    fn changed(&self, stored: &[u8]) -> Result<Bytes, Sense> {
        let Protected { tags, block_size, extent, checks } = self.protected;
        tags.check_all(stored, block_size, extent.lba, checks, true)?;
        match &self.change {
            Change::CompareAndWrite { expected, new } => {
                self.protected.compare(stored, expected)?;
                Ok(new.clone())
            }
            Change::OrWrite(ones) => Ok(self.with_ones(stored, ones)),
        }
    }

    /// The guard is made anew; the tags are those that came, or that a WRITE would have made.
    fn with_ones(&self, stored: &[u8], ones: &[u8]) -> Bytes {
        let (block_size, whole) = (self.protected.block_size, self.protected.stored_bytes());
        let mut new = BytesMut::with_capacity(stored.len());
        for (stored, ones) in stored.chunks_exact(whole).zip(ones.chunks_exact(whole)) {
            let start = new.len();
            let (ones, tuple) = split(ones, block_size, true);
            new.extend(stored.iter().zip(ones).map(|(ours, theirs)| ours | theirs));
            let tuple = ProtectionTuple { guard: guard(&new[start..]), ..tuple };
            new.extend_from_slice(&invert(tuple.encode()));
        }
        new.freeze()
    }
}
