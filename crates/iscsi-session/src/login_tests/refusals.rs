//! Every status of RFC 7143 section 11.13.5, and every rule of the login that an initiator can break.

use super::bench::{
    Bench, Ends, INITIATOR, Owner, Script, TARGET, TIMEOUT, TargetEnd, alice, chap, initiator_config, keys_of,
    target_config, value_of,
};
use crate::initiator::{LoginConfig, LoginEvent};
use crate::target::{Identification, LoginEvent as TargetEvent, Refusal};
use crate::{Authentication, Limits, LoginFailure, NameError, SessionType, Violation, target};
use iscsi_pdu::{
    CmdSn, Frame, InitiatorTaskTag, Isid, LoginRequest, LoginStatus, NopOut, Opcode, Pdu, StatSn, TextRequest, Tsih,
};

/// How a login ends that sends these requests: the rule that was broken, and what the initiator is told. Only the last response ends it.
fn broken(mut target: TargetEnd, requests: &[LoginRequest]) -> (Violation, LoginStatus) {
    let (last, before) = requests.split_last().unwrap();
    for request in before {
        let (response, end) = target.response(request.clone());
        assert_eq!((response.status, &end), (LoginStatus::Success, &None), "{request:?}");
    }
    let (response, end) = target.response(last.clone());
    assert_eq!(response.transit, None, "{requests:?}");
    assert_eq!(response.initiator_task_tag, last.initiator_task_tag);
    match end {
        Some(TargetEvent::Closed(LoginFailure::Violation { violation, .. })) => (violation, response.status),
        other => panic!("no rule was found broken: {other:?}"),
    }
}

pub(super) fn open() -> TargetEnd {
    TargetEnd::usual(Authentication::None)
}

pub(super) fn closed() -> TargetEnd {
    TargetEnd::usual(chap(&alice(), None))
}

const OPEN: &[(&str, &str)] = &[("InitiatorName", INITIATOR), ("TargetName", TARGET)];

/// A first request of the operational stage with these keys beside the names.
fn operational(keys: &[(&str, &str)]) -> Vec<LoginRequest> {
    vec![Script::new().first(1, Some(3), keys)]
}

/// RFC 7143 4.2.7.1-1, 4.2.7.1-4, 6.3-2, 6.3-3: a login without them is refused.
/// RFC 7143 11.12.10-1: without names nobody gets in.
#[test]
fn names_and_types() {
    let first = |keys: &[(&str, &str)]| vec![Script::new().request(1, Some(3), keys)];
    let name = |name| ("InitiatorName", name);
    for (requests, violation, status) in [
        (first(&[]), Violation::MissingName, LoginStatus::MissingParameter),
        (first(&[("TargetName", TARGET)]), Violation::MissingName, LoginStatus::MissingParameter),
        (first(&[name(INITIATOR)]), Violation::MissingName, LoginStatus::MissingParameter),
        (first(&[name("")]), Violation::MissingName, LoginStatus::MissingParameter),
        (first(&[name("joe"), OPEN[1]]), Violation::MalformedName, LoginStatus::InitiatorError),
        (first(&[OPEN[0], ("TargetName", "disk")]), Violation::MalformedName, LoginStatus::InitiatorError),
        (operational(&[("SessionType", "Boot")]), Violation::UnknownSessionType, LoginStatus::SessionTypeNotSupported),
    ] {
        assert_eq!(broken(open(), &requests), (violation, status), "{requests:?}");
    }
    let discovery = [("InitiatorName", INITIATOR), ("SessionType", "Discovery")];
    assert!(matches!(open().response(first(&discovery).remove(0)).1, Some(TargetEvent::Complete(_))));
}

