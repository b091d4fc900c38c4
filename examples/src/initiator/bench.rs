//! The subcommand `bench`: a command line in, a report out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use iscsi_runtime::url::Url;
use iscsi_runtime::{ClientConfig, Disk, SessionLoop};
use scsi_block::Geometry;

use super::connection::{Connection, Unit, at};
use crate::bench::{Bench as Load, Direction, Report, Runner, Shape};
use crate::failure::Failure;
use crate::parse::{self, hidden};
use crate::show;
use crate::t5::{Model, Port};
use crate::target::own_target;

/// Size of the disk of our own target, unless one is given.
const OWN_DISK_BYTES: u64 = 256 << 20;

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// The disk; without it, one in memory behind a target in this process. A load that writes destroys what is on it
    #[arg(value_name = "URL", value_parser = hidden::<Url>())]
    url: Option<Url>,

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

    /// What connections go through; t5-model, with digests, to a target of its own on the same adapter, and on one thread
    #[arg(long, value_enum, default_value = "kernel", conflicts_with_all = ["url", "threads"])]
    port: Port,

    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse::duration)]
    runtime: Duration,

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
        self.connection.check_sessions(self.jobs as usize)?;
        let report = match (&self.url, self.port) {
            (Some(url), _) => {
                let (geometry, connections) = self.learn(url)?;
                let lun = super::connection::lun(url)?;
                let client = self.connection.config(url)?;
                let load = self.load(client, url.to_string(), lun, geometry, connections, false);
                load.run(&mut self.threads()).map_err(at(url))?
            }
            (None, Port::Kernel) => {
                let (server, url) = own_target(self.own_disk(), self.connection.limits(), None)?;
                let report = self.own_load(&url, "a disk in memory, target in this process")?.run(&mut self.threads());
                drop(server);
                report?
            }
            (None, Port::T5Model) => self.run_on_model()?,
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
        let (model, target, initiator) = Model::start()?;
        let (server, url) = own_target(self.own_disk(), self.connection.limits(), Some(target))?;
        let url =
            format!("{url}?header_digest=crc32c&data_digest=crc32c").parse().expect("options make a URL no other");
        let load = self.own_load(&url, "a disk in memory, target and initiator on one T5 in software")?;
        let mut runner = Runner::Loop(Box::new(SessionLoop::adapter(initiator)?));
        let report = load.run(&mut runner);
        drop((server, runner));
        Ok(Report { adapter: Some(model.counters()), ..report? })
    }

    fn threads(&self) -> Runner {
        Runner::Threads(self.threads.unwrap_or(self.jobs) as usize)
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

    /// The disk's size, and how many connections its target lets a session have, learnt in a session of its own.
    fn learn(&self, url: &Url) -> Result<(Geometry, u16), Failure> {
        let unit = Unit::open(url, &self.connection.without_capture())?;
        let disk = unit.disk().map_err(at(url))?;
        let transfer_bytes_max = disk.transfer_blocks_max().saturating_mul(disk.block_size().into());
        if u64::from(self.block_size) > transfer_bytes_max {
            let message =
                format!("--block-size {}: {url} takes at most {transfer_bytes_max} bytes at once", self.block_size);
            return Err(Failure::usage(message));
        }
        let learnt = (disk.geometry(), unit.client.parameters().max_connections);
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
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        Load {
            client,
            name,
            lun,
            geometry,
            size: self.size.unwrap_or(u64::MAX),
            shape: Shape { rw, block_size, iodepth, jobs, connections },
            read_percent: self.rwmixread,
            runtime: self.runtime,
            fill,
            verify: self.verify,
            seed: self.seed.unwrap_or_else(clock),
        }
    }
}
