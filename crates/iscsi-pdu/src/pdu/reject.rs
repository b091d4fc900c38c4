//! Reject (RFC 7143 section 11.17): the target could not make sense of a PDU.

use super::FINAL;
use crate::enumeration::open_enumeration;
use crate::frame::{Frame, HEADER_LENGTH, Header, HeaderLayout};
use crate::{CmdSn, DecodeError, Opcode, StatSn, tag};
use bytes::Bytes;
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The bytes of a Reject (RFC 7143 section 11.17).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub struct RejectHeader {
    pub opcode: u8,
    pub flags: u8,
    pub reason: u8,
    pub reserved_3: u8,
    pub total_ahs_length: u8,
    pub data_segment_length: [u8; 3],
    pub reserved_8: [u8; 8],
    pub reserved_16: U32,
    pub reserved_20: [u8; 4],
    pub stat_sn: U32,
    pub exp_cmd_sn: U32,
    pub max_cmd_sn: U32,
    pub data_sn: U32,
    pub reserved_40: [u8; 8],
}
impl HeaderLayout for RejectHeader {}

open_enumeration! {
    // RFC 7143 11.17.1-1: 0x0b is not among them.
    /// Why a PDU was rejected (RFC 7143 section 11.17.1).
    RejectReason {
        DataDigestError = 0x02 "Data digest error",
        SnackReject = 0x03 "SNACK reject",
        ProtocolError = 0x04 "Protocol error",
        CommandNotSupported = 0x05 "Command not supported",
        TooManyImmediateCommands = 0x06 "Too many immediate commands",
        TaskInProgress = 0x07 "Task in progress",
        InvalidDataAck = 0x08 "Invalid data ack",
        InvalidPduField = 0x09 "Invalid PDU field",
        LongOperationReject = 0x0a "Cannot generate a Target Transfer Tag",
        WaitingForLogout = 0x0c "Waiting for logout",
    }
}

/// Says that a PDU was not accepted (RFC 7143 section 11.17).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub reason: RejectReason,
    /// StatSN.
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
    /// The next number that the target would send for the task, when a SNACK was rejected as a protocol error.
    pub data_sn: u32,
    /// The header of the PDU that was not accepted.
    pub rejected: Header,
}

impl Reject {
    pub(crate) const OPCODE: Opcode = Opcode::Reject;

    #[inline(always)]
    pub(crate) fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let fields: &RejectHeader = frame.header.view();
        let rejected = frame.data.first_chunk::<HEADER_LENGTH>().ok_or(Self::OPCODE.error(
            "DataSegmentLength",
            5,
            frame.data.len() as u64,
            "at least the 48 bytes of a header",
        ))?;
        Ok(Self {
            reason: RejectReason::from_wire(fields.reason),
            stat_sn: StatSn(fields.stat_sn.get()),
            exp_cmd_sn: CmdSn(fields.exp_cmd_sn.get()),
            max_cmd_sn: CmdSn(fields.max_cmd_sn.get()),
            data_sn: fields.data_sn.get(),
            rejected: Header(*rejected),
        })
    }

    #[inline]
    pub(crate) fn encode(self) -> Frame {
        let header = Header::from_layout(&RejectHeader {
            opcode: Self::OPCODE.to_wire(),
            flags: FINAL,
            reason: self.reason.to_wire(),
            reserved_16: tag::RESERVED.into(),
            stat_sn: self.stat_sn.0.into(),
            exp_cmd_sn: self.exp_cmd_sn.0.into(),
            max_cmd_sn: self.max_cmd_sn.0.into(),
            data_sn: self.data_sn.into(),
            ..RejectHeader::default()
        });
        Frame::new(header, Box::default(), Bytes::copy_from_slice(&self.rejected.0))
    }
}
