//! What is asked of the firmware.

use super::{FirmwareInitiator, InFlight, RESPONSE_BYTES, RequestId, TRANSFER_BYTES_MAX, What};
use crate::bus::Bus;
use crate::driver::DriverError;
use crate::wire::*;
use bytes::Bytes;
use std::net::{Ipv4Addr, SocketAddrV4};
use zerocopy::IntoBytes;

/// What a session proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthenticationWanted {
    /// Nothing.
    None,
    /// Who its node is, by CHAP.
    OneWay,
    /// The same, and the target too.
    Mutual,
}

/// A session that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRequest {
    /// The node that logs in.
    pub node: u16,
    /// To which target: 224 bytes at most.
    pub target_name: String,
    /// Where.
    pub peer: SocketAddrV4,
    /// Digests that protect headers.
    pub header_digest: FoiscsiDigest,
    /// Digests that protect data.
    pub data_digest: FoiscsiDigest,
    /// What is proven.
    pub authentication: AuthenticationWanted,
    /// InitialR2T.
    pub initial_r2t: bool,
    /// ImmediateData.
    pub immediate_data: bool,
    /// MaxBurstLength in bytes; 0 is the firmware's choice.
    pub burst_bytes_max: u32,
    /// FirstBurstLength in bytes; 0 is the firmware's choice.
    pub first_burst_bytes: u32,
    /// MaxOutstandingR2T.
    pub outstanding_r2t_max: u16,
}

impl SessionRequest {
    /// A session without digests or proof, for which unsolicited data is allowed.
    #[must_use]
    pub fn new(node: u16, target_name: impl Into<String>, peer: SocketAddrV4) -> Self {
        Self {
            node,
            target_name: target_name.into(),
            peer,
            header_digest: FoiscsiDigest::None,
            data_digest: FoiscsiDigest::None,
            authentication: AuthenticationWanted::None,
            initial_r2t: false,
            immediate_data: true,
            burst_bytes_max: 0,
            first_burst_bytes: 0,
            outstanding_r2t_max: 16,
        }
    }
}

/// A SCSI command, but for its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScsiRequest {
    /// The logical unit (SAM-5 clause 4.7).
    pub lun: [u8; 8],
    /// The CDB, padded with zeros.
    pub cdb: [u8; 16],
    /// Task attribute: 0 SIMPLE, 1 HEAD OF QUEUE, 2 ORDERED.
    pub attribute: u8,
    /// Seconds after which the firmware aborts it; 0 is never.
    pub timeout_seconds: u8,
}

/// The data of a command, as it is asked for.
enum Data {
    None,
    Read(u32),
    Write(Bytes),
}

impl<B: Bus> FirmwareInitiator<B> {
    /// Gives the firmware its address; told by [`InitiatorEvent::Done`](super::InitiatorEvent::Done).
    ///
    /// # Errors
    /// The queue is full, or the driver has failed.
    pub fn set_address(&mut self, address: Ipv4Addr, mask: Ipv4Addr) -> Result<RequestId, DriverError> {
        self.setting(|cookie| ChnetIfConf {
            op: WorkRequestOp::of(WorkRequestOpcode::ChnetIfConf, 0).with_bit(WorkRequestOp::COMPL, true),
            flow: WorkRequestFlow::of(0, size_of::<ChnetIfConf>()),
            cookie,
            operation: IfConfOperation::Ipv4Set.to_wire(),
            address: address.octets(),
            mask: mask.octets(),
            ..ChnetIfConf::default()
        })
    }

    /// Adds an initiator node; its number is told by [`InitiatorEvent::Done`](super::InitiatorEvent::Done).
    ///
    /// # Errors
    /// The name is longer than 224 bytes, the queue is full, or the driver has failed.
    pub fn add_node(&mut self, name: &str, alias: &str, isid: FoiscsiIsid) -> Result<RequestId, DriverError> {
        let ((name, name_length), (alias, alias_length)) = (fixed(name.as_bytes())?, fixed(alias.as_bytes())?);
        self.setting(|cookie| FoiscsiNode {
            op: WorkRequestOp::of(WorkRequestOpcode::FoiscsiNode, 0).with_bit(WorkRequestOp::COMPL, true),
            flow: WorkRequestFlow::of(0, size_of::<FoiscsiNode>()),
            cookie,
            operation: FoiscsiOperation::Add.to_wire(),
            name,
            name_length,
            alias,
            alias_length,
            isid,
            ..FoiscsiNode::default()
        })
    }

