//! A function of a T5 adapter as a network: the adapter does TCP and iSCSI, and its driver tells what happens.

use super::kernel::resolve;
use super::{Happening, Readiness, Stream};
use mio::Waker;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Wake;
use std::time::{Duration, Instant};
use t5_hal::driver::{Driver, DriverError, DriverEvent, OffloadMode, OpenTarget};
use t5_hal::wire::CplStatus;
use t5_hal::{Bus, Connection, SharedDriver};
use t5_policy::Program;

/// How a function is reached, be it of an adapter or of a model of one.
pub type AdapterBus = Arc<dyn Bus + Send + Sync>;

/// How long an adapter may take to say that it listens.
const LISTEN_PATIENCE: Duration = Duration::from_secs(5);
/// How long a loop looks for more after something has happened before it sleeps. Its look lets an adapter that is a program come forward, and
/// to be woken takes longer than what an adapter does at once.
const LOOK: Duration = Duration::from_micros(100);
/// Our ports of connections that we begin, from here on.
const FIRST_PORT: u16 = 20_000;

/// A function of a T5 adapter, as the network of a server or of an initiator's sessions in the place of the kernel's TCP.
///
/// It has one driver, which belongs to one thread.
pub struct AdapterFunction {
    driver: Driver<AdapterBus>,
    vector: u16,
    address: IpAddr,
    neighbours: HashMap<IpAddr, [u8; 6]>,
    gateway: Option<[u8; 6]>,
    listeners: Vec<u32>,
}

impl fmt::Debug for AdapterFunction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AdapterFunction").field("address", &self.address).finish_non_exhaustive()
    }
}

impl AdapterFunction {
    /// A function whose driver has come up, with its address. Its interrupts are those of `vector`.
    #[must_use]
    pub fn new(driver: Driver<AdapterBus>, vector: u16, address: IpAddr) -> Self {
        Self { driver, vector, address, neighbours: HashMap::new(), gateway: None, listeners: Vec::new() }
    }

    /// Says at which address of the link another host is. Connections to others cannot be begun without a [`gateway`](Self::gateway).
    #[must_use]
    pub fn neighbour(mut self, address: IpAddr, mac: [u8; 6]) -> Self {
        self.neighbours.insert(address, mac);
        self
    }

    /// Says at which address of the link somebody is who passes on what is for hosts that are no neighbours.
    #[must_use]
    pub fn gateway(mut self, mac: [u8; 6]) -> Self {
        self.gateway = Some(mac);
        self
    }

    /// Its address of the link.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.driver.adapter().mac
    }

    /// Listens at an address of the function.
    pub(super) fn listen(&mut self, address: SocketAddr) -> io::Result<SocketAddr> {
        // Nobody can have connected before it listens at all.
        self.listeners.push(listen(&mut self.driver, address, &mut |_| {})?);
        Ok(address)
    }
}

/// Listens at an address; what else happens until the adapter says that it does goes to `other`. Gives the listener's number.
fn listen(driver: &mut Driver<AdapterBus>, address: SocketAddr, other: &mut dyn FnMut(DriverEvent)) -> io::Result<u32> {
    if address.port() == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an adapter chooses no port: name one"));
    }
    let number = driver.listen(address, OffloadMode::Ulp).map_err(io::Error::other)?;
    let until = Instant::now() + LISTEN_PATIENCE;
    while Instant::now() < until {
        driver.poll(Instant::now());
        while let Some(event) = driver.poll_event() {
            match event {
                DriverEvent::Listening { listener, result } if listener == number => {
                    return result.map(|()| number).map_err(refusal);
                }
                event => other(event),
            }
        }
        std::thread::yield_now();
    }
    driver.unlisten(number);
    Err(io::Error::new(io::ErrorKind::TimedOut, "the adapter does not say that it listens"))
}

/// The interrupt of a function wakes the loop that has its driver.
struct Interrupt(Arc<Waker>);

impl Wake for Interrupt {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Err(error) = self.0.wake() {
            tracing::warn!(%error, "cannot wake the loop of an adapter");
        }
    }
}

/// A connection that was begun.
struct Opening {
    token: usize,
    /// When it is given up; none if never.
    until: Option<Instant>,
}

pub(super) struct AdapterEnd {
    driver: SharedDriver<AdapterBus>,
    address: IpAddr,
    neighbours: HashMap<IpAddr, [u8; 6]>,
    gateway: Option<[u8; 6]>,
    /// Numbers of listeners by their places.
    listeners: Vec<Option<u32>>,
    /// Connections that were not accepted yet, with the places of their listeners.
    incoming: VecDeque<(usize, Connection<AdapterBus>)>,
    /// By the number of the open.
    openings: HashMap<u32, Opening>,
    next_port: u16,
    /// By number of the connection.
    tokens: Vec<Option<usize>>,
    /// What is to be told without the adapter: new ports may have received something already.
    untold: Vec<Happening>,
    /// Until when to look before sleeping.
    look_until: Instant,
}

