//! Where messages from the adapter come by: ingress queues, each with its free list.

use super::{DriverError, Queues};
use crate::bus::Bus;
use crate::queue::{FreeList, IngressQueue};
use crate::wire::{EntryKind, EntryType, FreeListLength, IngressEntry};

/// An ingress queue, with the buffers of messages that carry something.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) queue: IngressQueue,
    pub(super) free_list: FreeList,
}

/// How far the queues were read in one go.
#[derive(Debug)]
pub(super) struct Turn {
    /// The queue.
    at: usize,
    /// Entries of it.
    read: u16,
    /// Most entries of a queue.
    most: u16,
    /// Whether some queue may have more than that.
    pub(super) is_cut: bool,
}

impl Turn {
    /// A turn that reads so many entries of a queue at most.
    pub(super) fn of(most: u16) -> Self {
        Self { at: 0, read: 0, most, is_cut: false }
    }
}

/// An entry; and where its message is and how long, if that is in a buffer.
pub(super) type Arrival = (IngressEntry, Option<(u64, usize)>);

impl Queues {
    /// The next message, of one queue after the other. In one turn no more comes of a queue than it holds, however fast the adapter is: at most what was there
    /// when the turn began.
    pub(super) fn next_arrival(&mut self, bus: &impl Bus, turn: &mut Turn) -> Option<Result<Arrival, DriverError>> {
        next_arrival(&mut self.incoming, bus, turn)
    }
}

fn next_arrival(incoming: &mut [Incoming], bus: &impl Bus, turn: &mut Turn) -> Option<Result<Arrival, DriverError>> {
    while let Some(Incoming { queue, free_list }) = incoming.get_mut(turn.at) {
        let may_read = turn.read < turn.most;
        let entry = if may_read && turn.read < queue.entries() { queue.next(bus) } else { None };
        let Some(entry) = entry else {
            queue.report(bus, false);
            turn.is_cut |= !may_read;
            (turn.at, turn.read) = (turn.at + 1, 0);
            continue;
        };
        turn.read += 1;
        match EntryKind::from_wire(entry.kind.get(EntryType::TYPE)) {
            Some(EntryKind::Cpl) => return Some(Ok((entry, None))),
            Some(EntryKind::FreeListBuffer) => {
                let length = entry.length.get(FreeListLength::LEN) as usize;
                let taken = free_list.take(bus, entry.length);
                return Some(match taken {
                    Ok(address) => Ok((entry, Some((address, length)))),
                    Err(error) => Err(DriverError::Queue { queue: free_list.id(), text: error.to_string() }),
                });
            }
            // Of other queues there are none, and a kind that is none tells nothing.
            Some(EntryKind::Interrupt) | None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dma::DmaMemory;
    use crate::queue::FREE_LIST_UNIT;
    use crate::registers::DoorbellLayout;
    use crate::wire::{INGRESS_ENTRY_BYTES, IngressDoorbell};
    use std::cell::Cell;
    use std::sync::Arc;
    use std::task::Waker;

    const ENTRIES: u16 = 16;

    /// An adapter that fills what was read at once.
    struct Endless {
        memory: Arc<DmaMemory>,
        written: Cell<u32>,
    }

    impl Endless {
        fn write(&self, count: u32) {
            for at in (self.written.get()..).take(count as usize) {
                let (lap, slot) = (at / u32::from(ENTRIES), at % u32::from(ENTRIES));
                let kind = EntryType::new()
                    .with(EntryType::TYPE, EntryKind::Cpl.to_wire())
                    .with_bit(EntryType::GEN, lap.is_multiple_of(2));
                let end = self.memory.base() + u64::from(slot + 1) * INGRESS_ENTRY_BYTES as u64;
                self.memory.store(end - 8, [kind.value(), 0, 0, 0, 0, 0, 0, 0]).unwrap();
            }
            self.written.set(self.written.get() + count);
        }
    }

    impl Bus for Endless {
        fn read_register(&self, _: u32) -> u32 {
            0
        }

        fn write_register(&self, _: u32, _: u32) {}

        fn write_doorbell(&self, _: u32, value: u32) {
            self.write(IngressDoorbell::from_value(value).get(IngressDoorbell::CIDXINC));
        }

        fn write_descriptor(&self, _: u32, _: &[u8; 64]) {}

        fn memory(&self) -> &Arc<DmaMemory> {
            &self.memory
        }

        fn set_waker(&self, _: u16, _: Waker) {}
    }

    #[test]
    fn a_turn_ends_though_more_comes_all_the_time() {
        let bus = Endless { memory: Arc::new(DmaMemory::new(0x1_0000, 8192, 0)), written: Cell::new(0) };
        let doorbell = DoorbellLayout { page_bits: 12, queue_bits: 3 }.doorbell(0);
        let (list, buffers) = (bus.memory.base() + 4096, vec![0; 3 * FREE_LIST_UNIT]);
        let mut incoming = [Incoming {
            queue: IngressQueue::new(0, bus.memory.base(), ENTRIES, doorbell),
            free_list: FreeList::new(1, list, buffers, (64, 0), doorbell, &bus),
        }];
        bus.write(ENTRIES.into());
        for _ in 0..3 {
            let mut turn = Turn::of(u16::MAX);
            let count = std::iter::from_fn(|| next_arrival(&mut incoming, &bus, &mut turn)).take(1000).count();
            assert_eq!((count, turn.is_cut), (usize::from(ENTRIES), false));
        }
        let mut turn = Turn::of(ENTRIES / 2);
        let count = std::iter::from_fn(|| next_arrival(&mut incoming, &bus, &mut turn)).take(1000).count();
        assert_eq!((count, turn.is_cut), (usize::from(ENTRIES / 2), true));
    }
}
