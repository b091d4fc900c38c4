//! How connections begin and end: what the driver asks for, and SYNs from elsewhere.

use super::Core;
use super::egress::alone;
use super::fault::Fault;
use super::flow::{Flow, Phase};
use super::frames::FRAMES_MAX;
use crate::switch::{EthernetHeader, InterfaceNumber};
use crate::tcp::{Connection, ConnectionConfig, LinkHeader, Segment, Tuple};
use std::net::SocketAddr;
use std::time::Duration;
use t5_hal::driver::MTU_TABLE;
use t5_hal::wire::*;
use zerocopy::IntoBytes;

/// Longest IP packet between two interfaces of the adapter.
pub(super) const INSIDE_MTU_BYTES: usize = 65535;
/// Smallest ring for bytes that have come: a PDU finds room in it.
const RECEIVE_BYTES_MIN: usize = 64 << 10;
/// Bytes that TCP holds until they are acknowledged.
pub(super) const SEND_BYTES: usize = 128 << 10;

impl Core {
    /// The connection of a message, if it is that function's.
    pub(super) fn flow_of(&mut self, who: FunctionId, tid: u32) -> Result<&mut Flow, Fault> {
        let flow = self.flows.get_mut(tid as usize).filter(|flow| flow.owner == who);
        flow.filter(|flow| !matches!(flow.phase, Phase::Firmware { .. } | Phase::Over))
            .ok_or(Fault::NoConnection { tid })
    }

    /// Whether a connection of a function is over and not forgotten yet.
    pub(super) fn has_ended(&self, who: FunctionId, tid: u32) -> bool {
        let flow = self.flows.get(tid as usize);
        flow.is_some_and(|flow| flow.owner == who && matches!(flow.phase, Phase::Over))
    }

    /// What TCP needs of the driver's options; the reason if the tables do not have it.
    fn tcp_config(&mut self, who: FunctionId, opt0: Opt0) -> Result<(InterfaceNumber, ConnectionConfig), CplStatus> {
        let number = InterfaceNumber::new((opt0.get(Opt0::SMAC_SEL) >> 1) as u8).ok_or(CplStatus::BadRoute)?;
        let seed = self.random.u64(..);
        let function = self.function(who);
        let source = *function.sources.get(&number).ok_or(CplStatus::BadRoute)?;
        let hop = function.next_hops.get(opt0.get(Opt0::L2T_IDX) as usize).copied().flatten();
        let hop = hop.ok_or(CplStatus::ArpMiss)?;
        let inside = self.switch.has_address_at_port_of(number, hop.address);
        let mtu = MTU_TABLE[opt0.get(Opt0::MSS_IDX) as usize];
        let config = ConnectionConfig {
            link: LinkHeader { destination: hop.address, source, vlan_tag: hop.vlan_tag, ipv6: false },
            mtu_bytes: if inside { INSIDE_MTU_BYTES } else { mtu.into() },
            receive_bytes: ((opt0.get(Opt0::RCV_BUFSIZ) as usize) << 10).max(RECEIVE_BYTES_MIN),
            send_bytes: SEND_BYTES,
            nagle: opt0.is_set(Opt0::NAGLE),
            keep_alive: opt0.is_set(Opt0::KEEP_ALIVE),
            seed,
        };
        Ok((number, config))
    }

    /// ACT_OPEN_REQ.
    pub(super) fn open(
        &mut self,
        who: FunctionId,
        open: u32,
        (local, peer): (SocketAddr, SocketAddr),
        opt0: Opt0,
        now: Duration,
    ) -> Result<(), Fault> {
        let (atid, iq) = (open & 0x3fff, (open >> 14) as u16);
        if !self.function(who).ingress.contains_key(&iq) {
            return Err(Fault::NoQueue { queue: iq.into() });
        }
        if let Err(status) = self.begin_open(who, atid, iq, Tuple { local, peer }, opt0, now) {
            self.tell_open_failed(who, iq, atid, status, now);
        }
        Ok(())
    }

