//! The session itself: the commands of its owner, and what the world does to it.

use super::connection::{Connection, Connections};
use super::numbering::Numbering;
use super::recovery::Probe;
use super::state::{SessionState, SessionTransition};
use super::task::{Concluded, Entry, Request, Requests, Task};
use super::text::TextExchange;
use super::timers::Alarm;
use super::{Command, Event, TaskManagement};
use crate::{BadPdu, CloseReason, LoginOutcome, Parameters, SendTargetsScope, SessionType, Violation};
use bytes::Bytes;
use iscsi_pdu::{Cid, CmdSn, Header, InitiatorTaskTag, Pdu, RejectReason};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How a session looks after its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// How long the target may be silent on a connection before [`Event::PingDue`]; none leaves pings to the owner. Not for discovery sessions.
    pub ping_interval: Option<Duration>,
    /// How long the target may be silent after that, or after a ping, or take for a logout, before the connection is lost.
    pub ping_timeout: Duration,
}

impl Default for SessionConfig {
    /// A ping after 5 s of silence, the end after 5 s more.
    fn default() -> Self {
        Self { ping_interval: Some(Duration::from_secs(5)), ping_timeout: Duration::from_secs(5) }
    }
}

/// The initiator's end of a session in the full feature phase.
///
/// # Contract
/// The `handle_*` functions take what the world did and return nothing. The commands ([`submit`](Self::submit) and its like) say
/// what the owner wants. Every consequence comes from [`poll_event`](Self::poll_event), [`poll_transmit`](Self::poll_transmit) and
/// [`poll_timeout`](Self::poll_timeout): after any `handle_*` or command, poll the first two until they give nothing, and the third
/// once. PDUs that were polled are to be sent in their order. `poll_transmit` may be left alone while the connection takes no more:
/// what waits is bounded by what the owner has submitted.
///
/// Tags belong to the owner. A tag is in use from the command that takes it to the event that ends the request, and must not be
/// given again in between, on no connection.
///
/// A session begins with one connection. Others [join](Self::add_connection) it; the owner chooses the connection of each
/// request. A connection is known by its CID until [`Event::ConnectionClosed`]: then its port is to be closed. What comes on a
/// connection that has ended is ignored, and a request on it is answered as after the end of the session.
///
/// After [`Event::Closed`] everything is ignored, and a command is answered by the event that no answer will come.
///
/// ```
/// # use iscsi_pdu::{Cid, CmdSn, InitiatorTaskTag, LunField, Pdu, ScsiResponseCode, StatSn};
/// # use iscsi_session::{LoginOutcome, Parameters, SessionType};
/// use iscsi_session::initiator::{Command, Event, Session, SessionConfig, Transfer};
///
/// # let outcome = LoginOutcome {
/// #     initiator_name: "iqn.2026-01.org.example:host".into(),
/// #     target_name: Some("iqn.2026-01.org.example:disk".into()),
/// #     session_type: SessionType::Normal,
/// #     isid: Default::default(),
/// #     tsih: Default::default(),
/// #     cid: Cid(0),
/// #     parameters: Parameters::default(),
/// #     cmd_sn: CmdSn(1),
/// #     stat_sn: StatSn(1),
/// #     max_cmd_sn: CmdSn(32),
/// #     authenticated_as: None,
/// # };
/// # let now = std::time::Instant::now();
/// let mut session = Session::new(&outcome, SessionConfig::default(), now);
/// let write = Command { cdb: [0x2a; 16], data: Transfer::Write(vec![0x5a; 4096].into()), ..Command::default() };
/// session.submit(now, outcome.cid, InitiatorTaskTag(7), write).expect("the target takes commands");
/// while let Some(pdu) = session.poll_transmit(outcome.cid) {
///     assert!(matches!(pdu, Pdu::ScsiCommand(command) if command.data.len() == 4096)); // to be sent
/// }
/// # let response = iscsi_pdu::ScsiResponse {
/// #     response: ScsiResponseCode::CompletedAtTarget,
/// #     status: 0,
/// #     status_qualifier: 0,
/// #     initiator_task_tag: InitiatorTaskTag(7),
/// #     snack_tag: 0,
/// #     stat_sn: StatSn(1),
/// #     exp_cmd_sn: CmdSn(2),
/// #     max_cmd_sn: CmdSn(33),
/// #     exp_data_sn: 0,
/// #     bidirectional_read_residual: iscsi_pdu::Residual::None,
/// #     residual: iscsi_pdu::Residual::None,
/// #     data: Default::default(),
/// # }
/// # .into();
/// session.handle_pdu(now, outcome.cid, response); // what has come from the target
/// while let Some(event) = session.poll_event() {
///     assert!(matches!(event, Event::TaskComplete { tag: InitiatorTaskTag(7), result } if result.status == 0));
/// }
/// ```
#[derive(Debug)]
pub struct Session {
    pub(super) config: SessionConfig,
    session_type: SessionType,
    /// ErrorRecoveryLevel, which no negotiation changes (RFC 7143 section 13.20).
    pub(super) recovery_level: u8,
    pub(super) state: SessionState,
    pub(super) numbering: Numbering,
    /// While a command waits to be acknowledged; from error recovery level 1.
    pub(super) probe: Option<Probe>,
    pub(super) connections: Connections,
    pub(super) requests: Requests,
    pub(super) concluded: Concluded,
    /// NOP-Outs in the place of commands, until the target has their numbers.
    pub(super) plugs: Vec<InitiatorTaskTag>,
    pub(super) events: VecDeque<Event>,
}

