//! Where blocks live: memory, file or block device, null.
//!
//! ```text
//!   core 0   StoreQueue --submit--> +------------+
//!                       <--poll---- |            |     memory  chunks of 64 KiB under striped locks
//!   core 1   StoreQueue --submit--> | BlockStore | --> file    pread, pwritev, fallocate, fdatasync
//!                       <--poll---- |            |     null    nothing
//!            Waker <----- wake ---- +------------+     keeping another store, and records in a folder
//!                                                       fault   another store, and trouble on a plan
//! ```
//!
//! In: [`BlockIo`] values, each under an [`IoId`] of the caller's choice. Out: one [`IoDone`] for each, in any order.
//! [`StoreSpec`] turns text such as `file:/var/lib/disk.img,size=10G` into an open store.
//!
//! What every store here guarantees:
//!
//! - A request that was taken ends exactly once, with success or an [`IoError`](scsi_block::io::IoError).
//! - `submit` and `poll` never wait for a medium.
//! - What was never written, or was unmapped, reads as zeros.
//! - COMPARE AND WRITE is atomic against every overlapping request of any queue (an `Unmap` counts one extent at a
//!   time). In memory all requests are.
//! - A durable write, and a flush of every write whose end was polled before, would survive a power cut once their
//!   ends are polled. (Memory is as durable as memory gets.)
//! - A record that [`KeepingStore`] has, such as a unit's persistent reservations, is after a power cut as it was or as it was to be.
//! - A medium may [grow](BlockStore::grow) while it is used, and never becomes smaller.
//!
//! What they ask of the caller: ranges lie inside the medium and data lengths are exact, as [`BlockIo`] says; a
//! breach is a bug of the caller's and panics. A read is answered in one buffer, so its length is to be bounded.
//!
//! ```
//! use block_store::{BlockStore, IoId, MemoryStore};
//! use scsi_block::io::{BlockIo, Extent, Geometry, IoOutput};
//! use std::{sync::Arc, task::Waker};
//!
//! // A disk of 1 PiB: it costs no more than one of 1 GiB.
//! let store = Arc::new(MemoryStore::new(Geometry { block_size: 512, blocks: 1 << 41 }));
//! let mut queue = store.open_queue(Waker::noop().clone());
//!
//! let data = [vec![7; 512].into()].into_iter().collect();
//! queue.submit(IoId(1), BlockIo::Write { lba: 1 << 40, data, durable: false });
//! queue.submit(IoId(2), BlockIo::Read(Extent { lba: 1 << 40, blocks: 2 }));
//! assert_eq!(queue.poll(), Some((IoId(1), Ok(IoOutput::Done))));
//! let Some((IoId(2), Ok(IoOutput::Data(read)))) = queue.poll() else { panic!() };
//! assert_eq!(read[..512], [7; 512]);
//! assert_eq!(read[512..], [0; 512]);
//! ```

#![forbid(unsafe_code)]

mod fault;
mod file;
mod immediate;
mod keeping;
mod memory;
mod null;
mod range;
mod records;
mod segments;
mod spec;
mod striped;
mod workers;
mod zeros;

pub use fault::{Effect, Fault, FaultStore, Operation};
pub use file::{FileLock, FileOptions, FileStore, OpenError};
pub use keeping::KeepingStore;
pub use memory::MemoryStore;
pub use null::NullStore;
pub use records::{Records, RecordsError, UnitRecords};
pub use spec::{SpecError, StoreKind, StoreSpec};

use scsi_block::io::{BlockIo, Geometry, IoDone, Space};
use std::io;
use std::sync::Arc;
use std::task::Waker;

/// Names one request on one [`StoreQueue`]; chosen by the caller, returned with the end of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IoId(pub u64);

/// A medium that several cores share.
pub trait BlockStore: Send + Sync + std::fmt::Debug {
    /// The size of the medium.
    fn geometry(&self) -> Geometry;

    /// Bytes of a write that nobody ever finds done in part, neither another request nor whoever opens the store after a power cut or the
    /// end of the process: the most that one WRITE ATOMIC may have. 0, as files promise it of no write at all, unless a store says more.
    fn atomic_bytes_max(&self) -> u32 {
        0
    }

    /// How much space blocks have taken and can take, if that is known. It may ask the system, and wait for it: never to be asked by a loop
    /// that serves.
    fn space(&self) -> Option<Space> {
        None
    }

    /// The lock on its file, if it is on one: what opens another store in its place.
    fn lock(&self) -> Option<FileLock> {
        None
    }

    /// Makes the medium larger: `blocks` in all, of which the new ones read as zeros, but for what a file has had there all along. It never
    /// becomes smaller.
    ///
    /// # Errors
    /// It cannot grow, not so far, or not at all; then it is as before.
    fn grow(&self, _blocks: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Opens a queue of its own for one core. `waker` is woken when a request that did not end inside `submit` has
    /// ended, so that the core polls.
    fn open_queue(self: Arc<Self>, waker: Waker) -> Box<dyn StoreQueue>;
}

/// One core's way to a store: requests go in, their ends come out, in any order.
///
/// After one or more `submit`, call `poll` until it gives `None`: some requests have ended by then, and what `submit`
/// collected is handed over in one batch. After that, poll when woken.
pub trait StoreQueue: Send {
    /// Takes a request. It may end at once; its end is fetched by `poll` all the same.
    fn submit(&mut self, id: IoId, io: BlockIo);

    /// The end of one request, if there is one. Never blocks.
    fn poll(&mut self) -> Option<(IoId, IoDone)>;
}
