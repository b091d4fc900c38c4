//! Blocks in a file or on a block device.
//!
//! ```text
//!   submit --- read that the page cache can answer: preadv2(RWF_NOWAIT) --------------------> done
//!     |
//!   staged --- poll: a batch --> workers: preadv, pwritev, fallocate --+-- not durable -----> completions, one wake
//!                                                                      +-- durable: one fdatasync for all that wait
//! ```
//!
//! Payload is not copied: writes go out from the segments they came in, and a read is handed out in the buffer that
//! the kernel filled, which returns to its queue when it is dropped. The exception is O_DIRECT, which needs aligned
//! memory: there, writes are copied once.
//!
//! Overlap: every request holds the locks of its chunks while it runs, COMPARE AND WRITE for itself, all others
//! shared. So COMPARE AND WRITE is atomic against everything; two plain requests are as atomic as the kernel makes
//! them. Locks are taken by requests that run, never by one that waits in a queue.
//!
//! Durability: an end that stands for durable data (flush, durable write) is given after an `fdatasync` that began
//! when the data was written. One that fails is the last: the store never trusts the kernel's word on it again.

mod buffers;
mod disk;
mod lock;
mod medium;
mod open;
mod queue;
mod sync;
#[cfg(test)]
mod tests;

pub use lock::FileLock;
pub use open::{FileOptions, OpenError};

use crate::workers::Workers;
use crate::{BlockStore, StoreQueue};
use disk::Disk;
use medium::Medium;
use queue::{FileQueue, Job};
use scsi_block::io::{Geometry, Space};
use std::path::Path;
use std::sync::Arc;
use std::task::Waker;
use sync::SyncGroup;

/// A file or block device as a medium.
///
/// Reads that the page cache can answer end inside `submit`; all else is done by a few worker threads of the store's
/// own, through the page cache or, with [`FileOptions::direct`], past it at the price of one copy a write. UNMAP punches
/// holes, or writes zeros where the file system cannot.
///
/// The end of a flush or durable write is given when an `fdatasync` that covers it has returned. If one fails, all that
/// waited for it get its error, and since the kernel may have dropped the data and forgotten the failure, every later
/// flush or durable write fails with [`IoError::Write`](scsi_block::io::IoError::Write) until the store is opened anew.
///
/// While it is open the file is locked with `flock`, exclusively if it may be written to, so that no second store
/// opens it, but for one that takes its place;
/// a block device that may be written to must not be mounted. When the store and all its queues are dropped,
/// what was submitted is finished, the worker threads end and the lock is released, before the last `drop` returns.
pub struct FileStore {
    disk: Arc<Disk>,
    workers: Workers<Job>,
    lock: Option<FileLock>,
}

impl FileStore {
    /// Opens the file or block device at `path`, which is created if [`FileOptions::size_bytes`] is given.
    pub fn open(path: impl AsRef<Path>, options: &FileOptions) -> Result<Self, OpenError> {
        Self::open_in_place_of(&mut Vec::new(), path, options)
    }

    /// The same in the place of a store that is about to go: if the file is that of one of these locks, this store takes part in it, and the
    /// lock is taken out.
    pub fn open_in_place_of(
        before: &mut Vec<FileLock>,
        path: impl AsRef<Path>,
        options: &FileOptions,
    ) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let (file, lock, geometry) = open::open(path, options, before)?;
        let store = Self::new(Box::new(file), geometry, options);
        let store = store.map_err(|error| OpenError::system(path, "start a worker thread", error))?;
        Ok(Self { lock: Some(lock), ..store })
    }

    fn new(medium: Box<dyn Medium>, geometry: Geometry, options: &FileOptions) -> std::io::Result<Self> {
        let disk = Arc::new(Disk::new(medium, geometry, options));
        let (shared, group) = (disk.clone(), SyncGroup::default());
        let workers = Workers::start(options.workers, move |job: Job| job.run(&shared, &group))?;
        Ok(Self { disk, workers, lock: None })
    }
}

impl BlockStore for FileStore {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    /// What the file has, and what the file system has left for everybody; nothing of a block device.
    fn space(&self) -> Option<Space> {
        let (used_bytes, available) = self.disk.space()?;
        Some(Space { used_bytes, available_bytes: Some(available), is_shared: true })
    }

    fn lock(&self) -> Option<FileLock> {
        self.lock.clone()
    }

    fn grow(&self, blocks: u64) -> std::io::Result<()> {
        self.disk.grow(blocks)
    }

    fn open_queue(self: Arc<Self>, waker: Waker) -> Box<dyn StoreQueue> {
        Box::new(FileQueue::new(self, waker))
    }
}

impl std::fmt::Debug for FileStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileStore").field("geometry", &self.geometry()).finish_non_exhaustive()
    }
}
