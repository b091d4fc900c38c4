//! An initiator's node with several connections to a target's, over ports that can be cut, under a clock of its own.

use crate::disk::{BLOCK, carry_out};
use crate::portal::{TARGET, portal};
use bytes::Bytes;
use iscsi_node::initiator::{self, ConnectionPlan, InitiatorNode, Outcome, Request};
use iscsi_node::target::{self, ConnectionId, IoRequest, TargetNode};
use iscsi_pdu::{Cid, Isid, Tsih};
use iscsi_session::initiator::{LoginConfig, SessionConfig, Transfer};
use iscsi_session::{Authentication, Limits, SessionType};
use iscsi_transport::{FaultPort, LoopbackPort, PortControl, PortFaults, Random};
use scsi_block::cdb::Cdb;
use scsi_block::{Geometry, LogicalUnitConfig, LogicalUnitNumber};
use std::sync::Arc;
use std::time::{Duration, Instant};

const BLOCKS: u64 = 4096;

/// Whether the store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    AtOnce,
    Never,
    /// After a while, in any order.
    Late,
}

/// The trouble of a connection.
pub(crate) struct Wire {
    cid: Cid,
    /// At the initiator's end, and at the target's.
    pub(crate) ours: PortControl,
    theirs: PortControl,
}

impl Wire {
    /// Breaks it. The target does not notice: what it was given it goes on with.
    pub(crate) fn cut(&self) {
        self.ours.change(|faults| faults.cut_after_pdus = Some(0));
        self.theirs.change(|faults| faults.stalled = true);
    }
}

type Port = FaultPort<LoopbackPort>;

/// The two ends of a new connection.
fn wire(cid: Cid, random: &mut Random) -> (Port, Port, Wire) {
    let (ours, theirs) = LoopbackPort::pair();
    let (ours, our_trouble) = FaultPort::new(ours, random.fork());
    let (theirs, their_trouble) = FaultPort::new(theirs, random.fork());
    (ours, theirs, Wire { cid, ours: our_trouble, theirs: their_trouble })
}

pub(crate) struct Bench {
    pub(crate) now: Instant,
    pub(crate) random: Random,
    pub(crate) target: TargetNode<Port>,
    /// The target's end of each connection that there was.
    accepted: Vec<ConnectionId>,
    pub(crate) disk: Vec<u8>,
    pub(crate) store: Store,
    held: Vec<IoRequest>,
    pub(crate) initiator: InitiatorNode<Port>,
    /// The trouble of each connection.
    pub(crate) wires: Vec<Wire>,
    /// The trouble of connections to come.
    pub(crate) faults: PortFaults,
    /// Whether whoever is asked for a port has one.
    pub(crate) is_reachable: bool,
    /// Connections that were wanted.
    pub(crate) wanted: Vec<Cid>,
    pub(crate) events: Vec<initiator::Event>,
    pub(crate) target_events: Vec<target::Event>,
}

impl Bench {
    /// A session of `connections`, once all are there and the unit attention of the nexus is taken.
    pub(crate) fn new(connections: u16, limits: Limits, seed: u64) -> Self {
        let unit = LogicalUnitConfig::new(Geometry { block_size: BLOCK as u32, blocks: BLOCKS }, "several");
        let mut portal = portal(unit);
        portal.limits = limits.clone();
        let mut target = TargetNode::new(Arc::new(portal));
        let now = Instant::now();
        let login = LoginConfig {
            initiator_name: "iqn.2026-01.test:initiator".into(),
            initiator_alias: None,
            target_name: Some(TARGET.into()),
            session_type: SessionType::Normal,
            isid: Isid([0x80, 0, 0, 0, 0, 1]),
            tsih: Tsih(0),
            cid: Cid(0),
            limits,
            authentication: Authentication::None,
            timeout: Duration::from_secs(5),
        };
        let mut random = Random::new(seed);
        let (ours, theirs, wire) = wire(Cid(0), &mut random);
        let accepted = target.accept(now, theirs, "127.0.0.1:3260", [1; 32]);
        let mut initiator = InitiatorNode::new(ours, login, SessionConfig::default(), [2; 32], now);
        initiator.set_connections(ConnectionPlan { connections, ..ConnectionPlan::default() });
        let mut bench = Self {
            now,
            random,
            target,
            accepted: vec![accepted],
            disk: vec![0; BLOCK * BLOCKS as usize],
            store: Store::AtOnce,
            held: Vec::new(),
            initiator,
            wires: vec![wire],
            faults: PortFaults::default(),
            is_reachable: true,
            wanted: Vec::new(),
            events: Vec::new(),
            target_events: Vec::new(),
        };
        bench.run();
        bench.command(0, &Cdb::test_unit_ready(), Transfer::None);
        bench.run();
        bench.events.clear();
        bench
    }

    pub(crate) fn command(&mut self, token: u64, cdb: &Cdb, transfer: Transfer) {
        let request = Request::new(LogicalUnitNumber::from(0), cdb, transfer);
        self.initiator.submit(self.now, token, request).expect("the window has room");
    }

