//! What a source or destination of a copy has said to the copy manager, as it stands in the sense data of COPY ABORTED (SPC-3 6.3.3, SPC-5
//! 4.4.2.8): a status and sense data of its own.

use std::fmt;

use bytes::Bytes;

use super::{AdditionalSense, CURRENT_DESCRIPTOR, CURRENT_FIXED, FIXED_BYTES, SenseKey};
use crate::octets::be16;
use crate::status::Status;

/// What the third party of a copy has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThirdParty {
    /// It is what was read from, or else what was written to.
    pub is_source: bool,
    /// Its status.
    pub status: u8,
    /// Its sense key.
    pub key: SenseKey,
    /// Its additional sense code.
    pub additional: AdditionalSense,
}

/// Bytes of sense data in descriptor format without a descriptor.
const DESCRIPTOR_FORMAT_BYTES: u8 = 8;

impl ThirdParty {
    /// Forwarded sense data.
    pub(super) const DESCRIPTOR: u8 = 0x0c;
    const SOURCE: u8 = 1;
    const DESTINATION: u8 = 2;

    /// CHECK CONDITION with this sense.
    pub(crate) const fn check(sense: super::Sense) -> Self {
        let status = Status::CheckCondition.code();
        Self { is_source: false, status, key: sense.key, additional: sense.additional }
    }

    /// A status that comes without sense data.
    pub(crate) const fn bare(status: Status) -> Self {
        Self { is_source: false, status: status.code(), key: SenseKey::NoSense, additional: AdditionalSense::NONE }
    }

    /// Puts status and sense behind sense data of fixed format, and their place into its COMMAND-SPECIFIC INFORMATION.
    pub(super) fn append_to_fixed(self, mut bytes: [u8; FIXED_BYTES]) -> Bytes {
        let mut own = [0; FIXED_BYTES];
        own[0] = CURRENT_FIXED;
        own[2] = self.key.code();
        own[7] = FIXED_BYTES as u8 - 8;
        own[12..14].copy_from_slice(&self.additional.code().to_be_bytes());
        bytes[if self.is_source { 8 } else { 9 }] = FIXED_BYTES as u8;
        bytes[7] += 1 + FIXED_BYTES as u8;
        [&bytes[..], &[self.status], &own].concat().into()
    }

    pub(super) fn decode_fixed(bytes: &[u8]) -> Option<Self> {
        let (is_source, at) = match bytes.get(8..10)? {
            [0, 0] => return None,
            [0, destination] => (false, *destination),
            [source, _] => (true, *source),
            _ => return None,
        };
        let (status, own) = bytes.get(at.into()..)?.split_first()?;
        let key = SenseKey::from_code(*own.get(2)?);
        Some(Self { is_source, status: *status, key, additional: AdditionalSense::from_code(be16(own, 12)) })
    }

    pub(super) fn encode_descriptor(self, to: &mut Vec<u8>) {
        let source = if self.is_source { Self::SOURCE } else { Self::DESTINATION };
        to.extend([Self::DESCRIPTOR, 2 + DESCRIPTOR_FORMAT_BYTES, source, self.status]);
        let [code, qualifier] = self.additional.code().to_be_bytes();
        to.extend([CURRENT_DESCRIPTOR, self.key.code(), code, qualifier, 0, 0, 0, 0]);
    }

    /// Sense data of either format may be forwarded.
    pub(super) fn decode_descriptor(bytes: &[u8]) -> Option<Self> {
        let [_, _, source, status, own @ ..] = bytes else { return None };
        let (key, code) = match own.first()? & 0x7f {
            0x72 | 0x73 => (*own.get(1)?, be16(own, 2)),
            _ => (*own.get(2)?, be16(own, 12)),
        };
        Some(Self {
            is_source: source & 0x0f == Self::SOURCE,
            status: *status,
            key: SenseKey::from_code(key),
            additional: AdditionalSense::from_code(code),
        })
    }
}

impl fmt::Display for ThirdParty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.is_source { "source" } else { "destination" };
        match Status::try_from(self.status) {
            Ok(Status::CheckCondition) => write!(f, "{side}: {}, {}", self.key, self.additional),
            Ok(status) => write!(f, "{side}: {status}"),
            Err(error) => write!(f, "{side}: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sense::{Sense, SenseFormat};

    #[test]
    fn it_lies_where_spc_draws_it() {
        let said = ThirdParty::check(Sense::new(SenseKey::DataProtect, AdditionalSense::WRITE_PROTECTED));
        let sense = Sense::new(SenseKey::CopyAborted, AdditionalSense::THIRD_PARTY_DEVICE_FAILURE);
        let sense = sense.with_segment(0x0203).with_third_party(said);
        let fixed = sense.encode(SenseFormat::Fixed);
        assert_eq!(fixed[..18], [0x70, 0, 0x0a, 0, 0, 0, 0, 29, 0, 18, 2, 3, 0x0d, 1, 0, 0, 0, 0]);
        assert_eq!(fixed[18..], [2, 0x70, 0, 7, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x27, 0, 0, 0, 0, 0]);
        let descriptors = sense.encode(SenseFormat::Descriptor);
        assert_eq!(descriptors[..20], [0x72, 0x0a, 0x0d, 1, 0, 0, 0, 24, 1, 10, 0, 0, 0, 0, 0, 0, 0, 0, 2, 3]);
        assert_eq!(descriptors[20..], [0x0c, 10, 2, 2, 0x72, 7, 0x27, 0, 0, 0, 0, 0]);
        assert!(sense.to_string().ends_with("segment 515, destination: DATA PROTECT, WRITE PROTECTED (0x27/0x00)"));
    }
}
