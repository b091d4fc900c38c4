//! CHAP as iSCSI uses it (RFC 1994, RFC 7143 section 12.1.3): algorithms, challenges and responses.
//!
//! In: an identifier, a secret, a challenge. Out: the response that proves the secret. Responses are compared in constant time.

use crate::Secret;
use iscsi_pdu::text;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use sha3::Sha3_256;
use smallvec::SmallVec;
use subtle::ConstantTimeEq;

/// RFC 7143 12.1.3-7: longest challenge or response in bytes.
pub(crate) const BINARY_BYTES_MAX: usize = 1024;

macro_rules! algorithms {
    ($($variant:ident = $number:literal $hash:ident $text:literal,)*) => {
        /// How a response is made (CHAP_A; the numbers are IANA's "PPP Authentication Algorithms").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ChapAlgorithm {
            $(#[doc = concat!("Number ", stringify!($number), ": ", $text, ".")] $variant = $number,)*
        }

        impl ChapAlgorithm {
            /// Every algorithm, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The algorithm with this number.
            #[must_use]
            pub const fn from_number(number: u64) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            fn hash(self, parts: [&[u8]; 3]) -> Response {
                match self { $(Self::$variant => digest_of::<$hash>(parts),)* }
            }
        }

        impl core::fmt::Display for ChapAlgorithm {
            fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                formatter.write_str(match self { $(Self::$variant => $text,)* })
            }
        }
    };
}

algorithms! {
    Md5 = 5 Md5 "MD5",
    Sha1 = 6 Sha1 "SHA-1",
    Sha256 = 7 Sha256 "SHA-256",
    Sha3_256 = 8 Sha3_256 "SHA3-256",
}

impl ChapAlgorithm {
    /// What an initiator offers unless it is told otherwise: all, MD5 first.
    ///
    /// A target takes the first that it knows, so MD5 is what most logins use. That is the price for logging in everywhere:
    /// some targets refuse a list that does not begin with 5 (older LIO, Synology), some know 5 alone (SPDK, istgt, FreeBSD),
    /// and tgt answers 7 but computes SHA-1. RFC 7143 12.1.3-8: 5 is always offered, for that reason. The hash is not what CHAP
    /// is weakest in: a secret of 16 random bytes is safe with each of them, a password with none. Whoever wants to do without MD5
    /// configures a list without it.
    pub const INTEROPERABLE: &'static [Self] = &[Self::Md5, Self::Sha256, Self::Sha3_256, Self::Sha1];

    /// The number that stands in CHAP_A.
    #[must_use]
    pub const fn number(self) -> u64 {
        self as u64
    }
}

/// CHAP_R as bytes: as long as the digest of the algorithm.
pub(crate) type Response = SmallVec<[u8; 32]>;

fn digest_of<D: Digest>(parts: [&[u8]; 3]) -> Response {
    let digest = parts.into_iter().fold(D::new(), |digest, part| digest.chain_update(part));
    Response::from_slice(&digest.finalize())
}

// RFC 7143 12.1-2, 12.1-3: authentication is CHAP here.
/// The proof that whoever answers knows the secret (RFC 1994 section 4.1).
pub(crate) fn response(algorithm: ChapAlgorithm, identifier: u8, secret: &Secret, challenge: &[u8]) -> Response {
    algorithm.hash([&[identifier], secret.reveal(), challenge])
}

/// Whether two responses or challenges are the same, in a time that does not tell where they differ.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// What a login makes of its randomness. Each value is independent of the others, as long as the randomness is kept secret.
#[derive(Clone)]
pub(crate) struct Randomness([u8; 32]);

impl Randomness {
    pub(crate) const fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    fn derive(&self, purpose: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.0).chain_update(purpose).finalize().into()
    }

    /// CHAP_I and CHAP_C of a challenge: a byte and 32.
    pub(crate) fn challenge(&self) -> Challenge {
        Challenge { identifier: self.derive(b"CHAP_I")[0], bytes: self.derive(b"CHAP_C").to_vec() }
    }

    /// A secret that nobody has.
    pub(crate) fn nobodys_secret(&self) -> Secret {
        Secret::new(&self.derive(b"nobody")[..16]).expect("16 bytes are enough for a secret")
    }

    /// A number to begin counting with.
    pub(crate) fn start(&self) -> u32 {
        let [a, b, c, d, ..] = self.derive(b"CmdSN");
        u32::from_be_bytes([a, b, c, d])
    }
}

