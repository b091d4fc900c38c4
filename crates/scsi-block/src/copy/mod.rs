//! Copies inside the target (SPC-5 5.18, 6.6): what an initiator sends for them, what it is told, and the work itself.
//!
//! ```text
//!  parameter list ---> CopyList ---> CopyJob ---> one BlockIo after another, of any unit of the device
//!                                       |
//!  RECEIVE COPY …  <------------------ Copies (what the unit remembers of each list identifier)
//! ```
//!
//! A copy is a task like any other: it asks for a read, then for a write of what was read, and holds one step's data in between. The
//! unit that the command was sent to is the copy manager; sources and destinations are found by their names among all units of the
//! device. Whether a unit may be read or written is asked before each step, in one place (`nexus/copying.rs`).
//!
//! Units that keep protection information take no part: blocks would have to be carried with their tuples.

mod descriptors;
mod job;
mod list;
mod reports;
mod results;

pub use descriptors::{Cscd, Segment};
pub(crate) use job::{Access, CopyJob, Due, Piece, Side, refused};
pub use list::CopyList;
pub use reports::{CopyState, CopyStatus, FailureDetails, OperatingParameters};
pub(crate) use results::{Copies, Operation, Origin};

/// CSCD descriptors that one EXTENDED COPY may have.
pub const CSCDS_MAX: usize = 16;
/// Segment descriptors that one EXTENDED COPY may have.
pub const SEGMENTS_MAX: usize = 64;
/// Copies that one unit manages at a time.
pub const COPIES_MAX: usize = 16;

/// Bytes that one step of a copy reads and writes: what it holds in memory, and how long others wait for it.
const STEP_BYTES: u64 = 256 << 10;
/// Bytes that one step of zeros writes.
const ZEROS_STEP_BYTES: u64 = 4 << 20;
