//! A text over several PDUs (RFC 7143 section 6.1: the logical text data segment; section 6.2: the C bit).

use bytes::{Bytes, BytesMut};

/// Most bytes that a peer may count on in one negotiation, if it is about long authentication items (RFC 7143 6.1-5).
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// The text goes beyond what is put together. The peer that sent it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text has more than {bytes_max} bytes over all its PDUs")]
pub struct TextTooLong {
    /// The bound of the [`Assembler`].
    pub bytes_max: usize,
}

/// Puts together the text that a peer sends in several PDUs. A text in one PDU is handed on as it is.
///
/// ```
/// use iscsi_pdu::text::Assembler;
///
/// let mut assembler = Assembler::new(1024);
/// assert_eq!(assembler.push("HeaderDi".into(), true), Ok(None));
/// assert_eq!(assembler.push("gest=None\0".into(), false), Ok(Some("HeaderDigest=None\0".into())));
/// ```
#[derive(Clone, Debug)]
pub struct Assembler {
    begun: BytesMut,
    bytes_max: usize,
}

impl Assembler {
    /// An assembler of texts of at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { begun: BytesMut::new(), bytes_max }
    }

    /// Takes the data segment of the next PDU, and its C bit. The complete text comes with the PDU that has none; after it,
    /// and after an error, the next text may begin.
    ///
    /// # Errors
    /// The text is longer than the bound.
    pub fn push(&mut self, segment: Bytes, continues: bool) -> Result<Option<Bytes>, TextTooLong> {
        if self.begun.len() + segment.len() > self.bytes_max {
            self.begun = BytesMut::new();
            return Err(TextTooLong { bytes_max: self.bytes_max });
        }
        if !continues && self.begun.is_empty() {
            return Ok(Some(segment));
        }
        self.begun.extend_from_slice(&segment);
        Ok(if continues { None } else { Some(self.begun.split().freeze()) })
    }

    /// Whether a text has begun and not ended, with at least one byte.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !self.begun.is_empty()
    }
}

/// Cuts a text into the data segments of PDUs, each with its C bit: all but the last have `segment_bytes_max` bytes. An empty
/// text is one empty segment. Nothing is copied.
///
/// ```
/// let segments: Vec<_> = iscsi_pdu::text::segments("MaxBurstLength=65536\0".into(), 16).collect();
/// assert_eq!(segments, [("MaxBurstLength=6".into(), true), ("5536\0".into(), false)]);
/// ```
///
/// # Panics
/// If `segment_bytes_max` is 0: a bug of the caller.
pub fn segments(text: Bytes, segment_bytes_max: usize) -> Segments {
    assert!(segment_bytes_max > 0, "a segment has room for a byte");
    Segments { rest: Some(text), segment_bytes_max }
}

/// Iterator over the segments of a text, see [`segments`].
#[derive(Clone, Debug)]
pub struct Segments {
    rest: Option<Bytes>,
    segment_bytes_max: usize,
}

impl Iterator for Segments {
    type Item = (Bytes, bool);

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.rest.take()?;
        if rest.len() <= self.segment_bytes_max {
            return Some((rest, false));
        }
        let segment = rest.split_to(self.segment_bytes_max);
        self.rest = Some(rest);
        Some((segment, true))
    }
}

impl core::iter::FusedIterator for Segments {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// RFC 7143 6.1-4: over however many PDUs.
        #[test]
        fn what_is_cut_is_put_together_again(text in prop::collection::vec(any::<u8>(), 0..2000), size in 1usize..600) {
            let text = Bytes::from(text);
            let mut assembler = Assembler::new(text.len());
            let mut whole = None;
            let mut count = 0;
            for (segment, continues) in segments(text.clone(), size) {
                prop_assert!(whole.is_none());
                prop_assert!(segment.len() == size || !continues && segment.len() <= size);
                whole = assembler.push(segment, continues).unwrap();
                count += 1;
            }
            prop_assert_eq!(count, text.len().div_ceil(size).max(1));
            prop_assert_eq!(whole, Some(text));
            prop_assert!(!assembler.has_begun());
        }
    }

    #[test]
    fn a_text_is_bounded_over_all_its_segments_and_the_next_begins_anew() {
        let mut assembler = Assembler::new(10);
        assert_eq!(assembler.push("123456".into(), true), Ok(None));
        assert!(assembler.has_begun());
        assert_eq!(assembler.push("78901".into(), true), Err(TextTooLong { bytes_max: 10 }));
        assert_eq!(assembler.push("1234567890".into(), false), Ok(Some("1234567890".into())));
        assert_eq!(assembler.push("12345678901".into(), false), Err(TextTooLong { bytes_max: 10 }));
    }

    #[test]
    fn a_text_in_one_pdu_is_not_copied() {
        let text = Bytes::from_static(b"a=b\0");
        let whole = Assembler::new(100).push(text.clone(), false).unwrap().unwrap();
        assert_eq!(whole.as_ptr(), text.as_ptr());
    }
}
