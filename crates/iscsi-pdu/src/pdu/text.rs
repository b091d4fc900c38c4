//! Text Request and Text Response (RFC 7143 sections 11.10 and 11.11): key=value pairs in the full feature phase.

use super::IMMEDIATE;
use crate::frame::{Frame, Header, HeaderLayout};
use crate::{CmdSn, DecodeError, InitiatorTaskTag, LunField, Opcode, StatSn, TargetTransferTag};
use bitflags::bitflags;
use bytes::Bytes;
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

bitflags! {
    struct Flags: u8 {
        const FINAL = 0x80;
        const CONTINUE = 0x40;
    }
}

impl Flags {
    fn of(is_final: bool, continues: bool) -> Self {
        let mut flags = Self::empty();
        flags.set(Self::FINAL, is_final);
        flags.set(Self::CONTINUE, continues);
        flags
    }

    /// RFC 7143 6.2-1, 11.10.2-1, 11.11.2-1: F and C exclude each other.
    fn checked(opcode: Opcode, bits: u8) -> Result<Self, DecodeError> {
        let flags = Self::from_bits_truncate(bits);
        if flags.is_all() {
            return Err(opcode.error("C", 1, bits.into(), "F or C, not both"));
        }
        Ok(flags)
    }
}

/// The bytes of a Text Request (RFC 7143 section 11.10).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub struct TextRequestHeader {
    pub opcode: u8,
    pub flags: u8,
    pub reserved_2: [u8; 2],
    pub total_ahs_length: u8,
    pub data_segment_length: [u8; 3],
    pub lun: [u8; 8],
    pub initiator_task_tag: U32,
    pub target_transfer_tag: U32,
    pub cmd_sn: U32,
    pub exp_stat_sn: U32,
    pub reserved_32: [u8; 16],
}
impl HeaderLayout for TextRequestHeader {}

/// Asks or answers by key=value pairs (RFC 7143 section 11.10).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextRequest {
    /// Delivered at once, outside the command order.
    pub immediate: bool,
    /// F: the initiator has said all.
    pub is_final: bool,
    /// C: the text goes on in the next request; never with F.
    pub continues: bool,
    /// As in the response that is answered; zero at the beginning.
    pub lun: LunField,
    /// Names the negotiation.
    pub initiator_task_tag: InitiatorTaskTag,
    /// As in the response that is answered; none at the beginning.
    pub target_transfer_tag: Option<TargetTransferTag>,
    /// CmdSN.
    pub cmd_sn: CmdSn,
    /// ExpStatSN.
    pub exp_stat_sn: StatSn,
    /// The text, see [`crate::text`].
    pub data: Bytes,
}

impl TextRequest {
    pub(crate) const OPCODE: Opcode = Opcode::TextRequest;

    #[inline(always)]
    pub(crate) fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let fields: &TextRequestHeader = frame.header.view();
        let flags = Flags::checked(Self::OPCODE, fields.flags)?;
        Ok(Self {
            immediate: fields.opcode & IMMEDIATE != 0,
            is_final: flags.contains(Flags::FINAL),
            continues: flags.contains(Flags::CONTINUE),
            lun: LunField(fields.lun),
            initiator_task_tag: Self::OPCODE.task_tag(fields.initiator_task_tag)?,
            target_transfer_tag: TargetTransferTag::from_wire(fields.target_transfer_tag.get()),
            cmd_sn: CmdSn(fields.cmd_sn.get()),
            exp_stat_sn: StatSn(fields.exp_stat_sn.get()),
            data: frame.data,
        })
    }

    #[inline]
    pub(crate) fn encode(self) -> Frame {
        let header = Header::from_layout(&TextRequestHeader {
            opcode: Self::OPCODE.to_wire() | if self.immediate { IMMEDIATE } else { 0 },
            flags: Flags::of(self.is_final, self.continues).bits(),
            lun: self.lun.0,
            initiator_task_tag: self.initiator_task_tag.0.into(),
            target_transfer_tag: TargetTransferTag::to_wire(self.target_transfer_tag).into(),
            cmd_sn: self.cmd_sn.0.into(),
            exp_stat_sn: self.exp_stat_sn.0.into(),
            ..TextRequestHeader::default()
        });
        Frame::new(header, Box::default(), self.data)
    }
}

/// The bytes of a Text Response (RFC 7143 section 11.11).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub struct TextResponseHeader {
    pub opcode: u8,
    pub flags: u8,
    pub reserved_2: [u8; 2],
    pub total_ahs_length: u8,
    pub data_segment_length: [u8; 3],
    pub lun: [u8; 8],
    pub initiator_task_tag: U32,
    pub target_transfer_tag: U32,
    pub stat_sn: U32,
    pub exp_cmd_sn: U32,
    pub max_cmd_sn: U32,
    pub reserved_36: [u8; 12],
}
impl HeaderLayout for TextResponseHeader {}

/// The target's half of a text exchange (RFC 7143 section 11.11).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextResponse {
    /// F: the exchange is over.
    pub is_final: bool,
    /// C: the text goes on in the next response; never with F.
    pub continues: bool,
    /// To be copied to the next request, if there is a Target Transfer Tag.
    pub lun: LunField,
    /// The request.
    pub initiator_task_tag: InitiatorTaskTag,
    /// To be copied to the next request; none if the exchange is over.
    pub target_transfer_tag: Option<TargetTransferTag>,
    /// StatSN.
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
    /// The text, see [`crate::text`].
    pub data: Bytes,
}

impl TextResponse {
    pub(crate) const OPCODE: Opcode = Opcode::TextResponse;

    #[inline(always)]
    pub(crate) fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let fields: &TextResponseHeader = frame.header.view();
        let flags = Flags::checked(Self::OPCODE, fields.flags)?;
        Ok(Self {
            is_final: flags.contains(Flags::FINAL),
            continues: flags.contains(Flags::CONTINUE),
            lun: LunField(fields.lun),
            initiator_task_tag: Self::OPCODE.task_tag(fields.initiator_task_tag)?,
            target_transfer_tag: TargetTransferTag::from_wire(fields.target_transfer_tag.get()),
            stat_sn: StatSn(fields.stat_sn.get()),
            exp_cmd_sn: CmdSn(fields.exp_cmd_sn.get()),
            max_cmd_sn: CmdSn(fields.max_cmd_sn.get()),
            data: frame.data,
        })
    }

    #[inline]
    pub(crate) fn encode(self) -> Frame {
        let header = Header::from_layout(&TextResponseHeader {
            opcode: Self::OPCODE.to_wire(),
            flags: Flags::of(self.is_final, self.continues).bits(),
            lun: self.lun.0,
            initiator_task_tag: self.initiator_task_tag.0.into(),
            target_transfer_tag: TargetTransferTag::to_wire(self.target_transfer_tag).into(),
            stat_sn: self.stat_sn.0.into(),
            exp_cmd_sn: self.exp_cmd_sn.0.into(),
            max_cmd_sn: self.max_cmd_sn.0.into(),
            ..TextResponseHeader::default()
        });
        Frame::new(header, Box::default(), self.data)
    }
}
