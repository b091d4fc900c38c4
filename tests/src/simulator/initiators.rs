//! The initiators' side of a world: hosts connect, ask, take answers, wait only so long, and log out.

use super::books::SessionBooks;
use super::bugs::{Bug, SHOWS_ONE_IN};
use super::bundle::{self, Bundle, OwnerPlan};
use super::calendar::Due;
use super::client::Client;
use super::host::{Excuses, Kind, Open, PATIENCE, Unknown};
use super::plan::HostPlan;
use super::portal;
use super::session::Session;
use super::wire::End;
use super::world::World;
use bytes::Bytes;
use iscsi_node::initiator::{Event, InitiatorNode, Outcome};
use iscsi_pdu::{Residual, TaskManagementFunction as Function};
use iscsi_session::initiator::SessionConfig;
use iscsi_session::{LoginOutcome, SendTargetsScope};
use iscsi_transport::Digests;
use scsi_block::LogicalUnitNumber;
use std::time::Duration;

/// Time in which an initiator's end waits for the answer to a ping or a logout.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

impl World {
    /// A host without a session opens one.
    pub(crate) fn connect(&mut self, host: usize) {
        let session = self.sessions.len();
        let login = portal::login(&self.plan, &self.hosts[host]);
        let HostPlan { depth, ping_interval, uses_node, .. } = self.hosts[host].plan;
        // A tag a task, one for its reassignment, and some for pings, texts, logouts and task management.
        let books = SessionBooks::new(self.plan.window, 2 * depth + 64, self.verdict.clone());
        let link = self.links.len();
        let mixed = Default::default();
        let port = self.open_link(session, host, login.cid, (&books, &mixed));
        let config = SessionConfig { ping_interval, ping_timeout: PING_TIMEOUT };
        let (now, challenge) = (self.instant(), self.draw_challenge());
        let client = if uses_node {
            Client::Node(Box::new(InitiatorNode::new(port.0, login, config, challenge, now)))
        } else {
            let plan = OwnerPlan {
                connections: login.limits.max_connections,
                books: books.clone(),
                verdict: self.verdict.clone(),
                random: self.random.fork(),
                bug: self.bug,
            };
            Client::Bundle(Box::new(Bundle::new(port, login, config, plan, challenge, now)))
        };
        self.sessions.push(Session {
            host,
            client: Some(client),
            links: vec![link],
            books,
            mixed,
            tsih: None,
            is_closed: false,
            has_ended: false,
            level: 0,
            retention: Duration::ZERO,
            alone_since: None,
            is_doomed: self.plan.has_rival(host),
            troubled_until: Duration::ZERO,
            has_left: false,
            timer_due: None,
            unknown: Vec::new(),
        });
        self.hosts[host].session = Some(session);
    }

    pub(crate) fn draw_challenge(&mut self) -> [u8; 32] {
        std::array::from_fn(|_| self.random.next() as u8)
    }

