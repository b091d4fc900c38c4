//! How a running iSCSI target is asked and told things: a Unix socket, and what is said over it.
//!
//! ```text
//!   iscsictl ── ask ──> Request ── a line of JSON ──> Service ──> the target's handler
//!            <── Answer ── a line of JSON ──────────────────────────────┘
//! ```
//!
//! In: a path, and a handler that makes an [`Answer`] of a [`Request`]. Out: a socket at that path, for its owner and root alone, as long as the
//! [`Service`] lives. This crate knows neither targets nor sessions: the handler does.
//!
//! What it guarantees:
//!
//! - Nobody but the owner of the process and root is heard: the socket has mode 0600 from the moment at which it can be found, and the system says who is at its other end.
//! - Whatever a client sends costs an error line at most: a request has at most [`REQUEST_BYTES_MAX`] bytes and [`REQUEST_TIME`] to come, an answer has as long to be
//!   taken, and at most [`CLIENTS_MAX`] clients are there at once.
//! - Requests are carried out one after another, so that two clients never change things at once; each reads its own answers alone.
//! - A socket that a process has left when it was killed is replaced; one that is listened on is not.

#![forbid(unsafe_code)]

mod adapter;
mod ask;
mod line;
mod message;
mod place;
mod service;

pub use adapter::{AdapterCounters, FilterCounters, Frames, InterfaceCounters, PortCounters};
pub use ask::{ANSWER_TIME, AskError, ask};
pub use message::{Answer, Block, Connection, KeyValues, Problem, Request, Session, Status, TargetStatus, Targets};
pub use place::{PlaceError, default_path};
pub use service::{CLIENTS_MAX, REQUEST_TIME, Service};

/// Most bytes of a request, its line's end included.
pub const REQUEST_BYTES_MAX: usize = 64 << 10;

/// Most bytes of an answer: those of all sessions that a target can have.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;
