//! A disk behind a session. Reads and writes go out at once and are waited for later; ranges of zeros become WRITE SAME with
//! the UNMAP bit where the disk says that it has that and that unmapped blocks read as zeros.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use iscsi_runtime::url::Url;
use iscsi_runtime::{RemoteDisk, Request, Transfer};
use scsi_block::LogicalUnitNumber;
use scsi_block::cdb::Cdb;
use scsi_block::vpd::{BlockLimits, LogicalBlockProvisioning, page};

use super::{CHUNK_BYTES, Pending, Storage, Zeroing};
use crate::completion::good;
use crate::failure::Failure;
use crate::initiator::connection::{Connection, at};
use crate::initiator::unit::Unit;

/// Zeros that are worth a command of their own.
const GRANULE_BYTES: usize = 64 * 1024;
/// Blocks in one WRITE SAME where the unit does not say how many it takes, as Linux has it.
const WRITE_SAME_BLOCKS_DEFAULT: u64 = 0xffff;
/// Bytes in one WRITE SAME, so that a copy can be seen to go on.
const WRITE_SAME_BYTES_MAX: u64 = 256 << 20;

/// A disk at a URL.
#[derive(Debug)]
pub struct DiskStorage {
    pub(super) unit: Unit,
    disk: RemoteDisk,
    pub(super) url: String,
    /// Blocks in one WRITE SAME with UNMAP, if the disk has that.
    write_same_blocks_max: Option<u64>,
}

impl DiskStorage {
    /// Logs in, and learns what the disk can do.
    ///
    /// # Errors
    /// There is no session, or no disk.
    pub fn open(url: &Url, connection: &Connection) -> Result<Self, Failure> {
        Self::of(Unit::open(url, connection)?, url)
    }

    /// The same for two, which may be reached over one adapter.
    ///
    /// # Errors
    /// As [`open`](Self::open), for either.
    pub fn open_both(one: &Url, other: &Url, connection: &Connection) -> Result<(Self, Self), Failure> {
        let units: [Unit; 2] =
            Unit::open_all(&[one, other], connection)?.try_into().expect("there is a unit for each URL");
        let [unit, other_unit] = units;
        Ok((Self::of(unit, one)?, Self::of(other_unit, other)?))
    }

    fn of(unit: Unit, url: &Url) -> Result<Self, Failure> {
        let disk = unit.disk().map_err(at(url))?;
        if !CHUNK_BYTES.is_multiple_of(disk.block_size() as usize) {
            let message =
                format!("{url} has blocks of {} bytes, which nothing can be copied to or from", disk.block_size());
            return Err(Failure::usage(message));
        }
        let write_same_blocks_max = write_same_blocks_max(&unit, disk.block_size());
        Ok(Self { unit, disk, url: url.to_string(), write_same_blocks_max })
    }

    /// Logs out.
    pub fn close(self) {
        self.unit.close();
    }

    pub(super) fn block_size(&self) -> u64 {
        self.disk.block_size().into()
    }

    /// Bytes in one command.
    fn transfer_bytes(&self) -> usize {
        let bytes = self.disk.transfer_blocks_max().saturating_mul(self.block_size());
        usize::try_from(bytes).unwrap_or(usize::MAX).min(CHUNK_BYTES)
    }

    /// Writes whole blocks, in as many commands as it takes.
    fn write_blocks(&self, offset: u64, data: Bytes) -> Pending<()> {
        let (step, url) = (self.transfer_bytes(), self.url.clone());
        let writes: Vec<_> = (0..data.len())
            .step_by(step)
            .map(|at| {
                let lba = (offset + at as u64) / self.block_size();
                self.disk.write(lba, data.slice(at..data.len().min(at + step)))
            })
            .collect();
        Pending::new(move || {
            // Each is waited for, so that none is under way when the first failure is told.
            let ends: Vec<_> = writes.into_iter().map(iscsi_runtime::Operation::wait).collect();
            ends.into_iter().collect::<Result<(), _>>().map_err(|error| Failure::from(error).context(url))
        })
    }
}

