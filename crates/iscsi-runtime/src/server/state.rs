//! What a server tells of itself: plain values, as they are when it is asked.
//!
//! In: a question. Out: a [`ServerState`]. Targets are looked up where they are; sessions are asked of the cores that have them, by message,
//! since nobody else can see them. What is counted is counted by each session for itself.

use super::Server;
use super::core::Core;
use super::shared::{Message, Shared};
use crate::network::NetworkState;
use iscsi_node::target::{Availability, SessionSnapshot, StoreId, TargetConfig, Traffic};
use iscsi_pdu::{Cid, Isid, Tsih};
use iscsi_session::{Parameters, SessionType};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long a core may take to answer a question. It answers within a turn of its loop, so only one that has failed takes as long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// A server at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerState {
    /// Its targets, in the order in which they came.
    pub targets: Vec<TargetState>,
    /// Its sessions, by their handles.
    pub sessions: Vec<SessionState>,
    /// Cores that have not answered in time, whose sessions are not among those.
    pub silent_cores: usize,
}

/// A target at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetState {
    /// TargetName, normalised.
    pub name: String,
    /// TargetAlias, a text for people.
    pub alias: Option<String>,
    /// Whether logins are let in.
    pub offered: bool,
    /// Its logical units, by number.
    pub luns: Vec<LunState>,
    /// The portal groups through which it is reached, by tag.
    pub portal_groups: Vec<PortalGroupState>,
}

/// A logical unit at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LunState {
    /// Its number.
    pub number: u16,
    /// Size in bytes.
    pub bytes: u64,
    /// Bytes in a block.
    pub block_size: u32,
    /// Where its blocks are: `memory`, `null`, the path of a file or block device, or `other`.
    pub store: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Unit serial number.
    pub serial: String,
}

/// A portal group at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortalGroupState {
    /// Portal group tag.
    pub tag: u16,
    /// Where the server listens for it.
    pub addresses: Vec<SocketAddr>,
}

/// A session at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionState {
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
    /// The core that serves it: the first is 0.
    pub core: usize,
    /// Commands that have come and were not answered yet.
    pub open_commands: usize,
    /// What it has moved since it began.
    pub traffic: Traffic,
    /// How often the initiator has broken a rule of RFC 7143; commands that it sends again without need, and SNACKs that come too late,
    /// are among that.
    pub violations: u64,
    /// Its connections; none for a while if it waits for the initiator to come back.
    pub connections: Vec<ConnectionState>,
}

/// A connection at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionState {
    /// The initiator's number for it.
    pub cid: Cid,
    /// Our end.
    pub local: SocketAddr,
    /// The initiator's end.
    pub peer: SocketAddr,
    /// What was negotiated, digests among it.
    pub parameters: Parameters,
    /// What carries it.
    pub network: NetworkState,
}

impl Server {
    /// The targets and sessions that there are. It takes a turn of each core's loop, and never more than some seconds.
    #[must_use]
    pub fn state(&self) -> ServerState {
        let (answers, silent_cores) = self.shared.ask(Message::Tell);
        let mut sessions: Vec<SessionState> = answers.into_iter().flatten().collect();
        sessions.sort_by_key(|session| session.tsih.0);
        let portal = self.shared.portal();
        let targets = portal.targets.iter().enumerate().filter(|(_, target)| target.availability != Availability::Gone);
        let targets = targets.map(|(place, target)| self.target_state(place, target)).collect();
        ServerState { targets, sessions, silent_cores }
    }

    fn target_state(&self, place: usize, target: &TargetConfig) -> TargetState {
        let mut luns: Vec<LunState> = target
            .device
            .logical_units()
            .filter_map(|info| {
                let store = self.shared.describe(StoreId { target: place, unit: info.index })?;
                Some(LunState {
                    number: info.number.as_u16()?,
                    bytes: info.config.geometry.blocks.saturating_mul(info.config.geometry.block_size.into()),
                    block_size: info.config.geometry.block_size,
                    store,
                    read_only: info.config.read_only,
                    serial: info.config.identity.serial,
                })
            })
            .collect();
        luns.sort_by_key(|lun| lun.number);
        let listeners = self.shared.listeners.lock();
        let groups = target.device.target_port_groups().into_iter().map(|group| PortalGroupState {
            tag: group.number,
            addresses: listeners
                .0
                .iter()
                .filter(|listener| target.portal_group_tag(&listener.portal(listener.address)) == Some(group.number))
                .map(|listener| listener.address)
                .collect(),
        });
        TargetState {
            name: target.name.clone(),
            alias: target.alias.clone(),
            offered: target.availability == Availability::Open,
            luns,
            portal_groups: groups.collect(),
        }
    }
}

impl Shared {
    /// Asks every core something. Gives the answers, and the number of cores that have given none in time.
    pub(super) fn ask<T>(&self, question: impl Fn(mpsc::Sender<T>) -> Message) -> (Vec<T>, usize) {
        let (answer, answers) = mpsc::channel();
        self.mailboxes.iter().for_each(|mailbox| mailbox.send(question(answer.clone())));
        let until = Instant::now() + ANSWER_TIMEOUT;
        let next = || answers.recv_timeout(until.saturating_duration_since(Instant::now())).ok();
        let answers: Vec<T> = std::iter::from_fn(next).take(self.mailboxes.len()).collect();
        let silent = self.mailboxes.len() - answers.len();
        (answers, silent)
    }
}

impl Core {
    /// What this core knows of its sessions.
    pub(super) fn tell(&self) -> Vec<SessionState> {
        self.node.snapshot().into_iter().map(|session| self.tell_session(session)).collect()
    }

    fn tell_session(&self, session: SessionSnapshot) -> SessionState {
        let connections = session.connections.into_iter().filter_map(|connection| {
            // One that its peer has reset has no ends any more, and is about to go.
            let (network, (local, peer)) = self.node.port(connection.id)?.state()?;
            Some(ConnectionState { cid: connection.cid, local, peer, parameters: connection.parameters, network })
        });
        SessionState {
            connections: connections.collect(),
            core: self.index,
            initiator_name: session.initiator_name,
            isid: session.isid,
            tsih: session.tsih,
            target_name: session.target_name,
            portal_group_tag: session.portal_group_tag,
            session_type: session.session_type,
            authenticated_as: session.authenticated_as,
            open_commands: session.open_commands,
            traffic: session.traffic,
            violations: session.violations,
        }
    }
}
