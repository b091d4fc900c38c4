//! Parameter data of the smaller commands, both ways: capacity, list of units, list of blocks to unmap, supported
//! commands, timestamps.

mod supported;
mod timestamp;

pub(crate) use supported::TIMEOUTS_DESCRIPTOR;
pub use supported::{SupportedCommand, TaskManagementFunctions};
pub use timestamp::Timestamp;

use smallvec::SmallVec;

use crate::LogicalUnitNumber;
use crate::io::{Extent, Geometry, LbaStatus};
use crate::octets::{DecodeError, be16, be32, be64, need};
use crate::protection::ProtectionType;
use crate::sense::{AdditionalSense, Sense};

/// READ CAPACITY (10) data (SBC-4 5.20.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity10 {
    /// The last block's address; FFFFFFFFh says to ask READ CAPACITY (16).
    pub last_lba: u32,
    /// Bytes in a block.
    pub block_size: u32,
}

impl Capacity10 {
    pub(crate) fn of(geometry: Geometry) -> Self {
        let last_lba = u32::try_from(geometry.blocks - 1).unwrap_or(u32::MAX);
        Self { last_lba, block_size: geometry.block_size }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        [self.last_lba.to_be_bytes(), self.block_size.to_be_bytes()].concat()
    }

    /// Reads the eight bytes.
    ///
    /// # Errors
    /// There are fewer.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bytes = need("READ CAPACITY (10) data", bytes, 8)?;
        Ok(Self { last_lba: be32(bytes, 0), block_size: be32(bytes, 4) })
    }
}

/// READ CAPACITY (16) data (SBC-4 5.21.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity16 {
    /// The last block's address.
    pub last_lba: u64,
    /// Bytes in a block.
    pub block_size: u32,
    /// The protection type, 1 to 3, if protection is on.
    pub protection_type: Option<u8>,
    /// A physical block holds two to this power logical ones.
    pub physical_block_exponent: u8,
    /// LBPME: blocks can be unmapped.
    pub provisioning: bool,
    /// LBPRZ: unmapped blocks read as zeros.
    pub reads_zero: bool,
    /// First block that begins a physical block.
    pub lowest_aligned_lba: u16,
}

impl Capacity16 {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.last_lba.to_be_bytes().to_vec();
        bytes.extend(self.block_size.to_be_bytes());
        bytes.push(self.protection_type.map_or(0, |kind| (kind.saturating_sub(1) & 7) << 1 | 1));
        bytes.push(self.physical_block_exponent & 0x0f);
        let provisioning = u16::from(self.provisioning) << 15 | u16::from(self.reads_zero) << 14;
        bytes.extend((provisioning | self.lowest_aligned_lba & 0x3fff).to_be_bytes());
        bytes.resize(32, 0);
        bytes
    }

    /// Reads the data, of which the first 16 bytes matter.
    ///
    /// # Errors
    /// There are fewer.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bytes = need("READ CAPACITY (16) data", bytes, 16)?;
        Ok(Self {
            last_lba: be64(bytes, 0),
            block_size: be32(bytes, 8),
            protection_type: (bytes[12] & 1 != 0).then_some((bytes[12] >> 1 & 7) + 1),
            physical_block_exponent: bytes[13] & 0x0f,
            provisioning: bytes[14] & 0x80 != 0,
            reads_zero: bytes[14] & 0x40 != 0,
            lowest_aligned_lba: be16(bytes, 14) & 0x3fff,
        })
    }
}

/// REPORT LUNS data (SPC-5 6.33).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitList(pub Vec<LogicalUnitNumber>);

impl UnitList {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = (self.0.len() as u32 * 8).to_be_bytes().to_vec();
        bytes.extend([0; 4]);
        bytes.extend(self.0.iter().flat_map(|number| number.to_wire()));
        bytes
    }

    /// Bytes that the whole list has; more than came if the allocation length was too small.
    ///
    /// # Errors
    /// There are fewer than eight bytes.
    pub fn bytes_needed(bytes: &[u8]) -> Result<u64, DecodeError> {
        Ok(u64::from(be32(need("REPORT LUNS data", bytes, 8)?, 0)) + 8)
    }

    /// Reads the units that came.
    ///
    /// # Errors
    /// There are fewer than eight bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let needed = usize::try_from(Self::bytes_needed(bytes)?).unwrap_or(usize::MAX);
        let list = bytes[8..needed.min(bytes.len())].as_chunks::<8>().0;
        Ok(Self(list.iter().map(|field| LogicalUnitNumber::from_wire(*field)).collect()))
    }
}

