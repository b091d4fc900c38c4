//! FORMAT UNIT and SANITIZE under way: the whole medium, written in bounded steps (SBC-4 4.11, 4.33).
//!
//! Where records are kept, a SANITIZE is one from its first step to its last, and is taken up again after a loss of power.
//!
//! The steps are the unit's, not a task's, as they outlive the nexus that asked for them. A task that waits for their end (IMMED zero)
//! has the lease and carries them out itself; without a lease, from the start or since that task is gone, whoever owns the device
//! does: [`TargetDevice::poll_upkeep`](crate::TargetDevice::poll_upkeep).

mod kept;

pub(crate) use kept::{RECORD, from_kept, to_kept};

use std::sync::{Arc, Weak};

use bytes::Bytes;

use crate::io::{BlockIo, Extent, IoError, Record};
use crate::sense::{AdditionalSense, Sense, SenseKey};

/// Bytes that one step writes, so that other sessions' commands come between steps.
const OVERWRITE_STEP_BYTES: u64 = 64 << 10;
/// Bytes that one step gives back at least.
const ERASE_STEP_BYTES: u64 = 4 << 20;
/// Steps in which the largest medium is given back.
const ERASE_STEPS: u64 = 1 << 16;

/// Which command it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Format,
    /// Whether a failure may be left without another SANITIZE (AUSE).
    Sanitize {
        unrestricted_exit: bool,
    },
}

impl Kind {
    pub(crate) const fn in_progress(self) -> AdditionalSense {
        match self {
            Self::Format => AdditionalSense::FORMAT_IN_PROGRESS,
            Self::Sanitize { .. } => AdditionalSense::SANITIZE_IN_PROGRESS,
        }
    }

    /// The sense of one that has failed.
    pub(crate) const fn failed(self) -> Sense {
        let code = match self {
            Self::Format => AdditionalSense::FORMAT_COMMAND_FAILED,
            Self::Sanitize { .. } => AdditionalSense::SANITIZE_COMMAND_FAILED,
        };
        Sense::new(SenseKey::MediumError, code)
    }
}

/// What the blocks become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Zeros, and their space is given back.
    Nothing,
    /// A block over and over, so many times; in every second pass the other, if there is one.
    Pattern { block: Bytes, inverted: Option<Bytes>, passes: u8 },
}

/// The hold of a task on a wipe.
#[derive(Debug)]
pub(crate) struct Lease {
    held: Arc<()>,
    /// Whether the task goes when the wipe is kept, and does not wait for its end.
    pub(crate) until_kept: bool,
}

/// A wipe that goes on.
#[derive(Debug)]
pub(crate) struct Wipe {
    pub(crate) kind: Kind,
    content: Content,
    blocks: u64,
    block_bytes: u64,
    /// The record of it, to be kept before all else; none when that is done.
    begin: Option<Record>,
    /// The record of its end, to be kept after all else.
    end: Option<Record>,
    /// Whether all that was written would survive a power cut.
    is_flushed: bool,
    /// Pass that goes on, counted from zero.
    pass: u8,
    /// First block that is not done in this pass.
    next: u64,
    lease: Weak<()>,
    /// Whether a step that nobody has the lease for is under way.
    is_out: bool,
}

/// What follows the end of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Continues,
    Ended,
    Failed(Kind),
}

impl Wipe {
    /// A medium of `blocks` with `block_bytes` each in the store.
    pub(crate) fn new(kind: Kind, content: Content, blocks: u64, block_bytes: u32) -> Self {
        let block_bytes = block_bytes.into();
        Self {
            kind,
            content,
            blocks,
            block_bytes,
            begin: None,
            end: None,
            is_flushed: false,
            pass: 0,
            next: 0,
            lease: Weak::new(),
            is_out: false,
        }
    }

    /// The same with records of its begin and its end, as there are.
    pub(crate) fn with_records(self, begin: Option<Record>, end: Option<Record>) -> Self {
        Self { begin, end, ..self }
    }

    /// Gives the wipe to a task, for all of it or until it is kept.
    pub(crate) fn lease(&mut self, until_kept: bool) -> Lease {
        let held = Arc::new(());
        self.lease = Arc::downgrade(&held);
        Lease { held, until_kept }
    }

    /// Whether the lease is for this wipe, and not for one before it.
    pub(crate) fn is_leased_to(&self, lease: &Lease) -> bool {
        self.lease.upgrade().is_some_and(|held| Arc::ptr_eq(&held, &lease.held))
    }

    fn passes(&self) -> u8 {
        match &self.content {
            Content::Nothing => 1,
            Content::Pattern { passes, .. } => *passes,
        }
    }

    fn is_written(&self) -> bool {
        self.pass == self.passes()
    }

