//! One session in the full feature phase, as a target has it (RFC 7143 sections 4.2 and 7).

use super::command::Stragglers;
use super::event::{Command, DataProgress, Event, RequestId};
use super::numbering::{CommandWindow, Place, StatusNumbering};
use super::state::{State, Transition};
use super::task::{Stage, TaskId, TaskOutcome, Tasks};
use super::task_management::Management;
use super::text::Exchange;
use super::timers::Timers;
use super::transmit::TransmitQueue;
use crate::{Answer, BadPdu, CloseReason, LoginOutcome, Parameters, SessionType, Violation};
use bytes::Bytes;
use iscsi_pdu::{
    Cid, CmdSn, DataOut, DecodeError, Frame, Header, InitiatorTaskTag, LogoutRequest, NopOut, Opcode, Pdu,
    RejectReason, TargetTransferTag, TaskManagementRequest, TextRequest,
};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What the owner of a session decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Commands that may be outstanding at once, at least 1: MaxCmdSN closes when there are so many.
    pub window: u32,
    /// Immediate commands that may be outstanding beside them, at least 1; as many immediate task management functions.
    pub immediate_max: u32,
    /// Silence after which the initiator is pinged; none for never. A discovery session is not pinged but ends after this and
    /// `ping_timeout`.
    pub ping_interval: Option<Duration>,
    /// Silence after a ping that ends the session.
    pub ping_timeout: Duration,
    /// How long the initiator has after [`Session::request_logout`]; sent in whole seconds, at most 65535.
    pub logout_grace: Duration,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            window: 128,
            immediate_max: 16,
            ping_interval: Some(Duration::from_secs(30)),
            ping_timeout: Duration::from_secs(10),
            logout_grace: Duration::from_secs(5),
        }
    }
}

/// A request that waits for its turn in the window.
#[derive(Debug)]
pub(super) enum Request {
    Command(Command),
    NopOut(NopOut),
    Text(TextRequest),
    Logout(LogoutRequest),
    TaskManagement(TaskManagementRequest),
}

/// Immediate requests whose answer has not left yet.
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
/// the owner polls the first two until they return `None`, then asks when to call [`handle_timeout`](Self::handle_timeout). It may
/// leave PDUs in `poll_transmit` while the connection takes no more; what waits there is bounded by the window.
///
/// Commands reach the owner in CmdSN order, immediate ones at once. Every [`Event::Command`] ends exactly once: by
/// [`complete`](Self::complete), by [`discard`](Self::discard) or with [`Event::Aborted`]. What the owner says about a task that has ended
/// meanwhile is ignored.
///
/// A session that is closed stays closed, with its first reason; what is to be sent before the connection ends still comes from
/// `poll_transmit`.
#[derive(Debug)]
pub struct Session {
    pub(super) parameters: Parameters,
    pub(super) session_type: SessionType,
    pub(super) target_name: Option<String>,
    pub(super) cid: Cid,
    pub(super) config: SessionConfig,
    /// A tag that the port has reserved for what places no data: pings and long texts.
    pub(super) tag: TargetTransferTag,
    pub(super) state: State,
    pub(super) closed: Option<CloseReason>,
    pub(super) window: CommandWindow<Request>,
    pub(super) statuses: StatusNumbering,
    pub(super) immediates: Immediates,
    pub(super) tasks: Tasks,
    /// Immediate commands behind a task management function that has not reached the device yet.
    pub(super) deferred: VecDeque<Command>,
    pub(super) stragglers: Stragglers,
    pub(super) management: Vec<Management>,
    pub(super) text: Option<Exchange>,
    pub(super) requests: u32,
    pub(super) timers: Timers,
    pub(super) transmit: TransmitQueue,
    pub(super) events: VecDeque<Event>,
}

