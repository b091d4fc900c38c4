//! Blocks that go from one disk of a target to another without coming here (EXTENDED COPY).
//!
//! In: two disks and how much to copy. Out: one command after another to the disk that is written, each of them one segment.

use scsi_block::cdb::Cdb;
use scsi_block::copy::{CopyList, Cscd, OperatingParameters, Segment};
use scsi_block::designator::{Association, Designator};
use scsi_block::vpd::{DeviceIdentification, page};

use super::{DiskStorage, Storage};
use crate::failure::{Failure, Kind};

/// Bytes in one command, so that a copy can be seen to go on and ends long before the command's time does.
const STEP_BYTES: u64 = 16 << 20;
/// Blocks in one segment.
const SEGMENT_BLOCKS_MAX: u64 = u16::MAX as u64;
/// Bytes that are asked of RECEIVE COPY OPERATING PARAMETERS.
const PARAMETERS_BYTES: u32 = 512;

/// Lets a target copy the first `size` bytes between two of its disks, and flushes them. `progress` is told of bytes that are done.
///
/// # Errors
/// `size` is no whole number of blocks, or the target does not copy: it cannot, or the disks are not both its own. What was copied until then
/// stays.
pub fn offload(from: &DiskStorage, to: &DiskStorage, size: u64, progress: &dyn Fn(u64)) -> Result<(), Failure> {
    let block_size = from.block_size().max(to.block_size());
    if !size.is_multiple_of(block_size) {
        return Err(Failure::usage(format!(
            "--offload copies whole blocks of {block_size} bytes, and {size} is none of them"
        )));
    }
    let cscds = vec![cscd(from)?, cscd(to)?];
    let step = step_bytes(from, to, block_size)?;
    let mut done = 0;
    while done < size {
        let bytes = step.min(size - done);
        let segment = Segment {
            source: 0,
            destination: 1,
            counts_destination: false,
            blocks: (bytes / from.block_size()) as u16,
            source_lba: done / from.block_size(),
            destination_lba: done / to.block_size(),
        };
        let list = CopyList { identifier: Some(1), immediate: false, cscds: cscds.clone(), segments: vec![segment] }
            .encode_lid1();
        let cdb = Cdb::extended_copy_lid1(list.len() as u32);
        to.unit.run(&cdb, list.into()).map_err(|failure| failure.context(&to.url))?;
        done += bytes;
        progress(bytes);
    }
    to.flush()
}

/// What the copy manager calls a disk.
fn cscd(disk: &DiskStorage) -> Result<Cscd, Failure> {
    let wrong = |message: String| Failure::new(Kind::Device, message).context(&disk.url);
    let page = disk.unit.page(page::DEVICE_IDENTIFICATION).map_err(|failure| failure.context(&disk.url))?;
    let names = DeviceIdentification::decode(&page).map_err(|error| wrong(error.to_string()))?.0;
    let is_own = |name: &Designator| name.association == Association::LogicalUnit && name.kind == Designator::NAA;
    let designator = names.into_iter().find(is_own);
    let designator = designator.ok_or_else(|| wrong("the disk has no NAA name to be copied by".into()))?;
    Ok(Cscd { designator, block_size: disk.block_size() as u32 })
}

/// Bytes of a segment: whole blocks of both disks, and no more than the copy manager takes.
fn step_bytes(from: &DiskStorage, to: &DiskStorage, block_size: u64) -> Result<u64, Failure> {
    let wrong = |message: &str| Failure::new(Kind::Device, message).context(&to.url);
    let cdb = Cdb::receive_copy_operating_parameters(PARAMETERS_BYTES);
    let answer = to.unit.read(&cdb, PARAMETERS_BYTES).map_err(|failure| failure.context(&to.url))?;
    let told = OperatingParameters::decode(&answer).map_err(|error| wrong(&error.to_string()))?;
    match segment_bytes(told.segment_bytes_max, from.block_size(), block_size) {
        0 => Err(wrong("the target copies nothing as long as a block at once")),
        step => Ok(step),
    }
}

/// The same for a copy manager that takes so many bytes a segment; 0 sets no limit.
fn segment_bytes(segment_bytes_max: u32, source_block_size: u64, block_size: u64) -> u64 {
    let told = if segment_bytes_max == 0 { u64::MAX } else { segment_bytes_max.into() };
    STEP_BYTES.min(told).min(SEGMENT_BLOCKS_MAX * source_block_size) / block_size * block_size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_as_long_as_both_sides_take() {
        for (told, expected) in [(0, 16 << 20), (u32::MAX, 16 << 20), ((1 << 20) + 512, 1 << 20), (4095, 0)] {
            assert_eq!(segment_bytes(told, 512, 4096), expected, "{told}");
        }
    }
}
