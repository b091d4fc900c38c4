//! How a node moves PDUs: from the port to the login or the session, and back.

use super::event::Event;
use super::node::{InitiatorNode, Phase};
use iscsi_pdu::{InitiatorTaskTag, Pdu};
use iscsi_session::initiator::{LoginEvent, Session};
use iscsi_session::{BadPdu, LoginOutcome};
use iscsi_transport::{Digests, Flush, PduPort, PortError, ReceiveLimits, Received};
use std::time::Instant;

/// PDUs that are handled in one turn.
const PDUS_PER_TURN: usize = 256;

impl<P: PduPort> InitiatorNode<P> {
    /// The port may have become readable or writable. Returns whether there may be more to receive at once: a target that sends
    /// without end leaves its initiator time for other things.
    pub fn drive(&mut self, now: Instant) -> bool {
        for _ in 0..PDUS_PER_TURN {
            self.transmit();
            self.stalled = !self.port.can_send();
            if matches!(self.phase, Phase::Ended) || self.stalled {
                return false;
            }
            match self.port.receive() {
                Ok(None) => return false,
                Ok(Some(received)) => self.handle_received(now, received),
                Err(error) => {
                    self.lose(now, Event::ConnectionLost(error));
                    return false;
                }
            }
        }
        true
    }

    /// Hands queued PDUs to the world. Returns whether `drive`, which had stopped for want of room, is to be called again.
    pub fn flush(&mut self, now: Instant) -> bool {
        loop {
            let queued = self.transmit();
            match self.port.flush() {
                Ok(Flush::Done) if queued > 0 => {}
                Ok(_) => return self.stalled && self.port.can_send(),
                Err(error) => {
                    self.lose(now, Event::ConnectionLost(error));
                    return false;
                }
            }
        }
    }

    pub(super) fn transmit(&mut self) -> usize {
        let mut queued = 0;
        while self.port.can_send() {
            let pdu = match &mut self.phase {
                Phase::Login(login, _) => login.poll_transmit(),
                Phase::FullFeature(session, cid) => session.poll_transmit(*cid),
                Phase::Ended => None,
            };
            let Some(pdu) = pdu else { break };
            self.port.send(pdu.encode());
            queued += 1;
        }
        queued
    }

    pub(super) fn handle_received(&mut self, now: Instant, received: Received) {
        match (&mut self.phase, received) {
            (Phase::Login(login, _), Received::Frame(frame)) => {
                let header = frame.header;
                match Pdu::decode(frame) {
                    Ok(pdu) => login.handle_pdu(now, pdu),
                    Err(error) => login.handle_undecodable(now, header, error),
                }
            }
            (Phase::FullFeature(session, cid), Received::Frame(frame)) => {
                let header = frame.header;
                match Pdu::decode(frame) {
                    Ok(pdu) => session.handle_pdu(now, *cid, pdu),
                    Err(error) => session.handle_bad_pdu(now, *cid, header, BadPdu::Undecodable(error)),
                }
            }
            (Phase::FullFeature(session, cid), Received::BadDataDigest(header)) => {
                session.handle_bad_pdu(now, *cid, header, BadPdu::DataDigest);
            }
            (Phase::FullFeature(..), Received::BadHeaderDigest(header)) => {
                return self.lose(now, Event::ConnectionLost(PortError::header_digest(&header)));
            }
            (Phase::Login(..), Received::BadDataDigest(_) | Received::BadHeaderDigest(_)) => {
                unreachable!("no digest is checked during login")
            }
            (Phase::Ended, _) => {}
        }
        self.handle_events(now);
    }

    pub(super) fn handle_events(&mut self, now: Instant) {
        while let Phase::Login(login, tag) = &mut self.phase
            && let Some(event) = login.poll_event()
        {
            let tag = *tag;
            match event {
                LoginEvent::Complete(outcome) => self.begin_session(outcome, tag, now),
                LoginEvent::Redirected { address, permanent } => {
                    self.end(Event::Redirected { address, permanent });
                }
                LoginEvent::Failed(failure) => self.end(Event::LoginFailed(failure)),
            }
        }
        while let Phase::FullFeature(session, _) = &mut self.phase
            && let Some(event) = session.poll_event()
        {
            self.handle_session_event(now, event);
        }
    }

    // RFC 7143 13.1-2: digests protect what follows the login.
    pub(super) fn begin_session(&mut self, outcome: Box<LoginOutcome>, tag: InitiatorTaskTag, now: Instant) {
        self.port.release(tag.0);
        let parameters = &outcome.parameters;
        self.port.set_digests(Digests { header: parameters.header_digest, data: parameters.data_digest });
        self.port.set_receive_limits(ReceiveLimits::of_segments(parameters.receive_segment_bytes_max));
        let session = Session::new(&outcome, self.config, now);
        self.phase = Phase::FullFeature(Box::new(session), outcome.cid);
        self.events.push_back(Event::LoggedIn(outcome));
    }

    /// RFC 7143 7.1.4.3-1, 7.14-1: the owner drops a port that has failed, and the session ends with it: session recovery.
    pub(super) fn lose(&mut self, now: Instant, why: Event) {
        if let Phase::FullFeature(session, cid) = &mut self.phase {
            session.handle_connection_lost(now, *cid);
            self.lose_all();
        }
        if !matches!(self.phase, Phase::Ended) {
            self.end(why);
        }
    }

    // RFC 7143 11.13.5-4, 11.14-5, 11.15-1: the owner drops an ended node, and with it the connection.
    pub(super) fn end(&mut self, event: Event) {
        self.transmit();
        self.phase = Phase::Ended;
        self.events.push_back(event);
    }
}
