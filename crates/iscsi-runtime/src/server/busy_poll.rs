//! Whether a loop looks again before it sleeps.
//!
//! In: turns, and how much there was to do in them. Out: whether to look at once, or to sleep until something comes.
//!
//! To fall asleep and to be woken takes a processor longer than it takes a busy initiator to send its next commands. So after a
//! turn with several commands a loop goes on looking for a while, and again after what it finds. What comes of that is watched: after a look in vain the
//! next turns sleep at once, the more of them the more often it was in vain, so that it costs little where nothing comes of it: a
//! slow initiator, or one on the same processor.

use std::time::{Duration, Instant};

/// Fewest block I/Os of a turn after which more are likely to come at once: an initiator with several commands outstanding.
const IOS_MIN: usize = 2;

/// Most turns that sleep at once after a look in vain.
const REST_TURNS_MAX: u32 = 256;

#[derive(Debug)]
pub(super) struct BusyPoll {
    /// How long to look before sleeping; zero never does.
    window: Duration,
    /// Until when to look.
    until: Option<Instant>,
    /// Turns that are to sleep at once.
    rest_turns: u32,
    /// The same, after the next look in vain.
    next_rest_turns: u32,
}

impl BusyPoll {
    pub(super) fn new(window: Duration) -> Self {
        Self { window, until: None, rest_turns: 0, next_rest_turns: 1 }
    }

    /// A turn has ended, in which so many block I/Os began.
    pub(super) fn handle_turn(&mut self, now: Instant, ios: usize) {
        if self.window.is_zero() || ios == 0 {
            return;
        }
        if self.until.is_some() {
            // Who is looked for finds turns short: one command is enough to go on.
            (self.until, self.next_rest_turns) = (Some(now + self.window), 1);
        } else if ios >= IOS_MIN {
            match self.rest_turns.checked_sub(1) {
                Some(rest_turns) => self.rest_turns = rest_turns,
                None => self.until = Some(now + self.window),
            }
        }
    }

    /// Whether to look again at once.
    pub(super) fn looks_again(&mut self, now: Instant) -> bool {
        let Some(until) = self.until else { return false };
        if now < until {
            return true;
        }
        self.until = None;
        self.rest_turns = self.next_rest_turns;
        self.next_rest_turns = (self.next_rest_turns * 2).min(REST_TURNS_MAX);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_micros(50);

    /// Turns with much to do that sleep at once before one looks again.
    fn rests(busy_poll: &mut BusyPoll, now: Instant) -> usize {
        (0..)
            .take_while(|_| {
                busy_poll.handle_turn(now, IOS_MIN);
                !busy_poll.looks_again(now)
            })
            .count()
    }

    #[test]
    fn it_looks_for_its_window_after_several_commands_and_not_after_one() {
        let (mut busy_poll, now) = (BusyPoll::new(WINDOW), Instant::now());
        assert!(!busy_poll.looks_again(now));
        busy_poll.handle_turn(now, IOS_MIN - 1);
        assert!(!busy_poll.looks_again(now));
        busy_poll.handle_turn(now, IOS_MIN);
        let later = now + WINDOW / 2;
        assert!(busy_poll.looks_again(later));
        busy_poll.handle_turn(later, 1);
        assert!(busy_poll.looks_again(now + WINDOW), "one command that was found is enough to go on");
        busy_poll.handle_turn(now + WINDOW, 0);
        assert!(!busy_poll.looks_again(later + WINDOW), "what is no command is not");
    }

    #[test]
    fn what_is_in_vain_is_done_ever_less_and_what_is_not_at_once_again() {
        let (mut busy_poll, now) = (BusyPoll::new(WINDOW), Instant::now());
        let mut seen = Vec::new();
        for _ in 0..11 {
            seen.push(rests(&mut busy_poll, now));
            assert!(!busy_poll.looks_again(now + WINDOW), "in vain");
        }
        assert_eq!(seen, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 256]);
        rests(&mut busy_poll, now);
        assert_eq!(rests(&mut busy_poll, now), 0, "the look before was not in vain");
        assert!(!busy_poll.looks_again(now + WINDOW));
        assert_eq!(rests(&mut busy_poll, now), 1);
    }

    #[test]
    fn a_window_of_zero_never_looks() {
        let (mut busy_poll, now) = (BusyPoll::new(Duration::ZERO), Instant::now());
        busy_poll.handle_turn(now, 100);
        assert!(!busy_poll.looks_again(now));
    }
}
