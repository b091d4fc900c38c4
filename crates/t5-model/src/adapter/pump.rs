//! What moves connections on: requests into TCP, PDUs to the driver, frames to the switch.

use super::Core;
use super::egress::alone;
use super::fault::Fault;
use super::flow::{Phase, Request};
use super::frames::FRAMES_MAX;
use super::function::Function;
use super::inside::Way;
use crate::iscsi::{IscsiCounters, Layout, Measured, Outgoing, Settings, WirePdu, examine};
use crate::tcp::{Event, Loss};
use iscsi_pdu::HEADER_LENGTH;
use iscsi_pdu::digest::DIGEST_LENGTH;
use std::time::Duration;
use t5_hal::wire::*;
use zerocopy::IntoBytes;

/// PDUs and frames of one connection before others have their turn.
const BURST: usize = 64;
/// Longest message of a connection without iSCSI.
const STREAM_BYTES_MAX: usize = 16384;

impl Core {
    /// Has a connection looked after.
    pub(super) fn make_ready(&mut self, tid: u32) {
        if let Some(flow) = self.flows.get_mut(tid as usize)
            && !flow.is_ready
        {
            flow.is_ready = true;
            self.ready.push_back(tid);
        }
    }

    /// Looks after one connection.
    pub(super) fn run_flow(&mut self, tid: u32, now: Duration) {
        let Some(flow) = self.flows.get_mut(tid as usize) else { return };
        flow.is_ready = false;
        if let Phase::Firmware { session } = flow.phase {
            self.run_session(tid, session, now);
            if self.run_transmit(tid, now) {
                self.make_ready(tid);
            }
        } else if flow.tcp.is_some() {
            self.run_requests(tid, now);
            let more = self.run_received(tid, now);
            self.run_events(tid, now);
            let more = self.run_transmit(tid, now) || more;
            if more {
                self.make_ready(tid);
            }
        }
        let Some(flow) = self.flows.get_mut(tid as usize) else { return };
        let is_over = flow.tcp.as_ref().is_none_or(crate::tcp::Connection::is_over);
        if matches!(flow.phase, Phase::Over) && is_over && !flow.awaits_abort_reply {
            return self.forget(tid);
        }
        let tcp = flow.tcp.as_mut().and_then(|tcp| tcp.poll_timeout(now));
        let (who, session) = (flow.owner, flow.session());
        let session = session.and_then(|session| self.session_timeout(who, session));
        let flow = &mut self.flows[tid as usize];
        let timer = tcp.into_iter().chain(session).min();
        if timer != flow.timer {
            if let Some(old) = flow.timer {
                self.timers.remove(&(old, tid));
            }
            flow.timer = timer;
            self.timers.extend(timer.map(|at| (at, tid)));
        }
    }

    /// Does what the driver wants to be done, as far as there is room, and tells how much of it is done.
    fn run_requests(&mut self, tid: u32, now: Duration) {
        let mut acknowledges = false;
        while let Some(acknowledge) = self.run_first_request(tid, now) {
            acknowledges |= acknowledge;
        }
        if acknowledges {
            self.return_credits(tid, now);
        }
    }

    /// Does the first request, unless there is none or it has to wait for room. Says whether its credits are to go back now.
    fn run_first_request(&mut self, tid: u32, now: Duration) -> Option<bool> {
        let flow = self.flows.get_mut(tid as usize)?;
        let tcp = flow.tcp.as_mut().expect("a connection that runs has TCP");
        let (credits, acknowledge) = match flow.requests.front()? {
            Request::Close { credits } => {
                tcp.close();
                (*credits, true)
            }
            Request::Done { credits, acknowledge } => (*credits, *acknowledge),
            Request::Burst(_) => {
                flow.cut_first();
                return self.run_first_request(tid, now);
            }
            Request::Send { credits, acknowledge, .. } => {
                let (credits, acknowledge, who) = (*credits, *acknowledge, flow.owner);
                match self.send_payload(tid, now) {
                    Ok(true) => (credits, acknowledge),
                    Ok(false) => return None,
                    Err(fault) => {
                        self.function(who).fault(fault);
                        // What the driver believes to have sent is not there: the connection cannot go on.
                        self.flows[tid as usize].tcp.as_mut().expect("it has sent").abort();
                        self.tell_lost(tid, CplStatus::BadLength, now);
                        return None;
                    }
                }
            }
        };
        let flow = &mut self.flows[tid as usize];
        flow.requests.pop_front();
        flow.credits_held -= credits;
        flow.credits_owed += credits;
        Some(acknowledge)
    }

