//! Runs the simulator over a range of seeds, on all processors, and says how to replay what fails.

#![forbid(unsafe_code)]

use clap::Parser;
use ferriscsi_tests::simulator::{Bug, CONNECTIONS_MAX, Failure, Options, RECOVERY_LEVEL_MAX, Totals, run};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::ops::Range;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// PDUs that `--trace` prints at most.
const TRACE_RUNGS_MAX: usize = 1 << 20;

/// Simulates a target, initiators, links and stores from seeds; each seed is a world of its own.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Seeds to run: the second is not run any more
    #[arg(long, value_name = "A..B", default_value = "0..1000", conflicts_with = "seed")]
    seeds: Seeds,
    /// The one seed to run
    #[arg(long)]
    seed: Option<u64>,
    /// Stop after so many seconds, whatever seeds are left
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Events after which a world that has not ended is called stuck
    #[arg(long, default_value_t = Options::default().steps_max)]
    steps: u64,
    /// Requests that one host makes at most
    #[arg(long, default_value_t = Options::default().requests_max)]
    requests: u32,
    /// ErrorRecoveryLevel of all sessions [default: drawn]
    #[arg(long, value_parser = clap::value_parser!(u8).range(..=i64::from(RECOVERY_LEVEL_MAX)))]
    level: Option<u8>,
    /// Connections of all normal sessions [default: drawn]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=i64::from(CONNECTIONS_MAX)))]
    connections: Option<u16>,
    /// Worlds to run at the same time [default: one a processor]
    #[arg(long)]
    jobs: Option<usize>,
    /// A bug to put in on purpose; `list` names them
    #[arg(long)]
    bug: Option<String>,
    /// Go on after a seed that fails, and print one line about each
    #[arg(long)]
    keep_going: bool,
    /// Print the PDUs of every world
    #[arg(long)]
    trace: bool,
    /// Print the totals as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug)]
struct Seeds(Range<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ends = text.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        match ends {
            Some((first, end)) if first < end => Ok(Self(first..end)),
            _ => Err("two numbers are wanted, the smaller one first, such as 0..1000".into()),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let bug = match arguments.bug.as_deref() {
        None => None,
        Some(name) => match Bug::ALL.iter().find(|bug| format!("{bug:?}") == name) {
            Some(bug) => Some(*bug),
            None => {
                Bug::ALL.iter().for_each(|bug| println!("{bug:?}"));
                return if name == "list" { ExitCode::SUCCESS } else { ExitCode::from(2) };
            }
        },
    };
    let options = Options {
        requests_max: arguments.requests,
        steps_max: arguments.steps,
        rungs_max: if arguments.trace { TRACE_RUNGS_MAX } else { Options::default().rungs_max },
        level: arguments.level,
        connections: arguments.connections,
        bug,
    };
    let seeds = arguments.seed.map_or(arguments.seeds.0.clone(), |seed| seed..seed + 1);
    let began = Instant::now();
    let (totals, failure) = run_all(&arguments, &options, seeds);
    report(&arguments, &totals, began.elapsed());
    match failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            explain(&arguments, &failure);
            ExitCode::FAILURE
        }
    }
}

/// Runs the seeds until the first that fails.
fn run_all(arguments: &Arguments, options: &Options, seeds: Range<u64>) -> (Totals, Option<Failure>) {
    let next = AtomicU64::new(seeds.start);
    let stop = AtomicBool::new(false);
    let deadline = arguments.seconds.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
    let bar = ProgressBar::new(seeds.end - seeds.start);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    let work = || {
        let (mut totals, mut failure) = (Totals::default(), None);
        while !stop.load(Ordering::Relaxed) && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let run = run(seed, options);
            if arguments.trace {
                print!("{}", run.ladder);
            }
            match run.result {
                Ok(done) => totals += done,
                Err(found) => {
                    if arguments.keep_going {
                        bar.suspend(|| println!("seed {seed}: {}", found.text));
                    }
                    stop.store(!arguments.keep_going, Ordering::Relaxed);
                    failure.get_or_insert(*found);
                }
            }
            bar.inc(1);
        }
        (totals, failure)
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let jobs = arguments.jobs.unwrap_or(processors).max(1);
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a panic of a world is caught")).collect()
    });
    bar.finish_and_clear();
    let mut totals = Totals::default();
    let mut failures: Vec<Failure> = Vec::new();
    for (done, failure) in results {
        totals += done;
        failures.extend(failure);
    }
    (totals, failures.into_iter().min_by_key(|failure| failure.seed))
}

fn report(arguments: &Arguments, totals: &Totals, elapsed: Duration) {
    let per_second = totals.commands as f64 / elapsed.as_secs_f64();
    if arguments.json {
        let object = json!({
            "seeds": totals.seeds,
            "steps": totals.steps,
            "commands": totals.commands,
            "pdus": totals.pdus,
            "sessions_by_level": totals.sessions,
            "faults": totals.faults,
            "virtual_seconds": totals.virtual_time.as_secs_f64(),
            "seconds": elapsed.as_secs_f64(),
            "commands_per_second": per_second,
        });
        println!("{object}");
    } else {
        println!(
            "{} seeds ran clean: {} steps, {} commands, {} PDUs, {} faults, {:.0} s of their time\n\
             sessions at error recovery level 0, 1, 2: {:?}\n\
             {:.1} s, {per_second:.0} commands/s",
            totals.seeds,
            totals.steps,
            totals.commands,
            totals.pdus,
            totals.faults,
            totals.virtual_time.as_secs_f64(),
            totals.sessions,
            elapsed.as_secs_f64(),
        );
    }
}

fn explain(arguments: &Arguments, failure: &Failure) {
    if !arguments.trace {
        eprint!("{}", failure.ladder);
    }
    let mut replay =
        format!("cargo run --release -p ferriscsi-tests --bin simulate -- --trace --seed {}", failure.seed);
    let defaults = Options::default();
    if arguments.requests != defaults.requests_max {
        replay += &format!(" --requests {}", arguments.requests);
    }
    if arguments.steps != defaults.steps_max {
        replay += &format!(" --steps {}", arguments.steps);
    }
    if let Some(level) = arguments.level {
        replay += &format!(" --level {level}");
    }
    if let Some(connections) = arguments.connections {
        replay += &format!(" --connections {connections}");
    }
    if let Some(bug) = &arguments.bug {
        replay += &format!(" --bug {bug}");
    }
    eprintln!(
        "seed {}, step {}, {:.6} s: {}\nreplay: {replay}",
        failure.seed,
        failure.totals.steps,
        failure.totals.virtual_time.as_secs_f64(),
        failure.text
    );
}