    /// A session's client does all that it can at this moment.
    pub(crate) fn turn_session(&mut self, session: usize) {
        let Some(mut client) = self.sessions[session].client.take() else { return };
        let now = self.instant();
        let mut has_more = client.drive(now);
        client.handle_timeout(now);
        let mut is_over = false;
        loop {
            is_over |= self.take_events(session, &mut client);
            if !is_over {
                self.ask(session, &mut client);
            }
            if !client.flush(now) {
                break;
            }
            has_more |= client.drive(now);
        }
        is_over |= self.take_events(session, &mut client);
        if is_over {
            drop(client);
            self.end_session(session);
        } else {
            self.enter_timer(session, &client);
            self.sessions[session].client = Some(client);
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

    fn enter_timer(&mut self, session: usize, client: &Client) {
        let Some(at) = client.poll_timeout().map(|at| self.now + self.until(at)) else { return };
        let known = &mut self.sessions[session].timer_due;
        if known.is_none_or(|due| at < due || due < self.now) {
            *known = Some(at);
            self.calendar.enter(at, Due::SessionTimer(session));
        }
    }

    /// Returns whether the session is over.
    fn take_events(&mut self, session: usize, client: &mut Client) -> bool {
        let mut is_over = false;
        while let Some(event) = client.poll_event() {
            self.verdict.check(!is_over, || format!("a session says more after its end: {event:?}"));
            match event {
                bundle::Event::Session(event) => is_over |= self.take_event(session, event),
                event => self.take_connection_event(session, event),
            }
        }
        is_over
    }

    fn take_event(&mut self, session: usize, event: Event) -> bool {
        // The one connection of a node, and any of a session with several: they speak of those that are there.
        let link = self.sessions[session].links.last().copied();
        match event {
            Event::LoggedIn(outcome) => self.begin_session(session, &outcome),
            Event::Complete { token, outcome } => self.complete(session, token, outcome),
            Event::LogoutRequested { .. } => self.hosts[self.sessions[session].host].is_asked_to_leave = true,
            Event::Redirected { address, .. } => self.verdict.fail(format!("nobody redirects to {address}")),
            Event::ConnectionWanted { .. } | Event::ConnectionJoined { .. } | Event::ConnectionClosed { .. } => {
                self.verdict.fail("a node here has one connection, and ends with it");
            }
            Event::Unresponsive => self.verdict.fail("nobody watches how long commands take"),
            Event::LoginFailed(failure) => {
                link.into_iter().for_each(|link| self.check_login_failure(link, &failure));
                return true;
            }
            Event::Closed(reason) => {
                self.check_end_of_session(session, reason);
                return true;
            }
            Event::ConnectionLost(error) => {
                link.into_iter().for_each(|link| self.check_port_error(link, &error));
                return true;
            }
        }
        false
    }

    fn begin_session(&mut self, session: usize, outcome: &LoginOutcome) {
        let parameters = &outcome.parameters;
        let found = &mut self.sessions[session];
        self.hosts[found.host].is_logged_in = true;
        let Some(link) = found.links.last().copied() else { return };
        self.links[link].digests = Digests { header: parameters.header_digest, data: parameters.data_digest };
        // A bundle has done that.
        if self.hosts[found.host].plan.uses_node {
            found.books.begin(parameters.error_recovery_level, outcome.cmd_sn.0);
            self.links[link].initiator.wire.set_parameters(parameters);
        }
        if self.links[link].is_troubled {
            self.trouble(link);
        }
    }

    /// The initiator's end is over: what is without an answer may land until the target's end is.
    pub(crate) fn end_session(&mut self, session: usize) {
        let host = self.sessions[session].host;
        // Now and then it stays away until the target has forgotten it.
        let away_max = if self.random.one_in(8) { 40_000_000 } else { 2_000_000 };
        let delay = self.delay(away_max);
        let found = &mut self.hosts[host];
        self.verdict.check(found.open.is_empty(), || "a session ends before its requests".into());
        found.open.clear();
        self.sessions[session].unknown.append(&mut found.aborted);
        (found.session, found.is_logged_in, found.is_asked_to_leave, found.is_leaving) = (None, false, false, false);
        found.is_done = found.left == 0;
        if !found.is_done {
            self.enter(delay, Due::Connect(host));
        }
        self.doom(session);
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
    fn ask(&mut self, session: usize, client: &mut Client) {
        let host = self.sessions[session].host;
        loop {
            let found = &mut self.hosts[host];
            if !found.is_logged_in || found.is_leaving || !client.is_connected() {
                return;
            }
            if found.is_asked_to_leave || (found.left == 0 && found.open.is_empty()) {
                found.is_leaving = true;
                self.sessions[session].has_left = true;
                let token = self.open(host, Kind::Logout, 0);
                return client.logout(self.instant(), token);
            }
            if found.left == 0 || found.open.len() >= found.plan.depth || !self.request(host, client) {
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
    fn request(&mut self, host: usize, client: &mut Client) -> bool {
        let now = self.instant();
        let found = &mut self.hosts[host];
        let is_discovery = found.units.is_empty();
        let drawn = if is_discovery { 7 } else { found.random.below(200) };
        let (may_manage, may_ping) = (!found.has_open(&Kind::Management), !found.has_open(&Kind::Ping(Bytes::new())));
        let may_list = !found.has_open(&Kind::Targets);
        match drawn {
            0 => found.is_asked_to_leave = true,
            1..=2 if may_manage => self.manage(host, client),
            3..=6 if may_ping => {
                let data = Bytes::from(vec![0xa5; found.random.below(2000) as usize]);
                let token = self.open(host, Kind::Ping(data.clone()), 0);
                client.ping(now, token, data);
            }
            7..=8 if may_list => {
                let token = self.open(host, Kind::Targets, 0);
                // RFC 7143 appendix C: all targets are for discovery sessions.
                let scope = if is_discovery { SendTargetsScope::All } else { SendTargetsScope::ThisTarget };
                client.send_targets(now, token, scope);
            }
            9 => client.retire(now),
            _ if is_discovery || client.window() == 0 => return false,
            _ => {
                self.last_stamp += 1;
                let token = self.last_stamp;
                let (request, open) = found.draw_command(&mut self.oracle, token, self.now);
                found.open.insert(token, open);
                let taken = client.submit(now, token, request);
                self.verdict.check(taken, || "a window that has room takes nothing".into());
            }
        }
        self.hosts[host].left -= 1;
        true
    }

    /// Asks for a task management function, which may end tasks of others without a word to them.
    fn manage(&mut self, host: usize, client: &mut Client) {
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
        client.manage(self.instant(), token, function, LogicalUnitNumber::from(lun));
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
        if matches!((&open.kind, &outcome), (Kind::Logout, Outcome::Lost)) {
            // The session goes on over other connections.
            self.hosts[host].is_leaving = false;
        }
        if let Outcome::TaskManagement(_) = outcome {
            for write in self.hosts[host].aborted.drain(..) {
                self.oracle.write_over(&write);
            }
        }
        let excuses = Excuses { is_troubled: self.is_troubled(session), store_has_failed: self.store.has_failed() };
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
        if let Some(client) = &mut self.sessions[session].client {
            client.manage(now, token, Function::AbortTaskSet, LogicalUnitNumber::from(lun));
        }
        self.turn_session(session);
    }

    /// A host goes away without a word.
    pub(crate) fn crash(&mut self, session: usize) {
        self.doom(session);
        self.sessions[session].has_left = true;
        self.sessions[session].client = None;
        let host = self.sessions[session].host;
        let tokens: Vec<u64> = self.hosts[host].open.keys().copied().collect();
        tokens.into_iter().for_each(|token| self.judge(session, token, Outcome::Lost));
        self.end_session(session);
        for place in 0..self.sessions[session].links.len() {
            self.look(self.sessions[session].links[place]);
        }
    }
}
