//! Places for payload: page pods in the adapter, each for good with a buffer of its own in the common memory.
//!
//! A pod is never taken from its buffer, so that payload which comes late, for a tag that was given back, can only fall into a buffer
//! that nobody reads or that is frozen. Its colour changes with every use.

use crate::dma::{DmaMemory, Heap};
use crate::wire::{COLOR_BITS, PAGES_OF_POD, POD_BYTES, PagePod, PodHeader, PodLength, PodTag, Tag, TagFormat};
use std::collections::VecDeque;

/// A size of place: pages of 4 KiB shifted by the adapter's page size, in so many pods.
#[derive(Clone, Copy, Debug)]
struct Class {
    page_size: u8,
    page_bits: u32,
    pages: usize,
}

impl Class {
    const fn bytes(self) -> usize {
        self.pages << self.page_bits
    }

    const fn pods(self) -> usize {
        self.pages.div_ceil(PAGES_OF_POD)
    }
}

/// The places that are made, by size. The page sizes are those that the adapter has after a reset: 4, 8, 16 and 64 KiB.
const CLASSES: [Class; 5] = [
    Class { page_size: 0, page_bits: 12, pages: 1 },
    Class { page_size: 0, page_bits: 12, pages: 4 },
    Class { page_size: 2, page_bits: 14, pages: 4 },
    Class { page_size: 3, page_bits: 16, pages: 4 },
    Class { page_size: 3, page_bits: 16, pages: 16 },
];

/// Most pods of one place.
pub const PODS_OF_PLACE_MAX: usize = 4;
/// Longest transfer that has a place, in bytes.
pub const PLACE_BYTES_MAX: u32 = CLASSES[CLASSES.len() - 1].bytes() as u32;

/// What there is to know of a pod that is the first of its place.
#[derive(Debug)]
struct Place {
    buffer: u64,
    class: u8,
    color: u8,
    /// Whose it is, and how long the transfer.
    user: Option<(u32, u32)>,
}

/// Payload that the adapter says it has placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Where it is.
    pub address: u64,
    /// How far behind it the transfer ends, in bytes.
    pub rest: u32,
}

/// All places of a function.
#[derive(Debug)]
pub struct Placements {
    format: TagFormat,
    pods_max: u32,
    /// By number of the pod; the others of a place have none.
    places: Vec<Option<Place>>,
    free: [VecDeque<u32>; CLASSES.len()],
    in_use: usize,
}

impl Placements {
    /// None is made yet; there are `pods` in the adapter, and tags are of that format.
    #[must_use]
    pub fn new(format: TagFormat, pods: u32) -> Self {
        Self { format, pods_max: pods.min(format.pods()), places: Vec::new(), free: Default::default(), in_use: 0 }
    }

