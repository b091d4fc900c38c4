//! What goes to the adapter on the data queue: page pods, PDUs, closes and aborts, each within the connection's credits.

use super::connection::{Connection, Outgoing, State};
use super::{AHS_BYTES_MAX, Driver, OffloadMode, PODS_OF_PLACE_MAX, SEGMENT_BYTES_MAX, WAITING_MAX};
use crate::bus::Bus;
use crate::dma::{Block, DmaMemory, Heap, Mapping};
use crate::queue::WORK_REQUEST_BYTES_MAX;
use crate::wire::*;
use iscsi_pdu::{Frame, HEADER_LENGTH, padding};
use iscsi_transport::{Digests, Flush, PortError, PortErrorKind};
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;
use zerocopy::IntoBytes;

/// Bytes that may wait to be sent on a connection before it has no room; the last PDU may reach beyond.
pub const SEND_QUEUE_BYTES_MAX: usize = 1 << 20;
/// Longest work request whose payload stands in the queue itself.
const IMMEDIATE_BYTES_MAX: usize = 256;
/// Most bytes of a stream that one work request sends.
const STREAM_BYTES_MAX: usize = 16384;
/// Credits that are kept for a close. The room for an abort is not counted at all.
const CLOSE_CREDITS: u32 = len16(size_of::<CloseConReq>());
/// The maximum segment size of a flow of which nothing is known.
const DEFAULT_MSS: u32 = 536;
/// Headers, data and padding.
const PDU_PIECES_MAX: usize = 3;
const HEADER: usize = size_of::<OffloadTxData>();

impl<B: Bus> Driver<B> {
    /// Whether a connection has room for another PDU.
    #[must_use]
    pub fn can_send(&self, tid: u32) -> bool {
        self.connection(tid).is_some_and(|connection| connection.queued_bytes < SEND_QUEUE_BYTES_MAX)
    }

    /// Queues a PDU, with the digests in force now. One that the adapter cannot send ends the connection.
    pub fn send(&mut self, tid: u32, frame: Frame) {
        if frame.data.len() > SEGMENT_BYTES_MAX as usize || frame.ahs.len() > AHS_BYTES_MAX as usize {
            let text =
                format!("a PDU of {} bytes of data cannot be sent: at most {SEGMENT_BYTES_MAX}", frame.data.len());
            return self.fail_connection(tid, PortErrorKind::Io, text);
        }
        let connection = self.owned(tid);
        if connection.failure.is_none() {
            connection.queued_bytes += queued_bytes(&frame);
            connection.queue.push_back(Outgoing { frame, digests: connection.digests });
        }
    }

    /// Hands what is queued to the adapter, as far as credits, queue and memory allow.
    ///
    /// # Errors
    /// The connection is over.
    pub fn flush(&mut self, tid: u32) -> Result<Flush, PortError> {
        if let Some(failure) = &self.owned(tid).failure {
            return Err(failure.clone());
        }
        while !self.owned(tid).queue.is_empty() {
            if self.send_next(tid) {
                continue;
            }
            // Credits may have come back meanwhile.
            self.ring();
            self.handle_ingress();
            if let Some(failure) = &self.owned(tid).failure {
                return Err(failure.clone());
            }
            if !self.send_next(tid) {
                break;
            }
        }
        self.ring();
        let connection = self.owned(tid);
        if connection.queue.is_empty() {
            return Ok(Flush::Done);
        }
        // Its owner waits to be told of room.
        connection.announced = false;
        Ok(Flush::Pending)
    }

    /// Turns digests on or off, both ways. What is received is cut with them once the adapter says so; until then nothing is sent.
    pub fn set_digests(&mut self, tid: u32, digests: Digests) {
        let connection = self.owned(tid);
        if connection.offload.mode == OffloadMode::Toe || connection.digests == digests || !connection.is_open() {
            return;
        }
        connection.digests = digests;
        connection.changes_pending += 1;
        let queue = connection.offload.queue;
        let both = TcbField { width: 2, ..TcbField::ULP_HEADER_DIGEST };
        let reply = ReplyControl::new().with(ReplyControl::QUEUENO, self.rss_queue(queue));
        let value = u64::from(digests.header) | u64::from(digests.data) << 1;
        self.control(both.set(tid, value, reply, 0));
        self.ring();
    }

