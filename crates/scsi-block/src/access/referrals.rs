//! Parameter data of REPORT REFERRALS (SBC-3 5.23): through which target port groups the blocks of a unit are reached, for both ends.

use crate::io::Extent;
use crate::octets::{DecodeError, be16, be64, need};

/// What REPORT REFERRALS gives: a unit of this crate has one segment, which is all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referrals(pub Vec<UserDataSegment>);

/// Blocks that are all reached alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserDataSegment {
    /// The blocks; at least one.
    pub blocks: Extent,
    /// TARGET PORT GROUP and ASYMMETRIC ACCESS STATE of each group, to 255 of them.
    pub groups: Vec<(u16, u8)>,
}

const HEADER_BYTES: usize = 4;
const SEGMENT_BYTES: usize = 20;
const GROUP_BYTES: usize = 4;

impl Referrals {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        for UserDataSegment { blocks, groups } in &self.0 {
            bytes.extend([0, 0, 0, groups.len() as u8]);
            bytes.extend(blocks.lba.to_be_bytes());
            bytes.extend((blocks.lba + blocks.blocks - 1).to_be_bytes());
            for (group, state) in groups {
                bytes.extend([state & 0x0f, 0]);
                bytes.extend(group.to_be_bytes());
            }
        }
        let length = (bytes.len() - HEADER_BYTES) as u16;
        bytes[2..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    /// Reads the answer; a segment that the allocation length has cut is left out.
    ///
    /// # Errors
    /// There are fewer than four bytes, or a segment ends before it begins.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "REPORT REFERRALS data";
        let bytes = need(WHAT, bytes, HEADER_BYTES)?;
        let end = HEADER_BYTES + usize::from(be16(bytes, 2));
        let mut list = &bytes[HEADER_BYTES..end.min(bytes.len())];
        let mut segments = Vec::new();
        while let Some((head, rest)) = list.split_first_chunk::<SEGMENT_BYTES>()
            && let Some((groups, rest)) = rest.split_at_checked(usize::from(head[3]) * GROUP_BYTES)
        {
            let (first, last) = (be64(head, 4), be64(head, 12));
            let blocks = last.checked_sub(first).and_then(|blocks| blocks.checked_add(1));
            let wrong = DecodeError::Field { what: WHAT, field: "LAST USER DATA SEGMENT LBA", value: last };
            segments.push(UserDataSegment {
                blocks: Extent { lba: first, blocks: blocks.ok_or(wrong)? },
                groups: groups
                    .as_chunks::<GROUP_BYTES>()
                    .0
                    .iter()
                    .map(|group| (be16(group, 2), group[0] & 0x0f))
                    .collect(),
            });
            list = rest;
        }
        Ok(Self(segments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_lies_where_sbc_draws_it() {
        let blocks = Extent { lba: 0, blocks: 0x0102_0304 };
        let referrals = Referrals(vec![UserDataSegment { blocks, groups: vec![(1, 0), (0x0203, 2)] }]);
        let bytes = referrals.encode();
        let segment = [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 3, 0, 0, 0, 1, 2, 0, 2, 3];
        assert_eq!(bytes, [&[0, 0, 0, 28][..], &segment].concat());
        assert_eq!(Referrals::decode(&bytes), Ok(referrals));
        assert_eq!(Referrals::decode(&bytes[..31]), Ok(Referrals::default()), "one that is cut is left out");
        assert!(Referrals::decode(&bytes[..3]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Referrals::decode(&bytes);
        }
    }
}
