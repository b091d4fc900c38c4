//! Why something that was asked of a target did not come about.

use iscsi_pdu::{RejectReason, TaskManagementResponseCode};
use iscsi_session::{CloseReason, LoginFailure};
use std::io;
use t5_hal::wire::ReturnCode;

/// Why an operation failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address does not lead to a target.
    #[error("cannot connect to {address}: {error}; is the target running, and is the address right?")]
    Connect {
        /// The address.
        address: String,
        /// What the system says.
        error: String,
    },
    /// The login was refused, or failed otherwise.
    #[error("cannot log in to {address}: {failure}")]
    Login {
        /// The address.
        address: String,
        /// Why.
        failure: LoginFailure,
    },
    /// The initiator in an adapter's firmware could not log in.
    #[error("the adapter's firmware cannot log in to {address}: {code:?}")]
    FirmwareLogin {
        /// The address.
        address: String,
        /// What the firmware says.
        code: ReturnCode,
    },
    /// Each target sends us to another.
    #[error("the target at {0} has moved, and moved again; giving up")]
    Redirects(String),
    /// The session has ended before; the operation had no effect.
    #[error("the session has ended")]
    Ended,
    /// The session ended while the operation was under way: its effects are unknown.
    #[error("the session has ended before an answer came ({0}); whether the command had an effect is unknown")]
    Lost(String),
    /// The target has ended the command, after a reset for example: its effects are unknown.
    #[error("the command was aborted; whether it had an effect is unknown")]
    Aborted,
    /// The command did not end in its time and was aborted: its effects are unknown.
    #[error("the command did not end in time and was aborted; whether it had an effect is unknown")]
    TimedOut,
    /// The target did not take the request; it had no effect.
    #[error("the target has rejected the request: {0}")]
    Rejected(RejectReason),
    /// The target could not carry out the command.
    #[error("the target has failed while it carried out the command")]
    TargetFailure,
    /// A task management function was refused.
    #[error("the task management function was not carried out: {0}")]
    TaskManagement(TaskManagementResponseCode),
    /// The logical unit refuses a command.
    #[error("the logical unit answers {0}")]
    Command(String),
    /// The answer of the logical unit makes no sense.
    #[error("the logical unit's answer makes no sense: {0}")]
    Answer(&'static str),
    /// A range that is not on the disk, or data that is no whole number of blocks.
    #[error("{0}")]
    Range(String),
    /// The system refuses a thread, a descriptor or a file.
    #[error("the system refuses: {0}")]
    System(String),
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::System(error.to_string())
    }
}

impl From<CloseReason> for ClientError {
    fn from(reason: CloseReason) -> Self {
        Self::Lost(reason.to_string())
    }
}
