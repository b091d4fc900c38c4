//! What one nexus and one unit share: which tasks are over, and how many of their requests the store still has.
//!
//! A reset or PREEMPT AND ABORT moves the *epoch* of the nexuses concerned on: tasks that began before it are over, and
//! find out at their next call. Whoever did it gets a [`Settling`], which is over when every request of such tasks has come back.
//!
//! The nexus alone counts its requests, with one atomic exchange for each that begins. Invariant: either the nexus sees the new epoch
//! before its request goes out, or whoever has moved it on sees the request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One nexus at one unit. Alone on its cache line, as the nexus writes to it with each request.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Link {
    epoch: AtomicU64,
    requests: AtomicU64,
}

impl Link {
    /// The epoch of a task that begins now.
    #[inline]
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// The tasks that have begun are over. Returns the epoch of those to come.
    fn end_tasks(&self) -> u64 {
        self.epoch.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Whether the store has no request of a task from before `epoch`.
    fn has_settled(&self, epoch: u64) -> bool {
        Requests(self.requests.load(Ordering::SeqCst)).before(epoch) == 0
    }
}

/// How many requests are at the store: of tasks of the latest epoch that had one, and of earlier ones.
///
/// In one word: the low bits of that epoch, and two counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Requests(u64);

/// Bits of a count. A nexus has far fewer commands than this counts.
const COUNT_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const EPOCH_BITS: u32 = 64 - 2 * COUNT_BITS;
const EPOCH_MASK: u64 = (1 << EPOCH_BITS) - 1;

impl Requests {
    fn new(epoch: u64, latest: u64, earlier: u64) -> Self {
        Self((epoch & EPOCH_MASK) << (2 * COUNT_BITS) | earlier << COUNT_BITS | latest)
    }

    #[inline]
    fn is_of(self, epoch: u64) -> bool {
        self.0 >> (2 * COUNT_BITS) == epoch & EPOCH_MASK
    }

    /// Whether requests of an epoch after this one were counted.
    fn is_later_than(self, epoch: u64) -> bool {
        let ahead = (self.0 >> (2 * COUNT_BITS)).wrapping_sub(epoch) & EPOCH_MASK;
        (1..=EPOCH_MASK / 2).contains(&ahead)
    }

    fn latest(self) -> u64 {
        self.0 & COUNT_MASK
    }

    fn earlier(self) -> u64 {
        self.0 >> COUNT_BITS & COUNT_MASK
    }

    #[inline]
    fn with_one_more(self, epoch: u64) -> Self {
        match self.is_of(epoch) {
            true => Self(self.0 + 1),
            false if self.is_later_than(epoch) => Self(self.0 + (1 << COUNT_BITS)),
            false => Self::new(epoch, 1, self.earlier() + self.latest()),
        }
    }

    #[inline]
    fn with_one_less(self, epoch: u64) -> Self {
        Self(self.0 - if self.is_of(epoch) { 1 } else { 1 << COUNT_BITS })
    }

    /// Those of tasks from before `epoch`.
    fn before(self, epoch: u64) -> u64 {
        match self.is_of(epoch) || self.is_later_than(epoch) {
            true => self.earlier(),
            false => self.earlier() + self.latest(),
        }
    }
}

/// A nexus's end of its [`Link`].
#[derive(Debug)]
pub(crate) struct RequestCounter {
    link: Arc<Link>,
    requests: Requests,
}

impl RequestCounter {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self { link, requests: Requests::default() }
    }

    #[inline]
    pub(crate) fn epoch(&self) -> u64 {
        self.link.epoch()
    }

    /// A request of a task goes to the store. Returns whether it may: the task is not over.
    #[inline]
    pub(crate) fn count(&mut self, epoch: u64) -> bool {
        self.requests = self.requests.with_one_more(epoch);
        self.link.requests.swap(self.requests.0, Ordering::SeqCst);
        if self.link.epoch() == epoch {
            return true;
        }
        self.discount(epoch);
        false
    }

    /// Whether the store has no request of this nexus.
    pub(crate) fn is_idle(&self) -> bool {
        self.requests.latest() == 0 && self.requests.earlier() == 0
    }

