//! What a logical unit is: its size, its names, its limits. Checked once, when the device is built.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::copy::TokenSecret;
use crate::designator::{Association, Designator};
use crate::io::Geometry;
use crate::mode::ModeSettings;
use crate::opcodes::Operation;
use crate::protection::ProtectionType;
use crate::reservations::{self, UnknownForm};
use crate::vpd::{ManagementAddress, ManagementAddresses};

/// Everything that makes one logical unit.
///
/// Start from [`LogicalUnitConfig::new`] and change what differs:
///
/// ```
/// use scsi_block::{Geometry, LogicalUnitConfig};
///
/// let config = LogicalUnitConfig {
///     thin: true,
///     ..LogicalUnitConfig::new(Geometry { block_size: 512, blocks: 1 << 21 }, "serial-1")
/// };
/// assert!(config.check().is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct LogicalUnitConfig {
    /// Block size and number of blocks.
    pub geometry: Geometry,
    /// A physical block holds two to this power logical blocks, 0 to 15: told to initiators, so that they align to it.
    pub physical_block_exponent: u8,
    /// What it calls itself.
    pub identity: Identity,
    /// Writes are refused with DATA PROTECT.
    pub read_only: bool,
    /// The default of WCE: whether a write may be GOOD before it would survive a power cut.
    pub write_cache: bool,
    /// Blocks can be given back: UNMAP, WRITE SAME with UNMAP; unmapped blocks read as zeros.
    pub thin: bool,
    /// The medium can be taken out: PREVENT ALLOW MEDIUM REMOVAL, and START STOP UNIT with LOEJ.
    pub removable: bool,
    /// Protection information is kept with each block (SBC-4 4.21). The store's blocks then have
    /// [`PROTECTION_BYTES`](crate::protection::PROTECTION_BYTES) more than `geometry` says. Such a unit takes no part in copies.
    pub protection: Option<ProtectionType>,
    /// It tells initiators that it has a rotating medium, where order of access matters.
    pub rotational: bool,
    /// How much one command may ask for.
    pub limits: Limits,
    /// What tokens for the unit's blocks are made with (POPULATE TOKEN), to be drawn anew whenever the unit is added to a device. `None` if it makes
    /// none.
    pub token_secret: Option<TokenSecret>,
    /// The records that the unit has given to be kept ([`BlockIo::Keep`](crate::BlockIo::Keep)) before it lost power. `None` if nobody
    /// keeps records: then the unit says that its reservations do not outlive a loss of power, and refuses APTPL; and that it cannot save mode
    /// pages, and refuses to.
    pub kept: Option<Kept>,
}

/// Records by name, as they were kept last.
pub type Kept = BTreeMap<String, Bytes>;

/// The names of a logical unit. All are printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// T10 vendor identification, to 8 bytes.
    pub vendor: String,
    /// Product identification, to 16 bytes.
    pub product: String,
    /// Product revision level, to 4 bytes.
    pub revision: String,
    /// Unit serial number, 1 to 64 bytes. The NAA designator of VPD page 83h is derived from it, so units with
    /// different serials have different names, and one with the same serial keeps its name for ever.
    pub serial: String,
    /// Further designators for VPD page 83h, such as the name of the target device that the transport knows. Those of target ports come from
    /// the [device](crate::TargetDevice::with_ports).
    pub designators: Vec<Designator>,
    /// Where management of the device is reached over a network, for VPD page 85h: to 16 URLs of printable ASCII.
    pub management_addresses: Vec<ManagementAddress>,
    /// Version descriptor of the transport for the INQUIRY data (SPC-5 table 149), if there is one.
    pub transport_version: Option<u16>,
}

