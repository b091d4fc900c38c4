//! Uses disks over iSCSI; see `iscsi-initiator --help`.

use std::process::ExitCode;

use clap::Parser;
use ferriscsi::failure::exit_code;
use ferriscsi::initiator;

fn main() -> ExitCode {
    exit_code("iscsi-initiator", initiator::run(&initiator::Arguments::parse()))
}
