//! What the binaries share: command lines, credentials, output, copies, load.
//!
//! ```text
//!   iscsi-target ──> target ──────────────┐
//!   iscsi-initiator ──> initiator ─┬──> copy, compare ──> storage (file or disk)
//!                                  └──> bench ─────────> jobs on sessions
//!   experiment ──> experiment ─────────> bench
//!   --port t5-model ─> t5: a model of an adapter, for both ends
//!   cop ──> policy
//!   iscsictl ──> iscsictl ──> a socket ──> target::control
//! ```
//!
//! The binaries themselves hold no more than `main`. This is a library so that it can be tested; it is not one to build on:
//! that is `iscsi-runtime`.

#![forbid(unsafe_code)]

pub mod bench;
pub mod cable;
pub mod completion;
pub mod copy;
pub mod digest;
pub mod experiment;
pub mod failure;
pub mod figure;
pub mod file;
pub mod fio;
pub mod initiator;
pub mod iscsictl;
pub mod parse;
pub mod policy;
pub mod process;
pub mod secret;
pub mod show;
pub mod storage;
pub mod t5;
pub mod target;
pub mod zeros;