    /// The step that is due.
    pub(crate) fn step(&self) -> BlockIo {
        match (&self.begin, &self.end) {
            (Some(begin), _) => return BlockIo::Keep(begin.clone()),
            (None, Some(end)) if self.is_flushed => return BlockIo::Keep(end.clone()),
            _ if self.is_written() => return BlockIo::Flush,
            _ => {}
        }
        let extent = Extent { lba: self.next, blocks: self.step_blocks().min(self.blocks - self.next) };
        match &self.content {
            Content::Nothing => BlockIo::Wipe { extent, block: None },
            Content::Pattern { block, inverted, .. } => {
                let other = inverted.as_ref().filter(|_| self.pass % 2 == 1);
                BlockIo::Wipe { extent, block: Some(other.unwrap_or(block).clone()) }
            }
        }
    }

    fn step_blocks(&self) -> u64 {
        let bytes = match self.content {
            Content::Nothing => ERASE_STEP_BYTES.max(self.blocks.div_ceil(ERASE_STEPS) * self.block_bytes),
            Content::Pattern { .. } => OVERWRITE_STEP_BYTES,
        };
        bytes / self.block_bytes
    }

    /// The step that is due, for the owner of the device: if no task does it, and it is not under way.
    pub(crate) fn poll(&mut self) -> Option<BlockIo> {
        if self.is_out || self.lease.strong_count() > 0 {
            return None;
        }
        self.is_out = true;
        Some(self.step())
    }

    /// The step that was due has ended.
    pub(crate) fn handle_done(&mut self, done: Result<(), IoError>) -> Progress {
        self.is_out = false;
        if done.is_err() {
            return Progress::Failed(self.kind);
        }
        if self.begin.take().is_some() {
            return Progress::Continues;
        }
        if self.is_written() {
            let is_over = self.is_flushed || self.end.is_none();
            self.is_flushed = true;
            return if is_over { Progress::Ended } else { Progress::Continues };
        }
        self.next += self.step_blocks().min(self.blocks - self.next);
        if self.next == self.blocks {
            (self.pass, self.next) = (self.pass + 1, 0);
        }
        Progress::Continues
    }

    /// How much is done, in 65536ths.
    pub(crate) fn progress(&self) -> u16 {
        let total = u128::from(self.blocks) * u128::from(self.passes());
        let done = u128::from(self.blocks) * u128::from(self.pass) + u128::from(self.next);
        (done * 65536 / total).min(65535) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(mut wipe: Wipe) -> (Vec<BlockIo>, Vec<u16>) {
        let (mut steps, mut progress) = (Vec::new(), Vec::new());
        loop {
            progress.push(wipe.progress());
            steps.push(wipe.step());
            if wipe.handle_done(Ok(())) == Progress::Ended {
                return (steps, progress);
            }
        }
    }

    #[test]
    fn passes_cover_the_medium_and_invert_in_turn() {
        let inverted = Some(Bytes::from_static(&[0xf0; 512]));
        let content = Content::Pattern { block: Bytes::from_static(&[0x0f; 512]), inverted, passes: 3 };
        let blocks = 2 * OVERWRITE_STEP_BYTES / 512 + 1;
        let (steps, progress) = run(Wipe::new(Kind::Format, content, blocks, 512));
        assert_eq!(steps.len(), 3 * 3 + 1);
        assert!(progress.is_sorted());
        for (index, step) in steps[..9].iter().enumerate() {
            let BlockIo::Wipe { extent, block: Some(block) } = step else { panic!("{step:?}") };
            assert_eq!(extent.lba, index as u64 % 3 * (OVERWRITE_STEP_BYTES / 512));
            assert_eq!(block[0], if index / 3 == 1 { 0xf0 } else { 0x0f });
        }
        assert_eq!(steps[9], BlockIo::Flush);
    }

    #[test]
    fn the_largest_medium_is_erased_in_bounded_steps() {
        let kind = Kind::Sanitize { unrestricted_exit: false };
        let (steps, _) = run(Wipe::new(kind, Content::Nothing, (i64::MAX / 512) as u64, 512));
        assert!(steps.len() as u64 <= ERASE_STEPS + 1);
    }

    #[test]
    fn one_that_lost_its_task_goes_to_the_owner_of_the_device() {
        let mut wipe = Wipe::new(Kind::Format, Content::Nothing, 8, 512);
        let lease = wipe.lease(false);
        assert!(wipe.is_leased_to(&lease));
        assert_eq!(wipe.poll(), None);
        drop(lease);
        assert!(wipe.poll().is_some());
        assert_eq!(wipe.poll(), None, "one step at a time");
        assert_eq!(wipe.handle_done(Ok(())), Progress::Continues);
        assert_eq!(wipe.poll(), Some(BlockIo::Flush));
        assert_eq!(wipe.handle_done(Err(IoError::Write)), Progress::Failed(Kind::Format));
    }
}
