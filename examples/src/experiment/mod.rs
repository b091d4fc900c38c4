//! `experiment`: what `cargo run --release` does. The experiment of the paper "High Performance iSCSI for Virtual Machines", with an adapter that is a
//! program: random READ, WRITE and both, in requests of 4 to 64 KiB, as a table and as the paper's figure.
//!
//! ```text
//!   ways x loads --> one measurement after the other --> tables, counters of the adapter, figure1.svg; or JSON
//! ```

pub mod report;
pub mod way;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use fio_job::Direction;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use t5_model::FIRMWARE_SESSIONS_MAX;

use self::report::{Measurement, adapter, faults, load_name, picture, text};
use self::way::{Setting, Way, measure};
use crate::failure::{EXIT_CODES, Failure, Kind};
use crate::parse;
use crate::process::{self, usable};
use crate::show;
use crate::t5::{Counters, POLICY};

/// What is measured, in this order.
const LOADS: [Direction; 3] = [Direction::Randread, Direction::Randwrite, Direction::Randrw];
const SIZES: [u32; 5] = [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10];

const TITLE: &str = "iSCSI IOPS and throughput over I/O size: all in software, target and initiator on one machine";

const HELP: &str = "\
What it does: a target with a disk in memory on PF4 of a Chelsio T5 adapter that is a program, an initiator on PF5, the adapter's embedded switch
between them, the offload policy of the paper loaded, digests for headers and data, every block that is read verified. Once the initiator is this
program, once the adapter's firmware, as in the paper. Then the same over the kernel's TCP, and with nothing between the two, where no digest is made, for comparison. Nothing listens but on loopback; nothing but the figure is kept.

The figures are those of a program on this machine. What an adapter in hardware does they do not say.

Examples:
  cargo run --release                              in a minute or two
  cargo run --release -- --full                    as long as the paper, with as many sessions: an hour
  cargo run --release -- --way t5-model --json     one way alone, for programs
  cargo run --release -- --device /dev/sdX --yes   on a real disk; what is at its front is lost
  cargo run --release -- --cores 0,1               the target's loop on processor 0, the initiator's on 1
";

/// Does the experiment of the paper "High Performance iSCSI for Virtual Machines" in software, and draws its figure
#[derive(Debug, Parser)]
#[command(name = "experiment", version, after_help = format!("{HELP}\n{EXIT_CODES}"), max_term_width = 110)]
pub struct Arguments {
    /// The paper's own length and number of sessions: 60 s for each load, 32 sessions, 1 GiB
    #[arg(long)]
    full: bool,

    /// How long to measure each load [default: 1s, or 60s with --full]
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    runtime: Option<Duration>,

    /// Sessions [default: 4, or 32 with --full]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=256))]
    jobs: Option<u32>,

    /// Requests under way at a time, in each session
    #[arg(long, value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1024))]
    iodepth: u32,

    /// Bytes of the disk that are used [default: 64M, or 1G with --full]
    #[arg(long, value_name = "SIZE", value_parser = parse::size)]
    size: Option<u64>,

    /// What is between target and initiator; may be repeated [default: each of them]
    #[arg(long, value_enum)]
    way: Vec<Way>,

    /// A file or block device in the place of the disk in memory; its first --size bytes are overwritten
    #[arg(long, value_name = "PATH", requires = "yes")]
    device: Option<PathBuf>,

    /// Yes, what is on the --device may be lost
    #[arg(long)]
    yes: bool,

    /// Processors that the target's loop and the initiator's run on, and no others
    #[arg(long, value_name = "TARGET,INITIATOR", value_parser = two_processors)]
    cores: Option<[usize; 2]>,

    /// Where the figure goes
    #[arg(long, value_name = "FILE", default_value = "figure1.svg")]
    figure: PathBuf,

    /// Reports as one JSON object
    #[arg(long)]
    json: bool,

    /// What to tell on stderr
    #[arg(long, value_name = "FILTER", default_value = "error")]
    log: String,
}

