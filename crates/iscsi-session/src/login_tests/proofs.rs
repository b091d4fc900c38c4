//! CHAP between both ends, and what attackers try.

use super::bench::{
    Bench, Ends, Script, TargetEnd, alice, bob, chap, credential, initiator_config, keys_of, stage_of, value_of,
};
use crate::chap::{Challenge, decode_binary};
use crate::initiator::{Login, LoginConfig, LoginEvent};
use crate::target::LoginEvent as TargetEvent;
use crate::{Authentication, ChapAlgorithm, Credential, LoginFailure, Violation};
use iscsi_pdu::{InitiatorTaskTag, LoginRequest, LoginResponse, LoginStatus, Pdu, text};
use std::time::Instant;

fn with(algorithms: &[ChapAlgorithm], initiator: Credential, target: Option<Credential>) -> Authentication {
    Authentication::chap(vec![initiator], target, algorithms.to_vec()).unwrap()
}

fn violation(end: Option<TargetEvent>) -> Violation {
    match end {
        Some(TargetEvent::Closed(LoginFailure::Violation { violation, .. })) => violation,
        other => panic!("{other:?}"),
    }
}

/// RFC 7143 4.2.4-1.
/// RFC 7143 12.1-2, 12.1-3: in one direction and in both.
#[test]
fn every_algorithm_proves_both_ends() {
    for algorithm in ChapAlgorithm::ALL {
        for target in [None, Some(bob())] {
            let mut bench = Bench::authenticating(with(&[*algorithm], alice(), target), chap(&alice(), Some(bob())));
            let (ours, theirs) = bench.run().complete();
            assert_eq!(ours.authenticated_as.as_deref(), Some("alice"));
            assert_eq!(ours.authenticated_as, theirs.authenticated_as);
        }
    }
}

// RFC 7143 12.1.3-8: MD5 is in the list that we offer unless we are told otherwise.
#[test]
fn the_target_takes_the_first_algorithm_of_the_initiator_that_it_allows() {
    use ChapAlgorithm::{Md5, Sha1, Sha3_256, Sha256};
    for (offered, allowed, expected) in [
        (&[Sha256, Md5][..], &[Md5, Sha256][..], Some("7")),
        (&[Sha3_256, Sha1], &[Sha1, Md5], Some("6")),
        (&[Md5], &[Sha256, Sha3_256], None),
        (ChapAlgorithm::INTEROPERABLE, ChapAlgorithm::ALL, Some("5")),
    ] {
        let mut bench = Bench::authenticating(with(offered, alice(), None), with(allowed, alice(), None));
        let Ends { initiator, .. } = bench.run();
        let chosen = bench.sent.iter().find_map(|pdu| match pdu {
            Pdu::LoginResponse(response) => value_of(&response.data, "CHAP_A"),
            _ => None,
        });
        assert_eq!(chosen, expected);
        let refused = LoginEvent::Failed(LoginFailure::Refused(LoginStatus::AuthenticationFailure));
        assert_eq!(initiator == Some(refused), expected.is_none());
    }
}

#[test]
fn a_target_that_asks_for_nothing_is_logged_in_to_unless_it_has_to_prove_itself() {
    let mut bench = Bench::authenticating(chap(&alice(), None), Authentication::None);
    let (ours, _) = bench.run().complete();
    assert_eq!(ours.authenticated_as, None);
    assert_eq!(
        bench.ladder()[..2],
        ["I-> 0->1 InitiatorName TargetName SessionType AuthMethod", "T-> 0->1 TargetPortalGroupTag AuthMethod",]
    );
    let ends = Bench::authenticating(chap(&alice(), Some(bob())), Authentication::None).run();
    let refused = LoginFailure::Refused(LoginStatus::AuthenticationFailure);
    assert_eq!(ends.initiator, Some(LoginEvent::Failed(refused)));
}

