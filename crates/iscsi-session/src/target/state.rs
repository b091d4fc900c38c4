//! The states of a connection as a target sees them: the charts of RFC 7143 sections 8.1.4 and 8.2 as one table.
//!
//! The ways from S1 to S5 are those of a [`Login`](super::Login): a connection of a session begins in S5. R1 is S8 and R3 is S1.

/// A state of RFC 7143 sections 8.1.1 and 8.2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// S1, R3.
    Free,
    /// S3.
    TransportUp,
    /// S4.
    InLogin,
    /// S5.
    LoggedIn,
    /// S6.
    InLogout,
    /// S7.
    LogoutRequested,
    /// S8, R1.
    CleanupWait,
    /// R2.
    InCleanup,
}

/// What makes a connection change its state (RFC 7143 sections 8.1.2 and 8.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    /// The transport connection is there.
    Connected,
    /// The first Login Request came.
    LoginBegun,
    /// The final Login Response left.
    LoginDone,
    /// The session ends by what happens on another connection, or a login takes the connection's place.
    EndsElsewhere,
    /// A Logout Request for it came, on this connection or on another.
    LogoutReceived,
    /// The target wants a logout.
    LogoutWanted,
    /// The logout was done.
    LogoutDone,
    /// The connection failed, or is dropped, or the logout failed.
    Failed,
    /// Nobody has cleaned up in time.
    CleanupTimeout,
}

use State::{CleanupWait, Free, InCleanup, InLogin, InLogout, LoggedIn, LogoutRequested, TransportUp};
use Transition::{
    CleanupTimeout, Connected, EndsElsewhere, Failed, LoginBegun, LoginDone, LogoutDone, LogoutReceived, LogoutWanted,
};

/// From where, by what, by which name in the standard, to where.
pub(super) const CHART: &[(State, Transition, &str, State)] = &[
    (Free, Connected, "T3", TransportUp),
    (TransportUp, LoginBegun, "T4", InLogin),
    (TransportUp, Failed, "T6", Free),
    (InLogin, LoginDone, "T5", LoggedIn),
    (InLogin, Failed, "T7", Free),
    (LoggedIn, EndsElsewhere, "T8", Free),
    (LoggedIn, LogoutReceived, "T9", InLogout),
    (LoggedIn, LogoutWanted, "T11", LogoutRequested),
    (LoggedIn, Failed, "T15", CleanupWait),
    (InLogout, LogoutDone, "T13", Free),
    (InLogout, EndsElsewhere, "T13", Free),
    (InLogout, Failed, "T17", CleanupWait),
    (LogoutRequested, EndsElsewhere, "T18", Free),
    (LogoutRequested, LogoutReceived, "T10", InLogout),
    (LogoutRequested, LogoutWanted, "T12", LogoutRequested),
    (LogoutRequested, Failed, "T16", CleanupWait),
    (CleanupWait, CleanupTimeout, "M1", Free),
    (CleanupWait, EndsElsewhere, "M1", Free),
    (CleanupWait, LogoutReceived, "M2", InCleanup),
    (InCleanup, Failed, "M3", CleanupWait),
    (InCleanup, LogoutDone, "M4", Free),
    (InCleanup, EndsElsewhere, "M4", Free),
];

impl State {
    /// The state after a transition; none if the chart has no such way.
    pub(super) fn after(self, transition: Transition) -> Option<Self> {
        CHART.iter().find(|(from, by, ..)| (*from, *by) == (self, transition)).map(|(.., to)| *to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSITIONS: [Transition; 9] = [
        Connected,
        LoginBegun,
        LoginDone,
        EndsElsewhere,
        LogoutReceived,
        LogoutWanted,
        LogoutDone,
        Failed,
        CleanupTimeout,
    ];

    /// Each state with each transition, and where it leads; what is not named leads nowhere.
    #[test]
    fn every_state_with_every_transition() {
        let table: [(State, &[(Transition, State)]); 8] = [
            (Free, &[(Connected, TransportUp)]),
            (TransportUp, &[(LoginBegun, InLogin), (Failed, Free)]),
            (InLogin, &[(LoginDone, LoggedIn), (Failed, Free)]),
            (
                LoggedIn,
                &[
                    (EndsElsewhere, Free),
                    (LogoutReceived, InLogout),
                    (LogoutWanted, LogoutRequested),
                    (Failed, CleanupWait),
                ],
            ),
            (InLogout, &[(LogoutDone, Free), (EndsElsewhere, Free), (Failed, CleanupWait)]),
            (
                LogoutRequested,
                &[
                    (EndsElsewhere, Free),
                    (LogoutReceived, InLogout),
                    (LogoutWanted, LogoutRequested),
                    (Failed, CleanupWait),
                ],
            ),
            (CleanupWait, &[(CleanupTimeout, Free), (EndsElsewhere, Free), (LogoutReceived, InCleanup)]),
            (InCleanup, &[(Failed, CleanupWait), (LogoutDone, Free), (EndsElsewhere, Free)]),
        ];
        for (from, ways) in table {
            for transition in TRANSITIONS {
                let to = ways.iter().find(|(by, _)| *by == transition).map(|(_, to)| *to);
                assert_eq!(from.after(transition), to, "{from:?} by {transition:?}");
            }
        }
    }

    /// The matrices of RFC 7143 sections 8.1.4 and 8.2, from S1 in the first row and column on, with R2 behind S8.
    #[test]
    fn the_ways_have_the_names_of_the_standard() {
        let states = [Free, TransportUp, InLogin, LoggedIn, InLogout, LogoutRequested, CleanupWait, InCleanup];
        let matrix = [
            ["-", "T3", "-", "-", "-", "-", "-", "-"],
            ["T6", "-", "T4", "-", "-", "-", "-", "-"],
            ["T7", "-", "-", "T5", "-", "-", "-", "-"],
            ["T8", "-", "-", "-", "T9", "T11", "T15", "-"],
            ["T13", "-", "-", "-", "-", "-", "T17", "-"],
            ["T18", "-", "-", "-", "T10", "T12", "T16", "-"],
            ["M1", "-", "-", "-", "-", "-", "-", "M2"],
            ["M4", "-", "-", "-", "-", "-", "M3", "-"],
        ];
        for (from, row) in states.iter().zip(matrix) {
            for (to, name) in states.iter().zip(row) {
                let names: Vec<&str> =
                    CHART.iter().filter(|way| way.0 == *from && way.3 == *to).map(|way| way.2).collect();
                assert!(names.iter().all(|other| *other == name), "{from:?} to {to:?}: {names:?}");
                assert_eq!(names.is_empty(), name == "-", "{from:?} to {to:?}");
            }
        }
    }
}
