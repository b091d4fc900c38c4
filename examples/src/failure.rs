//! How a command ends that did not do what was asked: one line for a person, one number for a script.

use std::fmt;
use std::process::ExitCode;

use iscsi_runtime::ClientError;

use crate::show;

/// Whose fault it is, which is also the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Data differ, or did not read back as they were written.
    Difference = 1,
    /// The command line asks for what cannot be.
    Usage = 2,
    /// No connection to the target, or it was lost.
    Connection = 3,
    /// The target refuses the login.
    Login = 4,
    /// The logical unit refuses a command, or fails at it.
    Device = 5,
    /// A local file, or the system.
    Local = 6,
}

/// The exit codes, as `--help` shows them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  data differ, or did not read back as they were written
  2  the command line is wrong
  3  no connection to the target, or it was lost
  4  the target refuses the login
  5  the logical unit refuses a command, or fails at it
  6  a local file, or the system";

/// The end of a command that failed.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
    /// What there is to say beyond that, a sentence each.
    more: Vec<String>,
}

impl Failure {
    /// A failure with a sentence that says what happened and, where that is not plain, what to do.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), more: Vec::new() }
    }

    /// The command line asks for what cannot be.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// A local file, or the system.
    pub fn local(message: impl Into<String>) -> Self {
        Self::new(Kind::Local, message)
    }

    /// The command line asks for what cannot be, for several reasons; without any it would be none.
    pub fn usages(messages: impl IntoIterator<Item = String>) -> Option<Self> {
        Self::several(Kind::Usage, messages)
    }

    /// A failure for several reasons; without any it would be none.
    pub fn several(kind: Kind, messages: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut messages = messages.into_iter();
        messages.next().map(|first| Self { more: messages.collect(), ..Self::new(kind, first) })
    }

    /// Whose fault it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The same, after what was being done.
    #[must_use]
    pub fn context(self, what: impl fmt::Display) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }
}

impl fmt::Display for Failure {
    /// Each sentence, on one line whatever a peer has put into it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_line(f, &self.message)?;
        self.more.iter().try_for_each(|message| f.write_str("\n").and_then(|()| write_line(f, message)))
    }
}

fn write_line(f: &mut fmt::Formatter<'_>, message: &str) -> fmt::Result {
    message.chars().try_for_each(|character| match character {
        '\n' | '\t' => f.write_str(" "),
        control if control.is_control() => write!(f, "{}", control.escape_default()),
        character => write!(f, "{character}"),
    })
}

impl std::error::Error for Failure {}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let kind = match &error {
            ClientError::Connect { .. } | ClientError::Redirects(_) => Kind::Connection,
            ClientError::Ended | ClientError::Lost(_) => Kind::Connection,
            ClientError::Login { .. } | ClientError::FirmwareLogin { .. } => Kind::Login,
            ClientError::System(_) => Kind::Local,
            _ => Kind::Device,
        };
        Self::new(kind, error.to_string())
    }
}

/// What `main` gives back: nothing is said after success, one line on stderr after a failure, or one for each reason.
pub fn exit_code(program: &str, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.to_string().lines().for_each(|line| show::complain(&format!("{program}: {line}")));
            ExitCode::from(failure.kind as u8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_line_whatever_a_peer_says() {
        let failure = Failure::new(Kind::Login, "alias \u{1b}[31mred\nnext").context("iscsi://h");
        assert_eq!(failure.to_string(), "iscsi://h: alias \\u{1b}[31mred next");
    }

    #[test]
    fn help_lists_every_code() {
        for kind in [Kind::Difference, Kind::Usage, Kind::Connection, Kind::Login, Kind::Device, Kind::Local] {
            assert!(EXIT_CODES.contains(&format!("\n  {}  ", kind as u8)));
        }
    }
}
