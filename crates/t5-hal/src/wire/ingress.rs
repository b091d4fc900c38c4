//! Entries of an ingress queue: what stands around each message from the adapter.
//!
//! Layouts can be looked up in FreeBSD's `sys/dev/cxgbe/common/t4_msg.h` (`rss_header`, `rsp_ctrl`).

use super::bits::bit_fields;
use super::layout::{codes, layout};
use zerocopy::big_endian::{U16, U32};

bit_fields! {
    /// Flags of an entry's first word.
    RssFlags: u8 {
        SEND2FW = 7:7;
        IPV6 = 6:6;
        HASH_TYPE = 5:4;
        FILTER_TID = 3:3;
        FILTER_HIT = 2:2;
        CHANNEL = 1:0;
    }

    /// How long what is in the free list's buffer is.
    FreeListLength: u32 {
        /// It begins in a buffer of its own: the one before is done with.
        NEWBUF = 31:31;
        /// In bytes. Of a forwarded interrupt: the queue.
        LEN = 30:0;
    }

    /// What an entry is, and on which lap of the queue it was written.
    EntryType: u8 {
        /// 1 on the first lap, then the other one each lap.
        GEN = 7:7;
        QOVFL = 6:6;
        /// An [`EntryKind`].
        TYPE = 5:4;
    }
}

codes! {
    /// Kinds of entries.
    EntryKind: u8 {
        /// The message and what follows it are in a buffer of the free list; of RX_PKT, what follows.
        FreeListBuffer = 0,
        /// The message is in the entry.
        Cpl = 1,
        /// Another queue has something.
        Interrupt = 2,
    }
}

layout! {
    /// What every entry begins with.
    RssHeader = "rss_header", 8 {
        0 opcode: u8, "That of the message, again.";
        1 flags: RssFlags;
        2 queue: U16;
        4 hash: U32;
    }

    /// An entry of an ingress queue.
    IngressEntry = "rss_header, CPL message and rsp_ctrl", 64 {
        0 header: RssHeader;
        8 message: [u8; 40];
        48 header_length: U32;
        52 length: FreeListLength;
        56 kind: EntryType;
        57 timestamp: [u8; 7];
    }
}

/// Bytes of an entry.
pub const INGRESS_ENTRY_BYTES: usize = size_of::<IngressEntry>();
