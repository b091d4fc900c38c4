//! Between the callers of a client and its session's thread.

use super::seat::{Seat, Table};
use super::session::{Driver, Link};
use super::{ClientConfig, ClientError, Handle, sessions};
use crate::network::Network;
use futures_channel::oneshot;
use iscsi_node::initiator::{Completion, Outcome, Request};
use iscsi_pdu::{LogoutResponseCode, TaskManagementFunction};
use iscsi_session::{Parameters, SendTargetsScope};
use parking_lot::Mutex;
use scsi_block::LogicalUnitNumber;
use slab::Slab;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

/// What a caller calls a command that it may speak of later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CommandName(pub(super) u64);

/// What a caller asks for.
pub(super) enum Ask {
    Command(Request, Option<CommandName>),
    Ping(bytes::Bytes),
    Targets(SendTargetsScope),
    Manage(TaskManagementFunction, LogicalUnitNumber),
    ManageCommand(TaskManagementFunction, CommandName),
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
    waker: Arc<mio::Waker>,
}

impl Mailbox {
    pub(super) fn new(waker: Arc<mio::Waker>) -> Arc<Self> {
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

/// Who waits for a request, and its name if it is a command that has one.
struct Open {
    name: Option<CommandName>,
    reply: Reply,
}

/// The session's end.
pub(super) struct MailboxDriver {
    mailbox: Arc<Mailbox>,
    /// Says once that the session has begun.
    begun: Option<oneshot::Sender<Result<Handle, ClientError>>>,
    /// Commands that wait for room.
    commands: VecDeque<(Request, Open)>,
    /// Other requests, which wait for a session at most.
    others: VecDeque<(Ask, Reply)>,
    open: Slab<Open>,
    /// Who asked for the logout.
    leave: Option<Reply>,
}

/// Runs the sessions of several clients on one network, until the last has ended.
pub(super) fn run(clients: Vec<(ClientConfig, MailboxDriver)>, network: Network) {
    let endpoint = match network.open() {
        Ok(endpoint) => RefCell::new(endpoint),
        Err(error) => {
            let error = ClientError::from(error);
            return clients.into_iter().for_each(|(_, driver)| driver.finish(Err(error.clone())));
        }
    };
    let table = Table::new(&endpoint, clients.len());
    let clients = clients.into_iter().enumerate();
    table.run(clients.map(|(index, (config, driver))| driver.run(config, table.seat(index))).collect());
}

impl MailboxDriver {
    pub(super) fn new(mailbox: Arc<Mailbox>, begun: oneshot::Sender<Result<Handle, ClientError>>) -> Self {
        let (commands, others) = (VecDeque::new(), VecDeque::new());
        Self { mailbox, begun: Some(begun), commands, others, open: Slab::new(), leave: None }
    }

    /// Runs sessions, one after the other, until the last has ended; says to every caller why it ended.
    async fn run(mut self, config: ClientConfig, seat: Seat<'_>) {
        let end = sessions::run(&config, seat, &mut self).await;
        self.finish(end);
    }

    fn finish(mut self, end: Result<(), ClientError>) {
        if let (Some(begun), Err(error)) = (self.begun.take(), &end) {
            drop(begun.send(Err(error.clone())));
        }
        // What was not sent had no effect.
        let unsent =
            self.commands.drain(..).map(|(_, open)| open.reply).chain(self.others.drain(..).map(|(_, reply)| reply));
        unsent.for_each(|reply| drop(reply.send(Err(ClientError::Ended))));
        if let Some(reply) = self.leave.take() {
            drop(reply.send(end.clone().map(|()| Outcome::Logout(LogoutResponseCode::Closed))));
        }
        self.mailbox.close(end.err());
    }

    /// Empties the mailbox.
    fn collect(&mut self) {
        let asks = std::mem::take(&mut self.mailbox.queue.lock().asks);
        for (ask, reply) in asks {
            match ask {
                _ if self.leave.is_some() => drop(reply.send(Err(ClientError::Ended))),
                Ask::Command(request, name) => self.commands.push_back((request, Open { name, reply })),
                Ask::Logout => self.leave = Some(reply),
                other => self.others.push_back((other, reply)),
            }
        }
    }

    fn submit_commands(&mut self, link: &mut Link<'_>) {
        while let Some((request, open)) = self.commands.pop_front() {
            let entry = self.open.vacant_entry();
            match link.submit(entry.key() as u64, request) {
                Ok(()) => drop(entry.insert(open)),
                Err(request) => return self.commands.push_front((request, open)),
            }
        }
    }
}

impl Driver for MailboxDriver {
    fn begin(&mut self, parameters: &Parameters) {
        if let Some(begun) = self.begun.take() {
            let mailbox = Arc::clone(&self.mailbox);
            drop(begun.send(Ok(Handle { mailbox, parameters: parameters.clone(), named: AtomicU64::new(0) })));
        }
    }

    fn submit(&mut self, link: &mut Link<'_>) {
        self.collect();
        self.submit_commands(link);
        for (ask, reply) in self.others.drain(..) {
            let named = |name| self.open.iter().find(|(_, open)| open.name == Some(name)).map(|(key, _)| key as u64);
            let command = if let Ask::ManageCommand(_, name) = ask { named(name) } else { None };
            let token = self.open.insert(Open { name: None, reply }) as u64;
            match ask {
                Ask::Ping(data) => link.ping(token, data),
                Ask::Targets(scope) => link.send_targets(token, scope),
                Ask::Manage(function, lun) => link.manage(token, function, lun),
                Ask::ManageCommand(function, _) => link.manage_command(token, function, command),
                Ask::Command(..) | Ask::Logout => unreachable!("they were put elsewhere"),
            }
        }
    }

    fn handle_end(&mut self, _: Instant, token: u64, outcome: Outcome) {
        if let Some(open) = self.open.try_remove(token as usize) {
            drop(open.reply.send(Ok(outcome)));
        }
    }

    fn is_leaving(&mut self) -> bool {
        self.collect();
        self.leave.is_some() && self.commands.is_empty() && self.others.is_empty()
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
        Outcome::TimedOut => ClientError::TimedOut,
        Outcome::Rejected(reason) => ClientError::Rejected(*reason),
        Outcome::TaskManagement(response) => ClientError::TaskManagement(*response),
        _ => ClientError::Lost("the session has ended".into()),
    }
}
