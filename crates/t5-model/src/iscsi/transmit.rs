//! A PDU on its way out: the adapter puts the digests into it.

use iscsi_pdu::digest::{self, DIGEST_LENGTH};
use iscsi_pdu::{HEADER_LENGTH, Header, padding};

/// A work request's payload that is no PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes are no PDU: its header says {expected}, with data padded to words")]
pub struct MalformedPdu {
    /// How many bytes there are.
    pub length: usize,
    /// How many its header asks for, at least the header itself.
    pub expected: usize,
}

/// A PDU as it goes out, in parts: header, its digest, data with padding, its digest.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    front: &'a [u8],
    front_digest: Option<[u8; DIGEST_LENGTH]>,
    payload: &'a [u8],
    payload_digest: Option<[u8; DIGEST_LENGTH]>,
}

impl Outgoing<'_> {
    /// Its parts in order; those that it lacks are empty.
    #[must_use]
    pub fn parts(&self) -> [&[u8]; 4] {
        fn digest(digest: &Option<[u8; DIGEST_LENGTH]>) -> &[u8] {
            digest.as_ref().map_or(&[], |digest| digest)
        }
        [self.front, digest(&self.front_digest), self.payload, digest(&self.payload_digest)]
    }

    /// How many digests it has.
    #[must_use]
    pub fn digests(&self) -> u64 {
        u64::from(self.front_digest.is_some()) + u64::from(self.payload_digest.is_some())
    }
}

/// A PDU without digests, as a driver gives it, with those that are asked for. One without data gets none for it.
///
/// # Errors
/// It is not as long as its header says.
pub fn add_digests(pdu: &[u8], header: bool, data: bool) -> Result<Outgoing<'_>, MalformedPdu> {
    let malformed = |expected| MalformedPdu { length: pdu.len(), expected };
    let fixed = pdu.first_chunk().copied().map(Header).ok_or(malformed(HEADER_LENGTH))?;
    let header_bytes = HEADER_LENGTH + fixed.ahs_length();
    let data_bytes = fixed.data_segment_length();
    let expected = header_bytes + data_bytes + padding(data_bytes);
    if pdu.len() != expected {
        return Err(malformed(expected));
    }
    let (front, payload) = pdu.split_at(header_bytes);
    Ok(Outgoing {
        front,
        front_digest: header.then(|| digest::of(front)),
        payload,
        payload_digest: (data && !payload.is_empty()).then(|| digest::of(payload)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(pdu: &[u8], header: bool, data: bool) -> Vec<u8> {
        add_digests(pdu, header, data).unwrap().parts().concat()
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
        let refused = |pdu: &[u8]| add_digests(pdu, true, true).map(|_| ()).unwrap_err();
        assert_eq!(refused(&[0; 47]), MalformedPdu { length: 47, expected: 48 });
        let mut short = [0; 48];
        short[7] = 1;
        assert_eq!(refused(&short), MalformedPdu { length: 48, expected: 52 });
    }
}
