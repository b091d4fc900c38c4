//! What a rule matches.

use crate::settings::Settings;
use std::net::IpAddr;

/// Deepest nesting of a filter: parentheses, `not`, `?`.
pub const NESTING_MAX: usize = 64;

/// A list of rules; the first that matches decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The rules in their order.
    pub rules: Vec<Rule>,
}

/// `filter => settings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it matches.
    pub filter: Filter,
    /// What it says of that.
    pub settings: Settings,
}

/// Which ends of a connection are looked at. The source is who sends the SYN; a listener's own end is its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// `src`.
    Source,
    /// `dst`.
    Destination,
    /// `src or dst`, as if nothing was said.
    Either,
    /// `src and dst`.
    Both,
}

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `==`, as if nothing was said.
    Equal,
    /// `!=`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    AtMost,
    /// `>`.
    Greater,
    /// `>=`.
    AtLeast,
}

impl Relation {
    /// Whether it holds between these two.
    #[must_use]
    pub const fn holds(self, left: u32, right: u32) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Greater => left > right,
            Self::AtLeast => left >= right,
        }
    }
}

/// A number of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// A port.
    Port(Side),
    /// The version of IP: 4 or 6.
    Version,
    /// The type of service, 8 bits.
    TypeOfService,
    /// Its upper 6 bits.
    Dscp,
    /// The VLAN; [`NO_VLAN`](crate::NO_VLAN) without one.
    Vlan,
    /// A mark of the host's.
    Mark,
}

impl Quantity {
    /// Largest value.
    #[must_use]
    pub const fn max(self) -> u32 {
        match self {
            Self::Port(_) => 0xffff,
            Self::Version => 6,
            Self::TypeOfService => 0xff,
            Self::Dscp => 0x3f,
            Self::Vlan => 0xfff,
            Self::Mark => u32::MAX,
        }
    }
}

/// Addresses that agree where a mask has ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    mask: IpAddr,
}

impl Network {
    /// One address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        let mask = match address {
            IpAddr::V4(_) => IpAddr::V4(u32::MAX.into()),
            IpAddr::V6(_) => IpAddr::V6(u128::MAX.into()),
        };
        Self { address, mask }
    }

    /// The addresses that begin with those bits; `None` if there are not so many.
    #[must_use]
    pub fn prefix(address: IpAddr, bits: u32) -> Option<Self> {
        let mask = match address {
            IpAddr::V4(_) => IpAddr::V4((!u32::MAX.checked_shr(bits).unwrap_or(0)).into()),
            IpAddr::V6(_) => IpAddr::V6((!u128::MAX.checked_shr(bits).unwrap_or(0)).into()),
        };
        if bits <= width(address) { Self::masked(address, mask) } else { None }
    }

    /// The addresses that agree with this one where `mask` has ones; `None` if they are of two families.
    #[must_use]
    pub fn masked(address: IpAddr, mask: IpAddr) -> Option<Self> {
        let address = match (address, mask) {
            (IpAddr::V4(address), IpAddr::V4(mask)) => IpAddr::V4(address & mask),
            (IpAddr::V6(address), IpAddr::V6(mask)) => IpAddr::V6(address & mask),
            _ => return None,
        };
        Some(Self { address, mask })
    }

    /// The address, zero where the mask is.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The mask.
    #[must_use]
    pub fn mask(&self) -> IpAddr {
        self.mask
    }

    /// How many bits the mask has if all of them are at the front.
    #[must_use]
    pub fn prefix_bits(&self) -> Option<u32> {
        let (ones, leading) = match self.mask {
            IpAddr::V4(mask) => (mask.to_bits().count_ones(), mask.to_bits().leading_ones()),
            IpAddr::V6(mask) => (mask.to_bits().count_ones(), mask.to_bits().leading_ones()),
        };
        (ones == leading).then_some(ones)
    }

    /// Whether it is one address.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.prefix_bits() == Some(width(self.address))
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// What a connection has to be. Lists have two members or more, and it is nested [`NESTING_MAX`] deep at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// `all`: anything.
    Everything,
    /// `listen`, `aopen`, `popen`.
    Open(crate::OpenKind),
    /// `host`, `net`: an address is, or is not, one of these.
    Address {
        /// Whose.
        side: Side,
        /// Whether it is not to be one of them.
        negated: bool,
        /// These.
        network: Network,
    },
    /// A number compares so with a value, where `mask` has ones.
    Number {
        /// Which.
        quantity: Quantity,
        /// What is looked at.
        mask: Option<u32>,
        /// How.
        relation: Relation,
        /// With what.
        value: u32,
    },
    /// `portrange`: a port is between these two, which belong to it.
    Ports {
        /// Whose.
        side: Side,
        /// The lowest.
        first: u16,
        /// The highest.
        last: u16,
    },
    /// `not`.
    Not(Box<Filter>),
    /// `and`.
    All(Vec<Filter>),
    /// `or`.
    Any(Vec<Filter>),
    /// `?` and `:`: the second if the first holds, else the third.
    Choose(Box<[Filter; 3]>),
}
