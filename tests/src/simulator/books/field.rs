//! Where things stand in a header (RFC 7143 section 11).

use iscsi_pdu::{Header, Opcode};

pub(super) const TASK_TAG: usize = 16;
pub(super) const TRANSFER_TAG: usize = 20;
pub(super) const EXPECTED_LENGTH: usize = 20;
pub(super) const REFERENCED_TASK_TAG: usize = 20;
pub(super) const CMD_SN: usize = 24;
pub(super) const STAT_SN: usize = 24;
pub(super) const EXP_STAT_SN: usize = 28;
pub(super) const EXP_CMD_SN: usize = 28;
pub(super) const MAX_CMD_SN: usize = 32;
/// R2TSN too.
pub(super) const DATA_SN: usize = 36;
pub(super) const BUFFER_OFFSET: usize = 40;
pub(super) const DESIRED_LENGTH: usize = 44;

pub(super) fn word(header: &Header, offset: usize) -> u32 {
    let bytes = &header.0[offset..offset + 4];
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

pub(super) fn is_final(header: &Header) -> bool {
    header.0[1] & 0x80 != 0
}

/// RFC 7143 11.13: a Login Response with which the full feature phase begins.
pub(super) fn ends_login(header: &Header) -> bool {
    header.0[1] & 0x83 == 0x83 && header.0[36] == 0
}

/// RFC 7143 11.7.3: the S bit of a Data-In PDU.
pub(super) fn has_status(header: &Header) -> bool {
    header.0[1] & 0x01 != 0
}

/// RFC 7143 11.5.1: function 8.
pub(super) fn is_task_reassign(header: &Header) -> bool {
    header.0[1] & 0x7f == 8
}

/// Whether a PDU of a target has a status number of its own, if it has any (RFC 7143 sections 11.7.4, 11.8.3 and 11.19.3).
pub(super) fn takes_stat_sn(header: &Header) -> Option<bool> {
    match header.opcode() {
        Opcode::DataIn => has_status(header).then_some(true),
        Opcode::R2t => Some(false),
        Opcode::NopIn => Some(word(header, TASK_TAG) != u32::MAX),
        _ => Some(true),
    }
}
