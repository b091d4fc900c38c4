//! The node: one port, and the login or session on it.

use super::escalation::{Escalation, Measure, Watch, Watchdog};
use super::{Completion, Request, Segments};
use bytes::Bytes;
use iscsi_pdu::{
    Cid, InitiatorTaskTag, Pdu, RejectReason, ScsiResponseCode, TaskManagementFunction, TaskManagementResponseCode,
};
use iscsi_session::initiator::{
    Event as SessionEvent, Login, LoginConfig, LoginEvent, Logout, Session, SessionConfig, TaskManagement, TaskResult,
};
use iscsi_session::{BadPdu, CloseReason, LoginFailure, LoginOutcome, Parameters, SendTargetsScope, TargetRecord};
use iscsi_transport::{Digests, Flush, PduPort, PortError, ReceiveLimits, Received};
use scsi_block::LogicalUnitNumber;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// PDUs that are handled in one turn.
const PDUS_PER_TURN: usize = 256;

/// How a request ended.
#[derive(Debug)]
pub enum Outcome {
    /// A SCSI command was carried out, well or not.
    Command(Completion),
    /// A task management function has ended.
    TaskManagement(iscsi_pdu::TaskManagementResponseCode),
    /// A ping was answered with this data.
    Ping(Bytes),
    /// The targets that may be used.
    Targets(Vec<TargetRecord>),
    /// The logout was answered; the session ends with it.
    Logout(iscsi_pdu::LogoutResponseCode),
    /// The target has failed: it could not carry out the command (RFC 7143 section 11.4.3).
    TargetFailure,
    /// The command was ended by a task management function or by the target; its effects are unknown.
    Aborted,
    /// The command had not ended in its time and was aborted; its effects are unknown.
    TimedOut,
    /// The target did not take the request; it had no effect.
    Rejected(RejectReason),
    /// No answer will come; the effects are unknown.
    Lost,
}

/// What the owner of a node has to know.
#[derive(Debug)]
pub enum Event {
    /// The session has begun: requests are taken.
    LoggedIn(Box<LoginOutcome>),
    /// The target is elsewhere (RFC 7143 section 11.13.5, class 1); this connection is over.
    Redirected {
        /// Where: `host[:port]`.
        address: String,
        /// Whether that is for good.
        permanent: bool,
    },
    /// The login has failed; this connection is over.
    LoginFailed(LoginFailure),
    /// A request has ended.
    Complete {
        /// The owner's name for it.
        token: u64,
        /// How.
        outcome: Outcome,
    },
    /// The target wants the initiator to log out; requests are taken no more.
    LogoutRequested {
        /// How long it waits.
        grace: Duration,
    },
    /// The session has ended; every request has come back before.
    Closed(CloseReason),
    /// The port has failed; every request has come back before.
    ConnectionLost(PortError),
    /// The target does not end a command, nor a task management function that is to end it: this connection is over; every request
    /// has come back before.
    Unresponsive,
}

enum Phase {
    Login(Box<Login>, InitiatorTaskTag),
    FullFeature(Box<Session>, Cid),
    Ended,
}

struct Open {
    /// The owner's name; none for what the node asks by itself.
    token: Option<u64>,
    data: Segments,
    purpose: Purpose,
}

/// What a request is for, as far as the node has to know.
enum Purpose {
    /// A command, or a function of the owner's, that has a time to end in.
    Watched(Watch),
    /// To end a command that has not.
    Measure(Measure),
    Other,
}

/// One session of an initiator.
///
/// The owner's turn: give requests; `drive` when the port became ready or had more; `handle_timeout` when `poll_timeout` has passed; `flush`;
/// `poll_event`.
pub struct InitiatorNode<P> {
    port: P,
    phase: Phase,
    config: SessionConfig,
    watchdog: Watchdog,
    open: HashMap<u32, Open>,
    events: VecDeque<Event>,
    /// Receiving stopped because the port could not take an answer.
    stalled: bool,
}

impl<P: PduPort> InitiatorNode<P> {
    // RFC 7143 11.12-1: nothing goes before it.
    /// Begins a login on a port that has just been connected. `random` is unpredictable and used once.
    pub fn new(mut port: P, login: LoginConfig, session: SessionConfig, random: [u8; 32], now: Instant) -> Self {
        port.set_receive_limits(ReceiveLimits::LOGIN);
        let tag = InitiatorTaskTag(port.reserve(0));
        // RFC 7143 4.2.4-3, 4.2.4-4: the login comes first, and the state for it is never entered again.
        Self {
            port,
            phase: Phase::Login(Box::new(Login::new(login, tag, random, now)), tag),
            config: session,
            watchdog: Watchdog::default(),
            open: HashMap::new(),
            events: VecDeque::new(),
            stalled: false,
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
            Phase::FullFeature(session, cid) => session.window(*cid),
            _ => 0,
        }
    }

