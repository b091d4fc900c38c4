//! One physical function: its memory, registers, mailbox and queues, and what its driver has told the adapter.

use super::egress::EgressQueue;
use super::fault::Fault;
use super::ingress::{BUFFER_BYTES, IngressQueue};
use crate::initiator::Initiator;
use crate::iscsi::{PDU_BYTES_MAX, Pods};
use crate::switch::{InterfaceNumber, InterfaceSet, MacAddress};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;
use t5_hal::dma::DmaMemory;
use t5_hal::registers::*;
use t5_hal::wire::{
    FirmwareState, FunctionId, IngressDoorbell, IscsiPageSizes, MAILBOX_BYTES, MailboxControl, MailboxOwner,
    QueueDoorbell, TpParameter2, mailbox_register, set_mailbox_register,
};

/// Queues of each kind that a function has; their numbers begin at the function's number times this.
pub(super) const QUEUES: u32 = 64;
/// Entries of a function's table of next hops.
pub(super) const NEXT_HOPS: u32 = 512;
/// Listeners of a function.
pub(super) const SERVERS: u32 = 496;
/// Page pods of a function.
const PODS: u32 = 32768;
/// Where page pods begin in the adapter's memory; each function has its own part.
const PODS_BASE: u32 = 0x0100_0000;
/// Faults that are kept until somebody asks.
const FAULTS_MAX: usize = 64;
/// How queues lie in BAR 2: 32 to a page of 4 KiB.
const DOORBELLS: DoorbellLayout = DoorbellLayout { page_bits: 12, queue_bits: 5 };

/// An entry of the table of next hops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NextHop {
    pub(super) address: MacAddress,
    pub(super) vlan_tag: Option<u16>,
}

/// A listener for offloaded connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listener {
    pub(super) local: SocketAddr,
    /// Where what comes of it is told.
    pub(super) iq: u16,
}

#[derive(Debug)]
pub(super) struct Function {
    pub(super) id: FunctionId,
    pub(super) memory: Arc<DmaMemory>,
    pub(super) pods: Pods,
    message: [u8; MAILBOX_BYTES],
    control: MailboxControl,
    pub(super) interfaces: InterfaceSet,
    pub(super) egress: BTreeMap<u32, EgressQueue>,
    pub(super) ingress: BTreeMap<u16, IngressQueue>,
    pub(super) next_hops: Vec<Option<NextHop>>,
    /// Source addresses, by virtual interface.
    pub(super) sources: BTreeMap<InterfaceNumber, MacAddress>,
    pub(super) listeners: BTreeMap<u32, Listener>,
    /// Default queue of each interface, for frames.
    pub(super) default_queues: BTreeMap<InterfaceNumber, u16>,
    /// Connections that wait for room in an ingress queue, and whether some has been made.
    pub(super) stalled: BTreeSet<u32>,
    pub(super) has_made_room: bool,
    pub(super) initiator: Initiator,
    wakers: HashMap<u16, Waker>,
    faults: VecDeque<Fault>,
    /// The queue that has had the last turn.
    pub(super) last_egress: u32,
}

impl Function {
    pub(super) fn new(id: FunctionId, memory: Arc<DmaMemory>) -> Self {
        Self {
            id,
            memory,
            pods: Pods::new(PODS_BASE + u32::from(id.pf()) * PODS * 64, PODS),
            message: [0; MAILBOX_BYTES],
            control: MailboxControl::new(),
            interfaces: InterfaceSet::default(),
            egress: BTreeMap::new(),
            ingress: BTreeMap::new(),
            next_hops: vec![None; NEXT_HOPS as usize],
            sources: BTreeMap::new(),
            listeners: BTreeMap::new(),
            default_queues: BTreeMap::new(),
            stalled: BTreeSet::new(),
            has_made_room: false,
            initiator: Initiator::default(),
            wakers: HashMap::new(),
            faults: VecDeque::new(),
            last_egress: 0,
        }
    }

    /// First number of its queues, of each kind.
    pub(super) fn queues_base(&self) -> u32 {
        u32::from(self.id.pf()) * QUEUES
    }

