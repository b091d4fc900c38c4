//! Offload policies on the model: what the driver offloads, how, and by which queue.

use bytes::BytesMut;
use iscsi_pdu::{Frame, NopOut, Pdu};
use iscsi_transport::{ByteStream, Flush, PduPort, Received};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use t5_hal::dma::DmaMemory;
use t5_hal::driver::{Driver, DriverConfig, DriverError, DriverEvent, OffloadMode, OpenTarget};
use t5_hal::wire::{CplStatus, FunctionId};
use t5_hal::{Connection, SharedDriver, T5Port, T5Stream};
use t5_model::adapter::{Adapter, FunctionBus};
use t5_policy::Policy;

const QUEUES: u16 = 4;
const LOCAL: &str = "10.0.0.1:3260";

/// A target's driver on PF4, with four queues, and an initiator's on PF5.
struct World {
    target: SharedDriver<FunctionBus>,
    initiator: SharedDriver<FunctionBus>,
    next_port: u16,
    start: Instant,
}

impl World {
    fn new(target: DriverConfig) -> Self {
        let ticks = AtomicU64::new(0);
        let clock = move || Duration::from_micros(ticks.fetch_add(1, Ordering::Relaxed));
        let adapter = Adapter::new(1, 1, Box::new(clock));
        let start = Instant::now();
        let bring_up = |pf: u8, config: DriverConfig| {
            let memory = Arc::new(DmaMemory::new(0x1000_0000 * u64::from(pf), 32 << 20, 4 << 20));
            Rc::new(RefCell::new(
                Driver::bring_up(adapter.function(FunctionId::physical(pf), memory), config, &mut || start).unwrap(),
            ))
        };
        let config = DriverConfig { ingress_queues: QUEUES, cpu: 6, seed: 4, ..target };
        Self { target: bring_up(4, config), initiator: bring_up(5, DriverConfig::default()), next_port: 20000, start }
    }

    /// A world whose target has that policy.
    fn with(policy: &str) -> Self {
        let world = Self::new(DriverConfig::default());
        world.load(policy).unwrap();
        world
    }

    fn load(&self, policy: &str) -> Result<(), DriverError> {
        let program = Policy::parse(policy).unwrap().compile().unwrap();
        self.target.borrow_mut().set_policy(Some(Arc::new(program)))
    }

    fn turn(&self) {
        self.target.borrow_mut().poll(self.start);
        self.initiator.borrow_mut().poll(self.start);
    }

    /// Lets everybody go on until something is told.
    fn wait<T>(&self, driver: &SharedDriver<FunctionBus>, mut wanted: impl FnMut(DriverEvent) -> Option<T>) -> T {
        for _ in 0..10_000 {
            self.turn();
            let event = driver.borrow_mut().poll_event();
            if let Some(found) = event.and_then(&mut wanted) {
                return found;
            }
        }
        panic!("nothing of that kind happens");
    }

    fn listen(&self) -> Result<u32, DriverError> {
        let listener = self.target.borrow_mut().listen(LOCAL.parse().unwrap(), OffloadMode::Ulp)?;
        self.wait(&self.target, |event| (event == DriverEvent::Listening { listener, result: Ok(()) }).then_some(()));
        Ok(listener)
    }

    /// Opens a connection to the target: its number and the initiator's, or the status of its refusal.
    fn connect(&mut self) -> Result<(u32, u32), u8> {
        self.next_port += 1;
        let local: SocketAddr = format!("10.0.0.2:{}", self.next_port).parse().unwrap();
        let peer_mac = self.target.borrow().adapter().mac;
        let target = OpenTarget { local, peer: LOCAL.parse().unwrap(), peer_mac, mode: OffloadMode::Ulp };
        self.initiator.borrow_mut().connect(target).unwrap();
        let here = self.wait(&self.initiator, |event| match event {
            DriverEvent::Connected { connection, .. } => Some(Ok(connection)),
            DriverEvent::OpenFailed { status, .. } => Some(Err(status)),
            _ => None,
        })?;
        let there = self.wait(&self.target, |event| match event {
            DriverEvent::Accepted { connection, .. } => Some(connection),
            _ => None,
        });
        Ok((there, here))
    }

    fn port(&self, driver: &SharedDriver<FunctionBus>, connection: u32) -> T5Port<FunctionBus> {
        assert!(self.turn_is_quiet());
        T5Port::new(Connection::new(Rc::clone(driver), connection))
    }

    fn turn_is_quiet(&self) -> bool {
        self.turn();
        self.target.borrow().failure().is_none() && self.initiator.borrow().failure().is_none()
    }
}

fn ping() -> Frame {
    Pdu::from(NopOut { data: vec![0x5a; 1000].into(), ..NopOut::default() }).encode()
}

/// A PDU goes from one port to the other.
fn carry(world: &World, from: &mut T5Port<FunctionBus>, to: &mut T5Port<FunctionBus>) {
    from.send(ping());
    while from.flush().unwrap() == Flush::Pending {
        world.turn();
    }
    for _ in 0..1000 {
        world.turn();
        if let Some(Received::Frame(frame)) = to.receive().unwrap() {
            assert_eq!(frame.data, ping().data);
            return;
        }
    }
    panic!("the PDU has not come");
}

