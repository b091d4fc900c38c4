//! One connection: a port, and what the protocol has come to on it.
//!
//! In: readiness of the port, ends of block I/O, time. Out: PDUs through the port, block I/O and events through the [`Outbox`].

use super::event::{ConnectionId, Event, Outbox};
use super::portal::Portal;
use super::session::{Context, Session};
use iscsi_pdu::{Pdu, TargetTransferTag, Tsih};
use iscsi_session::BadPdu;
use iscsi_session::target::{Login, LoginEvent, Refusal, TaskId};
use iscsi_transport::{Digests, Flush, PduPort, PortError, ReceiveLimits, Received};
use scsi_block::io::IoDone;
use std::time::{Duration, Instant};

/// PDUs that one connection may have handled before another gets its turn.
const PDUS_PER_TURN: usize = 256;

/// Time that a peer has to take the last PDUs of a connection that is over.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

enum Phase {
    Login(Box<Login>),
    FullFeature(Box<Session>),
}

/// What the connection is good for still.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    Open,
    /// Nothing is received any more; what is queued is sent until then.
    Closing(Instant),
    /// Nothing is received or sent.
    Dead,
}

pub(super) struct Connection<P> {
    id: ConnectionId,
    port: P,
    phase: Phase,
    link: Link,
    local_address: String,
    /// Receiving stopped because the port could not take an answer.
    stalled: bool,
    /// The peer has closed its half: the port is to be asked until it says so.
    pub(super) read_closed: bool,
    /// Whether the node's list of connections to drive again holds this one.
    pub(super) has_more: bool,
    /// The entry that the node's timers hold for this connection.
    pub(super) timer_at: Option<Instant>,
    /// Whether the node's list of connections to flush holds this one.
    pub(super) to_flush: bool,
}

