//! The sessions of a client, one after the other: redirects, and coming back after a loss.
//!
//! In: a configuration and a [`Driver`]. Out: connections on which sessions run, and how the last one ended.

use super::isid::ClaimedIsid;
use super::ports::{Ports, challenge};
use super::reconnection::Outage;
use super::seat::{Happened, Seat};
use super::session::{Driver, End, Session};
use super::tasks::Tasks;
use super::{ClientConfig, ClientError};
use crate::network::Stream;
use iscsi_node::initiator::{InitiatorNode, Outcome};
use iscsi_pdu::Cid;
use iscsi_session::initiator::SessionConfig;
use std::io;
use std::time::Instant;

const REDIRECTS_MAX: usize = 5;

/// Logs in and runs sessions until the driver leaves, or there will be none any more.
///
/// # Errors
/// Why there was no session, or why the last one ended other than by a logout of ours.
pub(super) async fn run<D: Driver>(config: &ClientConfig, seat: Seat<'_>, driver: &mut D) -> Result<(), ClientError> {
    let mut tasks = Tasks::new(config.reconnection.map(|plan| plan.repeats_max));
    let end = match Sessions::new(config, &seat) {
        Ok(mut sessions) => sessions.run(&mut tasks, driver).await,
        Err(error) => Err(error),
    };
    let now = Instant::now();
    tasks.give_up().for_each(|token| driver.handle_end(now, token, Outcome::Lost));
    end
}

struct Sessions<'a> {
    config: &'a ClientConfig,
    seat: &'a Seat<'a>,
    isid: ClaimedIsid,
    ports: Ports,
    /// Where the target is at home: where we were told, or where it has moved to for good.
    home: String,
    /// None if a client does not come back.
    outage: Option<Outage>,
}

impl<'a> Sessions<'a> {
    fn new(config: &'a ClientConfig, seat: &'a Seat<'a>) -> Result<Self, ClientError> {
        Ok(Self {
            config,
            seat,
            isid: config.claim_isid()?,
            ports: Ports::new(config)?,
            home: config.address.clone(),
            outage: config.reconnection.map(Outage::new),
        })
    }

    // RFC 7143 7.1.4.4: what it takes besides a new session is in `Tasks`.
    async fn run<D: Driver>(&mut self, tasks: &mut Tasks, driver: &mut D) -> Result<(), ClientError> {
        loop {
            let (error, life) = match self.follow(tasks, driver).await {
                End::LoggedOut(_) if tasks.is_empty() && driver.is_leaving() => return Ok(()),
                End::LoggedOut(life) => (ClientError::Ended, Some(life)),
                End::Lost(error, life) => (error, Some(life)),
                End::Failed(error) => (error, None),
                End::Redirected { .. } => (ClientError::Redirects(self.config.address.clone()), None),
            };
            let Some(outage) = self.outage.as_mut().filter(|_| may_pass(&error)) else { return Err(error) };
            let Some(due) = outage.next_login(Instant::now(), life, tasks.have_worked()) else { return Err(error) };
            tracing::warn!(%error, "there is no session: logging in again");
            if !self.wait(due, tasks, driver).await? {
                return Ok(());
            }
        }
    }

    /// Runs one session, wherever the target is.
    async fn follow<D: Driver>(&mut self, tasks: &mut Tasks, driver: &mut D) -> End {
        let (mut address, mut home, mut hops) = (self.home.clone(), self.home.clone(), 0);
        loop {
            match self.run_at(&address, tasks, driver).await.unwrap_or_else(End::Failed) {
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

    // RFC 7143 6.3.5-2: whichever session there was has failed, and is over.
    async fn run_at<D: Driver>(&self, address: &str, tasks: &mut Tasks, driver: &mut D) -> Result<End, ClientError> {
        let login = self.config.login(self.isid.isid);
        self.seat.begin_session();
        let stream = self.connect(login.cid, address).await?;
        let port = self.ports.open(self.seat, login.cid, stream).map_err(|error| not_connected(address, &error))?;
        let mut node = InitiatorNode::new(port, login, SessionConfig::default(), challenge()?, Instant::now());
        node.set_escalation(self.config.escalation);
        node.set_connections(self.config.connection_plan());
        Ok(Session::new(address, self.seat, &self.ports, self.config.timeout, node, tasks, driver).run().await?)
    }

    async fn connect(&self, cid: Cid, address: &str) -> Result<Stream, ClientError> {
        let mut happened = Happened::default();
        self.seat.connect(cid, address, self.config.timeout);
        loop {
            self.seat.wait(None, &mut happened).await?;
            if let Some((_, connected)) = happened.connected.pop() {
                return connected.map_err(|error| not_connected(address, &error));
            }
        }
    }

    /// Waits until it is time to log in. Returns false if nobody wants a session any more.
    async fn wait(&self, due: Instant, tasks: &Tasks, driver: &mut impl Driver) -> io::Result<bool> {
        loop {
            if tasks.is_empty() && driver.is_leaving() {
                return Ok(false);
            }
            if due <= Instant::now() {
                return Ok(true);
            }
            self.seat.wait(Some(due), &mut Happened::default()).await?;
        }
    }
}

/// There is no connection, or none any more, before anything was said on it.
fn not_connected(address: &str, error: &io::Error) -> ClientError {
    ClientError::Connect { address: address.into(), error: error.to_string() }
}

/// Whether another try may end otherwise.
fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Login { failure, .. } => failure.may_pass(),
        ClientError::System(_) => false,
        _ => true,
    }
}
