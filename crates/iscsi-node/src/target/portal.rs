//! What a network portal offers: targets, who may use them, and how logins are judged.

use iscsi_pdu::LoginStatus;
use iscsi_session::target::{Identification, LoginIdentity, LoginPolicy, Refusal, TargetRecord};
use iscsi_session::{Authentication, Limits, SessionType};
use scsi_block::TargetDevice;
use std::sync::Arc;
use std::time::Duration;

/// One iSCSI target of a portal.
#[derive(Debug)]
pub struct TargetConfig {
    /// TargetName, normalised.
    pub name: String,
    /// TargetAlias, a text for people.
    pub alias: Option<String>,
    /// The SCSI device behind it.
    pub device: Arc<TargetDevice>,
    /// What an initiator has to prove.
    pub authentication: Authentication,
    /// Names of the initiators that may log in; `None` lets all.
    pub initiators: Option<Vec<String>>,
    /// Whether an initiator may reset the target for all others (TARGET WARM RESET, TARGET COLD RESET).
    pub resettable: bool,
    /// Where initiators are sent that log in; `None` lets them in here.
    pub moved: Option<Moved>,
}

/// Where a target is to be found instead (RFC 7143 section 11.13.5, status class 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// `host[:port]`, an IPv6 address in brackets.
    pub address: String,
    /// Whether it stays there, so that nobody need ask here again.
    pub permanent: bool,
}

impl TargetConfig {
    fn allows(&self, initiator: &str) -> bool {
        self.initiators.as_ref().is_none_or(|names| names.iter().any(|name| name == initiator))
    }
}

/// What a network portal offers. The same value serves all cores.
#[derive(Debug)]
pub struct Portal {
    /// The targets.
    pub targets: Vec<TargetConfig>,
    /// What an initiator has to prove in a discovery session, or may.
    pub discovery_authentication: Authentication,
    /// Addresses that SendTargets tells, `host:port`; empty tells the one that the initiator has connected to.
    pub advertised_addresses: Vec<String>,
    /// Portal group tag of all targets.
    pub portal_group_tag: u16,
    /// What is negotiated at most.
    pub limits: Limits,
    /// Time that a login may take.
    pub login_timeout: Duration,
    /// Time after which a silent initiator is pinged; `None` never does.
    pub ping_interval: Option<Duration>,
    /// Time that an initiator has to answer a ping.
    pub ping_timeout: Duration,
    /// Time that an initiator has to log out when asked to.
    pub logout_grace: Duration,
    /// Commands that one session may have open.
    pub window: u32,
}

impl Portal {
    /// A portal without targets and with values that suit most.
    #[must_use]
    pub fn new() -> Self {
        Self {
            targets: Vec::new(),
            discovery_authentication: Authentication::None,
            advertised_addresses: Vec::new(),
            portal_group_tag: 1,
            limits: Limits::default(),
            login_timeout: Duration::from_secs(15),
            ping_interval: Some(Duration::from_secs(60)),
            ping_timeout: Duration::from_secs(30),
            logout_grace: Duration::from_secs(3),
            window: 256,
        }
    }

    /// The place of a target in `targets`.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.targets.iter().position(|target| target.name == name)
    }

    /// Who may go on with a login, and what has to be proven.
    pub(crate) fn identify(&self, identity: &LoginIdentity) -> Identification {
        let refuse = |status| Identification::Refuse(Refusal { status, target_address: None });
        let (authentication, target_alias) = match (identity.session_type, &identity.target_name) {
            (SessionType::Discovery, _) => (&self.discovery_authentication, None),
            (SessionType::Normal, None) => return refuse(LoginStatus::MissingParameter),
            (SessionType::Normal, Some(name)) => match self.find(name).map(|index| &self.targets[index]) {
                None => return refuse(LoginStatus::NotFound),
                Some(target) if !target.allows(&identity.initiator_name) => {
                    return refuse(LoginStatus::AuthorizationFailure);
                }
                Some(TargetConfig { moved: Some(Moved { address, permanent }), .. }) => {
                    return Identification::Refuse(Refusal::redirect(address, *permanent));
                }
                Some(target) => (&target.authentication, target.alias.clone()),
            },
        };
        Identification::Proceed(LoginPolicy {
            authentication: authentication.clone(),
            target_alias,
            portal_group_tag: self.portal_group_tag,
        })
    }

    // RFC 7143 13.8-2: host, port and tag.
    /// The targets that an initiator may know of, with the addresses at which it finds them.
    pub(crate) fn records(&self, initiator: &str, local_address: &str, only: Option<&str>) -> Vec<TargetRecord> {
        let addresses: Vec<String> = if self.advertised_addresses.is_empty() {
            vec![format!("{local_address},{}", self.portal_group_tag)]
        } else {
            self.advertised_addresses.iter().map(|address| format!("{address},{}", self.portal_group_tag)).collect()
        };
        self.targets
            .iter()
            .filter(|target| target.allows(initiator) && only.is_none_or(|name| name == target.name))
            .map(|target| TargetRecord { name: target.name.clone(), addresses: addresses.clone() })
            .collect()
    }
}

impl Default for Portal {
    fn default() -> Self {
        Self::new()
    }
}
