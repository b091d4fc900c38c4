//! A PDU on its way out: the adapter puts the digests into it.

use super::WirePdu;
use bytes::Bytes;
use iscsi_pdu::digest;
use iscsi_pdu::{HEADER_LENGTH, Header, padding};
use std::ops::Range;

/// A work request's payload that is no PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes are no PDU: its header says {expected}, with data padded to words")]
pub struct MalformedPdu {
    /// How many bytes there are.
    pub length: usize,
    /// How many its header asks for, at least the header itself.
    pub expected: usize,
}

/// Where the data of what goes out is.
#[derive(Debug)]
enum Data {
    Kept(Bytes),
    /// In what was copied.
    Copied(Range<usize>),
}

/// What is made ready to go out, in memory that is used again for what follows. Data that can be kept where it is, is not copied.
#[derive(Debug)]
pub struct Outgoing {
    /// Of a PDU, header, additional segments and header digest.
    head: Vec<u8>,
    data: Data,
    copied: Vec<u8>,
    /// Of a PDU, padding and data digest.
    tail: Vec<u8>,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self { head: Vec::new(), data: Data::Copied(0..0), copied: Vec::new(), tail: Vec::new() }
    }
}

impl Outgoing {
    /// Begins the next with data that is kept where it is; its head and tail are to be filled in.
    pub(crate) fn begin(&mut self, data: Bytes) -> (&mut Vec<u8>, &mut Vec<u8>) {
        self.head.clear();
        self.data = Data::Kept(data);
        self.tail.clear();
        (&mut self.head, &mut self.tail)
    }

    /// Begins the next, all of which is to be copied to where this says.
    pub(crate) fn begin_copy(&mut self, length: usize) -> &mut [u8] {
        self.head.clear();
        self.tail.clear();
        self.copied.resize(length, 0);
        self.data = Data::Copied(0..length);
        &mut self.copied
    }

    /// Lets go of what was sent.
    pub(crate) fn release(&mut self) {
        self.data = Data::Copied(0..0);
    }

    fn data(&self) -> &[u8] {
        match &self.data {
            Data::Kept(data) => data,
            Data::Copied(range) => &self.copied[range.clone()],
        }
    }

