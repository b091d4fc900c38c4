//! Commands about virtual interfaces and ports: addresses, what they let in, where it goes.

use super::super::bits::bit_fields;
use super::super::layout::{codes, layout};
use super::{Access, AllocLength, CommandLength, CommandOp};
use zerocopy::big_endian::{U16, U32, U64};

bit_fields! {
    /// Of VI: which interface, and for what.
    ViType: u16 {
        TYPE = 15:15;
        /// A [`ViFunction`].
        FUNC = 14:12;
        VIID = 11:0;
    }

    /// An interface's number, as drivers take it apart.
    ViId: u16 {
        PFN = 10:8;
        VIVLD = 7:7;
        VIN = 6:0;
    }

    /// Of VI: the port.
    ViPort: u8 {
        PORTID = 7:4;
    }

    /// Of VI: how many entries of its table spread what comes.
    ViRss: u16 {
        NORSS = 11:11;
        RSSSIZE = 10:0;
    }

    /// Second word of VI_MAC.
    ViMacLength: u32 {
        FREEMACS = 31:31;
        ENTRY_TYPE = 25:23;
        HASHUNIEN = 22:22;
        RETVAL = 15:8;
        LEN16 = 7:0;
    }

    /// Of an address in VI_MAC.
    ViMacIndex: u16 {
        VALID = 15:15;
        PRIO = 14:12;
        /// A [`ViMacResult`].
        SMAC_RESULT = 11:10;
        /// Where it stands, or one of [`MAC_ADD`] and its like.
        IDX = 9:0;
    }

    /// Of VI_RXMODE: what is let in. All ones leave a field as it was.
    RxMode: u32 {
        MTU = 31:16;
        PROMISCEN = 15:14;
        ALLMULTIEN = 13:12;
        BROADCASTEN = 11:10;
        VLANEXEN = 9:8;
    }

    /// Second word of VI_ENABLE.
    ViEnableLength: u32 {
        /// Lets frames in.
        IEN = 31:31;
        /// Lets frames out.
        EEN = 30:30;
        LED = 29:29;
        DCB_INFO = 28:28;
        RETVAL = 15:8;
        LEN16 = 7:0;
    }

    /// Second word of ACL_MAC and ACL_VLAN.
    AclLength: u32 {
        /// The list is enforced.
        EN = 31:31;
        RETVAL = 15:8;
        LEN16 = 7:0;
    }

    /// Of ACL_VLAN.
    AclVlanFlags: u8 {
        /// Frames without a VLAN are dropped.
        DROPNOVLAN = 7:7;
        /// Frames of other VLANs are dropped.
        FM = 6:6;
    }

    /// Second word of PORT.
    PortLength: u32 {
        /// A [`PortAction`].
        ACTION = 31:16;
        RETVAL = 15:8;
        LEN16 = 7:0;
    }

    /// Of PORT: how the link is.
    PortStatus: u32 {
        LSTATUS = 31:31;
        LSPEED = 29:24;
        TXPAUSE = 23:23;
        RXPAUSE = 22:22;
        PTYPE = 12:8;
        LINKDNRC = 7:5;
        MODTYPE = 4:0;
    }

    /// Of RSS_VI_CONFIG.
    RssViFlags: u32 {
        DEFAULTQ = 25:16;
        IP6FOURTUPEN = 4:4;
        IP6TWOTUPEN = 3:3;
        IP4FOURTUPEN = 2:2;
        IP4TWOTUPEN = 1:1;
        UDPEN = 0:0;
    }

    /// Three queues of an RSS table (the bits are our choice).
    RssQueues: u32 {
        IQ0 = 29:20;
        IQ1 = 19:10;
        IQ2 = 9:0;
    }

    /// Second word of CLIP.
    ClipLength: u32 {
        ALLOC = 31:31;
        FREE = 30:30;
        INDEX = 28:16;
        RETVAL = 15:8;
        LEN16 = 7:0;
    }
}

