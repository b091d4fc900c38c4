//! What a node tells of its sessions when it is asked: plain values, as they are at that moment.

use super::connection::{Connection, Phase};
use super::event::ConnectionId;
use super::node::TargetNode;
use super::session::Session;
use iscsi_pdu::{Cid, Isid, Tsih};
use iscsi_session::target::TaskOutcome;
use iscsi_session::{Parameters, SessionType};
use iscsi_transport::PduPort;

/// What a session has moved since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Commands that were answered.
    pub commands: u64,
    /// Bytes that commands have read.
    pub read_bytes: u64,
    /// Bytes that commands have written.
    pub written_bytes: u64,
}

impl Traffic {
    /// A command is answered.
    pub(super) fn count(&mut self, outcome: &TaskOutcome) {
        self.commands += 1;
        self.read_bytes += outcome.data_in.len() as u64;
        self.written_bytes += u64::from(outcome.data_out_length);
    }
}

/// A session at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSnapshot {
    /// InitiatorName, normalised.
    pub initiator_name: String,
    /// The initiator's half of the session's identity.
    pub isid: Isid,
    /// The target's handle for the session.
    pub tsih: Tsih,
    /// TargetName; none in a discovery session that named no target.
    pub target_name: Option<String>,
    /// The portal group that all its connections come through.
    pub portal_group_tag: u16,
    /// Normal or discovery.
    pub session_type: SessionType,
    /// The CHAP name that the initiator has proven, if it was asked to.
    pub authenticated_as: Option<String>,
    /// Commands that have come and were not answered yet.
    pub open_commands: usize,
    /// What it has moved.
    pub traffic: Traffic,
    /// How often the initiator has broken a rule of RFC 7143; commands that it sends again without need, and SNACKs that come too late,
    /// are among that.
    pub violations: u64,
    /// Its connections; none for a while if it waits for the initiator to come back.
    pub connections: Vec<ConnectionSnapshot>,
}

/// A connection of a session at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSnapshot {
    /// The node's name for it.
    pub id: ConnectionId,
    /// The initiator's.
    pub cid: Cid,
    /// What was negotiated; what belongs to the session is the same for all its connections.
    pub parameters: Parameters,
}

impl<P: PduPort> TargetNode<P> {
    /// The sessions that have not ended.
    pub fn snapshot(&self) -> Vec<SessionSnapshot> {
        self.sessions.iter().filter(|session| !session.machine.is_closed()).map(|session| self.tell(session)).collect()
    }

    fn tell(&self, session: &Session) -> SessionSnapshot {
        let outcome = &*session.outcome;
        let connections = session.connections.iter().filter_map(|(_, id)| tell(self.connections.get(*id)?));
        SessionSnapshot {
            initiator_name: outcome.initiator_name.clone(),
            isid: outcome.isid,
            tsih: outcome.tsih,
            target_name: outcome.target_name.clone(),
            portal_group_tag: session.portal_group_tag(),
            session_type: outcome.session_type,
            authenticated_as: outcome.authenticated_as.clone(),
            open_commands: session.machine.tasks(),
            traffic: session.traffic,
            violations: session.violations,
            connections: connections.collect(),
        }
    }
}

fn tell<P>(connection: &Connection<P>) -> Option<ConnectionSnapshot> {
    match &connection.phase {
        Phase::FullFeature(allegiance) => Some(ConnectionSnapshot {
            id: connection.id(),
            cid: allegiance.cid,
            parameters: Parameters::clone(&allegiance.parameters),
        }),
        Phase::Login(_) => None,
    }
}
