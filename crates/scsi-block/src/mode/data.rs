//! The parameter data of MODE SENSE and MODE SELECT as an initiator sees it (SPC-5 7.5.5), and the header and block
//! descriptor that both ends build.

use super::SUBPAGE_FORMAT;
use crate::io::Geometry;
use crate::octets::{DecodeError, be16, be32, be64, need};

/// WP, in the DEVICE-SPECIFIC PARAMETER of MODE SENSE (SBC-4 6.5.1).
const WRITE_PROTECTED: u8 = 0x80;
/// DPOFUA, beside it.
const DPO_AND_FUA: u8 = 0x10;

/// How many blocks of what size, as a block descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockDescriptor {
    /// Number of blocks; FFFFFFFFh in a short descriptor is "more than fit".
    pub blocks: u64,
    /// Bytes in a block.
    pub block_size: u32,
}

impl BlockDescriptor {
    pub(super) const SHORT_BYTES: usize = 8;
    pub(super) const LONG_BYTES: usize = 16;

    pub(crate) fn encode(geometry: Geometry, long: bool) -> Vec<u8> {
        let block_size = geometry.block_size.to_be_bytes();
        if long {
            return [&geometry.blocks.to_be_bytes()[..], &[0; 4], &block_size].concat();
        }
        let blocks = u32::try_from(geometry.blocks).unwrap_or(u32::MAX);
        [&blocks.to_be_bytes()[..], &[0], &block_size[1..]].concat()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.len() {
            Self::SHORT_BYTES => Some(Self { blocks: be32(bytes, 0).into(), block_size: be32(bytes, 4) & 0xff_ffff }),
            Self::LONG_BYTES => Some(Self { blocks: be64(bytes, 0), block_size: be32(bytes, 12) }),
            _ => None,
        }
    }
}

/// One mode page, as it came or as it is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModePage {
    /// Page code, to 3Fh.
    pub code: u8,
    /// Subpage code; 0 is a page of the short form.
    pub subpage: u8,
    /// PS: it can be saved. Not sent in MODE SELECT.
    pub savable: bool,
    /// The bytes after the header.
    pub body: Vec<u8>,
}

impl ModePage {
    fn encode(&self, to: &mut Vec<u8>) {
        if self.subpage == 0 {
            to.extend([self.code & 0x3f, self.body.len() as u8]);
        } else {
            to.extend([SUBPAGE_FORMAT | self.code & 0x3f, self.subpage]);
            to.extend((self.body.len() as u16).to_be_bytes());
        }
        to.extend(&self.body);
    }

    /// Takes one page off the front of `list`; `None` if the list ends inside it.
    pub(super) fn decode(list: &[u8]) -> Option<(Self, &[u8])> {
        let (&[first, second], rest) = list.split_first_chunk()?;
        let (subpage, length, rest) = if first & SUBPAGE_FORMAT == 0 {
            (0, usize::from(second), rest)
        } else {
            let (length, rest) = rest.split_first_chunk()?;
            (second, usize::from(u16::from_be_bytes(*length)), rest)
        };
        let (body, rest) = rest.split_at_checked(length)?;
        let page = Self { code: first & 0x3f, subpage, savable: first & super::SAVABLE != 0, body: body.to_vec() };
        Some((page, rest))
    }
}

/// What MODE SENSE tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeData {
    /// WP: the medium is write-protected.
    pub write_protected: bool,
    /// DPOFUA: the DPO and FUA bits are supported.
    pub dpo_and_fua: bool,
    /// The block descriptor, if one came.
    pub block_descriptor: Option<BlockDescriptor>,
    /// The pages that came whole.
    pub pages: Vec<ModePage>,
}

/// Which of the two parameter headers (SPC-5 tables 444 and 445).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModeHeader {
    Six,
    Ten,
}

impl ModeHeader {
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Six => 4,
            Self::Ten => 8,
        }
    }

    /// MODE SENSE data: header, block descriptor and pages.
    pub(crate) fn encode(self, write_protected: bool, descriptor: &[u8], pages: &[u8]) -> Vec<u8> {
        let after = (descriptor.len() + pages.len()) as u16;
        let specific = if write_protected { WRITE_PROTECTED | DPO_AND_FUA } else { DPO_AND_FUA };
        let mut bytes = match self {
            Self::Six => vec![(after + 3) as u8, 0, specific, descriptor.len() as u8],
            Self::Ten => {
                let [high, low] = (after + 6).to_be_bytes();
                let long = u8::from(descriptor.len() == BlockDescriptor::LONG_BYTES);
                vec![high, low, 0, specific, long, 0, 0, descriptor.len() as u8]
            }
        };
        bytes.extend(descriptor);
        bytes.extend(pages);
        bytes
    }
}

