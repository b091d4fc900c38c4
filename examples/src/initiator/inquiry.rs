//! `inquiry`: who a logical unit says it is, for people and as JSON.
//!
//! In: the bytes of the standard data and of each page. Out: [`Section`]s, which are printed as text or as JSON. A page that nothing here
//! decodes is shown in hexadecimal.

use iscsi_runtime::url::Url;
use scsi_block::DecodeError;
use scsi_block::cdb::Cdb;
use scsi_block::designator::{Association, Designator};
use scsi_block::inquiry::StandardInquiry;
use scsi_block::vpd::{
    BlockDeviceCharacteristics, BlockLimits, DeviceIdentification, ExtendedInquiry, LogicalBlockProvisioning,
    ManagementAddress, ManagementAddresses, ModePagePolicies, ModePagePolicy, ReferralsPage, ScsiPort, ScsiPorts,
    SupportedPages, UnitSerialNumber, page,
};
use serde_json::{Map, Value, json};

use super::connection::{Connection, at};
use super::section::{Item, Section, hexadecimal, item, named, to_json, to_text, told};
use super::unit::Unit;
use crate::failure::{Failure, Kind};
use crate::show;

/// Bytes that are asked for: all that the standard data can have for a byte-wide length.
const STANDARD_BYTES: u16 = 252;

/// Shows everything that INQUIRY tells of the unit.
///
/// # Errors
/// The unit cannot be asked, or its standard data makes no sense.
pub(super) fn run(url: &Url, connection: &Connection, json: bool) -> Result<(), Failure> {
    let unit = Unit::open(url, connection)?;
    let bytes = unit.read(&Cdb::inquiry(STANDARD_BYTES), STANDARD_BYTES.into()).map_err(at(url))?;
    let inquiry =
        StandardInquiry::decode(&bytes).map_err(|error| Failure::new(Kind::Device, error.to_string()).context(url))?;
    let standard = Section { title: "Standard data".into(), items: standard(&inquiry) };
    let mut pages = Vec::new();
    for code in unit.pages() {
        let bytes = unit.page(code);
        pages.push((code, bytes.map_or_else(|failure| refused(code, &failure), |bytes| section(code, &bytes))));
    }
    unit.close();
    if json {
        let pages: Map<String, Value> =
            pages.into_iter().map(|(code, section)| (format!("{code:02x}"), to_json(section))).collect();
        show::print(&json!({ "standard": to_json(standard), "pages": pages }).to_string());
    } else {
        let sections: Vec<String> =
            std::iter::once(standard).chain(pages.into_iter().map(|(_, section)| section)).map(to_text).collect();
        show::print(sections.join("\n").trim_end());
    }
    Ok(())
}

/// Peripheral device types (SPC-5 table 148).
const DEVICE_TYPES: &[(u8, &str)] = &[
    (0x00, "disk"),
    (0x01, "tape"),
    (0x05, "CD or DVD"),
    (0x07, "optical memory"),
    (0x08, "media changer"),
    (0x0c, "storage array controller"),
    (0x0d, "enclosure services"),
    (0x0e, "simplified disk"),
    (0x14, "zoned disk"),
    (0x1e, "well-known logical unit"),
    (0x1f, "unknown or none"),
];

/// Peripheral qualifiers (SPC-5 table 147).
const QUALIFIERS: &[(u8, &str)] = &[(0, "connected"), (1, "not connected"), (3, "not possible at this LUN")];

/// Versions of SPC (SPC-5 table 150).
const VERSIONS: &[(u8, &str)] =
    &[(0, "none"), (2, "SCSI-2"), (3, "SPC"), (4, "SPC-2"), (5, "SPC-3"), (6, "SPC-4"), (7, "SPC-5")];

/// TPGS (SPC-5 table 151).
const TARGET_PORT_GROUPS: &[(u8, &str)] =
    &[(0, "none"), (1, "implicit"), (2, "explicit"), (3, "implicit and explicit")];

fn standard(inquiry: &StandardInquiry) -> Vec<Item> {
    let descriptors: Vec<String> = inquiry.version_descriptors.iter().map(|code| format!("{code:#06x}")).collect();
    vec![
        item("device type", named(inquiry.peripheral.device_type, DEVICE_TYPES)),
        item("logical unit", named(inquiry.peripheral.qualifier, QUALIFIERS)),
        item("vendor", inquiry.vendor.as_str()),
        item("product", inquiry.product.as_str()),
        item("revision", inquiry.revision.as_str()),
        item("version", named(inquiry.version, VERSIONS)),
        item("removable medium", inquiry.removable),
        item("command queue", inquiry.command_queue),
        item("several ports", inquiry.multiple_ports),
        item("asymmetric access", named(inquiry.target_port_groups, TARGET_PORT_GROUPS)),
        item("third-party copy", inquiry.third_party_copy),
        item("protection", inquiry.protection),
        item("version descriptors", descriptors),
    ]
}

