//! Work requests: what a driver asks for, and what the adapter does about it.

use super::Core;
use super::egress::{EgressKind, alone, header};
use super::fault::Fault;
use super::filters::FILTERS_BASE;
use super::flow::{Payload, Request as FlowRequest};
use super::foiscsi::is_for_initiator;
use super::function::{Function, Listener, NextHop, socket};
use super::limits::{COPIED_BYTES_A_TURN, REQUESTS_A_TURN};
use crate::iscsi::Outgoing;
use crate::switch::{MacAddress, Origin, Path};
use iscsi_pdu::HEADER_LENGTH;
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::time::Duration;
use t5_hal::wire::*;
use zerocopy::IntoBytes;

/// Work requests of one queue that are done before others have their turn.
const BURST: usize = 64;
/// Longest payload of one request, in bytes.
pub(super) const PAYLOAD_BYTES_MAX: usize = 65536;
/// The VLAN of a next hop without one.
const NO_VLAN: u16 = 0xfff;

/// Why a work request was not done.
pub(super) enum Wrong {
    /// It is none.
    Malformed,
    /// It asks for what it may not.
    Fault(Fault),
}

impl From<WireError> for Wrong {
    fn from(_: WireError) -> Self {
        Self::Malformed
    }
}

impl<F: Into<Fault>> From<F> for Wrong {
    fn from(fault: F) -> Self {
        Self::Fault(fault.into())
    }
}

impl Core {
    /// Does some of what stands in a function's egress queues, which have their turns one after the other; says whether there was anything.
    pub(super) fn run_egress(&mut self, who: FunctionId, now: Duration) -> bool {
        let Some(function) = &self.functions[who] else { return false };
        let last = function.last_egress;
        let mut busy: SmallVec<[u32; 8]> =
            function.egress.values().filter(|queue| queue.has_work()).map(|queue| queue.id).collect();
        let behind_last = busy.partition_point(|&id| id <= last);
        busy.rotate_left(behind_last);
        let (mut left, begin) = (REQUESTS_A_TURN, self.copied_bytes);
        for &id in &busy {
            if self.copied_bytes.wrapping_sub(begin) >= COPIED_BYTES_A_TURN {
                break;
            }
            for _ in 0..BURST.min(left) {
                if self.copied_bytes.wrapping_sub(begin) >= COPIED_BYTES_A_TURN {
                    left = 0;
                    break;
                }
                if !self.run_request(who, id, now) {
                    break;
                }
                left -= 1;
            }
            self.function(who).last_egress = id;
            if left == 0 {
                break;
            }
        }
        !busy.is_empty()
    }

    fn run_request(&mut self, who: FunctionId, id: u32, now: Duration) -> bool {
        let function = self.functions[who].as_mut().expect("the function has queues");
        let Some(queue) = function.egress.get_mut(&id) else { return false };
        let (kind, iq) = (queue.kind, queue.iq);
        let fetched = queue.fetch(&function.memory);
        let request = match fetched {
            Ok(Some(request)) => request,
            Ok(None) => return false,
            Err(fault) => {
                self.report_fault(who, id, &[], fault, now);
                return false;
            }
        };
        let done = self.perform(who, kind, iq, &request, now);
        if let Err(wrong) = done.or_else(|wrong| self.excuse(who, wrong)) {
            let fault = match wrong {
                Wrong::Fault(fault) => fault,
                Wrong::Malformed => self.function(who).egress[&id].malformed(header(&request)),
            };
            self.report_fault(who, id, &request, fault, now);
        }
        let flow = header(&request).flow;
        let function = self.function(who);
        let Some(queue) = function.egress.get(&id) else { return true };
        if flow.is_set(WorkRequestFlow::EQUEQ)
            && let Err(fault) = queue.write_status(&function.memory)
        {
            function.fault(fault);
        } else if flow.is_set(WorkRequestFlow::EQUIQ) {
            let update = SgeEgrUpdate {
                opcode_qid: ReplyOpcode::SgeEgrUpdate.of(id),
                consumer: queue.consumer().into(),
                producer: queue.producer().into(),
            };
            function.send(queue.iq, alone(&update), false, now);
        }
        true
    }

