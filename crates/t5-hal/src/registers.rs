//! Where registers are: offsets into BAR 0, and the layout of BAR 2.
//!
//! They can be looked up in FreeBSD's `sys/dev/cxgbe/common/t4_regs.h`. Where the computer's own number of a function is not known
//! yet, its registers are found at [`MY_PF`]. What is marked "our choice" could not be looked up.

/// PL_WHOAMI: the number of the function that reads it, in bits 10:8 (our choice).
pub const PL_WHOAMI: u32 = 0x19400;
/// PL_REV: revision of the chip.
pub const PL_REV: u32 = 0x1943c;
/// PCIE_FW: a [`FirmwareState`](crate::wire::FirmwareState).
pub const PCIE_FW: u32 = 0x30b8;

/// Base of the function's own registers, whichever it is.
pub const MY_PF: u32 = 0x1b000;
/// Base of the registers of one physical function.
///
/// # Panics
/// If there is no such function: a bug of the caller.
#[must_use]
pub const fn pf_base(pf: u8) -> u32 {
    assert!(pf < 8, "an adapter has eight physical functions");
    0x1e000 + 0x400 * pf as u32
}

/// SGE_PF_KDOORBELL, from the base of a function: a [`QueueDoorbell`](crate::wire::QueueDoorbell).
pub const KDOORBELL: u32 = 0x0;
/// SGE_PF_GTS, from the base of a function: an [`IngressDoorbell`](crate::wire::IngressDoorbell).
pub const GTS: u32 = 0x4;
/// The mailbox's 64 bytes, from the base of a physical function; in a virtual one from the beginning of the BAR.
pub const MAILBOX_DATA: u32 = 0x240;
/// The mailbox's control word, from the base of a physical function: a [`MailboxControl`](crate::wire::MailboxControl).
pub const MAILBOX_CONTROL: u32 = 0x280;
/// The same in a virtual function, from the beginning of the BAR.
pub const VF_MAILBOX_CONTROL: u32 = 0x300;
/// PL_WHOAMI in a virtual function, which has bit 7 set and its own number in bits 6:0 (our choice).
pub const VF_PL_WHOAMI: u32 = 0x200;

/// Where a function's mailbox is in BAR 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxRegisters {
    /// The first of its 64 bytes.
    pub data: u32,
    /// Its control word.
    pub control: u32,
}

impl MailboxRegisters {
    /// Of a virtual function, or of a physical one.
    #[must_use]
    pub const fn of(is_virtual: bool) -> Self {
        if is_virtual {
            Self { data: MAILBOX_DATA, control: VF_MAILBOX_CONTROL }
        } else {
            Self { data: MY_PF + MAILBOX_DATA, control: MY_PF + MAILBOX_CONTROL }
        }
    }
}

/// SGE_HOST_PAGE_SIZE: four bits a function, the logarithm of the page in KiB (address and bits are our choice).
pub const SGE_HOST_PAGE_SIZE: u32 = 0x100c;
/// SGE_EGRESS_QUEUES_PER_PAGE_PF: four bits a function, a logarithm (address and bits are our choice).
pub const SGE_EGRESS_QUEUES_PER_PAGE: u32 = 0x1010;
/// SGE_INGRESS_QUEUES_PER_PAGE_PF: four bits a function, a logarithm (address and bits are our choice).
pub const SGE_INGRESS_QUEUES_PER_PAGE: u32 = 0x10f4;
/// SGE_FL_BUFFER_SIZE0: the first of [`FREE_LIST_SIZES`] lengths of buffers.
pub const SGE_FL_BUFFER_SIZE: u32 = 0x1044;
/// How many lengths of buffers there are.
pub const FREE_LIST_SIZES: u32 = 16;
/// SGE_INGRESS_RX_THRESHOLD: four counts of packets, a byte each.
pub const SGE_INGRESS_RX_THRESHOLD: u32 = 0x10a0;

/// TP_PARA_REG2: a [`TpParameter2`](crate::wire::TpParameter2).
pub const TP_PARA_REG2: u32 = 0x7d68;

