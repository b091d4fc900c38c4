//! What the adapter of a target has counted since it was started.

use serde::{Deserialize, Serialize};

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterCounters {
    /// Offloaded connections that there are.
    pub connections: usize,
    /// PDUs whose payload went right to where it belongs.
    pub pdus_placed: u64,
    /// Bytes of that payload.
    pub bytes_placed: u64,
    /// PDUs whose payload came in buffers which the driver copies out of.
    pub pdus_delivered: u64,
    /// Bytes of that payload.
    pub bytes_delivered: u64,
    /// PDUs that went from one connection of the adapter to another without a frame.
    pub pdus_passed: u64,
    /// Digests that the adapter has put into PDUs.
    pub digests_inserted: u64,
    /// Digests that the adapter has checked.
    pub digests_checked: u64,
    /// Those of them that were wrong.
    pub digests_wrong: u64,
    /// The virtual interfaces that there are.
    pub interfaces: Vec<InterfaceCounters>,
    /// The ports.
    pub ports: Vec<PortCounters>,
    /// The filters that there are.
    pub filters: Vec<FilterCounters>,
}

/// Frames, and the bytes in them without preamble and checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frames {
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Of a virtual interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceCounters {
    /// Its number.
    pub number: u8,
    /// The function that has it, such as `PF4` or `PF0 VF3`.
    pub function: String,
    /// The port that it is attached to.
    pub port: u8,
    /// What its driver has sent.
    pub sent: Frames,
    /// What its offloaded connections have sent.
    pub offloaded: Frames,
    /// What it has received.
    pub received: Frames,
    /// Frames that it wanted to send and was not allowed to.
    pub sends_dropped: u64,
    /// Frames for it that an access list or a filter has kept away.
    pub receives_dropped: u64,
}

/// Of a port: its wire, and the way from one of its interfaces to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortCounters {
    /// Its number.
    pub number: u8,
    /// Out to the wire.
    pub sent: Frames,
    /// In from the wire.
    pub received: Frames,
    /// From one interface to another.
    pub inside: Frames,
    /// Frames from the wire or from an interface that nobody got.
    pub unclaimed: u64,
}

/// Of a filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterCounters {
    /// Its place; the lowest that matches decides.
    pub index: usize,
    /// What becomes of frames that match: `pass`, `queue N`, `drop` or `port N`.
    pub action: String,
    /// Frames that it has decided on; none if it does not count.
    pub hits: Option<Frames>,
}