codes! {
    /// What an interface is for.
    ViFunction: u8 {
        Ethernet = 0,
        Offload = 1,
        Iwarp = 2,
        OpenIscsi = 3,
        OpenFcoe = 4,
        Foiscsi = 5,
        Fofcoe = 6,
        Firmware = 7,
    }

    /// What became of an address.
    ViMacResult: u8 {
        Success = 0,
        NoMemory = 1,
        SourceTableFull = 2,
        AccessList = 3,
    }

    /// What PORT does.
    PortAction: u16 {
        L1Configure = 1,
        L2Configure = 2,
        GetPortInfo = 3,
    }
}

/// Index of VI_MAC: to be put wherever there is room.
pub const MAC_ADD: u16 = 0x3ff;
/// Index of VI_MAC: the same, to stay over a reset.
pub const MAC_ADD_PERSISTENT: u16 = 0x3fe;
/// Index of VI_MAC: the address goes.
pub const MAC_FREE_ADDRESS: u16 = 0x3fd;
/// Index of VI_MAC: what stands at the index goes.
pub const MAC_FREE_INDEX: u16 = 0x3fc;

/// ENTRY_TYPE of VI_MAC: the first entry is the vector of a hash filter.
pub const MAC_ENTRY_HASH: u32 = 1;

/// The bit of a hash filter that stands for an address of the link: 0 to 63.
#[must_use]
pub const fn address_hash_bit([a, b, c, d, e, f]: [u8; 6]) -> u32 {
    let fold = u32::from_be_bytes([0, a, b, c]) ^ u32::from_be_bytes([0, d, e, f]);
    let fold = fold ^ fold >> 12;
    (fold ^ fold >> 6) & 0x3f
}

impl ViMacCommand {
    /// Has an interface receive the groups whose bits are set ([`address_hash_bit`]), in the place of those that were set before.
    ///
    /// # Panics
    /// If the interface's number has more than 12 bits: a bug of the caller.
    #[must_use]
    pub fn of_groups(vi: u32, groups: u64) -> Self {
        let mut command = Self::request(Access::WRITE, vi);
        command.length = command.length.with(ViMacLength::ENTRY_TYPE, MAC_ENTRY_HASH);
        command.entries[0] = zerocopy::transmute!(groups.to_be_bytes());
        command
    }

    /// The vector, of the form with hashes: groups and, with HASHUNIEN, others whose bits are set.
    #[must_use]
    pub fn hash(&self) -> Option<u64> {
        let hashes =
            self.length.is_set(ViMacLength::HASHUNIEN) || self.length.get(ViMacLength::ENTRY_TYPE) == MAC_ENTRY_HASH;
        hashes.then(|| u64::from_be_bytes(zerocopy::transmute!(self.entries[0])))
    }
}