    /// Sends the payload of the first request: right to the other end, or by TCP. False if there is no room.
    fn send_payload(&mut self, tid: u32, now: Duration) -> Result<bool, Fault> {
        let other_end = match self.way_of(tid) {
            Way::Inside(other_end) => Some(other_end),
            Way::Tcp => None,
            Way::Waits => return Ok(false),
        };
        let flow = &mut self.flows[tid as usize];
        let tcp = flow.tcp.as_mut().expect("a connection that runs has TCP");
        let Some(Request::Send { payload, flags, .. }) = flow.requests.front() else { return Ok(false) };
        if other_end.is_none() && tcp.send_room() < payload.length() + 2 * DIGEST_LENGTH {
            return Ok(false);
        }
        let flags = *flags;
        let function = self.functions[flow.owner].as_ref().expect("a connection has a function");
        let mut outgoing = std::mem::take(&mut self.outgoing);
        let fetched = function.fetch_payload(payload, &mut outgoing);
        let sent = fetched.and_then(|()| self.send_outgoing(tid, other_end, &mut outgoing, flags, now));
        outgoing.release();
        self.outgoing = outgoing;
        sent
    }

    /// Puts the digests into what was fetched, and sends it. False if there is no room.
    fn send_outgoing(
        &mut self,
        tid: u32,
        other_end: Option<u32>,
        outgoing: &mut Outgoing,
        flags: TxDataFlags,
        now: Duration,
    ) -> Result<bool, Fault> {
        let (header, data) = (flags.is_set(TxDataFlags::ULP_HCRC), flags.is_set(TxDataFlags::ULP_DCRC));
        let mut digests = 0;
        let mut is_pdu = false;
        if header || data {
            (digests, is_pdu) = (outgoing.add_digests(header, data)?, true);
        } else if other_end.is_some() {
            is_pdu = outgoing.add_digests(false, false).is_ok();
        }
        let pdu = outgoing.pdu();
        let passed = is_pdu && other_end.is_some_and(|other_end| self.pass(tid, other_end, pdu, now));
        let tcp = self.flows[tid as usize].tcp.as_mut().expect("a connection that runs has TCP");
        let sent = passed || tcp.send_all(pdu.parts());
        self.counted.digests_inserted += if sent { digests } else { 0 };
        Ok(sent)
    }

    /// Tells the driver which of its work requests are done.
    pub(super) fn return_credits(&mut self, tid: u32, now: Duration) {
        let flow = self.flows.get_mut(tid as usize).filter(|flow| !matches!(flow.phase, Phase::Over));
        let Some(flow) = flow else { return };
        while flow.credits_owed > 0 {
            let credits = flow.credits_owed.min(255);
            flow.credits_owed -= credits;
            let tcp = flow.tcp.as_ref();
            let ack = Fw4Ack {
                opcode_tid: ReplyOpcode::Fw4Ack.of(tid),
                credits: credits as u8,
                flags: Fw4AckFlags::new().with_bit(Fw4AckFlags::SEQVAL, tcp.is_some()),
                snd_nxt: tcp.map_or(0, |tcp| tcp.snd_nxt()).into(),
                snd_una: tcp.map_or(0, |tcp| tcp.snd_una()).into(),
                ..Fw4Ack::default()
            };
            let function = self.functions[flow.owner].as_mut().expect("a connection has a function");
            function.send(flow.iq, alone(&ack), false, now);
        }
    }

    /// Gives the driver what has come; says whether there may be more.
    fn run_received(&mut self, tid: u32, now: Duration) -> bool {
        for _ in 0..BURST {
            let Some(flow) = self.flows.get_mut(tid as usize) else { return false };
            let tcp = flow.tcp.as_mut().expect("a connection that runs has TCP");
            match flow.phase {
                Phase::Open => {}
                Phase::Over => {
                    // Nobody wants it any more.
                    let length = tcp.received().len();
                    tcp.consume(length);
                    if length == 0 {
                        return false;
                    }
                    continue;
                }
                _ => return false,
            }
            let function = self.functions[flow.owner].as_mut().expect("a connection has a function");
            let has_room = function.ingress.get(&flow.iq).is_some_and(super::ingress::IngressQueue::has_room);
            if !has_room {
                function.stalled.insert(tid);
                return false;
            }
            if !flow.takes_more() {
                return false;
            }
            let moved = if flow.is_iscsi() { self.receive_pdu(tid, now) } else { self.receive_stream(tid, now) };
            if !moved {
                return false;
            }
        }
        true
    }

