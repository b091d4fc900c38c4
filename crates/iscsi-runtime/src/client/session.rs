//! The loop of one session: a socket and time around an [`InitiatorNode`].
//!
//! In: readiness from the kernel, requests from a [`Driver`]. Out: bytes, and ends of requests to the driver.

use super::{ClientConfig, ClientError};
use crate::port::Port;
use crate::socket::Socket;
use iscsi_node::initiator::{Event, InitiatorNode};
use iscsi_pdu::Isid;
use iscsi_session::initiator::SessionConfig;
use iscsi_transport::BufferPool;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

const SOCKET: Token = Token(0);
/// Token of a waker that a driver may have.
pub(super) const WAKER: Token = Token(1);
const REDIRECTS_MAX: usize = 5;
const PORT: u16 = 3260;

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

/// Connects within `timeout`, to any of the addresses that a name has.
fn connect(address: &str, timeout: Duration) -> Result<TcpStream, ClientError> {
    let failed = |error: io::Error| ClientError::Connect { address: address.into(), error: error.to_string() };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in resolve(address).map_err(failed)? {
        match std::net::TcpStream::connect_timeout(&candidate, timeout) {
            Ok(stream) => {
                stream.set_nonblocking(true)?;
                return Ok(TcpStream::from_std(stream));
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    // RFC 7143 section 13.8 writes IPv6 addresses in brackets and leaves out the port, and a redirect may carry a group tag.
    let address = address.split(',').next().unwrap_or_default();
    let has_port = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')));
    let with_port = if has_port { address.to_owned() } else { format!("{address}:{PORT}") };
    Ok(with_port.to_socket_addrs()?.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_its_port() {
        let one = |text: &str| resolve(text).unwrap()[0].to_string();
        assert_eq!(one("127.0.0.1"), "127.0.0.1:3260");
        assert_eq!(one("127.0.0.1:1"), "127.0.0.1:1");
        assert_eq!(one("[::1]"), "[::1]:3260");
        assert_eq!(one("[::1]:7"), "[::1]:7");
        assert_eq!(one("127.0.0.1:5,1"), "127.0.0.1:5");
        assert!(resolve("").is_err());
    }
}
