//! The states of a connection and of a session at the initiator, as tables (RFC 7143 sections 8.1.3, 8.2 and 8.3.1).
//!
//! ```text
//!  connection                                               session
//!            ┌──────── request ────────┐                               N1
//!            v                         │                      Free ─────────> LoggedIn
//!   LogoutRequested <── T11 ── LoggedIn                         ^ ^              │ ^
//!      │     │                  │    │                          │ └───── N3 ─────┤ │
//!  T16 │     └─ T10 ─> InLogout <─ T9│                          │                v │
//!      │                  │   │      │ T15                      └───── N6 ──── Failed
//!      v    T17           │   │      │                                        N5   N4
//!   CleanupWait <─────────┘   └─ T13 ┼───> Free
//!      │    ^                        │      ^
//!      │ M2 │ M3                     │      │ M4, and M1 from CleanupWait
//!      └──> InCleanup ───────────────┴──────┘
//! ```
//!
//! What comes before the full feature phase is the login's.

/// A state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionState {
    /// S5.
    LoggedIn,
    /// S6: a logout was asked for.
    InLogout,
    /// S7: the target wants a logout.
    LogoutRequested,
    /// S8 and R1: the connection is gone, but the target may not know.
    CleanupWait,
    /// R2: a logout on another connection tells it.
    InCleanup,
    /// S1 and R3.
    Free,
}

/// What moves a connection from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionTransition {
    /// T9, T10: the owner wants a logout.
    Logout,
    /// T11, T12, T14: the target wants one.
    LogoutRequest,
    /// T15, T16, T17: the connection or its logout has failed.
    Failure,
    /// M2: a logout of the connection begins elsewhere.
    Cleanup,
    /// M3: that logout has failed.
    CleanupFailure,
    /// T8, T13, T18, M4: a logout or a reinstatement went well. M1: the target has forgotten the connection.
    End,
}

/// The rows are the states, the columns the transitions, both in their order above. What the chart leaves out changes nothing.
const CONNECTION_CHART: [[ConnectionState; 6]; 6] = {
    use ConnectionState::{CleanupWait, Free, InCleanup, InLogout, LoggedIn, LogoutRequested};
    [
        [InLogout, LogoutRequested, CleanupWait, LoggedIn, LoggedIn, Free],
        [InLogout, InLogout, CleanupWait, InLogout, InLogout, Free],
        [InLogout, LogoutRequested, CleanupWait, LogoutRequested, LogoutRequested, Free],
        [CleanupWait, CleanupWait, CleanupWait, InCleanup, CleanupWait, Free],
        [InCleanup, InCleanup, InCleanup, InCleanup, CleanupWait, Free],
        [Free, Free, Free, Free, Free, Free],
    ]
};

impl ConnectionState {
    /// The state that follows.
    #[must_use]
    pub(super) const fn after(self, transition: ConnectionTransition) -> Self {
        CONNECTION_CHART[self as usize][transition as usize]
    }

    /// Whether SCSI commands may be submitted.
    pub(super) const fn takes_commands(self) -> bool {
        matches!(self, Self::LoggedIn)
    }

    /// Whether other requests may be made.
    pub(super) const fn takes_requests(self) -> bool {
        matches!(self, Self::LoggedIn | Self::LogoutRequested)
    }

    /// Whether the connection is gone and the target may not know: R1 and R2.
    pub(super) const fn is_in_cleanup(self) -> bool {
        matches!(self, Self::CleanupWait | Self::InCleanup)
    }

    /// Whether PDUs come and go: S5, S6 and S7.
    pub(super) const fn is_full_feature(self) -> bool {
        matches!(self, Self::LoggedIn | Self::InLogout | Self::LogoutRequested)
    }
}

/// A state of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionState {
    /// Q1.
    Free,
    /// Q3.
    LoggedIn,
    /// Q4: no connection is left, but tasks are kept for one that comes.
    Failed,
}

/// What moves a session from one state to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionTransition {
    /// N1, N4: a connection has logged in.
    Login,
    /// N3: the session was closed by a logout.
    Closure,
    /// N5: the last connection has failed.
    Failure,
    /// N6: nobody has continued the session in time.
    TimeOut,
}

/// The rows are the states, the columns the transitions, both in their order above. What the chart leaves out changes nothing.
const SESSION_CHART: [[SessionState; 4]; 3] = {
    use SessionState::{Failed, Free, LoggedIn};
    [[LoggedIn, Free, Free, Free], [LoggedIn, Free, Failed, LoggedIn], [LoggedIn, Failed, Failed, Free]]
};

impl SessionState {
    /// The state that follows.
    #[must_use]
    pub(super) const fn after(self, transition: SessionTransition) -> Self {
        SESSION_CHART[self as usize][transition as usize]
    }
}