/// RFC 7143 6.2-9, 6.2-11, 6.2-12, 6.2-13, 6.2-17, 6.3-6, 6.3-10, 6.3-11.
/// RFC 7143 12-1: a key out of its stage; 13.4, 13.5: names that are said again.
#[test]
fn keys() {
    let error = LoginStatus::InitiatorError;
    let script = Script::new();
    let later = |first: &[(&str, &str)], later: &[(&str, &str)]| {
        vec![script.first(1, None, first), script.request(1, Some(3), later)]
    };
    for (requests, violation, status) in [
        (operational(&[("HeaderDigest", "None"), ("HeaderDigest", "None")]), Violation::KeyRepeated, error),
        (later(&[("MaxBurstLength", "512")], &[("MaxBurstLength", "512")]), Violation::KeyRepeated, error),
        (later(&[], &[("InitiatorName", "iqn.1999-07.com.os:hostid.78")]), Violation::KeyRepeated, error),
        (later(&[], &[("SessionType", "Normal"), ("SessionType", "Discovery")]), Violation::KeyRepeated, error),
        (operational(&[("InitialR2T", "Irrelevant")]), Violation::AnswerWithoutOffer, error),
        (operational(&[("MaxConnections", "Reject")]), Violation::AnswerWithoutOffer, error),
        (operational(&[("DataDigest", "NotUnderstood")]), Violation::AnswerWithoutOffer, error),
        (operational(&[("AuthMethod", "None")]), Violation::KeyOutOfPlace, error),
        (operational(&[("SendTargets", "All")]), Violation::KeyOutOfPlace, error),
        (operational(&[("TargetAlias", "mine")]), Violation::KeyOutOfPlace, error),
        (operational(&[("TargetPortalGroupTag", "1")]), Violation::KeyOutOfPlace, error),
        (vec![script.first(0, None, &[("MaxBurstLength", "512")])], Violation::KeyOutOfPlace, error),
        (operational(&[("KRB_AP_REQ", "0x60")]), Violation::KeyOutOfPlace, error),
        (vec![script.first(0, None, &[("SRP_U", "alice")])], Violation::SecurityKeyOutOfStep, error),
        (operational(&[("MaxRecvDataSegmentLength", "511")]), Violation::ValueNotAdmissible, error),
        (operational(&[("MaxRecvDataSegmentLength", "16777216")]), Violation::ValueNotAdmissible, error),
        (operational(&[("MaxRecvDataSegmentLength", "much")]), Violation::ValueNotAdmissible, error),
        (later(&[("FirstBurstLength", "65536")], &[("MaxBurstLength", "4096")]), Violation::KeysContradict, error),
    ] {
        assert_eq!(broken(open(), &requests), (violation, status), "{requests:?}");
    }
}

/// As libiscsi does when its offer of CHAP was answered with None.
#[test]
fn an_initiator_that_introduces_itself_twice_as_the_same_is_let_in() {
    let introduction = [OPEN[0], OPEN[1], ("SessionType", "Normal")];
    let mut target = open();
    let first = [&introduction[..], &[("AuthMethod", "CHAP,None")]].concat();
    target.response(Script::new().request(0, Some(1), &first));
    let (_, end) = target.response(Script::new().request(1, Some(3), &introduction));
    assert!(matches!(end, Some(TargetEvent::Complete(_))), "{end:?}");
}

/// RFC 7143 13-1: keys marked LO have no place on a connection that joins a session.
#[test]
fn leading_only_keys_on_a_joining_connection() {
    let mut script = Script::new();
    script.0.tsih = Tsih(9);
    let requests = [script.first(1, Some(3), &[("MaxConnections", "1")])];
    assert_eq!(broken(open(), &requests), (Violation::KeyOutOfPlace, LoginStatus::InitiatorError));
    let mut target = open();
    target.owner.admission = Ok(Tsih(9));
    let (response, end) = target.response(script.first(1, Some(3), &[("HeaderDigest", "CRC32C")]));
    assert!(matches!(end, Some(TargetEvent::Complete(_))));
    assert_eq!((response.tsih, target.identity.unwrap().tsih), (Tsih(9), Tsih(9)));
}

/// RFC 7143 7.12-1, 7.12-2: the login fails, and with it the connection.
#[test]
fn values_that_suit_nobody() {
    for (limits, keys, status) in [
        (
            Limits { header_digest: vec![true], ..Limits::default() },
            ("HeaderDigest", "None"),
            LoginStatus::InitiatorError,
        ),
        (Limits { burst_bytes_max: 4096, ..Limits::default() }, ("MaxBurstLength", "511"), LoginStatus::InitiatorError),
        (
            Limits { immediate_data: false, ..Limits::default() },
            ("ImmediateData", "Maybe"),
            LoginStatus::InitiatorError,
        ),
    ] {
        let config = target::LoginConfig { limits, ..target_config() };
        let target = TargetEnd::new(config, Owner::with(Authentication::None));
        assert_eq!(broken(target, &operational(&[keys])), (Violation::NoAgreement, status), "{keys:?}");
    }
}

