//! Ready To Transfer (RFC 7143 section 11.8): the target asks for a part of a write's data.

use super::FINAL;
use crate::frame::{Frame, Header, HeaderLayout};
use crate::{CmdSn, DecodeError, InitiatorTaskTag, LunField, Opcode, StatSn, TargetTransferTag};
use bytes::Bytes;
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The bytes of a Ready To Transfer (RFC 7143 section 11.8).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub struct R2tHeader {
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
    pub r2t_sn: U32,
    pub buffer_offset: U32,
    pub desired_data_transfer_length: U32,
}
impl HeaderLayout for R2tHeader {}

/// Asks for a part of a write's data (RFC 7143 section 11.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct R2t {
    /// The logical unit.
    pub lun: LunField,
    /// The task.
    pub initiator_task_tag: InitiatorTaskTag,
    /// To be copied to the Data-Out PDUs.
    pub target_transfer_tag: TargetTransferTag,
    /// The next StatSN to be used, without using it.
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
    /// Number of the R2T within the task, from 0.
    pub r2t_sn: u32,
    /// Where in the task's data the part begins, in bytes.
    pub buffer_offset: u32,
    /// How long the part is, in bytes; never zero.
    pub desired_data_transfer_length: u32,
}

impl R2t {
    pub(crate) const OPCODE: Opcode = Opcode::R2t;

    #[inline(always)]
    pub(crate) fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let fields: &R2tHeader = frame.header.view();
        let desired_data_transfer_length = fields.desired_data_transfer_length.get();
        // RFC 7143 11.8.4-1: an R2T asks for something.
        if desired_data_transfer_length == 0 {
            return Err(Self::OPCODE.error("Desired Data Transfer Length", 44, 0, "more than 0"));
        }
        Ok(Self {
            lun: LunField(fields.lun),
            initiator_task_tag: Self::OPCODE.task_tag(fields.initiator_task_tag)?,
            target_transfer_tag: Self::OPCODE.transfer_tag(fields.target_transfer_tag)?,
            stat_sn: StatSn(fields.stat_sn.get()),
            exp_cmd_sn: CmdSn(fields.exp_cmd_sn.get()),
            max_cmd_sn: CmdSn(fields.max_cmd_sn.get()),
            r2t_sn: fields.r2t_sn.get(),
            buffer_offset: fields.buffer_offset.get(),
            desired_data_transfer_length,
        })
    }

    #[inline]
    pub(crate) fn encode(self) -> Frame {
        let header = Header::from_layout(&R2tHeader {
            opcode: Self::OPCODE.to_wire(),
            flags: FINAL,
            lun: self.lun.0,
            initiator_task_tag: self.initiator_task_tag.0.into(),
            target_transfer_tag: self.target_transfer_tag.0.into(),
            stat_sn: self.stat_sn.0.into(),
            exp_cmd_sn: self.exp_cmd_sn.0.into(),
            max_cmd_sn: self.max_cmd_sn.0.into(),
            r2t_sn: self.r2t_sn.into(),
            buffer_offset: self.buffer_offset.into(),
            desired_data_transfer_length: self.desired_data_transfer_length.into(),
            ..R2tHeader::default()
        });
        // RFC 7143 11.8.1-1: nothing but the header.
        Frame::new(header, Box::default(), Bytes::new())
    }
}
