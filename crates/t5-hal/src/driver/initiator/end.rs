//! What the firmware says, and what it means for whoever has asked.

use super::{FirmwareInitiator, InFlight, RESPONSE_BYTES, RequestId, What};
use crate::bus::Bus;
use crate::driver::DriverError;
use crate::driver::incoming::Turn;
use crate::wire::*;
use bytes::{Bytes, BytesMut};
use zerocopy::FromBytes;

/// How a SCSI command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// `Success` with status GOOD and all data moved; `ScsiResponseError` where the rest says more; else it has failed, and the rest
    /// says nothing.
    pub code: ReturnCode,
    /// SCSI status.
    pub status: u8,
    /// Bytes of the expected ones that were not moved.
    pub underflow_bytes: u32,
    /// Sense data.
    pub sense: Bytes,
    /// What was read.
    pub data: Bytes,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitiatorEvent {
    /// An address, a node or a secret was taken or refused. A node has that number.
    Done {
        /// Which request.
        request: RequestId,
        /// The node's number, or why not.
        result: Result<u16, ReturnCode>,
    },
    /// A session stands.
    Online {
        /// Which.
        session: RequestId,
        /// What the firmware tells of its device.
        device: Box<RemoteDevice>,
    },
    /// A session has ended, or has never stood. The ends of its commands came before.
    Ended {
        /// Which.
        session: RequestId,
        /// What it has come to: `Free` after a logout.
        state: FoiscsiState,
        /// Why.
        code: ReturnCode,
    },
    /// A SCSI command has ended.
    Completed {
        /// Which.
        command: RequestId,
        /// How.
        completion: Completion,
    },
    /// An abort has ended.
    Aborted {
        /// The command that was meant.
        command: RequestId,
        /// `NoEntry`: it had ended before.
        result: Result<(), ReturnCode>,
    },
}

impl<B: Bus> FirmwareInitiator<B> {
    /// Handles what the adapter has to say.
    pub fn poll(&mut self) {
        self.bus.poll();
        let mut turn = Turn::of(u16::MAX);
        while self.failure.is_none()
            && let Some(arrival) = self.queues.next_arrival(&self.bus, &mut turn)
        {
            match arrival {
                Ok((entry, None)) => self.handle_message(&entry.message, &[]),
                Ok((_, Some((address, length)))) => {
                    const LONGEST: usize = size_of::<Fw6Msg>() + size_of::<RemoteDevice>();
                    let mut bytes = [0; LONGEST];
                    let length = length.min(LONGEST);
                    self.bus.memory().read(address, &mut bytes[..length]).expect("a buffer is in the memory");
                    let (message, rest) = bytes[..length].split_at(length.min(size_of::<Fw6Msg>()));
                    self.handle_message(message, rest);
                }
                Err(error) => self.fail_all(error),
            }
        }
    }

    fn handle_message(&mut self, message: &[u8], rest: &[u8]) {
        match Reply::decode(message) {
            Ok((Reply::Fw6Msg(message), _)) if message.kind == FirmwareMessage::WorkRequestReply.to_wire() => {
                let reply: WorkRequestReply = zerocopy::transmute!(message.data);
                let opcode = WorkRequestOpcode::from_wire(reply.op.get(WorkRequestOp::OPCODE) as u8);
                if opcode == Some(WorkRequestOpcode::RemoteDevice) {
                    self.handle_device(&message.data, rest);
                } else {
                    self.handle_reply(&reply);
                }
            }
            Ok((Reply::SgeEgrUpdate(update), _)) => {
                let queue = update.opcode_qid.get(OpcodeTid::TID);
                let ours = queue == self.queues.data.id();
                if ours && !self.queues.data.handle_update(update.consumer.get()) {
                    let text = format!("the adapter has read up to {}, where nothing is", update.consumer);
                    self.fail_all(DriverError::Queue { queue, text });
                }
            }
            // Nothing else is about the initiator.
            _ => {}
        }
    }

    /// The device of a session: how SCSI commands name it.
    fn handle_device(&mut self, front: &[u8], rest: &[u8]) {
        let Ok(device) = RemoteDevice::read_from_bytes(&[front, rest].concat()) else { return };
        // A work request names a flow by 20 bits.
        let named = Some(device.device_flow.get()).filter(|flow| *flow < 1 << 20);
        if let Some(What::Session { flow, device: place, .. }) = self.find(RequestId(device.cookie.get())) {
            (*flow, *place) = (named, Some(Box::new(device)));
        }
    }

