//! Ingress queues: messages from the adapter to the driver.

use crate::bus::Bus;
use crate::registers::UserDoorbell;
use crate::wire::{EntryType, INGRESS_ENTRY_BYTES, IngressDoorbell, IngressEntry, TIMER_UPDATE_ONLY};
use zerocopy::FromBytes;

/// Where the word that holds the generation begins in an entry.
const LAST_WORD: u64 = INGRESS_ENTRY_BYTES as u64 - 8;

/// A ring of entries of 64 bytes. An entry is new if its generation is that of the lap, which is 1 at first and toggles.
#[derive(Debug)]
pub struct IngressQueue {
    id: u32,
    address: u64,
    entries: u16,
    doorbell: UserDoorbell,
    next: u16,
    generation: bool,
    /// Entries that were read and not told of.
    unreported: u16,
}

impl IngressQueue {
    /// An empty queue at `address`, whose memory is zeros.
    ///
    /// # Panics
    /// If it has more entries than a doorbell can say, or fewer than 16: a bug of the caller.
    #[must_use]
    pub fn new(id: u32, address: u64, entries: u16, doorbell: UserDoorbell) -> Self {
        assert!((16..4096).contains(&entries), "a queue has between 16 and 4095 entries");
        Self { id, address, entries, doorbell, next: 0, generation: true, unreported: 0 }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// How many entries it has.
    #[must_use]
    pub fn entries(&self) -> u16 {
        self.entries
    }

    /// The next entry, if it is there.
    pub fn next(&mut self, bus: &impl Bus) -> Option<IngressEntry> {
        let (memory, ring) = (bus.memory(), "a ring is memory that the driver was given");
        let at = self.address + u64::from(self.next) * INGRESS_ENTRY_BYTES as u64;
        let last = memory.load(at + LAST_WORD).expect(ring);
        if (EntryType::from_value(last[0]).is_set(EntryType::GEN)) != self.generation {
            return None;
        }
        let mut bytes = [0; INGRESS_ENTRY_BYTES];
        let (front, back) = bytes.split_at_mut(LAST_WORD as usize);
        memory.read(at, front).expect(ring);
        back.copy_from_slice(&last);
        self.next += 1;
        self.unreported += 1;
        if self.next == self.entries {
            (self.next, self.generation) = (0, !self.generation);
        }
        if self.unreported >= self.entries / 4 {
            self.report(bus, false);
        }
        Some(IngressEntry::read_from_bytes(&bytes).expect("an entry has 64 bytes"))
    }

    /// Tells the adapter how far the queue was read; with `armed`, it is to interrupt for what comes.
    pub fn report(&mut self, bus: &impl Bus, armed: bool) {
        if self.unreported == 0 && !armed {
            return;
        }
        let word = IngressDoorbell::new()
            .with(IngressDoorbell::INGRESSQID, self.doorbell.queue_field())
            .with(IngressDoorbell::TIMERREG, if armed { 0 } else { TIMER_UPDATE_ONLY })
            .with_bit(IngressDoorbell::SEINTARM, armed)
            .with(IngressDoorbell::CIDXINC, self.unreported.into());
        self.unreported = 0;
        bus.write_doorbell(self.doorbell.offset(UserDoorbell::GTS), word.value());
    }
}
