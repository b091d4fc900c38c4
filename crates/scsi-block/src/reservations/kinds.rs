//! Types of persistent reservations, service actions, and the table of who may do what (SPC-5 5.13, tables 68 and 69).

use crate::needs::Needs;
use crate::opcodes::Operation;

/// TYPE of a persistent reservation (SPC-5 6.16.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ReservationType {
    /// Others may read.
    WriteExclusive = 0x1,
    /// Others may neither read nor write.
    ExclusiveAccess = 0x3,
    /// Whoever is registered may write, all may read.
    WriteExclusiveRegistrantsOnly = 0x5,
    /// Whoever is registered may read and write.
    ExclusiveAccessRegistrantsOnly = 0x6,
    /// The same as 5h, and all who are registered hold it.
    WriteExclusiveAllRegistrants = 0x7,
    /// The same as 6h, and all who are registered hold it.
    ExclusiveAccessAllRegistrants = 0x8,
}

impl ReservationType {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::WriteExclusive,
        Self::ExclusiveAccess,
        Self::WriteExclusiveRegistrantsOnly,
        Self::ExclusiveAccessRegistrantsOnly,
        Self::WriteExclusiveAllRegistrants,
        Self::ExclusiveAccessAllRegistrants,
    ];

    /// The four bits on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The type with this number, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WriteExclusive => "write exclusive",
            Self::ExclusiveAccess => "exclusive access",
            Self::WriteExclusiveRegistrantsOnly => "write exclusive, registrants only",
            Self::ExclusiveAccessRegistrantsOnly => "exclusive access, registrants only",
            Self::WriteExclusiveAllRegistrants => "write exclusive, all registrants",
            Self::ExclusiveAccessAllRegistrants => "exclusive access, all registrants",
        }
    }

    /// Whether all who are registered hold it.
    pub const fn is_of_all_registrants(self) -> bool {
        matches!(self, Self::WriteExclusiveAllRegistrants | Self::ExclusiveAccessAllRegistrants)
    }

    /// Whether who is registered is told that it has been released (SPC-5 5.13.11.2.2).
    pub(crate) const fn tells_of_release(self) -> bool {
        !matches!(self, Self::WriteExclusive | Self::ExclusiveAccess)
    }

    /// What it leaves to a nexus that does not hold it.
    pub(crate) const fn leaves(self, registered: bool) -> Needs {
        let nothing = Needs::all().difference(Needs::READ).difference(Needs::WRITE);
        let reading = Needs::all().difference(Needs::WRITE);
        match (self, registered) {
            (Self::WriteExclusive, _) => reading,
            (Self::ExclusiveAccess, _) => nothing,
            (Self::WriteExclusiveRegistrantsOnly | Self::WriteExclusiveAllRegistrants, false) => reading,
            (Self::ExclusiveAccessRegistrantsOnly | Self::ExclusiveAccessAllRegistrants, false) => nothing,
            (_, true) => Needs::all(),
        }
    }
}

/// Service actions of PERSISTENT RESERVE OUT (SPC-5 6.17.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are SPC-5's own")]
pub enum OutAction {
    Register = 0x00,
    Reserve = 0x01,
    Release = 0x02,
    Clear = 0x03,
    Preempt = 0x04,
    PreemptAndAbort = 0x05,
    RegisterAndIgnoreExistingKey = 0x06,
    RegisterAndMove = 0x07,
    ReplaceLostReservation = 0x08,
}

impl OutAction {
    /// The command.
    pub const fn operation(self) -> Operation {
        match self {
            Self::Register => Operation::PersistRegister,
            Self::Reserve => Operation::PersistReserve,
            Self::Release => Operation::PersistRelease,
            Self::Clear => Operation::PersistClear,
            Self::Preempt => Operation::PersistPreempt,
            Self::PreemptAndAbort => Operation::PersistPreemptAndAbort,
            Self::RegisterAndIgnoreExistingKey => Operation::PersistRegisterAndIgnoreExistingKey,
            Self::RegisterAndMove => Operation::PersistRegisterAndMove,
            Self::ReplaceLostReservation => Operation::PersistReplaceLostReservation,
        }
    }

    /// Whether the CDB has a type.
    pub const fn has_type(self) -> bool {
        matches!(
            self,
            Self::Reserve | Self::Release | Self::Preempt | Self::PreemptAndAbort | Self::ReplaceLostReservation
        )
    }
}