    /// How many are in use.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.in_use
    }

    /// The tag of a place for `bytes` bytes of the connection `tid`; the caller writes its [pods](Self::pods). `None`: there is
    /// none.
    #[must_use]
    pub fn reserve(&mut self, memory: &DmaMemory, heap: &mut Heap, tid: u32, bytes: u32) -> Option<u32> {
        let class = CLASSES.iter().position(|class| class.bytes() >= bytes as usize)?;
        let pod = self.take_free(memory, class).or_else(|| self.make(heap, class))?;
        let place = self.place_mut(pod);
        place.color = (place.color + 1) % (1 << COLOR_BITS);
        place.user = Some((tid, bytes));
        let color = place.color;
        self.in_use += 1;
        Some(self.format.placed(PodTag { page_size: CLASSES[class].page_size, pod, color }))
    }

    /// Gives the place of a tag back. Whether the connection had one in use.
    pub fn release(&mut self, tid: u32, tag: u32) -> bool {
        let Some((pod, ..)) = self.find(tid, tag) else { return false };
        self.free(pod);
        true
    }

    /// Gives all places of a connection back. It costs a look at all.
    pub fn release_all(&mut self, tid: u32) {
        for pod in 0..self.places.len() {
            if self.places[pod].as_ref().and_then(|place| place.user).is_some_and(|(user, _)| user == tid) {
                self.free(pod as u32);
            }
        }
    }

    /// The pods of a place in use as they are written to the adapter, and how far behind the first pod of all.
    ///
    /// # Panics
    /// If the connection has no place of that tag in use: a bug of the caller.
    #[must_use]
    pub fn pods(&self, tid: u32, tag: u32, pods: &mut [PagePod; PODS_OF_PLACE_MAX]) -> (usize, u32) {
        let (pod, place, bytes) = self.find(tid, tag).expect("pods are those of a place in use");
        let class = CLASSES[usize::from(place.class)];
        let header = PodHeader::new()
            .with_bit(PodHeader::VALID, true)
            .with(PodHeader::TID, tid.into())
            .with(PodHeader::TAG, pod.into())
            .with(PodHeader::COLOR, place.color.into());
        let length = PodLength::new().with(PodLength::LEN, bytes.into());
        let pages = (0..class.pages as u64).map(|page| place.buffer + (page << class.page_bits));
        PagePod::fill(&mut pods[..class.pods()], header, length, pages);
        (class.pods(), pod * POD_BYTES)
    }

    /// Where payload of a PDU with that tag was placed; `None` if the connection has no such place in use, or it is shorter.
    #[must_use]
    pub fn locate(&self, tid: u32, tag: u32, offset: u32, length: u32) -> Option<Placed> {
        let (_, place, bytes) = self.find(tid, tag)?;
        let rest = bytes.checked_sub(offset)?.checked_sub(length)?;
        Some(Placed { address: place.buffer + u64::from(offset), rest })
    }

    /// The place of a tag that the connection has in use: its first pod, itself, and how long the transfer is.
    fn find(&self, tid: u32, tag: u32) -> Option<(u32, &Place, u32)> {
        let Tag::Placed(tag) = self.format.decode(tag) else { return None };
        let place = self.places.get(tag.pod as usize)?.as_ref()?;
        let (_, bytes) = place.user.filter(|&(user, _)| user == tid && place.color == tag.color)?;
        Some((tag.pod, place, bytes))
    }

    fn free(&mut self, pod: u32) {
        let place = self.place_mut(pod);
        place.user = None;
        let class = usize::from(place.class);
        self.free[class].push_back(pod);
        self.in_use -= 1;
    }

    /// A free place whose buffer nobody uses any more; the oldest are looked at.
    fn take_free(&mut self, memory: &DmaMemory, class: usize) -> Option<u32> {
        for _ in 0..self.free[class].len().min(4) {
            let pod = self.free[class].pop_front()?;
            let buffer = self.place_mut(pod).buffer;
            if !memory.is_frozen(buffer, CLASSES[class].bytes()) {
                return Some(pod);
            }
            self.free[class].push_back(pod);
        }
        None
    }

    fn make(&mut self, heap: &mut Heap, class: usize) -> Option<u32> {
        let (pod, pods) = (self.places.len(), CLASSES[class].pods());
        if pod + pods > self.pods_max as usize {
            return None;
        }
        let buffer = heap.allocate(CLASSES[class].bytes())?.address();
        self.places.push(Some(Place { buffer, class: class as u8, color: 0, user: None }));
        self.places.resize_with(pod + pods, || None);
        Some(pod as u32)
    }

    fn place_mut(&mut self, pod: u32) -> &mut Place {
        self.places[pod as usize].as_mut().expect("it is the first pod of a place")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::sync::Arc;

    fn setting() -> (Arc<DmaMemory>, Heap, Placements) {
        let memory = Arc::new(DmaMemory::new(0x10_0000, 4096, 8 << 20));
        let heap = Heap::new(memory.buffers()..memory.end());
        (memory, heap, Placements::new(TagFormat::for_pods(64), 64))
    }

    proptest! {
        #[test]
        fn pods_and_buffers_never_overlap_and_colours_change(steps in prop::collection::vec((any::<bool>(), 0..3_000_000u32), 1..300)) {
            let (memory, mut heap, mut placements) = setting();
            let mut used: Vec<(u32, u32)> = Vec::new();
            let mut last_color = std::collections::HashMap::new();
            for (release, bytes) in steps {
                if release && !used.is_empty() {
                    let (tag, _) = used.swap_remove(bytes as usize % used.len());
                    prop_assert!(placements.release(7, tag));
                    prop_assert!(!placements.release(7, tag), "twice");
                } else if let Some(tag) = placements.reserve(&memory, &mut heap, 7, bytes) {
                    let Tag::Placed(parts) = placements.format.decode(tag) else { panic!("a place has a tag of a place") };
                    prop_assert_ne!(last_color.insert(parts.pod, parts.color), Some(parts.color));
                    used.push((tag, bytes));
                } else {
                    prop_assert!(bytes > PLACE_BYTES_MAX || !used.is_empty() || bytes > 4096);
                }
                prop_assert_eq!(placements.in_use(), used.len());
                let (mut pods_seen, mut pages_seen) = (HashSet::new(), HashSet::new());
                for &(tag, bytes) in &used {
                    let mut pods = [PagePod::default(); PODS_OF_PLACE_MAX];
                    let (count, offset) = placements.pods(7, tag, &mut pods);
                    prop_assert!((0..count as u32).all(|pod| pods_seen.insert(offset / POD_BYTES + pod)));
                    let page_size = [12, 13, 14, 16][(tag >> 30) as usize];
                    for pod in &pods[..count] {
                        for page in pod.pages[..PAGES_OF_POD].iter().filter(|page| page.get() != 0) {
                            let pages = page.get() >> 12..(page.get() + (1 << page_size)) >> 12;
                            prop_assert!(pages.into_iter().all(|page| pages_seen.insert(page)));
                        }
                    }
                    prop_assert_eq!(placements.locate(7, tag, 0, bytes).map(|placed| placed.rest), Some(0));
                    prop_assert!(placements.locate(7, tag, 1, bytes).is_none(), "beyond the transfer");
                    prop_assert!(placements.locate(8, tag, 0, 0).is_none(), "another's");
                    prop_assert!(placements.locate(7, tag ^ 1, 0, 0).is_none(), "another colour");
                }
                prop_assert!(pods_seen.iter().all(|&pod| pod < 64));
            }
            let other = placements.reserve(&memory, &mut heap, 8, 1);
            placements.release_all(7);
            prop_assert_eq!(placements.in_use(), usize::from(other.is_some()), "another's places stay");
        }
    }

    #[test]
    fn a_buffer_that_is_still_read_is_not_used_again() {
        let (memory, mut heap, mut placements) = setting();
        let first = placements.reserve(&memory, &mut heap, 1, 4096).unwrap();
        let address = |placements: &Placements, tag| placements.locate(1, tag, 0, 4096).unwrap().address;
        let buffer = address(&placements, first);
        let bytes = memory.freeze(buffer, 4096).unwrap();
        assert!(placements.release(1, first));
        assert!(placements.locate(1, first, 0, 4096).is_none(), "it was given back");
        let second = placements.reserve(&memory, &mut heap, 1, 4096).unwrap();
        assert_ne!(address(&placements, second), buffer);
        drop(bytes);
        let third = placements.reserve(&memory, &mut heap, 1, 4096).unwrap();
        assert_eq!(address(&placements, third), buffer);
        assert_ne!(third, first);
    }

    #[test]
    fn when_pods_run_out_there_is_no_place() {
        let (memory, mut heap, mut placements) = setting();
        let held: Vec<u32> = std::iter::from_fn(|| placements.reserve(&memory, &mut heap, 1, 512)).collect();
        assert_eq!(held.len(), 64);
        assert_eq!(placements.reserve(&memory, &mut heap, 1, PLACE_BYTES_MAX + 1), None);
        assert!(held.into_iter().all(|tag| placements.release(1, tag)));
        placements.reserve(&memory, &mut heap, 1, 512).unwrap();
        assert_eq!(placements.in_use(), 1);
    }
}
