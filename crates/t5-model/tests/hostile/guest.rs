//! A driver that means harm, and one that does not.

#![allow(dead_code, reason = "each test uses a part, and is a crate of its own")]

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use t5_hal::Bus;
use t5_hal::dma::DmaMemory;
use t5_hal::driver::{Driver, DriverConfig, DriverError, execute};
use t5_hal::registers::*;
use t5_hal::wire::*;
use t5_model::adapter::{Adapter, Fault, FunctionBus};
use zerocopy::IntoBytes;

pub(crate) const HOSTILE: FunctionId = FunctionId::physical(4);
/// A virtual function that means harm.
pub(crate) const VIRTUAL: FunctionId = FunctionId::virtual_of(0, 3);
pub(crate) const VICTIM: FunctionId = FunctionId::physical(5);
pub(crate) const BASE: u64 = 0x2000_0000;
pub(crate) const VICTIM_BASE: u64 = 0x4000_0000;
const RING_BYTES: usize = 64 << 10;
const ENTRIES: u16 = 64;
pub(crate) const DESCRIPTORS: u16 = 64;

pub(crate) fn adapter() -> Arc<Adapter> {
    let ticks = AtomicU64::new(0);
    Adapter::new(1, 7, Box::new(move || Duration::from_micros(ticks.fetch_add(1, Ordering::Relaxed))))
}

pub(crate) fn command<C: FirmwareCommand>(bus: &FunctionBus, command: &C) -> Result<C, DriverError> {
    let start = Instant::now();
    execute(bus, command, &mut || start)
}

pub(crate) fn refusal<C: FirmwareCommand + std::fmt::Debug>(bus: &FunctionBus, asked: &C) -> Option<ReturnCode> {
    match command(bus, asked) {
        Err(DriverError::Refused { code, .. }) => code,
        other => panic!("it should be refused: {other:?}"),
    }
}

/// The hostile function, with an ingress queue and three egress queues.
pub(crate) struct Hostile {
    pub(crate) bus: FunctionBus,
    pub(crate) vi: u16,
    pub(crate) mac: [u8; 6],
    pub(crate) iq: u16,
    pub(crate) free_list: u32,
    /// Number and address of each egress queue.
    pub(crate) egress: [(u32, u64); 3],
    /// Descriptors of each that were rung for.
    sent: [Cell<u32>; 3],
}

impl Hostile {
    pub(crate) fn new(adapter: &Arc<Adapter>) -> Self {
        Self::of(adapter, HOSTILE)
    }

    /// Of that function.
    pub(crate) fn of(adapter: &Arc<Adapter>, function: FunctionId) -> Self {
        Self::with_rings(adapter, function, [0, 8192, 12288, 20480, 28672].map(|at| BASE + at))
    }

