//! What the letters say and more, by name.

use std::path::PathBuf;

use clap::Subcommand;
use iscsi_control::{Request, Targets};

use super::letters::Pair;
use super::{Asked, absolute, name, targets};
use crate::failure::Failure;
use crate::parse::hidden;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Shows which process serves which targets, and where
    Status,
    /// Shows sessions: who, from where, what was negotiated, how much was read and written
    Sessions {
        /// Of these targets alone
        #[arg(value_name = "TARGET|ALL", value_parser = targets)]
        targets: Vec<Targets>,
        /// Of this initiator alone
        #[arg(long, value_name = "NAME", value_parser = name)]
        initiator: Option<String>,
    },
    /// Shows what the adapter that the targets are on has counted: payload and digests, and frames by interface, port and filter
    Adapter,
    /// Shows what targets are configured to be, by a file or by options, without secrets
    Config {
        /// These alone
        #[arg(value_name = "TARGET|ALL", value_parser = targets)]
        targets: Vec<Targets>,
        /// Of each, this key alone
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
    /// Shows what is configured for all targets
    Globals,
    /// Sets a key of what is configured for all targets, until the file is read again
    Set {
        /// The key, and what would stand behind it in a file
        #[arg(value_name = "KEY=VALUE", value_parser = hidden::<Pair>())]
        pair: Pair,
    },
    /// Reads the configuration file again, starts targets, and has those that run do what it says
    Start {
        /// These; without them those that are running, and what the file says of all
        #[arg(value_name = "TARGET|ALL", value_parser = targets)]
        targets: Vec<Targets>,
        /// Another file, which is the one to read from then on unless targets are named
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Ends the sessions of targets, and lets nobody log in until they are started
    Stop {
        /// These
        #[arg(value_name = "TARGET|ALL", required = true, value_parser = targets)]
        targets: Vec<Targets>,
    },
    /// Has what was written reach the media
    Flush {
        /// Of these targets alone
        #[arg(value_name = "TARGET|ALL", value_parser = targets)]
        targets: Vec<Targets>,
        /// Of this logical unit alone
        #[arg(long, value_name = "NUMBER")]
        lun: Option<u16>,
    },
    /// Ends a session: its initiator is asked to log out, and may log in again
    Drop {
        /// The session's handle, as `sessions` shows it
        #[arg(value_name = "HANDLE", value_parser = clap::value_parser!(u16).range(1..))]
        session: u16,
    },
    /// Writes what is in force, secrets too, to a file that its owner alone may read
    Write {
        /// The file, in the place of the one that may be there
        file: PathBuf,
    },
    /// Has an offload policy decide on connections that begin from now on
    Policy {
        /// The policy, as text or compiled by cop
        file: PathBuf,
    },
}

impl Command {
    /// What it asks for.
    ///
    /// # Errors
    /// A path is none.
    pub(super) fn asked(&self) -> Result<Asked, Failure> {
        let all = |given: &[Targets]| joined(given).unwrap_or(Targets::All);
        Ok(match self {
            Self::Status => Request::Status.into(),
            Self::Sessions { targets, initiator } => {
                Request::Sessions { targets: all(targets), initiator: initiator.clone() }.into()
            }
            Self::Adapter => Request::Adapter.into(),
            Self::Config { targets, key } => {
                let request = Request::Configuration { targets: all(targets) };
                Asked { request, key: key.clone().map(|key| (key, None)) }
            }
            Self::Globals => Request::Globals.into(),
            Self::Set { pair } => Request::SetGlobal { key: pair.key.clone(), value: pair.value.clone() }.into(),
            Self::Start { targets, file } => {
                let file = file.as_deref().map(absolute).transpose()?;
                Request::Start { targets: joined(targets), file }.into()
            }
            Self::Stop { targets } => Request::Stop { targets: all(targets) }.into(),
            Self::Flush { targets, lun } => Request::Flush { targets: all(targets), lun: *lun }.into(),
            Self::Drop { session } => Request::Drop { session: *session }.into(),
            Self::Write { file } => Request::Write { file: absolute(file)? }.into(),
            Self::Policy { file } => Request::Policy { file: absolute(file)? }.into(),
        })
    }
}

/// What several words mean together; nothing where there are none.
fn joined(given: &[Targets]) -> Option<Targets> {
    let add = |sum: Targets, more: Targets| match (sum, more) {
        (Targets::Named(sum), Targets::Named(more)) => Targets::Named([sum, more].concat()),
        _ => Targets::All,
    };
    given.iter().cloned().reduce(add)
}
