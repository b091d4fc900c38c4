//! The loop of one session: connections and time around an [`InitiatorNode`].
//!
//! In: what happens at a [`Seat`], requests from a [`Driver`]. Out: PDUs, ends of requests to the driver, and how the session ended.

use super::ClientError;
use super::ports::{Ports, challenge};
use super::seat::{Happened, Seat};
use super::tasks::Tasks;
use crate::network::{Port, Readiness, Stream};
use bytes::Bytes;
use iscsi_node::initiator::{Event, InitiatorNode, Outcome, Request};
use iscsi_pdu::{Cid, TaskManagementFunction};
use iscsi_session::{CloseReason, Parameters, SendTargetsScope};
use scsi_block::LogicalUnitNumber;
use std::io;
use std::time::{Duration, Instant};

/// The node's name for the logout; no task has it.
const LOGOUT: u64 = u64::MAX;

const UNRESPONSIVE: &str = "the target neither ends a command nor aborts it";

/// Who uses a session: gives requests and takes their ends, on the session's thread.
pub(super) trait Driver {
    /// A session has begun. There may be several, one after the other.
    fn begin(&mut self, parameters: &Parameters);

    /// Gives what there is to ask, as far as the session takes it.
    fn submit(&mut self, link: &mut Link<'_>);

    /// A request has ended.
    fn handle_end(&mut self, now: Instant, token: u64, outcome: Outcome);

    /// Whether there is nothing more to ask: the session ends once all has ended that was asked.
    fn is_leaving(&mut self) -> bool;
}

/// What a driver gives its requests to.
pub(super) struct Link<'a> {
    pub(super) now: Instant,
    node: &'a mut InitiatorNode<Port>,
    tasks: &'a mut Tasks,
}

impl Link<'_> {
    /// Sends a SCSI command, whose end comes with `token`.
    ///
    /// # Errors
    /// The request, if there is no room for it now.
    pub(super) fn submit(&mut self, token: u64, request: Request) -> Result<(), Request> {
        self.tasks.submit(self.now, self.node, token, request)
    }

    pub(super) fn ping(&mut self, token: u64, data: Bytes) {
        self.node.ping(self.now, self.tasks.insert(token), data);
    }

    pub(super) fn send_targets(&mut self, token: u64, scope: SendTargetsScope) {
        self.node.send_targets(self.now, self.tasks.insert(token), scope);
    }

    pub(super) fn manage(&mut self, token: u64, function: TaskManagementFunction, lun: LogicalUnitNumber) {
        self.node.manage(self.now, self.tasks.insert(token), function, lun);
    }

    /// Asks for a function about the command that was submitted with the token `command`; none if it has ended or was not submitted yet.
    pub(super) fn manage_command(&mut self, token: u64, function: TaskManagementFunction, command: Option<u64>) {
        // No command of the node has this name.
        let command = command.and_then(|command| self.tasks.find(command)).unwrap_or(LOGOUT);
        self.node.manage_command(self.now, self.tasks.insert(token), function, command);
    }
}

/// How a connection to a target ended.
pub(super) enum End {
    /// By a logout, which one side wanted.
    LoggedOut(Life),
    /// The target is elsewhere.
    Redirected { address: String, permanent: bool },
    /// There was no session.
    Failed(ClientError),
    /// There was one, and it ended without a logout.
    Lost(ClientError, Life),
}

/// What is remembered of a session that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) since: Instant,
    /// RFC 7143 section 13.15: how long its state may keep a target busy.
    pub(super) time_2_wait: Duration,
}

/// Whether a logout was asked for.
#[derive(Clone, Copy)]
enum Leave {
    No,
    /// The target wants it; then it is due even if something is under way. A time that no clock reaches is none.
    Asked(Option<Instant>),
    /// It is under way.
    Begun,
}

pub(super) struct Session<'a, D> {
    address: &'a str,
    seat: &'a Seat<'a>,
    ports: &'a Ports,
    /// How long a further connection may take.
    timeout: Duration,
    node: InitiatorNode<Port>,
    tasks: &'a mut Tasks,
    driver: &'a mut D,
    leave: Leave,
    /// None before the login has ended.
    life: Option<Life>,
}

impl<'a, D: Driver> Session<'a, D> {
    /// A connection to `address` on which a login has begun; further ones go there too, unless the target sends them elsewhere.
    pub(super) fn new(
        address: &'a str,
        seat: &'a Seat<'a>,
        ports: &'a Ports,
        timeout: Duration,
        node: InitiatorNode<Port>,
        tasks: &'a mut Tasks,
        driver: &'a mut D,
    ) -> Self {
        Self { address, seat, ports, timeout, node, tasks, driver, leave: Leave::No, life: None }
    }

    /// Runs it until it has ended.
    ///
    /// # Errors
    /// The network fails.
    pub(super) async fn run(mut self) -> io::Result<End> {
        let mut happened = Happened::default();
        let mut has_more_to_come = true;
        loop {
            let now = Instant::now();
            let mut has_more = std::mem::take(&mut has_more_to_come) && self.node.drive(now);
            for (cid, readiness) in happened.ready.drain(..) {
                has_more |= self.handle_ready(now, cid, readiness);
            }
            happened.connected.drain(..).for_each(|(cid, connected)| self.take_connection(now, cid, connected));
            self.node.handle_timeout(now);
            loop {
                if let Some(end) = self.handle_events(now) {
                    return Ok(end);
                }
                self.submit(now);
                if !self.node.flush(now) {
                    break;
                }
                has_more |= self.node.drive(now);
            }
            if let Some(end) = self.handle_events(now) {
                return Ok(end);
            }
            has_more_to_come = has_more;
            let due = [has_more.then_some(now), self.node.poll_timeout(), self.poll_leave()];
            self.seat.wait(due.into_iter().flatten().min(), &mut happened).await?;
        }
    }

