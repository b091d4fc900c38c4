//! Doorbells on their way to the adapter: who rings never waits for it.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// A doorbell of a function.
#[derive(Clone, Copy, Debug)]
pub(super) enum Doorbell {
    /// A word of BAR 2.
    Word { offset: u32, value: u32 },
    /// A whole descriptor of BAR 2.
    Descriptor { offset: u32 },
}

/// Doorbells that wait to be heard, far more than a driver has queues and their descriptors. Each says by how much a queue has grown, so that one that is lost is a
/// fault of whoever rang more.
const WAITING_MAX: usize = 1 << 16;

/// Doorbells of one function that were rung and not heard.
#[derive(Debug, Default)]
pub(super) struct Doorbells {
    rung: Mutex<Vec<Doorbell>>,
    /// Whether some were lost since the list was taken; changed under its lock.
    has_lost: AtomicBool,
    /// Whether the list has some; changed with the list, under its lock.
    is_rung: AtomicBool,
}

impl Doorbells {
    pub(super) fn ring(&self, doorbell: Doorbell) {
        let mut rung = self.rung.lock();
        if rung.len() < WAITING_MAX {
            rung.push(doorbell);
        } else {
            self.has_lost.store(true, Ordering::Relaxed);
        }
        self.is_rung.store(true, Ordering::SeqCst);
    }

    pub(super) fn len(&self) -> usize {
        self.rung.lock().len()
    }

    /// Takes all of them into an empty list; says whether more were rung, and lost.
    #[must_use]
    pub(super) fn take(&self, heard: &mut Vec<Doorbell>) -> bool {
        if !self.is_rung.load(Ordering::SeqCst) {
            return false;
        }
        let mut rung = self.rung.lock();
        std::mem::swap(&mut *rung, heard);
        self.is_rung.store(false, Ordering::SeqCst);
        self.has_lost.swap(false, Ordering::Relaxed)
    }
}

/// Whether some of them were rung. Whoever has just let go of the adapter sees all that were rung by those who found it taken.
pub(super) fn is_any_rung<'a>(mut all: impl Iterator<Item = &'a Doorbells>) -> bool {
    fence(Ordering::SeqCst);
    all.any(|doorbells| doorbells.is_rung.load(Ordering::SeqCst))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_lost_or_heard_twice() {
        let doorbells = Doorbells::default();
        let ring = |offset| doorbells.ring(Doorbell::Word { offset, value: 1 });
        std::thread::scope(|scope| {
            scope.spawn(|| (0..1000).for_each(ring));
            let (mut count, mut heard) = (0, Vec::new());
            while count < 1000 {
                assert!(!doorbells.take(&mut heard));
                for doorbell in heard.drain(..) {
                    assert!(matches!(doorbell, Doorbell::Word { offset, .. } if offset == count), "in their order");
                    count += 1;
                }
            }
        });
        assert!(!is_any_rung([&doorbells].into_iter()));
    }

    #[test]
    fn what_is_lost_is_told_once() {
        let (doorbells, mut heard) = (Doorbells::default(), Vec::new());
        let ring = |count: usize| (0..count).for_each(|_| doorbells.ring(Doorbell::Descriptor { offset: 0 }));
        ring(WAITING_MAX);
        assert!(!doorbells.take(&mut heard));
        heard.clear();
        ring(WAITING_MAX + 1);
        assert!(doorbells.take(&mut heard));
        assert_eq!(heard.len(), WAITING_MAX);
        heard.clear();
        ring(1);
        assert!(!doorbells.take(&mut heard));
    }
}
