//! What the adapter does of iSCSI: it cuts PDUs out of the stream, checks and inserts digests, and places payload.
//!
//! ```text
//!   stream ──> Layout::measure ──> examine ──> verdict: ISCSI_HDR, (ISCSI_DATA), RX_ISCSI_DDP
//!                                     └──> Pods::place ──> the computer's memory
//!   burst from a work request ──> Burst::cut ──> PDUs
//!   PDU from a work request ──> Outgoing::add_digests ──> stream
//! ```
//!
//! Nothing is kept here but the page pods: a PDU is looked at once all of it has come, and it is no longer than
//! [`PDU_BYTES_MAX`].

mod burst;
mod counters;
mod pods;
mod receive;
mod transmit;
mod wire_pdu;

pub use burst::Burst;
pub use counters::IscsiCounters;
pub use pods::{Pods, Target};
pub use receive::{Layout, Measured, PDU_BYTES_MAX, Settings, examine};
pub use transmit::{MalformedPdu, Outgoing};
pub use wire_pdu::WirePdu;
