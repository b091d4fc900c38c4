//! INQUIRY (SPC-5 6.6): the standard data and the pages of vital product data of a unit.

use bytes::Bytes;

use super::{Context, allocated};
use crate::access::AccessState;
use crate::cdb::Cdb;
use crate::config::LogicalUnitConfig;
use crate::copy::ThirdPartyCopy;
use crate::designator::{Association, Designator};
use crate::inquiry::{Peripheral, StandardInquiry};
use crate::log::THRESHOLD_EXPONENT;
use crate::opcodes::{Field, Operation};
use crate::ports::{TargetPort, TargetPortGroup};
use crate::protection::ProtectionType;
use crate::rights::DeviceView;
use crate::sense::{AdditionalSense, SENSE_BYTES_MAX, Sense};
use crate::vpd::{
    self, BlockDeviceCharacteristics, BlockLimits, DeviceIdentification, ExtendedInquiry, LogicalBlockProvisioning,
    ManagementAddresses, ModePagePolicies, ModePagePolicy, ReferralsPage, ScsiPort, ScsiPorts, page,
};

/// VERSION of the INQUIRY data: SPC-4.
const VERSION: u8 = 6;
/// Version descriptors: SAM-5, SPC-4, SBC-3, each with no version claimed (SPC-5 table 149).
const VERSION_DESCRIPTORS: [u16; 3] = [0x00a0, 0x0460, 0x04c0];

/// TPGS: access states change by SET TARGET PORT GROUPS and by the device itself.
const IMPLICIT_AND_EXPLICIT: u8 = 3;

/// INQUIRY to a unit that is there.
pub(super) fn inquiry(context: &Context<'_>, cdb: &Cdb) -> Result<Bytes, Sense> {
    let code = cdb.get(Field::PageCode) as u8;
    let config = &context.unit.config;
    let peripheral = peripheral(context);
    let data = match cdb.has(Field::EnableVitalProductData) {
        true => {
            let body = vital_product_data(context, config, code).ok_or(cdb.refuse(Field::PageCode))?;
            vpd::with_header(peripheral, code, &body)
        }
        false if code != 0 => return Err(cdb.refuse(Field::PageCode)),
        false => {
            let multiple_ports = context.unit.ports().all().nth(1).is_some();
            StandardInquiry { peripheral, multiple_ports, ..standard(Some(config)) }.encode()
        }
    };
    Ok(allocated(cdb, data))
}

/// Through a port in the unavailable state a unit is as one that could be there and is not (SPC-4 5.16.2).
fn peripheral(context: &Context<'_>) -> Peripheral {
    match context.unit.look(|state| state.access_through(context.nexus)) {
        AccessState::Unavailable => Peripheral { qualifier: 1, ..Peripheral::DIRECT_ACCESS },
        _ => Peripheral::DIRECT_ACCESS,
    }
}

/// The names that the port has by number which the command came through, and its own; none if it is gone.
fn names_of_port(context: &Context<'_>) -> Vec<Designator> {
    let ports = context.unit.ports();
    let identifier = context.unit.look(|state| state.name(context.nexus).map(|name| name.path.target_port));
    let Some((group, port)) = identifier.and_then(|identifier| ports.find(identifier)) else { return Vec::new() };
    let numbers = [
        Designator::relative_target_port(port.identifier, port.protocol()),
        Designator::target_port_group(group.number, port.protocol()),
    ];
    numbers.into_iter().chain(port.name.clone()).collect()
}

/// INQUIRY to a LUN that has no unit: the standard data says so.
pub(crate) fn inquiry_without_unit(cdb: &Cdb) -> Result<Bytes, Sense> {
    cdb.check_refused(false)?;
    if cdb.has(Field::EnableVitalProductData) {
        return Err(Sense::illegal(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED));
    }
    if cdb.has(Field::PageCode) {
        return Err(cdb.refuse(Field::PageCode));
    }
    Ok(allocated(cdb, standard(None).encode()))
}

