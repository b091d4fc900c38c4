//! Task Management Function Request and Response (RFC 7143 sections 11.5 and 11.6).

use super::{FINAL, IMMEDIATE};
use crate::enumeration::open_enumeration;
use crate::frame::{Frame, Header, HeaderLayout};
use crate::{CmdSn, DecodeError, InitiatorTaskTag, LunField, Opcode, StatSn};
use bytes::Bytes;
use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The bytes of a Task Management Function Request (RFC 7143 section 11.5).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub struct TaskManagementRequestHeader {
    pub opcode: u8,
    pub function: u8,
    pub reserved_2: [u8; 2],
    pub total_ahs_length: u8,
    pub data_segment_length: [u8; 3],
    pub lun: [u8; 8],
    pub initiator_task_tag: U32,
    pub referenced_task_tag: U32,
    pub cmd_sn: U32,
    pub exp_stat_sn: U32,
    pub ref_cmd_sn: U32,
    pub exp_data_sn: U32,
    pub reserved_40: [u8; 8],
}
impl HeaderLayout for TaskManagementRequestHeader {}

open_enumeration! {
    /// What is to be done (RFC 7143 section 11.5.1; RFC 7144 section 4.2 for the last four): seven bits.
    TaskManagementFunction {
        AbortTask = 1 "ABORT TASK",
        AbortTaskSet = 2 "ABORT TASK SET",
        ClearAca = 3 "CLEAR ACA",
        ClearTaskSet = 4 "CLEAR TASK SET",
        LogicalUnitReset = 5 "LOGICAL UNIT RESET",
        TargetWarmReset = 6 "TARGET WARM RESET",
        TargetColdReset = 7 "TARGET COLD RESET",
        TaskReassign = 8 "TASK REASSIGN",
        QueryTask = 9 "QUERY TASK",
        QueryTaskSet = 10 "QUERY TASK SET",
        ItNexusReset = 11 "I_T NEXUS RESET",
        QueryAsynchronousEvent = 12 "QUERY ASYNCHRONOUS EVENT",
    }
}

/// Asks for a task management function (RFC 7143 section 11.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskManagementRequest {
    /// Delivered at once, outside the command order.
    pub immediate: bool,
    /// What is to be done.
    pub function: TaskManagementFunction,
    /// The logical unit, for functions about one.
    pub lun: LunField,
    /// Names this request.
    pub initiator_task_tag: InitiatorTaskTag,
    /// The task that the function is about, for functions about one.
    pub referenced_task_tag: Option<InitiatorTaskTag>,
    /// CmdSN.
    pub cmd_sn: CmdSn,
    /// ExpStatSN.
    pub exp_stat_sn: StatSn,
    /// CmdSN of the task that is to be aborted.
    pub ref_cmd_sn: CmdSn,
    /// For TASK REASSIGN: the next Data-In or R2T number expected.
    pub exp_data_sn: u32,
}

impl TaskManagementRequest {
    pub(crate) const OPCODE: Opcode = Opcode::TaskManagementRequest;

    #[inline(always)]
    pub(crate) fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let fields: &TaskManagementRequestHeader = frame.header.view();
        Ok(Self {
            immediate: fields.opcode & IMMEDIATE != 0,
            function: TaskManagementFunction::from_wire(fields.function & 0x7f),
            lun: LunField(fields.lun),
            initiator_task_tag: Self::OPCODE.task_tag(fields.initiator_task_tag)?,
            referenced_task_tag: InitiatorTaskTag::from_wire(fields.referenced_task_tag.get()),
            cmd_sn: CmdSn(fields.cmd_sn.get()),
            exp_stat_sn: StatSn(fields.exp_stat_sn.get()),
            ref_cmd_sn: CmdSn(fields.ref_cmd_sn.get()),
            exp_data_sn: fields.exp_data_sn.get(),
        })
    }

    #[inline]
    pub(crate) fn encode(self) -> Frame {
        let header = Header::from_layout(&TaskManagementRequestHeader {
            opcode: Self::OPCODE.to_wire() | if self.immediate { IMMEDIATE } else { 0 },
            function: FINAL | self.function.to_wire(),
            lun: self.lun.0,
            initiator_task_tag: self.initiator_task_tag.0.into(),
            referenced_task_tag: InitiatorTaskTag::to_wire(self.referenced_task_tag).into(),
            cmd_sn: self.cmd_sn.0.into(),
            exp_stat_sn: self.exp_stat_sn.0.into(),
            ref_cmd_sn: self.ref_cmd_sn.0.into(),
            exp_data_sn: self.exp_data_sn.into(),
            ..TaskManagementRequestHeader::default()
        });
        // RFC 7143 11.5.2-1: nothing but the header.
        Frame::new(header, Box::default(), Bytes::new())
    }
}