fn two_processors(text: &str) -> Result<[usize; 2], String> {
    let both = text.split_once(',').and_then(|(one, two)| Some([one.parse().ok()?, two.parse().ok()?]));
    let both: [usize; 2] = both.ok_or("expected the numbers of two processors, such as 0,1")?;
    if usable(&both).len() == 2 { Ok(both) } else { Err("this process may not use both of these processors".into()) }
}

impl Arguments {
    fn setting(&self) -> Setting {
        let (runtime, jobs, size) = if self.full { (60, 32, 1 << 30) } else { (1, 4, 64 << 20) };
        Setting {
            runtime: self.runtime.unwrap_or(Duration::from_secs(runtime)),
            jobs: self.jobs.unwrap_or(jobs),
            iodepth: self.iodepth,
            size: self.size.unwrap_or(size),
            device: self.device.clone(),
            processors: self.cores,
        }
    }

    fn ways(&self) -> Vec<Way> {
        let all = [Way::T5Model, Way::T5Firmware, Way::Kernel, Way::Loopback];
        all.into_iter().filter(|way| self.way.is_empty() || self.way.contains(way)).collect()
    }

    /// Tells people something; programs get nothing but the end.
    fn tell(&self, text: &str) {
        if !self.json {
            show::print(text);
        }
    }
}

/// Runs the experiment.
///
/// # Errors
/// Data was not what was written, a load could not be measured, or the figure could not be written.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    process::start_log(&arguments.log)?;
    let (setting, ways) = (arguments.setting(), arguments.ways());
    check(&setting, &ways)?;
    arguments.tell(&heading(&setting));
    let progress = progress(ways.len() * LOADS.len() * SIZES.len());
    let (mut measurements, mut counters) = (Vec::new(), None::<Counters>);
    for way in ways {
        for (rw, block_size) in LOADS.into_iter().flat_map(|rw| SIZES.map(|size| (rw, size))) {
            let size = show::size(block_size.into());
            progress.set_message(format!("{}, {}, {size}", way.name(), load_name(rw)));
            let outcome = measure(way, rw, block_size, &setting);
            progress.inc(1);
            let (report, failure) = match outcome {
                Ok((report, counted)) => {
                    counters = counters.into_iter().chain(counted).reduce(Counters::plus);
                    (Some(report), None)
                }
                Err(failure) if failure.kind() == Kind::Difference => return Err(failure.context(way.name())),
                Err(failure) => (None, Some(failure.to_string())),
            };
            measurements.push(Measurement { way: way.name(), rw, block_size, report, failure });
        }
        progress.suspend(|| arguments.tell(&format!("{}\n", text(way, &measurements))));
    }
    progress.finish_and_clear();
    // What was measured is told even if the figure cannot be drawn.
    let drawn = draw(&arguments.figure, &measurements);
    let figure = drawn.is_ok().then(|| arguments.figure.display().to_string());
    if arguments.json {
        show::print(&as_json(&setting, &measurements, counters, figure.as_deref()));
    } else {
        counters.iter().for_each(|counters| show::print(&adapter(counters)));
        figure.iter().for_each(|path| show::print(&format!("figure     {path}")));
    }
    judge(&measurements).and(drawn)
}

/// Refuses what a way cannot do, before an hour has gone into the others.
fn check(setting: &Setting, ways: &[Way]) -> Result<(), Failure> {
    let jobs = setting.jobs;
    if ways.contains(&Way::T5Firmware) && jobs as usize > FIRMWARE_SESSIONS_MAX {
        let message = format!(
            "--jobs {jobs}: the adapter's firmware has at most {FIRMWARE_SESSIONS_MAX} sessions: choose other ways with --way"
        );
        return Err(Failure::usage(message));
    }
    Ok(())
}

fn draw(path: &Path, measurements: &[Measurement]) -> Result<(), Failure> {
    let drawn = picture(TITLE, measurements)?;
    std::fs::write(path, drawn).map_err(|error| Failure::local(format!("--figure {}: {error}", path.display())))
}

