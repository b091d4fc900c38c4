//! `cop`: an offload policy in, its compiled program out, or what it says of connections.

use std::fs::{self, File};
use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use clap::Parser;
use t5_policy::{Decision, FILE_BYTES_MAX, Opening, Policy, Program};

use crate::failure::Failure;
use crate::file;
use crate::show;

const HELP: &str = "\
A policy is a rule a line, `filter => settings`; the first whose filter matches decides, and
what none matches is not offloaded. `#` begins a comment.

  any => offload ddp bind random
  listen or dst port iscsi-target => offload ddp bind 2
  src net 10.10/16 and vlan 7 and not tos & 0xe0 >= 0x80 => offload !ddp class 3 cong newreno
  portrange 6000-6999 or host fd00::1 or fd00::2 => !offload

filters   all | any | -; listen, aopen, popen; [src|dst|src or dst|src and dst] host A, net A/LENGTH,
          net A mask M, port N|NAME, portrange N-N; vers 4|6, tos N, dscp N, vlan N, mark N
operators not !, and && (may be left out), or ||, ? :, ( ); == (may be left out) !=, and for
          numbers < <= > >=, with `& MASK` before; what stands before a value may be left out
          where it is the same again: dst port 22 or 23
settings  [not|!] offload, ddp, tstamp, coalesce, sack, nagle, tls; bind N|random|cpu;
          class 0..14; cong reno|tahoe|newreno|highspeed; mss KIB

Examples:
  cop -d -o cop.out cop.conf
      compiles cop.conf, and prints the program
  cop -t cop.out 'popen 10.0.0.1:40000 10.0.0.2:3260 vlan 7' 'listen 10.0.0.2:3260'
      says which rule each of these matches; without connections they are asked for

Exit codes:
  0  done
  2  the command line is wrong
  6  the policy, a connection that is asked about, or a file";

/// Compiles and tests offload policies.
#[derive(Debug, Parser)]
#[command(name = "cop", version, after_help = HELP, max_term_width = 110)]
pub struct Arguments {
    /// Prints the rules and the program that comes of them, and keeps the rules' texts in the compiled file
    #[arg(short)]
    debug: bool,

    /// Says what becomes of connections: `listen|aopen|popen SOURCE [DESTINATION] [vlan N] [tos N] [mark N]`
    #[arg(short)]
    test: bool,

    /// Writes the compiled policy to OUT; without this nothing is written
    #[arg(short, value_name = "OUT")]
    output: Option<PathBuf>,

    /// The policy, as text or compiled; standard input if there is none
    file: Option<PathBuf>,

    /// A connection to test, as one word
    #[arg(requires = "test")]
    connections: Vec<String>,
}

/// Does what the command line says.
///
/// # Errors
/// The policy is none, a file cannot be read or written, or a connection is none.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.test && arguments.file.is_none() {
        return Err(Failure::usage("-t needs the policy's FILE: standard input is for connections"));
    }
    let program = read(arguments.file.as_deref())?;
    warn(&program);
    if arguments.debug {
        show::print(program.to_string().trim_end());
    }
    if let Some(path) = &arguments.output {
        let program = if arguments.debug { program.clone() } else { program.clone().without_texts() };
        fs::write(path, program.to_bytes()).map_err(|error| unusable(path, &error))?;
    }
    match arguments.connections.as_slice() {
        _ if !arguments.test => Ok(()),
        [] => ask(&program),
        connections => connections.iter().try_for_each(|text| answer(&program, text)),
    }
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::local(format!("{}: {error}", path.display()))
}

/// The program of a file, be it text or compiled.
fn read(path: Option<&Path>) -> Result<Program, Failure> {
    let name = path.map_or("standard input".to_owned(), |path| path.display().to_string());
    let bytes = match path {
        Some(path) => File::open(path).and_then(|opened| file::read(opened, FILE_BYTES_MAX)),
        None => file::read(io::stdin().lock(), FILE_BYTES_MAX),
    };
    let bytes = bytes.map_err(|error| Failure::local(format!("{name}: {error}")))?;
    program(&name, &bytes).map_err(|mut lines| {
        let last = lines.pop().unwrap_or_default();
        lines.iter().for_each(|line| show::complain(line));
        Failure::local(last)
    })
}

/// The program of a policy that was read from `name`, be it text or compiled.
///
/// # Errors
/// All that is wrong with it, a sentence each.
pub(crate) fn program(name: &str, bytes: &[u8]) -> Result<Program, Vec<String>> {
    let one = |error: &dyn std::fmt::Display| vec![format!("{name}: {error}")];
    // A compiled policy begins with a number of four bytes, and text has no zeros.
    if bytes.starts_with(&[0]) {
        return Program::from_bytes(bytes).map_err(|error| one(&error));
    }
    let text = str::from_utf8(bytes).map_err(|error| one(&format!("no text: {error}")))?;
    let policy = Policy::parse(text).map_err(|errors| {
        let count = errors.0.len();
        let end = format!("{name}: {count} error{}: nothing was done", if count == 1 { "" } else { "s" });
        errors.0.iter().map(|error| format!("{name}:{error}")).chain([end]).collect::<Vec<_>>()
    })?;
    policy.compile().map_err(|error| one(&error))
}

/// Tells of rules that a T5 cannot follow.
fn warn(program: &Program) {
    for (index, settings) in program.rules().enumerate() {
        if let Some(word) = settings.beyond_t5() {
            show::complain(&format!("cop: rule {} asks for {word}: a T5 refuses the policy", index + 1));
        }
    }
}

/// Answers a line of standard input after the other.
fn ask(program: &Program) -> Result<(), Failure> {
    let prompts = io::stdin().is_terminal();
    if prompts {
        show::complain("listen|aopen|popen SOURCE [DESTINATION] [vlan N] [tos N] [mark N]; end with Ctrl-D");
    }
    let mut wrong = 0;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| Failure::local(format!("standard input: {error}")))?;
        if line.trim().is_empty() {
            continue;
        }
        if let Err(failure) = answer(program, &line) {
            show::complain(&format!("cop: {failure}"));
            wrong += 1;
        }
    }
    if wrong == 0 || prompts { Ok(()) } else { Err(Failure::local(format!("{wrong} of the connections are none"))) }
}

/// Says which rule a connection matches.
fn answer(program: &Program, text: &str) -> Result<(), Failure> {
    let opening = Opening::parse(text).map_err(|error| Failure::local(format!("{text:?}: {error}")))?;
    let Decision { rule, settings } = program.decide(&opening);
    let rule = match rule {
        Some(rule) => program.text(rule).map_or(format!("rule {rule}"), |text| format!("rule {rule}: {text}")),
        None => "no rule".to_owned(),
    };
    show::print(&format!("{settings}\t{rule}"));
    Ok(())
}
