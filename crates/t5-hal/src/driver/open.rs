//! How connections begin: listeners, active opens, passive opens, and the tables that they need.

use super::connection::{Connection, State};
use super::{Driver, DriverError, DriverEvent, Offload, OffloadMode};
use crate::bus::Bus;
use crate::wire::*;
use iscsi_transport::PortErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};
use t5_policy::{NO_VLAN, OpenKind, Opening as PolicyOpening, Settings};

/// How long an open waits that met a connection of the same addresses.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// Places of the adapter's that a listener has. One of IPv6 takes both, so that numbers are two apart.
const PLACES_OF_LISTENER: usize = 2;
/// The adapter's table of MTUs.
pub const MTU_TABLE: [u16; 16] =
    [88, 256, 512, 576, 808, 1024, 1280, 1488, 1500, 2002, 2048, 4096, 4352, 8192, 9000, 9600];

#[derive(Debug)]
pub(super) struct Listener {
    mode: OffloadMode,
}

#[derive(Debug)]
pub(super) struct Opening {
    target: OpenTarget,
    offload: Offload,
    next_hop: u16,
    sequence: u32,
    /// Whether it has met a connection of the same addresses once.
    retried: bool,
    /// To be tried again, once the time is known and then at that time.
    retry: Option<Option<Instant>>,
}

impl Opening {
    /// When it is tried again, as far as that is known.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry.flatten()
    }
}

/// Where an active open goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenTarget {
    /// Our own end.
    pub local: SocketAddr,
    /// The peer.
    pub peer: SocketAddr,
    /// The next hop's address on the link.
    pub peer_mac: [u8; 6],
    /// What the adapter does, unless a policy wants it to do less.
    pub mode: OffloadMode,
}

/// The table of next hops, as far as it was written.
#[derive(Debug)]
pub(super) struct NextHops {
    range: Range<u32>,
    macs: Vec<[u8; 6]>,
}

impl NextHops {
    pub(super) fn new(range: Range<u32>) -> Self {
        Self { range, macs: Vec::new() }
    }

    /// The entry of that address, and whether it is to be written; `None` if the table is full.
    fn find(&mut self, mac: [u8; 6]) -> Option<(u16, bool)> {
        if let Some(at) = self.macs.iter().position(|&known| known == mac) {
            return Some(((self.range.start as usize + at) as u16, false));
        }
        if self.macs.len() >= self.range.len() {
            return None;
        }
        self.macs.push(mac);
        Some(((self.range.start as usize + self.macs.len() - 1) as u16, true))
    }
}

impl<B: Bus> Driver<B> {
    /// Listens at an address; tells by [`DriverEvent::Listening`]. Gives the listener's number. On its connections the adapter does
    /// what `mode` says, unless a policy wants it to do less.
    ///
    /// # Errors
    /// The policy does not offload it, the address is one of IPv6 that the adapter does not know, or it has no room for another.
    pub fn listen(&mut self, local: SocketAddr, mode: OffloadMode) -> Result<u32, DriverError> {
        if !local.ip().is_unspecified() {
            self.check_address(local.ip())?;
        }
        let queue = self.decide(&PolicyOpening::listen(local), mode)?.queue;
        if (self.listeners.vacant_key() + 1) * PLACES_OF_LISTENER > self.adapter.servers.len() {
            return Err(DriverError::Exhausted("listener of the adapter"));
        }
        let at = self.listeners.insert(Listener { mode }) * PLACES_OF_LISTENER;
        let number = self.adapter.servers.start + at as u32;
        let opt0 = Opt0::new().with(Opt0::TX_CHAN, self.config.port.into());
        let opt1 = Opt1::new()
            .with(Opt1::CONN_POLICY, 1)
            .with_bit(Opt1::SYN_RSS_ENABLE, true)
            .with(Opt1::SYN_RSS_QUEUE, self.rss_queue(queue).into());
        let local_port = local.port().into();
        match local.ip() {
            IpAddr::V4(ip) => {
                self.control(PassOpenReq {
                    local_port,
                    local_ip: ip.octets(),
                    opt0,
                    opt1,
                    ..PassOpenReq::new(0, number)
                });
            }
            IpAddr::V6(ip) => {
                self.control(PassOpenReq6 {
                    local_port,
                    local_ip: ip.octets(),
                    opt0,
                    opt1,
                    ..PassOpenReq6::new(0, number)
                });
            }
        }
        self.ring();
        Ok(number)
    }

