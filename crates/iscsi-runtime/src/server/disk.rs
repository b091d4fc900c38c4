//! A disk to be served: a store, and what the logical unit over it says of itself.

use super::portal_groups::ISCSI;
use crate::hash::fnv_1a;
use block_store::{BlockStore, FileLock, MemoryStore, OpenError, StoreKind, StoreSpec};
use scsi_block::copy::TokenSecret;
use scsi_block::designator::{Association, Designator};
use scsi_block::protection::ProtectionType;
use scsi_block::{Geometry, LogicalUnitConfig};
use std::io;
use std::sync::Arc;

/// Version descriptor of iSCSI, no version claimed (SPC-5 clause 6.6.2).
const ISCSI_VERSION: u16 = 0x0960;

/// Product identification of a disk that keeps no data.
const NULL_PRODUCT: &str = "NULL (no data)";

/// A logical unit and the store that holds its blocks.
#[derive(Clone, Debug)]
pub struct Disk {
    pub(super) store: Arc<dyn BlockStore>,
    pub(super) description: String,
    unit: LogicalUnitConfig,
}

impl Disk {
    /// A disk over any store.
    #[must_use]
    pub fn new(store: Arc<dyn BlockStore>, unit: LogicalUnitConfig) -> Self {
        Self { store, unit, description: "other".into() }
    }

    /// A disk in memory, `bytes` long, rounded down to blocks of 512 bytes; empty, and costing nothing until it is written to.
    #[must_use]
    pub fn memory(bytes: u64) -> Self {
        let store = Arc::new(MemoryStore::new(Geometry { block_size: 512, blocks: bytes / 512 }));
        let unit = LogicalUnitConfig { thin: true, ..LogicalUnitConfig::new(store.geometry(), "memory") };
        Self { description: "memory".into(), ..Self::new(store, unit) }
    }

    /// A disk as an operator describes it.
    ///
    /// # Errors
    /// If the store cannot be opened.
    pub fn open(spec: &StoreSpec) -> Result<Self, OpenError> {
        Self::open_in_place_of(&mut Vec::new(), spec)
    }

    fn open_in_place_of(before: &mut Vec<FileLock>, spec: &StoreSpec) -> Result<Self, OpenError> {
        let store = spec.open_in_place_of(before)?;
        let serial = spec.serial.clone().unwrap_or_else(|| default_serial(&spec.kind));
        let mut unit = LogicalUnitConfig {
            read_only: spec.read_only,
            write_cache: spec.write_cache,
            thin: !matches!(spec.kind, StoreKind::Null { .. }),
            physical_block_exponent: spec.physical_block_exponent(),
            removable: spec.removable,
            protection: spec.protection.and_then(ProtectionType::from_number),
            ..LogicalUnitConfig::new(Geometry { block_size: spec.block_size, ..store.geometry() }, serial)
        };
        unit.limits.atomic_bytes_max = store.atomic_bytes_max().min(unit.limits.transfer_bytes_max);
        if matches!(spec.kind, StoreKind::Null { .. }) {
            unit.identity.product = NULL_PRODUCT.into();
        }
        Ok(Self { description: describe(&spec.kind), ..Self::new(store, unit) })
    }
}

impl Disk {
    /// What the disk says of itself.
    pub fn unit_mut(&mut self) -> &mut LogicalUnitConfig {
        &mut self.unit
    }

    /// The logical unit that the disk is as part of a target.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(super) fn unit_of(&self, target: &str, number: u16) -> io::Result<LogicalUnitConfig> {
        let mut unit = self.unit.clone();
        if unit.token_secret.is_none() {
            unit.token_secret = Some(token_secret()?);
        }
        unit.identity.serial = distinct_serial(target, number, &unit.identity.serial);
        // RFC 7143 4.4.2-1: the device has the name of the node.
        unit.identity.designators.push(Designator::scsi_name(Association::TargetDevice, Some(ISCSI), target));
        unit.identity.transport_version = Some(ISCSI_VERSION);
        Ok(unit)
    }
}

