//! What the driver is told, and by which code.

use iscsi_pdu::LoginStatus;
use iscsi_session::{CloseReason, LoginFailure, Violation};
use t5_hal::wire::{RemoteDevice, ReturnCode, WorkRequestReply};

/// Something that the driver is told, by an ingress queue.
#[derive(Debug)]
pub(crate) enum Output {
    /// What has become of a work request.
    Reply(u16, WorkRequestReply),
    /// A remote device has come.
    Device(u16, Box<RemoteDevice>),
}

/// Why a login has failed.
pub(crate) fn code_of_failure(failure: &LoginFailure) -> ReturnCode {
    match failure {
        LoginFailure::TimedOut => ReturnCode::TimedOut,
        LoginFailure::Name(_) | LoginFailure::NoTarget | LoginFailure::Authentication(_) => ReturnCode::Invalid,
        LoginFailure::Violation {
            violation: Violation::NotAuthenticated | Violation::TargetProofMissing | Violation::AuthenticationRequired,
            ..
        } => ReturnCode::NotPermitted,
        LoginFailure::Refused(status) => match status {
            LoginStatus::AuthenticationFailure | LoginStatus::AuthorizationFailure => ReturnCode::NotPermitted,
            LoginStatus::NotFound => ReturnCode::NoEntry,
            LoginStatus::TargetRemoved => ReturnCode::NoDevice,
            LoginStatus::TargetError | LoginStatus::ServiceUnavailable | LoginStatus::OutOfResources => {
                ReturnCode::Again
            }
            _ => ReturnCode::Io,
        },
        _ => ReturnCode::Protocol,
    }
}

/// Why a session has ended.
pub(crate) fn code_of_end(reason: &CloseReason) -> ReturnCode {
    match reason {
        CloseReason::LoggedOut => ReturnCode::DeviceLoggedOut,
        CloseReason::Violation(_) | CloseReason::Malformed(_) => ReturnCode::Protocol,
        CloseReason::PeerSilent => ReturnCode::TimedOut,
        _ => ReturnCode::DeviceLost,
    }
}
