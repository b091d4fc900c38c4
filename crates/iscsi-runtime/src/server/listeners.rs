//! Where a server listens: addresses as they were asked for and as they are, each with its portal group and its place in the network.

use super::portal_groups;
use iscsi_node::target::PortalAddress;
use std::net::SocketAddr;

/// An address that is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    /// The address as it was asked for; its port may be 0.
    pub(super) asked: SocketAddr,
    /// The address as it is.
    pub(super) address: SocketAddr,
    /// Portal group tag.
    pub(super) tag: u16,
    /// Its place in the network of the first core.
    pub(super) place: usize,
}

impl Listener {
    /// One at the first place of a network, whose port is as it was asked for.
    pub(super) fn new(asked: SocketAddr, tag: u16) -> Self {
        Self { asked, address: asked, tag, place: 0 }
    }

    /// What an initiator comes to that connects to this address of it.
    pub(super) fn portal(&self, address: SocketAddr) -> PortalAddress {
        PortalAddress { address: address.to_string(), portal_group_tag: self.tag, listener: Some(self.asked) }
    }
}

/// All that are listened on, in the order in which they were asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Listeners(pub(super) Vec<Listener>);

impl Listeners {
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|listener| listener.address).collect()
    }

    /// A place that no other has, nor one of those.
    pub(super) fn free_place_beside(&self, others: impl Iterator<Item = usize> + Clone) -> usize {
        let taken = self.0.iter().map(|listener| listener.place).chain(others);
        (0..).find(|place| taken.clone().all(|other| other != *place)).unwrap_or_default()
    }

    pub(super) fn find(&mut self, asked: SocketAddr, tag: u16) -> Option<&mut Listener> {
        self.0.iter_mut().find(|listener| (listener.asked, listener.tag) == (asked, tag))
    }

    /// Takes one out of the list.
    pub(super) fn remove(&mut self, asked: SocketAddr, tag: u16) -> Option<Listener> {
        let place = self.0.iter().position(|listener| (listener.asked, listener.tag) == (asked, tag))?;
        Some(self.0.remove(place))
    }

    /// The addresses of which others are told.
    pub(super) fn told(&self) -> Vec<PortalAddress> {
        portal_groups::told(&self.0)
    }
}
