//! Page pods in the adapter's memory, and payload that goes where they say.

use super::receive::Settings;
use iscsi_pdu::{DataInHeader, DataOutHeader, Header, Opcode};
use t5_hal::dma::{DmaFault, DmaMemory};
use t5_hal::wire::{
    DdpVerdict, IscsiPageSizes, PAGES_OF_POD, POD_BYTES, PagePod, PodHeader, PodLength, PodTag, Tag, TagFormat,
};
use zerocopy::FromBytes;

/// Pages of 4, 8, 16 and 64 KiB.
const PAGE_SIZES: IscsiPageSizes = IscsiPageSizes::from_value(0x0402_0100);

/// What a PDU of data says of the place of its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The tag: ITT of Data-In, TTT of Data-Out.
    pub tag: u32,
    /// Offset of the payload in the transfer, in bytes.
    pub offset: u32,
    /// The connection's page size.
    pub page_size: u8,
}

impl Target {
    /// Reads it; nothing if the PDU is neither Data-In nor Data-Out.
    pub(super) fn of(pdu: &[u8], settings: Settings) -> Option<Self> {
        let header = Header(*pdu.first_chunk()?);
        let (tag, offset) = match header.opcode() {
            Opcode::DataIn => (header.initiator_task_tag(), header.view::<DataInHeader>().buffer_offset),
            Opcode::DataOut => {
                let fields: &DataOutHeader = header.view();
                (fields.target_transfer_tag.get(), fields.buffer_offset)
            }
            _ => return None,
        };
        Some(Self { tag, offset: offset.get(), page_size: settings.page_size & 3 })
    }
}

/// The page pods of one function: its part of the adapter's memory.
#[derive(Debug)]
pub struct Pods {
    base: u32,
    bytes: Vec<u8>,
    /// Pods whose memory was found broken.
    broken: Vec<u32>,
    format: TagFormat,
    page_sizes: IscsiPageSizes,
}

impl Pods {
    /// A region for that many pods at an address of the adapter's memory; none is valid.
    #[must_use]
    pub fn new(base: u32, pods: u32) -> Self {
        Self {
            base,
            bytes: vec![0; (pods * POD_BYTES) as usize],
            broken: Vec::new(),
            format: TagFormat::for_pods(pods),
            page_sizes: PAGE_SIZES,
        }
    }

    /// First address of the region: the register LLIMIT.
    #[must_use]
    pub const fn base(&self) -> u32 {
        self.base
    }