/// Names of VPD pages (SPC-5 table 590, SBC-4 table 265).
const PAGE_NAMES: &[(u8, &str)] = &[
    (page::SUPPORTED_PAGES, "supported pages"),
    (page::UNIT_SERIAL_NUMBER, "unit serial number"),
    (page::DEVICE_IDENTIFICATION, "device identification"),
    (0x84, "software interface identification"),
    (page::MANAGEMENT_ADDRESSES, "management network addresses"),
    (page::EXTENDED_INQUIRY, "extended INQUIRY data"),
    (page::MODE_PAGE_POLICY, "mode page policy"),
    (page::SCSI_PORTS, "SCSI ports"),
    (0x89, "ATA information"),
    (0x8a, "power condition"),
    (0x8d, "power consumption"),
    (0x8f, "third-party copy"),
    (page::BLOCK_LIMITS, "block limits"),
    (page::BLOCK_DEVICE_CHARACTERISTICS, "block device characteristics"),
    (page::LOGICAL_BLOCK_PROVISIONING, "logical block provisioning"),
    (page::REFERRALS, "referrals"),
    (0xb4, "supported block lengths"),
    (0xb5, "block device characteristics extension"),
    (0xb6, "zoned block device characteristics"),
    (0xb7, "block limits extension"),
];

fn title(code: u8) -> String {
    let name =
        PAGE_NAMES.iter().find(|(known, _)| *known == code).map_or("vendor specific or unknown", |(_, name)| name);
    format!("VPD page {code:02x}h, {name}")
}

fn refused(code: u8, failure: &Failure) -> Section {
    Section { title: title(code), items: vec![item("error", failure.to_string())] }
}

/// Decodes a page, or shows what came if it cannot be decoded.
fn section(code: u8, bytes: &[u8]) -> Section {
    let decoded = match code {
        page::SUPPORTED_PAGES => SupportedPages::decode(bytes).map(|pages| page_00(&pages)),
        page::UNIT_SERIAL_NUMBER => {
            UnitSerialNumber::decode(bytes).map(|serial| vec![item("unit serial number", serial.0)])
        }
        page::DEVICE_IDENTIFICATION => DeviceIdentification::decode(bytes).map(|names| page_83(&names)),
        page::EXTENDED_INQUIRY => ExtendedInquiry::decode(bytes).map(|page| page_86(&page)),
        page::MANAGEMENT_ADDRESSES => ManagementAddresses::decode(bytes).map(|addresses| page_85(&addresses)),
        page::MODE_PAGE_POLICY => ModePagePolicies::decode(bytes).map(|policies| page_87(&policies)),
        page::SCSI_PORTS => ScsiPorts::decode(bytes).map(|ports| page_88(&ports)),
        page::BLOCK_LIMITS => BlockLimits::decode(bytes).map(|limits| page_b0(&limits)),
        page::BLOCK_DEVICE_CHARACTERISTICS => BlockDeviceCharacteristics::decode(bytes).map(|device| page_b1(&device)),
        page::LOGICAL_BLOCK_PROVISIONING => LogicalBlockProvisioning::decode(bytes).map(|page| page_b2(&page)),
        page::REFERRALS => ReferralsPage::decode(bytes).map(page_b3),
        _ => Ok(vec![item("bytes", hexadecimal(bytes))]),
    };
    let undecodable = |error: DecodeError| vec![item("error", error.to_string()), item("bytes", hexadecimal(bytes))];
    Section { title: title(code), items: decoded.unwrap_or_else(undecodable) }
}

fn page_00(pages: &SupportedPages) -> Vec<Item> {
    vec![item("pages", pages.0.iter().map(|code| format!("{code:02x}h")).collect::<Vec<_>>())]
}

fn page_83(names: &DeviceIdentification) -> Vec<Item> {
    vec![item("designators", names.0.iter().map(designator).collect::<Vec<_>>())]
}

/// People read the members in the order of their names.
fn designator(name: &Designator) -> Value {
    json!({ "designator": name.to_string(), "of": of(name.association), "type": name.kind_name() })
}

