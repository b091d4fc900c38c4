//! Free lists: buffers that the adapter fills with what has no place of its own.

use super::FREE_LIST_UNIT;
use crate::bus::Bus;
use crate::registers::UserDoorbell;
use crate::wire::{FreeListLength, QueueDoorbell};

/// Messages that share a buffer begin at multiples of this.
pub const FREE_LIST_ALIGNMENT: u32 = 64;

/// A ring of buffers of one size. The adapter fills them in their order, several messages to a buffer; the driver copies each
/// message out, and gives a buffer back, to the same place of the ring, when the adapter has begun the next.
#[derive(Debug)]
pub struct FreeList {
    id: u32,
    buffers: Box<[u64]>,
    buffer_bytes: u32,
    doorbell: UserDoorbell,
    /// The buffer that is being filled, as the adapter's messages tell; `None` before the first.
    current: Option<usize>,
    /// How much of it is filled.
    filled: u32,
    /// Buffers that can be given back and were not.
    spent: usize,
}

/// A message that is not where the adapter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes behind the first {filled} of a buffer of {buffer_bytes} bytes")]
pub struct NoSuchBuffer {
    /// How long the message is said to be.
    pub length: u32,
    /// How much of the buffer is filled.
    pub filled: u32,
    /// Length of a buffer.
    pub buffer_bytes: u32,
}

impl FreeList {
    /// Writes the ring: `buffers`, each of `buffer_bytes`, which the adapter knows by `size_index`. Nothing is announced yet.
    ///
    /// # Panics
    /// If their number is no multiple of [`FREE_LIST_UNIT`] above two, an address no multiple of 16, or the ring is not in the
    /// memory: bugs of the caller.
    #[must_use]
    pub fn new(
        id: u32,
        address: u64,
        buffers: Vec<u64>,
        (buffer_bytes, size_index): (u32, u8),
        doorbell: UserDoorbell,
        bus: &impl Bus,
    ) -> Self {
        assert!(
            buffers.len() > 2 * FREE_LIST_UNIT && buffers.len().is_multiple_of(FREE_LIST_UNIT),
            "a free list has three units of eight buffers or more: one is not announced, one may be in part in use"
        );
        for (at, buffer) in buffers.iter().enumerate() {
            assert!(buffer.is_multiple_of(16) && size_index < 16, "the low four bits are the size's");
            let entry = (buffer | u64::from(size_index)).to_be_bytes();
            bus.memory().store(address + at as u64 * 8, entry).expect("a ring is memory that the driver was given");
        }
        let buffers = buffers.into();
        Self { id, buffers, buffer_bytes, doorbell, current: None, filled: 0, spent: 0 }
    }

    /// Bytes of a ring of that many buffers, and its status page.
    #[must_use]
    pub const fn ring_bytes(buffers: usize) -> usize {
        buffers * 8 + 64
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Announces the buffers at the beginning: all but one unit, as a full ring would look like an empty one.
    pub fn start(&mut self, bus: &impl Bus) {
        self.announce(bus, self.buffers.len() / FREE_LIST_UNIT - 1);
        // What is not announced is given with the first buffers that come back.
    }

    /// Where the next message of that length is. What was there before is given back.
    ///
    /// # Errors
    /// It does not fit the buffer, or none was begun: the adapter is not to be trusted with the list any more.
    pub fn take(&mut self, bus: &impl Bus, length: FreeListLength) -> Result<u64, NoSuchBuffer> {
        let bytes = length.get(FreeListLength::LEN);
        if length.is_set(FreeListLength::NEWBUF) {
            self.begin_next(bus);
        }
        let (filled, buffer_bytes) = (self.filled, self.buffer_bytes);
        let fits = bytes > 0 && bytes <= buffer_bytes - filled;
        let Some(current) = self.current.filter(|_| fits) else {
            return Err(NoSuchBuffer { length: bytes, filled, buffer_bytes });
        };
        self.filled = (filled + bytes).next_multiple_of(FREE_LIST_ALIGNMENT).min(buffer_bytes);
        Ok(self.buffers[current] + u64::from(filled))
    }

    fn begin_next(&mut self, bus: &impl Bus) {
        self.filled = 0;
        let Some(current) = self.current else {
            self.current = Some(0);
            return;
        };
        self.current = Some((current + 1) % self.buffers.len());
        self.spent += 1;
        if self.spent >= FREE_LIST_UNIT {
            self.spent -= FREE_LIST_UNIT;
            self.announce(bus, 1);
        }
    }

    fn announce(&self, bus: &impl Bus, units: usize) {
        let word = QueueDoorbell::new()
            .with(QueueDoorbell::QID, self.doorbell.queue_field())
            .with_bit(QueueDoorbell::DBTYPE, true)
            .with(QueueDoorbell::PIDX, units as u32);
        bus.write_doorbell(self.doorbell.offset(UserDoorbell::KDOORBELL), word.value());
    }
}
