//! The driver on the model: two functions of one adapter, a target's on PF4 and an initiator's on PF5, as on the real one.

use iscsi_pdu::{DataOut, Frame, InitiatorTaskTag, Pdu, TargetTransferTag};
use iscsi_transport::{BufferPool, Digests, Flush, PduPort, PortErrorKind, Received, SoftwarePort, conformance};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use t5_hal::dma::DmaMemory;
use t5_hal::driver::{Driver, DriverConfig, DriverEvent, OffloadMode, OpenTarget};
use t5_hal::wire::CplStatus;
use t5_hal::{Bus, Connection, SharedDriver, T5Port, T5Stream};
use t5_model::adapter::{Adapter, FunctionBus};
use t5_model::switch::{MacAddress, PortNumber};

const TARGET: u8 = 4;
const INITIATOR: u8 = 5;

/// A clock that goes on by a microsecond each time it is looked at.
fn clock() -> Box<dyn Fn() -> Duration + Send + Sync> {
    let ticks = AtomicU64::new(0);
    Box::new(move || Duration::from_micros(ticks.fetch_add(1, Ordering::Relaxed)))
}

fn bring_up(adapter: &Arc<Adapter>, pf: u8) -> SharedDriver<FunctionBus> {
    let memory = Arc::new(DmaMemory::new(0x1000_0000 * u64::from(pf), 32 << 20, 8 << 20));
    let bus = adapter.function(pf, memory);
    let start = Instant::now();
    let config = DriverConfig { seed: pf.into(), ..DriverConfig::default() };
    Rc::new(RefCell::new(Driver::bring_up(bus, config, &mut || start).unwrap()))
}

/// An adapter with its two drivers.
struct World {
    adapter: Arc<Adapter>,
    target: SharedDriver<FunctionBus>,
    initiator: SharedDriver<FunctionBus>,
    next_port: Cell<u16>,
    start: Instant,
}

impl World {
    fn new() -> Self {
        let adapter = Adapter::new(1, 7, clock());
        let (target, initiator) = (bring_up(&adapter, TARGET), bring_up(&adapter, INITIATOR));
        Self { adapter, target, initiator, next_port: Cell::new(20000), start: Instant::now() }
    }