    /// What was negotiated, once logged in.
    #[must_use]
    pub fn parameters(&self) -> Option<&Parameters> {
        match &self.phase {
            Phase::FullFeature(session, cid) => session.parameters(*cid),
            _ => None,
        }
    }

    /// Sends a SCSI command.
    ///
    /// # Errors
    /// The request itself, if the target's window has no room or there is no session.
    pub fn submit(&mut self, now: Instant, token: u64, request: Request) -> Result<(), Request> {
        let Phase::FullFeature(session, cid) = &mut self.phase else { return Err(request) };
        if session.window(*cid) == 0 {
            return Err(request);
        }
        let tag = self.port.reserve(request.read_bytes());
        let command = request.into_command();
        let watch = self.watchdog.watch(now, command.lun, command.cdb[0]);
        let purpose = watch.map_or(Purpose::Other, Purpose::Watched);
        self.open.insert(tag, Open { token: Some(token), data: Segments::new(), purpose });
        assert!(session.submit(now, *cid, InitiatorTaskTag(tag), command).is_ok(), "the window was seen to have room");
        Ok(())
    }

    /// Asks for a task management function about a logical unit or the target.
    pub fn manage(&mut self, now: Instant, token: u64, function: TaskManagementFunction, lun: LogicalUnitNumber) {
        let lun = iscsi_pdu::LunField(lun.to_wire());
        let request = TaskManagement { function, lun, referenced: None };
        let purpose = self.watchdog.watch_function(now, lun).map_or(Purpose::Other, Purpose::Watched);
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
        self.ask(Some(token), |session, cid, tag| session.logout(now, cid, tag, Logout::Session));
    }

    /// The port, for what does not carry PDUs.
    pub fn port_mut(&mut self) -> &mut P {
        &mut self.port
    }

    /// The port may have become readable or writable. Returns whether there may be more to receive at once: a target that sends
    /// without end leaves its initiator time for other things.
    pub fn drive(&mut self, now: Instant) -> bool {
        for _ in 0..PDUS_PER_TURN {
            self.transmit();
            self.stalled = !self.port.can_send();
            if matches!(self.phase, Phase::Ended) || self.stalled {
                return false;
            }
            match self.port.receive() {
                Ok(None) => return false,
                Ok(Some(received)) => self.handle_received(now, received),
                Err(error) => {
                    self.lose(now, Event::ConnectionLost(error));
                    return false;
                }
            }
        }
        true
    }

    /// Hands queued PDUs to the world. Returns whether `drive`, which had stopped for want of room, is to be called again.
    pub fn flush(&mut self, now: Instant) -> bool {
        loop {
            let queued = self.transmit();
            match self.port.flush() {
                Ok(Flush::Done) if queued > 0 => {}
                Ok(_) => return self.stalled && self.port.can_send(),
                Err(error) => {
                    self.lose(now, Event::ConnectionLost(error));
                    return false;
                }
            }
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Login(login, _) => login.handle_timeout(now),
            Phase::FullFeature(session, _) => session.handle_timeout(now),
            Phase::Ended => {}
        }
        self.handle_events(now);
        for measure in self.watchdog.handle_timeout(now, watches(&mut self.open)) {
            self.take(now, measure);
        }
    }

