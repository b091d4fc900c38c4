//! What a command needs of the unit and of the way to it: a column of the table of commands.
//!
//! Reservations, asymmetric access and [rights](crate::Rights) take some of it away from some nexuses. A command is carried out if its nexus has all that its
//! row needs, so that the tables of SPC-5 5.13 and SBC-4 4.17 (commands allowed in the presence of reservations) and SPC-5 5.18.2
//! (commands allowed in each asymmetric access state) are this column, and what takes away is written down once.

use bitflags::bitflags;

bitflags! {
    /// What a command needs, or what a nexus has.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Needs: u8 {
        /// Nobody else has reserved the unit with RESERVE.
        const UNRESERVED = 1 << 0;
        /// The unit may be read: no other nexus has exclusive access to it.
        const READ = 1 << 1;
        /// The unit may be written: no other nexus has it for writing, or exclusively.
        const WRITE = 1 << 2;
        /// The target port is not in the unavailable state.
        const AVAILABLE = 1 << 3;
        /// The target port is in an active state, and not in standby either.
        const ACTIVE = 1 << 4;
        /// The target port's state is not about to change.
        const SETTLED = 1 << 5;
        /// The nexus has the right to change the unit and how it is set.
        const CHANGE = 1 << 6;
        /// It is known who has reserved the unit: the record of that was not found damaged.
        const KNOWN = 1 << 7;
        /// What a reservation can take away.
        const OF_RESERVATIONS = Self::UNRESERVED.bits() | Self::READ.bits() | Self::WRITE.bits();
    }
}

/// A command that always works.
pub(crate) const NOTHING: Needs = Needs::empty();
/// A command that reads the medium.
pub(crate) const READING: Needs = LOOKING.union(Needs::READ);
/// A command that makes sure of what was written, or whose steps are looked at one by one.
pub(crate) const FLUSHING: Needs = READING.union(Needs::WRITE);
/// A command that changes the medium, or what others find there.
pub(crate) const WRITING: Needs = FLUSHING.union(Needs::CHANGE);
/// A command about the unit that other nexuses' persistent reservations do not mind.
pub(crate) const LOOKING: Needs = TELLING.union(Needs::KNOWN).union(Needs::ACTIVE);
/// A command that asks the device, and works in standby.
pub(crate) const ASKING: Needs = TELLING.union(Needs::KNOWN).union(Needs::READ);
/// A command that asks the device, which other nexuses' persistent reservations do not mind, and that works in standby; also while it is not
/// known who has reserved the unit.
pub(crate) const TELLING: Needs = Needs::UNRESERVED.union(Needs::AVAILABLE);
/// A command that changes settings of the device, and works in standby.
pub(crate) const SETTING: Needs = ASKING.union(Needs::WRITE).union(Needs::CHANGE);
/// A command that asks about target ports, and works in every state of theirs.
pub(crate) const ASKING_OF_PORTS: Needs = Needs::UNRESERVED;
/// A command that changes the states of target ports.
pub(crate) const SETTING_PORTS: Needs = ASKING_OF_PORTS
    .union(Needs::KNOWN)
    .union(Needs::READ)
    .union(Needs::WRITE)
    .union(Needs::SETTLED)
    .union(Needs::CHANGE);
/// A command that asks about reservations, and works in standby.
pub(crate) const ASKING_OF_RESERVATIONS: Needs = Needs::AVAILABLE.union(Needs::KNOWN);
/// A command that changes reservations, which looks at them itself, and works in standby.
pub(crate) const RESERVING: Needs = REPLACING.union(Needs::KNOWN);
/// The command that makes a reservation in the place of one that was lost.
pub(crate) const REPLACING: Needs = Needs::AVAILABLE.union(Needs::CHANGE);
