//! Page 87h: whom a mode page is for (SPC-4 7.8.9).

use super::{body, page};
use crate::octets::DecodeError;

/// Page 87h.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModePagePolicies(pub Vec<ModePagePolicy>);

/// The policy of one mode page, or of all for which no other is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModePagePolicy {
    /// POLICY PAGE CODE; 3Fh with the subpage FFh is all pages and subpages.
    pub page: u8,
    /// POLICY SUBPAGE CODE; FFh is all subpages.
    pub subpage: u8,
    /// MLUS: several units share it.
    pub across_units: bool,
    /// MODE PAGE POLICY, to 3: see [`name`](Self::name).
    pub policy: u8,
}

impl ModePagePolicy {
    /// All nexuses share every page of the unit.
    pub const ALL_SHARED: Self = Self { page: 0x3f, subpage: 0xff, across_units: false, policy: 0 };

    /// Who has a page of their own, for people.
    pub fn name(&self) -> &'static str {
        match self.policy {
            0 => "shared",
            1 => "per target port",
            2 => "obsolete",
            3 => "per I_T nexus",
            _ => "reserved",
        }
    }
}

impl ModePagePolicies {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let descriptor =
            |own: &ModePagePolicy| [own.page & 0x3f, own.subpage, u8::from(own.across_units) << 7 | own.policy & 3, 0];
        self.0.iter().flat_map(descriptor).collect()
    }

    /// Reads the page.
    ///
    /// # Errors
    /// The header is cut or is another page's.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let list = body("VPD page 87h", page::MODE_PAGE_POLICY, bytes)?.as_chunks::<4>().0;
        let descriptor = |[page, subpage, policy, _]: &[u8; 4]| ModePagePolicy {
            page: page & 0x3f,
            subpage: *subpage,
            across_units: policy & 0x80 != 0,
            policy: policy & 3,
        };
        Ok(Self(list.iter().map(descriptor).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inquiry::Peripheral;
    use crate::vpd::with_header;

    #[test]
    fn it_lies_where_spc_draws_it() {
        let own = ModePagePolicy { page: 0x0a, subpage: 1, across_units: true, policy: 3 };
        let policies = ModePagePolicies(vec![own, ModePagePolicy::ALL_SHARED]);
        let bytes = with_header(Peripheral::DIRECT_ACCESS, page::MODE_PAGE_POLICY, &policies.encode());
        assert_eq!(bytes, [0, 0x87, 0, 8, 0x0a, 1, 0x83, 0, 0x3f, 0xff, 0, 0]);
        assert_eq!(ModePagePolicies::decode(&bytes), Ok(policies));
    }
}