/// UNMAP parameter list (SBC-4 5.36.2): the blocks that are not needed any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnmapList(pub SmallVec<[Extent; 1]>);

const UNMAP_HEADER_BYTES: usize = 8;
const UNMAP_DESCRIPTOR_BYTES: usize = 16;

impl UnmapList {
    /// The bytes to send with [`Cdb::unmap`](crate::cdb::Cdb::unmap).
    ///
    /// # Panics
    /// An extent has more blocks than 32 bits hold, or there are more than [`UNMAP_DESCRIPTORS_LIMIT`] extents.
    ///
    /// [`UNMAP_DESCRIPTORS_LIMIT`]: crate::config::UNMAP_DESCRIPTORS_LIMIT
    pub fn encode(&self) -> Vec<u8> {
        let limit = usize::from(crate::config::UNMAP_DESCRIPTORS_LIMIT);
        assert!(self.0.len() <= limit, "an UNMAP list holds at most {limit} extents");
        let descriptors = (self.0.len() * UNMAP_DESCRIPTOR_BYTES) as u16;
        let mut bytes = (descriptors + 6).to_be_bytes().to_vec();
        bytes.extend(descriptors.to_be_bytes());
        bytes.extend([0; 4]);
        for extent in &self.0 {
            let blocks = u32::try_from(extent.blocks).expect("an UNMAP extent has at most 2^32 - 1 blocks");
            bytes.extend(extent.lba.to_be_bytes());
            bytes.extend(blocks.to_be_bytes());
            bytes.extend([0; 4]);
        }
        bytes
    }

    /// Reads a list as a device server: an incomplete last descriptor is not looked at, as SBC says.
    pub(crate) fn decode(bytes: &[u8], descriptors_max: u16) -> Result<Self, Sense> {
        const LENGTH_ERROR: Sense = Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let (header, list) = bytes.split_at_checked(UNMAP_HEADER_BYTES).ok_or(LENGTH_ERROR)?;
        let (data_bytes, list_bytes) = (usize::from(be16(header, 0)), usize::from(be16(header, 2)));
        if data_bytes + 2 > bytes.len() || list_bytes > list.len() {
            return Err(LENGTH_ERROR);
        }
        if list_bytes + UNMAP_HEADER_BYTES > data_bytes + 2 {
            return Err(Sense::invalid_parameter(2, None));
        }
        let descriptors = list[..list_bytes].as_chunks::<UNMAP_DESCRIPTOR_BYTES>().0;
        if descriptors.len() > descriptors_max.into() {
            return Err(Sense::invalid_parameter(2, None));
        }
        let extent = |bytes: &[u8; 16]| Extent { lba: be64(bytes, 0), blocks: be32(bytes, 8).into() };
        Ok(Self(descriptors.iter().map(extent).collect()))
    }
}

/// The parameter list of a SANITIZE that overwrites (SBC-4 5.30.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverwriteList {
    /// INVERT: the pattern is inverted from pass to pass.
    pub invert: bool,
    /// OVERWRITE COUNT, 1 to 31.
    pub passes: u8,
    /// INITIALIZATION PATTERN, of 1 byte to a block; it is repeated.
    pub pattern: Vec<u8>,
}

impl OverwriteList {
    /// The bytes to send with [`Cdb::sanitize_overwrite`](crate::cdb::Cdb::sanitize_overwrite).
    ///
    /// # Panics
    /// There are none or more than 31 passes, or the pattern is empty or longer than 16 bits tell.
    pub fn encode(&self) -> Vec<u8> {
        assert!((1..=31).contains(&self.passes), "an overwrite has 1 to 31 passes");
        let length = u16::try_from(self.pattern.len()).ok().filter(|length| *length > 0);
        let length = length.expect("a pattern has 1 to 65535 bytes").to_be_bytes();
        [&[u8::from(self.invert) << 7 | self.passes, 0, length[0], length[1]], &self.pattern[..]].concat()
    }
}

/// The parameter list of [`Cdb::format_unit`](crate::cdb::Cdb::format_unit), without defects. FORMAT UNIT may be answered before it is done if
/// `immediate`.
pub fn format_list(protection: Option<ProtectionType>, immediate: bool) -> [u8; 4] {
    let (_, usage) = protection.map_or((0, 0), ProtectionType::format_fields);
    [usage, u8::from(immediate) << 1, 0, 0]
}

/// GET LBA STATUS data (SBC-4 5.7.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LbaStatusList(pub Vec<LbaStatus>);

