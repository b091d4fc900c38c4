//! Frames between interfaces, wires and connections.

use super::Core;
use super::egress::EgressKind;
use crate::switch::{Delivery, EthernetHeader, InterfaceNumber, Match, Origin, Path, Refusal};
use crate::tcp::{Segment, checksum};
use std::time::Duration;
use t5_hal::wire::{FunctionId, ReplyOpcode, RxPkt};
use zerocopy::IntoBytes;

/// Frames of offloaded connections that are sent in one turn.
const FRAMES_A_TURN: usize = 256;
/// Frames of offloaded connections that wait for their turn.
pub(super) const FRAMES_MAX: usize = 4096;

impl Core {
    /// Sends the frames of offloaded connections.
    pub(super) fn run_frames(&mut self, now: Duration) -> bool {
        let some = !self.frames.is_empty();
        for _ in 0..FRAMES_A_TURN {
            let Some((interface, frame)) = self.frames.pop_front() else { break };
            match self.switch.transmit(interface, Path::Switched, Origin::Offload, &frame) {
                Ok(delivery) => self.deliver(delivery, frame, now),
                Err(refusal) => self.blame(interface, refusal),
            }
        }
        some
    }

    /// Sends a frame of an interface's owner.
    pub(super) fn transmit(
        &mut self,
        interface: InterfaceNumber,
        path: Path,
        origin: Origin,
        frame: Vec<u8>,
        now: Duration,
    ) -> Result<(), Refusal> {
        let delivery = self.switch.transmit(interface, path, origin, &frame)?;
        self.deliver(delivery, frame, now);
        Ok(())
    }

    fn blame(&mut self, interface: InterfaceNumber, refusal: Refusal) {
        if let Some(function) = self.functions.iter_mut().find(|function| function.interfaces.contains(interface)) {
            function.fault(refusal.into());
        }
    }

    /// Brings a frame to everybody who gets it.
    pub(super) fn deliver(&mut self, delivery: Delivery, mut frame: Vec<u8>, now: Duration) {
        let copies = delivery.copies.len() + delivery.wires.len();
        self.copied_bytes = self.copied_bytes.wrapping_add((copies * frame.len()) as u64);
        for copy in &delivery.copies {
            self.deliver_copy(copy.receiver, copy.queue, copy.matched, &frame, now);
        }
        if !delivery.wires.is_empty()
            && let Some(ethernet) = EthernetHeader::decode(&frame).filter(EthernetHeader::is_ip)
        {
            checksum::fill(&mut frame[ethernet.length..]);
        }
        for &port in &delivery.wires {
            self.send_to_wire(port, frame.clone());
        }
    }

    fn deliver_copy(
        &mut self,
        interface: InterfaceNumber,
        queue: Option<u16>,
        matched: Match,
        frame: &[u8],
        now: Duration,
    ) {
        let owner = self.functions.iter().find(|function| function.interfaces.contains(interface));
        let Some(who) = owner.map(|function| function.id) else { return };
        let Some(ethernet) = EthernetHeader::decode(frame) else { return };
        let packet = &frame[ethernet.length..];
        if ethernet.is_ip()
            && let Some(segment) = Segment::decode(packet)
        {
            if let Some(&tid) = self.by_tuple.get(&(interface, segment.tuple)) {
                if let Some(tcp) = self.flows.get_mut(tid as usize).and_then(|flow| flow.tcp.as_mut()) {
                    tcp.handle_packet(packet, now);
                    self.make_ready(tid);
                }
                return;
            }
            if segment.syn && !segment.ack && !segment.rst {
                if self.handle_syn(who, interface, frame, &ethernet, &segment, now) {
                    return;
                }
                if !self.has_host_stack(who, interface) {
                    return self.refuse_syn(who, interface, frame);
                }
            }
        }
        self.deliver_frame(who, interface, queue, matched, frame, &ethernet, now);
    }

    /// Whether somebody beside the adapter speaks for an interface: who sends frames by itself.
    fn has_host_stack(&self, who: FunctionId, interface: InterfaceNumber) -> bool {
        let queues = self.functions[who].iter().flat_map(|function| function.egress.values());
        queues.into_iter().any(|queue| queue.kind == EgressKind::Ethernet(interface))
    }

    /// Gives a frame to the interface's owner.
    #[allow(clippy::too_many_arguments, reason = "what is known of a frame that has come")]
    fn deliver_frame(
        &mut self,
        who: FunctionId,
        interface: InterfaceNumber,
        queue: Option<u16>,
        matched: Match,
        frame: &[u8],
        ethernet: &EthernetHeader,
        now: Duration,
    ) {
        let function = self.function(who);
        let Some(iq) = queue.or_else(|| function.default_queues.get(&interface).copied()) else { return };
        // What nobody reads or has a buffer for is lost, as on a wire: who sends it harms nobody.
        let length = size_of::<RxPkt>() + frame.len();
        if !function.ingress.get(&iq).is_some_and(|queue| queue.takes(&function.memory, length)) {
            return;
        }
        let message = RxPkt {
            opcode: ReplyOpcode::RxPkt.to_wire(),
            length: (frame.len() as u16).into(),
            vlan: ethernet.vlan.unwrap_or(0).into(),
            l2info: u32::from(matched as u8).into(),
            ..RxPkt::default()
        };
        function.send(iq, [message.as_bytes(), frame], true, now);
    }
}
