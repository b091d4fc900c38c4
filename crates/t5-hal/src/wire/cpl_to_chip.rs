//! CPL messages to the adapter. All but the data ones travel in a work request, whose header is part of the structure.
//!
//! Opcodes and layouts can be looked up in FreeBSD's `sys/dev/cxgbe/common/t4_msg.h`.

use super::fields::*;
use super::layout::{Layout, WireError, codes, layout};
use super::work_request::TpHeader;
use zerocopy::IntoBytes;
use zerocopy::big_endian::{U16, U32, U64};

codes! {
    /// Opcodes of messages to the adapter. The other direction uses some of the same numbers.
    RequestOpcode: u8 {
        PassOpenReq = 0x01,
        PassAcceptRpl = 0x02,
        ActOpenReq = 0x03,
        SetTcbField = 0x05,
        GetTcb = 0x06,
        CloseConReq = 0x08,
        CloseListsrvReq = 0x09,
        AbortReq = 0x0a,
        AbortRpl = 0x0b,
        TxData = 0x0c,
        RxDataAck = 0x0d,
        TxPkt = 0x0e,
        L2tWriteReq = 0x12,
        SmtWriteReq = 0x14,
        Barrier = 0x18,
        TidRelease = 0x1a,
        TxDataIso = 0x1f,
        PassOpenReq6 = 0x81,
        ActOpenReq6 = 0x83,
        TxPktLso = 0xed,
        TxPktXt = 0xee,
    }
}

