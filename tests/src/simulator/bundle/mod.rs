//! A session over several connections: the session machine, a port a connection, and an owner that recovers what is lost.
//!
//! ```text
//!   submit, manage, ping, …        ┌──────────── Bundle ────────────┐      ┌─ port ── link ══
//!   ──────────────────────────────>│ initiator::Session             │─────>├─ port ── link ══
//!   Event <────────────────────────│ Login of each that joins       │<─────└─ port ── link ══
//!                                  │ Owner: joins, cleans, reassigns│
//!                                  └────────────────────────────────┘
//! ```
//!
//! In: requests, ports, readiness, time. Out: PDUs through the ports, [`Event`]s. It has the functions of an
//! [`InitiatorNode`](iscsi_node::initiator::InitiatorNode), and more: what an owner may do about its connections is drawn (`owner`), so
//! that worlds reach what one policy never would.

mod owner;
mod pump;

use super::link::Port;
use super::wire::WireControl;
use bytes::Bytes;
use iscsi_node::initiator::{Event as NodeEvent, Outcome, Request, Segments};
use iscsi_pdu::{Cid, InitiatorTaskTag, LunField, TaskManagementFunction};
use iscsi_session::initiator::{Command, Login, LoginConfig, Logout, Session, SessionConfig, TaskManagement};
use iscsi_session::{CloseReason, LoginFailure, SendTargetsScope};
use iscsi_transport::{Digests, PduPort, PortError, ReceiveLimits};
use owner::Owner;
use scsi_block::LogicalUnitNumber;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Instant;

pub(crate) use owner::OwnerPlan;

/// What the world has to know of a session.
#[derive(Debug)]
pub(crate) enum Event {
    /// What a node with one connection says too.
    Session(NodeEvent),
    /// A connection is wanted: a further one, or one in the place of another of the same CID.
    Wanted(Cid),
    /// It is part of the session, and its PDUs are protected by these.
    Joined(Cid, Digests),
    /// Its login has failed.
    JoinFailed(Cid, LoginFailure),
    /// The owner ends a connection on purpose.
    Retired(Cid),
    /// A port has failed.
    Broken(Cid, PortError),
    /// The session has lost a connection, and goes on.
    Ended(Cid, CloseReason),
}

/// One connection.
struct Place {
    cid: Cid,
    port: Port,
    /// Is told what was negotiated, before anything else goes.
    wire: WireControl,
    /// Until it is part of the session, and the tag that it has.
    login: Option<(Box<Login>, InitiatorTaskTag)>,
    /// Receiving stopped because the port could not take an answer.
    is_stalled: bool,
    is_over: bool,
}

#[derive(Debug)]
struct Open {
    purpose: Purpose,
    data: Segments,
}

/// What a request is for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    /// The host knows it by this name.
    Asked(u64),
    /// To tell the target that a connection is gone.
    Cleanup(Cid),
    /// To bring a task to another connection.
    Reassignment(InitiatorTaskTag),
    /// To hear something.
    Ping,
}

pub(crate) struct Bundle {
    places: Vec<Place>,
    /// From the end of the leading login on.
    session: Option<Box<Session>>,
    is_over: bool,
    login: LoginConfig,
    config: SessionConfig,
    /// In the order of their tags, so that they are lost in the same order each time.
    open: BTreeMap<u32, Open>,
    events: VecDeque<Event>,
    owner: Owner,
}

impl Bundle {
    /// Begins a login on a port that has just been connected. `challenge` is used once.
    pub(crate) fn new(
        port: (Port, WireControl),
        login: LoginConfig,
        config: SessionConfig,
        plan: OwnerPlan,
        challenge: [u8; 32],
        now: Instant,
    ) -> Self {
        let mut bundle = Self {
            places: Vec::new(),
            session: None,
            is_over: false,
            owner: Owner::new(plan, login.cid),
            login,
            config,
            open: BTreeMap::new(),
            events: VecDeque::new(),
        };
        let (tag, login) = (bundle.owner.books().take_tag(), bundle.login.clone());
        let cid = login.cid;
        bundle.begin_login(port, cid, Login::new(login, InitiatorTaskTag(tag), challenge, now), tag);
        bundle
    }

