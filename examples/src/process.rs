//! What a process asks of the system: descriptors, processors and their time, a log.

use std::io::{self, IsTerminal};
use std::ops::{Add, Sub};
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// Raises the number of descriptors that the process may have open to what the system allows it; each connection takes one.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit on open descriptors stays as it is");
    }
}

/// Processor time that the process has used in all its threads, user and system.
#[must_use]
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// What a thread has used of the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadUsage {
    /// Processor time in the program itself, in steps of the system's clock.
    pub user: Duration,
    /// Processor time in the kernel, on its behalf, in the same steps.
    pub system: Duration,
    /// Faults of pages that took no I/O.
    pub minor_faults: u64,
    /// Faults of pages that took I/O.
    pub major_faults: u64,
    /// How often its processor was given to another thread, whether it waited or not.
    pub switches: u64,
}

impl ThreadUsage {
    /// What the calling thread has used; nothing where `/proc` does not tell.
    #[must_use]
    pub fn now() -> Self {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/thread-self/{name}")).unwrap_or_default();
        Self::parse(&read("stat"), &read("status"), clock_ticks_per_second()).unwrap_or_default()
    }

    /// The part of `sessions` among `all` that have a thread together.
    #[must_use]
    pub fn share(self, sessions: u32, all: u32) -> Self {
        let part = |count: u64| count * u64::from(sessions) / u64::from(all.max(1));
        let time = |time: Duration| time * sessions / all.max(1);
        Self {
            user: time(self.user),
            system: time(self.system),
            minor_faults: part(self.minor_faults),
            major_faults: part(self.major_faults),
            switches: part(self.switches),
        }
    }

    /// proc_pid_stat(5): minflt, majflt, utime and stime are fields 10, 12, 14 and 15, counted after the name, which may hold anything.
    /// proc_pid_status(5) has the switches, with names.
    fn parse(stat: &str, status: &str, ticks_per_second: u64) -> Option<Self> {
        let (_, behind_name) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = behind_name.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let time = |field| Some(Duration::from_secs_f64(number(field)? as f64 / ticks_per_second.max(1) as f64));
        let switches = |line: &str| line.split_once("voluntary_ctxt_switches:")?.1.trim().parse::<u64>().ok();
        Some(Self {
            user: time(14)?,
            system: time(15)?,
            minor_faults: number(10)?,
            major_faults: number(12)?,
            switches: status.lines().filter_map(switches).sum(),
        })
    }
}

impl Add for ThreadUsage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            user: self.user + other.user,
            system: self.system + other.system,
            minor_faults: self.minor_faults + other.minor_faults,
            major_faults: self.major_faults + other.major_faults,
            switches: self.switches + other.switches,
        }
    }
}

impl Sub for ThreadUsage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
            minor_faults: self.minor_faults.saturating_sub(before.minor_faults),
            major_faults: self.major_faults.saturating_sub(before.major_faults),
            switches: self.switches.saturating_sub(before.switches),
        }
    }
}

/// Lets the calling thread run on these processors alone, and on any if there are none.
///
/// # Errors
/// The system refuses: this process may use none of them.
pub fn pin_thread(processors: &[usize]) -> io::Result<()> {
    if processors.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    processors.iter().filter(|processor| **processor < CpuSet::MAX_CPU).for_each(|processor| set.set(*processor));
    Ok(sched_setaffinity(None, &set)?)
}

/// Those of `processors` that this process may use.
#[must_use]
pub fn usable(processors: &[usize]) -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    processors.iter().copied().filter(|processor| *processor < CpuSet::MAX_CPU && set.is_set(*processor)).collect()
}

/// Sends the log to stderr, as far as `filter` lets it: a level, or `module=level` with commas between.
///
/// # Errors
/// The filter makes no sense.
pub fn start_log(filter: &str) -> Result<(), Failure> {
    let parsed = EnvFilter::try_new(filter).map_err(|_| {
        Failure::usage(format!(
            "--log {filter}: expected error, warn, info, debug or trace, or a filter such as info,iscsi_runtime=debug"
        ))
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // A log that nobody can read any more is no reason to fail.
        .log_internal_errors(false)
        .init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_runs_while_the_process_does() {
        let before = processor_time();
        let mut sum = 0u64;
        while processor_time() == before {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(processor_time() > before);
    }

    #[test]
    fn what_a_thread_has_used_stands_in_proc() {
        let stat = "7 (a) b) R 1 2 3 4 5 6 7 8 9 10 250 40 0 0 20";
        let status = "Name:\ta) b\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t30\n";
        let usage = ThreadUsage {
            user: Duration::from_millis(2500),
            system: Duration::from_millis(400),
            minor_faults: 7,
            major_faults: 9,
            switches: 42,
        };
        assert_eq!(ThreadUsage::parse(stat, status, 100), Some(usage));
        assert_eq!(ThreadUsage::parse("7 (a) R 1", status, 100), None);
        let before = ThreadUsage::now();
        std::thread::sleep(Duration::from_millis(1));
        assert!((ThreadUsage::now() - before).switches > 0, "it has slept");
    }

    #[test]
    fn a_pinned_thread_may_use_what_it_was_given() {
        let all: Vec<usize> = (0..CpuSet::MAX_CPU + 1).collect();
        let first = usable(&all)[0];
        std::thread::spawn(move || {
            pin_thread(&[first]).unwrap();
            assert_eq!(usable(&all), [first]);
            pin_thread(&[]).unwrap();
            assert_eq!(usable(&all), [first]);
            assert!(pin_thread(&[CpuSet::MAX_CPU - 1]).is_err(), "there is no such processor");
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_wrong_filter_is_told() {
        assert!(start_log("iscsi=loud").unwrap_err().to_string().starts_with("--log iscsi=loud: expected"));
    }
}
