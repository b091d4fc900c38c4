//! RFC 7143 8.1.3, 8.2 and 8.3.1: every state and every transition, and the page that shows them.

use crate::chart_page::ChartPage;
use crate::initiator::state::{ConnectionState, ConnectionTransition, SessionState, SessionTransition};

/// The cells of the tables in 8.1.3 and 8.2, by the names of their transitions.
const CONNECTION: [(ConnectionState, ConnectionTransition, &str, ConnectionState); 15] = {
    use ConnectionState::{CleanupWait, Free, InCleanup, InLogout, LoggedIn, LogoutRequested};
    use ConnectionTransition::{Cleanup, CleanupFailure, End, Failure, Logout, LogoutRequest};
    [
        (LoggedIn, End, "T8", Free),
        (LoggedIn, Logout, "T9", InLogout),
        (LogoutRequested, Logout, "T10", InLogout),
        (LoggedIn, LogoutRequest, "T11", LogoutRequested),
        (LogoutRequested, LogoutRequest, "T12", LogoutRequested),
        (InLogout, End, "T13", Free),
        (InLogout, LogoutRequest, "T14", InLogout),
        (LoggedIn, Failure, "T15", CleanupWait),
        (LogoutRequested, Failure, "T16", CleanupWait),
        (InLogout, Failure, "T17", CleanupWait),
        (LogoutRequested, End, "T18", Free),
        (CleanupWait, End, "M1", Free),
        (CleanupWait, Cleanup, "M2", InCleanup),
        (InCleanup, CleanupFailure, "M3", CleanupWait),
        (InCleanup, End, "M4", Free),
    ]
};

/// The cells of the table in 8.3.1.
const SESSION: [(SessionState, SessionTransition, &str, SessionState); 5] = {
    use SessionState::{Failed, Free, LoggedIn};
    use SessionTransition::{Closure, Failure, Login, TimeOut};
    [
        (Free, Login, "N1", LoggedIn),
        (LoggedIn, Closure, "N3", Free),
        (Failed, Login, "N4", LoggedIn),
        (LoggedIn, Failure, "N5", Failed),
        (Failed, TimeOut, "N6", Free),
    ]
};

#[test]
fn the_chart_of_a_connection() {
    use ConnectionState::{CleanupWait, Free, InCleanup, InLogout, LoggedIn, LogoutRequested};
    use ConnectionTransition::{Cleanup, CleanupFailure, End, Failure, Logout, LogoutRequest};
    for state in [LoggedIn, InLogout, LogoutRequested, CleanupWait, InCleanup, Free] {
        for transition in [Logout, LogoutRequest, Failure, Cleanup, CleanupFailure, End] {
            let cell = CONNECTION.iter().find(|(from, by, ..)| (*from, *by) == (state, transition));
            let expected = cell.map_or(state, |(.., to)| *to);
            assert_eq!(state.after(transition), expected, "{state:?} {transition:?}");
        }
    }
}

#[test]
fn what_a_state_allows() {
    use ConnectionState::{CleanupWait, Free, InCleanup, InLogout, LoggedIn, LogoutRequested};
    for (state, commands, requests, full_feature) in [
        (LoggedIn, true, true, true),
        (InLogout, false, false, true),
        (LogoutRequested, false, true, true),
        (CleanupWait, false, false, false),
        (InCleanup, false, false, false),
        (Free, false, false, false),
    ] {
        let allowed = (state.takes_commands(), state.takes_requests(), state.is_full_feature());
        assert_eq!(allowed, (commands, requests, full_feature), "{state:?}");
    }
}

#[test]
fn the_chart_of_a_session() {
    use SessionState::{Failed, Free, LoggedIn};
    use SessionTransition::{Closure, Failure, Login, TimeOut};
    for state in [Free, LoggedIn, Failed] {
        for transition in [Login, Closure, Failure, TimeOut] {
            let cell = SESSION.iter().find(|(from, by, ..)| (*from, *by) == (state, transition));
            let expected = cell.map_or(state, |(.., to)| *to);
            assert_eq!(state.after(transition), expected, "{state:?} {transition:?}");
        }
    }
}

const HEAD: &str = "# State charts of the initiator

Made from what `crates/iscsi-session/src/initiator/tests/charts.rs` compares with the tables in `crates/iscsi-session/src/initiator/state.rs`, by
`FERRISCSI_BLESS=1 cargo test -p iscsi-session charts`; a test compares. The names of the ways are those of RFC 7143. A connection is one from
its login on: what comes before, a login of its own knows.
";

#[test]
fn the_page_shows_the_charts() {
    ChartPage::new(HEAD)
        .chart("A connection (sections 8.1.3 and 8.2)", &CONNECTION)
        .chart("A session (section 8.3.1)", &SESSION)
        .compare("state-charts-of-the-initiator.md");
}
