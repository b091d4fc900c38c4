//! The task set of one nexus at one unit (SAM-5 8): which of its tasks may begin.
//!
//! In: tasks as they come, with their attribute, and as they end. Out: whether one may begin. Tasks that may be reordered among themselves
//! are a group, with an even number; an ORDERED task is a group of its own, with an odd one. With SIMPLE tasks alone there is one group, and
//! all of this is counting up and down.

use std::collections::VecDeque;

/// The attribute that a task comes with (SAM-5 8.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskAttribute {
    /// It may be reordered with other tasks of this attribute.
    #[default]
    Simple,
    /// It begins after all that came before it have ended, and before all that come after it.
    Ordered,
    /// It begins at once, and before all that have not begun.
    HeadOfQueue,
    /// It belongs to an auto contingent allegiance, which no unit here ever has.
    Aca,
}

/// Where a task stands in its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position(u64);

impl Position {
    const HEAD: Self = Self(u64::MAX);

    /// Whether it is that of an ORDERED task.
    fn is_ordered(self) -> bool {
        self.0 % 2 == 1
    }
}

/// The tasks of one nexus at one unit.
#[derive(Debug, Default)]
pub(crate) struct TaskSet {
    /// Tasks in the newest group.
    newest: u32,
    /// Tasks that have HEAD OF QUEUE.
    heads: u32,
    /// Number of the newest group.
    number: u64,
    /// Tasks that are left in each group before it, the oldest first; that one has some.
    older: VecDeque<u32>,
}

impl TaskSet {
    /// Tasks in the set.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        let older = if self.older.is_empty() { 0 } else { self.older.iter().map(|tasks| *tasks as usize).sum() };
        self.newest as usize + self.heads as usize + older
    }

    /// A task has come.
    #[inline]
    pub(crate) fn enter(&mut self, attribute: TaskAttribute) -> Position {
        match attribute {
            TaskAttribute::Simple => {
                self.newest += 1;
                Position(self.number)
            }
            other => self.enter_rarely(other),
        }
    }

    #[cold]
    fn enter_rarely(&mut self, attribute: TaskAttribute) -> Position {
        if attribute == TaskAttribute::HeadOfQueue {
            self.heads += 1;
            return Position::HEAD;
        }
        self.older.extend([std::mem::take(&mut self.newest), 1]);
        self.number += 2;
        let position = Position(self.number - 1);
        self.drop_empty();
        position
    }

    /// Groups that nothing is before and nothing is left of are over.
    fn drop_empty(&mut self) {
        while self.older.front() == Some(&0) {
            self.older.pop_front();
        }
    }

    /// Whether a task may begin.
    #[inline]
    pub(crate) fn may_begin(&self, position: Position) -> bool {
        self.heads == 0 && self.older.is_empty() || self.may_begin_rarely(position)
    }

    #[cold]
    fn may_begin_rarely(&self, position: Position) -> bool {
        if position == Position::HEAD || self.heads > 0 {
            return position == Position::HEAD;
        }
        let oldest = self.oldest();
        let before = self.older.iter().zip(oldest..position.0);
        let is_in_the_way = |(tasks, number): (&u32, u64)| *tasks > 0 && (position.is_ordered() || number % 2 == 1);
        !before.into_iter().any(is_in_the_way)
    }

    /// Number of the oldest group that has tasks.
    fn oldest(&self) -> u64 {
        self.number - self.older.len() as u64
    }

    /// A task has ended.
    #[inline]
    pub(crate) fn leave(&mut self, position: Position) {
        match position {
            Position(number) if number == self.number => self.newest -= 1,
            other => self.leave_rarely(other),
        }
    }

    #[cold]
    fn leave_rarely(&mut self, position: Position) {
        if position == Position::HEAD {
            self.heads -= 1;
            return;
        }
        let index = (position.0 - self.oldest()) as usize;
        self.older[index] -= 1;
        self.drop_empty();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TaskAttribute::{HeadOfQueue, Ordered, Simple};
    use proptest::prelude::*;

    #[test]
    fn an_ordered_task_waits_for_those_before_it_and_keeps_back_those_after_it() {
        let mut set = TaskSet::default();
        let [first, second] = [Simple, Simple].map(|attribute| set.enter(attribute));
        let ordered = set.enter(Ordered);
        let after = set.enter(Simple);
        let may = |set: &TaskSet| [first, second, ordered, after].map(|position| set.may_begin(position));
        assert_eq!(may(&set), [true, true, false, false]);
        set.leave(second);
        assert_eq!(may(&set), [true, true, false, false]);
        set.leave(first);
        assert!(set.may_begin(ordered) && !set.may_begin(after));
        set.leave(ordered);
        assert!(set.may_begin(after));
        set.leave(after);
        assert_eq!(set.len(), 0);
    }

    #[test]
    fn a_head_of_queue_goes_before_all_that_have_not_begun() {
        let mut set = TaskSet::default();
        let (simple, ordered, head) = (set.enter(Simple), set.enter(Ordered), set.enter(HeadOfQueue));
        assert!(set.may_begin(head) && !set.may_begin(simple) && !set.may_begin(ordered));
        set.leave(head);
        assert!(set.may_begin(simple) && !set.may_begin(ordered));
    }

    /// The rules of SAM-5 8.6 over a plain list.
    fn may_begin(list: &[(TaskAttribute, Position)], at: usize) -> bool {
        let has_head = list.iter().any(|(attribute, _)| *attribute == HeadOfQueue);
        match list[at].0 {
            HeadOfQueue => true,
            Ordered => !has_head && list[..at].is_empty(),
            _ => !has_head && list[..at].iter().all(|(attribute, _)| *attribute != Ordered),
        }
    }

    proptest! {
        #[test]
        fn it_is_as_sam_says(steps in prop::collection::vec((0u8..6, any::<prop::sample::Index>()), 0..200)) {
            let (mut set, mut list) = (TaskSet::default(), Vec::new());
            for (kind, index) in steps {
                match kind {
                    0..=3 => {
                        let attribute = [Simple, Simple, Ordered, HeadOfQueue][usize::from(kind)];
                        list.push((attribute, set.enter(attribute)));
                    }
                    _ if list.is_empty() => {}
                    _ => {
                        // Only what has begun ends; or anything, when it is aborted.
                        let (_, position) = list.remove(index.index(list.len()));
                        set.leave(position);
                    }
                }
                prop_assert_eq!(set.len(), list.len());
                for at in 0..list.len() {
                    prop_assert_eq!(set.may_begin(list[at].1), may_begin(&list, at), "{:?} at {}", list, at);
                }
            }
        }
    }
}