#[test]
fn connections_come_by_the_queue_that_their_rule_binds_them_to() {
    let policy = "listen => offload bind 3\nsrc port 20001 => offload ddp bind 2\nsrc port 20002 => offload bind cpu\n\
                  src port 20003 => offload bind 0\nany => offload ddp bind random\n";
    let mut world = World::with(policy);
    world.listen().unwrap();
    let mut ports = Vec::new();
    let mut drawn = BTreeSet::new();
    for number in 1..=40 {
        let (there, here) = world.connect().unwrap();
        let offload = world.target.borrow().offload(there).unwrap();
        assert_eq!(
            (offload.mode, offload.settings.ddp),
            (OffloadMode::Ulp, [Some(true), None][usize::from(matches!(number, 2 | 3))])
        );
        match number {
            1 => assert_eq!((offload.queue, offload.rule), (2, Some(2))),
            // The driver is on processor 6, and has four queues.
            2 => assert_eq!((offload.queue, offload.rule), (2, Some(3))),
            3 => assert_eq!((offload.queue, offload.rule), (0, Some(4))),
            _ => {
                assert_eq!(offload.rule, Some(5));
                drawn.insert(offload.queue);
            }
        }
        ports.push((world.port(&world.target, there), world.port(&world.initiator, here)));
    }
    assert_eq!(drawn, (0..QUEUES).collect(), "chance finds every queue");
    for (there, here) in &mut ports {
        carry(&world, here, there);
        carry(&world, there, here);
    }
}

#[test]
fn what_the_policy_does_not_offload_is_refused() {
    let mut world = World::with("listen or src port 20001 => offload\nvlan 4095 => !offload\n");
    world.listen().unwrap();
    let (there, here) = world.connect().unwrap();
    let mut ports = (world.port(&world.target, there), world.port(&world.initiator, here));
    assert_eq!(world.connect(), Err(CplStatus::ConnReset.to_wire()), "a passive open of another port");
    carry(&world, &mut ports.0, &mut ports.1);

    // Our own opens and listeners are for the host's TCP then.
    let open = OpenTarget {
        local: "10.0.0.1:9".parse().unwrap(),
        peer: "10.0.0.2:9".parse().unwrap(),
        peer_mac: [2; 6],
        mode: OffloadMode::Ulp,
    };
    let refused = world.target.borrow_mut().connect(open);
    assert_eq!(refused, Err(DriverError::NotOffloaded { rule: Some(2) }));
    assert_eq!(refused.unwrap_err().to_string(), "not offloaded: rule 2 of the policy says so");
    world.load("aopen => offload\n").unwrap();
    assert_eq!(world.listen(), Err(DriverError::NotOffloaded { rule: None }));
    assert_eq!(world.connect(), Err(CplStatus::ConnReset.to_wire()), "the listener stays, and takes nothing more");
    // What has begun stays as it is.
    carry(&world, &mut ports.1, &mut ports.0);
}

#[test]
fn with_managed_offloading_nothing_is_offloaded_until_there_is_a_policy() {
    let mut world = World::new(DriverConfig { managed_offloading: true, ..DriverConfig::default() });
    assert_eq!(world.listen(), Err(DriverError::NoPolicy));
    world.load("any => offload ddp bind random\n").unwrap();
    world.listen().unwrap();
    let (there, _) = world.connect().unwrap();
    assert_eq!(world.target.borrow().offload(there).unwrap().rule, Some(1));
    world.target.borrow_mut().set_policy(None).unwrap();
    assert_eq!(world.connect(), Err(CplStatus::ConnReset.to_wire()));
}

#[test]
fn without_ddp_the_adapter_does_tcp_alone() {
    let mut world = World::with("any => offload !ddp bind 1\n");
    world.listen().unwrap();
    let (there, here) = world.connect().unwrap();
    assert_eq!(world.target.borrow().offload(there).unwrap().mode, OffloadMode::Toe);
    let mut stream = T5Stream::new(Connection::new(Rc::clone(&world.target), there));
    let mut port = T5Port::new(Connection::new(Rc::clone(&world.initiator), here));
    port.send(ping());
    while port.flush().unwrap() == Flush::Pending {
        world.turn();
    }
    let mut bytes = BytesMut::with_capacity(4096);
    while bytes.len() < 1048 {
        world.turn();
        drop(stream.receive(&mut bytes));
    }
    assert_eq!(bytes[48..], ping().data);
    assert_eq!(stream.send(&[IoSlice::new(&bytes)]).unwrap(), 1048);
    while port.receive().unwrap().is_none() {
        world.turn();
    }
}

#[test]
fn a_policy_that_cannot_be_followed_is_refused_and_the_old_one_stays() {
    let world = World::with("any => offload bind 1\n");
    for (policy, said) in [
        ("any => offload\nvlan 3 => offload bind 4\n", "rule 2 of the policy: there is no queue 4: they are 0 to 3"),
        ("any => offload sack\n", "rule 1 of the policy: a T5 has no sack by rule: leave it out"),
        ("any => offload tstamp\n", "rule 1 of the policy: a T5 has no tstamp by rule: leave it out"),
    ] {
        assert_eq!(world.load(policy).unwrap_err().to_string(), said);
    }
    let kept = world.target.borrow().policy().unwrap().text(1).map(ToOwned::to_owned);
    assert_eq!(kept.as_deref(), Some("any => offload bind 1"));
}
