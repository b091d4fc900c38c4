//! Commands about the adapter as a whole: who drives it, what it can do, what it has.

use super::super::bits::bit_fields;
use super::super::layout::{codes, layout};
use super::{CommandLength, CommandOp};
use zerocopy::big_endian::{U16, U32, U64};

bit_fields! {
    /// Of HELLO: who the driver is, and how the firmware is.
    HelloFlags: u32 {
        ERR = 31:31;
        INIT = 30:30;
        MASTERDIS = 29:29;
        MASTERFORCE = 28:28;
        MBMASTER = 27:24;
        MBASYNCNOTINT = 23:23;
        MBASYNCNOT = 22:20;
        STAGE = 19:17;
        CLEARINIT = 16:16;
    }

    /// Second word of CAPS_CONFIG.
    CapsConfigLength: u32 {
        /// The configuration that follows holds (the bit is our choice).
        CFVALID = 27:27;
        RETVAL = 15:8;
        LEN16 = 7:0;
    }

    /// What the adapter may be used for as a NIC.
    NicCaps: u16 {
        NIC = 0:0;
        VM = 1:1;
        IDS = 2:2;
        UM = 3:3;
        UM_ISGL = 4:4;
        HASHFILTER = 5:5;
        ETHOFLD = 6:6;
    }

    /// The embedded switch's uses.
    SwitchCaps: u16 {
        INGRESS = 0:0;
        EGRESS = 1:1;
    }

    /// What iSCSI in the adapter can do.
    IscsiCaps: u16 {
        INITIATOR_PDU = 0:0;
        TARGET_PDU = 1:1;
        INITIATOR_CNXOFLD = 2:2;
        TARGET_CNXOFLD = 3:3;
        INITIATOR_SSNOFLD = 4:4;
        TARGET_SSNOFLD = 5:5;
        T10DIF = 6:6;
        INITIATOR_CMDOFLD = 7:7;
        TARGET_CMDOFLD = 8:8;
    }

    /// Which parameter of PARAMS.
    ParameterName: u32 {
        /// A [`ParameterClass`].
        CLASS = 31:24;
        X = 23:16;
        Y = 15:8;
        Z = 7:0;
    }
}

codes! {
    /// Classes of parameters.
    ParameterClass: u8 {
        Device = 1,
        Function = 2,
        Register = 3,
        Queue = 4,
        Network = 5,
    }

    /// Parameters of the device.
    DeviceParameter: u8 {
        /// Core clock in kHz.
        CoreClock = 0x00,
        /// One bit a port.
        PortVector = 0x01,
        /// Number of tids.
        TidCount = 0x02,
        /// Credits of a flow, in units of 16 bytes.
        FlowBufferSize = 0x03,
        FirmwareRevision = 0x0b,
        TpRevision = 0x0c,
        UlpTxMemoryWriteList = 0x17,
        Filter2 = 0x1d,
    }

    /// Parameters of a function: ranges of what it has.
    FunctionParameter: u8 {
        ClipStart = 0x03,
        ClipEnd = 0x04,
        FilterStart = 0x05,
        FilterEnd = 0x06,
        ServerStart = 0x07,
        ServerEnd = 0x08,
        TddpStart = 0x09,
        TddpEnd = 0x0a,
        /// First byte of the page pods in the adapter's memory.
        IscsiStart = 0x0b,
        /// Last byte of the page pods in the adapter's memory.
        IscsiEnd = 0x0c,
        L2tStart = 0x13,
        L2tEnd = 0x14,
        ViId = 0x24,
        IngressStart = 0x29,
        IngressEnd = 0x2a,
        EgressStart = 0x2b,
        EgressEnd = 0x2c,
        ActiveFilterStart = 0x2d,
        ActiveFilterEnd = 0x2e,
        /// The firmware may put CPL messages into FW4_MSG.
        CplFw4MsgEncap = 0x31,
    }
}

