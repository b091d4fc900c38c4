//! One connection.

use super::device::{Link, LinkHeader};
use super::packet::{Segment, Tuple, endpoint};
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};
use std::collections::VecDeque;
use std::time::Duration;

/// How long a connection bears silence where it expects an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a connection that keeps alive asks whether the other end is there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How long an acknowledgement waits for something to go with it.
const ACK_DELAY: Duration = Duration::from_micros(50);

/// Answers to packets that wait to be sent.
const ANSWERS_MAX: usize = 64;

/// What a connection is made with.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionConfig {
    /// What stands before its packets.
    pub link: LinkHeader,
    /// Longest IP packet: 576 to 65535 bytes.
    pub mtu_bytes: usize,
    /// How much may come before it is [consumed](Connection::consume): 1 KiB to 1 MiB.
    pub receive_bytes: usize,
    /// How much may be under way: 1 KiB to 1 MiB.
    pub send_bytes: usize,
    /// Small segments wait for more.
    pub nagle: bool,
    /// An idle connection asks whether the other end is still there.
    pub keep_alive: bool,
    /// Where the initial sequence number comes from.
    pub seed: u64,
}

/// Why no connection was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// An address is unspecified, a port is 0, or one end is IPv4 and the other IPv6.
    #[error("these ends cannot be connected: each needs an address of the same family and a port above 0")]
    Unaddressable,
    /// The packet begins no connection.
    #[error("the packet is no SYN for this end")]
    NoSyn,
}

/// What has become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It stands.
    Established,
    /// The other end sends no more; all that it sent was consumed.
    PeerClosed,
    /// What we sent has come, and that we send no more.
    Closed,
    /// It has ended before its time.
    Lost(Loss),
}

/// Why a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// By the other end.
    Reset,
    /// Nothing came back.
    TimedOut,
}

/// A TCP connection.
pub struct Connection {
    tuple: Tuple,
    link: LinkHeader,
    mtu_bytes: usize,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    outbound: VecDeque<Vec<u8>>,
    /// Whether something has been done to it since it was last asked what to send; if not, when it wants to be asked again.
    touched: bool,
    due: Option<Duration>,
    /// Sequence numbers of the first byte that is sent and received; known once there was a SYN each way.
    snd_isn: Option<u32>,
    rcv_isn: Option<u32>,
    /// The sequence number behind the last that was ever sent.
    snd_max: Option<u32>,
    sent_bytes: u64,
    consumed_bytes: u64,
    reset_by_peer: bool,
    /// From LAST-ACK: the other end has closed, and has got all that was sent.
    closed_in_order: bool,
    aborted: bool,
    told: Told,
}