    /// What a driver asks of a connection that has ended, and whose end it cannot have read yet, comes to nothing and is no fault.
    fn excuse(&self, who: FunctionId, wrong: Wrong) -> Result<(), Wrong> {
        match &wrong {
            Wrong::Fault(Fault::NoConnection { tid }) if self.has_ended(who, *tid) => Ok(()),
            _ => Err(wrong),
        }
    }

    /// Remembers a fault and has the firmware tell the driver.
    fn report_fault(&mut self, who: FunctionId, queue: u32, request: &[u8], fault: Fault, now: Duration) {
        let function = self.function(who);
        function.fault(fault);
        let Some((iq, consumer)) = function.egress.get(&queue).map(|queue| (queue.iq, queue.consumer())) else {
            return;
        };
        let command = fault.to_command(who, queue, consumer, request);
        let mut message = Fw6Msg {
            opcode: ReplyOpcode::Fw6Msg.to_wire(),
            kind: FirmwareMessage::CommandReply.to_wire(),
            ..Fw6Msg::default()
        };
        message.data.copy_from_slice(command.as_bytes());
        function.send(iq, alone(&message), false, now);
    }

    fn perform(
        &mut self,
        who: FunctionId,
        kind: EgressKind,
        iq: u16,
        request: &[u8],
        now: Duration,
    ) -> Result<(), Wrong> {
        let opcode = header(request).op.get(WorkRequestOp::OPCODE) as u8;
        match (WorkRequestOpcode::from_wire(opcode), kind) {
            (Some(WorkRequestOpcode::Tp), _) => self.message(who, Request::decode(request)?, request, now),
            (Some(WorkRequestOpcode::UlpTx), _) => self.memory_write(who, request),
            (Some(WorkRequestOpcode::FlowC), _) => self.flow_parameters(who, request),
            (Some(WorkRequestOpcode::Filter), EgressKind::Control | EgressKind::Offload) => {
                self.change_filter(who, request, now)
            }
            (Some(WorkRequestOpcode::OffloadTxData), EgressKind::Offload) => self.send_data(who, request),
            (Some(WorkRequestOpcode::IscsiTxData), EgressKind::Offload) => self.send_burst(who, request),
            (Some(opcode), EgressKind::Offload) if is_for_initiator(opcode) && !who.is_virtual() => {
                self.initiate(who, opcode, iq, request, now)
            }
            (Some(WorkRequestOpcode::EthTxPkt), EgressKind::Ethernet(interface)) => {
                let (wr, rest) = EthTxPkt::split_from(request)?;
                self.send_frame(who, interface, Path::Wire, wr.op, rest, now)
            }
            (Some(WorkRequestOpcode::EthTxPktVm), EgressKind::Ethernet(interface)) => {
                let (wr, rest) = EthTxPktVm::split_from(request)?;
                self.send_frame(who, interface, Path::Switched, wr.op, rest, now)
            }
            _ => Err(WireError::Opcode { what: "work request of this queue", opcode }.into()),
        }
    }

