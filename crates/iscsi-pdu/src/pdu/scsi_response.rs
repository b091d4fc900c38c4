//! SCSI Response (RFC 7143 section 11.4).

use crate::enumeration::open_enumeration;
use crate::frame::{Frame, Header, HeaderLayout};
use crate::{CmdSn, DecodeError, InitiatorTaskTag, Opcode, StatSn};
use bitflags::bitflags;
use bytes::Bytes;
use zerocopy::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The bytes of a SCSI Response (RFC 7143 section 11.4).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub struct ScsiResponseHeader {
    pub opcode: u8,
    pub flags: u8,
    pub response: u8,
    pub status: u8,
    pub total_ahs_length: u8,
    pub data_segment_length: [u8; 3],
    pub status_qualifier: U16,
    pub reserved_10: [u8; 6],
    pub initiator_task_tag: U32,
    pub snack_tag: U32,
    pub stat_sn: U32,
    pub exp_cmd_sn: U32,
    pub max_cmd_sn: U32,
    pub exp_data_sn: U32,
    pub bidirectional_read_residual_count: U32,
    pub residual_count: U32,
}
impl HeaderLayout for ScsiResponseHeader {}

bitflags! {
    struct Flags: u8 {
        const FINAL = 0x80;
        const BIDIRECTIONAL_OVERFLOW = 0x10;
        const BIDIRECTIONAL_UNDERFLOW = 0x08;
        const OVERFLOW = 0x04;
        const UNDERFLOW = 0x02;
    }
}

open_enumeration! {
    /// Whether the target could execute the command (RFC 7143 section 11.4.3).
    ScsiResponseCode {
        CompletedAtTarget = 0x00 "Command completed at target",
        TargetFailure = 0x01 "Target failure",
    }
}

/// The values between these and those of vendors (RFC 7143 section 11.4.3).
const RESERVED_RESPONSES: core::ops::RangeInclusive<u8> = 0x02..=0x7f;

/// Difference between the expected data transfer length and what the command asked for (RFC 7143 section 11.4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Residual {
    /// None: as expected.
    #[default]
    None,
    /// O: this many bytes were not moved because less was expected.
    Overflow(u32),
    /// U: this many of the bytes expected were not moved.
    Underflow(u32),
}

impl Residual {
    // RFC 7143 11.4.5.1-1, 11.4.5.1-2: the count means something beside one of the bits, and nothing without.
    /// From the two flag bits, most significant first, and the count. Both bits at once mean nothing.
    pub(crate) const fn from_wire(overflow: bool, underflow: bool, count: u32) -> Option<Self> {
        match (overflow, underflow) {
            (false, false) => Some(Self::None),
            (true, false) => Some(Self::Overflow(count)),
            (false, true) => Some(Self::Underflow(count)),
            (true, true) => None,
        }
    }

    pub(crate) const fn is_overflow(self) -> bool {
        matches!(self, Self::Overflow(_))
    }

    pub(crate) const fn is_underflow(self) -> bool {
        matches!(self, Self::Underflow(_))
    }

    // RFC 7143 11.4.5.1-1, 11.4.5.1-3: zero where there is no residual.
    pub(crate) const fn count(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Overflow(count) | Self::Underflow(count) => count,
        }
    }
}

/// The end of a task (RFC 7143 section 11.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScsiResponse {
    /// Whether the status means anything.
    pub response: ScsiResponseCode,
    /// SCSI status (SAM-5 clause 5.3.1); zero unless the command was completed at the target.
    pub status: u8,
    /// Status Qualifier (RFC 7144; SAM-5 clause 5.3.2); zero unless the command was completed at the target. Reserved unless
    /// iSCSIProtocolLevel is 2 at least.
    pub status_qualifier: u16,
    /// The task.
    pub initiator_task_tag: InitiatorTaskTag,
    /// SNACK Tag; zero unless an R-Data SNACK was answered.
    pub snack_tag: u32,
    /// StatSN.
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
    /// Number of Data-In PDUs and R2Ts that the target has sent for the task.
    pub exp_data_sn: u32,
    /// Of the read half of a bidirectional command; none unless the command was completed at the target.
    pub bidirectional_read_residual: Residual,
    /// Of the read, or of the write of a write or bidirectional command; none unless the command was completed at the target.
    pub residual: Residual,
    /// Sense and response data, each behind a length of two bytes (section 11.4.7).
    pub data: Bytes,
}