    /// Takes one PDU out of the stream, if it is there.
    fn receive_pdu(&mut self, tid: u32, now: Duration) -> bool {
        let flow = &mut self.flows[tid as usize];
        let settings = flow.settings();
        let tcp = flow.tcp.as_mut().expect("a connection that runs has TCP");
        let mut beginning = [0; HEADER_LENGTH];
        let there = tcp.peek(&mut beginning);
        let layout = match Layout::measure(&beginning[..there], settings) {
            Measured::Known(layout) if tcp.received_length() >= layout.total_bytes => layout,
            Measured::TooLong(_) => {
                tcp.abort();
                self.tell_lost(tid, CplStatus::BadLength, now);
                return false;
            }
            _ => {
                if tcp.peer_has_finished() {
                    // What is left will never be a PDU.
                    let left = tcp.received().len();
                    tcp.consume(left);
                    return left > 0;
                }
                return false;
            }
        };
        let arrival = Arrival { tid, iq: flow.iq, settings, sequence: tcp.rcv_nxt() };
        let copy = &mut self.scratch[..layout.total_bytes];
        if tcp.received().len() < layout.total_bytes {
            // It goes around the end of the ring.
            tcp.peek(copy);
        }
        let pdu = match tcp.received() {
            bytes if bytes.len() >= layout.total_bytes => &bytes[..layout.total_bytes],
            _ => copy,
        };
        let function = self.functions[flow.owner].as_mut().expect("a connection has a function");
        give_pdu(function, &mut self.counted, arrival, WirePdu::cut(pdu, layout), now);
        tcp.consume_any(layout.total_bytes);
        flow.unacknowledged_bytes += layout.total_bytes as u32;
        true
    }

    /// Gives the driver bytes of a connection without iSCSI.
    fn receive_stream(&mut self, tid: u32, now: Duration) -> bool {
        let flow = &mut self.flows[tid as usize];
        let tcp = flow.tcp.as_mut().expect("a connection that runs has TCP");
        let function = self.functions[flow.owner].as_mut().expect("a connection has a function");
        let room = function.ingress.get(&flow.iq).and_then(|queue| queue.buffer_bytes(&function.memory).ok());
        let sequence = tcp.rcv_nxt();
        let bytes = tcp.received();
        let length = bytes.len().min(STREAM_BYTES_MAX).min((room.unwrap_or(0) as usize).saturating_sub(16));
        if length == 0 {
            return false;
        }
        let message = RxData {
            opcode_tid: ReplyOpcode::RxData.of(tid),
            length: (length as u16).into(),
            sequence: sequence.into(),
            ..RxData::default()
        };
        function.send(flow.iq, [message.as_bytes(), &bytes[..length]], true, now);
        tcp.consume(length);
        flow.unacknowledged_bytes += length as u32;
        true
    }

    /// Tells the driver what TCP says.
    fn run_events(&mut self, tid: u32, now: Duration) {
        while let Some(flow) = self.flows.get_mut(tid as usize)
            && let Some(event) = flow.tcp.as_mut().expect("a connection that runs has TCP").poll_event()
        {
            match event {
                Event::Established => self.tell_established(tid, now),
                Event::PeerClosed => {
                    let rcv_nxt = flow.tcp.as_ref().map_or(0, |tcp| tcp.rcv_nxt()).into();
                    flow.told_peer_close = true;
                    let close = PeerClose { opcode_tid: ReplyOpcode::PeerClose.of(tid), rcv_nxt };
                    self.tell(tid, alone(&close), now);
                }
                Event::Closed => {
                    flow.told_close = true;
                    let tcp = flow.tcp.as_ref();
                    let close = CloseConRpl {
                        opcode_tid: ReplyOpcode::CloseConRpl.of(tid),
                        snd_nxt: tcp.map_or(0, |tcp| tcp.snd_nxt()).into(),
                        rcv_nxt: tcp.map_or(0, |tcp| tcp.rcv_nxt()).into(),
                        ..CloseConRpl::default()
                    };
                    self.tell(tid, alone(&close), now);
                }
                Event::Lost(loss) => {
                    let status = match loss {
                        Loss::Reset => CplStatus::ConnReset,
                        Loss::TimedOut => CplStatus::ConnTimedOut,
                    };
                    self.tell_lost(tid, status, now);
                }
            }
            if let Some(flow) = self.flows.get_mut(tid as usize)
                && flow.told_close
                && flow.told_peer_close
            {
                flow.phase = Phase::Over;
            }
        }
    }

    /// Sends the driver a message about a connection that it still has.
    fn tell(&mut self, tid: u32, parts: [&[u8]; 2], now: Duration) {
        let flow = &self.flows[tid as usize];
        if !matches!(flow.phase, Phase::Over) {
            let (who, iq) = (flow.owner, flow.iq);
            self.function(who).send(iq, parts, false, now);
        }
    }

