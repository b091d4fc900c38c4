//! A waker that wakes a thread which waits.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::Thread;

struct Unparker(Thread);

impl Wake for Unparker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The waiting end of a [`pair`]; belongs to the thread that made it.
pub(crate) struct Woken(());

impl Woken {
    /// Blocks until the waker was woken since the last call; may also return without that.
    pub(crate) fn wait(&self) {
        std::thread::park();
    }
}

/// A waker for the calling thread.
pub(crate) fn pair() -> (Waker, Woken) {
    (Waker::from(Arc::new(Unparker(std::thread::current()))), Woken(()))
}
