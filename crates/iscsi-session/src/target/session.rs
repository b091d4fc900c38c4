//! One session in the full feature phase, as a target has it (RFC 7143 sections 4.2 and 7): what its connections have in common.

use super::connection::Connection;
use super::event::{Command, DataProgress, Event, RequestId};
use super::fence::Fence;
use super::numbering::{CommandWindow, Place};
use super::session_state::SessionState;
use super::stragglers::Straggler;
use super::task::{Stage, TaskId, TaskOutcome, Tasks};
use super::task_management::Management;
use super::termination::Termination;
use crate::{Answer, BadPdu, CloseReason, LoginOutcome, Parameters, SessionType, Violation};
use bytes::Bytes;
use iscsi_pdu::{
    Cid, CmdSn, DecodeError, Frame, Header, InitiatorTaskTag, LogoutRequest, NopOut, Opcode, Pdu, TargetTransferTag,
    TaskManagementRequest, TextRequest,
};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What the owner of a session decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Commands that may be outstanding at once, at least 1: MaxCmdSN closes when there are so many.
    pub window: u32,
    /// Immediate commands that may be outstanding beside them on each connection, at least 1; as many immediate task management
    /// functions.
    pub immediate_max: u32,
    /// Whether the initiator may reset the target as a whole: TARGET WARM RESET and TARGET COLD RESET. It is a right, and not given by
    /// default.
    pub resettable: bool,
    /// Silence after which the initiator is pinged; none for never. A discovery session is not pinged but ends after this and
    /// `ping_timeout`.
    pub ping_interval: Option<Duration>,
    /// Silence after a ping that ends the connection.
    pub ping_timeout: Duration,
    /// How long the initiator has after [`Session::request_logout`]; sent in whole seconds, at most 65535.
    pub logout_grace: Duration,
    /// From error recovery level 1 on: statuses that are kept on each connection until the initiator acknowledges them, at least 1; as
    /// many for connections that are gone.
    pub retained_statuses_max: usize,
    /// From error recovery level 1 on: read data that was sent and is kept until the initiator acknowledges the status, in bytes. What
    /// has not been sent comes beside that.
    pub retained_data_bytes_max: usize,
    /// From error recovery level 1 on: silence after which data that an R2T asked for counts as lost; noticed after this time at least
    /// and after twice as much at most. After this time the answer to a ping counts as lost too, if anything else has come since.
    pub sequence_timeout: Duration,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            window: 128,
            immediate_max: 16,
            resettable: false,
            ping_interval: Some(Duration::from_secs(30)),
            ping_timeout: Duration::from_secs(10),
            logout_grace: Duration::from_secs(5),
            retained_statuses_max: 1024,
            retained_data_bytes_max: 16 << 20,
            sequence_timeout: Duration::from_secs(2),
        }
    }
}

/// A request that waits for its turn in the window, and the connection that it came on.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) cid: Cid,
    pub(super) request: Request,
}

#[derive(Debug)]
pub(super) enum Request {
    Command(Command),
    NopOut(NopOut),
    Text(TextRequest),
    Logout(LogoutRequest),
    TaskManagement(TaskManagementRequest),
}

/// Immediate requests of a connection whose answer has not left yet.
#[derive(Debug, Default)]
pub(super) struct Immediates {
    pub(super) commands: u32,
    pub(super) functions: u32,
}

