//! Big-endian fields inside byte strings, down to single bits, as T10's tables draw them.
//!
//! In: bytes and a [`Place`]. Out: numbers. Nothing here knows what a field means.

/// Where a field lies: its most significant bit, and how many bits follow it (bit 7 is a byte's most significant).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The byte that holds the most significant bit.
    pub byte: u8,
    /// That bit's number in its byte, 7 down to 0.
    pub bit: u8,
    /// The field's width, 1 to 64 bits.
    pub bits: u8,
}

impl Place {
    /// Bits before the field, from the start of the bytes.
    const fn before(self) -> u32 {
        self.byte as u32 * 8 + 7 - self.bit as u32
    }

    /// The byte after the last one that the field touches.
    pub(crate) const fn end(self) -> usize {
        (self.before() + self.bits as u32).div_ceil(8) as usize
    }

    /// Low bits of the last byte that belong to other fields.
    const fn shift(self) -> u32 {
        self.end() as u32 * 8 - self.before() - self.bits as u32
    }

    /// The greatest value that fits.
    pub const fn max(self) -> u64 {
        u64::MAX.unbounded_shr(64 - self.bits as u32)
    }

    /// Ones at the field's bits in 16 bytes read as one number.
    pub(crate) const fn mask_in_16(self) -> u128 {
        (self.max() as u128).unbounded_shl(128 - self.before() - self.bits as u32)
    }

    /// Reads a field that lies in the 16 bytes which `octets` is, as one number. A field without bits is zero.
    #[inline]
    pub(crate) const fn get_in_16(self, octets: u128) -> u64 {
        let rest = octets << (self.before() & 127);
        ((rest >> 64) as u64).unbounded_shr(64 - self.bits as u32)
    }

    /// Reads the field; bytes past the end of `bytes` count as zero.
    pub(crate) fn get(self, bytes: &[u8]) -> u64 {
        let value = (self.byte.into()..self.end())
            .fold(0u128, |value, at| value << 8 | u128::from(bytes.get(at).copied().unwrap_or(0)));
        (value >> self.shift()) as u64 & self.max()
    }

    /// Writes the low bits of `value` into the field and leaves the bits around it alone.
    pub(crate) fn put(self, bytes: &mut [u8], value: u64) {
        if self.bit == 7 && self.bits.is_multiple_of(8) {
            // Whole bytes, as most fields are.
            let count = usize::from(self.bits / 8);
            bytes[self.byte as usize..][..count].copy_from_slice(&value.to_be_bytes()[8 - count..]);
            return;
        }
        let mask = u128::from(self.max()) << self.shift();
        let value = u128::from(value & self.max()) << self.shift();
        for (index, byte) in bytes[self.byte as usize..self.end()].iter_mut().rev().enumerate() {
            *byte = *byte & !((mask >> (8 * index)) as u8) | (value >> (8 * index)) as u8;
        }
    }
}

/// The big-endian number of `N` bytes at `offset`, or `None` if `bytes` ends before it does.
pub(crate) fn array<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

/// A response that cannot be what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("{what} ends after {there} bytes, {needed} are needed")]
    Short {
        /// What was being decoded.
        what: &'static str,
        /// Bytes that are there.
        there: usize,
        /// Bytes that the shortest valid one has.
        needed: usize,
    },
    /// A field says what it cannot say.
    #[error("{what}: the {field} field says {value:#x}")]
    Field {
        /// What was being decoded.
        what: &'static str,
        /// The field, in T10's words.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
}

/// Gives back the first `needed` bytes at least, or says what is missing.
pub(crate) fn need<'a>(what: &'static str, bytes: &'a [u8], needed: usize) -> Result<&'a [u8], DecodeError> {
    if bytes.len() < needed {
        return Err(DecodeError::Short { what, there: bytes.len(), needed });
    }
    Ok(bytes)
}

/// A 16-bit field of a structure whose length has been checked; zero past its end.
pub(crate) fn be16(bytes: &[u8], offset: usize) -> u16 {
    array(bytes, offset).map_or(0, u16::from_be_bytes)
}

/// A 32-bit field, as [`be16`].
pub(crate) fn be32(bytes: &[u8], offset: usize) -> u32 {
    array(bytes, offset).map_or(0, u32::from_be_bytes)
}

/// A 64-bit field, as [`be16`].
pub(crate) fn be64(bytes: &[u8], offset: usize) -> u64 {
    array(bytes, offset).map_or(0, u64::from_be_bytes)
}

/// Text padded with blanks to a fixed width, as INQUIRY has it; cut where it is too long.
pub(crate) fn put_text(to: &mut [u8], text: &str) {
    to.fill(b' ');
    let count = text.len().min(to.len());
    to[..count].copy_from_slice(&text.as_bytes()[..count]);
}

/// Text out of a fixed-width field, without the padding; bytes that are no printable ASCII become `?`.
pub(crate) fn text(bytes: &[u8]) -> String {
    let printable = |byte: &u8| if matches!(byte, 0x20..=0x7e) { *byte as char } else { '?' };
    let text: String = bytes.iter().take_while(|byte| **byte != 0).map(printable).collect();
    text.trim_matches(' ').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_the_table_of_read_6_draws() {
        let place = Place { byte: 1, bit: 4, bits: 21 };
        assert_eq!(place.get(&[0x08, 0xff, 0x12, 0x34, 0, 0]), 0x1f_1234);
    }

    proptest! {
        #[test]
        fn put_then_get_changes_nothing_else(byte in 0u8..4, bit in 0u8..8, bits in 1u8..=64, value: u64, fill: [u8; 16]) {
            let place = Place { byte, bit, bits };
            let mut bytes = fill;
            place.put(&mut bytes, value);
            prop_assert_eq!(place.get_in_16(u128::from_be_bytes(bytes)), value & place.max());
            prop_assert_eq!(u128::from_be_bytes(bytes) & !place.mask_in_16(), u128::from_be_bytes(fill) & !place.mask_in_16());
            prop_assert_eq!(place.get(&bytes), value & place.max());
            place.put(&mut bytes, place.get(&fill));
            prop_assert_eq!(bytes, fill);
        }
    }
}
