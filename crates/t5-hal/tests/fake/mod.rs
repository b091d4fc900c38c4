//! A bus whose test plays the adapter: it answers the mailbox, keeps the work requests, and says what it is told to say.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part, and is a crate of its own")]

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};
use t5_hal::Bus;
use t5_hal::dma::DmaMemory;
use t5_hal::driver::{Driver, DriverConfig, DriverError};
use t5_hal::registers::*;
use t5_hal::wire::*;
use zerocopy::IntoBytes;

pub const PF: u8 = 4;
pub const VI: u16 = 0x485;
pub const MAC: [u8; 6] = [0, 7, 0x43, 1, 2, 3];
pub const IQ: u16 = 3;
pub const RSS_QUEUE: u16 = 103;
pub const CONTROL: u32 = 20;
pub const DATA: u32 = 21;
pub const FREE_LIST: u32 = 40;
pub const POD_BASE: u32 = 0x4_0000;
pub const PODS: u32 = 256;
pub const TIDS: u32 = 64;
pub const FLOW_CREDITS: u32 = 64;
const LAYOUT: DoorbellLayout = DoorbellLayout { page_bits: 12, queue_bits: 3 };

#[derive(Debug, Default)]
struct Ring {
    address: u64,
    entries: u64,
    at: u64,
}

/// What the adapter makes of the queues.
#[derive(Debug, Default)]
struct Rings {
    control: Ring,
    data: Ring,
    ingress: Ring,
    ingress_queues: u16,
    laps: u64,
    free_list: Ring,
    /// Buffers that the driver has announced and that are not filled.
    buffers: u64,
}

#[derive(Debug)]
pub struct Fake {
    memory: Arc<DmaMemory>,
    message: RefCell<[u8; MAILBOX_BYTES]>,
    control: Cell<u32>,
    rings: RefCell<Rings>,
    /// Work requests of both queues, as they came.
    requests: RefCell<Vec<(u32, Vec<u8>)>>,
    commands: RefCell<Vec<Command>>,
    /// What the firmware does with a command instead of the usual.
    refusal: Cell<Option<(CommandOpcode, ReturnCode)>>,
    silent: Cell<bool>,
    /// Whether it answers another command than was given.
    confused: Cell<bool>,
    state: Cell<u32>,
    /// A parameter that is another than usual.
    parameter: Cell<Option<(ParameterName, u32)>>,
    /// The numbers of the ingress queue: its own, and the one that connections are steered by.
    ingress_ids: Cell<(u16, u16)>,
}

impl Default for Fake {
    fn default() -> Self {
        Self {
            memory: Arc::new(DmaMemory::new(0x1000_0000, 16 << 20, 4 << 20)),
            message: RefCell::new([0; MAILBOX_BYTES]),
            control: Cell::new(0),
            rings: RefCell::default(),
            requests: RefCell::default(),
            commands: RefCell::default(),
            refusal: Cell::new(None),
            silent: Cell::new(false),
            confused: Cell::new(false),
            state: Cell::new(0),
            parameter: Cell::new(None),
            ingress_ids: Cell::new((IQ, RSS_QUEUE)),
        }
    }
}

impl Bus for Fake {
    fn read_register(&self, offset: u32) -> u32 {
        const DATA_END: u32 = MY_PF + MAILBOX_DATA + 63;
        match offset {
            PL_WHOAMI => u32::from(PF) << 8,
            PCIE_FW => self.state.get(),
            SGE_HOST_PAGE_SIZE => 2 << (4 * PF),
            SGE_EGRESS_QUEUES_PER_PAGE | SGE_INGRESS_QUEUES_PER_PAGE => 3 << (4 * PF),
            ULP_RX_ISCSI_TAGMASK => TagFormat::for_pods(PODS).mask(),
            0x1b240..=DATA_END => mailbox_register(&self.message.borrow(), (offset as usize - 0x1b240) / 4),
            0x1b280 => self.control.get(),
            _ => 0,
        }
    }

    fn write_register(&self, offset: u32, value: u32) {
        const DATA_END: u32 = MY_PF + MAILBOX_DATA + 63;
        match offset {
            0x1b240..=DATA_END => {
                set_mailbox_register(&mut self.message.borrow_mut(), (offset as usize - 0x1b240) / 4, value);
            }
            0x1b280 => {
                self.control.set(value);
                if value == 9 && !self.silent.get() {
                    self.answer();
                }
            }
            _ => {}
        }
    }

