//! The initiators' side of a world: hosts connect, ask, take answers, wait only so long, and log out.

use super::bugs::{Bug, SHOWS_ONE_IN};
use super::calendar::Due;
use super::host::{Excuses, Kind, Open, PATIENCE, Unknown};
use super::link::{Link, Port};
use super::portal;
use super::session::Session;
use super::wire::End;
use super::world::World;
use bytes::Bytes;
use iscsi_node::initiator::{Event, InitiatorNode, Outcome};
use iscsi_pdu::{Residual, TaskManagementFunction as Function};
use iscsi_session::initiator::SessionConfig;
use iscsi_session::{CloseReason, LoginFailure, LoginOutcome, SendTargetsScope, Violation};
use iscsi_transport::{Digests, PortError, PortErrorKind};
use scsi_block::LogicalUnitNumber;
use std::time::Duration;

type Node = InitiatorNode<Port>;

/// Time in which an initiator's end waits for the answer to a ping or a logout.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

impl World {
    /// A host without a session opens one.
    pub(crate) fn connect(&mut self, host: usize) {
        let (session, link) = (self.sessions.len(), self.links.len());
        let name = format!("h{host}.{link}");
        let depth = self.hosts[host].plan.depth;
        let [(port, initiator), (peer, target)] = self.maker.connect(&name, depth, &self.plan, &mut self.random);
        let now = self.instant();
        let challenge = self.draw_challenge();
        let connection = self.target.accept(now, peer, "192.0.2.1:3260".into(), challenge);
        self.links.push(Link { session, connection, initiator, target, is_stalled: false, has_ended: false });
        self.live.push(link);
        let ping_interval = self.hosts[host].plan.ping_interval;
        let config = SessionConfig { ping_interval, ping_timeout: PING_TIMEOUT };
        let login = portal::login(&self.plan, &self.hosts[host]);
        let challenge = self.draw_challenge();
        self.sessions.push(Session {
            host,
            node: Some(InitiatorNode::new(port, login, config, challenge, now)),
            links: vec![link],
            tsih: None,
            has_ended: false,
            level: 0,
            digests: Digests::default(),
            is_troubled: self.plan.has_rival(host),
            has_left: false,
            timer_due: None,
            unknown: Vec::new(),
        });
        self.hosts[host].session = Some(session);
        self.enter_turn(link, End::Initiator, Duration::ZERO);
        self.enter_turn(link, End::Target, Duration::ZERO);
    }

    fn draw_challenge(&mut self) -> [u8; 32] {
        std::array::from_fn(|_| self.random.next() as u8)
    }

    /// A session's node does all that it can at this moment.
    pub(crate) fn turn_session(&mut self, session: usize) {
        let Some(mut node) = self.sessions[session].node.take() else { return };
        let now = self.instant();
        let mut has_more = node.drive(now);
        node.handle_timeout(now);
        let mut is_over = false;
        loop {
            is_over |= self.take_events(session, &mut node);
            if !is_over {
                self.ask(session, &mut node);
            }
            if !node.flush(now) {
                break;
            }
            has_more |= node.drive(now);
        }
        is_over |= self.take_events(session, &mut node);
        if is_over {
            drop(node);
            self.end_session(session);
        } else {
            self.enter_timer(session, &node);
            self.sessions[session].node = Some(node);
            self.maybe_make_trouble(session);
        }
        for place in 0..self.sessions[session].links.len() {
            let link = self.sessions[session].links[place];
            if has_more {
                self.enter_turn(link, End::Initiator, Duration::from_micros(1));
            }
            self.look(link);
        }
    }

    fn enter_timer(&mut self, session: usize, node: &Node) {
        let Some(at) = node.poll_timeout().map(|at| self.now + self.until(at)) else { return };
        let known = &mut self.sessions[session].timer_due;
        if known.is_none_or(|due| at < due || due < self.now) {
            *known = Some(at);
            self.calendar.enter(at, Due::SessionTimer(session));
        }
    }

    /// Returns whether the session is over.
    fn take_events(&mut self, session: usize, node: &mut Node) -> bool {
        let mut is_over = false;
        while let Some(event) = node.poll_event() {
            self.verdict.check(!is_over, || format!("a session says more after its end: {event:?}"));
            match event {
                Event::LoggedIn(outcome) => self.begin_session(session, &outcome),
                Event::Complete { token, outcome } => self.complete(session, token, outcome),
                Event::LogoutRequested { .. } => self.hosts[self.sessions[session].host].is_asked_to_leave = true,
                Event::Redirected { address, .. } => self.verdict.fail(format!("nobody redirects to {address}")),
                Event::ConnectionWanted { .. } | Event::ConnectionJoined { .. } | Event::ConnectionClosed { .. } => {
                    self.verdict.fail("a session has one connection, and ends with it");
                }
                Event::Unresponsive => self.verdict.fail("nobody watches how long commands take"),
                Event::LoginFailed(failure) => {
                    self.check_login_failure(session, &failure);
                    is_over = true;
                }
                Event::Closed(reason) => {
                    self.check_close_reason(session, reason);
                    is_over = true;
                }
                Event::ConnectionLost(error) => {
                    self.check_port_error(session, &error);
                    is_over = true;
                }
            }
        }
        is_over
    }