impl AdapterEnd {
    pub(super) fn new(function: AdapterFunction, waker: &Arc<Waker>) -> Self {
        let AdapterFunction { driver, vector, address, neighbours, gateway, listeners } = function;
        driver.bus().set_waker(vector, std::task::Waker::from(Arc::new(Interrupt(Arc::clone(waker)))));
        Self {
            driver: SharedDriver::new(driver.into()),
            address,
            neighbours,
            gateway,
            listeners: listeners.into_iter().map(Some).collect(),
            incoming: VecDeque::new(),
            openings: HashMap::new(),
            next_port: any_port(),
            tokens: Vec::new(),
            untold: Vec::new(),
            look_until: Instant::now(),
        }
    }

    /// Has a policy decide on connections that begin.
    pub(super) fn set_policy(&mut self, policy: Arc<Program>) -> Result<(), DriverError> {
        self.driver.borrow_mut().set_policy(Some(policy))
    }

    /// Appends what has happened. Gives how long to sleep then: for `timeout` at most, and not at all if there was something.
    pub(super) fn prepare_to_sleep(
        &mut self,
        happened: &mut Vec<Happening>,
        timeout: Option<Duration>,
    ) -> io::Result<Option<Duration>> {
        let before = happened.len();
        let begun = Instant::now();
        let until = timeout.and_then(|timeout| begun.checked_add(timeout));
        let until = until.map_or(self.look_until, |until| self.look_until.min(until));
        self.take(happened)?;
        while happened.len() == before && Instant::now() < until {
            std::hint::spin_loop();
            self.take(happened)?;
        }
        if happened.len() == before && timeout != Some(Duration::ZERO) {
            self.driver.borrow_mut().arm();
            // What came before it was armed makes no interrupt.
            self.take(happened)?;
        }
        if happened.len() > before {
            self.look_until = Instant::now() + LOOK;
            return Ok(Some(Duration::ZERO));
        }
        let openings = self.openings.values().filter_map(|opening| opening.until);
        let due = openings.chain(self.driver.borrow().poll_timeout()).min();
        let due = due.map(|due| due.saturating_duration_since(Instant::now()));
        Ok([timeout, due].into_iter().flatten().min())
    }

    /// Appends what has happened.
    pub(super) fn take(&mut self, happened: &mut Vec<Happening>) -> io::Result<()> {
        let (before, now) = (happened.len(), Instant::now());
        happened.append(&mut self.untold);
        self.driver.borrow_mut().poll(now);
        loop {
            let Some(event) = self.driver.borrow_mut().poll_event() else { break };
            self.handle_event(event, happened);
        }
        self.openings.retain(|_, opening| {
            let is_late = opening.until.is_some_and(|until| until <= now);
            if is_late {
                happened.push(Happening::Connected(opening.token, Err(io::ErrorKind::TimedOut.into())));
            }
            !is_late
        });
        match self.driver.borrow().failure() {
            Some(failure) if happened.len() == before => Err(io::Error::other(failure.to_string())),
            _ => Ok(()),
        }
    }

    fn handle_event(&mut self, event: DriverEvent, happened: &mut Vec<Happening>) {
        match event {
            DriverEvent::Ready { connection } => {
                if let Some(&Some(token)) = self.tokens.get(connection as usize) {
                    happened.push(Happening::Ready(token, Readiness::default()));
                }
            }
            DriverEvent::Accepted { listener, connection } => {
                // Nobody has its port yet.
                self.forget(connection);
                let connection = Connection::new(SharedDriver::clone(&self.driver), connection);
                // One of a listener that is given up is closed.
                if let Some(place) = self.listeners.iter().position(|&number| number == Some(listener)) {
                    self.incoming.push_back((place, connection));
                    happened.push(Happening::Incoming(place));
                }
            }
            DriverEvent::Connected { open, connection } => {
                self.forget(connection);
                let connection = Connection::new(SharedDriver::clone(&self.driver), connection);
                // One that came too late is closed.
                if let Some(Opening { token, .. }) = self.openings.remove(&open) {
                    happened.push(Happening::Connected(token, Ok(Stream::Adapter(connection))));
                }
            }
            DriverEvent::OpenFailed { open, status } => {
                if let Some(Opening { token, .. }) = self.openings.remove(&open) {
                    happened.push(Happening::Connected(token, Err(refusal(status))));
                }
            }
            DriverEvent::Listening { .. }
            | DriverEvent::ListenerClosed { .. }
            | DriverEvent::Filter { .. }
            | DriverEvent::FilterHits { .. } => {}
        }
    }

