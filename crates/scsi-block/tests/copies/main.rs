//! Copies inside the target, as initiators see them: units with a store of a few lines each, and what becomes of their blocks.

mod bench;
mod extended;
mod rights;
mod tokens;

pub(crate) use bench::*;