    fn begin_session(&mut self, session: usize, outcome: &LoginOutcome) {
        let found = &mut self.sessions[session];
        let parameters = &outcome.parameters;
        found.digests = Digests { header: parameters.header_digest, data: parameters.data_digest };
        for link in &found.links {
            self.links[*link].initiator.wire.set_parameters(parameters);
        }
        self.hosts[found.host].is_logged_in = true;
    }

    /// Without a fault a login does not fail, and nobody ever breaks a rule.
    pub(crate) fn check_login_failure(&mut self, session: usize, failure: &LoginFailure) {
        let may = match failure {
            LoginFailure::TimedOut | LoginFailure::Refused(_) => self.is_excused(session),
            _ => false,
        };
        self.verdict.check(may, || format!("a login fails: {failure}"));
        self.sessions[session].is_troubled = true;
    }

    pub(crate) fn check_close_reason(&mut self, session: usize, reason: CloseReason) {
        let level = self.sessions[session].level;
        let may =
            match reason {
                CloseReason::LoggedOut => self.sessions[session].has_left,
                // From level 1 on, what is lost again and again is given up in the end.
                CloseReason::Violation(
                    Violation::CommandGap | Violation::MissingData | Violation::StatSnOutOfOrder,
                ) if level > 0 => self.sessions[session].is_troubled,
                CloseReason::Violation(_) | CloseReason::Malformed(_) => false,
                // RFC 7143 7.8: from level 1 on this is recovered from.
                CloseReason::DataDigest if level > 0 => false,
                _ => self.sessions[session].is_troubled,
            };
        self.verdict.check(may, || format!("a session ends: {reason}"));
    }

    pub(crate) fn check_port_error(&mut self, session: usize, error: &PortError) {
        let may = match error.kind() {
            PortErrorKind::Closed | PortErrorKind::Reset | PortErrorKind::HeaderDigest => {
                self.sessions[session].is_troubled || self.sessions[session].has_left
            }
            _ => false,
        };
        self.verdict.check(may, || format!("a connection ends: {error}"));
    }

    /// Whether there are reasons for a request or a login of a session to have no answer.
    fn is_excused(&self, session: usize) -> bool {
        self.sessions[session].is_troubled || self.now < self.excused_until
    }

    /// The initiator's end is over: what is without an answer may land until the target's end is.
    pub(crate) fn end_session(&mut self, session: usize) {
        let host = self.sessions[session].host;
        let delay = self.delay(2_000_000);
        let found = &mut self.hosts[host];
        self.verdict.check(found.open.is_empty(), || "a session ends before its requests".into());
        found.open.clear();
        self.sessions[session].unknown.append(&mut found.aborted);
        (found.session, found.is_logged_in, found.is_asked_to_leave, found.is_leaving) = (None, false, false, false);
        found.is_done = found.left == 0;
        if !found.is_done {
            self.enter(delay, Due::Connect(host));
        }
        self.settle(session);
    }

    /// Once the target's end of a session is over, nothing of it lands any more.
    pub(crate) fn settle(&mut self, session: usize) {
        let found = &mut self.sessions[session];
        if found.has_ended || found.tsih.is_none() && found.links.iter().all(|link| self.links[*link].has_ended) {
            for write in found.unknown.drain(..) {
                self.oracle.write_over(&write);
            }
        }
    }

    /// Asks for what the host wants and the node takes.
    fn ask(&mut self, session: usize, node: &mut Node) {
        let host = self.sessions[session].host;
        loop {
            let found = &mut self.hosts[host];
            if !found.is_logged_in || found.is_leaving {
                return;
            }
            if found.is_asked_to_leave || (found.left == 0 && found.open.is_empty()) {
                found.is_leaving = true;
                self.sessions[session].has_left = true;
                let token = self.open(host, Kind::Logout, 0);
                return node.logout(self.instant(), token);
            }
            if found.left == 0 || found.open.len() >= found.plan.depth || !self.request(host, node) {
                return;
            }
        }
    }

    /// A request that is no command begins. Returns its name.
    fn open(&mut self, host: usize, kind: Kind, lun: u16) -> u64 {
        self.last_stamp += 1;
        let (began, deadline) = (self.oracle.begin(), self.now + PATIENCE);
        self.hosts[host].open.insert(self.last_stamp, Open { kind, began, lun, deadline, residual: Residual::None });
        self.last_stamp
    }