impl Session {
    /// A session that begins when the final Login Response was sent. `ping_tag` is a tag of the port's that places nothing.
    #[must_use]
    pub fn new(outcome: &LoginOutcome, config: SessionConfig, ping_tag: TargetTransferTag, now: Instant) -> Self {
        // MaxCmdSN never goes back: what the login has announced holds.
        let configured = outcome.cmd_sn.advanced_by(config.window.max(1) - 1);
        let max = if outcome.max_cmd_sn.precedes(configured) { configured } else { outcome.max_cmd_sn };
        Self {
            parameters: outcome.parameters.clone(),
            session_type: outcome.session_type,
            target_name: outcome.target_name.clone(),
            cid: outcome.cid,
            tag: ping_tag,
            state: State::LoggedIn,
            closed: None,
            window: CommandWindow::new(outcome.cmd_sn, max),
            statuses: StatusNumbering::new(outcome.stat_sn),
            immediates: Immediates::default(),
            tasks: Tasks::new(),
            deferred: VecDeque::new(),
            stragglers: Stragglers::default(),
            management: Vec::new(),
            text: None,
            requests: 0,
            timers: Timers::new(outcome.session_type, &config, now),
            transmit: TransmitQueue::new(outcome.max_cmd_sn),
            events: VecDeque::new(),
            config,
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
        self.closed.is_some()
    }

    /// Commands that have not ended, among them those whose answer has not left.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Read data that waits in [`poll_transmit`](Self::poll_transmit), in bytes.
    #[must_use]
    pub fn data_in_bytes(&self) -> usize {
        self.transmit.data_in_bytes
    }

    /// A PDU has come on the connection `cid`.
    pub fn handle_pdu(&mut self, now: Instant, cid: Cid, pdu: Pdu) {
        if self.closed.is_some() || cid != self.cid {
            return;
        }
        self.timers.hear(now);
        if data_length(&pdu) > self.parameters.receive_segment_bytes_max as usize {
            return self.close(CloseReason::Violation(Violation::SegmentTooLong));
        }
        match pdu {
            Pdu::ScsiCommand(pdu) => self.handle_command(pdu),
            Pdu::DataOut(pdu) => self.handle_data_out(pdu),
            Pdu::NopOut(pdu) => self.handle_nop_out(pdu),
            Pdu::TextRequest(pdu) => self.handle_text(pdu),
            Pdu::TaskManagementRequest(pdu) => self.handle_task_management(pdu),
            Pdu::LogoutRequest(pdu) => self.handle_logout(pdu),
            Pdu::Snack(_) => self.violate(Violation::SnackNotSupported, pdu),
            Pdu::LoginRequest(_) => self.violate(Violation::LoginInFullFeaturePhase, pdu),
            _ => self.violate(Violation::NotFromInitiator, pdu),
        }
        self.make_progress();
    }

    /// A PDU has come of which only the header can be used.
    pub fn handle_bad_pdu(&mut self, now: Instant, cid: Cid, header: Header, what: BadPdu) {
        if self.closed.is_some() || cid != self.cid {
            return;
        }
        self.timers.hear(now);
        match what {
            BadPdu::Undecodable(error) => self.handle_undecodable(header, error),
            BadPdu::DataDigest => self.handle_data_digest_error(header),
        }
        self.make_progress();
    }

    /// The connection has ended.
    pub fn handle_connection_lost(&mut self, _now: Instant, cid: Cid) {
        if cid == self.cid {
            self.close(CloseReason::ConnectionLost);
            self.transmit.clear();
        }
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) gave has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.closed.is_none() {
            self.handle_timers(now);
            self.make_progress();
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing happens before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed.is_some() {
            return None;
        }
        let drain = self.management.iter().filter_map(Management::deadline).min();
        [self.timers.next(), drain].into_iter().flatten().min()
    }

    /// What has happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Takes a command's data, `length` bytes from the beginning, at most what the initiator expects to write. Data that came
    /// with the command stands in its event; unsolicited data may be on the way, and the rest is asked for with R2Ts that carry
    /// `tag`.
    pub fn receive_data(&mut self, task: TaskId, tag: TargetTransferTag, length: u32) -> DataProgress {
        let Some(entry) = self.tasks.get_mut(task).filter(|entry| matches!(entry.stage, Stage::Active)) else {
            return DataProgress::Pending;
        };
        if entry.receive.want(tag, length) {
            return DataProgress::Complete;
        }
        if let Some((offset, data)) = entry.receive.take_early() {
            self.events.push_back(Event::Data { task, offset, data });
        }
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
            if let Some(request) = self.window.next_held(barrier) {
                self.execute_held(request);
            } else if barrier.is_none()
                && let Some(command) = self.deferred.pop_front()
            {
                self.begin(command);
            } else if !self.advance_management() {
                return;
            }
        }
    }

    fn execute_held(&mut self, request: Request) {
        match request {
            Request::Command(command) => self.begin(command),
            Request::NopOut(pdu) => self.echo(pdu),
            Request::Logout(pdu) => self.log_out(&pdu),
            Request::TaskManagement(pdu) => self.manage(&pdu),
            Request::Text(pdu) => {
                if let Err(violation) = self.converse(&pdu) {
                    self.window.release();
                    self.violate(violation, pdu.into());
                }
            }
        }
    }

