//! Command descriptor blocks by field name, for both ends.
//!
//! In: the bytes that an initiator sent, or a command and values for its fields. Out: values of fields, or bytes.
//! Places, widths and lengths come from the table in [`opcodes`](crate::opcodes); no layout is written down here.

mod build;

use crate::needs::{LOOKING, Needs};
use crate::opcodes::{
    ADDITIONAL_CDB_LENGTH, Amount, CDB_BYTES_MAX, CommandDescriptor, Data, Field, Operation, VARIABLE_LENGTH, rows_of,
    service_action_place,
};
use crate::sense::{AdditionalSense, Sense};

/// One command descriptor block of a command that the table has.
///
/// ```
/// use scsi_block::cdb::Cdb;
/// use scsi_block::opcodes::{Field, Operation};
///
/// let cdb = Cdb::read_10(0x1234, 8).with_force_unit_access();
/// assert_eq!(cdb.as_bytes(), [0x28, 0x08, 0, 0, 0x12, 0x34, 0, 0, 8, 0]);
///
/// let received = Cdb::decode(cdb.as_bytes()).unwrap();
/// assert_eq!(received.operation(), Operation::Read10);
/// assert_eq!(received.get(Field::LogicalBlockAddress), 0x1234);
/// ```
#[derive(Clone, Copy)]
pub struct Cdb {
    bytes: [u8; CDB_BYTES_MAX],
    row: &'static CommandDescriptor,
}

/// Why bytes are no CDB of a command in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownCommand {
    /// No row has this operation code.
    #[error("operation code {0:#04x} is not known")]
    OperationCode(u8),
    /// The operation code has service actions, but not this one.
    #[error("operation code {opcode:#04x} has no service action {service_action:#04x}")]
    ServiceAction {
        /// The operation code.
        opcode: u8,
        /// The service action.
        service_action: u16,
    },
    /// ADDITIONAL CDB LENGTH of a CDB of variable length is not that of its service action.
    #[error("the CDB says that {0} bytes follow its first eight")]
    AdditionalLength(u8),
    /// The command is longer than the bytes.
    #[error("the CDB has {there} bytes, {needed} are needed")]
    Short {
        /// Bytes that are there.
        there: usize,
        /// Bytes that the command has.
        needed: usize,
    },
}

impl From<UnknownCommand> for Sense {
    fn from(error: UnknownCommand) -> Self {
        match error {
            UnknownCommand::OperationCode(_) => Self::illegal(AdditionalSense::INVALID_COMMAND_OPERATION_CODE),
            UnknownCommand::ServiceAction { opcode, .. } => {
                let place = service_action_place(opcode);
                Self::invalid_cdb_field(place.byte.into(), place.bit)
            }
            UnknownCommand::AdditionalLength(_) => Self::invalid_cdb_field(ADDITIONAL_CDB_LENGTH as u16, 7),
            UnknownCommand::Short { .. } => Self::illegal(AdditionalSense::INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT),
        }
    }
}

/// A field that cannot be set as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{command} takes no {field:?} of {value:#x}")]
pub struct FieldError {
    /// The command's name.
    pub command: &'static str,
    /// The field that it lacks, or that is too narrow.
    pub field: Field,
    /// The value that was asked for.
    pub value: u64,
}

/// What is looked at as one number: all of a CDB but of one of variable length.
const FRONT_BYTES: usize = 16;

impl Cdb {
    /// A CDB of `operation` with all fields zero.
    pub fn new(operation: Operation) -> Self {
        let row = operation.descriptor();
        let mut bytes = [0; CDB_BYTES_MAX];
        bytes[0] = row.opcode;
        row.put_service_action(&mut bytes);
        Self { bytes, row }
    }

    /// Takes the CDB at the front of `bytes`; what follows it (a transport may pad) is not looked at.
    ///
    /// # Errors
    /// No command of the table has this operation code and service action, or the bytes are fewer than it needs.
    #[inline]
    pub fn decode(bytes: &[u8]) -> Result<Self, UnknownCommand> {
        let &opcode = bytes.first().ok_or(UnknownCommand::Short { there: 0, needed: 6 })?;
        let first = rows_of(opcode).next().ok_or(UnknownCommand::OperationCode(opcode))?;
        let row = match first.service_action {
            None => first,
            Some(_) => row_of_action(opcode, bytes)?,
        };
        let needed = usize::from(row.length);
        let there = bytes.get(..needed).ok_or(UnknownCommand::Short { there: bytes.len(), needed })?;
        // What a transport pads a short CDB with lies in no field, and a length that is known is copied faster.
        match bytes.first_chunk::<FRONT_BYTES>() {
            Some(front) if needed <= FRONT_BYTES => {
                let mut kept = [0; CDB_BYTES_MAX];
                kept[..FRONT_BYTES].copy_from_slice(front);
                Ok(Self { bytes: kept, row })
            }
            _ => Ok(Self { bytes: copied(there), row }),
        }
    }

