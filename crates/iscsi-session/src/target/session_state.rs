//! The states of a session as a target sees them: the chart of RFC 7143 section 8.3.2 as a table.
//!
//! The ways from Q1 to Q3 and those of Q5 that fail are those of a [`Login`](super::Login): a session begins in Q3, and a login that
//! joins one without connections goes through Q5 at once.

/// A state of RFC 7143 section 8.3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionState {
    /// Q1.
    Free,
    /// Q2.
    Active,
    /// Q3.
    LoggedIn,
    /// Q4: it has no connection, and waits for one.
    Failed,
    /// Q5.
    InContinue,
}

/// What makes a session change its state (RFC 7143 section 8.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionTransition {
    /// The leading login has begun.
    LoginBegun,
    /// A login was done.
    LoginDone,
    /// A login has failed.
    LoginFailed,
    /// The session is closed, or another takes its place.
    Closed,
    /// The last connection has failed, or was removed for recovery.
    LastConnectionGone,
    /// A login wants to go on with the session.
    ContinuationBegun,
    /// Nobody has gone on with the session in time.
    TimedOut,
}

use SessionState::{Active, Failed, Free, InContinue, LoggedIn};
use SessionTransition::{Closed, ContinuationBegun, LastConnectionGone, LoginBegun, LoginDone, LoginFailed, TimedOut};

/// From where, by what, by which name in the standard, to where.
pub(super) const CHART: &[(SessionState, SessionTransition, &str, SessionState)] = &[
    (Free, LoginBegun, "N1", Active),
    (Active, LoginDone, "N2", LoggedIn),
    (Active, LoginFailed, "N9", Free),
    (LoggedIn, Closed, "N3", Free),
    (LoggedIn, LastConnectionGone, "N5", Failed),
    (Failed, TimedOut, "N6", Free),
    (Failed, Closed, "N6", Free),
    (Failed, ContinuationBegun, "N7", InContinue),
    (InContinue, LoginFailed, "N8", Failed),
    (InContinue, LoginDone, "N10", LoggedIn),
    (InContinue, Closed, "N11", Free),
];

impl SessionState {
    /// The state after a transition; none if the chart has no such way.
    pub(super) fn after(self, transition: SessionTransition) -> Option<Self> {
        CHART.iter().find(|(from, by, ..)| (*from, *by) == (self, transition)).map(|(.., to)| *to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_with_every_transition() {
        let transitions = [LoginBegun, LoginDone, LoginFailed, Closed, LastConnectionGone, ContinuationBegun, TimedOut];
        let table = [
            (Free, [Some(Active), None, None, None, None, None, None]),
            (Active, [None, Some(LoggedIn), Some(Free), None, None, None, None]),
            (LoggedIn, [None, None, None, Some(Free), Some(Failed), None, None]),
            (Failed, [None, None, None, Some(Free), None, Some(InContinue), Some(Free)]),
            (InContinue, [None, Some(LoggedIn), Some(Failed), Some(Free), None, None, None]),
        ];
        for (from, row) in table {
            assert_eq!(transitions.map(|transition| from.after(transition)), row, "{from:?}");
        }
    }

    /// The matrix of RFC 7143 section 8.3.2.
    #[test]
    fn the_ways_have_the_names_of_the_standard() {
        let states = [Free, Active, LoggedIn, Failed, InContinue];
        let matrix = [
            ["-", "N1", "-", "-", "-"],
            ["N9", "-", "N2", "-", "-"],
            ["N3", "-", "-", "N5", "-"],
            ["N6", "-", "-", "-", "N7"],
            ["N11", "-", "N10", "N8", "-"],
        ];
        for (from, row) in states.iter().zip(matrix) {
            for (to, name) in states.iter().zip(row) {
                let ways = CHART.iter().filter(|way| way.0 == *from && way.3 == *to);
                let names: Vec<&str> = ways.map(|way| way.2).collect();
                assert!(names.iter().all(|other| *other == name), "{from:?} to {to:?}: {names:?}");
                assert_eq!(names.is_empty(), name == "-", "{from:?} to {to:?}");
            }
        }
    }
}
