//! What goes with the commands of tokens: the parameter lists of POPULATE TOKEN and WRITE USING TOKEN (SBC-4 5.12, 5.48), and RECEIVE ROD TOKEN
//! INFORMATION data (SPC-5 6.31), both ways.

use super::{CopyState, CopyStatus, RANGES_MAX, RodToken};
use crate::io::Extent;
use crate::octets::{DecodeError, be16, be32, be64, need};
use crate::sense::{AdditionalSense, Sense};

const LENGTH_ERROR: Sense = Sense::illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR);
const RANGE_BYTES: usize = 16;
const POPULATE_HEADER_BYTES: usize = 16;
const WRITE_HEADER_BYTES: usize = 536;

/// The parameter list of POPULATE TOKEN: which blocks the token is to stand for, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PopulateTokenList {
    /// Seconds for which the token may go unused; 0 lets the unit choose.
    pub inactivity_seconds: u32,
    /// The blocks, to [`RANGES_MAX`] runs of them; none twice.
    pub ranges: Vec<Extent>,
}

impl PopulateTokenList {
    /// The longest that is taken.
    pub const BYTES_MAX: usize = POPULATE_HEADER_BYTES + RANGES_MAX * RANGE_BYTES;

    /// The list as it is sent.
    ///
    /// # Panics
    /// A run has more than 2^32 - 1 blocks, or there are more than 4094 runs.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; 4];
        bytes.extend(self.inactivity_seconds.to_be_bytes());
        bytes.extend(RodToken::POINT_IN_TIME_CHANGE_VULNERABLE.to_be_bytes());
        bytes[2] = RTV;
        bytes.extend([0; 2]);
        encode_ranges(bytes, &self.ranges)
    }

    /// IMMED changes nothing, as a token is made at once.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Sense> {
        const ANY_POINT_IN_TIME: [u32; 3] = [0x0080_0000, RodToken::POINT_IN_TIME_CHANGE_VULNERABLE, 0x0080_ffff];
        let ranges = decode_ranges(bytes, POPULATE_HEADER_BYTES)?;
        if bytes[2] & RTV != 0 && !ANY_POINT_IN_TIME.contains(&be32(bytes, 8)) {
            return Err(Sense::invalid_parameter(8, None));
        }
        Ok(Self { inactivity_seconds: be32(bytes, 4), ranges })
    }
}

/// ROD TYPE is valid.
const RTV: u8 = 0x02;
const DEL_TKN: u8 = 0x02;
const IMMED: u8 = 0x01;

/// The parameter list of WRITE USING TOKEN: where the blocks of a token go, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteUsingTokenList {
    /// What the blocks become.
    pub token: RodToken,
    /// Blocks of the token that are left out at its beginning.
    pub offset_blocks: u64,
    /// IMMED: the command is to be answered once the list is found to be right, and the writing goes on. RECEIVE ROD TOKEN INFORMATION tells how it
    /// ends.
    pub immediate: bool,
    /// DEL_TKN: nobody needs the token afterwards.
    pub delete: bool,
    /// Where they go, to [`RANGES_MAX`] runs of blocks; none twice.
    pub ranges: Vec<Extent>,
}

impl WriteUsingTokenList {
    /// The longest that is taken.
    pub const BYTES_MAX: usize = WRITE_HEADER_BYTES + RANGES_MAX * RANGE_BYTES;
    /// Where the offset stands.
    pub(crate) const OFFSET_AT: u16 = 8;

    /// The list as it is sent.
    ///
    /// # Panics
    /// A run has more than 2^32 - 1 blocks, or there are more than 4061 runs.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0, 0, if self.delete { DEL_TKN } else { 0 } | if self.immediate { IMMED } else { 0 }];
        bytes.resize(8, 0);
        bytes.extend(self.offset_blocks.to_be_bytes());
        bytes.extend(self.token.as_bytes());
        bytes.extend([0; 6]);
        encode_ranges(bytes, &self.ranges)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Sense> {
        let ranges = decode_ranges(bytes, WRITE_HEADER_BYTES)?;
        let token = RodToken::from_bytes(&bytes[16..528]).expect("the token has 512 bytes");
        let (immediate, delete) = (bytes[2] & IMMED != 0, bytes[2] & DEL_TKN != 0);
        Ok(Self { token, offset_blocks: be64(bytes, 8), immediate, delete, ranges })
    }
}

