//! `bench`: load on a disk, measured and, if wished, verified.
//!
//! In: a disk, a load's shape. Out: a [`Report`]. Each job is a session and works on its own part of
//! the disk. With verification, a load that reads is preceded by a sweep that writes what it will read, and a load that
//! writes is followed by a sweep that reads what it has written.

mod course;
mod job;
mod pattern;
mod permutation;
mod report;
mod runner;
mod statistics;
mod windows;
mod written;

pub use course::{Order, Plan, Region};
pub use job::Job;
pub use pattern::{Mismatch, Pattern, Random};
pub use report::{Report, number, table};
pub use runner::Runner;
pub use statistics::{Depths, Latency, Rates, Tally};
pub use windows::{Spread, WINDOW};
pub use written::Written;

use std::fmt;
use std::time::Duration;

use fio_job::Direction;
use iscsi_runtime::ClientConfig;
use scsi_block::Geometry;
use serde::{Serialize, Serializer};

use crate::failure::Failure;
use crate::process::{ThreadUsage, processor_time};
use crate::show;

/// A load's shape.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Shape {
    /// Which way the data goes.
    #[serde(serialize_with = "by_name")]
    pub rw: Direction,
    /// Bytes in a request.
    pub block_size: u32,
    /// Requests under way in each job.
    pub iodepth: u32,
    /// Sessions.
    pub jobs: u32,
    /// Connections of each session.
    pub connections: u16,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, depth {}", self.rw, show::size(self.block_size.into()), self.iodepth)?;
        if self.jobs > 1 {
            write!(f, ", {} jobs", self.jobs)?;
        }
        if self.connections > 1 { write!(f, ", {} connections a session", self.connections) } else { Ok(()) }
    }
}

/// Writes a direction by its name.
pub(crate) fn by_name<S: Serializer>(direction: &Direction, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(direction)
}

/// What a load has done.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Reads that went well.
    pub reads: Tally,
    /// Writes that went well.
    pub writes: Tally,
    /// Time from the first request to the end of the last.
    pub elapsed: Duration,
    /// Processor time of the whole process meanwhile.
    pub process_time: Duration,
    /// What the threads that the sessions were on have used.
    pub thread_usage: ThreadUsage,
    /// How many requests were under way in a session when another was given to it, that one among them.
    pub depths: Depths,
    /// Bytes that were read and found to be what was written; absent if nothing was verified.
    pub verified_bytes: Option<u64>,
}

/// When a load ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After so long.
    After(Duration),
    /// Once each job has moved so many bytes, or after so long if it has not by then.
    Moved(u64, Option<Duration>),
}

/// Memory for the marks of what was written, at most: a bit a piece.
const VERIFIED_PIECES_MAX: u64 = 1 << 31;

/// A load and the disk that it is for.
#[derive(Clone, Debug)]
pub struct Bench {
    /// Where the disk is. The first session of the measured part is captured, if the configuration says so.
    pub client: ClientConfig,
    /// The disk for people, as [`Report`] names it.
    pub name: String,
    /// The logical unit.
    pub lun: u16,
    /// Its size.
    pub geometry: Geometry,
    /// The first block that is used.
    pub first_lba: u64,
    /// Bytes from there on that are used, as far as there are so many.
    pub size: u64,
    /// The load.
    pub shape: Shape,
    /// How many of a hundred requests of a mixed load read.
    pub read_percent: u8,
    /// How much is measured.
    pub end: End,
    /// Whether the disk is written once before: reads of what was never written cost less.
    pub fill: bool,
    /// Whether random places come once each before any comes again.
    pub random_map: bool,
    /// Whether data is verified.
    pub verify: bool,
    /// Makes order and data.
    pub seed: u64,
}

impl Bench {
    /// Runs it.
    ///
    /// # Errors
    /// The shape does not fit the disk, a session or a command failed, or data was not what was written.
    pub fn run(&self, runner: &mut Runner) -> Result<Report, Failure> {
        Ok(Report::new(self.name.clone(), self.shape, &self.measure(runner)?))
    }

