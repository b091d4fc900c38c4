//! Memory for payload that is copied out of the free lists.

use bytes::BytesMut;

/// Bytes of a chunk.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks of a driver, which are made when they are needed.
const CHUNKS: usize = 4;

/// Some chunks, each of which is used again, from its beginning, once nothing holds any of it: payload that is soon done with takes no allocation, and
/// stays in the cache. What finds no room in them has memory of its own, so that a little of it that is held for long holds no more than itself beyond the chunks.
#[derive(Debug, Default)]
pub(super) struct Copies {
    chunks: Vec<BytesMut>,
    current: usize,
}

impl Copies {
    /// So many zeros.
    pub(super) fn zeroed(&mut self, length: usize) -> BytesMut {
        if !self.chunks.get_mut(self.current).is_some_and(|chunk| has_room(chunk, length)) {
            let Some(next) = self.find(length) else { return BytesMut::zeroed(length) };
            self.current = next;
        }
        let chunk = &mut self.chunks[self.current];
        chunk.resize(length, 0);
        chunk.split()
    }

    /// A chunk that has room, or a new one.
    fn find(&mut self, length: usize) -> Option<usize> {
        let found = self.chunks.iter_mut().position(|chunk| has_room(chunk, length));
        if found.is_none() && length <= CHUNK_BYTES && self.chunks.len() < CHUNKS {
            self.chunks.push(BytesMut::with_capacity(CHUNK_BYTES));
            return Some(self.chunks.len() - 1);
        }
        found
    }
}

/// Whether a chunk has room: all of it, if nothing holds it.
fn has_room(chunk: &mut BytesMut, length: usize) -> bool {
    chunk.try_reclaim(CHUNK_BYTES) || chunk.capacity() >= length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_used_again_and_what_is_held_is_not() {
        let mut copies = Copies::default();
        let first = copies.zeroed(4096).as_ptr();
        for _ in 0..1000 {
            let mut copy = copies.zeroed(4096);
            assert_eq!((copy.as_ptr(), &copy[..]), (first, &[0; 4096][..]));
            copy.fill(7);
        }
        let held = copies.zeroed(4096);
        assert_ne!(copies.zeroed(4096).as_ptr(), held.as_ptr());
    }

    #[test]
    fn what_finds_no_room_has_memory_of_its_own() {
        const PIECE_BYTES: usize = 64 << 10;
        const PIECES: usize = CHUNKS * CHUNK_BYTES / PIECE_BYTES;
        let mut copies = Copies::default();
        let mut take = |count: usize| -> Vec<BytesMut> { (0..count).map(|_| copies.zeroed(PIECE_BYTES)).collect() };
        let start = |copy: &BytesMut| copy.as_ptr();
        let held = take(PIECES);
        let own = take(PIECES);
        assert!(held.iter().chain(&own).all(|copy| copy[..] == [0; PIECE_BYTES]));
        let mut places: Vec<_> = held.iter().map(start).collect();
        drop(held);
        // Those of their own take none of the chunks.
        let mut again: Vec<_> = take(PIECES).iter().map(start).collect();
        places.sort_unstable();
        again.sort_unstable();
        assert_eq!(again, places);
        assert_eq!(copies.zeroed(2 * CHUNK_BYTES).len(), 2 * CHUNK_BYTES);
    }
}
