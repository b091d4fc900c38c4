//! `iscsi-initiator`: a command line in, and what was asked for out.

mod alua;
mod ask;
mod bench;
pub mod connection;
mod inquiry;
mod logs;
mod medium;
mod modes;
mod opcodes;
mod persist;
mod section;
mod transfer;
pub mod unit;

use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use iscsi_runtime::url::Url;

use self::connection::Connection;
use crate::failure::{EXIT_CODES, Failure};
use crate::parse::{self, hidden};
use crate::process;

const HELP: &str = "\
URLs are those of libiscsi and QEMU:
  iscsi://[user@]host[:port]/target/lun[?header_digest=crc32c|none][&data_digest=crc32c|none][&target_user=user]

A secret stands in a file, its first line, or in the environment, never on the command line:
  --chap alice:/etc/iscsi/alice               logs in as alice
  ISCSI_CHAP_SECRET                           the secret of the user that the URL names
  --mutual-chap disk:/etc/iscsi/disk          and the target must prove to be disk
  ISCSI_MUTUAL_CHAP_SECRET                    the secret of the target_user that the URL names

Examples:
  iscsi-initiator discover iscsi://192.0.2.1
  iscsi-initiator inquiry --json iscsi://192.0.2.1/iqn.2026-01.io.ferriscsi:disk/0
  iscsi-initiator copy --verify debian.img iscsi://192.0.2.1/iqn.2026-01.io.ferriscsi:disk/0
  iscsi-initiator bench --rw randread --iodepth 64
  iscsi-initiator ping --port t5-model --tap t5 --address 192.0.2.4/24 iscsi://192.0.2.1
      through a Chelsio T5 adapter in software, whose cable ends at the TAP device t5: the host that has it
      passes packets on; `ip tuntap add dev t5 mode tap; ip address add 192.0.2.1/24 dev t5; ip link set t5 up`
";

/// Uses disks over iSCSI.
#[derive(Debug, Parser)]
#[command(name = "iscsi-initiator", version, after_help = format!("{HELP}\n{EXIT_CODES}"), max_term_width = 110)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,

    /// What to tell on stderr: error, warn, info, debug or trace, or a filter such as warn,iscsi_runtime=debug
    #[arg(long, global = true, value_name = "FILTER", default_value = "warn")]
    log: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows which targets there are
    Discover(Question),
    /// Shows the logical units of a target
    Luns(Question),
    /// Shows how large a disk is
    Capacity(Question),
    /// Shows who a logical unit says it is: the standard data and all VPD pages
    Inquiry(Question),
    /// Shows which commands and task management functions a logical unit supports
    Opcodes(Question),
    /// Shows the mode pages field by field, or sets fields
    Modes(modes::Modes),
    /// Shows the log pages, or lets their counters begin again
    Logs(logs::Logs),
    /// Measures the time to an answer
    Ping(Ping),
    /// Copies a file or a disk to a file or a disk; holes and zeros stay cheap
    ///
    /// The destination may be larger: what lies behind the copy stays as it is. Where a source ends within a block of the
    /// destination, the rest of that block becomes zeros. With --offload blocks are copied as they are, holes too.
    Copy(transfer::Copy),
    /// Compares a file or a disk with a file or a disk; exit code 1 if they differ
    Compare(transfer::Compare),
    /// Shows which blocks of a thin disk have space of their own
    Lbastatus(medium::Range),
    /// Lets a disk look whether it can read its blocks
    Verify(medium::Range),
    /// Gives the space of blocks back; wants --yes
    Unmap(medium::Destroy),
    /// Fills blocks with one byte, which moves one block only; wants --yes
    Writesame(medium::WriteSame),
    /// Makes everything on a disk unreadable; wants --yes
    Sanitize(medium::Sanitize),
    /// Shows how a disk is reached through each target port group, or changes that
    Alua(alua::Alua),
    /// Shows or changes persistent reservations
    #[command(subcommand)]
    Persist(persist::Persist),
    /// Puts load on a disk and measures it; without URL on one of its own, in the same process
    Bench(bench::Bench),
}

#[derive(Debug, Args)]
struct Question {
    /// What to ask
    #[arg(value_name = "URL", value_parser = hidden::<Url>())]
    url: Url,

    /// Answers in JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
struct Ping {
    /// The target
    #[arg(value_name = "URL", value_parser = hidden::<Url>())]
    url: Url,

    /// How often to ask
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,

    /// Time between two questions
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = parse::duration)]
    interval: Duration,

    #[command(flatten)]
    connection: Connection,
}

