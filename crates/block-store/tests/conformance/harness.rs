//! Driving a queue from a test.

use block_store::{BlockStore, IoId, StoreQueue};
use scsi_block::io::{BlockIo, IoDone};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// A queue, and the thread that waits for it.
pub(crate) struct Driver {
    queue: Box<dyn StoreQueue>,
    woken: Arc<Unpark>,
}

struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Driver {
    /// For use by the thread that calls this.
    pub(crate) fn new(store: &Arc<dyn BlockStore>) -> Self {
        let woken = Arc::new(Unpark { thread: thread::current(), woken: AtomicBool::new(false) });
        let queue = store.clone().open_queue(Waker::from(woken.clone()));
        Self { queue, woken }
    }

    /// Runs one request to its end.
    pub(crate) fn run(&mut self, io: BlockIo) -> IoDone {
        self.run_all(vec![io]).remove(0)
    }

    /// Runs requests at the same time: their ends, in the order given.
    pub(crate) fn run_all(&mut self, requests: Vec<BlockIo>) -> Vec<IoDone> {
        let mut ends: Vec<Option<IoDone>> = vec![None; requests.len()];
        for (id, io) in requests.into_iter().enumerate() {
            self.queue.submit(IoId(id as u64), io);
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            while let Some((IoId(id), done)) = self.queue.poll() {
                let earlier = ends[id as usize].replace(done);
                assert_eq!(earlier, None, "request {id} ended twice");
            }
            if ends.iter().all(Option::is_some) {
                return ends.into_iter().flatten().collect();
            }
            while !self.woken.woken.swap(false, Ordering::Acquire) {
                assert!(Instant::now() < deadline, "no end and no wake-up in 30 s: {ends:?}");
                thread::park_timeout(Duration::from_secs(1));
            }
        }
    }
}
