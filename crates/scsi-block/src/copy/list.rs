//! The parameter list of EXTENDED COPY, in both forms (SPC-5 6.6.2, 6.7.2): header, CSCDs, segments.
//!
//! What is wrong with a list itself is found here, before anything is copied; a segment that names nobody fails in its turn.

use super::descriptors::{Cscd, Segment};
use super::{CSCDS_MAX, SEGMENTS_MAX};
use crate::octets::{be16, be32};
use crate::sense::{AdditionalSense, Sense};

const LENGTH_ERROR: Sense = Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);

/// What one EXTENDED COPY is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyList {
    /// By what RECEIVE COPY STATUS and its like ask for this copy: to 255 in the form with LID1. LIST ID USAGE is 00b then, or else 11b;
    /// 10b, which lets the target forget earlier, is taken like 00b.
    pub identifier: Option<u32>,
    /// IMMED: the command is to be answered once the list is found to be right, and the copy goes on. Only in the form with LID4, and with an
    /// identifier, by which RECEIVE COPY STATUS tells how it ends.
    pub immediate: bool,
    /// Who takes part, to [`CSCDS_MAX`].
    pub cscds: Vec<Cscd>,
    /// What is copied, in this order, to [`SEGMENTS_MAX`].
    pub segments: Vec<Segment>,
}

/// What a header says of the rest.
struct Header {
    identifier: Option<u32>,
    immediate: bool,
    bytes: usize,
    cscds_bytes: usize,
    cscds_field: u16,
    segments_bytes: usize,
    inline_bytes: usize,
}

const LID1_HEADER_BYTES: usize = 16;
const LID4_HEADER_BYTES: usize = 48;
const LIST_ID_HELD: u8 = 0;
const LIST_ID_NOT_HELD: u8 = 2;
const NO_LIST_ID: u8 = 3;

impl CopyList {
    /// The longest parameter list that is taken.
    pub const BYTES_MAX: usize = LID4_HEADER_BYTES + CSCDS_MAX * Cscd::BYTES + SEGMENTS_MAX * Segment::BYTES;

