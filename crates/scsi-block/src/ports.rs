//! The target ports of a device, and the groups in which access through them is told and changed (SPC-4 5.16).
//!
//! In: groups with their ports, when a device is built and whenever they are others. Out: the same, looked up; a list is never changed, only
//! replaced. How a unit can be reached through each group just now is state of the unit: see [`access`](crate::access).

use std::sync::Arc;

use crate::access::AccessState;
use crate::config::ConfigError;
use crate::designator::Designator;
use crate::lock::Lock;

/// The most groups that a device has.
pub const GROUPS_MAX: usize = 256;

/// The most ports that one group has: TARGET PORT COUNT is a byte.
pub const GROUP_PORTS_MAX: usize = u8::MAX as usize;

/// One target port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPort {
    /// RELATIVE TARGET PORT IDENTIFIER, at least 1; no other port of the device has it. Registrations of persistent reservations are kept
    /// with it, so that a port has the same for ever.
    pub identifier: u16,
    /// Its name in the transport's own words, with the protocol that it is for.
    pub name: Option<Designator>,
}

impl TargetPort {
    /// PROTOCOL IDENTIFIER of its transport, if it has a name that tells.
    pub(crate) fn protocol(&self) -> Option<u8> {
        self.name.as_ref()?.protocol
    }
}

/// A target port group: ports through which a unit can be reached alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetPortGroup {
    /// TARGET PORT GROUP, at least 1; no other group of the device has it.
    pub number: u16,
    /// Its ports, 1 to [`GROUP_PORTS_MAX`].
    pub ports: Vec<TargetPort>,
    /// PREF: initiators that may choose are to choose this one.
    pub preferred: bool,
    /// How units can be reached through it until somebody changes that.
    pub access: AccessState,
}

impl TargetPortGroup {
    /// A group through which units are reached in the best way.
    pub fn new(number: u16, ports: Vec<TargetPort>) -> Self {
        Self { number, ports, preferred: false, access: AccessState::ActiveOptimized }
    }
}

/// The groups of a device, in the order in which they were given.
#[derive(Debug)]
pub(crate) struct TargetPorts(Vec<TargetPortGroup>);

impl TargetPorts {
    /// # Errors
    /// There are no groups, or too many; a group has no port, or too many; an identifier or number is 0, or given twice; a name is too long.
    pub(crate) fn new(groups: impl IntoIterator<Item = TargetPortGroup>) -> Result<Self, ConfigError> {
        let ports = Self(groups.into_iter().collect());
        ports.check().map(|()| ports)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if !(1..=GROUPS_MAX).contains(&self.0.len()) {
            return Err(ConfigError::TargetPortGroups(self.0.len()));
        }
        if let Some(number) = zero_or_twice(self.0.iter().map(|group| group.number)) {
            return Err(ConfigError::TargetPortGroup(number));
        }
        if let Some(group) = self.0.iter().find(|group| !(1..=GROUP_PORTS_MAX).contains(&group.ports.len())) {
            return Err(ConfigError::TargetPortGroup(group.number));
        }
        if let Some(identifier) = zero_or_twice(self.identifiers().into_iter()) {
            return Err(ConfigError::TargetPort(identifier));
        }
        let mut name_bytes = self.all().filter_map(|(_, port)| Some(port.name.as_ref()?.value.len()));
        match name_bytes.find(|bytes| *bytes > Designator::VALUE_BYTES_MAX) {
            Some(bytes) => Err(ConfigError::Designator(bytes)),
            None => Ok(()),
        }
    }

    /// One port without a name, in a group of its own.
    pub(crate) fn one() -> Self {
        Self(vec![TargetPortGroup::new(1, vec![TargetPort { identifier: 1, name: None }])])
    }

    pub(crate) fn groups(&self) -> &[TargetPortGroup] {
        &self.0
    }

    /// Each port, with its group.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&TargetPortGroup, &TargetPort)> {
        self.0.iter().flat_map(|group| group.ports.iter().map(move |port| (group, port)))
    }

    /// The relative identifiers of all ports.
    pub(crate) fn identifiers(&self) -> Vec<u16> {
        self.all().map(|(_, port)| port.identifier).collect()
    }

    /// The port with this identifier, and its group.
    pub(crate) fn find(&self, identifier: u16) -> Option<(&TargetPortGroup, &TargetPort)> {
        self.all().find(|(_, port)| port.identifier == identifier)
    }

    /// Whether there is a group with this number.
    pub(crate) fn has_group(&self, number: u16) -> bool {
        self.0.iter().any(|group| group.number == number)
    }
}

/// The target ports of a device as they are now, for the device and all its units.
#[derive(Debug)]
pub(crate) struct CurrentPorts(Lock<Arc<TargetPorts>>);

impl CurrentPorts {
    pub(crate) fn new(ports: TargetPorts) -> Self {
        Self(Lock::new(Arc::new(ports)))
    }

    pub(crate) fn get(&self) -> Arc<TargetPorts> {
        Arc::clone(&self.0.lock())
    }

    pub(crate) fn set(&self, ports: TargetPorts) {
        *self.0.lock() = Arc::new(ports);
    }
}

/// A number that no port or group can have.
fn zero_or_twice(numbers: impl Iterator<Item = u16>) -> Option<u16> {
    let mut numbers: Vec<u16> = numbers.collect();
    numbers.sort_unstable();
    let twice = numbers.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
    numbers.first().copied().filter(|least| *least == 0).or(twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(number: u16, identifiers: &[u16]) -> TargetPortGroup {
        let port = |identifier: &u16| TargetPort { identifier: *identifier, name: None };
        TargetPortGroup::new(number, identifiers.iter().map(port).collect())
    }

    #[test]
    fn ports_are_found_with_their_group() {
        let ports = TargetPorts::new([group(7, &[1, 3]), group(9, &[2])]).unwrap();
        assert_eq!(ports.identifiers(), [1, 3, 2]);
        assert_eq!(ports.find(2).map(|(group, port)| (group.number, port.identifier)), Some((9, 2)));
        assert_eq!((ports.find(4), ports.has_group(9), ports.has_group(1)), (None, true, false));
        assert_eq!(TargetPorts::one().identifiers(), [1]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |groups: Vec<TargetPortGroup>| TargetPorts::new(groups).unwrap_err();
        assert_eq!(refused(vec![]), ConfigError::TargetPortGroups(0));
        assert_eq!(refused(vec![group(1, &[])]), ConfigError::TargetPortGroup(1));
        assert_eq!(refused(vec![group(0, &[1])]), ConfigError::TargetPortGroup(0));
        assert_eq!(refused(vec![group(2, &[1]), group(2, &[2])]), ConfigError::TargetPortGroup(2));
        assert_eq!(refused(vec![group(1, &[0])]), ConfigError::TargetPort(0));
        assert_eq!(refused(vec![group(1, &[5]), group(2, &[5])]), ConfigError::TargetPort(5));
        let many: Vec<u16> = (1..=256).collect();
        assert_eq!(refused(vec![group(3, &many)]), ConfigError::TargetPortGroup(3));
        assert_eq!(refused((1..=257).map(|n| group(n, &[n])).collect()), ConfigError::TargetPortGroups(257));
        let name = Designator::scsi_name(crate::designator::Association::TargetPort, None, &"n".repeat(256));
        let mut long = group(1, &[1]);
        long.ports[0].name = Some(name);
        assert_eq!(refused(vec![long]), ConfigError::Designator(260));
    }
}
