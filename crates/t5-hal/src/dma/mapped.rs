//! Payload of the computer's that the adapter reads where it is, though it is no part of the memory.
//!
//! As an IOMMU does for the length of one transfer, the memory gives such bytes addresses of their own, behind all others. Nobody writes there.

use super::{DmaMemory, Words};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;

/// Payloads that can have an address at the same time.
const SLOTS: u32 = 4096;
/// Logarithm of the addresses of one payload: a data segment has fewer bytes.
const SLOT_BITS: u32 = 24;
/// First of those addresses. No memory reaches so far.
pub(super) const FIRST_ADDRESS: u64 = 1 << 48;

/// Payloads and their addresses.
#[derive(Debug)]
pub(super) struct Slots {
    payloads: Box<[Mutex<Option<Bytes>>]>,
    free: Mutex<Vec<u32>>,
}

impl Slots {
    pub(super) fn new() -> Self {
        // The first is the next.
        Self { payloads: (0..SLOTS).map(|_| Mutex::new(None)).collect(), free: Mutex::new((0..SLOTS).rev().collect()) }
    }

    /// Nothing ever has an address there.
    #[cfg(feature = "vfio")]
    pub(super) fn none() -> Self {
        Self { payloads: [].into(), free: Mutex::new(Vec::new()) }
    }

    fn insert(&self, bytes: Bytes) -> Option<u32> {
        let slot = self.free.lock().pop()?;
        *self.payloads[slot as usize].lock() = Some(bytes);
        Some(slot)
    }

    fn remove(&self, slot: u32) {
        // The payload is dropped behind the lock.
        let _payload = self.payloads[slot as usize].lock().take();
        self.free.lock().push(slot);
    }

    /// What is there, if all of it is one payload.
    pub(super) fn get(&self, address: u64, length: usize) -> Option<Bytes> {
        let behind = address.checked_sub(FIRST_ADDRESS)?;
        let payload = self.payloads.get(usize::try_from(behind >> SLOT_BITS).ok()?)?.lock();
        let at = (behind & ((1 << SLOT_BITS) - 1)) as usize;
        let payload = payload.as_ref().filter(|payload| at <= payload.len() && length <= payload.len() - at)?;
        Some(payload.slice(at..at + length))
    }
}

/// Bytes that the adapter reads at an address of its own, as long as this lives.
#[derive(Debug)]
#[must_use = "what is dropped has no address any more"]
pub struct Mapping {
    address: u64,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// In the memory, where the bytes are kept from being used again.
    Inside(#[expect(dead_code, reason = "it is kept")] Bytes),
    Slot {
        memory: Arc<DmaMemory>,
        slot: u32,
    },
}

impl Mapping {
    /// Where the bytes are on the bus.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if let Place::Slot { memory, slot } = &self.place {
            memory.mapped.remove(*slot);
        }
    }
}

impl DmaMemory {
    /// Gives bytes an address at which the adapter reads them without a copy: the one that they have in this memory, or else one for as long as
    /// the mapping lives. `None` if they are none or too many, too many others have one, or the adapter reaches nothing but the memory: then they are to be copied.
    #[must_use]
    pub fn map(self: &Arc<Self>, bytes: &Bytes) -> Option<Mapping> {
        if bytes.is_empty() {
            return None;
        }
        if let Some(address) = self.locate(bytes) {
            return Some(Mapping { address, place: Place::Inside(bytes.clone()) });
        }
        if bytes.len() > 1 << SLOT_BITS || !matches!(self.words, Words::Heap(_)) {
            return None;
        }
        let slot = self.mapped.insert(bytes.clone())?;
        let address = FIRST_ADDRESS + (u64::from(slot) << SLOT_BITS);
        Some(Mapping { address, place: Place::Slot { memory: Arc::clone(self), slot } })
    }

    /// The bytes that were [mapped](Self::map) there, if all of it is of one mapping: for an adapter that is a program.
    #[must_use]
    pub fn mapped(&self, address: u64, length: usize) -> Option<Bytes> {
        self.mapped.get(address, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dma::DmaFault;

    fn memory() -> Arc<DmaMemory> {
        Arc::new(DmaMemory::new(0x1000, 4096, 4096))
    }

    fn read(memory: &DmaMemory, address: u64, length: usize) -> Result<Vec<u8>, DmaFault> {
        let mut out = vec![0; length];
        memory.read(address, &mut out).map(|()| out)
    }

    #[test]
    fn what_is_mapped_is_read_where_it_is_and_nowhere_else() {
        let memory = memory();
        let bytes = Bytes::from_static(b"payload");
        let mapping = memory.map(&bytes).unwrap();
        let at = mapping.address();
        assert_eq!(memory.mapped(at, 7).unwrap().as_ptr(), bytes.as_ptr(), "no copy");
        assert_eq!(memory.mapped(at + 3, 4).unwrap(), "load");
        assert_eq!(read(&memory, at + 2, 3).unwrap(), b"ylo");
        for (address, length) in
            [(at, 8), (at + 8, 0), (at + 7, 1), (at - 1, 1), (at + (1 << SLOT_BITS), 1), (u64::MAX, 1)]
        {
            assert_eq!(memory.mapped(address, length), None);
            assert!(matches!(read(&memory, address, length), Err(DmaFault::Outside { .. })));
        }
        drop(mapping);
        assert_eq!(memory.mapped(at, 1), None);
        assert!(read(&memory, at, 1).is_err());
    }

    #[test]
    fn nobody_writes_what_is_mapped() {
        let memory = memory();
        let mapping = memory.map(&Bytes::from_static(&[1; 64])).unwrap();
        assert!(matches!(memory.write(mapping.address(), &[2]), Err(DmaFault::Outside { .. })));
        assert!(matches!(memory.store(mapping.address(), [2; 8]), Err(DmaFault::Outside { .. })));
        assert!(memory.freeze(mapping.address(), 64).is_none());
        assert_eq!(read(&memory, mapping.address(), 64).unwrap(), [1; 64]);
    }

    #[test]
    fn what_is_in_the_memory_keeps_its_address_and_is_kept() {
        let memory = memory();
        let bytes = memory.freeze(memory.buffers(), 512).unwrap();
        let mapping = memory.map(&bytes.slice(100..200)).unwrap();
        assert_eq!(mapping.address(), memory.buffers() + 100);
        drop(bytes);
        assert!(memory.is_frozen(memory.buffers(), 512));
        drop(mapping);
        assert!(!memory.is_frozen(memory.buffers(), 512));
    }

    #[test]
    fn addresses_are_bounded_and_come_back() {
        let memory = memory();
        let bytes = Bytes::from_static(b"payload");
        let mappings: Vec<Mapping> = std::iter::from_fn(|| memory.map(&bytes)).collect();
        assert_eq!(mappings.len(), SLOTS as usize);
        let mut addresses: Vec<u64> = mappings.iter().map(Mapping::address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), SLOTS as usize, "each has its own");
        drop(mappings);
        assert!(memory.map(&bytes).is_some());
        assert!(memory.map(&Bytes::new()).is_none());
    }
}
