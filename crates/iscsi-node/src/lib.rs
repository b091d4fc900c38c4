//! The pumps that join port, session and SCSI: an iSCSI target node and an initiator node, without I/O of their own.
//!
//! ```text
//!             ┌───────────────────────── TargetNode ─────────────────────────┐
//!  PduPort ──>│ Frame ─> Login / Session ─> Command ─> Nexus ─> Task ─> Io   │──> poll_io
//!  PduPort <──│ Frame <─ Session <──────── Outcome <── Nexus <── Task <─ Done│<── handle_io_done
//!             └──────────────────────────────────────────────────────────────┘
//! ```
//!
//! A node is the only code that sees a session and a SCSI device at once. It owns ports, asks them for tags, and carries
//! values between the layers; it opens no socket, reads no clock and blocks on nothing. One node serves one core: it is
//! not shared, and everything that crosses its edge is owned. Connections and sessions stand beside each other in it: a connection
//! names its session, and a session its connections.
//!
//! Guarantees:
//!
//! - Every block I/O that `poll_io` gives is answered by exactly one `handle_io_done`; a session is reported as ended, and its
//!   place can be taken by another, only after all its block I/O has come back. So no write of an old session lands after one of the new.
//! - A task management function or PREEMPT AND ABORT is answered once the block I/O of all tasks that it ended has come back, of
//!   whatever session.
//! - While its session goes on, an initiator's command is told to be lost only once the target has let go of it, so that whoever gives
//!   it again never has two.
//! - A peer that does not read holds at most [`target::DATA_IN_BYTES_MAX`] bytes of read data, beyond one command.
//! - A peer that breaks a rule ends no session but its own.

#![forbid(unsafe_code)]

pub mod initiator;
pub mod target;
