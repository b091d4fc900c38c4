//! The task set of one nexus at one unit (SAM-5 8): which of its tasks may begin.
//!
//! In: tasks as they come, with their attribute, and as they end. Out: whether one may begin. Tasks that may be reordered among themselves
//! are a group, with an even number; an ORDERED task is a group of its own, with an odd one. With SIMPLE tasks alone there is one group,
//! and all of this is counting up and down.

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
    /// It belongs to an auto contingent allegiance, and begins while that keeps all others from beginning.
    Aca,
}

/// Where a task stands in its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position(u64);

impl Position {
    const HEAD: Self = Self(u64::MAX);
    /// That of the task that belongs to an auto contingent allegiance.
    pub(crate) const OF_ALLEGIANCE: Self = Self(u64::MAX - 1);
    /// That of a task that has left its set and goes on.
    const DETACHED: Self = Self(u64::MAX - 2);

    /// Whether the task has left its set, as its command has been answered.
    pub(crate) fn is_detached(self) -> bool {
        self == Self::DETACHED
    }

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
    /// Tasks that have ACA.
    of_allegiance: u32,
    /// Tasks that have left the set and go on.
    detached: u32,
    /// Number of the newest group.
    number: u64,
    /// Number of each group before it that has tasks left, the oldest first, and how many.
    older: Vec<(u64, u32)>,
}

impl TaskSet {
    /// Tasks in the set.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        let older: usize = self.older.iter().map(|(_, tasks)| *tasks as usize).sum();
        (self.newest + self.heads + self.of_allegiance) as usize + older
    }

    /// Whether a task is in the set that has ACA.
    pub(crate) fn has_task_of_allegiance(&self) -> bool {
        self.of_allegiance > 0
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
        match attribute {
            TaskAttribute::HeadOfQueue => {
                self.heads += 1;
                return Position::HEAD;
            }
            TaskAttribute::Aca => {
                self.of_allegiance += 1;
                return Position::OF_ALLEGIANCE;
            }
            TaskAttribute::Simple | TaskAttribute::Ordered => {}
        }
        let before = std::mem::take(&mut self.newest);
        if before > 0 {
            self.older.push((self.number, before));
        }
        self.older.push((self.number + 1, 1));
        self.number += 2;
        Position(self.number - 1)
    }

    /// Whether a task may begin.
    #[inline]
    pub(crate) fn may_begin(&self, position: Position) -> bool {
        self.heads == 0 && self.older.is_empty() || self.may_begin_rarely(position)
    }

    #[cold]
    fn may_begin_rarely(&self, position: Position) -> bool {
        if self.heads > 0 || matches!(position, Position::HEAD | Position::OF_ALLEGIANCE) {
            return matches!(position, Position::HEAD | Position::OF_ALLEGIANCE);
        }
        let mut before =
            self.older.iter().map(|(number, _)| Position(*number)).take_while(|other| other.0 < position.0);
        !before.any(|other| position.is_ordered() || other.is_ordered())
    }

    /// The most tasks of one nexus at one unit that go on after their commands were answered.
    const DETACHED_MAX: u32 = 32;

    /// A task goes on outside of the set, unless too many do. Returns whether it does.
    pub(crate) fn detach(&mut self, position: &mut Position) -> bool {
        let detaches = self.detached < Self::DETACHED_MAX;
        if detaches {
            self.leave(*position);
            *position = Position::DETACHED;
            self.detached += 1;
        }
        detaches
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
        match position {
            Position::HEAD => return self.heads -= 1,
            Position::OF_ALLEGIANCE => return self.of_allegiance -= 1,
            Position::DETACHED => return self.detached -= 1,
            _ => {}
        }
        let found = self.older.binary_search_by_key(&position.0, |(number, _)| *number);
        let index = found.expect("a group is there as long as a task of it is");
        self.older[index].1 -= 1;
        if self.older[index].1 == 0 {
            self.older.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TaskAttribute::{HeadOfQueue, Ordered, Simple};
    use proptest::prelude::*;

    #[test]
    fn a_detached_task_is_in_nobodys_way_and_there_are_only_so_many() {
        let mut set = TaskSet::default();
        let mut positions: Vec<_> = (0..=TaskSet::DETACHED_MAX).map(|_| set.enter(Ordered)).collect();
        let detached = positions.iter_mut().filter_map(|position| set.detach(position).then_some(())).count();
        assert_eq!((detached, set.len()), (TaskSet::DETACHED_MAX as usize, 1));
        assert!(set.may_begin(*positions.last().unwrap()));
        set.leave(positions[0]);
        assert!(set.detach(positions.last_mut().unwrap()));
        assert_eq!(set.len(), 0);
    }

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

    #[test]
    fn tasks_that_are_aborted_behind_one_that_does_not_end_leave_nothing() {
        let mut set = TaskSet::default();
        let stuck = set.enter(Simple);
        for _ in 0..100 {
            let (ordered, simple) = (set.enter(Ordered), set.enter(Simple));
            set.leave(ordered);
            set.leave(simple);
        }
        assert_eq!((set.len(), set.older.len()), (1, 1));
        set.leave(stuck);
        assert!(set.older.is_empty());
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