/// How much one command may ask for; told to initiators in VPD page B0h, and refused beyond.
///
/// Each is rounded down to whole blocks and must be at least one block, but for `compare_and_write_blocks_max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in one READ, WRITE, WRITE AND VERIFY or VERIFY: 8 MiB unless changed, to 16 MiB.
    pub transfer_bytes_max: u32,
    /// Bytes that are best read or written at once: 1 MiB unless changed.
    pub transfer_bytes_optimal: u32,
    /// Bytes that one UNMAP may cover: 512 MiB unless changed.
    pub unmap_bytes_max: u64,
    /// Descriptors in one UNMAP, to 4095: 256 unless changed.
    pub unmap_descriptors_max: u16,
    /// Bytes that are best unmapped together and aligned: 4096 unless changed.
    pub unmap_granularity_bytes: u32,
    /// Bytes that one WRITE SAME may cover: 16 MiB unless changed.
    pub write_same_bytes_max: u64,
    /// Blocks in one COMPARE AND WRITE: 255 unless changed; 0 leaves the command out.
    pub compare_and_write_blocks_max: u8,
    /// Bytes in one WRITE ATOMIC: 0 unless changed, which leaves the command out. Only for stores of which a power cut in the middle of
    /// a write leaves all of it or nothing.
    pub atomic_bytes_max: u32,
    /// Tasks that one nexus may have: 1024 unless changed. A command that comes on top ends with TASK SET FULL.
    pub tasks_max: u16,
    /// How full of a hundred the store of a thin unit is when initiators are told THIN PROVISIONING SOFT THRESHOLD REACHED: 80 unless changed,
    /// 1 to 100.
    pub soft_threshold_percent: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transfer_bytes_max: 8 << 20,
            transfer_bytes_optimal: 1 << 20,
            unmap_bytes_max: 512 << 20,
            unmap_descriptors_max: 256,
            unmap_granularity_bytes: 4096,
            write_same_bytes_max: 16 << 20,
            compare_and_write_blocks_max: 255,
            atomic_bytes_max: 0,
            tasks_max: 1024,
            soft_threshold_percent: 80,
        }
    }
}

/// The most that [`Limits::transfer_bytes_max`] may be.
pub const TRANSFER_BYTES_LIMIT: u32 = 16 << 20;

/// The most that [`Limits::unmap_descriptors_max`] may be: what a parameter list of 64 KiB holds.
pub const UNMAP_DESCRIPTORS_LIMIT: u16 = 4095;

/// Why a configuration makes no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A LUN field that names no unit by a number of 16 bits.
    #[error("LUN {0} is not a number that a unit can have")]
    Number(crate::LogicalUnitNumber),
    /// Two units have the same number.
    #[error("LUN {0} is given twice")]
    Duplicate(crate::LogicalUnitNumber),
    /// Two units have the same serial number, and would be taken for two ways to one.
    #[error("the serial number {0} is given to two units, and initiators would take them for one")]
    DuplicateSerial(String),
    /// Two units have the same name, and would be taken for two ways to one.
    #[error("the name {0} is given to two units, and initiators would take them for one")]
    DuplicateName(Designator),
    /// A block size that is neither 512 nor 4096.
    #[error("blocks of {0} bytes are not supported; choose 512 or 4096")]
    BlockSize(u32),
    /// No blocks, or so many that byte offsets overflow.
    #[error("{0} blocks make no medium")]
    Blocks(u64),
    /// A name that is too long, empty, or not printable ASCII.
    #[error("the {field} must be at most {bytes_max} printable ASCII characters")]
    Name {
        /// Which name.
        field: &'static str,
        /// The most it may have.
        bytes_max: usize,
    },
    /// A relative target port identifier that is 0, or that two ports have.
    #[error("relative target port identifier {0}: each target port has one of its own, 1 to 65535")]
    TargetPort(u16),
    /// A target port group whose number is 0 or that of another, or that has no port, or too many.
    #[error("target port group {0}: each has a number of its own, 1 to 65535, and 1 to 255 target ports")]
    TargetPortGroup(u16),
    /// No target port group, or too many.
    #[error("{0} target port groups are not supported; there are 1 to 256")]
    TargetPortGroups(usize),
    /// A designator of more than 255 bytes.
    #[error("a designator has {0} bytes; 255 fit")]
    Designator(usize),
    /// A limit that is out of its range.
    #[error("the limit {0} is out of its range")]
    Limit(&'static str),
    /// A record that was kept is damaged, or from another version.
    #[error("what was kept of unit {serial} is of no use: {error}; restore it, or remove it to start without")]
    Kept {
        /// The serial number of the unit.
        serial: String,
        /// Which record.
        error: UnknownForm,
    },
}

