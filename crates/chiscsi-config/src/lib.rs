//! The configuration file of a Chelsio iSCSI target, `chiscsi.conf`: text to values and back.
//!
//! ```text
//!   text --> lines --> blocks of keys --> values --> what they say of each other --> Configuration
//!               \            \               \                \
//!                `------------`---------------`----------------`--> all faults at once, each with line and key
//!
//!   Configuration --> text
//! ```
//!
//! In: the text of a file. Out: a [`Configuration`], or the [`Faults`] that keep it from being one. Nothing is opened, looked up or started.
//!
//! What it guarantees:
//!
//! - Whatever a file holds, reading it takes time and memory in proportion to its length, at most [`FAULTS_MAX`] faults are told, and nothing panics.
//! - What was written by [`Configuration::to_text`] reads back as the same value.
//! - A secret is in no fault and in no `Debug` output.
//! - One table of keys for each block ([`Global::keys`], [`Target::keys`]) says what is read, printed, documented, and what a change of it asks for.
//!
//! ```
//! use chiscsi_config::{Configuration, Reload};
//!
//! let text = "global:\n\
//!     iscsi_offload_mode=TOE\n\
//!     target:\n\
//!     TargetName=iqn.2004-05.com.chelsio.target0\n\
//!     MaxConnections=4\n\
//!     TargetDevice=/dev/sdb\n\
//!     PortalGroup=1@192.0.2.32:3260\n";
//! let configuration: Configuration = text.parse()?;
//! let target = &configuration.targets[0];
//! assert_eq!(target.max_connections.get(), 4);
//! assert_eq!(target.portal_groups[0].addresses, ["192.0.2.32:3260".parse()?]);
//! assert_eq!(configuration.to_text().parse(), Ok(configuration));
//!
//! let faults = text.replace("=4", "=0").parse::<Configuration>().unwrap_err();
//! assert_eq!(faults.to_string(), "line 5: MaxConnections: expected a number from 1 to 65535, found '0'");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod acl;
mod check;
mod device;
mod fault;
mod global;
mod key;
mod parse;
mod portal_group;
mod target;
mod value;

pub use acl::{Acl, LunRange, LunRight};
pub use device::{Device, DeviceKind};
pub use fault::{FAULTS_MAX, Fault, Faults};
pub use global::{AclOrder, AuthOrder, Global, OffloadMode};
pub use key::{HIDDEN, KeyInfo, Reload};
pub use portal_group::{ISCSI_PORT, PortalGroup};
pub use target::Target;
pub use value::{AuthMethod, ChapPolicy, Digest, Fixed, Name, Ranged, Text};

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// What is said of all targets.
    pub global: Global,
    /// The targets, at least one, in the order of the file.
    pub targets: Vec<Target>,
}

impl Configuration {
    /// The text that reads back as this, with the secrets in it: whoever writes it to a file gives nobody else the right to read that.
    #[must_use]
    pub fn to_text(&self) -> String {
        let blocks = self.targets.iter().map(|target| key::block("target", target, Target::KEYS));
        std::iter::once(key::block("global", &self.global, Global::KEYS)).chain(blocks).collect()
    }
}

impl std::str::FromStr for Configuration {
    type Err = Faults;

    fn from_str(text: &str) -> Result<Self, Faults> {
        parse::parse(text)
    }
}
