//! Protection information (SBC-4 4.21): eight bytes with each block that tell whether it is the block that was written.
//!
//! In: blocks and what a command says about their tags. Out: blocks with tuples, or which check fails. `CHECKS` is the one table of
//! what RDPROTECT, WRPROTECT and VRPROTECT ask for.
//!
//! A store keeps a tuple behind its block, with all bits inverted: what was never written, and so reads as zeros, has the tuple of all
//! ones that SBC-4 wants there, which turns checks off.

use crc_fast::{CrcAlgorithm, checksum};

use crate::octets::{be16, be32};
use crate::sense::{AdditionalSense, Sense, SenseKey};

/// Bytes of a tuple.
pub const PROTECTION_BYTES: u32 = 8;

const TUPLE_BYTES: usize = PROTECTION_BYTES as usize;
/// An application tag that turns checks off.
const ESCAPE_APPLICATION: u16 = u16::MAX;
/// A reference tag that turns checks off, with the application tag, in type 3.
const ESCAPE_REFERENCE: u32 = u32::MAX;

/// What the reference tag is (SBC-4 4.21.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProtectionType {
    /// The low 32 bits of the block's address.
    One,
    /// What the command says for its first block, and one more for each after it.
    Two,
    /// Whatever the initiator likes.
    Three,
}

impl ProtectionType {
    /// 1, 2 or 3.
    pub const fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
        }
    }

    /// The type of this number, if there is one.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::One),
            2 => Some(Self::Two),
            3 => Some(Self::Three),
            _ => None,
        }
    }

    /// SPT, in the extended INQUIRY data page (SPC-5 7.7.7): that a unit can be formatted to this type and no other. GRD_CHK, APP_CHK and
    /// REF_CHK are ones beside it.
    pub const fn supported_types(self) -> u8 {
        match self {
            Self::One => 0,
            Self::Two => 2,
            Self::Three => 4,
        }
    }

    /// FMTPINFO and PROTECTION FIELD USAGE of a FORMAT UNIT that asks for this type (SBC-4 table 34).
    pub const fn format_fields(self) -> (u8, u8) {
        match self {
            Self::One => (2, 0),
            Self::Two => (3, 0),
            Self::Three => (3, 1),
        }
    }
}

/// The protection information of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtectionTuple {
    /// LOGICAL BLOCK GUARD: the CRC of the block's data.
    pub guard: u16,
    /// LOGICAL BLOCK APPLICATION TAG.
    pub application_tag: u16,
    /// LOGICAL BLOCK REFERENCE TAG.
    pub reference_tag: u32,
}

impl ProtectionTuple {
    /// The tuple of `block` with these tags.
    pub fn of(block: &[u8], application_tag: u16, reference_tag: u32) -> Self {
        Self { guard: guard(block), application_tag, reference_tag }
    }

    /// The eight bytes as they travel.
    pub fn encode(self) -> [u8; TUPLE_BYTES] {
        let (guard, application) = (self.guard.to_be_bytes(), self.application_tag.to_be_bytes());
        let reference = self.reference_tag.to_be_bytes();
        [guard[0], guard[1], application[0], application[1], reference[0], reference[1], reference[2], reference[3]]
    }

    /// Reads eight bytes as they travel.
    pub fn decode(bytes: [u8; TUPLE_BYTES]) -> Self {
        Self { guard: be16(&bytes, 0), application_tag: be16(&bytes, 2), reference_tag: be32(&bytes, 4) }
    }

    /// Whether the tuple says that nobody is to look at it.
    fn is_escape(self, kind: ProtectionType) -> bool {
        self.application_tag == ESCAPE_APPLICATION
            && (kind != ProtectionType::Three || self.reference_tag == ESCAPE_REFERENCE)
    }
}

/// The guard of a block: the CRC of T10 with the generator 8BB7h (SBC-4 4.21.4).
pub fn guard(block: &[u8]) -> u16 {
    checksum(CrcAlgorithm::Crc16T10Dif, block) as u16
}

