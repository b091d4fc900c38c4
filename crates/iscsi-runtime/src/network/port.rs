//! The port of every connection: software over TCP, that of an adapter, or one within the process; captured or not.

use super::loopback::LoopbackStream;
use super::socket::Socket;
use super::{AdapterBus, Readiness};
use iscsi_pdu::Frame;
use iscsi_transport::{
    BufferPool, Capabilities, Capture, Digests, Flush, PcapPort, PduPort, PortError, ReadyStream, ReceiveLimits,
    Received, SoftwarePort,
};
use mio::net::TcpStream;
use std::net::SocketAddr;
use t5_hal::driver::{Offload, OffloadMode};
use t5_hal::{Connection, T5Port};

/// What the software ports work on: a socket that is asked when the kernel has said that it has something to say.
type Stream = ReadyStream<Socket>;

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkState {
    /// The kernel's TCP.
    Kernel,
    /// An adapter.
    Adapter {
        /// How much of the protocols it does.
        offload_mode: OffloadMode,
        /// The ingress queue that the connection's messages come by, from 0.
        queue: u16,
        /// Number of the rule of the offload policy that it matched, from 1; `None` without a policy.
        rule: Option<u32>,
    },
    /// Nothing: the peer is in this process.
    Loopback,
}

/// The port of a connection.
pub(crate) enum Port {
    Socket(SoftwarePort<Stream>),
    CapturedSocket(Box<PcapPort<SoftwarePort<Stream>>>),
    Adapter(T5Port<AdapterBus>),
    CapturedAdapter(Box<PcapPort<T5Port<AdapterBus>>>),
    Loopback(LoopbackStream),
    CapturedLoopback(Box<PcapPort<LoopbackStream>>),
}

/// A port over a socket on its way to another core.
#[expect(clippy::large_enum_variant, reason = "it lives as long as its way takes")]
pub(crate) enum DetachedPort {
    Plain(iscsi_transport::DetachedPort<Stream>),
    Captured(Box<PcapPort<iscsi_transport::DetachedPort<Stream>>>),
}

impl Port {
    /// A port over a socket, which writes to `capture` if there is one; `ends` are our address and the peer's.
    pub(super) fn over_socket(
        socket: TcpStream,
        buffers: BufferPool,
        capture: Option<&Capture>,
        ends: (SocketAddr, SocketAddr),
    ) -> Self {
        let port = SoftwarePort::new(ReadyStream::new(Socket(socket)), buffers);
        match capture {
            None => Self::Socket(port),
            Some(capture) => Self::CapturedSocket(Box::new(PcapPort::new(port, capture.clone(), ends.0, ends.1))),
        }
    }

    /// The same over a connection of an adapter.
    pub(super) fn over_adapter(
        connection: Connection<AdapterBus>,
        capture: Option<&Capture>,
        ends: (SocketAddr, SocketAddr),
    ) -> Self {
        let port = T5Port::new(connection);
        match capture {
            None => Self::Adapter(port),
            Some(capture) => Self::CapturedAdapter(Box::new(PcapPort::new(port, capture.clone(), ends.0, ends.1))),
        }
    }

    /// The same on a connection within the process.
    pub(super) fn over_loopback(
        port: LoopbackStream,
        capture: Option<&Capture>,
        ends: (SocketAddr, SocketAddr),
    ) -> Self {
        match capture {
            None => Self::Loopback(port),
            Some(capture) => Self::CapturedLoopback(Box::new(PcapPort::new(port, capture.clone(), ends.0, ends.1))),
        }
    }

    /// The port without the memory of its core.
    ///
    /// # Panics
    /// If it is not one over a socket: one core has the function that it came from, so there is nobody to hand it over to.
    pub(crate) fn detach(self) -> DetachedPort {
        match self {
            Self::Socket(port) => DetachedPort::Plain(port.detach()),
            Self::CapturedSocket(port) => DetachedPort::Captured(Box::new(port.map_port(SoftwarePort::detach))),
            Self::Adapter(_) | Self::CapturedAdapter(_) | Self::Loopback(_) | Self::CapturedLoopback(_) => {
                unreachable!("a server on a function has one core")
            }
        }
    }

