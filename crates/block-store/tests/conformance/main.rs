//! One suite for every store: whatever the medium, a store behaves like an array of blocks.

mod atomic;
mod file;
mod harness;
mod model;

use block_store::{BlockStore, FaultStore, MemoryStore};
use scsi_block::io::Geometry;
use std::sync::Arc;

fn memory(geometry: Geometry) -> Arc<dyn BlockStore> {
    Arc::new(MemoryStore::new(geometry))
}

#[test]
fn memory_is_an_array_of_blocks() {
    model::run_cases(memory, model::ALL, 300);
}

#[test]
fn memory_loses_no_update() {
    atomic::counts_with_compare_and_write(memory);
}

#[test]
fn memory_loses_no_bit() {
    atomic::or_write_loses_no_bit(memory);
}

#[test]
fn memory_shows_no_half_write() {
    atomic::swaps_against_whole_writes(memory, true);
}

#[test]
fn without_faults_a_fault_store_is_what_it_wraps() {
    model::run_cases(|geometry| Arc::new(FaultStore::new(memory(geometry), [])), model::PLAIN, 20);
}
