//! Values that are not plain text: numbers, ranges and binary strings (RFC 7143 section 6.1).

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use core::fmt::Write;
use core::ops::RangeInclusive;

/// Base64 as we read it, with or without the `=` at the end, and as we write it, with them.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is wrong with a value of a certain type. The peer that sent it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// No decimal-constant or hex-constant less than 2^64.
    #[error("no number: expected a decimal number without leading zeros, or 0x and hexadecimal digits, below 2^64")]
    Number,
    /// No two numbers with `~` between, the smaller one first.
    #[error("no range: expected two numbers with '~' between, the smaller one first")]
    Range,
    /// No hex-constant or base64-constant.
    #[error("no binary value: expected 0x and hexadecimal digits, or 0b and base64")]
    Binary,
    /// A binary string longer than asked for.
    #[error("a binary value of more than {bytes_max} bytes")]
    BinaryTooLong {
        /// The bound.
        bytes_max: usize,
    },
}

/// Reads a numerical-value: a decimal-constant or a hex-constant, less than 2^64.
///
/// ```
/// use iscsi_pdu::text::{ValueError, number};
/// assert_eq!(number("262144"), Ok(262_144));
/// assert_eq!(number("0x40000"), Ok(262_144));
/// assert_eq!(number("007"), Err(ValueError::Number));
/// ```
///
/// # Errors
/// [`ValueError::Number`].
pub fn number(value: &str) -> Result<u64, ValueError> {
    let (digits, radix) = match hex_digits(value) {
        Some(digits) => (digits, 16),
        None if value.len() > 1 && value.starts_with('0') => return Err(ValueError::Number),
        None => (value, 10),
    };
    // A sign is no digit.
    if digits.starts_with('+') {
        return Err(ValueError::Number);
    }
    // RFC 7143 6.1-3: nothing of 2^64 or more is a number.
    u64::from_str_radix(digits, radix).map_err(|_| ValueError::Number)
}

/// Reads a numerical-range: two numbers with `~` between, the smaller one first.
///
/// ```
/// assert_eq!(iscsi_pdu::text::range("8192~0x10000"), Ok(8192..=65536));
/// ```
///
/// # Errors
/// [`ValueError::Range`], or [`ValueError::Number`] for its parts.
pub fn range(value: &str) -> Result<RangeInclusive<u64>, ValueError> {
    let (low, high) = value.split_once('~').ok_or(ValueError::Range)?;
    let (low, high) = (number(low)?, number(high)?);
    if low <= high { Ok(low..=high) } else { Err(ValueError::Range) }
}

/// Reads a binary-value of at most `bytes_max` bytes, encoded as a hex-constant or a base64-constant. Its length is the one
/// that the digits imply; an odd number of hexadecimal digits has half a byte of zeros before them.
///
/// ```
/// use iscsi_pdu::text::binary;
/// assert_eq!(binary("0xabc", 16).unwrap(), [0x0a, 0xbc]);
/// assert_eq!(binary("0bAQID", 16).unwrap(), [1, 2, 3]);
/// ```
///
/// # Errors
/// [`ValueError::Binary`], or [`ValueError::BinaryTooLong`] before anything is decoded.
pub fn binary(value: &str, bytes_max: usize) -> Result<Vec<u8>, ValueError> {
    if let Some(digits) = hex_digits(value) {
        bounded(digits.len().div_ceil(2), bytes_max)?;
        return decode_hex(digits).ok_or(ValueError::Binary);
    }
    // RFC 7143 6.1-3: decimal digits are no binary value of ours, since no key has a length of its own.
    let digits = value.strip_prefix("0b").or_else(|| value.strip_prefix("0B")).ok_or(ValueError::Binary)?;
    let significant = digits.trim_end_matches('=').len();
    bounded(significant * 3 / 4, bytes_max)?;
    let bytes = BASE64.decode(digits).map_err(|_| ValueError::Binary)?;
    if significant == 0 { Err(ValueError::Binary) } else { Ok(bytes) }
}

