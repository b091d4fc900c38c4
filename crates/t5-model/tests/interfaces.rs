//! All virtual interfaces of an adapter, spread over its physical and virtual functions: each has its own configuration, and what each counts adds
//! up to what was sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use t5_hal::Bus;
use t5_hal::dma::DmaMemory;
use t5_hal::driver::execute;
use t5_hal::queue::DESCRIPTOR_BYTES;
use t5_hal::registers::*;
use t5_hal::wire::*;
use t5_model::adapter::{Adapter, FunctionBus, functions};
use t5_model::switch::{INTERFACES, InterfaceNumber, PortNumber};
use zerocopy::IntoBytes;

const DESCRIPTORS: u16 = 63;
const RING_BYTES: usize = 32 << 10;
const BROADCAST: [u8; 6] = [0xff; 6];
const HEADER_BYTES: u64 = 14;

/// An interface, the queue that its owner sends by, and how many requests have gone there.
struct Endpoint {
    vi: u16,
    mac: [u8; 6],
    queue: u32,
    ring: u64,
}

/// A function with an ingress queue and as many interfaces as it may have.
struct Owner {
    bus: FunctionBus,
    endpoints: Vec<Endpoint>,
    sent: u64,
}

fn command<C: FirmwareCommand>(bus: &FunctionBus, command: &C) -> C {
    execute(bus, command, &mut Instant::now).unwrap()
}

impl Owner {
    fn new(adapter: &Arc<Adapter>, function: FunctionId) -> Self {
        let bus = adapter.function(function, Arc::new(DmaMemory::new(0, 8 * RING_BYTES, 4096)));
        let target = function.to_wire();
        let may = command(&bus, &PfVfCommand::request(Access::READ, target));
        let mut ask = IqCommand::request(Access::EXEC_WRITE, target);
        ask.length = ask.length.with_bit(AllocLength::ALLOC, true);
        (ask.flags, ask.size) = (IqFlags::new().with(IqFlags::IQESIZE, 2), 64.into());
        let iq = command(&bus, &ask).iq.get();
        let mut owner = Self { bus, endpoints: Vec::new(), sent: 0 };
        for at in 0..may.interfaces.get(PfVfInterfaces::NVI) {
            // The first that it may have.
            let port = may.egress.get(PfVfEgress::PMASK).trailing_zeros() as u8;
            let ring = 4096 + u64::from(at) * 64 * 64;
            let made = owner.endpoint(target, iq, port, ring);
            owner.endpoints.push(made);
        }
        owner
    }

    fn endpoint(&self, target: u32, iq: u16, port: u8, ring: u64) -> Endpoint {
        let mut ask = ViCommand::request(Access::EXEC_WRITE, target);
        ask.length = ask.length.with_bit(AllocLength::ALLOC, true);
        ask.port = ViPort::new().with(ViPort::PORTID, port);
        let made = command(&self.bus, &ask);
        let vi = made.kind.get(ViType::VIID);
        let mut own = ViMacCommand::request(Access::WRITE, vi.into());
        own.entries[0].index = ViMacIndex::new().with_bit(ViMacIndex::VALID, true).with(ViMacIndex::IDX, MAC_ADD);
        own.entries[0].address = made.mac;
        command(&self.bus, &own);
        let mut mode = ViRxModeCommand::request(Access::WRITE, vi.into());
        // Every second one wants what is for everybody.
        mode.mode = RxMode::new().with(RxMode::BROADCASTEN, u32::from(wants_broadcasts(vi)));
        command(&self.bus, &mode);
        let mut enable = ViEnableCommand::request(Access::EXEC_WRITE, vi.into());
        enable.length = enable.length.with_bit(ViEnableLength::IEN, true).with_bit(ViEnableLength::EEN, true);
        command(&self.bus, &enable);
        let mut ask = EqEthCommand::request(Access::EXEC_WRITE, target);
        ask.length = ask.length.with_bit(AllocLength::ALLOC, true);
        ask.fetch = EgressFetch::new().with(EgressFetch::IQID, iq.into());
        ask.size = EgressSize::new().with(EgressSize::EQSIZE, u32::from(DESCRIPTORS) + 1);
        (ask.address, ask.flags) = (ring.into(), EthEgressFlags::new().with(EthEgressFlags::VIID, vi.into()));
        let queue = command(&self.bus, &ask).eq.get(EgressId::EQID);
        Endpoint { vi, mac: made.mac, queue, ring }
    }

