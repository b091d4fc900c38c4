//! What comes from the adapter in the ingress queue, each message to whom it belongs.

use super::connection::{Arrived, Assembly, State};
use super::incoming::Turn;
use super::placement::Placed;
use super::{AHS_BYTES_MAX, Driver, DriverError, DriverEvent, OffloadMode};
use crate::bus::Bus;
use crate::dma::GRANULE_BYTES;
use crate::wire::*;
use bytes::{Bytes, BytesMut};
use iscsi_pdu::{Frame, HEADER_LENGTH, Header, Opcode, padding};
use iscsi_transport::{PortErrorKind, Received};

/// Longest message with the headers that follow it: ISCSI_HDR, a header with all additional segments and a digest.
const FRONT_BYTES: usize = 16 + HEADER_LENGTH + AHS_BYTES_MAX as usize + 4;

/// What may come beyond twice the receive window, in bytes: a small one may be less than a PDU.
const WINDOW_EXCESS_BYTES: u32 = 128 << 10;

/// Entries of an ingress queue that are handled before the owners of connections have their turn: some 80 PDUs. What they carry is copied, and is to be used
/// while it is in the cache.
const ENTRIES_A_TURN: u16 = 256;

/// What the adapter says against its own rules.
type Broken = (PortErrorKind, String);

/// A message and what follows it.
#[derive(Clone, Copy)]
struct Message<'a> {
    /// The beginning of what follows.
    front: &'a [u8],
    /// Where what follows is, and its length.
    body: Option<(u64, usize)>,
}

impl<B: Bus> Driver<B> {
    /// Handles some of what is in the ingress queues; says whether there may be more.
    pub(super) fn handle_ingress(&mut self) -> bool {
        self.bus.poll();
        let mut turn = Turn::of(ENTRIES_A_TURN);
        while self.failure.is_none()
            && let Some(arrival) = self.queues.next_arrival(&self.bus, &mut turn)
        {
            match arrival {
                Ok((entry, None)) => self.handle_message(&entry.message, None),
                Ok((entry, Some((address, length)))) if entry.header.opcode == ReplyOpcode::RxPkt.to_wire() => {
                    self.take_frame(address, length);
                }
                Ok((_, Some((address, length)))) => {
                    let mut front = [0; FRONT_BYTES];
                    let front = &mut front[..length.min(FRONT_BYTES)];
                    self.bus.memory().read(address, front).expect("a buffer is in the memory");
                    self.handle_message(front, Some((address, length)));
                }
                Err(error) => self.fail_all(error),
            }
        }
        turn.is_cut
    }

