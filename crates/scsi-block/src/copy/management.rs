//! REPORT ALL ROD TOKENS parameter data (SPC-4 6.31), both ways: which tokens there are, without what makes them tokens.

use super::descriptors::Cscd;
use super::token::{Claim, RodToken};
use crate::designator::Designator;
use crate::octets::{DecodeError, array, be16, be32, be64, need};

const WHAT: &str = "REPORT ALL ROD TOKENS data";
const HEADER_BYTES: usize = 8;
/// A token's header and body; its proof is behind them.
const TOKEN_BYTES: usize = 96;

/// What is told of a token. It cannot be used as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RodManagementToken {
    /// ROD TYPE.
    pub rod_type: u32,
    /// ROD TOKEN LENGTH: bytes of the token behind its first eight.
    pub token_length: u16,
    /// COPY MANAGER ROD TOKEN IDENTIFIER.
    pub identifier: u64,
    /// The unit that has made it.
    pub creator: Designator,
    /// NUMBER OF BYTES REPRESENTED.
    pub bytes: u128,
}

/// All tokens that a unit has made and still knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllRodTokens(pub Vec<RodManagementToken>);

impl AllRodTokens {
    pub(crate) fn encode(claims: &[Claim]) -> Vec<u8> {
        let available = HEADER_BYTES - 4 + claims.len() * TOKEN_BYTES;
        let mut bytes = (available as u32).to_be_bytes().to_vec();
        bytes.resize(HEADER_BYTES, 0);
        for claim in claims {
            bytes.extend_from_slice(&RodToken::claiming(claim).as_bytes()[..TOKEN_BYTES]);
        }
        bytes
    }

    /// Reads the data; a token that the allocation length has cut is left out.
    ///
    /// # Errors
    /// The header is cut, AVAILABLE DATA is no number of tokens, or the creator of a token is no designator.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let available = be32(need(WHAT, bytes, HEADER_BYTES)?, 0);
        let wrong = DecodeError::Field { what: WHAT, field: "AVAILABLE DATA", value: available.into() };
        let list_bytes = (available as usize).checked_sub(HEADER_BYTES - 4).ok_or(wrong)?;
        if !list_bytes.is_multiple_of(TOKEN_BYTES) {
            return Err(wrong);
        }
        let list = bytes[HEADER_BYTES..].as_chunks::<TOKEN_BYTES>().0.iter().take(list_bytes / TOKEN_BYTES);
        list.map(decode_token).collect::<Result<_, _>>().map(Self)
    }
}

fn decode_token(token: &[u8; TOKEN_BYTES]) -> Result<RodManagementToken, DecodeError> {
    let creator: [u8; Cscd::BYTES] = array(token, 16).expect("a CSCD descriptor has 32 bytes");
    let wrong = DecodeError::Field { what: WHAT, field: "CREATOR LOGICAL UNIT DESCRIPTOR", value: token[16].into() };
    Ok(RodManagementToken {
        rod_type: be32(token, 0),
        token_length: be16(token, 6),
        identifier: be64(token, 8),
        creator: Cscd::decode(&creator, 16).map_err(|_| wrong)?.designator,
        bytes: array(token, 48).map_or(0, u128::from_be_bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(number: u64) -> Claim {
        Claim { number, unit: Designator::naa_local(b"serial"), bytes: 4096 * number }
    }

    #[test]
    fn tokens_come_back_as_many_as_are_whole() {
        let bytes = AllRodTokens::encode(&[claim(1), claim(2)]);
        assert_eq!(bytes[..18], [0, 0, 0, 196, 0, 0, 0, 0, 0, 0x80, 0, 1, 0, 0, 1, 0xf8, 0, 0]);
        let expected = [1, 2].map(|number| RodManagementToken {
            rod_type: RodToken::POINT_IN_TIME_CHANGE_VULNERABLE,
            token_length: 504,
            identifier: number,
            creator: claim(number).unit,
            bytes: 4096 * u128::from(number),
        });
        for (end, whole) in [(bytes.len(), 2), (bytes.len() - 1, 1), (HEADER_BYTES + TOKEN_BYTES - 1, 0), (8, 0)] {
            assert_eq!(AllRodTokens::decode(&bytes[..end]).unwrap().0, expected[..whole]);
        }
        assert!(AllRodTokens::decode(&bytes[..7]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..300), count in 0u8..3) {
            let _ = AllRodTokens::decode(&bytes);
            let _ = AllRodTokens::decode(&[&[0, 0, 0, count * 96 + 4, 0, 0, 0, 0][..], &bytes].concat());
        }
    }
}