    /// Bytes of the region.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.bytes.len() as u32
    }

    /// How tags are cut: the register TAGMASK.
    #[must_use]
    pub const fn format(&self) -> TagFormat {
        self.format
    }

    /// The register PSZ.
    #[must_use]
    pub const fn page_sizes(&self) -> IscsiPageSizes {
        self.page_sizes
    }

    /// Changes the register PSZ.
    pub const fn set_page_sizes(&mut self, sizes: IscsiPageSizes) {
        self.page_sizes = sizes;
    }

    /// Writes to the region; false if some of it is outside: nothing was written.
    pub fn write(&mut self, address: u32, bytes: &[u8]) -> bool {
        let at = address.checked_sub(self.base).map(|at| at as usize);
        let Some(to) = at.and_then(|at| self.bytes.get_mut(at..)?.get_mut(..bytes.len())) else { return false };
        to.copy_from_slice(bytes);
        true
    }

    /// Makes the memory of a pod unreadable, as a parity error does.
    pub fn break_pod(&mut self, pod: u32) {
        self.broken.push(pod);
    }

    /// Places payload of a connection. The verdict has [`DdpVerdict::PLACED`], or the first thing that was wrong; neither if the
    /// tag says that nothing is placed, or the place cannot be written now.
    #[must_use]
    pub fn place(&self, tid: u32, target: Target, data: &[u8], memory: &DmaMemory) -> DdpVerdict {
        let Tag::Placed(tag) = self.format.decode(target.tag) else { return DdpVerdict::new() };
        match self.write_payload(tid, tag, target, data, memory) {
            Ok(()) => DdpVerdict::new().with_bit(DdpVerdict::PLACED, true),
            Err(verdict) => verdict,
        }
    }

    fn write_payload(
        &self,
        tid: u32,
        tag: PodTag,
        target: Target,
        data: &[u8],
        memory: &DmaMemory,
    ) -> Result<(), DdpVerdict> {
        let page_size = self.page_size(tag, target)?;
        let first = self.pod(tid, tag, 0)?;
        let length = first.length.get(PodLength::LEN);
        if u64::from(target.offset) + data.len() as u64 > length {
            return Err(error(DdpVerdict::OFFSET_ERR));
        }
        let mut at = first.length.get(PodLength::OFFSET) + u64::from(target.offset);
        let mut rest = data;
        while !rest.is_empty() {
            let (page, in_page) = (at / page_size, at % page_size);
            let pod = self.pod(tid, tag, page / PAGES_OF_POD as u64)?;
            let (piece, behind) = rest.split_at(rest.len().min((page_size - in_page) as usize));
            let address = pod.pages[(page % PAGES_OF_POD as u64) as usize].get();
            match memory.write(address.wrapping_add(in_page), piece) {
                Ok(()) => {}
                // In use by the computer: the payload goes another way.
                Err(DmaFault::Frozen { .. }) => return Err(DdpVerdict::new()),
                Err(_) => return Err(error(DdpVerdict::INVALID_PPOD)),
            }
            at += piece.len() as u64;
            rest = behind;
        }
        Ok(())
    }

    /// Bytes of a page. The tag and the connection may both name a size: then it is the same one.
    fn page_size(&self, tag: PodTag, target: Target) -> Result<u64, DdpVerdict> {
        let index = match (tag.page_size, target.page_size) {
            (named, 0) | (0, named) => named,
            (tag, connection) if tag == connection => tag,
            _ => return Err(error(DdpVerdict::INVALID_TAG)),
        };
        let sizes = self.page_sizes;
        let order = [
            sizes.get(IscsiPageSizes::HPZ0),
            sizes.get(IscsiPageSizes::HPZ1),
            sizes.get(IscsiPageSizes::HPZ2),
            sizes.get(IscsiPageSizes::HPZ3),
        ][usize::from(index)];
        Ok(4096 << order)
    }

    /// The pod of that number of a transfer, if it is the connection's and the tag's.
    fn pod(&self, tid: u32, tag: PodTag, number: u64) -> Result<PagePod, DdpVerdict> {
        let pod = u64::from(tag.pod) + number;
        let address = u64::from(self.base) + pod * u64::from(POD_BYTES);
        // Addresses of the adapter's memory have 32 bits.
        if address > u64::from(u32::MAX) {
            return Err(error(DdpVerdict::LLIMIT_ERR));
        }
        let at = (pod * u64::from(POD_BYTES)) as usize;
        let Some(bytes) = self.bytes.get(at..).and_then(|bytes| bytes.first_chunk::<{ POD_BYTES as usize }>()) else {
            return Err(error(DdpVerdict::ULIMIT_ERR));
        };
        let pod = PagePod::read_from_bytes(bytes).expect("a pod has 64 bytes");
        let wrong = [
            (self.broken.contains(&((at / POD_BYTES as usize) as u32)), DdpVerdict::PPOD_PARITY),
            (!pod.header.is_set(PodHeader::VALID), DdpVerdict::INVALID_PPOD),
            (pod.header.get(PodHeader::TID) != u64::from(tid), DdpVerdict::TID_MISMATCH),
            (pod.header.get(PodHeader::COLOR) != u64::from(tag.color), DdpVerdict::COLOR_ERR),
            (pod.header.get(PodHeader::TAG) != u64::from(tag.pod), DdpVerdict::PPOD_MISMATCH),
        ];
        match wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, bit)) => Err(error(bit)),
            None => Ok(pod),
        }
    }
}

