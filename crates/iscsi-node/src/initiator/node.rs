//! The node: the session, and the connections that it has.

use super::Request;
use super::connection::{Connection, ConnectionPlan, Link, State};
use super::connections::Connections;
use super::escalation::{Escalation, Watchdog};
use super::event::{Event, Outcome};
use super::tasks::{Doubtful, Open, Purpose, watches};
use bytes::Bytes;
use iscsi_pdu::{Cid, LunField, TaskManagementFunction, TaskManagementResponseCode};
use iscsi_session::initiator::{Login, LoginConfig, Logout, Session, SessionConfig, TaskManagement};
use iscsi_session::{CloseReason, Parameters, SendTargetsScope};
use iscsi_transport::PduPort;
use scsi_block::LogicalUnitNumber;
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

pub(super) enum Phase {
    Login,
    FullFeature(Box<Session>),
    Ended,
}

impl Phase {
    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        if let Self::FullFeature(session) = self { Some(session) } else { None }
    }
}

/// One session of an initiator.
///
/// The owner's turn: give requests; `drive` when a port became ready or had more; `handle_timeout` when `poll_timeout` has passed; `flush`;
/// `poll_event`.
///
/// The session begins with one connection. [`set_connections`](Self::set_connections) lets it have more, for which the node then asks by
/// [`Event::ConnectionWanted`]. Requests go on the connection that has the least to do, and stay there (RFC 7143 section 4.2.5.1). What
/// becomes of them when it is lost stands in `recovery`.
pub struct InitiatorNode<P> {
    /// Who we are, for the logins of further connections.
    pub(super) login: LoginConfig,
    pub(super) config: SessionConfig,
    pub(super) plan: Option<ConnectionPlan>,
    pub(super) connections: Connections<P>,
    /// Links that there have been beside the first.
    pub(super) links: u32,
    pub(super) phase: Phase,
    /// The session is to end.
    pub(super) is_leaving: bool,
    pub(super) watchdog: Watchdog,
    pub(super) open: HashMap<u32, Open>,
    pub(super) doubtful: Vec<Doubtful>,
    pub(super) events: VecDeque<Event>,
}