impl LogicalUnitConfig {
    /// A writable unit with a volatile write cache and no provisioning, with default names and limits.
    pub fn new(geometry: Geometry, serial: impl Into<String>) -> Self {
        Self {
            geometry,
            physical_block_exponent: 0,
            identity: Identity {
                vendor: "FERRISCS".into(),
                product: "BLOCK DEVICE".into(),
                revision: "0001".into(),
                serial: serial.into(),
                designators: Vec::new(),
                management_addresses: Vec::new(),
                transport_version: None,
            },
            read_only: false,
            write_cache: true,
            thin: false,
            removable: false,
            protection: None,
            rotational: false,
            limits: Limits::default(),
            token_secret: None,
            kept: None,
        }
    }

    /// The mode parameters that a unit has before anybody changes them.
    pub fn default_settings(&self) -> ModeSettings {
        ModeSettings::new(self.write_cache)
    }

    /// Whether the unit carries the command out.
    pub(crate) fn supports(&self, operation: Operation) -> bool {
        use Operation as Op;
        match operation {
            Op::Unmap | Op::GetLbaStatus16 | Op::GetLbaStatus32 => self.thin,
            Op::PreventAllowMediumRemoval => self.removable,
            Op::CompareAndWrite => self.limits.compare_and_write_blocks_max > 0,
            Op::ExtendedCopyLid1
            | Op::ExtendedCopyLid4
            | Op::CopyOperationAbort
            | Op::ReceiveCopyStatusLid1
            | Op::ReceiveCopyDataLid1
            | Op::ReceiveCopyOperatingParameters
            | Op::ReceiveCopyFailureDetails
            | Op::ReceiveCopyStatusLid4
            | Op::WriteUsingToken
            | Op::ReceiveRodTokenInformation => self.copies(),
            Op::PopulateToken | Op::ReportAllRodTokens => self.copies() && self.token_secret.is_some(),
            Op::WriteAtomic16 => self.limits.atomic_bytes_max > 0,
            // SBC-4 5.18: these are for protection of type 2 alone.
            Op::Read32 | Op::Verify32 | Op::Write32 | Op::WriteAndVerify32 | Op::WriteSame32 => {
                self.protection == Some(ProtectionType::Two)
            }
            _ => true,
        }
    }

    /// Whether the unit takes part in copies inside the target: blocks with protection information stay where they are.
    pub(crate) fn copies(&self) -> bool {
        self.protection.is_none()
    }

    /// Blocks of which a WRITE ATOMIC has a whole number, and at a multiple of which it begins: a physical block.
    pub(crate) fn atomic_unit(&self) -> u64 {
        1 << self.physical_block_exponent
    }

    /// Whether the record of its reservations is damaged: then a unit refuses nearly everything until REPLACE LOST RESERVATION (SPC-4 5.13.5.3).
    pub fn has_lost_reservations(&self) -> bool {
        self.kept.as_ref().is_some_and(reservations::are_lost)
    }

    /// Bytes that the store has for each block.
    pub fn stored_block_bytes(&self) -> u32 {
        self.geometry.block_size + self.protection.map_or(0, |_| crate::protection::PROTECTION_BYTES)
    }

    /// Whether mode parameters can be saved.
    pub(crate) fn saves_settings(&self) -> bool {
        self.kept.is_some()
    }

    /// Blocks in `bytes`, as a 32-bit field of VPD page B0h has them.
    pub(crate) fn blocks_in(&self, bytes: u64) -> u32 {
        u32::try_from(bytes / u64::from(self.geometry.block_size)).unwrap_or(u32::MAX)
    }

    /// Looks whether a device can be built from this.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Geometry { block_size, blocks } = self.geometry;
        if !matches!(block_size, 512 | 4096) {
            return Err(ConfigError::BlockSize(block_size));
        }
        if blocks == 0 || blocks > i64::MAX as u64 / u64::from(block_size) {
            return Err(ConfigError::Blocks(blocks));
        }
        if self.physical_block_exponent > 15 {
            return Err(ConfigError::Limit("physical_block_exponent"));
        }
        self.identity.check()?;
        self.limits.check(block_size)
    }
}

