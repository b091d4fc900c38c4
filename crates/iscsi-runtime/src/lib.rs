//! The iSCSI nodes in the real world: sockets, clocks, threads. [`Server`] and [`Client`] are for people who embed us.
//!
//! ```text
//!   kernel          this crate                         iscsi-node             block-store
//!  ┌───────┐  epoll ┌──────────────────────────┐      ┌─────────────┐        ┌────────────┐
//!  │sockets│ <────> │ Server: one loop a core  │ <──> │ TargetNode  │ <────> │ StoreQueue │
//!  │       │        │ Client: one loop a thread│ <──> │InitiatorNode│        └────────────┘
//!  └───────┘        └──────────────────────────┘      └─────────────┘
//! ```
//!
//! Guarantees:
//!
//! - A session lives and dies on one core; cores meet only at logins, at ends of sessions, and inside the disks.
//! - Each turn of a loop reads all that has come and writes once to each connection; nothing is done for idle ones.
//! - Of two sessions with the same name, the second begins only after the first and all its block I/O have ended.
//! - Logical units come, go and change their size ([`Server::add_lun`]) while sessions use them.
//! - A client replaces the connections that its session loses, and comes back after the session is lost if it is told to ([`Reconnection`]).
//! - [`Server::shutdown`] returns only after every store has been flushed.

#![deny(unsafe_code)]

mod capture;
mod client;
mod hash;
mod network;
mod server;
mod thread_waker;
pub mod url;

pub use client::{
    Client, ClientConfig, ClientError, CommandHandle, FirmwareLoop, INITIATOR_NAME, Next, Operation, Reconnection,
    RemoteDisk, SessionLoop, Workload, discover, run_workload,
};
pub use network::{AdapterBus, AdapterFunction, LoopbackFunction, NetworkState, PolicyError};
pub use server::{
    Change, ChangeError, Configuration, ConnectionState, DescribedDisk, Disk, DiskSource, Dropped, Effect, LunState,
    PortalGroup, PortalGroupState, ReloadError, Report, Server, ServerBuilder, ServerSetting, ServerState,
    SessionSelector, SessionState, ShutdownError, ShutdownNotice, StartError, Target, TargetSetting, TargetState,
};

pub use block_store::{OpenError, StoreKind, StoreSpec};
pub use iscsi_node::initiator::{Completion, Escalation, Outcome, Request};
pub use iscsi_node::target::{AccessOrder, AccessRule, Availability, Moved, PortalAddress, Redirect, Traffic};
pub use iscsi_pdu::{Cid, Isid, Tsih};
pub use iscsi_session::initiator::Transfer;
pub use iscsi_session::{Authentication, Credential, Limits, Parameters, Secret, SessionType, TargetRecord};
pub use scsi_block::{AccessState, UnitRight};
pub use t5_hal::driver::OffloadMode;
