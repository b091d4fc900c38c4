//! A network within a process: PDUs go from one loop to another as values, and nothing else does.
//!
//! ```text
//!   function --- connects, rings ---> inbox of the other: connections, and which have something new
//!      ^                                    |
//!      '------------ LoopbackPort ----------'
//! ```

use super::kernel::resolve;
use super::{Happening, Readiness, Stream};
use iscsi_pdu::Frame;
use iscsi_transport::{Capabilities, Digests, Flush, LoopbackPort, PduPort, PortError, ReceiveLimits, Received};
use mio::Waker;
use parking_lot::Mutex;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a loop looks for more after something has happened before it sleeps: to be woken takes longer than an answer.
const LOOK: Duration = Duration::from_micros(100);
/// Our ports of connections that we begin, from here on. They name connections to people, no more.
const FIRST_PORT: u16 = 20_000;
/// No loop has the port of this end of a connection yet.
const NO_TOKEN: usize = usize::MAX;

/// One end of a network within this process, as the network of a server or of an initiator's sessions in the place of the kernel's TCP.
///
/// There is no network stack between the two: digests are agreed on and not made, since nothing can flip a bit.
#[derive(Debug)]
pub struct LoopbackFunction {
    own: Arc<Inbox>,
    other: Arc<Inbox>,
}

impl LoopbackFunction {
    /// A network: what listens on one end is reached from the other.
    #[must_use]
    pub fn pair() -> (Self, Self) {
        let (one, two) = (Arc::<Inbox>::default(), Arc::<Inbox>::default());
        (Self { own: Arc::clone(&one), other: Arc::clone(&two) }, Self { own: two, other: one })
    }

    /// Listens at an address, which is a name to the other end.
    pub(super) fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        let place = self.own.news.lock().listeners.len();
        self.listen_at(place, address)?;
        Ok(address)
    }

    fn listen_at(&self, place: usize, address: SocketAddr) -> io::Result<()> {
        if address.port() == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "nobody chooses a port within a process: name one",
            ));
        }
        let mut news = self.own.news.lock();
        if news.listeners.contains(&Some(address)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        if news.listeners.len() <= place {
            news.listeners.resize(place + 1, None);
        }
        news.listeners[place] = Some(address);
        Ok(())
    }
}

/// What one end is told by the other.
#[derive(Debug, Default)]
struct Inbox {
    news: Mutex<News>,
}

#[derive(Debug, Default)]
struct News {
    /// Addresses that are listened at, by their places.
    listeners: Vec<Option<SocketAddr>>,
    /// Connections that nobody has looked at, with the places of their listeners.
    incoming: Vec<(usize, LoopbackStream)>,
    /// Tokens of connections that may have something new.
    ready: Vec<usize>,
    /// Who has to be woken, if he sleeps.
    sleeper: Option<Arc<Waker>>,
}

impl Inbox {
    /// Puts something in, and wakes whoever sleeps.
    fn put(&self, news: impl FnOnce(&mut News)) {
        let sleeper = {
            let mut own = self.news.lock();
            news(&mut own);
            own.sleeper.take()
        };
        if let Some(Err(error)) = sleeper.map(|sleeper| sleeper.wake()) {
            tracing::warn!(%error, "cannot wake a loop");
        }
    }
}

/// What the two ends of a connection know of each other, ours at our place.
#[derive(Debug)]
struct Meeting {
    addresses: [SocketAddr; 2],
    tokens: [AtomicUsize; 2],
    /// Ends that have more to send than there was room for.
    waiting: [AtomicBool; 2],
}

/// Tells the other end of a connection that it may have something new; for the last time when our end is gone.
#[derive(Debug)]
struct Bell {
    meeting: Arc<Meeting>,
    /// Our place.
    place: usize,
    other: Arc<Inbox>,
}