    /// The bytes to send; as many as the command has.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.row.length)]
    }

    /// Which command this is.
    pub fn operation(&self) -> Operation {
        self.row.operation
    }

    /// The command's row in the table.
    pub fn descriptor(&self) -> &'static CommandDescriptor {
        self.row
    }

    /// The value of `field`; zero if the command does not have it.
    #[inline]
    pub fn get(&self, field: Field) -> u64 {
        let place = self.row.place(field);
        match usize::from(self.row.length) <= FRONT_BYTES {
            true => place.get_in_16(self.front()),
            false => place.get(&self.bytes),
        }
    }

    /// Whether `field` is not zero.
    #[inline]
    pub fn has(&self, field: Field) -> bool {
        self.get(field) != 0
    }

    /// The value of `field` of a CDB that has no more than 16 bytes.
    #[inline]
    pub(crate) fn get_short(&self, field: Field) -> u64 {
        self.row.place(field).get_in_16(self.front())
    }

    /// The first 16 bytes as one number.
    #[inline]
    fn front(&self) -> u128 {
        let (front, _) = self.bytes.split_first_chunk::<FRONT_BYTES>().expect("a CDB has room for its front");
        u128::from_be_bytes(*front)
    }

    /// The same CDB with `field` set.
    ///
    /// # Errors
    /// The command does not have the field, or it is too narrow for `value`.
    pub fn try_with(mut self, field: Field, value: u64) -> Result<Self, FieldError> {
        match self.row.find(field) {
            Some(place) if value <= place.max() => {
                place.put(&mut self.bytes, value);
                Ok(self)
            }
            _ => Err(FieldError { command: self.row.name, field, value }),
        }
    }

    /// The same CDB, of which a CHECK CONDITION makes an auto contingent allegiance (NACA): until that is cleared, the unit takes no more of the nexus
    /// than one task with the attribute ACA.
    #[must_use]
    pub fn with_allegiance(mut self) -> Self {
        self.row.naca().put(&mut self.bytes, 1);
        self
    }

    /// Number of blocks that the command is about: zero in a READ (6) or WRITE (6) means 256 (SBC-4 5.16).
    #[inline]
    pub fn blocks(&self) -> u64 {
        match (self.row.operation, self.get(Field::Blocks)) {
            (Operation::Read6 | Operation::Write6, 0) => 256,
            (_, blocks) => blocks,
        }
    }

    /// Bytes of data-in or data-out that the CDB asks for, with blocks of `block_size` bytes.
    #[inline]
    pub fn data_length(&self, block_size: u32) -> u64 {
        let block = u64::from(block_size);
        let (Data::In(amount) | Data::Out(amount)) = self.row.data else { return 0 };
        match amount {
            Amount::Fixed(bytes) => bytes.into(),
            Amount::Allocation => self.get(Field::AllocationLength),
            Amount::ParameterList => self.get(Field::ParameterListLength),
            Amount::Blocks => self.blocks() * block,
            Amount::BlockPairs => 2 * self.blocks() * block,
            Amount::FormatList if !self.has(Field::FormatData) => 0,
            Amount::FormatList if self.has(Field::LongList) => 8,
            Amount::FormatList => 4,
            Amount::OneBlock if self.has(Field::NoDataOutBuffer) => 0,
            Amount::OneBlock => block,
            Amount::Checked => match self.get(Field::ByteCheck) {
                1 => self.blocks() * block,
                3 if self.blocks() > 0 => block,
                _ => 0,
            },
        }
    }

    /// What the command needs with these fields: some forms need less than the row says (SPC-5 5.13.1, SBC-4 4.17).
    pub(crate) fn needs(&self) -> Needs {
        match self.operation() {
            Operation::StartStopUnit if self.has(Field::Start) && !self.has(Field::PowerCondition) => {
                LOOKING.union(Needs::CHANGE) - Needs::KNOWN
            }
            Operation::PreventAllowMediumRemoval if !self.has(Field::Prevent) => LOOKING - Needs::UNRESERVED,
            _ => self.row.needs,
        }
    }

    /// The sense for a bad value in `field`, with the pointer to it.
    pub(crate) fn refuse(&self, field: Field) -> Sense {
        match self.row.find(field) {
            Some(place) => Sense::invalid_cdb_field(place.byte.into(), place.bit),
            None => Sense::illegal(AdditionalSense::INVALID_FIELD_IN_CDB),
        }
    }

    /// Whether the CDB asks for nothing that [`check_refused`](Self::check_refused) may refuse, nor for an auto contingent allegiance.
    #[inline]
    pub(crate) fn is_usual(&self) -> bool {
        self.front() & self.row.unusual() == 0
    }

    /// Refuses what no unit supports: fields that the table says must be zero; those about protection information only
    /// where the unit keeps none.
    pub(crate) fn check_refused(&self, protected: bool) -> Result<(), Sense> {
        let mut wrong = self.front() & self.row.unusual() & !self.row.naca().mask_in_16();
        if protected {
            wrong &= !self.row.place(Field::Protect).mask_in_16();
        }
        if wrong == 0 {
            return Ok(());
        }
        let places = self.row.fields.iter().filter(|entry| entry.refused).map(|entry| entry.place);
        let first = places.into_iter().find(|place| place.mask_in_16() & wrong != 0);
        let place = first.expect("a refused bit is in a refused field");
        Err(Sense::invalid_cdb_field(place.byte.into(), place.bit))
    }
}

