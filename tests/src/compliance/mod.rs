//! Which rules of RFC 7143 the code meets, where, and which tests prove it.
//!
//! In: the lists of rules, one a chapter, in `tests/compliance/rfc7143`, and the sources of the workspace, whose comments
//! name rules by their ids. Out: what does not hold together ([`faults`]), figures that may only improve ([`Baseline`]),
//! and the page `docs/compliance.md` ([`page`]).
//!
//! ```text
//!  lists ────────> Rules ──────┐
//!                              ├──> faults, Baseline, page
//!  sources ──────> Citations ──┘
//! ```

mod baseline;
mod check;
mod page;
mod rules;
mod scan;

use std::path::PathBuf;

pub use baseline::{Baseline, Count};
pub use check::faults;
pub use page::page;
pub use rules::{Chapter, Level, Rule, Rules, Section, Side};
pub use scan::{Citations, Place};

/// The folder of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Where the generated page stands.
#[must_use]
pub fn page_path() -> PathBuf {
    workspace().join("docs/compliance.md")
}
