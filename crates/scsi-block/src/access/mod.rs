//! Asymmetric logical unit access (SPC-4 5.16): how a unit can be reached through each group of target ports.
//!
//! | file | subject |
//! |---|---|
//! | `mod` | the states, what each lets through, and the state of one unit |
//! | `lists` | parameter data of REPORT and SET TARGET PORT GROUPS as bytes |
//! | `referrals` | parameter data of REPORT REFERRALS as bytes |
//!
//! Which groups there are is [data of the device](crate::TargetPortGroup). What a command needs of the way to its unit stands in its row of
//! the [table of commands](crate::opcodes).

mod lists;
mod referrals;

pub(crate) use lists::EXTENDED_HEADER;
pub use lists::{AccessReport, GroupReport, SetAccessList};
pub use referrals::{Referrals, UserDataSegment};

use crate::needs::Needs;
use crate::ports::{TargetPortGroup, TargetPorts};
use crate::reservations::UnknownForm;
use crate::sense::{AdditionalSense, Sense, SenseKey};

/// How a unit can be reached through a target port group: the states that a unit of this crate knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AccessState {
    /// In the best way.
    ActiveOptimized = 0x0,
    /// In full, but another way is better.
    ActiveNonOptimized = 0x1,
    /// For commands about the unit, its reservations and its ports; not for its medium.
    Standby = 0x2,
    /// For commands that ask which units and ports there are, and that change the state.
    Unavailable = 0x3,
    /// Another state is about to be taken. Nothing lasts in it: initiators come again.
    Transitioning = 0xf,
}

impl AccessState {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::ActiveOptimized, Self::ActiveNonOptimized, Self::Standby, Self::Unavailable, Self::Transitioning];

    /// The four bits on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The state with this number, if a unit of this crate knows it.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// Whether SET TARGET PORT GROUPS may ask for it.
    pub const fn is_settable(self) -> bool {
        !matches!(self, Self::Transitioning)
    }

    /// The name in SPC-5's words of the state with this number.
    pub const fn name_of(code: u8) -> &'static str {
        match code {
            0x0 => "active/optimized",
            0x1 => "active/non-optimized",
            0x2 => "standby",
            0x3 => "unavailable",
            0x4 => "logical block dependent",
            0xe => "offline",
            0xf => "transitioning",
            _ => "reserved",
        }
    }

    /// What it lets through (SPC-4 5.16.2).
    pub(crate) const fn leaves(self) -> Needs {
        let standby = Needs::all().difference(Needs::ACTIVE);
        let unavailable = standby.difference(Needs::AVAILABLE);
        match self {
            Self::ActiveOptimized | Self::ActiveNonOptimized => Needs::all(),
            Self::Standby => standby,
            Self::Unavailable => unavailable,
            Self::Transitioning => unavailable.difference(Needs::SETTLED),
        }
    }

    /// Why it does not let a command through, if it is one that does not let all.
    pub(crate) const fn refusal(self) -> Option<Sense> {
        let code = match self {
            Self::ActiveOptimized | Self::ActiveNonOptimized => return None,
            Self::Standby => AdditionalSense::TARGET_PORT_IN_STANDBY_STATE,
            Self::Unavailable => AdditionalSense::TARGET_PORT_IN_UNAVAILABLE_STATE,
            Self::Transitioning => AdditionalSense::ASYMMETRIC_ACCESS_STATE_TRANSITION,
        };
        Some(Sense::new(SenseKey::NotReady, code))
    }
}

impl std::fmt::Display for AccessState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Self::name_of(self.code()))
    }
}

/// Who has changed the state of a group last: STATUS CODE of REPORT TARGET PORT GROUPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ChangedBy {
    Nobody = 0,
    Command = 1,
    Owner = 2,
}

/// How it stands with one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct GroupAccess {
    /// Number of the group.
    group: u16,
    state: AccessState,
    by: ChangedBy,
}

impl GroupAccess {
    /// As it is until somebody changes it.
    fn new(group: &TargetPortGroup) -> Self {
        Self { group: group.number, state: group.access, by: ChangedBy::Nobody }
    }
}

/// How one unit can be reached through each group of the device, in their order.
#[derive(Debug)]
pub(crate) struct Access(Vec<GroupAccess>);

/// The name of the record that it is kept in.
pub(crate) const RECORD: &str = "access";

/// Version of the record's form, its first byte.
const VERSION: u8 = 1;
/// Bytes of a group in the record: its number, the state, who has changed it.
const KEPT_GROUP_BYTES: usize = 4;

impl Access {
    /// As it is until somebody changes it.
    pub(crate) fn new(ports: &TargetPorts) -> Self {
        Self(ports.groups().iter().map(GroupAccess::new).collect())
    }

    /// The groups are others: those that somebody has changed and that stay are reached as before.
    pub(crate) fn follow(&mut self, ports: &TargetPorts) {
        let changed = |number| self.find(number).filter(|own| own.by != ChangedBy::Nobody).copied();
        let groups = ports.groups().iter();
        self.0 = groups.map(|group| changed(group.number).unwrap_or(GroupAccess::new(group))).collect();
    }

    fn find(&self, group: u16) -> Option<&GroupAccess> {
        self.0.iter().find(|own| own.group == group)
    }