fn of(association: Association) -> &'static str {
    match association {
        Association::LogicalUnit => "logical unit",
        Association::TargetPort => "target port",
        Association::TargetDevice => "target device",
        Association::Reserved => "reserved",
    }
}

fn page_85(addresses: &ManagementAddresses) -> Vec<Item> {
    let address = |own: &ManagementAddress| json!({ "address": own.address, "of": of(own.association), "service": own.service_name() });
    vec![item("addresses", addresses.0.iter().map(address).collect::<Vec<_>>())]
}

fn page_87(policies: &ModePagePolicies) -> Vec<Item> {
    let policy = |own: &ModePagePolicy| {
        let page = match (own.page, own.subpage) {
            (0x3f, 0xff) => "all others".into(),
            (page, 0xff) => format!("{page:02x}h, all subpages"),
            (page, subpage) => format!("{page:02x}h/{subpage:02x}h"),
        };
        let units = if own.across_units { "several units" } else { "one unit" };
        json!({ "page": page, "policy": own.name(), "units": units })
    };
    vec![item("policies", policies.0.iter().map(policy).collect::<Vec<_>>())]
}

fn page_88(ports: &ScsiPorts) -> Vec<Item> {
    let port = |own: &ScsiPort| {
        let names = own.target_port.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        json!({ "identifier": own.identifier, "name": names })
    };
    vec![item("ports", ports.0.iter().map(port).collect::<Vec<_>>())]
}

fn page_86(page: &ExtendedInquiry) -> Vec<Item> {
    const TYPES: &[(u8, &str)] =
        &[(0, "1"), (1, "1 and 2"), (2, "2"), (3, "1 and 3"), (4, "3"), (5, "2 and 3"), (7, "1, 2 and 3")];
    let checks = page.checks_guard || page.checks_application_tag || page.checks_reference_tag;
    let types = if checks { named(page.supported_protection_types, TYPES) } else { Value::Null };
    vec![
        item("protection types", types),
        item("guard check", page.checks_guard),
        item("application tag check", page.checks_application_tag),
        item("reference tag check", page.checks_reference_tag),
        item("unit attention details", page.unit_attention_specific),
        item("command groups", page.groups),
        item("command priority", page.priority),
        item("simple tasks", page.simple),
        item("ordered tasks", page.ordered),
        item("head of queue tasks", page.head_of_queue),
        item("write uncorrectable", page.write_uncorrectable),
        item("correction disable", page.correction_disable),
        item("volatile cache", page.volatile_cache),
        item("nonvolatile cache", page.nonvolatile_cache),
        item("no protection checks", page.no_protection_checks),
        item("protection intervals", page.protection_intervals),
        item("changed units told once", page.clears_luns_changed),
        item("referrals", page.referrals),
        item("reverts to defaults", page.reverts_to_defaults),
        item("self-test", told(page.self_test_minutes)).remark("minutes"),
        item("maximum sense data", told(page.sense_bytes_max)).remark("bytes"),
    ]
}

fn page_b0(limits: &BlockLimits) -> Vec<Item> {
    vec![
        item("maximum transfer", told(limits.transfer_max)).remark("blocks"),
        item("optimal transfer", told(limits.transfer_optimal)).remark("blocks"),
        item("optimal transfer granularity", told(limits.transfer_granularity)).remark("blocks"),
        item("maximum prefetch", told(limits.prefetch_max)).remark("blocks"),
        item("maximum compare and write", limits.compare_and_write_max).remark("blocks"),
        item("maximum unmap", limits.unmap_max).remark("blocks"),
        item("maximum unmap descriptors", limits.unmap_descriptors_max),
        item("optimal unmap granularity", told(limits.unmap_granularity)).remark("blocks"),
        item("unmap alignment", limits.unmap_alignment).remark("blocks"),
        item("maximum write same", told(limits.write_same_max)).remark("blocks"),
        item("write same of zero blocks", !limits.write_same_nonzero),
        item("maximum atomic transfer", told(limits.atomic_transfer_max)).remark("blocks"),
        item("atomic alignment", told(limits.atomic_alignment)).remark("blocks"),
        item("atomic granularity", told(limits.atomic_granularity)).remark("blocks"),
        item("transfer in atomic boundary", told(limits.atomic_transfer_max_with_boundary)).remark("blocks"),
        item("maximum atomic boundary", told(limits.atomic_boundary_max)).remark("blocks"),
    ]
}

