//! The initiator's pump: one session, a port with a login or a session on it.
//!
//! In: requests, readiness, time. Out: PDUs through the port, events. See [`InitiatorNode`].

mod escalation;
mod node;
mod request;

pub use escalation::Escalation;
pub use node::{Event, InitiatorNode, Outcome};
pub use request::{Completion, Request, Segments};
