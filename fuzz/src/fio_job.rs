//! A job file of fio.

use fio_job::{FAULTS_MAX, JOBS_MAX, JobFile};

/// Any text has few faults, or asks for jobs that each have a stage, a request's size and something to end them.
pub fn fio_job(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match text.parse::<JobFile>() {
        Ok(file) => {
            assert!(file.bytes() <= Some(i64::MAX as u64));
            let jobs = file.stages.iter().flat_map(|stage| &stage.0);
            assert!(
                (1..=JOBS_MAX).contains(&jobs.clone().count()) && file.stages.iter().all(|stage| !stage.0.is_empty())
            );
            assert!(
                jobs.clone().all(|job| job.block_size >= 512 && job.iodepth > 0 && job.numjobs > 0 && job.loops > 0)
            );
            assert!(jobs.clone().all(|job| job.read_percent <= 100 && (!job.time_based || job.runtime.is_some())));
        }
        Err(error) => assert!((1..=FAULTS_MAX + 1).contains(&error.to_string().lines().count())),
    }
}
