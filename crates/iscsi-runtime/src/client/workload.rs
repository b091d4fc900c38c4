//! Load on a session from its own thread, without a channel between the load and the wire.

use super::session::{self, Driver, Node, logout_due};
use super::{ClientConfig, ClientError};
use iscsi_node::initiator::{Event, Outcome, Request};
use mio::Poll;
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
    let mut driver =
        WorkloadDriver { workload, open: 0, waiting: None, finished: false, logout_due: None, leaving: false };
    match session::run(config, &mut Poll::new()?, &mut driver) {
        // Nothing was open any more; istgt at times closes the connection instead of answering a logout.
        Ok(()) | Err(ClientError::Lost(_)) if driver.leaving => Ok(driver.workload),
        Ok(()) => Err(ClientError::Ended),
        Err(error) => Err(error),
    }
}

const LOGOUT: u64 = u64::MAX;

struct WorkloadDriver<W> {
    workload: W,
    open: usize,
    /// What the target's window had no room for.
    waiting: Option<(u64, Request)>,
    finished: bool,
    /// When the session is left even if something is open.
    logout_due: Option<Instant>,
    leaving: bool,
}

impl<W: Workload> Driver for WorkloadDriver<W> {
    fn begin(&mut self, _: &Node) {}

    fn submit(&mut self, now: Instant, node: &mut Node) {
        if node.parameters().is_none() {
            return;
        }
        while !self.finished {
            let (token, request) = match self.waiting.take() {
                Some(waiting) => waiting,
                None => match self.workload.next(now) {
                    Next::Request { token, request } => (token, request),
                    Next::Idle => break,
                    Next::Finished => {
                        self.finished = true;
                        break;
                    }
                },
            };
            match node.submit(now, token, request) {
                Ok(()) => self.open += 1,
                Err(request) => {
                    self.waiting = Some((token, request));
                    break;
                }
            }
        }
        let is_due = self.logout_due.is_some_and(|due| due <= now);
        if self.finished && (self.open == 0 || is_due) && !self.leaving {
            self.leaving = true;
            node.logout(now, LOGOUT);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.logout_due.filter(|_| !self.leaving)
    }

    fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Complete { token: LOGOUT, .. } => {}
            Event::Complete { token, outcome } => {
                self.open -= 1;
                self.workload.complete(now, token, outcome);
            }
            Event::LogoutRequested { grace } => {
                self.finished = true;
                self.logout_due = logout_due(now, grace);
            }
            _ => {}
        }
    }
}