/// RFC 7143 6.3.2-4.
#[test]
fn a_proof_that_is_optional_is_taken_from_those_who_offer_it() {
    let optional = || chap(&alice(), Some(bob())).or_none();
    for (initiator, expected) in [
        (Authentication::None, None),
        (chap(&alice(), None), Some("alice")),
        (chap(&alice(), Some(bob())), Some("alice")),
    ] {
        let (ours, theirs) = Bench::authenticating(initiator, optional()).run().complete();
        assert_eq!(ours.authenticated_as.as_deref(), expected);
        assert_eq!(ours.authenticated_as, theirs.authenticated_as);
    }
    let stranger = chap(&credential("alice", "secret-alice-2"), None);
    let ends = Bench::authenticating(stranger, optional()).run();
    assert_eq!(violation(ends.target), Violation::NotAuthenticated);
}

// RFC 7143 12.1.3-4: Authentication Failure.
#[test]
fn a_wrong_name_and_a_wrong_secret_look_the_same() {
    let refusal = |user: &Credential| {
        let mut bench = Bench::authenticating(chap(user, None), chap(&alice(), None));
        let ends = bench.run();
        assert_eq!(violation(ends.target), Violation::NotAuthenticated);
        let Some(Pdu::LoginResponse(mut last)) = bench.sent.pop() else { panic!("no response") };
        assert_eq!(last.status, LoginStatus::AuthenticationFailure);
        // All that differs between two logins of the same name.
        last.exp_cmd_sn = Default::default();
        last.max_cmd_sn = Default::default();
        last
    };
    assert_eq!(refusal(&credential("alice", "secret-alice-2")), refusal(&credential("mallory", "secret-alice-1")));
}

#[test]
fn a_target_without_a_secret_of_its_own_cannot_be_asked_for_proof() {
    let ends = Bench::authenticating(chap(&alice(), Some(bob())), chap(&alice(), None)).run();
    assert_eq!(violation(ends.target), Violation::TargetProofNotSupported);
    let refused = LoginFailure::Refused(LoginStatus::AuthenticationFailure);
    assert_eq!(ends.initiator, Some(LoginEvent::Failed(refused)));
}

/// RFC 7143 4.2.4-1, 6.3.2-5: it ends the login.
#[test]
fn the_initiator_does_not_trust_a_target_with_another_name_or_secret() {
    for target in [credential("target-bob", "secret-eve-333"), credential("target-eve", "secret-bob-22")] {
        let ends = Bench::authenticating(chap(&alice(), Some(bob())), chap(&alice(), Some(target))).run();
        let failure = LoginFailure::Violation { violation: Violation::NotAuthenticated, key: None };
        assert_eq!(ends.initiator, Some(LoginEvent::Failed(failure)));
    }
}

/// An initiator at our target, as far as the challenge.
pub(super) fn challenged(authentication: Authentication) -> (TargetEnd, Challenge) {
    let mut target = TargetEnd::usual(authentication);
    target.response(Script::new().first(0, None, &[("AuthMethod", "CHAP")]));
    let (response, _) = target.response(Script::new().request(0, None, &[("CHAP_A", "5")]));
    let challenge = Challenge {
        identifier: value_of(&response.data, "CHAP_I").unwrap().parse().unwrap(),
        bytes: decode_binary(value_of(&response.data, "CHAP_C").unwrap()).unwrap(),
    };
    (target, challenge)
}

#[test]
fn proofs_are_read_in_hexadecimal_and_base64() {
    for encode in [
        |bytes: &[u8]| text::hex(bytes).to_uppercase().replace("0X", "0x"),
        text::base64,
        |bytes: &[u8]| text::base64(bytes).replace("0b", "0B").trim_end_matches('=').to_owned(),
    ] {
        let (mut target, challenge) = challenged(chap(&alice(), None));
        let proof = encode(&challenge.response(ChapAlgorithm::Md5, &alice().secret));
        let keys = [("CHAP_N", "alice"), ("CHAP_R", proof.as_str())];
        let (response, _) = target.response(Script::new().request(0, Some(1), &keys));
        assert_eq!((response.status, response.transit), (LoginStatus::Success, Some(stage_of(1))), "{proof}");
    }
}

