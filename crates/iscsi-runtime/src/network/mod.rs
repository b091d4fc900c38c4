//! Networks: where connections come from, and who says that something has happened on them.
//!
//! In: addresses to listen at and to connect to. Out: ports, and what has happened. There are three: the kernel's TCP; a function of a
//! T5 adapter, which does TCP and iSCSI by itself; and one within this process, for a server and an initiator that are both in it. Each loop has an [`Endpoint`] of its own, and sleeps in it.

mod adapter;
mod kernel;
mod loopback;
mod port;
mod socket;

pub use adapter::{AdapterBus, AdapterFunction};
pub(crate) use kernel::resolve;
pub use loopback::LoopbackFunction;
pub use port::NetworkState;
pub(crate) use port::{DetachedPort, Port};

pub(crate) use kernel::listen;

use adapter::AdapterEnd;
use iscsi_transport::{BufferPool, Capture};
use kernel::KernelEnd;
use loopback::{LoopbackEnd, LoopbackStream};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use t5_policy::Program;

/// Token of the waker; connections have those that their owners choose, listeners count up from the middle.
const WAKER: Token = Token(usize::MAX);
const FIRST_LISTENER: usize = usize::MAX / 2;

/// A network before its loop runs; what the loop will sleep in is there already, so that others can wake it.
pub(crate) struct Network {
    poll: Poll,
    waker: Arc<Waker>,
    kind: Kind,
}

enum Kind {
    Kernel(Vec<TcpListener>),
    Adapter(Box<AdapterFunction>),
    Loopback(LoopbackFunction),
}

/// What a server may listen on in the place of the kernel's TCP. One loop has it.
#[derive(Debug)]
pub(crate) enum Function {
    Adapter(Box<AdapterFunction>),
    Loopback(LoopbackFunction),
}

impl Network {
    /// The kernel's TCP.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn kernel() -> io::Result<Self> {
        Self::new(Kind::Kernel(Vec::new()))
    }

    /// A function of an adapter.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn adapter(function: AdapterFunction) -> io::Result<Self> {
        Self::new(Kind::Adapter(Box::new(function)))
    }

    /// A network within this process.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn loopback(function: LoopbackFunction) -> io::Result<Self> {
        Self::new(Kind::Loopback(function))
    }

    /// Whichever it is.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn function(function: Function) -> io::Result<Self> {
        match function {
            Function::Adapter(function) => Self::adapter(*function),
            Function::Loopback(function) => Self::loopback(function),
        }
    }

    fn new(kind: Kind) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Self { poll, waker, kind })
    }

    /// Wakes the loop: it is told [`Happening::Woken`].
    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// Listens at an address, and says at which; port 0 lets the kernel choose. Listeners are known by their place, the first is 0.
    ///
    /// # Errors
    /// The address cannot be listened at.
    pub(crate) fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        match &mut self.kind {
            Kind::Kernel(listeners) => {
                let listener = kernel::listen(address)?;
                let address = listener.local_addr()?;
                listeners.push(listener);
                Ok(address)
            }
            Kind::Adapter(function) => function.listen(address),
            Kind::Loopback(function) => function.listen(address),
        }
    }

    /// The network as the loop of the calling thread has it.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn open(self) -> io::Result<Endpoint> {
        let Self { poll, waker, kind } = self;
        let link = match kind {
            Kind::Kernel(mut listeners) => {
                for (place, listener) in listeners.iter_mut().enumerate() {
                    poll.registry().register(listener, Token(FIRST_LISTENER + place), Interest::READABLE)?;
                }
                Link::Kernel(KernelEnd::new(listeners, Arc::clone(&waker)))
            }
            Kind::Adapter(function) => Link::Adapter(AdapterEnd::new(*function, &waker)),
            Kind::Loopback(function) => Link::Loopback(LoopbackEnd::new(function, waker)),
        };
        Ok(Endpoint { poll, events: Events::with_capacity(256), link })
    }
}

