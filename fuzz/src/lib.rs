//! What a fuzzer does with the code that reads what a peer sends: each target is a function of bytes that panics if something
//! does not hold.
//!
//! ```text
//!  libFuzzer ── fuzz_targets/NAME.rs ──┐
//!                                      ├──> NAME(bytes)
//!  cargo test ─ corpus/NAME/* ─────────┘
//! ```
//!
//! `fuzz/corpus/NAME` holds the seeds, which `fuzz/seeds.py` cuts from the captures in `tests/captures`, and every input that has
//! found something; those of `operations` were drawn at random, and those of `t5_wire` are the vectors of
//! `crates/t5-hal/tests/golden.rs`, those of `program` the compiled ones of `policy`, those of
//! `t5_guest` a few steps of each kind, those of `fio_job` the paper's file and one of all options and faults. They are replayed by `cargo test` in this folder, without a fuzzer.

#![forbid(unsafe_code)]

mod chiscsi_config;
mod fio_job;
mod framer;
mod initiator;
mod input;
mod operations;
mod pdu;
mod policy;
mod t5_guest;
mod t5_wire;
mod target;
mod text;

pub use chiscsi_config::chiscsi_config;
pub use fio_job::fio_job;
pub use framer::framer;
pub use initiator::initiator;
pub use operations::operations;
pub use pdu::pdu;
pub use policy::{policy, program};
pub use t5_guest::t5_guest;
pub use t5_wire::t5_wire;
pub use target::target;
pub use text::text;

/// A list of commands to a small device: the first byte of each says who, where and what kind, then come a CDB and its data.
pub fn cdb(input: &[u8]) {
    scsi_block::fuzzing::command_list(input);
}

/// Something that is done with bytes, and panics if something does not hold.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 13] = [
    ("framer", framer),
    ("pdu", pdu),
    ("text", text),
    ("target", target),
    ("initiator", initiator),
    ("operations", operations),
    ("cdb", cdb),
    ("policy", policy),
    ("program", program),
    ("t5_guest", t5_guest),
    ("t5_wire", t5_wire),
    ("fio_job", fio_job),
    ("chiscsi_config", chiscsi_config),
];
