//! Job files of fio are run, and results are told in the words of fio, for people and programs that know it.
//!
//! ```text
//!   JobFile: Stage, Stage, ...  --> run: Group, Group, ... --> summary or JSON
//! ```

mod json;
mod run;
mod summary;

pub use json::json;
pub use run::{Disk, run};
pub use summary::summary;

use std::time::Duration;

use fio_job::Job;

use crate::bench::{Measured, Spread, Tally};

/// What one job has done.
#[derive(Clone, Debug)]
pub struct Group {
    /// Which it was.
    pub job: Job,
    /// The stage that it belonged to, from 0.
    pub number: usize,
    /// What was measured.
    pub measured: Measured,
}

impl Group {
    /// Reads and writes, with the names that fio gives them.
    fn directions(&self) -> [(&'static str, &Tally); 2] {
        [("read", &self.measured.reads), ("write", &self.measured.writes)]
    }

    fn elapsed(&self) -> Duration {
        self.measured.elapsed
    }

    /// Bytes that requests of a kind have moved.
    fn bytes(&self, tally: &Tally) -> u64 {
        tally.count() * u64::from(self.job.block_size)
    }

    /// Something in each second of the run.
    fn per_second(&self, amount: u64) -> f64 {
        if self.elapsed().is_zero() { 0.0 } else { amount as f64 / self.elapsed().as_secs_f64() }
    }

    /// Of what moved in its stage in one of its [directions](Self::directions), its part in percent.
    fn share(&self, direction: usize, all: &[Self]) -> f64 {
        let rate = |group: &Self| group.per_second(group.bytes(group.directions()[direction].1));
        let total: f64 = all.iter().filter(|group| group.number == self.number).map(rate).sum();
        if total > 0.0 { 100.0 * rate(self) / total } else { 0.0 }
    }

    /// How steady requests of a kind were.
    fn spread(&self, tally: &Tally) -> Spread {
        tally.spread(self.elapsed())
    }

    /// Processor time of the job's threads in user and in system mode, in percent of the time that all of its processes ran together: as fio
    /// counts it.
    fn processor_percent(&self) -> [f64; 2] {
        let ran = self.elapsed().as_secs_f64() * f64::from(self.job.numjobs);
        let usage = self.measured.thread_usage;
        [usage.user, usage.system].map(|time| 100.0 * time.as_secs_f64() / ran.max(f64::EPSILON))
    }

    /// The classes of latencies that fio tells apart, from the shortest.
    fn distribution(&self) -> Vec<Class> {
        let mut all = self.measured.reads.clone();
        all.add(&self.measured.writes);
        let percent = |count: u64| 100.0 * count as f64 / all.count().max(1) as f64;
        let (mut classes, mut counted, mut from) = (Vec::new(), 0, 0);
        for bound in BOUNDS {
            let count = all.latencies().count_between(from, bound - 1);
            let (unit, name) = match bound {
                ..1_001 => ("n", bound),
                1_001..1_000_001 => ("u", bound / 1_000),
                _ => ("m", bound / 1_000_000),
            };
            classes.push(Class { unit, name: name.to_string(), percent: percent(count) });
            (counted, from) = (counted + count, bound);
        }
        let longer = percent(all.count().saturating_sub(counted));
        classes.push(Class { unit: "m", name: ">=2000".into(), percent: longer });
        classes
    }

    /// Requests under way when another was begun, in percent of all, by the names of fio.
    fn depths(&self) -> [(String, f64); 7] {
        let name = |least: u32| if least == 64 { ">=64".into() } else { least.to_string() };
        self.measured.depths.shares().map(|(least, share)| (name(least), share))
    }
}

/// Latencies up to a bound, and from the one before.
struct Class {
    /// `n`, `u` or `m`, and seconds.
    unit: &'static str,
    /// The bound in that unit.
    name: String,
    /// Of all requests.
    percent: f64,
}

/// Where the classes of latencies end that fio tells apart, in nanoseconds.
const BOUNDS: [u64; 31] = {
    const STEPS: [u64; 10] = [2, 4, 10, 20, 50, 100, 250, 500, 750, 1000];
    let (mut bounds, mut index) = ([2_000_000_000; 31], 0);
    while index < 30 {
        bounds[index] = STEPS[index % 10] * 1000u64.pow(index as u32 / 10);
        index += 1;
    }
    bounds
};

/// Percentiles that fio tells.
const PERCENTILES: [f64; 17] =
    [1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99];
