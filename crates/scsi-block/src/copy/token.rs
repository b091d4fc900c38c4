//! ROD tokens: 512 bytes that stand for blocks, or for zeros (SPC-5 5.18.6).
//!
//! A token of ours has its number, its unit's name and its length in the clear, and behind them what nobody can make who does not know
//! the unit's secret. So one that was made up is none, and one that was seen gives what the unit lets that nexus read.

use sha3::{Digest, Sha3_512};
use subtle::ConstantTimeEq;

use super::descriptors::Cscd;
use crate::designator::Designator;
use crate::octets::{array, be16, be32};
use crate::sense::{AdditionalSense, Sense};

/// A ROD token as it travels.
#[derive(Clone, PartialEq, Eq)]
pub struct RodToken(Box<[u8; RodToken::BYTES]>);

/// Random bytes that the tokens of a unit are made with. Whoever knows them can make tokens up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenSecret([u8; 32]);

impl TokenSecret {
    /// Takes 32 bytes that nobody else knows or can guess.
    pub const fn new(random: [u8; 32]) -> Self {
        Self(random)
    }
}

impl std::fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenSecret")
    }
}

/// What a token of ours says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Which of its unit's tokens it is.
    pub(crate) number: u64,
    /// A name of the unit.
    pub(crate) unit: Designator,
    /// Bytes that it stands for.
    pub(crate) bytes: u64,
}

/// Bytes that say what a token is.
const CLAIM_BYTES: usize = 64;
/// Where the proof stands: in the extended ROD token data.
const PROOF_AT: usize = 128;

impl RodToken {
    /// Bytes in a token.
    pub const BYTES: usize = 512;
    /// ROD TYPE: point in time copy, change vulnerable. All tokens of this crate's units are of it.
    pub const POINT_IN_TIME_CHANGE_VULNERABLE: u32 = 0x0080_0001;
    /// ROD TYPE: zeros, for as many blocks as are wanted.
    pub const ZEROS: u32 = 0xffff_0001;
    const LENGTH: u16 = Self::BYTES as u16 - 8;

    /// Takes a token as it came.
    ///
    /// # Errors
    /// There are not 512 bytes; they come back.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Box::new(*bytes.as_array()?)))
    }

    /// The token as it is sent.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The token for zeros, which every copy manager knows.
    pub fn zeros() -> Self {
        Self::of_type(Self::ZEROS)
    }

    /// ROD TYPE.
    pub fn rod_type(&self) -> u32 {
        be32(&*self.0, 0)
    }

    fn of_type(rod_type: u32) -> Self {
        let mut bytes = Box::new([0; Self::BYTES]);
        bytes[..4].copy_from_slice(&rod_type.to_be_bytes());
        bytes[6..8].copy_from_slice(&Self::LENGTH.to_be_bytes());
        Self(bytes)
    }

    /// A token of ours as far as it is in the clear, without the proof.
    pub(super) fn claiming(claim: &Claim) -> Self {
        let mut token = Self::of_type(Self::POINT_IN_TIME_CHANGE_VULNERABLE);
        let mut unit = Vec::with_capacity(Cscd::BYTES);
        Cscd { designator: claim.unit.clone(), block_size: 0 }.encode(&mut unit);
        token.0[8..16].copy_from_slice(&claim.number.to_be_bytes());
        token.0[16..48].copy_from_slice(&unit);
        token.0[48..CLAIM_BYTES].copy_from_slice(&u128::from(claim.bytes).to_be_bytes());
        token
    }

    pub(crate) fn issue(secret: &TokenSecret, claim: &Claim) -> Self {
        let mut token = Self::claiming(claim);
        let proof = token.proof(secret);
        token.0[PROOF_AT..PROOF_AT + proof.len()].copy_from_slice(&proof);
        token
    }

    /// SHA-3 takes a key in front of the message as it is.
    fn proof(&self, secret: &TokenSecret) -> [u8; 64] {
        Sha3_512::new().chain_update(secret.0).chain_update(&self.0[..CLAIM_BYTES]).finalize().into()
    }

    /// Whether it stands for zeros.
    pub(crate) fn is_zeros(&self) -> bool {
        self.rod_type() == Self::ZEROS
    }

    /// What it says it is. Nothing of that is proven yet.
    pub(crate) fn claim(&self) -> Result<Claim, Sense> {
        if be16(&*self.0, 6) != Self::LENGTH {
            return Err(Sense::illegal(AdditionalSense::INVALID_TOKEN_LENGTH));
        }
        if self.rod_type() != Self::POINT_IN_TIME_CHANGE_VULNERABLE {
            return Err(Sense::illegal(AdditionalSense::UNSUPPORTED_TOKEN_TYPE));
        }
        let unknown = Sense::illegal(AdditionalSense::TOKEN_UNKNOWN);
        let unit: &[u8; Cscd::BYTES] = self.0[16..48].as_array().expect("a CSCD descriptor has 32 bytes");
        let unit = Cscd::decode(unit, 16).map_err(|_| unknown)?.designator;
        let number = array(&*self.0, 8).map_or(0, u64::from_be_bytes);
        let bytes = array(&*self.0, 48).map_or(0, u128::from_be_bytes);
        Ok(Claim { number, unit, bytes: u64::try_from(bytes).map_err(|_| unknown)? })
    }

    /// Whether it was made with the secret, bit for bit.
    pub(crate) fn is_proven(&self, secret: &TokenSecret, claim: &Claim) -> bool {
        Self::issue(secret, claim).0.ct_eq(&*self.0).into()
    }
}

impl std::fmt::Debug for RodToken {
    /// Who sees a token can use it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RodToken({:#010x}, …)", self.rod_type())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: TokenSecret = TokenSecret::new([7; 32]);

    fn claim() -> Claim {
        Claim { number: 0x0102, unit: Designator::naa_local(b"serial"), bytes: 4096 }
    }

    #[test]
    fn a_token_says_what_it_is_and_proves_it() {
        let token = RodToken::issue(&SECRET, &claim());
        assert_eq!(token.as_bytes()[..16], [0, 0x80, 0, 1, 0, 0, 1, 0xf8, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(token.claim(), Ok(claim()));
        assert!(token.is_proven(&SECRET, &claim()));
        assert!(!token.is_proven(&TokenSecret::new([8; 32]), &claim()));
        assert!(!format!("{token:?}{SECRET:?}").contains("07"));
    }

    #[test]
    fn no_byte_of_it_can_be_another() {
        let good = RodToken::issue(&SECRET, &claim());
        for byte in 0..RodToken::BYTES {
            let mut token = good.clone();
            token.0[byte] ^= 1;
            assert!(!token.claim().is_ok_and(|claim| token.is_proven(&SECRET, &claim)), "byte {byte}");
        }
    }

    #[test]
    fn zeros_are_known_by_their_type() {
        assert!(RodToken::zeros().is_zeros());
        assert_eq!(RodToken::zeros().claim().unwrap_err().additional, AdditionalSense::UNSUPPORTED_TOKEN_TYPE);
        assert!(RodToken::from_bytes(&[0; 511]).is_none());
    }
}
