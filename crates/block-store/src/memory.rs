//! Blocks in memory, shared by all cores; what is not written costs nothing.
//!
//! ```text
//!   byte address --> chunk of 64 KiB --> one of 1024 stripes: RwLock<HashMap<chunk number, Chunk>>
//! ```
//!
//! A read copies once, from the chunk into its queue's [`Arena`]; a write copies once, from the segments into the
//! chunk. What no write has touched is answered with shared zeros. A chunk goes when its last block is unmapped. The
//! medium's size, or the limit that it was made with, is the only bound on the memory: one that cannot be allocated ends
//! the process, as everywhere in Rust.

mod arena;
mod chunk;

use crate::immediate::ImmediateQueue;
use crate::range::{ByteRange, CHUNK_BYTES, Size};
use crate::segments::Cursor;
use crate::striped::{STRIPES, Striped, WriteGuards};
use crate::zeros::{first_nonzero, zeros};
use crate::{BlockStore, StoreQueue};
use arena::Arena;
use bytes::{BufMut, Bytes};
use chunk::{Chunk, ChunkHash};
use scsi_block::config::TRANSFER_BYTES_LIMIT;
use scsi_block::io::{BlockIo, Extent, Geometry, IoDone, IoError, IoOutput, LbaStatus, Space};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

/// The chunks of one stripe, by chunk number.
type Shard = HashMap<u64, Chunk, ChunkHash>;

/// A sparse medium in memory. It is empty when it is made, and gone when it is dropped.
///
/// Memory is taken 64 KiB at a time, where blocks are written, and given back when they are unmapped or written with
/// zeros by WRITE SAME; 64 KiB of locks come with the store, whatever its size. Every request ends inside `submit`.
/// A queue keeps up to 4 MiB of buffers for reads, from its first read on.
pub struct MemoryStore {
    size: Size,
    shards: Striped<Shard>,
    /// Chunks that there may be, and those that there are; not counted where there is no limit.
    limit: Option<(u64, AtomicU64)>,
}

impl MemoryStore {
    /// A medium of zeros.
    ///
    /// Panics if `geometry` is none that [`Geometry`] allows, or has 8 EiB or more.
    pub fn new(geometry: Geometry) -> Self {
        let hash = ChunkHash::random();
        Self { size: Size::new(geometry), shards: Striped::new(|| HashMap::with_hasher(hash)), limit: None }
    }

    /// A medium of zeros that takes at most `bytes_max` of memory for blocks, in whole chunks of 64 KiB: a write that needs more ends with
    /// [`IoError::NoSpace`] and stores nothing.
    ///
    /// Panics as [`MemoryStore::new`].
    pub fn with_limit(geometry: Geometry, bytes_max: u64) -> Self {
        Self { limit: Some((bytes_max / CHUNK_BYTES as u64, AtomicU64::new(0))), ..Self::new(geometry) }
    }

