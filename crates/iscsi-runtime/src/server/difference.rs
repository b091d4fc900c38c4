//! What has to change to make one configuration the other: a pure function of the two.
//!
//! What goes stands before what comes, so that an address, a device or a number is free when it is wanted again.

use super::change::{Change, ServerSetting, TargetSetting};
use super::configuration::Configuration;
use super::disk::DiskSource;
use super::target::Target;
use std::net::SocketAddr;

impl Configuration {
    /// The changes that make of this configuration the other; none if they are the same but for the order of targets and addresses. Each has at
    /// most one target of a name.
    #[must_use]
    pub fn changes_to(&self, new: &Self) -> Vec<Change> {
        let (mut goes, mut comes) = self.changes_of_portals(new);
        let (mut other, mut units) = (self.changes_of_settings(new), Vec::new());
        for target in &new.targets {
            match self.target(&target.name) {
                None => comes.push(Change::AddTarget(Box::new(target.clone()))),
                Some(old) => {
                    old.changes_of_units(target, &mut goes, &mut units);
                    other.extend(old.changes_of_settings(target));
                }
            }
        }
        let gone = self.targets.iter().filter(|target| new.target(&target.name).is_none());
        goes.extend(gone.map(|target| Change::RemoveTarget(target.name.clone())));
        [goes, other, units, comes].concat()
    }

    fn changes_of_portals(&self, new: &Self) -> (Vec<Change>, Vec<Change>) {
        let mut gone = without(&self.portals, &new.portals);
        let mut come = without(&new.portals, &self.portals);
        let mut moved = Vec::new();
        // Where the system chooses the port, two addresses that read alike are not the same.
        gone.retain(|&(address, from)| {
            let place = come.iter().position(|(other, _)| *other == address && address.port() != 0);
            let to = place.map(|place| come.remove(place).1);
            moved.extend(to.map(|to| Change::MovePortal { address, from, to }));
            to.is_none()
        });
        let gone = gone.into_iter().map(|(address, tag)| Change::RemovePortal(address, tag));
        let come = come.into_iter().map(|(address, tag)| Change::AddPortal(address, tag));
        (gone.chain(moved).collect(), come.collect())
    }

    fn changes_of_settings(&self, new: &Self) -> Vec<Change> {
        let settings = [
            changed(
                &self.discovery_authentication,
                &new.discovery_authentication,
                ServerSetting::DiscoveryAuthentication,
            ),
            changed(&self.access_order, &new.access_order, ServerSetting::AccessOrder),
            changed(&self.limits, &new.limits, ServerSetting::Limits),
            changed(&self.login_timeout, &new.login_timeout, ServerSetting::LoginTimeout),
            changed(&self.advertised, &new.advertised, ServerSetting::Advertised),
            changed(&self.portal_groups, &new.portal_groups, ServerSetting::PortalGroups),
            changed(&self.cores, &new.cores, ServerSetting::Cores),
            changed(&self.connections_max, &new.connections_max, ServerSetting::ConnectionsMax),
            changed(&self.busy_poll, &new.busy_poll, ServerSetting::BusyPoll),
            changed(&self.capture, &new.capture, ServerSetting::Capture),
            changed(&self.state, &new.state, ServerSetting::State),
        ];
        settings.into_iter().flatten().map(Change::Set).collect()
    }
}

impl Target {
    fn changes_of_settings(&self, new: &Self) -> impl Iterator<Item = Change> {
        let settings = [
            changed(&self.alias, &new.alias, TargetSetting::Alias),
            changed(&self.authentication, &new.authentication, TargetSetting::Authentication),
            changed(&self.access, &new.access, TargetSetting::Access),
            changed(&self.resettable, &new.resettable, TargetSetting::Resettable),
            changed(&self.moved, &new.moved, TargetSetting::Moved),
            changed(&self.redirects, &new.redirects, TargetSetting::Redirects),
            changed(&self.limits, &new.limits, TargetSetting::Limits),
            changed(&self.window, &new.window, TargetSetting::Window),
            changed(&self.availability, &new.availability, TargetSetting::Availability),
            changed(&self.portal_groups, &new.portal_groups, TargetSetting::PortalGroups),
            changed(&self.portals, &new.portals, TargetSetting::Portals),
            changed(&self.management_addresses, &new.management_addresses, TargetSetting::ManagementAddresses),
        ];
        let name = self.name.clone();
        settings.into_iter().flatten().map(move |setting| Change::SetTarget(name.clone(), setting))
    }