    /// The socket, to be registered with whoever says when it is ready; others have none.
    pub(super) fn socket_mut(&mut self) -> Option<&mut TcpStream> {
        self.stream_mut().map(|stream| &mut stream.stream_mut().0)
    }

    /// What carries the connection, and its two ends, ours first; none if it is gone.
    pub(crate) fn state(&self) -> Option<(NetworkState, (SocketAddr, SocketAddr))> {
        let of_socket = |port: &SoftwarePort<Stream>| {
            let socket = &port.stream().stream().0;
            Some((NetworkState::Kernel, (socket.local_addr().ok()?, socket.peer_addr().ok()?)))
        };
        let of_adapter = |port: &T5Port<AdapterBus>| {
            let Offload { mode, queue, rule, .. } = port.connection().offload()?;
            let ends = port.connection().addresses()?;
            Some((NetworkState::Adapter { offload_mode: mode, queue, rule }, ends))
        };
        match self {
            Self::Socket(port) => of_socket(port),
            Self::CapturedSocket(port) => of_socket(port.port()),
            Self::Adapter(port) => of_adapter(port),
            Self::CapturedAdapter(port) => of_adapter(port.port()),
            Self::Loopback(port) => Some((NetworkState::Loopback, port.addresses())),
            Self::CapturedLoopback(port) => Some((NetworkState::Loopback, port.port().addresses())),
        }
    }

    /// The network says for what the connection is ready, edge-triggered. Ports without a socket look by themselves.
    pub(crate) fn handle_readiness(&mut self, readiness: Readiness) {
        let Some(stream) = self.stream_mut() else { return };
        if readiness.readable {
            stream.handle_readable(readiness.ended);
        }
        if readiness.writable {
            stream.handle_writable();
        }
    }

    fn stream_mut(&mut self) -> Option<&mut Stream> {
        match self {
            Self::Socket(port) => Some(port.stream_mut()),
            Self::CapturedSocket(port) => Some(port.port_mut().stream_mut()),
            Self::Adapter(_) | Self::CapturedAdapter(_) | Self::Loopback(_) | Self::CapturedLoopback(_) => None,
        }
    }
}

impl DetachedPort {
    /// The port with the memory of another core.
    pub(crate) fn attach(self, buffers: &BufferPool) -> Port {
        match self {
            Self::Plain(port) => Port::Socket(port.attach(buffers.clone())),
            Self::Captured(port) => Port::CapturedSocket(Box::new(port.map_port(|port| port.attach(buffers.clone())))),
        }
    }
}

/// The same call on whichever port it is.
macro_rules! on_port {
    ($self:ident, $port:ident => $call:expr) => {
        match $self {
            Port::Socket($port) => $call,
            Port::CapturedSocket($port) => $call,
            Port::Adapter($port) => $call,
            Port::CapturedAdapter($port) => $call,
            Port::Loopback($port) => $call,
            Port::CapturedLoopback($port) => $call,
        }
    };
}

impl PduPort for Port {
    fn capabilities(&self) -> &Capabilities {
        on_port!(self, port => port.capabilities())
    }

    fn reserve(&mut self, length: u32) -> u32 {
        on_port!(self, port => port.reserve(length))
    }

    fn release(&mut self, tag: u32) {
        on_port!(self, port => port.release(tag));
    }

    fn receive(&mut self) -> Result<Option<Received>, PortError> {
        on_port!(self, port => port.receive())
    }

    fn can_send(&self) -> bool {
        on_port!(self, port => port.can_send())
    }

    fn send(&mut self, frame: Frame) {
        on_port!(self, port => port.send(frame));
    }

    fn flush(&mut self) -> Result<Flush, PortError> {
        on_port!(self, port => port.flush())
    }

    fn finish(&mut self) {
        on_port!(self, port => port.finish());
    }

    fn set_digests(&mut self, digests: Digests) {
        on_port!(self, port => port.set_digests(digests));
    }

    fn set_receive_limits(&mut self, limits: ReceiveLimits) {
        on_port!(self, port => port.set_receive_limits(limits));
    }
}
