//! The subcommand `bench`: a command line in, a report out.

mod own;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use fio_job::{Direction, FILE_BYTES_MAX, JobFile};
use iscsi_runtime::url::Url;
use iscsi_runtime::{ClientConfig, Disk, SessionLoop};
use scsi_block::Geometry;
use t5_hal::driver::initiator::TRANSFER_BYTES_MAX;
use t5_model::FIRMWARE_SESSIONS_MAX as SESSIONS_MAX;

use self::own::Own;
use super::connection::{Connection, at};
use super::unit::Unit;
use crate::bench::{Bench as Load, End, Report, Runner, Shape};
use crate::failure::Failure;
use crate::file;
use crate::fio;
use crate::parse::{self, hidden};
use crate::show;
use crate::t5::{InitiatorForm, Model, Port};

/// Size of the disk of our own target, unless one is given.
const OWN_DISK_BYTES: u64 = 256 << 20;

/// Bytes in a block of it.
const OWN_BLOCK_SIZE: u32 = 512;

/// How long is measured unless it is said.
const RUNTIME: Duration = Duration::from_secs(5);

/// Options that say what a job file says.
const SAID_BY_FILE: [&str; 7] = ["rw", "rwmixread", "block_size", "iodepth", "jobs", "threads", "verify"];

/// Reads a direction, and lists them all where help is given.
fn direction() -> impl TypedValueParser<Value = Direction> {
    let told = Direction::ALL.map(|direction| {
        let what = match direction {
            Direction::Randread => "Reads at random places",
            Direction::Randwrite => "Writes at random places",
            Direction::Randrw => "Reads and writes at random places; --rwmixread says how many of each",
            Direction::Read => "Reads from front to back",
            Direction::Write => "Writes from front to back",
            Direction::Rw => "Reads and writes from front to back; --rwmixread says how many of each",
        };
        PossibleValue::new(direction.name()).help(what)
    });
    PossibleValuesParser::new(told).try_map(|name| name.parse::<Direction>())
}

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// The disk; without it, one in memory behind a target in this process. A load that writes destroys what is on it
    #[arg(value_name = "URL", value_parser = hidden::<Url>())]
    url: Option<Url>,

    /// Runs the jobs of a job file of fio and reports as fio does; with --json in the shape of its JSON. Stages, [global], rw, bs, iodepth,
    /// numjobs, size, loops, runtime, time_based, rwmixread, norandommap, randseed, verify and cpus_allowed are known; options on which nothing depends here, such as
    /// ioengine, are left out with a note on stderr, others are refused
    #[arg(long, value_name = "FILE", conflicts_with_all = SAID_BY_FILE)]
    fio: Option<PathBuf>,

    /// Which way the data goes, and in which order
    #[arg(long, default_value = "randread", value_parser = direction())]
    rw: Direction,

    /// How many of a hundred requests of a mixed load read
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(..=100))]
    rwmixread: u8,

    /// Bytes in a request
    #[arg(long, value_name = "SIZE", default_value = "4k", value_parser = parse::request_size)]
    block_size: u32,

    /// Requests under way at a time, in each job
    #[arg(long, value_name = "NUMBER", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=4096))]
    iodepth: u32,

    /// Sessions, each on a part of the disk of its own
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    jobs: u32,

    /// Threads that the sessions are spread over, with --port kernel [default: one a session]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: Option<u32>,

    /// Who does iSCSI at the initiator's end
    #[arg(long, value_enum, default_value = "pdu")]
    initiator: InitiatorForm,

    /// How long to measure; with --fio each job, whatever the file says, unless it has done all before [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    runtime: Option<Duration>,

    /// Checks data: what is read must be what this run has written. Overwrites the disk, even with --rw read or randread
    #[arg(long)]
    verify: bool,

    /// Uses only so many bytes at the front of the disk
    #[arg(long, value_name = "SIZE", value_parser = parse::size)]
    size: Option<u64>,

    /// Makes order and data the same as in another run
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Reports as one JSON object: iops, mib_s, latency_us and more
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connection: Connection,
}

