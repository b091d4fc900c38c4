//! What the sections of a job file ask for.

use std::str::FromStr;
use std::time::Duration;

use crate::Direction;
use crate::file::{FILE_BYTES_MAX, FileError, sections};

/// The largest disk that there may be, in bytes.
const DISK_BYTES_MAX: u64 = i64::MAX as u64;

/// Most jobs of a file.
pub const JOBS_MAX: usize = 1000;

/// One section that is a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Name of the section.
    pub name: String,
    /// Which way the data goes.
    pub rw: Direction,
    /// Bytes in a request.
    pub block_size: u32,
    /// Requests under way in each process.
    pub iodepth: u32,
    /// Processes, each a session.
    pub numjobs: u32,
    /// Bytes at the front of the disk that are used; all if nothing is said.
    pub bytes: Option<u64>,
    /// How often each process moves as many bytes as it uses, unless time is what ends it.
    pub loops: u32,
    /// How long it runs, at most unless time is what ends it; as long as it takes if nothing is said.
    pub runtime: Option<Duration>,
    /// How many of a hundred requests read, where both are mixed.
    pub read_percent: u8,
    /// Whether random places come once each before any comes again.
    pub random_map: bool,
    /// What its random places are drawn by, if something is said.
    pub random_seed: Option<u64>,
    /// Processors that its threads may run on; all if nothing is said.
    pub cpus: Option<Vec<usize>>,
    /// Whether data is verified.
    pub verify: bool,
    /// Whether it waits for all jobs before it.
    pub stonewall: bool,
    /// Whether the time is what ends it.
    pub time_based: bool,
    /// Whether its processes are to be reported together.
    pub group_reporting: bool,
    /// Its options as they stand in its section, the last of each.
    pub options: Vec<(String, String)>,
}

/// What a job file asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobFile {
    /// What runs, one stage after the other.
    pub stages: Vec<Stage>,
    /// The options of `[global]` as they stand in the file, the last of each.
    pub global: Vec<(String, String)>,
    /// What is left out, and why.
    pub notes: Vec<String>,
}

/// Jobs that run at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage(pub Vec<Job>);

impl Default for Job {
    fn default() -> Self {
        Self {
            name: String::new(),
            rw: Direction::Read,
            block_size: 4096,
            iodepth: 1,
            numjobs: 1,
            bytes: None,
            loops: 1,
            runtime: None,
            read_percent: 50,
            random_map: true,
            random_seed: None,
            cpus: None,
            verify: false,
            stonewall: false,
            time_based: false,
            group_reporting: false,
            options: Vec::new(),
        }
    }
}

impl JobFile {
    /// Bytes of a disk on which each stage has what it asks for; none if nothing is said.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        self.stages.iter().filter_map(Stage::bytes).max()
    }
}

impl Stage {
    /// Bytes of a disk on which each of its jobs has a part as large as the largest asks for; none if nothing is said.
    fn bytes(&self) -> Option<u64> {
        let Self(jobs) = self;
        Some(jobs.iter().filter_map(|job| job.bytes).max()?.saturating_mul(jobs.len() as u64))
    }
}

impl FromStr for JobFile {
    type Err = FileError;

    fn from_str(text: &str) -> Result<Self, FileError> {
        read(text)
    }
}

/// What is wrong with the file is told line by line.
fn read(text: &str) -> Result<JobFile, FileError> {
    if text.len() > FILE_BYTES_MAX {
        return Err(FileError::of(
            1,
            format!("expected a file of at most {FILE_BYTES_MAX} bytes, found {}", text.len()),
        ));
    }
    let (mut stages, mut notes, mut error) = (Vec::<Stage>::new(), Vec::<String>::new(), FileError::default());
    let mut note = |text: String| {
        if !notes.contains(&text) {
            notes.push(text);
        }
    };
    let (mut common, mut global) = (Job::default(), Vec::new());
    let sections = sections(text)?;
    if let Some(first_too_many) = sections.iter().filter(|section| section.name != "global").nth(JOBS_MAX) {
        return Err(FileError::of(first_too_many.line, format!("expected at most {JOBS_MAX} jobs")));
    }
    for section in sections {
        let is_global = section.name == "global";
        let mut job = Job { name: section.name, ..common.clone() };
        if is_global {
            job.options = std::mem::take(&mut global);
        }
        for setting in &section.settings {
            match job.take(setting) {
                Ok(text) => text.into_iter().for_each(&mut note),
                Err(text) => error.add(setting.line, format!("{}: {text}", setting.name)),
            }
        }
        if is_global {
            global = std::mem::take(&mut job.options);
            common = Job { stonewall: false, ..job };
            continue;
        }
        if job.numjobs > 1 && !job.group_reporting {
            note("the processes of a job are reported together, as with group_reporting".into());
        }
        if job.time_based && job.runtime.is_none() {
            error.add(section.line, format!("[{}]: time_based expects runtime=TIME, here or in [global]", job.name));
        }
        match stages.last_mut() {
            Some(stage) if !job.stonewall => stage.0.push(job),
            _ => stages.push(Stage(vec![job])),
        }
        if stages.last().and_then(Stage::bytes) > Some(DISK_BYTES_MAX) {
            error.add(section.line, "expected jobs that use less than 8 EiB together");
        }
    }
    if stages.is_empty() {
        error.add(1, "expected the [NAME] of a job");
    }
    error.none_or(JobFile { stages, global, notes })
}
