//! How an adapter is dealt out: what each function may have of it, as the configuration of the firmware says.
//!
//! The shipped configuration has the target's function on PF4, the initiator in the firmware on PF5, and sixteen virtual functions on each of
//! PF0 to PF3. What it is not public about is our choice; interfaces, addresses, queues and connections of all functions add up to no more than
//! there is, so that nobody waits for what another has taken.

use super::functions::{functions, virtual_place};
use crate::switch::{MacAddress, VlanList};
use smallvec::SmallVec;
use t5_hal::wire::{Capabilities, FunctionId, PfVfCaps, PfVfCommand, PfVfEgress, PfVfIngress, PfVfInterfaces};

/// Where page pods begin in the adapter's memory; each function has its own part.
const PODS_BASE: u32 = 0x0100_0000;

/// What a function may have: what PFVF tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    ingress: PfVfIngress,
    egress: PfVfEgress,
    interfaces: PfVfInterfaces,
    caps: PfVfCaps,
}

/// What a function has for itself, or may have of what all share, beside its [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// First number of its ingress queues, and of its egress queues and free lists.
    pub(super) ingress_base: u32,
    pub(super) egress_base: u32,
    /// First number of its listeners, and how many there are.
    pub(super) servers_base: u32,
    pub(super) servers: u32,
    /// Where its page pods are, and how many.
    pub(super) pods_base: u32,
    pub(super) pods: u32,
    /// Entries of its table of next hops.
    pub(super) next_hops: u32,
    /// Connections, those of them that wait for the driver's word, and bytes of the windows of all.
    pub(super) connections: usize,
    pub(super) asked: usize,
    pub(super) windows_bytes: usize,
}

/// What a function may have and do now. A virtual one's stays over its resets: the physical one's driver decides on it.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) limits: Limits,
    /// Addresses, and whether it may have no others.
    pub(super) addresses: SmallVec<[MacAddress; crate::switch::MAC_LIST_MAX]>,
    pub(super) is_bound_to_addresses: bool,
    pub(super) vlan_list: Option<VlanList>,
}

impl Grant {
    /// What the configuration says.
    pub(super) fn new(function: FunctionId) -> Self {
        Self { limits: Limits::of(function), addresses: SmallVec::new(), is_bound_to_addresses: false, vlan_list: None }
    }

    /// The list of addresses, if it is enforced.
    pub(super) fn mac_list(&self) -> Option<SmallVec<[MacAddress; crate::switch::MAC_LIST_MAX]>> {
        self.is_bound_to_addresses.then(|| self.addresses.clone())
    }
}

impl Limits {
    /// What the configuration says of a function.
    pub(super) fn of(function: FunctionId) -> Self {
        if function.is_virtual() { Self::of_virtual(function) } else { Self::of_physical(function.pf()) }
    }

    fn of_virtual(function: FunctionId) -> Self {
        // Of a card with two ports.
        let port = function.pf() & 1;
        let writes = Capabilities::new().with_bit(Capabilities::DMAQ, true).with_bit(Capabilities::VF, true);
        let reads = writes.with_bit(Capabilities::PORT, true);
        Self::new(4, 4, 2, 1, 4).with_ports(1 << port).with_caps(reads, writes)
    }

    fn of_physical(pf: u8) -> Self {
        let (ingress, egress) = if pf == 4 { (170, 256) } else { (64, 64) };
        let (interfaces, addresses) = match pf {
            0..4 => (4, 4),
            4 => (28, 40),
            5 | 6 => (8, 8),
            _ => (4, 4),
        };
        let all = Capabilities::from_value(0x9f);
        Self::new(ingress, egress, egress, interfaces, addresses).with_ports(0xf).with_caps(all, all)
    }

    fn new(ingress: u32, egress: u32, frames_and_control: u32, interfaces: u32, addresses: u32) -> Self {
        Self {
            ingress: PfVfIngress::new().with(PfVfIngress::NIQFLINT, ingress),
            egress: PfVfEgress::new().with(PfVfEgress::CMASK, 0xf).with(PfVfEgress::NEQ, egress),
            interfaces: PfVfInterfaces::new()
                .with(PfVfInterfaces::NVI, interfaces)
                .with(PfVfInterfaces::NEXACTF, addresses),
            caps: PfVfCaps::new().with(PfVfCaps::NETHCTRL, frames_and_control),
        }
    }