/// What a value of RDPROTECT, WRPROTECT or VRPROTECT asks for (SBC-4 tables 98, 148 and 132).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checks {
    /// Tuples travel with the blocks.
    pub(crate) travels: bool,
    /// The guard is checked.
    pub(crate) guard: bool,
    /// The application tag is checked, where the device server knows what it should be.
    pub(crate) application: bool,
    /// The reference tag is checked, where the type says what it should be.
    pub(crate) reference: bool,
}

const fn row(travels: bool, guard: bool, application: bool, reference: bool) -> Option<Checks> {
    Some(Checks { travels, guard, application, reference })
}

/// By the field's value; the last two are reserved. On a write with value 0 there is no tuple to check: it is made.
pub(crate) const CHECKS: [Option<Checks>; 8] = [
    row(false, true, true, true),
    row(true, true, true, true),
    row(true, false, true, true),
    row(true, false, false, false),
    row(true, true, false, false),
    row(true, true, true, true),
    None,
    None,
];

/// The tags that a command expects: of its first block, and what is added for each that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tags {
    pub(crate) kind: ProtectionType,
    /// Of the first block; `None` where nobody knows.
    pub(crate) reference: Option<u32>,
    pub(crate) application: u16,
    /// The bits of the application tag that are checked.
    pub(crate) application_mask: u16,
}

impl Tags {
    /// The tuple that the device makes for a block that came without.
    pub(crate) fn make(&self, block: &[u8], index: u64) -> ProtectionTuple {
        let reference = self.reference_of(index).unwrap_or(ESCAPE_REFERENCE);
        ProtectionTuple::of(block, self.application & self.application_mask, reference)
    }

    /// The reference tag of the block with this index in the command.
    pub(crate) fn reference_of(&self, index: u64) -> Option<u32> {
        self.reference.map(|first| first.wrapping_add(index as u32))
    }

    /// Checks one block; the error is the code of what failed.
    fn check(&self, block: &[u8], tuple: ProtectionTuple, index: u64, checks: Checks) -> Result<(), AdditionalSense> {
        if tuple.is_escape(self.kind) {
            return Ok(());
        }
        if checks.guard && tuple.guard != guard(block) {
            return Err(AdditionalSense::LOGICAL_BLOCK_GUARD_CHECK_FAILED);
        }
        if checks.application && (tuple.application_tag ^ self.application) & self.application_mask != 0 {
            return Err(AdditionalSense::LOGICAL_BLOCK_APPLICATION_TAG_CHECK_FAILED);
        }
        if checks.reference && self.reference_of(index).is_some_and(|expected| expected != tuple.reference_tag) {
            return Err(AdditionalSense::LOGICAL_BLOCK_REFERENCE_TAG_CHECK_FAILED);
        }
        Ok(())
    }

    /// Checks blocks with their tuples behind them, the first of which is at `lba`. `stored` are as a store keeps them.
    pub(crate) fn check_all(
        &self,
        blocks: &[u8],
        block_size: usize,
        lba: u64,
        checks: Checks,
        stored: bool,
    ) -> Result<(), Sense> {
        for (index, whole) in (0..).zip(blocks.chunks_exact(block_size + TUPLE_BYTES)) {
            let (block, tuple) = split(whole, block_size, stored);
            self.check(block, tuple, index, checks)
                .map_err(|code| Sense::new(SenseKey::AbortedCommand, code).with_information(lba + index))?;
        }
        Ok(())
    }
}

/// A block and its tuple.
pub(crate) fn split(whole: &[u8], block_size: usize, stored: bool) -> (&[u8], ProtectionTuple) {
    let (block, tuple) = whole.split_at(block_size);
    let tuple = tuple.first_chunk().copied().expect("a tuple is behind each block");
    (block, ProtectionTuple::decode(if stored { invert(tuple) } else { tuple }))
}

