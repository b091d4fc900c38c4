//! A connection between two nodes: its login is done but for the consent of the node that has the session.

use super::access::Entrance;
use iscsi_session::Authentication;
use iscsi_session::target::Login;

/// A connection that has left one node, to [join](super::TargetNode::join) a session of another.
pub struct Detached<P> {
    pub(super) port: P,
    pub(super) login: Box<Login>,
    pub(super) entrance: Entrance,
    pub(super) proof: Option<Authentication>,
}

impl<P> Detached<P> {
    /// The same connection, with what `change` makes of its port.
    pub fn map_port<Q>(self, change: impl FnOnce(P) -> Q) -> Detached<Q> {
        let Self { port, login, entrance, proof } = self;
        Detached { port: change(port), login, entrance, proof }
    }

    /// The port, for what does not carry PDUs.
    pub fn port_mut(&mut self) -> &mut P {
        &mut self.port
    }
}

impl<P> std::fmt::Debug for Detached<P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Detached").field("entrance", &self.entrance).finish_non_exhaustive()
    }
}
