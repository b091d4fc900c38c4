//! CPL messages from the adapter, without the response header that precedes them in a queue.
//!
//! Opcodes and layouts can be looked up in FreeBSD's `sys/dev/cxgbe/common/t4_msg.h`.

use super::fields::*;
use super::layout::{Layout, WireError, codes, layout};
use zerocopy::IntoBytes;
use zerocopy::big_endian::{U16, U32, U64};

codes! {
    /// Opcodes of messages from the adapter. The other direction uses some of the same numbers.
    ReplyOpcode: u8 {
        CloseListsrvRpl = 0x20,
        CplError = 0x21,
        GetTcbRpl = 0x22,
        L2tWriteRpl = 0x23,
        PassOpenRpl = 0x24,
        ActOpenRpl = 0x25,
        PeerClose = 0x26,
        AbortReqRss = 0x2b,
        AbortRplRss = 0x2d,
        SmtWriteRpl = 0x2e,
        CloseConRpl = 0x32,
        IscsiHdr = 0x33,
        RxData = 0x39,
        SetTcbRpl = 0x3a,
        RxPkt = 0x3b,
        ActEstablish = 0x40,
        PassEstablish = 0x41,
        RxDataDdp = 0x42,
        PassAcceptReq = 0x44,
        RxIscsiDdp = 0x49,
        SgeEgrUpdate = 0xa5,
        IscsiData = 0xb2,
        Fw4Msg = 0xc0,
        Fw4Ack = 0xc3,
        Fw6Msg = 0xe0,
    }
}

