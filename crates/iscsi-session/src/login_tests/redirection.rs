//! Targets that are elsewhere.

use super::bench::{
    Bench, Owner, Script, TargetEnd, alice, bob, chap, initiator_config, keys_of, target_config, value_of,
};
use crate::Authentication;
use crate::initiator::{Login, LoginConfig, LoginEvent};
use crate::target::{Identification, Refusal};
use iscsi_pdu::{InitiatorTaskTag, LoginResponse, LoginStatus};
use std::time::Instant;

// RFC 7143 11.13.5-3: by a target that has proven itself.
#[test]
fn a_redirection_after_chap_is_followed() {
    let authentication = chap(&alice(), Some(bob()));
    let admission = Err(Refusal::redirect("storage.example.com", true));
    let owner = Owner { admission, ..Owner::with(authentication.clone()) };
    let config = LoginConfig { authentication, ..initiator_config() };
    let ends = Bench::new(config, target_config(), owner).run();
    let expected = LoginEvent::Redirected { address: "storage.example.com".into(), permanent: true };
    assert_eq!(ends.initiator, Some(expected));
}

// RFC 7143 13.8-1: whatever the owner says.
#[test]
fn a_redirection_has_no_portal_group_tag() {
    let mut target = TargetEnd::usual(Authentication::None);
    target.owner.identification = Identification::Refuse(Refusal::redirect("[2001:db8::7]:3261,12", false));
    let (response, _) = target.response(Script::new().first(1, Some(3), &[]));
    assert_eq!(value_of(&response.data, "TargetAddress"), Some("[2001:db8::7]:3261"));
}

/// Some targets send one.
#[test]
fn a_portal_group_tag_is_passed_over() {
    let mut login = Login::new(initiator_config(), InitiatorTaskTag(7), [1; 32], Instant::now());
    let response = LoginResponse {
        status: LoginStatus::TargetMovedTemporarily,
        initiator_task_tag: InitiatorTaskTag(7),
        data: keys_of(&[("TargetAddress", "storage.example.com,1")]),
        ..LoginResponse::default()
    };
    login.handle_pdu(Instant::now(), response.into());
    let expected = LoginEvent::Redirected { address: "storage.example.com".into(), permanent: false };
    assert_eq!(login.poll_event(), Some(expected));
}
