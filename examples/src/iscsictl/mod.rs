//! `iscsictl`: a command line in, a request to a running target, and its answer for people or programs.

use std::path::{Path, PathBuf};

use clap::Parser;
use iscsi_control::{Answer, AskError, Block, Problem, Request, Targets, ask, default_path};

mod command;
mod letters;
mod text;

use command::Command;
use letters::Letters;

use crate::failure::{Failure, Kind};
use crate::show;

const HELP: &str = "\
Letters and names say the same:
  -S [target=NAMES|ALL] [-f FILE]            start     reads the configuration file again
  -s target=NAMES|ALL                        stop      ends sessions, lets nobody log in
  -r [target=NAMES|ALL] [-k initiator=NAME]  sessions
  -c [target=NAMES|ALL] [-k KEY[=VALUE]]     config
  -g                                         globals
  -G KEY=VALUE                               set       until the file is read again
  -F [target=NAMES|ALL] [-k lun=NUMBER]      flush
  -D HANDLE                                  drop      the handle is what -r shows
  -W -f FILE                                 write     secrets too, for its owner alone
NAMES have commas between. -S without targets is for those that run, and for global:. FILE is
read again from then on, but where NAMES are given, which alone are looked for in it.

Examples:
  iscsictl -S target=ALL
      all targets do what the configuration file says, those too that it has not had before
  iscsictl -r target=iqn.2004-05.com.chelsio.target0
      its sessions: who, from where, what was negotiated, how much was read and written
  iscsictl -c -k PortalGroup
      where each target is reached
  iscsictl policy cop.out
      has an offload policy decide on connections from now on, if the target is on an adapter
  iscsictl adapter
      what the adapter has counted: payload placed, digests, frames by interface, port and filter
  iscsictl sessions --json
      for programs

Who may ask: the user whose process the target is, and root. The target reads and writes
files itself, with its rights.

Exit codes:
  0  done
  2  the command line, or a file that it names, asks for what cannot be
  3  no target is running there, or it did not answer
  5  the target cannot do that as it is
  6  a file, or the system";

/// Asks and tells a running iscsi-target.
#[derive(Debug, Parser)]
#[command(
    name = "iscsictl",
    version,
    after_help = HELP,
    max_term_width = 110,
    disable_version_flag = true,
    arg_required_else_help = true
)]
pub struct Arguments {
    #[command(flatten)]
    letters: Letters,

    /// Socket of the target, as its --control has it [default: /run/ferriscsi.sock for root, $XDG_RUNTIME_DIR/ferriscsi.sock for others]
    #[arg(long, value_name = "PATH", global = true)]
    socket: Option<PathBuf>,

    /// Prints the answer as one line of JSON
    #[arg(long, global = true)]
    json: bool,

    /// Prints the version
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,

    #[command(subcommand)]
    command: Option<Command>,
}

/// What is asked, and what of the answer is wanted.
struct Asked {
    request: Request,
    /// Of a configuration, this key alone, or the blocks in which it has this value.
    key: Option<(String, Option<String>)>,
}

impl From<Request> for Asked {
    fn from(request: Request) -> Self {
        Self { request, key: None }
    }
}

/// Does what the command line says.
///
/// # Errors
/// The command line asks for what cannot be, no target answers, or it says no.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let asked = match &arguments.command {
        Some(_) if arguments.letters.any() => return Err(Failure::usage("expected letters or a name, not both")),
        Some(command) => command.asked()?,
        None => arguments.letters.asked()?,
    };
    let socket = arguments.socket.clone().or_else(default_path).ok_or_else(|| {
        Failure::usage("there is no XDG_RUNTIME_DIR: say where the target's socket is with --socket PATH")
    })?;
    let answer = ask(&socket, &asked.request).map_err(failure)?;
    match asked.wanted(answer) {
        Answer::Error { problem, messages } => Err(refusal(problem, messages)),
        answer if arguments.json => {
            let json = serde_json::to_string(&answer).map_err(|error| Failure::local(error.to_string()))?;
            show::print(&json);
            Ok(())
        }
        answer => {
            let text = text::of(&answer);
            if !text.is_empty() {
                show::print(&text);
            }
            Ok(())
        }
    }
}

