//! iSCSI sessions as pure state machines: PDUs in, PDUs and events out, for both ends.

#![forbid(unsafe_code)]

pub mod initiator;
mod outcome;
mod parameters;
pub mod target;

pub use outcome::{LoginOutcome, SessionType};
pub use parameters::{Limits, Parameters};
