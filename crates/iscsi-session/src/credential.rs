//! Who proves what to whom: names and secrets of CHAP (RFC 7143 section 9.2.1).

use crate::ChapAlgorithm;
use core::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Shortest secret in bytes that may be used without further thought: 96 bits (RFC 7143 section 9.2.1).
pub const SECRET_BYTES_MIN: usize = 12;

/// Longest secret in bytes: far more than any peer can be given.
pub const SECRET_BYTES_MAX: usize = 255;

/// Why bytes are not taken as a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Fewer bytes than [`SECRET_BYTES_MIN`].
    #[error(
        "the CHAP secret has {0} bytes: at least 12 are needed (96 bits, RFC 7143 9.2.1), since whoever listens can try \
         short ones out; 16 random bytes are best"
    )]
    TooShort(usize),
    /// More bytes than [`SECRET_BYTES_MAX`].
    #[error("the CHAP secret has {0} bytes: at most 255 may be")]
    TooLong(usize),
    /// No bytes.
    #[error("the CHAP secret is empty")]
    Empty,
}

/// A CHAP secret. It is never printed, is compared in constant time, and its memory is wiped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// A secret of at least 96 bits, as RFC 7143 section 9.2.1 asks where IPsec does not protect the connection.
    ///
    /// # Errors
    /// Too few or too many bytes.
    pub fn new(secret: impl Into<Vec<u8>>) -> Result<Self, SecretError> {
        let secret = Self::of_any_strength(secret)?;
        if secret.0.len() < SECRET_BYTES_MIN { Err(SecretError::TooShort(secret.0.len())) } else { Ok(secret) }
    }

    /// A secret that may be shorter than 96 bits. RFC 7143 section 9.2.1 allows it only where IPsec encrypts the connection;
    /// that it does is the caller's promise.
    ///
    /// # Errors
    /// No bytes, or too many.
    pub fn of_any_strength(secret: impl Into<Vec<u8>>) -> Result<Self, SecretError> {
        let secret = Zeroizing::new(secret.into());
        match secret.len() {
            0 => Err(SecretError::Empty),
            length if length > SECRET_BYTES_MAX => Err(SecretError::TooLong(length)),
            _ => Ok(Self(secret)),
        }
    }

    /// The secret itself, for a file that only its owner may read.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

/// A name and the secret that proves it (CHAP_N, RFC 7143 section 12.1.3). The name need not be an iSCSI name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// CHAP_N, compared byte for byte.
    pub name: String,
    /// What proves it.
    pub secret: Secret,
}

/// What proof a login asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// None.
    #[default]
    None,
    /// CHAP (RFC 7143 section 12.1.3). Make it with [`Authentication::chap`], which checks what section 9.2.1 forbids.
    Chap {
        /// At a target: who may log in. At an initiator: the first is who it is.
        initiator: Vec<Credential>,
        /// At a target: what it answers an initiator that wants proof in turn; with none it refuses such a login. At an
        /// initiator: whom the target must prove to be; with none no proof is asked for.
        target: Option<Credential>,
        /// At a target: the algorithms that it allows. At an initiator: those that it offers, the preferred one first.
        algorithms: Vec<ChapAlgorithm>,
        /// At a target: whether an initiator that offers no proof may log in as well. One that offers it has to give it.
        /// Means nothing at an initiator.
        optional: bool,
    },
}

/// Why an [`Authentication`] cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// No name and secret of an initiator.
    #[error("CHAP needs the name and the secret of at least one initiator")]
    NoCredential,
    /// A name that cannot be sent.
    #[error("a CHAP name has 1 to 255 bytes, and no control characters")]
    Name,
    /// No algorithm.
    #[error("CHAP needs at least one algorithm")]
    NoAlgorithm,
    /// The target's secret is an initiator's too.
    #[error(
        "the initiator and the target have the same CHAP secret: whoever knows how to ask could play back one's proof as the \
         other's (RFC 7143 9.2.1); give each its own"
    )]
    SameSecret,
}

