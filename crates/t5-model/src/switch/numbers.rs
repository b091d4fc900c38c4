//! Numbers of ports and virtual interfaces, and sets of the latter.

/// Ports of an adapter, each a wire and a loopback path.
pub const PORTS: usize = 4;
/// Virtual interfaces of an adapter.
pub const INTERFACES: usize = 128;

/// A port: 0 to 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortNumber(u8);

impl PortNumber {
    /// The port of a number, if there is one.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if (number as usize) < PORTS { Some(Self(number)) } else { None }
    }

    /// The port of a number that is known to be one.
    ///
    /// # Panics
    /// If there is no such port: a bug of the caller.
    #[must_use]
    pub const fn of(number: u8) -> Self {
        Self::new(number).expect("an adapter has four ports")
    }

    /// Its number.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A virtual interface: 0 to 127, the VIN of the adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceNumber(u8);

impl InterfaceNumber {
    /// The interface of a number, if there can be one.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if (number as usize) < INTERFACES { Some(Self(number)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A set of virtual interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceSet(u128);

impl InterfaceSet {
    /// A set of one.
    #[must_use]
    pub const fn of(interface: InterfaceNumber) -> Self {
        Self(1 << interface.0)
    }

    /// Whether it has that one.
    #[must_use]
    pub const fn contains(self, interface: InterfaceNumber) -> bool {
        self.0 >> interface.0 & 1 == 1
    }

    /// Whether it has one of those.
    #[must_use]
    pub const fn meets(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds one.
    pub const fn insert(&mut self, interface: InterfaceNumber) {
        self.0 |= 1 << interface.0;
    }

    /// Takes one out; says whether it was in.
    pub const fn remove(&mut self, interface: InterfaceNumber) -> bool {
        let had = self.contains(interface);
        self.0 &= !(1 << interface.0);
        had
    }

    /// All of them, the lowest first.
    pub fn iter(self) -> impl Iterator<Item = InterfaceNumber> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let next = InterfaceNumber::new(u8::try_from(left.trailing_zeros()).ok()?)?;
            left &= left - 1;
            Some(next)
        })
    }
}