/// Tells what went wrong.
fn judge(measurements: &[Measurement]) -> Result<(), Failure> {
    let faults = faults(measurements);
    faults.iter().for_each(|fault| show::complain(fault));
    let missing = measurements.iter().filter(|measurement| measurement.failure.is_some()).count();
    match (missing, faults.is_empty()) {
        (0, true) => Ok(()),
        (0, false) => {
            show::complain(
                "A load over the adapter in software may stop for a while; run it again with --way to see it alone.",
            );
            Ok(())
        }
        _ => Err(Failure::new(Kind::Device, format!("{missing} of {} loads were not measured", measurements.len()))),
    }
}

fn heading(setting: &Setting) -> String {
    let Setting { runtime, jobs, iodepth, size, device, processors } = setting;
    let disk = match device {
        Some(path) => format!("{} of {}", show::size(*size), path.display()),
        None => format!("{} in memory", show::size(*size)),
    };
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let bound = processors.map_or(String::new(), |[target, initiator]| {
        format!(", target's loop on processor {target}, initiator's on {initiator}")
    });
    format!(
        "all of it  is software on {all} processors{bound}: what an adapter in hardware does, these figures do not say\n\
         disk       {disk}, each block that is read is verified; header and data digests CRC32C, but over the loopback port none\n\
         load       {jobs} sessions, {iodepth} requests under way in each, {runtime:?} a load\n\
         policy     {POLICY}\n"
    )
}

fn progress(length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("[{bar:30}] {pos} of {len}, {msg}").expect("the template is right");
    let bar = ProgressBar::new(length as u64).with_style(style.progress_chars("=> "));
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

fn as_json(
    setting: &Setting,
    measurements: &[Measurement],
    counters: Option<Counters>,
    figure: Option<&str>,
) -> String {
    json!({
        "software": true,
        "processors": std::thread::available_parallelism().map_or(1, usize::from),
        "policy": POLICY,
        "runtime_s": setting.runtime.as_secs_f64(),
        "jobs": setting.jobs,
        "iodepth": setting.iodepth,
        "size": setting.size,
        "measurements": measurements,
        "faults": faults(measurements),
        "adapter": counters,
        "placed_percent": counters.map(|counters| counters.placed_percent()),
        "figure": figure,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn full_is_what_the_paper_did() {
        let full = Arguments::try_parse_from(["experiment", "--full"]).unwrap().setting();
        assert_eq!((full.runtime, full.jobs, full.iodepth, full.size), (Duration::from_secs(60), 32, 64, 1 << 30));
        let less = Arguments::try_parse_from(["experiment", "--full", "--runtime", "2s"]).unwrap().setting();
        assert_eq!((less.runtime, less.jobs), (Duration::from_secs(2), 32));
    }

    #[test]
    fn errors_say_what_was_expected() {
        let error = |words: &[&str]| {
            let words = std::iter::once("experiment").chain(words.iter().copied());
            Arguments::try_parse_from(words).unwrap_err().to_string()
        };
        assert!(error(&["--device", "/dev/sdX"]).contains("--yes"));
        assert!(error(&["--cores", "0"]).contains("expected the numbers of two processors, such as 0,1"));
        assert!(error(&["--cores", "0,70000"]).contains("may not use both"));
        assert!(error(&["--way", "air"]).contains("t5-model, t5-firmware, kernel, loopback"));
        let check = |words: &[&str]| {
            let words = std::iter::once("experiment").chain(words.iter().copied());
            let arguments = Arguments::try_parse_from(words).unwrap();
            check(&arguments.setting(), &arguments.ways()).map_err(|failure| failure.to_string())
        };
        assert!(check(&["--jobs", "65"]).unwrap_err().contains("at most 64 sessions: choose other ways with --way"));
        assert_eq!((check(&["--jobs", "64"]), check(&["--jobs", "65", "--way", "kernel"])), (Ok(()), Ok(())));
    }
}
