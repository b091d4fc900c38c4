//! The lock of a file, which a store hands on to the one that takes its place.
//!
//! `flock` is of an open file description: a second one of the same process is refused too. So the store that comes second takes part in the lock
//! of the first, and keeps its description open.

use super::open::OpenError;
use parking_lot::Mutex;
use rustix::fd::OwnedFd;
use rustix::fs::{self, FileType, FlockOperation, Stat};
use rustix::io::Errno;
use std::path::Path;
use std::sync::Arc;

/// The lock that a store has on its file. Whoever has this may open a store in its place; it holds nothing by itself.
#[derive(Clone, Debug)]
pub struct FileLock(Arc<Lock>);

#[derive(Debug)]
struct Lock {
    file: Arc<OwnedFd>,
    holders: Mutex<Holders>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Holders {
    readers: usize,
    writers: usize,
}

impl Holders {
    fn of(&mut self, read_only: bool) -> &mut usize {
        if read_only { &mut self.readers } else { &mut self.writers }
    }

    fn operation(self) -> FlockOperation {
        match self {
            Self { readers: 0, writers: 0 } => FlockOperation::Unlock,
            Self { writers: 0, .. } => FlockOperation::NonBlockingLockShared,
            _ => FlockOperation::NonBlockingLockExclusive,
        }
    }
}

/// One store's part in a lock, which is shared with other processes as long as no part writes.
#[derive(Debug)]
pub(super) struct Hold {
    lock: FileLock,
    read_only: bool,
}

impl FileLock {
    /// Of a file that is not locked yet.
    pub(super) fn new(file: Arc<OwnedFd>) -> Self {
        Self(Arc::new(Lock { file, holders: Mutex::default() }))
    }

    /// Takes part in it.
    ///
    /// # Errors
    /// Others have the file; who had a part keeps it.
    pub(super) fn hold(&self, path: &Path, read_only: bool) -> Result<Hold, OpenError> {
        let mut holders = self.0.holders.lock();
        let before = *holders;
        *holders.of(read_only) += 1;
        let taken = if holders.operation() == before.operation() { Ok(()) } else { self.flock(*holders) };
        let Err(error) = taken else { return Ok(Hold { lock: self.clone(), read_only }) };
        *holders = before;
        if before != Holders::default() {
            // What fails to become exclusive is not shared either any more.
            self.flock(before).map_err(|error| OpenError::system(path, "lock it again", error))?;
        }
        Err(match error {
            Errno::WOULDBLOCK => OpenError::InUse(path.into()),
            error => OpenError::system(path, "lock it", error),
        })
    }

    fn flock(&self, holders: Holders) -> Result<(), Errno> {
        fs::flock(&self.0.file, holders.operation())
    }

    /// Whether it is of that file or device.
    pub(super) fn is_of(&self, other: &Stat) -> bool {
        let key = |stat: &Stat| match FileType::from_raw_mode(stat.st_mode) {
            FileType::BlockDevice => (None, stat.st_rdev),
            _ => (Some(stat.st_dev), stat.st_ino),
        };
        fs::fstat(&self.0.file).is_ok_and(|own| key(&own) == key(other))
    }

    /// Whether a part of it writes.
    pub(super) fn is_exclusive(&self) -> bool {
        self.0.holders.lock().writers > 0
    }

    /// Whether a store has it and another has its place: two have a part in it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        let Holders { readers, writers } = *self.0.holders.lock();
        readers + writers > 1
    }
}

impl Drop for Hold {
    /// Closing is not enough: a child of this process may hold the file for a moment, between its fork and its exec.
    fn drop(&mut self) {
        let mut holders = self.lock.0.holders.lock();
        let before = holders.operation();
        *holders.of(self.read_only) -= 1;
        if holders.operation() != before {
            // Nothing is left to be done about a failure: less is held than before.
            self.lock.flock(*holders).unwrap_or_default();
        }
    }
}
