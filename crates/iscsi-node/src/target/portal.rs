//! What network portals offer: targets, who may use them, and how logins are judged.

use super::access::{AccessList, AccessOrder, Entrance};
use iscsi_pdu::LoginStatus;
use iscsi_session::target::{Identification, LoginIdentity, LoginPolicy, Refusal, TargetRecord};
use iscsi_session::{Authentication, Limits, SessionType};
use scsi_block::{Rights, TargetDevice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// One iSCSI target of a portal.
#[derive(Clone, Debug)]
pub struct TargetConfig {
    /// TargetName, normalised.
    pub name: String,
    /// TargetAlias, a text for people.
    pub alias: Option<String>,
    /// The SCSI device behind it. A portal group is a target port of it, whose relative identifier is the portal group tag; through others
    /// the target is not reached, and not told of.
    pub device: Arc<TargetDevice>,
    /// What an initiator has to prove.
    pub authentication: Authentication,
    /// The addresses that are listened on for it, with the tags of its portal groups; `None` for all, with the tags that they have for all.
    pub portals: Option<Vec<(SocketAddr, u16)>>,
    /// Who may log in, and what they may do.
    pub access: AccessList,
    /// Whether an initiator may reset the target for all others (TARGET WARM RESET, TARGET COLD RESET).
    pub resettable: bool,
    /// Where initiators are sent that log in; `None` lets them in here.
    pub moved: Option<Moved>,
    /// Portal groups that send initiators to others.
    pub redirects: Vec<Redirect>,
    /// What is negotiated at most, where that is not what all targets have in common.
    pub limits: Option<Limits>,
    /// Commands that one session may have open, where that is not what all targets have in common.
    pub window: Option<u32>,
    /// Whether logins are let in.
    pub availability: Availability,
}

/// Whether a target lets logins in that are otherwise good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Availability {
    /// It does.
    #[default]
    Open,
    /// It does not for a while: they are told so (Service unavailable, RFC 7143 section 11.13.5), and discovery does not tell of it.
    Stopped,
    /// It is no more.
    Gone,
}

/// Where a target is to be found instead (RFC 7143 section 11.13.5, status class 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// `host[:port]`, an IPv6 address in brackets.
    pub address: String,
    /// Whether it stays there, so that nobody need ask here again.
    pub permanent: bool,
}

/// A portal group that lets nobody in and sends initiators to other addresses of its target, one after the other.
#[derive(Clone, Debug)]
pub struct Redirect {
    portal_group_tag: u16,
    addresses: Vec<String>,
    /// How many were sent already, by whomever has this redirect too.
    next: Arc<AtomicUsize>,
}

impl PartialEq for Redirect {
    fn eq(&self, other: &Self) -> bool {
        (self.portal_group_tag, &self.addresses) == (other.portal_group_tag, &other.addresses)
    }
}

impl Redirect {
    /// Sends those who come through the group with this tag to `addresses`, each `host[:port]`, an IPv6 address in brackets.
    ///
    /// # Panics
    /// There is no address.
    #[must_use]
    pub fn new(portal_group_tag: u16, addresses: Vec<String>) -> Self {
        assert!(!addresses.is_empty(), "initiators are sent somewhere");
        Self { portal_group_tag, addresses, next: Arc::default() }
    }

    fn next(&self) -> &str {
        &self.addresses[self.next.fetch_add(1, Ordering::Relaxed) % self.addresses.len()]
    }
}

/// An address at which targets are found, and the portal group that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortalAddress {
    /// `host:port`, an IPv6 address in brackets.
    pub address: String,
    /// Portal group tag (RFC 7143 section 13.9), at least 1: for targets that have no tag of their own for it.
    pub portal_group_tag: u16,
    /// The address that is listened on there, if it is known: what targets have tags for.
    pub listener: Option<SocketAddr>,
}