    /// A connection of that number is another than the last.
    fn forget(&mut self, connection: u32) {
        if let Some(token) = self.tokens.get_mut(connection as usize) {
            *token = None;
        }
    }

    pub(super) fn accept(&mut self, place: usize) -> io::Result<Connection<AdapterBus>> {
        let at = self.incoming.iter().position(|&(listener, _)| listener == place);
        let found = at.and_then(|at| self.incoming.remove(at));
        found.map(|(_, connection)| connection).ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    /// Listens at a place that is free. Who comes waits until somebody asks for connections of that place.
    pub(super) fn listen(&mut self, place: usize, address: SocketAddr) -> io::Result<()> {
        let mut events = Vec::new();
        let listening = listen(&mut self.driver.borrow_mut(), address, &mut |event| events.push(event));
        if self.listeners.len() <= place {
            self.listeners.resize(place + 1, None);
        }
        self.listeners[place] = listening.as_ref().ok().copied();
        let mut happened = std::mem::take(&mut self.untold);
        events.into_iter().for_each(|event| self.handle_event(event, &mut happened));
        self.untold = happened;
        listening.map(drop)
    }

    /// Connections of that place that were not accepted are closed.
    pub(super) fn unlisten(&mut self, place: usize) {
        self.incoming.retain(|&(listener, _)| listener != place);
        if let Some(listener) = self.listeners.get_mut(place).and_then(Option::take) {
            self.driver.borrow_mut().unlisten(listener);
        }
    }

    pub(super) fn stop_listening(&mut self) {
        (0..self.listeners.len()).for_each(|place| self.unlisten(place));
    }

    pub(super) fn connect(&mut self, token: usize, address: &str, timeout: Duration) {
        match self.begin(address) {
            Ok(open) => {
                let until = Instant::now().checked_add(timeout);
                self.openings.insert(open, Opening { token, until });
            }
            Err(error) => self.untold.push(Happening::Connected(token, Err(error))),
        }
    }

    fn begin(&mut self, address: &str) -> io::Result<u32> {
        let peers = resolve(address)?;
        let gateway = |peer: &SocketAddr| self.gateway.filter(|_| peer.is_ipv4() == self.address.is_ipv4());
        let next_hop = |peer: &SocketAddr| self.neighbours.get(&peer.ip()).copied().or_else(|| gateway(peer));
        let reached = peers.iter().find_map(|peer| Some((*peer, next_hop(peer)?)));
        let unreachable =
            || io::Error::new(io::ErrorKind::HostUnreachable, "no neighbour of the adapter has this address");
        let (peer, peer_mac) = reached.ok_or_else(unreachable)?;
        let local = SocketAddr::new(self.address, self.next_port);
        self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
        let target = OpenTarget { local, peer, peer_mac, mode: OffloadMode::Ulp };
        self.driver.borrow_mut().connect(target).map_err(io::Error::other)
    }

    /// What happens on a connection is told under that token from now on. Gives its ends, ours first.
    pub(super) fn open(
        &mut self,
        token: usize,
        connection: &Connection<AdapterBus>,
    ) -> io::Result<(SocketAddr, SocketAddr)> {
        let ends = self.driver.borrow().addresses(connection.tid()).ok_or(io::ErrorKind::NotConnected)?;
        let number = connection.tid() as usize;
        if self.tokens.len() <= number {
            self.tokens.resize(number + 1, None);
        }
        self.tokens[number] = Some(token);
        self.untold.push(Happening::Ready(token, Readiness::default()));
        Ok(ends)
    }
}

/// A port to begin with: one that was used at this address a moment ago, by a process that has ended, may be waited for at the other end.
fn any_port() -> u16 {
    let ports = u64::from(u16::MAX - FIRST_PORT);
    FIRST_PORT + (RandomState::new().build_hasher().finish() % ports) as u16
}

/// What a status of the adapter means.
fn refusal(status: u8) -> io::Error {
    let kind = match CplStatus::from_wire(status) {
        Some(CplStatus::ConnReset) => io::ErrorKind::ConnectionRefused,
        Some(CplStatus::ArpMiss) => io::ErrorKind::HostUnreachable,
        Some(CplStatus::ConnTimedOut) => io::ErrorKind::TimedOut,
        Some(CplStatus::TcamFull) => {
            let share = "the function has all the connections, or all the memory for windows, that the adapter gives it: end some of them";
            return io::Error::new(io::ErrorKind::OutOfMemory, share);
        }
        Some(CplStatus::ConnExist) => io::ErrorKind::AddrInUse,
        _ => return io::Error::other(format!("the adapter refuses with status {status}")),
    };
    kind.into()
}
