//! The initiator's pump: one session, and its connections, each a port with a login or the session on it.
//!
//! In: requests, readiness, time. Out: PDUs through the port, events. See [`InitiatorNode`].

mod connection;
mod connections;
mod escalation;
mod event;
mod management;
mod node;
mod pump;
mod recovery;
mod request;
mod session;
mod tasks;

pub use connection::ConnectionPlan;
pub use escalation::Escalation;
pub use event::{ConnectionEnd, Event, Outcome};
pub use node::InitiatorNode;
pub use request::{Completion, Request, Segments};