impl PortalAddress {
    /// An address of which nobody knows where it leads to here.
    #[must_use]
    pub fn new(address: impl Into<String>, portal_group_tag: u16) -> Self {
        Self { address: address.into(), portal_group_tag, listener: None }
    }
}

impl From<&str> for PortalAddress {
    /// An address of the portal group 1.
    fn from(address: &str) -> Self {
        Self::new(address, 1)
    }
}

impl std::fmt::Display for PortalAddress {
    // RFC 7143 13.8-2: host, port and tag.
    /// As SendTargets tells it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{}", self.address, self.portal_group_tag)
    }
}

impl TargetConfig {
    /// A target of that name, which is to be normalised, that lets everybody in.
    #[must_use]
    pub fn new(name: impl Into<String>, device: Arc<TargetDevice>) -> Self {
        Self {
            name: name.into(),
            alias: None,
            device,
            authentication: Authentication::None,
            portals: None,
            access: AccessList::default(),
            resettable: false,
            moved: None,
            redirects: Vec::new(),
            limits: None,
            window: None,
            availability: Availability::Open,
        }
    }

    /// The tag of its portal group that an address is of, if it is reached there.
    #[must_use]
    pub fn portal_group_tag(&self, portal: &PortalAddress) -> Option<u16> {
        let tag = match (&self.portals, portal.listener) {
            (Some(portals), Some(listener)) => portals.iter().find(|(address, _)| *address == listener)?.1,
            _ => portal.portal_group_tag,
        };
        self.device.has_target_port(tag).then_some(tag)
    }

    fn redirect(&self, portal_group_tag: u16) -> Option<&Redirect> {
        self.redirects.iter().find(|redirect| redirect.portal_group_tag == portal_group_tag)
    }

    fn allows(&self, initiator: &str, entrance: &Entrance) -> bool {
        self.access.rights(initiator, entrance.ends).is_some()
    }

    /// What an initiator may do that was let in; nothing if it is let in no more.
    pub(crate) fn rights(&self, initiator: &str, entrance: &Entrance) -> Rights {
        self.access.rights(initiator, entrance.ends).unwrap_or_else(|| Rights::of([]))
    }
}

/// What network portals offer. The same value serves all cores, and all portal groups.
#[derive(Clone, Debug)]
pub struct Portal {
    /// The targets. One that is gone keeps its place, so that places name targets for ever.
    pub targets: Vec<TargetConfig>,
    /// What an initiator has to prove in a discovery session, or may.
    pub discovery_authentication: Authentication,
    /// When the access lists of the targets are looked at.
    pub access_order: AccessOrder,
    /// Addresses that SendTargets tells, and no others; empty tells the one that the initiator has connected to, and `addresses`.
    pub advertised_addresses: Vec<PortalAddress>,
    /// Addresses at which the targets are found, as far as they are known.
    pub addresses: Vec<PortalAddress>,
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
    /// Immediate commands that one connection may have open beside them, at least 1, and as many immediate task management functions; more are
    /// rejected (RFC 7143 section 4.2.2.1).
    pub immediate_max: u32,
}

impl Portal {
    /// A portal without targets and with values that suit most.
    #[must_use]
    pub fn new() -> Self {
        Self {
            targets: Vec::new(),
            discovery_authentication: Authentication::None,
            access_order: AccessOrder::default(),
            advertised_addresses: Vec::new(),
            addresses: Vec::new(),
            limits: Limits::default(),
            login_timeout: Duration::from_secs(15),
            ping_interval: Some(Duration::from_secs(60)),
            ping_timeout: Duration::from_secs(30),
            logout_grace: Duration::from_secs(3),
            window: 256,
            immediate_max: 16,
        }
    }

    /// The target of that name, unless it is gone.
    pub fn target_mut(&mut self, name: &str) -> Option<&mut TargetConfig> {
        self.find(name).map(|place| &mut self.targets[place])
    }

