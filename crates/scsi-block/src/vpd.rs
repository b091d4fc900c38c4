//! Pages of vital product data (SPC-5 7.7, SBC-4 6.6): values to bytes for the device, bytes to values for initiators.
//!
//! Each page is a type with `encode` (the page without its header) and `decode` (the whole page as it came). A page
//! that is shorter than T10 draws it decodes with zeros for what it lacks, as older devices send shorter pages.

mod extended;
mod management;
mod mode_policy;
mod referrals;
mod scsi_ports;

pub use extended::ExtendedInquiry;
pub use management::{ManagementAddress, ManagementAddresses};
pub use mode_policy::{ModePagePolicies, ModePagePolicy};
pub use referrals::ReferralsPage;
pub use scsi_ports::{ScsiPort, ScsiPorts};

use crate::designator::Designator;
use crate::inquiry::Peripheral;
use crate::octets::{DecodeError, be16, be32, be64, need, text};

/// The pages by number.
pub mod page {
    /// Supported VPD pages.
    pub const SUPPORTED_PAGES: u8 = 0x00;
    /// Unit serial number.
    pub const UNIT_SERIAL_NUMBER: u8 = 0x80;
    /// Device identification.
    pub const DEVICE_IDENTIFICATION: u8 = 0x83;
    /// Management network addresses.
    pub const MANAGEMENT_ADDRESSES: u8 = 0x85;
    /// Extended INQUIRY data.
    pub const EXTENDED_INQUIRY: u8 = 0x86;
    /// Mode page policy.
    pub const MODE_PAGE_POLICY: u8 = 0x87;
    /// SCSI ports.
    pub const SCSI_PORTS: u8 = 0x88;
    /// Third-party copy.
    pub const THIRD_PARTY_COPY: u8 = 0x8f;
    /// Block limits.
    pub const BLOCK_LIMITS: u8 = 0xb0;
    /// Block device characteristics.
    pub const BLOCK_DEVICE_CHARACTERISTICS: u8 = 0xb1;
    /// Logical block provisioning.
    pub const LOGICAL_BLOCK_PROVISIONING: u8 = 0xb2;
    /// Referrals.
    pub const REFERRALS: u8 = 0xb3;
}

/// The pages that a unit of this crate has, in order; one that keeps protection information does not have page 8Fh.
pub const PAGES: &[u8] = &[
    page::SUPPORTED_PAGES,
    page::UNIT_SERIAL_NUMBER,
    page::DEVICE_IDENTIFICATION,
    page::MANAGEMENT_ADDRESSES,
    page::EXTENDED_INQUIRY,
    page::MODE_PAGE_POLICY,
    page::SCSI_PORTS,
    page::THIRD_PARTY_COPY,
    page::BLOCK_LIMITS,
    page::BLOCK_DEVICE_CHARACTERISTICS,
    page::LOGICAL_BLOCK_PROVISIONING,
    page::REFERRALS,
];

const HEADER_BYTES: usize = 4;

/// Puts the header of page `code` before its `body`.
pub(crate) fn with_header(peripheral: Peripheral, code: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![peripheral.encode(), code];
    bytes.extend((body.len() as u16).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// The body of page `code`, cut to the page length that it states.
pub(crate) fn body<'a>(what: &'static str, code: u8, bytes: &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let bytes = need(what, bytes, HEADER_BYTES)?;
    if bytes[1] != code {
        return Err(DecodeError::Field { what, field: "PAGE CODE", value: bytes[1].into() });
    }
    let end = HEADER_BYTES + usize::from(be16(bytes, 2));
    Ok(&bytes[HEADER_BYTES..end.min(bytes.len())])
}

/// Page 00h: which pages there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportedPages(pub Vec<u8>);

impl SupportedPages {
    /// Reads the page.
    ///
    /// # Errors
    /// The header is cut or is another page's.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        body("VPD page 00h", page::SUPPORTED_PAGES, bytes).map(|body| Self(body.to_vec()))
    }
}

