//! What the owner of a session asks for, and what a SCSI command ends in.

use bytes::Bytes;
use iscsi_pdu::{Cid, InitiatorTaskTag, LunField, Residual, ScsiResponseCode, TaskAttribute, TaskManagementFunction};

/// A SCSI command (RFC 7143 section 11.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The logical unit.
    pub lun: LunField,
    /// The CDB, padded with zeros, or the first 16 bytes of a longer one.
    pub cdb: [u8; 16],
    /// The whole CDB if it is longer than 16 bytes, at most [`iscsi_pdu::ahs::CDB_LENGTH_MAX`]; otherwise empty.
    pub extended_cdb: Box<[u8]>,
    /// How the task is ordered among others.
    pub attribute: TaskAttribute,
    /// Which of SIMPLE tasks go first (RFC 7144; SAM-5 clause 8.7): 1, the first, to 15; 0 says nothing. It is sent where
    /// iSCSIProtocolLevel is 2.
    pub priority: u8,
    /// The data that moves.
    pub data: Transfer,
}

/// The data of a command; its length is the expected data transfer length (RFC 7143 section 11.3.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Transfer {
    /// None.
    #[default]
    None,
    /// At most so many bytes come.
    Read(u32),
    /// These bytes go, fewer than 2^32.
    Write(Bytes),
    /// Both at once.
    Bidirectional {
        /// The bytes that go, fewer than 2^32.
        write: Bytes,
        /// At most so many bytes come.
        read: u32,
    },
}

/// How a SCSI command ended (RFC 7143 section 11.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskResult {
    /// Whether the target could execute the command; if not, nothing else here means anything.
    pub response: ScsiResponseCode,
    /// SCSI status (SAM-5 clause 5.3.1).
    pub status: u8,
    /// What the target adds to the status (SAM-5 clause 5.3.2); 0 says nothing, as always where iSCSIProtocolLevel is below 2.
    pub status_qualifier: u16,
    /// Sense data. A target owes it with CHECK CONDITION, but not every one has it.
    pub sense: Bytes,
    /// Of a read, or of the write of a write or bidirectional command. An underflow is never more than the expected length,
    /// and that of a read never less than the bytes that have not come, whatever the target says.
    pub residual: Residual,
    /// Of the read of a bidirectional command, with the same guarantee.
    pub bidirectional_read_residual: Residual,
}

impl TaskResult {
    /// How many of `expected` bytes were moved, by a residual of this result.
    #[must_use]
    pub fn transferred_bytes(expected: u32, residual: Residual) -> u32 {
        match residual {
            Residual::Underflow(missing) => expected.saturating_sub(missing),
            Residual::None | Residual::Overflow(_) => expected,
        }
    }
}

/// A task management function request (RFC 7143 section 11.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskManagement {
    /// What is to be done.
    pub function: TaskManagementFunction,
    /// The logical unit, for functions about one. That of a command that is meant is known.
    pub lun: LunField,
    /// The SCSI command that is meant, for functions about one: ABORT TASK, TASK REASSIGN, QUERY TASK.
    pub referenced: Option<InitiatorTaskTag>,
}

/// What a logout ends (RFC 7143 section 11.14.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logout {
    /// The session with all its connections.
    Session,
    /// One connection; its tasks end with it.
    Connection(Cid),
    /// One connection; at error recovery level 2 its tasks go on elsewhere.
    ForRecovery(Cid),
}
