//! What a client's words are in the firmware's, and the other way round.

use super::super::{ClientConfig, ClientError};
use crate::network::resolve;
use iscsi_node::initiator::{Completion, Outcome, Request};
use iscsi_pdu::{RejectReason, Residual, TaskAttribute};
use iscsi_session::initiator::Transfer;
use iscsi_session::{Authentication, ChapAlgorithm, Credential, Limits};
use scsi_block::Segments;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;
use t5_hal::driver::initiator::{self, AuthenticationWanted, ScsiRequest, SessionRequest, TRANSFER_BYTES_MAX};
use t5_hal::wire::{FoiscsiDigest, FoiscsiIsid, ReturnCode};

/// The shortest time for which the firmware may say nothing: a login takes at most as long.
const SILENCE_MIN: Duration = Duration::from_secs(30);

/// A client's configuration, as far as the firmware has words for it.
pub(super) struct Wanted {
    pub(super) initiator_name: String,
    /// What the node proves itself with, and what a target has to (true).
    pub(super) credentials: Vec<(bool, Credential)>,
    authentication: AuthenticationWanted,
    target_name: String,
    peer: SocketAddrV4,
    limits: Limits,
    /// Seconds after which the firmware aborts a command; 0 is never.
    pub(super) timeout_seconds: u8,
    /// How long the firmware may say nothing while something is under way.
    pub(super) silence_max: Duration,
}

impl Wanted {
    /// # Errors
    /// The configuration asks for what the firmware has not.
    pub(super) fn new(config: &ClientConfig) -> Result<Self, ClientError> {
        let login = config.login(iscsi_pdu::Isid([0; 6]));
        let lacks = [
            (login.limits.max_connections > 1, "several connections a session"),
            (login.limits.error_recovery_level > 0, "error recovery"),
            (config.reconnection.is_some(), "coming back after a loss"),
            (config.capture.is_some(), "captures"),
            (config.isid.is_some(), "ISID of one's choice"),
        ];
        if let Some((_, what)) = lacks.iter().find(|(asked, _)| *asked) {
            return Err(ClientError::System(format!("the initiator in an adapter's firmware has no {what}")));
        }
        let peers = resolve(&config.address)?;
        let peer = peers.iter().find_map(|peer| if let SocketAddr::V4(peer) = peer { Some(*peer) } else { None });
        let unreachable = || ClientError::Connect {
            address: config.address.clone(),
            error: "the initiator in an adapter's firmware knows IPv4 alone".to_owned(),
        };
        let (authentication, credentials) = proof(login.authentication)?;
        let escalation = config.escalation;
        let silence = escalation.map(|escalation| (escalation.command_timeout + escalation.management_timeout) * 2);
        let seconds = escalation.map_or(0, |escalation| escalation.command_timeout.as_secs().clamp(1, 255));
        Ok(Self {
            initiator_name: login.initiator_name,
            credentials,
            authentication,
            target_name: login.target_name.unwrap_or_default(),
            peer: peer.ok_or_else(unreachable)?,
            limits: login.limits,
            timeout_seconds: seconds as u8,
            silence_max: silence.map_or(Duration::MAX, |silence| silence.max(SILENCE_MIN)),
        })
    }

    /// Where the target is.
    pub(super) fn address(&self) -> String {
        self.peer.to_string()
    }

    /// The ISID of a node: random (RFC 7143 section 11.12.5), since its last two bytes are the firmware's.
    pub(super) fn isid(&self) -> Result<FoiscsiIsid, ClientError> {
        const RANDOM: u32 = 2;
        let random = getrandom::u32().map_err(|error| ClientError::System(error.to_string()))?;
        let isid = FoiscsiIsid::new().with(FoiscsiIsid::T, RANDOM);
        Ok(isid.with(FoiscsiIsid::B, random & 0xffff).with(FoiscsiIsid::C, random >> 24))
    }

