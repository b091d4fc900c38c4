//! PDUs between two connections of the same adapter: right from the memory of one driver to that of the other.
//!
//! ```text
//!   driver ── work request ──> payload, digests ──> examine ──> ingress queue, placed payload ──> driver
//!                                    └──> TCP, frames, switch, TCP ──┘   whatever cannot go right there
//! ```
//!
//! A PDU goes this way if all that was sent before has been taken, and if the switch would bring it there and nowhere else, which counts it as
//! the segment that it would have been. It waits where it is while the other end takes no more, as it would for a window of TCP.
//! TCP knows nothing of it: its own numbers go on where they were, and what the drivers are told counts both. Everything else goes
//! by TCP: streams, and what is too early.

use super::Core;
use super::flow::Phase;
use super::ingress::IngressQueue;
use super::pump::{Arrival, give_pdu};
use crate::iscsi::{Layout, Measured};
use crate::tcp::Tuple;
use std::time::Duration;

/// Header of TCP, in bytes.
const TCP_HEADER_BYTES: usize = 20;

/// How a PDU goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Right to the driver of that connection.
    Inside(u32),
    /// Not yet: its other end takes no more for now.
    Waits,
    /// By TCP and frames.
    Tcp,
}

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

    /// The way that the next PDU of a connection goes. One that waits is looked after again when its other end takes more.
    pub(super) fn way_of(&mut self, tid: u32) -> Way {
        let flow = &self.flows[tid as usize];
        let (Some(tcp), Some(number)) = (&flow.tcp, flow.other_end) else { return Way::Tcp };
        let Some(other) = self.flows.get(number as usize).filter(|other| other.other_end == Some(tid)) else {
            return Way::Tcp;
        };
        let both_stand = matches!((&flow.phase, &other.phase), (Phase::Open, Phase::Open)) && other.is_iscsi();
        if !both_stand || !other.tcp.as_ref().is_some_and(|theirs| tcp.can_pass_to(theirs)) {
            return Way::Tcp;
        }
        let takes_more = other.takes_more();
        let Some(function) = self.functions[other.pf].as_mut() else { return Way::Tcp };
        match function.ingress.get(&other.iq).map(IngressQueue::has_room) {
            None => Way::Tcp,
            Some(true) if takes_more => Way::Inside(number),
            Some(true) => Way::Waits,
            Some(false) => {
                function.stalled.insert(tid);
                Way::Waits
            }
        }
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
