//! Commands that take several requests to the store, one after the other.
//!
//! Long work is cut into steps so that a reset can come between them and no single request holds a store for long.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::commands::ProtectedSame;
use crate::io::{BlockIo, Extent, IoError, Segments};
use crate::protection::ProtectionType;

/// Bytes that one step of a WRITE SAME covers.
const SAME_STEP_BYTES: u64 = 4 << 20;
/// Bytes that one step of a VERIFY against one block covers.
const COMPARE_STEP_BYTES: u64 = 128 << 10;

/// The requests that are still to come. It is an iterator.
#[derive(Debug)]
pub(crate) enum Sequence {
    /// These.
    Few(VecDeque<BlockIo>),
    /// Write one block over and over.
    WriteSame { rest: Extent, block: Option<Bytes>, unmap: bool, durable: bool, block_size: u32 },
    /// Compare one block with many.
    CompareSame { rest: Extent, block: Bytes },
    /// Write one block over and over, with reference tags as the type has them.
    ProtectedSame(ProtectedSame, ProtectionType),
}

/// Takes at most `bytes` off the front of `rest`.
fn take(rest: &mut Extent, bytes: u64, block_size: u64) -> Option<Extent> {
    let blocks = rest.blocks.min(bytes / block_size);
    let step = Extent { lba: rest.lba, blocks };
    rest.lba += blocks;
    rest.blocks -= blocks;
    (blocks > 0).then_some(step)
}

impl Iterator for Sequence {
    type Item = BlockIo;

    fn next(&mut self) -> Option<BlockIo> {
        match self {
            Self::Few(requests) => requests.pop_front(),
            Self::WriteSame { rest, block, unmap, durable, block_size } => {
                let extent = take(rest, SAME_STEP_BYTES, u64::from(*block_size))?;
                Some(BlockIo::WriteSame { extent, block: block.clone(), unmap: *unmap, durable: *durable })
            }
            Self::ProtectedSame(steps, kind) => steps.next(*kind),
            Self::CompareSame { rest, block } => {
                let step = take(rest, COMPARE_STEP_BYTES, block.len() as u64)?;
                let data = (0..step.blocks).map(|_| block.clone()).collect::<Segments>();
                Some(BlockIo::Compare { lba: step.lba, data })
            }
        }
    }
}

impl Sequence {
    /// Whether more steps follow, of a size that others should not wait for.
    pub(crate) fn is_long(&self) -> bool {
        match self {
            Self::Few(_) => false,
            Self::WriteSame { rest, .. } | Self::CompareSame { rest, .. } => rest.blocks > 0,
            Self::ProtectedSame(steps, _) => !steps.is_over(),
        }
    }

    /// The error as the initiator is to have it: a miscompare's offset counts within the data that was sent.
    pub(crate) fn translate(&self, error: IoError) -> IoError {
        match (self, error) {
            (Self::CompareSame { block, .. }, IoError::Miscompare { offset }) => {
                IoError::Miscompare { offset: offset % block.len() as u64 }
            }
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_cover_the_extent_once_and_in_order() {
        let rest = Extent { lba: 7, blocks: 300_001 };
        let steps = Sequence::WriteSame { rest, block: None, unmap: false, durable: true, block_size: 512 };
        let mut next = 7;
        for step in steps {
            let BlockIo::WriteSame { extent, .. } = step else { panic!("{step:?}") };
            assert_eq!(extent.lba, next);
            next += extent.blocks;
        }
        assert_eq!(next, 300_008);
    }

    /// What one step does is over before anybody waits for it; of more, others' requests come between.
    #[test]
    fn several_steps_are_long() {
        let same = |blocks| Sequence::WriteSame {
            rest: Extent { lba: 0, blocks },
            block: None,
            unmap: false,
            durable: false,
            block_size: 512,
        };
        let step_blocks = SAME_STEP_BYTES / 512;
        for (blocks, is_long) in [(1, false), (step_blocks, false), (step_blocks + 1, true)] {
            let mut steps = same(blocks);
            steps.next().unwrap();
            assert_eq!(steps.is_long(), is_long, "{blocks}");
        }
        assert!(!Sequence::Few([BlockIo::Flush, BlockIo::Flush].into()).is_long());
    }

    #[test]
    fn an_offset_counts_within_the_block_sent() {
        let block = Bytes::from(vec![0; 512]);
        let sequence = Sequence::CompareSame { rest: Extent { lba: 0, blocks: 0 }, block };
        assert_eq!(sequence.translate(IoError::Miscompare { offset: 1030 }), IoError::Miscompare { offset: 6 });
    }
}