    fn handle_message(&mut self, bytes: &[u8], buffer: Option<(u64, usize)>) {
        let Ok((reply, front)) = Reply::decode(bytes) else { return };
        let skipped = bytes.len() - front.len();
        let body = buffer.map(|(address, length)| (address + skipped as u64, length - skipped));
        let message = Message { front, body };
        match reply {
            Reply::IscsiHdr(header) => {
                self.about(header.opcode_tid, |driver, tid| driver.begin_pdu(tid, &header, message))
            }
            Reply::IscsiData(data) => self.about(data.opcode_tid, |driver, tid| driver.add_data(tid, &data, message)),
            Reply::RxIscsiDdp(end) => self.about(end.opcode_tid, |driver, tid| driver.end_pdu(tid, &end)),
            Reply::RxData(data) => self.about(data.opcode_tid, |driver, tid| driver.add_stream(tid, &data, message)),
            Reply::Fw4Ack(ack) => self.about(ack.opcode_tid, |driver, tid| driver.handle_ack(tid, &ack)),
            // What the firmware says of a filter; of a connection the cookie is that of our change, 0.
            Reply::SetTcbRpl(reply) if reply.cookie != 0 => {
                let index = reply.opcode_tid.get(OpcodeTid::TID);
                let result = FilterResult::from_wire(reply.cookie);
                self.events.push_back(DriverEvent::Filter { index, result });
            }
            Reply::GetTcbRpl(reply) => self.handle_filter_block(&reply, message.front),
            Reply::SetTcbRpl(reply) => self.about(reply.opcode_tid, |driver, tid| driver.handle_change(tid, &reply)),
            Reply::PeerClose(close) => self.about(close.opcode_tid, |driver, tid| driver.handle_peer_close(tid)),
            Reply::CloseConRpl(close) => self.about(close.opcode_tid, |driver, tid| driver.handle_close_reply(tid)),
            Reply::AbortReqRss(abort) => {
                self.about(abort.opcode_tid, |driver, tid| driver.handle_abort(tid, abort.status))
            }
            Reply::AbortRplRss(abort) => self.about(abort.opcode_tid, |driver, tid| driver.handle_abort_reply(tid)),
            Reply::SgeEgrUpdate(update) => self.handle_egress_update(&update),
            Reply::ActOpenRpl(reply) => self.handle_open_reply(&reply),
            Reply::ActEstablish(established) => self.handle_active_establish(&established),
            Reply::PassOpenRpl(reply) => self.handle_listen_reply(&reply),
            Reply::CloseListsrvRpl(reply) => self.handle_listen_end(&reply),
            Reply::PassAcceptReq(request) => self.handle_accept_request(&request, message.front),
            Reply::PassEstablish(established) => self.handle_passive_establish(&established),
            // Nothing waits for these, or they are none of ours.
            Reply::L2tWriteRpl(_)
            | Reply::SmtWriteRpl(_)
            | Reply::CplError(_)
            | Reply::RxPkt(_)
            | Reply::RxDataDdp(_)
            | Reply::Fw4Msg(_)
            | Reply::Fw6Msg(_) => {}
        }
    }

    /// Handles a message about a connection, if there is one; what is against the rules ends it.
    fn about(&mut self, opcode_tid: OpcodeTid, handle: impl FnOnce(&mut Self, u32) -> Result<(), Broken>) {
        let tid = opcode_tid.get(OpcodeTid::TID);
        if self.connection(tid).is_some()
            && let Err((kind, text)) = handle(self, tid)
        {
            self.fail_connection(tid, kind, text);
        }
    }

    fn handle_egress_update(&mut self, update: &SgeEgrUpdate) {
        let id = update.opcode_qid.get(OpcodeTid::TID);
        let queue = match id {
            _ if id == self.queues.data.id() => &mut self.queues.data,
            _ if id == self.queues.control.id() => &mut self.queues.control,
            _ => match self.queues.frames.as_mut().filter(|frames| frames.id() == id) {
                Some(frames) => frames,
                None => return,
            },
        };
        if !queue.handle_update(update.consumer.get()) {
            let text = format!("the adapter says that it has read up to {}, where nothing is", update.consumer);
            return self.fail_all(DriverError::Queue { queue: id, text });
        }
        self.send_waiting();
        self.feed();
    }

    fn handle_ack(&mut self, tid: u32, ack: &Fw4Ack) -> Result<(), Broken> {
        let connection = self.connections[tid as usize].as_deref_mut().expect("a message is about a connection");
        let held_back = !connection.queue.is_empty() || connection.offload.mode == OffloadMode::Toe;
        if !connection.refund(ack.credits.into(), &mut self.send_heap) {
            return Err((PortErrorKind::Io, format!("{} credits came back, more than were out", ack.credits)));
        }
        if held_back {
            self.announce(tid);
        }
        self.feed();
        Ok(())
    }

    fn handle_change(&mut self, tid: u32, reply: &SetTcbRpl) -> Result<(), Broken> {
        let connection = self.owned(tid);
        let pending = connection.changes_pending.checked_sub(1);
        connection.changes_pending = pending.ok_or((PortErrorKind::Io, "a change that nobody asked for".to_owned()))?;
        if reply.status != 0 {
            return Err((PortErrorKind::Io, format!("the adapter does not change digests: status {}", reply.status)));
        }
        self.announce(tid);
        Ok(())
    }

