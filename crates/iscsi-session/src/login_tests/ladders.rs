//! The login phase examples of RFC 7143 appendix B that use what we know, step by step, against our target and by our initiator.

use super::bench::{Bench, Script, TSIH, TargetEnd, alice, bob, chap, rung, value_of};
use crate::chap::{Challenge, decode_binary};
use crate::target::LoginEvent as TargetEvent;
use crate::{Authentication, ChapAlgorithm, Credential};
use iscsi_pdu::{LoginResponse, text};

/// What the appendix calls "iSCSI parameters".
const PARAMETERS: &[(&str, &str)] = &[("HeaderDigest", "CRC32C,None"), ("MaxBurstLength", "131072")];

fn challenge_in(data: &[u8]) -> Challenge {
    Challenge {
        identifier: value_of(data, "CHAP_I").unwrap().parse().unwrap(),
        bytes: decode_binary(value_of(data, "CHAP_C").unwrap()).unwrap(),
    }
}

fn proof(data: &[u8], credential: &Credential) -> String {
    text::hex(&challenge_in(data).response(ChapAlgorithm::Md5, &credential.secret))
}

/// Sends the requests that a ladder has from its start, and notes both sides.
struct Ladder {
    target: TargetEnd,
    rungs: Vec<String>,
    last: LoginResponse,
    end: Option<TargetEvent>,
}

impl Ladder {
    fn new(authentication: Authentication) -> Self {
        Self { target: TargetEnd::usual(authentication), rungs: vec![], last: LoginResponse::default(), end: None }
    }

    fn send(&mut self, request: iscsi_pdu::LoginRequest) {
        self.rungs.push(rung(&request.clone().into()));
        (self.last, self.end) = self.target.response(request);
        self.rungs.push(rung(&self.last.clone().into()));
    }

    fn is_accepted(&self) -> bool {
        self.last.tsih == TSIH && matches!(self.end, Some(TargetEvent::Complete(_)))
    }
}

/// RFC 7143 4.2.4-1, 6.1-3, 6.3-4, 6.3-5, 6.3.2-1: security first, binary values in hexadecimal digits.
/// RFC 7143 12.1.3-2, 12.1.3-5: the target's steps.
#[test]
fn target_chap_in_both_directions() {
    let script = Script::new();
    let mut ladder = Ladder::new(chap(&alice(), Some(bob())));
    ladder.send(script.first(0, None, &[("AuthMethod", "KRB5,CHAP,None")]));
    ladder.send(script.request(0, None, &[("CHAP_A", "9,5")]));
    let (response, asked) = (proof(&ladder.last.data, &alice()), text::hex(b"sixteen bytes it"));
    ladder.send(script.request(
        0,
        Some(1),
        &[("CHAP_N", "alice"), ("CHAP_R", &response), ("CHAP_I", "200"), ("CHAP_C", &asked)],
    ));
    let ours = Challenge { identifier: 200, bytes: b"sixteen bytes it".to_vec() };
    let expected = text::hex(&ours.response(ChapAlgorithm::Md5, &bob().secret));
    assert_eq!(value_of(&ladder.last.data, "CHAP_N"), Some("target-bob"));
    assert_eq!(value_of(&ladder.last.data, "CHAP_R"), Some(expected.as_str()));
    ladder.send(script.request(1, None, PARAMETERS));
    ladder.send(script.request(1, Some(3), &[]));
    assert!(ladder.is_accepted());
    assert_eq!(
        ladder.rungs,
        [
            "I-> 0 InitiatorName TargetName AuthMethod",
            "T-> 0 TargetPortalGroupTag AuthMethod",
            "I-> 0 CHAP_A",
            "T-> 0 CHAP_A CHAP_I CHAP_C",
            "I-> 0->1 CHAP_N CHAP_R CHAP_I CHAP_C",
            "T-> 0->1 CHAP_N CHAP_R",
            "I-> 1 HeaderDigest MaxBurstLength",
            "T-> 1 MaxRecvDataSegmentLength HeaderDigest MaxBurstLength",
            "I-> 1->3",
            "T-> 1->3",
        ]
    );
}

#[test]
fn target_chap_of_the_initiator_alone() {
    let script = Script::new();
    let mut ladder = Ladder::new(chap(&alice(), Some(bob())));
    ladder.send(script.first(0, None, &[("AuthMethod", "KRB5,CHAP,None")]));
    ladder.send(script.request(0, None, &[("CHAP_A", "5,7")]));
    let response = proof(&ladder.last.data, &alice());
    ladder.send(script.request(0, Some(1), &[("CHAP_N", "alice"), ("CHAP_R", &response)]));
    ladder.send(script.request(1, None, PARAMETERS));
    ladder.send(script.request(1, Some(3), &[("ImmediateData", "No")]));
    assert!(ladder.is_accepted());
    assert_eq!(
        ladder.rungs[4..],
        [
            "I-> 0->1 CHAP_N CHAP_R",
            "T-> 0->1",
            "I-> 1 HeaderDigest MaxBurstLength",
            "T-> 1 MaxRecvDataSegmentLength HeaderDigest MaxBurstLength",
            "I-> 1->3 ImmediateData",
            "T-> 1->3 ImmediateData",
        ]
    );
}