impl Asked {
    /// What of an answer is wanted.
    fn wanted(&self, answer: Answer) -> Answer {
        match (&self.key, answer) {
            (Some((key, value)), Answer::Configuration { blocks, .. }) => picked(blocks, key, value.as_deref()),
            (_, answer) => answer,
        }
    }
}

/// Of blocks, one key; or the blocks in which it has a value.
fn picked(mut blocks: Vec<Block>, key: &str, value: Option<&str>) -> Answer {
    if !blocks.iter().flat_map(|block| &block.keys).any(|held| held.key == key) {
        return Answer::error(Problem::Wrong, format!("there is no key {key}: letters count as they are"));
    }
    match value {
        Some(value) => {
            let has = |block: &Block| {
                block.keys.iter().any(|held| held.key == key && held.values.iter().any(|text| text == value))
            };
            blocks.retain(has);
        }
        None => {
            blocks.iter_mut().for_each(|block| block.keys.retain(|held| held.key == key || held.key == "TargetName"))
        }
    }
    Answer::Configuration { blocks, notes: Vec::new() }
}

fn failure(error: AskError) -> Failure {
    let kind = match &error {
        AskError::TooLong => Kind::Usage,
        AskError::System { .. } => Kind::Local,
        _ => Kind::Connection,
    };
    Failure::new(kind, error.to_string())
}

fn refusal(problem: Problem, messages: Vec<String>) -> Failure {
    let kind = match problem {
        Problem::Wrong => Kind::Usage,
        Problem::Refused => Kind::Device,
        Problem::System => Kind::Local,
        Problem::Malformed | Problem::Forbidden | Problem::Busy => Kind::Connection,
    };
    Failure::several(kind, messages).unwrap_or_else(|| Failure::new(kind, "the target does not say what is wrong"))
}

/// The same file for a process that runs elsewhere.
fn absolute(file: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
}

/// `NAME,...` or `ALL`.
fn targets(text: &str) -> Result<Targets, String> {
    if text == "ALL" {
        return Ok(Targets::All);
    }
    text.split(',').map(name).collect::<Result<_, _>>().map(Targets::Named)
}

/// An iSCSI name as a target compares it.
fn name(text: &str) -> Result<String, String> {
    iscsi_session::normalise_name(text).map_err(|error| error.to_string())
}

