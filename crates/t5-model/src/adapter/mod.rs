//! The adapter: functions with their drivers on one side, wires on the other, and what happens between.
//!
//! ```text
//!   driver ── Bus ──> Function: registers, mailbox, queues ──> requests ──> Flow: TCP, iSCSI ──> switch ──> wire
//!   driver <── ingress queue, placed payload ──────────────────────────────────┘  <───────────────┘
//! ```
//!
//! All of it is under one lock but the doorbells, so that who rings never waits. [`Adapter::poll`] does a bounded amount of work; whoever has
//! an adapter calls it, from a thread of its own or, by [`Bus::poll`](t5_hal::Bus::poll), from its drivers'. Of several drivers one does
//! the work of all, and the others go on with theirs. The time is asked of a clock that is given.

mod bursts;
mod bus;
mod doorbells;
mod dump;
mod egress;
mod fault;
mod filters;
mod firmware;
mod flow;
mod foiscsi;
mod frames;
mod function;
mod functions;
mod grants;
mod ingress;
mod inside;
mod limits;
mod open;
mod permissions;
mod profile;
mod pump;
mod registers;
mod requests;
mod scsi;
mod statistics;

pub use bus::FunctionBus;
pub use fault::Fault;
pub use functions::functions;

use crate::iscsi::{IscsiCounters, Outgoing, PDU_BYTES_MAX};
use crate::switch::{EthernetHeader, InterfaceNumber, InterfaceSet, MacAddress, PORTS, PortNumber, Switch};
use crate::tcp::{Tuple, checksum};
use bytes::BytesMut;
use doorbells::{Doorbell, Doorbells};
use flow::Flow;
use function::Function;
use functions::{Attached, PerFunction};
use parking_lot::{Mutex, MutexGuard};
use profile::Grant;
use slab::Slab;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};
use t5_hal::dma::DmaMemory;
use t5_hal::wire::{FirmwareState, FunctionId};

/// Connections that are looked after in one turn.
const FLOWS_A_TURN: usize = 256;
/// Turns of the adapter for one call of a driver.
const TURNS_MAX: usize = 64;
/// Frames that wait for whoever takes them off a wire; more are lost.
const WIRE_FRAMES_MAX: usize = 4096;

/// Tells the time, from any beginning.
pub type Clock = Box<dyn Fn() -> Duration + Send + Sync>;

/// An adapter.
pub struct Adapter {
    core: Mutex<Core>,
    doorbells: PerFunction<Doorbells>,
    clock: Clock,
    turns: AtomicU64,
}

#[derive(Debug)]
struct Core {
    /// In the addresses of its interfaces.
    number: u8,
    functions: Attached,
    /// What each function may have and do.
    grants: PerFunction<Grant>,
    /// The function whose driver is in charge of the adapter, and whether it has made it begin.
    master: Option<FunctionId>,
    initialized: bool,
    switch: Switch,
    flows: Slab<Flow>,
    by_tuple: HashMap<(InterfaceNumber, Tuple), u32>,
    /// Connections to be looked after.
    ready: VecDeque<u32>,
    timers: BTreeSet<(Duration, u32)>,
    /// Frames of offloaded connections on their way to the switch.
    frames: VecDeque<(InterfaceNumber, Vec<u8>)>,
    wires: [VecDeque<Vec<u8>>; PORTS],
    /// Who takes the frames off the wires.
    carriers: [Option<Waker>; PORTS],
    counted: IscsiCounters,
    /// Bytes of frames that were copied to receivers and wires.
    copied_bytes: u64,
    /// Empty lists and buffers that are used again.
    heard: Vec<Doorbell>,
    scratch: Box<[u8]>,
    outgoing: Outgoing,
    session_data: BytesMut,
    random: fastrand::Rng,
    /// The time of the clock's beginning, for what counts in another way. Only differences of it are looked at.
    epoch: Instant,
}

