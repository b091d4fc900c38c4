//! The packed words of CPL messages.
//!
//! Every bit can be looked up in FreeBSD's `sys/dev/cxgbe/common/t4_msg.h`, under the name of the field.

use super::bits::bit_fields;
use super::layout::codes;

bit_fields! {
    /// First word of every CPL message: what it is, and whose.
    OpcodeTid: u32 {
        OPCODE = 31:24;
        /// Which connection, listener or open, by the kind of message.
        TID = 23:0;
    }

    /// Of ACT_OPEN_RPL.
    AtidStatus: u32 {
        ATID = 31:8;
        /// A [`CplStatus`].
        STATUS = 7:0;
    }

    /// Of ACT_ESTABLISH, PASS_ACCEPT_REQ and PASS_ESTABLISH: which open or listener it belongs to.
    TosId: u32 {
        TOS = 31:24;
        /// The atid or stid.
        ID = 23:0;
    }

    /// First word of options of a connection.
    Opt0: u64 {
        ACCEPT_MODE = 1:0;
        TX_CHAN = 3:2;
        NO_CONG = 4:4;
        DELACK = 5:5;
        INJECT_TIMER = 6:6;
        NON_OFFLOAD = 7:7;
        /// A [`UlpMode`].
        ULP_MODE = 11:8;
        /// In KiB. A larger window is opened later, with RX_DATA_ACK.
        RCV_BUFSIZ = 21:12;
        DSCP = 27:22;
        SMAC_SEL = 35:28;
        L2T_IDX = 47:36;
        TCAM_BYPASS = 48:48;
        NAGLE = 49:49;
        WND_SCALE = 53:50;
        KEEP_ALIVE = 54:54;
        MAX_RT = 58:55;
        MAX_RT_OVERRIDE = 59:59;
        /// Index into the table of MTUs.
        MSS_IDX = 63:60;
    }

    /// Second word of options of a listener.
    Opt1: u64 {
        SYN_RSS_ENABLE = 0:0;
        USE_HASH = 1:1;
        SYN_RSS_QUEUE = 11:2;
        LISTEN_INTF = 19:12;
        LISTEN_FILTER = 20:20;
        SYN_DEFENSE = 21:21;
        /// 0 automatic, 1 ask, 2 filter, 3 deny.
        CONN_POLICY = 23:22;
        T5_FILT_INFO = 63:24;
    }

    /// Second word of options of a connection.
    Opt2: u32 {
        RSS_QUEUE = 9:0;
        RSS_QUEUE_VALID = 10:10;
        RX_COALESCE_VALID = 11:11;
        RX_COALESCE = 13:12;
        /// 0 Reno, 1 Tahoe, 2 NewReno, 3 HighSpeed.
        CONG_CNTRL = 15:14;
        PACE = 17:16;
        /// The message carries an initial send sequence number. Older adapters have CONG_CNTRL_VALID here.
        T5_ISS = 18:18;
        PACE_VALID = 19:19;
        RX_FC_DISABLE = 20:20;
        RX_FC_DDP = 21:21;
        RX_FC_VALID = 22:22;
        TX_QUEUE = 25:23;
        RX_CHANNEL = 26:26;
        CCTRL_ECN = 27:27;
        WND_SCALE_EN = 28:28;
        TSTAMPS_EN = 29:29;
        SACK_EN = 30:30;
        T5_OPT_2_VALID = 31:31;
    }

    /// Of an active open.
    ActOpenParams: u64 {
        /// The compressed filter key.
        FILTER_TUPLE = 63:24;
    }

    /// Of PASS_ACCEPT_REQ: how long the headers of the SYN behind it are, in bytes.
    SynHeaderLengths: u32 {
        SYN_RX_CHAN = 3:0;
        TCP_HDR_LEN = 15:10;
        IP_HDR_LEN = 25:16;
        ETH_HDR_LEN = 31:26;
    }

    /// Of PASS_ACCEPT_REQ: how the SYN came in.
    SynL2Info: u16 {
        SYN_MAC_IDX = 8:0;
        SYN_XACT_MATCH = 9:9;
        SYN_INTF = 15:12;
    }

    /// Of ACT_ESTABLISH and PASS_ESTABLISH: what both ends have agreed on.
    EstablishOptions: u16 {
        WSCALE_OK = 5:5;
        SACK = 6:6;
        TSTAMP = 7:7;
        SND_WSCALE = 11:8;
        /// Index into the table of MTUs.
        MSS_IDX = 15:12;
    }

    /// Of the options of a SYN, in PASS_ACCEPT_REQ.
    TcpOptionFlags: u8 {
        TSTAMP = 7:7;
        SACK = 6:6;
        ECN = 5:5;
        UNKNOWN = 4:4;
    }

    /// Where a reply goes.
    ReplyControl: u16 {
        QUEUENO = 9:0;
        REPLY_CHAN = 14:14;
        NO_REPLY = 15:15;
    }

    /// Of SET_TCB_FIELD.
    WordCookie: u16 {
        /// The first of the two words that are changed.
        WORD = 4:0;
        /// Comes back in SET_TCB_RPL.
        COOKIE = 7:5;
    }

    /// Of RX_DATA_ACK.
    DataAck: u32 {
        /// In bytes.
        CREDITS = 25:0;
        MODULATE_TX = 26:26;
        MODULATE_RX = 27:27;
        FORCE_ACK = 28:28;
        DACK_MODE = 30:29;
        DACK_CHANGE = 31:31;
    }

    /// Of TX_DATA and FW_OFLD_TX_DATA_WR.
    TxDataFlags: u32 {
        PROXY = 5:5;
        /// Header digest: the lowest bit of ULP_SUBMODE.
        ULP_HCRC = 6:6;
        /// Data digest.
        ULP_DCRC = 7:7;
        /// Protection information.
        ULP_PI = 8:8;
        /// One request makes many PDUs.
        ULP_ISO = 9:9;
        /// A [`UlpMode`].
        ULP_MODE = 12:10;
        FORCE = 13:13;
        /// Nothing more is queued behind.
        SHOVE = 14:14;
        MORE = 15:15;
        URG = 16:16;
        FLUSH = 17:17;
        SAVE = 18:18;
        TNL = 19:19;
        /// SHOVE where a firmware work request has it.
        WR_SHOVE = 29:29;
        WR_ALIGN_PAYLOAD = 30:30;
        WR_LSO_DISABLE = 31:31;
    }

    /// Of ISCSI_HDR.
    IscsiHdrLength: u16 {
        /// Header, its digest if there is one, and the data segment without padding, in bytes.
        LEN = 14:0;
        DDP = 15:15;
    }

    /// What became of a PDU: the `ddpvld` word of RX_ISCSI_DDP.
    DdpVerdict: u32 {
        PPOD_MISMATCH = 15:15;
        /// All payload was placed.
        PLACED = 16:16;
        LLIMIT_ERR = 17:17;
        PPOD_PARITY = 18:18;
        PADDING_ERR = 19:19;
        HDRCRC_ERR = 20:20;
        DATACRC_ERR = 21:21;
        INVALID_TAG = 22:22;
        ULIMIT_ERR = 23:23;
        OFFSET_ERR = 24:24;
        COLOR_ERR = 25:25;
        TID_MISMATCH = 26:26;
        INVALID_PPOD = 27:27;
        ULP_MODE = 31:28;
    }

    /// First word of TX_DATA_ISO.
    IsoOp: u32 {
        OPCODE = 31:24;
        FIRST = 23:23;
        LAST = 22:22;
        CPLHDRLEN = 21:21;
        HDRCRC = 20:20;
        PLDCRC = 19:19;
        IMMEDIATE = 18:18;
        /// 1 Data-Out, 2 Data-In.
        SCSI = 17:16;
    }

    /// Of FW4_ACK.
    Fw4AckFlags: u8 {
        /// `snd_una` holds.
        SEQVAL = 0:0;
        CH = 1:1;
        FLOWC = 2:2;
    }

    /// Of L2T_WRITE_REQ.
    L2tParams: u16 {
        INFO = 7:2;
        PORT = 9:8;
        LPBK = 10:10;
        ARPMISS = 11:11;
        NOREPLY = 15:15;
    }

    /// Of SMT_WRITE_REQ.
    SmtParams: u32 {
        OVLAN_IDX = 19:16;
        IDX = 26:20;
        NORPL = 31:31;
    }

    /// Of SMT_WRITE_REQ: whose address it is.
    SmtPfVf: u16 {
        VF = 7:0;
        PF = 10:8;
        VF_VLD = 11:11;
    }
}

