//! One adapter, its clock, a target with a disk on one side and the firmware's initiator on the other.

use bytes::Bytes;
use iscsi_node::target::{ConnectionId, Event, IoRequest, Portal, TargetConfig, TargetNode};
use iscsi_pdu::Tsih;
use iscsi_session::Authentication;
use scsi_block::io::{BlockIo, IoOutput};
use scsi_block::{Geometry, LogicalUnitConfig, LogicalUnitNumber, TargetDevice};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use t5_hal::dma::DmaMemory;
use t5_hal::driver::initiator::*;
use t5_hal::driver::{Driver, DriverConfig, DriverEvent, OffloadMode};
use t5_hal::wire::*;
use t5_hal::{Connection, SharedDriver, T5Port};
use t5_model::adapter::{Adapter, FunctionBus};

pub(crate) const TARGET: &str = "iqn.2026-01.io.ferriscsi:disk";
pub(crate) const NODE: &str = "iqn.2026-01.io.ferriscsi:firmware";
pub(crate) const BLOCK: usize = 512;
const BLOCKS: usize = 16384;
pub(crate) const PORTAL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 3260);
/// What stands in the initiator's memory before anything was placed there.
pub(crate) const UNTOUCHED: u8 = 0xee;

pub(crate) struct World {
    pub(crate) adapter: Arc<Adapter>,
    ticks: Arc<AtomicU64>,
    driver: SharedDriver<FunctionBus>,
    pub(crate) target: Option<TargetNode<T5Port<FunctionBus>>>,
    connections: Vec<ConnectionId>,
    pub(crate) disk: Vec<u8>,
    /// Block I/O that is not answered, if it is held.
    pub(crate) held: Option<VecDeque<IoRequest>>,
    sessions: u16,
    is_stopped: bool,
    pub(crate) initiator: FirmwareInitiator<FunctionBus>,
    pub(crate) memory: Arc<DmaMemory>,
    events: VecDeque<InitiatorEvent>,
    start: Instant,
}

impl World {
    /// A world whose target lets everybody in.
    pub(crate) fn new() -> Self {
        Self::with(Authentication::None)
    }

