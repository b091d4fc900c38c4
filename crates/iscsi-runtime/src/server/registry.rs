//! Which sessions there are, over all cores: a name admits one session at a time.
//!
//! In: claims of logins that are about to become sessions, and ends of sessions. Out: handles (TSIH) for those that may begin,
//! and which one to end first. RFC 7143 section 6.3.5 (session reinstatement), 6.3.4 (connection reinstatement), 4.4.3.1 (the ISID
//! rule), 7.4.2 (the same for discovery sessions).
//!
//! Invariants: of two sessions with the same name, the second begins after the first has ended; a handle is given to one session at
//! a time, and is in use until that session has ended.

use iscsi_node::target::{ConnectionId, PortalAddress};
use iscsi_pdu::{Isid, LoginStatus, Tsih};
use iscsi_session::SessionType;
use iscsi_session::target::LoginIdentity;
use std::collections::HashMap;

/// A connection of one of the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    pub(super) core: usize,
    pub(super) connection: ConnectionId,
}

/// What makes two sessions the same: the initiator port, and what it has a session with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name {
    initiator: String,
    isid: Isid,
    other_end: OtherEnd,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum OtherEnd {
    /// RFC 7143 4.4.3 and 7.4.2.2: a portal group of a target, for discovery too where that names one.
    TargetPort { target: String, portal_group_tag: u16 },
    /// RFC 7143 7.4.2.1: discovery without a target has its address.
    Address(String),
}

impl Name {
    fn new(identity: &LoginIdentity, portal: PortalAddress) -> Self {
        let PortalAddress { address, portal_group_tag, .. } = portal;
        let target_port = |target| OtherEnd::TargetPort { target, portal_group_tag };
        Self {
            initiator: identity.initiator_name.clone(),
            isid: identity.isid,
            other_end: identity.target_name.clone().map_or(OtherEnd::Address(address), target_port),
        }
    }
}

#[derive(Debug)]
struct Session {
    core: usize,
    tsih: Tsih,
    session_type: SessionType,
    /// The login that takes its place once it has ended.
    successor: Option<(Owner, SessionType)>,
}

/// What becomes of a claim.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The session may begin.
    Granted(Tsih),
    /// The session is there, on this core: the connection may join it.
    Joins(usize),
    /// This session of a core is to be ended; its end grants the claim.
    Ends(usize, Tsih),
    /// The session may not begin.
    Refused(LoginStatus),
}

/// What both a session and a login are where the login may join.
const NORMAL: (SessionType, SessionType) = (SessionType::Normal, SessionType::Normal);

/// The sessions of a server.
#[derive(Debug, Default)]
pub(super) struct Registry {
    sessions: HashMap<Name, Session>,
    /// The handles in use, and whose they are.
    handles: HashMap<Tsih, Name>,
    /// Logins that wait for the end of a session.
    waiting: HashMap<Owner, Name>,
    last_tsih: Tsih,
}

impl Registry {
    // RFC 7143 7.4.2.1-1, 7.4.2.1-2, 7.4.2.1-3, 7.4.2.1-4, 7.4.2.1-5, 7.4.2.2-1, 7.15-2: a session gives way at any time, but a normal one not to discovery.
    /// A login asks to become a session.
    pub(super) fn claim(&mut self, owner: Owner, identity: &LoginIdentity, portal: PortalAddress) -> Claim {
        let name = Name::new(identity, portal);
        let session_type = identity.session_type;
        let Some(session) = self.sessions.get_mut(&name) else {
            if identity.tsih != Tsih(0) {
                return Claim::Refused(LoginStatus::SessionDoesNotExist);
            }
            let granted = self.begin(name, owner, session_type);
            return granted.map_or(Claim::Refused(LoginStatus::OutOfResources), Claim::Granted);
        };
        // RFC 7143 4.3: a discovery session has one connection.
        if identity.tsih == session.tsih && (session_type, session.session_type) == NORMAL {
            return Claim::Joins(session.core);
        }
        if identity.tsih != Tsih(0) {
            return Claim::Refused(LoginStatus::SessionDoesNotExist);
        }
        // Who asks for discovery has not proven what the target asks for: there is no second session, and the first one stays.
        if (session_type, session.session_type) == (SessionType::Discovery, SessionType::Normal) {
            return Claim::Refused(LoginStatus::SessionTypeNotSupported);
        }
        if session.successor.is_some() {
            // Two logins race for one name: the later one comes again when the first is done.
            return Claim::Refused(LoginStatus::OutOfResources);
        }
        session.successor = Some((owner, session_type));
        self.waiting.insert(owner, name);
        Claim::Ends(session.core, session.tsih)
    }