    fn begin_open(
        &mut self,
        who: FunctionId,
        atid: u32,
        iq: u16,
        tuple: Tuple,
        opt0: Opt0,
        now: Duration,
    ) -> Result<(), CplStatus> {
        let (interface, config) = self.tcp_config(who, opt0)?;
        if !self.function(who).has_address(tuple.local.ip()) {
            return Err(CplStatus::TcamMiss);
        }
        if self.by_tuple.contains_key(&(interface, tuple)) {
            return Err(CplStatus::ConnExist);
        }
        if !self.may_open(who, config.receive_bytes) {
            return Err(CplStatus::TcamFull);
        }
        let tcp = Connection::connect(config, tuple, now).map_err(|_| CplStatus::BadRoute)?;
        let mut flow = Flow::new(who, interface, tuple, iq, Phase::Opening { atid });
        flow.window_bytes = config.receive_bytes as u32;
        flow.set_ulp_mode(opt0.get(Opt0::ULP_MODE));
        flow.tcp = Some(tcp);
        self.insert(flow).map(|_| ()).ok_or(CplStatus::TcamFull)
    }

    pub(super) fn tell_open_failed(&mut self, who: FunctionId, iq: u16, atid: u32, status: CplStatus, now: Duration) {
        let reply = ActOpenRpl {
            opcode_tid: ReplyOpcode::ActOpenRpl.of(0),
            atid_status: AtidStatus::new()
                .with(AtidStatus::ATID, atid)
                .with(AtidStatus::STATUS, status.to_wire().into()),
        };
        self.function(who).send(iq, alone(&reply), false, now);
    }

    /// Gives a connection its number; none if its function has its share.
    pub(super) fn insert(&mut self, flow: Flow) -> Option<u32> {
        let most = self.function(flow.owner).share.connections;
        if self.held(flow.owner).connections >= most {
            return None;
        }
        let key = (flow.interface, flow.tuple);
        let tid = self.flows.insert(flow) as u32;
        self.by_tuple.insert(key, tid);
        self.make_ready(tid);
        Some(tid)
    }

    /// Nothing is left of a connection.
    pub(super) fn forget(&mut self, tid: u32) {
        let Some(flow) = self.flows.try_remove(tid as usize) else { return };
        self.by_tuple.remove(&(flow.interface, flow.tuple));
        if let Some(number) = flow.other_end
            && let Some(other) = self.flows.get_mut(number as usize)
            && other.other_end.take_if(|end| *end == tid).is_some()
        {
            // What waited to go right there goes by TCP.
            self.make_ready(number);
        }
        if let (Phase::Firmware { session }, Some(function)) = (&flow.phase, &mut self.functions[flow.owner]) {
            function.initiator.sessions.try_remove(*session as usize);
        }
        if let Some(at) = flow.timer {
            self.timers.remove(&(at, tid));
        }
    }

    /// Nothing is left of those connections.
    pub(super) fn forget_all(&mut self, which: impl Fn(&Flow) -> bool) {
        let gone: Vec<u32> = self.flows.iter().filter(|(_, flow)| which(flow)).map(|(tid, _)| tid as u32).collect();
        gone.into_iter().for_each(|tid| self.forget(tid));
    }

    /// A SYN for an interface, for which there is no connection: the driver is asked, if it listens.
    pub(super) fn handle_syn(
        &mut self,
        who: FunctionId,
        interface: InterfaceNumber,
        frame: &[u8],
        ethernet: &EthernetHeader,
        segment: &Segment,
        now: Duration,
    ) -> bool {
        let Some((listener, found)) = self.function(who).listener(segment.tuple.local) else { return false };
        // Nobody has a conversation with himself.
        if segment.tuple.local == segment.tuple.peer {
            return true;
        }
        if self.held(who).asked >= self.function(who).share.asked {
            return true;
        }
        let headers = ethernet.length + segment.ip_header_bytes + segment.tcp_header_bytes;
        let options = SynOptions::read(&frame[headers - segment.tcp_header_bytes..headers]);
        let phase = Phase::Asked { listener, frame: frame.to_vec() };
        let flow = Flow::new(who, interface, segment.tuple, found.iq, phase);
        let Some(tid) = self.insert(flow) else { return true };
        let request = PassAcceptReq {
            opcode_tid: ReplyOpcode::PassAcceptReq.of(tid),
            length: 0.into(),
            header_lengths: SynHeaderLengths::new()
                .with(SynHeaderLengths::ETH_HDR_LEN, ethernet.length as u32)
                .with(SynHeaderLengths::IP_HDR_LEN, segment.ip_header_bytes as u32)
                .with(SynHeaderLengths::TCP_HDR_LEN, segment.tcp_header_bytes as u32),
            vlan: ethernet.vlan.unwrap_or(0).into(),
            l2info: SynL2Info::new().with_bit(SynL2Info::SYN_XACT_MATCH, true),
            tos_stid: TosId::new().with(TosId::TOS, segment.tos.into()).with(TosId::ID, listener),
            tcp_mss: options.mss.into(),
            tcp_window_scale: options.window_scale,
            tcp_flags: TcpOptionFlags::new()
                .with_bit(TcpOptionFlags::TSTAMP, options.timestamps)
                .with_bit(TcpOptionFlags::SACK, options.sack)
                .with_bit(TcpOptionFlags::ECN, segment.ecn),
            ..PassAcceptReq::default()
        };
        self.function(who).send(found.iq, [request.as_bytes(), &frame[..headers]], true, now);
        true
    }