    /// The request for a session of a node.
    pub(super) fn session(&self, node: u16) -> SessionRequest {
        SessionRequest {
            header_digest: digest(&self.limits.header_digest),
            data_digest: digest(&self.limits.data_digest),
            authentication: self.authentication,
            initial_r2t: self.limits.initial_r2t,
            immediate_data: self.limits.immediate_data,
            burst_bytes_max: self.limits.burst_bytes_max,
            first_burst_bytes: self.limits.first_burst_bytes_max,
            outstanding_r2t_max: self.limits.outstanding_r2t_max,
            ..SessionRequest::new(node, self.target_name.clone(), self.peer)
        }
    }
}

/// What is proven, and with what.
fn proof(authentication: Authentication) -> Result<(AuthenticationWanted, Vec<(bool, Credential)>), ClientError> {
    let Authentication::Chap { initiator, target, algorithms, .. } = authentication else {
        return Ok((AuthenticationWanted::None, Vec::new()));
    };
    if ChapAlgorithm::ALL.iter().any(|algorithm| !algorithms.contains(algorithm)) {
        let chooses =
            "the initiator in an adapter's firmware chooses the algorithm of CHAP by itself: allow all of them";
        return Err(ClientError::System(chooses.to_owned()));
    }
    let own = initiator.into_iter().next().ok_or(ClientError::Answer("CHAP without a name"))?;
    let wanted = if target.is_some() { AuthenticationWanted::Mutual } else { AuthenticationWanted::OneWay };
    Ok((wanted, std::iter::once((false, own)).chain(target.map(|target| (true, target))).collect()))
}

/// The digests that are offered, the preferred one first.
fn digest(offered: &[bool]) -> FoiscsiDigest {
    match offered {
        [true] => FoiscsiDigest::Crc32,
        [true, ..] => FoiscsiDigest::Crc32First,
        [false, true, ..] => FoiscsiDigest::Crc32Second,
        _ => FoiscsiDigest::None,
    }
}

/// A command without its data; nothing if the firmware has no such command.
pub(super) fn command(request: &Request, timeout_seconds: u8) -> Option<ScsiRequest> {
    let length = match &request.transfer {
        Transfer::None => 0,
        Transfer::Read(bytes) => *bytes as usize,
        Transfer::Write(data) => data.len(),
        Transfer::Bidirectional { .. } => return None,
    };
    let attribute = match request.attribute {
        TaskAttribute::HeadOfQueue => 1,
        TaskAttribute::Ordered => 2,
        TaskAttribute::Aca => 4,
        _ => 0,
    };
    let mut cdb = [0; 16];
    cdb.get_mut(..request.cdb.len())?.copy_from_slice(&request.cdb);
    let command = ScsiRequest { lun: request.lun.to_wire(), cdb, attribute, timeout_seconds };
    (length <= TRANSFER_BYTES_MAX as usize).then_some(command)
}

/// How a command ended that was carried out or will not be.
pub(super) fn outcome(completion: initiator::Completion) -> Outcome {
    let initiator::Completion { code, status, underflow_bytes, sense, data } = completion;
    match code {
        ReturnCode::Success | ReturnCode::ScsiResponseError => Outcome::Command(Completion {
            status,
            status_qualifier: 0,
            sense,
            residual: if underflow_bytes > 0 { Residual::Underflow(underflow_bytes) } else { Residual::None },
            data: if data.is_empty() { Segments::new() } else { Segments::from_iter([data]) },
        }),
        ReturnCode::ScsiAborted => Outcome::Aborted,
        ReturnCode::TimedOut => Outcome::TimedOut,
        ReturnCode::ScsiTaskError => Outcome::Rejected(RejectReason::ProtocolError),
        _ => Outcome::Lost,
    }
}

/// Whether the firmware has not begun a command because it has too much to do; it had no effect then.
pub(super) const fn is_busy(code: ReturnCode) -> bool {
    matches!(code, ReturnCode::NoMemory | ReturnCode::NoExchange)
}
