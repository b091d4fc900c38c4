//! Sense keys and additional sense codes: the numbers and their names (SPC-5 tables 49 and F.2).

use std::fmt;

/// What kind of trouble sense data tells of (SPC-5 table 49).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are SPC-5's own; Display gives them")]
pub enum SenseKey {
    NoSense = 0x0,
    RecoveredError = 0x1,
    NotReady = 0x2,
    MediumError = 0x3,
    HardwareError = 0x4,
    IllegalRequest = 0x5,
    UnitAttention = 0x6,
    DataProtect = 0x7,
    BlankCheck = 0x8,
    VendorSpecific = 0x9,
    CopyAborted = 0xa,
    AbortedCommand = 0xb,
    Reserved = 0xc,
    VolumeOverflow = 0xd,
    Miscompare = 0xe,
    Completed = 0xf,
}

const KEYS: [(SenseKey, &str); 16] = [
    (SenseKey::NoSense, "NO SENSE"),
    (SenseKey::RecoveredError, "RECOVERED ERROR"),
    (SenseKey::NotReady, "NOT READY"),
    (SenseKey::MediumError, "MEDIUM ERROR"),
    (SenseKey::HardwareError, "HARDWARE ERROR"),
    (SenseKey::IllegalRequest, "ILLEGAL REQUEST"),
    (SenseKey::UnitAttention, "UNIT ATTENTION"),
    (SenseKey::DataProtect, "DATA PROTECT"),
    (SenseKey::BlankCheck, "BLANK CHECK"),
    (SenseKey::VendorSpecific, "VENDOR SPECIFIC"),
    (SenseKey::CopyAborted, "COPY ABORTED"),
    (SenseKey::AbortedCommand, "ABORTED COMMAND"),
    (SenseKey::Reserved, "RESERVED"),
    (SenseKey::VolumeOverflow, "VOLUME OVERFLOW"),
    (SenseKey::Miscompare, "MISCOMPARE"),
    (SenseKey::Completed, "COMPLETED"),
];

impl SenseKey {
    /// The four bits on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The key in the low four bits of `code`; the bits above belong to other fields.
    pub const fn from_code(code: u8) -> Self {
        KEYS[(code & 0x0f) as usize].0
    }

    /// The name in SPC-5's words.
    pub const fn name(self) -> &'static str {
        KEYS[self as usize].1
    }
}

impl fmt::Display for SenseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An additional sense code (high byte) and its qualifier (low byte).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdditionalSense(u16);

impl AdditionalSense {
    /// The code and qualifier as one big-endian number.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// Takes any number; one without a name here keeps it.
    pub const fn from_code(code: u16) -> Self {
        Self(code)
    }

    /// The name in SPC-5's words, if this list has it.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(code, _)| *code == self).map(|(_, name)| *name)
    }

    /// Whether this reports a power on or a reset, before which all earlier unit attentions give way (SAM-5 5.14).
    pub(crate) const fn is_reset(self) -> bool {
        self.0 >> 8 == 0x29
    }
}

impl fmt::Display for AdditionalSense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [code, qualifier] = self.0.to_be_bytes();
        write!(f, "{} ({code:#04x}/{qualifier:#04x})", self.name().unwrap_or("unnamed"))
    }
}

