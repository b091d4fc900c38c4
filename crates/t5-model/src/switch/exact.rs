//! The table of exact addresses: which address of which port belongs to which virtual interfaces.
//!
//! An individual address has one owner. A group address has members, and goes to all of them.

use super::address::{Cast, MacAddress};
use super::{InterfaceNumber, InterfaceSet, PortNumber};
use std::collections::BTreeMap;

/// Most entries: what the shipped configuration gives away of the adapter's 512.
pub const EXACT_ENTRIES_MAX: usize = 336;

/// Why an address was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The table is full: a hash filter may take the address.
    #[error("the table of exact addresses is full ({EXACT_ENTRIES_MAX} entries): use the hash filter")]
    Full,
    /// The address belongs to another virtual interface of the port.
    #[error("the address belongs to another virtual interface: choose another")]
    Taken,
    /// The access list of the virtual interface does not have the address.
    #[error("the access list of the virtual interface does not have the address: have the administrator add it")]
    NotAllowed,
}

#[derive(Debug, Default)]
pub(super) struct ExactTable {
    entries: Vec<Option<Entry>>,
    index: BTreeMap<(PortNumber, MacAddress), usize>,
}

#[derive(Debug)]
struct Entry {
    key: (PortNumber, MacAddress),
    members: InterfaceSet,
}

impl ExactTable {
    /// Adds an address, and says at which index it stands.
    pub(super) fn add(
        &mut self,
        port: PortNumber,
        address: MacAddress,
        interface: InterfaceNumber,
    ) -> Result<usize, AddressError> {
        let key = (port, address);
        if let Some(&at) = self.index.get(&key) {
            let entry = self.entries[at].as_mut().expect("the index names entries that are there");
            if address.cast() == Cast::Unicast && !entry.members.contains(interface) {
                return Err(AddressError::Taken);
            }
            entry.members.insert(interface);
            return Ok(at);
        }
        let at = match self.entries.iter().position(Option::is_none) {
            Some(free) => free,
            None if self.entries.len() < EXACT_ENTRIES_MAX => {
                self.entries.push(None);
                self.entries.len() - 1
            }
            None => return Err(AddressError::Full),
        };
        self.entries[at] = Some(Entry { key, members: InterfaceSet::of(interface) });
        self.index.insert(key, at);
        Ok(at)
    }

    /// Gives an interface an address in the place of the one at an index. If nobody else has the old one it takes its entry, so that it needs no room;
    /// else it needs `has_room`.
    pub(super) fn replace(
        &mut self,
        at: usize,
        port: PortNumber,
        address: MacAddress,
        interface: InterfaceNumber,
        has_room: bool,
    ) -> Result<usize, AddressError> {
        let key = (port, address);
        let is_known = self.index.contains_key(&key);
        if let Some(Some(old)) = self.entries.get_mut(at)
            && !is_known
            && old.members == InterfaceSet::of(interface)
        {
            self.index.remove(&old.key);
            self.index.insert(key, at);
            old.key = key;
            return Ok(at);
        }
        if !is_known && !has_room {
            return Err(AddressError::Full);
        }
        let new = self.add(port, address, interface)?;
        if new != at {
            self.remove_at(at, interface);
        }
        Ok(new)
    }

    /// How many addresses belong to one of those interfaces or more.
    pub(super) fn count(&self, interfaces: InterfaceSet) -> usize {
        self.entries.iter().flatten().filter(|entry| entry.members.meets(interfaces)).count()
    }

    /// Takes an address from an interface; says whether it had it.
    pub(super) fn remove(&mut self, port: PortNumber, address: MacAddress, interface: InterfaceNumber) -> bool {
        let Some(&at) = self.index.get(&(port, address)) else { return false };
        self.remove_at(at, interface)
    }

    /// Takes whatever address stands at an index from an interface; says whether it had it.
    pub(super) fn remove_at(&mut self, at: usize, interface: InterfaceNumber) -> bool {
        let Some(Some(entry)) = self.entries.get_mut(at) else { return false };
        let had = entry.members.remove(interface);
        if entry.members.is_empty() {
            self.index.remove(&entry.key);
            self.entries[at] = None;
        }
        had
    }