/// RFC 7143 6.2-6, 6.3-8: what the target cannot leave at its default it offers, before it takes a step, and without an answer
/// there is no session.
/// RFC 7143 11.13.6-1: a response with an offer has no T bit.
#[test]
fn silence_about_what_the_target_cannot_do_without() {
    let limits = Limits { burst_bytes_max: 4096, immediate_data: false, ..Limits::default() };
    let config = target::LoginConfig { limits, ..target_config() };
    let target = || TargetEnd::new(config.clone(), Owner::with(Authentication::None));
    let (first, empty) = (Script::new().first(1, Some(3), &[]), Script::new().request(1, Some(3), &[]));
    assert_eq!(broken(target(), &[first.clone(), empty]), (Violation::MissingAnswer, LoginStatus::MissingParameter));

    let mut target = target();
    let (response, _) = target.response(first);
    assert_eq!(
        (value_of(&response.data, "MaxBurstLength"), value_of(&response.data, "ImmediateData")),
        (Some("4096"), Some("No"))
    );
    // RFC 7143 6.2.2: a No to ImmediateData=No may be left unsaid. FirstBurstLength is offered as long as InitialR2T may yet be No.
    let answers = [("MaxBurstLength", "512"), ("InitialR2T", "Yes"), ("FirstBurstLength", "512")];
    let (_, end) = target.response(Script::new().request(1, Some(3), &answers));
    let Some(TargetEvent::Complete(outcome)) = end else { panic!("{end:?}") };
    assert_eq!((outcome.parameters.burst_bytes_max, outcome.parameters.immediate_data), (512, false));
}

/// RFC 7143 4.4.3-1, 6.3-5: another TSIH, an earlier stage, and others.
/// RFC 7143 11.12.4.1-2, 11.12.4.2-2, 11.12.6-4, 11.12.7-2: another than in the first request ends the login.
#[test]
fn headers() {
    let script = Script::new();
    let first = || script.first(1, None, &[]);
    let changed = |change: fn(&mut LoginRequest)| {
        let mut request = script.request(1, Some(3), &[]);
        change(&mut request);
        vec![first(), request]
    };
    let error = LoginStatus::InitiatorError;
    let version = LoginRequest { version_min: 1, version_max: 2, ..first() };
    for (requests, violation, status) in [
        (vec![version], Violation::LoginVersion, LoginStatus::UnsupportedVersion),
        (changed(|request| request.isid = Isid([1; 6])), Violation::LoginChanged, error),
        (changed(|request| request.tsih = Tsih(1)), Violation::LoginChanged, error),
        (changed(|request| request.cid.0 = 1), Violation::LoginChanged, error),
        (changed(|request| request.cmd_sn = CmdSn(1001)), Violation::LoginChanged, error),
        (changed(|request| request.version_max = 1), Violation::LoginChanged, error),
        (changed(|request| request.exp_stat_sn = StatSn(3)), Violation::LoginAcknowledgement, error),
        (vec![first(), script.request(0, Some(1), &[])], Violation::WrongStage, error),
        (vec![script.first(0, Some(1), &[]), script.request(0, None, &[])], Violation::WrongStage, error),
        (vec![script.first(1, Some(1), &[])], Violation::StageTransition, error),
        (vec![script.first(1, Some(0), &[])], Violation::StageTransition, error),
        (vec![script.first(0, Some(0), &[])], Violation::StageTransition, error),
    ] {
        assert_eq!(broken(open(), &requests), (violation, status), "{requests:?}");
    }
    // Another task tag is answered under the first.
    let mut target = open();
    target.response(first());
    let other = LoginRequest { initiator_task_tag: InitiatorTaskTag(8), ..script.request(1, Some(3), &[]) };
    let (response, end) = target.response(other);
    assert_eq!((response.status, response.initiator_task_tag), (error, InitiatorTaskTag(7)));
    assert!(matches!(end, Some(TargetEvent::Closed(_))));
}

#[test]
fn a_header_that_means_nothing_is_refused_if_it_is_a_login_request() {
    for (flags, field) in [(0xc7, "C"), (0x06 | 0x80, "NSG"), (0x08, "CSG"), (0x0c, "CSG")] {
        let mut frame = Pdu::from(Script::new().first(1, Some(3), &[])).encode();
        frame.header.0[1] = flags;
        let error = Pdu::decode(frame.clone()).unwrap_err();
        assert_eq!(error.field, field);
        let mut target = open();
        target.login.handle_undecodable(target.now, frame.header, error);
        let (pdus, end) = target.poll();
        let failure = LoginFailure::Malformed { violation: Violation::LoginFlags, error };
        assert_eq!(end, Some(TargetEvent::Closed(failure)));
        let [Pdu::LoginResponse(response)] = &pdus[..] else { panic!("{pdus:?}") };
        assert_eq!((response.status, response.isid), (LoginStatus::InitiatorError, Script::new().0.isid));
    }
}