impl Bell {
    fn ring(&self) {
        let token = self.meeting.tokens[1 - self.place].load(Ordering::SeqCst);
        // Who has no port yet looks at it when he gets it.
        if token != NO_TOKEN {
            self.other.put(|news| {
                if news.ready.last() != Some(&token) {
                    news.ready.push(token);
                }
            });
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.ring();
    }
}

/// One end of a connection. The port is dropped before the bell, which tells the other end.
#[derive(Debug)]
pub(crate) struct LoopbackStream {
    port: LoopbackPort,
    /// Whether something was sent since the bell was rung.
    is_new: bool,
    bell: Bell,
}

impl LoopbackStream {
    /// Its addresses, ours first.
    pub(super) fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let Bell { meeting, place, .. } = &self.bell;
        (meeting.addresses[*place], meeting.addresses[1 - place])
    }
}

impl PduPort for LoopbackStream {
    fn capabilities(&self) -> &Capabilities {
        self.port.capabilities()
    }

    fn reserve(&mut self, length: u32) -> u32 {
        self.port.reserve(length)
    }

    fn release(&mut self, tag: u32) {
        self.port.release(tag);
    }

    fn receive(&mut self) -> Result<Option<Received>, PortError> {
        let received = self.port.receive();
        // What was taken makes room.
        let waiting = &self.bell.meeting.waiting[1 - self.bell.place];
        if waiting.load(Ordering::SeqCst) && waiting.swap(false, Ordering::SeqCst) {
            self.bell.ring();
        }
        received
    }

    fn can_send(&self) -> bool {
        self.port.can_send()
    }

    fn send(&mut self, frame: Frame) {
        self.is_new = true;
        self.port.send(frame);
    }

    fn flush(&mut self) -> Result<Flush, PortError> {
        let mut flushed = self.port.flush();
        if matches!(flushed, Ok(Flush::Pending)) {
            self.bell.meeting.waiting[self.bell.place].store(true, Ordering::SeqCst);
            // Room that came before that was known is not told.
            flushed = self.port.flush();
        }
        if std::mem::take(&mut self.is_new) || matches!(flushed, Ok(Flush::Pending)) {
            self.bell.ring();
        }
        flushed
    }

    fn finish(&mut self) {
        self.port.finish();
        self.bell.ring();
    }

    fn set_digests(&mut self, digests: Digests) {
        self.port.set_digests(digests);
    }

    fn set_receive_limits(&mut self, limits: ReceiveLimits) {
        self.port.set_receive_limits(limits);
    }
}

impl Drop for LoopbackEnd {
    fn drop(&mut self) {
        self.stop_listening();
    }
}

/// A loop's end.
pub(super) struct LoopbackEnd {
    function: LoopbackFunction,
    waker: Arc<Waker>,
    next_port: u16,
    /// Connections that were not accepted yet, with the places of their listeners.
    incoming: Vec<(usize, LoopbackStream)>,
    /// What is to be told without the other end.
    untold: Vec<Happening>,
    /// Until when to look before sleeping.
    look_until: Instant,
}

impl LoopbackEnd {
    pub(super) fn new(function: LoopbackFunction, waker: Arc<Waker>) -> Self {
        let look_until = Instant::now();
        Self { function, waker, next_port: FIRST_PORT, incoming: Vec::new(), untold: Vec::new(), look_until }
    }

    /// Appends what has happened. Gives how long to sleep then: for `timeout` at most, and not at all if there was something.
    pub(super) fn prepare_to_sleep(
        &mut self,
        happened: &mut Vec<Happening>,
        timeout: Option<Duration>,
    ) -> Option<Duration> {
        let before = happened.len();
        let until = timeout.map_or(self.look_until, |timeout| self.look_until.min(Instant::now() + timeout));
        self.take(happened, false);
        while happened.len() == before && Instant::now() < until {
            std::hint::spin_loop();
            self.take(happened, false);
        }
        if happened.len() == before && timeout != Some(Duration::ZERO) {
            self.take(happened, true);
        }
        if happened.len() > before {
            self.look_until = Instant::now() + LOOK;
            return Some(Duration::ZERO);
        }
        timeout
    }