    pub(crate) fn with(authentication: Authentication) -> Self {
        let ticks = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&ticks);
        let clock = move || Duration::from_micros(clock.fetch_add(1, Ordering::Relaxed));
        let adapter = Adapter::new(1, 1, Box::new(clock));
        let start = Instant::now();
        let memory = Arc::new(DmaMemory::new(0x4000_0000, 16 << 20, 8 << 20));
        let driver =
            Driver::bring_up(adapter.function(FunctionId::physical(4), memory), DriverConfig::default(), &mut || start)
                .unwrap();
        let memory = Arc::new(DmaMemory::new(0x5000_0000, 16 << 20, 8 << 20));
        memory.write(memory.buffers(), &vec![UNTOUCHED; 8 << 20]).unwrap();
        let bus = adapter.function(FunctionId::physical(5), Arc::clone(&memory));
        let initiator = FirmwareInitiator::bring_up(bus, &DriverConfig::default(), &mut || start).unwrap();
        let mut world = Self {
            adapter,
            ticks,
            driver: Rc::new(RefCell::new(driver)),
            target: Some(TargetNode::new(Arc::new(portal(authentication)))),
            connections: Vec::new(),
            disk: (0..BLOCKS * BLOCK).map(|at| (at / BLOCK * 7 + at) as u8).collect(),
            held: None,
            sessions: 0,
            is_stopped: false,
            initiator,
            memory,
            events: VecDeque::new(),
            start,
        };
        world.driver.borrow_mut().listen(PORTAL.into(), OffloadMode::Ulp).unwrap();
        world.turns(10);
        world
    }

    pub(crate) fn now(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// Lets so much time pass for the adapter and the target.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.ticks.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
        self.turns(10);
    }

    pub(crate) fn turns(&mut self, count: usize) {
        (0..count).for_each(|_| self.turn());
    }

    fn turn(&mut self) {
        let now = self.start + Duration::from_micros(self.now());
        self.driver.borrow_mut().poll(now);
        while let Some(event) = { self.driver.borrow_mut().poll_event() } {
            if let DriverEvent::Accepted { connection, .. } = event {
                let port = T5Port::new(Connection::new(Rc::clone(&self.driver), connection));
                if let Some(target) = &mut self.target {
                    let random = [self.connections.len() as u8; 32];
                    self.connections.push(target.accept(now, port, PORTAL.to_string().as_str(), random));
                }
            }
        }
        self.turn_target(now);
        self.initiator.poll();
        self.events.extend(std::iter::from_fn(|| self.initiator.poll_event()));
    }

    fn turn_target(&mut self, now: Instant) {
        let Some(target) = self.target.as_mut().filter(|_| !self.is_stopped) else { return };
        target.handle_timeout(now);
        for &connection in &self.connections {
            target.drive(now, connection);
        }
        target.drive_more(now);
        while let Some(request) = target.poll_io() {
            match &mut self.held {
                Some(held) => held.push_back(request),
                None => target.handle_io_done(now, request.id, Ok(carry_out(&mut self.disk, request.io))),
            }
        }
        while let Some(event) = target.poll_event() {
            if let Event::Admit { connection, .. } = event {
                self.sessions += 1;
                target.admit(now, connection, Tsih(self.sessions));
            }
        }
        target.flush(now);
    }

    /// Answers the block I/O that was held, and holds no more.
    pub(crate) fn release(&mut self) {
        let now = self.start + Duration::from_micros(self.now());
        for request in self.held.take().into_iter().flatten() {
            let done = Ok(carry_out(&mut self.disk, request.io));
            self.target.as_mut().expect("the target is there").handle_io_done(now, request.id, done);
        }
    }

    /// The target does nothing any more, and keeps its connections.
    pub(crate) fn stop_target(&mut self) {
        self.is_stopped = true;
    }

    /// The target goes away, with all its connections.
    pub(crate) fn lose_target(&mut self) {
        self.target = None;
        self.connections.clear();
    }

    /// Lets everybody go on until something has happened.
    pub(crate) fn wait(&mut self) -> InitiatorEvent {
        for _ in 0..200_000 {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            self.turn();
        }
        panic!(
            "nothing happens; faults: {:?}, {:?}",
            self.adapter.take_fault(FunctionId::physical(4)),
            self.adapter.take_fault(FunctionId::physical(5))
        );
    }

    /// What has happened and was not looked at.
    pub(crate) fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// Waits for the end of a setting.
    pub(crate) fn done(&mut self, request: RequestId) -> Result<u16, ReturnCode> {
        match self.wait() {
            InitiatorEvent::Done { request: which, result } if which == request => result,
            other => panic!("{other:?}"),
        }
    }

    /// An address and a node, whose number it gives.
    pub(crate) fn node(&mut self) -> u16 {
        let request = self.initiator.set_address([10, 0, 0, 2].into(), [255, 255, 255, 0].into()).unwrap();
        assert_eq!(self.done(request), Ok(0));
        self.another_node(NODE, 0x1234)
    }

    /// A node with that name and that part of its ISIDs, whose number it gives.
    pub(crate) fn another_node(&mut self, name: &str, qualifier: u32) -> u16 {
        let isid = FoiscsiIsid::new().with(FoiscsiIsid::T, 2).with(FoiscsiIsid::B, qualifier);
        let request = self.initiator.add_node(name, "firmware", isid).unwrap();
        self.done(request).unwrap()
    }

    /// The ISIDs of the sessions that stand at the target, the oldest first.
    pub(crate) fn isids(&self) -> Vec<[u8; 6]> {
        let mut sessions: Vec<_> = self.target.iter().flat_map(|target| target.snapshot()).collect();
        sessions.sort_by_key(|session| session.tsih);
        sessions.iter().map(|session| session.isid.0).collect()
    }

    /// The target ends the session that has that ISID, without a word.
    pub(crate) fn end_session(&mut self, isid: [u8; 6]) {
        let now = self.start + Duration::from_micros(self.now());
        let target = self.target.as_mut().expect("the target is there");
        let session = target.snapshot().into_iter().find(|session| session.isid.0 == isid);
        target.end_session(now, session.expect("a session has it").tsih);
    }

    /// Logs in: the session, or what it has come to.
    pub(crate) fn log_in(&mut self, wanted: &SessionRequest) -> Result<RequestId, (FoiscsiState, ReturnCode)> {
        let session = self.initiator.log_in(wanted).unwrap();
        match self.wait() {
            InitiatorEvent::Online { session: which, .. } if which == session => Ok(session),
            InitiatorEvent::Ended { session: which, state, code } if which == session => Err((state, code)),
            other => panic!("{other:?}"),
        }
    }

    /// A session of a node whose unit attention is told already.
    pub(crate) fn session(&mut self, wanted: &SessionRequest) -> RequestId {
        let session = self.log_in(wanted).unwrap();
        let id = self.initiator.command(session, &ScsiRequest::default()).unwrap();
        let attention = self.completed(id);
        assert_eq!((attention.code, attention.status), (ReturnCode::ScsiResponseError, 2));
        // UNIT ATTENTION: power on.
        assert_eq!((attention.sense[2] & 0xf, attention.sense[12]), (6, 0x29));
        session
    }

    /// Waits for the end of a command.
    pub(crate) fn completed(&mut self, command: RequestId) -> Completion {
        match self.wait() {
            InitiatorEvent::Completed { command: which, completion } if which == command => completion,
            other => panic!("{other:?}"),
        }
    }
}

