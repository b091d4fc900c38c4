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

/// Chunks that payload may hold before more payload is copied out of them: 64 MiB.
const HELD_MAX: usize = 256;
/// How many of those are looked at before a new chunk is made.
const LOOKS_MAX: usize = 4;
/// Chunks kept for the next read.
const FREE_MAX: usize = 8;
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
    /// Chunks for the next read, the one used last at the end. Payload may hold a part of them.
    free: Vec<BytesMut>,
    /// Chunks without room for a read, until payload holds them no more; the oldest is first.
    held: VecDeque<BytesMut>,
    send_queues: Vec<SendQueue>,
}

impl BufferPool {
    /// A pool that has allocated nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty chunk with room for at least `bytes`, which are at most [`CHUNK_BYTES`], and for a read.
    pub(super) fn take_chunk(&self, bytes: usize) -> BytesMut {
        let pool = &mut *self.0.borrow_mut();
        let room = bytes.max(READ_BYTES_MIN);
        while let Some(mut chunk) = pool.free.pop() {
            if is_whole(&mut chunk) || chunk.capacity() >= room {
                return chunk;
            }
            pool.held.push_back(chunk);
        }
        for _ in 0..pool.held.len().min(LOOKS_MAX) {
            if let Some(chunk) = pool.take_whole_held() {
                return chunk;
            }
            pool.held.rotate_left(1);
        }
        BytesMut::with_capacity(CHUNK_BYTES)
    }

    /// Takes a chunk back; payload may still hold it.
    pub(super) fn give_chunk(&self, mut chunk: BytesMut) {
        chunk.clear();
        let pool = &mut *self.0.borrow_mut();
        // What is not held any more is kept or freed step by step, as long as there is something going on.
        let others = [pool.take_whole_held(), Some(chunk)];
        pool.free.extend(others.into_iter().flatten());
        if pool.free.len() > FREE_MAX {
            let mut oldest = pool.free.remove(0);
            if !is_whole(&mut oldest) {
                pool.held.push_back(oldest);
            }
        }
    }

    /// Whether payload should be copied out of its chunk, since too many chunks are held.
    pub(super) fn is_strained(&self) -> bool {
        self.0.borrow().held.len() >= HELD_MAX
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

impl Inner {
    /// The chunk that has been held longest, if nothing holds it any more.
    fn take_whole_held(&mut self) -> Option<BytesMut> {
        if is_whole(self.held.front_mut()?) { self.held.pop_front() } else { None }
    }
}

/// Whether nothing holds any part of an empty chunk; if so it begins anew.
fn is_whole(chunk: &mut BytesMut) -> bool {
    chunk.try_reclaim(CHUNK_BYTES)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use bytes::Bytes;

    /// A pool whose chunks are held by slices of one byte each.
    pub(crate) fn strained_pool() -> (BufferPool, Vec<Bytes>) {
        let pool = BufferPool::new();
        let mut slices = Vec::new();
        while !pool.is_strained() {
            let mut chunk = pool.take_chunk(CHUNK_BYTES);
            chunk.extend_from_slice(&[1; CHUNK_BYTES - 1]);
            slices.push(chunk.split_to(1).freeze());
            pool.give_chunk(chunk);
        }
        (pool, slices)
    }

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
    fn chunks_that_are_held_are_bounded_and_not_kept_for_ever() {
        let (pool, slices) = strained_pool();
        assert_eq!(slices.len(), HELD_MAX + 1);
        drop(slices);
        for _ in 0..HELD_MAX {
            pool.give_chunk(pool.take_chunk(1));
        }
        let inner = pool.0.borrow();
        assert!(inner.held.is_empty());
        assert_eq!(inner.free.len(), FREE_MAX);
    }
}
