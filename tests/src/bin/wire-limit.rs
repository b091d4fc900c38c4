//! What the wire allows: a bare echo over loopback that moves the bytes of iSCSI READs or WRITEs and nothing else.
//!
//! One thread serves and one asks, each on a processor of its own, over one TCP connection. Both work in batches as
//! a good target does: one read takes whatever has arrived, one write answers all of it. There is no protocol, no
//! parsing, no store; so no iSCSI target that uses sockets in this way can be faster, and
//! the share of this figure that a target reaches tells what its own work costs.

#![forbid(unsafe_code)]

use std::{
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::json;

/// Bytes of a basic header segment (RFC 7143 section 11.2): what a PDU without data costs.
const HEADER_BYTES: usize = 48;
/// One read takes at most this much, as the load generator of the comparison does.
const RECEIVE_BYTES: usize = 1 << 20;
const DEPTHS: [usize; 3] = [1, 32, 128];

/// Measures a bare echo of the bytes of iSCSI reads and writes over loopback.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Bytes of data that go with one command
    #[arg(long, default_value_t = 4096)]
    block_size: usize,
    /// Measured seconds for each line
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Processor of the serving thread
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    /// Processor of the asking thread
    #[arg(long, default_value_t = 1)]
    client_cpu: usize,
    /// Also write the figures to this file, as one JSON object
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

/// The bytes of one command and of its answer.
#[derive(Clone, Copy, Debug)]
struct Exchange {
    name: &'static str,
    request_bytes: usize,
    response_bytes: usize,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let with_data = HEADER_BYTES + options.block_size;
    let exchanges = [
        Exchange { name: "read", request_bytes: HEADER_BYTES, response_bytes: with_data },
        Exchange { name: "write", request_bytes: with_data, response_bytes: HEADER_BYTES },
    ];
    let mut rows = Vec::new();
    println!("{:8} {:>6} {:>10} {:>10}", "echo", "depth", "IOPS", "MiB/s");
    for exchange in exchanges {
        for depth in DEPTHS {
            let iops = measure(exchange, depth, &options)?;
            let mebibytes = iops * options.block_size as f64 / f64::from(1 << 20);
            println!("{:8} {depth:>6} {iops:>10.0} {mebibytes:>10.1}", exchange.name);
            rows.push(json!({"rw": exchange.name, "iodepth": depth, "iops": iops}));
        }
    }
    if let Some(path) = &options.save {
        let figures = json!({"block_size": options.block_size, "wire_limit": rows});
        fs::write(path, format!("{figures}\n"))?;
    }
    Ok(())
}

/// Exchanges a second with `depth` of them under way.
fn measure(exchange: Exchange, depth: usize, options: &Options) -> io::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    thread::scope(|scope| {
        let serving = scope.spawn(|| serve(server, exchange, options.server_cpu));
        let asking =
            scope.spawn(|| ask(client, exchange, depth, Duration::from_secs_f64(options.seconds), options.client_cpu));
        let iops = asking.join().expect("the asking thread does not panic");
        serving.join().expect("the serving thread does not panic")?;
        iops
    })
}

/// Answers until the other side closes.
fn serve(mut stream: TcpStream, exchange: Exchange, processor: usize) -> io::Result<()> {
    pin(processor);
    let mut received = vec![0; RECEIVE_BYTES];
    let mut answers = Vec::new();
    let mut pending_bytes = 0;
    loop {
        let count = stream.read(&mut received)?;
        if count == 0 {
            return Ok(());
        }
        pending_bytes += count;
        let complete = pending_bytes / exchange.request_bytes;
        pending_bytes %= exchange.request_bytes;
        answers.resize(answers.len().max(complete * exchange.response_bytes), 0x5a);
        stream.write_all(&answers[..complete * exchange.response_bytes])?;
    }
}

/// Keeps `depth` requests under way for `duration`, and returns the answers a second.
fn ask(
    mut stream: TcpStream,
    exchange: Exchange,
    depth: usize,
    duration: Duration,
    processor: usize,
) -> io::Result<f64> {
    pin(processor);
    let requests = vec![0xa5; depth * exchange.request_bytes];
    let mut received = vec![0; RECEIVE_BYTES];
    let mut pending_bytes = 0;
    let mut answered = 0u64;
    stream.write_all(&requests)?;
    let start = Instant::now();
    while start.elapsed() < duration {
        let count = stream.read(&mut received)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        pending_bytes += count;
        let complete = pending_bytes / exchange.response_bytes;
        pending_bytes %= exchange.response_bytes;
        answered += complete as u64;
        stream.write_all(&requests[..complete * exchange.request_bytes])?;
    }
    let iops = answered as f64 / start.elapsed().as_secs_f64();
    stream.shutdown(Shutdown::Write)?;
    while stream.read(&mut received)? > 0 {}
    Ok(iops)
}

/// Binds this thread to a processor; where that is not possible, the figure is merely less steady.
fn pin(processor: usize) {
    let mut set = CpuSet::new();
    if processor < CpuSet::MAX_CPU {
        set.set(processor);
    }
    sched_setaffinity(None, &set).unwrap_or_default();
}
