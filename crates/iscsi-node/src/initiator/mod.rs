//! The initiator's pump: one session, a port with a login or a session on it.
//!
//! In: requests, readiness, time. Out: PDUs through the port, events. See [`InitiatorNode`].

mod escalation;
mod event;
mod management;
mod node;
mod pump;
mod request;
mod session;
mod tasks;

pub use escalation::Escalation;
pub use event::{Event, Outcome};
pub use node::InitiatorNode;
pub use request::{Completion, Request, Segments};
