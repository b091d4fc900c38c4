//! The tasks of one nexus at one unit, from one end of all of them to the next, and the waiting for what they have in the store.
//!
//! ```text
//!  nexus of one core      start ── enter ──> in the store ── leave ──> resume         no lock; the counter has one writer
//!  any core, unit locked            end: nothing enters from now on ──> Drain ──> is_done
//! ```
//!
//! Invariant: what has entered a epoch before its end is counted until it has left, and nothing enters after the end: either the one who
//! enters sees the end, or the one who ends sees the counter.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Tasks of one nexus at one unit that end together.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Epoch {
    has_ended: AtomicBool,
    /// Tasks with a request in the store. Only their nexus changes it.
    in_store: AtomicU32,
}

impl Epoch {
    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }

    /// Ends the tasks. Returns whether they had not ended before.
    pub(crate) fn end(&self) -> bool {
        !self.has_ended.swap(true, Ordering::SeqCst)
    }

    pub(crate) fn is_in_store(&self) -> bool {
        self.in_store.load(Ordering::SeqCst) > 0
    }

    /// A task gives its first request to the store, unless it has ended.
    #[inline]
    fn enter(&self) -> bool {
        let before = self.in_store.load(Ordering::Relaxed);
        self.in_store.swap(before + 1, Ordering::SeqCst);
        let enters = !self.has_ended();
        if !enters {
            self.in_store.store(before, Ordering::Release);
        }
        enters
    }

    #[inline]
    fn leave(&self) {
        self.in_store.store(self.in_store.load(Ordering::Relaxed) - 1, Ordering::Release);
    }
}

/// The epochs of a nexus at one unit, as its core sees them.
#[derive(Debug)]
pub(crate) struct Epochs {
    /// Counts the epochs.
    number: u64,
    current: Arc<Epoch>,
    /// Epochs that have ended, with tasks in the store.
    ended: Vec<(u64, Arc<Epoch>)>,
}

impl Epochs {
    pub(crate) const fn new(epoch: Arc<Epoch>) -> Self {
        Self { number: 0, current: epoch, ended: Vec::new() }
    }

    /// The number of the epoch that a new task belongs to; `renew` gives one if the last has ended.
    #[inline]
    pub(crate) fn join(&mut self, renew: impl FnOnce() -> Arc<Epoch>) -> u64 {
        if self.current.has_ended() {
            self.replace(renew());
        }
        self.number
    }

    #[cold]
    fn replace(&mut self, epoch: Arc<Epoch>) {
        let old = std::mem::replace(&mut self.current, epoch);
        if old.is_in_store() {
            self.ended.push((self.number, old));
        }
        self.number += 1;
    }

    /// Whether the tasks of this epoch have ended.
    #[inline]
    pub(crate) fn has_ended(&self, number: u64) -> bool {
        number != self.number || self.current.has_ended()
    }

    /// A task of this epoch, which had not ended just before, gives its first request to the store, unless it has ended now.
    #[inline]
    pub(crate) fn enter(&self) -> bool {
        self.current.enter()
    }

    /// A task of this epoch has no request in the store any more.
    #[inline]
    pub(crate) fn leave(&mut self, number: u64) {
        if number == self.number { self.current.leave() } else { self.leave_ended(number) }
    }

    #[cold]
    fn leave_ended(&mut self, number: u64) {
        self.ended.retain(|(other, set)| {
            if *other == number {
                set.leave();
            }
            set.is_in_store()
        });
    }

    /// The nexus is gone, and nobody tells of its tasks any more.
    pub(crate) fn forget(&self) {
        for set in self.ended.iter().map(|(_, set)| set).chain([&self.current]) {
            set.in_store.store(0, Ordering::Release);
        }
    }
}

/// Block I/O of tasks that were ended, of whatever nexus, that has not come back from the store. Whoever ended them is answered when it
/// has: what is done to the medium afterwards is not overtaken by it (SAM-5 7.1).
#[derive(Debug, Default)]
pub struct Drain(Vec<Arc<Epoch>>);

impl Drain {
    pub(crate) fn new(sets: impl IntoIterator<Item = Arc<Epoch>>) -> Self {
        Self(sets.into_iter().collect())
    }

    /// Whether all has come back. To be asked again after a while, as nothing tells when other cores are done; it takes no lock.
    pub fn is_done(&mut self) -> bool {
        self.0.retain(|set| set.is_in_store());
        self.0.is_empty()
    }

    /// Both.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_a_task_does_not_enter_or_it_is_waited_for() {
        for _ in 0..2000 {
            let set = Arc::new(Epoch::default());
            let (entered, waited_for) = std::thread::scope(|scope| {
                let entering = scope.spawn(|| set.enter());
                set.end();
                let waited_for = set.is_in_store();
                (entering.join().expect("it only counts"), waited_for)
            });
            assert!(!entered || waited_for);
            assert_eq!(set.is_in_store(), entered);
        }
    }

    #[test]
    fn a_set_that_has_ended_is_counted_until_its_tasks_have_left() {
        let mut tasks = Epochs::new(Arc::default());
        let first = tasks.join(Arc::default);
        assert!(tasks.enter() && tasks.enter());
        tasks.current.end();
        let mut drain = Drain::new([Arc::clone(&tasks.current)]);
        let second = tasks.join(Arc::default);
        assert!(tasks.has_ended(first) && !tasks.has_ended(second) && tasks.enter());
        tasks.leave(first);
        assert!(!drain.is_done());
        tasks.leave(first);
        assert!(drain.is_done() && tasks.ended.is_empty() && tasks.current.is_in_store());
    }
}
