//! Descriptors of EXTENDED COPY: who takes part (CSCD) and what is copied (segments), both ways.
//!
//! In: values, or one descriptor's bytes and where in the parameter list they begin. Out: the other, or the sense that points at the
//! field that is wrong. Of each kind there is one: units by their names (SPC-5 6.6.5.4), and block device to block device (6.6.6.3).

use crate::designator::Designator;
use crate::octets::{be16, be32, be64};
use crate::sense::{AdditionalSense, Sense};

/// A copy source or copy destination: a unit of the target, by a name that VPD page 83h gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cscd {
    /// A name of the unit, to 20 bytes.
    pub designator: Designator,
    /// Bytes of its blocks; zero says nothing.
    pub block_size: u32,
}

impl Cscd {
    pub(crate) const BYTES: usize = 32;
    /// Descriptor type code: identification descriptor.
    pub(crate) const TYPE: u8 = 0xe4;
    /// NUL: nobody is meant.
    const NUL: u8 = 0x20;
    const DIRECT_ACCESS: u8 = 0x00;
    const DESIGNATOR_BYTES_MAX: usize = 20;

    /// The descriptor.
    ///
    /// # Panics
    /// The designator has more than 20 bytes, or the block size more than 24 bits.
    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        let start = to.len();
        assert!(
            self.designator.value.len() <= Self::DESIGNATOR_BYTES_MAX,
            "a CSCD descriptor holds 20 bytes of designator"
        );
        assert!(self.block_size < 1 << 24, "a CSCD descriptor holds 24 bits of block size");
        to.extend([Self::TYPE, Self::DIRECT_ACCESS, 0, 0]);
        self.designator.encode(to);
        to.resize(start + Self::BYTES - 4, 0);
        to.extend(self.block_size.to_be_bytes());
    }

    /// Reads the descriptor that stands at `offset` of the parameter list. LU ID TYPE says nothing, as there is no LU IDENTIFIER in it.
    pub(crate) fn decode(bytes: &[u8; Self::BYTES], offset: usize) -> Result<Self, Sense> {
        let at = |byte, bit| Sense::invalid_parameter((offset + byte) as u16, bit);
        if bytes[0] != Self::TYPE {
            return Err(pointed(AdditionalSense::UNSUPPORTED_TARGET_DESCRIPTOR_TYPE_CODE, offset));
        }
        if bytes[1] & Self::NUL != 0 {
            return Err(at(1, Some(5)));
        }
        if bytes[1] & 0x1f != Self::DIRECT_ACCESS {
            return Err(at(1, Some(4)));
        }
        if usize::from(bytes[7]) > Self::DESIGNATOR_BYTES_MAX {
            return Err(at(7, None));
        }
        let (designator, _) = Designator::decode(&bytes[4..]).map_err(|_| at(7, None))?;
        Ok(Self { designator, block_size: be32(bytes, 28) & 0x00ff_ffff })
    }
}

/// Blocks of one unit that are copied to another, or elsewhere on the same. Where source and destination overlap on one unit, what was
/// there before is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Which of the list's CSCDs is read; FFFFh is the unit that the command is sent to.
    pub source: u16,
    /// Which is written.
    pub destination: u16,
    /// DC: `blocks` are of the destination's size, else of the source's. The other has to have a whole number too.
    pub counts_destination: bool,
    /// How many blocks.
    pub blocks: u16,
    /// First block that is read.
    pub source_lba: u64,
    /// First block that is written.
    pub destination_lba: u64,
}