layout! {
    /// An active open has failed, or been told something on the way.
    ActOpenRpl = "cpl_act_open_rpl", 8 {
        0 opcode_tid: OpcodeTid;
        4 atid_status: AtidStatus;
    }

    /// An active open has become a connection.
    ActEstablish = "cpl_act_establish", 24 {
        0 opcode_tid: OpcodeTid;
        4 reserved: U32;
        8 tos_atid: TosId;
        12 mac_index: U16;
        14 tcp_options: EstablishOptions;
        16 snd_isn: U32, "The next sequence number that is sent: behind the SYN.";
        20 rcv_isn: U32, "The next sequence number that is received: behind the SYN.";
    }

    /// A listener listens, or does not.
    PassOpenRpl = "cpl_pass_open_rpl", 8 {
        0 opcode_tid: OpcodeTid, "The tid is the stid.";
        4 reserved: [u8; 3];
        7 status: u8;
    }

    /// A SYN has come; its headers follow.
    PassAcceptReq = "cpl_pass_accept_req", 24 {
        0 opcode_tid: OpcodeTid;
        4 reserved: U16;
        6 length: U16;
        8 header_lengths: SynHeaderLengths;
        12 vlan: U16;
        14 l2info: SynL2Info;
        16 tos_stid: TosId;
        20 tcp_mss: U16;
        22 tcp_window_scale: u8;
        23 tcp_flags: TcpOptionFlags;
    }

    /// A connection that was accepted stands.
    PassEstablish = "cpl_pass_establish", 24 {
        0 opcode_tid: OpcodeTid;
        4 reserved: U32;
        8 tos_stid: TosId;
        12 mac_index: U16;
        14 tcp_options: EstablishOptions;
        16 snd_isn: U32, "The next sequence number that is sent: behind the SYN.";
        20 rcv_isn: U32, "The next sequence number that is received: behind the SYN.";
    }

    /// The peer has closed its direction.
    PeerClose = "cpl_peer_close", 8 {
        0 opcode_tid: OpcodeTid;
        4 rcv_nxt: U32;
    }

    /// Our FIN was acknowledged.
    CloseConRpl = "cpl_close_con_rpl", 16 {
        0 opcode_tid: OpcodeTid;
        4 reserved: [u8; 3];
        7 status: u8;
        8 snd_nxt: U32;
        12 rcv_nxt: U32;
    }

    /// A listener has ended.
    CloseListsrvRpl = "cpl_close_listsvr_rpl", 8 {
        0 opcode_tid: OpcodeTid, "The tid is the stid.";
        4 reserved: [u8; 3];
        7 status: u8;
    }

    /// The peer or the adapter aborts a connection.
    AbortReqRss = "cpl_abort_req_rss", 8 {
        0 opcode_tid: OpcodeTid;
        4 reserved: [u8; 3];
        7 status: u8, "A [`CplStatus`].";
    }

    /// Our abort is done.
    AbortRplRss = "cpl_abort_rpl_rss", 8 {
        0 opcode_tid: OpcodeTid;
        4 reserved: [u8; 3];
        7 status: u8;
    }

    /// The control block of a connection follows.
    GetTcbRpl = "cpl_get_tcb_rpl", 8 {
        0 opcode_tid: OpcodeTid;
        4 cookie: u8;
        5 status: u8;
        6 length: U16;
    }

    /// The control block of a connection was changed.
    SetTcbRpl = "cpl_set_tcb_rpl", 16 {
        0 opcode_tid: OpcodeTid;
        4 reserved: U16;
        6 cookie: u8;
        7 status: u8;
        8 old_value: U64;
    }

    /// Data of a connection without iSCSI offload; follows.
    RxData = "cpl_rx_data", 16 {
        0 opcode_tid: OpcodeTid;
        4 reserved: U16;
        6 length: U16;
        8 sequence: U32;
        12 urgent: U16;
        14 flags: u8, "ddp_off 4, heartbeat 3, psh 2, dack_mode 1:0.";
        15 status: u8;
    }

    /// The header of a PDU, with additional segments and digest; follows.
    IscsiHdr = "cpl_iscsi_hdr", 16 {
        0 opcode_tid: OpcodeTid;
        4 pdu_length: IscsiHdrLength;
        6 length: U16, "Bytes that follow: header, additional header segments, header digest if there is one.";
        8 sequence: U32, "Of the first byte of the PDU.";
        12 urgent: U16;
        14 reserved: u8;
        15 status: u8;
    }

    /// Data of a PDU that was not placed; follows.
    IscsiData = "cpl_iscsi_data", 16 {
        0 opcode_tid: OpcodeTid;
        4 reserved0: U16;
        6 length: U16;
        8 sequence: U32;
        12 urgent: U16;
        14 reserved1: u8;
        15 status: u8;
    }

    /// The end of a PDU, and what became of it. RX_DATA_DDP has the same layout.
    RxIscsiDdp = "cpl_rx_data_ddp", 24 {
        0 opcode_tid: OpcodeTid;
        4 urgent: U16;
        6 length: U16, "Bytes of the PDU on the wire, with padding and digests.";
        8 sequence: U32;
        12 next_sequence: U32, "Or the DDP report of RX_DATA_DDP.";
        16 data_digest: U32, "As received.";
        20 verdict: DdpVerdict;
    }

    /// Credits for work requests come back.
    Fw4Ack = "cpl_fw4_ack", 24 {
        0 opcode_tid: OpcodeTid;
        4 credits: u8, "In units of 16 bytes.";
        5 reserved0: [u8; 2];
        7 flags: Fw4AckFlags;
        8 snd_nxt: U32;
        12 snd_una: U32, "Holds if [`Fw4AckFlags::SEQVAL`] is set.";
        16 reserved1: U64;
    }

    /// Something from the firmware, 16 bytes.
    Fw4Msg = "cpl_fw4_msg", 24 {
        0 opcode: u8;
        1 kind: u8, "A [`FirmwareMessage`].";
        2 reserved0: U16;
        4 reserved1: U32;
        8 data: [u8; 16];
    }

    /// Something from the firmware, 32 bytes.
    Fw6Msg = "cpl_fw6_msg", 40 {
        0 opcode: u8;
        1 kind: u8, "A [`FirmwareMessage`].";
        2 reserved0: U16;
        4 reserved1: U32;
        8 data: [u8; 32];
    }

    /// An egress queue has come further.
    SgeEgrUpdate = "cpl_sge_egr_update", 8 {
        0 opcode_qid: OpcodeTid, "The tid is the queue.";
        4 consumer: U16;
        6 producer: U16;
    }

    /// An entry of the table of next hops was written.
    L2tWriteRpl = "cpl_l2t_write_rpl", 8 {
        0 opcode_tid: OpcodeTid;
        4 status: u8;
        5 reserved: [u8; 3];
    }

    /// An entry of the table of source addresses was written.
    SmtWriteRpl = "cpl_smt_write_rpl", 8 {
        0 opcode_tid: OpcodeTid;
        4 status: u8;
        5 reserved: [u8; 3];
    }

    /// A frame has come; its bytes are in a buffer of the free list, two bytes in.
    RxPkt = "cpl_rx_pkt", 16 {
        0 opcode: u8;
        1 flags: u8, "ip_frag 7, vlan_ex 6, ipmi_pkt 5, csum_calc 4, iff 3:0.";
        2 checksum: U16;
        4 vlan: U16;
        6 length: U16;
        8 l2info: U32;
        12 header_length: U16;
        14 errors: U16;
    }

    /// A message could not be handled.
    CplError = "cpl_error", 8 {
        0 opcode_tid: OpcodeTid;
        4 error: U32;
    }
}