    /// First number of its listeners.
    pub(super) fn servers_base(&self) -> u32 {
        u32::from(self.id.pf()) * SERVERS
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push_back(fault);
        }
    }

    pub(super) fn take_fault(&mut self) -> Option<Fault> {
        self.faults.pop_front()
    }

    /// Keeps what belongs to the function and not to what its driver has made: the mailbox, and who is woken.
    pub(super) fn keep_of(&mut self, old: Self) {
        (self.message, self.control) = (old.message, old.control);
        (self.wakers, self.faults) = (old.wakers, old.faults);
    }

    pub(super) fn set_waker(&mut self, vector: u16, waker: Waker) {
        self.wakers.insert(vector, waker);
    }

    /// Sends a message to the driver; what it does wrong there is its fault.
    pub(super) fn send(&mut self, iq: u16, parts: [&[u8]; 2], in_buffer: bool, now: Duration) {
        let Some(queue) = self.ingress.get_mut(&iq) else {
            return self.fault(Fault::NoQueue { queue: iq.into() });
        };
        if let Err(fault) = queue.send(&self.memory, parts, in_buffer, now) {
            self.fault(fault);
        }
    }

    /// Puts what waits into the queues, and says whom interrupts wake that are due.
    pub(super) fn flush(&mut self, now: Duration, woken: &mut Vec<Waker>) {
        let mut faults = Vec::new();
        for queue in self.ingress.values_mut() {
            faults.extend(queue.flush(&self.memory, now).err());
            if queue.take_interrupt(now) {
                woken.extend(self.wakers.get(&queue.vector()).cloned());
            }
        }
        faults.into_iter().for_each(|fault| self.fault(fault));
    }

    /// Whether there are work requests that nobody has looked at.
    pub(super) fn has_requests(&self) -> bool {
        self.egress.values().any(EgressQueue::has_work)
    }

    /// When an interrupt is due.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.ingress.values().filter_map(IngressQueue::poll_timeout).min()
    }

    /// The listener that takes a connection to an address: one of that very address first.
    pub(super) fn listener(&self, local: SocketAddr) -> Option<(u32, Listener)> {
        let matches = |listener: &Listener| listener.local == local;
        let takes_any = |listener: &Listener| {
            let ip = listener.local.ip();
            listener.local.port() == local.port() && ip.is_unspecified() && ip.is_ipv4() == local.is_ipv4()
        };
        let find = |wanted: &dyn Fn(&Listener) -> bool| {
            self.listeners.iter().find(|(_, listener)| wanted(listener)).map(|(&id, &listener)| (id, listener))
        };
        find(&matches).or_else(|| find(&takes_any))
    }

    /// The command in the mailbox, if the driver has given it to the firmware.
    pub(super) fn command(&self) -> Option<[u8; MAILBOX_BYTES]> {
        let owner = MailboxOwner::from_wire(self.control.get(MailboxControl::OWNER) as u8);
        (owner == Some(MailboxOwner::Firmware) && self.control.is_set(MailboxControl::VALID)).then_some(self.message)
    }

    /// Gives the mailbox back with an answer.
    pub(super) fn answer(&mut self, message: [u8; MAILBOX_BYTES]) {
        self.message = message;
        self.control = MailboxControl::new()
            .with(MailboxControl::OWNER, MailboxOwner::Driver.to_wire().into())
            .with_bit(MailboxControl::VALID, true);
    }

    /// Offset from the base of the function's own registers, if it is one of them.
    fn own(&self, offset: u32) -> Option<u32> {
        [MY_PF, pf_base(self.id.pf())].into_iter().find_map(|base| offset.checked_sub(base).filter(|&at| at < 0x400))
    }

    pub(super) fn read_register(&self, offset: u32, firmware: FirmwareState) -> u32 {
        const MAILBOX_END: u32 = MAILBOX_DATA + MAILBOX_BYTES as u32;
        match self.own(offset) {
            Some(at @ MAILBOX_DATA..MAILBOX_END) => return mailbox_register(&self.message, index(at)),
            Some(MAILBOX_CONTROL) => return self.control.value(),
            Some(_) => return 0,
            None => {}
        }
        const SIZES_END: u32 = SGE_FL_BUFFER_SIZE + 4 * FREE_LIST_SIZES;
        match offset {
            PL_WHOAMI => u32::from(self.id.pf()) << 8,
            // T5, first revision.
            PL_REV => 0x1,
            PCIE_FW => firmware.value(),
            SGE_HOST_PAGE_SIZE => 0x1111_1111 * (DOORBELLS.page_bits - 10),
            SGE_EGRESS_QUEUES_PER_PAGE | SGE_INGRESS_QUEUES_PER_PAGE => 0x1111_1111 * DOORBELLS.queue_bits,
            SGE_FL_BUFFER_SIZE..SIZES_END => BUFFER_BYTES[(offset - SGE_FL_BUFFER_SIZE) as usize / 4],
            SGE_INGRESS_RX_THRESHOLD => 0x0104_0810,
            TP_PARA_REG2 => TpParameter2::new().with(TpParameter2::MAXRXDATA, PDU_BYTES_MAX as u32).value(),
            ULP_RX_ISCSI_LLIMIT => self.pods.base(),
            ULP_RX_ISCSI_ULIMIT => self.pods.base() + self.pods.length(),
            ULP_RX_ISCSI_TAGMASK => self.pods.format().mask(),
            ULP_RX_ISCSI_PSZ => self.pods.page_sizes().value(),
            _ => 0,
        }
    }

    pub(super) fn write_register(&mut self, offset: u32, value: u32, now: Duration) {
        const MAILBOX_END: u32 = MAILBOX_DATA + MAILBOX_BYTES as u32;
        match self.own(offset) {
            // What the firmware owns is not the driver's to change.
            Some(MAILBOX_DATA..=MAILBOX_CONTROL) if self.command().is_some() => {}
            Some(at @ MAILBOX_DATA..MAILBOX_END) => set_mailbox_register(&mut self.message, index(at), value),
            Some(MAILBOX_CONTROL) => self.control = MailboxControl::from_value(value),
            Some(KDOORBELL) => {
                let word = QueueDoorbell::from_value(value);
                self.ring(word.get(QueueDoorbell::QID), word);
            }
            Some(GTS) => {
                let word = IngressDoorbell::from_value(value);
                self.report(word.get(IngressDoorbell::INGRESSQID), word, now);
            }
            Some(_) => {}
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

fn index(at: u32) -> usize {
    ((at - MAILBOX_DATA) / 4) as usize
}

/// The address that a listener or a connection of a request has.
pub(super) fn socket(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}
