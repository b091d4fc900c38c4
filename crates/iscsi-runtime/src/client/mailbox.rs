//! Between the callers of a client and its session's thread.

use super::session::{Driver, Node, logout_due};
use super::{ClientError, Handle, session};
use futures_channel::oneshot;
use iscsi_node::initiator::{Completion, Event, Outcome, Request};
use iscsi_pdu::TaskManagementFunction;
use iscsi_session::SendTargetsScope;
use parking_lot::Mutex;
use scsi_block::LogicalUnitNumber;
use slab::Slab;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// What a caller asks for.
pub(super) enum Ask {
    Command(Request),
    Ping(bytes::Bytes),
    Targets(SendTargetsScope),
    Manage(TaskManagementFunction, LogicalUnitNumber),
    Logout,
}

pub(super) type Reply = oneshot::Sender<Result<Outcome, ClientError>>;
type Answer = oneshot::Receiver<Result<Outcome, ClientError>>;

#[derive(Default)]
struct Queue {
    asks: VecDeque<(Ask, Reply)>,
    /// The session has ended: why, if not by a logout.
    ended: Option<Option<ClientError>>,
}

/// The callers' end.
pub(super) struct Mailbox {
    queue: Mutex<Queue>,
    waker: mio::Waker,
}

impl Mailbox {
    pub(super) fn new(waker: mio::Waker) -> Arc<Self> {
        Arc::new(Self { queue: Mutex::default(), waker })
    }

    /// Hands a request to the session's thread, at once; what it gives back waits for the answer.
    pub(super) fn ask(&self, ask: Ask) -> impl Future<Output = Result<Outcome, ClientError>> + Send + use<> {
        let answer = self.hand_over(ask);
        async move { answer?.await.map_err(|_| ClientError::Ended)? }
    }

    fn hand_over(&self, ask: Ask) -> Result<Answer, ClientError> {
        let (reply, answer) = oneshot::channel();
        let mut queue = self.queue.lock();
        if let Some(reason) = &queue.ended {
            return Err(reason.clone().unwrap_or(ClientError::Ended));
        }
        queue.asks.push_back((ask, reply));
        if queue.asks.len() == 1 {
            self.waker.wake()?;
        }
        Ok(answer)
    }

    /// Asks without waiting for the answer.
    pub(super) fn tell(&self, ask: Ask) {
        let (reply, _) = oneshot::channel();
        self.queue.lock().asks.push_back((ask, reply));
        if let Err(error) = self.waker.wake() {
            tracing::warn!(%error, "cannot wake a session");
        }
    }

    /// The session has ended; what was asked and not begun had no effect.
    pub(super) fn close(&self, reason: Option<ClientError>) {
        let mut queue = self.queue.lock();
        for (_, reply) in queue.asks.drain(..) {
            drop(reply.send(Err(reason.clone().unwrap_or(ClientError::Ended))));
        }
        queue.ended = Some(reason);
    }
}

/// Token of a request whose end nobody waits for.
const NOBODY: u64 = u64::MAX;

/// The session's end.
pub(super) struct MailboxDriver {
    mailbox: Arc<Mailbox>,
    /// Says once that the session has begun.
    begun: Option<oneshot::Sender<Result<Handle, ClientError>>>,
    waiting: VecDeque<(Request, Reply)>,
    open: Slab<Reply>,
    leave: Leave,
    /// When the session is left even if something is open.
    logout_due: Option<Instant>,
}

/// Whether the session is to end.
enum Leave {
    No,
    /// Once nothing is open; with whoever is to be told, if anybody is.
    WhenIdle(Option<Reply>),
    /// A logout was asked for.
    Now,
}

impl MailboxDriver {
    pub(super) fn new(mailbox: Arc<Mailbox>, begun: oneshot::Sender<Result<Handle, ClientError>>) -> Self {
        let (waiting, open) = (VecDeque::new(), Slab::new());
        Self { mailbox, begun: Some(begun), waiting, open, leave: Leave::No, logout_due: None }
    }

    /// Runs the session; says to every caller why it ended.
    pub(super) fn run(mut self, config: &super::ClientConfig, mut poll: mio::Poll) {
        let end = session::run(config, &mut poll, &mut self).err();
        if let (Some(begun), Some(error)) = (self.begun.take(), &end) {
            drop(begun.send(Err(error.clone())));
        }
        self.refuse_waiting();
        for reply in self.open.drain() {
            drop(reply.send(Err(failure(&Outcome::Lost))));
        }
        self.mailbox.close(end);
    }

