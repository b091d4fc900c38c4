//! The connections of sessions: how they are made, what may end them, and what their ends excuse.

use super::books::SessionBooks;
use super::bugs::{Bug, Mixed};
use super::bundle::Event;
use super::calendar::Due;
use super::client::Client;
use super::link::{Link, Port};
use super::wire::{End, WireControl};
use super::world::World;
use iscsi_pdu::{Cid, LoginStatus};
use iscsi_session::{CloseReason, LoginFailure};
use iscsi_transport::{Digests, PortError, PortErrorKind};
use std::time::Duration;

/// After the end of a connection that had trouble, requests may go without an answer, and logins be refused, for so long: until the end of
/// the longest Time2Wait and Time2Retain, and what waits for them has had its time.
const AFTERMATH: Duration = Duration::from_secs(60);

/// Time that an end takes beyond what was agreed upon.
const LATE_MAX: Duration = Duration::from_secs(1);

impl World {
    /// Makes a connection of a session, and gives its initiator's end.
    pub(crate) fn open_link(
        &mut self,
        session: usize,
        host: usize,
        cid: Cid,
        common: (&SessionBooks, &[Mixed; 2]),
    ) -> (Port, WireControl) {
        let link = self.links.len();
        let name = format!("h{host}.{link}/{}", cid.0);
        let [(port, initiator), (peer, target)] = self.maker.connect(&name, link, common, &self.plan, &mut self.random);
        let challenge = self.draw_challenge();
        let connection = self.target.accept(self.instant(), peer, "192.0.2.1:3260", challenge);
        let wire = initiator.wire.clone();
        self.links.push(Link {
            session,
            cid,
            connection,
            initiator,
            target,
            digests: Digests::default(),
            is_stalled: false,
            is_troubled: false,
            is_in_session: false,
            has_ended: false,
        });
        self.live.push(link);
        self.enter_turn(link, End::Initiator, Duration::ZERO);
        self.enter_turn(link, End::Target, Duration::ZERO);
        (port, wire)
    }

    /// A session gets a connection that it has wanted, if it still wants it.
    pub(crate) fn join(&mut self, session: usize, cid: Cid) {
        let Some(Client::Bundle(mut bundle)) = self.sessions[session].client.take() else { return };
        if bundle.wants(cid) {
            let found = &mut self.sessions[session];
            let (host, books, mixed) = (found.host, found.books.clone(), found.mixed.clone());
            found.links.push(self.links.len());
            let port = self.open_link(session, host, cid, (&books, &mixed));
            let challenge = self.draw_challenge();
            bundle.join(self.instant(), port, cid, challenge);
        }
        self.sessions[session].client = Some(Client::Bundle(bundle));
        self.turn_session(session);
    }

    /// What a session says of one of its connections.
    pub(crate) fn take_connection_event(&mut self, session: usize, event: Event) {
        match event {
            Event::Session(_) => {}
            Event::Wanted(cid) => {
                let delay = self.delay(1_500_000);
                self.enter(delay, Due::Join(session, cid.0));
            }
            Event::Joined(cid, digests) => {
                if let Some(link) = self.link_of_cid(session, cid) {
                    self.links[link].digests = digests;
                }
            }
            Event::JoinFailed(cid, failure) => {
                if let Some(link) = self.link_of_cid(session, cid) {
                    self.check_login_failure(link, &failure);
                }
            }
            Event::Retired(cid) => {
                if let Some(link) = self.link_of_cid(session, cid) {
                    self.trouble(link);
                }
            }
            Event::Broken(cid, error) => {
                if let Some(link) = self.link_of_cid(session, cid) {
                    self.check_port_error(link, &error);
                }
            }
            Event::Ended(cid, reason) => {
                if let Some(link) = self.link_of_cid(session, cid) {
                    self.check_end_of_connection(link, reason);
                    self.extend_trouble(link);
                }
            }
        }
    }

    /// The last connection of a session with this number.
    fn link_of_cid(&self, session: usize, cid: Cid) -> Option<usize> {
        let mut links = self.sessions[session].links.iter().rev().copied();
        let found = links.find(|link| self.links[*link].cid == cid);
        self.verdict.check(found.is_some(), || format!("a session speaks of {cid:?}, which it never had"));
        found
    }

    /// A fault of a connection, or its end on purpose: what becomes of it and its requests may come of that.
    pub(crate) fn trouble(&mut self, link: usize) {
        self.links[link].is_troubled = true;
        self.extend_trouble(link);
        let session = &self.sessions[self.links[link].session];
        session.books.expect_recovery(matches!(session.client, Some(Client::Bundle(_)) | None));
        for other in &session.links {
            self.links[*other].target.wire.expect_early_ends();
        }
    }

    /// A session may end from now on, with what its connections carry.
    pub(crate) fn doom(&mut self, session: usize) {
        let session = &mut self.sessions[session];
        session.is_doomed = true;
        session.books.expect_recovery(true);
        for link in &session.links {
            self.links[*link].target.wire.expect_early_ends();
        }
    }

