//! A PDU on its way out: the adapter puts the digests into it.

use iscsi_pdu::{HEADER_LENGTH, Header, digest, padding};

/// A work request's payload that is no PDU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes are no PDU: its header says {expected}, with data padded to words")]
pub struct MalformedPdu {
    /// How many bytes there are.
    pub length: usize,
    /// How many its header asks for, at least the header itself.
    pub expected: usize,
}

/// A PDU without digests, as a driver gives it, with those that are asked for. One without data gets none for it.
///
/// # Errors
/// It is not as long as its header says.
pub fn add_digests(pdu: &[u8], header: bool, data: bool) -> Result<Vec<u8>, MalformedPdu> {
    let malformed = |expected| MalformedPdu { length: pdu.len(), expected };
    let fixed = pdu.first_chunk().copied().map(Header).ok_or(malformed(HEADER_LENGTH))?;
    let header_bytes = HEADER_LENGTH + fixed.ahs_length();
    let data_bytes = fixed.data_segment_length();
    let expected = header_bytes + data_bytes + padding(data_bytes);
    if pdu.len() != expected {
        return Err(malformed(expected));
    }
    let mut out = Vec::with_capacity(pdu.len() + 2 * digest::DIGEST_LENGTH);
    let (front, payload) = pdu.split_at(header_bytes);
    out.extend_from_slice(front);
    if header {
        out.extend_from_slice(&digest::of(front));
    }
    out.extend_from_slice(payload);
    if data && !payload.is_empty() {
        out.extend_from_slice(&digest::of(payload));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7143 appendix A.4: 32 bytes of zeros, and a READ (10).
    #[test]
    fn digests_stand_behind_what_they_cover() {
        let words = [0x01c0_0000u32, 0, 0, 0, 0x1400_0000, 0x400, 0x14, 0x18, 0x2800_0000, 0, 0x0200_0000, 0];
        let mut pdu: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(add_digests(&pdu, true, true).unwrap()[48..], [0x56, 0x3a, 0x96, 0xd9]);
        pdu[7] = 30;
        pdu.extend([0; 32]);
        let sent = add_digests(&pdu, false, true).unwrap();
        assert_eq!(sent[..80], pdu);
        assert_eq!(sent[80..], [0xaa, 0x36, 0x91, 0x8a]);
        assert_eq!(add_digests(&pdu, false, false).unwrap(), pdu);
    }

    #[test]
    fn what_is_no_pdu_is_refused() {
        assert_eq!(add_digests(&[0; 47], true, true), Err(MalformedPdu { length: 47, expected: 48 }));
        let mut short = [0; 48];
        short[7] = 1;
        assert_eq!(add_digests(&short, true, true), Err(MalformedPdu { length: 48, expected: 52 }));
    }
}
