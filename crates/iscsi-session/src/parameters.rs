//! Values of the text keys (RFC 7143 section 13): what one end will do, and what both have agreed upon.

use crate::TaskReporting;
use crate::keys::{Key, Rule, Value};
use smallvec::SmallVec;

/// What was negotiated for a session and its connection; before that, the defaults of RFC 7143 section 13.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// HeaderDigest is CRC32C.
    pub header_digest: bool,
    /// DataDigest is CRC32C.
    pub data_digest: bool,
    /// MaxConnections: 1 to 65535.
    pub max_connections: u16,
    /// InitialR2T.
    pub initial_r2t: bool,
    /// ImmediateData.
    pub immediate_data: bool,
    /// MaxRecvDataSegmentLength that we have declared: the longest data segment that we take, in bytes.
    pub receive_segment_bytes_max: u32,
    /// MaxRecvDataSegmentLength that the peer has declared: the longest data segment that we send, in bytes.
    pub send_segment_bytes_max: u32,
    /// MaxBurstLength in bytes.
    pub burst_bytes_max: u32,
    /// FirstBurstLength in bytes.
    pub first_burst_bytes_max: u32,
    /// DefaultTime2Wait in seconds.
    pub time_2_wait: u16,
    /// DefaultTime2Retain in seconds.
    pub time_2_retain: u16,
    /// MaxOutstandingR2T: 1 to 65535.
    pub outstanding_r2t_max: u16,
    /// DataPDUInOrder.
    pub data_pdu_in_order: bool,
    /// DataSequenceInOrder.
    pub data_sequence_in_order: bool,
    /// ErrorRecoveryLevel: 0 to 2.
    pub error_recovery_level: u8,
    /// iSCSIProtocolLevel: 1 is RFC 7143 alone, 2 is RFC 7144 too.
    pub protocol_level: u8,
    /// TaskReporting.
    pub task_reporting: TaskReporting,
}

impl Default for Parameters {
    /// The values that hold before anything is agreed upon, from the table of keys.
    fn default() -> Self {
        let mut parameters = Self {
            header_digest: false,
            data_digest: false,
            max_connections: 0,
            initial_r2t: false,
            immediate_data: false,
            receive_segment_bytes_max: RECEIVE_SEGMENT_BYTES_DEFAULT,
            send_segment_bytes_max: 0,
            burst_bytes_max: 0,
            first_burst_bytes_max: 0,
            time_2_wait: 0,
            time_2_retain: 0,
            outstanding_r2t_max: 0,
            data_pdu_in_order: false,
            data_sequence_in_order: false,
            error_recovery_level: 0,
            protocol_level: 0,
            task_reporting: TaskReporting::Rfc3720,
        };
        for key in Key::ALL {
            if let Some(value) = key.default_value() {
                parameters.set(*key, value);
            }
        }
        parameters
    }
}

/// MaxRecvDataSegmentLength of an end that has not declared another, and of both during the login (RFC 7143 section 6.3).
pub(crate) const RECEIVE_SEGMENT_BYTES_DEFAULT: u32 = 8192;

impl Parameters {
    /// Takes over a value that the peer has declared or both have agreed upon. The table of keys keeps it in its range.
    pub(crate) fn set(&mut self, key: Key, value: Value) {
        match (key, value) {
            (Key::HeaderDigest, Value::Word(word)) => self.header_digest = word == CRC32C,
            (Key::DataDigest, Value::Word(word)) => self.data_digest = word == CRC32C,
            (Key::InitialR2t, Value::Flag(flag)) => self.initial_r2t = flag,
            (Key::ImmediateData, Value::Flag(flag)) => self.immediate_data = flag,
            (Key::DataPduInOrder, Value::Flag(flag)) => self.data_pdu_in_order = flag,
            (Key::DataSequenceInOrder, Value::Flag(flag)) => self.data_sequence_in_order = flag,
            (Key::MaxRecvDataSegmentLength, Value::Number(bytes)) => self.send_segment_bytes_max = bytes,
            (Key::MaxBurstLength, Value::Number(bytes)) => self.burst_bytes_max = bytes,
            (Key::FirstBurstLength, Value::Number(bytes)) => self.first_burst_bytes_max = bytes,
            (Key::MaxConnections, Value::Number(number)) => self.max_connections = narrow(number),
            (Key::DefaultTime2Wait, Value::Number(number)) => self.time_2_wait = narrow(number),
            (Key::DefaultTime2Retain, Value::Number(number)) => self.time_2_retain = narrow(number),
            (Key::MaxOutstandingR2t, Value::Number(number)) => self.outstanding_r2t_max = narrow(number),
            (Key::ErrorRecoveryLevel, Value::Number(number)) => self.error_recovery_level = narrow(number),
            (Key::ISCSIProtocolLevel, Value::Number(number)) => self.protocol_level = narrow(number),
            (Key::TaskReporting, Value::Word(word)) => self.task_reporting = TaskReporting::of(word),
            _ => {}
        }
    }