/// INQUIRY to a well-known unit: it is of the same make as the others, and has the names of the device alone.
pub(super) fn inquiry_of_well_known(device: &DeviceView, cdb: &Cdb) -> Result<Vec<u8>, Sense> {
    const PAGES: [u8; 2] = [page::SUPPORTED_PAGES, page::DEVICE_IDENTIFICATION];
    let roster = device.roster();
    let config = roster.units().next().map(|(_, unit)| &unit.config);
    let code = cdb.get(Field::PageCode) as u8;
    let body = match (cdb.has(Field::EnableVitalProductData), code) {
        (false, 0) => {
            let standard = StandardInquiry {
                peripheral: Peripheral::WELL_KNOWN,
                removable: false,
                normal_aca: false,
                target_port_groups: 0,
                protection: false,
                ..standard(config)
            };
            return Ok(standard.encode());
        }
        (true, page::SUPPORTED_PAGES) => PAGES.to_vec(),
        (true, page::DEVICE_IDENTIFICATION) => {
            let all = config.into_iter().flat_map(|config| &config.identity.designators);
            let of_device = all.filter(|designator| designator.association == Association::TargetDevice);
            DeviceIdentification(of_device.cloned().collect()).encode()
        }
        _ => return Err(cdb.refuse(Field::PageCode)),
    };
    Ok(vpd::with_header(Peripheral::WELL_KNOWN, code, &body))
}

fn standard(config: Option<&LogicalUnitConfig>) -> StandardInquiry {
    let identity = config.map(|config| &config.identity);
    let transport = identity.and_then(|identity| identity.transport_version);
    let name = |name: Option<&String>| name.cloned().unwrap_or_default();
    StandardInquiry {
        peripheral: if config.is_some() { Peripheral::DIRECT_ACCESS } else { Peripheral::NOT_SUPPORTED },
        removable: config.is_some_and(|config| config.removable),
        version: VERSION,
        normal_aca: config.is_some(),
        target_port_groups: if config.is_some() { IMPLICIT_AND_EXPLICIT } else { 0 },
        third_party_copy: config.is_some_and(LogicalUnitConfig::copies),
        protection: config.is_some_and(|config| config.protection.is_some()),
        multiple_ports: false,
        command_queue: true,
        vendor: name(identity.map(|identity| &identity.vendor)),
        product: name(identity.map(|identity| &identity.product)),
        revision: name(identity.map(|identity| &identity.revision)),
        version_descriptors: VERSION_DESCRIPTORS.into_iter().chain(transport).collect(),
    }
}

/// The body of the page of that code.
fn vital_product_data(context: &Context<'_>, config: &LogicalUnitConfig, code: u8) -> Option<Vec<u8>> {
    Some(match code {
        page::SUPPORTED_PAGES => {
            vpd::PAGES.iter().copied().filter(|code| *code != page::THIRD_PARTY_COPY || config.copies()).collect()
        }
        page::UNIT_SERIAL_NUMBER => config.identity.serial.clone().into_bytes(),
        page::DEVICE_IDENTIFICATION => identification(context, config).encode(),
        page::MANAGEMENT_ADDRESSES => ManagementAddresses(config.identity.management_addresses.clone()).encode(),
        // MODE SELECT of one nexus changes what all others find, and nothing at other units.
        page::MODE_PAGE_POLICY => ModePagePolicies(vec![ModePagePolicy::ALL_SHARED]).encode(),
        page::SCSI_PORTS => scsi_ports(context).encode(),
        page::EXTENDED_INQUIRY => extended(config).encode(),
        page::THIRD_PARTY_COPY if config.copies() => ThirdPartyCopy::of(config).encode(),
        page::BLOCK_LIMITS => block_limits(config).encode(),
        page::BLOCK_DEVICE_CHARACTERISTICS => characteristics(config).encode(),
        page::LOGICAL_BLOCK_PROVISIONING => provisioning(config).encode(),
        // The one segment is told by REPORT REFERRALS.
        page::REFERRALS => ReferralsPage::default().encode(),
        _ => return None,
    })
}

