//! What a client needs to know to log in.

use super::isid::ClaimedIsid;
use super::{ClientError, Reconnection};
use iscsi_node::initiator::{ConnectionPlan, Escalation};
use iscsi_pdu::{Cid, Isid, Tsih};
use iscsi_session::initiator::LoginConfig;
use iscsi_session::{Authentication, Limits, SessionType};
use std::path::PathBuf;
use std::time::Duration;

/// Name of the initiator unless another is given.
pub const INITIATOR_NAME: &str = "iqn.2026-01.io.ferriscsi:initiator";

/// Seconds for which a target is asked to keep the tasks of connections that are lost (RFC 7143 section 13.16).
const TIME_2_RETAIN: u16 = 20;

/// How to reach a target, and who we are.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    pub(super) address: String,
    pub(super) target_name: Option<String>,
    initiator_name: String,
    authentication: Authentication,
    limits: Limits,
    connections: Option<u16>,
    error_recovery_level: Option<u8>,
    pub(super) isid: Option<Isid>,
    pub(super) timeout: Duration,
    pub(super) escalation: Option<Escalation>,
    pub(super) reconnection: Option<Reconnection>,
    pub(super) capture: Option<PathBuf>,
}

impl ClientConfig {
    /// A target at `host`, `host:port` or `[host]:port`; the port is 3260 unless one is given.
    #[must_use]
    pub fn new(address: impl Into<String>, target_name: impl Into<String>) -> Self {
        Self { target_name: Some(target_name.into()), ..Self::discovery(address) }
    }

    /// A portal, to be asked which targets there are; see [`discover`](super::discover).
    #[must_use]
    pub fn discovery(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            target_name: None,
            initiator_name: INITIATOR_NAME.into(),
            authentication: Authentication::None,
            limits: Limits::default(),
            connections: None,
            error_recovery_level: None,
            isid: None,
            timeout: Duration::from_secs(15),
            escalation: Some(Escalation::default()),
            reconnection: None,
            capture: None,
        }
    }

    /// Our name, in `iqn.`, `eui.` or `naa.` form.
    #[must_use]
    pub fn initiator_name(mut self, name: impl Into<String>) -> Self {
        self.initiator_name = name.into();
        self
    }

    /// What we can prove, and what we ask the target to prove.
    #[must_use]
    pub fn authentication(mut self, authentication: Authentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// What is offered to the target.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Connections of the session, as far as the target takes as many; at least one. Unless this is said, as many as
    /// [`Limits::max_connections`] says, which is one.
    ///
    /// Commands spread over them. One that is lost is replaced, and the session goes on. At error recovery level 2 the commands that were
    /// under way on it go on on another; below, they end as those of a session that is lost: see [`reconnection`](Self::reconnection).
    #[must_use]
    pub fn connections(mut self, connections: u16) -> Self {
        self.connections = Some(connections.max(1));
        self
    }

    /// The error recovery level to ask for (RFC 7143 section 7.1.5): with 1, what digests find wrong is sent again within the session;
    /// with 2, commands outlive their connection, and the session its last connection for some time. Unless this is said, it is that of
    /// the [`limits`](Self::limits), which is 0.
    #[must_use]
    pub fn error_recovery_level(mut self, level: u8) -> Self {
        self.error_recovery_level = Some(level);
        self
    }

    /// Our half of the session's name: a second session of the same initiator with the same ISID ends the first. Unless this is said,
    /// it stands for the initiator's name and the first free place among its sessions to the target on this host: it is the same
    /// from login to login, so that reservations outlive a restart.
    #[must_use]
    pub fn isid(mut self, isid: Isid) -> Self {
        self.isid = Some(isid);
        self
    }

    /// Time that connecting and logging in may take; 15 s unless this is said.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// What is done about commands that do not end: they are aborted after 30 s, unless this is said. None waits for ever. A client
    /// whose session is ended by this comes back as after any other loss.
    #[must_use]
    pub fn escalation(mut self, escalation: Option<Escalation>) -> Self {
        self.escalation = escalation;
        self
    }

    /// How the client comes back after it has lost its session; it does not unless this is said.
    ///
    /// Commands under way are given again where that does no harm to a disk that nobody else writes to: reads, and writes whose data
    /// is given with them. All others end with [`ClientError::Lost`]: nobody knows whether they had an effect. On a disk that others
    /// write to as well, a write that is given again may come after one of theirs that has followed it.
    #[must_use]
    pub fn reconnection(mut self, reconnection: Option<Reconnection>) -> Self {
        self.reconnection = reconnection;
        self
    }

    /// Writes all that is sent and received to a pcapng file, payload included.
    #[must_use]
    pub fn capture(mut self, file: impl Into<PathBuf>) -> Self {
        self.capture = Some(file.into());
        self
    }

    /// The ISID of all sessions that are run with this, one after the other.
    pub(super) fn claim_isid(&self) -> Result<ClaimedIsid, ClientError> {
        match self.isid {
            Some(isid) => Ok(ClaimedIsid::chosen(isid)),
            None => ClaimedIsid::claim(&self.initiator_name, self.target_name.as_deref()),
        }
    }

    pub(super) fn login(&self, isid: Isid) -> LoginConfig {
        LoginConfig {
            initiator_name: self.initiator_name.clone(),
            initiator_alias: None,
            target_name: self.target_name.clone(),
            session_type: if self.target_name.is_some() { SessionType::Normal } else { SessionType::Discovery },
            isid,
            // RFC 7143 6.3.5-1, 7.15-1: with the ISID of another session this takes its place.
            tsih: Tsih(0),
            cid: Cid(0),
            limits: self.session_limits(),
            authentication: self.authentication.clone(),
            timeout: self.timeout,
        }
    }

    /// What is offered: a target that is to go on after a loss has to keep something for that time.
    fn session_limits(&self) -> Limits {
        let limits = &self.limits;
        let max_connections = self.connections.unwrap_or(limits.max_connections);
        let error_recovery_level = self.error_recovery_level.unwrap_or(limits.error_recovery_level);
        let keeps = limits.time_2_retain == 0 && (max_connections > 1 || error_recovery_level > 1);
        let time_2_retain = if keeps { TIME_2_RETAIN } else { limits.time_2_retain };
        Limits { max_connections, error_recovery_level, time_2_retain, ..limits.clone() }
    }

    /// How many connections a session has, and when one is tried again: as often as a session is.
    pub(super) fn connection_plan(&self) -> ConnectionPlan {
        let Reconnection { delay_min, delay_max, .. } = self.reconnection.unwrap_or_default();
        ConnectionPlan { connections: self.session_limits().max_connections, delay_min, delay_max }
    }
}
