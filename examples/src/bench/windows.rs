//! Requests by when they ended, in windows of half a second: how steady a load was.

use std::time::Duration;

/// How long a window is, as with fio.
pub const WINDOW: Duration = Duration::from_millis(500);

/// How many requests ended in each window since a load began.
#[derive(Clone, Debug, Default)]
pub(super) struct Windows {
    /// The last one is not over.
    counts: Vec<u32>,
    /// When the last one ends.
    end: Duration,
}

impl Windows {
    /// Counts a request that ended so long after the load began; never earlier than one before.
    pub(super) fn record(&mut self, at: Duration) {
        while at >= self.end {
            self.counts.push(0);
            self.end += WINDOW;
        }
        *self.counts.last_mut().expect("a window was pushed") += 1;
    }

    /// Counts what `other` has counted, window by window.
    pub(super) fn add(&mut self, other: &Self) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        self.end = self.end.max(other.end);
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
    }

    /// How the windows that were over after `elapsed` differ.
    pub(super) fn spread(&self, elapsed: Duration) -> Spread {
        let whole = (elapsed.as_millis() / WINDOW.as_millis()) as usize;
        // A window after the last request is one in which nothing ended.
        let windows = self.counts.iter().copied().chain(std::iter::repeat(0)).take(whole);
        let per_second = |count: u32| f64::from(count) / WINDOW.as_secs_f64();
        let mut spread = Spread { samples: whole as u64, ..Spread::default() };
        let (Some(min), Some(max)) = (windows.clone().min(), windows.clone().max()) else { return spread };
        (spread.min, spread.max) = (per_second(min), per_second(max));
        spread.mean = windows.clone().map(per_second).sum::<f64>() / whole as f64;
        if whole > 1 {
            let squares = windows.map(|count| (per_second(count) - spread.mean).powi(2)).sum::<f64>();
            spread.deviation = (squares / (whole - 1) as f64).sqrt();
        }
        spread
    }
}

/// How windows differ, in requests a second; zeros if none was over.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// Of the slowest.
    pub min: f64,
    /// Of the fastest.
    pub max: f64,
    /// Of all.
    pub mean: f64,
    /// Standard deviation of a sample.
    pub deviation: f64,
    /// How many windows.
    pub samples: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(counts: &[u32]) -> Windows {
        let mut windows = Windows::default();
        for (number, count) in (0..).zip(counts) {
            (0..*count).for_each(|_| windows.record(WINDOW * number + Duration::from_millis(499)));
        }
        windows
    }

    #[test]
    fn only_windows_that_are_over_tell() {
        let counted = windows(&[10, 20, 30, 1]);
        let spread = counted.spread(Duration::from_millis(1999));
        assert_eq!(spread, Spread { min: 20.0, max: 60.0, mean: 40.0, deviation: 20.0, samples: 3 });
        assert_eq!(counted.spread(Duration::from_millis(499)), Spread::default());
        let one = counted.spread(Duration::from_millis(500));
        assert_eq!(one, Spread { min: 20.0, max: 20.0, mean: 20.0, deviation: 0.0, samples: 1 });
    }

    #[test]
    fn nothing_in_a_window_is_told_too() {
        let spread = windows(&[0, 5]).spread(Duration::from_secs(2));
        assert_eq!((spread.min, spread.max, spread.mean, spread.samples), (0.0, 10.0, 2.5, 4));
    }

    #[test]
    fn windows_of_several_are_added() {
        let mut all = windows(&[1]);
        all.add(&windows(&[2, 0, 7]));
        all.add(&Windows::default());
        assert_eq!(all.spread(Duration::from_millis(1500)), windows(&[3, 0, 7]).spread(Duration::from_millis(1500)));
        all.record(Duration::from_millis(1499));
        assert_eq!(all.spread(Duration::from_millis(1500)).max, 16.0);
    }
}