/// Does what the command line asks for.
///
/// # Errors
/// What keeps it from being done.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    process::start_log(&arguments.log)?;
    match &arguments.command {
        Command::Discover(Question { url, json, connection }) => ask::targets(url, connection, *json),
        Command::Luns(Question { url, json, connection }) => ask::luns(url, connection, *json),
        Command::Capacity(Question { url, json, connection }) => ask::capacity(url, connection, *json),
        Command::Inquiry(Question { url, json, connection }) => inquiry::run(url, connection, *json),
        Command::Opcodes(Question { url, json, connection }) => opcodes::run(url, connection, *json),
        Command::Modes(modes) => modes::run(modes),
        Command::Logs(logs) => logs::run(logs),
        Command::Ping(ping) => ask::ping(&ping.url, &ping.connection, ping.count, ping.interval),
        Command::Copy(copy) => transfer::copy(copy),
        Command::Compare(compare) => transfer::compare(compare),
        Command::Lbastatus(range) => medium::lba_status(range),
        Command::Verify(range) => medium::verify(range),
        Command::Unmap(destroy) => medium::unmap(destroy),
        Command::Writesame(same) => medium::write_same(same),
        Command::Sanitize(sanitize) => medium::sanitize(sanitize),
        Command::Alua(alua) => alua::run(alua),
        Command::Persist(persist) => persist::run(persist),
        Command::Bench(bench) => bench.run(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn error(words: &[&str]) -> String {
        let error = Arguments::try_parse_from(std::iter::once(&"iscsi-initiator").chain(words)).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn errors_name_what_is_wrong_and_what_was_expected() {
        let wrong: &[(&[&str], &[&str])] = &[
            (&["bogus"], &["bogus"]),
            (&["inquiry"], &["<URL>"]),
            (&["inquiry", "/dev/sda"], &["<URL>: an iSCSI URL begins with iscsi://"]),
            (&["copy", "only-one"], &["<TO>"]),
            (&["copy", "nbd://h/0", "f"], &["<FROM>: an iSCSI URL begins with iscsi://"]),
            (&["bench", "--rw", "sideways"], &["--rw", "randread, randwrite, randrw, read, write"]),
            (&["bench", "--iodepth", "none"], &["--iodepth"]),
            (&["bench", "--block-size", "odd"], &["--block-size", "expected a size such as 4096"]),
            (&["capacity", "--port", "t5", "iscsi://h"], &["--port", "kernel, t5-model, loopback"]),
            (&["capacity", "--tap", "t5", "iscsi://h"], &["--address <IP/PREFIX>"]),
            (&["bench", "--runtime", "0"], &["--runtime", "expected a time"]),
            (&["modes", "iscsi://h/iqn.2026-01.a:b/0", "--set", "WCE"], &["--set", "expected NAME=VALUE"]),
            (&["modes", "iscsi://h/iqn.2026-01.a:b/0", "--set", "NONE=1"], &["--set", "WCE"]),
            (&["ping", "iscsi://h", "--initiator-name", "me"], &["--initiator-name", "expected iqn."]),
            (&["ping", "iscsi://h", "--command-timeout", "soon"], &["--command-timeout", "expected a time"]),
            (&["alua", "--set", "2=fast", "iscsi://h"], &["--set", "expected GROUP=STATE"]),
            (&["persist", "clear", "--key", "zz", "iscsi://h"], &["--key", "expected a key"]),
            (&["persist", "reserve", "--key", "1", "--type", "x", "iscsi://h"], &["--type", "write-exclusive"]),
            (
                &["persist", "register", "--new-key", "1", "--initiator-port", "a,b", "iscsi://h"],
                &["expected an iSCSI name"],
            ),
            (&["ping", "iscsi://h", "--connections", "0"], &["--connections", "1..=64"]),
            (&["ping", "iscsi://h", "--isid", "0xc00000000000"], &["--isid", "reserved"]),
        ];
        for (words, expected) in wrong {
            let error = error(words);
            assert!(expected.iter().all(|text| error.contains(text)), "{words:?}: {error}");
        }
    }

    #[test]
    fn a_secret_in_a_url_is_refused_and_not_repeated() {
        let url = "iscsi://alice%hunter2@h/iqn.2026-01.a:b/0";
        for words in [&["inquiry", url][..], &["copy", "file", url], &["compare", url, "file"], &["bench", url]] {
            let error = error(words);
            assert!(error.contains("in a file or in an environment variable"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn help_teaches() {
        let help = Arguments::command().render_long_help().to_string();
        for words in ["copy", "Examples:", "Exit codes:", "ISCSI_CHAP_SECRET", "iscsi://[user@]host"] {
            assert!(help.contains(words), "{words} is not in {help}");
        }
    }
}
