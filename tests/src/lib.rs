//! Tests that cross crates, and what they share with binaries.

#![forbid(unsafe_code)]

pub mod compliance;
pub mod relay;
pub mod simulator;
