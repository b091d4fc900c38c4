//! Commands about the medium as initiators see them.

mod bench;
mod commands;
mod wipes;

pub(crate) use bench::*;
