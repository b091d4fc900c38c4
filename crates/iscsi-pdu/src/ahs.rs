//! Additional header segments of a SCSI Command (RFC 7143 section 11.2.2): a CDB of more than 16 bytes, the read length of a
//! bidirectional command.
//!
//! ```text
//!  byte 0     1   2      3
//!  ┌─────────────┬──────┬──────────┬───────────────┬─────────┐
//!  │ AHSLength   │ type │ specific │ specific …    │ padding │   AHSLength counts the specific bytes alone
//!  └─────────────┴──────┴──────────┴───────────────┴─────────┘
//! ```
//!
//! In: the bytes between a header and its digest, any at all. Out: what the two types that RFC 7143 defines say. A segment that
//! reaches beyond the bytes, is too short for its type, or comes twice is an error, and so is one of a reserved type.

use crate::{DecodeError, HEADER_LENGTH, Opcode, padding};
use bytes::BufMut;

const EXTENDED_CDB: u8 = 1;
const BIDIRECTIONAL_READ_LENGTH: u8 = 2;

/// AHSLength and AHSType.
const PREFIX_LENGTH: usize = 3;
/// AHSLength of a bidirectional read length: a reserved byte and the length.
const READ_LENGTH_LENGTH: usize = 5;

/// Longest CDB in bytes: SPC-5 clause 4.2.5.1 ends a CDB of variable length at 260.
pub const CDB_LENGTH_MAX: usize = 260;
const EXTENSION_LENGTH_MAX: usize = CDB_LENGTH_MAX - 16;

/// What additional header segments say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ahs {
    /// The CDB's bytes from the 17th on: 1 to 244 bytes.
    pub extended_cdb: Option<Box<[u8]>>,
    /// Bytes that the initiator expects to read with a bidirectional command.
    pub bidirectional_read_length: Option<u32>,
}

impl Ahs {
    /// Reads all segments of a PDU.
    ///
    /// # Errors
    /// The first segment that reaches beyond `segments`, whose length does not suit its type, or whose type is reserved or came
    /// before.
    pub fn decode(segments: &[u8]) -> Result<Self, DecodeError> {
        let mut ahs = Self::default();
        let mut rest = segments;
        while !rest.is_empty() {
            let offset = HEADER_LENGTH + segments.len() - rest.len();
            let (code, specific) = take_segment(&mut rest, offset)?;
            match code {
                EXTENDED_CDB => ahs.set_extended_cdb(specific, offset)?,
                BIDIRECTIONAL_READ_LENGTH => ahs.set_bidirectional_read_length(specific, offset)?,
                // RFC 7143 11-3: all other types are reserved (11.2.2.1).
                other => return Err(error("AHSType", offset + 2, other.into(), "1 or 2")),
            }
        }
        Ok(ahs)
    }

    fn set_extended_cdb(&mut self, specific: &[u8], offset: usize) -> Result<(), DecodeError> {
        // RFC 7143 11.2.2.3-1: no extended CDB for a CDB of less than 17 bytes; the length counts the reserved byte.
        if !(2..=EXTENSION_LENGTH_MAX + 1).contains(&specific.len()) {
            return Err(error("AHSLength", offset, specific.len(), "2 to 245 for an extended CDB"));
        }
        match self.extended_cdb.replace(specific[1..].into()) {
            None => Ok(()),
            Some(_) => Err(error("AHSType", offset + 2, EXTENDED_CDB.into(), "one extended CDB")),
        }
    }

    fn set_bidirectional_read_length(&mut self, specific: &[u8], offset: usize) -> Result<(), DecodeError> {
        let [_reserved, length @ ..] = *<&[u8; READ_LENGTH_LENGTH]>::try_from(specific).map_err(|_| {
            error("AHSLength", offset, specific.len(), "5 for a bidirectional read expected data transfer length")
        })?;
        match self.bidirectional_read_length.replace(u32::from_be_bytes(length)) {
            None => Ok(()),
            Some(_) => {
                Err(error("AHSType", offset + 2, BIDIRECTIONAL_READ_LENGTH.into(), "one bidirectional read length"))
            }
        }
    }

    /// The segments with their padding: nothing for an empty value, without allocation.
    ///
    /// # Panics
    /// If the extended CDB has no byte or more than 244: a bug of the caller.
    #[must_use]
    pub fn encode(&self) -> Box<[u8]> {
        let mut segments = Vec::new();
        // RFC 7143 11.3.5-1, 11.2.2.3-1: the part of a CDB beyond its 16th byte, which there has to be.
        if let Some(cdb) = &self.extended_cdb {
            assert!((1..=EXTENSION_LENGTH_MAX).contains(&cdb.len()), "an extended CDB has 17 to 260 bytes in all");
            put_segment(&mut segments, EXTENDED_CDB, cdb);
        }
        if let Some(length) = self.bidirectional_read_length {
            put_segment(&mut segments, BIDIRECTIONAL_READ_LENGTH, &length.to_be_bytes());
        }
        segments.into()
    }
}

