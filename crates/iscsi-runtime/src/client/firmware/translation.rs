//! What a client's words are in the firmware's, and the other way round.

use super::super::{ClientConfig, ClientError};
use crate::network::resolve;
use iscsi_node::initiator::{Completion, Escalation, Outcome, Request};
use iscsi_pdu::{RejectReason, Residual, TaskAttribute};
use iscsi_session::initiator::Transfer;
use iscsi_session::{Authentication, ChapAlgorithm, Credential, Limits};
use scsi_block::Segments;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;
use t5_hal::driver::initiator::{self, AuthenticationWanted, ScsiRequest, SessionRequest, TRANSFER_BYTES_MAX};
use t5_hal::wire::{FoiscsiDigest, FoiscsiIsid, ReturnCode};

/// The shortest time for which the firmware may say nothing.
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
    /// How long a login may take.
    pub(super) login_timeout: Duration,
    escalation: Option<Escalation>,
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
        Ok(Self {
            initiator_name: login.initiator_name,
            credentials,
            authentication,
            target_name: login.target_name.unwrap_or_default(),
            peer: peer.ok_or_else(unreachable)?,
            limits: login.limits,
            login_timeout: config.timeout,
            escalation: config.escalation,
        })
    }

    /// How long a command may take; none if for ever.
    pub(super) fn time_for(&self, request: &Request) -> Option<Duration> {
        self.escalation?.time_for(*request.cdb.first()?)
    }

    /// How long the firmware may say nothing while a command with that time is under way.
    pub(super) fn silence_max(&self, time: Option<Duration>) -> Duration {
        let silence =
            |escalation: Escalation| Some(time?.saturating_add(escalation.management_timeout).saturating_mul(2));
        self.escalation.and_then(silence).map_or(Duration::MAX, |silence| silence.max(SILENCE_MIN))
    }

    /// Where the target is.
    pub(super) fn address(&self) -> String {
        self.peer.to_string()
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

/// What the ISIDs of a node have of its driver (RFC 7143 section 11.12.5, type 10b); their last two bytes are the firmware's.
pub(super) fn isid([one, two, three]: [u8; 3]) -> FoiscsiIsid {
    const RANDOM: u32 = 2;
    let b = u16::from_be_bytes([one, two]);
    FoiscsiIsid::new().with(FoiscsiIsid::T, RANDOM).with(FoiscsiIsid::B, b.into()).with(FoiscsiIsid::C, three.into())
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

/// The seconds after which the firmware is to abort a command, not before that time has passed; 0, for ever, where it cannot count as far.
fn seconds(time: Option<Duration>) -> u8 {
    let seconds = time.map_or(0, |time| time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)).max(1));
    seconds.try_into().unwrap_or(0)
}

/// A command without its data that may take so long; nothing if the firmware has no such command.
pub(super) fn command(request: &Request, time: Option<Duration>) -> Option<ScsiRequest> {
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
    let command = ScsiRequest { lun: request.lun.to_wire(), cdb, attribute, timeout_seconds: seconds(time) };
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

#[cfg(test)]
mod tests {
    use super::*;
    use scsi_block::cdb::Cdb;

    #[test]
    fn no_command_is_aborted_before_its_time() {
        let time = |millis| Some(Duration::from_millis(millis));
        let cases = [(time(0), 1), (time(1), 1), (time(1500), 2), (time(255_000), 255), (time(255_001), 0), (None, 0)];
        for (time, expected) in cases {
            assert_eq!(seconds(time), expected, "{time:?}");
        }
        assert_eq!(seconds(Some(Duration::MAX)), 0);
    }

    #[test]
    fn silence_is_judged_by_what_is_under_way() {
        let wanted = |escalation| {
            Wanted::new(&ClientConfig::new("192.0.2.1", "iqn.2026-01.io.example:disk").escalation(escalation)).unwrap()
        };
        let request = |cdb| Request::new(0.into(), &cdb, Transfer::None);
        let [read, unmap, format] = [Cdb::read_16(0, 1), Cdb::unmap(24), Cdb::format_unit(None)].map(request);
        let usual = wanted(Some(Escalation::default()));
        let silence = |wanted: &Wanted, request| wanted.silence_max(wanted.time_for(request));
        assert_eq!(silence(&usual, &read), Duration::from_secs(90));
        assert_eq!(silence(&usual, &unmap), Duration::from_secs(270));
        assert_eq!(silence(&usual, &format), Duration::MAX);
        let ages = Duration::MAX - Duration::from_secs(1);
        let patient = wanted(Some(Escalation { command_timeout: ages, management_timeout: ages }));
        assert_eq!(silence(&patient, &read), Duration::MAX);
        assert_eq!(silence(&wanted(None), &read), Duration::MAX);
    }
}