    /// Ends a listener; tells by [`DriverEvent::ListenerClosed`]. Its connections stay.
    pub fn unlisten(&mut self, listener: u32) {
        let reply_control = ReplyControl::new().with(ReplyControl::QUEUENO, self.rss_queue(0));
        self.control(CloseListsrvReq { reply_control, ..CloseListsrvReq::new(0, listener) });
        self.ring();
    }

    /// Opens a connection; tells by [`DriverEvent::Connected`] or [`DriverEvent::OpenFailed`]. Gives the open's number.
    ///
    /// # Errors
    /// The policy does not offload it, the ends are of two families, our own is one of IPv6 that the adapter does not know, or it has no room for
    /// another next hop or open.
    pub fn connect(&mut self, target: OpenTarget) -> Result<u32, DriverError> {
        if target.local.is_ipv4() != target.peer.is_ipv4() {
            return Err(DriverError::Exhausted("address of the peer's family"));
        }
        self.check_address(target.local.ip())?;
        let offload = self.decide(&PolicyOpening::new(OpenKind::Active, target.local, target.peer), target.mode)?;
        if self.openings.len() as u32 >= (self.adapter.tids / 2).clamp(1, 0x3fff) {
            return Err(DriverError::Exhausted("number of an open"));
        }
        let next_hop = self.next_hop(target.peer_mac).ok_or(DriverError::Exhausted("entry for a next hop"))?;
        let sequence = self.initial_sequence();
        let opening = Opening { target, offload, next_hop, sequence, retried: false, retry: None };
        let open = self.openings.insert(opening) as u32;
        self.send_open(open);
        self.ring();
        Ok(open)
    }

    /// Whether connections may have that address of ours.
    fn check_address(&self, ip: IpAddr) -> Result<(), DriverError> {
        let is_known = ip.is_ipv4() || self.config.addresses.iter().any(|(address, _)| *address == ip);
        if is_known { Ok(()) } else { Err(DriverError::Address(ip)) }
    }

    fn send_open(&mut self, open: u32) {
        let Opening { target, offload, next_hop, sequence, .. } = self.openings[open as usize];
        let (opt0, opt2) = (self.options0(&offload, next_hop), self.options2(&offload));
        let params = ActOpenParams::new().with(ActOpenParams::FILTER_TUPLE, 0);
        let (local_port, peer_port) = (target.local.port().into(), target.peer.port().into());
        let initial_send_sequence = sequence.into();
        let tid = u32::from(self.rss_queue(offload.queue)) << 14 | open;
        match (target.local.ip(), target.peer.ip()) {
            (IpAddr::V4(local), IpAddr::V4(peer)) => {
                let (local_ip, peer_ip) = (local.octets(), peer.octets());
                let message = ActOpenReq::new(0, tid);
                let message = ActOpenReq { local_port, peer_port, local_ip, peer_ip, opt0, opt2, params, ..message };
                self.control(ActOpenReq { initial_send_sequence, ..message });
            }
            (local, peer) => {
                let (local_ip, peer_ip) = (six(local), six(peer));
                let message = ActOpenReq6::new(0, tid);
                let message = ActOpenReq6 { local_port, peer_port, local_ip, peer_ip, opt0, opt2, params, ..message };
                self.control(ActOpenReq6 { initial_send_sequence, ..message });
            }
        }
    }

    /// Tries opens again that are due.
    pub(super) fn retry_opens(&mut self, now: Instant) {
        let mut due = Vec::new();
        for (open, opening) in &mut self.openings {
            match &mut opening.retry {
                Some(at @ None) => *at = Some(now + RETRY_DELAY),
                Some(Some(at)) if *at <= now => {
                    opening.retry = None;
                    due.push(open as u32);
                }
                _ => {}
            }
        }
        due.into_iter().for_each(|open| self.send_open(open));
    }

