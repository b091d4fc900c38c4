//! The login, the target's end (RFC 7143 sections 6.3, 11.12 and 11.13).
//!
//! ```text
//!                 first text              identify                 T=1                     T=1             admit
//!  ExpectFirst ──────────────> ExpectIdentification ─> ExpectSecurity ─> ExpectOperational ───> ExpectAdmission ───> Over
//!       │                               └──────────────────────────────────────^    (or straight from security)       ^
//!       └──── any rule broken, refused, timed out ────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! In: the PDUs of a connection that has just come, a clock, and the owner's answers. Out: Login Responses, and [`LoginEvent`]s.
//! Invariants: a stranger costs at most 64 requests and 64 KiB of text; nobody is admitted who has not passed the policy; there is
//! one answer to each request, and what is wrong is answered with the status that the table in `violation.rs` names.

mod exchange;
mod operational;
mod owner;
mod requests;
mod security;

pub use owner::{Identification, LoginEvent, LoginIdentity, LoginPolicy, Refusal};

use crate::chap::Randomness;
use crate::keys::{End, Key};
use crate::login_text::{Incoming, Outgoing, Pair, Reader, SEGMENT_BYTES_MAX, printable};
use crate::{Limits, LoginFailure, LoginOutcome, Parameters, Violation};
use bytes::Bytes;
use exchange::status_of;
use iscsi_pdu::{CmdSn, DecodeError, Header, LoginResponse, LoginStatus, Opcode, Pdu, Stage, Tsih};
use operational::Operational;
use requests::Requests;
use security::Security;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a target's logins have in common.
#[derive(Clone, Debug)]
pub struct LoginConfig {
    /// What we would agree upon. Values out of their key's range are moved into it.
    pub limits: Limits,
    /// Time from the connection to the end of the login.
    pub timeout: Duration,
    /// Commands that the initiator may send ahead: MaxCmdSN is ExpCmdSN + window - 1.
    pub window: u32,
}

impl LoginConfig {
    /// What holds for one login alone.
    fn take(&mut self, limits: Option<Limits>, window: Option<u32>) {
        if let Some(limits) = limits {
            let longest = limits.receive_segment_bytes_max.min(self.limits.receive_segment_bytes_max);
            self.limits = Limits { receive_segment_bytes_max: longest, ..limits };
        }
        self.window = window.unwrap_or(self.window);
    }
}

/// The login of one connection to a target.
///
/// The contract is that of all state machines of this crate: `handle_*` takes what the world did, `identify`, `admit` and
/// `refuse` what the owner wants; after each of them the owner polls until there is nothing more. A login that is over stays over
/// with its first reason, and whatever comes later is ignored.
#[derive(Debug)]
pub struct Login {
    config: LoginConfig,
    randomness: Randomness,
    deadline: Instant,
    state: State,
    /// None before the first request.
    requests: Option<Requests>,
    reader: Reader,
    incoming: Incoming,
    outgoing: Outgoing,
    transmit: VecDeque<Pdu>,
    events: VecDeque<LoginEvent>,
}

/// What the login waits for.
#[derive(Debug)]
enum State {
    ExpectFirst,
    ExpectIdentification(Box<Introduction>),
    ExpectSecurity(Box<SecurityStage>),
    ExpectOperational(Box<OperationalStage>),
    ExpectAdmission(Box<Admission>),
    Over,
}

/// The first text, which is answered when the owner has said how.
#[derive(Debug)]
struct Introduction {
    identity: LoginIdentity,
    pairs: Vec<Pair>,
    transit: Option<Stage>,
}

#[derive(Debug)]
struct SecurityStage {
    identity: LoginIdentity,
    security: Security,
}

#[derive(Debug)]
struct OperationalStage {
    initiator: Authenticated,
    operational: Operational,
}

/// An initiator that has passed the security stage, or did not need it.
#[derive(Debug)]
struct Authenticated {
    identity: LoginIdentity,
    authenticated_as: Option<String>,
}

/// A login that is done but for the owner's consent and the last response.
#[derive(Debug)]
struct Admission {
    initiator: Authenticated,
    parameters: Parameters,
    last_segment: Bytes,
}

impl Login {
    /// A connection has come. `random` has to be new for each, and not to be guessed: CHAP challenges are made of it.
    #[must_use]
    pub fn new(config: LoginConfig, random: [u8; 32], now: Instant) -> Self {
        Self::with_segments(config, random, now, SEGMENT_BYTES_MAX)
    }

