//! The experiment of the paper in one command: an adapter in software, a table, and the figure.

use std::process::ExitCode;

use clap::Parser;
use ferriscsi::experiment;
use ferriscsi::failure::exit_code;

fn main() -> ExitCode {
    exit_code("experiment", experiment::run(&experiment::Arguments::parse()))
}