    fn begin_pdu(&mut self, tid: u32, message: &IscsiHdr, bytes: Message<'_>) -> Result<(), Broken> {
        let connection = self.owned(tid);
        let length = usize::from(message.length.get());
        if connection.assembly.is_some() || message.sequence.get() != connection.rcv_nxt {
            return Err((PortErrorKind::Io, "a header came in the midst of another PDU".to_owned()));
        }
        let Some(header) = bytes.front.first_chunk::<HEADER_LENGTH>().filter(|_| length >= HEADER_LENGTH) else {
            return Err((PortErrorKind::Io, format!("a header of {length} bytes came: it has 48 or more")));
        };
        let header = Header(*header);
        let ahs_end = HEADER_LENGTH + header.ahs_length();
        if header.ahs_length() > AHS_BYTES_MAX as usize {
            let text = format!("additional header segments of {} bytes came: at most 256", header.ahs_length());
            return Err((PortErrorKind::AhsTooLong, text));
        }
        let said = usize::from(message.pdu_length.get(IscsiHdrLength::LEN));
        let with_digest = length == ahs_end + 4;
        if bytes.front.len() < ahs_end
            || !(length == ahs_end || with_digest)
            || said != length + header.data_segment_length()
        {
            let text = format!("a header of {length} bytes in a PDU of {said}, which says otherwise: {header:?}");
            return Err((PortErrorKind::Io, text));
        }
        let ahs = bytes.front[HEADER_LENGTH..ahs_end].into();
        connection.assembly = Some(Assembly { header, ahs, data: BytesMut::new(), header_bytes: length as u32 });
        Ok(())
    }

    fn add_data(&mut self, tid: u32, message: &IscsiData, bytes: Message<'_>) -> Result<(), Broken> {
        let memory = self.bus.memory();
        let connection = self.connections[tid as usize].as_deref_mut().expect("a message is about a connection");
        let length = usize::from(message.length.get());
        let there = bytes.body.filter(|&(_, there)| there >= length);
        let (Some(assembly), Some((address, _))) = (&mut connection.assembly, there) else {
            return Err((PortErrorKind::Io, format!("{length} bytes of data came without a header, or are not there")));
        };
        let before = assembly.data.len();
        let segment = assembly.header.data_segment_length();
        if before + length > segment + padding(segment) {
            let text = format!("{} bytes of data came for a segment of {segment}", before + length);
            return Err((PortErrorKind::Io, text));
        }
        memory.append(address, length, &mut assembly.data).expect("a buffer is in the memory");
        Ok(())
    }

    fn end_pdu(&mut self, tid: u32, end: &RxIscsiDdp) -> Result<(), Broken> {
        let connection = self.owned(tid);
        let Some(assembly) = connection.assembly.take() else {
            return Err((PortErrorKind::Io, "the end of a PDU came without its header".to_owned()));
        };
        let (length, segment) = (u32::from(end.length.get()), assembly.header.data_segment_length() as u32);
        let padded = segment + padding(segment as usize) as u32;
        let shortest = assembly.header_bytes + padded;
        if length != shortest && !(length == shortest + 4 && segment > 0) {
            return Err((PortErrorKind::Io, format!("a PDU of {shortest} bytes ends after {length}")));
        }
        connection.rcv_nxt = connection.rcv_nxt.wrapping_add(length);
        let what = self.judge(tid, assembly, end.verdict)?;
        if self.owned(tid).abandoned {
            return Ok(());
        }
        self.use_window(tid, length)?;
        let connection = self.owned(tid);
        connection.arrived.push_back(Arrived { what, window_bytes: length });
        self.announce(tid);
        Ok(())
    }

