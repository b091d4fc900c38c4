//! One target.

use crate::acl::Acl;
use crate::device::Device;
use crate::key::{Key, KeyInfo, changes, field, infos, shown};
use crate::portal_group::PortalGroup;
use crate::value::{AuthMethod, ChapPolicy, Digest, Fixed, Name, Ranged, Text};
use iscsi_session::Credential;

/// A number of bytes in a PDU or a burst.
type Length = Ranged<512, 0xff_ffff>;

/// A block `target:`. What is negotiated with an initiator is what RFC 7143 chapter 13 makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The name.
    pub name: Name,
    /// A text for people.
    pub alias: Text<255>,
    /// Connections of a session.
    pub max_connections: Ranged<1, 65535>,
    /// Whether data waits for an R2T.
    pub initial_r2t: bool,
    /// Whether data may come with a command.
    pub immediate_data: bool,
    /// Bytes of unsolicited data of a command.
    pub first_burst_length: Length,
    /// Bytes of a sequence of data.
    pub max_burst_length: Length,
    /// Seconds to wait before tasks may be reassigned.
    pub default_time_2_wait: Ranged<0, 3600>,
    /// Seconds for which tasks may be.
    pub default_time_2_retain: Ranged<0, 3600>,
    /// R2Ts of a command.
    pub max_outstanding_r2t: Ranged<1, 65535>,
    /// Whether the PDUs of a sequence come in order.
    pub data_pdu_in_order: bool,
    /// Whether sequences come in order.
    pub data_sequence_in_order: bool,
    /// The error recovery level.
    pub error_recovery_level: Ranged<0, 2>,
    /// Digests of headers, the preferred one first.
    pub header_digest: Vec<Digest>,
    /// Digests of data, the preferred one first.
    pub data_digest: Vec<Digest>,
    /// How an initiator may prove who it is.
    pub auth_method: Vec<AuthMethod>,
    /// Bytes of data in a PDU that the target receives.
    pub max_recv_data_segment_length: Length,
    /// No markers are sent.
    pub of_marker: Fixed,
    /// No markers are received.
    pub if_marker: Fixed,
    /// Means nothing without markers.
    pub of_mark_int: Ranged<1, 65535>,
    /// Means nothing without markers.
    pub if_mark_int: Ranged<1, 65535>,
    /// Who may log in with CHAP.
    pub chap_initiators: Vec<Credential>,
    /// Who the target proves to be.
    pub chap_target: Option<Credential>,
    /// Bytes of a challenge.
    pub chap_challenge_length: Ranged<16, 1024>,
    /// Who proves who they are.
    pub chap_policy: ChapPolicy,
    /// Where initiators find it, at least one.
    pub portal_groups: Vec<PortalGroup>,
    /// Whether portal groups without a list to redirect to are on other machines.
    pub shadow_mode: bool,
    /// Commands of a session.
    pub session_max_commands: Ranged<1, 2048>,
    /// The logical units, from 0.
    pub devices: Vec<Device>,
    /// Whether the access control list holds.
    pub acl_enable: bool,
    /// Who may do what.
    pub acls: Vec<Acl>,
    /// Whether an iSNS server is told.
    pub register_isns: bool,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            name: Name::default(),
            alias: Text::default(),
            max_connections: Ranged::of(1),
            initial_r2t: true,
            immediate_data: true,
            first_burst_length: Ranged::of(65536),
            max_burst_length: Ranged::of(262_144),
            default_time_2_wait: Ranged::of(2),
            default_time_2_retain: Ranged::of(20),
            max_outstanding_r2t: Ranged::of(1),
            data_pdu_in_order: true,
            data_sequence_in_order: true,
            error_recovery_level: Ranged::of(0),
            header_digest: vec![Digest::None],
            data_digest: vec![Digest::None],
            auth_method: vec![AuthMethod::None, AuthMethod::Chap],
            max_recv_data_segment_length: Ranged::of(8192),
            of_marker: Fixed,
            if_marker: Fixed,
            of_mark_int: Ranged::of(2048),
            if_mark_int: Ranged::of(2048),
            chap_initiators: Vec::new(),
            chap_target: None,
            chap_challenge_length: Ranged::of(16),
            chap_policy: ChapPolicy::Oneway,
            portal_groups: Vec::new(),
            shadow_mode: false,
            session_max_commands: Ranged::of(64),
            devices: Vec::new(),
            acl_enable: false,
            acls: Vec::new(),
            register_isns: true,
        }
    }
}

