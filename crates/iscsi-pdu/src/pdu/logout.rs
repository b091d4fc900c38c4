//! Logout Request and Logout Response (RFC 7143 sections 11.14 and 11.15).

use super::{FINAL, IMMEDIATE};
use crate::enumeration::open_enumeration;
use crate::frame::{Frame, Header, HeaderLayout};
use crate::{CmdSn, DecodeError, InitiatorTaskTag, Opcode, StatSn};
use bytes::Bytes;
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Connection ID (RFC 7143 section 11.12.7): the initiator's name for a connection within a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cid(pub u16);

/// The bytes of a Logout Request (RFC 7143 section 11.14).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub struct LogoutRequestHeader {
    pub opcode: u8,
    pub reason: u8,
    pub reserved_2: [u8; 2],
    pub total_ahs_length: u8,
    pub data_segment_length: [u8; 3],
    pub reserved_8: [u8; 8],
    pub initiator_task_tag: U32,
    pub cid: U16,
    pub reserved_22: [u8; 2],
    pub cmd_sn: U32,
    pub exp_stat_sn: U32,
    pub reserved_32: [u8; 16],
}
impl HeaderLayout for LogoutRequestHeader {}

/// What is to end (RFC 7143 section 11.14.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LogoutReason {
    /// Value 0: the session and all its connections.
    #[default]
    CloseSession,
    /// Value 1: the connection that the CID names.
    CloseConnection,
    /// Value 2: the connection that the CID names; its tasks will be reassigned.
    RemoveForRecovery,
}

impl LogoutReason {
    const ALL: [Self; 3] = [Self::CloseSession, Self::CloseConnection, Self::RemoveForRecovery];
}

/// Asks for a connection or a session to end (RFC 7143 section 11.14).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogoutRequest {
    /// Delivered at once, outside the command order.
    pub immediate: bool,
    /// What is to end.
    pub reason: LogoutReason,
    /// Names this request.
    pub initiator_task_tag: InitiatorTaskTag,
    /// The connection, unless the session is to end.
    pub cid: Cid,
    /// CmdSN.
    pub cmd_sn: CmdSn,
    /// ExpStatSN.
    pub exp_stat_sn: StatSn,
}

impl LogoutRequest {
    pub(crate) const OPCODE: Opcode = Opcode::LogoutRequest;

    #[inline(always)]
    pub(crate) fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let fields: &LogoutRequestHeader = frame.header.view();
        let reason = fields.reason & 0x7f;
        let reason = LogoutReason::ALL.get(usize::from(reason)).ok_or(Self::OPCODE.error(
            "Reason Code",
            1,
            reason.into(),
            "0 to 2",
        ))?;
        Ok(Self {
            immediate: fields.opcode & IMMEDIATE != 0,
            reason: *reason,
            initiator_task_tag: Self::OPCODE.task_tag(fields.initiator_task_tag)?,
            cid: Cid(fields.cid.get()),
            cmd_sn: CmdSn(fields.cmd_sn.get()),
            exp_stat_sn: StatSn(fields.exp_stat_sn.get()),
        })
    }

    #[inline]
    pub(crate) fn encode(self) -> Frame {
        let header = Header::from_layout(&LogoutRequestHeader {
            opcode: Self::OPCODE.to_wire() | if self.immediate { IMMEDIATE } else { 0 },
            reason: FINAL | self.reason as u8,
            initiator_task_tag: self.initiator_task_tag.0.into(),
            cid: self.cid.0.into(),
            cmd_sn: self.cmd_sn.0.into(),
            exp_stat_sn: self.exp_stat_sn.0.into(),
            ..LogoutRequestHeader::default()
        });
        // RFC 7143 11.14.2-1: nothing but the header.
        Frame::new(header, Box::default(), Bytes::new())
    }
}

/// The bytes of a Logout Response (RFC 7143 section 11.15).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub struct LogoutResponseHeader {
    pub opcode: u8,
    pub flags: u8,
    pub response: u8,
    pub reserved_3: u8,
    pub total_ahs_length: u8,
    pub data_segment_length: [u8; 3],
    pub reserved_8: [u8; 8],
    pub initiator_task_tag: U32,
    pub reserved_20: [u8; 4],
    pub stat_sn: U32,
    pub exp_cmd_sn: U32,
    pub max_cmd_sn: U32,
    pub reserved_36: [u8; 4],
    pub time_2_wait: U16,
    pub time_2_retain: U16,
    pub reserved_44: [u8; 4],
}
impl HeaderLayout for LogoutResponseHeader {}

open_enumeration! {
    /// How a logout went (RFC 7143 section 11.15.1).
    LogoutResponseCode {
        Closed = 0 "Connection or session closed successfully",
        CidNotFound = 1 "CID not found",
        RecoveryNotSupported = 2 "Connection recovery is not supported",
        CleanupFailed = 3 "Cleanup failed",
    }
}

/// The end of a connection or a session (RFC 7143 section 11.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutResponse {
    /// How it went.
    pub response: LogoutResponseCode,
    /// The request.
    pub initiator_task_tag: InitiatorTaskTag,
    /// StatSN.
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
    /// Time2Wait: seconds to wait before reassigning tasks.
    pub time_2_wait: u16,
    /// Time2Retain: seconds after that for which tasks are kept.
    pub time_2_retain: u16,
}

impl LogoutResponse {
    pub(crate) const OPCODE: Opcode = Opcode::LogoutResponse;

    #[inline(always)]
    pub(crate) fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let fields: &LogoutResponseHeader = frame.header.view();
        Ok(Self {
            response: LogoutResponseCode::from_wire(fields.response),
            initiator_task_tag: Self::OPCODE.task_tag(fields.initiator_task_tag)?,
            stat_sn: StatSn(fields.stat_sn.get()),
            exp_cmd_sn: CmdSn(fields.exp_cmd_sn.get()),
            max_cmd_sn: CmdSn(fields.max_cmd_sn.get()),
            time_2_wait: fields.time_2_wait.get(),
            time_2_retain: fields.time_2_retain.get(),
        })
    }

    #[inline]
    pub(crate) fn encode(self) -> Frame {
        let header = Header::from_layout(&LogoutResponseHeader {
            opcode: Self::OPCODE.to_wire(),
            flags: FINAL,
            response: self.response.to_wire(),
            initiator_task_tag: self.initiator_task_tag.0.into(),
            stat_sn: self.stat_sn.0.into(),
            exp_cmd_sn: self.exp_cmd_sn.0.into(),
            max_cmd_sn: self.max_cmd_sn.0.into(),
            time_2_wait: self.time_2_wait.into(),
            time_2_retain: self.time_2_retain.into(),
            ..LogoutResponseHeader::default()
        });
        // RFC 7143 11.15.2-1: nothing but the header.
        Frame::new(header, Box::default(), Bytes::new())
    }
}
