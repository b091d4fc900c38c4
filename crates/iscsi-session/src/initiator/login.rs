//! The login, the initiator's end (RFC 7143 sections 6.3, 11.12 and 11.13).
//!
//! ```text
//!  new ─┬─ CHAP ──> ExpectSecurity ──T=1──> ExpectOperational ──T=1──> Over
//!       └─ none ──────────────────────────────^                         ^
//!                     refused, redirected, timed out, a rule broken ────┘
//! ```
//!
//! In: the target's responses and a clock. Out: Login Requests, and in the end one [`LoginEvent`]. Invariants: there is one request
//! at a time; the stage that proves the target is not left without its proof; a target that never comes to an end is given up
//! after 64 responses or 64 KiB of text.

mod exchange;
mod responses;
mod security;

use crate::chap::Randomness;
use crate::keys::{End, Key};
use crate::login_text::{Incoming, Outgoing, Reader, SEGMENT_BYTES_MAX, printable};
use crate::negotiation::Negotiation;
use crate::{Authentication, Limits, LoginFailure, LoginOutcome, SessionType, Violation, normalise_name};
use iscsi_pdu::{Cid, CmdSn, DecodeError, Header, InitiatorTaskTag, Isid, Opcode, Pdu, Stage, Tsih, text};
use responses::Responses;
use security::Security;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What an initiator logs in as, what to, and how.
#[derive(Clone, Debug)]
pub struct LoginConfig {
    /// InitiatorName; it is normalised.
    pub initiator_name: String,
    /// InitiatorAlias: for people to read.
    pub initiator_alias: Option<String>,
    /// TargetName; it is normalised. A discovery session needs none.
    pub target_name: Option<String>,
    /// Normal or discovery.
    pub session_type: SessionType,
    /// Our half of the session's identity. A session with the same names and ISID is ended by this login (RFC 7143 section 6.3.5).
    pub isid: Isid,
    /// Zero for a new session, else the session that the connection joins.
    pub tsih: Tsih,
    /// The connection.
    pub cid: Cid,
    /// What we offer. Values out of their key's range are moved into it.
    pub limits: Limits,
    /// The first credential of `initiator` is ours; with a `target` the target has to prove itself too.
    pub authentication: Authentication,
    /// Time from now to the end of the login.
    pub timeout: Duration,
}

/// How a login has ended. It is the last event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginEvent {
    /// The session begins.
    Complete(Box<LoginOutcome>),
    /// The target is elsewhere: the connection is to be closed, and a login tried there (RFC 7143 section 11.13.5).
    Redirected {
        /// `domainname[:port]`; an IPv6 address stands in brackets. Not trustworthy beyond what the network is.
        address: String,
        /// For good, so that the address may be remembered.
        permanent: bool,
    },
    /// The connection is to be closed.
    Failed(LoginFailure),
}

/// The login of one connection of an initiator.
///
/// The contract is that of all state machines of this crate: `handle_*` takes what the world did; after it the owner polls until there is
/// nothing more. A login that is over stays over with its first reason, and whatever comes later is ignored.
#[derive(Debug)]
pub struct Login {
    config: LoginConfig,
    deadline: Instant,
    state: State,
    responses: Responses,
    reader: Reader,
    incoming: Incoming,
    outgoing: Outgoing,
    transmit: VecDeque<Pdu>,
    events: VecDeque<LoginEvent>,
}

/// What the login waits for.
#[derive(Debug)]
enum State {
    ExpectSecurity(Box<Security>),
    ExpectOperational(Box<Operational>),
    Over,
}

/// The operational stage, and the name that we have proven before it.
#[derive(Debug)]
struct Operational {
    negotiation: Negotiation,
    authenticated_as: Option<String>,
}

impl Login {
    /// Begins a login on a connection that has just been opened. `tag` names all its requests; `random` has to be new for each, and
    /// not to be guessed. A configuration that cannot work fails at once, with nothing sent.
    #[must_use]
    pub fn new(config: LoginConfig, tag: InitiatorTaskTag, random: [u8; 32], now: Instant) -> Self {
        Self::with_segments(config, tag, random, now, SEGMENT_BYTES_MAX)
    }

    /// Begins the login of a further connection, or of one that is reinstated: the configuration names the session by its TSIH,
    /// and `cmd_sn` is the [session's](super::Session::cmd_sn) (RFC 7143 section 11.12.8). Otherwise as [`new`](Self::new).
    #[must_use]
    pub fn joining(config: LoginConfig, cmd_sn: CmdSn, tag: InitiatorTaskTag, random: [u8; 32], now: Instant) -> Self {
        Self::begin(config, Some(cmd_sn), tag, random, now, SEGMENT_BYTES_MAX)
    }

    /// A login as [`new`](Self::new) begins it, with another length of our data segments.
    pub(crate) fn with_segments(
        config: LoginConfig,
        tag: InitiatorTaskTag,
        random: [u8; 32],
        now: Instant,
        segment_bytes_max: usize,
    ) -> Self {
        Self::begin(config, None, tag, random, now, segment_bytes_max)
    }