/// The keys of a step, with the right proof if it is to be among them.
type KeysWith = fn(&str) -> Vec<(&str, &str)>;

#[test]
fn every_step_has_its_keys_and_no_others() {
    let proof = |challenge: &Challenge| text::hex(&challenge.response(ChapAlgorithm::Md5, &alice().secret));
    let long = text::hex(&[1; 1025]);
    let cases: [(KeysWith, Violation); 10] = [
        (|_| vec![], Violation::MissingSecurityKey),
        (|_| vec![("CHAP_N", "alice")], Violation::MissingSecurityKey),
        (|proof| vec![("CHAP_R", proof)], Violation::MissingSecurityKey),
        // RFC 7143 9.2: a response that is left out, so that the target gives its own to be played back.
        (|_| vec![("CHAP_N", "alice"), ("CHAP_I", "1"), ("CHAP_C", "0x11")], Violation::MissingSecurityKey),
        (|proof| vec![("CHAP_N", "alice"), ("CHAP_R", proof), ("CHAP_I", "1")], Violation::MissingSecurityKey),
        (|proof| vec![("CHAP_N", "alice"), ("CHAP_R", proof), ("CHAP_C", "0x11")], Violation::MissingSecurityKey),
        (
            |proof| vec![("CHAP_N", "alice"), ("CHAP_R", proof), ("CHAP_I", "256"), ("CHAP_C", "0x11")],
            Violation::SecurityKeyOutOfStep,
        ),
        (
            |proof| vec![("CHAP_N", "alice"), ("CHAP_R", proof), ("CHAP_I", "1"), ("CHAP_C", "17")],
            Violation::SecurityKeyOutOfStep,
        ),
        (|_| vec![("CHAP_N", "alice"), ("CHAP_R", "35D5")], Violation::SecurityKeyOutOfStep),
        (|proof| vec![("CHAP_N", "alice"), ("CHAP_R", proof), ("CHAP_A", "5")], Violation::KeyRepeated),
    ];
    for (keys, expected) in cases {
        let (mut target, challenge) = challenged(chap(&alice(), Some(bob())));
        let proof = proof(&challenge);
        let (response, end) = target.response(Script::new().request(0, Some(1), &keys(&proof)));
        let status = match expected {
            Violation::MissingSecurityKey => LoginStatus::MissingParameter,
            _ => LoginStatus::InitiatorError,
        };
        assert_eq!((violation(end), response.status), (expected, status), "{:?}", keys(&proof));
    }
    for (challenge_bytes, expected) in
        [(long.as_str(), Violation::SecurityKeyOutOfStep), ("0x", Violation::SecurityKeyOutOfStep)]
    {
        let (mut target, challenge) = challenged(chap(&alice(), Some(bob())));
        let proof = proof(&challenge);
        let keys = [("CHAP_N", "alice"), ("CHAP_R", &proof), ("CHAP_I", "1"), ("CHAP_C", challenge_bytes)];
        assert_eq!(violation(target.response(Script::new().request(0, Some(1), &keys)).1), expected);
    }
}

#[test]
fn a_proof_of_the_wrong_length_proves_nothing() {
    let (mut target, challenge) = challenged(chap(&alice(), None));
    let proof = challenge.response(ChapAlgorithm::Md5, &alice().secret);
    let keys = [("CHAP_N", "alice"), ("CHAP_R", &*text::hex(&proof[..15]))];
    let (response, end) = target.response(Script::new().request(0, Some(1), &keys));
    assert_eq!((violation(end), response.status), (Violation::NotAuthenticated, LoginStatus::AuthenticationFailure));
}

