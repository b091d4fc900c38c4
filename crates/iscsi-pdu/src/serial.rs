//! Sequence numbers: 32 bits that wrap, compared by RFC 1982 serial number arithmetic (RFC 7143 section 4.2.2.1).

macro_rules! serial_number {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        ///
        /// It has no order of its own, since it wraps: compare with `precedes`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// The number that follows.
            #[must_use]
            pub const fn next(self) -> Self {
                self.advanced_by(1)
            }

            /// The number that follows after `count` steps.
            #[must_use]
            pub const fn advanced_by(self, count: u32) -> Self {
                Self(self.0.wrapping_add(count))
            }

            /// The number one step before.
            #[must_use]
            pub const fn previous(self) -> Self {
                Self(self.0.wrapping_sub(1))
            }

            /// Whether this number comes before `other`: by at least one step and by less than 2^31.
            #[must_use]
            pub const fn precedes(self, other: Self) -> bool {
                self.distance_to(other) > 0
            }

            /// Steps from this number to `other`; negative if `other` comes before.
            #[must_use]
            pub const fn distance_to(self, other: Self) -> i32 {
                // RFC 7143 4.2.2.1-9: serial number arithmetic with 32 bits.
                other.0.wrapping_sub(self.0) as i32
            }
        }
    };
}

serial_number!(
    /// Command sequence number: CmdSN, ExpCmdSN, MaxCmdSN.
    CmdSn
);
serial_number!(
    /// Status sequence number: StatSN, ExpStatSN.
    StatSn
);

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7143 4.2.2.1-9: over the edge of 32 bits.
    #[test]
    fn wraps_and_compares_over_the_edge() {
        let last = CmdSn(u32::MAX);
        assert_eq!(last.next(), CmdSn(0));
        assert!(last.precedes(CmdSn(0)));
        assert!(!CmdSn(0).precedes(last));
        assert!(!last.precedes(last));
        assert_eq!(CmdSn(5).distance_to(CmdSn(3)), -2);
        assert_eq!(CmdSn(0).previous(), last);
    }
}