    /// With its rings at those addresses: of the ingress queue, of its free list, and of the egress queues.
    pub(crate) fn with_rings(
        adapter: &Arc<Adapter>,
        function: FunctionId,
        [entries, buffers, egress @ ..]: [u64; 5],
    ) -> Self {
        let bus = adapter.function(function, Arc::new(DmaMemory::new(BASE, RING_BYTES, 1 << 20)));
        let made = |length: AllocLength| length.with_bit(AllocLength::ALLOC, true).with_bit(AllocLength::START, true);
        let target = function.to_wire();
        let mut ask = ViCommand::request(Access::EXEC_WRITE, target);
        ask.length = made(ask.length);
        let made_vi = command(&bus, &ask).unwrap();
        let (vi, mac) = (made_vi.kind.get(ViType::VIID), made_vi.mac);

        let mut ask = IqCommand::request(Access::EXEC_WRITE, target);
        ask.length = made(ask.length);
        ask.flags = IqFlags::new().with(IqFlags::IQESIZE, 2);
        (ask.size, ask.address) = (ENTRIES.into(), entries.into());
        (ask.free_list0_size, ask.free_list0_address) = (3.into(), buffers.into());
        let made_iq = command(&bus, &ask).unwrap();
        let (iq, free_list) = (made_iq.iq.get(), made_iq.free_list0.get().into());

        let fetch = EgressFetch::new().with(EgressFetch::IQID, iq.into());
        let size = EgressSize::new().with(EgressSize::EQSIZE, u32::from(DESCRIPTORS) + 1);
        let mut ask = EqOffloadCommand::request(Access::EXEC_WRITE, target);
        (ask.length, ask.fetch, ask.size, ask.address) = (made(ask.length), fetch, size, egress[0].into());
        let offload = command(&bus, &ask).unwrap().eq.get(EgressId::EQID);
        let mut ask = EqCtrlCommand::request(Access::EXEC_WRITE, target);
        (ask.length, ask.fetch, ask.size, ask.address) = (made(ask.length), fetch, size, egress[1].into());
        let control = command(&bus, &ask).unwrap().eq.get(CtrlEgressId::EQID);
        let mut ask = EqEthCommand::request(Access::EXEC_WRITE, target);
        (ask.length, ask.fetch, ask.size, ask.address) = (made(ask.length), fetch, size, egress[2].into());
        ask.flags = EthEgressFlags::new().with(EthEgressFlags::VIID, vi.into());
        let ethernet = command(&bus, &ask).unwrap().eq.get(EgressId::EQID);
        let mut enable = ViEnableCommand::request(Access::EXEC_WRITE, vi.into());
        enable.length = enable.length.with_bit(ViEnableLength::IEN, true).with_bit(ViEnableLength::EEN, true);
        command(&bus, &enable).unwrap();
        let mut spread = RssViConfigCommand::request(Access::WRITE, vi.into());
        spread.flags = RssViFlags::new().with(RssViFlags::DEFAULTQ, iq.into());
        command(&bus, &spread).unwrap();
        let mut own = ViMacCommand::request(Access::WRITE, vi.into());
        own.entries[0].index = ViMacIndex::new().with_bit(ViMacIndex::VALID, true).with(ViMacIndex::IDX, MAC_ADD);
        own.entries[0].address = mac;
        command(&bus, &own).unwrap();
        Self {
            bus,
            vi,
            mac,
            iq,
            free_list,
            egress: [(offload, egress[0]), (control, egress[1]), (ethernet, egress[2])],
            sent: Default::default(),
        }
    }

    /// Makes another ingress queue, without a free list, at that address of its rings: its number.
    pub(crate) fn ingress_queue(&self, at: u64, vector: u32, threshold: u16) -> u16 {
        let mut ask = IqCommand::request(Access::EXEC_WRITE, self.bus.function().to_wire());
        ask.length = ask.length.with_bit(AllocLength::ALLOC, true).with_bit(AllocLength::START, true);
        ask.kind = IqType::new().with(IqType::IQANDSTINDEX, vector);
        ask.flags = IqFlags::new().with(IqFlags::IQESIZE, 2).with(IqFlags::IQINTCNTTHRESH, threshold);
        (ask.size, ask.address) = (ENTRIES.into(), (BASE + at).into());
        command(&self.bus, &ask).unwrap().iq.get()
    }

    /// Fills a whole egress queue and rings for some of it.
    pub(crate) fn send(&self, queue: usize, bytes: &[u8], descriptors: u32) {
        let (id, address) = self.egress[queue];
        for at in 0..u64::from(DESCRIPTORS) {
            let end = bytes.len().min(64);
            self.bus.memory().write(address + at * 64, &bytes[..end]).unwrap();
        }
        self.bus.memory().write(address, &bytes[..bytes.len().min(4096)]).unwrap();
        self.sent[queue].set(self.sent[queue].get() + descriptors);
        self.ring(id, descriptors);
        self.bus.poll();
    }

    /// Puts one work request behind those before it, and rings for it.
    pub(crate) fn send_next(&self, queue: usize, bytes: &[u8]) {
        let (id, address) = self.egress[queue];
        let count = bytes.len().div_ceil(64) as u32;
        let at = self.sent[queue].replace(self.sent[queue].get() + count);
        // It may go round.
        for (nth, descriptor) in bytes.chunks(64).enumerate() {
            let slot = (at as usize + nth) % usize::from(DESCRIPTORS);
            self.bus.memory().write(address + slot as u64 * 64, descriptor).unwrap();
        }
        self.ring(id, count);
        self.bus.poll();
    }

