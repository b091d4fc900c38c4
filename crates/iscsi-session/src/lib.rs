//! iSCSI sessions as pure state machines: PDUs in, PDUs and events out, for both ends.

#![forbid(unsafe_code)]

mod close;
mod discovery;
pub mod initiator;
mod outcome;
mod parameters;
pub mod target;
mod violation;

pub use close::{BadPdu, CloseReason};
pub use discovery::{SendTargetsScope, TargetRecord};
pub use outcome::{LoginOutcome, SessionType};
pub use parameters::{Limits, Parameters};
pub use violation::{Answer, IscsiCondition, Violation};
