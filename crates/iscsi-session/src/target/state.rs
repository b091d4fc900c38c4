//! The states of a connection as a target sees them: the charts of RFC 7143 sections 8.1.4 and 8.2 as one table.
//!
//! A connection that waits for its cleanup (S8) can be cleaned up by another connection alone. There is none while
//! MaxConnections is 1, so the session ends there: the way M1, with a connection state timeout of zero.

/// A state of RFC 7143 section 8.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// S1.
    Free,
    /// S5.
    LoggedIn,
    /// S6.
    InLogout,
    /// S7.
    LogoutRequested,
    /// S8.
    CleanupWait,
}

/// What makes a connection change its state (RFC 7143 section 8.1.2), for all ways that begin in the full feature phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    /// T8 and T18: the session ends by other means than a logout on this connection.
    SessionEnds,
    /// T9 and T10: a Logout Request came.
    LogoutReceived,
    /// T11 and T12: the target wants a logout.
    LogoutWanted,
    /// T13: the logout was done.
    LogoutDone,
    /// T15, T16 and T17: the connection failed, or is dropped, or the logout failed.
    Failed,
    /// M1: nobody has cleaned up in time.
    CleanupTimeout,
}

const CHART: &[(State, Transition, State)] = &[
    (State::LoggedIn, Transition::SessionEnds, State::Free),
    (State::LoggedIn, Transition::LogoutReceived, State::InLogout),
    (State::LoggedIn, Transition::LogoutWanted, State::LogoutRequested),
    (State::LoggedIn, Transition::Failed, State::CleanupWait),
    (State::InLogout, Transition::LogoutDone, State::Free),
    (State::InLogout, Transition::Failed, State::CleanupWait),
    (State::LogoutRequested, Transition::SessionEnds, State::Free),
    (State::LogoutRequested, Transition::LogoutReceived, State::InLogout),
    (State::LogoutRequested, Transition::LogoutWanted, State::LogoutRequested),
    (State::LogoutRequested, Transition::Failed, State::CleanupWait),
    (State::CleanupWait, Transition::CleanupTimeout, State::Free),
];

impl State {
    /// The state after a transition; none if the chart has no such way.
    pub(super) fn after(self, transition: Transition) -> Option<Self> {
        CHART.iter().find(|(from, by, _)| (*from, *by) == (self, transition)).map(|(_, _, to)| *to)
    }
}

#[cfg(test)]
mod tests {
    use super::State::{CleanupWait, Free, InLogout, LoggedIn, LogoutRequested};
    use super::*;

    /// The rows of the table in RFC 7143 section 8.1.4 from S5 on and of that in 8.2: columns are the transitions in the order
    /// T8/T18, T9/T10, T11/T12, T13, T15 to T17, M1.
    #[test]
    fn every_state_with_every_transition() {
        let transitions = [
            Transition::SessionEnds,
            Transition::LogoutReceived,
            Transition::LogoutWanted,
            Transition::LogoutDone,
            Transition::Failed,
            Transition::CleanupTimeout,
        ];
        let table = [
            (Free, [None; 6]),
            (LoggedIn, [Some(Free), Some(InLogout), Some(LogoutRequested), None, Some(CleanupWait), None]),
            (InLogout, [None, None, None, Some(Free), Some(CleanupWait), None]),
            (LogoutRequested, [Some(Free), Some(InLogout), Some(LogoutRequested), None, Some(CleanupWait), None]),
            (CleanupWait, [None, None, None, None, None, Some(Free)]),
        ];
        for (from, row) in table {
            assert_eq!(transitions.map(|transition| from.after(transition)), row, "{from:?}");
        }
    }
}