    /// The same, with another length of our data segments.
    pub(crate) fn with_segments(config: LoginConfig, random: [u8; 32], now: Instant, segment_bytes_max: usize) -> Self {
        Self {
            deadline: now + config.timeout,
            config,
            randomness: Randomness::new(random),
            state: State::ExpectFirst,
            requests: None,
            reader: Reader::new(End::Initiator),
            incoming: Incoming::default(),
            outgoing: Outgoing::new(segment_bytes_max),
            transmit: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// A PDU has come.
    pub fn handle_pdu(&mut self, now: Instant, pdu: Pdu) {
        self.handle_timeout(now);
        let result = match pdu {
            _ if self.is_over() => return,
            Pdu::LoginRequest(request) => self.handle_request(request),
            // RFC 7143 4.2.4-5: a stranger gets no answer.
            other if self.requests.is_none() => return self.close(LoginFailure::NotALogin(other.opcode())),
            // RFC 7143 4.2.4-2, 4.2.4-6: an initiator that has begun a login is told.
            _ => Err(Violation::NotDuringLogin.into()),
        };
        if let Err(breach) = result {
            self.reject(breach);
        }
    }

    /// Bytes have come that are no PDU.
    pub fn handle_undecodable(&mut self, now: Instant, header: Header, error: DecodeError) {
        self.handle_timeout(now);
        if self.is_over() {
            return;
        }
        let is_login = header.opcode() == Opcode::LoginRequest;
        if self.requests.is_none() {
            if !is_login {
                return self.close(LoginFailure::NotALogin(header.opcode()));
            }
            self.requests = Some(Requests::of_undecodable(&header));
        }
        let violation = if is_login { Violation::LoginFlags } else { Violation::NotDuringLogin };
        self.respond_with_status(status_of(violation), None);
        self.close(LoginFailure::Malformed { violation, error });
    }

    /// The time is now `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if now >= self.deadline && !self.is_over() {
            self.close(LoginFailure::TimedOut);
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

    /// Answers [`LoginEvent::Identify`]. Does nothing at another time.
    pub fn identify(&mut self, answer: Identification) {
        if !matches!(self.state, State::ExpectIdentification(_)) {
            return;
        }
        match answer {
            Identification::Refuse(refusal) => self.refuse(refusal),
            // The owner's credentials cannot be used: no fault of the initiator's.
            Identification::Proceed(policy) if policy.authentication.check().is_err() => {
                self.refuse(LoginStatus::TargetError.into());
            }
            Identification::Proceed(policy) => {
                if let Err(breach) = self.proceed(policy) {
                    self.reject(breach);
                }
            }
        }
    }

    /// Who waits for the owner's consent, if the login is done but for that.
    #[must_use]
    pub fn awaits_admission(&self) -> Option<&LoginIdentity> {
        match &self.state {
            State::ExpectAdmission(admission) => Some(&admission.initiator.identity),
            _ => None,
        }
    }

    // RFC 7143 11.13.3-1: the handle stands in the last response.
    /// Answers [`LoginEvent::Admit`]: the session may begin under this handle. Does nothing at another time.
    ///
    /// # Panics
    /// If the handle is zero, which names no session: a bug of the owner.
    pub fn admit(&mut self, tsih: Tsih) {
        assert!(tsih != Tsih(0), "a session has a handle other than zero");
        let (State::ExpectAdmission(admission), Some(requests)) = (self.leave_state(), &mut self.requests) else {
            return;
        };
        let Admission { initiator: Authenticated { identity, authenticated_as }, parameters, last_segment } =
            *admission;
        // RFC 7143 6.3-9, 6.3.2-3: the last response names the phase that begins, and the session.
        let response = LoginResponse {
            transit: Some(Stage::FullFeaturePhase),
            tsih,
            data: last_segment,
            ..requests.response(LoginStatus::Success)
        };
        self.transmit.push_back(response.into());
        self.events.push_back(LoginEvent::Complete(Box::new(LoginOutcome {
            initiator_name: identity.initiator_name,
            target_name: identity.target_name,
            session_type: identity.session_type,
            isid: identity.isid,
            tsih,
            cid: identity.cid,
            parameters,
            cmd_sn: requests.leader().cmd_sn,
            stat_sn: requests.stat_sn,
            max_cmd_sn: requests.command_numbers().1,
            authenticated_as,
        })));
    }

    /// Answers [`LoginEvent::Admit`] for a connection that joins a session: as [`admit`](Self::admit), and the last response tells
    /// the session's [`command_numbers`](super::Session::command_numbers).
    ///
    /// # Panics
    /// If the handle is zero.
    pub fn admit_joining(&mut self, tsih: Tsih, command_numbers: (CmdSn, CmdSn)) {
        if let Some(requests) = &mut self.requests {
            requests.session_numbers = Some(command_numbers);
        }
        self.admit(tsih);
    }

    // RFC 7143 11.13.5-1: a redirection has an address.
    /// Answers [`LoginEvent::Identify`] or [`LoginEvent::Admit`], or ends the login at any other time.
    ///
    /// # Panics
    /// If the status is success, or a redirection without an address: bugs of the owner.
    pub fn refuse(&mut self, refusal: Refusal) {
        let (status, target_address) = refusal.into_parts();
        assert!(status != LoginStatus::Success, "a refusal has a status other than success");
        assert!(status.class() != 1 || target_address.is_some(), "a redirection says where to");
        if !self.is_over() {
            let target_address = target_address.as_deref().map(printable);
            self.respond_with_status(status, target_address.as_deref().map(|address| (Key::TargetAddress, address)));
            self.close(LoginFailure::Refused(status));
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// The state, to be made into the next one; [`State::Over`] stands in its place meanwhile.
    fn leave_state(&mut self) -> State {
        core::mem::replace(&mut self.state, State::Over)
    }
}
