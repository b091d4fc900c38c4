//! What moves between the ports, the logins and the session, and what the session says.

use super::{Bundle, Event, NodeEvent, Open, Place, Purpose, completion};
use iscsi_node::initiator::{Completion, Outcome, Segments};
use iscsi_pdu::{Cid, InitiatorTaskTag, LoginStatus, Pdu, ScsiResponseCode};
use iscsi_session::initiator::{Event as SessionEvent, LoginEvent, Session, TaskResult};
use iscsi_session::{BadPdu, CloseReason, LoginFailure, LoginOutcome};
use iscsi_transport::{Digests, Flush, PduPort, PortError, ReceiveLimits, Received};
use std::time::Instant;

/// PDUs that are handled in one turn of a connection.
const PDUS_PER_TURN: usize = 256;

impl Bundle {
    /// The ports may have become ready. Returns whether there may be more to receive at once.
    pub(crate) fn drive(&mut self, now: Instant) -> bool {
        (0..self.places.len()).fold(false, |has_more, at| self.drive_place(now, at) | has_more)
    }

    fn drive_place(&mut self, now: Instant, at: usize) -> bool {
        for _ in 0..PDUS_PER_TURN {
            self.transmit(at);
            let place = &mut self.places[at];
            place.is_stalled = !place.port.can_send();
            if place.is_over || place.is_stalled {
                return false;
            }
            match place.port.receive() {
                Ok(None) => return false,
                Ok(Some(received)) => self.handle_received(now, at, received),
                Err(error) => {
                    self.break_off(now, at, error);
                    return false;
                }
            }
        }
        true
    }

    /// Hands queued PDUs to the world. Returns whether `drive`, which had stopped for want of room, is to be called again.
    pub(crate) fn flush(&mut self, now: Instant) -> bool {
        self.recover(now);
        let again = (0..self.places.len()).fold(false, |again, at| self.flush_place(now, at) | again);
        self.places.retain(|place| !place.is_over);
        again
    }

    fn flush_place(&mut self, now: Instant, at: usize) -> bool {
        while !self.places[at].is_over {
            let queued = self.transmit(at);
            let place = &mut self.places[at];
            match place.port.flush() {
                Ok(Flush::Done) if queued > 0 => {}
                Ok(_) => return place.is_stalled && place.port.can_send(),
                Err(error) => {
                    // What it leaves goes over others.
                    self.break_off(now, at, error);
                    return true;
                }
            }
        }
        false
    }

    fn transmit(&mut self, at: usize) -> usize {
        let place = &mut self.places[at];
        let mut queued = 0;
        while !place.is_over && place.port.can_send() {
            let pdu = match (&mut place.login, &mut self.session) {
                (Some((login, _)), _) => login.poll_transmit(),
                (None, Some(session)) => session.poll_transmit(place.cid),
                (None, None) => None,
            };
            let Some(pdu) = pdu else { break };
            place.port.send(pdu.encode());
            queued += 1;
        }
        queued
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for at in 0..self.places.len() {
            if let Some((login, _)) = &mut self.places[at].login {
                login.handle_timeout(now);
                self.handle_login_events(now, at);
            }
        }
        if let Some(session) = &mut self.session {
            session.handle_timeout(now);
        }
        self.handle_session_events(now);
    }

    fn handle_received(&mut self, now: Instant, at: usize, received: Received) {
        match received {
            Received::Frame(frame) => {
                let header = frame.header;
                match (Pdu::decode(frame), &mut self.places[at].login) {
                    (Ok(pdu), Some((login, _))) => login.handle_pdu(now, pdu),
                    (Err(error), Some((login, _))) => login.handle_undecodable(now, header, error),
                    (Ok(pdu), None) => self.with_session(at, |session, cid| session.handle_pdu(now, cid, pdu)),
                    (Err(error), None) => self.with_session(at, |session, cid| {
                        session.handle_bad_pdu(now, cid, header, BadPdu::Undecodable(error));
                    }),
                }
            }
            Received::BadDataDigest(header) => {
                self.with_session(at, |session, cid| session.handle_bad_pdu(now, cid, header, BadPdu::DataDigest));
            }
            // RFC 7143 7.8: from level 1 on what was lost is missed and asked for again.
            Received::BadHeaderDigest(_) if self.owner.level() > 0 => {}
            Received::BadHeaderDigest(header) => self.break_off(now, at, PortError::header_digest(&header)),
        }
        self.handle_login_events(now, at);
        self.handle_session_events(now);
    }

