//! Page pods: where in the computer's memory the payload of a transfer goes, as the adapter keeps it.
//!
//! The layout can be looked up in FreeBSD's `sys/dev/cxgbe/common/t4_tcb.h` and `tom/t4_tom.h` (`pagepod`).

use super::bits::bit_fields;
use super::layout::layout;
use zerocopy::big_endian::U64;

bit_fields! {
    /// First word of a page pod.
    PodHeader: u64 {
        VALID = 56:56;
        /// Whose connection may use it.
        TID = 55:32;
        PGSZ = 31:30;
        /// Its number in the region.
        TAG = 29:6;
        COLOR = 5:0;
    }

    /// Second word of a page pod.
    PodLength: u64 {
        /// Of the whole transfer, in bytes.
        LEN = 63:32;
        /// Of the transfer's first byte in the first page.
        OFFSET = 31:0;
    }
}

layout! {
    /// Four pages of a transfer. Those of one transfer stand side by side and have the same header.
    PagePod = "pagepod", 64 {
        0 header: PodHeader;
        8 length: PodLength;
        16 protection: U64, "0: no protection information.";
        24 pages: [U64; PAGES_OF_POD + 1], "The last one repeats the first of the next pod, or is 0.";
    }
}

/// Pages of one pod.
pub const PAGES_OF_POD: usize = 4;
/// Bytes of one pod in the adapter's memory.
pub const POD_BYTES: u32 = size_of::<PagePod>() as u32;

impl PagePod {
    /// Writes the pods of a transfer over those pages.
    ///
    /// # Panics
    /// If there are more pods to write than there is room for: a bug of the caller.
    pub fn fill(pods: &mut [Self], header: PodHeader, length: PodLength, mut pages: impl Iterator<Item = u64> + Clone) {
        for pod in pods {
            *pod = Self { header, length, ..Self::default() };
            for (to, page) in pod.pages.iter_mut().zip(pages.clone()) {
                *to = page.into();
            }
            pages.by_ref().take(PAGES_OF_POD).for_each(drop);
        }
        assert!(pages.next().is_none(), "a transfer has as many pods as its pages take");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifth_page_of_a_pod_is_the_first_of_the_next() {
        let mut pods = [PagePod::default(); 2];
        PagePod::fill(&mut pods, PodHeader::new(), PodLength::new(), (1..=6).map(|page| page << 12));
        let pages: Vec<u64> = pods.iter().flat_map(|pod| pod.pages.map(|page| page.get() >> 12)).collect();
        assert_eq!(pages, [1, 2, 3, 4, 5, 5, 6, 0, 0, 0]);
    }

    #[test]
    #[should_panic(expected = "as many pods as its pages take")]
    fn too_few_pods_are_a_bug() {
        PagePod::fill(&mut [PagePod::default()], PodHeader::new(), PodLength::new(), 0..5);
    }
}
