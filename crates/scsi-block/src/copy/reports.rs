//! What an initiator is told of copies: RECEIVE COPY STATUS, DATA, OPERATING PARAMETERS and FAILURE DETAILS (SPC-5 6.24 to 6.31), both
//! ways.

use super::descriptors::{Cscd, Segment};
use super::{COPIES_MAX, CSCDS_MAX, SEGMENTS_MAX};
use crate::octets::{DecodeError, be16, be32, be64, need};
use crate::sense::{Sense, SenseFormat};
use crate::status::Status;

/// How it stands with a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyState {
    /// It goes on.
    InProgress,
    /// It has ended well.
    Completed,
    /// It has ended with an error.
    Failed,
    /// It was ended by COPY OPERATION ABORT.
    Terminated,
}

/// RECEIVE COPY STATUS data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyStatus {
    /// Service action of the command that has begun the copy; 0 where the answer does not tell.
    pub service_action: u8,
    /// How it stands.
    pub state: CopyState,
    /// Bytes that were written.
    pub bytes: u64,
    /// Segments that are done.
    pub segments: u16,
    /// Why it has failed, if it has and the answer tells.
    pub sense: Option<Sense>,
}

/// Bytes of RECEIVE COPY STATUS (LID4) data before the sense data.
const STATUS_BYTES: usize = 32;
/// Milliseconds after which it is worth to ask again.
const UPDATE_DELAY: u32 = 100;

impl CopyStatus {
    /// The answer to LID1: 12 bytes.
    pub(crate) fn encode_lid1(&self) -> Vec<u8> {
        let status = match self.state {
            CopyState::InProgress => 0,
            CopyState::Completed => 1,
            CopyState::Failed | CopyState::Terminated => 2,
        };
        let (units, count) = transfer_count(self.bytes, u32::MAX.into());
        let mut bytes = vec![0, 0, 0, 8, status];
        bytes.extend(self.segments.to_be_bytes());
        bytes.push(units);
        bytes.extend((count as u32).to_be_bytes());
        bytes
    }

    /// The answer to LID4: 32 bytes, then the sense data of a copy that has failed.
    pub(crate) fn encode_lid4(&self) -> Vec<u8> {
        let sense = self.sense.map(|sense| sense.encode(SenseFormat::Descriptor)).unwrap_or_default();
        let under_way = self.state == CopyState::InProgress;
        let mut bytes = ((STATUS_BYTES - 4 + sense.len()) as u32).to_be_bytes().to_vec();
        bytes.extend([self.service_action, self.state.code(), 0, 0]);
        bytes.extend(if under_way { UPDATE_DELAY } else { u32::MAX - 1 }.to_be_bytes());
        let completion_status = if sense.is_empty() { Status::Good } else { Status::CheckCondition };
        bytes.extend([completion_status as u8, sense.len() as u8, sense.len() as u8, 0]);
        bytes.extend(self.bytes.to_be_bytes());
        bytes.extend(self.segments.to_be_bytes());
        bytes.resize(STATUS_BYTES, 0);
        bytes.extend(&sense);
        bytes
    }

    /// Reads the answer to LID1.
    ///
    /// # Errors
    /// It is short, or its status is none.
    pub fn decode_lid1(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "RECEIVE COPY STATUS (LID1) data";
        let bytes = need(WHAT, bytes, 12)?;
        let state = match bytes[4] & 0x7f {
            0 => CopyState::InProgress,
            1 => CopyState::Completed,
            2 => CopyState::Failed,
            other => return Err(DecodeError::Field { what: WHAT, field: "COPY MANAGER STATUS", value: other.into() }),
        };
        let count = bytes_of(be32(bytes, 8).into(), bytes[7]);
        let bytes_done = count.ok_or(DecodeError::Field { what: WHAT, field: UNITS, value: bytes[7].into() })?;
        Ok(Self { service_action: 0, state, bytes: bytes_done, segments: be16(bytes, 5), sense: None })
    }

    /// Reads the answer to LID4.
    ///
    /// # Errors
    /// It is short, or its status is none.
    pub fn decode_lid4(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "RECEIVE COPY STATUS (LID4) data";
        let bytes = need(WHAT, bytes, STATUS_BYTES)?;
        let wrong = |field, value: u8| DecodeError::Field { what: WHAT, field, value: value.into() };
        let code = bytes[5] & 0x7f;
        let sense = bytes[STATUS_BYTES..].get(..bytes[14].into()).filter(|sense| !sense.is_empty());
        Ok(Self {
            service_action: bytes[4] & 0x1f,
            state: CopyState::from_code(code).ok_or(wrong("COPY OPERATION STATUS", code))?,
            bytes: bytes_of(be64(bytes, 16), bytes[15]).ok_or(wrong(UNITS, bytes[15]))?,
            segments: be16(bytes, 24),
            sense: sense.map(Sense::decode).transpose()?,
        })
    }
}