    /// PASS_ACCEPT_RPL.
    pub(super) fn accept(
        &mut self,
        who: FunctionId,
        tid: u32,
        opt0: Opt0,
        opt2: Opt2,
        now: Duration,
    ) -> Result<(), Fault> {
        let flow = self.flow_of(who, tid)?;
        if !matches!(flow.phase, Phase::Asked { .. }) {
            return Err(Fault::NoConnection { tid });
        }
        let config = self.tcp_config(who, opt0).ok().filter(|(_, config)| self.may_open(who, config.receive_bytes));
        let flow = self.flow_of(who, tid)?;
        let Phase::Asked { listener, frame } = std::mem::replace(&mut flow.phase, Phase::Over) else {
            return Err(Fault::NoConnection { tid });
        };
        let (interface, iq) = (flow.interface, opt2.get(Opt2::RSS_QUEUE) as u16);
        let syn = packet_of(&frame);
        let accepted = config
            .filter(|(number, _)| *number == interface)
            .and_then(|(_, config)| Some((Connection::accept(config, syn, now).ok()?, config.receive_bytes as u32)));
        let flow = self.flows.get_mut(tid as usize).expect("it was there before");
        flow.phase = Phase::Accepted { listener };
        if opt2.is_set(Opt2::RSS_QUEUE_VALID) {
            flow.iq = iq;
        }
        flow.set_ulp_mode(opt0.get(Opt0::ULP_MODE));
        match accepted {
            Some((tcp, window_bytes)) => (flow.tcp, flow.window_bytes) = (Some(tcp), window_bytes),
            None => {
                // The driver believes that it has a connection: it is told that it has none.
                self.tell_lost(tid, CplStatus::BadRoute, now);
            }
        }
        self.make_ready(tid);
        Ok(())
    }

    /// TID_RELEASE: the driver does not want the connection.
    pub(super) fn release(&mut self, who: FunctionId, tid: u32) -> Result<(), Fault> {
        let flow = self.flow_of(who, tid)?;
        let interface = flow.interface;
        let Phase::Asked { frame, .. } = std::mem::replace(&mut flow.phase, Phase::Over) else {
            return Err(Fault::NoConnection { tid });
        };
        self.forget(tid);
        self.refuse_syn(who, interface, &frame);
        Ok(())
    }

    /// Answers the frame of a SYN by a RST.
    pub(super) fn refuse_syn(&mut self, who: FunctionId, interface: InterfaceNumber, frame: &[u8]) {
        let Some(destination) = EthernetHeader::decode(frame).map(|ethernet| ethernet.source) else { return };
        let Some(&source) = self.function(who).sources.get(&interface) else { return };
        let link = LinkHeader { destination, source, vlan_tag: None, ipv6: false };
        if self.frames.len() < FRAMES_MAX
            && let Some(answer) = Connection::refusal(link, packet_of(frame))
        {
            self.frames.push_back((interface, answer));
        }
    }