impl ModeData {
    /// Reads the data of MODE SENSE (6); what the allocation length cut off is left out.
    ///
    /// # Errors
    /// The header is cut.
    pub fn decode_6(bytes: &[u8]) -> Result<Self, DecodeError> {
        let header = need("MODE SENSE (6) data", bytes, ModeHeader::Six.bytes())?;
        Ok(Self::decode(header[2], header[3].into(), 1 + usize::from(header[0]), ModeHeader::Six, bytes))
    }

    /// Reads the data of MODE SENSE (10), as [`decode_6`](Self::decode_6).
    ///
    /// # Errors
    /// The header is cut.
    pub fn decode_10(bytes: &[u8]) -> Result<Self, DecodeError> {
        let header = need("MODE SENSE (10) data", bytes, ModeHeader::Ten.bytes())?;
        let end = 2 + usize::from(be16(header, 0));
        Ok(Self::decode(header[3], be16(header, 6).into(), end, ModeHeader::Ten, bytes))
    }

    fn decode(specific: u8, descriptor_bytes: usize, end: usize, header: ModeHeader, bytes: &[u8]) -> Self {
        let rest = bytes.get(header.bytes()..end.min(bytes.len())).unwrap_or_default();
        let (descriptor, mut list) = rest.split_at_checked(descriptor_bytes).unwrap_or((rest, &[]));
        let mut pages = Vec::new();
        while let Some((page, rest)) = ModePage::decode(list) {
            pages.push(page);
            list = rest;
        }
        Self {
            write_protected: specific & WRITE_PROTECTED != 0,
            dpo_and_fua: specific & DPO_AND_FUA != 0,
            block_descriptor: BlockDescriptor::decode(descriptor),
            pages,
        }
    }

    /// The parameter list of MODE SELECT (6) for `pages`, without a block descriptor.
    pub fn select_list_6(pages: &[ModePage]) -> Vec<u8> {
        Self::select_list(pages, ModeHeader::Six)
    }

    /// The parameter list of MODE SELECT (10) for `pages`, without a block descriptor.
    pub fn select_list_10(pages: &[ModePage]) -> Vec<u8> {
        Self::select_list(pages, ModeHeader::Ten)
    }

    fn select_list(pages: &[ModePage], header: ModeHeader) -> Vec<u8> {
        let mut bytes = vec![0; header.bytes()];
        pages.iter().for_each(|page| page.encode(&mut bytes));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mode::{ALL_PAGES, ModeSettings, PageValues, encode_pages};
    use proptest::prelude::*;

    #[test]
    fn mode_data_comes_back() {
        let settings = ModeSettings { descriptor_sense: true, queue_error: 1, ..ModeSettings::new(true) };
        let pages = encode_pages(ALL_PAGES, 0, PageValues::Settings(settings), true).unwrap();
        let geometry = Geometry { block_size: 4096, blocks: 1 << 33 };
        let bytes = ModeHeader::Six.encode(true, &BlockDescriptor::encode(geometry, false), &pages);
        let data = ModeData::decode_6(&bytes).unwrap();
        assert!(data.write_protected && data.dpo_and_fua);
        assert_eq!(data.block_descriptor, Some(BlockDescriptor { blocks: u32::MAX.into(), block_size: 4096 }));
        assert_eq!(ModeSettings::default().updated_from(&data.pages), settings);

        let bytes = ModeHeader::Ten.encode(false, &BlockDescriptor::encode(geometry, true), &pages);
        let data = ModeData::decode_10(&bytes).unwrap();
        assert_eq!(data.block_descriptor, Some(BlockDescriptor { blocks: 1 << 33, block_size: 4096 }));
        assert_eq!(data.pages.len(), 3);
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            for data in [ModeData::decode_6(&bytes), ModeData::decode_10(&bytes)].into_iter().flatten() {
                let _ = ModeSettings::default().updated_from(&data.pages);
            }
        }
    }
}
