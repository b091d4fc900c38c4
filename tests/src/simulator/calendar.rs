//! What is to happen and when: the only clock of a world.

use super::wire::End;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Something that is to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// An end of a link may have something to receive or to send.
    Turn(usize, End),
    /// The timer of an initiator's session may ring.
    SessionTimer(usize),
    /// The target has more to do, or its timer may ring.
    Target,
    /// The store ends a job.
    Store(usize),
    /// The store carries out what it has answered already.
    LateWrite(usize),
    /// A host that has no session connects.
    Connect(usize),
    /// A session gets a connection of this number.
    Join(usize, u16),
    /// A session that has no connection must have ended.
    Retained(usize),
    /// A host looks whether it has waited too long.
    Watch(usize),
    /// A link moves again.
    Unstall(usize),
    /// The store is as fast as before.
    StoreHurries,
    /// Faults stop.
    Calm,
}

/// Events in the order of their time; those of one time in the order in which they were entered.
#[derive(Debug, Default)]
pub(crate) struct Calendar {
    entries: BinaryHeap<Reverse<(Duration, u64, Due)>>,
    entered: u64,
}

impl Calendar {
    pub(crate) fn enter(&mut self, at: Duration, due: Due) {
        self.entered += 1;
        self.entries.push(Reverse((at, self.entered, due)));
    }

    /// The next event and its time.
    pub(crate) fn next(&mut self) -> Option<(Duration, Due)> {
        self.entries.pop().map(|Reverse((at, _, due))| (at, due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_one_time_keep_their_order() {
        let mut calendar = Calendar::default();
        let (early, late) = (Duration::from_micros(1), Duration::from_micros(2));
        for (at, due) in [(late, Due::Calm), (early, Due::Watch(2)), (early, Due::Watch(1))] {
            calendar.enter(at, due);
        }
        let order: Vec<_> = std::iter::from_fn(|| calendar.next()).collect();
        assert_eq!(order, [(early, Due::Watch(2)), (early, Due::Watch(1)), (late, Due::Calm)]);
    }
}
