//! Tags as they stand in PDUs: those that name page pods, and those that do not.
//!
//! ```text
//!  31 30 | 29 .. bits | bits-1    | .. 6      | 5 0
//!  page  | free       | 1: places | number    | colour
//!  size  |            |  nothing  | of the pod|
//! ```

/// How a tag is cut, as the adapter's register TAGMASK says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagFormat {
    bits: u32,
}

/// What a tag means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// Payload goes where the page pod says.
    Placed(PodTag),
    /// Nothing is placed; a number of the software.
    Software(u32),
}

/// A tag that names a page pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodTag {
    /// Which of the four page sizes, 0 to 3.
    pub page_size: u8,
    /// Number of the first pod.
    pub pod: u32,
    /// How often the pod was used, modulo 64.
    pub color: u8,
}

/// Bits of a colour.
pub const COLOR_BITS: u32 = 6;
const TAG_BITS: u32 = 30;

impl TagFormat {
    /// The format of a value of TAGMASK; `None` if it leaves no bit for a pod's number or reaches into the page size.
    #[must_use]
    pub const fn from_mask(mask: u32) -> Option<Self> {
        let bits = u32::BITS - mask.leading_zeros();
        if bits < COLOR_BITS + 2 || bits > TAG_BITS { None } else { Some(Self { bits }) }
    }

    /// The format whose numbers reach that many pods, as far as there are bits.
    #[must_use]
    pub const fn for_pods(pods: u32) -> Self {
        let bits = u32::BITS - pods.leading_zeros();
        // The highest bit of the mask is the one that says that nothing is placed.
        let bits = if bits > TAG_BITS - COLOR_BITS - 1 { TAG_BITS - COLOR_BITS - 1 } else { bits };
        Self { bits: bits + COLOR_BITS + 1 }
    }

    /// The value of TAGMASK.
    #[must_use]
    pub const fn mask(self) -> u32 {
        1 << (self.bits - 1)
    }

    /// How many pods can be named.
    #[must_use]
    pub const fn pods(self) -> u32 {
        1 << (self.bits - 1 - COLOR_BITS)
    }

    /// Bits of a number of the software.
    #[must_use]
    pub const fn software_bits(self) -> u32 {
        TAG_BITS - 1
    }

    /// The tag of a pod.
    ///
    /// # Panics
    /// If a part has too many bits: a bug of the caller.
    #[must_use]
    pub const fn placed(self, tag: PodTag) -> u32 {
        assert!(tag.page_size < 4 && tag.pod < self.pods() && tag.color < 1 << COLOR_BITS, "a tag's parts fit");
        (tag.page_size as u32) << TAG_BITS | tag.pod << COLOR_BITS | tag.color as u32
    }

    /// A tag that places nothing, with a number of the software in it.
    ///
    /// # Panics
    /// If the number has more than [`software_bits`](Self::software_bits): a bug of the caller.
    #[must_use]
    pub const fn software(self, number: u32) -> u32 {
        assert!(number < 1 << self.software_bits(), "a number of the software has 29 bits");
        let low = self.mask() - 1;
        number >> (self.bits - 1) << self.bits | self.mask() | number & low
    }

    /// What a tag means. Whatever the bits above the mask say is ignored where a pod is named.
    #[must_use]
    pub const fn decode(self, tag: u32) -> Tag {
        let low = self.mask() - 1;
        if tag & self.mask() == 0 {
            let (page_size, color) = ((tag >> TAG_BITS) as u8, (tag & ((1 << COLOR_BITS) - 1)) as u8);
            return Tag::Placed(PodTag { page_size, pod: (tag & low) >> COLOR_BITS, color });
        }
        Tag::Software(tag >> self.bits << (self.bits - 1) | tag & low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of the reference: 32768 pods, 23 bits.
    #[test]
    fn the_worked_example() {
        let format = TagFormat::for_pods(32768);
        assert_eq!((format.bits, format.mask()), (23, 1 << 22));
        assert_eq!(TagFormat::from_mask(1 << 22), Some(format));
        assert_eq!(format.placed(PodTag { page_size: 0, pod: 5, color: 3 }), 0x143);
        assert_eq!(format.software(0x12345), 0x41_2345);
        assert_eq!(format.software(0xc1_2345), 0x1c1_2345);
        assert_eq!(format.software(0), 0x40_0000);
        assert_eq!(format.decode(0x41_2345), Tag::Software(0x12345));
        assert_eq!(format.decode(0x1c1_2345), Tag::Software(0xc1_2345));
    }

    #[test]
    fn masks_without_room_are_refused() {
        for mask in [0, 1, 0x40, u32::MAX, 1 << 30] {
            assert_eq!(TagFormat::from_mask(mask), None, "{mask:#x}");
        }
        let pods = [0x80, 1 << 29].map(|mask| TagFormat::from_mask(mask).map(TagFormat::pods));
        assert_eq!(pods, [Some(2), Some(1 << 23)]);
    }

    proptest! {
        #[test]
        fn both_kinds_come_back_and_are_never_confused(bits in 8..=30u32, page_size in 0..4u8, pod: u32, color in 0..64u8,
            number in 0..1u32 << 29) {
            let format = TagFormat::from_mask(1 << (bits - 1)).unwrap();
            let tag = PodTag { page_size, pod: pod % format.pods(), color };
            prop_assert_eq!(format.decode(format.placed(tag)), Tag::Placed(tag));
            let software = format.software(number);
            prop_assert_eq!(format.decode(software), Tag::Software(number));
            prop_assert_ne!(software, u32::MAX);
            prop_assert_ne!(format.placed(tag), software);
        }
    }
}
