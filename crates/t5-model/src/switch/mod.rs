//! The embedded switch: who gets which frame.
//!
//! In: frames that a virtual interface sends ([`Switch::transmit`]) or that come in from a wire ([`Switch::receive`]). Out: a
//! [`Delivery`], which names receivers and wires; the switch neither keeps nor copies frames.
//!
//! A frame comes in at a port, from the wire or by the loopback path, and is looked up there: exact addresses first, then hash
//! filters, then those who asked for more. Groups and broadcasts go to every interface of the port that wants them, but not back
//! to the sender. What a virtual interface sends is checked first against its access lists, and may not come from an
//! address that belongs to another.
//!
//! Invariants, which tests hold against a model of thirty lines:
//!
//! - A frame for one that a local interface answers to ([`Path::Switched`]) does not reach the wire, even if that interface cannot
//!   take it at the moment.
//! - What is refused reaches nobody and is counted once.
//! - Copies given away and copies dropped add up to the interfaces that were found.

mod address;
mod counters;
mod exact;
mod filter;
mod frame;
mod interface;
mod numbers;

pub use address::{Cast, MacAddress};
pub use counters::{CastCounts, Count, InterfaceCounters, PathCounters};
pub use exact::{AddressError, EXACT_ENTRIES_MAX};
pub use filter::{FILTERS_MAX, Filter, FilterAction, FilterKey, Masked};
pub use frame::{EthernetHeader, IpHeader};
pub use interface::{Interface, MAC_LIST_MAX, ReceiveMode, VLAN_LIST_MAX, VlanList};
pub use numbers::{INTERFACES, InterfaceNumber, InterfaceSet, PORTS, PortNumber};

use exact::ExactTable;
use filter::{Candidate, Filters};
use smallvec::{SmallVec, smallvec};

/// How a frame was found to be for an interface: the `matchtype` of the adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Match {
    /// By an address of its own.
    ExactUnicast = 0,
    /// By its hash filter.
    HashUnicast = 1,
    /// By a group of its own.
    ExactMulticast = 2,
    /// By its hash filter.
    HashMulticast = 3,
    /// It takes everything of that kind.
    Promiscuous = 4,
    /// For everybody.
    Broadcast = 6,
}

impl Match {
    /// From its number.
    #[must_use]
    pub const fn from_wire(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::ExactUnicast,
            1 => Self::HashUnicast,
            2 => Self::ExactMulticast,
            3 => Self::HashMulticast,
            4 => Self::Promiscuous,
            6 => Self::Broadcast,
            _ => return None,
        })
    }
}

/// By which way an interface sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// Out to the wire, and nowhere else.
    Wire,
    /// To local interfaces that answer to the address; to the wire if there is none, and if it is for many.
    Switched,
    /// In again at the same port, and never to the wire.
    Loopback,
}

/// On whose behalf an interface sends; they are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Its owner.
    Owner,
    /// A connection that the adapter runs.
    Offload,
}

/// Why a frame was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such interface.
    #[error("there is no such virtual interface")]
    NoInterface,
    /// The interface does not send.
    #[error("the virtual interface is not enabled to send")]
    Disabled,
    /// The frame has no Ethernet header, or comes from a group.
    #[error("the frame has no valid Ethernet header")]
    Malformed,
    /// The source address belongs to another interface, or is not on the access list.
    #[error("the virtual interface may not send from {0:?}")]
    Source(MacAddress),
    /// The VLAN is not on the access list.
    #[error("the virtual interface may not send in VLAN {0:?}")]
    Vlan(Option<u16>),
}

/// A copy of a frame for one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// For whom.
    pub receiver: InterfaceNumber,
    /// How it was found.
    pub matched: Match,
    /// The ingress queue that a filter chose.
    pub queue: Option<u16>,
}

/// Where a frame goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// To these interfaces, each at most once.
    pub copies: SmallVec<[Copy; 1]>,
    /// Out of these ports, each at most once.
    pub wires: SmallVec<[PortNumber; 1]>,
}

type Found = SmallVec<[(InterfaceNumber, Match); 1]>;

/// The switch, with its tables and counters.
#[derive(Debug)]
pub struct Switch {
    interfaces: Vec<Option<Interface>>,
    exact: ExactTable,
    filters: Filters,
    wires: [PathCounters; PORTS],
    loopbacks: [PathCounters; PORTS],
}

impl Default for Switch {
    fn default() -> Self {
        Self {
            interfaces: (0..INTERFACES).map(|_| None).collect(),
            exact: ExactTable::default(),
            filters: Filters::default(),
            wires: [PathCounters::default(); PORTS],
            loopbacks: [PathCounters::default(); PORTS],
        }
    }
}

