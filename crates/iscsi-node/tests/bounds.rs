//! What one peer costs the others: turns, timers and memory are bounded, and nothing that was asked of a store is forgotten.

#[path = "support/port.rs"]
mod port;
#[path = "support/portal.rs"]
mod portal;

use bytes::Bytes;
use iscsi_node::initiator::{self, InitiatorNode};
use iscsi_node::target::{Event, TargetNode};
use iscsi_pdu::{Cid, CmdSn, Frame, InitiatorTaskTag, Isid, LoginRequest, NopIn, NopOut, Pdu, Stage, StatSn, Tsih};
use iscsi_session::initiator::{LoginConfig, SessionConfig};
use iscsi_session::{Authentication, Limits, SessionType};
use iscsi_transport::{LoopbackPort, PduPort, PortError, Received};
use port::{Twist, TwistedPort};
use portal::{TARGET, portal};
use scsi_block::{Geometry, LogicalUnitConfig};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A port whose peer never stops sending this PDU, which wants no answer, once it is there.
struct Flood {
    flood: Rc<RefCell<Option<Frame>>>,
    received: Rc<Cell<usize>>,
}

impl Twist for Flood {
    fn receive(&mut self, inner: &mut LoopbackPort) -> Result<Option<Received>, PortError> {
        let Some(frame) = &*self.flood.borrow() else { return inner.receive() };
        self.received.set(self.received.get() + 1);
        Ok(Some(Received::Frame(frame.clone())))
    }
}

fn target<P: PduPort>() -> TargetNode<P> {
    let unit = LogicalUnitConfig::new(Geometry { block_size: 512, blocks: 8 }, "bounds");
    TargetNode::new(Arc::new(portal(unit)))
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
    let (flood, received) = (Rc::new(RefCell::new(None)), Rc::new(Cell::new(0)));
    let port = TwistedPort { inner, twist: Flood { flood: Rc::clone(&flood), received: Rc::clone(&received) } };
    let mut node = target();
    let id = node.accept(now, port, "127.0.0.1:3260", [1; 32]);
    let mut first = login();
    loop {
        peer.send(Pdu::from(first.clone()).encode());
        peer.flush().expect("a loopback takes a login");
        node.drive(now, id);
        node.flush(now);
        let mut opened = false;
        while let Some(event) = node.poll_event() {
            match event {
                Event::Admit { connection, .. } => node.admit(now, connection, Tsih(1)),
                Event::SessionOpened { .. } => opened = true,
                other => panic!("{other:?}"),
            }
        }
        node.flush(now);
        if opened {
            break;
        }
        // What the target has offered is left at its default.
        first.data = Bytes::new();
    }

    let ping = NopOut { immediate: true, cmd_sn: CmdSn(1), ..NopOut::default() };
    *flood.borrow_mut() = Some(Pdu::from(ping).encode());
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
    let mut node = target();
    for step in 0..100 {
        let (peer, port) = LoopbackPort::pair();
        let id = node.accept(now + Duration::from_millis(step), port, "127.0.0.1:3260", [1; 32]);
        drop(peer);
        node.drive(now, id);
        node.flush(now);
    }
    assert_eq!(node.connections(), 0);
    assert_eq!(node.poll_timeout(), None);
}

#[test]
fn a_target_that_never_stops_leaves_its_initiator_time() {
    let now = Instant::now();
    let (inner, theirs) = LoopbackPort::pair();
    let (flood, received) = (Rc::new(RefCell::new(None)), Rc::new(Cell::new(0)));
    let port = TwistedPort { inner, twist: Flood { flood: Rc::clone(&flood), received } };
    let mut target = target();
    let id = target.accept(now, theirs, "127.0.0.1:3260", [1; 32]);
    let login = LoginConfig {
        initiator_name: "iqn.2026-01.test:initiator".into(),
        initiator_alias: None,
        target_name: Some(TARGET.into()),
        session_type: SessionType::Normal,
        isid: Isid([0x80, 0, 0, 0, 0, 1]),
        tsih: Tsih(0),
        cid: Cid(0),
        limits: Limits::default(),
        authentication: Authentication::None,
        timeout: Duration::from_secs(5),
    };
    let mut initiator = InitiatorNode::new(port, login, SessionConfig::default(), [2; 32], now);
    let mut stat_sn = StatSn(0);
    while initiator.parameters().is_none() {
        initiator.flush(now);
        target.drive(now, id);
        while let Some(event) = target.poll_event() {
            match event {
                Event::Admit { connection, .. } => target.admit(now, connection, Tsih(1)),
                Event::SessionOpened { outcome, .. } => stat_sn = outcome.stat_sn,
                other => panic!("{other:?}"),
            }
        }
        target.flush(now);
        assert!(!initiator.drive(now), "there is no more than the login");
    }

    // A NOP-In that wants no answer carries the next StatSN and uses none.
    let ping = NopIn { stat_sn, exp_cmd_sn: CmdSn(0), max_cmd_sn: CmdSn(0), ..NopIn::default() };
    *flood.borrow_mut() = Some(Pdu::from(ping).encode());
    assert!(initiator.drive(now), "there is more");
    assert!(!initiator.is_ended(), "{:?}", std::iter::from_fn(|| initiator.poll_event()).collect::<Vec<_>>());
    let logged_in = |event: &initiator::Event| matches!(event, initiator::Event::LoggedIn(_));
    assert!(initiator.poll_event().as_ref().is_some_and(logged_in));
}