/// RFC 7143 9.2.1: the attacker asks the target what the target has asked, on the same connection.
#[test]
fn our_own_challenge_is_not_answered() {
    let (mut target, challenge) = challenged(chap(&alice(), Some(bob())));
    let proof = text::hex(&challenge.response(ChapAlgorithm::Md5, &alice().secret));
    let reflected = text::hex(&challenge.bytes);
    let other = challenge.identifier.wrapping_add(1).to_string();
    let keys = [("CHAP_N", "alice"), ("CHAP_R", &*proof), ("CHAP_I", &*other), ("CHAP_C", &*reflected)];
    let (response, end) = target.response(Script::new().request(0, Some(1), &keys));
    assert_eq!((violation(end), response.status), (Violation::ChallengeReflected, LoginStatus::AuthenticationFailure));
    assert_eq!(response.data.len(), 0, "nothing to play back");
}

/// RFC 7143 9.2.1: somebody else's configuration has the same secret for both directions; we have the initiator's proof only.
#[test]
fn a_proof_made_with_the_targets_own_secret_is_none() {
    let (mut target, challenge) = challenged(chap(&alice(), Some(bob())));
    let proof = text::hex(&challenge.response(ChapAlgorithm::Md5, &bob().secret));
    let keys = [("CHAP_N", "alice"), ("CHAP_R", proof.as_str())];
    let (response, _) = target.response(Script::new().request(0, Some(1), &keys));
    assert_eq!(response.status, LoginStatus::AuthenticationFailure);
}

/// T and NSG, and the keys of a response.
pub(super) type Said<'a> = (Option<u8>, &'a [(&'a str, &'a str)]);

