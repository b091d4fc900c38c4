//! Compiles offload policies; see `cop --help`.

use std::process::ExitCode;

use clap::Parser;
use ferriscsi::failure::exit_code;
use ferriscsi::policy;

fn main() -> ExitCode {
    exit_code("cop", policy::run(&policy::Arguments::parse()))
}
