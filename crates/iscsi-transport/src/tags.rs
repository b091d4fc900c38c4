//! Tags of a port that places nothing.

/// Bits of a tag that say which slot it is; the rest say how often the slot was used.
const SLOT_BITS: u32 = 20;
/// One slot less than the bits could say, so that no tag is `0xffffffff`.
const SLOTS_MAX: usize = (1 << SLOT_BITS) - 1;

/// Tags that place nothing: small numbers, used again soon, with a count of their use in the upper bits so
/// that what comes late for a tag of old is not taken for the new one.
#[derive(Debug)]
pub struct Tags {
    use_bits: u32,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Default for Tags {
    /// Tags of 32 bits.
    fn default() -> Self {
        Self::of_bits(u32::BITS)
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    tag: u32,
    reserved: bool,
}

impl Tags {
    /// Tags of so many bits, 21 to 32: the others are zero.
    ///
    /// # Panics
    /// If there are fewer or more: a bug of the caller.
    #[must_use]
    pub fn of_bits(bits: u32) -> Self {
        assert!((SLOT_BITS + 1..=u32::BITS).contains(&bits), "a tag has between 21 and 32 bits");
        Self { use_bits: bits - SLOT_BITS, slots: Vec::new(), free: Vec::new() }
    }

    // RFC 7143 11.2.1.8-1, 11.2.1.8-2, 11.8.5-1: the tags of both ends come from here.
    /// A tag that no other has now, and not `0xffffffff`.
    ///
    /// # Panics
    /// If more than a million are reserved: a bug of the caller.
    pub fn reserve(&mut self) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            assert!(self.slots.len() < SLOTS_MAX, "a connection has fewer than a million tags at once");
            self.slots.push(Slot { tag: self.slots.len() as u32, reserved: false });
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[number as usize];
        slot.reserved = true;
        slot.tag
    }

    /// Ends a reservation.
    ///
    /// # Panics
    /// If the tag is not reserved: a bug of the caller.
    pub fn release(&mut self, tag: u32) {
        let number = tag & (SLOTS_MAX as u32);
        let slot = self.slots.get_mut(number as usize).filter(|slot| slot.reserved && slot.tag == tag);
        let slot = slot.expect("only a tag that is reserved is released");
        slot.reserved = false;
        let uses = (tag >> SLOT_BITS).wrapping_add(1) & ((1 << self.use_bits) - 1);
        slot.tag = uses << SLOT_BITS | number;
        self.free.push(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    // RFC 7143 11.2.1.8-1: not while the task exists.
    #[test]
    fn live_tags_differ_and_old_ones_do_not_come_back_at_once() {
        let mut tags = Tags::default();
        let first: HashSet<u32> = (0..1000).map(|_| tags.reserve()).collect();
        assert_eq!(first.len(), 1000);
        for tag in &first {
            tags.release(*tag);
        }
        let second: HashSet<u32> = (0..1000).map(|_| tags.reserve()).collect();
        assert_eq!(second.len(), 1000);
        assert!(first.is_disjoint(&second));
    }

    // RFC 7143 11.2.1.8-2, 11.8.5-1: 0xffffffff is none.
    #[test]
    fn no_tag_is_the_reserved_one_however_often_it_is_used() {
        let mut tags = Tags::default();
        for _ in 0..3 << 12 {
            let tag = tags.reserve();
            assert_ne!(tag, u32::MAX);
            tags.release(tag);
        }
        assert_eq!(tags.slots.len(), 1);
    }

    #[test]
    fn tags_of_fewer_bits_stay_below() {
        let mut tags = Tags::of_bits(22);
        for _ in 0..10 {
            let tag = tags.reserve();
            assert!(tag < 1 << 22);
            tags.release(tag);
        }
    }

    #[test]
    #[should_panic(expected = "only a tag that is reserved is released")]
    fn releasing_twice_is_a_bug() {
        let mut tags = Tags::default();
        let tag = tags.reserve();
        tags.release(tag);
        tags.release(tag);
    }
}