impl Segment {
    pub(crate) const BYTES: usize = 28;
    /// Descriptor type code: from block device to block device.
    pub(crate) const TYPE: u8 = 0x02;
    /// The CSCD descriptor ID of the unit that the command is sent to.
    pub const COPY_MANAGER: u16 = 0xffff;
    const DC: u8 = 0x02;

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        to.extend([Self::TYPE, if self.counts_destination { Self::DC } else { 0 }]);
        to.extend((Self::BYTES as u16 - 4).to_be_bytes());
        to.extend(self.source.to_be_bytes());
        to.extend(self.destination.to_be_bytes());
        to.extend([0, 0]);
        to.extend(self.blocks.to_be_bytes());
        to.extend(self.source_lba.to_be_bytes());
        to.extend(self.destination_lba.to_be_bytes());
    }

    /// Reads the descriptor at the front of `bytes`, which stand at `offset` of the parameter list. CAT changes nothing, as segments are
    /// exact.
    pub(crate) fn decode(bytes: &[u8], offset: usize) -> Result<Self, Sense> {
        if bytes[0] != Self::TYPE {
            return Err(pointed(AdditionalSense::UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE, offset));
        }
        if bytes.len() < Self::BYTES {
            return Err(Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR));
        }
        if usize::from(be16(bytes, 2)) + 4 != Self::BYTES {
            return Err(Sense::invalid_parameter((offset + 2) as u16, None));
        }
        Ok(Self {
            source: be16(bytes, 4),
            destination: be16(bytes, 6),
            counts_destination: bytes[1] & Self::DC != 0,
            blocks: be16(bytes, 10),
            source_lba: be64(bytes, 12),
            destination_lba: be64(bytes, 20),
        })
    }
}

/// ILLEGAL REQUEST for the descriptor at `offset` of the parameter list.
fn pointed(additional: AdditionalSense, offset: usize) -> Sense {
    Sense { additional, ..Sense::invalid_parameter(offset as u16, None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_lie_where_spc_draws_them() {
        let cscd = Cscd { designator: Designator::naa_local(b"serial"), block_size: 512 };
        let mut bytes = Vec::new();
        cscd.encode(&mut bytes);
        assert_eq!(bytes[..8], [0xe4, 0, 0, 0, 1, 3, 0, 8]);
        assert_eq!(bytes[16..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
        assert_eq!(Cscd::decode(bytes.first_chunk().unwrap(), 16), Ok(cscd));
        let segment = Segment {
            source: 0,
            destination: 1,
            counts_destination: true,
            blocks: 0x1234,
            source_lba: 0x0102_0304_0506_0708,
            destination_lba: 0x1112_1314_1516_1718,
        };
        let mut bytes = Vec::new();
        segment.encode(&mut bytes);
        assert_eq!(bytes[..12], [2, 2, 0, 24, 0, 0, 0, 1, 0, 0, 0x12, 0x34]);
        assert_eq!(bytes[12..], [1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
        assert_eq!(Segment::decode(&bytes, 48), Ok(segment));
    }

    #[test]
    fn wrong_fields_are_pointed_at() {
        let mut good = Vec::new();
        Cscd { designator: Designator::naa_local(b"serial"), block_size: 512 }.encode(&mut good);
        let refused = |byte: usize, value: u8| {
            let mut bytes: [u8; 32] = good.clone().try_into().unwrap();
            bytes[byte] = value;
            Cscd::decode(&bytes, 100).unwrap_err()
        };
        assert_eq!(refused(0, 0xe5).additional, AdditionalSense::UNSUPPORTED_TARGET_DESCRIPTOR_TYPE_CODE);
        assert_eq!(refused(0, 0xe5).field.unwrap().byte, 100);
        assert_eq!(refused(1, 0x20), Sense::invalid_parameter(101, Some(5)));
        assert_eq!(refused(1, 0x01), Sense::invalid_parameter(101, Some(4)));
        assert_eq!(refused(7, 21), Sense::invalid_parameter(107, None));
        let segment = |bytes: &[u8]| Segment::decode(bytes, 16).unwrap_err();
        assert_eq!(segment(&[0x05; 28]).additional, AdditionalSense::UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE);
        assert_eq!(segment(&[2, 0, 0, 24]).additional, AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
        assert_eq!(segment(&[2; 28]), Sense::invalid_parameter(18, None));
    }
}