impl CopyState {
    /// COPY OPERATION STATUS.
    fn code(self) -> u8 {
        match self {
            Self::Completed => 0x01,
            Self::Failed => 0x02,
            Self::InProgress => 0x11,
            Self::Terminated => 0x60,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        match code {
            0x01 | 0x03 | 0x04 => Some(Self::Completed),
            0x02 => Some(Self::Failed),
            0x10..=0x12 => Some(Self::InProgress),
            0x60 => Some(Self::Terminated),
            _ => None,
        }
    }
}

const UNITS: &str = "TRANSFER COUNT UNITS";

/// TRANSFER COUNT UNITS and TRANSFER COUNT: powers of 1024 bytes, the smallest in which the count is no more than `max`.
fn transfer_count(bytes: u64, max: u64) -> (u8, u64) {
    let units = (0..6).find(|units| bytes >> (10 * units) <= max).expect("a count of exbibytes fits");
    (units, bytes >> (10 * units))
}

fn bytes_of(count: u64, units: u8) -> Option<u64> {
    (units <= 6).then(|| count.saturating_mul(1 << (10 * units)))
}

/// RECEIVE COPY OPERATING PARAMETERS data: what the copy manager can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatingParameters {
    /// SNLID: copies without list identifier are taken.
    pub without_list_identifier: bool,
    /// MAXIMUM CSCD DESCRIPTOR COUNT.
    pub cscds_max: u16,
    /// MAXIMUM SEGMENT DESCRIPTOR COUNT.
    pub segments_max: u16,
    /// MAXIMUM DESCRIPTOR LIST LENGTH: bytes of CSCD and segment descriptors together.
    pub descriptor_bytes_max: u32,
    /// MAXIMUM SEGMENT LENGTH, in bytes; 0 sets no limit.
    pub segment_bytes_max: u32,
    /// TOTAL CONCURRENT COPIES.
    pub copies_max: u16,
    /// Type codes of the descriptors that it knows, in ascending order.
    pub descriptor_types: Vec<u8>,
}

/// Bytes of the data before the list of types.
const PARAMETERS_BYTES: usize = 44;

impl OperatingParameters {
    /// What a unit with such blocks can do.
    pub(crate) fn of(block_size: u32) -> Self {
        Self {
            without_list_identifier: true,
            cscds_max: CSCDS_MAX as u16,
            segments_max: SEGMENTS_MAX as u16,
            descriptor_bytes_max: (CSCDS_MAX * Cscd::BYTES + SEGMENTS_MAX * Segment::BYTES) as u32,
            segment_bytes_max: u32::from(u16::MAX) * block_size,
            copies_max: COPIES_MAX as u16,
            descriptor_types: vec![Segment::TYPE, Cscd::TYPE],
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let types = &self.descriptor_types;
        let mut bytes = ((PARAMETERS_BYTES - 4 + types.len()) as u32).to_be_bytes().to_vec();
        bytes.extend([self.without_list_identifier.into(), 0, 0, 0]);
        bytes.extend(self.cscds_max.to_be_bytes());
        bytes.extend(self.segments_max.to_be_bytes());
        bytes.extend(self.descriptor_bytes_max.to_be_bytes());
        bytes.extend(self.segment_bytes_max.to_be_bytes());
        bytes.resize(34, 0);
        bytes.extend(self.copies_max.to_be_bytes());
        bytes.push(self.copies_max.min(255) as u8);
        bytes.resize(PARAMETERS_BYTES - 1, 0);
        bytes.push(types.len() as u8);
        bytes.extend(types);
        bytes
    }

    /// Reads the data.
    ///
    /// # Errors
    /// There are fewer than 44 bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bytes = need("RECEIVE COPY OPERATING PARAMETERS data", bytes, PARAMETERS_BYTES)?;
        let types = &bytes[PARAMETERS_BYTES..];
        Ok(Self {
            without_list_identifier: bytes[4] & 1 != 0,
            cscds_max: be16(bytes, 8),
            segments_max: be16(bytes, 10),
            descriptor_bytes_max: be32(bytes, 12),
            segment_bytes_max: be32(bytes, 16),
            copies_max: be16(bytes, 34),
            descriptor_types: types[..types.len().min(bytes[43].into())].to_vec(),
        })
    }
}

/// RECEIVE COPY FAILURE DETAILS data: why a copy has failed; `None` if it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureDetails(pub Option<Sense>);