    /// Whether what RFC 7144 has added is there: command priority, status qualifiers and the last four task management functions.
    #[must_use]
    pub const fn has_scsi_features(&self) -> bool {
        self.protocol_level >= 2
    }

    /// Whether the initiator may send data that no R2T asked for; FirstBurstLength means something only then.
    #[must_use]
    pub const fn allows_unsolicited_data(&self) -> bool {
        self.immediate_data || !self.initial_r2t
    }
}

/// A number that its key's range keeps within the narrower type.
fn narrow<T: TryFrom<u32>>(number: u32) -> T {
    T::try_from(number).ok().expect("the table of keys holds no range beyond the type of its parameter")
}

/// The highest iSCSIProtocolLevel that we know: RFC 7144's.
const PROTOCOL_LEVEL_MAX: u8 = 2;

/// RFC 7143 13.1-1: the digest that there is beside None.
const CRC32C: &str = "CRC32C";

/// What one end is ready to agree upon: the offer of an initiator, the bounds of a target. A port's abilities are inputs
/// here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Digests that may protect headers, the preferred one first; `true` is CRC32C, `false` None.
    pub header_digest: Vec<bool>,
    /// Digests that may protect data segments, the preferred one first; `true` is CRC32C, `false` None.
    pub data_digest: Vec<bool>,
    /// MaxConnections.
    pub max_connections: u16,
    /// InitialR2T: `false` allows unsolicited data.
    pub initial_r2t: bool,
    /// ImmediateData: `true` allows it.
    pub immediate_data: bool,
    /// MaxRecvDataSegmentLength that is declared to the peer: 512 to 2^24 - 1 bytes.
    pub receive_segment_bytes_max: u32,
    /// MaxBurstLength: 512 to 2^24 - 1 bytes.
    pub burst_bytes_max: u32,
    /// FirstBurstLength: 512 to 2^24 - 1 bytes, and no more than MaxBurstLength.
    pub first_burst_bytes_max: u32,
    /// DefaultTime2Wait in seconds: 0 to 3600.
    pub time_2_wait: u16,
    /// DefaultTime2Retain in seconds: 0 to 3600.
    pub time_2_retain: u16,
    /// MaxOutstandingR2T: 1 to 65535.
    pub outstanding_r2t_max: u16,
    /// ErrorRecoveryLevel: 0 to 2.
    pub error_recovery_level: u8,
    /// DataPDUInOrder: `false` lets the PDUs of a sequence come in any order.
    pub data_pdu_in_order: bool,
    /// DataSequenceInOrder: `false` lets sequences come in any order. With recovery, only then may several R2Ts be outstanding.
    pub data_sequence_in_order: bool,
    /// iSCSIProtocolLevel: 1 is RFC 7143 alone, 2 is RFC 7144 too.
    pub protocol_level_max: u8,
    /// The best TaskReporting that is agreed to.
    pub task_reporting: TaskReporting,
}

impl Default for Limits {
    /// Fast between two ends that can do all: long segments, unsolicited data, no digests unless the peer wants them.
    fn default() -> Self {
        Self {
            header_digest: vec![false, true],
            data_digest: vec![false, true],
            max_connections: 1,
            initial_r2t: false,
            immediate_data: true,
            receive_segment_bytes_max: 262_144,
            burst_bytes_max: 1_048_576,
            first_burst_bytes_max: 262_144,
            time_2_wait: 2,
            time_2_retain: 0,
            outstanding_r2t_max: 16,
            // RFC 7143 7.1.5-3: what everybody can do.
            error_recovery_level: 0,
            data_pdu_in_order: true,
            data_sequence_in_order: true,
            protocol_level_max: PROTOCOL_LEVEL_MAX,
            task_reporting: TaskReporting::ResponseFence,
        }
    }
}

