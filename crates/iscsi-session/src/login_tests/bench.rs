//! Two logins wired to each other, with an owner for the target and a clock that stands still unless it is moved.

use crate::initiator::{self, LoginEvent as InitiatorEvent};
use crate::target::{self, Identification, LoginEvent as TargetEvent, LoginIdentity, LoginPolicy, Refusal};
use crate::{Authentication, ChapAlgorithm, Credential, Limits, LoginOutcome, Secret, SessionType};
use bytes::{Bytes, BytesMut};
use iscsi_pdu::{Cid, CmdSn, InitiatorTaskTag, Isid, LoginRequest, LoginResponse, Pdu, Stage, StatSn, Tsih, text};
use std::time::{Duration, Instant};

pub(super) const INITIATOR: &str = "iqn.1999-07.com.os:hostid.77";
pub(super) const TARGET: &str = "iqn.1999-07.com.example:diskarray.sn.88";
pub(super) const TSIH: Tsih = Tsih(0x5202);
pub(super) const TIMEOUT: Duration = Duration::from_secs(15);

pub(super) fn credential(name: &str, secret: &str) -> Credential {
    Credential { name: name.into(), secret: Secret::new(secret).unwrap() }
}

pub(super) fn alice() -> Credential {
    credential("alice", "secret-alice-1")
}

pub(super) fn bob() -> Credential {
    credential("target-bob", "secret-bob-22")
}

pub(super) fn chap(initiator: &Credential, target: Option<Credential>) -> Authentication {
    Authentication::chap(vec![initiator.clone()], target, ChapAlgorithm::INTEROPERABLE.to_vec()).unwrap()
}

pub(super) fn policy(authentication: Authentication) -> LoginPolicy {
    LoginPolicy { authentication, target_alias: None, portal_group_tag: 1, limits: None, window: None }
}

pub(super) fn initiator_config() -> initiator::LoginConfig {
    initiator::LoginConfig {
        initiator_name: INITIATOR.into(),
        initiator_alias: None,
        target_name: Some(TARGET.into()),
        session_type: SessionType::Normal,
        isid: Isid([0x80, 1, 2, 3, 0, 0]),
        tsih: Tsih(0),
        cid: Cid(0),
        limits: Limits::default(),
        authentication: Authentication::None,
        timeout: TIMEOUT,
    }
}

pub(super) fn target_config() -> target::LoginConfig {
    target::LoginConfig { limits: Limits::default(), timeout: TIMEOUT, window: 32 }
}

/// What the target's owner does.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) identification: Identification,
    pub(super) admission: Result<Tsih, Refusal>,
}

impl Owner {
    pub(super) fn with(authentication: Authentication) -> Self {
        Self { identification: Identification::Proceed(policy(authentication)), admission: Ok(TSIH) }
    }
}

/// A target's login and its owner.
pub(super) struct TargetEnd {
    pub(super) login: target::Login,
    pub(super) owner: Owner,
    pub(super) identity: Option<LoginIdentity>,
    pub(super) now: Instant,
}

impl TargetEnd {
    pub(super) fn new(config: target::LoginConfig, owner: Owner) -> Self {
        let now = Instant::now();
        Self { login: target::Login::new(config, [2; 32], now), owner, identity: None, now }
    }

    /// A target with the usual configuration, and an owner that lets in who passes.
    pub(super) fn usual(authentication: Authentication) -> Self {
        Self::new(target_config(), Owner::with(authentication))
    }

    /// The one response to a request, and how the login ends if it does.
    pub(super) fn response(&mut self, request: LoginRequest) -> (LoginResponse, Option<TargetEvent>) {
        let (mut pdus, end) = self.answer(request);
        assert_eq!(pdus.len(), 1, "one answer to one request");
        match pdus.pop() {
            Some(Pdu::LoginResponse(response)) => (response, end),
            other => panic!("no Login Response: {other:?}"),
        }
    }

    /// What the target answers to a PDU, and how the login ends if it does.
    pub(super) fn answer(&mut self, pdu: impl Into<Pdu>) -> (Vec<Pdu>, Option<TargetEvent>) {
        self.login.handle_pdu(self.now, pdu.into());
        self.poll()
    }

    pub(super) fn poll(&mut self) -> (Vec<Pdu>, Option<TargetEvent>) {
        let mut end = None;
        while let Some(event) = self.login.poll_event() {
            assert_eq!(end, None, "an event after the last");
            match event {
                TargetEvent::Identify(identity) => {
                    self.identity = Some(identity);
                    self.login.identify(self.owner.identification.clone());
                }
                TargetEvent::Admit(identity) => {
                    assert_eq!(Some(identity), self.identity);
                    match &self.owner.admission {
                        Ok(tsih) => self.login.admit(*tsih),
                        Err(refusal) => self.login.refuse(refusal.clone()),
                    }
                }
                last => end = Some(last),
            }
        }
        assert!(end.is_none() || self.login.poll_timeout().is_none(), "a login that is over waits for nothing");
        (std::iter::from_fn(|| self.login.poll_transmit()).collect(), end)
    }
}

/// An initiator that does as it is told.
#[derive(Clone, Debug)]
pub(super) struct Script(pub(super) LoginRequest);

impl Script {
    pub(super) fn new() -> Self {
        Self(LoginRequest {
            isid: Isid([0x80, 1, 2, 3, 0, 0]),
            initiator_task_tag: InitiatorTaskTag(7),
            cmd_sn: CmdSn(1000),
            exp_stat_sn: StatSn(1),
            ..LoginRequest::default()
        })
    }

