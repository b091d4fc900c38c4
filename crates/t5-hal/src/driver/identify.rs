//! Who an adapter is, without driving it.

use super::bring_up::{parameters, registers};
use super::error::DriverError;
use super::mailbox::firmware_state;
use crate::bus::Bus;
use crate::registers::{PL_REV, PL_WHOAMI, VF_PL_WHOAMI};
use crate::wire::{DeviceParameter, FirmwareState, FunctionId, ParameterName};
use std::fmt;
use std::time::Instant;

/// What an adapter tells of itself.
#[derive(Clone, Debug)]
pub struct Identification {
    /// The function that was asked.
    pub function: FunctionId,
    /// PL_REV: the revision of the chip, in its lowest four bits.
    pub chip_revision: u32,
    /// What the firmware is doing, and which function is in charge of the adapter; nothing to a virtual function.
    pub state: FirmwareState,
    /// Version of the firmware.
    pub firmware: FirmwareVersion,
}

/// Version of a firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirmwareVersion(pub u32);

impl fmt::Display for FirmwareVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, micro, build] = self.0.to_be_bytes();
        write!(formatter, "{major}.{minor}.{micro}.{build}")
    }
}

/// Asks an adapter who it is. Registers are read, and the firmware is asked for its version by the mailbox; nothing is set up or changed.
///
/// # Errors
/// The registers read as if nothing were there, the firmware has failed, or the mailbox is somebody else's or silent.
pub fn identify(bus: &impl Bus, clock: &mut dyn FnMut() -> Instant) -> Result<Identification, DriverError> {
    let (function, state) = (who_am_i(bus)?, firmware_state(bus)?);
    let [chip_revision] = registers(bus, function, clock, [PL_REV])?;
    let names = [ParameterName::device(DeviceParameter::FirmwareRevision)];
    let [firmware] = parameters(bus, function.to_wire(), clock, names)?;
    Ok(Identification { function, chip_revision, state, firmware: FirmwareVersion(firmware) })
}

/// Which function it is, as it says by itself.
pub(super) fn who_am_i(bus: &impl Bus) -> Result<FunctionId, DriverError> {
    let (what, register) =
        if bus.is_virtual() { ("the VF's PL_WHOAMI", VF_PL_WHOAMI) } else { ("PL_WHOAMI", PL_WHOAMI) };
    let value = bus.read_register(register);
    if value == u32::MAX {
        let expected = "not all ones: the function does not answer, is it powered and is its BAR 0 mapped?";
        return Err(DriverError::Adapter { what, value, expected });
    }
    let function = FunctionId::from_whoami(value).filter(|function| function.is_virtual() == bus.is_virtual());
    let expected = "the number of a function of the kind that its PCI device is";
    function.ok_or(DriverError::Adapter { what, value, expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_four_parts() {
        assert_eq!(FirmwareVersion(0x0110_3f00).to_string(), "1.16.63.0");
    }
}
