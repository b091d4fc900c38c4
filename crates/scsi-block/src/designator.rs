//! Designators: the names in VPD page 83h (SPC-4 7.8.6).
//!
//! In: values, or the bytes of the page's list. Out: the other. A list that ends inside a designator is an error; an
//! unknown type keeps its number and bytes.

use crate::octets::{DecodeError, be16, be32, be64, text};

/// What a designator names (ASSOCIATION, SPC-4 7.8.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Association {
    /// The logical unit.
    LogicalUnit,
    /// The target port that the command came through.
    TargetPort,
    /// The target device.
    TargetDevice,
    /// Reserved.
    Reserved,
}

impl Association {
    /// What the low two bits of `code` say; those above belong to other fields.
    pub(crate) const fn from_code(code: u8) -> Self {
        match code & 3 {
            0 => Self::LogicalUnit,
            1 => Self::TargetPort,
            2 => Self::TargetDevice,
            _ => Self::Reserved,
        }
    }
}

/// How a designator's bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeSet {
    /// A number.
    Binary,
    /// Printable ASCII.
    Ascii,
    /// UTF-8, ended by zeros.
    Utf8,
    /// Reserved.
    Reserved(u8),
}

/// One designator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Designator {
    /// What it names.
    pub association: Association,
    /// The transport protocol that it is for (SPC-4 7.6.1; 5h is iSCSI), if it is for one.
    pub protocol: Option<u8>,
    /// How to read `value`.
    pub code_set: CodeSet,
    /// The designator type (SPC-4 7.8.6.1); see the constants.
    pub kind: u8,
    /// The designator itself, to 255 bytes.
    pub value: Vec<u8>,
}

impl Designator {
    /// The most bytes that `value` has.
    pub const VALUE_BYTES_MAX: usize = u8::MAX as usize;
    /// T10 vendor ID based.
    pub const T10_VENDOR: u8 = 0x1;
    /// EUI-64 based.
    pub const EUI_64: u8 = 0x2;
    /// NAA.
    pub const NAA: u8 = 0x3;
    /// Relative target port identifier.
    pub const RELATIVE_TARGET_PORT: u8 = 0x4;
    /// Target port group.
    pub const TARGET_PORT_GROUP: u8 = 0x5;
    /// Logical unit group.
    pub const LOGICAL_UNIT_GROUP: u8 = 0x6;
    /// SCSI name string.
    pub const SCSI_NAME: u8 = 0x8;

    /// A T10 vendor ID designator of the logical unit: eight bytes of vendor, then what the vendor likes.
    pub fn t10_vendor(vendor: &str, specific: &str) -> Self {
        Self {
            association: Association::LogicalUnit,
            protocol: None,
            code_set: CodeSet::Ascii,
            kind: Self::T10_VENDOR,
            value: format!("{vendor:<8.8}{specific}").into_bytes(),
        }
    }

    /// A locally assigned NAA designator of the logical unit (NAA 3h): 60 bits that are the same for the same
    /// `seed` for ever.
    pub fn naa_local(seed: &[u8]) -> Self {
        const NAA_LOCAL: u64 = 0x3 << 60;
        Self::of_64_bits(NAA_LOCAL | hash(seed) >> 4)
    }

    /// The logical unit by a name of 64 bits from a registry: an NAA designator if it begins as one of that length does (NAA 2h, 3h or 5h, SPC-4
    /// 7.8.6.6), else an EUI-64.
    pub fn of_64_bits(name: u64) -> Self {
        Self {
            association: Association::LogicalUnit,
            protocol: None,
            code_set: CodeSet::Binary,
            kind: if matches!(name >> 60, 0x2 | 0x3 | 0x5) { Self::NAA } else { Self::EUI_64 },
            value: name.to_be_bytes().into(),
        }
    }

    /// A SCSI name string, such as `iqn.…`, padded with zeros to a multiple of four as SPC wants it.
    pub fn scsi_name(association: Association, protocol: Option<u8>, name: &str) -> Self {
        let mut value = name.as_bytes().to_vec();
        value.resize((name.len() + 1).next_multiple_of(4), 0);
        Self { association, protocol, code_set: CodeSet::Utf8, kind: Self::SCSI_NAME, value }
    }

    /// The relative identifier of the target port that the command came through.
    pub fn relative_target_port(identifier: u16, protocol: Option<u8>) -> Self {
        let [high, low] = identifier.to_be_bytes();
        Self {
            association: Association::TargetPort,
            protocol,
            code_set: CodeSet::Binary,
            kind: Self::RELATIVE_TARGET_PORT,
            value: vec![0, 0, high, low],
        }
    }