    /// Leaves an interface those of its addresses that are to be kept.
    pub(super) fn retain(&mut self, interface: InterfaceNumber, keep: impl Fn(MacAddress) -> bool) {
        for at in 0..self.entries.len() {
            if self.entries[at].as_ref().is_some_and(|entry| !keep(entry.key.1)) {
                self.remove_at(at, interface);
            }
        }
    }

    /// Whose an address is.
    pub(super) fn members(&self, port: PortNumber, address: MacAddress) -> Option<InterfaceSet> {
        let &at = self.index.get(&(port, address))?;
        self.entries[at].as_ref().map(|entry| entry.members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: PortNumber = PortNumber::of(0);
    const GROUP: MacAddress = MacAddress([1, 0, 0x5e, 0, 0, 1]);

    fn interface(number: u8) -> InterfaceNumber {
        InterfaceNumber::new(number).unwrap()
    }

    fn single(number: u16) -> MacAddress {
        let [high, low] = number.to_be_bytes();
        MacAddress([2, 0, 0, 0, high, low])
    }

    #[test]
    fn an_individual_address_has_one_owner_a_port() {
        let mut table = ExactTable::default();
        assert_eq!(table.add(PORT, single(1), interface(1)), Ok(0));
        assert_eq!(table.add(PORT, single(1), interface(1)), Ok(0));
        assert_eq!(table.add(PORT, single(1), interface(2)), Err(AddressError::Taken));
        assert_eq!(table.add(PortNumber::of(1), single(1), interface(2)), Ok(1));
        assert!(!table.remove(PORT, single(1), interface(2)));
        assert!(table.remove(PORT, single(1), interface(1)));
        assert_eq!(table.add(PORT, single(1), interface(2)), Ok(0), "the place is used again");
    }

    #[test]
    fn a_group_has_members() {
        let mut table = ExactTable::default();
        table.add(PORT, GROUP, interface(1)).unwrap();
        table.add(PORT, GROUP, interface(127)).unwrap();
        let members = table.members(PORT, GROUP).unwrap();
        assert_eq!(members.iter().collect::<Vec<_>>(), [interface(1), interface(127)]);
        table.retain(interface(1), |_| false);
        let members = table.members(PORT, GROUP).unwrap();
        assert_eq!(members.iter().collect::<Vec<_>>(), [interface(127)]);
        table.retain(interface(127), |_| false);
        assert!(table.members(PORT, GROUP).is_none());
    }

    #[test]
    fn an_address_is_replaced_in_a_full_table_and_stays_where_another_cannot_have_its_place() {
        let mut table = ExactTable::default();
        for number in 1..=EXACT_ENTRIES_MAX {
            table.add(PORT, single(number as u16), interface((number % 2) as u8)).unwrap();
        }
        let has =
            |table: &ExactTable, number| table.members(PORT, single(number)).map(|all| all.iter().next().unwrap());
        assert_eq!(table.replace(0, PORT, single(999), interface(1), false), Ok(0));
        assert_eq!((has(&table, 1), has(&table, 999)), (None, Some(interface(1))));
        assert_eq!(table.replace(0, PORT, single(2), interface(1), true), Err(AddressError::Taken));
        assert_eq!(
            table.replace(1, PORT, single(7777), interface(1), true),
            Err(AddressError::Full),
            "another's place"
        );
        assert_eq!((has(&table, 999), has(&table, 2)), (Some(interface(1)), Some(interface(0))));
        assert_eq!(table.replace(0, PORT, single(3), interface(1), false), Ok(2), "one that it has already");
        assert_eq!((has(&table, 999), has(&table, 3)), (None, Some(interface(1))));
        table.add(PORT, GROUP, interface(1)).unwrap();
        table.add(PORT, GROUP, interface(2)).unwrap();
        assert_eq!(
            table.replace(0, PORT, single(4444), interface(1), false),
            Err(AddressError::Full),
            "others stay in it"
        );
        assert_eq!(table.members(PORT, GROUP).unwrap().iter().count(), 2);
    }

    #[test]
    fn a_full_table_says_so() {
        let mut table = ExactTable::default();
        for number in 0..EXACT_ENTRIES_MAX {
            assert_eq!(table.add(PORT, single(number as u16), interface(3)), Ok(number));
        }
        assert_eq!(table.add(PORT, GROUP, interface(3)), Err(AddressError::Full));
        assert!(table.remove_at(77, interface(3)));
        assert_eq!(table.add(PORT, GROUP, interface(3)), Ok(77));
    }
}