codes! {
    /// What a FW4_MSG or FW6_MSG holds.
    FirmwareMessage: u8 {
        CommandReply = 0,
        WorkRequestReply = 1,
        Cqe = 2,
        OffloadConnectionReply = 3,
        RssCpl = 4,
    }
}

macro_rules! replies {
    ($($name:ident,)*) => {
        /// A CPL message from the adapter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reply {
            $(#[doc = concat!("`", stringify!($name), "`.")] $name($name),)*
            /// `RX_DATA_DDP`.
            RxDataDdp(RxIscsiDdp),
        }

        impl Reply {
            /// Reads a message; gives what is behind it too.
            ///
            /// # Errors
            /// It is too short, or no message has that opcode.
            pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
                let opcode = *bytes.first().ok_or(WireError::Short { name: "CPL message", expected: 8, length: 0 })?;
                match ReplyOpcode::from_wire(opcode) {
                    $(Some(ReplyOpcode::$name) => $name::split_from(bytes).map(|(message, rest)| (Self::$name(message), rest)),)*
                    Some(ReplyOpcode::RxDataDdp) => {
                        RxIscsiDdp::split_from(bytes).map(|(message, rest)| (Self::RxDataDdp(message), rest))
                    }
                    None => Err(WireError::Opcode { what: "message from the adapter", opcode }),
                }
            }

            /// The bytes, without what follows.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                match self {
                    $(Self::$name(message) => message.as_bytes(),)*
                    Self::RxDataDdp(message) => message.as_bytes(),
                }
            }
        }

        $(
            impl From<$name> for Reply {
                fn from(message: $name) -> Self {
                    Self::$name(message)
                }
            }
        )*
    };
}

replies! {
    CloseListsrvRpl, CplError, GetTcbRpl, L2tWriteRpl, PassOpenRpl, ActOpenRpl, PeerClose, AbortReqRss, AbortRplRss,
    SmtWriteRpl, CloseConRpl, IscsiHdr, RxData, SetTcbRpl, RxPkt, ActEstablish, PassEstablish, PassAcceptReq, RxIscsiDdp,
    SgeEgrUpdate, IscsiData, Fw4Msg, Fw4Ack, Fw6Msg,
}

impl ReplyOpcode {
    /// First word of a message about that connection (or what stands for one).
    ///
    /// # Panics
    /// If the tid has more than 24 bits: a bug of the caller.
    #[must_use]
    pub const fn of(self, tid: u32) -> OpcodeTid {
        OpcodeTid::new().with(OpcodeTid::OPCODE, self.to_wire() as u32).with(OpcodeTid::TID, tid)
    }
}
