//! Serves disks over iSCSI; see `iscsi-target --help`.

use std::process::ExitCode;

use clap::Parser;
use ferriscsi::failure::exit_code;
use ferriscsi::target;

fn main() -> ExitCode {
    exit_code("iscsi-target", target::run(&target::Arguments::parse()))
}