impl<P: PduPort> Connection<P> {
    pub(super) fn new(id: ConnectionId, mut port: P, login: Login, local_address: String) -> Self {
        port.set_receive_limits(ReceiveLimits::LOGIN);
        Self {
            id,
            port,
            phase: Phase::Login(Box::new(login)),
            link: Link::Open,
            local_address,
            stalled: false,
            read_closed: false,
            has_more: false,
            timer_at: None,
            to_flush: false,
        }
    }

    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }

    /// Whether nothing is left: no link, no block I/O.
    pub(super) fn is_over(&self) -> bool {
        let ios = match &self.phase {
            Phase::FullFeature(session) => session.ios_in_flight(),
            Phase::Login(_) => 0,
        };
        self.link == Link::Dead && ios == 0
    }

    pub(super) fn target(&self) -> Option<usize> {
        match &self.phase {
            Phase::FullFeature(session) => session.target(),
            Phase::Login(_) => None,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match (&self.phase, self.link) {
            (_, Link::Dead) => None,
            (_, Link::Closing(until)) => Some(until),
            (Phase::Login(login), _) => login.poll_timeout(),
            (Phase::FullFeature(session), _) => session.machine.poll_timeout(),
        }
    }

    /// Receives what has come and answers it. Returns whether there may be more to receive at once.
    pub(super) fn pump(&mut self, now: Instant, portal: &Portal, outbox: &mut Outbox) -> bool {
        for _ in 0..PDUS_PER_TURN {
            self.transmit(portal, outbox);
            self.stalled = !self.port.can_send();
            if self.link != Link::Open || self.stalled {
                return false;
            }
            match self.port.receive() {
                Ok(None) if std::mem::take(&mut self.read_closed) => {}
                Ok(None) => return false,
                Ok(Some(received)) => self.handle_received(now, received, portal, outbox),
                Err(error) => {
                    self.lose(error, outbox);
                    return false;
                }
            }
        }
        true
    }

    /// Hands queued PDUs to the world. Returns whether receiving, which had stopped for want of room, can go on.
    pub(super) fn flush(&mut self, portal: &Portal, outbox: &mut Outbox) -> bool {
        if self.link == Link::Dead {
            return false;
        }
        loop {
            let queued = self.transmit(portal, outbox);
            match self.port.flush() {
                Ok(Flush::Done) if queued > 0 => {}
                Ok(Flush::Done) => break,
                Ok(Flush::Pending) => return self.stalled && self.port.can_send(),
                Err(error) => {
                    self.lose(error, outbox);
                    return false;
                }
            }
        }
        if matches!(self.link, Link::Closing(_)) {
            self.kill();
        }
        self.stalled
    }

    /// Queues PDUs as long as the port takes them, and lets tasks go on that waited for others. Returns how many were queued.
    fn transmit(&mut self, portal: &Portal, outbox: &mut Outbox) -> usize {
        if self.link == Link::Dead {
            return 0;
        }
        let (phase, mut context) = self.split(portal, outbox);
        if let Phase::FullFeature(session) = phase {
            session.ask_waiting(&mut context);
        }
        let mut queued = 0;
        while self.port.can_send() {
            let pdu = match &mut self.phase {
                Phase::Login(login) => login.poll_transmit(),
                Phase::FullFeature(session) => {
                    let cid = session.outcome().cid;
                    session.machine.poll_transmit(cid)
                }
            };
            let Some(pdu) = pdu else { break };
            self.port.send(pdu.encode());
            queued += 1;
        }
        let (phase, mut context) = self.split(portal, outbox);
        if let Phase::FullFeature(session) = phase {
            session.start_waiting(&mut context);
        }
        queued
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, portal: &Portal, outbox: &mut Outbox) {
        if self.link != Link::Open {
            return self.kill();
        }
        match &mut self.phase {
            Phase::Login(login) => login.handle_timeout(now),
            Phase::FullFeature(session) => session.machine.handle_timeout(now),
        }
        self.handle_events(now, portal, outbox);
    }

    pub(super) fn handle_io_done(&mut self, task: TaskId, done: IoDone, portal: &Portal, outbox: &mut Outbox) {
        let alive = self.link != Link::Dead;
        let (phase, mut context) = self.split(portal, outbox);
        match phase {
            Phase::FullFeature(session) if alive => session.handle_io_done(task, done, &mut context),
            Phase::FullFeature(session) => session.forget_io_done(),
            Phase::Login(_) => {}
        }
    }

    /// The session may begin.
    pub(super) fn admit(&mut self, now: Instant, tsih: Tsih, portal: &Portal, outbox: &mut Outbox) {
        if let Phase::Login(login) = &mut self.phase {
            login.admit(tsih);
            self.handle_events(now, portal, outbox);
        }
    }

    /// The session may not begin.
    pub(super) fn refuse(&mut self, now: Instant, refusal: Refusal, portal: &Portal, outbox: &mut Outbox) {
        if let Phase::Login(login) = &mut self.phase {
            login.refuse(refusal);
            self.handle_events(now, portal, outbox);
        }
    }

    /// The initiator is to log out.
    pub(super) fn request_logout(&mut self, now: Instant, portal: &Portal, outbox: &mut Outbox) {
        match &mut self.phase {
            Phase::Login(_) => self.kill(),
            Phase::FullFeature(session) => {
                session.machine.request_logout(now);
                self.handle_events(now, portal, outbox);
            }
        }
    }

    /// Ends the connection without a word.
    pub(super) fn kill(&mut self) {
        self.link = Link::Dead;
        if let Phase::FullFeature(session) = &mut self.phase {
            session.release_tags(&mut self.port);
        }
    }

    fn lose(&mut self, error: PortError, outbox: &mut Outbox) {
        outbox.events.push_back(Event::ConnectionLost { connection: self.id, error });
        self.kill();
    }

    fn split<'a>(&'a mut self, portal: &'a Portal, outbox: &'a mut Outbox) -> (&'a mut Phase, Context<'a, P>) {
        let context = Context { id: self.id, portal, local_address: &self.local_address, port: &mut self.port, outbox };
        (&mut self.phase, context)
    }

    fn handle_received(&mut self, now: Instant, received: Received, portal: &Portal, outbox: &mut Outbox) {
        match (received, &mut self.phase) {
            (Received::Frame(frame), Phase::Login(login)) => match Pdu::decode(&frame) {
                Ok(pdu) => login.handle_pdu(now, pdu),
                Err(error) => login.handle_undecodable(now, frame.header, error),
            },
            (Received::Frame(frame), Phase::FullFeature(session)) => {
                let cid = session.outcome().cid;
                match Pdu::decode(&frame) {
                    Ok(pdu) => session.machine.handle_pdu(now, cid, pdu),
                    Err(error) => session.machine.handle_bad_pdu(now, cid, frame.header, BadPdu::Undecodable(error)),
                }
            }
            (Received::BadDataDigest(header), Phase::FullFeature(session)) => {
                let cid = session.outcome().cid;
                session.machine.handle_bad_pdu(now, cid, header, BadPdu::DataDigest);
            }
            (Received::BadDataDigest(_), Phase::Login(_)) => unreachable!("no digest is checked during login"),
        }
        self.handle_events(now, portal, outbox);
    }

    fn handle_events(&mut self, now: Instant, portal: &Portal, outbox: &mut Outbox) {
        if let Phase::Login(_) = &self.phase {
            self.handle_login_events(now, portal, outbox);
        }
        let (phase, mut context) = self.split(portal, outbox);
        if let Phase::FullFeature(session) = phase
            && session.handle_events(&mut context)
        {
            self.link = Link::Closing(now + CLOSE_TIMEOUT);
        }
    }

    fn handle_login_events(&mut self, now: Instant, portal: &Portal, outbox: &mut Outbox) {
        while let Phase::Login(login) = &mut self.phase
            && let Some(event) = login.poll_event()
        {
            match event {
                LoginEvent::Identify(identity) => login.identify(portal.identify(&identity)),
                LoginEvent::Admit(identity) => {
                    outbox.events.push_back(Event::Admit { connection: self.id, identity });
                }
                LoginEvent::Complete(outcome) => {
                    self.transmit(portal, outbox);
                    let digests =
                        Digests { header: outcome.parameters.header_digest, data: outcome.parameters.data_digest };
                    self.port.set_digests(digests);
                    let limits = ReceiveLimits::of_segments(outcome.parameters.receive_segment_bytes_max);
                    self.port.set_receive_limits(limits);
                    outbox.events.push_back(Event::SessionOpened { connection: self.id, outcome: outcome.clone() });
                    let ping_tag = TargetTransferTag(self.port.reserve(0));
                    self.phase = Phase::FullFeature(Box::new(Session::new(outcome, portal, ping_tag, now)));
                }
                LoginEvent::Closed(failure) => {
                    outbox.events.push_back(Event::LoginFailed { connection: self.id, failure });
                    self.link = Link::Closing(now + CLOSE_TIMEOUT);
                    return;
                }
            }
        }
    }
}