    /// A connection is ready. Returns whether there may be more to receive at once.
    fn handle_ready(&mut self, now: Instant, cid: Cid, readiness: Readiness) -> bool {
        let Some(port) = self.node.port_mut(cid) else { return false };
        port.handle_readiness(readiness);
        self.node.drive_connection(now, cid)
    }

    /// Gives the node a connection that it has wanted.
    fn take_connection(&mut self, now: Instant, cid: Cid, connected: io::Result<Stream>) {
        let opened = connected.map_err(ClientError::from).and_then(|stream| self.open(cid, stream));
        match opened {
            Ok((port, challenge)) => self.node.connect(now, cid, port, challenge),
            Err(error) => {
                tracing::warn!(%error, cid = cid.0, "no further connection");
                self.node.handle_connect_failure(now, cid);
            }
        }
    }

    fn open(&self, cid: Cid, stream: Stream) -> Result<(Port, [u8; 32]), ClientError> {
        Ok((self.ports.open(self.seat, cid, stream)?, challenge()?))
    }

    fn submit(&mut self, now: Instant) {
        if self.life.is_none() {
            return;
        }
        // Without a connection, at error recovery level 2, what is asked waits for the next.
        if self.node.connections() > 0 {
            self.tasks.give_again(now, &mut self.node);
            self.driver.submit(&mut Link { now, node: &mut self.node, tasks: &mut *self.tasks });
        }
        self.leave(now);
    }

    // RFC 7143 4.2.6-1, 11.9.1-3: of the session, and the connection is closed after it.
    /// Logs out if that is wanted, and nothing is open that it would cut off or the target waits no longer.
    fn leave(&mut self, now: Instant) {
        let is_time = match self.leave {
            Leave::No => self.tasks.is_empty() && self.driver.is_leaving(),
            Leave::Asked(due) => self.tasks.are_at_rest() || due.is_some_and(|due| due <= now),
            Leave::Begun => false,
        };
        if is_time {
            self.leave = Leave::Begun;
            self.node.logout(now, LOGOUT);
        }
    }

    fn poll_leave(&self) -> Option<Instant> {
        if let Leave::Asked(due) = self.leave { due } else { None }
    }

    /// Returns how the session ended, once it has.
    fn handle_events(&mut self, now: Instant) -> Option<End> {
        while let Some(event) = self.node.poll_event() {
            match event {
                Event::LoggedIn(outcome) => self.begin(now, &outcome.parameters),
                Event::Complete { token: LOGOUT, .. } => {}
                Event::Complete { token, outcome } => {
                    if let Some((token, outcome)) = self.tasks.handle_end(token, outcome) {
                        self.driver.handle_end(now, token, outcome);
                    }
                }
                // RFC 7143 11.9.1-4: the target takes no new command; those under way may end before the logout.
                Event::LogoutRequested { grace } if matches!(self.leave, Leave::No) => {
                    self.leave = Leave::Asked(logout_due(now, grace));
                }
                Event::LogoutRequested { .. } => {}
                Event::ConnectionWanted { cid, address } => {
                    self.seat.connect(cid, address.as_deref().unwrap_or(self.address), self.timeout);
                }
                Event::ConnectionJoined { cid } => tracing::debug!(cid = cid.0, "a connection has joined the session"),
                Event::ConnectionClosed { cid, reason } => {
                    tracing::warn!(cid = cid.0, %reason, "a connection has ended");
                    self.tasks.handle_connection_closed();
                }
                Event::Redirected { address, permanent } => return Some(End::Redirected { address, permanent }),
                Event::LoginFailed(failure) => {
                    return Some(End::Failed(ClientError::Login { address: self.address.to_owned(), failure }));
                }
                Event::Closed(reason) => return Some(self.end(reason)),
                Event::ConnectionLost(error) => return Some(self.lose(ClientError::Lost(error.to_string()))),
                Event::Unresponsive => return Some(self.lose(ClientError::Lost(UNRESPONSIVE.into()))),
            }
        }
        None
    }

    fn begin(&mut self, now: Instant, parameters: &Parameters) {
        self.life = Some(Life { since: now, time_2_wait: Duration::from_secs(parameters.time_2_wait.into()) });
        self.tasks.begin_session();
        self.driver.begin(parameters);
    }

    fn end(&mut self, reason: CloseReason) -> End {
        if let (CloseReason::Dropped { time_2_wait }, Some(life)) = (&reason, &mut self.life) {
            life.time_2_wait = Duration::from_secs((*time_2_wait).into());
        }
        match (reason, self.life) {
            (CloseReason::LoggedOut, Some(life)) => End::LoggedOut(life),
            (reason, _) => self.lose(reason.into()),
        }
    }

    fn lose(&self, error: ClientError) -> End {
        match self.life {
            None => End::Failed(error),
            // Nothing was open any more; istgt at times closes the connection instead of answering a logout.
            Some(life) if matches!(self.leave, Leave::Begun) => End::LoggedOut(life),
            Some(life) => End::Lost(error, life),
        }
    }
}

/// RFC 7143 11.9.1-2: when an initiator logs out that was asked to at `now`, whatever is open then. Half of the time is for what is
/// open, the other half for the logout.
fn logout_due(now: Instant, grace: Duration) -> Option<Instant> {
    now.checked_add(grace / 2)
}