/// The bytes of a Task Management Function Response (RFC 7143 section 11.6).
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub struct TaskManagementResponseHeader {
    pub opcode: u8,
    pub flags: u8,
    pub response: u8,
    pub reserved_3: u8,
    pub total_ahs_length: u8,
    pub data_segment_length: [u8; 3],
    pub additional_information: [u8; 3],
    pub reserved_11: [u8; 5],
    pub initiator_task_tag: U32,
    pub reserved_20: [u8; 4],
    pub stat_sn: U32,
    pub exp_cmd_sn: U32,
    pub max_cmd_sn: U32,
    pub reserved_36: [u8; 12],
}
impl HeaderLayout for TaskManagementResponseHeader {}

open_enumeration! {
    /// How a task management function ended (RFC 7143 section 11.6.1; RFC 7144 section 4.2 for the last but one).
    TaskManagementResponseCode {
        FunctionComplete = 0 "Function complete",
        TaskDoesNotExist = 1 "Task does not exist",
        LunDoesNotExist = 2 "LUN does not exist",
        TaskStillAllegiant = 3 "Task still allegiant",
        TaskAllegianceReassignmentNotSupported = 4 "Task allegiance reassignment not supported",
        FunctionNotSupported = 5 "Task management function not supported",
        FunctionAuthorizationFailed = 6 "Function authorization failed",
        FunctionSucceeded = 7 "Function succeeded",
        FunctionRejected = 255 "Function rejected",
    }
}

/// The end of a task management function (RFC 7143 section 11.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskManagementResponse {
    /// How it ended.
    pub response: TaskManagementResponseCode,
    /// Additional Response Information (RFC 7144): what a QUERY ASYNCHRONOUS EVENT has found, if it has succeeded; else zeros. Reserved
    /// unless iSCSIProtocolLevel is 2 at least.
    pub additional_information: [u8; 3],
    /// The request.
    pub initiator_task_tag: InitiatorTaskTag,
    /// StatSN.
    pub stat_sn: StatSn,
    /// ExpCmdSN.
    pub exp_cmd_sn: CmdSn,
    /// MaxCmdSN.
    pub max_cmd_sn: CmdSn,
}

impl TaskManagementResponse {
    pub(crate) const OPCODE: Opcode = Opcode::TaskManagementResponse;

    #[inline(always)]
    pub(crate) fn decode(frame: Frame) -> Result<Self, DecodeError> {
        let fields: &TaskManagementResponseHeader = frame.header.view();
        Ok(Self {
            response: TaskManagementResponseCode::from_wire(fields.response),
            additional_information: fields.additional_information,
            initiator_task_tag: Self::OPCODE.task_tag(fields.initiator_task_tag)?,
            stat_sn: StatSn(fields.stat_sn.get()),
            exp_cmd_sn: CmdSn(fields.exp_cmd_sn.get()),
            max_cmd_sn: CmdSn(fields.max_cmd_sn.get()),
        })
    }

    #[inline]
    pub(crate) fn encode(self) -> Frame {
        let header = Header::from_layout(&TaskManagementResponseHeader {
            opcode: Self::OPCODE.to_wire(),
            flags: FINAL,
            response: self.response.to_wire(),
            additional_information: self.additional_information,
            initiator_task_tag: self.initiator_task_tag.0.into(),
            stat_sn: self.stat_sn.0.into(),
            exp_cmd_sn: self.exp_cmd_sn.0.into(),
            max_cmd_sn: self.max_cmd_sn.0.into(),
            ..TaskManagementResponseHeader::default()
        });
        // RFC 7143 11.6.2-1: nothing but the header.
        Frame::new(header, Box::default(), Bytes::new())
    }
}