    /// Counts the chunks that a write is about to make, if there may be so many.
    fn admit(&self, shards: &WriteGuards<'_, Shard>, range: ByteRange) -> Result<(), IoError> {
        let Some((most, count)) = &self.limit else { return Ok(()) };
        let missing = range.chunks().filter(|chunk| !shards.get(*chunk).contains_key(chunk)).count() as u64;
        let admitted = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            count.checked_add(missing).filter(|count| count <= most)
        });
        admitted.map(drop).map_err(|_| IoError::NoSpace)
    }

    /// Memory that holds blocks now, in bytes: a multiple of 64 KiB.
    pub fn allocated_bytes(&self) -> u64 {
        let chunks: usize = self.shards.iter().map(|shard| shard.len()).sum();
        chunks as u64 * CHUNK_BYTES as u64
    }

    fn execute(&self, io: BlockIo, arena: &mut Arena) -> IoDone {
        let geometry = self.size.geometry();
        match io {
            BlockIo::Read(extent) => {
                let range = ByteRange::of_extent(geometry, extent);
                return Ok(IoOutput::Data(self.read(range, arena)));
            }
            BlockIo::Write { lba, data, .. } => {
                let range = ByteRange::of_data(geometry, lba, &data);
                let mut shards = self.shards.write(&range);
                self.admit(&shards, range)?;
                self.write(&mut shards, range, Cursor::new(&data));
            }
            BlockIo::Compare { lba, data } => {
                let range = ByteRange::of_data(geometry, lba, &data);
                let shards = self.shards.read(&range);
                compare(|chunk| shards.get(chunk).get(&chunk), range, &mut Cursor::new(&data))?;
            }
            BlockIo::CompareAndWrite { lba, data, .. } => {
                let range = ByteRange::of_halves(geometry, lba, &data);
                let mut shards = self.shards.write(&range);
                compare(|chunk| shards.get(chunk).get(&chunk), range, &mut Cursor::new(&data))?;
                self.admit(&shards, range)?;
                let mut second_half = Cursor::new(&data);
                second_half.skip(range.length());
                self.write(&mut shards, range, second_half);
            }
            BlockIo::WriteSame { extent, block, .. } | BlockIo::Wipe { extent, block } => {
                let range = ByteRange::of_extent(geometry, extent);
                match block.filter(|block| first_nonzero(block).is_some()) {
                    Some(block) => self.write_same(range, &block)?,
                    None => self.unmap(range),
                }
            }
            BlockIo::OrWrite { lba, data, .. } => {
                let range = ByteRange::of_data(geometry, lba, &data);
                let mut shards = self.shards.write(&range);
                self.admit(&shards, range)?;
                let mut data = Cursor::new(&data);
                for piece in range.pieces() {
                    let chunk = shards.of(piece.chunk).entry(piece.chunk).or_insert_with(Chunk::zeros);
                    chunk.or(&piece, geometry.block_size, &mut data);
                }
            }
            BlockIo::Prefetch(extent) => {
                ByteRange::of_extent(geometry, extent);
            }
            BlockIo::LbaStatus { extent, runs_max } => {
                ByteRange::of_extent(geometry, extent);
                return Ok(IoOutput::Status(self.status(extent, runs_max)));
            }
            BlockIo::Unmap(extents) => {
                for extent in extents {
                    self.unmap(ByteRange::of_extent(geometry, extent));
                }
            }
            // There is no place for records.
            BlockIo::Keep(_) => return Err(IoError::Write),
            BlockIo::Flush => {}
        }
        Ok(IoOutput::Done)
    }

    fn read(&self, range: ByteRange, arena: &mut Arena) -> Bytes {
        let shards = self.shards.read(&range);
        let found: SmallVec<[Option<&[u8]>; 2]> = range
            .pieces()
            .map(|piece| Some(&shards.get(piece.chunk).get(&piece.chunk)?.data()[piece.bytes()]))
            .collect();
        if found.iter().all(Option::is_none) {
            return zeros(range.length());
        }
        arena.collect(range.length(), |buffer| {
            for (piece, found) in range.pieces().zip(found) {
                match found {
                    Some(data) => buffer.extend_from_slice(data),
                    None => buffer.put_bytes(0, piece.length),
                }
            }
        })
    }

    fn write(&self, shards: &mut WriteGuards<'_, Shard>, range: ByteRange, mut data: Cursor<'_>) {
        for piece in range.pieces() {
            let chunk = shards.of(piece.chunk).entry(piece.chunk);
            chunk.or_insert_with(|| Chunk::for_write(&piece)).write(&piece, self.size.geometry().block_size, &mut data);
        }
    }

    /// Writes `block` all over the range.
    fn write_same(&self, range: ByteRange, block: &Bytes) -> Result<(), IoError> {
        assert_eq!(block.len(), self.size.geometry().block_size as usize, "WRITE SAME repeats one block");
        // A chunk may begin inside a block that has protection information.
        let pattern = Bytes::from(block.repeat(CHUNK_BYTES / block.len() + 2));
        let mut shards = self.shards.write(&range);
        self.admit(&shards, range)?;
        for piece in range.pieces() {
            let begins = piece.chunk * CHUNK_BYTES as u64 + piece.offset as u64 - range.start;
            let phase = (begins % block.len() as u64) as usize;
            let data = [pattern.slice(phase..phase + piece.length)];
            let chunk = shards.of(piece.chunk).entry(piece.chunk);
            chunk.or_insert_with(|| Chunk::for_write(&piece)).write(
                &piece,
                self.size.geometry().block_size,
                &mut Cursor::new(&data),
            );
        }
        Ok(())
    }

    /// Runs of blocks that are written or not, from the extent's first on. A stretch without chunks is looked for in all stripes, which is
    /// done once: the answer ends with its end.
    fn status(&self, extent: Extent, runs_max: u16) -> Vec<LbaStatus> {
        let (block_size, end) = (u64::from(self.size.geometry().block_size), extent.lba + extent.blocks);
        let mut runs = Runs { runs: Vec::new(), runs_max: runs_max.into(), next: extent.lba };
        let mut looked_far = false;
        while runs.next < end && !runs.is_full() {
            let chunk = runs.next * block_size / CHUNK_BYTES as u64;
            let last = ((chunk + 1) * CHUNK_BYTES as u64).div_ceil(block_size).min(end);
            let range = ByteRange { start: chunk * CHUNK_BYTES as u64, end: (chunk + 1) * CHUNK_BYTES as u64 };
            let shards = self.shards.read(&range);
            match shards.get(chunk).get(&chunk) {
                Some(found) => {
                    for lba in runs.next..last {
                        runs.add(lba + 1, found.is_written(chunk, lba, self.size.geometry().block_size));
                    }
                }
                None if looked_far => break,
                None => {
                    drop(shards);
                    looked_far = true;
                    let next = self.next_chunk(chunk).map(|next| (next * CHUNK_BYTES as u64).div_ceil(block_size));
                    runs.add(next.unwrap_or(end).clamp(runs.next + 1, end), false);
                }
            }
        }
        runs.finish()
    }

    /// The first chunk behind this one.
    fn next_chunk(&self, chunk: u64) -> Option<u64> {
        self.shards.iter().filter_map(|shard| shard.keys().copied().filter(|number| *number > chunk).min()).min()
    }

    /// Makes the range read as zeros, and frees the chunks that hold nothing else.
    fn unmap(&self, range: ByteRange) {
        let block_size = self.size.geometry().block_size;
        let mut clear =
            |number: &u64, chunk: &mut Chunk| range.piece(*number).is_some_and(|piece| chunk.unmap(&piece, block_size));
        let mut shards = self.shards.write(&range);
        let mut freed: Vec<Chunk> = Vec::new();
        let chunks = range.chunks();
        if chunks.end - chunks.start <= STRIPES {
            for number in chunks {
                let shard = shards.of(number);
                if shard.get_mut(&number).is_some_and(|chunk| clear(&number, chunk)) {
                    freed.extend(shard.remove(&number));
                }
            }
        } else {
            for shard in shards.all() {
                freed.extend(shard.extract_if(&mut clear).map(|(_, chunk)| chunk));
            }
        }
        for shard in shards.all().filter(|shard| shard.is_empty()) {
            shard.shrink_to_fit();
        }
        if let Some((_, count)) = &self.limit {
            count.fetch_sub(freed.len() as u64, Ordering::Relaxed);
        }
        // Giving memory back takes a while: not under the locks.
        drop(shards);
        drop(freed);
    }
}