/// Puts BLOCK DEVICE RANGE DESCRIPTOR LENGTH and the descriptors behind a header, and the length of all into it.
fn encode_ranges(mut bytes: Vec<u8>, ranges: &[Extent]) -> Vec<u8> {
    bytes.extend(((ranges.len() * RANGE_BYTES) as u16).to_be_bytes());
    for range in ranges {
        bytes.extend(range.lba.to_be_bytes());
        bytes.extend(u32::try_from(range.blocks).expect("a range descriptor holds 32 bits of blocks").to_be_bytes());
        bytes.extend([0; 4]);
    }
    let length = u16::try_from(bytes.len() - 2).expect("a list is as long as 16 bits say");
    bytes[..2].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// The ranges behind a header, at whose end their length stands. Those without blocks are left out; no block is in two.
fn decode_ranges(bytes: &[u8], header_bytes: usize) -> Result<Vec<Extent>, Sense> {
    if bytes.len() < header_bytes {
        return Err(LENGTH_ERROR);
    }
    let length_at = header_bytes - 2;
    let length = usize::from(be16(bytes, length_at));
    if usize::from(be16(bytes, 0)) + 2 < header_bytes + length {
        return Err(Sense::invalid_parameter(0, None));
    }
    if !length.is_multiple_of(RANGE_BYTES) || length == 0 {
        return Err(Sense::invalid_parameter(length_at as u16, None));
    }
    if length > RANGES_MAX * RANGE_BYTES {
        return Err(Sense::illegal(AdditionalSense::TOO_MANY_SEGMENT_DESCRIPTORS));
    }
    let ranges = bytes.get(header_bytes..header_bytes + length).ok_or(LENGTH_ERROR)?.as_chunks::<RANGE_BYTES>().0;
    let extent = |range: &[u8; RANGE_BYTES]| Extent { lba: be64(range, 0), blocks: be32(range, 8).into() };
    let ranges: Vec<_> = ranges.iter().map(extent).filter(|range| range.blocks > 0).collect();
    let mut sorted = ranges.clone();
    sorted.sort_unstable_by_key(|range| range.lba);
    match sorted.windows(2).any(|pair| pair[0].overlaps(pair[1])) {
        true => Err(Sense::invalid_parameter(header_bytes as u16, None)),
        false => Ok(ranges),
    }
}

/// RECEIVE ROD TOKEN INFORMATION data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RodTokenInformation {
    /// How it stands with the command.
    pub state: CopyState,
    /// Service action of the command: 10h POPULATE TOKEN, 11h WRITE USING TOKEN.
    pub service_action: u8,
    /// Blocks that the token stands for, or that were written.
    pub blocks: u64,
    /// Why the command has failed, if it has.
    pub sense: Option<Sense>,
    /// The token that was made.
    pub token: Option<RodToken>,
}

/// TRANSFER COUNT UNITS: logical blocks.
const BLOCKS: u8 = 0xf1;
/// Bytes of ID FOR CREATING ROD CSCD DESCRIPTOR before each token.
const TOKEN_ID_BYTES: usize = 2;

impl RodTokenInformation {
    pub(crate) fn encode(status: &CopyStatus, blocks: u64, token: Option<&RodToken>) -> Vec<u8> {
        let mut bytes = status.encode_lid4();
        bytes[15] = BLOCKS;
        bytes[16..24].copy_from_slice(&blocks.to_be_bytes());
        let tokens_bytes = token.map_or(0, |_| TOKEN_ID_BYTES + RodToken::BYTES);
        bytes.extend((tokens_bytes as u32).to_be_bytes());
        if let Some(token) = token {
            bytes.extend([0; TOKEN_ID_BYTES]);
            bytes.extend(token.as_bytes());
        }
        let available = (bytes.len() - 4) as u32;
        bytes[..4].copy_from_slice(&available.to_be_bytes());
        bytes
    }

