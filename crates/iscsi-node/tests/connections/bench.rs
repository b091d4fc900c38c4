//! A target node with a disk, and initiators' connections, PDU by PDU, over loopback ports.

use crate::disk::{BLOCK, carry_out};
use crate::portal::{TARGET, portal};
use bytes::Bytes;
use iscsi_node::target::{ConnectionId, Event, IoRequest, Portal, PortalAddress, TargetNode};
use iscsi_pdu::{Cid, CmdSn, InitiatorTaskTag, Isid, LoginStatus, Pdu, ScsiCommand, StatSn, Tsih};
use iscsi_session::initiator::{Login, LoginConfig, LoginEvent};
use iscsi_session::{Authentication, Limits, LoginOutcome, SessionType};
use iscsi_transport::{FaultPort, LoopbackPort, PduPort, PortControl, Random, Received};
use scsi_block::cdb::Cdb;
use scsi_block::{Geometry, LogicalUnitConfig};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const TSIH: Tsih = Tsih(1);
const BLOCKS: usize = 65_536;

pub(crate) struct Bench {
    pub(crate) now: Instant,
    /// What the initiator offers, and the target takes.
    limits: Limits,
    portal: Arc<Portal>,
    /// What connections to come have connected to.
    pub(crate) entrance: PortalAddress,
    pub(crate) target: TargetNode<FaultPort<LoopbackPort>>,
    pub(crate) disk: Vec<u8>,
    /// Block I/O that the store has not answered, when it is told to wait.
    pub(crate) held: Option<Vec<IoRequest>>,
    pub(crate) events: Vec<Event>,
    /// CmdSN of the next command of the session.
    pub(crate) cmd_sn: CmdSn,
    tag: u32,
}

/// The initiator's end of a connection.
pub(crate) struct Peer {
    pub(crate) port: LoopbackPort,
    /// Trouble for what it sends.
    pub(crate) control: PortControl,
    pub(crate) id: ConnectionId,
    pub(crate) outcome: LoginOutcome,
    /// ExpStatSN.
    stat_sn: StatSn,
}

impl Bench {
    pub(crate) fn new(max_connections: u16) -> Self {
        Self::with_limits(Limits { max_connections, ..Limits::default() })
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        let geometry = Geometry { block_size: BLOCK as u32, blocks: BLOCKS as u64 };
        let unit = LogicalUnitConfig::new(geometry, "connections");
        let mut portal = portal(unit);
        portal.limits = limits.clone();
        portal.targets[0].resettable = true;
        Self::with_portal(limits, Arc::new(portal))
    }

    fn with_portal(limits: Limits, portal: Arc<Portal>) -> Self {
        Self {
            now: Instant::now(),
            limits,
            target: TargetNode::new(Arc::clone(&portal)),
            portal,
            entrance: "127.0.0.1:3260".into(),
            disk: vec![0; BLOCK * BLOCKS],
            held: None,
            events: Vec::new(),
            cmd_sn: CmdSn(0),
            tag: 100,
        }
    }

    /// Another core of the same target, with a store of its own.
    pub(crate) fn another_core(&self) -> Self {
        Self::with_portal(self.limits.clone(), Arc::clone(&self.portal))
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.target.handle_timeout(self.now);
    }

    /// Connections of one session with these CIDs; the unit attention of a new nexus is taken.
    pub(crate) fn session<const N: usize>(&mut self, cids: [u16; N]) -> [Peer; N] {
        let mut leading = true;
        let mut peers = cids.map(|cid| {
            let tsih = if std::mem::take(&mut leading) { Tsih(0) } else { TSIH };
            self.log_in(tsih, cid).expect("the target lets it in")
        });
        self.cmd_sn = peers[0].outcome.cmd_sn;
        self.command(&mut peers[0], &Cdb::test_unit_ready(), 0, Bytes::new());
        assert!(matches!(self.answers(&mut peers[0])[..], [Pdu::ScsiResponse(_)]));
        peers
    }

    /// Logs in: to a new session if `tsih` is zero.
    pub(crate) fn log_in(&mut self, tsih: Tsih, cid: u16) -> Result<Peer, LoginStatus> {
        self.log_in_by(tsih, cid, None)
    }

    /// Logs in to a session that another node has, if it is said which: this one hands the connection over to it.
    pub(crate) fn log_in_by(
        &mut self,
        tsih: Tsih,
        cid: u16,
        mut owner: Option<&mut Self>,
    ) -> Result<Peer, LoginStatus> {
        let config = LoginConfig {
            initiator_name: "iqn.2026-01.test:initiator".into(),
            initiator_alias: None,
            target_name: Some(TARGET.into()),
            session_type: SessionType::Normal,
            isid: Isid([0x80, 0, 0, 0, 0, 1]),
            tsih,
            cid: Cid(cid),
            limits: self.limits.clone(),
            authentication: Authentication::None,
            timeout: Duration::from_secs(5),
        };
        let (mut port, theirs) = LoopbackPort::pair();
        let (theirs, control) = FaultPort::new(theirs, Random::new(1));
        let mut id = self.target.accept(self.now, theirs, self.entrance.clone(), [1; 32]);
        let mut login = Login::new(config, InitiatorTaskTag(0), [2; 32], self.now);
        loop {
            while let Some(pdu) = login.poll_transmit() {
                port.send(pdu.encode());
            }
            port.flush().expect("a loopback takes a login");
            match &mut owner {
                None => self.turn(id),
                Some(owner) => id = self.hand_over(id, owner),
            }
            while let Ok(Some(Received::Frame(frame))) = port.receive() {
                login.handle_pdu(self.now, Pdu::decode(frame).expect("a PDU"));
            }
            match login.poll_event() {
                None => {}
                Some(LoginEvent::Complete(outcome)) => {
                    return Ok(Peer { port, control, id, stat_sn: outcome.stat_sn, outcome: *outcome });
                }
                Some(LoginEvent::Failed(failure)) => return Err(failure.status().expect("a refusal")),
                Some(other) => panic!("{other:?}"),
            }
        }
    }