    /// A request in a stage, with the next stage if T is set, and keys.
    pub(super) fn request(&self, stage: u8, next: Option<u8>, keys: &[(&str, &str)]) -> LoginRequest {
        let request = self.0.clone();
        LoginRequest { current_stage: stage_of(stage), transit: next.map(stage_of), data: keys_of(keys), ..request }
    }

    /// A first request with both names.
    pub(super) fn first(&self, stage: u8, next: Option<u8>, keys: &[(&str, &str)]) -> LoginRequest {
        self.request(stage, next, &[&[("InitiatorName", INITIATOR), ("TargetName", TARGET)], keys].concat())
    }
}

pub(super) fn keys_of(keys: &[(&str, &str)]) -> Bytes {
    let mut data = BytesMut::new();
    for (key, value) in keys {
        text::push(&mut data, key, value);
    }
    data.freeze()
}

/// The pairs of a data segment.
pub(super) fn pairs_of(data: &[u8]) -> Vec<(&str, &str)> {
    text::pairs(data).collect::<Result<_, _>>().unwrap()
}

pub(super) fn value_of<'a>(data: &'a [u8], key: &str) -> Option<&'a str> {
    pairs_of(data).into_iter().find_map(|(name, value)| (name == key).then_some(value))
}

/// Both ends of a connection.
pub(super) struct Bench {
    pub(super) initiator: initiator::Login,
    pub(super) target: TargetEnd,
    /// All that was sent, in order.
    pub(super) sent: Vec<Pdu>,
}

/// How both ends have ended, if they have.
#[derive(Debug, PartialEq)]
pub(super) struct Ends {
    pub(super) initiator: Option<InitiatorEvent>,
    pub(super) target: Option<TargetEvent>,
}

impl Ends {
    /// Both outcomes of a login that went well.
    pub(super) fn complete(self) -> (LoginOutcome, LoginOutcome) {
        match self {
            Self { initiator: Some(InitiatorEvent::Complete(ours)), target: Some(TargetEvent::Complete(theirs)) } => {
                (*ours, *theirs)
            }
            other => panic!("the login did not go well: {other:#?}"),
        }
    }
}

impl Bench {
    pub(super) fn new(initiator: initiator::LoginConfig, target: target::LoginConfig, owner: Owner) -> Self {
        Self::with_segments(initiator, target, owner, [8192; 2])
    }

    /// The same, with data segments of other lengths.
    pub(super) fn with_segments(
        initiator: initiator::LoginConfig,
        target_config: target::LoginConfig,
        owner: Owner,
        [ours, theirs]: [usize; 2],
    ) -> Self {
        let mut target = TargetEnd::new(target_config.clone(), owner);
        target.login = target::Login::with_segments(target_config, [2; 32], target.now, theirs);
        let initiator = initiator::Login::with_segments(initiator, InitiatorTaskTag(7), [1; 32], target.now, ours);
        Self { initiator, target, sent: Vec::new() }
    }

    /// A login with this authentication at either end.
    pub(super) fn authenticating(initiator: Authentication, target: Authentication) -> Self {
        let config = initiator::LoginConfig { authentication: initiator, ..initiator_config() };
        Self::new(config, target_config(), Owner::with(target))
    }

    /// Lets both speak until they are silent. Everything goes over the wire as bytes.
    pub(super) fn run(&mut self) -> Ends {
        let mut ends = Ends { initiator: None, target: None };
        loop {
            let Some(request) = self.initiator.poll_transmit() else { break };
            // RFC 7143 11.2.1.2-1, 11.2.1.2-2: each end has its opcodes.
            assert!(request.opcode().is_from_initiator());
            self.sent.push(request.clone());
            let (responses, end) = self.target.answer(Pdu::decode(request.encode()).unwrap());
            ends.target = ends.target.or(end);
            for response in responses {
                assert!(!response.opcode().is_from_initiator());
                self.sent.push(response.clone());
                self.initiator.handle_pdu(self.target.now, Pdu::decode(response.encode()).unwrap());
            }
        }
        ends.initiator = self.initiator.poll_event();
        assert_eq!(self.initiator.poll_event(), None, "an event after the last");
        assert_eq!(self.initiator.poll_timeout().is_none(), ends.initiator.is_some());
        ends
    }

    /// What was sent, a line a PDU: stages, flags, keys.
    pub(super) fn ladder(&self) -> Vec<String> {
        self.sent.iter().map(rung).collect()
    }
}

/// One PDU of a ladder, as the appendix of RFC 7143 writes it.
pub(super) fn rung(pdu: &Pdu) -> String {
    let (who, stage, transit, continues, data) = match pdu {
        Pdu::LoginRequest(pdu) => ("I->", pdu.current_stage, pdu.transit, pdu.continues, &pdu.data),
        Pdu::LoginResponse(pdu) => ("T->", pdu.current_stage, pdu.transit, pdu.continues, &pdu.data),
        other => return format!("{other:?}"),
    };
    let transit = transit.map_or(String::new(), |next| format!("->{}", number(next)));
    let continues = if continues { " C" } else { "" };
    let keys: Vec<&str> = text::pairs(data).flatten().map(|(key, _)| key).collect();
    format!("{who} {}{transit}{continues} {}", number(stage), keys.join(" ")).trim_end().to_owned()
}

pub(super) fn stage_of(number: u8) -> Stage {
    match number {
        0 => Stage::SecurityNegotiation,
        1 => Stage::LoginOperationalNegotiation,
        _ => Stage::FullFeaturePhase,
    }
}

fn number(stage: Stage) -> u8 {
    match stage {
        Stage::SecurityNegotiation => 0,
        Stage::LoginOperationalNegotiation => 1,
        Stage::FullFeaturePhase => 3,
    }
}