/// READ (16) or WRITE (16).
pub(crate) fn move_blocks(opcode: u8, lba: usize, blocks: usize) -> ScsiRequest {
    let mut cdb = [0; 16];
    cdb[0] = opcode;
    cdb[2..10].copy_from_slice(&(lba as u64).to_be_bytes());
    cdb[10..14].copy_from_slice(&(blocks as u32).to_be_bytes());
    ScsiRequest { cdb, ..ScsiRequest::default() }
}

pub(crate) fn read(lba: usize, blocks: usize) -> ScsiRequest {
    move_blocks(0x88, lba, blocks)
}

pub(crate) fn write(lba: usize, blocks: usize) -> ScsiRequest {
    move_blocks(0x8a, lba, blocks)
}

fn portal(authentication: Authentication) -> Portal {
    let geometry = Geometry { block_size: BLOCK as u32, blocks: BLOCKS as u64 };
    let unit = (LogicalUnitNumber::from(0), LogicalUnitConfig::new(geometry, "firmware"));
    let mut portal = Portal::new();
    // Nothing is known of the time of a target whose turns are counted.
    portal.ping_interval = None;
    let device = Arc::new(TargetDevice::new([unit]).expect("the unit makes sense"));
    portal.targets.push(TargetConfig { authentication, ..TargetConfig::new(TARGET, device) });
    portal
}

fn carry_out(disk: &mut [u8], io: BlockIo) -> IoOutput {
    match io {
        BlockIo::Read(extent) => {
            let begin = extent.lba as usize * BLOCK;
            IoOutput::Data(Bytes::copy_from_slice(&disk[begin..begin + extent.blocks as usize * BLOCK]))
        }
        BlockIo::Write { lba, data, .. } => {
            let mut place = lba as usize * BLOCK;
            for segment in &data {
                disk[place..place + segment.len()].copy_from_slice(segment);
                place += segment.len();
            }
            IoOutput::Done
        }
        _ => IoOutput::Done,
    }
}