/// RFC 7143 6.3-4, 6.3-9, 6.3.1-1, 6.3.2-3: the operational stage alone.
/// RFC 7143 11.13.8-1: the portal group is named.
#[test]
fn target_without_security_parameters() {
    let mut ladder = Ladder::new(Authentication::None);
    ladder.send(Script::new().first(1, Some(3), PARAMETERS));
    assert!(ladder.is_accepted());
    assert_eq!(
        ladder.rungs,
        [
            "I-> 1->3 InitiatorName TargetName HeaderDigest MaxBurstLength",
            "T-> 1->3 TargetPortalGroupTag MaxRecvDataSegmentLength HeaderDigest MaxBurstLength",
        ]
    );
}

/// RFC 7143 6.2.1-1, 6.2.1-2, 6.3-7: None is chosen where it was offered.
#[test]
fn target_chooses_none_of_the_security_parameters() {
    let script = Script::new();
    let mut ladder = Ladder::new(Authentication::None);
    ladder.send(script.first(0, Some(1), &[("AuthMethod", "KRB5,SRP,None")]));
    ladder.send(script.request(1, None, PARAMETERS));
    ladder.send(script.request(1, Some(3), &[]));
    assert!(ladder.is_accepted());
    assert_eq!(
        ladder.rungs,
        [
            "I-> 0->1 InitiatorName TargetName AuthMethod",
            "T-> 0->1 TargetPortalGroupTag AuthMethod",
            "I-> 1 HeaderDigest MaxBurstLength",
            "T-> 1 MaxRecvDataSegmentLength HeaderDigest MaxBurstLength",
            "I-> 1->3",
            "T-> 1->3",
        ]
    );
}

/// RFC 7143 6.3.1: security negotiation that the initiator opens but does not propose for.
#[test]
fn target_skips_security_that_nobody_asks_for() {
    let script = Script::new();
    let mut ladder = Ladder::new(Authentication::None);
    ladder.send(script.first(0, Some(1), &[]));
    ladder.send(script.request(1, Some(3), &[]));
    assert!(ladder.is_accepted());
    assert_eq!(ladder.rungs[1], "T-> 0->1 TargetPortalGroupTag");
}

/// RFC 7143 6.3.2: the same, and the target proposes.
#[test]
fn target_proposes_the_method_itself() {
    let script = Script::new();
    let mut ladder = Ladder::new(chap(&alice(), None));
    ladder.send(script.first(0, Some(1), &[]));
    ladder.send(script.request(0, None, &[("AuthMethod", "CHAP"), ("CHAP_A", "5")]));
    let response = proof(&ladder.last.data, &alice());
    ladder.send(script.request(0, Some(1), &[("CHAP_N", "alice"), ("CHAP_R", &response)]));
    ladder.send(script.request(1, Some(3), &[]));
    assert!(ladder.is_accepted());
    assert_eq!(
        ladder.rungs[1..4],
        ["T-> 0 TargetPortalGroupTag AuthMethod", "I-> 0 AuthMethod CHAP_A", "T-> 0 CHAP_A CHAP_I CHAP_C",]
    );
}

/// RFC 7143 6.3-7, 6.3.2-3: where that was proposed.
#[test]
fn a_login_may_go_from_security_to_the_full_feature_phase() {
    let mut ladder = Ladder::new(Authentication::None);
    ladder.send(Script::new().first(0, Some(3), &[("AuthMethod", "None")]));
    assert!(ladder.is_accepted());
    assert_eq!(ladder.rungs[1], "T-> 0->3 TargetPortalGroupTag AuthMethod");
}

/// RFC 7143 6.3-2, 6.3-3, 6.3-6: the names first, and all of CHAP before the operational stage.
/// RFC 7143 12.1-1, 12.1.3-1, 12.1.3-3: the initiator's steps.
/// RFC 7143 12-1: no other keys stand beside them.
#[test]
fn initiator_chap_in_both_directions() {
    let mut bench = Bench::authenticating(chap(&alice(), Some(bob())), chap(&alice(), Some(bob())));
    let (ours, theirs) = bench.run().complete();
    assert_eq!(
        bench.ladder()[..7],
        [
            "I-> 0 InitiatorName TargetName SessionType AuthMethod",
            "T-> 0 TargetPortalGroupTag AuthMethod",
            "I-> 0 CHAP_A",
            "T-> 0 CHAP_A CHAP_I CHAP_C",
            "I-> 0->1 CHAP_N CHAP_R CHAP_I CHAP_C",
            "T-> 0->1 CHAP_N CHAP_R",
            "I-> 1->3 HeaderDigest DataDigest MaxConnections InitialR2T ImmediateData MaxBurstLength DefaultTime2Wait \
         DefaultTime2Retain DataPDUInOrder DataSequenceInOrder ErrorRecoveryLevel MaxOutstandingR2T FirstBurstLength \
         TaskReporting iSCSIProtocolLevel MaxRecvDataSegmentLength",
        ]
    );
    assert_eq!(ours, theirs);
    assert_eq!(ours.authenticated_as.as_deref(), Some("alice"));
}