    /// Puts the PDU at the front into the queue. Not if it has to wait for credits, room or memory.
    fn send_next(&mut self, tid: u32) -> bool {
        let room = self.data_room_bytes() >= WORK_REQUEST_BYTES_MAX;
        let connection = self.connections[tid as usize].as_deref_mut().expect("a connection that sends is there");
        // The longest list of pieces of a PDU takes 72 bytes.
        let credits = connection.credits >= len16(IMMEDIATE_BYTES_MAX) + CLOSE_CREDITS;
        if !credits || connection.changes_pending > 0 || !connection.is_open() {
            return false;
        }
        if !room {
            self.starve(tid);
            return false;
        }
        let Some(outgoing) = connection.queue.pop_front() else { return false };
        let Outgoing { frame, digests } = &outgoing;
        let digests = Digests { header: digests.header, data: digests.data && !frame.data.is_empty() };
        let pad = &[0; 3][..padding(frame.data.len())];
        let length = HEADER_LENGTH + frame.ahs.len() + frame.data.len() + pad.len();
        let parts: [&[u8]; 4] = [&frame.header.0, &frame.ahs, &frame.data, pad];
        let mut body = Body::default();
        let immediate = HEADER + length <= IMMEDIATE_BYTES_MAX;
        if !immediate && !body.place(frame, pad, self.bus.memory(), &mut self.send_heap) {
            connection.queue.push_front(outgoing);
            self.starve(tid);
            return false;
        }
        connection.queued_bytes -= queued_bytes(frame);
        let last = connection.queue.is_empty();
        let flags = pdu_flags(digests).with_bit(TxDataFlags::WR_SHOVE, last);
        let sequence = length as u32 + digest_bytes(digests);
        let list = body.list();
        if immediate {
            let header = tx_data(connection, tid, length, HEADER + length, sequence, flags, &mut body);
            self.queues.data.push(&self.bus, &[header.as_bytes(), parts[0], parts[1], parts[2], parts[3]]);
        } else {
            let header = tx_data(connection, tid, 0, HEADER + list.len(), sequence, flags, &mut body);
            self.queues.data.push(&self.bus, &[header.as_bytes(), &list]);
        }
        true
    }

