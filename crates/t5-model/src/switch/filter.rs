//! Filters: what becomes of frames that look a certain way.
//!
//! The first filter that a frame matches decides. A filter asks of the frame as one receiver would get it, so of frames that
//! go to several receivers each copy is judged by itself.

use super::counters::Count;
use super::frame::{EthernetHeader, IpHeader};
use super::{InterfaceNumber, InterfaceSet, Match, PortNumber};
use std::net::IpAddr;
use std::ops::{BitAnd, BitXor, Not};

/// Most filters: what the shipped configuration gives to one adapter.
pub const FILTERS_MAX: usize = 496;

/// A field that has to have a value, in the bits of a mask. A mask of zeros takes any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masked<T> {
    /// What it has to be.
    pub value: T,
    /// Which bits of it.
    pub mask: T,
}

impl<T> Masked<T>
where
    T: Copy + Default + PartialEq + BitAnd<Output = T> + BitXor<Output = T> + Not<Output = T>,
{
    /// This value and no other.
    #[must_use]
    pub fn exactly(value: T) -> Self {
        Self { value, mask: !T::default() }
    }

    fn takes(self, field: T) -> bool {
        (field ^ self.value) & self.mask == T::default()
    }

    /// For a field that the frame may not have.
    fn takes_some(self, field: Option<T>) -> bool {
        field.map_or(self.mask == T::default(), |field| self.takes(field))
    }
}

/// What a frame has to look like. The default takes every frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterKey {
    /// The port it came in by.
    pub port: Option<PortNumber>,
    /// Whether it came from the wire (false) or by the loopback path (true).
    pub loopback: Option<bool>,
    /// Whose copy it is: one of these.
    pub receivers: Option<InterfaceSet>,
    /// How the receiver's address was found.
    pub matched: Option<Match>,
    /// Whether it has a tag.
    pub tagged: Option<bool>,
    /// The VLAN of its tag.
    pub vlan: Masked<u16>,
    /// The ethertype.
    pub ethertype: Masked<u16>,
    /// The IP protocol.
    pub protocol: Masked<u8>,
    /// The IP type of service.
    pub tos: Masked<u8>,
    /// Whether it is a fragment.
    pub fragment: Option<bool>,
    /// 4 or 6.
    pub ip_version: Option<u8>,
    /// The IP address it is for; of IPv4, the lowest 32 bits.
    pub local_address: Masked<u128>,
    /// The IP address it is from; of IPv4, the lowest 32 bits.
    pub foreign_address: Masked<u128>,
    /// The TCP or UDP port it is for.
    pub local_port: Masked<u16>,
    /// The TCP or UDP port it is from.
    pub foreign_port: Masked<u16>,
}

/// A copy of a frame, on its way to one receiver.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) port: PortNumber,
    pub(super) loopback: bool,
    pub(super) receiver: InterfaceNumber,
    pub(super) matched: Match,
    pub(super) ethernet: &'a EthernetHeader,
    pub(super) ip: Option<&'a IpHeader>,
}

impl FilterKey {
    fn takes(&self, frame: &Candidate<'_>) -> bool {
        let ports = frame.ip.and_then(|ip| ip.ports);
        is(self.port, frame.port)
            && is(self.loopback, frame.loopback)
            && self.receivers.is_none_or(|wanted| wanted.contains(frame.receiver))
            && is(self.matched, frame.matched)
            && is(self.tagged, frame.ethernet.vlan.is_some())
            && self.vlan.takes_some(frame.ethernet.vlan)
            && self.ethertype.takes(frame.ethernet.ethertype)
            && self.protocol.takes_some(frame.ip.map(|ip| ip.protocol))
            && self.tos.takes_some(frame.ip.map(|ip| ip.tos))
            && self.fragment.is_none_or(|wanted| frame.ip.is_some_and(|ip| ip.fragment == wanted))
            && self.ip_version.is_none_or(|wanted| frame.ip.is_some_and(|ip| version(ip) == wanted))
            && self.local_address.takes_some(frame.ip.map(|ip| number(ip.destination)))
            && self.foreign_address.takes_some(frame.ip.map(|ip| number(ip.source)))
            && self.local_port.takes_some(ports.map(|(_, destination)| destination))
            && self.foreign_port.takes_some(ports.map(|(source, _)| source))
    }
}

fn is<T: PartialEq>(wanted: Option<T>, found: T) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}

fn version(ip: &IpHeader) -> u8 {
    if ip.destination.is_ipv4() { 4 } else { 6 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterAction {
    /// The receiver gets it: in this queue, if one is named.
    Pass {
        /// Ingress queue.
        queue: Option<u16>,
    },
    /// The receiver does not get it.
    Drop,
    /// It goes out of a port in the receiver's place.
    Switch {
        /// To which wire.
        port: PortNumber,
    },
}

/// A key, what becomes of frames that have it, and how many there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// What the frame looks like.
    pub key: FilterKey,
    /// What becomes of it.
    pub action: FilterAction,
    /// Whether it counts.
    pub counts: bool,
    /// Frames that it has decided on and counted.
    pub hits: Count,
}

/// All filters, by index; the lowest one that matches decides.
#[derive(Debug, Default)]
pub(super) struct Filters(Vec<Option<Filter>>);

impl Filters {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets or removes the filter at an index; false if there is no such index.
    pub(super) fn set(&mut self, index: usize, filter: Option<Filter>) -> bool {
        if index >= FILTERS_MAX {
            return false;
        }
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        self.0[index] = filter;
        while self.0.last().is_some_and(Option::is_none) {
            self.0.pop();
        }
        true
    }

    /// An interface is gone: whoever has its number next is another. A filter for nobody is none.
    pub(super) fn forget(&mut self, receiver: InterfaceNumber) {
        for slot in &mut self.0 {
            let receivers = slot.as_mut().and_then(|filter| filter.key.receivers.as_mut());
            if receivers.is_some_and(|receivers| receivers.remove(receiver) && receivers.is_empty()) {
                *slot = None;
            }
        }
        while self.0.last().is_some_and(Option::is_none) {
            self.0.pop();
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<&Filter> {
        self.0.get(index)?.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Filter)> {
        self.0.iter().enumerate().filter_map(|(index, filter)| Some((index, filter.as_ref()?)))
    }

    /// Whether a filter decides what becomes of a copy of a frame.
    pub(super) fn concern(&self, frame: &Candidate<'_>) -> bool {
        self.0.iter().flatten().any(|filter| filter.key.takes(frame))
    }

    /// What becomes of a copy of a frame; counts the hit.
    pub(super) fn decide(&mut self, frame: &Candidate<'_>, bytes: usize) -> FilterAction {
        match self.0.iter_mut().flatten().find(|filter| filter.key.takes(frame)) {
            Some(filter) => {
                if filter.counts {
                    filter.hits.add(bytes);
                }
                filter.action
            }
            None => FilterAction::Pass { queue: None },
        }
    }
}
