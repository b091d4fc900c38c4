//! FOiSCSI: work requests of the initiator in the firmware: nodes, sessions, SCSI commands.
//!
//! Layouts can be looked up in FreeBSD's `sys/dev/cxgbe/firmware/t4fw_interface.h`.

use super::bits::bit_fields;
use super::firmware::{CommandLength, ReturnCode};
use super::layout::{codes, layout};
use super::work_request::{WorkRequestFlow, WorkRequestOp};
use zerocopy::big_endian::{U16, U32, U64};

/// Longest name and alias, in bytes.
pub const FOISCSI_NAME_BYTES_MAX: usize = 224;
/// Longest secret of CHAP, in bytes.
pub const FOISCSI_SECRET_BYTES_MAX: usize = 128;

bit_fields! {
    /// The qualifier of an ISID (RFC 7143 section 11.12.5).
    FoiscsiIsid: u32 {
        T = 31:30;
        A = 29:24;
        B = 23:8;
        C = 7:0;
    }

    /// Of a session.
    FoiscsiSessionFlags: u32 {
        /// 0 discovery, 1 normal.
        SESS_TYPE = 31:30;
        SEQ_INORDER = 29:29;
        PDU_INORDER = 28:28;
        IMMD_DATA = 27:27;
        INIT_R2T = 26:26;
        ERL = 25:24;
    }

    /// Of a session's connection.
    FoiscsiConnectionFlags: u32 {
        /// A [`FoiscsiDigest`].
        HDIGEST = 31:30;
        /// A [`FoiscsiDigest`].
        DDIGEST = 29:28;
        /// A [`FoiscsiAuth`].
        AUTH_METHOD = 27:25;
        /// 0 one-way, 1 mutual.
        AUTH_POLICY = 24:23;
        DDP_PGSZ = 22:21;
        IPV6 = 20:20;
        DDP_PGIDX = 19:16;
        TCP_WS = 15:12;
        TCP_WS_EN = 11:11;
    }

    /// Which way a command's data goes.
    FcpDirections: u8 {
        READ = 1:1;
        WRITE = 0:0;
    }

    /// What a response holds.
    FcpResponseFlags: u8 {
        /// Fewer bytes were moved than expected.
        UNDERRUN = 3:3;
        /// More would have been.
        OVERRUN = 2:2;
        SENSE_VALID = 1:1;
        RESPONSE_VALID = 0:0;
    }

    /// Of an abort of SCSI commands.
    ScsiAbortFlags: u8 {
        /// 1 abort, 0 close.
        SUB_OPCODE = 7:2;
        CHK_ALL_IO = 0:0;
    }
}

codes! {
    /// What becomes of a node or session.
    FoiscsiOperation: u8 {
        Add = 1,
        Delete = 2,
        Modify = 4,
    }

    /// State of a session.
    FoiscsiState: u8 {
        Free = 0,
        Online = 1,
        Failed = 2,
        InRecovery = 3,
        Redirect = 4,
    }

    /// Which digests are offered.
    FoiscsiDigest: u8 {
        None = 0,
        Crc32 = 1,
        Crc32First = 2,
        Crc32Second = 3,
    }

    /// Which authentication is offered.
    FoiscsiAuth: u8 {
        None = 0,
        Chap = 1,
        ChapFirst = 2,
        ChapSecond = 3,
    }

    /// What is done to a network interface of the firmware.
    IfConfOperation: u8 {
        None = 0x00,
        Ipv4Set = 0x01,
        Ipv4Get = 0x02,
        VlanIpv4Set = 0x03,
        VlanIpv4Get = 0x04,
        Ipv6Set = 0x05,
        Ipv6Get = 0x06,
        VlanSet = 0x07,
        VlanGet = 0x08,
        MtuSet = 0x09,
        MtuGet = 0x0a,
        DhcpSet = 0x0b,
        DhcpGet = 0x0c,
    }
}

