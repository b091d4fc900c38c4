//! What changes while a server runs: logical units come, go, grow and shrink, and are reached otherwise.

use super::change::Change;
use super::shared::Shared;
use super::unit::{Leaving, NewUnit};
use super::{Server, carry_out};
use crate::Disk;
use block_store::{BlockStore, RecordsError};
use iscsi_node::target::{StoreId, TargetConfig};
use scsi_block::io::{BlockIo, IoError};
use scsi_block::{
    AccessState, ConfigError, Geometry, LogicalUnitConfig, LogicalUnitNumber, NoSuchTargetPortGroup, TargetDevice,
};
use std::sync::Arc;

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The server has no target of that name.
    #[error("there is no target {0}")]
    NoSuchTarget(String),
    /// The target has no unit of that number.
    #[error("there is no LUN {0}")]
    NoSuchUnit(u16),
    /// The unit makes no sense beside the others, or not at all.
    #[error("{0}")]
    Configuration(#[from] ConfigError),
    /// The size is no whole number of blocks.
    #[error("{bytes} bytes: expected a multiple of {block_size}, the block size")]
    Size {
        /// The size that was asked for, in bytes.
        bytes: u64,
        /// Bytes in a block.
        block_size: u32,
    },
    /// The system has no random bytes for what the unit's tokens are made with.
    #[error("there are no random bytes: {0}")]
    Random(#[from] std::io::Error),
    /// What was kept of the unit cannot be read, or another unit has it.
    #[error("{0}")]
    Records(#[from] RecordsError),
    /// The disk that the unit was to take the place of is still at work on the same file: what it writes would land over what the unit writes.
    #[error("block I/O of the disk that it takes the place of has not come back yet: reload once it has")]
    NotLetGo,
    /// No address of that portal group is listened on.
    #[error("{0}")]
    Group(#[from] NoSuchTargetPortGroup),
    /// The state holds, and would not outlive a loss of power.
    #[error("the access state holds, but cannot be kept: {0}")]
    Keep(IoError),
    /// The store cannot be made larger.
    #[error("the store cannot grow: {0}")]
    Grow(std::io::Error),
    /// The store could not be flushed: acknowledged writes that were not flushed by their initiator may be lost. A unit that was to go is gone.
    #[error("cannot flush the store: {0}")]
    Flush(IoError),
}

impl Server {
    /// Adds a logical unit to a target. Sessions find it at once, and are told by unit attention of those that were there before.
    ///
    /// # Errors
    /// There is no such target, the number or serial number is that of another unit, what was kept of the unit cannot be read, or the system
    /// has no random bytes.
    pub fn add_lun(&self, target: &str, number: u16, disk: Disk) -> Result<(), ChangeError> {
        let mut configuration = self.configuration.lock();
        let found = configuration.target(target).ok_or_else(|| ChangeError::NoSuchTarget(target.into()))?;
        let unit: Result<NewUnit, ChangeError> =
            found.unit(number, disk.clone(), self.shared.records.as_ref(), &mut Leaving::default());
        self.shared.add_unit(target, unit?)?;
        Change::AddLun { target: target.into(), number, disk: disk.into() }.apply(&mut configuration);
        Ok(())
    }

    /// Takes a logical unit away. Block I/O that is in flight ends as it ends; commands whose data is still to come end with NOT READY, later
    /// ones find no unit. The store is flushed, and closed when the last core has let go of it.
    ///
    /// # Errors
    /// There is no such target or unit, or the store could not be flushed; then the unit is gone all the same.
    pub fn remove_lun(&self, target: &str, number: u16) -> Result<(), ChangeError> {
        let mut configuration = self.configuration.lock();
        let (target, TargetConfig { name, device, .. }) = self.find(target)?;
        let unit = device.remove(LogicalUnitNumber::from(number)).map_err(|_| ChangeError::NoSuchUnit(number))?;
        Change::RemoveLun { target: name, number }.apply(&mut configuration);
        match self.shared.close(StoreId { target, unit }) {
            Some(store) => carry_out(&store, BlockIo::Flush).map_err(ChangeError::Flush),
            None => Ok(()),
        }
    }

    /// Gives a logical unit another size; sessions are told by unit attention. A store that is too small grows. One that is too large keeps
    /// what is behind the new end, out of reach, and gives it back if the unit grows again.
    ///
    /// # Errors
    /// There is no such target or unit, `bytes` is no size that it can have, or its store cannot grow.
    pub fn resize(&self, target: &str, number: u16, bytes: u64) -> Result<(), ChangeError> {
        let mut configuration = self.configuration.lock();
        let resize = self.shared.judge_size(target, number, bytes)?;
        resize.grow()?;
        resize.make();
        Change::ResizeLun { target: target.into(), number, bytes }.apply(&mut configuration);
        Ok(())
    }

    /// A logical unit is reached otherwise through a portal group from now on; sessions are told by unit attention. The state is kept, where the
    /// server has a folder for that, until an initiator or this sets another; but for [`AccessState::Transitioning`], which ends with the server.
    ///
    /// # Errors
    /// There is no such target, unit or group; or the state holds and cannot be kept.
    pub fn set_access(&self, target: &str, number: u16, group: u16, state: AccessState) -> Result<(), ChangeError> {
        let (target, TargetConfig { device, .. }) = self.find(target)?;
        let unit = unit(&device, number)?;
        let record = device.set_access(unit, group, state)?;
        match record.zip(self.shared.store(StoreId { target, unit })) {
            Some((record, store)) => carry_out(&store, record).map_err(ChangeError::Keep),
            None => Ok(()),
        }
    }

    /// Has what was written to a logical unit reach its medium, and waits for that.
    ///
    /// # Errors
    /// There is no such target or unit, or the store could not be flushed.
    pub fn flush(&self, target: &str, number: u16) -> Result<(), ChangeError> {
        let (target, TargetConfig { device, .. }) = self.find(target)?;
        let id = StoreId { target, unit: unit(&device, number)? };
        let store = self.shared.store(id).ok_or(ChangeError::NoSuchUnit(number))?;
        carry_out(&store, BlockIo::Flush).map_err(ChangeError::Flush)
    }

    /// Puts the medium of a removable unit back in that was ejected, or another in its place: sessions are told by unit attention.
    ///
    /// # Errors
    /// There is no such target or unit.
    pub fn load(&self, target: &str, number: u16) -> Result<(), ChangeError> {
        let (_, TargetConfig { device, .. }) = self.find(target)?;
        device.load(unit(&device, number)?);
        Ok(())
    }

    fn find(&self, target: &str) -> Result<(usize, TargetConfig), ChangeError> {
        self.shared.find_target(target).ok_or_else(|| ChangeError::NoSuchTarget(target.into()))
    }
}

impl Shared {
    /// Adds a unit and its store to a target.
    ///
    /// # Errors
    /// It makes no sense beside the others, what was kept of it cannot be had, or the target is gone.
    pub(super) fn add_unit(&self, target: &str, unit: NewUnit) -> Result<(), ChangeError> {
        let (place, config) = self.find_target(target).ok_or_else(|| ChangeError::NoSuchTarget(target.into()))?;
        let ((number, unit), medium) = unit.settle(&self.is_ending)?;
        // A core that is faster than this waits for the store.
        let mut stores = self.stores.write();
        let index = config.device.add(number, unit)?;
        assert_eq!(index, stores[place].len(), "each unit of the device has its store");
        stores[place].push(medium);
        Ok(())
    }

    /// A size that a unit is to have. Nothing has changed by then.
    ///
    /// # Errors
    /// There is no such target or unit, or it cannot have the size.
    pub(super) fn judge_size(&self, target: &str, number: u16, bytes: u64) -> Result<Resize, ChangeError> {
        let no_unit = || ChangeError::NoSuchUnit(number);
        let (place, config) = self.find_target(target).ok_or_else(|| ChangeError::NoSuchTarget(target.into()))?;
        let number = LogicalUnitNumber::from(number);
        let info = config.device.logical_units().find(|info| info.number == number).ok_or_else(no_unit)?;
        let store = self.store(StoreId { target: place, unit: info.index }).ok_or_else(no_unit)?;
        let block_size = info.config.geometry.block_size;
        if !bytes.is_multiple_of(block_size.into()) {
            return Err(ChangeError::Size { bytes, block_size });
        }
        let blocks = bytes / u64::from(block_size);
        TargetDevice::new([(number, LogicalUnitConfig { geometry: Geometry { blocks, block_size }, ..info.config })])?;
        Ok(Resize { device: config.device, unit: info.index, store, blocks })
    }
}

/// A size that a unit can have.
pub(super) struct Resize {
    device: Arc<TargetDevice>,
    unit: usize,
    store: Arc<dyn BlockStore>,
    blocks: u64,
}

impl Resize {
    /// Has the store have so many blocks, which nobody sees yet.
    ///
    /// # Errors
    /// The store cannot grow.
    pub(super) fn grow(&self) -> Result<(), ChangeError> {
        if self.blocks <= self.store.geometry().blocks {
            return Ok(());
        }
        self.store.grow(self.blocks).map_err(ChangeError::Grow)
    }

    /// Gives the unit the size.
    pub(super) fn make(&self) {
        self.device.resize(self.unit, self.blocks).expect("the size was judged");
    }
}

/// The index of the unit with a number.
fn unit(device: &TargetDevice, number: u16) -> Result<usize, ChangeError> {
    device.find(LogicalUnitNumber::from(number)).ok_or(ChangeError::NoSuchUnit(number))
}
