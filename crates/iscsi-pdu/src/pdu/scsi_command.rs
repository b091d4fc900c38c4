//! SCSI Command (RFC 7143 section 11.3).

use super::IMMEDIATE;
use crate::frame::{Frame, Header, HeaderLayout};
use crate::{CmdSn, DecodeError, InitiatorTaskTag, LunField, Opcode, StatSn};
use bitflags::bitflags;
use bytes::Bytes;
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The bytes of a SCSI Command (RFC 7143 section 11.3).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub struct ScsiCommandHeader {
    pub opcode: u8,
    pub flags: u8,
    pub priority: u8,
    pub reserved_3: u8,
    pub total_ahs_length: u8,
    pub data_segment_length: [u8; 3],
    pub lun: [u8; 8],
    pub initiator_task_tag: U32,
    pub expected_data_transfer_length: U32,
    pub cmd_sn: U32,
    pub exp_stat_sn: U32,
    pub cdb: [u8; 16],
}
impl HeaderLayout for ScsiCommandHeader {}

bitflags! {
    struct Flags: u8 {
        const FINAL = 0x80;
        const READ = 0x40;
        const WRITE = 0x20;
        const ATTRIBUTE = 0x07;
    }
}

/// PRI takes the upper half of its byte.
const PRIORITY_SHIFT: u32 = 4;

/// How a task is ordered among others (RFC 7143 section 11.3.1, SAM-5 clause 8.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TaskAttribute {
    /// Value 0: not said.
    Untagged,
    /// Value 1: in any order.
    #[default]
    Simple,
    /// Value 2: after all that came before, and before all that come after.
    Ordered,
    /// Value 3: before all that wait.
    HeadOfQueue,
    /// Value 4: while an auto contingent allegiance holds.
    Aca,
}

impl TaskAttribute {
    const ALL: [Self; 5] = [Self::Untagged, Self::Simple, Self::Ordered, Self::HeadOfQueue, Self::Aca];
}

/// A SCSI command with, if so negotiated, the first part of its data (RFC 7143 section 11.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScsiCommand {
    /// Delivered at once, outside the command order.
    pub immediate: bool,
    /// F: no unsolicited Data-Out PDU follows.
    pub is_final: bool,
    /// R: data is to flow to the initiator.
    pub read: bool,
    /// W: data is to flow to the target.
    pub write: bool,
    /// ATTR.
    pub attribute: TaskAttribute,
    /// PRI (RFC 7144): 1, which goes first, to 15; 0 says nothing. Reserved unless iSCSIProtocolLevel is 2 at least.
    pub priority: u8,
    /// The logical unit.
    pub lun: LunField,
    /// Names the task.
    pub initiator_task_tag: InitiatorTaskTag,
    /// Bytes that the initiator expects to move: of the write if the W bit is set, else of the read.
    pub expected_data_transfer_length: u32,
    /// CmdSN.
    pub cmd_sn: CmdSn,
    /// ExpStatSN.
    pub exp_stat_sn: StatSn,
    /// The first 16 bytes of the CDB, padded with zeros.
    pub cdb: [u8; 16],
    /// Additional header segments (section 11.2.2): a longer CDB, a bidirectional read length. See [`crate::ahs`].
    pub ahs: Box<[u8]>,
    /// Immediate data.
    pub data: Bytes,
}

impl ScsiCommand {
    pub(crate) const OPCODE: Opcode = Opcode::ScsiCommand;

    #[inline(always)]
    pub(crate) fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let fields: &ScsiCommandHeader = frame.header.view();
        let flags = Flags::from_bits_retain(fields.flags);
        let attribute = flags.bits() & Flags::ATTRIBUTE.bits();
        let attribute = TaskAttribute::ALL.get(usize::from(attribute)).ok_or(Self::OPCODE.error(
            "ATTR",
            1,
            attribute.into(),
            "0 to 4",
        ))?;
        Ok(Self {
            immediate: fields.opcode & IMMEDIATE != 0,
            is_final: flags.contains(Flags::FINAL),
            read: flags.contains(Flags::READ),
            write: flags.contains(Flags::WRITE),
            attribute: *attribute,
            priority: fields.priority >> PRIORITY_SHIFT,
            lun: LunField(fields.lun),
            initiator_task_tag: Self::OPCODE.task_tag(fields.initiator_task_tag)?,
            expected_data_transfer_length: fields.expected_data_transfer_length.get(),
            cmd_sn: CmdSn(fields.cmd_sn.get()),
            exp_stat_sn: StatSn(fields.exp_stat_sn.get()),
            cdb: fields.cdb,
            ahs: frame.ahs,
            data: frame.data,
        })
    }

    #[inline]
    pub(crate) fn encode(self) -> Frame {
        let mut flags = Flags::from_bits_retain(self.attribute as u8);
        flags.set(Flags::FINAL, self.is_final);
        flags.set(Flags::READ, self.read);
        flags.set(Flags::WRITE, self.write);
        let header = Header::from_layout(&ScsiCommandHeader {
            opcode: Self::OPCODE.to_wire() | if self.immediate { IMMEDIATE } else { 0 },
            flags: flags.bits(),
            priority: self.priority << PRIORITY_SHIFT,
            lun: self.lun.0,
            initiator_task_tag: self.initiator_task_tag.0.into(),
            expected_data_transfer_length: self.expected_data_transfer_length.into(),
            cmd_sn: self.cmd_sn.0.into(),
            exp_stat_sn: self.exp_stat_sn.0.into(),
            cdb: self.cdb,
            ..ScsiCommandHeader::default()
        });
        Frame::new(header, self.ahs, self.data)
    }
}
