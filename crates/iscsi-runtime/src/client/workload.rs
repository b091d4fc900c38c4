//! Load on a session from its own thread, without a channel between the load and the wire.

use super::seat::Table;
use super::session::{Driver, Link};
use super::{ClientConfig, ClientError, sessions};
use crate::network::{AdapterFunction, Endpoint, LoopbackFunction, Network};
use iscsi_node::initiator::{Outcome, Request};
use iscsi_session::Parameters;
use std::cell::RefCell;
use std::fmt;
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
    SessionLoop::kernel()?.run(config, vec![workload]).pop().expect("there is one workload")
}

/// Runs sessions on the calling thread, several at a time, on one network.
pub struct SessionLoop {
    endpoint: RefCell<Endpoint>,
}

impl SessionLoop {
    /// On the kernel's TCP.
    ///
    /// # Errors
    /// The system refuses.
    pub fn kernel() -> Result<Self, ClientError> {
        Ok(Self { endpoint: RefCell::new(Network::kernel()?.open()?) })
    }

    /// On a function of an adapter.
    ///
    /// # Errors
    /// The system refuses.
    pub fn adapter(function: AdapterFunction) -> Result<Self, ClientError> {
        Ok(Self { endpoint: RefCell::new(Network::adapter(function)?.open()?) })
    }

    /// On a network within this process.
    ///
    /// # Errors
    /// The system refuses.
    pub fn loopback(function: LoopbackFunction) -> Result<Self, ClientError> {
        Ok(Self { endpoint: RefCell::new(Network::loopback(function)?.open()?) })
    }

    /// Logs in once for each workload, and runs it in that session. Gives each back when all have finished, or why its session did not
    /// come about or ended too early.
    pub fn run<W: Workload>(&mut self, config: &ClientConfig, workloads: Vec<W>) -> Vec<Result<W, ClientError>> {
        let table = Table::new(&self.endpoint, workloads.len());
        let run = |(index, workload)| {
            let seat = table.seat(index);
            async move {
                let mut driver = WorkloadDriver { workload, waiting: None, finished: false };
                sessions::run(config, seat, &mut driver).await?;
                Ok(driver.workload)
            }
        };
        table.run(workloads.into_iter().enumerate().map(run).collect())
    }
}

impl fmt::Debug for SessionLoop {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SessionLoop").finish_non_exhaustive()
    }
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