impl LbaStatusList {
    pub(crate) const HEADER_BYTES: usize = 8;
    pub(crate) const DESCRIPTOR_BYTES: usize = 16;
    const DEALLOCATED: u8 = 1;

    /// A run of more blocks than 32 bits hold is cut there: the rest is asked for by the next command.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; Self::HEADER_BYTES];
        for status in &self.0 {
            let blocks = u32::try_from(status.extent.blocks).unwrap_or(u32::MAX);
            bytes.extend(status.extent.lba.to_be_bytes());
            bytes.extend(blocks.to_be_bytes());
            bytes.extend([if status.mapped { 0 } else { Self::DEALLOCATED }, 0, 0, 0]);
            if u64::from(blocks) < status.extent.blocks {
                break;
            }
        }
        let length = bytes.len() as u32 - 4;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    /// Reads the runs that came whole. Anchored blocks count as mapped.
    ///
    /// # Errors
    /// There are fewer than eight bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bytes = need("GET LBA STATUS data", bytes, Self::HEADER_BYTES)?;
        let end = usize::try_from(be32(bytes, 0)).unwrap_or(usize::MAX).saturating_add(4).min(bytes.len());
        let list = bytes.get(Self::HEADER_BYTES..end).unwrap_or_default().as_chunks::<16>().0;
        let status = |bytes: &[u8; 16]| LbaStatus {
            extent: Extent { lba: be64(bytes, 0), blocks: be32(bytes, 8).into() },
            mapped: bytes[12] & 0x0f != Self::DEALLOCATED,
        };
        Ok(Self(list.iter().map(status).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn capacity_16_comes_back() {
        let capacity = Capacity16 {
            last_lba: 1 << 40,
            block_size: 4096,
            protection_type: Some(3),
            physical_block_exponent: 3,
            provisioning: true,
            reads_zero: true,
            lowest_aligned_lba: 0x1234,
        };
        let bytes = capacity.encode();
        assert_eq!(bytes[12..16], [0x05, 3, 0xd2, 0x34]);
        assert_eq!(Capacity16::decode(&bytes), Ok(capacity));
    }

    #[test]
    fn capacity_10_says_when_it_is_too_small() {
        let capacity = Capacity10::of(Geometry { block_size: 512, blocks: 1 << 33 });
        assert_eq!(capacity.last_lba, u32::MAX);
    }

    #[test]
    fn unmap_lists_that_lie_are_refused() {
        let list = UnmapList([Extent { lba: 1, blocks: 2 }, Extent { lba: 5, blocks: 9 }].into_iter().collect());
        let bytes = list.encode();
        assert_eq!(UnmapList::decode(&bytes, 2), Ok(list));
        assert_eq!(UnmapList::decode(&bytes, 1), Err(Sense::invalid_parameter(2, None)));
        let length_error = Err(Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR));
        assert_eq!(UnmapList::decode(&bytes[..39], 2), length_error);
        assert_eq!(UnmapList::decode(&bytes[..7], 2), length_error);
        assert_eq!(UnmapList::decode(&[], 2), Ok(UnmapList::default()));
    }

    #[test]
    fn statuses_come_back_and_a_long_run_ends_the_list() {
        let run = |lba, blocks, mapped| LbaStatus { extent: Extent { lba, blocks }, mapped };
        let list = LbaStatusList(vec![run(1, 2, true), run(3, 4, false)]);
        assert_eq!(LbaStatusList::decode(&list.encode()), Ok(list));
        let long = LbaStatusList(vec![run(0, 1 << 33, false), run(1 << 33, 1, true)]);
        assert_eq!(LbaStatusList::decode(&long.encode()).unwrap().0, [run(0, u32::MAX.into(), false)]);
    }

    #[test]
    fn overwrite_lists_are_as_sbc_draws_them() {
        let list = OverwriteList { invert: true, passes: 3, pattern: vec![1, 2] };
        assert_eq!(list.encode(), [0x83, 0, 0, 2, 1, 2]);
        assert_eq!(format_list(Some(ProtectionType::Three), true), [1, 2, 0, 0]);
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Capacity10::decode(&bytes);
            let _ = Capacity16::decode(&bytes);
            let _ = UnitList::decode(&bytes);
            let _ = LbaStatusList::decode(&bytes);
            let _ = UnmapList::decode(&bytes, 3);
            let _ = SupportedCommand::decode_list(&bytes);
            let _ = TaskManagementFunctions::decode(&bytes);
            let _ = Timestamp::decode(&bytes);
        }
    }
}
