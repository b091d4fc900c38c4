//! What becomes of commands that do not end in time (RFC 7143 section 7.11).
//!
//! In: commands as they are given, time, and measures that failed. Out: the next measure, each harder than the one before: ABORT TASK,
//! LOGICAL UNIT RESET, the end of the session.
//!
//! Commands are looked at only when the earliest could be overdue, so that watching one costs nothing but noting when it is due.

use iscsi_pdu::LunField;
use std::time::{Duration, Instant};

/// How long commands may take, and what is done about those that take longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// Time for a command, after which it is aborted. Those that may have more to do than to move their data, such as UNMAP, have
    /// four times as long; those that may take hours, such as FORMAT UNIT, are not watched.
    pub command_timeout: Duration,
    /// Time for a task management function, after which a harder measure is taken. If the owner has asked for the function, that is
    /// the end of the session.
    pub management_timeout: Duration,
}

impl Default for Escalation {
    /// 30 s for a command, 15 s for a function.
    fn default() -> Self {
        Self { command_timeout: Duration::from_secs(30), management_timeout: Duration::from_secs(15) }
    }
}

/// START STOP UNIT, SYNCHRONIZE CACHE (10), WRITE SAME (10), UNMAP, SYNCHRONIZE CACHE (16), WRITE SAME (16).
const LONG_OPCODES: [u8; 6] = [0x1b, 0x35, 0x41, 0x42, 0x91, 0x93];
/// How much longer than others they may take.
const LONG_FACTOR: u32 = 4;
/// FORMAT UNIT, SEND DIAGNOSTIC, SANITIZE, EXTENDED COPY.
const ENDLESS_OPCODES: [u8; 4] = [0x04, 0x1d, 0x48, 0x83];

impl Escalation {
    /// The time for a command with that operation code; none if it may take as long as it likes.
    #[must_use]
    pub fn time_for(&self, opcode: u8) -> Option<Duration> {
        match opcode {
            endless if ENDLESS_OPCODES.contains(&endless) => None,
            long if LONG_OPCODES.contains(&long) => Some(self.command_timeout.saturating_mul(LONG_FACTOR)),
            _ => Some(self.command_timeout),
        }
    }
}

/// Something to be done about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// ABORT TASK for the command with this tag.
    AbortTask(u32, LunField),
    /// LOGICAL UNIT RESET.
    ResetUnit(LunField),
    /// The target does not do what it is told: the session ends.
    EndSession,
}

/// What was done about a command last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Nothing,
    Abort,
    Reset,
}

/// A command that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watch {
    lun: LunField,
    stage: Stage,
    due: Instant,
}

impl Watch {
    /// Whether the command has not ended in time.
    pub(super) fn is_overdue(&self) -> bool {
        self.stage != Stage::Nothing
    }

    fn is_meant_by(&self, tag: u32, measure: Measure) -> bool {
        match measure {
            Measure::AbortTask(other, _) => other == tag && self.stage == Stage::Abort,
            Measure::ResetUnit(lun) => lun == self.lun && self.stage == Stage::Reset,
            Measure::EndSession => false,
        }
    }
}

/// Who watches.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    plan: Option<Escalation>,
    /// No command is due before.
    next: Option<Instant>,
}

impl Watchdog {
    pub(super) fn new(plan: Option<Escalation>) -> Self {
        Self { plan, next: None }
    }

    /// When there may be something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// A command is given; none if it may take as long as it likes. A time that no clock reaches is none.
    pub(super) fn watch(&mut self, now: Instant, lun: LunField, opcode: u8) -> Option<Watch> {
        let due = now.checked_add(self.plan?.time_for(opcode)?)?;
        Some(self.begin(Watch { lun, stage: Stage::Nothing, due }))
    }

    /// The owner asks for a function, beyond which there is only one measure.
    pub(super) fn watch_function(&mut self, now: Instant, lun: LunField) -> Option<Watch> {
        let due = now.checked_add(self.plan?.management_timeout)?;
        Some(self.begin(Watch { lun, stage: Stage::Reset, due }))
    }

    fn begin(&mut self, watch: Watch) -> Watch {
        self.next = Some(self.next.map_or(watch.due, |next| next.min(watch.due)));
        watch
    }

    // RFC 7143 7.11-1
    /// What is to be done now about commands, each with its tag.
    pub(super) fn handle_timeout<'a>(
        &mut self,
        now: Instant,
        watches: impl Iterator<Item = (u32, &'a mut Watch)>,
    ) -> Vec<Measure> {
        let Some(plan) = self.plan.filter(|_| self.next.is_some_and(|next| next <= now)) else { return Vec::new() };
        let mut measures = Vec::new();
        self.next = None;
        for (tag, watch) in watches {
            if watch.due <= now {
                let (stage, measure) = match watch.stage {
                    Stage::Nothing => (Stage::Abort, Measure::AbortTask(tag, watch.lun)),
                    Stage::Abort => (Stage::Reset, Measure::ResetUnit(watch.lun)),
                    Stage::Reset => return vec![Measure::EndSession],
                };
                watch.stage = stage;
                watch.due = now.checked_add(plan.management_timeout).unwrap_or(now);
                if !measures.contains(&measure) {
                    measures.push(measure);
                }
            }
            self.next = Some(self.next.map_or(watch.due, |next| next.min(watch.due)));
        }
        measures
    }