impl Session {
    /// A session that has just been logged in to, with its leading connection.
    #[must_use]
    pub fn new(outcome: &LoginOutcome, config: SessionConfig, now: Instant) -> Self {
        let mut connections = Connections::default();
        connections.push(Connection::new(outcome, outcome.parameters.clone(), config, now));
        Self {
            config,
            session_type: outcome.session_type,
            recovery_level: outcome.parameters.error_recovery_level,
            state: SessionState::Free.after(SessionTransition::Login),
            numbering: Numbering::new(outcome),
            probe: None,
            connections,
            requests: Requests::default(),
            concluded: Concluded::default(),
            plugs: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// What was negotiated for a connection and the session; none for a connection that has ended.
    #[must_use]
    pub fn parameters(&self, cid: Cid) -> Option<&Parameters> {
        self.connections.get(cid).map(|connection| &connection.parameters)
    }

    /// The connections on which PDUs come and go.
    pub fn cids(&self) -> impl Iterator<Item = Cid> {
        self.connections.iter().filter(|connection| connection.state.is_full_feature()).map(|connection| connection.cid)
    }

    /// Whether a connection has ended of which the target may not know yet: it may still carry out what was asked there. That is over once
    /// the connection was logged out or reinstated, or the target has forgotten it.
    #[must_use]
    pub fn is_in_cleanup(&self, cid: Cid) -> bool {
        self.connections.get(cid).is_some_and(|connection| connection.state.is_in_cleanup())
    }

    /// The connection that takes commands and has the fewest requests; none if no connection takes commands.
    #[must_use]
    pub fn least_busy(&self) -> Option<Cid> {
        let connections = self.connections.iter().filter(|connection| connection.state.takes_commands());
        connections.min_by_key(|connection| connection.requests).map(|connection| connection.cid)
    }

    /// The CmdSN that comes next: what the login of a further connection carries (RFC 7143 section 11.12.8).
    #[must_use]
    pub fn cmd_sn(&self) -> CmdSn {
        self.numbering.cmd_sn()
    }

    /// Whether the session has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == SessionState::Free
    }

    /// How many more commands [`submit`](Self::submit) takes now on a connection: the room in the target's command window, which
    /// all connections share; none in a discovery session, or once a logout was asked for by either side.
    #[must_use]
    pub fn window(&self, cid: Cid) -> u32 {
        let takes_commands = self.connections.get(cid).is_some_and(|connection| connection.state.takes_commands());
        if takes_commands && !self.is_discovery() { self.numbering.room() } else { 0 }
    }

    /// Submits a SCSI command on a connection, which carries all that belongs to it (RFC 7143 section 4.2.5.1).
    ///
    /// # Errors
    /// The command, if the [`window`](Self::window) is closed. It may open after any PDU from the target; it stays closed for a
    /// connection that ends.
    ///
    /// # Panics
    /// If `tag` is in use, the extended CDB is neither empty nor of 17 to 260 bytes, or the data to be written has 4 GiB: bugs of
    /// the caller.
    pub fn submit(&mut self, now: Instant, cid: Cid, tag: InitiatorTaskTag, command: Command) -> Result<(), Command> {
        let connection = self.connections.get_mut(cid).filter(|connection| connection.state.takes_commands());
        let Some(connection) = connection.filter(|_| self.numbering.room() > 0) else { return Err(command) };
        if self.session_type == SessionType::Discovery {
            return Err(command);
        }
        let cmd_sn = self.numbering.take_cmd_sn();
        self.requests.insert(tag, cid, cmd_sn, Request::Command(Task::new(command)));
        connection.requests += 1;
        connection.outbox.push_request(tag);
        if self.recovery_level > 0 {
            self.expect_acknowledgement(now, cid);
        }
        Ok(())
    }

    // RFC 7143 4.2.3.3-2, 11.5.1-4: data that was asked for still goes.
    /// Asks for a task management function; immediate. [`Event::TaskManagementComplete`] ends it.
    ///
    /// An ABORT TASK is for a SCSI command, and goes on the connection of that command, whatever `cid` is; one for a tag that names
    /// none, since it has ended, is answered here. TASK REASSIGN is for a command that [`Event::ReassignmentDue`] has named, and
    /// brings it to the connection `cid`.
    ///
    /// # Panics
    /// If `tag` is in use: a bug of the caller.
    pub fn manage_task(&mut self, _now: Instant, cid: Cid, tag: InitiatorTaskTag, asked: TaskManagement) {
        if !self.takes_requests(cid, tag) {
            return;
        }
        match self.way_of(cid, asked) {
            Ok(cid) => {
                let task = self.task_management(asked);
                self.request_immediately(cid, tag, Request::TaskManagement(task));
            }
            Err(response) => self.answer_here(tag, response),
        }
    }

    /// Pings the target with `data`, cut to the longest segment that the target takes; immediate. [`Event::PingComplete`] ends it.
    /// A discovery session has no pings: there it is answered here. From error recovery level 1 on, where single PDUs are lost, a ping
    /// is given up when a later one is answered, or when there are too many without an answer: [`Event::TaskLost`].
    ///
    /// # Panics
    /// If `tag` is in use: a bug of the caller.
    pub fn ping(&mut self, now: Instant, cid: Cid, tag: InitiatorTaskTag, mut data: Bytes) {
        let bytes_max = self.parameters(cid).map_or(0, |parameters| parameters.send_segment_bytes_max);
        data.truncate(bytes_max as usize);
        self.make_room_for_ping(cid);
        if self.request_immediately(cid, tag, Request::Ping(data)) {
            let connection = self.connections.known(cid);
            connection.timers.expect_pdu(now);
            if let Some(recovery) = &mut connection.recovery {
                recovery.expect_ping(now, tag);
            }
        }
    }

    /// Asks which targets there are. [`Event::Targets`] ends it.
    ///
    /// It takes its turn after text exchanges that are under way on the connection, and a place in the command window.
    ///
    /// # Panics
    /// If `tag` is in use, or the name has no form that a key may have: bugs of the caller.
    pub fn send_targets(&mut self, now: Instant, cid: Cid, tag: InitiatorTaskTag, scope: SendTargetsScope) {
        if self.exchange_text(cid, tag, TextExchange::send_targets(&scope)) && self.is_discovery() {
            self.connections.known(cid).timers.expect_pdu(now);
        }
    }

    /// Begins a parameter negotiation without an offer of our own, as the target has asked for by
    /// [`Event::NegotiationRequested`]. [`Event::NegotiationComplete`] ends it.
    ///
    /// # Panics
    /// If `tag` is in use: a bug of the caller.
    pub fn negotiate(&mut self, _now: Instant, cid: Cid, tag: InitiatorTaskTag) {
        self.exchange_text(cid, tag, TextExchange::negotiation());
    }

    /// Takes a PDU from the target.
    pub fn handle_pdu(&mut self, now: Instant, cid: Cid, pdu: Pdu) {
        let Some(connection) = self.connections.get_mut(cid) else { return };
        if !connection.state.is_full_feature() {
            return;
        }
        connection.timers.heard(now);
        let adopts = connection.adopts;
        let result = match connection.recovery {
            None => self.dispatch(now, cid, pdu),
            Some(_) => self.receive_in_order(now, cid, pdu),
        };
        if let Err(violation) = result {
            self.close(CloseReason::Violation(violation));
        }
        if adopts {
            self.adopt_late(now, cid);
        }
        if !self.plugs.is_empty() {
            self.end_plugs();
        }
    }

    // RFC 7143 7.7-1, 7.7-2, 7.8-5, 7.8-11: nothing of it is taken.
    /// Takes a PDU of which only the header can be trusted. One that means nothing ends the session (RFC 7143 section 7.7), a bad
    /// digest at error recovery level 0 the connection (section 7.8). Above, it is asked for again.
    pub fn handle_bad_pdu(&mut self, now: Instant, cid: Cid, header: Header, what: BadPdu) {
        let Some(connection) = self.connections.get_mut(cid).filter(|connection| connection.state.is_full_feature())
        else {
            return;
        };
        match what {
            BadPdu::Undecodable(error) => self.close(CloseReason::Malformed(error)),
            BadPdu::DataDigest if connection.recovery.is_none() => {
                self.lose(now, cid, CloseReason::DataDigest, self.default_retention());
            }
            BadPdu::DataDigest => {
                connection.timers.heard(now);
                if let Err(violation) = self.handle_bad_digest(now, cid, header) {
                    self.close(CloseReason::Violation(violation));
                }
            }
        }
    }

    /// A connection broke.
    pub fn handle_connection_lost(&mut self, now: Instant, cid: Cid) {
        self.lose(now, cid, CloseReason::ConnectionLost, self.default_retention());
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come, or may have.
    pub fn handle_timeout(&mut self, now: Instant) {
        let alarm = |connection: &Connection| {
            let is_missing = || connection.recovery_timeout().is_some_and(|at| at <= now);
            let alarm = connection.timers.alarm(now).or_else(|| is_missing().then_some(Alarm::StillMissing))?;
            Some((connection.cid, alarm))
        };
        // Each alarm ends the waiting that it comes from.
        while let Some((cid, alarm)) = self.connections.iter().find_map(alarm) {
            self.handle_alarm(now, cid, alarm);
        }
        if self.probe_timeout().is_some_and(|at| at <= now) {
            self.handle_probe_due(now);
        }
    }

    fn probe_timeout(&self) -> Option<Instant> {
        self.probe?.due
    }

    fn handle_alarm(&mut self, now: Instant, cid: Cid, alarm: Alarm) {
        match alarm {
            Alarm::PingDue => {
                self.connections.known(cid).timers.expect_pdu(now);
                self.want_ping(cid);
            }
            Alarm::Silent => self.lose(now, cid, CloseReason::PeerSilent, self.default_retention()),
            Alarm::LogoutOverdue => self.handle_logout_overdue(now, cid),
            Alarm::StillMissing => self.handle_recovery_timeout(now, cid),
            Alarm::CleanupDue => {
                self.connections.known(cid).timers.forget_cleanup_due();
                self.events.push_back(Event::CleanupDue { cid });
            }
            Alarm::Forgotten => self.handle_forgotten(now, cid),
            Alarm::TasksDue => self.offer_tasks(cid),
            Alarm::TasksForgotten => self.end_orphans(cid),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let times = self.connections.iter().flat_map(|connection| {
            [connection.timers.poll_timeout(), connection.recovery_timeout()].into_iter().flatten()
        });
        times.chain(self.probe_timeout()).min()
    }

    /// The next thing that the owner has to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether what the target speaks of, and is not outstanding on this connection, was ended without its response.
    pub(super) fn check_concluded(&self, cid: Cid, tag: InitiatorTaskTag) -> Result<(), Violation> {
        if self.concluded.contains(tag) {
            return Ok(());
        }
        let is_elsewhere = self.requests.get(tag).is_some_and(|entry| entry.is_sent() && entry.cid != cid);
        Err(if is_elsewhere { Violation::WrongConnection } else { Violation::UnknownInitiatorTaskTag })
    }

    /// RFC 7143 4.3: a session of text requests and a logout alone.
    pub(super) fn is_discovery(&self) -> bool {
        self.session_type == SessionType::Discovery
    }

    /// Keeps a request until it is answered, and gives its connection.
    pub(super) fn insert(
        &mut self,
        cid: Cid,
        tag: InitiatorTaskTag,
        cmd_sn: CmdSn,
        request: Request,
    ) -> &mut Connection {
        self.requests.insert(tag, cid, cmd_sn, request);
        let connection = self.connections.known(cid);
        connection.requests += 1;
        connection
    }

    /// Whether a connection takes requests; if not, this one is lost.
    pub(super) fn takes_requests(&mut self, cid: Cid, tag: InitiatorTaskTag) -> bool {
        let takes_requests = self.connections.get(cid).is_some_and(|connection| connection.state.takes_requests());
        if !takes_requests {
            self.events.push_back(Event::TaskLost { tag });
        }
        takes_requests
    }

    // RFC 7143 4.2.2.1-1, 4.2.2.1-2: the number of the command that comes next.
    /// Whether the request goes; if not, it is answered.
    pub(super) fn request_immediately(&mut self, cid: Cid, tag: InitiatorTaskTag, request: Request) -> bool {
        if !self.takes_requests(cid, tag) {
            return false;
        }
        if self.is_discovery() && !matches!(request, Request::Logout(_)) {
            self.events.push_back(Event::TaskRejected { tag, reason: RejectReason::CommandNotSupported });
            return false;
        }
        let cmd_sn = self.numbering.cmd_sn();
        self.insert(cid, tag, cmd_sn, request).outbox.push_request(tag);
        true
    }

    /// Whether the exchange takes its turn; if not, it is answered.
    fn exchange_text(&mut self, cid: Cid, tag: InitiatorTaskTag, exchange: TextExchange) -> bool {
        if !self.takes_requests(cid, tag) {
            return false;
        }
        let cmd_sn = self.numbering.cmd_sn();
        self.insert(cid, tag, cmd_sn, Request::Text(Box::new(exchange))).texts.push_back(tag);
        self.go_on_with_texts();
        true
    }

    /// Takes a request that has ended out of everything that knows of it.
    pub(super) fn remove(&mut self, tag: InitiatorTaskTag) -> Option<Entry> {
        let entry = self.requests.remove(tag)?;
        self.connections.known(entry.cid).forget(tag, &entry);
        if let Request::Text(_) = entry.request {
            self.go_on_with_texts();
        }
        Some(entry)
    }
}
