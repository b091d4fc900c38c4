//! Text of login and text PDUs: `key=value` pairs, each ended by a zero byte (RFC 7143 section 6.1).
//!
//! ```text
//!   segments of several PDUs            one complete text                     one pair at a time
//!  ┌──────┬──────┬──────┐  Assembler  ┌──────────────────────────┐  pairs   ┌────────────────────┐
//!  │ C=1  │ C=1  │ C=0  │ ──────────> │ Key=value\0Key=value\0…  │ ───────> │ ("Key", "value") … │
//!  └──────┴──────┴──────┘ <────────── └──────────────────────────┘ <─────── └────────────────────┘
//!                           segments                                  push
//! ```
//!
//! In: what a peer sent, any bytes. Out: keys that are names, values that are UTF-8 of bounded length, or the first thing
//! that is neither. Nothing is copied unless it comes in several PDUs; the work is linear in the length of the text. What a key
//! means, and which type of value it has, is the session's to say.
//!
//! ```
//! use bytes::BytesMut;
//! use iscsi_pdu::text;
//!
//! let mut data = BytesMut::new();
//! text::push(&mut data, "HeaderDigest", "CRC32C,None");
//! text::push(&mut data, "MaxRecvDataSegmentLength", "262144");
//! assert_eq!(&data[..], b"HeaderDigest=CRC32C,None\0MaxRecvDataSegmentLength=262144\0");
//!
//! let pairs: Result<Vec<_>, _> = text::pairs(&data).collect();
//! assert_eq!(pairs.unwrap(), [("HeaderDigest", "CRC32C,None"), ("MaxRecvDataSegmentLength", "262144")]);
//! ```

mod continuation;
mod value;

pub use continuation::{Assembler, Segments, TEXT_BYTES_MAX, TextTooLong, segments};
pub use value::{ValueError, base64, binary, hex, number, range};

use bytes::{BufMut, BytesMut};

/// Longest key in bytes (RFC 7143 section 6.1, standard-label).
pub const KEY_BYTES_MAX: usize = 63;

/// Longest value in bytes that this crate reads: enough for the longest that RFC 7143 names, a binary value of 1024 bytes in
/// hexadecimal (section 12.1), and the whole of what a peer may count on in a negotiation (section 6.1).
pub const VALUE_BYTES_MAX: usize = 8192;

/// What is wrong with a text. The peer that sent it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// No zero byte ends the last pair.
    #[error("the text ends within a key=value pair, at byte {offset}: every pair ends with a zero byte")]
    Unterminated {
        /// Where the pair begins in the text.
        offset: usize,
    },
    /// A pair without `=`.
    #[error("the text has no '=' in the pair at byte {offset}")]
    NoValue {
        /// Where the pair begins in the text.
        offset: usize,
    },
    /// A key that is empty, longer than [`KEY_BYTES_MAX`], or has other characters than letters, digits and `.-+@_#`.
    #[error("the key at byte {offset} of the text is no name of 1 to 63 letters, digits, '.', '-', '+', '@', '_'")]
    Key {
        /// Where the pair begins in the text.
        offset: usize,
    },
    /// A value longer than [`VALUE_BYTES_MAX`].
    #[error("the value of the pair at byte {offset} of the text has {length} bytes: at most 8192 are read")]
    ValueTooLong {
        /// Where the pair begins in the text.
        offset: usize,
        /// Length of the value in bytes.
        length: usize,
    },
    /// A value that is not UTF-8.
    #[error("the value of the pair at byte {offset} of the text is not UTF-8")]
    ValueNotUtf8 {
        /// Where the pair begins in the text.
        offset: usize,
    },
}

/// The pairs of a complete text, in order; the first error is the last item.
///
/// The same key may come twice: whether it may is the session's to say. Zero bytes beyond the one that ends a pair carry
/// nothing and are skipped.
pub fn pairs(text: &[u8]) -> Pairs<'_> {
    Pairs { rest: text, offset: 0 }
}

/// Iterator over the pairs of a text, see [`pairs`].
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<(&'a str, &'a str), TextError>;

    fn next(&mut self) -> Option<Self::Item> {
        let zeros = self.rest.iter().take_while(|byte| **byte == 0).count();
        self.advance(zeros);
        if self.rest.is_empty() {
            return None;
        }
        let offset = self.offset;
        // RFC 7143 6.1-1: every pair is followed by a zero byte, the last one too.
        let Some(length) = self.rest.iter().position(|byte| *byte == 0) else {
            self.rest = &[];
            return Some(Err(TextError::Unterminated { offset }));
        };
        let pair = &self.rest[..length];
        self.advance(length + 1);
        let pair = split_pair(pair, offset);
        if pair.is_err() {
            self.rest = &[];
        }
        Some(pair)
    }
}

impl core::iter::FusedIterator for Pairs<'_> {}

impl Pairs<'_> {
    fn advance(&mut self, bytes: usize) {
        self.rest = &self.rest[bytes..];
        self.offset += bytes;
    }
}