layout! {
    /// Opens a connection over IPv4, as a T5 has it.
    ActOpenReq = "cpl_t5_act_open_req", 56 {
        0 header: TpHeader;
        16 opcode_tid: OpcodeTid, "The tid is the atid (13:0) and the response queue (23:14).";
        20 local_port: U16;
        22 peer_port: U16;
        24 local_ip: [u8; 4];
        28 peer_ip: [u8; 4];
        32 opt0: Opt0;
        40 initial_send_sequence: U32, "Holds if [`Opt2::T5_ISS`] is set.";
        44 opt2: Opt2;
        48 params: ActOpenParams;
    }

    /// Opens a connection over IPv6, as a T5 has it.
    ActOpenReq6 = "cpl_t5_act_open_req6", 80 {
        0 header: TpHeader;
        16 opcode_tid: OpcodeTid, "The tid is the atid (13:0) and the response queue (23:14).";
        20 local_port: U16;
        22 peer_port: U16;
        24 local_ip: [u8; 16];
        40 peer_ip: [u8; 16];
        56 opt0: Opt0;
        64 initial_send_sequence: U32, "Holds if [`Opt2::T5_ISS`] is set.";
        68 opt2: Opt2;
        72 params: ActOpenParams;
    }

    /// Begins to listen on IPv4.
    PassOpenReq = "cpl_pass_open_req", 48 {
        0 header: TpHeader;
        16 opcode_tid: OpcodeTid, "The tid is the stid.";
        20 local_port: U16;
        22 peer_port: U16;
        24 local_ip: [u8; 4];
        28 peer_ip: [u8; 4];
        32 opt0: Opt0;
        40 opt1: Opt1;
    }

    /// Begins to listen on IPv6.
    PassOpenReq6 = "cpl_pass_open_req6", 72 {
        0 header: TpHeader;
        16 opcode_tid: OpcodeTid, "The tid is the stid.";
        20 local_port: U16;
        22 peer_port: U16;
        24 local_ip: [u8; 16];
        40 peer_ip: [u8; 16];
        56 opt0: Opt0;
        64 opt1: Opt1;
    }

    /// Accepts a connection, as a T5 has it.
    PassAcceptRpl = "cpl_t5_pass_accept_rpl", 40 {
        0 header: TpHeader;
        16 opcode_tid: OpcodeTid;
        20 opt2: Opt2;
        24 opt0: Opt0;
        32 initial_send_sequence: U32, "Holds if [`Opt2::T5_ISS`] is set.";
        36 reserved: U32;
    }

    /// Closes a connection: a FIN once all data has gone.
    CloseConReq = "cpl_close_con_req", 24 {
        0 header: TpHeader;
        16 opcode_tid: OpcodeTid;
        20 reserved: U32;
    }

    /// Ends a listener.
    CloseListsrvReq = "cpl_close_listsvr_req", 24 {
        0 header: TpHeader;
        16 opcode_tid: OpcodeTid, "The tid is the stid.";
        20 reply_control: ReplyControl;
        22 reserved: U16;
    }

    /// Aborts a connection.
    AbortReq = "cpl_abort_req", 32 {
        0 header: TpHeader;
        16 opcode_tid: OpcodeTid;
        20 snd_nxt: U32;
        24 no_data_sent: u8, "1 if no data was sent yet.";
        25 command: u8, "An [`AbortCommand`].";
        26 reserved: [u8; 6];
    }

    /// Answers an abort by the peer.
    AbortRpl = "cpl_abort_rpl", 32 {
        0 header: TpHeader;
        16 opcode_tid: OpcodeTid;
        20 reserved0: U32;
        24 reserved1: u8;
        25 command: u8, "An [`AbortCommand`].";
        26 reserved2: [u8; 6];
    }

    /// Gives back the tid of a connection that was not accepted.
    TidRelease = "cpl_tid_release", 24 {
        0 header: TpHeader;
        16 opcode_tid: OpcodeTid;
        20 reserved: U32;
    }

    /// Asks for the control block of a connection.
    GetTcb = "cpl_get_tcb", 24 {
        0 header: TpHeader;
        16 opcode_tid: OpcodeTid;
        20 reply_control: ReplyControl;
        22 cookie: U16;
    }

    /// Changes 64 bits of the control block of a connection, where `mask` is one.
    SetTcbField = "cpl_set_tcb_field", 40 {
        0 header: TpHeader;
        16 opcode_tid: OpcodeTid;
        20 reply_control: ReplyControl;
        22 word_cookie: WordCookie;
        24 mask: U64;
        32 value: U64;
    }

    /// Says that received data was used, and opens the window by as much.
    RxDataAck = "cpl_rx_data_ack", 24 {
        0 header: TpHeader;
        16 opcode_tid: OpcodeTid;
        20 credits: DataAck;
    }

    /// Writes an entry of the table of next hops.
    L2tWriteReq = "cpl_l2t_write_req", 32 {
        0 header: TpHeader;
        16 opcode_tid: OpcodeTid;
        20 params: L2tParams;
        22 index: U16;
        24 vlan: U16, "0xfff for none.";
        26 destination_mac: [u8; 6];
    }

    /// Writes an entry of the table of source addresses.
    SmtWriteReq = "cpl_smt_write_req", 40 {
        0 header: TpHeader;
        16 opcode_tid: OpcodeTid;
        20 params: SmtParams;
        24 pfvf1: SmtPfVf;
        26 source_mac1: [u8; 6];
        32 pfvf0: SmtPfVf;
        34 source_mac0: [u8; 6];
    }

    /// Data to send, without a work request around it.
    TxData = "cpl_tx_data", 16 {
        0 opcode_tid: OpcodeTid;
        4 length: U32;
        8 reserved: U32;
        12 flags: TxDataFlags;
    }

    /// One request that makes many PDUs; stands behind an FW_ISCSI_TX_DATA_WR, before the header that is the pattern.
    TxDataIso = "cpl_tx_data_iso", 32 {
        0 op: IsoOp;
        4 reserved1: u8;
        5 ahs_length: u8;
        6 pdu_quarter: U16, "`mpdu`: data of one PDU, in units of 4 bytes.";
        8 burst_quarter: U32, "`burst_size`: data of the burst, in units of 4 bytes.";
        12 length: U32, "The header and all data, in bytes.";
        16 segment_offset: U32, "In bits 23:0.";
        20 data_sn_offset: U32, "Is added to the DataSN of the pattern.";
        24 buffer_offset: U32, "Is added to the buffer offset of the pattern.";
        28 reserved3: U32;
    }

    /// A frame to send; stands behind an FW_ETH_TX_PKT_WR or FW_ETH_TX_PKT_VM_WR.
    TxPktCore = "cpl_tx_pkt_core", 16 {
        0 control0: TxPktControl0;
        4 pack: U16;
        6 length: U16;
        8 control1: TxPktControl1;
    }
}