    /// The place of the target of that name in `targets`, unless it is gone.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.targets.iter().position(|target| target.availability != Availability::Gone && target.name == name)
    }

    /// Who may go on with a login, and what has to be proven.
    pub(crate) fn identify(&self, identity: &LoginIdentity, entrance: &Entrance) -> Identification {
        self.judge(identity, entrance, self.access_order == AccessOrder::BeforeAuthentication)
    }

    /// Whether a login may end that has proven something, and what it has to have proven.
    pub(crate) fn reconsider(&self, identity: &LoginIdentity, entrance: &Entrance) -> Identification {
        self.judge(identity, entrance, true)
    }

    fn judge(&self, identity: &LoginIdentity, entrance: &Entrance, looks_at_list: bool) -> Identification {
        let refuse = |status| Identification::Refuse(Refusal { status, target_address: None });
        let target = match (identity.session_type, &identity.target_name) {
            (SessionType::Discovery, _) => None,
            (SessionType::Normal, None) => return refuse(LoginStatus::MissingParameter),
            (SessionType::Normal, Some(name)) => {
                let target = self.find(name).map(|index| &self.targets[index]);
                match target.and_then(|target| Some((target, target.portal_group_tag(&entrance.portal)?))) {
                    None => return refuse(LoginStatus::NotFound),
                    Some((target, _)) if looks_at_list && !target.allows(&identity.initiator_name, entrance) => {
                        return refuse(LoginStatus::AuthorizationFailure);
                    }
                    Some((TargetConfig { availability: Availability::Stopped, .. }, _)) => {
                        return refuse(LoginStatus::ServiceUnavailable);
                    }
                    Some((TargetConfig { moved: Some(Moved { address, permanent }), .. }, _)) => {
                        return Identification::Refuse(Refusal::redirect(address, *permanent));
                    }
                    Some((target, tag)) => match target.redirect(tag) {
                        Some(redirect) => return Identification::Refuse(Refusal::redirect(redirect.next(), false)),
                        None => Some((target, tag)),
                    },
                }
            }
        };
        let portal_group_tag = target.map_or(entrance.portal.portal_group_tag, |(_, tag)| tag);
        let target = target.map(|(target, _)| target);
        let authentication = target.map_or(&self.discovery_authentication, |target| &target.authentication);
        Identification::Proceed(LoginPolicy {
            authentication: authentication.clone(),
            target_alias: target.and_then(|target| target.alias.clone()),
            portal_group_tag,
            limits: target.and_then(|target| target.limits.clone()),
            window: target.and_then(|target| target.window),
        })
    }

    /// The targets that an initiator may know of, with the addresses at which it finds them and the tags that each target has for them: all that are known (RFC 7143
    /// appendix C), that which it has connected to first.
    pub(crate) fn records(&self, initiator: &str, entrance: &Entrance, only: Option<&str>) -> Vec<TargetRecord> {
        let addresses: Vec<&PortalAddress> = match &self.advertised_addresses[..] {
            [] => {
                let others = self.addresses.iter().filter(|other| other.address != entrance.portal.address);
                std::iter::once(&entrance.portal).chain(others).collect()
            }
            advertised => advertised.iter().collect(),
        };
        let record = |target: &TargetConfig| {
            let tell = |portal: &&PortalAddress| {
                let portal_group_tag = target.portal_group_tag(portal)?;
                Some(PortalAddress { portal_group_tag, ..PortalAddress::clone(portal) }.to_string())
            };
            TargetRecord { name: target.name.clone(), addresses: addresses.iter().filter_map(tell).collect() }
        };
        let wanted = |target: &&TargetConfig| {
            target.availability == Availability::Open
                && target.allows(initiator, entrance)
                && only.is_none_or(|name| name == target.name)
        };
        self.targets.iter().filter(wanted).map(record).filter(|record| !record.addresses.is_empty()).collect()
    }
}

impl Default for Portal {
    fn default() -> Self {
        Self::new()
    }
}
