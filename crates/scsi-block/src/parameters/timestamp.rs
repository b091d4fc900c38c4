//! The parameter data of REPORT TIMESTAMP and SET TIMESTAMP (SPC-5 6.36, 6.43).

use crate::clock::TimestampOrigin;
use crate::octets::{DecodeError, array, need};

/// What REPORT TIMESTAMP tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// How it came to its value.
    pub origin: TimestampOrigin,
    /// Milliseconds, since 1970-01-01 00:00 UTC if somebody has set it so; 48 bits.
    pub milliseconds: u64,
}

impl Timestamp {
    pub(crate) const BYTES: usize = 12;
    const OFFSET: usize = 4;

    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = vec![0, Self::BYTES as u8 - 2, self.origin as u8, 0];
        bytes.extend(&self.milliseconds.to_be_bytes()[2..]);
        bytes.resize(Self::BYTES, 0);
        bytes
    }

    /// Reads the data of REPORT TIMESTAMP.
    ///
    /// # Errors
    /// There are fewer than ten bytes, or the origin is reserved.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "REPORT TIMESTAMP data";
        let bytes = need(WHAT, bytes, Self::OFFSET + 6)?;
        let code = bytes[2] & 7;
        let wrong = DecodeError::Field { what: WHAT, field: "TIMESTAMP ORIGIN", value: code.into() };
        let origin = TimestampOrigin::from_code(code).ok_or(wrong)?;
        Ok(Self { origin, milliseconds: milliseconds(bytes).unwrap_or(0) })
    }

    /// The parameter list of [`Cdb::set_timestamp`](crate::cdb::Cdb::set_timestamp); bits of `milliseconds` above 48 do not fit.
    pub fn list(milliseconds: u64) -> [u8; 12] {
        let mut bytes = [0; Self::BYTES];
        bytes[Self::OFFSET..Self::OFFSET + 6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
        bytes
    }

    /// Reads that list; `None` if it is cut.
    pub(crate) fn decode_list(bytes: &[u8]) -> Option<u64> {
        bytes.get(..Self::BYTES).and_then(milliseconds)
    }
}

fn milliseconds(bytes: &[u8]) -> Option<u64> {
    let value: [u8; 6] = array(bytes, Timestamp::OFFSET)?;
    Some(value.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_come_back() {
        let timestamp = Timestamp { origin: TimestampOrigin::Command, milliseconds: 0x0123_4567_89ab };
        let bytes = timestamp.encode();
        assert_eq!(bytes, [0, 10, 2, 0, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0, 0]);
        assert_eq!(Timestamp::decode(&bytes), Ok(timestamp));
        assert_eq!(Timestamp::decode_list(&Timestamp::list(0x0123_4567_89ab)), Some(0x0123_4567_89ab));
        assert_eq!(Timestamp::decode_list(&[0; 11]), None);
    }
}