/// Page 80h: the serial number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitSerialNumber(pub String);

impl UnitSerialNumber {
    /// Reads the page; padding is left out.
    ///
    /// # Errors
    /// The header is cut or is another page's.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        body("VPD page 80h", page::UNIT_SERIAL_NUMBER, bytes).map(|body| Self(text(body)))
    }
}

/// Page 83h: the names of unit, port and device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceIdentification(pub Vec<Designator>);

impl DeviceIdentification {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.iter().for_each(|designator| designator.encode(&mut bytes));
        bytes
    }

    /// Reads the page.
    ///
    /// # Errors
    /// The header is cut or is another page's, or the list ends inside a designator.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Designator::decode_list(body("VPD page 83h", page::DEVICE_IDENTIFICATION, bytes)?).map(Self)
    }
}

/// Page B0h: how much one command may ask for (SBC-4 6.6.4). Counts are of blocks; zero says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockLimits {
    /// WSNZ: WRITE SAME takes no zero as number of blocks.
    pub write_same_nonzero: bool,
    /// MAXIMUM COMPARE AND WRITE LENGTH.
    pub compare_and_write_max: u8,
    /// OPTIMAL TRANSFER LENGTH GRANULARITY.
    pub transfer_granularity: u16,
    /// MAXIMUM TRANSFER LENGTH.
    pub transfer_max: u32,
    /// OPTIMAL TRANSFER LENGTH.
    pub transfer_optimal: u32,
    /// MAXIMUM PREFETCH LENGTH.
    pub prefetch_max: u32,
    /// MAXIMUM UNMAP LBA COUNT.
    pub unmap_max: u32,
    /// MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT.
    pub unmap_descriptors_max: u32,
    /// OPTIMAL UNMAP GRANULARITY.
    pub unmap_granularity: u32,
    /// UNMAP GRANULARITY ALIGNMENT, if UGAVALID.
    pub unmap_alignment: Option<u32>,
    /// MAXIMUM WRITE SAME LENGTH.
    pub write_same_max: u64,
    /// MAXIMUM ATOMIC TRANSFER LENGTH.
    pub atomic_transfer_max: u32,
    /// ATOMIC ALIGNMENT of the first block.
    pub atomic_alignment: u32,
    /// ATOMIC TRANSFER LENGTH GRANULARITY.
    pub atomic_granularity: u32,
    /// MAXIMUM ATOMIC TRANSFER LENGTH WITH ATOMIC BOUNDARY.
    pub atomic_transfer_max_with_boundary: u32,
    /// MAXIMUM ATOMIC BOUNDARY SIZE.
    pub atomic_boundary_max: u32,
}

impl BlockLimits {
    pub(crate) fn encode(&self) -> Vec<u8> {
        const ALIGNMENT_VALID: u32 = 1 << 31;
        let alignment = self.unmap_alignment.map_or(0, |alignment| alignment | ALIGNMENT_VALID);
        let mut bytes = vec![self.write_same_nonzero.into(), self.compare_and_write_max];
        bytes.extend(self.transfer_granularity.to_be_bytes());
        let words = [
            self.transfer_max,
            self.transfer_optimal,
            self.prefetch_max,
            self.unmap_max,
            self.unmap_descriptors_max,
            self.unmap_granularity,
            alignment,
        ];
        bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        bytes.extend(self.write_same_max.to_be_bytes());
        let atomic = [
            self.atomic_transfer_max,
            self.atomic_alignment,
            self.atomic_granularity,
            self.atomic_transfer_max_with_boundary,
            self.atomic_boundary_max,
        ];
        bytes.extend(atomic.iter().flat_map(|word| word.to_be_bytes()));
        bytes.resize(0x3c, 0);
        bytes
    }

