//! Asks and tells a running target; see `iscsictl --help`.

use std::process::ExitCode;

use clap::Parser;
use ferriscsi::failure::exit_code;
use ferriscsi::iscsictl;

fn main() -> ExitCode {
    exit_code("iscsictl", iscsictl::run(&iscsictl::Arguments::parse()))
}
