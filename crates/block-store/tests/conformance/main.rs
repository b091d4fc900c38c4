//! One suite for every store: whatever the medium, a store behaves like an array of blocks.

mod atomic;
mod file;
mod harness;
mod model;
mod succession;

use block_store::{BlockStore, FaultStore, MemoryStore};
use scsi_block::io::{BlockIo, Extent, Geometry, IoOutput};
use std::sync::Arc;

fn memory(geometry: Geometry) -> Arc<dyn BlockStore> {
    Arc::new(MemoryStore::new(geometry))
}

#[test]
fn memory_is_an_array_of_blocks() {
    model::run_cases(memory, model::ALL, 300);
}

/// A store that grows under its queue: the new blocks are zeros, the old ones stay, and it never becomes smaller.
fn grows(store: Arc<dyn BlockStore>) {
    let mut driver = harness::Driver::new(&store);
    let blocks = store.geometry().blocks;
    let data = || [vec![7; 512].into()].into_iter().collect();
    assert_eq!(driver.run(BlockIo::Write { lba: blocks - 1, data: data(), durable: false }), Ok(IoOutput::Done));
    store.grow(2 * blocks).unwrap();
    assert_eq!(store.geometry().blocks, 2 * blocks);
    let read = driver.run(BlockIo::Read(Extent { lba: blocks - 1, blocks: 2 }));
    assert_eq!(read, Ok(IoOutput::Data([[7; 512], [0; 512]].concat().into())));
    assert_eq!(driver.run(BlockIo::Write { lba: 2 * blocks - 1, data: data(), durable: false }), Ok(IoOutput::Done));
    for wrong in [blocks, 0, u64::MAX] {
        assert!(store.grow(wrong).is_err(), "{wrong}");
    }
    assert_eq!(store.geometry().blocks, 2 * blocks);
}

#[test]
fn memory_grows() {
    grows(memory(Geometry { block_size: 512, blocks: 100 }));
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
