//! What is asked of a logical unit, and what comes back.

use bytes::Bytes;
use iscsi_pdu::{Residual, TaskAttribute};
use iscsi_session::initiator::{Command, Transfer};
use scsi_block::LogicalUnitNumber;
pub use scsi_block::Segments;
use scsi_block::cdb::Cdb;
use smallvec::SmallVec;

/// A SCSI command for one logical unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The logical unit.
    pub lun: LogicalUnitNumber,
    /// The CDB: 6 to 260 bytes.
    pub cdb: SmallVec<[u8; 16]>,
    /// How it is ordered among the commands of the session to the same unit.
    pub attribute: TaskAttribute,
    /// Which of SIMPLE commands should go first (SAM-5 clause 8.7): 1, the first, to 15; 0 says nothing. It is sent where
    /// iSCSIProtocolLevel is 2.
    pub priority: u8,
    /// The data that moves.
    pub transfer: Transfer,
}

impl Request {
    /// A SIMPLE command with a CDB that was built.
    #[must_use]
    pub fn new(lun: LogicalUnitNumber, cdb: &Cdb, transfer: Transfer) -> Self {
        Self { lun, cdb: SmallVec::from_slice(cdb.as_bytes()), attribute: TaskAttribute::Simple, priority: 0, transfer }
    }

    /// The same with another task attribute.
    #[must_use]
    pub fn with_attribute(self, attribute: TaskAttribute) -> Self {
        Self { attribute, ..self }
    }

    /// The same with another priority: 1, the first, to 15; 0 says nothing.
    #[must_use]
    pub fn with_priority(self, priority: u8) -> Self {
        Self { priority, ..self }
    }

    /// Bytes that may be read.
    pub(super) fn read_bytes(&self) -> u32 {
        match &self.transfer {
            Transfer::Read(read) | Transfer::Bidirectional { read, .. } => *read,
            Transfer::None | Transfer::Write(_) => 0,
        }
    }

    pub(super) fn into_command(self) -> Command {
        let mut cdb = [0; 16];
        let short = self.cdb.len().min(16);
        cdb[..short].copy_from_slice(&self.cdb[..short]);
        Command {
            lun: iscsi_pdu::LunField(self.lun.to_wire()),
            cdb,
            extended_cdb: if self.cdb.len() > 16 { self.cdb.as_slice().into() } else { Box::default() },
            attribute: self.attribute,
            priority: self.priority,
            data: self.transfer,
        }
    }
}

/// How a SCSI command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// SCSI status (SAM-5 clause 5.3.1).
    pub status: u8,
    /// What the target adds to the status (SAM-5 clause 5.3.2); 0 says nothing, as always where iSCSIProtocolLevel is below 2.
    pub status_qualifier: u16,
    /// Sense data; there is some with CHECK CONDITION.
    pub sense: Bytes,
    /// Difference between what was expected and what the command asked for.
    pub residual: Residual,
    /// What was read.
    pub data: Segments,
}