    fn handle_reply(&mut self, reply: &WorkRequestReply) {
        let (id, code) = (RequestId(reply.cookie.get()), reply.code().unwrap_or(ReturnCode::Protocol));
        let result = if code == ReturnCode::Success { Ok(()) } else { Err(code) };
        if let Some(What::Session { .. }) = self.find(id) {
            return self.handle_session(id, code, reply);
        }
        // What is not known has ended already.
        match self.take(id) {
            None | Some(What::Session { .. }) => {}
            Some(What::Setting) => {
                let node = u16::from_be_bytes([reply.rest[8], reply.rest[9]]);
                self.events.push_back(InitiatorEvent::Done { request: id, result: result.map(|()| node) });
            }
            Some(What::LogOut(session)) => {
                // One that was refused is no end; the session may have ended by itself before.
                if code == ReturnCode::Success && self.take(session).is_some() {
                    self.events.push_back(InitiatorEvent::Ended { session, state: FoiscsiState::Free, code });
                }
            }
            Some(What::Abort(command)) => self.events.push_back(InitiatorEvent::Aborted { command, result }),
            Some(What::Command(in_flight)) => {
                let completion = self.complete(in_flight, code);
                self.events.push_back(InitiatorEvent::Completed { command: id, completion });
            }
        }
    }

    /// A session has come to another state.
    fn handle_session(&mut self, id: RequestId, code: ReturnCode, reply: &WorkRequestReply) {
        let state = FoiscsiState::from_wire(reply.rest[2]).unwrap_or(FoiscsiState::Failed);
        let told = u32::from_be_bytes(*reply.rest[8..].first_chunk().expect("four bytes of eight"));
        let Some(What::Session { flow, number, device }) = self.find(id) else { return };
        if state == FoiscsiState::Online && code == ReturnCode::Success && flow.is_some() {
            *number = Some(told);
            if let Some(device) = device.take() {
                self.events.push_back(InitiatorEvent::Online { session: id, device });
            }
            return;
        }
        self.take(id);
        let state = if state == FoiscsiState::Online { FoiscsiState::Failed } else { state };
        let code = if code == ReturnCode::Success { ReturnCode::Protocol } else { code };
        self.events.push_back(InitiatorEvent::Ended { session: id, state, code });
    }

    /// Takes back the memory of a command, and says how it ended.
    fn complete(&mut self, in_flight: InFlight, code: ReturnCode) -> Completion {
        let InFlight { read_bytes, data, response, .. } = in_flight;
        let mut completion =
            Completion { code, status: 0, underflow_bytes: 0, sense: Bytes::new(), data: Bytes::new() };
        if code == ReturnCode::ScsiResponseError {
            let mut bytes = [0; RESPONSE_BYTES];
            self.bus.memory().read(response.address(), &mut bytes).expect("a block is in the memory");
            let (unit, rest) = FcpResponse::read_from_prefix(&bytes).expect("a response is shorter than its block");
            completion.status = unit.status;
            if unit.flags.is_set(FcpResponseFlags::UNDERRUN) {
                completion.underflow_bytes = unit.residual.get();
            }
            if unit.flags.is_set(FcpResponseFlags::SENSE_VALID) {
                let length = (unit.sense_length.get() as usize).min(rest.len());
                completion.sense = Bytes::copy_from_slice(&rest[..length]);
            }
        }
        self.send_heap.free(response);
        let Some(block) = data else { return completion };
        let moved = match code {
            ReturnCode::Success | ReturnCode::ScsiResponseError => {
                read_bytes.saturating_sub(completion.underflow_bytes) as usize
            }
            _ => 0,
        };
        if moved == 0 {
            // Of a write that was cut short the adapter may be reading it.
            self.lent.push_back(block);
            return completion;
        }
        let memory = self.bus.memory();
        if let Some(lent) = memory.freeze(block.address(), moved) {
            completion.data = lent;
            self.lent.push_back(block);
        } else {
            let mut copy = BytesMut::zeroed(moved);
            memory.read(block.address(), &mut copy).expect("a block is in the memory");
            completion.data = copy.freeze();
            self.place_heap.free(block);
        }
        completion
    }

    /// Ends everything: the adapter cannot be trusted any more. Memory that it may still write is not used again.
    fn fail_all(&mut self, error: DriverError) {
        self.failure.get_or_insert(error);
        let code = ReturnCode::NoDevice;
        let mut pending: Vec<_> = std::mem::take(&mut self.pending).into_iter().collect();
        // Sessions end after their commands.
        pending.sort_by_key(|(_, pending)| matches!(pending.what, What::Session { .. }));
        for (index, pending) in pending {
            let id = RequestId(u64::from(pending.generation) << 32 | index as u64);
            self.events.extend(match pending.what {
                What::Setting => Some(InitiatorEvent::Done { request: id, result: Err(code) }),
                What::Session { .. } => Some(InitiatorEvent::Ended { session: id, state: FoiscsiState::Failed, code }),
                What::LogOut(_) => None,
                What::Abort(command) => Some(InitiatorEvent::Aborted { command, result: Err(code) }),
                What::Command(_) => {
                    let (sense, data) = (Bytes::new(), Bytes::new());
                    let completion = Completion { code, status: 0, underflow_bytes: 0, sense, data };
                    Some(InitiatorEvent::Completed { command: id, completion })
                }
            });
        }
    }
}
