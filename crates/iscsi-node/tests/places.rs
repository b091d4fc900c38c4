//! What a target and its port agree upon: places for payload, and how long a segment may be.

#[path = "support/port.rs"]
mod port;
#[path = "support/portal.rs"]
mod portal;

use bytes::Bytes;
use iscsi_node::target::{ConnectionId, Event, TargetNode};
use iscsi_pdu::{CmdSn, InitiatorTaskTag, Isid, LoginRequest, NopOut, Pdu, ScsiCommand, Stage, Tsih};
use iscsi_transport::{Capabilities, LoopbackPort, PduPort, Received};
use port::{Twist, TwistedPort};
use portal::portal;
use scsi_block::{Geometry, LogicalUnitConfig};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// A port that keeps what was reserved, and has capabilities of its own.
struct Keeping {
    reserved: Rc<RefCell<Vec<u32>>>,
    capabilities: Capabilities,
}

impl Twist for Keeping {
    fn capabilities<'a>(&'a self, _: &'a LoopbackPort) -> &'a Capabilities {
        &self.capabilities
    }

    fn reserve(&mut self, inner: &mut LoopbackPort, length: u32) -> u32 {
        self.reserved.borrow_mut().push(length);
        inner.reserve(length)
    }
}

/// A target node and its only connection.
struct Bench {
    peer: LoopbackPort,
    node: TargetNode<TwistedPort<Keeping>>,
    id: ConnectionId,
    reserved: Rc<RefCell<Vec<u32>>>,
    opened: bool,
}

impl Bench {
    fn new() -> Self {
        let unit = LogicalUnitConfig::new(Geometry { block_size: 512, blocks: 8 }, "places");
        let (peer, inner) = LoopbackPort::pair();
        let reserved = Rc::new(RefCell::new(Vec::new()));
        let mut node = TargetNode::new(Arc::new(portal(unit)));
        let capabilities = Capabilities {
            receive_segment_bytes_max: 2048,
            send_segment_bytes_max: 1024,
            ..*LoopbackPort::pair().0.capabilities()
        };
        let port = TwistedPort { inner, twist: Keeping { reserved: Rc::clone(&reserved), capabilities } };
        let id = node.accept(Instant::now(), port, "127.0.0.1:3260", [1; 32]);
        Self { peer, node, id, reserved, opened: false }
    }

    /// Sends a PDU to the target, lets it work, and gives what it answers.
    fn say(&mut self, pdu: impl Into<Pdu>) -> Vec<Pdu> {
        let now = Instant::now();
        self.peer.send(pdu.into().encode());
        self.peer.flush().expect("a loopback takes a PDU");
        self.node.drive(now, self.id);
        self.node.flush(now);
        while let Some(event) = self.node.poll_event() {
            match event {
                Event::Admit { connection, .. } => self.node.admit(now, connection, Tsih(1)),
                Event::SessionOpened { .. } => self.opened = true,
                other => panic!("{other:?}"),
            }
        }
        self.node.flush(now);
        let mut answers = Vec::new();
        while let Some(received) = self.peer.receive().expect("the target lives") {
            let Received::Frame(frame) = received else { panic!("a loopback breaks nothing") };
            answers.push(Pdu::decode(frame).expect("a target sends PDUs"));
        }
        answers
    }

    /// Logs in, and gives all text of the target.
    fn log_in(&mut self) -> String {
        let mut text = String::new();
        let mut login = LoginRequest {
            transit: Some(Stage::FullFeaturePhase),
            current_stage: Stage::LoginOperationalNegotiation,
            isid: Isid([0x80, 0, 0, 0, 0, 1]),
            initiator_task_tag: InitiatorTaskTag(7),
            cmd_sn: CmdSn(1),
            data: Bytes::from_static(b"InitiatorName=iqn.2026-01.test:places\0TargetName=iqn.2026-01.test:target\0"),
            ..LoginRequest::default()
        };
        while !self.opened {
            for answer in self.say(login.clone()) {
                let Pdu::LoginResponse(response) = answer else { panic!("an answer to a login, not {answer:?}") };
                text += &String::from_utf8_lossy(&response.data);
            }
            // What the target has offered is left at its default.
            login.data = Bytes::new();
        }
        text
    }
}

#[test]
fn no_segment_is_longer_than_the_port_can_take_or_send() {
    let mut bench = Bench::new();
    let text = bench.log_in();
    assert!(text.contains("MaxRecvDataSegmentLength=2048\0"), "what the port can take is declared: {text:?}");
    // The initiator has declared nothing, and so takes 8192 bytes.
    let ping = NopOut {
        immediate: true,
        initiator_task_tag: Some(InitiatorTaskTag(1)),
        cmd_sn: CmdSn(1),
        data: vec![7; 2000].into(),
        ..NopOut::default()
    };
    let answers = bench.say(ping);
    let [Pdu::NopIn(answer)] = &answers[..] else { panic!("an answer to a ping, not {answers:?}") };
    assert_eq!(answer.data.len(), 1024);
}

#[test]
fn a_place_for_a_write_counts_from_its_first_byte_even_if_some_has_come() {
    let mut bench = Bench::new();
    bench.log_in();
    // The unit attention of a new nexus is taken first.
    let ready = ScsiCommand { is_final: true, cmd_sn: CmdSn(1), ..ScsiCommand::default() };
    bench.say(ready.clone());
    let mut cdb = [0; 16];
    (cdb[0], cdb[8]) = (0x2a, 4);
    let write = ScsiCommand {
        write: true,
        initiator_task_tag: InitiatorTaskTag(1),
        expected_data_transfer_length: 2048,
        cmd_sn: CmdSn(2),
        cdb,
        data: vec![1; 512].into(),
        ..ready
    };
    let answers = bench.say(write);
    let asked = |pdu: &Pdu| matches!(pdu, Pdu::R2t(r2t) if (r2t.buffer_offset, r2t.desired_data_transfer_length) == (512, 1536));
    assert!(answers.iter().any(asked), "what is missing is asked for: {answers:?}");
    assert_eq!(bench.reserved.borrow().last(), Some(&2048), "and offsets are those of the whole");
}