/// Whether a CDB asks for an auto contingent allegiance if it ends with CHECK CONDITION: NACA, in the CONTROL byte where its group of operation codes
/// has that (SAM-5 5.2, SPC-5 4.2.5).
pub(crate) fn asks_allegiance(cdb: &[u8]) -> bool {
    let Some(opcode) = cdb.first() else { return false };
    let control = match opcode >> 5 {
        0 => 5,
        1 | 2 => 9,
        3 if *opcode == VARIABLE_LENGTH => 1,
        4 => 15,
        5 => 11,
        _ => return false,
    };
    cdb.get(control).is_some_and(|control| control & NACA != 0)
}

/// NACA, in the CONTROL byte.
const NACA: u8 = 0x04;

/// A CDB with zeros behind it.
#[cold]
fn copied(cdb: &[u8]) -> [u8; CDB_BYTES_MAX] {
    let mut kept = [0; CDB_BYTES_MAX];
    kept[..cdb.len()].copy_from_slice(cdb);
    kept
}

/// The row of an operation code that has service actions.
#[cold]
fn row_of_action(opcode: u8, bytes: &[u8]) -> Result<&'static CommandDescriptor, UnknownCommand> {
    let service_action = service_action_place(opcode).get(bytes) as u16;
    let row = rows_of(opcode)
        .find(|row| row.service_action.map(u16::from) == Some(service_action))
        .ok_or(UnknownCommand::ServiceAction { opcode, service_action })?;
    let additional = bytes.get(ADDITIONAL_CDB_LENGTH).copied().unwrap_or(0);
    if opcode == VARIABLE_LENGTH && usize::from(additional) + ADDITIONAL_CDB_LENGTH + 1 != usize::from(row.length) {
        return Err(UnknownCommand::AdditionalLength(additional));
    }
    Ok(row)
}

impl PartialEq for Cdb {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Cdb {}

impl std::fmt::Debug for Cdb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct(self.row.name);
        for entry in self.row.fields {
            shown.field(&format!("{:?}", entry.field), &self.get(entry.field));
        }
        shown.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opcodes::COMMANDS;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_set_comes_back_over_the_wire(index in 0..COMMANDS.len(), values: [u64; 8]) {
            let row = &COMMANDS[index];
            let mut cdb = Cdb::new(row.operation);
            for (entry, value) in row.fields.iter().zip(values) {
                cdb = cdb.try_with(entry.field, value & entry.place.max()).unwrap();
            }
            let received = Cdb::decode(cdb.as_bytes()).unwrap();
            prop_assert_eq!(received.operation(), row.operation);
            for (entry, value) in row.fields.iter().zip(values) {
                prop_assert_eq!(received.get(entry.field), value & entry.place.max());
            }
            prop_assert_eq!(received, cdb);
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(cdb) = Cdb::decode(&bytes) {
                prop_assert_eq!(cdb.as_bytes(), &bytes[..cdb.as_bytes().len()]);
                cdb.data_length(4096);
            }
        }
    }

    #[test]
    fn a_field_that_is_too_narrow_refuses() {
        let cdb = Cdb::new(Operation::Read6);
        assert!(cdb.try_with(Field::LogicalBlockAddress, 1 << 21).is_err());
        assert!(cdb.try_with(Field::ForceUnitAccess, 1).is_err());
    }

    #[test]
    fn read_6_of_zero_blocks_is_of_256() {
        assert_eq!(Cdb::new(Operation::Read6).data_length(512), 256 * 512);
        assert_eq!(Cdb::new(Operation::Read10).data_length(512), 0);
    }
}
