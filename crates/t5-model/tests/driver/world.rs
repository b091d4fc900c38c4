//! Two drivers on the model, and how they are connected.

use iscsi_pdu::{DataOut, Frame, InitiatorTaskTag, Pdu, TargetTransferTag};
use iscsi_transport::{Flush, PduPort, Received};
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use t5_hal::dma::DmaMemory;
use t5_hal::driver::{Driver, DriverConfig, DriverEvent, OffloadMode, OpenTarget};
use t5_hal::wire::FunctionId;
use t5_hal::{Connection, SharedDriver, T5Port};
use t5_model::adapter::{Adapter, FunctionBus};
use t5_model::switch::PortNumber;
use t5_model::wire::{Wire, WireFaults};

pub(crate) const TARGET: FunctionId = FunctionId::physical(4);
pub(crate) const INITIATOR: FunctionId = FunctionId::physical(5);
/// The target's and the initiator's.
pub(crate) const PHYSICAL: [FunctionId; 2] = [TARGET, INITIATOR];
/// Virtual functions that can be both, of two physical ones with one port.
pub(crate) const VIRTUAL: [FunctionId; 2] = [FunctionId::virtual_of(0, 1), FunctionId::virtual_of(2, 16)];

/// Addresses of the target and of the initiator.
const HOSTS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2))];

/// One that loses, repeats and spoils frames, and lets later ones pass.
pub(crate) const BAD_CABLE: WireFaults = WireFaults {
    loss: 0.01,
    repeat: 0.01,
    spoil: 0.01,
    delay: Duration::from_micros(30),
    jitter: Duration::from_micros(100),
};

/// A clock that goes on by so many microseconds each time it is looked at.
#[derive(Clone)]
struct Ticks(Arc<AtomicU64>, u64);

impl Ticks {
    fn now(&self) -> Duration {
        Duration::from_micros(self.0.fetch_add(self.1, Ordering::Relaxed))
    }

    fn adapter(&self, number: u8) -> Arc<Adapter> {
        let ticks = self.clone();
        Adapter::new(number, u64::from(number), Box::new(move || ticks.now()))
    }
}

fn bring_up(adapter: &Arc<Adapter>, id: FunctionId, host: IpAddr) -> SharedDriver<FunctionBus> {
    let memory = Arc::new(DmaMemory::new(0x1000_0000 + (u64::from(id.to_wire()) << 32), 32 << 20, 8 << 20));
    let bus = adapter.function(id, memory);
    let start = Instant::now();
    // An address of IPv4 need not be known.
    let addresses = if host.is_ipv6() { vec![(host, 64)] } else { Vec::new() };
    let config = DriverConfig { seed: id.pf().into(), addresses, ..DriverConfig::default() };
    Rc::new(RefCell::new(Driver::bring_up(bus, config, &mut || start).unwrap()))
}

