//! The kernel's TCP: listeners, and connections on threads of their own, since names and handshakes are waited for.

use super::{Happening, Stream};
use crate::url::DEFAULT_PORT;
use mio::Waker;
use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::time::Duration;

type Connected = (usize, io::Result<TcpStream>);

pub(super) struct KernelEnd {
    /// By place; none where nothing is listened on any more.
    listeners: Vec<Option<TcpListener>>,
    /// Says to the loop's thread that there is a connection.
    waker: Arc<Waker>,
    ends: mpsc::Sender<Connected>,
    ended: mpsc::Receiver<Connected>,
    /// Connections that were begun and not told of.
    connecting: usize,
}

impl KernelEnd {
    pub(super) fn new(listeners: Vec<TcpListener>, waker: Arc<Waker>) -> Self {
        let (ends, ended) = mpsc::channel();
        let listeners = listeners.into_iter().map(Some).collect();
        Self { listeners, waker, ends, ended, connecting: 0 }
    }

    pub(super) fn accept(&mut self, place: usize) -> io::Result<TcpStream> {
        let listener = self.listeners.get(place).and_then(Option::as_ref).ok_or(io::ErrorKind::WouldBlock)?;
        listener.accept().map(|(stream, _)| stream)
    }

    pub(super) fn listen(&mut self, place: usize, listener: TcpListener) {
        if self.listeners.len() <= place {
            self.listeners.resize_with(place + 1, || None);
        }
        self.listeners[place] = Some(listener);
    }

    pub(super) fn unlisten(&mut self, place: usize) {
        if let Some(listener) = self.listeners.get_mut(place) {
            *listener = None;
        }
    }

    pub(super) fn stop_listening(&mut self) {
        self.listeners.clear();
    }

    pub(super) fn connect(&mut self, token: usize, address: &str, timeout: Duration) {
        let (ends, waker, address) = (self.ends.clone(), Arc::clone(&self.waker), address.to_owned());
        let run = move || {
            // If the loop has ended meanwhile, nobody wants the connection.
            if ends.send((token, connect(&address, timeout))).is_ok()
                && let Err(error) = waker.wake()
            {
                tracing::warn!(%error, "cannot wake a session");
            }
        };
        self.connecting += 1;
        if let Err(error) = std::thread::Builder::new().name("iscsi-connect".into()).spawn(run) {
            // The receiver is ours.
            drop(self.ends.send((token, Err(error))));
            if let Err(error) = self.waker.wake() {
                tracing::warn!(%error, "cannot wake a session");
            }
        }
    }

    /// Tells of connections that were asked for.
    pub(super) fn take_connected(&mut self, happened: &mut Vec<Happening>) {
        while self.connecting > 0
            && let Ok((token, connected)) = self.ended.try_recv()
        {
            self.connecting -= 1;
            happened.push(Happening::Connected(token, connected.map(Stream::Socket)));
        }
    }
}

/// Opens a listening socket. An IPv6 address takes no IPv4 connections, so that both can be listened on.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Connects within `timeout`, to any of the addresses that a name has.
fn connect(address: &str, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in resolve(address)? {
        match std::net::TcpStream::connect_timeout(&candidate, timeout) {
            Ok(stream) => {
                stream.set_nonblocking(true)?;
                return Ok(TcpStream::from_std(stream));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The addresses that `host`, `host:port` or `[host]:port` stands for.
pub(crate) fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
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