layout! {
    /// Makes a virtual interface, or ends it.
    ViCommand = "fw_vi_cmd", 64 {
        0 op: CommandOp;
        4 length: AllocLength;
        8 kind: ViType;
        10 mac: [u8; 6];
        16 port: ViPort;
        17 more_macs: u8, "How many addresses more than one are asked for.";
        18 mac0: [u8; 6];
        24 rss: ViRss;
        26 mac1: [u8; 6];
        32 ids_iq: U16;
        34 mac2: [u8; 6];
        40 ids_eq: U16;
        42 mac3: [u8; 6];
        48 reserved9: U64;
        56 reserved10: U64;
    }

    /// An address that is matched whole.
    ViMacExact = "fw_vi_mac_exact", 8 {
        0 index: ViMacIndex;
        2 address: [u8; 6];
    }

    /// Adds addresses to an interface, or takes them away. Of the form with hashes, the first entry is the vector.
    ViMacCommand = "fw_vi_mac_cmd", 64 {
        0 op: CommandOp;
        4 length: ViMacLength;
        8 entries: [ViMacExact; 7];
    }

    /// What an interface lets in.
    ViRxModeCommand = "fw_vi_rxmode_cmd", 16 {
        0 op: CommandOp;
        4 length: CommandLength;
        8 mode: RxMode;
        12 reserved: U32;
    }

    /// Lets frames in and out of an interface.
    ViEnableCommand = "fw_vi_enable_cmd", 16 {
        0 op: CommandOp;
        4 length: ViEnableLength;
        8 blink_duration: U16;
        10 reserved3: U16;
        12 reserved4: U32;
    }

    /// An address in a list, with what pads it.
    AclMac = "fw_acl_mac_entry", 8 {
        0 reserved: U16;
        2 address: [u8; 6];
    }

    /// Which addresses a function may use.
    AclMacCommand = "fw_acl_mac_cmd", 48 {
        0 op: CommandOp;
        4 length: AclLength;
        8 count: u8;
        9 reserved: [u8; 7];
        16 addresses: [AclMac; 4];
    }

    /// Which VLANs a function may use.
    AclVlanCommand = "fw_acl_vlan_cmd", 48 {
        0 op: CommandOp;
        4 length: AclLength;
        8 count: u8;
        9 flags: AclVlanFlags;
        10 reserved: [u8; 6];
        16 vlans: [U16; 16];
    }

    /// Asks for or sets what a port does.
    PortCommand = "fw_port_cmd", 32 {
        0 op: CommandOp, "The port is in bits 3:0.";
        4 length: PortLength;
        8 status: PortStatus, "Of L1_CFG: what is asked of the link.";
        12 capabilities: U16;
        14 advertised: U16;
        16 mtu: U16;
        18 reserved: [u8; 14];
    }

    /// Which queues what comes is spread over.
    RssIndirectionCommand = "fw_rss_ind_tbl_cmd", 64 {
        0 op: CommandOp;
        4 length: CommandLength;
        8 count: U16;
        10 start: U16;
        12 reserved: U32;
        16 queues: [RssQueues; 11], "The last holds two.";
        60 reserved15: U32;
    }

    /// How what comes is spread.
    RssViConfigCommand = "fw_rss_vi_config_cmd", 32 {
        0 op: CommandOp;
        4 length: CommandLength;
        8 reserved6: U32;
        12 flags: RssViFlags;
        16 key_index: U32;
        20 key_xor: U32;
        24 reserved10: U64;
    }

    /// A network interface of the firmware's own TCP.
    ChnetIfaceCommand = "fw_chnet_iface_cmd", 32 {
        0 op: CommandOp, "The port is in bits 3:0.";
        4 length: CommandLength;
        8 operation: u8;
        9 reserved2: [u8; 2];
        11 flags: u8;
        12 interface: U32, "Number in bits 31:8, state in 7:0 (our choice).";
        16 mtu: U16;
        18 vlan: U16;
        20 reserved3: U32;
        24 reserved4: U16;
        26 mac: [u8; 6];
    }

    /// Puts a local IPv6 address into the table of those that connections may have, or takes it out.
    ClipCommand = "fw_clip_cmd", 32 {
        0 op: CommandOp;
        4 length: ClipLength;
        8 address: [u8; 16];
        24 reserved: U64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_folds_all_bits_of_an_address_into_six() {
        // By hand: 0x010203 ^ 0x040506 = 0x050705; ^ 0x000050 = 0x050755; ^ 0x00141d = 0x051348; its lowest six bits are 8.
        assert_eq!(address_hash_bit([1, 2, 3, 4, 5, 6]), 8);
        assert_eq!(address_hash_bit([0; 6]), 0);
        for bit in 0..48 {
            let mut address = [0; 6];
            address[bit / 8] |= 1 << (bit % 8);
            assert_ne!(address_hash_bit(address), 0, "bit {bit} counts");
        }
    }

    #[test]
    fn a_vector_of_groups_stands_where_the_first_address_would() {
        use zerocopy::IntoBytes;
        let command = ViMacCommand::of_groups(5, 0x0102_0304_0506_0708);
        assert_eq!(command.as_bytes()[4..16], [0, 0x80, 0, 4, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(command.hash(), Some(0x0102_0304_0506_0708));
        assert_eq!(ViMacCommand::request(Access::WRITE, 5).hash(), None);
    }
}
