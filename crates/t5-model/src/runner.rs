//! An adapter that runs by itself, with a clock and a thread.
//!
//! Its work is done on the threads of its drivers, as they ring and look; what is due while they sleep is done by a thread of the adapter's.

use crate::adapter::Adapter;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the thread looks whether something is due: well below the shortest timer of TCP.
const TICK: Duration = Duration::from_millis(1);

/// Turns of the adapter before the thread sleeps again.
pub(crate) const TURNS_MAX: usize = 64;

/// An adapter with a clock and a thread of its own, as long as this lives.
#[derive(Debug)]
pub struct Runner {
    adapter: Arc<Adapter>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Runner {
    /// Starts an adapter. `number` makes its addresses differ from those of others, `seed` its sequence numbers.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(number: u8, seed: u64) -> io::Result<Self> {
        let begin = Instant::now();
        let adapter = Adapter::new(number, seed, Box::new(move || begin.elapsed()));
        let is_over = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("t5-model".into()).spawn({
            let (adapter, is_over) = (Arc::clone(&adapter), Arc::clone(&is_over));
            move || run(&adapter, &is_over)
        })?;
        Ok(Self { adapter, is_over, thread: Some(thread) })
    }

    /// The adapter.
    #[must_use]
    pub fn adapter(&self) -> &Arc<Adapter> {
        &self.adapter
    }
}

fn run(adapter: &Adapter, is_over: &AtomicBool) {
    let mut turns = adapter.turns();
    while !is_over.load(Ordering::Relaxed) {
        std::thread::park_timeout(TICK);
        // A driver that is awake does the work of all.
        if adapter.turns() == turns && adapter.poll_timeout().is_some_and(|due| due <= adapter.now()) {
            (0..TURNS_MAX).take_while(|_| adapter.poll()).for_each(drop);
        }
        turns = adapter.turns();
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic has been told already.
            drop(thread.join());
        }
    }
}
