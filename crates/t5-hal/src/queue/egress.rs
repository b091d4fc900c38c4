//! Egress queues: work requests from the driver to the adapter.

use super::super::bus::Bus;
use crate::registers::UserDoorbell;
use crate::wire::QueueDoorbell;

/// Bytes of a descriptor.
pub const DESCRIPTOR_BYTES: usize = 64;
/// Longest work request, in bytes.
pub const WORK_REQUEST_BYTES_MAX: usize = 512;

/// A ring of descriptors, each 64 bytes, with a status page behind it. A work request takes as many as it needs, and may wrap.
///
/// The adapter says how far it has read when it is asked to, in a work request: the queue asks once a quarter of it is new.
#[derive(Debug)]
pub struct EgressQueue {
    id: u32,
    address: u64,
    descriptors: u16,
    doorbell: UserDoorbell,
    /// Where the next work request goes.
    producer: u16,
    /// Up to where the adapter has read, as far as is known.
    consumer: u16,
    /// Descriptors that no doorbell was rung for.
    unannounced: u16,
    /// Descriptors since the adapter was last asked.
    since_asked: u16,
}

impl EgressQueue {
    /// An empty queue of `descriptors` at `address`; the status page is one more.
    ///
    /// # Panics
    /// If it has fewer descriptors than a work request and one, or more than a doorbell can say: a bug of the caller.
    #[must_use]
    pub fn new(id: u32, address: u64, descriptors: u16, doorbell: UserDoorbell) -> Self {
        assert!((16..8192).contains(&descriptors), "a queue has between 16 and 8191 descriptors");
        Self { id, address, descriptors, doorbell, producer: 0, consumer: 0, unannounced: 0, since_asked: 0 }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Bytes of a ring of `descriptors` and its status page.
    #[must_use]
    pub const fn ring_bytes(descriptors: u16) -> usize {
        (descriptors as usize + 1) * DESCRIPTOR_BYTES
    }

    /// Bytes of a work request that find room; one descriptor always stays free, as a full ring would look like an empty one.
    #[must_use]
    pub fn room_bytes(&self) -> usize {
        let used = (self.producer + self.descriptors - self.consumer) % self.descriptors;
        usize::from(self.descriptors - 1 - used) * DESCRIPTOR_BYTES
    }

    /// Puts a work request into the queue, in parts that stand one behind the other. What is behind it, up to the next descriptor,
    /// is undefined.
    ///
    /// # Panics
    /// If there is no room, it is longer than [`WORK_REQUEST_BYTES_MAX`], or its first part has no header: bugs of the caller.
    pub fn push(&mut self, bus: &impl Bus, parts: &[&[u8]]) {
        let mut request = [0; WORK_REQUEST_BYTES_MAX];
        let mut length = 0;
        for part in parts {
            request[length..length + part.len()].copy_from_slice(part);
            length += part.len();
        }
        assert!((8..=self.room_bytes()).contains(&length), "a work request has a header and finds room");
        let count = length.div_ceil(DESCRIPTOR_BYTES) as u16;
        self.since_asked += count;
        if self.since_asked > self.descriptors / 4 {
            self.since_asked = 0;
            // EQUIQ, the highest bit of the second word.
            request[4] |= 0x80;
        }
        let until_end = usize::from(self.descriptors - self.producer) * DESCRIPTOR_BYTES;
        let (first, wrapped) = request[..length].split_at(length.min(until_end));
        let at = self.address + u64::from(self.producer) * DESCRIPTOR_BYTES as u64;
        let ring = "a ring is memory that the driver was given";
        bus.memory().write(at, first).expect(ring);
        bus.memory().write(self.address, wrapped).expect(ring);
        self.producer = (self.producer + count) % self.descriptors;
        self.unannounced += count;
    }

    /// Tells the adapter what is new.
    pub fn ring(&mut self, bus: &impl Bus) {
        if self.unannounced == 0 {
            return;
        }
        let word = QueueDoorbell::new()
            .with(QueueDoorbell::QID, self.doorbell.queue_field())
            .with(QueueDoorbell::PIDX, self.unannounced.into());
        self.unannounced = 0;
        bus.write_doorbell(self.doorbell.offset(UserDoorbell::KDOORBELL), word.value());
    }

    /// Takes the adapter's word for how far it has read. Whether it can have done so: if not, nothing is changed.
    #[must_use]
    pub fn handle_update(&mut self, consumer: u16) -> bool {
        let used = (self.producer + self.descriptors - self.consumer) % self.descriptors;
        let read = (u32::from(consumer) + u32::from(self.descriptors) - u32::from(self.consumer))
            % u32::from(self.descriptors);
        let possible = consumer < self.descriptors && read <= u32::from(used - self.unannounced);
        if possible {
            self.consumer = consumer;
        }
        possible
    }
}
