//! PDUs between two connections of the same adapter: right from the memory of one driver to that of the other.
//!
//! ```text
//!   driver ── work request ──> payload, digests ──> examine ──> ingress queue, placed payload ──> driver
//!                                    └──> TCP, frames, switch, TCP ──┘   whatever cannot go right there
//! ```
//!
//! A PDU goes this way if all that was sent before has been taken, if the other end can take it now, and if the switch would bring it there
//! and nowhere else, which counts it as the segment that it would have been. TCP knows nothing of it: its own numbers go on
//! where they were, and what the drivers are told counts both. Everything else goes by TCP: streams, what is too early, what has to wait.

use super::Core;
use super::flow::Phase;
use super::ingress::IngressQueue;
use super::pump::{Arrival, give_pdu};
use crate::iscsi::{Layout, Measured};
use crate::tcp::Tuple;
use std::time::Duration;

/// Header of TCP, in bytes.
const TCP_HEADER_BYTES: usize = 20;

impl Core {
    /// The connection that is the other end of one that stands, if it is one of the adapter's.
    pub(super) fn find_other_end(&self, tid: u32) -> Option<u32> {
        let flow = &self.flows[tid as usize];
        let tuple = Tuple { local: flow.tuple.peer, peer: flow.tuple.local };
        let interfaces = self.functions.iter().flatten().flat_map(|function| function.interfaces.iter());
        interfaces
            .into_iter()
            .find_map(|interface| self.by_tuple.get(&(interface, tuple)).copied().filter(|other| *other != tid))
    }

    /// The other end of a connection, if it takes a PDU now and none is on its way there.
    pub(super) fn end_that_takes(&self, tid: u32) -> Option<u32> {
        let flow = &self.flows[tid as usize];
        let number = flow.other_end?;
        let other = self.flows.get(number as usize)?;
        let (ours, theirs) = (flow.tcp.as_ref()?, other.tcp.as_ref()?);
        let queue = self.functions[other.pf].as_ref()?.ingress.get(&other.iq)?;
        let takes = matches!((&flow.phase, &other.phase), (Phase::Open, Phase::Open))
            && other.other_end == Some(tid)
            && other.is_iscsi()
            && other.takes_more()
            && IngressQueue::has_room(queue);
        (takes && ours.can_pass_to(theirs)).then_some(number)
    }

    /// Gives a PDU to the driver of the other end. False if it is none, or the switch would not bring it there: nothing has happened.
    pub(super) fn pass(&mut self, from: u32, to: u32, pdu: &[u8], now: Duration) -> bool {
        let Some((sender, receiver)) = self.flows.get2_mut(from as usize, to as usize) else { return false };
        let settings = receiver.settings();
        let (Some(ours), Some(theirs)) = (&mut sender.tcp, &mut receiver.tcp) else { return false };
        let layout = match Layout::measure(pdu, settings) {
            Measured::Known(layout) if layout.total_bytes == pdu.len() => layout,
            _ => return false,
        };
        let ethernet = ours.link().ethernet();
        let ip_header_bytes = if ours.link().ipv6 { 40 } else { 20 };
        let frame_bytes = ethernet.length + ip_header_bytes + TCP_HEADER_BYTES + pdu.len();
        if !self.switch.pass(sender.interface, receiver.interface, &ethernet, frame_bytes) {
            return false;
        }
        let function = self.functions[receiver.pf].as_mut().expect("a connection has a function");
        let arrival = Arrival { tid: to, iq: receiver.iq, settings, sequence: theirs.rcv_nxt(), layout };
        give_pdu(function, &mut self.counted, arrival, pdu, now);
        ours.pass(theirs, pdu.len());
        receiver.unacknowledged_bytes += pdu.len() as u32;
        self.counted.passed_pdus += 1;
        true
    }
}