/// One session in the full feature phase.
///
/// It is a state machine without input or output of its own. `handle_*` takes what the world did and returns nothing. The
/// other methods with `&mut self` say what the owner wants. [`poll_event`](Self::poll_event),
/// [`poll_transmit`](Self::poll_transmit) and [`poll_timeout`](Self::poll_timeout) give every consequence: after any call
/// the owner polls the first two until they return `None`, for all connections in turn, then asks when to call
/// [`handle_timeout`](Self::handle_timeout). It may leave PDUs in `poll_transmit` while a connection takes no more; what waits there is
/// bounded by the window.
///
/// A session begins with one connection; others join it by [`add_connection`](Self::add_connection), and each ends by
/// [`Event::ConnectionClosed`] or with the session. They are named by their CIDs.
///
/// Commands reach the owner in CmdSN order, immediate ones at once. Every [`Event::Command`] ends exactly once: by
/// [`complete`](Self::complete), by [`discard`](Self::discard) or with [`Event::Aborted`]. What the owner says about a task that has ended
/// meanwhile is ignored.
///
/// A session that is closed stays closed, with its first reason; what is to be sent before its connections end still comes from
/// `poll_transmit`.
#[derive(Debug)]
pub struct Session {
    pub(super) parameters: Parameters,
    pub(super) session_type: SessionType,
    pub(super) target_name: Option<String>,
    pub(super) config: SessionConfig,
    pub(super) state: SessionState,
    pub(super) connections: Vec<Connection>,
    /// The last time that the session was told of.
    pub(super) now: Instant,
    pub(super) closed: Option<CloseReason>,
    /// When the session ends, if it has no connection until then.
    pub(super) continue_until: Option<Instant>,
    /// When the first task is given up that nobody has reassigned.
    pub(super) give_up_at: Option<Instant>,
    pub(super) window: CommandWindow<Held>,
    /// MaxCmdSN as the initiator knows it.
    pub(super) announced: CmdSn,
    pub(super) tasks: Tasks,
    /// Read data of tasks whose status was sent, in bytes.
    pub(super) retained_bytes: usize,
    /// When to look for data that does not come.
    pub(super) silence_at: Option<Instant>,
    /// Immediate commands behind a task management function that has not reached the device yet.
    pub(super) deferred: VecDeque<Command>,
    pub(super) management: Vec<Management>,
    pub(super) fences: Vec<Fence>,
    pub(super) terminations: Vec<Termination>,
    pub(super) requests: u32,
    pub(super) events: VecDeque<Event>,
}

impl Session {
    // RFC 7143 4.2.1-1, 4.2.2.1-10: it begins with its leading connection, and MaxCmdSN never goes back.
    /// A session that begins when the final Login Response of its leading connection was sent. `ping_tag` is a tag of the port's
    /// that places nothing.
    #[must_use]
    pub fn new(outcome: &LoginOutcome, config: SessionConfig, ping_tag: TargetTransferTag, now: Instant) -> Self {
        // MaxCmdSN never goes back: what the login has announced holds.
        let configured = outcome.cmd_sn.advanced_by(config.window.max(1) - 1);
        let max = if outcome.max_cmd_sn.precedes(configured) { configured } else { outcome.max_cmd_sn };
        Self {
            parameters: outcome.parameters.clone(),
            session_type: outcome.session_type,
            target_name: outcome.target_name.clone(),
            state: SessionState::LoggedIn,
            connections: vec![Connection::new(outcome, outcome.session_type, &config, ping_tag, now)],
            now,
            closed: None,
            continue_until: None,
            give_up_at: None,
            window: CommandWindow::new(outcome.cmd_sn, max),
            announced: outcome.max_cmd_sn,
            tasks: Tasks::new(),
            retained_bytes: 0,
            silence_at: None,
            deferred: VecDeque::new(),
            management: Vec::new(),
            fences: Vec::new(),
            terminations: Vec::new(),
            requests: 0,
            events: VecDeque::new(),
            config,
        }
    }

    /// What was negotiated; what belongs to a connection is the leading connection's.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Whether the session has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// ExpCmdSN and MaxCmdSN, for the login of a connection that joins.
    #[must_use]
    pub fn command_numbers(&self) -> (CmdSn, CmdSn) {
        (self.window.expected(), self.window.max())
    }

