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
//! A token (ODX) is a name for blocks as they are: POPULATE TOKEN makes it, WRITE USING TOKEN copies from it as above, and a write to one of
//! the blocks ends it (`Tokens`), so that it never stands for others.
//!
//! Units that keep protection information take no part: blocks would have to be carried with their tuples.

mod descriptors;
mod job;
mod list;
mod management;
mod page;
mod reports;
mod results;
mod token;
mod token_lists;
mod tokens;

pub use descriptors::{Cscd, Segment};
pub(crate) use job::{Access, CopyJob, Due, Piece, Side, TokenUse, refused};
pub use list::CopyList;
pub use management::{AllRodTokens, RodManagementToken};
pub use page::{ThirdPartyCopy, TokenLimits};
pub use reports::{CopyState, CopyStatus, FailureDetails, OperatingParameters};
pub(crate) use results::{Copies, Operation, Origin};
pub(crate) use token::Claim;
pub use token::{RodToken, TokenSecret};
pub use token_lists::{PopulateTokenList, RodTokenInformation, WriteUsingTokenList};
pub(crate) use tokens::Tokens;

/// CSCD descriptors that one EXTENDED COPY may have.
pub const CSCDS_MAX: usize = 16;
/// Segment descriptors that one EXTENDED COPY may have.
pub const SEGMENTS_MAX: usize = 64;
/// Copies that one unit manages at a time.
pub const COPIES_MAX: usize = 16;

/// Runs of blocks that one POPULATE TOKEN or WRITE USING TOKEN may have.
pub const RANGES_MAX: usize = 64;
/// Bytes that one token stands for, and that one WRITE USING TOKEN writes, at most.
pub const TOKEN_BYTES_MAX: u64 = 256 << 20;
/// Seconds for which a token may go unused, unless its list says otherwise.
pub const TOKEN_INACTIVITY_SECONDS: u32 = 60;
/// The most that a list may say.
pub const TOKEN_INACTIVITY_SECONDS_MAX: u32 = 600;

/// Bytes that one step of a copy reads and writes: what it holds in memory, and how long others wait for it.
const STEP_BYTES: u64 = 64 << 10;
/// Bytes that one step of zeros writes.
const ZEROS_STEP_BYTES: u64 = 4 << 20;