    /// When `handle_timeout` is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Login(login, _) => login.poll_timeout(),
            Phase::FullFeature(session, _) => {
                [session.poll_timeout(), self.watchdog.poll_timeout()].into_iter().flatten().min()
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

    fn ask(&mut self, token: Option<u64>, how: impl FnOnce(&mut Session, Cid, InitiatorTaskTag)) {
        self.ask_for(Purpose::Other, token, how);
    }

    fn ask_for(&mut self, purpose: Purpose, token: Option<u64>, how: impl FnOnce(&mut Session, Cid, InitiatorTaskTag)) {
        match &mut self.phase {
            Phase::FullFeature(session, cid) => {
                let tag = self.port.reserve(0);
                self.open.insert(tag, Open { token, data: Segments::new(), purpose });
                how(session, *cid, InitiatorTaskTag(tag));
            }
            _ => self.events.extend(token.map(|token| Event::Complete { token, outcome: Outcome::Lost })),
        }
    }

    fn transmit(&mut self) -> usize {
        let mut queued = 0;
        while self.port.can_send() {
            let pdu = match &mut self.phase {
                Phase::Login(login, _) => login.poll_transmit(),
                Phase::FullFeature(session, cid) => session.poll_transmit(*cid),
                Phase::Ended => None,
            };
            let Some(pdu) = pdu else { break };
            self.port.send(pdu.encode());
            queued += 1;
        }
        queued
    }

    fn handle_received(&mut self, now: Instant, received: Received) {
        match (&mut self.phase, received) {
            (Phase::Login(login, _), Received::Frame(frame)) => {
                let header = frame.header;
                match Pdu::decode(frame) {
                    Ok(pdu) => login.handle_pdu(now, pdu),
                    Err(error) => login.handle_undecodable(now, header, error),
                }
            }
            (Phase::FullFeature(session, cid), Received::Frame(frame)) => {
                let header = frame.header;
                match Pdu::decode(frame) {
                    Ok(pdu) => session.handle_pdu(now, *cid, pdu),
                    Err(error) => session.handle_bad_pdu(now, *cid, header, BadPdu::Undecodable(error)),
                }
            }
            (Phase::FullFeature(session, cid), Received::BadDataDigest(header)) => {
                session.handle_bad_pdu(now, *cid, header, BadPdu::DataDigest);
            }
            (Phase::FullFeature(..), Received::BadHeaderDigest(header)) => {
                return self.lose(now, Event::ConnectionLost(PortError::header_digest(&header)));
            }
            (Phase::Login(..), Received::BadDataDigest(_) | Received::BadHeaderDigest(_)) => {
                unreachable!("no digest is checked during login")
            }
            (Phase::Ended, _) => {}
        }
        self.handle_events(now);
    }

    fn handle_events(&mut self, now: Instant) {
        while let Phase::Login(login, tag) = &mut self.phase
            && let Some(event) = login.poll_event()
        {
            let tag = *tag;
            match event {
                LoginEvent::Complete(outcome) => self.begin_session(outcome, tag, now),
                LoginEvent::Redirected { address, permanent } => {
                    self.end(Event::Redirected { address, permanent });
                }
                LoginEvent::Failed(failure) => self.end(Event::LoginFailed(failure)),
            }
        }
        while let Phase::FullFeature(session, _) = &mut self.phase
            && let Some(event) = session.poll_event()
        {
            self.handle_session_event(now, event);
        }
    }

    // RFC 7143 13.1-2: digests protect what follows the login.
    fn begin_session(&mut self, outcome: Box<LoginOutcome>, tag: InitiatorTaskTag, now: Instant) {
        self.port.release(tag.0);
        let parameters = &outcome.parameters;
        self.port.set_digests(Digests { header: parameters.header_digest, data: parameters.data_digest });
        self.port.set_receive_limits(ReceiveLimits::of_segments(parameters.receive_segment_bytes_max));
        let session = Session::new(&outcome, self.config, now);
        self.phase = Phase::FullFeature(Box::new(session), outcome.cid);
        self.events.push_back(Event::LoggedIn(outcome));
    }

    fn handle_session_event(&mut self, now: Instant, event: SessionEvent) {
        match event {
            SessionEvent::Data { tag, data, .. } => {
                if let Some(open) = self.open.get_mut(&tag.0) {
                    open.data.push(data);
                }
            }
            SessionEvent::TaskComplete { tag, result } => self.complete(tag, |data| command_outcome(result, data)),
            SessionEvent::TaskAborted { tag } => self.complete_aborted(tag),
            SessionEvent::TaskRejected { tag, reason } => {
                self.check_measure(now, tag, false);
                self.complete(tag, |_| Outcome::Rejected(reason));
            }
            SessionEvent::TaskLost { tag } => self.complete(tag, |_| Outcome::Lost),
            SessionEvent::TaskManagementComplete { tag, response } => {
                // A task that does not exist was ended by the target, or is about to be.
                let has_worked = matches!(
                    response,
                    TaskManagementResponseCode::FunctionComplete | TaskManagementResponseCode::TaskDoesNotExist
                );
                self.check_measure(now, tag, has_worked);
                self.complete(tag, |_| Outcome::TaskManagement(response));
            }
            SessionEvent::PingComplete { tag, data } => self.complete(tag, |_| Outcome::Ping(data)),
            SessionEvent::Targets { tag, targets } => self.complete(tag, |_| Outcome::Targets(targets)),
            SessionEvent::NegotiationComplete { tag } => self.complete(tag, |_| Outcome::Lost),
            SessionEvent::LogoutComplete { tag, response } => self.complete(tag, |_| Outcome::Logout(response)),
            SessionEvent::PingDue { .. } => {
                self.ask(None, |session, cid, tag| session.ping(now, cid, tag, Bytes::new()))
            }
            SessionEvent::NegotiationRequested { .. } => {
                self.ask(None, |session, cid, tag| session.negotiate(now, cid, tag))
            }
            SessionEvent::LogoutRequested { grace, .. } => self.events.push_back(Event::LogoutRequested { grace }),
            // What they speak of shows in the commands that it concerns.
            SessionEvent::PduRejected { .. } | SessionEvent::Async(_) => {}
            // At error recovery level 2 the session would go on; the node has no other connection.
            SessionEvent::ConnectionClosed { reason, .. } => {
                self.lose_all();
                self.end(Event::Closed(reason));
            }
            SessionEvent::CleanupDue { .. } | SessionEvent::ReassignmentDue { .. } => {}
            SessionEvent::Closed(reason) => self.end(Event::Closed(reason)),
        }
    }

    fn complete(&mut self, tag: InitiatorTaskTag, outcome: impl FnOnce(Segments) -> Outcome) {
        if let Some(open) = self.open.remove(&tag.0) {
            self.port.release(tag.0);
            let outcome = outcome(open.data);
            self.events.extend(open.token.map(|token| Event::Complete { token, outcome }));
        }
    }

    fn complete_aborted(&mut self, tag: InitiatorTaskTag) {
        let purpose = self.open.get(&tag.0).map(|open| &open.purpose);
        let is_overdue = matches!(purpose, Some(Purpose::Watched(watch)) if watch.is_overdue());
        self.complete(tag, |_| if is_overdue { Outcome::TimedOut } else { Outcome::Aborted });
    }

    // RFC 7143 7.11-1
    /// Does what is to be done about commands that have not ended in time.
    fn take(&mut self, now: Instant, measure: Measure) {
        let (function, lun, referenced) = match measure {
            Measure::AbortTask(tag, lun) => (TaskManagementFunction::AbortTask, lun, Some(InitiatorTaskTag(tag))),
            Measure::ResetUnit(lun) => (TaskManagementFunction::LogicalUnitReset, lun, None),
            Measure::EndSession => return self.lose(now, Event::Unresponsive),
        };
        let request = TaskManagement { function, lun, referenced };
        self.ask_for(Purpose::Measure(measure), None, |session, cid, tag| session.manage_task(now, cid, tag, request));
        self.handle_events(now);
    }

    /// Goes on to the next measure if one has failed that was taken with this tag.
    fn check_measure(&mut self, now: Instant, tag: InitiatorTaskTag, has_worked: bool) {
        if !has_worked && let Some(Open { purpose: Purpose::Measure(measure), .. }) = self.open.get(&tag.0) {
            let measure = *measure;
            self.watchdog.handle_failure(now, measure, watches(&mut self.open));
        }
    }

    /// RFC 7143 7.1.4.3-1, 7.14-1: the owner drops a port that has failed, and the session ends with it: session recovery.
    fn lose(&mut self, now: Instant, why: Event) {
        if let Phase::FullFeature(session, cid) = &mut self.phase {
            session.handle_connection_lost(now, *cid);
            self.lose_all();
        }
        if !matches!(self.phase, Phase::Ended) {
            self.end(why);
        }
    }

    /// With the one connection everything is lost, whatever the session could still do with another.
    fn lose_all(&mut self) {
        let tokens = self.open.drain().filter_map(|(_, open)| open.token);
        self.events.extend(tokens.map(|token| Event::Complete { token, outcome: Outcome::Lost }));
    }

    // RFC 7143 11.13.5-4, 11.14-5, 11.15-1: the owner drops an ended node, and with it the connection.
    fn end(&mut self, event: Event) {
        self.transmit();
        self.phase = Phase::Ended;
        self.events.push_back(event);
    }
}

/// The commands that are watched, by their tags.
fn watches(open: &mut HashMap<u32, Open>) -> impl Iterator<Item = (u32, &mut Watch)> {
    open.iter_mut().filter_map(|(tag, open)| match &mut open.purpose {
        Purpose::Watched(watch) => Some((*tag, watch)),
        Purpose::Measure(_) | Purpose::Other => None,
    })
}

fn command_outcome(result: TaskResult, data: Segments) -> Outcome {
    match result.response {
        ScsiResponseCode::CompletedAtTarget => {
            Outcome::Command(Completion { status: result.status, sense: result.sense, residual: result.residual, data })
        }
        _ => Outcome::TargetFailure,
    }
}

impl<P> std::fmt::Debug for InitiatorNode<P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("InitiatorNode").field("open", &self.open.len()).finish_non_exhaustive()
    }
}
