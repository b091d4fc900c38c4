//! The connection states of the full feature phase at the initiator (RFC 7143 section 8.1.3).

/// A state of the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// S5.
    LoggedIn,
    /// S6: a logout was asked for.
    InLogout,
    /// S7: the target wants a logout.
    LogoutRequested,
    /// S1 and S8: with one connection and no recovery, both are the end of the session.
    Ended,
}

/// What moves a connection from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    /// T9, T10: the owner wants a logout.
    Logout,
    /// T11, T12, T14: the target wants one.
    LogoutRequest,
    /// T8, T13, T15 to T18.
    End,
}

/// The rows are the states, the columns the transitions, both in their order above. What the chart leaves out changes nothing.
const CHART: [[State; 3]; 4] = {
    use State::{Ended, InLogout, LogoutRequested};
    [
        [InLogout, LogoutRequested, Ended],
        [InLogout, InLogout, Ended],
        [InLogout, LogoutRequested, Ended],
        [Ended, Ended, Ended],
    ]
};

impl State {
    /// The state that follows.
    #[must_use]
    pub(super) const fn after(self, transition: Transition) -> Self {
        CHART[self as usize][transition as usize]
    }

    /// Whether SCSI commands may be submitted.
    pub(super) const fn takes_commands(self) -> bool {
        matches!(self, Self::LoggedIn)
    }

    /// Whether other requests may be made.
    pub(super) const fn takes_requests(self) -> bool {
        matches!(self, Self::LoggedIn | Self::LogoutRequested)
    }
}
