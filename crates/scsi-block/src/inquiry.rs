//! The standard INQUIRY data (SPC-5 6.6.2): who a unit is, in 96 bytes.

use crate::octets::{DecodeError, be16, need, put_text, text};

/// The peripheral qualifier and device type, first byte of every INQUIRY response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peripheral {
    /// 0: a unit is there; 1: could be, but is not; 3: this LUN cannot have one.
    pub qualifier: u8,
    /// 0: direct-access block device; 1Fh: unknown or none.
    pub device_type: u8,
}

impl Peripheral {
    /// A direct-access block device that is there.
    pub const DIRECT_ACCESS: Self = Self { qualifier: 0, device_type: 0x00 };
    /// A well-known logical unit.
    pub const WELL_KNOWN: Self = Self { qualifier: 0, device_type: 0x1e };
    /// No unit, and none can be.
    pub const NOT_SUPPORTED: Self = Self { qualifier: 3, device_type: 0x1f };

    pub(crate) const fn encode(self) -> u8 {
        self.qualifier << 5 | self.device_type & 0x1f
    }

    pub(crate) const fn decode(byte: u8) -> Self {
        Self { qualifier: byte >> 5, device_type: byte & 0x1f }
    }
}

/// What the standard INQUIRY data says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandardInquiry {
    /// Whether and what unit is there.
    pub peripheral: Peripheral,
    /// RMB: the medium can be taken out.
    pub removable: bool,
    /// VERSION: 6 is SPC-4, 7 is SPC-5.
    pub version: u8,
    /// NORMACA: commands may ask for an auto contingent allegiance (NACA).
    pub normal_aca: bool,
    /// TPGS: bit 0 implicit, bit 1 explicit asymmetric access.
    pub target_port_groups: u8,
    /// 3PC: third-party copy.
    pub third_party_copy: bool,
    /// PROTECT: protection information is supported.
    pub protection: bool,
    /// MULTIP: the device has several ports.
    pub multiple_ports: bool,
    /// CMDQUE: tasks are queued.
    pub command_queue: bool,
    /// T10 vendor identification, without padding.
    pub vendor: String,
    /// Product identification, without padding.
    pub product: String,
    /// Product revision level, without padding.
    pub revision: String,
    /// Version descriptors, to eight (SPC-5 table 149); zeros are left out.
    pub version_descriptors: Vec<u16>,
}

/// Bytes of the data as this crate sends it.
pub const STANDARD_INQUIRY_BYTES: usize = 96;

/// RESPONSE DATA FORMAT that all devices since SCSI-2 have, and HISUP: LUNs are as SAM has them.
const FORMAT_AND_HISUP: u8 = 0x12;

impl StandardInquiry {
    /// The bytes, 96 of them.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; STANDARD_INQUIRY_BYTES];
        bytes[0] = self.peripheral.encode();
        bytes[1] = u8::from(self.removable) << 7;
        bytes[2] = self.version;
        bytes[3] = u8::from(self.normal_aca) << 5 | FORMAT_AND_HISUP;
        bytes[4] = STANDARD_INQUIRY_BYTES as u8 - 5;
        bytes[5] =
            (self.target_port_groups & 3) << 4 | u8::from(self.third_party_copy) << 3 | u8::from(self.protection);
        bytes[6] = u8::from(self.multiple_ports) << 4;
        bytes[7] = u8::from(self.command_queue) << 1;
        put_text(&mut bytes[8..16], &self.vendor);
        put_text(&mut bytes[16..32], &self.product);
        put_text(&mut bytes[32..36], &self.revision);
        for (descriptor, place) in self.version_descriptors.iter().zip(bytes[58..74].chunks_exact_mut(2)) {
            place.copy_from_slice(&descriptor.to_be_bytes());
        }
        bytes
    }

    /// Reads a response; 36 bytes are the least that SPC lets a device send.
    ///
    /// # Errors
    /// There are fewer than 36 bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bytes = need("standard INQUIRY data", bytes, 36)?;
        Ok(Self {
            peripheral: Peripheral::decode(bytes[0]),
            removable: bytes[1] & 0x80 != 0,
            version: bytes[2],
            normal_aca: bytes[3] & 0x20 != 0,
            target_port_groups: bytes[5] >> 4 & 3,
            third_party_copy: bytes[5] & 0x08 != 0,
            protection: bytes[5] & 0x01 != 0,
            multiple_ports: bytes[6] & 0x10 != 0,
            command_queue: bytes[7] & 0x02 != 0,
            vendor: text(&bytes[8..16]),
            product: text(&bytes[16..32]),
            revision: text(&bytes[32..36]),
            version_descriptors: (58..74).step_by(2).map(|at| be16(bytes, at)).filter(|code| *code != 0).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_from_the_wire() {
        let inquiry = StandardInquiry {
            peripheral: Peripheral::DIRECT_ACCESS,
            removable: true,
            version: 6,
            normal_aca: true,
            target_port_groups: 1,
            third_party_copy: true,
            protection: true,
            multiple_ports: true,
            command_queue: true,
            vendor: "VENDOR".into(),
            product: "A PRODUCT".into(),
            revision: "1.0".into(),
            version_descriptors: vec![0x00a0, 0x0460],
        };
        let bytes = inquiry.encode();
        assert_eq!(&bytes[..8], &[0, 0x80, 6, 0x32, 91, 0x19, 0x10, 2]);
        assert_eq!(&bytes[8..36], b"VENDOR  A PRODUCT       1.0 ");
        assert_eq!(StandardInquiry::decode(&bytes), Ok(inquiry));
        assert!(StandardInquiry::decode(&bytes[..35]).is_err());
    }
}
