//! A PDU as it comes in: how long it is, and what is right and wrong with it.

use super::WirePdu;
use super::pods::{Pods, Target};
use iscsi_pdu::digest::{self, DIGEST_LENGTH};
use iscsi_pdu::{HEADER_LENGTH, Header, padding};
use t5_hal::dma::DmaMemory;
use t5_hal::wire::{DdpVerdict, UlpMode};

/// Longest PDU in bytes, digests included: what the adapter's receive logic takes.
pub const PDU_BYTES_MAX: usize = 16224;

/// How a connection's PDUs are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Headers have digests.
    pub header_digest: bool,
    /// Data segments have digests.
    pub data_digest: bool,
    /// Which of the four page sizes tags mean that name none, 0 to 3.
    pub page_size: u8,
}

/// Where the parts of a PDU stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Header, additional segments and header digest, in bytes.
    pub header_bytes: usize,
    /// The data segment without padding, in bytes.
    pub data_bytes: usize,
    /// The whole PDU, in bytes.
    pub total_bytes: usize,
}

/// What the beginning of a PDU says of its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// Nothing yet: a whole header has to be there.
    Unknown,
    /// The PDU's parts; it may not be there yet.
    Known(Layout),
    /// It is longer than [`PDU_BYTES_MAX`].
    TooLong(usize),
}

impl Layout {
    /// Reads how long the PDU is that begins with those bytes.
    #[must_use]
    pub fn measure(bytes: &[u8], settings: Settings) -> Measured {
        let Some(header) = bytes.first_chunk().copied().map(Header) else { return Measured::Unknown };
        let digest = |is_there| if is_there { DIGEST_LENGTH } else { 0 };
        let data_bytes = header.data_segment_length();
        let header_bytes = HEADER_LENGTH + header.ahs_length() + digest(settings.header_digest);
        let data_digest = digest(settings.data_digest && data_bytes > 0);
        let total_bytes = header_bytes + data_bytes + padding(data_bytes) + data_digest;
        if total_bytes > PDU_BYTES_MAX {
            return Measured::TooLong(total_bytes);
        }
        Measured::Known(Self { header_bytes, data_bytes, total_bytes })
    }
}

