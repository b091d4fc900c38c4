//! Random reads and writes of the memory store through a queue, from one and from two threads.

use block_store::{BlockStore, IoId, MemoryStore, StoreQueue};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use scsi_block::io::{BlockIo, Extent, Geometry};
use std::hint::black_box;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

const BLOCK_BYTES: u64 = 4096;
const DISK_BLOCKS: u64 = (1 << 30) / BLOCK_BYTES;
const QUEUE_DEPTH: u64 = 32;

#[derive(Clone, Copy, Debug)]
enum Direction {
    Read,
    Write,
}

/// xorshift: cheap beside what is measured.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn request(direction: Direction, random: &mut Random, data: &Bytes) -> BlockIo {
    let blocks = data.len() as u64 / BLOCK_BYTES;
    let lba = random.below(DISK_BLOCKS / blocks) * blocks;
    match direction {
        Direction::Read => BlockIo::Read(Extent { lba, blocks }),
        Direction::Write => BlockIo::Write { lba, data: [data.clone()].into_iter().collect(), durable: false },
    }
}

/// `count` requests, `QUEUE_DEPTH` at a time, whose results live as long as a batch.
fn run(store: &Arc<MemoryStore>, direction: Direction, data: &Bytes, count: u64, seed: u64) {
    let mut queue: Box<dyn StoreQueue> = store.clone().open_queue(Waker::noop().clone());
    let mut random = Random(seed);
    let mut results = Vec::new();
    for batch in 0..count.div_ceil(QUEUE_DEPTH) {
        for id in 0..QUEUE_DEPTH.min(count - batch * QUEUE_DEPTH) {
            queue.submit(IoId(id), request(direction, &mut random, data));
        }
        results.extend(std::iter::from_fn(|| queue.poll()));
        black_box(&results);
        results.clear();
    }
}

fn timed(store: &Arc<MemoryStore>, direction: Direction, data: &Bytes, count: u64, threads: u64) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let share = count / threads + u64::from(thread < count % threads);
            scope.spawn(move || run(store, direction, data, share, 0x9e37_79b9 + thread));
        }
    });
    start.elapsed()
}

/// What the copy alone costs: as many bytes from as many places, into buffers that are reused.
fn bench_copy(c: &mut Criterion) {
    let disk = vec![0x5a; (DISK_BLOCKS * BLOCK_BYTES) as usize];
    for length in [4 << 10, 64 << 10] {
        let mut buffers = vec![vec![0; length]; QUEUE_DEPTH as usize];
        let mut random = Random(0x9e37_79b9);
        let mut group = c.benchmark_group(format!("Copy {} KiB", length >> 10));
        group.throughput(Throughput::Bytes(length as u64));
        let mut next = 0;
        group.bench_function("threads/1", |b| {
            b.iter(|| {
                let place = random.below((disk.len() / length) as u64) as usize * length;
                buffers[next].copy_from_slice(&disk[place..][..length]);
                next = (next + 1) % buffers.len();
            });
        });
    }
}

fn bench(c: &mut Criterion) {
    let store = Arc::new(MemoryStore::new(Geometry { block_size: 4096, blocks: DISK_BLOCKS }));
    let chunk = Bytes::from(vec![0x5a; 64 << 10]);
    let mut queue = store.clone().open_queue(Waker::noop().clone());
    for lba in (0..DISK_BLOCKS).step_by(16) {
        let data = [chunk.clone()].into_iter().collect();
        queue.submit(IoId(0), BlockIo::Write { lba, data, durable: false });
        queue.poll();
    }
    for direction in [Direction::Read, Direction::Write] {
        for length in [4 << 10, 64 << 10] {
            let data = chunk.slice(..length);
            let mut group = c.benchmark_group(format!("{direction:?} {} KiB", length >> 10));
            group.throughput(Throughput::Bytes(length as u64));
            for threads in [1, 2] {
                group.bench_with_input(BenchmarkId::new("threads", threads), &threads, |b, &threads| {
                    b.iter_custom(|count| timed(&store, direction, &data, count, threads));
                });
            }
        }
    }
}

criterion_group! {
    name = memory;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2)).sample_size(20);
    targets = bench_copy, bench
}
criterion_main!(memory);