/// Takes the first segment with its padding off `rest`: the type and the bytes specific to it.
fn take_segment<'a>(rest: &mut &'a [u8], offset: usize) -> Result<(u8, &'a [u8]), DecodeError> {
    let Some(&[high, low, kind]) = rest.first_chunk() else {
        return Err(error("AHSLength", offset, rest.len(), "a whole segment"));
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let end = PREFIX_LENGTH + length;
    if end + padding(end) > rest.len() {
        return Err(error("AHSLength", offset, length, "a segment that ends within TotalAHSLength"));
    }
    let specific = &rest[PREFIX_LENGTH..end];
    *rest = &rest[end + padding(end)..];
    Ok((kind & 0x3f, specific))
}

/// Appends a segment: its specific part is a reserved byte and `content`.
fn put_segment(segments: &mut Vec<u8>, code: u8, content: &[u8]) {
    segments.put_u16(content.len() as u16 + 1);
    segments.put_slice(&[code, 0]);
    segments.put_slice(content);
    segments.put_bytes(0, padding(content.len()));
}

fn error(field: &'static str, offset: usize, value: usize, expected: &'static str) -> DecodeError {
    Opcode::ScsiCommand.error(field, offset, value as u64, expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7143 11.3.5-1: what does not fit into the header.
    #[test]
    fn bytes_of_a_cdb_of_32_with_a_bidirectional_read() {
        let cdb = [0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf];
        let ahs = Ahs { extended_cdb: Some(cdb.into()), bidirectional_read_length: Some(0x1000) };
        let bytes = ahs.encode();
        // RFC 7143 11.2.2.3: AHSLength is the length of the CDB less 15.
        assert_eq!(bytes[..4], [0, 17, 1, 0]);
        assert_eq!(bytes[4..20], cdb);
        assert_eq!(bytes[20..], [0, 5, 2, 0, 0, 0, 0x10, 0]);
        assert_eq!(Ahs::decode(&bytes), Ok(ahs));
    }

    #[test]
    fn a_cdb_of_odd_length_is_padded() {
        let ahs = Ahs { extended_cdb: Some([7].into()), bidirectional_read_length: None };
        assert_eq!(*ahs.encode(), [0, 2, 1, 0, 7, 0, 0, 0]);
        assert_eq!(Ahs::decode(&ahs.encode()), Ok(ahs));
    }

    #[test]
    fn no_segments_say_nothing() {
        assert_eq!(Ahs::decode(&[]), Ok(Ahs::default()));
        assert!(Ahs::default().encode().is_empty());
    }

    // RFC 7143 11-2: bits 0 and 1 of the type, and the byte behind it.
    #[test]
    fn reserved_bits_are_ignored() {
        let bytes = [0, 5, 0xc2, 0xff, 0, 0, 0, 1];
        assert_eq!(Ahs::decode(&bytes), Ok(Ahs { extended_cdb: None, bidirectional_read_length: Some(1) }));
    }

    // RFC 7143 11-3, 11.2.2.3-1: reserved types, and an extended CDB of a CDB that needs none.
    #[test]
    fn segments_that_overrun_or_do_not_suit_are_errors_at_their_place() {
        let fails = |bytes: &'static [u8]| {
            let error = Ahs::decode(bytes).unwrap_err();
            (error.field, error.offset, error.value)
        };
        assert_eq!(fails(&[0, 9, 1, 0, 1, 2, 3, 4]), ("AHSLength", 48, 9));
        assert_eq!(fails(&[0xff, 0xff, 5, 0]), ("AHSLength", 48, 0xffff));
        assert_eq!(fails(&[0, 1, 1, 0]), ("AHSLength", 48, 1));
        assert_eq!(fails(&[0, 1, 0, 0]), ("AHSType", 50, 0));
        assert_eq!(fails(&[0, 2, 1, 0, 7, 0, 0, 0, 0, 1, 3, 0]), ("AHSType", 58, 3));
        assert_eq!(fails(&[0, 1, 0x3f, 0]), ("AHSType", 50, 63));
        assert_eq!(fails(&[0, 5, 2, 0, 0, 0, 0, 1, 0, 4, 2, 0, 0, 0, 0, 0]), ("AHSLength", 56, 4));
        assert_eq!(fails(&[0, 5, 2, 0, 0, 0, 0, 1, 0, 5, 2, 0, 0, 0, 0, 1]), ("AHSType", 58, 2));
        assert_eq!(fails(&[0, 2, 1, 0, 7, 0, 0, 0, 0, 2, 1, 0, 7, 0, 0, 0]), ("AHSType", 58, 1));
    }
}