impl SmtPfVf {
    /// The function.
    #[must_use]
    pub fn of(function: super::FunctionId) -> Self {
        let word = Self::new().with(Self::PF, function.pf().into()).with(Self::VF, function.vf().unwrap_or(0).into());
        word.with_bit(Self::VF_VLD, function.is_virtual())
    }
}

codes! {
    /// What the adapter does above TCP on a connection.
    UlpMode: u8 {
        None = 0,
        Iscsi = 2,
        Rdma = 4,
        TcpDdp = 5,
        Fcoe = 6,
    }

    /// Status of a CPL message.
    CplStatus: u8 {
        None = 0,
        TcamParity = 1,
        TcamMiss = 2,
        TcamFull = 3,
        BadLength = 15,
        BadRoute = 18,
        ConnReset = 20,
        ConnExistSynRecv = 21,
        ConnExist = 22,
        ArpMiss = 23,
        BadSyn = 24,
        ConnTimedOut = 30,
        XmitTimedOut = 31,
        PersistTimedOut = 32,
        FinWait2TimedOut = 33,
        KeepAliveTimedOut = 34,
        /// Advice: nothing has ended.
        RtxNegAdvice = 35,
        /// Advice: nothing has ended.
        PersistNegAdvice = 36,
        /// Advice: nothing has ended.
        KeepAliveNegAdvice = 37,
        WaitArpReply = 41,
        AbortFailed = 42,
        IwarpFlm = 50,
    }

    /// Whether an abort sends a RST.
    AbortCommand: u8 {
        SendRst = 0,
        NoRst = 1,
    }
}

impl CplStatus {
    /// Whether it only advises, and the connection lives on.
    #[must_use]
    pub const fn is_advice(self) -> bool {
        matches!(self, Self::RtxNegAdvice | Self::PersistNegAdvice | Self::KeepAliveNegAdvice)
    }
}

impl DdpVerdict {
    /// Every bit that says why payload was not placed; the digests and the padding have their own.
    pub const PLACEMENT_ERRORS: [(&'static str, super::bits::Field<Self>); 9] = [
        ("PPOD_MISMATCH", Self::PPOD_MISMATCH),
        ("LLIMIT_ERR", Self::LLIMIT_ERR),
        ("PPOD_PARITY", Self::PPOD_PARITY),
        ("INVALID_TAG", Self::INVALID_TAG),
        ("ULIMIT_ERR", Self::ULIMIT_ERR),
        ("OFFSET_ERR", Self::OFFSET_ERR),
        ("COLOR_ERR", Self::COLOR_ERR),
        ("TID_MISMATCH", Self::TID_MISMATCH),
        ("INVALID_PPOD", Self::INVALID_PPOD),
    ];
}
