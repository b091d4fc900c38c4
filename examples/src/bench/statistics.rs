//! How many requests ended, and how long they took.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::windows::{Spread, Windows};

/// The longest latency that is told apart from longer ones.
const LATENCY_MAX: Duration = Duration::from_secs(120);
const SIGNIFICANT_DIGITS: u8 = 3;

/// Requests of one kind: their latencies, in nanoseconds, and when they ended.
#[derive(Clone, Debug)]
pub struct Tally {
    latencies: Histogram<u64>,
    windows: Windows,
}

impl Default for Tally {
    fn default() -> Self {
        let latencies = Histogram::new_with_max(LATENCY_MAX.as_nanos() as u64, SIGNIFICANT_DIGITS);
        Self { latencies: latencies.expect("the histogram's bounds are in its range"), windows: Windows::default() }
    }
}

impl Tally {
    /// Counts one request that took `latency`, and ended so long after the load began.
    pub fn record(&mut self, latency: Duration, at: Duration) {
        self.latencies.saturating_record(latency.as_nanos() as u64);
        self.windows.record(at);
    }

    /// Counts what `other` has counted.
    pub fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("all tallies have the same bounds");
        self.windows.add(&other.windows);
    }

    /// Requests that were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.latencies.len()
    }

    /// All of them, in nanoseconds.
    #[must_use]
    pub fn latencies(&self) -> &Histogram<u64> {
        &self.latencies
    }

    /// How steady a load was that ran for `elapsed`.
    #[must_use]
    pub fn spread(&self, elapsed: Duration) -> Spread {
        self.windows.spread(elapsed)
    }

    /// What people want to know, if each request moved `bytes` and all took `elapsed`.
    #[must_use]
    pub fn rates(&self, bytes: u32, elapsed: Duration) -> Rates {
        let iops = if elapsed.is_zero() { 0.0 } else { self.count() as f64 / elapsed.as_secs_f64() };
        Rates { iops, mib_s: iops * f64::from(bytes) / f64::from(1 << 20), latency_us: self.latency() }
    }

    fn latency(&self) -> Latency {
        let us = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
        let at = |quantile: f64| us(self.latencies.value_at_quantile(quantile));
        Latency {
            min: us(self.latencies.min()),
            mean: self.latencies.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: us(self.latencies.max()),
        }
    }
}

/// How often so many requests were under way: 1, 2 to 3, 4 to 7 and so on, and 64 or more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depths([u64; 7]);

impl Depths {
    /// Counts a request with which `depth` are under way.
    pub fn record(&mut self, depth: usize) {
        self.0[(depth.max(1).ilog2() as usize).min(6)] += 1;
    }

    /// Counts what `other` has counted.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(count, more)| *count += more);
    }

    /// Each class in percent of all requests, with the least depth that is in it.
    #[must_use]
    pub fn shares(&self) -> [(u32, f64); 7] {
        let all = self.0.iter().sum::<u64>().max(1);
        std::array::from_fn(|class| (1 << class, 100.0 * self.0[class] as f64 / all as f64))
    }
}

/// Requests and bytes a second, and latencies.
#[derive(Clone, Debug, Serialize)]
pub struct Rates {
    /// Requests a second.
    pub iops: f64,
    /// MiB a second.
    pub mib_s: f64,
    /// Time from a request to its end.
    pub latency_us: Latency,
}

/// Latencies in microseconds.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the names are what is usual")]
pub struct Latency {
    pub min: f64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_all_that_was_counted() {
        let (mut fast, mut slow) = (Tally::default(), Tally::default());
        (0..990).for_each(|_| fast.record(Duration::from_micros(100), Duration::ZERO));
        (0..10).for_each(|_| slow.record(Duration::from_millis(5), Duration::ZERO));
        fast.add(&slow);
        let rates = fast.rates(4096, Duration::from_millis(500));
        assert_eq!(rates.iops, 2000.0);
        assert_eq!(rates.mib_s, 7.8125);
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.001;
        assert!(near(rates.latency_us.p99, 100.0) && near(rates.latency_us.p99_9, 5000.0), "{rates:?}");
        assert!(near(rates.latency_us.mean, 149.0) && near(rates.latency_us.min, 100.0), "{rates:?}");
    }

    #[test]
    fn depths_are_counted_by_powers_of_two() {
        let (mut one, mut other) = (Depths::default(), Depths::default());
        [1, 2, 3, 4].iter().for_each(|depth| one.record(*depth));
        [31, 32, 64, 4096].iter().for_each(|depth| other.record(*depth));
        one.add(&other);
        assert_eq!(one.shares().map(|(_, share)| share), [12.5, 25.0, 12.5, 0.0, 12.5, 12.5, 25.0]);
        assert_eq!(one.shares()[6].0, 64);
    }

    #[test]
    fn nothing_counted_is_nothing_told() {
        let rates = Tally::default().rates(4096, Duration::ZERO);
        assert_eq!((rates.iops, rates.latency_us.max), (0.0, 0.0));
    }
}
