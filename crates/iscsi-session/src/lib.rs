//! iSCSI sessions as pure state machines: PDUs in, PDUs and events out, for both ends (RFC 7143).
//!
//! ```text
//!              initiator                                                target
//!  ┌─────────────────────────────────┐                   ┌─────────────────────────────────┐
//!  │ Login ──LoginOutcome──> Session │ <───── Pdu ─────> │ Session <──LoginOutcome── Login │
//!  └─────────────────────────────────┘                   └─────────────────────────────────┘
//!    commands in, events out                               events out, outcomes in
//! ```
//!
//! All four machines have one contract. `handle_*` takes what the world did (a PDU, a lost connection, the time) and returns nothing;
//! commands say what their owner wants. Every consequence is polled: `poll_transmit` for PDUs, `poll_event`, and `poll_timeout` for the
//! time of the next `handle_timeout`. After each call the owner polls until there is nothing more.
//!
//! Guarantees:
//!
//! - No I/O, clock, thread, lock or log: the time and randomness are arguments, so whatever happens can be made to happen again.
//! - Nothing that a peer sends makes a machine panic, work without end or hold memory without bound.
//! - A rule that a peer breaks is named by one [`Violation`], and what is done about it stands in one table.
//! - A machine that has come to its end stays there with its first reason.
//! - A session has as many connections as were agreed upon. From error recovery level 1 on what was lost comes again; at level 2 tasks
//!   outlive their connection, and the session its last one.
//! - Secrets are not printed, are compared in constant time, and are wiped from memory.
//!
//! Two ends that log in to each other:
//!
//! ```
//! use iscsi_pdu::{Cid, InitiatorTaskTag, Isid, Tsih};
//! use iscsi_session::{Authentication, Limits, SessionType, initiator, target};
//! use std::time::{Duration, Instant};
//!
//! let (now, timeout) = (Instant::now(), Duration::from_secs(15));
//! let config = initiator::LoginConfig {
//!     initiator_name: "iqn.2026-01.org.example:host".into(),
//!     initiator_alias: None,
//!     target_name: Some("iqn.2026-01.org.example:disk".into()),
//!     session_type: SessionType::Normal,
//!     isid: Isid([0x80, 0, 0, 1, 0, 0]),
//!     tsih: Tsih(0),
//!     cid: Cid(0),
//!     limits: Limits::default(),
//!     authentication: Authentication::None,
//!     timeout,
//! };
//! // 32 bytes of a good random number generator each.
//! let mut initiator = initiator::Login::new(config, InitiatorTaskTag(1), [7; 32], now);
//! let config = target::LoginConfig { limits: Limits::default(), timeout, window: 128 };
//! let mut target = target::Login::new(config, [8; 32], now);
//!
//! while let Some(request) = initiator.poll_transmit() {
//!     target.handle_pdu(now, request);
//!     while let Some(event) = target.poll_event() {
//!         match event {
//!             target::LoginEvent::Identify(_) => {
//!                 let (authentication, target_alias) = (Authentication::None, Some("a disk".into()));
//!                 let policy = target::LoginPolicy {
//!                     authentication,
//!                     target_alias,
//!                     portal_group_tag: 1,
//!                     limits: None,
//!                     window: None,
//!                 };
//!                 target.identify(target::Identification::Proceed(policy));
//!             }
//!             target::LoginEvent::Admit(_) => target.admit(Tsih(1)),
//!             target::LoginEvent::Complete(outcome) => assert!(!outcome.parameters.initial_r2t),
//!             target::LoginEvent::Closed(failure) => panic!("{failure}"),
//!         }
//!     }
//!     while let Some(response) = target.poll_transmit() {
//!         initiator.handle_pdu(now, response);
//!     }
//! }
//! assert!(matches!(initiator.poll_event(), Some(initiator::LoginEvent::Complete(_))));
//! ```

#![forbid(unsafe_code)]

mod chap;
#[cfg(test)]
mod chart_page;
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
mod round_trip;
mod security_keys;
pub mod target;
mod task_reporting;
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
pub use task_reporting::TaskReporting;
pub use violation::{Answer, IscsiCondition, Violation};