impl Identity {
    /// The designators of the unit and of what it is part of.
    pub(crate) fn designators(&self) -> impl Iterator<Item = Designator> {
        let own = [Designator::naa_local(self.serial.as_bytes()), Designator::t10_vendor(&self.vendor, &self.serial)];
        own.into_iter().chain(self.designators.iter().cloned())
    }

    /// The names of the unit itself.
    pub(crate) fn names(&self) -> impl Iterator<Item = Designator> {
        self.designators().filter(|designator| designator.association == Association::LogicalUnit)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let names = [
            ("vendor", &self.vendor, 8),
            ("product", &self.product, 16),
            ("revision", &self.revision, 4),
            ("serial", &self.serial, 64),
        ];
        let printable = |text: &str| text.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
        for (field, text, bytes_max) in names {
            if text.is_empty() || text.len() > bytes_max || !printable(text) {
                return Err(ConfigError::Name { field, bytes_max });
            }
        }
        if self.management_addresses.len() > ManagementAddresses::COUNT_MAX {
            return Err(ConfigError::Limit("number of management addresses"));
        }
        let bytes_max = ManagementAddress::ADDRESS_BYTES_MAX;
        let wrong = |url: &str| url.is_empty() || url.len() > bytes_max || !printable(url);
        if self.management_addresses.iter().any(|address| wrong(&address.address)) {
            return Err(ConfigError::Name { field: "management address", bytes_max });
        }
        match self.designators.iter().find(|designator| designator.value.len() > Designator::VALUE_BYTES_MAX) {
            Some(long) => Err(ConfigError::Designator(long.value.len())),
            None => Ok(()),
        }
    }
}

impl Limits {
    fn check(&self, block_size: u32) -> Result<(), ConfigError> {
        let block = u64::from(block_size);
        let transfer_bytes_max = u64::from(self.transfer_bytes_max);
        let ranges = [
            ("transfer_bytes_max", transfer_bytes_max, block, TRANSFER_BYTES_LIMIT.into()),
            ("transfer_bytes_optimal", self.transfer_bytes_optimal.into(), block, transfer_bytes_max),
            ("unmap_bytes_max", self.unmap_bytes_max, block, u64::from(u32::MAX) * block),
            ("unmap_descriptors_max", self.unmap_descriptors_max.into(), 1, UNMAP_DESCRIPTORS_LIMIT.into()),
            ("unmap_granularity_bytes", self.unmap_granularity_bytes.into(), block, u32::MAX.into()),
            ("atomic_bytes_max", self.atomic_bytes_max.into(), 0, transfer_bytes_max),
            ("soft_threshold_percent", self.soft_threshold_percent.into(), 1, 100),
            ("tasks_max", self.tasks_max.into(), 1, u16::MAX.into()),
            ("write_same_bytes_max", self.write_same_bytes_max, block, u64::from(u32::MAX) * block),
        ];
        match ranges.into_iter().find(|(_, value, least, most)| !(least..=most).contains(&value)) {
            Some((name, ..)) => Err(ConfigError::Limit(name)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> LogicalUnitConfig {
        LogicalUnitConfig::new(Geometry { block_size: 4096, blocks: 1 }, "s")
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert_eq!(config().check(), Ok(()));
        let mut wrong = config();
        wrong.geometry.block_size = 520;
        assert_eq!(wrong.check(), Err(ConfigError::BlockSize(520)));
        let mut wrong = config();
        wrong.geometry.blocks = u64::MAX;
        assert_eq!(wrong.check(), Err(ConfigError::Blocks(u64::MAX)));
        let mut wrong = config();
        wrong.identity.serial.clear();
        assert!(matches!(wrong.check(), Err(ConfigError::Name { field: "serial", .. })));
        let mut wrong = config();
        wrong.limits.transfer_bytes_max = 2048;
        assert_eq!(wrong.check(), Err(ConfigError::Limit("transfer_bytes_max")));
    }
}