impl Bench {
    pub(super) fn run(&self) -> Result<(), Failure> {
        if self.threads.is_some() && self.connection.port != Port::Kernel {
            return Err(Failure::usage("--threads is for --port kernel: all else has one thread"));
        }
        if let Some(file) = &self.fio {
            return self.run_job_file(file);
        }
        self.connection.check_sessions(self.jobs as usize)?;
        self.check_form(self.jobs as usize, self.block_size)?;
        let report = match &self.url {
            Some(url) => {
                let Learnt { geometry, connections, request_bytes_max } = self.learn(url)?;
                if u64::from(self.block_size) > request_bytes_max {
                    let size = self.block_size;
                    let message = format!("--block-size {size}: {url} takes at most {request_bytes_max} bytes at once");
                    return Err(Failure::usage(message));
                }
                let lun = super::connection::lun(url)?;
                let client = self.connection.config(url)?;
                let load = self.load(client, url.to_string(), lun, geometry, connections, false);
                let (model, runner) = self.runner()?;
                let report = load.run(&mut runner.unwrap_or_else(|| self.threads())).map_err(at(url))?;
                Report { adapter: model.map(|model| model.counters()), ..report }
            }
            None => {
                let mut own = self.own(self.own_disk())?;
                let load = self.own_load(&own.url, own.name)?;
                let report = load.run(own.runner.get_or_insert_with(|| self.threads()));
                let adapter = own.end();
                Report { adapter, ..report? }
            }
        };
        show::print(&if self.json {
            serde_json::to_string(&report).map_err(|error| Failure::local(error.to_string()))?
        } else {
            report.to_string()
        });
        Ok(())
    }

    fn own(&self, disk: Disk) -> Result<Own, Failure> {
        Own::start(self.connection.port, self.initiator, disk, self.connection.limits())
    }

    /// What runs sessions to a target elsewhere, and the adapter that it is on, if they go through one.
    fn runner(&self) -> Result<(Option<Model>, Option<Runner>), Failure> {
        let Some((model, function)) = self.connection.adapter()? else { return Ok((None, None)) };
        Ok((Some(model), Some(Runner::Loop(Box::new(SessionLoop::adapter(function)?)))))
    }

    /// What the firmware's initiator has not is refused before anything is begun.
    fn check_form(&self, sessions: usize, request_bytes: u32) -> Result<(), Failure> {
        if self.initiator == InitiatorForm::Pdu {
            return Ok(());
        }
        let messages = [
            (self.connection.port != Port::T5Model || self.url.is_some()).then(|| {
                "--initiator firmware: only an adapter has firmware, which reaches a target on the same adapter: add --port t5-model, and no URL".to_owned()
            }),
            (sessions > SESSIONS_MAX).then(|| format!("{sessions} sessions: the firmware has at most {SESSIONS_MAX} sessions")),
            (request_bytes > TRANSFER_BYTES_MAX)
                .then(|| format!("requests of {request_bytes} bytes: the firmware moves at most 1 MiB with a command")),
        ];
        Failure::usages(messages.into_iter().flatten()).map_or(Ok(()), Err)
    }

    /// The jobs of a file of fio, on the disk of the URL or on one of our own that is as large as they want it.
    fn run_job_file(&self, path: &Path) -> Result<(), Failure> {
        let shown = path.display();
        let text = File::open(path).and_then(|opened| file::read_text(opened, FILE_BYTES_MAX));
        let text = text.map_err(|error| Failure::local(format!("{shown}: {error}")))?;
        let jobs: JobFile = text.parse().map_err(|error| Failure::usage(format!("{shown}: {error}")))?;
        let sessions = jobs.stages.iter().map(|stage| stage.0.iter().map(|job| job.numjobs as usize).sum()).max();
        self.connection.check_sessions(sessions.unwrap_or(0))?;
        let longest = jobs.stages.iter().flat_map(|stage| &stage.0).map(|job| job.block_size).max();
        self.check_form(sessions.unwrap_or(0), longest.unwrap_or(0))?;
        jobs.notes.iter().for_each(|note| show::complain(&format!("note: {note}")));
        let groups = match &self.url {
            Some(url) => {
                let disk = fio::Disk { fill: false, ..self.disk(url, self.learn(url)?)? };
                let (_model, mut runner) = self.runner()?;
                fio::run(&jobs, &disk, self.runtime, runner.as_mut(), &show::complain).map_err(at(url))?
            }
            None => {
                let bytes = self.size.or(jobs.bytes()).unwrap_or(OWN_DISK_BYTES);
                let mut own = self.own(Disk::memory(bytes))?;
                let disk = self.disk(&own.url, self.own_learnt(bytes))?;
                let groups = fio::run(&jobs, &disk, self.runtime, own.runner.as_mut(), &show::complain);
                own.end().iter().for_each(|counters| show::complain(&counters.to_string()));
                groups?
            }
        };
        show::print(&if self.json {
            let report = fio::json(&jobs.global, &groups);
            serde_json::to_string_pretty(&report).map_err(|error| Failure::local(error.to_string()))?
        } else {
            fio::summary(&groups)
        });
        Ok(())
    }

