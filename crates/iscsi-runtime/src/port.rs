//! The port of every connection: software over TCP, captured or not.

use crate::socket::Socket;
use iscsi_pdu::Frame;
use iscsi_transport::{
    BufferPool, Capabilities, Capture, Digests, Flush, PcapPort, PduPort, PortError, ReadyStream, ReceiveLimits,
    Received, SoftwarePort,
};
use mio::event::Event;
use mio::net::TcpStream;
use std::net::SocketAddr;

/// What the ports work on: a socket that is asked when the kernel has said that it has something to say.
type Stream = ReadyStream<Socket>;

/// A software port over TCP.
pub(crate) enum Port<P = SoftwarePort<Stream>> {
    Plain(P),
    Captured(Box<PcapPort<P>>),
}

/// A port on its way to another core.
pub(crate) type DetachedPort = Port<iscsi_transport::DetachedPort<Stream>>;

impl Port {
    /// A port that writes to `capture` if there is one; `ends` are our address and the peer's.
    pub(crate) fn new(
        socket: Socket,
        buffers: BufferPool,
        capture: Option<&Capture>,
        ends: (SocketAddr, SocketAddr),
    ) -> Self {
        let port = SoftwarePort::new(ReadyStream::new(socket), buffers);
        match capture {
            None => Self::Plain(port),
            Some(capture) => Self::Captured(Box::new(PcapPort::new(port, capture.clone(), ends.0, ends.1))),
        }
    }
}

impl<P> Port<P> {
    fn map<Q>(self, change: impl FnOnce(P) -> Q) -> Port<Q> {
        match self {
            Self::Plain(port) => Port::Plain(change(port)),
            Self::Captured(port) => Port::Captured(Box::new(port.map_port(change))),
        }
    }
}

impl Port {
    /// The port without the memory of its core.
    pub(crate) fn detach(self) -> DetachedPort {
        self.map(SoftwarePort::detach)
    }

    /// The connection, to be registered with whoever says when it is ready.
    pub(crate) fn stream_mut(&mut self) -> &mut TcpStream {
        &mut self.ready_stream_mut().stream_mut().0
    }

    /// The kernel says that the connection is ready, edge-triggered.
    pub(crate) fn handle_event(&mut self, event: &Event) {
        let stream = self.ready_stream_mut();
        let is_ended = event.is_read_closed() || event.is_error();
        if event.is_readable() || is_ended {
            stream.handle_readable(is_ended);
        }
        if event.is_writable() || event.is_error() {
            stream.handle_writable();
        }
    }

    fn ready_stream_mut(&mut self) -> &mut Stream {
        match self {
            Self::Plain(port) => port.stream_mut(),
            Self::Captured(port) => port.port_mut().stream_mut(),
        }
    }
}

impl DetachedPort {
    /// The port with the memory of another core.
    pub(crate) fn attach(self, buffers: &BufferPool) -> Port {
        self.map(|port| port.attach(buffers.clone()))
    }
}

/// The same call on whichever port it is.
macro_rules! on_port {
    ($self:ident, $port:ident => $call:expr) => {
        match $self {
            Port::Plain($port) => $call,
            Port::Captured($port) => $call,
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
