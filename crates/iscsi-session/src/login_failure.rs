//! Why a login fails, at either end, in words that help whoever has to mend it.

use crate::login_text::Breach;
use crate::{AuthenticationError, NameError, Violation};
use iscsi_pdu::{DecodeError, LoginStatus, Opcode};

/// Why a login has failed. A login that is over keeps its first reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoginFailure {
    /// The login was not done within its time-out.
    #[error("the login was not done in the time that it was given: the peer is slow, silent, or speaks no iSCSI")]
    TimedOut,
    /// The first PDU was no Login Request; nothing is answered (RFC 7143 section 6.3).
    #[error("the first PDU was {0}, not Login Request: the peer is no iSCSI initiator")]
    NotALogin(Opcode),
    /// The peer sent bytes that are no PDU (RFC 7143 section 7.7).
    #[error("the peer broke a rule of the login (RFC 7143 {}): {violation}: {error}", .violation.section())]
    Malformed {
        /// The rule: of the login's own PDUs, or that there be no others.
        violation: Violation,
        /// What means nothing.
        error: DecodeError,
    },
    /// The peer broke a rule.
    #[error("the peer broke a rule of the login (RFC 7143 {}): {violation}{}{}", .violation.section(), Suffix(.key), what_to_do(*.violation))]
    Violation {
        /// The rule.
        violation: Violation,
        /// The key with which it was broken, if it was one.
        key: Option<&'static str>,
    },
    /// At a target: its owner refused the login. At an initiator: the target did.
    #[error("the login was refused: {0}; {advice}", advice = advice(*.0))]
    Refused(LoginStatus),
    /// An initiator's own name or that of its target is none.
    #[error("{0}")]
    Name(#[from] NameError),
    /// An initiator's configuration names no target for a normal session.
    #[error("a normal session needs the name of a target; a discovery session tells which there are")]
    NoTarget,
    /// An initiator's credentials cannot be used.
    #[error("{0}")]
    Authentication(#[from] AuthenticationError),
}

impl LoginFailure {
    /// What the peer was told, or what it has said, if it was anything.
    #[must_use]
    pub const fn status(&self) -> Option<LoginStatus> {
        match self {
            Self::Refused(status) => Some(*status),
            _ => None,
        }
    }

    /// The rule that the peer broke, if that is why.
    #[must_use]
    pub const fn violation(&self) -> Option<Violation> {
        match self {
            Self::Violation { violation, .. } | Self::Malformed { violation, .. } => Some(*violation),
            _ => None,
        }
    }
}

impl LoginFailure {
    /// For an initiator: whether another login may end otherwise. Not if the target does not want this one, unless it says that the
    /// fault is its own (RFC 7143 section 11.13.5), and not if we cannot log in at all.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        /// The class of a status that says that the target cannot, not that the initiator may not.
        const TARGET_ERROR: u8 = 3;
        match self {
            Self::Refused(status) => status.class() == TARGET_ERROR,
            Self::Name(_) | Self::NoTarget | Self::Authentication(_) => false,
            _ => true,
        }
    }
}

impl From<Breach> for LoginFailure {
    fn from(breach: Breach) -> Self {
        Self::Violation { violation: breach.violation, key: breach.key }
    }
}

/// The key of a breach, where there is one.
struct Suffix<'a>(&'a Option<&'static str>);

impl core::fmt::Display for Suffix<'_> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.map_or(Ok(()), |key| write!(formatter, " ({key})"))
    }
}

/// What to do about a broken rule that a configuration may have broken.
const fn what_to_do(violation: Violation) -> &'static str {
    match violation {
        Violation::NotAuthenticated | Violation::TargetProofMissing => {
            "; check the CHAP name and the secret of this direction, which both ends have to have the same"
        }
        Violation::SecretInBothDirections => "; give the target and the initiator a secret each",
        Violation::NoCommonMethod | Violation::AuthenticationRequired => {
            "; have both ends use CHAP or neither, with at least one algorithm in common"
        }
        Violation::NoAgreement => "; widen the limits of one of the two ends",
        _ => "",
    }
}

/// What to do about a refusal.
const fn advice(status: LoginStatus) -> &'static str {
    match status {
        LoginStatus::TargetMovedTemporarily | LoginStatus::TargetMovedPermanently => {
            "log in at the address that came with the answer"
        }
        LoginStatus::InitiatorError => "the target's log says which rule or limit it found broken",
        LoginStatus::AuthenticationFailure => {
            "log in with a CHAP name and secret if the target asks for them, and check both; an algorithm that the target does not \
             know, or mutual CHAP with a target that has no secret of its own, is refused in the same way"
        }
        LoginStatus::AuthorizationFailure => {
            "have the target's access list name this initiator, or log in with the name that it lists"
        }
        LoginStatus::NotFound => {
            "check the target's name for a slip of the pen, or ask the portal for its targets (discovery)"
        }
        LoginStatus::TargetRemoved => "the target is gone from this portal; ask where it is now (discovery)",
        LoginStatus::UnsupportedVersion => "one of the two ends is older or newer than RFC 7143",
        LoginStatus::TooManyConnections => "end a connection of the session first, or have the target allow more",
        LoginStatus::MissingParameter => {
            "the initiator has to say its own name, the target's, and every key of its CHAP step"
        }
        LoginStatus::CannotIncludeInSession => {
            "connect to a portal of the same portal group as the session's other connections"
        }
        LoginStatus::SessionTypeNotSupported => {
            "this portal does not allow such a session, normal or discovery, to this initiator"
        }
        LoginStatus::SessionDoesNotExist => "the session has ended at the target; begin a new one (TSIH 0)",
        LoginStatus::InvalidDuringLogin => "only Login Requests may be sent before the login is done",
        LoginStatus::TargetError => "look into the target's log",
        LoginStatus::ServiceUnavailable => "the target is starting, stopping or being maintained; try again later",
        LoginStatus::OutOfResources => "the target has as many sessions or connections as it can hold; try again later",
        _ => "ask the target's maker what it means",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_was_wrong_and_with_which_key() {
        let failure = LoginFailure::from(Breach::from(Violation::MissingName));
        assert_eq!(
            failure.to_string(),
            "the peer broke a rule of the login (RFC 7143 6.3): no InitiatorName, or no TargetName for a normal session"
        );
        let failure = LoginFailure::from(Violation::KeyRepeated.by(crate::keys::Key::HeaderDigest));
        assert!(failure.to_string().ends_with("a key for the second time (HeaderDigest)"), "{failure}");
    }

    #[test]
    fn every_refusal_has_its_own_advice() {
        let refusals = LoginStatus::NAMED.iter().filter(|status| status.class() > 1);
        let mut advices: Vec<&str> = refusals.map(|status| advice(*status)).collect();
        let count = advices.len();
        advices.sort_unstable();
        advices.dedup();
        assert_eq!(advices.len(), count);
    }
}
