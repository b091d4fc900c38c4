//! Block I/O: what a task asks of the store that holds its blocks, and what comes back.
//!
//! In: nothing. Out: values. [`BlockIo`] travels from a task to a store, [`IoDone`] travels back; both own all that
//! they carry, so that they may cross threads. Addresses and lengths are in logical blocks of the unit's
//! [`Geometry`], and a task only sends ranges that lie inside the medium.

use bytes::Bytes;
use smallvec::SmallVec;

/// Data in pieces, in order: the payload of a write as it came off the wire, without a copy.
pub type Segments = SmallVec<[Bytes; 2]>;

/// The size of a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes in one logical block: 512 or 4096.
    pub block_size: u32,
    /// Number of logical blocks; at least 1.
    pub blocks: u64,
}

/// A run of logical blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First logical block address.
    pub lba: u64,
    /// Number of logical blocks.
    pub blocks: u64,
}

impl Extent {
    /// No blocks.
    pub(crate) const NONE: Self = Self { lba: 0, blocks: 0 };
    /// All blocks of any medium.
    pub(crate) const ALL: Self = Self { lba: 0, blocks: u64::MAX };

    fn end(self) -> u64 {
        self.lba.saturating_add(self.blocks)
    }

    /// Whether a block is in both.
    pub(crate) fn overlaps(self, other: Self) -> bool {
        self.lba.max(other.lba) < self.end().min(other.end())
    }

    /// What is left behind its first blocks, of which it has so many.
    pub(crate) fn without_first(self, blocks: u64) -> Self {
        Self { lba: self.lba + blocks, blocks: self.blocks - blocks }
    }

    /// From the first block of either to the last.
    pub(crate) fn hull(self, other: Self) -> Self {
        let lba = self.lba.min(other.lba);
        Self { lba, blocks: self.end().max(other.end()) - lba }
    }
}

/// One request to a store. Every range lies inside the medium; data lengths are exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockIo {
    /// Read blocks; done with [`IoOutput::Data`] of exactly the extent's length.
    Read(Extent),
    /// Write `data`, a whole number of blocks, at `lba`.
    Write {
        /// First logical block address.
        lba: u64,
        /// What to write.
        data: Segments,
        /// Not done before the data would survive a power cut (FUA, or a disabled write cache).
        durable: bool,
    },
    /// Compare the medium with `data`; a difference is [`IoError::Miscompare`].
    Compare {
        /// First logical block address.
        lba: u64,
        /// What the medium should hold.
        data: Segments,
    },
    /// Compare the medium with the first half of `data` and, if equal, write the second half: atomic against every
    /// other request that overlaps it, from any core.
    CompareAndWrite {
        /// First logical block address.
        lba: u64,
        /// The blocks to compare, then as many blocks to write.
        data: Segments,
        /// As in [`BlockIo::Write`].
        durable: bool,
    },
    /// Write one block over and over.
    WriteSame {
        /// Where.
        extent: Extent,
        /// The block; `None` is zeros.
        block: Option<Bytes>,
        /// The store may give the space back if the blocks read as `block` afterwards.
        unmap: bool,
        /// As in [`BlockIo::Write`].
        durable: bool,
    },
    /// A step of a FORMAT UNIT or SANITIZE: as [`BlockIo::WriteSame`] with `unmap` and not durable, and all other requests may go first.
    Wipe {
        /// Where.
        extent: Extent,
        /// The block; `None` is zeros.
        block: Option<Bytes>,
    },
    /// Write the medium with what it holds or `data` has as a one, bit by bit: atomic against every other request that overlaps
    /// it, from any core.
    OrWrite {
        /// First logical block address.
        lba: u64,
        /// A whole number of blocks.
        data: Segments,
        /// As in [`BlockIo::Write`].
        durable: bool,
    },
    /// The blocks will be read soon: what is quick to have is to be at hand. Done with [`IoOutput::Done`] if they are or will be,
    /// with [`IoOutput::Uncached`] if the store has no place for them.
    Prefetch(Extent),
    /// Which blocks from the extent's first on have space of their own: done with [`IoOutput::Status`].
    LbaStatus {
        /// Where to look; blocks at its end may be left out of the answer.
        extent: Extent,
        /// The most runs that are wanted; at least 1.
        runs_max: u16,
    },
    /// The blocks are not needed any more. They read as zeros afterwards.
    Unmap(SmallVec<[Extent; 1]>),
    /// Everything written before is to survive a power cut.
    Flush,
    /// A record beside the blocks is to survive a power cut: done when it would. A cut at any moment leaves this one or the one before
    /// it. Only units that were told that records are kept ask for it ([`LogicalUnitConfig::kept`](crate::LogicalUnitConfig::kept)).
    Keep(Record),
}

/// Something that a unit has to know again after it has lost power, opaque to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is: a short word in lower case. A later record of the same name takes the place of an earlier one.
    pub name: &'static str,
    /// Counts the unit's records since it was built: of two of one name, the greater is the later.
    pub version: u64,
    /// What is to be kept.
    pub content: Bytes,
}

/// What a request that went well gives back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IoOutput {
    /// It is done.
    Done,
    /// It is done, and this was read.
    Data(Bytes),
    /// Nothing was done, as the store keeps no blocks at hand.
    Uncached,
    /// Runs of blocks, the first from where it was asked for, each from where the one before it ends; at least one.
    Status(Vec<LbaStatus>),
}

/// A run of blocks that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LbaStatus {
    /// The blocks.
    pub extent: Extent,
    /// Whether they have space of their own, or else are deallocated and read as zeros (SBC-4 4.7.4).
    pub mapped: bool,
}

/// How much space a store has for blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that blocks have taken.
    pub used_bytes: u64,
    /// Bytes that blocks can still take; `None` if nobody knows of a bound.
    pub available_bytes: Option<u64>,
    /// Whether others may take them too.
    pub is_shared: bool,
}

impl Space {
    /// Whether so many of a hundred bytes are taken.
    pub(crate) fn is_filled_to(self, percent: u8) -> bool {
        let used = u128::from(self.used_bytes);
        self.available_bytes.is_some_and(|available| used * 100 >= (used + u128::from(available)) * u128::from(percent))
    }
}

/// Why a request failed. The sense that each becomes stands in one table, `sense::from_io_error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IoError {
    /// The medium could not be read.
    #[error("unrecovered read error")]
    Read,
    /// The medium could not be written.
    #[error("write error")]
    Write,
    /// There is no space left for the data.
    #[error("no space left in the store")]
    NoSpace,
    /// The store may not be written to.
    #[error("the store is read-only")]
    ReadOnly,
    /// The medium differs from the data given.
    #[error("miscompare at byte {offset}")]
    Miscompare {
        /// Offset in bytes, from the start of the range, of the first difference.
        offset: u64,
    },
    /// The store is gone or cannot answer.
    #[error("the store is not ready")]
    NotReady,
}

/// The end of one request.
pub type IoDone = Result<IoOutput, IoError>;
