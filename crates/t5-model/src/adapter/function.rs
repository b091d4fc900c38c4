//! One function: its memory, registers, mailbox and queues, and what its driver has told the adapter.

use super::egress::EgressQueue;
use super::fault::Fault;
use super::ingress::IngressQueue;
use super::profile::Share;
use crate::initiator::Initiator;
use crate::iscsi::Pods;
use crate::switch::{InterfaceNumber, InterfaceSet, MacAddress};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;
use t5_hal::dma::DmaMemory;
use t5_hal::wire::{ClipCommand, ClipLength, FunctionId, MAILBOX_BYTES, MailboxControl, MailboxOwner, ReturnCode};

/// Addresses of IPv6 that a function may have.
pub(super) const ADDRESSES_MAX: usize = 64;
/// Faults that are kept until somebody asks.
const FAULTS_MAX: usize = 64;
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
    pub(super) share: Share,
    pub(super) memory: Arc<DmaMemory>,
    pub(super) pods: Pods,
    pub(super) message: [u8; MAILBOX_BYTES],
    pub(super) control: MailboxControl,
    pub(super) interfaces: InterfaceSet,
    pub(super) egress: BTreeMap<u32, EgressQueue>,
    pub(super) ingress: BTreeMap<u16, IngressQueue>,
    pub(super) next_hops: Vec<Option<NextHop>>,
    /// Source addresses, by virtual interface.
    pub(super) sources: BTreeMap<InterfaceNumber, MacAddress>,
    pub(super) listeners: BTreeMap<u32, Listener>,
    /// Addresses of IPv6 that connections may have.
    pub(super) addresses: BTreeSet<Ipv6Addr>,
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
        let share = Share::of(id);
        Self {
            id,
            share,
            memory,
            pods: Pods::new(share.pods_base, share.pods),
            message: [0; MAILBOX_BYTES],
            control: MailboxControl::new(),
            interfaces: InterfaceSet::default(),
            egress: BTreeMap::new(),
            ingress: BTreeMap::new(),
            next_hops: vec![None; share.next_hops as usize],
            sources: BTreeMap::new(),
            listeners: BTreeMap::new(),
            addresses: BTreeSet::new(),
            default_queues: BTreeMap::new(),
            stalled: BTreeSet::new(),
            has_made_room: false,
            initiator: Initiator::default(),
            wakers: HashMap::new(),
            faults: VecDeque::new(),
            last_egress: 0,
        }
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

    /// Takes an address of IPv6 that connections may have, or forgets it.
    pub(super) fn change_addresses(&mut self, command: ClipCommand) -> Result<ClipCommand, ReturnCode> {
        let address = command.address.into();
        if command.length.is_set(ClipLength::FREE) {
            return if self.addresses.remove(&address) { Ok(command) } else { Err(ReturnCode::NoEntry) };
        }
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains(&address) {
            return Err(ReturnCode::NoMemory);
        }
        self.addresses.insert(address);
        Ok(command)
    }

    /// Whether connections may have that address.
    pub(super) fn has_address(&self, ip: IpAddr) -> bool {
        if let IpAddr::V6(ip) = ip { self.addresses.contains(&ip) } else { true }
    }

    /// The listener that takes a connection to an address: one of that very address first.
    pub(super) fn listener(&self, local: SocketAddr) -> Option<(u32, Listener)> {
        if !self.has_address(local.ip()) {
            return None;
        }
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
}

/// The address that a listener or a connection of a request has.
pub(super) fn socket(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}