/// The names of the unit, of the port that the command came through, and of the device.
fn identification(context: &Context<'_>, config: &LogicalUnitConfig) -> DeviceIdentification {
    DeviceIdentification(config.identity.designators().chain(names_of_port(context)).collect())
}

/// All ports with their names.
fn scsi_ports(context: &Context<'_>) -> ScsiPorts {
    let port = |(_, port): (&TargetPortGroup, &TargetPort)| ScsiPort {
        identifier: port.identifier,
        initiator_port: Vec::new(),
        target_port: port.name.iter().cloned().collect(),
    };
    ScsiPorts(context.unit.ports().all().map(port).collect())
}

fn extended(config: &LogicalUnitConfig) -> ExtendedInquiry {
    let protected = config.protection.is_some();
    ExtendedInquiry {
        supported_protection_types: config.protection.map_or(0, ProtectionType::supported_types),
        checks_guard: protected,
        checks_application_tag: protected,
        checks_reference_tag: protected,
        head_of_queue: true,
        ordered: true,
        simple: true,
        volatile_cache: true,
        referrals: true,
        sense_bytes_max: SENSE_BYTES_MAX,
        ..ExtendedInquiry::default()
    }
}

fn block_limits(config: &LogicalUnitConfig) -> BlockLimits {
    const TRANSFER_GRANULARITY_BYTES: u32 = 4096;
    let limits = &config.limits;
    let atomic = config.supports(Operation::WriteAtomic16);
    let physical_block = 1 << config.physical_block_exponent;
    let common = BlockLimits {
        compare_and_write_max: match config.supports(Operation::CompareAndWrite) {
            true => limits.compare_and_write_blocks_max,
            false => 0,
        },
        transfer_granularity: physical_block.max((TRANSFER_GRANULARITY_BYTES / config.geometry.block_size) as u16),
        transfer_max: config.blocks_in(limits.transfer_bytes_max.into()),
        transfer_optimal: config.blocks_in(limits.transfer_bytes_optimal.into()),
        prefetch_max: 0,
        atomic_transfer_max: if atomic { config.blocks_in(limits.atomic_bytes_max.into()) } else { 0 },
        atomic_alignment: if atomic { config.atomic_unit() as u32 } else { 0 },
        atomic_granularity: if atomic { config.atomic_unit() as u32 } else { 0 },
        write_same_max: limits.write_same_bytes_max / u64::from(config.geometry.block_size),
        ..BlockLimits::default()
    };
    match config.thin {
        true => BlockLimits {
            unmap_max: config.blocks_in(limits.unmap_bytes_max),
            unmap_descriptors_max: limits.unmap_descriptors_max.into(),
            unmap_granularity: config.blocks_in(limits.unmap_granularity_bytes.into()),
            unmap_alignment: Some(0),
            ..common
        },
        false => common,
    }
}

fn characteristics(config: &LogicalUnitConfig) -> BlockDeviceCharacteristics {
    const NOT_ROTATING: u16 = 1;
    const TURNS_PER_MINUTE: u16 = 7200;
    let rotation_rate = if config.rotational { TURNS_PER_MINUTE } else { NOT_ROTATING };
    // What was erased reads as zeros.
    const READS: u8 = 1;
    BlockDeviceCharacteristics {
        rotation_rate,
        form_factor: 0,
        read_after_block_erase: READS,
        read_after_cryptographic_erase: READS,
    }
}

fn provisioning(config: &LogicalUnitConfig) -> LogicalBlockProvisioning {
    const THIN: u8 = 2;
    match config.thin {
        true => LogicalBlockProvisioning {
            threshold_exponent: THRESHOLD_EXPONENT,
            unmap: true,
            write_same_16: true,
            write_same_10: true,
            reads_zero: 1,
            anchor: false,
            provisioning_type: THIN,
        },
        false => LogicalBlockProvisioning::default(),
    }
}
