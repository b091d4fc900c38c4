//! The LUN field (SAM-5 4.7): eight bytes in, a logical unit's number out, and back.

use std::fmt;

/// One LUN field, eight bytes (SAM-5 4.7), exactly as it travels.
///
/// Four single-level forms name a unit by a plain number: peripheral device addressing on bus 0 (numbers to 255),
/// flat space addressing (to 16,383), and extended flat space addressing of three or five bytes. The same unit may be
/// named in several of them, so compare [`as_u16`](Self::as_u16), not the fields, to see whether two name one unit.
///
/// ```
/// use scsi_block::LogicalUnitNumber;
///
/// assert_eq!(LogicalUnitNumber::from(3).to_wire(), [0, 3, 0, 0, 0, 0, 0, 0]);
/// assert_eq!(LogicalUnitNumber::from(300).to_wire(), [0x41, 0x2c, 0, 0, 0, 0, 0, 0]);
/// assert_eq!(LogicalUnitNumber::from_wire([0x40, 3, 0, 0, 0, 0, 0, 0]).as_u16(), Some(3));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogicalUnitNumber([u8; 8]);

/// First byte of an extended flat address with three bytes of number (SAM-5 4.7).
const EXTENDED_FLAT: u8 = 0xd2;

/// First byte of one with five bytes of number.
const LONG_EXTENDED_FLAT: u8 = 0xe2;

impl LogicalUnitNumber {
    /// Takes the field as it came; any eight bytes are one.
    pub const fn from_wire(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The field as it is sent.
    pub const fn to_wire(self) -> [u8; 8] {
        self.0
    }

    /// The well-known REPORT LUNS logical unit (SAM-5 4.7, SPC-5 8.2).
    pub const WELL_KNOWN_REPORT_LUNS: Self = Self([0xc1, 0x01, 0, 0, 0, 0, 0, 0]);

    /// The number, if the field names a unit by one of the four single-level forms and it fits in 16 bits.
    #[inline]
    pub fn as_u16(self) -> Option<u16> {
        // The first of these forms, as most commands have it, in one look.
        let field = u64::from_be_bytes(self.0);
        if field & !(0xff << 48) == 0 {
            return Some((field >> 48) as u16);
        }
        self.as_u16_rarely()
    }

    fn as_u16_rarely(self) -> Option<u16> {
        match self.0 {
            [high @ 0x40..=0x7f, low, 0, 0, 0, 0, 0, 0] => Some(u16::from_be_bytes([high & 0x3f, low])),
            [EXTENDED_FLAT, 0, high, low, 0, 0, 0, 0] => Some(u16::from_be_bytes([high, low])),
            [LONG_EXTENDED_FLAT, 0, 0, 0, high, low, 0, 0] => Some(u16::from_be_bytes([high, low])),
            _ => None,
        }
    }
}

impl From<u16> for LogicalUnitNumber {
    /// The shortest form that holds the number.
    fn from(number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        Self(match high {
            0x00 => [0, low, 0, 0, 0, 0, 0, 0],
            0x01..=0x3f => [0x40 | high, low, 0, 0, 0, 0, 0, 0],
            0x40.. => [EXTENDED_FLAT, 0, high, low, 0, 0, 0, 0],
        })
    }
}

impl fmt::Display for LogicalUnitNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_u16() {
            Some(number) => write!(f, "{number}"),
            None => write!(f, "{:#018x}", u64::from_be_bytes(self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_survives_the_wire() {
        for number in 0..=u16::MAX {
            let wire = LogicalUnitNumber::from(number).to_wire();
            assert_eq!(LogicalUnitNumber::from_wire(wire).as_u16(), Some(number));
        }
    }

    #[test]
    fn every_form_names_the_same_unit() {
        let forms = [
            [0, 7, 0, 0, 0, 0, 0, 0],
            [0x40, 7, 0, 0, 0, 0, 0, 0],
            [0xd2, 0, 0, 7, 0, 0, 0, 0],
            [0xe2, 0, 0, 0, 0, 7, 0, 0],
        ];
        for form in forms {
            assert_eq!(LogicalUnitNumber::from_wire(form).as_u16(), Some(7), "{form:02x?}");
        }
        for beyond in [[0xd2, 1, 0, 7, 0, 0, 0, 0], [0xe2, 0, 0, 1, 0, 7, 0, 0], [0xd2, 0, 0, 7, 1, 0, 0, 0]] {
            assert_eq!(LogicalUnitNumber::from_wire(beyond).as_u16(), None, "{beyond:02x?}");
        }
    }

    #[test]
    fn fields_of_several_levels_name_no_number() {
        for wire in [[0, 1, 0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0], [0xc1, 1, 0, 0, 0, 0, 0, 0], [0x80; 8]] {
            assert_eq!(LogicalUnitNumber::from_wire(wire).as_u16(), None, "{wire:02x?}");
        }
    }
}
