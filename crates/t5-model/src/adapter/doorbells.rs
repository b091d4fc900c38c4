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

/// Doorbells that wait to be heard; a driver that rings more before its adapter has a turn has rung for all its queues many times over, and those are lost.
const WAITING_MAX: usize = 1 << 16;

/// Doorbells of one function that were rung and not heard.
#[derive(Debug, Default)]
pub(super) struct Doorbells {
    rung: Mutex<Vec<Doorbell>>,
    /// Whether the list has some; changed with the list, under its lock.
    is_rung: AtomicBool,
}

impl Doorbells {
    pub(super) fn ring(&self, doorbell: Doorbell) {
        let mut rung = self.rung.lock();
        if rung.len() < WAITING_MAX {
            rung.push(doorbell);
        }
        self.is_rung.store(true, Ordering::SeqCst);
    }

    pub(super) fn len(&self) -> usize {
        self.rung.lock().len()
    }

    /// Takes all of them into an empty list.
    pub(super) fn take(&self, heard: &mut Vec<Doorbell>) {
        if self.is_rung.load(Ordering::SeqCst) {
            let mut rung = self.rung.lock();
            std::mem::swap(&mut *rung, heard);
            self.is_rung.store(false, Ordering::SeqCst);
        }
    }

    /// Whether there are some. Whoever has just let go of the adapter sees all that were rung by those who found it taken.
    pub(super) fn is_rung(&self) -> bool {
        fence(Ordering::SeqCst);
        self.is_rung.load(Ordering::SeqCst)
    }
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
                doorbells.take(&mut heard);
                for doorbell in heard.drain(..) {
                    assert!(matches!(doorbell, Doorbell::Word { offset, .. } if offset == count), "in their order");
                    count += 1;
                }
            }
        });
        assert!(!doorbells.is_rung());
    }
}