layout! {
    /// Sets or asks for addresses of a network interface of the firmware.
    ChnetIfConf = "fw_chnet_ifconf_wr", 80 {
        0 op: WorkRequestOp;
        4 flow: WorkRequestFlow;
        8 cookie: U64;
        16 interface_flow: U32;
        20 index: u8;
        21 operation: u8, "An [`IfConfOperation`].";
        22 return_value: u8;
        23 reserved2: u8;
        24 detail: [u8; 8], "Of pings and neighbours.";
        32 reserved0: U32;
        36 vlan: U16;
        38 mtu: U16;
        40 address: [u8; 4], "IPv4; of IPv6 the prefix length and zeros.";
        44 mask: [u8; 4];
        48 router: [u8; 4], "IPv4; of IPv6 the address begins here.";
        52 rest: [u8; 28];
    }

    /// Adds or deletes an initiator.
    FoiscsiNode = "fw_foiscsi_node_wr", 488 {
        0 op: WorkRequestOp;
        4 flow: WorkRequestFlow;
        8 cookie: U64;
        16 operation: u8, "A [`FoiscsiOperation`].";
        17 status: u8;
        18 alias_length: u8;
        19 name_length: u8;
        20 node_flow: U32;
        24 node: U16;
        26 login_retries: U16;
        28 retry_timeout: U16, "In seconds (the unit is our choice).";
        30 reserved3: U16;
        32 name: [u8; FOISCSI_NAME_BYTES_MAX];
        256 alias: [u8; FOISCSI_NAME_BYTES_MAX];
        480 isid: FoiscsiIsid;
        484 reserved: U32;
    }

    /// Adds, deletes or changes a session.
    FoiscsiControl = "fw_foiscsi_ctrl_wr and tgt_name", 336 {
        0 op: WorkRequestOp;
        4 flow: WorkRequestFlow;
        8 cookie: U64;
        16 operation: u8, "A [`FoiscsiOperation`].";
        17 status: u8;
        18 state: u8, "A [`FoiscsiState`].";
        19 io_state: u8;
        20 node: U32;
        24 session: U32;
        28 io: U32;
        32 session_flags: FoiscsiSessionFlags;
        36 connections_max: U16;
        38 outstanding_r2t_max: U16;
        40 time2wait: U16;
        42 time2retain: U16;
        44 burst_bytes_max: U32;
        48 first_burst_bytes: U32;
        52 reserved1: U32;
        56 connection_flags: FoiscsiConnectionFlags;
        60 receive_segment_bytes_max: U32;
        64 ping_timeout: U32;
        68 peer_port: U16;
        70 local_port: U16;
        72 peer: [u8; 16], "Of IPv4 the peer's four bytes and then our own.";
        88 local: [u8; 16], "IPv6 only.";
        104 target_name_length: u8;
        105 reserved3: [u8; 7];
        112 target_name: [u8; FOISCSI_NAME_BYTES_MAX];
    }

    /// The name and secret of a node.
    FoiscsiChap = "fw_foiscsi_chap_wr", 376 {
        0 op: WorkRequestOp;
        4 flow: WorkRequestFlow;
        8 cookie: U64;
        16 status: u8;
        17 name_length: u8;
        18 secret_length: u8;
        19 node_kind: u8, "0 initiator, 1 target.";
        20 node: U16;
        22 reserved3: U16;
        24 name: [u8; FOISCSI_NAME_BYTES_MAX];
        248 secret: [u8; FOISCSI_SECRET_BYTES_MAX];
    }

    /// A remote device has come or changed, as iSCSI has it.
    RemoteDevice = "fw_rdev_wr", 72 {
        0 op: WorkRequestOp;
        4 flow: WorkRequestFlow;
        8 cookie: U64;
        16 protocol: u8;
        17 event_cause: u8;
        18 state: u8;
        19 state_before: u8;
        20 associated_flow: U32;
        24 device_flow: U32;
        28 device_protocol: u8;
        29 device_event_cause: u8;
        30 device_flags: u8;
        31 reserved3: u8;
        32 iscsi_options: U16;
        34 tcp_options: U16;
        36 ip_options: U16;
        38 receive_length_max: U16;
        40 send_length_max: U16;
        42 first_burst_length: U16;
        44 burst_length_max: U16;
        46 reserved4: U16;
        48 time2wait: U16;
        50 time2retain: U16;
        52 ping_interval: U16;
        54 other_timeout: U16;
        56 isid: U16;
        58 tsih: U16;
        60 port: U16;
        62 portal_group: U16;
        64 reserved5: [u8; 6];
        70 iq: U16;
    }

    /// The command of a SCSI work request, behind its header: an FCP_CMND information unit (FCP-4 clause 9.1).
    FcpCommand = "fcp_cmnd", 32 {
        0 lun: [u8; 8];
        8 reference: u8;
        9 attribute: u8, "Task attribute in bits 2:0: 0 SIMPLE, 1 HEAD OF QUEUE, 2 ORDERED, 4 ACA.";
        10 management: u8;
        11 directions: FcpDirections;
        12 cdb: [u8; 16];
        28 length: U32, "Bytes of data.";
    }

    /// How a SCSI command ended, where its work request wants it: an FCP_RSP information unit (FCP-4 clause 9.5), which sense data follow.
    FcpResponse = "fcp_resp", 24 {
        0 reserved: [u8; 8];
        8 status_qualifier: U16;
        10 flags: FcpResponseFlags;
        11 status: u8, "SCSI status.";
        12 residual: U32;
        16 sense_length: U32;
        20 response_length: U32;
    }

    /// What the firmware says of a work request, in a FW6_MSG: its beginning, and what has become of it.
    WorkRequestReply = "data of cpl_fw6_msg", 32 {
        0 op: WorkRequestOp;
        4 length: CommandLength, "RETVAL is the [`ReturnCode`].";
        8 cookie: U64;
        16 rest: [u8; 16];
    }

    /// A SCSI command that moves data; its information unit and the list of where the data is follow. FW_SCSI_READ_WR and
    /// FW_SCSI_WRITE_WR have the same layout.
    ScsiTransfer = "fw_scsi_read_wr", 48 {
        0 op: WorkRequestOp;
        4 flow: WorkRequestFlow;
        8 cookie: U64;
        16 iq: U16;
        18 timeout: u8, "In seconds.";
        19 use_transfer_count: u8;
        20 reserved3: [u8; 4];
        24 transfer_count: U32;
        28 initial_transfer_count: U32;
        32 response_address: U64;
        40 response_length: U32;
        44 reserved4: U32;
    }

    /// A SCSI command without data; its information unit follows.
    ScsiCommandRequest = "fw_scsi_cmd_wr", 48 {
        0 op: WorkRequestOp;
        4 flow: WorkRequestFlow;
        8 cookie: U64;
        16 iq: U16;
        18 timeout: u8, "In seconds.";
        19 reserved3: u8;
        20 reserved4: [u8; 4];
        24 reserved5: U64;
        32 response_address: U64;
        40 response_length: U32;
        44 reserved6: U32;
    }

    /// Aborts a SCSI command, or all of a device.
    ScsiAbort = "fw_scsi_abrt_cls_wr", 32 {
        0 op: WorkRequestOp;
        4 flow: WorkRequestFlow;
        8 cookie: U64;
        16 iq: U16;
        18 timeout: u8, "In seconds.";
        19 flags: ScsiAbortFlags;
        20 reserved3: [u8; 4];
        24 task_cookie: U64, "The cookie of the command.";
    }
}

impl WorkRequestReply {
    /// The answer to a work request that begins with these bytes.
    #[must_use]
    pub fn to(request: &[u8]) -> Self {
        let mut bytes = [0; 32];
        let there = request.len().min(bytes.len());
        bytes[..there].copy_from_slice(&request[..there]);
        zerocopy::transmute!(bytes)
    }

    /// The same, with what has become of it.
    #[must_use]
    pub fn with_code(mut self, code: ReturnCode) -> Self {
        self.length = self.length.with(CommandLength::RETVAL, code.to_wire().into());
        self
    }

    /// What has become of it, if that is a code that there is.
    #[must_use]
    pub fn code(&self) -> Option<ReturnCode> {
        ReturnCode::from_wire(self.length.get(CommandLength::RETVAL) as u8)
    }
}
