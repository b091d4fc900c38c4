//! Buffers for the kernel to fill: aligned for O_DIRECT, initialised once, used again.

use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;

/// Enough for any O_DIRECT.
pub(super) const ALIGNMENT: usize = 4096;

/// Larger buffers are allocated each time.
const POOLED_BYTES_MAX: usize = 1 << 20;
/// 4 KiB, 16 KiB, 64 KiB, 256 KiB, 1 MiB.
const CLASSES: usize = 5;
/// What the free list of one class keeps at most.
const CLASS_BYTES_MAX: usize = 2 << 20;
const CLASS_BUFFERS_MAX: usize = 64;

fn class_bytes(class: usize) -> usize {
    ALIGNMENT << (2 * class)
}

/// The buffers of one queue. Costs nothing before its first use, and keeps at most 8 MiB that nobody uses.
#[derive(Default)]
pub(super) struct BufferPool {
    free: Mutex<[Vec<Box<[u8]>>; CLASSES]>,
}

impl BufferPool {
    /// A buffer of `length` bytes, of any content.
    pub(super) fn take(self: &Arc<Self>, length: usize) -> Buffer {
        let class = (0..CLASSES).find(|&class| length <= class_bytes(class));
        let pooled = class.and_then(|class| self.free.lock()[class].pop());
        let memory =
            pooled.unwrap_or_else(|| vec![0; class.map_or(length, class_bytes) + ALIGNMENT].into_boxed_slice());
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Buffer { memory, start, length, pool: self.clone() }
    }

    fn give_back(&self, memory: Box<[u8]>) {
        let bytes = memory.len() - ALIGNMENT;
        if bytes > POOLED_BYTES_MAX {
            return;
        }
        let Some(class) = (0..CLASSES).find(|&class| class_bytes(class) == bytes) else { return };
        let mut free = self.free.lock();
        if free[class].len() < (CLASS_BYTES_MAX / bytes).min(CLASS_BUFFERS_MAX) {
            free[class].push(memory);
        }
    }
}

/// A buffer in use.
pub(super) struct Buffer {
    memory: Box<[u8]>,
    start: usize,
    length: usize,
    pool: Arc<BufferPool>,
}

impl Buffer {
    /// The content, to hand out; the memory returns to its pool when the last of it is dropped.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.start..][..self.length]
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..][..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.memory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_used_again() {
        let pool = Arc::new(BufferPool::default());
        for length in [512, 4096, 4097, 65536, 1 << 20, (1 << 20) + 4096] {
            let buffer = pool.take(length);
            assert_eq!(buffer.as_ref().len(), length);
            assert_eq!(buffer.as_ref().as_ptr().align_offset(ALIGNMENT), 0);
        }
        let buffer = pool.take(65536);
        let place = buffer.as_ref().as_ptr();
        drop(buffer.freeze().slice(5..));
        assert_eq!(pool.take(60_000).as_ref().as_ptr(), place);
    }

    #[test]
    fn the_pool_keeps_a_bounded_number() {
        let pool = Arc::new(BufferPool::default());
        let in_use: Vec<Buffer> = (0..500).map(|n| pool.take(4096 << (n % 10))).collect();
        drop(in_use);
        let kept: usize = pool.free.lock().iter().flatten().map(|memory| memory.len()).sum();
        assert!(kept <= 8 << 20, "{kept}");
    }
}
