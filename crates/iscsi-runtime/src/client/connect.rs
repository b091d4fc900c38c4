//! From the address of a target to a connection.

use super::ClientError;
use crate::url::DEFAULT_PORT;
use iscsi_pdu::Cid;
use mio::net::TcpStream;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Connects for a session that goes on meanwhile: names and handshakes are waited for on threads of their own, one a connection.
pub(super) struct Connector {
    timeout: Duration,
    /// Says to the session's thread that there is something to be polled.
    waker: Arc<mio::Waker>,
    ends: mpsc::Sender<(Cid, Result<TcpStream, ClientError>)>,
    ended: mpsc::Receiver<(Cid, Result<TcpStream, ClientError>)>,
}

impl Connector {
    pub(super) fn new(timeout: Duration, waker: Arc<mio::Waker>) -> Self {
        let (ends, ended) = mpsc::channel();
        Self { timeout, waker, ends, ended }
    }

    /// Begins to connect to `address`.
    pub(super) fn begin(&self, cid: Cid, address: &str) {
        let (ends, waker, timeout, address) =
            (self.ends.clone(), Arc::clone(&self.waker), self.timeout, address.to_owned());
        let run = move || {
            // If the session has ended meanwhile, nobody wants the connection.
            if ends.send((cid, connect(&address, timeout))).is_ok()
                && let Err(error) = waker.wake()
            {
                tracing::warn!(%error, "cannot wake a session");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("iscsi-connect".into()).spawn(run) {
            // The receiver is ours.
            drop(self.ends.send((cid, Err(error.into()))));
        }
    }

    /// A connection, or why there is none; each one that was begun comes once.
    pub(super) fn poll(&self) -> Option<(Cid, Result<TcpStream, ClientError>)> {
        self.ended.try_recv().ok()
    }
}

/// Connects within `timeout`, to any of the addresses that a name has.
pub(super) fn connect(address: &str, timeout: Duration) -> Result<TcpStream, ClientError> {
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
    let with_port = if has_port { address.to_owned() } else { format!("{address}:{DEFAULT_PORT}") };
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