    /// Removes a node that has no session.
    ///
    /// # Errors
    /// The queue is full, or the driver has failed.
    pub fn remove_node(&mut self, node: u16) -> Result<RequestId, DriverError> {
        self.setting(|cookie| FoiscsiNode {
            op: WorkRequestOp::of(WorkRequestOpcode::FoiscsiNode, 0).with_bit(WorkRequestOp::COMPL, true),
            flow: WorkRequestFlow::of(0, size_of::<FoiscsiNode>()),
            cookie,
            operation: FoiscsiOperation::Delete.to_wire(),
            node: node.into(),
            ..FoiscsiNode::default()
        })
    }

    /// Gives a node the name and secret that it proves itself with, or that its targets have to.
    ///
    /// # Errors
    /// The name is longer than 224 bytes or the secret than 128, the queue is full, or the driver has failed.
    pub fn set_chap(
        &mut self,
        node: u16,
        of_targets: bool,
        name: &str,
        secret: &[u8],
    ) -> Result<RequestId, DriverError> {
        let ((name, name_length), (secret, secret_length)) = (fixed(name.as_bytes())?, fixed(secret)?);
        self.setting(|cookie| FoiscsiChap {
            op: WorkRequestOp::of(WorkRequestOpcode::FoiscsiChap, 0).with_bit(WorkRequestOp::COMPL, true),
            flow: WorkRequestFlow::of(0, size_of::<FoiscsiChap>()),
            cookie,
            node_kind: of_targets.into(),
            node: node.into(),
            name,
            name_length,
            secret,
            secret_length,
            ..FoiscsiChap::default()
        })
    }

    fn setting<W: Layout>(
        &mut self,
        request: impl FnOnce(zerocopy::big_endian::U64) -> W,
    ) -> Result<RequestId, DriverError> {
        self.check_room(size_of::<W>())?;
        let id = self.begin(What::Setting);
        self.push(&[request(id.0.into()).as_bytes()]);
        Ok(id)
    }

    /// Logs in; told by [`InitiatorEvent::Online`](super::InitiatorEvent::Online) or [`InitiatorEvent::Ended`](super::InitiatorEvent::Ended). The
    /// name of the request is that of the session from then on.
    ///
    /// # Errors
    /// The target's name is longer than 224 bytes, the queue is full, or the driver has failed.
    pub fn log_in(&mut self, wanted: &SessionRequest) -> Result<RequestId, DriverError> {
        let (target_name, target_name_length) = fixed(wanted.target_name.as_bytes())?;
        self.check_room(size_of::<FoiscsiControl>())?;
        let id = self.begin(What::Session { flow: None, number: None, device: None });
        let mut peer = [0; 16];
        peer[..4].copy_from_slice(&wanted.peer.ip().octets());
        let auth =
            if wanted.authentication == AuthenticationWanted::None { FoiscsiAuth::None } else { FoiscsiAuth::Chap };
        let request = FoiscsiControl {
            op: WorkRequestOp::of(WorkRequestOpcode::FoiscsiControl, 0).with_bit(WorkRequestOp::COMPL, true),
            flow: WorkRequestFlow::of(0, size_of::<FoiscsiControl>()),
            cookie: id.0.into(),
            operation: FoiscsiOperation::Add.to_wire(),
            node: u32::from(wanted.node).into(),
            session_flags: FoiscsiSessionFlags::new()
                .with(FoiscsiSessionFlags::SESS_TYPE, 1)
                .with_bit(FoiscsiSessionFlags::SEQ_INORDER, true)
                .with_bit(FoiscsiSessionFlags::PDU_INORDER, true)
                .with_bit(FoiscsiSessionFlags::IMMD_DATA, wanted.immediate_data)
                .with_bit(FoiscsiSessionFlags::INIT_R2T, wanted.initial_r2t),
            connections_max: 1.into(),
            outstanding_r2t_max: wanted.outstanding_r2t_max.into(),
            burst_bytes_max: wanted.burst_bytes_max.into(),
            first_burst_bytes: wanted.first_burst_bytes.into(),
            connection_flags: FoiscsiConnectionFlags::new()
                .with(FoiscsiConnectionFlags::HDIGEST, wanted.header_digest.to_wire().into())
                .with(FoiscsiConnectionFlags::DDIGEST, wanted.data_digest.to_wire().into())
                .with(FoiscsiConnectionFlags::AUTH_METHOD, auth.to_wire().into())
                .with(
                    FoiscsiConnectionFlags::AUTH_POLICY,
                    u32::from(wanted.authentication == AuthenticationWanted::Mutual),
                ),
            peer_port: wanted.peer.port().into(),
            peer,
            target_name_length,
            target_name,
            ..FoiscsiControl::default()
        };
        self.push(&[request.as_bytes()]);
        Ok(id)
    }