    /// Reads the page.
    ///
    /// # Errors
    /// The header is cut or is another page's, or there is no room for the first four bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = need("VPD page B0h", body("VPD page B0h", page::BLOCK_LIMITS, bytes)?, 4)?;
        let alignment = be32(body, 28);
        Ok(Self {
            write_same_nonzero: body[0] & 1 != 0,
            compare_and_write_max: body[1],
            transfer_granularity: be16(body, 2),
            transfer_max: be32(body, 4),
            transfer_optimal: be32(body, 8),
            prefetch_max: be32(body, 12),
            unmap_max: be32(body, 16),
            unmap_descriptors_max: be32(body, 20),
            unmap_granularity: be32(body, 24),
            unmap_alignment: (alignment >> 31 != 0).then_some(alignment & 0x7fff_ffff),
            write_same_max: be64(body, 32),
            atomic_transfer_max: be32(body, 40),
            atomic_alignment: be32(body, 44),
            atomic_granularity: be32(body, 48),
            atomic_transfer_max_with_boundary: be32(body, 52),
            atomic_boundary_max: be32(body, 56),
        })
    }
}

/// Page B1h: what kind of medium it is (SBC-4 6.6.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockDeviceCharacteristics {
    /// MEDIUM ROTATION RATE: 0 not told, 1 does not rotate, else turns a minute.
    pub rotation_rate: u16,
    /// NOMINAL FORM FACTOR: 0 not told, 1 5.25", 2 3.5", 3 2.5", 4 1.8", 5 smaller.
    pub form_factor: u8,
    /// WABEREQ: whether blocks are read after a block erase without having been written: 0 not told, 1 yes, 2 no.
    pub read_after_block_erase: u8,
    /// WACEREQ: the same after a cryptographic erase.
    pub read_after_cryptographic_erase: u8,
}

impl BlockDeviceCharacteristics {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.rotation_rate.to_be_bytes().to_vec();
        let erase = (self.read_after_block_erase & 3) << 6 | (self.read_after_cryptographic_erase & 3) << 4;
        bytes.extend([0, erase | self.form_factor & 0x0f]);
        bytes.resize(0x3c, 0);
        bytes
    }

    /// Reads the page.
    ///
    /// # Errors
    /// The header is cut or is another page's, or there is no room for the first four bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = need("VPD page B1h", body("VPD page B1h", page::BLOCK_DEVICE_CHARACTERISTICS, bytes)?, 4)?;
        Ok(Self {
            rotation_rate: be16(body, 0),
            form_factor: body[3] & 0x0f,
            read_after_block_erase: body[3] >> 6,
            read_after_cryptographic_erase: body[3] >> 4 & 3,
        })
    }
}

/// Page B2h: what can be given back, and what it reads as then (SBC-4 6.6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogicalBlockProvisioning {
    /// THRESHOLD EXPONENT: two to this power blocks are a threshold set, in which space is counted; 0 says that it is not.
    pub threshold_exponent: u8,
    /// LBPU: UNMAP is supported.
    pub unmap: bool,
    /// LBPWS: WRITE SAME (16) with UNMAP is supported.
    pub write_same_16: bool,
    /// LBPWS10: WRITE SAME (10) with UNMAP is supported.
    pub write_same_10: bool,
    /// LBPRZ: 0 not told, xx1b zeros, 010b the provisioning initialization pattern.
    pub reads_zero: u8,
    /// ANC_SUP: blocks can be anchored.
    pub anchor: bool,
    /// PROVISIONING TYPE: 0 fully provisioned or not told, 1 resource, 2 thin.
    pub provisioning_type: u8,
}

