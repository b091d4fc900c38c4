//! The clocks of a connection: the silence of the target, its answer to a logout, and after the connection's end the time that the
//! target remembers it (RFC 7143 sections 7.5 and 7.14).
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
    /// What was asked for again has not come.
    StillMissing,
    /// Time2Wait is over: the target may be told that the connection is gone.
    CleanupDue,
    /// Time2Retain is over: the target has forgotten the connection (M1 of RFC 7143 section 8.2.2).
    Forgotten,
    /// Time2Wait is over for tasks that have lost their connection.
    TasksDue,
    /// Time2Retain is over: the target has ended them.
    TasksForgotten,
}

/// How long the target remembers a connection that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retention {
    /// Time2Wait.
    pub(super) wait: Duration,
    /// Time2Retain, which begins after it.
    pub(super) retain: Duration,
}

impl Retention {
    pub(super) fn from_seconds(wait: u16, retain: u16) -> Self {
        Self { wait: Duration::from_secs(wait.into()), retain: Duration::from_secs(retain.into()) }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    interval: Option<Duration>,
    timeout: Duration,
    heard: Instant,
    /// Since when any sign of life is awaited.
    asked: Option<Instant>,
    logout: Option<Instant>,
    /// After the end of the connection, what there is to wait for; nothing else counts then.
    end: Option<Span>,
    /// The same for tasks of other connections that are to be reassigned.
    tasks: Option<Span>,
}

/// Between Time2Wait and Time2Retain.
#[derive(Clone, Copy, Debug)]
struct Span {
    due: Option<Instant>,
    forgotten: Option<Instant>,
}

impl Span {
    fn new(now: Instant, Retention { wait, retain }: Retention) -> Self {
        let due = now.checked_add(wait);
        Self { due, forgotten: due.and_then(|due| due.checked_add(retain)) }
    }

    fn alarms(self, due: Alarm, forgotten: Alarm) -> [Option<(Instant, Alarm)>; 2] {
        [self.due.map(|at| (at, due)), self.forgotten.map(|at| (at, forgotten))]
    }
}

impl Timers {
    pub(super) fn new(config: SessionConfig, session_type: SessionType, now: Instant) -> Self {
        // RFC 7143 4.3: a discovery session has no pings.
        let interval = config.ping_interval.filter(|_| session_type == SessionType::Normal);
        Self { interval, timeout: config.ping_timeout, heard: now, asked: None, logout: None, end: None, tasks: None }
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

    /// The logout was answered, or it is not waited for any more.
    pub(super) fn forget_logout(&mut self) {
        self.logout = None;
    }

    // RFC 7143 7.5-1: Time2Wait comes first.
    /// The connection is gone, and the target, which has said so itself, remembers it for so long.
    pub(super) fn begin_cleanup(&mut self, now: Instant, retention: Retention) {
        let mut span = Span::new(now, retention);
        // RFC 7143 11.15.4: where nothing is retained, there is nothing to tell the target.
        span.due = span.due.filter(|_| !retention.retain.is_zero());
        (self.end, self.tasks) = (Some(span), None);
    }

    /// The connection is gone without a word of the target, which may not have noticed yet: there is time to tell it, however short it
    /// remembers then.
    pub(super) fn begin_cleanup_untold(&mut self, now: Instant, Retention { wait, retain }: Retention) {
        let retention = Retention { wait, retain: retain.max(self.timeout) };
        (self.end, self.tasks) = (Some(Span::new(now, retention)), None);
    }

    /// The owner was told, or is at it.
    pub(super) fn forget_cleanup_due(&mut self) {
        if let Some(span) = &mut self.end {
            span.due = None;
        }
    }

    /// A logout of the connection elsewhere has failed; the next may be tried after this time, if the target still remembers.
    pub(super) fn retry_cleanup(&mut self, now: Instant, wait: Duration) {
        if let Some(span) = &mut self.end {
            span.due = now.checked_add(wait);
        }
    }

    /// Tasks that have lost their connection are to be reassigned to this one.
    pub(super) fn keep_tasks(&mut self, now: Instant, retention: Retention) {
        self.tasks = Some(Span::new(now, retention));
    }

    /// The same, in the time that another connection has for it.
    pub(super) fn keep_tasks_as(&mut self, other: Self) {
        self.tasks = self.tasks.or(other.tasks);
    }

    /// They are to be offered at this time, or before, if the target keeps them then.
    pub(super) fn offer_tasks_at(&mut self, at: Option<Instant>) {
        if let Some(span) = &mut self.tasks {
            span.due = span.due.into_iter().chain(at).min();
        }
    }

    pub(super) fn forget_tasks_due(&mut self) {
        if let Some(span) = &mut self.tasks {
            span.due = None;
        }
    }

    pub(super) fn forget_tasks(&mut self) {
        self.tasks = None;
    }

    /// The next alarm and its time. A time that no clock reaches is none.
    fn next(&self) -> Option<(Instant, Alarm)> {
        let connection = match self.end {
            Some(span) => span.alarms(Alarm::CleanupDue, Alarm::Forgotten),
            None => [
                self.silence(),
                self.logout.and_then(|at| at.checked_add(self.timeout)).map(|at| (at, Alarm::LogoutOverdue)),
            ],
        };
        let tasks = self.tasks.map(|span| span.alarms(Alarm::TasksDue, Alarm::TasksForgotten)).unwrap_or_default();
        connection.into_iter().chain(tasks).flatten().min_by_key(|(at, _)| *at)
    }

    fn silence(&self) -> Option<(Instant, Alarm)> {
        match (self.asked, self.interval) {
            (Some(asked), _) => asked.checked_add(self.timeout).map(|at| (at, Alarm::Silent)),
            (None, Some(interval)) => self.heard.checked_add(interval).map(|at| (at, Alarm::PingDue)),
            (None, None) => None,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next().map(|(at, _)| at)
    }

    pub(super) fn alarm(&self, now: Instant) -> Option<Alarm> {
        self.next().filter(|(at, _)| *at <= now).map(|(_, alarm)| alarm)
    }
}
