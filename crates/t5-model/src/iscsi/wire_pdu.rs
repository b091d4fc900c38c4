//! A PDU as it is on a wire, in the parts in which it lies in memory.

use super::receive::Layout;
use bytes::Bytes;

/// A PDU as it is on a wire: its bytes are those of the parts, one behind the other.
#[derive(Clone, Copy, Debug)]
pub struct WirePdu<'a> {
    /// Header, additional segments and header digest.
    pub head: &'a [u8],
    /// The data segment without padding.
    pub data: &'a [u8],
    /// Padding and data digest.
    pub tail: &'a [u8],
    /// The data once more, if it can be kept without a copy.
    pub kept: Option<&'a Bytes>,
}

impl<'a> WirePdu<'a> {
    /// A PDU that lies in one piece.
    ///
    /// # Panics
    /// If the bytes are not as many as the layout says: a bug of the caller.
    #[must_use]
    pub fn cut(bytes: &'a [u8], layout: Layout) -> Self {
        assert_eq!(bytes.len(), layout.total_bytes, "a PDU is looked at once all of it has come");
        let (head, rest) = bytes.split_at(layout.header_bytes);
        let (data, tail) = rest.split_at(layout.data_bytes);
        Self { head, data, tail, kept: None }
    }

    /// The parts in their order.
    #[must_use]
    pub const fn parts(&self) -> [&'a [u8]; 3] {
        [self.head, self.data, self.tail]
    }

    /// In bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.head.len() + self.data.len() + self.tail.len()
    }

    /// Where its parts stand.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        Layout { header_bytes: self.head.len(), data_bytes: self.data.len(), total_bytes: self.length() }
    }
}