/// Bytes of the data before the sense data.
const DETAILS_BYTES: usize = 60;

impl FailureDetails {
    pub(crate) fn encode(&self, format: SenseFormat) -> Vec<u8> {
        let Some(sense) = self.0.map(|sense| sense.encode(format)) else { return vec![0; 4] };
        let mut bytes = ((DETAILS_BYTES - 4 + sense.len()) as u32).to_be_bytes().to_vec();
        bytes.resize(56, 0);
        bytes.extend([Status::CheckCondition as u8, 0]);
        bytes.extend((sense.len() as u16).to_be_bytes());
        bytes.extend(&sense);
        bytes
    }

    /// Reads the data.
    ///
    /// # Errors
    /// It is cut, or the sense data is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "RECEIVE COPY FAILURE DETAILS data";
        if be32(need(WHAT, bytes, 4)?, 0) == 0 {
            return Ok(Self(None));
        }
        let end = DETAILS_BYTES + usize::from(be16(need(WHAT, bytes, DETAILS_BYTES)?, 58));
        Sense::decode(&need(WHAT, bytes, end)?[DETAILS_BYTES..end]).map(|sense| Self(Some(sense)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sense::{AdditionalSense, SenseKey};
    use proptest::prelude::*;

    fn status(state: CopyState, sense: Option<Sense>) -> CopyStatus {
        CopyStatus { service_action: 1, state, bytes: 0x0102_0304, segments: 5, sense }
    }

    #[test]
    fn status_comes_back_in_both_forms() {
        let sense = Sense::new(SenseKey::CopyAborted, AdditionalSense::THIRD_PARTY_DEVICE_FAILURE).with_segment(3);
        for (state, sense) in [
            (CopyState::InProgress, None),
            (CopyState::Completed, None),
            (CopyState::Failed, Some(sense)),
            (CopyState::Terminated, Some(sense)),
        ] {
            let status = status(state, sense);
            assert_eq!(CopyStatus::decode_lid4(&status.encode_lid4()), Ok(status));
            assert_eq!(
                status.encode_lid4()[12],
                if sense.is_some() { 2 } else { 0 },
                "the status that the command has had"
            );
            let told = CopyStatus::decode_lid1(&status.encode_lid1()).unwrap();
            let expected = if state == CopyState::Terminated { CopyState::Failed } else { state };
            assert_eq!((told.state, told.bytes, told.segments), (expected, status.bytes, 5));
        }
        let bytes = status(CopyState::Completed, None).encode_lid1();
        assert_eq!(bytes, [0, 0, 0, 8, 1, 0, 5, 0, 1, 2, 3, 4]);
        let bytes = status(CopyState::Completed, None).encode_lid4();
        assert_eq!(bytes[..16], [0, 0, 0, 28, 1, 1, 0, 0, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 0]);
        assert_eq!(bytes[16..26], [0, 0, 0, 0, 1, 2, 3, 4, 0, 5]);
    }

    #[test]
    fn a_count_that_does_not_fit_is_told_in_larger_units() {
        assert_eq!(transfer_count(u32::MAX.into(), u32::MAX.into()), (0, u32::MAX.into()));
        assert_eq!(transfer_count(1 << 32, u32::MAX.into()), (1, 1 << 22));
        assert_eq!(transfer_count(u64::MAX, u32::MAX.into()), (4, (1 << 24) - 1));
    }

    #[test]
    fn parameters_lie_where_spc_draws_them() {
        let parameters = OperatingParameters::of(512);
        let bytes = parameters.encode();
        assert_eq!(bytes[..8], [0, 0, 0, 42, 1, 0, 0, 0]);
        assert_eq!(bytes[34..], [0, 16, 16, 0, 0, 0, 0, 0, 0, 2, 0x02, 0xe4]);
        assert_eq!(OperatingParameters::decode(&bytes), Ok(parameters));
    }

    #[test]
    fn details_come_back() {
        let sense =
            Sense::new(SenseKey::CopyAborted, AdditionalSense::COPY_TARGET_DEVICE_NOT_REACHABLE).with_segment(3);
        for format in [SenseFormat::Fixed, SenseFormat::Descriptor] {
            let details = FailureDetails(Some(sense));
            assert_eq!(FailureDetails::decode(&details.encode(format)), Ok(details));
        }
        assert_eq!(FailureDetails::decode(&FailureDetails(None).encode(SenseFormat::Fixed)), Ok(FailureDetails(None)));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = CopyStatus::decode_lid1(&bytes);
            let _ = CopyStatus::decode_lid4(&bytes);
            let _ = OperatingParameters::decode(&bytes);
            let _ = FailureDetails::decode(&bytes);
        }
    }
}
