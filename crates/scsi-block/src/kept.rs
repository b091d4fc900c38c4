//! What a unit keeps over a loss of power: its records by name, each opaque to whoever keeps them.
//!
//! In: state. Out: a [`Record`] to be [kept](crate::BlockIo::Keep), and the state again from what was kept. The form of each record stands
//! beside what it is of.

use crate::config::{ConfigError, LogicalUnitConfig};
use crate::mode::ModeSettings;
use crate::reservations::Reservations;

/// The record that persistent reservations are kept in.
pub(crate) const RESERVATIONS: &str = "reservations";
/// The record that saved mode parameters are kept in.
pub(crate) const MODES: &str = "modes";

/// What comes back after a loss of power.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) reservations: Reservations,
    pub(crate) saved: ModeSettings,
}

impl Restored {
    /// # Errors
    /// A record is in no form that is known here.
    pub(crate) fn new(config: &LogicalUnitConfig) -> Result<Self, ConfigError> {
        let record = |name| config.kept.as_ref().and_then(|kept| kept.get(name)).map_or(&[][..], |record| record);
        let wrong = |record| move || ConfigError::Kept { serial: config.identity.serial.clone(), record };
        Ok(Self {
            reservations: Reservations::from_kept(record(RESERVATIONS)).ok_or_else(wrong(RESERVATIONS))?,
            saved: ModeSettings::from_kept(record(MODES), config.default_settings()).ok_or_else(wrong(MODES))?,
        })
    }
}