    /// A message for TP.
    fn message(&mut self, who: FunctionId, message: Request, request: &[u8], now: Duration) -> Result<(), Wrong> {
        let tid = message.opcode_tid().get(OpcodeTid::TID);
        match message {
            Request::PassOpenReq(open) => {
                let local = socket(open.local_ip, open.local_port.get());
                self.listen(who, tid, local, open.opt1, now)?;
            }
            Request::PassOpenReq6(open) => {
                let local = socket(open.local_ip, open.local_port.get());
                self.listen(who, tid, local, open.opt1, now)?;
            }
            Request::CloseListsrvReq(close) => {
                let function = self.function(who);
                let status =
                    if function.listeners.remove(&tid).is_some() { CplStatus::None } else { CplStatus::TcamMiss };
                let reply = CloseListsrvRpl {
                    opcode_tid: ReplyOpcode::CloseListsrvRpl.of(tid),
                    status: status.to_wire(),
                    ..CloseListsrvRpl::default()
                };
                if !close.reply_control.is_set(ReplyControl::NO_REPLY) {
                    function.send(close.reply_control.get(ReplyControl::QUEUENO), alone(&reply), false, now);
                }
            }
            Request::ActOpenReq(open) => {
                let ends = (socket(open.local_ip, open.local_port.get()), socket(open.peer_ip, open.peer_port.get()));
                self.open(who, tid, ends, open.opt0, now)?;
            }
            Request::ActOpenReq6(open) => {
                let ends = (socket(open.local_ip, open.local_port.get()), socket(open.peer_ip, open.peer_port.get()));
                self.open(who, tid, ends, open.opt0, now)?;
            }
            Request::PassAcceptRpl(accept) => self.accept(who, tid, accept.opt0, accept.opt2, now)?,
            Request::TidRelease(_) => self.release(who, tid)?,
            Request::SetTcbField(change) => self.change(who, tid, &change, now)?,
            Request::GetTcb(ask) => self.tell_tcb(who, tid, &ask, now)?,
            Request::RxDataAck(ack) => {
                let flow = self.flow_of(who, tid)?;
                let credits = ack.credits.get(DataAck::CREDITS);
                flow.unacknowledged_bytes = flow.unacknowledged_bytes.saturating_sub(credits);
                self.make_ready(tid);
                self.wake_sender(tid);
            }
            Request::CloseConReq(_) => {
                let credits = header(request).flow.get(WorkRequestFlow::LEN16);
                self.queue_request(who, tid, FlowRequest::Close { credits }, credits)?;
            }
            Request::AbortReq(abort) => self.abort(who, tid, abort.command, now)?,
            Request::AbortRpl(_) => self.end_by_driver(who, tid)?,
            Request::L2tWriteReq(write) => write_next_hop(self.function(who), &write, now)?,
            Request::SmtWriteReq(write) => write_source(self.function(who), &write)?,
        }
        Ok(())
    }

    fn listen(
        &mut self,
        who: FunctionId,
        stid: u32,
        local: SocketAddr,
        opt1: Opt1,
        now: Duration,
    ) -> Result<(), Wrong> {
        let function = self.function(who);
        let iq = opt1.get(Opt1::SYN_RSS_QUEUE) as u16;
        if !function.ingress.contains_key(&iq) {
            return Err(Fault::NoQueue { queue: iq.into() }.into());
        }
        let base = function.share.servers_base;
        let is_theirs = (base..base + function.share.servers).contains(&stid);
        let is_taken = function.listeners.iter().any(|(&id, listener)| id == stid || listener.local == local);
        let status = match (is_theirs, is_taken) {
            (false, _) => CplStatus::TcamFull,
            (true, true) => CplStatus::ConnExist,
            (true, false) => {
                function.listeners.insert(stid, Listener { local, iq });
                CplStatus::None
            }
        };
        let reply = PassOpenRpl {
            opcode_tid: ReplyOpcode::PassOpenRpl.of(stid),
            status: status.to_wire(),
            ..PassOpenRpl::default()
        };
        function.send(iq, alone(&reply), false, now);
        Ok(())
    }

    fn change(&mut self, who: FunctionId, tid: u32, change: &SetTcbField, now: Duration) -> Result<(), Wrong> {
        let word = change.word_cookie.get(WordCookie::WORD);
        let flow = self.flow_of(who, tid)?;
        let old = flow.set_tcb(word, change.mask.get(), change.value.get());
        self.make_ready(tid);
        if change.reply_control.is_set(ReplyControl::NO_REPLY) {
            return Ok(());
        }
        let reply = SetTcbRpl {
            opcode_tid: ReplyOpcode::SetTcbRpl.of(tid),
            cookie: change.word_cookie.get(WordCookie::COOKIE) as u8,
            old_value: old.into(),
            ..SetTcbRpl::default()
        };
        self.function(who).send(change.reply_control.get(ReplyControl::QUEUENO), alone(&reply), false, now);
        Ok(())
    }

    fn tell_tcb(&mut self, who: FunctionId, tid: u32, ask: &GetTcb, now: Duration) -> Result<(), Wrong> {
        let tcb = if tid >= FILTERS_BASE {
            self.filter_block(who, tid)?.as_bytes().to_vec()
        } else {
            self.flow_of(who, tid)?.tcb_bytes()
        };
        let reply = GetTcbRpl {
            opcode_tid: ReplyOpcode::GetTcbRpl.of(tid),
            cookie: ask.cookie.get() as u8,
            length: (tcb.len() as u16).into(),
            ..GetTcbRpl::default()
        };
        let iq = ask.reply_control.get(ReplyControl::QUEUENO);
        self.function(who).send(iq, [reply.as_bytes(), &tcb], true, now);
        Ok(())
    }