impl LogicalBlockProvisioning {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let supported = u8::from(self.unmap) << 7
            | u8::from(self.write_same_16) << 6
            | u8::from(self.write_same_10) << 5
            | (self.reads_zero & 7) << 2
            | u8::from(self.anchor) << 1;
        vec![self.threshold_exponent, supported, self.provisioning_type & 7, 0]
    }

    /// Reads the page.
    ///
    /// # Errors
    /// The header is cut or is another page's, or there is no room for the first four bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = need("VPD page B2h", body("VPD page B2h", page::LOGICAL_BLOCK_PROVISIONING, bytes)?, 4)?;
        Ok(Self {
            threshold_exponent: body[0],
            unmap: body[1] & 0x80 != 0,
            write_same_16: body[1] & 0x40 != 0,
            write_same_10: body[1] & 0x20 != 0,
            reads_zero: body[1] >> 2 & 7,
            anchor: body[1] & 0x02 != 0,
            provisioning_type: body[2] & 7,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(code: u8, body: &[u8]) -> Vec<u8> {
        with_header(Peripheral::DIRECT_ACCESS, code, body)
    }

    #[test]
    fn block_limits_lie_where_sbc_draws_them() {
        let limits = BlockLimits {
            write_same_nonzero: true,
            compare_and_write_max: 0x11,
            transfer_granularity: 0x2222,
            transfer_max: 0x3333_3333,
            transfer_optimal: 0x4444_4444,
            prefetch_max: 0x5555_5555,
            unmap_max: 0x6666_6666,
            unmap_descriptors_max: 0x7777_7777,
            unmap_granularity: 0x0888_8888,
            unmap_alignment: Some(0x0999_9999),
            write_same_max: 0xaaaa_aaaa_aaaa_aaaa,
            atomic_transfer_max: 0xbbbb_bbbb,
            atomic_alignment: 0xcccc_cccc,
            atomic_granularity: 0xdddd_dddd,
            atomic_transfer_max_with_boundary: 0xeeee_eeee,
            atomic_boundary_max: 0xffff_ffff,
        };
        let page = whole(page::BLOCK_LIMITS, &limits.encode());
        assert_eq!(page.len(), 64);
        assert_eq!(&page[..8], &[0, 0xb0, 0, 0x3c, 1, 0x11, 0x22, 0x22]);
        assert_eq!(
            &page[32..48],
            &[0x89, 0x99, 0x99, 0x99, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xbb, 0xbb, 0xbb, 0xbb]
        );
        assert_eq!(page[48..], [[0xcc; 4], [0xdd; 4], [0xee; 4], [0xff; 4]].concat());
        assert_eq!(BlockLimits::decode(&page), Ok(limits));
        assert_eq!(BlockLimits::decode(&page[..20]).unwrap().unmap_max, 0);
    }

    #[test]
    fn identification_comes_back() {
        let names = DeviceIdentification(vec![
            Designator::naa_local(b"x"),
            Designator::t10_vendor("VENDOR", "PRODUCT serial"),
            Designator::relative_target_port(7, Some(5)),
        ]);
        let page = whole(page::DEVICE_IDENTIFICATION, &names.encode());
        assert_eq!(DeviceIdentification::decode(&page), Ok(names));
    }

    #[test]
    fn another_page_is_refused() {
        let page = whole(page::BLOCK_LIMITS, &[0; 60]);
        assert!(BlockDeviceCharacteristics::decode(&page).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(mut bytes in prop::collection::vec(any::<u8>(), 2..80)) {
            for code in PAGES {
                bytes[1] = *code;
                let _ = SupportedPages::decode(&bytes);
                let _ = UnitSerialNumber::decode(&bytes);
                if let Ok(names) = DeviceIdentification::decode(&bytes) {
                    names.0.iter().for_each(|name| drop(name.to_string()));
                }
                let _ = BlockLimits::decode(&bytes);
                let _ = BlockDeviceCharacteristics::decode(&bytes);
                let _ = LogicalBlockProvisioning::decode(&bytes);
                let _ = ExtendedInquiry::decode(&bytes);
                let _ = ScsiPorts::decode(&bytes);
                let _ = ManagementAddresses::decode(&bytes);
                let _ = ModePagePolicies::decode(&bytes);
            }
        }
    }
}
