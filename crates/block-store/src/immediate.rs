//! A queue of a store whose requests end inside `submit`.

use crate::{IoId, StoreQueue};
use scsi_block::io::{BlockIo, IoDone};
use std::collections::VecDeque;

/// Executes each request as it is submitted; there is nothing to wake anybody for.
pub(crate) struct ImmediateQueue<F> {
    execute: F,
    done: VecDeque<(IoId, IoDone)>,
}

impl<F> ImmediateQueue<F> {
    pub(crate) fn new(execute: F) -> Self {
        Self { execute, done: VecDeque::new() }
    }
}

impl<F: FnMut(BlockIo) -> IoDone + Send> StoreQueue for ImmediateQueue<F> {
    fn submit(&mut self, id: IoId, io: BlockIo) {
        let done = (self.execute)(io);
        self.done.push_back((id, done));
    }

    fn poll(&mut self) -> Option<(IoId, IoDone)> {
        self.done.pop_front()
    }
}
