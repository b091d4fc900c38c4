//! The session itself: the commands of its owner, and how it ends.

use super::numbering::Numbering;
use super::outbox::Outbox;
use super::state::{State, Transition};
use super::task::{Concluded, Entry, Request, Requests, Task};
use super::task_management::TaskManagementTask;
use super::text::TextExchange;
use super::timers::{Alarm, Timers};
use super::{Command, Event, TaskManagement};
use crate::{BadPdu, CloseReason, LoginOutcome, Parameters, SendTargetsScope, SessionType, Violation};
use bytes::Bytes;
use iscsi_pdu::{
    Cid, Header, InitiatorTaskTag, LogoutReason, Pdu, RejectReason, TaskManagementFunction, TaskManagementResponseCode,
};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How a session looks after its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// How long the target may be silent before [`Event::PingDue`]; none leaves pings to the owner. Not for discovery sessions.
    pub ping_interval: Option<Duration>,
    /// How long the target may be silent after that, or after a ping, or take for a logout, before the session ends.
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
/// given again in between.
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
/// session.submit(now, InitiatorTaskTag(7), write).expect("the target takes commands");
/// while let Some(pdu) = session.poll_transmit(outcome.cid) {
///     assert!(matches!(pdu, Pdu::ScsiCommand(command) if command.data.len() == 4096)); // to be sent
/// }
/// # let response = iscsi_pdu::ScsiResponse {
/// #     response: ScsiResponseCode::CompletedAtTarget,
/// #     status: 0,
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
    pub(super) cid: Cid,
    pub(super) parameters: Parameters,
    session_type: SessionType,
    pub(super) state: State,
    pub(super) numbering: Numbering,
    pub(super) requests: Requests,
    pub(super) concluded: Concluded,
    pub(super) outbox: Outbox,
    /// Text exchanges, one at a time (RFC 7143 section 11.10); the first is under way.
    pub(super) texts: VecDeque<InitiatorTaskTag>,
    pub(super) timers: Timers,
    pub(super) events: VecDeque<Event>,
}

impl Session {
    /// A session that has just been logged in to.
    #[must_use]
    pub fn new(outcome: &LoginOutcome, config: SessionConfig, now: Instant) -> Self {
        Self {
            cid: outcome.cid,
            parameters: outcome.parameters.clone(),
            session_type: outcome.session_type,
            state: State::LoggedIn,
            numbering: Numbering::new(outcome),
            requests: Requests::default(),
            concluded: Concluded::default(),
            outbox: Outbox::default(),
            texts: VecDeque::new(),
            timers: Timers::new(config, outcome.session_type, now),
            events: VecDeque::new(),
        }
    }

