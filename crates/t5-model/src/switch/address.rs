//! Ethernet addresses, and how the adapter folds one into a bit of a hash filter.

use std::fmt;
use t5_hal::wire::address_hash_bit;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// To everybody.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// How many it is for.
    #[must_use]
    pub const fn cast(self) -> Cast {
        if self.0[0] & 1 == 0 {
            Cast::Unicast
        } else if matches!(self, Self::BROADCAST) {
            Cast::Broadcast
        } else {
            Cast::Multicast
        }
    }

    /// The bit of a hash filter that stands for this address: 0 to 63.
    #[must_use]
    pub const fn hash_bit(self) -> u32 {
        address_hash_bit(self.0)
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(formatter, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

/// How many an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// One.
    Unicast,
    /// A group.
    Multicast,
    /// Everybody.
    Broadcast,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_how_many_they_are_for() {
        assert_eq!(MacAddress([2, 0, 0, 0, 0, 1]).cast(), Cast::Unicast);
        assert_eq!(MacAddress([0x33, 0x33, 0, 0, 0, 1]).cast(), Cast::Multicast);
        assert_eq!(MacAddress::BROADCAST.cast(), Cast::Broadcast);
    }
}