/// RFC 7143 4.2.4-5.
#[test]
fn a_stranger_is_left_without_an_answer() {
    let mut target = open();
    let (pdus, end) = target.answer(NopOut::default());
    assert_eq!((pdus, end), (vec![], Some(TargetEvent::Closed(LoginFailure::NotALogin(Opcode::NopOut)))));

    let mut frame = Frame::new(Pdu::from(NopOut::default()).encode().header, Box::default(), bytes::Bytes::new());
    frame.header.0[0] = 0x3e;
    let mut target = open();
    target.login.handle_undecodable(target.now, frame.header, Pdu::decode(frame).unwrap_err());
    assert_eq!(target.poll(), (vec![], Some(TargetEvent::Closed(LoginFailure::NotALogin(Opcode::Other(0x3e))))));
}

/// RFC 7143 4.2.4-2, 4.2.4-6.
#[test]
fn another_pdu_during_the_login_is_invalid() {
    let mut target = open();
    target.response(Script::new().first(1, None, &[]));
    let (pdus, end) = target.answer(TextRequest::default());
    let [Pdu::LoginResponse(response)] = &pdus[..] else { panic!("{pdus:?}") };
    assert_eq!(response.status, LoginStatus::InvalidDuringLogin);
    let failure = LoginFailure::Violation { violation: Violation::NotDuringLogin, key: None };
    assert_eq!(end, Some(TargetEvent::Closed(failure)));
}

/// RFC 7143 4.2.4-1, 6.3.2-4: whoever tries is told by the status.
#[test]
fn security_that_is_required_cannot_be_gone_around() {
    let script = Script::new();
    let refused = LoginStatus::AuthenticationFailure;
    for (requests, violation) in [
        (operational(&[]), Violation::AuthenticationRequired),
        (vec![script.first(0, Some(1), &[("AuthMethod", "None")])], Violation::NoCommonMethod),
        (vec![script.first(0, Some(1), &[("AuthMethod", "KRB5,SRP")])], Violation::NoCommonMethod),
        (vec![script.first(0, Some(3), &[]), script.request(0, Some(3), &[])], Violation::AuthenticationRequired),
        (
            vec![script.first(0, Some(3), &[]), script.request(0, Some(3), &[("AuthMethod", "None")])],
            Violation::AuthenticationRequired,
        ),
        (
            vec![
                script.first(0, Some(1), &[("AuthMethod", "CHAP")]),
                script.request(0, Some(1), &[("CHAP_A", "9,255")]),
            ],
            Violation::NoCommonMethod,
        ),
    ] {
        assert_eq!(broken(closed(), &requests), (violation, refused), "{requests:?}");
    }
    // Nor can it be had of a target that has no credentials.
    let requests = [script.first(0, Some(1), &[("AuthMethod", "CHAP")])];
    assert_eq!(broken(open(), &requests), (Violation::NoCommonMethod, refused));
}

/// RFC 7143 6.3.2-1, 6.3.2-2: by the key as well as by the status.
#[test]
fn methods_that_may_not_be_used_are_rejected() {
    for (mut target, methods, answer) in
        [(closed(), "KRB5,SRP,None", "Reject"), (open(), "CHAP", "Reject"), (open(), "CHAP,None", "None")]
    {
        let (response, _) = target.response(Script::new().first(0, Some(1), &[("AuthMethod", methods)]));
        assert_eq!(value_of(&response.data, "AuthMethod"), Some(answer));
        assert_eq!(response.status == LoginStatus::AuthenticationFailure, answer == "Reject");
    }
}

#[test]
fn security_that_is_optional_is_left_out_or_gone_through() {
    let script = Script::new();
    let optional = || TargetEnd::usual(chap(&alice(), None).or_none());
    let methods = |list: &'static str| script.first(0, Some(1), &[("AuthMethod", list)]);
    for (list, chosen) in [("CHAP,None", "CHAP"), ("KRB5,None,CHAP", "None"), ("None", "None"), ("CHAP", "CHAP")] {
        let (response, _) = optional().response(methods(list));
        assert_eq!(value_of(&response.data, "AuthMethod"), Some(chosen), "{list}");
        assert_eq!(response.transit.is_some(), chosen == "None", "{list}");
    }
    for first in [script.first(0, Some(1), &[]), script.first(1, Some(3), &[])] {
        assert!(optional().response(first).0.transit.is_some());
    }
    // Who has begun to prove himself does not get away with less.
    let requests = [methods("CHAP,None"), script.request(0, Some(1), &[])];
    assert_eq!(broken(optional(), &requests).1, LoginStatus::MissingParameter);
}