    /// Commands that have not ended, among them those whose answer has not left.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.tasks.iter().filter(|(_, task)| !task.has_left()).count()
    }

    /// Read data that waits in [`poll_transmit`](Self::poll_transmit) of the connection `cid`, in bytes.
    #[must_use]
    pub fn data_in_bytes(&self, cid: Cid) -> usize {
        self.find(cid).map_or(0, |at| self.connections[at].transmit.data_in_bytes)
    }

    /// MaxRecvDataSegmentLength that the initiator has declared on the connection `cid`, in bytes; none if there is none.
    #[must_use]
    pub fn send_segment_bytes_max(&self, cid: Cid) -> Option<u32> {
        self.find(cid).map(|at| self.connections[at].send_segment_bytes_max)
    }

    /// A PDU has come on the connection `cid`.
    pub fn handle_pdu(&mut self, now: Instant, cid: Cid, pdu: Pdu) {
        let Some(at) = self.find_open(cid) else { return };
        self.hear(at, now);
        if data_length(&pdu) > self.connections[at].receive_segment_bytes_max as usize {
            return self.close(CloseReason::Violation(Violation::SegmentTooLong));
        }
        match pdu {
            Pdu::ScsiCommand(pdu) => self.handle_command(at, pdu),
            Pdu::DataOut(pdu) => self.handle_data_out(at, pdu),
            Pdu::NopOut(pdu) => self.handle_nop_out(at, pdu),
            Pdu::TextRequest(pdu) => self.handle_text(at, pdu),
            Pdu::TaskManagementRequest(pdu) => self.handle_task_management(at, pdu),
            Pdu::LogoutRequest(pdu) => self.handle_logout(at, pdu),
            Pdu::Snack(pdu) => self.handle_snack(at, &pdu),
            Pdu::LoginRequest(_) => self.violate(at, Violation::LoginInFullFeaturePhase, pdu),
            _ => self.violate(at, Violation::NotFromInitiator, pdu),
        }
        self.make_progress();
    }

    /// A PDU has come of which only the header can be used.
    pub fn handle_bad_pdu(&mut self, now: Instant, cid: Cid, header: Header, what: BadPdu) {
        let Some(at) = self.find_open(cid) else { return };
        self.hear(at, now);
        match what {
            BadPdu::Undecodable(error) => self.handle_undecodable(at, header, error),
            BadPdu::DataDigest => self.handle_data_digest_error(at, header),
        }
        self.make_progress();
    }

    fn hear(&mut self, at: usize, now: Instant) {
        self.now = now;
        self.connections[at].timers.hear(now);
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) gave has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.handle_timers(now);
        self.make_progress();
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_closed() {
            return None;
        }
        let open = self.connections.iter().filter(|connection| connection.is_open());
        let lost_after = self.pings_lost_after();
        let timers = open.filter_map(|connection| connection.timers.next(self.now, lost_after));
        let management = self.management.iter().filter_map(Management::deadline);
        timers.chain(management).chain(self.silence_at).chain(self.recovery_deadline()).min()
    }

    /// What has happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether something has happened that [`poll_event`](Self::poll_event) has not told yet.
    #[must_use]
    pub fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// Takes a command's data, `length` bytes from the beginning, at most what the initiator expects to write. Data that came
    /// with the command stands in its event; unsolicited data may be on the way, and the rest is asked for with R2Ts that carry
    /// `tag`. The tag is in use until [`Event::DataComplete`] or [`Event::TagFree`], or the end of the connection; or not at all if the
    /// answer is that all is there. Where all has come with the command there may be none; nothing is asked for then.
    pub fn receive_data(
        &mut self,
        task: TaskId,
        tag: impl Into<Option<TargetTransferTag>>,
        length: u32,
    ) -> DataProgress {
        let Some(entry) = self.tasks.get_mut(task).filter(|entry| matches!(entry.stage, Stage::Active)) else {
            return DataProgress::Pending;
        };
        if entry.receive.want(tag.into(), length) {
            return DataProgress::Complete;
        }
        let events = &mut self.events;
        entry.receive.take_early(|(offset, data)| events.push_back(Event::Data { task, offset, data }));
        self.pursue_data(task);
        DataProgress::Pending
    }

    /// Ends a command: its data and status go to the initiator, after all data that the initiator may still send for it.
    pub fn complete(&mut self, task: TaskId, outcome: TaskOutcome) {
        let Some(entry) = self.tasks.get_mut(task).filter(|entry| matches!(entry.stage, Stage::Active)) else {
            return;
        };
        entry.receive.discard();
        self.settle(task, outcome);
    }

    // RFC 7143 4.2.2.3.4-2, 4.2.3.3-12, 4.2.3.4-16, 4.2.3.6-1: whatever was agreed upon.
    /// As [`complete`](Self::complete), for the first status with a unit attention after a function for many tasks: where there are several
    /// connections, it leaves after all before it were acknowledged, and all others after it was.
    pub fn complete_fenced(&mut self, task: TaskId, outcome: TaskOutcome) {
        let has_others = self.cids().nth(1).is_some();
        if let Some(entry) = self.tasks.get_mut(task).filter(|_| has_others) {
            entry.fenced = true;
        }
        self.complete(task, outcome);
    }

    /// Ends a command without a word to the initiator: another one has aborted it.
    pub fn discard(&mut self, task: TaskId) {
        if self.tasks.get(task).is_some_and(|entry| matches!(entry.stage, Stage::Active)) {
            self.remove_task(task);
            self.make_progress();
        }
    }

    /// Delivers what waits for its turn, if its turn has come.
    pub(super) fn make_progress(&mut self) {
        if !self.window.holds_any() && self.management.is_empty() && self.deferred.is_empty() {
            return;
        }
        while self.closed.is_none() {
            let barrier = self.barrier();
            if let Some(held) = self.window.next_held(barrier) {
                self.execute_held(held);
            } else if barrier.is_none()
                && let Some(command) = self.deferred.pop_front()
            {
                self.begin(command);
            } else if !self.advance_management() {
                return;
            }
        }
    }

    fn execute_held(&mut self, held: Held) {
        let Some(at) = self.find_open(held.cid) else { return };
        match held.request {
            Request::Command(command) => self.begin(command),
            Request::NopOut(pdu) => self.echo(at, pdu),
            Request::Logout(pdu) => self.log_out(at, &pdu),
            Request::TaskManagement(pdu) => self.manage(at, &pdu),
            Request::Text(pdu) => {
                if let Err(violation) = self.converse(at, &pdu) {
                    self.window.release();
                    self.violate(at, violation, pdu.into());
                }
            }
        }
    }

    // RFC 7143 4.2.2.1-5: one immediate command too.
    /// Whether a request may be taken now: `true` if it is its turn, `false` if it has to be held.
    pub(super) fn admit(&self, at: usize, immediate: bool, cmd_sn: CmdSn) -> Result<bool, Violation> {
        if immediate {
            return if self.connections[at].immediates.commands < self.config.immediate_max.max(1) {
                Ok(true)
            } else {
                Err(Violation::TooManyImmediate)
            };
        }
        match self.window.place(cmd_sn) {
            Place::Next => Ok(self.barrier().is_none_or(|barrier| cmd_sn.precedes(barrier))),
            Place::Ahead => Ok(false),
            Place::Outside => Err(Violation::OutsideCommandWindow),
        }
    }

    /// Keeps a request of the connection `at` until its turn.
    pub(super) fn hold(&mut self, at: usize, cmd_sn: CmdSn, request: Request) {
        self.window.hold(cmd_sn, Held { cid: self.connections[at].cid, request });
    }

    /// An immediate request is taken, or a numbered one in its turn.
    pub(super) fn count(&mut self, at: usize, immediate: bool) {
        if immediate {
            self.connections[at].immediates.commands += 1;
        } else {
            self.window.advance();
        }
    }

    /// The answer to a request leaves.
    pub(super) fn release(&mut self, at: usize, immediate: bool) {
        if immediate {
            self.connections[at].immediates.commands -= 1;
        } else {
            self.window.release();
        }
    }

    fn handle_undecodable(&mut self, at: usize, header: Header, error: DecodeError) {
        match (header.opcode(), error.field) {
            // RFC 7143 7.7: a header whose segments do not add up cannot be trusted.
            (Opcode::ScsiCommand, "AHSLength" | "AHSType") => self.close(CloseReason::Malformed(error)),
            (Opcode::Other(_), _) => self.violate_by_header(at, Violation::UnknownOpcode, header),
            (Opcode::LoginRequest, _) => self.violate_by_header(at, Violation::LoginInFullFeaturePhase, header),
            (opcode, _) if !opcode.is_from_initiator() => {
                self.violate_by_header(at, Violation::NotFromInitiator, header)
            }
            _ => self.violate_by_header(at, Violation::MalformedField, header),
        }
    }

    // RFC 7143 7.8-2: answered and dropped.
    /// RFC 7143 7.8: a PDU with a wrong data digest is discarded, but the header counts.
    fn handle_data_digest_error(&mut self, at: usize, header: Header) {
        match Pdu::decode(Frame { header, ahs: Box::default(), data: Bytes::new() }) {
            Ok(Pdu::DataOut(pdu)) => self.handle_damaged_data_out(at, &pdu, header),
            Ok(Pdu::ScsiCommand(pdu)) if !pdu.is_final => {
                self.add_straggler(at, Straggler::new(pdu.initiator_task_tag, pdu.lun, None));
                self.violate_by_header(at, Violation::DataDigestMismatch, header);
            }
            _ => self.violate_by_header(at, Violation::DataDigestMismatch, header),
        }
    }

    // RFC 7143 4.3-1, 4.3-2.
    /// RFC 7143 4.3: a discovery session takes SendTargets and a logout, nothing else.
    pub(super) fn refuse_in_discovery(&self) -> Result<(), Violation> {
        match self.session_type {
            SessionType::Normal => Ok(()),
            SessionType::Discovery => Err(Violation::NotInDiscovery),
        }
    }

    /// Whether a request with this tag is open.
    pub(super) fn has_request(&self, tag: InitiatorTaskTag) -> bool {
        let is_open = |id| self.tasks.get(id).is_some_and(|task| !task.has_left());
        self.tasks.find(tag).is_some_and(is_open) || self.is_function(tag)
    }

    /// Whether a task management function with this tag is open.
    fn is_function(&self, tag: InitiatorTaskTag) -> bool {
        self.management.iter().any(|management| management.tag == tag)
    }

    /// Whether a request with this tag is open that is no SCSI command.
    pub(super) fn is_other_request(&self, tag: InitiatorTaskTag) -> bool {
        let is_text = |connection: &Connection| connection.text.as_ref().is_some_and(|text| text.tag == tag);
        self.is_function(tag) || self.connections.iter().any(is_text)
    }

    pub(super) fn next_request_id(&mut self) -> RequestId {
        self.requests = self.requests.wrapping_add(1);
        RequestId(self.requests)
    }

    pub(super) fn violate(&mut self, at: usize, violation: Violation, pdu: Pdu) {
        self.violate_by_header(at, violation, pdu.encode().header);
    }

    // RFC 7143 7.3-2: a number that was not counted is missing still.
    /// Reports a PDU that breaks a rule, and does what the table says about it; the caller fails its task, if it has one.
    pub(super) fn violate_by_header(&mut self, at: usize, violation: Violation, header: Header) {
        match violation.answer() {
            Answer::Ignore | Answer::Fail(_) | Answer::Refuse(_) => self.report(at, violation),
            Answer::Reject(reason) | Answer::RejectAndFail(reason, _) => {
                self.report(at, violation);
                if !self.connections[at].transmit.push_reject(reason, header) {
                    self.close(CloseReason::Violation(Violation::TooManyErrors));
                }
            }
            Answer::Close => self.close(CloseReason::Violation(violation)),
        }
    }

    /// Tells the owner of a rule that was broken on the connection `at`.
    pub(super) fn report(&mut self, at: usize, violation: Violation) {
        self.events.push_back(Event::Violated { cid: self.connections[at].cid, violation });
    }
}

fn data_length(pdu: &Pdu) -> usize {
    match pdu {
        Pdu::ScsiCommand(pdu) => pdu.data.len(),
        Pdu::DataOut(pdu) => pdu.data.len(),
        Pdu::NopOut(pdu) => pdu.data.len(),
        Pdu::TextRequest(pdu) => pdu.data.len(),
        _ => 0,
    }
}
