//! Every rule that either end can break during the login: that the other names it, and ends the login as the table of violations says.

use super::bench::{INITIATOR, Owner, Script, TARGET, TargetEnd, alice, bob, chap, keys_of, target_config};
use super::proofs::{CHALLENGE, METHOD, at_a_rogue, challenged, played_back};
use super::refusals::{closed, open};
use super::rogue::Rogue;
use crate::chap::Challenge;
use crate::initiator::LoginEvent;
use crate::target::{self, LoginEvent as TargetEvent};
use crate::{Answer, Authentication, ChapAlgorithm, Limits, TaskReporting, Violation};
use iscsi_pdu::{
    CmdSn, DecodeError, Header, LoginRequest, LoginResponse, LoginStatus, NopIn, Pdu, Stage, StatSn, TextRequest, Tsih,
    text,
};
use std::time::Instant;

/// What the target answers to the PDU that breaks the rule.
type AtTarget = fn() -> (Vec<Pdu>, Option<TargetEvent>);

const BY_INITIATORS: &[(Violation, AtTarget)] = &[
    (Violation::NotDuringLogin, || after(open(), &[first(None)]).answer(TextRequest::default())),
    (Violation::LoginFlags, || undecodable(open(), first(None))),
    (Violation::NotDuringLogin, || undecodable(after(open(), &[first(None)]), TextRequest::default())),
    (Violation::LoginTooLong, || {
        after(open(), &[&[first(None)][..], &vec![next(None); 63]].concat()).answer(next(None))
    }),
    (Violation::LoginChanged, || after(open(), &[first(None)]).answer(LoginRequest { cmd_sn: CmdSn(9), ..next(None) })),
    (Violation::LoginVersion, || open().answer(LoginRequest { version_min: 1, version_max: 2, ..first(None) })),
    (Violation::LoginOutOfTurn, || {
        let mut target = open();
        target.login.handle_pdu(target.now, first(None).into());
        target.answer(next(None))
    }),
    (Violation::LoginAcknowledgement, || {
        after(open(), &[first(None)]).answer(LoginRequest { exp_stat_sn: StatSn(3), ..next(None) })
    }),
    (Violation::WrongStage, || after(open(), &[first(None)]).answer(Script::new().request(0, Some(1), &[]))),
    (Violation::StageTransition, || open().answer(Script::new().first(0, Some(0), &[]))),
    (Violation::TextMalformed, || open().answer(LoginRequest { data: "InitiatorName\0".into(), ..first(None) })),
    (Violation::TextInContinuation, || {
        with_more_to_say().answer(LoginRequest { data: keys_of(&[("MaxConnections", "1")]), ..next(None) })
    }),
    (Violation::KeyOutOfPlace, || open().answer(said(None, "SendTargets", "All"))),
    (Violation::KeyRepeated, || open().answer(said(None, "TargetName", "iqn.2026-01.io.ferriscsi:other"))),
    (Violation::AnswerWithoutOffer, || open().answer(said(None, "InitialR2T", "Irrelevant"))),
    (Violation::ValueNotAdmissible, || open().answer(said(None, "MaxRecvDataSegmentLength", "511"))),
    (Violation::NoAgreement, || {
        limited(Limits { header_digest: vec![true], ..Limits::default() }).answer(said(None, "HeaderDigest", "None"))
    }),
    (Violation::KeysContradict, || {
        let contradiction = LoginRequest { data: keys_of(&[("MaxBurstLength", "4096")]), ..next(Some(3)) };
        after(open(), &[said(None, "FirstBurstLength", "65536")]).answer(contradiction)
    }),
    (Violation::MissingAnswer, || {
        let target = limited(Limits { burst_bytes_max: 4096, ..Limits::default() });
        after(target, &[first(Some(3))]).answer(next(Some(3)))
    }),
    (Violation::MissingName, || open().answer(next(Some(3)))),
    (Violation::MalformedName, || open().answer(named("joe", "Normal"))),
    (Violation::UnknownSessionType, || open().answer(named(INITIATOR, "Boot"))),
    (Violation::AuthenticationRequired, || closed().answer(first(Some(3)))),
    (Violation::NoCommonMethod, || closed().answer(Script::new().first(0, Some(1), &[("AuthMethod", "None")]))),
    (Violation::MissingSecurityKey, || proving(|_| vec![("CHAP_N", "alice".into())])),
    (Violation::SecurityKeyOutOfStep, || proving(|_| vec![("CHAP_N", "alice".into()), ("CHAP_R", "35D5".into())])),
    (Violation::NotAuthenticated, || proving(|_| vec![("CHAP_N", "alice".into()), ("CHAP_R", text::hex(&[0; 16]))])),
    (Violation::ChallengeReflected, || proving(|challenge| proof_and_question(challenge, &challenge.bytes))),
    (Violation::TargetProofNotSupported, || {
        let (target, challenge) = challenged(chap(&alice(), None));
        prove(target, &proof_and_question(&challenge, b"\x11"))
    }),
];