#[test]
fn a_text_is_waited_for_while_it_is_continued_and_no_longer() {
    let script = Script::new();
    let part = |data: &'static [u8], continues| LoginRequest {
        continues,
        data: data.into(),
        transit: None,
        ..script.request(1, None, &[])
    };
    let mut target = open();
    let (response, _) = target.response(part(b"InitiatorName=iqn.1999-07.com.os:host\0Target", true));
    // RFC 7143 6.2-2, 6.3.1-1: the answer to a part is empty, and names no portal group yet.
    assert_eq!((response.data.len(), response.continues, response.transit), (0, false, None));
    let (response, _) = target.response(part(b"Name=iqn.1999-07.com.example:disk\0", false));
    assert_eq!(value_of(&response.data, "TargetPortalGroupTag"), Some("1"));

    let (violation, error) = (Violation::TextMalformed, LoginStatus::InitiatorError);
    assert_eq!(broken(open(), &[part(b"InitiatorName=iqn.1999-07.com.os:host", false)]), (violation, error));
    assert_eq!(broken(open(), &[part(b"InitiatorName\0", false)]), (violation, error));
    assert_eq!(broken(open(), &[part(b"\xff\xff=\0", false)]), (violation, error));
}

/// RFC 7143 6.2-1, 6.2-3: without T as long as it has, and who interrupts is refused.
#[test]
fn a_target_that_has_more_to_say_is_listened_to() {
    let script = Script::new();
    let mut target = TargetEnd::usual(Authentication::None);
    target.login = target::Login::with_segments(target_config(), [2; 32], target.now, 30);
    let first = script.first(1, Some(3), &[("MaxBurstLength", "512")]);
    let (response, _) = target.response(first);
    assert!(response.continues && response.transit.is_none() && response.data.len() == 30);
    let rude = script.request(1, Some(3), &[("MaxConnections", "1")]);
    assert_eq!(broken(target, &[rude]), (Violation::TextInContinuation, LoginStatus::InitiatorError));
}

// RFC 7143 11.13.5-1: a redirection with its address.
#[test]
fn the_owner_refuses_with_every_status_before_and_after_the_login() {
    let refusals = LoginStatus::NAMED.iter().copied().filter(|status| status.class() != 0);
    for status in refusals {
        let target_address = (status.class() == 1).then(|| "[2001:db8::7]:3261".to_owned());
        let refusal = Refusal { status, target_address };
        let early =
            Owner { identification: Identification::Refuse(refusal.clone()), ..Owner::with(Authentication::None) };
        let late = Owner { admission: Err(refusal), ..Owner::with(Authentication::None) };
        for owner in [early, late] {
            let mut bench = Bench::new(initiator_config(), target_config(), owner);
            let Ends { initiator, target } = bench.run();
            assert_eq!(target, Some(TargetEvent::Closed(LoginFailure::Refused(status))));
            let expected = match status.class() {
                1 => LoginEvent::Redirected {
                    address: "[2001:db8::7]:3261".into(),
                    permanent: status == LoginStatus::TargetMovedPermanently,
                },
                _ => LoginEvent::Failed(LoginFailure::Refused(status)),
            };
            assert_eq!(initiator, Some(expected));
        }
    }
}

// RFC 7143 11.13.5-2: nobody has proven anything.
#[test]
fn a_redirection_before_chap_is_followed() {
    let owner = Owner {
        identification: Identification::Refuse(Refusal::redirect("storage.example.com", false)),
        ..Owner::with(Authentication::None)
    };
    let config = LoginConfig { authentication: chap(&alice(), None), ..initiator_config() };
    let ends = Bench::new(config, target_config(), owner).run();
    let expected = LoginEvent::Redirected { address: "storage.example.com".into(), permanent: false };
    assert_eq!(ends.initiator, Some(expected));
}

