//! The subcommand `bench`: a command line in, a report out.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use iscsi_runtime::url::Url;
use iscsi_runtime::{AdapterFunction, ClientConfig, Disk, LoopbackFunction, Server, SessionLoop};
use scsi_block::Geometry;
use t5_hal::driver::initiator::TRANSFER_BYTES_MAX;
use t5_model::FIRMWARE_SESSIONS_MAX as SESSIONS_MAX;

use super::connection::{Connection, at};
use super::unit::Unit;
use crate::bench::{Bench as Load, Direction, End, Report, Runner, Shape};
use crate::failure::Failure;
use crate::file;
use crate::fio::{self, JobFile};
use crate::parse::{self, hidden};
use crate::show;
use crate::t5::{InitiatorForm, Model, Port};
use crate::target::{own_target, start_own};

/// Size of the disk of our own target, unless one is given.
const OWN_DISK_BYTES: u64 = 256 << 20;

/// How long is measured unless it is said.
const RUNTIME: Duration = Duration::from_secs(5);

/// Options that say what a job file says.
const SAID_BY_FILE: [&str; 9] =
    ["rw", "rwmixread", "block_size", "iodepth", "jobs", "threads", "port", "initiator", "verify"];

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// The disk; without it, one in memory behind a target in this process. A load that writes destroys what is on it
    #[arg(value_name = "URL", value_parser = hidden::<Url>())]
    url: Option<Url>,

    /// Runs the jobs of a job file of fio and reports as fio does; with --json in the shape of its JSON. Stages, [global], rw, bs, iodepth,
    /// numjobs, size, loops, runtime, time_based, rwmixread, verify and cpus_allowed are known; options on which nothing depends here, such as
    /// ioengine, are left out with a note on stderr, others are refused
    #[arg(long, value_name = "FILE", conflicts_with_all = SAID_BY_FILE)]
    fio: Option<PathBuf>,

    /// Which way the data goes, and in which order
    #[arg(long, value_enum, default_value = "randread")]
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

    /// Threads that the sessions are spread over [default: one a session]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: Option<u32>,

    /// What connections go through; t5-model, with digests, to a target of its own on the same adapter; loopback to one in this process; both on one thread
    #[arg(long, value_enum, default_value = "kernel", conflicts_with_all = ["url", "threads"])]
    port: Port,

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
        if let Some(file) = &self.fio {
            return self.run_job_file(file);
        }
        self.connection.check_sessions(self.jobs as usize)?;
        self.check_form()?;
        let report = match (&self.url, self.port) {
            (Some(url), _) => {
                let Learnt { geometry, connections, request_bytes_max } = self.learn(url)?;
                if u64::from(self.block_size) > request_bytes_max {
                    let size = self.block_size;
                    let message = format!("--block-size {size}: {url} takes at most {request_bytes_max} bytes at once");
                    return Err(Failure::usage(message));
                }
                let lun = super::connection::lun(url)?;
                let client = self.connection.config(url)?;
                let load = self.load(client, url.to_string(), lun, geometry, connections, false);
                load.run(&mut self.threads()).map_err(at(url))?
            }
            (None, Port::Kernel) => {
                let (server, url) = own_target(self.own_disk(), self.connection.limits(), None)?;
                let load = self.own_load(&url, "a disk in memory, target in this process")?;
                let report = load.run(&mut self.threads());
                drop(server);
                report?
            }
            (None, Port::T5Model) => self.run_on_model()?,
            (None, Port::Loopback) => self.run_within()?,
        };
        show::print(&if self.json {
            serde_json::to_string(&report).map_err(|error| Failure::local(error.to_string()))?
        } else {
            report.to_string()
        });
        Ok(())
    }

    /// Both ends on one adapter, which does iSCSI, digests among it.
    fn run_on_model(&self) -> Result<Report, Failure> {
        let (model, server, report) = match self.initiator {
            InitiatorForm::Pdu => {
                let (model, target, initiator) = Model::start()?;
                let (server, load) = self.load_on_model(target, "target and initiator on one T5 in software")?;
                let mut runner = Runner::Loop(Box::new(SessionLoop::adapter(initiator)?));
                (model, server, load.run(&mut runner))
            }
            InitiatorForm::Firmware => {
                let (model, target, initiator) = Model::start_firmware()?;
                let name = "target on a T5 in software, initiator in its firmware";
                let (server, load) = self.load_on_model(target, name)?;
                (model, server, load.run(&mut Runner::Firmware(Box::new(initiator))))
            }
        };
        drop(server);
        Ok(Report { adapter: Some(model.counters()), ..report? })
    }

    /// A target on the function of an adapter, and the load on it.
    fn load_on_model(&self, target: AdapterFunction, name: &str) -> Result<(Server, Load), Failure> {
        let (server, url) = own_target(self.own_disk(), self.connection.limits(), Some(target))?;
        let url =
            format!("{url}?header_digest=crc32c&data_digest=crc32c").parse().expect("options make a URL no other");
        Ok((server, self.own_load(&url, &format!("a disk in memory, {name}"))?))
    }

    /// What the firmware's initiator has not is refused before anything is begun.
    fn check_form(&self) -> Result<(), Failure> {
        if self.initiator == InitiatorForm::Pdu {
            return Ok(());
        }
        let (jobs, bytes) = (self.jobs as usize, self.block_size);
        let messages = [
            (self.port != Port::T5Model)
                .then(|| "--initiator firmware: only an adapter has firmware; add --port t5-model".to_owned()),
            (jobs > SESSIONS_MAX).then(|| format!("--jobs {jobs}: the firmware has at most {SESSIONS_MAX} sessions")),
            (bytes > TRANSFER_BYTES_MAX)
                .then(|| format!("--block-size {bytes}: the firmware moves at most 1 MiB with a command")),
        ];
        Failure::usages(messages.into_iter().flatten()).map_or(Ok(()), Err)
    }

    /// Both ends in this process with nothing between them.
    fn run_within(&self) -> Result<Report, Failure> {
        let (target, initiator) = LoopbackFunction::pair();
        let portal = SocketAddr::from((Ipv4Addr::LOCALHOST, 3260));
        let builder = Server::builder().limits(self.connection.limits()).loopback(target).listen(portal);
        let (server, url) = start_own(builder, self.own_disk())?;
        let load = self.own_load(&url, "a disk in memory, target in this process and nothing between")?;
        let mut runner = Runner::Loop(Box::new(SessionLoop::loopback(initiator)?));
        let report = load.run(&mut runner);
        drop((server, runner));
        report
    }

    /// The jobs of a file of fio, on the disk of the URL or on one of our own that is as large as they want it.
    fn run_job_file(&self, path: &Path) -> Result<(), Failure> {
        let shown = path.display();
        let text = File::open(path).and_then(|opened| file::read_text(opened, fio::FILE_BYTES_MAX));
        let text = text.map_err(|error| Failure::local(format!("{shown}: {error}")))?;
        let jobs: JobFile = text.parse().map_err(|error| Failure::usage(format!("{shown}: {error}")))?;
        let sessions = jobs.stages.iter().map(|stage| stage.0.iter().map(|job| job.numjobs as usize).sum()).max();
        self.connection.check_sessions(sessions.unwrap_or(0))?;
        jobs.notes.iter().for_each(|note| show::complain(&format!("note: {note}")));
        let groups = match &self.url {
            Some(url) => {
                let disk = fio::Disk { fill: false, ..self.disk(url, self.learn(url)?)? };
                fio::run(&jobs, &disk, self.runtime, &show::complain).map_err(at(url))?
            }
            None => {
                let bytes = self.size.or(jobs.bytes()).unwrap_or(OWN_DISK_BYTES);
                let (server, url) = own_target(Disk::memory(bytes), self.connection.limits(), None)?;
                let groups = fio::run(&jobs, &self.disk(&url, self.learn(&url)?)?, self.runtime, &show::complain);
                drop(server);
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
        let geometry = Geometry { block_size: 512, blocks: self.own_size() / 512 };
        let connections = self.connection.limits().max_connections;
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