/// Two drivers, of one adapter or of two with a cable between them.
pub(crate) struct World {
    /// The target's and the initiator's.
    pub(crate) adapters: [Arc<Adapter>; 2],
    /// To the target and to the initiator, if they do not share an adapter.
    cable: Option<RefCell<[Wire; 2]>>,
    ticks: Ticks,
    /// Addresses of the target and of the initiator.
    hosts: [IpAddr; 2],
    pub(crate) target: SharedDriver<FunctionBus>,
    pub(crate) initiator: SharedDriver<FunctionBus>,
    next_port: Cell<u16>,
    pub(crate) start: Instant,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::between(PHYSICAL)
    }

    /// Of other functions than usual.
    pub(crate) fn between(functions: [FunctionId; 2]) -> Self {
        let ticks = Ticks(Arc::default(), 1);
        let adapter = ticks.adapter(1);
        Self::of([Arc::clone(&adapter), adapter], functions, HOSTS, None, ticks)
    }

    /// With addresses of IPv6.
    pub(crate) fn of_ipv6(functions: [FunctionId; 2]) -> Self {
        let ticks = Ticks(Arc::default(), 1);
        let adapter = ticks.adapter(1);
        let hosts = [1, 2].map(|host| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host).into());
        Self::of([Arc::clone(&adapter), adapter], functions, hosts, None, ticks)
    }

    /// One in which time stands still: nothing happens just because some has passed.
    pub(crate) fn frozen() -> Self {
        let ticks = Ticks(Arc::default(), 0);
        let adapter = ticks.adapter(1);
        Self::of([Arc::clone(&adapter), adapter], PHYSICAL, HOSTS, None, ticks)
    }

    pub(crate) fn over(functions: [FunctionId; 2], faults: WireFaults) -> Self {
        let ticks = Ticks(Arc::default(), 20);
        let cable = RefCell::new([1, 2].map(|seed| Wire::new(faults, seed)));
        Self::of([1, 2].map(|number| ticks.adapter(number)), functions, HOSTS, Some(cable), ticks)
    }

    fn of(
        adapters: [Arc<Adapter>; 2],
        functions: [FunctionId; 2],
        hosts: [IpAddr; 2],
        cable: Option<RefCell<[Wire; 2]>>,
        ticks: Ticks,
    ) -> Self {
        let [target, initiator] = [0, 1].map(|at| bring_up(&adapters[at], functions[at], hosts[at]));
        Self { adapters, cable, ticks, hosts, target, initiator, next_port: Cell::new(20000), start: Instant::now() }
    }

    /// Lets both adapters come forward and carries frames between them, if there is a cable.
    pub(crate) fn carry(&self) {
        let Some(cable) = &self.cable else { return };
        self.adapters.iter().for_each(|adapter| _ = adapter.poll());
        let (now, port) = (self.ticks.now(), PortNumber::of(0));
        for (at, wire) in cable.borrow_mut().iter_mut().enumerate() {
            while let Some(frame) = self.adapters[1 - at].poll_wire(port) {
                wire.send(frame, now);
            }
            while let Some(frame) = wire.poll(now) {
                self.adapters[at].handle_wire(port, frame);
            }
        }
    }

    /// Lets everybody go on until something is told; no more than a while.
    pub(crate) fn wait<T>(
        &self,
        driver: &SharedDriver<FunctionBus>,
        mut wanted: impl FnMut(DriverEvent) -> Option<T>,
    ) -> T {
        for _ in 0..100_000 {
            self.target.borrow_mut().poll(self.start);
            self.initiator.borrow_mut().poll(self.start);
            self.carry();
            while let Some(event) = driver.borrow_mut().poll_event() {
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        }
        panic!("nothing of that kind happens; faults: {:?}", self.faults());
    }

    pub(crate) fn faults(&self) -> Vec<t5_model::adapter::Fault> {
        let drivers =
            self.adapters.iter().zip([&self.target, &self.initiator].map(|driver| driver.borrow().adapter().function));
        drivers.flat_map(|(adapter, id)| std::iter::from_fn(move || adapter.take_fault(id))).collect()
    }

    pub(crate) fn listen(&self, mode: OffloadMode) -> SocketAddr {
        let port = self.next_port.get();
        self.next_port.set(port + 1);
        let address = SocketAddr::new(self.hosts[0], port);
        let listener = self.target.borrow_mut().listen(address, mode).unwrap();
        self.wait(&self.target, |event| match event {
            DriverEvent::Listening { listener: which, result } if which == listener => result.is_ok().then_some(()),
            _ => None,
        });
        address
    }

    pub(crate) fn open(&self, peer: SocketAddr, mode: OffloadMode) -> u32 {
        let port = self.next_port.get();
        self.next_port.set(port + 1);
        let local = SocketAddr::new(self.hosts[1], port);
        let peer_mac = self.target.borrow().adapter().mac;
        self.initiator.borrow_mut().connect(OpenTarget { local, peer, peer_mac, mode }).unwrap()
    }

    /// Connects both: the initiator's end, and the target's.
    pub(crate) fn connect(&self, mode: OffloadMode) -> (Connection<FunctionBus>, Connection<FunctionBus>) {
        let here = self.connect_initiator(mode);
        (here, self.accept())
    }

    pub(crate) fn connect_initiator(&self, mode: OffloadMode) -> Connection<FunctionBus> {
        let open = self.open(self.listen(mode), mode);
        let here = self.wait(&self.initiator, |event| match event {
            DriverEvent::Connected { open: which, connection } if which == open => Some(connection),
            DriverEvent::OpenFailed { status, .. } => panic!("refused with status {status}"),
            _ => None,
        });
        Connection::new(Rc::clone(&self.initiator), here)
    }

    pub(crate) fn accept(&self) -> Connection<FunctionBus> {
        let there = self.wait(&self.target, |event| match event {
            DriverEvent::Accepted { connection, .. } => Some(connection),
            _ => None,
        });
        Connection::new(Rc::clone(&self.target), there)
    }

    pub(crate) fn ports(&self) -> (T5Port<FunctionBus>, T5Port<FunctionBus>) {
        let (here, there) = self.connect(OffloadMode::Ulp);
        (T5Port::new(here), T5Port::new(there))
    }

    /// Ports from the initiator to a third driver of the same adapter.
    pub(crate) fn ports_to_another(&self) -> (T5Port<FunctionBus>, T5Port<FunctionBus>) {
        let other = bring_up(&self.adapters[0], FunctionId::physical(0), self.hosts[0]);
        let (mode, peer) = (OffloadMode::Ulp, "10.0.0.3:3260".parse().unwrap());
        other.borrow_mut().listen(peer, mode).unwrap();
        other.borrow_mut().poll(self.start);
        let (local, peer_mac) = ("10.0.0.2:3333".parse().unwrap(), other.borrow().adapter().mac);
        self.initiator.borrow_mut().connect(OpenTarget { local, peer, peer_mac, mode }).unwrap();
        let (mut here, mut there) = (None, None);
        for _ in 0..100_000 {
            [&self.initiator, &other].iter().for_each(|driver| driver.borrow_mut().poll(self.start));
            if let Some(DriverEvent::Connected { connection, .. }) = self.initiator.borrow_mut().poll_event() {
                here = Some(connection);
            }
            if let Some(DriverEvent::Accepted { connection, .. }) = other.borrow_mut().poll_event() {
                there = Some(connection);
            }
            if let (Some(here), Some(there)) = (here, there) {
                let port = |driver: &SharedDriver<FunctionBus>, connection| {
                    T5Port::new(Connection::new(Rc::clone(driver), connection))
                };
                return (port(&self.initiator, here), port(&other, there));
            }
        }
        panic!("no connection to the third driver");
    }

    /// Nothing was done wrong, and nothing left the adapter.
    pub(crate) fn is_well(&self) {
        assert_eq!(self.faults(), []);
        assert_eq!(
            self.adapters[0].poll_wire(PortNumber::of(0)),
            None,
            "no frame between two local interfaces reaches the wire"
        );
    }
}

pub(crate) fn next(port: &mut impl PduPort, world: &World) -> Received {
    (0..100_000)
        .find_map(|_| {
            world.carry();
            port.receive().unwrap()
        })
        .unwrap_or_else(|| panic!("no PDU comes; faults: {:?}", world.faults()))
}

/// A place whose pods the adapter has, as whoever tells the tag to a peer sends that after them.
pub(crate) fn place(port: &mut T5Port<FunctionBus>, bytes: u32) -> u32 {
    let tag = port.reserve(bytes);
    assert_eq!(port.flush(), Ok(Flush::Done));
    tag
}

pub(crate) fn data_out(tag: u32, offset: u32, data: Vec<u8>) -> Frame {
    Pdu::from(DataOut {
        initiator_task_tag: InitiatorTaskTag(7),
        target_transfer_tag: Some(TargetTransferTag(tag)),
        buffer_offset: offset,
        data: data.into(),
        is_final: true,
        ..DataOut::default()
    })
    .encode()
}
