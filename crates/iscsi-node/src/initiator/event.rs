//! What a node says to its owner.

use super::Completion;
use bytes::Bytes;
use iscsi_pdu::RejectReason;
use iscsi_session::{CloseReason, LoginFailure, LoginOutcome, TargetRecord};
use iscsi_transport::PortError;
use std::time::Duration;

/// How a request ended.
#[derive(Debug)]
pub enum Outcome {
    /// A SCSI command was carried out, well or not.
    Command(Completion),
    /// A task management function has ended.
    TaskManagement(iscsi_pdu::TaskManagementResponseCode),
    /// A ping was answered with this data.
    Ping(Bytes),
    /// The targets that may be used.
    Targets(Vec<TargetRecord>),
    /// The logout was answered; the session ends with it.
    Logout(iscsi_pdu::LogoutResponseCode),
    /// The target has failed: it could not carry out the command (RFC 7143 section 11.4.3).
    TargetFailure,
    /// The command was ended by a task management function or by the target; its effects are unknown.
    Aborted,
    /// The command had not ended in its time and was aborted; its effects are unknown.
    TimedOut,
    /// The target did not take the request; it had no effect.
    Rejected(RejectReason),
    /// No answer will come; the effects are unknown.
    Lost,
}

/// What the owner of a node has to know.
#[derive(Debug)]
pub enum Event {
    /// The session has begun: requests are taken.
    LoggedIn(Box<LoginOutcome>),
    /// The target is elsewhere (RFC 7143 section 11.13.5, class 1); this connection is over.
    Redirected {
        /// Where: `host[:port]`.
        address: String,
        /// Whether that is for good.
        permanent: bool,
    },
    /// The login has failed; this connection is over.
    LoginFailed(LoginFailure),
    /// A request has ended.
    Complete {
        /// The owner's name for it.
        token: u64,
        /// How.
        outcome: Outcome,
    },
    /// The target wants the initiator to log out; requests are taken no more.
    LogoutRequested {
        /// How long it waits.
        grace: Duration,
    },
    /// The session has ended; every request has come back before.
    Closed(CloseReason),
    /// The port has failed; every request has come back before.
    ConnectionLost(PortError),
    /// The target does not end a command, nor a task management function that is to end it: this connection is over; every request
    /// has come back before.
    Unresponsive,
}