/// How the initiator ends the login.
type AtInitiator = fn() -> Option<LoginEvent>;

const BY_TARGETS: &[(Violation, AtInitiator)] = &[
    (Violation::NotDuringLogin, || {
        let mut target = usual();
        target.login.handle_pdu(Instant::now(), NopIn::default().into());
        target.login.poll_event()
    }),
    (Violation::LoginFlags, || {
        let mut target = usual();
        let (header, error) = meaningless(LoginResponse::default());
        target.login.handle_undecodable(Instant::now(), header, error);
        target.login.poll_event()
    }),
    (Violation::LoginTooLong, || {
        let mut target = usual();
        (0..65).for_each(|_| target.respond(1, None, &[]));
        target.login.poll_event()
    }),
    (Violation::LoginVersion, || response(|response| response.version_active = 1)),
    (Violation::ResponseMismatch, || response(|response| response.isid.0[5] ^= 1)),
    (Violation::StatSnOutOfOrder, || response(|response| response.stat_sn = StatSn(40))),
    (Violation::WrongStage, || response(|response| response.current_stage = Stage::SecurityNegotiation)),
    (Violation::StageTransition, || response(|response| response.transit = Some(Stage::LoginOperationalNegotiation))),
    (Violation::ZeroTsih, || response(|response| response.tsih = Tsih(0))),
    (Violation::RedirectWithoutAddress, || response(|response| response.status = LoginStatus::TargetMovedTemporarily)),
    (Violation::TextMalformed, || response(|response| response.data = "TargetAlias\0".into())),
    (Violation::KeyNotUnderstood, || answering(None, "MaxBurstLength", "NotUnderstood")),
    (Violation::KeyOutOfPlace, || answering(None, "SessionType", "Normal")),
    (Violation::AnswerWithoutOffer, || answering(None, "TaskReporting", "Reject")),
    (Violation::OfferWithTransit, || answering(Some(3), "TaskReporting", "RFC3720")),
    (Violation::ValueNotAdmissible, || answering(None, "MaxBurstLength", "511")),
    (Violation::NoAgreement, || answering(Some(3), "MaxBurstLength", "Irrelevant")),
    (Violation::NoCommonMethod, || at_a_rogue(mutual(), &[(None, &[("AuthMethod", "Reject")])])),
    (Violation::SecurityKeyOutOfStep, || at_a_rogue(mutual(), &[(None, &[("AuthMethod", "None")])])),
    (Violation::MissingSecurityKey, || at_a_rogue(mutual(), &[METHOD, (None, &[])])),
    (Violation::TargetProofMissing, || at_a_rogue(mutual(), &[METHOD, CHALLENGE, (Some(1), &[])])),
    (Violation::NotAuthenticated, || {
        at_a_rogue(mutual(), &[METHOD, CHALLENGE, (Some(1), &[("CHAP_N", "target-bob"), ("CHAP_R", "0x00")])])
    }),
    (Violation::SecretInBothDirections, played_back),
];

#[test]
fn every_rule_of_the_login_has_a_row() {
    let rows = || BY_INITIATORS.iter().map(|(rule, _)| rule).chain(BY_TARGETS.iter().map(|(rule, _)| rule));
    let has_none = |rule: &&Violation| rows().all(|violation| violation != *rule);
    let untested: Vec<_> = Violation::OF_LOGINS.iter().filter(has_none).collect();
    assert!(untested.is_empty(), "no row breaks {untested:?}");
}

#[test]
fn the_target_refuses_with_the_status_of_the_rule_that_was_broken() {
    for (violation, breaks) in BY_INITIATORS {
        let (pdus, end) = breaks();
        let Some(TargetEvent::Closed(failure)) = end else { panic!("{violation:?}: {end:?}") };
        assert_eq!(failure.violation(), Some(*violation));
        let Some(Pdu::LoginResponse(response)) = pdus.last() else { panic!("{violation:?}: {pdus:?}") };
        assert_eq!(Answer::Refuse(response.status), violation.answer(), "{violation:?}");
    }
}

