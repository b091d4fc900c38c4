//! The sessions of a client, one after the other: redirects, and coming back after a loss.
//!
//! In: a configuration and a [`Driver`]. Out: connections on which sessions run, and how the last one ended.

use super::connect::{Connector, connect};
use super::isid::ClaimedIsid;
use super::ports::{Ports, challenge};
use super::reconnection::Outage;
use super::session::{Driver, End, Session};
use super::tasks::Tasks;
use super::{ClientConfig, ClientError};
use iscsi_node::initiator::{InitiatorNode, Outcome};
use iscsi_session::initiator::SessionConfig;
use mio::{Events, Poll, Token, Waker};
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// Token of the waker; that of a socket is its CID.
pub(super) const WAKER: Token = Token(usize::MAX);
const REDIRECTS_MAX: usize = 5;

/// Logs in and runs sessions until the driver leaves, or there will be none any more. `waker` wakes `poll`, with [`WAKER`].
///
/// # Errors
/// Why there was no session, or why the last one ended other than by a logout of ours.
pub(super) fn run<D: Driver>(
    config: &ClientConfig,
    poll: &mut Poll,
    waker: &Arc<Waker>,
    driver: &mut D,
) -> Result<(), ClientError> {
    let mut tasks = Tasks::new(config.reconnection.map(|plan| plan.repeats_max));
    let end = Sessions::new(config, waker).and_then(|mut sessions| sessions.run(poll, &mut tasks, driver));
    let now = Instant::now();
    tasks.give_up().for_each(|token| driver.handle_end(now, token, Outcome::Lost));
    end
}

struct Sessions<'a> {
    config: &'a ClientConfig,
    waker: &'a Arc<Waker>,
    isid: ClaimedIsid,
    ports: Ports,
    /// Where the target is at home: where we were told, or where it has moved to for good.
    home: String,
    /// None if a client does not come back.
    outage: Option<Outage>,
}

impl<'a> Sessions<'a> {
    fn new(config: &'a ClientConfig, waker: &'a Arc<Waker>) -> Result<Self, ClientError> {
        Ok(Self {
            config,
            waker,
            isid: config.claim_isid()?,
            ports: Ports::new(config)?,
            home: config.address.clone(),
            outage: config.reconnection.map(Outage::new),
        })
    }

    // RFC 7143 7.1.4.4: what it takes besides a new session is in `Tasks`.
    fn run<D: Driver>(&mut self, poll: &mut Poll, tasks: &mut Tasks, driver: &mut D) -> Result<(), ClientError> {
        loop {
            let (error, life) = match self.follow(poll, tasks, driver) {
                End::LoggedOut(_) if tasks.is_empty() && driver.is_leaving() => return Ok(()),
                End::LoggedOut(life) => (ClientError::Ended, Some(life)),
                End::Lost(error, life) => (error, Some(life)),
                End::Failed(error) => (error, None),
                End::Redirected { .. } => (ClientError::Redirects(self.config.address.clone()), None),
            };
            let Some(outage) = self.outage.as_mut().filter(|_| may_pass(&error)) else { return Err(error) };
            let Some(due) = outage.next_login(Instant::now(), life, tasks.have_worked()) else { return Err(error) };
            tracing::warn!(%error, "there is no session: logging in again");
            if !wait(poll, due, tasks, driver)? {
                return Ok(());
            }
        }
    }

    /// Runs one session, wherever the target is.
    fn follow<D: Driver>(&mut self, poll: &mut Poll, tasks: &mut Tasks, driver: &mut D) -> End {
        let (mut address, mut home, mut hops) = (self.home.clone(), self.home.clone(), 0);
        loop {
            match self.run_at(&address, poll, tasks, driver).unwrap_or_else(End::Failed) {
                End::Redirected { address: elsewhere, permanent } if hops < REDIRECTS_MAX => {
                    // RFC 7143 section 11.13.5: what has moved for good is looked for there from now on.
                    if permanent && address == home {
                        home.clone_from(&elsewhere);
                    }
                    (address, hops) = (elsewhere, hops + 1);
                }
                end @ (End::Redirected { .. } | End::Failed(_)) => return end,
                end @ (End::LoggedOut(_) | End::Lost(..)) => {
                    self.home = home;
                    return end;
                }
            }
        }
    }

    fn run_at<D: Driver>(
        &self,
        address: &str,
        poll: &mut Poll,
        tasks: &mut Tasks,
        driver: &mut D,
    ) -> Result<End, ClientError> {
        let login = self.config.login(self.isid.isid);
        let port = self.ports.open(poll.registry(), login.cid, connect(address, self.config.timeout)?)?;
        let mut node = InitiatorNode::new(port, login, SessionConfig::default(), challenge()?, Instant::now());
        node.set_escalation(self.config.escalation);
        node.set_connections(self.config.connection_plan());
        let connector = Connector::new(self.config.timeout, Arc::clone(self.waker));
        Ok(Session::new(address, &self.ports, connector, node, tasks, driver).run(poll)?)
    }
}

/// Whether another try may end otherwise.
fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Login { failure, .. } => failure.may_pass(),
        ClientError::System(_) => false,
        _ => true,
    }
}

/// Waits until it is time to log in. Returns false if nobody wants a session any more.
fn wait(poll: &mut Poll, due: Instant, tasks: &Tasks, driver: &mut impl Driver) -> io::Result<bool> {
    let mut events = Events::with_capacity(8);
    loop {
        if tasks.is_empty() && driver.is_leaving() {
            return Ok(false);
        }
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(true);
        }
        match poll.poll(&mut events, Some(left)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => other?,
        }
    }
}
