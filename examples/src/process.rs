//! What a process asks of the system: descriptors, processor time, a log.

use std::io::IsTerminal;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
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
    fn a_wrong_filter_is_told() {
        assert!(start_log("iscsi=loud").unwrap_err().to_string().starts_with("--log iscsi=loud: expected"));
    }
}