    /// Runs it, and gives all that was counted.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn measure(&self, runner: &mut Runner) -> Result<Measured, Failure> {
        let mut measured = Self::measure_together(std::slice::from_ref(self), runner)?;
        Ok(measured.pop().expect("one was measured"))
    }

    /// Runs several loads at the same time, with the sessions of the first's client. What threads and the process have used is told of all together.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn measure_together(loads: &[Self], runner: &mut Runner) -> Result<Vec<Measured>, Failure> {
        let mut jobs = loads.iter().map(Self::jobs).collect::<Result<Vec<_>, _>>()?;
        sweep(loads, runner, &mut jobs, |load| (load.fill || load.verify && !load.writes()).then_some(Plan::Fill))?;
        let before = processor_time();
        let thread_usage = sweep(loads, runner, &mut jobs, |load| Some(load.plan()))?;
        let process_time = processor_time().saturating_sub(before);
        let mut measured: Vec<Measured> =
            jobs.iter().map(|jobs| Measured { process_time, thread_usage, ..Measured::of(jobs) }).collect();
        sweep(loads, runner, &mut jobs, |load| (load.verify && load.writes()).then_some(Plan::ReadBack))?;
        for ((load, jobs), measured) in loads.iter().zip(&jobs).zip(&mut measured) {
            measured.verified_bytes = load.verify.then(|| jobs.iter().map(Job::checked_bytes).sum());
        }
        Ok(measured)
    }

    fn write_percent(&self) -> u8 {
        self.shape.rw.write_percent(self.read_percent)
    }

    fn writes(&self) -> bool {
        self.write_percent() > 0
    }

    fn order(&self) -> Order {
        match self.shape.rw.is_random() {
            true if self.random_map => Order::Shuffled,
            true => Order::Random,
            false => Order::Sequential,
        }
    }

    /// What is measured.
    fn plan(&self) -> Plan {
        let (runtime, pieces) = match self.end {
            End::After(runtime) => (Some(runtime), None),
            End::Moved(bytes, runtime) => (runtime, Some((bytes / u64::from(self.shape.block_size.max(1))).max(1))),
        };
        Plan::Load { runtime, pieces, order: self.order(), write_percent: self.write_percent() }
    }

    /// Gives each job its part of the disk.
    fn jobs(&self) -> Result<Vec<Job>, Failure> {
        let Geometry { block_size, blocks } = self.geometry;
        let Shape { block_size: piece_bytes, iodepth, jobs, .. } = self.shape;
        if piece_bytes == 0 || !piece_bytes.is_multiple_of(block_size) {
            let message =
                format!("--block-size {piece_bytes}: expected a multiple of the disk's blocks of {block_size} bytes");
            return Err(Failure::usage(message));
        }
        let bytes = blocks.saturating_sub(self.first_lba) * u64::from(block_size);
        let pieces = self.size.min(bytes) / u64::from(piece_bytes) / u64::from(jobs);
        if pieces == 0 {
            let message =
                format!("{jobs} jobs with requests of {piece_bytes} bytes do not fit on the disk, or into --size");
            return Err(Failure::usage(message));
        }
        if self.verify && pieces * u64::from(jobs) > VERIFIED_PIECES_MAX {
            let message = "--verify has to remember too much on a disk of this size: use a part of it with --size";
            return Err(Failure::usage(message));
        }
        let piece_blocks = piece_bytes / block_size;
        let region = |job: u32| Region {
            lun: self.lun,
            block_size,
            piece_blocks,
            first_lba: self.first_lba + u64::from(job) * pieces * u64::from(piece_blocks),
            pieces,
        };
        let mut seeds = Random::new(self.seed);
        Ok((0..jobs).map(|job| Job::new(region(job), iodepth, self.verify, seeds.number())).collect())
    }
}

/// Runs the jobs of each load that has a `plan`, and says what their threads have used.
fn sweep(
    loads: &[Bench],
    runner: &mut Runner,
    jobs: &mut [Vec<Job>],
    plan: impl Fn(&Bench) -> Option<Plan>,
) -> Result<ThreadUsage, Failure> {
    let plans: Vec<Option<Plan>> = loads.iter().map(plan).collect();
    let planned = || plans.iter().enumerate().filter_map(|(place, plan)| Some((place, (*plan)?)));
    let counts: Vec<(usize, usize)> = planned().map(|(place, _)| (place, jobs[place].len())).collect();
    let begun: Vec<Job> = planned()
        .flat_map(|(place, plan)| std::mem::take(&mut jobs[place]).into_iter().map(move |job| job.with_plan(plan)))
        .collect();
    let Some(Bench { client, .. }) = loads.first().filter(|_| !begun.is_empty()) else {
        return Ok(ThreadUsage::default());
    };
    let (ended, usage) = runner.run(client, begun)?;
    let mut ended = ended.into_iter();
    for (place, count) in counts {
        jobs[place] = ended.by_ref().take(count).collect();
    }
    Ok(usage)
}

impl Measured {
    fn of(jobs: &[Job]) -> Self {
        let mut measured = Self::default();
        for job in jobs {
            measured.reads.add(&job.reads);
            measured.writes.add(&job.writes);
            measured.depths.add(&job.depths);
            measured.elapsed = measured.elapsed.max(job.elapsed());
        }
        measured
    }
}
