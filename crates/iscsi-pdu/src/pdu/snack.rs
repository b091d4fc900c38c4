//! SNACK Request (RFC 7143 section 11.16): the initiator asks for PDUs again, or acknowledges data.

use super::FINAL;
use crate::frame::{Frame, Header, HeaderLayout};
use crate::{DecodeError, InitiatorTaskTag, LunField, Opcode, StatSn, TargetTransferTag, tag};
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
///
/// Four functions make one of each type, with ExpStatSN still to be filled in:
///
/// ```
/// use iscsi_pdu::{InitiatorTaskTag, Snack, StatSn};
///
/// let snack = Snack { exp_stat_sn: StatSn(9), ..Snack::data_r2t(InitiatorTaskTag(7), 2, 1) };
/// assert_eq!((snack.begin_run, snack.run_length, snack.transfer_or_snack_tag), (2, 1, 0xffff_ffff));
/// ```
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

    // RFC 7143 11.16.4-2, 11.16.5-4: the task's tag, and no other.
    /// Asks for Data-In PDUs or R2Ts of a task again: `run_length` of them from the number `begin_run` on; zero is all that follow.
    #[must_use]
    pub const fn data_r2t(task: InitiatorTaskTag, begin_run: u32, run_length: u32) -> Self {
        Self { begin_run, run_length, ..Self::of(SnackType::DataR2t, Some(task), tag::RESERVED) }
    }

    // RFC 7143 11.16.4-1, 11.16.5-4: neither tag.
    /// Asks for numbered responses again: `run_length` of them from `begin_run` on; zero is all that follow.
    #[must_use]
    pub const fn status(begin_run: StatSn, run_length: u32) -> Self {
        Self { begin_run: begin_run.0, run_length, ..Self::of(SnackType::Status, None, tag::RESERVED) }
    }

    // RFC 7143 11.16.4-1, 11.16.5-3, 11.16.7-1: what the Data-In with the A bit has brought, and no length.
    /// Acknowledges the Data-In PDUs before the number `next`.
    #[must_use]
    pub const fn data_ack(lun: LunField, target_transfer_tag: TargetTransferTag, next: u32) -> Self {
        Self { lun, begin_run: next, ..Self::of(SnackType::DataAck, None, target_transfer_tag.0) }
    }

    // RFC 7143 11.16.4-2, 11.16.5-1, 11.16.6-1, 11.16.7-1: all of a task's data, under a tag.
    /// Asks for all Data-In PDUs of a task again that were not acknowledged, cut anew. `snack_tag` is unique for the task.
    ///
    /// # Panics
    /// If the SNACK Tag is 0 or `0xffffffff`: a bug of the caller.
    #[must_use]
    pub const fn r_data(task: InitiatorTaskTag, snack_tag: u32) -> Self {
        assert!(snack_tag != 0 && snack_tag != tag::RESERVED, "a SNACK Tag is neither of the reserved values");
        Self::of(SnackType::RData, Some(task), snack_tag)
    }

    const fn of(kind: SnackType, initiator_task_tag: Option<InitiatorTaskTag>, transfer_or_snack_tag: u32) -> Self {
        Self {
            kind,
            lun: LunField([0; 8]),
            initiator_task_tag,
            transfer_or_snack_tag,
            exp_stat_sn: StatSn(0),
            begin_run: 0,
            run_length: 0,
        }
    }

    #[inline(always)]
    pub(crate) fn decode(frame: Frame) -> Result<Self, DecodeError> {
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
    pub(crate) fn encode(self) -> Frame {
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
        Frame::new(header, Box::default(), Bytes::new())
    }
}
