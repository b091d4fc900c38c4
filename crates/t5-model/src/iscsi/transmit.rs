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

/// Puts the digests that are asked for into a PDU as a driver gives it, without any. One without data gets none for it. The PDU stands in
/// `room` with [`DIGEST_LENGTH`] bytes before it and behind it. Gives it as it goes out, and how many digests it has.
///
/// # Errors
/// It is not as long as its header says.
///
/// # Panics
/// If there is no room for digests: a bug of the caller.
pub fn add_digests(room: &mut [u8], header: bool, data: bool) -> Result<(&[u8], u64), MalformedPdu> {
    let pdu = &room[DIGEST_LENGTH..room.len() - DIGEST_LENGTH];
    let malformed = |expected| MalformedPdu { length: pdu.len(), expected };
    let fixed = pdu.first_chunk().copied().map(Header).ok_or(malformed(HEADER_LENGTH))?;
    let header_bytes = HEADER_LENGTH + fixed.ahs_length();
    let data_bytes = fixed.data_segment_length();
    let expected = header_bytes + data_bytes + padding(data_bytes);
    if pdu.len() != expected {
        return Err(malformed(expected));
    }
    let (mut begin, mut end) = (DIGEST_LENGTH, DIGEST_LENGTH + expected);
    let data_at = DIGEST_LENGTH + header_bytes;
    let data = data && data_bytes > 0;
    if data {
        let digest = digest::of(&room[data_at..end]);
        room[end..][..DIGEST_LENGTH].copy_from_slice(&digest);
        end += DIGEST_LENGTH;
    }
    if header {
        // The header makes room for its digest, so that the data stays where it is.
        begin = 0;
        room.copy_within(DIGEST_LENGTH..data_at, 0);
        let digest = digest::of(&room[..header_bytes]);
        room[header_bytes..data_at].copy_from_slice(&digest);
    }
    Ok((&room[begin..end], u64::from(header) + u64::from(data)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(pdu: &[u8], header: bool, data: bool) -> Vec<u8> {
        let mut room = [&[0; DIGEST_LENGTH], pdu, &[0; DIGEST_LENGTH]].concat();
        add_digests(&mut room, header, data).unwrap().0.to_vec()
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
            let mut room = [&[0; DIGEST_LENGTH], pdu, &[0; DIGEST_LENGTH]].concat();
            add_digests(&mut room, true, true).map(|_| ()).unwrap_err()
        };
        assert_eq!(refused(&[0; 47]), MalformedPdu { length: 47, expected: 48 });
        let mut short = [0; 48];
        short[7] = 1;
        assert_eq!(refused(&short), MalformedPdu { length: 48, expected: 52 });
    }
}