impl Adapter {
    /// An adapter without drivers. `number` makes its addresses differ from those of others, `seed` its sequence numbers.
    #[must_use]
    pub fn new(number: u8, seed: u64, clock: Clock) -> Arc<Self> {
        let core = Core {
            number,
            functions: Attached::new(),
            grants: PerFunction::new(Grant::new),
            master: None,
            initialized: false,
            switch: Switch::default(),
            flows: Slab::new(),
            by_tuple: HashMap::new(),
            ready: VecDeque::new(),
            timers: BTreeSet::new(),
            frames: VecDeque::new(),
            wires: std::array::from_fn(|_| VecDeque::new()),
            carriers: std::array::from_fn(|_| None),
            counted: IscsiCounters::default(),
            copied_bytes: 0,
            heard: Vec::new(),
            scratch: vec![0; PDU_BYTES_MAX].into(),
            outgoing: Outgoing::default(),
            session_data: BytesMut::new(),
            random: fastrand::Rng::with_seed(seed),
            epoch: Instant::now(),
        };
        Arc::new(Self {
            core: Mutex::new(core),
            doorbells: PerFunction::new(|_| Doorbells::default()),
            clock,
            turns: AtomicU64::new(0),
        })
    }

    /// The bus of a function, which has that memory. Whoever had the function before has it no more.
    ///
    /// # Panics
    /// If there is no such function: a bug of the caller.
    #[must_use]
    pub fn function(self: &Arc<Self>, id: FunctionId, memory: Arc<DmaMemory>) -> FunctionBus {
        let mut core = self.core.lock();
        core.reset_function(id);
        core.functions.attach(Function::new(id, Arc::clone(&memory)));
        FunctionBus::new(Arc::clone(self), id, memory)
    }

    /// Does what is to be done now, at most so much; says whether there may be more.
    pub fn poll(&self) -> bool {
        // Who has rung meanwhile has found the adapter taken, and leaves the rest to whoever has had it.
        self.turn(self.core.lock()) || self.is_rung()
    }

    /// Does what is to be done, unless somebody is at it: then that one does this as well.
    fn come_forward(&self) {
        for _ in 0..TURNS_MAX {
            let Some(core) = self.core.try_lock() else { return };
            if !self.turn(core) && !self.is_rung() {
                return;
            }
        }
    }

    /// How often somebody has done some of its work.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Whether somebody has rung and was not heard.
    fn is_rung(&self) -> bool {
        doorbells::is_any_rung(self.doorbells.iter())
    }

    fn turn(&self, mut core: MutexGuard<'_, Core>) -> bool {
        self.turns.fetch_add(1, Ordering::Relaxed);
        let (now, mut woken) = (self.now(), Vec::new());
        core.hear(&self.doorbells, now);
        let busy = core.poll(now, &mut woken);
        drop(core);
        // Whoever is woken may ring at once.
        woken.into_iter().for_each(Waker::wake);
        busy
    }

    /// The time, as the adapter sees it.
    #[must_use]
    pub fn now(&self) -> Duration {
        (self.clock)()
    }

    /// When [`Self::poll`] has something to do, if nobody rings before; that may be past.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let core = self.core.lock();
        let functions = core.functions.iter();
        if self.is_rung()
            || !core.ready.is_empty()
            || !core.frames.is_empty()
            || functions.clone().any(Function::has_requests)
        {
            return Some(Duration::ZERO);
        }
        let timer = core.timers.first().map(|&(at, _)| at);
        functions.filter_map(Function::poll_timeout).chain(timer).min()
    }

    /// A fault of a function's driver that nobody has asked about.
    ///
    /// # Panics
    /// If there is no such function: a bug of the caller.
    #[must_use]
    pub fn take_fault(&self, id: FunctionId) -> Option<Fault> {
        self.core.lock().functions[id].as_mut()?.take_fault()
    }

    /// The virtual interfaces of a function: what they count is asked of [the switch](Self::with_switch).
    ///
    /// # Panics
    /// If there is no such function: a bug of the caller.
    #[must_use]
    pub fn interfaces(&self, id: FunctionId) -> InterfaceSet {
        self.core.lock().interfaces_of(id)
    }

    /// Doorbells of a function that nobody has heard yet.
    ///
    /// # Panics
    /// If there is no such function: a bug of the caller.
    #[must_use]
    pub fn waiting_doorbells(&self, id: FunctionId) -> usize {
        self.doorbells[id].len()
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.core.lock().flows.len()
    }

    /// What was done of iSCSI.
    #[must_use]
    pub fn iscsi_counters(&self) -> IscsiCounters {
        self.core.lock().counted
    }

    /// A look at the switch, with its counters.
    pub fn with_switch<R>(&self, look: impl FnOnce(&mut Switch) -> R) -> R {
        look(&mut self.core.lock().switch)
    }

    /// A frame comes in from a wire. One with a bad checksum is dropped.
    pub fn handle_wire(&self, port: PortNumber, frame: Vec<u8>) {
        let now = (self.clock)();
        let ip = EthernetHeader::decode(&frame).filter(EthernetHeader::is_ip);
        let is_good = ip.is_none_or(|ethernet| checksum::verify(&frame[ethernet.length..]));
        if is_good {
            let mut core = self.core.lock();
            let delivery = core.switch.receive(port, &frame);
            core.deliver(delivery, frame, now);
        }
    }

    /// Who is woken when frames wait at a wire, on the thread that made them, until another takes its place.
    pub fn set_carrier(&self, port: PortNumber, carrier: Option<Waker>) {
        self.core.lock().carriers[port.index()] = carrier;
    }

    /// The next frame that goes out to a wire.
    #[must_use]
    pub fn poll_wire(&self, port: PortNumber) -> Option<Vec<u8>> {
        self.core.lock().wires[port.index()].pop_front()
    }
}

