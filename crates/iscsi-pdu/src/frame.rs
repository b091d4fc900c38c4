//! One PDU as it stands on the wire, without digests and padding: 48 bytes of header, additional header segments, data segment.
//!
//! In: a header of any 48 bytes. Out: names for the fields that all PDUs share (RFC 7143 sections 11.2.1 and 11.2.2).

use crate::opcode::Opcode;
use bytes::Bytes;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Length of the basic header segment in bytes (RFC 7143 section 11.2.1).
pub const HEADER_LENGTH: usize = 48;

/// Bytes that pad a segment of `length` bytes to a multiple of four (RFC 7143 section 11.2.1): 0 to 3.
#[must_use]
pub const fn padding(length: usize) -> usize {
    length.wrapping_neg() & 3
}

/// The basic header segment: any 48 bytes.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Header(pub [u8; HEADER_LENGTH]);

/// A type that gives names to the 48 bytes of a header.
pub trait HeaderLayout: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned {}

impl Header {
    /// The same bytes with the names of one PDU's fields. Costs nothing and cannot fail.
    #[must_use]
    #[inline]
    pub fn view<T: HeaderLayout>(&self) -> &T {
        const { assert!(size_of::<T>() == HEADER_LENGTH) };
        T::ref_from_bytes(&self.0).expect("a layout of 48 bytes without alignment fits any header")
    }

    /// The header whose fields are given.
    #[must_use]
    #[inline]
    pub fn from_layout<T: HeaderLayout>(fields: &T) -> Self {
        const { assert!(size_of::<T>() == HEADER_LENGTH) };
        let mut header = Self([0; HEADER_LENGTH]);
        header.0.copy_from_slice(fields.as_bytes());
        header
    }

    /// What the PDU is.
    #[must_use]
    pub const fn opcode(&self) -> Opcode {
        Opcode::from_wire(self.0[0] & 0x3f)
    }

    /// The I bit: immediate delivery.
    #[must_use]
    pub const fn is_immediate(&self) -> bool {
        self.0[0] & 0x40 != 0
    }

    /// TotalAHSLength in bytes: 0 to 1020, a multiple of four.
    #[must_use]
    pub const fn ahs_length(&self) -> usize {
        self.0[4] as usize * 4
    }

    /// DataSegmentLength in bytes, without padding: 0 to 2^24 - 1.
    #[must_use]
    pub const fn data_segment_length(&self) -> usize {
        u32::from_be_bytes([0, self.0[5], self.0[6], self.0[7]]) as usize
    }

    /// The field at bytes 16 to 19, which in every PDU but Reject and Asynchronous Message is an Initiator Task Tag.
    #[must_use]
    pub const fn initiator_task_tag(&self) -> u32 {
        u32::from_be_bytes([self.0[16], self.0[17], self.0[18], self.0[19]])
    }

    // RFC 7143 11.2.1.5-1, 11.2.1.6-1: zero without such segments.
    pub(crate) fn set_lengths(&mut self, ahs: usize, data: usize) {
        assert!(ahs <= 1020 && ahs.is_multiple_of(4), "additional header segments are padded and at most 1020 bytes");
        assert!(data < 1 << 24, "a data segment is shorter than 16 MiB");
        let lengths = ((ahs / 4) as u32) << 24 | data as u32;
        self.0[4..8].copy_from_slice(&lengths.to_be_bytes());
    }
}

impl core::fmt::Debug for Header {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "Header({}", self.opcode())?;
        for word in self.0.chunks_exact(4) {
            write!(formatter, " {:02x}{:02x}{:02x}{:02x}", word[0], word[1], word[2], word[3])?;
        }
        formatter.write_str(")")
    }
}

/// One PDU as bytes. Digests and padding belong to whoever frames it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The basic header segment; its two length fields agree with the segments below.
    pub header: Header,
    /// All additional header segments with their padding.
    pub ahs: Box<[u8]>,
    /// The data segment, without padding.
    pub data: Bytes,
}

impl Frame {
    /// Puts a PDU together; the length fields of the header are filled in.
    ///
    /// # Panics
    /// If `ahs` is no multiple of four or longer than 1020 bytes, or `data` is 16 MiB or longer: bugs of the caller.
    #[must_use]
    #[inline]
    pub fn new(mut header: Header, ahs: Box<[u8]>, data: Bytes) -> Self {
        header.set_lengths(ahs.len(), data.len());
        Self { header, ahs, data }
    }
}