    fn with_ports(self, ports: u32) -> Self {
        Self { egress: self.egress.with(PfVfEgress::PMASK, ports), ..self }
    }

    fn with_caps(self, reads: Capabilities, writes: Capabilities) -> Self {
        let caps = self.caps.with(PfVfCaps::R_CAPS, reads.value().into());
        Self { caps: caps.with(PfVfCaps::WX_CAPS, writes.value().into()), ..self }
    }

    /// What a command says.
    pub(super) const fn from_command(command: &PfVfCommand) -> Self {
        let PfVfCommand { ingress, egress, interfaces, caps, .. } = *command;
        Self { ingress, egress, interfaces, caps }
    }

    /// The command with what it asks for.
    pub(super) const fn tell(self, command: PfVfCommand) -> PfVfCommand {
        let Self { ingress, egress, interfaces, caps } = self;
        PfVfCommand { ingress, egress, interfaces, caps, ..command }
    }

    /// Whether all of it is within others.
    pub(super) fn is_within(self, most: Self) -> bool {
        let of = |limits: Self| {
            let Self { ingress, egress, interfaces, caps } = limits;
            let counts = [
                ingress.get(PfVfIngress::NIQFLINT),
                ingress.get(PfVfIngress::NIQ),
                egress.get(PfVfEgress::NEQ),
                interfaces.get(PfVfInterfaces::TC),
                interfaces.get(PfVfInterfaces::NVI),
                interfaces.get(PfVfInterfaces::NEXACTF),
                caps.get(PfVfCaps::NETHCTRL),
            ];
            let bits = [
                egress.get(PfVfEgress::CMASK),
                egress.get(PfVfEgress::PMASK),
                caps.get(PfVfCaps::R_CAPS),
                caps.get(PfVfCaps::WX_CAPS),
                egress.get(PfVfEgress::TYPE),
            ];
            (counts, bits)
        };
        let ((counts, bits), (counts_most, bits_most)) = (of(self), of(most));
        counts.iter().zip(counts_most).all(|(count, most)| *count <= most)
            && bits.iter().zip(bits_most).all(|(bits, most)| bits & !most == 0)
    }

    /// Ingress queues.
    pub(super) fn ingress(self) -> usize {
        self.ingress.get(PfVfIngress::NIQFLINT) as usize
    }

    /// Egress queues and free lists.
    pub(super) fn egress(self) -> usize {
        self.egress.get(PfVfEgress::NEQ) as usize
    }

    /// Egress queues for frames and control among them.
    pub(super) fn frames_and_control(self) -> usize {
        self.caps.get(PfVfCaps::NETHCTRL) as usize
    }

    /// Virtual interfaces.
    pub(super) fn interfaces(self) -> usize {
        self.interfaces.get(PfVfInterfaces::NVI) as usize
    }

    /// Exact addresses of all interfaces.
    pub(super) fn addresses(self) -> usize {
        self.interfaces.get(PfVfInterfaces::NEXACTF) as usize
    }

    /// Whether it may have interfaces at a port.
    pub(super) fn has_port(self, port: usize) -> bool {
        self.egress.get(PfVfEgress::PMASK) >> port & 1 == 1
    }

    /// What it may read, and what it may change.
    pub(super) fn reads(self) -> Capabilities {
        Capabilities::from_value(self.caps.get(PfVfCaps::R_CAPS) as u8)
    }

    pub(super) fn writes(self) -> Capabilities {
        Capabilities::from_value(self.caps.get(PfVfCaps::WX_CAPS) as u8)
    }
}

