//! Job files of fio: what they ask of a disk, and results in the words of fio, for people and programs that know it.
//!
//! ```text
//!   text --> sections --> options, those of [global] first --> Stage, Stage, ...  --> a run of each --> Group --> summary or JSON
//! ```
//!
//! Of fio's options those are known that make sense for a disk behind iSCSI; others are faults, or are left out with a note where nothing
//! that is measured depends on them.

mod file;
mod job;
mod json;
mod summary;

pub use file::{FAULTS_MAX, FileError, Section, sections};
pub use job::{FioJob, Stage, stages};
pub use json::json;
pub use summary::summary;

use std::time::Duration;

use crate::bench::Tally;

/// What one job has done.
#[derive(Clone, Debug)]
pub struct Group {
    /// Which it was.
    pub job: FioJob,
    /// The stage that it belonged to, from 0.
    pub number: usize,
    /// Reads that went well.
    pub reads: Tally,
    /// Writes that went well.
    pub writes: Tally,
    /// Time from the first request to the end of the last.
    pub elapsed: Duration,
    /// Processor time of the whole process meanwhile, in user and in system mode.
    pub processor: [Duration; 2],
}

impl Group {
    /// Reads and writes, with the names that fio gives them.
    fn directions(&self) -> [(&'static str, &Tally); 2] {
        [("read", &self.reads), ("write", &self.writes)]
    }

    /// Bytes that requests of a kind have moved.
    fn bytes(&self, tally: &Tally) -> u64 {
        tally.count() * u64::from(self.job.block_size)
    }

    /// Something in each second of the run.
    fn per_second(&self, amount: u64) -> f64 {
        if self.elapsed.is_zero() { 0.0 } else { amount as f64 / self.elapsed.as_secs_f64() }
    }

    /// Processor time in percent of one processor.
    fn processor_percent(&self) -> [f64; 2] {
        self.processor.map(|time| 100.0 * time.as_secs_f64() / self.elapsed.as_secs_f64().max(f64::EPSILON))
    }
}

/// Percentiles that fio tells.
const PERCENTILES: [f64; 17] =
    [1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99];
