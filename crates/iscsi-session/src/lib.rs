//! iSCSI sessions as pure state machines: PDUs in, PDUs and events out, for both ends.

#![forbid(unsafe_code)]

mod chap;
mod close;
mod credential;
mod discovery;
pub mod initiator;
mod keys;
mod login_failure;
#[cfg(test)]
mod login_tests;
mod login_text;
mod name;
mod negotiation;
mod outcome;
mod parameters;
mod security_keys;
pub mod target;
mod violation;

pub use chap::ChapAlgorithm;
pub use close::{BadPdu, CloseReason};
pub use credential::{
    Authentication, AuthenticationError, Credential, SECRET_BYTES_MAX, SECRET_BYTES_MIN, Secret, SecretError,
};
pub use discovery::{SendTargetsScope, TargetRecord};
pub use login_failure::LoginFailure;
pub use name::{NAME_BYTES_MAX, NameError, normalise_name};
pub use outcome::{LoginOutcome, SessionType};
pub use parameters::{Limits, Parameters};
pub use violation::{Answer, IscsiCondition, Violation};