    /// What a PDU is, by what the adapter says of it.
    fn judge(&mut self, tid: u32, assembly: Assembly, verdict: DdpVerdict) -> Result<Received, Broken> {
        let Assembly { header, ahs, mut data, .. } = assembly;
        if verdict.is_set(DdpVerdict::HDRCRC_ERR) {
            return Ok(Received::BadHeaderDigest(header));
        }
        if verdict.is_set(DdpVerdict::DATACRC_ERR) {
            return Ok(Received::BadDataDigest(header));
        }
        if verdict.is_set(DdpVerdict::PADDING_ERR) {
            return Err((PortErrorKind::Io, format!("the padding of a PDU is wrong: {header:?}")));
        }
        let segment = header.data_segment_length();
        let data = if data.len() >= segment {
            data.truncate(segment);
            data.freeze()
        } else if verdict.is_set(DdpVerdict::PLACED) && data.is_empty() {
            self.placed_data(tid, &header, segment)?
        } else {
            let text =
                format!("{} of {segment} bytes of data have come, and none were placed: {verdict:?}", data.len());
            return Err((PortErrorKind::Io, text));
        };
        Ok(Received::Frame(Frame { header, ahs, data }))
    }

    /// Payload that was placed: lent where it is, if its borders are those of what can be lent, else copied.
    fn placed_data(&mut self, tid: u32, header: &Header, segment: usize) -> Result<Bytes, Broken> {
        let field = |at: usize| u32::from_be_bytes(*header.0[at..].first_chunk().expect("a header has 48 bytes"));
        let tag = match header.opcode() {
            Opcode::DataIn => header.initiator_task_tag(),
            Opcode::DataOut => field(20),
            opcode => return Err((PortErrorKind::Io, format!("the data of a {opcode} was placed: it has no place"))),
        };
        let offset = field(40);
        let Some(Placed { address, rest }) = self.placements.locate(tid, tag, offset, segment as u32) else {
            let text = format!("{segment} bytes at {offset} of tag {tag:#010x} were placed: there is no such place");
            return Err((PortErrorKind::Io, text));
        };
        let memory = self.bus.memory();
        let granule = GRANULE_BYTES as u64;
        let whole =
            address.is_multiple_of(granule) && (rest == 0 || (address + segment as u64).is_multiple_of(granule));
        if whole && let Some(lent) = memory.freeze(address, segment) {
            return Ok(lent);
        }
        let mut copy = BytesMut::new();
        memory.append(address, segment, &mut copy).expect("a place is in the memory");
        Ok(copy.freeze())
    }

    fn add_stream(&mut self, tid: u32, message: &RxData, bytes: Message<'_>) -> Result<(), Broken> {
        let memory = self.bus.memory();
        let connection = self.connections[tid as usize].as_deref_mut().expect("a message is about a connection");
        let length = usize::from(message.length.get());
        let there = bytes.body.filter(|&(_, there)| there >= length);
        let (OffloadMode::Toe, Some((address, _))) = (connection.offload.mode, there) else {
            return Err((
                PortErrorKind::Io,
                "bytes of a stream came on a connection of PDUs, or are not there".to_owned(),
            ));
        };
        if message.sequence.get() != connection.rcv_nxt {
            return Err((PortErrorKind::Io, "bytes of a stream came out of order".to_owned()));
        }
        connection.rcv_nxt = connection.rcv_nxt.wrapping_add(length as u32);
        if connection.abandoned || length == 0 {
            return Ok(());
        }
        let mut data = BytesMut::new();
        memory.append(address, length, &mut data).expect("a buffer is in the memory");
        self.use_window(tid, length as u32)?;
        self.owned(tid).stream.push_back(data.freeze());
        self.announce(tid);
        Ok(())
    }

    /// Takes bytes of a stream into `buffer`, within its spare capacity, and says how many.
    pub fn receive_stream(&mut self, tid: u32, buffer: &mut BytesMut) -> usize {
        if self.owned(tid).stream.is_empty() {
            self.owned(tid).announced = false;
            self.handle_ingress();
        }
        let window_max = self.config.receive_window_bytes / 4;
        let connection = self.owned(tid);
        let mut taken = 0;
        while let Some(front) = connection.stream.front_mut() {
            let room = buffer.capacity() - buffer.len();
            let piece = front.split_to(front.len().min(room));
            buffer.extend_from_slice(&piece);
            taken += piece.len();
            if !front.is_empty() {
                break;
            }
            connection.stream.pop_front();
        }
        connection.window_owed += taken as u32;
        if connection.window_owed >= window_max {
            self.return_window(tid);
        }
        self.ring();
        taken
    }