    /// Sends a frame of that many bytes of payload from one of its interfaces.
    fn send(&mut self, which: usize, nth: u64, destination: [u8; 6], bytes: u64) {
        let Endpoint { mac, queue, ring, .. } = self.endpoints[which];
        let frame = [&destination[..], &mac, &[0x88, 0xb5], &vec![7; bytes as usize]].concat();
        let core = TxPktCore { length: (frame.len() as u16).into(), ..TxPktCore::default() };
        let immediate = size_of::<TxPktCore>() + frame.len();
        let op = WorkRequestOp::of(WorkRequestOpcode::EthTxPktVm, immediate as u32);
        let length = size_of::<EthTxPktVm>() + immediate;
        let request = EthTxPktVm { op, flow: WorkRequestFlow::of(0, length), ..EthTxPktVm::default() };
        assert_eq!(length.div_ceil(DESCRIPTOR_BYTES), 2);
        let bytes = [request.as_bytes(), core.as_bytes(), &frame].concat();
        self.bus.memory().write(ring + nth * 2 * DESCRIPTOR_BYTES as u64, &bytes).unwrap();
        let word = QueueDoorbell::new().with(QueueDoorbell::QID, queue).with(QueueDoorbell::PIDX, 2);
        let base = if self.bus.is_virtual() { 0 } else { MY_PF };
        self.bus.write_register(base + KDOORBELL, word.value());
        self.sent += 1;
    }

    /// A counter of an interface, by its name in the public structure.
    fn counter(&self, which: usize, name: &str) -> u64 {
        let names: &[&str] = if self.bus.is_virtual() { &VF_COUNTERS } else { &PF_COUNTERS };
        let at = names.iter().position(|known| *known == name).unwrap();
        let mut ask = ViStatsCommand::request(Access::READ, self.endpoints[which].vi.into());
        ask.select = ViStatsSelect::new().with(ViStatsSelect::NSTATS, 1).with(ViStatsSelect::IX, at as u16);
        command(&self.bus, &ask).counters[0].get()
    }
}

/// Who may read counters of ports: a physical function, of the last.
fn reader(owners: &[Owner]) -> &FunctionBus {
    &owners.iter().rfind(|owner| !owner.bus.is_virtual()).expect("there are physical functions").bus
}

/// All counters of a port, six at a time.
fn port_counters(owners: &[Owner], port: u8) -> Vec<u64> {
    let read = |first: u8| {
        let ask = PortStatsCommand::request(Access::READ, port.into());
        let told = command(reader(owners), &PortStatsCommand { first, count: 6, ..ask });
        told.counters.map(|counter| counter.get())
    };
    (0..9).flat_map(|nth| read(nth * 6)).collect()
}

/// All counters of a port's loopback.
fn loopback_counters(owners: &[Owner], port: u8) -> Vec<u64> {
    let read = |first: u8| {
        let ask = PortLoopbackStatsCommand::request(Access::READ, port.into());
        let told = command(reader(owners), &PortLoopbackStatsCommand { first, count: 6, ..ask });
        told.counters.map(|counter| counter.get())
    };
    (0..3).flat_map(|nth| read(nth * 6)).collect()
}

/// Frames differ in their lengths.
fn payload(nth: usize) -> u64 {
    20 + nth as u64 % 40
}

fn wants_broadcasts(vi: u16) -> bool {
    vi & 1 == 0
}

