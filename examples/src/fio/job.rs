//! What the sections of a job file ask for.

use std::str::FromStr;
use std::time::Duration;

use super::file::{FileError, Setting, sections};
use crate::bench::Direction;
use crate::parse;

/// Options that nothing depends on which is measured here, and why.
const LEFT_OUT: [(&str, &str); 18] = [
    ("ioengine", "requests go straight into an iSCSI session"),
    ("direct", "no page cache of this machine is in the way"),
    ("buffered", "no page cache of this machine is in the way"),
    ("invalidate", "no page cache of this machine is in the way"),
    ("ioscheduler", "no block layer of this machine is in the way"),
    ("filename", "the disk is that of the URL"),
    ("directory", "the disk is that of the URL"),
    ("thread", "each process of a job is a thread"),
    ("norandommap", "random places may come again"),
    ("randrepeat", "--seed makes a run the same as another"),
    ("random_generator", "there is one"),
    ("refill_buffers", "data is drawn once, or for each block if it is verified"),
    ("exitall", "all jobs of a stage are waited for"),
    ("gtod_reduce", "each request is timed"),
    ("description", "it says nothing to us"),
    ("name", "the section has the name"),
    ("verify_fatal", "the first wrong block ends the run"),
    ("do_verify", "verify=... says it"),
];

/// One section that is a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FioJob {
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
pub struct Stage(pub Vec<FioJob>);

impl Default for FioJob {
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
        let stage = |Stage(jobs): &Stage| Some(jobs.iter().filter_map(|job| job.bytes).max()? * jobs.len() as u64);
        self.stages.iter().filter_map(stage).max()
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
    let (mut stages, mut notes, mut error) = (Vec::<Stage>::new(), Vec::<String>::new(), FileError::default());
    let mut note = |text: String| {
        if !notes.contains(&text) {
            notes.push(text);
        }
    };
    let (mut common, mut global) = (FioJob::default(), Vec::new());
    for section in sections(text)? {
        let is_global = section.name == "global";
        let mut job = FioJob { name: section.name, ..common.clone() };
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
            common = FioJob { stonewall: false, ..job };
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
    }
    if stages.is_empty() {
        error.add(1, "expected the [NAME] of a job");
    }
    error.none_or(JobFile { stages, global, notes })
}

impl FioJob {
    /// Takes an option; may give a note.
    fn take(&mut self, setting: &Setting) -> Result<Option<String>, String> {
        let Setting { name, value, .. } = setting;
        if let Some((_, why)) = LEFT_OUT.iter().find(|(left_out, _)| left_out == name) {
            self.remember(name, value.as_deref());
            return Ok(Some(format!("{name} is left out: {why}")));
        }
        let text = value.as_deref();
        let name = match name.as_str() {
            "readwrite" => "rw",
            "blocksize" => "bs",
            "wait_for_previous" => "stonewall",
            name => name,
        };
        match (name, text) {
            ("stonewall", text) => self.stonewall = flag(text)?,
            ("group_reporting", text) => self.group_reporting = flag(text)?,
            ("time_based", text) => self.time_based = flag(text)?,
            ("rw", Some(text)) => self.rw = direction(text)?,
            ("bs", Some(text)) => self.block_size = block_size(text)?,
            ("iodepth", Some(text)) => self.iodepth = number(text, 1, 4096)?,
            ("numjobs", Some(text)) => self.numjobs = number(text, 1, 256)?,
            // The smaller holds: a process reads no further than its part of the file.
            ("size" | "filesize", Some(text)) => {
                self.bytes = Some(self.bytes.unwrap_or(u64::MAX).min(parse::size(&lower(text))?))
            }
            ("runtime", Some(text)) => self.runtime = Some(parse::duration(text)?),
            ("loops", Some(text)) => self.loops = number(text, 1, 1_000_000)?,
            ("rwmixread", Some(text)) => self.read_percent = number(text, 0, 100)? as u8,
            ("rwmixwrite", Some(text)) => self.read_percent = 100 - number(text, 0, 100)? as u8,
            ("cpus_allowed", Some(text)) => self.cpus = Some(parse::processors(text)?),
            ("verify", Some(text)) => self.verify = !matches!(text, "" | "0" | "null"),
            _ => return Err("expected an option that is known here, with what it takes; see --help".into()),
        }
        self.remember(name, text);
        Ok((name == "verify")
            .then(|| "verify checks each block against our own pattern, whichever way is asked for".into()))
    }

    fn remember(&mut self, name: &str, value: Option<&str>) {
        self.options.retain(|(other, _)| other != name);
        self.options.push((name.into(), value.unwrap_or("1").into()));
    }
}

fn lower(text: &str) -> String {
    text.to_ascii_lowercase().trim_end_matches('b').trim_end_matches('i').into()
}

fn flag(text: Option<&str>) -> Result<bool, String> {
    match text {
        None | Some("1") => Ok(true),
        Some("0") => Ok(false),
        Some(_) => Err("expected 0, 1 or nothing".into()),
    }
}

fn direction(text: &str) -> Result<Direction, String> {
    Ok(match text {
        "randread" => Direction::Randread,
        "randwrite" => Direction::Randwrite,
        "randrw" => Direction::Randrw,
        "read" => Direction::Read,
        "write" => Direction::Write,
        "rw" | "readwrite" => Direction::Rw,
        _ => return Err("expected read, write, rw, randread, randwrite or randrw".into()),
    })
}

fn block_size(text: &str) -> Result<u32, String> {
    parse::request_size(&lower(text))
}