impl Core {
    /// Takes the doorbells that were rung.
    fn hear(&mut self, doorbells: &PerFunction<Doorbells>, now: Duration) {
        let mut heard = std::mem::take(&mut self.heard);
        for function in self.functions.iter_mut() {
            if doorbells[function.id].take(&mut heard) {
                function.fault(Fault::Doorbells);
            }
            for doorbell in heard.drain(..) {
                match doorbell {
                    Doorbell::Word { offset, value } => function.write_doorbell(offset, value, now),
                    Doorbell::Descriptor { offset } => function.write_descriptor(offset),
                }
            }
        }
        self.heard = heard;
    }

    fn poll(&mut self, now: Duration, woken: &mut Vec<Waker>) -> bool {
        let mut busy = false;
        for who in self.functions.names() {
            busy |= self.run_firmware(who);
            busy |= self.run_egress(who, now);
            self.wake_stalled(who);
        }
        while let Some(&(at, tid)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            if let Some(flow) = self.flows.get_mut(tid as usize) {
                flow.timer = None;
            }
            self.make_ready(tid);
        }
        for _ in 0..FLOWS_A_TURN.min(self.ready.len()) {
            let tid = self.ready.pop_front().expect("as many as there were");
            self.run_flow(tid, now);
        }
        busy |= self.run_frames(now);
        for function in self.functions.iter_mut() {
            function.flush(now, woken);
        }
        let carriers = self.carriers.iter().zip(&self.wires).filter(|(_, wire)| !wire.is_empty());
        woken.extend(carriers.filter_map(|(carrier, _)| carrier.clone()));
        busy || !self.ready.is_empty()
    }

    /// Looks after the connections again that had to wait for a driver to read.
    fn wake_stalled(&mut self, who: FunctionId) {
        if let Some(function) = &mut self.functions[who]
            && std::mem::take(&mut function.has_made_room)
        {
            std::mem::take(&mut function.stalled).into_iter().for_each(|tid| self.make_ready(tid));
        }
    }

    /// A function that a driver of it has just been heard of.
    fn function(&mut self, who: FunctionId) -> &mut Function {
        self.functions[who].as_mut().expect("a driver was heard of, so its function is there")
    }

    /// Takes from a function all that its driver has made.
    fn reset_function(&mut self, who: FunctionId) {
        let Some(old) = self.functions[who].take() else { return };
        for interface in old.interfaces.iter() {
            self.switch.detach(interface);
        }
        self.forget_all(|flow| flow.owner == who);
        let mut new = Function::new(who, Arc::clone(&old.memory));
        new.keep_of(*old);
        self.functions.attach(new);
        if !who.is_virtual() {
            self.grants[who] = Grant::new(who);
        }
    }

    /// The address of a virtual interface.
    fn address_of(&self, number: InterfaceNumber) -> MacAddress {
        MacAddress([0x02, 0x07, 0x43, 0x05, self.number, number.index() as u8])
    }

    fn firmware_state(&self) -> FirmwareState {
        FirmwareState::new()
            .with_bit(FirmwareState::INIT, self.initialized)
            .with_bit(FirmwareState::MASTER_VLD, self.master.is_some())
            .with(FirmwareState::MASTER, self.master.map_or(0, FunctionId::pf).into())
    }

    fn send_to_wire(&mut self, port: PortNumber, frame: Vec<u8>) {
        let wire = &mut self.wires[port.index()];
        if wire.len() < WIRE_FRAMES_MAX {
            wire.push_back(frame);
        }
    }
}
