//! The control block of a connection, 32 words of 32 bits: where its fields stand.
//!
//! They can be looked up in FreeBSD's `sys/dev/cxgbe/common/t4_tcb.h`.

use super::cpl_to_chip::SetTcbField;
use super::fields::{ReplyControl, WordCookie};

/// A field of the control block. It reaches no further than the word behind its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcbField {
    /// The first word that it stands in, 0 to 31.
    pub word: u16,
    /// Its lowest bit in that word.
    pub low: u32,
    /// Number of bits.
    pub width: u32,
}

macro_rules! tcb_fields {
    ($($(#[$meta:meta])* $name:ident = $word:literal, $low:literal, $width:literal;)*) => {
        impl TcbField {
            $(
                #[doc = concat!("Word ", stringify!($word), " from bit ", stringify!($low), ", ", stringify!($width), " bits.")]
                $(#[$meta])*
                pub const $name: Self = Self { word: $word, low: $low, width: $width };
            )*
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

tcb_fields! {
    /// A [`UlpMode`](super::UlpMode).
    ULP_TYPE = 0, 0, 4;
    /// The header digest is on: a part of ULP_RAW.
    ULP_HEADER_DIGEST = 0, 4, 1;
    /// The data digest is on: a part of ULP_RAW.
    ULP_DATA_DIGEST = 0, 5, 1;
    /// Page size of tags that say none: a part of ULP_RAW.
    ULP_PAGE_SIZE = 0, 8, 2;
    L2T_IX = 0, 12, 12;
    SMAC_SEL = 0, 24, 8;
    T_FLAGS = 1, 0, 64;
    RSS_INFO = 3, 0, 10;
    TOS = 3, 10, 6;
    /// A [`TcpState`].
    T_STATE = 3, 16, 4;
    MAX_RT = 3, 20, 4;
    T_MAXSEG = 3, 24, 4;
    SND_SCALE = 3, 28, 4;
    RCV_SCALE = 4, 0, 4;
    RCV_ADV = 4, 16, 16;
    TIMESTAMP = 5, 0, 32;
    TX_MAX = 9, 0, 32;
    SND_UNA_RAW = 10, 0, 28;
    RCV_NXT = 16, 10, 32;
    RCV_WND = 17, 10, 28;
}

super::layout::codes! {
    /// State of a connection.
    TcpState: u8 {
        Closed = 0,
        Listen = 1,
        SynSent = 2,
        SynReceived = 3,
        Established = 4,
        CloseWait = 5,
        FinWait1 = 6,
        Closing = 7,
        LastAck = 8,
        FinWait2 = 9,
        TimeWait = 10,
    }
}

impl TcbField {
    /// The bits of the field, counted from the lowest of its first word.
    #[must_use]
    pub const fn mask(self) -> u64 {
        (u64::MAX >> (u64::BITS - self.width)) << self.low
    }

    /// The message that changes the field.
    ///
    /// # Panics
    /// If the value has more bits than the field: a bug of the caller.
    #[must_use]
    pub fn set(self, tid: u32, value: u64, reply: ReplyControl, cookie: u16) -> SetTcbField {
        assert!(value <= self.mask() >> self.low, "a value fits its field");
        SetTcbField {
            reply_control: reply,
            word_cookie: WordCookie::new().with(WordCookie::WORD, self.word).with(WordCookie::COOKIE, cookie),
            mask: self.mask().into(),
            value: (value << self.low).into(),
            ..SetTcbField::new(tid, tid)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_inside_two_words_and_do_not_overlap() {
        let mut seen = [false; 32 * 32 + 32];
        for field in TcbField::ALL {
            assert!(field.low < 32 && field.low + field.width <= 64, "{field:?}");
            for bit in 0..field.width {
                let bit = u32::from(field.word) * 32 + field.low + bit;
                assert!(!std::mem::replace(&mut seen[bit as usize], true), "{field:?}");
            }
        }
    }
}
