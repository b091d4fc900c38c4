//! Trouble on a plan, above any other store: for tests.

use crate::{BlockStore, FileLock, IoId, StoreQueue};
use parking_lot::Mutex;
use scsi_block::io::{BlockIo, Geometry, IoDone, IoError, Space};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

/// Which requests a [`Fault`] is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `Read`, `Compare`, `Prefetch` and `LbaStatus`.
    Read,
    /// Whatever changes the medium.
    Write,
    /// `Flush`.
    Flush,
    /// All of them.
    Any,
}

/// What a [`Fault`] does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It ends with this error; the store below does not see it.
    Fail(IoError),
    /// Its end is held back for this many calls of `poll`. The waker is woken so that they come.
    Delay {
        /// Calls of `poll` that give nothing in its place.
        polls: u32,
    },
}

/// One entry of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The requests that count.
    pub operation: Operation,
    /// How many of them pass first.
    pub after: u64,
    /// How many are hit then.
    pub count: u64,
    /// What happens to those.
    pub effect: Effect,
}

/// A store that fails or dawdles as a list says. Requests are counted over all queues together; the first entry that
/// hits a request decides, and all entries count it.
#[derive(Debug)]
pub struct FaultStore {
    inner: Arc<dyn BlockStore>,
    plan: Mutex<Vec<Fault>>,
}

impl Operation {
    fn includes(self, io: &BlockIo) -> bool {
        match io {
            BlockIo::Read(_) | BlockIo::Compare { .. } | BlockIo::Prefetch(_) | BlockIo::LbaStatus { .. } => {
                matches!(self, Self::Read | Self::Any)
            }
            BlockIo::Flush => matches!(self, Self::Flush | Self::Any),
            _ => matches!(self, Self::Write | Self::Any),
        }
    }
}

impl Fault {
    /// Counts a request: true if it is hit.
    fn hits(&mut self, io: &BlockIo) -> bool {
        if !self.operation.includes(io) {
            return false;
        }
        if self.after > 0 {
            self.after -= 1;
            return false;
        }
        let hit = self.count > 0;
        self.count -= u64::from(hit);
        hit
    }
}

impl FaultStore {
    /// `inner`, with the faults of `plan`.
    pub fn new(inner: Arc<dyn BlockStore>, plan: impl IntoIterator<Item = Fault>) -> Self {
        Self { inner, plan: Mutex::new(plan.into_iter().collect()) }
    }

    fn effect_on(&self, io: &BlockIo) -> Option<Effect> {
        let mut plan = self.plan.lock();
        plan.iter_mut().fold(None, |first, fault| {
            let hit = fault.hits(io).then_some(fault.effect);
            first.or(hit)
        })
    }
}

impl BlockStore for FaultStore {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn atomic_bytes_max(&self) -> u32 {
        self.inner.atomic_bytes_max()
    }

    fn space(&self) -> Option<Space> {
        self.inner.space()
    }

    fn lock(&self) -> Option<FileLock> {
        self.inner.lock()
    }

    fn grow(&self, blocks: u64) -> std::io::Result<()> {
        self.inner.grow(blocks)
    }

    fn open_queue(self: Arc<Self>, waker: Waker) -> Box<dyn StoreQueue> {
        let inner = self.inner.clone().open_queue(waker.clone());
        Box::new(FaultQueue { store: self, inner, waker, late: Vec::new(), done: VecDeque::new() })
    }
}

/// One core's way to a [`FaultStore`].
struct FaultQueue {
    store: Arc<FaultStore>,
    inner: Box<dyn StoreQueue>,
    waker: Waker,
    late: Vec<Late>,
    done: VecDeque<(IoId, IoDone)>,
}

/// A request whose end is held back.
struct Late {
    id: IoId,
    polls: u32,
    end: Option<IoDone>,
}

impl FaultQueue {
    /// The next end from below that is not to be held back.
    fn poll_inner(&mut self) -> Option<(IoId, IoDone)> {
        loop {
            let (id, end) = self.inner.poll()?;
            match self.late.iter_mut().find(|late| late.id == id && late.end.is_none()) {
                Some(late) => late.end = Some(end),
                None => return Some((id, end)),
            }
        }
    }

    /// One poll passes for everything that has ended and is late.
    fn pass_time(&mut self) {
        for late in self.late.iter_mut().filter(|late| late.end.is_some()) {
            late.polls = late.polls.saturating_sub(1);
        }
        for late in self.late.extract_if(.., |late| late.polls == 0 && late.end.is_some()) {
            self.done.extend(late.end.map(|end| (late.id, end)));
        }
        if self.late.iter().any(|late| late.end.is_some()) || !self.done.is_empty() {
            self.waker.wake_by_ref();
        }
    }
}

impl StoreQueue for FaultQueue {
    fn submit(&mut self, id: IoId, io: BlockIo) {
        match self.store.effect_on(&io) {
            Some(Effect::Fail(error)) => self.done.push_back((id, Err(error))),
            Some(Effect::Delay { polls }) => {
                self.late.push(Late { id, polls, end: None });
                self.inner.submit(id, io);
            }
            None => self.inner.submit(id, io),
        }
    }

    fn poll(&mut self) -> Option<(IoId, IoDone)> {
        let now = self.done.pop_front().or_else(|| self.poll_inner());
        if now.is_none() && !self.late.is_empty() {
            self.pass_time();
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;
    use scsi_block::io::{Extent, IoOutput};

    fn queue(plan: impl IntoIterator<Item = Fault>) -> Box<dyn StoreQueue> {
        let memory = Arc::new(MemoryStore::new(Geometry { block_size: 512, blocks: 8 }));
        Arc::new(FaultStore::new(memory, plan)).open_queue(Waker::noop().clone())
    }

    fn write(byte: u8) -> BlockIo {
        let data = [vec![byte; 512].into()].into_iter().collect();
        BlockIo::Write { lba: 0, data, durable: false }
    }

    #[test]
    fn the_listed_writes_fail_and_nothing_of_them_is_stored() {
        let effect = Effect::Fail(IoError::NoSpace);
        let mut queue = queue([Fault { operation: Operation::Write, after: 1, count: 2, effect }]);
        let mut run = |io| {
            queue.submit(IoId(0), io);
            queue.poll().unwrap().1
        };
        let ends: Vec<bool> = (1..=4).map(|byte| run(write(byte)).is_ok()).collect();
        assert_eq!(ends, [true, false, false, true]);
        let read = run(BlockIo::Read(Extent { lba: 0, blocks: 1 }));
        assert_eq!(read, Ok(IoOutput::Data(vec![4; 512].into())));
    }

    #[test]
    fn a_delayed_end_comes_after_others() {
        let effect = Effect::Delay { polls: 2 };
        let mut queue = queue([Fault { operation: Operation::Any, after: 0, count: 1, effect }]);
        queue.submit(IoId(1), write(1));
        queue.submit(IoId(2), write(2));
        let polled: Vec<Option<u64>> = (0..5).map(|_| Some(queue.poll()?.0.0)).collect();
        assert_eq!(polled, [Some(2), None, None, Some(1), None]);
    }
}