/// ULP_RX_ISCSI_LLIMIT: where page pods begin in the adapter's memory.
pub const ULP_RX_ISCSI_LLIMIT: u32 = 0x1915c;
/// ULP_RX_ISCSI_ULIMIT: where they end.
pub const ULP_RX_ISCSI_ULIMIT: u32 = 0x19160;
/// ULP_RX_ISCSI_TAGMASK: which bits of a tag belong to the adapter.
pub const ULP_RX_ISCSI_TAGMASK: u32 = 0x19164;
/// ULP_RX_ISCSI_PSZ: an [`IscsiPageSizes`](crate::wire::IscsiPageSizes).
pub const ULP_RX_ISCSI_PSZ: u32 = 0x19168;

/// Bytes of BAR 2 that belong to one queue.
const WINDOW_BYTES: u32 = 128;

/// How queues lie in BAR 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoorbellLayout {
    /// Logarithm of the bytes of a page, at least 7.
    pub page_bits: u32,
    /// Logarithm of the number of queues of a page.
    pub queue_bits: u32,
}

/// Where a queue's doorbells are in BAR 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserDoorbell {
    window: u32,
    queue_field: u32,
}

impl DoorbellLayout {
    /// The layout that the registers say for a function.
    #[must_use]
    pub fn from_registers(host_page_size: u32, queues_per_page: u32, pf: u8) -> Self {
        let bits = |value: u32| value >> (4 * pf as u32) & 0xf;
        Self { page_bits: bits(host_page_size) + 10, queue_bits: bits(queues_per_page) }
    }

    /// The doorbells of a queue.
    #[must_use]
    pub const fn doorbell(self, queue: u32) -> UserDoorbell {
        let page = (queue >> self.queue_bits) << self.page_bits;
        let index = queue & ((1 << self.queue_bits) - 1);
        if index * WINDOW_BYTES < 1 << self.page_bits {
            UserDoorbell { window: page + index * WINDOW_BYTES, queue_field: 0 }
        } else {
            UserDoorbell { window: page, queue_field: index }
        }
    }

    /// Which queue is meant by that field in a word that is written at that offset into BAR 2, and where in its window.
    #[must_use]
    pub const fn queue_of(self, offset: u32, queue_field: u32) -> (u32, u32) {
        let page = offset >> self.page_bits;
        let index = (offset & ((1 << self.page_bits) - 1)) / WINDOW_BYTES;
        ((page << self.queue_bits) + index + queue_field, offset % WINDOW_BYTES)
    }
}

impl UserDoorbell {
    /// Where in the window an egress queue or free list is rung.
    pub const KDOORBELL: u32 = 8;
    /// Where in the window an ingress queue is.
    pub const GTS: u32 = 20;
    /// Where in the window a descriptor is written.
    pub const DESCRIPTOR: u32 = 64;

    /// Offset into BAR 2 of one of the three.
    #[must_use]
    pub const fn offset(self, what: u32) -> u32 {
        self.window + what
    }

    /// What the queue's field of a doorbell says: 0 where the address says it all.
    #[must_use]
    pub const fn queue_field(self) -> u32 {
        self.queue_field
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn doorbells_are_where_the_formula_puts_them() {
        let layout = DoorbellLayout::from_registers(0x22, 0x30, 1);
        assert_eq!(layout, DoorbellLayout { page_bits: 12, queue_bits: 3 });
        let doorbell = layout.doorbell(0x1d);
        assert_eq!((doorbell.offset(UserDoorbell::KDOORBELL), doorbell.queue_field()), (3 * 4096 + 5 * 128 + 8, 0));
        let crowded = DoorbellLayout { page_bits: 12, queue_bits: 6 };
        let doorbell = crowded.doorbell(64 + 33);
        assert_eq!((doorbell.offset(UserDoorbell::GTS), doorbell.queue_field()), (4096 + 20, 33));
    }

    proptest! {
        #[test]
        fn each_doorbell_means_its_queue(page_bits in 10..17u32, queue_bits in 0..10u32, queue in 0..65536u32) {
            let layout = DoorbellLayout { page_bits, queue_bits };
            let doorbell = layout.doorbell(queue);
            for what in [UserDoorbell::KDOORBELL, UserDoorbell::GTS, UserDoorbell::DESCRIPTOR] {
                prop_assert_eq!(layout.queue_of(doorbell.offset(what), doorbell.queue_field()), (queue, what));
            }
        }
    }
}