/// Checks a whole PDU, whose parts are those of the connection's settings, and places its payload if its tag says where. Gives the verdict, and the
/// digest that came with the data.
///
/// Payload is placed before its digest is known, as the adapter does: a verdict with an error completes no command.
pub fn examine(pdu: WirePdu<'_>, settings: Settings, tid: u32, pods: &Pods, memory: &DmaMemory) -> (DdpVerdict, u32) {
    let mut verdict = DdpVerdict::new().with(DdpVerdict::ULP_MODE, UlpMode::Iscsi.to_wire().into());
    if settings.header_digest {
        let (header, received) = pdu.head.split_at(pdu.head.len() - DIGEST_LENGTH);
        if digest::of(header) != received {
            // Nothing that the header says can be believed, its tag least of all.
            return (verdict.with_bit(DdpVerdict::HDRCRC_ERR, true), 0);
        }
    }
    if pdu.data.is_empty() {
        return (verdict, 0);
    }
    let (padding, digest) = pdu.tail.split_at(padding(pdu.data.len()));
    if let Some(target) = Target::of(pdu.head, settings) {
        verdict = DdpVerdict::from_value(verdict.value() | pods.place(tid, target, pdu.data, memory).value());
    }
    verdict = verdict.with_bit(DdpVerdict::PADDING_ERR, padding.iter().any(|&byte| byte != 0));
    let mut received = 0;
    if settings.data_digest {
        let wire: [u8; DIGEST_LENGTH] = digest.try_into().expect("a digest ends the PDU");
        received = u32::from_be_bytes(wire);
        verdict = verdict.with_bit(DdpVerdict::DATACRC_ERR, digest::padded(pdu.data, padding) != wire);
    }
    (verdict, received)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iscsi::Outgoing;
    use proptest::prelude::*;

    const BOTH: Settings = Settings { header_digest: true, data_digest: true, page_size: 0 };

    fn pdu(ahs_words: u8, data: &[u8]) -> Vec<u8> {
        let mut pdu = vec![0; 48 + usize::from(ahs_words) * 4];
        pdu[0] = 0x3f;
        pdu[4] = ahs_words;
        pdu[5..8].copy_from_slice(&(data.len() as u32).to_be_bytes()[1..]);
        pdu.extend_from_slice(data);
        pdu.resize(pdu.len().next_multiple_of(4), 0);
        pdu
    }

    fn with_digests(pdu: &[u8], header: bool, data: bool) -> Vec<u8> {
        let mut outgoing = Outgoing::default();
        outgoing.begin_copy(pdu.len()).copy_from_slice(pdu);
        outgoing.add_digests(header, data).unwrap();
        outgoing.pdu().parts().concat()
    }

    /// With both digests.
    fn sent(pdu: &[u8]) -> Vec<u8> {
        with_digests(pdu, true, true)
    }

    fn verdict(pdu: &[u8], settings: Settings) -> DdpVerdict {
        let Measured::Known(layout) = Layout::measure(pdu, settings) else { panic!("a PDU that can be measured") };
        let memory = DmaMemory::new(0, 4096, 4096);
        examine(WirePdu::cut(pdu, layout), settings, 1, &Pods::new(0x1000, 16), &memory).0
    }

    /// The error bits alone.
    fn errors(verdict: DdpVerdict) -> u32 {
        verdict.with(DdpVerdict::ULP_MODE, 0).value()
    }

    #[test]
    fn a_header_that_is_spoiled_raises_its_bit_alone() {
        let mut wire = sent(&pdu(1, b"payload"));
        assert_eq!(errors(verdict(&wire, BOTH)), 0);
        wire[20] ^= 1;
        assert_eq!(errors(verdict(&wire, BOTH)), 1 << 20);
    }

    #[test]
    fn data_that_is_spoiled_raises_its_bit_alone() {
        let mut wire = sent(&pdu(0, b"payload!"));
        wire[53] ^= 1;
        assert_eq!(errors(verdict(&wire, BOTH)), 1 << 21);
    }

    #[test]
    fn padding_that_is_not_zero_raises_its_bit_alone() {
        let mut with_padding = pdu(0, b"payload");
        *with_padding.last_mut().unwrap() = 1;
        assert_eq!(errors(verdict(&with_padding, Settings::default())), 1 << 19);
        let wire = sent(&with_padding);
        assert_eq!(errors(verdict(&wire, BOTH)), 1 << 19, "the digest covers the padding, whatever it is");
    }

    #[test]
    fn a_pdu_is_measured_by_its_header() {
        assert_eq!(Layout::measure(&[0; 47], BOTH), Measured::Unknown);
        let layout = Layout { header_bytes: 48 + 8 + 4, data_bytes: 5, total_bytes: 48 + 8 + 4 + 8 + 4 };
        assert_eq!(Layout::measure(&pdu(2, b"12345")[..48], BOTH), Measured::Known(layout));
        let layout = Layout { header_bytes: 52, data_bytes: 0, total_bytes: 52 };
        assert_eq!(Layout::measure(&pdu(0, b""), BOTH), Measured::Known(layout), "no data, no digest of it");
        let mut long = pdu(0, b"");
        long[5] = 1;
        assert_eq!(Layout::measure(&long, Settings::default()), Measured::TooLong(48 + 65536));
    }

    proptest! {
        #[test]
        fn what_has_its_digests_is_right(ahs in 0..8u8, data in prop::collection::vec(any::<u8>(), 0..600), header: bool, payload: bool) {
            let settings = Settings { header_digest: header, data_digest: payload, page_size: 0 };
            let bytes = pdu(ahs, &data);
            let wire = with_digests(&bytes, header, payload);
            prop_assert_eq!(errors(verdict(&wire, settings)), 0);
        }

        #[test]
        fn any_bytes_are_measured_and_examined(mut bytes in prop::collection::vec(any::<u8>(), 0..800), data in 0..600u16, settings in 0..16u8) {
            let settings = Settings { header_digest: settings & 1 != 0, data_digest: settings & 2 != 0, page_size: settings >> 2 };
            if bytes.len() > 8 {
                bytes[4] &= 3;
                bytes[5..8].copy_from_slice(&[0, (data >> 8) as u8, data as u8]);
            }
            if let Measured::Known(layout) = Layout::measure(&bytes, settings) {
                bytes.resize(layout.total_bytes, 0);
                let memory = DmaMemory::new(0, 4096, 4096);
                let _ = examine(WirePdu::cut(&bytes, layout), settings, 1, &Pods::new(0x1000, 16), &memory);
            }
        }
    }
}