impl ScsiResponse {
    pub(crate) const OPCODE: Opcode = Opcode::ScsiResponse;

    #[inline(always)]
    pub(crate) fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let fields: &ScsiResponseHeader = frame.header.view();
        let response = ScsiResponseCode::from_wire(fields.response);
        if RESERVED_RESPONSES.contains(&fields.response) {
            return Err(Self::OPCODE.error("Response", 2, fields.response.into(), "0, 1, or 0x80 to 0xff"));
        }
        // RFC 7143 11.4.3-1: of a failure, status and flags are not looked at.
        let is_complete = response == ScsiResponseCode::CompletedAtTarget;
        let flags = if is_complete { Flags::from_bits_retain(fields.flags) } else { Flags::empty() };
        let both = Self::OPCODE.error("Residual flags", 1, fields.flags.into(), "overflow or underflow, not both");
        Ok(Self {
            response,
            status: if is_complete { fields.status } else { 0 },
            status_qualifier: if is_complete { fields.status_qualifier.get() } else { 0 },
            initiator_task_tag: Self::OPCODE.task_tag(fields.initiator_task_tag)?,
            snack_tag: fields.snack_tag.get(),
            stat_sn: StatSn(fields.stat_sn.get()),
            exp_cmd_sn: CmdSn(fields.exp_cmd_sn.get()),
            max_cmd_sn: CmdSn(fields.max_cmd_sn.get()),
            exp_data_sn: fields.exp_data_sn.get(),
            bidirectional_read_residual: Residual::from_wire(
                flags.contains(Flags::BIDIRECTIONAL_OVERFLOW),
                flags.contains(Flags::BIDIRECTIONAL_UNDERFLOW),
                fields.bidirectional_read_residual_count.get(),
            )
            .ok_or(both)?,
            residual: Residual::from_wire(
                flags.contains(Flags::OVERFLOW),
                flags.contains(Flags::UNDERFLOW),
                fields.residual_count.get(),
            )
            .ok_or(both)?,
            data: frame.data,
        })
    }

    #[inline]
    pub(crate) fn encode(self) -> Frame {
        // RFC 7143 11.4.1-1: a failure has no residuals.
        let (status, status_qualifier, residual, bidirectional_read_residual) = match self.response {
            ScsiResponseCode::CompletedAtTarget => {
                (self.status, self.status_qualifier, self.residual, self.bidirectional_read_residual)
            }
            _ => Default::default(),
        };
        // RFC 7143 11.4.6-1: each of the two counts has bits of its own.
        let mut flags = Flags::FINAL;
        flags.set(Flags::BIDIRECTIONAL_OVERFLOW, bidirectional_read_residual.is_overflow());
        flags.set(Flags::BIDIRECTIONAL_UNDERFLOW, bidirectional_read_residual.is_underflow());
        flags.set(Flags::OVERFLOW, residual.is_overflow());
        flags.set(Flags::UNDERFLOW, residual.is_underflow());
        let header = Header::from_layout(&ScsiResponseHeader {
            opcode: Self::OPCODE.to_wire(),
            flags: flags.bits(),
            response: self.response.to_wire(),
            status,
            status_qualifier: status_qualifier.into(),
            initiator_task_tag: self.initiator_task_tag.0.into(),
            snack_tag: self.snack_tag.into(),
            stat_sn: self.stat_sn.0.into(),
            exp_cmd_sn: self.exp_cmd_sn.0.into(),
            max_cmd_sn: self.max_cmd_sn.0.into(),
            exp_data_sn: self.exp_data_sn.into(),
            bidirectional_read_residual_count: bidirectional_read_residual.count().into(),
            residual_count: residual.count().into(),
            ..ScsiResponseHeader::default()
        });
        Frame::new(header, Box::default(), self.data)
    }
}
