//! Values of the text keys (RFC 7143 section 13): what one end will do, and what both have agreed upon.

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
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
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
        }
    }
}

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
            error_recovery_level: 0,
        }
    }
}