    fn write_doorbell(&self, offset: u32, value: u32) {
        let word = QueueDoorbell::from_value(value);
        let (queue, what) = LAYOUT.queue_of(offset, 0);
        match (queue, what) {
            (CONTROL | DATA, UserDoorbell::KDOORBELL) => self.fetch(queue, word.get(QueueDoorbell::PIDX)),
            (FREE_LIST, UserDoorbell::KDOORBELL) => {
                assert!(word.is_set(QueueDoorbell::DBTYPE));
                let mut rings = self.rings.borrow_mut();
                rings.buffers += u64::from(word.get(QueueDoorbell::PIDX)) * 8;
                let most = (rings.free_list.entries - 8) * u64::from(rings.ingress_queues);
                assert!(rings.buffers <= most, "one unit of buffers of each list stays back");
            }
            (queue, what) => assert_eq!((queue, what), (IQ.into(), UserDoorbell::GTS)),
        }
    }

    fn write_descriptor(&self, _offset: u32, _descriptor: &[u8; 64]) {
        unreachable!("the driver rings doorbells");
    }

    fn memory(&self) -> &Arc<DmaMemory> {
        &self.memory
    }

    fn set_waker(&self, _vector: u16, _waker: Waker) {}
}

impl Fake {
    pub fn set_mailbox_control(&self, value: u32) {
        self.control.set(value);
    }

    pub fn refuse(&self, command: CommandOpcode, code: ReturnCode) {
        self.refusal.set(Some((command, code)));
    }

    pub fn fall_silent(&self) {
        self.silent.set(true);
    }

    pub fn answer_another(&self) {
        self.confused.set(true);
    }

    pub fn set_firmware_state(&self, state: FirmwareState) {
        self.state.set(state.value());
    }

    pub fn set_parameter(&self, name: ParameterName, value: u32) {
        self.parameter.set(Some((name, value)));
    }

    pub fn set_ingress_ids(&self, iq: u16, physical_iq: u16) {
        self.ingress_ids.set((iq, physical_iq));
    }

    pub fn commands(&self) -> Vec<Command> {
        self.commands.borrow().clone()
    }

    /// Work requests since the last call.
    pub fn take_requests(&self) -> Vec<Vec<u8>> {
        self.requests.borrow_mut().drain(..).map(|(_, request)| request).collect()
    }

    fn answer(&self) {
        let mut message = *self.message.borrow();
        let command = Command::decode(&message).expect("the driver sends commands");
        self.commands.borrow_mut().push(command);
        let answer = self.work(command);
        message[..answer.as_bytes().len()].copy_from_slice(answer.as_bytes());
        // The answer is no request.
        message[1] &= !0x80;
        if self.confused.get() {
            message[0] = CommandOpcode::Bye.to_wire();
        }
        let refused = self.refusal.get().filter(|(opcode, _)| message[0] == opcode.to_wire());
        message[6] = refused.map_or(0, |(_, code)| code.to_wire());
        *self.message.borrow_mut() = message;
        self.control.set(8 | 2);
    }

    fn work(&self, command: Command) -> Command {
        let mut rings = self.rings.borrow_mut();
        let ring = |address: u64, entries: u64| Ring { address, entries, at: 0 };
        match command {
            Command::ParamsCommand(mut params) => {
                for parameter in &mut params.parameters {
                    let other = self.parameter.get().filter(|&(name, _)| name == parameter.name);
                    parameter.value = other.map_or_else(|| value_of(parameter.name), |(_, value)| value).into();
                }
                params.into()
            }
            Command::ViCommand(mut vi) => {
                vi.kind = vi.kind.with(ViType::VIID, VI);
                vi.mac = MAC;
                vi.rss = ViRss::new().with(ViRss::RSSSIZE, 40);
                vi.into()
            }
            Command::IqCommand(mut iq) => {
                rings.ingress = ring(iq.address.get(), iq.size.get().into());
                rings.free_list = ring(iq.free_list0_address.get(), (u64::from(iq.free_list0_size.get()) - 1) * 8);
                let (number, physical) = self.ingress_ids.get();
                // What is said comes by the last queue; all have one number, and each is steered to by its own.
                let physical = physical + rings.ingress_queues;
                rings.ingress_queues += 1;
                (iq.iq, iq.physical_iq, iq.free_list0) = (number.into(), physical.into(), (FREE_LIST as u16).into());
                iq.into()
            }
            Command::EqCtrlCommand(mut eq) => {
                rings.control = ring(eq.address.get(), u64::from(eq.size.get(EgressSize::EQSIZE)) - 1);
                eq.eq = eq.eq.with(CtrlEgressId::EQID, CONTROL);
                eq.into()
            }
            Command::EqOffloadCommand(mut eq) => {
                rings.data = ring(eq.address.get(), u64::from(eq.size.get(EgressSize::EQSIZE)) - 1);
                eq.eq = eq.eq.with(EgressId::EQID, DATA);
                eq.into()
            }
            other => other,
        }
    }