/// `KEY=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().into(), value.trim().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn asked(words: &[&str]) -> Result<Request, String> {
        let words = std::iter::once("iscsictl").chain(words.iter().copied());
        let arguments = Arguments::try_parse_from(words).map_err(|error| error.to_string())?;
        let asked = match &arguments.command {
            Some(command) => command.asked(),
            None => arguments.letters.asked(),
        };
        asked.map(|asked| asked.request).map_err(|failure| failure.to_string())
    }

    fn named(name: &str) -> Targets {
        Targets::Named(vec![name.into()])
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn letters_and_names_ask_the_same() {
        let name = "iqn.2001-04.com.example:d";
        let target = &format!("target={name}");
        let start = |targets| Request::Start { targets, file: None };
        for (letters, words, request) in [
            (&["-S"][..], &["start"][..], start(None)),
            (&["-S", "target=ALL"], &["start", "ALL"], start(Some(Targets::All))),
            (&["-S", target], &["start", name], start(Some(named(name)))),
            (&["-s", target], &["stop", name], Request::Stop { targets: named(name) }),
            (&["-r"], &["sessions"], Request::Sessions { targets: Targets::All, initiator: None }),
            (
                &["-r", target, "-k", "initiator=IQN.2001-04.com.Example:h"],
                &["sessions", name, "--initiator", "iqn.2001-04.COM.example:H"],
                Request::Sessions { targets: named(name), initiator: Some("iqn.2001-04.com.example:h".into()) },
            ),
            (&["-c", target], &["config", name], Request::Configuration { targets: named(name) }),
            (&["-g"], &["globals"], Request::Globals),
            (
                &["-G", "iscsi_offload_mode=ULP"],
                &["set", "iscsi_offload_mode=ULP"],
                Request::SetGlobal { key: "iscsi_offload_mode".into(), value: "ULP".into() },
            ),
            (&["-F"], &["flush"], Request::Flush { targets: Targets::All, lun: None }),
            (
                &["-F", target, "-k", "lun=3"],
                &["flush", name, "--lun", "3"],
                Request::Flush { targets: named(name), lun: Some(3) },
            ),
            (&["-D", "7"], &["drop", "7"], Request::Drop { session: 7 }),
            (&["-W", "-f", "/f"], &["write", "/f"], Request::Write { file: "/f".into() }),
        ] {
            assert_eq!(asked(letters), Ok(request.clone()), "{letters:?}");
            assert_eq!(asked(words), Ok(request), "{words:?}");
        }
        assert_eq!(asked(&["adapter"]), Ok(Request::Adapter));
        let two = Targets::Named(vec!["iqn.2001-04.com.example:a".into(), "iqn.2001-04.com.example:b".into()]);
        assert_eq!(
            asked(&["-s", "target=iqn.2001-04.com.example:a,iqn.2001-04.com.example:b"]),
            asked(&["stop", "iqn.2001-04.com.example:a", "iqn.2001-04.com.example:b"])
        );
        assert_eq!(
            asked(&["stop", "iqn.2001-04.com.example:a,iqn.2001-04.com.example:b"]),
            Ok(Request::Stop { targets: two })
        );
    }

    #[test]
    fn files_are_told_with_their_whole_path() {
        let folder = std::env::current_dir().unwrap();
        let file = Some(folder.join("a.conf"));
        assert_eq!(asked(&["-S", "-f", "a.conf"]), Ok(Request::Start { targets: None, file }));
        assert_eq!(asked(&["policy", "cop.out"]), Ok(Request::Policy { file: folder.join("cop.out") }));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (words, expected) in [
            (&["-s"][..], "-s"),
            (&["-s", "iqn.x"], "expected target=NAMES or target=ALL"),
            (&["-s", "target=disk"], "expected iqn."),
            (&["-S", "-s", "target=ALL"], "cannot be used with"),
            (&["-D", "x"], "-D"),
            (&["-D", "0"], "1..=65535"),
            (&["-W"], "-f"),
            (&["-g", "-k", "TargetName"], "-k: -g takes none"),
            (&["-g", "-f", "x"], "-f: -g takes none"),
            (&["-r", "-k", "lun=1"], "-k: expected initiator=NAME"),
            (&["-r", "-k", "initiator=me"], "-k: the iSCSI name has no known form: expected iqn."),
            (&["sessions", "--initiator", "me"], "expected iqn."),
            (&["-F", "-k", "lun=x"], "-k: expected lun=NUMBER"),
            (&["-G", "x"], "expected KEY=VALUE"),
            (&["--json"], "expected one of -S"),
            (&["reboot"], "reboot"),
        ] {
            let error = asked(words).unwrap_err();
            assert!(error.contains(expected), "{words:?}: {error}");
        }
        let error = asked(&["-G", "hunter2hunter2"]).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn one_key_is_picked_or_the_blocks_that_have_a_value_of_it() {
        let key = |key: &str, value: &str| iscsi_control::KeyValues { key: key.into(), values: vec![value.into()] };
        let block = |name: &str, alias: &str| Block {
            block: "target".into(),
            keys: vec![key("TargetName", name), key("TargetAlias", alias), key("MaxConnections", "1")],
        };
        let blocks = vec![block("iqn.a", "one"), block("iqn.b", "two")];
        let Answer::Configuration { blocks: one, .. } = picked(blocks.clone(), "TargetAlias", None) else { panic!() };
        assert_eq!(one.iter().map(|block| block.keys.len()).collect::<Vec<_>>(), [2, 2]);
        let with = picked(blocks.clone(), "TargetAlias", Some("two"));
        assert_eq!(with, Answer::Configuration { blocks: vec![block("iqn.b", "two")], notes: Vec::new() });
        assert!(matches!(picked(blocks, "targetalias", None), Answer::Error { .. }));
    }

    #[test]
    fn help_teaches() {
        let help = Arguments::command().render_long_help().to_string();
        for words in ["iscsictl -S target=ALL", "-D HANDLE", "Exit codes:", "/run/ferriscsi.sock"] {
            assert!(help.contains(words), "{words} is not in {help}");
        }
    }
}
