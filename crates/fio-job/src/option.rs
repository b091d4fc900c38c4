//! What an option of a section says.

use crate::file::Setting;
use crate::job::Job;
use crate::value;

/// Options that nothing depends on which is measured here, and why.
const LEFT_OUT: [(&str, &str); 17] = [
    ("ioengine", "requests go straight into an iSCSI session"),
    ("direct", "no page cache of this machine is in the way"),
    ("buffered", "no page cache of this machine is in the way"),
    ("invalidate", "no page cache of this machine is in the way"),
    ("ioscheduler", "no block layer of this machine is in the way"),
    ("filename", "the disk is that of the URL"),
    ("directory", "the disk is that of the URL"),
    ("thread", "each process of a job is a thread"),
    ("randrepeat", "--seed, or randseed, makes a run the same as another"),
    ("random_generator", "there is one"),
    ("refill_buffers", "data is drawn once, or for each block if it is verified"),
    ("exitall", "all jobs of a stage are waited for"),
    ("gtod_reduce", "each request is timed"),
    ("description", "it says nothing to us"),
    ("name", "the section has the name"),
    ("verify_fatal", "the first wrong block ends the run"),
    ("do_verify", "verify=... says it"),
];

/// What is said of an option that is none of those here, or lacks what it takes.
pub(crate) const UNKNOWN: &str = "expected one of rw, bs, iodepth, numjobs, size, loops, runtime, rwmixread, rwmixwrite, randseed, cpus_allowed and \
    verify with what it takes, or of stonewall, time_based, group_reporting and norandommap";

impl Job {
    /// Takes an option; may give a note.
    pub(crate) fn take(&mut self, setting: &Setting) -> Result<Option<String>, String> {
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
            ("rw", Some(text)) => self.rw = text.parse()?,
            ("bs", Some(text)) => self.block_size = block_size(text)?,
            ("iodepth", Some(text)) => self.iodepth = number(text, 1, 4096)?,
            ("numjobs", Some(text)) => self.numjobs = number(text, 1, 256)?,
            // The smaller holds: a process reads no further than its part of the file.
            ("size" | "filesize", Some(text)) => {
                self.bytes = Some(self.bytes.unwrap_or(u64::MAX).min(value::size(&lower(text))?))
            }
            ("runtime", Some(text)) => self.runtime = Some(value::duration(text)?),
            ("loops", Some(text)) => self.loops = number(text, 1, 1_000_000)?,
            ("rwmixread", Some(text)) => self.read_percent = number(text, 0, 100)? as u8,
            ("rwmixwrite", Some(text)) => self.read_percent = 100 - number(text, 0, 100)? as u8,
            ("norandommap", text) => self.random_map = !flag(text)?,
            ("randseed", Some(text)) => {
                self.random_seed = Some(value::number(text).ok_or("expected a number of 64 bits")?)
            }
            ("cpus_allowed", Some(text)) => self.cpus = Some(value::processors(text)?),
            ("verify", Some(text)) => self.verify = !matches!(text, "" | "0" | "null"),
            _ => return Err(UNKNOWN.into()),
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

fn block_size(text: &str) -> Result<u32, String> {
    value::request_size(&lower(text))
}

fn number(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("expected a number from {least} to {most}"))
}
