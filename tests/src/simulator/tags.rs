//! Tags that are in use, each with something that goes by it.

/// Bits of a tag that ports count up slowly from zero.
const SLOT_MASK: u32 = (1 << 20) - 1;

/// The tags of a port or a session.
#[derive(Debug)]
pub(crate) struct Tags<T> {
    slots: Vec<Option<(u32, T)>>,
    live: usize,
}

impl<T> Default for Tags<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), live: 0 }
    }
}

impl<T> Tags<T> {
    /// A tag comes into use. Whether nothing like it was.
    pub(crate) fn insert(&mut self, tag: u32, value: T) -> bool {
        let slot = (tag & SLOT_MASK) as usize;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        let before = self.slots[slot].replace((tag, value));
        self.live += usize::from(before.is_none());
        before.is_none()
    }

    /// A tag is not in use any more. What went by it, if it was.
    pub(crate) fn remove(&mut self, tag: u32) -> Option<T> {
        let slot = self.slots.get_mut((tag & SLOT_MASK) as usize)?;
        let (_, value) = slot.take_if(|(used, _)| *used == tag)?;
        self.live -= 1;
        Some(value)
    }

    pub(crate) fn get_mut(&mut self, tag: u32) -> Option<&mut T> {
        let slot = self.slots.get_mut((tag & SLOT_MASK) as usize)?.as_mut();
        slot.filter(|(used, _)| *used == tag).map(|(_, value)| value)
    }

    pub(crate) fn contains(&self, tag: u32) -> bool {
        let slot = self.slots.get((tag & SLOT_MASK) as usize);
        slot.and_then(Option::as_ref).is_some_and(|(used, _)| *used == tag)
    }

    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// A tag like those of ports that is not in use; `uses` tells it from those before.
    pub(crate) fn unused(&self, uses: u32) -> u32 {
        let slot = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        uses << 20 | slot as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_in_use_from_its_insertion_to_its_removal() {
        let mut tags = Tags::default();
        assert!(tags.insert(3, 'a') && tags.insert(tags.unused(7), 'b'));
        assert!(tags.contains(3) && tags.contains(7 << 20) && !tags.contains(1 << 20 | 3) && !tags.contains(0));
        assert_eq!((tags.get_mut(3).copied(), tags.get_mut(4).copied(), tags.len()), (Some('a'), None, 2));
        assert!(!tags.insert(1 << 20 | 3, 'c'), "a slot has one tag");
        assert_eq!((tags.remove(3), tags.remove(1 << 20 | 3), tags.len()), (None, Some('c'), 1));
    }
}