    /// A session has ended. Gives the login that may begin now, and its handle, if one has waited for that.
    pub(super) fn release(&mut self, tsih: Tsih) -> Option<(Owner, Tsih)> {
        let name = self.handles.remove(&tsih)?;
        let (successor, session_type) = self.sessions.remove(&name)?.successor?;
        self.waiting.remove(&successor);
        let tsih = self.begin(name, successor, session_type)?;
        Some((successor, tsih))
    }

    /// Whether a session with that handle is there, or about to begin.
    pub(super) fn has(&self, tsih: Tsih) -> bool {
        self.handles.contains_key(&tsih)
    }

    /// A connection has ended: if it has waited for the end of a session, it does no more.
    pub(super) fn withdraw(&mut self, owner: Owner) {
        if let Some(session) = self.waiting.remove(&owner).and_then(|name| self.sessions.get_mut(&name)) {
            session.successor = None;
        }
    }

    fn begin(&mut self, name: Name, owner: Owner, session_type: SessionType) -> Option<Tsih> {
        let tsih = self.allocate(name.clone())?;
        self.sessions.insert(name, Session { core: owner.core, tsih, session_type, successor: None });
        Some(tsih)
    }

    fn allocate(&mut self, name: Name) -> Option<Tsih> {
        if self.handles.len() >= usize::from(u16::MAX) {
            return None;
        }
        loop {
            self.last_tsih = Tsih(self.last_tsih.0.wrapping_add(1));
            if self.last_tsih != Tsih(0) && !self.handles.contains_key(&self.last_tsih) {
                self.handles.insert(self.last_tsih, name);
                return Some(self.last_tsih);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iscsi_pdu::Cid;

    fn owner(index: u32) -> Owner {
        Owner { core: 0, connection: ConnectionId { index, generation: 0 } }
    }

    fn identity(isid: u8, tsih: u16) -> LoginIdentity {
        LoginIdentity {
            initiator_name: "iqn.2026-01.test:initiator".into(),
            initiator_alias: None,
            target_name: Some("iqn.2026-01.test:target".into()),
            session_type: SessionType::Normal,
            isid: Isid([0x80, 0, 0, 0, 0, isid]),
            tsih: Tsih(tsih),
            cid: Cid(0),
        }
    }

    /// Through the only portal of a portal group.
    fn claim(registry: &mut Registry, owner: Owner, identity: &LoginIdentity, portal_group_tag: u16) -> Claim {
        registry.claim(
            owner,
            identity,
            PortalAddress::new(format!("192.0.2.{portal_group_tag}:3260"), portal_group_tag),
        )
    }

    #[test]
    fn two_names_have_two_sessions() {
        let mut registry = Registry::default();
        assert_eq!(claim(&mut registry, owner(1), &identity(1, 0), 1), Claim::Granted(Tsih(1)));
        assert_eq!(claim(&mut registry, owner(2), &identity(2, 0), 1), Claim::Granted(Tsih(2)));
    }

    /// RFC 7143 section 4.4.3, the ISID rule: the same initiator port may have a session with each portal group.
    #[test]
    fn sessions_through_two_portal_groups_are_two() {
        let mut registry = Registry::default();
        assert_eq!(claim(&mut registry, owner(1), &identity(1, 0), 1), Claim::Granted(Tsih(1)));
        assert_eq!(claim(&mut registry, owner(2), &identity(1, 0), 2), Claim::Granted(Tsih(2)));
        assert_eq!(
            claim(&mut registry, owner(3), &identity(1, 1), 2),
            Claim::Refused(LoginStatus::SessionDoesNotExist)
        );
        assert_eq!(claim(&mut registry, owner(3), &identity(1, 2), 2), Claim::Joins(0));
        assert_eq!(claim(&mut registry, owner(4), &identity(1, 0), 2), Claim::Ends(0, Tsih(2)));
    }

    // RFC 7143 7.15-2.
    #[test]
    fn a_session_is_reinstated_after_the_old_one_has_ended() {
        let mut registry = Registry::default();
        assert_eq!(claim(&mut registry, owner(1), &identity(1, 0), 1), Claim::Granted(Tsih(1)));
        assert_eq!(claim(&mut registry, owner(2), &identity(1, 0), 1), Claim::Ends(0, Tsih(1)));
        assert_eq!(registry.release(Tsih(1)), Some((owner(2), Tsih(2))));
        assert_eq!(registry.release(Tsih(2)), None);
        assert_eq!(claim(&mut registry, owner(3), &identity(1, 0), 1), Claim::Granted(Tsih(3)));
    }

    #[test]
    fn a_successor_that_goes_away_leaves_the_session_to_end_alone() {
        let mut registry = Registry::default();
        assert_eq!(claim(&mut registry, owner(1), &identity(1, 0), 1), Claim::Granted(Tsih(1)));
        assert_eq!(claim(&mut registry, owner(2), &identity(1, 0), 1), Claim::Ends(0, Tsih(1)));
        assert_eq!(claim(&mut registry, owner(3), &identity(1, 0), 1), Claim::Refused(LoginStatus::OutOfResources));
        registry.withdraw(owner(2));
        assert_eq!(registry.release(Tsih(1)), None);
        assert_eq!(claim(&mut registry, owner(4), &identity(1, 0), 1), Claim::Granted(Tsih(2)));
    }

    #[test]
    fn a_handle_must_be_that_of_the_session() {
        let mut registry = Registry::default();
        assert_eq!(
            claim(&mut registry, owner(1), &identity(1, 9), 1),
            Claim::Refused(LoginStatus::SessionDoesNotExist)
        );
        assert_eq!(claim(&mut registry, owner(1), &identity(1, 0), 1), Claim::Granted(Tsih(1)));
        assert_eq!(
            claim(&mut registry, owner(2), &identity(2, 1), 1),
            Claim::Refused(LoginStatus::SessionDoesNotExist)
        );
        assert_eq!(
            claim(&mut registry, owner(2), &identity(1, 9), 1),
            Claim::Refused(LoginStatus::SessionDoesNotExist)
        );
        assert_eq!(claim(&mut registry, owner(2), &identity(1, 1), 1), Claim::Joins(0));
        assert_eq!(registry.release(Tsih(1)), None);
        assert_eq!(
            claim(&mut registry, owner(2), &identity(1, 1), 1),
            Claim::Refused(LoginStatus::SessionDoesNotExist)
        );
    }

    fn discovery(target_name: Option<&str>, tsih: u16) -> LoginIdentity {
        let target_name = target_name.map(Into::into);
        LoginIdentity { session_type: SessionType::Discovery, target_name, ..identity(1, tsih) }
    }

    // RFC 7143 7.4.2.1-1, 7.4.2.1-2, 7.4.2.1-3, 7.4.2.1-4, 7.4.2.1-5
    #[test]
    fn discovery_without_a_target_is_one_session_at_each_address() {
        let mut registry = Registry::default();
        assert_eq!(claim(&mut registry, owner(1), &identity(1, 0), 1), Claim::Granted(Tsih(1)));
        let unnamed = discovery(None, 0);
        assert_eq!(claim(&mut registry, owner(2), &unnamed, 1), Claim::Granted(Tsih(2)));
        assert_eq!(claim(&mut registry, owner(3), &unnamed, 2), Claim::Granted(Tsih(3)));
        let other = LoginIdentity { isid: Isid([0x80, 0, 0, 0, 0, 2]), ..unnamed.clone() };
        assert_eq!(claim(&mut registry, owner(4), &other, 1), Claim::Granted(Tsih(4)));
        assert_eq!(claim(&mut registry, owner(5), &unnamed, 1), Claim::Ends(0, Tsih(2)));
        assert_eq!(registry.release(Tsih(2)), Some((owner(5), Tsih(5))));
        // It has one connection.
        assert_eq!(
            claim(&mut registry, owner(6), &discovery(None, 5), 1),
            Claim::Refused(LoginStatus::SessionDoesNotExist)
        );
    }

    // RFC 7143 7.4.2.2-1
    #[test]
    fn discovery_of_a_target_is_a_session_like_others_of_it() {
        let mut registry = Registry::default();
        let named = |tsih| discovery(Some("iqn.2026-01.test:target"), tsih);
        assert_eq!(claim(&mut registry, owner(1), &named(0), 1), Claim::Granted(Tsih(1)));
        assert_eq!(claim(&mut registry, owner(2), &named(0), 1), Claim::Ends(0, Tsih(1)));
        assert_eq!(registry.release(Tsih(1)), Some((owner(2), Tsih(2))));
        // Neither joins the other.
        assert_eq!(
            claim(&mut registry, owner(3), &identity(1, 2), 1),
            Claim::Refused(LoginStatus::SessionDoesNotExist)
        );
        assert_eq!(claim(&mut registry, owner(3), &identity(1, 0), 1), Claim::Ends(0, Tsih(2)));
        assert_eq!(registry.release(Tsih(2)), Some((owner(3), Tsih(3))));
        // What was proven for discovery ends no session of those who have proven what the target asks for.
        assert_eq!(claim(&mut registry, owner(4), &named(0), 1), Claim::Refused(LoginStatus::SessionTypeNotSupported));
        assert_eq!(claim(&mut registry, owner(4), &named(3), 1), Claim::Refused(LoginStatus::SessionDoesNotExist));
        assert_eq!(claim(&mut registry, owner(4), &identity(1, 3), 1), Claim::Joins(0));
    }
}
