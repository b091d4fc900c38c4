//! How a session ends, at either end.

use crate::Violation;
use iscsi_pdu::DecodeError;

/// Why a session has ended. A closed session keeps its first reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// A logout was asked for and done (RFC 7143 section 11.14).
    #[error("logged out")]
    LoggedOut,
    /// A logout was asked for, and refused or not answered in time (RFC 7143 section 8.1.2, transition T17).
    #[error("the logout failed")]
    LogoutFailed,
    /// The initiator was asked to log out and has not done so in time (RFC 7143 section 11.9.1, event 1).
    #[error("the initiator did not log out in the time that it was given")]
    LogoutOverdue,
    /// The transport connection broke.
    #[error("the connection was lost")]
    ConnectionLost,
    /// Another connection with the same CID has taken its place (RFC 7143 section 6.3.4).
    #[error("another connection has taken its place")]
    Reinstated,
    /// It was removed so that its tasks go on with another connection (RFC 7143 section 11.14.1, reason 2).
    #[error("removed for recovery")]
    RemovedForRecovery,
    /// The session had no connection for longer than Time2Wait and Time2Retain (RFC 7143 section 6.3.5).
    #[error("nobody has continued the session in time")]
    NotContinued,
    /// The peer answers no ping (RFC 7143 section 7.14).
    #[error("the peer has gone silent")]
    PeerSilent,
    /// The target has announced that it drops the connection or the session (RFC 7143 section 11.9.1, events 2 and 3).
    #[error("the target drops the connection; log in again after {time_2_wait} s")]
    Dropped {
        /// Time2Wait in seconds.
        time_2_wait: u16,
    },
    /// The target was reset as if its power had been cycled (RFC 7143 section 11.5.1, TARGET COLD RESET).
    #[error("the target was reset")]
    TargetReset,
    /// The owner has ended the session: another one takes its place, or the target goes away.
    #[error("the session was ended by its owner")]
    Terminated,
    /// What was lost on the way was asked for or sent again as often as there is a point to it, or is not kept any more (RFC 7143
    /// section 7.1.4.2).
    #[error("what was lost on the way could not be recovered")]
    NotRecovered,
    /// The peer broke a rule.
    #[error("the peer broke a rule: {0}")]
    Violation(Violation),
    /// The peer sent bytes that are no PDU (RFC 7143 section 7.7).
    #[error("the peer sent a malformed PDU: {0}")]
    Malformed(DecodeError),
    /// A data digest did not match; at error recovery level 0 this ends the session (RFC 7143 section 7.8).
    #[error("a data digest does not match the data")]
    DataDigest,
}

/// What is wrong with a PDU of which only the header can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPdu {
    /// Its values mean nothing.
    Undecodable(DecodeError),
    /// Its data digest does not match.
    DataDigest,
}