    /// The group of the target port that the command came through.
    pub fn target_port_group(number: u16, protocol: Option<u8>) -> Self {
        Self { kind: Self::TARGET_PORT_GROUP, ..Self::relative_target_port(number, protocol) }
    }

    /// The type's name, for people.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            0x0 => "vendor specific",
            Self::T10_VENDOR => "T10 vendor identification",
            Self::EUI_64 => "EUI-64",
            Self::NAA => "NAA",
            Self::RELATIVE_TARGET_PORT => "relative target port identifier",
            Self::TARGET_PORT_GROUP => "target port group",
            Self::LOGICAL_UNIT_GROUP => "logical unit group",
            0x7 => "MD5 logical unit identifier",
            Self::SCSI_NAME => "SCSI name string",
            0x9 => "protocol specific port identifier",
            0xa => "UUID",
            _ => "reserved",
        }
    }

    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        let code_set = match self.code_set {
            CodeSet::Binary => 1,
            CodeSet::Ascii => 2,
            CodeSet::Utf8 => 3,
            CodeSet::Reserved(code) => code & 0x0f,
        };
        let protocol_valid = u8::from(self.protocol.is_some()) << 7;
        let association = (self.association as u8) << 4;
        to.push(self.protocol.unwrap_or(0) << 4 | code_set);
        to.push(protocol_valid | association | self.kind & 0x0f);
        to.extend([0, self.value.len() as u8]);
        to.extend(&self.value);
    }

    /// Reads a whole list.
    pub(crate) fn decode_list(mut list: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let mut designators = Vec::new();
        while !list.is_empty() {
            let (designator, rest) = Self::decode(list)?;
            designators.push(designator);
            list = rest;
        }
        Ok(designators)
    }

    /// Takes one designator off the front of `list`.
    pub(crate) fn decode(list: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let short = |needed| DecodeError::Short { what: "a designator", there: list.len(), needed };
        let [first, second, _, length, rest @ ..] = list else { return Err(short(4)) };
        let (value, rest) = rest.split_at_checked((*length).into()).ok_or(short(4 + usize::from(*length)))?;
        let designator = Self {
            association: Association::from_code(second >> 4),
            protocol: (second & 0x80 != 0).then_some(first >> 4),
            code_set: match first & 0x0f {
                1 => CodeSet::Binary,
                2 => CodeSet::Ascii,
                3 => CodeSet::Utf8,
                other => CodeSet::Reserved(other),
            },
            kind: second & 0x0f,
            value: value.to_vec(),
        };
        Ok((designator, rest))
    }
}

impl std::fmt::Display for Designator {
    /// The value as people write it: text as text, NAA and EUI-64 as hexadecimal, port numbers as numbers.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.kind, self.code_set) {
            (Self::NAA, CodeSet::Binary) if self.value.len() == 8 => write!(f, "naa.{:016x}", be64(&self.value, 0)),
            (Self::EUI_64, CodeSet::Binary) if self.value.len() == 8 => write!(f, "eui.{:016x}", be64(&self.value, 0)),
            (Self::RELATIVE_TARGET_PORT | Self::TARGET_PORT_GROUP, _) if self.value.len() == 4 => {
                write!(f, "{}", be16(&self.value, 2))
            }
            (Self::LOGICAL_UNIT_GROUP, _) if self.value.len() == 4 => write!(f, "{}", be32(&self.value, 0) & 0xffff),
            (_, CodeSet::Utf8) => f.write_str(String::from_utf8_lossy(&self.value).trim_end_matches('\0')),
            (_, CodeSet::Ascii) => f.write_str(&text(&self.value)),
            _ => self.value.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// FNV-1a, then a mix that lets each bit of the seed reach the bits that are kept. Never to change: disks are named
/// by it.
fn hash(seed: &[u8]) -> u64 {
    let folded = seed
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (folded ^ folded >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_derived_from_a_serial_stays() {
        assert_eq!(Designator::naa_local(b"serial-1").to_string(), "naa.3b02e1771b1ac8ec");
        assert_eq!(Designator::naa_local(b"serial-2").to_string(), "naa.350c2334e1355b12");
        assert_eq!(Designator::of_64_bits(0x5000_c500_a1b2_c3d4).to_string(), "naa.5000c500a1b2c3d4");
        assert_eq!(Designator::of_64_bits(0x0017_4700_0000_0001).to_string(), "eui.0017470000000001");
    }

    #[test]
    fn a_list_that_ends_early_is_an_error() {
        let mut list = Vec::new();
        Designator::scsi_name(Association::TargetPort, Some(5), "iqn.2026-01.org:d,t,0x0001").encode(&mut list);
        assert!(Designator::decode(&list).is_ok());
        for end in 0..list.len() {
            assert!(Designator::decode(&list[..end]).is_err());
        }
    }
}
