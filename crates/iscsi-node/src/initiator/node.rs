//! The node: one port, and the login or session on it.

use super::escalation::{Escalation, Watchdog};
use super::event::{Event, Outcome};
use super::tasks::{Open, Purpose, watches};
use super::{Request, Segments};
use bytes::Bytes;
use iscsi_pdu::{Cid, InitiatorTaskTag, TaskManagementFunction};
use iscsi_session::initiator::{Login, LoginConfig, Logout, Session, SessionConfig, TaskManagement};
use iscsi_session::{Parameters, SendTargetsScope};
use iscsi_transport::{PduPort, ReceiveLimits};
use scsi_block::LogicalUnitNumber;
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

pub(super) enum Phase {
    Login(Box<Login>, InitiatorTaskTag),
    FullFeature(Box<Session>, Cid),
    Ended,
}

/// One session of an initiator.
///
/// The owner's turn: give requests; `drive` when the port became ready or had more; `handle_timeout` when `poll_timeout` has passed; `flush`;
/// `poll_event`.
pub struct InitiatorNode<P> {
    pub(super) port: P,
    pub(super) phase: Phase,
    pub(super) config: SessionConfig,
    pub(super) watchdog: Watchdog,
    pub(super) open: HashMap<u32, Open>,
    pub(super) events: VecDeque<Event>,
    /// Receiving stopped because the port could not take an answer.
    pub(super) stalled: bool,
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

    pub(super) fn ask(&mut self, token: Option<u64>, how: impl FnOnce(&mut Session, Cid, InitiatorTaskTag)) {
        self.ask_for(Purpose::Other, token, how);
    }

    pub(super) fn ask_for(
        &mut self,
        purpose: Purpose,
        token: Option<u64>,
        how: impl FnOnce(&mut Session, Cid, InitiatorTaskTag),
    ) {
        match &mut self.phase {
            Phase::FullFeature(session, cid) => {
                let tag = self.port.reserve(0);
                self.open.insert(tag, Open { token, data: Segments::new(), purpose });
                how(session, *cid, InitiatorTaskTag(tag));
            }
            _ => self.events.extend(token.map(|token| Event::Complete { token, outcome: Outcome::Lost })),
        }
    }
}

impl<P> std::fmt::Debug for InitiatorNode<P> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("InitiatorNode").field("open", &self.open.len()).finish_non_exhaustive()
    }
}
