//! Commands that make queues: ingress queues with their free lists, and the three kinds of egress queues.

use super::super::bits::bit_fields;
use super::super::layout::layout;
use super::{AllocLength, CommandOp};
use zerocopy::big_endian::{U16, U32, U64};

bit_fields! {
    /// Of IQ: what kind of queue, and whom it wakes.
    IqType: u32 {
        /// 0 with free lists and interrupts, 1 without free lists, 2 of a virtual function.
        TYPE = 31:29;
        IQASYNCH = 28:28;
        VIID = 27:16;
        /// Interrupts go to another queue.
        IQANDST = 15:15;
        IQANUS = 14:14;
        IQANUD = 13:12;
        /// The other queue, or the vector.
        IQANDSTINDEX = 11:0;
    }

    /// Of IQ: how the queue works.
    IqFlags: u16 {
        IQDROPRSS = 15:15;
        IQGTSMODE = 14:14;
        IQPCIECH = 13:12;
        IQDCAEN = 11:11;
        IQDCACPU = 10:6;
        IQINTCNTTHRESH = 5:4;
        IQO = 3:3;
        IQCPRIO = 2:2;
        /// Logarithm of an entry's bytes, less four.
        IQESIZE = 1:0;
    }

    /// Of IQ: the first free list.
    IqFreeList: u32 {
        IQNS = 31:31;
        IQRO = 30:30;
        IQFLINTIQHSEN = 29:28;
        IQFLINTCONGEN = 27:27;
        IQFLINTISCSIC = 26:26;
        FL0CNGCHMAP = 23:20;
        FL0CONGDROP = 16:16;
        FL0CACHELOCK = 15:15;
        FL0DBP = 14:14;
        FL0DATANS = 13:13;
        FL0DATARO = 12:12;
        FL0CONGCIF = 11:11;
        FL0ONCHIP = 10:10;
        FL0STATUSPGNS = 9:9;
        FL0STATUSPGRO = 8:8;
        FL0FETCHNS = 7:7;
        FL0FETCHRO = 6:6;
        FL0HOSTFCMODE = 5:4;
        FL0CPRIO = 3:3;
        /// What is appended to a buffer is aligned.
        FL0PADEN = 2:2;
        /// Several messages share a buffer.
        FL0PACKEN = 1:1;
        FL0CONGEN = 0:0;
    }

    /// Of IQ: how the first free list is fetched.
    IqFreeListFetch: u16 {
        FL0DCAEN = 15:15;
        FL0DCACPU = 14:10;
        FL0FBMIN = 9:7;
        FL0FBMAX = 6:4;
        FL0CIDXFTHRESHO = 3:3;
        FL0CIDXFTHRESH = 2:0;
    }

    /// Of the commands of egress queues: the queue.
    EgressId: u32 {
        EQID = 19:0;
    }

    /// Of EQ_CTRL: the queue, and the ingress queue of its completions.
    CtrlEgressId: u32 {
        CMPLIQID = 31:20;
        EQID = 19:0;
    }

    /// Of the commands of egress queues: how it is fetched, and which ingress queue is told.
    EgressFetch: u32 {
        FETCHSZM = 26:26;
        STATUSPGNS = 25:25;
        STATUSPGRO = 24:24;
        FETCHNS = 23:23;
        FETCHRO = 22:22;
        HOSTFCMODE = 21:20;
        CPRIO = 19:19;
        ONCHIP = 18:18;
        PCIECHN = 17:16;
        IQID = 15:0;
    }

    /// Of the commands of egress queues: its length.
    EgressSize: u32 {
        DCAEN = 31:31;
        DCACPU = 30:26;
        FBMIN = 25:23;
        FBMAX = 22:20;
        CIDXFTHRESHO = 19:19;
        CIDXFTHRESH = 18:16;
        /// Units of 64 bytes, the status page included.
        EQSIZE = 15:0;
    }

    /// Of EQ_ETH: whose it is, and when it tells how far it has come.
    EthEgressFlags: u32 {
        AUTOEQUIQE = 31:31;
        AUTOEQUEQE = 30:30;
        VIID = 27:16;
    }
}

layout! {
    /// Makes an ingress queue and a free list, or ends them.
    IqCommand = "fw_iq_cmd", 64 {
        0 op: CommandOp;
        4 length: AllocLength;
        8 physical_iq: U16;
        10 iq: U16;
        12 free_list0: U16, "0xffff for none.";
        14 free_list1: U16, "0xffff for none.";
        16 kind: IqType;
        20 flags: IqFlags;
        22 size: U16, "In entries.";
        24 address: U64;
        32 free_list0_flags: IqFreeList;
        36 free_list0_fetch: IqFreeListFetch;
        38 free_list0_size: U16, "In units of 8 entries, the status page included.";
        40 free_list0_address: U64;
        48 free_list1_flags: U32;
        52 free_list1_fetch: U16;
        54 free_list1_size: U16;
        56 free_list1_address: U64;
    }

    /// Makes an egress queue for frames, or ends it.
    EqEthCommand = "fw_eq_eth_cmd", 48 {
        0 op: CommandOp;
        4 length: AllocLength;
        8 eq: EgressId;
        12 physical_eq: EgressId;
        16 fetch: EgressFetch;
        20 size: EgressSize;
        24 address: U64;
        32 flags: EthEgressFlags;
        36 reserved8: U32;
        40 reserved9: U64;
    }

    /// Makes an egress queue for control, or ends it.
    EqCtrlCommand = "fw_eq_ctrl_cmd", 32 {
        0 op: CommandOp;
        4 length: AllocLength;
        8 eq: CtrlEgressId;
        12 physical_eq: EgressId;
        16 fetch: EgressFetch;
        20 size: EgressSize;
        24 address: U64;
    }

    /// Makes an egress queue for offloaded connections, or ends it.
    EqOffloadCommand = "fw_eq_ofld_cmd", 32 {
        0 op: CommandOp;
        4 length: AllocLength;
        8 eq: EgressId;
        12 physical_eq: EgressId;
        16 fetch: EgressFetch;
        20 size: EgressSize;
        24 address: U64;
    }
}

/// What stands for no free list.
pub const NO_FREE_LIST: u16 = 0xffff;
