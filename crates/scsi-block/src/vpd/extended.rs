//! Page 86h: what a unit supports beyond the standard INQUIRY data.

use super::{body, page};
use crate::octets::{DecodeError, need};

/// Page 86h (SPC-5 7.7.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExtendedInquiry {
    /// SPT: which types of protection information the unit can be formatted to.
    pub supported_protection_types: u8,
    /// GRD_CHK: guards are checked.
    pub checks_guard: bool,
    /// APP_CHK: application tags are checked.
    pub checks_application_tag: bool,
    /// REF_CHK: reference tags are checked.
    pub checks_reference_tag: bool,
    /// HEADSUP: the task attribute HEAD OF QUEUE.
    pub head_of_queue: bool,
    /// ORDSUP: the task attribute ORDERED.
    pub ordered: bool,
    /// SIMPSUP: the task attribute SIMPLE.
    pub simple: bool,
    /// V_SUP: there is a volatile cache.
    pub volatile_cache: bool,
    /// R_SUP: referrals.
    pub referrals: bool,
    /// MAXIMUM SUPPORTED SENSE DATA LENGTH in bytes; 0 says nothing.
    pub sense_bytes_max: u8,
}

impl ExtendedInquiry {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let bit = |set: bool, bit: u8| u8::from(set) << bit;
        let mut bytes = vec![0; 0x3c];
        bytes[0] = (self.supported_protection_types & 7) << 3
            | bit(self.checks_guard, 2)
            | bit(self.checks_application_tag, 1)
            | bit(self.checks_reference_tag, 0);
        bytes[1] = bit(self.head_of_queue, 2) | bit(self.ordered, 1) | bit(self.simple, 0);
        bytes[2] = bit(self.volatile_cache, 0);
        bytes[4] = bit(self.referrals, 4);
        bytes[9] = self.sense_bytes_max;
        bytes
    }

    /// Reads the page.
    ///
    /// # Errors
    /// The header is cut or is another page's, or there is no room for the first four bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = need("VPD page 86h", body("VPD page 86h", page::EXTENDED_INQUIRY, bytes)?, 4)?;
        let bit = |byte: usize, bit: u8| body.get(byte).is_some_and(|byte| byte >> bit & 1 != 0);
        Ok(Self {
            supported_protection_types: body[0] >> 3 & 7,
            checks_guard: bit(0, 2),
            checks_application_tag: bit(0, 1),
            checks_reference_tag: bit(0, 0),
            head_of_queue: bit(1, 2),
            ordered: bit(1, 1),
            simple: bit(1, 0),
            volatile_cache: bit(2, 0),
            referrals: bit(4, 4),
            sense_bytes_max: body.get(9).copied().unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inquiry::Peripheral;
    use crate::vpd::with_header;

    #[test]
    fn it_lies_where_spc_draws_it() {
        let page = ExtendedInquiry {
            supported_protection_types: 4,
            checks_guard: true,
            checks_application_tag: false,
            checks_reference_tag: true,
            head_of_queue: true,
            ordered: false,
            simple: true,
            volatile_cache: true,
            referrals: true,
            sense_bytes_max: 252,
        };
        let bytes = with_header(Peripheral::DIRECT_ACCESS, page::EXTENDED_INQUIRY, &page.encode());
        assert_eq!(bytes[..14], [0, 0x86, 0, 0x3c, 0x25, 0x05, 0x01, 0, 0x10, 0, 0, 0, 0, 252]);
        assert_eq!(bytes.len(), 64);
        assert_eq!(ExtendedInquiry::decode(&bytes), Ok(page));
        assert_eq!(ExtendedInquiry::decode(&bytes[..8]).unwrap().sense_bytes_max, 0);
    }
}
