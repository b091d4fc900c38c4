//! A deterministic simulation: a target, its stores, initiators and the links between them, in one thread, from one seed.
//!
//! ```text
//!   hosts ──> InitiatorNode ── port ── stream ══ link ══ stream ── port ── TargetNode ──> store
//!     │       or Bundle          │        │                         │          │            │
//!     │ asks, judges             │ watch  │ trouble         watch   │          │ owner      │ late, failing
//!     └──────────── oracle: what may stand in a block ──────────────┴──────────┴────────────┘
//! ```
//!
//! The code under test is what users run: both nodes, their sessions, the SCSI device, the software port; where a session has several
//! connections, the initiator's session alone, in a `bundle` whose owner does all that one may do about connections. The clock, the
//! bytes' way, the stores and the owners of the nodes are the world's. A seed draws the whole plan: who there is, what is negotiated, what
//! is asked, how slow all is, and which faults happen. Nothing else has a say, so a seed that fails fails again.
//!
//! What is looked at, from outside:
//!
//! - every request ends once, and not without a reason other than well;
//! - what is read was acknowledged last, or is on its way; what stands in the stores in the end, too;
//! - a write lands once, never after its end is known;
//! - status numbers have no gap on any connection, and nothing is acknowledged that has not come; command numbers are used once over all;
//! - nothing is sent beyond what was granted, negotiated or announced, nor on another connection than its command;
//! - tags are given once and not given back while something with them may come; queues keep their bounds;
//! - a session begins after the one of its name has ended, and is kept without connections for Time2Wait and Time2Retain, not longer;
//! - neither end ever finds that the other breaks a rule, and no session ends without a fault;
//! - once faults stop, everything ends.
//!
//! [`Bug`]s put in on purpose around the nodes show that it notices.

mod books;
mod bugs;
mod bundle;
mod calendar;
mod client;
mod commands;
mod connections;
mod host;
mod initiators;
mod link;
mod oracle;
mod pattern;
mod plan;
mod portal;
mod registry;
mod report;
mod session;
mod store;
mod tags;
mod targets;
mod trouble;
mod verdict;
mod wire;
mod world;

pub use bugs::Bug;
pub use plan::{CONNECTIONS_MAX, RECOVERY_LEVEL_MAX};
pub use report::{Failure, Run, Totals};

use iscsi_transport::Trace;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::World;

/// How a seed is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Requests of one host at most.
    pub requests_max: u32,
    /// Events after which a world that has not ended is called stuck.
    pub steps_max: u64,
    /// PDUs that are kept for the ladder.
    pub rungs_max: usize,
    /// ErrorRecoveryLevel of all sessions, up to [`RECOVERY_LEVEL_MAX`]; none lets the seed decide.
    pub level: Option<u8>,
    /// Connections of all normal sessions, up to [`CONNECTIONS_MAX`]; none lets the seed decide.
    pub connections: Option<u16>,
    /// A bug to put in.
    pub bug: Option<Bug>,
}

impl Default for Options {
    fn default() -> Self {
        Self { requests_max: 400, steps_max: 5_000_000, rungs_max: 60, level: None, connections: None, bug: None }
    }
}

/// Runs the world of a seed to its end.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Run {
    let trace = Trace::new(options.rungs_max);
    let mut world = World::new(seed, options, trace.clone());
    // A panic is a finding like others.
    let result = catch_unwind(AssertUnwindSafe(|| world.run(options.steps_max)));
    let result = result.unwrap_or_else(|panic| Err(format!("panicked: {}", message_of(&*panic))));
    let (ladder, totals) = (trace.to_string(), world.totals);
    let result = match result {
        Ok(()) => Ok(totals),
        Err(text) => {
            // What is half done may panic again while it is dropped.
            std::mem::forget(world);
            Err(Box::new(Failure { seed, text, ladder: ladder.clone(), totals }))
        }
    };
    Run { result, fingerprint: trace.fingerprint(), ladder }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}
