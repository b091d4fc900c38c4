//! Who an I_T nexus joins, by names that outlive it.

use super::transport_id::TransportId;

/// An initiator port and a target port: what a registration is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// The initiator port.
    pub initiator_port: TransportId,
    /// Relative identifier of the target port.
    pub target_port: u16,
}

/// The names of an I_T nexus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NexusName {
    /// Its two ends.
    pub path: Path,
    /// The TransportID of all ports of the same initiator, if the protocol has one.
    pub initiator_device: Option<TransportId>,
}

impl From<&str> for NexusName {
    /// A nexus through the first target port of an initiator port with this iSCSI name.
    fn from(initiator: &str) -> Self {
        Self {
            path: Path { initiator_port: TransportId::iscsi_port(initiator, [0; 6]), target_port: 1 },
            initiator_device: Some(TransportId::iscsi_device(initiator)),
        }
    }
}
