//! SCSI Data-Out (RFC 7143 section 11.7): data of a write, unsolicited or in answer to an R2T.

use super::FINAL;
use crate::frame::{Frame, Header, HeaderLayout};
use crate::{DecodeError, InitiatorTaskTag, LunField, Opcode, StatSn, TargetTransferTag};
use bytes::Bytes;
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The bytes of a SCSI Data-Out (RFC 7143 section 11.7).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub struct DataOutHeader {
    pub opcode: u8,
    pub flags: u8,
    pub reserved_2: [u8; 2],
    pub total_ahs_length: u8,
    pub data_segment_length: [u8; 3],
    pub lun: [u8; 8],
    pub initiator_task_tag: U32,
    pub target_transfer_tag: U32,
    pub reserved_24: [u8; 4],
    pub exp_stat_sn: U32,
    pub reserved_32: [u8; 4],
    pub data_sn: U32,
    pub buffer_offset: U32,
    pub reserved_44: [u8; 4],
}
impl HeaderLayout for DataOutHeader {}

/// A piece of a write's data (RFC 7143 section 11.7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataOut {
    /// F: the last piece of its sequence.
    pub is_final: bool,
    /// The LUN of the R2T that is answered; zero for unsolicited data.
    pub lun: LunField,
    /// The task.
    pub initiator_task_tag: InitiatorTaskTag,
    /// The tag of the R2T that is answered; none for unsolicited data.
    pub target_transfer_tag: Option<TargetTransferTag>,
    /// ExpStatSN.
    pub exp_stat_sn: StatSn,
    /// Number of the PDU within its sequence, from 0.
    pub data_sn: u32,
    /// Where in the task's data the piece begins, in bytes.
    pub buffer_offset: u32,
    /// The piece.
    pub data: Bytes,
}

impl DataOut {
    pub(crate) const OPCODE: Opcode = Opcode::DataOut;

    #[inline(always)]
    pub(crate) fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let fields: &DataOutHeader = frame.header.view();
        Ok(Self {
            is_final: fields.flags & FINAL != 0,
            lun: LunField(fields.lun),
            initiator_task_tag: Self::OPCODE.task_tag(fields.initiator_task_tag)?,
            target_transfer_tag: TargetTransferTag::from_wire(fields.target_transfer_tag.get()),
            exp_stat_sn: StatSn(fields.exp_stat_sn.get()),
            data_sn: fields.data_sn.get(),
            buffer_offset: fields.buffer_offset.get(),
            data: frame.data,
        })
    }

    #[inline]
    pub(crate) fn encode(self) -> Frame {
        let header = Header::from_layout(&DataOutHeader {
            opcode: Self::OPCODE.to_wire(),
            flags: if self.is_final { FINAL } else { 0 },
            lun: self.lun.0,
            initiator_task_tag: self.initiator_task_tag.0.into(),
            target_transfer_tag: TargetTransferTag::to_wire(self.target_transfer_tag).into(),
            exp_stat_sn: self.exp_stat_sn.0.into(),
            data_sn: self.data_sn.into(),
            buffer_offset: self.buffer_offset.into(),
            ..DataOutHeader::default()
        });
        Frame::new(header, Box::default(), self.data)
    }
}
