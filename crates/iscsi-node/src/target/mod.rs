//! The target's pump: connections of one core, each a port with a login or a session, joined to SCSI target devices.
//!
//! In: ports, readiness, ends of block I/O, time. Out: block I/O, events. See [`TargetNode`].

mod access;
mod connection;
mod connections;
mod detached;
mod event;
mod flow;
mod management;
mod node;
mod portal;
mod pump;
mod session;
mod sessions;
mod snapshot;
mod tasks;
mod timers;

pub use access::{AccessList, AccessOrder, AccessRule, Ends, Entrance};
pub use detached::Detached;
pub use event::{ConnectionId, Event, IoRequest, StoreId};
pub use node::TargetNode;
pub use portal::{Availability, Moved, Portal, PortalAddress, Redirect, TargetConfig};
pub use snapshot::{ConnectionSnapshot, SessionSnapshot, Traffic};

/// Read data that one connection holds for its peer before it starts no further command, in bytes.
pub const DATA_IN_BYTES_MAX: usize = 32 << 20;

/// Write data that one connection has asked its peer for before it takes the data of no further command, in bytes.
pub const DATA_OUT_BYTES_MAX: usize = 32 << 20;