fn error(bit: t5_hal::wire::Field<DdpVerdict>) -> DdpVerdict {
    DdpVerdict::new().with_bit(bit, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    const BASE: u32 = 0x4_0000;
    const MEMORY: u64 = 0x10_0000;
    const TID: u32 = 0x345;
    const LENGTH: u32 = 30_000;
    const FIRST_OFFSET: u32 = 0x200;
    /// The first pod of the transfer of these tests.
    const TAG: PodTag = PodTag { page_size: 0, pod: 5, color: 3 };

    fn memory() -> DmaMemory {
        DmaMemory::new(MEMORY, 4096, 1 << 20)
    }

    /// Every second page of the buffers.
    fn page(number: u64) -> u64 {
        MEMORY + 4096 + number * 8192
    }

    fn header() -> PodHeader {
        PodHeader::new()
            .with_bit(PodHeader::VALID, true)
            .with(PodHeader::TID, TID.into())
            .with(PodHeader::TAG, TAG.pod.into())
            .with(PodHeader::COLOR, TAG.color.into())
    }

    fn pods_with(header: PodHeader) -> Pods {
        let mut pods = Pods::new(BASE, 16);
        let mut written = [PagePod::default(); 2];
        let length = PodLength::new().with(PodLength::LEN, LENGTH.into()).with(PodLength::OFFSET, FIRST_OFFSET.into());
        PagePod::fill(&mut written, header, length, (0..8).map(page));
        assert!(pods.write(BASE + 5 * 64, written.as_bytes()));
        pods
    }

    fn place(pods: &Pods, tag: PodTag, offset: u32, data: &[u8]) -> DdpVerdict {
        let target = Target { tag: pods.format().placed(tag), offset, page_size: 0 };
        pods.place(TID, target, data, &memory())
    }

    #[test]
    fn each_error_raises_its_bit_alone() {
        let good = pods_with(header());
        assert_eq!(place(&good, TAG, 0, &[1; 4096]).value(), 1 << 16);
        let cases: [(u32, DdpVerdict); 7] = [
            (27, place(&pods_with(header().with_bit(PodHeader::VALID, false)), TAG, 0, &[1; 64])),
            (26, place(&pods_with(header().with(PodHeader::TID, 0x346)), TAG, 0, &[1; 64])),
            (25, place(&good, PodTag { color: 4, ..TAG }, 0, &[1; 64])),
            (15, place(&pods_with(header().with(PodHeader::TAG, 6)), TAG, 0, &[1; 64])),
            (24, place(&good, TAG, LENGTH - 63, &[1; 64])),
            (23, place(&good, PodTag { pod: 16, ..TAG }, 0, &[1; 64])),
            (15, place(&good, PodTag { pod: 6, ..TAG }, 0, &[1; 64])),
        ];
        for (bit, verdict) in cases {
            assert_eq!(verdict.value(), 1 << bit, "bit {bit}");
        }
        let mut broken = pods_with(header());
        broken.break_pod(5);
        assert_eq!(place(&broken, TAG, 0, &[1; 64]).value(), 1 << 18);
    }

    #[test]
    fn a_pod_below_the_region_raises_its_bit_alone() {
        // The address of the pod wraps around below the region's first.
        let pods = Pods::new(u32::MAX - 15, 16);
        assert_eq!(place(&pods, TAG, 0, &[1; 64]).value(), 1 << 17);
    }

    #[test]
    fn two_page_sizes_at_once_raise_the_bit_of_an_invalid_tag_alone() {
        let pods = pods_with(header());
        let tag = pods.format().placed(PodTag { page_size: 2, ..TAG });
        let target = |page_size| Target { tag, offset: 0, page_size };
        assert_eq!(pods.place(TID, target(1), &[1; 64], &memory()).value(), 1 << 22);
        assert_eq!(pods.place(TID, target(2), &[1; 64], &memory()).value(), 1 << 16);
        assert_eq!(pods.place(TID, target(0), &[1; 64], &memory()).value(), 1 << 16);
    }

    #[test]
    fn a_tag_of_the_software_places_nothing_and_is_no_error() {
        let pods = pods_with(header());
        let tag = pods.format().software(5 << 6 | 3);
        assert_eq!(pods.place(TID, Target { tag, offset: 0, page_size: 0 }, &[1; 64], &memory()).value(), 0);
    }

    #[test]
    fn an_address_that_was_not_given_is_not_written() {
        let mut pods = pods_with(header());
        let wrong = PagePod {
            header: header(),
            length: PodLength::new().with(PodLength::LEN, 4096),
            pages: [0xdead_0000.into(); 5],
            ..PagePod::default()
        };
        assert!(pods.write(BASE + 5 * 64, wrong.as_bytes()));
        assert_eq!(place(&pods, TAG, 0, &[1; 64]).value(), 1 << 27);
    }

    #[test]
    fn what_the_computer_uses_is_left_alone() {
        let (pods, memory) = (pods_with(header()), std::sync::Arc::new(memory()));
        let lent = memory.freeze(page(0) + 512, 512).unwrap();
        let target = Target { tag: pods.format().placed(TAG), offset: 0, page_size: 0 };
        assert_eq!(pods.place(TID, target, &[1; 64], &memory).value(), 0);
        assert_eq!(lent, [0; 512][..]);
        drop(lent);
        assert_eq!(pods.place(TID, target, &[1; 64], &memory).value(), 1 << 16);
    }

    #[test]
    fn writes_beyond_the_region_are_refused() {
        let mut pods = Pods::new(BASE, 2);
        assert!(pods.write(BASE + 64, &[0; 64]));
        assert!(!pods.write(BASE + 65, &[0; 64]));
        assert!(!pods.write(BASE - 1, &[0; 1]));
        assert!(!pods.write(u32::MAX, &[0; 64]));
    }

    proptest! {
        #[test]
        fn payload_lies_in_its_pages_and_nowhere_else(offset in 0..LENGTH, length in 1..9000usize, seed: u8) {
            let length = length.min((LENGTH - offset) as usize);
            let data: Vec<u8> = (0..length).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed) | 1).collect();
            let (pods, memory) = (pods_with(header()), memory());
            let target = Target { tag: pods.format().placed(TAG), offset, page_size: 0 };
            prop_assert_eq!(pods.place(TID, target, &data, &memory).value(), 1 << 16);
            let mut expected = vec![0; (4096 + (1 << 20)) as usize];
            for (at, byte) in data.iter().enumerate() {
                let at = u64::from(FIRST_OFFSET + offset) + at as u64;
                expected[(page(at / 4096) + at % 4096 - MEMORY) as usize] = *byte;
            }
            let mut found = vec![0; expected.len()];
            memory.read(MEMORY, &mut found).unwrap();
            prop_assert!(found == expected);
        }

        #[test]
        fn any_tag_and_any_pods_are_taken(tag: u32, offset: u32, page_size in 0..4u8, bytes in prop::collection::vec(any::<u8>(), 1024), sizes: u32) {
            let (mut pods, memory) = (Pods::new(BASE, 16), memory());
            pods.write(BASE, &bytes);
            pods.set_page_sizes(IscsiPageSizes::from_value(sizes));
            let verdict = pods.place(0, Target { tag: tag & 0xc000_0fff, offset, page_size }, &[1; 100], &memory);
            prop_assert!(verdict.value().count_ones() <= 1);
        }
    }
}