    fn with_session(&mut self, at: usize, what: impl FnOnce(&mut Session, Cid)) {
        if let Some(session) = &mut self.session {
            what(session, self.places[at].cid);
        }
    }

    fn handle_login_events(&mut self, now: Instant, at: usize) {
        let Place { login: Some((login, tag)), .. } = &mut self.places[at] else { return };
        let tag = *tag;
        let Some(event) = login.poll_event() else { return };
        let _ = self.owner.books().remove_tag(tag.0);
        match event {
            LoginEvent::Complete(outcome) => self.begin(now, at, &outcome),
            LoginEvent::Failed(failure) => self.fail_login(now, at, failure),
            LoginEvent::Redirected { .. } => self.fail_login(now, at, LoginFailure::NoTarget),
        }
    }

    /// A login has ended well: of the session, or of a connection that joins it.
    fn begin(&mut self, now: Instant, at: usize, outcome: &LoginOutcome) {
        let place = &mut self.places[at];
        place.login = None;
        let parameters = &outcome.parameters;
        let digests = Digests { header: parameters.header_digest, data: parameters.data_digest };
        place.port.set_digests(digests);
        place.port.set_receive_limits(ReceiveLimits::of_segments(parameters.receive_segment_bytes_max));
        let cid = place.cid;
        let Some(session) = &mut self.session else {
            place.wire.set_parameters(parameters);
            self.session = Some(Box::new(Session::new(outcome, self.config, now)));
            self.login.tsih = outcome.tsih;
            self.owner.begin(cid, outcome);
            return self.events.push_back(Event::Session(NodeEvent::LoggedIn(Box::new(outcome.clone()))));
        };
        session.add_connection(outcome, now);
        match session.parameters(cid).filter(|_| session.cids().any(|other| other == cid)) {
            Some(parameters) => {
                place.wire.set_parameters(parameters);
                self.owner.joined(cid);
                self.events.push_back(Event::Joined(cid, digests));
            }
            // The session logs out.
            None => {
                place.is_over = true;
                self.events.push_back(Event::Retired(cid));
            }
        }
        self.handle_session_events(now);
    }

    fn fail_login(&mut self, now: Instant, at: usize, failure: LoginFailure) {
        self.places[at].is_over = true;
        let cid = self.places[at].cid;
        if self.session.is_none() {
            return self.end(NodeEvent::LoginFailed(failure));
        }
        self.owner.join_failed(now, cid);
        let is_over = !self.is_connected() && failure == LoginFailure::Refused(LoginStatus::SessionDoesNotExist);
        if !is_over {
            return self.events.push_back(Event::JoinFailed(cid, failure));
        }
        for (tag, open) in std::mem::take(&mut self.open) {
            let _ = self.owner.books().remove_tag(tag);
            self.lose(open.purpose);
        }
        self.end(NodeEvent::LoginFailed(failure));
    }

    /// A port has failed.
    fn break_off(&mut self, now: Instant, at: usize, error: PortError) {
        let place = &mut self.places[at];
        place.is_over = true;
        let (cid, in_login) = (place.cid, place.login.take());
        match &mut self.session {
            None => return self.end(NodeEvent::ConnectionLost(error)),
            Some(session) if in_login.is_none() => session.handle_connection_lost(now, cid),
            Some(_) => self.owner.join_failed(now, cid),
        }
        if let Some((_, tag)) = in_login {
            self.owner.books().remove_tag(tag.0);
        }
        self.events.push_back(Event::Broken(cid, error));
        self.handle_session_events(now);
    }

