//! Load on a session from its own thread, without a channel between the load and the wire.

use super::session::{Driver, Link};
use super::{ClientConfig, ClientError, sessions};
use iscsi_node::initiator::{Outcome, Request};
use iscsi_session::Parameters;
use mio::{Poll, Waker};
use std::sync::Arc;
use std::time::Instant;

/// What a workload wants next.
#[derive(Debug)]
pub enum Next {
    /// This command.
    Request {
        /// The workload's name for it.
        token: u64,
        /// The command.
        request: Request,
    },
    /// Nothing until a command has ended.
    Idle,
    /// Nothing any more; the session ends once all commands have.
    Finished,
}

/// A source of commands that runs on a session's thread.
pub trait Workload {
    /// What to do next. Asked again and again as long as it gives commands and the target's window has room.
    fn next(&mut self, now: Instant) -> Next;

    /// A command has ended.
    fn complete(&mut self, now: Instant, token: u64, outcome: Outcome);
}

/// Logs in and runs a workload on the calling thread until it has finished.
///
/// # Errors
/// Why there was no session, or why it ended too early.
pub fn run_workload<W: Workload>(config: &ClientConfig, workload: W) -> Result<W, ClientError> {
    let mut driver = WorkloadDriver { workload, waiting: None, finished: false };
    let mut poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), sessions::WAKER)?);
    sessions::run(config, &mut poll, &waker, &mut driver)?;
    Ok(driver.workload)
}

struct WorkloadDriver<W> {
    workload: W,
    /// What there was no room for.
    waiting: Option<(u64, Request)>,
    finished: bool,
}

impl<W: Workload> Driver for WorkloadDriver<W> {
    fn begin(&mut self, _: &Parameters) {}

    fn submit(&mut self, link: &mut Link<'_>) {
        while !self.finished {
            let (token, request) = match self.waiting.take() {
                Some(waiting) => waiting,
                None => match self.workload.next(link.now) {
                    Next::Request { token, request } => (token, request),
                    Next::Idle => break,
                    Next::Finished => {
                        self.finished = true;
                        break;
                    }
                },
            };
            if let Err(request) = link.submit(token, request) {
                self.waiting = Some((token, request));
                break;
            }
        }
    }

    fn handle_end(&mut self, now: Instant, token: u64, outcome: Outcome) {
        self.workload.complete(now, token, outcome);
    }

    fn is_leaving(&mut self) -> bool {
        self.finished
    }
}