/// RFC 7143 4.2.7.1-1: not without a name.
#[test]
fn an_initiator_that_cannot_log_in_sends_nothing() {
    let named = |initiator_name: &str| LoginConfig { initiator_name: initiator_name.into(), ..initiator_config() };
    let nameless = LoginConfig { target_name: None, ..initiator_config() };
    let secretless = Authentication::Chap { initiator: vec![], target: None, algorithms: vec![], optional: false };
    for (config, failure) in [
        (named("joe"), LoginFailure::Name(NameError::Form)),
        (nameless, LoginFailure::NoTarget),
        (
            LoginConfig { authentication: secretless, ..initiator_config() },
            LoginFailure::Authentication(crate::AuthenticationError::NoCredential),
        ),
    ] {
        let mut bench = Bench::new(config, target_config(), Owner::with(Authentication::None));
        assert_eq!(bench.run(), Ends { initiator: Some(LoginEvent::Failed(failure)), target: None });
        assert_eq!(bench.sent, []);
    }
}

#[test]
fn time_runs_out_at_either_end_and_what_comes_later_is_ignored() {
    let mut target = open();
    assert_eq!(target.login.poll_timeout(), Some(target.now + TIMEOUT));
    target.login.handle_timeout(target.now + TIMEOUT / 2);
    assert_eq!(target.poll(), (vec![], None));
    target.now += TIMEOUT;
    let late = target.answer(Script::new().first(1, Some(3), &[]));
    assert_eq!(late, (vec![], Some(TargetEvent::Closed(LoginFailure::TimedOut))));
    target.login.handle_timeout(target.now + TIMEOUT);
    target.login.identify(Identification::Refuse(LoginStatus::NotFound.into()));
    target.login.admit(Tsih(1));
    target.login.refuse(LoginStatus::NotFound.into());
    assert_eq!((target.login.poll_event(), target.login.poll_transmit()), (None, None));

    let mut bench = Bench::new(initiator_config(), target_config(), Owner::with(Authentication::None));
    bench.initiator.handle_timeout(bench.target.now + TIMEOUT);
    assert_eq!(bench.initiator.poll_event(), Some(LoginEvent::Failed(LoginFailure::TimedOut)));
    bench.initiator.handle_pdu(bench.target.now + TIMEOUT, NopOut::default().into());
    assert_eq!(bench.initiator.poll_event(), None);
}

/// RFC 7143 6.3-1.
#[test]
fn an_initiator_speaks_when_it_is_spoken_to() {
    let mut login = target::Login::new(target_config(), [2; 32], open().now);
    let first = Script::new().first(1, Some(3), &[]);
    login.handle_pdu(open().now, first.clone().into());
    // The owner takes its time.
    assert!(matches!(login.poll_event(), Some(TargetEvent::Identify(_))));
    login.handle_pdu(open().now, first.into());
    let failure = LoginFailure::Violation { violation: Violation::LoginOutOfTurn, key: None };
    assert_eq!(login.poll_event(), Some(TargetEvent::Closed(failure)));
}

#[test]
fn credentials_that_cannot_be_used_are_the_targets_fault() {
    let twin = super::bench::credential("target-bob", "secret-alice-1");
    let unusable = Authentication::Chap {
        initiator: vec![alice()],
        target: Some(twin),
        algorithms: crate::ChapAlgorithm::ALL.to_vec(),
        optional: false,
    };
    let (response, _) = TargetEnd::usual(unusable).response(Script::new().first(0, Some(1), &[]));
    assert_eq!(response.status, LoginStatus::TargetError);
}

/// RFC 7143 7.4.1-1, 7.4.1-2: and the recovery level zero.
/// RFC 7143 13.21-1: ErrorRecoveryLevel is 0.
#[test]
fn a_discovery_session_finds_session_keys_irrelevant() {
    let config = LoginConfig { session_type: SessionType::Discovery, target_name: None, ..initiator_config() };
    let mut bench = Bench::new(config, target_config(), Owner::with(Authentication::None));
    bench.run().complete();
    let keys = [
        ("InitiatorName", INITIATOR),
        ("SessionType", "Discovery"),
        ("MaxBurstLength", "512"),
        ("ErrorRecoveryLevel", "2"),
    ];
    let request = LoginRequest { data: keys_of(&keys), ..Script::new().request(1, Some(3), &[]) };
    let (response, _) = open().response(request);
    assert_eq!(value_of(&response.data, "MaxBurstLength"), Some("Irrelevant"));
    assert_eq!(value_of(&response.data, "ErrorRecoveryLevel"), Some("0"));
}
