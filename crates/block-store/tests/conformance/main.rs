//! One suite for every store: whatever the medium, a store behaves like an array of blocks.

mod atomic;
mod harness;
mod model;

use block_store::{BlockStore, MemoryStore};
use scsi_block::io::Geometry;
use std::sync::Arc;

fn memory(geometry: Geometry) -> Arc<dyn BlockStore> {
    Arc::new(MemoryStore::new(geometry))
}

mod memory_store {
    use super::*;

    #[test]
    fn is_an_array_of_blocks() {
        model::run_cases(memory, 200);
    }

    #[test]
    fn compare_and_write_loses_no_update() {
        atomic::counts_with_compare_and_write(memory);
    }

    #[test]
    fn compare_and_write_sees_no_half_write() {
        atomic::swaps_against_whole_writes(memory);
    }
}