fn page_b1(device: &BlockDeviceCharacteristics) -> Vec<Item> {
    const FORM_FACTORS: &[(u8, &str)] = &[
        (0, "not told"),
        (1, "5.25 inch"),
        (2, "3.5 inch"),
        (3, "2.5 inch"),
        (4, "1.8 inch"),
        (5, "less than 1.8 inch"),
    ];
    let rotation = match device.rotation_rate {
        0 => item("rotation", Value::Null),
        1 => item("rotation", "none, a solid state medium"),
        rate => item("rotation", rate).remark("turns a minute"),
    };
    const ERASED: &[(u8, &str)] = &[(0, "not told"), (1, "yes"), (2, "no"), (3, "perhaps")];
    vec![
        rotation,
        item("form factor", named(device.form_factor, FORM_FACTORS)),
        item("reads after block erase", named(device.read_after_block_erase, ERASED)),
        item("reads after cryptographic erase", named(device.read_after_cryptographic_erase, ERASED)),
    ]
}

/// Blocks in the unit that the log page of logical block provisioning counts space in.
fn threshold_set(exponent: u8) -> Value {
    match exponent {
        0 => Value::Null,
        _ => 1u64.checked_shl(exponent.into()).map_or(Value::Null, Value::from),
    }
}

fn page_b3(page: ReferralsPage) -> Vec<Item> {
    vec![
        item("user data segment size", told(page.segment_blocks)).remark("blocks"),
        item("user data segment multiplier", page.segment_multiplier),
    ]
}

fn page_b2(page: &LogicalBlockProvisioning) -> Vec<Item> {
    const KINDS: &[(u8, &str)] = &[(0, "full, or not told"), (1, "resource"), (2, "thin")];
    let reads = match page.reads_zero {
        0 => "not told",
        2 => "the initialization pattern",
        _ if page.reads_zero & 1 != 0 => "zeros",
        _ => "reserved",
    };
    vec![
        item("provisioning", named(page.provisioning_type, KINDS)),
        item("threshold set", threshold_set(page.threshold_exponent)).remark("blocks"),
        item("unmap", page.unmap),
        item("write same 16 with unmap", page.write_same_16),
        item("write same 10 with unmap", page.write_same_10),
        item("anchored blocks", page.anchor),
        item("unmapped blocks read as", reads),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn people_see_labels_values_and_units() {
        let mut bytes = vec![0; 64];
        bytes[..8].copy_from_slice(&[0, 0xb0, 0, 0x3c, 1, 0xff, 0, 8]);
        bytes[8..12].copy_from_slice(&16384u32.to_be_bytes());
        let text = to_text(section(0xb0, &bytes));
        let expected = [
            "VPD page b0h, block limits",
            "  maximum transfer              16384 blocks",
            "  optimal transfer              not told",
            "  maximum compare and write     255 blocks",
            "  write same of zero blocks     no",
        ];
        for line in expected {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn programs_see_the_same_by_name() {
        let page = [0, 0x83, 0, 12, 0x01, 0x03, 0, 8, 0x30, 0, 0, 0, 0, 0, 0, 0x2a];
        let json = to_json(section(0x83, &page));
        assert_eq!(json["designators"][0]["designator"], "naa.300000000000002a");
        assert_eq!(json["designators"][0]["of"], "logical unit");
        let ports = [0, 0x88, 0, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(to_json(section(0x88, &ports))["ports"][0], json!({ "identifier": 7, "name": "" }));
        let management = b"\0\x85\0\x08\x41\0\0\x04a:b\0";
        let expected = json!({ "address": "a:b", "of": "target device", "service": "storage configuration" });
        assert_eq!(to_json(section(0x85, management))["addresses"][0], expected);
        let policies = to_json(section(0x87, &[0, 0x87, 0, 4, 0x3f, 0xff, 0, 0]));
        assert_eq!(policies["policies"][0]["policy"], "shared");
        assert_eq!(to_json(section(0xb2, &[0, 0xb2, 0, 4, 0, 0xe4, 2, 0]))["unmap"], true);
        assert_eq!(to_json(section(0xc0, &[0, 0xc0, 0, 0]))["bytes"][0], "00 c0 00 00");
    }

    #[test]
    fn a_name_with_control_characters_is_made_harmless() {
        let page = [0, 0x83, 0, 8, 0x53, 0x98, 0, 4, b'a', 0x1b, b'[', 0];
        assert!(to_text(section(0x83, &page)).contains("a\u{fffd}["));
    }

    proptest! {
        #[test]
        fn any_page_is_shown(code: u8, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = to_json(section(code, &bytes));
            let _ = to_text(section(code, &bytes));
        }
    }
}
