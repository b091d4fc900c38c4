//! A logical unit to be: opened, judged, and put into a device later. Starting a server, reloading it and adding a unit make them alike.
//!
//! In: a target's disk, and what is about to go. Out: the configuration of the unit and its medium.

use super::StartError;
use super::changes::ChangeError;
use super::disk::{Disk, DiskSource};
use super::shared::Medium;
use super::target::Target;
use block_store::{BlockStore, FileLock, KeepingStore, Records, RecordsError, UnitRecords};
use scsi_block::{LogicalUnitConfig, LogicalUnitNumber};
use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tracing::warn;

/// How long block I/O of a unit that is gone may take to come back; then the other that was to have its place does not come.
const LET_GO_TIMEOUT: Duration = Duration::from_secs(5);

/// Time between two looks whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// What units have that are about to go, for those that take their places.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// Locks of their files.
    pub(super) locks: Vec<FileLock>,
    /// Serial numbers, by which their records are found.
    pub(super) serials: HashSet<String>,
}

/// A unit as a device takes it.
pub(super) type NumberedUnit = (LogicalUnitNumber, LogicalUnitConfig);

/// A unit to be.
#[derive(Debug)]
pub(super) struct NewUnit {
    pub(super) number: u16,
    pub(super) config: LogicalUnitConfig,
    store: Arc<dyn BlockStore>,
    description: String,
    records: Keeping,
}

#[derive(Debug)]
enum Keeping {
    /// Nothing is kept.
    Nothing,
    Here(UnitRecords),
    /// A unit has the records that is about to go.
    Left(Arc<Records>),
}

impl Target {
    /// Opens a disk of this target, whose names were normalised.
    ///
    /// # Errors
    /// The disk cannot be opened, the system has no random bytes, or what was kept of the unit cannot be read, or another unit has it.
    pub(super) fn open_unit(
        &self,
        number: u16,
        disk: &DiskSource,
        records: Option<&Arc<Records>>,
        leaving: &mut Leaving,
    ) -> Result<NewUnit, StartError> {
        let open = |error| StartError::Open { target: self.name.clone(), number, error };
        let disk = disk.open_in_place_of(&mut leaving.locks).map_err(open)?;
        self.unit(number, disk, records, leaving)
    }

    /// The unit that an open disk is as one of this target.
    ///
    /// # Errors
    /// As [`open_unit`](Self::open_unit).
    pub(super) fn unit<E: From<io::Error> + From<RecordsError>>(
        &self,
        number: u16,
        disk: Disk,
        records: Option<&Arc<Records>>,
        leaving: &mut Leaving,
    ) -> Result<NewUnit, E> {
        let mut config = disk.unit_of(&self.name, number)?;
        config.identity.management_addresses.extend(self.management_addresses.iter().cloned());
        let serial = &config.identity.serial;
        let records = match records {
            None => Keeping::Nothing,
            Some(records) if leaving.serials.remove(serial) => {
                config.kept = Some(records.load(serial)?);
                Keeping::Left(Arc::clone(records))
            }
            Some(records) => {
                let records = records.of_unit(serial)?;
                config.kept = Some(records.load()?);
                Keeping::Here(records)
            }
        };
        let Disk { store, description, .. } = disk;
        Ok(NewUnit { number, config, store, description, records })
    }
}

impl NewUnit {
    /// The unit as it can be judged beside others.
    pub(super) fn numbered(&self) -> NumberedUnit {
        (LogicalUnitNumber::from(self.number), self.config.clone())
    }

    /// The unit and its medium, once all is gone that it takes the place of, for which this waits unless the server is about to end: what that has
    /// kept last is what it begins with.
    ///
    /// # Errors
    /// Block I/O of what it takes the place of does not come back, or what was kept cannot be read.
    pub(super) fn settle(self, is_ending: &AtomicBool) -> Result<(NumberedUnit, Option<Medium>), ChangeError> {
        let until = Instant::now() + LET_GO_TIMEOUT;
        let waits = || Instant::now() < until && !is_ending.load(Ordering::Relaxed);
        if let Some(lock) = self.store.lock() {
            while lock.is_shared() {
                if !waits() {
                    // A write that is still under way there would land over what is written here.
                    return Err(ChangeError::NotLetGo);
                }
                std::thread::sleep(LOOK_INTERVAL);
            }
        }
        Ok(self.settle_while(waits)?)
    }

    /// The unit and its medium, if it takes the place of none.
    ///
    /// # Errors
    /// What was kept cannot be read.
    pub(super) fn settle_at_once(self) -> Result<(NumberedUnit, Option<Medium>), RecordsError> {
        self.settle_while(|| false)
    }

    /// Waits for the records as long as `waits` says so.
    fn settle_while(mut self, waits: impl Fn() -> bool) -> Result<(NumberedUnit, Option<Medium>), RecordsError> {
        let records = match self.records {
            Keeping::Nothing => None,
            Keeping::Here(records) => Some(records),
            Keeping::Left(records) => {
                let records = take_over(&records, &self.config.identity.serial, waits)?;
                self.config.kept = Some(records.load()?);
                Some(records)
            }
        };
        if self.config.has_lost_reservations() {
            let unit = &self.config.identity.serial;
            warn!(
                unit,
                "the record of its reservations is damaged: nobody may use it until an initiator replaces them (persist replace), or, \
                 with the target stopped, the record is restored from a copy"
            );
        }
        let store = match records {
            Some(records) => Arc::new(KeepingStore::new(self.store, records)?),
            None => self.store,
        };
        let medium = Medium { store, description: self.description };
        Ok(((LogicalUnitNumber::from(self.number), self.config), Some(medium)))
    }
}

/// Waits, as long as `waits` says so, until nobody has the records of a unit any more, and takes them.
fn take_over(records: &Arc<Records>, serial: &str, waits: impl Fn() -> bool) -> Result<UnitRecords, RecordsError> {
    loop {
        match records.of_unit(serial) {
            Err(RecordsError::UnitInUse(_)) if waits() => std::thread::sleep(LOOK_INTERVAL),
            taken => return taken,
        }
    }
}