#[test]
fn the_initiator_gives_the_login_up_by_the_name_of_the_rule_that_was_broken() {
    for (violation, breaks) in BY_TARGETS {
        let end = breaks();
        let Some(LoginEvent::Failed(failure)) = end else { panic!("{violation:?}: {end:?}") };
        assert_eq!(failure.violation(), Some(*violation));
        assert!(matches!(violation.answer(), Answer::Refuse(_) | Answer::Close), "{violation:?}");
    }
}

/// A first request of the operational stage.
fn first(next: Option<u8>) -> LoginRequest {
    Script::new().first(1, next, &[])
}

/// A later one, with no keys.
fn next(next: Option<u8>) -> LoginRequest {
    Script::new().request(1, next, &[])
}

/// A first request with a key beside the names.
fn said(next: Option<u8>, key: &str, value: &str) -> LoginRequest {
    Script::new().first(1, next, &[(key, value)])
}

/// A first request of an initiator with another name or session type.
fn named(name: &str, session_type: &str) -> LoginRequest {
    let keys = [("InitiatorName", name), ("TargetName", TARGET), ("SessionType", session_type)];
    LoginRequest { data: keys_of(&keys), ..next(None) }
}

/// A target that has gone on after these requests.
fn after(mut target: TargetEnd, requests: &[LoginRequest]) -> TargetEnd {
    for request in requests {
        let (response, end) = target.response(request.clone());
        assert_eq!((response.status, end), (LoginStatus::Success, None), "{request:?}");
    }
    target
}

fn limited(limits: Limits) -> TargetEnd {
    TargetEnd::new(target::LoginConfig { limits, ..target_config() }, Owner::with(Authentication::None))
}

/// A target whose answer takes more than one segment.
fn with_more_to_say() -> TargetEnd {
    let mut target = open();
    target.login = target::Login::with_segments(target_config(), [2; 32], target.now, 30);
    after(target, &[said(Some(3), "MaxBurstLength", "512")])
}

/// The header of a PDU with flags that exclude each other, and what is wrong with it.
fn meaningless(pdu: impl Into<Pdu>) -> (Header, DecodeError) {
    let mut frame = pdu.into().encode();
    frame.header.0[1] = 0xc0; // the last, and goes on
    (frame.header, Pdu::decode(frame).unwrap_err())
}

fn undecodable(mut target: TargetEnd, pdu: impl Into<Pdu>) -> (Vec<Pdu>, Option<TargetEvent>) {
    let (header, error) = meaningless(pdu);
    target.login.handle_undecodable(target.now, header, error);
    target.poll()
}

type Keys = Vec<(&'static str, String)>;

/// What a target that has a secret of its own answers to these keys in place of a proof.
fn proving(keys: fn(&Challenge) -> Keys) -> (Vec<Pdu>, Option<TargetEvent>) {
    let (target, challenge) = challenged(chap(&alice(), Some(bob())));
    prove(target, &keys(&challenge))
}

fn prove(mut target: TargetEnd, keys: &Keys) -> (Vec<Pdu>, Option<TargetEvent>) {
    let keys: Vec<_> = keys.iter().map(|(key, value)| (*key, value.as_str())).collect();
    target.answer(Script::new().request(0, Some(1), &keys))
}

/// The proof of Alice, who asks the target in her turn.
fn proof_and_question(challenge: &Challenge, question: &[u8]) -> Keys {
    let proof = challenge.response(ChapAlgorithm::Md5, &alice().secret);
    let identifier = challenge.identifier.wrapping_add(1).to_string();
    vec![
        ("CHAP_N", "alice".into()),
        ("CHAP_R", text::hex(&proof)),
        ("CHAP_I", identifier),
        ("CHAP_C", text::hex(question)),
    ]
}

fn usual() -> Rogue {
    let limits = Limits { burst_bytes_max: 65_536, task_reporting: TaskReporting::Rfc3720, ..Limits::default() };
    Rogue::new(limits)
}

/// How our initiator ends when the last response of the target is changed.
fn response(change: fn(&mut LoginResponse)) -> Option<LoginEvent> {
    let mut target = usual();
    target.respond(1, None, &[]);
    target.respond_with(1, Some(3), &[], change);
    target.login.poll_event()
}

/// How our initiator ends when the target says this.
fn answering(next: Option<u8>, key: &str, value: &str) -> Option<LoginEvent> {
    let mut target = usual();
    target.respond(1, next, &[(key, value)]);
    target.login.poll_event()
}

fn mutual() -> Authentication {
    chap(&alice(), Some(bob()))
}
