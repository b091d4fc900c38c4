//! What the owner of a target decides (RFC 7143 sections 6.3.5 and 7.4.2): which login may begin, and whose end it waits for.

use super::bugs::Bug;
use iscsi_node::target::ConnectionId;
use iscsi_pdu::{Isid, Tsih};
use iscsi_session::target::LoginIdentity;

/// Initiator, ISID, target. There is one portal, so that discovery without a target is of its address.
type Name = (String, Isid, Option<String>);

#[derive(Debug)]
struct Session {
    name: Name,
    tsih: Tsih,
    successor: Option<ConnectionId>,
}

/// What is to be done about a login.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Admit(Tsih),
    /// The connection may join the session that it names.
    Join,
    /// This session is to be ended first.
    End(Tsih),
    Refuse,
}

/// The sessions of the target.
#[derive(Debug)]
pub(crate) struct Registry {
    sessions: Vec<Session>,
    last_tsih: u16,
    bug: Option<Bug>,
}

impl Registry {
    pub(crate) fn new(bug: Option<Bug>) -> Self {
        Self { sessions: Vec::new(), last_tsih: 0, bug }
    }

    pub(crate) fn claim(&mut self, connection: ConnectionId, identity: &LoginIdentity) -> Claim {
        let name = (identity.initiator_name.clone(), identity.isid, identity.target_name.clone());
        let tsih = self.next_tsih();
        let Some(session) = self.sessions.iter_mut().find(|session| session.name == name) else {
            if identity.tsih != Tsih(0) {
                return Claim::Refuse;
            }
            self.sessions.push(Session { name, tsih, successor: None });
            return Claim::Admit(tsih);
        };
        if identity.tsih == session.tsih {
            return Claim::Join;
        }
        if identity.tsih != Tsih(0) || session.successor.is_some() {
            return Claim::Refuse;
        }
        if self.bug == Some(Bug::AdmitAtOnce) {
            session.tsih = tsih;
            return Claim::Admit(tsih);
        }
        session.successor = Some(connection);
        Claim::End(session.tsih)
    }

    /// A login has ended that may have waited for a session's end.
    pub(crate) fn withdraw(&mut self, connection: ConnectionId) {
        self.sessions.iter_mut().for_each(|session| {
            session.successor.take_if(|successor| *successor == connection);
        });
    }

    /// A session has ended; gives the login that has waited for it.
    pub(crate) fn ended(&mut self, tsih: Tsih) -> Option<(ConnectionId, Tsih)> {
        let place = self.sessions.iter().position(|session| session.tsih == tsih)?;
        let Some(successor) = self.sessions[place].successor.take() else {
            self.sessions.swap_remove(place);
            return None;
        };
        self.sessions[place].tsih = self.next_tsih();
        Some((successor, self.sessions[place].tsih))
    }

    /// Whether nobody is logged in.
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn next_tsih(&mut self) -> Tsih {
        self.last_tsih = self.last_tsih.wrapping_add(1).max(1);
        Tsih(self.last_tsih)
    }
}
