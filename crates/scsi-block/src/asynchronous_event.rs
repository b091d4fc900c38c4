//! The additional response information of QUERY ASYNCHRONOUS EVENT (SAM-5 clause 7.9).

use crate::sense::{AdditionalSense, SenseKey};

/// How many unit attention conditions and deferred errors wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventDepth {
    /// The unit does not say.
    Unknown,
    /// One.
    One,
    /// More.
    Several,
}

/// A unit attention condition or deferred error that waits for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsynchronousEvent {
    /// How many there are.
    pub depth: EventDepth,
    /// Sense key of the next.
    pub key: SenseKey,
    /// Additional sense code of the next.
    pub additional: AdditionalSense,
}

impl AsynchronousEvent {
    /// From the three bytes on the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 3]) -> Self {
        let depth = match (bytes[0] >> 4) & 3 {
            1 => EventDepth::One,
            2 => EventDepth::Several,
            _ => EventDepth::Unknown,
        };
        let additional = AdditionalSense::from_code(u16::from_be_bytes([bytes[1], bytes[2]]));
        Self { depth, key: SenseKey::from_code(bytes[0] & 0xf), additional }
    }

    /// The three bytes on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 3] {
        let [code, qualifier] = self.additional.code().to_be_bytes();
        [(self.depth as u8) << 4 | self.key.code(), code, qualifier]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_its_bits() {
        let event = AsynchronousEvent {
            depth: EventDepth::Several,
            key: SenseKey::UnitAttention,
            additional: AdditionalSense::I_T_NEXUS_LOSS,
        };
        assert_eq!(event.to_bytes(), [0x26, 0x29, 0x07]);
        assert_eq!(AsynchronousEvent::from_bytes([0xe6, 0x29, 0x07]), event, "two bits are reserved");
        assert_eq!(AsynchronousEvent::from_bytes([0x06, 0x29, 0x07]).depth, EventDepth::Unknown);
    }
}
