//! The numbers that a target keeps: the command window of a session and the statuses of a connection (RFC 7143 sections
//! 4.2.2.1 and 4.2.2.2).
//!
//! In: CmdSN and ExpStatSN as they come. Out: which request is to be delivered next, and the numbers that every PDU carries.
//!
//! Invariants: ExpCmdSN and MaxCmdSN never go back; a request is held at most once and only inside the window, so no more
//! are held than the window is wide; every number of the window that was used is given back exactly once by
//! [`release`](CommandWindow::release), when the answer to its request leaves.

use iscsi_pdu::{CmdSn, StatSn};
use std::collections::VecDeque;

/// Where a CmdSN stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The next one, and nothing is held: it need not be held either.
    Next,
    /// Inside the window and not there yet.
    Ahead,
    /// Outside the window, or there already.
    Outside,
}

#[derive(Debug)]
enum Slot<R> {
    Missing,
    Held(R),
    /// Taken as received without a request.
    Plugged,
}

/// The window [ExpCmdSN, MaxCmdSN] and the requests in it that cannot be delivered yet.
#[derive(Debug)]
pub(super) struct CommandWindow<R> {
    expected: CmdSn,
    max: CmdSn,
    /// The numbers from ExpCmdSN on; empty while requests come in order.
    slots: VecDeque<Slot<R>>,
}

impl<R> CommandWindow<R> {
    pub(super) fn new(expected: CmdSn, max: CmdSn) -> Self {
        Self { expected, max, slots: VecDeque::new() }
    }

    pub(super) fn expected(&self) -> CmdSn {
        self.expected
    }

    pub(super) fn max(&self) -> CmdSn {
        self.max
    }

    // RFC 7143 4.2.2.1-11: outside, or there already.
    /// Where a request with this CmdSN stands.
    pub(super) fn place(&self, cmd_sn: CmdSn) -> Place {
        if cmd_sn == self.expected && self.slots.is_empty() && self.expected != self.max.next() {
            return Place::Next;
        }
        // RFC 7143 4.2.2.1: any value from ExpCmdSN to MaxCmdSN is valid, and no other.
        if cmd_sn.precedes(self.expected) || self.max.precedes(cmd_sn) {
            return Place::Outside;
        }
        match self.slots.get(self.index(cmd_sn)) {
            None | Some(Slot::Missing) => Place::Ahead,
            Some(Slot::Held(_) | Slot::Plugged) => Place::Outside,
        }
    }

    /// The next request was delivered without being held.
    pub(super) fn advance(&mut self) {
        debug_assert!(self.slots.is_empty(), "requests that are held go first");
        self.expected = self.expected.next();
    }

    /// Keeps a request that is [`Ahead`](Place::Ahead), or next but not to be delivered yet.
    pub(super) fn hold(&mut self, cmd_sn: CmdSn, request: R) {
        self.fill(cmd_sn, Slot::Held(request));
    }

    /// Takes a missing number as received (RFC 7143 section 11.6.1). Returns whether it was inside the window and missing.
    pub(super) fn plug(&mut self, cmd_sn: CmdSn) -> bool {
        let missing = self.place(cmd_sn) != Place::Outside;
        if missing {
            self.fill(cmd_sn, Slot::Plugged);
        }
        missing
    }

    /// Takes all missing numbers before `end` as received.
    pub(super) fn plug_until(&mut self, end: CmdSn) {
        let mut cmd_sn = self.expected;
        while cmd_sn.precedes(end) && !self.max.precedes(cmd_sn) {
            self.plug(cmd_sn);
            cmd_sn = cmd_sn.next();
        }
    }

    /// Whether something is held or plugged.
    pub(super) fn holds_any(&self) -> bool {
        !self.slots.is_empty()
    }

    // RFC 7143 4.2.2.1-6, 4.2.2.1-8, 4.2.2.1-12: in order, and not over a gap.
    /// The next request that was held, if its turn has come and its CmdSN comes before `barrier`.
    pub(super) fn next_held(&mut self, barrier: Option<CmdSn>) -> Option<R> {
        loop {
            if barrier.is_some_and(|barrier| !self.expected.precedes(barrier)) {
                return None;
            }
            match self.slots.front()? {
                Slot::Missing => return None,
                Slot::Held(_) | Slot::Plugged => {}
            }
            self.expected = self.expected.next();
            match self.slots.pop_front() {
                Some(Slot::Held(request)) => return Some(request),
                _ => self.release(), // a plugged number has no answer to wait for
            }
        }
    }

    /// The held requests that `ends` picks are gone; their numbers count as received.
    pub(super) fn plug_held(&mut self, mut ends: impl FnMut(&R) -> bool) {
        for slot in &mut self.slots {
            if matches!(slot, Slot::Held(request) if ends(request)) {
                *slot = Slot::Plugged;
            }
        }
    }

    /// The held requests that `ends` picks were never received: their numbers are missing again.
    pub(super) fn forget_held(&mut self, mut ends: impl FnMut(&R) -> bool) {
        for slot in &mut self.slots {
            if matches!(slot, Slot::Held(request) if ends(request)) {
                *slot = Slot::Missing;
            }
        }
        while matches!(self.slots.back(), Some(Slot::Missing)) {
            self.slots.pop_back();
        }
    }

    // RFC 7143 4.2.2.1-10: it only grows.
    /// The answer to a numbered request leaves: one more may come.
    pub(super) fn release(&mut self) {
        self.max = self.max.next();
    }

    fn index(&self, cmd_sn: CmdSn) -> usize {
        self.expected.distance_to(cmd_sn) as usize
    }

