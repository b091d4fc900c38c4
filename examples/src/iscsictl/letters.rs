//! The letters of Chelsio's tool of the same name, as requests.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use iscsi_control::{Request, Targets};

use super::{Asked, absolute, name, pair, targets};
use crate::failure::Failure;
use crate::parse::hidden;

/// What `target=` says.
fn target(text: &str) -> Result<Targets, String> {
    targets(text.strip_prefix("target=").ok_or("expected target=NAMES or target=ALL")?)
}

/// A key and its value. What else somebody may have written there is not repeated.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) value: String,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        pair(text).map(|(key, value)| Self { key, value })
    }
}

#[derive(Debug, Args)]
pub(super) struct Letters {
    /// Starts targets, or has those that run do what the configuration file says
    #[arg(short = 'S', group = "letter", value_name = "target=NAMES|ALL", num_args = 0..=1, value_parser = target)]
    start: Option<Option<Targets>>,

    /// Stops targets
    #[arg(short = 's', group = "letter", value_name = "target=NAMES|ALL", value_parser = target)]
    stop: Option<Targets>,

    /// Shows sessions
    #[arg(short = 'r', group = "letter", value_name = "target=NAMES|ALL", num_args = 0..=1, value_parser = target)]
    sessions: Option<Option<Targets>>,

    /// Shows what targets are configured to be
    #[arg(short = 'c', group = "letter", value_name = "target=NAMES|ALL", num_args = 0..=1, value_parser = target)]
    config: Option<Option<Targets>>,

    /// Shows what is configured for all targets
    #[arg(short = 'g', group = "letter")]
    globals: bool,

    /// Sets a key of those
    #[arg(short = 'G', group = "letter", value_name = "KEY=VALUE", value_parser = hidden::<Pair>())]
    set: Option<Pair>,

    /// Has what was written reach the media
    #[arg(short = 'F', group = "letter", value_name = "target=NAMES|ALL", num_args = 0..=1, value_parser = target)]
    flush: Option<Option<Targets>>,

    /// Ends a session
    #[arg(short = 'D', group = "letter", value_name = "HANDLE", value_parser = clap::value_parser!(u16).range(1..))]
    drop: Option<u16>,

    /// Writes what is in force to a file
    #[arg(short = 'W', group = "letter", requires = "file")]
    write: bool,

    /// The configuration file, with -S or -W
    #[arg(short = 'f', value_name = "FILE")]
    file: Option<PathBuf>,

    /// With -c, a key to show, or to look for a value of; with -r, initiator=NAME; with -F, lun=NUMBER
    #[arg(short = 'k', value_name = "KEY[=VALUE]")]
    key: Option<String>,
}

impl Letters {
    /// Whether there is any.
    pub(super) fn any(&self) -> bool {
        self.letter().is_some() || self.file.is_some() || self.key.is_some()
    }

    /// The one that says what to do.
    fn letter(&self) -> Option<&'static str> {
        [
            ("-S", self.start.is_some()),
            ("-s", self.stop.is_some()),
            ("-r", self.sessions.is_some()),
            ("-c", self.config.is_some()),
            ("-g", self.globals),
            ("-G", self.set.is_some()),
            ("-F", self.flush.is_some()),
            ("-D", self.drop.is_some()),
            ("-W", self.write),
        ]
        .into_iter()
        .find_map(|(letter, given)| given.then_some(letter))
    }

    /// What they ask for.
    ///
    /// # Errors
    /// They make no sense together.
    pub(super) fn asked(&self) -> Result<Asked, Failure> {
        let letter = self.letter().ok_or_else(|| {
            Failure::usage("expected one of -S, -s, -r, -c, -g, -G, -F, -D, -W, or a name such as sessions; see --help")
        })?;
        if self.file.is_some() && !["-S", "-W"].contains(&letter) {
            return Err(Failure::usage(format!("-f: {letter} takes none")));
        }
        if self.key.is_some() && !["-c", "-r", "-F"].contains(&letter) {
            return Err(Failure::usage(format!("-k: {letter} takes none")));
        }
        let all = |targets: &Option<Targets>| targets.clone().unwrap_or(Targets::All);
        Ok(match self {
            Self { start: Some(targets), .. } => {
                let file = self.file.as_deref().map(absolute).transpose()?;
                Request::Start { targets: targets.clone(), file }.into()
            }
            Self { stop: Some(targets), .. } => Request::Stop { targets: targets.clone() }.into(),
            Self { sessions: Some(targets), .. } => {
                Request::Sessions { targets: all(targets), initiator: self.initiator()? }.into()
            }
            Self { config: Some(targets), .. } => {
                let key = self.key.as_deref().map(|text| match text.split_once('=') {
                    Some((key, value)) => (key.into(), Some(value.into())),
                    None => (text.into(), None),
                });
                Asked { request: Request::Configuration { targets: all(targets) }, key }
            }
            Self { set: Some(Pair { key, value }), .. } => {
                Request::SetGlobal { key: key.clone(), value: value.clone() }.into()
            }
            Self { flush: Some(targets), .. } => Request::Flush { targets: all(targets), lun: self.lun()? }.into(),
            Self { drop: Some(session), .. } => Request::Drop { session: *session }.into(),
            Self { write: true, file: Some(file), .. } => Request::Write { file: absolute(file)? }.into(),
            _ => Request::Globals.into(),
        })
    }

    fn initiator(&self) -> Result<Option<String>, Failure> {
        let Some(text) = &self.key else { return Ok(None) };
        let given = text.strip_prefix("initiator=").ok_or_else(|| Failure::usage("-k: expected initiator=NAME"))?;
        name(given).map(Some).map_err(|error| Failure::usage(format!("-k: {error}")))
    }

    fn lun(&self) -> Result<Option<u16>, Failure> {
        let number = |text: &str| text.strip_prefix("lun=").and_then(|number| number.parse().ok());
        let wrong = || Failure::usage("-k: expected lun=NUMBER");
        self.key.as_deref().map(|text| number(text).ok_or_else(wrong)).transpose()
    }
}
