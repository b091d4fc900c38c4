//! Work requests: what a driver writes into an egress queue.
//!
//! Opcodes and layouts can be looked up in FreeBSD's `sys/dev/cxgbe/firmware/t4fw_interface.h`.

use super::bits::bit_fields;
use super::fields::TxDataFlags;
use super::layout::{codes, layout};
use zerocopy::big_endian::{U16, U32, U64};

codes! {
    /// Opcodes of work requests.
    WorkRequestOpcode: u8 {
        Filter = 0x02,
        UlpTx = 0x04,
        Tp = 0x05,
        EthTxPkt = 0x08,
        EthTxPkts = 0x09,
        FlowC = 0x0a,
        OffloadTxData = 0x0b,
        Command = 0x10,
        EthTxPktVm = 0x11,
        EqFlush = 0x1b,
        OffloadConnection = 0x2f,
        ScsiWrite = 0x31,
        ScsiRead = 0x32,
        ScsiCommand = 0x33,
        ScsiAbort = 0x34,
        RemoteDevice = 0x38,
        IscsiTxData = 0x45,
        FoiscsiNode = 0x60,
        FoiscsiControl = 0x6a,
        ChnetIfConf = 0x6b,
        FoiscsiChap = 0x6c,
    }

    /// Names of parameters in FW_FLOWC_WR.
    FlowParameterName: u8 {
        /// The function: PF in bits 15:8, VF in 7:0.
        PfnVfn = 0,
        Channel = 1,
        Port = 2,
        IngressQueue = 3,
        SndNxt = 4,
        RcvNxt = 5,
        SendBuffer = 6,
        Mss = 7,
        TxDataLengthMax = 8,
        TcpState = 9,
        EoState = 10,
        SchedulingClass = 11,
        DcbPriority = 12,
        SndScale = 13,
        RcvScale = 14,
        UlpMode = 15,
    }
}

bit_fields! {
    /// First word of a work request.
    WorkRequestOp: u32 {
        /// A [`WorkRequestOpcode`].
        OPCODE = 31:24;
        ATOMIC = 23:23;
        FLUSH = 22:22;
        /// The firmware is to say when it has done this.
        COMPL = 21:21;
        /// Bytes behind the header that are in the queue itself; of FW_FLOWC_WR, the number of parameters.
        IMMDLEN = 7:0;
    }

    /// Second word of a work request.
    WorkRequestFlow: u32 {
        /// The adapter is to say how far it has read the queue, in the ingress queue.
        EQUIQ = 31:31;
        /// The same, in the queue's status page.
        EQUEQ = 30:30;
        /// The tid, or 0.
        FLOWID = 27:8;
        /// Length in units of 16 bytes.
        LEN16 = 7:0;
    }

    /// First word of a parameter of FW_FLOWC_WR.
    FlowParameterOp: u32 {
        /// A [`FlowParameterName`].
        NAME = 31:24;
    }
}

layout! {
    /// What every work request begins with.
    WorkRequestHeader = "fw_wr_hdr", 8 {
        0 op: WorkRequestOp;
        4 flow: WorkRequestFlow;
    }

    /// What a work request around a CPL message begins with. FW_ULPTX_WR has the same layout.
    TpHeader = "fw_tp_wr", 16 {
        0 op: WorkRequestOp;
        4 flow: WorkRequestFlow;
        8 cookie: U64;
    }

    /// The first work request of a connection; the parameters follow.
    FlowC = "fw_flowc_wr", 8 {
        0 op: WorkRequestOp;
        4 flow: WorkRequestFlow;
    }

    /// One parameter of a flow.
    FlowParameter = "fw_flowc_mnemval", 8 {
        0 op: FlowParameterOp;
        4 value: U32;
    }

    /// Data to send on a connection; follows, or a list of where it is does. FW_ISCSI_TX_DATA_WR has the same layout.
    OffloadTxData = "fw_ofld_tx_data_wr", 16 {
        0 op: WorkRequestOp;
        4 flow: WorkRequestFlow;
        8 sequence_length: U32, "`plen`: by how much the sequence number advances, digests included.";
        12 flags: TxDataFlags, "SHOVE is [`TxDataFlags::WR_SHOVE`] here.";
    }

    /// A frame to send on the wire; a TX_PKT and the data or where it is follow.
    EthTxPkt = "fw_eth_tx_pkt_wr", 16 {
        0 op: WorkRequestOp;
        4 flow: WorkRequestFlow;
        8 reserved: U64;
    }

    /// A frame to send, to another virtual interface if it is for one; a TX_PKT and the data or where it is follow.
    EthTxPktVm = "fw_eth_tx_pkt_vm_wr", 32 {
        0 op: WorkRequestOp;
        4 flow: WorkRequestFlow;
        8 reserved: [u8; 8];
        16 destination_mac: [u8; 6];
        22 source_mac: [u8; 6];
        28 ethertype: U16;
        30 vlan_tci: U16;
    }
}

impl WorkRequestOp {
    /// The first word of that work request, with so many bytes (of FW_FLOWC_WR: parameters) in the queue itself.
    ///
    /// # Panics
    /// If there are more than 255: a bug of the caller.
    #[must_use]
    pub const fn of(opcode: WorkRequestOpcode, immediate: u32) -> Self {
        Self::new().with(Self::OPCODE, opcode.to_wire() as u32).with(Self::IMMDLEN, immediate)
    }
}

impl WorkRequestFlow {
    /// The second word of a work request of that many bytes for that flow.
    ///
    /// # Panics
    /// If it is longer than a work request can be, or the flow has more than 20 bits: bugs of the caller.
    #[must_use]
    pub const fn of(flow: u32, bytes: usize) -> Self {
        Self::new().with(Self::FLOWID, flow).with(Self::LEN16, len16(bytes))
    }
}

/// How many units of 16 bytes hold that many bytes.
#[must_use]
pub const fn len16(bytes: usize) -> u32 {
    bytes.div_ceil(16) as u32
}

impl TpHeader {
    /// The header of FW_TP_WR around a message of that many bytes, header included.
    ///
    /// # Panics
    /// If the message is longer than a work request can be, or the flow has more than 20 bits: bugs of the caller.
    #[must_use]
    pub const fn for_message(bytes: usize, flow: u32) -> Self {
        Self {
            op: WorkRequestOp::of(WorkRequestOpcode::Tp, (bytes - size_of::<Self>()) as u32),
            flow: WorkRequestFlow::of(flow, bytes),
            cookie: U64::ZERO,
        }
    }
}

impl FlowParameter {
    /// A parameter and its value.
    #[must_use]
    pub const fn new(name: FlowParameterName, value: u32) -> Self {
        Self { op: FlowParameterOp::new().with(FlowParameterOp::NAME, name.to_wire() as u32), value: U32::new(value) }
    }
}
