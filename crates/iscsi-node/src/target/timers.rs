//! Who is to be woken when: one entry a connection and one a session that has a time-out, no later than that.

use super::event::ConnectionId;
use super::sessions::SessionId;
use std::collections::BTreeSet;
use std::time::Instant;

/// Who is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sleeper {
    Connection(ConnectionId),
    Session(SessionId),
}

/// The time of a sleeper's entry, if it has one; the sleeper keeps it.
pub(super) type Entry = Option<Instant>;

#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Instant, Sleeper)>);

impl Timers {
    /// Sees to it that a sleeper is woken at `due`. An earlier entry stays: what it finds is not due yet is set anew then.
    pub(super) fn set(&mut self, sleeper: Sleeper, entry: &mut Entry, due: Option<Instant>) {
        if let Some(due) = due
            && entry.is_none_or(|at| due < at)
        {
            self.remove(sleeper, entry.replace(due));
            self.0.insert((due, sleeper));
        }
    }

    /// Takes a sleeper's entry out.
    pub(super) fn remove(&mut self, sleeper: Sleeper, entry: Entry) {
        if let Some(at) = entry {
            self.0.remove(&(at, sleeper));
        }
    }

    /// The first whose time has come; its entry is gone.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Sleeper> {
        let (at, sleeper) = *self.0.first()?;
        (at <= now).then(|| {
            self.0.pop_first();
            sleeper
        })
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }
}
