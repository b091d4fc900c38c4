//! Words that are written to registers: doorbells, the mailbox's owner.
//!
//! Bits can be looked up in FreeBSD's `sys/dev/cxgbe/common/t4_regs.h`, under the name of the register.

use super::bits::bit_fields;
use super::layout::codes;

bit_fields! {
    /// SGE_PF_KDOORBELL: an egress queue or a free list has grown.
    QueueDoorbell: u32 {
        /// The queue, or 0 where the address says it.
        QID = 31:15;
        DBPRIO = 14:14;
        /// Set for a free list, as our own choice: see [`registers`](crate::registers).
        DBTYPE = 13:13;
        /// By how many units of 64 bytes.
        PIDX = 12:0;
    }

    /// SGE_PF_GTS: an ingress queue was read so far.
    IngressDoorbell: u32 {
        /// The queue, or 0 where the address says it.
        INGRESSQID = 31:16;
        /// 0 to 5 a timer, 6 restarts the counter, 7 only tells how far.
        TIMERREG = 15:13;
        /// An interrupt is wanted for what comes.
        SEINTARM = 12:12;
        /// By how many entries.
        CIDXINC = 11:0;
    }

    /// Control word of the mailbox.
    MailboxControl: u32 {
        /// A [`MailboxOwner`].
        OWNER = 1:0;
        INTREQ = 2:2;
        /// The data is a message for the owner.
        VALID = 3:3;
    }

    /// PCIE_FW: how the firmware is.
    FirmwareState: u32 {
        ERR = 31:31;
        INIT = 30:30;
        HALT = 29:29;
        EVAL = 26:24;
        MASTER_VLD = 15:15;
        MASTER = 14:12;
    }

    /// ULP_RX_ISCSI_PSZ: page sizes, each as the logarithm of its units of 4 KiB.
    IscsiPageSizes: u32 {
        HPZ0 = 3:0;
        HPZ1 = 11:8;
        HPZ2 = 19:16;
        HPZ3 = 27:24;
    }

    /// TP_PARA_REG2.
    TpParameter2: u32 {
        /// Longest data of one message to the computer, in bytes.
        MAXRXDATA = 31:16;
    }
}

codes! {
    /// Who may write the mailbox.
    MailboxOwner: u8 {
        None = 0,
        Firmware = 1,
        Driver = 2,
    }
}

/// The value of [`IngressDoorbell::TIMERREG`] that starts no timer.
pub const TIMER_UPDATE_ONLY: u32 = 7;
