//! Our initiator with targets that answer in parts, late, or wrongly.

use super::bench::{TSIH, initiator_config, keys_of, rung, stage_of};
use crate::initiator::{Login, LoginConfig, LoginEvent};
use crate::{Authentication, Limits, LoginFailure, TaskReporting, Violation};
use iscsi_pdu::{
    CmdSn, InitiatorTaskTag, Isid, LoginRequest, LoginResponse, LoginStatus, NopIn, Pdu, Reject, RejectReason, StatSn,
    Tsih,
};
use std::time::Instant;

/// Our initiator with a target that says what it is told.
pub(super) struct Rogue {
    pub(super) login: Login,
    rungs: Vec<String>,
    stat_sn: u32,
    last: Pdu,
}

impl Rogue {
    pub(super) fn new(limits: Limits) -> Self {
        Self::of(LoginConfig { limits, authentication: Authentication::None, ..initiator_config() })
    }

    fn of(config: LoginConfig) -> Self {
        let mut login = Login::new(config, InitiatorTaskTag(7), [1; 32], Instant::now());
        let last = login.poll_transmit().unwrap();
        Self { login, rungs: vec![rung(&last)], stat_sn: 40, last }
    }

    pub(super) fn respond(&mut self, stage: u8, next: Option<u8>, keys: &[(&str, &str)]) {
        self.respond_with(stage, next, keys, |_| ());
    }

    /// The same, with another header.
    pub(super) fn respond_with(
        &mut self,
        stage: u8,
        next: Option<u8>,
        keys: &[(&str, &str)],
        change: fn(&mut LoginResponse),
    ) {
        let Pdu::LoginRequest(request) = &self.last else { panic!("no request to answer") };
        let mut response = LoginResponse {
            current_stage: stage_of(stage),
            transit: next.map(stage_of),
            isid: request.isid,
            tsih: if next == Some(3) { TSIH } else { request.tsih },
            initiator_task_tag: request.initiator_task_tag,
            stat_sn: StatSn(self.stat_sn),
            exp_cmd_sn: request.cmd_sn,
            max_cmd_sn: CmdSn(request.cmd_sn.0.wrapping_add(1)),
            data: keys_of(keys),
            ..LoginResponse::default()
        };
        change(&mut response);
        self.stat_sn += 1;
        self.rungs.push(rung(&response.clone().into()));
        self.login.handle_pdu(Instant::now(), response.into());
        if let Some(request) = self.login.poll_transmit() {
            self.rungs.push(rung(&request));
            self.last = request;
        }
    }
}

/// RFC 7143 6.2-6, 6.2-7, 6.3.3-1, 6.3.3-2: T until the target agrees, and defaults for what it left out.
#[test]
fn initiator_understands_partial_answers_offers_and_empty_responses() {
    let mut target = Rogue::new(Limits::default());
    target.respond(1, None, &[("TargetPortalGroupTag", "1"), ("HeaderDigest", "None")]);
    target.respond(1, None, &[]);
    target.respond(1, None, &[("DataDigest", "Reject"), ("MaxBurstLength", "65536"), ("X-com.example.a", "1")]);
    target.respond(1, None, &[("iSCSIProtocolLevel", "NotUnderstood"), ("TaskReporting", "NotUnderstood")]);
    target.respond(1, Some(3), &[("MaxRecvDataSegmentLength", "4096"), ("ImmediateData", "No")]);
    let Some(LoginEvent::Complete(outcome)) = target.login.poll_event() else { panic!("{:?}", target.rungs) };
    let parameters = &outcome.parameters;
    assert_eq!((parameters.burst_bytes_max, parameters.send_segment_bytes_max), (65_536, 4096));
    assert_eq!((parameters.immediate_data, parameters.data_digest), (false, false));
    // What was not answered is at its default, and what a target of RFC 3720 cannot know.
    assert_eq!(parameters.protocol_level, 1);
    assert_eq!((parameters.initial_r2t, parameters.outstanding_r2t_max), (true, 1));
    assert_eq!(
        target.rungs[1..9],
        [
            "T-> 1 TargetPortalGroupTag HeaderDigest",
            "I-> 1->3",
            "T-> 1",
            "I-> 1->3",
            "T-> 1 DataDigest MaxBurstLength X-com.example.a",
            "I-> 1->3 X-com.example.a",
            "T-> 1 iSCSIProtocolLevel TaskReporting",
            "I-> 1->3",
        ]
    );
    assert_eq!(outcome.stat_sn, StatSn(45));
}