    /// What comes of the trouble of a connection may come for some time after its end.
    pub(crate) fn extend_trouble(&mut self, link: usize) {
        if self.links[link].is_troubled {
            let session = self.links[link].session;
            self.sessions[session].troubled_until = self.now + AFTERMATH;
        }
    }

    /// Whether a fault may be the reason for what happens to a session.
    pub(crate) fn is_troubled(&self, session: usize) -> bool {
        let session = &self.sessions[session];
        session.is_doomed
            || self.now < session.troubled_until
            || session.links.iter().any(|link| self.links[*link].is_troubled)
    }

    /// Whether there are reasons for a request or a login of a session to have no answer.
    pub(crate) fn is_excused(&self, session: usize) -> bool {
        self.is_troubled(session) || self.now < self.excused_until
    }

    /// Without a fault a login does not fail, and nobody ever breaks a rule.
    pub(crate) fn check_login_failure(&mut self, link: usize, failure: &LoginFailure) {
        let session = self.links[link].session;
        let found = &self.sessions[session];
        let may = match failure {
            // RFC 7143 7.5: until then it is there.
            LoginFailure::Refused(LoginStatus::SessionDoesNotExist) => found.is_closed,
            LoginFailure::TimedOut | LoginFailure::Refused(_) => self.is_excused(session),
            _ => false,
        };
        self.verdict.check(may, || format!("the login of connection {link} fails: {failure}"));
        self.trouble(link);
    }

    /// A session goes on without one of its connections.
    pub(crate) fn check_end_of_connection(&mut self, link: usize, reason: CloseReason) {
        let session = self.links[link].session;
        let is_troubled = self.links[link].is_troubled || self.sessions[session].is_doomed;
        let may = match reason {
            CloseReason::LogoutFailed => self.is_troubled(session),
            reason => is_troubled && self.may_close(session, reason) || self.sessions[session].has_left,
        };
        self.verdict.check(may, || format!("connection {link} ends: {reason}"));
    }

    /// A session ends.
    pub(crate) fn check_end_of_session(&mut self, session: usize, reason: CloseReason) {
        let found = &self.sessions[session];
        let may = match reason {
            // The connection that was logged out may have become the last.
            CloseReason::LoggedOut => found.has_left || self.is_troubled(session),
            // RFC 7143 7.5: not before.
            CloseReason::NotContinued => {
                found.alone_since.is_some_and(|since| self.now >= since + found.retention) && found.level == 2
            }
            CloseReason::TargetReset => self.plan.resettable,
            reason => self.may_close(session, reason) && self.is_troubled(session),
        };
        self.verdict.check(may, || format!("session {session} ends: {reason}"));
    }

    /// Whether trouble may bring an end for this reason.
    fn may_close(&self, session: usize, reason: CloseReason) -> bool {
        let level = self.sessions[session].level;
        match reason {
            // From level 1 on, what is lost again and again is given up in the end.
            CloseReason::NotRecovered => level > 0,
            CloseReason::Violation(_) | CloseReason::Malformed(_) => false,
            // RFC 7143 7.8: from level 1 on this is recovered from.
            CloseReason::DataDigest => level == 0,
            _ => true,
        }
    }

    pub(crate) fn check_port_error(&mut self, link: usize, error: &PortError) {
        let (session, is_troubled) = (self.links[link].session, self.links[link].is_troubled);
        let may = match error.kind() {
            PortErrorKind::Closed | PortErrorKind::Reset | PortErrorKind::HeaderDigest => {
                is_troubled || self.sessions[session].has_left || self.sessions[session].is_doomed
            }
            _ => false,
        };
        self.verdict.check(may, || format!("connection {link} ends: {error}"));
    }

    /// At the target a session has lost a connection: RFC 7143 6.3.5 and 7.5, it is kept for so long without any, and no longer.
    pub(crate) fn leave_session(&mut self, link: usize) {
        let session = self.links[link].session;
        let was_in = std::mem::replace(&mut self.links[link].is_in_session, false);
        if !was_in || self.sessions[session].links.iter().any(|link| self.links[*link].is_in_session) {
            return;
        }
        self.sessions[session].alone_since = Some(self.now);
        if self.bug == Some(Bug::ForgottenEarly)
            && let Some(tsih) = self.sessions[session].tsih
        {
            self.target.end_session(self.instant(), tsih);
        }
        let delay = self.sessions[session].retention + LATE_MAX;
        self.enter(delay, Due::Retained(session));
    }

    /// A session that has had no connection for Time2Wait and Time2Retain has ended.
    pub(crate) fn check_retention(&mut self, session: usize) {
        let found = &self.sessions[session];
        let Some(since) = found.alone_since.filter(|_| !found.is_closed) else { return };
        let may = self.now < since + found.retention + LATE_MAX;
        self.verdict.check(may, || format!("session {session} is kept for longer than {:?}", found.retention));
    }
}
