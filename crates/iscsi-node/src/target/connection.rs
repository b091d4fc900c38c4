//! One connection: a port, and what the protocol has come to on it.
//!
//! In: PDUs from the port. Out: PDUs to it. A connection in the full feature phase refers to its session, which does the rest.

use super::access::Entrance;
use super::detached::Detached;
use super::event::ConnectionId;
use super::flow::Flow;
use super::sessions::SessionId;
use super::timers::Entry;
use iscsi_pdu::{Cid, TargetTransferTag};
use iscsi_session::target::Login;
use iscsi_session::{Authentication, Parameters};
use iscsi_transport::{Digests, PduPort, PortError, ReceiveLimits, Received};
use std::time::{Duration, Instant};

/// Time that a peer has to take the last PDUs of a connection that is over.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) enum Phase {
    Login(Box<Login>),
    FullFeature(Allegiance),
}

/// Which session a connection belongs to, and what is under way on it.
pub(super) struct Allegiance {
    pub(super) session: SessionId,
    pub(super) cid: Cid,
    pub(super) flow: Flow,
    /// What was negotiated.
    pub(super) parameters: Box<Parameters>,
}

/// What the connection is good for still.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Open,
    /// Nothing is received any more; what is queued is sent until then.
    Closing(Instant),
    /// The same, but that it ends before then when the peer has closed it: then that has all that was sent.
    Leaving(Instant),
    /// Nothing is received or sent.
    Dead,
}

pub(super) struct Connection<P> {
    id: ConnectionId,
    pub(super) port: P,
    pub(super) phase: Phase,
    link: Link,
    /// What the initiator has connected to.
    pub(super) entrance: Entrance,
    /// What the login was asked to prove.
    pub(super) proof: Option<Authentication>,
    /// Receiving stopped because the port could not take an answer.
    pub(super) stalled: bool,
    /// Whether the node's list of connections to drive again holds this one.
    pub(super) has_more: bool,
    /// Whether the node's list of connections to flush holds this one.
    pub(super) to_flush: bool,
    /// The entry that the node's timers hold for this connection.
    pub(super) timer: Entry,
}

impl<P> Connection<P> {
    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }

    pub(super) fn is_open(&self) -> bool {
        self.link == Link::Open
    }

    pub(super) fn is_dead(&self) -> bool {
        self.link == Link::Dead
    }

    /// The session, and the number that it knows the connection by.
    pub(super) fn session(&self) -> Option<(SessionId, Cid)> {
        match &self.phase {
            Phase::FullFeature(Allegiance { session, cid, .. }) => Some((*session, *cid)),
            Phase::Login(_) => None,
        }
    }

    pub(super) fn allegiance(&mut self) -> Option<&mut Allegiance> {
        match &mut self.phase {
            Phase::FullFeature(allegiance) => Some(allegiance),
            Phase::Login(_) => None,
        }
    }

    /// Whether tasks wait until their data may be asked for.
    pub(super) fn has_tasks_to_ask(&self) -> bool {
        matches!(&self.phase, Phase::FullFeature(allegiance) if !allegiance.flow.waiting_for_data.is_empty())
    }

    /// Whether tasks wait until read data has left.
    pub(super) fn has_tasks_to_start(&self) -> bool {
        matches!(&self.phase, Phase::FullFeature(allegiance) if !allegiance.flow.waiting.is_empty())
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match (&self.phase, self.link) {
            (_, Link::Dead) => None,
            (_, Link::Closing(until) | Link::Leaving(until)) => Some(until),
            (Phase::Login(login), Link::Open) => login.poll_timeout(),
            (Phase::FullFeature(_), Link::Open) => None,
        }
    }

    /// The time that `poll_timeout` gave has come.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Login(login) if self.link == Link::Open => login.handle_timeout(now),
            _ => self.kill(),
        }
    }

    /// Nothing is received any more, and the connection ends when what is queued is sent, or could be.
    pub(super) fn close(&mut self, now: Instant) {
        if self.link == Link::Open {
            self.link = Link::Closing(now + CLOSE_TIMEOUT);
        }
    }

    // RFC 7143 4.2.2.3.2-1: what the session goes on with waits for that.
    /// The connection was logged out: nothing is received any more, and it ends when the peer closes it, which it does when all that was
    /// queued has come.
    pub(super) fn leave(&mut self, now: Instant) {
        if self.link == Link::Open {
            self.link = Link::Leaving(now + CLOSE_TIMEOUT);
        }
    }

    /// Ends the connection without a word.
    pub(super) fn kill(&mut self) {
        self.link = Link::Dead;
    }
}

impl<P: PduPort> Connection<P> {
    pub(super) fn new(id: ConnectionId, mut port: P, login: Box<Login>, entrance: Entrance) -> Self {
        port.set_receive_limits(ReceiveLimits::LOGIN);
        Self {
            id,
            port,
            phase: Phase::Login(login),
            link: Link::Open,
            entrance,
            proof: None,
            stalled: false,
            has_more: false,
            to_flush: false,
            timer: None,
        }
    }

    /// The connection without its node, if it is still in login.
    pub(super) fn detach(self) -> Option<Detached<P>> {
        match self.phase {
            Phase::Login(login) => {
                Some(Detached { port: self.port, login, entrance: self.entrance, proof: self.proof })
            }
            Phase::FullFeature(_) => None,
        }
    }

    /// The next PDU, unless the port could not take an answer to it.
    pub(super) fn receive(&mut self) -> Result<Option<Received>, PortError> {
        self.stalled = !self.port.can_send();
        match self.link {
            Link::Open if !self.stalled => self.port.receive(),
            Link::Leaving(_) => {
                // Nothing comes behind a logout.
                if !matches!(self.port.receive(), Ok(None)) {
                    self.kill();
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// All that was queued has gone. After a logout the connection is half closed (RFC 7143 section 11.14).
    pub(super) fn handle_flushed(&mut self) {
        match self.link {
            Link::Closing(_) => self.kill(),
            Link::Leaving(_) => self.port.finish(),
            Link::Open | Link::Dead => {}
        }
    }

    /// Queues what the login has to say. Returns whether there may be more when the port is flushed.
    pub(super) fn transmit_login(&mut self) -> bool {
        while let Phase::Login(login) = &mut self.phase
            && self.port.can_send()
            && let Some(pdu) = login.poll_transmit()
        {
            self.port.send(pdu.encode());
        }
        !self.port.can_send()
    }

    /// The login ends here: what it has to say goes even if the port is full, one PDU beyond its bound, and what was agreed upon holds from
    /// then on; no longer segment is sent than the port can, whatever the peer takes. Returns a tag that places nothing.
    pub(super) fn conclude_login(&mut self, parameters: &mut Parameters) -> TargetTransferTag {
        while let Phase::Login(login) = &mut self.phase
            && let Some(pdu) = login.poll_transmit()
        {
            self.port.send(pdu.encode());
        }
        self.port.set_digests(Digests { header: parameters.header_digest, data: parameters.data_digest });
        self.port.set_receive_limits(ReceiveLimits::of_segments(parameters.receive_segment_bytes_max));
        let port_max = self.port.capabilities().send_segment_bytes_max;
        parameters.send_segment_bytes_max = parameters.send_segment_bytes_max.min(port_max);
        TargetTransferTag(self.port.reserve(0))
    }
}
