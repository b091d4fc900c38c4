//! One core's queue to a file, and what travels from it to the workers and back.

use super::FileStore;
use super::buffers::BufferPool;
use super::disk::Disk;
use super::sync::SyncGroup;
use crate::{IoId, StoreQueue};
use parking_lot::Mutex;
use scsi_block::io::{BlockIo, IoDone, IoError, IoOutput};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

/// Requests of one queue that the workers may hold; the others wait in the queue.
const IN_FLIGHT_MAX: usize = 128;

/// The end of [`FileStore`](super::FileStore) that one core holds.
pub(super) struct FileQueue {
    store: Arc<FileStore>,
    completions: Arc<Completions>,
    /// Taken, and not yet with the workers.
    staged: VecDeque<Job>,
    /// With the workers, or ended there and not yet fetched.
    in_flight: usize,
    done: VecDeque<(IoId, IoDone)>,
}

impl FileQueue {
    pub(super) fn new(store: Arc<FileStore>, waker: Waker) -> Self {
        let completions = Completions { done: Mutex::default(), waker, buffers: Arc::default() };
        Self { store, completions: Arc::new(completions), staged: VecDeque::new(), in_flight: 0, done: VecDeque::new() }
    }

    /// The end of a request that needs no worker.
    fn answer_at_once(&self, io: &BlockIo) -> Option<IoDone> {
        match io {
            BlockIo::Read(extent) => {
                let read = self.store.disk.read_cached(*extent, &self.completions.buffers)?;
                Some(Ok(IoOutput::Data(read)))
            }
            BlockIo::Compare { .. } | BlockIo::Prefetch(_) | BlockIo::LbaStatus { .. } | BlockIo::Flush => None,
            _ => self.store.disk.is_read_only().then_some(Err(IoError::ReadOnly)),
        }
    }

    fn hand_over(&mut self) {
        let count = self.staged.len().min(IN_FLIGHT_MAX - self.in_flight);
        self.in_flight += count;
        self.store.workers.push_all(self.staged.drain(..count));
    }

    fn fetch(&mut self) {
        let before = self.done.len();
        self.done.extend(self.completions.done.lock().drain(..));
        self.in_flight -= self.done.len() - before;
    }
}

impl StoreQueue for FileQueue {
    fn submit(&mut self, id: IoId, io: BlockIo) {
        self.store.disk.check(&io);
        match self.answer_at_once(&io) {
            Some(done) => self.done.push_back((id, done)),
            None => {
                let reply = Reply { id, completions: self.completions.clone() };
                self.staged.push_back(Job { io, reply });
            }
        }
    }

    fn poll(&mut self) -> Option<(IoId, IoDone)> {
        if self.done.is_empty() && self.in_flight > 0 {
            self.fetch();
        }
        if !self.staged.is_empty() {
            self.hand_over();
        }
        self.done.pop_front()
    }
}

/// What the workers have ended for one queue.
struct Completions {
    done: Mutex<Vec<(IoId, IoDone)>>,
    waker: Waker,
    /// Where the queue's reads go.
    buffers: Arc<BufferPool>,
}

/// The way back of one request.
pub(super) struct Reply {
    id: IoId,
    completions: Arc<Completions>,
}

impl Reply {
    /// Ends the request. Wakes the core unless it has been woken since it last fetched.
    pub(super) fn send(self, end: IoDone) {
        let mut done = self.completions.done.lock();
        done.push((self.id, end));
        let first = done.len() == 1;
        drop(done);
        if first {
            self.completions.waker.wake_by_ref();
        }
    }
}

/// One request on its way to a worker.
pub(super) struct Job {
    io: BlockIo,
    reply: Reply,
}

impl Job {
    /// Does the request, on a worker.
    pub(super) fn run(self, disk: &Disk, group: &SyncGroup) {
        let durable = is_durable(&self.io);
        let end = disk.execute(self.io, &self.reply.completions.buffers);
        match end {
            Ok(_) if durable => group.join(disk.medium(), self.reply),
            end => self.reply.send(end),
        }
    }
}

/// True if the end of the request says that data would survive a power cut.
fn is_durable(io: &BlockIo) -> bool {
    match io {
        BlockIo::Write { durable, .. }
        | BlockIo::OrWrite { durable, .. }
        | BlockIo::CompareAndWrite { durable, .. }
        | BlockIo::WriteSame { durable, .. } => *durable,
        BlockIo::Flush => true,
        BlockIo::Read(_)
        | BlockIo::Compare { .. }
        | BlockIo::Prefetch(_)
        | BlockIo::Wipe { .. }
        | BlockIo::LbaStatus { .. }
        | BlockIo::Unmap(_)
        | BlockIo::Keep(_) => false,
    }
}
