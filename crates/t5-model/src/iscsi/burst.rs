//! Data of one work request that the adapter cuts into PDUs (iSCSI segmentation offload): each has the header that is the pattern, with what differs from
//! one to the next filled in.

use iscsi_pdu::{DataInHeader, DataOutHeader, HEADER_LENGTH, Header, Opcode};
use std::ops::Range;
use t5_hal::wire::{IsoOp, TxDataIso, WireError};

/// Longest data of a PDU, in bytes: with additional segments and digests it is as long as the adapter sends.
const PDU_DATA_BYTES_MAX: usize = 15912;
/// Shortest, so that there are few PDUs: RFC 7143 13.12 has no shorter MaxRecvDataSegmentLength.
const PDU_DATA_BYTES_MIN: usize = 512;
/// Most data of one burst, in bytes.
const BURST_BYTES_MAX: usize = 65535;
/// FINAL, of Data-In and of Data-Out.
const FINAL: u8 = 0x80;

/// What is to be cut.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// The message says it without the header.
    data_bytes: usize,
    pdu_bytes: usize,
    /// Whether the last PDU of the request is that of its sequence.
    is_last: bool,
    is_data_in: bool,
    /// Data of the sequence that went before, and all that it has.
    sent_bytes: usize,
    sequence_bytes: usize,
    data_sn: u32,
    buffer_offset: u32,
}

impl Burst {
    /// Reads what a driver asks for.
    ///
    /// # Errors
    /// It is for no data, its lengths cannot be, or its header would have additional segments.
    pub fn read(iso: &TxDataIso) -> Result<Self, WireError> {
        let wrong = |field, value, expected| WireError::Length { name: "cpl_tx_data_iso", field, value, expected };
        let length = iso.length.get() as usize;
        let data_bytes = length.checked_sub(HEADER_LENGTH).filter(|bytes| (1..=BURST_BYTES_MAX).contains(bytes));
        let data_bytes = data_bytes.ok_or(wrong("len", length, "a header and 1 to 65535 bytes"))?;
        let pdu_bytes = usize::from(iso.pdu_quarter.get()) * 4;
        if !(PDU_DATA_BYTES_MIN..=PDU_DATA_BYTES_MAX).contains(&pdu_bytes) {
            return Err(wrong("mpdu", pdu_bytes, "512 to 15912 bytes"));
        }
        if iso.ahs_length != 0 {
            return Err(wrong("ahs_len", iso.ahs_length.into(), "none"));
        }
        let kind = iso.op.get(IsoOp::SCSI);
        if !matches!(kind, 1 | 2) {
            return Err(wrong("scsi", kind as usize, "1 for Data-Out, 2 for Data-In"));
        }
        Ok(Self {
            data_bytes,
            pdu_bytes,
            is_last: iso.op.is_set(IsoOp::LAST),
            is_data_in: kind == 2,
            sent_bytes: (iso.segment_offset.get() & 0xff_ffff) as usize,
            sequence_bytes: iso.burst_quarter.get() as usize * 4,
            data_sn: iso.data_sn_offset.get(),
            buffer_offset: iso.buffer_offset.get(),
        })
    }

    /// How many bytes of data there are.
    #[must_use]
    pub const fn data_bytes(&self) -> usize {
        self.data_bytes
    }

    /// The header of each PDU, and which of the data is its. Nothing if the pattern is of another kind than the request says.
    pub fn cut(self, pattern: Header) -> impl DoubleEndedIterator<Item = (Header, Range<usize>)> {
        let wanted = if self.is_data_in { Opcode::DataIn } else { Opcode::DataOut };
        let count = if pattern.opcode() == wanted { self.data_bytes.div_ceil(self.pdu_bytes) } else { 0 };
        (0..count).map(move |at| {
            let begin = at * self.pdu_bytes;
            let data = begin..self.data_bytes.min(begin + self.pdu_bytes);
            (self.header(pattern, at as u32, &data), data)
        })
    }