    fn tell_established(&mut self, tid: u32, now: Duration) {
        let flow = &mut self.flows[tid as usize];
        let tcp = flow.tcp.as_ref().expect("a connection that stands has TCP");
        let (snd_isn, rcv_isn) = (tcp.snd_isn().unwrap_or_default(), tcp.rcv_isn().unwrap_or_default());
        let tcp_options = EstablishOptions::new()
            .with_bit(EstablishOptions::WSCALE_OK, true)
            .with(EstablishOptions::MSS_IDX, mss_index(tcp.mtu_bytes()));
        let other_end = self.find_other_end(tid);
        let flow = &mut self.flows[tid as usize];
        flow.other_end = other_end;
        let common =
            ActEstablish { snd_isn: snd_isn.into(), rcv_isn: rcv_isn.into(), tcp_options, ..ActEstablish::default() };
        let (opcode, id) = match std::mem::replace(&mut flow.phase, Phase::Open) {
            Phase::Opening { atid } => (ReplyOpcode::ActEstablish, atid),
            Phase::Accepted { listener } => (ReplyOpcode::PassEstablish, listener),
            other => {
                flow.phase = other;
                return;
            }
        };
        // Both messages have one layout.
        let message = ActEstablish { opcode_tid: opcode.of(tid), tos_atid: TosId::new().with(TosId::ID, id), ..common };
        self.tell(tid, alone(&message), now);
        // Data may have come with the last segment of the handshake, and nothing else may come for long.
        self.make_ready(tid);
    }

    /// Sends what TCP has to send; says whether there may be more.
    fn run_transmit(&mut self, tid: u32, now: Duration) -> bool {
        for _ in 0..BURST {
            if self.frames.len() >= FRAMES_MAX {
                return true;
            }
            let Some(flow) = self.flows.get_mut(tid as usize) else { return false };
            let tcp = flow.tcp.as_mut().expect("a connection that runs has TCP");
            let Some(frame) = tcp.poll_transmit(now) else { return false };
            self.frames.push_back((flow.interface, frame));
        }
        true
    }
}

/// Index of the largest MTU of the table that is no larger.
fn mss_index(mtu_bytes: usize) -> u16 {
    t5_hal::driver::MTU_TABLE.iter().rposition(|&mtu| usize::from(mtu) <= mtu_bytes).unwrap_or(0) as u16
}

/// A PDU that has come.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub(super) tid: u32,
    pub(super) iq: u16,
    pub(super) settings: Settings,
    /// The sequence number of its first byte.
    pub(super) sequence: u32,
}

/// Looks at a PDU that has come, places its payload, and tells the driver.
pub(super) fn give_pdu(
    function: &mut Function,
    counted: &mut IscsiCounters,
    Arrival { tid, iq, settings, sequence }: Arrival,
    pdu: WirePdu<'_>,
    now: Duration,
) {
    let (verdict, digest) = examine(pdu, settings, tid, &function.pods, &function.memory);
    let layout = pdu.layout();
    counted.count_received(layout, settings, verdict);
    let header = IscsiHdr {
        opcode_tid: ReplyOpcode::IscsiHdr.of(tid),
        pdu_length: IscsiHdrLength::new()
            .with(IscsiHdrLength::LEN, (layout.header_bytes + layout.data_bytes) as u16)
            .with_bit(IscsiHdrLength::DDP, verdict.is_set(DdpVerdict::PLACED)),
        length: (layout.header_bytes as u16).into(),
        sequence: sequence.into(),
        ..IscsiHdr::default()
    };
    function.send(iq, [header.as_bytes(), pdu.head], true, now);
    if layout.data_bytes > 0 && !verdict.is_set(DdpVerdict::PLACED) && !verdict.is_set(DdpVerdict::HDRCRC_ERR) {
        let at = sequence.wrapping_add(layout.header_bytes as u32);
        send_data(function, iq, tid, at, pdu.data, now);
    }
    let end = RxIscsiDdp {
        opcode_tid: ReplyOpcode::RxIscsiDdp.of(tid),
        length: (layout.total_bytes as u16).into(),
        sequence: sequence.into(),
        next_sequence: sequence.wrapping_add(layout.total_bytes as u32).into(),
        data_digest: digest.into(),
        verdict,
        ..RxIscsiDdp::default()
    };
    function.send(iq, alone(&end), false, now);
}

/// Gives the driver data of a PDU, in as many messages as its buffers make.
fn send_data(function: &mut Function, iq: u16, tid: u32, sequence: u32, data: &[u8], now: Duration) {
    let buffer = function.ingress.get(&iq).and_then(|queue| queue.buffer_bytes(&function.memory).ok()).unwrap_or(0);
    let most = (buffer as usize).saturating_sub(16).max(64);
    for (at, piece) in data.chunks(most).enumerate() {
        let message = IscsiData {
            opcode_tid: ReplyOpcode::IscsiData.of(tid),
            length: (piece.len() as u16).into(),
            sequence: sequence.wrapping_add((at * most) as u32).into(),
            ..IscsiData::default()
        };
        function.send(iq, [message.as_bytes(), piece], true, now);
    }
}