impl core::fmt::Debug for Randomness {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("Randomness(..)")
    }
}

/// What one end asks the other to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// CHAP_I.
    pub(crate) identifier: u8,
    /// CHAP_C.
    pub(crate) bytes: Vec<u8>,
}

impl Challenge {
    pub(crate) fn response(&self, algorithm: ChapAlgorithm, secret: &Secret) -> Response {
        response(algorithm, self.identifier, secret, &self.bytes)
    }
}

/// A challenge or a response as it stands in a text; none if it is no binary value, or too long.
pub(crate) fn decode_binary(value: &str) -> Option<Vec<u8>> {
    text::binary(value, BINARY_BYTES_MAX).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::of_any_strength(text).unwrap()
    }

    /// Challenges and responses that libiscsi and tgt exchanged (captures/tgt-chap of the test suite).
    #[test]
    fn responses_are_those_that_other_systems_gave() {
        for (identifier, name_secret, challenge, response) in [
            (
                6,
                "secret-alice-1",
                "0x9f3949cdd232f0ff6b18fe388b821d755693c8a36e5558eab7af11a4790971a2e1c011be25d1c9da2dfc872f12da296d3872",
                "0x35D5194F59E423F35377778338D08DD3",
            ),
            (
                7,
                "secret-alice-1",
                "0x1bb4d88dfec0208c696471fb1c08503602e1cfd3ea32e25c2e608f5be9e2835757784a4f9f080b4aafc96d0df99c61626ac0",
                "0xC51264A79065AF9950FCDF5F977C8CAA",
            ),
            (
                1,
                "secret-bob-22",
                "0x96DCAF5D41913BF482B63C51550536AE523528DA8F3733DFB35383ECAF97D045",
                "0xff98345dd89da47187c22dc7c99d8e2b",
            ),
            (
                1,
                "secret-bob-22",
                "0xDB2A1F5B700C42FD525FB210E4BCE1DAFE3143A90210CE5D9BF27FD6ADBE1B88",
                "0xe29841f18ccd3494c71f6f3faa88c925",
            ),
        ] {
            let challenge = Challenge { identifier, bytes: decode_binary(challenge).unwrap() };
            let ours = challenge.response(ChapAlgorithm::Md5, &secret(name_secret));
            assert!(same(&ours, &decode_binary(response).unwrap()), "{response}");
        }
    }

    /// Identifier 0x27, secret "0123456789abcdef", challenge 00 01 .. 0f; the digests are Python's hashlib's.
    #[test]
    fn each_algorithm_has_its_digest() {
        let challenge = Challenge { identifier: 0x27, bytes: (0..16).collect() };
        for (algorithm, expected) in [
            (ChapAlgorithm::Md5, "0x927e84b353ab26b3ee3e4ff6af34b98c"),
            (ChapAlgorithm::Sha1, "0x3655ef9f38c205a263ebf140bac600fbe43b599a"),
            (ChapAlgorithm::Sha256, "0x5e691b598a6d094688ea76df00b631743d8ce48246e69bdb3ee1cbac6e9a4cec"),
            (ChapAlgorithm::Sha3_256, "0x663d5b3819af64cc8fb71d1a736f4dda75ded3a09677def929d174b105b7ba81"),
        ] {
            let response = challenge.response(algorithm, &secret("0123456789abcdef"));
            assert_eq!(text::hex(&response), expected, "{algorithm}");
        }
    }

    // RFC 7143 12.1.3-7: and no byte more.
    #[test]
    fn binary_values_have_1024_bytes_at_most() {
        assert_eq!(decode_binary(&text::hex(&[7; BINARY_BYTES_MAX])), Some(vec![7; BINARY_BYTES_MAX]));
        assert_eq!(decode_binary(&text::hex(&[7; BINARY_BYTES_MAX + 1])), None);
    }

    #[test]
    fn randomness_gives_each_login_its_own_challenge() {
        let challenge = |seed| Randomness::new([seed; 32]).challenge();
        assert_eq!(challenge(1), challenge(1));
        assert_ne!(challenge(1).bytes, challenge(2).bytes);
        assert_eq!(challenge(1).bytes.len(), 32);
    }
}
