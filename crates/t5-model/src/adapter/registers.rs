//! A function's registers and doorbells: BAR 0 and BAR 2.

use super::fault::Fault;
use super::function::Function;
use super::ingress::BUFFER_BYTES;
use crate::iscsi::PDU_BYTES_MAX;
use std::time::Duration;
use t5_hal::registers::*;
use t5_hal::wire::{
    FirmwareState, IngressDoorbell, IscsiPageSizes, MAILBOX_BYTES, MailboxControl, QueueDoorbell, TpParameter2,
    mailbox_register, set_mailbox_register,
};

/// How queues lie in BAR 2: 32 to a page of 4 KiB.
const DOORBELLS: DoorbellLayout = DoorbellLayout { page_bits: 12, queue_bits: 5 };

/// A register of a function's own.
enum Own {
    /// Four bytes of the mailbox.
    Message {
        index: usize,
    },
    Control,
    Doorbell,
    Report,
    /// Which function it is.
    Number,
}

impl Function {
    /// The register of its own that stands at an offset.
    fn own(&self, offset: u32) -> Option<Own> {
        const MAILBOX_END: u32 = MAILBOX_DATA + MAILBOX_BYTES as u32;
        let bases = if self.id.is_virtual() { [0, 0] } else { [MY_PF, pf_base(self.id.pf())] };
        let at = bases.into_iter().find_map(|base| offset.checked_sub(base).filter(|&at| at < 0x400))?;
        match at {
            KDOORBELL => Some(Own::Doorbell),
            GTS => Some(Own::Report),
            MAILBOX_DATA..MAILBOX_END => Some(Own::Message { index: ((at - MAILBOX_DATA) / 4) as usize }),
            VF_MAILBOX_CONTROL if self.id.is_virtual() => Some(Own::Control),
            VF_PL_WHOAMI if self.id.is_virtual() => Some(Own::Number),
            MAILBOX_CONTROL if !self.id.is_virtual() => Some(Own::Control),
            _ => None,
        }
    }

    pub(super) fn read_register(&mut self, offset: u32, firmware: FirmwareState) -> u32 {
        match self.own(offset) {
            Some(Own::Message { index }) => mailbox_register(&self.message, index),
            Some(Own::Control) => self.control.value(),
            Some(Own::Number) => self.id.to_whoami(),
            Some(Own::Doorbell | Own::Report) => 0,
            None if self.id.is_virtual() => {
                self.fault(Fault::Register { offset });
                u32::MAX
            }
            None => match offset {
                PL_WHOAMI => self.id.to_whoami(),
                PCIE_FW => firmware.value(),
                _ => self.shared_register(offset).unwrap_or(0),
            },
        }
    }

    /// A register that says the same to all functions, or what belongs to this one.
    pub(super) fn shared_register(&self, offset: u32) -> Option<u32> {
        const SIZES_END: u32 = SGE_FL_BUFFER_SIZE + 4 * FREE_LIST_SIZES;
        Some(match offset {
            // T5, first revision.
            PL_REV => 0x1,
            SGE_HOST_PAGE_SIZE => 0x1111_1111 * (DOORBELLS.page_bits - 10),
            SGE_EGRESS_QUEUES_PER_PAGE | SGE_INGRESS_QUEUES_PER_PAGE => 0x1111_1111 * DOORBELLS.queue_bits,
            SGE_FL_BUFFER_SIZE..SIZES_END => BUFFER_BYTES[(offset - SGE_FL_BUFFER_SIZE) as usize / 4],
            SGE_INGRESS_RX_THRESHOLD => 0x0104_0810,
            TP_PARA_REG2 => TpParameter2::new().with(TpParameter2::MAXRXDATA, PDU_BYTES_MAX as u32).value(),
            ULP_RX_ISCSI_LLIMIT => self.pods.base(),
            ULP_RX_ISCSI_ULIMIT => self.pods.base() + self.pods.length(),
            ULP_RX_ISCSI_TAGMASK => self.pods.format().mask(),
            ULP_RX_ISCSI_PSZ => self.pods.page_sizes().value(),
            _ => return None,
        })
    }

    pub(super) fn write_register(&mut self, offset: u32, value: u32, now: Duration) {
        match self.own(offset) {
            // What the firmware owns is not the driver's to change.
            Some(Own::Message { .. } | Own::Control) if self.command().is_some() => {}
            Some(Own::Message { index }) => set_mailbox_register(&mut self.message, index, value),
            Some(Own::Control) => self.control = MailboxControl::from_value(value),
            Some(Own::Doorbell) => {
                let word = QueueDoorbell::from_value(value);
                self.ring(word.get(QueueDoorbell::QID), word);
            }
            Some(Own::Report) => {
                let word = IngressDoorbell::from_value(value);
                self.report(word.get(IngressDoorbell::INGRESSQID), word, now);
            }
            Some(Own::Number) => {}
            None if self.id.is_virtual() => self.fault(Fault::Register { offset }),
            None if offset == ULP_RX_ISCSI_PSZ => self.pods.set_page_sizes(IscsiPageSizes::from_value(value)),
            None => {}
        }
    }

    pub(super) fn write_doorbell(&mut self, offset: u32, value: u32, now: Duration) {
        match offset % 128 {
            UserDoorbell::KDOORBELL => {
                let word = QueueDoorbell::from_value(value);
                let (queue, _) = DOORBELLS.queue_of(offset, word.get(QueueDoorbell::QID));
                self.ring(queue, word);
            }
            UserDoorbell::GTS => {
                let word = IngressDoorbell::from_value(value);
                let (queue, _) = DOORBELLS.queue_of(offset, word.get(IngressDoorbell::INGRESSQID));
                self.report(queue, word, now);
            }
            _ => {}
        }
    }

    /// A whole descriptor was written, which rings for it.
    pub(super) fn write_descriptor(&mut self, offset: u32) {
        let (queue, at) = DOORBELLS.queue_of(offset, 0);
        if at == UserDoorbell::DESCRIPTOR {
            self.ring(queue, QueueDoorbell::new().with(QueueDoorbell::PIDX, 1));
        }
    }

    /// An egress queue or a free list has grown.
    fn ring(&mut self, queue: u32, word: QueueDoorbell) {
        let count = word.get(QueueDoorbell::PIDX);
        if let Some(egress) = self.egress.get_mut(&queue) {
            if let Err(fault) = egress.handle_doorbell(count as u16) {
                self.fault(fault);
            }
        } else if let Some(ingress) = self.ingress.values_mut().find(|iq| iq.free_list_id() == Some(queue)) {
            ingress.handle_buffers(count);
            self.has_made_room = true;
        } else {
            self.fault(Fault::NoQueue { queue });
        }
    }

    /// An ingress queue was read.
    fn report(&mut self, queue: u32, word: IngressDoorbell, now: Duration) {
        match u16::try_from(queue).ok().and_then(|queue| self.ingress.get_mut(&queue)) {
            Some(ingress) => {
                ingress.handle_doorbell(word, now);
                self.has_made_room = true;
            }
            None => self.fault(Fault::NoQueue { queue }),
        }
    }
}