    /// Whether a request may be taken now: `true` if it is its turn, `false` if it has to be held.
    pub(super) fn admit(&self, immediate: bool, cmd_sn: CmdSn) -> Result<bool, Violation> {
        if immediate {
            return if self.immediates.commands < self.config.immediate_max.max(1) {
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

    /// An immediate request is taken, or a numbered one in its turn.
    pub(super) fn count(&mut self, immediate: bool) {
        if immediate {
            self.immediates.commands += 1;
        } else {
            self.window.advance();
        }
    }

    /// The answer to a request leaves.
    pub(super) fn release(&mut self, immediate: bool) {
        if immediate {
            self.immediates.commands -= 1;
        } else {
            self.window.release();
        }
    }

    fn handle_undecodable(&mut self, header: Header, error: DecodeError) {
        match (header.opcode(), error.field) {
            // RFC 7143 7.7: a header whose segments do not add up cannot be trusted.
            (Opcode::ScsiCommand, "AHSLength" | "AHSType") => self.close(CloseReason::Malformed(error)),
            (Opcode::Other(_), _) => self.violate_by_header(Violation::UnknownOpcode, header),
            (Opcode::LoginRequest, _) => self.violate_by_header(Violation::LoginInFullFeaturePhase, header),
            (opcode, _) if !opcode.is_from_initiator() => self.violate_by_header(Violation::NotFromInitiator, header),
            _ => self.violate_by_header(Violation::MalformedField, header),
        }
    }

    /// RFC 7143 7.8: a PDU with a wrong data digest is discarded, but the header counts.
    fn handle_data_digest_error(&mut self, header: Header) {
        let frame = Frame { header, ahs: Bytes::new(), data: Bytes::new() };
        match Pdu::decode(&frame) {
            Ok(Pdu::DataOut(pdu)) => self.handle_damaged_data_out(&pdu, header),
            Ok(Pdu::ScsiCommand(pdu)) if !pdu.is_final => {
                self.stragglers.add(pdu.initiator_task_tag);
                self.violate_by_header(Violation::DataDigestMismatch, header);
            }
            _ => self.violate_by_header(Violation::DataDigestMismatch, header),
        }
    }

    /// RFC 7143 4.3: a discovery session takes SendTargets and a logout, nothing else.
    pub(super) fn refuse_in_discovery(&self) -> Result<(), Violation> {
        match self.session_type {
            SessionType::Normal => Ok(()),
            SessionType::Discovery => Err(Violation::NotInDiscovery),
        }
    }

    /// Whether a request with this tag is open.
    pub(super) fn has_request(&self, tag: InitiatorTaskTag) -> bool {
        self.tasks.find(tag).is_some() || self.management.iter().any(|management| management.tag == tag)
    }

    pub(super) fn next_request_id(&mut self) -> RequestId {
        self.requests = self.requests.wrapping_add(1);
        RequestId(self.requests)
    }

    pub(super) fn violate(&mut self, violation: Violation, pdu: Pdu) {
        self.violate_by_header(violation, pdu.encode().header);
    }

    /// Does what the table says about a PDU that belongs to no task of ours.
    pub(super) fn violate_by_header(&mut self, violation: Violation, header: Header) {
        match violation.answer() {
            Answer::Ignore | Answer::Fail(_) | Answer::Refuse(_) => {}
            Answer::Reject(reason) | Answer::RejectAndFail(reason, _) => self.reject(reason, header),
            Answer::Close => self.close(CloseReason::Violation(violation)),
        }
    }

    pub(super) fn reject(&mut self, reason: RejectReason, header: Header) {
        if !self.transmit.push_reject(reason, header) {
            self.close(CloseReason::Violation(Violation::TooManyErrors));
        }
    }

    /// Goes a way of the connection's chart.
    pub(super) fn pass(&mut self, transition: Transition) {
        if let Some(state) = self.state.after(transition) {
            self.state = state;
        }
    }

    /// Ends the session and all its tasks.
    pub(super) fn close(&mut self, reason: CloseReason) {
        if self.closed.is_none() {
            self.abort_all(|_| true);
            self.end(reason);
        }
    }

    /// Ends the session; the caller has seen to its tasks.
    pub(super) fn end(&mut self, reason: CloseReason) {
        self.pass(match reason {
            CloseReason::LoggedOut => Transition::LogoutDone,
            CloseReason::Terminated | CloseReason::TargetReset => Transition::SessionEnds,
            _ => Transition::Failed,
        });
        // One connection alone: nobody else can clean up.
        self.pass(Transition::CleanupTimeout);
        self.management.clear();
        self.deferred.clear();
        self.text = None;
        self.closed = Some(reason);
        self.events.push_back(Event::Closed(reason));
    }

    fn handle_damaged_data_out(&mut self, pdu: &DataOut, header: Header) {
        self.take_data_out(pdu, header.data_segment_length() as u32, true);
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