fn broken(mut target: Rogue) -> (Violation, Option<&'static str>) {
    match target.login.poll_event() {
        Some(LoginEvent::Failed(LoginFailure::Violation { violation, key })) => (violation, key),
        other => panic!("no rule was found broken: {other:?}"),
    }
}

/// RFC 7143 6.2.1-4, 6.2.2-2.
#[test]
fn answers_that_the_rules_do_not_allow() {
    for (key, value) in [
        ("MaxBurstLength", "1048577"),
        ("MaxBurstLength", "511"),
        ("MaxBurstLength", "none"),
        ("DefaultTime2Wait", "1"),
        ("DefaultTime2Wait", "3601"),
        ("DefaultTime2Retain", "1"),
        ("MaxOutstandingR2T", "17"),
        ("ErrorRecoveryLevel", "1"),
        ("DataPDUInOrder", "No"),
        ("InitialR2T", "Maybe"),
        ("HeaderDigest", "Y-com.example.md5"),
        ("MaxRecvDataSegmentLength", "511"),
    ] {
        let mut target = Rogue::new(Limits::default());
        target.respond(1, None, &[(key, value)]);
        assert_eq!(broken(target), (Violation::ValueNotAdmissible, Some(key)), "{key}={value}");
    }
    let mut target = Rogue::new(Limits { immediate_data: false, ..Limits::default() });
    target.respond(1, None, &[("ImmediateData", "Yes")]);
    assert_eq!(broken(target), (Violation::ValueNotAdmissible, Some("ImmediateData")));
    // Offered as 1, since recovery was offered too.
    let mut target = Rogue::new(Limits { error_recovery_level: 2, ..Limits::default() });
    target.respond(1, None, &[("ErrorRecoveryLevel", "0"), ("MaxOutstandingR2T", "4")]);
    assert_eq!(broken(target), (Violation::ValueNotAdmissible, Some("MaxOutstandingR2T")));
}

/// RFC 7143 6.2-8, 6.2-10, 6.2-11, 6.3-6, 6.3-8, 6.3-10, 6.3-12.
#[test]
fn keys_that_the_target_may_not_send() {
    for (next, keys, violation, key) in [
        (None, &[("MaxBurstLength", "NotUnderstood")][..], Violation::KeyNotUnderstood, "MaxBurstLength"),
        (None, &[("MaxBurstLength", "512"), ("MaxBurstLength", "512")], Violation::KeyRepeated, "MaxBurstLength"),
        (None, &[("TaskReporting", "Reject")], Violation::AnswerWithoutOffer, "TaskReporting"),
        (None, &[("SessionType", "Normal")], Violation::KeyOutOfPlace, "SessionType"),
        (None, &[("CHAP_A", "5")], Violation::KeyOutOfPlace, "CHAP_A"),
        (Some(3), &[("TaskReporting", "RFC3720")], Violation::OfferWithTransit, "TaskReporting"),
    ] {
        let limits = Limits { task_reporting: TaskReporting::Rfc3720, ..Limits::default() };
        let mut target = Rogue::new(limits);
        target.respond(1, next, keys);
        assert_eq!(broken(target), (violation, Some(key)), "{keys:?}");
    }
}

/// RFC 7143 7.12-1, 7.12-2.
#[test]
fn defaults_that_the_initiator_cannot_live_with() {
    for (limits, keys) in [
        (Limits { header_digest: vec![true], ..Limits::default() }, &[("HeaderDigest", "Reject")][..]),
        (Limits { burst_bytes_max: 65_536, ..Limits::default() }, &[]),
        (Limits { burst_bytes_max: 65_536, ..Limits::default() }, &[("MaxBurstLength", "Irrelevant")]),
    ] {
        let mut target = Rogue::new(limits);
        target.respond(1, Some(3), keys);
        assert_eq!(broken(target).0, Violation::NoAgreement, "{keys:?}");
    }
}

/// RFC 7143 4.2.2.2-3, 6.3-7, 6.3-9, 7.1.4-1: a StatSN or a stage out of order, and others; a gap is not filled.
/// RFC 7143 11.13.2-2: another version than the one that was active.
#[test]
fn headers_that_do_not_belong_to_the_login() {
    type Change = fn(&mut LoginResponse);
    let cases: [(Change, Violation); 8] = [
        (|response| response.initiator_task_tag = InitiatorTaskTag(8), Violation::ResponseMismatch),
        (|response| response.isid = Isid([9; 6]), Violation::ResponseMismatch),
        (|response| response.version_active = 1, Violation::LoginVersion),
        (|response| response.current_stage = stage_of(0), Violation::WrongStage),
        (|response| response.stat_sn = StatSn(40), Violation::StatSnOutOfOrder),
        (|response| response.stat_sn = StatSn(42), Violation::StatSnOutOfOrder),
        (|response| response.transit = Some(stage_of(1)), Violation::StageTransition),
        (|response| response.tsih = Tsih(0), Violation::ZeroTsih),
    ];
    for (change, violation) in cases {
        let mut target = Rogue::new(Limits::default());
        target.respond(1, None, &[]);
        target.respond_with(1, Some(3), &[], change);
        assert_eq!(broken(target), (violation, None));
    }
}

