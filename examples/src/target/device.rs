//! Devices of a `chiscsi.conf`: where their blocks are, and their names.

use std::path::PathBuf;

use chiscsi_config::{Device, DeviceKind};
use iscsi_runtime::{Disk, OpenError, StoreKind, StoreSpec};
use scsi_block::designator::Designator;

/// A device as it is, or as big as it is and without its blocks (NULLRW).
pub(super) fn describe(device: &Device) -> Result<StoreSpec, OpenError> {
    let mut spec = store(device);
    if device.null && matches!(spec.kind, StoreKind::File { .. }) {
        let geometry = Disk::open(&StoreSpec { read_only: true, ..spec.clone() })?.unit_mut().geometry;
        spec.kind = StoreKind::Null { size_bytes: geometry.blocks * u64::from(geometry.block_size) };
    }
    Ok(spec)
}

/// The names of a device beside those that follow from its serial number (SPC-4 7.8.6): its ID with the vendor's, and its world wide name.
pub(super) fn names(device: &Device, vendor: &str) -> Vec<Designator> {
    let id = device.id.as_ref().map(|id| Designator::t10_vendor(vendor, id.as_str()));
    id.into_iter().chain(world_wide_name(device).map(Designator::of_64_bits)).collect()
}

/// The name of 64 bits that its line gives it, if it does.
pub(super) fn world_wide_name(device: &Device) -> Option<u64> {
    let text = device.wwn.as_ref()?.as_str();
    let is_one = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_one.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// Where the blocks of a device are.
pub(super) fn store(device: &Device) -> StoreSpec {
    let path = PathBuf::from(device.path.as_str());
    let kind = match device.kind {
        DeviceKind::Memory { bytes } if device.null => StoreKind::Null { size_bytes: bytes },
        DeviceKind::Memory { bytes } => StoreKind::Memory { size_bytes: bytes },
        DeviceKind::File { .. } => StoreKind::File { path, size_bytes: None, direct: false },
        DeviceKind::Block => StoreKind::File { path, size_bytes: None, direct: true },
    };
    StoreSpec {
        serial: device.serial.as_ref().map(|serial| serial.as_str().into()),
        read_only: device.read_only,
        write_cache: matches!(device.kind, DeviceKind::File { sync: false } | DeviceKind::Block),
        ..StoreSpec::new(kind)
    }
}
