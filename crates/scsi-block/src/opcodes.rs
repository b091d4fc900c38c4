//! The table of commands: every command that a unit knows, once (SPC-5 6, SBC-4 5).
//!
//! All else that depends on a command's form comes from here: finding the command that a CDB asks for, its length,
//! the places of its fields for reading and for building, the CDB usage data of REPORT SUPPORTED OPERATION CODES, how
//! much data goes which way, which general rules (unit attention, write protection, readiness) apply, and what the
//! command [needs](crate::needs) of reservations and of the target port. A new command is a row in `table`, a name in
//! [`Operation`] and its execution in `commands`.

mod field;
mod table;

use bitflags::bitflags;

pub use field::Field;
pub use table::COMMANDS;

use crate::needs::Needs;
use crate::octets::Place;

/// A command by name: the index of its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are T10's own; each row of the table gives it in full")]
pub enum Operation {
    TestUnitReady,
    RequestSense,
    FormatUnit,
    Read6,
    Write6,
    Inquiry,
    ModeSelect6,
    Reserve6,
    Release6,
    ModeSense6,
    StartStopUnit,
    PreventAllowMediumRemoval,
    ReadCapacity10,
    Read10,
    Write10,
    WriteAndVerify10,
    Verify10,
    PreFetch10,
    SynchronizeCache10,
    ReadDefectData10,
    WriteSame10,
    Unmap,
    SanitizeOverwrite,
    SanitizeBlockErase,
    SanitizeCryptographicErase,
    SanitizeExitFailureMode,
    LogSelect,
    LogSense,
    ModeSelect10,
    Reserve10,
    Release10,
    ModeSense10,
    PersistReadKeys,
    PersistReadReservation,
    PersistReportCapabilities,
    PersistReadFullStatus,
    PersistRegister,
    PersistReserve,
    PersistRelease,
    PersistClear,
    PersistPreempt,
    PersistPreemptAndAbort,
    PersistRegisterAndIgnoreExistingKey,
    PersistRegisterAndMove,
    PersistReplaceLostReservation,
    Read32,
    Verify32,
    Write32,
    WriteAndVerify32,
    WriteSame32,
    GetLbaStatus32,
    ExtendedCopyLid1,
    ExtendedCopyLid4,
    PopulateToken,
    WriteUsingToken,
    CopyOperationAbort,
    ReceiveCopyStatusLid1,
    ReceiveCopyDataLid1,
    ReceiveCopyOperatingParameters,
    ReceiveCopyFailureDetails,
    ReceiveCopyStatusLid4,
    ReceiveRodTokenInformation,
    ReportAllRodTokens,
    Read16,
    CompareAndWrite,
    Write16,
    OrWrite16,
    WriteAndVerify16,
    Verify16,
    PreFetch16,
    SynchronizeCache16,
    WriteSame16,
    WriteAtomic16,
    ReadCapacity16,
    GetLbaStatus16,
    ReportReferrals,
    ReportLuns,
    ReportTargetPortGroups,
    ReportSupportedOperationCodes,
    ReportSupportedTaskManagementFunctions,
    ReportTimestamp,
    SetTargetPortGroups,
    SetTimestamp,
    Read12,
    Write12,
    WriteAndVerify12,
    Verify12,
    ReadDefectData12,
}

bitflags! {
    /// General rules that a command is under.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Rules: u8 {
        /// Does not report a pending unit attention (SAM-5 5.14).
        const QUIET = 1 << 0;
        /// Needs the medium: NOT READY while the unit is stopped.
        const MEDIUM = 1 << 1;
        /// Changes the medium: refused while it is write-protected.
        const WRITES = 1 << 2;
        /// Not every unit knows it: `LogicalUnitConfig::supports` says which do.
        const OPTIONAL = 1 << 3;
        /// Refused unless the transport announces just the data-out that the CDB asks for.
        const EXACT = 1 << 4;
    }
}

