//! PFVF: what a function may have and do.

use super::super::bits::bit_fields;
use super::super::layout::layout;
use super::{CommandLength, CommandOp};
use zerocopy::big_endian::{U16, U32};

bit_fields! {
    /// What a function may ask the firmware for (which command is of which kind is our choice).
    Capabilities: u8 {
        /// The adapter as a whole, and other functions.
        PF = 0:0;
        /// Queues.
        DMAQ = 1:1;
        /// Links.
        PORT = 2:2;
        /// Frames for others.
        PORTPROMISC = 3:3;
        /// Counters of ports.
        PORTSTATS = 4:4;
        /// The function itself, and its interfaces.
        VF = 7:7;
    }

    /// Of PFVF: how many ingress queues.
    PfVfIngress: u32 {
        /// With free lists or interrupts.
        NIQFLINT = 31:20;
        /// Without either.
        NIQ = 19:0;
    }

    /// Of PFVF: what ports and channels, and how many egress queues.
    PfVfEgress: u32 {
        TYPE = 31:31;
        /// One bit a channel.
        CMASK = 27:24;
        /// One bit a port.
        PMASK = 23:20;
        /// Of all kinds, with free lists.
        NEQ = 19:0;
    }

    /// Of PFVF: how many interfaces and addresses.
    PfVfInterfaces: u32 {
        /// Traffic class.
        TC = 31:24;
        NVI = 23:16;
        NEXACTF = 15:0;
    }

    /// Of PFVF: what it may read and change, each [`Capabilities`], and how many of the egress queues for frames and control.
    PfVfCaps: u32 {
        R_CAPS = 31:24;
        WX_CAPS = 23:16;
        NETHCTRL = 15:0;
    }
}

layout! {
    /// What a function has.
    PfVfCommand = "fw_pfvf_cmd", 32 {
        0 op: CommandOp;
        4 length: CommandLength;
        8 ingress: PfVfIngress;
        12 egress: PfVfEgress;
        16 interfaces: PfVfInterfaces;
        20 caps: PfVfCaps;
        24 raw_queues: U16;
        26 raw_pages: U16;
        28 reserved: U32;
    }
}
