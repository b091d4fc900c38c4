//! What a node says to its owner, and the names of the things it speaks of.

use super::portal::PortalAddress;
use super::sessions::SessionId;
use iscsi_pdu::Tsih;
use iscsi_session::target::{LoginIdentity, TaskId};
use iscsi_session::{CloseReason, LoginFailure, LoginOutcome};
use iscsi_transport::PortError;
use scsi_block::io::BlockIo;
use slab::Slab;
use std::collections::VecDeque;

/// Names a connection of one node. No later connection of the node has the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    /// A small number that is free for another connection after this one has ended.
    pub index: u32,
    /// Tells connections with the same index apart.
    pub generation: u32,
}

/// Names a store: a logical unit of one of the portal's targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StoreId {
    /// Place of the target in [`Portal::targets`](super::Portal::targets).
    pub target: usize,
    /// Place of the logical unit in the target's device.
    pub unit: usize,
}

/// Block I/O for a store; to be answered with [`TargetNode::handle_io_done`](super::TargetNode::handle_io_done).
#[derive(Debug)]
pub struct IoRequest {
    /// Names the request.
    pub id: u64,
    /// Where it goes.
    pub store: StoreId,
    /// What is asked.
    pub io: BlockIo,
    /// Whether others' requests may go first: it is one of many of a long command.
    pub patient: bool,
}

/// What the owner of a node has to know or to decide.
#[derive(Debug)]
pub enum Event {
    /// A login is done but for the owner's consent. If it asks for a new session, the owner ends one of the same identity if there is
    /// one, then calls [`admit`](super::TargetNode::admit); if it names a session, the owner calls
    /// [`join`](super::TargetNode::join), on the node that has the session; or it calls [`refuse`](super::TargetNode::refuse).
    Admit {
        /// The connection.
        connection: ConnectionId,
        /// Who wants what.
        identity: LoginIdentity,
        /// The portal that it comes through. Sessions of two portal groups are never the same (RFC 7143 section 4.4.3), nor discovery sessions
        /// without a target at two addresses (section 7.4.2.1).
        portal: PortalAddress,
    },
    /// A session has begun.
    SessionOpened {
        /// The connection.
        connection: ConnectionId,
        /// What was agreed upon.
        outcome: Box<LoginOutcome>,
    },
    /// A connection has joined a session.
    ConnectionJoined {
        /// The connection.
        connection: ConnectionId,
        /// What was agreed upon.
        outcome: Box<LoginOutcome>,
    },
    /// A session has lost a connection, which will end, and goes on with others.
    ConnectionClosed {
        /// The connection.
        connection: ConnectionId,
        /// Why.
        reason: CloseReason,
    },
    /// A session takes no more commands, and its connections will end.
    SessionClosed {
        /// The session.
        tsih: Tsih,
        /// Why.
        reason: CloseReason,
    },
    /// A login has failed, and its connection will end.
    LoginFailed {
        /// The connection.
        connection: ConnectionId,
        /// Why.
        failure: LoginFailure,
    },
    /// The port has failed.
    ConnectionLost {
        /// The connection.
        connection: ConnectionId,
        /// Why.
        error: PortError,
    },
    /// An initiator that may do so has reset a target: all its sessions are to end, on every core, with
    /// [`TargetNode::end_sessions_of`](super::TargetNode::end_sessions_of).
    TargetColdReset {
        /// Place of the target in [`Portal::targets`](super::Portal::targets).
        target: usize,
    },
    /// The connection is over, and its port has been dropped.
    Ended {
        /// The connection.
        connection: ConnectionId,
    },
    /// A session is no more, or has never begun: its connections are over, and all its block I/O has come back. Another may take its
    /// place.
    SessionEnded {
        /// The handle that it was given.
        tsih: Tsih,
    },
}

/// What the connections of a node put out.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub(super) events: VecDeque<Event>,
    pub(super) requests: VecDeque<IoRequest>,
    /// Whose block I/O is in flight.
    pub(super) ios: Slab<(SessionId, IoOwner)>,
}

/// What of a session has asked for block I/O.
#[derive(Clone, Copy, Debug)]
pub(super) enum IoOwner {
    /// A task of a command.
    Task(TaskId),
    /// The task in this place of those whose commands have been answered.
    Answered(usize),
}
