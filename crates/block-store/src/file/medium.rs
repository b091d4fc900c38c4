//! The system calls that a disk needs, and nothing above them.

use super::lock::Hold;
use rustix::fd::OwnedFd;
use rustix::fs::{
    Advice, FallocateFlags, FileType, SeekFrom, fadvise, fallocate, fdatasync, fstat, fstatvfs, ftruncate, seek,
};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev, retry_on_intr};
use std::io::{IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::sync::Arc;

/// How a range is made to read as zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zeroing {
    /// Its space is given back.
    Release,
    /// It stays allocated.
    Keep,
}

/// Where bytes are. Reads and writes may be short.
pub(super) trait Medium: Send + Sync {
    /// Reads, and waits for the medium.
    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno>;

    /// Reads what needs no waiting, or `AGAIN`.
    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno>;

    fn write(&self, data: &[IoSlice<'_>], offset: u64) -> Result<usize, Errno>;

    /// Makes a range zeros without writing it, or says that it cannot.
    fn zero(&self, zeroing: Zeroing, offset: u64, length: u64) -> Result<(), Errno>;

    /// Where the first data at or behind `offset` begins, or the end of what there is; the first hole, if `hole`.
    fn seek(&self, offset: u64, hole: bool) -> Result<Option<u64>, Errno>;

    /// Says that the range will be read.
    fn will_need(&self, offset: u64, length: u64) -> Result<(), Errno>;

    /// Makes sure that there are so many bytes, the new ones zeros.
    fn extend(&self, bytes: u64) -> Result<(), Errno>;

    /// Bytes that are taken, and bytes that the file system still has for all of its users, if it is one.
    fn space(&self) -> Result<Option<(u64, u64)>, Errno>;

    /// Makes everything written so far durable.
    fn sync(&self) -> Result<(), Errno>;
}

/// An open file or block device with its lock.
#[derive(Debug)]
pub(super) struct LockedFile {
    pub(super) file: Arc<OwnedFd>,
    pub(super) _lock: Hold,
}

impl Medium for LockedFile {
    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let mut buffer = [IoSliceMut::new(buffer)];
        retry_on_intr(|| preadv2(&self.file, &mut buffer, offset, ReadWriteFlags::empty()))
    }

    fn read_cached(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
        preadv2(&self.file, &mut [IoSliceMut::new(buffer)], offset, ReadWriteFlags::NOWAIT)
    }

    fn write(&self, data: &[IoSlice<'_>], offset: u64) -> Result<usize, Errno> {
        retry_on_intr(|| pwritev(&self.file, data, offset))
    }

    fn zero(&self, zeroing: Zeroing, offset: u64, length: u64) -> Result<(), Errno> {
        let how = match zeroing {
            Zeroing::Release => FallocateFlags::PUNCH_HOLE,
            Zeroing::Keep => FallocateFlags::ZERO_RANGE,
        };
        retry_on_intr(|| fallocate(&self.file, how | FallocateFlags::KEEP_SIZE, offset, length))
    }

    fn seek(&self, offset: u64, hole: bool) -> Result<Option<u64>, Errno> {
        let from = if hole { SeekFrom::Hole(offset) } else { SeekFrom::Data(offset) };
        match seek(&self.file, from) {
            Ok(at) => Ok(Some(at)),
            Err(Errno::NXIO) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn will_need(&self, offset: u64, length: u64) -> Result<(), Errno> {
        fadvise(&self.file, offset, NonZeroU64::new(length), Advice::WillNeed)
    }

    fn extend(&self, bytes: u64) -> Result<(), Errno> {
        match seek(&self.file, SeekFrom::End(0))? {
            there if there >= bytes => Ok(()),
            _ => ftruncate(&self.file, bytes),
        }
    }

    fn space(&self) -> Result<Option<(u64, u64)>, Errno> {
        /// What `st_blocks` counts, whatever the file system's blocks are.
        const STAT_BLOCK_BYTES: u64 = 512;
        let stat = fstat(&self.file)?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Ok(None);
        }
        let system = fstatvfs(&self.file)?;
        let used = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(STAT_BLOCK_BYTES);
        Ok(Some((used, system.f_bavail.saturating_mul(system.f_frsize))))
    }

    fn sync(&self) -> Result<(), Errno> {
        retry_on_intr(|| fdatasync(&self.file))
    }
}