/// A binary string as a hex-constant. `bytes` are not empty: there is no such constant.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut value = String::with_capacity(2 + 2 * bytes.len());
    value.push_str("0x");
    for byte in bytes {
        write!(value, "{byte:02x}").expect("a string takes what is written");
    }
    value
}

/// A binary string as a base64-constant. `bytes` are not empty: there is no such constant.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    let mut value = String::from("0b");
    BASE64.encode_string(bytes, &mut value);
    value
}

fn hex_digits(value: &str) -> Option<&str> {
    value.strip_prefix("0x").or_else(|| value.strip_prefix("0X"))
}

fn bounded(bytes: usize, bytes_max: usize) -> Result<(), ValueError> {
    if bytes <= bytes_max { Ok(()) } else { Err(ValueError::BinaryTooLong { bytes_max }) }
}

fn decode_hex(digits: &str) -> Option<Vec<u8>> {
    if digits.is_empty() {
        return None;
    }
    let nibbles: Vec<u8> = digits.chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect::<Option<_>>()?;
    // RFC 7143 6.1: a constant of n digits has (n + 1) / 2 bytes, and begins with the most significant digit.
    let (odd, pairs) = nibbles.split_at(nibbles.len() % 2);
    Some(odd.iter().copied().chain(pairs.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 7143 6.1-3: nor is 2^64 one.
    #[test]
    fn numbers_are_what_section_6_1_calls_numbers() {
        assert_eq!(number("0"), Ok(0));
        assert_eq!(number("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(number("0XfF"), Ok(255));
        assert_eq!(number("0x000000000000000000001"), Ok(1));
        for wrong in
            ["", "00", "01", "-1", "+1", "0x", "0x+1", "1 ", " 1", "12a", "18446744073709551616", "0x10000000000000000"]
        {
            assert_eq!(number(wrong), Err(ValueError::Number), "{wrong:?}");
        }
    }

    #[test]
    fn ranges_begin_with_the_smaller_number() {
        assert_eq!(range("1~1"), Ok(1..=1));
        assert_eq!(range("2~1"), Err(ValueError::Range));
        assert_eq!(range("12"), Err(ValueError::Range));
        assert_eq!(range("1~2~3"), Err(ValueError::Number));
        assert_eq!(range("~2"), Err(ValueError::Number));
    }

    /// RFC 7143 6.1-3: "12" is no binary value.
    #[test]
    fn binary_values_keep_their_leading_zeros() {
        assert_eq!(binary("0x0001", 2).unwrap(), [0, 1]);
        assert_eq!(binary("0x0", 1).unwrap(), [0]);
        assert_eq!(binary("0XDeadBeef", 4).unwrap(), [0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(binary("0BAQ==", 4).unwrap(), [1]);
        assert_eq!(binary("0bAQ", 4).unwrap(), [1]);
        for wrong in ["", "0x", "0b", "0b=", "0xg", "0x0g", "0xä", "12", "0b?", "0bA", "0bAQ=x"] {
            assert_eq!(binary(wrong, 16), Err(ValueError::Binary), "{wrong:?}");
        }
    }

    #[test]
    fn binary_values_are_bounded_before_they_are_decoded() {
        assert_eq!(binary("0x010203", 2), Err(ValueError::BinaryTooLong { bytes_max: 2 }));
        assert_eq!(binary("0bAQID", 2), Err(ValueError::BinaryTooLong { bytes_max: 2 }));
        assert!(binary("0bAQI=", 2).is_ok());
    }

    proptest! {
        #[test]
        fn binary_reads_what_hex_and_base64_write(bytes in prop::collection::vec(any::<u8>(), 1..100)) {
            prop_assert_eq!(binary(&hex(&bytes), bytes.len()).unwrap(), &bytes[..]);
            prop_assert_eq!(binary(&base64(&bytes), bytes.len()).unwrap(), &bytes[..]);
        }

        #[test]
        fn any_value_is_read_or_refused(value in ".*") {
            let _ = (number(&value), range(&value), binary(&value, 64));
        }
    }
}
