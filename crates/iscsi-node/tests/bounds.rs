//! What one peer costs the others: turns, timers and memory are bounded, and nothing that was asked of a store is forgotten.

use bytes::Bytes;
use iscsi_node::target::{Event, Portal, TargetConfig, TargetNode};
use iscsi_pdu::{CmdSn, Frame, InitiatorTaskTag, Isid, LoginRequest, NopOut, Pdu, Stage, Tsih};
use iscsi_transport::{Capabilities, Digests, Flush, LoopbackPort, PduPort, PortError, ReceiveLimits, Received};
use scsi_block::{Geometry, LogicalUnitConfig, LogicalUnitNumber, TargetDevice};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A port whose peer never stops sending pings that want no answer, once it is told to.
struct FloodPort {
    inner: LoopbackPort,
    floods: Rc<Cell<bool>>,
    received: Rc<Cell<usize>>,
}

impl PduPort for FloodPort {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn reserve(&mut self, length: u32) -> u32 {
        self.inner.reserve(length)
    }

    fn release(&mut self, tag: u32) {
        self.inner.release(tag);
    }

    fn receive(&mut self) -> Result<Option<Received>, PortError> {
        if !self.floods.get() {
            return self.inner.receive();
        }
        self.received.set(self.received.get() + 1);
        let ping = NopOut { immediate: true, cmd_sn: CmdSn(1), ..NopOut::default() };
        Ok(Some(Received::Frame(Pdu::from(ping).encode())))
    }

    fn can_send(&self) -> bool {
        self.inner.can_send()
    }

    fn send(&mut self, frame: Frame) {
        self.inner.send(frame);
    }

    fn flush(&mut self) -> Result<Flush, PortError> {
        self.inner.flush()
    }

    fn set_digests(&mut self, digests: Digests) {
        self.inner.set_digests(digests);
    }

    fn set_receive_limits(&mut self, limits: ReceiveLimits) {
        self.inner.set_receive_limits(limits);
    }
}

fn portal() -> Arc<Portal> {
    let unit = LogicalUnitConfig::new(Geometry { block_size: 512, blocks: 8 }, "bounds");
    let device = TargetDevice::new([(LogicalUnitNumber::from(0), unit)]).expect("the unit makes sense");
    let mut portal = Portal::new();
    portal.targets.push(TargetConfig {
        name: "iqn.2026-01.test:target".into(),
        alias: None,
        device: Arc::new(device),
        authentication: iscsi_session::Authentication::None,
        initiators: None,
        resettable: false,
    });
    Arc::new(portal)
}

fn login() -> LoginRequest {
    LoginRequest {
        transit: Some(Stage::FullFeaturePhase),
        current_stage: Stage::LoginOperationalNegotiation,
        isid: Isid([0x80, 0, 0, 0, 0, 1]),
        initiator_task_tag: InitiatorTaskTag(7),
        cmd_sn: CmdSn(1),
        data: Bytes::from_static(b"InitiatorName=iqn.2026-01.test:flood\0TargetName=iqn.2026-01.test:target\0"),
        ..LoginRequest::default()
    }
}

#[test]
fn a_peer_that_never_stops_has_one_turn_at_a_time_however_often_it_is_ready() {
    let now = Instant::now();
    let (mut peer, inner) = LoopbackPort::pair();
    let (floods, received) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    let port = FloodPort { inner, floods: Rc::clone(&floods), received: Rc::clone(&received) };
    let mut node = TargetNode::new(portal());
    let id = node.accept(now, port, "127.0.0.1:3260".into(), [1; 32]);
    let mut first = login();
    loop {
        peer.send(Pdu::from(first.clone()).encode());
        peer.flush().expect("a loopback takes a login");
        node.drive(now, id);
        node.flush();
        let mut opened = false;
        while let Some(event) = node.poll_event() {
            match event {
                Event::Admit { connection, .. } => node.admit(now, connection, Tsih(1)),
                Event::SessionOpened { .. } => opened = true,
                other => panic!("{other:?}"),
            }
        }
        node.flush();
        if opened {
            break;
        }
        // What the target has offered is left at its default.
        first.data = Bytes::new();
    }

    floods.set(true);
    for _ in 0..5 {
        node.drive(now, id);
    }
    let before = received.get();
    node.drive_more(now);
    assert_eq!(received.get() - before, before / 5, "as many as in any of the five turns before");
}

#[test]
fn a_connection_that_is_gone_leaves_no_timer() {
    let now = Instant::now();
    let mut node = TargetNode::new(portal());
    for step in 0..100 {
        let (_peer, port) = LoopbackPort::pair();
        let id = node.accept(now + Duration::from_millis(step), port, "127.0.0.1:3260".into(), [1; 32]);
        node.end(id);
        node.flush();
    }
    assert_eq!(node.connections(), 0);
    assert_eq!(node.poll_timeout(), None);
}
