//! What is kept of a task so that its data and its status can be sent again (RFC 7143 sections 11.7.2 and 11.16).
//!
//! ```text
//!   offset  0        acknowledged        cut.offset                         sent
//!           ├── free ──────┼── R-Data alone ──┼── can be sent again as it was ──┤
//!   DataSN           acknowledged.0       cut.data_sn
//! ```
//!
//! Invariant: from the cut on, every Data-In was cut with the same length of segments, so its place follows from its DataSN.

use iscsi_pdu::StatSn;

/// Where Data-In PDUs begin that were cut with one length of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) data_sn: u32,
    pub(super) offset: u32,
    /// Whole words, in bytes.
    pub(super) segment_bytes: u32,
}

impl Cut {
    /// Offset and length of the Data-In with this DataSN, in a read of `total` bytes that is cut into bursts of `burst_bytes`; none if
    /// it lies before the cut or behind the end.
    pub(super) fn piece(&self, data_sn: u32, burst_bytes: u32, total: u32) -> Option<(u32, u32)> {
        let mut index = u64::from(data_sn.checked_sub(self.data_sn)?);
        let (burst, segment) = (u64::from(burst_bytes), u64::from(self.segment_bytes));
        let mut begin = u64::from(self.offset);
        let mut left = burst - begin % burst;
        let in_first = left.div_ceil(segment);
        if index >= in_first {
            index -= in_first;
            let in_burst = burst.div_ceil(segment);
            begin += left + index / in_burst * burst;
            left = burst;
            index %= in_burst;
        }
        let offset = begin + index * segment;
        let length = segment.min(left - index * segment).min(u64::from(total).checked_sub(offset)?);
        (length > 0).then_some((offset as u32, length as u32))
    }
}

/// How far the read of a task was acknowledged, how it is cut, and its status.
#[derive(Debug)]
pub(super) struct Resumption {
    /// The first DataSN that was not acknowledged, and its offset.
    pub(super) acknowledged: (u32, u32),
    pub(super) cut: Cut,
    /// StatSN of the status, once that was sent on the connection of now.
    pub(super) stat_sn: Option<StatSn>,
    /// The status was sent once, so that the task's place in the window is free.
    pub(super) has_left: bool,
    /// The status came with the last Data-In.
    pub(super) collapsed: bool,
    /// SNACK Tag of the last R-Data SNACK; zero if there was none.
    pub(super) snack_tag: u32,
}

impl Resumption {
    /// Cuts what was not acknowledged anew.
    pub(super) fn restart(&mut self, segment_bytes: u32) {
        let (data_sn, offset) = self.acknowledged;
        self.cut = Cut { data_sn, offset, segment_bytes };
        self.collapsed = false;
        // RFC 7143 7.2.2: a SNACK Tag does not outlive its connection.
        self.snack_tag = 0;
    }

    /// A read that begins with this DataSN.
    pub(super) fn new(data_sn: u32, segment_bytes: u32) -> Self {
        Self {
            acknowledged: (data_sn, 0),
            cut: Cut { data_sn, offset: 0, segment_bytes },
            stat_sn: None,
            has_left: false,
            collapsed: false,
            snack_tag: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// What one cut after the other gives.
        #[test]
        fn a_piece_is_where_it_was_cut(
            data_sn in 0..10u32,
            offset in 0..5000u32,
            segment in 1..600u32,
            burst_bytes in 512..2000u32,
            length in 1..20_000u32,
        ) {
            let (segment_bytes, total) = (segment * 4, offset + length);
            let cut = Cut { data_sn, offset, segment_bytes };
            let (mut at, mut number) = (offset, data_sn);
            while at < total {
                let piece = segment_bytes.min(burst_bytes - at % burst_bytes).min(total - at);
                prop_assert_eq!(cut.piece(number, burst_bytes, total), Some((at, piece)));
                (at, number) = (at + piece, number + 1);
            }
            prop_assert_eq!(cut.piece(number, burst_bytes, total), None);
            prop_assert_eq!(cut.piece(u32::MAX, burst_bytes, total), None);
            prop_assert_eq!(data_sn.checked_sub(1).and_then(|before| cut.piece(before, burst_bytes, total)), None);
        }
    }
}