    /// Makes one request. Returns whether the node takes it now.
    fn request(&mut self, host: usize, node: &mut Node) -> bool {
        let now = self.instant();
        let found = &mut self.hosts[host];
        let is_discovery = found.units.is_empty();
        let drawn = if is_discovery { 7 } else { found.random.below(200) };
        let (may_manage, may_ping) = (!found.has_open(&Kind::Management), !found.has_open(&Kind::Ping(Bytes::new())));
        let may_list = !found.has_open(&Kind::Targets);
        match drawn {
            0 => found.is_asked_to_leave = true,
            1..=2 if may_manage => self.manage(host, node),
            3..=6 if may_ping => {
                let data = Bytes::from(vec![0xa5; found.random.below(2000) as usize]);
                let token = self.open(host, Kind::Ping(data.clone()), 0);
                node.ping(now, token, data);
            }
            7..=8 if may_list => {
                let token = self.open(host, Kind::Targets, 0);
                // RFC 7143 appendix C: all targets are for discovery sessions.
                let scope = if is_discovery { SendTargetsScope::All } else { SendTargetsScope::ThisTarget };
                node.send_targets(now, token, scope);
            }
            _ if is_discovery || node.window() == 0 => return false,
            _ => {
                self.last_stamp += 1;
                let token = self.last_stamp;
                let (request, open) = found.draw_command(&mut self.oracle, token, self.now);
                found.open.insert(token, open);
                let taken = node.submit(now, token, request).is_ok();
                self.verdict.check(taken, || "a window that has room takes nothing".into());
            }
        }
        self.hosts[host].left -= 1;
        true
    }

    /// Asks for a task management function, which may end tasks of others without a word to them.
    fn manage(&mut self, host: usize, node: &mut Node) {
        let found = &mut self.hosts[host];
        let place = found.random.below(found.units.len() as u64) as usize;
        let lun = found.units[place].lun;
        let function = match found.random.below(16) {
            0..8 => Function::AbortTaskSet,
            8..11 => Function::ClearTaskSet,
            11..14 => Function::LogicalUnitReset,
            14 if self.plan.resettable => Function::TargetWarmReset,
            15 if self.plan.resettable => Function::TargetColdReset,
            _ => Function::ClearTaskSet,
        };
        if function != Function::AbortTaskSet {
            self.excuse_for(Duration::from_secs(60));
        }
        let token = self.open(host, Kind::Management, lun);
        node.manage(self.instant(), token, function, LogicalUnitNumber::from(lun));
    }

    /// A request has ended.
    fn complete(&mut self, session: usize, token: u64, outcome: Outcome) {
        let is_lost = matches!(outcome, Outcome::Lost);
        let bug = self.bug.filter(|_| self.random.one_in(SHOWS_ONE_IN));
        if bug == Some(Bug::CompletionForgotten) || is_lost && self.bug == Some(Bug::LostForgotten) {
            return;
        }
        self.judge(session, token, outcome);
        if bug == Some(Bug::CompletionTwice) {
            self.judge(session, token, Outcome::Lost);
        }
    }

    fn judge(&mut self, session: usize, token: u64, outcome: Outcome) {
        let host = self.sessions[session].host;
        let Some(open) = self.hosts[host].open.remove(&token) else {
            return self.verdict.fail("a request ends that has ended already, or never began");
        };
        self.totals.commands += 1;
        if let Outcome::TaskManagement(_) = outcome {
            for write in self.hosts[host].aborted.drain(..) {
                self.oracle.write_over(&write);
            }
        }
        let excuses =
            Excuses { is_troubled: self.sessions[session].is_troubled, store_has_failed: self.store.has_failed() };
        match self.hosts[host].judge(open, outcome, excuses, &mut self.oracle) {
            Unknown::None => {}
            Unknown::UntilManaged(write) => self.hosts[host].aborted.push(write),
            Unknown::UntilEnded(write) => {
                self.sessions[session].unknown.push(write);
                self.settle(session);
            }
        }
    }

    /// A host does something about a request that has no answer: it aborts its commands, and if that does not help it goes away.
    pub(crate) fn watch(&mut self, host: usize) {
        let found = &self.hosts[host];
        if found.is_done {
            return;
        }
        self.enter(Duration::from_secs(5), Due::Watch(host));
        let found = &self.hosts[host];
        let Some(session) = found.session.filter(|_| found.is_logged_in) else { return };
        let Some(late) = found.open.values().find(|open| open.deadline <= self.now) else { return };
        self.verdict
            .check(self.is_excused(session), || format!("a request is without an answer for no reason: {late:?}"));
        let is_hopeless = !late.kind.is_command() || found.is_leaving || found.has_open(&Kind::Management);
        let lun = late.lun;
        if is_hopeless {
            return self.crash(session);
        }
        let deadline = self.now + PATIENCE;
        self.hosts[host].open.values_mut().for_each(|open| open.deadline = deadline);
        let token = self.open(host, Kind::Management, lun);
        let now = self.instant();
        if let Some(node) = &mut self.sessions[session].node {
            node.manage(now, token, Function::AbortTaskSet, LogicalUnitNumber::from(lun));
        }
        self.turn_session(session);
    }

    /// A host goes away without a word.
    pub(crate) fn crash(&mut self, session: usize) {
        self.sessions[session].is_troubled = true;
        self.sessions[session].has_left = true;
        self.sessions[session].node = None;
        let host = self.sessions[session].host;
        let tokens: Vec<u64> = self.hosts[host].open.keys().copied().collect();
        tokens.into_iter().for_each(|token| self.judge(session, token, Outcome::Lost));
        self.end_session(session);
        for place in 0..self.sessions[session].links.len() {
            self.look(self.sessions[session].links[place]);
        }
    }
}
