//! Commands that read counters, six a message.

use super::super::bits::bit_fields;
use super::super::layout::layout;
use super::{CommandLength, CommandOp};
use zerocopy::big_endian::{U16, U32, U64};

bit_fields! {
    /// Of VI_STATS: which counters.
    ViStatsSelect: u16 {
        /// How many, up to six.
        NSTATS = 14:12;
        /// The first: see [`VF_COUNTERS`] and [`PF_COUNTERS`].
        IX = 4:0;
    }
}

layout! {
    /// Reads counters of an interface.
    ViStatsCommand = "fw_vi_stats_ctl", 64 {
        0 op: CommandOp;
        4 length: CommandLength;
        8 select: ViStatsSelect;
        10 reserved6: U16;
        12 reserved7: U32;
        16 counters: [U64; 6];
    }

    /// Reads counters of a port.
    PortStatsCommand = "fw_port_stats_ctl", 64 {
        0 op: CommandOp, "The port is in bits 3:0.";
        4 length: CommandLength;
        8 count: u8, "How many, up to six.";
        9 first: u8, "As the public structure has them.";
        10 reserved6: U16;
        12 reserved7: U32;
        16 counters: [U64; 6];
    }

    /// Reads counters of a port's loopback.
    PortLoopbackStatsCommand = "fw_port_lb_stats_ctl", 64 {
        0 op: CommandOp, "The port is in bits 3:0.";
        4 length: CommandLength;
        8 count: u8, "How many, up to six.";
        9 first: u8, "As the public structure has them.";
        10 reserved6: U16;
        12 reserved7: U32;
        16 counters: [U64; 6];
    }
}

/// Counters of a virtual function's interface, in their order.
pub const VF_COUNTERS: [&str; 16] = [
    "tx_bcast_bytes",
    "tx_bcast_frames",
    "tx_mcast_bytes",
    "tx_mcast_frames",
    "tx_ucast_bytes",
    "tx_ucast_frames",
    "tx_drop_frames",
    "tx_offload_bytes",
    "tx_offload_frames",
    "rx_bcast_bytes",
    "rx_bcast_frames",
    "rx_mcast_bytes",
    "rx_mcast_frames",
    "rx_ucast_bytes",
    "rx_ucast_frames",
    "rx_err_frames",
];

/// Counters of a physical function's interface, in their order.
pub const PF_COUNTERS: [&str; 17] = [
    "tx_bcast_bytes",
    "tx_bcast_frames",
    "tx_mcast_bytes",
    "tx_mcast_frames",
    "tx_ucast_bytes",
    "tx_ucast_frames",
    "tx_offload_bytes",
    "tx_offload_frames",
    "rx_pf_bytes",
    "rx_pf_frames",
    "rx_bcast_bytes",
    "rx_bcast_frames",
    "rx_mcast_bytes",
    "rx_mcast_frames",
    "rx_ucast_bytes",
    "rx_ucast_frames",
    "rx_err_frames",
];