/// Why a policy does not decide.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The server listens on the kernel's TCP.
    #[error("the target is on no adapter: the kernel has its connections, and no policy decides on them")]
    NoAdapter,
    /// The adapter cannot do what it says.
    #[error("{0}")]
    Refused(String),
    /// The loop that has the adapter does not answer.
    #[error("the adapter's loop does not answer")]
    Silent,
}

/// What has happened.
pub(crate) enum Happening {
    /// Somebody has used the waker.
    Woken,
    /// The listener at that place may have a connection.
    Incoming(usize),
    /// The connection of that token may have something to receive, room to send, or have ended.
    Ready(usize, Readiness),
    /// A connection that was asked for under that token, or why there is none.
    Connected(usize, io::Result<Stream>),
}

/// For what a connection is ready, as far as its network tells.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) ended: bool,
}

/// A connection before it has a port.
pub(crate) enum Stream {
    Socket(TcpStream),
    Adapter(t5_hal::Connection<AdapterBus>),
    Loopback(Box<LoopbackStream>),
}

/// One loop's end of a network.
pub(crate) struct Endpoint {
    poll: Poll,
    events: Events,
    link: Link,
}

enum Link {
    Kernel(KernelEnd),
    Adapter(AdapterEnd),
    Loopback(LoopbackEnd),
}

