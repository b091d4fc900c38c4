//! Page B3h: how the blocks of a unit are cut into user data segments (SBC-3 6.6).

use super::{body, page};
use crate::octets::{DecodeError, be32};

/// Page B3h. Zeros say that segments are as REPORT REFERRALS draws them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReferralsPage {
    /// USER DATA SEGMENT SIZE in blocks.
    pub segment_blocks: u32,
    /// USER DATA SEGMENT MULTIPLIER.
    pub segment_multiplier: u32,
}

impl ReferralsPage {
    const BYTES: usize = 12;

    pub(crate) fn encode(self) -> Vec<u8> {
        let words = [0, self.segment_blocks, self.segment_multiplier];
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// Reads the page.
    ///
    /// # Errors
    /// The header is cut or is another page's.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut body = body("VPD page B3h", page::REFERRALS, bytes)?.to_vec();
        body.resize(body.len().max(Self::BYTES), 0);
        Ok(Self { segment_blocks: be32(&body, 4), segment_multiplier: be32(&body, 8) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inquiry::Peripheral;
    use crate::vpd::with_header;

    #[test]
    fn it_lies_where_sbc_draws_it() {
        let own = ReferralsPage { segment_blocks: 0x0102, segment_multiplier: 3 };
        let bytes = with_header(Peripheral::DIRECT_ACCESS, page::REFERRALS, &own.encode());
        assert_eq!(bytes, [0, 0xb3, 0, 12, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 3]);
        assert_eq!(ReferralsPage::decode(&bytes), Ok(own));
    }
}