    /// The tasks of this nexus are over.
    pub(crate) fn end_tasks(&self) {
        self.link.end_tasks();
    }

    /// A request that was counted has come back.
    #[inline]
    pub(crate) fn discount(&mut self, epoch: u64) {
        self.requests = self.requests.with_one_less(epoch);
        self.link.requests.store(self.requests.0, Ordering::Release);
    }
}

impl Drop for RequestCounter {
    /// Who drops a nexus has its requests back.
    fn drop(&mut self) {
        self.link.requests.store(0, Ordering::Release);
    }
}

/// Tasks that were ended, and may have requests at the store.
#[derive(Debug, Default)]
#[must_use = "what ends tasks is done when their requests have come back"]
pub struct Settling(Vec<(Arc<Link>, u64)>);

impl Settling {
    /// Ends the tasks of these nexuses at the unit. To be called when whatever else commands look at has been changed already, so that no
    /// task of the new epoch has seen the old.
    pub(crate) fn end_tasks(links: Vec<Arc<Link>>) -> Self {
        let ended = |link: Arc<Link>| {
            let epoch = link.end_tasks();
            (link, epoch)
        };
        Self(links.into_iter().map(ended).collect())
    }

    /// All of several.
    pub(crate) fn all(several: impl Iterator<Item = Self>) -> Self {
        Self(several.flat_map(|settling| settling.0).collect())
    }

    /// Whether all those requests have come back. To be asked again in a while, such as a millisecond, if not.
    pub fn is_over(&self) -> bool {
        self.0.iter().all(|(link, epoch)| link.has_settled(*epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(link: &Arc<Link>) -> Settling {
        Settling::end_tasks(vec![Arc::clone(link)])
    }

    #[test]
    fn an_end_waits_for_the_requests_before_it_and_no_others() {
        let link = Arc::new(Link::default());
        let mut counter = RequestCounter::new(Arc::clone(&link));
        let first = counter.epoch();
        assert!(counter.count(first) && counter.count(first));
        let end_of_first = end(&link);
        let second = counter.epoch();
        assert!(!counter.count(first), "a task that is over sends no request");
        assert!(counter.count(second));
        assert!(!end_of_first.is_over());
        counter.discount(first);
        assert!(!end_of_first.is_over());
        let end_of_second = end(&link);
        counter.discount(first);
        assert!(end_of_first.is_over() && !end_of_second.is_over());
        counter.discount(second);
        assert!(end_of_second.is_over());
    }

    /// As a copy does it, which counts at a unit whose tasks were ended since it began.
    #[test]
    fn a_request_that_comes_too_late_leaves_those_of_later_tasks_counted() {
        let link = Arc::new(Link::default());
        let mut counter = RequestCounter::new(Arc::clone(&link));
        let first = counter.epoch();
        drop(end(&link));
        let second = counter.epoch();
        assert!(counter.count(second));
        assert!(!counter.count(first));
        assert!(counter.count(second));
        counter.discount(second);
        let end_of_second = end(&link);
        assert!(!end_of_second.is_over());
        counter.discount(second);
        assert!(end_of_second.is_over());
    }

    #[test]
    fn a_nexus_that_has_long_been_idle_has_nothing_to_wait_for() {
        let link = Arc::new(Link::default());
        let mut counter = RequestCounter::new(Arc::clone(&link));
        let epoch = counter.epoch();
        counter.count(epoch);
        counter.discount(epoch);
        for _ in 0..3 {
            assert!(end(&link).is_over());
        }
        assert!(counter.count(counter.epoch()));
        drop(counter);
        assert!(end(&link).is_over());
    }

    #[test]
    fn of_an_end_and_a_request_at_once_one_sees_the_other() {
        for _ in 0..2000 {
            let link = Arc::new(Link::default());
            let mut counter = RequestCounter::new(Arc::clone(&link));
            let epoch = counter.epoch();
            let (goes_out, settled) = std::thread::scope(|scope| {
                let request = scope.spawn(|| counter.count(epoch));
                let settled = end(&link).is_over();
                (request.join().unwrap(), settled)
            });
            assert!(!(goes_out && settled));
        }
    }
}
