//! The initiator in the firmware (FOiSCSI): a driver asks for nodes, sessions and SCSI commands, and the adapter does the rest.
//!
//! ```text
//!   work requests ──> node      who logs in: name, ISID, CHAP
//!                 ──> session   a login and then iscsi-session, with its tasks
//!                      nexus    by which names a target knows it
//!                      framing  its PDUs in the adapter's TCP, with digests
//!   <── replies, data in the driver's memory
//! ```
//!
//! A session has one connection and no recovery: when that is lost, its tasks come back and the driver may log in again.

mod framing;
mod held;
mod nexus;
mod node;
mod outcome;
mod session;
mod task;

pub(crate) use framing::{close, open, take};
pub(crate) use node::{NODES_MAX, Node, iscsi_name};
pub(crate) use outcome::Output;
pub(crate) use session::{FirmwareSession, SessionSetup};
pub(crate) use task::Task;

use held::HeldBytes;
use slab::Slab;
use std::net::Ipv4Addr;

/// Sessions of the initiator in the firmware, of one function at a time.
pub const SESSIONS_MAX: usize = 64;
/// SCSI commands of one session at a time.
pub(crate) const TASKS_MAX: usize = 512;
/// Longest data of a SCSI command, in bytes.
pub(crate) const TRANSFER_BYTES_MAX: u32 = 1 << 20;

/// The initiator of one function.
#[derive(Debug, Default)]
pub(crate) struct Initiator {
    /// The address that its sessions have.
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) nodes: Slab<Node>,
    pub(crate) sessions: Slab<FirmwareSession>,
    /// Data of writes that they hold.
    pub(crate) held: HeldBytes,
    /// Connections that it has opened: their ports follow each other.
    pub(crate) opened: u16,
}