    /// Ends a session; told by [`InitiatorEvent::Ended`](super::InitiatorEvent::Ended), after the ends of its commands.
    ///
    /// # Errors
    /// The session is not online, the queue is full, or the driver has failed.
    pub fn log_out(&mut self, session: RequestId) -> Result<(), DriverError> {
        self.check_room(size_of::<FoiscsiControl>())?;
        let Some(&mut What::Session { number: Some(number), .. }) = self.find(session) else {
            return Err(DriverError::Exhausted("session of that name"));
        };
        let id = self.begin(What::LogOut(session));
        let request = FoiscsiControl {
            op: WorkRequestOp::of(WorkRequestOpcode::FoiscsiControl, 0).with_bit(WorkRequestOp::COMPL, true),
            flow: WorkRequestFlow::of(0, size_of::<FoiscsiControl>()),
            cookie: id.0.into(),
            operation: FoiscsiOperation::Delete.to_wire(),
            session: number.into(),
            ..FoiscsiControl::default()
        };
        self.push(&[request.as_bytes()]);
        Ok(())
    }

    /// A SCSI command without data; told by [`InitiatorEvent::Completed`](super::InitiatorEvent::Completed).
    ///
    /// # Errors
    /// The session is not online, there is no room or memory, or the driver has failed.
    pub fn command(&mut self, session: RequestId, command: &ScsiRequest) -> Result<RequestId, DriverError> {
        self.submit(session, command, Data::None)
    }

    /// A SCSI command that reads up to so many bytes.
    ///
    /// # Errors
    /// The same as [`command`](Self::command), or more bytes than [`TRANSFER_BYTES_MAX`].
    pub fn read(&mut self, session: RequestId, command: &ScsiRequest, bytes: u32) -> Result<RequestId, DriverError> {
        self.submit(session, command, Data::Read(bytes))
    }

    /// A SCSI command that writes those bytes, from where they are if the adapter reaches them.
    ///
    /// # Errors
    /// The same as [`command`](Self::command), or more bytes than [`TRANSFER_BYTES_MAX`].
    pub fn write(&mut self, session: RequestId, command: &ScsiRequest, data: Bytes) -> Result<RequestId, DriverError> {
        self.submit(session, command, Data::Write(data))
    }

