//! Memory that the connections of one core share, so that an idle one holds none.

use super::send_queue::SendQueue;
use bytes::BytesMut;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Bytes of a chunk: what one read may bring at most, and the longest PDU that needs no buffer of its own.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Room that a read has at least, unless the PDU at hand needs less: a chunk with less left waits until it is free again.
pub(super) const READ_BYTES_MIN: usize = 16 * 1024;

/// Chunks that may be held by payload before more payload is copied out of them: 64 MiB.
const CHUNKS_MAX: usize = 256;
/// Chunks kept beyond that, so that a core in need works on memory that it has.
const CHUNKS_SPARE: usize = 8;
/// How many chunks are looked at before a new one is made.
const LOOKS_MAX: usize = 4;
/// Send queues kept for the next batch.
const SEND_QUEUES_MAX: usize = 8;

/// Receive buffers and send queues for all software ports of one core. Clones share one pool.
///
/// A receive buffer is a chunk of [`CHUNK_BYTES`]. Received payload is a slice of it, and the chunk is used again, from its
/// beginning, when all its slices are gone; until then other connections use what is left of it. Memory is neither
/// zeroed nor given back to the allocator between.
///
/// A small slice can hold a whole chunk. Where more than 64 MiB are held in that way, payload is copied out of the chunks, so
/// that what peers hold is bounded by what they have sent.
#[derive(Clone, Debug, Default)]
pub struct BufferPool(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Empty handles on chunks that no port reads into now; the one used last is at the front.
    chunks: VecDeque<BytesMut>,
    send_queues: Vec<SendQueue>,
    strained: bool,
}

impl BufferPool {
    /// A pool that has allocated nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty chunk with room for at least `bytes`, which are at most [`CHUNK_BYTES`], and for a read.
    pub(super) fn take_chunk(&self, bytes: usize) -> BytesMut {
        let room = bytes.max(READ_BYTES_MIN);
        let pool = &mut *self.0.borrow_mut();
        for _ in 0..pool.chunks.len().min(LOOKS_MAX) {
            let Some(mut chunk) = pool.chunks.pop_front() else { break };
            if chunk.try_reclaim(CHUNK_BYTES) || chunk.capacity() >= room {
                pool.strained = false;
                return chunk;
            }
            pool.chunks.push_back(chunk);
        }
        pool.strained = pool.chunks.len() >= CHUNKS_MAX;
        BytesMut::with_capacity(CHUNK_BYTES)
    }

    /// Takes a chunk back; slices of it may live on.
    pub(super) fn give_chunk(&self, mut chunk: BytesMut) {
        let pool = &mut *self.0.borrow_mut();
        if pool.chunks.len() < CHUNKS_MAX + CHUNKS_SPARE {
            chunk.clear();
            pool.chunks.push_front(chunk);
        }
    }

    /// Whether payload should be copied out of its chunk, since too many chunks are held.
    pub(super) fn is_strained(&self) -> bool {
        self.0.borrow().strained
    }

    pub(super) fn take_send_queue(&self) -> SendQueue {
        self.0.borrow_mut().send_queues.pop().unwrap_or_default()
    }

    /// Takes an empty queue back for the memory that it has.
    pub(super) fn give_send_queue(&self, queue: SendQueue) {
        let pool = &mut *self.0.borrow_mut();
        if pool.send_queues.len() < SEND_QUEUES_MAX {
            pool.send_queues.push(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_without_slices_is_used_again_from_its_beginning() {
        let pool = BufferPool::new();
        let mut chunk = pool.take_chunk(1);
        chunk.extend_from_slice(&[1; 1000]);
        let start = chunk.as_ptr();
        let slice = chunk.split_to(1000).freeze();
        pool.give_chunk(chunk);

        // While the slice lives, the rest is used.
        let rest = pool.take_chunk(1);
        assert_eq!(rest.as_ptr(), start.wrapping_add(1000));
        assert_eq!(rest.capacity(), CHUNK_BYTES - 1000);
        pool.give_chunk(rest);

        drop(slice);
        let whole = pool.take_chunk(1);
        assert_eq!((whole.as_ptr(), whole.capacity()), (start, CHUNK_BYTES));
    }

    #[test]
    fn a_chunk_that_is_used_up_waits_for_its_slices() {
        let pool = BufferPool::new();
        let mut chunk = pool.take_chunk(1);
        chunk.extend_from_slice(&vec![1; CHUNK_BYTES - 10]);
        let start = chunk.as_ptr();
        let slice = chunk.split().freeze();
        pool.give_chunk(chunk);
        let other = pool.take_chunk(1);
        assert_ne!(other.as_ptr(), start.wrapping_add(CHUNK_BYTES - 10));
        drop(slice);
        assert_eq!(pool.take_chunk(1).as_ptr(), start);
    }

    #[test]
    fn chunks_that_are_held_are_bounded_and_then_payload_is_to_be_copied() {
        let pool = BufferPool::new();
        let mut slices = Vec::new();
        while !pool.is_strained() {
            let mut chunk = pool.take_chunk(CHUNK_BYTES);
            chunk.extend_from_slice(&[1; CHUNK_BYTES - 1]);
            slices.push(chunk.split_to(1).freeze());
            pool.give_chunk(chunk);
            assert!(slices.len() <= CHUNKS_MAX + 1);
        }
        // What is clean is found first, and the strain ends with the slices.
        drop(slices);
        pool.give_chunk(pool.take_chunk(CHUNK_BYTES));
        assert!(!pool.is_strained());
        assert!(pool.0.borrow().chunks.len() <= CHUNKS_MAX + CHUNKS_SPARE);
    }
}