super::bits::bit_fields! {
    /// First word of a frame to send.
    TxPktControl0: u32 {
        VF = 7:0;
        PF = 10:8;
        VF_VLD = 11:11;
        OVLAN_IDX = 14:12;
        INS_OVLAN = 15:15;
        INTF = 19:16;
        SPECIAL_STAT = 20:20;
        FCS_DIS = 21:21;
        STAT_DIS = 22:22;
        /// The frame comes back in.
        LOOPBACK = 23:23;
        OPCODE = 31:24;
    }

    /// Last words of a frame to send.
    TxPktControl1: u64 {
        IPHDR_LEN = 33:20;
        ETHHDR_LEN = 39:34;
        CSUM_TYPE = 43:40;
        VLAN = 59:44;
        VLAN_VLD = 60:60;
        IPSEC = 61:61;
        IPCSUM_DIS = 62:62;
        L4CSUM_DIS = 63:63;
    }
}

/// Length of a work request's header, in front of a CPL message.
pub const WORK_REQUEST_HEADER: usize = 16;

macro_rules! requests {
    ($($name:ident,)*) => {
        /// A CPL message in a work request of its own (FW_TP_WR).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Request {
            $(#[doc = concat!("`", stringify!($name), "`.")] $name($name),)*
        }

        impl Request {
            /// Reads a work request. What pads it to whole units of 16 bytes is ignored.
            ///
            /// # Errors
            /// It is too short, or no such message has that opcode.
            pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
                let (prefix, _) = TpPrefix::split_from(bytes)?;
                let opcode = prefix.opcode_tid.get(OpcodeTid::OPCODE) as u8;
                match RequestOpcode::from_wire(opcode) {
                    $(Some(RequestOpcode::$name) => Ok(Self::$name($name::split_from(bytes)?.0)),)*
                    _ => Err(WireError::Opcode { what: "message to the adapter", opcode }),
                }
            }

            /// The bytes, with header, before they are padded.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                match self {
                    $(Self::$name(message) => message.as_bytes(),)*
                }
            }

            /// Its opcode and tid.
            #[must_use]
            pub const fn opcode_tid(&self) -> OpcodeTid {
                match self {
                    $(Self::$name(message) => message.opcode_tid,)*
                }
            }
        }

        $(
            impl $name {
                /// The message with work request header and opcode filled in, for that tid (or what stands for one).
                ///
                /// # Panics
                /// If the tid has more than 24 bits: a bug of the caller.
                #[must_use]
                pub fn new(flow: u32, tid: u32) -> Self {
                    Self {
                        header: TpHeader::for_message(size_of::<Self>(), flow),
                        opcode_tid: OpcodeTid::new()
                            .with(OpcodeTid::OPCODE, RequestOpcode::$name.to_wire().into())
                            .with(OpcodeTid::TID, tid),
                        ..Self::default()
                    }
                }
            }

            impl From<$name> for Request {
                fn from(message: $name) -> Self {
                    Self::$name(message)
                }
            }
        )*
    };
}

requests! {
    ActOpenReq,
    ActOpenReq6,
    PassOpenReq,
    PassOpenReq6,
    PassAcceptRpl,
    CloseConReq,
    CloseListsrvReq,
    AbortReq,
    AbortRpl,
    TidRelease,
    GetTcb,
    SetTcbField,
    RxDataAck,
    L2tWriteReq,
    SmtWriteReq,
}

layout! {
    /// What all CPL messages in a work request begin with.
    TpPrefix = "work_request_hdr and opcode_tid", 20 {
        0 header: TpHeader;
        16 opcode_tid: OpcodeTid;
    }
}
