//! What was done at a unit, counted where it costs least: each nexus has counters of its own for each unit, which its core alone writes.
//!
//! In: requests to the store, and their failures. Out: totals, when somebody asks. A count is a load and a store of a cache line that no
//! other core writes to; it may be a moment old when another core reads it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::io::{BlockIo, IoError};
use crate::segments;

/// What one nexus has done at one unit.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Counters {
    reads: AtomicU64,
    writes: AtomicU64,
    blocks_read: AtomicU64,
    bytes_written: AtomicU64,
    read_errors: AtomicU64,
    write_errors: AtomicU64,
}

/// The one writer adds to a counter.
#[inline]
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

impl Counters {
    /// A command has come to its first request.
    #[inline]
    pub(crate) fn count(&self, request: &BlockIo) {
        match request {
            BlockIo::Read(extent) => {
                add(&self.reads, 1);
                add(&self.blocks_read, extent.blocks);
            }
            BlockIo::Write { data, .. } => self.count_write(segments::length(data)),
            other => self.count_rarely(other),
        }
    }

    /// A command has come to write so many bytes.
    #[inline]
    pub(crate) fn count_write(&self, bytes: u64) {
        add(&self.writes, 1);
        add(&self.bytes_written, bytes);
    }

    #[cold]
    fn count_rarely(&self, request: &BlockIo) {
        match request {
            BlockIo::OrWrite { data, .. } => self.count_write(segments::length(data)),
            BlockIo::CompareAndWrite { data, .. } => self.count_write(segments::length(data) / 2),
            BlockIo::WriteSame { block, .. } => self.count_write(block.as_ref().map_or(0, |block| block.len() as u64)),
            _ => {}
        }
    }

    /// A request has failed.
    #[cold]
    pub(crate) fn count_failure(&self, error: IoError) {
        match error {
            IoError::Read => add(&self.read_errors, 1),
            IoError::Write => add(&self.write_errors, 1),
            _ => {}
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            reads: read(&self.reads),
            writes: read(&self.writes),
            blocks_read: read(&self.blocks_read),
            bytes_written: read(&self.bytes_written),
            read_errors: read(&self.read_errors),
            write_errors: read(&self.write_errors),
        }
    }
}

/// Sums of counters; they begin again at zero after 2^64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) blocks_read: u64,
    pub(crate) bytes_written: u64,
    pub(crate) read_errors: u64,
    pub(crate) write_errors: u64,
}

impl Totals {
    fn zip(self, other: Self, with: fn(u64, u64) -> u64) -> Self {
        Self {
            reads: with(self.reads, other.reads),
            writes: with(self.writes, other.writes),
            blocks_read: with(self.blocks_read, other.blocks_read),
            bytes_written: with(self.bytes_written, other.bytes_written),
            read_errors: with(self.read_errors, other.read_errors),
            write_errors: with(self.write_errors, other.write_errors),
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        self.zip(other, u64::wrapping_add)
    }

    /// What has come since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        self.zip(earlier, u64::wrapping_sub)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::Extent;
    use bytes::Bytes;

    #[test]
    fn requests_and_failures_are_counted_by_kind() {
        let counters = Counters::default();
        let data = || [Bytes::from(vec![0; 1024])].into_iter().collect();
        counters.count(&BlockIo::Read(Extent { lba: 0, blocks: 3 }));
        counters.count(&BlockIo::Write { lba: 0, data: data(), durable: false });
        counters.count(&BlockIo::CompareAndWrite { lba: 0, data: data(), durable: false });
        counters.count(&BlockIo::Flush);
        counters.count_failure(IoError::Write);
        counters.count_failure(IoError::NoSpace);
        let totals = counters.totals();
        let expected =
            Totals { reads: 1, writes: 2, blocks_read: 3, bytes_written: 1536, read_errors: 0, write_errors: 1 };
        assert_eq!(totals, expected);
        assert_eq!(totals.plus(totals).since(totals), totals);
    }
}
