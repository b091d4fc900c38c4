//! Page 85h: where management of the device is reached over a network (SPC-4 7.8.8).

use super::{body, page};
use crate::designator::Association;
use crate::octets::{DecodeError, be16, text};

/// Page 85h.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManagementAddresses(pub Vec<ManagementAddress>);

/// Where one service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagementAddress {
    /// What the service is about.
    pub association: Association,
    /// SERVICE TYPE, to 1Fh: see [`service_name`](Self::service_name).
    pub service: u8,
    /// A URL.
    pub address: String,
}

const WHAT: &str = "an address of VPD page 85h";
const HEADER_BYTES: usize = 4;

impl ManagementAddress {
    /// The most bytes that `address` has.
    pub const ADDRESS_BYTES_MAX: usize = 1024;

    /// A service of no special type, for the whole device.
    pub fn new(address: impl Into<String>) -> Self {
        Self { association: Association::TargetDevice, service: 0, address: address.into() }
    }

    /// What kind of service it is, for people.
    pub fn service_name(&self) -> &'static str {
        match self.service {
            0 => "unspecified",
            1 => "storage configuration",
            2 => "diagnostics",
            3 => "status",
            4 => "logging",
            5 => "code download",
            6 => "copy service",
            7 => "administrative configuration",
            _ => "reserved",
        }
    }

    fn encode(&self, to: &mut Vec<u8>) {
        // Ended by a zero, and padded with zeros to a multiple of four.
        let length = (self.address.len() + 1).next_multiple_of(4);
        to.extend([(self.association as u8) << 5 | self.service & 0x1f, 0]);
        to.extend((length as u16).to_be_bytes());
        let end = to.len() + length;
        to.extend(self.address.bytes());
        to.resize(end, 0);
    }

    /// Takes one address off the front of `list`.
    fn decode(list: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let short = |needed| DecodeError::Short { what: WHAT, there: list.len(), needed };
        let (head, rest) = list.split_first_chunk::<HEADER_BYTES>().ok_or(short(HEADER_BYTES))?;
        let length = usize::from(be16(head, 2));
        let (address, rest) = rest.split_at_checked(length).ok_or(short(HEADER_BYTES + length))?;
        let address = address.split(|byte| *byte == 0).next().unwrap_or_default();
        let read =
            Self { association: Association::from_code(head[0] >> 5), service: head[0] & 0x1f, address: text(address) };
        Ok((read, rest))
    }
}

impl ManagementAddresses {
    /// The most addresses that a unit tells.
    pub const COUNT_MAX: usize = 16;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.iter().for_each(|address| address.encode(&mut bytes));
        bytes
    }

    /// Reads the page.
    ///
    /// # Errors
    /// The header is cut or is another page's, or the list ends inside an address.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut list = body("VPD page 85h", page::MANAGEMENT_ADDRESSES, bytes)?;
        let mut addresses = Vec::new();
        while !list.is_empty() {
            let (address, rest) = ManagementAddress::decode(list)?;
            addresses.push(address);
            list = rest;
        }
        Ok(Self(addresses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inquiry::Peripheral;
    use crate::vpd::with_header;

    #[test]
    fn it_lies_where_spc_draws_it() {
        let status = ManagementAddress { association: Association::TargetPort, service: 3, address: "http://a".into() };
        let addresses = ManagementAddresses(vec![ManagementAddress::new("abc"), status]);
        let bytes = with_header(Peripheral::DIRECT_ACCESS, page::MANAGEMENT_ADDRESSES, &addresses.encode());
        let expected: [&[u8]; 3] = [&[0, 0x85, 0, 24, 0x40, 0, 0, 4], b"abc\0", b"\x23\0\0\x0chttp://a\0\0\0\0"];
        assert_eq!(bytes, expected.concat());
        assert_eq!(ManagementAddresses::decode(&bytes), Ok(addresses));
        assert!(ManagementAddresses::decode(&bytes[..20]).is_err());
    }
}
