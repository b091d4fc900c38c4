//! A disk in memory that does what a store would.

use bytes::Bytes;
use scsi_block::io::{BlockIo, IoOutput};

/// Bytes of a block.
pub(crate) const BLOCK: usize = 512;

/// Carries out a block I/O on the bytes of a disk.
pub(crate) fn carry_out(disk: &mut [u8], io: BlockIo) -> IoOutput {
    match io {
        BlockIo::Read(extent) => {
            let begin = extent.lba as usize * BLOCK;
            IoOutput::Data(Bytes::copy_from_slice(&disk[begin..begin + extent.blocks as usize * BLOCK]))
        }
        BlockIo::Write { lba, data, .. } => {
            let mut place = lba as usize * BLOCK;
            for segment in &data {
                disk[place..place + segment.len()].copy_from_slice(segment);
                place += segment.len();
            }
            IoOutput::Done
        }
        _ => IoOutput::Done,
    }
}
