//! When a client that has lost its session logs in again.
//!
//! In: what was lost or failed, and when. Out: when to log in next, or that it is enough. No clock and no chance of its own.

use super::session::Life;
use iscsi_transport::Random;
use std::time::{Duration, Instant};

/// How a client comes back to a target after it has lost its session.
///
/// The first login comes once Time2Wait (RFC 7143 section 13.15) is over, each further one after a delay that doubles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconnection {
    /// Logins in a row without a session that works, at most.
    pub attempts_max: u32,
    /// Time without a session that works; no login begins after it.
    pub outage_max: Duration,
    /// Times that one command is given again, at most: there are commands that end every session.
    pub repeats_max: u32,
    /// Delay after the first login that fails.
    pub delay_min: Duration,
    /// The longest delay, and how long a session has to last to count as one that works.
    pub delay_max: Duration,
    /// Each delay is shortened by a part of its second half, which is drawn from this: not all clients of a target come back at once.
    /// None waits exactly.
    pub jitter: Option<u64>,
}

impl Default for Reconnection {
    /// Two minutes of logins, 100 ms to 10 s apart; a command is given again sixteen times.
    fn default() -> Self {
        Self {
            attempts_max: u32::MAX,
            outage_max: Duration::from_secs(120),
            repeats_max: 16,
            delay_min: Duration::from_millis(100),
            delay_max: Duration::from_secs(10),
            jitter: None,
        }
    }
}

/// The time without a session that works.
#[derive(Debug)]
pub(super) struct Outage {
    plan: Reconnection,
    /// When it began, and how many logins it has had; none while all is well.
    since: Option<(Instant, u32)>,
    random: Option<Random>,
}

impl Outage {
    pub(super) fn new(plan: Reconnection) -> Self {
        Self { plan, since: None, random: plan.jitter.map(Random::new) }
    }

    /// A session was lost, or (no `life`) a login has failed. Returns when to log in next; none if there was no session yet, or it is
    /// enough. `has_worked` is whether a command has ended in the session.
    pub(super) fn next_login(&mut self, now: Instant, life: Option<Life>, has_worked: bool) -> Option<Instant> {
        let lasted = |life: Life| now.saturating_duration_since(life.since) >= self.plan.delay_max;
        let (since, attempts) = match (self.since, life) {
            (None, None) => return None,
            (Some(outage), life) if !life.is_some_and(|life| has_worked || lasted(life)) => outage,
            _ => (now, 0),
        };
        self.since = Some((since, attempts.saturating_add(1)));
        let delay = self.delay(attempts).max(life.map_or(Duration::ZERO, |life| life.time_2_wait));
        let due = now.checked_add(delay)?;
        let is_enough = attempts >= self.plan.attempts_max || due.duration_since(since) > self.plan.outage_max;
        (!is_enough).then_some(due)
    }

    fn delay(&mut self, attempts: u32) -> Duration {
        let Some(doublings) = attempts.checked_sub(1) else { return Duration::ZERO };
        let longest = self.plan.delay_min.saturating_mul(1 << doublings.min(30)).min(self.plan.delay_max);
        let Some(random) = &mut self.random else { return longest };
        longest - longest.mul_f64(random.below(1 << 20) as f64 / f64::from(1 << 21))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PLAN: Reconnection = Reconnection {
        attempts_max: 6,
        outage_max: Duration::from_secs(60),
        repeats_max: 0,
        delay_min: SECOND,
        delay_max: Duration::from_secs(5),
        jitter: None,
    };

    fn life(since: Instant, time_2_wait: Duration) -> Option<Life> {
        Some(Life { since, time_2_wait })
    }

    /// The waits of an outage in which every login fails at once.
    fn waits(plan: Reconnection, time_2_wait: Duration) -> Vec<Duration> {
        let mut outage = Outage::new(plan);
        let mut now = Instant::now();
        let mut lost = life(now, time_2_wait);
        let mut waits = Vec::new();
        while let Some(due) = outage.next_login(now, lost.take(), false) {
            waits.push(due - now);
            now = due;
        }
        waits
    }

    #[test]
    fn waits_double_up_to_a_bound_and_come_to_an_end() {
        let seconds = |waits: Vec<Duration>| waits.iter().map(Duration::as_secs).collect::<Vec<_>>();
        assert_eq!(seconds(waits(PLAN, Duration::ZERO)), [0, 1, 2, 4, 5, 5]);
        assert_eq!(seconds(waits(Reconnection { outage_max: 7 * SECOND, ..PLAN }, Duration::ZERO)), [0, 1, 2, 4]);
        assert_eq!(seconds(waits(Reconnection { attempts_max: 0, ..PLAN }, Duration::ZERO)), []);
    }

    // RFC 7143 section 13.15
    #[test]
    fn time_2_wait_comes_before_the_first_login() {
        assert_eq!(waits(PLAN, 3 * SECOND)[..3], [3 * SECOND, SECOND, 2 * SECOND]);
    }

    #[test]
    fn a_first_login_that_fails_is_no_outage() {
        assert_eq!(Outage::new(PLAN).next_login(Instant::now(), None, false), None);
    }

    #[test]
    fn only_a_session_that_works_ends_an_outage() {
        let mut outage = Outage::new(PLAN);
        let now = Instant::now();
        let mut lose = |life, has_worked| outage.next_login(now, life, has_worked).map(|due| due - now);
        let short = life(now, Duration::ZERO);
        assert_eq!(lose(short, false), Some(Duration::ZERO));
        assert_eq!(lose(short, false), Some(SECOND), "a target that lets us in and throws us out");
        assert_eq!(lose(None, false), Some(2 * SECOND));
        assert_eq!(lose(short, true), Some(Duration::ZERO), "a command has ended");
        assert_eq!(lose(None, false), Some(SECOND));
        let long = life(now - PLAN.delay_max, Duration::ZERO);
        assert_eq!(lose(long, false), Some(Duration::ZERO), "it was not used, and has lasted");
    }

    #[test]
    fn jitter_is_drawn_from_its_seed() {
        let jittered = |seed| waits(Reconnection { jitter: Some(seed), ..PLAN }, Duration::ZERO);
        assert_eq!(jittered(7), jittered(7));
        assert_ne!(jittered(7), jittered(8));
        for (shortened, exact) in jittered(7).into_iter().zip(waits(PLAN, Duration::ZERO)) {
            assert!(shortened <= exact && shortened >= exact / 2, "{shortened:?} of {exact:?}");
        }
    }
}
