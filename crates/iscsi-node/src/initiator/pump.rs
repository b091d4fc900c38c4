//! How a node moves PDUs: from a port to the login or the session that they are for, and back.

use super::connection::Connection;
use super::event::{ConnectionEnd, Event};
use super::node::{InitiatorNode, Phase};
use iscsi_pdu::{Cid, Pdu};
use iscsi_session::initiator::{LoginEvent, Session};
use iscsi_session::{BadPdu, LoginOutcome};
use iscsi_transport::{Flush, PduPort, PortError, Received};
use smallvec::SmallVec;
use std::time::Instant;

/// PDUs of one connection that are handled in one turn.
const PDUS_PER_TURN: usize = 256;

impl<P: PduPort> InitiatorNode<P> {
    /// Any port may have become readable or writable. Returns whether there may be more to receive at once: a target that sends
    /// without end leaves its initiator time for other things.
    pub fn drive(&mut self, now: Instant) -> bool {
        let cids: SmallVec<[Cid; 8]> = self.connections.iter().map(|connection| connection.cid).collect();
        let mut has_more = false;
        for cid in cids {
            has_more |= self.drive_connection(now, cid);
        }
        has_more
    }

    /// The port of this connection may have become readable or writable. Returns as [`drive`](Self::drive).
    pub fn drive_connection(&mut self, now: Instant, cid: Cid) -> bool {
        for _ in 0..PDUS_PER_TURN {
            let session = self.phase.session_mut();
            let Some(link) = self.connections.link_mut(cid) else { return false };
            link.transmit(cid, session);
            link.stalled = !link.port.can_send();
            if matches!(self.phase, Phase::Ended) || link.stalled {
                return false;
            }
            match link.port.receive() {
                Ok(None) => return false,
                Ok(Some(received)) => self.handle_received(now, cid, received),
                Err(error) => {
                    self.lose(now, cid, error);
                    return false;
                }
            }
        }
        true
    }

    /// Hands queued PDUs to the world. Returns whether `drive`, which had stopped for want of room, is to be called again.
    pub fn flush(&mut self, now: Instant) -> bool {
        while let Err((cid, error)) = self.flush_all() {
            self.lose(now, cid, error);
        }
        let mut links = self.connections.iter().filter_map(Connection::link);
        links.any(|link| link.stalled && link.port.can_send())
    }

    fn flush_all(&mut self) -> Result<(), (Cid, PortError)> {
        for connection in self.connections.iter_mut() {
            let cid = connection.cid;
            let Some(link) = connection.link_mut().filter(|link| link.failure.is_none()) else { continue };
            loop {
                let queued = link.transmit(cid, self.phase.session_mut());
                match link.port.flush() {
                    Ok(Flush::Done) if queued > 0 => {}
                    Ok(_) => break,
                    Err(error) => return Err((cid, error)),
                }
            }
        }
        Ok(())
    }

    fn handle_received(&mut self, now: Instant, cid: Cid, received: Received) {
        let Some(link) = self.connections.link_mut(cid) else { return };
        match (&mut link.login, &mut self.phase, received) {
            (Some((login, _)), _, Received::Frame(frame)) => {
                let header = frame.header;
                match Pdu::decode(frame) {
                    Ok(pdu) => login.handle_pdu(now, pdu),
                    Err(error) => login.handle_undecodable(now, header, error),
                }
            }
            (Some(_), _, Received::BadDataDigest(_) | Received::BadHeaderDigest(_)) => {
                unreachable!("no digest is checked during login")
            }
            (None, Phase::FullFeature(session), received) => {
                if let Some(error) = give(session, now, cid, received) {
                    return self.lose(now, cid, error);
                }
            }
            (None, ..) => {}
        }
        self.handle_events(now);
    }

    /// Does what logins and the session say.
    pub(super) fn handle_events(&mut self, now: Instant) {
        while let Some((cid, event)) = self.poll_login() {
            self.handle_login_event(now, cid, event);
        }
        while let Phase::FullFeature(session) = &mut self.phase
            && let Some(event) = session.poll_event()
        {
            self.handle_session_event(now, event);
        }
        self.settle(now);
    }

    fn poll_login(&mut self) -> Option<(Cid, LoginEvent)> {
        self.connections.iter_mut().find_map(|connection| {
            let (login, _) = connection.link_mut()?.login.as_mut()?;
            login.poll_event().map(|event| (connection.cid, event))
        })
    }

    fn handle_login_event(&mut self, now: Instant, cid: Cid, event: LoginEvent) {
        match (&self.phase, event) {
            (Phase::Login, LoginEvent::Complete(outcome)) => self.begin_session(now, outcome),
            (Phase::Login, LoginEvent::Redirected { address, permanent }) => {
                self.end(Event::Redirected { address, permanent });
            }
            (Phase::Login, LoginEvent::Failed(failure)) => self.end(Event::LoginFailed(failure)),
            (Phase::FullFeature(_), LoginEvent::Complete(outcome)) => self.join(now, cid, outcome),
            (Phase::FullFeature(_), LoginEvent::Redirected { address, .. }) => self.follow(now, cid, address),
            (Phase::FullFeature(_), LoginEvent::Failed(failure)) => {
                self.fail_login(now, cid, ConnectionEnd::Login(failure));
            }
            (Phase::Ended, _) => {}
        }
    }

    fn begin_session(&mut self, now: Instant, mut outcome: Box<LoginOutcome>) {
        if let Some(link) = self.connections.link_mut(outcome.cid) {
            link.bound(&mut outcome);
            link.end_login(&outcome);
        }
        self.phase = Phase::FullFeature(Box::new(Session::new(&outcome, self.config, now)));
        self.make_places(now, &outcome);
        self.events.push_back(Event::LoggedIn(outcome));
    }

    /// Ends the session without a word to the target.
    pub(super) fn abandon(&mut self, event: Event) {
        if !matches!(self.phase, Phase::Ended) {
            self.lose_all();
            self.end(event);
        }
    }

    // RFC 7143 11.13.5-4, 11.14-5, 11.15-1: the owner drops an ended node, and with it its connections.
    pub(super) fn end(&mut self, event: Event) {
        for connection in self.connections.iter_mut() {
            let cid = connection.cid;
            if let Some(link) = connection.link_mut() {
                link.transmit(cid, self.phase.session_mut());
            }
        }
        self.phase = Phase::Ended;
        self.events.push_back(event);
    }
}

// RFC 7143 7.8-1: what has a header that cannot be trusted is missing, which is found by its number where that is recovered from.
/// Gives the session what has come; or why the connection cannot go on.
fn give(session: &mut Session, now: Instant, cid: Cid, received: Received) -> Option<PortError> {
    match received {
        Received::Frame(frame) => {
            let header = frame.header;
            match Pdu::decode(frame) {
                Ok(pdu) => session.handle_pdu(now, cid, pdu),
                Err(error) => session.handle_bad_pdu(now, cid, header, BadPdu::Undecodable(error)),
            }
            None
        }
        Received::BadDataDigest(header) => {
            session.handle_bad_pdu(now, cid, header, BadPdu::DataDigest);
            None
        }
        Received::BadHeaderDigest(header) => {
            let is_recovered = session.parameters(cid).is_some_and(|parameters| parameters.error_recovery_level > 0);
            (!is_recovered).then(|| PortError::header_digest(&header))
        }
    }
}