/// The values of one key that an end would agree upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Flag(bool),
    Number(u32),
    /// The preferred one first.
    Words(SmallVec<[&'static str; 3]>),
}

impl Limits {
    /// The same, with every number moved into the range of its key, FirstBurstLength within MaxBurstLength, and at least one
    /// digest to choose.
    #[must_use]
    pub(crate) fn within_ranges(mut self) -> Self {
        clamp(&mut self.max_connections, Key::MaxConnections);
        clamp(&mut self.receive_segment_bytes_max, Key::MaxRecvDataSegmentLength);
        clamp(&mut self.burst_bytes_max, Key::MaxBurstLength);
        clamp(&mut self.first_burst_bytes_max, Key::FirstBurstLength);
        clamp(&mut self.time_2_wait, Key::DefaultTime2Wait);
        clamp(&mut self.time_2_retain, Key::DefaultTime2Retain);
        clamp(&mut self.outstanding_r2t_max, Key::MaxOutstandingR2t);
        clamp(&mut self.error_recovery_level, Key::ErrorRecoveryLevel);
        self.protocol_level_max = self.protocol_level_max.clamp(1, PROTOCOL_LEVEL_MAX);
        self.first_burst_bytes_max = self.first_burst_bytes_max.min(self.burst_bytes_max);
        for digests in [&mut self.header_digest, &mut self.data_digest] {
            if digests.is_empty() {
                digests.push(false);
            }
        }
        self
    }

    /// Our value of a key that is negotiated, or of MaxRecvDataSegmentLength.
    pub(crate) fn of(&self, key: Key) -> Option<Limit> {
        Some(match key {
            Key::HeaderDigest => Limit::Words(digests(&self.header_digest)),
            Key::DataDigest => Limit::Words(digests(&self.data_digest)),
            Key::InitialR2t => Limit::Flag(self.initial_r2t),
            Key::ImmediateData => Limit::Flag(self.immediate_data),
            Key::DataPduInOrder => Limit::Flag(self.data_pdu_in_order),
            Key::DataSequenceInOrder => Limit::Flag(self.data_sequence_in_order),
            Key::MaxRecvDataSegmentLength => Limit::Number(self.receive_segment_bytes_max),
            Key::MaxBurstLength => Limit::Number(self.burst_bytes_max),
            Key::FirstBurstLength => Limit::Number(self.first_burst_bytes_max),
            Key::MaxConnections => Limit::Number(self.max_connections.into()),
            Key::DefaultTime2Wait => Limit::Number(self.time_2_wait.into()),
            Key::DefaultTime2Retain => Limit::Number(self.time_2_retain.into()),
            Key::MaxOutstandingR2t => Limit::Number(self.outstanding_r2t_max.into()),
            // RFC 7143 7.1.5-1, 7.1.5-2: the sessions do every level up to it.
            Key::ErrorRecoveryLevel => Limit::Number(self.error_recovery_level.into()),
            // RFC 7143 4.2.3.3-1, 13.23-1, 13.23-2: whoever offers one offers to do without it too.
            Key::TaskReporting => Limit::Words(SmallVec::from_slice(self.task_reporting.words())),
            // RFC 7143 13.24-1: 1 is the level of that standard alone, 2 that of RFC 7144 too.
            Key::ISCSIProtocolLevel => Limit::Number(self.protocol_level_max.into()),
            _ => return None,
        })
    }
}

// RFC 7143 6.2.1-2: no digest is called None.
fn digests(preferences: &[bool]) -> SmallVec<[&'static str; 3]> {
    preferences.iter().map(|crc32c| if *crc32c { CRC32C } else { "None" }).collect()
}

fn clamp<T: Copy + Into<u32> + TryFrom<u32>>(value: &mut T, key: Key) {
    if let Rule::Minimum(range) | Rule::Maximum(range) | Rule::DeclaredNumber(range) = key.row().rule {
        *value = narrow((*value).into().clamp(range.low, range.high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_section_13() {
        let expected = Parameters {
            header_digest: false,
            data_digest: false,
            max_connections: 1,
            initial_r2t: true,
            immediate_data: true,
            receive_segment_bytes_max: 8192,
            send_segment_bytes_max: 8192,
            burst_bytes_max: 262_144,
            first_burst_bytes_max: 65_536,
            time_2_wait: 2,
            time_2_retain: 20,
            outstanding_r2t_max: 1,
            data_pdu_in_order: true,
            data_sequence_in_order: true,
            error_recovery_level: 0,
            protocol_level: 1,
            task_reporting: TaskReporting::Rfc3720,
        };
        assert_eq!(Parameters::default(), expected);
    }

    // RFC 7143 7.1.5-1, 7.1.5-2: none beyond 2.
    #[test]
    fn limits_beyond_a_range_are_moved_into_it() {
        let limits = Limits {
            header_digest: vec![],
            receive_segment_bytes_max: 0,
            burst_bytes_max: u32::MAX,
            first_burst_bytes_max: u32::MAX,
            time_2_wait: u16::MAX,
            max_connections: 0,
            error_recovery_level: 7,
            protocol_level_max: 31,
            ..Limits::default()
        }
        .within_ranges();
        let expected = Limits {
            header_digest: vec![false],
            receive_segment_bytes_max: 512,
            burst_bytes_max: (1 << 24) - 1,
            first_burst_bytes_max: (1 << 24) - 1,
            time_2_wait: 3600,
            max_connections: 1,
            error_recovery_level: 2,
            protocol_level_max: 2,
            ..Limits::default()
        };
        assert_eq!(limits, expected);
        assert_eq!(Limits::default().within_ranges(), Limits::default());
    }
}
