//! Peers that send anything: bounded work, bounded memory, no panic.

use super::bench::{Script, TargetEnd, alice, bob, chap, initiator_config, stage_of};
use crate::initiator::{Login, LoginConfig};
use crate::keys::Key;
use crate::target::LoginEvent as TargetEvent;
use crate::{Authentication, LoginFailure, Violation};
use bytes::Bytes;
use iscsi_pdu::{InitiatorTaskTag, LoginRequest, LoginResponse, LoginStatus, Pdu, StatSn};
use proptest::collection::vec;
use proptest::prelude::*;
use std::time::Instant;

fn end_of(
    mut target: TargetEnd,
    requests: impl IntoIterator<Item = LoginRequest>,
) -> (usize, usize, Option<TargetEvent>) {
    let (mut count, mut bytes) = (0, 0);
    for request in requests {
        let (pdus, end) = target.answer(request);
        count += 1;
        bytes += pdus.iter().map(|pdu| pdu.clone().encode().data.len()).sum::<usize>();
        if end.is_some() {
            return (count, bytes, end);
        }
    }
    (count, bytes, None)
}

fn too_long() -> Option<TargetEvent> {
    let failure = LoginFailure::Violation { violation: Violation::LoginTooLong, key: None };
    Some(TargetEvent::Closed(failure))
}

/// RFC 7143 6.2-18, 10.3-1: more than the six exchanges that are asked for.
#[test]
fn a_login_has_64_requests_at_most() {
    let first = Script::new().first(1, None, &[]);
    let empty = Script::new().request(1, None, &[]);
    let requests = std::iter::once(first).chain(std::iter::repeat_n(empty, 100));
    let (count, _, end) = end_of(TargetEnd::usual(Authentication::None), requests);
    assert_eq!((count, end), (65, too_long()));
}

/// RFC 7143 6.1-4, 6.1-5: so many are taken.
#[test]
fn a_login_has_64_kib_of_text_at_most() {
    let part = |bytes: usize, continues| LoginRequest {
        continues,
        data: vec![b'A'; bytes].into(),
        ..Script::new().request(1, None, &[])
    };
    let (count, _, end) = end_of(TargetEnd::usual(Authentication::None), std::iter::repeat_n(part(8192, true), 20));
    assert_eq!((count, end), (9, too_long()));
    // In one segment too, whatever the framer lets through.
    let (count, _, end) = end_of(TargetEnd::usual(Authentication::None), [part(16 << 20, false)]);
    assert_eq!((count, end), (1, too_long()));
}

#[test]
fn short_questions_do_not_get_long_answers_for_ever() {
    let mut text = b"InitiatorName=iqn.2001-04.com.example\0TargetName=iqn.2001-04.com.example\0".to_vec();
    text.extend(b"Z=\0".repeat(20_000));
    let flood = LoginRequest { data: text.into(), ..Script::new().request(1, None, &[]) };
    let (count, bytes, end) = end_of(TargetEnd::usual(Authentication::None), [flood]);
    assert_eq!((count, bytes, end), (1, 0, too_long()));
}

/// RFC 7143 6.2-18, 10.3-1: after 64 exchanges.
#[test]
fn an_initiator_gives_up_on_a_target_that_never_comes_to_an_end() {
    let mut login = Login::new(initiator_config(), InitiatorTaskTag(7), [1; 32], Instant::now());
    let mut count = 0;
    while login.poll_timeout().is_some() {
        let response = LoginResponse {
            current_stage: stage_of(1),
            isid: initiator_config().isid,
            initiator_task_tag: InitiatorTaskTag(7),
            stat_sn: StatSn(count),
            ..LoginResponse::default()
        };
        while login.poll_transmit().is_some() {}
        login.handle_pdu(Instant::now(), response.into());
        count += 1;
    }
    assert_eq!(count, 65);
}

