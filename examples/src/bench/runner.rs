//! Where the sessions of a load run: on threads, or on one loop.

use iscsi_runtime::{ClientConfig, ClientError, FirmwareLoop, SessionLoop};

use super::Job;
use crate::failure::Failure;
use crate::process::{ThreadUsage, pin_thread};

/// Where the jobs' sessions run.
#[derive(Debug)]
pub enum Runner {
    /// On threads that share them, over the kernel's TCP.
    Threads {
        /// How many.
        threads: usize,
        /// The processors that they may run on; any if there are none.
        processors: Vec<usize>,
    },
    /// On the calling thread, over whatever the loop is for.
    Loop(Box<SessionLoop>),
    /// In an adapter's firmware, with the jobs on the calling thread.
    Firmware(Box<FirmwareLoop>),
}

impl Runner {
    /// On so many threads, wherever the system lets them run.
    #[must_use]
    pub fn threads(threads: usize) -> Self {
        Self::Threads { threads, processors: Vec::new() }
    }

    /// Runs each job on a session of its own, and says what their threads have used. All are waited for before the first failure is told.
    pub(super) fn run(&mut self, client: &ClientConfig, jobs: Vec<Job>) -> Result<(Vec<Job>, ThreadUsage), Failure> {
        let turns = match self {
            Self::Loop(sessions) => vec![Turn::of(|| sessions.run(client, jobs))],
            Self::Firmware(sessions) => vec![Turn::of(|| sessions.run(client, jobs))],
            Self::Threads { threads, processors } => run_on_threads(client, *threads, processors, jobs),
        };
        let usage = turns.iter().fold(ThreadUsage::default(), |sum, turn| sum + turn.usage);
        Ok((turns.into_iter().flat_map(|turn| turn.ends).collect::<Result<_, _>>()?, usage))
    }
}

fn run_on_threads(client: &ClientConfig, threads: usize, processors: &[usize], mut jobs: Vec<Job>) -> Vec<Turn> {
    let begin = || {
        pin_thread(processors).map_err(|error| Failure::local(format!("processors {processors:?}: {error}")))?;
        SessionLoop::kernel().map_err(Failure::from)
    };
    let run = |jobs| match begin() {
        Ok(mut sessions) => Turn::of(|| sessions.run(client, jobs)),
        Err(failure) => Turn::failed(failure),
    };
    std::thread::scope(|scope| {
        let mut handles = Vec::new();
        for left in (1..=threads.min(jobs.len())).rev() {
            let share = jobs.drain(..jobs.len().div_ceil(left)).collect();
            handles.push(scope.spawn(move || run(share)));
        }
        let panicked = |_| Turn::failed(Failure::local("a job's thread has panicked"));
        handles.into_iter().map(|handle| handle.join().unwrap_or_else(panicked)).collect()
    })
}

/// What jobs on one thread have come to.
struct Turn {
    ends: Vec<Result<Job, Failure>>,
    usage: ThreadUsage,
}

impl Turn {
    /// Runs sessions on this thread.
    fn of(run: impl FnOnce() -> Vec<Result<Job, ClientError>>) -> Self {
        let before = ThreadUsage::now();
        let ends = run().into_iter().map(|end| end.map_err(Failure::from).and_then(Job::into_result)).collect();
        Self { ends, usage: ThreadUsage::now() - before }
    }

    fn failed(failure: Failure) -> Self {
        Self { ends: vec![Err(failure)], usage: ThreadUsage::default() }
    }
}