    fn begin(
        config: LoginConfig,
        cmd_sn: Option<CmdSn>,
        tag: InitiatorTaskTag,
        random: [u8; 32],
        now: Instant,
        segment_bytes_max: usize,
    ) -> Self {
        let randomness = Randomness::new(random);
        let cmd_sn = cmd_sn.unwrap_or(CmdSn(randomness.start()));
        // RFC 7143 6.3-4, 6.3-5: security first, if there is any; the operational stage always.
        let stage = match config.authentication {
            Authentication::None => Stage::LoginOperationalNegotiation,
            Authentication::Chap { .. } => Stage::SecurityNegotiation,
        };
        let mut login = Self {
            deadline: now + config.timeout,
            state: State::Over,
            responses: Responses::new(&config, tag, cmd_sn, stage),
            reader: Reader::new(End::Target),
            incoming: Incoming::default(),
            outgoing: Outgoing::new(segment_bytes_max),
            transmit: VecDeque::new(),
            events: VecDeque::new(),
            config,
        };
        if let Err(failure) = login.introduce(randomness) {
            login.end(LoginEvent::Failed(failure));
        }
        login
    }

    // RFC 7143 4.5-2: the one name of the node.
    // RFC 7143 11.12-1, 11.12.10-1, 13.4-1, 13.4-2, 13.5-1, 13.5-2, 13.21-2: it says who we are and what we want, once.
    /// The first request (RFC 7143 section 6.3.1).
    fn introduce(&mut self, randomness: Randomness) -> Result<(), LoginFailure> {
        let LoginConfig { initiator_name, initiator_alias, target_name, session_type, authentication, .. } =
            &mut self.config;
        *initiator_name = normalise_name(initiator_name)?;
        *target_name = target_name.as_deref().map(normalise_name).transpose()?;
        authentication.check()?;
        if target_name.is_none() && *session_type == SessionType::Normal {
            return Err(LoginFailure::NoTarget);
        }
        // RFC 7143 6.3-2, 6.3-3, 4.2.7.1-1, 4.2.7.1-4: both names in the first request; discovery may go without a target.
        let names = &mut self.outgoing.text;
        text::push(names, Key::InitiatorName.row().name, initiator_name);
        // RFC 7143 13.7-1: for people.
        if let Some(alias) = initiator_alias {
            text::push(names, Key::InitiatorAlias.row().name, &printable(alias));
        }
        if let Some(name) = target_name {
            text::push(names, Key::TargetName.row().name, name);
        }
        if self.responses.is_leading() {
            let session_type = if *session_type == SessionType::Normal { "Normal" } else { "Discovery" };
            text::push(names, Key::SessionType.row().name, session_type);
        }
        self.state = match Security::begin(authentication, randomness, names) {
            Some(security) => State::ExpectSecurity(Box::new(security)),
            None => self.begin_operational(None),
        };
        self.send();
        Ok(())
    }

    /// A PDU has come.
    pub fn handle_pdu(&mut self, now: Instant, pdu: Pdu) {
        self.handle_timeout(now);
        let result = match pdu {
            _ if self.is_over() => return,
            Pdu::LoginResponse(response) => self.handle_response(response),
            // RFC 7143 4.2.4-7: nothing else comes during a login.
            // RFC 7143 11.17.1-2: among others a Reject that resets the negotiation.
            _ => Err(Violation::NotDuringLogin.into()),
        };
        // RFC 7143 6.3-12, 6.3.2-5, 7.12-1, 7.12-2: the owner closes the connection of a login that has failed.
        if let Err(breach) = result {
            self.end(LoginEvent::Failed(breach.into()));
        }
    }

    /// Bytes have come that are no PDU.
    pub fn handle_undecodable(&mut self, now: Instant, header: Header, error: DecodeError) {
        self.handle_timeout(now);
        // RFC 7143 7.7-1, 7.7-2: a format error ends the connection.
        if !self.is_over() {
            let is_login = header.opcode() == Opcode::LoginResponse;
            let violation = if is_login { Violation::LoginFlags } else { Violation::NotDuringLogin };
            self.end(LoginEvent::Failed(LoginFailure::Malformed { violation, error }));
        }
    }

    /// The time is now `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now >= self.deadline && !self.is_over() {
            self.end(LoginEvent::Failed(LoginFailure::TimedOut));
        }
    }

    /// When [`Self::handle_timeout`] has to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.is_over()).then_some(self.deadline)
    }

    /// The next PDU to send.
    pub fn poll_transmit(&mut self) -> Option<Pdu> {
        self.transmit.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<LoginEvent> {
        self.events.pop_front()
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    fn end(&mut self, event: LoginEvent) {
        self.state = State::Over;
        self.events.push_back(event);
    }
}
