//! The connections of a session, by CID, and the tags that their ports give.

use super::connection::{Connection, Link};
use super::tasks::Open;
use iscsi_pdu::Cid;
use iscsi_transport::PduPort;
use smallvec::SmallVec;
use std::collections::HashMap;

/// As a rule one and never many: they are searched one by one.
pub(super) struct Connections<P>(Vec<Connection<P>>);

impl<P> Connections<P> {
    pub(super) fn new(leading: Connection<P>) -> Self {
        Self(vec![leading])
    }

    pub(super) fn push(&mut self, connection: Connection<P>) {
        self.0.push(connection);
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Connection<P>> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Connection<P>> {
        self.0.iter_mut()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, cid: Cid) -> Option<&mut Connection<P>> {
        self.iter_mut().find(|connection| connection.cid == cid)
    }

    #[inline]
    pub(super) fn link_mut(&mut self, cid: Cid) -> Option<&mut Link<P>> {
        self.get_mut(cid).and_then(Connection::link_mut)
    }
}

impl<P: PduPort> Connections<P> {
    /// Reserves a tag for a transfer of so many bytes on a connection that is open. Tags are the ports', and one of a session's must not
    /// name two requests on two of them (RFC 7143 section 11.2.1.8): one that is taken is put aside. Returns it with the link's number.
    pub(super) fn reserve(&mut self, cid: Cid, bytes: u32, open: &HashMap<u32, Open>) -> (u32, u32) {
        let link = self.link_mut(cid).expect("a session has a port for each of its connections");
        let mut taken = SmallVec::<[u32; 4]>::new();
        let tag = loop {
            let tag = link.port.reserve(bytes);
            if !open.contains_key(&tag) {
                break tag;
            }
            taken.push(tag);
        };
        taken.into_iter().for_each(|tag| link.port.release(tag));
        (tag, link.number)
    }

    /// Gives a tag back to the port that it is of, if that is still there.
    pub(super) fn release(&mut self, tag: u32, number: u32) {
        let mut links = self.0.iter_mut().filter_map(Connection::link_mut);
        if let Some(link) = links.find(|link| link.number == number) {
            link.port.release(tag);
        }
    }
}