fn number(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("expected a number from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fio::FAULTS_MAX;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// The file of the paper as it is printed.
    const PAPER: &str = include_str!("../../../tests/paper/fio_config_file");

    #[test]
    fn the_job_of_the_paper_is_read() {
        let JobFile { stages, global, notes } = read(PAPER).unwrap();
        let [Stage(jobs)] = &stages[..] else { panic!("{stages:?}") };
        let [job] = &jobs[..] else { panic!("{jobs:?}") };
        assert_eq!((job.name.as_str(), job.rw, job.block_size), ("random_read_4k", Direction::Randread, 4096));
        assert_eq!((job.iodepth, job.numjobs, job.runtime), (64, 32, Some(Duration::from_secs(60))));
        assert_eq!((job.bytes, job.cpus.as_deref()), (Some(1 << 30), Some(&[0, 1][..])));
        let left_out: Vec<&str> = notes.iter().filter_map(|note| note.split(' ').next()).collect();
        assert_eq!(left_out, ["ioengine", "direct", "ioscheduler", "filename"]);
        assert!(job.group_reporting);
        let names: Vec<&str> = job.options.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["rw", "bs", "filename", "stonewall"]);
        assert!(global.contains(&("ioengine".into(), "libaio".into())));
    }

    #[test]
    fn a_job_without_time_is_bounded_by_its_size() {
        let JobFile { stages, .. } = read("[a]\nsize=1m\n[b]\nloops=3\nruntime=5\n").unwrap();
        let [a, b] = &stages[0].0[..] else { panic!("{stages:?}") };
        assert_eq!((a.time_based, a.bytes, a.loops, a.runtime), (false, Some(1 << 20), 1, None));
        assert_eq!((b.time_based, b.bytes, b.loops, b.runtime), (false, None, 3, Some(Duration::from_secs(5))));
    }

    #[test]
    fn a_stonewall_begins_a_stage() {
        let text = "[global]\ntime_based\nruntime=1s\n[a]\n[b]\nrw=randwrite\n[c]\nstonewall\nbs=64KiB\n[d]\nrwmixwrite=70\nrw=rw\n";
        let JobFile { stages, notes, .. } = read(text).unwrap();
        let names: Vec<Vec<&str>> =
            stages.iter().map(|stage| stage.0.iter().map(|job| job.name.as_str()).collect()).collect();
        assert_eq!(names, [["a", "b"], ["c", "d"]]);
        let (c, d) = (&stages[1].0[0], &stages[1].0[1]);
        assert_eq!((c.block_size, c.rw), (65536, Direction::Read));
        assert_eq!((d.block_size, d.rw, d.read_percent), (4096, Direction::Rw, 30));
        assert!(notes.is_empty());
    }

    #[test]
    fn each_fault_says_where_it_is_and_what_was_expected() {
        let cases = [
            ("", "line 1: expected the [NAME] of a job"),
            (
                "rw=read\n[a]\ntime_based\nruntime=1",
                "line 1: expected [global] or the [NAME] of a job before the first option",
            ),
            ("[a\n", "line 1: expected [NAME]"),
            ("[a]\ntime_based\n", "line 1: [a]: time_based expects runtime=TIME, here or in [global]"),
            (
                "[a]\nruntime=x\nloops=0\n",
                "line 2: runtime: expected a time such as 500ms, 5s, 2m or 1h, at most 24h\nline 3: loops: expected a number from 1 to 1000000",
            ),
            (
                "[a]\ntime_based\nruntime=1\nrw=trim\nbs=5\niodepth=0\nnumjobs=x\nsize=all\nrwmixread=101\ncpus_allowed=3-1\nrw\n",
                "line 4: rw: expected read, write, rw, randread, randwrite or randrw\n\
                 line 5: bs: expected a size from 512 to 16M\n\
                 line 6: iodepth: expected a number from 1 to 4096\n\
                 line 7: numjobs: expected a number from 1 to 256\n\
                 line 8: size: expected a size such as 4096, 4k, 64M or 1G\n\
                 line 9: rwmixread: expected a number from 0 to 100\n\
                 line 10: cpus_allowed: expected processors, such as 0,1 or 0-3\n\
                 line 11: rw: expected an option that is known here, with what it takes; see --help",
            ),
            (
                "[a]\ntime_based=yes\nruntime=1\nfsync=1\n",
                "line 2: time_based: expected 0, 1 or nothing\nline 4: fsync: expected an option that is known here, with what it takes; see --help",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text).unwrap_err().to_string(), expected, "{text}");
        }
        let many = read(&"[\n".repeat(1000)).unwrap_err().to_string();
        assert!(many.ends_with("\nand 980 more"), "{many}");
    }

    #[test]
    fn what_is_left_out_is_noted_once() {
        let text =
            "[a]\ntime_based\nruntime=1s\nnumjobs=2\ndirect=1\nverify=crc32c\n[b]\ntime_based\nruntime=1s\ndirect=0\n";
        let notes = [
            "direct is left out: no page cache of this machine is in the way",
            "verify checks each block against our own pattern, whichever way is asked for",
            "the processes of a job are reported together, as with group_reporting",
        ];
        assert_eq!(read(text).unwrap().notes, notes);
    }

    proptest! {
        /// Text of anybody costs a value or an error, and no more faults than are told.
        #[test]
        fn any_text_is_judged(text in "\\PC{0,200}") {
            drop(read(&text));
        }

        #[test]
        fn any_lines_are_judged(lines in vec("(\\[|\\]|global|rw|bs|size|runtime|numjobs|cpus_allowed|time_based|=|-|,|[0-9]{1,20}|k|G|\u{e9}| ){0,6}", 0..60)) {
            if let Err(error) = read(&lines.join("\n")) {
                prop_assert!((1..=FAULTS_MAX + 1).contains(&error.to_string().lines().count()));
            }
        }
    }
}