impl<P: PduPort> InitiatorNode<P> {
    /// Begins a login on a port that has just been connected. `random` is unpredictable and used once.
    pub fn new(port: P, mut login: LoginConfig, session: SessionConfig, random: [u8; 32], now: Instant) -> Self {
        let own_max = &mut login.limits.receive_segment_bytes_max;
        *own_max = (*own_max).min(port.capabilities().receive_segment_bytes_max);
        let link = Link::new(0, port, |tag| Login::new(login.clone(), tag, random, now));
        Self {
            connections: Connections::new(Connection::new(login.cid, State::Open(link))),
            login,
            config: session,
            plan: None,
            links: 0,
            phase: Phase::Login,
            is_leaving: false,
            watchdog: Watchdog::default(),
            open: HashMap::new(),
            doubtful: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// Sets what is done about commands that do not end in time; nothing is, unless this is called. It holds for commands that are
    /// submitted afterwards.
    pub fn set_escalation(&mut self, plan: Option<Escalation>) {
        self.watchdog = Watchdog::new(plan);
    }

    /// Commands that the target takes at this moment.
    #[must_use]
    pub fn window(&self) -> u32 {
        match &self.phase {
            Phase::FullFeature(session) => session.least_busy().map_or(0, |cid| session.window(cid)),
            _ => 0,
        }
    }

    /// What was negotiated, once logged in: for the session, and for the first of its connections.
    #[must_use]
    pub fn parameters(&self) -> Option<&Parameters> {
        match &self.phase {
            Phase::FullFeature(session) => session.cids().next().and_then(|cid| session.parameters(cid)),
            _ => None,
        }
    }

    /// Connections of the session that are in use.
    #[must_use]
    pub fn connections(&self) -> usize {
        match &self.phase {
            Phase::FullFeature(session) => session.cids().count(),
            _ => 0,
        }
    }

    /// Sends a SCSI command.
    ///
    /// # Errors
    /// The request itself, if the target's window has no room or there is no connection for it now.
    pub fn submit(&mut self, now: Instant, token: u64, request: Request) -> Result<(), Request> {
        let Phase::FullFeature(session) = &mut self.phase else { return Err(request) };
        let Some(cid) = session.least_busy().filter(|cid| session.window(*cid) > 0) else { return Err(request) };
        let bytes = request.read_bytes();
        let command = request.into_command();
        let watch = self.watchdog.watch(now, command.lun, command.cdb[0]);
        let tag = self.begin(cid, bytes, Some(token), watch.map_or(Purpose::Other, Purpose::Watched));
        if let Phase::FullFeature(session) = &mut self.phase {
            assert!(session.submit(now, cid, tag, command).is_ok(), "the window was seen to have room");
        }
        Ok(())
    }

    /// Asks for a task management function about a logical unit or the target.
    pub fn manage(&mut self, now: Instant, token: u64, function: TaskManagementFunction, lun: LogicalUnitNumber) {
        let lun = LunField(lun.to_wire());
        let request = TaskManagement { function, lun, referenced: None };
        let purpose = self.watchdog.watch_function(now, lun).map_or(Purpose::Other, Purpose::Watched);
        self.ask_for(purpose, Some(token), |session, cid, tag| session.manage_task(now, cid, tag, request));
    }

    /// Asks for a task management function about a command that was submitted as `command`: ABORT TASK or QUERY TASK. A command that is
    /// not under way is one that does not exist.
    pub fn manage_command(&mut self, now: Instant, token: u64, function: TaskManagementFunction, command: u64) {
        let Some(tag) = self.tag_of(command) else {
            let outcome = Outcome::TaskManagement(TaskManagementResponseCode::TaskDoesNotExist);
            return self.events.push_back(Event::Complete { token, outcome });
        };
        let request = TaskManagement { function, lun: LunField::default(), referenced: Some(tag) };
        let purpose = self.watchdog.watch_function(now, request.lun).map_or(Purpose::Other, Purpose::Watched);
        self.ask_for(purpose, Some(token), |session, cid, tag| session.manage_task(now, cid, tag, request));
    }

    /// Sends a ping.
    pub fn ping(&mut self, now: Instant, token: u64, data: Bytes) {
        self.ask(Some(token), |session, cid, tag| session.ping(now, cid, tag, data));
    }

    /// Asks for targets.
    pub fn send_targets(&mut self, now: Instant, token: u64, scope: SendTargetsScope) {
        self.ask(Some(token), |session, cid, tag| session.send_targets(now, cid, tag, scope));
    }

    /// Ends the session.
    pub fn logout(&mut self, now: Instant, token: u64) {
        self.want_no_more();
        if self.carrier().is_none() {
            self.events.push_back(Event::Complete { token, outcome: Outcome::Lost });
            return self.abandon(Event::Closed(CloseReason::ConnectionLost));
        }
        self.ask(Some(token), |session, cid, tag| session.logout(now, cid, tag, Logout::Session));
    }

    /// The port of a connection, for what does not carry PDUs; none if there is none now.
    pub fn port_mut(&mut self, cid: Cid) -> Option<&mut P> {
        self.connections.link_mut(cid).map(|link| &mut link.port)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        for connection in self.connections.iter_mut() {
            if let Some((login, _)) = connection.link_mut().and_then(|link| link.login.as_mut()) {
                login.handle_timeout(now);
            }
        }
        if let Phase::FullFeature(session) = &mut self.phase {
            session.handle_timeout(now);
        }
        self.handle_events(now);
        for measure in self.watchdog.handle_timeout(now, watches(&mut self.open)) {
            self.take(now, measure);
        }
    }

    /// When `handle_timeout` is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let connections = self.connections.iter().filter_map(Connection::poll_timeout);
        match &self.phase {
            Phase::Login => connections.min(),
            Phase::FullFeature(session) => {
                connections.chain(session.poll_timeout()).chain(self.watchdog.poll_timeout()).min()
            }
            Phase::Ended => None,
        }
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether the node has nothing more to do.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }
}

impl<P> std::fmt::Debug for InitiatorNode<P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("InitiatorNode").field("open", &self.open.len()).finish_non_exhaustive()
    }
}