    /// Sends bytes of a stream, as many as find room; of a connection without iSCSI in the adapter.
    ///
    /// # Errors
    /// The connection is over.
    pub fn send_stream(&mut self, tid: u32, slices: &[IoSlice<'_>]) -> Result<usize, PortError> {
        if let Some(failure) = &self.owned(tid).failure {
            return Err(failure.clone());
        }
        let mut sent = 0;
        let mut slices = slices.iter().map(|slice| &slice[..]).filter(|slice| !slice.is_empty());
        let mut front: &[u8] = &[];
        loop {
            let mut parts: [&[u8]; 16] = [&[]; 16];
            let mut length = 0;
            for part in &mut parts {
                if front.is_empty() {
                    front = slices.next().unwrap_or_default();
                }
                let (taken, rest) = front.split_at(front.len().min(STREAM_BYTES_MAX - length));
                (*part, front) = (taken, rest);
                length += taken.len();
            }
            if length == 0 {
                break;
            }
            if !self.send_piece(tid, &parts, length) {
                // Credits may have come back meanwhile.
                self.ring();
                self.handle_ingress();
                if !self.send_piece(tid, &parts, length) {
                    break;
                }
            }
            sent += length;
        }
        self.ring();
        // Its owner waits to be told of room, if that was not all.
        self.owned(tid).announced = false;
        Ok(sent)
    }

    fn send_piece(&mut self, tid: u32, parts: &[&[u8]], length: usize) -> bool {
        let room = self.data_room_bytes() >= WORK_REQUEST_BYTES_MAX;
        let connection = self.connections[tid as usize].as_deref_mut().expect("a connection that sends is there");
        if connection.credits < 4 + CLOSE_CREDITS || !connection.is_open() {
            return false;
        }
        let Some(block) = room.then(|| self.send_heap.allocate(length)).flatten() else {
            self.starve(tid);
            return false;
        };
        self.bus.memory().write_parts(block.address(), parts).expect("a block is in the memory");
        let mut body = Body::default();
        body.add(block.address(), length as u32);
        body.block = Some(block);
        let list = body.list();
        let flags = TxDataFlags::new().with_bit(TxDataFlags::WR_SHOVE, true);
        let header = tx_data(connection, tid, 0, HEADER + list.len(), length as u32, flags, &mut body);
        self.queues.data.push(&self.bus, &[header.as_bytes(), &list]);
        true
    }

    /// The first work request of a connection.
    pub(super) fn send_flow(&mut self, tid: u32, tcp_mss: u32) {
        let connection = self.connections[tid as usize].as_deref_mut().expect("a connection that begins is there");
        let class = connection.offload.settings.class;
        let values = {
            use FlowParameterName::*;
            [
                (PfnVfn, self.adapter.function.to_wire()),
                (Channel, self.config.port.into()),
                (Port, self.config.port.into()),
                (IngressQueue, self.adapter.rss_queues[usize::from(connection.offload.queue)].into()),
                (SndNxt, connection.snd_nxt),
                (RcvNxt, connection.rcv_nxt),
                (SendBuffer, self.config.send_window_bytes),
                (Mss, tcp_mss),
                (TxDataLengthMax, 16384),
                (SchedulingClass, class.unwrap_or(0).into()),
            ]
        };
        let parameters = values.map(|(name, value)| FlowParameter::new(name, value));
        // The last one only where there is a class.
        let parameters = &parameters[..parameters.len() - usize::from(class.is_none())];
        let bytes = size_of::<FlowC>() + size_of_val(parameters);
        let header = FlowC {
            op: WorkRequestOp::of(WorkRequestOpcode::FlowC, parameters.len() as u32),
            flow: WorkRequestFlow::of(tid, bytes),
        };
        connection.spend(len16(bytes), false, None, None);
        connection.flow_sent = true;
        self.data_request(&[header.as_bytes(), parameters.as_bytes()]);
    }

    /// Whether pods can be written on that connection's behalf.
    pub(super) fn has_room_for_pods(&self, tid: u32) -> bool {
        let credits = len16(WORK_REQUEST_BYTES_MAX);
        self.data_room_bytes() >= 2 * WORK_REQUEST_BYTES_MAX
            && self.connection(tid).is_some_and(|connection| connection.credits >= credits + CLOSE_CREDITS)
    }

    /// Writes the pods of a place into the adapter's memory, before whatever is sent after.
    pub(super) fn write_pods(&mut self, tid: u32, tag: u32) {
        let mut pods = [PagePod::default(); PODS_OF_PLACE_MAX];
        let (count, offset) = self.placements.pods(tid, tag, &mut pods);
        let pods = pods[..count].as_bytes();
        let mut write = UlpMemoryWrite::immediate(tid, self.adapter.pods.start + offset, pods.len());
        let length = (size_of::<UlpMemoryWrite>() + pods.len()).next_multiple_of(16);
        let ask = self.owned(tid).spend(len16(length), false, None, None);
        write.header.op = write.header.op.with_bit(WorkRequestOp::COMPL, ask);
        let pad = &[0; 16][..length - size_of::<UlpMemoryWrite>() - pods.len()];
        self.queues.data.push(&self.bus, &[write.as_bytes(), pods, pad]);
    }

    /// Lets go of a connection: a FIN if all was well, else a RST. What is queued is lost.
    pub fn close(&mut self, tid: u32) {
        self.release_all(tid);
        let connection = self.owned(tid);
        let orderly = connection.failure.is_none() || connection.peer_closed;
        connection.drop_queue();
        connection.arrived.clear();
        connection.stream.clear();
        connection.abandoned = true;
        match connection.state {
            State::Established if orderly => {
                connection.state = State::Closing { ours_done: false };
                let ask = connection.spend(CLOSE_CREDITS.min(connection.credits), false, None, None);
                let mut request = CloseConReq::new(tid, tid);
                request.header.op = request.header.op.with_bit(WorkRequestOp::COMPL, ask);
                self.data_request(&[request.as_bytes()]);
                self.leaving.push(tid);
            }
            State::Established | State::Accepting => self.abort(tid),
            State::Ended => self.forget(tid),
            State::Closing { .. } | State::Aborting => {}
        }
        self.ring();
    }

    /// Aborts a connection; a RST goes to the peer.
    pub(super) fn abort(&mut self, tid: u32) {
        let connection = self.owned(tid);
        connection.state = State::Aborting;
        if !connection.flow_sent {
            // The adapter takes no abort of a flow that it does not know.
            self.send_flow(tid, DEFAULT_MSS);
        }
        let connection = self.owned(tid);
        let request = AbortReq {
            snd_nxt: connection.snd_nxt.into(),
            no_data_sent: u8::from(!connection.data_sent),
            command: AbortCommand::SendRst.to_wire(),
            ..AbortReq::new(tid, tid)
        };
        self.data_request(&[request.as_bytes()]);
    }

    /// Puts a work request into the data queue for which room is kept.
    pub(super) fn data_request(&mut self, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length <= self.data_room_bytes() {
            self.queues.data.push(&self.bus, parts);
        } else if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(parts.concat().into());
        } else {
            self.fail_unread(self.queues.data.id());
        }
    }

    /// Room in the data queue for what is new: none before what waits has found some.
    fn data_room_bytes(&self) -> usize {
        if self.waiting.is_empty() { self.queues.data.room_bytes() } else { 0 }
    }

    /// Puts what had to wait into the data queue.
    pub(super) fn send_waiting(&mut self) {
        while let Some(request) = self.waiting.front().filter(|request| request.len() <= self.queues.data.room_bytes())
        {
            self.queues.data.push(&self.bus, &[request]);
            self.waiting.pop_front();
        }
    }