    /// Lets everybody go on until something is told; no more than a while.
    fn wait<T>(&self, driver: &SharedDriver<FunctionBus>, mut wanted: impl FnMut(DriverEvent) -> Option<T>) -> T {
        for _ in 0..100_000 {
            self.target.borrow_mut().poll(self.start);
            self.initiator.borrow_mut().poll(self.start);
            while let Some(event) = driver.borrow_mut().poll_event() {
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        }
        panic!("nothing of that kind happens; faults: {:?}", self.faults());
    }

    fn faults(&self) -> Vec<t5_model::adapter::Fault> {
        [TARGET, INITIATOR].iter().flat_map(|&pf| std::iter::from_fn(move || self.adapter.take_fault(pf))).collect()
    }

    fn listen(&self, mode: OffloadMode) -> SocketAddr {
        let port = self.next_port.get();
        self.next_port.set(port + 1);
        let address: SocketAddr = format!("10.0.0.1:{port}").parse().unwrap();
        let listener = self.target.borrow_mut().listen(address, mode).unwrap();
        self.wait(&self.target, |event| match event {
            DriverEvent::Listening { listener: which, result } if which == listener => result.is_ok().then_some(()),
            _ => None,
        });
        address
    }

    fn open(&self, peer: SocketAddr, mode: OffloadMode) -> u32 {
        let port = self.next_port.get();
        self.next_port.set(port + 1);
        let local = format!("10.0.0.2:{port}").parse().unwrap();
        let peer_mac = self.target.borrow().adapter().mac;
        self.initiator.borrow_mut().connect(OpenTarget { local, peer, peer_mac, mode }).unwrap()
    }

    /// Connects both: the initiator's end, and the target's.
    fn connect(&self, mode: OffloadMode) -> (Connection<FunctionBus>, Connection<FunctionBus>) {
        let open = self.open(self.listen(mode), mode);
        let here = self.wait(&self.initiator, |event| match event {
            DriverEvent::Connected { open: which, connection } if which == open => Some(connection),
            DriverEvent::OpenFailed { status, .. } => panic!("refused with status {status}"),
            _ => None,
        });
        let there = self.wait(&self.target, |event| match event {
            DriverEvent::Accepted { connection, .. } => Some(connection),
            _ => None,
        });
        (Connection::new(Rc::clone(&self.initiator), here), Connection::new(Rc::clone(&self.target), there))
    }

    fn ports(&self) -> (T5Port<FunctionBus>, T5Port<FunctionBus>) {
        let (here, there) = self.connect(OffloadMode::Ulp);
        (T5Port::new(here), T5Port::new(there))
    }

    /// Nothing was done wrong, and nothing left the adapter.
    fn is_well(&self) {
        assert_eq!(self.faults(), []);
        assert_eq!(
            self.adapter.poll_wire(PortNumber::of(0)),
            None,
            "no frame between two local interfaces reaches the wire"
        );
    }
}

fn next(port: &mut impl PduPort, world: &World) -> Received {
    (0..10_000)
        .find_map(|_| port.receive().unwrap())
        .unwrap_or_else(|| panic!("no PDU comes; faults: {:?}", world.faults()))
}

fn data_out(tag: u32, offset: u32, data: Vec<u8>) -> Frame {
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

#[test]
fn two_functions_are_brought_up_on_one_adapter() {
    let world = World::new();
    let (target, initiator) = (world.target.borrow(), world.initiator.borrow());
    assert_eq!((target.adapter().pf, initiator.adapter().pf), (TARGET, INITIATOR));
    assert_ne!(target.adapter().mac, initiator.adapter().mac);
    assert!(target.adapter().pods.end <= initiator.adapter().pods.start, "each has page pods of its own");
    world.is_well();
}

#[test]
fn the_port_does_what_ports_do() {
    let world = World::new();
    conformance::run(|| world.ports());
    world.is_well();
}

#[test]
fn software_over_the_adapters_tcp_does_too() {
    let world = World::new();
    conformance::run(|| {
        let (here, there) = world.connect(OffloadMode::Toe);
        let port = |connection| SoftwarePort::new(T5Stream::new(connection), BufferPool::default());
        (port(here), port(there))
    });
    world.is_well();
}

#[test]
fn payload_of_a_tag_is_placed_and_lent() {
    let world = World::new();
    let (mut initiator, mut target) = world.ports();
    for digests in [Digests::default(), Digests { header: true, data: true }] {
        initiator.set_digests(digests);
        target.set_digests(digests);
        let tag = target.reserve(8192);
        let data: Vec<u8> = (0..8192u32).map(|at| (at / 3) as u8).collect();
        initiator.send(data_out(tag, 0, data[..4096].to_vec()));
        initiator.send(data_out(tag, 4096, data[4096..].to_vec()));
        while initiator.flush().unwrap() == Flush::Pending {}
        for half in data.chunks(4096) {
            let Received::Frame(frame) = next(&mut target, &world) else { panic!("a good PDU comes") };
            assert_eq!(frame.data, half);
            let driver = world.target.borrow();
            assert!(driver.bus().memory().locate(&frame.data).is_some(), "it is lent where it was placed");
        }
        target.release(tag);
    }
    assert_eq!(world.target.borrow().places_in_use(), 0);
    world.is_well();
}

#[test]
fn a_tag_that_was_given_back_places_nothing() {
    let world = World::new();
    let (mut initiator, mut target) = world.ports();
    let stale = target.reserve(4096);
    target.release(stale);
    initiator.send(data_out(stale, 0, vec![1; 4096]));
    initiator.flush().unwrap();
    // What has come is told, and never where the tag was.
    let told = (0..10_000).find_map(|_| target.receive().transpose());
    if let Some(Ok(Received::Frame(frame))) = told {
        assert_eq!(frame.data, vec![1; 4096]);
        assert!(world.target.borrow().bus().memory().locate(&frame.data).is_none());
    }
}

#[test]
fn nobody_listens() {
    let world = World::new();
    let open = world.open("10.0.0.1:3260".parse().unwrap(), OffloadMode::Ulp);
    let status = world.wait(&world.initiator, |event| match event {
        DriverEvent::OpenFailed { open: which, status } if which == open => Some(status),
        _ => None,
    });
    assert_eq!(CplStatus::from_wire(status), Some(CplStatus::ConnReset));
    world.is_well();
}

#[test]
fn an_orderly_end_leaves_no_connection() {
    let world = World::new();
    let (initiator, mut target) = world.ports();
    drop(initiator);
    let end = (0..10_000).find_map(|_| target.receive().err()).expect("the end is told");
    assert_eq!(end.kind(), PortErrorKind::Closed);
    drop(target);
    for _ in 0..1000 {
        world.target.borrow_mut().poll(world.start);
        world.initiator.borrow_mut().poll(world.start);
    }
    assert_eq!(world.target.borrow().connection_count() + world.initiator.borrow().connection_count(), 0);
    world.is_well();
}

#[test]
fn what_is_sent_is_counted() {
    let world = World::new();
    let (mut initiator, mut target) = world.ports();
    conformance::exchange(&mut initiator, &mut target, &[conformance::frame_with_data(4096)]);
    let macs = [world.initiator.borrow().adapter().mac, world.target.borrow().adapter().mac].map(MacAddress);
    world.adapter.with_switch(|switch| {
        let counters =
            |vin: u8| *switch.interface(t5_model::switch::InterfaceNumber::new(vin).unwrap()).unwrap().counters();
        let [first, second] = [0, 1].map(counters);
        assert_eq!(macs.map(|mac| mac.0[5]), [1, 0], "the initiator's interface came second");
        assert!(second.offloaded.bytes > 4096 && first.received.unicast == second.offloaded);
        assert_eq!(second.received.unicast, first.offloaded);
        let port = PortNumber::of(0);
        assert_eq!(switch.wire_counters(port).transmitted.total().frames, 0);
        assert_eq!(
            switch.loopback_counters(port).received.total().frames,
            first.offloaded.frames + second.offloaded.frames
        );
    });
}
