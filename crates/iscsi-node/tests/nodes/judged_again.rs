//! Logins that were under way when the portal was changed: they are judged again before their session begins.

use super::*;
use iscsi_session::{Authentication, ChapAlgorithm, Credential, Secret};

/// What comes of a login without proof during which the portal is changed: the status of its refusal, if it is refused. Between the change
/// and the owner's consent it may go to another node and back.
fn log_in_while(change: impl Fn(&mut Portal) + 'static, moves: bool) -> Option<LoginStatus> {
    let mut bench = Bench::new();
    bench.at_admission = Some(Box::new(move |target, now, connection| {
        let mut portal = Portal::clone(target.portal());
        change(&mut portal);
        target.set_portal(portal.into());
        match moves {
            true => {
                let detached = target.detach(connection).expect("its login waits for consent");
                target.attach(now, detached)
            }
            false => connection,
        }
    }));
    let initiator = bench.connect(1, Some(TARGET));
    let ends: Vec<_> = bench.events[initiator]
        .iter()
        .filter_map(|event| match event {
            initiator::Event::LoggedIn(_) => Some(None),
            initiator::Event::LoginFailed(failure) => Some(failure.status()),
            _ => None,
        })
        .collect();
    assert_eq!(ends.len(), 1, "{:?}", bench.events[initiator]);
    assert_eq!(bench.target.sessions(), usize::from(ends[0].is_none()));
    ends[0]
}

fn chap() -> Authentication {
    let secret = Secret::new("a secret of theirs").expect("it is long enough");
    let credential = Credential { name: "somebody".into(), secret };
    Authentication::chap(vec![credential], None, vec![ChapAlgorithm::Sha256]).expect("this can work")
}

// RFC 7143 11.13.5: class 3, since the initiator may begin anew.
#[test]
fn a_login_that_has_proven_what_is_not_asked_for_any_more_is_refused() {
    for moves in [false, true] {
        let refused = log_in_while(|portal| portal.targets[0].authentication = chap(), moves);
        assert_eq!(refused, Some(LoginStatus::ServiceUnavailable));
        assert_eq!(refused.map(|status| (status.class(), status.detail())), Some((3, 1)));
    }
}

#[test]
fn a_login_goes_on_if_what_it_was_asked_for_is_asked_for_still() {
    for moves in [false, true] {
        assert_eq!(log_in_while(|portal| portal.window = 7, moves), None);
        assert_eq!(log_in_while(|portal| portal.discovery_authentication = chap(), moves), None);
    }
}