    /// Aborts connections whose peers do not close.
    pub(super) fn end_leaving(&mut self, now: Instant) {
        let mut late = Vec::new();
        self.leaving.retain(|&tid| {
            let Some(connection) = self.connections[tid as usize].as_deref_mut() else { return false };
            // It may be another of the same number.
            if !matches!(connection.state, State::Closing { .. }) {
                return false;
            }
            let since = *connection.left_at.get_or_insert(now);
            let is_late = now.saturating_duration_since(since) > super::CLOSE_PATIENCE;
            if is_late {
                late.push(tid);
            }
            !is_late
        });
        // One that has left twice under the same number is named twice.
        late.sort_unstable();
        late.dedup();
        late.into_iter().for_each(|tid| self.abort(tid));
    }
}

/// What a PDU counts for in the queue of its connection.
fn queued_bytes(frame: &Frame) -> usize {
    HEADER_LENGTH + frame.ahs.len() + frame.data.len()
}

/// How many bytes the adapter adds.
fn digest_bytes(digests: Digests) -> u32 {
    4 * (u32::from(digests.header) + u32::from(digests.data))
}

/// What the adapter adds to a PDU.
fn pdu_flags(digests: Digests) -> TxDataFlags {
    if digests == Digests::default() {
        return TxDataFlags::new().with_bit(TxDataFlags::FORCE, true);
    }
    TxDataFlags::new()
        .with(TxDataFlags::ULP_MODE, UlpMode::Iscsi.to_wire().into())
        .with_bit(TxDataFlags::ULP_HCRC, digests.header)
        .with_bit(TxDataFlags::ULP_DCRC, digests.data)
}

/// The pieces of a PDU that the adapter fetches, and what they hold.
#[derive(Default)]
struct Body {
    pieces: [Option<Piece>; PDU_PIECES_MAX],
    block: Option<Block>,
    payload: Option<Mapping>,
}

/// A list of pieces as it is sent.
struct List {
    bytes: [u8; UlpList::bytes(PDU_PIECES_MAX)],
    length: usize,
}

impl std::ops::Deref for List {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Body {
    /// Puts a PDU where the adapter can fetch it; its data stays where it is if it can be mapped. Not if there is no block.
    fn place(&mut self, frame: &Frame, pad: &[u8], memory: &Arc<DmaMemory>, heap: &mut Heap) -> bool {
        let mapping = memory.map(&frame.data);
        let front = HEADER_LENGTH + frame.ahs.len();
        let data: &[u8] = if mapping.is_some() { &[] } else { &frame.data };
        let Some(block) = heap.allocate(front + data.len() + pad.len()) else { return false };
        let at = block.address();
        memory.write_parts(at, &[&frame.header.0, &frame.ahs, data, pad]).expect("a block is in the memory");
        if let Some(mapping) = mapping {
            self.add(at, front as u32);
            self.add(mapping.address(), frame.data.len() as u32);
            self.add(at + front as u64, pad.len() as u32);
            self.payload = Some(mapping);
        } else {
            self.add(at, (front + data.len() + pad.len()) as u32);
        }
        self.block = Some(block);
        true
    }

    fn add(&mut self, address: u64, length: u32) {
        if length > 0 {
            let free = self.pieces.iter_mut().find(|piece| piece.is_none()).expect("a PDU has three pieces");
            *free = Some(Piece { address, length });
        }
    }

    /// The list of pieces as it is sent; nothing if there is none.
    fn list(&self) -> List {
        let count = self.pieces.iter().flatten().count();
        let mut bytes = [0; UlpList::bytes(PDU_PIECES_MAX)];
        let mut pieces = [Piece::default(); PDU_PIECES_MAX];
        pieces.iter_mut().zip(self.pieces.iter().flatten()).for_each(|(to, piece)| *to = *piece);
        let length = if count == 0 { 0 } else { UlpList::write(&pieces[..count], &mut bytes) };
        List { bytes, length }
    }
}

/// The header of a work request that sends data, for which credits are taken.
fn tx_data(
    connection: &mut Connection,
    tid: u32,
    immediate: usize,
    bytes: usize,
    sequence: u32,
    flags: TxDataFlags,
    body: &mut Body,
) -> OffloadTxData {
    connection.spend(len16(bytes), true, body.block.take(), body.payload.take());
    connection.snd_nxt = connection.snd_nxt.wrapping_add(sequence);
    connection.data_sent = true;
    OffloadTxData {
        op: WorkRequestOp::of(WorkRequestOpcode::OffloadTxData, immediate as u32).with_bit(WorkRequestOp::COMPL, true),
        flow: WorkRequestFlow::of(tid, bytes),
        sequence_length: sequence.into(),
        flags,
    }
}