    /// Gives a port for a connection that was [wanted](Event::Wanted).
    pub(crate) fn join(&mut self, now: Instant, port: (Port, WireControl), cid: Cid, challenge: [u8; 32]) {
        let Some(session) = self.session.as_ref().filter(|session| !session.is_closed()) else { return };
        let mut config = LoginConfig { cid, ..self.login.clone() };
        self.owner.vary(&mut config.limits);
        let tag = self.owner.books().take_tag();
        let login = Login::joining(config, session.cmd_sn(), InitiatorTaskTag(tag), challenge, now);
        self.begin_login(port, cid, login, tag);
    }

    fn begin_login(&mut self, (mut port, wire): (Port, WireControl), cid: Cid, login: Login, tag: u32) {
        port.set_receive_limits(ReceiveLimits::LOGIN);
        let login = Some((Box::new(login), InitiatorTaskTag(tag)));
        self.places.push(Place { cid, port, wire, login, is_stalled: false, is_over: false });
    }

    /// Whether a connection is there on which something may be asked for.
    pub(crate) fn is_connected(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.cids().next().is_some())
    }

    /// Whether a port that was wanted is wanted still.
    pub(crate) fn wants(&self, cid: Cid) -> bool {
        !self.is_over && self.owner.is_joining(cid)
    }

    /// Commands that the target takes at this moment.
    pub(crate) fn window(&self) -> u32 {
        let session = self.session.as_ref();
        session.and_then(|session| Some(session.window(session.least_busy()?))).unwrap_or(0)
    }

    pub(crate) fn submit(&mut self, now: Instant, token: u64, request: Request) -> Result<(), Request> {
        let Some(session) = self.session.as_mut() else { return Err(request) };
        let Some(cid) = self.owner.choose_for_command(session) else { return Err(request) };
        let tag = self.owner.books().take_tag();
        self.open.insert(tag, Open { purpose: Purpose::Asked(token), data: Segments::new() });
        let taken = session.submit(now, cid, InitiatorTaskTag(tag), command(request));
        assert!(taken.is_ok(), "the window was seen to have room");
        Ok(())
    }

    pub(crate) fn manage(
        &mut self,
        now: Instant,
        token: u64,
        function: TaskManagementFunction,
        lun: LogicalUnitNumber,
    ) {
        let asked = TaskManagement { function, lun: LunField(lun.to_wire()), referenced: None };
        self.ask(Purpose::Asked(token), None, |session, cid, tag| session.manage_task(now, cid, tag, asked));
    }

    pub(crate) fn ping(&mut self, now: Instant, token: u64, data: Bytes) {
        self.ask(Purpose::Asked(token), None, |session, cid, tag| session.ping(now, cid, tag, data));
    }

    pub(crate) fn send_targets(&mut self, now: Instant, token: u64, scope: SendTargetsScope) {
        self.ask(Purpose::Asked(token), None, |session, cid, tag| session.send_targets(now, cid, tag, scope));
    }

    pub(crate) fn logout(&mut self, now: Instant, token: u64) {
        self.ask(Purpose::Asked(token), None, |session, cid, tag| session.logout(now, cid, tag, Logout::Session));
    }

    /// Makes a request on a connection, or on any.
    fn ask(&mut self, purpose: Purpose, cid: Option<Cid>, how: impl FnOnce(&mut Session, Cid, InitiatorTaskTag)) {
        let Some(session) = self.session.as_mut() else { return self.lose(purpose) };
        let Some(cid) = cid.or_else(|| self.owner.choose(session)) else { return self.lose(purpose) };
        let tag = self.owner.books().take_tag();
        self.open.insert(tag, Open { purpose, data: Segments::new() });
        how(session, cid, InitiatorTaskTag(tag));
    }

    fn lose(&mut self, purpose: Purpose) {
        if let Purpose::Asked(token) = purpose {
            self.events.push_back(completion(token, Outcome::Lost));
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let logins = self.places.iter().filter_map(|place| place.login.as_ref()?.0.poll_timeout());
        let session = self.session.as_ref().filter(|_| !self.is_over).and_then(|session| session.poll_timeout());
        logins.chain(session).chain(self.owner.poll_timeout().filter(|_| !self.is_over)).min()
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}

fn command(request: Request) -> Command {
    let mut cdb = [0; 16];
    cdb[..request.cdb.len()].copy_from_slice(&request.cdb);
    let lun = LunField(request.lun.to_wire());
    Command { lun, cdb, data: request.transfer, ..Command::default() }
}

fn completion(token: u64, outcome: Outcome) -> Event {
    Event::Session(NodeEvent::Complete { token, outcome })
}

impl fmt::Debug for Bundle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Bundle").field("open", &self.open).finish_non_exhaustive()
    }
}
