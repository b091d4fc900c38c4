//! SCSI Data-In (RFC 7143 section 11.7): data of a read, the last piece with the task's status if that is GOOD.

use crate::frame::{Frame, Header, HeaderLayout};
use crate::{CmdSn, DecodeError, InitiatorTaskTag, LunField, Opcode, Residual, StatSn, TargetTransferTag};
use bitflags::bitflags;
use bytes::Bytes;
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The bytes of a SCSI Data-In (RFC 7143 section 11.7).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub struct DataInHeader {
    pub opcode: u8,
    pub flags: u8,
    pub reserved_2: u8,
    pub status: u8,
    pub total_ahs_length: u8,
    pub data_segment_length: [u8; 3],
    pub lun: [u8; 8],
    pub initiator_task_tag: U32,
    pub target_transfer_tag: U32,
    pub stat_sn: U32,
    pub exp_cmd_sn: U32,
    pub max_cmd_sn: U32,
    pub data_sn: U32,
    pub buffer_offset: U32,
    pub residual_count: U32,
}
impl HeaderLayout for DataInHeader {}

bitflags! {
    struct Flags: u8 {
        const FINAL = 0x80;
        const ACKNOWLEDGE = 0x40;
        const OVERFLOW = 0x04;
        const UNDERFLOW = 0x02;
        const STATUS = 0x01;
    }
}

/// The end of a read within its last Data-In (S bit).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataInStatus {
    /// SCSI status; one that comes without sense (RFC 7143 section 11.7.4).
    pub status: u8,
    /// StatSN.
    pub stat_sn: StatSn,
    /// Residual of the read.
    pub residual: Residual,
}

/// A piece of a read's data (RFC 7143 section 11.7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataIn {
    /// F: the last piece of its sequence; always so with a status.
    pub is_final: bool,
    /// A: the target asks for a DataACK SNACK.
    pub acknowledge: bool,
    /// S: this PDU ends the task.
    pub status: Option<DataInStatus>,
    /// The LUN, if there is a Target Transfer Tag; zero otherwise.
    pub lun: LunField,
    /// The task.
    pub initiator_task_tag: InitiatorTaskTag,
    /// To be copied to the DataACK SNACK that the A bit asks for.
    pub target_transfer_tag: Option<TargetTransferTag>,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
    /// Number of the PDU within the task, from 0.
    pub data_sn: u32,
    /// Where in the task's data the piece begins, in bytes.
    pub buffer_offset: u32,
    /// The piece.
    pub data: Bytes,
}

impl DataIn {
    pub(crate) const OPCODE: Opcode = Opcode::DataIn;

    #[inline(always)]
    pub(crate) fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let fields: &DataInHeader = frame.header.view();
        let flags = Flags::from_bits_retain(fields.flags);
        let status = if flags.contains(Flags::STATUS) {
            // RFC 7143 11.7.3-4: S comes with F.
            if !flags.contains(Flags::FINAL) {
                return Err(Self::OPCODE.error("S", 1, fields.flags.into(), "the F bit, when the S bit is set"));
            }
            let (over, under) = (flags.contains(Flags::OVERFLOW), flags.contains(Flags::UNDERFLOW));
            let residual = Residual::from_wire(over, under, fields.residual_count.get());
            Some(DataInStatus {
                status: fields.status,
                stat_sn: StatSn(fields.stat_sn.get()),
                residual: residual.ok_or(Self::OPCODE.error(
                    "Residual flags",
                    1,
                    fields.flags.into(),
                    "overflow or underflow, not both",
                ))?,
            })
        } else {
            None
        };
        Ok(Self {
            is_final: flags.contains(Flags::FINAL),
            acknowledge: flags.contains(Flags::ACKNOWLEDGE),
            status,
            lun: LunField(fields.lun),
            initiator_task_tag: Self::OPCODE.task_tag(fields.initiator_task_tag)?,
            target_transfer_tag: TargetTransferTag::from_wire(fields.target_transfer_tag.get()),
            exp_cmd_sn: CmdSn(fields.exp_cmd_sn.get()),
            max_cmd_sn: CmdSn(fields.max_cmd_sn.get()),
            data_sn: fields.data_sn.get(),
            buffer_offset: fields.buffer_offset.get(),
            data: frame.data,
        })
    }

    #[inline]
    pub(crate) fn encode(self) -> Frame {
        let mut flags = Flags::empty();
        flags.set(Flags::FINAL, self.is_final);
        flags.set(Flags::ACKNOWLEDGE, self.acknowledge);
        let end = self.status.unwrap_or_default();
        flags.set(Flags::STATUS, self.status.is_some());
        flags.set(Flags::OVERFLOW, end.residual.is_overflow());
        flags.set(Flags::UNDERFLOW, end.residual.is_underflow());
        let header = Header::from_layout(&DataInHeader {
            opcode: Self::OPCODE.to_wire(),
            flags: flags.bits(),
            status: end.status,
            lun: self.lun.0,
            initiator_task_tag: self.initiator_task_tag.0.into(),
            target_transfer_tag: TargetTransferTag::to_wire(self.target_transfer_tag).into(),
            stat_sn: end.stat_sn.0.into(),
            exp_cmd_sn: self.exp_cmd_sn.0.into(),
            max_cmd_sn: self.max_cmd_sn.0.into(),
            data_sn: self.data_sn.into(),
            buffer_offset: self.buffer_offset.into(),
            residual_count: end.residual.count().into(),
            ..DataInHeader::default()
        });
        Frame::new(header, Box::default(), self.data)
    }
}
