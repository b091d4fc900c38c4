//! Requests as system calls: loops over short ones, falls back where one is not supported, and names the errors.

use super::FileOptions;
use super::buffers::BufferPool;
use super::medium::{Medium, Zeroing};
use crate::range::{ByteRange, Size};
use crate::segments::Cursor;
use crate::striped::Striped;
use crate::zeros::first_nonzero;
use bytes::Bytes;
use rustix::io::Errno;
use scsi_block::io::{BlockIo, Extent, Geometry, IoDone, IoError, IoOutput, LbaStatus, Segments};
use smallvec::SmallVec;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Longer reads go to a worker even if the page cache has them: the copy would hold up the core's loop.
const CACHED_READ_BYTES_MAX: usize = 256 << 10;

/// What compares, repeats or aligns data does so in steps of this many bytes.
const STEP_BYTES: usize = 1 << 20;

/// A medium with block sizes, locks and rules.
pub(super) struct Disk {
    medium: Box<dyn Medium>,
    size: Size,
    read_only: bool,
    direct: bool,
    /// Held by requests that run: shared, or by COMPARE AND WRITE alone.
    locks: Striped<()>,
    /// False once the medium has said that it cannot read without waiting.
    reads_cached: AtomicBool,
}

impl Disk {
    pub(super) fn new(medium: Box<dyn Medium>, geometry: Geometry, options: &FileOptions) -> Self {
        Self {
            medium,
            size: Size::new(geometry),
            read_only: options.read_only,
            direct: options.direct,
            locks: Striped::new(|| ()),
            reads_cached: AtomicBool::new(!options.direct),
        }
    }

    pub(super) fn geometry(&self) -> Geometry {
        self.size.geometry()
    }

    /// Makes the file larger; a device has become so by itself.
    pub(super) fn grow(&self, blocks: u64) -> io::Result<()> {
        if self.read_only {
            return Err(Errno::ROFS.into());
        }
        self.size.grow(blocks, |bytes| Ok(self.medium.extend(bytes)?))
    }

    /// Bytes that are taken, and that are left for all who use the file system.
    pub(super) fn space(&self) -> Option<(u64, u64)> {
        self.medium.space().ok().flatten()
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }

    pub(super) fn medium(&self) -> &dyn Medium {
        &*self.medium
    }

    /// Panics, in the caller's thread, if the request breaks what [`BlockIo`] promises.
    pub(super) fn check(&self, io: &BlockIo) {
        match io {
            BlockIo::Read(extent)
            | BlockIo::Prefetch(extent)
            | BlockIo::Wipe { extent, .. }
            | BlockIo::LbaStatus { extent, .. }
            | BlockIo::WriteSame { extent, .. } => {
                self.extent(*extent);
            }
            BlockIo::Write { lba, data, .. } | BlockIo::OrWrite { lba, data, .. } | BlockIo::Compare { lba, data } => {
                ByteRange::of_data(self.geometry(), *lba, data);
            }
            BlockIo::CompareAndWrite { lba, data, .. } => {
                ByteRange::of_halves(self.geometry(), *lba, data);
            }
            BlockIo::Unmap(extents) => {
                for extent in extents {
                    self.extent(*extent);
                }
            }
            BlockIo::Flush | BlockIo::Keep(_) => {}
        }
        if let BlockIo::WriteSame { block: Some(block), .. } | BlockIo::Wipe { block: Some(block), .. } = io {
            let block_size = self.geometry().block_size as usize;
            assert_eq!(block.len(), block_size, "WRITE SAME repeats one block");
        }
    }

    fn extent(&self, extent: Extent) -> ByteRange {
        ByteRange::of_extent(self.geometry(), extent)
    }

    /// Reads without waiting for the medium or a lock, if that can be.
    pub(super) fn read_cached(&self, extent: Extent, buffers: &Arc<BufferPool>) -> Option<Bytes> {
        let range = self.extent(extent);
        let length = range.length();
        if length > CACHED_READ_BYTES_MAX || !self.reads_cached.load(Ordering::Relaxed) {
            return None;
        }
        let _shared = self.locks.try_read(&range)?;
        let mut buffer = buffers.take(length);
        match self.medium.read_cached(buffer.as_mut(), range.start) {
            Ok(read) if read == length => Some(buffer.freeze()),
            Err(error) if is_unsupported(error) => {
                self.reads_cached.store(false, Ordering::Relaxed);
                None
            }
            // Part of it, or an error that a worker will meet again.
            _ => None,
        }
    }