    /// Appends what has happened; if that is nothing and we are to sleep, the other end will wake us.
    pub(super) fn take(&mut self, happened: &mut Vec<Happening>, to_sleep: bool) {
        happened.append(&mut self.untold);
        let mut news = self.function.own.news.lock();
        happened.extend(news.ready.drain(..).map(|token| Happening::Ready(token, Readiness::default())));
        happened.extend(news.incoming.iter().map(|&(place, _)| Happening::Incoming(place)));
        self.incoming.append(&mut news.incoming);
        news.sleeper = (to_sleep && happened.is_empty()).then(|| Arc::clone(&self.waker));
    }

    pub(super) fn accept(&mut self, place: usize) -> io::Result<LoopbackStream> {
        let at = self.incoming.iter().position(|&(listener, _)| listener == place).ok_or(io::ErrorKind::WouldBlock)?;
        Ok(self.incoming.remove(at).1)
    }

    /// Listens at a place that is free. Who comes waits until somebody asks for connections of that place.
    pub(super) fn listen(&mut self, place: usize, address: SocketAddr) -> io::Result<()> {
        self.function.listen_at(place, address)
    }

    /// Connections of that place that were not accepted are closed.
    pub(super) fn unlisten(&mut self, place: usize) {
        let dropped: Vec<_> = {
            let mut news = self.function.own.news.lock();
            if let Some(listener) = news.listeners.get_mut(place) {
                *listener = None;
            }
            let of_place = |incoming: &mut Vec<(usize, LoopbackStream)>| -> Vec<_> {
                incoming.extract_if(.., |(listener, _)| *listener == place).collect()
            };
            [of_place(&mut news.incoming), of_place(&mut self.incoming)].into_iter().flatten().collect()
        };
        // Their bells take the other end's lock.
        drop(dropped);
    }

    pub(super) fn stop_listening(&mut self) {
        self.incoming.clear();
        let dropped = {
            let mut news = self.function.own.news.lock();
            news.listeners.clear();
            std::mem::take(&mut news.incoming)
        };
        // Their bells take the other end's lock.
        drop(dropped);
    }

    pub(super) fn connect(&mut self, token: usize, address: &str) {
        let connected = self.begin(address).map(|stream| Stream::Loopback(Box::new(stream)));
        self.untold.push(Happening::Connected(token, connected));
    }

    fn begin(&mut self, address: &str) -> io::Result<LoopbackStream> {
        let peers = resolve(address)?;
        let own = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.next_port);
        self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
        let LoopbackFunction { own: inbox, other } = &self.function;
        let mut connected = Err(io::ErrorKind::ConnectionRefused.into());
        other.put(|news| {
            let found =
                peers.iter().find_map(|peer| Some((news.listeners.iter().position(|at| *at == Some(*peer))?, *peer)));
            let Some((place, peer)) = found else { return };
            let meeting = Arc::new(Meeting {
                addresses: [own, peer],
                tokens: [const { AtomicUsize::new(NO_TOKEN) }; 2],
                waiting: [const { AtomicBool::new(false) }; 2],
            });
            let (ours, theirs) = LoopbackPort::pair();
            let end = |port, place, other: &Arc<Inbox>| LoopbackStream {
                port,
                is_new: false,
                bell: Bell { meeting: Arc::clone(&meeting), place, other: Arc::clone(other) },
            };
            news.incoming.push((place, end(theirs, 1, inbox)));
            connected = Ok(end(ours, 0, other));
        });
        connected
    }

    /// What happens on a connection is told under that token from now on. Gives its ends, ours first.
    pub(super) fn open(&mut self, token: usize, stream: &LoopbackStream) -> (SocketAddr, SocketAddr) {
        stream.bell.meeting.tokens[stream.bell.place].store(token, Ordering::SeqCst);
        self.untold.push(Happening::Ready(token, Readiness::default()));
        stream.addresses()
    }
}