impl Switch {
    /// Attaches an interface, in the place of one that had the number before.
    pub fn attach(&mut self, number: InterfaceNumber, interface: Interface) {
        self.detach(number);
        self.interfaces[number.index()] = Some(interface);
    }

    /// Takes an interface away, with its addresses.
    pub fn detach(&mut self, number: InterfaceNumber) {
        self.exact.retain(number, |_| false);
        self.filters.forget(number);
        self.interfaces[number.index()] = None;
    }

    /// An interface.
    #[must_use]
    pub fn interface(&self, number: InterfaceNumber) -> Option<&Interface> {
        self.interfaces[number.index()].as_ref()
    }

    /// An interface, to change its settings. Its port may not be changed while it has addresses: attach it anew.
    #[must_use]
    pub fn interface_mut(&mut self, number: InterfaceNumber) -> Option<&mut Interface> {
        self.interfaces[number.index()].as_mut()
    }

    /// All interfaces.
    pub fn interfaces(&self) -> impl Iterator<Item = (InterfaceNumber, &Interface)> {
        self.interfaces.iter().enumerate().filter_map(|(number, interface)| {
            Some((InterfaceNumber::new(u8::try_from(number).ok()?)?, interface.as_ref()?))
        })
    }

    /// All interfaces, to change their settings.
    pub fn interfaces_mut(&mut self) -> impl Iterator<Item = (InterfaceNumber, &mut Interface)> {
        self.interfaces.iter_mut().enumerate().filter_map(|(number, interface)| {
            Some((InterfaceNumber::new(u8::try_from(number).ok()?)?, interface.as_mut()?))
        })
    }

    /// Whether an address belongs to an interface of the same port.
    #[must_use]
    pub fn has_address_at_port_of(&self, number: InterfaceNumber, address: MacAddress) -> bool {
        self.interface(number).is_some_and(|interface| self.exact.members(interface.port, address).is_some())
    }

    /// Gives an address to an interface, and says at which index of the table it stands.
    ///
    /// # Errors
    /// See [`AddressError`]. There is no such interface: [`AddressError::NotAllowed`].
    pub fn add_address(&mut self, number: InterfaceNumber, address: MacAddress) -> Result<usize, AddressError> {
        let port = self.port_of_address(number, address)?;
        self.exact.add(port, address, number)
    }

    /// Gives an interface an address in the place of the one at an index of the table, and says where it stands. Unless the interface alone had the old
    /// one, that takes room for one more.
    ///
    /// # Errors
    /// As of [`add_address`](Self::add_address); what was there stays.
    pub fn replace_address(
        &mut self,
        number: InterfaceNumber,
        index: usize,
        address: MacAddress,
        has_room: bool,
    ) -> Result<usize, AddressError> {
        let port = self.port_of_address(number, address)?;
        self.exact.replace(index, port, address, number, has_room)
    }

    /// The port of an interface that may have that address.
    fn port_of_address(&self, number: InterfaceNumber, address: MacAddress) -> Result<PortNumber, AddressError> {
        let interface = self.interface(number).ok_or(AddressError::NotAllowed)?;
        if address.cast() == Cast::Unicast && !interface.allows_address(address) {
            return Err(AddressError::NotAllowed);
        }
        Ok(interface.port)
    }

    /// Sets the only addresses that an interface may have and send from, or none; those of one that it has beside them are taken from it.
    pub fn set_mac_list(&mut self, number: InterfaceNumber, list: Option<SmallVec<[MacAddress; MAC_LIST_MAX]>>) {
        let Some(interface) = &mut self.interfaces[number.index()] else { return };
        interface.mac_list = list;
        self.exact.retain(number, |address| address.cast() != Cast::Unicast || interface.allows_address(address));
    }

    /// Takes an address from an interface; says whether it had it.
    pub fn remove_address(&mut self, number: InterfaceNumber, address: MacAddress) -> bool {
        let Some(port) = self.interface(number).map(|interface| interface.port) else { return false };
        self.exact.remove(port, address, number)
    }

    /// How many exact addresses those interfaces have, each counted once.
    #[must_use]
    pub fn addresses_of(&self, interfaces: InterfaceSet) -> usize {
        self.exact.count(interfaces)
    }

    /// Sets or removes the filter at an index below [`FILTERS_MAX`]; false if there is no such index.
    pub fn set_filter(&mut self, index: usize, filter: Option<Filter>) -> bool {
        self.filters.set(index, filter)
    }

    /// The filter at an index, with its hits.
    #[must_use]
    pub fn filter(&self, index: usize) -> Option<&Filter> {
        self.filters.get(index)
    }

