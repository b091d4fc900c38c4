//! What is said of all targets.

use crate::key::{Key, KeyInfo, changes, field, infos, shown};
use crate::parse::unknown;
use crate::value::{AuthMethod, ChapPolicy, Ranged, Text, choices};
use iscsi_session::Credential;

choices! {
    /// Where iSCSI is done.
    OffloadMode {
        /// As the adapter and the connection allow.
        Auto = "AUTO",
        /// TCP in the adapter, iSCSI in software.
        Toe = "TOE",
        /// PDUs in the adapter.
        Ulp = "ULP",
    }
}

choices! {
    /// What a login is judged by first.
    AuthOrder {
        /// The access control list, at the first login request.
        Acl = "ACL",
        /// CHAP; the access control list at the end of the login.
        Chap = "CHAP",
    }
}

choices! {
    /// Which access control list is looked at first.
    AclOrder {
        /// That of the file.
        Config = "CONFIG",
        /// That of an iSNS server.
        Isns = "ISNS",
    }
}

/// The block `global:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// Where iSCSI is done.
    pub offload_mode: OffloadMode,
    /// What a login is judged by first, where a target has its access control list enabled.
    pub auth_order: AuthOrder,
    /// Which access control list is looked at first.
    pub acl_order: AclOrder,
    /// Whether another machine may serve the same targets.
    pub high_availability: bool,
    /// What a discovery session proves.
    pub discovery_auth_method: AuthMethod,
    /// Who proves it.
    pub discovery_chap_policy: ChapPolicy,
    /// Who may ask which targets there are.
    pub discovery_chap_initiators: Vec<Credential>,
    /// Who the target proves to be when it is asked that.
    pub discovery_chap_target: Option<Credential>,
    /// Vendor in INQUIRY data.
    pub vendor_id: Text<8>,
    /// What stands in the names of Chelsio's initiators.
    pub chelsio_initiator_id: Text<255>,
    /// Time that a login may take, in seconds; 0 for as long as it likes.
    pub login_complete_seconds: Ranged<0, 3600>,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            offload_mode: OffloadMode::Auto,
            auth_order: AuthOrder::Chap,
            acl_order: AclOrder::Config,
            high_availability: false,
            discovery_auth_method: AuthMethod::None,
            discovery_chap_policy: ChapPolicy::Oneway,
            discovery_chap_initiators: Vec::new(),
            discovery_chap_target: None,
            vendor_id: Text::of("CHISCSI"),
            chelsio_initiator_id: Text::of("cxgb4i"),
            login_complete_seconds: Ranged::of(300),
        }
    }
}

impl Global {
    pub(crate) const KEYS: &'static [Key<Self>] = &[
        field!("iscsi_offload_mode", NewLogins, offload_mode: OffloadMode),
        field!("iscsi_auth_order", NewLogins, auth_order: AuthOrder),
        field!("iscsi_acl_order", NewLogins, acl_order: AclOrder),
        field!("iscsi_HA_mode", NewLogins, high_availability: bool),
        field!("DISC_AuthMethod", NewLogins, discovery_auth_method: AuthMethod),
        field!("DISC_Auth_CHAP_Policy", NewLogins, discovery_chap_policy: ChapPolicy),
        field!("DISC_Auth_CHAP_Initiator", NewLogins, discovery_chap_initiators: Vec<Credential>),
        field!("DISC_Auth_CHAP_Target", NewLogins, discovery_chap_target: Option<Credential>),
        field!("iscsi_target_vendor_id", Never, vendor_id: Text<8>),
        field!("iscsi_chelsio_ini_idstr", NewLogins, chelsio_initiator_id: Text<255>),
        field!("iscsi_login_complete_time", NewLogins, login_complete_seconds: Ranged<0, 3600>),
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

    /// Sets a key to what stands behind it in a file.
    ///
    /// # Errors
    /// There is no such key, it expects something else, or it takes a secret, which is not for where such texts come from.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        let key = Self::KEYS.iter().find(|key| key.name == name).ok_or_else(|| unknown(Self::KEYS, name))?;
        if key.secret {
            return Err(format!(
                "{name}: a secret is not for command lines: write it to the file, and read that again"
            ));
        }
        key.read(self, text.trim(), true)
    }
}