    /// The target has refused a measure, or failed at it: it is time for the next.
    pub(super) fn handle_failure<'a>(
        &mut self,
        now: Instant,
        failed: Measure,
        watches: impl Iterator<Item = (u32, &'a mut Watch)>,
    ) {
        for (_, watch) in watches.filter(|(tag, watch)| watch.is_meant_by(*tag, failed)) {
            watch.due = now;
            self.next = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PLAN: Escalation = Escalation { command_timeout: SECOND, management_timeout: SECOND };
    const UNIT: LunField = LunField([0; 8]);
    const OTHER_UNIT: LunField = LunField([0, 1, 0, 0, 0, 0, 0, 0]);
    const READ: u8 = 0x88;

    /// Commands by tag, and who watches them.
    struct Kennel {
        now: Instant,
        watchdog: Watchdog,
        watches: Vec<(u32, Watch)>,
    }

    impl Kennel {
        fn new() -> Self {
            Self { now: Instant::now(), watchdog: Watchdog::new(Some(PLAN)), watches: Vec::new() }
        }

        fn give(&mut self, tag: u32, lun: LunField) {
            let watch = self.watchdog.watch(self.now, lun, READ).expect("a READ is watched");
            self.watches.push((tag, watch));
        }

        fn end(&mut self, tag: u32) {
            self.watches.retain(|(other, _)| *other != tag);
        }

        /// Lets time pass until something may have to be done, and tells how long that was.
        fn wait(&mut self) -> (Duration, Vec<Measure>) {
            let due = self.watchdog.poll_timeout().expect("a command is watched");
            let waited = due - self.now;
            self.now = due;
            (waited, self.watchdog.handle_timeout(due, self.watches.iter_mut().map(|(tag, watch)| (*tag, watch))))
        }

        fn fail(&mut self, measure: Measure) {
            let watches = self.watches.iter_mut().map(|(tag, watch)| (*tag, watch));
            self.watchdog.handle_failure(self.now, measure, watches);
        }
    }

    // RFC 7143 7.11-1
    #[test]
    fn measures_become_harder() {
        let mut kennel = Kennel::new();
        kennel.give(1, UNIT);
        assert_eq!(kennel.wait(), (SECOND, vec![Measure::AbortTask(1, UNIT)]));
        assert_eq!(kennel.wait(), (SECOND, vec![Measure::ResetUnit(UNIT)]));
        assert_eq!(kennel.wait(), (SECOND, vec![Measure::EndSession]));
    }

    #[test]
    fn a_measure_that_fails_is_followed_by_the_next_at_once() {
        let mut kennel = Kennel::new();
        kennel.give(1, UNIT);
        kennel.give(2, OTHER_UNIT);
        assert_eq!(kennel.wait().1, [Measure::AbortTask(1, UNIT), Measure::AbortTask(2, OTHER_UNIT)]);
        kennel.fail(Measure::AbortTask(1, UNIT));
        assert_eq!(kennel.wait(), (Duration::ZERO, vec![Measure::ResetUnit(UNIT)]));
        kennel.fail(Measure::ResetUnit(UNIT));
        assert_eq!(kennel.wait(), (Duration::ZERO, vec![Measure::EndSession]));
    }

    #[test]
    fn a_unit_is_reset_once_for_all_its_commands() {
        let mut kennel = Kennel::new();
        (0..3).for_each(|tag| kennel.give(tag, UNIT));
        assert_eq!(kennel.wait().1.len(), 3);
        assert_eq!(kennel.wait().1, [Measure::ResetUnit(UNIT)]);
        // A function that has failed for a command which has got further since changes nothing.
        kennel.fail(Measure::AbortTask(1, UNIT));
        (0..3).for_each(|tag| kennel.end(tag));
        assert_eq!(kennel.wait(), (SECOND, vec![]));
        assert_eq!(kennel.watchdog.poll_timeout(), None);
    }

    #[test]
    fn what_ends_in_time_is_left_alone() {
        let mut kennel = Kennel::new();
        kennel.give(1, UNIT);
        kennel.now += SECOND / 2;
        kennel.give(2, UNIT);
        kennel.end(1);
        assert_eq!(kennel.wait(), (SECOND / 2, vec![]));
        assert_eq!(kennel.wait(), (SECOND / 2, vec![Measure::AbortTask(2, UNIT)]));
    }

    #[test]
    fn a_function_that_does_not_end_ends_the_session() {
        let mut kennel = Kennel::new();
        let watch = kennel.watchdog.watch_function(kennel.now, UNIT).expect("a function is watched");
        kennel.watches.push((1, watch));
        assert_eq!(kennel.wait(), (SECOND, vec![Measure::EndSession]));
    }

    #[test]
    fn some_commands_may_take_longer() {
        let (now, mut watchdog) = (Instant::now(), Watchdog::new(Some(PLAN)));
        let mut time = |opcode| watchdog.watch(now, UNIT, opcode).map(|watch| watch.due - now);
        assert_eq!([time(READ), time(0x42), time(0x04)], [Some(SECOND), Some(4 * SECOND), None]);
        assert_eq!(Watchdog::new(None).watch(now, UNIT, READ), None);
        let endless = Escalation { command_timeout: Duration::MAX, ..PLAN };
        assert_eq!(Watchdog::new(Some(endless)).watch(now, UNIT, READ), None);
    }
}