    /// Where its own registers begin.
    pub(crate) fn registers(&self) -> u32 {
        if self.bus.is_virtual() { 0 } else { MY_PF }
    }

    pub(crate) fn ring(&self, id: u32, descriptors: u32) {
        let word = QueueDoorbell::new().with(QueueDoorbell::QID, id).with(QueueDoorbell::PIDX, descriptors & 0x1fff);
        self.bus.write_register(self.registers() + KDOORBELL, word.value());
    }

    /// Sends a frame that is a piece of its memory's buffers, by way of the switch.
    pub(crate) fn send_frame(&self, destination: [u8; 6], length: u16) {
        self.send(2, &self.frame_request(destination, length), 1);
    }

    pub(crate) fn frame_request(&self, destination: [u8; 6], length: u16) -> Vec<u8> {
        let header = [&destination[..], &[2, 0, 0, 0, 0, 9, 0x88, 0xb5]].concat();
        self.bus.memory().write(self.bus.memory().buffers(), &header).unwrap();
        let core = TxPktCore { length: length.into(), ..TxPktCore::default() };
        let mut rest = core.as_bytes().to_vec();
        let address = self.bus.memory().buffers();
        UlpList::encode(&[Piece { address, length: length.into() }], &mut rest);
        let request = EthTxPktVm {
            op: WorkRequestOp::of(WorkRequestOpcode::EthTxPktVm, size_of::<TxPktCore>() as u32),
            flow: WorkRequestFlow::of(0, size_of::<EthTxPktVm>() + rest.len()),
            ..EthTxPktVm::default()
        };
        [request.as_bytes(), &rest].concat()
    }

    /// Sends a message by the control queue.
    pub(crate) fn request(&self, message: impl IntoBytes + zerocopy::Immutable) {
        self.send(1, message.as_bytes(), 1);
    }

    pub(crate) fn options(&self) -> Opt0 {
        Opt0::new().with(Opt0::SMAC_SEL, u64::from(ViId::from_value(self.vi).get(ViId::VIN)) << 1)
    }

    pub(crate) fn open_request(&self) -> ActOpenReq {
        let (local_ip, peer_ip) = ([10, 0, 0, 8], [10, 0, 0, 9]);
        let ends = ActOpenReq { local_ip, peer_ip, ..ActOpenReq::new(0, u32::from(self.iq) << 14) };
        ActOpenReq { local_port: 1.into(), peer_port: 2.into(), ..ends }
    }

    /// Begins a connection to nobody: the first of the adapter.
    pub(crate) fn open(&self) {
        let row = u32::from(ViId::from_value(self.vi).get(ViId::VIN));
        let params = SmtParams::new().with(SmtParams::IDX, row);
        self.request(SmtWriteReq { params, source_mac0: self.mac, ..SmtWriteReq::new(0, 0) });
        let params = L2tParams::new().with_bit(L2tParams::NOREPLY, true);
        let hop = L2tWriteReq { params, vlan: 0xfff.into(), ..L2tWriteReq::new(0, 0) };
        self.request(L2tWriteReq { destination_mac: [2, 0, 0, 0, 0, 9], ..hop });
        self.request(ActOpenReq { opt0: self.options(), ..self.open_request() });
        assert_eq!((self.fault(), self.bus.adapter().connections()), (None, 1));
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        self.bus.adapter().take_fault(self.bus.function())
    }
}

pub(crate) fn victim(adapter: &Arc<Adapter>) -> Driver<FunctionBus> {
    let bus = adapter.function(VICTIM, Arc::new(DmaMemory::new(VICTIM_BASE, 8 << 20, 1 << 20)));
    let start = Instant::now();
    Driver::bring_up(bus, DriverConfig::default(), &mut || start).unwrap()
}

pub(crate) fn snapshot(memory: &DmaMemory) -> Vec<u8> {
    let mut bytes = vec![0; (memory.end() - memory.base()) as usize];
    memory.read(memory.base(), &mut bytes).unwrap();
    bytes
}