    /// Does the request, except that it makes nothing durable.
    pub(super) fn execute(&self, io: BlockIo, buffers: &Arc<BufferPool>) -> IoDone {
        match io {
            BlockIo::Read(extent) => {
                let range = self.extent(extent);
                let _shared = self.locks.read(&range);
                let mut buffer = buffers.take(range.length());
                self.read(buffer.as_mut(), range.start)?;
                return Ok(IoOutput::Data(buffer.freeze()));
            }
            BlockIo::Write { lba, data, .. } => {
                let range = ByteRange::of_data(self.geometry(), lba, &data);
                let _shared = self.locks.read(&range);
                self.write(range, &mut Cursor::new(&data), buffers)?;
            }
            BlockIo::Compare { lba, data } => {
                let range = ByteRange::of_data(self.geometry(), lba, &data);
                let _shared = self.locks.read(&range);
                self.compare(range, &mut Cursor::new(&data), buffers)?;
            }
            BlockIo::CompareAndWrite { lba, data, .. } => {
                self.compare_and_write(lba, &data, buffers)?;
            }
            BlockIo::WriteSame { extent, block, unmap, .. } => self.write_same(extent, block, unmap, buffers)?,
            BlockIo::Wipe { extent, block } => self.write_same(extent, block, true, buffers)?,
            BlockIo::OrWrite { lba, data, .. } => self.or_write(lba, &data, buffers)?,
            BlockIo::Prefetch(extent) => return Ok(self.prefetch(self.extent(extent))),
            BlockIo::LbaStatus { extent, runs_max } => {
                return self.status(extent, runs_max.into()).map(IoOutput::Status);
            }
            BlockIo::Unmap(extents) => {
                for extent in extents {
                    let range = self.extent(extent);
                    let _shared = self.locks.read(&range);
                    self.zero(range, true, buffers)?;
                }
            }
            // There is no place for records.
            BlockIo::Keep(_) => return Err(IoError::Write),
            BlockIo::Flush => {}
        }
        Ok(IoOutput::Done)
    }

    fn compare_and_write(&self, lba: u64, data: &Segments, buffers: &Arc<BufferPool>) -> Result<(), IoError> {
        let range = ByteRange::of_halves(self.geometry(), lba, data);
        let _alone = self.locks.write(&range);
        // What the comparison leaves of the data is the second half.
        let mut data = Cursor::new(data);
        self.compare(range, &mut data, buffers)?;
        self.write(range, &mut data, buffers)
    }

    fn write_same(
        &self,
        extent: Extent,
        block: Option<Bytes>,
        unmap: bool,
        buffers: &Arc<BufferPool>,
    ) -> Result<(), IoError> {
        let range = self.extent(extent);
        let _shared = self.locks.read(&range);
        match block.filter(|block| first_nonzero(block).is_some()) {
            Some(block) => self.fill(range, &block, buffers),
            None => self.zero(range, unmap, buffers),
        }
    }

    fn or_write(&self, lba: u64, data: &Segments, buffers: &Arc<BufferPool>) -> Result<(), IoError> {
        let range = ByteRange::of_data(self.geometry(), lba, data);
        let _alone = self.locks.write(&range);
        let mut data = Cursor::new(data);
        let mut buffer = buffers.take(range.length().min(STEP_BYTES));
        for (offset, length) in steps(range, STEP_BYTES) {
            let step = &mut buffer.as_mut()[..length];
            self.read(step, offset)?;
            data.or_to(step);
            self.write_slices(&mut [IoSlice::new(step)], offset)?;
        }
        Ok(())
    }

    /// What the kernel is told may come to nothing: it is a hint. Past the page cache there is no place for it.
    fn prefetch(&self, range: ByteRange) -> IoOutput {
        if self.direct {
            return IoOutput::Uncached;
        }
        let _ = self.medium.will_need(range.start, range.end - range.start);
        IoOutput::Done
    }

    /// Holes are deallocated, all else is mapped, and so is everything where nobody knows of holes.
    fn status(&self, extent: Extent, runs_max: usize) -> Result<Vec<LbaStatus>, IoError> {
        let block_size = u64::from(self.geometry().block_size);
        let (mut next, end) = (extent.lba, extent.lba + extent.blocks);
        let mut runs: Vec<LbaStatus> = Vec::new();
        while next < end && runs.len() < runs_max {
            let offset = next * block_size;
            let data = self.seek(offset, false, end * block_size)?;
            // A block that data begins in is mapped, as is one that a hole begins in.
            let data_lba = data / block_size;
            let (mapped, up_to) = match data_lba > next {
                true => (false, data_lba),
                false => (true, self.seek(data, true, end * block_size)?.div_ceil(block_size).max(next + 1)),
            };
            let blocks = up_to.min(end) - next;
            match runs.last_mut().filter(|last| last.mapped == mapped) {
                Some(last) => last.extent.blocks += blocks,
                None => runs.push(LbaStatus { extent: Extent { lba: next, blocks }, mapped }),
            }
            next += blocks;
        }
        Ok(runs)
    }

    /// The first data or hole from `offset` on, or `end`. A medium that does not tell holes has none.
    fn seek(&self, offset: u64, hole: bool, end: u64) -> Result<u64, IoError> {
        match self.medium.seek(offset, hole) {
            Ok(at) => Ok(at.unwrap_or(end).clamp(offset, end)),
            Err(error) if is_unsupported(error) => Ok(if hole { end } else { offset }),
            Err(error) => Err(read_error(error)),
        }
    }