    pub(crate) fn write(&mut self, token: u64, lba: u64, data: Bytes) {
        self.command(token, &Cdb::write_16(lba, (data.len() / BLOCK) as u32), Transfer::Write(data));
    }

    pub(crate) fn read(&mut self, token: u64, lba: u64, blocks: u32) {
        self.command(token, &Cdb::read_16(lba, blocks), Transfer::Read(blocks * BLOCK as u32));
    }

    /// Lets everybody work until nothing moves.
    pub(crate) fn run(&mut self) {
        for _ in 0..40 {
            self.turn();
        }
    }

    /// Lets everybody work once.
    pub(crate) fn turn(&mut self) {
        self.initiator.handle_timeout(self.now);
        self.initiator.drive(self.now);
        while self.initiator.flush(self.now) {
            self.initiator.drive(self.now);
        }
        self.handle_events();
        self.target.handle_timeout(self.now);
        for connection in self.accepted.clone() {
            self.target.drive(self.now, connection);
        }
        self.serve_disk();
        self.target.drive_more(self.now);
        self.target.flush(self.now);
        self.handle_target_events();
        self.target.flush(self.now);
    }

    /// Lets so much time pass, in small steps.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = end.min(self.now + Duration::from_millis(50));
            self.run();
        }
    }

    fn handle_events(&mut self) {
        while let Some(event) = self.initiator.poll_event() {
            if let initiator::Event::ConnectionWanted { cid, .. } = event {
                self.wanted.push(cid);
                self.connect(cid);
            } else {
                self.events.push(event);
            }
        }
    }

    fn connect(&mut self, cid: Cid) {
        if !self.is_reachable {
            return self.initiator.handle_connect_failure(self.now, cid);
        }
        let (ours, theirs, wire) = wire(cid, &mut self.random);
        wire.ours.change(|faults| *faults = self.faults.clone());
        self.wires.retain(|wire| wire.cid != cid);
        self.wires.push(wire);
        self.accepted.push(self.target.accept(self.now, theirs, "127.0.0.1:3260", [1; 32]));
        self.initiator.connect(self.now, cid, ours, [3; 32]);
    }

    /// Breaks a connection, and the target does not notice.
    pub(crate) fn cut(&mut self, cid: u16) {
        self.wire(cid).cut();
    }

    pub(crate) fn wire(&self, cid: u16) -> &Wire {
        self.wires.iter().find(|wire| wire.cid == Cid(cid)).expect("a connection")
    }

    fn serve_disk(&mut self) {
        self.held.extend(std::iter::from_fn(|| self.target.poll_io()));
        if self.store == Store::Late {
            for _ in 0..self.held.len() {
                if self.random.one_in(6) {
                    let place = self.random.below(self.held.len() as u64) as usize;
                    let request = self.held.swap_remove(place);
                    self.answer(request);
                }
            }
        } else if self.store == Store::AtOnce {
            for request in std::mem::take(&mut self.held) {
                self.answer(request);
            }
        }
    }

    fn answer(&mut self, request: IoRequest) {
        let output = carry_out(&mut self.disk, request.io);
        self.target.handle_io_done(self.now, request.id, Ok(output));
    }

    fn handle_target_events(&mut self) {
        while let Some(event) = self.target.poll_event() {
            match &event {
                target::Event::Admit { connection, identity, .. } if identity.tsih == Tsih(0) => {
                    self.target.admit(self.now, *connection, Tsih(1));
                }
                target::Event::Admit { connection, identity, .. } => self.target.join(self.now, *connection, identity),
                target::Event::Ended { connection } => self.accepted.retain(|other| other != connection),
                _ => {}
            }
            self.target_events.push(event);
        }
    }

    /// The requests that have ended since this was last asked.
    pub(crate) fn outcomes(&mut self) -> Vec<(u64, Outcome)> {
        let mut outcomes = Vec::new();
        self.events = std::mem::take(&mut self.events)
            .into_iter()
            .filter_map(|event| match event {
                initiator::Event::Complete { token, outcome } => {
                    outcomes.push((token, outcome));
                    None
                }
                other => Some(other),
            })
            .collect();
        outcomes
    }

    /// Requests that have ended well, in the order of their tokens.
    pub(crate) fn good(&mut self) -> Vec<u64> {
        let mut tokens: Vec<u64> = self
            .outcomes()
            .into_iter()
            .map(|(token, outcome)| match outcome {
                Outcome::Command(completion) if completion.status == 0 => token,
                other => panic!("{token}: {other:?}"),
            })
            .collect();
        tokens.sort_unstable();
        tokens
    }
}

pub(crate) fn pattern(blocks: usize, seed: u8) -> Bytes {
    (0..blocks * BLOCK).map(|place| (place * 7 + place / 251) as u8 ^ seed).collect::<Vec<_>>().into()
}

/// What both ends would agree upon.
pub(crate) fn limits(error_recovery_level: u8, time_2_wait: u16) -> Limits {
    Limits { max_connections: 8, error_recovery_level, time_2_wait, time_2_retain: 20, ..Limits::default() }
}