/// Runs as they grow.
struct Runs {
    runs: Vec<LbaStatus>,
    runs_max: usize,
    next: u64,
}

impl Runs {
    /// Whether another run might be one too many.
    fn is_full(&self) -> bool {
        self.runs.len() > self.runs_max
    }

    /// The blocks up to `end` are alike.
    fn add(&mut self, end: u64, mapped: bool) {
        let blocks = end - self.next;
        match self.runs.last_mut().filter(|last| last.mapped == mapped) {
            Some(last) => last.extent.blocks += blocks,
            None => self.runs.push(LbaStatus { extent: Extent { lba: self.next, blocks }, mapped }),
        }
        self.next = end;
    }

    fn finish(mut self) -> Vec<LbaStatus> {
        self.runs.truncate(self.runs_max);
        self.runs
    }
}

/// Compares the range with `data`, chunk by chunk.
fn compare<'a>(
    chunk_at: impl Fn(u64) -> Option<&'a Chunk>,
    range: ByteRange,
    data: &mut Cursor<'_>,
) -> Result<(), IoError> {
    const UNWRITTEN: &[u8] = &[0; CHUNK_BYTES];
    let mut compared = 0;
    for piece in range.pieces() {
        let medium = chunk_at(piece.chunk).map_or(UNWRITTEN, Chunk::data);
        if let Some(within) = data.first_difference(&medium[piece.bytes()]) {
            return Err(IoError::Miscompare { offset: compared + within as u64 });
        }
        compared += piece.length as u64;
    }
    Ok(())
}

impl BlockStore for MemoryStore {
    fn geometry(&self) -> Geometry {
        self.size.geometry()
    }

