//! `demo`: what `cargo run --release` shows. A target and an initiator in one process talk iSCSI over loopback TCP; data is
//! written, read back and verified, and rates are measured.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use clap::Parser;
use iscsi_runtime::{Client, ClientConfig, Disk, Limits, RemoteDisk};
use scsi_block::Geometry;

use crate::bench::{Bench, Direction, Pattern, Report, Runner, Shape, number, table};
use crate::failure::{Failure, Kind};
use crate::parse;
use crate::process;
use crate::show;
use crate::target::{TARGET_NAME, own_target};

/// Size of the disk.
const DISK_BYTES: u64 = 1 << 30;
/// Bytes at its front that are written and verified.
const VERIFIED_BYTES: u64 = 64 << 20;
/// Bytes that are written and read at once.
const STEP_BYTES: u64 = 1 << 20;
/// Requests under way at a time.
const DEPTH: u32 = 32;

/// What is measured.
const LOADS: [(Direction, u32); 4] = [
    (Direction::Randread, 4 << 10),
    (Direction::Randwrite, 4 << 10),
    (Direction::Read, 64 << 10),
    (Direction::Write, 64 << 10),
];

/// Shows a target and an initiator at work, on this machine alone: nothing listens but on loopback, nothing is kept
#[derive(Debug, Parser)]
#[command(name = "demo", version, max_term_width = 110)]
pub struct Arguments {
    /// How long to measure each load
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse::duration)]
    runtime: Duration,

    /// What to tell on stderr
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    log: String,
}

/// Runs the demonstration.
///
/// # Errors
/// Data was not what was written, or something else went wrong.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    process::start_log(&arguments.log)?;
    let (server, url) = own_target(Disk::memory(DISK_BYTES), Limits::default(), None)?;
    let config = ClientConfig::new(url.address(), TARGET_NAME);
    show::print(&format!("target     a disk of {} in memory at {url}", show::size(DISK_BYTES)));

    let client = Client::connect(config.clone()).wait()?;
    let disk = client.disk(0).wait()?;
    let size = u64::from(disk.block_size()) * disk.blocks();
    show::print(&format!("initiator  logged in, sees {} in blocks of {} bytes", show::size(size), disk.block_size()));
    let took = write_and_verify(&disk)?;
    let milliseconds = took.as_millis();
    show::print(&format!(
        "data       {} written, flushed, read back and found the same, in {milliseconds} ms",
        show::size(VERIFIED_BYTES)
    ));
    let geometry = disk.geometry();
    client.logout().wait()?;

    show::print(&format!("rates      one session, {DEPTH} requests at a time, every load verified:\n"));
    let mut rows = table(&["", "IOPS", "MiB/s", "mean us", "p99 us"]);
    for (rw, block_size) in LOADS {
        let report = measure(&config, geometry, rw, block_size, arguments.runtime)?;
        rows.add_row(row(&report));
    }
    show::print(&format!("{}\n", rows.trim_fmt()));
    server.shutdown(Duration::from_secs(2)).map_err(|error| Failure::local(error.to_string()))?;
    show::print("done       `cargo run --release --bin iscsi-target` serves such a disk to others; --help tells more");
    Ok(())
}

/// Writes a pattern with all requests at a time, and checks what is read back.
fn write_and_verify(disk: &RemoteDisk) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let pattern = Pattern::new(0xfe55_15c5, disk.block_size());
    let step_blocks = STEP_BYTES / u64::from(disk.block_size());
    let places = (0..VERIFIED_BYTES / STEP_BYTES).map(|step| step * step_blocks);

    let mut writes = Vec::new();
    for lba in places.clone() {
        let mut data = BytesMut::zeroed(STEP_BYTES as usize);
        pattern.fill(lba, &mut data);
        writes.push(disk.write(lba, data.freeze()));
    }
    for write in writes {
        write.wait()?;
    }
    disk.flush().wait()?;

    let reads: Vec<_> = places.map(|lba| (lba, disk.read(lba, step_blocks as u32))).collect();
    for (lba, read) in reads {
        let data = read.wait()?;
        pattern.check(lba, [&data[..]]).map_err(|mismatch| Failure::new(Kind::Difference, mismatch.to_string()))?;
    }
    Ok(begun.elapsed())
}

fn measure(
    client: &ClientConfig,
    geometry: Geometry,
    rw: Direction,
    block_size: u32,
    runtime: Duration,
) -> Result<Report, Failure> {
    Bench {
        client: client.clone(),
        name: TARGET_NAME.into(),
        lun: 0,
        geometry,
        size: VERIFIED_BYTES,
        shape: Shape { rw, block_size, iodepth: DEPTH, jobs: 1, connections: 1 },
        read_percent: 50,
        runtime,
        fill: false,
        verify: true,
        seed: 1,
    }
    .run(&mut Runner::Threads(1))
}

fn row(report: &Report) -> [String; 5] {
    let name = match report.shape.rw {
        Direction::Randread => "random reads",
        Direction::Randwrite => "random writes",
        Direction::Randrw => "random reads and writes",
        Direction::Read => "reads in order",
        Direction::Write => "writes in order",
        Direction::Rw => "reads and writes in order",
    };
    let latency = &report.total.latency_us;
    [
        format!("{} of {}", name, show::size(report.shape.block_size.into())),
        number(report.total.iops),
        number(report.total.mib_s),
        number(latency.mean),
        number(latency.p99),
    ]
}