/// Blocks that one WRITE SAME (16) with UNMAP may have; `None` if the unit does not say that it has that command, or that
/// unmapped blocks read as zeros.
fn write_same_blocks_max(unit: &Unit, block_size: u32) -> Option<u64> {
    let pages = unit.pages();
    let read = |code| if pages.contains(&code) { unit.page(code).ok() } else { None };
    let provisioning = LogicalBlockProvisioning::decode(&read(page::LOGICAL_BLOCK_PROVISIONING)?).ok()?;
    if !provisioning.write_same_16 || provisioning.reads_zero & 1 == 0 {
        return None;
    }
    let limits = read(page::BLOCK_LIMITS).and_then(|bytes| BlockLimits::decode(&bytes).ok()).unwrap_or_default();
    let told = if limits.write_same_max == 0 { WRITE_SAME_BLOCKS_DEFAULT } else { limits.write_same_max };
    Some(told.min(WRITE_SAME_BYTES_MAX / u64::from(block_size)))
}

impl Storage for DiskStorage {
    fn size(&self) -> u64 {
        self.disk.blocks().saturating_mul(self.block_size())
    }

    fn next_data(&self, range: Range<u64>) -> Option<Range<u64>> {
        (!range.is_empty()).then_some(range)
    }

    fn read(&self, offset: u64, length: usize) -> Pending<Bytes> {
        let (step, block_size) = (self.transfer_bytes(), self.block_size() as usize);
        let reads: Vec<_> = (0..length)
            .step_by(step)
            .map(|at| {
                let blocks = (length - at).min(step).div_ceil(block_size) as u32;
                self.disk.read((offset + at as u64) / block_size as u64, blocks)
            })
            .collect();
        let url = self.url.clone();
        Pending::new(move || {
            let ends: Vec<_> = reads.into_iter().map(iscsi_runtime::Operation::wait).collect();
            let mut pieces = ends
                .into_iter()
                .collect::<Result<Vec<Bytes>, _>>()
                .map_err(|error| Failure::from(error).context(url))?;
            let mut whole = if pieces.len() == 1 { pieces.remove(0) } else { pieces.concat().into() };
            whole.truncate(length);
            Ok(whole)
        })
    }

    fn write(&self, offset: u64, data: Bytes) -> Pending<()> {
        let block_size = self.block_size() as usize;
        if data.len().is_multiple_of(block_size) {
            return self.write_blocks(offset, data);
        }
        let mut padded = BytesMut::from(data);
        padded.resize(padded.len().next_multiple_of(block_size), 0);
        self.write_blocks(offset, padded.freeze())
    }

    fn zeroing(&self) -> Option<Zeroing> {
        let bytes_max = self.write_same_blocks_max? * self.block_size() / CHUNK_BYTES as u64 * CHUNK_BYTES as u64;
        (bytes_max > 0).then_some(Zeroing { granule_bytes: GRANULE_BYTES, bytes_max })
    }

    /// WRITE SAME (16) with UNMAP: unlike UNMAP, it makes zeros of what cannot be unmapped.
    fn write_zeros(&self, range: Range<u64>) -> Pending<()> {
        let block_size = self.block_size();
        let lba = range.start / block_size;
        let blocks = u32::try_from(range.end.div_ceil(block_size) - lba);
        let cdb = Cdb::write_same_16(lba, blocks.expect("a range is no longer than `zeroing` says"), true);
        let block = Bytes::from(vec![0; block_size as usize]);
        let request = Request::new(LogicalUnitNumber::from(self.unit.lun), &cdb, Transfer::Write(block));
        let (write, url) = (self.unit.client.execute(request), self.url.clone());
        Pending::new(move || {
            let completion = write.wait().map_err(Failure::from);
            completion
                .and_then(|completion| good(cdb.descriptor().name, completion))
                .map(|_| ())
                .map_err(|failure| failure.context(url))
        })
    }

    fn flush(&self) -> Result<(), Failure> {
        self.disk.flush().wait().map_err(|error| Failure::from(error).context(&self.url))
    }
}
