//! A job file in, what its jobs have done out: one stage after the other, the jobs of a stage at the same time.

use std::time::Duration;

use fio_job::{Job, JobFile, Stage};
use iscsi_runtime::ClientConfig;
use scsi_block::Geometry;

use super::Group;
use crate::bench::{Bench, End, Measured, Runner, Shape};
use crate::failure::Failure;
use crate::process::usable;

/// The disk that the jobs are for.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Where it is.
    pub client: ClientConfig,
    /// The logical unit.
    pub lun: u16,
    /// Its size.
    pub geometry: Geometry,
    /// Bytes in a request that it takes, at most.
    pub request_bytes_max: u64,
    /// Connections of each session.
    pub connections: u16,
    /// Whether it is written once before each job: reads of what was never written cost less.
    pub fill: bool,
    /// Makes order and data.
    pub seed: u64,
}

/// Runs the jobs, those of a stage on one `runner` if there is one, on threads of their own without. `runtime` takes the place of what the file
/// says; `tell` is told of each stage before it runs, and of what is not as it asks for.
///
/// # Errors
/// A job does not fit the disk, or failed.
pub fn run(
    file: &JobFile,
    disk: &Disk,
    runtime: Option<Duration>,
    mut runner: Option<&mut Runner>,
    tell: &dyn Fn(&str),
) -> Result<Vec<Group>, Failure> {
    let all = file.stages.iter().flat_map(|stage| &stage.0);
    all.clone().try_for_each(|job| check(job, disk))?;
    let mut groups = Vec::new();
    for (number, stage) in file.stages.iter().enumerate() {
        let names: Vec<&str> = stage.0.iter().map(|job| job.name.as_str()).collect();
        let longest = stage.0.iter().map(|job| runtime.or(job.runtime)).max().flatten();
        let is_timed = stage.0.iter().all(|job| job.time_based);
        let until = longest.filter(|_| is_timed).map_or("until all is done".into(), |longest| format!("{longest:?}"));
        tell(&format!("stage {} of {}: {}, {until}", number + 1, file.stages.len(), names.join(", ")));
        let loads = loads(stage, disk, runtime);
        let measured = match &mut runner {
            Some(runner) => run_together(stage, &loads, runner, tell)?,
            None => run_on_threads(stage, loads, tell)?,
        };
        groups.extend(stage.0.iter().zip(measured).map(|(job, measured)| Group { job: job.clone(), number, measured }));
    }
    Ok(groups)
}

fn check(job: &Job, disk: &Disk) -> Result<(), Failure> {
    if u64::from(job.block_size) <= disk.request_bytes_max {
        return Ok(());
    }
    let (name, size, most) = (&job.name, job.block_size, disk.request_bytes_max);
    Err(Failure::usage(format!("[{name}]: bs={size}: the disk takes at most {most} bytes at once")))
}

/// The jobs of a stage as loads.
fn loads(Stage(jobs): &Stage, disk: &Disk, runtime: Option<Duration>) -> Vec<Bench> {
    let count = jobs.len() as u64;
    (0..).zip(jobs).map(|(index, job)| bench(job, disk, runtime, (index, count))).collect()
}

/// Runs all sessions on what they share. What its thread has used is divided among them, since nobody else can tell.
fn run_together(
    Stage(jobs): &Stage,
    loads: &[Bench],
    runner: &mut Runner,
    tell: &dyn Fn(&str),
) -> Result<Vec<Measured>, Failure> {
    if jobs.iter().any(|job| job.cpus.is_some()) {
        tell("note: cpus_allowed is left out: all sessions are on one thread");
    }
    let sessions: u32 = jobs.iter().map(|job| job.numjobs).sum();
    let mut measured = Bench::measure_together(loads, runner)?;
    for (measured, job) in measured.iter_mut().zip(jobs) {
        measured.thread_usage = measured.thread_usage.share(job.numjobs, sessions);
    }
    Ok(measured)
}

/// Every job is waited for before the first failure is told.
fn run_on_threads(Stage(jobs): &Stage, loads: Vec<Bench>, tell: &dyn Fn(&str)) -> Result<Vec<Measured>, Failure> {
    let loads: Vec<(Bench, Vec<usize>)> =
        loads.into_iter().zip(jobs).map(|(load, job)| (load, processors(job, tell))).collect();
    let measured: Vec<Result<Measured, Failure>> = std::thread::scope(|scope| {
        // A thread for each process of a job.
        let run = |(load, processors): (Bench, Vec<usize>)| {
            let threads = load.shape.jobs as usize;
            scope.spawn(move || load.measure(&mut Runner::Threads { threads, processors }))
        };
        let threads: Vec<_> = loads.into_iter().map(run).collect();
        let panicked = |_| Err(Failure::local("the thread of a job has panicked"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    let named = |(job, measured): (&Job, Result<_, Failure>)| {
        measured.map_err(|failure| failure.context(format_args!("[{}]", job.name)))
    };
    jobs.iter().zip(measured).map(named).collect()
}

/// A job as a load. Jobs that run together have each a part of the disk of their own, so that what one writes is not what another checks.
fn bench(job: &Job, disk: &Disk, runtime: Option<Duration>, (index, count): (u64, u64)) -> Bench {
    let Geometry { block_size, blocks } = disk.geometry;
    let part = blocks / count;
    // Aligned as requests are.
    let first_lba = (index * part).next_multiple_of((u64::from(job.block_size / block_size)).max(1));
    let part_bytes = ((index + 1) * part).saturating_sub(first_lba) * u64::from(block_size);
    let size = job.bytes.unwrap_or(u64::MAX).min(part_bytes);
    let end = match runtime.or(job.runtime) {
        Some(runtime) if job.time_based => End::After(runtime),
        runtime => End::Moved(size.saturating_mul(job.loops.into()), runtime),
    };
    Bench {
        client: disk.client.clone(),
        name: job.name.clone(),
        lun: disk.lun,
        geometry: disk.geometry,
        first_lba,
        size,
        shape: Shape {
            rw: job.rw,
            block_size: job.block_size,
            iodepth: job.iodepth,
            jobs: job.numjobs,
            connections: disk.connections,
        },
        read_percent: job.read_percent,
        end,
        fill: disk.fill,
        random_map: job.random_map,
        verify: job.verify,
        seed: job.random_seed.unwrap_or(disk.seed).wrapping_add(index),
    }
}

/// The processors that a job asks for, as far as there are any.
fn processors(job: &Job, tell: &dyn Fn(&str)) -> Vec<usize> {
    let wanted = job.cpus.as_deref().unwrap_or_default();
    let processors = usable(wanted);
    if processors.len() < wanted.len() {
        let missing: Vec<String> =
            wanted.iter().filter(|wanted| !processors.contains(wanted)).map(ToString::to_string).collect();
        tell(&format!("note: [{}]: cpus_allowed: this process may not use {}", job.name, missing.join(", ")));
    }
    processors
}