/// Declares the codes once: constant, number, name.
macro_rules! additional_sense_codes {
    ($($constant:ident = $code:literal, $name:literal;)*) => {
        impl AdditionalSense {
            $(#[doc = $name] pub const $constant: Self = Self($code);)*
        }

        const NAMES: &[(AdditionalSense, &str)] = &[$((AdditionalSense::$constant, $name)),*];
    };
}

additional_sense_codes! {
    NONE = 0x0000, "NO ADDITIONAL SENSE INFORMATION";
    OPERATION_IN_PROGRESS = 0x0016, "OPERATION IN PROGRESS";
    NOT_READY_CAUSE_NOT_REPORTABLE = 0x0400, "LOGICAL UNIT NOT READY, CAUSE NOT REPORTABLE";
    BECOMING_READY = 0x0401, "LOGICAL UNIT IS IN PROCESS OF BECOMING READY";
    INITIALIZING_COMMAND_REQUIRED = 0x0402, "LOGICAL UNIT NOT READY, INITIALIZING COMMAND REQUIRED";
    MANUAL_INTERVENTION_REQUIRED = 0x0403, "LOGICAL UNIT NOT READY, MANUAL INTERVENTION REQUIRED";
    FORMAT_IN_PROGRESS = 0x0404, "LOGICAL UNIT NOT READY, FORMAT IN PROGRESS";
    ASYMMETRIC_ACCESS_STATE_TRANSITION = 0x040a, "LOGICAL UNIT NOT ACCESSIBLE, ASYMMETRIC ACCESS STATE TRANSITION";
    TARGET_PORT_IN_STANDBY_STATE = 0x040b, "LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN STANDBY STATE";
    TARGET_PORT_IN_UNAVAILABLE_STATE = 0x040c, "LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN UNAVAILABLE STATE";
    SANITIZE_IN_PROGRESS = 0x041b, "LOGICAL UNIT NOT READY, SANITIZE IN PROGRESS";
    LOGICAL_UNIT_COMMUNICATION_FAILURE = 0x0800, "LOGICAL UNIT COMMUNICATION FAILURE";
    WRITE_ERROR = 0x0c00, "WRITE ERROR";
    UNEXPECTED_UNSOLICITED_DATA = 0x0c0c, "WRITE ERROR - UNEXPECTED UNSOLICITED DATA";
    NOT_ENOUGH_UNSOLICITED_DATA = 0x0c0d, "WRITE ERROR - NOT ENOUGH UNSOLICITED DATA";
    THIRD_PARTY_DEVICE_FAILURE = 0x0d01, "THIRD PARTY DEVICE FAILURE";
    COPY_TARGET_DEVICE_NOT_REACHABLE = 0x0d02, "COPY TARGET DEVICE NOT REACHABLE";
    INCORRECT_COPY_TARGET_DEVICE_TYPE = 0x0d03, "INCORRECT COPY TARGET DEVICE TYPE";
    INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT = 0x0e03, "INVALID FIELD IN COMMAND INFORMATION UNIT";
    LOGICAL_BLOCK_GUARD_CHECK_FAILED = 0x1001, "LOGICAL BLOCK GUARD CHECK FAILED";
    LOGICAL_BLOCK_APPLICATION_TAG_CHECK_FAILED = 0x1002, "LOGICAL BLOCK APPLICATION TAG CHECK FAILED";
    LOGICAL_BLOCK_REFERENCE_TAG_CHECK_FAILED = 0x1003, "LOGICAL BLOCK REFERENCE TAG CHECK FAILED";
    UNRECOVERED_READ_ERROR = 0x1100, "UNRECOVERED READ ERROR";
    PARAMETER_LIST_LENGTH_ERROR = 0x1a00, "PARAMETER LIST LENGTH ERROR";
    MISCOMPARE_DURING_VERIFY = 0x1d00, "MISCOMPARE DURING VERIFY OPERATION";
    INVALID_COMMAND_OPERATION_CODE = 0x2000, "INVALID COMMAND OPERATION CODE";
    LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE = 0x2100, "LOGICAL BLOCK ADDRESS OUT OF RANGE";
    INVALID_TOKEN_OPERATION = 0x2300, "INVALID TOKEN OPERATION, CAUSE NOT REPORTABLE";
    UNSUPPORTED_TOKEN_TYPE = 0x2301, "INVALID TOKEN OPERATION, UNSUPPORTED TOKEN TYPE";
    TOKEN_UNKNOWN = 0x2304, "INVALID TOKEN OPERATION, TOKEN UNKNOWN";
    TOKEN_CORRUPT = 0x2305, "INVALID TOKEN OPERATION, TOKEN CORRUPT";
    TOKEN_REVOKED = 0x2306, "INVALID TOKEN OPERATION, TOKEN REVOKED";
    TOKEN_EXPIRED = 0x2307, "INVALID TOKEN OPERATION, TOKEN EXPIRED";
    TOKEN_DELETED = 0x2309, "INVALID TOKEN OPERATION, TOKEN DELETED";
    INVALID_TOKEN_LENGTH = 0x230a, "INVALID TOKEN OPERATION, INVALID TOKEN LENGTH";
    INVALID_FIELD_IN_CDB = 0x2400, "INVALID FIELD IN CDB";
    LOGICAL_UNIT_NOT_SUPPORTED = 0x2500, "LOGICAL UNIT NOT SUPPORTED";
    INVALID_FIELD_IN_PARAMETER_LIST = 0x2600, "INVALID FIELD IN PARAMETER LIST";
    INVALID_RELEASE_OF_PERSISTENT_RESERVATION = 0x2604, "INVALID RELEASE OF PERSISTENT RESERVATION";
    TOO_MANY_TARGET_DESCRIPTORS = 0x2606, "TOO MANY TARGET DESCRIPTORS";
    UNSUPPORTED_TARGET_DESCRIPTOR_TYPE_CODE = 0x2607, "UNSUPPORTED TARGET DESCRIPTOR TYPE CODE";
    TOO_MANY_SEGMENT_DESCRIPTORS = 0x2608, "TOO MANY SEGMENT DESCRIPTORS";
    UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE = 0x2609, "UNSUPPORTED SEGMENT DESCRIPTOR TYPE CODE";
    UNEXPECTED_INEXACT_SEGMENT = 0x260a, "UNEXPECTED INEXACT SEGMENT";
    INLINE_DATA_LENGTH_EXCEEDED = 0x260b, "INLINE DATA LENGTH EXCEEDED";
    WRITE_PROTECTED = 0x2700, "WRITE PROTECTED";
    HARDWARE_WRITE_PROTECTED = 0x2701, "HARDWARE WRITE PROTECTED";
    SOFTWARE_WRITE_PROTECTED = 0x2702, "LOGICAL UNIT SOFTWARE WRITE PROTECTED";
    SPACE_ALLOCATION_FAILED_WRITE_PROTECT = 0x2707, "SPACE ALLOCATION FAILED WRITE PROTECT";
    MEDIUM_MAY_HAVE_CHANGED = 0x2800, "NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED";
    POWER_ON_OR_RESET = 0x2900, "POWER ON, RESET, OR BUS DEVICE RESET OCCURRED";
    POWER_ON = 0x2901, "POWER ON OCCURRED";
    SCSI_BUS_RESET = 0x2902, "SCSI BUS RESET OCCURRED";
    BUS_DEVICE_RESET = 0x2903, "BUS DEVICE RESET FUNCTION OCCURRED";
    I_T_NEXUS_LOSS = 0x2907, "I_T NEXUS LOSS OCCURRED";
    MODE_PARAMETERS_CHANGED = 0x2a01, "MODE PARAMETERS CHANGED";
    LOG_PARAMETERS_CHANGED = 0x2a02, "LOG PARAMETERS CHANGED";
    RESERVATIONS_PREEMPTED = 0x2a03, "RESERVATIONS PREEMPTED";
    RESERVATIONS_RELEASED = 0x2a04, "RESERVATIONS RELEASED";
    REGISTRATIONS_PREEMPTED = 0x2a05, "REGISTRATIONS PREEMPTED";
    ASYMMETRIC_ACCESS_STATE_CHANGED = 0x2a06, "ASYMMETRIC ACCESS STATE CHANGED";
    CAPACITY_DATA_HAS_CHANGED = 0x2a09, "CAPACITY DATA HAS CHANGED";
    TIMESTAMP_CHANGED = 0x2a10, "TIMESTAMP CHANGED";
    COMMANDS_CLEARED_BY_ANOTHER_INITIATOR = 0x2f00, "COMMANDS CLEARED BY ANOTHER INITIATOR";
    FORMAT_COMMAND_FAILED = 0x3101, "FORMAT COMMAND FAILED";
    SANITIZE_COMMAND_FAILED = 0x3103, "SANITIZE COMMAND FAILED";
    THIN_PROVISIONING_SOFT_THRESHOLD_REACHED = 0x3807, "THIN PROVISIONING SOFT THRESHOLD REACHED";
    SAVING_PARAMETERS_NOT_SUPPORTED = 0x3900, "SAVING PARAMETERS NOT SUPPORTED";
    MEDIUM_NOT_PRESENT = 0x3a00, "MEDIUM NOT PRESENT";
    MICROCODE_HAS_BEEN_CHANGED = 0x3f01, "MICROCODE HAS BEEN CHANGED";
    INQUIRY_DATA_HAS_CHANGED = 0x3f03, "INQUIRY DATA HAS CHANGED";
    REPORTED_LUNS_DATA_HAS_CHANGED = 0x3f0e, "REPORTED LUNS DATA HAS CHANGED";
    INTERNAL_TARGET_FAILURE = 0x4400, "INTERNAL TARGET FAILURE";
    SOME_COMMANDS_CLEARED_BY_ISCSI_PROTOCOL_EVENT = 0x477f, "SOME COMMANDS CLEARED BY ISCSI PROTOCOL EVENT";
    INVALID_MESSAGE_ERROR = 0x4900, "INVALID MESSAGE ERROR";
    OVERLAPPED_COMMANDS_ATTEMPTED = 0x4e00, "OVERLAPPED COMMANDS ATTEMPTED";
    MEDIUM_REMOVAL_PREVENTED = 0x5302, "MEDIUM REMOVAL PREVENTED";
    INSUFFICIENT_RESOURCES = 0x5503, "INSUFFICIENT RESOURCES";
    INSUFFICIENT_REGISTRATION_RESOURCES = 0x5504, "INSUFFICIENT REGISTRATION RESOURCES";
    INSUFFICIENT_RESOURCES_TO_CREATE_ROD_TOKEN = 0x550d, "INSUFFICIENT RESOURCES TO CREATE ROD TOKEN";
    FAILURE_PREDICTION_THRESHOLD_EXCEEDED_FALSE = 0x5dff, "FAILURE PREDICTION THRESHOLD EXCEEDED (FALSE)";
    SET_TARGET_PORT_GROUPS_COMMAND_FAILED = 0x670a, "SET TARGET PORT GROUPS COMMAND FAILED";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_at_their_own_number() {
        for (number, (key, _)) in KEYS.iter().enumerate() {
            assert_eq!(usize::from(key.code()), number);
        }
    }

    #[test]
    fn codes_are_listed_once_and_in_order() {
        assert!(NAMES.windows(2).all(|pair| pair[0].0.code() < pair[1].0.code()));
    }
}
