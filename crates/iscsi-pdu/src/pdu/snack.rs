//! SNACK Request (RFC 7143 section 11.16): the initiator asks for PDUs again, or acknowledges data.

use super::FINAL;
use crate::frame::{Frame, Header, HeaderLayout};
use crate::{DecodeError, InitiatorTaskTag, LunField, Opcode, StatSn};
use bytes::Bytes;
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The bytes of a SNACK Request (RFC 7143 section 11.16).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub struct SnackHeader {
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
    pub reserved_32: [u8; 8],
    pub beg_run: U32,
    pub run_length: U32,
}
impl HeaderLayout for SnackHeader {}

/// What is asked for (RFC 7143 section 11.16.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SnackType {
    /// Value 0: Data-In PDUs or R2Ts again.
    #[default]
    DataR2t,
    /// Value 1: numbered responses again.
    Status,
    /// Value 2: Data-In PDUs are acknowledged.
    DataAck,
    /// Value 3: Data-In PDUs again, cut anew.
    RData,
}

impl SnackType {
    const ALL: [Self; 4] = [Self::DataR2t, Self::Status, Self::DataAck, Self::RData];
}

/// Asks for PDUs again, or acknowledges data (RFC 7143 section 11.16).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snack {
    /// What is asked for.
    pub kind: SnackType,
    /// The LUN of the Data-In that is acknowledged; zero otherwise.
    pub lun: LunField,
    /// The task, for Data/R2T and R-Data.
    pub initiator_task_tag: Option<InitiatorTaskTag>,
    /// Target Transfer Tag of the Data-In that is acknowledged, SNACK Tag of an R-Data, or `0xffffffff`.
    pub transfer_or_snack_tag: u32,
    /// ExpStatSN.
    pub exp_stat_sn: StatSn,
    /// BegRun: the first number asked for, or the next one expected.
    pub begin_run: u32,
    /// RunLength: how many; zero is all from the first.
    pub run_length: u32,
}

impl Snack {
    pub(crate) const OPCODE: Opcode = Opcode::SnackRequest;

    #[inline(always)]
    pub(crate) fn decode(frame: &Frame) -> Result<Self, DecodeError> {
        let fields: &SnackHeader = frame.header.view();
        let kind = fields.flags & 0x0f;
        let kind = SnackType::ALL.get(usize::from(kind)).ok_or(Self::OPCODE.error("Type", 1, kind.into(), "0 to 3"))?;
        Ok(Self {
            kind: *kind,
            lun: LunField(fields.lun),
            initiator_task_tag: InitiatorTaskTag::from_wire(fields.initiator_task_tag.get()),
            transfer_or_snack_tag: fields.target_transfer_tag.get(),
            exp_stat_sn: StatSn(fields.exp_stat_sn.get()),
            begin_run: fields.beg_run.get(),
            run_length: fields.run_length.get(),
        })
    }

    #[inline]
    pub(crate) fn encode(&self) -> Frame {
        let header = Header::from_layout(&SnackHeader {
            opcode: Self::OPCODE.to_wire(),
            flags: FINAL | self.kind as u8,
            lun: self.lun.0,
            initiator_task_tag: InitiatorTaskTag::to_wire(self.initiator_task_tag).into(),
            target_transfer_tag: self.transfer_or_snack_tag.into(),
            exp_stat_sn: self.exp_stat_sn.0.into(),
            beg_run: self.begin_run.into(),
            run_length: self.run_length.into(),
            ..SnackHeader::default()
        });
        Frame::new(header, Bytes::new(), Bytes::new())
    }
}
