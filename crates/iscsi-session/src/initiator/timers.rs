//! The two clocks of a session: the silence of the target, and its answer to a logout.
//!
//! In: what was heard and asked, and when. Out: when to look again, and what is due then.

use super::SessionConfig;
use crate::SessionType;
use std::time::{Duration, Instant};

/// What a clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// The target has said nothing for the ping interval.
    PingDue,
    /// The target has said nothing for the ping timeout after it was asked.
    Silent,
    /// The target has not answered a logout.
    LogoutOverdue,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    interval: Option<Duration>,
    timeout: Duration,
    heard: Instant,
    /// Since when any sign of life is awaited.
    asked: Option<Instant>,
    logout: Option<Instant>,
}

impl Timers {
    pub(super) fn new(config: SessionConfig, session_type: SessionType, now: Instant) -> Self {
        // RFC 7143 4.3: a discovery session has no pings.
        let interval = config.ping_interval.filter(|_| session_type == SessionType::Normal);
        Self { interval, timeout: config.ping_timeout, heard: now, asked: None, logout: None }
    }

    /// Any PDU came: the target lives.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// What the target has to answer at once goes out.
    pub(super) fn expect_pdu(&mut self, now: Instant) {
        self.asked.get_or_insert(now);
    }

    /// A logout goes out.
    pub(super) fn expect_logout(&mut self, now: Instant) {
        self.logout.get_or_insert(now);
    }

    /// The next alarm and its time. A time that no clock reaches is none.
    fn next(&self) -> Option<(Instant, Alarm)> {
        let silence = match (self.asked, self.interval) {
            (Some(asked), _) => asked.checked_add(self.timeout).map(|at| (at, Alarm::Silent)),
            (None, Some(interval)) => self.heard.checked_add(interval).map(|at| (at, Alarm::PingDue)),
            (None, None) => None,
        };
        let logout = self.logout.and_then(|at| at.checked_add(self.timeout)).map(|at| (at, Alarm::LogoutOverdue));
        silence.into_iter().chain(logout).min_by_key(|(at, _)| *at)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next().map(|(at, _)| at)
    }

    pub(super) fn alarm(&self, now: Instant) -> Option<Alarm> {
        self.next().filter(|(at, _)| *at <= now).map(|(_, alarm)| alarm)
    }
}
