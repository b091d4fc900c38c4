//! The mailbox: one command at a time, and its answer.

use super::error::DriverError;
use crate::bus::Bus;
use crate::registers::{MailboxRegisters, PCIE_FW};
use crate::wire::{
    CommandHeader, CommandLength, CommandOp, FirmwareCommand, FirmwareState, MAILBOX_BYTES, MailboxControl,
    MailboxOwner, ReturnCode, WireError, mailbox_register, set_mailbox_register,
};
use std::time::{Duration, Instant};
use zerocopy::FromBytes;

/// How long the firmware may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
const REGISTERS: u32 = MAILBOX_BYTES as u32 / 4;

/// Does one command and gives the firmware's answer. Blocks until it is there, by a clock of the caller's.
///
/// # Errors
/// The mailbox is somebody else's, or the firmware says nothing, no, or nonsense.
pub fn execute<C: FirmwareCommand>(
    bus: &impl Bus,
    command: &C,
    clock: &mut dyn FnMut() -> Instant,
) -> Result<C, DriverError> {
    let owner = control(bus).get(MailboxControl::OWNER) as u8;
    if !matches!(MailboxOwner::from_wire(owner), Some(MailboxOwner::None | MailboxOwner::Driver)) {
        return Err(DriverError::MailboxOwner(MailboxOwner::from_wire(owner)));
    }
    let at = MailboxRegisters::of(bus.is_virtual());
    let mut message = [0; MAILBOX_BYTES];
    message[..size_of::<C>()].copy_from_slice(command.as_bytes());
    for index in 0..REGISTERS {
        let value = mailbox_register(&message, index as usize);
        bus.write_register(at.data + 4 * index, value);
    }
    give(bus, MailboxOwner::Firmware);
    await_answer(bus, C::OPCODE, clock)?;
    for index in 0..REGISTERS {
        let value = bus.read_register(at.data + 4 * index);
        set_mailbox_register(&mut message, index as usize, value);
    }
    bus.write_register(at.control, MailboxControl::new().value());
    answer(&message)
}

fn answer<C: FirmwareCommand>(message: &[u8; MAILBOX_BYTES]) -> Result<C, DriverError> {
    let (header, _) = CommandHeader::read_from_prefix(message).expect("a mailbox has a header");
    let (command, opcode) = (C::OPCODE, header.op.get(CommandOp::OPCODE) as u8);
    if opcode != command.to_wire() {
        return Err(DriverError::Answer { command, error: WireError::Opcode { what: "answer to it", opcode } });
    }
    match header.return_code() {
        Some(ReturnCode::Success) => {
            C::split_from(message).map(|(answer, _)| answer).map_err(|error| DriverError::Answer { command, error })
        }
        code => Err(DriverError::Refused { command, code, number: header.length.get(CommandLength::RETVAL) as u8 }),
    }
}

fn await_answer(
    bus: &impl Bus,
    command: crate::wire::CommandOpcode,
    clock: &mut dyn FnMut() -> Instant,
) -> Result<(), DriverError> {
    let start = clock();
    loop {
        bus.poll();
        let control = control(bus);
        let owner = MailboxOwner::from_wire(control.get(MailboxControl::OWNER) as u8);
        if owner == Some(MailboxOwner::Driver) && control.is_set(MailboxControl::VALID) {
            return Ok(());
        }
        firmware_state(bus)?;
        if clock().saturating_duration_since(start) > PATIENCE {
            return Err(DriverError::Silence { command, seconds: PATIENCE.as_secs() });
        }
    }
}

/// How the firmware is, if it has not failed. A virtual function cannot see it.
pub(super) fn firmware_state(bus: &impl Bus) -> Result<FirmwareState, DriverError> {
    if bus.is_virtual() {
        return Ok(FirmwareState::new());
    }
    let state = FirmwareState::from_value(bus.read_register(PCIE_FW));
    if state.is_set(FirmwareState::ERR) { Err(DriverError::Firmware(state.value())) } else { Ok(state) }
}

fn control(bus: &impl Bus) -> MailboxControl {
    MailboxControl::from_value(bus.read_register(MailboxRegisters::of(bus.is_virtual()).control))
}

fn give(bus: &impl Bus, owner: MailboxOwner) {
    let word =
        MailboxControl::new().with(MailboxControl::OWNER, owner.to_wire().into()).with_bit(MailboxControl::VALID, true);
    bus.write_register(MailboxRegisters::of(bus.is_virtual()).control, word.value());
}
