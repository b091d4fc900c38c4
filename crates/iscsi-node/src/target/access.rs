//! Who may log in to a target, from where, to where, and with which rights to its units: rules of the target's owner.

use super::portal::PortalAddress;
use scsi_block::{Rights, UnitRight};
use std::net::IpAddr;

/// Whom a rule is about, and what they may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRule {
    /// Names of initiators, normalised; empty for all.
    pub initiators: Vec<String>,
    /// Addresses that they come from; empty for all.
    pub sources: Vec<IpAddr>,
    /// Addresses of the target that they come to; empty for all.
    pub destinations: Vec<IpAddr>,
    /// What they may do: the first that names a unit holds; empty for everything.
    pub rights: Vec<UnitRight>,
}

impl AccessRule {
    /// A rule that lets the initiator of this name do everything.
    #[must_use]
    pub fn of_initiator(name: impl Into<String>) -> Self {
        Self { initiators: vec![name.into()], ..Self::default() }
    }

    fn is_about(&self, initiator: &str, ends: Option<Ends>) -> bool {
        let is_one_of = |list: &[IpAddr], address: fn(Ends) -> IpAddr| {
            list.is_empty() || ends.is_some_and(|ends| list.contains(&address(ends).to_canonical()))
        };
        (self.initiators.is_empty() || self.initiators.iter().any(|name| name == initiator))
            && is_one_of(&self.sources, |ends| ends.initiator)
            && is_one_of(&self.destinations, |ends| ends.target)
    }

    fn rights(&self) -> Vec<UnitRight> {
        const EVERYTHING: UnitRight = UnitRight { units: 0..=u16::MAX, write: true };
        if self.rights.is_empty() { vec![EVERYTHING] } else { self.rights.clone() }
    }
}

/// Who may log in to a target. The default lets everybody do everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessList(Option<Vec<AccessRule>>);

impl AccessList {
    /// Those that one of these rules is about and nobody else. Of a unit that several name, the first holds.
    #[must_use]
    pub fn of(rules: impl IntoIterator<Item = AccessRule>) -> Self {
        Self(Some(rules.into_iter().collect()))
    }

    /// What an initiator may do; `None` if it may not log in.
    #[must_use]
    pub fn rights(&self, initiator: &str, ends: Option<Ends>) -> Option<Rights> {
        let Some(rules) = &self.0 else { return Some(Rights::default()) };
        let mut about = rules.iter().filter(|rule| rule.is_about(initiator, ends)).peekable();
        about.peek()?;
        Some(Rights::of(about.flat_map(AccessRule::rights)))
    }
}

/// When those are turned away whom no rule is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessOrder {
    /// As soon as they have said who they are: they need not prove it.
    #[default]
    BeforeAuthentication,
    /// When they have proven what the target asks for, so that whoever cannot learns nothing of the list.
    AfterAuthentication,
}

/// The addresses of the two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The initiator's.
    pub initiator: IpAddr,
    /// The target's.
    pub target: IpAddr,
}

/// Where a connection comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrance {
    /// The portal that the initiator has connected to.
    pub portal: PortalAddress,
    /// The addresses of the two ends; rules about addresses are about nobody where they are not known.
    pub ends: Option<Ends>,
}

impl From<PortalAddress> for Entrance {
    fn from(portal: PortalAddress) -> Self {
        Self { portal, ends: None }
    }
}

impl From<&str> for Entrance {
    /// By an address of the portal group 1.
    fn from(address: &str) -> Self {
        PortalAddress::from(address).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(initiator: &str, target: &str) -> Option<Ends> {
        Some(Ends { initiator: initiator.parse().unwrap(), target: target.parse().unwrap() })
    }

    const READ: UnitRight = UnitRight { units: 0..=0, write: false };
    const ALL: UnitRight = UnitRight { units: 0..=u16::MAX, write: true };

    #[test]
    fn without_a_list_everybody_may_do_everything() {
        assert_eq!(AccessList::default().rights("iqn.a:h", None), Some(Rights::default()));
        assert_eq!(AccessList::of([]).rights("iqn.a:h", None), None);
    }

    #[test]
    fn a_rule_is_about_those_that_all_of_it_names() {
        let rule = AccessRule {
            initiators: vec!["iqn.a:h".into(), "iqn.a:i".into()],
            sources: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            destinations: vec!["192.0.2.9".parse().unwrap()],
            rights: vec![READ],
        };
        let list = AccessList::of([rule]);
        for (initiator, ends, is_let_in) in [
            ("iqn.a:h", ends("192.0.2.1", "192.0.2.9"), true),
            ("iqn.a:i", ends("2001:db8::1", "192.0.2.9"), true),
            ("iqn.a:i", ends("::ffff:192.0.2.1", "::ffff:192.0.2.9"), true),
            ("iqn.a:j", ends("192.0.2.1", "192.0.2.9"), false),
            ("iqn.a:h", ends("192.0.2.2", "192.0.2.9"), false),
            ("iqn.a:h", ends("192.0.2.1", "192.0.2.8"), false),
            ("iqn.a:h", ends("192.0.2.9", "192.0.2.1"), false),
            ("iqn.a:h", None, false),
        ] {
            let expected = is_let_in.then(|| Rights::of([READ]));
            assert_eq!(list.rights(initiator, ends), expected, "{initiator} {ends:?}");
        }
    }

    #[test]
    fn of_several_rules_the_first_that_names_a_unit_holds() {
        let reader = AccessRule { rights: vec![READ], ..AccessRule::of_initiator("iqn.a:h") };
        let network = AccessRule { sources: vec!["192.0.2.1".parse().unwrap()], ..AccessRule::default() };
        let list = AccessList::of([reader, network]);
        assert_eq!(list.rights("iqn.a:h", ends("192.0.2.1", "192.0.2.9")), Some(Rights::of([READ, ALL])));
        assert_eq!(list.rights("iqn.a:i", ends("192.0.2.1", "192.0.2.9")), Some(Rights::of([ALL])));
        assert_eq!(list.rights("iqn.a:h", ends("192.0.2.2", "192.0.2.9")), Some(Rights::of([READ])));
        assert_eq!(list.rights("iqn.a:i", ends("192.0.2.2", "192.0.2.9")), None);
    }
}