    /// The list of EXTENDED COPY (LID1).
    ///
    /// # Panics
    /// The identifier is above 255, a descriptor has no room for its values, or the answer is wanted at once.
    pub fn encode_lid1(&self) -> Vec<u8> {
        assert!(!self.immediate, "the form with LID1 has no IMMED");
        let (identifier, usage) = self.identifier_fields();
        let mut bytes = vec![u8::try_from(identifier).expect("an identifier of LID1 has eight bits"), usage << 3];
        bytes.extend(((self.cscds.len() * Cscd::BYTES) as u16).to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(((self.segments.len() * Segment::BYTES) as u32).to_be_bytes());
        bytes.extend([0; 4]);
        self.encode_descriptors(bytes)
    }

    /// The list of EXTENDED COPY (LID4).
    ///
    /// # Panics
    /// A descriptor has no room for its values.
    pub fn encode_lid4(&self) -> Vec<u8> {
        let (identifier, usage) = self.identifier_fields();
        let mut bytes = vec![LID4_FORMAT, usage << 3, 0, LID4_HEADER_CSCD_BYTES];
        bytes.resize(16, 0);
        bytes[15] = self.immediate.into();
        bytes.extend([LID4_HEADER_CSCD_TYPE, 0, 0, 0]);
        bytes.extend(identifier.to_be_bytes());
        bytes.resize(42, 0);
        bytes.extend(((self.cscds.len() * Cscd::BYTES) as u16).to_be_bytes());
        bytes.extend(((self.segments.len() * Segment::BYTES) as u16).to_be_bytes());
        bytes.extend([0; 2]);
        self.encode_descriptors(bytes)
    }

    fn identifier_fields(&self) -> (u32, u8) {
        match self.identifier {
            Some(identifier) => (identifier, LIST_ID_HELD),
            None => (0, NO_LIST_ID),
        }
    }

    fn encode_descriptors(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        self.cscds.iter().for_each(|cscd| cscd.encode(&mut bytes));
        self.segments.iter().for_each(|segment| segment.encode(&mut bytes));
        bytes
    }

    pub(crate) fn decode_lid1(bytes: &[u8]) -> Result<Self, Sense> {
        if bytes.len() < LID1_HEADER_BYTES {
            return Err(LENGTH_ERROR);
        }
        let header = Header {
            identifier: identifier(u32::from(bytes[0]), bytes[1] >> 3 & 3, 0)?,
            immediate: false,
            bytes: LID1_HEADER_BYTES,
            cscds_bytes: be16(bytes, 2).into(),
            cscds_field: 2,
            segments_bytes: be32(bytes, 8) as usize,
            inline_bytes: be32(bytes, 12) as usize,
        };
        Self::decode_descriptors(bytes, &header)
    }

    /// IMMED without a list identifier is refused: nobody could ask how the copy has ended.
    pub(crate) fn decode_lid4(bytes: &[u8]) -> Result<Self, Sense> {
        const IMMED: u8 = 0x01;
        let wrong = |byte, bit| Err(Sense::invalid_parameter(byte, bit));
        match bytes {
            [] => return Err(LENGTH_ERROR),
            [LID4_FORMAT, ..] => {}
            _ => return wrong(0, None),
        }
        if bytes.len() < LID4_HEADER_BYTES {
            return Err(LENGTH_ERROR);
        }
        if be16(bytes, 2) != u16::from(LID4_HEADER_CSCD_BYTES) {
            return wrong(2, None);
        }
        let immediate = bytes[15] & IMMED != 0;
        if immediate && bytes[1] >> 3 & 3 == NO_LIST_ID {
            return wrong(15, Some(0));
        }
        if bytes[16] != LID4_HEADER_CSCD_TYPE {
            return wrong(16, None);
        }
        let header = Header {
            identifier: identifier(be32(bytes, 20), bytes[1] >> 3 & 3, 20)?,
            immediate,
            bytes: LID4_HEADER_BYTES,
            cscds_bytes: be16(bytes, 42).into(),
            cscds_field: 42,
            segments_bytes: be16(bytes, 44).into(),
            inline_bytes: be16(bytes, 46).into(),
        };
        Self::decode_descriptors(bytes, &header)
    }

    fn decode_descriptors(bytes: &[u8], header: &Header) -> Result<Self, Sense> {
        if header.inline_bytes > 0 {
            return Err(Sense::illegal(AdditionalSense::INLINE_DATA_LENGTH_EXCEEDED));
        }
        if !header.cscds_bytes.is_multiple_of(Cscd::BYTES) {
            return Err(Sense::invalid_parameter(header.cscds_field, None));
        }
        if header.cscds_bytes > CSCDS_MAX * Cscd::BYTES {
            return Err(Sense::illegal(AdditionalSense::TOO_MANY_TARGET_DESCRIPTORS));
        }
        if header.segments_bytes > SEGMENTS_MAX * Segment::BYTES {
            return Err(Sense::illegal(AdditionalSense::TOO_MANY_SEGMENT_DESCRIPTORS));
        }
        let first_segment = header.bytes + header.cscds_bytes;
        let bytes = bytes.get(..first_segment + header.segments_bytes).ok_or(LENGTH_ERROR)?;
        let cscds = bytes[header.bytes..first_segment].as_chunks().0.iter().enumerate();
        let cscds = cscds.map(|(index, cscd)| Cscd::decode(cscd, header.bytes + index * Cscd::BYTES));
        let segments = bytes[first_segment..].chunks(Segment::BYTES).enumerate();
        let segments =
            segments.map(|(index, segment)| Segment::decode(segment, first_segment + index * Segment::BYTES));
        Ok(Self {
            identifier: header.identifier,
            immediate: header.immediate,
            cscds: cscds.collect::<Result<_, _>>()?,
            segments: segments.collect::<Result<_, _>>()?,
        })
    }
}

/// PARAMETER LIST FORMAT of LID4.
const LID4_FORMAT: u8 = 0x01;
const LID4_HEADER_CSCD_BYTES: u8 = 0x20;
const LID4_HEADER_CSCD_TYPE: u8 = 0xff;

/// LIST IDENTIFIER, in the byte `field`, by LIST ID USAGE.
fn identifier(identifier: u32, usage: u8, field: u16) -> Result<Option<u32>, Sense> {
    match (usage, identifier) {
        (LIST_ID_HELD | LIST_ID_NOT_HELD, _) => Ok(Some(identifier)),
        (NO_LIST_ID, 0) => Ok(None),
        (NO_LIST_ID, _) => Err(Sense::invalid_parameter(field, None)),
        _ => Err(Sense::invalid_parameter(1, Some(4))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::designator::Designator;
    use proptest::prelude::*;

    fn list(identifier: Option<u32>) -> CopyList {
        let cscd = |serial: &[u8]| Cscd { designator: Designator::naa_local(serial), block_size: 512 };
        let segment = |lba| Segment {
            source: 0,
            destination: 1,
            counts_destination: false,
            blocks: 8,
            source_lba: lba,
            destination_lba: lba + 100,
        };
        CopyList {
            identifier,
            immediate: false,
            cscds: vec![cscd(b"a"), cscd(b"b")],
            segments: vec![segment(1), segment(9)],
        }
    }

    #[test]
    fn both_forms_come_back() {
        for identifier in [Some(7), None] {
            let list = list(identifier);
            assert_eq!(CopyList::decode_lid1(&list.encode_lid1()), Ok(list.clone()));
            assert_eq!(CopyList::decode_lid4(&list.encode_lid4()), Ok(list));
        }
        let immediate = CopyList { immediate: true, ..list(Some(7)) };
        assert_eq!(CopyList::decode_lid4(&immediate.encode_lid4()), Ok(immediate));
        let bytes = list(None).encode_lid1();
        assert_eq!(bytes[..16], [0, 0x18, 0, 64, 0, 0, 0, 0, 0, 0, 0, 56, 0, 0, 0, 0]);
        let bytes = list(Some(0x0102_0304)).encode_lid4();
        assert_eq!(bytes[..24], [1, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(bytes[40..48], [0, 0, 0, 64, 0, 56, 0, 0]);
    }

    /// The sense for a good list of LID1 in which one byte is another.
    fn refused(byte: usize, value: u8) -> Sense {
        let mut bytes = list(None).encode_lid1();
        bytes[byte] = value;
        CopyList::decode_lid1(&bytes).unwrap_err()
    }

    #[test]
    fn headers_that_lie_are_refused() {
        assert_eq!(refused(0, 1), Sense::invalid_parameter(0, None));
        assert_eq!(refused(1, 0x08), Sense::invalid_parameter(1, Some(4)));
        assert_eq!(refused(3, 65), Sense::invalid_parameter(2, None));
        assert_eq!(refused(2, 0x10).additional, AdditionalSense::TOO_MANY_TARGET_DESCRIPTORS);
        assert_eq!(refused(8, 1).additional, AdditionalSense::TOO_MANY_SEGMENT_DESCRIPTORS);
        assert_eq!(refused(11, 57).additional, AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
        assert_eq!(refused(15, 1).additional, AdditionalSense::INLINE_DATA_LENGTH_EXCEEDED);
    }

    #[test]
    fn a_list_that_is_cut_is_refused() {
        let (lid1, lid4) = (list(None).encode_lid1(), list(None).encode_lid4());
        (0..lid1.len()).for_each(|end| assert_eq!(CopyList::decode_lid1(&lid1[..end]), Err(LENGTH_ERROR), "{end}"));
        (0..lid4.len()).for_each(|end| assert_eq!(CopyList::decode_lid4(&lid4[..end]), Err(LENGTH_ERROR), "{end}"));
    }

    #[test]
    fn the_header_of_lid4_is_held_to_its_constants() {
        let refused = |byte: usize, value: u8| {
            let mut bytes = list(None).encode_lid4();
            bytes[byte] = value;
            CopyList::decode_lid4(&bytes).unwrap_err()
        };
        assert_eq!(refused(0, 2), Sense::invalid_parameter(0, None));
        assert_eq!(refused(3, 0), Sense::invalid_parameter(2, None));
        assert_eq!(refused(15, 1), Sense::invalid_parameter(15, Some(0)));
        assert_eq!(refused(16, 0), Sense::invalid_parameter(16, None));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(mut bytes in prop::collection::vec(any::<u8>(), 0..300), head in 0usize..4) {
            let good = list(None).encode_lid1();
            let kept = bytes.len().min(16 * head);
            bytes[..kept].copy_from_slice(&good[..kept]);
            let _ = CopyList::decode_lid1(&bytes);
            let _ = CopyList::decode_lid4(&bytes);
        }
    }
}