impl Endpoint {
    /// Waits until something has happened, or for that long, and appends what has. It may return without.
    ///
    /// # Errors
    /// The system refuses to wait, or the adapter can go on no more.
    pub(crate) fn wait(&mut self, happened: &mut Vec<Happening>, timeout: Option<Duration>) -> io::Result<()> {
        let before = happened.len();
        let timeout = match &mut self.link {
            Link::Kernel(_) => timeout,
            Link::Adapter(end) => end.prepare_to_sleep(happened, timeout)?,
            Link::Loopback(end) => end.prepare_to_sleep(happened, timeout),
        };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => other?,
        }
        for event in &self.events {
            happened.push(match event.token() {
                WAKER => Happening::Woken,
                Token(place) if place >= FIRST_LISTENER => Happening::Incoming(place - FIRST_LISTENER),
                Token(token) => Happening::Ready(token, Readiness::of(event)),
            });
        }
        match &mut self.link {
            Link::Kernel(end) => end.take_connected(happened),
            Link::Adapter(end) if happened.len() == before => end.take(happened)?,
            Link::Loopback(end) if happened.len() == before => end.take(happened, false),
            Link::Adapter(_) | Link::Loopback(_) => {}
        }
        Ok(())
    }

    /// The next connection of a listener.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): there is none now. Others: the system refuses.
    pub(crate) fn accept(&mut self, place: usize) -> io::Result<Stream> {
        match &mut self.link {
            Link::Kernel(end) => end.accept(place).map(Stream::Socket),
            Link::Adapter(end) => end.accept(place).map(Stream::Adapter),
            Link::Loopback(end) => end.accept(place).map(|stream| Stream::Loopback(Box::new(stream))),
        }
    }

    /// Has a policy decide on connections that begin.
    ///
    /// # Errors
    /// The network is no adapter's, or the adapter cannot do what the policy says.
    pub(crate) fn set_policy(&mut self, policy: Arc<Program>) -> Result<(), PolicyError> {
        match &mut self.link {
            Link::Kernel(_) | Link::Loopback(_) => Err(PolicyError::NoAdapter),
            Link::Adapter(end) => end.set_policy(policy).map_err(|error| PolicyError::Refused(error.to_string())),
        }
    }

    /// Takes connections of a socket that listens, too, at a place that is free.
    ///
    /// # Errors
    /// The system refuses, or this is no network of the kernel.
    pub(crate) fn listen(&mut self, place: usize, mut listener: TcpListener) -> io::Result<()> {
        match &mut self.link {
            Link::Kernel(end) => {
                self.poll.registry().register(&mut listener, Token(FIRST_LISTENER + place), Interest::READABLE)?;
                end.listen(place, listener);
                Ok(())
            }
            Link::Adapter(_) | Link::Loopback(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Listens at an address, too, at a place that is free, where the network has no sockets that others could bring. Who connects waits until
    /// connections of that place are asked for.
    ///
    /// # Errors
    /// The address cannot be listened at, or this is the kernel's network.
    pub(crate) fn reserve(&mut self, place: usize, address: SocketAddr) -> io::Result<()> {
        match &mut self.link {
            Link::Kernel(_) => Err(io::ErrorKind::Unsupported.into()),
            Link::Adapter(end) => end.listen(place, address),
            Link::Loopback(end) => end.listen(place, address),
        }
    }

    /// Takes no more connections at a place.
    pub(crate) fn unlisten(&mut self, place: usize) {
        match &mut self.link {
            Link::Kernel(end) => end.unlisten(place),
            Link::Adapter(end) => end.unlisten(place),
            Link::Loopback(end) => end.unlisten(place),
        }
    }

    /// Takes no more connections.
    pub(crate) fn stop_listening(&mut self) {
        match &mut self.link {
            Link::Kernel(end) => end.stop_listening(),
            Link::Adapter(end) => end.stop_listening(),
            Link::Loopback(end) => end.stop_listening(),
        }
    }

    /// Begins to connect to `host`, `host:port` or `[host]:port`; [`Happening::Connected`] tells under that token what has become of it.
    pub(crate) fn connect(&mut self, token: usize, address: &str, timeout: Duration) {
        match &mut self.link {
            Link::Kernel(end) => end.connect(token, address, timeout),
            Link::Adapter(end) => end.connect(token, address, timeout),
            Link::Loopback(end) => end.connect(token, address),
        }
    }

    /// A port on a connection, and its two ends, ours first. What happens on it is told under that token.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn open_port(
        &mut self,
        token: usize,
        stream: Stream,
        buffers: &BufferPool,
        capture: Option<&Capture>,
    ) -> io::Result<(Port, (SocketAddr, SocketAddr))> {
        match (stream, &mut self.link) {
            (Stream::Socket(mut stream), _) => {
                stream.set_nodelay(true)?;
                let ends = (stream.local_addr()?, stream.peer_addr()?);
                self.register(&mut stream, token)?;
                Ok((Port::over_socket(stream, buffers.clone(), capture, ends), ends))
            }
            (Stream::Adapter(connection), Link::Adapter(end)) => {
                let ends = end.open(token, &connection)?;
                Ok((Port::over_adapter(connection, capture, ends), ends))
            }
            (Stream::Loopback(stream), Link::Loopback(end)) => {
                let ends = end.open(token, &stream);
                Ok((Port::over_loopback(*stream, capture, ends), ends))
            }
            (Stream::Adapter(_) | Stream::Loopback(_), _) => {
                unreachable!("a connection stays with the network that it came from")
            }
        }
    }

    /// The connection of a port that came from another loop: what happens on it is told under that token.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn adopt_port(&self, token: usize, port: &mut Port) -> io::Result<()> {
        port.socket_mut().map_or(Ok(()), |stream| self.register(stream, token))
    }

    /// Nothing is told any more of the connection of a port, which goes to another loop.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn release_port(&self, port: &mut Port) -> io::Result<()> {
        port.socket_mut().map_or(Ok(()), |stream| self.poll.registry().deregister(stream))
    }

    fn register(&self, stream: &mut TcpStream, token: usize) -> io::Result<()> {
        self.poll.registry().register(stream, Token(token), Interest::READABLE | Interest::WRITABLE)
    }
}

impl Readiness {
    fn of(event: &mio::event::Event) -> Self {
        let ended = event.is_read_closed() || event.is_error();
        Self { readable: event.is_readable() || ended, writable: event.is_writable() || event.is_error(), ended }
    }
}
