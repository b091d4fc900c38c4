//! A virtual interface: where it is attached, what it wants to receive, and what it may send.

use super::PortNumber;
use super::address::{Cast, MacAddress};
use super::counters::InterfaceCounters;
use smallvec::SmallVec;

/// Most addresses of one access list.
pub const MAC_LIST_MAX: usize = 4;
/// Most VLANs of one access list.
pub const VLAN_LIST_MAX: usize = 16;

/// What an interface wants to receive that is not for an address of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiveMode {
    /// Frames for one that nobody here is.
    pub promiscuous: bool,
    /// Frames for groups.
    pub all_multicast: bool,
    /// Frames for everybody.
    pub broadcast: bool,
}

/// Which VLANs an interface may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VlanList {
    /// The VLANs, 0 to 4095.
    pub vlans: SmallVec<[u16; VLAN_LIST_MAX]>,
    /// Frames without a tag are dropped.
    pub drop_untagged: bool,
    /// Frames of VLANs that are not on the list are dropped.
    pub drop_unlisted: bool,
}

impl VlanList {
    fn allows(&self, vlan: Option<u16>) -> bool {
        match vlan {
            None => !self.drop_untagged,
            Some(vlan) => !self.drop_unlisted || self.vlans.contains(&vlan),
        }
    }
}

/// The settings of a virtual interface. A new one receives and sends nothing until it is enabled.
#[derive(Clone, Debug)]
pub struct Interface {
    /// The port that it is attached to.
    pub port: PortNumber,
    /// Whether it receives.
    pub receives: bool,
    /// Whether it sends.
    pub sends: bool,
    /// What it receives beside its addresses.
    pub mode: ReceiveMode,
    /// Groups that are also received: one bit for each value of [`MacAddress::hash_bit`].
    pub hash: u64,
    /// Whether that takes individual addresses as well, those of a list that is enforced.
    pub hashes_individuals: bool,
    /// The only addresses that it may have and send from; none: no such list is enforced.
    pub mac_list: Option<SmallVec<[MacAddress; MAC_LIST_MAX]>>,
    /// The VLANs that it may use; none: any.
    pub vlan_list: Option<VlanList>,
    pub(super) counters: InterfaceCounters,
}

impl Interface {
    /// An interface at that port.
    #[must_use]
    pub fn new(port: PortNumber) -> Self {
        Self {
            port,
            receives: false,
            sends: false,
            mode: ReceiveMode::default(),
            hash: 0,
            hashes_individuals: false,
            mac_list: None,
            vlan_list: None,
            counters: InterfaceCounters::default(),
        }
    }

    /// What it has counted.
    #[must_use]
    pub const fn counters(&self) -> &InterfaceCounters {
        &self.counters
    }

    pub(super) fn allows_address(&self, address: MacAddress) -> bool {
        self.mac_list.as_ref().is_none_or(|list| list.contains(&address))
    }

    pub(super) fn allows_vlan(&self, vlan: Option<u16>) -> bool {
        self.vlan_list.as_ref().is_none_or(|list| list.allows(vlan))
    }

    /// Whether its hash filter takes the address of one.
    pub(super) fn hashes_one(&self, address: MacAddress) -> bool {
        self.hashes_individuals && self.hashes(address) && self.allows_address(address)
    }

    pub(super) const fn hashes(&self, address: MacAddress) -> bool {
        self.hash >> address.hash_bit() & 1 == 1
    }

    /// Whether it wants a frame that no exact or hash entry gives it.
    pub(super) const fn wants(&self, cast: Cast) -> bool {
        match cast {
            Cast::Unicast => self.mode.promiscuous,
            Cast::Multicast => self.mode.all_multicast,
            Cast::Broadcast => self.mode.broadcast,
        }
    }
}