impl Share {
    pub(super) fn of(function: FunctionId) -> Self {
        let before = || functions().take_while(|&other| other != function).map(Limits::of);
        let ingress_base = before().map(|limits| limits.ingress() as u32).sum();
        let egress_base = before().map(|limits| limits.egress() as u32).sum();
        match virtual_place(function) {
            None => {
                let (pf, servers, pods) = (u32::from(function.pf()), 496, 32768);
                // As many for the target's as for the initiator's, whose sessions are as many in the shipped configuration.
                let connections = if matches!(pf, 4 | 5) { 2048 } else { 256 };
                Self {
                    ingress_base,
                    egress_base,
                    servers_base: pf * servers,
                    servers,
                    pods_base: PODS_BASE + pf * pods * 64,
                    pods,
                    next_hops: 512,
                    connections,
                    asked: connections / 4,
                    windows_bytes: 512 << 20,
                }
            }
            Some(place) => {
                let (place, servers, pods) = (place as u32, 16, 2048);
                let last = Self::of(FunctionId::physical(7));
                Self {
                    ingress_base,
                    egress_base,
                    servers_base: last.servers_base + last.servers + place * servers,
                    servers,
                    pods_base: last.pods_base + (last.pods + place * pods) * 64,
                    pods,
                    next_hops: 64,
                    connections: 32,
                    asked: 8,
                    windows_bytes: 32 << 20,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::firmware::TIDS;
    use crate::switch::INTERFACES;

    fn sum(of: impl Fn(Limits) -> usize) -> usize {
        functions().map(|function| of(Limits::of(function))).sum()
    }

    #[test]
    fn what_is_dealt_out_is_there() {
        assert_eq!(sum(Limits::interfaces), INTERFACES, "each has its own, whatever others take");
        assert!(sum(Limits::addresses) <= 336);
        assert!(sum(Limits::ingress) <= 1024, "connections are steered by numbers of ten bits");
        assert!(sum(Limits::egress) <= 1024);
        let connections = functions().map(|function| Share::of(function).connections).sum::<usize>();
        assert!(connections <= TIDS as usize, "{connections} connections");
    }

    #[test]
    fn no_two_have_the_same() {
        let shares: Vec<Share> = functions().map(Share::of).collect();
        for (function, pair) in functions().zip(shares.windows(2)) {
            let limits = Limits::of(function);
            assert_eq!(pair[0].ingress_base + limits.ingress() as u32, pair[1].ingress_base, "{function}");
            assert_eq!(pair[0].egress_base + limits.egress() as u32, pair[1].egress_base, "{function}");
            assert_eq!(pair[0].servers_base + pair[0].servers, pair[1].servers_base, "{function}");
            assert_eq!(pair[0].pods_base + pair[0].pods * 64, pair[1].pods_base, "{function}");
        }
    }

    #[test]
    fn virtual_functions_have_what_is_shipped() {
        let told = Limits::of(FunctionId::virtual_of(3, 16)).tell(PfVfCommand::default());
        assert_eq!((told.ingress.value(), told.egress.value()), (4 << 20, 0xf << 24 | 2 << 20 | 4));
        assert_eq!((told.interfaces.value(), told.caps.value()), (1 << 16 | 4, 0x8682_0002));
    }

    #[test]
    fn more_of_anything_is_not_within() {
        let limits = Limits::of(FunctionId::virtual_of(0, 1));
        assert!(limits.is_within(limits) && limits.is_within(Limits::of_physical(4)));
        let told = limits.tell(PfVfCommand::default());
        let more = [
            PfVfCommand { ingress: told.ingress.with(PfVfIngress::NIQFLINT, 5), ..told },
            PfVfCommand { ingress: told.ingress.with(PfVfIngress::NIQ, 1), ..told },
            PfVfCommand { egress: told.egress.with(PfVfEgress::NEQ, 5), ..told },
            PfVfCommand { egress: told.egress.with(PfVfEgress::PMASK, 2), ..told },
            PfVfCommand { interfaces: told.interfaces.with(PfVfInterfaces::NVI, 2), ..told },
            PfVfCommand { interfaces: told.interfaces.with(PfVfInterfaces::NEXACTF, 5), ..told },
            PfVfCommand { interfaces: told.interfaces.with(PfVfInterfaces::TC, 1), ..told },
            PfVfCommand { caps: told.caps.with(PfVfCaps::NETHCTRL, 3), ..told },
            PfVfCommand { caps: told.caps.with(PfVfCaps::R_CAPS, 0x87), ..told },
            PfVfCommand { caps: told.caps.with(PfVfCaps::WX_CAPS, 0x86), ..told },
        ];
        for (at, command) in more.iter().enumerate() {
            assert!(!Limits::from_command(command).is_within(limits), "{at}");
        }
    }
}