    /// Fills `buffer`. The end of the medium is an error: the file has shrunk.
    fn read(&self, mut buffer: &mut [u8], mut offset: u64) -> Result<(), IoError> {
        while !buffer.is_empty() {
            let read = self.medium.read(buffer, offset).map_err(read_error)?;
            if read == 0 {
                return Err(IoError::Read);
            }
            buffer = &mut buffer[read..];
            offset += read as u64;
        }
        Ok(())
    }

    /// Writes all of `slices`, however many there are.
    fn write_slices(&self, mut slices: &mut [IoSlice<'_>], mut offset: u64) -> Result<(), IoError> {
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let written = self.medium.write(slices, offset).map_err(write_error)?;
            if written == 0 {
                return Err(IoError::Write);
            }
            IoSlice::advance_slices(&mut slices, written);
            offset += written as u64;
        }
        Ok(())
    }

    /// Writes as much of `data` as the range has, from where it lies; O_DIRECT needs it aligned, so copied.
    fn write(&self, range: ByteRange, data: &mut Cursor<'_>, buffers: &Arc<BufferPool>) -> Result<(), IoError> {
        if !self.direct {
            let mut slices: SmallVec<[IoSlice<'_>; 16]> = data.pieces(range.length()).map(IoSlice::new).collect();
            return self.write_slices(&mut slices, range.start);
        }
        let mut buffer = buffers.take(range.length().min(STEP_BYTES));
        for (offset, length) in steps(range, STEP_BYTES) {
            let step = &mut buffer.as_mut()[..length];
            data.copy_to(step);
            self.write_slices(&mut [IoSlice::new(step)], offset)?;
        }
        Ok(())
    }

    /// Compares as much of `data` as the range has.
    fn compare(&self, range: ByteRange, data: &mut Cursor<'_>, buffers: &Arc<BufferPool>) -> Result<(), IoError> {
        let mut buffer = buffers.take(range.length().min(STEP_BYTES));
        for (offset, length) in steps(range, STEP_BYTES) {
            let step = &mut buffer.as_mut()[..length];
            self.read(step, offset)?;
            if let Some(within) = data.first_difference(step) {
                return Err(IoError::Miscompare { offset: offset - range.start + within as u64 });
            }
        }
        Ok(())
    }

    /// Writes `block` all over the range.
    fn fill(&self, range: ByteRange, block: &[u8], buffers: &Arc<BufferPool>) -> Result<(), IoError> {
        // Whole blocks, so that each step begins with one.
        let step_bytes = STEP_BYTES / block.len() * block.len();
        let mut buffer = buffers.take((range.end - range.start).min(step_bytes as u64) as usize);
        for target in buffer.as_mut().chunks_exact_mut(block.len()) {
            target.copy_from_slice(block);
        }
        for (offset, length) in steps(range, step_bytes) {
            self.write_slices(&mut [IoSlice::new(&buffer.as_ref()[..length])], offset)?;
        }
        Ok(())
    }

    /// Makes the range zeros, by the best means that the medium has.
    fn zero(&self, range: ByteRange, release: bool, buffers: &Arc<BufferPool>) -> Result<(), IoError> {
        let length = range.end - range.start;
        if length == 0 {
            return Ok(());
        }
        let means: &[Zeroing] = if release { &[Zeroing::Release, Zeroing::Keep] } else { &[Zeroing::Keep] };
        for &zeroing in means {
            match self.medium.zero(zeroing, range.start, length) {
                Err(error) if is_unsupported(error) => {}
                other => return other.map_err(write_error),
            }
        }
        self.fill(range, &vec![0; self.geometry().block_size as usize], buffers)
    }
}

/// The range in steps: offset and length of each.
fn steps(range: ByteRange, step_bytes: usize) -> impl Iterator<Item = (u64, usize)> {
    let offsets = (range.start..range.end).step_by(step_bytes);
    offsets.map(move |offset| (offset, (range.end - offset).min(step_bytes as u64) as usize))
}

/// True if the medium has no such operation, or not for this range.
fn is_unsupported(error: Errno) -> bool {
    matches!(error, Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL)
}

/// What a failed write, or a failed `fdatasync`, is to the initiator.
pub(super) fn write_error(error: Errno) -> IoError {
    match error {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => IoError::NoSpace,
        Errno::ROFS | Errno::BADF | Errno::PERM => IoError::ReadOnly,
        Errno::NODEV | Errno::NXIO => IoError::NotReady,
        _ => IoError::Write,
    }
}

fn read_error(error: Errno) -> IoError {
    match error {
        Errno::NODEV | Errno::NXIO => IoError::NotReady,
        _ => IoError::Read,
    }
}