    pub(super) fn handle_open_reply(&mut self, reply: &ActOpenRpl) {
        let open = reply.atid_status.get(AtidStatus::ATID) & 0x3fff;
        let status = reply.atid_status.get(AtidStatus::STATUS) as u8;
        let Some(opening) = self.openings.get_mut(open as usize) else { return };
        match CplStatus::from_wire(status) {
            Some(CplStatus::None) => {}
            Some(status) if status.is_advice() => {}
            Some(CplStatus::ConnExist) if !opening.retried => {
                (opening.retried, opening.retry) = (true, Some(None));
            }
            _ => {
                self.openings.remove(open as usize);
                self.events.push_back(DriverEvent::OpenFailed { open, status });
            }
        }
    }

    pub(super) fn handle_active_establish(&mut self, message: &ActEstablish) {
        let open = message.tos_atid.get(TosId::ID) & 0x3fff;
        let tid = message.opcode_tid.get(OpcodeTid::TID);
        let Some(&Opening { target: OpenTarget { local, peer, .. }, offload, .. }) = self.openings.get(open as usize)
        else {
            return;
        };
        if !self.begin_connection(tid, State::Established, offload, local, peer) {
            return;
        }
        self.openings.remove(open as usize);
        let connection = self.owned(tid);
        (connection.snd_nxt, connection.rcv_nxt) = (message.snd_isn.get(), message.rcv_isn.get());
        connection.told = true;
        self.send_flow(tid, segment_size(message.tcp_options, peer));
        self.events.push_back(DriverEvent::Connected { open, connection: tid });
        self.announce(tid);
    }

    pub(super) fn handle_listen_reply(&mut self, reply: &PassOpenRpl) {
        let listener = reply.opcode_tid.get(OpcodeTid::TID);
        let Some(at) = self.listener_at(listener) else { return };
        let result = if reply.status == 0 { Ok(()) } else { Err(reply.status) };
        if result.is_err() {
            self.listeners.remove(at);
        }
        self.events.push_back(DriverEvent::Listening { listener, result });
    }

    pub(super) fn handle_listen_end(&mut self, reply: &CloseListsrvRpl) {
        let listener = reply.opcode_tid.get(OpcodeTid::TID);
        if let Some(at) = self.listener_at(listener) {
            self.listeners.remove(at);
            self.events.push_back(DriverEvent::ListenerClosed { listener });
        }
    }

    fn listener_at(&self, listener: u32) -> Option<usize> {
        let place = listener.checked_sub(self.adapter.servers.start)? as usize;
        let at = place / PLACES_OF_LISTENER;
        (place.is_multiple_of(PLACES_OF_LISTENER) && self.listeners.contains(at)).then_some(at)
    }

    /// A SYN has come: it is accepted if there is a listener, a next hop and a connection for it, and the policy has nothing
    /// against it.
    pub(super) fn handle_accept_request(&mut self, request: &PassAcceptReq, headers: &[u8]) {
        let (tid, listener) = (request.opcode_tid.get(OpcodeTid::TID), request.tos_stid.get(TosId::ID));
        let mode = self.listener_at(listener).map(|at| self.listeners[at].mode);
        let (Some(mode), Some(syn)) = (mode, Syn::read(request.header_lengths, headers)) else {
            return self.refuse(tid);
        };
        let Ok(offload) = self.decide(&opening_of(request, &syn), mode) else { return self.refuse(tid) };
        let Some(next_hop) = self.next_hop(syn.source_mac) else { return self.refuse(tid) };
        if !self.begin_connection(tid, State::Accepting, offload, syn.local, syn.peer) {
            return self.refuse(tid);
        }
        self.owned(tid).listener = Some(listener);
        let flags = request.tcp_flags;
        let opt0 = self
            .options0(&offload, next_hop)
            .with_bit(Opt0::TCAM_BYPASS, true)
            .with(Opt0::DSCP, u64::from(request.tos_stid.get(TosId::TOS) >> 2));
        let opt2 = self
            .options2(&offload)
            .with_bit(Opt2::TSTAMPS_EN, flags.is_set(TcpOptionFlags::TSTAMP))
            .with_bit(Opt2::SACK_EN, flags.is_set(TcpOptionFlags::SACK))
            .with_bit(Opt2::WND_SCALE_EN, request.tcp_window_scale != 0);
        let initial_send_sequence = self.initial_sequence().into();
        self.control(PassAcceptRpl { opt0, opt2, initial_send_sequence, ..PassAcceptRpl::new(tid, tid) });
    }

