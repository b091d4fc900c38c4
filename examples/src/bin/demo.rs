//! The main job in one command: a target and an initiator, data verified, a table of rates.

use std::process::ExitCode;

use clap::Parser;
use ferriscsi::demo;
use ferriscsi::failure::exit_code;

fn main() -> ExitCode {
    exit_code("demo", demo::run(&demo::Arguments::parse()))
}