/// How many bytes of data belong to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// Always as many.
    Fixed(u8),
    /// At most what the allocation length says.
    Allocation,
    /// What the parameter list length says.
    ParameterList,
    /// With FMTDATA the header of a FORMAT UNIT list, whose defect list is empty; nothing without it.
    FormatList,
    /// The blocks that the CDB asks for.
    Blocks,
    /// Twice as many: those to compare, then those to write.
    BlockPairs,
    /// One block, or none with NDOB.
    OneBlock,
    /// By BYTCHK: nothing, the blocks, or one block (SBC-4 table 118).
    Checked,
}

/// Which way data goes, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// None goes.
    None,
    /// To the initiator.
    In(Amount),
    /// To the device.
    Out(Amount),
}

/// One field of a command.
#[derive(Clone, Copy, Debug)]
pub struct FieldPlace {
    /// What it means.
    pub field: Field,
    /// Where it is.
    pub place: Place,
    /// Whether a unit takes nothing but zero in it. Such a field is not in the CDB usage data.
    pub refused: bool,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct CommandDescriptor {
    /// Which command.
    pub operation: Operation,
    /// First byte of the CDB.
    pub opcode: u8,
    /// The service action, if this operation code has them: low five bits of byte 1, or bytes 8 and 9 of a CDB of variable length.
    pub service_action: Option<u8>,
    /// T10's name.
    pub name: &'static str,
    /// Bytes in the CDB.
    pub length: u8,
    /// Data that goes with it.
    pub data: Data,
    /// The rules it is under.
    pub rules: Rules,
    /// What it needs of reservations and of the target port; a few need less with certain values in their fields.
    pub needs: Needs,
    /// Its fields, but for operation code, service action and CONTROL.
    pub fields: &'static [FieldPlace],
}

/// The longest CDB in the table.
pub const CDB_BYTES_MAX: usize = 32;

/// The operation code of CDBs of variable length (SPC-5 4.2.3).
pub const VARIABLE_LENGTH: u8 = 0x7f;

/// Where a CDB of this operation code has its service action, if it has one.
pub(crate) const fn service_action_place(opcode: u8) -> Place {
    match opcode {
        VARIABLE_LENGTH => Place { byte: 8, bit: 7, bits: 16 },
        _ => Place { byte: 1, bit: 4, bits: 5 },
    }
}

/// Where ADDITIONAL CDB LENGTH is: the bytes that follow its first eight.
pub(crate) const ADDITIONAL_CDB_LENGTH: usize = 7;

/// A field that a command does not have.
const ABSENT: Place = Place { byte: 0, bit: 7, bits: 0 };

/// Where each command has each field: the rows' lists, turned so that a field is found at once.
static PLACES: [[Place; Field::COUNT]; COMMANDS.len()] = {
    let mut places = [[ABSENT; Field::COUNT]; COMMANDS.len()];
    let mut row = 0;
    while row < COMMANDS.len() {
        let mut index = 0;
        while index < COMMANDS[row].fields.len() {
            let entry = &COMMANDS[row].fields[index];
            places[row][entry.field as usize] = entry.place;
            index += 1;
        }
        row += 1;
    }
    places
};

/// The bits of each command's CDB that are zero in all but a few: refused fields, and NACA in CONTROL.
static UNUSUAL: [u128; COMMANDS.len()] = {
    let mut masks = [0; COMMANDS.len()];
    let mut row = 0;
    while row < COMMANDS.len() {
        masks[row] = COMMANDS[row].naca().mask_in_16();
        let mut index = 0;
        while index < COMMANDS[row].fields.len() {
            let entry = &COMMANDS[row].fields[index];
            if entry.refused {
                masks[row] |= entry.place.mask_in_16();
            }
            index += 1;
        }
        row += 1;
    }
    masks
};

/// The index of the first row of each operation code; the table's length where there is none.
static FIRST_ROW: [u8; 256] = {
    let mut first = [COMMANDS.len() as u8; 256];
    let mut index = COMMANDS.len();
    while index > 0 {
        index -= 1;
        first[COMMANDS[index].opcode as usize] = index as u8;
    }
    first
};

/// The rows of one operation code: none, one, or one a service action.
pub fn rows_of(opcode: u8) -> impl Iterator<Item = &'static CommandDescriptor> {
    let first = usize::from(FIRST_ROW[usize::from(opcode)]);
    COMMANDS[first..].iter().take_while(move |row| row.opcode == opcode)
}

