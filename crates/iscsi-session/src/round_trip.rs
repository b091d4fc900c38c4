//! How long the peer takes to answer on a connection, and so how long an answer is waited for (after RFC 6298).
//!
//! In: how long answers took that were asked for once. Out: the time-out.

use std::time::Duration;

/// Time-out before anything was measured.
const INITIAL: Duration = Duration::from_secs(1);
/// Shortest time-out: in this time a TCP connection sends again what it has lost by itself.
const MIN: Duration = Duration::from_millis(200);

/// What was measured on one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RoundTrip(Option<Smoothed>);

#[derive(Clone, Copy, Debug)]
struct Smoothed {
    mean: Duration,
    deviation: Duration,
}

impl RoundTrip {
    /// An answer took so long. One to a question that was asked twice tells nothing, since it may be to either.
    pub(crate) fn measure(&mut self, took: Duration) {
        self.0 = Some(match self.0 {
            None => Smoothed { mean: took, deviation: took / 2 },
            Some(Smoothed { mean, deviation }) => {
                Smoothed { mean: (mean * 7 + took) / 8, deviation: (deviation * 3 + mean.abs_diff(took)) / 4 }
            }
        });
    }

    /// How long an answer is waited for that was asked for `again` times after the first, at most `max`.
    pub(crate) fn timeout(&self, again: u32, max: Duration) -> Duration {
        let first = self.0.map_or(INITIAL, |Smoothed { mean, deviation }| mean.saturating_add(deviation * 4).max(MIN));
        first.saturating_mul(1 << again.min(16)).min(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(5);

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_time_out_follows_what_was_measured_within_bounds() {
        let mut round_trip = RoundTrip::default();
        assert_eq!(round_trip.timeout(0, MAX), INITIAL);
        assert_eq!(round_trip.timeout(0, millis(300)), millis(300));
        round_trip.measure(millis(400));
        assert_eq!(round_trip.timeout(0, MAX), millis(400 + 4 * 200));
        (0..100).for_each(|_| round_trip.measure(millis(400)));
        assert_eq!(round_trip.timeout(0, MAX).as_millis(), 400);
        (0..100).for_each(|_| round_trip.measure(Duration::ZERO));
        assert_eq!(round_trip.timeout(0, MAX), MIN);
        round_trip.measure(Duration::from_secs(1000));
        assert_eq!(round_trip.timeout(0, MAX), MAX);
    }

    #[test]
    fn each_round_waits_twice_as_long() {
        let round_trip = RoundTrip::default();
        let timeouts: Vec<_> = (0..5).map(|again| round_trip.timeout(again, MAX).as_secs()).collect();
        assert_eq!(timeouts, [1, 2, 4, 5, 5]);
        assert_eq!(round_trip.timeout(u32::MAX, MAX), MAX);
        assert_eq!(round_trip.timeout(u32::MAX, Duration::MAX), INITIAL * 65536);
    }
}
