//! Tests that cross crates.

#![forbid(unsafe_code)]

pub mod compliance;
pub mod relay;