    /// A write to the adapter's memory: page pods.
    fn memory_write(&mut self, who: FunctionId, request: &[u8]) -> Result<(), Wrong> {
        let (write, data) = UlpMemoryWrite::split_from(request)?;
        let length = write.data_length.get(UlpMemoryLength::DATA) as usize * 32;
        let opcode = write.command.get(UlpMemoryCommand::COMMAND) as u8;
        if UlpCommand::from_wire(opcode) != Some(UlpCommand::MemoryWrite) {
            return Err(WireError::Opcode { what: "write to the adapter's memory", opcode }.into());
        }
        let data = data.get(..length).ok_or(WireError::Length {
            name: UlpMemoryWrite::NAME,
            field: "dlen",
            value: length,
            expected: "no more than follows",
        })?;
        let address = write.address.get(UlpMemoryAddress::ADDRESS) << 5;
        if !self.function(who).pods.write(address, data) {
            return Err(Fault::AdapterMemory { address }.into());
        }
        let tid = write.header.flow.get(WorkRequestFlow::FLOWID);
        if self.flow_of(who, tid).is_err() {
            return Ok(());
        }
        let credits = write.header.flow.get(WorkRequestFlow::LEN16);
        let done = FlowRequest::Done { credits, acknowledge: write.header.op.is_set(WorkRequestOp::COMPL) };
        self.queue_request(who, tid, done, credits)
    }

    fn flow_parameters(&mut self, who: FunctionId, request: &[u8]) -> Result<(), Wrong> {
        let (flow_c, _) = FlowC::split_from(request)?;
        let tid = flow_c.flow.get(WorkRequestFlow::FLOWID);
        let flow = self.flow_of(who, tid)?;
        let credits = flow_c.flow.get(WorkRequestFlow::LEN16);
        flow.check_credits(tid, credits)?;
        flow.flow_known = true;
        flow.credits_owed += credits;
        Ok(())
    }

    fn send_data(&mut self, who: FunctionId, request: &[u8]) -> Result<(), Wrong> {
        let (data, rest) = OffloadTxData::split_from(request)?;
        let tid = data.flow.get(WorkRequestFlow::FLOWID);
        if !self.flow_of(who, tid)?.flow_known {
            return Err(Fault::NoConnection { tid }.into());
        }
        let payload = payload(data.op.get(WorkRequestOp::IMMDLEN) as usize, rest)?;
        if payload.length() > PAYLOAD_BYTES_MAX {
            return Err(WireError::Length {
                name: OffloadTxData::NAME,
                field: "payload",
                value: payload.length(),
                expected: "at most 65536 bytes",
            }
            .into());
        }
        let credits = data.flow.get(WorkRequestFlow::LEN16);
        let acknowledge = data.op.is_set(WorkRequestOp::COMPL);
        let send = FlowRequest::Send { payload, flags: data.flags, credits, acknowledge };
        self.queue_request(who, tid, send, credits)
    }

    /// Puts a request behind those that wait, if the driver has credits for it.
    pub(super) fn queue_request(
        &mut self,
        who: FunctionId,
        tid: u32,
        request: FlowRequest,
        credits: u32,
    ) -> Result<(), Wrong> {
        let flow = self.flow_of(who, tid)?;
        flow.check_credits(tid, credits)?;
        flow.credits_held += credits;
        flow.requests.push_back(request);
        self.make_ready(tid);
        Ok(())
    }

    fn send_frame(
        &mut self,
        who: FunctionId,
        interface: crate::switch::InterfaceNumber,
        path: Path,
        op: WorkRequestOp,
        rest: &[u8],
        now: Duration,
    ) -> Result<(), Wrong> {
        let (core, rest) = TxPktCore::split_from(rest)?;
        let length = usize::from(core.length.get());
        let immediate = (op.get(WorkRequestOp::IMMDLEN) as usize).saturating_sub(size_of::<TxPktCore>());
        let payload = payload(immediate, rest)?;
        if payload.length() > PAYLOAD_BYTES_MAX {
            let value = payload.length();
            return Err(WireError::Length {
                name: TxPktCore::NAME,
                field: "payload",
                value,
                expected: "at most 65536 bytes",
            }
            .into());
        }
        let mut frame = vec![0; payload.length()];
        self.function(who).read_payload(&payload, &mut frame)?;
        frame.truncate(length);
        let path = if core.control0.is_set(TxPktControl0::LOOPBACK) { Path::Loopback } else { path };
        self.transmit(interface, path, Origin::Owner, frame, now)?;
        Ok(())
    }
}