    /// As it was kept, empty if nothing ever was; groups that were not there then are as they are until somebody changes them.
    ///
    /// # Errors
    /// What was kept is none of the form.
    pub(crate) fn from_kept(bytes: &[u8], ports: &TargetPorts) -> Result<Self, UnknownForm> {
        let mut access = Self::new(ports);
        let (kept, rest) = match bytes {
            [] => return Ok(access),
            [VERSION, list @ ..] => list.as_chunks::<KEPT_GROUP_BYTES>(),
            _ => return Err(UnknownForm(RECORD)),
        };
        if !rest.is_empty() {
            return Err(UnknownForm(RECORD));
        }
        for [high, low, state, by] in kept {
            let state =
                AccessState::from_code(*state).filter(|state| state.is_settable()).ok_or(UnknownForm(RECORD))?;
            let by = [ChangedBy::Command, ChangedBy::Owner].into_iter().find(|who| *who as u8 == *by);
            let by = by.ok_or(UnknownForm(RECORD))?;
            access.set(&[(u16::from_be_bytes([*high, *low]), state)], by);
        }
        Ok(access)
    }

    /// What is to be kept: the groups that somebody has changed, but for those in transition, which lasts no longer than the device.
    pub(crate) fn to_kept(&self) -> Vec<u8> {
        let changed = self.0.iter().filter(|own| own.by != ChangedBy::Nobody && own.state.is_settable());
        let encode = |own: &GroupAccess| {
            let [high, low] = own.group.to_be_bytes();
            [high, low, own.state.code(), own.by as u8]
        };
        [VERSION].into_iter().chain(changed.flat_map(encode)).collect()
    }

    /// The state of each group, by its number.
    pub(crate) fn states(&self) -> Vec<(u16, AccessState)> {
        self.0.iter().map(|own| (own.group, own.state)).collect()
    }

    /// How it is reached through a group; not at all through one that is gone.
    pub(crate) fn state(&self, group: u16) -> AccessState {
        self.find(group).map_or(AccessState::Unavailable, |own| own.state)
    }

    /// Groups take other states, by their numbers; those that are not there do not. Returns whether any was in another before.
    pub(crate) fn set(&mut self, changes: &[(u16, AccessState)], by: ChangedBy) -> bool {
        let before = self.states();
        for (group, state) in changes {
            if let Some(own) = self.0.iter_mut().find(|own| own.group == *group) {
                (own.state, own.by) = (*state, by);
            }
        }
        self.states() != before
    }

    /// What REPORT TARGET PORT GROUPS tells.
    pub(crate) fn report(&self, ports: &TargetPorts) -> AccessReport {
        let report = |group: &TargetPortGroup| {
            let own = self.find(group.number).copied().unwrap_or(GroupAccess::new(group));
            GroupReport {
                group: group.number,
                preferred: group.preferred,
                state: own.state.code(),
                supported: GroupReport::support_of(&AccessState::ALL),
                status: own.by as u8,
                ports: group.ports.iter().map(|port| port.identifier).collect(),
            }
        };
        AccessReport { transition_seconds: 0, groups: ports.groups().iter().map(report).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TargetPort;
    use proptest::prelude::*;

    fn ports() -> TargetPorts {
        let group = |number| TargetPortGroup::new(number, vec![TargetPort { identifier: number, name: None }]);
        TargetPorts::new([group(1), TargetPortGroup { access: AccessState::Standby, ..group(2) }, group(3)]).unwrap()
    }

    #[test]
    fn what_was_changed_is_kept_and_nothing_else() {
        use AccessState as State;
        let ports = ports();
        let mut access = Access::new(&ports);
        assert_eq!(access.to_kept(), [VERSION]);
        assert!(access.set(&[(1, State::Unavailable)], ChangedBy::Command));
        assert!(!access.set(&[(1, State::Unavailable)], ChangedBy::Command), "nothing is new");
        assert!(access.set(&[(3, State::Transitioning)], ChangedBy::Owner));
        let kept = access.to_kept();
        assert_eq!(kept, [VERSION, 0, 1, 3, 1]);
        let again = Access::from_kept(&kept, &ports).unwrap();
        let states: Vec<State> = (1..=3).map(|group| again.state(group)).collect();
        assert_eq!(states, [State::Unavailable, State::Standby, State::ActiveOptimized]);
        let other =
            TargetPorts::new([TargetPortGroup::new(9, vec![TargetPort { identifier: 1, name: None }])]).unwrap();
        assert_eq!(Access::from_kept(&kept, &other).unwrap().state(9), State::ActiveOptimized);
    }

    #[test]
    fn what_is_of_no_known_form_is_an_error() {
        for kept in [
            &[0][..],
            &[2],
            &[VERSION, 0, 1, 3],
            &[VERSION, 0, 1, 0xf, 1],
            &[VERSION, 0, 1, 4, 1],
            &[VERSION, 0, 1, 3, 0],
        ] {
            assert!(Access::from_kept(kept, &ports()).is_err(), "{kept:?}");
        }
    }

    proptest! {
        #[test]
        fn any_record_is_read_or_refused(kept in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Ok(access) = Access::from_kept(&kept, &ports()) {
                prop_assert!(Access::from_kept(&access.to_kept(), &ports()).is_ok());
            }
        }
    }
}
