//! PDUs between two connections of the same adapter: right from the memory of one driver to that of the other.
//!
//! ```text
//!   driver ── work request ──> payload, digests ──> examine ──> ingress queue, placed payload ──> driver
//!                                    └──> TCP, frames, switch, TCP ──┘   whatever cannot go right there
//! ```
//!
//! A PDU goes this way if all that was sent before has been taken, and if the switch would bring it there and nowhere else, which counts
//! it as the segment that it would have been. It waits until the other end can take it. TCP knows nothing of it: its own numbers go on
//! where they were, and what the drivers are told counts both. Everything else goes by TCP: streams, and what is too early.

use super::Core;
use super::flow::{Flow, Phase};
use super::ingress::IngressQueue;
use super::pump::{Arrival, give_pdu};
use crate::iscsi::{Layout, Measured, PDU_BYTES_MAX, WirePdu};
use crate::switch::IpHeader;
use crate::tcp::Tuple;
use bytes::{Bytes, BytesMut};
use std::time::Duration;

/// Header of TCP, in bytes.
const TCP_HEADER_BYTES: usize = 20;

/// How a PDU goes.
pub(super) enum Way {
    /// Right to that connection.
    Inside(u32),
    /// Not yet: the other end takes no more now.
    Waits,
    /// By TCP.
    Tcp,
}

impl Core {
    /// The connection that is the other end of one that stands, if it is one of the adapter's.
    pub(super) fn find_other_end(&self, tid: u32) -> Option<u32> {
        let flow = &self.flows[tid as usize];
        let tuple = Tuple { local: flow.tuple.peer, peer: flow.tuple.local };
        let interfaces = self.functions.iter().flat_map(|function| function.interfaces.iter());
        interfaces
            .into_iter()
            .find_map(|interface| self.by_tuple.get(&(interface, tuple)).copied().filter(|other| *other != tid))
    }

    /// How the next PDU of a connection reaches its other end. Where it has to wait for room, the connection is looked after once there may be some.
    pub(super) fn way_of(&mut self, tid: u32) -> Way {
        let Some((number, other)) = self.end_in_order(tid) else { return Way::Tcp };
        let (who, iq, takes) = (other.owner, other.iq, other.takes_more());
        let session = other.session();
        let function = self.functions[who].as_mut().expect("a connection has a function");
        if let Some(session) = session {
            return match function.initiator.sessions.get(session as usize).filter(|session| !session.is_over()) {
                Some(session) if session.has_much_to_tell() => Way::Waits,
                Some(_) => Way::Inside(number),
                None => Way::Tcp,
            };
        }
        match function.ingress.get(&iq).map(IngressQueue::has_room) {
            None => Way::Tcp,
            Some(true) if takes => Way::Inside(number),
            Some(true) => Way::Waits,
            Some(false) => {
                function.stalled.insert(tid);
                Way::Waits
            }
        }
    }

    /// The other end of a connection, if that stands and nothing is on its way there.
    fn end_in_order(&self, tid: u32) -> Option<(u32, &Flow)> {
        let flow = &self.flows[tid as usize];
        let number = flow.other_end?;
        let other = self.flows.get(number as usize)?;
        let stands = |flow: &Flow| flow.session().is_some() || matches!(flow.phase, Phase::Open) && flow.is_iscsi();
        let is_in_order = stands(flow)
            && stands(other)
            && other.other_end == Some(tid)
            && flow.tcp.as_ref()?.can_pass_to(other.tcp.as_ref()?);
        is_in_order.then_some((number, other))
    }

    /// What was sent to a connection may find room again.
    pub(super) fn wake_sender(&mut self, tid: u32) {
        if let Some(sender) = self.flows.get(tid as usize).and_then(|flow| flow.other_end) {
            self.make_ready(sender);
        }
    }

    /// Gives a PDU to the driver or the session of the other end. False if it is none, or the switch would not bring it there: nothing has happened.
    pub(super) fn pass(&mut self, from: u32, to: u32, pdu: WirePdu<'_>, now: Duration) -> bool {
        let Some((sender, receiver)) = self.flows.get2_mut(from as usize, to as usize) else { return false };
        let (session, settings) = (receiver.session(), receiver.settings());
        let (Some(ours), Some(theirs)) = (&mut sender.tcp, &mut receiver.tcp) else { return false };
        let function = self.functions[receiver.owner].as_mut().expect("a connection has a function");
        let settings = match session.map(|session| function.initiator.sessions.get(session as usize)) {
            None => settings,
            Some(Some(session)) => session.settings,
            Some(None) => return false,
        };
        // The other end has to see the same parts.
        if Layout::measure(pdu.head, settings) != Measured::Known(pdu.layout()) {
            return false;
        }
        let length = pdu.length();
        let (link, tuple) = (ours.link(), &sender.tuple);
        let ethernet = link.ethernet();
        let ip_header_bytes = if link.ipv6 { 40 } else { 20 };
        let frame_bytes = ethernet.length + ip_header_bytes + TCP_HEADER_BYTES + length;
        let ip = IpHeader::of_segment(tuple.local, tuple.peer);
        if !self.switch.pass(sender.interface, receiver.interface, &ethernet, &ip, frame_bytes) {
            return false;
        }
        match session {
            None => {
                let arrival = Arrival { tid: to, iq: receiver.iq, settings, sequence: theirs.rcv_nxt() };
                give_pdu(function, &mut self.counted, arrival, pdu, now);
                receiver.unacknowledged_bytes += length as u32;
            }
            Some(session) => {
                let data = pdu.kept.cloned().unwrap_or_else(|| copy_of(pdu.data, &mut self.session_data));
                let taken = crate::initiator::open(pdu, data, settings, &mut self.counted);
                let session = &mut function.initiator.sessions[session as usize];
                session.handle(self.epoch + now, taken, &function.memory);
            }
        }
        ours.pass(theirs, length);
        self.counted.passed_pdus += 1;
        if session.is_some() {
            self.make_ready(to);
        }
        true
    }
}

/// A copy in memory that is used again, from its beginning, once nothing holds any of it.
fn copy_of(data: &[u8], memory: &mut BytesMut) -> Bytes {
    if !memory.try_reclaim(PDU_BYTES_MAX) {
        *memory = BytesMut::with_capacity(PDU_BYTES_MAX);
    }
    memory.extend_from_slice(data);
    memory.split().freeze()
}
