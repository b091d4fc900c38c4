//! Asynchronous Message (RFC 7143 section 11.9): the target speaks without being asked.

use super::FINAL;
use crate::enumeration::open_enumeration;
use crate::frame::{Frame, Header, HeaderLayout};
use crate::{CmdSn, DecodeError, LunField, Opcode, StatSn, tag};
use bytes::Bytes;
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The bytes of an Asynchronous Message (RFC 7143 section 11.9).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub struct AsyncMessageHeader {
    pub opcode: u8,
    pub flags: u8,
    pub reserved_2: [u8; 2],
    pub total_ahs_length: u8,
    pub data_segment_length: [u8; 3],
    pub lun: [u8; 8],
    pub reserved_16: U32,
    pub reserved_20: [u8; 4],
    pub stat_sn: U32,
    pub exp_cmd_sn: U32,
    pub max_cmd_sn: U32,
    pub async_event: u8,
    pub async_vcode: u8,
    pub parameter_1: U16,
    pub parameter_2: U16,
    pub parameter_3: U16,
    pub reserved_44: [u8; 4],
}
impl HeaderLayout for AsyncMessageHeader {}

open_enumeration! {
    /// What has happened (RFC 7143 section 11.9.1).
    AsyncEvent {
        ScsiEvent = 0 "SCSI asynchronous event",
        LogoutRequest = 1 "Logout request",
        ConnectionDrop = 2 "Connection drop notification",
        SessionDrop = 3 "Session drop notification",
        NegotiationRequest = 4 "Negotiation request",
        TaskTermination = 5 "Task termination",
    }
}

/// The target says that something has happened (RFC 7143 section 11.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsyncMessage {
    /// What has happened.
    pub event: AsyncEvent,
    /// AsyncVCode: a vendor's own detail of a vendor's own event.
    pub vendor_code: u8,
    /// The logical unit that a SCSI event or a task termination is about.
    pub lun: LunField,
    /// StatSN.
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
    /// Of a connection drop: the CID.
    pub parameter_1: u16,
    /// Of a drop: Time2Wait in seconds.
    pub parameter_2: u16,
    /// Of a drop: Time2Retain in seconds. Of a request: how many seconds the initiator has.
    pub parameter_3: u16,
    /// Sense data behind its length of two bytes, then event data.
    pub data: Bytes,
}

impl AsyncMessage {
    pub(crate) const OPCODE: Opcode = Opcode::AsyncMessage;

    #[inline(always)]
    pub(crate) fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let fields: &AsyncMessageHeader = frame.header.view();
        Ok(Self {
            event: AsyncEvent::from_wire(fields.async_event),
            vendor_code: fields.async_vcode,
            lun: LunField(fields.lun),
            stat_sn: StatSn(fields.stat_sn.get()),
            exp_cmd_sn: CmdSn(fields.exp_cmd_sn.get()),
            max_cmd_sn: CmdSn(fields.max_cmd_sn.get()),
            parameter_1: fields.parameter_1.get(),
            parameter_2: fields.parameter_2.get(),
            parameter_3: fields.parameter_3.get(),
            data: frame.data,
        })
    }

    #[inline]
    pub(crate) fn encode(self) -> Frame {
        let header = Header::from_layout(&AsyncMessageHeader {
            opcode: Self::OPCODE.to_wire(),
            flags: FINAL,
            lun: self.lun.0,
            reserved_16: tag::RESERVED.into(),
            stat_sn: self.stat_sn.0.into(),
            exp_cmd_sn: self.exp_cmd_sn.0.into(),
            max_cmd_sn: self.max_cmd_sn.0.into(),
            async_event: self.event.to_wire(),
            async_vcode: self.vendor_code,
            parameter_1: self.parameter_1.into(),
            parameter_2: self.parameter_2.into(),
            parameter_3: self.parameter_3.into(),
            ..AsyncMessageHeader::default()
        });
        Frame::new(header, Box::default(), self.data)
    }
}