    /// What is known of the disk of our own target.
    fn own_learnt(&self, bytes: u64) -> Learnt {
        Learnt {
            geometry: Geometry { block_size: OWN_BLOCK_SIZE, blocks: bytes / u64::from(OWN_BLOCK_SIZE) },
            connections: self.connection.limits().max_connections,
            request_bytes_max: u64::MAX,
        }
    }

    /// The disk of a URL for the jobs of a file, as far as --size lets them use it.
    fn disk(&self, url: &Url, learnt: Learnt) -> Result<fio::Disk, Failure> {
        let Learnt { geometry: Geometry { block_size, blocks }, connections, request_bytes_max } = learnt;
        let blocks = self.size.map_or(blocks, |size| blocks.min(size / u64::from(block_size)));
        Ok(fio::Disk {
            client: self.connection.config(url)?,
            lun: super::connection::lun(url)?,
            geometry: Geometry { block_size, blocks },
            request_bytes_max,
            connections,
            fill: true,
            seed: self.seed.unwrap_or_else(clock),
        })
    }

    fn threads(&self) -> Runner {
        Runner::threads(self.threads.unwrap_or(self.jobs) as usize)
    }

    fn own_size(&self) -> u64 {
        self.size.unwrap_or(OWN_DISK_BYTES)
    }

    fn own_disk(&self) -> Disk {
        Disk::memory(self.own_size())
    }

    /// The load on a target of our own.
    fn own_load(&self, url: &Url, name: &str) -> Result<Load, Failure> {
        let client = self.connection.config(url)?;
        let Learnt { geometry, connections, .. } = self.own_learnt(self.own_size());
        Ok(self.load(client, name.into(), 0, geometry, connections, true))
    }

    /// Asks the target in a session of its own.
    fn learn(&self, url: &Url) -> Result<Learnt, Failure> {
        let unit = Unit::open(url, &self.connection.without_capture())?;
        let disk = unit.disk().map_err(at(url))?;
        let learnt = Learnt {
            geometry: disk.geometry(),
            connections: unit.client.parameters().max_connections,
            request_bytes_max: disk.transfer_blocks_max().saturating_mul(disk.block_size().into()),
        };
        unit.close();
        Ok(learnt)
    }

    fn load(
        &self,
        client: ClientConfig,
        name: String,
        lun: u16,
        geometry: Geometry,
        connections: u16,
        fill: bool,
    ) -> Load {
        let Self { rw, block_size, iodepth, jobs, .. } = *self;
        Load {
            client,
            name,
            lun,
            geometry,
            first_lba: 0,
            size: self.size.unwrap_or(u64::MAX),
            shape: Shape { rw, block_size, iodepth, jobs, connections },
            read_percent: self.rwmixread,
            end: End::After(self.runtime.unwrap_or(RUNTIME)),
            fill,
            random_map: false,
            verify: self.verify,
            seed: self.seed.unwrap_or_else(clock),
        }
    }
}

/// What a target tells of a disk.
struct Learnt {
    geometry: Geometry,
    /// That it lets a session have.
    connections: u16,
    /// Bytes in a request, at most.
    request_bytes_max: u64,
}

/// A seed that is another each time.
fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
