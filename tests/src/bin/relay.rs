//! A bad network in front of a target: passes connections on and puts faults into them.
//!
//! Prints `ready ADDRESS`, and a line for each fault: cut, flip or stall.

#![forbid(unsafe_code)]

use clap::Parser;
use ferriscsi_tests::relay::{Faults, Gap, Relay};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

/// Passes TCP connections on, and puts faults into them.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// Where to
    to: SocketAddr,
    /// Makes the places of the faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ends each connection after so many bytes one way
    #[arg(long, value_name = "BYTES[-BYTES]")]
    cut: Option<Gap>,
    /// Changes a bit after so many bytes, again and again
    #[arg(long, value_name = "BYTES[-BYTES]")]
    flip: Option<Gap>,
    /// Stops for a while after so many bytes, again and again
    #[arg(long, value_name = "BYTES[-BYTES]")]
    stall: Option<Gap>,
    /// Milliseconds of such a stop
    #[arg(long, default_value_t = 50)]
    stall_time: u64,
    /// Sends at most so many bytes at once
    #[arg(long, value_name = "BYTES")]
    split: Option<u64>,
    /// Changes no bit in so many bytes at the front: a login has no digests
    #[arg(long, value_name = "BYTES", default_value_t = 4096)]
    spare: u64,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let faults = Faults {
        cut: options.cut,
        flip: options.flip,
        stall: options.stall,
        stall_time: Duration::from_millis(options.stall_time),
        split_max: options.split,
        spared_bytes: options.spare,
    };
    let relay = Relay::new(options.to, faults, options.seed)?;
    tell(&format!("ready {}", relay.address()?));
    relay.run(tell)
}

/// A line on stdout; who reads no more does not want to know.
fn tell(line: &str) {
    let mut stdout = io::stdout().lock();
    drop(writeln!(stdout, "{line}").and_then(|()| stdout.flush()));
}
