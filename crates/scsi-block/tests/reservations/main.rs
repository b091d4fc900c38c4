//! Persistent reservations as initiators see them.

mod bench;
mod kept;
mod model;
mod table;

pub(crate) use bench::*;
