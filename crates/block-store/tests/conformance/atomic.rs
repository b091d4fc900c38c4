//! COMPARE AND WRITE and ORWRITE from many threads.

use crate::harness::Driver;
use block_store::BlockStore;
use bytes::Bytes;
use scsi_block::io::{BlockIo, Extent, Geometry, IoError, IoOutput};
use std::sync::Arc;
use std::thread;

const GEOMETRY: Geometry = Geometry { block_size: 512, blocks: 1024 };
const THREADS: u8 = 4;

fn read(queue: &mut Driver, extent: Extent) -> Bytes {
    match queue.run(BlockIo::Read(extent)) {
        Ok(IoOutput::Data(data)) => data,
        other => panic!("{other:?}"),
    }
}

/// Counts up in a block: each thread reads, and tries to put one more there until nobody came between.
pub(crate) fn counts_with_compare_and_write(open: impl Fn(Geometry) -> Arc<dyn BlockStore>) {
    const ROUNDS: u64 = 200;
    let store = open(GEOMETRY);
    let extent = Extent { lba: 77, blocks: 1 };
    let count_up = |store: &Arc<dyn BlockStore>| {
        let mut queue = Driver::new(store);
        let mut counted = 0;
        while counted < ROUNDS {
            let old = read(&mut queue, extent);
            let mut new = old.to_vec();
            let count = u64::from_le_bytes(old[..8].try_into().unwrap());
            new[..8].copy_from_slice(&(count + 1).to_le_bytes());
            let data = [old, new.into()].into_iter().collect();
            match queue.run(BlockIo::CompareAndWrite { lba: extent.lba, data, durable: false }) {
                Ok(_) => counted += 1,
                Err(IoError::Miscompare { offset }) => assert!(offset < 8),
                Err(other) => panic!("{other}"),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| count_up(&store));
        }
    });
    let total = read(&mut Driver::new(&store), extent);
    assert_eq!(total[..8], (u64::from(THREADS) * ROUNDS).to_le_bytes());
}

/// One thread writes, others swap by COMPARE AND WRITE, over the borders of chunks, always all of a range with one
/// value. So a comparison meets one value all over, and if `reads_are_whole` a read does.
pub(crate) fn swaps_against_whole_writes(open: impl Fn(Geometry) -> Arc<dyn BlockStore>, reads_are_whole: bool) {
    const ROUNDS: u8 = 100;
    let store = open(GEOMETRY);
    // Blocks 128 and 256 begin chunks.
    let extent = Extent { lba: 120, blocks: 140 };
    let whole = |byte: u8| Bytes::from(vec![byte; extent.blocks as usize * 512]);
    let fight = |store: &Arc<dyn BlockStore>, thread: u8| {
        let mut queue = Driver::new(store);
        for round in 0..ROUNDS {
            let seen = read(&mut queue, extent);
            let is_whole = seen.iter().all(|&byte| byte == seen[0]);
            assert!(is_whole || !reads_are_whole, "a read of half a write");
            let new = whole(thread.wrapping_mul(61).wrapping_add(round));
            let (lba, durable) = (extent.lba, false);
            let io = if thread == 0 {
                BlockIo::Write { lba, data: [new].into_iter().collect(), durable }
            } else {
                let data = [whole(seen[0]), new].into_iter().collect();
                BlockIo::CompareAndWrite { lba, data, durable }
            };
            match queue.run(io) {
                Ok(_) => {}
                Err(IoError::Miscompare { offset }) => assert_eq!(offset, 0, "half a write"),
                Err(other) => panic!("{other}"),
            }
        }
    };
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, fight) = (&store, &fight);
            scope.spawn(move || fight(store, thread));
        }
    });
}

/// Each thread sets bits of its own in the same blocks, all at once: in the end all are set.
pub(crate) fn or_write_loses_no_bit(open: impl Fn(Geometry) -> Arc<dyn BlockStore>) {
    let store = open(GEOMETRY);
    // Block 128 begins a chunk.
    let extent = Extent { lba: 127, blocks: 2 };
    let set = |store: &Arc<dyn BlockStore>, thread: usize| {
        let mut queue = Driver::new(store);
        let request = |at: usize, bit: u32| {
            let mut data = vec![0; 1024];
            data[at] = 1 << bit;
            BlockIo::OrWrite { lba: extent.lba, data: [Bytes::from(data)].into_iter().collect(), durable: false }
        };
        let places = (thread..1024).step_by(THREADS.into());
        let requests: Vec<_> = places.flat_map(|at| (0..8).map(move |bit| request(at, bit))).collect();
        assert!(queue.run_all(requests).iter().all(|end| *end == Ok(IoOutput::Done)));
    };
    thread::scope(|scope| {
        for thread in 0..THREADS.into() {
            let (store, set) = (&store, &set);
            scope.spawn(move || set(store, thread));
        }
    });
    assert!(read(&mut Driver::new(&store), extent).iter().all(|byte| *byte == 0xff));
}