impl Operation {
    /// The command's row.
    pub const fn descriptor(self) -> &'static CommandDescriptor {
        &COMMANDS[self as usize]
    }
}

impl CommandDescriptor {
    /// Where the command has `field`, or a place without bits.
    #[inline]
    pub(crate) fn place(&self, field: Field) -> Place {
        PLACES[self.operation as usize][field as usize]
    }

    /// Where the command has `field`, if it has it.
    pub fn find(&self, field: Field) -> Option<Place> {
        Some(self.place(field)).filter(|place| *place != ABSENT)
    }

    /// The bit of the CONTROL byte that asks for an auto contingent allegiance (SAM-5 5.2).
    pub(crate) const fn naca(&self) -> Place {
        let control = if self.opcode == VARIABLE_LENGTH { 1 } else { self.length - 1 };
        Place { byte: control, bit: 2, bits: 1 }
    }

    /// The bits of refused fields and NACA, in the CDB read as one number.
    #[inline]
    pub(crate) fn unusual(&self) -> u128 {
        UNUSUAL[self.operation as usize]
    }

    /// Writes the service action, and what else the operation code has at the same bits in every CDB.
    pub(crate) fn put_service_action(&self, cdb: &mut [u8]) {
        let Some(service_action) = self.service_action else { return };
        service_action_place(self.opcode).put(cdb, service_action.into());
        if self.opcode == VARIABLE_LENGTH {
            cdb[ADDITIONAL_CDB_LENGTH] = self.length - (ADDITIONAL_CDB_LENGTH as u8 + 1);
        }
    }

    /// The CDB usage data (SPC-5 6.34.3): the operation code and service action as they are, a one for each bit
    /// that a unit evaluates, zero elsewhere.
    pub fn usage(&self) -> Vec<u8> {
        self.usage_at(false)
    }

    /// The same at a unit that keeps protection information, if `protected`.
    pub(crate) fn usage_at(&self, protected: bool) -> Vec<u8> {
        let mut usage = vec![0; self.length.into()];
        usage[0] = self.opcode;
        self.put_service_action(&mut usage);
        for entry in self.fields.iter().filter(|entry| !entry.refused || protected && entry.field == Field::Protect) {
            entry.place.put(&mut usage, u64::MAX);
        }
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_stands_at_its_row() {
        for (index, row) in COMMANDS.iter().enumerate() {
            assert_eq!(row.operation as usize, index, "{}", row.name);
        }
    }

    #[test]
    fn rows_are_in_order_and_once() {
        let keys: Vec<_> = COMMANDS.iter().map(|row| (row.opcode, row.service_action)).collect();
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn lengths_follow_the_group_of_the_operation_code() {
        for row in COMMANDS {
            let length = match row.opcode >> 5 {
                0 => 6,
                1 | 2 => 10,
                3 if row.opcode == VARIABLE_LENGTH => 32,
                4 => 16,
                5 => 12,
                group => panic!("{} is in group {group}", row.name),
            };
            assert_eq!(row.length, length, "{}", row.name);
        }
    }

    #[test]
    fn fields_lie_inside_and_apart() {
        for row in COMMANDS {
            let mut taken = [0u8; CDB_BYTES_MAX];
            taken[0] = 0xff;
            row.naca().put(&mut taken, 1);
            row.put_service_action(&mut taken);
            if row.service_action.is_some() {
                service_action_place(row.opcode).put(&mut taken, u64::MAX);
            }
            for entry in row.fields {
                assert_eq!(entry.place.get(&taken), 0, "{} {:?}", row.name, entry.field);
                entry.place.put(&mut taken, u64::MAX);
            }
        }
    }

    #[test]
    fn usage_data_of_write_same_16_is_what_sbc_draws() {
        let usage = Operation::WriteSame16.descriptor().usage();
        let expected = [0x93, 0x09, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0];
        assert_eq!(usage, expected);
    }
}
