//! What is counted: frames and their bytes, by how many they were for and by where they went.

use super::address::Cast;
use std::ops::AddAssign;

/// Frames and the bytes in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Frames.
    pub frames: u64,
    /// Their bytes, without preamble and checksum.
    pub bytes: u64,
}

impl Count {
    pub(super) const fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.frames += other.frames;
        self.bytes += other.bytes;
    }
}

/// Frames by how many they were for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CastCounts {
    /// For one.
    pub unicast: Count,
    /// For a group.
    pub multicast: Count,
    /// For everybody.
    pub broadcast: Count,
}

impl CastCounts {
    pub(super) const fn add(&mut self, cast: Cast, bytes: usize) {
        match cast {
            Cast::Unicast => self.unicast.add(bytes),
            Cast::Multicast => self.multicast.add(bytes),
            Cast::Broadcast => self.broadcast.add(bytes),
        }
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> Count {
        let mut total = self.unicast;
        total += self.multicast;
        total += self.broadcast;
        total
    }
}

/// Of a virtual interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceCounters {
    /// Sent by its owner.
    pub transmitted: CastCounts,
    /// Sent for its offloaded connections; not in `transmitted`.
    pub offloaded: Count,
    /// Frames that it wanted to send and was not allowed to.
    pub transmit_dropped: u64,
    /// Received.
    pub received: CastCounts,
    /// Frames for it that an access list or a filter kept away.
    pub receive_dropped: u64,
}

/// Of a wire, or of the loopback path of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathCounters {
    /// Out to it.
    pub transmitted: CastCounts,
    /// In from it. What is sent to a loopback path comes in from it at once.
    pub received: CastCounts,
    /// Frames that came in and that nobody got.
    pub received_by_none: u64,
}
