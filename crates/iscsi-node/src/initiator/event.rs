//! What a node says to its owner.

use super::Completion;
use bytes::Bytes;
use iscsi_pdu::{Cid, RejectReason};
use iscsi_session::{CloseReason, LoginFailure, LoginOutcome, TargetRecord};
use iscsi_transport::PortError;
use scsi_block::AsynchronousEvent;
use std::fmt;
use std::time::Duration;

/// How a request ended.
#[derive(Debug)]
pub enum Outcome {
    /// A SCSI command was carried out, well or not.
    Command(Completion),
    /// A task management function has ended.
    TaskManagement(iscsi_pdu::TaskManagementResponseCode),
    /// A QUERY ASYNCHRONOUS EVENT has found this.
    AsynchronousEvent(AsynchronousEvent),
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
    /// No answer will come; the effects are unknown. If the session goes on, the target does nothing for the request any more.
    Lost,
}

/// What the owner of a node has to know.
#[derive(Debug)]
pub enum Event {
    /// The session has begun: requests are taken.
    LoggedIn(Box<LoginOutcome>),
    /// The session lacks a connection: a port is wanted for
    /// [`connect`](super::InitiatorNode::connect), or the word that there is none for
    /// [`handle_connect_failure`](super::InitiatorNode::handle_connect_failure).
    ConnectionWanted {
        /// Which connection it will be.
        cid: Cid,
        /// Where the target has sent it, `host[:port]`; none for where the session began.
        address: Option<String>,
    },
    /// A further connection has joined the session, or has taken the place of one that was lost.
    ConnectionJoined {
        /// Which.
        cid: Cid,
    },
    /// A connection has ended, and the session goes on.
    ConnectionClosed {
        /// Which.
        cid: Cid,
        /// Why.
        reason: ConnectionEnd,
    },
    /// The target is elsewhere (RFC 7143 section 11.13.5, class 1); there is no session.
    Redirected {
        /// Where: `host[:port]`.
        address: String,
        /// Whether that is for good.
        permanent: bool,
    },
    /// The login has failed; there is no session.
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
    /// The port has failed, and with it the session has ended; every request has come back before.
    ConnectionLost(PortError),
    /// The target does not end a command, nor a task management function that is to end it: the session is over; every request
    /// has come back before.
    Unresponsive,
}

/// How a connection has ended that is not the whole session.
#[derive(Debug)]
pub enum ConnectionEnd {
    /// Its port has failed.
    Port(PortError),
    /// The session has ended it.
    Session(CloseReason),
    /// Its login has failed.
    Login(LoginFailure),
    /// The target has sent it from one place to another too often.
    Redirects,
}

impl fmt::Display for ConnectionEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(error) => error.fmt(formatter),
            Self::Session(reason) => reason.fmt(formatter),
            Self::Login(failure) => failure.fmt(formatter),
            Self::Redirects => formatter.write_str("the target sends it from one place to another without end"),
        }
    }
}
