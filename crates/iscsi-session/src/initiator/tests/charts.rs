//! RFC 7143 8.1.3, 8.2 and 8.3.1: every state and every transition.

use crate::initiator::state::{ConnectionState, ConnectionTransition, SessionState, SessionTransition};

#[test]
fn the_chart_of_a_connection() {
    use ConnectionState::{CleanupWait, Free, InCleanup, InLogout, LoggedIn, LogoutRequested};
    use ConnectionTransition::{Cleanup, CleanupFailure, End, Failure, Logout, LogoutRequest};
    // The cells of the tables in 8.1.3 and 8.2, by the names of their transitions.
    let drawn = [
        (LoggedIn, End, Free),                             // T8
        (LoggedIn, Logout, InLogout),                      // T9
        (LogoutRequested, Logout, InLogout),               // T10
        (LoggedIn, LogoutRequest, LogoutRequested),        // T11
        (LogoutRequested, LogoutRequest, LogoutRequested), // T12
        (InLogout, End, Free),                             // T13
        (InLogout, LogoutRequest, InLogout),               // T14
        (LoggedIn, Failure, CleanupWait),                  // T15
        (LogoutRequested, Failure, CleanupWait),           // T16
        (InLogout, Failure, CleanupWait),                  // T17
        (LogoutRequested, End, Free),                      // T18
        (CleanupWait, End, Free),                          // M1
        (CleanupWait, Cleanup, InCleanup),                 // M2
        (InCleanup, CleanupFailure, CleanupWait),          // M3
        (InCleanup, End, Free),                            // M4
    ];
    for state in [LoggedIn, InLogout, LogoutRequested, CleanupWait, InCleanup, Free] {
        for transition in [Logout, LogoutRequest, Failure, Cleanup, CleanupFailure, End] {
            let cell = drawn.iter().find(|(from, by, _)| (*from, *by) == (state, transition));
            let expected = cell.map_or(state, |(_, _, to)| *to);
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
    let drawn = [
        (Free, Login, LoggedIn),     // N1
        (LoggedIn, Closure, Free),   // N3
        (Failed, Login, LoggedIn),   // N4
        (LoggedIn, Failure, Failed), // N5
        (Failed, TimeOut, Free),     // N6
    ];
    for state in [Free, LoggedIn, Failed] {
        for transition in [Login, Closure, Failure, TimeOut] {
            let cell = drawn.iter().find(|(from, by, _)| (*from, *by) == (state, transition));
            let expected = cell.map_or(state, |(_, _, to)| *to);
            assert_eq!(state.after(transition), expected, "{state:?} {transition:?}");
        }
    }
}