    /// A turn of a login that another node is to admit: here until it asks for that, then there.
    fn hand_over(&mut self, id: ConnectionId, owner: &mut Self) -> ConnectionId {
        self.target.drive(self.now, id);
        let Some(Event::Admit { connection, identity, .. }) = self.target.poll_event() else {
            self.target.flush(self.now);
            return id;
        };
        let detached = self.target.detach(connection).expect("it is in login");
        let id = owner.target.attach(owner.now, detached.map_port(|port| port));
        owner.target.join(owner.now, id, &identity);
        owner.turn(id);
        id
    }

    /// Sends a command for `expected` bytes: a write if it has data, which is then all in the command.
    pub(crate) fn command(&mut self, peer: &mut Peer, cdb: &Cdb, expected: usize, data: Bytes) -> InitiatorTaskTag {
        let cmd_sn = self.cmd_sn;
        self.cmd_sn = cmd_sn.next();
        self.command_with(peer, cmd_sn, cdb, expected, data)
    }

    /// Sends a write whose data is to be asked for.
    pub(crate) fn write_command(&mut self, peer: &mut Peer, cdb: &Cdb, expected: usize) -> InitiatorTaskTag {
        let command = self.new_command(peer, self.cmd_sn, cdb, expected);
        self.cmd_sn = self.cmd_sn.next();
        let tag = command.initiator_task_tag;
        peer.send(ScsiCommand { write: true, ..command });
        tag
    }

    pub(crate) fn command_with(
        &mut self,
        peer: &mut Peer,
        cmd_sn: CmdSn,
        cdb: &Cdb,
        expected: usize,
        data: Bytes,
    ) -> InitiatorTaskTag {
        let command = self.new_command(peer, cmd_sn, cdb, expected);
        let tag = command.initiator_task_tag;
        peer.send(ScsiCommand { read: expected > 0 && data.is_empty(), write: !data.is_empty(), data, ..command });
        tag
    }

    fn new_command(&mut self, peer: &Peer, cmd_sn: CmdSn, cdb: &Cdb, expected: usize) -> ScsiCommand {
        self.tag += 1;
        let mut bytes = [0; 16];
        bytes[..cdb.as_bytes().len()].copy_from_slice(cdb.as_bytes());
        ScsiCommand {
            is_final: true,
            initiator_task_tag: InitiatorTaskTag(self.tag),
            expected_data_transfer_length: expected as u32,
            cmd_sn,
            exp_stat_sn: peer.stat_sn,
            cdb: bytes,
            ..ScsiCommand::default()
        }
    }

    /// One turn of the owner, after a connection has become ready.
    pub(crate) fn turn(&mut self, id: ConnectionId) {
        self.target.drive(self.now, id);
        for _ in 0..4 {
            self.target.drive_more(self.now);
            while let Some(request) = self.target.poll_io() {
                match &mut self.held {
                    Some(held) => held.push(request),
                    None => self.answer(request),
                }
            }
            self.target.flush(self.now);
            while let Some(event) = self.target.poll_event() {
                match &event {
                    Event::Admit { connection, identity, .. } if identity.tsih == Tsih(0) => {
                        self.target.admit(self.now, *connection, TSIH);
                    }
                    Event::Admit { connection, identity, .. } => self.target.join(self.now, *connection, identity),
                    _ => self.events.push(event),
                }
            }
            self.target.flush(self.now);
        }
    }

    /// All that has been sent on a connection, after a turn for it.
    pub(crate) fn answers(&mut self, peer: &mut Peer) -> Vec<Pdu> {
        self.turn(peer.id);
        peer.receive()
    }

    /// Lets the store answer what it holds.
    pub(crate) fn release(&mut self) {
        for request in self.held.take().unwrap_or_default() {
            self.answer(request);
        }
    }

    pub(crate) fn answer(&mut self, request: IoRequest) {
        let output = carry_out(&mut self.disk, request.io);
        self.target.handle_io_done(self.now, request.id, Ok(output));
    }
}

impl Peer {
    pub(crate) fn send(&mut self, pdu: impl Into<Pdu>) {
        self.port.send(pdu.into().encode());
        self.port.flush().expect("a loopback takes it");
    }

    /// All that is there, and what it acknowledges from now on.
    pub(crate) fn receive(&mut self) -> Vec<Pdu> {
        let mut pdus = Vec::new();
        while let Ok(Some(Received::Frame(frame))) = self.port.receive() {
            let pdu = Pdu::decode(frame).expect("a PDU");
            match &pdu {
                Pdu::ScsiResponse(response) => self.stat_sn = response.stat_sn.next(),
                Pdu::AsyncMessage(message) => self.stat_sn = message.stat_sn.next(),
                Pdu::DataIn(data) => {
                    if let Some(status) = &data.status {
                        self.stat_sn = status.stat_sn.next();
                    }
                }
                _ => {}
            }
            pdus.push(pdu);
        }
        pdus
    }

    pub(crate) fn is_closed(&mut self) -> bool {
        self.port.receive().is_err()
    }

    pub(crate) fn exp_stat_sn(&self) -> StatSn {
        self.stat_sn
    }
}
