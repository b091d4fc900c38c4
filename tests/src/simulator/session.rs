//! A session of a host, from the attempt to log in until nothing of it can land any more.

use super::link::Port;
use super::oracle::Write;
use iscsi_node::initiator::InitiatorNode;
use iscsi_pdu::Tsih;
use iscsi_transport::Digests;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) host: usize,
    /// None once the initiator's end is over.
    pub(crate) node: Option<InitiatorNode<Port>>,
    /// Its connections, the leading one first.
    pub(crate) links: Vec<usize>,
    /// What the target calls it, once it may begin.
    pub(crate) tsih: Option<Tsih>,
    /// The target has said that it has ended, with all its block I/O.
    pub(crate) has_ended: bool,
    /// ErrorRecoveryLevel, once the target has begun it.
    pub(crate) level: u8,
    /// What protects its PDUs, once it has begun.
    pub(crate) digests: Digests,
    /// There was a fault, or another session takes the place: it may end.
    pub(crate) is_troubled: bool,
    /// The host has logged out, or gone away.
    pub(crate) has_left: bool,
    /// When its timer rings.
    pub(crate) timer_due: Option<Duration>,
    /// Writes without an answer, which may land until it has ended at the target.
    pub(crate) unknown: Vec<Write>,
}
