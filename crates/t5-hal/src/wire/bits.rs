//! Words of bit fields, each from one table: the fields' names with their highest and lowest bit.
//!
//! Bit 0 is the lowest bit of the word as a number; words are big-endian in memory.

use core::marker::PhantomData;

/// Where a field stands in the word `W`.
#[derive(Debug)]
pub struct Field<W> {
    high: u32,
    low: u32,
    word: PhantomData<fn() -> W>,
}

impl<W> Clone for Field<W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for Field<W> {}

impl<W> Field<W> {
    pub(crate) const fn new(high: u32, low: u32) -> Self {
        Self { high, low, word: PhantomData }
    }

    /// Lowest bit.
    #[must_use]
    pub const fn low(self) -> u32 {
        self.low
    }

    /// Number of bits.
    #[must_use]
    pub const fn width(self) -> u32 {
        self.high - self.low + 1
    }

    /// Largest value.
    #[must_use]
    pub const fn max(self) -> u64 {
        u64::MAX >> (u64::BITS - self.width())
    }
}

/// One line of a table: name, highest bit, lowest bit.
pub type Row = (&'static str, u32, u32);

/// A word whose bits have names.
pub trait BitFields: Copy {
    /// Its fields.
    const TABLE: &'static [Row];
    /// Its length in bits.
    const BITS: u32;
    /// The word as a number.
    fn to_u64(self) -> u64;
    /// The word of a number; what is above its length is dropped.
    fn from_u64(value: u64) -> Self;
}

/// Whether no two fields share a bit and all are inside a word of `bits`.
pub(crate) const fn are_disjoint(table: &[Row], bits: u32) -> bool {
    let mut seen = 0u64;
    let mut at = 0;
    while at < table.len() {
        let (_, high, low) = table[at];
        if high < low || high >= bits {
            return false;
        }
        let mask = (u64::MAX >> (63 - (high - low))) << low;
        if seen & mask != 0 {
            return false;
        }
        seen |= mask;
        at += 1;
    }
    true
}

/// Writes the fields that are not zero, by name.
pub(crate) fn debug<W: BitFields>(word: W, name: &str, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
    let mut out = formatter.debug_struct(name);
    for &(field, high, low) in W::TABLE {
        let value = word.to_u64() >> low & (u64::MAX >> (63 - (high - low)));
        if value != 0 {
            out.field(field, &format_args!("{value:#x}"));
        }
    }
    out.finish()
}

/// Makes words of bit fields. That fields do not overlap is checked when this is compiled.
macro_rules! bit_fields {
    ($($(#[$meta:meta])* $name:ident: $int:ident {
        $($(#[$field_meta:meta])* $field:ident = $high:literal : $low:literal;)*
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        #[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout, zerocopy::Unaligned)]
        #[repr(transparent)]
        pub struct $name([u8; size_of::<$int>()]);

        impl $name {
            $(
                #[doc = concat!("Bits ", stringify!($high), " to ", stringify!($low), ".")]
                $(#[$field_meta])*
                pub const $field: $crate::wire::bits::Field<Self> = $crate::wire::bits::Field::new($high, $low);
            )*

            /// All fields zero.
            #[must_use]
            pub const fn new() -> Self {
                Self::from_value(0)
            }

            /// The word of a number.
            #[must_use]
            pub const fn from_value(value: $int) -> Self {
                Self(value.to_be_bytes())
            }

            /// The word as a number.
            #[must_use]
            pub const fn value(self) -> $int {
                $int::from_be_bytes(self.0)
            }

            /// The value of a field.
            #[must_use]
            pub const fn get(self, field: $crate::wire::bits::Field<Self>) -> $int {
                self.value() >> field.low() & field.max() as $int
            }

            /// Whether a field is not zero.
            #[must_use]
            pub const fn is_set(self, field: $crate::wire::bits::Field<Self>) -> bool {
                self.get(field) != 0
            }

            /// The same word with another value in that field.
            ///
            /// # Panics
            /// If the value has more bits than the field: a bug of the caller.
            #[must_use]
            pub const fn with(self, field: $crate::wire::bits::Field<Self>, value: $int) -> Self {
                assert!(value as u64 <= field.max(), "a value fits its field");
                let mask = (field.max() as $int) << field.low();
                Self::from_value(self.value() & !mask | value << field.low())
            }

            /// The same word with 1 or 0 in that field.
            #[must_use]
            pub const fn with_bit(self, field: $crate::wire::bits::Field<Self>, set: bool) -> Self {
                self.with(field, set as $int)
            }
        }

        impl $crate::wire::bits::BitFields for $name {
            const TABLE: &'static [$crate::wire::bits::Row] = &[$((stringify!($field), $high, $low)),*];
            const BITS: u32 = $int::BITS;
            fn to_u64(self) -> u64 {
                self.value().into()
            }
            fn from_u64(value: u64) -> Self {
                Self::from_value(value as $int)
            }
        }

        const _: () = assert!(
            $crate::wire::bits::are_disjoint(<$name as $crate::wire::bits::BitFields>::TABLE, $int::BITS),
            "fields do not overlap"
        );

        impl core::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                $crate::wire::bits::debug(*self, stringify!($name), formatter)
            }
        }
    )*};
}
pub(crate) use bit_fields;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::*;
    use proptest::prelude::*;

    #[test]
    fn overlap_and_overhang_are_found() {
        assert!(are_disjoint(&[("A", 3, 0), ("B", 31, 4)], 32));
        assert!(!are_disjoint(&[("A", 4, 0), ("B", 31, 4)], 32));
        assert!(!are_disjoint(&[("A", 32, 0)], 32));
        assert!(!are_disjoint(&[("A", 0, 1)], 32));
        assert!(are_disjoint(&[("A", 63, 0)], 64));
    }

    /// Writes every field of a word, in the order of the table, and reads all of them back.
    fn fields_keep_to_themselves<W: BitFields + std::fmt::Debug>(values: &[u64]) {
        assert!(are_disjoint(W::TABLE, W::BITS));
        let mask = |high: u32, low: u32| u64::MAX >> (63 - (high - low));
        let mut word = 0;
        for (&(_, high, low), value) in W::TABLE.iter().zip(values.iter().cycle()) {
            word |= (value & mask(high, low)) << low;
        }
        let word = W::from_u64(word);
        for (&(name, high, low), value) in W::TABLE.iter().zip(values.iter().cycle()) {
            assert_eq!(word.to_u64() >> low & mask(high, low), value & mask(high, low), "{name} of {word:?}");
        }
    }

    macro_rules! every {
        ($values:expr; $($word:ty),* $(,)?) => { $(fields_keep_to_themselves::<$word>($values);)* };
    }

    proptest! {
        #[test]
        fn fields_of_every_word_keep_to_themselves(values in prop::collection::vec(any::<u64>(), 1..40)) {
            every!(&values; OpcodeTid, AtidStatus, TosId, Opt0, Opt1, Opt2, ActOpenParams, SynHeaderLengths, SynL2Info,
                EstablishOptions, TcpOptionFlags, ReplyControl, WordCookie, DataAck, TxDataFlags, IscsiHdrLength, DdpVerdict,
                IsoOp, Fw4AckFlags, L2tParams, SmtParams, SmtPfVf, TxPktControl0, TxPktControl1, WorkRequestOp,
                WorkRequestFlow, FlowParameterOp, UlpMemoryCommand, UlpMemoryLength, UlpMemoryAddress, UlpSubCommand, QueueDoorbell, IngressDoorbell,
                MailboxControl, FirmwareState, IscsiPageSizes, TpParameter2, RssFlags, FreeListLength, EntryType, PodHeader,
                PodLength, FilterTid, FilterAction, FilterFragmentVlan, FilterReply, FilterMatch, CommandOp, CommandLength,
                AllocLength, HelloFlags, CapsConfigLength, NicCaps, SwitchCaps, IscsiCaps, ParameterName, PfVfIngress,
                PfVfEgress, PfVfInterfaces, PfVfCaps, IqType, IqFlags, IqFreeList, IqFreeListFetch, EgressId, CtrlEgressId,
                EgressFetch, EgressSize, EthEgressFlags, ViType, ViId, ViPort, ViRss, ViMacLength, ViMacIndex, RxMode,
                ViEnableLength, AclLength, AclVlanFlags, PortLength, PortStatus, RssViFlags, RssQueues, ClipLength,
                ViStatsSelect, FoiscsiIsid, FoiscsiSessionFlags, FoiscsiConnectionFlags, ScsiAbortFlags,
                FcpDirections, FcpResponseFlags);
        }
    }

    #[test]
    fn a_word_reads_and_writes_its_fields() {
        let word = Opt0::new().with(Opt0::ULP_MODE, 2).with(Opt0::MSS_IDX, 8).with_bit(Opt0::KEEP_ALIVE, true);
        assert_eq!(word.get(Opt0::ULP_MODE), 2);
        assert!(word.is_set(Opt0::KEEP_ALIVE) && !word.is_set(Opt0::NAGLE));
        assert_eq!(word.with(Opt0::ULP_MODE, 0).with(Opt0::MSS_IDX, 0).value(), 1 << 54);
        assert_eq!(format!("{word:?}"), "Opt0 { ULP_MODE: 0x2, KEEP_ALIVE: 0x1, MSS_IDX: 0x8 }");
    }

    #[test]
    #[should_panic(expected = "a value fits its field")]
    fn a_value_that_is_too_long_is_a_bug() {
        let _ = Opt0::new().with(Opt0::ULP_MODE, 16);
    }
}