fn split_pair(pair: &[u8], offset: usize) -> Result<(&str, &str), TextError> {
    let Some(equal) = pair.iter().position(|byte| *byte == b'=') else {
        return Err(TextError::NoValue { offset });
    };
    let (key, value) = (&pair[..equal], &pair[equal + 1..]);
    if !is_key(key) {
        return Err(TextError::Key { offset });
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(TextError::ValueTooLong { offset, length: value.len() });
    }
    let key = str::from_utf8(key).expect("a key is ASCII");
    let value = str::from_utf8(value).map_err(|_| TextError::ValueNotUtf8 { offset })?;
    Ok((key, value))
}

/// Whether these bytes can be a key (RFC 7143 6.1-2). `#` stands in no key-name of section 6.1 but in keys that are in use
/// (section 13.26), and a first letter that is no capital is answered like any other key that is not understood.
fn is_key(key: &[u8]) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len())
        && key.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-+@_#".contains(byte))
}

/// Appends a pair and the zero byte that ends it.
///
/// # Panics
/// If `key` is no key, or `value` holds a zero byte or is longer than [`VALUE_BYTES_MAX`]: bugs of the caller. What
/// [`pairs`] yields is always fit to be pushed.
pub fn push(text: &mut BytesMut, key: &str, value: &str) {
    assert!(is_key(key.as_bytes()), "a key is a name of 1 to 63 bytes");
    assert!(value.len() <= VALUE_BYTES_MAX, "a value has at most 8192 bytes");
    assert!(!value.as_bytes().contains(&0), "a value holds no zero byte");
    text.reserve(key.len() + value.len() + 2);
    text.put_slice(key.as_bytes());
    text.put_u8(b'=');
    text.put_slice(value.as_bytes());
    // RFC 7143 6.1-1: the end of the pair.
    text.put_u8(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Vec<Result<(&str, &str), TextError>> {
        pairs(text).collect()
    }

    #[test]
    fn reads_pairs_in_order_with_whatever_follows_the_first_equal_sign() {
        assert_eq!(read(b""), []);
        assert_eq!(
            read(b"TargetName=iqn.2026-01.org.example:a\0InitiatorAlias=a=b \xc3\xa4\0Empty=\0"),
            [Ok(("TargetName", "iqn.2026-01.org.example:a")), Ok(("InitiatorAlias", "a=b ä")), Ok(("Empty", ""))]
        );
    }

    #[test]
    fn skips_zeros_that_end_no_pair() {
        assert_eq!(read(b"\0\0A=1\0\0\0B=2\0\0"), [Ok(("A", "1")), Ok(("B", "2"))]);
        assert_eq!(read(b"\0\0\0"), []);
    }

    /// RFC 7143 6.1-1: a pair that no zero byte ends is none.
    #[test]
    fn an_error_names_its_place_and_ends_the_pairs() {
        assert_eq!(read(b"A=1\0B=2"), [Ok(("A", "1")), Err(TextError::Unterminated { offset: 4 })]);
        assert_eq!(read(b"A=1\0B\0C=3\0"), [Ok(("A", "1")), Err(TextError::NoValue { offset: 4 })]);
        assert_eq!(read(b"=1\0"), [Err(TextError::Key { offset: 0 })]);
        assert_eq!(read(b"A B=1\0"), [Err(TextError::Key { offset: 0 })]);
        assert_eq!(read(b"\0A=\xff\0B=1\0"), [Err(TextError::ValueNotUtf8 { offset: 1 })]);
    }

    /// RFC 7143 6.1-2: 63 bytes.
    #[test]
    fn the_longest_key_and_value_pass_and_the_next_longer_do_not() {
        let key = |length| format!("{}=v\0", "K".repeat(length)).into_bytes();
        assert!(read(&key(KEY_BYTES_MAX))[0].is_ok());
        assert_eq!(read(&key(KEY_BYTES_MAX + 1)), [Err(TextError::Key { offset: 0 })]);
        let value = |length| format!("K={}\0", "v".repeat(length)).into_bytes();
        assert!(read(&value(VALUE_BYTES_MAX))[0].is_ok());
        let length = VALUE_BYTES_MAX + 1;
        assert_eq!(read(&value(length)), [Err(TextError::ValueTooLong { offset: 0, length })]);
    }

    #[test]
    fn keys_in_use_beyond_the_standard_label_are_read() {
        assert_eq!(read(b"X#NodeArchitecture=rs\0"), [Ok(("X#NodeArchitecture", "rs"))]);
        assert_eq!(read(b"X-com.example.a_b=3\0"), [Ok(("X-com.example.a_b", "3"))]);
    }

    #[test]
    #[should_panic(expected = "a value holds no zero byte")]
    fn pushing_a_zero_byte_is_a_bug() {
        push(&mut BytesMut::new(), "InitiatorAlias", "a\0TargetName=b");
    }
}
