//! Logins that libiscsi and QEMU did at tgt, from the captures of the test suite: their requests against our target, tgt's responses
//! against our initiator.

use super::bench::{TargetEnd, alice, bob, chap, initiator_config, pairs_of, value_of};
use crate::chap::{Challenge, ChapAlgorithm, decode_binary};
use crate::initiator::{Login, LoginConfig, LoginEvent};
use crate::target::LoginEvent as TargetEvent;
use crate::{Authentication, Limits, LoginFailure, LoginOutcome};
use bytes::{Bytes, BytesMut};
use iscsi_pdu::{Frame, HEADER_LENGTH, Header, LoginRequest, LoginResponse, LoginStatus, Pdu, text};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

const CAPTURES: [&str; 4] = ["tgt-session", "tgt-chap", "tgt-digest", "tgt-hdigest"];

/// The login PDUs of one connection.
#[derive(Debug, Default)]
struct Captured {
    requests: Vec<LoginRequest>,
    responses: Vec<LoginResponse>,
}

/// The login PDUs of every connection of a capture. Each line of the index says where a PDU stands.
fn read(name: &str) -> Vec<Captured> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/captures");
    let bytes = Bytes::from(std::fs::read(folder.join(format!("{name}.bin"))).unwrap());
    let index = std::fs::read_to_string(folder.join(format!("{name}.jsonl"))).unwrap();
    let mut connections = BTreeMap::<usize, Captured>::new();
    for line in index.lines().filter(|line| line.contains("\"opcode\": 3,") || line.contains("\"opcode\": 35,")) {
        let offset = field(line, "offset");
        let header = Header(*bytes[offset..].first_chunk::<HEADER_LENGTH>().unwrap());
        let data = bytes.slice(offset + HEADER_LENGTH..).slice(..header.data_segment_length());
        let connection = connections.entry(field(line, "connection")).or_default();
        match Pdu::decode(Frame::new(header, Box::default(), data)).unwrap() {
            Pdu::LoginRequest(request) => connection.requests.push(request),
            Pdu::LoginResponse(response) => connection.responses.push(response),
            other => panic!("{other:?}"),
        }
    }
    connections.into_values().collect()
}

fn field(line: &str, name: &str) -> usize {
    let (_, rest) = line.split_once(&format!("\"{name}\": ")).unwrap();
    rest.split(',').next().unwrap().parse().unwrap()
}

fn asks_for_chap(captured: &Captured) -> bool {
    value_of(&captured.requests[0].data, "AuthMethod").is_some()
}

#[test]
fn our_target_lets_in_whom_tgt_let_in_without_chap() {
    let mut logins = 0;
    for captured in CAPTURES.iter().flat_map(|name| read(name)).filter(|captured| !asks_for_chap(captured)) {
        let mut target = TargetEnd::usual(Authentication::None);
        let [request] = &captured.requests[..] else { panic!("one request each") };
        let (response, end) = target.response(request.clone());
        let Some(TargetEvent::Complete(outcome)) = end else { panic!("{end:?}") };
        assert_eq!(outcome.parameters.send_segment_bytes_max, 262_144);
        assert_eq!(outcome.initiator_name, value_of(&request.data, "InitiatorName").unwrap());
        // Every key that was offered has its answer.
        let offered = pairs_of(&request.data).into_iter().map(|(key, _)| key);
        for key in offered.filter(|key| !["InitiatorName", "TargetName", "SessionType"].contains(key)) {
            assert!(value_of(&response.data, key).is_some(), "{key}");
        }
        let digest = value_of(&request.data, "DataDigest") == Some("CRC32C");
        assert_eq!(outcome.parameters.data_digest, digest);
        logins += 1;
    }
    assert_eq!(logins, 12);
}

/// The captured proof answers tgt's challenge, so the one that answers ours stands in its place.
fn with_our_challenge(request: &LoginRequest, challenge: &Challenge) -> LoginRequest {
    let mut data = BytesMut::new();
    for (key, value) in pairs_of(&request.data) {
        let proof = challenge.response(ChapAlgorithm::Md5, &alice().secret);
        text::push(&mut data, key, if key == "CHAP_R" { text::hex(&proof) } else { value.into() }.as_str());
    }
    LoginRequest { data: data.freeze(), ..request.clone() }
}

#[test]
fn our_target_lets_in_alice_as_tgt_did_and_refuses_whom_it_refused() {
    let (mut accepted, mut refused) = (0, 0);
    for captured in read("tgt-chap") {
        let was_accepted = captured.responses.iter().all(|response| response.status == LoginStatus::Success)
            && captured.requests.len() == 4;
        let mut target = TargetEnd::usual(chap(&alice(), Some(bob())));
        let mut challenge = None;
        let mut last = None;
        for request in captured.requests {
            let request = match &challenge {
                Some(challenge) if was_accepted => with_our_challenge(&request, challenge),
                _ => request,
            };
            let (response, end) = target.response(request);
            challenge = value_of(&response.data, "CHAP_C").map(|bytes| Challenge {
                identifier: value_of(&response.data, "CHAP_I").unwrap().parse().unwrap(),
                bytes: decode_binary(bytes).unwrap(),
            });
            last = end.or(last);
        }
        match &last {
            Some(TargetEvent::Complete(outcome)) => {
                assert_eq!(outcome.authenticated_as.as_deref(), Some("alice"));
                accepted += 1;
            }
            Some(TargetEvent::Closed(_)) => refused += 1,
            other => panic!("{other:?}"),
        }
        assert_eq!(matches!(last, Some(TargetEvent::Complete(_))), was_accepted);
    }
    // Two with the right secret, one with a wrong one, one without any, one whose user did not trust the target.
    assert_eq!((accepted, refused), (2, 3));
}

/// Our initiator in the place of the captured one, offering what that one offered.
fn initiator_like(captured: &Captured) -> Login {
    let first = &captured.requests[0];
    let digests = |key| match value_of(&first.data, key).unwrap() {
        "CRC32C" => vec![true],
        "None" => vec![false],
        _ => vec![false, true],
    };
    let config = LoginConfig {
        isid: first.isid,
        limits: Limits {
            header_digest: digests("HeaderDigest"),
            data_digest: digests("DataDigest"),
            ..Limits::default()
        },
        ..initiator_config()
    };
    Login::new(config, first.initiator_task_tag, [1; 32], Instant::now())
}

#[test]
fn our_initiator_understands_tgt() {
    let mut logins = 0;
    for captured in CAPTURES.iter().flat_map(|name| read(name)).filter(|captured| !asks_for_chap(captured)) {
        let mut login = initiator_like(&captured);
        let [response] = &captured.responses[..] else { panic!("one response each") };
        login.handle_pdu(Instant::now(), response.clone().into());
        match login.poll_event() {
            Some(LoginEvent::Complete(outcome)) => {
                let LoginOutcome { parameters, tsih, max_cmd_sn, .. } = *outcome;
                assert_eq!((tsih, max_cmd_sn), (response.tsih, response.max_cmd_sn));
                assert_eq!(parameters.send_segment_bytes_max, 8192, "tgt declares nothing");
                assert_eq!((parameters.first_burst_bytes_max, parameters.initial_r2t), (65_536, true));
                let digest = value_of(&response.data, "HeaderDigest") == Some("CRC32C");
                assert_eq!(parameters.header_digest, digest);
                logins += 1;
            }
            Some(LoginEvent::Failed(LoginFailure::Refused(status))) => assert_eq!(status, response.status),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(logins, 11);
}