/// The payload behind the header of a work request.
pub(super) fn payload(immediate: usize, rest: &[u8]) -> Result<Payload, WireError> {
    if immediate == 0 {
        return Ok(Payload::Pieces(UlpList::decode(rest)?));
    }
    let bytes = rest.get(..immediate).ok_or(WireError::Length {
        name: OffloadTxData::NAME,
        field: "immdlen",
        value: immediate,
        expected: "no more than follows",
    })?;
    Ok(Payload::Immediate(bytes.into()))
}

impl Function {
    /// Fetches what a request sends. Data that the driver has mapped, which is the second piece of a PDU, is not copied.
    pub(super) fn fetch_payload(&self, payload: &Payload, out: &mut Outgoing) -> Result<(), Fault> {
        if let Payload::Pieces(pieces) = payload
            && let [first, second, rest @ ..] = &pieces[..]
            && let Some(data) = self.memory.mapped(second.address, second.length as usize)
        {
            let (head, tail) = out.begin(data);
            self.read_pieces(std::slice::from_ref(first), head)?;
            return self.read_pieces(rest, tail);
        }
        self.read_payload(payload, out.begin_copy(payload.length()))
    }

    fn read_pieces(&self, pieces: &[Piece], out: &mut Vec<u8>) -> Result<(), Fault> {
        for piece in pieces {
            let at = out.len();
            out.resize(at + piece.length as usize, 0);
            self.memory.read(piece.address, &mut out[at..])?;
        }
        Ok(())
    }

    /// Reads the bytes of a request, as many as it has.
    pub(super) fn read_payload(&self, payload: &Payload, out: &mut [u8]) -> Result<(), Fault> {
        match payload {
            Payload::Immediate(bytes) => out.copy_from_slice(bytes),
            Payload::Pieces(pieces) => {
                let mut rest = out;
                for piece in pieces {
                    let (to, behind) = rest.split_at_mut(piece.length as usize);
                    self.memory.read(piece.address, to)?;
                    rest = behind;
                }
            }
            Payload::Cut(cut) => {
                let (header, data) = out.split_at_mut(HEADER_LENGTH);
                header.copy_from_slice(&cut.0.0);
                let (data, padding) = data.split_at_mut(cut.1.length());
                padding.fill(0);
                self.read_payload(&cut.1, data)?;
            }
        }
        Ok(())
    }
}

fn write_next_hop(function: &mut Function, write: &L2tWriteReq, now: Duration) -> Result<(), Wrong> {
    let index = usize::from(write.index.get());
    let vlan = write.vlan.get();
    let hop =
        NextHop { address: MacAddress(write.destination_mac), vlan_tag: (vlan & 0xfff != NO_VLAN).then_some(vlan) };
    let slot = function.next_hops.get_mut(index);
    let status = if slot.is_some() { CplStatus::None } else { CplStatus::TcamFull };
    if let Some(slot) = slot {
        *slot = Some(hop);
    }
    if !write.params.is_set(L2tParams::NOREPLY)
        && let Some(&iq) = function.ingress.keys().next()
    {
        let reply = L2tWriteRpl {
            opcode_tid: ReplyOpcode::L2tWriteRpl.of(write.opcode_tid.get(OpcodeTid::TID)),
            status: status.to_wire(),
            ..L2tWriteRpl::default()
        };
        function.send(iq, alone(&reply), false, now);
    }
    Ok(())
}

fn write_source(function: &mut Function, write: &SmtWriteReq) -> Result<(), Wrong> {
    let row = write.params.get(SmtParams::IDX) as u8;
    match crate::switch::InterfaceNumber::new(row).filter(|&number| function.interfaces.contains(number)) {
        Some(number) => {
            function.sources.insert(number, MacAddress(write.source_mac0));
            Ok(())
        }
        None => Err(Fault::NoInterface { row }.into()),
    }
}
