//! What the tests of both ends against each other have in common.

use bytes::Bytes;
use iscsi_pdu::Pdu;

/// A sequence that a seed repeats (xorshift).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Bytes {
        (0..length).map(|_| self.below(256) as u8).collect()
    }
}

/// A PDU as the other end gets it: through its bytes.
pub(crate) fn carried(pdu: &Pdu) -> Pdu {
    Pdu::decode(pdu.clone().encode()).expect("what one end sends the other understands")
}