    fn fill(&mut self, cmd_sn: CmdSn, slot: Slot<R>) {
        let index = self.index(cmd_sn);
        while self.slots.len() <= index {
            self.slots.push_back(Slot::Missing);
        }
        self.slots[index] = slot;
    }
}

/// The statuses of one connection.
#[derive(Debug)]
pub(super) struct StatusNumbering {
    next: StatSn,
    acknowledged: StatSn,
}

impl StatusNumbering {
    pub(super) fn new(next: StatSn) -> Self {
        Self { next, acknowledged: next }
    }

    /// The number that the next status gets, without using it.
    pub(super) fn next(&self) -> StatSn {
        self.next
    }

    /// Uses a number.
    pub(super) fn take(&mut self) -> StatSn {
        let taken = self.next;
        self.next = taken.next();
        taken
    }

    /// The initiator has received all statuses before `expected`. A number that was never used or was acknowledged
    /// before says nothing.
    pub(super) fn acknowledge(&mut self, expected: StatSn) {
        if self.acknowledged.precedes(expected) && !self.next.precedes(expected) {
            self.acknowledged = expected;
        }
    }

    /// The initiator takes none any more.
    pub(super) fn give_up(&mut self) {
        self.acknowledged = self.next;
    }

    /// Whether the initiator has received every status.
    pub(super) fn all_acknowledged(&self) -> bool {
        self.acknowledged == self.next
    }

    /// The first status that the initiator has not acknowledged.
    pub(super) fn first_unacknowledged(&self) -> StatSn {
        self.acknowledged
    }

    /// How many statuses the initiator has not acknowledged.
    pub(super) fn unacknowledged(&self) -> usize {
        usize::try_from(self.acknowledged.distance_to(self.next)).unwrap_or_default()
    }

    /// Whether the initiator has received this status.
    pub(super) fn has_acknowledged(&self, stat_sn: StatSn) -> bool {
        stat_sn.precedes(self.acknowledged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window(expected: u32, width: u32) -> CommandWindow<u32> {
        CommandWindow::new(CmdSn(expected), CmdSn(expected.wrapping_add(width).wrapping_sub(1)))
    }

    #[test]
    fn a_window_over_the_wrap_takes_its_numbers_and_no_other() {
        let window = window(u32::MAX - 1, 4);
        assert_eq!(window.place(CmdSn(u32::MAX - 2)), Place::Outside);
        assert_eq!(window.place(CmdSn(u32::MAX - 1)), Place::Next);
        assert_eq!(window.place(CmdSn(u32::MAX)), Place::Ahead);
        assert_eq!(window.place(CmdSn(1)), Place::Ahead);
        assert_eq!(window.place(CmdSn(2)), Place::Outside);
    }

    #[test]
    fn a_closed_window_takes_nothing_until_an_answer_leaves() {
        let mut window = window(7, 1);
        window.advance();
        assert_eq!(window.place(CmdSn(8)), Place::Outside);
        window.release();
        assert_eq!(window.place(CmdSn(8)), Place::Next);
    }

    #[test]
    fn held_requests_come_in_order_once_and_stop_at_the_barrier() {
        let mut window = window(u32::MAX, 8);
        window.hold(CmdSn(1), 1);
        window.hold(CmdSn(0), 0);
        assert_eq!(window.place(CmdSn(0)), Place::Outside, "a duplicate");
        assert_eq!(window.next_held(None), None);
        assert!(window.plug(CmdSn(u32::MAX)));
        assert_eq!(window.next_held(Some(CmdSn(1))), Some(0));
        assert_eq!(window.next_held(Some(CmdSn(1))), None);
        assert_eq!(window.next_held(None), Some(1));
        assert_eq!(window.expected(), CmdSn(2));
        assert_eq!(window.max(), CmdSn(7), "the plugged number was given back");
        assert!(!window.holds_any());
    }

    #[test]
    fn what_is_forgotten_is_missing_again() {
        let mut window = window(1, 8);
        window.hold(CmdSn(2), 2);
        window.hold(CmdSn(4), 4);
        window.forget_held(|request| *request == 2);
        assert_eq!((window.place(CmdSn(2)), window.place(CmdSn(4))), (Place::Ahead, Place::Outside));
        window.forget_held(|_| true);
        assert!(!window.holds_any());
        assert_eq!((window.place(CmdSn(1)), window.max()), (Place::Next, CmdSn(8)), "nothing was given back");
    }

    #[test]
    fn an_acknowledgement_of_what_was_not_sent_is_none() {
        let mut statuses = StatusNumbering::new(StatSn(u32::MAX));
        statuses.take();
        statuses.take();
        statuses.acknowledge(StatSn(2));
        assert!(!statuses.all_acknowledged());
        statuses.acknowledge(StatSn(1));
        statuses.acknowledge(StatSn(0));
        assert!(statuses.all_acknowledged());
    }

    proptest! {
        #[test]
        fn any_order_of_arrival_is_delivered_in_order(start: u32, order in Just((0..32u32).collect::<Vec<_>>()).prop_shuffle()) {
            let mut window = window(start, 32);
            let mut delivered = Vec::new();
            for offset in order {
                let cmd_sn = CmdSn(start.wrapping_add(offset));
                match window.place(cmd_sn) {
                    Place::Next => {
                        window.advance();
                        delivered.push(offset);
                    }
                    Place::Ahead => window.hold(cmd_sn, offset),
                    Place::Outside => prop_assert!(false, "every number is inside the window"),
                }
                prop_assert_eq!(window.place(cmd_sn), Place::Outside);
                while let Some(request) = window.next_held(None) {
                    delivered.push(request);
                }
            }
            prop_assert_eq!(delivered, (0..32).collect::<Vec<_>>());
        }
    }
}
