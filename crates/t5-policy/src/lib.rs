//! Offload policies: which connections an adapter takes, and how.
//!
//! ```text
//!   text ── Policy::parse ──> Policy ── compile ──> Program ── decide(Opening) ──> Decision
//!    <─────── Display ────────┘                       │  ^
//!                                             to_bytes v  │ from_bytes
//!                                                     file
//! ```
//!
//! A policy is a list of rules, one a line: `filter => settings`. The first whose filter matches decides; behind the last stands
//! `all => !offload`. The language is that of Chelsio's `cop`.
//!
//! Guarantees:
//!
//! - Text that is no policy gives every error with its line and column, and costs no more than its length.
//! - A printed policy reads back as the same policy.
//! - A program from a file, whoever wrote it, ends: each step leads to a later one or to a rule.
//!
//! ```
//! use t5_policy::{Bind, Opening, Policy};
//!
//! let policy = Policy::parse("dst port 3260 and vlan 7 => offload ddp bind 2\nany => offload !ddp  # the rest\n")?;
//! let program = policy.compile()?;
//! let opening = Opening::parse("popen 10.0.0.1:40000 10.0.0.2:3260 vlan 7")?;
//! let decision = program.decide(&opening);
//! assert_eq!((decision.rule, decision.settings.bind), (Some(1), Bind::Queue(2)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod compile;
mod error;
mod file;
mod filter;
mod lexer;
mod opening;
mod parse;
mod parse_settings;
mod print;
mod program;
mod settings;

pub use compile::STEPS_MAX;
pub use error::{CompileError, FileError, PolicyError, PolicyErrors};
pub use file::FILE_BYTES_MAX;
pub use filter::{Filter, NESTING_MAX, Network, Policy, Quantity, Relation, Rule, Side};
pub use opening::{NO_VLAN, OpenKind, Opening, OpeningError};
pub use parse::{ERRORS_MAX, TEXT_BYTES_MAX};
pub use program::{Decision, Program};
pub use settings::{Bind, CLASS_MAX, Congestion, QUEUE_MAX, Settings};
