//! The loop of one session: a socket and time around an [`InitiatorNode`].
//!
//! In: readiness from the kernel, requests from a [`Driver`]. Out: bytes, and ends of requests to the driver.

use super::connect::connect;
use super::{ClientConfig, ClientError};
use crate::port::Port;
use crate::socket::Socket;
use iscsi_node::initiator::{Event, InitiatorNode};
use iscsi_pdu::Isid;
use iscsi_session::initiator::SessionConfig;
use iscsi_transport::BufferPool;
use mio::{Events, Interest, Poll, Token};
use std::io;
use std::time::{Duration, Instant};

const SOCKET: Token = Token(0);
/// Token of a waker that a driver may have.
pub(super) const WAKER: Token = Token(1);
const REDIRECTS_MAX: usize = 5;

/// A session's node.
pub(super) type Node = InitiatorNode<Port>;

/// Who uses a session: gives requests and takes their ends, on the session's thread.
pub(super) trait Driver {
    /// The session has begun.
    fn begin(&mut self, node: &Node);

    /// Gives what there is to ask, as far as the node takes it.
    fn submit(&mut self, now: Instant, node: &mut Node);

    /// When [`Self::submit`] is to be called, if nothing happens before.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Something has happened.
    fn handle_event(&mut self, now: Instant, event: Event);
}

/// Logs in and runs the session until it ends. Follows redirects.
///
/// # Errors
/// Why there was no session, or why it ended other than by a logout.
pub(super) fn run(config: &ClientConfig, poll: &mut Poll, driver: &mut impl Driver) -> Result<(), ClientError> {
    let claimed = config.claim_isid()?;
    let mut address = config.address.clone();
    for _ in 0..=REDIRECTS_MAX {
        match run_at(config, &address, claimed.isid, poll, driver)? {
            End::LoggedOut => return Ok(()),
            End::Redirected(elsewhere) => address = elsewhere,
        }
    }
    Err(ClientError::Redirects(config.address.clone()))
}

/// RFC 7143 11.9.1-2: when an initiator logs out that was asked to at `now`, whatever is open then. Half of the time is for what is
/// open, the other half for the logout.
pub(super) fn logout_due(now: Instant, grace: Duration) -> Option<Instant> {
    now.checked_add(grace / 2)
}

enum End {
    LoggedOut,
    Redirected(String),
}

fn run_at(
    config: &ClientConfig,
    address: &str,
    isid: Isid,
    poll: &mut Poll,
    driver: &mut impl Driver,
) -> Result<End, ClientError> {
    let mut stream = connect(address, config.timeout)?;
    stream.set_nodelay(true)?;
    poll.registry().register(&mut stream, SOCKET, Interest::READABLE | Interest::WRITABLE)?;
    let ends = (stream.local_addr()?, stream.peer_addr()?);
    let capture = config.capture.as_deref().map(crate::capture::create).transpose()?;
    let port = Port::new(Socket(stream), BufferPool::default(), capture.as_ref(), ends);
    let mut challenge = [0; 32];
    getrandom::fill(&mut challenge).map_err(|error| ClientError::System(error.to_string()))?;
    let node = InitiatorNode::new(port, config.login(isid), SessionConfig::default(), challenge, Instant::now());
    Session { address, node, driver }.run(poll)
}

struct Session<'a, D> {
    address: &'a str,
    node: Node,
    driver: &'a mut D,
}

impl<D: Driver> Session<'_, D> {
    fn run(mut self, poll: &mut Poll) -> Result<End, ClientError> {
        let mut events = Events::with_capacity(8);
        loop {
            let now = Instant::now();
            let mut has_more = self.node.drive(now);
            self.node.handle_timeout(now);
            loop {
                if let Some(end) = self.handle_events(now)? {
                    return Ok(end);
                }
                self.driver.submit(now, &mut self.node);
                if !self.node.flush(now) {
                    break;
                }
                has_more |= self.node.drive(now);
            }
            if let Some(end) = self.handle_events(now)? {
                return Ok(end);
            }
            let due = [has_more.then_some(now), self.node.poll_timeout(), self.driver.poll_timeout()];
            let timeout = due.into_iter().flatten().min().map(|due| due.saturating_duration_since(Instant::now()));
            match poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => other?,
            }
            if events.iter().any(mio::event::Event::is_read_closed) {
                // After a short read the port does not look again by itself.
                self.node.drive(Instant::now());
            }
        }
    }

    /// Returns how the session ended, once it has.
    fn handle_events(&mut self, now: Instant) -> Result<Option<End>, ClientError> {
        let mut end = None;
        while let Some(event) = self.node.poll_event() {
            let address = || self.address.to_owned();
            match event {
                Event::LoggedIn(_) => self.driver.begin(&self.node),
                Event::Redirected { address, .. } => end = Some(Ok(End::Redirected(address))),
                Event::LoginFailed(failure) => end = Some(Err(ClientError::Login { address: address(), failure })),
                Event::Closed(iscsi_session::CloseReason::LoggedOut) => end = Some(Ok(End::LoggedOut)),
                Event::Closed(reason) => end = Some(Err(reason.into())),
                Event::ConnectionLost(error) => end = Some(Err(ClientError::Lost(error.to_string()))),
                event => self.driver.handle_event(now, event),
            }
        }
        end.transpose()
    }
}