    /// All that a write may have: it holds all its locks, and after a power cut there is nothing.
    fn atomic_bytes_max(&self) -> u32 {
        TRANSFER_BYTES_LIMIT
    }

    /// Up to the limit, if there is one; it is looked at stripe by stripe.
    fn space(&self) -> Option<Space> {
        let used_bytes = self.allocated_bytes();
        let available = |most: u64| (most * CHUNK_BYTES as u64).saturating_sub(used_bytes);
        let available_bytes = self.limit.as_ref().map(|(most, _)| available(*most));
        Some(Space { used_bytes, available_bytes, is_shared: false })
    }

    fn grow(&self, blocks: u64) -> io::Result<()> {
        self.size.grow(blocks, |_| Ok(()))
    }

    fn open_queue(self: Arc<Self>, _waker: Waker) -> Box<dyn StoreQueue> {
        let mut arena = Arena::default();
        Box::new(ImmediateQueue::new(move |io| self.execute(io, &mut arena)))
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").field("geometry", &self.size.geometry()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::IoId;

    fn run(store: &Arc<MemoryStore>, io: BlockIo) -> IoDone {
        let mut queue = store.clone().open_queue(Waker::noop().clone());
        queue.submit(IoId(9), io);
        let (id, done) = queue.poll().expect("it ended inside submit");
        assert_eq!(id, IoId(9));
        done
    }

    fn write(store: &Arc<MemoryStore>, lba: u64, length: usize) {
        let data = [vec![1; length].into()].into_iter().collect();
        run(store, BlockIo::Write { lba, data, durable: true }).unwrap();
    }

    fn unmap(store: &Arc<MemoryStore>, lba: u64, blocks: u64) {
        let extents = [Extent { lba, blocks }].into_iter().collect();
        run(store, BlockIo::Unmap(extents)).unwrap();
    }

    /// 1 PiB in blocks of 512.
    fn petabyte() -> Arc<MemoryStore> {
        Arc::new(MemoryStore::new(Geometry { block_size: 512, blocks: 1 << 41 }))
    }

    #[test]
    fn space_is_what_the_limit_leaves() {
        let store = MemoryStore::with_limit(Geometry { block_size: 512, blocks: 4096 }, 3 * CHUNK_BYTES as u64);
        let chunk = CHUNK_BYTES as u64;
        let space = |used: u64| {
            Some(Space { used_bytes: used * chunk, available_bytes: Some((3 - used) * chunk), is_shared: false })
        };
        assert_eq!(store.space(), space(0));
        let data = [Bytes::from(vec![1; 512])].into_iter().collect();
        store.execute(BlockIo::Write { lba: 128, data, durable: false }, &mut Arena::default()).unwrap();
        assert_eq!(store.space(), space(1));
        let boundless = MemoryStore::new(Geometry { block_size: 512, blocks: 8 });
        assert_eq!(boundless.space(), Some(Space { used_bytes: 0, available_bytes: None, is_shared: false }));
    }

    #[test]
    fn only_what_is_written_is_allocated() {
        let store = petabyte();
        run(&store, BlockIo::Read(Extent { lba: 5 << 30, blocks: 4096 })).unwrap();
        let extent = Extent { lba: 0, blocks: 1 << 20 };
        run(&store, BlockIo::WriteSame { extent, block: None, unmap: false, durable: false }).unwrap();
        assert_eq!(store.allocated_bytes(), 0);
        for n in 0..100 {
            write(&store, n << 34, 4096);
        }
        assert_eq!(store.allocated_bytes(), 100 * CHUNK_BYTES as u64);
    }

    #[test]
    fn a_chunk_goes_with_its_last_block() {
        let store = petabyte();
        write(&store, 126, 4 * 512);
        assert_eq!(store.allocated_bytes(), 2 * CHUNK_BYTES as u64);
        unmap(&store, 127, 1);
        assert_eq!(store.allocated_bytes(), 2 * CHUNK_BYTES as u64);
        unmap(&store, 126, 1);
        assert_eq!(store.allocated_bytes(), CHUNK_BYTES as u64);
        unmap(&store, 128, 2);
        assert_eq!(store.allocated_bytes(), 0);
    }

    #[test]
    fn a_huge_unmap_costs_what_is_there() {
        let store = petabyte();
        for n in 0..100 {
            write(&store, (n << 34) + 127, 1024);
        }
        unmap(&store, 128, (1 << 41) - 129);
        assert_eq!(store.allocated_bytes(), CHUNK_BYTES as u64, "only what block 127 lies in");
        unmap(&store, 0, 1 << 41);
        assert_eq!(store.allocated_bytes(), 0);
    }

    #[test]
    fn a_store_that_is_full_stores_nothing_and_has_room_again() {
        let store =
            Arc::new(MemoryStore::with_limit(Geometry { block_size: 512, blocks: 1 << 41 }, 2 * CHUNK_BYTES as u64));
        let write = |lba| {
            let data = [vec![1; 1024].into()].into_iter().collect();
            run(&store, BlockIo::Write { lba, data, durable: false })
        };
        assert_eq!(write(127), Ok(IoOutput::Done));
        assert_eq!(write(300), Err(IoError::NoSpace));
        assert_eq!(write(200), Ok(IoOutput::Done), "a chunk that is there takes more");
        let data: scsi_block::io::Segments = [vec![1; 1024].into()].into_iter().collect();
        assert_eq!(
            run(&store, BlockIo::OrWrite { lba: 999, data: data.clone(), durable: false }),
            Err(IoError::NoSpace)
        );
        let extent = Extent { lba: 999, blocks: 9 };
        let block = Some(Bytes::from(vec![1; 512]));
        let same = BlockIo::WriteSame { extent, block, unmap: false, durable: false };
        assert_eq!(run(&store, same.clone()), Err(IoError::NoSpace));
        assert_eq!(store.allocated_bytes(), 2 * CHUNK_BYTES as u64);
        unmap(&store, 0, 128);
        assert_eq!(run(&store, same), Ok(IoOutput::Done));
        unmap(&store, 0, 1 << 41);
        assert_eq!((store.allocated_bytes(), write(127)), (0, Ok(IoOutput::Done)));
    }

    #[test]
    fn what_is_written_is_mapped_to_the_block() {
        let store = petabyte();
        let status = |lba| match run(
            &store,
            BlockIo::LbaStatus { extent: Extent { lba, blocks: (1 << 41) - lba }, runs_max: 8 },
        ) {
            Ok(IoOutput::Status(runs)) => runs.iter().map(|run| (run.extent.blocks, run.mapped)).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        assert_eq!(status(5), [((1 << 41) - 5, false)]);
        write(&store, 126, 4 * 512);
        write(&store, 1 << 40, 512);
        unmap(&store, 128, 1);
        assert_eq!(
            status(0),
            [(126, false), (2, true), (1, false), (1, true), ((1 << 40) - 130, false), (1, true), (127, false)]
        );
        assert_eq!(status(127)[0], (1, true));
        assert_eq!(status((1 << 40) + 1), [((1 << 40) - 1, false)]);
    }

    /// Blocks with protection information lie across chunks, and are given back all the same.
    #[test]
    fn blocks_of_520_bytes_are_mapped_to_the_block() {
        let store = Arc::new(MemoryStore::new(Geometry { block_size: 520, blocks: 1 << 30 }));
        let status = |lba| match run(&store, BlockIo::LbaStatus { extent: Extent { lba, blocks: 1000 }, runs_max: 8 }) {
            Ok(IoOutput::Status(runs)) => runs.iter().map(|run| (run.extent.blocks, run.mapped)).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        };
        write(&store, 125, 3 * 520);
        assert_eq!(store.allocated_bytes(), 2 * CHUNK_BYTES as u64, "block 126 lies across two chunks");
        assert_eq!(status(120)[..2], [(5, false), (3, true)]);
        unmap(&store, 126, 1);
        assert_eq!(status(120)[..4], [(5, false), (1, true), (1, false), (1, true)]);
        unmap(&store, 125, 1);
        assert_eq!(store.allocated_bytes(), CHUNK_BYTES as u64);
        unmap(&store, 120, 100);
        assert_eq!((store.allocated_bytes(), status(120)), (0, vec![(1000, false)]));
        write(&store, 252, 520);
        assert_eq!(status(0)[..2], [(252, false), (1, true)], "one that begins in a chunk and ends in the next");
    }

    #[test]
    fn unwritten_ranges_are_read_without_a_copy() {
        let store = petabyte();
        let read = |lba| match run(&store, BlockIo::Read(Extent { lba, blocks: 200 })) {
            Ok(IoOutput::Data(data)) => data.as_ptr(),
            other => panic!("{other:?}"),
        };
        assert_eq!(read(0), read(1 << 40));
    }
}
