//! The queues between a driver and its adapter. All of them are rings in the common memory; who reads one never writes it.

mod egress;
mod free_list;
mod ingress;

pub use egress::{DESCRIPTOR_BYTES, EgressQueue, WORK_REQUEST_BYTES_MAX};
pub use free_list::{FREE_LIST_ALIGNMENT, FreeList};
pub use ingress::IngressQueue;

/// Entries of a free list that are announced together.
pub const FREE_LIST_UNIT: usize = 8;