    /// What was negotiated.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Whether the session has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Ended
    }

    /// How many more commands [`submit`](Self::submit) takes now: the room in the target's command window, none in a discovery
    /// session, or once a logout was asked for by either side.
    #[must_use]
    pub fn window(&self) -> u32 {
        if self.state.takes_commands() && !self.is_discovery() { self.numbering.room() } else { 0 }
    }

    /// Submits a SCSI command.
    ///
    /// # Errors
    /// The command, if the [`window`](Self::window) is closed. It may open after any PDU from the target; it stays closed for a
    /// session that ends.
    ///
    /// # Panics
    /// If `tag` is in use, the extended CDB is neither empty nor of 17 to 260 bytes, or the data to be written has 4 GiB: bugs of
    /// the caller.
    pub fn submit(&mut self, _now: Instant, tag: InitiatorTaskTag, command: Command) -> Result<(), Command> {
        if self.window() == 0 {
            return Err(command);
        }
        let cmd_sn = self.numbering.take_cmd_sn();
        self.requests.insert(tag, cmd_sn, Request::Command(Task::new(command)));
        self.outbox.push_request(tag);
        Ok(())
    }

    /// Asks for a task management function; immediate. [`Event::TaskManagementComplete`] ends it.
    ///
    /// An ABORT TASK is for a SCSI command; one for a tag that names none, since it has ended, is answered here.
    ///
    /// # Panics
    /// If `tag` is in use: a bug of the caller.
    pub fn manage_task(&mut self, _now: Instant, tag: InitiatorTaskTag, asked: TaskManagement) {
        let task = TaskManagementTask { asked, ref_cmd_sn: self.ref_cmd_sn(asked) };
        if asked.function == TaskManagementFunction::AbortTask && task.ref_cmd_sn.is_none() {
            let response = TaskManagementResponseCode::TaskDoesNotExist;
            return self.events.push_back(Event::TaskManagementComplete { tag, response });
        }
        self.request_immediately(tag, Request::TaskManagement(task));
    }

    /// Pings the target with `data`, cut to the longest segment that the target takes; immediate. [`Event::PingComplete`] ends it.
    /// A discovery session has no pings: there it is answered here.
    ///
    /// # Panics
    /// If `tag` is in use: a bug of the caller.
    pub fn ping(&mut self, now: Instant, tag: InitiatorTaskTag, mut data: Bytes) {
        data.truncate(self.parameters.send_segment_bytes_max as usize);
        if self.request_immediately(tag, Request::Ping(data)) {
            self.timers.expect_pdu(now);
        }
    }

    /// Asks which targets there are. [`Event::Targets`] ends it.
    ///
    /// It takes its turn after text exchanges that are under way, and a place in the command window.
    ///
    /// # Panics
    /// If `tag` is in use, or the name has no form that a key may have: bugs of the caller.
    pub fn send_targets(&mut self, now: Instant, tag: InitiatorTaskTag, scope: SendTargetsScope) {
        if self.is_discovery() {
            self.timers.expect_pdu(now);
        }
        self.exchange_text(tag, TextExchange::send_targets(&scope));
    }

    /// Begins a parameter negotiation without an offer of our own, as the target has asked for by
    /// [`Event::NegotiationRequested`]. [`Event::NegotiationComplete`] ends it.
    ///
    /// # Panics
    /// If `tag` is in use: a bug of the caller.
    pub fn negotiate(&mut self, _now: Instant, tag: InitiatorTaskTag) {
        self.exchange_text(tag, TextExchange::negotiation());
    }

    /// Ends the session, or its connection, which is the same with one connection; immediate. What was asked for before is sent
    /// first, but nothing after. [`Event::LogoutComplete`] and [`Event::Closed`] end it; requests without an answer are lost.
    ///
    /// # Panics
    /// If `tag` is in use: a bug of the caller.
    pub fn logout(&mut self, now: Instant, tag: InitiatorTaskTag, reason: LogoutReason) {
        // RFC 7143 4.3: a discovery session ends as a whole.
        let reason = if self.is_discovery() { LogoutReason::CloseSession } else { reason };
        if self.request_immediately(tag, Request::Logout(reason)) {
            self.timers.expect_logout(now);
            self.state = self.state.after(Transition::Logout);
        }
    }

    /// Takes a PDU from the target.
    pub fn handle_pdu(&mut self, now: Instant, cid: Cid, pdu: Pdu) {
        self.check_cid(cid);
        if self.is_closed() {
            return;
        }
        self.timers.heard(now);
        if let Err(violation) = self.dispatch(pdu) {
            self.close(CloseReason::Violation(violation));
        }
    }

    /// Takes a PDU of which only the header can be trusted. At error recovery level 0 it ends the session (RFC 7143 sections 7.7
    /// and 7.8).
    pub fn handle_bad_pdu(&mut self, _now: Instant, cid: Cid, _header: Header, what: BadPdu) {
        self.check_cid(cid);
        self.close(match what {
            BadPdu::Undecodable(error) => CloseReason::Malformed(error),
            BadPdu::DataDigest => CloseReason::DataDigest,
        });
    }

    /// The connection broke.
    pub fn handle_connection_lost(&mut self, _now: Instant, cid: Cid) {
        self.check_cid(cid);
        self.close(CloseReason::ConnectionLost);
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come, or may have.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.is_closed() {
            return;
        }
        match self.timers.alarm(now) {
            Some(Alarm::PingDue) => {
                self.timers.expect_pdu(now);
                self.events.push_back(Event::PingDue);
            }
            Some(Alarm::Silent) => self.close(CloseReason::PeerSilent),
            Some(Alarm::LogoutOverdue) => self.close(CloseReason::LogoutFailed),
            None => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_closed() { None } else { self.timers.poll_timeout() }
    }

    /// The next thing that the owner has to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn check_cid(&self, cid: Cid) {
        assert_eq!(cid, self.cid, "the session has one connection, which is the one that logged in");
    }

    /// Whether a request of this tag was ended without its response; if not, the target speaks of one that never was.
    pub(super) fn check_concluded(&self, tag: InitiatorTaskTag) -> Result<(), Violation> {
        if self.concluded.contains(tag) { Ok(()) } else { Err(Violation::UnknownInitiatorTaskTag) }
    }

    /// RFC 7143 4.3: a session of text requests and a logout alone.
    pub(super) fn is_discovery(&self) -> bool {
        self.session_type == SessionType::Discovery
    }

    /// Whether the request goes; if not, it is answered.
    fn request_immediately(&mut self, tag: InitiatorTaskTag, request: Request) -> bool {
        if !self.state.takes_requests() {
            self.events.push_back(Event::TaskLost { tag });
            return false;
        }
        if self.is_discovery() && !matches!(request, Request::Logout(_)) {
            self.events.push_back(Event::TaskRejected { tag, reason: RejectReason::CommandNotSupported });
            return false;
        }
        self.requests.insert(tag, self.numbering.cmd_sn(), request);
        self.outbox.push_request(tag);
        true
    }

    fn exchange_text(&mut self, tag: InitiatorTaskTag, exchange: TextExchange) {
        if !self.state.takes_requests() {
            return self.events.push_back(Event::TaskLost { tag });
        }
        self.requests.insert(tag, self.numbering.cmd_sn(), Request::Text(Box::new(exchange)));
        self.texts.push_back(tag);
        self.go_on_with_text();
    }

    /// Takes a request that has ended out of everything that knows of it.
    pub(super) fn remove(&mut self, tag: InitiatorTaskTag) -> Option<Entry> {
        let entry = self.requests.remove(tag)?;
        match &entry.request {
            Request::Command(task) if task.data.has_data_to_send() => self.outbox.remove_data(tag),
            Request::Text(_) => {
                self.texts.retain(|other| *other != tag);
                self.go_on_with_text();
            }
            _ => {}
        }
        Some(entry)
    }

    /// Ends the session, once: every request is lost.
    pub(super) fn close(&mut self, reason: CloseReason) {
        if self.is_closed() {
            return;
        }
        self.state = self.state.after(Transition::End);
        self.outbox.shut();
        self.texts.clear();
        self.events.extend(self.requests.drain().map(|tag| Event::TaskLost { tag }));
        self.events.push_back(Event::Closed(reason));
    }
}