    /// All filters, with their indices and hits.
    pub fn filters(&self) -> impl Iterator<Item = (usize, &Filter)> {
        self.filters.iter()
    }

    /// What went over the wire of a port.
    #[must_use]
    pub const fn wire_counters(&self, port: PortNumber) -> &PathCounters {
        &self.wires[port.index()]
    }

    /// What went over the loopback path of a port.
    #[must_use]
    pub const fn loopback_counters(&self, port: PortNumber) -> &PathCounters {
        &self.loopbacks[port.index()]
    }

    /// An interface sends a frame.
    ///
    /// # Errors
    /// It may not, see [`Refusal`]. Nobody gets the frame.
    pub fn transmit(
        &mut self,
        from: InterfaceNumber,
        path: Path,
        origin: Origin,
        frame: &[u8],
    ) -> Result<Delivery, Refusal> {
        let ethernet = EthernetHeader::decode(frame).ok_or(Refusal::Malformed);
        let admitted = ethernet.and_then(|ethernet| Ok((self.admit(from, &ethernet)?, ethernet)));
        let (port, ethernet) = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                if let Some(interface) = self.interface_mut(from) {
                    interface.counters.transmit_dropped += 1;
                }
                return Err(refusal);
            }
        };
        let cast = ethernet.destination.cast();
        let counters = &mut self.interface_mut(from).expect("it was admitted").counters;
        match origin {
            Origin::Owner => counters.transmitted.add(cast, frame.len()),
            Origin::Offload => counters.offloaded.add(frame.len()),
        }

        let (found, to_wire) = self.route(from, port, path, ethernet.destination);
        let mut delivery = Delivery::default();
        if to_wire {
            self.send_out(port, cast, frame, &mut delivery);
        }
        if path == Path::Loopback || !found.is_empty() {
            self.loopbacks[port.index()].transmitted.add(cast, frame.len());
            self.loopbacks[port.index()].received.add(cast, frame.len());
            self.deliver(port, true, &ethernet, frame, &found, &mut delivery);
        }
        Ok(delivery)
    }

    /// An interface sends a frame of that length with those headers for a connection of the adapter. It is counted as [`transmit`](Self::transmit)
    /// does, provided that it would reach one interface and nothing else, and no filter has a say; says whether that is so.
    #[must_use]
    pub fn pass(
        &mut self,
        from: InterfaceNumber,
        to: InterfaceNumber,
        ethernet: &EthernetHeader,
        ip: &IpHeader,
        length: usize,
    ) -> bool {
        let Some(receiver) = self.interface(to) else { return false };
        let takes = receiver.receives && receiver.allows_vlan(ethernet.vlan);
        let Some(port) = self.admit(from, ethernet).ok().filter(|_| takes) else { return false };
        let (found, to_wire) = self.route(from, port, Path::Switched, ethernet.destination);
        let &[(receiver, matched)] = &found[..] else { return false };
        let candidate = Candidate { port, loopback: true, receiver, matched, ethernet, ip: Some(ip) };
        if to_wire || receiver != to || self.filters.concern(&candidate) {
            return false;
        }
        let cast = ethernet.destination.cast();
        self.loopbacks[port.index()].transmitted.add(cast, length);
        self.loopbacks[port.index()].received.add(cast, length);
        self.interface_mut(from).expect("it was admitted").counters.offloaded.add(length);
        self.interface_mut(to).expect("it was found").counters.received.add(cast, length);
        true
    }

    /// A frame comes in from a wire.
    pub fn receive(&mut self, port: PortNumber, frame: &[u8]) -> Delivery {
        let mut delivery = Delivery::default();
        let Some(ethernet) = EthernetHeader::decode(frame) else {
            self.wires[port.index()].received_by_none += 1;
            return delivery;
        };
        self.wires[port.index()].received.add(ethernet.destination.cast(), frame.len());
        let found = self.look_up(port, ethernet.destination, None, true);
        self.deliver(port, false, &ethernet, frame, &found, &mut delivery);
        delivery
    }

    /// Checks whether an interface may send a frame with that header, and says by which port.
    fn admit(&self, from: InterfaceNumber, ethernet: &EthernetHeader) -> Result<PortNumber, Refusal> {
        let interface = self.interface(from).ok_or(Refusal::NoInterface)?;
        if !interface.sends {
            return Err(Refusal::Disabled);
        }
        let source = ethernet.source;
        if source.cast() != Cast::Unicast {
            return Err(Refusal::Malformed);
        }
        let owner = self.exact.members(interface.port, source);
        let is_of_another = owner.is_some_and(|members| !members.contains(from));
        if is_of_another || !interface.allows_address(source) {
            return Err(Refusal::Source(source));
        }
        if !interface.allows_vlan(ethernet.vlan) {
            return Err(Refusal::Vlan(ethernet.vlan));
        }
        Ok(interface.port)
    }

    /// Which interfaces answer to what one of them sends, and whether it goes to the wire.
    fn route(&self, from: InterfaceNumber, port: PortNumber, path: Path, destination: MacAddress) -> (Found, bool) {
        match path {
            Path::Wire => (Found::new(), true),
            Path::Loopback => (self.look_up(port, destination, Some(from), true), false),
            Path::Switched if destination.cast() == Cast::Unicast => {
                let found = self.look_up(port, destination, Some(from), false);
                let unknown = found.is_empty();
                (found, unknown)
            }
            Path::Switched => (self.look_up(port, destination, Some(from), true), true),
        }
    }

    /// Which interfaces of a port answer to an address; the promiscuous ones only if they are asked too.
    fn look_up(
        &self,
        port: PortNumber,
        destination: MacAddress,
        from: Option<InterfaceNumber>,
        promiscuous: bool,
    ) -> Found {
        let cast = destination.cast();
        let exact = self.exact.members(port, destination).unwrap_or_default();
        if cast == Cast::Unicast {
            if let Some(owner) = exact.iter().next() {
                return smallvec![(owner, Match::ExactUnicast)];
            }
            let hashed = self.select(port, |interface| interface.hashes_one(destination));
            if hashed.clone().next().is_some() {
                return hashed.map(|number| (number, Match::HashUnicast)).collect();
            }
            let others = self.select(port, |interface| promiscuous && interface.wants(cast));
            return others.filter(|&other| Some(other) != from).map(|number| (number, Match::Promiscuous)).collect();
        }
        self.select(port, |_| true)
            .filter(|&number| Some(number) != from)
            .filter_map(|number| {
                let interface = self.interface(number)?;
                let matched = match cast {
                    Cast::Broadcast => interface.wants(cast).then_some(Match::Broadcast),
                    _ if exact.contains(number) => Some(Match::ExactMulticast),
                    _ if interface.hashes(destination) => Some(Match::HashMulticast),
                    _ => interface.wants(cast).then_some(Match::Promiscuous),
                };
                Some((number, matched?))
            })
            .collect()
    }

    fn select(
        &self,
        port: PortNumber,
        wanted: impl Fn(&Interface) -> bool + Clone,
    ) -> impl Iterator<Item = InterfaceNumber> + Clone {
        self.interfaces
            .iter()
            .enumerate()
            .filter(move |(_, interface)| {
                interface.as_ref().is_some_and(|interface| interface.port == port && wanted(interface))
            })
            .filter_map(|(number, _)| InterfaceNumber::new(u8::try_from(number).ok()?))
    }

    /// Gives copies to those that were found and may have one.
    fn deliver(
        &mut self,
        port: PortNumber,
        loopback: bool,
        ethernet: &EthernetHeader,
        frame: &[u8],
        found: &[(InterfaceNumber, Match)],
        delivery: &mut Delivery,
    ) {
        let cast = ethernet.destination.cast();
        let ip = if self.filters.is_empty() { None } else { IpHeader::decode(frame, ethernet) };
        let before = delivery.copies.len();
        for &(receiver, matched) in found {
            let interface = self.interfaces[receiver.index()].as_ref().expect("it was found");
            let mut action = FilterAction::Drop;
            if interface.receives && interface.allows_vlan(ethernet.vlan) {
                let candidate = Candidate { port, loopback, receiver, matched, ethernet, ip: ip.as_ref() };
                action = self.filters.decide(&candidate, frame.len());
            }
            let counters = &mut self.interface_mut(receiver).expect("it was found").counters;
            match action {
                FilterAction::Pass { queue } => {
                    counters.received.add(cast, frame.len());
                    delivery.copies.push(Copy { receiver, matched, queue });
                }
                FilterAction::Drop => counters.receive_dropped += 1,
                FilterAction::Switch { port } => {
                    counters.receive_dropped += 1;
                    self.send_out(port, cast, frame, delivery);
                }
            }
        }
        if delivery.copies.len() == before {
            let path = if loopback { &mut self.loopbacks } else { &mut self.wires };
            path[port.index()].received_by_none += 1;
        }
    }

    fn send_out(&mut self, port: PortNumber, cast: Cast, frame: &[u8], delivery: &mut Delivery) {
        if !delivery.wires.contains(&port) {
            self.wires[port.index()].transmitted.add(cast, frame.len());
            delivery.wires.push(port);
        }
    }
}