/// Our initiator with a target that sends these texts; it ends as the last says.
pub(super) fn at_a_rogue(authentication: Authentication, texts: &[Said<'_>]) -> Option<LoginEvent> {
    let config = LoginConfig { authentication, ..initiator_config() };
    let mut login = Login::new(config, InitiatorTaskTag(7), [1; 32], Instant::now());
    for (next, keys) in texts {
        let Some(Pdu::LoginRequest(LoginRequest { current_stage, isid, exp_stat_sn, .. })) = login.poll_transmit()
        else {
            panic!("the login was over too early: {:?}", login.poll_event())
        };
        let response = LoginResponse {
            current_stage,
            isid,
            initiator_task_tag: InitiatorTaskTag(7),
            stat_sn: exp_stat_sn,
            transit: next.map(stage_of),
            data: keys_of(keys),
            ..LoginResponse::default()
        };
        login.handle_pdu(Instant::now(), response.into());
    }
    login.poll_event()
}

fn broke(violation: Violation, key: Option<&'static str>) -> Option<LoginEvent> {
    Some(LoginEvent::Failed(LoginFailure::Violation { violation, key }))
}

pub(super) const METHOD: Said<'_> = (None, &[("AuthMethod", "CHAP")]);
pub(super) const CHALLENGE: Said<'_> = (None, &[("CHAP_A", "5"), ("CHAP_I", "7"), ("CHAP_C", "0x0102030405")]);

// RFC 7143 12.1.3-6: or ends the login.
#[test]
fn the_initiator_insists_on_the_targets_proof() {
    let mutual = || chap(&alice(), Some(bob()));
    for (texts, expected) in [
        (&[(Some(1), &[][..])][..], broke(Violation::StageTransition, None)),
        (&[(None, &[("AuthMethod", "None")])], broke(Violation::SecurityKeyOutOfStep, Some("AuthMethod"))),
        (&[METHOD, CHALLENGE, (Some(1), &[])], broke(Violation::TargetProofMissing, None)),
        (
            &[METHOD, CHALLENGE, (Some(1), &[("CHAP_N", "target-bob")])],
            broke(Violation::MissingSecurityKey, Some("CHAP_R")),
        ),
        (
            &[METHOD, CHALLENGE, (Some(1), &[("CHAP_N", "target-bob"), ("CHAP_R", "0x00")])],
            broke(Violation::NotAuthenticated, None),
        ),
        // It may come late, but it has to come.
        (&[METHOD, CHALLENGE, (None, &[]), (None, &[]), (Some(1), &[])], broke(Violation::TargetProofMissing, None)),
    ] {
        assert_eq!(at_a_rogue(mutual(), texts), expected, "{texts:?}");
    }
}

/// RFC 7143 6.2.1-4, 6.3-6, 6.3-12, 6.3.2-5.
#[test]
fn the_initiator_does_not_step_out_of_line() {
    let one_way = || chap(&alice(), None);
    for (texts, expected) in [
        (&[(None, &[("AuthMethod", "Reject")][..])][..], broke(Violation::NoCommonMethod, Some("AuthMethod"))),
        (&[(None, &[("AuthMethod", "KRB5")])], broke(Violation::SecurityKeyOutOfStep, Some("AuthMethod"))),
        (&[METHOD, (Some(1), &[])], broke(Violation::StageTransition, None)),
        (&[METHOD, (None, &[])], broke(Violation::MissingSecurityKey, Some("CHAP_A"))),
        (
            &[METHOD, (None, &[("CHAP_A", "9"), ("CHAP_I", "7"), ("CHAP_C", "0x01")])],
            broke(Violation::NoCommonMethod, Some("CHAP_A")),
        ),
        (&[METHOD, (None, &[("CHAP_A", "5"), ("CHAP_I", "7")])], broke(Violation::MissingSecurityKey, Some("CHAP_C"))),
        (
            &[METHOD, CHALLENGE, (Some(1), &[("CHAP_N", "bob"), ("CHAP_R", "0x00")])],
            broke(Violation::SecurityKeyOutOfStep, Some("CHAP_N")),
        ),
        (
            &[(None, &[("InitiatorName", "iqn.2001-04.com.example")])],
            broke(Violation::KeyOutOfPlace, Some("InitiatorName")),
        ),
        (&[(None, &[("MaxBurstLength", "512")])], broke(Violation::KeyOutOfPlace, Some("MaxBurstLength"))),
        (&[METHOD, (None, &[("AuthMethod", "CHAP")])], broke(Violation::KeyRepeated, Some("AuthMethod"))),
    ] {
        assert_eq!(at_a_rogue(one_way(), texts), expected, "{texts:?}");
    }
}

/// RFC 7143 9.2.1: the attacker plays our own challenge, and then our own proof, back to us.
#[test]
fn the_initiator_is_not_fooled_by_its_own_words() {
    assert_eq!(played_back(), broke(Violation::SecretInBothDirections, None));
}

/// How our initiator ends when it gets its own proof.
pub(super) fn played_back() -> Option<LoginEvent> {
    let config = LoginConfig { authentication: chap(&alice(), Some(bob())), ..initiator_config() };
    let mut login = Login::new(config, InitiatorTaskTag(7), [1; 32], Instant::now());
    let mut stat_sn = iscsi_pdu::StatSn(0);
    let mut send = |login: &mut Login, keys: &[(&str, &str)], next: Option<u8>| {
        let response = LoginResponse {
            isid: initiator_config().isid,
            initiator_task_tag: InitiatorTaskTag(7),
            stat_sn,
            transit: next.map(stage_of),
            data: keys_of(keys),
            ..LoginResponse::default()
        };
        stat_sn = stat_sn.next();
        while login.poll_transmit().is_some() {}
        login.handle_pdu(Instant::now(), response.into());
    };
    send(&mut login, METHOD.1, None);
    send(&mut login, CHALLENGE.1, None);
    let Some(Pdu::LoginRequest(request)) = login.poll_transmit() else { panic!("no proof") };
    let challenge = Challenge {
        identifier: value_of(&request.data, "CHAP_I").unwrap().parse().unwrap(),
        bytes: decode_binary(value_of(&request.data, "CHAP_C").unwrap()).unwrap(),
    };
    // Alice's own answer to the challenge, got from her on another connection.
    let played_back = text::hex(&challenge.response(ChapAlgorithm::Md5, &alice().secret));
    send(&mut login, &[("CHAP_N", "target-bob"), ("CHAP_R", &played_back)], Some(1));
    login.poll_event()
}
