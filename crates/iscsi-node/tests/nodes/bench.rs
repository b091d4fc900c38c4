//! A target node and initiator nodes, joined by loopback ports, over a disk that answers when the test lets it.

use crate::disk::{BLOCK, carry_out};
use crate::portal::{TARGET, portal};
use bytes::Bytes;
use iscsi_node::initiator::{self, InitiatorNode, Outcome, Request};
use iscsi_node::target::{self, ConnectionId, IoRequest, Portal, TargetNode};
use iscsi_pdu::{Cid, Isid, Tsih};
use iscsi_session::initiator::{LoginConfig, SessionConfig, Transfer};
use iscsi_session::{Authentication, Limits, SessionType};
use iscsi_transport::LoopbackPort;
use scsi_block::cdb::Cdb;
use scsi_block::{Geometry, LogicalUnitConfig, LogicalUnitNumber};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const INITIATOR: &str = "iqn.2026-01.test:initiator";
const BLOCKS: u64 = 65_536;

/// One target node with a disk, any number of initiators, and a clock.
pub(crate) struct Bench {
    pub(crate) now: Instant,
    pub(crate) target: TargetNode<LoopbackPort>,
    pub(crate) disk: Vec<u8>,
    /// Block I/O that the store has not answered, when it is told to wait.
    pub(crate) held: Option<Vec<IoRequest>>,
    pub(crate) initiators: Vec<InitiatorNode<LoopbackPort>>,
    pub(crate) connections: Vec<ConnectionId>,
    pub(crate) events: Vec<Vec<initiator::Event>>,
    pub(crate) target_events: Vec<target::Event>,
    last_tsih: u16,
    /// What happens between the end of the next login and the owner's consent. It gives the name that the connection has then.
    pub(crate) at_admission: Option<Interlude>,
}

type Interlude = Box<dyn FnOnce(&mut TargetNode<LoopbackPort>, Instant, ConnectionId) -> ConnectionId>;

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with_portal(|_| {})
    }

    pub(crate) fn with_portal(change: impl FnOnce(&mut Portal)) -> Self {
        let unit = LogicalUnitConfig {
            thin: true,
            ..LogicalUnitConfig::new(Geometry { block_size: BLOCK as u32, blocks: BLOCKS }, "nodes")
        };
        let mut portal = portal(unit);
        change(&mut portal);
        Self {
            now: Instant::now(),
            target: TargetNode::new(Arc::new(portal)),
            disk: vec![0; BLOCK * BLOCKS as usize],
            held: None,
            initiators: Vec::new(),
            connections: Vec::new(),
            events: Vec::new(),
            target_events: Vec::new(),
            last_tsih: 0,
            at_admission: None,
        }
    }

    /// Connects an initiator and lets its login run.
    pub(crate) fn connect(&mut self, isid: u8, target: Option<&str>) -> usize {
        let (ours, theirs) = LoopbackPort::pair();
        let login = LoginConfig {
            initiator_name: INITIATOR.into(),
            initiator_alias: None,
            target_name: target.map(Into::into),
            session_type: if target.is_some() { SessionType::Normal } else { SessionType::Discovery },
            isid: Isid([0x80, 0, 0, 0, 0, isid]),
            tsih: Tsih(0),
            cid: Cid(0),
            limits: Limits::default(),
            authentication: Authentication::None,
            timeout: Duration::from_secs(5),
        };
        self.connections.push(self.target.accept(self.now, theirs, "127.0.0.1:3260", [1; 32]));
        self.initiators.push(InitiatorNode::new(ours, login, SessionConfig::default(), [2; 32], self.now));
        self.events.push(Vec::new());
        self.run();
        self.initiators.len() - 1
    }

    /// Connects an initiator that has taken its first unit attention.
    pub(crate) fn ready(&mut self, isid: u8) -> usize {
        let initiator = self.connect(isid, Some(TARGET));
        self.command(initiator, 0, &Cdb::test_unit_ready(), Transfer::None);
        self.run();
        self.events[initiator].clear();
        initiator
    }

    pub(crate) fn command(&mut self, initiator: usize, token: u64, cdb: &Cdb, transfer: Transfer) {
        let request = Request::new(LogicalUnitNumber::from(0), cdb, transfer);
        self.initiators[initiator].submit(self.now, token, request).expect("the window has room");
    }

    /// Lets everybody work until nothing moves.
    pub(crate) fn run(&mut self) {
        for _ in 0..200 {
            for (initiator, events) in self.initiators.iter_mut().zip(&mut self.events) {
                initiator.drive(self.now);
                while initiator.flush(self.now) {
                    initiator.drive(self.now);
                }
                events.extend(std::iter::from_fn(|| initiator.poll_event()));
            }
            for connection in self.connections.clone() {
                self.target.drive(self.now, connection);
            }
            self.serve_disk();
            self.target.drive_more(self.now);
            self.target.flush(self.now);
            self.handle_target_events();
            self.target.flush(self.now);
        }
    }

    /// Lets the target's time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.target.handle_timeout(self.now);
        self.run();
    }

    fn serve_disk(&mut self) {
        while let Some(request) = self.target.poll_io() {
            match &mut self.held {
                Some(held) => held.push(request),
                None => self.answer(request),
            }
        }
    }

    pub(crate) fn answer(&mut self, request: IoRequest) {
        let output = carry_out(&mut self.disk, request.io);
        self.target.handle_io_done(self.now, request.id, Ok(output));
    }

    /// Lets the store answer all that it holds, and from now on at once.
    pub(crate) fn release(&mut self) {
        for request in self.held.take().unwrap_or_default() {
            self.answer(request);
        }
    }

    pub(crate) fn handle_target_events(&mut self) {
        while let Some(event) = self.target.poll_event() {
            if let target::Event::Admit { connection, .. } = &event {
                let mut connection = *connection;
                if let Some(interlude) = self.at_admission.take() {
                    connection = interlude(&mut self.target, self.now, connection);
                    self.connections.push(connection);
                }
                self.last_tsih += 1;
                self.target.admit(self.now, connection, Tsih(self.last_tsih));
            }
            self.target_events.push(event);
        }
    }

    pub(crate) fn outcomes(&mut self, initiator: usize) -> Vec<(u64, Outcome)> {
        let events = std::mem::take(&mut self.events[initiator]);
        let complete = |event| match event {
            initiator::Event::Complete { token, outcome } => Some((token, outcome)),
            _ => None,
        };
        events.into_iter().filter_map(complete).collect()
    }

    pub(crate) fn only_outcome(&mut self, initiator: usize) -> Outcome {
        let mut outcomes = self.outcomes(initiator);
        assert_eq!(outcomes.len(), 1, "one request, one end: {outcomes:?}");
        outcomes.remove(0).1
    }
}

pub(crate) fn pattern(length: usize) -> Bytes {
    (0..length).map(|place| (place * 7 + place / 251) as u8).collect::<Vec<_>>().into()
}