layout! {
    /// Resets the adapter.
    ResetCommand = "fw_reset_cmd", 16 {
        0 op: CommandOp;
        4 length: CommandLength;
        8 value: U32;
        12 halt: U32;
    }

    /// A driver says that it is there.
    HelloCommand = "fw_hello_cmd", 16 {
        0 op: CommandOp;
        4 length: CommandLength;
        8 flags: HelloFlags;
        12 firmware_revision: U32;
    }

    /// A driver says that it goes.
    ByeCommand = "fw_bye_cmd", 16 {
        0 op: CommandOp;
        4 length: CommandLength;
        8 reserved: U64;
    }

    /// The adapter is to begin with what was configured.
    InitializeCommand = "fw_initialize_cmd", 16 {
        0 op: CommandOp;
        4 length: CommandLength;
        8 reserved: U64;
    }

    /// What the adapter can do, or is to do.
    CapsConfigCommand = "fw_caps_config_cmd", 48 {
        0 op: CommandOp;
        4 length: CapsConfigLength;
        8 reserved2: U32;
        12 hardware_bitmap: U32;
        16 bitmap_caps: U16;
        18 link_caps: U16;
        20 switch_caps: SwitchCaps;
        22 reserved3: U16;
        24 nic_caps: NicCaps;
        26 toe_caps: U16, "Bit 0: TCP offload.";
        28 rdma_caps: U16;
        30 crypto_caps: U16;
        32 iscsi_caps: IscsiCaps;
        34 fcoe_caps: U16;
        36 checksum: U32;
        40 initial_version: U32;
        44 initial_checksum: U32;
    }

    /// A parameter and its value.
    Parameter = "fw_params_param", 8 {
        0 name: ParameterName;
        4 value: U32;
    }

    /// Asks for or sets parameters; LEN16 counts all seven.
    ParamsCommand = "fw_params_cmd", 64 {
        0 op: CommandOp;
        4 length: CommandLength;
        8 parameters: [Parameter; 7], "Those without a name are none.";
    }

    /// Reads or writes inside the adapter.
    LdstCommand = "fw_ldst_cmd", 64 {
        0 op: CommandOp, "The address space is in bits 7:0.";
        4 length: CommandLength;
        8 data: [u8; 56], "By the address space: see [`MpsReplication`].";
    }

    /// Of LDST: to which functions an entry of the switch is replicated.
    MpsReplication = "fw_ldst_mps_rplc", 56 {
        0 index: U16;
        2 pf: U16;
        4 map: [U32; 8], "The highest functions first.";
        36 reserved: [u8; 20];
    }

    /// The firmware tells of something that went wrong.
    ErrorCommand = "fw_error_cmd", 32 {
        0 op: CommandOp, "The kind is in bits 3:0: an [`ErrorKind`].";
        4 length: CommandLength;
        8 data: [u8; 24], "By the kind: see [`WorkRequestError`] and [`AccessError`].";
    }

    /// Of ERROR: a work request was malformed.
    WorkRequestError = "fw_error_wr", 24 {
        0 consumer: U16;
        2 pfn_vfn: U16;
        4 egress_queue: U32;
        8 header: [u8; 16];
    }

    /// Of ERROR: an access list forbids it.
    AccessError = "fw_error_acl", 24 {
        0 consumer: U16;
        2 pfn_vfn: U16;
        4 egress_queue: U32;
        8 kind: U16, "Bit 0: the VLAN, else the address (our choice).";
        10 value: [u8; 6];
        16 reserved: U64;
    }
}

codes! {
    /// Kinds of errors that the firmware tells of.
    ErrorKind: u8 {
        Exception = 0,
        Hardware = 1,
        WorkRequest = 2,
        AccessList = 3,
    }
}

impl ParameterName {
    /// A parameter of the device.
    #[must_use]
    pub const fn device(which: DeviceParameter) -> Self {
        Self::new().with(Self::CLASS, ParameterClass::Device as u32).with(Self::X, which as u32)
    }

    /// A register that all functions share, for who cannot read it: its offset into BAR 0, below 2^24 (our choice).
    #[must_use]
    pub const fn register(offset: u32) -> Self {
        let [_, x, y, z] = offset.to_be_bytes();
        let name = Self::new().with(Self::CLASS, ParameterClass::Register as u32);
        name.with(Self::X, x as u32).with(Self::Y, y as u32).with(Self::Z, z as u32)
    }

    /// A parameter of a function.
    #[must_use]
    pub const fn function(which: FunctionParameter) -> Self {
        Self::new().with(Self::CLASS, ParameterClass::Function as u32).with(Self::X, which as u32)
    }
}