/// What a store is called by people.
fn describe(kind: &StoreKind) -> String {
    match kind {
        StoreKind::Memory { .. } => "memory".into(),
        StoreKind::Null { .. } => "null".into(),
        StoreKind::File { path, .. } => path.display().to_string(),
    }
}

/// The same store has the same serial number whenever it is opened.
fn default_serial(kind: &StoreKind) -> String {
    match kind {
        StoreKind::Memory { .. } => "memory".into(),
        StoreKind::Null { .. } => "null".into(),
        StoreKind::File { path, .. } => {
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            format!("file-{:016x}", fnv_1a(path.as_os_str().as_encoded_bytes()))
        }
    }
}

/// What the tokens of a unit are made with, as long as it is there.
fn token_secret() -> io::Result<TokenSecret> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(TokenSecret::new(random))
}

/// Disks in memory have no name of their own: where they are makes one.
fn distinct_serial(target: &str, number: u16, serial: &str) -> String {
    if matches!(serial, "memory" | "null") {
        format!("{serial}-{:016x}-{number}", fnv_1a(target.as_bytes()))
    } else {
        serial.into()
    }
}

/// A disk of a configuration: one that is open, or one that is opened when a server begins to serve it.
#[derive(Clone, Debug)]
pub enum DiskSource {
    /// One that is open. It is the same as another if both have the same store.
    Opened(Box<Disk>),
    /// One that is described. It is the same as another that is described alike.
    Described(DescribedDisk),
}

/// What a disk is to be, as an operator describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedDisk {
    /// Its store, and most of what its unit says of itself.
    pub store: StoreSpec,
    /// Vendor identification, at most 8 ASCII characters, if not ours.
    pub vendor: Option<String>,
    /// Names of the unit for VPD page 83h beside those that follow from its serial number.
    pub names: Vec<Designator>,
}

impl DescribedDisk {
    /// Its size, if the description says it, in bytes.
    pub(super) fn size_bytes(&mut self) -> Option<&mut u64> {
        match &mut self.store.kind {
            StoreKind::Memory { size_bytes } | StoreKind::Null { size_bytes } => Some(size_bytes),
            StoreKind::File { size_bytes, .. } => size_bytes.as_mut(),
        }
    }
}

impl DiskSource {
    /// The disk, opened if it is not, in the place of a store on the same file if its lock is among those of stores that are about to go.
    ///
    /// # Errors
    /// The store cannot be opened.
    pub(super) fn open_in_place_of(&self, before: &mut Vec<FileLock>) -> Result<Disk, OpenError> {
        match self {
            Self::Opened(disk) => Ok(Disk::clone(disk)),
            Self::Described(DescribedDisk { store, vendor, names }) => {
                let mut disk = Disk::open_in_place_of(before, store)?;
                if let Some(vendor) = vendor {
                    disk.unit.identity.vendor = vendor.as_str().into();
                }
                disk.unit.identity.designators.extend_from_slice(names);
                Ok(disk)
            }
        }
    }

    /// Where its blocks are, for people.
    pub(super) fn description(&self) -> String {
        match self {
            Self::Opened(disk) => disk.description.clone(),
            Self::Described(disk) => describe(&disk.store.kind),
        }
    }
}

impl PartialEq for DiskSource {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Opened(one), Self::Opened(other)) => Arc::ptr_eq(&one.store, &other.store),
            (Self::Described(one), Self::Described(other)) => one == other,
            _ => false,
        }
    }
}

impl From<Disk> for DiskSource {
    fn from(disk: Disk) -> Self {
        Self::Opened(Box::new(disk))
    }
}

impl From<DescribedDisk> for DiskSource {
    fn from(disk: DescribedDisk) -> Self {
        Self::Described(disk)
    }
}

impl From<StoreSpec> for DiskSource {
    fn from(store: StoreSpec) -> Self {
        Self::Described(DescribedDisk { store, vendor: None, names: Vec::new() })
    }
}