    /// Counts bytes that wait to be taken. An adapter may be a PDU ahead of the window; one that is far ahead fills the memory.
    fn use_window(&mut self, tid: u32, bytes: u32) -> Result<(), Broken> {
        let most = self.config.receive_window_bytes.saturating_mul(2).saturating_add(WINDOW_EXCESS_BYTES);
        let connection = self.owned(tid);
        connection.window_used = connection.window_used.saturating_add(bytes);
        if connection.window_used > most {
            let text = format!("{} bytes came that nobody has made room for", connection.window_used);
            return Err((PortErrorKind::Io, text));
        }
        Ok(())
    }

    /// Opens the window by what was taken.
    pub(super) fn return_window(&mut self, tid: u32) {
        let connection = self.owned(tid);
        let owed = std::mem::take(&mut connection.window_owed);
        connection.window_used -= owed;
        if !matches!(connection.state, State::Established | State::Closing { .. }) {
            return;
        }
        let credits = DataAck::new().with(DataAck::CREDITS, owed).with_bit(DataAck::FORCE_ACK, true);
        self.control(RxDataAck { credits, ..RxDataAck::new(tid, tid) });
    }

    fn handle_peer_close(&mut self, tid: u32) -> Result<(), Broken> {
        let connection = self.owned(tid);
        connection.peer_closed = true;
        match connection.state {
            State::Closing { ours_done: true } => self.finish(tid),
            _ => self.announce(tid),
        }
        Ok(())
    }

    fn handle_close_reply(&mut self, tid: u32) -> Result<(), Broken> {
        let connection = self.owned(tid);
        match connection.state {
            State::Closing { .. } if connection.peer_closed => self.finish(tid),
            State::Closing { .. } => connection.state = State::Closing { ours_done: true },
            _ => {}
        }
        Ok(())
    }

    /// The peer has reset the connection, or the adapter gives it up.
    fn handle_abort(&mut self, tid: u32, status: u8) -> Result<(), Broken> {
        if CplStatus::from_wire(status).is_some_and(CplStatus::is_advice) {
            return Ok(());
        }
        let reply = AbortRpl { command: AbortCommand::NoRst.to_wire(), ..AbortRpl::new(tid, tid) };
        self.data_request(&[zerocopy::IntoBytes::as_bytes(&reply)]);
        let connection = self.owned(tid);
        // An abort of ours that crosses it is answered too; the connection ends with that answer.
        if connection.state != State::Aborting {
            connection.fail(PortErrorKind::Reset, reset_text(status));
            self.finish(tid);
        }
        Ok(())
    }

    fn handle_abort_reply(&mut self, tid: u32) -> Result<(), Broken> {
        if self.owned(tid).state == State::Aborting {
            self.finish(tid);
        }
        Ok(())
    }

    /// The adapter is done with a connection.
    fn finish(&mut self, tid: u32) {
        let connection = self.connections[tid as usize].as_deref_mut().expect("a connection that ends is there");
        connection.free_all(&mut self.send_heap);
        connection.state = State::Ended;
        self.feed();
        let connection = self.owned(tid);
        if connection.abandoned || !connection.told {
            self.forget(tid);
        } else {
            self.announce(tid);
        }
    }

    /// Nobody has that connection any more.
    pub(super) fn forget(&mut self, tid: u32) {
        if let Some(mut connection) = self.connections[tid as usize].take() {
            connection.free_all(&mut self.send_heap);
        }
    }

    /// Tells the owner of a listener of a connection.
    pub(super) fn tell_accepted(&mut self, tid: u32, listener: u32) {
        self.events.push_back(DriverEvent::Accepted { listener, connection: tid });
        self.announce(tid);
    }
}

fn reset_text(status: u8) -> String {
    match CplStatus::from_wire(status) {
        Some(CplStatus::ConnReset) => "the peer has reset the connection".to_owned(),
        Some(status) => format!("the adapter has given the connection up: {status:?}"),
        None => format!("the adapter has given the connection up with status {status}"),
    }
}