/// A tuple as the store keeps it, or back.
pub(crate) fn invert(tuple: [u8; TUPLE_BYTES]) -> [u8; TUPLE_BYTES] {
    tuple.map(|byte| !byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_are_those_of_the_standard() {
        // SBC-4 table 23: CRC test cases for 32 bytes.
        assert_eq!(guard(&[0; 32]), 0);
        assert_eq!(guard(&[0xff; 32]), 0xa293);
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(guard(&ascending), 0x0224);
        let first_ones = [&[0xff, 0xff][..], &[0; 30]].concat();
        assert_eq!(guard(&first_ones), 0x21b8);
        let descending: Vec<u8> = (0..32).map(|n| 0xff - n).collect();
        assert_eq!(guard(&descending), 0xa0b7);
    }

    #[test]
    fn types_have_the_numbers_of_the_standards() {
        let types = [ProtectionType::One, ProtectionType::Two, ProtectionType::Three];
        assert_eq!(types.map(|kind| ProtectionType::from_number(kind.number())), types.map(Some));
        assert_eq!(types.map(ProtectionType::supported_types), [0, 2, 4]);
        assert_eq!(types.map(ProtectionType::format_fields), [(2, 0), (3, 0), (3, 1)]);
        assert_eq!((ProtectionType::from_number(0), ProtectionType::from_number(4)), (None, None));
    }

    #[test]
    fn tuples_come_back() {
        let tuple = ProtectionTuple { guard: 0x1234, application_tag: 0x5678, reference_tag: 0x9abc_def0 };
        assert_eq!(tuple.encode(), [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0]);
        assert_eq!(ProtectionTuple::decode(tuple.encode()), tuple);
        assert_eq!(invert(invert(tuple.encode())), tuple.encode());
    }

    #[test]
    fn each_check_finds_its_own_fault() {
        let block = [7; 512];
        let tags =
            Tags { kind: ProtectionType::One, reference: Some(9), application: 0x1200, application_mask: 0xff00 };
        let right = ProtectionTuple::of(&block, 0x12ff, 10);
        let all = CHECKS[1].unwrap();
        assert_eq!(tags.check(&block, right, 1, all), Ok(()));
        let guard = ProtectionTuple { guard: !right.guard, ..right };
        let application = ProtectionTuple { application_tag: 0x1300, ..right };
        let reference = ProtectionTuple { reference_tag: 11, ..right };
        let codes = [
            (guard, AdditionalSense::LOGICAL_BLOCK_GUARD_CHECK_FAILED),
            (application, AdditionalSense::LOGICAL_BLOCK_APPLICATION_TAG_CHECK_FAILED),
            (reference, AdditionalSense::LOGICAL_BLOCK_REFERENCE_TAG_CHECK_FAILED),
        ];
        for (wrong, code) in codes {
            assert_eq!(tags.check(&block, wrong, 1, all), Err(code));
            assert_eq!(tags.check(&block, wrong, 1, CHECKS[3].unwrap()), Ok(()));
        }
        assert_eq!(tags.check(&block, guard, 1, CHECKS[2].unwrap()), Ok(()));
        assert!(tags.check(&block, guard, 1, CHECKS[4].unwrap()).is_err());
        assert_eq!(tags.check(&block, application, 1, CHECKS[4].unwrap()), Ok(()));
        let escape = ProtectionTuple { guard: 1, application_tag: 0xffff, reference_tag: 0 };
        assert_eq!(tags.check(&block, escape, 1, all), Ok(()));
        let three = Tags { kind: ProtectionType::Three, reference: None, ..tags };
        assert!(three.check(&block, escape, 1, all).is_err(), "type 3 wants the reference tag as well");
        assert_eq!(three.check(&block, ProtectionTuple { reference_tag: u32::MAX, ..escape }, 1, all), Ok(()));
    }
}