    fn take(&mut self, now: Instant, node: &mut Node, ask: Ask, reply: Reply) {
        if !matches!(self.leave, Leave::No) {
            drop(reply.send(Err(ClientError::Ended)));
            return;
        }
        match ask {
            Ask::Command(request) => self.waiting.push_back((request, reply)),
            Ask::Ping(data) => node.ping(now, self.open.insert(reply) as u64, data),
            Ask::Targets(scope) => node.send_targets(now, self.open.insert(reply) as u64, scope),
            Ask::Manage(function, lun) => node.manage(now, self.open.insert(reply) as u64, function, lun),
            Ask::Logout => self.leave = Leave::WhenIdle(Some(reply)),
        }
    }

    /// What was not sent had no effect.
    fn refuse_waiting(&mut self) {
        for (_, reply) in self.waiting.drain(..) {
            drop(reply.send(Err(ClientError::Ended)));
        }
    }

    // RFC 7143 11.9.1-3: of the session.
    /// Logs out if that is wanted, and nothing is open that it would cut off or the target waits no longer.
    fn leave(&mut self, now: Instant, node: &mut Node) {
        let is_idle = self.waiting.is_empty() && self.open.is_empty();
        let is_due = self.logout_due.is_some_and(|due| due <= now);
        if let Leave::WhenIdle(reply) = &mut self.leave
            && (is_idle || is_due)
        {
            let token = reply.take().map_or(NOBODY, |reply| self.open.insert(reply) as u64);
            // RFC 7143 4.2.6-1: the connection is closed after the logout.
            self.leave = Leave::Now;
            node.logout(now, token);
        }
    }

    fn submit_commands(&mut self, now: Instant, node: &mut Node) {
        while let Some((request, reply)) = self.waiting.pop_front() {
            let entry = self.open.vacant_entry();
            match node.submit(now, entry.key() as u64, request) {
                Ok(()) => drop(entry.insert(reply)),
                Err(request) => return self.waiting.push_front((request, reply)),
            }
        }
    }
}

impl Driver for MailboxDriver {
    fn begin(&mut self, node: &Node) {
        if let (Some(begun), Some(parameters)) = (self.begun.take(), node.parameters()) {
            let mailbox = Arc::clone(&self.mailbox);
            drop(begun.send(Ok(Handle { mailbox, parameters: parameters.clone() })));
        }
    }

    fn submit(&mut self, now: Instant, node: &mut Node) {
        if node.parameters().is_none() {
            return;
        }
        let asks = std::mem::take(&mut self.mailbox.queue.lock().asks);
        for (ask, reply) in asks {
            self.take(now, node, ask, reply);
        }
        self.submit_commands(now, node);
        self.leave(now, node);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.logout_due.filter(|_| matches!(self.leave, Leave::WhenIdle(_)))
    }

    fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Complete { token, outcome } => {
                if let Some(reply) = self.open.try_remove(token as usize) {
                    drop(reply.send(Ok(outcome)));
                }
            }
            // RFC 7143 11.9.1-4: the target takes no new command; those under way may end before the logout.
            Event::LogoutRequested { grace } => {
                self.refuse_waiting();
                self.logout_due = logout_due(now, grace);
                if matches!(self.leave, Leave::No) {
                    self.leave = Leave::WhenIdle(None);
                }
            }
            _ => {}
        }
    }
}

/// The end of a SCSI command.
pub(super) fn completion(outcome: Outcome) -> Result<Completion, ClientError> {
    match outcome {
        Outcome::Command(completion) => Ok(completion),
        other => Err(failure(&other)),
    }
}

/// What an outcome that is not the one hoped for means.
pub(super) fn failure(outcome: &Outcome) -> ClientError {
    match outcome {
        Outcome::TargetFailure => ClientError::TargetFailure,
        Outcome::Aborted => ClientError::Aborted,
        Outcome::Rejected(reason) => ClientError::Rejected(*reason),
        Outcome::TaskManagement(response) => ClientError::TaskManagement(*response),
        _ => ClientError::Lost("the session has ended".into()),
    }
}