    fn changes_of_units(&self, new: &Self, goes: &mut Vec<Change>, comes: &mut Vec<Change>) {
        let target = || self.name.clone();
        let find = |disks: &[(u16, DiskSource)], number: u16| -> Option<DiskSource> {
            disks.iter().find(|(other, _)| *other == number).map(|(_, disk)| disk.clone())
        };
        for (number, old) in &self.disks {
            let number = *number;
            match find(&new.disks, number) {
                Some(new) if *old == new => {}
                Some(new) => match size_alone(old, &new) {
                    Some(bytes) => comes.push(Change::ResizeLun { target: target(), number, bytes }),
                    None => {
                        goes.push(Change::RemoveLun { target: target(), number });
                        comes.push(Change::AddLun { target: target(), number, disk: new });
                    }
                },
                None => goes.push(Change::RemoveLun { target: target(), number }),
            }
        }
        let added = new.disks.iter().filter(|(number, _)| find(&self.disks, *number).is_none());
        comes.extend(added.map(|(number, disk)| Change::AddLun {
            target: target(),
            number: *number,
            disk: disk.clone(),
        }));
    }
}

/// The new value of a setting, if it is another.
fn changed<T: Clone + PartialEq, S>(old: &T, new: &T, setting: impl Fn(T) -> S) -> Option<S> {
    (old != new).then(|| setting(new.clone()))
}

/// What is in `portals` more often than in `others`.
fn without(portals: &[(SocketAddr, u16)], others: &[(SocketAddr, u16)]) -> Vec<(SocketAddr, u16)> {
    let mut others = others.to_vec();
    let mut left = portals.to_vec();
    left.retain(|portal| {
        let place = others.iter().position(|other| other == portal);
        place.map(|place| others.swap_remove(place)).is_none()
    });
    left
}

