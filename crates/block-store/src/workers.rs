//! Threads that may block, so that the core's loop need not.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// A few threads and the jobs that wait for them. Dropping it lets them finish all jobs, and waits for that.
pub(crate) struct Workers<J> {
    jobs: Arc<Jobs<J>>,
    threads: Vec<JoinHandle<()>>,
}

impl<J> std::fmt::Debug for Workers<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

struct Jobs<J> {
    state: Mutex<State<J>>,
    changed: Condvar,
}

struct State<J> {
    waiting: VecDeque<J>,
    closed: bool,
}

impl<J: Send + 'static> Workers<J> {
    pub(crate) fn start(count: usize, run: impl Fn(J) + Send + Sync + 'static) -> std::io::Result<Self> {
        let state = State { waiting: VecDeque::new(), closed: false };
        let jobs = Arc::new(Jobs { state: Mutex::new(state), changed: Condvar::new() });
        let run = Arc::new(run);
        let mut workers = Self { jobs, threads: Vec::new() };
        for _ in 0..count.max(1) {
            let (jobs, run) = (workers.jobs.clone(), run.clone());
            let thread = thread::Builder::new().name("block-store".into());
            let body = move || std::iter::from_fn(|| jobs.next()).for_each(&*run);
            workers.threads.push(thread.spawn(body)?);
        }
        Ok(workers)
    }

    /// Hands over a batch, under one lock.
    pub(crate) fn push_all(&self, batch: impl ExactSizeIterator<Item = J>) {
        let count = batch.len();
        if count == 0 {
            return;
        }
        self.jobs.state.lock().waiting.extend(batch);
        for _ in 0..count.min(self.threads.len()) {
            self.jobs.changed.notify_one();
        }
    }
}

impl<J> Jobs<J> {
    /// Waits for a job; `None` when there will be none.
    fn next(&self) -> Option<J> {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.waiting.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }
}

impl<J> Drop for Workers<J> {
    fn drop(&mut self) {
        self.jobs.state.lock().closed = true;
        self.jobs.changed.notify_all();
        // A waker may own the store, and a worker may drop that waker last: nobody waits for himself.
        let others = self.threads.drain(..).filter(|t| t.thread().id() != thread::current().id());
        for thread in others {
            // A worker that panicked has said so already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn all_jobs_are_done_and_all_threads_are_gone_after_the_drop() {
        let count = Arc::new(AtomicU32::new(0));
        let counter = count.clone();
        let workers = Workers::start(3, move |n| {
            counter.fetch_add(n, Ordering::Relaxed);
        });
        let workers = workers.unwrap();
        workers.push_all(vec![1; 100].into_iter());
        workers.push_all(vec![5; 10].into_iter());
        drop(workers);
        assert_eq!(count.load(Ordering::Relaxed), 150);
        assert_eq!(Arc::strong_count(&count), 1, "no thread holds what it worked with");
    }
}