    /// Reads the data.
    ///
    /// # Errors
    /// It is cut, its status is none, or its count is not of blocks.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "RECEIVE ROD TOKEN INFORMATION data";
        const HEADER_BYTES: usize = 32;
        let bytes = need(WHAT, bytes, HEADER_BYTES)?;
        let wrong = |field, value: u8| DecodeError::Field { what: WHAT, field, value: value.into() };
        let state = CopyState::from_code(bytes[5] & 0x7f).ok_or(wrong("COPY OPERATION STATUS", bytes[5]))?;
        if bytes[15] != BLOCKS {
            return Err(wrong("TRANSFER COUNT UNITS", bytes[15]));
        }
        let sense = bytes[HEADER_BYTES..].get(..bytes[14].into()).filter(|sense| !sense.is_empty());
        let tokens_at = HEADER_BYTES + usize::from(bytes[13]);
        let first_at = tokens_at + 4 + TOKEN_ID_BYTES;
        let token = match be32(bytes, tokens_at) {
            0 => None,
            _ => RodToken::from_bytes(
                &need(WHAT, bytes, first_at + RodToken::BYTES)?[first_at..first_at + RodToken::BYTES],
            ),
        };
        Ok(Self {
            state,
            service_action: bytes[4] & 0x1f,
            blocks: be64(bytes, 16),
            sense: sense.map(Sense::decode).transpose()?,
            token,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sense::SenseKey;
    use proptest::prelude::*;

    fn ranges() -> Vec<Extent> {
        vec![Extent { lba: 0x0102, blocks: 8 }, Extent { lba: 0, blocks: 1 }]
    }

    #[test]
    fn lists_come_back_and_lie_where_sbc_draws_them() {
        let list = PopulateTokenList { inactivity_seconds: 30, ranges: ranges() };
        let bytes = list.encode();
        assert_eq!(bytes[..18], [0, 46, 2, 0, 0, 0, 0, 30, 0, 0x80, 0, 1, 0, 0, 0, 32, 0, 0]);
        assert_eq!(bytes[16..32], [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 8, 0, 0, 0, 0]);
        assert_eq!(PopulateTokenList::decode(&bytes), Ok(list));
        let list = WriteUsingTokenList {
            token: RodToken::zeros(),
            offset_blocks: 5,
            immediate: false,
            delete: true,
            ranges: ranges(),
        };
        let bytes = list.encode();
        assert_eq!(bytes[..20], [2, 54, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0xff, 0xff, 0, 1]);
        assert_eq!(bytes[528..536], [0, 0, 0, 0, 0, 0, 0, 32]);
        assert_eq!(WriteUsingTokenList::decode(&bytes), Ok(list.clone()));
        let immediate = WriteUsingTokenList { immediate: true, ..list };
        assert_eq!(immediate.encode()[2], 3);
        assert_eq!(WriteUsingTokenList::decode(&immediate.encode()), Ok(immediate));
    }

    #[test]
    fn lists_that_lie_are_refused() {
        let good = PopulateTokenList { inactivity_seconds: 0, ranges: ranges() }.encode();
        let refused = |byte: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[byte] = value;
            PopulateTokenList::decode(&bytes).unwrap_err()
        };
        assert_eq!(refused(1, 45), Sense::invalid_parameter(0, None));
        assert_eq!(refused(8, 1), Sense::invalid_parameter(8, None));
        assert_eq!(refused(15, 31), Sense::invalid_parameter(14, None));
        assert_eq!(refused(15, 0), Sense::invalid_parameter(14, None));
        let overlapping = vec![Extent { lba: 4, blocks: 2 }, Extent { lba: 0, blocks: 5 }];
        let overlapping = PopulateTokenList { inactivity_seconds: 0, ranges: overlapping }.encode();
        assert_eq!(PopulateTokenList::decode(&overlapping), Err(Sense::invalid_parameter(16, None)));
        let many = (0..=RANGES_MAX as u64).map(|lba| Extent { lba, blocks: 1 }).collect();
        let many = PopulateTokenList { inactivity_seconds: 0, ranges: many }.encode();
        assert_eq!(
            PopulateTokenList::decode(&many).unwrap_err().additional,
            AdditionalSense::TOO_MANY_SEGMENT_DESCRIPTORS
        );
        (0..good.len()).for_each(|end| assert_eq!(PopulateTokenList::decode(&good[..end]), Err(LENGTH_ERROR), "{end}"));
    }

    #[test]
    fn information_comes_back() {
        let sense = Sense::new(SenseKey::CopyAborted, AdditionalSense::THIRD_PARTY_DEVICE_FAILURE).with_segment(1);
        for (state, sense, token) in
            [(CopyState::Completed, None, Some(RodToken::zeros())), (CopyState::Failed, Some(sense), None)]
        {
            let status = CopyStatus { service_action: 0x10, state, bytes: 4096, segments: 1, sense };
            let bytes = RodTokenInformation::encode(&status, 8, token.as_ref());
            assert_eq!(be32(&bytes, 0) as usize + 4, bytes.len());
            let information = RodTokenInformation { state, service_action: 0x10, blocks: 8, sense, token };
            assert_eq!(RodTokenInformation::decode(&bytes), Ok(information));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
            let _ = PopulateTokenList::decode(&bytes);
            let _ = WriteUsingTokenList::decode(&bytes);
            let _ = RodTokenInformation::decode(&bytes);
        }
    }
}
