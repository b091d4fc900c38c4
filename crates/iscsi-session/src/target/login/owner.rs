//! What a login asks its owner, and what the owner answers: who may log in, and what to.

use crate::{Authentication, Limits, LoginFailure, LoginOutcome, SessionType};
use iscsi_pdu::{Cid, Isid, LoginStatus, Tsih};

/// Who logs in, and what to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginIdentity {
    /// InitiatorName, normalised. Not proven before [`LoginEvent::Admit`], and then as far as the policy asked for proof.
    pub initiator_name: String,
    /// InitiatorAlias: for people to read.
    pub initiator_alias: Option<String>,
    /// TargetName, normalised; always there in a normal session.
    pub target_name: Option<String>,
    /// Normal or discovery.
    pub session_type: SessionType,
    /// The initiator's half of the session's identity.
    pub isid: Isid,
    /// Zero asks for a new session, in the place of one with the same names and ISID if there is one (session reinstatement);
    /// another value for a connection of that session (RFC 7143 section 6.3.1).
    pub tsih: Tsih,
    /// The connection; if the session has one with this number it is reinstated (RFC 7143 section 6.3.4).
    pub cid: Cid,
}

/// What a login says to its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginEvent {
    /// Who wants what. The owner answers with `identify` or `refuse`.
    Identify(LoginIdentity),
    /// Authenticated and negotiated. The owner ends the session that this one takes the place of, and answers with `admit` or
    /// `refuse`.
    Admit(LoginIdentity),
    /// Done. The last response is the last of what stands in `poll_transmit`; the session begins after it was sent.
    Complete(Box<LoginOutcome>),
    /// Failed. The connection is to be closed after what stands in `poll_transmit` was sent.
    Closed(LoginFailure),
}

/// Whether an initiator may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identification {
    /// It may, by this policy.
    Proceed(LoginPolicy),
    /// It may not.
    Refuse(Refusal),
}

/// How an initiator logs in to the target that it has named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginPolicy {
    /// The proof that is asked for. The owner gives those credentials only that belong to the initiator's name, so that
    /// nobody proves to be one and is taken for another (RFC 7143 section 9.2).
    pub authentication: Authentication,
    /// TargetAlias: for people to read.
    pub target_alias: Option<String>,
    /// TargetPortalGroupTag of the portal that the connection came to.
    pub portal_group_tag: u16,
    /// What we would agree upon here, where that is not what all logins have in common. Segments are not longer than theirs.
    pub limits: Option<Limits>,
    /// Commands that the initiator may send ahead, where that is not what all logins have in common.
    pub window: Option<u32>,
}

/// Why an initiator may not log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the initiator is told.
    pub status: LoginStatus,
    /// Where the target is now: `domainname[:port]`. A redirection has it, and nothing else; a portal group tag is left out.
    pub target_address: Option<String>,
}

impl Refusal {
    /// The target is elsewhere, for good or for a time.
    #[must_use]
    pub fn redirect(target_address: impl Into<String>, permanent: bool) -> Self {
        let status = match permanent {
            true => LoginStatus::TargetMovedPermanently,
            false => LoginStatus::TargetMovedTemporarily,
        };
        Self { status, target_address: Some(target_address.into()) }
    }

    /// What the initiator is told. RFC 7143 13.8-1: no portal group tag follows the address of a redirection.
    pub(super) fn into_parts(self) -> (LoginStatus, Option<String>) {
        let mut address = self.target_address;
        if let Some(address) = &mut address {
            address.truncate(address.find(',').unwrap_or(address.len()));
        }
        (self.status, address)
    }
}

impl From<LoginStatus> for Refusal {
    fn from(status: LoginStatus) -> Self {
        Self { status, target_address: None }
    }
}