    fn submit(&mut self, session: RequestId, command: &ScsiRequest, data: Data) -> Result<RequestId, DriverError> {
        let mut list = [0; UlpList::bytes(1)];
        let bytes = size_of::<ScsiTransfer>() + size_of::<FcpCommand>();
        self.check_room(bytes + list.len())?;
        let Some(&mut What::Session { flow: Some(flow), .. }) = self.find(session) else {
            return Err(DriverError::Exhausted("session of that name"));
        };
        let (opcode, length) = match &data {
            Data::None => (WorkRequestOpcode::ScsiCommand, 0),
            Data::Read(bytes) => (WorkRequestOpcode::ScsiRead, *bytes),
            Data::Write(data) => (WorkRequestOpcode::ScsiWrite, data.len().min(u32::MAX as usize) as u32),
        };
        if length > TRANSFER_BYTES_MAX {
            return Err(DriverError::Exhausted("place for more than 1 MiB of one command"));
        }
        let (in_flight, address) = self.memory_for(data, length)?;
        let list_bytes = if length > 0 { UlpList::write(&[Piece { address, length }], &mut list) } else { 0 };
        let header = ScsiTransfer {
            op: WorkRequestOp::of(opcode, size_of::<FcpCommand>() as u32),
            flow: WorkRequestFlow::of(flow, bytes + list_bytes),
            iq: self.adapter.rss_queues[0].into(),
            timeout: command.timeout_seconds,
            use_transfer_count: u8::from(length > 0),
            transfer_count: length.into(),
            response_address: in_flight.response.address().into(),
            response_length: (RESPONSE_BYTES as u32).into(),
            ..ScsiTransfer::default()
        };
        let unit = FcpCommand {
            lun: command.lun,
            attribute: command.attribute,
            directions: FcpDirections::new()
                .with_bit(FcpDirections::READ, opcode == WorkRequestOpcode::ScsiRead)
                .with_bit(FcpDirections::WRITE, opcode == WorkRequestOpcode::ScsiWrite),
            cdb: command.cdb,
            length: length.into(),
            ..FcpCommand::default()
        };
        let id = self.begin(What::Command(in_flight));
        self.push(&[ScsiTransfer { cookie: id.0.into(), ..header }.as_bytes(), unit.as_bytes(), &list[..list_bytes]]);
        Ok(id)
    }

    /// Memory for a command, and where its data is.
    fn memory_for(&mut self, data: Data, length: u32) -> Result<(InFlight, u64), DriverError> {
        let full = DriverError::Exhausted("memory for a command");
        let response = self.send_heap.allocate(RESPONSE_BYTES).ok_or(full.clone())?;
        let (read_bytes, block, payload, address) = match data {
            _ if length == 0 => (0, None, None, Some(0)),
            Data::None => (0, None, None, Some(0)),
            Data::Read(bytes) => {
                let block = self.allocate_place(bytes as usize);
                let address = block.as_ref().map(|block| block.address());
                (bytes, block, None, address)
            }
            Data::Write(data) => match self.bus.memory().map(&data) {
                Some(mapping) => {
                    let address = mapping.address();
                    (0, None, Some(mapping), Some(address))
                }
                None => {
                    let block = self.allocate_place(data.len());
                    let address = block.as_ref().map(|block| block.address());
                    if let Some(address) = address {
                        self.bus.memory().write(address, &data).expect("a block is in the memory, and nobody has it");
                    }
                    (0, block, None, address)
                }
            },
        };
        match address {
            Some(address) => Ok((InFlight { read_bytes, data: block, _payload: payload, response }, address)),
            None => {
                self.send_heap.free(response);
                Err(full)
            }
        }
    }

    /// Aborts a command; told by [`InitiatorEvent::Aborted`](super::InitiatorEvent::Aborted), after the end of the command.
    ///
    /// # Errors
    /// The session is not online, the queue is full, or the driver has failed.
    pub fn abort(&mut self, session: RequestId, command: RequestId) -> Result<(), DriverError> {
        self.check_room(size_of::<ScsiAbort>())?;
        let Some(&mut What::Session { flow: Some(flow), .. }) = self.find(session) else {
            return Err(DriverError::Exhausted("session of that name"));
        };
        let id = self.begin(What::Abort(command));
        let request = ScsiAbort {
            op: WorkRequestOp::of(WorkRequestOpcode::ScsiAbort, 0),
            flow: WorkRequestFlow::of(flow, size_of::<ScsiAbort>()),
            cookie: id.0.into(),
            iq: self.adapter.rss_queues[0].into(),
            flags: ScsiAbortFlags::new().with(ScsiAbortFlags::SUB_OPCODE, 1),
            task_cookie: command.0.into(),
            ..ScsiAbort::default()
        };
        self.push(&[request.as_bytes()]);
        Ok(())
    }
}

/// Bytes in a field of fixed length, and how many they are.
fn fixed<const N: usize>(bytes: &[u8]) -> Result<([u8; N], u8), DriverError> {
    let mut field = [0; N];
    let length = u8::try_from(bytes.len()).ok().filter(|&length| usize::from(length) <= N);
    let length = length.ok_or(DriverError::Exhausted("place for so long a name or secret"))?;
    field[..bytes.len()].copy_from_slice(bytes);
    Ok((field, length))
}