/// RFC 7143 4.4.3-1: as the target of the session that a connection joins.
#[test]
fn a_session_keeps_its_handle() {
    let joins = || Rogue::of(LoginConfig { tsih: Tsih(9), ..initiator_config() });
    let mut target = joins();
    target.respond_with(1, Some(3), &[], |response| response.tsih = Tsih(9));
    assert!(matches!(target.login.poll_event(), Some(LoginEvent::Complete(outcome)) if outcome.tsih == Tsih(9)));
    let mut target = joins();
    target.respond_with(1, Some(3), &[], |response| response.tsih = Tsih(8));
    assert_eq!(broken(target), (Violation::ResponseMismatch, None));
}

/// RFC 7143 7.7-1, 7.7-2: whatever is wrong with it, the connection ends.
#[test]
fn a_pdu_that_means_nothing_ends_the_login() {
    let mut target = Rogue::new(Limits::default());
    let mut frame = Pdu::from(LoginResponse::default()).encode();
    frame.header.0[1] = 0xc0; // T and C
    let error = Pdu::decode(frame.clone()).unwrap_err();
    target.login.handle_undecodable(Instant::now(), frame.header, error);
    assert_eq!(
        target.login.poll_event(),
        Some(LoginEvent::Failed(LoginFailure::Malformed { violation: Violation::LoginFlags, error }))
    );
    assert_eq!(target.login.poll_transmit(), None);
}

#[test]
fn a_refusal_counts_whatever_else_its_header_says() {
    let mut target = Rogue::new(Limits::default());
    target.respond_with(0, None, &[], |response| {
        response.isid = Isid([0; 6]);
        response.stat_sn = StatSn(0);
        response.status = LoginStatus::OutOfResources;
    });
    let failure = LoginFailure::Refused(LoginStatus::OutOfResources);
    assert_eq!(failure.status(), Some(LoginStatus::OutOfResources));
    assert_eq!(target.login.poll_event(), Some(LoginEvent::Failed(failure)));
    let mut target = Rogue::new(Limits::default());
    target.respond_with(1, None, &[], |response| response.status = LoginStatus::TargetMovedTemporarily);
    assert_eq!(broken(target), (Violation::RedirectWithoutAddress, None));
}

/// RFC 7143 4.2.4-7, 11.17.1-2: a NOP-In; a Reject.
#[test]
fn other_pdus_and_a_window_that_means_nothing() {
    let mut target = Rogue::new(Limits::default());
    target.login.handle_pdu(Instant::now(), NopIn::default().into());
    assert_eq!(broken(target), (Violation::NotDuringLogin, None));
    let mut target = Rogue::new(Limits::default());
    let negotiation_reset = Reject {
        reason: RejectReason::Other(0x0b),
        stat_sn: StatSn(1),
        exp_cmd_sn: CmdSn(1),
        max_cmd_sn: CmdSn(1),
        data_sn: 0,
        rejected: Pdu::from(LoginRequest::default()).encode().header,
    };
    target.login.handle_pdu(Instant::now(), negotiation_reset.into());
    assert_eq!(broken(target), (Violation::NotDuringLogin, None));
    let mut target = Rogue::new(Limits::default());
    target.respond_with(1, Some(3), &[], |response| response.max_cmd_sn = CmdSn(response.exp_cmd_sn.0.wrapping_sub(2)));
    let Some(LoginEvent::Complete(outcome)) = target.login.poll_event() else { panic!("{:?}", target.rungs) };
    assert_eq!(outcome.max_cmd_sn, outcome.cmd_sn.previous(), "the window is closed");
}

// RFC 7143 11.13.1-2: what a target knows beside version 0 is nothing to us.
#[test]
fn a_target_that_knows_more_speaks_our_version() {
    let mut target = Rogue::new(Limits::default());
    target.respond_with(1, None, &[], |response| response.version_max = 2);
    target.respond_with(1, Some(3), &[], |response| response.version_max = 3);
    assert!(matches!(target.login.poll_event(), Some(LoginEvent::Complete(_))));
}