/// The new size, if two descriptions of a disk differ in nothing else.
fn size_alone(old: &DiskSource, new: &DiskSource) -> Option<u64> {
    let (DiskSource::Described(old), DiskSource::Described(new)) = (old, new) else { return None };
    let (mut old, mut resized) = (old.clone(), new.clone());
    let bytes = *resized.size_bytes()?;
    *old.size_bytes()? = bytes;
    (old == *new).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PortalGroup;
    use block_store::{StoreKind, StoreSpec};
    use iscsi_node::target::{AccessOrder, AccessRule, Availability, Moved, PortalAddress, Redirect};
    use iscsi_session::{Authentication, ChapAlgorithm, Credential, Limits, Secret};
    use proptest::collection::{btree_map, vec};
    use proptest::option::of;
    use proptest::prelude::*;
    use scsi_block::vpd::ManagementAddress;
    use std::time::Duration;

    fn authentication() -> impl Strategy<Value = Authentication> {
        (0..3u8).prop_map(|number| match number {
            0 => Authentication::None,
            number => {
                let secret = Secret::new([number; 16]).unwrap();
                let user = Credential { name: "user".into(), secret };
                Authentication::chap(vec![user], None, ChapAlgorithm::ALL.to_vec()).unwrap()
            }
        })
    }

    fn limits() -> impl Strategy<Value = Limits> {
        (1..4u16).prop_map(|max_connections| Limits { max_connections, ..Limits::default() })
    }

    fn disk() -> impl Strategy<Value = DiskSource> {
        let kind = prop_oneof![
            (1..3u64).prop_map(|size_bytes| StoreKind::Memory { size_bytes }),
            (1..3u64).prop_map(|size_bytes| StoreKind::Null { size_bytes }),
            of(1..3u64).prop_map(|size_bytes| StoreKind::File { path: "a".into(), size_bytes, direct: false }),
        ];
        (kind, any::<bool>()).prop_map(|(kind, read_only)| StoreSpec { read_only, ..StoreSpec::new(kind) }.into())
    }

    fn target() -> impl Strategy<Value = Target> {
        let moved = (0..2u8).prop_map(|number| Moved { address: format!("192.0.2.{number}"), permanent: number > 0 });
        let rules = vec("[ab]".prop_map(AccessRule::of_initiator), 0..3);
        let redirects = vec((1..3u16).prop_map(|tag| Redirect::new(tag, vec!["192.0.2.9".into()])), 0..2);
        let availability = prop_oneof![Just(Availability::Open), Just(Availability::Stopped)];
        let first = (of("[ab]"), btree_map(0..4u16, disk(), 0..4), authentication(), of(rules), any::<bool>());
        let moved = (of(moved), redirects);
        let portals = vec((0..2u16).prop_map(|port| (SocketAddr::from(([127, 0, 0, 1], port)), 1)), 0..2);
        let groups = (of(vec(1..3u16, 1..3)), of(portals));
        let second = (moved, of(limits()), of(1..3u32), availability, groups, vec("[ab]", 0..2));
        (first, second).prop_map(|(first, second)| {
            let (alias, disks, authentication, access, resettable) = first;
            let ((moved, redirects), limits, window, availability, (portal_groups, portals), urls) = second;
            let disks = disks.into_iter().collect();
            let management_addresses = urls.into_iter().map(ManagementAddress::new).collect();
            Target {
                alias,
                disks,
                authentication,
                access,
                resettable,
                moved,
                redirects,
                limits,
                window,
                availability,
                portal_groups,
                portals,
                management_addresses,
                ..Target::new("")
            }
        })
    }

    fn configuration() -> impl Strategy<Value = Configuration> {
        let portal = (0..2u16, 1..4u16).prop_map(|(port, tag)| (SocketAddr::from(([127, 0, 0, 1], port)), tag));
        let told = (1..4u16).prop_map(|tag| PortalAddress::new("a", tag));
        let groups = vec((1..4u16).prop_map(PortalGroup::new), 0..2);
        let first = (btree_map("[a-d]", target(), 0..4), vec(portal, 0..5), groups, vec(told, 0..2), authentication());
        let order = prop_oneof![Just(AccessOrder::BeforeAuthentication), Just(AccessOrder::AfterAuthentication)];
        let second = ((limits(), order), 1..3u64, of(1..3usize), of(1..3usize), of(1..3u64), of("[ab]"), of("[ab]"));
        (first, second).prop_map(|(first, second)| {
            let (targets, portals, portal_groups, advertised, discovery_authentication) = first;
            let ((limits, access_order), seconds, cores, connections_max, busy_poll, capture, state) = second;
            let targets = targets.into_iter().map(|(name, target)| Target { name, ..target }).collect();
            Configuration {
                targets,
                portals,
                portal_groups,
                advertised,
                discovery_authentication,
                access_order,
                limits,
                login_timeout: Duration::from_secs(seconds),
                cores,
                connections_max,
                busy_poll: busy_poll.map(Duration::from_micros),
                capture: capture.map(Into::into),
                state: state.map(Into::into),
            }
        })
    }

    /// Orders that mean nothing are the same.
    fn sorted(mut configuration: Configuration) -> Configuration {
        configuration.targets.sort_by(|one, other| one.name.cmp(&other.name));
        configuration.portals.sort_unstable();
        configuration
    }

    proptest! {
        #[test]
        fn the_difference_makes_the_one_the_other(old in configuration(), new in configuration()) {
            let mut made = old.clone();
            for change in old.changes_to(&new) {
                let before = made.clone();
                change.clone().apply(&mut made);
                prop_assert_ne!(&before, &made, "{} changes nothing", change);
            }
            prop_assert_eq!(sorted(made), sorted(new));
        }

        #[test]
        fn what_is_the_same_does_not_differ(configuration in configuration()) {
            prop_assert_eq!(configuration.changes_to(&configuration), []);
        }
    }

    #[test]
    fn an_address_of_another_group_and_a_disk_of_another_size_stay_where_they_are() {
        let of = |tag: u16, size_bytes: u64| Configuration {
            portals: vec![(SocketAddr::from(([127, 0, 0, 1], 1)), tag)],
            targets: vec![Target::new("a").lun(0, StoreSpec::new(StoreKind::Memory { size_bytes }))],
            ..Configuration::default()
        };
        let changes = of(1, 512).changes_to(&of(2, 1024));
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let resized = Change::ResizeLun { target: "a".into(), number: 0, bytes: 1024 };
        assert_eq!(changes, [Change::MovePortal { address, from: 1, to: 2 }, resized]);
    }
}
