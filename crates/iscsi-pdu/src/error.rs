//! What is wrong with bytes that are no PDU.

use crate::Opcode;

/// A field of a PDU whose value means nothing. The peer that sent it is at fault; a target answers with
/// Reject, reason "Invalid PDU field" or "Protocol error" (RFC 7143 section 11.17.1).
// RFC 7143 11-3: a reserved value in a field that is defined is such an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pdu}: {field} at byte {offset} is {value:#x}: {expected}")]
pub struct DecodeError {
    /// The PDU.
    pub pdu: Opcode,
    /// The field's name in RFC 7143.
    pub field: &'static str,
    /// Offset of the field from the first byte of the header.
    pub offset: usize,
    /// What was there.
    pub value: u64,
    /// What may be there.
    pub expected: &'static str,
}
