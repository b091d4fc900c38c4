//! FW_FILTER_WR: what becomes of frames that match.
//!
//! The layout can be looked up in FreeBSD's `sys/dev/cxgbe/firmware/t4fw_interface.h`.

use super::bits::bit_fields;
use super::layout::{codes, layout};
use super::work_request::{WorkRequestFlow, WorkRequestOp};
use zerocopy::big_endian::{U16, U32, U64};

bit_fields! {
    /// Which filter, and who is told.
    FilterTid: u32 {
        TID = 31:12;
        RQTYPE = 11:11;
        NOREPLY = 10:10;
        IQ = 9:0;
    }

    /// What becomes of the frame.
    FilterAction: u32 {
        DEL_FILTER = 31:31;
        RPTTID = 25:25;
        DROP = 24:24;
        DIRSTEER = 23:23;
        MASKHASH = 22:22;
        DIRSTEERHASH = 21:21;
        /// It leaves by the port below, instead of coming in.
        LPBK = 20:20;
        DMAC = 19:19;
        SMAC = 18:18;
        INSVLAN = 17:17;
        RMVLAN = 16:16;
        HITCNTS = 15:15;
        TXCHAN = 14:13;
        PRIO = 12:12;
        L2TIX = 11:0;
    }

    /// Fragments and tags, each with its mask.
    FilterFragmentVlan: u8 {
        FRAG = 7:7;
        FRAGM = 6:6;
        IVLAN_VLD = 5:5;
        OVLAN_VLD = 4:4;
        IVLAN_VLDM = 3:3;
        OVLAN_VLDM = 2:2;
    }

    /// Where the frame came in and where the reply goes.
    FilterReply: u16 {
        RX_CHAN = 15:15;
        RX_RPL_IQ = 9:0;
    }

    /// Match by address, port and kind, each with its mask.
    FilterMatch: u32 {
        MACI = 31:23;
        MACIM = 22:14;
        FCOE = 13:13;
        FCOEM = 12:12;
        PORT = 11:9;
        PORTM = 8:6;
        MATCHTYPE = 5:3;
        MATCHTYPEM = 2:0;
    }
}

layout! {
    /// Makes or deletes a filter. The answer is a SET_TCB_RPL with a [`FilterResult`] as its cookie.
    Filter = "fw_filter_wr", 128 {
        0 op: WorkRequestOp;
        4 flow: WorkRequestFlow;
        8 reserved3: U64;
        16 tid: FilterTid;
        20 action: FilterAction;
        24 ethertype: U16;
        26 ethertype_mask: U16;
        28 fragment_vlan: FilterFragmentVlan;
        29 smac_sel: u8;
        30 reply: FilterReply;
        32 matching: FilterMatch;
        36 protocol: u8;
        37 protocol_mask: u8;
        38 tos: u8;
        39 tos_mask: u8;
        40 inner_vlan: U16;
        42 inner_vlan_mask: U16;
        44 outer_vlan: U16;
        46 outer_vlan_mask: U16;
        48 local_ip: [u8; 16];
        64 local_ip_mask: [u8; 16];
        80 foreign_ip: [u8; 16];
        96 foreign_ip_mask: [u8; 16];
        112 local_port: U16;
        114 local_port_mask: U16;
        116 foreign_port: U16;
        118 foreign_port_mask: U16;
        120 reserved7: U16;
        122 source_mac: [u8; 6];
    }
}

layout! {
    /// The control block of a filter, as it follows a GET_TCB_RPL: what it has counted. Where the counters stand can be looked up in DPDK's
    /// `drivers/net/cxgbe/cxgbe_filter.c`.
    FilterBlock = "tcb of a filter", 128 {
        0 front: [u8; 16];
        16 bytes: U64;
        24 frames: U32;
        28 back: U32;
        32 rest: [[u8; 32]; 3];
    }
}

codes! {
    /// What became of a filter.
    FilterResult: u8 {
        Success = 0,
        Added = 1,
        Deleted = 2,
        SmtFull = 3,
        Invalid = 4,
    }
}