impl Authentication {
    /// CHAP with these credentials and algorithms (RFC 7143 4.2.4-1: in both directions, if there is a `target`).
    ///
    /// # Errors
    /// What cannot work, or what RFC 7143 section 9.2.1 forbids.
    pub fn chap(
        initiator: Vec<Credential>,
        target: Option<Credential>,
        algorithms: Vec<ChapAlgorithm>,
    ) -> Result<Self, AuthenticationError> {
        let chap = Self::Chap { initiator, target, algorithms, optional: false };
        chap.check().map(|()| chap)
    }

    /// The same for a target that takes a proof from those who offer it, and lets the others in too. Fit for discovery, for which
    /// many initiators have credentials of their own, or none.
    #[must_use]
    pub fn or_none(mut self) -> Self {
        if let Self::Chap { optional, .. } = &mut self {
            *optional = true;
        }
        self
    }

    /// Whether a target lets nobody in without proof.
    pub(crate) fn is_required(&self) -> bool {
        matches!(self, Self::Chap { optional: false, .. })
    }

    /// Whether it can be used.
    ///
    /// # Errors
    /// What cannot work, or what RFC 7143 section 9.2.1 forbids.
    pub fn check(&self) -> Result<(), AuthenticationError> {
        let Self::Chap { initiator, target, algorithms, .. } = self else { return Ok(()) };
        let same_secret = |target: &Credential| initiator.iter().any(|other| other.secret == target.secret);
        if initiator.is_empty() {
            Err(AuthenticationError::NoCredential)
        } else if !initiator.iter().chain(target).all(|credential| is_name(&credential.name)) {
            Err(AuthenticationError::Name)
        } else if algorithms.is_empty() {
            Err(AuthenticationError::NoAlgorithm)
        } else if target.as_ref().is_some_and(same_secret) {
            Err(AuthenticationError::SameSecret)
        } else {
            Ok(())
        }
    }
}

fn is_name(name: &str) -> bool {
    (1..=255).contains(&name.len()) && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(name: &str, secret: &str) -> Credential {
        Credential { name: name.into(), secret: Secret::new(secret).unwrap() }
    }

    #[test]
    fn a_secret_has_12_to_255_bytes_unless_short_ones_are_asked_for() {
        assert!(Secret::new("secret-alice").is_ok());
        assert_eq!(Secret::new("secret-alic"), Err(SecretError::TooShort(11)));
        assert!(Secret::of_any_strength("s").is_ok());
        assert_eq!(Secret::of_any_strength(""), Err(SecretError::Empty));
        assert_eq!(Secret::new(vec![7; 256]), Err(SecretError::TooLong(256)));
    }

    #[test]
    fn a_secret_is_never_printed() {
        assert_eq!(
            format!("{:?}", credential("alice", "secret-alice-1")),
            r#"Credential { name: "alice", secret: Secret(..) }"#
        );
    }

    #[test]
    fn the_same_secret_in_both_directions_is_refused() {
        let algorithms = ChapAlgorithm::ALL.to_vec();
        let (alice, bob) = (credential("alice", "secret-alice-1"), credential("bob", "secret-bob-22"));
        let twin = credential("bob", "secret-alice-1");
        let chap = |target| Authentication::chap(vec![alice.clone()], target, algorithms.clone());
        assert!(chap(Some(bob)).is_ok());
        assert_eq!(chap(Some(twin)), Err(AuthenticationError::SameSecret));
        let nameless = credential("a\0CHAP_R=0x00", "secret-alice-1");
        assert_eq!(Authentication::chap(vec![nameless], None, algorithms.clone()), Err(AuthenticationError::Name));
        assert_eq!(Authentication::chap(vec![], None, algorithms), Err(AuthenticationError::NoCredential));
        assert_eq!(Authentication::chap(vec![alice], None, vec![]), Err(AuthenticationError::NoAlgorithm));
    }
}