/// Which events were given away.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    established: bool,
    peer_closed: bool,
    closed: bool,
    lost: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("tuple", &self.tuple)
            .field("state", &self.socket().state())
            .field("send_queue", &self.socket().send_queue())
            .field("receive_queue", &self.socket().recv_queue())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Begins a connection.
    ///
    /// # Errors
    /// See [`OpenError::Unaddressable`].
    pub fn connect(config: ConnectionConfig, tuple: Tuple, now: Duration) -> Result<Self, OpenError> {
        let mut connection = Self::new(config, tuple, now)?;
        let socket = connection.sockets.get_mut::<Socket<'_>>(connection.handle);
        socket
            .connect(connection.interface.context(), endpoint(tuple.peer), endpoint(tuple.local))
            .map_err(|_| OpenError::Unaddressable)?;
        Ok(connection)
    }

    /// Takes a connection that another end has begun with that SYN, an IP packet.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn accept(config: ConnectionConfig, syn: &[u8], now: Duration) -> Result<Self, OpenError> {
        let segment = Segment::decode(syn).filter(|segment| segment.syn && !segment.ack && !segment.rst);
        let tuple = segment.ok_or(OpenError::NoSyn)?.tuple;
        let mut connection = Self::new(config, tuple, now)?;
        connection.socket_mut().listen(endpoint(tuple.local)).map_err(|_| OpenError::Unaddressable)?;
        connection.handle_packet(syn, now);
        if connection.socket().state() == State::Listen {
            return Err(OpenError::NoSyn);
        }
        Ok(connection)
    }

    fn new(config: ConnectionConfig, tuple: Tuple, now: Duration) -> Result<Self, OpenError> {
        let speakable = |end: std::net::SocketAddr| {
            end.port() != 0 && !end.ip().is_unspecified() && !end.ip().is_multicast() && !is_broadcast(end.ip())
        };
        let one_family = tuple.local.is_ipv4() == tuple.peer.is_ipv4();
        if !speakable(tuple.local) || !speakable(tuple.peer) || !one_family {
            return Err(OpenError::Unaddressable);
        }
        let ring = |bytes: usize| SocketBuffer::new(vec![0; bytes.clamp(1 << 10, 1 << 20)]);
        let mut socket = Socket::new(ring(config.receive_bytes), ring(config.send_bytes));
        socket.set_congestion_control(CongestionControl::None);
        socket.set_nagle_enabled(config.nagle);
        // Segments are as long as what there is to send: the other end may have no room for another until one is acknowledged, soon.
        socket.set_ack_delay(Some(ACK_DELAY.into()));
        socket.set_timeout(Some(PATIENCE.into()));
        socket.set_keep_alive(config.keep_alive.then(|| KEEP_ALIVE.into()));

        let link = LinkHeader { ipv6: tuple.local.is_ipv6(), ..config.link };
        let mtu_bytes = config.mtu_bytes.clamp(576, 65535);
        let mut outbound = VecDeque::new();
        let mut setup = Config::new(HardwareAddress::Ip);
        setup.random_seed = config.seed;
        let mut device = Link { inbound: None, outbound: &mut outbound, header: &link, mtu_bytes };
        let mut interface = Interface::new(setup, &mut device, instant(now));
        interface.update_ip_addrs(|addresses| {
            // The other end is on the same link, whatever its address: the next hop is known.
            let whole = IpCidr::new(tuple.local.ip().into(), 0);
            addresses.push(whole).expect("a stack has room for one address");
        });
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Ok(Self {
            tuple,
            link,
            mtu_bytes,
            interface,
            sockets,
            handle,
            outbound,
            touched: true,
            due: None,
            snd_isn: None,
            rcv_isn: None,
            snd_max: None,
            sent_bytes: 0,
            consumed_bytes: 0,
            reset_by_peer: false,
            closed_in_order: false,
            aborted: false,
            told: Told::default(),
        })
    }

    fn socket(&self) -> &Socket<'static> {
        self.sockets.get(self.handle)
    }

    fn socket_mut(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// The sequence number behind our SYN, once it was sent.
    #[must_use]
    pub const fn snd_isn(&self) -> Option<u32> {
        self.snd_isn
    }

    /// The sequence number behind the other end's SYN, once it has come.
    #[must_use]
    pub const fn rcv_isn(&self) -> Option<u32> {
        self.rcv_isn
    }

    /// The sequence number of the next byte that is given to [`Self::send`].
    #[must_use]
    pub fn snd_nxt(&self) -> u32 {
        self.snd_isn.unwrap_or_default().wrapping_add(self.sent_bytes as u32)
    }

    /// The sequence number of the first byte that the other end has not acknowledged.
    #[must_use]
    pub fn snd_una(&self) -> u32 {
        self.snd_nxt().wrapping_sub(self.socket().send_queue() as u32)
    }

    /// The sequence number of the next byte that [`Self::received`] gives.
    #[must_use]
    pub fn rcv_nxt(&self) -> u32 {
        self.rcv_isn.unwrap_or_default().wrapping_add(self.consumed_bytes as u32)
    }

    /// An IP packet has come for this connection. Others are ignored; it is lost while too many answers wait to be sent.
    pub fn handle_packet(&mut self, packet: &[u8], now: Duration) {
        let Some(segment) = Segment::decode(packet).filter(|segment| segment.tuple == self.tuple) else { return };
        if self.outbound.len() >= ANSWERS_MAX {
            return;
        }
        self.touched = true;
        let before = self.socket().state();
        let header = self.link;
        let mut device =
            Link { inbound: Some(packet), outbound: &mut self.outbound, header: &header, mtu_bytes: self.mtu_bytes };
        self.interface.poll_ingress_single(instant(now), &mut device, &mut self.sockets);
        if segment.syn && self.rcv_isn.is_none() && self.socket().state() != State::Listen {
            self.rcv_isn = Some(segment.sequence.wrapping_add(1));
        }
        // A reset makes a listener again of a socket that was opened by a SYN; there is no listener here.
        let was_undone = self.rcv_isn.is_some() && self.socket().state() == State::Listen;
        if was_undone {
            self.socket_mut().abort();
        }
        if before != State::Closed && self.socket().state() == State::Closed {
            self.reset_by_peer = segment.rst;
            self.closed_in_order = before == State::LastAck && !segment.rst;
        }
    }

    /// The next Ethernet frame to send.
    pub fn poll_transmit(&mut self, now: Duration) -> Option<Vec<u8>> {
        if self.outbound.is_empty() {
            if !self.touched && self.due.is_none_or(|due| due > now) {
                return None;
            }
            let header = self.link;
            let mut device =
                Link { inbound: None, outbound: &mut self.outbound, header: &header, mtu_bytes: self.mtu_bytes };
            match self.interface.poll_egress(instant(now), &mut device, &mut self.sockets) {
                PollResult::None => {
                    self.due = self.poll_at(now);
                    self.touched = false;
                    return None;
                }
                PollResult::SocketStateChanged => self.touched = true,
            }
        }
        let mut frame = self.outbound.pop_front()?;
        let packet = &mut frame[self.link.length()..];
        if let Some(segment) = Segment::decode(packet) {
            self.note_sent(&segment, packet);
        }
        Some(frame)
    }

    /// Remembers how far the sequence numbers of what was sent reach.
    fn note_sent(&mut self, segment: &Segment, packet: &mut [u8]) {
        if segment.syn {
            self.snd_isn.get_or_insert(segment.sequence.wrapping_add(1));
        }
        let headers = segment.ip_header_bytes + segment.tcp_header_bytes;
        let length = (packet.len() - headers) as u32 + u32::from(segment.syn) + u32::from(segment.fin);
        let end = segment.sequence.wrapping_add(length);
        let is_older = end.wrapping_sub(self.snd_max.unwrap_or(end)) as i32 <= 0;
        if !is_older || self.snd_max.is_none() {
            self.snd_max = Some(end);
        } else if length == 0
            && !segment.rst
            && let Some(newest) = self.snd_max
        {
            // RFC 9293 3.10.7.4: an acknowledgement has the newest sequence number. smoltcp 0.14 gives it that of what it sends
            // again; the other end takes that for old and drops it, and when both do so they never come together again.
            packet[segment.ip_header_bytes + 4..][..4].copy_from_slice(&newest.to_be_bytes());
        }
    }

    /// When [`Self::poll_transmit`] is to be asked again, if nothing else happens before: at once if that is past.
    pub fn poll_timeout(&mut self, now: Duration) -> Option<Duration> {
        if !self.outbound.is_empty() {
            return Some(now);
        }
        let due = if self.touched { self.poll_at(now) } else { self.due };
        due.map(|due| due.max(now))
    }

    fn poll_at(&mut self, now: Duration) -> Option<Duration> {
        let at = self.interface.poll_at(instant(now), &self.sockets)?;
        Some(Duration::from_micros(u64::try_from(at.total_micros()).unwrap_or_default()))
    }

    /// What has happened, each once.
    pub fn poll_event(&mut self) -> Option<Event> {
        use State::{CloseWait, Closed, Closing, Established, FinWait1, FinWait2, LastAck, TimeWait};
        let state = self.socket().state();
        let established = matches!(state, Established | CloseWait | FinWait1 | FinWait2 | Closing | LastAck | TimeWait);
        if established && !self.told.established && self.snd_isn.is_some() {
            self.told.established = true;
            return Some(Event::Established);
        }
        let peer_has_closed = matches!(state, CloseWait | Closing | LastAck | TimeWait) || self.closed_in_order;
        if peer_has_closed && !self.told.peer_closed && self.socket().recv_queue() == 0 {
            self.told.peer_closed = true;
            return Some(Event::PeerClosed);
        }
        if self.aborted {
            return None;
        }
        let fin_acknowledged = matches!(state, FinWait2 | TimeWait) || self.closed_in_order;
        if fin_acknowledged && !self.told.closed {
            self.told.closed = true;
            return Some(Event::Closed);
        }
        let both_have_closed = self.told.closed && self.told.peer_closed;
        if state == Closed && !both_have_closed && !self.told.lost {
            self.told.lost = true;
            return Some(Event::Lost(if self.reset_by_peer { Loss::Reset } else { Loss::TimedOut }));
        }
        None
    }

    /// Whether nothing is left to do for it: it has ended, and has nothing to send.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let told = self.told.lost || self.told.closed && self.told.peer_closed;
        self.socket().state() == State::Closed && self.outbound.is_empty() && (told || self.aborted)
    }

    /// How many bytes [`Self::send`] would take now.
    #[must_use]
    pub fn send_room(&self) -> usize {
        if self.socket().may_send() { self.socket().send_capacity() - self.socket().send_queue() } else { 0 }
    }

    /// Whether a PDU may go to another connection without a segment: that is its other end, by the numbers with which both began, and nothing is
    /// on the way that it would overtake.
    #[must_use]
    pub fn can_pass_to(&self, other: &Self) -> bool {
        let is_other_end = self.snd_isn.is_some() && self.snd_isn == other.rcv_isn && self.rcv_isn == other.snd_isn;
        is_other_end && self.sent_bytes == other.consumed_bytes && self.socket().may_send() && other.socket().may_recv()
    }

    /// So many bytes have gone to another connection, its other end, without a segment.
    pub const fn pass(&mut self, other: &mut Self, bytes: usize) {
        self.sent_bytes += bytes as u64;
        other.consumed_bytes += bytes as u64;
    }

    /// What stands before its packets.
    #[must_use]
    pub const fn link(&self) -> &LinkHeader {
        &self.link
    }

    /// Sends what there is room for, and says how much.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        self.touched = true;
        let sent = self.socket_mut().send_slice(bytes).unwrap_or_default();
        self.sent_bytes += sent as u64;
        sent
    }

    /// The same with bytes that lie in parts, if there is room for all of them; says whether there was.
    pub fn send_all(&mut self, parts: [&[u8]; 3]) -> bool {
        let fits = self.send_room() >= parts.iter().map(|part| part.len()).sum();
        fits && parts.into_iter().all(|part| self.send(part) == part.len())
    }

    /// What has come, as far as it lies together.
    #[must_use]
    pub fn received(&mut self) -> &[u8] {
        let length = self.socket().recv_queue();
        self.socket_mut().peek(length).unwrap_or_default()
    }

    /// How many bytes have come.
    #[must_use]
    pub fn received_length(&self) -> usize {
        self.socket().recv_queue()
    }

    /// Copies the first bytes of what has come, and says how many.
    pub fn peek(&mut self, out: &mut [u8]) -> usize {
        self.socket_mut().peek_slice(out).unwrap_or_default()
    }

    /// Whether the other end sends no more.
    #[must_use]
    pub fn peer_has_finished(&self) -> bool {
        matches!(self.socket().state(), State::CloseWait | State::Closing | State::LastAck | State::TimeWait)
    }

    /// Longest IP packet.
    #[must_use]
    pub const fn mtu_bytes(&self) -> usize {
        self.mtu_bytes
    }

    /// Gives back the first bytes of what has come, be they together or not.
    ///
    /// # Panics
    /// If fewer bytes have come: a bug of the caller.
    pub fn consume_any(&mut self, length: usize) {
        let first = length.min(self.received().len());
        self.consume(first);
        self.consume(length - first);
    }

    /// Answers a SYN for which there is no connection: the frame of a RST.
    #[must_use]
    pub fn refusal(link: LinkHeader, syn: &[u8]) -> Option<Vec<u8>> {
        let tuple = Segment::decode(syn)?.tuple;
        let config = ConnectionConfig {
            link,
            mtu_bytes: 1500,
            receive_bytes: 0,
            send_bytes: 0,
            nagle: false,
            keep_alive: false,
            seed: 0,
        };
        let mut nobody = Self::new(config, tuple, Duration::ZERO).ok()?;
        nobody.handle_packet(syn, Duration::ZERO);
        nobody.outbound.pop_front()
    }

    /// Gives back the first bytes of what has come; the window opens by as much.
    ///
    /// # Panics
    /// If fewer bytes have come: a bug of the caller.
    pub fn consume(&mut self, length: usize) {
        if length == 0 {
            return;
        }
        self.touched = true;
        let consumed = self.socket_mut().recv(|bytes| {
            assert!(length <= bytes.len(), "what is consumed has come");
            (length, length)
        });
        self.consumed_bytes += consumed.expect("what was peeked at can be consumed") as u64;
    }

    /// Sends no more, once all is sent that was given.
    pub fn close(&mut self) {
        self.touched = true;
        self.socket_mut().close();
    }

    /// Ends it at once; the other end is told by a RST. There is no event.
    pub fn abort(&mut self) {
        (self.aborted, self.touched) = (true, true);
        self.socket_mut().abort();
    }
}

fn is_broadcast(address: std::net::IpAddr) -> bool {
    matches!(address, std::net::IpAddr::V4(address) if address.is_broadcast())
}

fn instant(now: Duration) -> Instant {
    Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}