impl Target {
    pub(crate) const KEYS: &'static [Key<Self>] = &[
        field!("TargetName", Never, name: Name),
        field!("TargetAlias", NewLogins, alias: Text<255>),
        field!("MaxConnections", NewLogins, max_connections: Ranged<1, 65535>),
        field!("InitialR2T", NewLogins, initial_r2t: bool),
        field!("ImmediateData", NewLogins, immediate_data: bool),
        field!("FirstBurstLength", NewLogins, first_burst_length: Length),
        field!("MaxBurstLength", NewLogins, max_burst_length: Length),
        field!("DefaultTime2Wait", NewLogins, default_time_2_wait: Ranged<0, 3600>),
        field!("DefaultTime2Retain", NewLogins, default_time_2_retain: Ranged<0, 3600>),
        field!("MaxOutstandingR2T", NewLogins, max_outstanding_r2t: Ranged<1, 65535>),
        field!("DataPDUInOrder", NewLogins, data_pdu_in_order: bool),
        field!("DataSequenceInOrder", NewLogins, data_sequence_in_order: bool),
        field!("ErrorRecoveryLevel", NewLogins, error_recovery_level: Ranged<0, 2>),
        field!("HeaderDigest", NewLogins, header_digest: Vec<Digest>),
        field!("DataDigest", NewLogins, data_digest: Vec<Digest>),
        field!("AuthMethod", NewLogins, auth_method: Vec<AuthMethod>),
        field!("MaxRecvDataSegmentLength", NewLogins, max_recv_data_segment_length: Length),
        field!("OFMarker", NewLogins, of_marker: Fixed),
        field!("IFMarker", NewLogins, if_marker: Fixed),
        field!("OFMarkInt", NewLogins, of_mark_int: Ranged<1, 65535>),
        field!("IFMarkInt", NewLogins, if_mark_int: Ranged<1, 65535>),
        field!("Auth_CHAP_Initiator", NewLogins, chap_initiators: Vec<Credential>),
        field!("Auth_CHAP_Target", NewLogins, chap_target: Option<Credential>),
        field!("Auth_CHAP_ChallengeLength", NewLogins, chap_challenge_length: Ranged<16, 1024>),
        field!("Auth_CHAP_Policy", NewLogins, chap_policy: ChapPolicy),
        field!("PortalGroup", AtOnce, portal_groups: Vec<PortalGroup>),
        field!("ShadowMode", NewLogins, shadow_mode: bool),
        field!("TargetSessionMaxCmd", Never, session_max_commands: Ranged<1, 2048>),
        field!("TargetDevice", AtOnce, devices: Vec<Device>),
        field!("ACL_Enable", Never, acl_enable: bool),
        field!("ACL", Never, acls: Vec<Acl>),
        field!("RegisteriSNS", NewLogins, register_isns: bool),
    ];

    /// The keys of the block, in the order in which they are printed.
    #[must_use]
    pub fn keys() -> Vec<KeyInfo> {
        infos(Self::KEYS)
    }

    /// The keys by which `new` differs from this.
    #[must_use]
    pub fn changes(&self, new: &Self) -> Vec<KeyInfo> {
        changes(self, new, Self::KEYS)
    }

    /// What each key holds, defaults among them, in a line each; without secrets.
    #[must_use]
    pub fn shown(&self) -> Vec<(&'static str, Vec<String>)> {
        shown(self, Self::KEYS)
    }
}