/// Text that is nearly right: keys of the table and others, values that mean something to some.
fn text() -> impl Strategy<Value = Bytes> {
    let name = prop_oneof![
        9 => (0..Key::ALL.len()).prop_map(|index| Key::ALL[index].row().name.to_owned()),
        1 => "[A-Za-z#.-]{1,10}",
    ];
    let value = prop_oneof![
        prop::sample::select(vec![
            "Yes",
            "No",
            "None",
            "CHAP",
            "CHAP,None",
            "CRC32C,None",
            "Reject",
            "Irrelevant",
            "NotUnderstood",
            "5",
            "5,7",
            "0",
            "1",
            "512",
            "65536",
            "262144",
            "4294967296",
            "Normal",
            "Discovery",
            "iqn.2001-04.com.example:a",
            "alice",
            "0x00ff",
            "0b////",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,12}",
    ];
    let pair = (name, value).prop_map(|(name, value)| format!("{name}={value}\0"));
    prop_oneof![
        4 => vec(pair, 0..8).prop_map(|pairs| Bytes::from(pairs.concat())),
        1 => vec(any::<u8>(), 0..64).prop_map(Bytes::from),
    ]
}

/// A step of either end: T, C, a stage, a text.
fn step() -> impl Strategy<Value = (Option<u8>, bool, u8, Bytes)> {
    let next = prop_oneof![Just(None), prop::sample::select(vec![Some(0), Some(1), Some(3)])];
    (next, prop::bool::weighted(0.1), 0..2_u8, text())
}

fn authentication() -> impl Strategy<Value = Authentication> {
    prop_oneof![Just(Authentication::None), Just(chap(&alice(), None)), Just(chap(&alice(), Some(bob()))),]
}

proptest! {
    #[test]
    fn a_target_survives_any_initiator(
        authentication in authentication(),
        introduced in any::<bool>(),
        steps in vec(step(), 1..12),
    ) {
        let asks_for_proof = authentication != Authentication::None;
        let mut target = TargetEnd::usual(authentication);
        let mut is_over = false;
        let names = "InitiatorName=iqn.2001-04.com.example\0TargetName=iqn.2001-04.com.example\0";
        for (index, (next, continues, stage, text)) in steps.into_iter().enumerate() {
            let data = if introduced && index == 0 { Bytes::from([names.as_bytes(), &text].concat()) } else { text };
            let request = LoginRequest {
                transit: next.filter(|_| !continues).map(stage_of),
                continues,
                data,
                ..Script::new().request(stage, None, &[])
            };
            let proposed = request.transit.is_some();
            let (pdus, end) = target.answer(request);
            if is_over {
                prop_assert_eq!((pdus, end), (vec![], None));
                continue;
            }
            // One answer to each request; what fails says so.
            prop_assert_eq!(pdus.len(), 1);
            let Pdu::LoginResponse(response) = &pdus[0] else { panic!("{pdus:?}") };
            let failed = matches!(end, Some(TargetEvent::Closed(_)));
            prop_assert_eq!(response.status != LoginStatus::Success, failed);
            // RFC 7143 11.13.6-2: no step that the initiator did not propose.
            prop_assert!(proposed || response.transit.is_none());
            prop_assert!(!(asks_for_proof && matches!(end, Some(TargetEvent::Complete(_)))), "nobody knows the secret");
            is_over = end.is_some();
        }
    }

    /// RFC 7143 6.3-1: one request at a time.
    #[test]
    fn an_initiator_survives_any_target(
        authentication in authentication(),
        honest_stages in any::<bool>(),
        steps in vec(step(), 1..12),
    ) {
        let proof = matches!(&authentication, Authentication::Chap { target: Some(_), .. });
        let config = LoginConfig { authentication, ..initiator_config() };
        let mut login = Login::new(config, InitiatorTaskTag(7), [1; 32], Instant::now());
        for (next, continues, stage, data) in steps {
            let Some(Pdu::LoginRequest(request)) = login.poll_transmit() else { break };
            prop_assert!(login.poll_transmit().is_none(), "one request at a time");
            let response = LoginResponse {
                transit: next.filter(|_| !continues).map(stage_of),
                continues,
                current_stage: if honest_stages { request.current_stage } else { stage_of(stage) },
                isid: request.isid,
                tsih: iscsi_pdu::Tsih(1),
                initiator_task_tag: request.initiator_task_tag,
                stat_sn: request.exp_stat_sn,
                data,
                ..LoginResponse::default()
            };
            login.handle_pdu(Instant::now(), response.into());
        }
        if let Some(crate::initiator::LoginEvent::Complete(_)) = login.poll_event() {
            prop_assert!(!proof, "nobody knows the secret");
        }
        prop_assert!(login.poll_event().is_none());
    }
}
