//! The connections of a node, and which of them are to be driven and flushed.

use super::connection::Connection;
use super::event::ConnectionId;
use slab::Slab;
use std::collections::VecDeque;

pub(super) struct Connections<P> {
    slab: Slab<Connection<P>>,
    generation: u32,
    /// Connections with something to receive whose turn was over, each once.
    more: VecDeque<ConnectionId>,
    /// Connections that may have something to flush, each once.
    to_flush: VecDeque<ConnectionId>,
}

impl<P> Connections<P> {
    pub(super) fn new() -> Self {
        Self { slab: Slab::new(), generation: 0, more: VecDeque::new(), to_flush: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// The name that the next connection will have.
    pub(super) fn next_id(&self) -> ConnectionId {
        ConnectionId { index: self.slab.vacant_key() as u32, generation: self.generation.wrapping_add(1) }
    }

    /// Adds the connection that is made for a name.
    pub(super) fn insert(&mut self, make: impl FnOnce(ConnectionId) -> Connection<P>) -> ConnectionId {
        let id = self.next_id();
        self.generation = id.generation;
        self.slab.insert(make(id));
        id
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection<P>> {
        self.slab.get(id.index as usize).filter(|connection| connection.id() == id)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection<P>> {
        self.slab.get_mut(id.index as usize).filter(|connection| connection.id() == id)
    }

    pub(super) fn at_mut(&mut self, index: usize) -> Option<&mut Connection<P>> {
        self.slab.get_mut(index)
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Connection<P>> {
        self.get(id)?;
        Some(self.slab.remove(id.index as usize))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection<P>> {
        self.slab.iter().map(|(_, connection)| connection)
    }

    /// Gives a connection a turn of its own, one however often it is asked for: who is always ready is served like the others.
    pub(super) fn drive_later(&mut self, id: ConnectionId) {
        if let Some(connection) = self.get_mut(id)
            && !std::mem::replace(&mut connection.has_more, true)
        {
            self.more.push_back(id);
        }
    }

    /// Number of connections that wait for a turn.
    pub(super) fn to_drive(&self) -> usize {
        self.more.len()
    }

    pub(super) fn next_to_drive(&mut self) -> Option<ConnectionId> {
        let id = self.more.pop_front()?;
        if let Some(connection) = self.get_mut(id) {
            connection.has_more = false;
        }
        Some(id)
    }

    /// A connection may have something to flush.
    pub(super) fn flush_later(&mut self, id: ConnectionId) {
        if let Some(connection) = self.get_mut(id)
            && !std::mem::replace(&mut connection.to_flush, true)
        {
            self.to_flush.push_back(id);
        }
    }

    pub(super) fn next_to_flush(&mut self) -> Option<ConnectionId> {
        let id = self.to_flush.pop_front()?;
        if let Some(connection) = self.get_mut(id) {
            connection.to_flush = false;
        }
        Some(id)
    }
}