    /// Gives a connection back that is not taken. One that the adapter does not have is none.
    fn refuse(&mut self, tid: u32) {
        if (tid as usize) < self.connections.len() {
            self.control(TidRelease::new(tid, tid));
        }
    }

    pub(super) fn handle_passive_establish(&mut self, message: &PassEstablish) {
        let tid = message.opcode_tid.get(OpcodeTid::TID);
        let Some(connection) = self.connection_mut(tid) else { return };
        let (State::Accepting, Some(listener)) = (connection.state, connection.listener) else { return };
        connection.state = State::Established;
        (connection.snd_nxt, connection.rcv_nxt) = (message.snd_isn.get(), message.rcv_isn.get());
        connection.told = true;
        let peer = connection.peer;
        self.send_flow(tid, segment_size(message.tcp_options, peer));
        self.tell_accepted(tid, listener);
    }

    /// Makes a connection of a tid, unless there is one: then the adapter has gone astray with it, and it is ended.
    fn begin_connection(
        &mut self,
        tid: u32,
        state: State,
        offload: Offload,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> bool {
        // Room for an abort is never given away.
        let credits = self.adapter.flow_credits - len16(size_of::<AbortReq>());
        match self.connections.get_mut(tid as usize) {
            Some(slot @ None) => {
                *slot = Some(Box::new(Connection::new(offload, state, local, peer, credits)));
                true
            }
            Some(Some(_)) => {
                self.fail_connection(tid, PortErrorKind::Io, "the adapter has begun another connection of this number");
                false
            }
            None => false,
        }
    }

    fn options0(&self, offload: &Offload, next_hop: u16) -> Opt0 {
        // Headers of IPv6 are the longer ones: no segment is longer than it may be.
        let mss = offload.settings.mss_kib.map_or(u16::MAX, |kib| (u32::from(kib) * 1024 + 60).min(0xffff) as u16);
        let mtu_max = self.config.mtu.min(mss);
        let mss = MTU_TABLE.iter().rposition(|&mtu| mtu <= mtu_max).unwrap_or(0);
        let window = u64::from(self.config.receive_window_bytes >> 10).min(Opt0::RCV_BUFSIZ.max());
        let mode = if offload.mode == OffloadMode::Ulp { UlpMode::Iscsi } else { UlpMode::None };
        Opt0::new()
            .with_bit(Opt0::KEEP_ALIVE, true)
            .with_bit(Opt0::NAGLE, offload.settings.nagle == Some(true))
            .with(Opt0::WND_SCALE, self.window_scale().into())
            .with(Opt0::MSS_IDX, mss as u64)
            .with(Opt0::L2T_IDX, next_hop.into())
            .with(Opt0::TX_CHAN, self.config.port.into())
            .with(Opt0::SMAC_SEL, u64::from(self.source_index()))
            .with(Opt0::ULP_MODE, mode.to_wire().into())
            .with(Opt0::RCV_BUFSIZ, window)
    }

    fn options2(&self, offload: &Offload) -> Opt2 {
        let Settings { coalesce, congestion, .. } = offload.settings;
        Opt2::new()
            .with(Opt2::RSS_QUEUE, self.rss_queue(offload.queue).into())
            .with_bit(Opt2::RX_COALESCE_VALID, coalesce.is_some())
            .with(Opt2::RX_COALESCE, if coalesce == Some(true) { 3 } else { 0 })
            .with(Opt2::CONG_CNTRL, congestion.map_or(0, |congestion| congestion as u32))
            .with_bit(Opt2::RSS_QUEUE_VALID, true)
            .with_bit(Opt2::T5_ISS, true)
            .with_bit(Opt2::T5_OPT_2_VALID, true)
    }

    /// The smallest shift that lets 16 bits say the window.
    fn window_scale(&self) -> u32 {
        (0..14).find(|shift| 65535 << shift >= self.config.receive_window_bytes).unwrap_or(14)
    }

    /// Place of the interface's address in the table of source addresses.
    fn source_index(&self) -> u8 {
        (self.adapter.vi.get(ViId::VIN) << 1) as u8
    }

    /// Writes the interface's address into the table of source addresses.
    pub(super) fn write_source_address(&mut self) {
        let row = self.adapter.vi.get(ViId::VIN);
        let params = SmtParams::new().with(SmtParams::IDX, row.into()).with_bit(SmtParams::NORPL, true);
        let (source_mac0, pfvf0) = (self.adapter.mac, SmtPfVf::of(self.adapter.function));
        self.control(SmtWriteReq { params, source_mac0, pfvf0, ..SmtWriteReq::new(0, 0) });
    }

    /// The entry of a next hop, which is written if it is new.
    fn next_hop(&mut self, mac: [u8; 6]) -> Option<u16> {
        let (index, new) = self.next_hops.find(mac)?;
        if new {
            let params =
                L2tParams::new().with(L2tParams::PORT, self.config.port.into()).with_bit(L2tParams::NOREPLY, true);
            let entry = L2tWriteReq { params, vlan: NO_VLAN.into(), destination_mac: mac, ..L2tWriteReq::new(0, 0) };
            self.control(L2tWriteReq { index: index.into(), ..entry });
        }
        Some(index)
    }

    /// A sequence number that others do not guess from the last: one less than a multiple of eight.
    fn initial_sequence(&mut self) -> u32 {
        (self.random() as u32 & !7).wrapping_sub(1)
    }

    /// The next number of SplitMix64.
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

/// A passive open, as a policy sees it.
fn opening_of(request: &PassAcceptReq, syn: &Syn) -> PolicyOpening {
    // No tag is a tag of zeros.
    let vlan = match request.vlan.get() & 0xfff {
        0 => NO_VLAN,
        vlan => vlan,
    };
    let tos = request.tos_stid.get(TosId::TOS) as u8;
    PolicyOpening { vlan, tos, ..PolicyOpening::new(OpenKind::Passive, syn.peer, syn.local) }
}

fn six(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// How much data a segment carries.
fn segment_size(options: EstablishOptions, peer: SocketAddr) -> u32 {
    let headers = if peer.is_ipv6() { 60 } else { 40 };
    let timestamps = if options.is_set(EstablishOptions::TSTAMP) { 12 } else { 0 };
    u32::from(MTU_TABLE[usize::from(options.get(EstablishOptions::MSS_IDX))]) - headers - timestamps
}

/// What a SYN says of its two ends.
#[derive(Debug, PartialEq, Eq)]
struct Syn {
    source_mac: [u8; 6],
    local: SocketAddr,
    peer: SocketAddr,
}

impl Syn {
    /// Reads the headers of a SYN; `None` if they are not those of TCP over IP.
    fn read(lengths: SynHeaderLengths, headers: &[u8]) -> Option<Self> {
        let length = |field| lengths.get(field) as usize;
        let (ethernet, rest) = headers.split_at_checked(length(SynHeaderLengths::ETH_HDR_LEN))?;
        let (ip, tcp) = rest.split_at_checked(length(SynHeaderLengths::IP_HDR_LEN))?;
        let source_mac = *ethernet.get(6..)?.first_chunk()?;
        let (peer, local): (IpAddr, IpAddr) = match ip.first()? >> 4 {
            4 => {
                let address = |at: usize| Some(Ipv4Addr::from(*ip.get(at..)?.first_chunk::<4>()?).into());
                (address(12)?, address(16)?)
            }
            6 => {
                let address = |at: usize| Some(Ipv6Addr::from(*ip.get(at..)?.first_chunk::<16>()?).into());
                (address(8)?, address(24)?)
            }
            _ => return None,
        };
        let port = |at: usize| Some(u16::from_be_bytes(*tcp.get(at..)?.first_chunk()?));
        Some(Self { source_mac, local: (local, port(2)?).into(), peer: (peer, port(0)?).into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_syn_or_none(lengths: u32, headers in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = Syn::read(SynHeaderLengths::from_value(lengths), &headers);
        }
    }

    #[test]
    fn next_hops_are_written_once_and_run_out() {
        let mut hops = NextHops::new(5..7);
        assert_eq!(hops.find([1; 6]), Some((5, true)));
        assert_eq!(hops.find([2; 6]), Some((6, true)));
        assert_eq!(hops.find([1; 6]), Some((5, false)));
        assert_eq!(hops.find([3; 6]), None);
    }
}
