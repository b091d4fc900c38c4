//! The initiator's end of a session: login, and the full feature phase.
//!
//! ```text
//!   submit, manage_task, ping,          ┌──────────────── Session ────────────────┐
//!   send_targets, logout ──────────────>│ requests by tag ──> outbox              │──> poll_transmit ──> Pdu
//!                                       │ numbering  ^        in CmdSN order,     │
//!   Event <── poll_event <──────────────│────────────┴─ receive  writes cut lazily│<── handle_pdu <──── Pdu
//!   Instant <── poll_timeout <──────────│ a Connection each: outbox, timers, state│<── handle_timeout
//!                                       └─────────────────────────────────────────┘
//! ```
//!
//! In: what the owner wants, PDUs from the target, and the time. Out: PDUs for the target, events, and the time of the next
//! look at the clock. The standard is RFC 7143, sections 4.2, 7, 8 and 11, at all error recovery levels.
//!
//! Guarantees, whatever the target sends:
//!
//! - Every tag comes back in exactly one event that ends its request, at the latest with the session.
//! - Data that is handed out lies within the command's expected length, and comes once, and in order where nothing else was agreed upon.
//! - No residual claims more data than came.
//! - Memory is bounded by what the owner has asked for, MaxOutstandingR2T, and 1 MiB for an answer in text.
//! - What is lost at level 1 is asked for a bounded number of times, and what waits for it is bounded.
//! - A rule that is broken ends the session, with the rule's name: [`CloseReason::Violation`](crate::CloseReason::Violation).

mod allegiance;
mod async_message;
mod cleanup;
mod command;
mod connection;
mod coverage;
mod event;
mod login;
mod logout;
mod numbering;
mod outbox;
mod receive;
mod recovery;
mod reject;
mod repetition;
mod retry;
mod session;
mod snack;
mod state;
mod task;
mod task_management;
mod text;
mod timers;
mod transfer;
mod transmit;

pub use command::{Command, Logout, TaskManagement, TaskResult, Transfer};
pub use event::Event;
pub use login::{Login, LoginConfig, LoginEvent};
pub use receive::split_sense;
pub use session::{Session, SessionConfig};

#[cfg(test)]
mod tests;