    /// ABORT_REQ. One that crosses the word that the connection has ended has nothing left to abort, and is answered all the same.
    pub(super) fn abort(&mut self, who: FunctionId, tid: u32, command: u8, now: Duration) -> Result<(), Fault> {
        if self.has_ended(who, tid) {
            let iq = self.flows[tid as usize].iq;
            self.tell_aborted(who, iq, tid, CplStatus::AbortFailed, now);
            return Ok(());
        }
        let flow = self.flow_of(who, tid)?;
        let iq = flow.iq;
        match &mut flow.tcp {
            Some(tcp) if command == AbortCommand::SendRst.to_wire() => tcp.abort(),
            // The other end is told nothing, neither now nor later.
            tcp => *tcp = None,
        }
        flow.requests.clear();
        flow.phase = Phase::Over;
        self.tell_aborted(who, iq, tid, CplStatus::None, now);
        self.make_ready(tid);
        Ok(())
    }

    fn tell_aborted(&mut self, who: FunctionId, iq: u16, tid: u32, status: CplStatus, now: Duration) {
        let reply = AbortRplRss {
            opcode_tid: ReplyOpcode::AbortRplRss.of(tid),
            status: status.to_wire(),
            ..AbortRplRss::default()
        };
        self.function(who).send(iq, alone(&reply), false, now);
    }

    /// The connection is lost: the driver is told, and its answer is not waited for.
    pub(super) fn tell_lost(&mut self, tid: u32, status: CplStatus, now: Duration) {
        let Some(flow) = self.flows.get_mut(tid as usize) else { return };
        let phase = std::mem::replace(&mut flow.phase, Phase::Over);
        let (who, iq) = (flow.owner, flow.iq);
        flow.requests.clear();
        match phase {
            Phase::Opening { atid } => self.tell_open_failed(who, iq, atid, status, now),
            Phase::Accepted { .. } | Phase::Open => {
                let message = AbortReqRss {
                    opcode_tid: ReplyOpcode::AbortReqRss.of(tid),
                    status: status.to_wire(),
                    ..AbortReqRss::default()
                };
                self.function(who).send(iq, alone(&message), false, now);
                let flow = self.flows.get_mut(tid as usize).expect("it was there before");
                flow.awaits_abort_reply = true;
            }
            Phase::Asked { .. } | Phase::Firmware { .. } | Phase::Over => {}
        }
    }

    /// ABORT_RPL: the driver knows that the connection is lost.
    pub(super) fn end_by_driver(&mut self, who: FunctionId, tid: u32) -> Result<(), Fault> {
        let flow = self.flows.get_mut(tid as usize).filter(|flow| flow.owner == who && flow.awaits_abort_reply);
        flow.ok_or(Fault::NoConnection { tid })?.awaits_abort_reply = false;
        self.make_ready(tid);
        Ok(())
    }
}

/// What is behind the Ethernet header of a frame.
fn packet_of(frame: &[u8]) -> &[u8] {
    EthernetHeader::decode(frame).map_or(&[], |ethernet| &frame[ethernet.length..])
}

/// The options of a SYN that the driver is told of.
#[derive(Debug, Default, PartialEq, Eq)]
struct SynOptions {
    mss: u16,
    window_scale: u8,
    timestamps: bool,
    sack: bool,
}

impl SynOptions {
    /// Reads a TCP header.
    fn read(header: &[u8]) -> Self {
        let mut options = Self::default();
        let mut rest = header.get(20..).unwrap_or_default();
        while let Some(&kind) = rest.first() {
            let length = match kind {
                0 => break,
                1 => 1,
                _ => rest.get(1).map_or(0, |&length| usize::from(length)),
            };
            let Some((option, behind)) = rest.split_at_checked(length).filter(|_| length > 0) else { break };
            match option {
                [2, 4, high, low] => options.mss = u16::from_be_bytes([*high, *low]),
                [3, 3, shift] => options.window_scale = *shift,
                [4, 2] => options.sack = true,
                [8, 10, ..] => options.timestamps = true,
                _ => {}
            }
            rest = behind;
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn options_of_a_syn_are_read() {
        let mut header = vec![0; 20];
        header.extend([2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0]);
        let all = SynOptions { mss: 1460, window_scale: 7, timestamps: true, sack: true };
        assert_eq!(SynOptions::read(&header), all);
        assert_eq!(SynOptions::read(&[0; 20]), SynOptions::default());
    }

    proptest! {
        #[test]
        fn any_header_is_read(header in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = SynOptions::read(&header);
        }
    }
}