    pub(super) fn handle_session_events(&mut self, now: Instant) {
        while let Some(event) = self.session.as_mut().and_then(|session| session.poll_event()) {
            match event {
                SessionEvent::Data { tag, data, .. } => {
                    if let Some(open) = self.open.get_mut(&tag.0) {
                        open.data.push(data);
                    }
                }
                SessionEvent::TaskComplete { tag, result } => {
                    self.complete(now, tag, |data| command_outcome(result, data))
                }
                SessionEvent::TaskAborted { tag } => self.complete(now, tag, |_| Outcome::Aborted),
                SessionEvent::TaskRejected { tag, reason } => self.complete(now, tag, |_| Outcome::Rejected(reason)),
                SessionEvent::TaskLost { tag } => self.complete(now, tag, |_| Outcome::Lost),
                SessionEvent::TaskManagementComplete { tag, response, .. } => {
                    self.complete(now, tag, |_| Outcome::TaskManagement(response));
                }
                SessionEvent::PingComplete { tag, data } => self.complete(now, tag, |_| Outcome::Ping(data)),
                SessionEvent::Targets { tag, targets } => self.complete(now, tag, |_| Outcome::Targets(targets)),
                SessionEvent::NegotiationComplete { tag } => self.complete(now, tag, |_| Outcome::Lost),
                SessionEvent::LogoutComplete { tag, response } => {
                    self.complete(now, tag, |_| Outcome::Logout(response))
                }
                SessionEvent::PingDue { cid } => {
                    self.ask(Purpose::Ping, Some(cid), |session, cid, tag| {
                        session.ping(now, cid, tag, Default::default());
                    });
                }
                SessionEvent::NegotiationRequested { cid } => {
                    self.ask(Purpose::Ping, Some(cid), |session, cid, tag| session.negotiate(now, cid, tag));
                }
                SessionEvent::LogoutRequested { grace, .. } => {
                    self.events.push_back(Event::Session(NodeEvent::LogoutRequested { grace }));
                }
                // What they speak of shows in the commands that it concerns.
                SessionEvent::PduRejected { .. } | SessionEvent::Async(_) => {}
                SessionEvent::ConnectionClosed { cid, reason } => self.end_place(now, cid, reason),
                SessionEvent::CleanupDue { cid } => self.owner.cleanup_due(cid),
                SessionEvent::ReassignmentDue { tag } => self.owner.reassignment_due(tag),
                SessionEvent::Closed(reason) => self.end(NodeEvent::Closed(reason)),
            }
        }
    }

    fn end_place(&mut self, now: Instant, cid: Cid, reason: CloseReason) {
        let here = |place: &&mut Place| place.cid == cid && place.login.is_none();
        if let Some(place) = self.places.iter_mut().find(here) {
            place.is_over = true;
        }
        self.owner.lost(now, cid, reason);
        self.events.push_back(Event::Ended(cid, reason));
    }

    fn complete(&mut self, now: Instant, tag: InitiatorTaskTag, outcome: impl FnOnce(Segments) -> Outcome) {
        let Some(Open { purpose, data }) = self.open.remove(&tag.0) else { return };
        let outcome = outcome(data);
        match outcome {
            Outcome::Lost | Outcome::Rejected(_) => self.owner.books().give_up_tag(tag.0),
            Outcome::Aborted => self.owner.books().abort_tag(tag.0),
            _ => {
                self.owner.books().remove_tag(tag.0);
            }
        }
        match purpose {
            Purpose::Asked(token) => {
                self.owner.forget(now, tag, &outcome);
                self.events.push_back(completion(token, outcome));
            }
            Purpose::Cleanup(cid) => self.owner.cleaned_up(cid, &outcome),
            Purpose::Reassignment(task) if self.open.contains_key(&task.0) => {
                self.owner.reassigned(now, task, &outcome)
            }
            Purpose::Reassignment(_) | Purpose::Ping => {}
        }
    }

    /// The session is over; every request has come back before.
    fn end(&mut self, event: NodeEvent) {
        for at in 0..self.places.len() {
            self.transmit(at);
            self.places[at].is_over = true;
        }
        self.is_over = true;
        self.events.push_back(Event::Session(event));
    }
}

fn command_outcome(result: TaskResult, data: Segments) -> Outcome {
    match result.response {
        ScsiResponseCode::CompletedAtTarget => {
            let TaskResult { status, status_qualifier, sense, residual, .. } = result;
            Outcome::Command(Completion { status, status_qualifier, sense, residual, data })
        }
        _ => Outcome::TargetFailure,
    }
}
