//! The sessions of a node, found by number for each command and by handle at logins and ends.

use super::session::Session;
use iscsi_pdu::Tsih;
use slab::Slab;
use std::collections::HashMap;

/// Names a session of one node. No later session of the node has the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionId {
    index: u32,
    generation: u32,
}

#[derive(Default)]
pub(super) struct Sessions {
    slab: Slab<Session>,
    generation: u32,
    handles: HashMap<Tsih, SessionId>,
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Adds the session that is made for a name.
    pub(super) fn insert(&mut self, make: impl FnOnce(SessionId) -> Session) -> SessionId {
        self.generation = self.generation.wrapping_add(1);
        let id = SessionId { index: self.slab.vacant_key() as u32, generation: self.generation };
        let session = make(id);
        let taken = self.handles.insert(session.tsih(), id);
        assert!(taken.is_none(), "a handle names one session");
        self.slab.insert(session);
        id
    }

    pub(super) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.slab.get_mut(id.index as usize).filter(|session| session.id() == id)
    }

    pub(super) fn find(&self, tsih: Tsih) -> Option<SessionId> {
        self.handles.get(&tsih).copied()
    }

    pub(super) fn remove(&mut self, id: SessionId) {
        if self.get_mut(id).is_some() {
            let session = self.slab.remove(id.index as usize);
            self.handles.remove(&session.tsih());
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slab.iter().map(|(_, session)| session)
    }
}
