//! What has come on one connection and is not cut into PDUs yet.

use super::pool::{BufferPool, CHUNK_BYTES, READ_BYTES_MIN};
use bytes::BytesMut;
use std::mem;

/// So little is moved into another buffer without regret.
const MOVE_BYTES_MAX: usize = 4096;

/// Bytes that have come, in a chunk of the pool while they are read, and in as little as they need when the connection rests.
#[derive(Debug)]
pub(super) struct ReceiveBuffer {
    pub(super) bytes: BytesMut,
    /// Whether `bytes` is a chunk of the pool.
    pooled: bool,
    pool: BufferPool,
}

impl ReceiveBuffer {
    pub(super) fn new(pool: BufferPool) -> Self {
        Self::with_bytes(BytesMut::new(), pool)
    }

    /// A buffer of another pool that goes on from `bytes`.
    pub(super) fn with_bytes(bytes: BytesMut, pool: BufferPool) -> Self {
        Self { bytes, pooled: false, pool }
    }

    /// What has come, in memory of its own; the pool has its chunk back.
    pub(super) fn into_bytes(self) -> BytesMut {
        BytesMut::from(&self.bytes[..])
    }

    /// Makes sure that the PDU at the front, of `pdu_bytes` as far as is known, finds room, and a read some more.
    pub(super) fn make_room(&mut self, pdu_bytes: usize) {
        let spare = self.bytes.capacity() - self.bytes.len();
        let cheap = self.bytes.len() <= MOVE_BYTES_MAX;
        if self.bytes.capacity() >= pdu_bytes && (spare >= READ_BYTES_MIN || !cheap) {
            return;
        }
        if self.bytes.is_empty() {
            self.give_back(BytesMut::new(), false);
        }
        let pooled = pdu_bytes <= CHUNK_BYTES;
        let mut room = if pooled { self.pool.take_chunk(pdu_bytes) } else { BytesMut::with_capacity(pdu_bytes) };
        room.extend_from_slice(&self.bytes);
        self.give_back(room, pooled);
    }

    /// Holds no chunk for little or nothing while no more comes.
    pub(super) fn rest(&mut self) {
        if self.pooled && self.bytes.len() <= MOVE_BYTES_MAX {
            self.give_back(BytesMut::from(&self.bytes[..]), false);
        }
    }

    fn give_back(&mut self, bytes: BytesMut, pooled: bool) {
        let old = mem::replace(&mut self.bytes, bytes);
        if mem::replace(&mut self.pooled, pooled) {
            self.pool.give_chunk(old);
        }
    }
}

impl Drop for ReceiveBuffer {
    fn drop(&mut self) {
        self.give_back(BytesMut::new(), false);
    }
}
