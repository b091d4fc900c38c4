//! Operation codes.

use crate::enumeration::open_enumeration;
use crate::tag::RESERVED;
use crate::{DecodeError, InitiatorTaskTag, TargetTransferTag};
use zerocopy::big_endian::U32;

open_enumeration! {
    /// What a PDU is (RFC 7143 section 11.2.1.2): six bits.
    Opcode {
        NopOut = 0x00 "NOP-Out",
        ScsiCommand = 0x01 "SCSI Command",
        TaskManagementRequest = 0x02 "Task Management Function Request",
        LoginRequest = 0x03 "Login Request",
        TextRequest = 0x04 "Text Request",
        DataOut = 0x05 "SCSI Data-Out",
        LogoutRequest = 0x06 "Logout Request",
        SnackRequest = 0x10 "SNACK Request",
        NopIn = 0x20 "NOP-In",
        ScsiResponse = 0x21 "SCSI Response",
        TaskManagementResponse = 0x22 "Task Management Function Response",
        LoginResponse = 0x23 "Login Response",
        TextResponse = 0x24 "Text Response",
        DataIn = 0x25 "SCSI Data-In",
        LogoutResponse = 0x26 "Logout Response",
        R2t = 0x31 "Ready To Transfer",
        AsyncMessage = 0x32 "Asynchronous Message",
        Reject = 0x3f "Reject",
    }
}

impl Opcode {
    /// Whether an initiator sends it; the others come from targets.
    #[must_use]
    pub const fn is_from_initiator(self) -> bool {
        self.to_wire() < 0x20
    }

    /// A field of this PDU whose value means nothing.
    pub(crate) const fn error(
        self,
        field: &'static str,
        offset: usize,
        value: u64,
        expected: &'static str,
    ) -> DecodeError {
        DecodeError { pdu: self, field, offset, value, expected }
    }

    // RFC 7143 11.2.1.8-2: the reserved tag names no task.
    /// An Initiator Task Tag that may not be left out.
    pub(crate) fn task_tag(self, field: U32) -> Result<InitiatorTaskTag, DecodeError> {
        InitiatorTaskTag::from_wire(field.get()).ok_or(self.error(
            "Initiator Task Tag",
            16,
            RESERVED.into(),
            "a tag; this value means none",
        ))
    }

    // RFC 7143 11.8.5-1: the reserved tag is none.
    /// A Target Transfer Tag that may not be left out.
    pub(crate) fn transfer_tag(self, field: U32) -> Result<TargetTransferTag, DecodeError> {
        TargetTransferTag::from_wire(field.get()).ok_or(self.error(
            "Target Transfer Tag",
            20,
            RESERVED.into(),
            "a tag; this value means none",
        ))
    }
}