    /// Reads what was announced in an egress queue.
    fn fetch(&self, queue: u32, count: u32) {
        let mut rings = self.rings.borrow_mut();
        let ring = if queue == DATA { &mut rings.data } else { &mut rings.control };
        let mut bytes = Vec::new();
        for _ in 0..count {
            let mut descriptor = [0; 64];
            self.memory.read(ring.address + ring.at * 64, &mut descriptor).unwrap();
            bytes.extend(descriptor);
            ring.at = (ring.at + 1) % ring.entries;
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let length = usize::from(rest[7]) * 16;
            assert!((16..=512).contains(&length), "a work request of {length} bytes");
            self.requests.borrow_mut().push((queue, rest[..length].to_vec()));
            rest = &rest[length.next_multiple_of(64)..];
        }
    }

    /// How far the queue was read.
    pub fn consumer(&self, queue: u32) -> u16 {
        let rings = self.rings.borrow();
        (if queue == DATA { &rings.data } else { &rings.control }).at as u16
    }

    /// Says something in the ingress queue.
    pub fn say(&self, reply: impl Into<Reply>) {
        let mut message = [0; 40];
        let reply = reply.into();
        message[..reply.as_bytes().len()].copy_from_slice(reply.as_bytes());
        self.enter(EntryKind::Cpl, message, FreeListLength::new());
    }

    /// Says something that data follows, in a buffer of the free list of its own.
    pub fn say_with(&self, reply: impl Into<Reply>, data: &[u8]) {
        let bytes = [reply.into().as_bytes(), data].concat();
        let mut rings = self.rings.borrow_mut();
        assert!(rings.buffers > 0, "the free list has buffers");
        rings.buffers -= 1;
        let entry = self.memory.load(rings.free_list.address + rings.free_list.at * 8).unwrap();
        rings.free_list.at = (rings.free_list.at + 1) % rings.free_list.entries;
        self.memory.write(u64::from_be_bytes(entry) & !15, &bytes).unwrap();
        drop(rings);
        let length = FreeListLength::new().with_bit(FreeListLength::NEWBUF, true);
        self.enter(EntryKind::FreeListBuffer, [0; 40], length.with(FreeListLength::LEN, bytes.len() as u32));
    }

    /// Says that a message of that length is in the free list, which it need not be.
    pub fn say_length(&self, length: FreeListLength) {
        self.enter(EntryKind::FreeListBuffer, [0; 40], length);
    }

    fn enter(&self, kind: EntryKind, message: [u8; 40], length: FreeListLength) {
        let mut rings = self.rings.borrow_mut();
        let kind = EntryType::new()
            .with(EntryType::TYPE, kind.to_wire())
            .with_bit(EntryType::GEN, rings.laps.is_multiple_of(2));
        let entry = IngressEntry { message, length, kind, ..IngressEntry::default() };
        let at = rings.ingress.address + rings.ingress.at * 64;
        self.memory.write(at, &entry.as_bytes()[..56]).unwrap();
        self.memory.store(at + 56, entry.as_bytes()[56..].try_into().unwrap()).unwrap();
        rings.ingress.at += 1;
        if rings.ingress.at == rings.ingress.entries {
            (rings.ingress.at, rings.laps) = (0, rings.laps + 1);
        }
    }
}

fn value_of(name: ParameterName) -> u32 {
    let function = |which| ParameterName::function(which);
    match name {
        _ if name == ParameterName::device(DeviceParameter::TidCount) => TIDS,
        _ if name == ParameterName::device(DeviceParameter::FlowBufferSize) => FLOW_CREDITS,
        _ if name == function(FunctionParameter::ServerStart) => 1000,
        _ if name == function(FunctionParameter::ServerEnd) => 1003,
        _ if name == function(FunctionParameter::L2tStart) => 8,
        _ if name == function(FunctionParameter::L2tEnd) => 15,
        _ if name == function(FunctionParameter::IscsiStart) => POD_BASE,
        _ if name == function(FunctionParameter::IscsiEnd) => POD_BASE + PODS * POD_BYTES - 1,
        _ => 0,
    }
}

/// A driver's configuration with small queues.
pub fn small() -> DriverConfig {
    DriverConfig {
        data_descriptors: 128,
        control_descriptors: 16,
        ingress_entries: 32,
        free_list_buffers: 24,
        ..DriverConfig::default()
    }
}

/// A driver over such a bus, or why there is none.
pub fn bring_up(fake: Fake) -> Result<Driver<Fake>, DriverError> {
    bring_up_with(fake, small())
}

/// A driver of that configuration.
pub fn bring_up_with(fake: Fake, config: DriverConfig) -> Result<Driver<Fake>, DriverError> {
    let mut now = Instant::now();
    Driver::bring_up(fake, config, &mut || {
        now += Duration::from_millis(100);
        now
    })
}
