//! What all requests of a login have in common, and all responses; and what is said once.

use super::bench::{Bench, Owner, TSIH, alice, bob, chap, initiator_config, pairs_of, target_config};
use crate::initiator::LoginConfig;
use iscsi_pdu::{Cid, LoginRequest, LoginResponse, Pdu, Tsih};

/// The requests and the responses of a login of several steps: to a new session if the TSIH is zero, else to that.
fn login(tsih: Tsih) -> (Vec<LoginRequest>, Vec<LoginResponse>) {
    let authentication = chap(&alice(), Some(bob()));
    let config = LoginConfig {
        initiator_alias: Some("Web Server 4".into()),
        tsih,
        cid: Cid(3),
        authentication: authentication.clone(),
        ..initiator_config()
    };
    let admission = Ok(if tsih == Tsih(0) { TSIH } else { tsih });
    let mut bench = Bench::new(config, target_config(), Owner { admission, ..Owner::with(authentication) });
    bench.run().complete();
    let (mut requests, mut responses) = (vec![], vec![]);
    for pdu in bench.sent {
        match pdu {
            Pdu::LoginRequest(request) => requests.push(request),
            Pdu::LoginResponse(response) => responses.push(response),
            other => panic!("{other:?}"),
        }
    }
    assert!(requests.len() > 3 && requests.len() == responses.len());
    (requests, responses)
}

// RFC 7143 11.12.4-1, 11.12.4.1-1, 11.12.4.2-1, 11.12.6-3, 11.12.7-1: the same version and the same identity.
#[test]
fn requests_are_of_one_kind() {
    for tsih in [Tsih(0), Tsih(9)] {
        for request in login(tsih).0 {
            assert_eq!((request.version_max, request.version_min), (0, 0));
            // RFC 7143 11.12.6-1, 11.12.6-2: zero, or the session's.
            assert_eq!((request.tsih, request.cid), (tsih, Cid(3)));
        }
    }
}

// RFC 7143 11.13.1-1, 11.13.2-1, 11.12.8-1: the same version, and the CmdSN of the first request.
#[test]
fn responses_are_of_one_kind() {
    let (requests, responses) = login(Tsih(0));
    for response in &responses {
        assert_eq!((response.version_max, response.version_active), (0, 0));
        assert_eq!(response.exp_cmd_sn, requests[0].cmd_sn);
    }
    // RFC 7143 11.13.3-1: the handle comes last.
    let (last, before) = responses.split_last().unwrap();
    assert_eq!(last.tsih, TSIH);
    assert!(before.iter().all(|response| response.tsih == Tsih(0)));
}

// RFC 7143 13.4-1, 13.4-2, 13.5-1, 13.5-2, 13.7-1: at the beginning, and not again.
// RFC 7143 4.5-2: with one name.
#[test]
fn an_initiator_introduces_itself_once() {
    let introductions: Vec<Vec<_>> = login(Tsih(0))
        .0
        .iter()
        .map(|request| {
            let keys = pairs_of(&request.data).into_iter().map(|(key, _)| key.to_owned());
            keys.filter(|key| ["InitiatorName", "InitiatorAlias", "TargetName"].contains(&key.as_str())).collect()
        })
        .collect();
    assert_eq!(introductions[0], ["InitiatorName", "InitiatorAlias", "TargetName"]);
    assert!(introductions[1..].iter().all(Vec::is_empty), "{introductions:?}");
}
