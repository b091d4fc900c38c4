//! What drives a host's session: the node with its one port, or a [`Bundle`] with several.

use super::bundle::{Bundle, Event};
use super::link::Port;
use bytes::Bytes;
use iscsi_node::initiator::{InitiatorNode, Request};
use iscsi_pdu::TaskManagementFunction;
use iscsi_session::SendTargetsScope;
use scsi_block::LogicalUnitNumber;
use std::time::Instant;

#[derive(Debug)]
pub(crate) enum Client {
    Node(Box<InitiatorNode<Port>>),
    Bundle(Box<Bundle>),
}

macro_rules! either {
    ($client:expr, $inner:ident => $what:expr) => {
        match $client {
            Self::Node($inner) => $what,
            Self::Bundle($inner) => $what,
        }
    };
}

impl Client {
    pub(crate) fn drive(&mut self, now: Instant) -> bool {
        either!(self, client => client.drive(now))
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        either!(self, client => client.handle_timeout(now));
    }

    pub(crate) fn flush(&mut self, now: Instant) -> bool {
        either!(self, client => client.flush(now))
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        either!(self, client => client.poll_timeout())
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        match self {
            Self::Node(node) => node.poll_event().map(Event::Session),
            Self::Bundle(bundle) => bundle.poll_event(),
        }
    }

    pub(crate) fn window(&self) -> u32 {
        either!(self, client => client.window())
    }

    /// Whether something may be asked for: a session that has lost its last connection may go on with another.
    pub(crate) fn is_connected(&self) -> bool {
        match self {
            Self::Node(_) => true,
            Self::Bundle(bundle) => bundle.is_connected(),
        }
    }

    /// Whether the command was taken.
    pub(crate) fn submit(&mut self, now: Instant, token: u64, request: Request) -> bool {
        either!(self, client => client.submit(now, token, request).is_ok())
    }

    pub(crate) fn manage(
        &mut self,
        now: Instant,
        token: u64,
        function: TaskManagementFunction,
        lun: LogicalUnitNumber,
    ) {
        either!(self, client => client.manage(now, token, function, lun));
    }

    pub(crate) fn ping(&mut self, now: Instant, token: u64, data: Bytes) {
        either!(self, client => client.ping(now, token, data));
    }

    pub(crate) fn send_targets(&mut self, now: Instant, token: u64, scope: SendTargetsScope) {
        either!(self, client => client.send_targets(now, token, scope));
    }

    pub(crate) fn logout(&mut self, now: Instant, token: u64) {
        either!(self, client => client.logout(now, token));
    }

    /// A bundle gives up a connection without need.
    pub(crate) fn retire(&mut self, now: Instant) {
        if let Self::Bundle(bundle) = self {
            bundle.retire(now);
        }
    }
}
