//! A store for measuring what surrounds it: reads give zeros, writes are dropped.

use crate::immediate::ImmediateQueue;
use crate::range::{ByteRange, Size};
use crate::segments::Cursor;
use crate::zeros::{first_nonzero, zeros};
use crate::{BlockStore, StoreQueue};
use bytes::Bytes;
use scsi_block::io::{BlockIo, Geometry, IoDone, IoError, IoOutput, LbaStatus};
use std::io;
use std::sync::Arc;
use std::task::Waker;

/// A medium of zeros that takes any write and forgets it. For timing only.
#[derive(Debug)]
pub struct NullStore {
    size: Size,
}

impl NullStore {
    /// A null medium of this size.
    ///
    /// Panics if `geometry` is none that [`Geometry`] allows, or has 8 EiB or more.
    pub fn new(geometry: Geometry) -> Self {
        Self { size: Size::new(geometry) }
    }

    fn execute(&self, io: BlockIo) -> IoDone {
        match io {
            BlockIo::Read(extent) => {
                let range = ByteRange::of_extent(self.size.geometry(), extent);
                Ok(IoOutput::Data(zeros(range.length())))
            }
            BlockIo::Compare { lba, data } => compare(&data, ByteRange::of_data(self.size.geometry(), lba, &data)),
            BlockIo::CompareAndWrite { lba, data, .. } => {
                compare(&data, ByteRange::of_halves(self.size.geometry(), lba, &data))
            }
            BlockIo::LbaStatus { extent, .. } => Ok(IoOutput::Status(vec![LbaStatus { extent, mapped: false }])),
            // There is no place for records.
            BlockIo::Keep(_) => Err(IoError::Write),
            BlockIo::Write { .. }
            | BlockIo::OrWrite { .. }
            | BlockIo::Prefetch(_)
            | BlockIo::Wipe { .. }
            | BlockIo::WriteSame { .. }
            | BlockIo::Unmap(_)
            | BlockIo::Flush => Ok(IoOutput::Done),
        }
    }
}

/// Compares the start of `data`, as much as `range` has, with zeros.
fn compare(data: &[Bytes], range: ByteRange) -> IoDone {
    let mut offset = 0;
    for piece in Cursor::new(data).pieces(range.length()) {
        if let Some(within) = first_nonzero(piece) {
            return Err(IoError::Miscompare { offset: offset + within as u64 });
        }
        offset += piece.len() as u64;
    }
    Ok(IoOutput::Done)
}

impl BlockStore for NullStore {
    fn geometry(&self) -> Geometry {
        self.size.geometry()
    }

    fn grow(&self, blocks: u64) -> io::Result<()> {
        self.size.grow(blocks, |_| Ok(()))
    }

    fn open_queue(self: Arc<Self>, _waker: Waker) -> Box<dyn StoreQueue> {
        Box::new(ImmediateQueue::new(move |io| self.execute(io)))
    }
}