    /// All that goes out, in its order. If it is a PDU whose digests were [added](Self::add_digests), these are its parts.
    #[must_use]
    pub(crate) fn pdu(&self) -> WirePdu<'_> {
        let kept = if let Data::Kept(data) = &self.data { Some(data) } else { None };
        WirePdu { head: &self.head, data: self.data(), tail: &self.tail, kept }
    }

    /// Cuts a PDU as a driver gives it, without any digest, into its parts, and puts those digests in that are asked for; one without data gets
    /// none for it. Says how many it has.
    ///
    /// # Errors
    /// It is not as long as its header says.
    pub(crate) fn add_digests(&mut self, header: bool, data: bool) -> Result<u64, MalformedPdu> {
        if self.head.len() < HEADER_LENGTH {
            self.join();
        }
        let length = self.pdu().length();
        let malformed = |expected| MalformedPdu { length, expected };
        let first = if self.head.is_empty() { self.data() } else { &self.head };
        let fixed = first.first_chunk().copied().map(Header).ok_or(malformed(HEADER_LENGTH))?;
        let header_bytes = HEADER_LENGTH + fixed.ahs_length();
        let data_bytes = fixed.data_segment_length();
        let expected = header_bytes + data_bytes + padding(data_bytes);
        if length != expected {
            return Err(malformed(expected));
        }
        if self.head.len() != header_bytes || self.data().len() != data_bytes {
            self.cut(header_bytes, data_bytes);
        }
        let data = data && data_bytes > 0;
        if data {
            let digest = digest::padded(self.data(), &self.tail);
            self.tail.extend_from_slice(&digest);
        }
        if header {
            let digest = digest::of(&self.head);
            self.head.extend_from_slice(&digest);
        }
        Ok(u64::from(header) + u64::from(data))
    }

    /// Cuts what lies otherwise.
    fn cut(&mut self, header_bytes: usize, data_bytes: usize) {
        self.join();
        let data = header_bytes..header_bytes + data_bytes;
        self.head.extend_from_slice(&self.copied[..data.start]);
        self.tail.extend_from_slice(&self.copied[data.end..]);
        self.data = Data::Copied(data);
    }

    /// Copies everything into one piece, with nothing before and behind it.
    fn join(&mut self) {
        if matches!(self.data, Data::Kept(_)) || !self.head.is_empty() || !self.tail.is_empty() {
            self.copied = self.pdu().parts().concat();
            self.head.clear();
            self.tail.clear();
            self.data = Data::Copied(0..self.copied.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(pdu: &[u8], header: bool, data: bool) -> Vec<u8> {
        let mut outgoing = Outgoing::default();
        outgoing.begin_copy(pdu.len()).copy_from_slice(pdu);
        outgoing.add_digests(header, data).unwrap();
        outgoing.pdu().parts().concat()
    }

    // RFC 7143 appendix A.4: 32 bytes of zeros, and a READ (10).
    #[test]
    fn digests_stand_behind_what_they_cover() {
        let words = [0x01c0_0000u32, 0, 0, 0, 0x1400_0000, 0x400, 0x14, 0x18, 0x2800_0000, 0, 0x0200_0000, 0];
        let mut pdu: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(bytes(&pdu, true, true)[48..], [0x56, 0x3a, 0x96, 0xd9]);
        pdu[7] = 30;
        pdu.extend([0; 32]);
        let sent = bytes(&pdu, false, true);
        assert_eq!(sent[..80], pdu);
        assert_eq!(sent[80..], [0xaa, 0x36, 0x91, 0x8a]);
        assert_eq!(bytes(&pdu, false, false), pdu);
    }

    #[test]
    fn what_is_no_pdu_is_refused() {
        let refused = |pdu: &[u8]| {
            let mut outgoing = Outgoing::default();
            outgoing.begin_copy(pdu.len()).copy_from_slice(pdu);
            outgoing.add_digests(true, true).unwrap_err()
        };
        assert_eq!(refused(&[]), MalformedPdu { length: 0, expected: 48 });
        assert_eq!(refused(&[0; 47]), MalformedPdu { length: 47, expected: 48 });
        let mut short = [0; 48];
        short[7] = 1;
        assert_eq!(refused(&short), MalformedPdu { length: 48, expected: 52 });
    }

    proptest! {
        #[test]
        fn however_it_lies_the_same_goes_out(ahs in 0..4u8, data in prop::collection::vec(1..255u8, 0..100), at in (0..180usize, 0..180usize), header: bool, payload: bool) {
            let mut pdu = vec![0; 48 + usize::from(ahs) * 4];
            pdu[4] = ahs;
            pdu[7] = data.len() as u8;
            pdu.extend_from_slice(&data);
            pdu.resize(pdu.len().next_multiple_of(4), 0);
            let (first, second) = (at.0.min(at.1).min(pdu.len()), at.0.max(at.1).min(pdu.len()));
            let mut outgoing = Outgoing::default();
            // What was there before is of no meaning.
            outgoing.begin_copy(300).fill(7);
            let (head, tail) = outgoing.begin(Bytes::copy_from_slice(&pdu[first..second]));
            head.extend_from_slice(&pdu[..first]);
            tail.extend_from_slice(&pdu[second..]);
            prop_assert_eq!(outgoing.add_digests(header, payload).unwrap(), u64::from(header) + u64::from(payload && !data.is_empty()));
            prop_assert_eq!(outgoing.pdu().data, &data[..]);
            prop_assert_eq!(outgoing.pdu().parts().concat(), bytes(&pdu, header, payload));
        }
    }
}
