//! Portal groups: addresses to listen on, each in a group, and the target ports that the groups are for SCSI.

use super::StartError;
use super::listeners::Listener;
use iscsi_node::target::PortalAddress;
use scsi_block::designator::{Association, Designator};
use scsi_block::{AccessState, TargetPort, TargetPortGroup};
use std::net::SocketAddr;

/// Protocol identifier of iSCSI (SPC-5 clause 7.6.1).
pub(super) const ISCSI: u8 = 5;

/// The portal group that an address is in of which nothing else is said.
pub(super) const FIRST_GROUP: u16 = 1;

/// A portal group: to SCSI, a target port of each target, in a target port group of its own. Port and group have the tag as their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortalGroup {
    /// Portal group tag (RFC 7143 section 13.9), at least 1.
    pub tag: u16,
    /// How disks are reached through it until somebody changes that.
    pub access: AccessState,
    /// Whether initiators that may choose are to choose it.
    pub preferred: bool,
}

impl PortalGroup {
    /// A group through which disks are reached in the best way.
    #[must_use]
    pub fn new(tag: u16) -> Self {
        Self { tag, access: AccessState::ActiveOptimized, preferred: false }
    }

    /// The target port group that it is for a target of this name.
    pub(super) fn of_target(&self, target: &str) -> TargetPortGroup {
        // RFC 7143 4.4.2-3: four digits.
        let name = format!("{target},t,0x{:04x}", self.tag);
        let name = Designator::scsi_name(Association::TargetPort, Some(ISCSI), &name);
        let port = TargetPort { identifier: self.tag, name: Some(name) };
        let group = TargetPortGroup::new(self.tag, vec![port]);
        TargetPortGroup { preferred: self.preferred, access: self.access, ..group }
    }
}

/// The groups of these addresses in the order of their tags, and what is said of them.
///
/// # Errors
/// A tag is zero, or something is said of a group that no address is in.
pub(super) fn groups(
    listen: &[(SocketAddr, u16)],
    said: &[PortalGroup],
    advertised: &[PortalAddress],
) -> Result<Vec<PortalGroup>, StartError> {
    let mut tags: Vec<u16> = listen.iter().map(|(_, tag)| *tag).collect();
    tags.sort_unstable();
    tags.dedup();
    let told = advertised.iter().map(|address| address.portal_group_tag);
    if let Some(tag) = said.iter().map(|group| group.tag).chain(told).find(|tag| !tags.contains(tag)) {
        return Err(StartError::Configuration(format!("no address of portal group {tag} is listened on")));
    }
    if tags.first() == Some(&0) {
        return Err(StartError::Configuration("portal groups have the tags 1 to 65535".into()));
    }
    let group = |tag: u16| said.iter().rfind(|group| group.tag == tag).copied().unwrap_or(PortalGroup::new(tag));
    Ok(tags.into_iter().map(group).collect())
}

/// The addresses of which others can be told: not those that stand for all of a host, and those on loopback only where there are no others.
pub(super) fn told(all: &[Listener]) -> Vec<PortalAddress> {
    let is_local = all.iter().all(|listener| listener.address.ip().is_loopback());
    let told = all.iter().filter(|listener| {
        let ip = listener.address.ip();
        !ip.is_unspecified() && (is_local || !ip.is_loopback())
    });
    told.map(|listener| listener.portal(listener.address)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(addresses: &[(&str, u16)]) -> Vec<(SocketAddr, u16)> {
        addresses.iter().map(|(address, tag)| (address.parse().unwrap(), *tag)).collect()
    }

    // RFC 7143 4.4.2-3.
    #[test]
    fn each_tag_is_a_group_once() {
        let addresses = listen(&[("192.0.2.1:3260", 7), ("192.0.2.2:3260", 1), ("192.0.2.3:3260", 7)]);
        let standby = PortalGroup { access: AccessState::Standby, ..PortalGroup::new(7) };
        assert_eq!(groups(&addresses, &[standby], &[]).unwrap(), [PortalGroup::new(1), standby]);
        let port = standby.of_target("iqn.2026-01.org:d");
        assert_eq!((port.number, port.ports[0].identifier, port.access), (7, 7, AccessState::Standby));
        assert_eq!(port.ports[0].name.as_ref().unwrap().to_string(), "iqn.2026-01.org:d,t,0x0007");
    }

    #[test]
    fn what_is_said_of_no_group_is_an_error() {
        let addresses = listen(&[("192.0.2.1:3260", 1)]);
        let error = |listen: &[(SocketAddr, u16)], said: &[PortalGroup], advertised: &[PortalAddress]| {
            groups(listen, said, advertised).unwrap_err().to_string()
        };
        assert!(error(&addresses, &[PortalGroup::new(2)], &[]).contains("portal group 2"));
        let advertised = PortalAddress::new("a:1", 3);
        assert!(error(&addresses, &[], &[advertised]).contains("portal group 3"));
        assert!(error(&listen(&[("192.0.2.1:3260", 0)]), &[], &[]).contains("1 to 65535"));
    }

    #[test]
    fn addresses_that_lead_nowhere_are_not_told() {
        let told = |addresses: &[(&str, u16)]| {
            let listeners =
                listen(addresses).into_iter().map(|(address, tag)| Listener::new(address, tag)).collect::<Vec<_>>();
            super::told(&listeners).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(&[("127.0.0.1:1", 1), ("[::1]:2", 2)]), ["127.0.0.1:1,1", "[::1]:2,2"]);
        assert_eq!(told(&[("127.0.0.1:1", 1), ("0.0.0.0:2", 1), ("192.0.2.1:3", 2)]), ["192.0.2.1:3,2"]);
    }
}