#[test]
fn what_all_interfaces_count_adds_up() {
    let ticks = AtomicU64::new(0);
    let adapter = Adapter::new(1, 7, Box::new(move || Duration::from_micros(ticks.fetch_add(1, Ordering::Relaxed))));
    let mut owners: Vec<Owner> = functions().map(|function| Owner::new(&adapter, function)).collect();
    let all: Vec<(usize, usize)> = owners
        .iter()
        .enumerate()
        .flat_map(|(at, owner)| (0..owner.endpoints.len()).map(move |which| (at, which)))
        .collect();
    assert_eq!((owners.len(), all.len()), (72, INTERFACES));
    let port_of = |vi: u16| {
        let number = InterfaceNumber::new((vi & 0x7f) as u8).unwrap();
        adapter.with_switch(|switch| switch.interface(number).unwrap().port)
    };

    // Each sends to the next one, and to everybody.
    for (nth, &(at, which)) in all.iter().enumerate() {
        let (next_at, next) = all[(nth + 1) % all.len()];
        let destination = owners[next_at].endpoints[next].mac;
        owners[at].send(which, 0, destination, payload(nth));
        owners[at].send(which, 1, BROADCAST, 23);
    }
    while adapter.poll() {}
    for owner in &owners {
        let faults: Vec<_> = std::iter::from_fn(|| adapter.take_fault(owner.bus.function())).collect();
        assert_eq!(faults, [], "{}", owner.bus.function());
    }

    for port in [0, 1].map(PortNumber::of) {
        let nobody = [&[2, 0, 0, 0, 0, 9][..], &[2, 0, 0, 0, 0, 8], &[0x88, 0xb5], &[7; 22]].concat();
        adapter.handle_wire(port, nobody);
    }
    let (mut to_wire, mut received) = (0, 0);
    for (nth, &(at, which)) in all.iter().enumerate() {
        let (owner, vi) = (&owners[at], owners[at].endpoints[which].vi);
        let told = |name: &str| owner.counter(which, name);
        assert_eq!((told("tx_ucast_frames"), told("tx_ucast_bytes")), (1, HEADER_BYTES + payload(nth)));
        assert_eq!((told("tx_bcast_frames"), told("tx_bcast_bytes")), (1, HEADER_BYTES + 23));
        assert_eq!((told("tx_mcast_frames"), told("tx_offload_frames"), told("rx_err_frames")), (0, 0, 0));
        // The one before it, if it is at the same port: else that frame has gone to the wire.
        let (before_at, before) = all[(nth + all.len() - 1) % all.len()];
        let is_near = port_of(owners[before_at].endpoints[before].vi) == port_of(vi);
        to_wire += u64::from(!is_near);
        assert_eq!(told("rx_ucast_frames"), u64::from(is_near));
        let others =
            all.iter().filter(|&&(at, which)| port_of(owners[at].endpoints[which].vi) == port_of(vi)).count() - 1;
        let broadcasts = if wants_broadcasts(vi) { others as u64 } else { 0 };
        assert_eq!(told("rx_bcast_frames"), broadcasts, "those of all others at its port, if it wants them");
        received += told("rx_ucast_frames") + told("rx_bcast_frames");
    }
    let sums = adapter.with_switch(|switch| {
        let ports = [0, 1].map(PortNumber::of);
        let wires = ports.map(|port| switch.wire_counters(port).transmitted.total().frames);
        let interfaces = switch.interfaces_mut().map(|(_, interface)| interface.counters().received.total().frames);
        (wires.iter().sum::<u64>(), interfaces.sum::<u64>())
    });
    assert_eq!(sums, (to_wire + INTERFACES as u64, received), "every broadcast goes to the wire as well");
    // What the firmware tells of a port is what the switch has counted.
    for port in [0, 1] {
        let told = port_counters(&owners, port);
        let (wire, loopback) = adapter.with_switch(|switch| {
            let port = PortNumber::of(port);
            (*switch.wire_counters(port), *switch.loopback_counters(port))
        });
        let [all, many, one] = [wire.transmitted.total(), wire.transmitted.broadcast, wire.transmitted.unicast];
        assert_eq!(told[..5], [all.bytes, all.frames, many.frames, 0, one.frames]);
        assert_eq!(told[23..28], [36, 1, 0, 0, 1], "the frame for nobody that came in");
        let told = loopback_counters(&owners, port);
        let [all, many, one] =
            [loopback.transmitted.total(), loopback.transmitted.broadcast, loopback.transmitted.unicast];
        assert_eq!(told[..5], [all.bytes, all.frames, many.frames, 0, one.frames]);
        assert_eq!(told[13], loopback.received_by_none, "rx_lb_drop");
        assert!(many.frames >= 16 && one.frames >= 16);
    }
    let sent: u64 = owners.iter().map(|owner| owner.sent).sum();
    assert_eq!(sent, 2 * INTERFACES as u64);
    assert!(to_wire > 0 && to_wire < 10, "most of them are beside one of the same port: {to_wire}");
}
