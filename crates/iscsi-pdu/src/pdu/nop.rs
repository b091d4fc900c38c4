//! NOP-Out and NOP-In (RFC 7143 sections 11.18 and 11.19): a ping, its answer, and numbers without a task.

use super::{FINAL, IMMEDIATE};
use crate::frame::{Frame, Header, HeaderLayout};
use crate::{CmdSn, DecodeError, InitiatorTaskTag, LunField, Opcode, StatSn, TargetTransferTag};
use bytes::Bytes;
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The bytes of a NOP-Out (RFC 7143 section 11.18).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub struct NopOutHeader {
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
impl HeaderLayout for NopOutHeader {}

/// An initiator's ping, or its answer to a NOP-In (RFC 7143 section 11.18).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NopOut {
    /// Delivered at once, outside the command order. Always so when there is no Initiator Task Tag.
    pub immediate: bool,
    /// The LUN of the NOP-In that is answered; zero otherwise.
    pub lun: LunField,
    /// Names the ping that a NOP-In is to answer; none if no answer is wanted.
    pub initiator_task_tag: Option<InitiatorTaskTag>,
    /// Names the NOP-In that this answers.
    pub target_transfer_tag: Option<TargetTransferTag>,
    /// CmdSN.
    pub cmd_sn: CmdSn,
    /// ExpStatSN.
    pub exp_stat_sn: StatSn,
    /// Ping data, to be echoed.
    pub data: Bytes,
}

impl NopOut {
    pub(crate) const OPCODE: Opcode = Opcode::NopOut;

    #[inline(always)]
    pub(crate) fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let fields: &NopOutHeader = frame.header.view();
        Ok(Self {
            immediate: fields.opcode & IMMEDIATE != 0,
            lun: LunField(fields.lun),
            initiator_task_tag: InitiatorTaskTag::from_wire(fields.initiator_task_tag.get()),
            target_transfer_tag: TargetTransferTag::from_wire(fields.target_transfer_tag.get()),
            cmd_sn: CmdSn(fields.cmd_sn.get()),
            exp_stat_sn: StatSn(fields.exp_stat_sn.get()),
            data: frame.data,
        })
    }

    #[inline]
    pub(crate) fn encode(self) -> Frame {
        let header = Header::from_layout(&NopOutHeader {
            opcode: Self::OPCODE.to_wire() | if self.immediate { IMMEDIATE } else { 0 },
            flags: FINAL,
            lun: self.lun.0,
            initiator_task_tag: InitiatorTaskTag::to_wire(self.initiator_task_tag).into(),
            target_transfer_tag: TargetTransferTag::to_wire(self.target_transfer_tag).into(),
            cmd_sn: self.cmd_sn.0.into(),
            exp_stat_sn: self.exp_stat_sn.0.into(),
            ..NopOutHeader::default()
        });
        Frame::new(header, Box::default(), self.data)
    }
}

/// The bytes of a NOP-In (RFC 7143 section 11.19).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub struct NopInHeader {
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
impl HeaderLayout for NopInHeader {}

/// A target's ping, or its answer to a NOP-Out (RFC 7143 section 11.19).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NopIn {
    /// Where a ping that wants an answer is about; zero otherwise.
    pub lun: LunField,
    /// Names the NOP-Out that this answers.
    pub initiator_task_tag: Option<InitiatorTaskTag>,
    /// Names the ping that a NOP-Out is to answer; none if no answer is wanted.
    pub target_transfer_tag: Option<TargetTransferTag>,
    /// StatSN; the next one to be used, without using it, if this answers no NOP-Out.
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
    /// The ping data of the NOP-Out.
    pub data: Bytes,
}

impl NopIn {
    pub(crate) const OPCODE: Opcode = Opcode::NopIn;

    #[inline(always)]
    pub(crate) fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let fields: &NopInHeader = frame.header.view();
        Ok(Self {
            lun: LunField(fields.lun),
            initiator_task_tag: InitiatorTaskTag::from_wire(fields.initiator_task_tag.get()),
            target_transfer_tag: TargetTransferTag::from_wire(fields.target_transfer_tag.get()),
            stat_sn: StatSn(fields.stat_sn.get()),
            exp_cmd_sn: CmdSn(fields.exp_cmd_sn.get()),
            max_cmd_sn: CmdSn(fields.max_cmd_sn.get()),
            data: frame.data,
        })
    }

    #[inline]
    pub(crate) fn encode(self) -> Frame {
        let header = Header::from_layout(&NopInHeader {
            opcode: Self::OPCODE.to_wire(),
            flags: FINAL,
            lun: self.lun.0,
            initiator_task_tag: InitiatorTaskTag::to_wire(self.initiator_task_tag).into(),
            target_transfer_tag: TargetTransferTag::to_wire(self.target_transfer_tag).into(),
            stat_sn: self.stat_sn.0.into(),
            exp_cmd_sn: self.exp_cmd_sn.0.into(),
            max_cmd_sn: self.max_cmd_sn.0.into(),
            ..NopInHeader::default()
        });
        Frame::new(header, Box::default(), self.data)
    }
}
