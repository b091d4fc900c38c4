//! Page 86h: what a unit supports beyond the standard INQUIRY data.

use super::{body, page};
use crate::octets::{DecodeError, be16, need};

/// Page 86h (SPC-4 7.8.7).
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
    /// UASK_SUP: a unit attention condition may come with sense-key specific bytes.
    pub unit_attention_specific: bool,
    /// GROUP_SUP: commands are counted by group.
    pub groups: bool,
    /// PRIOR_SUP: commands have a priority.
    pub priority: bool,
    /// HEADSUP: the task attribute HEAD OF QUEUE.
    pub head_of_queue: bool,
    /// ORDSUP: the task attribute ORDERED.
    pub ordered: bool,
    /// SIMPSUP: the task attribute SIMPLE.
    pub simple: bool,
    /// WU_SUP: WRITE LONG can make a block unreadable.
    pub write_uncorrectable: bool,
    /// CRD_SUP: correction can be switched off for a block.
    pub correction_disable: bool,
    /// NV_SUP: there is a cache that keeps its content without power.
    pub nonvolatile_cache: bool,
    /// V_SUP: there is a volatile cache.
    pub volatile_cache: bool,
    /// NO_PI_CHK: nothing about protection information is checked.
    pub no_protection_checks: bool,
    /// P_I_I_SUP: there may be several tuples of protection information in a block.
    pub protection_intervals: bool,
    /// LUICLR: the changed list of units is told by one unit alone.
    pub clears_luns_changed: bool,
    /// R_SUP: referrals. Who has them has page B3h too.
    pub referrals: bool,
    /// RTD_SUP: mode pages can be set to their defaults by MODE SELECT.
    pub reverts_to_defaults: bool,
    /// EXTENDED SELF-TEST COMPLETION MINUTES; 0 says nothing.
    pub self_test_minutes: u16,
    /// MAXIMUM SUPPORTED SENSE DATA LENGTH in bytes; 0 says nothing.
    pub sense_bytes_max: u8,
}

/// Where each bit is: its byte behind the header, and its number.
type Flag = (usize, u8, fn(&mut ExtendedInquiry) -> &mut bool);

const FLAGS: [Flag; 18] = [
    (0, 2, |page| &mut page.checks_guard),
    (0, 1, |page| &mut page.checks_application_tag),
    (0, 0, |page| &mut page.checks_reference_tag),
    (1, 5, |page| &mut page.unit_attention_specific),
    (1, 4, |page| &mut page.groups),
    (1, 3, |page| &mut page.priority),
    (1, 2, |page| &mut page.head_of_queue),
    (1, 1, |page| &mut page.ordered),
    (1, 0, |page| &mut page.simple),
    (2, 3, |page| &mut page.write_uncorrectable),
    (2, 2, |page| &mut page.correction_disable),
    (2, 1, |page| &mut page.nonvolatile_cache),
    (2, 0, |page| &mut page.volatile_cache),
    (3, 5, |page| &mut page.no_protection_checks),
    (3, 4, |page| &mut page.protection_intervals),
    (3, 0, |page| &mut page.clears_luns_changed),
    (4, 4, |page| &mut page.referrals),
    (4, 3, |page| &mut page.reverts_to_defaults),
];

impl ExtendedInquiry {
    pub(crate) fn encode(mut self) -> Vec<u8> {
        let mut bytes = vec![0; 0x3c];
        bytes[0] = (self.supported_protection_types & 7) << 3;
        for (byte, bit, flag) in FLAGS {
            bytes[byte] |= u8::from(*flag(&mut self)) << bit;
        }
        bytes[6..8].copy_from_slice(&self.self_test_minutes.to_be_bytes());
        bytes[9] = self.sense_bytes_max;
        bytes
    }

    /// Reads the page.
    ///
    /// # Errors
    /// The header is cut or is another page's, or there is no room for the first four bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = need("VPD page 86h", body("VPD page 86h", page::EXTENDED_INQUIRY, bytes)?, 4)?;
        let mut read = Self {
            supported_protection_types: body[0] >> 3 & 7,
            self_test_minutes: be16(body, 6),
            sense_bytes_max: body.get(9).copied().unwrap_or(0),
            ..Self::default()
        };
        for (byte, bit, flag) in FLAGS {
            *flag(&mut read) = body.get(byte).is_some_and(|byte| byte >> bit & 1 != 0);
        }
        Ok(read)
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
            checks_reference_tag: true,
            priority: true,
            head_of_queue: true,
            simple: true,
            nonvolatile_cache: true,
            volatile_cache: true,
            protection_intervals: true,
            clears_luns_changed: true,
            referrals: true,
            self_test_minutes: 0x0102,
            sense_bytes_max: 252,
            ..ExtendedInquiry::default()
        };
        let bytes = with_header(Peripheral::DIRECT_ACCESS, page::EXTENDED_INQUIRY, &page.encode());
        assert_eq!(bytes[..14], [0, 0x86, 0, 0x3c, 0x25, 0x0d, 0x03, 0x11, 0x10, 0, 1, 2, 0, 252]);
        assert_eq!(bytes.len(), 64);
        assert_eq!(ExtendedInquiry::decode(&bytes), Ok(page));
        assert_eq!(ExtendedInquiry::decode(&bytes[..8]).unwrap().sense_bytes_max, 0);
    }

    #[test]
    fn each_bit_has_a_place_of_its_own() {
        for (index, (byte, bit, _)) in FLAGS.iter().enumerate() {
            let mut bytes = vec![0, 0x86, 0, 0x3c];
            bytes.resize(64, 0);
            bytes[4 + byte] = 1 << bit;
            let mut page = ExtendedInquiry::decode(&bytes).unwrap();
            for (other, (_, _, flag)) in FLAGS.iter().enumerate() {
                assert_eq!(*flag(&mut page), other == index);
            }
            assert_eq!(page.encode(), bytes[4..]);
        }
    }
}
