//! Where blocks live: memory, file or block device, null.

#![forbid(unsafe_code)]

use scsi_block::io::{BlockIo, Geometry, IoDone};
use std::sync::Arc;
use std::task::Waker;

/// Names one request on one [`StoreQueue`]; chosen by the caller, returned with the end of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IoId(pub u64);

/// A medium that several cores share.
pub trait BlockStore: Send + Sync + std::fmt::Debug {
    /// The size of the medium.
    fn geometry(&self) -> Geometry;

    /// Opens a queue of its own for one core. `waker` is woken when a request that did not end inside `submit` has
    /// ended, so that the core polls.
    fn open_queue(self: Arc<Self>, waker: Waker) -> Box<dyn StoreQueue>;
}

/// One core's way to a store: requests go in, their ends come out, in any order.
pub trait StoreQueue: Send {
    /// Takes a request. It may end at once; its end is fetched by `poll` all the same.
    fn submit(&mut self, id: IoId, io: BlockIo);

    /// The end of one request, if there is one. Never blocks.
    fn poll(&mut self) -> Option<(IoId, IoDone)>;
}