    fn header(&self, pattern: Header, at: u32, data: &Range<usize>) -> Header {
        let ends_sequence =
            self.is_last && data.end == self.data_bytes || self.sent_bytes + data.end == self.sequence_bytes;
        let mut header = pattern;
        let [_, length @ ..] = (data.len() as u32).to_be_bytes();
        header.0[4] = 0;
        header.0[5..8].copy_from_slice(&length);
        let data_sn = self.data_sn.wrapping_add(at);
        let offset = self.buffer_offset.wrapping_add(data.start as u32);
        if !self.is_data_in {
            let mut fields: DataOutHeader = *header.view();
            fields.data_sn = fields.data_sn.get().wrapping_add(data_sn).into();
            fields.buffer_offset = fields.buffer_offset.get().wrapping_add(offset).into();
            fields.flags = if ends_sequence { fields.flags | FINAL } else { fields.flags & !FINAL };
            return Header::from_layout(&fields);
        }
        let mut fields: DataInHeader = *header.view();
        fields.data_sn = fields.data_sn.get().wrapping_add(data_sn).into();
        fields.buffer_offset = fields.buffer_offset.get().wrapping_add(offset).into();
        if ends_sequence {
            fields.flags |= FINAL;
        } else {
            // The status, its number and the residual are those of the last PDU alone, as is the wish for an acknowledgement.
            (fields.flags, fields.status) = (0, 0);
            (fields.stat_sn, fields.residual_count) = (0.into(), 0.into());
        }
        Header::from_layout(&fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iscsi_pdu::{DataIn, DataOut, Pdu};
    use proptest::prelude::*;

    fn iso(kind: u32, data: usize, pdu: u16) -> TxDataIso {
        let op = IsoOp::new().with_bit(IsoOp::FIRST, true).with_bit(IsoOp::LAST, true).with(IsoOp::SCSI, kind);
        let length = (48 + data as u32).into();
        TxDataIso { op, length, pdu_quarter: pdu.into(), burst_quarter: (1 << 20).into(), ..TxDataIso::default() }
    }

    fn pattern(flags: u8) -> Header {
        let header = Pdu::from(DataIn { data_sn: 7, buffer_offset: 1000, ..DataIn::default() }).encode().header;
        let mut fields: DataInHeader = *header.view();
        (fields.flags, fields.status, fields.stat_sn) = (flags, 2, 5.into());
        Header::from_layout(&fields)
    }

    #[test]
    fn data_in_is_cut_and_its_status_goes_with_the_last() {
        let cut: Vec<_> = Burst::read(&iso(2, 2500, 256)).unwrap().cut(pattern(0x81)).collect();
        let fields = |header: &Header| {
            let view: &DataInHeader = header.view();
            (view.flags, view.status, view.stat_sn.get(), view.data_sn.get(), view.buffer_offset.get())
        };
        let seen: Vec<_> =
            cut.iter().map(|(header, data)| (fields(header), header.data_segment_length(), data.clone())).collect();
        let expected = [
            ((0, 0, 0, 7, 1000), 1024, 0..1024),
            ((0, 0, 0, 8, 2024), 1024, 1024..2048),
            ((0x81, 2, 5, 9, 3048), 452, 2048..2500),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_end_of_a_sequence_is_where_its_length_says_or_in_the_last_part() {
        let finals = |iso: TxDataIso| -> Vec<bool> {
            Burst::read(&iso).unwrap().cut(pattern(0)).map(|(header, _)| header.0[1] & FINAL != 0).collect()
        };
        let whole = iso(2, 3072, 256);
        assert_eq!(finals(whole), [false, false, true]);
        let first = TxDataIso { op: whole.op.with_bit(IsoOp::LAST, false), ..whole };
        assert_eq!(finals(first), [false; 3]);
        let ends = TxDataIso { segment_offset: 1024.into(), burst_quarter: 768.into(), ..first };
        assert_eq!(finals(ends), [false, true, false], "3072 bytes, of which 1024 went before");
    }

    #[test]
    fn data_out_keeps_its_other_flags() {
        let header = Pdu::from(DataOut::default()).encode().header;
        let iso = TxDataIso { data_sn_offset: 3.into(), buffer_offset: 4096.into(), ..iso(1, 1025, 256) };
        let cut: Vec<_> = Burst::read(&iso).unwrap().cut(header).collect();
        let place = |header: &Header| {
            let view: &DataOutHeader = header.view();
            (view.flags, view.data_sn.get(), view.buffer_offset.get())
        };
        assert_eq!([place(&cut[0].0), place(&cut[1].0)], [(0, 3, 4096), (0x80, 4, 5120)]);
        assert_eq!(Burst::read(&iso).unwrap().cut(pattern(0)).count(), 0, "a Data-In is none");
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        let good = iso(2, 1000, 128);
        assert_eq!(Burst::read(&good).unwrap().data_bytes(), 1000);
        for wrong in [
            iso(2, 0, 128),
            iso(2, 65536, 128),
            iso(2, 1000, 127),
            iso(2, 1000, 3979),
            iso(0, 1000, 128),
            iso(3, 1000, 128),
            TxDataIso { length: 47.into(), ..good },
            TxDataIso { ahs_length: 1, ..good },
        ] {
            assert!(Burst::read(&wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn all_data_is_in_one_pdu_each(bytes: [u8; 32], header: [u8; 48]) {
            let iso = zerocopy::FromBytes::read_from_bytes(&bytes[..]).unwrap();
            let Ok(burst) = Burst::read(&iso) else { return Ok(()) };
            let mut at = 0;
            for (header, data) in burst.cut(Header(header)) {
                prop_assert_eq!((data.start, header.data_segment_length()), (at, data.len()));
                at = data.end;
            }
            prop_assert!(at == 0 || at == burst.data_bytes());
        }
    }
}
